/*
 * A small HTTP server in a libevent loop: requests in, answers out, limits on everything. It knows
 * nothing of what is served. The only file that includes event2/http.h is http.c.
 *
 * One thread: that of the loop.
 */
#ifndef WEFT_HTTP_H
#define WEFT_HTTP_H

#include <stddef.h>

#define HTTP_HEADERS_MAX (64 << 10)
#define HTTP_BODY_MAX	 (64 << 10)
#define HTTP_PATH_MAX	 1024
#define HTTP_TIMEOUT_S	 60
#define HTTP_FD_MAX	 3000 /* descriptors of the process; then no more are accepted for a while */
#define HTTP_PAUSE_S	 1

struct event_base;
struct http_server;

enum http_method { HTTP_GET, HTTP_POST, HTTP_PUT, HTTP_PATCH, HTTP_DELETE, HTTP_OTHER };

/* The handler's from its call until http_reply(), which may come later. HEAD is a GET whose body is
 * left out. */
struct http_request {
	enum http_method method;
	char path[HTTP_PATH_MAX]; /* decoded, starts with a slash, no query */
	const void *body;
	size_t body_len;
};

/* Value of a query parameter, decoded, or NULL. Valid until http_reply(). */
const char *http_query(const struct http_request *r, const char *name);
/* A header of the answer; before http_reply(). */
void http_header(struct http_request *r, const char *name, const char *value);
/* Once for each request; frees it. Nothing is sent when the client has gone. type: of the body. */
void http_reply(struct http_request *r, int status, const char *type, const void *body, size_t len);

/* Serve a listening socket, which is taken over. NULL: out of memory. */
struct http_server *http_serve(struct event_base *base, int fd,
			       void (*handle)(void *arg, struct http_request *r), void *arg);
/* Requests that were not answered are let go of: http_reply() on them does nothing but free. */
void http_server_free(struct http_server *s);

#endif
