/*
 * The story of a seed: which faults it has, when they happen, and that they stay within what the
 * invariant allows. t/sim/FAULTS says it in words.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "nbd/proto.h"
#include "sim.h"

#define ROUND_NS       (60 * NS_PER_S) /* of load and faults */
#define SCRUB_UNIT_MIN (64u << 10)     /* smaller ones make a scrub of an extent long */
#define WELL_NS	       NS_PER_S
#define SETTLE_NS      (120 * NS_PER_S) /* with everything whole again */

enum kind {
	RESET,	     /* a connection breaks */
	SCRUB,	     /* no fault: a scrub starts */
	ROT,	     /* data of the rotten server changes */
	SLOW,	     /* a disk is slow for a while */
	PARTITION,   /* volmgr and a server, or the client, do not hear each other */
	FREEZE,	     /* a server does not answer for a while */
	SERVER_KILL, /* a flaky server is killed, or loses power */
	SERVER_STOP, /* a server is restarted in order */
	IO_CUT,	     /* the same, at some I/O of it */
	MGR_KILL,
	MGR_STOP,    /* volmgr is restarted in order */
	MGR_REPLACE, /* it hangs, another takes over, it wakes up again */
	ALL_POWER,   /* volmgr and some servers, or all, lose power together */
	FULL,	     /* a server has no space left for a while */
	KINDS
};

struct faults {
	struct sim *sim;
	bool has[KINDS];
	bool on;
	uint64_t period_ns;
	unsigned left, heavy_left;	     /* faults of this round; of those the kills */
	uint64_t unwell_ns[SIM_SERVERS_MAX]; /* not heard of until then, or shortly before */
	uint32_t rotten;		     /* a server whose disk must not be believed */
	uint32_t away;			     /* servers that stay away for good */
	unsigned io_left;		     /* I/Os until the cut; 0: none */
	struct proc *io_proc;		     /* whose */
	bool loose;			     /* what was not flushed may be lost */
	uint64_t lost_moment;		     /* when a server lost its memory */
	uint64_t error_until_ns;	     /* requests may fail so long */
	unsigned mgr;			     /* the one that is to run */
	struct event next, cut, mgr_back, thaw, mgr_thaw, replace, unfull, fast;
	struct event server_back[SIM_SERVERS_MAX];
};

static unsigned server_of(const struct faults *f, const struct proc *p)
{
	unsigned i = 0;

	while (i < f->sim->g.servers && server_proc(f->sim->servers[i]) != p)
		i++;
	return i;
}

static struct mgr *mgr_of(struct faults *f)
{
	return f->sim->mgrs[f->mgr];
}

/* ---- what happens -------------------------------------------------------------------------- */

static void server_dies(struct faults *f, unsigned i, bool power, uint64_t back_ns)
{
	struct server *sv = f->sim->servers[i];

	if (!proc_alive(server_proc(sv)))
		return;
	f->lost_moment = model_moment(f->sim->model);
	if (!mgr_ready(mgr_of(f)))
		f->loose = true;
	server_kill(sv, power);
	if (!f->server_back[i].queued && (f->away >> i & 1) == 0)
		sim_at(f->sim, &f->server_back[i], back_ns);
}

static void mgr_dies(struct faults *f, uint64_t back_ns)
{
	struct mgr *m = mgr_of(f);

	if (!proc_alive(mgr_proc(m)))
		return;
	if (f->lost_moment > model_floor(f->sim->model))
		f->loose = true;
	mgr_kill(m);
	if (!f->mgr_back.queued)
		sim_at(f->sim, &f->mgr_back, back_ns);
}

static void on_server_back(struct event *e)
{
	struct faults *f = sim_now->faults;
	struct server *sv = f->sim->servers[e - f->server_back];

	if (!proc_alive(server_proc(sv)))
		server_start(sv);
}

static void mgr_begin(struct faults *f)
{
	model_new_owner(f->sim->model);
	mgr_start(mgr_of(f));
	client_use(f->sim->client, mgr_of(f));
}

