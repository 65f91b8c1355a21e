/* A random load for the stripe engine's tests, on a world of stripe-world.h. */
#ifndef WEFT_STRIPE_LOAD_H
#define WEFT_STRIPE_LOAD_H

#include "stripe-world.h"

static uint32_t load_len(struct world *w)
{
	static const uint32_t lens[] = {1, 512, 4096, 4096, 4096, 8192, 65536, 262144, 1 << 20};
	uint32_t len = lens[fake_below(&w->env, 9)];

	return fake_below(&w->env, 3) == 0 ? 1 + fake_below(&w->env, 2 * len) : len;
}

/* One request somewhere, often in a small area so that requests meet. None when it would overlap.
 */
FAKE_UNUSED static void load_request(struct world *w)
{
	static const uint16_t types[] = {NBD_CMD_READ,	NBD_CMD_READ,	      NBD_CMD_WRITE,
					 NBD_CMD_WRITE, NBD_CMD_WRITE,	      NBD_CMD_WRITE,
					 NBD_CMD_TRIM,	NBD_CMD_WRITE_ZEROES, NBD_CMD_FLUSH,
					 NBD_CMD_CACHE, NBD_CMD_BLOCK_STATUS};
	uint16_t type = types[fake_below(&w->env, 11)];
	uint32_t len = load_len(w);
	uint64_t area = fake_below(&w->env, 2) == 0 ? w->size : 600 << 10;
	uint64_t offset;

	if (type == NBD_CMD_TRIM && fake_below(&w->env, 4) == 0)
		len = 8 << 20;
	if (area > w->size)
		area = w->size;
	if (len > area)
		len = (uint32_t)area;
	offset = fake_below(&w->env, (uint32_t)(area - len + 1));
	if (fake_below(&w->env, 4) != 0) {
		offset &= ~4095ULL;
		if (len > 4096)
			len &= ~4095U;
	}
	if (type == NBD_CMD_FLUSH)
		offset = len = 0;
	else if (world_overlaps(w, offset, len, type != NBD_CMD_READ))
		return;
	world_submit(w, type, fake_below(&w->env, 20) == 0 ? NBD_CMD_FLAG_FUA : 0, offset, len);
}

/* A request, and some of what follows. */
FAKE_UNUSED static void load_round(struct world *w)
{
	load_request(w);
	if (fake_below(&w->env, 30) == 0)
		fake_env_advance(&w->env, 100 * NS_PER_MS);
	for (uint32_t n = fake_below(&w->env, 40); n > 0; n--)
		world_step(w);
}

#endif
