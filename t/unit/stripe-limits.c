/*
 * The stripe engine at its edges: volumes that shrink, grow, and go away while servers fail, and
 * memory that is at its limit.
 */
#include "config.h"

#include <stdio.h>

#include "stripe-load.h"
#include "tap.h"

const char *__asan_default_options(void); /* a killed engine's memory is given up */
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

static const struct world_geometry g42 = {4, 2, 64 << 10, 7, 40 << 20};

static struct world *begin(const struct world_geometry *g, uint64_t seed)
{
	struct world *w = calloc(1, sizeof(*w));

	world_init(w, g, seed);
	world_open(w);
	world_settle(w, 0);
	return w;
}

static void all_back(struct world *w)
{
	for (unsigned n = 0; n < w->cluster.n; n++) {
		w->cluster.servers[n].fail_prepare = w->cluster.servers[n].break_after = 0;
		fake_server_return(&w->cluster.servers[n]);
	}
	world_settle(w, 3000);
}

static void end(struct world *w, const char *what)
{
	diag("%s", what);
	all_back(w);
	is_int(world_inflight(w), 0, "every request was answered");
	world_check_all(w);
	is_int(w->mismatches, 0, "every read is right");
	world_close(w);
	is_int(world_check_parity(w), 0, "parity fits the data");
	is_int(w->cluster.violations, 0, "the servers have nothing to complain about");
	world_free(w);
	free(w);
}

static void fill(struct world *w)
{
	for (uint64_t at = 0; at + (1 << 20) <= w->size; at += 1 << 20)
		world_submit(w, NBD_CMD_WRITE, 0, at, 1 << 20);
	world_settle(w, 0);
}

static void power_cut(struct world *w)
{
	world_kill(w);
	for (unsigned n = 0; n < w->cluster.n; n++) {
		fake_server_break(&w->cluster.servers[n], true);
		fake_server_return(&w->cluster.servers[n]);
	}
	world_open(w);
	world_settle(w, 0);
}

static void shrink_and_grow(uint64_t seed)
{
	struct world *w = begin(&g42, seed);

	for (int i = 0; i < 30; i++) {
		uint64_t size = (1 + fake_below(&w->env, (40 << 20) / 4096)) * 4096ULL;

		for (int n = 0; n < 8; n++) {
			struct fake_server *s =
				&w->cluster.servers[fake_below(&w->env, w->cluster.n)];

			if (w->size > 2 << 20)
				load_round(w);
			if (fake_below(&w->env, 3) == 0)
				s->break_after = 1 + (int)fake_below(&w->env, 20);
			if (fake_below(&w->env, 2) == 0)
				all_back(w);
		}
		all_back(w);
		w->cluster.servers[0].break_after = 1 + (int)fake_below(&w->env, 10);
		if (!world_resize(w, size)) {
			all_back(w);
			ok(w->resized, "it ends when the server is back");
		}
		is_int(w->resize_err, 0, "resize");
	}
	all_back(w);
	ok(world_resize(w, 40 << 20) && w->resize_err == 0, "grow to the largest size");
	end(w, "shrink and grow");
}

static void shrink_survives_power_cut(void)
{
	struct world *w = begin(&g42, 1);

	fill(w);
	world_do(w, NBD_CMD_FLUSH, 0, 0, 0);
	ok(world_resize(w, (15 << 20) + 4096) && w->resize_err == 0, "shrink");
	power_cut(w);
	ok(world_resize(w, 40 << 20) && w->resize_err == 0, "grow after a power cut");
	end(w, "what was cut off by shrinking is zeros");
}

static void shrink_again_after_failure(void)
{
	struct world *w = begin(&g42, 2);
	uint64_t low = (5 << 20) + 4096;

	fill(w);
	for (unsigned n = 0; n < w->cluster.n; n++) {
		w->cluster.servers[n].fail_prepare = 1;
		w->cluster.servers[n].fail_error = ENOMEM;
	}
	ok(world_resize(w, low) && w->resize_err != 0, "a shrink that fails says so");
	all_back(w);
	ok(world_resize(w, low) && w->resize_err == 0, "it can be said again");
	ok(world_resize(w, 40 << 20) && w->resize_err == 0, "grow");
	end(w, "what was cut off is zeros");
}

static void on_discarded(void *arg, int err)
{
	*(int *)arg = err;
}

static void on_stopped(void *arg, int err)
{
	((struct world *)arg)->stopped = true;
}

