/*
 * See index.h: nodes, their places and identities, and their records on disk. A node's number is
 * its key on disk; numbers of removed files are used again, late, so that whoever holds one does
 * not meet another file under it.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "log.h"
#include "tagger/index.h"
#include "banned.h"

#define INDEX_BATCH_MAX	  4096u /* then it is written */
#define INDEX_BUCKETS	  1024u
#define INDEX_COMPACT_MIN (1u << 20)

void index_key(uint8_t key[5], char type, uint32_t number)
{
	key[0] = (uint8_t)type;
	for (int i = 0; i < 4; i++)
		key[1 + i] = (uint8_t)(number >> (24 - 8 * i));
}

int index_commit(struct index *ix)
{
	int err;

	if (ix->batched == 0 || ix->stuck)
		return ix->stuck ? ix->stuck_why : 0;
	err = kv_write_lazy(ix->kv, ix->batch);
	if (err != 0) {
		log_error("the index in %s cannot be written: %s; trying again from time to time",
			  ix->dir, strerror(-err));
		ix->stuck = true;
		ix->stuck_why = err;
		return err;
	}
	kv_batch_clear(ix->batch);
	ix->batched = 0;
	return 0;
}

int index_unstick(struct index *ix)
{
	const char *why;
	int err;

	if (ix->kv != NULL)
		kv_close(ix->kv);
	ix->kv = NULL;
	err = kv_open(ix->dir, INDEX_CACHE_BYTES, &ix->kv, &why);
	if (err == 0)
		err = kv_write_lazy(ix->kv, ix->batch);
	if (err != 0)
		return err;
	kv_batch_clear(ix->batch);
	ix->batched = 0;
	ix->stuck = false;
	log_info("the index can be written again");
	return 0;
}

static void index_batched(struct index *ix)
{
	ix->batched++;
}

/* ---- hash tables --------------------------------------------------------------------------- */

static uint32_t ident_bucket(const struct index *ix, const uint8_t ident[16])
{
	uint32_t h;

	memcpy(&h, ident, sizeof(h)); /* it is a hash already */
	return h & (ix->buckets - 1);
}

static uint32_t place_bucket(const struct index *ix, uint32_t parent, const char *name, size_t len)
{
	uint64_t h = hash_u64(name, len) + parent * 0x9e3779b97f4a7c15ull;

	return (uint32_t)(h ^ h >> 32) & (ix->buckets - 1);
}

static void index_hash(struct index *ix, uint32_t file)
{
	struct node *n = index_node(ix, file);
	const char *name = index_name(ix, file);
	uint32_t *ident = &ix->idents[ident_bucket(ix, n->ident)];
	uint32_t *place = &ix->places[place_bucket(ix, n->parent, name, strlen(name))];

	n->next_ident = *ident;
	*ident = file;
	n->next_place = *place;
	*place = file;
}

static void index_unhash_place(struct index *ix, uint32_t file)
{
	struct node *n = index_node(ix, file);
	const char *name = index_name(ix, file);
	uint32_t *at = &ix->places[place_bucket(ix, n->parent, name, strlen(name))];

	while (*at != file) {
		assert(*at != 0);
		at = &index_node(ix, *at)->next_place;
	}
	*at = n->next_place;
}

static void index_unhash_ident(struct index *ix, uint32_t file)
{
	struct node *n = index_node(ix, file);
	uint32_t *at = &ix->idents[ident_bucket(ix, n->ident)];

	while (*at != file) {
		assert(*at != 0);
		at = &index_node(ix, *at)->next_ident;
	}
	*at = n->next_ident;
}

/* Twice the buckets, when there are as many nodes as that. */
int index_grow(struct index *ix)
{
	uint32_t n = ix->buckets == 0 ? INDEX_BUCKETS : ix->buckets * 2;
	uint32_t *places, *idents;

	if (ix->buckets != 0 && ix->next_file < ix->buckets)
		return 0;
	places = calloc(n, sizeof(*places));
	idents = calloc(n, sizeof(*idents));
	if (places == NULL || idents == NULL) {
		free(places);
		free(idents);
		return -ENOMEM;
	}
	free(ix->places);
	free(ix->idents);
	ix->places = places;
	ix->idents = idents;
	ix->buckets = n;
	for (uint32_t f = 1; f < ix->next_file; f++)
		if (index_node(ix, f)->note & NODE_USED)
			index_hash(ix, f);
	return 0;
}

