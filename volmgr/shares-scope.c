/* Who may see and give what: the rules of shares.h. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "href.h"
#include "shares.h"
#include "banned.h"

char *share_home(const char *person, char *buf)
{
	snprintf(buf, SHARE_PATH_MAX + 1, SHARE_HOME "/%s", person);
	return buf;
}

static bool space_is_of(const struct share *s, const char *who)
{
	return s->kind == SHARE_SPACE && (s->person[0] == '\0' || strcmp(s->person, who) == 0);
}

/* By what is one's own: the home, and spaces. */
static bool share_has(struct cluster *c, const char *who, enum role role, const char *path,
		      bool write)
{
	const struct shares *all = c->people->shares;
	char home[SHARE_PATH_MAX + 1];

	if (write && role < ROLE_USER)
		return false;
	if (share_path_below(path, share_home(who, home)))
		return true;
	for (unsigned i = 0; i < all->n; i++) {
		const struct share *s = all->share[i];

		if (space_is_of(s, who) && (s->write || !write) && share_path_below(path, s->path))
			return true;
	}
	return false;
}

bool share_may_give(struct cluster *c, const char *who, enum role role, const char *path,
		    bool write)
{
	if (role >= ROLE_ADMIN)
		return true;
	if (!c->people->settings.spaces)
		return role >= (write ? ROLE_USER : ROLE_READ);
	return share_has(c, who, role, path, write);
}

bool share_goes_along(struct cluster *c, const char *who, enum role role, const char *from,
		      const char *to)
{
	if (role >= ROLE_ADMIN || !c->people->settings.spaces)
		return true;
	/* what is not one's own stays within its share */
	return share_has(c, who, role, to, true) || !share_has(c, who, role, from, true);
}

bool share_is_live(struct cluster *c, const struct share *s)
{
	const struct person *giver = person_by_name(c, s->giver);

	if (s->gone || (s->expires > 0 && s->expires <= clock_wall_s()))
		return false;
	if (s->kind == SHARE_SPACE)
		return true;
	return giver != NULL && !giver->waiting &&
	       share_may_give(c, giver->name, giver->role, s->path, s->write);
}

static bool share_may(struct cluster *c, const char *who, enum role role, const char *path,
		      bool write)
{
	const struct shares *all = c->people->shares;

	if (role < (write ? ROLE_USER : ROLE_READ))
		return false;
	if (role >= ROLE_ADMIN || !c->people->settings.spaces)
		return true;
	if (who[0] == '\0')
		return false;
	if (share_has(c, who, role, path, write))
		return true;
	for (unsigned i = 0; i < all->n; i++) {
		const struct share *s = all->share[i];

		if (s->kind == SHARE_PERSON && (s->write || !write) &&
		    strcmp(s->person, who) == 0 && share_path_below(path, s->path) &&
		    share_is_live(c, s))
			return true;
	}
	return false;
}

bool share_may_put(struct cluster *c, const char *who, enum role role, const char *path)
{
	return share_may(c, who, role, path, true);
}

bool share_may_look(struct cluster *c, const char *who, enum role role, const char *path)
{
	return share_may(c, who, role, path, false);
}

/* ---- the list for tagger ------------------------------------------------------------------- */

struct scope_list {
	char text[SCOPE_BYTES_MAX];
	size_t len;
};

static void scope_add(struct scope_list *l, char right, const char *path)
{
	char *href = href_encode(path);
	size_t n = strlen(href) + 3;

	if (l->len + n < sizeof(l->text))
		l->len += (size_t)snprintf(l->text + l->len, sizeof(l->text) - l->len, "%s%c:%s",
					   l->len > 0 ? " " : "", right, href);
	free(href);
}

char *scope_text(struct cluster *c, const char *who, enum role role)
{
	const struct shares *all = c->people->shares;
	static struct scope_list l; /* one thread */
	char *list;
	char home[SHARE_PATH_MAX + 1];

	if (role >= ROLE_ADMIN || !c->people->settings.spaces)
		return NULL;
	l.len = 0;
	if (who[0] != '\0')
		scope_add(&l, role >= ROLE_USER ? 'w' : 'r', share_home(who, home));
	/* spaces first: however much others share, it does not crowd them out */
	for (unsigned i = 0; who[0] != '\0' && i < all->n; i++)
		if (space_is_of(all->share[i], who))
			scope_add(&l, all->share[i]->write && role >= ROLE_USER ? 'w' : 'r',
				  all->share[i]->path);
	for (unsigned i = 0; who[0] != '\0' && i < all->n; i++) {
		const struct share *s = all->share[i];
		bool write = s->write && role >= ROLE_USER;

		if (s->kind == SHARE_PERSON && strcmp(s->person, who) == 0 && share_is_live(c, s))
			scope_add(&l, write ? 'e' : 'r', s->path);
	}
	list = strdup(l.len > 0 ? l.text : "-");
	if (list == NULL)
		abort(); /* as mem_must(): no list would be everything */
	return list;
}

/* Each entry of the list is "RIGHT:PATH". */
bool scope_holds(struct cluster *c, const char *who, enum role role, const char *list)
{
	const char *end;

	if (list == NULL || strcmp(list, "-") == 0)
		return list != NULL || role >= ROLE_ADMIN || !c->people->settings.spaces;
	for (; *list != '\0'; list = end + (*end == ' ')) {
		char href[3 * SHARE_PATH_MAX + 1], *path;
		bool holds;

		end = list + strcspn(list, " ");
		snprintf(href, sizeof(href), "%.*s", (int)(end - list - 2), list + 2);
		path = href_decode(href);
		holds = path != NULL && share_may_look(c, who, role, path);
		free(path);
		if (!holds)
			return false;
	}
	return true;
}
