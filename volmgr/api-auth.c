/*
 * Who is asking: over the Unix socket the kernel says so; over TCP a session's cookie, with its
 * CSRF token in a header for whatever changes something, or a script's token in Authorization. What
 * neither shows is a guest, who may look when the settings say so.
 */
#include "config.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api.h"
#include "people.h"
#include "banned.h"

#define COOKIE_PLAIN "weft_session"
#define COOKIE_TLS                                                                                 \
	"__Host-weft_session" /* a browser takes it over TLS only, for this host only              \
			       */
#define BEARER	   "Bearer "
#define COOKIE_MAX 256

/* ---- sessions ------------------------------------------------------------------------------ */

static int auth_cookie(const struct http_request *r, char secret[TOKEN_TEXT_MAX])
{
	return http_request_cookie(r, http_is_tls(r) ? COOKIE_TLS : COOKIE_PLAIN, secret,
				   TOKEN_TEXT_MAX);
}

/* Made from the session's secret, so that it need not be kept. */
static void auth_csrf(const char *secret, char csrf[DIGEST_TEXT_MAX])
{
	char text[TOKEN_TEXT_MAX + 8];

	snprintf(text, sizeof(text), "csrf:%s", secret);
	digest_text(text, csrf);
}

struct ticket *api_session(struct cluster *c, const struct http_request *r,
			   char csrf[DIGEST_TEXT_MAX])
{
	char secret[TOKEN_TEXT_MAX];

	csrf[0] = '\0';
	if (auth_cookie(r, secret) != 0)
		return NULL;
	auth_csrf(secret, csrf);
	return ticket_find(c, TICKET_SESSION, secret);
}

struct ticket *api_token(struct cluster *c, const struct http_request *r)
{
	const char *bearer = http_request_header(r, "Authorization");

	if (http_is_local(r) || bearer == NULL || strncasecmp(bearer, BEARER, strlen(BEARER)) != 0)
		return NULL;
	return ticket_find(c, TICKET_TOKEN, bearer + strlen(BEARER));
}

static void auth_set_cookie(struct http_request *r, const char *secret, int64_t lasts_s)
{
	bool tls = http_is_tls(r);
	char text[COOKIE_MAX];

	snprintf(text, sizeof(text), "%s=%s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%lld%s",
		 tls ? COOKIE_TLS : COOKIE_PLAIN, secret, (long long)lasts_s,
		 tls ? "; Secure" : "");
	http_header(r, "Set-Cookie", text);
}

/* "Firefox, Linux": enough to tell one's own sessions apart. */
static void auth_browser(const char *agent, char label[LABEL_MAX + 1])
{
	/* those that name others as well come first */
	static const char *const browsers[] = {"Firefox", "Edg", "OPR", "Chrome", "Safari", "curl"};
	static const char *const systems[] = {"Android", "iPhone",   "iPad",
					      "Windows", "Mac OS X", "Linux"};
	const char *browser = NULL, *system = NULL;

	for (size_t i = 0; agent != NULL && i < sizeof(browsers) / sizeof(browsers[0]); i++) {
		if (browser == NULL && strstr(agent, browsers[i]) != NULL)
			browser = browsers[i];
		if (system == NULL && strstr(agent, systems[i]) != NULL)
			system = systems[i];
	}
	snprintf(label, LABEL_MAX + 1, "%s%s%s", browser != NULL ? browser : "",
		 browser != NULL && system != NULL ? ", " : "", system != NULL ? system : "");
}

int api_session_start(struct cluster *c, struct http_request *r, const struct person *p,
		      char csrf[DIGEST_TEXT_MAX], struct refusal *refusal)
{
	char secret[TOKEN_TEXT_MAX], label[LABEL_MAX + 1];

	auth_browser(http_request_header(r, "User-Agent"), label);
	if (ticket_new(c, TICKET_SESSION, p->name, p->role, label, SESSION_S, secret, refusal) != 0)
		return -1;
	auth_csrf(secret, csrf);
	auth_set_cookie(r, secret, SESSION_S);
	return 0;
}

