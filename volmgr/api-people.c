/* /people, /invitations, /tokens, /sessions and /settings. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "people.h"
#include "banned.h"

static void answer(struct http_request *r, int err, const struct refusal *refusal, json_t *body)
{
	if (err == 0) {
		api_json(r, 200, body);
		return;
	}
	json_decref(body);
	api_refuse(r, refusal);
}

/* ---- people -------------------------------------------------------------------------------- */

json_t *api_person_json(const struct person *p)
{
	return json_pack("{s:s, s:s, s:b, s:I, s:I}", "name", p->name, "role", role_name(p->role),
			 "waiting", (int)p->waiting, "created", (json_int_t)p->created, "seen",
			 (json_int_t)p->seen);
}

void api_people_list(struct cluster *c, struct http_request *r, const char *name)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < c->people->npersons; i++)
		json_array_append_new(list, api_person_json(c->people->person[i]));
	api_json(r, 200, json_pack("{s:o}", "people", list));
}

static int parse_role(json_t *o, enum role *role, struct refusal *r)
{
	char text[16];

	if (api_parse_text(o, "role", text, sizeof(text), r) != 0)
		return -1;
	if (text[0] == '\0')
		return 0;
	*role = role_from_name(text);
	if (*role != ROLE_NONE)
		return 0;
	refuse(r, 400, "bad_role", "A role is admin, user or read-only.");
	return -1;
}

void api_person_add(struct cluster *c, struct http_request *r, const char *name)
{
	static const char *const known[] = {"name", "password", "role", NULL};
	char person[NAME_MAX_BYTES + 1], password[PASSWORD_MAX_BYTES + 1];
	enum role role = ROLE_USER;
	struct refusal refusal;
	json_t *o = api_parse_object(r->body, r->body_len, known, &refusal);
	bool good = o != NULL && api_parse_text(o, "name", person, sizeof(person), &refusal) == 0 &&
		    api_parse_text(o, "password", password, sizeof(password), &refusal) == 0 &&
		    parse_role(o, &role, &refusal) == 0 &&
		    person_check_name(c, person, &refusal) == 0 &&
		    person_check_password(password, &refusal) == 0;

	json_decref(o);
	if (good)
		api_person_hash(c, r, person, password, role, true);
	else
		api_refuse(r, &refusal);
	explicit_bzero(password, sizeof(password));
}

/* The last admin stays one: nobody could undo it from the page. */
static int check_last_admin(struct cluster *c, const struct person *p, struct refusal *r)
{
	if (p->role != ROLE_ADMIN || p->waiting || people_admins(c) > 1)
		return 0;
	refuse(r, 409, "last_admin", "%s is the only admin.", p->name);
	refuse_hint(r, "Make somebody else an admin first.");
	return -1;
}

static int person_change(struct cluster *c, const char *who, struct person *p, json_t *o,
			 struct refusal *r)
{
	enum role role = p->role;
	bool waiting = p->waiting;
	struct person before = *p;

	if (parse_role(o, &role, r) != 0 || api_parse_bool(o, "waiting", &waiting, r) != 0)
		return -1;
	if ((role != ROLE_ADMIN || waiting) && check_last_admin(c, p, r) != 0)
		return -1;
	if (role == p->role && waiting == p->waiting)
		return 0;
	p->role = role;
	p->waiting = waiting;
	if (person_save(c, p, r) != 0) {
		*p = before;
		return -1;
	}
	events_note(c, who, before.waiting && !waiting ? "person.approved" : "person.role", p->name,
		    "%s", role_name(role));
	return 0;
}

void api_person_change(struct cluster *c, struct http_request *r, const char *name)
{
	static const char *const known[] = {"role", "waiting", "password", NULL};
	char password[PASSWORD_MAX_BYTES + 1] = "";
	struct person *p = person_by_name(c, name);
	json_t *o = NULL;
	struct refusal refusal;
	int err = -1;

	if (p == NULL)
		refuse_unknown(&refusal, "person", name);
	else
		o = api_parse_object(r->body, r->body_len, known, &refusal);
	if (o != NULL && api_parse_text(o, "password", password, sizeof(password), &refusal) == 0 &&
	    (password[0] == '\0' || person_check_password(password, &refusal) == 0))
		err = person_change(c, r->who, p, o, &refusal);
	json_decref(o);
	if (err == 0 && password[0] != '\0')
		api_person_hash(c, r, name, password, ROLE_NONE, false);
	else
		answer(r, err, &refusal, err == 0 ? api_person_json(p) : NULL);
	explicit_bzero(password, sizeof(password));
}

