/*
 * The loop's timers: a binary heap of pointers to timers that their owners embed. priv[0] of an
 * armed timer is its index in the heap, so that it can be moved and cancelled in place. The heap
 * has a fixed length (untouched pages of it cost nothing), so arming a timer cannot fail.
 */
#include "config.h"

#include <assert.h>

#include "uring-internal.h"

#include "banned.h"

static unsigned timer_index(const struct io_timer *t)
{
	return (unsigned)(uintptr_t)t->priv[0];
}

static void timer_place(struct uring *u, unsigned i, struct io_timer *t)
{
	u->timers[i] = t;
	t->priv[0] = (void *)(uintptr_t)i;
}

static void timer_sift_up(struct uring *u, unsigned i, struct io_timer *t)
{
	while (i > 0) {
		unsigned parent = (i - 1) / 2;

		if (u->timers[parent]->at_ns <= t->at_ns)
			break;
		timer_place(u, i, u->timers[parent]);
		i = parent;
	}
	timer_place(u, i, t);
}

static void timer_sift_down(struct uring *u, unsigned i, struct io_timer *t)
{
	for (;;) {
		unsigned child = 2 * i + 1;

		if (child >= u->ntimers)
			break;
		if (child + 1 < u->ntimers && u->timers[child + 1]->at_ns < u->timers[child]->at_ns)
			child++;
		if (t->at_ns <= u->timers[child]->at_ns)
			break;
		timer_place(u, i, u->timers[child]);
		i = child;
	}
	timer_place(u, i, t);
}

static void timer_move(struct uring *u, unsigned i, struct io_timer *t)
{
	if (i > 0 && u->timers[(i - 1) / 2]->at_ns > t->at_ns)
		timer_sift_up(u, i, t);
	else
		timer_sift_down(u, i, t);
}

void uring_timer_set(struct env *e, struct io_timer *t, uint64_t at_ns)
{
	struct uring *u = (struct uring *)e;
	bool armed = t->at_ns != 0;

	t->at_ns = at_ns == 0 ? 1 : at_ns; /* 0 means not armed */
	if (armed) {
		assert(timer_index(t) < u->ntimers && u->timers[timer_index(t)] == t);
		timer_move(u, timer_index(t), t);
		return;
	}
	assert(u->ntimers < URING_TIMERS_MAX);
	timer_sift_up(u, u->ntimers++, t);
}

void uring_timer_cancel(struct env *e, struct io_timer *t)
{
	struct uring *u = (struct uring *)e;
	unsigned i = timer_index(t);
	struct io_timer *last;

	if (t->at_ns == 0)
		return;
	assert(i < u->ntimers && u->timers[i] == t);
	t->at_ns = 0;
	last = u->timers[--u->ntimers];
	if (last != t)
		timer_move(u, i, last);
}

void uring_timers_run(struct uring *u)
{
	unsigned most = u->ntimers; /* one that arms itself for now waits for the next turn */
	uint64_t now;

	if (most == 0)
		return;
	now = u->env.ops->now_ns(&u->env);
	while (most-- > 0 && u->ntimers > 0 && u->timers[0]->at_ns <= now) {
		struct io_timer *t = u->timers[0];

		uring_timer_cancel(&u->env, t);
		t->fire(t);
	}
}
