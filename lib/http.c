/*
 * See http.h. libevent parses; here are the limits that it does not have, and answers that may come
 * later than the call, also when the client has gone in between.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <arpa/inet.h>
#include <unistd.h>

#include <event2/listener.h>

#include "http-impl.h"
#include "banned.h"

static void http_gone(struct evhttp_connection *evcon, void *arg)
{
	struct http_pending *p = arg;

	http_body_gone(p, evhttp_connection_get_bufferevent(evcon));
	/* libevent has let go of a request that waits for its answer; else it frees it itself */
	if (evhttp_request_get_connection(p->ev) == NULL)
		evhttp_request_free(p->ev);
	p->ev = NULL;
	if (http_body_tell_gone(p))
		return;
	if (p->gone != NULL)
		p->gone(p->gone_arg);
}

static void http_free(struct http_pending *p)
{
	*p->prev = p->next;
	if (p->next != NULL)
		p->next->prev = p->prev;
	evhttp_clear_headers(&p->query);
	http_body_free(p);
	if (p->body != NULL)
		evbuffer_free(p->body);
	free(p->query_text);
	free(p);
}

/* ---- what the request says ----------------------------------------------------------------- */

const char *http_query(const struct http_request *r, const char *name)
{
	return evhttp_find_header(&((const struct http_pending *)r)->query, name);
}

const char *http_query_text(const struct http_request *r)
{
	const struct http_pending *p = (const struct http_pending *)r;

	return p->query_text != NULL ? p->query_text : "";
}

const char *http_request_header(const struct http_request *r, const char *name)
{
	const struct http_pending *p = (const struct http_pending *)r;

	return p->ev != NULL ? evhttp_find_header(evhttp_request_get_input_headers(p->ev), name)
			     : NULL;
}

/* libevent has a name for who comes by a Unix socket, but not always the same. */
static bool http_peer_is_local(struct evhttp_connection *conn)
{
	struct sockaddr_storage own = {.ss_family = AF_UNSPEC};
	socklen_t len = sizeof(own);

	return getsockname(bufferevent_getfd(evhttp_connection_get_bufferevent(conn)),
			   (struct sockaddr *)&own, &len) == 0 &&
	       own.ss_family == AF_UNIX;
}

/* The last of a header that may be there more than once: what the proxy has added itself. */
static const char *http_header_last(struct evhttp_request *ev, const char *name)
{
	const char *value = NULL;
	struct evkeyval *kv;

	TAILQ_FOREACH(kv, evhttp_request_get_input_headers(ev), next)
	if (evutil_ascii_strcasecmp(kv->key, name) == 0)
		value = kv->value;
	return value;
}

/* For whom a proxy on this machine asks; what others say of themselves does not count. */
static void http_forwarded(struct http_pending *p)
{
	const char *list, *last, *proto;
	char address[HTTP_PEER_MAX];
	unsigned char raw[sizeof(struct in6_addr)];

	if (strcmp(p->peer, "127.0.0.1") != 0 && strcmp(p->peer, "::1") != 0)
		return;
	proto = http_header_last(p->ev, "X-Forwarded-Proto");
	p->forwarded_tls = proto != NULL && strcmp(proto, "https") == 0;
	list = http_header_last(p->ev, "X-Forwarded-For");
	if (list == NULL)
		return;
	last = strrchr(list, ',') != NULL ? strrchr(list, ',') + 1 : list;
	last += strspn(last, " ");
	snprintf(address, sizeof(address), "%s", last);
	address[strcspn(address, " ")] = '\0';
	if (inet_pton(AF_INET, address, raw) == 1 || inet_pton(AF_INET6, address, raw) == 1)
		memcpy(p->peer, address, sizeof(p->peer));
}

static void http_peer_text(struct evhttp_request *ev, char *out)
{
	struct evhttp_connection *conn = evhttp_request_get_connection(ev);
	char *address = NULL;
	ev_uint16_t port;

	if (http_peer_is_local(conn)) {
		snprintf(out, HTTP_PEER_MAX, HTTP_PEER_LOCAL);
		return;
	}
	evhttp_connection_get_peer(conn, &address, &port);
	snprintf(out, HTTP_PEER_MAX, "%s",
		 address != NULL && address[0] != '\0' ? address : "unknown");
}

const char *http_peer(const struct http_request *r)
{
	return ((const struct http_pending *)r)->peer;
}

bool http_is_local(const struct http_request *r)
{
	return strcmp(http_peer(r), HTTP_PEER_LOCAL) == 0;
}

