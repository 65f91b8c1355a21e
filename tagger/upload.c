/* See upload.h: the files of uploads. All of this may wait for the volume. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "tagger/upload.h"
#include "banned.h"

#define UPLOADS	      "upload"
#define UNSIZED	      "unsized-"
#define UPLOAD_WINDOW (32u << 20) /* written at most two of these ahead of the disk */

struct upload *upload_new(struct tagger *t, struct http_request *r)
{
	struct upload *u = calloc(1, sizeof(*u));

	if (u != NULL) {
		u->t = t;
		u->r = r;
		u->fd = -1;
	}
	return u;
}

/* The same path and size is the same upload. */
void upload_name(struct upload *u, const char *path)
{
	uint8_t hash[HASH_BYTES];
	char text[32];
	size_t at = 0;
	struct hash_stream *h = hash_stream_new();

	if (h == NULL)
		abort();
	snprintf(text, sizeof(text), "%" PRIu64 "/", u->size);
	hash_stream_add(h, text, strlen(text));
	hash_stream_add(h, path, strlen(path));
	hash_stream_end(h, hash);
	if (u->unsized)
		at = (size_t)snprintf(u->part, sizeof(u->part), "%s", UNSIZED);
	for (int i = 0; i < HASH_BYTES; i++)
		snprintf(u->part + at + (size_t)(2 * i), 3, "%02x", hash[i]);
}

