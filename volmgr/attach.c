/*
 * volctl volume attach and detach: choose the way, keep the record, never leave half of it behind.
 */
#include "config.h"

#include "attach.h"

#include <errno.h>
#include <unistd.h>

#include "addr.h"
#include "banned.h"
#include "conf.h"

#define DEFAULT_ADDRESS "tcp:127.0.0.1:10809"
#define CONNECTIONS_MAX 16

static const struct attach_way *way_of(const struct attach_record *r)
{
	return r->method == ATTACH_NBD ? &attach_way_nbd : &attach_way_fuse;
}

/* WEFT_ATTACH=nbd or nbdfuse decides; else what the kernel has. */
static enum attach_method choose_method(void)
{
	const char *env = getenv("WEFT_ATTACH");

	if (env != NULL && strcmp(env, "nbd") == 0)
		return ATTACH_NBD;
	if (env != NULL && strcmp(env, "nbdfuse") == 0)
		return ATTACH_FUSE;
	return attach_nbd_available() ? ATTACH_NBD : ATTACH_FUSE;
}

/* An address of this machine that reaches it: any-address means loopback. */
static void reachable(const char *text, char *buf, size_t len)
{
	if (strncmp(text, "tcp:0.0.0.0:", 12) == 0)
		snprintf(buf, len, "tcp:127.0.0.1:%s", text + 12);
	else if (strncmp(text, "tcp:[::]:", 9) == 0)
		snprintf(buf, len, "tcp:[::1]:%s", text + 9);
	else
		snprintf(buf, len, "%s", text);
}

/* Where volmgr listens for NBD: a Unix socket if there is one, it is faster. */
static void find_address(const struct volctl *v, char *buf, size_t len)
{
	json_t *status = volctl_ask(v, "/status"), *list = json_object_get(status, "listen"), *item;
	size_t i;

	snprintf(buf, len, "%s", DEFAULT_ADDRESS);
	json_array_foreach(list, i, item)
	{
		const char *text = json_string_value(item);
		bool is_unix = text != NULL && strncmp(text, "unix:", 5) == 0;

		if (text != NULL && (i == 0 || is_unix))
			reachable(text, buf, len);
		if (is_unix)
			break;
	}
	json_decref(status);
}

const char *attach_device_of(const char *volume)
{
	static struct attach_record r;

	return attach_load(volume, &r) == 0 && attach_alive(&r) ? r.device : NULL;
}

/* The checks before anything is done; *lock is held when it returns EXIT_OK. */
static int begin(const struct volctl *v, int *lock)
{
	uint64_t n;

	if (!volctl_name_valid("volume", v->arg[0]))
		return EXIT_USAGE;
	if (v->connections != NULL && conf_number(v->connections, 1, CONNECTIONS_MAX, &n) != 0) {
		volctl_error(NULL, "--connections is a number from 1 to %d", CONNECTIONS_MAX);
		return EXIT_USAGE;
	}
	if (geteuid() != 0) {
		volctl_error("sudo volctl ...", "only root may make and remove block devices");
		return EXIT_REFUSED;
	}
	*lock = attach_lock();
	if (*lock >= 0)
		return EXIT_OK;
	volctl_error("name another folder with WEFT_RUN_DIR", "cannot use %s: %s", attach_dir(),
		     strerror(-*lock));
	return EXIT_REFUSED;
}

static int print_attached(const struct volctl *v, const struct attach_record *r)
{
	if (v->json)
		return volctl_print_json(
			json_pack("{s:s,s:s,s:s,s:I,s:s}", "volume", r->volume, "device", r->device,
				  "method", r->method == ATTACH_NBD ? "nbd" : "nbdfuse", "size",
				  (json_int_t)r->size, "address", r->address));
	puts(r->device);
	return EXIT_OK;
}

/* Back to nothing: the device first, as it would wait for a keeper that is gone. */
static int undo(struct attach_record *r, bool force, bool keeper_first)
{
	int err;

	if (keeper_first)
		attach_keep_stop(r, true);
	err = way_of(r)->detach(r, force);
	if (err != EXIT_OK)
		return err;
	attach_keep_stop(r, false);
	attach_forget(r->volume);
	return EXIT_OK;
}

