/*
 * LevelDB behind kv.h. Every write is synced: what kv_write() returned from is there after a power
 * cut. LevelDB's errors are sentences; they become an errno here, in one place, and are logged
 * once.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <leveldb/c.h>

#include "kv.h"
#include "log.h"
#include "banned.h"

#define KV_OPEN_FILES	64
#define KV_WRITE_BUFFER (1u << 20)
#define KV_FILE_MAX	(2u << 20) /* of a table */
#define KV_FILE_MIN	(1u << 20) /* LevelDB takes no less */
#define KV_WHY_MAX	512

struct kv {
	leveldb_t *db;
	leveldb_options_t *options;
	leveldb_cache_t *cache;
	leveldb_readoptions_t *read;
	leveldb_writeoptions_t *write, *write_lazy;
};

struct kv_batch {
	leveldb_writebatch_t *wb;
};

struct kv_iter {
	leveldb_iterator_t *it;
	char prefix[KV_KEY_MAX];
	size_t prefix_len;
	bool started;
};

static _Thread_local char kv_why[KV_WHY_MAX];

/* LevelDB's message begins with the kind of the error; a lock held elsewhere is an IO error. */
static int kv_errno(const char *msg)
{
	if (strncmp(msg, "NotFound", 8) == 0)
		return -ENOENT;
	if (strncmp(msg, "Corruption", 10) == 0)
		return -EUCLEAN;
	if (strstr(msg, "lock ") != NULL || strstr(msg, "/LOCK") != NULL)
		return -EBUSY;
	if (strstr(msg, "No space left") != NULL)
		return -ENOSPC;
	return -EIO;
}

/* Takes over msg. */
static int kv_fail(const char *what, char *msg)
{
	int err = kv_errno(msg);

	log_error("key-value store: %s: %s", what, msg);
	leveldb_free(msg);
	return err;
}

static int kv_open_error(const char *dir, char *msg, const char **why)
{
	int err = kv_errno(msg);
	const char *advice = "look at the disk and its free space";

	if (err == -EBUSY)
		advice = "another process has it open: stop that one first";
	else if (err == -EUCLEAN)
		advice = "it is damaged: restore it from a backup";
	snprintf(kv_why, sizeof(kv_why), "%s: %s (%s)", dir, advice, msg);
	*why = kv_why;
	leveldb_free(msg);
	return err;
}

static size_t kv_file_bytes(size_t cache_bytes)
{
	size_t bytes = cache_bytes / 8;

	return bytes < KV_FILE_MIN ? KV_FILE_MIN : bytes > KV_FILE_MAX ? KV_FILE_MAX : bytes;
}

static void kv_options(struct kv *kv, size_t cache_bytes)
{
	kv->options = leveldb_options_create();
	kv->cache = leveldb_cache_create_lru(cache_bytes);
	leveldb_options_set_cache(kv->options, kv->cache);
	leveldb_options_set_create_if_missing(kv->options, 1);
	leveldb_options_set_paranoid_checks(kv->options, 1);
	leveldb_options_set_max_open_files(kv->options, KV_OPEN_FILES);
	leveldb_options_set_write_buffer_size(kv->options, KV_WRITE_BUFFER);
	/*
	 * LevelDB maps the tables that it has open, never fewer than KV_OPEN_FILES: what is read of
	 * them counts as our memory. A small cache asks for small ones, too.
	 */
	leveldb_options_set_max_file_size(kv->options, kv_file_bytes(cache_bytes));
	kv->read = leveldb_readoptions_create();
	leveldb_readoptions_set_verify_checksums(kv->read, 1);
	kv->write = leveldb_writeoptions_create();
	leveldb_writeoptions_set_sync(kv->write, 1);
	kv->write_lazy = leveldb_writeoptions_create();
}

int kv_open(const char *dir, size_t cache_bytes, struct kv **out, const char **why)
{
	struct kv *kv = calloc(1, sizeof(*kv));
	char *msg = NULL;
	int err;

	*why = "out of memory";
	if (kv == NULL)
		return -ENOMEM;
	if (mkdir(dir, 0700) < 0 && errno != EEXIST) {
		err = -errno;
		snprintf(kv_why, sizeof(kv_why), "%s: cannot make this directory: %s", dir,
			 strerror(-err));
		*why = kv_why;
		free(kv);
		return err;
	}
	kv_options(kv, cache_bytes);
	kv->db = leveldb_open(kv->options, dir, &msg);
	if (msg != NULL) {
		err = kv_open_error(dir, msg, why);
		kv_close(kv);
		return err;
	}
	*out = kv;
	return 0;
}

