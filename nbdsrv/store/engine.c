/* The store as a whole: opening, dispatching requests, answering them, closing. */
#include "config.h"

#include <stdlib.h>

#include "store/store_internal.h"

#include "banned.h"

/* ---- answers ------------------------------------------------------------------------------- */

void req_answer_bytes(struct store *s, struct nbd_req *req, const void *data, uint32_t len)
{
	struct nbd_seg seg = {.buf = buf_get(s->pool, len), .len = len};

	if (seg.buf == NULL) {
		nbd_req_done(req, ENOMEM);
		return;
	}
	memcpy(seg.buf->data, data, len);
	nbd_req_done_data(req, &seg, 1);
}

static void answer_fence(struct store *s, struct nbd_req *req)
{
	const struct vol *v = vol_find(s, req->cmd.volume);
	struct weft_fence_reply reply = {0};

	if (v == NULL || v->epoch != req->cmd.epoch) { /* a higher one came in between */
		nbd_req_done(req, WEFT_ESTALE);
		return;
	}
	reply.committed = htobe64(v->committed);
	reply.old_epoch = htobe32((uint32_t)req->user[2]);
	reply.prepared = htobe32(v->prepared);
	req_answer_bytes(s, req, &reply, sizeof(reply));
}

/* The records that the request waited for are durable, or, with user[1] set, never will be. */
void req_answer_durable(struct store *s, struct nbd_req *req)
{
	struct weft_slot_reply slot = {0};
	struct nbd_seg seg = {.buf = NULL};
	int err = (int)req->user[1];

	if (req->type == WEFT_CMD_PREPARE)
		seg.buf = (struct buf *)(uintptr_t)req->user[2];
	if (err != 0) {
		buf_put(seg.buf);
		nbd_req_done(req, err);
		return;
	}
	if (seg.buf != NULL) {
		seg.len = req->cmd.reply_len;
		nbd_req_done_data(req, &seg, 1);
	} else if (req->type == WEFT_CMD_FENCE) {
		answer_fence(s, req);
	} else if (req->type == WEFT_CMD_LABEL) {
		slot.slot = htobe32((uint32_t)req->user[2]);
		slot.slot_gen = htobe32((uint32_t)req->user[3]);
		req_answer_bytes(s, req, &slot, sizeof(slot));
	} else {
		nbd_req_done(req, 0);
	}
}

/* ---- failure, waiting ---------------------------------------------------------------------- */

void store_fail(struct store *s, int err, const char *what)
{
	if (s->failed != 0)
		return;
	s->failed = err;
	s->stat.io_errors++;
	log_error("%s: %s; the store takes no more changes", what, strerror(err));
	if (s->fail != NULL)
		s->fail(s->real_free_ctx);
	wal_kick(s); /* answers who waits */
	store_stall_kick(s);
}

void store_stall(struct store *s, struct nbd_req *req)
{
	req->next = NULL;
	if (s->stalled == NULL)
		s->stalled = req;
	else
		s->stalled_last->next = req;
	s->stalled_last = req;
	if (s->stall_timer.at_ns == 0)
		s->env->ops->timer_set(s->env, &s->stall_timer,
				       s->env->ops->now_ns(s->env) + STALL_RETRY_MS * NS_PER_MS);
}

static void stall_run(struct io_task *t)
{
	struct store *s = (struct store *)((char *)t - offsetof(struct store, stall_task));
	struct nbd_req *list = s->stalled;

	s->stalled = s->stalled_last = NULL;
	while (list != NULL) {
		struct nbd_req *req = list;

		list = req->next;
		req->next = NULL;
		if (s->closing) { /* what it waits for may never come any more */
			nbd_req_done(req, ESHUTDOWN);
			continue;
		}
		/* PREPAREs keep their order: the first that has to wait holds up the others */
		if (req->type == WEFT_CMD_PREPARE && s->stalled_prepare && s->failed == 0)
			store_stall(s, req);
		else
			store_dispatch(s, req);
	}
	s->stalled_prepare = false;
	for (struct nbd_req *req = s->stalled; req != NULL; req = req->next)
		s->stalled_prepare |= req->type == WEFT_CMD_PREPARE;
	store_rest(s);
}

void store_stall_kick(struct store *s)
{
	s->stalled_prepare = false;
	if (s->stalled != NULL)
		s->env->ops->defer(s->env, &s->stall_task);
}

static void stall_fire(struct io_timer *t)
{
	store_stall_kick((struct store *)((char *)t - offsetof(struct store, stall_timer)));
}

/* ---- requests ------------------------------------------------------------------------------ */

static void stat_reply(struct store *s, struct nbd_req *req)
{
	struct weft_stat st;
	uint64_t words[sizeof(st) / 8];

	if (req->cmd.reply_len != sizeof(st)) {
		nbd_req_done(req, EINVAL);
		return;
	}
	store_stat(s, &st);
	memcpy(words, &st, sizeof(st));
	for (size_t i = 0; i < sizeof(st) / 8; i++)
		words[i] = htobe64(words[i]);
	req_answer_bytes(s, req, words, sizeof(words));
}
static_assert(sizeof(struct weft_stat) % 8 == 0, "stat_reply() swaps words");