/* ---- numbers ------------------------------------------------------------------------------- */

static int index_chunk(struct index *ix, uint32_t file)
{
	struct node **more;

	while (file / INDEX_CHUNK >= ix->nchunks) {
		uint64_t *used = realloc(ix->used, (ix->nchunks + 1) * INDEX_CHUNK / 8);

		if (used == NULL)
			return -ENOMEM;
		ix->used = used;
		memset((char *)used + ix->nchunks * INDEX_CHUNK / 8, 0, INDEX_CHUNK / 8);
		more = realloc(ix->chunks, (ix->nchunks + 1) * sizeof(*more));
		if (more == NULL)
			return -ENOMEM;
		ix->chunks = more;
		more[ix->nchunks] = calloc(INDEX_CHUNK, sizeof(struct node));
		if (more[ix->nchunks] == NULL)
			return -ENOMEM;
		ix->nchunks++;
	}
	return 0;
}

static uint32_t index_number(struct index *ix)
{
	uint32_t file;

	if (ix->resting_n > INDEX_REUSE_AFTER) {
		file = ix->resting[ix->resting_head];
		ix->resting_head = (ix->resting_head + 1) % ix->resting_max;
		ix->resting_n--;
		return file;
	}
	return ix->next_file < INDEX_FILES_MAX ? ix->next_file : 0;
}

static void index_rest(struct index *ix, uint32_t file)
{
	if (ix->resting_n == ix->resting_max) {
		uint32_t max = ix->resting_max * 2 + 1024;
		uint32_t *more = malloc(max * sizeof(*more));

		if (more == NULL)
			return; /* then this number is not used again */
		for (uint32_t i = 0; i < ix->resting_n; i++)
			more[i] = ix->resting[(ix->resting_head + i) % ix->resting_max];
		free(ix->resting);
		ix->resting = more;
		ix->resting_max = max;
		ix->resting_head = 0;
	}
	ix->resting[(ix->resting_head + ix->resting_n++) % ix->resting_max] = file;
}

struct node *index_node_find(const struct index *ix, uint32_t file)
{
	if (file == 0 || file >= ix->next_file || !(index_node(ix, file)->note & NODE_USED))
		return NULL;
	return index_node(ix, file);
}

/* ---- looking up ---------------------------------------------------------------------------- */

const char *index_name(const struct index *ix, uint32_t file)
{
	return ix->names.text + index_node(ix, file)->name;
}

uint32_t index_by_ident(const struct index *ix, const uint8_t ident[16])
{
	for (uint32_t f = ix->idents[ident_bucket(ix, ident)]; f != 0;
	     f = index_node(ix, f)->next_ident)
		if (memcmp(index_node(ix, f)->ident, ident, 16) == 0)
			return f;
	return 0;
}

uint32_t index_by_place(const struct index *ix, uint32_t parent, const char *name, size_t len)
{
	for (uint32_t f = ix->places[place_bucket(ix, parent, name, len)]; f != 0;
	     f = index_node(ix, f)->next_place) {
		const struct node *n = index_node(ix, f);
		const char *its = index_name(ix, f);

		if (n->parent == parent && !(n->note & NODE_LOST) && strncmp(its, name, len) == 0 &&
		    its[len] == '\0')
			return f;
	}
	return 0;
}

uint32_t index_by_path(const struct index *ix, const char *path, size_t len)
{
	const char *end = path + len;
	uint32_t at = INDEX_ROOT;

	while (path < end && at != 0) {
		const char *slash = memchr(path, '/', (size_t)(end - path));
		size_t n = (size_t)((slash != NULL ? slash : end) - path);

		if (n > 0)
			at = index_by_place(ix, at, path, n);
		path += n + (slash != NULL);
	}
	return at;
}

