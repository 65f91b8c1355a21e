/*
 * Several files and folders as one archive (tar or zip), made while the client takes it: nothing of
 * it is kept. What cannot be read when its turn comes is left out. Files are opened and read by
 * threads (aside.h). The one file of tagger itself that includes libarchive.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>

#include "conf.h"
#include "tagger/tagger.h"
#include "banned.h"

#define ARCHIVE_PIECE	  (128u << 10)
#define ARCHIVE_FILES_MAX 1000000u
#define ARCHIVE_TOPS_MAX  1000u
#define ARCHIVE_ID_MAX	  11u /* digits and a comma */

struct bundle {
	struct aside_job job; /* first */
	struct tagger *t;
	struct http_request *r;
	char *scope; /* what r is held to, or NULL */
	size_t base; /* bytes of each path that are left out */
	struct archive *a;
	uint32_t *files; /* in the order of the archive */
	uint32_t n, max, at;
	uint32_t tops;	    /* that were asked for */
	struct place place; /* of the file that is being put in */
	int fd;		    /* of it, or -1 */
	uint64_t left;
	ssize_t got;  /* bytes in piece, or -1 */
	bool reading; /* a thread has it */
	bool gone;    /* and the client is away */
	char *out;    /* what the archive gave and the client has not */
	size_t len, cap;
	bool failed;
	struct stat st;
	char piece[ARCHIVE_PIECE];
};

static void bundle_next(void *arg);

static void bundle_free(struct bundle *b)
{
	place_free(&b->place);
	if (b->fd >= 0)
		close(b->fd);
	if (b->a != NULL) {
		b->failed = true; /* what freeing writes goes nowhere */
		archive_write_free(b->a);
	}
	free(b->scope);
	free(b->files);
	free(b->out);
	free(b);
}

static void bundle_gone(void *arg)
{
	struct bundle *b = arg;

	b->gone = true;
	if (b->reading)
		return; /* until the thread has ended */
	http_stream_end(b->r);
	bundle_free(b);
}

static la_ssize_t bundle_write(struct archive *a, void *arg, const void *data, size_t len)
{
	struct bundle *b = arg;
	char *more;

	if (b->failed)
		return (la_ssize_t)len;
	if (b->len + len > b->cap) {
		more = realloc(b->out, b->len + len + ARCHIVE_PIECE);
		if (more == NULL) {
			b->failed = true;
			return -1;
		}
		b->out = more;
		b->cap = b->len + len + ARCHIVE_PIECE;
	}
	memcpy(b->out + b->len, data, len);
	b->len += len;
	return (la_ssize_t)len;
}

/* A file, or a folder and all below it. */
static int bundle_add(struct bundle *b, uint32_t top)
{
	const struct index *ix = b->t->index;

	for (uint32_t f = top; f != 0;) {
		if (b->n == b->max) {
			uint32_t max = b->max * 2 + 64;
			uint32_t *more = max <= ARCHIVE_FILES_MAX * 2
						 ? realloc(b->files, max * sizeof(*more))
						 : NULL;

			if (more == NULL)
				return -ENOMEM;
			b->files = more;
			b->max = max;
		}
		b->files[b->n++] = f;
		if (index_node(ix, f)->child != 0) {
			f = index_node(ix, f)->child;
			continue;
		}
		while (f != top && index_node(ix, f)->next == 0)
			f = index_node(ix, f)->parent;
		f = f == top ? 0 : index_node(ix, f)->next;
	}
	return 0;
}

static void bundle_header(struct bundle *b, const char *path, bool folder, uint64_t size,
			  int64_t mtime)
{
	struct archive_entry *e = archive_entry_new();

	archive_entry_set_pathname(e, path);
	archive_entry_set_filetype(e, folder ? AE_IFDIR : AE_IFREG);
	archive_entry_set_perm(e, folder ? 0755 : 0644);
	archive_entry_set_size(e, folder ? 0 : (la_int64_t)size);
	archive_entry_set_mtime(e, mtime, 0);
	if (archive_write_header(b->a, e) < ARCHIVE_WARN)
		b->failed = true;
	archive_entry_free(e);
}

