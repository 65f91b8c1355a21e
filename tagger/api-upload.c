/*
 * Uploads come in pieces, each a request that says at which offset it belongs: so a piece is
 * bounded in memory, and an upload that broke off goes on where it was, also after a restart. The
 * pieces go into a file of our own on the same file system; with the last one it is made durable
 * and renamed to its place in one step. Until then nobody sees anything of it. All that may wait
 * for the volume is done by a thread (aside.h), one piece after the other.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf.h"
#include "hash.h"
#include "tagger/tagger.h"
#include "banned.h"

#define UPLOADS		"upload"
#define UPLOAD_SIZE_MAX (1ull << 50)

struct upload {
	struct aside_job job; /* first */
	struct tagger *t;
	struct http_request *r;
	struct place place;
	uint64_t offset, size;
	bool replace;
	char part[2 * HASH_BYTES + 8];
	int err;
	uint64_t have; /* of it, now */
	bool misfit;   /* the piece belongs elsewhere */
};

static void upload_free(struct upload *u)
{
	place_free(&u->place);
	free(u);
}

/* The same path and size is the same upload. */
static void upload_name(struct upload *u, const char *path)
{
	uint8_t hash[HASH_BYTES];
	char text[32];
	struct hash_stream *h = hash_stream_new();

	if (h == NULL)
		abort();
	snprintf(text, sizeof(text), "%" PRIu64 "/", u->size);
	hash_stream_add(h, text, strlen(text));
	hash_stream_add(h, path, strlen(path));
	hash_stream_end(h, hash);
	for (int i = 0; i < HASH_BYTES; i++)
		snprintf(u->part + 2 * i, 3, "%02x", hash[i]);
}

static bool upload_query(struct upload *u)
{
	struct http_request *r = u->r;
	const char *size = http_query(r, "size"), *offset = http_query(r, "offset");
	const char *path = http_query(r, "path");

	u->replace = http_query(r, "replace") != NULL;
	if (path == NULL || size == NULL || conf_number(size, 0, UPLOAD_SIZE_MAX, &u->size) != 0 ||
	    (offset != NULL && conf_number(offset, 0, u->size, &u->offset) != 0))
		return false;
	upload_name(u, path);
	return true;
}

static void upload_post(struct tagger *t, struct http_request *r,
			void (*work)(struct aside_job *job), void (*done)(struct aside_job *job))
{
	struct upload *u = calloc(1, sizeof(*u));
	int err = u != NULL ? 0 : -ENOMEM;

	if (u != NULL) {
		u->t = t;
		u->r = r;
		u->job.work = work;
		u->job.done = done;
		if (!upload_query(u)) {
			api_error(r, 400, "bad_request",
				  "An upload needs path=, size= (of the whole) and offset= (of "
				  "this piece).");
			upload_free(u);
			return;
		}
		if (!api_allow(r, scope_may_put(api_scope(r), http_query(r, "path")))) {
			upload_free(u);
			return;
		}
		/* said with the first piece, and not after all of it has come */
		if (r->method == HTTP_PUT)
			err = place_new(t->index, http_query(r, "path"), &u->place);
	}
	if (err == 0)
		err = aside_post(t->aside, ASIDE_CHANGE, &u->job);
	if (err == 0)
		return;
	api_errno(r, err, "The upload");
	if (u != NULL)
		upload_free(u);
}

static void upload_reply(struct upload *u, int status, bool done)
{
	api_json(u->r, status,
		 json_pack("{s:I, s:I, s:b}", "offset", (json_int_t)u->have, "size",
			   (json_int_t)u->size, "done", done));
	upload_free(u);
}

/* ---- on a thread ----------------------------------------------------------------------------- */

