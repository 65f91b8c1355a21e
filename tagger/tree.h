/*
 * The tree of files that tagger looks at: opening below its root and nowhere else, and knowing a
 * file again. Any thread.
 *
 * A file is known by its handle (which has the generation, so that a number that is used again is
 * another file) where the file system has handles, else by inode and birth time; ident is a hash of
 * that. It stays the same over renames, and over mounting again.
 */
#ifndef WEFT_TAGGER_TREE_H
#define WEFT_TAGGER_TREE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tagger/index.h"

#define TREE_OWN ".weft" /* our own folder below the root: not looked at */

struct tree {
	char *dir;   /* as the user wrote it, made absolute */
	int root_fd; /* O_RDONLY */
	uint32_t dev_major, dev_minor;
	bool is_mount;	/* the root is where a file system is mounted */
	int no_handles; /* the file system has none; written by any thread */
};

/* What there is under a name. */
struct tree_entry {
	struct index_seen seen;
	mode_t mode;
	bool foreign; /* on another file system */
};

int tree_open(const char *dir, struct tree *t, const char **why);
void tree_close(struct tree *t);
/*
 * openat2() below the root: no symbolic link is followed, no other file system entered. path as in
 * index_path(), of any length; "" is the root. A descriptor, or -errno.
 */
int tree_openat(const struct tree *t, const char *path, int flags, mode_t mode);
/* The folder that a path is in; *name points to its last part. */
int tree_open_parent(const struct tree *t, const char *path, const char **name);
/* name "" is dir_fd itself. 0 or -errno. */
int tree_look(struct tree *t, int dir_fd, const char *name, struct tree_entry *out);
/* The ident of a handle, as tree_look() makes it. */
void tree_handle_ident(int type, const void *handle, size_t len, uint8_t ident[16]);
/* O_PATH, wherever it is by now; -ESTALE: it is no more; -EPERM: the kernel does not let us. */
int tree_open_handle(const struct tree *t, int type, const void *handle, size_t len);
/* A path of the file with this handle, or -errno (also where the kernel does not let us). */
int tree_path_of_handle(const struct tree *t, int type, const void *handle, size_t len, char *out,
			size_t max);
/* Is what dir leads to still the file system that was opened? */
bool tree_is_there(const struct tree *t);

#endif