void api_session_end(struct cluster *c, struct http_request *r)
{
	char csrf[DIGEST_TEXT_MAX];
	struct ticket *t = api_session(c, r, csrf);

	if (t != NULL)
		ticket_remove(c, t);
	auth_set_cookie(r, "", 0);
}

/* ---- who ----------------------------------------------------------------------------------- */

void api_auth_local(struct http_request *r)
{
	struct passwd *pw;
	uid_t uid;

	r->rights = ROLE_ADMIN; /* who may open the socket may do all: it is its owner's alone */
	if (http_peer_uid(r, &uid) != 0) {
		snprintf(r->who, sizeof(r->who), "local");
		return;
	}
	pw = getpwuid(uid);
	if (pw != NULL)
		snprintf(r->who, sizeof(r->who), "%s", pw->pw_name);
	else
		snprintf(r->who, sizeof(r->who), "uid %u", (unsigned)uid);
}

/* The person's role now, and never more than the ticket's. */
static void auth_person(struct cluster *c, struct http_request *r, struct ticket *t)
{
	const struct person *p = person_by_name(c, t->person);

	if (p == NULL || p->waiting)
		return;
	r->rights = p->role;
	if (t->kind == TICKET_TOKEN && t->role < p->role)
		r->rights = t->role;
	snprintf(r->who, sizeof(r->who), "%s", p->name);
	ticket_seen(c, t);
}

static int auth_refuse_csrf(struct refusal *refusal)
{
	refuse(refusal, 403, "bad_csrf_token", "This request does not come from the web page.");
	refuse_hint(refusal, "Load the page again. Scripts use a token instead of a session.");
	return -1;
}

int api_auth_public(struct cluster *c, struct http_request *r, struct refusal *refusal)
{
	const char *bearer = http_request_header(r, "Authorization");
	char csrf[DIGEST_TEXT_MAX];
	const char *given;
	struct ticket *t;

	if (c->people->settings.guests)
		r->rights = ROLE_READ;
	if (bearer != NULL && strncasecmp(bearer, BEARER, strlen(BEARER)) == 0) {
		t = ticket_find(c, TICKET_TOKEN, bearer + strlen(BEARER));
		if (t != NULL) {
			auth_person(c, r, t);
			return 0;
		}
		refuse(refusal, 401, "bad_token", "This token is not known, or has ended.");
		refuse_hint(refusal, "Make a new one on the web page, under your name.");
		return -1;
	}
	t = api_session(c, r, csrf);
	if (t == NULL)
		return 0;
	given = http_request_header(r, "X-Weft-CSRF");
	if (r->method != HTTP_GET && (given == NULL || !secret_equal(given, csrf)))
		return auth_refuse_csrf(refusal);
	auth_person(c, r, t);
	return 0;
}

bool api_auth_still(struct cluster *c, struct http_request *r)
{
	unsigned rights = r->rights;
	struct refusal refusal;
	char who[HTTP_WHO_MAX];

	if (http_is_local(r))
		return true;
	memcpy(who, r->who, sizeof(who));
	r->rights = ROLE_NONE;
	r->who[0] = '\0';
	return api_auth_public(c, r, &refusal) == 0 && r->rights == rights &&
	       strcmp(r->who, who) == 0;
}

int api_auth_need(const struct http_request *r, unsigned need, struct refusal *refusal)
{
	if (r->rights >= need)
		return 0;
	if (r->who[0] == '\0') {
		refuse(refusal, 401, "not_logged_in", "Log in first.");
		refuse_hint(refusal,
			    "The first person is made by: volctl user add NAME --role admin");
	} else {
		refuse(refusal, 403, "not_allowed", "%s may not do this: it needs the role %s.",
		       r->who, role_name((enum role)need));
		refuse_hint(refusal, "Ask an admin.");
	}
	return -1;
}
