/*
 * The inside of the rebuild: rebuild.c (what is rebuilt when, and the end of it), rebuild-slot.c (a
 * new slot for the shard), rebuild-map.c (what there is to copy), rebuild-copy.c (its stripes). See
 * rebuild.h.
 */
#ifndef WEFT_REBUILD_IMPL_H
#define WEFT_REBUILD_IMPL_H

#include "stripe/engine.h"
#include "stripe/rebuild.h"

#define REBUILD_JOBS	    8		     /* extents that are being copied */
#define REBUILD_JOBS_MAX    UNFLUSHED_TX_MAX /* and those that wait for a flush */
#define REBUILD_RUN_BYTES   WEFT_PREPARE_MAX /* of a shard, that are copied in one piece */
#define REBUILD_WINDOW	    16		     /* of them in work, when no client wants anything */
#define REBUILD_WINDOW_MIN  1		     /* when clients do */
#define REBUILD_TICK_MS	    1000
#define REBUILD_ROUND_TICKS 10 /* then what failed is tried again */
#define REBUILD_LOST_ROUNDS 60 /* or so much later, when it needs a miracle */
#define REBUILD_READS	    4  /* attempts to read a stripe, each without what failed before */
#define STRIPES_MAX	    (WEFT_SHARD_BYTES / WEFT_BLOCK_BYTES) /* of an extent */

enum rebuild_step {
	REBUILD_SLOTS,	/* DISCARD, LABEL */
	REBUILD_RECORD, /* the new slots go into the metadata */
	REBUILD_MAP,	/* what was never written is not copied */
	REBUILD_COPY,
	REBUILD_SETTLE, /* complete; what it was made from becomes durable */
	REBUILD_CLEAR,	/* the marks leave the metadata */
	REBUILD_END,
};

struct slot_call {
	struct nbd_call call;
	struct rebuild *job;
	uint8_t shard;
	struct weft_label label;
	struct weft_slot_reply reply;
	struct iovec out, in;
};

struct map_call {
	struct nbd_call call;
	struct rebuild *job;
	struct server *server;
	struct weft_map_reply reply;
	struct iovec in;
};

/* An extent that is being rebuilt. */
struct rebuild {
	struct volume *v;
	struct extent *x;
	struct rebuild *next;
	enum rebuild_step step;
	uint32_t shards;   /* those that still can be: their servers are there */
	bool failed;	   /* it ends as soon as nothing of it is under way */
	bool urgent;	   /* writes wait for it */
	uint32_t stripe;   /* those before it are done, or were asked for */
	uint32_t inflight; /* runs, calls */
	uint64_t done[STRIPES_MAX / 64];
	uint64_t asked[STRIPES_MAX / 64];
	uint64_t alone[STRIPES_MAX / 64];   /* not in a run */
	uint64_t touched[STRIPES_MAX / 64]; /* by a tx, since the map was asked for */
	uint64_t mapped;		    /* granules in which there is something */
	struct slot_call *slots;	    /* k + m, from SLOTS on */
	struct map_call *maps;		    /* k + m, from MAP on */
};

static inline void bit_set(uint64_t *bits, uint32_t n)
{
	bits[n / 64] |= 1ULL << (n % 64);
}

static inline bool bit_is(const uint64_t *bits, uint32_t n)
{
	return (bits[n / 64] >> (n % 64) & 1) != 0;
}

struct copy_call {
	struct nbd_call call;
	struct undecided id; /* of a PREPARE */
	struct copy *copy;
	uint8_t shard;
	uint32_t bytes, log_bytes; /* of a PREPARE; of these, what takes room in a log */
	struct iovec iov[REBUILD_RUN_BYTES / WEFT_GRANULE_BYTES];
};

/* A run of stripes of it. */
struct copy {
	struct copy *next; /* when it is spare */
	struct rebuild *job;
	struct stripe *st[REBUILD_RUN_BYTES / WEFT_BLOCK_BYTES];
	uint32_t number;       /* of the first, in the extent */
	unsigned count, turns; /* stripes; those whose turn it has */
	bool again;
	bool apart; /* one by one, rather */
	unsigned reads;
	uint32_t bad, from, want;
	uint32_t pending;
	uint8_t *unit[WEFT_SHARDS_MAX]; /* one piece of memory */
	struct copy_call calls[];	/* k + m */
};

/* rebuild.c */
/* These shards of it cannot be rebuilt for now. */
void rebuild_fail(struct rebuild *job, uint32_t shards, const char *what, int error);
void rebuild_lost(struct rebuild *job);
/* Something of it ended: it goes on with the volume's task. */
void rebuild_advance(struct rebuild *job);
/* ... a run, of so many bytes. */
void rebuild_copied(struct rebuild *job, uint32_t bytes);
/* This stripe has to be copied, by itself. */
void rebuild_ask_again(struct rebuild *job, uint32_t stripe);

/* rebuild-slot.c */
void rebuild_slots(struct rebuild *job);

/* rebuild-map.c */
void rebuild_map(struct rebuild *job);
void rebuild_mapped(struct rebuild *job);

/* rebuild-copy.c */
bool rebuild_copy_run(struct rebuild *job, uint32_t number, unsigned count);
void copies_free(struct volume *v);

#endif