bool http_is_gone(const struct http_request *r)
{
	return ((const struct http_pending *)r)->ev == NULL;
}

int http_peer_uid(const struct http_request *r, uid_t *uid)
{
	const struct http_pending *p = (const struct http_pending *)r;
	struct bufferevent *bev;
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (p->ev == NULL)
		return -ENOTCONN;
	bev = evhttp_connection_get_bufferevent(evhttp_request_get_connection(p->ev));
	if (getsockopt(bufferevent_getfd(bev), SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	*uid = cred.uid;
	return 0;
}

bool http_is_tls(const struct http_request *r)
{
	return ((const struct http_pending *)r)->server->tls != NULL ||
	       ((const struct http_pending *)r)->forwarded_tls;
}

/* ---- answers ------------------------------------------------------------------------------- */

void http_header(struct http_request *r, const char *name, const char *value)
{
	struct http_pending *p = (struct http_pending *)r;

	if (p->ev != NULL)
		evhttp_add_header(evhttp_request_get_output_headers(p->ev), name, value);
}

/* What every answer has. */
static void http_headers(struct http_pending *p, const char *type)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(p->ev);

	if (type != NULL)
		evhttp_add_header(headers, "Content-Type", type);
	if (evhttp_find_header(headers, "Cache-Control") == NULL)
		evhttp_add_header(headers, "Cache-Control", "no-store");
	evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
}

static void http_send(struct http_pending *p, int status, const char *type, struct evbuffer *out)
{
	http_body_answer(p);
	if (p->ev != NULL) {
		evhttp_connection_set_closecb(evhttp_request_get_connection(p->ev), NULL, NULL);
		http_headers(p, type);
		evhttp_send_reply(p->ev, status, NULL, out);
	}
	if (out != NULL)
		evbuffer_free(out);
	http_free(p);
}

void http_reply(struct http_request *r, int status, const char *type, const void *body, size_t len)
{
	struct evbuffer *out = evbuffer_new();

	if (out != NULL && len > 0)
		evbuffer_add(out, body, len);
	http_send((struct http_pending *)r, status, type, out);
}

void http_reply_file(struct http_request *r, int status, const char *type, int fd, uint64_t offset,
		     uint64_t len)
{
	struct evbuffer *out = evbuffer_new();

	if (out == NULL || evbuffer_add_file(out, fd, (ev_off_t)offset, (ev_off_t)len) < 0) {
		close(fd);
		status = 500;
	}
	http_send((struct http_pending *)r, status, type, out);
}

/* ---- answers in pieces --------------------------------------------------------------------- */

void http_stream_start(struct http_request *r, int status, const char *type,
		       void (*gone)(void *arg), void *arg)
{
	static const struct timeval patience = {.tv_sec = HTTP_TIMEOUT_S};
	struct http_pending *p = (struct http_pending *)r;

	p->gone = gone;
	p->gone_arg = arg;
	http_body_answer(p);
	if (p->ev == NULL)
		return;
	http_headers(p, type);
	bufferevent_set_timeouts(
		evhttp_connection_get_bufferevent(evhttp_request_get_connection(p->ev)), NULL,
		&patience);
	evhttp_send_reply_start(p->ev, status, NULL);
}

static void http_written(struct evhttp_connection *evcon, void *arg)
{
	struct http_pending *p = arg;
	void (*fn)(void *arg) = p->drained;

	p->drained = NULL;
	if (fn != NULL)
		fn(p->drained_arg);
}

void http_stream_write(struct http_request *r, const void *data, size_t len)
{
	struct http_pending *p = (struct http_pending *)r;
	struct evbuffer *out = p->ev != NULL ? evbuffer_new() : NULL;

	if (out == NULL)
		return;
	evbuffer_add(out, data, len);
	evhttp_send_reply_chunk_with_cb(p->ev, out, http_written, p);
	evbuffer_free(out);
}

size_t http_stream_waiting(const struct http_request *r)
{
	const struct http_pending *p = (const struct http_pending *)r;

	if (p->ev == NULL)
		return 0;
	return evbuffer_get_length(bufferevent_get_output(
		evhttp_connection_get_bufferevent(evhttp_request_get_connection(p->ev))));
}

void http_stream_drained(struct http_request *r, void (*fn)(void *arg), void *arg)
{
	struct http_pending *p = (struct http_pending *)r;

	p->drained = fn;
	p->drained_arg = arg;
}

void http_stream_abort(struct http_request *r)
{
	struct http_pending *p = (struct http_pending *)r;
	struct evhttp_connection *conn;

	p->in.fn = NULL;
	if (p->ev != NULL) {
		conn = evhttp_request_get_connection(p->ev);
		evhttp_connection_set_closecb(conn, NULL, NULL);
		evhttp_connection_free(conn);
	}
	http_free(p);
}

void http_stream_end(struct http_request *r)
{
	struct http_pending *p = (struct http_pending *)r;

	if (p->ev != NULL) {
		evhttp_connection_set_closecb(evhttp_request_get_connection(p->ev), NULL, NULL);
		evhttp_send_reply_end(p->ev);
	}
	http_free(p);
}

static enum http_method http_method(struct evhttp_request *ev)
{
	switch (evhttp_request_get_command(ev)) {
	case EVHTTP_REQ_GET:
	case EVHTTP_REQ_HEAD:
		return HTTP_GET;
	case EVHTTP_REQ_POST:
		return HTTP_POST;
	case EVHTTP_REQ_PUT:
		return HTTP_PUT;
	case EVHTTP_REQ_PATCH:
		return HTTP_PATCH;
	case EVHTTP_REQ_DELETE:
		return HTTP_DELETE;
	default:
		return HTTP_OTHER;
	}
}

/* The decoded path, or false when it is none that we would look at. */
static bool http_path(struct evhttp_request *ev, char *out)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(ev);
	const char *path = uri != NULL ? evhttp_uri_get_path(uri) : NULL;
	size_t len = 0;
	char *decoded;
	bool good;

	if (path == NULL || path[0] != '/' || strlen(path) >= HTTP_PATH_MAX)
		return false;
	decoded = evhttp_uridecode(path, 0, &len);
	good = decoded != NULL && len < HTTP_PATH_MAX && memchr(decoded, '\0', len) == NULL;
	if (good)
		memcpy(out, decoded, len + 1);
	free(decoded);
	return good;
}

