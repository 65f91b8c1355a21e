/*
 * /me, /login, /logout, /register, /join, /password: what a person does about themselves. Passwords
 * are hashed on another thread, so each of these answers later; the answer to a wrong name takes as
 * long as that to a wrong password, and says the same.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "people.h"
#include "shares.h"
#include "banned.h"

struct login {
	struct hash_job job; /* first */
	struct cluster *cluster;
	struct http_request *r;
	char name[NAME_MAX_BYTES + 1];
	char tries_name[HTTP_PEER_MAX + 8], tries_peer[HTTP_PEER_MAX + 8];
	/* then, when the password is right or a new one was hashed */
	void (*then)(struct login *l);
	enum role role; /* of who joins or registers */
	bool waiting;
	char invitation[TOKEN_TEXT_MAX];
	char fresh[PASSWORD_MAX_BYTES + 1]; /* a new password, when an old one is checked first */
};

/* What is compared with when there is no such person: no password gives it. */
static const char nobody_hash[] =
	"$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7";

static void login_free(struct login *l)
{
	explicit_bzero(l, sizeof(*l));
	free(l);
}

static void login_refuse(struct login *l, const struct refusal *refusal)
{
	api_refuse(l->r, refusal);
	login_free(l);
}

/* ---- me ------------------------------------------------------------------------------------ */

static json_t *me_json(struct cluster *c, const char *name, enum role role, const char *csrf)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:b, s:b, s:b, s:b}", "name", name, "role",
			 role_name(role), "csrf", csrf, "registration",
			 registration_name(c->people->settings.registration), "guests",
			 (int)c->people->settings.guests, "empty", c->people->npersons == 0,
			 "tagger", api_tagger_there(c), "spaces", (int)c->people->settings.spaces);
}

void api_me_get(struct cluster *c, struct http_request *r, const char *name)
{
	char csrf[DIGEST_TEXT_MAX] = "";

	if (r->who[0] != '\0' && api_session(c, r, csrf) == NULL)
		csrf[0] = '\0';
	api_json(r, 200, me_json(c, r->who, (enum role)r->rights, csrf));
}

/* ---- starting ------------------------------------------------------------------------------ */

static struct login *login_new(struct cluster *c, struct http_request *r)
{
	struct login *l = mem_must(sizeof(*l));

	l->cluster = c;
	l->r = r;
	snprintf(l->tries_peer, sizeof(l->tries_peer), "from:%s", http_peer(r));
	return l;
}

/* Too many wrong guesses: from there, or at that name. */
static int login_check_tries(struct login *l, struct refusal *refusal)
{
	int64_t now = clock_wall_s();
	unsigned wait, wait_name;

	snprintf(l->tries_name, sizeof(l->tries_name), "name:%s", l->name);
	wait = tries_wait(l->tries_peer, now, TRIES_FREE);
	wait_name = tries_wait(l->tries_name, now, TRIES_FREE_NAME);
	if (wait_name > wait)
		wait = wait_name;
	if (wait == 0)
		return 0;
	refuse(refusal, 429, "too_many_tries", "Too many wrong passwords: wait %u s.", wait);
	refuse_hint(refusal, "An admin can set a new password: volctl user passwd NAME");
	return -1;
}

static void login_hash(struct login *l, void (*done)(struct hash_job *job),
		       void (*then)(struct login *l))
{
	struct refusal refusal;

	l->job.done = done;
	l->then = then;
	if (hasher_add(&l->job))
		return;
	refuse(&refusal, 503, "busy", "Too many people log in at this moment.");
	refuse_hint(&refusal, "Try again in a few seconds.");
	login_refuse(l, &refusal);
}

static void login_checked(struct hash_job *job)
{
	struct login *l = (struct login *)job;
	struct refusal refusal;

	if (job->matches) {
		tries_forget(l->tries_name);
		l->then(l);
		return;
	}
	tries_failed(l->tries_name, clock_wall_s());
	tries_failed(l->tries_peer, clock_wall_s());
	events_note(l->cluster, "", "login.failed", l->name, "from %s", http_peer(l->r));
	refuse(&refusal, 401, "wrong_password", "This name and password do not fit.");
	login_refuse(l, &refusal);
}

static void login_hashed(struct hash_job *job)
{
	struct login *l = (struct login *)job;
	struct refusal refusal;

	if (job->err == 0) {
		l->then(l);
		return;
	}
	refuse(&refusal, 500, "password", "The password could not be hashed: %s.",
	       strerror(-job->err));
	login_refuse(l, &refusal);
}

/* name and password from a body; more may be known members as well. */
static json_t *login_parse(struct login *l, const char *const *known, struct refusal *refusal)
{
	json_t *o = api_parse_object(l->r->body, l->r->body_len, known, refusal);

	if (o == NULL)
		return NULL;
	if (api_parse_text(o, "name", l->name, sizeof(l->name), refusal) == 0 &&
	    api_parse_text(o, "password", l->job.password, sizeof(l->job.password), refusal) == 0)
		return o;
	json_decref(o);
	return NULL;
}

