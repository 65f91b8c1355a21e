/*
 * Whole extents are given back while servers are away, or were not placed since the metadata
 * refused, and then the metadata is lost: what the labels on the servers say, by the plan of
 * "volctl recover", brings nothing back, and takes no such slot for one that is used.
 */
#include "config.h"

#include <endian.h>
#include <errno.h>

#include "recover.h"
#include "stripe-ends.h"

static const struct world_geometry g22 = {2, 2, 64 << 10, 5, 16 << 20};
static const struct world_geometry g12 = {1, 2, 16 << 10, 4, 12 << 20};
static const struct world_geometry g42 = {4, 2, 64 << 10, 7, 32 << 20};

static void take_labels(const struct fake_server *s, struct survey_server *to)
{
	*to = (struct survey_server){.number = s->peer.server};
	to->labels = calloc(FAKE_SLOTS, sizeof(*to->labels));
	for (uint32_t i = 0; i < FAKE_SLOTS; i++) {
		const struct weft_label *l = &s->slots[i].label;

		if (!s->slots[i].used)
			continue;
		to->labels[to->nlabels++] = (struct survey_label){
			.volume = be64toh(l->volume),
			.extent = be64toh(l->extent),
			.mapped_bytes = 1,
			.generation = be32toh(l->generation),
			.unit_bytes = be32toh(l->unit_bytes),
			.slot = i,
			.slot_gen = s->slots[i].gen,
			.mark = s->slots[i].mark,
			.stale = s->slots[i].stale,
			.shard = l->shard,
			.k = l->k,
			.m = l->m,
			.code = l->code,
		};
	}
}

/* volmgr dies, its metadata is gone; all servers are asked. How many extents have too few shards.
 */
static unsigned recover(struct world *w)
{
	struct survey_server servers[FAKE_SERVERS_MAX];
	struct recover_plan plan;
	unsigned lost = 0;

	world_kill(w);
	for (unsigned i = 0; i < w->cluster.n; i++)
		take_labels(&w->cluster.servers[i], &servers[i]);
	if (recover_plan(servers, w->cluster.n, &plan) != 0)
		abort();
	w->nmap = 0;
	if (plan.n > 0) {
		w->nmap = (int)plan.volumes[0].nextents;
		w->map = realloc(w->map, (size_t)(w->nmap + 1) * sizeof(*w->map));
		memcpy(w->map, plan.volumes[0].extents, (size_t)w->nmap * sizeof(*w->map));
		lost = plan.volumes[0].lost;
	}
	recover_plan_free(&plan);
	for (unsigned i = 0; i < w->cluster.n; i++)
		free(servers[i].labels);
	return lost;
}

static unsigned recovered(struct world *w)
{
	unsigned lost = recover(w);

	for (unsigned i = 0; i < w->cluster.n; i++) {
		fake_server_break(&w->cluster.servers[i], true);
		fake_server_return(&w->cluster.servers[i]);
	}
	world_open(w);
	world_settle(w, 4000);
	return lost + end(w);
}

static struct fake_server *server_of(struct world *w, unsigned shard)
{
	return &w->cluster.servers[w->map[0].shard[shard].server - 1];
}

static struct world *filled(const struct world_geometry *g, uint64_t seed)
{
	struct world *w = begin(g, seed);

	fill(w);
	return w;
}

static void away(const struct world_geometry *g, unsigned servers, uint64_t seed)
{
	struct world *w = filled(g, seed);

	for (unsigned i = 0; i < servers; i++)
		fake_server_break(server_of(w, i), true);
	is_int(world_do(w, NBD_CMD_TRIM, 0, 0, (uint32_t)w->size), 0,
	       "all is given back while servers are away");
	world_do(w, NBD_CMD_FLUSH, 0, 0, 0);
	is_int(recovered(w), 0, "and does not come back with the metadata");
}

/* What was zeros while a server was away leaves the map when that is there again. */
static void goes_later(void)
{
	struct world *w = filled(&g22, 1);
	uint32_t generation = w->map[0].generation;

	fake_server_break(server_of(w, 1), true);
	world_do(w, NBD_CMD_TRIM, 0, 0, (uint32_t)w->size);
	ok(w->nmap > 0 && w->map[0].generation == generation,
	   "extents of which a server is away stay where they are");
	all_back(w);
	is_int(rebuilt(w) < 60000, 1, "it comes back");
	world_settle(w, 2000);
	is_int(w->nmap, 0, "then they leave it");
	is_int(fake_cluster_slots(&w->cluster), 0, "and their slots are free");
	is_int(end(w), 0, "all is zeros");
}

/* What is written meanwhile stays. */
static void written_meanwhile(uint64_t seed)
{
	struct world *w = filled(&g22, seed);

	fake_server_break(server_of(w, 1), true);
	world_do(w, NBD_CMD_TRIM, 0, 0, (uint32_t)w->size);
	all_back(w);
	for (unsigned n = 0; n < 200; n++) {
		if (fake_below(&w->env, 8) == 0)
			world_do(w, NBD_CMD_WRITE, 0, fake_below(&w->env, 16) << 20, 4096);
		world_step(w);
	}
	is_int(rebuilt(w) < 60000, 1, "extents are zeros, rebuilt, and some are written");
	world_settle(w, 2000);
	is_int(end(w), 0, "of which nothing is lost");
}

/* A server goes when an extent has left the map, and its slot is still there. */
static void at_that_moment(const struct world_geometry *g, uint64_t seed)
{
	struct world *w = filled(g, seed);
	uint32_t extent = g->k * WEFT_SHARD_BYTES;
	struct fake_server *s = server_of(w, 0);
	struct world_req *r = world_submit(w, NBD_CMD_TRIM, 0, 0, extent);

	while (w->puts == NULL && world_step(w))
		;
	s->hung = true;
	world_settle(w, 50);
	ok(!r->done, "extents go only when all their servers said so");
	fake_server_break(s, true);
	s->hung = false;
	world_settle(w, 1000);
	ok(r->done && r->error == 0, "or one is away");
	is_int(recovered(w), 0, "and do not come back with the metadata");
}

/* The metadata refused the first place of an extent, whose slots stay; it got another one. */
static void placed_twice(const struct world_geometry *g, uint64_t seed)
{
	struct world *w = begin(g, seed);

	w->fail_put = 1;
	w->put_stays = seed % 2 == 0;
	is_int(world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20), EIO, "an extent is not placed");
	w->place_next = 1;
	is_int(world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20), 0, "but elsewhere, a moment later");
	is_int(world_do(w, NBD_CMD_FLUSH, 0, 0, 0), 0, "and is flushed");
	is_int(recovered(w), 0, "when the metadata is lost, its own slots are found");
}

int main(void)
{
	for (uint64_t seed = 1; seed < 4; seed++) {
		away(&g22, 1, seed);
		away(&g12, 1, seed);
		away(&g42, 1, seed);
		written_meanwhile(seed);
		at_that_moment(&g22, seed);
		at_that_moment(&g12, seed);
		at_that_moment(&g42, seed);
		placed_twice(&g22, seed);
		placed_twice(&g12, seed);
		placed_twice(&g42, seed);
	}
	goes_later();
	return done_testing();
}
