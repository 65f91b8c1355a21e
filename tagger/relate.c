/* See relate.h. */
#include "config.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tagger/relate.h"
#include "banned.h"

#define SUMS_MAX	32768u /* power of two, more than RELATE_BUDGET */
#define NEAR_BUDGET	4000u
#define LINKS_BUDGET	200u
#define TEXT_BITS	6u
#define PICTURE_BITS	9u
#define WEIGHT_FOLDER	0.05f
#define WEIGHT_LINK	0.5f
#define WEIGHT_NEAR	0.9f
#define COMMON_FRACTION 4u /* a tag of more than a quarter of all files relates nothing */
#define COMMON_MIN	64u

struct sum {
	uint32_t file, tag;
	float sum, best;
	uint8_t why;
};

/* Sums of one question; one thread, so there is one of these. */
static struct {
	struct sum slots[SUMS_MAX];
	uint32_t used[SUMS_MAX];
	uint32_t n;
	uint32_t self;
	const struct scope_set *only;
	float whole; /* what a file shares with itself */
} sums;

static struct sum *sum_of(uint32_t file)
{
	uint32_t i = file * 0x9e3779b1u & (SUMS_MAX - 1);

	while (sums.slots[i].file != 0 && sums.slots[i].file != file)
		i = (i + 1) & (SUMS_MAX - 1);
	if (sums.slots[i].file == 0) {
		if (sums.n >= SUMS_MAX - SUMS_MAX / 8)
			return NULL;
		sums.slots[i].file = file;
		sums.used[sums.n++] = i;
	}
	return &sums.slots[i];
}

static void sums_clear(void)
{
	for (uint32_t i = 0; i < sums.n; i++)
		sums.slots[sums.used[i]] = (struct sum){0};
	sums.n = 0;
}

static void sum_add(uint32_t file, float weight, uint8_t why, uint32_t tag)
{
	struct sum *s = file != sums.self && scope_has(sums.only, file) ? sum_of(file) : NULL;

	if (s == NULL)
		return;
	s->sum += weight;
	s->why |= why;
	if (tag != 0 && weight > s->best) {
		s->best = weight;
		s->tag = tag;
	}
}

/* ---- what counts --------------------------------------------------------------------------- */

struct weighed {
	uint32_t tag, n;
	float weight; /* of the file in it, times its rarity squared */
};

static int weighed_compare(const void *a, const void *b)
{
	const struct weighed *x = a, *y = b;

	return (x->n > y->n) - (x->n < y->n);
}

static void relate_tags(const struct index *ix, const struct record *r)
{
	struct weighed w[RECORD_TAGS_MAX];
	uint32_t all = ix->nfiles + ix->nfolders, budget = RELATE_BUDGET;
	size_t n = 0;

	for (size_t i = 0; i < r->ntags; i++) {
		uint32_t tag = r->tags[i].tag;
		float idf = index_idf(ix, tag), own = r->tags[i].weight / 255.0f;

		if (ix->tags[tag].n > COMMON_MIN && ix->tags[tag].n > all / COMMON_FRACTION)
			continue;
		w[n++] = (struct weighed){tag, ix->tags[tag].n, own * idf * idf};
		sums.whole += own * own * idf * idf;
	}
	qsort(w, n, sizeof(w[0]), weighed_compare);
	for (size_t i = 0; i < n && budget > 0; i++) {
		const struct tag *t = &ix->tags[w[i].tag];
		uint32_t take = t->n < budget ? t->n : budget, from = 0;

		/* of a tag too common for what is left, those met at about the same time */
		if (take < t->n) {
			from = index_tag_seek(t, 0, sums.self);
			from = from > take / 2 ? from - take / 2 : 0;
			from = from + take > t->n ? t->n - take : from;
		}
		for (uint32_t k = from; k < from + take; k++)
			sum_add(index_tag_file(t, k), w[i].weight * index_tag_weight(t, k) / 255.0f,
				RELATE_TAGS, w[i].tag);
		budget -= take;
	}
}

static void near_text(void *arg, uint32_t file, unsigned distance)
{
	sum_add(file, sums.whole * (WEIGHT_NEAR - 0.05f * (float)distance), RELATE_TEXT, 0);
}

