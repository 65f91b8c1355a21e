/*
 * Choosing moves. A target is never one that has a shard of the extent; among the others the host
 * that holds the fewest of its shards, then the emptiest server. What is chosen is promised at
 * once, so that a list does not send everything to one server.
 */
#include "config.h"

#include <assert.h>
#include <string.h>

#include "moves.h"
#include "banned.h"

static_assert(WEFT_SHARDS_MAX <= 32, "masks of shards");

struct moves_server *moves_find(struct moves *m, uint32_t server)
{
	for (unsigned i = 0; i < m->nservers; i++)
		if (m->servers[i].server == server)
			return &m->servers[i];
	return NULL;
}

unsigned moves_fill(const struct moves_server *s)
{
	uint64_t room = s->size_bytes / WEFT_SHARD_BYTES;

	if (room == 0)
		return MOVES_FILL;
	return (unsigned)(s->shards * MOVES_FILL / room);
}

/* One shard, in the measure of moves_fill(). */
static unsigned moves_step(const struct moves_server *s)
{
	uint64_t room = s->size_bytes / WEFT_SHARD_BYTES;

	return room == 0 ? MOVES_FILL : (unsigned)(MOVES_FILL / room + 1);
}

static bool moves_counts(const struct moves_server *s)
{
	return s->duty == MOVES_STAYS && s->up && s->size_bytes > 0;
}

static unsigned moves_average(const struct moves *m)
{
	uint64_t shards = 0, room = 0;

	for (unsigned i = 0; i < m->nservers; i++) {
		if (!moves_counts(&m->servers[i]))
			continue;
		shards += m->servers[i].shards;
		room += m->servers[i].size_bytes / WEFT_SHARD_BYTES;
	}
	return room == 0 ? MOVES_FILL : (unsigned)(shards * MOVES_FILL / room);
}

/* From one to the other: both come nearer to each other, by more than nothing. */
static bool moves_evens(const struct moves_server *from, const struct moves_server *to,
			unsigned limit)
{
	return moves_fill(from) > moves_fill(to) + limit &&
	       moves_fill(from) > moves_fill(to) + moves_step(from) + moves_step(to);
}

bool moves_uneven(const struct moves_server *s, unsigned n, bool running)
{
	for (unsigned i = 0; i < n; i++)
		for (unsigned j = 0; j < n; j++)
			if (moves_counts(&s[i]) && moves_counts(&s[j]) && s[j].takes &&
			    moves_evens(&s[i], &s[j], running ? MOVES_EVEN : MOVES_UNEVEN))
				return true;
	return false;
}

uint64_t moves_surplus(const struct moves_server *s, unsigned n)
{
	uint64_t shards = 0, room = 0, surplus = 0;

	for (unsigned i = 0; i < n; i++) {
		if (!moves_counts(&s[i]))
			continue;
		shards += s[i].shards;
		room += s[i].size_bytes / WEFT_SHARD_BYTES;
	}
	for (unsigned i = 0; i < n && room > 0; i++) {
		uint64_t due =
			(uint64_t)((double)shards * (double)(s[i].size_bytes / WEFT_SHARD_BYTES) /
				   (double)room);

		if (moves_counts(&s[i]) && s[i].shards > due)
			surplus += s[i].shards - due;
	}
	return surplus;
}

void moves_begin(struct moves *m)
{
	assert(m->nservers <= MOVES_SERVERS_MAX);
	m->npicks = 0;
	m->wanted = 0;
	m->average = moves_average(m);
	memset(m->blocked, 0, sizeof(m->blocked));
	memset(m->count, 0, sizeof(m->count));
}

/* ---- the target ---------------------------------------------------------------------------- */

static bool moves_holds(const struct moves_pick *p, uint32_t server)
{
	for (unsigned i = 0; i < p->shards; i++)
		if (p->at[i] == server)
			return true;
	return false;
}

/* How many of the extent's other shards are on this host. */
static unsigned moves_on_host(struct moves *m, const struct moves_pick *p, uint32_t host)
{
	unsigned n = 0;

	for (unsigned i = 0; i < p->shards; i++) {
		const struct moves_server *s = moves_find(m, p->at[i]);

		n += i != p->shard && s != NULL && s->host == host;
	}
	return n;
}

static bool moves_fits(struct moves *m, const struct moves_pick *p, const struct moves_server *to)
{
	const struct moves_server *from;

	if (p->why != MOVES_BALANCE)
		return true;
	from = moves_find(m, p->from);
	/* none falls below the average that is above it: it would have to be filled again */
	return moves_counts(to) && moves_evens(from, to, MOVES_EVEN) &&
	       moves_fill(from) > m->average && moves_fill(to) < m->average &&
	       moves_on_host(m, p, to->host) <= moves_on_host(m, p, from->host);
}

/* The best server for it, or NULL; *block then says why. */
static struct moves_server *moves_target(struct moves *m, const struct moves_pick *p,
					 enum moves_block *block)
{
	const struct moves_server *from = moves_find(m, p->from);
	struct moves_server *best = NULL;
	unsigned least = ~0u;

