/*
 * The stripe engine when the world fails: connections break, servers restart without what was not
 * flushed, checksums do not match, stores are full, volmgr dies, the power goes.
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

static const struct world_geometry geometries[] = {
	{4, 2, 64 << 10, 7, 33 << 20},
	{2, 1, 16 << 10, 4, 17 << 20},
	{1, 2, 64 << 10, 4, 10 << 20},
	{3, 3, 4 << 10, 7, 13 << 20},
};

static struct world *begin(const struct world_geometry *g, uint64_t seed)
{
	struct world *w = calloc(1, sizeof(*w));

	world_init(w, g, seed);
	world_open(w);
	world_settle(w, 0);
	return w;
}

static void all_back(struct world *w)
{
	for (unsigned i = 0; i < w->cluster.n; i++) {
		w->cluster.servers[i].break_after = 0;
		fake_server_return(&w->cluster.servers[i]);
	}
	world_settle(w, 3000);
}

/* What holds at the end of every scenario. */
static void end(struct world *w, const char *what, bool errors)
{
	char name[160];
	unsigned k = w->config.k, m = w->config.m;

	all_back(w);
	snprintf(name, sizeof(name), "%u+%u, %s: every request was answered", k, m, what);
	is_int(world_inflight(w), 0, name);
	if (!errors) {
		snprintf(name, sizeof(name), "%u+%u, %s: no request failed", k, m, what);
		is_int(w->errors, 0, name);
	}
	world_check_all(w);
	snprintf(name, sizeof(name), "%u+%u, %s: every read is right", k, m, what);
	is_int(w->mismatches, 0, name);
	world_close(w);
	snprintf(name, sizeof(name), "%u+%u, %s: parity fits the data", k, m, what);
	is_int(world_check_parity(w), 0, name);
	snprintf(name, sizeof(name), "%u+%u, %s: nothing was asked of servers that must not be", k,
		 m, what);
	is_int(w->cluster.violations, 0, name);
	world_free(w);
	free(w);
}

static void breaks(const struct world_geometry *g, uint64_t seed)
{
	struct world *w = begin(g, seed);

	for (int i = 0; i < 1200; i++) {
		struct fake_server *s = &w->cluster.servers[fake_below(&w->env, w->cluster.n)];

		load_round(w);
		if (fake_below(&w->env, 25) == 0)
			fake_server_break(s, false);
		else if (fake_below(&w->env, 10) == 0)
			s->break_after = 1 + (int)fake_below(&w->env, 20);
		if (fake_below(&w->env, 8) == 0)
			for (unsigned n = 0; n < w->cluster.n; n++)
				fake_server_return(&w->cluster.servers[n]);
	}
	end(w, "connections break", false);
}

static void restarts(const struct world_geometry *g, uint64_t seed)
{
	struct world *w = begin(g, seed);
	unsigned stale = 0;

	for (int i = 0; i < 1000; i++) {
		struct fake_server *s = &w->cluster.servers[1];

		load_round(w);
		if (fake_below(&w->env, 40) == 0)
			fake_server_break(s, true);
		else if (fake_below(&w->env, 40) == 0)
			s->break_after = 1 + (int)fake_below(&w->env, 20), s->break_crash = true;
		if (fake_below(&w->env, 8) == 0)
			fake_server_return(s);
	}
	for (int i = 0; i < w->nmap; i++)
		stale += w->map[i].stale != 0;
	diag("%u+%u: %u of %d extents have a stale shard", g->k, g->m, stale, w->nmap);
	end(w, "a server restarts", false);
}

static void bad_blocks(const struct world_geometry *g, uint64_t seed)
{
	struct world *w = begin(g, seed);

	for (int i = 0; i < 1000; i++) {
		load_round(w);
		if (fake_below(&w->env, 5) == 0 && w->nmap > 0) { /* one shard of an extent */
			struct extent_record *r = &w->map[fake_below(&w->env, (uint32_t)w->nmap)];
			struct shard_place *p = &r->shard[r->extent % (w->config.k + w->config.m)];
			struct fake_slot *slot = &w->cluster.servers[p->server - 1].slots[p->slot];

			slot->bad[fake_below(&w->env, 150)] = 1;
		}
	}
	end(w, "checksums do not match", false);
}

