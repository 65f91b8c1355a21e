/*
 * Blocks that a server cannot give back as it got them: no read returns them, they are decoded from
 * the others and written anew; scrub finds the rest, also what only parity can tell.
 */
#include "config.h"

#include <stdio.h>

#include "stripe-load.h"
#include "tap.h"

const char *__asan_default_options(void); /* a killed engine's memory is given up */
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

#define KIB 1024u

static const struct world_geometry wide = {4, 2, 64 << 10, 7, 33 << 20};
static const struct world_geometry narrow = {2, 1, 16 << 10, 4, 17 << 20};

static struct world *begin_patient(const struct world_geometry *g, uint64_t seed, unsigned grace_ms)
{
	struct world *w = calloc(1, sizeof(*w));

	world_init(w, g, seed);
	if (grace_ms > 0)
		w->config.grace_ms = grace_ms;
	world_open(w);
	world_settle(w, 0);
	return w;
}

static struct world *begin(const struct world_geometry *g, uint64_t seed)
{
	return begin_patient(g, seed, 0);
}

static struct fake_slot *slot_of(struct world *w, int extent, unsigned shard)
{
	struct shard_place *p = &w->map[extent].shard[shard];

	return &w->cluster.servers[p->server - 1].slots[p->slot];
}

/* The disk gives back something else, or nothing. how: as in fake_slot.bad, or 0: silently. */
static void corrupt(struct world *w, int extent, unsigned shard, unsigned block, uint8_t how)
{
	struct fake_slot *slot = slot_of(w, extent, shard);
	uint64_t x = fake_next(&w->env) | 1;

	for (unsigned i = 0; i < 4096; i += 8)
		*(uint64_t *)(void *)(slot->data + block * 4096 + i) ^= x;
	slot->bad[block] = how;
}

static unsigned bad_blocks_left(struct world *w)
{
	unsigned n = 0;

	for (int e = 0; e < w->nmap; e++)
		for (unsigned i = 0; i < w->config.k + w->config.m; i++)
			for (unsigned b = 0; b < WEFT_SHARD_BYTES / 4096; b++)
				n += slot_of(w, e, i)->bad[b] != 0 &&
				     (w->map[e].stale >> i & 1) == 0;
	return n;
}

static struct volume_server_counts sum;

static void add_counts(void *arg, uint32_t server, const struct volume_server_counts *c)
{
	uint32_t *of = arg;

	if (*of != 0 && *of != server)
		return;
	sum.bad_blocks += c->bad_blocks;
	sum.misfit_blocks += c->misfit_blocks;
	sum.repaired_blocks += c->repaired_blocks;
}

static void counts(struct world *w, uint32_t server)
{
	memset(&sum, 0, sizeof(sum));
	volume_take_counts(w->v, add_counts, &server);
}

static struct volume_scrub scrub_as(struct world *w, bool parity)
{
	struct volume_scrub st;

	if (volume_scrub_start(w->v, 0, parity) != 0)
		abort();
	for (int i = 0; i < 20000; i++) {
		world_settle(w, 10);
		volume_scrub_state(w->v, &st);
		if (!st.running)
			return st;
	}
	diag("the scrub does not end");
	abort();
}

static struct volume_scrub scrub(struct world *w)
{
	return scrub_as(w, true);
}

static void end(struct world *w, const char *what)
{
	char name[160];

	world_check_all(w);
	snprintf(name, sizeof(name), "%s: every read is right", what);
	is_int(w->mismatches, 0, name);
	snprintf(name, sizeof(name), "%s: no request failed", what);
	is_int(w->errors, 0, name);
	world_settle(w, 2000);
	world_close(w);
	snprintf(name, sizeof(name), "%s: parity fits", what);
	is_int(world_check_parity(w), 0, name);
	snprintf(name, sizeof(name), "%s: nothing was asked that must not be", what);
	is_int(w->cluster.violations, 0, name);
	world_free(w);
	free(w);
}

/* Writes wait for servers: a scrub looks at what is there, and ends. */
static void scrub_beside_waiting(void)
{
	struct world *w = begin(&(struct world_geometry){4, 2, 64 << 10, 6, 33 << 20}, 9);
	struct volume_scrub st;

	world_do(w, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 0, 4 << 20);
	fake_server_break(&w->cluster.servers[1], false);
	fake_server_break(&w->cluster.servers[2], false);
	world_submit(w, NBD_CMD_WRITE, 0, 0, 1 << 20);
	world_settle(w, 1000);
	is_int(world_inflight(w), 1, "a write waits for servers");
	st = scrub(w);
	ok(st.finished && st.stripes == 64, "a scrub looks at every stripe meanwhile, and ends");
	fake_server_return(&w->cluster.servers[1]);
	fake_server_return(&w->cluster.servers[2]);
	world_settle(w, 1000);
	is_int(world_inflight(w), 0, "the write goes on when they are back");
	end(w, "scrub beside a write that waits");
}

