/*
 * Payload buffers: 4 KiB aligned, counted references, recycled.
 *
 * A payload is received into one buffer and stays there until the last user has let go of it;
 * nobody copies it to keep it. A pool belongs to one thread, and so do its buffers. Each pool has a
 * hard limit; buf_get() then returns NULL and the caller applies back-pressure.
 */
#ifndef WEFT_BUF_H
#define WEFT_BUF_H

#include <stddef.h>
#include <stdint.h>

#define BUF_ALIGN     4096u
#define BUF_MAX_BYTES (32u << 20) /* the largest NBD payload that we take */

struct buf_pool;

struct buf {
	uint8_t *data;
	uint32_t cap; /* bytes at data */
	uint32_t refs;
	struct buf_pool *pool;
	struct buf *next; /* the pool's free list */
	uint16_t class;	  /* the pool's */
	int16_t fixed;	  /* index of the registered arena that data lies in, or -1 */
};

/*
 * limit_bytes: the most that may be handed out at once. arena_bytes: size of the slab that small
 * buffers come from, so that it can be registered with io_uring; 0 for none. NULL: out of memory.
 */
struct buf_pool *buf_pool_create(size_t limit_bytes, size_t arena_bytes);
/* Every buffer must be back. */
void buf_pool_destroy(struct buf_pool *pool);
/* The slab, for registration. *len is 0 where there is none. */
void buf_pool_arena(const struct buf_pool *pool, void **base, size_t *len);
size_t buf_pool_used(const struct buf_pool *pool);

/* A buffer of at least len bytes (1 to BUF_MAX_BYTES), one reference; NULL at the limit. */
struct buf *buf_get(struct buf_pool *pool, size_t len);

static inline struct buf *buf_ref(struct buf *b)
{
	b->refs++;
	return b;
}

void buf_release(struct buf *b);

/* Let go of one reference; NULL is fine. */
static inline void buf_put(struct buf *b)
{
	if (b != NULL && --b->refs == 0)
		buf_release(b);
}

#endif
