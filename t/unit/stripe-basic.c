/* The stripe engine over healthy servers: every geometry, random requests, each read compared. */
#include "config.h"

#include "stripe-world.h"
#include "tap.h"

static const struct world_geometry geometries[] = {
	{1, 0, 64 << 10, 1, 10 << 20},	{3, 0, 16 << 10, 4, 25 << 20},
	{1, 2, 64 << 10, 3, 10 << 20},	{2, 1, 64 << 10, 3, 17 << 20},
	{4, 2, 64 << 10, 6, 33 << 20},	{4, 2, 4 << 10, 8, 20 << 20},
	{4, 2, 256 << 10, 6, 20 << 20}, {16, 4, 32 << 10, 20, 70 << 20},
	{2, 3, 128 << 10, 7, 17 << 20}, {5, 4, 8 << 10, 9, 24 << 20},
};

static uint32_t pick_len(struct world *w)
{
	static const uint32_t lens[] = {1, 512, 4096, 4096, 4096, 8192, 65536, 262144, 1 << 20};
	uint32_t len = lens[fake_below(&w->env, 9)];

	return fake_below(&w->env, 3) == 0 ? 1 + fake_below(&w->env, 2 * len) : len;
}

static void random_request(struct world *w)
{
	static const uint16_t types[] = {NBD_CMD_READ,	NBD_CMD_READ,	      NBD_CMD_WRITE,
					 NBD_CMD_WRITE, NBD_CMD_WRITE,	      NBD_CMD_WRITE,
					 NBD_CMD_TRIM,	NBD_CMD_WRITE_ZEROES, NBD_CMD_FLUSH,
					 NBD_CMD_CACHE, NBD_CMD_BLOCK_STATUS};
	uint16_t type = types[fake_below(&w->env, 11)];
	uint32_t len = pick_len(w);
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

static void run(const struct world_geometry *g, uint64_t seed)
{
	struct world *w = calloc(1, sizeof(*w));
	struct volume_stat st;
	char name[120];

	world_init(w, g, seed);
	world_open(w);
	for (int i = 0; i < 1500; i++) {
		random_request(w);
		if (fake_below(&w->env, 30) == 0)
			fake_env_advance(&w->env, 100 * NS_PER_MS);
		for (uint32_t n = fake_below(&w->env, 40); n > 0; n--)
			world_step(w);
	}
	world_settle(w, 0);
	is_int(world_inflight(w), 0, "every request was answered");
	volume_stat(w->v, &st);
	diag("%u+%u unit %u seed %llu: full %llu delta %llu rebuild %llu zero %llu merged %llu",
	     g->k, g->m, g->unit, (unsigned long long)seed, (unsigned long long)st.tx_full,
	     (unsigned long long)st.tx_delta, (unsigned long long)st.tx_rebuild,
	     (unsigned long long)st.tx_zero, (unsigned long long)st.merged);
	world_check_all(w);
	world_close(w);
	snprintf(name, sizeof(name), "%u+%u, unit %u: parity fits the data", g->k, g->m, g->unit);
	is_int(world_check_parity(w), 0, name);
	is_int(fake_cluster_prepared(&w->cluster), 0, "an orderly stop leaves nothing prepared");
	is_int(fake_cluster_slots(&w->cluster), w->nmap * (g->k + g->m), "no slot is lost");
	world_open(w);
	world_settle(w, 0);
	ok(w->ready && w->ready_err == 0, "it starts again");
	world_check_all(w);
	is_int(w->mismatches, 0, "every read returned what was written");
	is_int(w->errors, 0, "no request failed");
	is_int(w->cluster.violations, 0, "the servers have nothing to complain about");
	world_close(w);
	world_free(w);
	free(w);
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;

	for (size_t i = 0; i < sizeof(geometries) / sizeof(geometries[0]); i++)
		run(&geometries[i], seed + i);
	return done_testing();
}
