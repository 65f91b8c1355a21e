/*
 * Writes go on without a server: at every step at which it can go, down to the least number of good
 * shards, and no further. The mark that a shard misses something is durable before anybody is told
 * that a write is done.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>

#include "stripe-load.h"
#include "stripe/rebuild.h"
#include "tap.h"

const char *__asan_default_options(void); /* a killed engine's memory is given up */
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

static const struct world_geometry g42 = {4, 2, 64 << 10, 6, 20 << 20};
static const struct world_geometry g21 = {2, 1, 16 << 10, 3, 12 << 20};
static const struct world_geometry g11 = {1, 1, 16 << 10, 2, 8 << 20};
static const struct world_geometry g22 = {2, 2, 64 << 10, 4, 8 << 20};

static const struct world_geometry g12 = {1, 2, 16 << 10, 3, 12 << 20};
static const struct world_geometry g20 = {2, 0, 16 << 10, 2, 10 << 20};

static struct world *begin(const struct world_geometry *g, uint64_t seed)
{
	struct world *w = calloc(1, sizeof(*w));

	world_init(w, g, seed);
	world_open(w);
	world_settle(w, 0);
	return w;
}

static unsigned stale_extents(const struct world *w)
{
	unsigned n = 0;

	for (int i = 0; i < w->nmap; i++)
		n += w->map[i].stale != 0;
	return n;
}

static void end(struct world *w, const char *what)
{
	char name[160];

	for (unsigned n = 0; n < w->cluster.n; n++) {
		w->cluster.servers[n].break_after = 0;
		fake_server_return(&w->cluster.servers[n]);
	}
	world_settle(w, 5000);
	snprintf(name, sizeof(name), "%s: nothing stays stale", what);
	is_int(stale_extents(w), 0, name);
	snprintf(name, sizeof(name), "%s: every request was answered", what);
	is_int(world_inflight(w), 0, name);
	world_check_all(w);
	snprintf(name, sizeof(name), "%s: every read is right", what);
	is_int(w->mismatches, 0, name);
	world_close(w);
	snprintf(name, sizeof(name), "%s: parity fits the data", what);
	is_int(world_check_parity(w), 0, name);
	snprintf(name, sizeof(name), "%s: the servers have nothing to complain about", what);
	is_int(w->cluster.violations, 0, name);
	world_free(w);
	free(w);
}

static unsigned ms_for(struct world *w, uint16_t type, uint64_t offset, uint32_t len, int *error)
{
	uint64_t start = w->env.now_ns;

	*error = world_do(w, type, 0, offset, len);
	return (unsigned)((w->env.now_ns - start) / NS_PER_MS);
}

static void one_away(const struct world_geometry *g, bool crash)
{
	struct world *w = begin(g, 1);
	int error;
	unsigned ms;

	world_do(w, NBD_CMD_WRITE, 0, 0, 8 << 20);
	fake_server_break(&w->cluster.servers[1], crash);
	ms = ms_for(w, NBD_CMD_WRITE, 4096, 1 << 20, &error);
	is_int(error, 0, "a write goes on without a server");
	ok(ms >= 300 && ms < 1000, "when it had time to come back, and within a second");
	ok(stale_extents(w) > 0, "a shard is marked, durably");
	ms = ms_for(w, NBD_CMD_WRITE, 4096, 1 << 20, &error);
	ok(error == 0 && ms == 0, "the next one does not wait");
	ms = ms_for(w, NBD_CMD_FLUSH, 0, 0, &error);
	ok(error == 0 && ms < 1000, "nor does a flush");
	ms = ms_for(w, NBD_CMD_WRITE, w->size - (1 << 20), 1 << 20, &error);
	ok(error == 0 && ms < 1000, "an extent is placed without it");
	ms = ms_for(w, NBD_CMD_TRIM, 0, 8 << 20, &error);
	ok(error == 0 && ms < 1000, "space is given back without it");
	end(w, "one server away");
}

