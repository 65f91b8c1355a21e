/*
 * Payload buffers in size classes of powers of two, 4 KiB to 32 MiB. Small classes come from one
 * slab (registered with io_uring by the daemon) while it lasts, larger ones and the overflow from
 * the allocator. Free lists are bounded, so that a burst does not stay resident.
 */
#include "config.h"

#include "buf.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "banned.h"

#define CLASSES	       14	  /* 4 KiB << 0 .. 4 KiB << 13 = 32 MiB */
#define ARENA_CLASSES  7	  /* up to 256 KiB from the slab */
#define FREE_MIN_BYTES (4u << 20) /* kept of each class beyond the slab, at least */
#define FREE_SHARE     8	  /* and at most this part of the limit */

struct buf_pool {
	size_t limit;
	size_t keep; /* free bytes kept of each class */
	size_t used;
	uint8_t *arena;
	size_t arena_len;
	size_t arena_next; /* bytes of the slab handed out for the first time */
	struct buf *free[CLASSES];
	struct buf *free_fixed[CLASSES];
	size_t free_bytes[CLASSES];
};

static size_t class_bytes(unsigned class)
{
	return (size_t)BUF_ALIGN << class;
}

static unsigned class_of(size_t len)
{
	unsigned class = 0;

	while (class_bytes(class) < len)
		class ++;
	return class;
}

struct buf_pool *buf_pool_create(size_t limit_bytes, size_t arena_bytes)
{
	struct buf_pool *pool = calloc(1, sizeof(*pool));

	if (pool == NULL)
		return NULL;
	pool->limit = limit_bytes;
	pool->keep = limit_bytes / FREE_SHARE > FREE_MIN_BYTES ? limit_bytes / FREE_SHARE
							       : FREE_MIN_BYTES;
	if (arena_bytes > 0) {
		void *p = mmap(NULL, arena_bytes, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED) {
			free(pool);
			return NULL;
		}
		pool->arena = p;
		pool->arena_len = arena_bytes;
	}
	return pool;
}

static void free_list(struct buf *b, int owns_data)
{
	while (b != NULL) {
		struct buf *next = b->next;

		if (owns_data)
			free(b->data);
		free(b);
		b = next;
	}
}

void buf_pool_destroy(struct buf_pool *pool)
{
	if (pool == NULL)
		return;
	assert(pool->used == 0);
	for (unsigned c = 0; c < CLASSES; c++) {
		free_list(pool->free[c], 1);
		free_list(pool->free_fixed[c], 0);
	}
	if (pool->arena != NULL)
		munmap(pool->arena, pool->arena_len);
	free(pool);
}

void buf_pool_arena(const struct buf_pool *pool, void **base, size_t *len)
{
	*base = pool->arena;
	*len = pool->arena_len;
}

size_t buf_pool_used(const struct buf_pool *pool)
{
	return pool->used;
}

static struct buf *pop(struct buf **list)
{
	struct buf *b = *list;

	if (b != NULL)
		*list = b->next;
	return b;
}

static struct buf *buf_make(struct buf_pool *pool, unsigned class)
{
	size_t bytes = class_bytes(class);
	struct buf *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return NULL;
	b->pool = pool;
	b->class = (uint16_t) class;
	b->cap = (uint32_t)bytes;
	b->fixed = -1;
	if (class < ARENA_CLASSES && pool->arena_len - pool->arena_next >= bytes) {
		b->data = pool->arena + pool->arena_next;
		b->fixed = 0;
		pool->arena_next += bytes;
		return b;
	}
	b->data = aligned_alloc(BUF_ALIGN, bytes);
	if (b->data == NULL) {
		free(b);
		return NULL;
	}
	return b;
}

struct buf *buf_get(struct buf_pool *pool, size_t len)
{
	unsigned class;
	struct buf *b;

	assert(len > 0 && len <= BUF_MAX_BYTES);
	class = class_of(len);
	if (class_bytes(class) > pool->limit - pool->used)
		return NULL;
	b = pop(&pool->free_fixed[class]);
	if (b == NULL) {
		b = pop(&pool->free[class]);
		if (b != NULL)
			pool->free_bytes[class] -= class_bytes(class);
	}
	if (b == NULL)
		b = buf_make(pool, class);
	if (b == NULL)
		return NULL;
	b->refs = 1;
	b->next = NULL;
	pool->used += class_bytes(class);
	return b;
}

void buf_release(struct buf *b)
{
	struct buf_pool *pool = b->pool;
	unsigned class = b->class;
	size_t bytes = class_bytes(class);

	assert(b->refs == 0 && pool->used >= bytes);
	pool->used -= bytes;
	if (b->fixed >= 0) {
		b->next = pool->free_fixed[class];
		pool->free_fixed[class] = b;
	} else if (pool->free_bytes[class] + bytes <= pool->keep) {
		b->next = pool->free[class];
		pool->free[class] = b;
		pool->free_bytes[class] += bytes;
	} else {
		free(b->data);
		free(b);
	}
}
