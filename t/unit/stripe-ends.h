/* How tests of rebuilding and carrying begin and end, on a world of stripe-world.h. */
#ifndef WEFT_STRIPE_ENDS_H
#define WEFT_STRIPE_ENDS_H

#include <stdlib.h>

#include "stripe-world.h"
#include "tap.h"

const char *__asan_default_options(void); /* a killed engine's memory is given up */
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

FAKE_UNUSED static struct world *begin(const struct world_geometry *g, uint64_t seed)
{
	struct world *w = calloc(1, sizeof(*w));

	world_init(w, g, seed);
	world_open(w);
	world_settle(w, 0);
	return w;
}

FAKE_UNUSED static void fill(struct world *w)
{
	for (uint64_t at = 0; at + (1 << 20) <= w->size; at += 1 << 20)
		world_submit(w, NBD_CMD_WRITE, 0, at, 1 << 20);
	world_settle(w, 0);
	world_do(w, NBD_CMD_FLUSH, 0, 0, 0);
	memset(w->touched, 0, w->size);
}

FAKE_UNUSED static unsigned stale_shards(const struct world *w)
{
	unsigned n = 0;

	for (int i = 0; i < w->nmap; i++)
		n += (unsigned)__builtin_popcount(w->map[i].stale);
	return n;
}

/* Until nothing is stale; so long in ms, or UINT32_MAX. */
FAKE_UNUSED static uint32_t rebuilt(struct world *w)
{
	for (uint32_t ms = 0; ms < 60000; ms += 100) {
		if (stale_shards(w) == 0 && world_inflight(w) == 0)
			return ms;
		world_settle(w, 100);
	}
	return UINT32_MAX;
}

FAKE_UNUSED static void all_back(struct world *w)
{
	for (unsigned n = 0; n < w->cluster.n; n++) {
		w->cluster.servers[n].break_after = w->cluster.servers[n].fail_prepare = 0;
		w->cluster.servers[n].full = false;
		fake_server_return(&w->cluster.servers[n]);
	}
}

/* How much is not as it has to be. */
FAKE_UNUSED static unsigned end(struct world *w)
{
	unsigned wrong = 0;

	all_back(w);
	if (rebuilt(w) == UINT32_MAX) {
		diag("%u shards are stale for ever, %u requests wait", stale_shards(w),
		     world_inflight(w));
		wrong++;
	}
	world_check_all(w);
	world_close(w);
	wrong += w->mismatches + world_check_parity(w) + w->cluster.violations;
	world_free(w);
	free(w);
	return wrong;
}

FAKE_UNUSED static uint32_t free_server(const struct world *w, const struct extent_record *r)
{
	for (uint32_t s = 1; s <= w->cluster.n; s++) {
		unsigned used = 0;

		for (unsigned i = 0; i < w->config.k + w->config.m; i++)
			used += r->shard[i].server == s;
		if (used == 0)
			return s;
	}
	return 0;
}

#endif
