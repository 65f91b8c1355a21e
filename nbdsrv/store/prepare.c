/*
 * PREPARE, up to the point where the bytes as they were are known. Most need none, or find them in
 * memory; the others read, and PREPAREs of the same granules queue behind them in order of arrival.
 */
#include "config.h"

#include <sys/uio.h>

#include "store/store_internal.h"

#include "banned.h"

static bool wants_old(const struct nbd_req *req)
{
	return req->cmd.mode == WEFT_MODE_XOR || (req->cmd.flags & WEFT_FLAG_WANT_OLD) != 0;
}

static uint64_t first_gran(const struct nbd_req *req)
{
	return req->offset / GRANULE_BYTES;
}

static uint64_t last_gran(const struct nbd_req *req)
{
	unsigned top = 63 - (unsigned)__builtin_clzll(req->cmd.blocks);

	return (req->offset + (uint64_t)top * WEFT_BLOCK_BYTES) / GRANULE_BYTES;
}

static int check_shape(struct store *s, const struct nbd_req *req)
{
	const struct weft_cmd *c = &req->cmd;
	uint64_t slot = req->offset / WEFT_SHARD_BYTES;
	uint32_t bytes;

	if (req->offset % WEFT_BLOCK_BYTES != 0 || c->blocks == 0 || slot >= s->nslots ||
	    c->tx == 0 || c->mode > WEFT_MODE_ZERO || (c->flags & ~WEFT_FLAG_WANT_OLD) != 0 ||
	    last_gran(req) / SLOT_GRANULES != slot)
		return EINVAL;
	bytes = (uint32_t)__builtin_popcountll(c->blocks) * WEFT_BLOCK_BYTES;
	if (req->len != (c->mode == WEFT_MODE_ZERO ? 0 : bytes) ||
	    c->reply_len != ((c->flags & WEFT_FLAG_WANT_OLD) != 0 ? bytes : 0))
		return EINVAL;
	return 0;
}

int prepare_check(struct store *s, struct nbd_req *req, struct vol **vol)
{
	const struct slot *slot;
	int err = check_shape(s, req);

	if (err == 0)
		err = vol_check_epoch(s, &req->cmd, vol);
	if (err != 0)
		return err;
	slot = &s->slots[req->offset / WEFT_SHARD_BYTES];
	if (slot->state != SLOT_USED || slot->gen != req->cmd.slot_gen ||
	    &s->vols[slot->vol] != *vol)
		return WEFT_ESTALE;
	if (req->cmd.tx <= (*vol)->committed || req->cmd.tx <= (*vol)->given_up ||
	    abort_came(s, *vol, req->cmd.tx))
		return EINVAL;
	return 0;
}

void prepare_finish(struct store *s, struct nbd_req *req, struct buf *old, int err)
{
	bool want = (req->cmd.flags & WEFT_FLAG_WANT_OLD) != 0;

	if (err != 0 || !want) {
		buf_put(old);
		old = NULL;
	}
	if (err == 0)
		s->stat.writes++;
	s->stat.write_bytes += err == 0 ? req->len : 0;
	if (err == 0 && (req->flags & NBD_CMD_FLAG_FUA) != 0) {
		req->user[2] = (uint64_t)(uintptr_t)old;
		wal_answer(s, req);
		return;
	}
	if (err != 0 || !want) {
		nbd_req_done(req, err);
		return;
	}
	struct nbd_seg seg = {.buf = old, .len = req->cmd.reply_len};

	nbd_req_done_data(req, &seg, 1);
}

/* ---- the bytes as they were ---------------------------------------------------------------- */

static int old_read_now(struct store *s, const struct src *src, uint8_t *to)
{
	int n = -EAGAIN;

	if (s->disk->ops->read_now != NULL)
		n = s->disk->ops->read_now(s->disk, to, WEFT_BLOCK_BYTES, src->disk);
	if (n < 0)
		return -EAGAIN; /* an error shows again when it is read the long way */
	return crc32c(0, to, WEFT_BLOCK_BYTES) == src->crc ? 0 : -EBADMSG;
}

/*
 * Fill old, one block for each bit. have: it was filled before, but what is there may have changed
 * since. *need: the bits that have to be read from disk.
 */