static void short_break(void)
{
	struct world *w = begin(&g42, 2);

	world_do(w, NBD_CMD_WRITE, 0, 0, 8 << 20);
	for (int i = 0; i < 20; i++) {
		fake_server_break(&w->cluster.servers[1], false);
		world_submit(w, NBD_CMD_WRITE, 0, 0, 1 << 20);
		world_settle(w, 200);
		fake_server_return(&w->cluster.servers[1]);
		world_settle(w, 0);
	}
	is_int(stale_extents(w), 0, "a connection that comes back in time leaves nothing stale");
	end(w, "short breaks");
}

static void below_min(void)
{
	struct world *w = begin(&g42, 3);
	struct world_req *r;
	int error;

	world_do(w, NBD_CMD_WRITE, 0, 0, 8 << 20);
	world_do(w, NBD_CMD_FLUSH, 0, 0, 0);
	fake_server_break(&w->cluster.servers[1], false);
	fake_server_break(&w->cluster.servers[2], false);
	r = world_submit(w, NBD_CMD_WRITE, 0, 0, 1 << 20);
	world_settle(w, 5000);
	ok(r->busy, "below the least number of good shards a write waits");
	is_int(stale_extents(w), 0, "and nothing is marked");
	volume_set_min(w->v, 0, true);
	world_settle(w, 0);
	ok(!r->busy && r->error == EIO, "or fails, when the volume says so");
	volume_set_min(w->v, 4, false);
	ms_for(w, NBD_CMD_WRITE, 0, 1 << 20, &error);
	is_int(error, 0, "or goes on, when the volume allows that");
	ok(stale_extents(w) > 0, "with marks");
	ms_for(w, NBD_CMD_FLUSH, 0, 0, &error);
	is_int(error, 0, "a flush too");
	fake_server_break(&w->cluster.servers[3], false);
	r = world_submit(w, NBD_CMD_WRITE, 0, 0, 1 << 20);
	world_settle(w, 5000);
	ok(r->busy, "without k good shards nothing goes on");
	end(w, "below the minimum");
}

/* Until nothing is stale, or for so long. */
static bool rebuilt(struct world *w)
{
	for (int i = 0; i < 600 && stale_extents(w) > 0; i++)
		world_settle(w, 100);
	return stale_extents(w) == 0;
}

static unsigned moves_open;

static void moved(void *arg, int err)
{
	(void)arg;
	(void)err;
	moves_open--;
}

/* What was on servers that are away goes to others, as after their time is over. */
static void move_away(struct world *w)
{
	for (int e = 0; e < w->nmap; e++)
		for (unsigned i = 0; i < w->config.k + w->config.m; i++) {
			uint32_t to = 1, used = 0;

			if (w->cluster.servers[w->map[e].shard[i].server - 1].peer.up)
				continue;
			for (unsigned n = 0; n < w->config.k + w->config.m; n++)
				used |= 1u << w->map[e].shard[n].server;
			while ((used >> to & 1) != 0 || !w->cluster.servers[to - 1].peer.up)
				to++;
			moves_open++;
			volume_move_shard(w->v, w->map[e].extent, i, to, moved, w);
			for (int n = 0; n < 100 && moves_open > 0; n++)
				world_settle(w, 100);
		}
}

/*
 * As many servers as the volume can lose go at once, for good, with writes on them that were
 * acknowledged and not flushed, and some half done. k are left: enough for what was written, too
 * few for what is to come.
 */
