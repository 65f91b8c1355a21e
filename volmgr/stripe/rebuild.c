/*
 * What is rebuilt when: extents with the fewest good shards first, a few at once, and each stripe
 * as the throttle lets it. Clients come first: when they want something, the number of stripes in
 * work is halved with each that ends, down to a few; when nobody does, it grows again. An extent
 * with too few good shards for writes is not throttled: clients wait for just that.
 *
 * Only when everything was settled after the last stripe (settle.c), and when the record without
 * the mark is durable, is a shard read. See rebuild.h.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "log.h"
#include "stripe/rebuild-impl.h"

#include "banned.h"

static unsigned bits(uint64_t mask)
{
	return (unsigned)__builtin_popcountll(mask);
}

static uint32_t stripes(const struct volume *v)
{
	return 1u << v->l.spe_shift;
}

/* ---- what others ask ----------------------------------------------------------------------- */

uint32_t rebuild_has(const struct extent *x, uint32_t stripe)
{
	const struct rebuild *job = x->rebuild;

	return !job->failed && (job->done[stripe / 64] >> (stripe % 64) & 1) != 0 ? job->shards : 0;
}

uint32_t rebuild_complete(const struct extent *x)
{
	return !x->rebuild->failed && x->rebuild->step >= REBUILD_SETTLE ? x->rebuild->shards : 0;
}

void rebuild_count(struct volume *v, int shards)
{
	struct rebuild_stat *st = &v->rebuild.stat;

	if (st->shards == 0 && shards > 0)
		st->done_bytes = st->rate = 0;
	assert(shards >= 0 || st->shards >= (uint64_t)-shards);
	st->shards += (uint64_t)shards;
}

/* One that is to be given back waits for its writes, and they perhaps for this. */
static bool awaited(const struct volume *v, const struct extent *x)
{
	return x->state == EXTENT_DROPPING && x->drop != NULL && bits(extent_whole(v, x)) < v->min;
}

static uint32_t rebuildable(const struct volume *v, const struct extent *x)
{
	uint32_t shards = 0;

	if (x->stale == 0 || (x->state != EXTENT_READY && !awaited(v, x)) || x->rebuild != NULL ||
	    x->carry != NULL || x->marking || x->rebuild_round > v->rebuild.round ||
	    bits(extent_usable(v, x)) < v->l.k)
		return 0;
	for (unsigned i = 0; i < v->shards; i++)
		if ((x->stale >> i & 1) != 0 && server_ok(shard_server(x, i)))
			shards |= 1u << i;
	return shards;
}

static void tick_arm(struct volume *v)
{
	if ((v->rebuild.stat.shards > 0 || v->carries != NULL) && v->state == VOLUME_RUNNING &&
	    v->rebuild.timer.at_ns == 0)
		v->config.env->ops->timer_set(v->config.env, &v->rebuild.timer,
					      volume_now(v) + REBUILD_TICK_MS * NS_PER_MS);
}

void rebuild_look(struct volume *v)
{
	v->rebuild.look = true;
	volume_wake(v);
	tick_arm(v);
}

void rebuild_consider(struct volume *v, const struct extent *x)
{
	if (rebuildable(v, x) != 0)
		rebuild_look(v);
	else
		tick_arm(v);
}

void rebuild_tick(struct io_timer *t)
{
	struct volume *v = (struct volume *)((char *)t - offsetof(struct volume, rebuild.timer));
	struct rebuilds *r = &v->rebuild;

	r->stat.rate = (r->stat.rate + (r->copied_bytes - r->tick_bytes)) / 2;
	r->tick_bytes = r->copied_bytes;
	if (++r->ticks % REBUILD_ROUND_TICKS == 0)
		r->round++;
	if (r->stat.shards > 0)
		rebuild_look(v);
	else
		tick_arm(v);
}

/* ---- the end of a job ---------------------------------------------------------------------- */

void rebuild_advance(struct rebuild *job)
{
	volume_wake(job->v);
}

/* What it had is not to be used any more; what is under way ends by itself. */
static void job_drop(struct rebuild *job, uint32_t shards)
{
	shards &= job->shards;
	job->shards &= ~shards;
	job->failed |= job->shards == 0;
	if ((shards & job->x->clear) != 0)
		extent_mark_stale(job->v, job->x, shards & job->x->clear);
	rebuild_advance(job);
}

void rebuild_fail(struct rebuild *job, uint32_t shards, const char *what, int error)
{
	struct volume *v = job->v;

	shards &= job->shards;
	if (shards == 0)
		return;
	log_warn("volume %s: extent %llu: shards 0x%x cannot be rebuilt now: %s: %s", v->name,
		 (unsigned long long)job->x->number, shards, what, strerror(error));
	job_drop(job, shards);
	if (!job->failed)
		return;
	job->x->rebuild_round = v->rebuild.round + 1;
	v->rebuild.stat.failed++;
}