static int attach_locked(const struct volctl *v, const json_t *vol)
{
	struct attach_record r;
	int err = attach_load(v->arg[0], &r);

	if (err == 0 && attach_alive(&r)) {
		volctl_error(NULL, "volume %s is attached already: %s", r.volume, r.device);
		return EXIT_REFUSED;
	}
	if (err == 0)
		undo(&r, true, true); /* what a crash left behind */
	memset(&r, 0, sizeof(r));
	snprintf(r.volume, sizeof(r.volume), "%s", v->arg[0]);
	r.method = choose_method();
	r.size = jnum(vol, "size");
	r.shared = v->shared;
	find_address(v, r.address, sizeof(r.address));
	err = attach_store(&r);
	if (err != 0) {
		volctl_error(NULL, "cannot write the record in %s: %s", attach_dir(),
			     strerror(-err));
		return EXIT_REFUSED;
	}
	err = attach_keep_start(&r);
	if (err == EXIT_OK)
		err = way_of(&r)->attach(v, &r);
	if (err == EXIT_OK && attach_store(&r) == 0)
		return print_attached(v, &r);
	undo(&r, true, true);
	return err != EXIT_OK ? err : EXIT_REFUSED;
}

int cmd_volume_attach(const struct volctl *v)
{
	json_t *vol;
	int lock, err = begin(v, &lock);

	if (err != EXIT_OK)
		return err;
	err = volctl_call(v, "GET", NULL, &vol, "/volumes/%s", v->arg[0]);
	if (err == EXIT_OK) {
		err = attach_locked(v, vol);
		json_decref(vol);
	}
	close(lock);
	return err;
}

static int detach_locked(const struct volctl *v)
{
	char where[ATTACH_PATH_MAX];
	struct attach_record r;
	bool answers, force;
	int err = attach_load(v->arg[0], &r);

	if (err == -ENOENT) {
		volctl_error(NULL, "volume %s is not attached on this machine", v->arg[0]);
		return EXIT_REFUSED;
	}
	if (err != 0) {
		volctl_error("see what it is, and remove it",
			     "%s/%s.json is no record of an attached volume", attach_dir(),
			     v->arg[0]);
		return EXIT_REFUSED;
	}
	if (attach_alive(&r) && attach_device_busy(r.device, where, sizeof(where))) {
		volctl_error(strncmp(where, "mounted on ", 11) == 0 ? "umount it first" : NULL,
			     "%s is %s", r.device, where);
		return EXIT_REFUSED;
	}
	answers = attach_volmgr_answers(&r);
	force = v->force || !attach_keep_lives(&r); /* without it nothing will ever be stored */
	if (attach_alive(&r) && !answers && !force) {
		volctl_error("start it and detach then; --force gives up what was not stored yet",
			     "volmgr does not answer at %s, so nothing can be stored; nothing was "
			     "detached",
			     r.address);
		return EXIT_REFUSED;
	}
	err = undo(&r, force, !answers);
	if (err != EXIT_OK)
		return err;
	if (v->json)
		return volctl_print_json(
			json_pack("{s:s,s:s}", "volume", r.volume, "device", r.device));
	printf("Volume %s detached%s%s.\n", r.volume, *r.device != '\0' ? " from " : "", r.device);
	return EXIT_OK;
}

int cmd_volume_detach(const struct volctl *v)
{
	int lock, err = begin(v, &lock);

	if (err != EXIT_OK)
		return err;
	err = detach_locked(v);
	close(lock);
	return err;
}

void attach_resized(const char *volume, uint64_t size)
{
	struct attach_record r;
	char where[ATTACH_PATH_MAX];
	int lock, err;

	if (attach_load(volume, &r) != 0 || !attach_alive(&r) || r.size == size)
		return;
	lock = attach_lock();
	err = lock >= 0 ? way_of(&r)->resize(&r, size) : lock;
	if (err == 0) {
		r.size = size;
		attach_store(&r);
		fprintf(stderr, "%s has the new size too.\n", r.device);
		if (attach_device_busy(r.device, where, sizeof(where)) &&
		    strncmp(where, "mounted on ", 11) == 0)
			fprintf(stderr,
				"It is %s. To grow the file system: resize2fs %s (ext4), or "
				"xfs_growfs %s (xfs)\n",
				where, r.device, where + 11);
	} else {
		fprintf(stderr,
			"%s keeps its old size (%s): unmount, volctl volume detach %s, and "
			"attach again to use the new one.\n",
			r.device, strerror(-err), volume);
	}
	if (lock >= 0)
		close(lock);
}