static uint64_t upload_have(const struct upload *u, int parts)
{
	struct stat st;

	return fstatat(parts, u->part, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (uint64_t)st.st_size : 0;
}

static bool is_full(int err)
{
	return err == -ENOSPC || err == -EDQUOT;
}

/* A disk that is full is not made fuller by what will never be whole. */
static void upload_unlink(const struct upload *u)
{
	int parts = tree_open_own(&u->t->tree, UPLOADS);

	if (parts < 0)
		return;
	(void)unlinkat(parts, u->part, 0);
	close(parts);
}

/* The length stays: it says how much has come. */
static int upload_reserve(const struct upload *u)
{
	if (u->unsized || u->size == u->have ||
	    fallocate(u->fd, FALLOC_FL_KEEP_SIZE, (off_t)u->have, (off_t)(u->size - u->have)) == 0)
		return 0;
	return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? -errno : 0;
}

static int upload_open_part(struct upload *u, int parts, int folder)
{
	uint64_t length = http_body_length(u->r);
	struct stat st;

	u->have = u->anew ? 0 : upload_have(u, parts);
	u->misfit = u->offset != u->have ||
		    (length != HTTP_LENGTH_UNKNOWN && length > u->size - u->offset);
	if (u->misfit)
		return 0;
	if (!u->replace && fstatat(folder, u->place.name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	u->fd = openat(parts, u->part,
		       O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | (u->anew ? O_TRUNC : 0), 0666);
	return u->fd < 0 ? -errno : upload_reserve(u);
}

void upload_open(struct aside_job *job)
{
	struct upload *u = (struct upload *)job;
	int parts = tree_open_own(&u->t->tree, UPLOADS), folder = -1;

	u->err = parts < 0 ? parts : 0;
	if (u->err == 0)
		folder = place_open_folder(&u->t->tree, &u->place);
	if (u->err == 0)
		u->err = folder < 0 ? folder : upload_open_part(u, parts, folder);
	if (u->fd >= 0 && is_full(u->err))
		(void)unlinkat(parts, u->part, 0);
	if (folder >= 0)
		close(folder);
	if (parts >= 0)
		close(parts);
}

/*
 * The kernel starts writing each window when it is full, and we wait for the one before: so a slow
 * volume slows us down here, not the whole machine by memory that is full of our pages, and there
 * is little left to wait for at the end.
 */
static int upload_flush(const struct upload *u, uint64_t from)
{
	uint64_t window = u->have / UPLOAD_WINDOW;
	off_t at = (off_t)(window * UPLOAD_WINDOW);

	if (from / UPLOAD_WINDOW == window || window == 0)
		return 0;
	(void)sync_file_range(u->fd, at - UPLOAD_WINDOW, UPLOAD_WINDOW, SYNC_FILE_RANGE_WRITE);
	if (window > 1 &&
	    sync_file_range(u->fd, at - 2 * (off_t)UPLOAD_WINDOW, UPLOAD_WINDOW,
			    SYNC_FILE_RANGE_WAIT_BEFORE) < 0 &&
	    (errno == ENOSPC || errno == EIO || errno == EDQUOT))
		return -errno;
	return 0;
}

void upload_write(struct aside_job *job)
{
	struct upload *u = (struct upload *)job;
	const char *data = u->data;
	uint64_t from = u->have;

	u->err = 0;
	for (size_t at = 0; at < u->len && u->err == 0;) {
		ssize_t n = pwrite(u->fd, data + at, u->len - at, (off_t)u->have);

		if (n < 0) {
			u->err = errno != EINTR ? -errno : 0;
		} else {
			at += (size_t)n;
			u->have += (uint64_t)n;
		}
	}
	if (u->err == 0)
		u->err = upload_flush(u, from);
	if (is_full(u->err))
		upload_unlink(u);
}

/* Tags by hand are the place's, not those of the bytes that were there. */
static void upload_inherit(const struct upload *u, int folder)
{
	char hand[RECORD_HAND_MAX];
	int old = openat(folder, u->place.name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	ssize_t n;

	if (old < 0)
		return;
	n = fgetxattr(old, SCAN_XATTR, hand, sizeof(hand));
	if (n > 0)
		(void)fsetxattr(u->fd, SCAN_XATTR, hand, (size_t)n, 0);
	close(old);
}

/* The name is durable with the folder. */
static int upload_rename(const struct upload *u, int parts, int folder)
{
	int fd, err = 0;

	if (u->replace)
		upload_inherit(u, folder);
	if (fsync(u->fd) < 0)
		return -errno;
	if (renameat2(parts, u->part, folder, u->place.name, u->replace ? 0 : RENAME_NOREPLACE) < 0)
		return -errno;
	fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		err = -errno;
	if (fd >= 0)
		close(fd);
	return err;
}

void upload_finish(struct aside_job *job)
{
	struct upload *u = (struct upload *)job;
	int parts = tree_open_own(&u->t->tree, UPLOADS), folder = -1;

	u->err = parts < 0 ? parts : 0;
	if (u->err == 0)
		folder = place_open_folder(&u->t->tree, &u->place);
	if (u->err == 0)
		u->err = folder < 0 ? folder : upload_rename(u, parts, folder);
	if (u->err == 0 && u->unsized) { /* its file is not ours any more */
		u->unsized = false;
		u->size = u->have;
	}
	if (parts >= 0 && is_full(u->err))
		(void)unlinkat(parts, u->part, 0);
	if (folder >= 0)
		close(folder);
	if (parts >= 0)
		close(parts);
}

void upload_look(struct aside_job *job)
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

void upload_drop(struct aside_job *job)
{
	struct upload *u = (struct upload *)job;

	if (u->unsized && !u->superseded)
		upload_unlink(u);
	if (u->fd >= 0)
		close(u->fd);
	u->fd = -1;
}

/* ---- what nobody goes on with -----------------------------------------------------------------
 */

struct tidy {
	struct aside_job job; /* first */
	struct tagger *t;
	bool start;
};

static void tidy_work(struct aside_job *job)
{
	struct tidy *y = (struct tidy *)job;
	time_t now = time(NULL);
	struct dirent *e;
	struct stat st;
	DIR *d;
	int fd;

	if (faccessat(y->t->tree.root_fd, TREE_OWN "/" UPLOADS, F_OK, 0) != 0)
		return;
	fd = tree_open_own(&y->t->tree, UPLOADS);
	d = fd >= 0 ? fdopendir(fd) : NULL;
	if (d == NULL) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.' ||
		    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (st.st_mtime < now - UPLOAD_KEEP_S ||
		    (y->start && strncmp(e->d_name, UNSIZED, strlen(UNSIZED)) == 0))
			(void)unlinkat(dirfd(d), e->d_name, 0);
	}
	closedir(d);
}

static void tidy_done(struct aside_job *job)
{
	free(job);
}

static void tidy(struct tagger *t, bool start)
{
	struct tidy *y = calloc(1, sizeof(*y));

	if (y == NULL)
		return;
	y->job.work = tidy_work;
	y->job.done = tidy_done;
	y->t = t;
	y->start = start;
	if (aside_post(t->aside, ASIDE_CHANGE, &y->job) != 0)
		free(y);
}

static void tidy_again(void *arg)
{
	tidy(arg, false);
}

struct control_timer *uploads_start(struct tagger *t)
{
	tidy(t, true);
	return control_timer_start(t->control, UPLOAD_TIDY_S * 1000u, 1, tidy_again, t);
}
