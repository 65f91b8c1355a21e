/* Records of attached volumes: what is written is read again, and nothing else is taken for one. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attach.h"
#include "tap.h"

static void put_file(const char *volume, const char *text)
{
	char path[ATTACH_PATH_MAX];
	FILE *f = fopen(attach_path(volume, ".json", path), "w");

	fputs(text, f);
	fclose(f);
}

static void refuses(const char *text, const char *name)
{
	struct attach_record r;

	put_file("bad", text);
	is_int(attach_load("bad", &r), -EUCLEAN, name);
}

static int count_up(void *arg)
{
	return ++*(int *)arg >= 3 ? 7 : 0;
}

int main(void)
{
	char dir[] = "/tmp/weft-attach-XXXXXX", path[ATTACH_PATH_MAX];
	struct attach_record r = {.volume = "v1",
				  .method = ATTACH_FUSE,
				  .device = "/dev/loop7000",
				  .address = "tcp:127.0.0.1:10809",
				  .size = 1ULL << 50,
				  .fuse_pid = 4711,
				  .keep_pid = 4712},
			     got;
	const char *say[] = {"sh", "-c", "echo one; echo two >&2; exit 3", NULL};
	const char *missing[] = {"/nonexistent/program", NULL};
	int lock, n = 0;

	if (mkdtemp(dir) == NULL)
		return 1;
	setenv("WEFT_RUN_DIR", dir, 1);
	lock = attach_lock();
	ok(lock >= 0, "the folder is made and locked");
	is_int(attach_load("v1", &got), -ENOENT, "no record yet");
	is_int(attach_store(&r), 0, "a record is written");
	is_int(attach_load("v1", &got), 0, "and read");
	ok(strcmp(got.volume, "v1") == 0 && got.method == ATTACH_FUSE &&
		   strcmp(got.device, r.device) == 0 && strcmp(got.address, r.address) == 0,
	   "the words are the same");
	ok(got.size == r.size && got.fuse_pid == r.fuse_pid && got.keep_pid == r.keep_pid,
	   "so are the numbers");
	ok(!attach_alive(&got), "a device that does not exist is not alive");
	is_int(attach_forget("v1"), 0, "a record is removed");
	is_int(attach_load("v1", &got), -ENOENT, "and is gone");

	put_file("old", "{\"version\":1,\"volume\":\"old\",\"method\":\"nbdfuse\",\"device\":\"/"
			"dev/loop0\","
			"\"address\":\"x\",\"boot\":\"another\",\"size\":1,\"nbdfuse_pid\":4711,"
			"\"keeper_pid\":4712}");
	ok(attach_load("old", &got) == 0 && got.device[0] == 0 && got.fuse_pid == 0 &&
		   got.keep_pid == 0,
	   "a record of an earlier boot has no device and no processes");
	refuses("", "an empty file");
	refuses("[]", "a list");
	refuses("{\"version\":1}", "members that are missing");
	refuses("{\"version\":2,\"volume\":\"bad\",\"method\":\"nbd\",\"device\":\"/dev/nbd0\","
		"\"address\":\"x\",\"size\":1,\"nbdfuse_pid\":0}",
		"a version that we do not know");
	refuses("{\"version\":1,\"volume\":\"good\",\"method\":\"nbd\",\"device\":\"/dev/nbd0\","
		"\"address\":\"x\",\"size\":1,\"nbdfuse_pid\":0}",
		"the record of another volume");
	refuses("{\"version\":1,\"volume\":\"bad\",\"method\":\"tape\",\"device\":\"/dev/nbd0\","
		"\"address\":\"x\",\"size\":1,\"nbdfuse_pid\":0}",
		"a method that we do not know");

	attach_path("v1", ".log", path);
	is_int(attach_run(path, say), 3, "a command's exit code comes back");
	is_str(attach_last_line(path), "two", "and its last words");
	is_int(attach_run(path, missing), 127, "a command that is not there");
	ok(strstr(attach_last_line(path), "cannot run /nonexistent/program") != NULL, "says so");
	is_int(attach_wait(10000, count_up, &n), 7, "waiting ends when it is done");
	n = -1000000;
	is_int(attach_wait(60, count_up, &n), 0, "and when the time is over");

	close(lock);
	snprintf(path, sizeof(path), "rm -rf %s", dir);
	if (system(path) != 0)
		diag("%s was not removed", dir);
	return done_testing();
}