static void m_at_once(bool fail, bool load)
{
	const struct world_geometry g = {4, 2, 64 << 10, 9, 20 << 20};
	unsigned wrong = 0, waited = 0;

	for (int step = 1; step < (load ? 20 : 2); step++) {
		struct world *w = begin(&g, 40 + (uint64_t)step);
		struct fake_server *gone[2];
		int error;

		volume_set_min(w->v, 0, fail);
		world_do(w, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 0, 4 << 20);
		for (unsigned i = 0; i < 2; i++)
			gone[i] = &w->cluster.servers[w->map[0].shard[i * 4].server - 1];
		world_do(w, NBD_CMD_WRITE, 0, 4096, 8 << 20);
		for (unsigned i = 0; i < 2; i++) {
			gone[i]->break_after = load ? step : 0;
			gone[i]->break_crash = true;
		}
		for (int i = 0; i < (load ? 10 : 0); i++)
			load_round(w);
		for (unsigned i = 0; i < 2; i++)
			fake_server_break(gone[i], true);
		world_settle(w, 1500);
		waited += world_inflight(w);
		ms_for(w, NBD_CMD_FLUSH, 0, 0, &error);
		wrong += error != 0;
		if (error != 0)
			diag("step %d: flush: %d", step, error);
		move_away(w);
		if (!rebuilt(w) || world_inflight(w) > 0) {
			diag("step %d: %u extents stale, %u wait", step, stale_extents(w),
			     world_inflight(w));
			wrong++;
		}
		world_check_all(w);
		wrong += w->mismatches + w->cluster.violations + (fail ? 0 : w->errors);
		for (unsigned n = 0; n < w->cluster.n; n++)
			fake_server_return(&w->cluster.servers[n]);
		world_close(w);
		wrong += world_check_parity(w);
		world_free(w);
		free(w);
	}
	is_int(wrong, 0,
	       "m servers go with unflushed writes: a flush ends, and what they had is made anew");
	if (load && !fail)
		ok(waited > 0, "while writes wait");
}

/* The server goes after so many calls, for good; a load runs. */
static void every_step(const struct world_geometry *g, bool crash)
{
	unsigned waited = 0, marked = 0;

	for (int step = 1; step < 40; step++) {
		struct world *w = begin(g, 100 + (uint64_t)step);
		struct fake_server *s = &w->cluster.servers[step % (int)g->servers];

		for (int i = 0; i < 10; i++)
			load_round(w);
		s->break_after = step;
		s->break_crash = crash;
		for (int i = 0; i < 40; i++)
			load_round(w);
		world_settle(w, 800);
		waited += world_inflight(w);
		marked += stale_extents(w) > 0;
		if (world_do(w, NBD_CMD_FLUSH, 0, 0, 0) != 0)
			waited++;
		world_check_all(w);
		if (waited > 0)
			diag("step %d", step);
		waited += w->mismatches + w->errors + w->cluster.violations;
		world_close(w);
		waited += world_check_parity(w);
		world_free(w);
		free(w);
	}
	is_int(waited, 0, "a server goes at any step: all is answered, right, and durable");
	ok(marked > 20, "it was missed");
}

/* Servers are lost one after the other, with everything that was not flushed; then all stop. */
static void in_turn(uint64_t seed)
{
	struct world *w = begin(&g42, seed);

	for (int i = 0; i < 60; i++)
		load_round(w);
	for (unsigned n = 0; n < w->config.m; n++) {
		fake_server_break(&w->cluster.servers[n], true);
		for (int i = 0; i < 3; i++)
			load_round(w);
		fake_server_return(&w->cluster.servers[n]);
		for (int i = 0; i < 3; i++)
			load_round(w);
	}
	end(w, "m servers crash in turn, nothing was flushed");
}

