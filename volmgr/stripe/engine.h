/*
 * The stripe engine's inside: what its files share. In reading order: volume (requests), extent
 * (map, placing), server (state of each server), read, degraded, stripe (queues), tx
 * (transactions), code (their payload), repair, scrub, flush, trim, open.
 *
 * Rules that all files keep:
 *  - At most one tx runs in a stripe. Reads of healthy shards need no queue: a server changes a
 * block at once. Decoding reads take the stripe's turn, because k shards must be of one moment.
 *  - A stripe that has work, an extent that has active stripes or reads, stay allocated.
 *  - nbd_req_done*() may bring the next request in before it returns: answer last, when everything
 *    is consistent.
 */
#ifndef WEFT_STRIPE_ENGINE_H
#define WEFT_STRIPE_ENGINE_H

#include "nbd/client.h"
#include "nbd/proto.h"
#include "stripe/layout.h"
#include "stripe/plan.h"
#include "stripe/rebuild.h"
#include "stripe/server.h"
#include "stripe/slab.h"
#include "stripe/volume.h"

#define OP_SEGS_MAX	 (NBD_PAYLOAD_MAX / WEFT_SHARD_BYTES + 2) /* pieces of one read's answer */
#define OP_STRIPES_MAX	 64	     /* stripes of one write in work at once */
#define READ_IOV_MAX	 32	     /* pieces of one read call */
#define TX_IOV_MAX	 16	     /* pieces of one unit in a PREPARE; more are copied together */
#define TX_PARTS_MAX	 256	     /* writes merged in one tx */
#define UNFLUSHED_TX_MAX 16384	     /* acknowledged txs that no flush has covered */
#define GRACE_TICK_MS	 20	     /* looks at absent servers are at least so far apart */
#define UNCOMMITTED_MAX	 1024	     /* flushed txs before COMMITs are sent with the flush */
#define SERVER_HELD_MAX	 (4u << 20)  /* bytes that one server must hold for us before we commit */
#define SCRATCH_BYTES	 (64u << 20) /* for old blocks and parity, all txs of a volume */
#define STATUS_MAX	 1024	     /* extents in a BLOCK_STATUS answer */
#define LIST_PAGE	 100	     /* entries asked for in one LIST */
#define EXTENT_PAGE	 1024	     /* entries of one page of the extent table */
#define PLACE_ATTEMPTS	 2
#define RETRY_MS	 1    /* when the payload pool is at its limit */
#define FULL_RETRY_MS	 1000 /* when servers are full and writes wait for that */
#define PUT_RETRY_MS	 1000 /* when the metadata refused a write */
#define START_WAIT_MS	 3000 /* for servers that are not up when the volume starts */
#define SYNC_POLL_MS	 10   /* when servers answer slowly at the start */
#define STRIPE_HASH_MIN	 64
#define STRIPE_HASH_MAX	 4096
#define LISTED_MAX	 (1u << 20) /* prepared txs that one server may list */

/* ---- requests in work ---------------------------------------------------------------------- */

struct op {
	struct volume *v;
	struct nbd_req *req;		  /* NULL: the engine's own */
	void (*done)(void *arg, int err); /* of the engine's own: err is 0 or -errno */
	void *arg;
	struct op *next; /* in whatever list it waits */
	uint64_t offset, end;
	uint64_t cursor;  /* first byte not yet given to a stripe or extent */
	uint32_t pending; /* parts in work, and one while it is being split */
	uint32_t era;	  /* volume.era when it began */
	int error;	  /* positive errno */
	uint16_t type;
	bool zero; /* WRITE_ZEROES or TRIM */
	bool fua;
	bool place;	  /* zeros, where there is no extent, so that there is one: nowhere else */
	bool once;	  /* not again after a reopening: others may have written since */
	bool splitting;	  /* op_continue() is at it */
	bool queued;	  /* in volume.retry: something wakes it */
	bool waiting;	  /* counted in volume_stat.waiting */
	struct buf *buf;  /* READ: the answer */
	struct buf *late; /* hedged: what it was read into, where late answers still go */
	struct nbd_seg segs[OP_SEGS_MAX];
	int nsegs;
};

