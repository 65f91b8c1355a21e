/*
 * Bodies of requests as they come. libevent 2.1 collects a body in memory, and hands out a request
 * when it has all of it. So of a request that may be large it sees only the head: before it parses,
 * we look at what has come (a callback of the buffer, which runs first), hold it back until the
 * head is whole, and rename there the headers that tell of a body. libevent then hands out a
 * request without one, and leaves the connection alone until that is answered; meanwhile its
 * callbacks are ours.
 *
 * Backpressure: the connection's buffer has a limit, above which libevent does not read; what is
 * there is taken out only when the handler asks for the next piece.
 *
 * A request that is answered before its body has ended closes the connection: nobody can say where
 * the next one would begin. What the client still sends is thrown away for a while, since closing a
 * socket with unread bytes would take the answer from it.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "http-impl.h"
#include "banned.h"

#define BODY_BUFFER   (256u << 10) /* what is read ahead of the handler */
#define BODY_PATHS    4u
#define LINGER_S      3 /* of silence */
#define LINGER_MAX_S  15
#define LINGER_BYTES  (64u << 20)
#define LINGER_PIECE  (64u << 10)
#define CONTINUE_TEXT "HTTP/1.1 100 Continue\r\n\r\n"

/*
 * One thread serves; between the callback that takes a head and libevent's handing it out nothing
 * else runs.
 */
static const char *body_paths[BODY_PATHS + 1];
static struct {
	struct bufferevent *bev; /* NULL: none */
	struct http_head head;
} taken;
static bufferevent_data_cb evhttp_read; /* libevent's, the same for all connections */

void http_stream_path(const char *path)
{
	unsigned i = 0;

	while (i < BODY_PATHS && body_paths[i] != NULL)
		i++;
	assert(i < BODY_PATHS);
	body_paths[i] = path;
}

/* ---- the head, before libevent sees it ------------------------------------------------------- */

static void head_wait(struct bufferevent *bev, void *arg)
{
}

/* libevent parses what has come, or does not see it yet. */
static void head_show(struct bufferevent *bev, bool show)
{
	bufferevent_data_cb read_cb, write_cb;
	bufferevent_event_cb event_cb;
	void *arg;

	bufferevent_getcb(bev, &read_cb, &write_cb, &event_cb, &arg);
	if (show == (read_cb != head_wait))
		return;
	if (!show)
		evhttp_read = read_cb;
	bufferevent_setcb(bev, show ? evhttp_read : head_wait, write_cb, event_cb, arg);
}

static enum http_head_is head_look(struct bufferevent *bev, struct evbuffer *in)
{
	size_t len = evbuffer_get_length(in);
	enum http_head_is is;
	char *text;

	len = len < HTTP_HEADERS_MAX ? len : HTTP_HEADERS_MAX;
	text = len > 0 ? (char *)evbuffer_pullup(in, (ev_ssize_t)len) : NULL;
	if (text == NULL)
		return len > 0 ? HTTP_HEAD_OTHER : HTTP_HEAD_MORE;
	is = http_head_take(text, len, body_paths, &taken.head);
	if (is == HTTP_HEAD_TAKEN)
		taken.bev = bev;
	return is == HTTP_HEAD_MORE && len == HTTP_HEADERS_MAX ? HTTP_HEAD_OTHER : is;
}

/* Bytes have come, of a request of which libevent has seen nothing. */
static void head_came(struct evbuffer *in, const struct evbuffer_cb_info *info, void *arg)
{
	struct bufferevent *bev = arg;
	bool whole;

	if (info->n_added == 0)
		return;
	whole = head_look(bev, in) != HTTP_HEAD_MORE;
	if (whole)
		evbuffer_remove_cb(in, head_came, bev);
	head_show(bev, whole);
}

void http_body_watch(struct bufferevent *bev)
{
	if (body_paths[0] == NULL)
		return;
	if (taken.bev == bev) /* of a connection that has gone */
		taken.bev = NULL;
	evbuffer_add_cb(bufferevent_get_input(bev), head_came, bev);
}

static struct bufferevent *body_bev(const struct http_pending *p)
{
	return evhttp_connection_get_bufferevent(evhttp_request_get_connection(p->ev));
}

/* A request is answered, and the next may come; a client that did not wait may have sent it. */
void http_body_next_head(struct bufferevent *bev)
{
	struct evbuffer *in = bufferevent_get_input(bev);

	if (body_paths[0] == NULL)
		return;
	if (evbuffer_get_length(in) == 0 || head_look(bev, in) == HTTP_HEAD_MORE)
		http_body_watch(bev);
}

