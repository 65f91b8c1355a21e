/*
 * What has to leave the bin: what is too old, and, when there are too many entries or too few bytes
 * are free, the oldest of whoever has most in it. So who deletes very much ends what is his own in
 * the bin, and not what others may want back. Pure.
 */
#include "config.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tagger/bin.h"
#include "banned.h"

/* An entry, sorted by who has deleted it and then by age. */
struct pick {
	const char *by;
	size_t at;
};

/* Who has deleted something: what is left of it are those from next on that are not gone. */
struct owner {
	size_t next, end;
	size_t n;
	uint64_t bytes;
};

struct picking {
	struct bin_entry *const *entries;
	struct pick *picks;
	struct owner *owners;
	size_t nowners;
	bool *gone;
	size_t taken;
	uint64_t freed;
};

static int pick_compare(const void *a, const void *b)
{
	const struct pick *x = a, *y = b;
	int c = strcmp(x->by, y->by);

	return c != 0 ? c : (x->at > y->at) - (x->at < y->at);
}

static void take(struct picking *p, struct owner *o, size_t at)
{
	uint64_t size = p->entries[at]->size;

	assert(!p->gone[at] && o->n > 0 && o->bytes >= size);
	p->gone[at] = true;
	p->taken++;
	p->freed += size;
	o->n--;
	o->bytes -= size;
}

static void take_oldest(struct picking *p, struct owner *o)
{
	while (p->gone[p->picks[o->next].at])
		o->next++;
	assert(o->next < o->end);
	take(p, o, p->picks[o->next].at);
}

static void find_owners(struct picking *p, size_t n)
{
	struct owner *o = NULL;

	for (size_t i = 0; i < n; i++)
		p->picks[i] = (struct pick){p->entries[i]->by, i};
	qsort(p->picks, n, sizeof(*p->picks), pick_compare);
	for (size_t i = 0; i < n; i++) {
		if (i == 0 || strcmp(p->picks[i].by, p->picks[i - 1].by) != 0) {
			o = &p->owners[p->nowners++];
			*o = (struct owner){.next = i};
		}
		o->end = i + 1;
		o->n++;
		o->bytes += p->entries[p->picks[i].at]->size;
	}
}

static void take_old(struct picking *p, int64_t until)
{
	for (size_t i = 0; i < p->nowners; i++) {
		struct owner *o = &p->owners[i];

		for (size_t j = o->next; j < o->end; j++)
			if (p->entries[p->picks[j].at]->time <= until)
				take(p, o, p->picks[j].at);
	}
}

static struct owner *heaviest(struct picking *p, bool by_bytes)
{
	struct owner *most = &p->owners[0];

	for (size_t i = 1; i < p->nowners; i++) {
		struct owner *o = &p->owners[i];

		if (by_bytes ? o->bytes > most->bytes : o->n > most->n)
			most = o;
	}
	return most;
}

size_t bin_pick(struct bin_entry *const *entries, size_t n, size_t max, uint64_t missing,
		int64_t until, bool *gone)
{
	struct picking p = {.entries = entries, .gone = gone};
	struct owner *o;

	memset(gone, 0, n * sizeof(*gone));
	if (n == 0)
		return 0;
	p.picks = malloc(n * sizeof(*p.picks));
	p.owners = malloc(n * sizeof(*p.owners));
	if (p.picks != NULL && p.owners != NULL) {
		find_owners(&p, n);
		take_old(&p, until);
		while (n - p.taken > max)
			take_oldest(&p, heaviest(&p, false));
		/* what takes no space makes none */
		while (p.freed < missing && (o = heaviest(&p, true))->bytes > 0)
			take_oldest(&p, o);
	}
	free(p.picks);
	free(p.owners);
	return p.taken;
}
