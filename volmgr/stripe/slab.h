/*
 * Fixed-size objects of one engine, recycled: the data path allocates nothing once it is warm. What
 * bounds the number of objects is the engine's own limits; a slab only keeps them.
 */
#ifndef WEFT_SLAB_H
#define WEFT_SLAB_H

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

struct slab_link {
	struct slab_link *next;
};

struct slab {
	size_t size;
	size_t used;
	size_t kept;
	size_t keep_max; /* free objects beyond this go back to the allocator */
	struct slab_link *free;
};

static inline void slab_init(struct slab *s, size_t size, size_t keep_max)
{
	*s = (struct slab){.size = size, .keep_max = keep_max};
}

/* Contents are undefined. NULL: out of memory. */
static inline void *slab_get(struct slab *s)
{
	struct slab_link *o = s->free;

	if (o != NULL) {
		s->free = o->next;
		s->kept--;
	} else {
		o = malloc(s->size);
		if (o == NULL)
			return NULL;
	}
	s->used++;
	return o;
}

static inline void slab_put(struct slab *s, void *object)
{
	struct slab_link *o = object;

	assert(s->used > 0);
	s->used--;
	if (s->kept >= s->keep_max) {
		free(o);
		return;
	}
	o->next = s->free;
	s->free = o;
	s->kept++;
}

static inline void slab_destroy(struct slab *s)
{
	assert(s->used == 0);
	while (s->free != NULL) {
		struct slab_link *o = s->free;

		s->free = o->next;
		free(o);
	}
}

#endif