static void dispatch_change(struct store *s, struct nbd_req *req)
{
	if (s->failed != 0) {
		nbd_req_done(req, EIO);
		return;
	}
	if (req->type == WEFT_CMD_PREPARE) {
		if (s->stalled_prepare)
			store_stall(s, req);
		else
			prepare_request(s, req);
		return;
	}
	if (req->type != NBD_CMD_FLUSH && !wal_room_small(s)) {
		ckpt_want(s);
		store_stall(s, req);
		return;
	}
	switch (req->type) {
	case NBD_CMD_FLUSH:
		s->stat.flushes++;
		wal_answer(s, req);
		break;
	case WEFT_CMD_COMMIT:
		commit_request(s, req);
		break;
	case WEFT_CMD_ABORT:
		abort_request(s, req);
		break;
	case WEFT_CMD_FENCE:
		vol_fence(s, req);
		break;
	case WEFT_CMD_LABEL:
		slot_label(s, req);
		break;
	case WEFT_CMD_DISCARD:
		slot_discard_request(s, req);
		break;
	case WEFT_CMD_MARK:
		slot_mark(s, req);
		break;
	default:
		nbd_req_done(req, EINVAL);
	}
}

void store_dispatch(struct store *s, struct nbd_req *req)
{
	switch (req->type) {
	case NBD_CMD_READ:
		read_request(s, req);
		break;
	case WEFT_CMD_VERIFY:
		verify_request(s, req);
		break;
	case WEFT_CMD_MAP:
		map_request(s, req);
		break;
	case WEFT_CMD_LIST:
		vol_list(s, req);
		break;
	case WEFT_CMD_LABELS:
		slot_labels(s, req);
		break;
	case WEFT_CMD_VOLUMES:
		vol_table(s, req);
		break;
	case WEFT_CMD_STAT:
		stat_reply(s, req);
		break;
	default:
		dispatch_change(s, req);
	}
}

void store_request(struct store *s, struct nbd_req *req)
{
	assert(s->replay == NULL);
	if (s->closing) {
		nbd_req_done(req, ESHUTDOWN);
		return;
	}
	memset(req->user, 0, sizeof(req->user));
	store_dispatch(s, req);
}

void store_stat(struct store *s, struct weft_stat *st)
{
	uint64_t free, real;

	*st = s->stat;
	free = (s->granules_free + s->space.count - s->granules_reserved) * GRANULE_BYTES;
	if (s->real_free != NULL) {
		real = s->real_free(s->real_free_ctx);
		real = real > REAL_FREE_MARGIN ? real - REAL_FREE_MARGIN : 0;
		free = real < free ? real : free;
	}
	st->size_bytes = s->info.data_bytes;
	st->free_bytes = free;
	st->slots = s->nslots;
	st->slots_used = s->slots_used;
	st->log_bytes = s->info.log_bytes;
	st->log_used_bytes = wal_used(s) * LOG_BLOCK;
	st->log_head = s->wal.head;
	st->log_durable = s->wal.durable_head;
	if (s->stat_more != NULL)
		s->stat_more(s->real_free_ctx, st);
}

/* ---- opening and closing ------------------------------------------------------------------- */

static bool make_tables(struct store *s)
{
	s->nslots = (uint32_t)s->info.slots;
	s->label_buckets = 64;
	while (s->label_buckets < s->nslots)
		s->label_buckets *= 2;
	s->slots = calloc(s->nslots, sizeof(*s->slots));
	s->label_hash = calloc(s->label_buckets, sizeof(*s->label_hash));
	s->gran_hash = calloc(GRAN_BUCKETS, sizeof(*s->gran_hash));
	s->wal.header = buf_get(s->pool, LOG_HEADER_MAX);
	s->replay_pool = buf_pool_create(s->info.log_bytes + BUF_MAX_BYTES, 0);
	if (s->slots == NULL || s->label_hash == NULL || s->gran_hash == NULL ||
	    s->wal.header == NULL || s->replay_pool == NULL)
		return false;
	return granule_init(s);
}

static void make_slabs(struct store *s)
{
	slab_init(&s->ptxs, sizeof(struct ptx), sizeof(struct ptx));
	slab_init(&s->parts, sizeof(struct part), sizeof(struct part));
	slab_init(&s->grans, sizeof(struct gran), sizeof(struct gran));
	slab_init(&s->recs, sizeof(struct rec), sizeof(struct rec));
	slab_init(&s->batches, sizeof(struct batch), sizeof(struct batch));
	slab_init(&s->preps, sizeof(struct prep), offsetof(struct prep, read));
	slab_init(&s->freshes, sizeof(struct fresh_write), sizeof(struct fresh_write));
	slab_init(&s->homes, sizeof(struct home), offsetof(struct home, run));
	slab_init(&s->reads, sizeof(struct read_op), offsetof(struct read_op, run));
}

