/*
 * /spaces, /shares and /shared: who has which part of the tree, and the pages behind links. What is
 * shared must be there: tagger is asked before.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "href.h"
#include "shares.h"
#include "banned.h"

#define DAY_S	    86400
#define TARGET_MAX  (4 * SHARE_PATH_MAX)
#define LINK_PREFIX "/api/v1/shared/"

/* ---- what is told -------------------------------------------------------------------------- */

static const char *path_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

static json_t *share_json(struct cluster *c, const struct share *s)
{
	char *href = href_encode(s->path), *text = href_text(href);
	json_t *o = json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:b, s:s, s:s, s:b, s:s, s:I, s:I, s:I, s:b, s:b}", "id",
		s->id, "kind",
		s->kind == SHARE_LINK	 ? "link"
		: s->kind == SHARE_SPACE ? "space"
					 : "person",
		"path", text, "name", path_name(text), "href", href, "folder", (int)s->folder,
		"giver", s->giver, "person", s->person, "write", (int)s->write, "label", s->label,
		"created", (json_int_t)s->created, "expires", (json_int_t)s->expires, "seen",
		(json_int_t)s->seen, "gone", (int)s->gone, "live", (int)share_is_live(c, s));

	free(href);
	free(text);
	return o;
}

static void note(struct cluster *c, const struct http_request *r, const char *what,
		 const struct share *s)
{
	char *href = href_encode(s->path), *text = href_text(href);

	events_note(c, r->who, what, s->person, "%s", text);
	free(href);
	free(text);
}

static void refuse_no_share(struct refusal *refusal)
{
	refuse(refusal, 404, "no_such_share", "There is no such share.");
	refuse_hint(refusal, "It may have ended. Load the page again.");
}

/* ---- asking tagger before ------------------------------------------------------------------- */

static void refuse_no_person(struct refusal *refusal)
{
	refuse(refusal, 404, "no_such_person", "There is nobody of this name.");
	refuse_hint(refusal, "Names are as they log in.");
}

/* A share or space that is to be. */
struct giving {
	struct cluster *cluster;
	struct http_request *r;
	struct share s;
};

static void giving_done(struct giving *g)
{
	char secret[TOKEN_TEXT_MAX];
	struct refusal refusal;
	struct share *s;
	json_t *body;

	if (share_add(g->cluster, &g->s, secret, &s, &refusal) != 0) {
		api_refuse(g->r, &refusal);
		return;
	}
	note(g->cluster, g->r, s->kind == SHARE_SPACE ? "space.added" : "share.added", s);
	body = share_json(g->cluster, s);
	if (s->kind == SHARE_LINK)
		json_object_set_new(body, "secret", json_string(secret));
	api_json(g->r, 201, body);
}

static void giving_answered(void *arg, int status, const json_t *body)
{
	const char *kind = json_string_value(json_object_get(body, "kind"));
	struct giving *g = arg;
	struct refusal refusal;

	/* who comes under this name later is somebody else */
	if (g->s.person[0] != '\0' && person_by_name(g->cluster, g->s.person) == NULL) {
		refuse_no_person(&refusal);
		api_refuse(g->r, &refusal);
		free(g);
		return;
	}
	if (status == 200 && kind != NULL) {
		g->s.folder = strcmp(kind, "folder") == 0;
		giving_done(g);
		free(g);
		return;
	}
	if (status == 404) {
		refuse(&refusal, 404, "no_such_file", "There is no such file or folder.");
		refuse_hint(&refusal, "It may have been moved: look for it again.");
	} else {
		refuse(&refusal, 503, "tagger_away", "tagger does not answer.");
		refuse_hint(&refusal, "Is tagger running on the mounted volume?");
	}
	api_refuse(g->r, &refusal);
	free(g);
}

static void giving_start(struct giving *g)
{
	char target[TARGET_MAX], *href = href_encode(g->s.path);

	snprintf(target, sizeof(target), "file?path=%s", href);
	free(href);
	api_tagger_ask(g->cluster, HTTP_GET, target, giving_answered, g);
}

static int parse_path(json_t *o, char path[SHARE_PATH_MAX + 1], bool root, struct refusal *refusal)
{
	if (api_parse_text(o, "path", path, SHARE_PATH_MAX + 1, refusal) != 0)
		return -1;
	if ((root && path[0] == '\0') || (path[0] != '\0' && share_path_valid(path)))
		return 0;
	refuse(refusal, 400, "bad_path", "This is no path of a file or folder.");
	refuse_hint(refusal, "Say it from the top, as photos/2024.");
	return -1;
}