/*
 * A stripe has fewer than k good units, and others that do not match their checksums. Perhaps a
 * repair helps, which looks at each row by itself. If not, nothing but a backup, or a server that
 * is away, brings it back: the others of the volume do not wait for that.
 */
void rebuild_lost(struct rebuild *job)
{
	struct volume *v = job->v;

	rebuild_fail(job, job->shards, "blocks of it cannot be decoded", EIO);
	if (!job->x->undecodable) {
		job->x->undecodable = true;
		return;
	}
	job->x->rebuild_round = v->rebuild.round + REBUILD_LOST_ROUNDS;
	extent_hopeless(v, job->x, true);
}

void extent_hopeless(struct volume *v, struct extent *x, bool hopeless)
{
	if (x->hopeless == hopeless)
		return;
	x->hopeless = hopeless;
	v->rebuild.stat.lost += hopeless ? 1 : -1ULL;
}

void rebuild_cancel(struct extent *x)
{
	x->rebuild->failed = true;
	job_drop(x->rebuild, x->rebuild->shards);
}

void rebuild_server_broke(struct server *s)
{
	for (struct rebuild *job = s->v->rebuild.jobs; job != NULL; job = job->next)
		for (unsigned i = 0; i < s->v->shards; i++)
			if ((job->shards >> i & 1) != 0 && shard_server(job->x, i) == s)
				job_drop(job, 1u << i);
}

static void job_free(struct rebuild *job)
{
	free(job->slots);
	free(job->maps);
	free(job);
}

/* None of its servers ever had anything, nor was anything written meanwhile. */
static bool job_is_blank(const struct rebuild *job)
{
	uint64_t touched = 0;

	for (unsigned i = 0; i < STRIPES_MAX / 64; i++)
		touched |= job->touched[i];
	return job->step == REBUILD_END && job->mapped == 0 && touched == 0;
}

static void job_end(struct rebuild *job)
{
	struct volume *v = job->v;
	struct extent *x = job->x;
	bool blank = job_is_blank(job);

	if (job->step <= REBUILD_COPY)
		v->rebuild.copying--;
	v->rebuild.njobs--;
	v->rebuild.look = true;
	x->rebuild = NULL;
	job_free(job);
	extent_unbusy(v, x);
	if (blank)
		extent_drop_blank(v, x);
	if (v->rebuild.jobs == NULL)
		copies_free(v);
	volume_wake(v);
}

void rebuilds_free(struct volume *v)
{
	struct rebuild *job;

	while ((job = v->rebuild.jobs) != NULL) { /* of a volume that was never stopped in order */
		v->rebuild.jobs = job->next;
		job_free(job);
	}
	copies_free(v);
}

/* ---- steps --------------------------------------------------------------------------------- */

static void job_settled(void *arg, int err)
{
	struct rebuild *job = arg;

	job->inflight--;
	if (err != 0) {
		rebuild_fail(job, job->shards, "settling", -err);
	} else if (!job->failed) {
		job->step = REBUILD_CLEAR;
		job->x->clear |= job->shards;
		extent_record(job->v, job->x);
	}
	rebuild_advance(job);
}

/* Everything is there: it counts as good when it is asked whether writes can go on. */
static void job_copied(struct rebuild *job)
{
	struct volume *v = job->v;

	job->step = REBUILD_SETTLE;
	v->rebuild.copying--;
	job->inflight++;
	volume_unstall(v);
	settle_request(v, job_settled, job);
}

void rebuild_recorded(struct volume *v, struct extent *x)
{
	struct rebuild *job = x->rebuild;

	if (job == NULL || job->failed)
		return;
	if (job->step == REBUILD_RECORD) {
		job->step = REBUILD_MAP;
	} else if (job->step == REBUILD_CLEAR) {
		job->step = REBUILD_END;
		extent_hopeless(v, x, false);
		x->undecodable = false;
		v->rebuild.stat.rebuilt += bits(job->shards);
		v->rebuild.stat.done_bytes += (uint64_t)bits(job->shards) * WEFT_SHARD_BYTES;
		for (unsigned i = 0; i < v->shards; i++)
			shard_server(x, i)->rebuilt += job->shards >> i & 1;
		if (v->rebuild.stat.shards == 0)
			log_info("volume %s: all shards are rebuilt", v->name);
	}
	rebuild_advance(job);
}

