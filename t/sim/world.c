/* Events in the order of their time, processes and their clocks, and the record of what happened.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "log.h"
#include "sim.h"

#define NOTES_MAX 120 /* told when something goes wrong */

bool sim_tracing;
struct sim *sim_now;

/* ---- chance -------------------------------------------------------------------------------- */

uint64_t sim_random(struct sim *s)
{
	uint64_t z = (s->random += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

uint32_t sim_below(struct sim *s, uint32_t n)
{
	return (uint32_t)((sim_random(s) >> 32) * n >> 32);
}

uint32_t sim_more(struct sim *s, uint32_t n)
{
	uint64_t main = s->random;
	uint32_t got;

	s->random = s->more;
	got = sim_below(s, n);
	s->more = s->random;
	s->random = main;
	return got;
}

uint64_t sim_more_ns(struct sim *s, uint64_t n)
{
	return (uint64_t)sim_more(s, UINT32_MAX) % n;
}

bool sim_chance(struct sim *s, uint32_t per_mille)
{
	return sim_below(s, 1000) < per_mille;
}

uint64_t sim_delay(struct sim *s, uint64_t low_ns, uint64_t high_ns)
{
	uint64_t span = sim_chance(s, 50) ? high_ns - low_ns : (high_ns - low_ns) / 16;

	return low_ns + sim_random(s) % (span + 1);
}

/* ---- what happened ------------------------------------------------------------------------- */

struct note {
	uint64_t at_ns;
	const char *what;
	char who[16];
	uint64_t a, b;
	char text[120];
};

static struct note notes[NOTES_MAX];
static unsigned nnotes;

static void note_print(const struct note *n)
{
	if (n->text[0] != '\0')
		fprintf(stderr, "# %12.6f %s\n", (double)n->at_ns / 1e9, n->text);
	else
		fprintf(stderr, "# %12.6f %-10s %-18s %" PRIu64 " %" PRIu64 "\n",
			(double)n->at_ns / 1e9, n->who, n->what, n->a, n->b);
}

static struct note *note_next(struct sim *s)
{
	struct note *n = &notes[nnotes++ % NOTES_MAX];

	n->at_ns = s->now_ns;
	n->text[0] = '\0';
	return n;
}

static void hash_add(struct sim *s, uint64_t v)
{
	s->hash = (s->hash ^ v) * 0x9e3779b97f4a7c15ULL;
	s->hash ^= s->hash >> 29;
}

void sim_note(struct sim *s, const char *what, const char *who, uint64_t a, uint64_t b)
{
	struct note *n = note_next(s);
	size_t i;

	hash_add(s, s->now_ns);
	hash_add(s, a);
	hash_add(s, b);
	n->what = what;
	for (i = 0; i + 1 < sizeof(n->who) && who[i] != 0; i++)
		n->who[i] = who[i];
	n->who[i] = 0;
	n->a = a;
	n->b = b;
	if (sim_tracing)
		note_print(n);
}

/* What the engines log goes into the same record. */
void __wrap_log_write(enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void __wrap_log_write(enum log_level level, const char *fmt, ...)
{
	struct note *n;
	va_list ap;

	if (sim_now == NULL || (level >= LOG_LEVEL_INFO && !sim_tracing))
		return;
	n = note_next(sim_now);
	va_start(ap, fmt);
	vsnprintf(n->text, sizeof(n->text), fmt, ap);
	va_end(ap);
	if (sim_tracing)
		note_print(n);
}

void sim_dump(void)
{
	unsigned from = nnotes > NOTES_MAX ? nnotes - NOTES_MAX : 0;

	for (unsigned i = from; i < nnotes && !sim_tracing; i++)
		note_print(&notes[i % NOTES_MAX]);
}

void sim_fail(struct sim *s, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	sim_dump();
	fprintf(stderr, "# seed %" PRIu64 ", %u+%u on %u, unit %u, at %.6f s: %s\n", s->seed,
		s->g.k, s->g.m, s->g.servers, s->g.unit, (double)s->now_ns / 1e9, text);
	fflush(stderr);
	_Exit(1);
}

/* ---- events -------------------------------------------------------------------------------- */

static bool before(const struct event *a, const struct event *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void queue_up(struct sim *s, unsigned i)
{
	struct event *e = s->queue[i];

	while (i > 0 && before(e, s->queue[(i - 1) / 2])) {
		s->queue[i] = s->queue[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	s->queue[i] = e;
}

static void queue_down(struct sim *s, unsigned i)
{
	struct event *e = s->queue[i];

	for (;;) {
		unsigned child = 2 * i + 1;

		if (child >= s->nqueue)
			break;
		if (child + 1 < s->nqueue && before(s->queue[child + 1], s->queue[child]))
			child++;
		if (!before(s->queue[child], e))
			break;
		s->queue[i] = s->queue[child];
		i = child;
	}
	s->queue[i] = e;
}

void sim_at(struct sim *s, struct event *e, uint64_t delay_ns)
{
	assert(!e->queued && s->nqueue < SIM_EVENTS_MAX);
	e->queued = true;
	e->at_ns = s->now_ns + delay_ns;
	e->order = s->order++;
	s->queue[s->nqueue++] = e;
	queue_up(s, s->nqueue - 1);
}

static void queue_remove(struct sim *s, unsigned i)
{
	s->queue[i]->queued = false;
	s->queue[i] = s->queue[--s->nqueue];
	if (i < s->nqueue) {
		queue_down(s, i);
		queue_up(s, i);
	}
}

static void unhold(struct event *e)
{
	struct event **at = &e->proc->held;

	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	if (*at == NULL)
		e->proc->held_tail = at;
	e->queued = false;
}

void sim_cancel(struct sim *s, struct event *e)
{
	if (!e->queued)
		return;
	for (unsigned i = 0; i < s->nqueue; i++)
		if (s->queue[i] == e) {
			queue_remove(s, i);
			return;
		}
	unhold(e);
}

/* ---- processes ----------------------------------------------------------------------------- */

static struct proc *running;

void proc_init(struct sim *s, struct proc *p, const char *name)
{
	memset(p, 0, sizeof(*p));
	p->sim = s;
	snprintf(p->name, sizeof(p->name), "%s", name);
	p->number = s->nprocs;
	p->held_tail = &p->held;
	assert(s->nprocs < SIM_PROCS_MAX);
	s->procs[s->nprocs++] = p;
}

void proc_start(struct proc *p)
{
	assert(!proc_alive(p));
	fake_env_init(&p->env, sim_random(p->sim));
	p->env.now_ns = p->sim->now_ns;
	p->frozen = p->doomed = false;
	p->life++;
	sim_note(p->sim, "starts", p->name, p->life, 0);
}

void proc_kill(struct proc *p)
{
	assert(proc_alive(p) && running != p);
	sim_note(p->sim, "dies", p->name, p->life, 0);
	proc_thaw(p);
	p->life++;
	p->env.ntimers = 0;
	p->env.first = p->env.last = NULL;
	heap_drop(&p->heap);
}

void proc_freeze(struct proc *p)
{
	if (!p->frozen)
		sim_note(p->sim, "freezes", p->name, 0, 0);
	p->frozen = true;
}

void proc_thaw(struct proc *p)
{
	if (!p->frozen)
		return;
	sim_note(p->sim, "thaws", p->name, 0, 0);
	p->frozen = false;
	while (p->held != NULL) {
		struct event *e = p->held;

		unhold(e);
		sim_at(p->sim, e, 0);
	}
}

void proc_enter(struct proc *p)
{
	assert(running == NULL && proc_alive(p) && !p->frozen);
	running = p;
	p->env.now_ns = p->sim->now_ns;
	heap_use(&p->heap);
}

void proc_leave(struct proc *p)
{
	assert(running == p);
	fake_env_run(&p->env);
	heap_use(NULL);
	running = NULL;
}

static struct io_timer *timer_first(struct sim *s, struct proc **whose)
{
	struct io_timer *first = NULL;

	for (unsigned n = 0; n < s->nprocs; n++) {
		struct proc *p = s->procs[n];

		for (int i = 0; i < p->env.ntimers && !p->frozen; i++)
			if (first == NULL || p->env.timers[i]->at_ns < first->at_ns) {
				first = p->env.timers[i];
				*whose = p;
			}
	}
	return first;
}

static void timer_fire(struct sim *s, struct proc *p, struct io_timer *t)
{
	if (t->at_ns > s->now_ns)
		s->now_ns = t->at_ns;
	sim_note(s, "timer", p->name, 0, 0);
	proc_enter(p);
	fake_timer_cancel(&p->env.env, t);
	t->fire(t);
	proc_leave(p);
}

static void event_fire(struct sim *s)
{
	struct event *e = s->queue[0];

	s->now_ns = e->at_ns;
	queue_remove(s, 0);
	if (e->proc != NULL && e->proc->frozen) {
		e->queued = true;
		e->next = NULL;
		*e->proc->held_tail = e;
		e->proc->held_tail = &e->next;
		return;
	}
	e->fn(e);
}

bool sim_run(struct sim *s, bool (*done)(struct sim *s), uint64_t for_ns)
{
	uint64_t until = s->now_ns + for_ns;

	while (!done(s)) {
		struct proc *p = NULL;
		struct io_timer *t = timer_first(s, &p);
		bool timer = t != NULL && (s->nqueue == 0 || t->at_ns <= s->queue[0]->at_ns);

		if (!timer && s->nqueue == 0)
			return false;
		if ((timer ? t->at_ns : s->queue[0]->at_ns) > until) {
			s->now_ns = until;
			return false;
		}
		if (++s->steps > SIM_STEPS_MAX)
			sim_fail(s, "it goes round in circles");
		if (timer)
			timer_fire(s, p, t);
		else
			event_fire(s);
	}
	return true;
}
