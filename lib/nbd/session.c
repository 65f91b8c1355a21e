/*
 * The server's NBD session: its life, and its side of the stream. What the bytes mean is in
 * negotiate.c, options.c, request.c and reply.c.
 *
 * Input goes through one buffer, so that one receive brings many requests; only the rest of a large
 * payload is received straight into its own memory. While something has to be waited for (a limit,
 * memory, a client that does not read) the window is closed and the parser is started again by a
 * deferred task, never from inside a back end's call.
 */
#include "config.h"

#include "nbd/session-impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "log.h"

#include "banned.h"

static int session_parse(struct nbd_session *s)
{
	int r = 1;

	assert(!s->parsing);
	s->parsing = true;
	s->now_ns = s->env->ops->now_ns(s->env);
	while (r > 0 && s->blocked == SESSION_FREE) {
		switch (s->state) {
		case SESSION_FLAGS:
			r = session_step_flags(s);
			break;
		case SESSION_OPTIONS:
			r = session_step_option(s);
			break;
		case SESSION_TRANSMIT:
			r = session_step_request(s);
			break;
		default:
			r = 0;
		}
	}
	s->parsing = false;
	session_tell_boundary(s);
	if (r < 0 && s->state < SESSION_ENDED)
		s->state = SESSION_ENDED;
	return r;
}

static void session_defer(struct nbd_session *s)
{
	if (s->task_queued)
		return;
	s->task_queued = true;
	s->env->ops->defer(s->env, &s->parse_task);
}

static void session_task(struct io_task *task)
{
	struct nbd_session *s =
		(struct nbd_session *)((char *)task - offsetof(struct nbd_session, parse_task));

	s->task_queued = false;
	if (s->state == SESSION_CLOSED) {
		session_maybe_free(s);
		return;
	}
	s->blocked = SESSION_FREE;
	if (session_parse(s) < 0)
		session_end(s);
	else
		stream_kick(s->stream);
}

static void session_retry(struct io_timer *timer)
{
	struct nbd_session *s =
		(struct nbd_session *)((char *)timer - offsetof(struct nbd_session, retry_timer));

	session_unblock(s);
}

static void session_handshake_late(struct io_timer *timer)
{
	struct nbd_session *s = (struct nbd_session *)((char *)timer - offsetof(struct nbd_session,
										handshake_timer));

	log_info("nbd: %s: no export was opened within %u s, closing", s->peer,
		 NBD_HANDSHAKE_MS / 1000);
	session_end(s);
}

static void session_stalled(struct io_timer *timer)
{
	struct nbd_session *s =
		(struct nbd_session *)((char *)timer - offsetof(struct nbd_session, stall_timer));

	if (!s->rx.direct)
		return;
	if (s->direct_bytes != s->stall_bytes) {
		session_watch_payload(s);
		return;
	}
	log_info("nbd: %s: sent nothing of a payload for %u s, closing", s->peer,
		 NBD_STALL_MS / 1000);
	session_end(s);
}

void session_watch_payload(struct nbd_session *s)
{
	/* one that is armed already will look again: arming it for each payload would cost more */
	if (s->stall_timer.at_ns != 0)
		return;
	s->stall_bytes = s->direct_bytes;
	s->env->ops->timer_set(s->env, &s->stall_timer,
			       s->env->ops->now_ns(s->env) + NBD_STALL_MS * NS_PER_MS);
}

void session_block(struct nbd_session *s, enum session_block why)
{
	s->blocked = why;
	if (why == SESSION_BLOCK_MEMORY)
		s->env->ops->timer_set(s->env, &s->retry_timer,
				       s->now_ns + SESSION_RETRY_MS * NS_PER_MS);
}

void session_unblock(struct nbd_session *s)
{
	if (s->blocked != SESSION_FREE && s->state < SESSION_ENDED)
		session_defer(s);
}

void session_end(struct nbd_session *s)
{
	if (s->state == SESSION_CLOSED)
		return;
	s->state = SESSION_ENDED;
	stream_close(s->stream);
}

void session_maybe_free(struct nbd_session *s)
{
	struct nbd_req *req;

	if (s->state != SESSION_CLOSED || s->inflight > 0 || s->task_queued)
		return;
	while ((req = s->free_reqs) != NULL) {
		s->free_reqs = req->next;
		free(req);
	}
	free(s);
}

/* ---- the stream's calls -------------------------------------------------------------------- */

static size_t session_window(void *engine, void **ptr)
{
	struct nbd_session *s = engine;
	uint32_t room;

	if (s->state > SESSION_TRANSMIT || s->state == SESSION_WAITING)
		return 0;
	if (s->rx.direct) {
		*ptr = s->rx.buf->data + s->rx.got;
		return s->rx.left;
	}
	if (s->blocked != SESSION_FREE || s->task_queued)
		return 0;
	if (s->in_head == s->in_tail) {
		s->in_head = s->in_tail = 0;
	} else if (SESSION_IN_BYTES - s->in_tail < SESSION_IN_COMPACT) {
		memmove(s->in, s->in + s->in_head, session_avail(s));
		s->in_tail -= s->in_head;
		s->in_head = 0;
	}
	room = SESSION_IN_BYTES - s->in_tail;
	assert(room > 0);
	/* A small first bite: what comes with the header has to be copied. */
	if (s->rx.large && s->in_tail == 0)
		room = SESSION_IN_LARGE;
	*ptr = s->in + s->in_tail;
	return room;
}

