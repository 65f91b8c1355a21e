/*
 * What goes wrong, and that it stays within what the invariant allows: t/sim/FAULTS says it in
 * words. story.c says when.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "faults.h"
#include "nbd/proto.h"

#define WELL_NS NS_PER_S

unsigned server_of(const struct faults *f, const struct proc *p)
{
	unsigned i = 0;

	while (i < f->sim->g.servers && server_proc(f->sim->servers[i]) != p)
		i++;
	return i;
}

/* ---- what happens -------------------------------------------------------------------------- */

void server_dies(struct faults *f, unsigned i, bool power, uint64_t back_ns)
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

void mgr_dies(struct faults *f, uint64_t back_ns)
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

	if (!proc_alive(server_proc(sv)) && (f->away >> (e - f->server_back) & 1) == 0)
		server_start(sv);
}

void mgr_begin(struct faults *f)
{
	model_new_owner(f->sim->model);
	mgr_start(mgr_of(f));
	client_use(f->sim->client, mgr_of(f));
	faults_aim_begin(f);
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
	faults_aim_ready(f);
}

/* ---- faults -------------------------------------------------------------------------------- */

/* Servers that volmgr may be going on without, or about to. */
static uint32_t unwell(struct faults *f)
{
	uint32_t servers = f->rotten | f->refusing;

	for (unsigned i = 0; i < f->sim->g.servers; i++) {
		const struct proc *p = server_proc(f->sim->servers[i]);

		if (!proc_alive(p) || p->frozen || f->unwell_ns[i] > f->sim->now_ns ||
		    !mgr_hears(mgr_of(f), i + 1) ||
		    (f->sim->late && net_unheard(mgr_proc(mgr_of(f)), p)))
			servers |= 1u << i;
	}
	return servers;
}

/* With a disk that rots, no more servers may be missing than m allows, in extents to come, too; nor
 * may shards become stale for want of one, beside those that are and those of that disk. */
bool bearable(struct faults *f, unsigned i)
{
	uint32_t servers = unwell(f) | 1u << i;

	return f->rotten == 0 || ((unsigned)__builtin_popcount(servers) <= f->sim->g.m &&
				  meta_lost_most(f->sim->meta, servers << 1) <= f->sim->g.m);
}

bool faults_place_whole(const struct faults *f)
{
	return (f->rotten & ~f->away) != 0;
}

bool bearable_now(struct faults *f, unsigned i)
{
	return bearable(f, i) &&
	       (!proc_alive(mgr_proc(mgr_of(f))) ||
		meta_lost_most(f->sim->meta, (unwell(f) | 1u << i) << 1) <= f->sim->g.m);
}

int any_loser(struct faults *f)
{
	unsigned n = f->sim->g.servers, from = sim_below(f->sim, n);

	for (unsigned i = 0; i < n; i++) {
		if (proc_alive(server_proc(f->sim->servers[(from + i) % n])) &&
		    bearable_now(f, (from + i) % n))
			return (int)((from + i) % n);
	}
	return -1;
}

void faults_server_heard(struct faults *f, uint32_t server)
{
	f->unwell_ns[server - 1] = f->sim->now_ns + WELL_NS;
}

struct proc *any_server(struct faults *f)
{
	unsigned i = sim_below(f->sim, f->sim->g.servers);

	if (!bearable(f, i))
		return NULL;
	return server_proc(f->sim->servers[i]);
}

void faults_silent(struct faults *f, const struct proc *p, uint64_t ns)
{
	uint64_t *until = &f->unwell_ns[server_of(f, p)];

	if (*until < f->sim->now_ns + ns + WELL_NS)
		*until = f->sim->now_ns + ns + WELL_NS;
}

/* How long a server is not heard of. */
static uint64_t silence(struct faults *f, const struct proc *p)
{
	uint64_t ns = (1 + sim_below(f->sim, sim_below(f->sim, 2) == 0 ? 50 : 8000)) * NS_PER_MS;

	faults_silent(f, p, ns);
	return ns;
}

