/* Objects of one size, recycled without the allocator: nothing on a hot path calls malloc. */
#include "config.h"

#include <stdlib.h>

#include "store/store_internal.h"

#include "banned.h"

#define CHUNK_BYTES (64u << 10)

struct chunk {
	void *next;
	max_align_t data[];
};

void slab_init(struct slab *slab, size_t size, size_t clear)
{
	size_t align = sizeof(max_align_t);

	memset(slab, 0, sizeof(*slab));
	slab->size = (size + align - 1) / align * align;
	slab->clear = clear;
}

void slab_destroy(struct slab *slab)
{
	struct chunk *c = slab->chunks;

	while (c != NULL) {
		struct chunk *next = c->next;

		free(c);
		c = next;
	}
	slab->chunks = NULL;
	slab->free = NULL;
	slab->nfree = 0;
}

static bool slab_grow(struct slab *slab)
{
	size_t n = CHUNK_BYTES / slab->size;
	struct chunk *c;

	if (n == 0)
		n = 1;
	c = malloc(sizeof(*c) + n * slab->size);
	if (c == NULL)
		return false;
	c->next = slab->chunks;
	slab->chunks = c;
	for (size_t i = 0; i < n; i++)
		slab_put(slab, (char *)c->data + i * slab->size);
	return true;
}

bool slab_ensure(struct slab *slab, size_t n)
{
	while (slab->nfree < n)
		if (!slab_grow(slab))
			return false;
	return true;
}

void *slab_get(struct slab *slab)
{
	void *p;

	if (!slab_ensure(slab, 1))
		return NULL;
	p = slab->free;
	memcpy(&slab->free, p, sizeof(slab->free));
	slab->nfree--;
	memset(p, 0, slab->clear);
	return p;
}

void slab_put(struct slab *slab, void *object)
{
	memcpy(object, &slab->free, sizeof(slab->free));
	slab->free = object;
	slab->nfree++;
}
