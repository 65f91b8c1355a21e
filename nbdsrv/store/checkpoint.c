/*
 * Moving the log's tail: old prepared txs are written to the log once more, what is committed goes
 * home, a sync covers data and map, and then the superblock says where replay has to start.
 */
#include "config.h"

#include <sys/uio.h>

#include "store/store_internal.h"

#include "banned.h"

/*
 * Prepared txs hold the tail up when they lie further back than this part of the ring. They, and
 * the ones behind them up to the second part, are written again. The first must be more than what
 * all undecided txs take together (UNDECIDED_DIV, a quarter): else they would be written round and
 * round.
 */
#define RELOG_START(blocks) ((blocks) / 8 * 3)
#define RELOG_DIV	    8u

static void task_run(struct io_task *t)
{
	struct store *s = (struct store *)((char *)t - offsetof(struct store, ckpt.task));

	ckpt_step(s);
}

void ckpt_init(struct store *s)
{
	s->ckpt.task.run = task_run;
}

static bool relog_due(const struct store *s)
{
	const struct batch *b = s->wal.batches;

	return b != NULL && s->wal.head - b->block >= RELOG_START(s->wal.blocks);
}

/* Asked again and again while the log is full: whether the tail can move must cost nothing. */
static bool tail_can_move(const struct store *s)
{
	const struct batch *b = s->wal.batches;

	return s->ckpt.clean || (b == NULL && s->wal.tail != s->wal.head) ||
	       (b != NULL && b->undecided == 0) || relog_due(s);
}

static bool relog_old(const struct store *s, const struct ptx *t)
{
	return t->batch != NULL && s->wal.head - t->batch->block >= s->wal.blocks / RELOG_DIV;
}

static void relog_one(struct store *s, struct ptx *t)
{
	struct rec *r = slab_get(&s->recs);

	assert(r != NULL); /* ensured */
	r->type = REC_PREPARE;
	r->relog = true;
	r->ptx = t;
	t->refs++;
	t->relogging = true;
	wal_append(s, r);
}

/* A later tx in the same granules cannot be written again now. */
static bool relog_held(const struct ptx *t)
{
	for (const struct part *p = t->parts; p != NULL; p = p->ptx_next)
		if (p->gran != NULL)
			for (const struct part *q = p->gran->newest; q != p; q = q->older)
				if (q->ptx->relog_not)
					return true;
	return false;
}

/* Later txs in the same granules have to follow it. */
static void relog_take_along(const struct ptx *t)
{
	for (const struct part *p = t->parts; p != NULL; p = p->ptx_next)
		if (p->gran != NULL)
			for (const struct part *q = p->gran->newest; q != p; q = q->older)
				q->ptx->relog_too = true;
}

/*
 * For txs on the same blocks the order of their records stays that of their numbers. Else the
 * record of the later one would be behind the tail when that is home, the earlier one's would not,
 * and replay would bring back what it wrote. So with a tx those go that came after it; and none of
 * which a later one has its record still queued.
 */
static void relog(struct store *s)
{
	for (uint32_t i = 0; i < s->vols_end; i++) {
		if (!slab_ensure(&s->recs, s->vols[i].prepared))
			return;
		for (struct ptx *t = s->vols[i].last; t != NULL; t = t->prev) {
			t->relog_too = false;
			t->relog_not = !t->durable || t->relogging || relog_held(t);
		}
		for (struct ptx *t = s->vols[i].first; t != NULL; t = t->next) {
			if (t->relog_not || (!relog_old(s, t) && !t->relog_too))
				continue;
			relog_one(s, t);
			relog_take_along(t);
		}
	}
}

void ckpt_want(struct store *s)
{
	if (s->ckpt.state != CKPT_IDLE || s->failed != 0 || s->replay != NULL || !tail_can_move(s))
		return;
	if (relog_due(s))
		relog(s);
	s->ckpt.state = CKPT_LOG;
	s->ckpt.log_rec = s->wal.last_rec;
	wal_want(s, s->wal.last_rec);
	s->env->ops->defer(s->env, &s->ckpt.task);
}

static void ckpt_end(struct store *s, int err)
{
	void (*done)(struct store * s, int err) = s->ckpt.done;

	buf_put(s->ckpt.buf);
	s->ckpt.buf = NULL;
	s->ckpt.state = CKPT_IDLE;
	if (err != 0)
		store_fail(s, err, "writing the superblock");
	if (done != NULL && (err != 0 || s->ckpt.clean)) {
		s->ckpt.done = NULL;
		done(s, err);
		return;
	}
	store_stall_kick(s);
	wal_kick(s);
}