static void near_picture(void *arg, uint32_t file, unsigned distance)
{
	sum_add(file, sums.whole * (WEIGHT_NEAR - 0.05f * (float)distance), RELATE_PICTURE, 0);
}

static void link_from(void *arg, uint32_t from)
{
	sum_add(from, sums.whole * WEIGHT_LINK, RELATE_LINK, 0);
}

static void relate_links(const struct index *ix, uint32_t file, const struct record *r)
{
	static char path[INDEX_PATH_MAX];

	for (size_t i = 0; i < r->nlinks; i++) {
		int len = index_link_target(ix, file, &r->links[i], path, sizeof(path));
		uint32_t to = len >= 0 ? index_by_path(ix, path, (size_t)len) : 0;

		if (to != 0 && to != INDEX_ROOT)
			sum_add(to, sums.whole * WEIGHT_LINK, RELATE_LINK, 0);
	}
	index_links_to(ix, file, LINKS_BUDGET, link_from, NULL);
}

static void relate_folder(const struct index *ix, uint32_t file)
{
	const struct node *n = index_node(ix, file);
	uint32_t count = 0;

	for (uint32_t f = index_node(ix, n->parent)->child; f != 0; f = index_node(ix, f)->next)
		if (++count > RELATE_FOLDER_MAX)
			return;
	for (uint32_t f = index_node(ix, n->parent)->child; f != 0; f = index_node(ix, f)->next)
		sum_add(f, sums.whole * WEIGHT_FOLDER, RELATE_FOLDER, 0);
}

static unsigned relate_best(const struct index *ix, struct relation *out, unsigned max)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < sums.n; i++) {
		const struct sum *s = &sums.slots[sums.used[i]];
		unsigned at = n;

		if (index_node_find(ix, s->file) == NULL || s->file == INDEX_ROOT)
			continue;
		if (n == max && s->sum <= out[n - 1].weight)
			continue;
		at -= n == max;
		for (; at > 0 && out[at - 1].weight < s->sum; at--)
			out[at] = out[at - 1];
		out[at] = (struct relation){s->file, s->sum, s->why, s->tag};
		n += n < max;
	}
	for (unsigned i = 0; i < n; i++) {
		float share = sums.whole > 0 ? out[i].weight / sums.whole : 0;

		out[i].weight = share < 1.0f ? share : 1.0f;
	}
	return n;
}

int relate_neighbours(struct index *ix, uint32_t file, const struct scope_set *only,
		      struct relation *out, unsigned max)
{
	struct index_record *rec = malloc(sizeof(*rec));
	unsigned n;
	int err = rec != NULL ? index_get(ix, file, rec) : -ENOMEM;

	if (err != 0 || max == 0 || file == INDEX_ROOT) {
		if (err == 0)
			index_record_free(rec);
		free(rec);
		return err;
	}
	sums.self = file;
	sums.only = only;
	sums.whole = 0;
	relate_tags(ix, &rec->r);
	if (sums.whole <= 0)
		sums.whole = 1;
	if (rec->r.flags & RECORD_SIMHASH)
		near_find(ix->texts_near, rec->r.simhash, TEXT_BITS, NEAR_BUDGET, near_text, NULL);
	if (rec->r.flags & RECORD_PHASH)
		near_find(ix->pictures_near, rec->r.phash, PICTURE_BITS, NEAR_BUDGET, near_picture,
			  NULL);
	relate_links(ix, file, &rec->r);
	relate_folder(ix, file);
	n = relate_best(ix, out, max < RELATE_MAX ? max : RELATE_MAX);
	sums_clear();
	index_record_free(rec);
	free(rec);
	return (int)n;
}

/* ---- graphs -------------------------------------------------------------------------------- */

/* Its place in the graph, made when there is room. -1: there is none. */
static int graph_node(struct relate_graph *g, uint32_t number, bool is_tag, unsigned depth,
		      unsigned max)
{
	for (unsigned i = 0; i < g->nnodes; i++)
		if (g->nodes[i].number == number && g->nodes[i].is_tag == is_tag)
			return (int)i;
	if (g->nnodes >= max)
		return -1;
	g->nodes[g->nnodes] = (struct relate_node){number, is_tag, (uint8_t)depth};
	return (int)g->nnodes++;
}

