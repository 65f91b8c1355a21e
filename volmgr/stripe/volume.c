/*
 * Requests of a volume: from volume_submit() to nbd_req_done*(), and the life of the volume itself.
 *
 * An op stands for one request. It is split from its cursor on into reads, stripe parts or extents
 * to drop, not all at once when it is large; each holds one of op.pending until it ends.
 */
#include "config.h"

#include "stripe/volume.h"

#include <errno.h>
#include <string.h>

#include "log.h"
#include "stripe/engine.h"

#include "banned.h"

#define KEEP_SMALL 1024 /* free objects kept: requests, parts, reads */
#define KEEP_TX	   256
#define KEEP_DREAD 64

void op_list_init(struct op_list *l)
{
	l->head = NULL;
	l->tail = &l->head;
}

void op_list_add(struct op_list *l, struct op *op)
{
	op->next = NULL;
	*l->tail = op;
	l->tail = &op->next;
}

struct op *op_list_take(struct op_list *l)
{
	struct op *op = l->head;

	if (op == NULL)
		return NULL;
	l->head = op->next;
	if (l->head == NULL)
		l->tail = &l->head;
	return op;
}

uint64_t volume_now(const struct volume *v)
{
	return v->config.env->ops->now_ns(v->config.env);
}

void volume_wake(struct volume *v)
{
	v->config.env->ops->defer(v->config.env, &v->task);
}

/* ---- ops ----------------------------------------------------------------------------------- */

static struct op *op_new(struct volume *v, struct nbd_req *req)
{
	struct op *op = slab_get(&v->ops);

	if (op == NULL)
		return NULL;
	op->v = v;
	op->req = req;
	op->done = NULL;
	op->next = NULL;
	op->pending = 1;
	op->era = v->era;
	op->error = 0;
	op->zero = op->fua = op->place = op->once = false;
	op->splitting = op->queued = op->waiting = false;
	op->buf = op->late = NULL;
	op->nsegs = 0;
	return op;
}

struct op *op_own(struct volume *v, uint16_t type, uint64_t offset, uint64_t end,
		  void (*done)(void *arg, int err), void *arg)
{
	struct op *op = op_new(v, NULL);

	if (op == NULL)
		return NULL;
	op->type = type;
	op->offset = op->cursor = offset;
	op->end = end;
	op->zero = type == NBD_CMD_TRIM || type == NBD_CMD_WRITE_ZEROES;
	op->done = done;
	op->arg = arg;
	v->own_ops++;
	return op;
}

void op_waiting(struct op *op, bool waiting)
{
	if (op->waiting == waiting)
		return;
	op->waiting = waiting;
	if (waiting)
		op->v->stat.waiting++;
	else
		op->v->stat.waiting--;
}

/* What the requester is told: what went wrong inside is an I/O error to a client. */
static int client_error(int error)
{
	switch (error) {
	case 0:
	case ENOSPC:
	case ENOMEM:
	case ESHUTDOWN:
		return error;
	default:
		return EIO;
	}
}

static void op_answer(struct nbd_req *req, struct op *op)
{
	struct nbd_seg segs[OP_SEGS_MAX];
	int nsegs = op->nsegs;
	int error = client_error(op->error);
	struct buf *buf = op->buf;

	buf_put(op->late);
	if (op->type != NBD_CMD_READ || error != 0) {
		slab_put(&op->v->ops, op);
		buf_put(buf);
		nbd_req_done(req, error);
		return;
	}
	memcpy(segs, op->segs, (size_t)nsegs * sizeof(segs[0]));
	for (int i = 0; i < nsegs; i++)
		if (segs[i].buf != NULL)
			buf_ref(segs[i].buf);
	buf_put(buf);
	slab_put(&op->v->ops, op);
	nbd_req_done_data(req, segs, nsegs);
}

static bool op_writes(const struct op *op)
{
	return op->zero || op->type == NBD_CMD_WRITE;
}

/* Parts that were done meanwhile may be undone by now, see reopen.c: all of it, from the beginning.
 */
static void op_redo(struct op *op)
{
	op->era = op->v->era;
	op->pending = 1;
	op->cursor = op->offset;
	op_continue(op);
}

static void op_finish(struct op *op)
{
	struct volume *v = op->v;

	op_waiting(op, false);
	if (op->era != v->era && op->error == 0 && op_writes(op) && !op->once) {
		op_redo(op);
		return;
	}
	if (op->fua && op->error == 0) {
		op->fua = false;
		op->pending = 1;
		flush_request(op);
		return;
	}
	if (op->req != NULL) {
		v->inflight--;
		op_answer(op->req, op);
	} else {
		void (*done)(void *arg, int err) = op->done;
		void *arg = op->arg;
		int err = -op->error;

		v->own_ops--;
		slab_put(&v->ops, op);
		done(arg, err);
	}
	if (v->stopped != NULL)
		volume_wake(v);
}

