/*
 * Taking a volume over: fence its servers, look at what is prepared, roll each tx forward or back.
 * And the orderly end.
 *
 * The decision: a tx is done for good if its own owner's COMMIT watermark covers it on some server
 * (the owner sends one only when every tx below is decided, and aborted ones are gone everywhere
 * then), or if every participant that can be asked lists it; else it is undone, and with it what
 * was built upon it. A participant that cannot be asked is marked stale, durably and before
 * anything is committed: it may have missed the tx, or kept it, and nobody could tell later.
 *
 * Servers that are not there when this begins are left alone until it has ended: what they list
 * then is not covered by its COMMITs. Who was there, and which watermark was found, is recorded
 * before the first of these (starts.c).
 *
 * When a server goes meanwhile, all begins again. From the first COMMIT on the decisions stand, and
 * nobody is waited for: who is away has flushed all of it, and what was undone is gone there.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "log.h"
#include "stripe/starts.h"

#include "banned.h"

struct found {
	uint64_t tx;
	uint64_t offset, blocks;
	uint32_t participants;
	uint32_t slot_gen;
	struct server *server;
	struct extent *x; /* NULL: of no extent in the map */
	unsigned shard;
	bool undo;
};

enum resolve_step {
	RESOLVE_MARKS,
	RESOLVE_UNDO,
	RESOLVE_FLUSH,
	RESOLVE_RECORD,
	RESOLVE_COMMIT,
	RESOLVE_END
};

struct resolve {
	struct volume *v;
	enum resolve_step step;
	struct found *found;
	size_t n;
	struct resolve_call *calls; /* of the running step */
	uint32_t pending;
	bool failed; /* a server went away: from the start again */
	uint64_t watermark;
};

struct resolve_call {
	struct nbd_call call;
	struct resolve *r;
	struct server *server;
};

static void resolve_next(struct resolve *r);

static uint64_t found_slot(const struct found *f)
{
	return f->offset / WEFT_SHARD_BYTES;
}

static int by_place(const void *a, const void *b)
{
	const struct found *l = a, *r = b;

	if (l->server->number != r->server->number)
		return l->server->number < r->server->number ? -1 : 1;
	if (found_slot(l) != found_slot(r))
		return found_slot(l) < found_slot(r) ? -1 : 1;
	return 0;
}

static int by_tx(const void *a, const void *b)
{
	const struct found *l = a, *r = b;

	return (l->tx > r->tx) - (l->tx < r->tx);
}

