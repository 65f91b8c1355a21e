/*
 * The story of a seed: rounds of load and faults, each with a look at everything after it, and in
 * the end a power cut from which not all come back.
 */
#include "config.h"

#include "faults.h"

#define ROUND_NS  (60 * NS_PER_S)  /* of load and faults */
#define SETTLE_NS (120 * NS_PER_S) /* with everything whole again */

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
	faults_end(f);
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
	return runs(s) && !mgr_rebuilds(mgr_of(s->faults)) && !mgr_moves(mgr_of(s->faults));
}

static bool rebuilt_or_lost(struct sim *s)
{
	return rebuilt(s) || (s->faults->ailing && s->faults->away != 0);
}

static bool scrub_begins(struct sim *s)
{
	return mgr_scrub(mgr_of(s->faults));
}

static bool scrubbed(struct sim *s)
{
	return mgr_scrubbed(mgr_of(s->faults)) >= 0;
}

static bool not_moving(struct sim *s)
{
	return runs(s) && !mgr_moves(mgr_of(s->faults));
}

/* What was on servers that are lost is made anew on others. false: there are none. */
static bool leave_lost(struct faults *f)
{
	struct sim *s = f->sim;
	unsigned i = (unsigned)__builtin_ctz(f->away);

	if (s->g.servers == s->g.k + s->g.m)
		return false;
	for (unsigned tries = 0; mgr_leave(mgr_of(f), i + 1); tries++) {
		if (!sim_run(s, not_moving, SETTLE_NS) || tries > 200)
			sim_fail(s, "shards of a server that is lost stay there");
		else if (!mgr_moved(mgr_of(f))) /* busy with it otherwise */
			sim_run(s, never, 100 * NS_PER_MS);
	}
	return true;
}

/* Everything is whole again: no shard stale, all parity as it must be. */
static void look_at_parity(struct faults *f)
{
	struct sim *s = f->sim;
	int wrong;

	if (!sim_run(s, all_serve, SETTLE_NS)) /* or turn out to be lost */
		sim_fail(s, "with everything whole, servers do not come back");
	if (f->away != 0 && !leave_lost(f))
		return;
	sim_run(s, rebuilt_or_lost, SETTLE_NS);
	if (f->ailing && f->away == 0)
		return; /* it may find out at any time that it is */
	if (f->away != 0 && !leave_lost(f))
		return;
	if (!sim_run(s, rebuilt, SETTLE_NS))
		sim_fail(s, "with everything whole, shards stay stale, or on their way");
	if (f->has[MOVE] && s->g.unit >= MOVE_UNIT_MIN && sim_below(s, 4) == 0 &&
	    mgr_move(mgr_of(f)) && !sim_run(s, rebuilt, SETTLE_NS))
		sim_fail(s, "with everything whole, a move does not end");
	if (s->g.unit < SCRUB_UNIT_MIN || sim_below(s, 6) != 0)
		return;
	if (!sim_run(s, scrub_begins, SETTLE_NS) || !sim_run(s, scrubbed, SETTLE_NS))
		sim_fail(s, "with everything whole, a scrub does not get through");
	wrong = mgr_scrubbed(mgr_of(f));
	if (wrong != 0)
		sim_fail(s, "a scrub finds %d rows or blocks that do not fit", wrong);
}

/* Nothing that nobody was told of is being given back, or will be. */
static bool at_rest(struct sim *s)
{
	return faults_may_resize(s->faults) && !net_is_late(s);
}

/*
 * All metadata is lost, with some shards stale perhaps, and rebuilt from what the servers say.
 * Nothing that was written is.
 */
static void lose_metadata(struct faults *f)
{
	struct sim *s = f->sim;
	unsigned i = sim_below(s, s->g.servers);

	recover_tidy(s);
	if (s->g.m > 0 && f->rotten == 0)
		server_dies(f, i, true, 2 * NS_PER_S);
	load_run(s->load, 20);
	if (!sim_run(s, idle, SETTLE_NS) || !sim_run(s, all_serve, 10 * NS_PER_S))
		sim_fail(s, "requests are not answered, with one server away");
	if (!sim_run(s, at_rest, SETTLE_NS))
		sim_fail(s, "the volume does not get its size again");
	sim_run(s, never, NS_PER_S); /* what leaves the map by itself leaves the servers, too */
	mgr_dies(f, 10 * NS_PER_S);
	if (sim_below(s, 2) == 0)
		for (i = 0; i < s->g.servers; i++)
			server_dies(f, i, true, NS_PER_MS);
	if (!sim_run(s, all_serve, 5 * NS_PER_S))
		sim_fail(s, "servers do not come back");
	recover_metadata(s);
	look(f, false);
	look_at_parity(f);
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
	ail_begin(f);
	aim_begin(f);
	load_run(s->load, 20 + sim_below(s, 60) + (f->aim != AIM_NOTHING ? 60 : 0));
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
	if (f->has[LOSE_META] && !f->ailing && !proc_alive(mgr_proc(s->mgrs[!f->mgr])))
		lose_metadata(f);
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
