/*
 * Placing: hosts first, then free capacity. Chance in proportion to free space fills unequal
 * servers evenly and spreads rebuild traffic, and needs no state that could be lost.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "place.h"
#include "banned.h"

/* xorshift64 (G. Marsaglia, "Xorshift RNGs", 2003): good enough to throw dice with. */
static uint64_t place_random(uint64_t *seed)
{
	uint64_t x = *seed;

	assert(x != 0);
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *seed = x;
}

static bool place_fits(const struct place_candidate *c, uint64_t need_bytes)
{
	return c->usable && c->free_bytes >= need_bytes;
}

/* How many of the chosen share the host of candidate i. */
static unsigned place_on_host(const struct place_candidate *c, int n, const bool *taken, int i)
{
	unsigned count = 0;

	for (int j = 0; j < n; j++)
		count += taken[j] && c[j].host == c[i].host;
	return count;
}

/* One draw among the candidates that are not taken and whose host has the fewest shards. */
static int place_draw(const struct place_candidate *c, int n, const bool *taken,
		      uint64_t need_bytes, uint64_t *seed)
{
	unsigned load[PLACE_CANDIDATES_MAX], least = ~0u;
	uint64_t total = 0, at;

	for (int i = 0; i < n; i++) {
		if (taken[i] || !place_fits(&c[i], need_bytes))
			continue;
		load[i] = place_on_host(c, n, taken, i);
		if (load[i] < least)
			least = load[i];
	}
	for (int i = 0; i < n; i++)
		if (!taken[i] && place_fits(&c[i], need_bytes) && load[i] == least)
			total += (c[i].free_bytes >> 12) + 1;
	at = place_random(seed) % total;
	for (int i = 0; i < n; i++) {
		uint64_t weight = (c[i].free_bytes >> 12) + 1;

		if (taken[i] || !place_fits(&c[i], need_bytes) || load[i] != least)
			continue;
		if (at < weight)
			return i;
		at -= weight;
	}
	assert(!"the draw is below the sum of the weights");
	return -1;
}

int place_choose(const struct place_candidate *c, int n, unsigned count, uint64_t need_bytes,
		 uint64_t *seed, uint32_t *servers, unsigned *fitting)
{
	bool taken[PLACE_CANDIDATES_MAX] = {false};
	unsigned fit = 0;

	assert(n >= 0 && n <= PLACE_CANDIDATES_MAX);
	for (int i = 0; i < n; i++)
		fit += place_fits(&c[i], need_bytes);
	if (fitting != NULL)
		*fitting = fit;
	if (fit < count)
		return -ENOSPC;
	for (unsigned s = 0; s < count; s++) {
		int i = place_draw(c, n, taken, need_bytes, seed);

		taken[i] = true;
		servers[s] = c[i].server;
	}
	return 0;
}
