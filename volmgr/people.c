/* Persons, roles and settings; see people.h. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "people.h"
#include "shares.h"
#include "banned.h"

#define KEY_PERSON   "1/person/"
#define KEY_SETTINGS "1/setting/people"

static const char *const roles[] = {
	[ROLE_NONE] = "none",
	[ROLE_READ] = "read-only",
	[ROLE_USER] = "user",
	[ROLE_ADMIN] = "admin",
};

static const char *const registrations[] = {
	[REGISTER_OFF] = "off",
	[REGISTER_APPROVAL] = "approval",
	[REGISTER_OPEN] = "open",
};

int64_t clock_wall_s(void)
{
	return (int64_t)time(NULL);
}

const char *role_name(enum role role)
{
	return roles[role];
}

enum role role_from_name(const char *name)
{
	for (int i = ROLE_READ; i <= ROLE_ADMIN; i++)
		if (strcmp(name, roles[i]) == 0)
			return (enum role)i;
	return ROLE_NONE;
}

const char *registration_name(enum registration r)
{
	return registrations[r];
}

bool registration_from_name(const char *name, enum registration *out)
{
	for (int i = REGISTER_OFF; i <= REGISTER_OPEN; i++)
		if (strcmp(name, registrations[i]) == 0) {
			*out = (enum registration)i;
			return true;
		}
	return false;
}

struct person *person_by_name(struct cluster *c, const char *name)
{
	for (unsigned i = 0; i < c->people->npersons; i++)
		if (strcmp(c->people->person[i]->name, name) == 0)
			return c->people->person[i];
	return NULL;
}

unsigned people_admins(struct cluster *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->people->npersons; i++)
		n += c->people->person[i]->role == ROLE_ADMIN && !c->people->person[i]->waiting;
	return n;
}

/* ---- records ------------------------------------------------------------------------------- */

static char *person_key(char *key, const char *name)
{
	snprintf(key, RECORD_KEY_MAX, KEY_PERSON "%s", name);
	return key;
}

static int people_refuse_meta(struct refusal *r, int err)
{
	log_error("a person could not be written to the metadata: %s", strerror(-err));
	refuse(r, 500, "metadata", "The metadata could not be written: %s.", strerror(-err));
	refuse_hint(r, "Look at volmgr's messages and at the free space of its state directory.");
	return -1;
}

static int people_put(struct cluster *c, const char *key, json_t *value, struct refusal *r)
{
	struct meta_batch *b = meta_batch_new();
	char *text = value != NULL ? json_dumps(value, JSON_COMPACT) : NULL;
	int err = -ENOMEM;

	json_decref(value);
	if (b != NULL && text != NULL) {
		meta_batch_put(b, key, text, strlen(text));
		err = meta_commit_wait(c->meta, b);
	} else {
		meta_batch_free(b);
	}
	free(text);
	return err == 0 ? 0 : people_refuse_meta(r, err);
}

static int person_load(void *arg, const char *key, const void *value, size_t len)
{
	struct cluster *c = arg;
	json_t *o = json_loadb(value, len, 0, NULL);
	const char *name = key + strlen(KEY_PERSON), *role = NULL, *hash = NULL;
	json_int_t created = 0, seen = 0;
	int waiting = 0;
	struct person *p;

	if (json_unpack(o, "{s:s, s:s, s:b, s:I, s:I}", "role", &role, "hash", &hash, "waiting",
			&waiting, "created", &created, "seen", &seen) != 0 ||
	    !name_valid(name) || c->people->npersons == PEOPLE_MAX ||
	    strlen(hash) >= PASSWORD_HASH_MAX) {
		log_error("the metadata's entry %s cannot be read", key);
		json_decref(o);
		return -EUCLEAN;
	}
	p = mem_must(sizeof(*p));
	snprintf(p->name, sizeof(p->name), "%s", name);
	snprintf(p->hash, sizeof(p->hash), "%s", hash);
	p->role = role_from_name(role);
	p->waiting = waiting;
	p->created = created;
	p->seen = seen;
	c->people->person[c->people->npersons++] = p;
	json_decref(o);
	return 0;
}

static int settings_load(struct cluster *c)
{
	struct people_settings *s = &c->people->settings;
	const char *registration = "off";
	int guests = 0, metrics = 0, spaces = 0, err;
	void *value;
	size_t len;
	json_t *o;

	err = c->meta->ops->get(c->meta, KEY_SETTINGS, &value, &len);
	if (err != 0)
		return err == -ENOENT ? 0 : err;
	o = json_loadb(value, len, 0, NULL);
	free(value);
	err = json_unpack(o, "{s?s, s?b, s?b, s?b}", "registration", &registration, "guests",
			  &guests, "metrics", &metrics, "spaces", &spaces) == 0 &&
			      registration_from_name(registration, &s->registration)
		      ? 0
		      : -EUCLEAN;
	s->guests = guests;
	s->metrics = metrics;
	s->spaces = spaces;
	json_decref(o);
	return err;
}

