/* See stats.h. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "stats.h"
#include "banned.h"

const char *const rate_names[HISTORY_VALUES] = {
	[RATE_READS] = "reads",		  [RATE_WRITES] = "writes",
	[RATE_READ_BYTES] = "read_bytes", [RATE_WRITE_BYTES] = "write_bytes",
	[RATE_READ_US] = "read_us",	  [RATE_WRITE_US] = "write_us",
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
		struct io_counts d;

		io_counts_since(&now->kind[k], &then->kind[k], &d);
		out->value[count[k]] = (float)d.count / HISTORY_STEP_S;
		out->value[bytes[k]] = (float)d.bytes / HISTORY_STEP_S;
		out->value[us[k]] = (float)io_counts_quantile(&d, 0.99) / 1000;
	}
}

static void stat_sum(struct io_stat *sum, const struct io_stat *st)
{
	for (int k = 0; k < IO_KINDS; k++) {
		sum->kind[k].count += st->kind[k].count;
		sum->kind[k].bytes += st->kind[k].bytes;
		sum->kind[k].total_ns += st->kind[k].total_ns;
		for (unsigned i = 0; i < IO_BUCKETS; i++)
			sum->kind[k].bucket[i] += st->kind[k].bucket[i];
	}
}

/* What the kernel routed is read, too; how long it took, nobody saw. */
static void rates_add_routed(struct rates *r, uint64_t reads, uint64_t bytes)
{
	r->value[RATE_READS] += (float)reads / HISTORY_STEP_S;
	r->value[RATE_READ_BYTES] += (float)bytes / HISTORY_STEP_S;
}

static void stats_volume(struct cluster *c, struct vol *v, struct io_stat *total,
			 uint64_t routed_sum[2])
{
	uint64_t routed, routed_bytes;
	struct io_stat now;
	struct watch *w;

	pthread_mutex_lock(&c->lock);
	now = v->io_seen;
	routed = v->routed;
	routed_bytes = v->routed_bytes;
	pthread_mutex_unlock(&c->lock);
	if (v->watch == NULL)
		v->watch = mem_must(sizeof(*v->watch));
	w = v->watch;
	rates_of(&now, &w->last, &w->rates);
	w->last = now;
	if (routed > w->routed) {
		rates_add_routed(&w->rates, routed - w->routed, routed_bytes - w->routed_bytes);
		routed_sum[0] += routed - w->routed;
		routed_sum[1] += routed_bytes - w->routed_bytes;
	}
	w->routed = routed;
	w->routed_bytes = routed_bytes;
	stat_sum(total, &now);
	watch_step(c, v->watch, HISTORIES_MAX);
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
	if (w->history == NULL)
		stats_begin_history(c, w, HISTORIES_MAX + SERVERS_MAX);
	if (w->history != NULL)
		history_add(w->history, r->value);
}

static void stats_sampled(void *arg)
{
	struct cluster *c = arg;
	struct io_stat total = {0};
	uint64_t routed[2] = {0, 0};

	sampling = false;
	if (c->stopping)
		return;
	for (unsigned i = 0; i < c->nservers; i++)
		stats_server(c, c->servers[i]);
	for (unsigned i = 0; i < c->nvols; i++)
		stats_volume(c, c->vols[i], &total, routed);
	/* a deleted volume takes its counters along: never go backwards */
	for (int k = 0; k < IO_KINDS; k++)
		if (total.kind[k].count < all.last.kind[k].count)
			all.last = total;
	rates_of(&total, &all.last, &all.rates);
	rates_add_routed(&all.rates, routed[0], routed[1]);
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