/* A list with O(1) append. */
struct op_list {
	struct op *head, **tail;
};

/* One plain READ to one server. */
struct read_call {
	struct nbd_call call;
	struct op *op; /* NULL: it has been answered from elsewhere */
	struct volume *v;
	struct server *server;
	struct read_call *prev, *next; /* of this server's, oldest first */
	uint64_t start_ns;
	bool hedged;
	struct buf *buf; /* hedged: where the late answer goes */
	struct extent *x;
	uint32_t at; /* byte in the shard */
	uint8_t shard;
	int niov;
	struct iovec iov[READ_IOV_MAX];
};

/* A read of one unit's piece that must be decoded, or wait for servers. */
struct dread_call {
	struct nbd_call call;
	struct dread *d;
	struct server *server; /* that has it, perhaps no longer the shard */
	uint8_t shard;
	struct iovec iov;
};

struct dread {
	struct op *op;
	struct stripe *st;
	struct dread *next;
	uint8_t *dst;
	uint32_t at, len; /* bytes in the unit */
	uint8_t shard;
	uint32_t bad;  /* shards that did not match their checksums or failed */
	uint32_t from; /* shards that are being read */
	uint32_t pending;
	bool retry;
	bool mended;	/* it was lost, and waits for a repair */
	uint32_t avoid; /* shards on slow servers: not read if others do */
	struct buf *scratch;
	uint8_t *blocks[WEFT_SHARDS_MAX];
	struct dread_call calls[]; /* k + m */
};

/* A request's piece in one stripe, that waits for its tx or is in it. */
struct wpart {
	struct wpart *next;
	struct op *op;
	const uint8_t *src; /* NULL: zeros */
	uint32_t at, len;   /* bytes of the stripe's data */
};

struct mend_call {
	struct nbd_call call;
	struct mend *mend;
	struct server *server;
	uint8_t shard;
	uint8_t row, rows;
	struct iovec in;
};

/* A stripe that is looked at and put right; see repair.c. */
struct mend {
	struct mend *next; /* waits for the stripe's turn */
	struct volume *v;
	struct stripe *st;
	struct extent *x;
	uint64_t number;	      /* of the stripe */
	bool verify;		      /* compare parity, too */
	bool ask;		      /* the servers first, whether anything is wrong */
	bool damaged;		      /* one said so */
	bool missing;		      /* servers with good shards are */
	void (*done)(struct mend *m); /* it may be freed, or queued again */
	struct {
		uint64_t bytes;	   /* read */
		unsigned bad;	   /* blocks that could not be read */
		unsigned misfit;   /* blocks that did not fit the others */
		unsigned unclear;  /* rows of those where nobody could tell which was wrong */
		unsigned repaired; /* blocks written anew */
		unsigned lost;	   /* rows with too few good blocks */
	} result;
	int error; /* positive; EAGAIN: servers are missing, or went away */
	uint32_t pending;
	uint32_t asked; /* shards whose servers said whether anything is wrong */
	struct buf *scratch;
	uint8_t *spare;						  /* m units */
	uint8_t *unit[WEFT_SHARDS_MAX];				  /* what was read */
	uint64_t have[WEFT_SHARDS_MAX];				  /* blocks that were */
	uint64_t left[WEFT_SHARDS_MAX];				  /* to be read one by one */
	uint64_t wrong[WEFT_SHARDS_MAX], misfit[WEFT_SHARDS_MAX]; /* see result */
	uint64_t fix[WEFT_SHARDS_MAX];				  /* to be written */
	uint64_t lost;
	struct mend_call calls[]; /* k + m */
};

enum stripe_place { STRIPE_NOWHERE, STRIPE_START, STRIPE_STALLED, STRIPE_PLACING };