static void on_mgr_back(struct event *e)
{
	struct faults *f = sim_now->faults;

	if (mgr_stopping(mgr_of(f))) /* it takes too long */
		mgr_kill(mgr_of(f));
	if (!proc_alive(mgr_proc(mgr_of(f))))
		mgr_begin(f);
	(void)e;
}

void faults_mgr_ended(struct faults *f, struct mgr *m)
{
	if (m == mgr_of(f) && !f->mgr_back.queued)
		sim_at(f->sim, &f->mgr_back, NS_PER_MS);
}

void faults_mgr_ready(struct faults *f, struct mgr *m)
{
	if (m != mgr_of(f)) /* an old one: it will see */
		return;
	model_recovered(f->sim->model, f->loose);
	f->loose = false;
}

/* ---- faults -------------------------------------------------------------------------------- */

/* Servers that volmgr may be going on without, or about to. */
static uint32_t unwell(struct faults *f)
{
	uint32_t servers = f->rotten;

	for (unsigned i = 0; i < f->sim->g.servers; i++) {
		const struct proc *p = server_proc(f->sim->servers[i]);

		if (!proc_alive(p) || p->frozen || f->unwell_ns[i] > f->sim->now_ns ||
		    !mgr_hears(mgr_of(f), i + 1))
			servers |= 1u << i;
	}
	return servers;
}

/* With a disk that rots, no more servers may be missing than m allows, in extents to come, too. */
static bool bearable(struct faults *f, unsigned i)
{
	return f->rotten == 0 || (unsigned)__builtin_popcount(unwell(f) | 1u << i) <= f->sim->g.m;
}

bool faults_place_whole(const struct faults *f)
{
	return f->rotten != 0;
}

/* A server that may lose its memory now: no extent misses more than m shards then. */
static int any_loser(struct faults *f)
{
	unsigned n = f->sim->g.servers, from = sim_below(f->sim, n);

	for (unsigned i = 0; i < n; i++) {
		uint32_t lost = unwell(f) | 1u << (from + i) % n;

		if (proc_alive(server_proc(f->sim->servers[(from + i) % n])) &&
		    bearable(f, (from + i) % n) &&
		    (!proc_alive(mgr_proc(mgr_of(f))) ||
		     meta_lost_most(f->sim->meta, lost << 1) <= f->sim->g.m))
			return (int)((from + i) % n);
	}
	return -1;
}

void faults_server_heard(struct faults *f, uint32_t server)
{
	f->unwell_ns[server - 1] = f->sim->now_ns + WELL_NS;
}

/* A server that may be away for a while; when some disk rots, not too many at once. */
static struct proc *any_server(struct faults *f)
{
	unsigned i = sim_below(f->sim, f->sim->g.servers);

	if (!bearable(f, i))
		return NULL;
	return server_proc(f->sim->servers[i]);
}

/* How long a server is not heard of. */
static uint64_t silence(struct faults *f, const struct proc *p)
{
	uint64_t ns = (1 + sim_below(f->sim, sim_below(f->sim, 2) == 0 ? 50 : 8000)) * NS_PER_MS;
	uint64_t *until = &f->unwell_ns[server_of(f, p)];

	if (*until < f->sim->now_ns + ns + WELL_NS)
		*until = f->sim->now_ns + ns + WELL_NS;
	return ns;
}

static void do_reset(struct faults *f)
{
	struct proc *p = any_server(f);

	if (sim_below(f->sim, 4) == 0)
		p = client_proc(f->sim->client);
	if (p != NULL)
		net_reset_some(p);
}

static void do_partition(struct faults *f)
{
	struct proc *p = any_server(f), *m = mgr_proc(mgr_of(f));

	if (sim_below(f->sim, 5) == 0)
		net_partition(client_proc(f->sim->client), m, sim_below(f->sim, 2000) * NS_PER_MS);
	else if (p != NULL)
		net_partition(m, p, silence(f, p));
}

