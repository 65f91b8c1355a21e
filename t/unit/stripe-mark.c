/* Before a write without a shard is acknowledged, the servers of the others know that it is stale.
 */
#include "config.h"

#include <stdio.h>

#include "stripe-world.h"
#include "tap.h"

/* Of extent 0: servers whose label says what the metadata says, and those that say less. */
static void labels(const struct world *w, unsigned *same, unsigned *less)
{
	const struct extent_record *r = &w->map[0];

	*same = *less = 0;
	for (unsigned i = 0; i < w->config.k + w->config.m; i++) {
		const struct fake_slot *slot =
			&w->cluster.servers[r->shard[i].server - 1].slots[r->shard[i].slot];

		if (slot->used && slot->mark == r->mark && slot->stale == r->stale)
			(*same)++;
		else if (slot->mark < r->mark)
			(*less)++;
	}
}

int main(void)
{
	struct world_geometry g = {4, 2, 64 << 10, 6, 16 << 20};
	struct world *w = calloc(1, sizeof(*w));
	unsigned same, less;

	world_init(w, &g, 1);
	world_open(w);
	world_settle(w, 0);
	is_int(world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20), 0, "an extent with all its shards");
	is_int(w->map[0].stale, 0, "none is stale");
	fake_server_break(&w->cluster.servers[w->map[0].shard[2].server - 1], true);
	is_int(world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20), 0, "a write without one of its servers");
	labels(w, &same, &less);
	is_int(w->map[0].stale, 1 << 2, "is acknowledged when its shard is marked");
	is_int(same, 5, "and all others know it");
	is_int(less, 1, "but for itself, which can be told from its lower mark");
	fake_server_return(&w->cluster.servers[w->map[0].shard[2].server - 1]);
	world_settle(w, 1000);
	world_close(w);
	is_int(w->cluster.violations, 0, "nothing was asked that must not be");
	world_free(w);
	free(w);
	return done_testing();
}
