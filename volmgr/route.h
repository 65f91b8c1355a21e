/*
 * Routed reads: what volmgr does so that clients' reads go past it. The programs in the kernel and
 * the layout of their maps are in bpf/route.h, which says why this is right; the files here keep
 * the maps:
 *
 *   route.c         start and stop; volumes: where their data shards are, which servers may be
 * asked route-server.c  connections that servers answer routed reads on; reads that one of them
 * failed route-pair.c    the sockets of these connections route-client.c  clients' connections:
 * when they may be routed, when volmgr sends alone route-late.c    reads that wait too long
 *
 * Threads: as for the rest of a worker. The maps are memory that several threads and the kernel
 * look at: each word has one writer, or is changed atomically.
 */
#ifndef WEFT_VOLMGR_ROUTE_H
#define WEFT_VOLMGR_ROUTE_H

#include "bpf/loader.h"
#include "route-choice.h"
#include "route-pair.h"
#include "volmgr.h"

#define ROUTE_NONE_VOL	     UINT32_MAX
#define ROUTE_LATE_MS	     2000  /* the longest that volmgr waits for a server's answer */
#define ROUTE_SLOW_MS	     200   /* the shortest that a server stays slow */
#define ROUTE_LOST_MS	     4000  /* for a server on another machine to tell what it sent */
#define ROUTE_RETRY_MS	     500   /* before a server is tried again */
#define ROUTE_PROVE_MS	     3000  /* for a server's connection to prove that it works */
#define ROUTE_AGAIN_MS	     20	   /* reads that were too late for a gate are looked for */
#define ROUTE_KEEP_MS	     10000 /* the sockets of a connection that is over are kept */
#define ROUTE_ALONE_US	     50	   /* between two looks at what is on its way */
#define ROUTE_QUIET_MS	     2	   /* without large answers, before routes open again */
#define ROUTE_FULL_MS	     1	   /* between two looks at a client that does not read */
#define ROUTE_MARK	     ((uint64_t)ROUTE_MARK_ID << 32) /* in cookies that are not of reads */
/* In a mark of a server on another machine: its number, and the count. */
#define ROUTE_MARK_SHIFT     46u
#define ROUTE_MARK_COUNT     (((uint64_t)1 << ROUTE_MARK_SHIFT) - 1)
#define ROUTE_MARK_SERVER(c) ((uint32_t)((c) >> ROUTE_MARK_SHIFT & 0xffff))
#define ROUTE_REMOTE_WORKERS 128u /* the first ones read from servers on other machines past us */
#define ROUTE_LIST_MS	     20 /* the longest between two looks at what the kernel has not queued yet */

enum route_mode { ROUTE_AUTO, ROUTE_REMOTE, ROUTE_ALL, ROUTE_ON, ROUTE_OFF };

struct route_server;
struct route_kept;
struct route_steers;
struct route_remote;
struct route_client;

/* A worker's part. */
struct wroute {
	struct worker *worker;
	struct bpf_route *bpf;
	struct route_server *servers;
	struct route_kept *kept;
	struct route_steers *steers;		   /* NULL: none yet */
	struct route_remote *remote;		   /* NULL: not here */
	struct route_client *clients[ROUTE_CONNS]; /* by id */
	struct route_client *waiting;		   /* to be alone */
	uint64_t mark;				   /* the last one sent */
	struct route_client *all;		   /* likewise */
	uint64_t sweep_until_ns;		   /* reads of clients that are gone may be there */
	uint64_t ticked_ns;			   /* when such were looked for last */
	struct io_timer tick, look;
};

/* A volume's part; the worker's after the engine was made. */
struct vroute {
	uint32_t slot; /* in the map of volumes */
	uint32_t first, extents;
	uint64_t steered;			   /* reads */
	uint32_t servers[ROUTE_GATES];		   /* numbers, by gate */
	uint64_t remote[ROUTE_GATES];		   /* keys of those on other machines, 0: closed */
	struct route_choice choice[ROUTE_CHOICES]; /* by size */
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
	/* of servers on other machines: asked for and not heard of; whether anything has come since
	 * it was alone; the mark of our own connection that must come back first */
	uint32_t remote_parts;
	uint64_t remote_bytes;
	bool remote_used;
	uint64_t remote_mark;
	/* when its list was seen not empty first, and when it is looked at next; or 0 */
	uint64_t list_ns, list_look_ns;
	struct io_timer timer;	   /* full: look again; quiet: open again */
	struct route_client *next; /* waiting */
	struct route_client *next_all;
};

/* route.c */

/* NULL: off, and why. remote_why: not with servers on other machines, or empty. */
struct bpf_route *route_open(enum route_mode mode, const char **why, const char **remote_why);
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
/* Are reads routed to it? "off": eBPF is; "remote": it is on another machine, or in another network
 * namespace; "closed": it is here and takes none (now); "open". The control thread's. */
