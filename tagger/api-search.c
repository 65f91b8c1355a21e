/* The API's routes that look at the index: status, search, suggestions, files, tags. */
#include "config.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tagger/tagger.h"
#include "banned.h"

#define SEARCH_LIMIT  50
#define SUGGEST_LIMIT 10
#define SUGGEST_MAX   100
#define FOLDER_LIMIT  500

static json_t *status_pool(const struct tagger *t)
{
	struct pool_stats p = {0};

	if (t->pool != NULL)
		pool_get_stats(t->pool, &p);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "running",
			 (json_int_t)p.workers, "done", (json_int_t)p.done, "failed",
			 (json_int_t)p.failed, "pictures", (json_int_t)p.pictures, "killed_time",
			 (json_int_t)p.killed_time, "killed_sandbox", (json_int_t)p.killed_sandbox,
			 "died", (json_int_t)p.died, "replaced", (json_int_t)p.replaced);
}

/* Of this process alone; workers have limits of their own. */
static json_int_t status_memory(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f != NULL) {
		if (fscanf(f, "%*u %lu", &pages) != 1)
			pages = 0;
		fclose(f);
	}
	return (json_int_t)pages * sysconf(_SC_PAGESIZE);
}

static json_t *status_aside(const struct tagger *t)
{
	struct aside_stats s;

	aside_get_stats(t->aside, &s);
	return json_pack("{s:i, s:i}", "running", (int)s.running, "waiting", (int)s.waiting);
}

void api_status(struct tagger *t, struct http_request *r)
{
	struct scan_progress p;
	const struct index *ix = t->index;
	json_t *body;

	scan_get_progress(t->scan, &p);
	if (api_scope(r) != NULL) {
		/* how much others have is not told */
		api_json(r, 200,
			 json_pack("{s:s, s:s, s:b, s:b, s:b}", "version", PACKAGE_VERSION,
				   "follows", watch_name(t->watch), "walking", p.walking, "idle",
				   scan_is_idle(t->scan), "stuck", ix->stuck));
		return;
	}
	body = json_pack("{s:o, s:s, s:b, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
			 "s:f, s:f, s:o}",
			 "dir", api_text(t->tree.dir, strlen(t->tree.dir)), "follows",
			 watch_name(t->watch), "walking", p.walking, "idle", scan_is_idle(t->scan),
			 "stuck", ix->stuck, "files", (json_int_t)ix->nfiles, "folders",
			 (json_int_t)ix->nfolders, "bytes", (json_int_t)ix->bytes, "tags",
			 (json_int_t)(ix->ntags > 0 ? ix->ntags - 1 : 0), "seen",
			 (json_int_t)p.seen, "waiting", (json_int_t)p.waiting, "done",
			 (json_int_t)p.done, "failed", (json_int_t)ix->nfailed, "overflows",
			 (json_int_t)p.overflows, "files_per_s", p.files_per_s, "seconds_left",
			 p.left_s, "workers", status_pool(t));
	json_object_set_new(body, "version", json_string(PACKAGE_VERSION));
	json_object_set_new(body, "prefetch", prefetch_json(t->prefetch));
	json_object_set_new(body, "aside", status_aside(t));
	json_object_set_new(body, "memory_bytes", json_integer(status_memory()));
	api_json(r, 200, body);
}

/* sort stays as it is when nothing is asked; false: answered. */
static bool sort_asked(struct http_request *r, enum query_sort *sort)
{
	const char *order = http_query(r, "sort");

	if (order == NULL || query_sort_from_name(order, sort))
		return true;
	api_error(r, 400, "bad_request",
		  "sort is best, name, newest, oldest, largest or smallest.");
	return false;
}

void api_search(struct tagger *t, struct http_request *r)
{
	const char *q = http_query(r, "q"), *why;
	enum query_sort sort = QUERY_BEST;
	struct query_result found;
	const struct scope_set *only;
	struct scope_set set;
	uint32_t offset, limit;
	json_t *hits;
	int err;

	if (!api_number(r, "offset", 0, QUERY_OFFSET_MAX, &offset) ||
	    !api_number(r, "limit", SEARCH_LIMIT, QUERY_LIMIT_MAX, &limit))
		return;
	if (!sort_asked(r, &sort) || !api_only(t, r, &set, &only))
		return;
	err = query_run(t->index, q != NULL ? q : "", only, sort, offset, limit, &found, &why);
	free(set.bits);
	if (err != 0) {
		api_error(r, err == -EINVAL ? 400 : 500, "bad_search", "%s", why);
		return;
	}
	hits = json_array();
	for (uint32_t i = 0; i < found.n; i++) {
		json_t *f = api_file_json(t, found.hits[i].file);

		json_object_set_new(f, "score", json_real((double)found.hits[i].score));
		json_array_append_new(hits, f);
	}
	api_json(r, 200,
		 json_pack("{s:I, s:I, s:o}", "total", (json_int_t)found.total, "offset",
			   (json_int_t)offset, "files", hits));
	query_result_free(&found);
}

