/* The API's routes that tell how files are related. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tagger/query.h"
#include "tagger/relate.h"
#include "tagger/tagger.h"
#include "tagger/whole.h"
#include "banned.h"

#define NEIGHBOURS_LIMIT 10
#define GRAPH_NODES	 60
#define GRAPH_DEPTH	 2
#define GRAPH_DEPTH_MAX	 5

static json_t *why_json(const struct index *ix, const struct relation *r)
{
	static const struct {
		uint8_t bit;
		const char *name;
	} whys[] = {{RELATE_TAGS, "tags"},
		    {RELATE_TEXT, "text"},
		    {RELATE_PICTURE, "picture"},
		    {RELATE_LINK, "link"},
		    {RELATE_FOLDER, "folder"}};
	json_t *why = json_array();

	for (size_t i = 0; i < sizeof(whys) / sizeof(whys[0]); i++)
		if (r->why & whys[i].bit)
			json_array_append_new(why, json_string(whys[i].name));
	return why;
}

static void relation_json(const struct index *ix, json_t *to, const struct relation *r)
{
	json_object_set_new(to, "weight", json_real((double)r->weight));
	json_object_set_new(to, "why", why_json(ix, r));
	if (r->tag != 0)
		json_object_set_new(to, "tag", json_string(index_tag_text(ix, r->tag)));
}

void api_neighbours(struct tagger *t, struct http_request *r)
{
	struct relation near[RELATE_MAX];
	uint32_t file = api_file(t, r), limit;
	const struct scope_set *only;
	struct scope_set set;
	json_t *files;
	int n;

	if (file == 0 || !api_number(r, "limit", NEIGHBOURS_LIMIT, RELATE_MAX, &limit) ||
	    !api_only(t, r, &set, &only))
		return;
	n = relate_neighbours(t->index, file, only, near, limit);
	free(set.bits);
	if (n < 0) {
		api_errno(r, n, "The index");
		return;
	}
	files = json_array();
	for (int i = 0; i < n; i++) {
		json_t *f = api_file_json(t, near[i].file);

		relation_json(t->index, f, &near[i]);
		json_array_append_new(files, f);
	}
	api_json(r, 200, json_pack("{s:o}", "files", files));
}

static json_t *graph_json(const struct tagger *t, const struct relate_graph *g,
			  const struct scope_set *only)
{
	json_t *nodes = json_array(), *edges = json_array();

	for (unsigned i = 0; i < g->nnodes; i++) {
		const struct relate_node *n = &g->nodes[i];
		json_t *node;

		if (n->is_tag)
			node = json_pack(
				"{s:s, s:I}", "tag", index_tag_text(t->index, n->number), "files",
				(json_int_t)scope_tag_files(only, &t->index->tags[n->number]));
		else
			node = api_file_json(t, n->number);
		json_object_set_new(node, "depth", json_integer(n->depth));
		json_array_append_new(nodes, node);
	}
	for (unsigned i = 0; i < g->nedges; i++) {
		json_t *edge = json_pack("{s:I, s:I}", "from", (json_int_t)g->edges[i].from, "to",
					 (json_int_t)g->edges[i].to);

		relation_json(t->index, edge, &g->edges[i].r);
		json_array_append_new(edges, edge);
	}
	return json_pack("{s:o, s:o}", "nodes", nodes, "edges", edges);
}

/* total: of how many files it may be a part; negative: that is not told. */
static json_t *whole_json(const struct tagger *t, const struct whole *w,
			  const struct scope_set *only, json_int_t total)
{
	json_t *nodes = json_array(), *edges = json_array();
	const struct index *ix = t->index;
	static char path[INDEX_PATH_MAX];

	for (uint32_t i = 0; i < w->ntags; i++)
		json_array_append_new(
			nodes,
			json_pack("{s:s, s:I}", "tag", index_tag_text(ix, w->tags[i]), "files",
				  (json_int_t)scope_tag_files(only, &ix->tags[w->tags[i]])));
	for (uint32_t i = 0; i < w->nfiles; i++) {
		int len = index_path(ix, w->files[i], path, sizeof(path));

		json_array_append_new(
			nodes, json_pack("{s:I, s:s, s:o}", "id", (json_int_t)w->files[i], "kind",
					 extract_kind_names[index_node(ix, w->files[i])->kind],
					 "path", api_text(path, len < 0 ? 0 : (size_t)len)));
	}
	for (uint32_t i = 0; i < w->nedges; i++)
		json_array_append_new(edges, json_pack("[I,I,f]", (json_int_t)w->edges[i].tag,
						       (json_int_t)w->ntags + w->edges[i].file,
						       (double)w->edges[i].weight));
	return json_pack("{s:o, s:o, s:o*}", "nodes", nodes, "edges", edges, "files",
			 total >= 0 ? json_integer(total) : NULL);
}

