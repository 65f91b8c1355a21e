/*
 * Moments that chance alone brings about too rarely, though each of the faults in them is common. A
 * seed that aims does so at one of them, all the time. What is drawn here comes from a stream of
 * its own, and in every eighth seed only (and every sixteenth, for what is late): the others stay
 * the stories that they were.
 */
#include "config.h"

#include "faults.h"

#define AIMS_MAX 8 /* of a round */
#define QUIET_NS (2500 * NS_PER_MS)

static uint64_t pause_ns(struct faults *f)
{
	return (1 + sim_more(f->sim, 40)) * NS_PER_MS;
}

/* A server loses power when its log has been written and not synced, shortly after its data was. */
void faults_aim_data(struct faults *f, struct proc *p)
{
	if (f == NULL || f->aim != AIM_FRESH || !f->on || f->aim_left == 0 || f->io_left != 0 ||
	    sim_more(f->sim, 4) != 0 || !bearable_now(f, server_of(f, p)))
		return;
	f->aim_left--;
	f->io_proc = p;
	f->io_kind = SIM_SYNC;
	f->io_left = 1 + sim_more(f->sim, 2);
}

/* A server is not heard of, with all that it has, until writes leave it out. */
static bool aim_mark(struct faults *f)
{
	struct proc *p = any_server(f);

	if (p == NULL || !proc_alive(p) || p->frozen || f->aim_until_ns > f->sim->now_ns)
		return false;
	net_reset_some(p);
	f->aim_proc = p;
	f->aim_until_ns = f->sim->now_ns + 3 * NS_PER_S;
	sim_at(f->sim, &f->aim_part, 2 * NS_PER_MS);
	return true;
}

static void cut_off(struct faults *f, struct proc *p, uint64_t ns)
{
	faults_silent(f, p, ns);
	net_partition(mgr_proc(mgr_of(f)), p, ns);
}

/* Volmgr dies, or the one that has begun since loses a server until shortly after its start. */
static void aim_leave_part(struct faults *f)
{
	if (f->aim_proc == NULL) {
		mgr_dies(f, NS_PER_MS);
		return;
	}
	net_reset_some(f->aim_proc);
	cut_off(f, f->aim_proc, (2500 + sim_more(f->sim, 1500)) * NS_PER_MS);
}

static void on_aim_part(struct event *e)
{
	struct faults *f = sim_now->faults;

	if (!f->on)
		return;
	if (f->aim == AIM_WAKE)
		faults_replace(f);
	else if (f->aim == AIM_LEAVE)
		aim_leave_part(f);
	else if (f->aim == AIM_LATE)
		net_break(mgr_proc(mgr_of(f)), f->aim_proc);
	else
		cut_off(f, f->aim_proc, (400 + sim_more(f->sim, 1500)) * NS_PER_MS);
	(void)e;
}

/* A PREPARE is on its way to a server when the connection breaks, and comes when volmgr has
 * connected anew. */
void faults_aim_prepare(struct faults *f, uint32_t server)
{
	if (f->aim != AIM_LATE || !f->on || f->aim_left == 0 || f->aim_part.queued ||
	    sim_more(f->sim, 12) != 0 || !bearable(f, server - 1))
		return;
	f->aim_left--;
	f->aim_proc = server_proc(f->sim->servers[server - 1]);
	sim_at(f->sim, &f->aim_part, sim_more_ns(f->sim, 40000));
}

/* Two different servers that may be away for a while. */
static bool two_servers(struct faults *f, struct proc **one, struct proc **other)
{
	if (f->rotten != 0 || f->sim->g.servers < 2)
		return false;
	*one = any_server(f);
	do
		*other = any_server(f);
	while (*other == *one);
	return true;
}

/*
 * A volmgr that begins waits for a server; another is there, says what it has, and goes before it
 * can be judged.
 */
void faults_aim_begin(struct faults *f)
{
	struct proc *late;

	if (f->aim != AIM_LEAVE || !f->on || f->aim_part.queued || sim_more(f->sim, 3) == 0 ||
	    !two_servers(f, &late, &f->aim_proc))
		return;
	cut_off(f, late, (6000 + sim_more(f->sim, 3000)) * NS_PER_MS);
	sim_at(f->sim, &f->aim_part, (20 + sim_more(f->sim, 900)) * NS_PER_MS);
}

