/*
 * Which shards move where: what is in danger first, never two shards of an extent on one server,
 * and no more moves than it takes.
 */
#include "config.h"

#include <stdlib.h>

#include "volmgr/moves.h"
#include "tap.h"

#define SERVERS_N 8
#define EXTENTS_N 120
#define STORE	  (100ull * WEFT_SHARD_BYTES)

static struct moves m;
static struct extent_record extents[EXTENTS_N];

/* n equal servers, each on a host of its own, numbers from 1 on. */
static void servers(unsigned n)
{
	m.nservers = n;
	m.balance = false;
	for (unsigned i = 0; i < n; i++)
		m.servers[i] = (struct moves_server){
			.server = i + 1,
			.host = i + 1,
			.up = true,
			.takes = true,
			.size_bytes = STORE,
			.free_bytes = STORE,
		};
}

static struct extent_record extent(uint64_t number, uint32_t first, unsigned shards, unsigned of)
{
	struct extent_record r = {.extent = number, .generation = 1};

	for (unsigned i = 0; i < shards; i++)
		r.shard[i].server = (first + i) % of + 1;
	return r;
}

static void leaves(unsigned server, enum moves_duty duty)
{
	m.servers[server - 1].duty = duty;
	m.servers[server - 1].takes = false;
	m.servers[server - 1].up = duty != MOVES_GONE;
}

static void test_surplus(void)
{
	servers(4);
	m.servers[0].shards = 40;
	m.servers[1].shards = 40;
	m.servers[2].shards = 20;
	is_int((long long)moves_surplus(m.servers, 4), 30, "so many are above their part");
	m.servers[3].up = false;
	is_int((long long)moves_surplus(m.servers, 4), 14, "who is away has none");
}

static void test_drain(void)
{
	struct extent_record r = extent(5, 0, 6, 7);

	servers(7);
	moves_begin(&m);
	moves_look(&m, 1, 4, 6, &r, false);
	moves_end(&m);
	is_int(m.npicks, 0, "when all is well nothing moves");
	is_int(m.count[0] + m.count[5], 2, "shards are counted");

	leaves(3, MOVES_LEAVES);
	moves_begin(&m);
	moves_look(&m, 1, 4, 6, &r, false);
	moves_end(&m);
	is_int(m.npicks, 1, "a server that is to be emptied loses its shard");
	is_int(m.picks[0].shard, 2, "the right one");
	is_int(m.picks[0].to, 7, "to the only server that has none of the extent");
	ok(m.picks[0].good && m.picks[0].why == MOVES_DRAIN, "which is copied from it");

	m.servers[6].free_bytes = WEFT_SHARD_BYTES - 1;
	moves_begin(&m);
	moves_look(&m, 1, 4, 6, &r, false);
	is_int(m.npicks, 0, "not when that one is full");
	is_int(m.blocked[MOVES_NO_ROOM], 1, "and that is said");

	m.servers[6].takes = false;
	moves_begin(&m);
	moves_look(&m, 1, 4, 6, &r, false);
	is_int(m.blocked[MOVES_NO_SERVER], 1, "nor when it takes none");
	is_int(m.wanted, 1, "the shard is still counted as one that should go");

	m.servers[6].takes = true;
	m.servers[6].free_bytes = STORE;
	moves_begin(&m);
	moves_look(&m, 1, 4, 6, &r, true);
	is_int(m.npicks, 0, "not while another shard of the extent is moved");

	m.servers[2].up = false;
	moves_begin(&m);
	moves_look(&m, 1, 4, 6, &r, false);
	is_int(m.npicks, 0, "not while the server that leaves is away for a moment");
}

