/* Records of what is attached; see attach.h. */
#include "config.h"

#include "attach.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "banned.h"

#define RUN_DIR	       "/run/weft"
#define RECORD_VERSION 1
#define BOOT_ID_MAX    64

static const char *const method_names[] = {[ATTACH_NBD] = "nbd", [ATTACH_FUSE] = "nbdfuse"};

static const char *run_dir(void)
{
	const char *env = getenv("WEFT_RUN_DIR");

	return env != NULL && *env != '\0' ? env : RUN_DIR;
}

const char *attach_dir(void)
{
	static char dir[ATTACH_PATH_MAX];
	char *real;

	snprintf(dir, sizeof(dir), "%.400s/attach", run_dir());
	/* the kernel shows paths without symbolic links (/var/run), and ours are compared with them
	 */
	real = realpath(dir, NULL);
	if (real != NULL)
		snprintf(dir, sizeof(dir), "%.480s", real);
	free(real);
	return dir;
}

char *attach_path(const char *volume, const char *suffix, char *buf)
{
	snprintf(buf, ATTACH_PATH_MAX, "%s/%s%s", attach_dir(), volume, suffix);
	return buf;
}

/* The boot id of the running machine; "" where it has none. */
static const char *boot_id(void)
{
	static char id[BOOT_ID_MAX];
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (f != NULL && fgets(id, sizeof(id), f) == NULL)
		id[0] = '\0';
	if (f != NULL)
		fclose(f);
	id[strcspn(id, "\n")] = '\0';
	return id;
}

int attach_lock(void)
{
	char path[ATTACH_PATH_MAX];
	int fd;

	if ((mkdir(run_dir(), 0755) != 0 && errno != EEXIST) ||
	    (mkdir(attach_dir(), 0755) != 0 && errno != EEXIST))
		return -errno;
	fd = open(attach_path("", ".lock", path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	while (flock(fd, LOCK_EX) != 0) {
		if (errno != EINTR) {
			int err = -errno;

			close(fd);
			return err;
		}
	}
	return fd;
}

/* Copies a member; false when it is missing or too long. */
static bool copy_member(const json_t *o, const char *key, char *to, size_t room)
{
	const char *s = json_string_value(json_object_get(o, key));

	if (s == NULL || strlen(s) >= room)
		return false;
	memcpy(to, s, strlen(s) + 1);
	return true;
}

static int method_from_name(const char *name)
{
	for (int i = 0; i < (int)(sizeof(method_names) / sizeof(method_names[0])); i++)
		if (strcmp(name, method_names[i]) == 0)
			return i;
	return -1;
}

int attach_load(const char *volume, struct attach_record *r)
{
	char path[ATTACH_PATH_MAX], boot[BOOT_ID_MAX];
	json_t *o;
	int method, err = 0;

	memset(r, 0, sizeof(*r));
	if (access(attach_path(volume, ".json", path), F_OK) != 0)
		return -errno;
	o = json_load_file(path, 0, NULL);
	if (o == NULL)
		return -EUCLEAN;
	method = method_from_name(jstr(o, "method"));
	if (jnum(o, "version") != RECORD_VERSION || method < 0 ||
	    !copy_member(o, "volume", r->volume, sizeof(r->volume)) ||
	    !copy_member(o, "device", r->device, sizeof(r->device)) ||
	    !copy_member(o, "address", r->address, sizeof(r->address)) ||
	    strcmp(r->volume, volume) != 0)
		err = -EUCLEAN;
	r->method = (enum attach_method)method;
	r->size = jnum(o, "size");
	r->fuse_pid = (int64_t)jnum(o, "nbdfuse_pid");
	r->keep_pid = (int64_t)jnum(o, "keeper_pid");
	if (copy_member(o, "boot", boot, sizeof(boot)) && strcmp(boot, boot_id()) != 0) {
		/* all that it names ended with that boot */
		r->device[0] = '\0';
		r->fuse_pid = r->keep_pid = 0;
	}
	json_decref(o);
	return err;
}

int attach_store(const struct attach_record *r)
{
	char path[ATTACH_PATH_MAX], fresh[ATTACH_PATH_MAX];
	json_t *o = json_pack("{s:i,s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:I}", "version", RECORD_VERSION,
			      "volume", r->volume, "method", method_names[r->method], "device",
			      r->device, "address", r->address, "boot", boot_id(), "size",
			      (json_int_t)r->size, "nbdfuse_pid", (json_int_t)r->fuse_pid,
			      "keeper_pid", (json_int_t)r->keep_pid);
	int err = 0;

	if (o == NULL)
		return -EINVAL;
	/* the folder is a tmpfs in most places: a rename is all the safety that is to be had */
	if (json_dump_file(o, attach_path(r->volume, ".json.new", fresh), JSON_INDENT(2)) != 0)
		err = errno != 0 ? -errno : -EIO;
	else if (rename(fresh, attach_path(r->volume, ".json", path)) != 0)
		err = -errno;
	json_decref(o);
	return err;
}

int attach_forget(const char *volume)
{
	char path[ATTACH_PATH_MAX];

	unlink(attach_path(volume, ".log", path));
	unlink(attach_path(volume, ".keep.log", path));
	return unlink(attach_path(volume, ".json", path)) == 0 ? 0 : -errno;
}

bool attach_alive(const struct attach_record *r)
{
	const char *base = strrchr(r->device, '/');
	char path[ATTACH_PATH_MAX], line[ATTACH_PATH_MAX], want[ATTACH_PATH_MAX];
	bool same;
	FILE *f;

	if (base == NULL)
		return false;
	if (r->method == ATTACH_NBD) {
		snprintf(path, sizeof(path), "/sys/block%s/pid", base);
		return access(path, F_OK) == 0;
	}
	snprintf(path, sizeof(path), "/sys/block%s/loop/backing_file", base);
	f = fopen(path, "re");
	if (f == NULL)
		return false;
	same = fgets(line, sizeof(line), f) != NULL;
	fclose(f);
	line[strcspn(line, "\n")] = '\0';
	return same && strcmp(line, attach_path(r->volume, ".mnt/disk", want)) == 0;
}
