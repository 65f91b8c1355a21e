/*
 * The API's routes that read and change files: content, folders, moving, deleting. What is named
 * is looked up in the index, and opened below the root only. A change is made on disk first, in one
 * step, and then in the index.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tagger/tagger.h"
#include "banned.h"

#define CONTENT_PIECE (128u << 10)

/* ---- names that are to be -------------------------------------------------------------------- */

int api_place(struct tagger *t, const char *path, struct api_place *out)
{
	static char folder_path[INDEX_PATH_MAX];
	const char *slash = strrchr(path, '/');
	struct tree_entry e;
	int fd;

	out->name = slash != NULL ? slash + 1 : path;
	out->folder = index_by_path(t->index, path, slash != NULL ? (size_t)(slash - path) : 0);
	if (strlen(out->name) > RECORD_NAME_MAX)
		return -ENAMETOOLONG;
	if (*out->name == '\0' || strcmp(out->name, ".") == 0 || strcmp(out->name, "..") == 0 ||
	    (out->folder == INDEX_ROOT && strcmp(out->name, TREE_OWN) == 0))
		return -EINVAL;
	if (out->folder == 0)
		return -ENOENT;
	if (index_path(t->index, out->folder, folder_path, sizeof(folder_path)) < 0)
		return -ENAMETOOLONG;
	fd = tree_openat(&t->tree, folder_path, O_PATH | O_DIRECTORY, 0);
	if (fd < 0)
		return fd;
	/* the folder that the index means, and no other that has come to its path */
	if (tree_look(&t->tree, fd, "", &e) != 0 ||
	    memcmp(e.seen.ident, index_node(t->index, out->folder)->ident, 16) != 0) {
		close(fd);
		return -ENOENT;
	}
	out->fd = fd;
	return 0;
}

int api_place_of(struct tagger *t, uint32_t file, struct api_place *out)
{
	static char path[INDEX_PATH_MAX];
	struct tree_entry e;
	int err;

	if (file == INDEX_ROOT)
		return -EINVAL;
	if (index_path(t->index, file, path, sizeof(path)) < 0)
		return -ENAMETOOLONG;
	err = api_place(t, path, out);
	if (err != 0)
		return err;
	err = tree_look(&t->tree, out->fd, out->name, &e);
	if (err == 0 && memcmp(e.seen.ident, index_node(t->index, file)->ident, 16) != 0)
		err = -ENOENT;
	if (err != 0)
		close(out->fd);
	return err;
}

bool api_may_change(struct tagger *t, struct http_request *r)
{
	if (t->index->stuck)
		api_error(r, 503, "stuck", "The index cannot be written now: %s.",
			  strerror(-t->index->stuck_why));
	return !t->index->stuck;
}

/* ---- content ------------------------------------------------------------------------------- */

struct content {
	struct http_request *r;
	int fd;
	uint64_t at, end;
	bool gone;
	char piece[CONTENT_PIECE];
};

static void content_free(struct content *c)
{
	close(c->fd);
	free(c);
}

static void content_gone(void *arg)
{
	struct content *c = arg;

	http_stream_end(c->r);
	content_free(c);
}

static void content_next(void *arg)
{
	struct content *c = arg;
	uint64_t left = c->end - c->at;
	ssize_t n;

	if (left == 0) {
		http_stream_end(c->r);
		content_free(c);
		return;
	}
	n = pread(c->fd, c->piece, left < CONTENT_PIECE ? (size_t)left : CONTENT_PIECE,
		  (off_t)c->at);
	if (n <= 0) {
		/* it became shorter, or cannot be read: what was promised cannot be kept */
		http_stream_abort(c->r);
		content_free(c);
		return;
	}
	c->at += (uint64_t)n;
	(void)posix_fadvise(c->fd, (off_t)c->at, CONTENT_PIECE * 4, POSIX_FADV_WILLNEED);
	http_stream_drained(c->r, content_next, c);
	http_stream_write(c->r, c->piece, (size_t)n);
}

static bool range_number(const char **p, uint64_t *out)
{
	char *end;

	if (!isdigit((unsigned char)**p))
		return false;
	errno = 0;
	*out = strtoull(*p, &end, 10);
	*p = end;
	return errno == 0;
}

