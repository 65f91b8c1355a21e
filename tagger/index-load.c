/*
 * See index.h: from LevelDB into memory, at the start. Whatever does not fit together is left out
 * and deleted: its file is met by the walk, and read again.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "tagger/index.h"
#include "banned.h"

static uint32_t load_number(const uint8_t *key)
{
	return (uint32_t)key[1] << 24 | (uint32_t)key[2] << 16 | (uint32_t)key[3] << 8 | key[4];
}

static void load_delete(struct index *ix, const void *key, size_t len)
{
	kv_batch_delete(ix->batch, key, len);
	ix->batched++;
}

/* One pair; 0, or -errno to end the loading. */
typedef int load_fn(struct index *ix, const uint8_t *key, size_t key_len, const char *value,
		    size_t len);

static int load_tag(struct index *ix, const uint8_t *key, size_t key_len, const char *value,
		    size_t len)
{
	const char *stem = memchr(value, '\n', len);
	size_t text_len = stem != NULL ? (size_t)(stem - value) : 0, stem_len;

	if (key_len != 5 || stem == NULL || text_len >= EXTRACT_TAG_BYTES) {
		load_delete(ix, key, key_len);
		return 0;
	}
	stem++;
	stem_len = len - text_len - 1;
	if (stem_len >= EXTRACT_TAG_BYTES ||
	    index_tag_load(ix, load_number(key), value, text_len, stem, stem_len) == 0)
		load_delete(ix, key, key_len);
	return 0;
}

static int load_alias(struct index *ix, const uint8_t *key, size_t key_len, const char *value,
		      size_t len)
{
	if (index_alias_load(ix, (const char *)key + 1, key_len - 1, value, len) == -EUCLEAN)
		load_delete(ix, key, key_len);
	return 0;
}

static bool load_tags_known(const struct index *ix, const struct record *r)
{
	for (size_t i = 0; i < r->ntags; i++)
		if (r->tags[i].tag == 0 || r->tags[i].tag >= ix->ntags ||
		    ix->tags[r->tags[i].tag].text == 0)
			return false;
	return true;
}

static int load_file(struct index *ix, const uint8_t *key, size_t key_len, const char *value,
		     size_t len)
{
	struct record r;
	uint32_t file;
	int err;

	if (key_len != 5 || record_unpack(value, len, &r) != 0 || !load_tags_known(ix, &r)) {
		load_delete(ix, key, key_len);
		return 0;
	}
	file = load_number(key);
	if (file == 0 || file >= INDEX_FILES_MAX || (file == INDEX_ROOT) != (r.parent == 0)) {
		load_delete(ix, key, key_len);
		return 0;
	}
	err = index_node_new(ix, file, &r);
	return err == 0 ? index_tags_insert(ix, file, &r) : err;
}

static int load_all(struct index *ix, const char *prefix, load_fn *fn)
{
	struct kv_iter *it = kv_iter_prefix(ix->kv, prefix, strlen(prefix));
	const void *key, *value;
	size_t key_len, len;
	int err, got = -ENOMEM;

	if (it == NULL)
		return got;
	err = 0;
	while (err == 0 && (got = kv_iter_next(it, &key, &key_len, &value, &len)) > 0)
		err = fn(ix, key, key_len, value, len);
	kv_iter_free(it);
	return err != 0 ? err : got;
}

/* Hang nodes into their folders; those that no way from the root leads to are dropped. */
static void load_tree(struct index *ix)
{
	uint32_t at = INDEX_ROOT, dropped = 0;

	for (uint32_t f = 1; f < ix->next_file; f++) {
		const struct node *n = index_node(ix, f);
		const struct node *p = n->note & NODE_USED ? index_node_find(ix, n->parent) : NULL;

		if (p != NULL && p->kind == EXTRACT_KIND_FOLDER && n->parent != f)
			index_node_attach(ix, f);
	}
	/* mark what can be reached; seen is 0 before the first walk */
	while (at != 0 && index_node_find(ix, at) != NULL) {
		index_node(ix, at)->seen = 1;
		if (index_node(ix, at)->child != 0) {
			at = index_node(ix, at)->child;
			continue;
		}
		while (at != INDEX_ROOT && index_node(ix, at)->next == 0)
			at = index_node(ix, at)->parent;
		at = at == INDEX_ROOT ? 0 : index_node(ix, at)->next;
	}
	for (uint32_t f = 1; f < ix->next_file; f++) {
		struct node *n = index_node(ix, f);
		struct index_record rec;
		uint8_t key[5];

		if (!(n->note & NODE_USED) || n->seen == 1) {
			n->seen = 0;
			continue;
		}
		if (index_get(ix, f, &rec) == 0) {
			index_tags_remove(ix, f, &rec.r);
			index_record_free(&rec);
		}
		index_key(key, 'f', f);
		load_delete(ix, key, sizeof(key));
		index_node_drop(ix, f);
		dropped++;
	}
	if (dropped > 0)
		log_warn("%u files of the index had no folder and are looked at again", dropped);
}

static int load_links(struct index *ix)
{
	for (uint32_t f = 1; f < ix->next_file; f++) {
		const struct node *n = index_node(ix, f);
		struct index_record rec;
		int err;

		if (!(n->note & NODE_USED) || !(n->flags & RECORD_LINKS) ||
		    index_get(ix, f, &rec) != 0)
			continue;
		err = index_links_insert(ix, f, &rec.r);
		index_record_free(&rec);
		if (err != 0)
			return err;
	}
	return 0;
}

int index_load(struct index *ix)
{
	char *version = NULL;
	size_t len = 0;
	int err = kv_get(ix->kv, "mversion", 8, (void **)&version, &len);

	if (err == 0 && (len != 1 || version[0] != '0' + RECORD_VERSION)) {
		free(version);
		log_error("the index in %s is of another version of tagger", ix->dir);
		return -EPROTONOSUPPORT;
	}
	free(version);
	if (err != 0 && err != -ENOENT)
		return err;
	err = load_all(ix, "t", load_tag);
	if (err == 0)
		err = load_all(ix, "a", load_alias);
	if (err == 0)
		err = load_all(ix, "f", load_file);
	if (err != 0)
		return err;
	if (index_node_find(ix, INDEX_ROOT) == NULL && ix->next_file > INDEX_ROOT) {
		log_error("the index in %s has no root any more", ix->dir);
		return -EUCLEAN;
	}
	index_tags_trim(ix);
	load_tree(ix);
	err = load_links(ix);
	return err == 0 ? index_commit(ix) : err;
}
