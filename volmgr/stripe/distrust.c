/*
 * A server whose store is older than it had been: somebody put back a backup, or started a copy
 * that was made while it ran, or a disk forgot what it had synced. It looks like a restart, its
 * checksums match, and what it has may be of any time. So nothing on it is a good shard any more:
 * all of them are marked as stale, before anything is read from there, and made anew in slots of
 * their own. The old slots are not discarded by their numbers, which the store may have given again
 * by then.
 *
 * Where an extent would be left with fewer than k good shards the volume does without the server,
 * until others are back or made anew: older bytes are worse than none.
 */
#include "config.h"

#include "log.h"
#include "stripe/engine.h"

#include "banned.h"

static bool has_place(const struct extent *x)
{
	return x->state == EXTENT_READY || x->state == EXTENT_DROPPING;
}

/* The shard that it has of an extent, as a mask. */
static uint32_t shard_on(const struct extent *x, const struct server *s)
{
	for (unsigned i = 0; i < s->v->shards; i++)
		if (shard_server(x, i) == s)
			return 1u << i;
	return 0;
}

static bool can_spare(const struct server *s)
{
	const struct volume *v = s->v;
	uint32_t all = (1u << v->shards) - 1;

	for (struct extent *x = extent_next(v, 0); x != NULL; x = extent_next(v, x->number + 1)) {
		uint32_t shard = has_place(x) ? shard_on(x, s) & ~x->stale : 0;

		if (shard != 0 && (unsigned)__builtin_popcount(all & ~x->stale & ~shard) < v->l.k)
			return false;
	}
	return true;
}

static void distrust(struct server *s)
{
	struct volume *v = s->v;

	for (struct extent *x = extent_next(v, 0); x != NULL; x = extent_next(v, x->number + 1)) {
		uint32_t shard = has_place(x) ? shard_on(x, s) : 0;

		if (shard == 0)
			continue;
		x->place[__builtin_ctz(shard)].slot_gen = 0;
		if ((x->stale & ~x->clear & shard) != 0)
			extent_record(v, x);
		else
			extent_mark_stale(v, x, shard);
	}
}

bool server_trust(struct server *s)
{
	if (s->older == s->peer->older)
		return true;
	if (!can_spare(s)) {
		if (!s->older_told)
			log_error("volume %s: server %u came back with an older store, and too few "
				  "other shards are good to do without: it is left out",
				  s->v->name, s->number);
		s->older_told = true;
		return false;
	}
	log_warn("volume %s: server %u came back with an older store: all of its shards are made "
		 "anew",
		 s->v->name, s->number);
	s->older = s->peer->older;
	s->older_told = s->fenced = false;
	slot_lost(s->v);
	distrust(s);
	return true;
}

/* Those that were left out: perhaps they can be spared now. */
void servers_trust(struct volume *v)
{
	for (unsigned i = 0; i < v->nservers; i++)
		if (v->servers[i]->older_told)
			server_sync(v->servers[i]);
}
