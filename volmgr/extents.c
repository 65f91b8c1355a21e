/* The extent maps of all volumes, as the metadata has them. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "moving.h"
#include "records.h"
#include "banned.h"

#define EXTENT_PREFIX "1/extent/"

struct walk {
	struct cluster *cluster;
	struct vol *vol; /* of the last one: they come sorted by volume */
	uint64_t id;
	int (*fn)(void *arg, struct vol *v, const struct extent_record *r);
	void *arg;
};

static struct vol *walk_vol(struct walk *w, const char *key)
{
	uint64_t id = strtoull(key + strlen(EXTENT_PREFIX), NULL, 16);
	struct cluster *c = w->cluster;

	if (w->vol != NULL && w->id == id)
		return w->vol;
	w->vol = NULL;
	w->id = id;
	for (unsigned i = 0; i < c->nvols; i++)
		if (c->vols[i]->id == id)
			w->vol = c->vols[i];
	return w->vol;
}

static int walk_one(void *arg, const char *key, const void *value, size_t len)
{
	struct walk *w = arg;
	struct vol *v = walk_vol(w, key);
	struct extent_record r;

	if (v == NULL)
		return 0;
	if (record_extent_parse(key, value, len, v->k + v->m, &r) != 0)
		return -EUCLEAN;
	return w->fn(w->arg, v, &r);
}

int extents_each(struct cluster *c,
		 int (*fn)(void *arg, struct vol *v, const struct extent_record *r), void *arg)
{
	struct walk w = {.cluster = c, .fn = fn, .arg = arg};

	return c->meta->ops->each(c->meta, EXTENT_PREFIX, walk_one, &w);
}
