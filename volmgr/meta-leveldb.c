/*
 * The metadata in LevelDB, in one directory beside volmgr: for one host, which is the default.
 *
 * One thread writes. Whatever was given while it waited for the disk goes in its next write, so
 * that a hundred new extents cost one sync. A batch with conditions is looked at on that thread,
 * after everything before it is in the database: so compare and swap needs no lock.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "kv.h"
#include "meta-batch.h"
#include "banned.h"

#define META_CACHE_BYTES (2u << 20)
#define META_QUEUE_MAX	 (1u << 20) /* batches that wait: more is a bug of the callers */
#define META_GROUP_MAX	 1024	    /* batches in one write */

struct meta_leveldb {
	struct meta meta; /* first */
	struct kv *kv;	  /* any thread */
	pthread_t thread;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t cond;
	struct meta_batch *head, **tail;
	unsigned queued;
	bool stop;
};

static struct meta_leveldb *meta_self(struct meta *m)
{
	return (struct meta_leveldb *)m;
}

static int meta_leveldb_get(struct meta *m, const char *key, void **value, size_t *len)
{
	return kv_get(meta_self(m)->kv, key, strlen(key), value, len);
}

static int meta_leveldb_each(struct meta *m, const char *prefix,
			     int (*fn)(void *arg, const char *key, const void *value, size_t len),
			     void *arg)
{
	struct kv_iter *it = kv_iter_prefix(meta_self(m)->kv, prefix, strlen(prefix));
	const void *key, *value;
	size_t key_len, len;
	char text[META_KEY_MAX];
	int r, stop = 0;

	if (it == NULL)
		return -ENOMEM;
	while (stop == 0 && (r = kv_iter_next(it, &key, &key_len, &value, &len)) != 0) {
		if (r < 0) {
			stop = r;
			break;
		}
		if (key_len >= sizeof(text)) {
			stop = -EUCLEAN;
			break;
		}
		memcpy(text, key, key_len);
		text[key_len] = '\0';
		stop = fn(arg, text, value, len);
	}
	kv_iter_free(it);
	return stop;
}

static void meta_leveldb_commit(struct meta *m, struct meta_batch *b,
				void (*done)(void *arg, int err), void *arg)
{
	struct meta_leveldb *ml = meta_self(m);

	b->done = done;
	b->arg = arg;
	b->next = NULL;
	pthread_mutex_lock(&ml->lock);
	assert(!ml->stop && ml->queued < META_QUEUE_MAX);
	*ml->tail = b;
	ml->tail = &b->next;
	ml->queued++;
	pthread_cond_signal(&ml->cond);
	pthread_mutex_unlock(&ml->lock);
}

/* ---- the writer's thread ------------------------------------------------------------------- */

static void meta_finish(struct meta_batch *list, int err)
{
	while (list != NULL) {
		struct meta_batch *next = list->next;

		list->done(list->arg, err);
		meta_batch_free(list);
		list = next;
	}
}

/* 0: all conditions of b hold; -ECANCELED: not; or the database's error. */
static int meta_check(struct meta_leveldb *ml, const struct meta_batch *b)
{
	for (size_t i = 0; i < b->count; i++) {
		const struct meta_op *op = &b->ops[i];
		void *value;
		size_t len;
		bool same;
		int err;

		if (op->type != META_REQUIRE)
			continue;
		err = kv_get(ml->kv, op->key, strlen(op->key), &value, &len);
		if (err != 0 && err != -ENOENT)
			return err;
		same = op->value == NULL
			       ? err == -ENOENT
			       : err == 0 && len == op->len && memcmp(value, op->value, len) == 0;
		free(value);
		if (!same)
			return -ECANCELED;
	}
	return 0;
}

static void meta_fill(struct kv_batch *kb, const struct meta_batch *b)
{
	for (size_t i = 0; i < b->count; i++) {
		const struct meta_op *op = &b->ops[i];

		if (op->type == META_PUT)
			kv_batch_put(kb, op->key, strlen(op->key), op->value, op->len);
		else if (op->type == META_DELETE)
			kv_batch_delete(kb, op->key, strlen(op->key));
	}
}

/*
 * Write a run of batches from the list's head as one: all up to the next that has conditions (that
 * one must see what is before it in the database). Returns the rest.
 */
static struct meta_batch *meta_write_run(struct meta_leveldb *ml, struct meta_batch *list)
{
	struct meta_batch *b = list, *last = NULL;
	struct kv_batch *kb = kv_batch_new();
	int err = list->requires ? meta_check(ml, list) : 0;
	int n = 0;

	if (kb == NULL)
		err = -ENOMEM;
	while (b != NULL && n < META_GROUP_MAX && (n == 0 || !b->requires)) {
		if (b->failed && n > 0)
			break;
		if (b->failed)
			err = -ENOMEM;
		if (err == 0)
			meta_fill(kb, b);
		n++;
		last = b;
		b = b->next;
		if (err != 0)
			break;
	}
	if (err == 0)
		err = kv_write(ml->kv, kb);
	kv_batch_free(kb);
	last->next = NULL;
	meta_finish(list, err);
	return b;
}

static void *meta_leveldb_thread(void *arg)
{
	struct meta_leveldb *ml = arg;
	struct meta_batch *list;

	for (;;) {
		pthread_mutex_lock(&ml->lock);
		while (ml->head == NULL && !ml->stop)
			pthread_cond_wait(&ml->cond, &ml->lock);
		list = ml->head;
		ml->head = NULL;
		ml->tail = &ml->head;
		ml->queued = 0;
		pthread_mutex_unlock(&ml->lock);
		if (list == NULL)
			return NULL;
		while (list != NULL)
			list = meta_write_run(ml, list);
	}
}

/* Writes what is queued first. */
static void meta_leveldb_close(struct meta *m)
{
	struct meta_leveldb *ml = meta_self(m);

	pthread_mutex_lock(&ml->lock);
	ml->stop = true;
	pthread_cond_signal(&ml->cond);
	pthread_mutex_unlock(&ml->lock);
	pthread_join(ml->thread, NULL);
	kv_close(ml->kv);
	pthread_cond_destroy(&ml->cond);
	pthread_mutex_destroy(&ml->lock);
	free(ml);
}

static const struct meta_ops meta_leveldb_ops = {
	.get = meta_leveldb_get,
	.each = meta_leveldb_each,
	.commit = meta_leveldb_commit,
	.close = meta_leveldb_close,
};

int meta_leveldb_open(const char *dir, struct meta **out, const char **why)
{
	struct meta_leveldb *ml = calloc(1, sizeof(*ml));
	int err;

	*why = "out of memory";
	if (ml == NULL)
		return -ENOMEM;
	err = kv_open(dir, META_CACHE_BYTES, &ml->kv, why);
	if (err != 0) {
		free(ml);
		return err;
	}
	ml->meta.ops = &meta_leveldb_ops;
	ml->tail = &ml->head;
	pthread_mutex_init(&ml->lock, NULL);
	pthread_cond_init(&ml->cond, NULL);
	err = -pthread_create(&ml->thread, NULL, meta_leveldb_thread, ml);
	if (err != 0) {
		*why = "no thread for the metadata";
		kv_close(ml->kv);
		free(ml);
		return err;
	}
	*out = &ml->meta;
	return 0;
}
