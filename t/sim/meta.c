/*
 * The metadata: a map of extents that is durable by whole batches. A batch that was not reported
 * yet when its process dies may be there or not.
 *
 * It may refuse batches for a while, as a database does whose disk is full or fails. The first one
 * may be there all the same, when its process ends before the database could be opened anew; the
 * next one that is not refused takes it back before (lib/kv.c). Behind it nothing is written.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "sim.h"
#include "stripe/volume.h"

#define META_EXTENTS_MAX 64
#define PUT_LOW		 (200 * 1000ULL)
#define PUT_HIGH	 (20 * NS_PER_MS)

struct put {
	struct event event;
	struct meta *meta;
	struct put *next;
	uint64_t life;
	struct extent_record *records;
	int n;
	struct volume_starts *starts; /* NULL: not of these */
	bool removing;
	void (*done)(void *arg, int err);
	void *arg;
};

struct meta {
	struct sim *sim;
	uint32_t epoch;
	struct proc *owner; /* of the newest epoch */
	struct extent_record map[META_EXTENTS_MAX];
	unsigned n;
	struct volume_starts starts;
	struct put *puts; /* under way, oldest first */
	bool refusing;
	bool failed;	   /* a batch was refused, and the database not opened anew since */
	struct put *doubt; /* that one, if it may be there; or NULL */
};

struct meta *meta_new(struct sim *s)
{
	struct meta *m = world_alloc(sizeof(*m));

	m->sim = s;
	return m;
}

static void put_free(struct put *p)
{
	free(p->records);
	free(p->starts);
	free(p);
}

void meta_free(struct meta *m)
{
	while (m->puts != NULL) {
		struct put *p = m->puts;

		m->puts = p->next;
		put_free(p);
	}
	if (m->doubt != NULL)
		put_free(m->doubt);
	free(m);
}

static void map_change(struct meta *m, const struct extent_record *r, bool removing)
{
	unsigned i = 0;

	while (i < m->n && m->map[i].extent != r->extent)
		i++;
	if (removing) {
		if (i < m->n)
			m->map[i] = m->map[--m->n];
		return;
	}
	assert(i < META_EXTENTS_MAX);
	if (i == m->n)
		m->n++;
	m->map[i] = *r;
	sim_note(m->sim, "extent", "meta", r->extent, r->stale);
}

/* All of it, or nothing of it. */
static void put_apply(struct put *p)
{
	for (int i = 0; i < p->n; i++)
		map_change(p->meta, &p->records[i], p->removing);
	if (p->starts != NULL)
		p->meta->starts = *p->starts;
}

/* The database is opened: what was in doubt is there, or not. */
static void doubt_ends(struct meta *m, bool there)
{
	struct put *p = m->doubt;

	m->doubt = NULL;
	m->failed = false;
	if (p == NULL)
		return;
	sim_note(m->sim, there ? "refused, but there" : "refused, not there", "meta",
		 p->n > 0 ? p->records[0].extent : 0, p->removing);
	if (there)
		put_apply(p);
	put_free(p);
}

/* Whoever begins waits until the database can be opened. */
uint32_t meta_next_epoch(struct meta *m, struct proc *owner)
{
	m->refusing = false;
	doubt_ends(m, m->doubt != NULL && sim_more(m->sim, 2) == 0);
	m->owner = owner;
	return ++m->epoch;
}

static void put_take(struct put *p)
{
	struct put **at = &p->meta->puts;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
}

struct proc *meta_owner(const struct meta *m)
{
	return m->owner;
}

/* True: it is refused, and kept if it may be there. */
static bool put_refused(struct put *p)
{
	struct meta *m = p->meta;

	if (!m->refusing) {
		doubt_ends(m, false);
		return false;
	}
	if (!m->failed && sim_more(m->sim, 3) != 0)
		m->doubt = p;
	m->failed = true;
	sim_note(m->sim, m->doubt == p ? "refused, in doubt" : "refused", "meta",
		 p->n > 0 ? p->records[0].extent : 0, p->removing);
	faults_refused(m->sim->faults, m->doubt == p);
	return true;
}

static void put_event(struct event *e)
{
	struct put *p = (struct put *)e;
	struct meta *m = p->meta;
	struct proc *proc = e->proc;
	int err = 0;

	put_take(p);
	if (m->owner != proc)
		err = -ESTALE;
	else if (put_refused(p))
		err = sim_more(m->sim, 2) == 0 ? -ENOSPC : -EIO;
	else
		put_apply(p);
	if (proc->life == p->life) {
		proc_enter(proc);
		p->done(p->arg, err);
		proc_leave(proc);
	}
	if (m->doubt != p)
		put_free(p);
}

void meta_refuse(struct meta *m, bool refusing)
{
	sim_note(m->sim, refusing ? "refuses" : "is well", "meta", 0, 0);
	m->refusing = refusing;
}

static bool marks_more(const struct meta *m, const struct extent_record *r)
{
	for (unsigned i = 0; i < m->n; i++)
		if (m->map[i].extent == r->extent)
			return (r->stale & ~m->map[i].stale) != 0;
	return false;
}

