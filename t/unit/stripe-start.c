/*
 * Taking a volume over while servers are slow to come: volmgr waits for enough of them, and for
 * those that break while it decides, and nothing that was flushed is lost by that.
 */
#include "config.h"

#include <stdlib.h>

#include "log.h"
#include "stripe-world.h"
#include "tap.h"

const char *__asan_default_options(void); /* a killed engine's memory is given up */
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

/* Written and flushed, but not committed; then everything dies. */
static struct world *after_a_power_cut(const struct world_geometry *g, bool flushed)
{
	struct world *w = calloc(1, sizeof(*w));

	world_init(w, g, 1);
	world_open(w);
	world_settle(w, 0);
	for (uint64_t at = 0; at < g->size; at += g->size / 8)
		is_int(world_do(w, NBD_CMD_WRITE, 0, at, 256 << 10), 0, "a write");
	if (flushed)
		is_int(world_do(w, NBD_CMD_FLUSH, 0, 0, 0), 0, "a flush");
	world_kill(w);
	return w;
}

static void nobody_is_there(const struct world_geometry *g)
{
	struct world *w = after_a_power_cut(g, true);

	for (unsigned i = 0; i < w->cluster.n; i++)
		fake_server_break(&w->cluster.servers[i], true);
	world_open(w);
	world_settle(w, 10000);
	ok(!w->ready, "the volume waits while no server is there");
	for (unsigned i = 0; i < w->cluster.n; i++) {
		fake_server_return(&w->cluster.servers[i]);
		world_settle(w, 2000);
	}
	world_settle(w, 5000);
	ok(w->ready && w->ready_err == 0, "it starts when they have come, one after the other");
	world_check_all(w);
	is_int(w->mismatches, 0, "what was flushed is there");
	world_close(w);
	world_free(w);
	free(w);
}

static void one_breaks(const struct world_geometry *g, int after)
{
	struct world *w = after_a_power_cut(g, false);

	fake_server_break(&w->cluster.servers[0], false);
	world_open(w);
	w->cluster.servers[1].break_after = after;
	world_settle(w, 5000);
	fake_server_return(&w->cluster.servers[1]);
	world_settle(w, 10000);
	ok(w->ready && w->ready_err == 0, "the volume starts though a server broke meanwhile");
	fake_server_return(&w->cluster.servers[0]);
	world_settle(w, 5000);
	world_check_all(w);
	is_int(w->mismatches, 0, "what was acknowledged is there");
	world_close(w);
	world_free(w);
	free(w);
}

/* Between two COMMITs of the start: what it had decided with all of them stays decided. */
static void one_breaks_late(const struct world_geometry *g, int steps)
{
	struct world *w = after_a_power_cut(g, true);

	world_open(w);
	for (int i = 0; i < steps; i++)
		world_step(w);
	fake_server_break(&w->cluster.servers[1], false);
	world_settle(w, 5000);
	fake_server_return(&w->cluster.servers[1]);
	world_settle(w, 10000);
	ok(w->ready && w->ready_err == 0, "the volume starts when all servers are there again");
	world_check_all(w);
	is_int(w->mismatches, 0, "what was flushed is there, without any parity");
	world_close(w);
	world_free(w);
	free(w);
}

/* The same, and it never returns: those that are there are enough. */
static void one_stays_away(const struct world_geometry *g, int steps)
{
	struct world *w = after_a_power_cut(g, true);

	world_open(w);
	for (int i = 0; i < steps; i++)
		world_step(w);
	fake_server_break(&w->cluster.servers[1], true);
	world_settle(w, 20000);
	ok(w->ready && w->ready_err == 0, "the volume starts without the server that stays away");
	world_check_all(w);
	is_int(w->mismatches, 0, "what was flushed is there");
	world_close(w);
	world_free(w);
	free(w);
}

static bool extent_has(const struct world *w, const struct extent_record *r, unsigned server)
{
	for (unsigned i = 0; i < w->config.k + w->config.m; i++)
		if (r->shard[i].server == server + 1)
			return true;
	return false;
}