/* A stripe with work: a queue of writes, a queue of decoding reads, at most one tx. */
struct stripe {
	uint64_t number;
	struct extent *x;
	struct stripe *hash_next;
	struct stripe *next; /* in the list that place names */
	struct wpart *parts, **parts_tail;
	unsigned nparts;
	struct dread *dreads, **dreads_tail;
	unsigned dreads_running;
	bool dreads_had_turn; /* since the last tx */
	struct mend *mends, **mends_tail;
	struct mend *mend; /* has the turn */
	struct copy *copy; /* of a rebuild */
	bool copy_turn;	   /* it has the turn; else it waits */
	struct carry_copy *carry;
	bool mended;	  /* by then: what is bad still stays so */
	uint64_t full_ns; /* a server was full: not before that */
	struct tx *tx;
	uint32_t bad; /* shards with a checksum or I/O error met here: not read by txs */
	enum stripe_place place;
};

struct tx_call {
	struct nbd_call call;
	struct tx *tx;
	struct server *server; /* that has it, perhaps no longer the shard */
	uint8_t shard;
	struct iovec in;
	struct iovec out[TX_IOV_MAX];
};

enum tx_phase { TX_READ, TX_DATA, TX_PREPARE, TX_ABORT, TX_ABORT_WAIT };

/* A number given to PREPAREs whose fate is open: COMMIT's watermark stays below it. */
struct undecided {
	struct undecided *prev, *next; /* by number */
	uint64_t number;	       /* 0: none yet */
	struct tx *tx;		       /* whose it is; NULL: a rebuild's */
};

/* A stripe transaction. */
struct tx {
	struct undecided id; /* first */
	struct volume *v;
	struct stripe *st;
	struct extent *x;
	struct tx *mem_next; /* waits for scratch memory */
	enum tx_phase phase;
	uint32_t pending;   /* calls */
	uint32_t sent;	    /* shards that a PREPARE went to */
	uint32_t unsettled; /* of those, the ones that must still confirm an ABORT */
	uint32_t bad;	    /* shards that answered a checksum or I/O error */
	uint32_t needs;	    /* shards that the plan reads or writes */
	uint32_t bytes;	    /* payload, for unflushed_bytes */
	int error;	    /* positive: what the requests get */
	bool again;	    /* requests go back to the queue after the ABORT */
	bool zero;	    /* all of it zeros */
	struct mend *mend;  /* not NULL: what it writes, instead of parts */
	struct wpart *parts;
	uint64_t full[WEFT_K_MAX], part[WEFT_K_MAX];
	struct plan plan;
	struct buf *scratch;
	uint8_t *span[WEFT_SHARDS_MAX]; /* what TX_READ reads, from its first block on */
	uint8_t *decoded[WEFT_K_MAX];	/* likewise, for decoded blocks */
	uint8_t *merged[WEFT_K_MAX];	/* blocks written in part, by rank */
	uint8_t *old[WEFT_K_MAX];	/* WANT_OLD: blocks by rank */
	uint8_t *bounce[WEFT_K_MAX];	/* units of too many pieces */
	uint8_t *parity[WEFT_M_MAX];	/* rows by rank */
	const uint8_t **src;		/* k * blocks: where each written block's new bytes are */
	struct tx_call *calls;		/* k + m */
};

/* ---- extents ------------------------------------------------------------------------------- */

enum extent_state { EXTENT_NEW, EXTENT_PLACING, EXTENT_READY, EXTENT_DROPPING };

struct place {
	struct server *server;
	uint32_t slot, slot_gen;
};

