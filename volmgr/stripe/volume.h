/*
 * The stripe engine of one volume: byte ranges in, private commands to the servers out. It owns the
 * volume's extent map, its stripe queues and transactions, and its flush state. No I/O of its own
 * (peers, metadata, time come through interfaces), no locks: one data thread owns a volume.
 *
 * Files: layout (arithmetic), plan (what a tx reads and writes; pure), tx (carries it out), read,
 * flush, trim, open (fence, list, resolve), extent (map, placing), spare
 * (how many servers may be lost).
 */
#ifndef WEFT_VOLUME_H
#define WEFT_VOLUME_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "ec.h"
#include "io.h"
#include "nbd/session.h"
#include "stripe/peer.h"

#define VOLUME_NAME_MAX 63 /* bytes: [A-Za-z0-9][A-Za-z0-9._-]* */
#define VOLUME_SIZE_MAX (1ULL << 50)

/* Where one shard of an extent is. */
struct shard_place {
	uint32_t server; /* peer.server */
	uint32_t slot;
	uint32_t slot_gen; /* 0: it has no slot yet; it is stale then */
};

/* An extent's map entry, as it is kept in the metadata. */
struct extent_record {
	uint64_t extent; /* number in the volume */
	uint32_t generation;
	uint32_t stale; /* bit i: shard i misses writes; never read from it */
	uint32_t mark;	/* rises with each change of stale: the servers know it, too */
	struct shard_place shard[WEFT_SHARDS_MAX]; /* the first k + m are used */
};

/*
 * What the starts of a volume found, as it is kept in the metadata: who comes back after others
 * were told of the end of a tx learns it from here. See starts.c.
 */
#define VOLUME_STARTS_MAX 16
struct volume_start {
	uint64_t committed; /* the highest watermark that its servers told */
	uint64_t next;	    /* numbers of txs after it begin here */
};
struct volume_start_server {
	uint32_t number;
	uint64_t judged_to; /* volume_start.next of the last start at which it was there */
};
struct volume_starts {
	unsigned n, nservers;
	struct volume_start start[VOLUME_STARTS_MAX]; /* oldest first */
	struct volume_start_server server[PEER_MAX];
};

struct volume;

/* What the daemon does for the engine. */
struct volume_ops {
	/*
	 * Choose k + m different servers for a new extent, on different hosts where there are
	 * enough, by free capacity. At least up of them are up; they come first. 0, or -ENOSPC
	 * (not enough servers have room), or -EAGAIN: enough have, but too few of them are up: ask
	 * again when volume_peer_changed() comes.
	 */
	int (*place)(void *ctx, struct volume *v, unsigned count, unsigned up, uint32_t *servers);
	/*
	 * Make n map entries durable in one batch (all or nothing), then done(arg, 0 or -errno), on
	 * the volume's thread, not from inside the call. remove: the entries are deleted instead.
	 */
	void (*extents_put)(void *ctx, struct volume *v, const struct extent_record *records, int n,
			    bool remove, void (*done)(void *arg, int err), void *arg);
	/* Likewise, in place of what was there; r is valid during the call. */
	void (*starts_put)(void *ctx, struct volume *v, const struct volume_starts *r,
			   void (*done)(void *arg, int err), void *arg);
	/* The peer for a server, or NULL when there is none of that number. */
	struct peer *(*peer)(void *ctx, uint32_t server);
	/*
	 * May be NULL. For who reads data shards past the engine. An extent's shards changed: those
	 * in readable may be read where r says, as long as volume_server_ok(). Told before the
	 * write that makes the difference is acknowledged. r NULL: the state of the volume or of
	 * servers changed.
	 */
	void (*changed)(void *ctx, struct volume *v, const struct extent_record *r,
			uint32_t readable);
};

struct volume_config {
	uint64_t id; /* number, never used again */
	const char *name;
	uint64_t size; /* bytes, a multiple of 4096 */
	unsigned k, m;
	enum ec_code code;
	uint32_t unit_bytes;	/* power of two, 4096..WEFT_UNIT_MAX */
	uint32_t epoch;		/* durable in the metadata before this one is given */
	uint64_t owner;		/* drawn at random by this process: see WEFT_CMD_FENCE */
	uint64_t unflushed_max; /* bytes acknowledged but not flushed, then we flush by ourselves */
	uint32_t flush_ms;	/* and after this time */
	unsigned min;		/* good shards that a write needs: k..k + m; 0: plan_min_good() */
	bool when_full_wait;	/* writes wait when servers are full; else they fail with ENOSPC */
	bool below_min_fail;	/* writes fail with EIO when there are fewer; else they wait */
	uint32_t grace_ms;	/* a server may be away so long before a write leaves it out */
	const struct volume_ops *ops;
	void *ctx;
	struct env *env;
	struct buf_pool *pool;
};

/* Extents are given before volume_start(). NULL: out of memory. */
struct volume *volume_create(const struct volume_config *config);
int volume_add_extent(struct volume *v, const struct extent_record *record);
/* After all extents. Not called: nothing is known of earlier starts. */
void volume_set_starts(struct volume *v, const struct volume_starts *r);

/*
 * Fence the servers of all extents with the epoch, list what is prepared, roll forward or back;
 * then ready(arg, 0). Requests may be submitted before and wait. Servers that are not up are waited
 * for as long as fewer than all shards of some tx can be judged; -ESTALE: a newer owner exists.
 */
void volume_start(struct volume *v, void (*ready)(void *arg, int err), void *arg);