/* Before it, volmgr dies with writes that one server does not have yet. */
static bool aim_leave(struct faults *f)
{
	struct proc *p = f->rotten == 0 ? any_server(f) : NULL;

	if (p == NULL || !mgr_ready(mgr_of(f)) || f->aim_part.queued ||
	    f->aim_until_ns > f->sim->now_ns)
		return false;
	cut_off(f, p, 30 * NS_PER_MS);
	f->aim_proc = NULL;
	sim_at(f->sim, &f->aim_part, (1 + sim_more(f->sim, 25)) * NS_PER_MS);
	f->aim_until_ns = f->sim->now_ns + (3500 + sim_more(f->sim, 4000)) * NS_PER_MS;
	return true;
}

/* A server loses power, which nobody can know yet, and another is not heard of for a while. */
static bool aim_dark(struct faults *f)
{
	struct proc *dead, *away;

	if (!mgr_ready(mgr_of(f)) || f->aim_until_ns > f->sim->now_ns ||
	    !two_servers(f, &dead, &away) || !proc_alive(dead) ||
	    !bearable_now(f, server_of(f, dead)))
		return false;
	f->aim_until_ns = f->sim->now_ns + 3 * NS_PER_S;
	server_dies(f, server_of(f, dead), true, (500 + sim_more(f->sim, 3000)) * NS_PER_MS);
	net_reset_some(away);
	cut_off(f, away, (400 + sim_more(f->sim, 4000)) * NS_PER_MS);
	return true;
}

/* Then volmgr dies, and its successor hears that server. */
bool faults_aim_mark(struct faults *f)
{
	if (f->aim != AIM_MARK || !f->on || f->aim_left == 0)
		return false;
	f->aim_left--;
	sim_at(f->sim, &f->mark_kill, sim_more(f->sim, 10000) * 1000ULL);
	return true;
}

void faults_aim_killed(struct faults *f)
{
	if (f->aim == AIM_MARK)
		net_heal(f->sim);
}

/* An old volmgr wakes up when the new one has just begun. */
void faults_aim_ready(struct faults *f)
{
	if (f->aim != AIM_WAKE || !f->mgr_thaw.queued)
		return;
	sim_cancel(f->sim, &f->mgr_thaw);
	sim_at(f->sim, &f->mgr_thaw, sim_more(f->sim, 800) * NS_PER_MS);
}

/* All is committed, then volmgr hangs, and clients write on. The one before has seen that it is. */
static bool aim_wake(struct faults *f)
{
	struct mgr *old = f->sim->mgrs[!f->mgr];

	if (f->replace.queued || f->mgr_thaw.queued || f->aim_until_ns > f->sim->now_ns)
		return false;
	if (proc_alive(mgr_proc(old)) && !mgr_proc(old)->frozen)
		mgr_kill(old);
	f->aim_until_ns = f->sim->now_ns + QUIET_NS + NS_PER_S;
	load_hold(f->sim->load, QUIET_NS);
	sim_at(f->sim, &f->aim_part, QUIET_NS);
	return true;
}

bool faults_aim_leave(const struct faults *f)
{
	return f->aim == AIM_WAKE && f->on;
}

static void on_aim(struct event *e)
{
	struct faults *f = sim_now->faults;
	bool done = false;

	if (!f->on)
		return;
	if (f->aim_left > 0 && f->aim == AIM_WAKE)
		done = aim_wake(f);
	else if (f->aim_left > 0 && f->aim == AIM_LEAVE)
		done = aim_leave(f);
	else if (f->aim_left > 0 && f->aim == AIM_DARK)
		done = aim_dark(f);
	else if (f->aim_left > 0 && f->aim == AIM_MARK)
		aim_mark(f); /* it counts when volmgr dies */
	f->aim_left -= done;
	sim_at(f->sim, e, pause_ns(f));
}

void aim_init(struct faults *f)
{
	struct sim *s = f->sim;

	f->aim = s->seed % 8 == 4 ? AIM_FRESH + sim_more(s, AIMS - AIM_FRESH) : AIM_NOTHING;
	if (f->aim == AIM_FRESH && s->g.unit < SCRUB_UNIT_MIN)
		f->aim = AIM_MARK;
	if (s->g.m == 0 && (f->aim == AIM_MARK || f->aim == AIM_DARK))
		f->aim = AIM_WAKE;
	if (s->seed % 16 == 6) {
		f->aim = AIM_LATE;
		s->late = true;
	}
	f->aimed.fn = on_aim;
	f->aim_part.fn = on_aim_part;
}

void aim_begin(struct faults *f)
{
	f->aim_left = AIMS_MAX;
	if (f->aim != AIM_NOTHING && !f->aimed.queued)
		sim_at(f->sim, &f->aimed, pause_ns(f));
}