struct extent {
	uint64_t number;
	uint32_t generation;
	uint32_t stale;	    /* not read; as soon as it is clear that they miss something */
	uint32_t clear;	    /* of these, the ones whose mark is being taken back */
	uint32_t busy;	    /* active stripes, plain reads, records on their way */
	uint32_t mark;	    /* number of the last change of stale; see tell.c */
	uint32_t asked_for; /* absent shards that others are asked about; see confirm.c */
	uint64_t asked;	    /* since when, as volume.moments */
	uint32_t untold;    /* shards whose servers may not know the last mark, if they are good */
	bool telling;	    /* these are told, see tell.c: writes wait */
	bool marking;	    /* stale marks on their way to the metadata: writes and flushes wait */
	bool putting;	    /* the record is on its way to the metadata */
	bool put_dirty;	    /* and another one must follow it */
	bool put_again;	    /* the metadata refused; the timer tries again */
	uint8_t state;
	uint8_t counted;	/* in volume.usable: its usable shards then, and one; 0: not */
	struct stripe *placing; /* stripes that wait for READY */
	struct rebuild *rebuild;
	struct carry *carry;	/* one of its shards goes to another server */
	uint32_t rebuild_round; /* not before that one it can be rebuilt */
	bool undecodable;	/* a stripe could not be decoded at the last attempt */
	bool hopeless;		/* nor at the one before: see rebuild_lost() */
	struct op *drop;	/* DROPPING: for whom */
	struct place place[];	/* k + m */
};

/* An acknowledged tx that no flush has covered. */
struct unflushed {
	uint64_t tx;
	uint64_t extent;
	uint32_t generation;
	uint32_t participants;
};

enum volume_state {
	VOLUME_NEW,
	VOLUME_STARTING,
	VOLUME_RUNNING,
	VOLUME_STOPPING,
	VOLUME_STOPPED,
	VOLUME_FENCED
};

struct flush {
	bool running;
	bool wanted; /* a round is to start */
	bool commit_after;
	struct op_list waiting;	 /* for the next round */
	struct op_list answered; /* by the running round */
	uint32_t pending;
	int error;
	bool lost;    /* acknowledged writes were: the next client that asks is told */
	size_t count; /* unflushed txs that the round covers */
	uint64_t bytes;
	uint64_t watermark; /* every tx up to here is decided */
};

enum settle_step { SETTLE_IDLE, SETTLE_DECIDE, SETTLE_FLUSHING, SETTLE_COMMIT, SETTLE_COMMITTING };

struct settle {
	enum settle_step step;
	struct settle_ask *waiting, *running;
	uint64_t upto; /* these numbers */
	unsigned pending;
	int error; /* positive */
};

struct scrub {
	struct volume_scrub state;
	uint32_t stripe; /* of the extent, the next one */
	unsigned inflight;
	bool stopping;
	bool parity;
	uint64_t started_ns; /* of the last stripe */
	struct io_timer timer;
};

#define REBUILD_PICKS 64 /* extents that come next */

/* What is being rebuilt. */
struct rebuilds {
	struct rebuild *jobs;
	unsigned njobs, copying;
	unsigned inflight, window; /* stripes */
	struct copy *spare;
	uint64_t pick[REBUILD_PICKS]; /* extents, the most endangered last */
	unsigned npick;
	bool look;	/* there may be others */
	uint32_t round; /* of attempts */
	unsigned ticks;
	uint64_t copied_bytes, tick_bytes; /* in all, and at the last tick */
	struct rebuild_stat stat;
	struct io_timer timer;
};

struct volume {
	struct volume_config config;
	char name[VOLUME_NAME_MAX + 1];
	struct layout l;
	struct ec *ec;
	unsigned shards; /* k + m */
	enum volume_state state;
	struct buf_pool *scratch;
	struct volume_stat stat;

	struct slab ops, reads, dreads, parts, stripes, txs;
	size_t inflight;   /* requests */
	size_t own_ops;	   /* the engine's own */
	size_t background; /* discards and other work that nobody waits for but stop */

	struct extent ***pages; /* extent table: pages of EXTENT_PAGE pointers */
	size_t npages;
	size_t marks;			      /* extents with stale marks on their way */
	uint64_t usable[WEFT_SHARDS_MAX + 1]; /* extents with so many usable shards; see spare.c */
	uint32_t orphans;		      /* see extent_generation() */
	uint32_t generation_min;
	uint32_t last_mark; /* of all extents: of one placed anew, marks are above those before */

