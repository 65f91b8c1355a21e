/*
 * A small HTTP server in a libevent loop: requests in, answers out, limits on everything. It knows
 * nothing of what is served. Only http*.c include event2/http.h and its kin; http-tls.c alone knows
 * OpenSSL.
 *
 * One thread: that of the loop.
 */
#ifndef WEFT_HTTP_H
#define WEFT_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define HTTP_HEADERS_MAX (64 << 10)
#define HTTP_BODY_MAX	 (64 << 10) /* unless http_server_body_max() says otherwise */
#define HTTP_PATH_MAX	 1024
#define HTTP_TIMEOUT_S	 60 /* of silence */
#define HTTP_REQUEST_S	 20 /* from the first byte of a request that is not streamed to its last */
#define HTTP_FD_MAX	 3000 /* descriptors of the process; then no more are accepted for a while */
#define HTTP_PAUSE_S	 1
#define HTTP_PEER_MAX	 64
#define HTTP_PEER_LOCAL	 "local"
#define HTTP_WHO_MAX	 64

struct event_base;
struct http_server;
struct http_tls;

enum http_method { HTTP_GET, HTTP_POST, HTTP_PUT, HTTP_PATCH, HTTP_DELETE, HTTP_OTHER };

#define HTTP_LENGTH_UNKNOWN UINT64_MAX

/* The handler's from its call until http_reply(), which may come later. HEAD is a GET whose body is
 * left out. */
struct http_request {
	enum http_method method;
	bool head; /* HEAD: pieces that are written are not sent, and never drained */
	char path[HTTP_PATH_MAX]; /* decoded, starts with a slash, no query */
	const void *body;	  /* until http_reply(), also when the client has gone */
	size_t body_len;
	/* the caller's, to note who asks and what for; empty at first */
	char who[HTTP_WHO_MAX];
	unsigned rights;
	const void *route;
};

/* Value of a query parameter, decoded, or NULL. Valid until http_reply(). */
const char *http_query(const struct http_request *r, const char *name);
/* The query as it came, without the question mark; "" when there is none. */
const char *http_query_text(const struct http_request *r);
/* A header of the request, or NULL. Valid until http_reply(). */
const char *http_request_header(const struct http_request *r, const char *name);
/* A cookie of the request: 0, or -ENOENT when it is not there or does not fit. */
int http_request_cookie(const struct http_request *r, const char *name, char *out, size_t max);
/* The client's address, without its port; "local" on a Unix socket. A proxy on this machine says
 * for whom it asks by X-Forwarded-For, and whether that was by HTTPS by X-Forwarded-Proto. */
const char *http_peer(const struct http_request *r);
bool http_is_local(const struct http_request *r);
/* The client has gone: whatever is answered, nobody hears it. */
bool http_is_gone(const struct http_request *r);
/* Who is behind a Unix socket, as the kernel says. 0 or -errno. */
int http_peer_uid(const struct http_request *r, uid_t *uid);
bool http_is_tls(const struct http_request *r);

/* A header of the answer; before http_reply(). */
void http_header(struct http_request *r, const char *name, const char *value);
/* Once for each request; frees it. Nothing is sent when the client has gone. type: of the body;
 * NULL: no body. Unless the caller has set it, Cache-Control is no-store. */
void http_reply(struct http_request *r, int status, const char *type, const void *body, size_t len);
/* The same with len bytes of a file from offset, which is taken over. */
void http_reply_file(struct http_request *r, int status, const char *type, int fd, uint64_t offset,
		     uint64_t len);

/*
 * An answer in pieces, for as long as it takes: events, exports. After http_stream_start(),
 * http_stream_end() must come once, which frees r, also after gone(arg), which says that the client
 * is not there any more and that nothing is sent from then on.
 */
void http_stream_start(struct http_request *r, int status, const char *type,
		       void (*gone)(void *arg), void *arg);
/* Copies data. */
void http_stream_write(struct http_request *r, const void *data, size_t len);
/* Bytes that the client has not taken yet: stop writing when they are many. */
size_t http_stream_waiting(const struct http_request *r);
/* Once, when all that was written has gone out. */
void http_stream_drained(struct http_request *r, void (*fn)(void *arg), void *arg);
void http_stream_end(struct http_request *r);
/* In place of that, when the answer cannot be finished: the connection ends, so that the client
 * sees it. */
void http_stream_abort(struct http_request *r);

/*
 * Bodies as they come. A PUT to a path that was given to http_stream_path() is handed out when its
 * head is there, without a body (r->body_len is 0). http_body_next() asks for a piece of it: fn
 * comes once, later, when there are max bytes, or with fewer and last, or with err: -ECONNRESET,
 * the client has gone; -EBADMSG, that is no body. data may come with err, too, and is valid until
 * the next piece is asked for or the request is answered, which is allowed at any time; then fn
 * does not come any more. Nothing is read ahead but a buffer of fixed size. A client that waits to
 * be told to send ("Expect") is told by the first call.
 *
 * Other requests may be asked, too: they give their body as the only piece.
 */
typedef void http_body_fn(void *arg, int err, const void *data, size_t len, bool last);
void http_body_next(struct http_request *r, size_t max, http_body_fn *fn, void *arg);
/* As the client says, or HTTP_LENGTH_UNKNOWN. */
uint64_t http_body_length(const struct http_request *r);
/* For all servers of the process, before the first; path stays the caller's. As it is in the
 * request, without the query. */
void http_stream_path(const char *path);

/* Serve a listening socket, which is taken over. NULL: out of memory. */
struct http_server *http_serve(struct event_base *base, int fd,
			       void (*handle)(void *arg, struct http_request *r), void *arg);
void http_server_body_max(struct http_server *s, size_t bytes);
/* Speak TLS on new connections. The caller frees tls after the server. */
void http_server_tls(struct http_server *s, struct http_tls *tls);
/* Requests that were not answered are let go of: http_reply() on them does nothing but free. */
void http_server_free(struct http_server *s);

/* ---- http-tls.c: certificates. They are read anew when their files change. NULL with a reason. */
struct http_tls *http_tls_load(const char *cert, const char *key, const char **why);
void http_tls_free(struct http_tls *tls);
struct bufferevent;
struct bufferevent *http_tls_connection(struct http_tls *tls, struct event_base *base);

#endif
