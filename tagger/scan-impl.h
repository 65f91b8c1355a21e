/* What the files scan*.c share. */
#ifndef WEFT_TAGGER_SCAN_IMPL_H
#define WEFT_TAGGER_SCAN_IMPL_H

#include <time.h>

#include "tagger/derive.h"
#include "tagger/scan.h"
#include "tagger/walk.h"

#define SCAN_DEPTH	48u /* files given to the pool at a time */
#define SCAN_STEP_MAX	64u /* records derived anew in one turn of the loop */
#define SCAN_ROUNDS_MAX 8u  /* of looking for a lost file whose folder is not where it should be */
#define SCAN_RATE_SLOTS 16u /* of SCAN_RATE_MS */
#define SCAN_RATE_MS	1000

struct scan_list { /* of file numbers; a ring */
	uint32_t *at;
	uint32_t head, n, max;
};

struct scan_lost {
	uint32_t file;
	bool folder; /* not lost: what is in it is to be looked at again */
	uint8_t rounds;
	uint8_t ident[16];
	uint64_t since_ms;
};

struct scan {
	struct scan_config c;
	struct tree *tree;
	struct index *ix;
	struct walk *walk;
	struct control_message step;
	bool step_posted;
	uint32_t pass; /* number of the walk; nodes that it met have it in seen */
	bool walking, walk_again;
	struct scan_list folders; /* to be walked */
	unsigned walking_folders; /* given to the threads */
	struct scan_list files;	  /* to be read */
	struct scan_list derive;  /* whose tags of names are to be made anew, with all below */
	unsigned reading;
	struct scan_lost *lost;
	uint32_t nlost, lost_max;
	struct control_timer *lost_timer, *unstick_timer;
	bool was_idle;
	struct scan_progress progress;
	uint64_t rate_ms[SCAN_RATE_SLOTS], rate_done[SCAN_RATE_SLOTS];
	unsigned rate_at;
	char path[INDEX_PATH_MAX];
};

static inline uint64_t scan_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

bool scan_list_push(struct scan_list *l, uint32_t file);
uint32_t scan_list_pop(struct scan_list *l); /* first in, first out; 0: empty */

/* scan.c */
void scan_wake(struct scan *s);
/* the index has refused: all is looked at again when it works */
void scan_stuck(struct scan *s);
void scan_rate(struct scan *s);

/* scan-entry.c: one name in one folder */
void scan_entry(struct scan *s, uint32_t folder, const char *name, size_t len,
		const struct tree_entry *e);
void scan_set_lost(struct scan *s, uint32_t file);
/* Look again in a while. False: no memory. */
bool scan_later(struct scan *s, uint32_t file, bool folder, uint8_t rounds);
void scan_watch_folder(struct scan *s, uint32_t folder);
void scan_queue(struct scan *s, uint32_t file, uint8_t note);
void scan_queue_folder(struct scan *s, uint32_t folder);
void scan_sweep(struct scan *s);

/* scan-read.c: files, by the pool */
/* False: no more now. */
bool scan_read_next(struct scan *s);
void scan_derive(struct scan *s, uint32_t file);

#endif
