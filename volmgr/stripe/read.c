/*
 * Reading healthy shards: one plain READ for each data shard that the request touches, its bytes
 * scattered to their places in one answer. No queue, no rounding. What cannot be read this way
 * goes to degraded.c.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "log.h"
#include "stripe/engine.h"

#include "banned.h"

/* Where a byte of the first buffer is in the one that is answered with. */
static uint8_t *read_place(const struct op *op, uint8_t *at)
{
	return op->late == NULL ? at : op->buf->data + (at - op->late->data);
}

/* A READ failed, or its server is not there: each unit's piece is decoded on its own. */
static void read_otherwise(struct op *op, struct extent *x, unsigned shard, uint32_t at,
			   const struct iovec *iov, int niov, uint32_t bad, uint32_t avoid)
{
	for (int i = 0; i < niov; i++) {
		uint32_t len = (uint32_t)iov[i].iov_len;

		dread_queue(op, x, shard, at, len, read_place(op, iov[i].iov_base), bad, avoid);
		at += len;
	}
}

/* It has been answered without. */
static void read_late(struct read_call *r, int error)
{
	struct volume *v = r->v;
	struct extent *x = r->x;

	if (error == -ENOTCONN)
		server_broke(r->server);
	buf_put(r->buf);
	slab_put(&v->reads, r);
	v->background--;
	extent_unbusy(v, x);
	if (v->stopped != NULL)
		volume_wake(v);
}

/* Answer from another buffer than the one that late answers go to. */
static bool read_part_from_late(struct op *op)
{
	uint32_t len = (uint32_t)(op->end - op->offset);
	struct buf *buf;

	if (op->late != NULL)
		return true;
	buf = buf_get(op->v->config.pool, len);
	if (buf == NULL)
		return false;
	memcpy(buf->data, op->buf->data, len); /* what is not there yet will land */
	for (int i = 0; i < op->nsegs; i++)
		if (op->segs[i].buf != NULL)
			op->segs[i].buf = buf;
	op->late = op->buf;
	op->buf = buf;
	return true;
}

void read_landed(struct op *op, const uint8_t *at, uint32_t len)
{
	const struct buf *late = op->late;

	if (late != NULL && at >= late->data && at < late->data + late->cap)
		memcpy(op->buf->data + (at - late->data), at, len);
}

bool read_hedge(struct read_call *r)
{
	struct op *op = r->op;

	if (!read_part_from_late(op))
		return false;
	r->hedged = true;
	r->op = NULL;
	r->buf = buf_ref(op->late);
	r->v->background++;
	r->v->stat.hedged_reads++;
	read_otherwise(op, r->x, r->shard, r->at, r->iov, r->niov, 0, 1u << r->shard);
	op_put(op);
	return true;
}

static void read_done(struct nbd_call *call, int error)
{
	struct read_call *r = (struct read_call *)call;
	struct op *op = r->op;
	struct extent *x = r->x;
	struct volume *v = r->v;

	hedge_answered(r, error);
	if (r->hedged) {
		read_late(r, error);
		return;
	}
	if (error != 0) {
		uint32_t bad = 0;

		if (error == -ENOTCONN)
			server_broke(r->server);
		else if (r->server == shard_server(x, r->shard)) /* else it is elsewhere now */
			bad = 1u << r->shard;
		if (bad != 0)
			log_warn("volume %s: extent %llu: shard %u on server %u cannot be read: %s",
				 v->name, (unsigned long long)x->number, r->shard,
				 r->server->number, strerror(error < 0 ? -error : error));
		if (error == (int)WEFT_EBADMSG)
			v->stat.crc_errors++;
		read_otherwise(op, x, r->shard, r->at, r->iov, r->niov, bad, 0);
	}
	for (int i = 0; error == 0 && i < r->niov; i++)
		read_landed(op, r->iov[i].iov_base, (uint32_t)r->iov[i].iov_len);
	slab_put(&v->reads, r);
	extent_unbusy(v, x);
	op_put(op);
}

static struct read_call *read_new(struct op *op, struct extent *x, unsigned shard, uint32_t at)
{
	struct read_call *r = slab_get(&op->v->reads);

	if (r == NULL)
		return NULL;
	r->op = op;
	r->v = op->v;
	r->x = x;
	r->shard = (uint8_t)shard;
	r->at = at;
	r->niov = 0;
	r->call.len = 0;
	return r;
}

