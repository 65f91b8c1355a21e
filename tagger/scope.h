/*
 * What one may see and change of the tree, as volmgr says with each request that it passes on: a
 * list of paths, each with a right to it and all below. The one place where a path is held against
 * that; all routes ask here. Without a list everything may be done.
 *
 * A list is text, "w:home/uma e:plans r:photos/2024%20b", paths percent-encoded; "-" is an empty
 * one. Of several that fit the strongest counts.
 *
 *	r	look
 *	e	change what is below; not take it elsewhere, nor delete it for good (a share)
 *	w	do everything with what is below (a space)
 *
 * The path of a list itself stays where it is: nobody deletes or moves his own space, nor what was
 * shared with him. Folders above it are passed through: one sees their names and nothing else in
 * them. Pure but for scope_set().
 */
#ifndef WEFT_TAGGER_SCOPE_H
#define WEFT_TAGGER_SCOPE_H

#include <stdbool.h>
#include <stdint.h>

#include "tagger/index.h"

#define SCOPE_TEXT_MAX (48u << 10)

enum scope_right { SCOPE_NONE, SCOPE_READ, SCOPE_EDIT, SCOPE_OWN };

/* text: a list as above; NULL: no list, everything. Paths as in index_path(). */
bool scope_valid(const char *text);
enum scope_right scope_right(const char *text, const char *path);
/* A folder on the way to something of the list. */
bool scope_passes(const char *text, const char *path);
/* Put something there: a new folder, an upload, tags. */
bool scope_may_put(const char *text, const char *path);
/* Take it away from there: into the bin, to another name. */
bool scope_may_take(const char *text, const char *path);
bool scope_may_move(const char *text, const char *from, const char *to);
/* Delete it for good. */
bool scope_may_end(const char *text, const char *path);

/* The files that one may see, at this moment. */
struct scope_set {
	uint64_t *bits;
	uint32_t files; /* numbers below this */
};

/* 0 or -ENOMEM. bits is the caller's to free. */
int scope_set(const char *text, const struct index *ix, struct scope_set *out);
/* set NULL: every file is in it. */
static inline bool scope_has(const struct scope_set *set, uint32_t file)
{
	return set == NULL || (file < set->files && (set->bits[file / 64] >> (file % 64) & 1));
}
/* How many files of the set have a tag. */
uint32_t scope_tag_files(const struct scope_set *set, const struct tag *tag);

#endif
