/*
 * The stripe engine while servers restart under it and beside it: several of them, with other
 * boots, without what was not durable, during and between the lives of volmgr. What must hold: no
 * read returns an old byte, shards that are not marked stale fit together, what was flushed is
 * there.
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

/* Writes go on with m - 1 stale shards: so many servers fail. */
static const struct world_geometry geometries[] = {
	{3, 3, 4 << 10, 8, 13 << 20},
	{4, 2, 64 << 10, 7, 33 << 20},
	{1, 4, 64 << 10, 6, 10 << 20},
	{2, 1, 16 << 10, 4, 17 << 20},
};

static unsigned flaky(const struct world_geometry *g)
{
	return g->m == 1 ? 1 : g->m - 1;
}

static struct world *begin(const struct world_geometry *g, uint64_t seed)
{
	struct world *w = calloc(1, sizeof(*w));

	world_init(w, g, seed);
	world_open(w);
	world_settle(w, 0);
	return w;
}

static void end(struct world *w, const char *what)
{
	char name[160];
	unsigned k = w->config.k, m = w->config.m, stale = 0;

	for (unsigned i = 0; i < w->cluster.n; i++) {
		w->cluster.servers[i].break_after = 0;
		w->cluster.servers[i].fail_prepare = 0;
		fake_server_return(&w->cluster.servers[i]);
	}
	world_settle(w, 5000);
	for (int i = 0; i < w->nmap; i++)
		stale += w->map[i].stale != 0;
	diag("%u+%u: %u of %d extents have a stale shard", k, m, stale, w->nmap);
	snprintf(name, sizeof(name), "%u+%u, %s: every request was answered", k, m, what);
	is_int(world_inflight(w), 0, name);
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

/* Servers crash, some come back at once; PREPAREs are refused; logs reach the disk by themselves.
 */
static void beneath(const struct world_geometry *g, uint64_t seed)
{
	struct world *w = begin(g, seed);

	for (int i = 0; i < 1500; i++) {
		struct fake_server *s = &w->cluster.servers[fake_below(&w->env, flaky(g))];
		struct fake_server *any = &w->cluster.servers[fake_below(&w->env, w->cluster.n)];

		load_request(w);
		if (fake_below(&w->env, 30) == 0)
			fake_env_advance(&w->env, 100 * NS_PER_MS);
		for (uint32_t n = fake_below(&w->env, 40); n > 0; n--) {
			world_step(w);
			if (fake_below(&w->env, 100) == 0)
				fake_server_log(any);
			if (fake_below(&w->env, 100) == 0) {
				fake_server_break(s, true);
				fake_server_return(s);
			}
		}
		if (fake_below(&w->env, 6) == 0) {
			any->fail_prepare = 1 + (int)fake_below(&w->env, 5);
			any->fail_error = ENOSPC;
		}
		if (fake_below(&w->env, 8) == 0)
			fake_server_log(any);
		if (fake_below(&w->env, 10) == 0) {
			fake_server_break(s, true);
			if (fake_below(&w->env, 2) == 0)
				fake_server_return(s);
		}
		if (fake_below(&w->env, 6) == 0)
			fake_server_return(&w->cluster.servers[fake_below(&w->env, flaky(g))]);
	}
	end(w, "servers restart");
}

/* What was not flushed may be lost when volmgr and servers go together. */
static void forget_touched(struct world *w)
{
	for (uint64_t b = 0; b < w->size; b++)
		w->known[b] &= !w->touched[b];
}

static void on_stopped(void *arg, int err)
{
	(void)arg;
	(void)err;
}

/* An orderly stop that does not come to its end when a server is away. */
static void give_up_stopping(struct world *w)
{
	volume_stop(w->v, on_stopped, w);
	for (unsigned n = fake_below(&w->env, 200); n > 0; n--)
		world_step(w);
	world_settle(w, fake_below(&w->env, 2) == 0 ? 0 : 1000);
}

/* volmgr dies; any server may lose its memory with it; flaky ones stay away or come back late. */
static void die(struct world *w, unsigned nflaky)
{
	if (fake_below(&w->env, 4) == 0)
		give_up_stopping(w);
	forget_touched(w);
	world_kill(w);
	for (unsigned i = 0; i < w->cluster.n; i++) {
		struct fake_server *s = &w->cluster.servers[i];

		if (fake_below(&w->env, 3) != 0 || !s->peer.up)
			continue;
		fake_server_break(s, true);
		if (i >= nflaky || fake_below(&w->env, 2) == 0)
			fake_server_return(s);
	}
	for (unsigned i = 0; i < nflaky; i++) {
		struct fake_server *s = &w->cluster.servers[i];

		if (fake_below(&w->env, 3) == 0)
			fake_server_break(s, false);
		else if (fake_below(&w->env, 3) != 0)
			fake_server_return(s);
	}
}

static void short_life(struct world *w, unsigned nflaky)
{
	unsigned late = fake_below(&w->env, 100);

	world_open(w);
	for (unsigned n = fake_below(&w->env, 120); n > 0; n--) {
		world_step(w);
		if (fake_below(&w->env, 20) == 0)
			fake_server_log(&w->cluster.servers[fake_below(&w->env, w->cluster.n)]);
		if (fake_below(&w->env, 20) == 0)
			fake_env_advance(&w->env, 1000 * NS_PER_MS);
		if (n == late)
			fake_server_return(&w->cluster.servers[fake_below(&w->env, nflaky)]);
	}
}

static void life(struct world *w, unsigned nflaky)
{
	unsigned late = fake_below(&w->env, 40);

	world_open(w);
	world_settle(w, fake_below(&w->env, 2) == 0 ? 0 : 4000);
	for (unsigned i = 20 + fake_below(&w->env, 40); i > 0; i--) {
		load_round(w);
		if (fake_below(&w->env, 8) == 0)
			fake_server_log(&w->cluster.servers[fake_below(&w->env, w->cluster.n)]);
		if (i == late)
			for (unsigned n = 0; n < nflaky; n++)
				fake_server_return(&w->cluster.servers[n]);
	}
}

static void between(const struct world_geometry *g, uint64_t seed)
{
	struct world *w = begin(g, seed);
	unsigned nflaky = flaky(g);

	for (int i = 0; i < 25; i++) {
		unsigned up = 0;

		for (unsigned n = 0; n < nflaky; n++)
			up += w->cluster.servers[n].peer.up;
		if (up == nflaky && fake_below(&w->env, 2) == 0) {
			world_settle(w, 500);
			if (world_inflight(w) == 0 && world_do(w, NBD_CMD_FLUSH, 0, 0, 0) == 0)
				memset(w->touched, 0, w->size);
			for (unsigned n = 2 + fake_below(&w->env, 10); n > 0; n--)
				load_round(w);
		}
		die(w, nflaky);
		if (fake_below(&w->env, 2) == 0) {
			short_life(w, nflaky);
			die(w, nflaky);
		}
		life(w, nflaky);
	}
	end(w, "everything restarts");
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	int only = argc > 2 ? (int)strtoul(argv[2], NULL, 0) : -1;
	static void (*const scenarios[])(const struct world_geometry *, uint64_t) = {
		beneath,
		between,
	};

	diag("seed %llu", (unsigned long long)seed);
	for (size_t s = 0; s < sizeof(scenarios) / sizeof(scenarios[0]); s++)
		for (size_t i = 0; i < sizeof(geometries) / sizeof(geometries[0]); i++)
			if (only < 0 || (size_t)only == s)
				scenarios[s](&geometries[i], seed * 100 + i);
	return done_testing();
}