static void reads_repair(uint8_t how)
{
	struct world *w = begin(&wide, how);
	uint32_t server;

	world_do(w, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 0, 1 << 20);
	server = w->map[0].shard[1].server;
	corrupt(w, 0, 1, 2, how);
	corrupt(w, 0, 1, 3, how);
	is_int(world_do(w, NBD_CMD_READ, 0, 64 * KIB, 64 * KIB), 0, "a bad block is read");
	is_int(w->mismatches, 0, "and decoded from the others");
	world_settle(w, 100);
	is_int(bad_blocks_left(w), 0, "it is written anew");
	counts(w, server);
	is_int(sum.bad_blocks, 2, "and counted for its server");
	is_int(sum.repaired_blocks, 2, "as repaired, too");
	counts(w, 0);
	is_int(sum.bad_blocks, 0, "once");
	end(w, how == 1 ? "bad checksum" : "read error");
}

/* More shards than there is parity, each with another bad row of one stripe. */
static void bad_rows(bool write)
{
	struct world *w = begin(&wide, 3);

	world_do(w, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 0, 1 << 20);
	for (unsigned i = 0; i < 6; i++)
		corrupt(w, 0, i, i, 1);
	if (write)
		is_int(world_do(w, NBD_CMD_WRITE, 0, 100, 255 * KIB), 0, "it is written in part");
	else
		is_int(world_do(w, NBD_CMD_READ, 0, 0, 256 * KIB), 0, "all of it is read");
	world_settle(w, 100);
	is_int(bad_blocks_left(w), 0, "every row is repaired from its own good blocks");
	end(w, write ? "write over bad rows" : "read of bad rows");
}

static void parity_base(void)
{
	struct world *w = begin(&wide, 4);

	world_do(w, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 0, 1 << 20);
	corrupt(w, 0, 4, 0, 1);
	is_int(world_do(w, NBD_CMD_WRITE, 0, 0, 4096), 0, "a write whose parity base is bad");
	corrupt(w, 0, 0, 17, 1);
	is_int(world_do(w, NBD_CMD_WRITE, 0, 256 * KIB + 4096, 4096), 0, "whose old bytes are bad");
	corrupt(w, 0, 1, 33, 2);
	is_int(world_do(w, NBD_CMD_WRITE, 0, 576 * KIB + 4096, 100), 0, "that cannot be read");
	world_settle(w, 100);
	is_int(bad_blocks_left(w), 0, "all of it is good again");
	end(w, "writes that need bad blocks");
}

static void scrub_repairs(const struct world_geometry *g, uint64_t seed)
{
	struct world *w = begin(g, seed);
	struct volume_scrub st;

	world_do(w, NBD_CMD_WRITE, 0, 0, 3 << 20);
	world_do(w, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, (uint32_t)g->size - (1 << 20), 1 << 20);
	st = scrub(w);
	ok(st.finished && st.stripes > 0, "a scrub looks at everything");
	is_int(st.bad_blocks + st.misfit_blocks + st.repaired_blocks + st.skipped, 0,
	       "nothing is wrong");
	for (unsigned i = 0; i < g->k + g->m; i++)
		corrupt(w, 0, i, 20 + i, 1 + i % 2);
	st = scrub(w);
	is_int(st.bad_blocks, g->k + g->m, "it finds every bad block");
	is_int(st.repaired_blocks, g->k + g->m, "repairs each");
	is_int(bad_blocks_left(w), 0, "and none is left");
	is_int(st.lost_rows + st.misfit_blocks, 0, "nothing else was wrong");
	corrupt(w, 0, 1, 9, 1);
	corrupt(w, 0, g->k, 70, 2);
	w->cluster.calls[NBD_CMD_READ] = 0;
	st = scrub_as(w, false);
	is_int(st.repaired_blocks, 2, "servers that look by themselves find bad blocks, too");
	ok(w->cluster.calls[NBD_CMD_READ] < 200, "and only what is damaged is read");
	end(w, "scrub");
}

/* Bytes of another time under a checksum that matches: only the other shards can tell. */
static void scrub_misfits(void)
{
	struct world *w = begin(&wide, 6);
	struct volume_scrub st;

	world_do(w, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 0, 2 << 20);
	corrupt(w, 0, 2, 5, 0);
	corrupt(w, 0, 5, 40, 0);
	st = scrub(w);
	is_int(st.misfit_blocks, 2, "blocks that do not fit the others are found");
	is_int(st.repaired_blocks, 2, "which of them is known, as two parities say so");
	is_int(st.unclear_rows, 0, "with certainty");
	end(w, "misfits");

	w = begin(&narrow, 7);
	world_do(w, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 0, 2 << 20);
	corrupt(w, 0, 2, 5, 0);
	st = scrub(w);
	is_int(st.unclear_rows, 1, "with one parity nobody can tell which is wrong");
	is_int(st.repaired_blocks, 1, "and parity is made to fit");
	end(w, "a misfit in parity");
}

