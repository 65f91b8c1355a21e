/*
 * The cluster's metadata: servers, volumes, extent maps, epochs. An interface, so that several
 * hosts can share one in etcd; here is the default, LevelDB beside volmgr (meta-leveldb.c).
 *
 * Keys are text with a version in front: "1/server/NUMBER", "1/volume/NAME",
 * "1/extent/VOLUME/EXTENT", "1/next/WHAT"; numbers are 16 hexadecimal digits so that they sort.
 * Values are JSON, but extent records, which are packed structs that start with a version.
 * weft-format(5) lists them.
 *
 * Writes are batches: all or nothing, durable when done() comes. A meta has one thread of its own
 * for them, so that no data thread waits for a disk; batches given while one is being written go
 * together in the next. done() is called on the meta's thread: the caller posts it on.
 */
#ifndef WEFT_META_H
#define WEFT_META_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct meta;
struct meta_batch;

struct meta_ops {
	int (*get)(struct meta *m, const char *key, void **value, size_t *len); /* value: free() */
	/* All keys with this prefix, ascending; fn returns non-zero to stop, which is returned. */
	int (*each)(struct meta *m, const char *prefix,
		    int (*fn)(void *arg, const char *key, const void *value, size_t len),
		    void *arg);
	/* Takes over the batch. require: a batch with meta_batch_require() whose condition does
	 * not hold is not written: -ECANCELED (compare and swap). */
	void (*commit)(struct meta *m, struct meta_batch *b, void (*done)(void *arg, int err),
		       void *arg);
	void (*close)(struct meta *m);
};

struct meta {
	const struct meta_ops *ops;
};

struct meta_batch *meta_batch_new(void);
void meta_batch_put(struct meta_batch *b, const char *key, const void *value, size_t len);
void meta_batch_delete(struct meta_batch *b, const char *key);
/* Only if key has this value now; value NULL: only if there is no such key. */
void meta_batch_require(struct meta_batch *b, const char *key, const void *value, size_t len);
void meta_batch_free(struct meta_batch *b);
/* Commit and wait. For control code, never on a data thread. */
int meta_commit_wait(struct meta *m, struct meta_batch *b);

int meta_leveldb_open(const char *dir, struct meta **out, const char **why);

#endif
