/*
 * The whole graph, as GraphML or JSON: files and tags are nodes; an edge says how much a tag weighs
 * in a file, and with relations=1 how near two files are. It goes out piece by piece as the client
 * takes it, and shows each part of the index as it is at that moment.
 */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tagger/relate.h"
#include "tagger/tagger.h"
#include "banned.h"

#define EXPORT_PIECE	 (64u << 10)
#define EXPORT_RELATIONS 5u /* of each file */

enum export_part { EXPORT_FILES, EXPORT_TAGS, EXPORT_EDGES, EXPORT_NEAR, EXPORT_END };

struct export
{
	struct tagger *t;
	struct http_request *r;
	bool graphml, relations, some;
	char *scope; /* what r is held to, or NULL */
	struct scope_set set;
	const struct scope_set *only; /* what it saw when it began */
	enum export_part part;
	uint32_t at, at_file; /* the next one */
	char *piece;
	size_t len, max;
};

static void export_free(struct export *x)
{
	free(x->piece);
	free(x->scope);
	free(x->set.bits);
	free(x);
}

__attribute__((format(printf, 2, 3))) static void export_put(struct export *x, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(x->piece + x->len, x->max - x->len, fmt, ap);
	va_end(ap);
	if (n > 0 && (size_t)n < x->max - x->len)
		x->len += (size_t)n;
}

/* As JSON text or as XML text; both are valid UTF-8. */
static void export_text(struct export *x, const char *text)
{
	json_t *json = api_text(text, strlen(text));
	char *coded = !x->graphml ? json_dumps(json, JSON_ENCODE_ANY) : NULL;

	if (!x->graphml) {
		export_put(x, "%s", coded != NULL ? coded : "\"\"");
	} else {
		for (const char *c = json_string_value(json); c != NULL && *c != '\0'; c++) {
			if (*c == '&')
				export_put(x, "&amp;");
			else if (*c == '<')
				export_put(x, "&lt;");
			else if (*c == '>')
				export_put(x, "&gt;");
			else if ((unsigned char)*c < 0x20)
				export_put(x, " "); /* XML has no way to write it */
			else
				export_put(x, "%c", *c);
		}
	}
	free(coded);
	json_decref(json);
}

static void export_file(struct export *x, uint32_t file)
{
	static char path[INDEX_PATH_MAX];
	const struct node *n = index_node(x->t->index, file);

	if (index_path(x->t->index, file, path, sizeof(path)) < 0 ||
	    scope_right(x->scope, path) < SCOPE_READ)
		return;
	if (x->graphml) {
		export_put(x, "<node id=\"f%u\"><data key=\"kind\">%s</data><data key=\"name\">",
			   file, extract_kind_names[n->kind]);
		export_text(x, path);
		export_put(x, "</data></node>\n");
	} else {
		export_put(x, "%s{\"id\":\"f%u\",\"kind\":\"%s\",\"size\":%llu,\"name\":",
			   x->some ? ",\n" : "", file, extract_kind_names[n->kind],
			   (unsigned long long)n->size);
		export_text(x, path);
		export_put(x, "}");
	}
	x->some = true;
}

static void export_tag(struct export *x, uint32_t tag)
{
	if (x->graphml)
		export_put(x, "<node id=\"t%u\"><data key=\"kind\">tag</data><data key=\"name\">",
			   tag);
	else
		export_put(x, "%s{\"id\":\"t%u\",\"kind\":\"tag\",\"name\":", x->some ? ",\n" : "",
			   tag);
	export_text(x, index_tag_text(x->t->index, tag));
	export_put(x, "%s", x->graphml ? "</data></node>\n" : "}");
	x->some = true;
}

static void export_edge(struct export *x, char from, uint32_t a, uint32_t b, double weight)
{
	if (x->graphml)
		export_put(x,
			   "<edge source=\"%c%u\" target=\"f%u\"><data key=\"weight\">%.3f</data>"
			   "</edge>\n",
			   from, a, b, weight);
	else
		export_put(x, "%s{\"from\":\"%c%u\",\"to\":\"f%u\",\"weight\":%.3f}",
			   x->some ? ",\n" : "", from, a, b, weight);
	x->some = true;
}

static void export_near(struct export *x, uint32_t file)
{
	struct relation near[EXPORT_RELATIONS];
	int n = relate_neighbours(x->t->index, file, x->only, near, EXPORT_RELATIONS);

	for (int i = 0; i < n; i++)
		export_edge(x, 'f', file, near[i].file, (double)near[i].weight);
}