int people_load(struct cluster *c, const char **why)
{
	int err;

	c->people = mem_must(sizeof(*c->people));
	err = c->meta->ops->each(c->meta, KEY_PERSON, person_load, c);
	if (err == 0)
		err = tickets_load(c);
	if (err == 0)
		err = shares_load(c);
	if (err == 0)
		err = settings_load(c);
	if (err == 0)
		err = events_load(c);
	*why = "what the metadata says about people cannot be read";
	return err;
}

void people_free(struct cluster *c)
{
	if (c->people == NULL)
		return;
	for (unsigned i = 0; i < c->people->npersons; i++)
		free(c->people->person[i]);
	for (unsigned i = 0; i < c->people->ntickets; i++)
		free(c->people->ticket[i]);
	shares_free(c);
	free(c->people);
	c->people = NULL;
}

/* ---- changes ------------------------------------------------------------------------------- */

int person_check_name(struct cluster *c, const char *name, struct refusal *r)
{
	if (!name_valid(name)) {
		refuse(r, 400, "bad_name", "This is no name that a person can have.");
		refuse_hint(r,
			    "Use 1 to %u letters, digits, '.', '_' and '-', starting with a letter "
			    "or digit.",
			    NAME_MAX_BYTES);
		return -1;
	}
	if (person_by_name(c, name) != NULL) {
		refuse(r, 409, "name_taken", "There is a person %s already.", name);
		refuse_hint(r, "Choose another name.");
		return -1;
	}
	return 0;
}

int person_check_password(const char *password, struct refusal *r)
{
	size_t len = strlen(password);

	if (len >= PASSWORD_MIN_BYTES && len <= PASSWORD_MAX_BYTES)
		return 0;
	refuse(r, 400, "bad_password", "A password has %d to %d bytes.", PASSWORD_MIN_BYTES,
	       PASSWORD_MAX_BYTES);
	refuse_hint(r, "Several words are easier to remember than one that is full of signs.");
	return -1;
}

int person_save(struct cluster *c, struct person *p, struct refusal *r)
{
	char key[RECORD_KEY_MAX];

	return people_put(c, person_key(key, p->name),
			  json_pack("{s:s, s:s, s:b, s:I, s:I}", "role", role_name(p->role), "hash",
				    p->hash, "waiting", (int)p->waiting, "created",
				    (json_int_t)p->created, "seen", (json_int_t)p->seen),
			  r);
}

int person_add(struct cluster *c, const char *name, enum role role, bool waiting, const char *hash,
	       struct refusal *r)
{
	struct person *p;

	if (person_check_name(c, name, r) != 0)
		return -1;
	if (c->people->npersons == PEOPLE_MAX) {
		refuse(r, 409, "too_many_people", "There are %d people already.", PEOPLE_MAX);
		return -1;
	}
	p = mem_must(sizeof(*p));
	snprintf(p->name, sizeof(p->name), "%s", name);
	snprintf(p->hash, sizeof(p->hash), "%s", hash);
	p->role = role;
	p->waiting = waiting;
	p->created = clock_wall_s();
	if (person_save(c, p, r) != 0) {
		free(p);
		return -1;
	}
	c->people->person[c->people->npersons++] = p;
	return 0;
}

int person_remove(struct cluster *c, struct person *p, struct refusal *r)
{
	struct people *people = c->people;
	struct meta_batch *b = meta_batch_new();
	char key[RECORD_KEY_MAX];
	int err = -ENOMEM;

	tickets_remove(c, p->name, -1, NULL);
	shares_forget(c, p->name);
	if (b != NULL) {
		meta_batch_delete(b, person_key(key, p->name));
		err = meta_commit_wait(c->meta, b);
	}
	if (err != 0)
		return people_refuse_meta(r, err);
	for (unsigned i = 0; i < people->npersons; i++)
		if (people->person[i] == p) {
			people->person[i] = people->person[--people->npersons];
			break;
		}
	free(p);
	return 0;
}

int settings_save(struct cluster *c, const struct people_settings *s, struct refusal *r)
{
	if (people_put(c, KEY_SETTINGS,
		       json_pack("{s:s, s:b, s:b, s:b}", "registration",
				 registration_name(s->registration), "guests", (int)s->guests,
				 "metrics", (int)s->metrics, "spaces", (int)s->spaces),
		       r) != 0)
		return -1;
	c->people->settings = *s;
	return 0;
}