int index_path(const struct index *ix, uint32_t file, char *out, size_t max)
{
	size_t len = 0, at;

	for (uint32_t f = file; f != INDEX_ROOT; f = index_node(ix, f)->parent)
		len += strlen(index_name(ix, f)) + (f != file);
	if (len >= max)
		return -ENAMETOOLONG;
	out[len] = '\0';
	at = len;
	for (uint32_t f = file; f != INDEX_ROOT; f = index_node(ix, f)->parent) {
		size_t n = strlen(index_name(ix, f));

		if (f != file)
			out[--at] = '/';
		at -= n;
		memcpy(out + at, index_name(ix, f), n);
	}
	return (int)len;
}

bool index_is_below(const struct index *ix, uint32_t file, uint32_t folder)
{
	while (file != 0 && file != folder)
		file = index_node(ix, file)->parent;
	return file == folder;
}

/* ---- the tree ------------------------------------------------------------------------------ */

static void index_count(struct index *ix, const struct node *n, int by)
{
	uint32_t *count = n->kind == EXTRACT_KIND_FOLDER ? &ix->nfolders : &ix->nfiles;

	*count += (uint32_t)by;
	if (n->kind != EXTRACT_KIND_FOLDER)
		ix->bytes += by > 0 ? n->size : -n->size;
	if (n->state == RECORD_WAITING)
		ix->nwaiting += (uint32_t)by;
	if (n->state == RECORD_FAILED)
		ix->nfailed += (uint32_t)by;
}

/* Names that are no more have eaten most of the memory: put the others together. */
static void index_compact(struct index *ix)
{
	struct textpool names = {0}, folded = {0};

	if (ix->names.dropped < INDEX_COMPACT_MIN || ix->names.dropped < ix->names.len / 2)
		return;
	for (uint32_t f = 1; f < ix->next_file; f++) {
		struct node *n = index_node(ix, f);
		const char *text;

		if (!(n->note & NODE_USED))
			continue;
		text = ix->names.text + n->name;
		n->name = textpool_add(&names, f, text, strlen(text));
		text = ix->folded.text + n->folded;
		if (n->folded != 0)
			n->folded = textpool_add(&folded, f, text, strlen(text));
	}
	textpool_free(&ix->names);
	textpool_free(&ix->folded);
	ix->names = names;
	ix->folded = folded;
}

static int index_set_name(struct index *ix, struct node *n, uint32_t file, const char *name,
			  size_t len)
{
	char folded[RECORD_NAME_MAX];

	textpool_fold(name, len, folded);
	n->name = textpool_add(&ix->names, file, name, len);
	n->folded = 0;
	if (n->name == 0)
		return -ENOMEM;
	if (memcmp(folded, name, len) != 0)
		n->folded = textpool_add(&ix->folded, file, folded, len);
	return 0;
}

int index_node_new(struct index *ix, uint32_t file, const struct record *r)
{
	struct node *n;
	int err = index_chunk(ix, file);

	if (err == 0 && file >= ix->next_file) {
		ix->next_file = file + 1;
		err = index_grow(ix);
	}
	if (err != 0)
		return err;
	n = index_node(ix, file);
	*n = (struct node){
		.size = r->size,
		.mtime_ns = r->mtime_ns,
		.ctime_ns = r->ctime_ns,
		.parent = r->parent,
		.path_hash = r->path_hash,
		.kind = r->kind,
		.state = r->state,
		.flags = r->flags,
	};
	memcpy(n->ident, r->ident, sizeof(n->ident));
	err = index_set_name(ix, n, file, r->name.at, r->name.len);
	if (err != 0)
		return err;
	n->note = NODE_USED;
	ix->used[file / 64] |= 1ull << (file % 64);
	index_hash(ix, file);
	index_count(ix, n, 1);
	return 0;
}

void index_node_attach(struct index *ix, uint32_t file)
{
	struct node *n = index_node(ix, file), *parent;

	if (n->parent == 0)
		return;
	parent = index_node(ix, n->parent);
	n->prev = 0;
	n->next = parent->child;
	if (n->next != 0)
		index_node(ix, n->next)->prev = file;
	parent->child = file;
}

