/* Paths that people give for stores, and sizes of what is there. */
#include "config.h"

#include <errno.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#include "nbdsrv.h"
#include "secret.h"

#include "banned.h"

#define LOCK_TRY_MS 20
#define LOCK_TRIES  150 /* 3 s */

int path_of_store(const char *path, char *out, size_t out_len)
{
	bool is_dir = true; /* what is not there will be a directory */
	struct stat st;
	int n, err;

	if (stat(path, &st) == 0) {
		is_dir = S_ISDIR(st.st_mode);
	} else if (errno != ENOENT) {
		err = -errno;
		log_error("%s: %s", path, strerror(-err));
		return err;
	}
	n = snprintf(out, out_len, "%s%s", path, is_dir ? "/store" : "");
	if (n < 0 || (size_t)n >= out_len) {
		log_error("the path of the store is longer than %zu bytes", out_len - 8);
		return -ENAMETOOLONG;
	}
	return 0;
}

int path_size(int fd, uint64_t *size, bool *is_block)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	*is_block = S_ISBLK(st.st_mode);
	if (*is_block)
		return ioctl(fd, BLKGETSIZE64, size) < 0 ? -errno : 0;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	*size = (uint64_t)st.st_size;
	return 0;
}

int path_lock(int fd, int operation)
{
	const struct timespec pause = {.tv_nsec = LOCK_TRY_MS * 1000000L};

	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, operation | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		nanosleep(&pause, NULL);
	}
	return -EBUSY;
}

int auth_load(const char *secret_path, struct nbd_auth_config *auth)
{
	const char *why = "it cannot be read";
	int err = secret_load(secret_path, auth->secret, &why);

	if (err < 0) {
		log_error("%s: %s", secret_path, why);
		return err;
	}
	secret_cluster(auth->secret, auth->cluster);
	if (getrandom(auth->boot, sizeof(auth->boot), 0) != sizeof(auth->boot) ||
	    getrandom(auth->store, sizeof(auth->store), 0) != sizeof(auth->store)) {
		log_error("the kernel gives no random numbers: %s", strerror(errno));
		return -EIO;
	}
	return 0;
}