/* What a thread has read, into the archive. */
static void bundle_read_done(struct aside_job *job)
{
	struct bundle *b = (struct bundle *)job;

	b->reading = false;
	if (b->gone) {
		bundle_gone(b);
		return;
	}
	if (b->got < 0 || (b->got == 0 && b->left > 0))
		b->failed = true; /* its header has promised more */
	else if (b->got > 0 && archive_write_data(b->a, b->piece, (size_t)b->got) < 0)
		b->failed = true;
	else
		b->left -= (uint64_t)b->got;
	bundle_next(b);
}

/* A thread. */
static void bundle_read(struct aside_job *job)
{
	struct bundle *b = (struct bundle *)job;

	b->got = read(b->fd, b->piece, b->left < ARCHIVE_PIECE ? (size_t)b->left : ARCHIVE_PIECE);
}

static void bundle_opened(struct aside_job *job)
{
	struct bundle *b = (struct bundle *)job;

	if (b->fd >= 0 && !b->gone) {
		b->left = (uint64_t)b->st.st_size;
		bundle_header(b, b->place.path + b->base, false, b->left, b->st.st_mtime);
	}
	place_free(&b->place);
	b->reading = false;
	if (b->gone)
		bundle_gone(b);
	else
		bundle_next(b);
}

/* A thread. */
static void bundle_open_file(struct aside_job *job)
{
	struct bundle *b = (struct bundle *)job;

	b->fd = place_open(&b->t->tree, &b->place, &b->st);
	if (b->fd < 0)
		b->fd = -1;
}

static void bundle_post(struct bundle *b, void (*work)(struct aside_job *job),
			void (*done)(struct aside_job *job))
{
	b->job.work = work;
	b->job.done = done;
	b->reading = aside_post(b->t->aside, ASIDE_READ, &b->job) == 0;
	b->failed |= !b->reading;
}

/* The next file or folder. */
static void bundle_next_file(struct bundle *b)
{
	static char path[INDEX_PATH_MAX];
	uint32_t file = b->files[b->at++];
	const struct node *n = index_node_find(b->t->index, file);

	if (n == NULL || file == INDEX_ROOT ||
	    index_path(b->t->index, file, path, sizeof(path)) < 0)
		return;
	/* it may have gone elsewhere since it was asked for */
	if (strlen(path) <= b->base || scope_right(b->scope, path) < SCOPE_READ)
		return;
	if (n->kind == EXTRACT_KIND_FOLDER)
		bundle_header(b, path + b->base, true, 0, n->mtime_ns / 1000000000);
	else if (n->kind != EXTRACT_KIND_LINK && api_readable(b->t, file, &b->place) == 0)
		bundle_post(b, bundle_open_file, bundle_opened);
}

/* The next step; when b->reading is set afterwards, a thread does it. */
static void bundle_more(struct bundle *b)
{
	if (b->fd >= 0 && b->left == 0) {
		close(b->fd);
		b->fd = -1;
	} else if (b->fd >= 0) {
		bundle_post(b, bundle_read, bundle_read_done);
	} else {
		bundle_next_file(b);
	}
}

static void bundle_next(void *arg)
{
	struct bundle *b = arg;

	while (!b->failed && b->len < ARCHIVE_PIECE && (b->fd >= 0 || b->at < b->n)) {
		bundle_more(b);
		if (b->reading)
			return;
	}
	if (!b->failed && b->len == 0 && b->a != NULL) {
		if (archive_write_close(b->a) != ARCHIVE_OK)
			b->failed = true;
		archive_write_free(b->a);
		b->a = NULL;
	}
	if (b->failed) {
		http_stream_abort(b->r);
		bundle_free(b);
		return;
	}
	if (b->len == 0) {
		http_stream_end(b->r);
		bundle_free(b);
		return;
	}
	http_stream_drained(b->r, bundle_next, b);
	http_stream_write(b->r, b->out, b->len);
	b->len = 0;
}

