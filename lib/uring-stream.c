/*
 * Connections: an engine's stream on a socket.
 *
 * One receive and one send are under way at most. A send is first tried directly: nearly always the
 * socket takes everything, and then the ring has nothing to report and the loop is not woken for
 * it. Only what does not fit waits in the ring.
 *
 * Measured (6.18, two cores, 4 KiB reads of a tmpfs file over TCP, direct against ring): depth 1
 * 56 k/s and 9.4 us of processor time each against 51 k/s and 9.6 us; depth 32 381 k/s and 1.85 us
 * against 360 k/s and 1.94 us; 1 MiB reads alike. Registering the sockets saves 3 to 6 % (10.0 and
 * 1.97 us without). System calls a request: two and the disk's at depth 1, a quarter and the
 * disk's at depth 32.
 *
 * The engine's memory: a receive points into its window, a send into its output. So a stream ends
 * in two steps: cancel what is under way, and when its completions are here, call closed().
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "uring-internal.h"

#include "banned.h"

#define SEND_ROUNDS_MAX	  8	    /* sends of one stream before the others get their turn */
#define RECV_ROUNDS_MAX	  8	    /* direct receives after one that filled its window */
#define UNIX_SNDBUF_BYTES (1 << 20) /* the default of 208 KiB makes large replies wait */

enum stream_state {
	STREAM_OPEN,
	STREAM_CLOSING,	  /* the output is still sent */
	STREAM_BROKEN,	  /* nothing more is sent */
	STREAM_DETACHING, /* to go on in another loop */
	STREAM_GONE,	  /* closed() was called; only the memory is left */
};

struct uring_stream {
	struct stream base; /* first: a stream is its uring_stream */
	struct uring *u;
	int fd;
	int slot; /* in the table of registered files, or -1 */
	enum stream_state state;
	int err;	 /* for closed() */
	bool receiving;	 /* recv_op is under way */
	bool sending;	 /* send_op is under way */
	bool sock_empty; /* the last receive left nothing: wait for data before trying */
	bool sock_full;	 /* the last send did not fit: wait for room before trying */
	bool drained;	 /* output() had nothing more */
	bool cancelled;	 /* what is under way was asked to end */
	bool shared;	 /* the socket goes on without us */
	size_t recv_len; /* bytes that recv_op may take */
	uint64_t send_timeout_ns;
	struct uring_kick kick;
	struct uring_op recv_op;
	struct uring_op send_op;
	size_t send_len; /* bytes that send_op was given */
	struct io_timer send_timer;
	void (*detached)(void *arg, int fd);
	void *detached_arg;
	struct msghdr msg;
	struct iovec iov[STREAM_IOV_MAX];
};

static struct uring_stream *to_stream(struct stream *base)
{
	return (struct uring_stream *)base;
}

static void stream_queue(struct uring_stream *s)
{
	uring_kick(s->u, &s->kick);
}

/* The first reason to end wins. */
static void stream_end(struct uring_stream *s, enum stream_state state, int err)
{
	if (s->state == STREAM_OPEN || s->state == STREAM_DETACHING) {
		s->err = err;
		s->state = state;
	} else if (s->state == STREAM_CLOSING && state == STREAM_BROKEN) {
		if (s->err == 0)
			s->err = err;
		s->state = state;
	}
	stream_queue(s);
}

/* ---- sending ------------------------------------------------------------------------------- */

static size_t stream_output(struct uring_stream *s)
{
	int n = s->base.ops->output(s->base.engine, s->iov, STREAM_IOV_MAX);
	size_t len = 0;

	assert(n >= 0 && n <= STREAM_IOV_MAX);
	for (int i = 0; i < n; i++)
		len += s->iov[i].iov_len;
	s->msg.msg_iov = s->iov;
	s->msg.msg_iovlen = (size_t)n;
	s->drained = len == 0;
	return len;
}

static void stream_send_later(struct uring_stream *s, size_t len)
{
	struct env *env = &s->u->env;
	struct io_uring_sqe *sqe = uring_sqe(s->u);

	io_uring_prep_sendmsg(sqe, uring_file_fd(s->fd, s->slot), &s->msg, MSG_NOSIGNAL);
	sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
	uring_file_flag(sqe, s->slot);
	uring_sqe_op(sqe, &s->send_op);
	s->sending = true;
	s->send_len = len;
	if (s->send_timeout_ns > 0)
		uring_timer_set(env, &s->send_timer, env->ops->now_ns(env) + s->send_timeout_ns);
}

