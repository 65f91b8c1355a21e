/*
 * The API's routes that change the tree: folders, moving, deleting. What is named is looked up in
 * the index; a change is made on disk by a thread (aside.h), in one step, and then in the index.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tagger/bin.h"
#include "tagger/tagger.h"
#include "banned.h"

struct change {
	struct aside_job job; /* first */
	struct tagger *t;
	struct http_request *r;
	const char *failed;    /* what to say when it is */
	struct place at, to;   /* to: of a move */
	bool replace, folder;  /* folder: deleted with all that is in it */
	bool linked;	       /* has other names */
	int flags;	       /* of unlinkat() */
	struct bin_entry *bin; /* where it goes; NULL: it is deleted for good */
	int err;
	int (*make)(struct change *c);	/* on disk: a thread */
	void (*note)(struct change *c); /* in the index, and answers */
};

bool api_may_change(struct tagger *t, struct http_request *r)
{
	if (t->index->stuck)
		api_error(r, 503, "stuck", "The index cannot be written now: %s.",
			  strerror(-t->index->stuck_why));
	return !t->index->stuck;
}

static void change_free(struct change *c)
{
	place_free(&c->at);
	place_free(&c->to);
	bin_entry_free(c->bin);
	free(c);
}

/* A thread. */
static void change_make(struct aside_job *job)
{
	struct change *c = (struct change *)job;

	c->err = c->make(c);
}

static void change_made(struct aside_job *job)
{
	struct change *c = (struct change *)job;

	if (c->err != 0)
		api_errno(c->r, c->err, c->failed);
	else
		c->note(c);
	change_free(c);
}

static struct change *change_new(struct tagger *t, struct http_request *r, const char *failed)
{
	struct change *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		api_errno(r, -ENOMEM, failed);
		return NULL;
	}
	c->job.work = change_make;
	c->job.done = change_made;
	c->t = t;
	c->r = r;
	c->failed = failed;
	return c;
}

/* err: of what was prepared. */
static void change_post(struct change *c, int err)
{
	if (err == 0)
		err = aside_post(c->t->aside, ASIDE_CHANGE, &c->job);
	if (err == 0)
		return;
	api_errno(c->r, err, c->failed);
	change_free(c);
}

static void reply_file(struct change *c, const struct place *p)
{
	uint32_t file = index_by_place(c->t->index, p->folder, p->name, strlen(p->name));

	if (file != 0)
		api_json(c->r, 200, api_file_json(c->t, file));
	else
		api_json(c->r, 200, json_object());
}

/* ---- folders ------------------------------------------------------------------------------- */

static int mkdir_make(struct change *c)
{
	int fd = place_open_folder(&c->t->tree, &c->at), err = 0;

	if (fd < 0)
		return fd;
	if (mkdirat(fd, c->at.name, 0777) < 0)
		err = -errno;
	close(fd);
	return err;
}

static void mkdir_note(struct change *c)
{
	scan_place(c->t->scan, c->at.folder, c->at.name);
	api_tell(c->r, "X-Weft-Object", c->at.path);
	reply_file(c, &c->at);
}

void api_mkdir(struct tagger *t, struct http_request *r)
{
	const char *path = http_query(r, "path");
	struct change *c;

	if (path == NULL) {
		api_error(r, 400, "bad_request", "Say which: path=...");
		return;
	}
	if (!api_allow(r, scope_may_put(api_scope(r), path)))
		return;
	c = api_may_change(t, r) ? change_new(t, r, "The folder cannot be made") : NULL;
	if (c == NULL)
		return;
	c->make = mkdir_make;
	c->note = mkdir_note;
	change_post(c, place_new(t->index, path, &c->at));
}

/* ---- moving -------------------------------------------------------------------------------- */

static int move_make(struct change *c)
{
	int from = place_open_around(&c->t->tree, &c->at), to, err = 0;

	if (from < 0)
		return from;
	to = place_open_folder(&c->t->tree, &c->to);
	if (to < 0)
		err = to;
	else if (renameat2(from, c->at.name, to, c->to.name, c->replace ? 0 : RENAME_NOREPLACE) < 0)
		err = -errno;
	if (to >= 0)
		close(to);
	close(from);
	return err;
}

static void move_note(struct change *c)
{
	scan_place(c->t->scan, c->to.folder, c->to.name);
	scan_place(c->t->scan, c->at.folder, c->at.name);
	api_tell(c->r, "X-Weft-Object", c->at.path);
	api_tell(c->r, "X-Weft-Target", c->to.path);
	reply_file(c, &c->to);
}