bool rebuild_may_copy(const struct volume *v)
{
	return v->rebuild.inflight < v->rebuild.window;
}

void rebuild_copy_begins(struct volume *v)
{
	v->rebuild.inflight++;
	tick_arm(v);
}

static void throttle(struct volume *v)
{
	struct rebuilds *r = &v->rebuild;

	if (v->inflight > v->stat.waiting)
		r->window = r->window / 2 > REBUILD_WINDOW_MIN ? r->window / 2 : REBUILD_WINDOW_MIN;
	else if (r->window < REBUILD_WINDOW)
		r->window++;
}

void rebuild_paced(struct volume *v, uint64_t bytes)
{
	v->rebuild.inflight--;
	v->rebuild.copied_bytes += bytes;
	throttle(v);
	volume_wake(v);
}

void rebuild_copied(struct rebuild *job, uint32_t bytes)
{
	rebuild_paced(job->v, (uint64_t)bits(job->shards) * bytes);
}

void rebuild_ask_again(struct rebuild *job, uint32_t stripe)
{
	job->asked[stripe / 64] &= ~(1ULL << (stripe % 64));
	bit_set(job->alone, stripe);
	if (job->stripe > stripe)
		job->stripe = stripe;
}

/* The next stripes that lie in one piece, and in one place of all runs. 0: all were asked for. */
static unsigned next_run(struct rebuild *job)
{
	uint32_t max = REBUILD_RUN_BYTES >> job->v->l.unit_shift, end, n = 1;

	while (job->stripe < stripes(job->v) && bit_is(job->asked, job->stripe))
		job->stripe++;
	if (job->stripe == stripes(job->v))
		return 0;
	end = (job->stripe / max + 1) * max;
	while (job->stripe + n < end && job->stripe + n < stripes(job->v) &&
	       !bit_is(job->asked, job->stripe + n) && !bit_is(job->alone, job->stripe) &&
	       !bit_is(job->alone, job->stripe + n))
		n++;
	return n;
}

static void job_copy(struct rebuild *job)
{
	struct rebuilds *r = &job->v->rebuild;
	unsigned window = job->urgent ? REBUILD_WINDOW : r->window, n;

	while (!job->failed && r->inflight < window && (n = next_run(job)) > 0) {
		uint32_t first = job->stripe;

		for (uint32_t s = first; s < first + n; s++)
			bit_set(job->asked, s);
		if (!rebuild_copy_run(job, first, n))
			rebuild_fail(job, job->shards, "memory", ENOMEM);
	}
	if (!job->failed && job->inflight == 0 && next_run(job) == 0)
		job_copied(job);
}

static void job_map(struct rebuild *job)
{
	if (job->maps == NULL && job->mapped == 0)
		rebuild_map(job);
	if (job->inflight > 0)
		return;
	rebuild_mapped(job);
	job->step = REBUILD_COPY;
	rebuild_advance(job);
}

/* True: it is over. */
static bool job_step(struct rebuild *job)
{
	struct volume *v = job->v;

	if (!job->failed && (v->state != VOLUME_RUNNING || v->reopening ||
			     (job->x->state != EXTENT_READY && job->x->drop == NULL)))
		rebuild_cancel(job->x);
	if (job->failed)
		return job->inflight == 0;
	switch (job->step) {
	case REBUILD_SLOTS:
		if (job->inflight > 0)
			break;
		job->step = REBUILD_RECORD;
		extent_record(v, job->x);
		break;
	case REBUILD_MAP:
		job_map(job);
		break;
	case REBUILD_COPY:
		job_copy(job);
		break;
	case REBUILD_END:
		return true;
	default: /* flush and records end by themselves */
		break;
	}
	return false;
}

/* ---- which extents ------------------------------------------------------------------------- */

/* Sorted into the list, where the best come last; the worst fall out. */
static void pick_add(struct rebuilds *r, uint8_t *good, uint64_t extent, uint8_t g)
{
	unsigned at = 0;

	if (r->npick == REBUILD_PICKS) {
		if (good[0] <= g)
			return;
		memmove(good, good + 1, REBUILD_PICKS - 1);
		memmove(r->pick, r->pick + 1, (REBUILD_PICKS - 1) * sizeof(r->pick[0]));
		r->npick--;
	}
	while (at < r->npick && good[at] > g)
		at++;
	memmove(good + at + 1, good + at, r->npick - at);
	memmove(r->pick + at + 1, r->pick + at, (r->npick - at) * sizeof(r->pick[0]));
	good[at] = g;
	r->pick[at] = extent;
	r->npick++;
}

