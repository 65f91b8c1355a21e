/* Who may see and give what: rules without a volmgr, at any time. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "volmgr/href.h"
#include "volmgr/shares.h"
#include "tap.h"

static struct cluster c;
static struct people people;
static struct shares all;

static struct person *person(const char *name, enum role role)
{
	struct person *p = calloc(1, sizeof(*p));

	snprintf(p->name, sizeof(p->name), "%s", name);
	p->role = role;
	people.person[people.npersons++] = p;
	return p;
}

static struct share *share(enum share_kind kind, const char *path, const char *giver,
			   const char *to, bool write)
{
	struct share *s = calloc(1, sizeof(*s));

	s->kind = kind;
	s->write = write;
	snprintf(s->path, sizeof(s->path), "%s", path);
	snprintf(s->giver, sizeof(s->giver), "%s", giver);
	snprintf(s->person, sizeof(s->person), "%s", to);
	all.share[all.n++] = s;
	return s;
}

static void is_list(const char *who, enum role role, const char *want, const char *name)
{
	char *list = scope_text(&c, who, role);

	if (want == NULL)
		ok(list == NULL, name);
	else
		is_str(list != NULL ? list : "all", want, name);
	free(list);
}

static void test_lists(void)
{
	is_list("uma", ROLE_USER, NULL, "without the setting there is no list");
	people.settings.spaces = true;
	is_list("root", ROLE_ADMIN, NULL, "nor for an admin");
	is_list("", ROLE_READ, "-", "a guest has an empty one");
	is_list("uma", ROLE_USER, "w:home/uma", "a user has a space of his own");
	is_list("rob", ROLE_READ, "r:home/rob", "a reader looks at it");
	share(SHARE_SPACE, "plans & more", "root", "uma", true);
	share(SHARE_SPACE, "", "root", "rob", false);
	share(SHARE_SPACE, "all", "root", "", true);
	is_list("uma", ROLE_USER, "w:home/uma w:plans%20%26%20more w:all",
		"with what was given to her and to all");
	is_list("uma", ROLE_READ, "r:home/uma r:plans%20%26%20more r:all",
		"a token for looking gives no more");
	is_list("rob", ROLE_READ, "r:home/rob r: r:all", "the root is a space, too");
	is_list("", ROLE_READ, "-", "a guest is not all");
}

static void test_shares(struct person *uma)
{
	struct share *s = share(SHARE_PERSON, "plans & more/x", "uma", "bob", true);
	struct share *link = share(SHARE_LINK, "home/uma/y", "uma", "", false);

	is_list("bob", ROLE_USER, "w:home/bob w:all e:plans%20%26%20more/x",
		"a share is to change, not to have");
	is_list("bob", ROLE_READ, "r:home/bob r:all r:plans%20%26%20more/x", "or to look");
	ok(share_is_live(&c, link), "a link leads somewhere");
	link->expires = clock_wall_s() + 100;
	ok(share_is_live(&c, link), "before it ends");
	link->expires = clock_wall_s() - 1;
	ok(!share_is_live(&c, link), "and nowhere afterwards");
	s->expires = clock_wall_s() - 1;
	is_list("bob", ROLE_USER, "w:home/bob w:all", "so does a share");
	s->expires = 0;
	s->gone = true;
	is_list("bob", ROLE_USER, "w:home/bob w:all", "and one that is in the bin");
	s->gone = false;
	all.share[0]->write = false;
	ok(!share_is_live(&c, s), "a right that the giver has lost is over");
	s->write = false;
	ok(share_is_live(&c, s), "what she still has is not");
	uma->waiting = true;
	ok(!share_is_live(&c, s), "who is not let in gives nothing");
	uma->waiting = false;
	snprintf(s->giver, sizeof(s->giver), "nobody");
	ok(!share_is_live(&c, s), "nor who is not there");
}

/* More than fits into a list, given before the space was. */
static void test_crowd(void)
{
	unsigned n = all.n;
	char path[1000];
	char *list;

	memset(path, '~', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	for (int i = 0; i < 60; i++)
		share(SHARE_PERSON, path, "root", "bob", false);
	for (int i = 0; i < 400; i++)
		share(SHARE_PERSON, "x", "root", "bob", false);
	share(SHARE_SPACE, "late", "root", "bob", true);
	list = scope_text(&c, "bob", ROLE_USER);
	ok(strlen(list) > SCOPE_BYTES_MAX / 2 && strlen(list) < SCOPE_BYTES_MAX,
	   "a list has an end");
	ok(strstr(list, "w:late") != NULL, "what others share does not crowd out a space");
	free(list);
	while (all.n > n)
		free(all.share[--all.n]);
}

static void test_giving(void)
{
	ok(share_may_give(&c, "uma", ROLE_USER, "home/uma", true), "one gives what one has");
	ok(!share_may_give(&c, "uma", ROLE_USER, "home/umax", false), "not what begins the same");
	ok(!share_may_give(&c, "uma", ROLE_USER, "home", false), "nor what is above");
	ok(!share_may_give(&c, "bob", ROLE_USER, "plans & more/x", false), "nor what was shared");
	ok(!share_may_give(&c, "rob", ROLE_READ, "home/rob/x", true),
	   "a reader gives nothing to change");
	people.settings.spaces = false;
	ok(share_may_give(&c, "uma", ROLE_USER, "home/bob", true), "where all see all, anything");
}

static void test_paths(void)
{
	static const char *const bad[] = {"",	  "/", "a/",  "/a",    "a//b",	 "..",
					  "a/..", ".", "./a", ".weft", ".weft/x"};
	char *href, *back;

	diag("these are no paths:");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ok(!share_path_valid(bad[i]), bad[i][0] != '\0' ? bad[i] : "nothing");
	ok(share_path_valid("a/.b/..c/.weft"), "a path");
	href = href_encode("a b/\xff+%");
	is_str(href, "a%20b/%FF%2B%25", "percent-encoded");
	back = href_decode(href);
	is_str(back, "a b/\xff+%", "and back");
	free(back);
	back = href_text(href);
	is_str(back, href, "what is not UTF-8 stays so for people");
	ok(href_decode("a%00b") == NULL, "a NUL is none");
	free(href);
	free(back);
}

int main(void)
{
	struct person *uma;

	c.people = &people;
	people.shares = &all;
	person("root", ROLE_ADMIN);
	uma = person("uma", ROLE_USER);
	person("bob", ROLE_USER);
	person("rob", ROLE_READ);
	test_lists();
	test_shares(uma);
	test_crowd();
	test_giving();
	test_paths();
	for (unsigned i = 0; i < people.npersons; i++)
		free(people.person[i]);
	for (unsigned i = 0; i < all.n; i++)
		free(all.share[i]);
	return done_testing();
}