/* First entry that is not before (server, slot). */
static size_t lower_bound(const struct found *f, size_t n, const struct found *key)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (by_place(&f[mid], key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Which shard of which extent each entry is of. */
static void find_extents(struct volume *v, struct found *f, size_t n)
{
	qsort(f, n, sizeof(*f), by_place);
	for (struct extent *x = extent_next(v, 0); x != NULL; x = extent_next(v, x->number + 1)) {
		if (x->state != EXTENT_READY)
			continue;
		for (unsigned i = 0; i < v->shards; i++) {
			struct found key = {
				.server = x->place[i].server,
				.offset = (uint64_t)x->place[i].slot * WEFT_SHARD_BYTES,
			};

			for (size_t e = lower_bound(f, n, &key);
			     e < n && by_place(&f[e], &key) == 0; e++) {
				if (f[e].slot_gen != x->place[i].slot_gen)
					continue;
				f[e].x = x;
				f[e].shard = i;
			}
		}
	}
	qsort(f, n, sizeof(*f), by_tx);
}

/* Both on one shard, touching the same blocks: undoing the one undoes the other. */
static bool built_upon(const struct found *later, const struct found *earlier)
{
	return later->x == earlier->x && later->shard == earlier->shard &&
	       later->offset == earlier->offset && (later->blocks & earlier->blocks) != 0;
}

static bool upon_undone(const struct found *f, size_t first, size_t group, size_t end)
{
	for (size_t i = group; i < end; i++)
		for (size_t e = first; e < group; e++)
			if (f[e].undo && built_upon(&f[i], &f[e]))
				return true;
	return false;
}

/* Entries group..end-1, of one tx that was judged before. Undone? */
static bool judge_again(struct resolve *r, size_t group, size_t end)
{
	bool kept = false, missed = false;

	for (size_t i = group; i < end; i++)
		kept |= starts_fate(r->found[i].server, r->found[i].tx) == FATE_KEPT;
	for (size_t i = group; i < end; i++) {
		struct found *f = &r->found[i];
		enum fate fate = starts_fate(f->server, f->tx);

		if (f->x == NULL || fate == FATE_KEPT)
			continue;
		if (fate == FATE_UNKNOWN || kept)
			extent_mark_stale(r->v, f->x, 1u << f->shard);
		else
			missed = true;
	}
	return missed;
}

/* Entries group..end-1 are those of one tx. Undone? */
static bool judge(struct resolve *r, size_t group, size_t end)
{
	struct found *f = r->found;
	struct extent *x = NULL;
	uint32_t listed = 0, participants = 0, askable, need;

	if (starts_fate(f[group].server, f[group].tx) != FATE_OPEN)
		return judge_again(r, group, end);
	for (size_t i = group; i < end; i++) {
		if (f[i].x == NULL)
			continue;
		x = f[i].x;
		listed |= 1u << f[i].shard;
		participants |= f[i].participants;
	}
	if (x == NULL) /* slots that no extent uses */
		return false;
	askable = extent_usable(r->v, x);
	need = participants & ~x->stale;
	extent_mark_stale(r->v, x, need & ~askable);
	/* it stays, or not, because of what they may not know */
	if ((participants & x->stale) != 0)
		extent_retell(r->v, x);
	return (need & askable & ~listed) != 0 || upon_undone(f, 0, group, end);
}

static void judge_all(struct resolve *r)
{
	struct volume *v = r->v;
	size_t undone = 0, kept = 0;

	for (size_t i = 0; i < r->n;) {
		size_t end = i + 1;
		bool undo;

		while (end < r->n && r->found[end].tx == r->found[i].tx)
			end++;
		undo = judge(r, i, end);
		*(undo ? &undone : &kept) += 1;
		for (; i < end; i++)
			r->found[i].undo = undo;
	}
	r->watermark = r->n > 0 ? epoch_resolved(v->config.epoch) : v->start_committed;
	if (r->n > 0)
		log_info("volume %s: %zu prepared writes rolled forward, %zu undone", v->name, kept,
			 undone);
}

/* ---- steps --------------------------------------------------------------------------------- */

static void resolve_done(struct nbd_call *call, int error)
{
	struct resolve_call *c = (struct resolve_call *)call;
	struct resolve *r = c->r;

	if (error != 0) {
		log_warn("volume %s: server %u: start: %s", r->v->name, c->server->number,
			 strerror(error < 0 ? -error : error));
		c->server->fenced = false;
		server_broke(c->server);
		r->failed = true;
	}
	r->v->background--;
	if (--r->pending == 0)
		resolve_next(r);
}

static void resolve_submit(struct resolve *r, struct resolve_call *c, struct server *s,
			   uint16_t type, uint64_t tx, uint64_t offset, uint32_t slot_gen)
{
	c->r = r;
	c->server = s;
	if (!server_ok(s)) {
		r->failed = true;
		return;
	}
	server_cmd(r->v, &c->call, type);
	c->call.cmd.tx = tx;
	c->call.cmd.slot_gen = slot_gen;
	c->call.offset = offset;
	c->call.flags = type == WEFT_CMD_COMMIT ? NBD_CMD_FLAG_FUA : 0;
	c->call.done = resolve_done;
	r->pending++;
	r->v->background++;
	server_submit(s, &c->call);
}

static void resolve_recorded(void *arg, int err)
{
	struct resolve *r = arg;
	struct volume *v = r->v;

	v->background--;
	r->pending--;
	if (err == 0 || v->state != VOLUME_STARTING) {
		r->failed = err != 0;
		resolve_next(r);
		return;
	}
	log_error("volume %s: cannot record its start: %s", v->name, strerror(-err));
	r->step--;
	v->config.env->ops->timer_set(v->config.env, &v->start_timer,
				      volume_now(v) + PUT_RETRY_MS * NS_PER_MS);
}

/* Once: what is judged after COMMITs began is no other. */
static void resolve_record(struct resolve *r)
{
	struct volume *v = r->v;

	if (v->resolved)
		return;
	r->pending++;
	v->background++;
	starts_record(v, v->reopening ? v->known_from : epoch_resolved(v->config.epoch),
		      resolve_recorded, r);
}

/* One call to each server that lists anything, or one for each tx to be undone. */
static void resolve_step(struct resolve *r)
{
	struct volume *v = r->v;
	size_t n = r->step == RESOLVE_UNDO ? r->n : v->nservers;

	if (r->step == RESOLVE_RECORD) {
		resolve_record(r);
		return;
	}
	free(r->calls);
	r->calls = calloc(n == 0 ? 1 : n, sizeof(*r->calls));
	if (r->calls == NULL) {
		r->failed = true;
		return;
	}
	if (r->step == RESOLVE_UNDO) {
		for (size_t i = 0; i < n; i++)
			if (r->found[i].undo)
				resolve_submit(r, &r->calls[i], r->found[i].server, WEFT_CMD_ABORT,
					       r->found[i].tx, r->found[i].offset,
					       r->found[i].slot_gen);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		struct server *s = v->servers[i];

		if (!s->resolving || s->nlisted == 0)
			continue;
		if (v->resolved && !server_ok(s))
			continue; /* it misses COMMIT only, and gets it when it is back */
		if (r->step == RESOLVE_FLUSH)
			resolve_submit(r, &r->calls[i], s, NBD_CMD_FLUSH, 0, 0, 0);
		else
			resolve_submit(r, &r->calls[i], s, WEFT_CMD_COMMIT, r->watermark, 0, 0);
	}
}

static void resolve_free(struct resolve *r)
{
	r->v->resolve = NULL;
	free(r->found);
	free(r->calls);
	free(r);
}

void open_again(struct volume *v)
{
	for (unsigned i = 0; i < v->nservers; i++) {
		v->servers[i]->fenced = false;
		server_broke(v->servers[i]);
	}
	for (unsigned i = 0; i < v->nservers; i++)
		server_sync(v->servers[i]);
	v->config.env->ops->timer_set(v->config.env, &v->start_timer,
				      volume_now(v) + START_WAIT_MS * NS_PER_MS);
}

static void open_done(struct volume *v)
{
	void (*ready)(void *arg, int err) = v->ready;

	v->state = VOLUME_RUNNING;
	volume_changed(v);
	v->opened = true;
	v->reopening = false;
	for (unsigned i = 0; i < v->nservers; i++) {
		struct server *s = v->servers[i];

		s->judged = s->resolving;
		if (server_ok(s)) {
			server_forget_list(s);
			if (s->commit_sent < v->start_watermark)
				s->commit_sent = v->start_watermark;
		} else { /* who was fenced and left before all were judged is to list anew */
			s->fenced = false;
			server_sync(s);
		}
	}
	v->ready = NULL;
	v->config.env->ops->timer_cancel(v->config.env, &v->start_timer);
	flush_timer_arm(v);
	rebuild_look(v);
	if (v->stopped != NULL)
		v->state = VOLUME_STOPPING;
	volume_unstall(v);
	volume_run_held(v);
	if (ready != NULL)
		ready(v->ready_arg, 0);
}

static bool marks_pending(struct volume *v)
{
	for (struct extent *x = extent_next(v, 0); x != NULL; x = extent_next(v, x->number + 1))
		if (x->marking || x->telling)
			return true;
	return false;
}

static void resolve_next(struct resolve *r)
{
	struct volume *v = r->v;

	while (!r->failed && r->pending == 0 && r->step < RESOLVE_END) {
		if (r->step == RESOLVE_MARKS && marks_pending(v)) {
			v->config.env->ops->timer_set(v->config.env, &v->start_timer,
						      volume_now(v) + NS_PER_MS);
			return;
		}
		r->step++;
		v->resolved |= r->step == RESOLVE_COMMIT;
		if (r->step < RESOLVE_END)
			resolve_step(r);
	}
	if (r->pending > 0)
		return;
	if (v->state != VOLUME_STARTING) {
		resolve_free(r);
		volume_wake(v);
	} else if (r->failed) {
		resolve_free(r);
		open_again(v);
	} else {
		v->start_watermark = r->watermark;
		if (v->commit_to < r->watermark)
			v->commit_to = r->watermark;
		resolve_free(r);
		open_done(v);
	}
}

static bool gather(struct resolve *r)
{
	struct volume *v = r->v;
	size_t n = 0;

	if (v->start_committed < starts_committed(v))
		v->start_committed = starts_committed(v);
	for (unsigned i = 0; i < v->nservers; i++)
		if (server_ok(v->servers[i]))
			n += v->servers[i]->nlisted;
	r->found = calloc(n == 0 ? 1 : n, sizeof(*r->found));
	if (r->found == NULL)
		return false;
	for (unsigned i = 0; i < v->nservers; i++) {
		struct server *s = v->servers[i];

		if (!v->resolved)
			s->resolving = server_ok(s);
		if (!server_ok(s))
			continue;
		if (s->committed > v->start_committed)
			v->start_committed = s->committed;
		for (size_t e = 0; e < s->nlisted; e++)
			r->found[r->n++] = (struct found){
				.tx = s->listed[e].tx,
				.offset = s->listed[e].offset,
				.blocks = s->listed[e].blocks,
				.participants = s->listed[e].participants,
				.slot_gen = s->listed[e].slot_gen,
				.server = s,
			};
	}
	return true;
}

/*
 * With the servers that are missing out, is every extent still whole enough? One that is not may
 * have prepared txs that nobody here knows of, and whoever comes late with one is left out as
 * stale: more than the extent can miss.
 */
static bool enough(const struct volume *v)
{
	uint32_t all = (1u << v->shards) - 1;

	for (struct extent *x = extent_next(v, 0); x != NULL; x = extent_next(v, x->number + 1)) {
		uint32_t good = all & ~x->stale;

		if (x->state == EXTENT_READY && (unsigned)__builtin_popcount(good) >= v->l.k &&
		    (unsigned)__builtin_popcount(extent_usable(v, x)) < v->l.k)
			return false;
	}
	return true;
}

static void resolve_start(struct volume *v)
{
	struct resolve *r = calloc(1, sizeof(*r));

	if (r != NULL)
		r->v = v;
	if (r == NULL || !gather(r)) {
		free(r);
		v->config.env->ops->timer_set(v->config.env, &v->start_timer,
					      volume_now(v) + START_WAIT_MS * NS_PER_MS);
		return;
	}
	v->resolve = r;
	find_extents(v, r->found, r->n);
	if (!enough(v)) {
		log_warn("volume %s: waits for more of its servers", v->name);
		resolve_free(r);
		v->config.env->ops->timer_set(v->config.env, &v->start_timer,
					      volume_now(v) + START_WAIT_MS * NS_PER_MS);
		return;
	}
	judge_all(r);
	resolve_next(r);
}

static unsigned servers_missing(const struct volume *v)
{
	unsigned missing = 0;

	for (unsigned i = 0; i < v->nservers; i++)
		missing += !server_ok(v->servers[i]);
	return missing;
}

bool open_may_sync(const struct server *s)
{
	const struct volume *v = s->v;

	if (v->state != VOLUME_STARTING)
		return v->opened;
	return v->resolve == NULL && (!v->resolved || s->resolving);
}

/* Who is fenced has to be in, or it looks as if it had been. */
static bool servers_answer(const struct volume *v)
{
	for (unsigned i = 0; i < v->nservers; i++)
		if (v->servers[i]->sync_busy)
			return false;
	return true;
}

void open_server_up(struct server *s)
{
	struct volume *v = s->v;

	if (v->resolve == NULL && servers_missing(v) == 0)
		resolve_start(v);
}

void open_timer_fire(struct io_timer *t)
{
	struct volume *v = (struct volume *)((char *)t - offsetof(struct volume, start_timer));

	if (v->state != VOLUME_STARTING && v->resolve == NULL)
		return;
	if (v->resolve != NULL) {
		if (v->resolve->pending == 0)
			resolve_next(v->resolve);
		return;
	}
	if (!servers_answer(v)) {
		v->config.env->ops->timer_set(v->config.env, t,
					      volume_now(v) + SYNC_POLL_MS * NS_PER_MS);
		return;
	}
	for (unsigned i = 0; i < v->nservers; i++)
		if (!server_ok(v->servers[i]))
			log_warn("volume %s: server %u is missing at the start", v->name,
				 v->servers[i]->number);
	resolve_start(v);
}

void volume_start(struct volume *v, void (*ready)(void *arg, int err), void *arg)
{
	assert(v->state == VOLUME_NEW);
	v->state = VOLUME_STARTING;
	v->ready = ready;
	v->ready_arg = arg;
	for (unsigned i = 0; i < v->nservers; i++)
		server_sync(v->servers[i]);
	v->config.env->ops->timer_set(v->config.env, &v->start_timer,
				      volume_now(v) +
					      (v->nservers == 0 ? 0 : START_WAIT_MS * NS_PER_MS));
}

/*
 * A server that was missing at the start: nobody knows about what it lists of earlier owners, but
 * for what had been decided by then.
 */
void open_judge_late(struct server *s)
{
	struct volume *v = s->v;
	struct found *f = calloc(s->nlisted == 0 ? 1 : s->nlisted, sizeof(*f));
	size_t n = 0;

	if (f == NULL) {
		volume_fail(v, ENOMEM);
		return;
	}
	for (size_t e = 0; e < s->nlisted; e++) {
		const struct weft_list_entry *le = &s->listed[e];

		bool own = le->tx >> EPOCH_SHIFT == v->config.epoch && le->tx >= v->known_from;

		if (own || starts_fate(s, le->tx) == FATE_KEPT)
			continue;
		f[n++] = (struct found){
			.tx = le->tx, .offset = le->offset, .slot_gen = le->slot_gen, .server = s};
	}
	find_extents(v, f, n);
	for (size_t e = 0; e < n; e++)
		if (f[e].x != NULL)
			extent_lost(v, f[e].x, f[e].shard);
	free(f);
	s->judged = true;
}

/* ---- the end ------------------------------------------------------------------------------- */

static void stop_flushed(void *arg, int err)
{
	struct volume *v = arg;

	if (err != 0)
		v->stop_err = err;
	v->stop_step++;
	volume_wake(v);
}

static void stop_flush(struct volume *v)
{
	struct op *op = op_own(v, NBD_CMD_FLUSH, 0, 0, stop_flushed, v);

	if (op == NULL) {
		stop_flushed(v, -ENOMEM);
		return;
	}
	v->stop_step++;
	flush_request(op);
}

static bool calls_pending(const struct volume *v)
{
	for (unsigned i = 0; i < v->nservers; i++) {
		const struct server *s = v->servers[i];

		if (s->sync_busy || s->flush_busy || s->commit_busy || s->confirm.busy)
			return true;
	}
	return false;
}

static void stop_done(struct volume *v)
{
	void (*stopped)(void *arg, int err) = v->stopped;
	struct env *env = v->config.env;

	env->ops->timer_cancel(env, &v->retry_timer);
	env->ops->timer_cancel(env, &v->flush_timer);
	env->ops->timer_cancel(env, &v->put_timer);
	env->ops->timer_cancel(env, &v->start_timer);
	env->ops->timer_cancel(env, &v->grace_timer);
	env->ops->timer_cancel(env, &v->hedge_timer);
	env->ops->timer_cancel(env, &v->rebuild.timer);
	env->ops->timer_cancel(env, &v->carry_timer);
	if (v->state == VOLUME_FENCED)
		v->stop_err = -ESTALE;
	v->state = VOLUME_STOPPED;
	volume_changed(v);
	v->stopped = NULL;
	stopped(v->stopped_arg, v->stop_err);
}

/* Steps: drain; flush; commit; flush again, so that the commits are durable too. */
void volume_check_stop(struct volume *v)
{
	if (v->reopening)
		return;
	if (v->inflight > 0 || v->own_ops > 0 || v->background > 0 || v->tx_running > 0 ||
	    v->placings != NULL || v->resolve != NULL || v->rebuild.jobs != NULL ||
	    v->carries != NULL || calls_pending(v) || v->task.queued)
		return;
	if (v->state == VOLUME_FENCED || v->stop_step == 6 || v->never_ran) {
		stop_done(v);
		return;
	}
	switch (v->stop_step) {
	case 0: /* 1 while it runs, 2 after it */
		stop_flush(v);
		break;
	case 2:
		if (v->stop_err != 0) { /* not all is durable: nothing may be committed */
			stop_done(v);
			return;
		}
		v->stop_step = 3;
		v->commit_to = tx_decided(v);
		commit_run(v);
		volume_wake(v);
		break;
	case 3:
		v->stop_step = 4;
		for (unsigned i = 0; i < v->nservers; i++)
			v->servers[i]->touched =
				server_ok(v->servers[i]) && v->servers[i]->max_tx > 0;
		stop_flush(v);
		break;
	default:
		break;
	}
}

void volume_stop(struct volume *v, void (*done)(void *arg, int err), void *arg)
{
	assert(v->stopped == NULL && v->state != VOLUME_STOPPED);
	v->stopped = done;
	v->stopped_arg = arg;
	if (v->reopening) { /* after that */
		volume_scrub_stop(v);
		volume_wake(v);
		return;
	}
	if (v->state == VOLUME_NEW || v->state == VOLUME_STARTING)
		v->never_ran = true;
	if (v->state != VOLUME_FENCED)
		v->state = VOLUME_STOPPING;
	volume_changed(v);
	v->ready = NULL;
	volume_scrub_stop(v);
	moves_recorded(v, NULL, -ESHUTDOWN);
	volume_run_held(v);
	volume_unstall(v); /* what only a rebuild could help is refused now */
	volume_wake(v);
}