/* ---- libevent hands it out ------------------------------------------------------------------- */

static void body_soon(evutil_socket_t fd, short what, void *arg);

int http_body_arrived(struct http_pending *p)
{
	struct http_body *in = &p->in;
	struct bufferevent *bev = body_bev(p);

	if (taken.bev == bev) {
		taken.bev = NULL;
		in->streamed = true;
		in->head = taken.head;
		in->left = in->head.chunked ? 0 : in->head.length;
		in->piece = evbuffer_new();
		if (in->piece == NULL)
			return -ENOMEM;
	}
	return 0;
}

uint64_t http_body_length(const struct http_request *r)
{
	const struct http_body *in = &((const struct http_pending *)r)->in;

	if (!in->streamed)
		return r->body_len;
	return in->head.chunked ? HTTP_LENGTH_UNKNOWN : in->head.length;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Out of what has come, up to a piece. */
static void body_take_chunks(struct http_body *in, struct evbuffer *from)
{
	size_t skip, data;

	while (!in->ended && in->err == 0 && evbuffer_get_length(in->piece) < in->max) {
		struct evbuffer_iovec part;
		size_t room = in->max - evbuffer_get_length(in->piece);
		int n;

		if (evbuffer_peek(from, -1, NULL, &part, 1) < 1 || part.iov_len == 0)
			return;
		n = http_chunks_next(&in->chunks, part.iov_base,
				     part.iov_len < room ? part.iov_len : room, &skip, &data);
		if (n < 0) {
			in->err = n;
			return;
		}
		in->ended = n == 1;
		evbuffer_drain(from, skip);
		evbuffer_remove_buffer(from, in->piece, data);
	}
}

static void body_take(struct http_body *in, struct evbuffer *from)
{
	size_t room = in->max - evbuffer_get_length(in->piece);
	int n;

	if (in->head.chunked) {
		body_take_chunks(in, from);
		return;
	}
	n = evbuffer_remove_buffer(from, in->piece, room < in->left ? room : (size_t)in->left);
	in->left -= n > 0 ? (uint64_t)n : 0;
	in->ended = in->left == 0;
}

/* Whoever waits gets what there is. */
static void body_give(struct http_pending *p)
{
	struct http_body *in = &p->in;
	http_body_fn *fn = in->fn;
	size_t len = in->streamed ? evbuffer_get_length(in->piece) : p->r.body_len;
	const void *data = in->streamed && len > 0 ? evbuffer_pullup(in->piece, -1) : p->r.body;

	in->fn = NULL;
	in->given = len;
	if (len > 0 && data == NULL)
		in->err = -ENOMEM;
	fn(in->arg, in->err, data, data != NULL ? len : 0, in->ended || !in->streamed);
}

static void body_look(struct http_pending *p)
{
	struct http_body *in = &p->in;
	struct bufferevent *bev;

	if (in->fn == NULL)
		return;
	if (p->ev != NULL && in->streamed) {
		bev = body_bev(p);
		body_take(in, bufferevent_get_input(bev));
		if (in->ended)
			bufferevent_disable(bev, EV_READ);
	}
	if (!in->streamed || in->ended || in->err != 0 || evbuffer_get_length(in->piece) >= in->max)
		body_give(p);
}

static void body_soon(evutil_socket_t fd, short what, void *arg)
{
	body_look(arg);
}

static void body_came(struct bufferevent *bev, void *arg)
{
	struct http_pending *p = arg;

	/* a client that ends its side of the connection then has not gone */
	if (!p->in.head.chunked && evbuffer_get_length(bufferevent_get_input(bev)) >= p->in.left)
		bufferevent_disable(bev, EV_READ);
	body_look(p);
}

static void body_restore(struct http_body *in, struct bufferevent *bev)
{
	if (!in->reading)
		return;
	in->reading = false;
	bufferevent_setcb(bev, in->read_cb, in->write_cb, in->event_cb, in->cb_arg);
	bufferevent_setwatermark(bev, EV_READ, 0, 0);
}

static void body_event(struct bufferevent *bev, short what, void *arg)
{
	struct http_body *in = &((struct http_pending *)arg)->in;

	body_restore(in, bev);
	in->event_cb(bev, what, in->cb_arg); /* which ends in http_body_gone() */
}

static void body_start(struct http_pending *p)
{
	struct http_body *in = &p->in;
	struct bufferevent *bev = body_bev(p);

	in->reading = true;
	bufferevent_getcb(bev, &in->read_cb, &in->write_cb, &in->event_cb, &in->cb_arg);
	bufferevent_setcb(bev, body_came, NULL, body_event, p);
	bufferevent_setwatermark(bev, EV_READ, 0, BODY_BUFFER);
	if (in->head.expect && evbuffer_get_length(bufferevent_get_input(bev)) == 0) {
		bufferevent_write(bev, CONTINUE_TEXT, sizeof(CONTINUE_TEXT) - 1);
		bufferevent_enable(bev, EV_WRITE);
	}
	bufferevent_enable(bev, EV_READ);
}

void http_body_next(struct http_request *r, size_t max, http_body_fn *fn, void *arg)
{
	struct http_pending *p = (struct http_pending *)r;
	struct http_body *in = &p->in;

	assert(in->fn == NULL && max > 0);
	if (in->soon == NULL)
		in->soon = event_new(p->server->base, -1, 0, body_soon, p);
	if (in->soon == NULL)
		abort();
	if (in->streamed)
		evbuffer_drain(in->piece, in->given);
	in->given = 0;
	in->max = max;
	in->fn = fn;
	in->arg = arg;
	if (p->ev != NULL && in->streamed && !in->reading && !in->ended)
		body_start(p);
	event_active(in->soon, EV_TIMEOUT, 1);
}

/* ---- ends ------------------------------------------------------------------------------------ */

struct lingering {
	struct event *event;
	int fd;
	size_t bytes;
	time_t until;
	struct lingering *next, **prev;
};

static struct lingering *lingering;

static void linger_end(struct lingering *l)
{
	*l->prev = l->next;
	if (l->next != NULL)
		l->next->prev = l->prev;
	event_free(l->event);
	close(l->fd);
	free(l);
}

void http_body_end(void)
{
	while (lingering != NULL)
		linger_end(lingering);
}

static time_t linger_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

static void linger_read(evutil_socket_t fd, short what, void *arg)
{
	static char waste[LINGER_PIECE];
	struct lingering *l = arg;
	ssize_t n = what & EV_READ ? recv(fd, waste, sizeof(waste), MSG_DONTWAIT) : 0;

	l->bytes += n > 0 ? (size_t)n : 0;
	if (((n > 0 && l->bytes < LINGER_BYTES) || (n < 0 && errno == EAGAIN)) &&
	    linger_now() < l->until)
		return;
	linger_end(l);
}

/* The socket stays open beside libevent's, which closes it, until the client has heard us. */
static void linger_start(struct event_base *base, int socket)
{
	static const struct timeval patience = {.tv_sec = LINGER_S};
	struct lingering *l = calloc(1, sizeof(*l));
	int fd = dup(socket);

	if (l != NULL && fd >= 0)
		l->event = event_new(base, fd, EV_READ | EV_PERSIST, linger_read, l);
	if (l == NULL || l->event == NULL) {
		if (fd >= 0)
			close(fd);
		free(l);
		return;
	}
	l->fd = fd;
	l->until = linger_now() + LINGER_MAX_S;
	l->next = lingering;
	if (l->next != NULL)
		l->next->prev = &l->next;
	l->prev = &lingering;
	lingering = l;
	event_add(l->event, &patience);
}

void http_body_answer(struct http_pending *p)
{
	struct http_body *in = &p->in;
	struct bufferevent *bev;

	in->fn = NULL;
	if (p->ev == NULL || !in->streamed)
		return;
	bev = body_bev(p);
	bufferevent_disable(bev, EV_READ);
	body_restore(in, bev);
	if (in->ended)
		return;
	evbuffer_drain(bufferevent_get_input(bev), evbuffer_get_length(bufferevent_get_input(bev)));
	evhttp_add_header(evhttp_request_get_output_headers(p->ev), "Connection", "close");
	linger_start(p->server->base, bufferevent_getfd(bev));
}

void http_body_gone(struct http_pending *p, struct bufferevent *bev)
{
	struct http_body *in = &p->in;

	if (!in->streamed || in->ended)
		return;
	if (bev != NULL) {
		/* all that has come is given, behind the piece that a busy handler has */
		in->max = SIZE_MAX;
		body_take(in, bufferevent_get_input(bev));
		body_restore(in, bev);
	}
	if (!in->ended)
		in->err = -ECONNRESET;
}

bool http_body_tell_gone(struct http_pending *p)
{
	if (p->in.fn == NULL)
		return false;
	body_give(p);
	return true;
}

void http_body_free(struct http_pending *p)
{
	if (p->in.soon != NULL)
		event_free(p->in.soon);
	if (p->in.piece != NULL)
		evbuffer_free(p->in.piece);
}