static void on_thaw(struct event *e)
{
	for (unsigned i = 0; i < sim_now->g.servers; i++)
		proc_thaw(server_proc(sim_now->servers[i]));
	(void)e;
}

static void do_freeze(struct faults *f)
{
	struct proc *p = any_server(f);

	if (f->thaw.queued || p == NULL || !proc_alive(p))
		return;
	proc_freeze(p);
	sim_at(f->sim, &f->thaw, silence(f, p));
}

static void do_server_kill(struct faults *f)
{
	int i = any_loser(f);

	if (i < 0)
		return;
	server_dies(f, (unsigned)i, sim_below(f->sim, 2) == 0,
		    sim_below(f->sim, 2) == 0 ? 1000000 : sim_below(f->sim, 6000) * NS_PER_MS);
}

static void do_server_stop(struct faults *f)
{
	int i = any_loser(f);
	struct server *sv = i < 0 ? NULL : f->sim->servers[i];

	if (sv == NULL || !server_serves(sv) || server_proc(sv)->frozen)
		return;
	f->lost_moment = model_moment(f->sim->model);
	server_stop(sv);
	if (sim_below(f->sim, 2) == 0 && f->io_left == 0) { /* and the power goes meanwhile */
		f->io_proc = server_proc(sv);
		f->io_left = 1 + sim_below(f->sim, 12);
	}
}

void faults_server_ended(struct faults *f, struct server *sv)
{
	unsigned i = server_of(f, server_proc(sv));

	if (!f->server_back[i].queued)
		sim_at(f->sim, &f->server_back[i], sim_below(f->sim, 2000) * NS_PER_MS);
}

static void do_io_cut(struct faults *f)
{
	int i = any_loser(f);

	if (i < 0 || f->io_left != 0)
		return;
	f->io_proc = server_proc(f->sim->servers[i]);
	f->io_left = 1 + sim_below(f->sim, 30);
}

static void on_cut(struct event *e)
{
	struct faults *f = sim_now->faults;
	unsigned i = server_of(f, f->io_proc);

	/* much may have happened meanwhile */
	if (!bearable(f, i) ||
	    (proc_alive(mgr_proc(mgr_of(f))) &&
	     meta_lost_most(f->sim->meta, (unwell(f) | 1u << i) << 1) > f->sim->g.m))
		return;
	server_dies(f, i, true, sim_below(f->sim, 3000) * NS_PER_MS);
	(void)e;
}

void faults_io(struct faults *f, struct proc *p)
{
	if (f == NULL || f->io_left == 0 || p != f->io_proc || --f->io_left > 0)
		return;
	if (!f->cut.queued)
		sim_at(f->sim, &f->cut, 0);
}

static void do_mgr_kill(struct faults *f)
{
	mgr_dies(f, sim_below(f->sim, 2) == 0 ? 1000000 : sim_below(f->sim, 3000) * NS_PER_MS);
}

static void do_mgr_stop(struct faults *f)
{
	struct mgr *m = mgr_of(f);

	if (!mgr_ready(m) || f->mgr_back.queued)
		return;
	if (f->lost_moment > model_floor(f->sim->model))
		f->loose = true;
	f->error_until_ns = f->sim->now_ns + 10 * NS_PER_S;
	mgr_stop(m);
	sim_at(f->sim, &f->mgr_back, 5 * NS_PER_S);
}

static void on_mgr_thaw(struct event *e)
{
	struct faults *f = sim_now->faults;

	proc_thaw(mgr_proc(f->sim->mgrs[!f->mgr]));
	(void)e;
}

/* What clients sent to the old one meanwhile, it will find when it wakes up. */
static void on_replace(struct event *e)
{
	struct faults *f = sim_now->faults;

	if (!mgr_proc(mgr_of(f))->frozen)
		return;
	if (f->lost_moment > model_floor(f->sim->model))
		f->loose = true;
	f->mgr = !f->mgr;
	mgr_begin(f);
	sim_at(f->sim, &f->mgr_thaw, sim_below(f->sim, 3000) * NS_PER_MS);
	(void)e;
}