/*
 * Where the body ends, and for whom the request is, has to be beyond doubt: a proxy that reads a
 * head in another way than libevent would take what one client sends for the request of another.
 */
static bool http_head_is_plain(const struct evkeyvalq *headers)
{
	unsigned lengths = 0, encodings = 0, hosts = 0;
	const struct evkeyval *kv;

	TAILQ_FOREACH(kv, headers, next)
	{
		if (kv->key[0] == '\0' || strpbrk(kv->key, " \t") != NULL)
			return false;
		if (evutil_ascii_strcasecmp(kv->key, "Host") == 0)
			hosts++;
		if (evutil_ascii_strcasecmp(kv->key, "Content-Length") == 0) {
			lengths++;
			if (kv->value[strspn(kv->value, "0123456789")] != '\0')
				return false;
		}
		if (evutil_ascii_strcasecmp(kv->key, "Transfer-Encoding") == 0) {
			encodings++;
			if (evutil_ascii_strcasecmp(kv->value, "chunked") != 0)
				return false;
		}
	}
	return lengths <= 1 && encodings <= 1 && hosts <= 1;
}

/* The body and the query become ours: they outlive the connection. */
static bool http_keep(struct http_pending *p, struct evhttp_request *ev)
{
	const char *query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(ev));

	if (query != NULL) {
		p->query_text = strdup(query);
		(void)evhttp_parse_query_str(query, &p->query); /* a bad one has no parameters */
	}
	p->body = evbuffer_new();
	if (p->body == NULL || (query != NULL && p->query_text == NULL) ||
	    evbuffer_add_buffer(p->body, evhttp_request_get_input_buffer(ev)) < 0)
		return false;
	p->r.body_len = evbuffer_get_length(p->body);
	p->r.body = p->r.body_len > 0 ? evbuffer_pullup(p->body, -1) : NULL;
	return p->r.body != NULL || p->r.body_len == 0;
}

static struct bufferevent *http_bev(struct evhttp_request *ev)
{
	return evhttp_connection_get_bufferevent(evhttp_request_get_connection(ev));
}

static void http_answered(struct evhttp_request *ev, void *arg)
{
	http_late_next(http_bev(ev));
	http_body_next_head(http_bev(ev));
}