/* A server owes answers for long: reads do without it. */
static void slow_server(const struct world_geometry *g, bool breaks)
{
	struct world *w = begin(g, 7);
	struct fake_server *s;
	struct volume_stat st;
	int error;
	unsigned ms;

	world_do(w, NBD_CMD_WRITE, 0, 0, 4 << 20);
	s = &w->cluster.servers[w->map[0].shard[0].server - 1];
	s->hung = true;
	ms = ms_for(w, NBD_CMD_READ, 0, 1 << 20, &error);
	ok(error == 0 && ms >= 50 && ms < 100, "a read does not wait for a server that is slow");
	ms = ms_for(w, NBD_CMD_READ, 100, 4096, &error);
	ok(error == 0 && ms == 0, "the next one leaves it out at once");
	volume_stat(w->v, &st);
	ok(st.hedged_reads >= 2, "they are counted");
	is_int((intmax_t)st.degraded_reads, 0, "and not as reads of what is not there");
	is_int(w->mismatches, 0, "what was computed is right");
	world_submit(w, NBD_CMD_WRITE, 0, 0, 1 << 20); /* this one waits */
	world_settle(w, 50);
	is_int(world_inflight(w), 1, "a write waits for it");
	if (breaks)
		fake_server_break(s, true);
	s->hung = false;
	world_settle(w, breaks ? 500 : 0);
	is_int(world_inflight(w), 0, "until it answers, or is gone");
	fake_server_return(s);
	world_settle(w, 100);
	ms = ms_for(w, NBD_CMD_READ, 0, 1 << 20, &error);
	ok(error == 0 && ms == 0, "then it is read again");
	end(w, "a slow server");
}

/* An answer that is on its way to the client stays as it is, whatever the slow server sends. */
static void slow_server_late(const struct world_geometry *g)
{
	struct world *w = begin(g, 8);
	struct fake_server *s;
	struct world_req *r;
	bool as_it_was = true;

	world_do(w, NBD_CMD_WRITE, 0, 0, 4 << 20);
	s = &w->cluster.servers[w->map[0].shard[0].server - 1];
	s->hung = true;
	r = world_submit(w, NBD_CMD_READ, 0, 0, 1 << 20);
	r->keep = true;
	world_settle(w, 100);
	ok(r->done && r->kept != NULL, "a read was answered without a slow server");
	if (r->kept != NULL) {
		memset(r->kept->data, 0xee, 1 << 20);
		s->hung = false;
		world_settle(w, 100);
		for (uint32_t i = 0; i < 1 << 20; i++)
			as_it_was &= r->kept->data[i] == 0xee;
		buf_put(r->kept);
	}
	r->kept = NULL;
	r->keep = false;
	ok(as_it_was, "what that one sends late is not written into the answer");
	end(w, "a late answer");
}

/* What was acknowledged is on fewer than k servers: a flush waits, and it can be told for whom. */
static void flush_below_k(void)
{
	struct world *w = begin(&g22, 1);
	struct world_req *flush;
	uint32_t waits[4];
	unsigned n = 0;

	world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20);
	for (unsigned shard = 0; shard < 3; shard++)
		fake_server_break(&w->cluster.servers[w->map[0].shard[shard].server - 1], false);
	flush = world_submit(w, NBD_CMD_FLUSH, 0, 0, 0);
	world_settle(w, 3000);
	ok(!flush->done, "a flush waits while fewer than k servers have what was written");
	n = volume_waits_for(w->v, waits, 4);
	is_int(n, 3, "and those that are away are named");
	fake_server_return(&w->cluster.servers[w->map[0].shard[1].server - 1]);
	world_settle(w, 1000);
	ok(flush->done && flush->error == 0, "k are enough for it");
	end(w, "a flush that waits");
}

/*
 * Fewer than k servers are left, with a write to be undone that reached some of those that are
 * away, and a read that waits for them: flushes fail, as the volume says, again and again but not
 * at once.
 */
static void below_min_fails(uint64_t seed)
{
	struct world *w = begin(&g22, seed);
	struct world_req *r, *read;

	volume_set_min(w->v, 0, true);
	world_do(w, NBD_CMD_WRITE, 0, 0, 4 << 20);
	world_do(w, NBD_CMD_FLUSH, 0, 0, 0);
	world_do(w, NBD_CMD_WRITE, 0, 1 << 20, 4096);
	r = world_submit(w, NBD_CMD_WRITE, 0, 0, 4096);
	for (unsigned n = 0; n < 6 && !r->done; n++)
		world_step(w);
	for (unsigned shard = 0; shard < 3; shard++)
		fake_server_break(&w->cluster.servers[w->map[0].shard[shard].server - 1], false);
	read = world_submit(w, NBD_CMD_READ, 0, 256 << 10, 4096);
	world_settle(w, 1000);
	is_int(world_do(w, NBD_CMD_FLUSH, 0, 0, 0), EIO, "a flush fails while too few are there");
	ok(!read->done, "a read waits for them");
	end(w, "flushes that fail");
}

