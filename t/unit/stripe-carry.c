/*
 * Good shards are carried to other servers: in peace, under writes, while servers break at every
 * step, while volmgr dies and everything loses power. The shard is good all the time, and what is
 * there in the end is right, also when only k shards with the carried one are left.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "stripe-ends.h"
#include "stripe-load.h"
#include "stripe/carry.h"
#include "stripe/rebuild.h"
#include "tap.h"

#define UNDER_WAY 1

static const struct world_geometry g42 = {4, 2, 256 << 10, 7, 20 << 20};
static const struct world_geometry g21 = {2, 1, 32 << 10, 4, 10 << 20};
static const struct world_geometry g20 = {2, 0, 64 << 10, 3, 10 << 20};

static struct world *begin_full(const struct world_geometry *g, uint64_t seed)
{
	struct world *w = begin(g, seed);

	fill(w);
	return w;
}

static unsigned shards(const struct world *w)
{
	return w->config.k + w->config.m;
}

/* Of the extent at this place in the map. */
static uint64_t start(const struct world *w, int i)
{
	return w->map[i].extent * w->config.k * WEFT_SHARD_BYTES;
}

static void on_carried(void *arg, int err)
{
	*(int *)arg = err;
}

static uint32_t carry(struct world *w, int extent, unsigned shard, int *err)
{
	uint32_t to = free_server(w, &w->map[extent]);

	*err = UNDER_WAY;
	volume_carry_shard(w->v, w->map[extent].extent, shard, to, on_carried, err);
	return to;
}

static void in_peace(const struct world_geometry *g)
{
	struct world *w = begin_full(g, 1);
	uint32_t from = w->map[0].shard[1].server, to;
	int err;

	to = carry(w, 0, 1, &err);
	is_int(err, UNDER_WAY, "a shard is on its way");
	is_int(w->map[0].shard[1].server, from, "and still where it was");
	world_settle(w, 0);
	is_int(err, 0, "it arrives");
	is_int(w->map[0].shard[1].server, to, "the metadata has its new place");
	is_int(stale_shards(w), 0, "nothing was stale");
	world_settle(w, 3000);
	is_int(fake_cluster_slots(&w->cluster), (unsigned)w->nmap * shards(w),
	       "the old slot is given back");
	world_check_all(w);
	for (unsigned n = 0; n < g->m; n++) /* of the others; it must be read */
		fake_server_break(
			&w->cluster.servers[w->map[0].shard[n == 0 ? 0 : shards(w) - n].server - 1],
			true);
	world_check_all(w);
	is_int(w->mismatches, 0, "what it has is right");
	is_int(end(w), 0, "and everything is whole in the end");
}

static void refusals(void)
{
	struct world *w = begin_full(&g42, 2);
	uint32_t from = w->map[0].shard[1].server, other = w->map[0].shard[2].server;
	int err = UNDER_WAY, second;

	volume_carry_shard(w->v, w->map[0].extent, 1, other, on_carried, &err);
	is_int(err, -EBUSY, "no server gets two shards of an extent");
	volume_carry_shard(w->v, 1234, 1, other, on_carried, &err);
	is_int(err, -ENOENT, "an extent that is not there is not carried");
	carry(w, 0, 1, &err);
	carry(w, 0, 2, &second);
	is_int(second, -EBUSY, "one shard of an extent at a time");
	world_settle(w, 0);
	is_int(err, 0, "the first one arrives");
	w->cluster.servers[from - 1].full = true;
	carry(w, 0, 2, &err);
	world_settle(w, 0);
	is_int(err, -ENOSPC, "a full server takes none");
	fake_server_break(&w->cluster.servers[from - 1], false);
	carry(w, 0, 2, &err);
	world_settle(w, 0);
	is_int(err, -EAGAIN, "nor one that is away");
	all_back(w);
	world_settle(w, 1000);
	fake_server_break(&w->cluster.servers[other - 1], false);
	world_submit(w, NBD_CMD_WRITE, 0, start(w, 0), 1 << 20);
	world_settle(w, 2000);
	carry(w, 0, 2, &err);
	is_int(err, -EBUSY, "a stale shard is not copied");
	is_int(end(w), 0, "and everything is whole in the end");
}

/* Writes go on all the time, so many that stripes are copied again and again. */
static void under_load(const struct world_geometry *g, uint64_t seed)
{
	struct world *w = begin_full(g, seed);
	unsigned arrived = 0, failed = 0;
	int err = 0;

	for (int i = 0; i < 20000 && arrived < 8; i++) {
		if (err != UNDER_WAY && i % 20 == 0 && w->nmap > 0)
			carry(w, (int)fake_below(&w->env, (uint32_t)w->nmap),
			      fake_below(&w->env, shards(w)), &err);
		load_round(w);
		for (uint32_t n = fake_below(&w->env, 40); n > 0; n--)
			world_step(w);
		arrived += err == 0;
		failed += err < 0;
		if (err != UNDER_WAY)
			err = err == 0 ? 2 : err;
	}
	world_settle(w, 5000);
	ok(arrived > 3, "shards arrive under writes");
	diag("seed %llu: %u arrived, %u rounds after one that did not", (unsigned long long)seed,
	     arrived, failed);
	is_int(stale_shards(w), 0, "nothing became stale");
	is_int(end(w), 0, "and everything is whole in the end");
}

