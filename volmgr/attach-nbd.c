/*
 * The kernel's nbd, by nbd-client: the way of choice. The device is connected to the keeper, so the
 * kernel never has to connect anew, and must not give up a slow request either.
 */
#include "config.h"

#include "attach.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "addr.h"
#include "banned.h"

#define DEVICES_MAX	1024 /* that we look at */
#define TRIES_MAX	16   /* when others take the free ones under our hands */
#define SIZE_WAIT_MS	10000
#define DETACH_WAIT_MS	15000
#define TIMEOUT_SECONDS "604800"
#define SECTOR_SIZE	"512" /* as every stock client: a file system made by one fits the other */

bool attach_nbd_available(void)
{
	static const char *const modprobe[] = {"modprobe", "-q", "nbd", NULL};

	if (access("/sys/module/nbd", F_OK) != 0)
		attach_run("/dev/null", modprobe);
	return access("/sys/module/nbd", F_OK) == 0 || access("/sys/block/nbd0", F_OK) == 0;
}

static bool index_of(const char *device, unsigned *index)
{
	int end = 0;

	return sscanf(device, "/dev/nbd%u%n", index, &end) == 1 && device[end] == '\0';
}

static bool device_free(unsigned index)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/block/nbd%u", index);
	if (access(path, F_OK) != 0)
		return false;
	snprintf(path, sizeof(path), "/sys/block/nbd%u/pid", index);
	return access(path, F_OK) != 0;
}

struct size_wait {
	const char *device;
	uint64_t size;
};

static int size_shows(void *arg)
{
	struct size_wait *w = arg;

	return attach_device_size(w->device) == w->size;
}

static int run_client(const struct volctl *v, const struct attach_record *r, const char *log)
{
	char address[ATTACH_PATH_MAX];
	const char *argv[16];
	int n = 0;

	attach_keep_address(r, address);
	argv[n++] = "nbd-client";
	argv[n++] = "-N";
	argv[n++] = r->volume;
	argv[n++] = "-b";
	argv[n++] = SECTOR_SIZE;
	if (v->connections != NULL) {
		argv[n++] = "-C";
		argv[n++] = v->connections;
		argv[n++] = "-timeout"; /* of several, the kernel gives one up after its own */
		argv[n++] = TIMEOUT_SECONDS;
	}
	argv[n++] = "-unix";
	argv[n++] = address + strlen("unix:");
	argv[n++] = r->device;
	argv[n] = NULL;
	return attach_run(log, argv);
}

/*
 * Connect one device. The kernel itself refuses a device that is taken, so whoever loses a race
 * sees nbd-client fail. 0: done; 1: taken meanwhile; other: an exit code.
 */
static int try_device(const struct volctl *v, struct attach_record *r, unsigned index,
		      const char *log)
{
	struct size_wait wait = {r->device, r->size};
	int res;

	snprintf(r->device, sizeof(r->device), "/dev/nbd%u", index);
	res = attach_store(r);
	if (res != 0) {
		volctl_error(NULL, "cannot write the record in %s: %s", attach_dir(),
			     strerror(-res));
		return EXIT_REFUSED;
	}
	res = run_client(v, r, log);
	if (res == 0 && attach_wait(SIZE_WAIT_MS, size_shows, &wait) != 0)
		return 0;
	if (res == 0) {
		volctl_error("look at \"dmesg\"", "%s does not show the volume's size", r->device);
		attach_way_nbd.detach(r, true);
		return EXIT_REFUSED;
	}
	if (!device_free(index))
		return -EAGAIN;
	volctl_error(res == 127 ? "install the package nbd-client" : NULL,
		     "nbd-client could not connect %s to %s: %s", r->device, r->address,
		     attach_last_line(log));
	return EXIT_REFUSED;
}

static int nbd_attach(const struct volctl *v, struct attach_record *r)
{
	char log[ATTACH_PATH_MAX];
	unsigned index = 0, tries = 0;
	int res;

	attach_path(r->volume, ".log", log);
	if (v->device != NULL) {
		if (!index_of(v->device, &index)) {
			volctl_error("write --device /dev/nbd0, or leave it out",
				     "%s is no nbd device", v->device);
			return EXIT_USAGE;
		}
		res = device_free(index) ? try_device(v, r, index, log) : -EAGAIN;
		if (res != -EAGAIN)
			return res;
		volctl_error("leave --device out to get a free one",
			     "%s is in use, or there is no such device", v->device);
		return EXIT_REFUSED;
	}
	for (; index < DEVICES_MAX && tries < TRIES_MAX; index++) {
		if (!device_free(index))
			continue;
		res = try_device(v, r, index, log);
		if (res != -EAGAIN)
			return res;
		tries++;
	}
	volctl_error("detach one, or load the module with more: modprobe nbd nbds_max=64",
		     "all nbd devices are in use");
	return EXIT_REFUSED;
}

static int device_gone(void *arg)
{
	return !attach_alive(arg);
}

static int nbd_detach(struct attach_record *r, bool force)
{
	const char *argv[] = {"nbd-client", "-d", r->device, NULL};
	char log[ATTACH_PATH_MAX];
	int fd, res;

	if (!attach_alive(r))
		return EXIT_OK;
	fd = open(r->device, O_RDWR | O_CLOEXEC);
	res = fd >= 0 ? fsync(fd) : 0;
	if (fd >= 0)
		close(fd);
	if (res != 0 && !force) {
		volctl_error("is volmgr running? nothing was detached; --force gives that data up",
			     "what was written to %s last cannot be stored", r->device);
		return EXIT_REFUSED;
	}
	res = attach_run(attach_path(r->volume, ".log", log), argv);
	if (res == 0 && attach_wait(DETACH_WAIT_MS, device_gone, r) != 0)
		return EXIT_OK;
	volctl_error(NULL, "nbd-client could not disconnect %s: %s", r->device,
		     attach_last_line(log));
	return EXIT_REFUSED;
}

static int nbd_resize(struct attach_record *r, uint64_t size)
{
	struct size_wait wait = {r->device, size};
	unsigned index;
	int err;

	if (!index_of(r->device, &index))
		return -EINVAL;
	err = attach_nbd_set_size(index, size);
	if (err != 0)
		return err;
	return attach_wait(SIZE_WAIT_MS, size_shows, &wait) != 0 ? 0 : -ENOTSUP;
}

const struct attach_way attach_way_nbd = {
	.title = "the kernel's nbd",
	.attach = nbd_attach,
	.detach = nbd_detach,
	.resize = nbd_resize,
};
