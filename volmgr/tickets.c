/* Sessions, tokens and invitations; see people.h. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "people.h"
#include "banned.h"

#define KEY_TICKET "1/ticket/"

static const char *const kinds[] = {
	[TICKET_SESSION] = "session",
	[TICKET_TOKEN] = "token",
	[TICKET_INVITATION] = "invitation",
};

static char *ticket_key(char *key, const struct ticket *t)
{
	snprintf(key, RECORD_KEY_MAX, KEY_TICKET "%s", t->digest);
	return key;
}

static int ticket_load_fields(json_t *o, struct ticket *t)
{
	const char *kind = NULL, *person = NULL, *role = NULL, *label = NULL;
	json_int_t created = 0, expires = 0, seen = 0;
	size_t k = 0;

	if (json_unpack(o, "{s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "kind", &kind, "person", &person,
			"role", &role, "label", &label, "created", &created, "expires", &expires,
			"seen", &seen) != 0)
		return -EUCLEAN;
	while (k < sizeof(kinds) / sizeof(kinds[0]) && strcmp(kinds[k], kind) != 0)
		k++;
	if (k == sizeof(kinds) / sizeof(kinds[0]) || strlen(person) > NAME_MAX_BYTES ||
	    strlen(label) > LABEL_MAX)
		return -EUCLEAN;
	t->kind = (enum ticket_kind)k;
	t->role = role_from_name(role);
	snprintf(t->person, sizeof(t->person), "%s", person);
	snprintf(t->label, sizeof(t->label), "%s", label);
	t->created = created;
	t->expires = expires;
	t->seen = seen;
	return 0;
}

static int ticket_load(void *arg, const char *key, const void *value, size_t len)
{
	struct cluster *c = arg;
	const char *digest = key + strlen(KEY_TICKET);
	json_t *o = json_loadb(value, len, 0, NULL);
	struct ticket *t = mem_must(sizeof(*t));
	int err = strlen(digest) == DIGEST_TEXT_MAX - 1 && c->people->ntickets < TICKETS_MAX
			  ? ticket_load_fields(o, t)
			  : -EUCLEAN;

	json_decref(o);
	if (err != 0) {
		log_error("the metadata's entry %s cannot be read", key);
		free(t);
		return err;
	}
	snprintf(t->digest, sizeof(t->digest), "%s", digest);
	c->people->ticket[c->people->ntickets++] = t;
	return 0;
}

static int ticket_save(struct cluster *c, const struct ticket *t)
{
	json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "kind", kinds[t->kind],
			      "person", t->person, "role", role_name(t->role), "label", t->label,
			      "created", (json_int_t)t->created, "expires", (json_int_t)t->expires,
			      "seen", (json_int_t)t->seen);
	char *text = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;
	struct meta_batch *b = meta_batch_new();
	char key[RECORD_KEY_MAX];
	int err = -ENOMEM;

	json_decref(o);
	if (b != NULL && text != NULL) {
		meta_batch_put(b, ticket_key(key, t), text, strlen(text));
		err = meta_commit_wait(c->meta, b);
	} else {
		meta_batch_free(b);
	}
	free(text);
	return err;
}

/* Forgets it in memory. */
static void ticket_drop(struct cluster *c, struct ticket *t)
{
	struct people *p = c->people;

	for (unsigned i = 0; i < p->ntickets; i++)
		if (p->ticket[i] == t) {
			p->ticket[i] = p->ticket[--p->ntickets];
			break;
		}
	free(t);
}

int ticket_remove(struct cluster *c, struct ticket *t)
{
	struct meta_batch *b = meta_batch_new();
	char key[RECORD_KEY_MAX];
	int err = -ENOMEM;

	if (b != NULL) {
		meta_batch_delete(b, ticket_key(key, t));
		err = meta_commit_wait(c->meta, b);
	}
	if (err != 0)
		log_error("a ticket could not be removed from the metadata: %s", strerror(-err));
	ticket_drop(c, t);
	return err;
}

void tickets_remove(struct cluster *c, const char *person, int kind, const struct ticket *keep)
{
	struct people *p = c->people;

	for (unsigned i = p->ntickets; i-- > 0;) {
		struct ticket *t = p->ticket[i];

		if (t != keep && strcmp(t->person, person) == 0 &&
		    (kind < 0 || t->kind == (enum ticket_kind)kind))
			ticket_remove(c, t);
	}
}