static void test_danger(void)
{
	struct extent_record whole = extent(1, 0, 6, 7), hurt = extent(2, 0, 6, 7),
			     worse = extent(3, 0, 6, 7), dead = extent(4, 0, 6, 7);

	servers(8);
	leaves(3, MOVES_GONE);
	leaves(6, MOVES_LEAVES);
	hurt.stale = 1u << 0;
	worse.shard[2].server = 7;
	dead.stale = 1u << 0 | 1u << 1;
	moves_begin(&m);
	moves_look(&m, 1, 4, 6, &worse, false);
	moves_look(&m, 1, 4, 6, &whole, false);
	moves_look(&m, 1, 4, 6, &hurt, false);
	moves_look(&m, 1, 4, 6, &dead, false);
	moves_end(&m);
	is_int(m.npicks, 4, "one move of each extent");
	is_int(m.picks[0].extent, 2, "first the one with the fewest good shards");
	ok(!m.picks[0].good && m.picks[0].why == MOVES_LOST, "whose lost shard is made anew");
	is_int(m.picks[1].extent, 1, "then the one with more");
	is_int(m.picks[2].extent, 4, "what is only to leave comes later");
	is_int(m.picks[3].extent, 3, "and last the one that lacks nothing");
	is_int(m.picks[3].why, MOVES_DRAIN, "but is on a server that leaves");
	is_int(m.blocked[MOVES_NO_GOOD], 1, "fewer than k good shards: nothing can be made anew");
	is_int(m.wanted, 7, "all shards that should go are counted");

	leaves(4, MOVES_GONE);
	leaves(5, MOVES_GONE);
	moves_begin(&m);
	moves_look(&m, 1, 4, 6, &whole, false);
	moves_end(&m);
	is_int(m.npicks, 1, "below k good shards a good one can still be copied");
	ok(m.picks[0].good && m.picks[0].from == 6, "from the server that leaves");
}

/* Recovery gives a shard that has no place at all a server that does not exist. */
static void test_nowhere(void)
{
	struct extent_record r = extent(5, 0, 6, 6);

	servers(6);
	r.shard[3] = (struct shard_place){.server = 65535};
	r.stale = 1u << 3;
	m.servers[3].takes = false;
	moves_begin(&m);
	moves_look(&m, 1, 4, 6, &r, false);
	is_int(m.blocked[MOVES_NO_SERVER], 1, "a shard on no server waits for one");
	m.servers[3].takes = true;
	moves_begin(&m);
	moves_look(&m, 1, 4, 6, &r, false);
	moves_end(&m);
	is_int(m.npicks, 1, "and is made anew when there is one");
	ok(m.picks[0].to == 4 && m.picks[0].why == MOVES_LOST && !m.picks[0].good, "there");
}

static void test_many(void)
{
	bool sorted = true, distinct = true;
	unsigned to[9] = {0};

	servers(8);
	leaves(1, MOVES_GONE);
	moves_begin(&m);
	for (unsigned i = 0; i < EXTENTS_N; i++) {
		extents[i] = extent(i, i % 8, 6, 8);
		extents[i].stale = i % 3 == 0 ? 1u << (i % 6) : 0;
		moves_look(&m, 1, 4, 6, &extents[i], false);
	}
	moves_end(&m);
	is_int(m.npicks, MOVES_PICKS, "a list has an end");
	for (unsigned i = 0; i < m.npicks; i++) {
		sorted = sorted && (i == 0 || m.picks[i - 1].urgency <= m.picks[i].urgency);
		for (unsigned s = 0; s < 6; s++)
			distinct = distinct &&
				   extents[m.picks[i].extent].shard[s].server != m.picks[i].to;
		to[m.picks[i].to]++;
	}
	ok(sorted, "the most urgent are first");
	ok(distinct, "no server gets a second shard of an extent");
	is_int(to[1], 0, "nor one that is gone any");
	for (unsigned i = 2; i < 9; i++)
		distinct = distinct && to[i] > 2;
	ok(distinct, "they are spread over the others");
}

