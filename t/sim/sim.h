/*
 * The simulator: a whole cluster in one process, on simulated disks, network and clock. The NBD
 * sessions, the store and the stripe engine are those of the daemons, unchanged; what stands here
 * is what the daemons do around them, and a world that fails. t/sim/FAULTS says what may fail.
 *
 * Everything that happens is an event with a time; of two at the same time the one that was
 * scheduled first comes first. All chance comes from the seed: the same seed is the same run.
 *
 * Files: world (events, processes), heap (the memory of each process), net (connections), disk,
 * server (nbdsrv), mgr (volmgr), client (an NBD client), load (what it asks for), model (what it
 * may see), faults (what goes wrong when), run (the program).
 */
#ifndef WEFT_SIM_H
#define WEFT_SIM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "fake-env.h"
#include "nbd/weft.h"

#define SIM_SERVERS_MAX 8
#define SIM_MGRS	2 /* volmgrs; at most one is not fenced or dead */
#define SIM_PROCS_MAX	(SIM_SERVERS_MAX + SIM_MGRS + 1)
#define SIM_EVENTS_MAX	4096
#define SIM_STEPS_MAX	2000000u /* of one seed: beyond that it goes round in circles */
#define SIM_BLOCK	4096u
#define SIM_SLOTS_MAX	20 /* of a store: the others are not used */

/* ---- world.c: events, processes, what went wrong ------------------------------------------- */

struct sim;
struct proc;

struct event {
	uint64_t at_ns, order;
	void (*fn)(struct event *e);
	struct proc *proc;  /* waits while this one is frozen; may be NULL */
	struct event *next; /* in proc->held */
	const char *name;
	bool queued;
};

/* What a process has allocated. */
struct heap {
	struct heap_chunk *first;
	size_t bytes;
};

/* A simulated process. Its code runs between proc_enter() and proc_leave() only. */
struct proc {
	struct fake_env env; /* first: engines get &env.env */
	struct sim *sim;
	char name[16];
	unsigned number; /* in sim->procs */
	uint64_t life;	 /* rises with every start; even: dead */
	bool frozen;
	bool doomed; /* it has ended itself: nothing of it leaves any more */
	struct heap heap;
	struct event *held, **held_tail; /* came while it was frozen */
};

struct geometry {
	unsigned k, m, servers;
	uint32_t unit;
	uint64_t size;
};

struct sim {
	uint64_t seed;
	uint64_t random;
	uint64_t more; /* a stream of its own, for what came later: the other goes on as it was */
	bool late;     /* what was on its way in a connection that broke may still come */
	uint64_t now_ns;
	uint64_t order;
	uint64_t steps;
	uint64_t hash; /* of all that happened */
	struct event *queue[SIM_EVENTS_MAX];
	unsigned nqueue;
	struct proc *procs[SIM_PROCS_MAX];
	unsigned nprocs;
	struct geometry g;
	struct conn *conns;
	struct server *servers[SIM_SERVERS_MAX];
	struct mgr *mgrs[SIM_MGRS];
	struct meta *meta;
	struct client *client;
	struct model *model;
	struct load *load;
	struct faults *faults;
};

uint64_t sim_random(struct sim *s);
uint32_t sim_below(struct sim *s, uint32_t n); /* 0 to n - 1 */
uint32_t sim_more(struct sim *s, uint32_t n);  /* the same, from the other stream */
uint64_t sim_more_ns(struct sim *s, uint64_t n);
bool sim_chance(struct sim *s, uint32_t per_mille);
/* Mostly near low, now and then near high. */
uint64_t sim_delay(struct sim *s, uint64_t low_ns, uint64_t high_ns);

void sim_at(struct sim *s, struct event *e, uint64_t delay_ns);
void sim_cancel(struct sim *s, struct event *e);
/* Until done() says so; false: the time is over. */
bool sim_run(struct sim *s, bool (*done)(struct sim *s), uint64_t for_ns);

void proc_init(struct sim *s, struct proc *p, const char *name);
void proc_start(struct proc *p);
/* Its memory is gone and nothing of it runs any more. Not from inside its own code. */
void proc_kill(struct proc *p);
void proc_freeze(struct proc *p);
void proc_thaw(struct proc *p);
static inline bool proc_alive(const struct proc *p)
{
	return (p->life & 1) != 0;
}
void proc_enter(struct proc *p);
void proc_leave(struct proc *p);

