/*
 * Opening: superblock, meta area, log. The log is read from the tail on and its records are done
 * again in memory; what they commit goes home by the same way as in normal running, once it is
 * clear who owns which granule. format.h says why that is right whatever state the map is in.
 */
#include "config.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "store/store_internal.h"

#include "banned.h"

#define REPLAY_FIRST (64u << 10) /* most logs are short */
#define REPLAY_CHUNK (2u << 20)
static_assert(REPLAY_CHUNK >= LOG_BATCH_BLOCKS_MAX * LOG_BLOCK, "a batch fits");

struct replay {
	struct store *store;
	struct disk_op op;
	struct buf *buf;
	uint32_t chunk; /* blocks in buf */
	uint32_t size;	/* bytes of the next one */
	unsigned copy;	/* of the superblock, to be read */
	unsigned best;	/* the newest of them */
	unsigned step;	/* of writing them */
	bool found;
	const char *why;
	struct rec_view view;
};

static struct store *of_op(struct disk_op *op)
{
	return ((struct replay *)((char *)op - offsetof(struct replay, op)))->store;
}

void replay_free(struct store *s)
{
	if (s->replay == NULL)
		return;
	buf_put(s->replay->buf);
	free(s->replay);
	s->replay = NULL;
}

static void end(struct store *s, int err, const char *why)
{
	replay_free(s);
	if (err != 0)
		s->failed = -err;
	s->ready(s->ready_ctx, err, why);
}

/* ---- records ------------------------------------------------------------------------------- */

static void drop(struct store *s, struct ptx *t)
{
	for (struct part *p = t->parts; p != NULL; p = p->ptx_next) {
		if (t->state == PTX_READY && p->kind == PART_LOG)
			s->unhomed_bytes -=
				(uint64_t)__builtin_popcount(p->mask) * WEFT_BLOCK_BYTES;
		part_remove(s, p);
		p->phys = 0; /* whose granule it is now is not known yet */
	}
	if (t->state == PTX_PREPARED)
		ptx_decide(s, t, PTX_DROPPED);
	ptx_put(s, t);
}

static void make_parts(struct store *s, struct ptx *t, const struct rec_view *v)
{
	struct part **at = &t->parts;
	uint32_t data = 0;

	for (unsigned i = 0; i < v->nparts; i++) {
		const struct part_view *pv = &v->part[i];
		struct gran *g = gran_get(s, (uint64_t)v->slot * SLOT_GRANULES + pv->granule);
		struct part *p = slab_get(&s->parts);
		uint32_t bytes = (uint32_t)__builtin_popcount(pv->mask) * WEFT_BLOCK_BYTES;

		p->ptx = t;
		p->mask = pv->mask;
		p->kind = pv->kind;
		p->granule = pv->granule;
		p->phys = pv->kind == PART_FRESH ? pv->phys : 0;
		memcpy(p->crc, pv->crc, sizeof(p->crc));
		if (pv->kind == PART_LOG) {
			p->in_memory = true;
			p->data = data;
			t->mem_users++;
			t->log_bytes += bytes;
			data += bytes;
		}
		part_add(s, g, p);
		*at = p;
		at = &p->ptx_next;
	}
}

static int redo_prepare(struct store *s, const struct rec_view *v, const uint8_t *payload,
			struct batch *b)
{
	const struct slot *slot = &s->slots[v->slot];
	struct vol *vol = vol_find(s, v->volume);
	struct ptx *t;

