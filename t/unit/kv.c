/* The key-value store: what is written is there, in order, also after closing; errors say what is
 * wrong. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kv.h"
#include "tap.h"

static unsigned syncs_fail; /* so many more */

/* LevelDB's syncs come here. */
int fdatasync(int fd)
{
	if (syncs_fail == 0)
		return (int)syscall(SYS_fdatasync, fd);
	syncs_fail--;
	errno = EIO;
	return -1;
}

static char dir[] = "/tmp/weft-kv-XXXXXX";

static int put(struct kv *kv, const char *key, const char *value)
{
	struct kv_batch *b = kv_batch_new();
	int err;

	kv_batch_put(b, key, strlen(key), value, strlen(value));
	err = kv_write(kv, b);
	kv_batch_free(b);
	return err;
}

static bool has(struct kv *kv, const char *key, const char *value)
{
	void *v;
	size_t len;
	bool same;

	if (kv_get(kv, key, strlen(key), &v, &len) != 0)
		return false;
	same = len == strlen(value) && memcmp(v, value, len) == 0;
	free(v);
	return same;
}

/* The keys under a prefix, joined by spaces. */
static const char *keys(struct kv *kv, const char *prefix)
{
	static char text[512];
	struct kv_iter *it = kv_iter_prefix(kv, prefix, strlen(prefix));
	const void *k, *v;
	size_t kl, vl, n = 0;

	while (kv_iter_next(it, &k, &kl, &v, &vl) == 1)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%.*s", n > 0 ? " " : "",
				      (int)kl, (const char *)k);
	text[n] = '\0';
	kv_iter_free(it);
	return text;
}

static void test_values(struct kv *kv)
{
	void *v;
	size_t len;
	struct kv_batch *b;

	is_int(kv_get(kv, "none", 4, &v, &len), -ENOENT, "a key that is not there is -ENOENT");
	is_int(put(kv, "1/b/2", "two"), 0, "a value is written");
	ok(has(kv, "1/b/2", "two"), "and read");
	is_int(put(kv, "1/b/2", ""), 0, "an empty value is written");
	ok(has(kv, "1/b/2", ""), "and is there, empty");
	put(kv, "1/b/10", "x");
	put(kv, "1/a", "x");
	put(kv, "1/c", "x");
	is_str(keys(kv, "1/b/"), "1/b/10 1/b/2", "a prefix gives its keys in bytewise order");
	is_str(keys(kv, "1/"), "1/a 1/b/10 1/b/2 1/c", "a shorter prefix gives more");
	is_str(keys(kv, "2/"), "", "a prefix without keys gives none");
	b = kv_batch_new();
	kv_batch_delete(b, "1/a", 3);
	kv_batch_put(b, "1/d", 3, "four", 4);
	is_int(kv_write(kv, b), 0, "a batch of a put and a delete is written");
	kv_batch_free(b);
	is_str(keys(kv, "1/"), "1/b/10 1/b/2 1/c 1/d", "both are done");
}

/* The size of the log, which is the only file with this ending. */
static rlim_t log_bytes(void)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	char path[512];
	struct stat st;
	rlim_t bytes = 0;

	while (d != NULL && (e = readdir(d)) != NULL) {
		size_t n = strlen(e->d_name);

		if (n < 4 || strcmp(e->d_name + n - 4, ".log") != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (stat(path, &st) == 0)
			bytes = (rlim_t)st.st_size;
	}
	if (d != NULL)
		closedir(d);
	return bytes;
}

/* Files may not grow by more than so many bytes: as on a full disk, part of a record is written. */
static void room(rlim_t bytes)
{
	struct rlimit limit;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = bytes == RLIM_INFINITY ? limit.rlim_max : log_bytes() + bytes;
	if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
		diag("no limit can be set");
}

/* What is said to be written must not lie behind half a record, where nobody finds it again. */
static void test_full(void)
{
	struct kv *kv;
	const char *why;
	int err;

	is_int(kv_open(dir, 1 << 20, &kv, &why), 0, "it is opened, and has no more room soon");
	is_int(put(kv, "3/before", "x"), 0, "there is room for one");
	room(20);
	ok(put(kv, "3/full", "this does not fit any more") != 0, "and not for the next");
	ok(put(kv, "3/still", "nor does this") != 0, "nor for another one");
	ok(has(kv, "3/before", "x"), "what there was can be read");
	is_str(keys(kv, "3/"), "3/before", "and that is all there is");
	room(RLIM_INFINITY);
	is_int(put(kv, "3/after", "y"), 0, "there is room again");
	ok(has(kv, "3/after", "y"), "and what is written then is there");
	kv_close(kv);
	why = "";
	err = kv_open(dir, 1 << 20, &kv, &why);
	is_int(err, 0, "it can be opened again");
	if (err != 0) {
		diag("%s", why);
		return;
	}
	is_str(keys(kv, "3/"), "3/after 3/before", "with all that was said to be written");
	ok(has(kv, "1/d", "four"), "and what was there before");
	kv_close(kv);
}

/* What is said not to be written must not appear later. */
static void test_sync(void)
{
	struct kv *kv;
	struct kv_batch *b;
	const char *why;

	is_int(kv_open(dir, 1 << 20, &kv, &why), 0, "it is opened, and syncs fail soon");
	is_int(put(kv, "4/old", "x"), 0, "one succeeds");
	syncs_fail = 1;
	b = kv_batch_new();
	kv_batch_put(b, "4/new", 5, "y", 1);
	kv_batch_delete(b, "4/old", 5);
	ok(kv_write(kv, b) != 0, "and the next does not");
	kv_batch_free(b);
	is_int(syncs_fail, 0, "since it was synced");
	is_str(keys(kv, "4/"), "4/old", "nothing has changed");
	kv_close(kv);
	is_int(kv_open(dir, 1 << 20, &kv, &why), 0, "it is opened again");
	is_str(keys(kv, "4/"), "4/old", "nor has it then");
	syncs_fail = UINT_MAX;
	ok(put(kv, "4/old", "z") != 0, "syncs fail for longer");
	ok(put(kv, "4/never", "z") != 0, "also those of opening it anew");
	syncs_fail = 0;
	is_int(put(kv, "4/last", "z"), 0, "until one succeeds");
	is_str(keys(kv, "4/"), "4/last 4/old", "then what did not is not there");
	ok(has(kv, "4/old", "x"), "and has changed nothing");
	kv_close(kv);
}

int main(void)
{
	struct kv *kv, *second;
	const char *why;
	char cmd[128];

	if (mkdtemp(dir) == NULL)
		return skip_all("no temporary directory");
	is_int(kv_open(dir, 1 << 20, &kv, &why), 0, "an empty directory is opened");
	is_int(kv_open(dir, 1 << 20, &second, &why), -EBUSY, "a second opening is -EBUSY");
	ok(strstr(why, "another process") != NULL, "with a sentence that says why");
	test_values(kv);
	kv_close(kv);
	is_int(kv_open(dir, 1 << 20, &kv, &why), 0, "it is opened again");
	ok(has(kv, "1/d", "four"), "and the values are still there");
	kv_close(kv);
	test_full();
	test_sync();
	is_int(kv_open("/proc/none/kv", 1 << 20, &kv, &why), -ENOENT,
	       "a directory that cannot be made is refused");
	ok(strstr(why, "/proc/none/kv") != NULL, "with a sentence that names it");
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	if (system(cmd) != 0)
		diag("%s is left behind", dir);
	return done_testing();
}
