/*
 * Routing of the control API, answers, refusals. Each route says which role it needs; api-auth.c
 * says who is asking.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api.h"
#include "log.h"
#include "size.h"
#include "banned.h"

#define API_PREFIX "/api/v1/"

struct api_route {
	enum http_method method;
	const char *collection; /* first word of the path */
	bool named;		/* a name follows */
	const char *tail;	/* a last word, or NULL */
	void (*handle)(struct cluster *c, struct http_request *r, const char *name);
	enum role need;
	const char *event; /* what is noted when it was done */
};

static const struct api_route routes[] = {
	{HTTP_GET, "me", false, NULL, api_me_get, ROLE_NONE, NULL},
	{HTTP_POST, "login", false, NULL, api_login, ROLE_NONE, NULL},
	{HTTP_POST, "logout", false, NULL, api_logout, ROLE_NONE, NULL},
	{HTTP_POST, "register", false, NULL, api_register, ROLE_NONE, NULL},
	{HTTP_POST, "join", false, NULL, api_join, ROLE_NONE, NULL},
	{HTTP_POST, "password", false, NULL, api_password, ROLE_READ, NULL},
	{HTTP_GET, "sessions", false, NULL, api_sessions_list, ROLE_READ, NULL},
	{HTTP_DELETE, "sessions", true, NULL, api_session_remove, ROLE_READ, NULL},
	{HTTP_GET, "tokens", false, NULL, api_tokens_list, ROLE_READ, NULL},
	{HTTP_POST, "tokens", false, NULL, api_token_add, ROLE_READ, NULL},
	{HTTP_DELETE, "tokens", true, NULL, api_token_remove, ROLE_READ, NULL},
	{HTTP_GET, "people", false, NULL, api_people_list, ROLE_ADMIN, NULL},
	{HTTP_POST, "people", false, NULL, api_person_add, ROLE_ADMIN, NULL},
	{HTTP_PATCH, "people", true, NULL, api_person_change, ROLE_ADMIN, NULL},
	{HTTP_DELETE, "people", true, NULL, api_person_remove, ROLE_ADMIN, NULL},
	{HTTP_GET, "invitations", false, NULL, api_invitations_list, ROLE_ADMIN, NULL},
	{HTTP_POST, "invitations", false, NULL, api_invitation_add, ROLE_ADMIN, NULL},
	{HTTP_DELETE, "invitations", true, NULL, api_invitation_remove, ROLE_ADMIN, NULL},
	{HTTP_GET, "settings", false, NULL, api_settings_get, ROLE_ADMIN, NULL},
	{HTTP_PATCH, "settings", false, NULL, api_settings_change, ROLE_ADMIN, NULL},
	{HTTP_GET, "spaces", false, NULL, api_spaces_list, ROLE_READ, NULL},
	{HTTP_POST, "spaces", false, NULL, api_space_add, ROLE_ADMIN, NULL},
	{HTTP_DELETE, "spaces", true, NULL, api_space_remove, ROLE_ADMIN, NULL},
	{HTTP_GET, "shares", false, NULL, api_shares_list, ROLE_READ, NULL},
	{HTTP_POST, "shares", false, NULL, api_share_add, ROLE_USER, NULL},
	{HTTP_DELETE, "shares", true, NULL, api_share_remove, ROLE_READ, NULL},
	{HTTP_GET, "shared", true, NULL, api_shared_get, ROLE_NONE, NULL},
	{HTTP_GET, "events", false, NULL, api_events_list, ROLE_READ, NULL},
	{HTTP_GET, "live", false, NULL, api_live, ROLE_READ, NULL},
	{HTTP_GET, "history", false, NULL, api_history, ROLE_READ, NULL},
	{HTTP_GET, "counters", false, NULL, api_counters, ROLE_READ, NULL},
	{HTTP_GET, "status", false, NULL, api_status_get, ROLE_READ, NULL},
	{HTTP_GET, "servers", false, NULL, api_servers_list, ROLE_READ, NULL},
	{HTTP_POST, "servers", false, NULL, api_server_add, ROLE_ADMIN, "server.added"},
	{HTTP_GET, "servers", true, NULL, api_server_get, ROLE_READ, NULL},
	{HTTP_PATCH, "servers", true, NULL, api_server_change, ROLE_ADMIN, NULL},
	{HTTP_DELETE, "servers", true, NULL, api_server_remove, ROLE_ADMIN, "server.removed"},
	{HTTP_POST, "servers", true, "drain", api_server_drain, ROLE_ADMIN, "server.drained"},
	{HTTP_POST, "servers", true, "replace", api_server_replace, ROLE_ADMIN, "server.replaced"},
	{HTTP_GET, "moves", false, NULL, api_moves_list, ROLE_READ, NULL},
	{HTTP_GET, "volumes", false, NULL, api_volumes_list, ROLE_READ, NULL},
	{HTTP_POST, "volumes", false, NULL, api_volume_create, ROLE_ADMIN, "volume.created"},
	{HTTP_GET, "volumes", true, NULL, api_volume_get, ROLE_READ, NULL},
	{HTTP_PATCH, "volumes", true, NULL, api_volume_resize, ROLE_ADMIN, "volume.changed"},
	{HTTP_DELETE, "volumes", true, NULL, api_volume_delete, ROLE_ADMIN, "volume.deleted"},
	{HTTP_GET, "volumes", true, "map", api_volume_map, ROLE_READ, NULL},
	{HTTP_POST, "volumes", true, "attach", api_volume_attach, ROLE_ADMIN, NULL},
	{HTTP_POST, "volumes", true, "detach", api_volume_detach, ROLE_ADMIN, NULL},
	{HTTP_GET, "hosts", true, "power", api_host_power_get, ROLE_ADMIN, NULL},
	{HTTP_POST, "hosts", true, "power", api_host_power, ROLE_ADMIN, NULL},
	{HTTP_POST, "check", false, NULL, api_check, ROLE_ADMIN, NULL},
	{HTTP_POST, "recover", false, NULL, api_recover, ROLE_ADMIN, "cluster.recovered"},
	{HTTP_GET, "scrub", false, NULL, api_scrub_get, ROLE_READ, NULL},
	{HTTP_POST, "scrub", false, NULL, api_scrub_order, ROLE_ADMIN, "scrub.ordered"},
};