static void index_node_detach(struct index *ix, uint32_t file)
{
	struct node *n = index_node(ix, file);

	if (n->prev != 0)
		index_node(ix, n->prev)->next = n->next;
	else if (n->parent != 0 && index_node(ix, n->parent)->child == file)
		index_node(ix, n->parent)->child = n->next;
	if (n->next != 0)
		index_node(ix, n->next)->prev = n->prev;
	n->next = n->prev = 0;
}

void index_node_drop(struct index *ix, uint32_t file)
{
	struct node *n = index_node(ix, file);

	index_count(ix, n, -1);
	index_node_detach(ix, file);
	index_unhash_place(ix, file);
	index_unhash_ident(ix, file);
	textpool_drop(&ix->names, n->name);
	textpool_drop(&ix->folded, n->folded);
	ix->used[file / 64] &= ~(1ull << (file % 64));
	*n = (struct node){0};
	index_rest(ix, file);
	index_compact(ix);
}

void index_set_state(struct index *ix, uint32_t file, uint8_t state)
{
	struct node *n = index_node(ix, file);

	index_count(ix, n, -1);
	n->state = state;
	index_count(ix, n, 1);
}

/* ---- records ------------------------------------------------------------------------------- */

static void index_write(struct index *ix, uint32_t file, const struct record *r)
{
	static uint8_t bytes[RECORD_BYTES_MAX]; /* one thread */
	uint8_t key[5];

	index_key(key, 'f', file);
	kv_batch_put(ix->batch, key, sizeof(key), bytes, record_pack(r, bytes));
	index_batched(ix);
}

static int index_read(const struct index *ix, uint32_t file, struct index_record *rec)
{
	uint8_t key[5];
	size_t len;
	int err;

	index_key(key, 'f', file);
	err = kv_get(ix->kv, key, sizeof(key), &rec->bytes, &len);
	if (err == 0)
		err = record_unpack(rec->bytes, len, &rec->r);
	if (err != 0) {
		free(rec->bytes);
		rec->bytes = NULL;
	}
	return err;
}

int index_get(struct index *ix, uint32_t file, struct index_record *rec)
{
	int err = index_commit(ix);

	rec->bytes = NULL;
	return err == 0 ? index_read(ix, file, rec) : err;
}

void index_record_free(struct index_record *rec)
{
	free(rec->bytes);
	rec->bytes = NULL;
}

static void index_tell(struct index *ix, uint32_t file, enum index_change change)
{
	if (ix->changed != NULL)
		ix->changed(ix->changed_arg, file, change);
}

int index_add(struct index *ix, uint32_t parent, const char *name, size_t len,
	      const struct index_seen *seen, struct record *r, uint32_t *out)
{
	uint32_t file = index_number(ix);
	int err;

	assert(len <= RECORD_NAME_MAX);
	if (file == 0)
		return -ENOSPC;
	r->kind = seen->kind;
	r->state = seen->kind == EXTRACT_KIND_UNKNOWN ? RECORD_WAITING : RECORD_DONE;
	r->flags = seen->linked ? RECORD_LINKED : 0;
	r->parent = parent;
	r->size = seen->size;
	r->mtime_ns = seen->mtime_ns;
	r->ctime_ns = seen->ctime_ns;
	memcpy(r->ident, seen->ident, sizeof(r->ident));
	r->handle_type = seen->handle_type;
	r->handle = (struct record_text){(const char *)seen->handle, seen->handle_len};
	r->name = (struct record_text){name, len};
	err = index_node_new(ix, file, r);
	if (err == 0)
		err = index_tags_insert(ix, file, r);
	if (err != 0)
		return err;
	index_node_attach(ix, file);
	index_write(ix, file, r);
	*out = file;
	index_tell(ix, file, INDEX_ADDED);
	return ix->batched >= INDEX_BATCH_MAX ? index_commit(ix) : 0;
}

