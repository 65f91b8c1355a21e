/* See bin.h. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "tagger/bin.h"
#include "tagger/tagger.h"
#include "banned.h"

#define BIN	      "bin"
#define BIN_IT	      "it"
#define BIN_NOTE      "note"
#define BIN_NOTE_MAX  (4 * INDEX_PATH_MAX)
#define BIN_DEPTH_MAX 1000u /* folders that are made again */

static atomic_uint bin_number;

bool bin_id_valid(const char *id)
{
	size_t len = strlen(id);

	return len > 0 && len < BIN_ID_MAX && strspn(id, "0123456789abcdef-") == len;
}

void bin_entry_free(struct bin_entry *e)
{
	if (e != NULL)
		free(e->path);
	free(e);
}

static int bin_open(const struct tree *t, const char *id)
{
	int bin = tree_open_own(t, BIN), fd;

	if (bin < 0)
		return bin;
	fd = openat(bin, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	fd = fd < 0 ? -errno : fd;
	close(bin);
	return fd;
}

/* ---- the note ------------------------------------------------------------------------------ */

static int note_write(int folder, const struct bin_entry *e)
{
	json_t *o = json_pack("{s:o, s:s, s:s, s:I, s:I}", "path", api_href(e->path), "by", e->by,
			      "kind", e->kind, "time", (json_int_t)e->time, "size",
			      (json_int_t)e->size);
	char *text = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;
	size_t len = text != NULL ? strlen(text) : 0;
	int fd, err = 0;

	json_decref(o);
	if (text == NULL)
		return -ENOMEM;
	fd = openat(folder, BIN_NOTE, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, text, len) != (ssize_t)len || fsync(fd) < 0)
		err = errno != 0 ? -errno : -EIO;
	if (fd >= 0)
		close(fd);
	free(text);
	return err;
}

static bool note_parse(json_t *o, struct bin_entry *e)
{
	const char *path = NULL, *by = "", *kind = "";
	json_int_t when = 0, size = 0;
	size_t len;

	if (json_unpack(o, "{s:s, s?s, s?s, s?I, s?I}", "path", &path, "by", &by, "kind", &kind,
			"time", &when, "size", &size) != 0)
		return false;
	len = strlen(path);
	e->path = malloc(len + 1);
	if (e->path == NULL || api_decode(path, len, e->path, len + 1) <= 0)
		return false;
	snprintf(e->by, sizeof(e->by), "%s", by);
	snprintf(e->kind, sizeof(e->kind), "%s", kind);
	e->time = when;
	e->size = size > 0 ? (uint64_t)size : 0;
	if (e->size > BIN_SIZE_MAX)
		e->size = BIN_SIZE_MAX;
	return true;
}

/* False: what is in this folder has no note, or is not there. */
static bool note_read(int folder, struct bin_entry *e)
{
	int fd = openat(folder, BIN_NOTE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	char *text = fd >= 0 ? malloc(BIN_NOTE_MAX) : NULL;
	ssize_t n = text != NULL ? read(fd, text, BIN_NOTE_MAX) : -1;
	json_t *o = n > 0 ? json_loadb(text, (size_t)n, 0, NULL) : NULL;
	bool good = json_is_object(o) && note_parse(o, e);

	json_decref(o);
	free(text);
	if (fd >= 0)
		close(fd);
	return good;
}

/* ---- in and out ------------------------------------------------------------------------------ */

static void bin_name(struct bin_entry *e)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	e->time = now.tv_sec;
	snprintf(e->id, sizeof(e->id), "%012llx-%08lx-%08x", (unsigned long long)now.tv_sec,
		 now.tv_nsec, atomic_fetch_add(&bin_number, 1));
}