static void export_begin(struct export *x)
{
	if (x->graphml)
		export_put(x, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
			      "<graphml xmlns=\"http://graphml.graphdrawing.org/xmlns\">\n"
			      "<key id=\"kind\" for=\"node\" attr.name=\"kind\" "
			      "attr.type=\"string\"/>\n"
			      "<key id=\"name\" for=\"node\" attr.name=\"name\" "
			      "attr.type=\"string\"/>\n"
			      "<key id=\"weight\" for=\"edge\" attr.name=\"weight\" "
			      "attr.type=\"double\"/>\n"
			      "<graph edgedefault=\"undirected\">\n");
	else
		export_put(x, "{\"nodes\":[\n");
}

static void export_next_part(struct export *x)
{
	x->part++;
	x->at = x->at_file = 0;
	if (x->part == EXPORT_EDGES) {
		export_put(x, "%s", x->graphml ? "" : "],\n\"edges\":[\n");
		x->some = false;
	}
	if (x->part == EXPORT_NEAR && !x->relations)
		x->part++;
	if (x->part == EXPORT_END)
		export_put(x, "%s", x->graphml ? "</graph>\n</graphml>\n" : "]}\n");
}

/* One more thing, or the next part. */
static void export_step(struct export *x)
{
	const struct index *ix = x->t->index;
	bool files = x->part == EXPORT_FILES || x->part == EXPORT_NEAR;
	const struct tag *tag;

	if (++x->at >= (files ? ix->next_file : ix->ntags)) {
		export_next_part(x);
		return;
	}
	if (files) {
		if (index_node_find(ix, x->at) == NULL || !scope_has(x->only, x->at))
			return;
		if (x->part == EXPORT_FILES)
			export_file(x, x->at);
		else if (x->at != INDEX_ROOT)
			export_near(x, x->at);
		return;
	}
	tag = &ix->tags[x->at];
	if (tag->n == 0)
		return;
	if (x->part == EXPORT_TAGS) {
		if (scope_tag_files(x->only, tag) > 0)
			export_tag(x, x->at);
		return;
	}
	/* the files of a tag may be more than a piece: go on behind the last one */
	for (uint32_t i = index_tag_seek(tag, 0, x->at_file); i < tag->n; i++) {
		if (x->len > EXPORT_PIECE) {
			x->at_file = index_tag_file(tag, i);
			x->at--;
			return;
		}
		if (scope_has(x->only, index_tag_file(tag, i)))
			export_edge(x, 't', x->at, index_tag_file(tag, i),
				    index_tag_weight(tag, i) / 255.0);
	}
	x->at_file = 0;
}

static void export_gone(void *arg)
{
	struct export *x = arg;

	http_stream_end(x->r);
	export_free(x);
}

static void export_next(void *arg)
{
	struct export *x = arg;

	if (x->part == EXPORT_END) {
		http_stream_end(x->r);
		export_free(x);
		return;
	}
	while (x->len <= EXPORT_PIECE && x->part != EXPORT_END)
		export_step(x);
	http_stream_drained(x->r, export_next, x);
	http_stream_write(x->r, x->piece, x->len);
	x->len = 0;
}

void api_export(struct tagger *t, struct http_request *r)
{
	const char *format = http_query(r, "format");
	struct export *x = calloc(1, sizeof(*x));

	if (format != NULL && strcmp(format, "json") != 0 && strcmp(format, "graphml") != 0) {
		free(x);
		api_error(r, 400, "bad_request", "format is json or graphml.");
		return;
	}
	if (x != NULL) {
		x->t = t;
		x->r = r;
		x->graphml = format != NULL && strcmp(format, "graphml") == 0;
		x->relations = http_query(r, "relations") != NULL;
		/* one more thing than a piece: a path six times as long, coded */
		x->max = EXPORT_PIECE + 8 * INDEX_PATH_MAX;
		x->piece = malloc(x->max);
	}
	if (x != NULL && x->piece != NULL && api_scope(r) != NULL) {
		x->scope = strdup(api_scope(r));
		if (x->scope == NULL || scope_set(x->scope, t->index, &x->set) != 0) {
			free(x->piece);
			x->piece = NULL;
		}
		x->only = &x->set;
	}
	if (x == NULL || x->piece == NULL) {
		if (x != NULL)
			export_free(x);
		api_errno(r, -ENOMEM, "The export");
		return;
	}
	if (r->head) {
		http_reply(r, 200, x->graphml ? "application/xml" : "application/json", "", 0);
		export_free(x);
		return;
	}
	http_header(r, "Content-Disposition",
		    x->graphml ? "attachment; filename=graph.graphml"
			       : "attachment; filename=graph.json");
	http_stream_start(r, 200, x->graphml ? "application/xml" : "application/json", export_gone,
			  x);
	export_begin(x);
	export_next(x);
}
