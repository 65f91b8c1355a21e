/*
 * Reading folders, in a few threads of their own: what is in a folder comes to the loop in batches.
 * Which folders are read, and what becomes of the entries, is the business of scan.c.
 */
#ifndef WEFT_TAGGER_WALK_H
#define WEFT_TAGGER_WALK_H

#include "control.h"
#include "tagger/tree.h"

#define WALK_THREADS	 2
#define WALK_ENTRIES_MAX 256 /* of a batch */
#define WALK_BATCHES_MAX 16  /* on their way; then the threads wait */
#define WALK_QUEUE_MAX	 64  /* folders given to the threads */

struct walk;

struct walk_entry {
	struct tree_entry e;
	uint8_t name_len;
	char name[RECORD_NAME_MAX + 1];
};

struct walk_batch {
	struct control_message message; /* first */
	struct walk *walk;
	uint32_t folder;
	uint8_t ident[16]; /* of the folder that was read */
	bool last;	   /* of this folder */
	int err;	   /* with last: the folder could not be read to its end */
	unsigned n;
	struct walk_entry entries[WALK_ENTRIES_MAX];
};

/* arrived: on the loop; ends with walk_batch_free(). */
int walk_create(struct control *control, struct tree *tree,
		void (*arrived)(void *arg, struct walk_batch *b), void *arg, struct walk **out);
/* Threads have ended when this returns; batches that were not taken are dropped. */
void walk_destroy(struct walk *w);
/* False: there are WALK_QUEUE_MAX already. */
bool walk_folder(struct walk *w, uint32_t folder, const uint8_t ident[16], const char *path);
void walk_batch_free(struct walk_batch *b);

#endif