/* A folder of the bin without anything in it goes; one that has something stays. */
static void bin_clean(int bin, const char *id)
{
	int folder = openat(bin, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (folder < 0)
		return;
	if (faccessat(folder, BIN_IT, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		(void)unlinkat(folder, BIN_NOTE, 0);
	close(folder);
	(void)unlinkat(bin, id, AT_REMOVEDIR);
}

/* A file may have grown since the index looked at it. */
static void bin_measure(int dir_fd, const char *name, struct bin_entry *e)
{
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode))
		e->size = (uint64_t)st.st_size;
}

int bin_put(const struct tree *t, int dir_fd, const char *name, struct bin_entry *e)
{
	int bin = tree_open_own(t, BIN), folder = -1, err = 0;

	if (bin < 0)
		return bin;
	bin_name(e);
	bin_measure(dir_fd, name, e);
	if (mkdirat(bin, e->id, 0700) < 0) {
		err = -errno;
		close(bin);
		return err;
	}
	folder = openat(bin, e->id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	err = folder < 0 ? -errno : note_write(folder, e);
	/* the note's name, and its folder's, before what they are about */
	if (err == 0 && (fsync(folder) < 0 || fsync(bin) < 0))
		err = -errno;
	if (err == 0 && renameat(dir_fd, name, folder, BIN_IT) < 0)
		err = -errno;
	if (folder >= 0)
		close(folder);
	if (err != 0)
		bin_clean(bin, e->id);
	close(bin);
	return err;
}

/* A path that may be made again: below the root, and not what is ours. */
static bool bin_path_valid(const char *path)
{
	size_t own = strlen(TREE_OWN), n;

	if (strncmp(path, TREE_OWN, own) == 0 && (path[own] == '\0' || path[own] == '/'))
		return false;
	for (const char *p = path;; p += n + 1) {
		n = strcspn(p, "/");
		if (n == 0 || n > NAME_MAX || (n == 1 && p[0] == '.') ||
		    (n == 2 && p[0] == '.' && p[1] == '.'))
			return false;
		if (p[n] == '\0')
			return true;
	}
}

/* The folder that path is in, made when it is missing: a descriptor or -errno. */
static int bin_folder(const struct tree *t, char *path, const char **name)
{
	unsigned made = 0;
	int fd = tree_open_parent(t, path, name);

	for (char *slash = path; fd == -ENOENT && made < BIN_DEPTH_MAX; made++) {
		slash = strchr(slash, '/');
		if (slash == NULL)
			return tree_open_parent(t, path, name);
		*slash = '\0';
		fd = tree_open_parent(t, path, name);
		if (fd >= 0) {
			(void)mkdirat(fd, *name, 0777); /* mostly it is there */
			close(fd);
			fd = -ENOENT;
		}
		*slash++ = '/';
	}
	return fd;
}

/* "report.txt" becomes "report (2).txt". */
static char *bin_other_name(const char *path, unsigned n)
{
	const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
	const char *dot = strrchr(name, '.');
	char *other;

	if (dot == NULL || dot == name)
		dot = name + strlen(name);
	if (asprintf(&other, "%.*s (%u)%s", (int)(dot - path), path, n, dot) < 0)
		return NULL;
	return other;
}

static int bin_restore_as(const struct tree *t, int folder, char *path)
{
	const char *name;
	int to = bin_folder(t, path, &name), err = 0;

	if (to < 0)
		return to;
	if (renameat2(folder, BIN_IT, to, name, RENAME_NOREPLACE) < 0)
		err = -errno;
	close(to);
	return err;
}

int bin_restore(const struct tree *t, struct bin_entry *e)
{
	int folder = bin_id_valid(e->id) ? bin_open(t, e->id) : -EINVAL, err;
	char *was = e->path;

	if (folder < 0)
		return folder;
	err = bin_path_valid(was) ? bin_restore_as(t, folder, was) : -EINVAL;
	for (unsigned n = 2; err == -EEXIST && n <= BIN_NAMES_MAX; n++) {
		char *other = bin_other_name(was, n);

		err = other != NULL ? bin_restore_as(t, folder, other) : -ENOMEM;
		if (err == 0) {
			e->path = other;
			free(was);
		} else {
			free(other);
		}
	}
	close(folder);
	folder = err == 0 ? tree_open_own(t, BIN) : -1;
	if (folder >= 0) {
		bin_clean(folder, e->id);
		close(folder);
	}
	return err;
}

int bin_remove(const struct tree *t, const char *id)
{
	int bin = bin_id_valid(id) ? tree_open_own(t, BIN) : -EINVAL, folder, err;

	if (bin < 0)
		return bin;
	err = trash_put(t, bin, id);
	folder = err != 0 && err != -ENOENT ? bin_open(t, id) : -1;
	/* a full file system may have no room for moving it */
	if (folder >= 0 && unlinkat(folder, BIN_IT, 0) == 0) {
		bin_clean(bin, id);
		err = 0;
	}
	if (folder >= 0)
		close(folder);
	close(bin);
	return err;
}

/* ---- what there is -----------------------------------------------------------------------------
 */

/* NULL: nothing is in it, or no memory. */
static struct bin_entry *bin_load_entry(int bin, const char *id)
{
	struct bin_entry *e = calloc(1, sizeof(*e));
	int folder = openat(bin, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (e == NULL || folder < 0 || fstatat(folder, BIN_IT, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		free(e);
		e = NULL;
	} else if (!note_read(folder, e)) {
		/* a lost note is no reason to lose the file */
		free(e->path);
		e->size = (uint64_t)st.st_size;
		if (asprintf(&e->path, "found-%s", id) < 0)
			e->path = NULL;
	}
	if (folder >= 0)
		close(folder);
	if (e != NULL) {
		snprintf(e->id, sizeof(e->id), "%.*s", (int)sizeof(e->id) - 1, id);
		e->time = e->time > 0 ? e->time : st.st_ctim.tv_sec;
	}
	if (e != NULL && e->path == NULL) {
		free(e);
		e = NULL;
	}
	return e;
}

static int bin_compare(const void *a, const void *b)
{
	return strcmp((*(struct bin_entry *const *)a)->id, (*(struct bin_entry *const *)b)->id);
}

int bin_load(const struct tree *t, struct bin_entry ***out, size_t *n)
{
	bool there = faccessat(t->root_fd, TREE_OWN "/" BIN, F_OK, 0) == 0;
	int bin = there ? tree_open_own(t, BIN) : -ENOENT;
	DIR *dir = bin >= 0 ? fdopendir(dup(bin)) : NULL;
	const struct dirent *d;
	size_t max = 0;

	*out = NULL;
	*n = 0;
	if (!there)
		return 0;
	while (dir != NULL && (d = readdir(dir)) != NULL) {
		struct bin_entry **more, *e;

		if (d->d_name[0] == '.' || !bin_id_valid(d->d_name))
			continue;
		e = bin_load_entry(bin, d->d_name);
		if (e == NULL) {
			/* a crash came before the move */
			bin_clean(bin, d->d_name);
			continue;
		}
		if (*n == max) {
			max = max * 2 + 64;
			more = realloc(*out, max * sizeof(struct bin_entry *));
			if (more == NULL) {
				bin_entry_free(e);
				break;
			}
			*out = more;
		}
		(*out)[(*n)++] = e;
	}
	if (dir != NULL)
		closedir(dir);
	if (bin >= 0)
		close(bin);
	if (*n > 0)
		qsort(*out, *n, sizeof(struct bin_entry *), bin_compare);
	return bin < 0 ? bin : 0;
}