/* the one that is served: an answer has no other way to the events */
static struct cluster *served;

/* ---- answers ------------------------------------------------------------------------------- */

/* The object that a change was about: what was made has a name, what was deleted is named. */
static const char *api_object(json_t *body)
{
	static const char *const keys[] = {"name", "deleted", "removed"};
	const char *name = NULL;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]) && name == NULL; i++)
		name = json_string_value(json_object_get(body, keys[i]));
	return name != NULL ? name : "";
}

static void api_note(struct http_request *r, int status, json_t *body)
{
	const struct api_route *route = r->route;
	char detail[EVENT_DETAIL_MAX] = "", size[SIZE_TEXT_MAX];
	json_t *k = json_object_get(body, "k");

	if (route == NULL || route->event == NULL || status >= 300)
		return;
	if (k != NULL)
		snprintf(detail, sizeof(detail), "%s, %d+%d",
			 size_format((uint64_t)json_integer_value(json_object_get(body, "size")),
				     size),
			 (int)json_integer_value(k),
			 (int)json_integer_value(json_object_get(body, "m")));
	events_note(served, r->who, route->event, api_object(body), "%s", detail);
}

void api_json(struct http_request *r, int status, json_t *body)
{
	char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;

	api_note(r, status, body);
	json_decref(body);
	if (text == NULL) {
		log_error("an answer of the API could not be made: out of memory");
		http_reply(r, 500, JSON_TYPE, "{}", 2);
		return;
	}
	http_reply(r, status, JSON_TYPE, text, strlen(text));
	free(text);
}

/* What to do, where who refuses has nothing better to say. */
static const char *api_hint(int status)
{
	static const struct {
		int status;
		const char *hint;
	} hints[] = {
		{401, "Log in, or show a token."},
		{403, "Ask an admin."},
		{404, "It may be gone: look again."},
		{409, "Try again when what is in the way has ended, or was removed."},
		{500, "Look at volmgr's messages."},
		{503, "Try again in a while."},
	};

	for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++)
		if (hints[i].status == status)
			return hints[i].hint;
	return "weft-api(7) describes the API.";
}

void api_refuse(struct http_request *r, const struct refusal *refusal)
{
	const char *hint = refusal->hint[0] != '\0' ? refusal->hint : api_hint(refusal->status);
	json_t *body = json_pack("{s:{s:s, s:s, s:s}}", "error", "code", refusal->code, "message",
				 refusal->message, "hint", hint);

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
	refuse_hint(&refusal,
		    "The API's paths start with " API_PREFIX
		    ": status, servers, volumes, scrub. Do volctl and volmgr fit together?");
	api_refuse(r, &refusal);
}

static void api_route(struct cluster *c, struct http_request *r)
{
	struct api_path path;
	struct refusal refusal;
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
		if (route->method != r->method)
			continue;
		if (api_auth_need(r, route->need, &refusal) != 0) {
			api_refuse(r, &refusal);
			return;
		}
		r->route = route;
		route->handle(c, r, route->named ? path.word[1] : "");
		return;
	}
	api_unknown(r, known);
}

void api_handle_local(void *arg, struct http_request *r)
{
	served = arg;
	api_auth_local(r);
	if (strcmp(r->path, "/metrics") == 0)
		api_metrics(arg, r);
	else
		api_route(arg, r);
}

/*
 * A page from elsewhere can make a browser send forms to us, but no JSON, without asking first; and
 * it is never told yes.
 */
static int api_check_type(const struct http_request *r, struct refusal *refusal)
{
	const char *type = http_request_header(r, "Content-Type");

	if (r->method == HTTP_GET || r->body_len == 0 ||
	    (type != NULL && strncasecmp(type, JSON_TYPE, strlen(JSON_TYPE)) == 0))
		return 0;
	refuse(refusal, 415, "bad_type", "The body must be sent as " JSON_TYPE ".");
	return -1;
}

void api_handle_public(void *arg, struct http_request *r)
{
	struct refusal refusal;
	bool metrics = strcmp(r->path, "/metrics") == 0, tagger = api_tagger_path(r->path);

	served = arg;
	if (!metrics && strncmp(r->path, "/api/", 5) != 0)
		api_www(arg, r);
	else if ((!tagger && api_check_type(r, &refusal) != 0) ||
		 api_auth_public(arg, r, &refusal) != 0)
		api_refuse(r, &refusal);
	else if (metrics)
		api_metrics(arg, r);
	else if (tagger)
		api_tagger(arg, r);
	else if (api_shared_path(r->path))
		api_shared(arg, r);
	else
		api_route(arg, r);
}