/* ---- log in, log out ----------------------------------------------------------------------- */

static void login_session(struct login *l, int status)
{
	struct cluster *c = l->cluster;
	struct person *p = person_by_name(c, l->name);
	char csrf[DIGEST_TEXT_MAX];
	struct refusal refusal;

	if (p == NULL || p->waiting) {
		refuse(&refusal, 403, "waiting_for_approval",
		       "An admin has to approve of %s first.", l->name);
		refuse_hint(&refusal, "Ask an admin, and log in after that.");
		login_refuse(l, &refusal);
		return;
	}
	p->seen = clock_wall_s();
	if (person_save(c, p, &refusal) != 0 ||
	    api_session_start(c, l->r, p, csrf, &refusal) != 0) {
		login_refuse(l, &refusal);
		return;
	}
	events_note(c, p->name, "login", p->name, "from %s", http_peer(l->r));
	api_json(l->r, status, me_json(c, p->name, p->role, csrf));
	login_free(l);
}

static void login_right(struct login *l)
{
	login_session(l, 200);
}

void api_login(struct cluster *c, struct http_request *r, const char *name)
{
	static const char *const known[] = {"name", "password", NULL};
	struct login *l = login_new(c, r);
	const struct person *p;
	struct refusal refusal;
	json_t *o = login_parse(l, known, &refusal);
	bool good = o != NULL;

	json_decref(o);
	if (good && l->name[0] == '\0') {
		refuse(&refusal, 400, "bad_request", "\"name\" is missing.");
		good = false;
	}
	if (!good || login_check_tries(l, &refusal) != 0) {
		login_refuse(l, &refusal);
		return;
	}
	p = person_by_name(c, l->name);
	snprintf(l->job.hash, sizeof(l->job.hash), "%s", p != NULL ? p->hash : nobody_hash);
	login_hash(l, login_checked, login_right);
}

void api_logout(struct cluster *c, struct http_request *r, const char *name)
{
	api_session_end(c, r);
	api_json(r, 200, json_object());
}

/* ---- register, join ------------------------------------------------------------------------ */

static void login_add(struct login *l)
{
	struct cluster *c = l->cluster;
	struct ticket *t = NULL;
	struct refusal refusal;

	/* things may have changed while the password was hashed */
	if (l->invitation[0] != '\0') {
		t = ticket_find(c, TICKET_INVITATION, l->invitation);
		if (t == NULL) {
			refuse(&refusal, 403, "bad_invitation",
			       "This invitation was used already, or has ended.");
			login_refuse(l, &refusal);
			return;
		}
	}
	if (person_add(c, l->name, l->role, l->waiting, l->job.hash, &refusal) != 0) {
		login_refuse(l, &refusal);
		return;
	}
	if (t != NULL)
		ticket_remove(c, t);
	events_note(c, l->name, "person.registered", l->name, "%s", role_name(l->role));
	if (l->waiting) {
		api_json(l->r, 202, json_pack("{s:s, s:b}", "name", l->name, "waiting", 1));
		login_free(l);
		return;
	}
	login_session(l, 201);
}

/* The answer of tagger whether there is a home of this name. */
static void login_home_looked(void *arg, int status, const json_t *body)
{
	struct login *l = arg;
	struct refusal refusal;

	if (status == 404 || (status == 0 && !api_tagger_there(l->cluster))) {
		login_add(l);
		return;
	}
	if (status == 200) {
		refuse(&refusal, 409, "name_taken", "There are files of somebody named %s already.",
		       l->name);
		refuse_hint(&refusal, "Choose another name, or ask an admin for this one.");
	} else {
		refuse(&refusal, 503, "tagger_away", "tagger does not answer.");
		refuse_hint(&refusal, "Try again in a while.");
	}
	login_refuse(l, &refusal);
}

/*
 * Who chooses his own name does not choose the files of somebody who had it, or of a folder that
 * was there before. Whom an admin gives a name may have them, and an admin sees all.
 */
static void login_made(struct login *l)
{
	char target[NAME_MAX_BYTES + 32];

	if (l->role >= ROLE_ADMIN) {
		login_add(l);
		return;
	}
	snprintf(target, sizeof(target), "file?path=" SHARE_HOME "/%s", l->name);
	api_tagger_ask(l->cluster, HTTP_GET, target, login_home_looked, l);
}

/* The name is free and the password good, or a refusal. */
static bool login_new_person(struct login *l, json_t *o, struct refusal *refusal)
{
	return o != NULL && login_check_tries(l, refusal) == 0 &&
	       person_check_name(l->cluster, l->name, refusal) == 0 &&
	       person_check_password(l->job.password, refusal) == 0;
}

