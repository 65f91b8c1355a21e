/*
 * The write-ahead log: records queue up in memory and go out in batches, one vectored write each,
 * payload straight from the buffers it was received in. A batch starts when somebody waits for its
 * records, when it is full, or by a timer; one write or sync is under way at a time.
 *
 * Space: PREPAREs are let in up to half of the ring, records that free something up to 7/8; between
 * them a checkpoint can write all undecided txs once more (a quarter of the ring at most). So
 * commits and checkpoints always find room.
 */
#include "config.h"

#include <sys/uio.h>

#include "store/store_internal.h"

#include "banned.h"

#define PREPARE_SHARE_DIV 2u /* of the ring, for PREPAREs to start */
#define UNDECIDED_DIV	  4u /* of the ring, payload of all prepared txs */

static void wal_pump(struct store *s);
static void task_run(struct io_task *t)
{
	struct store *s = (struct store *)((char *)t - offsetof(struct store, wal.task));

	wal_pump(s);
}

static void timer_fire(struct io_timer *t)
{
	struct store *s = (struct store *)((char *)t - offsetof(struct store, wal.timer));

	wal_want(s, s->wal.last_rec);
}

void wal_init(struct store *s)
{
	s->wal.task.run = task_run;
	s->wal.timer.fire = timer_fire;
	s->wal.blocks = s->info.log_bytes / LOG_BLOCK;
}

void wal_kick(struct store *s)
{
	s->env->ops->defer(s->env, &s->wal.task);
}

void wal_want(struct store *s, uint64_t seq)
{
	struct wal *w = &s->wal;

	if (seq > w->want_rec)
		w->want_rec = seq;
	if (w->want_rec > w->durable_rec)
		wal_kick(s);
}

void wal_append(struct store *s, struct rec *r)
{
	struct wal *w = &s->wal;
	uint32_t bytes, blocks;

	rec_size(r, &bytes, &blocks);
	r->seq = ++w->last_rec;
	r->next = NULL;
	if (w->first == NULL)
		w->first = r;
	else
		w->last->next = r;
	w->last = r;
	w->queued_bytes += bytes;
	w->queued_blocks += blocks;
	if (w->timer.at_ns == 0)
		s->env->ops->timer_set(s->env, &w->timer,
				       s->env->ops->now_ns(s->env) + LOG_FLUSH_MS * NS_PER_MS);
	if (w->queued_blocks * LOG_BLOCK >= LOG_BATCH_PAYLOAD)
		wal_kick(s);
}

void wal_answer(struct store *s, struct nbd_req *req)
{
	struct wal *w = &s->wal;

	req->user[0] = w->last_rec;
	req->next = NULL;
	if (w->wait == NULL)
		w->wait = req;
	else
		w->wait_last->next = req;
	w->wait_last = req;
	wal_want(s, w->last_rec);
	wal_kick(s);
}

uint64_t wal_used(const struct store *s)
{
	const struct wal *w = &s->wal;

	return w->head - w->tail + w->queued_blocks + w->queued_bytes / LOG_BLOCK + 1;
}

bool wal_room_undecided(const struct store *s, uint32_t payload_bytes)
{
	return s->undecided_bytes + payload_bytes <= s->wal.blocks * LOG_BLOCK / UNDECIDED_DIV;
}

bool wal_room_prepare(const struct store *s, uint32_t payload_bytes)
{
	return wal_used(s) + payload_bytes / LOG_BLOCK + 1 <= s->wal.blocks / PREPARE_SHARE_DIV &&
	       wal_room_undecided(s, payload_bytes);
}

bool wal_room_small(const struct store *s)
{
	return wal_used(s) < s->wal.blocks - s->wal.blocks / 8;
}

/* ---- writing ------------------------------------------------------------------------------- */

static void batch_append(struct wal *w, struct batch *b)
{
	b->next = NULL;
	if (w->batches == NULL)
		w->batches = b;
	else
		w->batches_last->next = b;
	w->batches_last = b;
}

static void write_done(struct disk_op *op, int64_t res)
{
	struct store *s = (struct store *)((char *)op - offsetof(struct store, wal.op));
	struct wal *w = &s->wal;

	w->writing = false;
	if (res < 0) {
		store_fail(s, (int)-res, "writing the log");
		store_rest(s);
		return;
	}
	if (w->batch_recs != NULL) {
		if (w->written == NULL)
			w->written = w->batch_recs;
		else
			w->written_last->next = w->batch_recs;
		w->written_last = w->batch_last;
		w->written_rec = w->batch_last->seq;
		w->batch_recs = w->batch_last = NULL;
	}
	wal_pump(s);
	store_rest(s);
}

/* Must the first record wait for its granule's bytes? */
static bool rec_waits(const struct wal *w, const struct rec *r)
{
	return r->type == REC_PREPARE &&
	       (r->ptx->fresh_pending > 0 || r->ptx->data_seq > w->data_synced);
}