/* For the trace and for the hash. */
void sim_note(struct sim *s, const char *what, const char *who, uint64_t a, uint64_t b);
/* A promise is broken: tells it, the seed and the last events, and ends the process. */
__attribute__((format(printf, 2, 3), noreturn)) void sim_fail(struct sim *s, const char *fmt, ...);
void sim_dump(void); /* the last events */
extern bool sim_tracing;
extern struct sim *sim_now; /* the one that runs */

/* Everything of one seed, from nothing to the last check. */
void sim_seed(uint64_t seed, uint64_t *hash, uint64_t *steps);

/* ---- heap.c -------------------------------------------------------------------------------- */

/* Whose memory is allocated from now on; NULL: the world's. Returns the one before. */
struct heap *heap_use(struct heap *h);
void heap_drop(struct heap *h);
/* The world's memory, whoever is running; free() takes it back. Ends the process when out of it. */
void *world_alloc(size_t len); /* zeros */
void *world_malloc(size_t len);
void *world_realloc(void *p, size_t len);

/* ---- net.c --------------------------------------------------------------------------------- */

struct conn;
struct stream;

/* done(arg, stream): NULL: it was refused. Both ends' code runs in their processes. */
void net_connect(struct proc *from, struct proc *to,
		 void (*accept)(struct proc *to, struct stream *stream),
		 void (*done)(void *arg, struct stream *stream), void *arg);
/* Like shutdown(): both ends will hear of it. */
void net_cut(struct stream *stream);
/* The other end gets all that was sent, and then hears of it. */
void net_leave(struct stream *stream);
/* Connections of a process that died; silent: nobody tells the other ends. */
void net_died(struct proc *p, bool silent);
/* It is back: connections of its last life are refused. */
void net_returned(struct proc *p);
/* Nothing moves between them until then, in any connection, new ones neither. */
void net_partition(struct proc *a, struct proc *b, uint64_t for_ns);
void net_heal(struct sim *s);
/* Reset a random connection of p. Returns how long it takes until both ends have heard. */
uint64_t net_reset_some(struct proc *p);
/* Their connection breaks: one hears at once, the other much later, and gets all that was sent. */
void net_break(struct proc *one, struct proc *other);
/* p has a connection to an earlier life of that one, and believes that it is there. */
bool net_unheard(const struct proc *p, const struct proc *of);
/* Something may still come, by a connection that is broken. */
bool net_is_late(const struct sim *s);
void net_free(struct sim *s);

/* ---- server.c: what nbdsrv does around session and store ----------------------------------- */

struct server;
struct server *server_new(struct sim *s, unsigned number);
void server_reset(struct server *sv, struct sim *s); /* an empty store, not running */
struct proc *server_proc(struct server *sv);
const uint8_t *server_store(const struct server *sv);
void server_start(struct server *sv);
/* power: the disk loses what was not synced, and nobody is told; else kill -9 */
void server_kill(struct server *sv, bool power);
void server_accept(struct proc *p, struct stream *stream);
void server_stop(struct server *sv); /* in order, then dead */
bool server_serves(const struct server *sv);
void server_look(struct server *sv); /* nothing wrong that no fault explains? */
void server_set_full(struct server *sv, bool full);
void server_set_slow(struct server *sv, bool slow);
/* Its disk refuses writes, or syncs, or both, when faults_refusal() agrees; 0: no more. */
#define SIM_REFUSE_WRITE 1u
#define SIM_REFUSE_SYNC	 2u
void server_refuse(struct server *sv, unsigned what);
/* It has ended itself since its disk failed. cut: that has forgotten what was not synced. */
void server_gave_up(struct server *sv, bool cut);
struct disk_label;
const struct disk_label *server_labels(const struct server *sv, uint32_t *n);
void server_rot(struct server *sv); /* a byte of its data */
void server_lie(struct server *sv, unsigned per_mille);
/* From now on it is no wonder when its store fails, or does not open. */
void server_ail(struct server *sv);
/* What rots, or is lost, or overwritten, and was on the disk for good; running: only what a server
 * that runs may meet. False: there was nothing. */
bool server_spoil(struct server *sv, bool running);

/* ---- mgr.c: what volmgr does around session and stripe engine ------------------------------ */