static int parse_person(struct cluster *c, json_t *o, char person[NAME_MAX_BYTES + 1],
			struct refusal *refusal)
{
	if (api_parse_text(o, "person", person, NAME_MAX_BYTES + 1, refusal) != 0)
		return -1;
	if (person[0] == '\0' || person_by_name(c, person) != NULL)
		return 0;
	refuse_no_person(refusal);
	return -1;
}

/* ---- spaces --------------------------------------------------------------------------------- */

struct homing {
	struct cluster *cluster;
	struct http_request *r;
	bool below; /* the folder of all homes is there */
};

static void spaces_answer(struct cluster *c, struct http_request *r)
{
	const struct shares *all = c->people->shares;
	char home[SHARE_PATH_MAX + 1];
	json_t *list = json_array();

	if (c->people->settings.spaces && person_by_name(c, r->who) != NULL)
		json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:s, s:b}", "id", "", "path",
						      share_home(r->who, home), "write",
						      r->rights >= ROLE_USER, "person", r->who,
						      "home", 1));
	for (unsigned i = 0; i < all->n; i++) {
		const struct share *s = all->share[i];

		if (s->kind == SHARE_SPACE && (r->rights >= ROLE_ADMIN || s->person[0] == '\0' ||
					       strcmp(s->person, r->who) == 0))
			json_array_append_new(list, share_json(c, s));
	}
	api_json(r, 200,
		 json_pack("{s:b, s:o}", "on", (int)c->people->settings.spaces, "spaces", list));
}

static void home_made(void *arg, int status, const json_t *body)
{
	struct homing *h = arg;
	char home[SHARE_PATH_MAX + 1], target[TARGET_MAX];

	if (!h->below && status != 0) { /* made now, or there already */
		h->below = true;
		snprintf(target, sizeof(target), "mkdir?path=%s", share_home(h->r->who, home));
		api_tagger_ask(h->cluster, HTTP_POST, target, home_made, h);
		return;
	}
	spaces_answer(h->cluster, h->r);
	free(h);
}

/* Whoever asks gets the folder of his own, if it is not there yet. */
void api_spaces_list(struct cluster *c, struct http_request *r, const char *name)
{
	struct homing *h;

	if (!c->people->settings.spaces || r->rights < ROLE_USER ||
	    person_by_name(c, r->who) == NULL) {
		spaces_answer(c, r);
		return;
	}
	h = mem_must(sizeof(*h));
	*h = (struct homing){.cluster = c, .r = r};
	api_tagger_ask(c, HTTP_POST, "mkdir?path=" SHARE_HOME, home_made, h);
}

void api_space_add(struct cluster *c, struct http_request *r, const char *name)
{
	static const char *const known[] = {"path", "person", "write", NULL};
	struct giving *g = mem_must(sizeof(*g));
	struct refusal refusal;
	json_t *o = api_parse_object(r->body, r->body_len, known, &refusal);
	bool good;

	*g = (struct giving){.cluster = c, .r = r, .s = {.kind = SHARE_SPACE}};
	good = o != NULL && parse_path(o, g->s.path, true, &refusal) == 0 &&
	       parse_person(c, o, g->s.person, &refusal) == 0 &&
	       api_parse_bool(o, "write", &g->s.write, &refusal) == 0;
	json_decref(o);
	if (!good) {
		api_refuse(r, &refusal);
		free(g);
		return;
	}
	snprintf(g->s.giver, sizeof(g->s.giver), "%.*s", NAME_MAX_BYTES, r->who);
	giving_start(g);
}

void api_space_remove(struct cluster *c, struct http_request *r, const char *name)
{
	struct share *s = share_by_id(c, name), was;
	struct refusal refusal;

	if (s == NULL || s->kind != SHARE_SPACE) {
		refuse_no_share(&refusal);
		api_refuse(r, &refusal);
		return;
	}
	was = *s;
	if (share_remove(c, s, &refusal) != 0) {
		api_refuse(r, &refusal);
		return;
	}
	note(c, r, "space.removed", &was);
	api_json(r, 200, json_pack("{s:s}", "removed", was.id));
}

