/*
 * Without nbd in the kernel: nbdfuse shows the volume as a file, a loop device makes it a block
 * device. Direct I/O on the loop device keeps the data out of a second page cache; flushes,
 * discards and zeroing pass through both to volmgr (FLUSH, TRIM, WRITE_ZEROES).
 */
#include "config.h"

#include "attach.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "addr.h"
#include "banned.h"
#include "nbd/weft.h"

#define LOOP_MAJOR_NUMBER   7
#define LOOP_SECTOR	    512 /* as every stock NBD client shows it */
#define LOOP_TRIES	    64	/* when others take the free ones under our hands */
#define READY_WAIT_MS	    15000
#define GONE_WAIT_MS	    15000
#define URI_MAX		    (ATTACH_PATH_MAX * 3 + 128)
#define DEFAULT_CONNECTIONS "4"

/*
 * nbd+unix:///NAME?socket=PATH, for libnbd: the keeper. nbdfuse learns the size once, so it gets
 * the export with room behind the end; the loop device has the real size, and can grow into it.
 */
static void make_uri(const struct attach_record *r, char *uri, size_t len)
{
	char text[ATTACH_PATH_MAX];
	const char *p = text;
	size_t n;

	attach_keep_address(r, text);
	n = (size_t)snprintf(uri, len, "nbd+unix:///%s" WEFT_EXPORT_ROOM "?socket=", r->volume);
	for (p += 5; *p != '\0' && n + 4 < len; p++)
		n += (size_t)snprintf(uri + n, len - n, strchr("%?#&+ ", *p) ? "%%%02X" : "%c",
				      (unsigned char)*p);
}

struct fuse_wait {
	pid_t pid;
	const char *pidfile;
	bool died;
};

/* nbdfuse writes its pid file when the file is there. */
static int fuse_ready(void *arg)
{
	struct fuse_wait *w = arg;

	if (waitpid(w->pid, NULL, WNOHANG) == w->pid) {
		w->died = true;
		return 1;
	}
	return access(w->pidfile, F_OK) == 0;
}

static int start_nbdfuse(const struct volctl *v, struct attach_record *r)
{
	char mnt[ATTACH_PATH_MAX], file[ATTACH_PATH_MAX], pidfile[ATTACH_PATH_MAX];
	char log[ATTACH_PATH_MAX], uri[URI_MAX];
	const char *argv[] = {"nbdfuse", "-C", NULL, "-P", pidfile, file, uri, NULL};
	struct fuse_wait wait = {.pidfile = pidfile};

	attach_path(r->volume, ".mnt", mnt);
	attach_path(r->volume, ".mnt/disk", file);
	attach_path(r->volume, ".pid", pidfile);
	attach_path(r->volume, ".log", log);
	argv[2] = v->connections != NULL ? v->connections : DEFAULT_CONNECTIONS;
	unlink(pidfile);
	make_uri(r, uri, sizeof(uri));
	if (mkdir(mnt, 0700) != 0 && errno != EEXIST) {
		volctl_error(NULL, "cannot prepare %s: %s", mnt, strerror(errno));
		return EXIT_REFUSED;
	}
	wait.pid = attach_spawn(log, argv);
	if (wait.pid > 0) {
		r->fuse_pid = wait.pid;
		attach_store(r);
		if (attach_wait(READY_WAIT_MS, fuse_ready, &wait) != 0 && !wait.died)
			return EXIT_OK;
	}
	volctl_error(access("/dev/fuse", F_OK) == 0
			     ? "nbdfuse is in the package libnbd-bin"
			     : "this kernel has neither nbd nor FUSE: load one (modprobe nbd)",
		     "nbdfuse could not open %s: %s", uri, attach_last_line(log));
	return EXIT_REFUSED;
}

/* Some containers have no devtmpfs: then the node must be made. */
static int open_loop(int number, char *device, size_t len)
{
	int fd;

	snprintf(device, len, "/dev/loop%d", number);
	fd = open(device, O_RDWR | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT &&
	    mknod(device, S_IFBLK | 0660, makedev(LOOP_MAJOR_NUMBER, (unsigned)number)) == 0)
		fd = open(device, O_RDWR | O_CLOEXEC);
	return fd >= 0 ? fd : -errno;
}

/* The kernel gives a free number and refuses a taken one, so there is no race to lose. */
static int configure_loop(int file, const char *path, struct attach_record *r)
{
	struct loop_config c = {.fd = (uint32_t)file, .block_size = LOOP_SECTOR};
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), err = -EBUSY;

	if (control < 0)
		return -errno;
	c.info.lo_sizelimit = r->size;
	c.info.lo_flags = LO_FLAGS_DIRECT_IO;
	snprintf((char *)c.info.lo_file_name, LO_NAME_SIZE, "%.63s", path);
	for (int i = 0; i < LOOP_TRIES && err == -EBUSY; i++) {
		int number = ioctl(control, LOOP_CTL_GET_FREE), fd;

		err = number >= 0 ? 0 : -errno;
		if (err != 0)
			break;
		fd = open_loop(number, r->device, sizeof(r->device));
		if (fd < 0) {
			err = fd;
			break;
		}
		attach_store(r);
		if (ioctl(fd, LOOP_CONFIGURE, &c) != 0)
			err = -errno;
		close(fd);
	}
	close(control);
	if (err != 0)
		r->device[0] = '\0';
	return err;
}

