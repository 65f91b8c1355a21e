/* See http-client.h. The one file with curl. */
#include "config.h"

#include "http-client.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "banned.h"

#define CONNECT_TIMEOUT_MS 5000L
#define ROOT		   "http://localhost/api/v1"

/* curl's callback; a short count ends the transfer with an error. */
static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
	struct http_answer *a = arg;
	size_t bytes = size * count;
	char *text;

	if (bytes > HTTP_ANSWER_MAX_BYTES - a->len)
		return 0;
	text = realloc(a->text, a->len + bytes + 1);
	if (text == NULL)
		return 0;
	memcpy(text + a->len, data, bytes);
	a->text = text;
	a->len += bytes;
	a->text[a->len] = '\0';
	return bytes;
}

static void set_up(CURL *curl, const char *socket, const char *method, long timeout_ms,
		   struct http_answer *answer)
{
	curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket);
	curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, timeout_ms);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
}

static CURLcode perform(CURL *curl, const char *path, const char *body, long *status)
{
	struct curl_slist *headers = NULL;
	CURLcode err = CURLE_OUT_OF_MEMORY;
	char *url = NULL;

	if (asprintf(&url, ROOT "%s", path) < 0)
		return err;
	headers = curl_slist_append(NULL, "Content-Type: application/json");
	if (headers != NULL) {
		curl_easy_setopt(curl, CURLOPT_URL, url);
		if (body != NULL) {
			curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
			curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
		}
		err = curl_easy_perform(curl);
	}
	if (err == CURLE_OK)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, status);
	curl_slist_free_all(headers);
	free(url);
	return err;
}

void http_client_ask(const char *socket, const char *method, const char *path, const char *body,
		     long timeout_ms, struct http_answer *answer)
{
	CURLcode err = CURLE_OUT_OF_MEMORY;
	CURL *curl = curl_easy_init();

	*answer = (struct http_answer){0};
	if (curl != NULL) {
		set_up(curl, socket, method, timeout_ms, answer);
		err = perform(curl, path, body, &answer->status);
	}
	curl_easy_cleanup(curl);
	answer->late = err == CURLE_OPERATION_TIMEDOUT;
	if (answer->status == 0)
		answer->why = curl_easy_strerror(err);
}

int http_client_param(char *path, size_t max_bytes, const char *name, const char *value)
{
	size_t len = strlen(path);
	char *coded = curl_easy_escape(NULL, value, (int)strlen(value));
	int n = -1;

	if (coded != NULL)
		n = snprintf(path + len, max_bytes - len, "%c%s=%s", strchr(path, '?') ? '&' : '?',
			     name, coded);
	curl_free(coded);
	return n < 0 || (size_t)n >= max_bytes - len ? -ENAMETOOLONG : 0;
}
