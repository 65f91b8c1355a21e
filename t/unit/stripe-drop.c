/*
 * Whole extents that are given back while something else goes on in them: shards that have just
 * been carried elsewhere, writes that wait for a rebuild, servers that lose what the extent had.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "stripe-world.h"
#include "stripe/carry.h"
#include "stripe/rebuild.h"
#include "tap.h"

#define UNDER_WAY 1

static const struct world_geometry g21 = {2, 1, 64 << 10, 4, 8 << 20};
static const struct world_geometry g42 = {4, 2, 64 << 10, 7, 16 << 20};

static struct world *begin(const struct world_geometry *g)
{
	struct world *w = calloc(1, sizeof(*w));

	world_init(w, g, 1);
	world_open(w);
	world_settle(w, 0);
	world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20);
	world_do(w, NBD_CMD_FLUSH, 0, 0, 0);
	return w;
}

static unsigned end(struct world *w)
{
	unsigned wrong;

	for (unsigned ms = 0; ms < 60000 && world_inflight(w) > 0; ms += 100)
		world_settle(w, 100);
	wrong = world_inflight(w);
	world_check_all(w);
	world_close(w);
	wrong += w->mismatches + w->cluster.violations + world_check_parity(w);
	world_free(w);
	free(w);
	return wrong;
}

static struct fake_server *server_of(struct world *w, unsigned shard)
{
	return &w->cluster.servers[w->map[0].shard[shard].server - 1];
}

static uint32_t free_server(const struct world *w)
{
	uint32_t s = 1;

	for (unsigned i = 0; i < w->config.k + w->config.m; i++)
		if (w->map[0].shard[i].server == s) {
			s++;
			i = UINT32_MAX;
		}
	return s;
}

static void on_carried(void *arg, int err)
{
	*(int *)arg = err;
}

/* The old slot of a carried shard stays for a moment: no new extent may get it. */
static void placed_again(void)
{
	struct world *w = begin(&g21);
	unsigned failed = 0;

	for (unsigned n = 0; n < 24; n++) {
		int err = UNDER_WAY;

		for (unsigned tries = 0; tries < 10 && err != 0; tries++) { /* it is fenced first */
			err = UNDER_WAY;
			volume_carry_shard(w->v, 0, n % 3, free_server(w), on_carried, &err);
			for (unsigned ms = 0; ms < 1000 && err == UNDER_WAY; ms++)
				world_settle(w, 1);
			world_settle(w, 1);
		}
		failed += err != 0;
		w->place_next = 0; /* the servers that it was on at first */
		failed += world_do(w, NBD_CMD_TRIM, 0, 0, (uint32_t)w->size) != 0;
		failed += world_do(w, NBD_CMD_WRITE, 0, 4096 * n, 4096) != 0;
		world_check_all(w);
		world_settle(w, n % 2 == 0 ? 0 : 1500);
		world_check_all(w);
	}
	is_int(failed, 0, "extents are carried, given back and placed again");
	is_int(end(w), 0, "and hold what was written since, nothing older");
}

/* Writes wait for the rebuild of an extent, and a TRIM of all of it for them. */
static void below_min(void)
{
	struct world *w = begin(&g42);

	world_do(w, NBD_CMD_WRITE, 0, 0, 512 << 10);
	fake_server_break(server_of(w, 0), true);
	fake_server_break(server_of(w, 4), true);
	world_submit(w, NBD_CMD_WRITE, 0, 0, 4096);
	world_settle(w, 1000);
	is_int(world_inflight(w), 1, "a write waits for servers");
	world_submit(w, NBD_CMD_TRIM, 0, 0, (uint32_t)w->size);
	world_settle(w, 100);
	fake_server_return(server_of(w, 0));
	fake_server_return(server_of(w, 4));
	is_int(end(w), 0, "they lost what they had: a rebuild helps the write, that the TRIM");
}

