/*
 * Stale shards are rebuilt: when their server is back, under writes, while it goes again at every
 * step, with a second server lost meanwhile, over kills of volmgr and power cuts. At the end
 * nothing is stale, and k shards without the healthy ones give every byte.
 */
#include "config.h"

#include <stdio.h>

#include "stripe-ends.h"
#include "stripe-load.h"
#include "stripe/engine.h"
#include "stripe/rebuild.h"
#include "tap.h"

static const struct world_geometry g42 = {4, 2, 256 << 10, 7, 18 << 20};
static const struct world_geometry g12 = {1, 2, 64 << 10, 4, 6 << 20};

static void comes_back(const struct world_geometry *g, bool crash)
{
	struct world *w = begin(g, 1);
	struct rebuild_stat st;
	struct fake_server *s;
	unsigned extents;

	fill(w);
	s = &w->cluster.servers[w->map[0].shard[g->k].server - 1];
	fake_server_break(s, crash);
	world_do(w, NBD_CMD_WRITE, 0, 4096, 100000);
	world_do(w, NBD_CMD_FLUSH, 0, 0, 0);
	extents = stale_shards(w);
	is_int(extents, 1, "one shard misses a write");
	fake_server_return(s);
	ok(rebuilt(w) != UINT32_MAX, "it is rebuilt when its server is back");
	volume_rebuild_stat(w->v, &st);
	is_int((long long)st.rebuilt, 1, "only it");
	is_int((long long)st.shards, 0, "none is stale");
	ok(st.moved_bytes <= (g->k + 1) * WEFT_SHARD_BYTES, "with k reads and a write");
	for (unsigned n = 0; n < g->m; n++) /* of the others; it must be read */
		fake_server_break(&w->cluster.servers[w->map[0].shard[n].server - 1], true);
	world_check_all(w);
	is_int(w->mismatches, 0, "what it has is right");
	is_int(end(w), 0, "and everything is whole in the end");
}

/* Counted extent by extent. */
static int spare_by_hand(const struct world *w)
{
	int least = (int)w->v->shards;

	for (struct extent *x = extent_next(w->v, 0); x != NULL;
	     x = extent_next(w->v, x->number + 1)) {
		int usable = __builtin_popcount(extent_usable(w->v, x));

		if (x->state == EXTENT_READY && usable < least)
			least = usable;
	}
	return least - (int)w->v->l.k;
}

static void spare(const struct world_geometry *g)
{
	struct world *w = begin(g, 9);
	struct fake_server *s[2];
	unsigned wrong = 0, steps = 0;

	is_int(volume_spare(w->v), (int)g->m, "of what was never written m servers may be lost");
	fill(w);
	is_int(volume_spare(w->v), (int)g->m, "and when it was");
	for (unsigned n = 0; n < 2; n++) {
		s[n] = &w->cluster.servers[w->map[0].shard[g->k - 1 + n].server - 1];
		fake_server_break(s[n], true);
		is_int(volume_spare(w->v), (int)(g->m - n - 1),
		       "each server that goes is one less");
	}
	world_submit(w, NBD_CMD_WRITE, 0, 4096, 100000);
	world_settle(w, 2000);
	for (unsigned n = 0; n < 2; n++)
		fake_server_return(s[n]);
	is_int(volume_spare(w->v), spare_by_hand(w),
	       "and one that is back but was not filled is not one more");
	do {
		wrong += volume_spare(w->v) != spare_by_hand(w);
		steps += volume_spare(w->v) < (int)g->m;
	} while (world_step(w) || rebuilt(w) == UINT32_MAX);
	ok(steps > 10, "while shards are rebuilt it is less");
	is_int(wrong, 0, "as counted by hand at each step");
	is_int(volume_spare(w->v), (int)g->m, "then all may be lost again");
	for (unsigned n = 0; n <= g->m; n++)
		fake_server_break(&w->cluster.servers[w->map[0].shard[n].server - 1], false);
	is_int(volume_spare(w->v), -1, "with one more than that gone, it cannot be read");
	is_int(end(w), 0, "and is whole in the end");
}

/*
 * What was flushed with the shard, and never committed, is listed by all but the new slot when
 * volmgr dies just after the rebuild.
 */
static void flushed_before(void)
{
	struct world *w = begin(&g42, 6);
	struct fake_server *s;

	world_do(w, NBD_CMD_WRITE, 0, 0, 200000); /* little: much is committed at once */
	world_do(w, NBD_CMD_FLUSH, 0, 0, 0);
	s = &w->cluster.servers[w->map[0].shard[g42.k].server - 1];
	fake_server_break(s, false);
	world_do(w, NBD_CMD_WRITE, 0, 4096, 100000);
	world_do(w, NBD_CMD_FLUSH, 0, 0, 0);
	fake_server_return(s);
	world_settle(w, 0);
	is_int(stale_shards(w), 0, "a shard is rebuilt before anything was committed by time");
	world_kill(w);
	world_open(w);
	world_settle(w, 0);
	is_int(end(w), 0, "what was flushed before is still there after a kill");
}