static void graph_edge(struct relate_graph *g, unsigned a, unsigned b, const struct relation *r)
{
	uint32_t from = a < b ? a : b, to = a < b ? b : a;

	for (unsigned i = 0; i < g->nedges; i++)
		if (g->edges[i].from == from && g->edges[i].to == to) {
			if (r->weight > g->edges[i].r.weight)
				g->edges[i].r = *r;
			return;
		}
	if (g->nedges < RELATE_EDGES_MAX && a != b)
		g->edges[g->nedges++] = (struct relate_edge){from, to, *r};
}

static int graph_file(struct index *ix, struct relate_graph *g, const struct scope_set *only,
		      unsigned at, unsigned max)
{
	struct relation near[RELATE_FANOUT];
	int n = relate_neighbours(ix, g->nodes[at].number, only, near, RELATE_FANOUT);

	for (int i = 0; i < n; i++) {
		int to = graph_node(g, near[i].file, false, g->nodes[at].depth + 1u, max);

		if (to >= 0)
			graph_edge(g, at, (unsigned)to, &near[i]);
	}
	return n < 0 ? n : 0;
}

/* The files with the heaviest weights in a tag. */
static void graph_tag(const struct index *ix, struct relate_graph *g, const struct scope_set *only,
		      unsigned at, unsigned max)
{
	const struct tag *t = &ix->tags[g->nodes[at].number];
	unsigned some = max / 2 > 0 ? max / 2 : 1;

	for (int w = 255; w >= 0 && some > 0; w -= 16)
		for (uint32_t i = 0; i < t->n && some > 0; i++) {
			uint8_t its = index_tag_weight(t, i);
			struct relation r = {.file = index_tag_file(t, i),
					     .weight = its / 255.0f,
					     .why = RELATE_TAGS,
					     .tag = g->nodes[at].number};
			int to;

			if (its > w || its <= w - 16 || !scope_has(only, r.file))
				continue;
			to = graph_node(g, r.file, false, 1, max);
			if (to >= 0)
				graph_edge(g, at, (unsigned)to, &r);
			some--;
		}
}

/* Tags that tell most of the files that are there, as nodes of their own. */
static int graph_tags(struct index *ix, struct relate_graph *g, unsigned max)
{
	unsigned nfiles = g->nnodes;
	int err = 0;

	for (unsigned i = 0; i < nfiles && err == 0; i++) {
		struct index_record rec;
		bool taken[RECORD_TAGS_MAX] = {false};

		if (g->nodes[i].is_tag)
			continue;
		err = index_get(ix, g->nodes[i].number, &rec);
		for (unsigned k = 0; err == 0 && k < RELATE_TAGS_MAX; k++) {
			float best = 0;
			int which = -1, to;

			for (size_t j = 0; j < rec.r.ntags; j++) {
				float w = rec.r.tags[j].weight * index_idf(ix, rec.r.tags[j].tag);

				if (!taken[j] && w > best && ix->tags[rec.r.tags[j].tag].n > 1) {
					best = w;
					which = (int)j;
				}
			}
			if (which < 0)
				break;
			taken[which] = true;
			to = graph_node(g, rec.r.tags[which].tag, true, g->nodes[i].depth + 1u,
					max);
			if (to >= 0)
				graph_edge(g, i, (unsigned)to,
					   &(struct relation){.weight = rec.r.tags[which].weight /
									255.0f,
							      .why = RELATE_TAGS,
							      .tag = rec.r.tags[which].tag});
		}
		if (err == 0)
			index_record_free(&rec);
	}
	return err;
}

int relate_graph(struct index *ix, uint32_t start, bool is_tag, unsigned nodes, unsigned depth,
		 bool with_tags, const struct scope_set *only, struct relate_graph *out)
{
	unsigned max = nodes < RELATE_NODES_MAX ? nodes : RELATE_NODES_MAX;
	unsigned files_max = with_tags ? max - max / 3 : max;
	int err = 0;

	out->nnodes = out->nedges = 0;
	graph_node(out, start, is_tag, 0, 1);
	for (unsigned at = 0; at < out->nnodes && err == 0; at++) {
		if (out->nodes[at].depth >= depth)
			break;
		if (out->nodes[at].is_tag)
			graph_tag(ix, out, only, at, files_max);
		else
			err = graph_file(ix, out, only, at, files_max);
	}
	return err == 0 && with_tags ? graph_tags(ix, out, max) : err;
}