static void discard(unsigned breaks)
{
	struct world *w = begin(&g42, 3 + breaks);
	unsigned left = 0;
	int discarded = 1;

	fill(w);
	volume_stop(w->v, on_stopped, w);
	world_settle(w, 3000);
	ok(w->stopped, "the volume stops");
	for (unsigned n = 0; n < breaks; n++)
		w->cluster.servers[n].break_after = 1 + (int)fake_below(&w->env, 3);
	volume_discard(w->v, on_discarded, &discarded);
	world_settle(w, 1000);
	is_int(discarded, 0, "all slots given back, as far as servers are there");
	for (unsigned n = breaks; n < w->cluster.n; n++)
		for (unsigned i = 0; i < FAKE_SLOTS; i++)
			left += w->cluster.servers[n].slots[i].used;
	is_int(left, 0, "servers that were there have no slot of it");
	volume_free(w->v);
	world_free(w);
	free(w);
}

/* Reads wait for a pool that holds two of them. */
static void payload_limit(void)
{
	struct world *w = calloc(1, sizeof(*w));
	struct buf_pool *small = buf_pool_create(5 << 20, 0);

	world_init(w, &g42, 5);
	w->config.pool = small;
	world_open(w);
	world_settle(w, 0);
	fill(w);
	for (int i = 0; i < 40; i++)
		if (world_submit(w, NBD_CMD_READ, 0, fake_below(&w->env, 30) << 20, 2 << 20) ==
		    NULL)
			abort();
	for (int i = 0; i < 2000 && world_inflight(w) > 0; i++)
		world_settle(w, 10);
	is_int(w->errors, 0, "no request failed");
	end(w, "payload memory at its limit");
	is_int(buf_pool_used(small), 0, "all payload memory is back");
	buf_pool_destroy(small);
}

/* Writes of parts of wide stripes, and reads that decode, need more scratch than there is. */
static void scratch_limit(bool crash)
{
	static const struct world_geometry wide = {16, 4, 256 << 10, 20, 256 << 20};
	struct world *w = begin(&wide, 6);

	for (int i = 0; i < 3; i++) {
		for (uint64_t n = 0; n < WORLD_REQS; n++)
			world_submit(w, NBD_CMD_WRITE, 0, n * (4 << 20) + 1000, (3 << 20) + 4321);
		if (i > 0)
			fake_server_break(&w->cluster.servers[0], crash);
		for (int n = 0; n < 500; n++)
			world_step(w);
		fake_server_return(&w->cluster.servers[0]);
		for (int n = 0; n < 2000 && world_inflight(w) > 0; n++)
			world_settle(w, 10);
	}
	fake_server_break(&w->cluster.servers[1], false);
	for (uint64_t n = 0; n < WORLD_REQS; n++)
		world_submit(w, NBD_CMD_READ, 0, n * (4 << 20), 4 << 20);
	for (int n = 0; n < 2000 && world_inflight(w) > 0; n++)
		world_settle(w, 10);
	is_int(world_inflight(w), 0, "reads that decode end without the server");
	is_int(w->errors, 0, "no request failed");
	end(w, "scratch memory at its limit");
}

/* Servers have no room: what a volume that waits does, and one that does not. */
static void full_servers(bool wait)
{
	struct world *w = calloc(1, sizeof(*w));
	struct world_geometry g = {4, 2, 64 << 10, 6, 20 << 20};
	struct world_req *r, *far;

	world_init(w, &g, 5);
	w->config.when_full_wait = wait;
	world_open(w);
	world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20);
	for (unsigned n = 0; n < w->cluster.n; n++)
		w->cluster.servers[n].full = true;
	r = world_submit(w, NBD_CMD_WRITE, 0, 4096, 100000);
	far = world_submit(w, NBD_CMD_WRITE, 0, 17 << 20, 100000);
	world_settle(w, 5000);
	is_int(r->done, !wait, "a write to full servers waits, or not");
	is_int(far->done, !wait, "so does one that needs new slots");
	if (!wait)
		is_int(r->error == ENOSPC && far->error == ENOSPC, true,
		       "it says that there is no space");
	is_int(world_do(w, NBD_CMD_TRIM, 0, 512 << 10, 512 << 10), 0, "a discard works");
	if (wait)
		ok(!r->done, "while the write still waits");
	for (unsigned n = 0; n < w->cluster.n; n++)
		w->cluster.servers[n].full = false;
	world_settle(w, 3000);
	ok(r->done && far->done, "with room again they have ended");
	is_int(w->errors, wait ? 0 : 2, "well, or not");
	end(w, wait ? "full servers are waited for" : "full servers are an error");
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;

	shrink_and_grow(seed);
	shrink_survives_power_cut();
	shrink_again_after_failure();
	discard(0);
	discard(2);
	payload_limit();
	scratch_limit(false);
	scratch_limit(true);
	full_servers(false);
	full_servers(true);
	return done_testing();
}
