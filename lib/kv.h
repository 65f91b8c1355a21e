/*
 * An ordered key-value store in a directory: LevelDB behind our own words. The only file that
 * includes leveldb/c.h is kv.c. Keys are up to KV_KEY_MAX bytes, in bytewise order.
 *
 * Threads: any, but an iterator ends on the thread that made it. One process at a time may have a
 * directory open.
 * Errors: 0 or -errno: -ENOENT no such key, -EBUSY open elsewhere, -EUCLEAN damaged, -EIO. After a
 * write that failed, others fail until there is room again.
 */
#ifndef WEFT_KV_H
#define WEFT_KV_H

#include <stddef.h>
#include <stdint.h>

#define KV_KEY_MAX 1024u

struct kv;
struct kv_batch;
struct kv_iter;

/* cache_bytes: LevelDB's block cache. *why: a sentence on failure, freed by nobody. */
int kv_open(const char *dir, size_t cache_bytes, struct kv **kv, const char **why);
void kv_close(struct kv *kv);
/* Make a damaged directory usable again, with what can still be read of it. Nobody has it open. */
int kv_repair(const char *dir, const char **why);

/* *value is malloc'd, the caller frees it. */
int kv_get(struct kv *kv, const void *key, size_t key_len, void **value, size_t *value_len);

struct kv_batch *kv_batch_new(void);
void kv_batch_put(struct kv_batch *b, const void *key, size_t key_len, const void *value,
		  size_t value_len);
void kv_batch_delete(struct kv_batch *b, const void *key, size_t key_len);
void kv_batch_free(struct kv_batch *b);
/* All or nothing; durable when it returns. An error: nothing, now and later. */
int kv_write(struct kv *kv, struct kv_batch *b);
/* The same, durable against the death of this process only: a power cut may take the last ones. */
int kv_write_lazy(struct kv *kv, struct kv_batch *b);
/* Forget what was put into it. */
void kv_batch_clear(struct kv_batch *b);

/* All pairs whose key starts with prefix, ascending. The pointers are valid until the next call. */
struct kv_iter *kv_iter_prefix(struct kv *kv, const void *prefix, size_t prefix_len);
/* 1: a pair, 0: the end, -errno */
int kv_iter_next(struct kv_iter *it, const void **key, size_t *key_len, const void **value,
		 size_t *value_len);
void kv_iter_free(struct kv_iter *it);

#endif
