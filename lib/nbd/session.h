/*
 * The server's side of an NBD connection, as an engine: bytes in, requests out; replies in, bytes
 * out. It owns no socket; nbdsrv, volmgr, the simulator and the fuzzer drive the same code.
 *
 * Source: the NBD protocol document (doc/proto.md of the nbd project): fixed newstyle negotiation,
 * simple and structured replies, metadata context base:allocation.
 *
 * Trust: everything that comes in is hostile. A request is checked whole before the back end sees
 * it: type, flags, range (offset + length without overflow, within the export), payload length. The
 * back end may assert what is promised here.
 */
#ifndef WEFT_NBD_SESSION_H
#define WEFT_NBD_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "io.h"
#include "nbd/weft.h"

#define NBD_NAME_MAX	   4096u /* bytes of an export name, by the specification */
#define NBD_PAYLOAD_MAX	   BUF_MAX_BYTES
#define NBD_INFLIGHT_MAX   256 /* requests of one connection at once; then we stop reading */
#define NBD_INFLIGHT_BYTES (64u << 20)	  /* and payload bytes, in and out */
#define NBD_OPTIONS_MAX	   64		  /* options in one negotiation */
#define NBD_HANDSHAKE_MS   10000	  /* from accept to transmission; then closed */
#define NBD_WHOLE_MAX	   (65536u + 28u) /* bytes of replies that one send takes whole */
#define NBD_STALL_MS	   30000	  /* a payload that began and does not go on; then closed */

struct nbd_session;

/* An export as a back end describes it at open. Copied by the session. */
struct nbd_export {
	uint64_t size;	    /* bytes */
	uint32_t min_block; /* for NBD_INFO_BLOCK_SIZE; 1 when every byte may be addressed */
	uint32_t pref_block;
	uint32_t max_block; /* largest payload, at most NBD_PAYLOAD_MAX */
	uint16_t flags;	    /* NBD_FLAG_* transmission flags without HAS_FLAGS and SEND_DF, which
			     * the session adds itself */
	bool private_cmds;  /* weft_cmd requests are taken; plain WRITE, TRIM, ... refused */
	bool split;	    /* sends are split into replies, see WEFT_ROUTE_EXPORT */
	const char *description; /* for NBD_INFO_DESCRIPTION, or NULL; read once after open() */
	void *ctx;		 /* the back end's, comes back with every request */
};

/* One piece of a read's answer. buf NULL: zeros. */
struct nbd_seg {
	struct buf *buf; /* the session takes over one reference */
	uint32_t offset; /* of the first byte in buf->data */
	uint32_t len;
};

#define NBD_SEGS_INLINE 4

/* One extent of a BLOCK_STATUS answer, base:allocation: bit 0 hole, bit 1 reads as zeros. */
struct nbd_status {
	uint32_t len;
	uint32_t flags;
};

/*
 * A request, checked. Made by the session, the back end's from ops->request() until it calls one
 * nbd_req_done*(); it stays valid when the connection breaks in between (the answer is dropped
 * then).
 */
struct nbd_req {
	struct nbd_session *session;
	void *export_ctx; /* nbd_export.ctx */
	uint16_t type;	  /* NBD_CMD_*, or enum weft_cmd_type on private exports */
	uint16_t flags;	  /* NBD_CMD_FLAG_*, only those that the command may have */
	uint32_t len;	  /* bytes asked for, or of the payload after struct weft_cmd */
	uint64_t offset;
	uint64_t cookie;
	struct buf *payload; /* WRITE and private commands: len bytes; NULL when len is 0. The
			      * request holds one reference; take another to keep it longer */
	struct weft_cmd cmd; /* private commands: in host byte order */
	uint64_t start_ns;   /* when it was complete */
	/* for the back end, while it has the request */
	struct nbd_req *next;
	void *priv;
	uint64_t user[8];
	/* ---- the session's ------------------------------------------------------- */
	struct nbd_req *whole; /* it is a part of this READ */
	uint32_t parts;	       /* that are not sent yet */
	struct nbd_seg segs_inline[NBD_SEGS_INLINE];
	struct nbd_seg *segs; /* segs_inline, or malloc'd */
	int nsegs;
	uint32_t in_bytes;  /* payload bytes counted against NBD_INFLIGHT_BYTES */
	uint32_t out_bytes; /* and those of the answer, which are also what it must carry */
	bool replied;
	bool status_owned; /* status was malloc'd */
	bool chunked;	   /* status has a chunk head for each of segs */
	bool note;	   /* tell when it has been sent, see WEFT_ROUTE_EXPORT */
	bool alone;	   /* nobody else may be sending before it */
	struct nbd_req *reply_next;
	uint8_t header[64]; /* reply header, and the head of its chunk */
	uint32_t header_len;
	const void *status; /* chunk payload made by the session (block status, errors) */
	uint32_t status_len;
};

/* The end of a READ that others answer: a chunk as any other; one before which nobody else may be
 * sending; none, the client is told by others. */
enum nbd_end { NBD_END_HERE, NBD_END_ALONE, NBD_END_ELSEWHERE };

