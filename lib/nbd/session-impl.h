/*
 * The inside of the server's NBD session, shared by session.c (stream, life cycle), negotiate.c and
 * options.c (handshake), request.c (bytes to requests) and reply.c (answers to bytes).
 */
#ifndef WEFT_NBD_SESSION_IMPL_H
#define WEFT_NBD_SESSION_IMPL_H

#include <assert.h>

#include "nbd/proto.h"
#include "nbd/session.h"

#define SESSION_IN_BYTES      65536u /* input buffer: one receive brings many requests */
#define SESSION_IN_COMPACT    32768u /* free bytes below which the rest moves to the front */
#define SESSION_IN_LARGE      4096u  /* window when the next payload is likely a large one */
#define SESSION_COPY_MAX      16384u /* payloads up to this always go through the input buffer */
#define SESSION_OPTION_MAX    32768u /* data of one option; longer ones are skipped, refused */
#define SESSION_OPTION_SKIP   (1u << 20) /* and those beyond this end the connection */
#define SESSION_NEG_OUT_MAX   (1u << 20) /* unsent answers of the negotiation */
#define SESSION_NEG_OUT_STOP  65536u	 /* beyond this we stop reading options */
#define SESSION_NEG_CHUNK     4072u
#define SESSION_META_ID	      1u   /* of base:allocation */
#define SESSION_STATUS_MAX    4096 /* extents in one BLOCK_STATUS answer */
#define SESSION_PEER_MAX      128u
#define SESSION_PRIVATE_REPLY (1u << 20) /* weft_cmd.reply_len */
#define SESSION_RETRY_MS      5		 /* after the pool was empty */

enum session_state {
	SESSION_FLAGS,	  /* greeting sent, client's flags awaited */
	SESSION_OPTIONS,  /* negotiation */
	SESSION_WAITING,  /* negotiated; until nbd_session_resume() */
	SESSION_TRANSMIT, /* requests */
	SESSION_DISC,	  /* the client said good-bye: answer what is under way, then close */
	SESSION_ENDED,	  /* nothing is read any more */
	SESSION_CLOSED,	  /* the stream is gone */
};

enum session_block {
	SESSION_FREE = 0,
	SESSION_BLOCK_LIMIT,  /* NBD_INFLIGHT_*: until a request ends */
	SESSION_BLOCK_MEMORY, /* pool or allocator: until a request ends, or the retry timer */
	SESSION_BLOCK_OUTPUT, /* negotiation answers that the client does not read */
};

/* Bytes of the negotiation that wait to be sent; they must not move, so a list and no array. */
struct session_chunk {
	struct session_chunk *next;
	uint32_t len;
	uint8_t data[SESSION_NEG_CHUNK];
};

/* The request whose payload is on its way in. */
struct session_rx {
	struct nbd_req *req; /* NULL: between requests */
	struct buf *buf;     /* becomes req->payload */
	uint32_t left;	     /* bytes of it not yet taken */
	uint32_t got;	     /* bytes in buf */
	bool direct;	     /* the window is the rest of buf */
	bool large;	     /* the last payload came directly: the next may, too */
	bool want_cmd;	     /* a struct weft_cmd comes first */
	int error;	     /* it was refused: skip the payload, then answer this */
	const char *why;
};

struct nbd_session {
	const struct nbd_server_ops *ops;
	void *ctx;
	struct env *env;
	struct buf_pool *pool;
	const struct nbd_auth_config *auth;
	struct stream *stream; /* NULL after closed() */
	enum session_state state;
	enum session_block blocked;
	bool parsing;	  /* session_parse() is on the stack */
	bool task_queued; /* parse_task was deferred and has not run */
	struct io_task parse_task;
	struct io_timer retry_timer;
	struct io_timer handshake_timer;
	struct io_timer stall_timer; /* armed by a payload that comes directly */
	uint64_t stall_bytes;	     /* direct_bytes when it was armed */
	uint64_t direct_bytes;	     /* received directly so far */
	uint64_t now_ns;	     /* of the present batch */

	/* input */
	uint8_t *in;
	uint32_t in_head, in_tail; /* unparsed bytes */
	struct session_rx rx;

	/* negotiation */
	unsigned options; /* taken so far */
	uint32_t option;  /* the one whose answer is under way */
	uint32_t skip;	  /* bytes of a too long option still to come */
	bool fixed;	  /* the client speaks fixed newstyle */
	bool no_zeroes;
	bool structured;
	bool have_hello; /* nonces are set */
	bool authenticated;
	bool neg_failed; /* an answer found no memory or no room */
	uint8_t client_nonce[WEFT_NONCE_BYTES], server_nonce[WEFT_NONCE_BYTES];
	uint8_t *meta_name; /* export that SET_META_CONTEXT chose base:allocation for */
	uint32_t meta_name_len;
	struct session_chunk *neg_head, *neg_tail;
	uint32_t neg_off;   /* bytes of neg_head that are sent */
	uint32_t neg_bytes; /* unsent */
	uint32_t neg_total;