/* One range of "bytes=": 0 none or not understood (then all is sent), 1, or -1: not in the file. */
static int content_range(const char *text, uint64_t size, uint64_t *from, uint64_t *end)
{
	uint64_t a = 0, b;

	if (text == NULL || strncmp(text, "bytes=", 6) != 0)
		return 0;
	text += 6;
	if (*text == '-') {
		text++;
		if (!range_number(&text, &b) || *text != '\0')
			return 0;
		*from = b < size ? size - b : 0;
		*end = size;
		return b > 0 && size > 0 ? 1 : -1;
	}
	if (!range_number(&text, &a) || *text++ != '-')
		return 0;
	b = size > 0 ? size - 1 : 0;
	if (*text != '\0' && (!range_number(&text, &b) || *text != '\0' || b < a))
		return 0;
	if (a >= size)
		return -1;
	*from = a;
	*end = b < size ? b + 1 : size;
	return 1;
}

static void content_type(struct tagger *t, uint32_t file, char out[EXTRACT_MIME_MAX])
{
	struct index_record rec;

	snprintf(out, EXTRACT_MIME_MAX, "application/octet-stream");
	if (index_get(t->index, file, &rec) != 0)
		return;
	if (rec.r.mime.len > 0 && rec.r.mime.len < EXTRACT_MIME_MAX) {
		memcpy(out, rec.r.mime.at, rec.r.mime.len);
		out[rec.r.mime.len] = '\0';
	}
	for (char *c = out; *c != '\0'; c++)
		if (!isgraph((unsigned char)*c) && *c != ' ')
			*c = '-';
	index_record_free(&rec);
}

