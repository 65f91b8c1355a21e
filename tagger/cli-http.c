/* See cli.h: JSON to and from the tagger that runs. */
#include "config.h"

#include "tagger/cli.h"

#include <stdlib.h>

#include "http-client.h"

#include "banned.h"

#define CALL_TIMEOUT_MS 60000L

json_t *cli_http(const char *socket, const char *method, const char *path, const json_t *body,
		 long *status)
{
	char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
	struct http_answer answer;
	json_t *json = NULL;

	http_client_ask(socket, method, path, text, CALL_TIMEOUT_MS, &answer);
	if (answer.text != NULL)
		json = json_loadb(answer.text, answer.len, 0, NULL);
	*status = answer.status;
	free(answer.text);
	free(text);
	return json;
}