static uint64_t upload_have(const struct upload *u, int parts)
{
	struct stat st;

	return fstatat(parts, u->part, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (uint64_t)st.st_size : 0;
}

static int upload_write(const struct upload *u, int parts)
{
	int fd = openat(parts, u->part, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
	const char *data = u->r->body;
	size_t len = u->r->body_len;
	int err = 0;

	if (fd < 0)
		return -errno;
	for (size_t at = 0; at < len && err == 0;) {
		ssize_t n = pwrite(fd, data + at, len - at, (off_t)(u->offset + at));

		if (n < 0)
			err = -errno;
		else
			at += (size_t)n;
	}
	/* half a piece would be taken for the place to go on from, which it is; but say it */
	if (err == 0 && u->offset + len == u->size && fsync(fd) < 0)
		err = -errno;
	if (close(fd) < 0 && err == 0)
		err = -errno;
	return err;
}

/* The name is durable with the folder. */
static int upload_finish(const struct upload *u, int parts, int folder)
{
	int fd, err = 0;

	if (renameat2(parts, u->part, folder, u->place.name, u->replace ? 0 : RENAME_NOREPLACE) < 0)
		return -errno;
	fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		err = -errno;
	if (fd >= 0)
		close(fd);
	return err;
}

static int upload_piece(struct upload *u, int parts, int folder)
{
	struct stat st;
	int err;

	u->have = upload_have(u, parts);
	u->misfit = u->offset != u->have || u->r->body_len > u->size - u->offset;
	if (u->misfit)
		return 0;
	if (!u->replace && fstatat(folder, u->place.name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	err = upload_write(u, parts);
	u->have = upload_have(u, parts);
	return err == 0 && u->have == u->size ? upload_finish(u, parts, folder) : err;
}

static void upload_put(struct aside_job *job)
{
	struct upload *u = (struct upload *)job;
	int parts = tree_open_own(&u->t->tree, UPLOADS), folder = -1;

	u->err = parts < 0 ? parts : 0;
	if (u->err == 0)
		folder = place_open_folder(&u->t->tree, &u->place);
	if (u->err == 0)
		u->err = folder < 0 ? folder : upload_piece(u, parts, folder);
	if (folder >= 0)
		close(folder);
	if (parts >= 0)
		close(parts);
}

static void upload_look(struct aside_job *job)
{
	struct upload *u = (struct upload *)job;
	int parts = tree_open_own(&u->t->tree, UPLOADS);

	u->err = parts < 0 ? parts : 0;
	if (parts < 0)
		return;
	if (u->r->method == HTTP_DELETE)
		(void)unlinkat(parts, u->part, 0);
	u->have = upload_have(u, parts);
	close(parts);
}

/* ---- on the loop ----------------------------------------------------------------------------- */

static bool upload_failed(struct upload *u)
{
	if (u->err == 0)
		return false;
	if (u->err == -ENOSPC)
		bin_sweep(u->t); /* perhaps the next try fits */
	api_errno(u->r, u->err, "The upload");
	upload_free(u);
	return true;
}

static void upload_looked(struct aside_job *job)
{
	struct upload *u = (struct upload *)job;

	if (!upload_failed(u))
		upload_reply(u, 200, false);
}

static void upload_was_put(struct aside_job *job)
{
	struct upload *u = (struct upload *)job;
	bool whole = u->err == 0 && !u->misfit && u->have == u->size;

	if (whole)
		scan_place(u->t->scan, u->place.folder, u->place.name);
	if (!upload_failed(u))
		upload_reply(u, u->misfit ? 409 : 200, whole);
}

/* How far it is. */
void api_upload_get(struct tagger *t, struct http_request *r)
{
	upload_post(t, r, upload_look, upload_looked);
}

/* What has come is thrown away. */
void api_upload_delete(struct tagger *t, struct http_request *r)
{
	upload_post(t, r, upload_look, upload_looked);
}

void api_upload_put(struct tagger *t, struct http_request *r)
{
	if (api_may_change(t, r))
		upload_post(t, r, upload_put, upload_was_put);
}