void kv_close(struct kv *kv)
{
	if (kv->db != NULL)
		leveldb_close(kv->db);
	leveldb_writeoptions_destroy(kv->write);
	leveldb_writeoptions_destroy(kv->write_lazy);
	leveldb_readoptions_destroy(kv->read);
	leveldb_options_destroy(kv->options);
	leveldb_cache_destroy(kv->cache);
	free(kv);
}

int kv_repair(const char *dir, const char **why)
{
	leveldb_options_t *options = leveldb_options_create();
	char *msg = NULL;

	*why = NULL;
	leveldb_repair_db(options, dir, &msg);
	leveldb_options_destroy(options);
	return msg == NULL ? 0 : kv_open_error(dir, msg, why);
}

int kv_get(struct kv *kv, const void *key, size_t key_len, void **value, size_t *value_len)
{
	char *msg = NULL, *v;

	assert(key_len <= KV_KEY_MAX);
	*value = NULL;
	*value_len = 0;
	v = leveldb_get(kv->db, kv->read, key, key_len, value_len, &msg);
	if (msg != NULL)
		return kv_fail("get", msg);
	if (v == NULL)
		return -ENOENT;
	*value = v; /* LevelDB's C interface allocates with malloc */
	return 0;
}

struct kv_batch *kv_batch_new(void)
{
	struct kv_batch *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return NULL;
	b->wb = leveldb_writebatch_create();
	return b;
}

void kv_batch_put(struct kv_batch *b, const void *key, size_t key_len, const void *value,
		  size_t value_len)
{
	assert(key_len <= KV_KEY_MAX);
	leveldb_writebatch_put(b->wb, key, key_len, value, value_len);
}

void kv_batch_delete(struct kv_batch *b, const void *key, size_t key_len)
{
	assert(key_len <= KV_KEY_MAX);
	leveldb_writebatch_delete(b->wb, key, key_len);
}

void kv_batch_free(struct kv_batch *b)
{
	if (b == NULL)
		return;
	leveldb_writebatch_destroy(b->wb);
	free(b);
}

int kv_write(struct kv *kv, struct kv_batch *b)
{
	char *msg = NULL;

	leveldb_write(kv->db, kv->write, b->wb, &msg);
	return msg == NULL ? 0 : kv_fail("write", msg);
}

int kv_write_lazy(struct kv *kv, struct kv_batch *b)
{
	char *msg = NULL;

	leveldb_write(kv->db, kv->write_lazy, b->wb, &msg);
	return msg == NULL ? 0 : kv_fail("write", msg);
}

void kv_batch_clear(struct kv_batch *b)
{
	leveldb_writebatch_clear(b->wb);
}

struct kv_iter *kv_iter_prefix(struct kv *kv, const void *prefix, size_t prefix_len)
{
	struct kv_iter *it = calloc(1, sizeof(*it));

	assert(prefix_len <= KV_KEY_MAX);
	if (it == NULL)
		return NULL;
	memcpy(it->prefix, prefix, prefix_len);
	it->prefix_len = prefix_len;
	it->it = leveldb_create_iterator(kv->db, kv->read);
	return it;
}

int kv_iter_next(struct kv_iter *it, const void **key, size_t *key_len, const void **value,
		 size_t *value_len)
{
	char *msg = NULL;

	if (!it->started)
		leveldb_iter_seek(it->it, it->prefix, it->prefix_len);
	else if (leveldb_iter_valid(it->it))
		leveldb_iter_next(it->it);
	it->started = true;
	leveldb_iter_get_error(it->it, &msg);
	if (msg != NULL)
		return kv_fail("iterate", msg);
	if (!leveldb_iter_valid(it->it))
		return 0;
	*key = leveldb_iter_key(it->it, key_len);
	if (*key_len < it->prefix_len || memcmp(*key, it->prefix, it->prefix_len) != 0)
		return 0;
	*value = leveldb_iter_value(it->it, value_len);
	return 1;
}

void kv_iter_free(struct kv_iter *it)
{
	if (it == NULL)
		return;
	leveldb_iter_destroy(it->it);
	free(it);
}
