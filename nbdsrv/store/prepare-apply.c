/* The last step of PREPARE: resulting bytes, places for them, a ptx and its record. */
#include "config.h"

#include <sys/uio.h>

#include "store/store_internal.h"

#include "banned.h"

/* What becomes of the blocks in one granule. */
struct piece {
	uint64_t index;
	uint16_t mask;
	uint8_t kind;
	bool reserve;
	uint32_t phys;
	uint32_t data; /* of its first block in the payload */
};

static unsigned split(const struct nbd_req *req, struct piece *piece)
{
	uint64_t at = req->offset / WEFT_BLOCK_BYTES;
	uint32_t data = 0;
	unsigned n = 0;

	for (uint64_t left = req->cmd.blocks; left != 0; left &= left - 1) {
		uint64_t block = at + (uint64_t)__builtin_ctzll(left);
		uint64_t index = block / GRANULE_BLOCKS;

		if (n == 0 || piece[n - 1].index != index) {
			assert(n < PARTS_MAX);
			piece[n++] = (struct piece){.index = index, .data = data};
		}
		piece[n - 1].mask |= (uint16_t)(1u << block % GRANULE_BLOCKS);
		data += WEFT_BLOCK_BYTES;
	}
	return n;
}

static void places_undo(struct store *s, struct piece *piece, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (piece[i].phys != 0)
			granule_free(s, piece[i].phys);
		if (piece[i].reserve)
			granule_unreserve(s);
	}
}

/*
 * A whole granule goes to a free one, and into the log only when none is free but it has one
 * already. Less goes into the log; what has no granule yet keeps one free, so that a commit cannot
 * fail.
 */
static int place(struct store *s, const struct nbd_req *req, struct piece *p)
{
	const struct gran *g = gran_find(s, p->index);
	const struct disk_entry *e = map_entry(s, p->index);
	bool mapped = e->phys != 0 || (g != NULL && g->reserved);

	if (req->cmd.mode == WEFT_MODE_ZERO) {
		p->kind = PART_ZERO;
		return 0;
	}
	p->kind = PART_LOG;
	if (p->mask == GRANULE_FULL) {
		p->phys = granule_alloc(s, false);
		if (p->phys != 0) {
			p->kind = PART_FRESH;
			return 0;
		}
	}
	/* blocks that are there have their place on the disk, others may still need it */
	if (mapped && (p->mask & ~le16toh(e->present)) == 0)
		return 0;
	if (mapped)
		return granule_really_free(s) ? 0 : ENOSPC;
	p->reserve = granule_reserve(s);
	if (p->reserve)
		return 0;
	return space_waits(s) ? EAGAIN : ENOSPC;
}

/* A later tx of the volume has these blocks already: the order would be lost. */
static bool comes_late(struct store *s, const struct nbd_req *req, const struct piece *p)
{
	const struct gran *g = gran_find(s, p->index);

	for (const struct part *q = g != NULL ? g->newest : NULL; q != NULL; q = q->older)
		if ((q->mask & p->mask) != 0 && q->ptx->tx > req->cmd.tx)
			return true;
	return false;
}

static void xor_into(uint8_t *dst, const uint8_t *src, size_t len)
{
	for (size_t i = 0; i < len; i += 8) {
		uint64_t a, b;

		memcpy(&a, dst + i, 8);
		memcpy(&b, src + i, 8);
		a ^= b;
		memcpy(dst + i, &a, 8);
	}
}

static void fresh_done(struct disk_op *op, int64_t res)
{
	struct fresh_write *f =
		(struct fresh_write *)((char *)op - offsetof(struct fresh_write, op));
	struct store *s = f->store;

	s->busy--;
	if (res >= 0) {
		part_drop_memory(s, f->part);
		wal_fresh_done(s, f->ptx);
	} else if (res == -ENOSPC && wal_fresh_to_log(s, f->part)) {
		wal_fresh_done(s, f->ptx);
	} else {
		store_fail(s, (int)-res, "writing a granule");
	}
	ptx_put(s, f->ptx);
	slab_put(&s->freshes, f);
	store_rest(s);
}