struct mgr;
struct extent_record;
struct volume_starts;
struct mgr *mgr_new(struct sim *s, unsigned number);
struct proc *mgr_proc(struct mgr *m);
void mgr_start(struct mgr *m); /* with the next epoch */
void mgr_kill(struct mgr *m);
void mgr_stop(struct mgr *m);  /* in order, then dead */
bool mgr_scrub(struct mgr *m); /* begins one; false: one runs */
/* The last one has ended: how many rows were lost or unclear; -1: it runs, or it had to skip. */
int mgr_scrubbed(struct mgr *m);
bool mgr_rebuilds(const struct mgr *m); /* some shards are stale */
/* Begins to move some shard to another server; false: not now, or enough were. */
bool mgr_move(struct mgr *m);
bool mgr_moves(const struct mgr *m); /* one is on its way */
/* The same with one of this server, which is lost; false: it has none. */
bool mgr_leave(struct mgr *m, uint32_t server);
struct volume *mgr_volume(const struct mgr *m);
bool mgr_moved(const struct mgr *m); /* the last one is where it was to be */
void mgr_each_extent(const struct mgr *m, void (*fn)(void *arg, const struct extent_record *r),
		     void *arg);
/*
 * The volume gets that size, and then its own again: what was behind is zeros. done frees arg, or
 * mgr_kill() does. durable: else nobody knows.
 */
bool mgr_may_resize(const struct mgr *m);
void mgr_resize(struct mgr *m, uint64_t size, void (*done)(void *arg, bool durable), void *arg);
bool mgr_ready(const struct mgr *m);
bool mgr_hears(const struct mgr *m, uint32_t server);
bool mgr_stopping(const struct mgr *m);
/* Its memory goes. */
void mgr_free(struct mgr *m);
void mgr_accept(struct proc *p, struct stream *stream);

/* ---- meta.c: the durable map of extents ---------------------------------------------------- */

struct meta *meta_new(struct sim *s);
void meta_free(struct meta *m);
/* The owner from now on: puts of others are refused. */
uint32_t meta_next_epoch(struct meta *m, struct proc *owner);
struct proc *meta_owner(const struct meta *m);
/* Extent records that have stale shards, and the most that one has. */
unsigned meta_stale_most(const struct meta *m);
/* How many shards are gone in one extent at most, when these servers (bits) are: stale ones
 * count. */
unsigned meta_lost_most(const struct meta *m, uint32_t servers);
/* Shards to be durable; done() in p unless it dies before. */
void meta_put(struct meta *m, struct proc *p, const struct extent_record *records, int n,
	      bool removing, void (*done)(void *arg, int err), void *arg);
void meta_put_starts(struct meta *m, struct proc *p, const struct volume_starts *r,
		     void (*done)(void *arg, int err), void *arg);
const struct volume_starts *meta_starts(const struct meta *m);
void meta_replace(struct meta *m, const struct extent_record *records, size_t n);
void meta_each(const struct meta *m, void (*fn)(void *arg, const struct extent_record *r),
	       void *arg);
/* The process died: its puts that are under way happen or not. */
void meta_died(struct meta *m, struct proc *p);
/* From now on puts are refused, or no more. */
void meta_refuse(struct meta *m, bool refusing);

/* ---- recover.c ----------------------------------------------------------------------------- */

/* volmgr runs, nothing else happens: slots that nobody uses are given back. */
void recover_tidy(struct sim *s);
/* volmgr does not run, all servers serve: new metadata, from what they say. */
void recover_metadata(struct sim *s);

/* ---- client.c: an NBD client with several connections -------------------------------------- */

struct client;

struct client_req {
	uint16_t type, flags;
	uint64_t offset;
	uint32_t len;
	uint8_t *data; /* WRITE: what is sent; READ: what came */
	/* error: 0, an NBD error, or -1: the connection broke, nobody knows */
	void (*done)(struct client_req *r, int error);
	uint64_t cookie;
	struct client_req *next;
};

struct client *client_new(struct sim *s);
void client_free(struct client *c);
struct proc *client_proc(struct client *c);
/* Connect to this one from now on; connections to others are dropped. */
void client_use(struct client *c, struct mgr *m);
unsigned client_connections(const struct client *c); /* that can take requests */
void client_submit(struct client *c, unsigned connection, struct client_req *r);
unsigned client_inflight(const struct client *c);
/* Breaks all connections: nobody waits for anything any more. */
void client_drop(struct client *c);

/* ---- model.c: what a client may see -------------------------------------------------------- */

