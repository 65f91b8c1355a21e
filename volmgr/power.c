/* See power.h. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "moving.h"
#include "power.h"
#include "stripe/plan.h"
#include "banned.h"

#define WORST_MAX (sizeof(((struct power_impact *)0)->worst) / sizeof(struct vol *))

static const char *const names[] = {
	[POWER_SAME] = "same",
	[POWER_LESS] = "less",
	[POWER_WAITING] = "waiting",
	[POWER_UNAVAILABLE] = "unavailable",
};

const char *power_state_name(enum power_state s)
{
	return names[s];
}

struct power_look {
	struct cluster *cluster;
	const char *host;
	struct power_impact *out;
	unsigned up, kept; /* servers: new extents are placed on these */
};

static unsigned power_min(const struct vol *v)
{
	return v->settings.min != 0 ? v->settings.min : plan_min_good(v->k, v->m);
}

/* Space that was never written needs servers, too. */
static enum power_state power_placing(const struct power_look *l, const struct vol *v)
{
	return l->kept < power_min(v) && l->up >= power_min(v) ? POWER_WAITING : POWER_SAME;
}

static void power_note(struct power_look *l, const struct vol *v, enum power_state state)
{
	struct power_impact *out = l->out;

	out->count[state]++;
	if (state < POWER_WAITING || out->nworst == WORST_MAX)
		return;
	out->worst[out->nworst] = v;
	out->worst_state[out->nworst++] = power_state_name(state);
}

static int power_look_extent(void *arg, struct vol *v, const struct extent_record *r)
{
	struct power_look *l = arg;
	unsigned good = 0, kept = 0;
	enum power_state state;

	for (unsigned i = 0; i < v->k + v->m; i++) {
		const struct server *s = server_by_number(l->cluster, r->shard[i].server);

		if (s == NULL || s->state != SERVER_UP || (r->stale >> i & 1) != 0)
			continue;
		good++;
		kept += strcmp(s->host, l->host) != 0;
	}
	state = power_extent(v->k, power_min(v), good, kept);
	if (state > v->power)
		v->power = state;
	return 0;
}

int power_impact(struct cluster *c, const char *host, struct power_impact *out)
{
	struct power_look l = {.cluster = c, .host = host, .out = out};
	int err;

	*out = (struct power_impact){.servers = 0};
	for (unsigned i = 0; i < c->nservers; i++) {
		bool here = strcmp(c->servers[i]->host, host) == 0;
		bool up = c->servers[i]->state == SERVER_UP;

		out->servers += here;
		out->up += here && up;
		l.up += up;
		l.kept += up && !here;
	}
	for (unsigned i = 0; i < c->nvols; i++)
		c->vols[i]->power = power_placing(&l, c->vols[i]);
	err = extents_each(c, power_look_extent, &l);
	for (int state = POWER_UNAVAILABLE; state >= POWER_SAME; state--)
		for (unsigned i = 0; i < c->nvols; i++)
			if ((int)c->vols[i]->power == state)
				power_note(&l, c->vols[i], (enum power_state)state);
	return err;
}