	struct stripe **hash;		    /* NULL until there was one */
	size_t hash_size;		    /* a power of two */
	struct stripe *start, **start_tail; /* to be advanced by the task */
	struct stripe *stalled;		    /* wait for servers, memory, a flush */
	bool look; /* what waits for servers to come or to be left out looks again */
	unsigned min;
	struct tx *mem_head, **mem_tail; /* wait for scratch */
	bool mem_busy;
	struct op_list retry;	  /* wait for payload memory, or for an extent being dropped */
	struct op_list held;	  /* came before the start was over */
	struct placing *placings; /* extents that are being placed */
	bool place_refused;	  /* by the metadata, once: see placed_in_doubt() */
	uint64_t short_ns;	  /* since when too few servers are up for a whole extent; 0: no */
	bool placings_changed;	  /* they look at their servers again */
	struct io_task task;
	struct io_timer retry_timer, flush_timer, put_timer, start_timer, grace_timer, full_timer,
		hedge_timer;

	struct server *servers[PEER_MAX];
	unsigned nservers;

	uint64_t next_tx;
	struct undecided *undecided, *undecided_last; /* by number */
	struct unflushed *ring;			      /* NULL until there was a tx */
	size_t ring_head, ring_count;
	size_t tx_running;
	uint64_t commit_to; /* COMMIT watermark that may be sent */
	size_t uncommitted; /* flushed txs since COMMITs were last sent */
	struct flush flush;
	struct scrub scrub;
	struct rebuilds rebuild;
	struct settle settle;
	struct move *moves_held; /* shards that are to be elsewhere, when others confirmed */
	struct move *moves;	 /* and those whose new place is on its way to the metadata */
	struct carry *carries;
	struct io_timer carry_timer;

	void (*ready)(void *arg, int err);
	void *ready_arg;
	struct resolve *resolve;
	void (*stopped)(void *arg, int err);
	void *stopped_arg;
	unsigned stop_step;
	int stop_err;
	bool never_ran;		  /* stopped before its start was over */
	bool opened;		  /* the start was over once */
	bool stop_lost;		  /* see reopen.c: it stops, and the next start has to judge */
	bool reopening;		  /* see reopen.c: no tx starts, nothing is decoded */
	uint32_t era;		  /* how often that has happened */
	uint64_t known_from;	  /* of our own txs, those below were judged by the last start */
	bool resolved;		  /* COMMITs of the start are on their way, or done */
	uint64_t start_committed; /* highest watermark that the servers told at the start */
	uint64_t start_watermark; /* and the one that they were sent then */
	struct volume_start starts[VOLUME_STARTS_MAX]; /* as recorded, oldest first */
	unsigned nstarts;
	uint64_t moments; /* so many times a server went, or was asked to confirm */
};

/* volume.c */
void op_list_init(struct op_list *l);
void op_list_add(struct op_list *l, struct op *op);
struct op *op_list_take(struct op_list *l);
/* An operation of the engine's own; NULL: out of memory. pending is 1: op_put() when set up. */
struct op *op_own(struct volume *v, uint16_t type, uint64_t offset, uint64_t end,
		  void (*done)(void *arg, int err), void *arg);
void op_put(struct op *op);
void op_fail(struct op *op, int error);
/* Go on with splitting op from its cursor. */
void op_continue(struct op *op);
/* op goes on when an extent changes its state, or soon. */
void op_wait(struct op *op);
void op_waiting(struct op *op, bool waiting);
void volume_fail(struct volume *v, int error);
void volume_wake(struct volume *v); /* the task will run */
void volume_run_held(struct volume *v);
void volume_check_stop(struct volume *v);
uint64_t volume_now(const struct volume *v);

/* extent.c */
struct extent *extent_find(const struct volume *v, uint64_t number);
/* Find, or make one in state NEW. NULL: out of memory. */
struct extent *extent_get(struct volume *v, uint64_t number);
void extent_forget(struct volume *v, struct extent *x);
void extent_record_of(const struct volume *v, const struct extent *x, struct extent_record *r);
struct extent *extent_next(const struct volume *v, uint64_t from);
/* Tell who reads past us. */
void extent_changed(struct volume *v, struct extent *x);
void volume_changed(struct volume *v);
void spare_count(struct volume *v, struct extent *x); /* spare.c */
void extent_mark_stale(struct volume *v, struct extent *x, uint32_t shards);
/* tell.c: the servers of good shards remember the mask, too. done: perhaps before it returns. */
void extent_tell(struct volume *v, struct extent *x, uint32_t mark, uint32_t stale,
		 void (*done)(struct volume *v, struct extent *x));
