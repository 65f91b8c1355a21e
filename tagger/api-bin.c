/*
 * The API's routes to the bin (bin.h): what is in it, putting back, deleting for good. The list is
 * in memory, made from what is on disk at the start. What has been there for longer than it is
 * kept goes by itself, and more when the tree's space is short (bin-pick.c).
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include "tagger/bin.h"
#include "tagger/tagger.h"
#include "banned.h"

#define BIN_LIMIT 100
#define DAY_S	  86400

struct bin {
	struct tagger *t;
	struct bin_entry **entries; /* oldest first */
	size_t n, max;
	unsigned days; /* 0: nothing is kept */
	bool loaded;
	bool sweeping;
	uint64_t settles_ms; /* monotonic: until then space may still come of what was deleted */
	struct control_timer *tick;
};

/* Work on one entry, or on several, which are not in the list meanwhile. */
struct bin_job {
	struct aside_job job; /* first */
	struct bin *b;
	struct http_request *r; /* NULL: nobody waits for it */
	struct bin_entry **entries;
	size_t n;
	uint64_t missing; /* bytes that should be free */
	char *was;	  /* the path of what is put back, before it may get another name */
	int err;
};

static uint64_t bin_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- the list ------------------------------------------------------------------------------ */

static bool bin_room(struct bin *b)
{
	size_t max = b->max * 2 + 64;
	struct bin_entry **more;

	if (b->n < b->max)
		return true;
	more = realloc(b->entries, max * sizeof(struct bin_entry *));
	if (more == NULL)
		return false;
	b->entries = more;
	b->max = max;
	return true;
}

/* In its place, which is the end but for one that could not be removed. */
static void bin_list_add(struct bin *b, struct bin_entry *e)
{
	size_t at = b->n;

	if (!bin_room(b)) {
		bin_entry_free(e); /* the next start knows it again */
		return;
	}
	for (; at > 0 && strcmp(b->entries[at - 1]->id, e->id) > 0; at--)
		b->entries[at] = b->entries[at - 1];
	b->entries[at] = e;
	b->n++;
}

static struct bin_entry *bin_list_take(struct bin *b, size_t at)
{
	struct bin_entry *e = b->entries[at];

	memmove(b->entries + at, b->entries + at + 1, (--b->n - at) * sizeof(struct bin_entry *));
	return e;
}

bool bin_keeps(const struct tagger *t)
{
	return t->bin != NULL && t->bin->days > 0;
}

void bin_added(struct tagger *t, struct bin_entry *e)
{
	bin_list_add(t->bin, e);
	if (t->bin->n > BIN_ENTRIES_MAX)
		bin_sweep(t);
}