void op_put(struct op *op)
{
	assert(op->pending > 0);
	if (--op->pending == 0) {
		op_finish(op);
		return;
	}
	if (op->cursor < op->end && !op->splitting && !op->queued)
		op_continue(op);
}

void op_fail(struct op *op, int error)
{
	assert(error > 0);
	if (op->error == 0)
		op->error = error;
}

void op_wait(struct op *op)
{
	assert(!op->queued);
	op->queued = true;
	op_list_add(&op->v->retry, op);
}

/* One of op.pending belongs to the splitting until the cursor is at the end. */
void op_continue(struct op *op)
{
	if (op->error != 0)
		op->cursor = op->end;
	if (op->cursor < op->end) {
		op->splitting = true;
		if (op->type == NBD_CMD_READ)
			read_continue(op);
		else if (op->zero)
			trim_continue(op);
		else
			write_continue(op);
		op->splitting = false;
		if (op->error != 0 && !op->queued)
			op->cursor = op->end;
	}
	if (op->cursor >= op->end && !op->queued)
		op_put(op);
}

static void op_start(struct op *op)
{
	struct volume *v = op->v;
	struct nbd_req *req = op->req;

	switch (op->type) {
	case NBD_CMD_READ:
		v->stat.reads++;
		v->stat.read_bytes += req->len;
		read_start(op);
		return;
	case NBD_CMD_WRITE:
		v->stat.writes++;
		v->stat.write_bytes += req->len;
		break;
	case NBD_CMD_WRITE_ZEROES:
	case NBD_CMD_TRIM:
		v->stat.trims++;
		break;
	case NBD_CMD_FLUSH:
		v->stat.flushes++;
		flush_request(op);
		return;
	case NBD_CMD_BLOCK_STATUS:
		op_waiting(op, false);
		slab_put(&v->ops, op);
		v->inflight--;
		status_answer(v, req);
		return;
	default: /* CACHE: there is nothing to warm */
		op->cursor = op->end;
		break;
	}
	op_continue(op);
}

static void op_fit(struct op *op)
{
	struct nbd_req *req = op->req;

	op->type = req->type;
	op->offset = req->offset;
	op->end = req->offset + req->len;
	op->fua = (req->flags & NBD_CMD_FLAG_FUA) != 0 && req->type != NBD_CMD_READ &&
		  req->type != NBD_CMD_FLUSH && req->type != NBD_CMD_CACHE &&
		  req->type != NBD_CMD_BLOCK_STATUS;
	op->zero = req->type == NBD_CMD_TRIM || req->type == NBD_CMD_WRITE_ZEROES;
	if (req->type == NBD_CMD_TRIM) { /* advice: what is not a whole block stays */
		op->offset =
			(op->offset + WEFT_BLOCK_BYTES - 1) & ~(uint64_t)(WEFT_BLOCK_BYTES - 1);
		op->end &= ~(uint64_t)(WEFT_BLOCK_BYTES - 1);
		if (op->offset > op->end)
			op->offset = op->end;
	}
	op->cursor = op->offset;
}

void volume_submit(struct volume *v, struct nbd_req *req)
{
	struct op *op;

	if (v->state > VOLUME_RUNNING) {
		nbd_req_done(req, ESHUTDOWN);
		return;
	}
	op = op_new(v, req);
	if (op == NULL) {
		nbd_req_done(req, ENOMEM);
		return;
	}
	op_fit(op);
	v->inflight++;
	if (v->state == VOLUME_RUNNING) {
		op_start(op);
	} else {
		op_waiting(op, true);
		op_list_add(&v->held, op);
	}
}

void volume_run_held(struct volume *v)
{
	struct op *op;

	while ((op = op_list_take(&v->held)) != NULL) {
		op_waiting(op, false);
		if (v->state == VOLUME_RUNNING) {
			op_start(op);
			continue;
		}
		op->fua = false;
		op_fail(op, ESHUTDOWN);
		op_put(op);
	}
}

/* ---- the task: what the present batch of events left to do --------------------------------- */

static void run_retries(struct volume *v)
{
	struct op_list list = v->retry;
	struct op *op;

	if (list.head == NULL)
		return;
	op_list_init(&v->retry);
	while (list.head != NULL) {
		op = list.head;
		list.head = op->next;
		op->queued = false;
		op_waiting(op, false);
		op_continue(op);
	}
}

