/* See stats.h. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "stats.h"
#include "banned.h"

const char *const rate_names[HISTORY_VALUES] = {
	[RATE_READS] = "reads",
	[RATE_WRITES] = "writes",
	[RATE_READ_BYTES] = "read_bytes",
	[RATE_WRITE_BYTES] = "write_bytes",
	[RATE_READ_US] = "read_us",
	[RATE_WRITE_US] = "write_us",
	[RATE_REBUILD_BYTES] = "rebuild_bytes",
};

static struct control_timer *timer;
static bool sampling;
static struct watch all;
static unsigned histories;

const struct watch *stats_all(void)
{
	return &all;
}

void watch_free(struct watch *w)
{
	if (w == NULL)
		return;
	histories -= w->history != NULL;
	free(w->history);
	free(w);
}

/* ---- history ------------------------------------------------------------------------------- */

/* The volume's that has been idle for longest. */
static struct watch *stats_idlest(struct cluster *c)
{
	struct watch *idlest = NULL;

	for (unsigned i = 0; i < c->nvols; i++) {
		struct watch *w = c->vols[i]->watch;

		if (w != NULL && w->history != NULL &&
		    (idlest == NULL || w->active_ns < idlest->active_ns))
			idlest = w;
	}
	return idlest;
}

/* Begins with zeros as old as the cluster's, so that all end at the same step. */
static void stats_begin_history(struct cluster *c, struct watch *w, unsigned max)
{
	struct watch *old;

	if (histories >= max) {
		old = stats_idlest(c);
		if (old == NULL || clock_ns() - old->active_ns < 60 * NS_PER_S)
			return;
		free(old->history);
		old->history = NULL;
		histories--;
	}
	w->history = calloc(1, sizeof(*w->history));
	if (w->history == NULL)
		return;
	histories++;
	w->history->steps = all.history != NULL ? all.history->steps : 0;
}

static void watch_step(struct cluster *c, struct watch *w, unsigned max)
{
	bool active = w->rates.value[RATE_READS] + w->rates.value[RATE_WRITES] > 0;

	if (active)
		w->active_ns = clock_ns();
	if (active && w->history == NULL)
		stats_begin_history(c, w, max);
	if (w->history != NULL)
		history_add(w->history, w->rates.value);
}

/* ---- rates --------------------------------------------------------------------------------- */

static void rates_of(const struct io_stat *now, const struct io_stat *then, struct rates *out)
{
	static const enum rate count[] = {RATE_READS, RATE_WRITES};
	static const enum rate bytes[] = {RATE_READ_BYTES, RATE_WRITE_BYTES};
	static const enum rate us[] = {RATE_READ_US, RATE_WRITE_US};

	for (int k = IO_READ; k <= IO_WRITE; k++) {
		struct watch_counts d;

		io_counts_since(&now->kind[k], &then->kind[k], &d);
		out->value[count[k]] = (float)d.count / HISTORY_STEP_S;
		out->value[bytes[k]] = (float)d.bytes / HISTORY_STEP_S;
		out->value[us[k]] = (float)io_counts_quantile(&d, 0.99) / 1000;
	}
}

static void stats_volume(struct cluster *c, struct vol *v, struct io_stat *total)
{
	struct io_stat now;
	struct watch *w;
	uint64_t moved;

	pthread_mutex_lock(&c->lock);
	now = v->io_seen;
	moved = v->rebuild.moved_bytes;
	io_counts_sum(&now.kind[IO_READ], &v->routed);
	pthread_mutex_unlock(&c->lock);
	if (v->watch == NULL)
		v->watch = mem_must(sizeof(*v->watch));
	w = v->watch;
	rates_of(&now, &w->last, &w->rates);
	w->rates.value[RATE_REBUILD_BYTES] =
		moved > w->moved_bytes ? (float)(moved - w->moved_bytes) / HISTORY_STEP_S : 0;
	all.rates.value[RATE_REBUILD_BYTES] += w->rates.value[RATE_REBUILD_BYTES];
	w->moved_bytes = moved;
	w->last = now;
	io_stat_sum(total, &now);
	watch_step(c, v->watch, HISTORIES_MAX);
}