static void do_mgr_replace(struct faults *f)
{
	struct proc *old = mgr_proc(mgr_of(f));

	if (!mgr_ready(mgr_of(f)) || proc_alive(mgr_proc(f->sim->mgrs[!f->mgr])))
		return;
	if (!f->replace.queued) {
		proc_freeze(old);
		sim_at(f->sim, &f->replace, sim_below(f->sim, 200) * NS_PER_MS);
	}
}

static void do_all_power(struct faults *f)
{
	bool all = sim_below(f->sim, 2) == 0;

	mgr_dies(f, (f->rotten == 0 ? 0 : 1200 * NS_PER_MS) + sim_below(f->sim, 1000) * NS_PER_MS);
	for (unsigned i = 0; i < f->sim->g.servers; i++)
		if (all || sim_below(f->sim, 2) == 0)
			server_dies(f, i, sim_below(f->sim, 4) != 0,
				    sim_below(f->sim, f->rotten == 0 && sim_below(f->sim, 4) == 0
							      ? 6000
							      : 1000) *
					    NS_PER_MS);
}

static void do_scrub(struct faults *f)
{
	if (mgr_ready(mgr_of(f)) && f->sim->g.unit >= SCRUB_UNIT_MIN)
		mgr_scrub(mgr_of(f));
}

static void do_rot(struct faults *f)
{
	for (unsigned i = 0; i < f->sim->g.servers; i++)
		if ((f->rotten >> i & 1) != 0)
			server_rot(f->sim->servers[i]);
}

static void on_fast(struct event *e)
{
	for (unsigned i = 0; i < sim_now->g.servers; i++)
		server_set_slow(sim_now->servers[i], false);
	(void)e;
}

static void do_slow(struct faults *f)
{
	struct proc *p = any_server(f);
	uint64_t ns;

	if (f->fast.queued || p == NULL)
		return;
	ns = silence(f, p);
	server_set_slow(f->sim->servers[server_of(f, p)], true);
	sim_at(f->sim, &f->fast, ns);
}

static void on_unfull(struct event *e)
{
	for (unsigned i = 0; i < sim_now->g.servers; i++)
		server_set_full(sim_now->servers[i], false);
	(void)e;
}

static void do_full(struct faults *f)
{
	if (f->unfull.queued)
		return;
	server_set_full(f->sim->servers[sim_below(f->sim, f->sim->g.servers)], true);
	sim_at(f->sim, &f->unfull, sim_below(f->sim, 2000) * NS_PER_MS);
}

static void (*const faults[KINDS])(struct faults *f) = {
	[RESET] = do_reset,
	[PARTITION] = do_partition,
	[FREEZE] = do_freeze,
	[SERVER_KILL] = do_server_kill,
	[IO_CUT] = do_io_cut,
	[SERVER_STOP] = do_server_stop,
	[MGR_KILL] = do_mgr_kill,
	[MGR_STOP] = do_mgr_stop,
	[MGR_REPLACE] = do_mgr_replace,
	[ALL_POWER] = do_all_power,
	[FULL] = do_full,
	[ROT] = do_rot,
	[SCRUB] = do_scrub,
	[SLOW] = do_slow,
};

static void on_next(struct event *e)
{
	struct faults *f = sim_now->faults;
	unsigned kind = sim_below(f->sim, KINDS);

	if (!f->on)
		return;
	if (kind >= SERVER_KILL && sim_below(f->sim, 8) != 0)
		kind = RESET;
	if (f->has[kind] && f->left > 0 && (kind < SERVER_KILL || f->heavy_left > 0)) {
		f->left--;
		f->heavy_left -= kind >= SERVER_KILL;
		faults[kind](f);
	}
	sim_at(f->sim, e, 1 + sim_random(f->sim) % f->period_ns);
}

