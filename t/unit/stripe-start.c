/*
 * Taking a volume over while servers are slow to come: volmgr waits for enough of them, and for
 * those that break while it decides, and nothing that was flushed is lost by that.
 */
#include "config.h"

#include <stdlib.h>

#include "log.h"
#include "stripe-world.h"
#include "tap.h"

const char *__asan_default_options(void); /* a killed engine's memory is given up */
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

/* Written and flushed, but not committed; then everything dies. */
static struct world *after_a_power_cut(const struct world_geometry *g, bool flushed)
{
	struct world *w = calloc(1, sizeof(*w));

	world_init(w, g, 1);
	world_open(w);
	world_settle(w, 0);
	for (uint64_t at = 0; at < g->size; at += g->size / 8)
		is_int(world_do(w, NBD_CMD_WRITE, 0, at, 256 << 10), 0, "a write");
	if (flushed)
		is_int(world_do(w, NBD_CMD_FLUSH, 0, 0, 0), 0, "a flush");
	world_kill(w);
	return w;
}

static void nobody_is_there(const struct world_geometry *g)
{
	struct world *w = after_a_power_cut(g, true);

	for (unsigned i = 0; i < w->cluster.n; i++)
		fake_server_break(&w->cluster.servers[i], true);
	world_open(w);
	world_settle(w, 10000);
	ok(!w->ready, "the volume waits while no server is there");
	for (unsigned i = 0; i < w->cluster.n; i++) {
		fake_server_return(&w->cluster.servers[i]);
		world_settle(w, 2000);
	}
	world_settle(w, 5000);
	ok(w->ready && w->ready_err == 0, "it starts when they have come, one after the other");
	world_check_all(w);
	is_int(w->mismatches, 0, "what was flushed is there");
	world_close(w);
	world_free(w);
	free(w);
}

static void one_breaks(const struct world_geometry *g, int after)
{
	struct world *w = after_a_power_cut(g, false);

	fake_server_break(&w->cluster.servers[0], false);
	world_open(w);
	w->cluster.servers[1].break_after = after;
	world_settle(w, 5000);
	fake_server_return(&w->cluster.servers[1]);
	world_settle(w, 10000);
	ok(w->ready && w->ready_err == 0, "the volume starts though a server broke meanwhile");
	fake_server_return(&w->cluster.servers[0]);
	world_settle(w, 5000);
	world_check_all(w);
	is_int(w->mismatches, 0, "what was acknowledged is there");
	world_close(w);
	world_free(w);
	free(w);
}

/* Between two COMMITs of the start: what it had decided with all of them stays decided. */
static void one_breaks_late(const struct world_geometry *g, int steps)
{
	struct world *w = after_a_power_cut(g, true);

	world_open(w);
	for (int i = 0; i < steps; i++)
		world_step(w);
	fake_server_break(&w->cluster.servers[1], false);
	world_settle(w, 5000);
	fake_server_return(&w->cluster.servers[1]);
	world_settle(w, 10000);
	ok(w->ready && w->ready_err == 0, "the volume starts when all servers are there again");
	world_check_all(w);
	is_int(w->mismatches, 0, "what was flushed is there, without any parity");
	world_close(w);
	world_free(w);
	free(w);
}

/* The same, and it never returns: those that are there are enough. */
static void one_stays_away(const struct world_geometry *g, int steps)
{
	struct world *w = after_a_power_cut(g, true);

	world_open(w);
	for (int i = 0; i < steps; i++)
		world_step(w);
	fake_server_break(&w->cluster.servers[1], true);
	world_settle(w, 20000);
	ok(w->ready && w->ready_err == 0, "the volume starts without the server that stays away");
	world_check_all(w);
	is_int(w->mismatches, 0, "what was flushed is there");
	world_close(w);
	world_free(w);
	free(w);
}

int main(void)
{
	static const struct world_geometry small = {1, 1, 4 << 10, 2, 4 << 20},
					   large = {4, 2, 64 << 10, 6, 16 << 20},
					   plain = {2, 0, 64 << 10, 2, 8 << 20};

	log_init("stripe-start", LOG_LEVEL_ERROR);
	nobody_is_there(&small);
	nobody_is_there(&large);
	for (int after = 1; after <= 8; after++)
		one_breaks(&large, after);
	for (int steps = 1; steps <= 40; steps++)
		one_breaks_late(&plain, steps);
	for (int steps = 1; steps <= 60; steps++)
		one_stays_away(&large, steps);
	return done_testing();
}