static void send_done(struct uring_op *op, int res, unsigned flags)
{
	struct uring_stream *s =
		(struct uring_stream *)((char *)op - offsetof(struct uring_stream, send_op));

	s->sending = false;
	uring_timer_cancel(&s->u->env, &s->send_timer);
	if (res >= 0) {
		assert((size_t)res <= s->send_len);
		s->sock_full = (size_t)res < s->send_len;
		if (res > 0)
			s->base.ops->sent(s->base.engine, (size_t)res);
	} else if (res != -EAGAIN && res != -EINTR && res != -ECANCELED) {
		stream_end(s, STREAM_BROKEN, res);
	}
	stream_queue(s);
}

static void send_timed_out(struct io_timer *t)
{
	struct uring_stream *s =
		(struct uring_stream *)((char *)t - offsetof(struct uring_stream, send_timer));

	stream_end(s, STREAM_BROKEN, -ETIMEDOUT);
}

/* One direct send. Returns false when there is no more to do now. */
static bool stream_send_now(struct uring_stream *s)
{
	size_t len = stream_output(s);
	ssize_t n;

	if (len == 0)
		return false;
	if (s->sock_full) {
		stream_send_later(s, len);
		return false;
	}
	n = sendmsg(s->fd, &s->msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && errno == EINTR)
		return true;
	if (n < 0 && errno != EAGAIN) {
		int err = -errno;

		if (s->base.ops->send_failed != NULL &&
		    s->base.ops->send_failed(s->base.engine, err) == 0)
			return true;
		stream_end(s, STREAM_BROKEN, err);
		return false;
	}
	if (n > 0)
		s->base.ops->sent(s->base.engine, (size_t)n);
	s->sock_full = n < (ssize_t)len;
	return true;
}

static void stream_send(struct uring_stream *s)
{
	if (s->state != STREAM_OPEN && s->state != STREAM_CLOSING)
		return;
	for (int i = 0; i < SEND_ROUNDS_MAX && !s->sending; i++)
		if (!stream_send_now(s))
			return;
	if (!s->sending)
		stream_queue(s);
}

/* ---- receiving ----------------------------------------------------------------------------- */

static void stream_receive(struct uring_stream *s)
{
	struct io_uring_sqe *sqe;
	void *ptr = NULL;
	size_t len;

	if (s->state != STREAM_OPEN || s->receiving)
		return;
	len = s->base.ops->window(s->base.engine, &ptr);
	if (len == 0)
		return;
	sqe = uring_sqe(s->u);
	io_uring_prep_recv(sqe, uring_file_fd(s->fd, s->slot), ptr, len, 0);
	if (s->sock_empty)
		sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
	uring_file_flag(sqe, s->slot);
	uring_sqe_op(sqe, &s->recv_op);
	s->recv_len = len;
	s->receiving = true;
}

/*
 * The last receive filled its window, so more is there: a header's payload, or the next request.
 * Take it at once; a trip through the ring for each piece would answer each on its own, and wake
 * the peer each time.
 */
static void stream_receive_now(struct uring_stream *s)
{
	for (int i = 0; i < RECV_ROUNDS_MAX && s->state == STREAM_OPEN && !s->sock_empty; i++) {
		void *ptr = NULL;
		size_t len = s->base.ops->window(s->base.engine, &ptr);
		ssize_t n;
		int err;

		if (len == 0)
			return;
		n = recv(s->fd, ptr, len, MSG_DONTWAIT);
		if (n <= 0) { /* nothing, the end or an error: the ring tells */
			s->sock_empty = n < 0 && errno == EAGAIN;
			return;
		}
		s->sock_empty = (size_t)n < len;
		err = s->base.ops->received(s->base.engine, (size_t)n);
		if (err < 0)
			stream_end(s, STREAM_CLOSING, err);
	}
}

static void receive_done(struct uring_op *op, int res, unsigned flags)
{
	struct uring_stream *s =
		(struct uring_stream *)((char *)op - offsetof(struct uring_stream, recv_op));
	int err;

	s->receiving = false;
	s->sock_empty = (flags & IORING_CQE_F_SOCK_NONEMPTY) == 0;
	stream_queue(s);
	if (res == -EAGAIN || res == -EINTR || res == -ECANCELED)
		return;
	if (res == 0 && s->state == STREAM_DETACHING) {
		s->sock_empty = false; /* the next loop sees the end again */
		return;
	}
	if (res <= 0) {
		stream_end(s, STREAM_BROKEN, res);
		return;
	}
	if (s->state != STREAM_OPEN && s->state != STREAM_DETACHING)
		return; /* the engine wants no more of it */
	err = s->base.ops->received(s->base.engine, (size_t)res);
	if (err < 0)
		stream_end(s, STREAM_CLOSING, err);
	else if ((size_t)res == s->recv_len)
		stream_receive_now(s);
}

/* ---- the end ------------------------------------------------------------------------------- */

