/*
 * A place in the tree that a request means: looked up in the index by the loop, and then opened by
 * a thread, which may have to wait for the volume. What lies there must still be what the index
 * meant: something else that has come to the same path is not touched.
 */
#ifndef WEFT_TAGGER_PLACE_H
#define WEFT_TAGGER_PLACE_H

#include <sys/stat.h>

#include "tagger/index.h"
#include "tagger/tree.h"

struct place {
	char *path;	      /* below the root; "" is the root */
	const char *name;     /* its last part, in path */
	uint32_t folder;      /* that it is in */
	uint32_t file;	      /* that is there; 0: none that the index knows */
	uint8_t in_ident[16]; /* of the folder */
	uint8_t ident[16];    /* of the file */
};

/* ---- the loop; place_free() ends both. 0 or -errno */
/* Where a new file may be: -EINVAL, -ENOENT when there is no such folder, ... */
int place_new(const struct index *ix, const char *path, struct place *p);
/* The root has no place: -EINVAL. */
int place_of(const struct index *ix, uint32_t file, struct place *p);
/* The root, too: to look at, not to move or delete. */
int place_any(const struct index *ix, uint32_t file, struct place *p);
void place_free(struct place *p);
/* Is the file that was meant still in the index? */
bool place_is_known(const struct index *ix, const struct place *p);

/* ---- any thread */
/* The folder, O_PATH, in which p->name is, or -errno. */
int place_open_folder(struct tree *t, const struct place *p);
/* The same, when the file is still there. */
int place_open_around(struct tree *t, const struct place *p);
/* The file, for reading; a regular one. A descriptor or -errno. */
int place_open(struct tree *t, const struct place *p, struct stat *st);

#endif