static void volume_task(struct io_task *t)
{
	struct volume *v = (struct volume *)((char *)t - offsetof(struct volume, task));
	struct stripe *st;

	run_retries(v);
	reopen_run(v);
	if (v->look) {
		v->look = false;
		txs_settle(v);
		flush_look(v);
		servers_trust(v);
		moves_try(v);
	}
	if (v->placings_changed) {
		v->placings_changed = false;
		placings_advance(v);
	}
	while ((st = v->start) != NULL) {
		v->start = st->next;
		if (v->start == NULL)
			v->start_tail = &v->start;
		st->place = STRIPE_NOWHERE;
		stripe_advance(v, st);
	}
	rebuild_run(v);
	carry_run(v);
	settle_run(v);
	flush_start(v);
	confirm_run(v);
	if (v->stopped != NULL)
		volume_check_stop(v);
}

/* Servers were full, and writes waited: they look again. */
static void full_fire(struct io_timer *t)
{
	volume_unstall((struct volume *)((char *)t - offsetof(struct volume, full_timer)));
}

static void retry_fire(struct io_timer *t)
{
	struct volume *v = (struct volume *)((char *)t - offsetof(struct volume, retry_timer));

	volume_unstall(v);
	for (struct undecided *u = v->undecided; u != NULL; u = u->next)
		if (u->tx != NULL && u->tx->phase == TX_ABORT_WAIT && u->tx->st->dreads != NULL)
			stripe_start(v, u->tx->st);
}

/* Somebody else owns the volume now, or the start failed: nothing may be changed any more. */
void volume_fail(struct volume *v, int error)
{
	void (*ready)(void *arg, int err) = v->ready;

	if (v->state == VOLUME_FENCED || v->state == VOLUME_STOPPED)
		return;
	log_error("volume %s: not ours any more (%s): no further requests are taken", v->name,
		  strerror(error));
	v->state = VOLUME_FENCED;
	volume_changed(v);
	v->ready = NULL;
	v->reopening = false;
	moves_recorded(v, NULL, -ESTALE);
	volume_scrub_stop(v);
	volume_run_held(v);
	volume_unstall(v);
	volume_unstall(v);
	txs_settle(v);
	flush_want(v);
	volume_wake(v);
	if (ready != NULL)
		ready(v->ready_arg, -error);
}

void volume_refuse(struct volume *v, int error)
{
	volume_fail(v, error);
}

/* ---- life ---------------------------------------------------------------------------------- */

static size_t tx_size(const struct volume *v)
{
	return sizeof(struct tx) + v->shards * sizeof(struct tx_call) +
	       (size_t)v->l.k * v->l.blocks * sizeof(uint8_t *);
}

static void init_lists(struct volume *v)
{
	op_list_init(&v->retry);
	op_list_init(&v->held);
	op_list_init(&v->flush.waiting);
	op_list_init(&v->flush.answered);
	v->start_tail = &v->start;
	v->mem_tail = &v->mem_head;
	slab_init(&v->ops, sizeof(struct op), KEEP_SMALL);
	slab_init(&v->reads, sizeof(struct read_call), KEEP_SMALL);
	slab_init(&v->parts, sizeof(struct wpart), KEEP_SMALL);
	slab_init(&v->stripes, sizeof(struct stripe), KEEP_SMALL);
	slab_init(&v->dreads, sizeof(struct dread) + v->shards * sizeof(struct dread_call),
		  KEEP_DREAD);
	slab_init(&v->txs, tx_size(v), KEEP_TX);
	v->task.run = volume_task;
	v->retry_timer.fire = retry_fire;
	v->flush_timer.fire = flush_timer_fire;
	v->put_timer.fire = extent_put_retry;
	v->start_timer.fire = open_timer_fire;
	v->grace_timer.fire = server_grace_fire;
	v->hedge_timer.fire = hedge_fire;
	v->rebuild.timer.fire = rebuild_tick;
	v->carry_timer.fire = carry_timer_fire;
}

static void volume_release(struct volume *v)
{
	rebuilds_free(v);
	carries_free(v);
	extents_free(v);
	servers_free(v);
	slab_destroy(&v->ops);
	slab_destroy(&v->reads);
	slab_destroy(&v->parts);
	slab_destroy(&v->stripes);
	slab_destroy(&v->dreads);
	slab_destroy(&v->txs);
	if (v->scratch != NULL)
		buf_pool_destroy(v->scratch);
	ec_destroy(v->ec);
	free(v->ring);
	free(v->hash);
	free(v);
}

