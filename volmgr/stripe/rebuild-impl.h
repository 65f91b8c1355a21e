/*
 * The inside of the rebuild: rebuild.c (what is rebuilt when, and the end of it), rebuild-slot.c (a
 * new slot for the shard), rebuild-copy.c (its stripes). See rebuild.h.
 */
#ifndef WEFT_REBUILD_IMPL_H
#define WEFT_REBUILD_IMPL_H

#include "stripe/engine.h"
#include "stripe/rebuild.h"

#define REBUILD_JOBS	    8		     /* extents that are being copied */
#define REBUILD_JOBS_MAX    UNFLUSHED_TX_MAX /* and those that wait for a flush */
#define REBUILD_WINDOW	    16		     /* stripes in work, when no client wants anything */
#define REBUILD_WINDOW_MIN  2		     /* when clients do */
#define REBUILD_TICK_MS	    1000
#define REBUILD_ROUND_TICKS 10 /* then what failed is tried again */
#define REBUILD_READS	    4  /* attempts to read a stripe, each without what failed before */
#define STRIPES_MAX	    (WEFT_SHARD_BYTES / WEFT_BLOCK_BYTES) /* of an extent */

enum rebuild_step {
	REBUILD_SLOTS,	/* DISCARD, LABEL */
	REBUILD_RECORD, /* the new slots go into the metadata */
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

/* An extent that is being rebuilt. */
struct rebuild {
	struct volume *v;
	struct extent *x;
	struct rebuild *next;
	enum rebuild_step step;
	uint32_t shards;   /* those that still can be: their servers are there */
	bool failed;	   /* it ends as soon as nothing of it is under way */
	bool urgent;	   /* writes wait for it */
	uint32_t stripe;   /* the next one */
	uint32_t inflight; /* stripes, slot calls */
	uint64_t done[STRIPES_MAX / 64];
	struct slot_call *slots; /* k + m, during SLOTS */
};

struct copy_call {
	struct nbd_call call;
	struct undecided id; /* of a PREPARE */
	struct copy *copy;
	uint8_t shard;
	struct iovec iov;
};

/* A stripe of it. */
struct copy {
	struct copy *next; /* when it is spare */
	struct rebuild *job;
	struct stripe *st;
	uint32_t number; /* in the extent */
	bool running;	 /* else it waits for the stripe's turn */
	bool again;
	unsigned reads;
	uint32_t bad, from, want;
	uint32_t pending;
	uint8_t *unit[WEFT_SHARDS_MAX]; /* one piece of memory */
	struct copy_call calls[];	/* k + m */
};

/* rebuild.c */
/* These shards of it cannot be rebuilt for now. */
void rebuild_fail(struct rebuild *job, uint32_t shards, const char *what, int error);
/* Something of it ended: it goes on with the volume's task. */
void rebuild_advance(struct rebuild *job);
/* ... a stripe. */
void rebuild_copied(struct rebuild *job);

/* rebuild-slot.c */
void rebuild_slots(struct rebuild *job);

/* rebuild-copy.c */
void rebuild_copy_next(struct rebuild *job);
void copies_free(struct volume *v);

#endif