static void do_reset(struct faults *f)
{
	struct proc *p = any_server(f), *client = client_proc(f->sim->client);
	uint64_t ns;

	if (sim_below(f->sim, 4) == 0)
		p = client;
	if (p == NULL)
		return;
	ns = net_reset_some(p);
	if (f->sim->late && p != client)
		faults_silent(f, p, ns);
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
	if (sim_below(f->sim, 4) != 0 && f->io_left == 0) { /* and the power goes meanwhile */
		f->io_proc = server_proc(sv);
		f->io_kind = sim_below(f->sim, 3) == 0 ? SIM_ANY : SIM_SUPER;
		f->io_left = f->io_kind == SIM_ANY ? 1 + sim_below(f->sim, 12)
						   : 1 + sim_below(f->sim, 5) / 3;
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
	f->io_kind = sim_below(f->sim, SIM_IOS);
	f->io_left = 1 + sim_below(f->sim, f->io_kind == SIM_ANY ? 30 : 4);
}

/* Much may have happened since it was decided on. */
static void cut_if_bearable(struct faults *f, struct proc *p)
{
	unsigned i = server_of(f, p);

	if (!f->on || !bearable_now(f, i))
		return;
	server_dies(f, i, true, sim_below(f->sim, 3000) * NS_PER_MS);
}

static void on_cut(struct event *e)
{
	cut_if_bearable(sim_now->faults, sim_now->faults->io_proc);
	(void)e;
}

static void on_abort_cut(struct event *e)
{
	cut_if_bearable(sim_now->faults, sim_now->faults->abort_proc);
	(void)e;
}

static bool heavy_now(struct faults *f, enum kind kind, unsigned of)
{
	if (!f->on || !f->has[kind] || f->heavy_left == 0 || sim_below(f->sim, of) != 0)
		return false;
	f->heavy_left--;
	return true;
}

void faults_abort(struct faults *f, uint32_t server)
{
	if (f->abort_cut.queued || !heavy_now(f, IO_CUT, 4))
		return;
	f->abort_proc = server_proc(f->sim->servers[server - 1]);
	sim_at(f->sim, &f->abort_cut, sim_below(f->sim, 100) * NS_PER_MS);
}

void faults_io(struct faults *f, struct proc *p, enum sim_io kind)
{
	if (f == NULL || f->io_left == 0 || p != f->io_proc ||
	    (f->io_kind != SIM_ANY && f->io_kind != kind) || --f->io_left > 0)
		return;

	if (!f->cut.queued)
		sim_at(f->sim, &f->cut, 0);
}

static void do_mgr_kill(struct faults *f)
{
	mgr_dies(f, sim_below(f->sim, 2) == 0 ? 1000000 : sim_below(f->sim, 3000) * NS_PER_MS);
}

static void on_mark_kill(struct event *e)
{
	struct faults *f = sim_now->faults;

	if (f->on) {
		do_mgr_kill(f);
		faults_aim_killed(f);
	}
	(void)e;
}

void faults_mark(struct faults *f, struct proc *p)
{
	if (p != mgr_proc(mgr_of(f)) || f->mark_kill.queued || faults_aim_mark(f))
		return;
	if (heavy_now(f, MGR_KILL, 4))
		sim_at(f->sim, &f->mark_kill, sim_below(f->sim, 20000) * 1000ULL);
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

bool faults_replace(struct faults *f)
{
	struct proc *old = mgr_proc(mgr_of(f));

	if (!mgr_ready(mgr_of(f)) || proc_alive(mgr_proc(f->sim->mgrs[!f->mgr])) ||
	    f->replace.queued)
		return false;
	proc_freeze(old);
	sim_at(f->sim, &f->replace, sim_below(f->sim, 200) * NS_PER_MS);
	return true;
}

static void do_mgr_replace(struct faults *f)
{
	faults_replace(f);
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

static void do_move(struct faults *f)
{
	if (f->sim->g.unit >= MOVE_UNIT_MIN)
		mgr_move(mgr_of(f));
}

/* What was acknowledged and not flushed may be lost then, and volmgr has to find out. */
static void do_rack(struct faults *f)
{
	uint32_t n = f->sim->g.servers, servers = 1 + sim_below(f->sim, (1u << n) - 1);

	if (!mgr_ready(mgr_of(f)) || f->rotten != 0)
		return;
	if (sim_below(f->sim, 3) == 0)
		servers = (1u << n) - 1;
	for (unsigned i = 0; i < n; i++)
		if ((servers >> i & 1) != 0)
			server_dies(f, i, sim_below(f->sim, 2) == 0,
				    sim_below(f->sim, sim_below(f->sim, 2) == 0 ? 50 : 6000) *
					    NS_PER_MS);
	model_loosen(f->sim->model);
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

static void (*const faults[LOSE_META])(struct faults *f) = {
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
	[RACK] = do_rack,
	[FULL] = do_full,
	[ROT] = do_rot,
	[SCRUB] = do_scrub,
	[MOVE] = do_move,
	[SLOW] = do_slow,
};

static void on_next(struct event *e)
{
	struct faults *f = sim_now->faults;
	unsigned kind = sim_below(f->sim, LOSE_META);

	if (!f->on)
		return;
	if (kind >= SERVER_KILL && sim_below(f->sim, 4) != 0)
		kind = RESET;
	if (f->has[kind] && f->left > 0 && (kind < SERVER_KILL || f->heavy_left > 0)) {
		f->left--;
		f->heavy_left -= kind >= SERVER_KILL;
		faults[kind](f);
	}
	sim_at(f->sim, e, 1 + sim_random(f->sim) % f->period_ns);
}

bool faults_allow_error(struct faults *f, uint16_t type, uint64_t since, int error)
{
	if (error == ENOSPC && f->has[FULL] && type != NBD_CMD_READ)
		return true;
	if (error == EIO && type != NBD_CMD_READ && model_was_loose(f->sim->model, since))
		return true;
	if (error == EIO && type != NBD_CMD_READ && type != NBD_CMD_FLUSH &&
	    since < f->meta_refused)
		return true;
	return (error == ESHUTDOWN || error == EIO) && f->sim->now_ns < f->error_until_ns;
}

void faults_acked(struct faults *f, uint64_t since)
{
	if (since < f->lost_moment)
		f->lost_moment = model_moment(f->sim->model);
}

bool faults_may_resize(const struct faults *f)
{
	return mgr_may_resize(f->sim->mgrs[f->mgr]);
}

void faults_resize(struct faults *f, uint64_t size, void (*done)(void *arg, bool durable),
		   void *arg)
{
	mgr_resize(mgr_of(f), size, done, arg);
}

/* ---- for story.c --------------------------------------------------------------------------- */

void faults_end(struct faults *f)
{
	sim_cancel(f->sim, &f->replace);
	on_thaw(NULL);
	on_unfull(NULL);
	on_fast(NULL);
	ail_end(f);
}

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
	f->has[RACK] = sim_below(s, 8) == 0;
	f->has[LOSE_META] = sim_below(s, 12) == 0;
	if (f->has[ROT])
		f->rotten = 1u << sim_below(s, s->g.servers);
	ail_init(f);
	aim_init(f);
	f->next.fn = on_next;
	f->cut.fn = on_cut;
	f->mgr_back.fn = on_mgr_back;
	f->thaw.fn = on_thaw;
	f->mgr_thaw.fn = on_mgr_thaw;
	f->replace.fn = on_replace;
	f->unfull.fn = on_unfull;
	f->fast.fn = on_fast;
	f->mark_kill.fn = on_mark_kill;
	f->abort_cut.fn = on_abort_cut;
	for (unsigned i = 0; i < s->g.servers; i++)
		f->server_back[i].fn = on_server_back;
	return f;
}

void faults_free(struct faults *f)
{
	free(f);
}
