/*
 * Uploads come in pieces, each a request that says at which offset it belongs: so a piece is
 * bounded in memory, and an upload that broke off goes on where it was, also after a restart. The
 * pieces go into a file of our own on the same file system; with the last one it is made durable
 * and renamed to its place in one step. Until then nobody sees anything of it.
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
	const char *path;
	uint64_t offset, size;
	bool replace;
	char part[2 * HASH_BYTES + 8];
	int parts; /* the folder of unfinished ones */
};

/* The same path and size is the same upload. */
static void upload_name(struct upload *u)
{
	uint8_t hash[HASH_BYTES];
	char text[32];
	struct hash_stream *h = hash_stream_new();

	if (h == NULL)
		abort();
	snprintf(text, sizeof(text), "%" PRIu64 "/", u->size);
	hash_stream_add(h, text, strlen(text));
	hash_stream_add(h, u->path, strlen(u->path));
	hash_stream_end(h, hash);
	for (int i = 0; i < HASH_BYTES; i++)
		snprintf(u->part + 2 * i, 3, "%02x", hash[i]);
}

static bool upload_query(struct tagger *t, struct http_request *r, struct upload *u)
{
	const char *size = http_query(r, "size"), *offset = http_query(r, "offset");

	u->path = http_query(r, "path");
	u->replace = http_query(r, "replace") != NULL;
	u->offset = 0;
	if (u->path == NULL || size == NULL ||
	    conf_number(size, 0, UPLOAD_SIZE_MAX, &u->size) != 0 ||
	    (offset != NULL && conf_number(offset, 0, u->size, &u->offset) != 0)) {
		api_error(
			r, 400, "bad_request",
			"An upload needs path=, size= (of the whole) and offset= (of this piece).");
		return false;
	}
	upload_name(u);
	u->parts = tree_open_own(&t->tree, UPLOADS);
	if (u->parts < 0)
		api_errno(r, u->parts, "The upload");
	return u->parts >= 0;
}

static json_t *upload_json(const struct upload *u, uint64_t have, bool done)
{
	return json_pack("{s:I, s:I, s:b}", "offset", (json_int_t)have, "size", (json_int_t)u->size,
			 "done", done);
}

static uint64_t upload_have(const struct upload *u)
{
	struct stat st;

	return fstatat(u->parts, u->part, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (uint64_t)st.st_size : 0;
}

/* How far it is. */
void api_upload_get(struct tagger *t, struct http_request *r)
{
	struct upload u;

	if (!upload_query(t, r, &u))
		return;
	api_json(r, 200, upload_json(&u, upload_have(&u), false));
	close(u.parts);
}

void api_upload_delete(struct tagger *t, struct http_request *r)
{
	struct upload u;

	if (!upload_query(t, r, &u))
		return;
	(void)unlinkat(u.parts, u.part, 0);
	close(u.parts);
	api_json(r, 200, json_object());
}

static int upload_write(const struct upload *u, const char *data, size_t len)
{
	int fd = openat(u->parts, u->part, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
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
static int upload_finish(struct tagger *t, const struct upload *u, struct api_place *p)
{
	int err = api_place(t, u->path, p), fd;

	if (err != 0)
		return err;
	if (renameat2(u->parts, u->part, p->fd, p->name, u->replace ? 0 : RENAME_NOREPLACE) < 0)
		err = -errno;
	if (err == 0) {
		fd = openat(p->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0 || fsync(fd) < 0)
			err = -errno;
		if (fd >= 0)
			close(fd);
	}
	close(p->fd);
	return err;
}

void api_upload_put(struct tagger *t, struct http_request *r)
{
	struct api_place p;
	struct upload u;
	uint64_t have;
	int err = 0;

	if (!api_may_change(t, r) || !upload_query(t, r, &u))
		return;
	have = upload_have(&u);
	if (u.offset != have || r->body_len > u.size - u.offset) {
		api_json(r, 409, upload_json(&u, have, false));
		close(u.parts);
		return;
	}
	err = upload_write(&u, r->body, r->body_len);
	have = upload_have(&u);
	if (err == 0 && have == u.size)
		err = upload_finish(t, &u, &p);
	close(u.parts);
	if (err != 0) {
		api_errno(r, err, "The upload");
		return;
	}
	if (have == u.size)
		scan_place(t->scan, p.folder, p.name);
	api_json(r, 200, upload_json(&u, have, have == u.size));
}
