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

static const struct world_geometry geometry = {4, 2, 64 << 10, 6, 16 << 20};

static struct fake_server *server_of(struct world *w, unsigned shard)
{
	return &w->cluster.servers[w->map[0].shard[shard].server - 1];
}

static struct world *begin(void)
{
	struct world *w = calloc(1, sizeof(*w));

	world_init(w, &geometry, 1);
	world_open(w);
	world_settle(w, 0);
	is_int(world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20), 0, "an extent with all its shards");
	is_int(w->map[0].stale, 0, "none is stale");
	return w;
}

static void end(struct world *w)
{
	fake_server_return(server_of(w, 2));
	world_settle(w, 1000);
	world_close(w);
	is_int(w->cluster.violations, 0, "nothing was asked that must not be");
	world_free(w);
	free(w);
}

static void told_at_once(void)
{
	struct world *w = begin();
	unsigned same, less;

	fake_server_break(server_of(w, 2), true);
	is_int(world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20), 0, "a write without one of its servers");
	labels(w, &same, &less);
	is_int(w->map[0].stale, 1 << 2, "is acknowledged when its shard is marked");
	is_int(same, 5, "and all others know it");
	is_int(less, 1, "but for itself, which can be told from its lower mark");
	end(w);
}

/* Until the metadata has the mark; the servers are about to be told. */
static void until_recorded(struct world *w)
{
	fake_server_break(server_of(w, 2), true);
	world_submit(w, NBD_CMD_WRITE, 0, 0, 1 << 20);
	for (unsigned ms = 0; ms < 1000 && w->map[0].stale == 0; ms++) {
		while (w->map[0].stale == 0 && world_step(w))
			;
		fake_env_advance(&w->env, NS_PER_MS);
	}
	is_int(w->map[0].stale, 1 << 2, "the metadata has a mark");
}

/* volmgr dies when the metadata has the mark and no server does. */
static void told_by_the_next(void)
{
	struct world *w = begin();
	unsigned same, less;

	until_recorded(w);
	world_kill(w);
	labels(w, &same, &less);
	is_int(same, 0, "volmgr dies, and no server knows it");
	world_open(w);
	world_settle(w, 4000);
	is_int(world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20), 0, "the next one writes without it");
	labels(w, &same, &less);
	is_int(same, 5, "when all others know");
	end(w);
}

/* The same, and the metadata refuses the first record of the next one. */
static void told_though_refused(void)
{
	struct world *w = begin();
	unsigned told = 0;

	world_do(w, NBD_CMD_FLUSH, 0, 0, 0);
	world_settle(w, 2000); /* so that the start finds nothing to judge */
	until_recorded(w);
	world_kill(w);
	world_open(w);
	world_settle(w, 4000);
	w->fail_put = 1;
	fake_server_return(server_of(w, 2));
	while (w->fail_put > 0 && world_step(w))
		;
	is_int(w->fail_put, 0, "a rebuild begins, and its record is refused");
	is_int(world_do(w, NBD_CMD_WRITE, 0, 0, 64 << 10), 0, "a write meanwhile");
	for (unsigned i = 0; i < w->config.k + w->config.m; i++) {
		const struct shard_place *p = &w->map[0].shard[i];
		const struct fake_slot *slot = &w->cluster.servers[p->server - 1].slots[p->slot];

		told += i != 2 && slot->stale == 1 << 2;
	}
	is_int(told, 5, "is done when all servers know which shard misses it");
	end(w);
}

/* One that could not be told comes back before its own shard is marked. */
static void told_when_back(void)
{
	struct world *w = begin();
	unsigned same, less;

	until_recorded(w);
	fake_server_break(server_of(w, 4), false);
	world_settle(w, 10);
	labels(w, &same, &less);
	is_int(same, 4, "a server is away when the others are told");
	fake_server_return(server_of(w, 4));
	is_int(world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20), 0, "it comes back, and has what follows");
	labels(w, &same, &less);
	is_int(w->map[0].stale, 1 << 2, "its shard is good");
	is_int(same, 5, "and it knows which one is not");
	end(w);
}

const char *__asan_default_options(void); /* a killed engine's memory is given up */
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

int main(void)
{
	told_at_once();
	told_by_the_next();
	told_though_refused();
	told_when_back();
	return done_testing();
}
