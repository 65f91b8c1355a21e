/* See volctl.h: calls of volmgr's API, and what is said when they fail. */
#include "config.h"

#include "volctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "http-client.h"

#include "banned.h"

#define CALL_TIMEOUT_MS 300000L /* deleting a large volume gives all its slots back */
#define PATH_MAX_BYTES	1024

static int unreachable(const struct volctl *v, const struct http_answer *answer)
{
	if (answer->late) {
		volctl_error("see what volmgr's log says; the request may still be carried out",
			     "volmgr did not answer in time on %s", v->socket);
		return EXIT_UNREACHABLE;
	}
	if (access(v->socket, F_OK) != 0 && errno == ENOENT)
		volctl_error("start volmgr (systemctl start volmgr), or name its socket with "
			     "--socket PATH or WEFT_SOCKET",
			     "volmgr is not running here: there is no socket %s", v->socket);
	else if (access(v->socket, W_OK) != 0 && errno == EACCES)
		volctl_error("run volctl as root (sudo volctl ...)",
			     "you may not use volmgr's socket %s", v->socket);
	else
		volctl_error("start volmgr (systemctl start volmgr), or name its socket with "
			     "--socket PATH or WEFT_SOCKET",
			     "nothing answers on %s: %s", v->socket, answer->why);
	return EXIT_UNREACHABLE;
}

/* {"error":{"message":...,"hint":...}} */
static int refused(long status, json_t *reply)
{
	const json_t *e = json_object_get(reply, "error");
	const char *hint = jstr(e, "hint");

	if (*jstr(e, "message") != '\0')
		volctl_error(*hint != '\0' ? hint : NULL, "%s", jstr(e, "message"));
	else
		volctl_error("is this volmgr's socket, and of the same version?",
			     "the answer was HTTP status %ld without a reason", status);
	json_decref(reply);
	return EXIT_REFUSED;
}

static int call_path(const struct volctl *v, const char *method, json_t *body, json_t **reply,
		     const char *path, bool quiet)
{
	char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
	struct http_answer answer;
	json_t *parsed;

	json_decref(body);
	http_client_ask(v->socket, method, path, text, CALL_TIMEOUT_MS, &answer);
	free(text);
	if (answer.status == 0) {
		free(answer.text);
		return quiet ? EXIT_UNREACHABLE : unreachable(v, &answer);
	}
	parsed = answer.len > 0 ? json_loadb(answer.text, answer.len, JSON_DECODE_ANY, NULL)
				: json_null();
	free(answer.text);
	if (answer.status >= 200 && answer.status < 300 && parsed != NULL) {
		*reply = parsed;
		return EXIT_OK;
	}
	if (!quiet)
		return refused(answer.status, parsed);
	json_decref(parsed);
	return EXIT_REFUSED;
}

int volctl_call(const struct volctl *v, const char *method, json_t *body, json_t **reply,
		const char *path_fmt, ...)
{
	char path[PATH_MAX_BYTES];
	va_list ap;
	int n;

	va_start(ap, path_fmt);
	n = vsnprintf(path, sizeof(path), path_fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(path)) {
		json_decref(body);
		volctl_error(NULL, "a name is too long");
		return EXIT_USAGE;
	}
	return call_path(v, method, body, reply, path, false);
}

json_t *volctl_ask(const struct volctl *v, const char *path_fmt, ...)
{
	char path[PATH_MAX_BYTES];
	json_t *reply = NULL;
	va_list ap;
	int n;

	va_start(ap, path_fmt);
	n = vsnprintf(path, sizeof(path), path_fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(path))
		return NULL;
	return call_path(v, "GET", NULL, &reply, path, true) == EXIT_OK ? reply : NULL;
}

int volctl_print_json(json_t *reply)
{
	json_dumpf(reply, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	putchar('\n');
	json_decref(reply);
	return EXIT_OK;
}