static void batch_take(struct store *s, struct rec *r, struct batch *b)
{
	struct wal *w = &s->wal;

	w->first = r->next;
	if (w->first == NULL)
		w->last = NULL;
	r->next = NULL;
	if (w->batch_recs == NULL)
		w->batch_recs = r;
	else
		w->batch_last->next = r;
	w->batch_last = r;
	if (r->type != REC_PREPARE)
		return;
	r->old_batch = r->ptx->batch;
	if (r->ptx->state == PTX_PREPARED) {
		if (r->old_batch != NULL)
			r->old_batch->undecided--;
		b->undecided++;
	}
	r->ptx->batch = b;
	b->refs++;
}

/* Take records for one batch; returns its blocks, or 0: none can go now. */
static uint32_t batch_fill(struct store *s, struct batch *b, struct iovec *iov, int *niov)
{
	struct wal *w = &s->wal;
	struct disk_batch *h = (struct disk_batch *)w->header->data;
	uint64_t left = w->blocks - w->head % w->blocks;
	uint64_t room = w->blocks - (w->head - w->tail);
	uint32_t bytes = sizeof(*h), payload = 0, records = 0;
	bool pad = false;

	*niov = 1;
	while (w->first != NULL && !rec_waits(w, w->first)) {
		struct rec *r = w->first;
		uint32_t rb, pb, total;
		int n;

		rec_size(r, &rb, &pb);
		total = (bytes + rb + LOG_BLOCK - 1) / LOG_BLOCK + payload + pb;
		if (bytes + rb > LOG_HEADER_MAX || *niov + (int)PARTS_MAX > (int)BATCH_IOV_MAX ||
		    payload * LOG_BLOCK >= LOG_BATCH_PAYLOAD || total > room)
			break;
		if (total > left) {
			pad = records == 0;
			break;
		}
		bytes += rec_encode(s, r, w->header->data + bytes, iov + *niov, &n);
		*niov += n;
		payload += pb;
		records++;
		w->queued_bytes -= rb;
		w->queued_blocks -= pb;
		batch_take(s, r, b);
	}
	if (records == 0 && !(pad && left <= room))
		return 0;
	h->magic = htole32(LOG_MAGIC);
	h->bytes = htole32(bytes);
	h->records = htole32(records);
	iov[0].iov_base = w->header->data;
	iov[0].iov_len = (bytes + LOG_BLOCK - 1) / LOG_BLOCK * LOG_BLOCK;
	memset(w->header->data + bytes, 0, iov[0].iov_len - bytes);
	return pad ? (uint32_t)left : (uint32_t)(iov[0].iov_len / LOG_BLOCK) + payload;
}

static bool batch_write(struct store *s)
{
	struct wal *w = &s->wal;
	struct disk_batch *h = (struct disk_batch *)w->header->data;
	struct iovec iov[BATCH_IOV_MAX];
	struct batch *b = slab_get(&s->batches);
	uint32_t blocks;
	int niov;

	if (b == NULL)
		return false;
	blocks = batch_fill(s, b, iov, &niov);
	if (blocks == 0) {
		slab_put(&s->batches, b);
		return false;
	}
	b->block = w->head;
	b->seq = w->next_seq;
	b->prev_salt = w->prev_salt;
	b->prev_crc = w->prev_crc;
	b->last_rec = w->batch_last != NULL ? w->batch_last->seq : w->written_rec;
	batch_append(w, b);
	h->blocks = htole32(blocks);
	h->seq = htole64(w->next_seq);
	h->salt = htole64(w->salt);
	h->prev_salt = htole64(w->prev_salt);
	h->prev_crc = htole32(w->prev_crc);
	memcpy(h->store, s->info.store, sizeof(h->store));
	batch_seal(h, le32toh(h->bytes));
	batch_note(h, w->durable_seq);
	w->prev_salt = w->salt;
	w->prev_crc = le32toh(h->crc);
	w->next_seq++;
	w->writing = true;
	w->op.done = write_done;
	s->disk->ops->writev(s->disk, &w->op, iov, niov,
			     s->info.log_offset + w->head % w->blocks * LOG_BLOCK);
	w->head += blocks;
	return true;
}

/* ---- syncing ------------------------------------------------------------------------------- */

void rec_apply(struct store *s, struct rec *r)
{
	struct ptx *t, *next;

	switch (r->type) {
	case REC_PREPARE:
		if (r->old_batch != NULL)
			r->old_batch->refs--;
		if (r->relog)
			r->ptx->relogging = false;
		r->ptx->durable = true;
		ptx_put(s, r->ptx);
		break;
	case REC_COMMIT:
		vol_write_meta(s, r->vol, r->number, 0);
		for (t = r->list; t != NULL; t = next) {
			next = t->next;
			t->next = NULL;
			ptx_ready(s, t);
		}
		home_kick(s, false);
		break;
	case REC_ABORT:
		for (t = r->list; t != NULL; t = next) {
			next = t->next;
			ptx_undo(s, t);
		}
		break;
	case REC_FENCE:
		vol_write_meta(s, r->vol, 0, (uint32_t)r->number);
		break;
	case REC_LABEL:
		slot_apply_label(s, r);
		break;
	case REC_DISCARD:
		slot_apply_discard(s, r);
		break;
	default:
		assert(!"a record of no type");
	}
}

