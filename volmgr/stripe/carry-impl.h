/* The inside of carrying: carry.c (what is copied when, the switch), carry-copy.c (one stripe). */
#ifndef WEFT_CARRY_IMPL_H
#define WEFT_CARRY_IMPL_H

#include "stripe/carry.h"
#include "stripe/engine.h"

#define CARRY_LAST	8    /* so few stripes are left that the extent's writes wait for them */
#define CARRY_PASSES	4    /* or after so many rounds over the extent */
#define CARRY_HOLD_MS	1000 /* writes wait no longer; then all of it is given up */
#define CARRY_LINGER_MS 1000 /* the old slot stays: reads are under way to it */
#define STRIPES_MAX	(WEFT_SHARD_BYTES / WEFT_BLOCK_BYTES) /* of an extent */

enum carry_step {
	CARRY_MARK, /* the extent gets its first mark */
	CARRY_START,
	CARRY_LABEL,
	CARRY_COPY,
	CARRY_SETTLE,
	CARRY_SWITCH,
	CARRY_RECORD, /* the new place is on its way to the metadata */
	CARRY_END,
	CARRY_LINGER,
};

struct carry {
	struct volume *v;
	struct extent *x; /* NULL: it lingers */
	uint64_t number;  /* of the extent */
	struct carry *next;
	enum carry_step step;
	uint8_t shard;
	bool closing; /* the extent's writes wait */
	bool bad;     /* a unit could not be read in this round */
	bool keep;    /* what was in the new slot may be needed */
	int err;      /* it is given up */
	struct server *to;
	uint32_t slot, slot_gen; /* 0: none yet */
	struct place old;	 /* to be given back at the end */
	uint32_t stripe;	 /* the next one of this round */
	unsigned passes;
	unsigned inflight;		   /* stripes, calls */
	uint64_t until_ns;		   /* closing: the latest end; lingering: then it goes */
	uint64_t clean[STRIPES_MAX / 64];  /* the copy is as the old one */
	uint64_t filled[STRIPES_MAX / 64]; /* something was written there */
	void (*done)(void *arg, int err);
	void *arg;
	struct nbd_call label_call;
	struct weft_label label;
	struct weft_slot_reply reply;
	struct iovec out, in;
};

/* A stripe of it. */
struct carry_copy {
	struct nbd_call call; /* READ, then PREPARE */
	struct undecided id;
	struct carry *carry;
	struct stripe *st;
	uint32_t number; /* in the extent */
	bool running;	 /* else it waits for the stripe's turn */
	uint8_t *unit;
	struct iovec iov;
};

/* carry.c */
void carry_fail(struct carry *c, int err);
/* carry-copy.c */
void carry_copy_next(struct carry *c, uint32_t stripe);

#endif
