/*
 * Events: who did what when. The last EVENTS_MAX are in memory and in the metadata, where the
 * oldest is deleted by the batch that adds the newest. They are written without being waited for:
 * an event that a crash of the machine takes along is no loss that a request should pay for.
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

static struct event_record ring[EVENTS_MAX]; /* by number modulo EVENTS_MAX */
static uint64_t last;			     /* number of the newest; 0: none */

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
	struct event_record *e = &ring[number % EVENTS_MAX];

	if (number > 0 && json_is_object(o)) {
		e->number = number;
		e->time = json_integer_value(json_object_get(o, "time"));
		event_text(e->who, sizeof(e->who), o, "who");
		event_text(e->what, sizeof(e->what), o, "what");
		event_text(e->object, sizeof(e->object), o, "object");
		event_text(e->detail, sizeof(e->detail), o, "detail");
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

static void event_save(struct cluster *c, const struct event_record *e)
{
	json_t *o = json_pack("{s:I, s:s, s:s, s:s, s:s}", "time", (json_int_t)e->time, "who",
			      e->who, "what", e->what, "object", e->object, "detail", e->detail);
	char *text = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;
	struct meta_batch *b = meta_batch_new();
	char key[RECORD_KEY_MAX];

	json_decref(o);
	if (b != NULL && text != NULL) {
		meta_batch_put(b, event_key(key, e->number), text, strlen(text));
		if (e->number > EVENTS_MAX)
			meta_batch_delete(b, event_key(key, e->number - EVENTS_MAX));
		c->meta->ops->commit(c->meta, b, event_written, NULL);
	} else {
		meta_batch_free(b);
	}
	free(text);
}

void events_note(struct cluster *c, const char *who, const char *what, const char *object,
		 const char *fmt, ...)
{
	struct event_record *e = &ring[++last % EVENTS_MAX];
	struct timespec now;
	va_list ap;

	clock_gettime(CLOCK_REALTIME, &now);
	e->number = last;
	e->time = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
	snprintf(e->who, sizeof(e->who), "%s", who);
	snprintf(e->what, sizeof(e->what), "%s", what);
	snprintf(e->object, sizeof(e->object), "%s", object);
	va_start(ap, fmt);
	vsnprintf(e->detail, sizeof(e->detail), fmt, ap);
	va_end(ap);
	event_save(c, e);
}

unsigned events_before(uint64_t before, struct event_record *out, unsigned max)
{
	unsigned n = 0;

	for (uint64_t i = before == 0 || before > last ? last : before - 1;
	     i > 0 && n < max && ring[i % EVENTS_MAX].number == i; i--)
		out[n++] = ring[i % EVENTS_MAX];
	return n;
}

uint64_t events_last(void)
{
	return last;
}