/* A file or folder that was asked for. One that is gone or not theirs is left out like one that
 * goes later. */
static int bundle_top(struct bundle *b, uint32_t file)
{
	if (b->tops >= ARCHIVE_TOPS_MAX)
		return -EINVAL;
	b->tops++;
	if (file == 0 || scope_right(b->scope, api_path(b->t, file)) < SCOPE_READ)
		return 0;
	return bundle_add(b, file);
}

static int bundle_path(struct bundle *b, const char *value, size_t len)
{
	static char path[INDEX_PATH_MAX];
	int n = api_decode(value, len, path, sizeof(path));

	return bundle_top(b, n >= 0 ? api_by_path(b->t, b->r, path, (size_t)n) : 0);
}

/* Numbers between commas: short, since proxies take requests of 8 KiB. */
static int bundle_ids(struct bundle *b, const char *value, size_t len)
{
	static char list[ARCHIVE_TOPS_MAX * ARCHIVE_ID_MAX];
	char *at = list, *id;
	int err = api_decode(value, len, list, sizeof(list)) < 0 ? -EINVAL : 0;

	while (err == 0 && (id = strsep(&at, ",")) != NULL) {
		uint64_t v;

		if (conf_number(id, 1, UINT32_MAX, &v) != 0)
			return -EINVAL;
		err = bundle_top(b, index_node_find(b->t->index, (uint32_t)v) != NULL ? (uint32_t)v
										      : 0);
	}
	return err;
}

/* Each "path" and "id" of the query. */
static int bundle_query(struct bundle *b, const char *query)
{
	int err = 0;

	for (const char *at = query; err == 0 && *at != '\0';) {
		size_t len = strcspn(at, "&");

		if (strncmp(at, "path=", 5) == 0)
			err = bundle_path(b, at + 5, len - 5);
		else if (strncmp(at, "id=", 3) == 0)
			err = bundle_ids(b, at + 3, len - 3);
		at += len;
		at += *at == '&';
	}
	if (err == 0 && b->n == 0)
		err = b->tops > 0 ? -ENOENT : -EINVAL;
	return err;
}

static bool bundle_open(struct bundle *b, bool zip)
{
	b->a = archive_write_new();
	if (b->a == NULL)
		return false;
	if (zip) {
		archive_write_set_format_zip(b->a);
		archive_write_set_options(b->a, "zip:compression=store");
	} else {
		archive_write_set_format_pax_restricted(b->a);
	}
	archive_write_set_bytes_per_block(b->a, 0);
	return archive_write_open2(b->a, b, NULL, bundle_write, NULL, NULL) == ARCHIVE_OK;
}

void api_archive(struct tagger *t, struct http_request *r)
{
	const char *format = http_query(r, "format");
	bool zip = format != NULL && strcmp(format, "zip") == 0;
	struct bundle *b = calloc(1, sizeof(*b));
	int err = -ENOMEM;

	if (b != NULL) {
		b->t = t;
		b->r = r;
		b->fd = -1;
		b->base = strlen(api_base(r));
		b->base += b->base > 0; /* and its slash */
		b->scope = api_scope(r) != NULL ? strdup(api_scope(r)) : NULL;
		if (b->scope != NULL || api_scope(r) == NULL)
			err = bundle_query(b, http_query_text(r));
	}
	if (err == 0 && !bundle_open(b, zip))
		err = -ENOMEM;
	if (err != 0) {
		if (b != NULL)
			bundle_free(b);
		api_errno(r, err, "The archive");
		return;
	}
	http_header(r, "Content-Disposition",
		    zip ? "attachment; filename=files.zip" : "attachment; filename=files.tar");
	if (r->head) {
		http_reply(r, 200, zip ? "application/zip" : "application/x-tar", "", 0);
		bundle_free(b);
		return;
	}
	http_stream_start(r, 200, zip ? "application/zip" : "application/x-tar", bundle_gone, b);
	bundle_next(b);
}