void api_person_remove(struct cluster *c, struct http_request *r, const char *name)
{
	struct person *p = person_by_name(c, name);
	struct refusal refusal;
	int err = -1;

	if (p == NULL)
		refuse_unknown(&refusal, "person", name);
	else if (check_last_admin(c, p, &refusal) == 0)
		err = person_remove(c, p, &refusal);
	if (err == 0)
		events_note(c, r->who, "person.removed", name, "%s", "");
	answer(r, err, &refusal, json_pack("{s:s}", "removed", name));
}

/* ---- tickets ------------------------------------------------------------------------------- */

static json_t *ticket_json(const struct ticket *t)
{
	char id[TICKET_ID_MAX];

	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "id", ticket_id(t, id), "person",
			 t->person, "role", role_name(t->role), "label", t->label, "created",
			 (json_int_t)t->created, "expires", (json_int_t)t->expires, "seen",
			 (json_int_t)t->seen);
}

/* One's own; invitations are all admins'. */
static void tickets_list(struct cluster *c, struct http_request *r, enum ticket_kind kind,
			 const char *what)
{
	json_t *list = json_array();
	char csrf[DIGEST_TEXT_MAX];
	const struct ticket *current = api_session(c, r, csrf);

	for (unsigned i = 0; i < c->people->ntickets; i++) {
		const struct ticket *t = c->people->ticket[i];
		json_t *o;

		if (t->kind != kind || t->expires <= clock_wall_s() ||
		    (kind != TICKET_INVITATION && strcmp(t->person, r->who) != 0))
			continue;
		o = ticket_json(t);
		if (t == current)
			json_object_set_new(o, "current", json_true());
		json_array_append_new(list, o);
	}
	api_json(r, 200, json_pack("{s:o}", what, list));
}

void api_tokens_list(struct cluster *c, struct http_request *r, const char *name)
{
	tickets_list(c, r, TICKET_TOKEN, "tokens");
}

void api_sessions_list(struct cluster *c, struct http_request *r, const char *name)
{
	tickets_list(c, r, TICKET_SESSION, "sessions");
}

void api_invitations_list(struct cluster *c, struct http_request *r, const char *name)
{
	tickets_list(c, r, TICKET_INVITATION, "invitations");
}

static void ticket_delete(struct cluster *c, struct http_request *r, enum ticket_kind kind,
			  const char *id, const char *event)
{
	struct ticket *t = ticket_by_id(c, id);
	struct refusal refusal;

	if (t == NULL || t->kind != kind ||
	    (kind != TICKET_INVITATION && strcmp(t->person, r->who) != 0)) {
		refuse(&refusal, 404, "no_such_ticket", "There is nothing of this number.");
		api_refuse(r, &refusal);
		return;
	}
	events_note(c, r->who, event, t->label, "%s", "");
	ticket_remove(c, t);
	api_json(r, 200, json_pack("{s:s}", "removed", id));
}

void api_token_remove(struct cluster *c, struct http_request *r, const char *name)
{
	ticket_delete(c, r, TICKET_TOKEN, name, "token.removed");
}

void api_session_remove(struct cluster *c, struct http_request *r, const char *name)
{
	ticket_delete(c, r, TICKET_SESSION, name, "session.removed");
}

void api_invitation_remove(struct cluster *c, struct http_request *r, const char *name)
{
	ticket_delete(c, r, TICKET_INVITATION, name, "invitation.removed");
}

struct new_ticket {
	char label[LABEL_MAX + 1];
	enum role role;
	uint64_t days;
};

static int parse_ticket(const struct http_request *r, uint64_t days_default, struct new_ticket *t,
			struct refusal *refusal)
{
	static const char *const known[] = {"label", "role", "days", NULL};
	json_t *o = api_parse_object(r->body, r->body_len, known, refusal);
	int err = -1;