	/* of a slot that was discarded later, or a second time, from a checkpoint */
	if (vol == NULL || slot->state != SLOT_USED || slot->gen != v->slot_gen ||
	    le64toh(s->meta_labels[v->slot].volume) != v->volume ||
	    ptx_find(vol, v->number, v->slot) != NULL)
		return 0;
	if (!slab_ensure(&s->ptxs, 1) || !slab_ensure(&s->parts, PARTS_MAX) ||
	    !slab_ensure(&s->grans, PARTS_MAX))
		return -ENOMEM;
	t = slab_get(&s->ptxs);
	if (v->payload_blocks > 0) {
		size_t bytes = (size_t)v->payload_blocks * LOG_BLOCK;

		t->payload = buf_get(s->replay_pool, bytes);
		if (t->payload == NULL)
			return -ENOMEM;
		memcpy(t->payload->data, payload, bytes);
	}
	t->vol = vol;
	t->tx = v->number;
	t->offset = v->offset;
	t->blocks = v->blocks;
	t->slot = v->slot;
	t->slot_gen = v->slot_gen;
	t->participants = v->participants;
	t->state = PTX_PREPARED;
	t->durable = true;
	t->refs = 1;
	t->batch = b;
	b->refs++;
	b->undecided++;
	make_parts(s, t, v);
	ptx_list_add(vol, t);
	s->stat.prepared++;
	s->undecided_bytes += t->log_bytes;
	return 0;
}

static void redo_commit(struct store *s, const struct rec_view *v)
{
	struct vol *vol = vol_find(s, v->volume);
	struct ptx *t;

	if (vol == NULL)
		return;
	if (v->number > vol->committed)
		vol->committed = v->number;
	vol_write_meta(s, vol, v->number, 0);
	while ((t = vol->first) != NULL && t->tx <= v->number) {
		ptx_decide(s, t, PTX_COMMITTED);
		ptx_ready(s, t);
	}
}

static void redo_abort(struct store *s, const struct rec_view *v)
{
	struct vol *vol = vol_find(s, v->volume);
	struct ptx *t, *prev;

	for (t = vol != NULL ? vol->last : NULL; t != NULL && t->tx >= v->number; t = prev) {
		prev = t->prev;
		if (t->tx == v->number)
			drop(s, t);
	}
}

static void redo_fence(struct store *s, const struct rec_view *v)
{
	struct vol *vol = vol_find(s, v->volume);

	if (vol == NULL) {
		vol = &s->vols[v->index];
		while (vol->first != NULL)
			drop(s, vol->first);
		vol = vol_place(s, v->volume, v->index);
	}
	if ((uint32_t)v->number > vol->epoch)
		vol->epoch = (uint32_t)v->number;
	vol_write_meta(s, vol, 0, (uint32_t)v->number);
}

static void redo_slot(struct store *s, const struct rec_view *v)
{
	for (unsigned i = 0; v->type == REC_DISCARD && i < SLOT_GRANULES; i++) {
		uint64_t index = (uint64_t)v->slot * SLOT_GRANULES + i;
		struct gran *g;

		while ((g = gran_find(s, index)) != NULL && g->newest != NULL)
			drop(s, g->newest->ptx);
	}
	if (v->slot_gen >= s->next_gen)
		s->next_gen = v->slot_gen + 1;
	if (v->type == REC_DISCARD)
		slot_clear(s, v->slot);
	else
		slot_fill(s, v->slot, &v->label);
}

static int redo(struct store *s, const struct rec_view *v, const uint8_t *payload, struct batch *b)
{
	switch (v->type) {
	case REC_PREPARE:
		return redo_prepare(s, v, payload, b);
	case REC_COMMIT:
		redo_commit(s, v);
		return 0;
	case REC_ABORT:
		redo_abort(s, v);
		return 0;
	case REC_FENCE:
		redo_fence(s, v);
		return 0;
	default:
		redo_slot(s, v);
		return 0;
	}
}

/* ---- batches ------------------------------------------------------------------------------- */

static bool payload_valid(const struct rec_view *v, const uint8_t *payload)
{
	for (unsigned i = 0; i < v->nparts && v->type == REC_PREPARE; i++) {
		for (unsigned b = 0; b < GRANULE_BLOCKS; b++) {
			if (v->part[i].kind != PART_LOG || (v->part[i].mask & (1u << b)) == 0)
				continue;
			if (crc32c(0, payload, LOG_BLOCK) != v->part[i].crc[b])
				return false;
			payload += LOG_BLOCK;
		}
	}
	return true;
}

