/*
 * Work that may have to wait for the volume, beside the loop: opening, reading and changing files
 * for the API, and opening what is to be read for the index. When the volume hangs, so do these
 * threads and what is asked of them; searching, suggestions and all else that the index answers go
 * on.
 *
 * Changes have one thread, so that they happen in the order in which they were asked for.
 */
#ifndef WEFT_TAGGER_ASIDE_H
#define WEFT_TAGGER_ASIDE_H

#include "control.h"

enum aside_lane {
	ASIDE_READ,   /* of what the API gives out */
	ASIDE_CHANGE, /* that the API makes, pieces of uploads among them */
	ASIDE_SCAN,   /* opening for the workers */
	ASIDE_LANES
};

struct aside;

/* Part of what it works on, which stays until done(). */
struct aside_job {
	struct control_message message; /* first */
	struct aside *aside;
	struct aside_job *next;
	/* On a thread: must not look at the index, nor at anything else of the loop. */
	void (*work)(struct aside_job *job);
	/* On the loop, afterwards; may free the job, or post it again. */
	void (*done)(struct aside_job *job);
};

struct aside_stats {
	unsigned running, waiting;
};

/* 0 or -errno. */
int aside_create(struct control *control, struct aside **out);
/* What was posted is finished, with done(), before this returns. NULL is fine. */
void aside_destroy(struct aside *a);
/* 0, or -EAGAIN: too many wait, or this is the end; then done() does not come. The loop. */
int aside_post(struct aside *a, enum aside_lane lane, struct aside_job *job);
void aside_get_stats(struct aside *a, struct aside_stats *out);

#endif
