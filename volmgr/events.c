/*
 * Events: who did what when. The last EVENTS_MAX of what users do, and as many of all else, are in
 * memory and in the metadata, where the oldest is deleted by the batch that adds the newest: so
 * nobody washes away what admins did, and servers, by making folders. They are written without
 * being waited for: an event that a crash of the machine takes along is no loss that a request
 * should pay for.
 */
#include "config.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "people.h"
#include "banned.h"

#define KEY_EVENT "1/event/"

/* Those of one sort. */
struct ring {
	struct event_record at[EVENTS_MAX]; /* the n-th modulo EVENTS_MAX; number 0: none */
	uint64_t n;
};

static struct ring rings[2]; /* what users do; all else */
static uint64_t last;	     /* number of the newest; 0: none */

bool event_is_of_files(const char *what)
{
	static const char *const kinds[] = {"file.", "folder.", "bin.", "tag.", "share.", "space."};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strncmp(what, kinds[i], strlen(kinds[i])) == 0)
			return true;
	return false;
}

/* What one may cause as often as one likes without being an admin; and who is may do much with
 * files. */
static bool event_is_common(struct cluster *c, const char *who, const char *what)
{
	const struct person *p = person_by_name(c, who);

	return (p != NULL && p->role < ROLE_ADMIN) || strcmp(what, "login.failed") == 0 ||
	       (event_is_of_files(what) && strncmp(what, "space.", 6) != 0);
}

static struct event_record *event_next(bool common)
{
	struct ring *r = &rings[common ? 0 : 1];

	return &r->at[r->n++ % EVENTS_MAX];
}

static char *event_key(char *key, uint64_t number)
{
	snprintf(key, RECORD_KEY_MAX, KEY_EVENT "%016" PRIx64, number);
	return key;
}

static void event_text(char *out, size_t max, json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	snprintf(out, max, "%s", s != NULL ? s : "");
}

static int event_load(void *arg, const char *key, const void *value, size_t len)
{
	uint64_t number = strtoull(key + strlen(KEY_EVENT), NULL, 16);
	json_t *o = json_loadb(value, len, 0, NULL);
	struct event_record e = {.number = number};

	if (number > 0 && json_is_object(o)) {
		e.time = json_integer_value(json_object_get(o, "time"));
		event_text(e.who, sizeof(e.who), o, "who");
		event_text(e.what, sizeof(e.what), o, "what");
		event_text(e.object, sizeof(e.object), o, "object");
		event_text(e.detail, sizeof(e.detail), o, "detail");
		e.common = json_is_true(json_object_get(o, "common"));
		*event_next(e.common) = e;
		last = number;
	}
	json_decref(o);
	return 0;
}

int events_load(struct cluster *c)
{
	return c->meta->ops->each(c->meta, KEY_EVENT, event_load, c);
}

static void event_written(void *arg, int err)
{
	if (err != 0)
		log_warn("an event could not be written to the metadata: %s", strerror(-err));
}

/* was: the one whose place it has taken, or 0. */
static void event_save(struct cluster *c, const struct event_record *e, uint64_t was)
{
	json_t *o = json_pack("{s:I, s:s, s:s, s:s, s:s, s:b}", "time", (json_int_t)e->time, "who",
			      e->who, "what", e->what, "object", e->object, "detail", e->detail,
			      "common", (int)e->common);
	char *text = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;
	struct meta_batch *b = meta_batch_new();
	char key[RECORD_KEY_MAX];

	json_decref(o);
	if (b != NULL && text != NULL) {
		meta_batch_put(b, event_key(key, e->number), text, strlen(text));
		if (was > 0)
			meta_batch_delete(b, event_key(key, was));
		c->meta->ops->commit(c->meta, b, event_written, NULL);
	} else {
		meta_batch_free(b);
	}
	free(text);
}

void events_note(struct cluster *c, const char *who, const char *what, const char *object,
		 const char *fmt, ...)
{
	bool common = event_is_common(c, who, what);
	struct event_record *e = event_next(common);
	uint64_t was = e->number;
	struct timespec now;
	va_list ap;

	clock_gettime(CLOCK_REALTIME, &now);
	e->number = ++last;
	e->common = common;
	e->time = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
	snprintf(e->who, sizeof(e->who), "%s", who);
	snprintf(e->what, sizeof(e->what), "%s", what);
	snprintf(e->object, sizeof(e->object), "%s", object);
	va_start(ap, fmt);
	vsnprintf(e->detail, sizeof(e->detail), fmt, ap);
	va_end(ap);
	event_save(c, e, was);
}

/* The newest but "skipped" of a ring, or NULL. */
static const struct event_record *ring_back(const struct ring *r, uint64_t skipped)
{
	return skipped < r->n && skipped < EVENTS_MAX ? &r->at[(r->n - 1 - skipped) % EVENTS_MAX]
						      : NULL;
}

unsigned events_before(uint64_t before, event_fits *fits, void *arg, struct event_record *out,
		       unsigned max)
{
	uint64_t skipped[2] = {0};
	unsigned n = 0;

	while (n < max) {
		const struct event_record *a = ring_back(&rings[0], skipped[0]),
					  *b = ring_back(&rings[1], skipped[1]);
		bool first = a != NULL && (b == NULL || a->number > b->number);
		const struct event_record *e = first ? a : b;

		if (e == NULL)
			break;
		skipped[first ? 0 : 1]++;
		if ((before == 0 || e->number < before) && (fits == NULL || fits(arg, e)))
			out[n++] = *e;
	}
	return n;
}

uint64_t events_last(void)
{
	return last;
}
