/* See near.h. Entries are numbered from 1; 0 ends a list. */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "tagger/near.h"
#include "banned.h"

#define NEAR_BANDS_MAX 8

struct near_entry {
	uint64_t hash;
	uint32_t id;
	uint32_t next[]; /* one a band */
};

struct near {
	unsigned bands, bits;
	size_t entry_size;
	uint32_t *head; /* [band << bits | value] */
	char *entries;	/* of entry_size */
	uint32_t n, max;
	uint32_t unused; /* list of free ones, by next[0] */
};

static struct near_entry *near_entry(const struct near *n, uint32_t i)
{
	return (struct near_entry *)(n->entries + (size_t)i * n->entry_size);
}

static uint32_t *near_head(const struct near *n, unsigned band, uint64_t hash)
{
	uint64_t value = hash >> (band * n->bits) & ((1u << n->bits) - 1);

	return &n->head[(uint64_t)band << n->bits | value];
}

struct near *near_new(unsigned bands)
{
	struct near *n = calloc(1, sizeof(*n));

	assert(bands == 4 || bands == 8);
	if (n == NULL)
		return NULL;
	n->bands = bands;
	n->bits = 64 / bands;
	n->entry_size = (sizeof(struct near_entry) + bands * sizeof(uint32_t) + 7) & ~7ul;
	n->n = 1;
	n->head = calloc((size_t)bands << n->bits, sizeof(*n->head));
	if (n->head == NULL) {
		free(n);
		return NULL;
	}
	return n;
}

void near_free(struct near *n)
{
	if (n == NULL)
		return;
	free(n->head);
	free(n->entries);
	free(n);
}

static uint32_t near_take(struct near *n)
{
	uint32_t i = n->unused;

	if (i != 0) {
		n->unused = near_entry(n, i)->next[0];
		return i;
	}
	if (n->n >= n->max) {
		uint32_t max = n->max + n->max / 4 + 256;
		char *more = realloc(n->entries, (size_t)max * n->entry_size);

		if (more == NULL)
			return 0;
		n->entries = more;
		n->max = max;
	}
	return n->n++;
}

int near_add(struct near *n, uint64_t hash, uint32_t id)
{
	uint32_t i = near_take(n);
	struct near_entry *e;

	if (i == 0)
		return -ENOMEM;
	e = near_entry(n, i);
	e->hash = hash;
	e->id = id;
	for (unsigned b = 0; b < n->bands; b++) {
		uint32_t *head = near_head(n, b, hash);

		e->next[b] = *head;
		*head = i;
	}
	return 0;
}

void near_remove(struct near *n, uint64_t hash, uint32_t id)
{
	uint32_t found = 0;

	for (unsigned b = 0; b < n->bands; b++) {
		uint32_t *at = near_head(n, b, hash);

		while (*at != 0) {
			struct near_entry *e = near_entry(n, *at);

			if (e->hash == hash && e->id == id) {
				found = *at;
				*at = e->next[b];
				break;
			}
			at = &e->next[b];
		}
	}
	if (found != 0) {
		near_entry(n, found)->next[0] = n->unused;
		n->unused = found;
	}
}

/* The first band in which both agree: who is found in several is told of in that one. */
static unsigned near_first_band(const struct near *n, uint64_t differ)
{
	unsigned b = 0;

	while (b < n->bands && (differ >> (b * n->bits) & ((1u << n->bits) - 1)) != 0)
		b++;
	return b;
}

void near_find(const struct near *n, uint64_t hash, unsigned distance, unsigned budget,
	       void (*fn)(void *arg, uint32_t id, unsigned distance), void *arg)
{
	for (unsigned b = 0; b < n->bands; b++) {
		for (uint32_t i = *near_head(n, b, hash); i != 0 && budget > 0; budget--) {
			const struct near_entry *e = near_entry(n, i);
			unsigned d = (unsigned)__builtin_popcountll(e->hash ^ hash);

			if (d <= distance && near_first_band(n, e->hash ^ hash) == b)
				fn(arg, e->id, d);
			i = e->next[b];
		}
	}
}
