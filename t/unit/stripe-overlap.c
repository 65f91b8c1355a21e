/*
 * Writes that overlap while they are under way: each 4 KiB block ends as one of them, whole, and
 * all shards agree; with connections that break and servers that restart, too.
 */
#include "config.h"

#include <stdio.h>

#include "stripe-world.h"
#include "tap.h"

#define AREA   (1u << 20)
#define BLOCKS (AREA / 4096)
#define ROUND  24 /* requests */
#define ROUNDS 40

struct overlap {
	struct world w;
	uint64_t value[BLOCKS];	     /* after the last round */
	uint64_t may[BLOCKS][ROUND]; /* what this round wrote there */
	unsigned nmay[BLOCKS];
	uint64_t stamp;
	unsigned mixed, foreign, last; /* blocks */
};

static uint64_t block_value(struct overlap *o, const uint8_t *block)
{
	uint64_t first;

	memcpy(&first, block, 8);
	for (unsigned i = 8; i < 4096; i += 8)
		if (memcmp(block + i, &first, 8) != 0) {
			o->mixed++;
			break;
		}
	return first;
}

static void request(struct overlap *o)
{
	struct world *w = &o->w;
	unsigned at = fake_below(&w->env, BLOCKS), n = 1 + fake_below(&w->env, 40);
	unsigned kind = fake_below(&w->env, 8);
	uint16_t type = kind == 0 ? NBD_CMD_WRITE_ZEROES : kind == 1 ? NBD_CMD_TRIM : NBD_CMD_WRITE;

	if (fake_below(&w->env, 3) == 0)
		at = 3;
	if (n > BLOCKS - at)
		n = BLOCKS - at;
	w->stamp = ++o->stamp;
	if (world_submit(w, type, 0, at * 4096ULL, n * 4096) == NULL)
		abort();
	for (unsigned b = at; b < at + n; b++)
		o->may[b][o->nmay[b]++] = type == NBD_CMD_WRITE ? o->stamp : 0;
}

static void compare(struct overlap *o)
{
	static uint8_t got[AREA];
	struct world *w = &o->w;
	struct world_req *r = world_submit(w, NBD_CMD_READ, 0, 0, AREA);

	r->got = got;
	for (int i = 0; i < 600 && !r->done; i++)
		world_settle(w, 10);
	w->errors += !r->done;
	for (unsigned b = 0; b < BLOCKS; b++) {
		uint64_t value = block_value(o, got + b * 4096);
		bool found = o->nmay[b] == 0 && value == o->value[b];

		for (unsigned i = 0; i < o->nmay[b]; i++)
			found |= o->may[b][i] == value;
		o->foreign += !found;
		o->last += o->nmay[b] == 0 || o->may[b][o->nmay[b] - 1] == value;
		o->value[b] = value;
		o->nmay[b] = 0;
	}
}

static void disturb(struct overlap *o, unsigned mode)
{
	struct world *w = &o->w;
	struct fake_server *any = &w->cluster.servers[fake_below(&w->env, w->cluster.n)];
	struct fake_server *s = mode == 1 ? any : &w->cluster.servers[0];

	if (mode == 0 || fake_below(&w->env, 8) != 0)
		return;
	fake_server_break(s, mode == 2);
	if (fake_below(&w->env, 2) == 0)
		fake_server_return(s);
	if (mode == 1 && w->config.m > 0 && fake_below(&w->env, 2) == 0) {
		struct fake_slot *slot = &w->cluster.servers[1].slots[0];

		if (slot->used)
			slot->bad[fake_below(&w->env, BLOCKS / w->config.k)] = 1;
	}
}

static void run(const struct world_geometry *g, uint64_t seed, unsigned mode)
{
	static const char *const modes[] = {"all is well", "connections break",
					    "a server restarts"};
	struct overlap *o = calloc(1, sizeof(*o));
	struct world *w = &o->w;
	char name[160];

	world_init(w, g, seed);
	world_open(w);
	for (unsigned i = 0; i < ROUNDS; i++) {
		for (unsigned n = 0; n < ROUND; n++) {
			request(o);
			disturb(o, mode);
			for (uint32_t s = fake_below(&w->env, 30); s > 0; s--)
				world_step(w);
		}
		for (unsigned n = 0; n < w->cluster.n; n++) {
			fake_server_return(&w->cluster.servers[n]);
		}
		world_settle(w, 100);
		compare(o);
	}
	snprintf(name, sizeof(name), "%u+%u, %s: ", g->k, g->m, modes[mode]);
	diag("%s%u of %u blocks are as the last write of them", name, o->last, ROUNDS * BLOCKS);
	is_int(w->errors, 0, name);
	is_int(world_inflight(w), 0, "every request was answered");
	is_int(o->mixed, 0, "no block is a mixture");
	is_int(o->foreign, 0, "each block is what one of the overlapping writes made it");
	world_close(w);
	is_int(world_check_parity(w), 0, "parity fits the data");
	is_int(w->cluster.violations, 0, "the servers have nothing to complain about");
	world_free(w);
	free(o);
}

int main(int argc, char **argv)
{
	static const struct world_geometry geometries[] = {
		{4, 2, 64 << 10, 7, 33 << 20}, {2, 1, 16 << 10, 3, 17 << 20},
		{3, 3, 4 << 10, 7, 13 << 20},  {1, 2, 64 << 10, 4, 10 << 20},
		{3, 0, 16 << 10, 3, 25 << 20},
	};
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;

	for (size_t i = 0; i < sizeof(geometries) / sizeof(geometries[0]); i++)
		for (unsigned mode = 0; mode < (geometries[i].m == 0 ? 2u : 3u); mode++)
			run(&geometries[i], seed * 100 + i, mode);
	return done_testing();
}