static json_t *bin_json(const struct bin *b, const struct bin_entry *e)
{
	const char *slash = strrchr(e->path, '/'), *name = slash != NULL ? slash + 1 : e->path;

	return json_pack("{s:s, s:o, s:o, s:o, s:s, s:I, s:s, s:I, s:I}", "id", e->id, "name",
			 api_text(name, strlen(name)), "path", api_text(e->path, strlen(e->path)),
			 "href", api_href(e->path), "kind", e->kind, "size", (json_int_t)e->size,
			 "by", e->by, "time", (json_int_t)e->time, "ends",
			 (json_int_t)(e->time + (int64_t)b->days * DAY_S));
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static void bin_job_free(struct bin_job *j)
{
	for (size_t i = 0; i < j->n; i++)
		bin_entry_free(j->entries[i]);
	free(j->entries);
	free(j->was);
	free(j);
}

/* entries: a list that is taken over. When it fails all is as before, and it is answered. */
static void bin_post(struct bin *b, struct http_request *r, struct bin_entry **entries, size_t n,
		     void (*work)(struct aside_job *job), void (*done)(struct aside_job *job))
{
	struct bin_job *j = calloc(1, sizeof(*j));
	int err = j != NULL ? 0 : -ENOMEM;

	if (j != NULL) {
		*j = (struct bin_job){.b = b, .r = r, .entries = entries, .n = n};
		j->job.work = work;
		j->job.done = done;
		err = aside_post(b->t->aside, ASIDE_CHANGE, &j->job);
	}
	if (err == 0)
		return;
	for (size_t i = 0; i < n; i++)
		bin_list_add(b, entries[i]);
	free(entries);
	free(j);
	if (r != NULL)
		api_errno(r, err, "The bin");
	else
		b->sweeping = false;
}

/* A thread. */
static void bin_load_work(struct aside_job *job)
{
	struct bin_job *j = (struct bin_job *)job;

	j->err = bin_load(&j->b->t->tree, &j->entries, &j->n);
}

static void bin_loaded(struct aside_job *job)
{
	struct bin_job *j = (struct bin_job *)job;
	struct bin *b = j->b;

	if (j->err != 0)
		log_error("what is in the bin cannot be read: %s", strerror(-j->err));
	for (size_t i = 0; i < j->n; i++)
		bin_list_add(b, j->entries[i]);
	j->n = 0;
	b->loaded = true;
	b->sweeping = false;
	bin_job_free(j);
	bin_sweep(b->t);
}

static bool bin_is_loaded(struct bin *b, struct http_request *r)
{
	if (!b->loaded)
		api_error(r, 503, "busy", "What is in the bin is still being read.");
	return b->loaded;
}

/* ---- looking -----------------------------------------------------------------------------------
 */

/* May who asks see this one, and put it back? Of a share one sees what one has deleted oneself. */
static bool bin_shows(const struct http_request *r, const struct bin_entry *e)
{
	const char *scope = api_scope(r), *by = http_request_header(r, "X-Weft-User");

	if (scope_may_end(scope, e->path))
		return true;
	return by != NULL && strcmp(by, e->by) == 0 && scope_may_take(scope, e->path);
}

void api_bin(struct tagger *t, struct http_request *r)
{
	struct bin *b = t->bin;
	uint32_t offset, limit;
	uint64_t bytes = 0;
	size_t total = 0;
	json_t *files;

	if (!bin_is_loaded(b, r) || !api_number(r, "offset", 0, BIN_ENTRIES_MAX, &offset) ||
	    !api_number(r, "limit", BIN_LIMIT, QUERY_LIMIT_MAX, &limit))
		return;
	files = json_array();
	for (size_t i = b->n; i-- > 0;) {
		const struct bin_entry *e = b->entries[i];

		if (!bin_shows(r, e))
			continue;
		if (total >= offset && total - offset < limit)
			json_array_append_new(files, bin_json(b, e));
		bytes += e->size;
		total++;
	}
	api_json(r, 200,
		 json_pack("{s:I, s:I, s:I, s:o}", "days", (json_int_t)b->days, "total",
			   (json_int_t)total, "bytes", (json_int_t)bytes, "files", files));
}

/* The place of the entry that the query's "id" means. False: answered. */
static bool bin_asked(struct bin *b, struct http_request *r, size_t *at)
{
	const char *id = http_query(r, "id");

	for (*at = 0; id != NULL && *at < b->n; ++*at)
		if (strcmp(b->entries[*at]->id, id) == 0 && bin_shows(r, b->entries[*at]))
			return true;
	api_error(r, 404, "not_found", "%s",
		  id == NULL ? "Say which: id=..." : "This is not in the bin any more.");
	return false;
}

/* A list of its own with this one alone; NULL: answered. */
static struct bin_entry **bin_take_one(struct bin *b, struct http_request *r, size_t at)
{
	struct bin_entry **one = malloc(sizeof(struct bin_entry *));

	if (one == NULL)
		api_errno(r, -ENOMEM, "The bin");
	else
		one[0] = bin_list_take(b, at);
	return one;
}

/* ---- back to where it was -------------------------------------------------------------------- */

/* A thread. */
static void bin_restore_work(struct aside_job *job)
{
	struct bin_job *j = (struct bin_job *)job;

	j->was = strdup(j->entries[0]->path);
	j->err = j->was != NULL ? bin_restore(&j->b->t->tree, j->entries[0]) : -ENOMEM;
}

/* The index looks where the first thing on the path is that it does not know. */
static void bin_tell_scan(struct tagger *t, const char *path)
{
	uint32_t folder = INDEX_ROOT, next;
	size_t n = 0;
	char *name;

	for (; path[n = strcspn(path, "/")] != '\0'; path += n + 1, folder = next) {
		next = index_by_place(t->index, folder, path, n);
		if (next == 0)
			break;
	}
	name = strndup(path, n);
	if (name != NULL)
		scan_place(t->scan, folder, name);
	free(name);
}

static void bin_restored(struct aside_job *job)
{
	struct bin_job *j = (struct bin_job *)job;
	struct bin_entry *e = j->entries[0];

	if (j->err == 0) {
		bin_tell_scan(j->b->t, e->path);
		api_tell(j->r, "X-Weft-Object", j->was);
		api_tell(j->r, "X-Weft-Target", e->path);
		http_header(j->r, "X-Weft-Bin", e->id);
		api_json(j->r, 200,
			 json_pack("{s:o, s:o}", "path", api_text(e->path, strlen(e->path)), "href",
				   api_href(e->path)));
	} else {
		if (j->err != -ENOENT) {
			bin_list_add(j->b, e);
			j->n = 0;
		}
		api_errno(j->r, j->err, "It cannot be put back");
	}
	bin_job_free(j);
}

void api_bin_restore(struct tagger *t, struct http_request *r)
{
	struct bin *b = t->bin;
	struct bin_entry **one;
	size_t at;

	if (!bin_is_loaded(b, r) || !api_may_change(t, r) || !bin_asked(b, r, &at))
		return;
	one = bin_take_one(b, r, at);
	if (one != NULL)
		bin_post(b, r, one, 1, bin_restore_work, bin_restored);
}

/* ---- for good ----------------------------------------------------------------------------------
 */

/* A thread. Those that stay are left in the list. */
static void bin_remove_work(struct aside_job *job)
{
	struct bin_job *j = (struct bin_job *)job;
	size_t left = 0;

	for (size_t i = 0; i < j->n; i++) {
		int err = bin_remove(&j->b->t->tree, j->entries[i]->id);

		if (err == 0 || err == -ENOENT) {
			bin_entry_free(j->entries[i]);
			continue;
		}
		j->err = err;
		j->entries[left++] = j->entries[i];
	}
	j->n = left;
}

static void bin_removed(struct aside_job *job)
{
	struct bin_job *j = (struct bin_job *)job;

	j->b->settles_ms = bin_now_ms() + BIN_SETTLE_MS;
	for (size_t i = 0; i < j->n; i++)
		bin_list_add(j->b, j->entries[i]);
	j->n = 0;
	if (j->r == NULL) {
		j->b->sweeping = false;
		if (j->err != 0)
			log_warn("something old in the bin stays: %s", strerror(-j->err));
	} else if (j->err != 0) {
		api_errno(j->r, j->err, "It cannot be deleted");
	} else {
		api_json(j->r, 200, json_object());
	}
	bin_job_free(j);
}

/* One, or all that one sees. */
void api_bin_delete(struct tagger *t, struct http_request *r)
{
	struct bin *b = t->bin;
	struct bin_entry **some;
	size_t at, n = 0;

	if (!bin_is_loaded(b, r))
		return;
	if (http_query(r, "all") == NULL) {
		some = bin_asked(b, r, &at) && api_allow(r, scope_may_end(api_scope(r),
									  b->entries[at]->path))
			       ? bin_take_one(b, r, at)
			       : NULL;
		if (some != NULL)
			api_tell(r, "X-Weft-Object", some[0]->path);
		if (some != NULL)
			bin_post(b, r, some, 1, bin_remove_work, bin_removed);
		return;
	}
	some = malloc((b->n + 1) * sizeof(struct bin_entry *));
	if (some == NULL) {
		api_errno(r, -ENOMEM, "The bin");
		return;
	}
	for (size_t i = b->n; i-- > 0;)
		if (scope_may_end(api_scope(r), b->entries[i]->path))
			some[n++] = bin_list_take(b, i);
	bin_post(b, r, some, n, bin_remove_work, bin_removed);
}

/* ---- by itself ---------------------------------------------------------------------------------
 */

/* A thread: bytes that should be free in the tree's file system and are not. */
static void bin_look_work(struct aside_job *job)
{
	struct bin_job *j = (struct bin_job *)job;
	struct statvfs fs;
	uint64_t want, have;

	/* space that is still being freed is not short */
	if (trash_is_busy() || fstatvfs(j->b->t->tree.root_fd, &fs) < 0)
		return;
	want = (uint64_t)fs.f_blocks / BIN_FREE_PART * fs.f_frsize;
	want = want < BIN_FREE_MAX ? want : BIN_FREE_MAX;
	have = (uint64_t)fs.f_bavail * fs.f_frsize;
	j->missing = have < want ? want - have : 0;
}

/* Those that have to go, out of the list; NULL: none. */
static struct bin_entry **bin_take_some(struct bin *b, uint64_t missing, size_t *n)
{
	int64_t until = time(NULL) - (int64_t)b->days * DAY_S;
	bool full = b->n > BIN_ENTRIES_MAX;
	struct bin_entry **some;
	size_t left = 0;
	bool *gone;

	*n = 0;
	if (b->n == 0 || (!full && missing == 0 && b->entries[0]->time > until))
		return NULL;
	gone = malloc(b->n * sizeof(*gone));
	some = malloc(b->n * sizeof(struct bin_entry *));
	if (gone != NULL && some != NULL)
		bin_pick(b->entries, b->n,
			 full ? BIN_ENTRIES_MAX - BIN_ENTRIES_GO : BIN_ENTRIES_MAX, missing, until,
			 gone);
	for (size_t i = 0; gone != NULL && some != NULL && i < b->n; i++)
		if (gone[i])
			some[(*n)++] = b->entries[i];
		else
			b->entries[left++] = b->entries[i];
	b->n -= *n;
	free(gone);
	if (*n > 0)
		return some;
	free(some);
	return NULL;
}

static void bin_looked(struct aside_job *job)
{
	struct bin_job *j = (struct bin_job *)job;
	struct bin *b = j->b;
	bool settling = bin_now_ms() < b->settles_ms;
	size_t n;
	struct bin_entry **some = bin_take_some(b, settling ? 0 : j->missing, &n);

	bin_job_free(j);
	b->sweeping = some != NULL;
	if (some == NULL)
		return;
	log_info("%zu entries of the bin are deleted for good", n);
	bin_post(b, NULL, some, n, bin_remove_work, bin_removed);
}

void bin_sweep(struct tagger *t)
{
	struct bin *b = t->bin;

	if (b == NULL || !b->loaded || b->sweeping || b->n == 0)
		return;
	b->sweeping = true;
	bin_post(b, NULL, NULL, 0, bin_look_work, bin_looked);
}

static void bin_tick(void *arg)
{
	bin_sweep(arg);
}

int bin_create(struct tagger *t, unsigned days)
{
	struct bin *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return -ENOMEM;
	b->t = t;
	b->days = days;
	t->bin = b;
	b->tick = control_timer_start(t->control, BIN_TICK_MS, 1, bin_tick, t);
	b->sweeping = true;
	bin_post(b, NULL, NULL, 0, bin_load_work, bin_loaded);
	return 0;
}

void bin_destroy(struct tagger *t)
{
	struct bin *b = t->bin;

	if (b == NULL)
		return;
	control_timer_free(b->tick);
	for (size_t i = 0; i < b->n; i++)
		bin_entry_free(b->entries[i]);
	free(b->entries);
	free(b);
	t->bin = NULL;
}