/*
 * Walk through a batch's records; b NULL: only look whether all are right. 0, -EINVAL, or -ENOMEM.
 */
static int walk(struct store *s, const uint8_t *p, const struct disk_batch *h, struct batch *b)
{
	struct rec_limits limits = {s->nslots, s->granules};
	struct rec_view *v = &s->replay->view;
	const uint8_t *at = p + sizeof(*h), *end = p + h->bytes;
	uint32_t block = (h->bytes + LOG_BLOCK - 1) / LOG_BLOCK;

	for (uint32_t i = 0; i < h->records; i++) {
		int n = rec_decode(at, (size_t)(end - at), &limits, v), err;

		if (n < 0 || v->payload_blocks > h->blocks - block)
			return -EINVAL;
		if (b == NULL && !payload_valid(v, p + (size_t)block * LOG_BLOCK))
			return -EINVAL;
		if (b != NULL) {
			err = redo(s, v, p + (size_t)block * LOG_BLOCK, b);
			if (err < 0)
				return err;
		}
		at += n;
		block += v->payload_blocks;
	}
	return at == end ? 0 : -EINVAL;
}

/* A batch begins at p that does not end within len. */
static bool batch_is_cut(const uint8_t *p, size_t len)
{
	const struct disk_batch *h = (const struct disk_batch *)p;

	return le32toh(h->magic) == LOG_MAGIC && le32toh(h->blocks) <= LOG_BATCH_BLOCKS_MAX &&
	       (size_t)le32toh(h->blocks) * LOG_BLOCK > len;
}

/* The batch at p, if it is the next one. Its blocks; 0: the log ends here; or -errno. */
static int64_t take_batch(struct store *s, const uint8_t *p, size_t len)
{
	struct wal *w = &s->wal;
	struct disk_batch h;
	struct batch *b;
	int err;

	if (batch_decode(p, len, s->info.store, &h) < 0)
		return 0;
	if (w->head == w->tail && h.seq > w->next_seq) {
		s->replay->why = "the superblock is older than the log, its newer copies are lost: "
				 "take this server out and let the cluster rebuild it";
		return -EUCLEAN;
	}
	if (h.seq != w->next_seq || h.prev_salt != w->prev_salt || h.prev_crc != w->prev_crc ||
	    h.blocks > w->blocks - (w->head - w->tail) ||
	    h.blocks > w->blocks - w->head % w->blocks)
		return 0;
	if (h.records > 0 && (size_t)h.blocks * LOG_BLOCK > len)
		return 0;
	if (walk(s, p, &h, NULL) < 0)
		return 0;
	b = slab_get(&s->batches);
	if (b == NULL)
		return -ENOMEM;
	b->block = w->head;
	b->seq = h.seq;
	b->prev_salt = h.prev_salt;
	b->prev_crc = h.prev_crc;
	b->refs = 1; /* until we are through */
	if (w->batches == NULL)
		w->batches = b;
	else
		w->batches_last->next = b;
	w->batches_last = b;
	err = walk(s, p, &h, b);
	b->refs--;
	if (err < 0)
		return err;
	w->head += h.blocks;
	w->next_seq++;
	w->prev_salt = h.salt;
	w->prev_crc = h.crc;
	return h.blocks;
}

/* ---- after the log ------------------------------------------------------------------------- */

/*
 * What the map says of a granule may be from any time since the tail. Where the committed records
 * put its bytes elsewhere, or nowhere, all its blocks are in the log: forget what the map says,
 * since that granule may belong to another place by now. So may one that a later record has given
 * up again.
 */