static void refusals(const struct world_geometry *g, uint64_t seed)
{
	static const int errors[] = {ENOSPC, EIO, ENOSPC, ENOMEM};
	struct world *w = begin(g, seed);

	for (int i = 0; i < 1000; i++) {
		struct fake_server *s = &w->cluster.servers[fake_below(&w->env, w->cluster.n)];

		load_round(w);
		if (fake_below(&w->env, 6) == 0) {
			s->fail_prepare = 1 + (int)fake_below(&w->env, 10);
			s->fail_error = errors[fake_below(&w->env, 4)];
		}
		s->full = fake_below(&w->env, 30) == 0 || (s->full && fake_below(&w->env, 3) != 0);
		if (fake_below(&w->env, 60) == 0)
			w->fail_put = 1;
	}
	for (unsigned n = 0; n < w->cluster.n; n++)
		w->cluster.servers[n].full = false;
	w->fail_put = 0;
	end(w, "servers refuse", true);
}

static void kills(const struct world_geometry *g, uint64_t seed)
{
	struct world *w = begin(g, seed);

	for (int life = 0; life < 25; life++) {
		for (uint32_t i = 5 + fake_below(&w->env, 60); i > 0; i--)
			load_round(w);
		world_kill(w);
		world_open(w);
		if (fake_below(&w->env, 2) == 0)
			world_settle(w, 0);
	}
	end(w, "volmgr dies", false);
}

/* Everything stops at once. What was flushed is there. */
static void power_cuts(const struct world_geometry *g, uint64_t seed)
{
	struct world *w = begin(g, seed);

	for (int life = 0; life < 12; life++) {
		for (int i = 0; i < 30; i++)
			load_round(w);
		world_settle(w, 0);
		world_do(w, NBD_CMD_FLUSH, 0, 0, 0);
		memset(w->touched, 0, w->size);
		for (uint32_t i = fake_below(&w->env, 40); i > 0; i--)
			load_round(w);
		for (uint64_t b = 0; b < w->size; b++)
			if (w->touched[b])
				w->known[b] = 0;
		world_kill(w);
		for (unsigned n = 0; n < w->cluster.n; n++)
			fake_server_break(&w->cluster.servers[n], true);
		for (unsigned n = 0; n < w->cluster.n; n++)
			w->cluster.servers[n].peer.up = true;
		world_open(w);
	}
	end(w, "power cuts", false);
}

/* A server is away while volmgr restarts. */
static void kills_and_breaks(const struct world_geometry *g, uint64_t seed)
{
	struct world *w = begin(g, seed);
	struct fake_server *s = &w->cluster.servers[1];
	bool crashed = false;

	for (int life = 0; life < 16; life++) {
		if (s->peer.up) {
			world_settle(w, 0);
			world_do(w, NBD_CMD_FLUSH, 0, 0, 0);
			memset(w->touched, 0, w->size);
			crashed = false;
		}
		for (uint32_t i = 5 + fake_below(&w->env, 40); i > 0; i--)
			load_round(w);
		if (fake_below(&w->env, 2) == 0) {
			bool crash = fake_below(&w->env, 2) == 0;

			crashed |= crash;
			fake_server_break(s, crash);
		}
		for (uint32_t i = fake_below(&w->env, 40); i > 0; i--)
			load_round(w);
		for (uint64_t b = 0; crashed && b < w->size; b++) /* two died: what was flushed */
			w->known[b] &= !w->touched[b];
		world_kill(w);
		world_open(w);
		world_settle(w, fake_below(&w->env, 2) == 0 ? 0 : 4000);
		if (fake_below(&w->env, 2) == 0)
			fake_server_return(s);
		world_settle(w, 0);
	}
	end(w, "volmgr dies and a server is away", false);
}

static void newer_owner(const struct world_geometry *g, uint64_t seed)
{
	struct world *w = begin(g, seed);

	for (int i = 0; i < 50; i++)
		load_round(w);
	for (unsigned n = 0; n < w->cluster.n; n++)
		w->cluster.servers[n].epoch = w->config.epoch + 1;
	for (int i = 0; i < 50; i++)
		load_round(w);
	world_settle(w, 1000);
	is_int(world_inflight(w), 0, "a fenced volume answers everything");
	is_int(world_do(w, NBD_CMD_WRITE, 0, 0, 4096), ESHUTDOWN, "and takes no further write");
	world_close(w);
	world_free(w);
	free(w);
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	int only = argc > 2 ? (int)strtoul(argv[2], NULL, 0) : -1;
	static void (*const scenarios[])(const struct world_geometry *, uint64_t) = {
		breaks, restarts,   bad_blocks,	      refusals,
		kills,	power_cuts, kills_and_breaks, newer_owner,
	};

	diag("seed %llu", (unsigned long long)seed);
	for (size_t s = 0; s < sizeof(scenarios) / sizeof(scenarios[0]); s++)
		for (size_t i = 0; i < sizeof(geometries) / sizeof(geometries[0]); i++)
			if (only < 0 || (size_t)only == s)
				scenarios[s](&geometries[i], seed * 100 + i);
	return done_testing();
}