/* ---- shares --------------------------------------------------------------------------------- */

void api_shares_list(struct cluster *c, struct http_request *r, const char *name)
{
	json_t *given = json_array(), *received = json_array(), *names = json_array();
	const struct people *p = c->people;
	bool all = r->rights >= ROLE_ADMIN && http_query(r, "all") != NULL;

	for (unsigned i = 0; i < p->shares->n && r->who[0] != '\0'; i++) {
		const struct share *s = p->shares->share[i];

		if (s->kind == SHARE_SPACE)
			continue;
		if (all || strcmp(s->giver, r->who) == 0)
			json_array_append_new(given, share_json(c, s));
		if (s->kind == SHARE_PERSON && strcmp(s->person, r->who) == 0)
			json_array_append_new(received, share_json(c, s));
	}
	/* with whom one may share */
	for (unsigned i = 0; i < p->npersons && r->rights >= ROLE_USER; i++)
		if (!p->person[i]->waiting && strcmp(p->person[i]->name, r->who) != 0)
			json_array_append_new(names, json_string(p->person[i]->name));
	api_json(r, 200,
		 json_pack("{s:o, s:o, s:o}", "given", given, "received", received, "people",
			   names));
}

static int parse_share(struct cluster *c, const struct http_request *r, struct share *s,
		       struct refusal *refusal)
{
	static const char *const known[] = {"path", "person", "write", "days", "label", NULL};
	json_t *o = api_parse_object(r->body, r->body_len, known, refusal);
	uint64_t days = 0;
	bool good = o != NULL && parse_path(o, s->path, false, refusal) == 0 &&
		    parse_person(c, o, s->person, refusal) == 0 &&
		    api_parse_bool(o, "write", &s->write, refusal) == 0 &&
		    api_parse_text(o, "label", s->label, sizeof(s->label), refusal) == 0 &&
		    api_parse_uint(o, "days", s->person[0] == '\0' ? SHARE_DAYS : 0, SHARE_DAYS_MAX,
				   &days, refusal) == 0;

	json_decref(o);
	if (!good)
		return -1;
	s->kind = s->person[0] == '\0' ? SHARE_LINK : SHARE_PERSON;
	s->expires = days > 0 ? clock_wall_s() + (int64_t)days * DAY_S : 0;
	if (s->kind == SHARE_LINK && (days == 0 || s->write)) {
		refuse(refusal, 400, "bad_link", "A link ends, and is for looking.");
		refuse_hint(refusal, "Say in how many days. To let somebody change it, share it "
				     "with a person.");
		return -1;
	}
	return 0;
}

/* Somebody who may give it, to somebody else. */
static int check_share(struct cluster *c, const struct http_request *r, const struct share *s,
		       struct refusal *refusal)
{
	char *list;
	size_t len;

	if (person_by_name(c, r->who) == NULL || strcmp(s->person, r->who) == 0) {
		refuse(refusal, 400, "bad_share", "A share is from one person to another.");
		refuse_hint(refusal, "Log in, and choose somebody else.");
		return -1;
	}
	if (!share_may_give(c, r->who, (enum role)r->rights, s->path, s->write)) {
		refuse(refusal, 403, "not_yours", "This is not yours to share.");
		refuse_hint(refusal, "You can share what is in your spaces.");
		return -1;
	}
	list = s->kind == SHARE_PERSON ? scope_text(c, s->person, ROLE_USER) : NULL;
	len = list != NULL ? strlen(list) : 0;
	free(list);
	if (len + 3 * strlen(s->path) + 4 < SCOPE_BYTES_MAX)
		return 0;
	refuse(refusal, 409, "too_many_shares", "%s has too many shares already.", s->person);
	refuse_hint(refusal, "Share a folder instead of each file in it.");
	return -1;
}

void api_share_add(struct cluster *c, struct http_request *r, const char *name)
{
	struct giving *g = mem_must(sizeof(*g));
	struct refusal refusal;

	*g = (struct giving){.cluster = c, .r = r};
	if (parse_share(c, r, &g->s, &refusal) != 0 || check_share(c, r, &g->s, &refusal) != 0) {
		api_refuse(r, &refusal);
		free(g);
		return;
	}
	snprintf(g->s.giver, sizeof(g->s.giver), "%s", person_by_name(c, r->who)->name);
	giving_start(g);
}

