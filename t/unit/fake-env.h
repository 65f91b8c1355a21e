/*
 * The world of lib/io.h in memory, for unit tests: a clock that moves when told, timers, deferred
 * tasks, a random source with a seed, and streams whose other end is the test.
 *
 * A test moves bytes by fake_stream_feed() and fake_stream_take(), or between two engines by
 * fake_pipe_move(), and lets deferred work happen by fake_env_run() or fake_env_advance().
 */
#ifndef WEFT_FAKE_ENV_H
#define WEFT_FAKE_ENV_H

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "io.h"

#define FAKE_TIMERS_MAX 256
#define FAKE_UNUSED	__attribute__((unused))

struct fake_env {
	struct env env; /* first: give &fake.env to engines */
	uint64_t now_ns;
	uint64_t random;
	struct io_timer *timers[FAKE_TIMERS_MAX];
	int ntimers;
	struct io_task *first, *last;
};

static uint64_t fake_next(struct fake_env *f)
{
	uint64_t z = (f->random += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* 0 to n - 1 */
FAKE_UNUSED static uint32_t fake_below(struct fake_env *f, uint32_t n)
{
	return (uint32_t)((fake_next(f) >> 32) * n >> 32);
}

static uint64_t fake_now(struct env *e)
{
	return ((struct fake_env *)e)->now_ns;
}

static void fake_random(struct env *e, void *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = (uint8_t)fake_next((struct fake_env *)e);
}

static void fake_timer_cancel(struct env *e, struct io_timer *t)
{
	struct fake_env *f = (struct fake_env *)e;

	for (int i = 0; i < f->ntimers; i++) {
		if (f->timers[i] == t) {
			f->timers[i] = f->timers[--f->ntimers];
			break;
		}
	}
	t->at_ns = 0;
}

static void fake_timer_set(struct env *e, struct io_timer *t, uint64_t at_ns)
{
	struct fake_env *f = (struct fake_env *)e;

	fake_timer_cancel(e, t);
	assert(f->ntimers < FAKE_TIMERS_MAX);
	t->at_ns = at_ns > 0 ? at_ns : 1;
	f->timers[f->ntimers++] = t;
}

static void fake_defer(struct env *e, struct io_task *t)
{
	struct fake_env *f = (struct fake_env *)e;

	if (t->queued)
		return;
	t->queued = 1;
	t->next = NULL;
	if (f->last != NULL)
		f->last->next = t;
	else
		f->first = t;
	f->last = t;
}

static const struct env_ops fake_env_ops = {
	.now_ns = fake_now,
	.random = fake_random,
	.timer_set = fake_timer_set,
	.timer_cancel = fake_timer_cancel,
	.defer = fake_defer,
};

FAKE_UNUSED static void fake_env_init(struct fake_env *f, uint64_t seed)
{
	memset(f, 0, sizeof(*f));
	f->env.ops = &fake_env_ops;
	f->now_ns = NS_PER_S;
	f->random = seed;
}

/* Run what was deferred, also what that defers; how many tasks ran. */
FAKE_UNUSED static int fake_env_run(struct fake_env *f)
{
	struct io_task *t;
	int n = 0;

	while ((t = f->first) != NULL) {
		f->first = t->next;
		if (f->first == NULL)
			f->last = NULL;
		t->queued = 0;
		t->run(t);
		n++;
		assert(n < 10000000);
	}
	return n;
}

/* Let time pass; timers fire in their order, deferred work runs in between. */
FAKE_UNUSED static void fake_env_advance(struct fake_env *f, uint64_t ns)
{
	uint64_t until = f->now_ns + ns;

	fake_env_run(f);
	for (;;) {
		struct io_timer *t = NULL;

		for (int i = 0; i < f->ntimers; i++)
			if (f->timers[i]->at_ns <= until &&
			    (t == NULL || f->timers[i]->at_ns < t->at_ns))
				t = f->timers[i];
		if (t == NULL)
			break;
		if (t->at_ns > f->now_ns)
			f->now_ns = t->at_ns;
		fake_timer_cancel(&f->env, t);
		t->fire(t);
		fake_env_run(f);
	}
	f->now_ns = until;
}

/* ---- streams ------------------------------------------------------------------------------- */

struct fake_stream {
	struct stream stream; /* first */
	bool kicked;
	bool closing; /* the engine asked for the end, or received() failed */
	bool closed;
	int err; /* what received() returned */
};

static void fake_kick(struct stream *s)
{
	((struct fake_stream *)s)->kicked = true;
}

static void fake_close(struct stream *s)
{
	((struct fake_stream *)s)->closing = true;
}

static const struct stream_transport fake_transport = {.kick = fake_kick, .close = fake_close};

FAKE_UNUSED static void fake_stream_init(struct fake_stream *s)
{
	memset(s, 0, sizeof(*s));
	s->stream.transport = &fake_transport;
}

/* Give up to len bytes, in pieces of up to step bytes. Returns how many were taken: fewer when the
 * window is closed or the engine has had enough. */
FAKE_UNUSED static size_t fake_stream_feed(struct fake_stream *s, const void *data, size_t len,
					   size_t step)
{
	size_t done = 0;

	while (done < len && !s->closing && !s->closed) {
		void *ptr = NULL;
		size_t n = s->stream.ops->window(s->stream.engine, &ptr);

		if (n == 0)
			break;
		if (n > len - done)
			n = len - done;
		if (n > step)
			n = step;
		memcpy(ptr, (const uint8_t *)data + done, n);
		done += n;
		s->err = s->stream.ops->received(s->stream.engine, n);
		if (s->err < 0)
			s->closing = true;
	}
	return done;
}

/* Take up to max bytes of output. */
FAKE_UNUSED static size_t fake_stream_take(struct fake_stream *s, void *to, size_t max)
{
	size_t done = 0;

	s->kicked = false;
	while (done < max && !s->closed) {
		struct iovec iov[STREAM_IOV_MAX];
		int n = s->stream.ops->output(s->stream.engine, iov, STREAM_IOV_MAX);
		size_t now = 0;

		for (int i = 0; i < n && done < max; i++) {
			size_t len = iov[i].iov_len < max - done ? iov[i].iov_len : max - done;

			assert(len > 0);
			memcpy((uint8_t *)to + done, iov[i].iov_base, len);
			done += len;
			now += len;
		}
		if (now == 0)
			break;
		s->stream.ops->sent(s->stream.engine, now);
	}
	return done;
}

/* The connection ends: the engine hears of it, once. */
FAKE_UNUSED static void fake_stream_break(struct fake_stream *s, int err)
{
	if (s->closed)
		return;
	s->closed = true;
	s->stream.ops->closed(s->stream.engine, err);
}

/* Move up to max bytes from one engine's output to another's window. What the other has no room for
 * stays. Returns the bytes moved. */
FAKE_UNUSED static size_t fake_pipe_move(struct fake_stream *from, struct fake_stream *to,
					 size_t max)
{
	struct iovec iov[STREAM_IOV_MAX];
	size_t done = 0;
	int n;

	if (from->closed || to->closed || to->closing)
		return 0;
	from->kicked = false;
	n = from->stream.ops->output(from->stream.engine, iov, STREAM_IOV_MAX);
	for (int i = 0; i < n && done < max; i++) {
		size_t want = iov[i].iov_len < max - done ? iov[i].iov_len : max - done;
		size_t got = fake_stream_feed(to, iov[i].iov_base, want, SIZE_MAX);

		done += got;
		if (got < want)
			break;
	}
	if (done > 0)
		from->stream.ops->sent(from->stream.engine, done);
	return done;
}

#endif
