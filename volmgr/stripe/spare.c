/*
 * How many more servers may be lost. Each extent is counted by its usable shards when these change:
 * by those servers that were up when somebody last asked. When others are up now, all extents are
 * counted anew. Who asks does so every few seconds at most, and servers come and go seldom.
 */
#include "config.h"

#include "stripe/engine.h"

#include "banned.h"

void spare_count(struct volume *v, struct extent *x)
{
	unsigned usable = 0;

	if (x->counted != 0)
		v->usable[x->counted - 1]--;
	x->counted = 0;
	if (x->state != EXTENT_READY)
		return;
	for (unsigned i = 0; i < v->shards; i++)
		usable += (x->stale >> i & 1) == 0 && shard_server(x, i)->counted;
	v->usable[usable]++;
	x->counted = (uint8_t)(usable + 1);
}

static bool servers_as_counted(struct volume *v)
{
	bool same = true;

	for (unsigned i = 0; i < v->nservers; i++) {
		struct server *s = v->servers[i];

		same &= s->counted == server_ok(s);
		s->counted = server_ok(s);
	}
	return same;
}

int volume_spare(struct volume *v)
{
	unsigned least = 0;

	if (!servers_as_counted(v))
		for (struct extent *x = extent_next(v, 0); x != NULL;
		     x = extent_next(v, x->number + 1))
			spare_count(v, x);
	while (least < v->shards && v->usable[least] == 0)
		least++;
	return (int)least - (int)v->l.k;
}
