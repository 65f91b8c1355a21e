/* See tree.h. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "hash.h"
#include "tagger/tree.h"
#include "banned.h"

#define TREE_STEP_MAX (PATH_MAX - 1)

static int tree_openat2(int dir_fd, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.mode = flags & O_CREAT ? mode : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
			   RESOLVE_NO_XDEV,
	};
	long fd;

	do {
		fd = syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
	} while (fd < 0 && (errno == EAGAIN || errno == EINTR)); /* a rename came between */
	return fd < 0 ? -errno : (int)fd;
}

/* As much of a path as one call takes, ending before a slash; 0: one name is too long. */
static size_t tree_step(const char *path)
{
	size_t len = strlen(path);

	if (len <= TREE_STEP_MAX)
		return len;
	for (len = TREE_STEP_MAX; len > 0 && path[len] != '/'; len--)
		;
	return len;
}

int tree_openat(const struct tree *t, const char *path, int flags, mode_t mode)
{
	char part[PATH_MAX];
	int at = t->root_fd, fd;

	for (;;) {
		size_t n = tree_step(path);
		bool last = path[n] == '\0';

		if (n == 0 && !last)
			fd = -ENAMETOOLONG;
		else {
			memcpy(part, path, n);
			part[n] = '\0';
			fd = tree_openat2(at, n > 0 ? part : ".",
					  last ? flags : O_PATH | O_DIRECTORY, mode);
		}
		if (at != t->root_fd)
			close(at);
		if (last || fd < 0)
			return fd;
		at = fd;
		path += n + 1;
	}
}

int tree_open_parent(const struct tree *t, const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	char *folder;
	int fd;

	*name = slash != NULL ? slash + 1 : path;
	if (**name == '\0' || strcmp(*name, ".") == 0 || strcmp(*name, "..") == 0)
		return -EINVAL;
	folder = strndup(path, slash != NULL ? (size_t)(slash - path) : 0);
	if (folder == NULL)
		return -ENOMEM;
	fd = tree_openat(t, folder, O_PATH | O_DIRECTORY, 0);
	free(folder);
	return fd;
}

void tree_handle_ident(int type, const void *handle, size_t len, uint8_t ident[16])
{
	uint8_t text[4 + MAX_HANDLE_SZ];

	len = len < MAX_HANDLE_SZ ? len : MAX_HANDLE_SZ;
	for (int i = 0; i < 4; i++)
		text[i] = (uint8_t)((uint32_t)type >> (8 * i));
	memcpy(text + 4, handle, len);
	hash_bytes(text, 4 + len, ident);
}