static int start_loop(struct attach_record *r)
{
	char path[ATTACH_PATH_MAX];
	int file = open(attach_path(r->volume, ".mnt/disk", path), O_RDWR | O_CLOEXEC);
	int err = file >= 0 ? configure_loop(file, path, r) : -errno;

	if (file >= 0)
		close(file);
	if (err == 0)
		return EXIT_OK;
	volctl_error("is there a loop driver (modprobe loop), and are you really root here?",
		     "cannot make a loop device of %s: %s", path, strerror(-err));
	return EXIT_REFUSED;
}

static int fuse_attach(const struct volctl *v, struct attach_record *r)
{
	int err;

	if (v->device != NULL) {
		volctl_error("leave --device out, or load the module: modprobe nbd",
			     "this kernel has no nbd, so the device will be a loop device");
		return EXIT_REFUSED;
	}
	err = start_nbdfuse(v, r);
	if (err == EXIT_OK)
		err = start_loop(r);
	if (err == EXIT_OK && attach_device_size(r->device) != r->size) {
		volctl_error("look at \"dmesg\"", "%s does not show the volume's size", r->device);
		err = EXIT_REFUSED;
	}
	return err;
}

static int loop_gone(void *arg)
{
	return !attach_alive(arg);
}

/* An exclusive open: nobody can mount it between the check and the end. */
static int stop_loop(struct attach_record *r, bool force)
{
	int fd = open(r->device, O_RDWR | O_EXCL | O_CLOEXEC), err = 0;

	if (fd < 0) {
		volctl_error(NULL, "cannot open %s: %s", r->device, strerror(errno));
		return EXIT_REFUSED;
	}
	if (fsync(fd) != 0 && !force)
		err = -errno;
	if (err != 0)
		volctl_error("is volmgr running? nothing was detached; --force gives that data up",
			     "what was written to %s last cannot be stored: %s", r->device,
			     strerror(-err));
	else if (ioctl(fd, LOOP_CLR_FD) != 0) {
		err = -errno;
		volctl_error(NULL, "cannot free %s: %s", r->device, strerror(-err));
	}
	close(fd);
	if (err == 0 && attach_wait(GONE_WAIT_MS, loop_gone, r) == 0) {
		volctl_error("some program has it open (fuser -v); it goes when that ends",
			     "%s is still in use", r->device);
		err = -EBUSY;
	}
	return err == 0 ? EXIT_OK : EXIT_REFUSED;
}

static bool nbdfuse_lives(pid_t pid)
{
	return attach_process_lives(pid, ATTACH_FUSE_NAME);
}

static int nbdfuse_gone(void *arg)
{
	return !nbdfuse_lives(*(pid_t *)arg);
}

static int stop_nbdfuse(struct attach_record *r)
{
	char path[ATTACH_PATH_MAX];
	pid_t pid = (pid_t)r->fuse_pid;

	attach_path(r->volume, ".mnt", path);
	/* the unmount ends nbdfuse, after a last flush */
	if (umount2(path, 0) != 0 && errno != EINVAL && errno != ENOENT && errno != ENOTCONN) {
		volctl_error("fuser -vm shows who uses it", "cannot unmount %s: %s", path,
			     strerror(errno));
		return EXIT_REFUSED;
	}
	if (pid > 0 && nbdfuse_lives(pid) && attach_wait(GONE_WAIT_MS, nbdfuse_gone, &pid) == 0) {
		kill(pid, SIGTERM);
		attach_wait(GONE_WAIT_MS, nbdfuse_gone, &pid);
	}
	umount2(path, MNT_DETACH); /* what a dead nbdfuse left behind */
	rmdir(path);
	unlink(attach_path(r->volume, ".pid", path));
	return EXIT_OK;
}

static int fuse_detach(struct attach_record *r, bool force)
{
	if (attach_alive(r)) {
		/* a dead nbdfuse never stores it: refusing would help nobody */
		int err = stop_loop(r, force || !nbdfuse_lives((pid_t)r->fuse_pid));

		if (err != EXIT_OK)
			return err;
	}
	return stop_nbdfuse(r);
}

/* The file must be large enough for it: volmgr shows growable volumes with room behind their end.
 */
static int fuse_resize(struct attach_record *r, uint64_t size)
{
	char path[ATTACH_PATH_MAX];
	struct loop_info64 info;
	struct stat st;
	int fd, err = 0;

	if (stat(attach_path(r->volume, ".mnt/disk", path), &st) != 0)
		return -errno;
	if ((uint64_t)st.st_size < size)
		return -ENOTSUP;
	fd = open(r->device, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (ioctl(fd, LOOP_GET_STATUS64, &info) != 0)
		err = -errno;
	info.lo_sizelimit = size;
	if (err == 0 && ioctl(fd, LOOP_SET_STATUS64, &info) != 0)
		err = -errno;
	close(fd);
	if (err == 0 && attach_device_size(r->device) != size)
		err = -ENOTSUP;
	return err;
}

const struct attach_way attach_way_fuse = {
	.title = "nbdfuse and a loop device",
	.attach = fuse_attach,
	.detach = fuse_detach,
	.resize = fuse_resize,
};