bool faults_allow_error(struct faults *f, uint16_t type, int error)
{
	if (error == ENOSPC && f->has[FULL] && type != NBD_CMD_READ)
		return true;
	return (error == ESHUTDOWN || error == EIO) && f->sim->now_ns < f->error_until_ns;
}

/* ---- the story ----------------------------------------------------------------------------- */

struct faults *faults_new(struct sim *s)
{
	static const uint64_t periods[] = {3 * NS_PER_MS, 30 * NS_PER_MS, 300 * NS_PER_MS};
	struct faults *f = world_alloc(sizeof(*f));

	f->sim = s;
	for (unsigned i = 0; i < KINDS; i++)
		f->has[i] = sim_below(s, 3) == 0;
	f->period_ns = periods[sim_below(s, 3)];
	if (s->g.m == 0)
		f->has[ROT] = false;
	f->has[SCRUB] = sim_below(s, 12) == 0;
	if (f->has[ROT])
		f->rotten = 1u << sim_below(s, s->g.servers);
	f->next.fn = on_next;
	f->cut.fn = on_cut;
	f->mgr_back.fn = on_mgr_back;
	f->thaw.fn = on_thaw;
	f->mgr_thaw.fn = on_mgr_thaw;
	f->replace.fn = on_replace;
	f->unfull.fn = on_unfull;
	f->fast.fn = on_fast;
	for (unsigned i = 0; i < s->g.servers; i++)
		f->server_back[i].fn = on_server_back;
	return f;
}

void faults_free(struct faults *f)
{
	free(f);
}

static bool all_serve(struct sim *s)
{
	for (unsigned i = 0; i < s->g.servers; i++)
		if (!server_serves(s->servers[i]) && (s->faults->away >> i & 1) == 0)
			return false;
	return true;
}

static bool idle(struct sim *s)
{
	return load_idle(s->load);
}

static bool checked(struct sim *s)
{
	return load_checked(s->load);
}

static bool runs(struct sim *s)
{
	return mgr_ready(mgr_of(s->faults));
}

static bool never(struct sim *s)
{
	return false;
}

static void heal(struct faults *f)
{
	struct sim *s = f->sim;

	sim_note(s, "all faults end", "faults", 0, 0);
	f->on = false;
	f->io_left = 0;
	sim_cancel(s, &f->replace);
	on_thaw(NULL);
	on_unfull(NULL);
	on_fast(NULL);
	net_heal(s);
	for (unsigned i = 0; i < s->g.servers; i++)
		if ((f->away >> i & 1) == 0 && !proc_alive(server_proc(s->servers[i])))
			server_start(s->servers[i]);
	for (unsigned i = 0; i < SIM_MGRS; i++)
		proc_thaw(mgr_proc(s->mgrs[i]));
	if (!proc_alive(mgr_proc(mgr_of(f))))
		mgr_begin(f);
}

/* An old owner that has been fenced is of no use any more. */
static void bury_old(struct faults *f)
{
	struct mgr *old = f->sim->mgrs[!f->mgr];

	if (proc_alive(mgr_proc(old)) && !f->mgr_thaw.queued)
		mgr_kill(old);
}

/* Writes wait when too many shards of an extent are stale. */
static bool may_wait(const struct sim *s)
{
	unsigned spare = s->g.m >= 2 ? s->g.m - 1 : s->g.m;

	return meta_stale_most(s->meta) > spare;
}

static void look(struct faults *f, bool flush)
{
	struct sim *s = f->sim;

	if (!sim_run(s, runs, SETTLE_NS))
		sim_fail(s, "volmgr does not run, with everything whole");
	load_check(s->load, flush);
	if (!sim_run(s, checked, SETTLE_NS))
		sim_fail(s, "with everything whole, not all can be read");
	for (unsigned i = 0; i < s->g.servers; i++)
		server_look(s->servers[i]);
}

