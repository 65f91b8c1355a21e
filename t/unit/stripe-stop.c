/*
 * A volume is stopped while more servers than it can do without have lost what was not flushed:
 * what is left may not be committed, the next start undoes it.
 */
#include "config.h"

#include <stdlib.h>

#include "stripe-world.h"
#include "tap.h"

#define UNDER_WAY 1

static const struct world_geometry g21 = {2, 1, 64 << 10, 3, 8 << 20};
static const struct world_geometry g22 = {2, 2, 64 << 10, 4, 8 << 20};

static void on_stopped(void *arg, int err)
{
	*(int *)arg = err;
}

static struct fake_server *server_of(struct world *w, unsigned shard)
{
	return &w->cluster.servers[w->map[0].shard[shard].server - 1];
}

/* Blocks of which nobody knows now whether they are old or new. */
static void forget(struct world *w, uint64_t at, uint64_t len)
{
	memset(w->known + at, 0, len);
}

static void stop_after_loss(uint64_t seed)
{
	struct world *w = calloc(1, sizeof(*w));
	int err = UNDER_WAY;

	world_init(w, &g21, seed);
	world_open(w);
	world_settle(w, 0);
	world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20);
	world_do(w, NBD_CMD_FLUSH, 0, 0, 0);
	for (uint64_t at = 0; at < 512 << 10; at += 12 << 10)
		world_do(w, NBD_CMD_WRITE, 0, at, 4096);
	fake_server_break(server_of(w, 0), true);
	fake_server_break(server_of(w, 2), true);
	volume_stop(w->v, on_stopped, &err);
	world_settle(w, 20);
	is_int(err, UNDER_WAY, "a volume that stops waits for its servers");
	fake_server_return(server_of(w, 0));
	fake_server_return(server_of(w, 2));
	for (unsigned ms = 0; ms < 10000 && err == UNDER_WAY; ms += 10)
		world_settle(w, 10);
	is_int(err, -EIO, "they have lost too much: it stops, and says so");
	volume_free(w->v);
	w->v = NULL;
	forget(w, 0, 512 << 10);
	world_open(w);
	world_settle(w, 5000);
	world_check_all(w);
	is_int(w->mismatches, 0, "all else is as it was");
	is_int(world_check_parity(w), 0, "and all shards fit each other");
	world_close(w);
	world_free(w);
	free(w);
}

/* A write that has been sent to all its servers, and is not answered yet. */
static struct world_req *under_way(struct world *w, uint64_t at)
{
	struct world_req *r = world_submit(w, NBD_CMD_WRITE, 0, at, 4096);

	for (unsigned n = 0; n < 6 && !r->done; n++)
		world_step(w);
	return r;
}

/* The last server of a write that has to be undone stays away; others of it have lost too much. */
static void stop_undoing(uint64_t seed)
{
	struct world *w = calloc(1, sizeof(*w));
	struct world_req *r;
	int err = UNDER_WAY;

	world_init(w, &g22, seed);
	world_open(w);
	world_settle(w, 0);
	world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20);
	world_do(w, NBD_CMD_FLUSH, 0, 0, 0);
	for (uint64_t at = 0; at < 512 << 10; at += 12 << 10)
		world_do(w, NBD_CMD_WRITE, 0, at, 4096);
	r = under_way(w, 4 << 10);
	for (unsigned shard = 0; shard < 4; shard++)
		fake_server_break(server_of(w, shard), shard != 3);
	volume_stop(w->v, on_stopped, &err);
	world_submit(w, NBD_CMD_READ, 0, 0, 4096);
	world_settle(w, 1000);
	is_int(err, UNDER_WAY, "a volume that stops waits for its servers");
	for (unsigned shard = 0; shard < 3; shard++) {
		fake_server_return(server_of(w, shard));
		world_settle(w, 500);
	}
	is_int(err, -EIO, "they have lost too much: it stops, whoever is still away");
	ok(r->done, "the write under way was answered");
	volume_free(w->v);
	w->v = NULL;
	world_free(w);
	free(w);
}

/* Too many shards have missed writes for any to be taken: what waits for their rebuild is refused.
 */
static void stop_unbuilt(uint64_t seed)
{
	struct world *w = calloc(1, sizeof(*w));
	struct world_req *r;
	int err = UNDER_WAY;

	world_init(w, &g22, seed);
	world_open(w);
	world_settle(w, 0);
	world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20);
	world_do(w, NBD_CMD_FLUSH, 0, 0, 0);
	for (uint64_t at = 0; at < 512 << 10; at += 12 << 10)
		world_do(w, NBD_CMD_WRITE, 0, at, 4096);
	for (unsigned shard = 0; shard < 4; shard += 2) {
		fake_server_break(server_of(w, shard), true);
		fake_server_return(server_of(w, shard));
	}
	r = world_submit(w, NBD_CMD_WRITE, 0, 4 << 10, 4096);
	volume_stop(w->v, on_stopped, &err);
	for (unsigned ms = 0; ms < 10000 && err == UNDER_WAY; ms += 10)
		world_settle(w, 10);
	is_int(err, 0, "a volume stops that would have to rebuild shards before it writes");
	ok(r->done, "the write was answered");
	volume_free(w->v);
	w->v = NULL;
	world_free(w);
	free(w);
}

/*
 * Too much is lost, and a read waits for a shard that is stale: the others are of different
 * moments, so nothing is computed from them.
 */
static void stop_reading(uint64_t seed)
{
	struct world *w = calloc(1, sizeof(*w));
	struct world_req *r;
	int err = UNDER_WAY;

	world_init(w, &g21, seed);
	world_open(w);
	world_settle(w, 0);
	world_do(w, NBD_CMD_WRITE, 0, 0, g21.k * g21.unit);
	world_do(w, NBD_CMD_FLUSH, 0, 0, 0);
	world_do(w, NBD_CMD_WRITE, 0, 0, g21.k * g21.unit);
	fake_server_log(server_of(w, 0));
	for (unsigned shard = 0; shard < 3; shard++)
		fake_server_break(server_of(w, shard), true);
	r = world_submit(w, NBD_CMD_READ, 0, g21.unit, 4096);
	volume_stop(w->v, on_stopped, &err);
	for (unsigned shard = 1; shard < 4; shard++) {
		fake_server_return(server_of(w, shard % 3));
		world_settle(w, 500);
	}
	is_int(err, -EIO, "the volume stops, and says that writes are lost");
	ok(r->done && r->error == ESHUTDOWN, "a read of a stale shard is refused");
	volume_free(w->v);
	w->v = NULL;
	world_free(w);
	free(w);
}

int main(void)
{
	for (uint64_t seed = 1; seed < 6; seed++) {
		stop_unbuilt(seed);
		stop_after_loss(seed);
		stop_undoing(seed);
		stop_reading(seed);
	}
	return done_testing();
}