/* The bytes of a whole granule go to their place now; its record waits for them. */
static void fresh_start(struct store *s, struct ptx *t, struct part *p)
{
	uint64_t at = granule_offset(s, p->phys);
	struct iovec iov = {t->payload->data + p->data, GRANULE_BYTES};
	struct fresh_write *f;

	t->fresh_pending++;
	if (s->disk->ops->write_now != NULL &&
	    s->disk->ops->write_now(s->disk, iov.iov_base, GRANULE_BYTES, at) ==
		    (int)GRANULE_BYTES) {
		part_drop_memory(s, p);
		wal_fresh_done(s, t);
		return;
	}
	f = slab_get(&s->freshes);
	assert(f != NULL); /* ensured */
	f->store = s;
	f->part = p;
	f->ptx = t;
	f->op.done = fresh_done;
	t->refs++;
	s->busy++;
	s->disk->ops->writev(s->disk, &f->op, &iov, 1, at);
}

static struct part *make_part(struct store *s, struct ptx *t, const struct piece *piece)
{
	struct gran *g = gran_get(s, piece->index);
	struct part *p = slab_get(&s->parts);

	p->ptx = t;
	p->mask = piece->mask;
	p->kind = piece->kind;
	p->granule = (uint8_t)(piece->index % SLOT_GRANULES);
	p->phys = piece->phys;
	p->data = piece->data;
	if (piece->reserve)
		g->reserved = true;
	if (p->kind != PART_ZERO) {
		p->in_memory = true;
		t->mem_users++;
		for (unsigned b = 0; b < GRANULE_BLOCKS; b++)
			if ((p->mask & (1u << b)) != 0)
				p->crc[b] = crc32c(0, part_data(p, b), WEFT_BLOCK_BYTES);
	}
	if (p->kind == PART_LOG)
		t->log_bytes += (uint32_t)__builtin_popcount(p->mask) * WEFT_BLOCK_BYTES;
	part_add(s, g, p);
	return p;
}

static struct ptx *make_ptx(struct store *s, struct vol *v, const struct nbd_req *req)
{
	struct ptx *t = slab_get(&s->ptxs);

	t->vol = v;
	t->tx = req->cmd.tx;
	t->offset = req->offset;
	t->blocks = req->cmd.blocks;
	t->slot = (uint32_t)(req->offset / WEFT_SHARD_BYTES);
	t->slot_gen = req->cmd.slot_gen;
	t->participants = req->cmd.participants;
	t->state = PTX_PREPARED;
	t->refs = 2; /* its state, and its record */
	if (req->payload != NULL)
		t->payload = buf_ref(req->payload);
	return t;
}

static void make(struct store *s, struct vol *v, struct nbd_req *req, const struct piece *piece,
		 unsigned n)
{
	struct ptx *t = make_ptx(s, v, req);
	struct rec *r = slab_get(&s->recs);
	struct part **at = &t->parts;

	for (unsigned i = 0; i < n; i++) {
		*at = make_part(s, t, &piece[i]);
		at = &(*at)->ptx_next;
	}
	ptx_list_add(v, t);
	s->stat.prepared++;
	s->undecided_bytes += t->log_bytes;
	r->type = REC_PREPARE;
	r->ptx = t;
	wal_append(s, r);
	for (struct part *p = t->parts; p != NULL; p = p->ptx_next)
		if (p->kind == PART_FRESH)
			fresh_start(s, t, p);
}

/* 0, or a positive errno; EAGAIN: try again when there is memory. */
int prepare_apply(struct store *s, struct nbd_req *req, const struct buf *old)
{
	struct piece piece[PARTS_MAX];
	struct vol *v;
	const struct ptx *same;
	unsigned n;
	int err = prepare_check(s, req, &v);

	if (err != 0)
		return err;
	same = ptx_find(v, req->cmd.tx, (uint32_t)(req->offset / WEFT_SHARD_BYTES));
	if (same != NULL) /* said again, after its answer was lost */
		return same->offset == req->offset && same->blocks == req->cmd.blocks &&
				       (req->cmd.flags & WEFT_FLAG_WANT_OLD) == 0
			       ? 0
			       : EINVAL;
	if (!slab_ensure(&s->ptxs, 1) || !slab_ensure(&s->recs, 1) ||
	    !slab_ensure(&s->parts, PARTS_MAX) || !slab_ensure(&s->grans, PARTS_MAX) ||
	    !slab_ensure(&s->freshes, PARTS_MAX))
		return EAGAIN;
	n = split(req, piece);
	for (unsigned i = 0; i < n; i++)
		if (comes_late(s, req, &piece[i]))
			return EINVAL;
	for (unsigned i = 0; i < n; i++) {
		err = place(s, req, &piece[i]);
		if (err != 0) {
			places_undo(s, piece, i);
			return err;
		}
	}
	if (req->cmd.mode == WEFT_MODE_XOR)
		xor_into(req->payload->data, old->data, req->len);
	make(s, v, req, piece, n);
	return 0;
}