static struct store *of_op(struct disk_op *op)
{
	return (struct store *)((char *)op - offsetof(struct store, ckpt.op));
}

static void copies_done(struct store *s, int64_t res)
{
	s->busy--;
	if (res < 0)
		s->ckpt.error = (int)-res;
	if (--s->ckpt.pending > 0)
		return;
	if (s->ckpt.error == 0 && s->ckpt.clean && s->ckpt.state == CKPT_COPIES) {
		/* nothing follows that would sync the last copies */
		s->ckpt.state = CKPT_LAST;
		s->ckpt.pending = 1;
		s->busy++;
		s->disk->ops->sync(s->disk, &s->ckpt.op);
		return;
	}
	ckpt_end(s, s->ckpt.error);
	store_rest(s);
}

static void copy1_done(struct disk_op *op, int64_t res)
{
	copies_done(of_op(op), res);
}

static void copy2_done(struct disk_op *op, int64_t res)
{
	copies_done((struct store *)((char *)op - offsetof(struct store, ckpt.op2)), res);
}

static void write_copy(struct store *s, struct disk_op *op, unsigned copy,
		       void (*done)(struct disk_op *op, int64_t res))
{
	struct iovec iov = {s->ckpt.buf->data, SUPER_BYTES};

	op->done = done;
	s->disk->ops->writev(s->disk, op, &iov, 1, super_copy_offset(s->info.size_bytes, copy));
}

/* Copy 0 is durable: the space before the tail is free, and the other copies may follow. */
static void first_synced(struct disk_op *op, int64_t res)
{
	struct store *s = of_op(op);

	if (res < 0) {
		s->busy--;
		ckpt_end(s, (int)-res);
		store_rest(s);
		return;
	}
	s->wal.tail = s->super.tail_block;
	s->ckpt.state = CKPT_COPIES;
	s->ckpt.pending = 2;
	s->ckpt.error = 0;
	s->busy++;
	write_copy(s, &s->ckpt.op, 1, copy1_done);
	write_copy(s, &s->ckpt.op2, 2, copy2_done);
	store_stall_kick(s);
}

static void first_written(struct disk_op *op, int64_t res)
{
	struct store *s = of_op(op);

	if (res < 0) {
		s->busy--;
		ckpt_end(s, (int)-res);
		store_rest(s);
		return;
	}
	s->ckpt.op.done = first_synced;
	s->disk->ops->sync(s->disk, &s->ckpt.op);
}

static void data_synced(struct disk_op *op, int64_t res)
{
	struct store *s = of_op(op);

	if (res < 0) {
		s->busy--;
		ckpt_end(s, (int)-res);
		store_rest(s);
		return;
	}
	s->super = s->ckpt.next;
	s->super.sequence++;
	s->super.clean = s->ckpt.clean;
	s->super.next_gen = s->next_gen;
	s->super.head_block = s->wal.head;
	s->ckpt.state = CKPT_SUPER;
	super_encode(&s->super, (struct disk_super *)s->ckpt.buf->data);
	write_copy(s, &s->ckpt.op, 0, first_written);
}

static void sync_start(struct store *s)
{
	s->ckpt.next = s->super;
	wal_tail(s, &s->ckpt.next);
	if (s->ckpt.next.tail_block == s->wal.tail && !s->ckpt.clean) {
		s->ckpt.state = CKPT_IDLE; /* prepared txs hold it where it is */
		return;
	}
	s->ckpt.buf = buf_get(s->pool, SUPER_BYTES);
	if (s->ckpt.buf == NULL) {
		s->ckpt.state = CKPT_IDLE;
		if (s->ckpt.clean)
			ckpt_end(s, ENOMEM);
		return;
	}
	s->ckpt.state = CKPT_SYNC;
	s->busy++;
	s->ckpt.op.done = data_synced;
	s->disk->ops->sync(s->disk, &s->ckpt.op);
}

void ckpt_step(struct store *s)
{
	if (s->failed != 0 && (s->ckpt.state == CKPT_LOG || s->ckpt.state == CKPT_HOME)) {
		ckpt_end(s, s->failed);
		return;
	}
	if (s->ckpt.state == CKPT_LOG && s->wal.durable_rec >= s->ckpt.log_rec) {
		s->ckpt.state = CKPT_HOME;
		s->ckpt.stamp = s->dirty_stamp;
		s->ckpt.homing = s->homing;
		home_kick(s, true);
	}
	if (s->ckpt.state == CKPT_HOME && s->ckpt.homing == 0 &&
	    (s->dirty == NULL || s->dirty->dirty_stamp > s->ckpt.stamp))
		sync_start(s);
}
