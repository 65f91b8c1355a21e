/*
 * Giving space back, and telling where there is none in use. Whole extents leave the map (durably,
 * and after what runs in them has ended), their slots are discarded, and only then is the request
 * answered. The rest of a range becomes txs of zeros, which cost the servers no space either.
 *
 * A server that is away keeps its slot and its label when the others give theirs back. Should the
 * metadata be lost before it is told, recovery finds what was there before. So an extent is written
 * with zeros, like a part of it, while any of its servers is away: what that one has is marked as
 * stale. When it is back and rebuilt, the extent is given back (extent_drop_blank()). And when one
 * goes away in the very moment, the extent is placed anew, with labels and a mark that are above
 * those that stayed behind.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "log.h"
#include "stripe/engine.h"

#include "banned.h"

#define DISCARD_WINDOW 64 /* slots that are being discarded at once when a volume goes */

/* ---- whole extents ------------------------------------------------------------------------- */

/*
 * Everybody who has a slot of it can be told, and nobody has one that should be gone. Servers that
 * were removed for ever are not asked by recovery either.
 */
static bool extent_may_go(const struct volume *v, const struct extent *x)
{
	for (unsigned i = 0; i < v->shards; i++)
		if (x->place[i].slot_gen != 0 && !server_ok(shard_server(x, i)) &&
		    server_known(shard_server(x, i)))
			return false;
	for (unsigned i = 0; i < v->nservers; i++)
		if (v->servers[i]->owed != NULL && server_known(v->servers[i]))
			return false;
	return true;
}

struct drop {
	struct volume *v;
	struct extent *x; /* NULL: it has left the map */
	struct op *op;
	uint64_t number;
	unsigned pending; /* slots that are being given back */
	bool behind;	  /* one could not be: its server is away */
};

/* Marks that came meanwhile are recorded now. */
static void drop_failed(struct volume *v, struct extent *x)
{
	x->state = EXTENT_READY;
	extent_changed(v, x);
	if (x->marking)
		extent_record(v, x);
}

/* The metadata refused, and may have taken it from the map all the same: nothing is written there
 * before it has the record again. */
static void drop_refused(struct volume *v, struct extent *x)
{
	x->state = EXTENT_READY;
	extent_changed(v, x);
	v->marks += !x->marking;
	x->marking = true;
	extent_record(v, x);
}

/* Shards that were marked meanwhile are of no extent any more. */
static void drop_marks(struct volume *v, struct extent *x)
{
	if (!x->marking)
		return;
	x->marking = false;
	if (--v->marks == 0)
		flush_marked(v);
}

static void drop_end(struct drop *d)
{
	struct volume *v = d->v;
	struct op *op = d->op;

	free(d);
	volume_wake(v); /* ops that wait for the extent */
	op_put(op);
}

/* The labels of its new slots get a mark above all that there ever were. */
static void drop_replaced(void *arg, int err)
{
	struct drop *d = arg;
	struct extent *x = extent_find(d->v, d->number);

	if (x != NULL && x->state == EXTENT_READY)
		extent_record(d->v, x);
	else if (err != 0)
		log_warn("volume %s: extent %llu: a slot of it stays on a server that is away: %s",
			 d->v->name, (unsigned long long)d->number, strerror(-err));
	drop_end(d);
}

/* A slot stayed behind: place the extent anew, if nobody has meanwhile. */
static void drop_replace(struct drop *d)
{
	struct volume *v = d->v;
	uint64_t start = d->number * v->l.extent;
	struct op *op = NULL;

	if (extent_find(v, d->number) == NULL && v->state == VOLUME_RUNNING)
		op = op_own(v, NBD_CMD_WRITE_ZEROES, start, start + WEFT_BLOCK_BYTES, drop_replaced,
			    d);
	if (op == NULL) {
		drop_replaced(d, 0);
		return;
	}
	op->place = true;
	op_wait(op); /* never from inside this call */
	volume_wake(v);
}