/*
 * One server has lost its power and nobody knows, another cannot be reached: it alone has what was
 * acknowledged and may not be left out for the one that looks as if it were up.
 */
static void dead_unnoticed(const struct world_geometry *g)
{
	struct world *w = begin(g, 1);
	struct fake_server *dead = &w->cluster.servers[0], *away = &w->cluster.servers[1];

	world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20);
	world_do(w, NBD_CMD_FLUSH, 0, 0, 0);
	is_int(world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20), 0, "a write, not flushed");
	dead->hung = true;
	fake_server_break(away, false);
	world_submit(w, NBD_CMD_WRITE, 0, 1 << 20, 64 << 10);
	world_submit(w, NBD_CMD_FLUSH, 0, 0, 0);
	world_settle(w, 5000);
	is_int(stale_extents(w), 0, "nothing is marked before the others say that they have it");
	dead->hung = false;
	fake_server_break(dead, true);
	world_settle(w, 1000);
	fake_server_return(dead);
	world_settle(w, 1000);
	end(w, "a server that was dead and another that was away");
}

static struct fake_server *server_of(struct world *w, int extent, unsigned shard)
{
	return &w->cluster.servers[w->map[extent].shard[shard].server - 1];
}

/* The others have confirmed what they had when one extent left a server out; another extent has
 * been written since, and one of them dies before it leaves that server out, too. */
static void dead_since(void)
{
	struct world *w = begin(&g21, 2);
	uint64_t second = 2 * WEFT_SHARD_BYTES;
	struct fake_server *dead, *away;

	world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20);
	world_do(w, NBD_CMD_WRITE, 0, second, 1 << 20);
	world_do(w, NBD_CMD_FLUSH, 0, 0, 0);
	away = server_of(w, 1, 0);
	dead = server_of(w, 1, 1);
	fake_server_break(away, false);
	world_settle(w, 400);
	is_int(world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20), 0, "an extent leaves a server out");
	is_int(stale_extents(w), 1, "which is marked there");
	world_do(w, NBD_CMD_FLUSH, 0, 0, 0);
	is_int(world_do(w, NBD_CMD_WRITE, 0, second + g21.unit, g21.unit), 0,
	       "a write of another extent does not need it");
	dead->hung = true;
	world_submit(w, NBD_CMD_WRITE, 0, second, g21.unit);
	world_settle(w, 5000);
	is_int(stale_extents(w), 1, "one that does waits until the others say what they have");
	fake_server_break(dead, true);
	dead->hung = false;
	world_settle(w, 1000);
	fake_server_return(dead);
	world_settle(w, 1000);
	fake_server_return(away);
	end(w, "a server that is away and another that died since");
}

/* A server says that it has a write, and is gone with it before the other has said so. */
static void gone_before_answer(void)
{
	struct world *w = begin(&g21, 1);
	struct fake_server *data, *parity;
	struct world_req *r;

	world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20);
	world_do(w, NBD_CMD_FLUSH, 0, 0, 0);
	data = &w->cluster.servers[w->map[0].shard[0].server - 1];
	parity = &w->cluster.servers[w->map[0].shard[2].server - 1];
	parity->hung = true;
	r = world_submit(w, NBD_CMD_WRITE, 0, 0, 4096);
	while (world_step(w))
		;
	fake_server_break(data, true);
	parity->hung = false;
	world_settle(w, 100);
	ok(!r->done, "a write is not acknowledged of which a server that is gone had a part");
	fake_server_return(data);
	world_settle(w, 1000);
	ok(r->done && r->error == 0, "it is when that is back, and has been given it again");
	end(w, "a server that goes before an answer");
}

static void on_moved(void *arg, int err)
{
	*(int *)arg = err;
}