void api_register(struct cluster *c, struct http_request *r, const char *name)
{
	static const char *const known[] = {"name", "password", NULL};
	struct login *l = login_new(c, r);
	struct refusal refusal;
	bool good = false;
	json_t *o;

	if (c->people->settings.registration == REGISTER_OFF) {
		refuse(&refusal, 403, "registration_off", "Nobody can register here.");
		refuse_hint(&refusal, "Ask an admin for an invitation.");
		login_refuse(l, &refusal);
		return;
	}
	o = login_parse(l, known, &refusal);
	good = login_new_person(l, o, &refusal);
	json_decref(o);
	if (!good) {
		login_refuse(l, &refusal);
		return;
	}
	/* each name that is tried counts, or names could be guessed and the table filled */
	tries_failed(l->tries_peer, clock_wall_s());
	l->role = ROLE_USER;
	l->waiting = c->people->settings.registration == REGISTER_APPROVAL;
	login_hash(l, login_hashed, login_made);
}

void api_join(struct cluster *c, struct http_request *r, const char *name)
{
	static const char *const known[] = {"name", "password", "invitation", NULL};
	struct login *l = login_new(c, r);
	const struct ticket *t = NULL;
	struct refusal refusal;
	json_t *o = login_parse(l, known, &refusal);
	bool good = o != NULL && api_parse_text(o, "invitation", l->invitation,
						sizeof(l->invitation), &refusal) == 0;

	if (good) {
		t = ticket_find(c, TICKET_INVITATION, l->invitation);
		good = t != NULL && l->invitation[0] != '\0';
		if (!good) {
			tries_failed(l->tries_peer, clock_wall_s());
			refuse(&refusal, 403, "bad_invitation",
			       "This invitation is not known, was used already, or has ended.");
			refuse_hint(&refusal, "Ask for a new one: volctl user invite --role ROLE");
		}
	}
	good = good && login_new_person(l, o, &refusal);
	json_decref(o);
	if (!good) {
		login_refuse(l, &refusal);
		return;
	}
	l->role = t->role;
	login_hash(l, login_hashed, login_made);
}

/* ---- change of the password ---------------------------------------------------------------- */

static void password_set(struct login *l)
{
	struct cluster *c = l->cluster;
	struct person *p = person_by_name(c, l->name);
	char csrf[DIGEST_TEXT_MAX];
	struct refusal refusal;

	if (p == NULL) {
		refuse_unknown(&refusal, "person", l->name);
		login_refuse(l, &refusal);
		return;
	}
	snprintf(p->hash, sizeof(p->hash), "%s", l->job.hash);
	if (person_save(c, p, &refusal) != 0) {
		login_refuse(l, &refusal);
		return;
	}
	tries_forget(l->tries_name);
	/* whoever knew the old one is out */
	tickets_remove(c, p->name, TICKET_SESSION, api_session(c, l->r, csrf));
	events_note(c, l->r->who, "person.password", p->name, "%s", "");
	api_json(l->r, 200, json_pack("{s:s}", "name", p->name));
	login_free(l);
}

static void password_old_right(struct login *l)
{
	snprintf(l->job.password, sizeof(l->job.password), "%s", l->fresh);
	l->job.hash[0] = '\0';
	login_hash(l, login_hashed, password_set);
}

void api_password(struct cluster *c, struct http_request *r, const char *name)
{
	static const char *const known[] = {"old", "new", NULL};
	struct login *l = login_new(c, r);
	const struct person *p = person_by_name(c, r->who);
	json_t *o = NULL;
	struct refusal refusal;
	bool good = false;

	snprintf(l->name, sizeof(l->name), "%s", r->who);
	if (p == NULL)
		refuse_unknown(&refusal, "person", r->who);
	else
		o = api_parse_object(r->body, r->body_len, known, &refusal);
	if (o != NULL)
		good = api_parse_text(o, "old", l->job.password, sizeof(l->job.password),
				      &refusal) == 0 &&
		       api_parse_text(o, "new", l->fresh, sizeof(l->fresh), &refusal) == 0 &&
		       person_check_password(l->fresh, &refusal) == 0 &&
		       login_check_tries(l, &refusal) == 0;
	json_decref(o);
	if (!good) {
		login_refuse(l, &refusal);
		return;
	}
	snprintf(l->job.hash, sizeof(l->job.hash), "%s", p->hash);
	login_hash(l, login_checked, password_old_right);
}

/* ---- by an admin, see api-people.c --------------------------------------------------------- */

static void admin_made(struct login *l)
{
	struct refusal refusal;

	if (person_add(l->cluster, l->name, l->role, false, l->job.hash, &refusal) != 0) {
		login_refuse(l, &refusal);
		return;
	}
	events_note(l->cluster, l->r->who, "person.added", l->name, "%s", role_name(l->role));
	api_json(l->r, 201, api_person_json(person_by_name(l->cluster, l->name)));
	login_free(l);
}

void api_person_hash(struct cluster *c, struct http_request *r, const char *name,
		     const char *password, enum role role, bool add)
{
	struct login *l = login_new(c, r);

	snprintf(l->name, sizeof(l->name), "%s", name);
	snprintf(l->tries_name, sizeof(l->tries_name), "name:%s", name);
	snprintf(l->job.password, sizeof(l->job.password), "%s", password);
	l->role = role;
	login_hash(l, login_hashed, add ? admin_made : password_set);
}