	if (o != NULL && api_parse_text(o, "label", t->label, sizeof(t->label), refusal) == 0 &&
	    parse_role(o, &t->role, refusal) == 0)
		err = api_parse_uint(o, "days", days_default, TOKEN_DAYS_MAX, &t->days, refusal);
	json_decref(o);
	return err;
}

static void ticket_make(struct cluster *c, struct http_request *r, enum ticket_kind kind,
			const struct new_ticket *t, const char *event)
{
	const struct ticket *by = kind == TICKET_TOKEN ? api_token(c, r) : NULL;
	int64_t lasts = (int64_t)t->days * 86400,
		left = by != NULL ? by->expires - clock_wall_s() : 0;
	char secret[TOKEN_TEXT_MAX];
	struct refusal refusal;

	if (by != NULL && lasts > left)
		lasts = left; /* or a token that ends would have no end */
	if (ticket_new(c, kind, r->who, t->role, t->label, lasts, secret, &refusal) != 0) {
		api_refuse(r, &refusal);
		return;
	}
	events_note(c, r->who, event, t->label, "%s", role_name(t->role));
	api_json(r, 201,
		 json_pack("{s:s, s:s, s:s, s:I}", "secret", secret, "role", role_name(t->role),
			   "label", t->label, "expires", (json_int_t)(clock_wall_s() + lasts)));
}

void api_token_add(struct cluster *c, struct http_request *r, const char *name)
{
	struct new_ticket t = {.role = (enum role)r->rights};
	struct refusal refusal;

	if (person_by_name(c, r->who) == NULL) {
		refuse_unknown(&refusal, "person", r->who);
		refuse_hint(&refusal, "A token belongs to somebody: make it when logged in.");
		api_refuse(r, &refusal);
	} else if (parse_ticket(r, 365, &t, &refusal) != 0) {
		api_refuse(r, &refusal);
	} else {
		if ((unsigned)t.role > r->rights)
			t.role = (enum role)r->rights;
		ticket_make(c, r, TICKET_TOKEN, &t, "token.added");
	}
}

void api_invitation_add(struct cluster *c, struct http_request *r, const char *name)
{
	struct new_ticket t = {.role = ROLE_USER};
	struct refusal refusal;

	if (parse_ticket(r, INVITATION_S / 86400, &t, &refusal) != 0)
		api_refuse(r, &refusal);
	else
		ticket_make(c, r, TICKET_INVITATION, &t, "invitation.added");
}

/* ---- settings ------------------------------------------------------------------------------ */

static json_t *settings_json(const struct people_settings *s)
{
	return json_pack("{s:s, s:b, s:b, s:b}", "registration", registration_name(s->registration),
			 "guests", (int)s->guests, "metrics", (int)s->metrics, "spaces",
			 (int)s->spaces);
}

void api_settings_get(struct cluster *c, struct http_request *r, const char *name)
{
	api_json(r, 200, settings_json(&c->people->settings));
}

void api_settings_change(struct cluster *c, struct http_request *r, const char *name)
{
	static const char *const known[] = {"registration", "guests", "metrics", "spaces", NULL};
	struct people_settings s = c->people->settings;
	struct refusal refusal;
	json_t *o = api_parse_object(r->body, r->body_len, known, &refusal);
	char text[16];
	int err = -1;

	if (o != NULL && api_parse_text(o, "registration", text, sizeof(text), &refusal) == 0 &&
	    api_parse_bool(o, "guests", &s.guests, &refusal) == 0 &&
	    api_parse_bool(o, "metrics", &s.metrics, &refusal) == 0 &&
	    api_parse_bool(o, "spaces", &s.spaces, &refusal) == 0) {
		if (text[0] == '\0' || registration_from_name(text, &s.registration))
			err = settings_save(c, &s, &refusal);
		else
			refuse(&refusal, 400, "bad_request",
			       "\"registration\" is off, approval or open.");
	}
	json_decref(o);
	if (err == 0)
		events_note(c, r->who, "settings.changed", "",
			    "registration %s, guests %s, files %s",
			    registration_name(s.registration), s.guests ? "look" : "none",
			    s.spaces ? "by spaces" : "for all");
	answer(r, err, &refusal, settings_json(&s));
}
