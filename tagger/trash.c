/*
 * Deleting a folder for good, with all that is in it, all or nothing: it is moved away in one
 * step, and what is in it is deleted afterwards by a thread of its own. What a crash leaves there
 * is deleted at the next start.
 *
 * Nothing recurses here: folders found inside are moved up beside the others first, so that trees
 * of any depth need two descriptors.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tagger/tagger.h"
#include "banned.h"

#define TRASH "trash"

static atomic_uint_least64_t trash_number;
static atomic_bool trash_running, trash_more;

int tree_open_own(const struct tree *t, const char *name)
{
	int own, fd;

	if (mkdirat(t->root_fd, TREE_OWN, 0700) < 0 && errno != EEXIST)
		return -errno;
	own = openat(t->root_fd, TREE_OWN, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (own < 0)
		return -errno;
	if (mkdirat(own, name, 0700) < 0 && errno != EEXIST) {
		fd = -errno;
	} else {
		fd = openat(own, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		fd = fd < 0 ? -errno : fd;
	}
	close(own);
	return fd;
}

static void trash_name(char *out, size_t max)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	snprintf(out, max, "%llx-%lx-%llx", (unsigned long long)now.tv_sec, now.tv_nsec,
		 (unsigned long long)atomic_fetch_add(&trash_number, 1));
}

/* Files of the folder are deleted, folders go up to the trash; then it is deleted itself. */
static int trash_folder(int trash, const char *name)
{
	int fd = openat(trash, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *d;
	char up[64];
	int err = 0;

	if (dir == NULL) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		return err;
	}
	while ((d = readdir(dir)) != NULL) {
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0 ||
		    unlinkat(fd, d->d_name, 0) == 0)
			continue;
		trash_name(up, sizeof(up));
		if (renameat(fd, d->d_name, trash, up) < 0)
			err = -errno;
	}
	closedir(dir);
	return unlinkat(trash, name, AT_REMOVEDIR) < 0 && err == 0 ? -errno : err;
}

/* One round; true when another one may get further. */
static bool trash_round(int trash)
{
	int fd = openat(trash, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *d;
	bool some = false;

	if (dir == NULL) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	while ((d = readdir(dir)) != NULL) {
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if (unlinkat(trash, d->d_name, 0) == 0 || trash_folder(trash, d->d_name) == 0)
			some = true;
	}
	closedir(dir);
	return some;
}

static void *trash_thread(void *arg)
{
	int trash = (int)(intptr_t)arg;

	do {
		atomic_store(&trash_more, false);
		while (trash_round(trash))
			;
		atomic_store(&trash_running, false);
		/* more came after the last look: go on, unless another thread does */
	} while (atomic_load(&trash_more) && !atomic_exchange(&trash_running, true));
	close(trash);
	return NULL;
}

bool trash_is_busy(void)
{
	return atomic_load(&trash_running);
}

void trash_empty(const struct tree *t)
{
	pthread_t thread;
	int fd;

	atomic_store(&trash_more, true);
	if (atomic_exchange(&trash_running, true))
		return;
	fd = tree_open_own(t, TRASH);
	if (fd >= 0 && pthread_create(&thread, NULL, trash_thread, (void *)(intptr_t)fd) == 0) {
		pthread_detach(thread);
		return;
	}
	if (fd >= 0)
		close(fd);
	atomic_store(&trash_running, false); /* the next start does it */
}

int trash_put(const struct tree *t, int dir_fd, const char *name)
{
	int trash = tree_open_own(t, TRASH), err = 0;
	char to[64];

	if (trash < 0)
		return trash;
	trash_name(to, sizeof(to));
	if (renameat(dir_fd, name, trash, to) < 0)
		err = -errno;
	close(trash);
	if (err == 0)
		trash_empty(t);
	return err;
}