static void answer_durable(struct store *s)
{
	struct wal *w = &s->wal;

	while (w->wait != NULL && (w->wait->user[0] <= w->durable_rec || s->failed != 0)) {
		struct nbd_req *req = w->wait;

		w->wait = req->next;
		req->next = NULL;
		if (s->failed != 0 && req->user[0] > w->durable_rec)
			req->user[1] = EIO;
		req_answer_durable(s, req);
	}
}

static void sync_done(struct disk_op *op, int64_t res)
{
	struct store *s = (struct store *)((char *)op - offsetof(struct store, wal.sync_op));
	struct wal *w = &s->wal;

	w->syncing = false;
	if (res < 0) {
		store_fail(s, (int)-res, "syncing the disk");
		store_rest(s);
		return;
	}
	w->durable_rec = w->sync_rec;
	w->data_synced = w->sync_data;
	w->durable_head = w->sync_head;
	w->durable_seq = w->sync_seq;
	while (w->written != NULL && w->written->seq <= w->durable_rec) {
		struct rec *r = w->written;

		w->written = r->next;
		if (w->written == NULL)
			w->written_last = NULL;
		rec_apply(s, r);
		slab_put(&s->recs, r);
	}
	answer_durable(s);
	wal_pump(s);
	ckpt_step(s);
	store_rest(s);
}

static void start_sync(struct store *s)
{
	struct wal *w = &s->wal;

	w->syncing = true;
	w->sync_rec = w->written_rec;
	w->sync_data = w->data_seq;
	w->sync_head = w->head; /* nothing is being written now */
	w->sync_seq = w->next_seq;
	w->sync_op.done = sync_done;
	s->disk->ops->sync(s->disk, &w->sync_op);
}

static void wal_pump(struct store *s)
{
	struct wal *w = &s->wal;

	if (s->failed != 0)
		answer_durable(s);
	if (w->writing || w->syncing || s->failed != 0 || s->replay != NULL)
		return;
	if (w->first != NULL &&
	    (w->want_rec > w->written_rec || w->queued_blocks * LOG_BLOCK >= LOG_BATCH_PAYLOAD)) {
		if (batch_write(s))
			return;
		if (rec_waits(w, w->first) && w->first->ptx->fresh_pending == 0) {
			start_sync(s);
			return;
		}
		if (!rec_waits(w, w->first))
			ckpt_want(s);
	}
	if (w->want_rec > w->durable_rec && w->written_rec > w->durable_rec) {
		start_sync(s);
		return;
	}
	answer_durable(s);
	if (wal_used(s) > w->blocks / 4 || wal_used(s) * LOG_BLOCK > CKPT_LOG_BYTES)
		ckpt_want(s);
}

void wal_fresh_done(struct store *s, struct ptx *t)
{
	t->data_seq = ++s->wal.data_seq;
	if (--t->fresh_pending == 0 && s->wal.want_rec > s->wal.written_rec)
		wal_kick(s);
}

bool wal_fresh_to_log(struct store *s, struct part *p)
{
	struct ptx *t = p->ptx;
	struct gran *g = p->gran;

	if (wal_used(s) + GRANULE_BLOCKS >= s->wal.blocks - s->wal.blocks / 8)
		return false;
	granule_free(s, p->phys);
	p->kind = PART_LOG;
	p->phys = 0;
	t->log_bytes += GRANULE_BYTES;
	s->wal.queued_blocks += GRANULE_BLOCKS;
	if (t->state == PTX_PREPARED)
		s->undecided_bytes += GRANULE_BYTES;
	if (g != NULL && !g->reserved && map_entry(s, g->index)->phys == 0) {
		assert(s->granules_free > s->granules_reserved);
		s->granules_reserved++;
		g->reserved = true;
	}
	return true;
}

/* ---- the tail ------------------------------------------------------------------------------ */

void wal_tail(struct store *s, struct disk_super *super)
{
	struct wal *w = &s->wal;
	struct batch *b;

	while ((b = w->batches) != NULL && b->refs == 0 && b->last_rec <= w->durable_rec &&
	       !(w->writing && b == w->batches_last)) {
		w->batches = b->next;
		slab_put(&s->batches, b);
	}
	super->tail_block = b != NULL ? b->block : w->head;
	super->tail_seq = b != NULL ? b->seq : w->next_seq;
	super->tail_salt = b != NULL ? b->prev_salt : w->prev_salt;
	super->tail_crc = b != NULL ? b->prev_crc : w->prev_crc;
}

void wal_stop(struct store *s)
{
	s->env->ops->timer_cancel(s->env, &s->wal.timer);
}
