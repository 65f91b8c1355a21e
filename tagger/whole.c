/* See whole.h. */
#include "config.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "tagger/whole.h"
#include "banned.h"

#define TAGS_PART	5u /* of the nodes, one in so many is a tag */
#define COMMON_FRACTION 8u /* a tag of more than this part of all files would be joined to all */
#define COMMON_MIN	32u
#define TAG_FILES_MIN	2u /* a tag of one file joins nothing */

struct whole_tag {
	uint32_t number, files;
};

/* What weighs most for a file; where there is none the weight is 0. */
struct whole_best {
	float weight[WHOLE_LINKS];
	uint32_t tag[WHOLE_LINKS]; /* places in the chosen tags */
};

struct whole_file {
	uint32_t number;
	float sum;
};

static int by_files(const void *a, const void *b)
{
	const struct whole_tag *x = a, *y = b;

	if (x->files != y->files)
		return x->files < y->files ? 1 : -1;
	return x->number < y->number ? -1 : x->number > y->number;
}

static int by_sum(const void *a, const void *b)
{
	const struct whole_file *x = a, *y = b;

	if (x->sum < y->sum || x->sum > y->sum)
		return x->sum < y->sum ? 1 : -1;
	return x->number < y->number ? -1 : x->number > y->number;
}

/* The tags of most files, but those of nearly all. How many. */
static uint32_t choose_tags(const struct index *ix, const struct scope_set *only, uint32_t max,
			    struct whole_tag *out)
{
	uint32_t common = ix->nfiles / COMMON_FRACTION, n = 0;

	if (common < COMMON_MIN)
		common = COMMON_MIN;
	for (uint32_t i = 1; i < ix->ntags; i++) {
		uint32_t files = ix->tags[i].n;

		if (files >= TAG_FILES_MIN && only != NULL)
			files = scope_tag_files(only, &ix->tags[i]);
		if (files >= TAG_FILES_MIN && ix->tags[i].n <= common)
			out[n++] = (struct whole_tag){i, files};
	}
	qsort(out, n, sizeof(*out), by_files);
	return n < max ? n : max;
}

static void best_add(struct whole_best *b, uint32_t tag, float weight)
{
	unsigned i = WHOLE_LINKS;

	for (; i > 0 && weight > b->weight[i - 1]; i--)
		if (i < WHOLE_LINKS) {
			b->weight[i] = b->weight[i - 1];
			b->tag[i] = b->tag[i - 1];
		}
	if (i < WHOLE_LINKS) {
		b->weight[i] = weight;
		b->tag[i] = tag;
	}
}

static void weigh(const struct index *ix, const struct scope_set *only,
		  const struct whole_tag *tags, uint32_t ntags, struct whole_best *best)
{
	float most = logf((float)ix->nfiles + 1);

	for (uint32_t i = 0; i < ntags; i++) {
		const struct tag *t = &ix->tags[tags[i].number];
		float tells = logf((float)ix->nfiles / (float)t->n + 1) / most;

		for (uint32_t k = 0; k < t->n; k++) {
			uint32_t file = index_tag_file(t, k);

			if (scope_has(only, file) &&
			    index_node(ix, file)->kind != EXTRACT_KIND_FOLDER)
				best_add(&best[file], i,
					 tells * ((float)index_tag_weight(t, k) + 1) / 256);
		}
	}
}

static uint32_t choose_files(const struct index *ix, const struct scope_set *only,
			     const struct whole_best *best, uint32_t max, struct whole_file *out)
{
	uint32_t n = 0;

	for (uint32_t file = 1; file < ix->next_file; file++) {
		const struct node *node = index_node_find(ix, file);
		float sum = 0;

		if (node == NULL || node->kind == EXTRACT_KIND_FOLDER || !scope_has(only, file))
			continue;
		for (unsigned i = 0; i < WHOLE_LINKS; i++)
			sum += best[file].weight[i];
		out[n++] = (struct whole_file){file, sum};
	}
	if (n <= max)
		return n;
	qsort(out, n, sizeof(*out), by_sum);
	return max;
}

/* place: where a chosen tag is in the picture, plus one; 0 as long as no file has brought it in. */
static void join(struct whole *w, const struct whole_tag *tags, const struct whole_file *files,
		 uint32_t nfiles, const struct whole_best *best, uint32_t *place)
{
	for (uint32_t f = 0; f < nfiles; f++) {
		const struct whole_best *b = &best[files[f].number];

		for (unsigned i = 0; i < WHOLE_LINKS && b->weight[i] > 0; i++) {
			uint32_t t = b->tag[i];

			if (place[t] == 0) {
				w->tags[w->ntags] = tags[t].number;
				place[t] = ++w->ntags;
			}
			w->edges[w->nedges++] = (struct whole_edge){place[t] - 1, f, b->weight[i]};
		}
		w->files[w->nfiles++] = files[f].number;
	}
}

int whole_make(const struct index *ix, const struct scope_set *only, uint32_t nodes,
	       struct whole *out)
{
	struct whole_tag *tags = calloc(ix->ntags + 1, sizeof(*tags));
	struct whole_best *best = calloc(ix->next_file + 1, sizeof(*best));
	struct whole_file *files = calloc(ix->next_file + 1, sizeof(*files));
	uint32_t max = nodes / TAGS_PART, *place = calloc(max + 1, sizeof(*place));
	int err = -ENOMEM;

	*out = (struct whole){.tags = calloc(max + 1, sizeof(*out->tags)),
			      .files = calloc(nodes + 1, sizeof(*out->files)),
			      .edges = calloc(nodes + 1, WHOLE_LINKS * sizeof(*out->edges))};
	if (tags != NULL && best != NULL && files != NULL && place != NULL && out->tags != NULL &&
	    out->files != NULL && out->edges != NULL) {
		uint32_t ntags = choose_tags(ix, only, max, tags);

		weigh(ix, only, tags, ntags, best);
		join(out, tags, files, choose_files(ix, only, best, nodes - ntags, files), best,
		     place);
		err = 0;
	}
	free(tags);
	free(best);
	free(files);
	free(place);
	if (err != 0)
		whole_free(out);
	return err;
}

void whole_free(struct whole *w)
{
	free(w->tags);
	free(w->files);
	free(w->edges);
	*w = (struct whole){0};
}
