/*
 * Making writes durable, and telling the servers what is decided. One flush round at a time covers
 * all writes acknowledged before it began; requests that come during a round go into the next
 * together.
 *
 * Neither ends, and no COMMIT leaves, while a stale mark is not durable: whoever starts the volume
 * after us would take a shard that lost writes for a good one.
 *
 * COMMIT is a watermark that trails behind: sent by the timer, or when much has gathered. It costs
 * nothing to be late with it, a server only keeps its log a little longer.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "log.h"
#include "stripe/engine.h"

#include "banned.h"

static void flush_settle(struct volume *v);

void flush_timer_arm(struct volume *v)
{
	if (v->flush_timer.at_ns == 0 &&
	    (v->state == VOLUME_RUNNING || v->state == VOLUME_STOPPING) && !v->stop_lost)
		v->config.env->ops->timer_set(v->config.env, &v->flush_timer,
					      volume_now(v) + v->config.flush_ms * NS_PER_MS);
}

/*
 * What is prepared and not committed takes room in the server's log, and a server whose log is full
 * takes no PREPARE: so COMMITs follow at the latest when it holds so much for this volume.
 */
void flush_note_server(struct server *s, uint64_t bytes)
{
	struct volume *v = s->v;

	s->touched = true;
	s->held += bytes;
	flush_timer_arm(v);
	if (s->held < SERVER_HELD_MAX || v->flush.commit_after)
		return;
	v->flush.commit_after = true;
	flush_want(v);
}

bool flush_room(struct volume *v)
{
	if (v->ring == NULL)
		v->ring = calloc(UNFLUSHED_TX_MAX, sizeof(*v->ring));
	return v->ring != NULL;
}

/* A tx is about to be acknowledged. */
void flush_note_tx(struct volume *v, struct tx *tx)
{
	assert(v->ring_count < UNFLUSHED_TX_MAX);
	v->ring[(v->ring_head + v->ring_count++) % UNFLUSHED_TX_MAX] = (struct unflushed){
		.tx = tx->id.number,
		.extent = tx->x->number,
		.generation = tx->x->generation,
		.participants = tx->plan.participants,
	};
	for (unsigned i = 0; i < v->shards; i++)
		if ((tx->plan.participants >> i & 1) != 0)
			flush_note_server(shard_server(tx->x, i),
					  (uint64_t)__builtin_popcountll(tx->plan.prepare[i]) *
						  WEFT_BLOCK_BYTES);
	v->stat.unflushed_bytes += tx->bytes;
	if (v->stat.unflushed_bytes > v->config.unflushed_max ||
	    v->ring_count > UNFLUSHED_TX_MAX / 2)
		flush_want(v);
}

void flush_forget(struct volume *v, uint64_t extent)
{
	for (size_t n = 0; n < v->ring_count; n++) {
		struct unflushed *u = &v->ring[(v->ring_head + n) % UNFLUSHED_TX_MAX];

		if (u->extent == extent)
			u->participants = 0;
	}
}

void flush_want(struct volume *v)
{
	v->flush.wanted = true;
	volume_wake(v);
}

/* op is answered when everything acknowledged before now is durable. */
void flush_request(struct op *op)
{
	op_list_add(&op->v->flush.waiting, op);
	flush_want(op->v);
}

/* Servers that the running round waits for, and cannot ask. */
static uint32_t flush_owed(const struct volume *v)
{
	uint32_t owed = 0;

	for (unsigned i = 0; i < v->nservers; i++)
		owed += v->servers[i]->flush_owed;
	return owed;
}

static void flush_done(struct nbd_call *call, int error)
{
	struct server *s = (struct server *)((char *)call - offsetof(struct server, flush_call));
	struct volume *v = s->v;

	s->flush_busy = false;
	if (error == -ENOTCONN && v->state != VOLUME_FENCED) {
		s->flush_owed = true;
		server_broke(s);
		flush_server_up(s); /* if it is back already */
		return;
	}
	if (error != 0) {
		log_error("volume %s: server %u: flush: %s", v->name, s->number,
			  strerror(error < 0 ? -error : error));
		v->flush.error = EIO;
		s->touched = true;
	}
	v->flush.pending--;
	if (v->flush.pending > 0 && v->flush.pending == flush_owed(v)) {
		v->look = true; /* those that are left may be enough */
		volume_wake(v);
	}
	flush_settle(v);
}

static void flush_submit(struct server *s)
{
	server_cmd(s->v, &s->flush_call, NBD_CMD_FLUSH);
	s->flush_call.done = flush_done;
	s->flush_busy = true;
	server_submit(s, &s->flush_call);
}