static bool rebuilt(struct sim *s)
{
	return runs(s) && !mgr_rebuilds(mgr_of(s->faults));
}

static bool scrub_begins(struct sim *s)
{
	return mgr_scrub(mgr_of(s->faults));
}

static bool scrubbed(struct sim *s)
{
	return mgr_scrubbed(mgr_of(s->faults)) >= 0;
}

/* Everything is whole again: no shard stale, all parity as it must be. */
static void look_at_parity(struct faults *f)
{
	struct sim *s = f->sim;
	int wrong;

	if (!sim_run(s, rebuilt, SETTLE_NS))
		sim_fail(s, "with everything whole, shards stay stale");
	if (s->g.unit < SCRUB_UNIT_MIN || sim_below(s, 6) != 0)
		return;
	if (!sim_run(s, scrub_begins, SETTLE_NS) || !sim_run(s, scrubbed, SETTLE_NS))
		sim_fail(s, "with everything whole, a scrub does not get through");
	wrong = mgr_scrubbed(mgr_of(f));
	if (wrong != 0)
		sim_fail(s, "a scrub finds %d rows or blocks that do not fit", wrong);
}

static void one_round(struct faults *f)
{
	struct sim *s = f->sim;
	bool done;

	f->on = true;
	f->left = 1 + sim_below(s, 60);
	f->heavy_left = 1 + sim_below(s, 6);
	if (!f->next.queued)
		sim_at(s, &f->next, 1 + sim_random(s) % f->period_ns);
	load_run(s->load, 20 + sim_below(s, 60));
	sim_run(s, idle, ROUND_NS);
	load_pause(s->load);
	heal(f);
	done = sim_run(s, idle, SETTLE_NS);
	if (!done && !may_wait(s))
		sim_fail(s, "requests are not answered, with everything whole");
	if (!done) {
		client_drop(s->client);
		sim_run(s, idle, NS_PER_S);
	}
	look(f, done);
	look_at_parity(f);
	bury_old(f);
}

/* Everything loses power, and up to m servers do not come back. What was flushed is there. */
static void last_loss(struct faults *f)
{
	struct sim *s = f->sim;
	uint32_t all = (1u << s->g.servers) - 1;

	for (unsigned tries = 0; tries < 16; tries++) {
		uint32_t more = f->away | 1u << sim_below(s, s->g.servers);

		if ((unsigned)__builtin_popcount(more) <= s->g.m &&
		    meta_lost_most(s->meta, (more | f->rotten) << 1) <= s->g.m)
			f->away = more & all;
	}
	sim_note(s, "last loss", "faults", f->away, 0);
	mgr_dies(f, 10 * NS_PER_MS);
	for (unsigned i = 0; i < s->g.servers; i++)
		server_dies(f, i, true, NS_PER_MS);
	if (!sim_run(s, all_serve, 10 * NS_PER_S))
		sim_fail(s, "servers do not come back");
	sim_run(s, runs, 20 * NS_PER_S);
	look(f, false);
}

void faults_story(struct faults *f)
{
	struct sim *s = f->sim;

	for (unsigned i = 0; i < s->g.servers; i++)
		server_start(s->servers[i]);
	if (!sim_run(s, all_serve, 10 * NS_PER_S))
		sim_fail(s, "servers do not start");
	mgr_begin(f);
	for (unsigned i = 0; i < s->g.servers; i++)
		if ((f->rotten >> i & 1) != 0 && sim_below(s, 2) == 0)
			server_lie(s->servers[i], 20 + sim_below(s, 200));
	if (!sim_run(s, runs, 10 * NS_PER_S))
		sim_fail(s, "volmgr does not start");
	for (unsigned n = 1 + sim_below(s, 2); n > 0; n--)
		one_round(f);
	sim_run(s, never, sim_below(s, 2) == 0 ? 0 : 3 * NS_PER_S);
	if (s->g.m > 0)
		last_loss(f);
}
