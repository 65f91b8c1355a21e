/*
 * Changes of the index as server-sent events: "change" with what the lists of the API say of a
 * file, and "progress" while there is work. A client that does not take them in time is let go of;
 * it comes again, and looks at what it shows anew.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tagger/tagger.h"
#include "banned.h"

#define EVENTS_CLIENTS_MAX 256
#define EVENTS_EACH_MAX	   16 /* of one person; of guests, who are nobody, half of all */
#define EVENTS_WAITING_MAX (256u << 10)
#define EVENTS_TICK_MS	   1000 /* while somebody listens */
#define EVENTS_ALIVE_TICKS 15

struct listener {
	struct events *events;
	struct http_request *r;
	char *scope; /* what it is held to, or NULL */
	bool named;  /* who is known */
	char who[HTTP_WHO_MAX];
	struct listener *next;
};

struct events {
	struct tagger *t;
	struct listener *first;
	unsigned n;
	struct control_timer *tick;
	unsigned ticks;
	bool was_busy;
};

static void events_drop(struct listener *l)
{
	struct events *e = l->events;
	struct listener **at = &e->first;

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	e->n--;
	http_stream_end(l->r);
	free(l->scope);
	free(l);
	if (e->n == 0) {
		control_timer_free(e->tick);
		e->tick = NULL;
	}
}

static void events_gone(void *arg)
{
	events_drop(arg);
}

/* path: what it is about; NULL: everything, which only those hear who see all. */
static void events_send(struct events *e, const char *name, const char *path, json_t *data)
{
	char *json = json_dumps(data, JSON_COMPACT), *text = NULL;
	int len = json != NULL ? asprintf(&text, "event: %s\ndata: %s\n\n", name, json) : -1;

	json_decref(data);
	free(json);
	if (len < 0)
		return;
	for (struct listener *l = e->first, *next; l != NULL; l = next) {
		next = l->next;
		if (l->scope != NULL && (path == NULL || scope_right(l->scope, path) < SCOPE_READ))
			continue;
		if (http_stream_waiting(l->r) > EVENTS_WAITING_MAX)
			events_drop(l);
		else
			http_stream_write(l->r, text, (size_t)len);
	}
	free(text);
}

void events_changed(void *arg, uint32_t file, enum index_change change)
{
	static const char *const names[] = {"added", "changed", "moved", "removed"};
	struct events *e = arg;
	json_t *data;

	if (e->n == 0)
		return;
	data = api_file_json(e->t, file);
	json_object_set_new(data, "change", json_string(names[change]));
	events_send(e, "change", api_path(e->t, file), data);
}

static void events_tick(void *arg)
{
	struct events *e = arg;
	struct scan_progress p;
	bool busy = !scan_is_idle(e->t->scan);

	if (busy || e->was_busy) {
		scan_get_progress(e->t->scan, &p);
		events_send(e, "progress", NULL,
			    json_pack("{s:b, s:I, s:I, s:I, s:f, s:f}", "walking", p.walking,
				      "files", (json_int_t)e->t->index->nfiles, "waiting",
				      (json_int_t)p.waiting, "failed",
				      (json_int_t)e->t->index->nfailed, "files_per_s",
				      p.files_per_s, "seconds_left", p.left_s));
	} else if (++e->ticks % EVENTS_ALIVE_TICKS == 0) {
		for (struct listener *l = e->first; l != NULL; l = l->next)
			http_stream_write(l->r, ": \n\n", 4);
	}
	e->was_busy = busy;
}

/* Nobody takes the places of all others. */
static bool events_room(const struct events *e, const char *who)
{
	unsigned its = 0;

	for (const struct listener *l = e->first; l != NULL; l = l->next)
		its += who != NULL && l->named && strcmp(l->who, who) == 0;
	return e->n < EVENTS_CLIENTS_MAX &&
	       its < (who != NULL && *who == '\0' ? EVENTS_CLIENTS_MAX / 2 : EVENTS_EACH_MAX);
}

void api_events(struct tagger *t, struct http_request *r)
{
	struct events *e = t->events;
	const char *scope = api_scope(r), *who = http_request_header(r, "X-Weft-User");
	struct listener *l = events_room(e, who) && !r->head ? calloc(1, sizeof(*l)) : NULL;

	if (l != NULL && scope != NULL && (l->scope = strdup(scope)) == NULL) {
		free(l);
		l = NULL;
	}
	if (l == NULL) {
		api_error(r, 503, "busy", "Too many are listening already.");
		return;
	}
	l->events = e;
	l->named = who != NULL;
	snprintf(l->who, sizeof(l->who), "%s", who != NULL ? who : "");
	l->r = r;
	l->next = e->first;
	e->first = l;
	if (e->n++ == 0)
		e->tick = control_timer_start(t->control, EVENTS_TICK_MS, 1, events_tick, e);
	http_stream_start(r, 200, "text/event-stream", events_gone, l);
	http_stream_write(r, ": \n\n", 4);
}

int events_create(struct tagger *t)
{
	t->events = calloc(1, sizeof(*t->events));
	if (t->events == NULL)
		return -ENOMEM;
	t->events->t = t;
	t->index->changed = events_changed;
	t->index->changed_arg = t->events;
	return 0;
}

void events_destroy(struct tagger *t)
{
	if (t->events == NULL)
		return;
	t->index->changed = NULL;
	while (t->events->first != NULL)
		events_drop(t->events->first);
	free(t->events);
	t->events = NULL;
}