static int old_fill(struct store *s, const struct nbd_req *req, struct buf *old, bool have,
		    uint64_t *need)
{
	uint8_t *to = old->data;

	*need = 0;
	for (uint64_t left = req->cmd.blocks; left != 0; left &= left - 1, to += WEFT_BLOCK_BYTES) {
		unsigned bit = (unsigned)__builtin_ctzll(left);
		uint64_t at = req->offset / WEFT_BLOCK_BYTES + bit, index = at / GRANULE_BLOCKS;
		struct src src;
		int err;

		if (!map_sound(s, index))
			return EIO;
		map_resolve(s, gran_find(s, index), index, at % GRANULE_BLOCKS, &src);
		if (src.kind == SRC_ZERO) {
			memset(to, 0, WEFT_BLOCK_BYTES);
		} else if (src.kind == SRC_MEMORY) {
			memcpy(to, src.memory, WEFT_BLOCK_BYTES);
		} else if (!have || crc32c(0, to, WEFT_BLOCK_BYTES) != src.crc) {
			err = old_read_now(s, &src, to);
			if (err == -EAGAIN)
				*need |= 1ULL << bit;
			else if (err < 0)
				return EBADMSG;
		}
	}
	return 0;
}

/* ---- taking turns -------------------------------------------------------------------------- */

static void prep_free(struct prep *p)
{
	struct store *s = p->store;

	for (unsigned i = 0; i < p->nlinks; i++) {
		struct prep_link *l = &p->link[i];
		struct gran *g = l->gran;

		assert(g->first == l);
		g->first = l->next;
		if (g->first == NULL) {
			g->last = NULL;
			gran_rest(s, g);
		}
	}
	LIVE_REMOVE(p);
	slab_put(&s->preps, p);
	s->busy--;
}

static bool prep_first(const struct prep *p)
{
	for (unsigned i = 0; i < p->nlinks; i++)
		if (p->link[i].gran->first != &p->link[i])
			return false;
	return true;
}

static void prep_queue(struct prep *p)
{
	struct store *s = p->store;

	if (p->running || !prep_first(p))
		return;
	p->running = true;
	p->next = NULL;
	if (s->runnable == NULL)
		s->runnable = p;
	else
		s->runnable_last->next = p;
	s->runnable_last = p;
	s->env->ops->defer(s->env, &s->prep_task);
}

static void prep_end(struct prep *p, int err)
{
	struct store *s = p->store;
	struct nbd_req *req = p->req;
	struct buf *old = p->old;
	struct prep *after[PARTS_MAX];
	unsigned n = 0;

	if (err == 0)
		err = prepare_apply(s, req, old);
	for (unsigned i = 0; i < p->nlinks; i++)
		if (p->link[i].next != NULL)
			after[n++] = p->link[i].next->prep;
	prep_free(p);
	for (unsigned i = 0; i < n; i++)
		prep_queue(after[i]);
	if (err == EAGAIN) {
		buf_put(old);
		store_stall(s, req);
	} else {
		prepare_finish(s, req, old, err);
	}
	store_rest(s);
}

static void prep_step(struct prep *p);

static void prep_read_done(struct disk_op *op, int64_t res)
{
	struct prep_read *r = (struct prep_read *)((char *)op - offsetof(struct prep_read, op));
	struct prep *p = r->prep;

	if (res < 0) {
		p->store->stat.io_errors++;
		log_error("reading slot %u, offset %u for a PREPARE: %s",
			  (unsigned)(p->req->offset / WEFT_SHARD_BYTES),
			  (unsigned)(p->req->offset % WEFT_SHARD_BYTES + r->bit * WEFT_BLOCK_BYTES),
			  strerror((int)-res));
		p->error = EIO;
	}
	if (--p->pending == 0)
		prep_step(p);
}

static void prep_read_start(struct prep *p, unsigned bit, const struct src *src, unsigned n)
{
	struct store *s = p->store;
	struct prep_read *r = &p->read[n];
	unsigned index = (unsigned)__builtin_popcountll(p->req->cmd.blocks & ((1ULL << bit) - 1));
	struct iovec iov = {p->old->data + (size_t)index * WEFT_BLOCK_BYTES, WEFT_BLOCK_BYTES};

	r->prep = p;
	r->bit = (uint8_t)bit;
	r->op.done = prep_read_done;
	p->pending++;
	s->disk->ops->readv(s->disk, &r->op, &iov, 1, src->disk);
}