static int session_received(void *engine, size_t n)
{
	struct nbd_session *s = engine;

	s->in_total += (uint32_t)n;
	session_tell_received(s);
	if (s->state >= SESSION_DISC)
		return 0;
	if (s->rx.direct) {
		session_payload_received(s, n);
		if (s->rx.direct)
			return 0;
	} else {
		assert(n <= SESSION_IN_BYTES - s->in_tail);
		s->in_tail += (uint32_t)n;
	}
	if (s->blocked != SESSION_FREE || s->state == SESSION_WAITING)
		return 0;
	return session_parse(s) < 0 ? -EPROTO : 0;
}

static int session_output(void *engine, struct iovec *iov, int max)
{
	struct nbd_session *s = engine;
	int n = 0;

	if (s->neg_head != NULL)
		n = session_neg_output(s, iov, max);
	if (s->split || s->whole) /* nothing shares a send with the negotiation */
		return n > 0 ? n : session_whole_output(s, iov, max);
	return n + session_reply_output(s, iov + n, max - n);
}

static void session_sent(void *engine, size_t n)
{
	struct nbd_session *s = engine;

	if (s->neg_head != NULL) {
		n = session_neg_sent(s, n);
		if (s->blocked == SESSION_BLOCK_OUTPUT && s->neg_bytes <= SESSION_NEG_OUT_STOP)
			session_unblock(s);
	}
	if (n > 0)
		session_reply_sent(s, n);
}

static int session_failed(void *engine, int err)
{
	return session_send_failed(engine, err);
}

static void session_closed(void *engine, int err)
{
	struct nbd_session *s = engine;
	struct nbd_req *req;

	if (err != 0)
		log_debug("nbd: %s: connection over: %s", s->peer, strerror(-err));
	s->stream = NULL;
	s->state = SESSION_CLOSED;
	s->env->ops->timer_cancel(s->env, &s->retry_timer);
	s->env->ops->timer_cancel(s->env, &s->handshake_timer);
	s->env->ops->timer_cancel(s->env, &s->stall_timer);
	while ((req = s->tx_head) != NULL) {
		s->tx_head = req->reply_next;
		session_req_free(s, req);
	}
	if (s->rx.req != NULL) {
		buf_put(s->rx.buf);
		session_req_free(s, s->rx.req);
	}
	session_neg_free(s);
	free(s->meta_name);
	free(s->in);
	s->in = s->meta_name = NULL;
	if (s->ops->closed != NULL)
		s->ops->closed(s->ctx, s, s->opened ? s->export.ctx : NULL);
	session_maybe_free(s);
}

static const struct stream_ops session_stream_ops = {
	.window = session_window,
	.received = session_received,
	.output = session_output,
	.sent = session_sent,
	.send_failed = session_failed,
	.closed = session_closed,
};

/* ---- life ---------------------------------------------------------------------------------- */

static void session_configure(struct nbd_session *s, const struct nbd_session_config *config,
			      struct stream *stream)
{
	s->ops = config->ops;
	s->ctx = config->ctx;
	s->env = config->env;
	s->pool = config->pool;
	s->auth = config->auth;
	if (config->peer_name != NULL)
		snprintf(s->peer, sizeof(s->peer), "%s", config->peer_name);
	s->stream = stream;
	stream_attach(stream, &session_stream_ops, s);
}

struct nbd_session *nbd_session_create(const struct nbd_session_config *config,
				       struct stream *stream)
{
	struct nbd_session *s = calloc(1, sizeof(*s));

	assert(config->ops->open != NULL && config->ops->request != NULL);
	if (s == NULL)
		return NULL;
	s->in = malloc(SESSION_IN_BYTES);
	if (s->in == NULL || session_greet(s) < 0) {
		session_neg_free(s);
		free(s->in);
		free(s);
		return NULL;
	}
	s->parse_task.run = session_task;
	s->retry_timer.fire = session_retry;
	s->handshake_timer.fire = session_handshake_late;
	s->stall_timer.fire = session_stalled;
	snprintf(s->peer, sizeof(s->peer), "client");
	session_configure(s, config, stream);
	s->env->ops->timer_set(s->env, &s->handshake_timer,
			       s->env->ops->now_ns(s->env) + NBD_HANDSHAKE_MS * NS_PER_MS);
	stream_kick(stream);
	return s;
}

int session_negotiated(struct nbd_session *s)
{
	s->env->ops->timer_cancel(s->env, &s->handshake_timer);
	free(s->meta_name);
	s->meta_name = NULL;
	s->state = SESSION_WAITING;
	s->split = s->export.split;
	if (s->ops->ready != NULL)
		s->ops->ready(s->ctx, s, s->export.ctx);
	else
		s->state = SESSION_TRANSMIT;
	return 1;
}

void nbd_session_resume(struct nbd_session *s, const struct nbd_session_config *config,
			struct stream *stream)
{
	assert(s->state == SESSION_WAITING && !s->task_queued);
	session_configure(s, config, stream);
	s->state = SESSION_TRANSMIT;
	/* called from inside ready(), the parser goes on by itself */
	if (!s->parsing)
		session_defer(s);
	stream_kick(stream);
}

bool nbd_session_structured(const struct nbd_session *s)
{
	return s->structured;
}

bool nbd_session_authenticated(const struct nbd_session *s)
{
	return s->authenticated;
}

const char *nbd_session_peer(const struct nbd_session *s)
{
	return s->peer;
}

void nbd_session_set_size(struct nbd_session *s, uint64_t size)
{
	s->export.size = size;
}