static void lost(void)
{
	struct world *w = begin(&wide, 8);
	struct volume_scrub st;

	world_do(w, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 0, 1 << 20);
	for (unsigned i = 1; i < 4; i++)
		corrupt(w, 0, i, 7, 1);
	is_int(world_do(w, NBD_CMD_READ, 0, 64 * KIB + 7 * 4096, 4096), EIO,
	       "a row with too few good blocks is an error");
	is_int(world_do(w, NBD_CMD_READ, 0, 64 * KIB + 8 * 4096, 4096), 0, "but not its neighbour");
	is_int(w->mismatches, 0, "and garbage is never returned");
	st = scrub(w);
	is_int(st.lost_rows, 1, "scrub says what is lost");
	is_int(world_do(w, NBD_CMD_WRITE, 0, 0, 256 * KIB), 0, "until it is written again");
	st = scrub(w);
	is_int(st.lost_rows, 0, "then all is well");
	w->errors = 0;
	end(w, "a lost row");
}

static void scrub_pieces(void)
{
	struct world *w = begin(&narrow, 9);
	struct volume_scrub st;

	for (uint32_t at = 0; at + (1 << 20) <= narrow.size; at += 1 << 20)
		world_do(w, NBD_CMD_WRITE, 0, at, 1 << 20);
	is_int(volume_scrub_start(w->v, 0, true), 0, "a scrub begins");
	is_int(volume_scrub_start(w->v, 0, true), -EBUSY, "only one at a time");
	do {
		world_step(w);
		fake_env_advance(&w->env, NS_PER_MS);
		volume_scrub_state(w->v, &st);
	} while (st.position == 0);
	volume_scrub_stop(w->v);
	world_settle(w, 100);
	volume_scrub_state(w->v, &st);
	ok(!st.running && !st.finished && st.position >= 1, "it is stopped in the middle");
	is_int(volume_scrub_start(w->v, st.position, true), 0, "and goes on where it was");
	for (int i = 0; i < 2000 && st.running == 0; i++)
		volume_scrub_state(w->v, &st);
	while (st.running) {
		world_settle(w, 10);
		volume_scrub_state(w->v, &st);
	}
	ok(st.finished && st.extents < (unsigned)w->nmap, "to the end, and not what was done");
	volume_scrub_start(w->v, 0, true);
	world_step(w);
	end(w, "a volume that stops under its scrub");
}

/* Everything at once: load, bad blocks, scrubs, servers that break and restart. */
static void storm(const struct world_geometry *g, uint64_t seed, bool breaks)
{
	/* with one parity, bad blocks and a shard that is left out are more than it can bear */
	struct world *w = begin_patient(g, seed, g->m == 1 ? 600000 : 0);
	struct volume_scrub st;
	char name[80];

	for (int i = 0; i < 1500; i++) {
		load_round(w);
		volume_scrub_state(w->v, &st);
		if (!st.running && fake_below(&w->env, 20) == 0)
			volume_scrub_start(w->v, 0, true);
		if (fake_below(&w->env, 5) == 0 && w->nmap > 0) { /* always the same shard */
			int e = (int)fake_below(&w->env, (uint32_t)w->nmap);
			unsigned shard = (unsigned)w->map[e].extent % (g->k + g->m);

			if (slot_of(w, e, shard)->used)
				slot_of(w, e, shard)->bad[fake_below(&w->env, 150)] =
					1 + (uint8_t)fake_below(&w->env, 2);
		}
		if (breaks && fake_below(&w->env, 25) == 0)
			fake_server_break(&w->cluster.servers[fake_below(&w->env, w->cluster.n)],
					  false);
		if (fake_below(&w->env, 4) == 0)
			for (unsigned n = 0; n < w->cluster.n; n++)
				fake_server_return(&w->cluster.servers[n]);
	}
	for (unsigned n = 0; n < w->cluster.n; n++)
		fake_server_return(&w->cluster.servers[n]);
	world_settle(w, 3000);
	volume_scrub_stop(w->v);
	world_settle(w, 3000);
	st = scrub(w);
	snprintf(name, sizeof(name), "%u+%u storm: after a scrub no bad block is left", g->k, g->m);
	is_int(bad_blocks_left(w), 0, name);
	is_int(world_inflight(w), 0, "every request was answered");
	end(w, "storm");
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;

	diag("seed %llu", (unsigned long long)seed);
	reads_repair(1);
	reads_repair(2);
	bad_rows(false);
	bad_rows(true);
	parity_base();
	scrub_repairs(&wide, seed);
	scrub_repairs(&narrow, seed);
	scrub_misfits();
	lost();
	scrub_beside_waiting();
	scrub_pieces();
	storm(&wide, seed * 10, false);
	storm(&narrow, seed * 10 + 1, false);
	storm(&wide, seed * 10 + 2, true);
	storm(&narrow, seed * 10 + 3, true);
	return done_testing();
}
