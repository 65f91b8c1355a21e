/* The stripe engine over healthy servers: every geometry, random requests, each read compared. */
#include "config.h"

#include "stripe-load.h"
#include "tap.h"

static const struct world_geometry geometries[] = {
	{1, 0, 64 << 10, 1, 10 << 20},	{3, 0, 16 << 10, 4, 25 << 20},
	{1, 2, 64 << 10, 3, 10 << 20},	{2, 1, 64 << 10, 3, 17 << 20},
	{4, 2, 64 << 10, 6, 33 << 20},	{4, 2, 4 << 10, 8, 20 << 20},
	{4, 2, 256 << 10, 6, 20 << 20}, {16, 4, 32 << 10, 20, 70 << 20},
	{2, 3, 128 << 10, 7, 17 << 20}, {5, 4, 8 << 10, 9, 24 << 20},
};

static void run(const struct world_geometry *g, uint64_t seed)
{
	struct world *w = calloc(1, sizeof(*w));
	struct volume_stat st;
	char name[120];

	world_init(w, g, seed);
	world_open(w);
	for (int i = 0; i < 1500; i++)
		load_round(w);
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