/* True: servers that may not know the last mark are told, and what depends on it has to wait. */
bool extent_retell(struct volume *v, struct extent *x);
/* Its record, as it is now, to the metadata. */
void extent_record(struct volume *v, struct extent *x);
/* Shards that hold, or will in a moment, everything that was acknowledged. */
uint32_t extent_whole(const struct volume *v, const struct extent *x);
/* Shards that a tx or a reading of this stripe may use. */
uint32_t extent_usable_at(const struct volume *v, const struct extent *x, uint64_t stripe);
/*
 * Go on without shards whose servers are away. MARKED: the marks are on their way, or were there;
 * SOON: a server may still come back in time, or others did not confirm yet what they have; BELOW:
 * too few good shards would be left.
 */
enum leave { LEAVE_MARKED, LEAVE_SOON, LEAVE_BELOW };
enum leave extent_leave_out(struct volume *v, struct extent *x, uint32_t shards);
/*
 * The same down to k good shards, which hold durably what clients were told: to wait would make
 * nothing safer, and hold up what would, the rebuild. True: the marks are on their way, or were
 * there.
 */
bool extent_give_up(struct volume *v, struct extent *x, uint32_t shards);
/* A server came back without what this shard was given: it is stale, if the others are enough. */
void extent_lost(struct volume *v, struct extent *x, unsigned shard);
void extent_put_retry(struct io_timer *t);
void extent_unbusy(struct volume *v, struct extent *x);
uint32_t extent_usable(const struct volume *v, const struct extent *x);
void extents_free(struct volume *v);

/* place.c */
void extent_place(struct volume *v, struct extent *x);
void label_fill(const struct volume *v, const struct extent *x, unsigned shard, uint32_t generation,
		struct weft_label *label);
void placings_advance(struct volume *v);
uint32_t extent_generation(struct volume *v);
/* A slot was lost sight of: no label like its own is asked for. */
void slot_lost(struct volume *v);
/* What could not be given back while the server was away. */
void slots_owed(struct server *s);
void slots_owed_forget(struct server *s);
/*
 * Give a slot back. done (may be NULL, then nobody waits for it but stop): it is, durably, or it
 * cannot be before its server is back. Perhaps from inside the call.
 */
void slot_discard(struct volume *v, struct server *s, uint32_t slot, uint32_t slot_gen,
		  void (*done)(void *arg, bool given), void *arg);

/* server.c, and server.h */
/* Everything that waits for a server looks again. */
void volume_unstall(struct volume *v);

/* read.c */
void read_start(struct op *op);
void read_continue(struct op *op);
/* Compute what it asked for, whatever its server does. False: no memory for that now. */
bool read_hedge(struct read_call *r);
/* These bytes of a READ's buffer, the first it had or the present one, are there. */
void read_landed(struct op *op, const uint8_t *at, uint32_t len);

/* hedge.c */
void hedge_sent(struct read_call *r);
void hedge_answered(struct read_call *r, int error);
void hedge_fire(struct io_timer *t);
bool hedge_can(const struct volume *v, const struct extent *x, unsigned shard);
/* It owes an answer for longer than usual. */
bool server_slow(const struct server *s);
uint32_t extent_slow(const struct volume *v, const struct extent *x);

/* degraded.c */
void dread_queue(struct op *op, struct extent *x, unsigned shard, uint32_t at, uint32_t len,
		 uint8_t *dst, uint32_t bad, uint32_t avoid);
void dreads_start(struct stripe *st);

