/*
 * The client's side of an NBD connection to a storage server, as an engine (see session.h for the
 * other side). volmgr has one to each server on each data thread. It owns no socket.
 *
 * It negotiates fixed newstyle, authenticates both ways (weft.h), opens WEFT_STORE_EXPORT with
 * NBD_OPT_GO, uses simple replies, and matches replies to calls by cookie. A reply that no call
 * waits for, a wrong magic or an oversized length ends the connection.
 *
 * A plain client opens a volume of volmgr, as any other NBD client does: no proofs, and the
 * protocol's own commands.
 */
#ifndef WEFT_NBD_CLIENT_H
#define WEFT_NBD_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "io.h"
#include "nbd/weft.h"

#define NBD_CALL_IOV	    8
#define NBD_CLIENT_NAME_MAX 127u

struct nbd_client;

/* One call. Owned by the caller, who keeps it and everything it points to until done(). */
struct nbd_call {
	uint16_t type;	/* NBD_CMD_* or enum weft_cmd_type */
	uint16_t flags; /* NBD_CMD_FLAG_* */
	uint64_t offset;
	uint32_t len; /* bytes to read, trim or zero. Private commands, NBD_CMD_WRITE: computed from
		       * out[] */
	struct weft_cmd cmd; /* private commands: host byte order */
	/* what is sent after the headers, and where what comes back goes; arrays of the caller,
	 * up to STREAM_IOV_MAX - 2 entries each, not changed by the engine */
	const struct iovec *out;
	int nout;
	const struct iovec *in;
	int nin;
	/*
	 * error: 0, a positive errno from the server, or -ENOTCONN: the connection broke (or
	 * the server said that it is shutting down, which ends it) and nobody knows whether the
	 * server did it. Never called from inside nbd_client_submit().
	 */
	void (*done)(struct nbd_call *call, int error);
	/* ---- the engine's while submitted ---------------------------------------- */
	struct nbd_call *next, *prev; /* all calls that wait, oldest first */
	struct nbd_call *hash_next;
	uint64_t cookie;
	uint64_t start_ns;
	uint32_t expect; /* bytes that a good reply carries */
	int error;
	bool sent; /* the transport has let go of header and out */
	bool replied;
	uint8_t header[28 + sizeof(struct weft_cmd)];
};

struct nbd_client_ops {
	/* Authenticated and opened: calls may be submitted. */
	void (*ready)(void *ctx, struct nbd_client *c);
	/* The connection is over, and the calls that wait will be done with -ENOTCONN right after
	 * this: look for another way before they are, none may be submitted here any more. May be
	 * NULL. */
	void (*breaking)(void *ctx, struct nbd_client *c);
	/* A call was answered well, ns after it was submitted. For counting; may be NULL. */
	void (*answered)(void *ctx, const struct nbd_call *call, uint64_t ns);
	/* On a route: a chunk of this type came; its data is thrown away. May be NULL. */
	void (*chunk)(void *ctx, struct nbd_client *c, uint64_t cookie, uint16_t type);
	/* The connection is over; every call has had its done() before this. why: a sentence for
	 * people, or NULL for an orderly end. The engine frees itself after it. */
	void (*closed)(void *ctx, struct nbd_client *c, int err, const char *why);
};

/* What the server said of itself; valid from ready() on. To a plain client it gives no names. */
struct nbd_client_peer {
	uint8_t cluster[WEFT_UUID_BYTES];
	uint8_t store[WEFT_UUID_BYTES];
	uint8_t boot[WEFT_UUID_BYTES];
	uint64_t size;
	uint16_t flags;
	char description[NBD_CLIENT_NAME_MAX + 1]; /* of the export; "": none */
};

/* secret: WEFT_SECRET_BYTES, copied. NULL: out of memory. */
struct nbd_client *nbd_client_create(const struct nbd_client_ops *ops, void *ctx, struct env *env,
				     const uint8_t *secret, struct stream *stream);
/* The same without a secret, for the export of this name (copied, NBD_CLIENT_NAME_MAX bytes at
 * most). */
struct nbd_client *nbd_client_create_plain(const struct nbd_client_ops *ops, void *ctx,
					   struct env *env, const char *name,
					   struct stream *stream);
/*
 * Right after nbd_client_create(): open WEFT_ROUTE_EXPORT instead, with structured replies. No
 * calls may be submitted; what comes is told by chunk().
 */
void nbd_client_route(struct nbd_client *c);
/* On a route: a READ of nothing, whose answer shows that all before it were answered. False: too
 * many of them wait to be sent. */
bool nbd_client_mark(struct nbd_client *c, uint64_t cookie);
/* On a route: room for so many reads; a READ, whose bytes go elsewhere, see WEFT_ROUTE_EXPORT. */
bool nbd_client_route_room(const struct nbd_client *c, unsigned reads);
void nbd_client_route_read(struct nbd_client *c, uint64_t cookie, uint64_t offset, uint32_t len);
const struct nbd_client_peer *nbd_client_peer(const struct nbd_client *c);
/* Only after ready(). Sent in the order of submission. */
void nbd_client_submit(struct nbd_client *c, struct nbd_call *call);
/* The start of the oldest call that waits, in env time; 0: none. For deadlines. */
uint64_t nbd_client_oldest_ns(const struct nbd_client *c);
/* When bytes last came from the server, in env time; 0: never. For deadlines, too. */
uint64_t nbd_client_heard_ns(const struct nbd_client *c);
/* Send NBD_CMD_DISC and close. */
void nbd_client_close(struct nbd_client *c);

#endif
