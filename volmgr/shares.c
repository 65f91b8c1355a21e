/* Spaces and shares as records; see shares.h. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "href.h"
#include "log.h"
#include "shares.h"
#include "banned.h"

#define KEY_SHARE "1/share/"

static const char *const kinds[] = {
	[SHARE_SPACE] = "space",
	[SHARE_PERSON] = "person",
	[SHARE_LINK] = "link",
};

/* ---- paths --------------------------------------------------------------------------------- */

bool share_path_valid(const char *path)
{
	size_t n;

	if (strlen(path) > SHARE_PATH_MAX || strncmp(path, ".weft/", 6) == 0 ||
	    strcmp(path, ".weft") == 0)
		return false;
	for (const char *p = path;; p += n + 1) {
		n = strcspn(p, "/");
		if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
			return false;
		if (p[n] == '\0')
			return true;
	}
}

bool share_path_below(const char *path, const char *top)
{
	size_t n = strlen(top);

	return n == 0 || (strncmp(path, top, n) == 0 && (path[n] == '\0' || path[n] == '/'));
}

/* ---- records ------------------------------------------------------------------------------- */

static bool share_text(json_t *o, const char *key, char *out, size_t max)
{
	const char *text = json_string_value(json_object_get(o, key));

	if (text == NULL || strlen(text) >= max)
		return false;
	memcpy(out, text, strlen(text) + 1);
	return true;
}

static bool share_parse(json_t *o, struct share *s)
{
	const char *kind = json_string_value(json_object_get(o, "kind"));
	const char *href = json_string_value(json_object_get(o, "path"));
	char *path = href != NULL ? href_decode(href) : NULL;
	size_t k = 0;

	while (kind != NULL && k < 3 && strcmp(kinds[k], kind) != 0)
		k++;
	if (path == NULL || kind == NULL || k == 3 || strlen(path) > SHARE_PATH_MAX) {
		free(path);
		return false;
	}
	s->kind = (enum share_kind)k;
	snprintf(s->path, sizeof(s->path), "%s", path);
	free(path);
	s->folder = json_is_true(json_object_get(o, "folder"));
	s->write = json_is_true(json_object_get(o, "write"));
	s->gone = json_is_true(json_object_get(o, "gone"));
	s->created = json_integer_value(json_object_get(o, "created"));
	s->expires = json_integer_value(json_object_get(o, "expires"));
	s->seen = json_integer_value(json_object_get(o, "seen"));
	if (json_object_get(o, "rest") != NULL && !share_text(o, "rest", s->rest, sizeof(s->rest)))
		return false;
	return share_text(o, "giver", s->giver, sizeof(s->giver)) &&
	       share_text(o, "person", s->person, sizeof(s->person)) &&
	       share_text(o, "digest", s->digest, sizeof(s->digest)) &&
	       share_text(o, "label", s->label, sizeof(s->label));
}

static int share_load(void *arg, const char *key, const void *value, size_t len)
{
	struct cluster *c = arg;
	struct shares *all = c->people->shares;
	const char *id = key + strlen(KEY_SHARE);
	json_t *o = json_loadb(value, len, 0, NULL);
	struct share *s = mem_must(sizeof(*s));
	bool good = strlen(id) < sizeof(s->id) && all->n < SHARES_MAX && share_parse(o, s);

	json_decref(o);
	if (!good) {
		log_error("the metadata's entry %s cannot be read", key);
		free(s);
		return -EUCLEAN;
	}
	snprintf(s->id, sizeof(s->id), "%s", id);
	all->share[all->n++] = s;
	return 0;
}

int shares_load(struct cluster *c)
{
	c->people->shares = mem_must(sizeof(*c->people->shares));
	return c->meta->ops->each(c->meta, KEY_SHARE, share_load, c);
}

void shares_free(struct cluster *c)
{
	struct shares *all = c->people->shares;

	for (unsigned i = 0; all != NULL && i < all->n; i++)
		free(all->share[i]);
	free(all);
	c->people->shares = NULL;
}

static char *share_key(char *key, const struct share *s)
{
	snprintf(key, RECORD_KEY_MAX, KEY_SHARE "%s", s->id);
	return key;
}

