/* See index.h: opening and closing, with what is done about damage. */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "tagger/index.h"
#include "banned.h"

#define INDEX_LARGE 50000u /* files */

static int index_begin_root(struct index *ix, const struct index_seen *root)
{
	struct record r = {0};
	uint32_t file;
	int err;

	assert(ix->next_file == INDEX_ROOT);
	err = index_add(ix, 0, "", 0, root, &r, &file);
	assert(err != 0 || file == INDEX_ROOT);
	kv_batch_put(ix->batch, "mversion", 8, "1", 1);
	ix->batched++;
	return err == 0 ? index_commit(ix) : err;
}

/* Damaged: repair it the first time, put it aside the second. */
static int index_mend(const char *dir, int attempt, const char **why)
{
	char aside[4096];

	if (attempt == 0) {
		log_warn("the index in %s is damaged; repairing it", dir);
		if (kv_repair(dir, why) == 0)
			return 0;
	}
	snprintf(aside, sizeof(aside), "%s.damaged-%llx", dir, (unsigned long long)time(NULL));
	log_warn("it cannot be repaired: it goes to %s, and all files are read again", aside);
	if (rename(dir, aside) == 0)
		return 0;
	*why = "the damaged index cannot be moved aside; delete it by hand";
	return -errno;
}

static int index_try(struct index *ix, const struct index_seen *root, const char **why)
{
	int err = -ENOMEM;

	*why = "out of memory";
	ix->next_file = INDEX_ROOT;
	ix->batch = kv_batch_new();
	ix->texts_near = near_new(4);
	ix->pictures_near = near_new(8);
	if (ix->dir == NULL || ix->batch == NULL || ix->texts_near == NULL ||
	    ix->pictures_near == NULL || index_grow(ix) != 0)
		return err;
	err = kv_open(ix->dir, INDEX_CACHE_BYTES, &ix->kv, why);
	if (err != 0)
		return err;
	*why = "the index cannot be read";
	err = index_load(ix);
	if (err != 0)
		return err;
	/* what loading has read is mapped; so little of it is needed again that it is let go of */
	if (ix->next_file > INDEX_LARGE) {
		kv_close(ix->kv);
		ix->kv = NULL;
		err = kv_open(ix->dir, INDEX_CACHE_BYTES, &ix->kv, why);
	}
	if (err == 0 && ix->next_file == INDEX_ROOT)
		err = root != NULL ? index_begin_root(ix, root) : -ENOENT;
	if (err != 0)
		return err;
	if (root != NULL && memcmp(index_node(ix, INDEX_ROOT)->ident, root->ident, 16) != 0) {
		*why = "this index is of another folder; choose another --index, or delete it";
		return -ESTALE;
	}
	return 0;
}

int index_open(const char *dir, const struct index_seen *root, struct index **out, const char **why)
{
	for (int attempt = 0;; attempt++) {
		struct index *ix = calloc(1, sizeof(*ix));
		int err = -ENOMEM;

		*why = "out of memory";
		if (ix != NULL) {
			ix->dir = strdup(dir);
			err = index_try(ix, root, why);
		}
		if (err == 0) {
			*out = ix;
			return 0;
		}
		index_close(ix);
		if (err != -EUCLEAN || attempt == 2)
			return err;
		err = index_mend(dir, attempt, why);
		if (err != 0)
			return err;
	}
}

void index_close(struct index *ix)
{
	if (ix == NULL)
		return;
	if (ix->kv != NULL) {
		(void)index_commit(ix);
		kv_close(ix->kv);
	}
	for (uint32_t i = 0; i < ix->nchunks; i++)
		free(ix->chunks[i]);
	for (uint32_t i = 1; i < ix->ntags; i++)
		free(ix->tags[i].files);
	for (size_t i = 0; i < ix->naliases; i++) {
		free(ix->aliases[i].from);
		free(ix->aliases[i].to);
	}
	textpool_free(&ix->names);
	textpool_free(&ix->folded);
	textpool_free(&ix->tag_texts);
	textpool_free(&ix->tag_stems);
	near_free(ix->texts_near);
	near_free(ix->pictures_near);
	free(ix->chunks);
	free(ix->used);
	free(ix->resting);
	free(ix->places);
	free(ix->idents);
	free(ix->tags);
	free(ix->stems);
	free(ix->texts);
	free(ix->aliases);
	free(ix->links);
	free(ix->link_heads);
	kv_batch_free(ix->batch);
	free(ix->dir);
	free(ix);
}
