/*
 * Disks that fail, and their servers with them: those that refuse writes or syncs for a while, and
 * one whose log and map rot. What is drawn here comes from a stream of its own, and in every fourth
 * seed only: the others stay the stories that they were. And volmgr's own disk, in half of all.
 */
#include "config.h"

#include "faults.h"

static uint64_t pause_ns(struct faults *f)
{
	return f->period_ns / 4 * (1 + sim_more(f->sim, 40));
}

/* ---- refusing, from some moment on, until they are well again ------------------------------ */

static void on_refuse(struct event *e)
{
	struct faults *f = sim_now->faults;
	int i;

	if (!f->on)
		return;
	i = any_loser(f);
	if (i >= 0 && f->heavy_left > 0 && !f->cure.queued) {
		f->heavy_left--;
		f->refusing = 1u << i;
		server_refuse(f->sim->servers[i], 1 + sim_more(f->sim, 3));
		sim_at(f->sim, &f->cure, (1 + sim_more(f->sim, 3000)) * NS_PER_MS);
	}
	sim_at(f->sim, e, pause_ns(f));
}

static void on_cure(struct event *e)
{
	struct faults *f = sim_now->faults;

	for (unsigned i = 0; i < f->sim->g.servers; i++)
		if ((f->refusing >> i & 1) != 0)
			server_refuse(f->sim->servers[i], 0);
	f->refusing = 0;
	(void)e;
}

/* ---- volmgr's metadata --------------------------------------------------------------------- */

/* Mostly for so short that it refuses this one only. */
void faults_put(struct faults *f)
{
	if (!f->on || !f->meta_refusals || f->meta_cure.queued || sim_more(f->sim, 3) != 0)
		return;
	meta_refuse(f->sim->meta, true);
	sim_at(f->sim, &f->meta_cure,
	       1 + sim_more_ns(f->sim, (sim_more(f->sim, 3) == 0 ? 3000 : 30) * NS_PER_MS));
}

static void on_meta_cure(struct event *e)
{
	meta_refuse(sim_now->meta, false);
	(void)e;
}

void faults_refused(struct faults *f, bool doubt)
{
	f->meta_refused = model_moment(f->sim->model);
	if (!f->on || !doubt || f->heavy_left == 0 || f->mark_kill.queued ||
	    sim_more(f->sim, 4) != 0)
		return;
	f->heavy_left--;
	sim_at(f->sim, &f->mark_kill, sim_more_ns(f->sim, 20 * NS_PER_MS));
}

/* ---- servers' disks that refuse ------------------------------------------------------------ */

bool faults_refusal(struct faults *f, struct server *sv)
{
	return f->on && bearable_now(f, server_of(f, server_proc(sv)));
}

/* ---- rotting where the store keeps its books ----------------------------------------------- */

static struct server *ailing(struct faults *f)
{
	return f->sim->servers[__builtin_ctz(f->rotten)];
}

static void on_ail(struct event *e)
{
	struct faults *f = sim_now->faults;
	struct server *sv = ailing(f);

	if (!f->on || (f->rotten & f->away) != 0)
		return;
	if (server_serves(sv) && f->heavy_left > 0 && sim_more(f->sim, 3) != 0) {
		f->heavy_left--;
		if (sim_more(f->sim, 2) != 0 || !server_spoil(sv, true))
			server_dies(f, server_of(f, server_proc(sv)), sim_more(f->sim, 2) == 0,
				    sim_more(f->sim, 2000) * NS_PER_MS);
	}
	sim_at(f->sim, e, pause_ns(f));
}

void faults_server_starts(struct faults *f, struct server *sv)
{
	if (f == NULL || !f->ailing || sv != ailing(f) || server_proc(sv)->life < 2)
		return;
	if (sim_more(f->sim, 2) == 0)
		server_spoil(sv, false);
}

/* ---- servers that end themselves ----------------------------------------------------------- */

static void on_gave_up(struct event *e)
{
	struct faults *f = sim_now->faults;
	unsigned i = (unsigned)(e - f->gave_up);
	struct server *sv = f->sim->servers[i];

	if (!proc_alive(server_proc(sv)) || !server_proc(sv)->doomed)
		return;
	f->lost_moment = model_moment(f->sim->model);
	if (!mgr_ready(mgr_of(f)))
		f->loose = true;
	server_gave_up(sv, sim_more(f->sim, 2) == 0);
	if (!f->server_back[i].queued && (f->away >> i & 1) == 0)
		sim_at(f->sim, &f->server_back[i], (50 + sim_more(f->sim, 2000)) * NS_PER_MS);
}

void faults_server_failed(struct faults *f, struct server *sv, bool lost)
{
	unsigned i = server_of(f, server_proc(sv));

	if (lost)
		f->away |= 1u << i;
	if (!f->gave_up[i].queued)
		sim_at(f->sim, &f->gave_up[i], 0);
}

/* ---- for faults.c and story.c -------------------------------------------------------------- */

void ail_init(struct faults *f)
{
	struct sim *s = f->sim;
	unsigned what = s->seed % 4 == 3 ? sim_more(s, 6) : 0;

	f->refusals = what >= 1 && what <= 3;
	f->ailing = what >= 4 && s->g.m > 0;
	if (f->ailing && f->rotten == 0)
		f->rotten = 1u << sim_more(s, s->g.servers);
	f->refuse.fn = on_refuse;
	f->cure.fn = on_cure;
	f->ail.fn = on_ail;
	for (unsigned i = 0; i < s->g.servers; i++)
		f->gave_up[i].fn = on_gave_up;
	if (f->ailing)
		server_ail(ailing(f));
	f->meta_refusals = s->seed / 16 % 2 == 1;
	f->meta_cure.fn = on_meta_cure;
}

void ail_begin(struct faults *f)
{
	if (f->refusals && !f->refuse.queued)
		sim_at(f->sim, &f->refuse, pause_ns(f));
	if (f->ailing && !f->ail.queued)
		sim_at(f->sim, &f->ail, pause_ns(f));
}

void ail_end(struct faults *f)
{
	on_cure(NULL);
	if (f->meta_refusals)
		on_meta_cure(NULL);
}
