/*
 * Moving shards between servers: moving.c carries out what moves.h chooses, duty.c is what people
 * ask of servers (drain, remove, replace), extents.c reads the extent maps. On the control thread.
 */
#ifndef WEFT_MOVING_H
#define WEFT_MOVING_H

#include "moves.h"
#include "volmgr.h"

#define MOVING_JOBS_MAX 32 /* shards on their way */

enum moving_step {
	MOVING_FREE,
	MOVING_ASKED,	/* the engine is at it */
	MOVING_REBUILD, /* its new place is on record, it is being made anew there */
	MOVING_WAIT,	/* it could not be done: not before until_ns again */
};

struct moving_job {
	struct task task; /* first */
	enum moving_step step;
	struct vol *vol; /* only while it is ASKED */
	struct moves_pick pick;
	uint64_t until_ns;
};

/* For status. */
struct moving_state {
	bool counted;			/* the figures are known */
	bool balancing;			/* shards go from full servers to empty ones */
	unsigned running;		/* shards on their way */
	uint64_t wanted;		/* shards of servers that leave, or are gone */
	uint64_t blocked[MOVES_BLOCKS]; /* of these, those that cannot */
	uint64_t moved;			/* shards, since volmgr started */
	uint64_t left;			/* shards; of balancing: about */
	uint64_t done;			/* of this round: since there was nothing to move */
	uint64_t rate;			/* bytes a second, lately; 0: not known */
};

/* ---- moving.c */
/* replace_after_s 0: never. */
void moving_start(struct cluster *c, uint64_t replace_after_s, bool balance);
void moving_end(void);
/* Something changed: look again, soon. */
void moving_look(void);
void moving_get(struct moving_state *state);
const struct moving_job *moving_jobs(void); /* MOVING_JOBS_MAX of them */
bool moving_uses(uint32_t server);	    /* something is on its way to or from it */
/* Why what should go cannot, and what would help; empty: nothing is blocked. */
void moving_blocked(const struct moving_state *state, char *why, size_t len, const char **hint);

/* ---- duty.c: 0, or -1 with a refusal */
const char *duty_name(const struct server *s);
int duty_drain(struct cluster *c, const char *name, bool stop, struct refusal *r);
/* lost: it never comes back. *begun: its shards are made anew first, it goes by itself. */
int duty_remove(struct cluster *c, const char *name, bool lost, bool *begun, struct refusal *r);
int duty_replace(struct cluster *c, const char *name, const char *by, struct refusal *r);
/* Take it out if nobody has anything there. 0, -EBUSY, or the metadata's error. */
int duty_finish(struct cluster *c, struct server *s);

/* ---- extents.c */
/* Every extent of every volume, as the metadata has it. fn returns non-zero to stop. 0 or -errno.
 */
int extents_each(struct cluster *c,
		 int (*fn)(void *arg, struct vol *v, const struct extent_record *r), void *arg);

#endif
