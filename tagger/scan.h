/*
 * Keeping the index as the tree is: walks, what the watch says, and reading files by the pool. The
 * place where a change on disk becomes a change in the index.
 *
 * A walk meets every file; those that it did not meet are gone. What the watch tells is a place (a
 * folder and a name) where something happened: scan looks there and makes the index agree. So
 * events may come twice, late, or in any order.
 */
#ifndef WEFT_TAGGER_SCAN_H
#define WEFT_TAGGER_SCAN_H

#include "control.h"
#include "tagger/aside.h"
#include "tagger/index.h"
#include "tagger/place.h"
#include "tagger/pool.h"
#include "tagger/tree.h"

#define SCAN_LOST_MS	1500 /* a file that vanished may turn up elsewhere for this long */
#define SCAN_UNSTICK_MS 5000
#define SCAN_XATTR	"user.weft.tags"

struct scan;

struct scan_config {
	struct control *control;
	struct aside *aside; /* opens files */
	struct tree *tree;
	struct index *index;
	struct pool *pool; /* NULL: nothing is read */
	/* nothing is left to walk or read; may come several times */
	void (*idle)(void *arg);
	/* a folder is in the index, and may be watched; fd: O_PATH, closed afterwards */
	void (*folder)(void *arg, uint32_t folder, int fd);
	void *arg;
};

struct scan_progress {
	bool walking;
	uint64_t seen;	  /* entries met by this walk */
	uint32_t waiting; /* to be read */
	uint64_t done;	  /* read since the start */
	uint64_t same;	  /* of these, with the content that was known */
	uint64_t failed;
	uint64_t walks, overflows;
	double files_per_s; /* of late */
	double left_s;	    /* negative: not known */
};

int scan_create(const struct scan_config *config, struct scan **out);
void scan_destroy(struct scan *s);
/* Walk everything (again, when a walk is under way: after that). */
void scan_all(struct scan *s);
void scan_overflow(struct scan *s);
/* Something happened to this name in this folder. */
void scan_place(struct scan *s, uint32_t folder, const char *name);
/* Read this file again, whatever is known of it. */
void scan_again(struct scan *s, uint32_t file);
/* What a user says of a file, in its attribute (any thread), in the index, in both. 0 or -errno. */
int scan_hand_write(struct tree *t, const struct place *p, enum extract_kind kind, const char *hand,
		    size_t len);
int scan_hand_note(struct scan *s, uint32_t file, const char *hand, size_t len);
int scan_hand(struct scan *s, uint32_t file, const char *hand, size_t len);
/* Walks and everything under way has ended. */
bool scan_is_idle(const struct scan *s);
void scan_get_progress(const struct scan *s, struct scan_progress *out);

#endif