/* A flushed write to each extent that does not need the server, and the COMMIT that follows. */
static void write_beside(struct world *w, unsigned server)
{
	for (int i = 0; i < w->nmap; i++)
		if (!extent_has(w, &w->map[i], server))
			is_int(world_do(w, NBD_CMD_WRITE, 0,
					w->map[i].extent * w->config.k * WEFT_SHARD_BYTES, 4096),
			       0, "a write without server 0");
	is_int(world_do(w, NBD_CMD_FLUSH, 0, 0, 0), 0, "a flush");
	world_settle(w, 2000);
}

/* All have their power back but server 3, for good; server 0 alone knows what it lists. */
static void only_it_is_left(struct world *w)
{
	world_kill(w);
	fake_server_return(&w->cluster.servers[0]);
	fake_server_break(&w->cluster.servers[3], true);
	world_open(w);
	world_settle(w, 10000);
	ok(w->ready && w->ready_err == 0, "the volume starts with the one that was away");
	world_check_all(w);
	is_int(w->mismatches, 0, "what is on that server is good");
	world_close(w);
	world_free(w);
	free(w);
}

/*
 * A server misses the COMMIT of what it has flushed, and so many starts after it: the COMMITs of
 * later owners have long taken the place of that watermark.
 */
static void away_for_starts(const struct world_geometry *g, int starts)
{
	struct world *w = calloc(1, sizeof(*w));

	world_init(w, g, 1);
	world_open(w);
	world_settle(w, 0);
	for (uint64_t at = 0; at < g->size; at += g->size / 8)
		is_int(world_do(w, NBD_CMD_WRITE, 0, at, 256 << 10), 0, "a write");
	is_int(world_do(w, NBD_CMD_FLUSH, 0, 0, 0), 0, "a flush");
	fake_server_break(&w->cluster.servers[0], false);
	for (int i = 0; i < starts; i++) {
		write_beside(w, 0);
		world_kill(w);
		world_open(w);
		world_settle(w, 5000);
		ok(w->ready && w->ready_err == 0, "a start without it");
	}
	write_beside(w, 0);
	only_it_is_left(w);
}

static bool any_stale(const struct world *w)
{
	uint32_t stale = 0;

	for (int i = 0; i < w->nmap; i++)
		stale |= w->map[i].stale;
	return stale != 0;
}

/*
 * The same with a server that was there when the start judged, and went before its COMMIT. True: it
 * was that moment, none before.
 */
static bool away_for_a_commit(const struct world_geometry *g, int steps)
{
	struct world *w = after_a_power_cut(g, true);

	world_open(w);
	for (int i = 0; i < steps; i++)
		world_step(w);
	fake_server_break(&w->cluster.servers[0], false);
	world_settle(w, 20000);
	ok(w->ready && w->ready_err == 0, "the volume starts");
	if (any_stale(w)) {
		world_close(w);
		world_free(w);
		free(w);
		return false;
	}
	write_beside(w, 0);
	only_it_is_left(w);
	return true;
}

/*
 * All is flushed and committed, but a write that server 0 alone still has when all lose power, but
 * it. Where that is.
 */
static uint64_t kept_by_one(struct world *w, const struct world_geometry *g)
{
	uint64_t at;
	int x = 0;

	world_init(w, g, 1);
	world_open(w);
	world_settle(w, 0);
	for (at = 0; at < g->size; at += g->size / 8)
		is_int(world_do(w, NBD_CMD_WRITE, 0, at, 256 << 10), 0, "a write");
	is_int(world_do(w, NBD_CMD_FLUSH, 0, 0, 0), 0, "a flush");
	world_settle(w, 2000);
	for (unsigned i = 0; i < w->cluster.n; i++)
		fake_server_log(&w->cluster.servers[i]); /* the COMMITs */
	while (!extent_has(w, &w->map[x], 0))
		x++;
	at = w->map[x].extent * g->k * WEFT_SHARD_BYTES;
	is_int(world_do(w, NBD_CMD_WRITE, 0, at, g->k * g->unit), 0, "a write, not flushed");
	fake_server_log(&w->cluster.servers[0]);
	world_kill(w);
	for (unsigned i = 1; i < w->cluster.n; i++)
		fake_server_break(&w->cluster.servers[i], true);
	memset(w->known + at, 0, g->k * g->unit);
	return at;
}