/* stripe.c */
struct stripe *stripe_get(struct volume *v, uint64_t number, struct extent *x);
/* The same, if it has work already; or NULL. */
struct stripe *stripe_find(struct volume *v, uint64_t number);
/* There is something to do: soon, with what else comes in the same batch of events. */
void stripe_start(struct volume *v, struct stripe *st);
void stripe_advance(struct volume *v, struct stripe *st);
void stripe_stall(struct volume *v, struct stripe *st);
/* This one looks again, for it has something to do that needs none of what the others wait for. */
void stripe_unstall(struct volume *v, struct stripe *st);
void stripe_fail_parts(struct volume *v, struct stripe *st, int error);
void parts_done(struct volume *v, struct wpart *parts, int error);
/* Give the next piece of a write to its stripe. False: not now. */
bool write_next(struct op *op);
void write_continue(struct op *op);

/* tx.c */
void tx_start(struct volume *v, struct stripe *st);
void tx_scratch_freed(struct volume *v);
/* Undone txs that wait for servers to confirm it look again. */
void txs_settle(struct volume *v);
/* They are left to the judgement of a start. */
void txs_forget(struct volume *v);
void undecided_add(struct volume *v, struct undecided *u);
void undecided_remove(struct volume *v, struct undecided *u);
uint64_t tx_decided(const struct volume *v);

/* Write what was mended; mend_written() follows. */
void tx_mend(struct volume *v, struct stripe *st, struct mend *m);

/* repair.c */
struct mend *mend_new(struct volume *v, struct extent *x, uint64_t number, bool verify,
		      void (*done)(struct mend *m));
/* Give it its place in the stripe's queue; done() follows, never from inside. 0 or -ENOMEM. */
int mend_queue(struct mend *m);
void mend_start(struct volume *v, struct stripe *st);
/* Those that wait in this stripe end: its turn may not come for long. */
void mends_put_off(struct volume *v, struct stripe *st);
void mend_written(struct mend *m, int error);
int mend_pieces(struct mend *m, unsigned shard, struct iovec *iov, uint8_t *mode);
void repair_want(struct volume *v, struct stripe *st, uint32_t shards);

/* settle.c */
/*
 * done: everything that was prepared before is decided, flushed, and committed durably on every
 * server that is up; or why not. Not from inside the call, but when there is no memory.
 */
void settle_request(struct volume *v, void (*done)(void *arg, int err), void *arg);
void settle_run(struct volume *v);

/* rebuild.c */
/* Begin and go on with what can be rebuilt now. */
void rebuild_run(struct volume *v);
/* There may be something to rebuild: anywhere, or in this extent. */
void rebuild_look(struct volume *v);
void rebuild_consider(struct volume *v, const struct extent *x);
void rebuild_tick(struct io_timer *t);
/* Shards of a stripe that have been rebuilt, though they are still marked. */
uint32_t rebuild_has(const struct extent *x, uint32_t stripe);
/* Shards that are complete, and only wait for flush and record. */
uint32_t rebuild_complete(const struct extent *x);
/* The record that was on its way is durable. */
void rebuild_recorded(struct volume *v, struct extent *x);
void rebuild_server_broke(struct server *s);
/* A tx begins in this stripe of an extent that is being rebuilt. */
void rebuild_touch(struct extent *x, uint64_t stripe);
void rebuild_cancel(struct extent *x);
void extent_hopeless(struct volume *v, struct extent *x, bool hopeless);
/* So many more shards are stale, or fewer. */
void rebuild_count(struct volume *v, int shards);
void rebuilds_free(struct volume *v);

/* Others copy stripes, too, at the pace of the rebuild. */
bool rebuild_may_copy(const struct volume *v);
void rebuild_copy_begins(struct volume *v);
void rebuild_paced(struct volume *v, uint64_t bytes);

/* carry.c */
void carry_run(struct volume *v);
void carry_timer_fire(struct io_timer *t);
/* Writes of this extent wait for a moment. */
bool carry_holds(const struct extent *x);
/* A tx begins in this stripe of an extent that is carried. */
void carry_touch(struct extent *x, uint64_t number);
void carry_recorded(struct extent *x);
/* Old slots of this extent go now, not in a moment. */
void carry_unlinger(struct volume *v, uint64_t extent);
void carry_server_broke(struct server *s);
void carries_free(struct volume *v);