/* Ask what is under way to end. Returns true when nothing is. */
static bool stream_quiet(struct uring_stream *s)
{
	if (!s->receiving && !s->sending)
		return true;
	if (!s->cancelled) {
		s->cancelled = true;
		if (s->receiving)
			uring_cancel(s->u, &s->recv_op);
		if (s->sending)
			uring_cancel(s->u, &s->send_op);
	}
	return false;
}

/* The last step: engine and socket are let go of. */
static void stream_finish(struct uring_stream *s)
{
	bool detach = s->state == STREAM_DETACHING;
	int fd = s->fd;

	uring_timer_cancel(&s->u->env, &s->send_timer);
	s->state = STREAM_GONE;
	uring_file_remove(s->u, s->slot);
	if (!detach) {
		/* The table may hold the socket a little longer; the peer shall know now. */
		if (!s->shared)
			shutdown(fd, SHUT_RDWR);
		close(fd);
		s->base.ops->closed(s->base.engine, s->err);
	}
	if (s->detached != NULL)
		s->detached(s->detached_arg, detach ? fd : -1);
	/* A kick from within those calls keeps it until the list is walked. */
	if (!s->kick.queued)
		free(s);
}

static void stream_pump(struct uring_stream *s)
{
	stream_send(s);
	stream_receive(s);
	if (s->state == STREAM_OPEN)
		return;
	if (s->state == STREAM_CLOSING && (s->sending || !s->drained)) {
		if (!s->sending)
			stream_queue(s);
		return;
	}
	if (stream_quiet(s))
		stream_finish(s);
}

static void stream_run(struct uring_kick *k)
{
	struct uring_stream *s =
		(struct uring_stream *)((char *)k - offsetof(struct uring_stream, kick));

	if (s->state == STREAM_GONE)
		free(s);
	else
		stream_pump(s);
}

/* ---- calls --------------------------------------------------------------------------------- */

static void transport_kick(struct stream *base)
{
	stream_queue(to_stream(base));
}

static void transport_close(struct stream *base)
{
	stream_end(to_stream(base), STREAM_CLOSING, 0);
}

static void transport_abort(struct stream *base, int err)
{
	stream_end(to_stream(base), STREAM_BROKEN, err);
}

static void transport_drop(struct stream *base)
{
	struct uring_stream *s = to_stream(base);

	assert(s->base.ops == NULL && s->kick.queued);
	s->state = STREAM_GONE; /* freed when the list is walked */
	uring_file_remove(s->u, s->slot);
	close(s->fd);
}

static int transport_fd(const struct stream *base)
{
	return ((const struct uring_stream *)base)->fd;
}

static const struct uring_transport socket_transport = {
	.base = {.kick = transport_kick, .close = transport_close},
	.abort = transport_abort,
	.drop = transport_drop,
	.fd = transport_fd,
};

static void socket_tune(int fd)
{
	int one = 1, sndbuf = UNIX_SNDBUF_BYTES, domain = 0;
	socklen_t len = sizeof(domain);

	/* Failures cost speed only. */
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0)
		return;
	if (domain == AF_UNIX)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf));
	else
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

struct stream *uring_stream(struct uring *u, int fd, unsigned send_timeout_ms)
{
	struct uring_stream *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		close(fd);
		return NULL;
	}
	socket_tune(fd);
	s->base.transport = &socket_transport.base;
	s->kick.run = stream_run;
	s->u = u;
	s->fd = fd;
	s->slot = uring_file_add(u, fd);
	s->send_timeout_ns = send_timeout_ms * NS_PER_MS;
	s->recv_op.done = receive_done;
	s->send_op.done = send_done;
	s->send_timer.fire = send_timed_out;
	stream_queue(s);
	return &s->base;
}

void uring_stream_detach(struct stream *base, void (*done)(void *arg, int fd), void *arg)
{
	struct uring_stream *s = to_stream(base);

	assert(base->transport == &socket_transport.base);
	assert(s->detached == NULL && s->state != STREAM_GONE);
	s->detached = done;
	s->detached_arg = arg;
	if (s->state == STREAM_OPEN)
		s->state = STREAM_DETACHING;
	stream_queue(s);
}

void uring_stream_share(struct stream *base)
{
	assert(base->transport == &socket_transport.base);
	to_stream(base)->shared = true;
}

/* ---- of all transports --------------------------------------------------------------------- */

int uring_stream_fd(const struct stream *base)
{
	return ((const struct uring_transport *)base->transport)->fd(base);
}

void uring_stream_drop(struct stream *base)
{
	((const struct uring_transport *)base->transport)->drop(base);
}

void uring_stream_abort(struct stream *base, int err)
{
	((const struct uring_transport *)base->transport)->abort(base, err);
}