/* What was never written is neither read nor written. */
static void thin(const struct world_geometry *g)
{
	struct world *w = begin(g, 7);
	struct rebuild_stat st;
	struct fake_server *s;

	world_do(w, NBD_CMD_WRITE, 0, 0, 100000);
	world_do(w, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 3 << 20, 4096);
	s = &w->cluster.servers[w->map[0].shard[g->k].server - 1];
	fake_server_break(s, true);
	world_do(w, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 8192, 4096);
	fake_server_return(s);
	ok(rebuilt(w) != UINT32_MAX, "an extent with little in it is rebuilt");
	volume_rebuild_stat(w->v, &st);
	ok(st.moved_bytes > 0 && st.moved_bytes <= 5 * (g->k + 1) * (256u << 10) &&
		   st.skipped_bytes >= WEFT_SHARD_BYTES / 2,
	   "and only what is in it is moved");
	is_int(end(w), 0, "nothing is missed");
}

/* Many units go in one piece. */
static void in_runs(void)
{
	struct world *w = begin(&(struct world_geometry){4, 2, 16 << 10, 7, 18 << 20}, 8);
	struct fake_server *s = NULL;
	uint64_t reads;

	fill(w);
	for (int e = 0; e < w->nmap; e++) /* which is full */
		if (w->map[e].extent == 0)
			s = &w->cluster.servers[w->map[e].shard[0].server - 1];
	fake_server_break(s, false);
	world_do(w, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 0, 4096);
	is_int(stale_shards(w), 1, "a shard of a full extent is stale");
	reads = w->cluster.calls[NBD_CMD_READ];
	fake_server_return(s);
	ok(rebuilt(w) != UINT32_MAX, "a shard of small units is rebuilt");
	reads = w->cluster.calls[NBD_CMD_READ] - reads;
	ok(reads >= 64 && reads <= 80, "in pieces of 256 KiB");
	is_int(end(w), 0, "and is right");
}

/* One row of one extent is lost for good: it keeps nobody else from being rebuilt. */
static void undecodable(void)
{
	struct world *w = begin(&g42, 9);
	struct rebuild_stat st;
	struct fake_server *s;
	struct fake_slot *slot[2];

	fill(w);
	s = &w->cluster.servers[w->map[0].shard[5].server - 1];
	fake_server_break(s, false);
	world_do(w, NBD_CMD_WRITE, 0, 4096, 100000);
	world_do(w, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, w->size - 4096, 4096);
	for (unsigned i = 0; i < 2; i++) {
		struct shard_place *p = &w->map[0].shard[i];

		slot[i] = &w->cluster.servers[p->server - 1].slots[p->slot];
		slot[i]->bad[7] = 1;
	}
	fake_server_return(s);
	world_settle(w, 30000);
	volume_rebuild_stat(w->v, &st);
	is_int((long long)st.shards, 1, "an extent that cannot be decoded holds up no other");
	is_int((long long)st.lost, 1, "it is counted");
	slot[0]->bad[7] = 0; /* as from a backup */
	world_settle(w, 700000);
	volume_rebuild_stat(w->v, &st);
	is_int((long long)(st.shards + st.lost), 0, "and is rebuilt when it can be decoded again");
	is_int(end(w), 0, "nothing is wrong then");
}

/* The same, but for a server that is away: when that is back, it is not waited for long. */
static void undecodable_for_now(void)
{
	struct world *w = begin(&g42, 10);
	struct fake_server *s, *away;
	struct shard_place *bad;
	struct rebuild_stat st;

	world_do(w, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 0, 1 << 20);
	bad = &w->map[0].shard[0];
	away = &w->cluster.servers[w->map[0].shard[1].server - 1];
	s = &w->cluster.servers[w->map[0].shard[5].server - 1];
	fake_server_break(s, false);
	world_do(w, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 4096, 100000);
	w->cluster.servers[bad->server - 1].slots[bad->slot].bad[7] = 1;
	fake_server_break(away, false);
	fake_server_return(s);
	world_settle(w, 25000);
	volume_rebuild_stat(w->v, &st);
	is_int((long long)st.shards, 1, "an extent cannot be decoded while a server is away");
	is_int((long long)st.lost, 0, "which does not count as lost");
	fake_server_return(away);
	ok(rebuilt(w) <= 12000, "it is rebuilt when that is back");
	is_int(end(w), 0, "and is right");
}

