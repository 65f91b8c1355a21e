/*
 * Sending whole replies, for connections on which others send too (bpf/route.h): each send holds
 * some of them, none in part, so that what others send comes between two and never inside one.
 *
 * What is larger than one send takes whole waits until the daemon says that nobody else sends.
 */
#include "config.h"

#include "nbd/session-impl.h"

#include <errno.h>

#include "banned.h"

void session_tell_received(struct nbd_session *s)
{
	if (s->received != NULL)
		__atomic_store_n(s->received, s->in_total, __ATOMIC_RELEASE);
}

void session_tell_boundary(struct nbd_session *s)
{
	if (s->boundary != NULL && s->rx.req == NULL && s->in_head == s->in_tail)
		__atomic_store_n(s->boundary, s->in_total, __ATOMIC_RELEASE);
}

static bool reply_fits(const struct nbd_req *req, uint64_t bytes, int pieces, int max)
{
	int n;

	return !req->alone && bytes + session_reply_bytes(req, &n) <= NBD_WHOLE_MAX &&
	       pieces + n <= max;
}

/* The last of the replies that go out together. */
static const struct nbd_req *batch_end(const struct nbd_session *s, int max)
{
	const struct nbd_req *last = s->tx_head;
	int pieces, n;
	uint64_t bytes = session_reply_bytes(last, &pieces);

	while (!last->note && last->reply_next != NULL &&
	       reply_fits(last->reply_next, bytes, pieces, max)) {
		last = last->reply_next;
		bytes += session_reply_bytes(last, &n);
		pieces += n;
	}
	return last;
}

int session_whole_output(struct nbd_session *s, struct iovec *iov, int max)
{
	if (s->tx_head == NULL)
		return 0;
	if (s->split)
		return session_reply_pieces(s, batch_end(s, max), iov, max);
	if (s->alone)
		return session_reply_pieces(s, s->tx_head, iov, max);
	if (s->ops->room != NULL && !s->ops->room(s->ctx, s))
		return 0;
	if (reply_fits(s->tx_head, 0, 0, max))
		return session_reply_pieces(s, batch_end(s, max), iov, max);
	if (!s->alone_asked) {
		s->alone_asked = true;
		s->ops->alone(s->ctx, s);
	}
	return s->alone ? session_reply_pieces(s, s->tx_head, iov, max) : 0;
}

void session_whole_sent(struct nbd_session *s, const struct nbd_req *req)
{
	s->send_failed = false;
	if (!s->alone)
		return;
	/* several large ones in a row go out together */
	if (s->tx_head != NULL && !reply_fits(s->tx_head, 0, 0, STREAM_IOV_MAX))
		return;
	s->alone = s->alone_asked = false;
	s->ops->shared(s->ctx, s);
}

/* A redirected reply did not get there; an error for it goes to volmgr, by TCP. */
int session_send_failed(struct nbd_session *s, int err)
{
	if (!s->split || s->send_failed || s->tx_head == NULL || s->tx_piece != 0 ||
	    s->tx_off != 0 || s->neg_head != NULL)
		return err;
	s->send_failed = true;
	session_reply_replace(s->tx_head, EIO);
	return 0;
}

/* ---- calls --------------------------------------------------------------------------------- */

void nbd_session_place(const struct nbd_session *s, struct nbd_session_place *place)
{
	place->taken = s->in_total - session_avail(s);
	place->answered = s->neg_total;
	place->unsent = s->neg_bytes;
	place->structured = s->structured;
}

void nbd_session_route(struct nbd_session *s, uint32_t *boundary, uint32_t *received)
{
	assert(s->ops->alone != NULL && s->ops->shared != NULL);
	s->whole = true;
	s->boundary = boundary;
	s->received = received;
}

void nbd_req_steer(struct nbd_req *req, unsigned parts)
{
	assert(req->type == NBD_CMD_READ && req->session->structured && parts > 0 &&
	       (req->flags & NBD_CMD_FLAG_DF) == 0 && req->whole == NULL);
	req->parts = parts;
}

void session_part_over(struct nbd_req *req)
{
	struct nbd_session *s = req->session;
	enum nbd_end end = NBD_END_HERE;

	assert(req->parts > 0);
	if (--req->parts > 0)
		return;
	if (s->ops->end != NULL && s->state != SESSION_CLOSED)
		end = s->ops->end(s->ctx, req);
	if (end == NBD_END_ELSEWHERE) {
		session_reply_elsewhere(req);
		return;
	}
	req->alone = end == NBD_END_ALONE;
	session_reply_end(req);
}

void nbd_req_part_sent(struct nbd_req *req)
{
	session_part_over(req);
}

void nbd_session_alone(struct nbd_session *s)
{
	if (!s->alone_asked || s->stream == NULL)
		return;
	s->alone = true;
	stream_kick(s->stream);
}