static void drop_discarded(void *arg, bool given)
{
	struct drop *d = arg;

	d->behind |= !given;
	if (--d->pending > 0)
		return;
	if (d->behind)
		drop_replace(d);
	else
		drop_end(d);
}

static void drop_done(void *arg, int err)
{
	struct drop *d = arg;
	struct volume *v = d->v;
	struct extent *x = d->x;

	v->background--;
	if (err != 0) {
		log_error("volume %s: extent %llu: cannot be taken from the map: %s", v->name,
			  (unsigned long long)x->number, strerror(-err));
		drop_refused(v, x);
		op_fail(d->op, EIO);
		drop_end(d);
		return;
	}
	d->pending = 1;
	for (unsigned i = 0; i < v->shards; i++) {
		if (x->place[i].slot_gen == 0)
			continue;
		d->pending++;
		slot_discard(v, x->place[i].server, x->place[i].slot, x->place[i].slot_gen,
			     drop_discarded, d);
	}
	drop_marks(v, x);
	flush_forget(v, x->number);
	extent_forget(v, x);
	d->x = NULL;
	volume_wake(v); /* ops that wait for the extent */
	drop_discarded(d, true);
}

static void drop_zeroed(void *arg, int err)
{
	struct op *op = arg;

	if (err != 0)
		op_fail(op, -err);
	op_put(op);
}

/* One of its servers went while the extent came to rest: it stays, and becomes zeros. */
static void drop_as_zeros(struct volume *v, struct extent *x)
{
	struct op *op = x->drop, *zeros;
	uint64_t start = x->number * v->l.extent, end = start + v->l.extent;

	x->drop = NULL;
	drop_failed(v, x);
	zeros = op_own(v, NBD_CMD_WRITE_ZEROES, start, end < op->end ? end : op->end, drop_zeroed,
		       op);
	if (zeros == NULL) {
		drop_zeroed(op, -ENOMEM);
		return;
	}
	op_wait(zeros);
	volume_wake(v);
}

void extent_drop_advance(struct volume *v, struct extent *x)
{
	struct extent_record r;
	struct drop *d;

	if (x->drop == NULL) /* on its way already */
		return;
	assert(x->busy == 0);
	if (!extent_may_go(v, x)) {
		drop_as_zeros(v, x);
		return;
	}
	d = malloc(sizeof(*d));
	if (d == NULL) {
		struct op *op = x->drop;

		x->drop = NULL;
		drop_failed(v, x);
		op_fail(op, ENOMEM);
		op_put(op);
		return;
	}
	*d = (struct drop){.v = v, .x = x, .op = x->drop, .number = x->number};
	x->drop = NULL;
	extent_record_of(v, x, &r);
	v->background++;
	v->config.ops->extents_put(v->config.ctx, v, &r, 1, true, drop_done, d);
}

static void extent_drop(struct op *op, struct extent *x)
{
	x->state = EXTENT_DROPPING;
	extent_changed(op->v, x);
	x->drop = op;
	op->pending++;
	if (x->rebuild != NULL &&
	    (unsigned)__builtin_popcount(extent_whole(op->v, x)) >= op->v->min)
		rebuild_cancel(x); /* nobody waits for it any more */
	volume_wake(op->v);	   /* one that is carried gives up */
	if (x->busy == 0)
		extent_drop_advance(op->v, x);
}

/* ---- ranges -------------------------------------------------------------------------------- */

static bool all_of_extent(const struct op *op, uint64_t number)
{
	const struct volume *v = op->v;
	uint64_t start = number * v->l.extent, end = start + v->l.extent;

	if (end > v->config.size && v->config.size > start)
		end = v->config.size;
	return op->cursor == start && op->end >= end;
}

