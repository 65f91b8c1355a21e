/*
 * The bin: what was deleted, kept for a while. A file or folder is moved, with all that is in it,
 * into a folder of its own in .weft/bin of the same tree, beside a note that says where it was, who
 * deleted it and when. The note is durable before the move, and the move is one rename: a crash
 * leaves the file at its place or in the bin, never neither. Deleting for good moves that folder
 * to the trash (trash.c), which is one rename, too.
 *
 * .weft/bin is not .weft/trash, which every tagger empties when it starts.
 *
 * bin.c works on disk, on the thread of changes (aside.h); api-bin.c has the list, on the loop.
 */
#ifndef WEFT_TAGGER_BIN_H
#define WEFT_TAGGER_BIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http.h"
#include "tagger/tree.h"

#define BIN_ID_MAX	48
#define BIN_KIND_MAX	16
#define BIN_ENTRIES_MAX 100000u /* then some go: the oldest of who has most */
#define BIN_ENTRIES_GO	1000u	/* so many, as finding out who that is takes a while */
#define BIN_NAMES_MAX	100u	/* "name (2)", ... when the place is taken */
#define BIN_DAYS	30u
#define BIN_DAYS_MAX	3650u
#define BIN_FREE_PART	20u	     /* of the tree's space is to be free, else some go as well */
#define BIN_FREE_MAX	(1ull << 30) /* but no more than this */
#define BIN_SIZE_MAX	(1ull << 44) /* bytes that a note is believed: sums stay below 2^64 */
#define BIN_TICK_MS	(10 * 60 * 1000)
#define BIN_SETTLE_MS	(10 * 1000) /* what is deleted and still open has its space yet */

struct bin_entry {
	char id[BIN_ID_MAX]; /* ids sort by time */
	char *path;	     /* where it was, below the root */
	char by[HTTP_WHO_MAX];
	char kind[BIN_KIND_MAX];
	int64_t time;  /* seconds since 1970 */
	uint64_t size; /* of all that is in it */
};

/* ---- bin.c: 0 or -errno */
bool bin_id_valid(const char *id);
/* Puts name, which is in the folder of dir_fd, into the bin; fills id and time, and size when it is
 * a file. */
int bin_put(const struct tree *t, int dir_fd, const char *name, struct bin_entry *e);
/*
 * Back to where it was; folders that are missing are made again. Where something else is by now it
 * gets another name: e->path says which.
 */
int bin_restore(const struct tree *t, struct bin_entry *e);
int bin_remove(const struct tree *t, const char *id);
/* All there is, oldest first. The caller frees them. */
int bin_load(const struct tree *t, struct bin_entry ***out, size_t *n);
void bin_entry_free(struct bin_entry *e);

/* ---- bin-pick.c */
/*
 * Which of n entries, oldest first, are to go: gone gets one for each. Those from before until; of
 * whoever has the most entries the oldest while there are more than max; and of whoever has the
 * most bytes while missing bytes are not found. How many.
 */
size_t bin_pick(struct bin_entry *const *entries, size_t n, size_t max, uint64_t missing,
		int64_t until, bool *gone);

#endif