/* What volmgr counts itself, since the last step. */
static void stats_server_own(struct cluster *c, struct server *s)
{
	uint64_t answers, answers_ns, rebuilt;
	struct watch *w = s->watch;
	struct rates *r = &w->rates;

	pthread_mutex_lock(&c->lock);
	answers = s->counts.answers;
	answers_ns = s->counts.answers_ns;
	rebuilt = s->rebuilt_shards;
	pthread_mutex_unlock(&c->lock);
	r->value[RATE_READ_US] = answers > w->answers ? (float)(answers_ns - w->answers_ns) /
								(float)(answers - w->answers) / 1000
						      : 0;
	r->value[RATE_REBUILD_BYTES] =
		(float)((rebuilt - w->rebuilt_shards) * WEFT_SHARD_BYTES) / HISTORY_STEP_S;
	w->answers = answers;
	w->answers_ns = answers_ns;
	w->rebuilt_shards = rebuilt;
}

/* A server's own counters come with the health check, less often than we look. */
static void stats_server(struct cluster *c, struct server *s)
{
	struct watch *w = s->watch;
	struct rates *r;
	float step;

	if (w == NULL)
		w = s->watch = mem_must(sizeof(*w));
	r = &w->rates;
	if (!s->stat_known || s->state != SERVER_UP) {
		memset(r, 0, sizeof(*r));
		w->started = false;
	} else if (!w->started || s->stat.reads < w->stat.reads) {
		w->started = true;
		w->stat = s->stat;
		w->active_ns = s->stat_ns;
	} else if (s->stat_ns > w->active_ns) {
		step = (float)(s->stat_ns - w->active_ns) / NS_PER_S;
		r->value[RATE_READS] = (float)(s->stat.reads - w->stat.reads) / step;
		r->value[RATE_WRITES] = (float)(s->stat.writes - w->stat.writes) / step;
		r->value[RATE_READ_BYTES] = (float)(s->stat.read_bytes - w->stat.read_bytes) / step;
		r->value[RATE_WRITE_BYTES] =
			(float)(s->stat.write_bytes - w->stat.write_bytes) / step;
		w->stat = s->stat;
		w->active_ns = s->stat_ns;
	}
	stats_server_own(c, s);
	if (w->history == NULL)
		stats_begin_history(c, w, HISTORIES_MAX + SERVERS_MAX);
	if (w->history != NULL)
		history_add(w->history, r->value);
}

static void stats_sampled(void *arg)
{
	struct cluster *c = arg;
	struct io_stat total = {0};

	sampling = false;
	if (c->stopping)
		return;
	for (unsigned i = 0; i < c->nservers; i++)
		stats_server(c, c->servers[i]);
	all.rates.value[RATE_REBUILD_BYTES] = 0;
	for (unsigned i = 0; i < c->nvols; i++)
		stats_volume(c, c->vols[i], &total);
	/* a deleted volume takes its counters along: never go backwards */
	for (int k = 0; k < IO_KINDS; k++)
		if (total.kind[k].count < all.last.kind[k].count)
			all.last = total;
	rates_of(&total, &all.last, &all.rates);
	all.last = total;
	if (all.history == NULL)
		all.history = mem_must(sizeof(*all.history));
	history_add(all.history, all.rates.value);
	live_step(c);
}

static void stats_tick(void *arg)
{
	struct cluster *c = arg;

	if (sampling || c->stopping)
		return;
	sampling = true;
	engine_collect(c, stats_sampled, c);
}

void stats_start(struct cluster *c)
{
	timer = control_timer_start(c->control, HISTORY_STEP_S * 1000, 1, stats_tick, c);
}

void stats_stop(struct cluster *c)
{
	control_timer_free(timer);
	timer = NULL;
	live_stop();
}