static void tickets_remove_ended(struct cluster *c)
{
	int64_t now = clock_wall_s();

	for (unsigned i = c->people->ntickets; i-- > 0;)
		if (c->people->ticket[i]->expires <= now)
			ticket_remove(c, c->people->ticket[i]);
}

int tickets_load(struct cluster *c)
{
	int err = c->meta->ops->each(c->meta, KEY_TICKET, ticket_load, c);

	if (err == 0)
		tickets_remove_ended(c);
	return err;
}

/* Makes room for one more of a person's: the session that was not used for longest goes. */
static bool tickets_room(struct cluster *c, enum ticket_kind kind, const char *person)
{
	struct ticket *oldest = NULL;
	unsigned n = 0;

	tickets_remove_ended(c);
	for (unsigned i = 0; i < c->people->ntickets; i++) {
		struct ticket *t = c->people->ticket[i];

		if (t->kind != kind || strcmp(t->person, person) != 0)
			continue;
		n++;
		if (oldest == NULL || t->seen < oldest->seen)
			oldest = t;
	}
	if (n >= TICKETS_EACH && kind == TICKET_SESSION) {
		ticket_remove(c, oldest);
		n--;
	}
	return n < TICKETS_EACH && c->people->ntickets < TICKETS_MAX;
}

int ticket_new(struct cluster *c, enum ticket_kind kind, const char *person, enum role role,
	       const char *label, int64_t lasts_s, char secret[TOKEN_TEXT_MAX], struct refusal *r)
{
	struct ticket *t;

	if (!tickets_room(c, kind, person)) {
		refuse(r, 409, "too_many_tickets", "There are too many %ss already.", kinds[kind]);
		refuse_hint(r, "Remove one that is not needed any more.");
		return -1;
	}
	t = mem_must(sizeof(*t));
	t->kind = kind;
	t->role = role;
	snprintf(t->person, sizeof(t->person), "%s", person);
	snprintf(t->label, sizeof(t->label), "%s", label);
	t->created = t->seen = clock_wall_s();
	t->expires = t->created + lasts_s;
	if (token_new(secret) == 0) {
		digest_text(secret, t->digest);
		if (ticket_save(c, t) == 0) {
			c->people->ticket[c->people->ntickets++] = t;
			return 0;
		}
	}
	free(t);
	refuse(r, 500, "metadata", "The metadata could not be written.");
	refuse_hint(r, "Look at volmgr's messages and at the free space of its state directory.");
	return -1;
}

struct ticket *ticket_find(struct cluster *c, enum ticket_kind kind, const char *secret)
{
	char digest[DIGEST_TEXT_MAX];

	digest_text(secret, digest);
	for (unsigned i = 0; i < c->people->ntickets; i++) {
		struct ticket *t = c->people->ticket[i];

		if (memcmp(t->digest, digest, sizeof(digest)) == 0)
			return t->kind == kind && t->expires > clock_wall_s() ? t : NULL;
	}
	return NULL;
}

/* Enough of the digest to name it, too little to be of use. */
char *ticket_id(const struct ticket *t, char id[TICKET_ID_MAX])
{
	snprintf(id, TICKET_ID_MAX, "%.*s", TICKET_ID_MAX - 1, t->digest);
	return id;
}

struct ticket *ticket_by_id(struct cluster *c, const char *id)
{
	for (unsigned i = 0; i < c->people->ntickets; i++)
		if (strlen(id) == TICKET_ID_MAX - 1 &&
		    memcmp(c->people->ticket[i]->digest, id, TICKET_ID_MAX - 1) == 0)
			return c->people->ticket[i];
	return NULL;
}

void ticket_seen(struct cluster *c, struct ticket *t)
{
	int64_t now = clock_wall_s();

	if (now - t->seen < SEEN_S)
		return;
	t->seen = now;
	if (t->kind == TICKET_SESSION)
		t->expires = now + SESSION_S;
	if (ticket_save(c, t) != 0)
		log_warn("the use of a ticket could not be written down");
}