/* The same when the shard of the one that is away is to be made anew elsewhere. */
static void dead_at_move(void)
{
	struct world *w = begin(&(struct world_geometry){1, 1, 16 << 10, 3, 4 << 20}, 1);
	const struct extent_record *r;
	struct fake_server *dead, *away;
	int err = 1;

	world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20);
	world_do(w, NBD_CMD_FLUSH, 0, 0, 0);
	is_int(world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20), 0, "a write, not flushed");
	r = w->map;
	dead = &w->cluster.servers[r->shard[0].server - 1];
	away = &w->cluster.servers[r->shard[1].server - 1];
	dead->hung = true;
	fake_server_break(away, false);
	volume_move_shard(w->v, r->extent, 1, 6 - r->shard[0].server - r->shard[1].server, on_moved,
			  &err);
	world_settle(w, 5000);
	ok(stale_extents(w) == 0 && err == 1, "the move waits for the other server to answer");
	dead->hung = false;
	fake_server_break(dead, true);
	world_settle(w, 1000);
	fake_server_return(dead);
	world_settle(w, 1000);
	end(w, "a shard that was to be moved from a server that was away");
	ok(err != 1, "and then is done, or cannot be");
}

/* The power of all servers goes, or of so many that m are not enough; volmgr lives. */
static void rack(const struct world_geometry *g, uint64_t seed, unsigned servers)
{
	struct world *w = begin(g, seed);
	bool told = false;

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 25; i++)
			load_round(w);
		world_settle(w, 0);
		if (world_do(w, NBD_CMD_FLUSH, 0, 0, 0) != 0 || world_inflight(w) > 0)
			abort();
		memset(w->touched, 0, w->size);
		for (int i = 0; i < 12; i++)
			load_round(w);
		for (uint64_t b = 0; b < w->size; b++)
			w->known[b] &= !w->touched[b];
		for (int i = 0; i < WORLD_REQS; i++)
			if (w->reqs[i].busy && w->reqs[i].req.type == NBD_CMD_READ)
				memset(w->reqs[i].sure, 0, w->reqs[i].req.len);
		for (unsigned n = 0; n < servers; n++)
			fake_server_break(&w->cluster.servers[n], true);
		for (uint32_t n = fake_below(&w->env, 4); n > 0; n--)
			world_settle(w, 200);
		for (unsigned n = 0; n < w->cluster.n; n++) {
			fake_server_return(&w->cluster.servers[n]);
			for (uint32_t s = fake_below(&w->env, 30); s > 0; s--)
				world_step(w);
			if (fake_below(&w->env, 3) == 0)
				world_settle(w, fake_below(&w->env, 5) * 1000);
		}
		world_settle(w, 5000);
		for (uint64_t b = 0; b < w->size; b++) /* what came meanwhile, too */
			w->known[b] &= !w->touched[b];
		told |= world_do(w, NBD_CMD_FLUSH, 0, 0, 0) == EIO;
	}
	diag("%u servers of %u+%u%s", servers, g->k, g->m, told ? ": a flush failed" : "");
	w->errors = 0;
	end(w, "more servers than can be spared lose their memory");
}

/*
 * Everything is judged anew while a server is away that was sent a PREPARE: by its older connection
 * it gets that one when it has been judged, too.
 */