int index_put(struct index *ix, uint32_t file, const struct record *r)
{
	struct node *n = index_node(ix, file);
	struct index_record *old = malloc(sizeof(*old));
	int err = old != NULL ? index_get(ix, file, old) : -ENOMEM;

	if (err != 0 && err != -ENOENT && err != -EUCLEAN) {
		free(old);
		return err;
	}
	if (err == 0) {
		index_links_remove(ix, file, &old->r);
		index_tags_remove(ix, file, &old->r);
		index_record_free(old);
	}
	free(old);
	index_count(ix, n, -1);
	n->size = r->size;
	n->mtime_ns = r->mtime_ns;
	n->ctime_ns = r->ctime_ns;
	n->kind = r->kind;
	n->state = r->state;
	n->flags = r->flags;
	n->path_hash = r->path_hash;
	index_count(ix, n, 1);
	err = index_tags_insert(ix, file, r);
	if (err == 0)
		err = index_links_insert(ix, file, r);
	index_write(ix, file, r);
	index_tell(ix, file, INDEX_CHANGED);
	return err;
}

/* The links in files below lead elsewhere when a folder moves. */
static void index_relink(struct index *ix, uint32_t folder, bool insert)
{
	for (uint32_t f = folder; f != 0;) {
		const struct node *n = index_node(ix, f);
		struct index_record rec;

		if (n->flags & RECORD_LINKS && index_read(ix, f, &rec) == 0) {
			if (insert)
				(void)index_links_insert(ix, f, &rec.r);
			else
				index_links_remove(ix, f, &rec.r);
			index_record_free(&rec);
		}
		if (n->child != 0) {
			f = n->child;
			continue;
		}
		while (f != folder && index_node(ix, f)->next == 0)
			f = index_node(ix, f)->parent;
		f = f == folder ? 0 : index_node(ix, f)->next;
	}
}

int index_move(struct index *ix, uint32_t file, uint32_t parent, const char *name, size_t len)
{
	struct node *n = index_node(ix, file);
	struct index_record rec;
	uint32_t old_name = n->name, old_folded = n->folded;
	int err;

	if (file == INDEX_ROOT || index_is_below(ix, parent, file))
		return -EINVAL;
	err = index_get(ix, file, &rec);
	if (err != 0)
		return err;
	index_relink(ix, file, false);
	index_unhash_place(ix, file);
	index_unhash_ident(ix, file);
	index_node_detach(ix, file);
	err = index_set_name(ix, n, file, name, len);
	if (err == 0) {
		textpool_drop(&ix->names, old_name);
		textpool_drop(&ix->folded, old_folded);
		n->parent = parent;
		rec.r.parent = parent;
		rec.r.name = (struct record_text){name, len};
		index_write(ix, file, &rec.r);
	} else {
		n->name = old_name;
		n->folded = old_folded;
	}
	n->note &= (uint8_t)~NODE_LOST;
	index_node_attach(ix, file);
	index_hash(ix, file);
	index_relink(ix, file, true);
	index_record_free(&rec);
	index_tell(ix, file, INDEX_MOVED);
	return err;
}

static void index_remove_one(struct index *ix, uint32_t file)
{
	struct index_record rec;
	uint8_t key[5];

	index_tell(ix, file, INDEX_REMOVED);
	if (index_read(ix, file, &rec) == 0) {
		index_links_remove(ix, file, &rec.r);
		index_tags_remove(ix, file, &rec.r);
		index_record_free(&rec);
	}
	index_key(key, 'f', file);
	kv_batch_delete(ix->batch, key, sizeof(key));
	index_batched(ix);
	index_node_drop(ix, file);
}

int index_remove(struct index *ix, uint32_t file)
{
	uint32_t f = file;

	if (file == INDEX_ROOT)
		return -EINVAL;
	if (index_commit(ix) != 0)
		return ix->stuck_why;
	for (;;) {
		uint32_t parent;

		while (index_node(ix, f)->child != 0)
			f = index_node(ix, f)->child;
		parent = index_node(ix, f)->parent;
		index_remove_one(ix, f);
		if (f == file)
			break;
		f = parent;
	}
	return 0;
}