const char *route_server_state(const struct cluster *c, const struct server *s);
/* It is no server of the cluster any more. */
void route_server_forget(struct cluster *c, uint32_t number);

/* route-server.c */

/* A server is there; name_at: where it takes connections for routed reads, 0: nowhere. */
void route_server_add(struct worker *w, uint32_t number, const char *name, const struct addr *addr,
		      uint64_t name_at, const uint8_t *boot);
void route_server_remove(struct worker *w, uint32_t number);
/* The key of its connection, or 0: closed. */
uint64_t route_server_key(const struct worker *w, uint32_t number, const uint8_t *boot);
/* Ask every server for a mark: when it is back, what they sent before has arrived. */
uint64_t route_mark_send(struct wroute *wr);
bool route_mark_back(const struct wroute *wr, uint64_t mark);
/* It owes an answer: no more reads until it shows that it is back. */
void route_server_late(struct wroute *wr, uint64_t key);
/* One on another machine does not tell what it has sent: end its connection. */
void route_server_lost(struct wroute *wr, uint64_t key);
/* Room for so many reads of our own; such a READ, whose bytes go to a client. */
bool route_server_room(const struct wroute *wr, uint64_t key, unsigned reads);
void route_server_ask(struct wroute *wr, uint64_t key, uint64_t cookie, uint64_t offset,
		      uint32_t len);
/* Look whether those are; one on another machine that is not for too long is lost. */
void route_servers_back(struct wroute *wr);
/* The same of a server on another machine; 0: closed. */
uint64_t route_server_remote_key(const struct worker *w, uint32_t number, const uint8_t *boot);
/* A chunk from such a server. */
void route_server_chunk(struct wroute *wr, uint64_t cookie, uint16_t type);
/* No more of them. */
void route_servers_remote_end(struct wroute *wr);
void route_servers_close(struct worker *w);
void route_servers_free(struct worker *w);

/* route-remote.c */

void route_remote_init(struct wroute *wr);
void route_remote_close(struct wroute *wr);
/* After its loop has ended. */
void route_remote_free(struct wroute *wr);
bool route_remote_works(const struct wroute *wr);
/* Send the end of an answer. */
void route_remote_end(struct wroute *wr, uint64_t cookie);
/* When this mark is back, all ends that were sent are on their way to clients. */
uint64_t route_remote_mark(struct wroute *wr);
bool route_remote_back(const struct wroute *wr, uint64_t mark);
/* Every now and then: do ends still come? */
void route_remote_look(struct wroute *wr);

/* route-keep.c */

/* It is over, and its gates are closed: close both later. Negative ones are none. */
void route_pair_keep(struct wroute *wr, const int fd[2], uint64_t key);
void route_pairs_close(struct wroute *wr);

/* route-client.c */

/* A client has opened its volume; its answer may not be sent yet. */
void route_client_open(struct route_client *rc, struct worker *w, struct vol *v,
		       struct nbd_session *s, int fd);
/* It is at its worker now. */
void route_client_here(struct route_client *rc, struct worker *w, struct stream *stream);
void route_client_close(struct route_client *rc);
bool route_client_room(struct route_client *rc);
/* Room for so many bytes of servers on other machines. */
bool route_client_remote_room(struct route_client *rc, uint32_t bytes);
void route_client_alone(struct route_client *rc);
void route_client_shared(struct route_client *rc);
/* A mark came back, or a server went: who waits may be alone now. */
void route_clients_look(struct wroute *wr);
/* A read that no server will answer: serve it, if nobody else has. */
void route_take(struct wroute *wr, uint64_t cookie);
/* All that are on their way to the server with this key. */
void route_take_all(struct wroute *wr, uint64_t key);

/* route-late.c */

/* A client is there, or gone. */
void route_late_start(struct wroute *wr);
void route_late_end(struct wroute *wr);

/* route-steer.c */

/* A READ that volmgr was asked for; true: its bytes come from the servers. */
bool route_steer(struct route_client *rc, struct vol *v, struct nbd_req *req);
/* The part with this cookie is in the client's queue; or is not, and has to be read here. */
void route_steer_sent(struct wroute *wr, uint64_t cookie);
void route_steer_read(struct wroute *wr, uint64_t cookie);
/* A server's connection is over: so have all of it that nobody knows of. */
void route_steer_gone(struct wroute *wr, uint64_t key);
/* Parts of servers on other machines that are not heard of. */
bool route_steer_waits(const struct wroute *wr);
/* Those that should have been: their servers are lost. */
void route_steer_late(struct wroute *wr, uint64_t now_ns);
/* nbd_server_ops.answered() */
void route_steer_answered(struct vol *v, const struct nbd_req *req);
/* nbd_server_ops.end() */
enum nbd_end route_steer_end(struct route_client *rc, struct nbd_req *req);
void route_steers_free(struct wroute *wr);

#endif