static void settle_gran(struct store *s, struct gran *g)
{
	struct disk_entry *e = map_entry(s, g->index), target;
	uint32_t phys = e->present != 0 ? le32toh(e->phys) : 0;
	bool need, kept = false;

	if (!g->dirty)
		return;
	home_target(s, g, &target, &need);
	if ((phys != target.phys || need) && (e->phys != 0 || e->present != 0))
		memset(e, 0, sizeof(*e));
	for (struct part *p = g->newest; p != NULL; p = p->older) {
		if (p->ptx->state != PTX_READY || p->kind != PART_FRESH)
			continue;
		if (p->phys != target.phys || kept)
			p->phys = 0;
		else
			kept = true; /* only the newest: a granule may come back to the same place
				      */
	}
}

/* Granules whose parts were dropped are on the list still. */
static void settle_dirty(struct store *s)
{
	struct gran *list = s->dirty;

	s->dirty = s->dirty_last = NULL;
	while (list != NULL) {
		struct gran *g = list;

		list = g->dirty_next;
		g->dirty = false;
		for (const struct part *p = g->newest; p != NULL; p = p->older)
			if (p->ptx->state == PTX_READY)
				gran_make_dirty(s, g);
		gran_rest(s, g);
	}
}

static int settle(struct store *s, const char **why)
{
	int err;

	settle_dirty(s);
	for (struct gran *g = gran_next(s, NULL); g != NULL; g = gran_next(s, g))
		settle_gran(s, g);
	err = slots_settle(s, why);
	if (err == 0)
		err = map_scan(s, why);
	if (err == 0 && s->super.clean && s->wal.head < s->super.head_block) {
		*why = "the log is damaged: its end is missing; take this server out and let the "
		       "cluster rebuild it";
		err = -EUCLEAN;
	}
	return err;
}

static void super_next(struct disk_op *op, int64_t res);

/*
 * Before anything else is written: the store is in use, and generations given are remembered. The
 * copy that was the newest comes last, after a sync: the others may be much older, from a
 * checkpoint that the power interrupted, and until then it is the only right one.
 */
static void write_super(struct store *s)
{
	struct replay *r = s->replay;

	s->super.sequence++;
	s->super.clean = 0;
	s->super.next_gen = s->next_gen;
	super_encode(&s->super, (struct disk_super *)r->buf->data);
	r->step = 0;
	super_next(&r->op, 0);
}

static void super_next(struct disk_op *op, int64_t res)
{
	struct store *s = of_op(op);
	struct replay *r = s->replay;
	struct iovec iov = {r->buf->data, SUPER_BYTES};
	/* two of the copies, a sync, the newest one, a sync */
	const unsigned copy[5] = {(r->best + 1) % SUPER_COPIES, (r->best + 2) % SUPER_COPIES,
				  SUPER_COPIES, r->best, SUPER_COPIES};
	unsigned step = r->step++;

	if (res < 0) {
		end(s, (int)res, "the superblock cannot be written");
		return;
	}
	if (step == 5) {
		s->wal.durable_seq = s->wal.next_seq;
		space_start(s);
		end(s, 0, NULL);
		wal_kick(s);
		home_kick(s, true);
		return;
	}
	r->op.done = super_next;
	if (copy[step] == SUPER_COPIES)
		s->disk->ops->sync(s->disk, &r->op);
	else
		s->disk->ops->writev(s->disk, &r->op, &iov, 1,
				     super_copy_offset(s->info.size_bytes, copy[step]));
}

static void log_whole(struct store *s, int err, const char *why)
{
	if (err == 0)
		err = settle(s, &why);
	if (err < 0) {
		end(s, err, why);
		return;
	}
	if (!s->super.clean)
		log_info("the store was not shut down: %" PRIu64 " log blocks read again",
			 s->wal.head - s->wal.tail);
	write_super(s);
}

static void log_end(struct store *s)
{
	if (s->super.clean)
		log_whole(s, 0, NULL); /* where it ends is known */
	else
		ahead_start(s, log_whole);
}

static void read_chunk(struct store *s);