static void http_arrived(struct evhttp_request *ev, void *arg)
{
	struct http_server *s = arg;
	struct http_pending *p = calloc(1, sizeof(*p));

	http_late_arrived(http_bev(ev));
	evhttp_request_set_on_complete_cb(ev, http_answered, NULL);
	if (p == NULL || !http_head_is_plain(evhttp_request_get_input_headers(ev)) ||
	    !http_path(ev, p->r.path)) {
		free(p);
		evhttp_send_error(ev, HTTP_BADREQUEST, NULL);
		return;
	}
	TAILQ_INIT(&p->query);
	p->server = s;
	p->ev = ev;
	p->r.method = http_method(ev);
	p->r.head = evhttp_request_get_command(ev) == EVHTTP_REQ_HEAD;
	http_peer_text(ev, p->peer);
	http_forwarded(p);
	p->next = s->pending;
	if (p->next != NULL)
		p->next->prev = &p->next;
	p->prev = &s->pending;
	s->pending = p;
	if (!http_keep(p, ev) || http_body_arrived(p) != 0) {
		http_reply(&p->r, 503, NULL, NULL, 0);
		return;
	}
	evhttp_connection_set_closecb(evhttp_request_get_connection(ev), http_gone, p);
	s->handle(s->arg, &p->r);
}

/* ---- connections --------------------------------------------------------------------------- */
/*
 * libevent does not say how many connections it has. The lowest free descriptor does, about: when
 * it is high, no more are accepted for a while, and the rest of the process still has descriptors
 * left.
 */

static void http_go_on(evutil_socket_t fd, short what, void *arg)
{
	struct http_server *s = arg;

	evconnlistener_enable(evhttp_bound_socket_get_listener(s->bound));
}

static struct bufferevent *http_connection(struct event_base *base, void *arg)
{
	static const struct timeval pause = {.tv_sec = HTTP_PAUSE_S};
	struct http_server *s = arg;
	int lowest = dup(evhttp_bound_socket_get_fd(s->bound));
	struct bufferevent *bev;

	if (lowest >= 0)
		close(lowest);
	if (lowest < 0 || lowest >= HTTP_FD_MAX) {
		evconnlistener_disable(evhttp_bound_socket_get_listener(s->bound));
		event_add(s->resume, &pause);
	}
	bev = s->tls != NULL ? http_tls_connection(s->tls, base)
			     : bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
	if (bev != NULL) {
		http_late_watch(bev);
		http_body_watch(bev);
	}
	return bev;
}

struct http_server *http_serve(struct event_base *base, int fd,
			       void (*handle)(void *arg, struct http_request *r), void *arg)
{
	struct http_server *s = calloc(1, sizeof(*s));

	if (s != NULL) {
		s->http = evhttp_new(base);
		s->resume = evtimer_new(base, http_go_on, s);
	}
	if (s == NULL || s->http == NULL || s->resume == NULL)
		goto fail;
	s->base = base;
	s->handle = handle;
	s->arg = arg;
	evhttp_set_max_headers_size(s->http, HTTP_HEADERS_MAX);
	evhttp_set_max_body_size(s->http, HTTP_BODY_MAX);
	evhttp_set_timeout(s->http, HTTP_TIMEOUT_S);
	evhttp_set_allowed_methods(s->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST |
						    EVHTTP_REQ_PUT | EVHTTP_REQ_PATCH |
						    EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS);
	evhttp_set_gencb(s->http, http_arrived, s);
	evhttp_set_bevcb(s->http, http_connection, s);
	evutil_make_socket_nonblocking(fd);
	s->bound = evhttp_accept_socket_with_handle(s->http, fd);
	if (s->bound == NULL)
		goto fail;
	return s;
fail:
	close(fd);
	if (s != NULL && s->http != NULL)
		evhttp_free(s->http);
	if (s != NULL && s->resume != NULL)
		event_free(s->resume);
	free(s);
	return NULL;
}

void http_server_body_max(struct http_server *s, size_t bytes)
{
	evhttp_set_max_body_size(s->http, (ev_ssize_t)bytes);
}

void http_server_tls(struct http_server *s, struct http_tls *tls)
{
	s->tls = tls;
}

void http_server_free(struct http_server *s)
{
	if (s == NULL)
		return;
	for (struct http_pending *p = s->pending, *next; p != NULL; p = next) {
		next = p->next;
		if (p->ev != NULL)
			evhttp_connection_set_closecb(evhttp_request_get_connection(p->ev), NULL,
						      NULL);
		http_body_gone(p, NULL);
		p->ev = NULL;
		(void)http_body_tell_gone(p);
	}
	http_body_end();
	event_free(s->resume);
	evhttp_free(s->http);
	free(s);
}
