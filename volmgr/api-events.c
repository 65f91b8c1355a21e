/*
 * GET /events, in pages. "q" is what is searched for: words that all have to be found in who did
 * it, what was done, with what, or the details. A word may be followed by words of events, each
 * behind a "|", that fit too: so the page finds events by how their sentences read in its language.
 */
#include "config.h"

#include <string.h>

#include "api.h"
#include "people.h"
#include "banned.h"

#define EVENTS_PAGE	 50
#define EVENTS_PAGE_MAX	 200
#define EVENTS_Q_MAX	 12000 /* bytes */
#define EVENTS_WORDS_MAX 8

/* text ends with a NUL, and so does each word of an event behind it, up to end. */
struct word {
	const char *text, *end;
};

struct search {
	const struct cluster *cluster;
	const struct http_request *r;
	const char *who; /* NULL: whoever */
	struct word word[EVENTS_WORDS_MAX];
	unsigned n;
	char q[EVENTS_Q_MAX];
};

/* What was done with files tells what there is; so it is told to those who see all of them. */
static bool event_shows(const struct cluster *c, const struct http_request *r,
			const struct event_record *e)
{
	if (r->rights >= ROLE_ADMIN || !c->people->settings.spaces ||
	    (r->who[0] != '\0' && strcmp(e->who, r->who) == 0))
		return true;
	return !event_is_of_files(e->what);
}

static bool word_fits(const struct word *w, const struct event_record *e)
{
	if (strcasestr(e->who, w->text) != NULL || strcasestr(e->what, w->text) != NULL ||
	    strcasestr(e->object, w->text) != NULL || strcasestr(e->detail, w->text) != NULL)
		return true;
	for (const char *what = w->text + strlen(w->text) + 1; what < w->end;
	     what += strlen(what) + 1)
		if (strcmp(what, e->what) == 0)
			return true;
	return false;
}

static bool search_fits(void *arg, const struct event_record *e)
{
	const struct search *s = arg;

	if (!event_shows(s->cluster, s->r, e) || (s->who != NULL && strcmp(s->who, e->who) != 0))
		return false;
	for (unsigned i = 0; i < s->n; i++)
		if (!word_fits(&s->word[i], e))
			return false;
	return true;
}

/* False: there is too much of it. */
static bool search_words(struct search *s, const char *q)
{
	size_t len = strlen(q);

	s->n = 0;
	if (len >= sizeof(s->q))
		return false;
	memcpy(s->q, q, len + 1);
	for (char *at = s->q; at < s->q + len;) {
		size_t n = strcspn(at, " ");

		if (n > 0 && s->n == EVENTS_WORDS_MAX)
			return false;
		if (n > 0)
			s->word[s->n++] = (struct word){.text = at, .end = at + n};
		for (size_t i = 0; i < n; i++)
			if (at[i] == '|')
				at[i] = '\0';
		at += n;
		*at++ = '\0';
	}
	return true;
}

static json_t *event_json(const struct event_record *e)
{
	return json_pack("{s:I, s:I, s:s, s:s, s:s, s:s}", "number", (json_int_t)e->number, "time",
			 (json_int_t)e->time, "who", e->who, "what", e->what, "object", e->object,
			 "detail", e->detail);
}

void api_events_list(struct cluster *c, struct http_request *r, const char *name)
{
	static struct event_record page[EVENTS_PAGE_MAX];
	static struct search search;
	const char *q = http_query(r, "q");
	uint64_t before, limit;
	struct refusal refusal;
	json_t *list, *body;
	unsigned n;

	search.cluster = c;
	search.r = r;
	search.who = http_query(r, "who");
	if (!search_words(&search, q != NULL ? q : "")) {
		refuse(&refusal, 400, "bad_request", "A search of events has at most %d words.",
		       EVENTS_WORDS_MAX);
		api_refuse(r, &refusal);
		return;
	}
	if (api_parse_number(http_query(r, "before"), 0, &before, &refusal) != 0 ||
	    api_parse_number(http_query(r, "limit"), EVENTS_PAGE, &limit, &refusal) != 0) {
		api_refuse(r, &refusal);
		return;
	}
	if (limit > EVENTS_PAGE_MAX)
		limit = EVENTS_PAGE_MAX;
	n = events_before(before, search_fits, &search, page, (unsigned)limit);
	list = json_array();
	for (unsigned i = 0; i < n; i++)
		json_array_append_new(list, event_json(&page[i]));
	body = json_pack("{s:o, s:I}", "events", list, "last", (json_int_t)events_last());
	if (body != NULL && n == limit && n > 0 && page[n - 1].number > 1)
		json_object_set_new(body, "before", json_integer((json_int_t)page[n - 1].number));
	api_json(r, 200, body);
}
