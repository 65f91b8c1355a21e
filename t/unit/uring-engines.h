/*
 * Two ends of a stream for tests: an echo, which sends back what it gets, and a source, which sends
 * a known sequence in pieces and remembers what comes back; and the loop that they run in.
 */
#ifndef WEFT_TEST_URING_ENGINES_H
#define WEFT_TEST_URING_ENGINES_H

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tap.h"
#include "uring.h"

static struct uring *loop; /* the one that the test runs */

/* What the two ends are made by: sockets, unless a test says otherwise. */
static struct stream *(*echo_stream)(struct uring *u, int fd, unsigned timeout_ms) = uring_stream;
static struct stream *(*source_stream)(struct uring *u, int fd, unsigned timeout_ms) = uring_stream;

#define ECHO_BYTES  65536
#define DEADLINE_NS (60 * NS_PER_S)
#define STALL_MS    30000 /* a busy machine may do nothing for long */

/* Sends back what it receives. Its buffer is heap memory, so that the sanitizer sees late writes.
 */
struct echo {
	struct stream *stream;
	uint8_t *buf;
	size_t len, sent; /* received; sent back of that */
	int closed;	  /* how often */
	int err;
	int fail_at;	    /* received() fails once so many bytes came */
	size_t total;	    /* bytes received */
	struct uring *stop; /* this loop when it is closed */
};

static size_t echo_window(void *engine, void **ptr)
{
	struct echo *e = engine;

	if (e->sent == e->len) /* only here: no receive is under way into the buffer */
		e->sent = e->len = 0;
	*ptr = e->buf + e->len;
	return ECHO_BYTES - e->len;
}

static int echo_received(void *engine, size_t n)
{
	struct echo *e = engine;

	e->len += n;
	e->total += n;
	if (e->fail_at > 0 && e->total >= (size_t)e->fail_at)
		return -EPROTO;
	stream_kick(e->stream);
	return 0;
}

static int echo_output(void *engine, struct iovec *iov, int max)
{
	struct echo *e = engine;
	size_t half = (e->len - e->sent) / 2;

	if (e->len == e->sent)
		return 0;
	iov[0] = (struct iovec){e->buf + e->sent, half};
	iov[1] = (struct iovec){e->buf + e->sent + half, e->len - e->sent - half};
	return 2;
}

static void echo_sent(void *engine, size_t n)
{
	struct echo *e = engine;

	e->sent += n;
	if (e->sent == e->len)
		stream_kick(e->stream);
}

static void echo_closed(void *engine, int err)
{
	struct echo *e = engine;

	e->closed++;
	e->err = err;
	free(e->buf);
	e->buf = NULL;
	if (e->stop != NULL)
		uring_stop(e->stop);
}

static const struct stream_ops echo_ops = {
	.window = echo_window,
	.received = echo_received,
	.output = echo_output,
	.sent = echo_sent,
	.closed = echo_closed,
};

static void echo_start(struct echo *e, struct uring *u, int fd)
{
	*e = (struct echo){.buf = malloc(ECHO_BYTES)};
	e->stream = echo_stream(u, fd, STALL_MS);
	stream_attach(e->stream, &echo_ops, e);
}

/* Sends total bytes of a pattern and checks what comes back. */
struct source {
	struct stream *stream;
	uint8_t *out, *in;
	size_t total, sent, received, chunk;
	bool no_window; /* takes nothing */
	bool stop_at_end;
	size_t close_at; /* close once so many bytes came back */
	int closed, err;
	bool stop_when_closed;
};

static size_t source_window(void *engine, void **ptr)
{
	struct source *s = engine;

	*ptr = s->in + s->received;
	return s->no_window ? 0 : s->total - s->received;
}

static int source_received(void *engine, size_t n)
{
	struct source *s = engine;

	s->received += n;
	if (s->close_at > 0 && s->received >= s->close_at)
		stream_close(s->stream);
	if (s->received == s->total && s->stop_at_end)
		uring_stop(loop);
	return 0;
}

static int source_output(void *engine, struct iovec *iov, int max)
{
	struct source *s = engine;
	size_t at = s->sent;
	int n = 0;

	for (; n < max && at < s->total; n++) {
		size_t len = s->total - at < s->chunk ? s->total - at : s->chunk;

		iov[n] = (struct iovec){s->out + at, len};
		at += len;
	}
	return n;
}

static void source_sent(void *engine, size_t n)
{
	((struct source *)engine)->sent += n;
}

static void source_closed(void *engine, int err)
{
	struct source *s = engine;

	s->closed++;
	s->err = err;
	if (s->stop_when_closed)
		uring_stop(loop);
}

static const struct stream_ops source_ops = {
	.window = source_window,
	.received = source_received,
	.output = source_output,
	.sent = source_sent,
	.closed = source_closed,
};

static void source_start_stalls(struct source *s, struct uring *u, int fd, size_t total,
				size_t chunk, unsigned stall_ms)
{
	*s = (struct source){.total = total, .chunk = chunk};
	s->out = malloc(total);
	s->in = calloc(1, total);
	for (size_t i = 0; i < total; i++)
		s->out[i] = (uint8_t)(i * 7 + (i >> 9));
	s->stream = source_stream(u, fd, stall_ms);
	stream_attach(s->stream, &source_ops, s);
}

static void source_start(struct source *s, struct uring *u, int fd, size_t total, size_t chunk)
{
	source_start_stalls(s, u, fd, total, chunk, STALL_MS);
}

static bool source_matches(const struct source *s)
{
	return s->received == s->total && memcmp(s->in, s->out, s->total) == 0;
}

static void source_free(struct source *s)
{
	free(s->in);
	free(s->out);
}

static bool timed_out;

static void watchdog_fire(struct io_timer *t)
{
	timed_out = true;
	uring_stop(loop);
}

/* Runs the loop until someone stops it; never longer than the deadline. */
static bool run(void)
{
	struct env *env = uring_env(loop);
	struct io_timer watchdog = {.fire = watchdog_fire};
	int err;

	timed_out = false;
	env->ops->timer_set(env, &watchdog, env->ops->now_ns(env) + DEADLINE_NS);
	err = uring_run(loop);
	env->ops->timer_cancel(env, &watchdog);
	return err == 0 && !timed_out;
}

static void pair(int fds[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		abort();
}

static void test_close_while_busy(void)
{
	struct source s;
	struct echo e;
	int fds[2];

	pair(fds);
	echo_start(&e, loop, fds[0]);
	/* nobody reads what comes back: it takes until that is given up */
	source_start_stalls(&s, loop, fds[1], 8 << 20, 1 << 20, 500);
	s.close_at = 100000;
	s.stop_when_closed = true;
	ok(run() && s.closed == 1, "closing with both directions busy ends");
	if (e.closed == 0) {
		e.stop = loop;
		run();
	}
	is_int(e.closed, 1, "the other end sees it");
	source_free(&s);
}

#endif