/* What a daemon supplies. ctx is nbd_session_config.ctx. */
struct nbd_server_ops {
	/*
	 * A client asks for an export by name (INFO, GO or EXPORT_NAME); fill *out. Empty name: the
	 * default export. Returns 0, or -ENOENT (unknown), -EPERM (policy, see *why), -ESHUTDOWN.
	 * info_only: nothing is opened. Otherwise closed() follows some time.
	 */
	int (*open)(void *ctx, struct nbd_session *s, const char *name, size_t len, bool info_only,
		    struct nbd_export *out, const char **why);
	/* For NBD_OPT_LIST: call emit() for each name. NULL, or -EPERM: listing is refused. */
	int (*list)(void *ctx, void (*emit)(void *emit_ctx, const char *name, const char *desc),
		    void *emit_ctx);
	/*
	 * Negotiation is over and the session will parse no further byte until
	 * nbd_session_resume(): the daemon may move it and its stream to another thread first.
	 * NULL: resumed at once.
	 */
	void (*ready)(void *ctx, struct nbd_session *s, void *export_ctx);
	/* A request; the back end's until done. */
	void (*request)(void *ctx, struct nbd_req *req);
	/* A request was answered, ns after it was complete. For counting; NULL: not told. */
	void (*answered)(void *ctx, const struct nbd_req *req, uint64_t ns);
	/*
	 * Only after nbd_session_route(). room: may something be sent? If not, the daemon kicks
	 * the stream when it may. alone: a reply larger than NBD_WHOLE_MAX waits; see to it that
	 * nobody else sends, then call nbd_session_alone(). shared: it has been sent.
	 */
	bool (*room)(void *ctx, struct nbd_session *s);
	void (*alone)(void *ctx, struct nbd_session *s);
	void (*shared)(void *ctx, struct nbd_session *s);
	/* A READ of nbd_req_steer() has ended: who tells the client? NULL: NBD_END_HERE. */
	enum nbd_end (*end)(void *ctx, struct nbd_req *req);
	/* The connection is over (nbd_export.ctx, or NULL when none was opened). Requests may
	 * still be under way. */
	void (*closed)(void *ctx, struct nbd_session *s, void *export_ctx);
};

struct nbd_auth_config; /* nbd/auth.h */

struct nbd_session_config {
	const struct nbd_server_ops *ops;
	void *ctx;
	struct env *env;
	struct buf_pool *pool;
	const struct nbd_auth_config *auth; /* NULL: private options are unknown */
	const char *peer_name;		    /* for logs; copied */
};

/* A session on a fresh connection; attaches itself to the stream. NULL: out of memory. It frees
 * itself after closed() and the last request. */
struct nbd_session *nbd_session_create(const struct nbd_session_config *config,
				       struct stream *stream);

/* After ready(): go on, on the thread that owns config's env and pool. */
void nbd_session_resume(struct nbd_session *s, const struct nbd_session_config *config,
			struct stream *stream);

/* It negotiated structured replies. */
bool nbd_session_structured(const struct nbd_session *s);
bool nbd_session_authenticated(const struct nbd_session *s);
const char *nbd_session_peer(const struct nbd_session *s);
/* The volume was resized or removed: later requests are checked against this size. */
void nbd_session_set_size(struct nbd_session *s, uint64_t size);

/* ---- routed clients (bpf/route.h) ---- */

/* Bytes received of whole requests, or of the negotiation; bytes of answers to the negotiation in
 * all, and those of them that are not sent yet. Between negotiation and first request. */
struct nbd_session_place {
	uint32_t taken, answered, unsent;
	bool structured;
};
void nbd_session_place(const struct nbd_session *s, struct nbd_session_place *place);
/*
 * Others send to this client, too: from now on each send is whole replies of NBD_WHOLE_MAX bytes
 * at most, or a larger one after alone(). *received is kept at the number of bytes received (modulo
 * 2^32), and so is *boundary whenever these end with a request.
 */
void nbd_session_route(struct nbd_session *s, uint32_t *boundary, uint32_t *received);
void nbd_session_alone(struct nbd_session *s);
/* As if the client had sent this READ; it is checked like one. */
void nbd_session_read(struct nbd_session *s, uint16_t flags, uint64_t cookie, uint64_t offset,
		      uint32_t len);

/*
 * A READ (on a connection with structured replies, without NBD_CMD_FLAG_DF) whose bytes others
 * send, in parts. Each part ends with one of the two: it was sent, or the back end is asked for it,
 * as for a READ of its own. When all have ended the answer is closed, and the back end has nothing
 * more to do with req.
 */
void nbd_req_steer(struct nbd_req *req, unsigned parts);
void nbd_req_part_sent(struct nbd_req *req);
void nbd_req_part_read(struct nbd_req *req, uint64_t offset, uint32_t len);

/* ---- answers. error: 0 or a positive errno; nbd_errno() maps it to the wire ---- */

void nbd_req_done(struct nbd_req *req, int error);
/* A READ (or a private command with reply_len): segs cover exactly the length, in order. The
 * session takes the references in it also when it cannot send them. */
void nbd_req_done_data(struct nbd_req *req, const struct nbd_seg *segs, int nsegs);
/* BLOCK_STATUS: at least one; lengths must not pass the request's end, save that the last may. */
void nbd_req_done_status(struct nbd_req *req, const struct nbd_status *st, int n);

/* The one place where an errno becomes an NBD error. private: also WEFT_EBADMSG and WEFT_ESTALE. */
uint32_t nbd_errno(int error, bool private_cmds);

#endif