static void pick(struct volume *v)
{
	uint8_t good[REBUILD_PICKS];

	v->rebuild.look = false;
	for (struct extent *x = extent_next(v, 0); x != NULL; x = extent_next(v, x->number + 1))
		if (rebuildable(v, x) != 0)
			pick_add(&v->rebuild, good, x->number, (uint8_t)bits(extent_usable(v, x)));
}

static struct extent *next_extent(struct volume *v)
{
	struct rebuilds *r = &v->rebuild;

	if (r->npick == 0 && r->look)
		pick(v);
	while (r->npick > 0) {
		struct extent *x = extent_find(v, r->pick[--r->npick]);

		if (x != NULL && rebuildable(v, x) != 0)
			return x;
	}
	return NULL;
}

static void job_start(struct volume *v, struct extent *x)
{
	struct rebuild *job = calloc(1, sizeof(*job)), **at = &v->rebuild.jobs;

	if (job == NULL) {
		x->rebuild_round = v->rebuild.round + 1;
		return;
	}
	job->v = v;
	job->x = x;
	job->shards = rebuildable(v, x);
	job->urgent = bits(extent_usable(v, x)) < v->min;
	while (*at != NULL)
		at = &(*at)->next;
	*at = job;
	x->rebuild = job;
	x->busy++;
	v->rebuild.njobs++;
	v->rebuild.copying++;
	rebuild_slots(job);
}

void rebuild_run(struct volume *v)
{
	struct rebuild **at = &v->rebuild.jobs, *job;
	struct extent *x;

	while ((job = *at) != NULL) {
		if (!job_step(job)) {
			at = &job->next;
			continue;
		}
		*at = job->next;
		job_end(job);
	}
	while (v->state == VOLUME_RUNNING && !v->reopening && v->rebuild.stat.shards > 0 &&
	       v->rebuild.copying < REBUILD_JOBS && v->rebuild.njobs < REBUILD_JOBS_MAX &&
	       (x = next_extent(v)) != NULL)
		job_start(v, x);
}

/* ---- status -------------------------------------------------------------------------------- */

void volume_rebuild_stat(const struct volume *v, struct rebuild_stat *st)
{
	const struct rebuild *job;

	*st = v->rebuild.stat;
	st->total_bytes = st->done_bytes + st->shards * WEFT_SHARD_BYTES;
	st->running = v->rebuild.njobs;
	for (job = v->rebuild.jobs; job != NULL; job = job->next)
		for (unsigned i = 0; job->step != REBUILD_END && i < STRIPES_MAX / 64; i++)
			st->done_bytes +=
				(uint64_t)bits(job->done[i]) * bits(job->shards) * v->l.unit;
}

static unsigned wait_add(const struct server *s, uint32_t *servers, unsigned n, unsigned max)
{
	for (unsigned i = 0; i < n; i++)
		if (servers[i] == s->number)
			return n;
	if (n < max && !server_ok(s))
		servers[n++] = s->number;
	return n;
}

unsigned volume_waits_for(const struct volume *v, uint32_t *servers, unsigned max)
{
	unsigned n = 0;

	for (const struct stripe *st = v->stalled; st != NULL; st = st->next)
		for (unsigned i = 0; st->x->state == EXTENT_READY && i < v->shards; i++)
			n = wait_add(shard_server(st->x, i), servers, n, max);
	for (const struct undecided *u = v->undecided; u != NULL; u = u->next)
		for (unsigned i = 0; u->tx != NULL && i < v->shards; i++)
			if ((u->tx->unsettled >> i & 1) != 0)
				n = wait_add(shard_server(u->tx->x, i), servers, n, max);
	for (unsigned i = 0; i < v->nservers; i++)
		if (v->servers[i]->flush_owed)
			n = wait_add(v->servers[i], servers, n, max);
	return n;
}

unsigned volume_rebuild_servers(struct volume *v, struct rebuild_server *list, unsigned max)
{
	unsigned n = v->nservers < max ? v->nservers : max;

	for (unsigned i = 0; i < n; i++) {
		list[i] = (struct rebuild_server){.server = v->servers[i]->number,
						  .rebuilt = v->servers[i]->rebuilt,
						  .older = v->servers[i]->older_told};
		v->servers[i]->rebuilt = 0;
	}
	if (v->rebuild.stat.shards == 0)
		return n;
	for (struct extent *x = extent_next(v, 0); x != NULL; x = extent_next(v, x->number + 1))
		for (unsigned i = 0; x->stale != 0 && x->state >= EXTENT_READY && i < v->shards;
		     i++)
			for (unsigned s = 0; s < n && (x->stale >> i & 1) != 0; s++)
				list[s].stale += v->servers[s] == shard_server(x, i);
	return n;
}