	*block = MOVES_NO_SERVER;
	for (unsigned i = 0; i < m->nservers; i++) {
		struct moves_server *s = &m->servers[i];
		unsigned on_host;

		if (!s->takes || moves_holds(p, s->server) || !moves_fits(m, p, s))
			continue;
		if (s->free_bytes < WEFT_SHARD_BYTES) {
			if (*block == MOVES_NO_SERVER)
				*block = MOVES_NO_ROOM;
			continue;
		}
		if (from != NULL && from->into == s->server)
			return s;
		on_host = moves_on_host(m, p, s->host);
		if (best != NULL &&
		    (on_host > least || (on_host == least && moves_fill(s) >= moves_fill(best))))
			continue;
		best = s;
		least = on_host;
	}
	return best;
}

/* ---- which ones ---------------------------------------------------------------------------- */

/* The list stays sorted; what comes later among equals is later, and falls out first. */
static void moves_add(struct moves *m, const struct moves_pick *p)
{
	unsigned at = m->npicks;

	while (at > 0 && m->picks[at - 1].urgency > p->urgency)
		at--;
	if (at == MOVES_PICKS)
		return;
	if (m->npicks == MOVES_PICKS)
		m->npicks--;
	memmove(&m->picks[at + 1], &m->picks[at], (m->npicks - at) * sizeof(*p));
	m->picks[at] = *p;
	m->npicks++;
}

static void moves_consider(struct moves *m, struct moves_pick *p)
{
	enum moves_block block;

	if (moves_target(m, p, &block) != NULL)
		moves_add(m, p);
	else if (p->why != MOVES_BALANCE)
		m->blocked[block]++;
}

/* Shards of servers that leave or are gone: the first that can go. One at a time of an extent. */
static void moves_look_away(struct moves *m, struct moves_pick *p, uint32_t good, unsigned k)
{
	unsigned ngood = (unsigned)__builtin_popcount(good);
	bool chosen = false;

	for (unsigned i = 0; i < p->shards; i++) {
		const struct moves_server *s = moves_find(m, p->at[i]);
		enum moves_block block;

		if (s != NULL && s->duty == MOVES_STAYS)
			continue;
		m->wanted++;
		p->shard = i;
		p->from = p->at[i];
		p->good = (good >> i & 1) != 0;
		p->why = s == NULL || s->duty == MOVES_GONE ? MOVES_LOST : MOVES_DRAIN;
		p->urgency = (unsigned)p->why * (WEFT_SHARDS_MAX + 1) + (ngood > k ? ngood - k : 0);
		if (!p->good && ngood < k) {
			m->blocked[MOVES_NO_GOOD]++;
		} else if (p->why == MOVES_DRAIN && !s->up) {
			continue; /* it is awaited */
		} else if (moves_target(m, p, &block) == NULL) {
			m->blocked[block]++;
		} else if (!chosen) {
			chosen = true;
			moves_add(m, p);
		}
	}
}

/* Of an extent that lacks nothing: its shard on the fullest server. */
static void moves_look_even(struct moves *m, struct moves_pick *p)
{
	const struct moves_server *full = NULL;

	for (unsigned i = 0; i < p->shards; i++) {
		const struct moves_server *s = moves_find(m, p->at[i]);

		if (s == NULL || !moves_counts(s))
			return;
		if (full != NULL && moves_fill(s) <= moves_fill(full))
			continue;
		full = s;
		p->shard = i;
		p->from = s->server;
	}
	p->good = true;
	p->why = MOVES_BALANCE;
	p->urgency = MOVES_BALANCE * (WEFT_SHARDS_MAX + 1);
	moves_consider(m, p);
}

void moves_look(struct moves *m, uint64_t volume, unsigned k, unsigned shards,
		const struct extent_record *r, bool busy)
{
	struct moves_pick p = {.volume = volume, .extent = r->extent, .shards = shards};
	uint32_t good = 0;
	unsigned away = 0;

	assert(k >= 1 && k <= shards && shards <= WEFT_SHARDS_MAX);
	for (unsigned i = 0; i < shards; i++) {
		struct moves_server *s = moves_find(m, r->shard[i].server);

		p.at[i] = r->shard[i].server;
		if (s == NULL) { /* recovery found no server for it */
			away++;
			continue;
		}
		m->count[s - m->servers]++;
		away += s->duty != MOVES_STAYS;
		if (s->up && s->duty != MOVES_GONE && (r->stale >> i & 1) == 0)
			good |= 1u << i;
	}
	if (busy)
		m->wanted += away;
	else if (away > 0)
		moves_look_away(m, &p, good, k);
	else if (m->balance && (unsigned)__builtin_popcount(good) == shards)
		moves_look_even(m, &p);
}

void moves_end(struct moves *m)
{
	unsigned n = 0;

	for (unsigned i = 0; i < m->npicks; i++) {
		struct moves_pick p = m->picks[i];
		enum moves_block block;
		struct moves_server *to = moves_target(m, &p, &block);
		struct moves_server *from = moves_find(m, p.from);

		if (to == NULL) /* those before it took the place: the next list */
			continue;
		p.to = to->server;
		to->free_bytes -= WEFT_SHARD_BYTES;
		to->shards++;
		if (from != NULL)
			from->shards -= from->shards > 0;
		m->picks[n++] = p;
	}
	m->npicks = n;
}
