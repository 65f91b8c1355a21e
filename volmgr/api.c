/*
 * Routing of the control API, answers, refusals. On the Unix socket everything may be done; over
 * TCP only looking, since there nobody has shown who they are.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "log.h"
#include "banned.h"

#define API_PREFIX "/api/v1/"

struct api_route {
	enum http_method method;
	const char *collection; /* first word of the path */
	bool named;		/* a name follows */
	const char *tail;	/* a last word, or NULL */
	void (*handle)(struct cluster *c, struct http_request *r, const char *name);
};

static const struct api_route routes[] = {
	{HTTP_GET, "status", false, NULL, api_status_get},
	{HTTP_GET, "servers", false, NULL, api_servers_list},
	{HTTP_POST, "servers", false, NULL, api_server_add},
	{HTTP_GET, "servers", true, NULL, api_server_get},
	{HTTP_DELETE, "servers", true, NULL, api_server_remove},
	{HTTP_GET, "volumes", false, NULL, api_volumes_list},
	{HTTP_POST, "volumes", false, NULL, api_volume_create},
	{HTTP_GET, "volumes", true, NULL, api_volume_get},
	{HTTP_PATCH, "volumes", true, NULL, api_volume_resize},
	{HTTP_DELETE, "volumes", true, NULL, api_volume_delete},
	{HTTP_GET, "volumes", true, "map", api_volume_map},
};

/* ---- answers ------------------------------------------------------------------------------- */

void api_json(struct http_request *r, int status, json_t *body)
{
	char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;

	json_decref(body);
	if (text == NULL) {
		log_error("an answer of the API could not be made: out of memory");
		http_reply(r, 500, "application/json", "{}", 2);
		return;
	}
	http_reply(r, status, "application/json", text, strlen(text));
	free(text);
}

void api_refuse(struct http_request *r, const struct refusal *refusal)
{
	json_t *body = json_pack("{s:{s:s, s:s, s:s}}", "error", "code", refusal->code, "message",
				 refusal->message, "hint", refusal->hint);

	api_json(r, refusal->status, body);
}

/* ---- answers that come later --------------------------------------------------------------- */

static void api_call_late(void *arg)
{
	struct api_call *call = arg;
	struct http_request *r = call->r;
	struct refusal refusal;

	call->r = NULL;
	control_timer_free(call->timer);
	call->timer = NULL;
	refuse(&refusal, 504, "still_going_on",
	       "This has not ended within %u seconds, and goes on in the background.",
	       API_WAIT_MS / 1000);
	refuse_hint(&refusal, "It may wait for servers: look at volctl status.");
	api_refuse(r, &refusal);
}

struct api_call *api_later(struct cluster *c, struct http_request *r, const char *name)
{
	struct api_call *call = mem_must(sizeof(*call));

	call->cluster = c;
	call->r = r;
	snprintf(call->name, sizeof(call->name), "%s", name);
	call->timer = control_timer_start(c->control, API_WAIT_MS, 0, api_call_late, call);
	return call;
}

struct http_request *api_call_end(struct api_call *call)
{
	struct http_request *r = call->r;

	control_timer_free(call->timer);
	free(call);
	return r;
}

/* ---- routing ------------------------------------------------------------------------------- */

/* What stands between the slashes after the prefix, at most three words. */
struct api_path {
	char word[3][HTTP_PATH_MAX];
	int words;
};

static bool api_split(const char *path, struct api_path *out)
{
	out->words = 0;
	for (const char *p = path; *p != '\0' && out->words < 3;) {
		size_t n = strcspn(p, "/");

		memcpy(out->word[out->words], p, n);
		out->word[out->words++][n] = '\0';
		p += n;
		if (*p == '\0')
			return true;
		p++;
	}
	return false;
}

static bool api_matches(const struct api_route *route, const struct api_path *path)
{
	int words = 1 + route->named + (route->tail != NULL);

	return path->words == words && strcmp(path->word[0], route->collection) == 0 &&
	       (route->tail == NULL || strcmp(path->word[2], route->tail) == 0);
}

static void api_unknown(struct http_request *r, bool path_known)
{
	struct refusal refusal;

	if (path_known)
		refuse(&refusal, 405, "bad_method", "This cannot be done here.");
	else
		refuse(&refusal, 404, "no_such_path", "There is nothing under this path.");
	refuse_hint(&refusal, "The API's paths start with " API_PREFIX
			      ": status, servers, volumes. Do volctl and volmgr fit together?");
	api_refuse(r, &refusal);
}

static void api_route(struct cluster *c, struct http_request *r)
{
	struct api_path path;
	bool known = false;

	if (strncmp(r->path, API_PREFIX, strlen(API_PREFIX)) != 0 ||
	    !api_split(r->path + strlen(API_PREFIX), &path)) {
		api_unknown(r, false);
		return;
	}
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		const struct api_route *route = &routes[i];

		if (!api_matches(route, &path))
			continue;
		known = true;
		if (route->method == r->method) {
			route->handle(c, r, route->named ? path.word[1] : "");
			return;
		}
	}
	api_unknown(r, known);
}

void api_handle_local(void *arg, struct http_request *r)
{
	api_route(arg, r);
}

void api_handle_public(void *arg, struct http_request *r)
{
	struct refusal refusal;

	if (r->method != HTTP_GET) {
		refuse(&refusal, 403, "read_only", "Over TCP one can only look.");
		refuse_hint(&refusal, "Use volctl on the host that volmgr runs on.");
		api_refuse(r, &refusal);
	} else if (strncmp(r->path, "/api/", 5) == 0) {
		api_route(arg, r);
	} else {
		api_www(arg, r);
	}
}