/* A shard is lost while the end of its extent is on its way to the metadata. */
static void lost_meanwhile(void)
{
	struct world *w = begin(&g21);
	struct world_put *put;
	struct fake_server *s = server_of(w, 1);

	world_do(w, NBD_CMD_WRITE, 0, 0, 512 << 10);
	world_submit(w, NBD_CMD_TRIM, 0, 0, (uint32_t)w->size);
	while (w->puts == NULL && world_step(w))
		;
	put = w->puts;
	ok(put != NULL && put->remove, "an extent leaves the map");
	w->puts = NULL;
	fake_server_break(s, true);
	fake_server_return(s);
	world_settle(w, 500);
	if (put != NULL) {
		put->next = w->puts;
		w->puts = put;
	}
	world_settle(w, 500);
	is_int(w->nmap, 0, "it is not there, though a server lost writes to it");
	is_int(end(w), 0, "all is zeros");
}

/* What was written before an extent was given back is nothing that the new one misses. */
static void written_before(void)
{
	struct world *w = begin(&g21);
	struct rebuild_stat stat;

	world_do(w, NBD_CMD_WRITE, 0, 0, 512 << 10);
	world_do(w, NBD_CMD_TRIM, 0, 0, (uint32_t)w->size);
	w->place_next = 0;
	world_do(w, NBD_CMD_WRITE, 0, 0, 4096); /* shards 0 and 2 */
	fake_server_break(server_of(w, 1), true);
	fake_server_return(server_of(w, 1));
	world_settle(w, 500);
	volume_rebuild_stat(w->v, &stat);
	is_int(stat.shards + stat.rebuilt, 0, "an extent that was placed again misses nothing");
	is_int(end(w), 0, "of what was there before");
}

/* Until the server is told to give a slot back, and has not heard of it yet. */
static bool told(struct world *w, const struct fake_server *s)
{
	for (unsigned i = 0; i < 10000; i++) {
		if (s->queue != NULL && s->queue->type == WEFT_CMD_DISCARD)
			return true;
		if (!world_step(w))
			world_settle(w, 1);
	}
	return false;
}

/*
 * A server owes a slot that went when its extent had just left the map; it goes again before it has
 * heard of it, or answered.
 */
static void owed_twice(bool crash, const char *name)
{
	unsigned left = 0, owed = 0, wrong = 0, heard = 0;

	for (int step = 0; step < 12; step++) {
		struct world *w = begin(&g21);
		struct fake_server *s;

		world_do(w, NBD_CMD_WRITE, 0, 0, 512 << 10);
		world_do(w, NBD_CMD_FLUSH, 0, 0, 0);
		s = server_of(w, 1);
		world_submit(w, NBD_CMD_TRIM, 0, 0, (uint32_t)w->size);
		while (w->puts == NULL && world_step(w))
			;
		fake_server_break(s, crash); /* the extent is placed anew without it */
		world_settle(w, 2000);
		owed += fake_cluster_slots(&w->cluster) == 4;
		s->break_after = step;
		s->break_crash = crash;
		fake_server_return(s);
		if (step == 0)
			heard += told(w, s);
		else
			world_settle(w, 500);
		fake_server_break(s, crash);
		s->break_after = 0;
		fake_server_return(s);
		world_settle(w, 2000);
		world_do(w, NBD_CMD_TRIM, 0, 0, (uint32_t)w->size);
		left += fake_cluster_slots(&w->cluster);
		wrong += end(w);
	}
	is_int(owed, 12, "a server that is away keeps its slot");
	is_int(heard, 1, "and is told when it is back");
	is_int(left, 0, name);
	is_int(wrong, 0, "and nothing else happens");
}

/* The metadata refuses to give an extent back, and has done it: what is written there later stays.
 */