/* Of the files that are seen, the best of those that a search finds. set is to be freed in any
 * case; false: answered. */
static bool graph_found(struct tagger *t, struct http_request *r, const char *q,
			struct scope_set *set, const struct scope_set **only, json_int_t *total)
{
	struct query_result found;
	const char *why;
	uint64_t *bits;
	int err = query_run(t->index, q, *only, QUERY_BEST, 0, QUERY_LIMIT_MAX, &found, &why);

	if (err != 0) {
		api_error(r, err == -EINVAL ? 400 : 500, "bad_search", "%s", why);
		return false;
	}
	bits = calloc((t->index->next_file + 63) / 64, sizeof(*bits));
	for (uint32_t i = 0; bits != NULL && i < found.n; i++)
		bits[found.hits[i].file / 64] |= UINT64_C(1) << found.hits[i].file % 64;
	*total = (json_int_t)found.total;
	query_result_free(&found);
	if (bits == NULL) {
		api_errno(r, -ENOMEM, "The index");
		return false;
	}
	free(set->bits);
	*set = (struct scope_set){.bits = bits, .files = t->index->next_file};
	*only = set;
	return true;
}

/* Of everything, or what a search finds, as far as it can be told apart. */
static void api_graph_whole(struct tagger *t, struct http_request *r)
{
	const char *q = http_query(r, "q");
	const struct scope_set *only;
	struct scope_set set;
	json_int_t total;
	struct whole w;
	uint32_t nodes;
	int err;

	if (!api_number(r, "nodes", WHOLE_NODES_MAX, WHOLE_NODES_MAX, &nodes) ||
	    !api_only(t, r, &set, &only))
		return;
	total = only == NULL ? (json_int_t)t->index->nfiles : -1;
	if (q != NULL && *q != '\0' && !graph_found(t, r, q, &set, &only, &total)) {
		free(set.bits);
		return;
	}
	err = whole_make(t->index, only, nodes, &w);
	if (err != 0) {
		api_errno(r, err, "The index");
	} else {
		api_json(r, 200, whole_json(t, &w, only, total));
		whole_free(&w);
	}
	free(set.bits);
}

void api_graph(struct tagger *t, struct http_request *r)
{
	const char *tag = http_query(r, "tag");
	uint32_t start, nodes, depth, tags;
	const struct scope_set *only;
	struct scope_set set;
	struct relate_graph *g;
	int err;

	if (http_query(r, "whole") != NULL) {
		api_graph_whole(t, r);
		return;
	}
	if (!api_number(r, "nodes", GRAPH_NODES, RELATE_NODES_MAX, &nodes) ||
	    !api_number(r, "depth", GRAPH_DEPTH, GRAPH_DEPTH_MAX, &depth) ||
	    !api_number(r, "tags", 1, 1, &tags))
		return;
	start = tag != NULL ? index_tag_find(t->index, tag, strlen(tag)) : api_file(t, r);
	if (start == 0 && tag == NULL)
		return;
	if (!api_only(t, r, &set, &only))
		return;
	/* a tag of files that one does not see is none */
	if (start == 0 || (tag != NULL && scope_tag_files(only, &t->index->tags[start]) == 0)) {
		free(set.bits);
		api_error(r, 404, "not_found", "There is no such tag.");
		return;
	}
	g = malloc(sizeof(*g));
	err = g != NULL
		      ? relate_graph(t->index, start, tag != NULL, nodes, depth, tags != 0, only, g)
		      : -ENOMEM;
	if (err != 0)
		api_errno(r, err, "The index");
	else
		api_json(r, 200, graph_json(t, g, only));
	free(g);
	free(set.bits);
}