static void all_right(struct world *w)
{
	world_check_all(w);
	is_int(w->mismatches, 0, "what was acknowledged is there");
	is_int(world_check_parity(w), 0, "and the shards fit each other");
	world_close(w);
	world_free(w);
	free(w);
}

/* The same; then it is away at the start that undoes the write, and back when volmgr dies again. */
static void away_when_undone(struct world *w, const struct world_geometry *g)
{
	kept_by_one(w, g);
	fake_server_break(&w->cluster.servers[0], true);
	for (unsigned i = 1; i < w->cluster.n; i++)
		fake_server_return(&w->cluster.servers[i]);
	world_open(w);
	world_settle(w, 5000);
	write_beside(w, 0);
	world_kill(w);
	fake_server_return(&w->cluster.servers[0]);
}

/* It is away at the start that undoes the write. Neither that nor what is committed since makes it
 * good. */
static void undone_without_it(const struct world_geometry *g)
{
	struct world *w = calloc(1, sizeof(*w));

	away_when_undone(w, g);
	world_open(w);
	world_settle(w, 20000);
	ok(w->ready && w->ready_err == 0, "the volume starts with the one that has what is undone");
	all_right(w);
}

/*
 * Nobody else had the write at that start, so it is undone where it is, and the shard is good: it
 * can be needed, for another server is lost for good.
 */
static void undone_and_needed(const struct world_geometry *g)
{
	struct world *w = calloc(1, sizeof(*w));

	away_when_undone(w, g);
	fake_server_break(&w->cluster.servers[1], true);
	world_open(w);
	world_settle(w, 20000);
	ok(w->ready && w->ready_err == 0,
	   "the volume starts, and another server does not come back");
	world_check_all(w);
	is_int(w->mismatches, 0, "what was acknowledged is there");
	is_int(world_inflight(w), 0, "and all can be read");
	fake_server_return(&w->cluster.servers[1]);
	world_settle(w, 20000);
	all_right(w);
}

static uint64_t word_at(struct world *w, uint64_t at)
{
	uint8_t block[4096];
	uint64_t word;
	struct world_req *r = world_submit(w, NBD_CMD_READ, 0, at, sizeof(block));

	r->got = block;
	world_settle(w, 1000);
	ok(r->done && r->error == 0, "a block is read");
	memcpy(&word, block, sizeof(word));
	return word;
}

/*
 * Two servers alone have a write, and are away at a start: clients see that it was not done. So it
 * is not done later either, when a start without the last of its servers finds it on these two.
 */
static void undone_for_good(const struct world_geometry *g)
{
	struct world *w = calloc(1, sizeof(*w));
	uint64_t word;

	world_init(w, g, 1);
	world_open(w);
	world_settle(w, 0);
	is_int(world_do(w, NBD_CMD_WRITE, 0, 0, g->size), 0, "a write");
	is_int(world_do(w, NBD_CMD_FLUSH, 0, 0, 0), 0, "a flush");
	world_settle(w, 2000);
	for (unsigned i = 0; i < w->cluster.n; i++)
		fake_server_log(&w->cluster.servers[i]); /* the COMMITs */
	is_int(world_do(w, NBD_CMD_WRITE, 0, 0, 4096), 0, "a write of one data shard, not flushed");
	memset(w->known, 0, 4096);
	for (unsigned shard = 0; shard < 4; shard += 3)
		fake_server_log(&w->cluster.servers[w->map[0].shard[shard].server - 1]);
	world_kill(w);
	for (unsigned i = 0; i < w->cluster.n; i++)
		fake_server_break(&w->cluster.servers[i], true);
	for (unsigned shard = 1; shard < 3; shard++)
		fake_server_return(&w->cluster.servers[w->map[0].shard[shard].server - 1]);
	world_open(w);
	world_settle(w, 5000);
	word = word_at(w, 0);
	world_kill(w);
	for (unsigned shard = 0; shard < 4; shard += 3)
		fake_server_return(&w->cluster.servers[w->map[0].shard[shard].server - 1]);
	fake_server_break(&w->cluster.servers[w->map[0].shard[2].server - 1], true);
	world_open(w);
	world_settle(w, 5000);
	ok(word_at(w, 0) == word, "what was not there does not come back");
	for (unsigned i = 0; i < w->cluster.n; i++)
		fake_server_return(&w->cluster.servers[i]);
	world_settle(w, 20000);
	all_right(w);
}