static void content_headers(struct http_request *r, const struct stat *st, uint64_t from,
			    uint64_t end, bool part)
{
	char text[96];

	snprintf(text, sizeof(text), "\"%" PRIx64 "-%" PRIx64 "\"",
		 (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec,
		 (uint64_t)st->st_size);
	http_header(r, "ETag", text);
	snprintf(text, sizeof(text), "%" PRIu64, end - from);
	http_header(r, "Content-Length", text);
	if (part) {
		snprintf(text, sizeof(text), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, from,
			 end - 1, (uint64_t)st->st_size);
		http_header(r, "Content-Range", text);
	}
	http_header(r, "Accept-Ranges", "bytes");
	http_header(r, "Cache-Control", "no-cache");
	/* a page among the files must not act as a page of ours */
	http_header(r, "Content-Security-Policy", "sandbox; default-src 'none'");
	if (http_query(r, "download") != NULL)
		http_header(r, "Content-Disposition", "attachment");
}

int api_open(struct tagger *t, uint32_t file, struct stat *st)
{
	static char path[INDEX_PATH_MAX];
	int fd, flags = O_RDONLY | O_NONBLOCK | O_NOCTTY;
	struct tree_entry e;

	if (index_path(t->index, file, path, sizeof(path)) < 0)
		return -ENAMETOOLONG;
	if (index_node(t->index, file)->kind == EXTRACT_KIND_FOLDER)
		return -EISDIR;
	if (index_node(t->index, file)->kind == EXTRACT_KIND_SPECIAL)
		return -ENOTSUP;
	fd = tree_openat(&t->tree, path, flags | O_NOATIME, 0);
	if (fd == -EPERM)
		fd = tree_openat(&t->tree, path, flags, 0);
	if (fd < 0)
		return fd;
	if (fstat(fd, st) < 0 || !S_ISREG(st->st_mode) || tree_look(&t->tree, fd, "", &e) != 0 ||
	    memcmp(e.seen.ident, index_node(t->index, file)->ident, 16) != 0) {
		close(fd);
		return -ENOENT;
	}
	return fd;
}

void api_content(struct tagger *t, struct http_request *r)
{
	uint32_t file = api_file(t, r);
	char type[EXTRACT_MIME_MAX];
	uint64_t from = 0, end;
	struct content *c;
	struct stat st;
	int fd, part;

	if (file == 0)
		return;
	fd = api_open(t, file, &st);
	if (fd < 0) {
		api_errno(r, fd, "The file");
		return;
	}
	end = (uint64_t)st.st_size;
	part = content_range(http_request_header(r, "Range"), end, &from, &end);
	if (part < 0) {
		close(fd);
		api_error(r, 416, "bad_range", "The file has %" PRIu64 " bytes.", end);
		return;
	}
	content_type(t, file, type);
	content_headers(r, &st, from, end, part > 0);
	c = !r->head && end > from ? malloc(sizeof(*c)) : NULL;
	if (c == NULL) {
		close(fd);
		http_reply(r, part > 0 ? 206 : 200, type, "", 0);
		return;
	}
	*c = (struct content){.r = r, .fd = fd, .at = from, .end = end};
	http_stream_start(r, part > 0 ? 206 : 200, type, content_gone, c);
	content_next(c);
}

/* ---- folders, moving, deleting --------------------------------------------------------------- */

static const char *need_path(struct http_request *r)
{
	const char *path = http_query(r, "path");

	if (path == NULL)
		api_error(r, 400, "bad_request", "Say which: path=...");
	return path;
}

static void reply_file(struct tagger *t, struct http_request *r, uint32_t folder, const char *name)
{
	uint32_t file = index_by_place(t->index, folder, name, strlen(name));

	if (file != 0)
		api_json(r, 200, api_file_json(t, file));
	else
		api_json(r, 200, json_object());
}

void api_mkdir(struct tagger *t, struct http_request *r)
{
	const char *path = need_path(r);
	struct api_place p;
	int err;

	if (path == NULL || !api_may_change(t, r))
		return;
	err = api_place(t, path, &p);
	if (err == 0 && mkdirat(p.fd, p.name, 0777) < 0) {
		err = -errno;
		close(p.fd);
	}
	if (err != 0) {
		api_errno(r, err, "The folder cannot be made");
		return;
	}
	close(p.fd);
	scan_place(t->scan, p.folder, p.name);
	reply_file(t, r, p.folder, p.name);
}

static int move_file(struct tagger *t, uint32_t file, const char *to, bool replace,
		     struct api_place *target)
{
	struct api_place source;
	char name[RECORD_NAME_MAX + 1];
	int err = api_place_of(t, file, &source);

	if (err != 0)
		return err;
	snprintf(name, sizeof(name), "%s", source.name); /* its path is used again */
	err = api_place(t, to, target);
	if (err == 0) {
		if (renameat2(source.fd, name, target->fd, target->name,
			      replace ? 0 : RENAME_NOREPLACE) < 0)
			err = -errno;
		close(target->fd);
	}
	close(source.fd);
	if (err == 0) {
		scan_place(t->scan, target->folder, target->name);
		scan_place(t->scan, source.folder, name);
	}
	return err;
}

void api_move(struct tagger *t, struct http_request *r)
{
	const char *to = http_query(r, "to");
	struct api_place target;
	uint32_t file;
	int err;

	if (to == NULL) {
		api_error(r, 400, "bad_request", "Say where to: to=...");
		return;
	}
	file = api_file(t, r);
	if (file == 0 || !api_may_change(t, r))
		return;
	err = move_file(t, file, to, http_query(r, "replace") != NULL, &target);
	if (err != 0)
		api_errno(r, err, "It cannot be moved");
	else
		reply_file(t, r, target.folder, target.name);
}

static int delete_file(struct tagger *t, uint32_t file, bool recursive)
{
	bool folder = index_node(t->index, file)->kind == EXTRACT_KIND_FOLDER;
	struct api_place p;
	int err = api_place_of(t, file, &p);

	if (err != 0)
		return err;
	if (folder && recursive)
		err = trash_put(&t->tree, p.fd, p.name);
	else if (unlinkat(p.fd, p.name, folder ? AT_REMOVEDIR : 0) < 0)
		err = -errno;
	close(p.fd);
	/* other names of a file keep it */
	if (err == 0 && index_node(t->index, file)->flags & RECORD_LINKED)
		scan_place(t->scan, p.folder, p.name);
	else if (err == 0)
		err = index_remove(t->index, file);
	return err == 0 ? index_commit(t->index) : err;
}

void api_delete(struct tagger *t, struct http_request *r)
{
	uint32_t file = api_file(t, r);
	int err;

	if (file == 0 || !api_may_change(t, r))
		return;
	err = delete_file(t, file, http_query(r, "recursive") != NULL);
	if (err != 0)
		api_errno(r, err, "It cannot be deleted");
	else
		api_json(r, 200, json_object());
}