static void share_put(struct meta_batch *b, const struct share *s)
{
	char *href = href_encode(s->path), key[RECORD_KEY_MAX];
	json_t *o =
		json_pack("{s:s, s:s, s:b, s:s, s:s, s:b, s:b, s:s, s:s, s:I, s:I, s:I}", "kind",
			  kinds[s->kind], "path", href, "folder", (int)s->folder, "giver", s->giver,
			  "person", s->person, "write", (int)s->write, "gone", (int)s->gone,
			  "digest", s->digest, "label", s->label, "created", (json_int_t)s->created,
			  "expires", (json_int_t)s->expires, "seen", (json_int_t)s->seen);
	char *text;

	if (o != NULL && s->rest[0] != '\0')
		json_object_set_new(o, "rest", json_string(s->rest));
	text = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;
	if (text == NULL)
		abort(); /* as mem_must() */
	meta_batch_put(b, share_key(key, s), text, strlen(text));
	json_decref(o);
	free(text);
	free(href);
}

static int share_save(struct cluster *c, const struct share *s)
{
	struct meta_batch *b = meta_batch_new();

	if (b == NULL)
		return -ENOMEM;
	share_put(b, s);
	return meta_commit_wait(c->meta, b);
}

static int share_refuse_meta(struct refusal *r)
{
	refuse(r, 500, "metadata", "The metadata could not be written.");
	refuse_hint(r, "Look at volmgr's messages and at the free space of its state directory.");
	return -1;
}

/* ---- one ------------------------------------------------------------------------------------- */

static void share_drop(struct cluster *c, struct share *s)
{
	struct shares *all = c->people->shares;

	for (unsigned i = 0; i < all->n; i++)
		if (all->share[i] == s) {
			all->share[i] = all->share[--all->n];
			break;
		}
	free(s);
}

int share_remove(struct cluster *c, struct share *s, struct refusal *r)
{
	struct meta_batch *b = meta_batch_new();
	char key[RECORD_KEY_MAX];

	if (b == NULL)
		return share_refuse_meta(r);
	meta_batch_delete(b, share_key(key, s));
	if (meta_commit_wait(c->meta, b) != 0)
		return share_refuse_meta(r); /* it goes on: what was not written is not said */
	share_drop(c, s);
	return 0;
}

/* What has ended makes room. */
static bool shares_room(struct cluster *c, const char *giver)
{
	struct shares *all = c->people->shares;
	int64_t now = clock_wall_s();
	struct refusal unheard;
	unsigned n = 0;

	for (unsigned i = all->n; i-- > 0;)
		if (all->share[i]->expires > 0 && all->share[i]->expires <= now)
			(void)share_remove(c, all->share[i], &unheard);
	for (unsigned i = 0; i < all->n; i++)
		n += strcmp(all->share[i]->giver, giver) == 0;
	return n < SHARES_EACH && all->n < SHARES_MAX;
}

int share_add(struct cluster *c, const struct share *from, char secret[TOKEN_TEXT_MAX],
	      struct share **out, struct refusal *r)
{
	char digest[DIGEST_TEXT_MAX];
	struct share *s;

	if (!shares_room(c, from->giver)) {
		refuse(r, 409, "too_many_shares", "There are too many shares already.");
		refuse_hint(r, "End one that is not needed any more.");
		return -1;
	}
	if (token_new(secret) != 0)
		return share_refuse_meta(r);
	digest_text(secret, digest);
	s = mem_must(sizeof(*s));
	*s = *from;
	s->created = clock_wall_s();
	snprintf(s->id, sizeof(s->id), "%.*s", SHARE_ID_MAX - 1, digest);
	if (s->kind == SHARE_LINK)
		memcpy(s->digest, digest, sizeof(digest));
	if (share_save(c, s) != 0) {
		free(s);
		return share_refuse_meta(r);
	}
	c->people->shares->share[c->people->shares->n++] = s;
	*out = s;
	return 0;
}

struct share *share_by_id(struct cluster *c, const char *id)
{
	struct shares *all = c->people->shares;

	for (unsigned i = 0; i < all->n; i++)
		if (strcmp(all->share[i]->id, id) == 0)
			return all->share[i];
	return NULL;
}