/*
 * It is there when the start begins, is fenced and lists what it has, and goes before all are
 * judged: when it comes back, it has to list once more.
 */
static void undone_when_it_left(const struct world_geometry *g)
{
	struct world *w = calloc(1, sizeof(*w));
	uint64_t at = kept_by_one(w, g);

	for (unsigned i = 1; i < w->cluster.n - 1; i++)
		fake_server_return(&w->cluster.servers[i]);
	world_open(w);
	world_settle(w, 1000);
	ok(!w->ready, "the start waits for one more server");
	fake_server_break(&w->cluster.servers[0], false);
	world_settle(w, 5000);
	ok(w->ready && w->ready_err == 0, "it begins without two");
	fake_server_return(&w->cluster.servers[0]);
	world_settle(w, 20000);
	is_int(world_do(w, NBD_CMD_WRITE, 0, at, g->k * g->unit), 0, "a write when it is back");
	world_kill(w);
	world_open(w);
	world_settle(w, 20000);
	ok(w->ready && w->ready_err == 0, "the next start");
	all_right(w);
}

/* Metadata of before starts were recorded, or that was lost: a start that died begins again. */
static void nothing_is_recorded(const struct world_geometry *g, int steps)
{
	struct world *w = after_a_power_cut(g, true);

	world_open(w);
	for (int i = 0; i < steps; i++)
		world_step(w);
	world_kill(w);
	w->starts.n = w->starts.nservers = 0;
	world_open(w);
	world_settle(w, 5000);
	ok(w->ready && w->ready_err == 0, "the volume starts");
	ok(!any_stale(w), "no shard is taken for stale");
	world_check_all(w);
	is_int(w->mismatches, 0, "what was flushed is there");
	world_close(w);
	world_free(w);
	free(w);
}

/* The metadata refuses it for a while. */
static void cannot_be_recorded(const struct world_geometry *g)
{
	struct world *w = after_a_power_cut(g, true);

	w->fail_put = 1;
	world_open(w);
	world_settle(w, 500);
	ok(!w->ready, "no start that is not on record");
	world_settle(w, 2000);
	ok(w->ready && w->ready_err == 0, "it starts when the metadata takes it");
	world_check_all(w);
	is_int(w->mismatches, 0, "what was flushed is there");
	world_close(w);
	world_free(w);
	free(w);
}

int main(void)
{
	static const struct world_geometry small = {1, 1, 4 << 10, 2, 4 << 20},
					   large = {4, 2, 64 << 10, 6, 16 << 20},
					   plain = {2, 0, 64 << 10, 2, 8 << 20},
					   spread = {2, 1, 64 << 10, 4, 32 << 20},
					   wide = {2, 2, 64 << 10, 5, 32 << 20},
					   four = {2, 2, 64 << 10, 4, 8 << 20};
	int moments = 0;

	log_init("stripe-start", LOG_LEVEL_ERROR);

	nobody_is_there(&small);

	nobody_is_there(&large);
	for (int after = 1; after <= 8; after++)
		one_breaks(&large, after);
	for (int steps = 1; steps <= 40; steps++)
		one_breaks_late(&plain, steps);
	for (int steps = 1; steps <= 60; steps++)
		one_stays_away(&large, steps);
	undone_without_it(&spread);
	undone_and_needed(&spread);
	undone_for_good(&four);
	undone_when_it_left(&wide);
	away_for_starts(&spread, 1);
	away_for_starts(&spread, 15);
	for (int steps = 1; steps <= 60; steps += 2)
		moments += away_for_a_commit(&spread, steps);
	ok(moments > 0, "a server went before its COMMIT");
	for (int steps = 1; steps <= 60; steps += 2)
		nothing_is_recorded(&large, steps);
	cannot_be_recorded(&large);
	return done_testing();
}
