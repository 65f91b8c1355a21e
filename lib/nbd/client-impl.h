/* The inside of the NBD client engine, shared by client.c (transmission) and client-hello.c
 * (handshake). */
#ifndef WEFT_NBD_CLIENT_IMPL_H
#define WEFT_NBD_CLIENT_IMPL_H

#include <assert.h>

#include "nbd/client.h"
#include "nbd/proto.h"

#define CLIENT_IN_BYTES	    65536u
#define CLIENT_IN_COMPACT   16384u /* free bytes below which the rest moves to the front */
#define CLIENT_IN_LARGE	    4096u  /* window when the next reply is likely a large one */
#define CLIENT_DIRECT_MIN   16384u /* rest of an iovec that is worth its own receive */
#define CLIENT_HASH	    1024u  /* a power of two */
#define CLIENT_OUT_BYTES    8192u /* handshake messages, or reads on a route, that wait to be sent */
#define CLIENT_TEXT_MAX	    256u
#define CLIENT_REPLY_MAX    8192u /* data of one answer in the handshake */
#define CLIENT_ANSWERS_MAX  64u	  /* answers in one handshake */
#define CLIENT_HANDSHAKE_MS 10000

enum client_state {
	CLIENT_GREETING,   /* the server's first bytes */
	CLIENT_HELLO,	   /* its proof */
	CLIENT_PROOF,	   /* what it says of ours */
	CLIENT_STRUCTURED, /* only for routes: replies in chunks */
	CLIENT_GO,	   /* the export */
	CLIENT_READY,
	CLIENT_CLOSING, /* nbd_client_close() was called */
	CLIENT_BROKEN,	/* the server broke the protocol, or the handshake failed */
	CLIENT_CLOSED,
};

struct nbd_client {
	const struct nbd_client_ops *ops;
	void *ctx;
	struct env *env;
	struct stream *stream;
	enum client_state state;
	uint8_t secret[WEFT_SECRET_BYTES];
	struct nbd_client_peer peer;
	struct io_timer timer;
	uint64_t heard_ns; /* when bytes last came */
	int err;	   /* why the connection ends; 0: in order, or the transport knows */
	char why[CLIENT_TEXT_MAX];

	/* input */
	uint8_t *in;
	uint32_t in_head, in_tail;
	struct nbd_call *rx; /* the call whose data is on its way in */
	uint32_t rx_left;    /* bytes of it not yet taken */
	int rx_iov;	     /* where the next one goes */
	size_t rx_iov_off;
	bool rx_direct; /* the window was memory of rx */

	/* handshake */
	uint8_t client_nonce[WEFT_NONCE_BYTES], server_nonce[WEFT_NONCE_BYTES];
	bool have_export;
	bool route;			    /* nbd_client_route() */
	char name[NBD_CLIENT_NAME_MAX + 1]; /* a plain client's export; else "" */
	unsigned answers;
	uint8_t out[CLIENT_OUT_BYTES]; /* never moved while a send is under way, see client_put() */
	uint32_t out_off, out_len;

	/* calls */
	struct nbd_call *head, *tail; /* all that wait, oldest first */
	struct nbd_call *tx;	      /* the first not sent whole */
	int tx_piece;		      /* 0: header, then out[] */
	size_t tx_off;
	uint64_t next_cookie;
	uint64_t expect_bytes; /* of all that wait */
	unsigned waiting;
	struct nbd_call *hash[CLIENT_HASH];
};

static inline uint32_t client_avail(const struct nbd_client *c)
{
	return c->in_tail - c->in_head;
}

/* client-hello.c */
/* 1: go on, 0: more bytes are needed, -errno with c->why. */
int client_step_hello(struct nbd_client *c);

/* client.c */
/* Append to the handshake's output. */
void client_put(struct nbd_client *c, const void *data, uint32_t len);
/* Note why the connection ends. Returns err. */
int client_fail(struct nbd_client *c, int err, const char *why);

#endif
