/*
 * LevelDB behind kv.h. Every write is synced: what kv_write() returned from is there after a power
 * cut. LevelDB's errors are sentences; they become an errno here, in one place, and are logged
 * once.
 *
 * After a write that failed, half of a record may be at the end of LevelDB's log. LevelDB would
 * write on behind it, and what is there is not found when the database is opened the next time,
 * without an error. So nothing more is written before it was closed and opened, which reads the log
 * up to that half record and begins a new one. That waits until there is room for it: until then
 * everything can be read. Or the record is whole, and only the sync failed: then it is found. But
 * who wrote it was told that it is not there, and goes on from that, so what it changed is put back
 * as it was.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <leveldb/c.h>

#include "kv.h"
#include "log.h"
#include "banned.h"

#define KV_OPEN_FILES	64
#define KV_WRITE_BUFFER (1u << 20)
#define KV_FILE_MAX	(2u << 20) /* of a table */
#define KV_FILE_MIN	(1u << 20) /* LevelDB takes no less */
#define KV_WHY_MAX	512
#define KV_ROOM		(4u << 20) /* what opening anew may write: the log as a table, and more */

struct kv {
	leveldb_t *db;	       /* NULL: it could not be opened anew */
	pthread_rwlock_t lock; /* for db: to read by who uses it, also by iterators */
	pthread_mutex_t writing;
	int failed;		    /* the last write's error: to be opened anew. Under writing */
	leveldb_writebatch_t *undo; /* what that write would have changed, as it was. Likewise */
	char *dir;
	leveldb_options_t *options;
	leveldb_cache_t *cache;
	leveldb_readoptions_t *read;
	leveldb_writeoptions_t *write, *write_lazy;
};

struct kv_batch {
	leveldb_writebatch_t *wb;
};

struct kv_iter {
	struct kv *kv;
	leveldb_iterator_t *it; /* NULL: there is no database */
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
	pthread_rwlock_init(&kv->lock, NULL);
	pthread_mutex_init(&kv->writing, NULL);
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
	kv->undo = leveldb_writebatch_create();
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
	kv->dir = strdup(dir);
	if (kv->dir == NULL) {
		kv_close(kv);
		return -ENOMEM;
	}
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
	leveldb_writebatch_destroy(kv->undo);
	pthread_mutex_destroy(&kv->writing);
	pthread_rwlock_destroy(&kv->lock);
	free(kv->dir);
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
	pthread_rwlock_rdlock(&kv->lock);
	if (kv->db == NULL) {
		pthread_rwlock_unlock(&kv->lock);
		return -EIO;
	}
	v = leveldb_get(kv->db, kv->read, key, key_len, value_len, &msg);
	pthread_rwlock_unlock(&kv->lock);
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

/* ---- writing ------------------------------------------------------------------------------- */

static bool kv_has_room(const struct kv *kv)
{
	char path[4096];
	int fd, err;

	snprintf(path, sizeof(path), "%s/room", kv->dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	unlink(path);
	err = posix_fallocate(fd, 0, KV_ROOM);
	close(fd);
	return err == 0;
}

static void undo_key(struct kv *kv, const char *key, size_t key_len)
{
	char *msg = NULL, *value;
	size_t len;

	value = leveldb_get(kv->db, kv->read, key, key_len, &len, &msg);
	if (msg != NULL)
		kv_fail("get", msg);
	else if (value != NULL)
		leveldb_writebatch_put(kv->undo, key, key_len, value, len);
	else
		leveldb_writebatch_delete(kv->undo, key, key_len);
	leveldb_free(value);
}

static void undo_put(void *arg, const char *key, size_t key_len, const char *value, size_t len)
{
	undo_key(arg, key, key_len);
}

static void undo_delete(void *arg, const char *key, size_t key_len)
{
	undo_key(arg, key, key_len);
}

/* After a write that failed. Not while an iterator is in use: then the next write tries again. */
static int kv_open_anew(struct kv *kv)
{
	char *msg = NULL;

	if (!kv_has_room(kv) || pthread_rwlock_trywrlock(&kv->lock) != 0)
		return kv->failed;
	if (kv->db != NULL)
		leveldb_close(kv->db);
	kv->db = leveldb_open(kv->options, kv->dir, &msg);
	if (msg == NULL)
		leveldb_write(kv->db, kv->write, kv->undo, &msg);
	if (msg != NULL && kv->db != NULL) { /* what is to be undone may be read there */
		leveldb_close(kv->db);
		kv->db = NULL;
	}
	pthread_rwlock_unlock(&kv->lock);
	if (msg != NULL)
		return kv_fail("open anew", msg);
	leveldb_writebatch_clear(kv->undo);
	kv->failed = 0;
	log_info("key-value store: %s can be written again", kv->dir);
	return 0;
}

static int kv_write_with(struct kv *kv, struct kv_batch *b, const leveldb_writeoptions_t *how)
{
	char *msg = NULL;
	int err;

	pthread_mutex_lock(&kv->writing);
	err = kv->failed != 0 ? kv_open_anew(kv) : 0;
	if (err == 0) /* nobody else changes db */
		leveldb_write(kv->db, how, b->wb, &msg);
	if (msg != NULL) {
		err = kv->failed = kv_fail("write", msg);
		leveldb_writebatch_iterate(b->wb, kv, undo_put, undo_delete);
		(void)kv_open_anew(kv); /* else with the next write */
	}
	pthread_mutex_unlock(&kv->writing);
	return err;
}

int kv_write(struct kv *kv, struct kv_batch *b)
{
	return kv_write_with(kv, b, kv->write);
}

int kv_write_lazy(struct kv *kv, struct kv_batch *b)
{
	return kv_write_with(kv, b, kv->write_lazy);
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
	it->kv = kv;
	pthread_rwlock_rdlock(&kv->lock);
	if (kv->db != NULL)
		it->it = leveldb_create_iterator(kv->db, kv->read);
	return it;
}

int kv_iter_next(struct kv_iter *it, const void **key, size_t *key_len, const void **value,
		 size_t *value_len)
{
	char *msg = NULL;

	if (it->it == NULL)
		return -EIO;
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
	if (it->it != NULL)
		leveldb_iter_destroy(it->it);
	pthread_rwlock_unlock(&it->kv->lock);
	free(it);
}