struct model;
struct model *model_new(struct sim *s, uint64_t size);
void model_free(struct model *m);
/* The bytes that write number w has at offset. */
void model_bytes(const struct model *m, uint64_t w, uint64_t offset, uint8_t *to, uint32_t len);
/* May a write to this range be submitted? Not when too many are under way there. */
bool model_room(const struct model *m, uint64_t offset, uint32_t len);
/* w: number of the write, 0: zeros. Returns a handle. */
unsigned model_write(struct model *m, uint64_t w, uint64_t offset, uint32_t len);
void model_acked(struct model *m, unsigned handle, bool durable);
/* Writes that nobody acknowledges stay undecided until this and model_recovered(). */
void model_new_owner(struct model *m);
uint64_t model_moment(struct model *m);
void model_flushed(struct model *m, uint64_t since);
/* Bytes that a read returned that was submitted at that moment. */
void model_read(struct model *m, uint64_t since, uint64_t offset, const uint8_t *data,
		uint32_t len);
/* volmgr is running again: what was under way before is decided; loose: what was not flushed may
 * be lost. */
void model_recovered(struct model *m, bool loose);
/* volmgr lives, but what was not flushed may be lost: until a flush that begins later succeeds. */
void model_loosen(struct model *m);
/* It is now, or was when that began: it may have found what was lost then. */
bool model_was_loose(const struct model *m, uint64_t since);
/* The last acknowledged flush began at this moment. */
uint64_t model_floor(const struct model *m);

/* ---- load.c: requests, and what is done with the answers ----------------------------------- */

struct load;
struct load *load_new(struct sim *s);
void load_free(struct load *l);
void load_run(struct load *l, unsigned requests); /* so many from now on */
void load_pause(struct load *l);
/* No new requests for a while. */
void load_hold(struct load *l, uint64_t ns);
bool load_idle(const struct load *l); /* all submitted, all answered */
/* Reads all that was ever written; load_checked() when it is through. */
void load_check(struct load *l, bool flush);
bool load_checked(const struct load *l);

/* ---- faults.c: the story of a seed --------------------------------------------------------- */

struct faults;
struct faults *faults_new(struct sim *s);
void faults_free(struct faults *f);
void faults_story(struct faults *f);
/* volmgr says that it runs. */
void faults_mgr_ready(struct faults *f, struct mgr *m);
/* It has stopped in order. */
void faults_server_ended(struct faults *f, struct server *sv);
/* volmgr and this server hear each other again. */
void faults_server_heard(struct faults *f, uint32_t server);
/* It has stopped in order. */
void faults_mgr_ended(struct faults *f, struct mgr *m);
/* An I/O of this process begins: the moment of a power cut? */
enum sim_io { SIM_ANY, SIM_SUPER, SIM_LOG, SIM_DATA, SIM_SYNC, SIM_IOS };
/* Clients leave a volmgr so that it finds what they had sent. */
bool faults_aim_leave(const struct faults *f);
/* A whole granule is being written. */
void faults_aim_data(struct faults *f, struct proc *p);
void faults_io(struct faults *f, struct proc *p, enum sim_io kind);
/* A record with more stale shards is on its way to the metadata: the moment for volmgr to die? */
void faults_mark(struct faults *f, struct proc *p);
/* This server is asked to undo a tx: the moment of a power cut, a little later? */
void faults_abort(struct faults *f, uint32_t server);
/* It is asked to prepare one. */
void faults_aim_prepare(struct faults *f, uint32_t server);
/* A server is about to start: its disk may have changed. */
void faults_server_starts(struct faults *f, struct server *sv);
/* The disk of this server is about to refuse something: may the server end now? */
bool faults_refusal(struct faults *f, struct server *sv);
/* It ends, for its disk failed; lost: what is on it is of no use any more. */
void faults_server_failed(struct faults *f, struct server *sv, bool lost);
/* The metadata is given a batch: does it refuse from now on, for a while? */
void faults_put(struct faults *f);
/* It has refused one; doubt: which may be there all the same. */
void faults_refused(struct faults *f, bool doubt);
/* See mgr_resize(). */
bool faults_may_resize(const struct faults *f);
void faults_resize(struct faults *f, uint64_t size, void (*done)(void *arg, bool durable),
		   void *arg);
/* A new extent must have all its shards from the beginning. */
bool faults_place_whole(const struct faults *f);
/* May a request of that moment fail with that error now? */
bool faults_allow_error(struct faults *f, uint16_t type, uint64_t since, int error);
/*
 * A change that was asked for at that moment is acknowledged. When a server lost its memory while
 * it was under way, only a flush from now on covers it.
 */
void faults_acked(struct faults *f, uint64_t since);

#endif
