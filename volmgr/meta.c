/*
 * What all back ends of the metadata share: batches, and waiting for one to be durable.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "meta-batch.h"
#include "banned.h"

struct meta_batch *meta_batch_new(void)
{
	return calloc(1, sizeof(struct meta_batch));
}

static bool meta_batch_grow(struct meta_batch *b)
{
	size_t cap = b->cap == 0 ? 4 : b->cap * 2;
	struct meta_op *ops;

	if (b->count < b->cap)
		return true;
	ops = reallocarray(b->ops, cap, sizeof(*ops));
	if (ops == NULL)
		return false;
	b->ops = ops;
	b->cap = cap;
	return true;
}

/* Memory errors are kept in the batch and reported by commit, so that callers have one place to
 * look. */
static void meta_batch_add(struct meta_batch *b, enum meta_op_type type, const char *key,
			   const void *value, size_t len)
{
	struct meta_op *op;

	assert(strlen(key) < META_KEY_MAX);
	if (b->failed || !meta_batch_grow(b)) {
		b->failed = true;
		return;
	}
	op = &b->ops[b->count];
	*op = (struct meta_op){.type = type, .key = strdup(key), .len = len};
	if (value != NULL) {
		op->value = malloc(len > 0 ? len : 1);
		if (op->value != NULL)
			memcpy(op->value, value, len);
	}
	b->count++;
	if (op->key == NULL || (value != NULL && op->value == NULL))
		b->failed = true;
	if (type == META_REQUIRE)
	b->requires = true;
}

void meta_batch_put(struct meta_batch *b, const char *key, const void *value, size_t len)
{
	assert(value != NULL);
	meta_batch_add(b, META_PUT, key, value, len);
}

void meta_batch_delete(struct meta_batch *b, const char *key)
{
	meta_batch_add(b, META_DELETE, key, NULL, 0);
}

void meta_batch_require(struct meta_batch *b, const char *key, const void *value, size_t len)
{
	meta_batch_add(b, META_REQUIRE, key, value, len);
}

void meta_batch_free(struct meta_batch *b)
{
	if (b == NULL)
		return;
	for (size_t i = 0; i < b->count; i++) {
		free(b->ops[i].key);
		free(b->ops[i].value);
	}
	free(b->ops);
	free(b);
}

struct meta_wait {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
	int err;
};

static void meta_wait_done(void *arg, int err)
{
	struct meta_wait *w = arg;

	pthread_mutex_lock(&w->lock);
	w->err = err;
	w->done = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

int meta_commit_wait(struct meta *m, struct meta_batch *b)
{
	struct meta_wait w = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

	m->ops->commit(m, b, meta_wait_done, &w);
	pthread_mutex_lock(&w.lock);
	while (!w.done)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
	pthread_cond_destroy(&w.cond);
	pthread_mutex_destroy(&w.lock);
	return w.err;
}