static void read_submit(struct read_call *r)
{
	struct op *op = r->op;
	struct extent *x = r->x;
	struct server *s = shard_server(x, r->shard);

	bool slow = server_slow(s) && hedge_can(op->v, x, r->shard);

	op->pending++;
	if (!server_ok(s) || (x->stale >> r->shard & 1) != 0 || slow) {
		x->busy++;
		op->v->stat.hedged_reads += slow;
		read_otherwise(op, x, r->shard, r->at, r->iov, r->niov, 0,
			       slow ? 1u << r->shard : 0);
		slab_put(&op->v->reads, r);
		extent_unbusy(op->v, x);
		op_put(op);
		return;
	}
	x->busy++;
	r->call.type = NBD_CMD_READ;
	r->call.flags = 0;
	r->call.offset = (uint64_t)x->place[r->shard].slot * WEFT_SHARD_BYTES + r->at;
	r->call.out = NULL;
	r->call.nout = 0;
	r->call.in = r->iov;
	r->call.nin = r->niov;
	r->call.done = read_done;
	hedge_sent(r);
	server_submit(s, &r->call);
}

/* Bytes [from, to) of data shard j; base is where byte at of the extent belongs. */
static int read_shard(struct op *op, struct extent *x, unsigned j, uint32_t from, uint32_t to,
		      uint64_t at, uint8_t *base)
{
	const struct layout *l = &op->v->l;
	struct read_call *r = NULL;

	while (from < to) {
		uint32_t len = l->unit - (from & (l->unit - 1));

		if (len > to - from)
			len = to - from;
		if (r == NULL)
			r = read_new(op, x, j, from);
		if (r == NULL)
			return ENOMEM;
		r->iov[r->niov++] =
			(struct iovec){base + (layout_extent_byte(l, from, j) - at), len};
		r->call.len += len;
		from += len;
		if (r->niov == READ_IOV_MAX) {
			read_submit(r);
			r = NULL;
		}
	}
	if (r != NULL)
		read_submit(r);
	return 0;
}

/* Bytes [at, at + len) of one extent into base. */
static void read_extent(struct op *op, struct extent *x, uint64_t at, uint32_t len, uint8_t *base)
{
	const struct layout *l = &op->v->l;
	uint32_t within = (uint32_t)(at % l->stripe);
	unsigned j = within >> l->unit_shift;

	if ((within & (l->unit - 1)) + len <= l->unit) { /* one unit: the common case */
		uint32_t from = layout_edge(l, at, j);

		if (read_shard(op, x, j, from, from + len, at, base) != 0)
			op_fail(op, ENOMEM);
		return;
	}
	for (j = 0; j < l->k; j++) {
		uint32_t from = layout_edge(l, at, j), to = layout_edge(l, at + len, j);

		if (from < to && read_shard(op, x, j, from, to, at, base) != 0)
			op_fail(op, ENOMEM);
	}
}

static struct extent *read_present(struct volume *v, uint64_t number)
{
	struct extent *x = extent_find(v, number);

	return x != NULL && x->state == EXTENT_READY ? x : NULL;
}

/* Any extent with shards in the range? */
static bool read_any(struct op *op)
{
	const struct layout *l = &op->v->l;

	for (uint64_t e = op->offset / l->extent; e <= (op->end - 1) / l->extent; e++)
		if (read_present(op->v, e) != NULL)
			return true;
	return false;
}

static void add_seg(struct op *op, struct buf *buf, uint32_t offset, uint32_t len)
{
	assert(op->nsegs < (int)OP_SEGS_MAX);
	op->segs[op->nsegs++] = (struct nbd_seg){.buf = buf, .offset = offset, .len = len};
}

void read_continue(struct op *op)
{
	struct volume *v = op->v;
	const struct layout *l = &v->l;
	uint64_t end = op->end;

	if (!read_any(op)) {
		add_seg(op, NULL, 0, (uint32_t)(end - op->offset));
		op->cursor = end;
		return;
	}
	op->buf = buf_get(v->config.pool, end - op->offset);
	if (op->buf == NULL) { /* others have to finish first */
		op_wait(op);
		v->config.env->ops->timer_set(v->config.env, &v->retry_timer,
					      volume_now(v) + RETRY_MS * NS_PER_MS);
		return;
	}
	while (op->cursor < end) {
		uint64_t number = op->cursor / l->extent;
		uint64_t at = op->cursor - number * l->extent;
		uint64_t left = end - op->cursor;
		uint32_t len = (uint32_t)(left < l->extent - at ? left : l->extent - at);
		uint32_t offset = (uint32_t)(op->cursor - op->offset);
		struct extent *x = read_present(v, number);

		add_seg(op, x == NULL ? NULL : op->buf, offset, len);
		op->cursor += len;
		if (x != NULL)
			read_extent(op, x, at, len, op->buf->data + offset);
	}
}

void read_start(struct op *op)
{
	if (op->cursor == op->end) {
		op->error = EINVAL;
		op_put(op);
		return;
	}
	op_continue(op);
}
