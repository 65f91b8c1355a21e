/* Events: what users do, however much it is, washes nothing else away; also not over a restart. */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "volmgr/people.h"
#include "tap.h"

#define MANY (2 * EVENTS_MAX + 7)

static struct cluster c;
static struct people people;
static struct event_record page[2 * EVENTS_MAX + 10];

/* The metadata, as far as events use it: the newest text of each key. */
struct kept {
	unsigned n;
	struct {
		char key[64], text[1024];
	} at[2 * EVENTS_MAX + 10];
};

static struct kept *kept; /* shared with a volmgr that ends */

struct meta_batch {
	char put[64], text[1024], gone[64];
};

struct meta_batch *meta_batch_new(void)
{
	return calloc(1, sizeof(struct meta_batch));
}

void meta_batch_free(struct meta_batch *b)
{
	free(b);
}

void meta_batch_put(struct meta_batch *b, const char *key, const void *value, size_t len)
{
	snprintf(b->put, sizeof(b->put), "%s", key);
	snprintf(b->text, sizeof(b->text), "%.*s", (int)len, (const char *)value);
}

void meta_batch_delete(struct meta_batch *b, const char *key)
{
	snprintf(b->gone, sizeof(b->gone), "%s", key);
}

static void commit(struct meta *m, struct meta_batch *b, void (*done)(void *arg, int err),
		   void *arg)
{
	for (unsigned i = 0; i < kept->n && b->gone[0] != '\0'; i++)
		if (strcmp(kept->at[i].key, b->gone) == 0) {
			memmove(&kept->at[i], &kept->at[i + 1],
				(--kept->n - i) * sizeof(kept->at[0]));
			break;
		}
	snprintf(kept->at[kept->n].key, sizeof(kept->at[0].key), "%s", b->put);
	snprintf(kept->at[kept->n].text, sizeof(kept->at[0].text), "%s", b->text);
	kept->n++;
	free(b);
	done(arg, 0);
}

static int each(struct meta *m, const char *prefix,
		int (*fn)(void *arg, const char *key, const void *value, size_t len), void *arg)
{
	for (unsigned i = 0; i < kept->n; i++)
		fn(arg, kept->at[i].key, kept->at[i].text, strlen(kept->at[i].text));
	return 0;
}

static void person(const char *name, enum role role)
{
	struct person *p = calloc(1, sizeof(*p));

	snprintf(p->name, sizeof(p->name), "%s", name);
	p->role = role;
	people.person[people.npersons++] = p;
}

struct person *person_by_name(struct cluster *of, const char *name)
{
	for (unsigned i = 0; i < of->people->npersons; i++)
		if (strcmp(of->people->person[i]->name, name) == 0)
			return of->people->person[i];
	return NULL;
}

/* Newest first, each once, and none that is not below before. */
static void is_in_order(uint64_t before, unsigned n)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < n; i++)
		wrong += page[i].number >= (i > 0 ? page[i - 1].number : before);
	is_int(wrong, 0, "the newest come first");
}

static unsigned count(const char *what)
{
	unsigned n = events_before(0, NULL, NULL, page, sizeof(page) / sizeof(page[0])), found = 0;

	for (unsigned i = 0; i < n; i++)
		found += strcmp(page[i].what, what) == 0;
	return found;
}

static void look(const char *when)
{
	unsigned n = events_before(0, NULL, NULL, page, sizeof(page) / sizeof(page[0]));

	diag("%s", when);
	is_in_order(UINT64_MAX, n);
	is_int(count("volume.deleted"), 1, "what an admin did is there");
	is_int(count("space.added"), 1, "also with spaces");
	is_int(count("server.down"), 1, "and what happened by itself");
	is_int(n, EVENTS_MAX + 3, "with the last of all else");
	n = events_before(page[9].number, NULL, NULL, page, 5);
	is_int(n, 5, "a page has as many as were asked for");
	is_in_order(events_last() - 9 + 1, n);
	is_int(kept->n, EVENTS_MAX + 3, "the metadata has no more of them");
}

static bool is_what(void *arg, const struct event_record *e)
{
	return strcmp(e->what, arg) == 0;
}

/* Those that fit, however far back, and no others, in pages. */
static void search(void)
{
	char what[] = "volume.deleted", often[] = "folder.made";
	uint64_t before;

	is_int(events_before(0, is_what, what, page, 5), 1,
	       "what is looked for is found behind all else");
	is_str(page[0].what, what, "which it is");
	is_int(events_before(page[0].number, is_what, what, page, 5), 0, "and once");
	is_int(events_before(0, is_what, often, page, 5), 5,
	       "of what is there often, as many as were asked for");
	before = page[4].number;
	is_int(events_before(before, is_what, often, page, 5), 5, "then the next ones");
	is_in_order(before, 5);
}

/* What everybody may do, again and again. */
static void note_much(void)
{
	static const char *const whats[] = {"folder.made", "login", "token.added"};

	for (int i = 0; i < MANY; i++)
		if (i % 5 == 4)
			events_note(&c, "", "login.failed", "x", "%d", i);
		else
			events_note(&c, "uma", whats[i % 3], "x", "%d", i);
}

static void note_all(void)
{
	events_note(&c, "alice", "volume.deleted", "v", "%s", "");
	events_note(&c, "alice", "space.added", "uma", "%s", "plans");
	events_note(&c, "", "server.down", "s", "%s", "");
	note_much();
}

int main(void)
{
	static const struct meta_ops ops = {.commit = commit, .each = each};
	struct meta m = {.ops = &ops};
	int status = -1;
	pid_t pid;

	kept = mmap(NULL, sizeof(*kept), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (kept == MAP_FAILED)
		return 1;
	c.meta = &m;
	c.people = &people;
	person("alice", ROLE_ADMIN);
	person("uma", ROLE_USER);
	pid = fork();
	if (pid == 0) {
		note_all();
		_exit(0);
	}
	ok(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "much is noted");
	is_int(events_load(&c), 0, "and read after a restart");
	look("after a restart:");
	note_much();
	look("after as much once more:");
	search();
	for (unsigned i = 0; i < people.npersons; i++)
		free(people.person[i]);
	return done_testing();
}