struct share *share_by_secret(struct cluster *c, const char *secret)
{
	struct shares *all = c->people->shares;
	char digest[DIGEST_TEXT_MAX];

	digest_text(secret, digest);
	for (unsigned i = 0; i < all->n; i++) {
		struct share *s = all->share[i];

		if (s->kind == SHARE_LINK && memcmp(s->digest, digest, sizeof(digest)) == 0)
			return share_is_live(c, s) ? s : NULL;
	}
	return NULL;
}

bool share_seen(struct cluster *c, struct share *s)
{
	int64_t now = clock_wall_s();

	if (now - s->seen < SEEN_S)
		return false;
	s->seen = now;
	if (share_save(c, s) != 0)
		log_warn("the use of a link could not be written down");
	return true;
}

/* ---- many ------------------------------------------------------------------------------------ */

void shares_forget(struct cluster *c, const char *person)
{
	struct shares *all = c->people->shares;
	struct refusal r;

	for (unsigned i = all->n; i-- > 0;) {
		struct share *s = all->share[i];

		if (strcmp(s->person, person) == 0 ||
		    (s->kind != SHARE_SPACE && strcmp(s->giver, person) == 0))
			if (share_remove(c, s, &r) != 0)
				log_error("a share of %s could not be removed", person);
	}
}

/* From below was to below now; the rest of the path stays. */
static void share_follow(struct cluster *c, struct share *s, const char *was, const char *now)
{
	char path[2 * SHARE_PATH_MAX + 2];
	int n = snprintf(path, sizeof(path), "%s%s", now, s->path + strlen(was));

	/* one that does not fit leads nowhere, as its place is empty now */
	if (n > 0 && n <= SHARE_PATH_MAX)
		memcpy(s->path, path, (size_t)n + 1);
	s->gone = s->gone || n > SHARE_PATH_MAX;
	if (share_save(c, s) != 0)
		log_error("a share of %s could not be written to the metadata", s->path);
}

static void share_rest(struct cluster *c, struct share *s, const char *rest)
{
	s->gone = true;
	snprintf(s->rest, sizeof(s->rest), "%s", rest != NULL ? rest : "");
	if (share_save(c, s) != 0)
		log_error("a share of %s could not be written to the metadata", s->path);
}

void shares_moved(struct cluster *c, const char *from, const char *to, const char *who,
		  enum role role)
{
	struct shares *all = c->people->shares;
	char *was = href_decode(from), *now = to != NULL ? href_decode(to) : NULL;
	bool along = was != NULL && now != NULL && share_goes_along(c, who, role, was, now);

	for (unsigned i = 0; was != NULL && *was != '\0' && i < all->n; i++) {
		struct share *s = all->share[i];

		if (s->gone || (s->kind == SHARE_SPACE && role < ROLE_ADMIN) ||
		    !share_path_below(s->path, was))
			continue;
		if (along)
			share_follow(c, s, was, now);
		else if (s->kind != SHARE_SPACE)
			share_rest(c, s, NULL);
	}
	free(was);
	free(now);
}

void shares_deleted(struct cluster *c, const char *path, const char *rest)
{
	struct shares *all = c->people->shares;
	char *was = href_decode(path);

	for (unsigned i = 0; was != NULL && *was != '\0' && i < all->n; i++) {
		struct share *s = all->share[i];

		if (!s->gone && s->kind != SHARE_SPACE && share_path_below(s->path, was))
			share_rest(c, s, rest);
	}
	free(was);
}

void shares_restored(struct cluster *c, const char *rest, const char *was_coded,
		     const char *now_coded)
{
	struct shares *all = c->people->shares;
	char *was = href_decode(was_coded), *now = href_decode(now_coded);

	for (unsigned i = 0; was != NULL && now != NULL && i < all->n; i++) {
		struct share *s = all->share[i];

		if (!s->gone || *was == '\0' || s->rest[0] == '\0' || strcmp(s->rest, rest) != 0 ||
		    !share_path_below(s->path, was))
			continue;
		s->gone = false;
		s->rest[0] = '\0';
		share_follow(c, s, was, now);
	}
	free(was);
	free(now);
}