static json_t *tag_json(const struct index *ix, const struct query_tag *q)
{
	return json_pack("{s:s, s:I}", "tag", index_tag_text(ix, q->tag), "files",
			 (json_int_t)q->files);
}

void api_suggest(struct tagger *t, struct http_request *r)
{
	struct query_tag found[SUGGEST_MAX];
	const char *q = http_query(r, "q");
	const struct scope_set *only;
	struct scope_set set;
	json_t *tags;
	uint32_t limit;
	unsigned n;

	if (!api_number(r, "limit", SUGGEST_LIMIT, SUGGEST_MAX, &limit) ||
	    !api_only(t, r, &set, &only))
		return;
	tags = json_array();
	n = query_suggest(t->index, q != NULL ? q : "", only, found, limit);
	free(set.bits);
	for (unsigned i = 0; i < n; i++)
		json_array_append_new(tags, tag_json(t->index, &found[i]));
	api_json(r, 200, json_pack("{s:o}", "tags", tags));
}

void api_tags_list(struct tagger *t, struct http_request *r)
{
	const char *q = http_query(r, "q");
	uint32_t offset, limit, n, total;
	const struct scope_set *only;
	struct query_tag *found;
	struct scope_set set;
	json_t *tags;
	int err;

	if (!api_number(r, "offset", 0, QUERY_OFFSET_MAX, &offset) ||
	    !api_number(r, "limit", SEARCH_LIMIT, QUERY_LIMIT_MAX, &limit) ||
	    !api_only(t, r, &set, &only))
		return;
	err = query_tags(t->index, q != NULL ? q : "", only, offset, limit, &found, &n, &total);
	free(set.bits);
	if (err != 0) {
		api_errno(r, -ENOMEM, "The tags");
		return;
	}
	tags = json_array();
	for (uint32_t i = 0; i < n; i++)
		json_array_append_new(tags, tag_json(t->index, &found[i]));
	free(found);
	api_json(r, 200, json_pack("{s:I, s:o}", "total", (json_int_t)total, "tags", tags));
}

/* ---- one file ------------------------------------------------------------------------------ */

static json_t *file_tags(const struct index *ix, const struct record *rec,
			 const struct scope_set *only)
{
	json_t *tags = json_array();

	for (size_t i = 0; i < rec->ntags; i++) {
		const struct record_tag *t = &rec->tags[i];

		json_array_append_new(
			tags,
			json_pack("{s:s, s:f, s:s, s:I, s:b}", "tag", index_tag_text(ix, t->tag),
				  "weight", t->weight / 255.0, "source",
				  extract_source_names[t->source], "files",
				  (json_int_t)scope_tag_files(only, &ix->tags[t->tag]), "pinned",
				  t->source == EXTRACT_SOURCE_HAND && t->weight == 255));
	}
	return tags;
}

static json_t *file_facts(const struct record *rec)
{
	json_t *facts = json_object();

	for (size_t i = 0; i < rec->nfacts; i++) {
		const struct record_fact *f = &rec->facts[i];
		const char *name = extract_fact_names[f->key];
		json_t *v = f->text.at != NULL ? api_text(f->text.at, f->text.len)
					       : json_real(f->number),
		       *old;

		old = json_object_get(facts, name);
		if (old == NULL) {
			json_object_set_new(facts, name, v);
		} else if (json_is_array(old)) {
			json_array_append_new(old, v);
		} else {
			json_object_set_new(facts, name, json_pack("[O, o]", old, v));
		}
	}
	return facts;
}

static json_t *file_links(const struct record *rec)
{
	json_t *links = json_array();

	for (size_t i = 0; i < rec->nlinks; i++)
		json_array_append_new(links, api_text(rec->links[i].at, rec->links[i].len));
	return links;
}

void api_file_get(struct tagger *t, struct http_request *r)
{
	uint32_t file = api_file(t, r);
	const struct scope_set *only;
	struct index_record rec;
	struct scope_set set;
	json_t *body;
	int err;

	if (file == 0 || !api_only(t, r, &set, &only))
		return;
	err = index_get(t->index, file, &rec);
	if (err != 0) {
		free(set.bits);
		api_errno(r, err, "The index");
		return;
	}
	body = api_file_json(t, file);
	json_object_set_new(body, "mime", api_text(rec.r.mime.at, rec.r.mime.len));
	json_object_set_new(body, "excerpt", api_text(rec.r.excerpt.at, rec.r.excerpt.len));
	if (rec.r.why.len > 0)
		json_object_set_new(body, "why", api_text(rec.r.why.at, rec.r.why.len));
	json_object_set_new(body, "tags", file_tags(t->index, &rec.r, only));
	free(set.bits);
	json_object_set_new(body, "facts", file_facts(&rec.r));
	json_object_set_new(body, "links", file_links(&rec.r));
	index_record_free(&rec);
	api_json(r, 200, body);
}

struct folder_order {
	const struct index *ix;
	enum query_sort sort;
};