/* Look what is there, read what is not, and look again when it has come. */
static void prep_step(struct prep *p)
{
	struct store *s = p->store;
	struct nbd_req *req = p->req;
	struct vol *v;
	uint64_t need = 0;
	unsigned n = 0;
	int err = p->error != 0 ? p->error : prepare_check(s, req, &v);

	if (err == 0 && s->failed != 0)
		err = EIO;
	if (err == 0 && p->old == NULL && wants_old(req)) {
		p->old = buf_get(s->pool,
				 (size_t)__builtin_popcountll(req->cmd.blocks) * WEFT_BLOCK_BYTES);
		err = p->old == NULL ? EAGAIN : 0;
	}
	if (err == 0 && p->old != NULL)
		err = old_fill(s, req, p->old, p->retries > 0, &need);
	if (err == 0 && need != 0 && p->retries++ > READ_RETRIES_MAX)
		err = EBADMSG;
	if (err == EBADMSG) {
		s->stat.crc_errors++;
		log_error("slot %u, offset %u: the checksum does not match, met by a PREPARE",
			  (unsigned)(req->offset / WEFT_SHARD_BYTES),
			  (unsigned)(req->offset % WEFT_SHARD_BYTES));
	}
	if (err != 0 || need == 0) {
		prep_end(p, err);
		return;
	}
	for (; need != 0; need &= need - 1) {
		unsigned bit = (unsigned)__builtin_ctzll(need);
		uint64_t at = req->offset / WEFT_BLOCK_BYTES + bit, index = at / GRANULE_BLOCKS;
		struct src src;

		map_resolve(s, gran_find(s, index), index, at % GRANULE_BLOCKS, &src);
		assert(src.kind == SRC_DISK);
		prep_read_start(p, bit, &src, n++);
	}
}

static void prep_task(struct io_task *t)
{
	struct store *s = (struct store *)((char *)t - offsetof(struct store, prep_task));
	struct prep *list = s->runnable;

	s->runnable = s->runnable_last = NULL;
	while (list != NULL) {
		struct prep *p = list;

		list = p->next;
		prep_step(p);
	}
}

void prepare_init(struct store *s)
{
	s->prep_task.run = prep_task;
}

/* The long way: in the queues of all granules, until first in each. */
static void prep_start(struct store *s, struct nbd_req *req)
{
	struct prep *p;

	if (!slab_ensure(&s->preps, 1) || !slab_ensure(&s->grans, PARTS_MAX)) {
		store_stall(s, req);
		return;
	}
	p = slab_get(&s->preps);
	p->store = s;
	p->req = req;
	LIVE_ADD(s->live_preps, p);
	s->busy++;
	for (uint64_t i = first_gran(req); i <= last_gran(req); i++) {
		struct prep_link *l = &p->link[p->nlinks++];

		l->prep = p;
		l->gran = gran_get(s, i);
		if (l->gran->first == NULL)
			l->gran->first = l;
		else
			l->gran->last->next = l;
		l->gran->last = l;
	}
	prep_queue(p);
}

void prepare_request(struct store *s, struct nbd_req *req)
{
	uint64_t need = 0;
	struct buf *old = NULL;
	struct vol *v;
	int err = prepare_check(s, req, &v);

	if (err != 0) {
		nbd_req_done(req, err);
		return;
	}
	if (!wal_room_prepare(s, req->len)) {
		if (wal_room_undecided(s, req->len)) /* otherwise only a COMMIT helps */
			ckpt_want(s);
		store_stall(s, req);
		return;
	}
	for (uint64_t i = first_gran(req); i <= last_gran(req); i++) {
		const struct gran *g = gran_find(s, i);

		if (g != NULL && g->first != NULL) {
			prep_start(s, req);
			return;
		}
	}
	if (wants_old(req)) {
		old = buf_get(s->pool,
			      (size_t)__builtin_popcountll(req->cmd.blocks) * WEFT_BLOCK_BYTES);
		if (old == NULL) {
			store_stall(s, req);
			return;
		}
		if (old_fill(s, req, old, false, &need) != 0 || need != 0) {
			buf_put(old);
			prep_start(s, req);
			return;
		}
	}
	err = prepare_apply(s, req, old);
	if (err == EAGAIN) {
		buf_put(old);
		store_stall(s, req);
		return;
	}
	prepare_finish(s, req, old, err);
}
