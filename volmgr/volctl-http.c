/*
 * HTTP over volmgr's Unix socket, by libcurl (this is the one file that includes it). Answers are
 * bounded in size and time, so that a socket of something else cannot hold or fill us.
 */
#include "config.h"

#include "volctl.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdarg.h>
#include <unistd.h>

#include "banned.h"

#define REPLY_MAX_BYTES	   (64u << 20) /* the map of a large volume */
#define CONNECT_TIMEOUT_MS 5000L
#define CALL_TIMEOUT_MS	   300000L /* deleting a large volume gives all its slots back */
#define PATH_MAX_BYTES	   1024

struct reply_buf {
	char *text;
	size_t len;
};

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct reply_buf *b = arg;
	char *more;

	n *= size;
	if (n > REPLY_MAX_BYTES - b->len)
		return 0;
	more = realloc(b->text, b->len + n + 1);
	if (more == NULL)
		return 0;
	memcpy(more + b->len, data, n);
	b->text = more;
	b->len += n;
	b->text[b->len] = '\0';
	return n;
}

static void curl_setup(CURL *curl, const struct volctl *v, const char *method, const char *path,
		       struct reply_buf *reply)
{
	char url[PATH_MAX_BYTES + 64];

	snprintf(url, sizeof(url), "http://localhost/api/v1%s", path);
	curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, v->socket);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, CALL_TIMEOUT_MS);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, reply);
}

/* Returns the HTTP status, or 0 when no answer came (*err then says why). */
static long perform(const struct volctl *v, const char *method, const char *path, const char *body,
		    struct reply_buf *reply, CURLcode *err)
{
	struct curl_slist *headers = NULL;
	long status = 0;
	CURL *curl = curl_easy_init();

	*err = CURLE_OUT_OF_MEMORY;
	if (curl == NULL)
		return 0;
	curl_setup(curl, v, method, path, reply);
	if (body != NULL) {
		headers = curl_slist_append(NULL, "Content-Type: application/json");
		curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	}
	*err = curl_easy_perform(curl);
	if (*err == CURLE_OK)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	return status;
}

static int unreachable(const struct volctl *v, CURLcode err)
{
	if (err == CURLE_OPERATION_TIMEDOUT) {
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
			     "nothing answers on %s: %s", v->socket, curl_easy_strerror(err));
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
	struct reply_buf buf = {0};
	json_t *parsed;
	CURLcode err;
	long status;

	json_decref(body);
	status = perform(v, method, path, text, &buf, &err);
	free(text);
	if (status == 0) {
		free(buf.text);
		return quiet ? EXIT_UNREACHABLE : unreachable(v, err);
	}
	parsed = buf.len > 0 ? json_loadb(buf.text, buf.len, JSON_DECODE_ANY, NULL) : json_null();
	free(buf.text);
	if (status >= 200 && status < 300 && parsed != NULL) {
		*reply = parsed;
		return EXIT_OK;
	}
	if (!quiet)
		return refused(status, parsed);
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