static void late_after_rack(void)
{
	struct world *w = begin(&g21, 3);
	struct fake_server *late = NULL, *rack[2];
	uint64_t fences;

	world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20);
	world_do(w, NBD_CMD_FLUSH, 0, 0, 0);
	world_settle(w, 2000);
	late = server_of(w, 0, 0);
	for (unsigned n = 0; n < 2; n++) {
		rack[n] = server_of(w, 0, 1 + n);
		fake_server_log(rack[n]);
	}
	world_do(w, NBD_CMD_WRITE, 0, 3 * g21.unit, g21.unit); /* not on the first */
	memset(w->known + 3 * g21.unit, 0, g21.unit);	       /* it will be lost */
	late->hung = late->keep_late = true;
	world_submit(w, NBD_CMD_WRITE, 0, 0, g21.unit);
	world_settle(w, 0);
	fake_server_break(late, false);
	late->hung = false;
	for (unsigned n = 0; n < 2; n++)
		fake_server_break(rack[n], true);
	for (unsigned n = 0; n < 2; n++)
		fake_server_return(rack[n]);
	world_settle(w, 100);
	fences = w->cluster.calls[8 + WEFT_CMD_FENCE - WEFT_CMD_PREPARE];
	fake_server_return(late);
	while (w->cluster.calls[8 + WEFT_CMD_FENCE - WEFT_CMD_PREPARE] == fences)
		if (!world_step(w))
			abort();
	is_int(fake_server_late(late), EINVAL, "what comes after a judgement comes too late");
	world_settle(w, 1000);
	end(w, "a PREPARE that was under way when all was judged anew");
}

#define BUFS_MAX 1024

/* All of the pool's memory; how many pieces. */
static unsigned take_memory(struct world *w, struct buf **bufs)
{
	unsigned n = 0;

	for (size_t len = 1 << 20; len >= 4096; len /= 2)
		while (n < BUFS_MAX && (bufs[n] = buf_get(w->pool, len)) != NULL)
			n++;
	return n;
}

/* A read is to be hedged, and there is no memory for that. */
static void hedge_without_memory(bool returns)
{
	struct world *w = begin(&g42, 9);
	struct fake_server *s;
	struct buf *bufs[BUFS_MAX];
	struct volume_stat st;
	unsigned n;

	world_do(w, NBD_CMD_WRITE, 0, 0, 4 << 20);
	s = &w->cluster.servers[w->map[0].shard[0].server - 1];
	s->hung = true;
	world_submit(w, NBD_CMD_READ, 0, 0, 256 << 10);
	world_settle(w, 1);
	n = take_memory(w, bufs);
	ok(n > 0 && n < BUFS_MAX, "all memory is taken");
	world_settle(w, 500);
	is_int(world_inflight(w), 1, "a read that cannot be hedged goes on waiting");
	s->hung = !returns;
	world_settle(w, 100);
	is_int(world_inflight(w), returns ? 0 : 1,
	       returns ? "until the server answers" : "and waiting");
	while (n > 0)
		buf_put(bufs[--n]);
	world_settle(w, 200);
	is_int(world_inflight(w), 0, "or there is memory again");
	volume_stat(w->v, &st);
	is_int((intmax_t)st.hedged_reads, returns ? 0 : 1, "it is hedged then, once");
	s->hung = false;
	world_settle(w, 100);
	is_int(w->errors, 0, "it does not fail");
	end(w, "no memory for a hedged read");
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;

	diag("seed %llu", (unsigned long long)seed);
	one_away(&g42, false);
	one_away(&g42, true);
	one_away(&g21, true);
	short_break();
	slow_server(&g42, false);
	slow_server(&g42, true);
	slow_server(&g12, false);
	slow_server_late(&g42);
	slow_server_late(&g12);
	gone_before_answer();
	dead_unnoticed(&g11);
	dead_unnoticed(&g21);
	dead_at_move();
	dead_since();
	late_after_rack();
	hedge_without_memory(false);
	hedge_without_memory(true);
	below_min();
	flush_below_k();
	for (uint64_t n = 0; n < 5; n++)
		below_min_fails(seed * 100 + n);
	m_at_once(false, false);
	m_at_once(true, false);
	m_at_once(false, true);
	m_at_once(true, true);
	every_step(&g42, false);
	every_step(&g42, true);
	every_step(&g21, true);
	for (uint64_t n = 0; n < 10; n++)
		in_turn(seed * 100 + n);
	for (uint64_t n = 0; n < 3; n++) {
		rack(&g42, seed * 100 + n, 6);
		rack(&g42, seed * 100 + n, 3);
		rack(&g21, seed * 100 + n, 3);
		rack(&g20, seed * 100 + n, 1);
	}
	return done_testing();
}