/* Extents made while a server is away have no slot there. */
static void without_slot(void)
{
	struct world *w = begin(&(struct world_geometry){4, 2, 64 << 10, 6, 18 << 20}, 2);

	fake_server_break(&w->cluster.servers[5], false);
	fill(w);
	world_settle(w, 1000);
	is_int(stale_shards(w), 2, "two extents are placed with a shard missing");
	is_int(end(w), 0, "the missing shards are made when the server comes");
}

/* Its rebuild breaks at each step, with writes going on; now and then volmgr dies too. */
static void every_step(const struct world_geometry *g, bool crash, bool kill)
{
	unsigned wrong = 0;

	for (int step = 1; step < 40; step += 1 + step / 8) {
		struct world *w = begin(g, 200 + (uint64_t)step);
		struct fake_server *s = &w->cluster.servers[1], *other = &w->cluster.servers[3];
		unsigned before = wrong;

		fill(w);
		fake_server_break(s, crash);
		for (int i = 0; i < 6; i++)
			load_round(w);
		world_settle(w, 500);
		fake_server_return(s);
		(step % 2 == 0 ? s : other)->break_after = step;
		(step % 2 == 0 ? s : other)->break_crash = crash;
		for (int i = 0; i < 10; i++)
			load_round(w);
		if (kill) {
			world_settle(w, 0);
			/* what waits for a server is not flushed */
			if (world_inflight(w) > 0 || world_do(w, NBD_CMD_FLUSH, 0, 0, 0) != 0)
				for (uint64_t b = 0; b < w->size; b++)
					w->known[b] &= !w->touched[b];
			world_kill(w);
			for (unsigned n = 0; crash && n < w->cluster.n; n++)
				fake_server_break(&w->cluster.servers[n], true);
			all_back(w);
			world_open(w);
		}
		wrong += end(w);
		if (wrong > before)
			diag("step %d", step);
	}
	is_int(wrong, 0, "a rebuild that breaks at any step leaves nothing wrong, and ends");
}

/* Stale shards on m servers, writes below the minimum wait; then the rebuild lets them go on. */
static void double_failure(void)
{
	struct world *w = begin(&g42, 3);
	struct world_req *r;

	fill(w);
	fake_server_break(&w->cluster.servers[1], true);
	world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20);
	fake_server_break(&w->cluster.servers[2], true);
	r = world_submit(w, NBD_CMD_WRITE, 0, 0, 1 << 20);
	world_settle(w, 2000);
	ok(r->busy, "with m servers away a write waits");
	fake_server_return(&w->cluster.servers[1]);
	world_settle(w, 2000);
	ok(!r->busy && r->error == 0,
	   "it goes on when one is rebuilt, though the other stays away");
	is_int(end(w), 0, "and everything is whole in the end");
}

/* A server is lost while a write is in doubt there, and one with stale shards comes back. */
static void doubt(uint64_t seed)
{
	struct world *w = begin(&g42, seed);

	fill(w);
	fake_server_break(&w->cluster.servers[1], true);
	world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20);
	for (int i = 0; i < 8; i++)
		load_request(w);
	w->cluster.servers[2].break_after = 1 + (int)fake_below(&w->env, 10);
	for (uint32_t n = fake_below(&w->env, 60); n > 0; n--)
		world_step(w);
	fake_server_return(&w->cluster.servers[1]);
	world_settle(w, 5000);
	is_int(world_inflight(w), 0, "everything goes on with the one that came back");
	is_int(end(w), 0, "and everything is whole in the end");
}

/*
 * The metadata has it that a rebuilt shard is good, its server does not say that it knows. Another
 * one goes, which may not be given up for it; then the first server goes, with all that it has.
 */
