/*
 * /counters: what clients of each volume got, and what servers took, since volmgr started:
 * requests, bytes, and how long they took, as histograms. Whoever asks twice has all that was
 * between, whatever others ask, so volctl top and others need no state here.
 */
#include "config.h"

#include <stdlib.h>

#include "api.h"
#include "route.h"
#include "stats.h"
#include "banned.h"

#define COUNTERS_VOLUMES_MAX 1000 /* those that were used last */

/* Buckets up to the last one that is not empty. */
static json_t *counters_json(const struct watch_counts *c)
{
	json_t *o = json_pack("{s:I, s:I, s:I}", "count", (json_int_t)c->count, "bytes",
			      (json_int_t)c->bytes, "ns", (json_int_t)c->total_ns);
	json_t *list = json_array();
	unsigned n = WATCH_BUCKETS;

	while (n > 0 && c->bucket[n - 1] == 0)
		n--;
	for (unsigned i = 0; i < n; i++)
		json_array_append_new(list, json_integer((json_int_t)c->bucket[i]));
	json_object_set_new(o, "buckets", list);
	return o;
}

static json_t *counters_one(const char *name, const struct io_stat *st,
			    const struct watch_counts *routed)
{
	return json_pack("{s:s, s:o, s:o, s:o, s:o}", "name", name, "reads",
			 counters_json(&st->kind[IO_READ]), "writes",
			 counters_json(&st->kind[IO_WRITE]), "others",
			 counters_json(&st->kind[IO_OTHER]), "routed", counters_json(routed));
}

static uint64_t counters_active(const struct vol *v)
{
	return v->watch != NULL ? v->watch->active_ns : 0;
}

static int counters_compare(const void *a, const void *b)
{
	uint64_t x = counters_active(*(struct vol *const *)a),
		 y = counters_active(*(struct vol *const *)b);

	return x < y ? 1 : x > y ? -1 : 0;
}

/* All when there are few, else those that did something last. */
static json_t *counters_volumes(struct cluster *c)
{
	static struct vol *used[VOLUMES_MAX];
	json_t *list = json_array();
	unsigned n = 0;

	for (; n < c->nvols; n++)
		used[n] = c->vols[n];
	if (n > COUNTERS_VOLUMES_MAX) {
		qsort(used, n, sizeof(used[0]), counters_compare);
		n = COUNTERS_VOLUMES_MAX;
	}
	for (unsigned i = 0; i < n; i++) {
		struct vol *v = used[i];
		struct watch_counts routed;
		struct io_stat st;

		pthread_mutex_lock(&c->lock);
		st = v->io_seen;
		routed = v->routed;
		pthread_mutex_unlock(&c->lock);
		json_array_append_new(list, counters_one(v->name, &st, &routed));
	}
	return list;
}

static json_t *counters_servers(struct cluster *c)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < c->nservers; i++) {
		struct server *s = c->servers[i];
		struct watch_counts routed;
		struct io_stat st;
		json_t *o;

		pthread_mutex_lock(&c->lock);
		st = s->io;
		pthread_mutex_unlock(&c->lock);
		route_server_count(c, s, &routed);
		o = counters_one(s->name, &st, &routed);
		json_object_set_new(o, "state", json_string(server_state_name(s)));
		json_object_set_new(o, "route", json_string(route_server_state(c, s)));
		json_array_append_new(list, o);
	}
	return list;
}

/* The last bucket has no end. */
static json_t *counters_ends(void)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < WATCH_BUCKETS - 1; i++)
		json_array_append_new(list, json_integer((json_int_t)io_bucket_end(i)));
	return list;
}

static void counters_collected(void *arg)
{
	struct api_call *call = arg;
	struct cluster *c = call->cluster;
	struct http_request *r = api_call_end(call);

	if (r != NULL)
		api_json(r, 200,
			 json_pack("{s:I, s:o, s:o, s:o}", "ns", (json_int_t)clock_ns(), "ends",
				   counters_ends(), "volumes", counters_volumes(c), "servers",
				   counters_servers(c)));
}

void api_counters(struct cluster *c, struct http_request *r, const char *name)
{
	engine_collect(c, counters_collected, api_later(c, r, ""));
}
