/*
 * nbdsrv, the storage server: what its files share. One thread does everything: it owns the loop,
 * the connections and the one thing that is exported, a plain file or a shard store.
 */
#ifndef WEFT_NBDSRV_H
#define WEFT_NBDSRV_H

#include <stdbool.h>
#include <stdint.h>

#include "addr.h"
#include "buf.h"
#include "io.h"
#include "log.h"
#include "nbd/auth.h"
#include "nbd/session.h"
#include "uring.h"

#define NBDSRV_LISTEN_MAX  16u
#define NBDSRV_GUARDS_MAX  8u
#define NBDSRV_MEMBERS_MAX 64u /* that are given by hand */
#define NBDSRV_CONNS_MAX   512u
#define NBDSRV_GUESTS_MAX  64u /* that have yet to pass a connection */
#define NBDSRV_GUEST_MS	   10000
#define NBDSRV_PORT	   10809u
#define NBDSRV_POOL_BYTES  (512u << 20) /* payloads of all connections */
#define NBDSRV_ARENA_BYTES (8u << 20)	/* of those, registered with io_uring */
#define NBDSRV_SEND_MS	   30000u	/* a client that takes nothing for so long is dropped */
#define NBDSRV_STOP_MS	   2000u	/* for clients to take their last answers */
#define NBDSRV_BACKLOG_MS  1u		/* until a request that found no memory is tried again */

struct nbdsrv_options {
	const char *file; /* plain export, or NULL */
	const char *name; /* its name */
	bool read_only;
	const char *store;  /* shard store, or NULL */
	bool format;	    /* make it, and exit */
	bool force;	    /* over whatever is there */
	uint64_t size;	    /* for format; 0: not given */
	const char *secret; /* file, or NULL */
	const char *listen[NBDSRV_LISTEN_MAX];
	unsigned nlisten;
	int ready_fd; /* -1: none */
	unsigned spin_us;
	bool no_routes;			       /* open no socket for reads that come past volmgr */
	const char *guards[NBDSRV_GUARDS_MAX]; /* interfaces */
	unsigned nguards;
	const char *members[NBDSRV_MEMBERS_MAX];
	unsigned nmembers;
	enum log_level log_level;
};

struct nbdsrv;
struct conn;

/* What is exported. Embedded in the back end's own struct. */
struct backend {
	const struct backend_ops *ops;
};

struct backend_ops {
	/* Begin to serve on this loop and pool; calls nbdsrv_serving() once, now or later. */
	void (*start)(struct backend *b, struct nbdsrv *n, struct uring *u, struct buf_pool *pool);
	/* See nbd_server_ops. */
	int (*open)(struct backend *b, struct nbd_session *s, const char *name, size_t len,
		    struct nbd_export *out, const char **why);
	/* The name for lists, or NULL: there is nothing to list. */
	const char *(*name)(struct backend *b);
	void (*request)(struct backend *b, struct nbd_req *req);
	/* No request comes any more. When all are answered and everything is durable, call
	 * nbdsrv_stopped(). */
	void (*stop)(struct backend *b);
	void (*free)(struct backend *b);
	/* Reads and writes go past the page cache: buffers are worth registering. */
	bool (*direct)(struct backend *b);
	/* For the private options, or NULL: they are unknown. */
	const struct nbd_auth_config *(*auth)(struct backend *b);
};

/* options.c */

/* Fills opt; 0, or -EINVAL when it told the user what is wrong. */
int options_parse(struct nbdsrv_options *opt, int argc, char **argv);

/* main.c */

/* The back end can serve now (err 0), or never will, and why. */
void nbdsrv_serving(struct nbdsrv *n, int err, const char *why);
struct guarding;
struct guarding *nbdsrv_guarding(struct nbdsrv *n);
/* On the loopback, for reads that come past volmgr; 0: none. */
uint64_t nbdsrv_route_name(const struct nbdsrv *n);
/* The back end has stopped. */
void nbdsrv_stopped(struct nbdsrv *n, int err);

/* listen.c: listening sockets and connections */

struct listen;

/* Bind everything (sockets passed by the service manager first); complains and returns NULL. */
struct listen *listen_create(const struct nbdsrv_options *opt);
/* See nbdsrv_route_name(). */
uint64_t listen_route_name(const struct listen *l);
/* The i-th address that others can reach, as it was bound; NULL: there are no more. */
const struct addr *listen_address(const struct listen *l, unsigned i);
/* Begin to accept. */
void listen_start(struct listen *l, struct uring *u, struct buf_pool *pool, struct backend *b);
/* One line for each address. */
void listen_report(struct listen *l, int ready_fd);
/* Accept no more; requests get ESHUTDOWN from now on. */
void listen_stop(struct listen *l);
/* Close all connections after their last answers; then done(arg). */
void listen_close(struct listen *l, void (*done)(void *arg), void *arg);
void listen_free(struct listen *l);

/* guarding.c: who may send to our ports at all */

/* After listen_create(): guards what it bound. Complains, and returns NULL when a member of the
 * options is none; guards that cannot be had are only complained about. */
struct guarding *guarding_create(const struct nbdsrv_options *opt, const struct listen *l);
void guarding_start(struct guarding *g, struct env *env);
/* Answers MEMBERS. */
void guarding_members(struct guarding *g, struct nbd_req *req);
/* Fills in its part of an answer to STAT. */
void guarding_stat(const struct guarding *g, struct weft_stat *st);
void guarding_stop(struct guarding *g);
void guarding_free(struct guarding *g);

/* export-file.c: a plain file or block device; complains and returns NULL */
struct backend *export_file_create(const struct nbdsrv_options *opt);

/* serve-store.c: a shard store; complains and returns NULL */
struct backend *serve_store_create(const struct nbdsrv_options *opt);

/* format.c: make a store, complain about what is in the way; the exit status */
int format_store(const struct nbdsrv_options *opt);

/* path.c: what both kinds of export need at the start */

/* The path of the store itself: PATH/store when PATH is a directory, else PATH. 0 or -errno, said.
 */
int path_of_store(const char *path, char *out, size_t out_len);
/* The secret, the cluster that it names, and fresh numbers for this run. 0 or -errno, said. */
int auth_load(const char *secret_path, struct nbd_auth_config *auth);
/*
 * flock() with operation (LOCK_EX or LOCK_SH). The kernel lets go of the files of a killed process
 * only when its ring has come to rest: wait that long. 0, -EBUSY, or -errno where there are no
 * locks.
 */
int path_lock(int fd, int operation);
/* Size of a file or block device; 0 or -errno. */
int path_size(int fd, uint64_t *size, bool *is_block);

#endif