static void given_back_in_doubt(void)
{
	struct world *w = begin(&g21);

	w->fail_put = 1;
	w->put_stays = true;
	is_int(world_do(w, NBD_CMD_TRIM, 0, 0, 8 << 20), EIO, "an extent is not given back");
	is_int(world_do(w, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 0, 1 << 20), 0, "it is written");
	is_int(w->nmap, 1, "when the metadata has it again");
	world_kill(w);
	world_open(w);
	world_settle(w, 4000);
	is_int(end(w), 0, "what was acknowledged is there for the next volmgr");
}

/* Slots that the metadata names for the first extent of the map, and that are there. */
static unsigned slots_named(const struct world *w)
{
	unsigned there = 0;

	for (unsigned i = 0; i < w->config.k + w->config.m; i++) {
		const struct shard_place *p = &w->map[0].shard[i];
		const struct fake_slot *slot = &w->cluster.servers[p->server - 1].slots[p->slot];

		there += slot->used && slot->gen == p->slot_gen;
	}
	return there;
}

static struct world *begin_empty(void)
{
	static const struct world_geometry three = {2, 1, 64 << 10, 3, 16 << 20};
	struct world *w = calloc(1, sizeof(*w));

	world_init(w, &three, 1);
	world_open(w);
	world_settle(w, 0);
	return w;
}

/* The metadata refuses a place, and has it: these slots are not given to others. */
static void placed_in_doubt(void)
{
	struct world *w = begin_empty();

	w->fail_put = 1;
	w->put_stays = true;
	is_int(world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20), EIO, "an extent is not placed");
	is_int(world_do(w, NBD_CMD_WRITE, 0, 8 << 20, 1 << 20), 0, "another one is");
	is_int(w->nmap, 2, "the metadata has both");
	is_int(slots_named(w), 3, "and each the slots that it names");
	w->errors = 0;
	is_int(end(w), 0, "and everything is whole in the end");
}

/* The same slots are asked for once more, and that fails: they stay. */
static void placed_in_doubt_again(void)
{
	struct world *w = begin_empty();
	struct fake_server *s = &w->cluster.servers[1];

	w->fail_put = 1;
	w->put_stays = true;
	is_int(world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20), EIO, "an extent is not placed");
	w->place_next = 0; /* the same servers for the same shards */
	s->refuse = WEFT_CMD_LABEL;
	s->refusals = 2;
	s->refuse_error = EIO;
	is_int(world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20), ENOSPC, "nor when it is tried again");
	is_int(slots_named(w), 3, "the slots that the metadata may name are there");
	memset(w->known, 0, 1 << 20);
	world_kill(w);
	world_open(w);
	world_settle(w, 4000);
	is_int(world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20), 0, "the next volmgr can write there");
	w->errors = 0;
	is_int(end(w), 0, "and everything is whole in the end");
}

/* Zeros for a whole extent wait until it has been placed for another write, which fails. */
static void given_back_unplaced(void)
{
	struct world *w = begin(&g21);
	struct world_req *write, *zeros;

	world_do(w, NBD_CMD_TRIM, 0, 0, (uint32_t)w->size);
	is_int(w->nmap, 0, "nothing is there");
	w->fail_put = 1;
	write = world_submit(w, NBD_CMD_WRITE, 0, 0, 4096);
	zeros = world_submit(w, NBD_CMD_WRITE_ZEROES, 0, 0, 8 << 20);
	world_settle(w, 3000);
	ok(write->done && write->error == EIO, "an extent is not placed");
	ok(zeros->done && zeros->error == 0, "zeros that waited for it are answered");
	w->errors = 0;
	is_int(end(w), 0, "and it is");
}

const char *__asan_default_options(void); /* a killed engine's memory is given up */
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

int main(void)
{
	placed_again();
	below_min();
	lost_meanwhile();
	written_before();
	owed_twice(false, "a slot that it owes goes, though its connection breaks once more");
	owed_twice(true, "or it crashes");
	given_back_unplaced();
	given_back_in_doubt();
	placed_in_doubt();
	placed_in_doubt_again();
	return done_testing();
}