static bool tree_handle(struct tree *t, int dir_fd, const char *name, struct index_seen *seen)
{
	union {
		struct file_handle h;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u;
	int mount_id;

	if (__atomic_load_n(&t->no_handles, __ATOMIC_RELAXED))
		return false;
	u.h.handle_bytes = MAX_HANDLE_SZ;
	if (name_to_handle_at(dir_fd, name, &u.h, &mount_id, *name == '\0' ? AT_EMPTY_PATH : 0) <
	    0) {
		if (errno == EOPNOTSUPP)
			__atomic_store_n(&t->no_handles, 1, __ATOMIC_RELAXED);
		return false;
	}
	tree_handle_ident(u.h.handle_type, u.h.f_handle, u.h.handle_bytes, seen->ident);
	if (u.h.handle_bytes <= RECORD_HANDLE_MAX) {
		seen->handle_type = u.h.handle_type;
		seen->handle_len = (uint8_t)u.h.handle_bytes;
		memcpy(seen->handle, u.h.f_handle, u.h.handle_bytes);
	}
	return true;
}

static uint8_t tree_kind(mode_t mode, uint64_t size)
{
	if (S_ISDIR(mode))
		return EXTRACT_KIND_FOLDER;
	if (S_ISLNK(mode))
		return EXTRACT_KIND_LINK;
	if (!S_ISREG(mode))
		return EXTRACT_KIND_SPECIAL;
	return size == 0 ? EXTRACT_KIND_EMPTY : EXTRACT_KIND_UNKNOWN;
}

static int64_t tree_ns(const struct statx_timestamp *t)
{
	return t->tv_sec * 1000000000ll + t->tv_nsec;
}

int tree_look(struct tree *t, int dir_fd, const char *name, struct tree_entry *out)
{
	struct statx st;
	uint64_t own[3];

	memset(out, 0, sizeof(*out));
	if (statx(dir_fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH,
		  STATX_BASIC_STATS | STATX_BTIME, &st) < 0)
		return -errno;
	out->mode = st.stx_mode;
	out->foreign = st.stx_dev_major != t->dev_major || st.stx_dev_minor != t->dev_minor;
	out->seen.size = S_ISREG(st.stx_mode) ? st.stx_size : 0;
	out->seen.mtime_ns = tree_ns(&st.stx_mtime);
	out->seen.ctime_ns = tree_ns(&st.stx_ctime);
	out->seen.kind = tree_kind(st.stx_mode, st.stx_size);
	out->seen.linked = st.stx_nlink > 1 && !S_ISDIR(st.stx_mode);
	if (out->foreign || tree_handle(t, dir_fd, name, &out->seen))
		return 0;
	own[0] = st.stx_ino;
	own[1] = st.stx_mask & STATX_BTIME ? (uint64_t)tree_ns(&st.stx_btime) : 0;
	own[2] = 1;
	hash_bytes(own, sizeof(own), out->seen.ident);
	return 0;
}

bool tree_is_there(const struct tree *t)
{
	struct stat now;

	return stat(t->dir, &now) == 0 && major(now.st_dev) == t->dev_major &&
	       minor(now.st_dev) == t->dev_minor;
}

int tree_open(const char *dir, struct tree *t, const char **why)
{
	struct stat st, above;

	*t = (struct tree){.root_fd = -1};
	*why = "this folder cannot be opened";
	t->dir = realpath(dir, NULL);
	if (t->dir == NULL)
		return -errno;
	t->root_fd = open(t->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->root_fd < 0 || fstat(t->root_fd, &st) < 0)
		return -errno;
	t->dev_major = major(st.st_dev);
	t->dev_minor = minor(st.st_dev);
	t->is_mount = fstatat(t->root_fd, "..", &above, 0) < 0 || above.st_dev != st.st_dev ||
		      above.st_ino == st.st_ino;
	return 0;
}

void tree_close(struct tree *t)
{
	if (t->root_fd >= 0)
		close(t->root_fd);
	free(t->dir);
	*t = (struct tree){.root_fd = -1};
}

int tree_open_handle(const struct tree *t, int type, const void *handle, size_t len)
{
	union {
		struct file_handle h;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u;
	int fd;

	if (len == 0 || len > MAX_HANDLE_SZ)
		return -EOPNOTSUPP;
	u.h.handle_type = type;
	u.h.handle_bytes = (unsigned)len;
	memcpy(u.h.f_handle, handle, len);
	fd = open_by_handle_at(t->root_fd, &u.h, O_PATH | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int tree_path_of_handle(const struct tree *t, int type, const void *handle, size_t len, char *out,
			size_t max)
{
	int fd = tree_open_handle(t, type, handle, len);
	size_t root = strlen(t->dir);
	char link[64];
	ssize_t n;

	if (fd < 0)
		return fd;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, out, max - 1);
	close(fd);
	if (n < 0)
		return -errno;
	out[n] = '\0';
	if (root == 1)
		root = 0;
	if ((size_t)n <= root + 1 || strncmp(out, t->dir, root) != 0 || out[root] != '/')
		return -ENOENT;
	memmove(out, out + root + 1, (size_t)n - root);
	return (int)((size_t)n - root - 1);
}
