/*
 * Making a store: find out what is at the path, refuse to write over anything that may be of worth,
 * and let the store's own code write it.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nbdsrv.h"
#include "size.h"
#include "store/store.h"

#include "banned.h"

#define LOOK_BYTES                                                                                 \
	(1u << 20) /* at the start of what is there: superblocks of anything lie there             \
		    */

struct target {
	char path[PATH_MAX];
	int fd;
	bool created;
	bool is_block;
	uint64_t size;
};

static bool target_directory(const char *path)
{
	struct stat st;

	if (stat(path, &st) == 0 || mkdir(path, 0700) == 0)
		return true;
	log_error("cannot make the directory %s: %s", path, strerror(errno));
	return false;
}

static bool target_open(struct target *t, const char *path)
{
	struct stat st;
	int flags = O_RDWR | O_CLOEXEC;

	if (path_of_store(path, t->path, sizeof(t->path)) < 0 || !target_directory(path))
		return false;
	t->created = stat(t->path, &st) < 0 && errno == ENOENT;
	if (!t->created && S_ISBLK(st.st_mode))
		flags |= O_EXCL; /* refused while it is mounted */
	t->fd = open(t->path, flags | (t->created ? O_CREAT | O_EXCL : 0), 0600);
	if (t->fd < 0) {
		log_error("cannot open %s: %s%s", t->path, strerror(errno),
			  errno == EBUSY ? " (is it mounted?)" : "");
		return false;
	}
	if (path_lock(t->fd, LOCK_EX) < 0) {
		log_error("%s is in use: stop the nbdsrv that serves it first", t->path);
		return false;
	}
	if (path_size(t->fd, &t->size, &t->is_block) < 0) {
		log_error("%s is neither a directory nor a regular file nor a block device",
			  t->path);
		return false;
	}
	return true;
}

static bool all_zeros(int fd)
{
	static uint8_t buf[LOOK_BYTES];
	ssize_t n = pread(fd, buf, sizeof(buf), 0);

	for (ssize_t i = 0; i < n; i++)
		if (buf[i] != 0)
			return false;
	return n >= 0;
}

/* Nothing there that somebody may want back? */
static bool target_is_free(const struct target *t, bool force)
{
	struct store_info info;
	const char *why;
	int err;

	if (force || t->created || t->size == 0)
		return true;
	err = store_probe(t->fd, &info, &why);
	if (err != -ENOENT)
		log_error("%s holds a store already%s: --force makes a new one in its place and "
			  "loses everything in it",
			  t->path, err == 0 ? "" : " (one that cannot be used as it is)");
	else if (!all_zeros(t->fd))
		log_error(
			"%s holds something else: --force makes a store in its place and loses it",
			t->path);
	else
		return true;
	return false;
}

static bool target_resize(struct target *t, uint64_t want)
{
	char have_text[SIZE_TEXT_MAX], min_text[SIZE_TEXT_MAX];

	if (want == 0)
		want = t->size;
	if (t->is_block && want > t->size) {
		log_error("%s has only %s", t->path, size_format(t->size, have_text));
		return false;
	}
	if (want < STORE_MIN_BYTES) {
		log_error("%s: a store needs at least %s: say how large by --size", t->path,
			  size_format(STORE_MIN_BYTES, min_text));
		return false;
	}
	/* From nothing, so that old bytes do not show through. */
	if (!t->is_block && (ftruncate(t->fd, 0) < 0 || ftruncate(t->fd, (off_t)want) < 0)) {
		log_error("cannot give %s its size: %s", t->path, strerror(errno));
		return false;
	}
	t->size = want;
	return true;
}

static bool target_format(const struct target *t, const struct nbd_auth_config *auth)
{
	struct store_format_options fopt = {.size_bytes = t->size};
	const char *why = "it cannot be written";
	int err;

	memcpy(fopt.cluster, auth->cluster, sizeof(fopt.cluster));
	memcpy(fopt.store, auth->store, sizeof(fopt.store));
	err = store_format(t->fd, &fopt, &why);
	if (err < 0) {
		log_error("%s: %s", t->path, why);
		return false;
	}
	return true;
}

int format_store(const struct nbdsrv_options *opt)
{
	struct target t = {.fd = -1};
	struct nbd_auth_config auth;
	char text[SIZE_TEXT_MAX];
	bool good = auth_load(opt->secret, &auth) == 0 && target_open(&t, opt->store) &&
		    target_is_free(&t, opt->force) && target_resize(&t, opt->size) &&
		    target_format(&t, &auth);

	if (good && (fsync(t.fd) < 0)) {
		log_error("%s: %s", t.path, strerror(errno));
		good = false;
	}
	if (!good && t.created && t.fd >= 0)
		unlink(t.path);
	if (t.fd >= 0)
		close(t.fd);
	if (good)
		printf("%s: a new store of %s\n", t.path, size_format(t.size, text));
	return good ? 0 : 1;
}