/*
 * A request of the NBD session (READ, WRITE, FLUSH, TRIM, WRITE_ZEROES, CACHE, BLOCK_STATUS), any
 * byte range inside the volume. Answered with nbd_req_done*().
 */
void volume_submit(struct volume *v, struct nbd_req *req);

/* A peer came up or went down (peer->up says which). Every volume of the thread is told. */
void volume_peer_changed(struct volume *v, struct peer *p);

/* What may change while the volume runs: as in volume_config. */
void volume_set_min(struct volume *v, unsigned min, bool below_min_fail);
void volume_set_when_full(struct volume *v, bool wait);

/* Grow, or shrink: then what lies behind the new end is given back. The metadata is the caller's.
 */
void volume_resize(struct volume *v, uint64_t size, void (*done)(void *arg, int err), void *arg);

/* Finish all requests, flush, commit everything; then done. Requests after it get ESHUTDOWN. */
void volume_stop(struct volume *v, void (*done)(void *arg, int err), void *arg);
/* After volume_stop(): give all slots back on the servers (for deletion of the volume). The extents
 * are gone from the metadata already. */
void volume_discard(struct volume *v, void (*done)(void *arg, int err), void *arg);
void volume_free(struct volume *v);

/* See volume_ops.changed(). */
bool volume_is_running(const struct volume *v);
/* Somebody else owns it, or its start failed: it takes no requests any more. */
bool volume_is_fenced(const struct volume *v);
/* The same, since we found out that the metadata which it was made from is not right. */
void volume_refuse(struct volume *v, int error);
bool volume_server_ok(const struct volume *v, uint32_t server);

/* For status and map. */
struct volume_stat {
	uint64_t reads, writes, flushes, trims;
	uint64_t read_bytes, write_bytes;
	uint64_t tx_full, tx_delta, tx_rebuild, tx_zero; /* by kind of plan */
	uint64_t merged;				 /* writes that went in another one's tx */
	uint64_t degraded_reads; /* computed, because a shard is stale, damaged or not there */
	uint64_t hedged_reads;	 /* computed from others, because a server was slow */
	uint64_t crc_errors;
	uint64_t extents; /* with shards */
	uint64_t unflushed_bytes;
	uint64_t waiting; /* requests that wait for servers */
	uint64_t inflight;
};
void volume_stat(const struct volume *v, struct volume_stat *st);
/*
 * So many more servers may be lost, whichever they are, and all that was written can still be read:
 * of the extent with the fewest shards that are good and on servers that are up. Below 0: parts
 * cannot be read now.
 */
int volume_spare(struct volume *v);
/*
 * Look at all stripes from extent "from" on, and repair. parity: all shards are read, checksums and
 * parity verified; else each server verifies its checksums by itself, and nothing is sent. -EBUSY:
 * it runs already.
 */
struct volume_scrub {
	bool running;
	bool finished;		 /* else it was stopped, or never ran */
	uint64_t position;	 /* the extent that it is at: to go on from there */
	uint64_t extents;	 /* done by this run */
	uint64_t left;		 /* extents with shards from position on */
	uint64_t stripes, bytes; /* looked at */
	uint64_t skipped;	 /* stripes that could not be: servers are missing */
	uint64_t bad_blocks, misfit_blocks, repaired_blocks; /* see volume_server_counts */
	uint64_t unclear_rows; /* that did not fit, and parity was taken to be wrong */
	uint64_t lost_rows;    /* with too few good blocks */
};
int volume_scrub_start(struct volume *v, uint64_t from, bool parity);
void volume_scrub_stop(struct volume *v);
void volume_scrub_state(const struct volume *v, struct volume_scrub *state);

/*
 * On one server: write the notes (labels of WEFT_EXTENT_NAME, WEFT_EXTENT_SETTINGS), and when they
 * are durable give back those of the slots that cannot be in use. notes and slots stay valid until
 * done(err 0 or -errno, how many slots), which may come from inside the call. -EAGAIN: the server
 * has to be fenced first, or went away: again, a little later.
 */
struct volume_note {
	uint64_t extent;
	uint32_t generation;
	char text[64];
};
struct volume_slot {
	uint64_t extent;
	uint32_t generation, slot, slot_gen;
};
struct volume_tidy {
	const struct volume_note *notes;
	unsigned nnotes;
	const struct volume_slot *slots;
	unsigned nslots;
};
void volume_tidy(struct volume *v, uint32_t server, const struct volume_tidy *order,
		 void (*done)(void *arg, int err, unsigned freed), void *arg);

/* What a server gave back that was not what it had been given, in blocks of 4 KiB. */
struct volume_server_counts {
	uint64_t bad_blocks;	  /* that did not match their checksums, or could not be read */
	uint64_t misfit_blocks;	  /* that did not fit the other shards */
	uint64_t repaired_blocks; /* of both, those that were written anew */
	uint64_t bad_ns;	  /* when the last of them was met; 0: none */
	uint64_t misfit_ns;
	uint64_t missed_ns;  /* when a scrub last could not look at a shard there */
	uint64_t answers;    /* to reads, without an error */
	uint64_t answers_ns; /* the time they took together */
};
/* Those since the last call; they start at zero again. */
void volume_take_counts(struct volume *v,
			void (*fn)(void *arg, uint32_t server,
				   const struct volume_server_counts *c),
			void *arg);
/* For each extent with shards, ascending. Return false to stop. */
void volume_each_extent(const struct volume *v,
			bool (*fn)(void *arg, const struct extent_record *r), void *arg);

#endif