void flush_server_up(struct server *s)
{
	if (s->max_tx > s->commit_sent)
		flush_timer_arm(s->v);
	if (!s->flush_owed || !server_ok(s))
		return;
	s->flush_owed = false;
	flush_submit(s);
}

bool flush_lacks(const struct volume *v, const struct extent *x)
{
	for (size_t n = 0; n < v->ring_count; n++) {
		const struct unflushed *u = &v->ring[(v->ring_head + n) % UNFLUSHED_TX_MAX];

		if (u->extent == x->number && u->generation == x->generation)
			return true;
	}
	return false;
}

static bool unflushed_on(const struct volume *v, size_t n, const struct server *s,
			 struct extent **x, uint32_t *shard)
{
	const struct unflushed *u = &v->ring[(v->ring_head + n) % UNFLUSHED_TX_MAX];

	*x = extent_find(v, u->extent);
	if (*x == NULL || (*x)->generation != u->generation ||
	    ((*x)->state != EXTENT_READY && (*x)->state != EXTENT_DROPPING))
		return false;
	for (unsigned i = 0; i < v->shards; i++)
		if ((u->participants >> i & 1) != 0 && shard_server(*x, i) == s) {
			*shard = 1u << i;
			return true;
		}
	return false;
}

/*
 * What it was sent and did not make durable counts as lost. When all others have made durable what
 * they have, k of them are enough, for that is what the invariant promises: what was flushed
 * survives the loss of m. That too few are left for new writes is another matter.
 */
static enum leave flush_leave_out(struct volume *v, struct server *s)
{
	enum leave all = LEAVE_MARKED, one;
	struct extent *x;
	uint32_t shard;

	for (size_t n = 0; n < v->flush.count; n++) {
		if (!unflushed_on(v, n, s, &x, &shard))
			continue;
		one = extent_leave_out(v, x, shard);
		if (one == LEAVE_BELOW &&
		    (unsigned)__builtin_popcount(extent_usable(v, x)) >= v->l.k)
			one = extent_give_up(v, x, shard) ? LEAVE_MARKED : LEAVE_SOON;
		if (one > all)
			all = one;
	}
	return all;
}

void flush_look(struct volume *v)
{
	struct flush *f = &v->flush;
	bool last;

	if (!f->running)
		return;
	last = f->pending == flush_owed(v);
	for (unsigned i = 0; i < v->nservers; i++) {
		struct server *s = v->servers[i];
		enum leave leave;

		if (!s->flush_owed || !server_gone(s))
			continue;
		leave = flush_leave_out(v, s);
		if (last && f->error != 0) { /* it fails, whatever this one would say */
			s->touched = true;
		} else if (leave == LEAVE_BELOW && v->config.below_min_fail) {
			f->error = EIO;
			s->touched = true;
		} else if (leave != LEAVE_MARKED) {
			continue;
		}
		s->flush_owed = false;
		s->left_out = true;
		f->pending--;
	}
	flush_settle(v);
}

void flush_break(struct volume *v)
{
	struct flush *f = &v->flush;
	struct op_list waiting = f->waiting;
	struct op *op;

	op_list_init(&f->waiting);
	while ((op = waiting.head) != NULL) { /* the engine's own would be waited for */
		waiting.head = op->next;
		if (op->req != NULL) {
			op_list_add(&f->waiting, op);
			continue;
		}
		op_fail(op, EIO);
		op_put(op);
	}
	if (!f->running)
		return;
	for (unsigned i = 0; i < v->nservers; i++) {
		f->pending -= v->servers[i]->flush_owed;
		v->servers[i]->flush_owed = false;
	}
	f->error = EIO;
	flush_settle(v);
}

/* Nobody can be told anything any more. */
static void flush_give_up(struct volume *v)
{
	struct op *op;

	for (unsigned i = 0; i < v->nservers; i++) {
		if (!v->servers[i]->flush_owed)
			continue;
		v->servers[i]->flush_owed = false;
		v->flush.pending--;
	}
	v->flush.error = ESHUTDOWN;
	if (v->flush.running) {
		flush_settle(v);
		return;
	}
	while ((op = op_list_take(&v->flush.waiting)) != NULL) {
		op_fail(op, ESHUTDOWN);
		op_put(op);
	}
}

