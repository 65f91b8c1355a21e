/*
 * Routed reads: what volmgr does so that clients' reads go past it. The programs in the kernel and
 * the layout of their maps are in bpf/route.h, which says why this is right; the files here keep
 * the maps:
 *
 *   route.c         start and stop; volumes: where their data shards are, which servers may be
 * asked route-server.c  connections that servers answer routed reads on; reads that one of them
 * failed route-client.c  clients' connections: when they may be routed, when volmgr sends alone
 *
 * Threads: as for the rest of a worker. The maps are memory that several threads and the kernel
 * look at: each word has one writer, or is changed atomically.
 */
#ifndef WEFT_VOLMGR_ROUTE_H
#define WEFT_VOLMGR_ROUTE_H

#include "bpf/loader.h"
#include "volmgr.h"

#define ROUTE_NONE_VOL UINT32_MAX
#define ROUTE_SWEEP_MS 500	    /* how often reads on their way are looked at */
#define ROUTE_LATE_MS  2000	    /* one that takes longer is served by volmgr */
#define ROUTE_RETRY_MS 500	    /* before a server is tried again */
#define ROUTE_PROVE_MS 3000	    /* for a server's connection to prove that it works */
#define ROUTE_ALONE_US 50	    /* between two looks at what is on its way */
#define ROUTE_QUIET_MS 2	    /* without large answers, before routes open again */
#define ROUTE_FULL_MS  1	    /* between two looks at a client that does not read */
#define ROUTE_MARK     (1ULL << 63) /* in cookies that are not of reads */

enum route_mode { ROUTE_AUTO, ROUTE_ON, ROUTE_OFF };

struct route_server;
struct route_client;

/* A worker's part. */
struct wroute {
	struct worker *worker;
	struct bpf_route *bpf;
	struct route_server *servers;
	struct route_client *clients[ROUTE_CONNS]; /* by id */
	struct route_client *waiting;		   /* to be alone */
	uint64_t mark;				   /* the last one sent */
	struct io_timer sweep, look;
	bool sweeping;
};

/* A volume's part; the worker's after the engine was made. */
struct vroute {
	uint32_t slot; /* in the map of volumes */
	uint32_t first, extents;
	uint32_t servers[ROUTE_GATES]; /* numbers, by gate */
	unsigned nservers;
};

/* A client's part. Embedded in its connection. */
struct route_client {
	struct route_conn *shared; /* NULL: it is not routed */
	uint32_t id;
	int fd;
	struct wroute *wroute; /* NULL: not yet at its worker */
	struct nbd_session *session;
	struct stream *stream;
	uint64_t read_mark; /* delivered bytes of which we know that they were read */
	uint32_t alone_seq; /* routed reads when it was known that none is on its way */
	uint64_t mark;	    /* that must come back before it is alone */
	bool wants_alone, marked, alone;
	struct io_timer timer;	   /* full: look again; quiet: open again */
	struct route_client *next; /* waiting */
};

/* route.c */

/* NULL: off, and why. */
struct bpf_route *route_open(enum route_mode mode, const char **why);
void route_worker_init(struct worker *w);
/* After its loop has ended. */
void route_worker_free(struct worker *w);
/* Before extents are added. */
void route_volume_open(struct vol *v);
void route_volume_close(struct vol *v);
void route_volume_size(struct vol *v, uint64_t size);
/* volume_ops.changed() */
void route_volume_changed(void *ctx, struct volume *e, const struct extent_record *r,
			  uint32_t readable);
/* Servers' connections came or went: look at all gates. */
void route_gates(struct worker *w);
/* Reads of a volume that were routed, and those that a server answered. */
void route_volume_count(const struct vol *v, struct watch_counts *sum);
void route_server_count(struct cluster *c, const struct server *s, struct watch_counts *sum);
/* It is no server of the cluster any more. */
void route_server_forget(struct cluster *c, uint32_t number);

/* route-server.c */

/* A server is there; port: where it takes routed reads. */
void route_server_add(struct worker *w, uint32_t number, const char *name, const struct addr *addr,
		      uint16_t port, const uint8_t *boot);
void route_server_remove(struct worker *w, uint32_t number);
/* The key of its connection, or 0: closed. */
uint64_t route_server_key(const struct worker *w, uint32_t number, const uint8_t *boot);
/* Ask every server for a mark: when it is back, what they sent before has arrived. */
uint64_t route_mark_send(struct wroute *wr);
bool route_mark_back(const struct wroute *wr, uint64_t mark);
void route_servers_close(struct worker *w);
void route_servers_free(struct worker *w);

/* route-client.c */

/* A client has opened its volume; its answer may not be sent yet. */
void route_client_open(struct route_client *rc, struct worker *w, struct vol *v,
		       struct nbd_session *s, int fd);
/* It is at its worker now. */
void route_client_here(struct route_client *rc, struct worker *w, struct stream *stream);
void route_client_close(struct route_client *rc);
bool route_client_room(struct route_client *rc);
void route_client_alone(struct route_client *rc);
void route_client_shared(struct route_client *rc);
/* A mark came back, or a server went: who waits may be alone now. */
void route_clients_look(struct wroute *wr);
/* A read that no server will answer: serve it, if nobody else has. */
void route_take(struct wroute *wr, uint64_t cookie);

#endif