static void chunk_done(struct disk_op *op, int64_t res)
{
	struct store *s = of_op(op);
	struct replay *r = s->replay;
	struct wal *w = &s->wal;
	uint32_t at = 0;
	bool whole = (w->head + r->chunk) % w->blocks == 0; /* up to the ring's end */

	if (res < 0) {
		end(s, (int)res, "the log cannot be read");
		return;
	}
	while (at < r->chunk) {
		const uint8_t *p = r->buf->data + (size_t)at * LOG_BLOCK;
		size_t len = (size_t)(r->chunk - at) * LOG_BLOCK;
		int64_t n;

		if (!whole && len < LOG_BATCH_BLOCKS_MAX * LOG_BLOCK && batch_is_cut(p, len))
			break;
		n = take_batch(s, p, len);
		if (n < 0) {
			end(s, (int)n, n == -ENOMEM ? "no memory for what the log holds" : r->why);
			return;
		}
		if (n == 0) {
			log_end(s);
			return;
		}
		at += (uint32_t)n;
	}
	r->size = REPLAY_CHUNK;
	if (w->head - w->tail >= w->blocks)
		log_end(s);
	else
		read_chunk(s);
}

static void read_chunk(struct store *s)
{
	struct replay *r = s->replay;
	uint64_t at = s->wal.head % s->wal.blocks, left = s->wal.blocks - at;
	struct iovec iov = {.iov_base = r->buf->data};

	r->chunk = left < r->size / LOG_BLOCK ? (uint32_t)left : r->size / LOG_BLOCK;
	iov.iov_len = (size_t)r->chunk * LOG_BLOCK;
	r->op.done = chunk_done;
	s->disk->ops->readv(s->disk, &r->op, &iov, 1, s->info.log_offset + at * LOG_BLOCK);
}

/* ---- before the log ------------------------------------------------------------------------ */

static void super_found(struct store *s)
{
	const char *why = NULL;
	struct wal *w = &s->wal;
	int err = -EUCLEAN;

	if (!s->replay->found || s->super.size_bytes != s->info.size_bytes ||
	    memcmp(s->super.store, s->info.store, WEFT_UUID_BYTES) != 0)
		why = "the superblock changed while the store was opened: is another program using "
		      "it?";
	else
		err = super_check(&s->super, s->disk->size, &why);
	if (err == 0)
		err = vol_load(s, &why);
	if (err == 0) {
		s->next_gen = s->super.next_gen;
		err = slots_load(s, &why);
	}
	if (err < 0) {
		end(s, err, why);
		return;
	}
	w->tail = w->head = s->super.tail_block;
	w->next_seq = s->super.tail_seq;
	w->prev_salt = s->super.tail_salt;
	w->prev_crc = s->super.tail_crc;
	read_chunk(s);
}

static void read_super(struct store *s);

static void super_read_done(struct disk_op *op, int64_t res)
{
	struct store *s = of_op(op);
	struct replay *r = s->replay;
	struct disk_super found;

	if (res >= 0 && super_decode((const struct disk_super *)r->buf->data, &found) == 0 &&
	    (!r->found || found.sequence > s->super.sequence)) {
		s->super = found;
		r->found = true;
		r->best = r->copy;
	}
	if (++r->copy < SUPER_COPIES)
		read_super(s);
	else
		super_found(s);
}

static void read_super(struct store *s)
{
	struct replay *r = s->replay;
	struct iovec iov = {r->buf->data, SUPER_BYTES};

	r->op.done = super_read_done;
	s->disk->ops->readv(s->disk, &r->op, &iov, 1,
			    super_copy_offset(s->info.size_bytes, r->copy));
}

int replay_start(struct store *s)
{
	s->replay = calloc(1, sizeof(*s->replay));
	if (s->replay == NULL)
		return -ENOMEM;
	s->replay->store = s;
	s->replay->size = REPLAY_FIRST;
	s->replay->buf = buf_get(s->replay_pool, REPLAY_CHUNK);
	if (s->replay->buf == NULL)
		return -ENOMEM;
	read_super(s);
	return 0;
}