void api_move(struct tagger *t, struct http_request *r)
{
	const char *to = http_query(r, "to");
	struct change *c;
	uint32_t file;
	int err;

	if (to == NULL) {
		api_error(r, 400, "bad_request", "Say where to: to=...");
		return;
	}
	file = api_file(t, r);
	if (file == 0 || !api_may_change(t, r) ||
	    !api_allow(r, scope_may_move(api_scope(r), api_path(t, file), to)))
		return;
	c = change_new(t, r, "It cannot be moved");
	if (c == NULL)
		return;
	c->make = move_make;
	c->note = move_note;
	c->replace = http_query(r, "replace") != NULL;
	err = place_of(t->index, file, &c->at);
	change_post(c, err == 0 ? place_new(t->index, to, &c->to) : err);
}

/* ---- deleting ------------------------------------------------------------------------------ */

static int delete_make(struct change *c)
{
	int fd = place_open_around(&c->t->tree, &c->at), err = 0;

	if (fd < 0)
		return fd;
	if (c->bin != NULL)
		err = bin_put(&c->t->tree, fd, c->at.name, c->bin);
	else if (c->folder)
		err = trash_put(&c->t->tree, fd, c->at.name);
	else if (unlinkat(fd, c->at.name, c->flags) < 0)
		err = -errno;
	close(fd);
	return err;
}

static void delete_note(struct change *c)
{
	struct index *ix = c->t->index;
	json_t *body = json_object();
	int err = 0;

	if (c->bin != NULL) {
		json_object_set_new(body, "bin", json_string(c->bin->id));
		http_header(c->r, "X-Weft-Bin", c->bin->id);
		bin_added(c->t, c->bin);
		c->bin = NULL;
		if (c->linked)
			scan_all(c->t->scan); /* its handle leads into the bin now */
	}
	/* other names of a file keep it; and events may have told of its end already */
	if (c->linked || ix->stuck)
		scan_place(c->t->scan, c->at.folder, c->at.name);
	else if (place_is_known(ix, &c->at))
		err = index_remove(ix, c->at.file);
	if (err == 0 && !ix->stuck)
		err = index_commit(ix);
	if (err == 0) {
		api_tell(c->r, "X-Weft-Object", c->at.path);
		api_json(c->r, 200, body);
		return;
	}
	json_decref(body);
	api_errno(c->r, err, c->failed);
}

/* Of a file, or of all that is in a folder. */
static uint64_t delete_size(const struct index *ix, uint32_t top)
{
	uint64_t size = 0;

	for (uint32_t f = top; f != 0;) {
		size += index_node(ix, f)->size;
		if (index_node(ix, f)->child != 0) {
			f = index_node(ix, f)->child;
			continue;
		}
		while (f != top && index_node(ix, f)->next == 0)
			f = index_node(ix, f)->parent;
		f = f == top ? 0 : index_node(ix, f)->next;
	}
	return size;
}

static int delete_to_bin(struct change *c, uint32_t file)
{
	const struct index *ix = c->t->index;
	const char *by = http_request_header(c->r, "X-Weft-User");
	json_t *good;

	if (index_node(ix, file)->child != 0 && !c->folder)
		return -ENOTEMPTY;
	c->bin = calloc(1, sizeof(*c->bin));
	if (c->bin == NULL || (c->bin->path = strdup(c->at.path)) == NULL)
		return -ENOMEM;
	good = api_text(by != NULL ? by : "", by != NULL ? strlen(by) : 0);
	snprintf(c->bin->by, sizeof(c->bin->by), "%s", json_string_value(good));
	json_decref(good);
	snprintf(c->bin->kind, sizeof(c->bin->kind), "%s",
		 extract_kind_names[index_node(ix, file)->kind]);
	c->bin->size = delete_size(ix, file);
	return 0;
}

void api_delete(struct tagger *t, struct http_request *r)
{
	uint32_t file = api_file(t, r);
	struct change *c;
	bool folder, keep;
	int err;

	keep = bin_keeps(t) && http_query(r, "forever") == NULL;
	if (file == 0 || !api_may_change(t, r) ||
	    !api_allow(r, keep ? scope_may_take(api_scope(r), api_path(t, file))
			       : scope_may_end(api_scope(r), api_path(t, file))))
		return;
	c = change_new(t, r, "It cannot be deleted");
	if (c == NULL)
		return;
	folder = index_node(t->index, file)->kind == EXTRACT_KIND_FOLDER;
	c->make = delete_make;
	c->note = delete_note;
	c->folder = folder && http_query(r, "recursive") != NULL;
	c->flags = folder ? AT_REMOVEDIR : 0;
	c->linked = index_node(t->index, file)->flags & RECORD_LINKED;
	err = place_of(t->index, file, &c->at);
	if (err == 0 && keep)
		err = delete_to_bin(c, file);
	change_post(c, err);
}