/* carry-copy.c */
bool carry_runs(const struct stripe *st);
void carry_try(struct stripe *st);

/* rebuild-slot.c */
/* The new places in this extent (NULL: in all) are durable, or will not be. */
void moves_recorded(struct volume *v, struct extent *x, int err);
/* Those that wait for others to confirm what they have look again. */
void moves_try(struct volume *v);

/* rebuild-copy.c */
bool copy_runs(const struct stripe *st);
void copy_try(struct stripe *st);

/* code.c */
void tx_collect(struct tx *tx);
bool tx_scratch(struct tx *tx);
int tx_decode(struct tx *tx);
void tx_merge(struct tx *tx);
void tx_encode(struct tx *tx);
void tx_delta(struct tx *tx);
/* The pieces of a data or parity PREPARE, its mode in *mode. Returns how many. */
int tx_pieces(struct tx *tx, unsigned shard, struct iovec *iov, uint8_t *mode);

/* flush.c */
void flush_request(struct op *op);
void flush_want(struct volume *v);
void flush_start(struct volume *v);
/* Room for what flush_note_tx() will note. False: out of memory. */
bool flush_room(struct volume *v);
void flush_note_tx(struct volume *v, struct tx *tx);
/* The extent is given back: what was written there cannot be lost any more. One that is placed
 * again may have the same generation. */
void flush_forget(struct volume *v, uint64_t extent);
void flush_note_server(struct server *s, uint64_t bytes);
/* Does this extent have writes that no flush has covered? */
bool flush_lacks(const struct volume *v, const struct extent *x);
void flush_server_up(struct server *s);
/* The running round goes on without servers that are away, if their shards can be marked. */
void flush_look(struct volume *v);
/* The running round fails: its servers are not waited for. */
void flush_break(struct volume *v);
/* No stale mark is on its way any more. */
void flush_marked(struct volume *v);
void flush_timer_arm(struct volume *v);
void flush_timer_fire(struct io_timer *t);
void commit_run(struct volume *v);

/* trim.c */
void trim_continue(struct op *op);
void status_answer(struct volume *v, struct nbd_req *req);
/* The last user of an extent that is to be dropped is gone. */
void extent_drop_advance(struct volume *v, struct extent *x);
/* Nothing is in it, and nobody wants anything of it: it is given back, if it can be now. */
void extent_drop_blank(struct volume *v, struct extent *x);

/* reopen.c */
void reopen_want(struct volume *v);
void reopen_run(struct volume *v);

/* open.c */
void open_again(struct volume *v);
void open_server_up(struct server *s);
void open_timer_fire(struct io_timer *t);
void open_judge_late(struct server *s);
/* False: the start goes on without it for now. */
bool open_may_sync(const struct server *s);

/*
 * Numbers of txs: the owner's epoch in the upper bits. The first number of an epoch is no tx's: its
 * COMMIT says that all txs of earlier epochs are resolved. Nor is the second: COMMITs that the
 * owner sends when it runs are never below it.
 */
#define EPOCH_SHIFT 40

static inline uint64_t epoch_resolved(uint64_t epoch)
{
	return epoch << EPOCH_SHIFT;
}

static inline uint64_t epoch_first_tx(uint64_t epoch)
{
	return epoch_resolved(epoch) + 2;
}

/* Nothing that was written counts any more: nobody is told, nobody waited for. */
static inline bool volume_is_over(const struct volume *v)
{
	return v->state == VOLUME_FENCED || v->stop_lost;
}

static inline uint64_t block_mask(unsigned from, unsigned to) /* bits from..to-1 */
{
	uint64_t high = to >= 64 ? ~0ULL : (1ULL << to) - 1;

	return high & ~((1ULL << from) - 1);
}

static inline struct server *shard_server(const struct extent *x, unsigned shard)
{
	return x->place[shard].server;
}

#endif
