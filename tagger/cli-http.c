/* See cli.h. Answers are bounded in size and time. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "tagger/cli.h"
#include "banned.h"

#define REPLY_MAX_BYTES	   (64u << 20)
#define CONNECT_TIMEOUT_MS 5000L
#define CALL_TIMEOUT_MS	   60000L
#define URL_MAX_BYTES	   (96u << 10)

struct reply {
	char *text;
	size_t len;
};

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct reply *b = arg;
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
	return n;
}

int cli_param(char *path, size_t max, const char *name, const char *value)
{
	size_t len = strlen(path);
	char *coded = curl_easy_escape(NULL, value, (int)strlen(value));
	int n = -1;

	if (coded != NULL)
		n = snprintf(path + len, max - len, "%c%s=%s", strchr(path, '?') ? '&' : '?', name,
			     coded);
	curl_free(coded);
	return n < 0 || (size_t)n >= max - len ? -ENAMETOOLONG : 0;
}

json_t *cli_http(const char *socket, const char *method, const char *path, const json_t *body,
		 long *status)
{
	char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
	size_t url_max = strlen(path) + 64;
	char *url = malloc(url_max);
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	CURL *curl = curl_easy_init();
	struct reply reply = {0};
	json_t *json = NULL;

	*status = 0;
	if (curl != NULL && url != NULL && url_max < URL_MAX_BYTES) {
		snprintf(url, url_max, "http://localhost/api/v1%s", path);
		curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket);
		curl_easy_setopt(curl, CURLOPT_URL, url);
		curl_easy_setopt(curl, CURLOPT_PROXY, "");
		curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
		curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
		curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
		curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, CALL_TIMEOUT_MS);
		curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
		curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reply);
		if (text != NULL) {
			curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
			curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text);
		}
		if (curl_easy_perform(curl) == CURLE_OK)
			curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, status);
	}
	if (*status != 0)
		json = json_loadb(reply.text != NULL ? reply.text : "", reply.len, 0, NULL);
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	free(reply.text);
	free(text);
	free(url);
	return json;
}