struct volume *volume_create(const struct volume_config *config)
{
	struct volume *v = calloc(1, sizeof(*v));

	if (v == NULL)
		return NULL;
	v->config = *config;
	assert(config->size % WEFT_BLOCK_BYTES == 0 && config->size <= VOLUME_SIZE_MAX);
	assert(config->epoch > 0);
	if (layout_init(&v->l, config->k, config->m, config->unit_bytes) != 0) {
		errno = EINVAL;
		free(v);
		return NULL;
	}
	v->shards = config->k + config->m;
	volume_set_min(v, config->min, config->below_min_fail);
	snprintf(v->name, sizeof(v->name), "%s", config->name);
	v->config.name = v->name;
	init_lists(v);
	v->full_timer.fire = full_fire;
	v->next_tx = epoch_first_tx(config->epoch);
	v->last_mark = (config->epoch & 0xfffff) << 12; /* as generations */
	v->ec = ec_create(config->code, config->k, config->m);
	v->rebuild.round = 1;
	v->rebuild.window = 1;
	v->scratch = buf_pool_create(SCRATCH_BYTES, 0);
	if (v->ec == NULL || v->scratch == NULL) {
		int err = v->ec == NULL ? errno : ENOMEM;

		volume_release(v);
		errno = err;
		return NULL;
	}
	return v;
}

void volume_free(struct volume *v)
{
	struct env *env = v->config.env;

	assert(v->state == VOLUME_STOPPED || v->state == VOLUME_NEW);
	assert(v->inflight == 0 && v->own_ops == 0 && v->background == 0 && !v->task.queued);
	env->ops->timer_cancel(env, &v->retry_timer);
	env->ops->timer_cancel(env, &v->flush_timer);
	env->ops->timer_cancel(env, &v->put_timer);
	env->ops->timer_cancel(env, &v->start_timer);
	env->ops->timer_cancel(env, &v->scrub.timer);
	env->ops->timer_cancel(env, &v->full_timer);
	env->ops->timer_cancel(env, &v->grace_timer);
	env->ops->timer_cancel(env, &v->hedge_timer);
	env->ops->timer_cancel(env, &v->rebuild.timer);
	env->ops->timer_cancel(env, &v->carry_timer);
	volume_release(v);
}

void volume_set_min(struct volume *v, unsigned min, bool below_min_fail)
{
	if (min == 0)
		min = plan_min_good(v->l.k, v->l.m);
	assert(min >= v->l.k && min <= v->shards);
	v->min = min;
	v->config.below_min_fail = below_min_fail;
	if (v->state != VOLUME_NEW)
		volume_unstall(v);
}

void volume_set_when_full(struct volume *v, bool wait)
{
	v->config.when_full_wait = wait;
}

struct resize {
	struct volume *v;
	uint64_t size;
	void (*done)(void *arg, int err);
	void *arg;
};

static void resize_done(void *arg, int err)
{
	struct resize *r = arg;

	if (err == 0)
		r->v->config.size = r->size;
	r->done(r->arg, err);
	free(r);
}

/*
 * When it shrinks, zeros are written behind the new end, so that they are there should it grow
 * again. They are flushed, and until then the old end counts: a resize that fails may be repeated.
 */
void volume_resize(struct volume *v, uint64_t size, void (*done)(void *arg, int err), void *arg)
{
	struct resize *r = malloc(sizeof(*r));
	uint64_t to = size;
	struct op *op;

	assert(size % WEFT_BLOCK_BYTES == 0 && size <= VOLUME_SIZE_MAX);
	if (size < v->config.size)
		to = (v->config.size + v->l.extent - 1) / v->l.extent * v->l.extent;
	op = r == NULL ? NULL : op_own(v, NBD_CMD_WRITE_ZEROES, size, to, resize_done, r);
	if (op == NULL) {
		free(r);
		done(arg, -ENOMEM);
		return;
	}
	*r = (struct resize){v, size, done, arg};
	op->fua = size < v->config.size;
	if (size > v->config.size)
		v->config.size = size;
	op_wait(op); /* never from inside this call */
	volume_wake(v);
}

void volume_stat(const struct volume *v, struct volume_stat *st)
{
	*st = v->stat;
	st->inflight = v->inflight;
}

void volume_each_extent(const struct volume *v,
			bool (*fn)(void *arg, const struct extent_record *r), void *arg)
{
	struct extent_record r;

	for (struct extent *x = extent_next(v, 0); x != NULL; x = extent_next(v, x->number + 1)) {
		if (x->state != EXTENT_READY)
			continue;
		extent_record_of(v, x, &r);
		if (!fn(arg, &r))
			return;
	}
}