static int folder_by(const struct index *ix, enum query_sort sort, uint32_t a, uint32_t b)
{
	const struct node *x = index_node(ix, a), *y = index_node(ix, b);
	int newer = (y->mtime_ns > x->mtime_ns) - (y->mtime_ns < x->mtime_ns);
	int larger = (y->size > x->size) - (y->size < x->size);

	switch (sort) {
	case QUERY_NEWEST:
		return newer;
	case QUERY_OLDEST:
		return -newer;
	case QUERY_LARGEST:
		return larger;
	case QUERY_SMALLEST:
		return -larger;
	case QUERY_BEST:
	case QUERY_NAME:
		break;
	}
	return 0;
}

/* Folders first, and those by name in any case; then as asked, and by name where that says nothing.
 */
static int folder_compare(const void *a, const void *b, void *arg)
{
	const struct folder_order *order = arg;
	const struct index *ix = order->ix;
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	bool fx = index_node(ix, x)->kind == EXTRACT_KIND_FOLDER;
	bool fy = index_node(ix, y)->kind == EXTRACT_KIND_FOLDER;

	int by = fx || fy ? 0 : folder_by(ix, order->sort, x, y);

	if (fx != fy)
		return fx ? -1 : 1;
	return by != 0 ? by : strcasecmp(index_name(ix, x), index_name(ix, y));
}

/* The folder that is asked for, which may be one on the way; 0: answered. */
static uint32_t folder_asked(struct tagger *t, struct http_request *r)
{
	const char *path = http_query(r, "path"), *scope = api_scope(r);
	uint32_t folder;

	if (http_query(r, "id") != NULL)
		return api_file(t, r);
	path = path != NULL ? path : "";
	folder = api_by_path(t, r, path, strlen(path));
	if (folder != 0 &&
	    (scope == NULL || scope_right(scope, api_path(t, folder)) >= SCOPE_READ ||
	     scope_passes(scope, api_path(t, folder))))
		return folder;
	return api_file(t, r);
}

static bool folder_shows(const struct tagger *t, const char *scope, bool all, uint32_t f)
{
	if (index_node(t->index, f)->note & NODE_LOST)
		return false;
	return all || scope_right(scope, api_path(t, f)) >= SCOPE_READ ||
	       scope_passes(scope, api_path(t, f));
}

/* What may be seen in it, sorted; malloc'd. */
static uint32_t *folder_list(const struct tagger *t, const char *scope, uint32_t folder,
			     enum query_sort sort, uint32_t *n)
{
	const struct index *ix = t->index;
	struct folder_order order = {.ix = ix, .sort = sort};
	bool all = scope_right(scope, api_path(t, folder)) >= SCOPE_READ;
	uint32_t *list, max = 1;

	for (uint32_t f = index_node(ix, folder)->child; f != 0; f = index_node(ix, f)->next)
		max++;
	list = malloc(max * sizeof(*list));
	*n = 0;
	for (uint32_t f = index_node(ix, folder)->child; list != NULL && f != 0;
	     f = index_node(ix, f)->next)
		if (folder_shows(t, scope, all, f))
			list[(*n)++] = f;
	if (list != NULL)
		qsort_r(list, *n, sizeof(*list), folder_compare, &order);
	return list;
}

/* Of a link: paths begin behind its base, and the base has no name. */
static json_t *folder_file_json(const struct tagger *t, uint32_t file, const char *base,
				const char *scope)
{
	json_t *json = api_file_json(t, file);
	size_t n = strlen(base);
	const char *path = api_path(t, file);

	/* one passes through it, and can do nothing with it */
	if (scope_right(scope, path) < SCOPE_READ)
		json_object_set_new(json, "through", json_true());
	if (n == 0)
		return json;
	path = strlen(path) > n ? path + n + 1 : "";
	json_object_set_new(json, "path", api_text(path, strlen(path)));
	json_object_set_new(json, "href", api_href(path));
	if (*path == '\0')
		json_object_set_new(json, "name", json_string(""));
	return json;
}

/* What is in a folder: folders first. */
void api_folder(struct tagger *t, struct http_request *r)
{
	uint32_t folder = folder_asked(t, r), offset, limit, n, *list;
	enum query_sort sort = QUERY_NAME;
	char *base;
	json_t *files;

	if (folder == 0 || !api_number(r, "offset", 0, QUERY_OFFSET_MAX, &offset) ||
	    !api_number(r, "limit", FOLDER_LIMIT, QUERY_LIMIT_MAX, &limit) || !sort_asked(r, &sort))
		return;
	list = folder_list(t, api_scope(r), folder, sort, &n);
	base = strdup(api_base(r));
	if (list == NULL || base == NULL) {
		free(list);
		free(base);
		api_errno(r, -ENOMEM, "The folder");
		return;
	}
	files = json_array();
	for (uint32_t i = offset; i < n && i - offset < limit; i++)
		json_array_append_new(files, folder_file_json(t, list[i], base, api_scope(r)));
	api_json(r, 200,
		 json_pack("{s:o, s:I, s:o}", "folder",
			   folder_file_json(t, folder, base, api_scope(r)), "total", (json_int_t)n,
			   "files", files));
	free(list);
	free(base);
}