static struct put *put_begin(struct meta *m, struct proc *proc, uint64_t delay,
			     void (*done)(void *arg, int err), void *arg)
{
	struct put *p = world_alloc(sizeof(*p)), **at = &m->puts;

	p->event = (struct event){.fn = put_event, .proc = proc};
	p->meta = m;
	p->life = proc->life;
	p->done = done;
	p->arg = arg;
	faults_put(m->sim->faults);
	while (*at != NULL) {
		/* one thread writes them: they keep their order */
		if ((*at)->event.at_ns > m->sim->now_ns + delay)
			delay = (*at)->event.at_ns - m->sim->now_ns;
		at = &(*at)->next;
	}
	*at = p;
	sim_at(m->sim, &p->event, delay);
	return p;
}

void meta_put(struct meta *m, struct proc *proc, const struct extent_record *records, int n,
	      bool removing, void (*done)(void *arg, int err), void *arg)
{
	struct put *p = put_begin(m, proc, sim_delay(m->sim, PUT_LOW, PUT_HIGH), done, arg);

	p->records = world_malloc((size_t)n * sizeof(*records));
	memcpy(p->records, records, (size_t)n * sizeof(*records));
	p->n = n;
	p->removing = removing;
	for (int i = 0; i < n && !removing; i++)
		if (marks_more(m, &records[i]))
			faults_mark(m->sim->faults, proc);
}

/* At once in most seeds, which so stay the stories that they were before there were any. */
void meta_put_starts(struct meta *m, struct proc *proc, const struct volume_starts *r,
		     void (*done)(void *arg, int err), void *arg)
{
	uint64_t delay = m->sim->seed % 4 == 1 ? (1 + sim_more(m->sim, 20)) * NS_PER_MS : 0;
	struct put *p = put_begin(m, proc, delay, done, arg);

	p->starts = world_malloc(sizeof(*r));
	*p->starts = *r;
}

const struct volume_starts *meta_starts(const struct meta *m)
{
	return &m->starts;
}

/* Until the database is opened anew nothing is written behind what was refused. */
static bool died_writing(struct meta *m, struct proc *proc)
{
	if (m->owner != proc || !m->failed)
		return true;
	if (m->refusing || sim_more(m->sim, 2) == 0)
		return false;
	doubt_ends(m, false);
	return true;
}

void meta_died(struct meta *m, struct proc *proc)
{
	bool happens = died_writing(m, proc);

	for (struct put **at = &m->puts; *at != NULL;) {
		struct put *p = *at;

		if (p->event.proc != proc) {
			at = &p->next;
			continue;
		}
		sim_cancel(m->sim, &p->event);
		*at = p->next;
		/* a log: the first that is missing ends it */
		happens = happens && sim_below(m->sim, 2) == 0;
		if (happens && m->owner == proc)
			put_apply(p);
		happens = happens && !m->refusing;
		put_free(p);
	}
}

/* All that was there is lost. */
void meta_replace(struct meta *m, const struct extent_record *records, size_t n)
{
	assert(m->puts == NULL && n <= META_EXTENTS_MAX);
	doubt_ends(m, false);
	m->n = (unsigned)n;
	m->starts = (struct volume_starts){.n = 0};
	if (n > 0)
		memcpy(m->map, records, n * sizeof(*records));
}

void meta_each(const struct meta *m, void (*fn)(void *arg, const struct extent_record *r),
	       void *arg)
{
	for (unsigned i = 0; i < m->n; i++)
		fn(arg, &m->map[i]);
}

/* Of each extent, the shards that are gone. */
struct losses {
	uint32_t servers;
	uint32_t shards[META_EXTENTS_MAX];
	unsigned count; /* shards of an extent */
};

static void losses_add(void *arg, const struct extent_record *r)
{
	struct losses *l = arg;
	uint32_t lost = r->stale;

	assert(r->extent < META_EXTENTS_MAX);
	for (unsigned j = 0; j < l->count; j++)
		if ((l->servers >> r->shard[j].server & 1) != 0)
			lost |= 1u << j;
	l->shards[r->extent] |= lost;
}

/* A shard is where the map says, where a change on its way says, and where volmgr thinks. */
unsigned meta_lost_most(const struct meta *m, uint32_t servers)
{
	struct losses l = {.servers = servers, .count = m->sim->g.k + m->sim->g.m};
	unsigned most = 0;

	meta_each(m, losses_add, &l);
	for (const struct put *p = m->puts; p != NULL; p = p->next)
		for (int i = 0; i < p->n && !p->removing; i++)
			losses_add(&l, &p->records[i]);
	for (int i = 0; m->doubt != NULL && i < m->doubt->n && !m->doubt->removing; i++)
		losses_add(&l, &m->doubt->records[i]);
	for (unsigned i = 0; i < SIM_MGRS; i++)
		if (mgr_proc(m->sim->mgrs[i]) == m->owner)
			mgr_each_extent(m->sim->mgrs[i], losses_add, &l);
	for (unsigned i = 0; i < META_EXTENTS_MAX; i++)
		if ((unsigned)__builtin_popcount(l.shards[i]) > most)
			most = (unsigned)__builtin_popcount(l.shards[i]);
	return most;
}

unsigned meta_stale_most(const struct meta *m)
{
	return meta_lost_most(m, 0);
}