static void counted_upon(bool crash)
{
	struct world *w = begin(&(struct world_geometry){2, 1, 64 << 10, 3, 8 << 20}, 10);
	struct fake_server *s, *other;
	struct world_req *r[2];

	fill(w);
	s = &w->cluster.servers[w->map[0].shard[2].server - 1];
	other = &w->cluster.servers[w->map[0].shard[1].server - 1];
	fake_server_break(s, false);
	world_do(w, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 0, 1 << 20);
	is_int(w->map[0].stale, 1 << 2, "a shard misses a write");
	fake_server_return(s);
	while (w->map[0].stale != 0 && world_step(w))
		;
	is_int(w->map[0].stale, 0, "it is rebuilt");
	s->hung = true;
	fake_server_break(other, false);
	r[0] = world_submit(w, NBD_CMD_READ, 0, 64 << 10, 4096);
	r[1] = world_submit(w, NBD_CMD_WRITE, 0, 4 << 20, 1 << 20);
	world_settle(w, 1000);
	ok(r[0]->busy && r[1]->busy, "what needs it waits for it, the other one being away");
	fake_server_break(s, crash);
	s->hung = false;
	world_settle(w, 1000);
	ok(r[0]->busy && r[1]->busy, "and still when it goes away itself");
	is_int(w->map[0].stale, 0, "neither is given up");
	fake_server_return(s);
	world_settle(w, 1000);
	ok(!r[0]->busy && !r[1]->busy && w->errors == 0 && w->mismatches == 0,
	   "when it is back, everything goes on");
	is_int(end(w), 0, "and everything is whole in the end");
}

static void on_moved(void *arg, int err)
{
	*(int *)arg = err;
}

static void moves(void)
{
	struct world *w = begin(&g42, 4);
	uint32_t old, to;
	int moved = 1;

	fill(w);
	old = w->map[0].shard[2].server;
	to = free_server(w, &w->map[0]);
	volume_move_shard(w->v, w->map[0].extent, 2, to, on_moved, &moved);
	world_submit(w, NBD_CMD_WRITE, 0, 0, 1 << 20);
	world_settle(w, 0);
	is_int(moved, 0, "a shard moves");
	ok(rebuilt(w) != UINT32_MAX, "and is rebuilt there");
	is_int(w->map[0].shard[2].server, to, "on the new server");
	is_int(fake_cluster_slots(&w->cluster), (unsigned)w->nmap * 6,
	       "the old slot is given back");
	moved = 1;
	volume_move_shard(w->v, w->map[0].extent, 2, w->map[0].shard[1].server, on_moved, &moved);
	is_int(moved, -EBUSY, "not to a server that has another of its shards");
	fake_server_break(&w->cluster.servers[w->map[0].shard[0].server - 1], false);
	fake_server_break(&w->cluster.servers[w->map[0].shard[1].server - 1], false);
	volume_move_shard(w->v, w->map[0].extent, 2, old, on_moved, &moved);
	is_int(moved, -EBUSY, "not when too few good shards would be left");
	ok(!volume_distrust_shard(w->v, w->map[0].extent, 2), "nor is it distrusted then");
	all_back(w);
	world_settle(w, 1000);
	ok(volume_distrust_shard(w->v, w->map[0].extent, 2), "a shard is distrusted");
	is_int(end(w), 0, "and everything is whole in the end");
}

/* A full server does not keep the others from being rebuilt. */
static void one_full(void)
{
	struct world *w = begin(&g42, 5);

	fill(w);
	volume_set_min(w->v, 4, false);
	fake_server_break(&w->cluster.servers[1], true);
	fake_server_break(&w->cluster.servers[2], true);
	world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20);
	w->cluster.servers[1].full = true;
	fake_server_return(&w->cluster.servers[1]);
	fake_server_return(&w->cluster.servers[2]);
	world_settle(w, 3000);
	is_int(stale_shards(w), 1, "one is rebuilt, the one on the full server is not");
	is_int(end(w), 0, "until there is room");
}

/* What a store was at some moment. */
struct backup {
	struct fake_slot slots[FAKE_SLOTS];
	uint32_t next_gen;
	uint64_t committed;
};

static void backup_take(struct backup *b, const struct fake_server *s)
{
	memcpy(b->slots, s->slots, sizeof(b->slots));
	b->next_gen = s->next_gen;
	b->committed = s->committed_durable;
	for (unsigned i = 0; i < FAKE_SLOTS; i++) {
		if (b->slots[i].data == NULL)
			continue;
		b->slots[i].data = malloc(WEFT_SHARD_BYTES);
		memcpy(b->slots[i].data, s->slots[i].data, WEFT_SHARD_BYTES);
	}
}

/* It is off, without anything prepared. */
static void backup_put_back(struct backup *b, struct fake_server *s)
{
	for (unsigned i = 0; i < FAKE_SLOTS; i++)
		free(s->slots[i].data);
	memcpy(s->slots, b->slots, sizeof(b->slots));
	s->next_gen = b->next_gen;
	s->committed = s->committed_durable = b->committed;
	s->peer.older++;
}