/* Begin a round, if one is wanted and none runs. */
void flush_start(struct volume *v)
{
	struct flush *f = &v->flush;

	if (v->state == VOLUME_FENCED && f->wanted) {
		f->wanted = false;
		flush_give_up(v);
		return;
	}
	if (!f->wanted || f->running || v->reopening)
		return;
	f->wanted = false;
	f->running = true;
	f->answered = f->waiting;
	if (f->answered.head == NULL)
		op_list_init(&f->answered);
	op_list_init(&f->waiting);
	f->count = v->ring_count;
	f->bytes = v->stat.unflushed_bytes;
	f->watermark = tx_decided(v);
	f->error = v->stop_lost ? EIO : 0;
	f->pending = 1;
	for (unsigned i = 0; i < v->nservers; i++) {
		struct server *s = v->servers[i];

		s->held = 0;
		if (!s->touched)
			continue;
		s->touched = false;
		f->pending++;
		if (server_ok(s))
			flush_submit(s);
		else
			s->flush_owed = true;
	}
	f->pending--;
	flush_look(v);
}

static void flush_answer(struct volume *v, struct op_list *answered, int error)
{
	bool lost = v->flush.lost;

	while (answered->head != NULL) {
		struct op *op = answered->head;

		answered->head = op->next;
		if (lost && op->req != NULL) {
			v->flush.lost = false;
			op_fail(op, EIO);
		}
		if (error != 0)
			op_fail(op, error);
		op_put(op);
	}
}

static void flush_end(struct volume *v)
{
	struct flush *f = &v->flush;
	struct op_list answered = f->answered;
	int error = f->error;

	f->running = false;
	op_list_init(&f->answered);
	if (error == 0) {
		v->ring_head = (v->ring_head + f->count) % UNFLUSHED_TX_MAX;
		v->ring_count -= f->count;
		if (v->ring_count == 0)
			v->ring_head = 0; /* few pages of it are ever touched by a quiet volume */
		v->stat.unflushed_bytes -= f->bytes;
		v->uncommitted += f->count;
		if (f->watermark > v->commit_to)
			v->commit_to = f->watermark;
		if (f->commit_after || v->uncommitted > UNCOMMITTED_MAX)
			commit_run(v);
		f->commit_after = false;
		if (v->undecided != NULL) { /* see tx_leave_unsettled() */
			v->look = true;
			volume_wake(v);
		}
	} else {
		flush_timer_arm(v); /* who waits for it would only ask for the next at once */
	}
	if (v->stalled != NULL && error == 0)
		volume_unstall(v);
	if (f->waiting.head != NULL)
		flush_want(v);
	flush_answer(v, &answered, error);
}

/* The round is over when all servers answered, and what they lost is on record. */
static void flush_settle(struct volume *v)
{
	struct flush *f = &v->flush;

	if (f->running && f->pending == 0 && (v->marks == 0 || f->error != 0))
		flush_end(v);
}

void flush_marked(struct volume *v)
{
	flush_settle(v);
	flush_timer_arm(v);
}

/* ---- commit -------------------------------------------------------------------------------- */

static void commit_done(struct nbd_call *call, int error)
{
	struct server *s = (struct server *)((char *)call - offsetof(struct server, commit_call));
	struct volume *v = s->v;

	s->commit_busy = false;
	if (error == -ENOTCONN)
		server_broke(s);
	else if (error == (int)WEFT_ESTALE)
		server_recheck(s);
	else if (error != 0)
		log_error("volume %s: server %u: commit: %s", v->name, s->number, strerror(error));
	else
		s->commit_sent = call->cmd.tx;
	if (v->stopped != NULL)
		volume_wake(v);
}

void commit_run(struct volume *v)
{
	if (v->marks > 0 || v->state == VOLUME_FENCED || v->reopening || v->stop_lost)
		return;
	v->uncommitted = 0;
	for (unsigned i = 0; i < v->nservers; i++) {
		struct server *s = v->servers[i];

		if (!server_ok(s) || s->commit_busy || s->max_tx <= s->commit_sent ||
		    v->commit_to <= s->commit_sent)
			continue;
		server_cmd(v, &s->commit_call, WEFT_CMD_COMMIT);
		s->commit_call.cmd.tx = v->commit_to;
		s->commit_call.done = commit_done;
		s->commit_busy = true;
		server_submit(s, &s->commit_call);
	}
}

/* Also what no client wrote, but a rebuild. */
static bool unflushed(const struct volume *v)
{
	bool touched = v->ring_count > 0 || v->flush.running;

	for (unsigned i = 0; i < v->nservers; i++)
		touched |= v->servers[i]->touched;
	return touched;
}

void flush_timer_fire(struct io_timer *t)
{
	struct volume *v = (struct volume *)((char *)t - offsetof(struct volume, flush_timer));

	if (v->reopening) /* nothing counts as decided before it is judged */
		return;
	if (unflushed(v)) {
		v->flush.commit_after = true;
		flush_want(v);
		return;
	}
	if (tx_decided(v) > v->commit_to)
		v->commit_to = tx_decided(v);
	commit_run(v);
}