	/* transmission */
	struct nbd_export export;
	bool opened;
	bool status_ok; /* base:allocation was negotiated for this export */
	unsigned inflight;
	uint64_t inflight_bytes;
	struct nbd_req *free_reqs;
	struct nbd_req *tx_head, *tx_tail; /* answers, in sending order */
	unsigned tx_piece;		   /* of tx_head */
	uint32_t tx_off;		   /* bytes of that piece that are sent */

	/* see nbd_session_route() and nbd_export.split */
	bool split, whole;
	bool alone_asked, alone;
	bool send_failed;	       /* tx_head tells of a reply that could not be sent */
	uint32_t in_total;	       /* bytes received */
	uint32_t *boundary, *received; /* NULL: nobody wants to know */

	char peer[SESSION_PEER_MAX];
};

/* session.c */
/* Unparsed input. */
static inline uint32_t session_avail(const struct nbd_session *s)
{
	return s->in_tail - s->in_head;
}

/* Stop reading until something changes. */
void session_block(struct nbd_session *s, enum session_block why);
/* Something changed: parse again, soon. */
void session_unblock(struct nbd_session *s);
/* Memory was taken for a payload that is still to come: see that it does. */
void session_watch_payload(struct nbd_session *s);
/* Free it when the stream is gone and no request is left. */
void session_maybe_free(struct nbd_session *s);
/* Read nothing more; send what there is and close. */
void session_end(struct nbd_session *s);

/* negotiate.c: steps return 1: go on, 0: more bytes are needed, -errno: the connection is over */
int session_greet(struct nbd_session *s);
int session_step_flags(struct nbd_session *s);
int session_step_option(struct nbd_session *s);
int session_neg_output(struct nbd_session *s, struct iovec *iov, int max);
/* Returns the bytes that were not its own. */
size_t session_neg_sent(struct nbd_session *s, size_t n);
void session_neg_free(struct nbd_session *s);
void session_neg_put(struct nbd_session *s, const void *data, uint32_t len);
void session_opt_reply(struct nbd_session *s, uint32_t type, const void *data, uint32_t len);
void session_opt_reply2(struct nbd_session *s, uint32_t type, const void *head, uint32_t head_len,
			const void *data, uint32_t len);
void session_opt_error(struct nbd_session *s, uint32_t type, const char *text);
/* The negotiation succeeded: hand over or go on. */
int session_negotiated(struct nbd_session *s);

/* options.c */
/* Handle one option whose data is whole. 0 or -errno. */
int session_option(struct nbd_session *s, uint32_t option, const uint8_t *data, uint32_t len);

/* request.c */
int session_step_request(struct nbd_session *s);
/* n bytes came into the payload of the present request. */
void session_payload_received(struct nbd_session *s, size_t n);
struct nbd_req *session_req_new(struct nbd_session *s);
void session_req_free(struct nbd_session *s, struct nbd_req *req);

/* whole.c: sending whole replies */
int session_whole_output(struct nbd_session *s, struct iovec *iov, int max);
/* tx_head was sent whole. */
void session_whole_sent(struct nbd_session *s, const struct nbd_req *req);
/* One part of a READ is over. */
void session_part_over(struct nbd_req *req);
int session_send_failed(struct nbd_session *s, int err);
/* Tell where the last request ended, if nothing came behind it. */
void session_tell_received(struct nbd_session *s);
void session_tell_boundary(struct nbd_session *s);

/* reply.c */
/* The answers from first to last, from what is not sent of tx_head on. last NULL: all. */
int session_reply_pieces(struct nbd_session *s, const struct nbd_req *last, struct iovec *iov,
			 int max);
/* Bytes of an answer, and how many pieces it has at least. */
uint64_t session_reply_bytes(const struct nbd_req *req, int *pieces);
/* The end of an answer whose bytes were sent before. */
void session_reply_end(struct nbd_req *req);
/* It was told by others. */
void session_reply_elsewhere(struct nbd_req *req);
/* Take an answer that was queued back, and say this instead. */
void session_reply_replace(struct nbd_req *req, int error);
int session_reply_output(struct nbd_session *s, struct iovec *iov, int max);
void session_reply_sent(struct nbd_session *s, size_t n);
void session_reply_error(struct nbd_req *req, int error, const char *why);

#endif
