/* What http.c and http-body.c share. */
#ifndef WEFT_HTTP_IMPL_H
#define WEFT_HTTP_IMPL_H

#include <sys/queue.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>

#include "http-head.h"
#include "http.h"

struct http_server {
	struct http_tls *tls; /* NULL: plain */
	struct event_base *base;
	struct evhttp *http;
	struct evhttp_bound_socket *bound;
	void (*handle)(void *arg, struct http_request *r);
	void *arg;
	struct event *resume;	      /* accepting was paused */
	struct http_pending *pending; /* requests that were not answered yet */
};

/* A body that is read as it comes. */
struct http_body {
	bool streamed; /* libevent knows nothing of it */
	struct http_head head;
	uint64_t left; /* when it is not in chunks */
	struct http_chunks chunks;
	bool ended;
	int err; /* of the body: it does not go on */
	/* while it is read, the connection's callbacks are ours, and these are libevent's */
	bool reading;
	bufferevent_data_cb read_cb, write_cb;
	bufferevent_event_cb event_cb;
	void *cb_arg;
	struct evbuffer *piece;
	size_t given;	  /* of it, and not asked on since */
	size_t max;	  /* of this piece */
	http_body_fn *fn; /* NULL: nobody waits for a piece */
	void *arg;
	struct event *soon; /* look whether the piece is there */
};

/* A request with what the caller does not see. */
struct http_pending {
	struct http_request r; /* first */
	struct http_server *server;
	struct evhttp_request *ev; /* NULL: the client has gone */
	struct evkeyvalq query;
	char *query_text;      /* NULL: none */
	struct evbuffer *body; /* ours, as the client may go before it is answered */
	struct http_body in;
	char peer[HTTP_PEER_MAX];
	bool forwarded_tls; /* a proxy on this machine says that it was asked by HTTPS */
	/* of an answer in pieces */
	void (*gone)(void *arg);
	void *gone_arg;
	void (*drained)(void *arg);
	void *drained_arg;
	struct http_pending *next, **prev;
};

/* ---- http-body.c */
/* A new connection: look at its requests before libevent does. */
void http_body_watch(struct bufferevent *bev);
/* A request of it is answered. */
void http_body_next_head(struct bufferevent *bev);
/* libevent hands out a request. 0 or -ENOMEM. */
int http_body_arrived(struct http_pending *p);
/* It is about to be answered: whoever waits for the body is told nothing more. */
void http_body_answer(struct http_pending *p);
/* The client goes, and bev with it; NULL: all connections do. */
void http_body_gone(struct http_pending *p, struct bufferevent *bev);
/* Afterwards: whoever waits for the body is told. True: so it was, and p may be freed. */
bool http_body_tell_gone(struct http_pending *p);
void http_body_free(struct http_pending *p);
/* A server ends: nobody is waited for any more. */
void http_body_end(void);

/* ---- http-late.c: requests that come too slowly */
/* A new connection. */
void http_late_watch(struct bufferevent *bev);
/* A request is whole, and will be answered. */
void http_late_arrived(struct bufferevent *bev);
/* It is answered: the next may come. */
void http_late_next(struct bufferevent *bev);

#endif