/* n stores come back as they were before all of it was written anew. */
static void older_stores(const struct world_geometry *g, unsigned n, bool restart)
{
	struct world *w = begin(g, 11 + n);
	struct backup *b = calloc(n, sizeof(*b));
	unsigned before;

	fill(w);
	world_do(w, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 0, 4 << 20);
	world_settle(w, 3000); /* all is committed */
	for (unsigned i = 0; i < n; i++) {
		fake_server_log(&w->cluster.servers[i]);
		backup_take(&b[i], &w->cluster.servers[i]);
	}
	fill(w);
	world_settle(w, 3000);
	if (restart)
		world_close(w);
	for (unsigned i = 0; i < n; i++) {
		fake_server_log(&w->cluster.servers[i]);
		fake_server_break(&w->cluster.servers[i], true);
		backup_put_back(&b[i], &w->cluster.servers[i]);
	}
	for (unsigned i = 0; i < n; i++)
		fake_server_return(&w->cluster.servers[i]);
	if (restart)
		world_open(w);
	if (n <= g->m) {
		ok(rebuilt(w) != UINT32_MAX, "what an older store has is made anew");
		world_check_all(w);
		is_int(w->mismatches, 0, "and what clients read is not old");
		for (unsigned i = 0; i < g->m; i++) /* others: it must be read */
			fake_server_break(&w->cluster.servers[n + i], true);
		world_check_all(w);
		is_int(w->mismatches, 0, "not from there either");
		is_int(end(w), 0, "everything is whole in the end");
	} else {
		world_settle(w, 2000);
		before = w->answered;
		for (uint64_t at = 0; at + (1 << 20) <= w->size; at += 1 << 20)
			world_submit(w, NBD_CMD_READ, 0, at, 1 << 20);
		world_settle(w, 5000);
		ok(w->mismatches == 0 && w->errors == 0,
		   "with too many older stores nothing old is read");
		ok(world_inflight(w) > 0 || w->answered > before, "what needs them waits");
		world_kill(w);
		world_free(w);
		free(w);
	}
	free(b);
}

/*
 * Two shards are rebuilt, and not settled, when the server of another goes: its mark does not
 * become durable before theirs are gone. Else volmgr, were it to die, would trust one shard.
 */
static unsigned unsettled(uint64_t seed)
{
	static const struct world_geometry g22 = {2, 2, 64 << 10, 4, 2 * WEFT_SHARD_BYTES};
	struct world *w = begin(&g22, seed);
	struct fake_server *s[4];
	const struct extent *x;
	unsigned most = 0;

	volume_set_min(w->v, 2, false);
	fill(w);
	for (unsigned i = 0; i < 4; i++)
		s[i] = &w->cluster.servers[w->map[0].shard[i].server - 1];
	fake_server_break(s[2], false);
	fake_server_break(s[3], false);
	world_do(w, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 0, 100000);
	fake_server_return(s[2]);
	fake_server_return(s[3]);
	x = extent_next(w->v, 0);
	for (unsigned n = 0; n < 100000 && (x->rebuild == NULL || rebuild_complete(x) == 0); n++)
		if (!world_step(w))
			world_settle(w, 1);
	if (x->rebuild == NULL || rebuild_complete(x) != 0xc)
		diag("seed %llu: not rebuilt together", (unsigned long long)seed);
	s[2]->hung = true; /* it does not flush */
	fake_server_break(s[1], false);
	world_submit(w, NBD_CMD_WRITE, 0, 0, 200000);
	world_submit(w, NBD_CMD_FLUSH, 0, 0, 0);
	for (unsigned n = 0; n < 200; n++) {
		if (n == 150)
			s[2]->hung = false;
		world_settle(w, 10);
		if (stale_shards(w) > most)
			most = stale_shards(w);
	}
	return end(w) + (most > 2 ? 1000 : 0);
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	unsigned wrong = 0;

	diag("seed %llu", (unsigned long long)seed);
	comes_back(&g42, false);
	comes_back(&g42, true);
	comes_back(&g12, true);
	without_slot();
	spare(&g42);
	spare(&g12);
	flushed_before();
	thin(&g42);
	thin(&g12);
	in_runs();
	undecodable();
	undecodable_for_now();
	older_stores(&g42, 1, false);
	older_stores(&g42, 2, false);
	older_stores(&g42, 2, true);
	older_stores(&g12, 1, true);
	older_stores(&g42, 4, false);
	double_failure();
	for (uint64_t n = 0; n < 6; n++)
		doubt(seed * 100 + n);
	for (uint64_t n = 0; n < 12; n++)
		wrong += unsettled(seed * 100 + n);
	is_int(wrong, 0, "no more than m shards are marked while rebuilt ones are unsettled");
	counted_upon(false);
	counted_upon(true);
	moves();
	one_full();
	every_step(&g42, false, false);
	every_step(&g42, true, false);
	every_step(&g42, true, true);
	every_step(&g12, true, false);
	return done_testing();
}
