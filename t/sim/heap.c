/*
 * The memory of simulated processes: malloc() and its relatives, of the engines too, come here (the
 * linker does that), and what a process has allocated is gone when it is killed. So a crash leaves
 * nothing behind, and a run of many seeds does not grow.
 */
#include "config.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "sim.h"

#define LARGE_MIN (128u << 10)

struct heap_chunk {
	struct heap_chunk *prev, *next;
	struct heap *heap; /* NULL: the world's */
	void *base;	   /* what the allocator gave */
	size_t len;
	bool mapped;
};
static_assert(sizeof(struct heap_chunk) % 16 == 0, "alignment of what follows");

void *__real_malloc(size_t len);
void *__real_aligned_alloc(size_t align, size_t len);
void __real_free(void *p);
void *__wrap_malloc(size_t len);
void *__wrap_calloc(size_t n, size_t len);
void *__wrap_realloc(void *p, size_t len);
void *__wrap_reallocarray(void *p, size_t n, size_t len);
void *__wrap_aligned_alloc(size_t align, size_t len);
void __wrap_free(void *p);

static struct heap *heap_now;

struct heap *heap_use(struct heap *h)
{
	struct heap *before = heap_now;

	heap_now = h;
	return before;
}

static void *chunk_take(void *base, size_t skip, size_t len)
{
	struct heap_chunk *c = (struct heap_chunk *)((char *)base + skip) - 1;
	struct heap *h = heap_now;

	c->base = base;
	c->len = len;
	c->mapped = false;
	c->heap = h;
	c->prev = c->next = NULL;
	if (h != NULL) {
		c->next = h->first;
		if (c->next != NULL)
			c->next->prev = c;
		h->first = c;
		h->bytes += len;
	}
	return c + 1;
}

void *__wrap_malloc(size_t len)
{
	void *base = __real_malloc(sizeof(struct heap_chunk) + len);

	return base == NULL ? NULL : chunk_take(base, sizeof(struct heap_chunk), len);
}

/* Large tables of zeros, mostly never looked at, come from the kernel. */
void *__wrap_calloc(size_t n, size_t len)
{
	void *p, *base;

	if (n * len < LARGE_MIN) {
		p = __wrap_malloc(n * len);
		return p == NULL ? NULL : memset(p, 0, n * len);
	}
	base = mmap(NULL, sizeof(struct heap_chunk) + n * len, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED)
		return NULL;
	p = chunk_take(base, sizeof(struct heap_chunk), n * len);
	((struct heap_chunk *)p - 1)->mapped = true;
	return p;
}

static void chunk_give(struct heap_chunk *c)
{
	if (c->mapped)
		munmap(c->base, sizeof(*c) + c->len);
	else
		__real_free(c->base);
}

void *__wrap_aligned_alloc(size_t align, size_t len)
{
	size_t skip = align > sizeof(struct heap_chunk) ? align : sizeof(struct heap_chunk);
	void *base = __real_aligned_alloc(align, skip + len);

	return base == NULL ? NULL : chunk_take(base, skip, len);
}

void __wrap_free(void *p)
{
	struct heap_chunk *c;

	if (p == NULL)
		return;
	c = (struct heap_chunk *)p - 1;
	if (c->heap != NULL) {
		if (c->prev != NULL)
			c->prev->next = c->next;
		else
			c->heap->first = c->next;
		if (c->next != NULL)
			c->next->prev = c->prev;
		c->heap->bytes -= c->len;
	}
	chunk_give(c);
}

void *__wrap_realloc(void *p, size_t len)
{
	struct heap_chunk *c;
	struct heap *before;
	void *q;

	if (p == NULL)
		return __wrap_malloc(len);
	c = (struct heap_chunk *)p - 1;
	before = heap_use(c->heap);
	q = __wrap_malloc(len);
	heap_use(before);
	if (q == NULL)
		return NULL;
	memcpy(q, p, c->len < len ? c->len : len);
	__wrap_free(p);
	return q;
}

void *__wrap_reallocarray(void *p, size_t n, size_t len)
{
	return __wrap_realloc(p, n * len);
}

void heap_drop(struct heap *h)
{
	struct heap_chunk *c = h->first;

	while (c != NULL) {
		struct heap_chunk *next = c->next;

		chunk_give(c);
		c = next;
	}
	h->first = NULL;
	h->bytes = 0;
}

/* ---- the world's --------------------------------------------------------------------------- */

static void *must(void *p)
{
	if (p == NULL) {
		fputs("sim: out of memory\n", stderr);
		abort();
	}
	return p;
}

void *world_malloc(size_t len)
{
	struct heap *before = heap_use(NULL);
	void *p = must(__wrap_malloc(len));

	heap_use(before);
	return p;
}

void *world_alloc(size_t len)
{
	return memset(world_malloc(len), 0, len);
}

void *world_realloc(void *p, size_t len)
{
	struct heap *before = heap_use(NULL);
	void *q = must(__wrap_realloc(p, len));

	heap_use(before);
	return q;
}

/* Freed memory is kept: page faults are most of what a short seed would cost. */
__attribute__((constructor)) static void heap_keep(void)
{
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
}
