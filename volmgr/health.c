/*
 * Health: every few seconds each server is asked for its counters. Its free capacity guides
 * placing, and a server that has gone away without a word is noticed.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "volmgr.h"
#include "banned.h"

static struct control_timer *health_timer;
static bool health_asking, health_again;

static void health_answered(struct task *t)
{
	struct peer_stats *stats = (struct peer_stats *)t;
	struct cluster *c = t->worker->cluster;

	for (unsigned i = 0; i < stats->count; i++) {
		struct server *s = server_by_number(c, stats->answers[i].server);

		if (s == NULL || s->state != SERVER_UP)
			continue;
		s->stat = stats->answers[i].stat;
		s->stat_known = true;
		s->stat_ns = clock_ns();
		scrub_heard(s);
		age_heard(c, s, &s->stat);
		pthread_mutex_lock(&c->lock);
		s->free_bytes = s->stat.free_bytes;
		s->usable = server_is_member(s) && s->stat.slots_used < s->stat.slots;
		pthread_mutex_unlock(&c->lock);
	}
	free(stats);
	health_asking = false;
	if (health_again)
		health_now(c);
}

/* Ask now: a server came up. While an earlier question waits, once more after it. */
void health_now(struct cluster *c)
{
	struct peer_stats *stats;

	if (c->stopping)
		return;
	health_again = health_asking;
	if (health_asking)
		return;
	health_asking = true;
	stats = mem_must(sizeof(*stats));
	stats->task.run = peer_stats_run;
	stats->task.done = health_answered;
	worker_task(c->workers[0], &stats->task);
}

/* Host names that could not be resolved at the start may be by now. */
static void health_tick(void *arg)
{
	struct cluster *c = arg;
	const char *why;

	for (unsigned i = 0; i < c->nservers; i++) {
		struct server *s = c->servers[i];

		if (s->resolved || addr_parse(s->address, 0, &s->addr, &why) != 0)
			continue;
		s->resolved = true;
		server_connect_all(c, s);
	}
	health_now(c);
}

void health_start(struct cluster *c)
{
	health_timer = control_timer_start(c->control, HEALTH_MS, 1, health_tick, c);
}

void health_stop(void)
{
	control_timer_free(health_timer);
	health_timer = NULL;
}