static void test_hosts(void)
{
	struct extent_record r = extent(0, 0, 3, 3);

	servers(6);
	m.servers[3].host = 1; /* with server 1 */
	m.servers[4].host = 2; /* with server 2 */
	m.servers[5].host = 3; /* with server 3, that leaves */
	m.servers[5].shards = 90;
	leaves(3, MOVES_LEAVES);
	moves_begin(&m);
	moves_look(&m, 1, 2, 3, &r, false);
	moves_end(&m);
	is_int(m.npicks > 0 ? m.picks[0].to : 0, 6,
	       "rather to a host without a shard than to an "
	       "emptier server");
	m.servers[2].into = 4;
	moves_begin(&m);
	moves_look(&m, 1, 2, 3, &r, false);
	moves_end(&m);
	is_int(m.npicks > 0 ? m.picks[0].to : 0, 4, "unless it is to be replaced by a certain one");
	m.servers[3].free_bytes = 0;
	m.servers[5].free_bytes = STORE;
	moves_begin(&m);
	moves_look(&m, 1, 2, 3, &r, false);
	moves_end(&m);
	is_int(m.npicks > 0 ? m.picks[0].to : 0, 6, "which has to have room");
}

/* Rounds of moves, as the control thread makes them, until there are none. Returns how many. */
static unsigned balance(unsigned shards)
{
	unsigned moved = 0;
	bool running = false;

	for (unsigned round = 0; round < 1000; round++) {
		moves_begin(&m);
		m.balance = false;
		for (unsigned i = 0; i < EXTENTS_N; i++)
			moves_look(&m, 1, shards - 2, shards, &extents[i], false);
		for (unsigned i = 0; i < m.nservers; i++)
			m.servers[i].shards = m.count[i];
		m.balance = running = moves_uneven(m.servers, m.nservers, running);
		if (!running)
			return moved;
		moves_begin(&m);
		for (unsigned i = 0; i < EXTENTS_N; i++)
			moves_look(&m, 1, shards - 2, shards, &extents[i], false);
		moves_end(&m);
		for (unsigned i = 0; i < m.npicks; i++)
			extents[m.picks[i].extent].shard[m.picks[i].shard].server = m.picks[i].to;
		moved += m.npicks;
		if (m.npicks == 0)
			return moved;
	}
	return ~0u;
}

static void test_balance(void)
{
	unsigned moved, most = 0, least = ~0u;

	servers(7);
	for (unsigned i = 0; i < 7; i++)
		m.servers[i].size_bytes = m.servers[i].free_bytes = 2 * STORE;
	for (unsigned i = 0; i < EXTENTS_N; i++)
		extents[i] = extent(i, i % 6, 6, 6);
	moved = balance(6); /* the seventh is empty, the others have 120 */
	for (unsigned i = 0; i < 7; i++) {
		most = m.count[i] > most ? (unsigned)m.count[i] : most;
		least = m.count[i] < least ? (unsigned)m.count[i] : least;
	}
	diag("%u moves, %u to %u shards", moved, least, most);
	ok(most - least <= 5, "a new server gets its part");
	ok(moved <= m.count[6] + 4, "and hardly anything else is moved");
	is_int(balance(6), 0, "then it is even, and stays so");

	m.servers[6].size_bytes = m.servers[6].free_bytes = 4 * STORE;
	balance(6);
	is_int(m.count[6], EXTENTS_N, "one twice as large gets one of every extent");
}

static void test_even(void)
{
	servers(6);
	for (unsigned i = 0; i < 6; i++)
		m.servers[i].shards = 40;
	ok(!moves_uneven(m.servers, 6, true), "equal servers are even");
	m.servers[0].shards = 49;
	ok(!moves_uneven(m.servers, 6, false), "a small difference is no reason to begin");
	ok(moves_uneven(m.servers, 6, true), "but one to go on");
	m.servers[0].shards = 60;
	ok(moves_uneven(m.servers, 6, false), "a large one is a reason to begin");
	leaves(1, MOVES_LEAVES);
	ok(!moves_uneven(m.servers, 6, false), "a server that leaves is not compared");
	servers(2);
	for (unsigned i = 0; i < 2; i++)
		m.servers[i].size_bytes = 4ull * WEFT_SHARD_BYTES;
	m.servers[0].shards = 2;
	m.servers[1].shards = 1;
	ok(!moves_uneven(m.servers, 2, false), "one shard more is even, however small they are");
}

int main(void)
{
	test_surplus();
	test_drain();
	test_danger();
	test_nowhere();
	test_many();
	test_hosts();
	test_balance();
	test_even();
	return done_testing();
}