/* The next extent's part of the range. False: not now. */
static bool trim_next(struct op *op)
{
	struct volume *v = op->v;
	uint64_t number = op->cursor / v->l.extent;
	uint64_t next = (number + 1) * v->l.extent;
	struct extent *x = extent_find(v, number);
	bool none;

	if (next > op->end)
		next = op->end;
	none = x == NULL || (x->state == EXTENT_NEW && x->busy == 0);
	if (none != op->place) {
		op->cursor = next;
		return true;
	}
	if (!none && (x->state == EXTENT_DROPPING ||
		      (x->state != EXTENT_READY && all_of_extent(op, number)))) {
		op_wait(op);
		return false;
	}
	if (!none && all_of_extent(op, number) && extent_may_go(v, x)) {
		op->cursor = next;
		extent_drop(op, x);
		return true;
	}
	return write_next(op);
}

void trim_continue(struct op *op)
{
	while (op->cursor < op->end && op->pending <= OP_STRIPES_MAX)
		if (!trim_next(op))
			return;
}

static void blank_dropped(void *arg, int err)
{
	(void)arg; /* else it goes another time */
	(void)err;
}

void extent_drop_blank(struct volume *v, struct extent *x)
{
	struct op *op;

	if (v->state != VOLUME_RUNNING || v->reopening || x->state != EXTENT_READY || x->busy > 0 ||
	    x->stale != 0 || x->carry != NULL || flush_lacks(v, x) || !extent_may_go(v, x))
		return;
	op = op_own(v, NBD_CMD_TRIM, x->number * v->l.extent, (x->number + 1) * v->l.extent,
		    blank_dropped, NULL);
	if (op == NULL)
		return;
	op->once = true;
	op_continue(op);
}

/* ---- block status -------------------------------------------------------------------------- */

void status_answer(struct volume *v, struct nbd_req *req)
{
	struct nbd_status st[STATUS_MAX];
	uint64_t at = req->offset, end = req->offset + req->len;
	int n = 0, max = (req->flags & NBD_CMD_FLAG_REQ_ONE) != 0 ? 1 : (int)STATUS_MAX;

	while (at < end) {
		uint64_t number = at / v->l.extent, next = (number + 1) * v->l.extent;
		struct extent *x = extent_find(v, number);
		bool data = x != NULL && x->state == EXTENT_READY;
		uint32_t flags = data ? 0 : NBD_STATE_HOLE | NBD_STATE_ZERO;
		uint32_t len;

		if (next > end)
			next = end;
		len = (uint32_t)(next - at);
		if (n > 0 && st[n - 1].flags == flags)
			st[n - 1].len += len;
		else if (n == max)
			break;
		else
			st[n++] = (struct nbd_status){.len = len, .flags = flags};
		at = next;
	}
	nbd_req_done_status(req, st, n);
}

/* ---- a whole volume ------------------------------------------------------------------------ */

struct discard_all {
	struct volume *v;
	void (*done)(void *arg, int err);
	void *arg;
	struct io_timer timer;
};

#define DISCARD_POLL_MS 2

static void discard_more(struct io_timer *t)
{
	struct discard_all *d =
		(struct discard_all *)((char *)t - offsetof(struct discard_all, timer));
	struct volume *v = d->v;
	struct extent *x;

	while (v->background < DISCARD_WINDOW && (x = extent_next(v, 0)) != NULL) {
		if (x->state == EXTENT_READY)
			for (unsigned i = 0; i < v->shards; i++)
				slot_discard(v, x->place[i].server, x->place[i].slot,
					     x->place[i].slot_gen, NULL, NULL);
		extent_forget(v, x);
	}
	if (v->background > 0 || extent_next(v, 0) != NULL) {
		v->config.env->ops->timer_set(v->config.env, &d->timer,
					      volume_now(v) + DISCARD_POLL_MS * NS_PER_MS);
		return;
	}
	d->done(d->arg, 0);
	free(d);
}

void volume_discard(struct volume *v, void (*done)(void *arg, int err), void *arg)
{
	struct discard_all *d = calloc(1, sizeof(*d));

	assert(v->state == VOLUME_STOPPED);
	if (d == NULL) {
		done(arg, -ENOMEM);
		return;
	}
	d->v = v;
	d->done = done;
	d->arg = arg;
	d->timer.fire = discard_more;
	v->config.env->ops->timer_set(v->config.env, &d->timer, volume_now(v));
}