/* A server breaks, or volmgr dies, at each step of a carrying under writes. */
static void every_step(const struct world_geometry *g, bool crash, bool kill)
{
	unsigned wrong = 0, arrived = 0;

	for (int step = 1; step < 160; step += 1 + step / 3) {
		struct world *w = begin_full(g, 300 + (uint64_t)step);
		uint32_t from = w->map[0].shard[1].server, to;
		int err;

		to = carry(w, 0, 1, &err);
		if (!kill) {
			struct fake_server *s = &w->cluster.servers[(step % 2 ? from : to) - 1];

			s->break_after = step;
			s->break_crash = crash;
		}
		for (int i = 0; i < 8; i++)
			load_round(w);
		if (kill) {
			for (int i = 0; i < step * 30; i++)
				world_step(w);
			/* what is not flushed may be lost with everything */
			for (uint64_t b = 0; b < w->size; b++)
				w->known[b] &= !w->touched[b];
			world_kill(w);
			for (unsigned n = 0; crash && n < w->cluster.n; n++)
				fake_server_break(&w->cluster.servers[n], true);
			all_back(w);
			world_open(w);
			world_settle(w, 0);
		}
		world_settle(w, 3000);
		arrived += w->map[0].shard[1].server == to;
		if (!kill && err == UNDER_WAY) {
			diag("step %d: nobody was told", step);
			wrong++;
		}
		wrong += end(w);
		if (wrong > 0) {
			diag("step %d", step);
			break;
		}
	}
	diag("%u arrived", arrived);
	is_int(wrong, 0, "a carrying that breaks at any step leaves nothing wrong");
	ok(arrived > 0, "and some arrive");
}

/* The metadata refuses the new place for a while: writes wait, then all is well. */
static void metadata_fails(void)
{
	struct world *w = begin_full(&g42, 5);
	int err;

	w->fail_put = 2;
	carry(w, 0, 1, &err);
	for (int i = 0; i < 20; i++)
		load_round(w);
	world_settle(w, 5000);
	is_int(err, 0, "a place that was refused once is recorded later");
	is_int(end(w), 0, "and everything is whole in the end");
}

/* A trim of the whole extent, a resize, a stop end it. */
static void taken_away(void)
{
	struct world *w = begin_full(&(struct world_geometry){4, 2, 16 << 10, 7, 32 << 20}, 6);
	int err;

	carry(w, 0, 1, &err);
	world_submit(w, NBD_CMD_TRIM, 0, start(w, 0), 16 << 20);
	world_settle(w, 3000);
	is_int(err, -ENOENT, "an extent that is trimmed is not carried on");
	is_int(fake_cluster_slots(&w->cluster), (unsigned)w->nmap * 6, "no slot is left over");
	carry(w, 0, 1, &err);
	for (int i = 0; i < 30; i++)
		world_step(w);
	is_int(end(w), 0, "a stop in the middle leaves nothing wrong");
}

static void on_stop(void *arg, int err)
{
	((struct world *)arg)->stopped = true;
}

/* Until the new place is on its way to the metadata: it is held there. */
static struct world_put *hold_place(struct world *w, uint32_t to)
{
	struct world_put *p = w->puts;

	while (p == NULL || p->records == NULL || p->records[0].shard[1].server != to) {
		if (!world_step(w))
			abort();
		p = w->puts;
	}
	w->puts = p->next;
	p->next = NULL;
	return p;
}

/*
 * volmgr is stopped while the new place is on its way to the metadata. A write that only the new
 * slot has would be lost if volmgr died then, or if the metadata refused the place.
 */
static void stopped_at_switch(const struct world_geometry *g, bool refused)
{
	struct world *w = begin_full(g, 8);
	struct world_put *place;
	struct world_req *write;
	int err;

	place = hold_place(w, carry(w, 0, 1, &err));
	write = world_submit(w, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, start(w, 0), 1 << 20);
	volume_stop(w->v, on_stop, w);
	world_settle(w, 3000);
	ok(write->busy, "while it stops a write waits for the new place, too");
	if (refused) {
		place->done(place->arg, -EIO);
		world_settle(w, 3000);
		ok(!write->busy && w->stopped, "until a place that was refused is recorded");
		volume_free(w->v);
	} else {
		world_kill(w);
	}
	free(place->records);
	free(place);
	world_open(w);
	world_settle(w, 0);
	is_int(end(w), 0, "what was acknowledged is there");
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;

	diag("seed %llu", (unsigned long long)seed);
	in_peace(&g42);
	in_peace(&g21);
	in_peace(&g20);
	refusals();
	for (uint64_t n = 0; n < 2; n++) {
		under_load(&g42, seed * 100 + n);
		under_load(&g21, seed * 100 + n);
	}
	metadata_fails();
	taken_away();
	stopped_at_switch(&g21, false);
	stopped_at_switch(&g42, true);
	every_step(&g42, false, false);
	every_step(&g42, true, false);
	every_step(&g21, true, false);
	every_step(&g42, false, true);
	every_step(&g42, true, true);
	every_step(&g21, true, true);
	return done_testing();
}
