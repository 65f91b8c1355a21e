/*
 * /live and /history: what charts show. Browsers get one event a step, made once for all of them.
 * A stream ends with the session that it was asked for by, and after a few minutes; the browser
 * connects again by itself.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "stats.h"
#include "banned.h"

#define STREAMS_MAX	  512
#define STREAMS_EACH	  32 /* of one person; of guests, who are nobody, half of all */
#define STREAM_NS	  (300 * NS_PER_S)
#define STREAM_BEHIND_MAX (256u << 10) /* bytes a browser does not take; then it is let go */
#define STREAM_CHECK	  3	       /* steps */
#define LIVE_VOLUMES_MAX  50	       /* the busiest */

struct live_stream {
	struct http_request *r;
	char who[HTTP_WHO_MAX];
	uint64_t until_ns;
	bool gone;
};

static struct live_stream *streams[STREAMS_MAX];
static unsigned nstreams;

/* ---- what is told -------------------------------------------------------------------------- */

json_t *api_rates_json(const struct rates *r)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < HISTORY_VALUES; i++)
		json_object_set_new(o, rate_names[i], json_integer((json_int_t)r->value[i]));
	return o;
}

void api_rates_write(const struct rates *r, const char *key, struct json_out *o)
{
	json_out_begin(o, key, '{');
	for (unsigned i = 0; i < HISTORY_VALUES; i++)
		json_out_int(o, rate_names[i], (int64_t)r->value[i]);
	json_out_end(o, '}');
}

static float live_busy(const struct watch *w)
{
	return w != NULL ? w->rates.value[RATE_READS] + w->rates.value[RATE_WRITES] : 0;
}

static int live_compare(const void *a, const void *b)
{
	float x = live_busy((*(struct vol *const *)a)->watch),
	      y = live_busy((*(struct vol *const *)b)->watch);

	return x < y ? 1 : x > y ? -1 : 0;
}

static json_t *live_volumes(struct cluster *c)
{
	static struct vol *busy[VOLUMES_MAX];
	json_t *o = json_object();
	unsigned n = 0;

	for (unsigned i = 0; i < c->nvols; i++)
		if (live_busy(c->vols[i]->watch) > 0)
			busy[n++] = c->vols[i];
	qsort(busy, n, sizeof(busy[0]), live_compare);
	for (unsigned i = 0; i < n && i < LIVE_VOLUMES_MAX; i++)
		json_object_set_new(o, busy[i]->name, api_rates_json(&busy[i]->watch->rates));
	return o;
}

static json_t *live_servers(struct cluster *c)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < c->nservers; i++)
		if (live_busy(c->servers[i]->watch) > 0)
			json_object_set_new(o, c->servers[i]->name,
					    api_rates_json(&c->servers[i]->watch->rates));
	return o;
}

/* "event: live", one line of JSON. */
static char *live_text(struct cluster *c, size_t *len)
{
	json_t *o = api_status_json(c);
	char *json, *text = NULL;

	if (o == NULL)
		return NULL;
	json_object_set_new(o, "rates", api_rates_json(&stats_all()->rates));
	json_object_set_new(o, "busy", live_volumes(c));
	json_object_set_new(o, "busy_servers", live_servers(c));
	json_object_set_new(o, "last_event", json_integer((json_int_t)events_last()));
	json = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (json == NULL)
		return NULL;
	*len = strlen(json) + 32;
	text = malloc(*len);
	if (text != NULL)
		*len = (size_t)snprintf(text, *len, "event: live\ndata: %s\n\n", json);
	free(json);
	return text;
}

/* ---- streams ------------------------------------------------------------------------------- */

static void live_gone(void *arg)
{
	struct live_stream *s = arg;

	s->gone = true; /* ended at the next step: we may be in the middle of a write to it */
}

static void live_end(unsigned i)
{
	http_stream_end(streams[i]->r);
	free(streams[i]);
	streams[i] = streams[--nstreams];
}

void live_step(struct cluster *c)
{
	static unsigned steps;
	bool check = ++steps % STREAM_CHECK == 0;
	uint64_t now = clock_ns();
	size_t len = 0;
	char *text;

	for (unsigned i = nstreams; i-- > 0;)
		if (streams[i]->gone || now > streams[i]->until_ns ||
		    (check && !api_auth_still(c, streams[i]->r)) ||
		    http_stream_waiting(streams[i]->r) > STREAM_BEHIND_MAX)
			live_end(i);
	if (nstreams == 0)
		return;
	text = live_text(c, &len);
	for (unsigned i = 0; text != NULL && i < nstreams; i++)
		http_stream_write(streams[i]->r, text, len);
	free(text);
}

void live_stop(void)
{
	while (nstreams > 0)
		live_end(nstreams - 1);
}

/* Nobody takes the places of all others; who may open the socket may do all. */
static bool live_room(const struct http_request *r)
{
	unsigned its = 0;

	for (unsigned i = 0; i < nstreams; i++)
		its += strcmp(streams[i]->who, r->who) == 0;
	return nstreams < STREAMS_MAX &&
	       (http_is_local(r) || its < (r->who[0] != '\0' ? STREAMS_EACH : STREAMS_MAX / 2));
}

void api_live(struct cluster *c, struct http_request *r, const char *name)
{
	struct live_stream *s;
	struct refusal refusal;
	size_t len = 0;
	char *text;

	if (!live_room(r) || c->stopping) {
		refuse(&refusal, 503, "busy", "Too many pages are open at this moment.");
		refuse_hint(&refusal, "Close some.");
		api_refuse(r, &refusal);
		return;
	}
	text = live_text(c, &len);
	s = mem_must(sizeof(*s));
	s->r = r;
	s->until_ns = clock_ns() + STREAM_NS;
	memcpy(s->who, r->who, sizeof(s->who));
	streams[nstreams++] = s;
	http_stream_start(r, 200, "text/event-stream", live_gone, s);
	if (text != NULL)
		http_stream_write(r, text, len);
	free(text);
}

/* ---- history ------------------------------------------------------------------------------- */

static json_t *history_json(const struct history *h, int coarse)
{
	unsigned n = h != NULL ? history_count(h, coarse) : 0;
	json_t *o = json_pack("{s:i, s:I}", "step",
			      coarse ? HISTORY_STEP_S * HISTORY_RATIO : HISTORY_STEP_S, "end",
			      (json_int_t)clock_wall_s());

	for (unsigned v = 0; v < HISTORY_VALUES; v++) {
		json_t *list = json_array();

		for (unsigned i = 0; i < n; i++)
			json_array_append_new(
				list, json_integer((json_int_t)history_get(h, coarse, i)[v]));
		json_object_set_new(o, rate_names[v], list);
	}
	return o;
}

/* volume=NAME, server=NAME or nothing; span=day or half an hour. */
void api_history(struct cluster *c, struct http_request *r, const char *name)
{
	const char *volume = http_query(r, "volume"), *server = http_query(r, "server"),
		   *span = http_query(r, "span");
	const struct watch *w = stats_all();
	struct refusal refusal;

	if (volume != NULL) {
		struct vol *v = volume_by_name(c, volume);

		if (v == NULL) {
			refuse_unknown(&refusal, "volume", volume);
			api_refuse(r, &refusal);
			return;
		}
		w = v->watch;
	} else if (server != NULL) {
		struct server *s = server_by_name(c, server);

		if (s == NULL) {
			refuse_unknown(&refusal, "server", server);
			api_refuse(r, &refusal);
			return;
		}
		w = s->watch;
	}
	api_json(r, 200,
		 history_json(w != NULL ? w->history : NULL,
			      span != NULL && strcmp(span, "day") == 0));
}