/* Who gave it ends it; who has it takes it off his list, and touches no file. */
void api_share_remove(struct cluster *c, struct http_request *r, const char *name)
{
	struct share *s = share_by_id(c, name), was;
	struct refusal refusal;
	bool giver, taker;

	giver = s != NULL && (r->rights >= ROLE_ADMIN || strcmp(s->giver, r->who) == 0);
	taker = s != NULL && s->kind == SHARE_PERSON && strcmp(s->person, r->who) == 0;
	if (s == NULL || s->kind == SHARE_SPACE || r->who[0] == '\0' || (!giver && !taker)) {
		refuse_no_share(&refusal);
		api_refuse(r, &refusal);
		return;
	}
	was = *s;
	if (share_remove(c, s, &refusal) != 0) {
		api_refuse(r, &refusal);
		return;
	}
	note(c, r, taker ? "share.left" : "share.removed", &was);
	api_json(r, 200, json_pack("{s:s}", "removed", was.id));
}

/* ---- behind a link --------------------------------------------------------------------------- */

static void refuse_link(struct http_request *r)
{
	struct refusal refusal;

	refuse(&refusal, 404, "link_ended", "This link leads nowhere, or has ended.");
	refuse_hint(&refusal, "Ask who gave it to you for a new one.");
	api_refuse(r, &refusal);
}

void api_shared_get(struct cluster *c, struct http_request *r, const char *name)
{
	struct share *s = share_by_secret(c, name);
	char *href, *text;

	if (s == NULL) {
		refuse_link(r);
		return;
	}
	if (share_seen(c, s))
		note(c, r, "share.opened", s);
	href = href_encode(path_name(s->path));
	text = href_text(href);
	api_json(r, 200,
		 json_pack("{s:s, s:s, s:b, s:s, s:I}", "name", text, "href", href, "folder",
			   (int)s->folder, "giver", s->giver, "expires", (json_int_t)s->expires));
	free(href);
	free(text);
}

bool api_shared_path(const char *path)
{
	return strncmp(path, LINK_PREFIX, strlen(LINK_PREFIX)) == 0 &&
	       strchr(path + strlen(LINK_PREFIX), '/') != NULL;
}

static bool link_route(const char *route)
{
	static const char *const routes[] = {"folder", "content", "thumbnail", "sprite", "archive"};

	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
		if (strcmp(route, routes[i]) == 0)
			return true;
	return false;
}

static struct share *link_share(struct cluster *c, const struct http_request *r)
{
	const char *rest = r->path + strlen(LINK_PREFIX), *slash = strchr(rest, '/');
	char secret[TOKEN_TEXT_MAX];

	if ((size_t)(slash - rest) >= sizeof(secret) || r->method != HTTP_GET ||
	    !link_route(slash + 1))
		return NULL;
	snprintf(secret, sizeof(secret), "%.*s", (int)(slash - rest), rest);
	return share_by_secret(c, secret);
}

/* What tagger holds who comes by the link to. */
static char *link_scope(const struct share *s)
{
	char scope[3 * SHARE_PATH_MAX + 8], *coded = href_encode(s->path), *list;

	snprintf(scope, sizeof(scope), "r:%s", coded);
	free(coded);
	list = strdup(scope);
	if (list == NULL)
		abort(); /* as mem_must(): no list would be everything */
	return list;
}

bool api_shared_still(struct cluster *c, const struct http_request *r, const char *scope)
{
	const struct share *s = link_share(c, r);
	char *now = s != NULL ? link_scope(s) : NULL;
	bool still = now != NULL && strcmp(now, scope) == 0;

	free(now);
	return still;
}

void api_shared(struct cluster *c, struct http_request *r)
{
	const char *route = strchr(r->path + strlen(LINK_PREFIX), '/') + 1;
	const struct share *s = link_share(c, r);
	char path[SHARE_PATH_MAX + 1], *base;

	if (s == NULL) {
		refuse_link(r);
		return;
	}
	snprintf(path, sizeof(path), "%.*s",
		 (int)(path_name(s->path) > s->path ? path_name(s->path) - s->path - 1 : 0),
		 s->path);
	base = path[0] != '\0' ? href_encode(path) : NULL;
	api_tagger_relay(c, r, route, link_scope(s), base);
}
