/* check: do metadata and servers agree? */
#include "config.h"

#include "volctl.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "banned.h"

#define OFFLINE_ARGS_MAX 8

/* volmgr lies beside us, when installed and when built, or in the PATH. */
static void run_volmgr(char *const *argv)
{
	static const char *const beside[] = {"volmgr", "volmgr/volmgr"};
	char self[PATH_MAX], path[PATH_MAX + 16];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[n > 0 ? n : 0] = '\0';
	for (char *p = self + strlen(self); p > self && p[-1] != '/';)
		*--p = '\0';
	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s%s", self, beside[i]);
		execv(path, argv);
	}
	execvp("volmgr", argv);
	volctl_error("it is part of weft", "volmgr cannot be run: %s", strerror(errno));
}

static int check_offline(const struct volctl *v)
{
	const char *argv[OFFLINE_ARGS_MAX] = {"volmgr", "--check"};
	int n = 2;

	if (v->dir != NULL) {
		argv[n++] = "--dir";
		argv[n++] = v->dir;
	}
	if (v->secret != NULL) {
		argv[n++] = "--secret";
		argv[n++] = v->secret;
	}
	run_volmgr((char *const *)argv);
	return EXIT_REFUSED;
}

int cmd_check(const struct volctl *v)
{
	const json_t *p;
	json_t *reply;
	bool agree;
	size_t i;
	int err;

	if (v->offline)
		return check_offline(v);
	err = volctl_call(v, "POST", NULL, &reply, "/check");
	if (err != EXIT_OK)
		return err;
	agree = json_is_true(json_object_get(reply, "agree"));
	if (v->json) {
		volctl_print_json(reply);
		return agree ? EXIT_OK : EXIT_REFUSED;
	}
	json_array_foreach(json_object_get(reply, "notes"), i, p) puts(json_string_value(p));
	json_array_foreach(json_object_get(reply, "problems"), i, p)
		printf("%s\n  %s\n", jstr(p, "what"), jstr(p, "hint"));
	if (agree)
		printf("Metadata and servers agree: %llu extents, %llu slots compared.\n",
		       (unsigned long long)jnum(reply, "extents"),
		       (unsigned long long)jnum(reply, "slots"));
	json_decref(reply);
	return agree ? EXIT_OK : EXIT_REFUSED;
}