struct store *store_open(const struct store_config *config,
			 void (*ready)(void *ctx, int err, const char *why), void *ctx)
{
	struct store *s = calloc(1, sizeof(*s));
	uint8_t *meta = config->meta;
	uint64_t map_offset;

	if (s == NULL)
		return NULL;
	s->disk = config->disk;
	s->env = config->env;
	s->pool = config->pool;
	s->info = config->info;
	s->stat.route_name = config->route_name;
	s->real_free = config->real_free;
	s->stat_more = config->stat;
	s->fail = config->failed;
	s->real_free_ctx = config->ctx;
	s->ready = ready;
	s->ready_ctx = ctx;
	map_offset = STORE_VOLUMES_MAX * sizeof(struct disk_volume) +
		     s->info.slots * sizeof(struct disk_label);
	s->meta_vols = (struct disk_volume *)meta;
	s->meta_labels =
		(struct disk_label *)(meta + STORE_VOLUMES_MAX * sizeof(struct disk_volume));
	s->meta_map = (struct disk_entry *)(meta + map_offset);
	make_slabs(s);
	wal_init(s);
	home_init(s);
	ckpt_init(s);
	space_init(s);
	prepare_init(s);
	s->stall_task.run = stall_run;
	s->stall_timer.fire = stall_fire;
	s->env->ops->random(s->env, &s->wal.salt, sizeof(s->wal.salt));
	if (!make_tables(s) || replay_start(s) < 0) {
		replay_free(s);
		store_free(s);
		return NULL;
	}
	return s;
}

static void closed(struct store *s, int err)
{
	void (*done)(void *ctx, int err) = s->closed;

	s->closed = NULL;
	wal_stop(s);
	space_stop(s);
	s->env->ops->timer_cancel(s->env, &s->home_timer);
	s->env->ops->timer_cancel(s->env, &s->stall_timer);
	if (done != NULL)
		done(s->closed_ctx, -err);
}

/* Something ended: does a DISCARD or the close wait for that? */
void store_rest(struct store *s)
{
	if (s->discards != NULL)
		slot_discard_retry(s);
	if (!s->closing || s->closed == NULL || s->busy > 0 || s->ckpt.clean)
		return;
	if (s->failed != 0) {
		if (!s->wal.writing && !s->wal.syncing && s->ckpt.state == CKPT_IDLE)
			closed(s, s->failed);
		return;
	}
	if (s->stalled != NULL || s->discards != NULL)
		return;
	if (s->wal.durable_rec < s->wal.last_rec) {
		wal_want(s, s->wal.last_rec);
	} else if (s->dirty != NULL) {
		home_kick(s, true);
	} else if (s->ckpt.state == CKPT_IDLE && !s->wal.writing && !s->wal.syncing) {
		s->ckpt.clean = true;
		s->ckpt.done = closed;
		ckpt_want(s);
	}
}

void store_close(struct store *s, void (*done)(void *ctx, int err), void *ctx)
{
	assert(!s->closing && s->replay == NULL);
	s->closing = true;
	s->closed = done;
	s->closed_ctx = ctx;
	s->home_wait_ns = 0;
	home_kick(s, true);
	s->env->ops->defer(s->env, &s->stall_task); /* comes to store_rest() */
}

static void free_payload(struct ptx *t)
{
	buf_put(t->payload);
	t->payload = NULL;
}

/* Of txs that were undone, but not durably. */
static void free_records(struct rec *r)
{
	for (; r != NULL; r = r->next) {
		if (r->type == REC_PREPARE)
			free_payload(r->ptx);
		for (struct ptx *t = r->list; t != NULL; t = t->next)
			free_payload(t);
	}
}

/* Buffers are not ours: all go back to their pool. */
static void free_buffers(struct store *s)
{
	for (struct gran *g = gran_next(s, NULL); g != NULL; g = gran_next(s, g))
		for (struct part *p = g->newest; p != NULL; p = p->older)
			free_payload(p->ptx);
	free_records(s->wal.first);
	free_records(s->wal.batch_recs);
	free_records(s->wal.written);
	for (struct prep *p = s->live_preps; p != NULL; p = p->live_next)
		buf_put(p->old);
	for (struct read_op *r = s->live_reads; r != NULL; r = r->live_next)
		buf_put(r->buf);
	for (struct nbd_req *req = s->wal.wait; req != NULL; req = req->next)
		if (req->type == WEFT_CMD_PREPARE)
			buf_put((struct buf *)(uintptr_t)req->user[2]);
	buf_put(s->wal.header);
	buf_put(s->ckpt.buf);
}

void store_free(struct store *s)
{
	if (s == NULL)
		return;
	replay_free(s);
	ahead_free(s);
	free_buffers(s);
	slab_destroy(&s->ptxs);
	slab_destroy(&s->parts);
	slab_destroy(&s->grans);
	slab_destroy(&s->recs);
	slab_destroy(&s->batches);
	slab_destroy(&s->preps);
	slab_destroy(&s->freshes);
	slab_destroy(&s->homes);
	slab_destroy(&s->reads);
	free(s->slots);
	free(s->granule_words);
	free(s->label_hash);
	free(s->gran_hash);
	if (s->replay_pool != NULL)
		buf_pool_destroy(s->replay_pool);
	free(s);
}
