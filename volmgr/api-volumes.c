/* /volumes, /volumes/NAME and /volumes/NAME/map: list, create, look at, resize, delete. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "stripe/plan.h"
#include "stats.h"
#include "banned.h"

#define MAP_PAGE_DEFAULT 100

static json_t *stat_json(const struct volume_stat *st)
{
	return json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
		"s:I}",
		"hedged_reads", (json_int_t)st->hedged_reads, "reads", (json_int_t)st->reads,
		"writes", (json_int_t)st->writes, "flushes", (json_int_t)st->flushes, "trims",
		(json_int_t)st->trims, "read_bytes", (json_int_t)st->read_bytes, "write_bytes",
		(json_int_t)st->write_bytes, "tx_full", (json_int_t)st->tx_full, "tx_delta",
		(json_int_t)st->tx_delta, "tx_rebuild", (json_int_t)st->tx_rebuild, "tx_zero",
		(json_int_t)st->tx_zero, "merged", (json_int_t)st->merged, "degraded_reads",
		(json_int_t)st->degraded_reads, "crc_errors", (json_int_t)st->crc_errors,
		"unflushed_bytes", (json_int_t)st->unflushed_bytes, "waiting",
		(json_int_t)st->waiting, "inflight", (json_int_t)st->inflight);
}

static json_t *volume_json(struct cluster *c, void *item)
{
	struct vol *v = item;
	json_t *o;
	struct volume_settings s = v->settings;
	struct volume_stat st;
	struct rebuild_stat rebuild;
	uint64_t size, used, steered;
	struct watch_counts routed;
	unsigned clients;

	pthread_mutex_lock(&v->cluster->lock);
	st = v->stat;
	rebuild = v->rebuild;
	size = v->size;
	clients = v->clients;
	routed = v->routed;
	steered = v->steered;
	pthread_mutex_unlock(&v->cluster->lock);
	used = st.extents * v->k * WEFT_SHARD_BYTES; /* thin: whole extents that were written to */
	if (used > size)
		used = size;
	o = json_pack("{s:I, s:s, s:s, s:s, s:I, s:i, s:i, s:i, s:s, s:I, s:I, s:i, s:I, s:i, s:o}",
		      "id", (json_int_t)v->id, "name", v->name, "state", vol_state_name(v->state),
		      "message", v->why, "size", (json_int_t)size, "k", (int)v->k, "m", (int)v->m,
		      "unit", (int)v->unit, "code", ec_code_name(v->code), "used", (json_int_t)used,
		      "extents", (json_int_t)st.extents, "clients", (int)clients, "epoch",
		      (json_int_t)v->epoch, "thread",
		      v->worker != NULL ? (int)v->worker->index : -1, "stat", stat_json(&st));
	if (o != NULL)
		json_object_update_new(
			o, json_pack("{s:i, s:s, s:s}", "min",
				     (int)(s.min != 0 ? s.min : plan_min_good(v->k, v->m)),
				     "below_min", s.below_min_fail ? "fail" : "wait", "when_full",
				     s.when_full_wait ? "wait" : "error"));
	if (o != NULL)
		json_object_set_new(o, "rebuild", api_rebuild_json(&rebuild));
	if (o != NULL)
		json_object_set_new(o, "routed",
				    json_pack("{s:I, s:I, s:I}", "reads", (json_int_t)routed.count,
					      "bytes", (json_int_t)routed.bytes, "steered",
					      (json_int_t)steered));
	if (o != NULL && v->watch != NULL)
		json_object_set_new(o, "rates", api_rates_json(&v->watch->rates));
	return o;
}

static void volume_unknown(struct http_request *r, const char *name)
{
	struct refusal refusal;

	refuse_unknown(&refusal, "volume", name);
	api_refuse(r, &refusal);
}

/* Answer with the volume as it is now. */
static void volume_answer(struct cluster *c, struct http_request *r, const char *name, int status)
{
	struct vol *v = volume_by_name(c, name);
	const char *device;
	json_t *o;

	if (v == NULL) {
		volume_unknown(r, name);
		return;
	}
	o = volume_json(c, v);
	device = api_attached_device(name);
	if (o != NULL && device != NULL)
		json_object_set_new(o, "attached", json_string(device));
	api_json(r, status, o);
}

/* ---- list, look at ------------------------------------------------------------------------- */

static double volume_size(const void *item)
{
	return (double)((const struct vol *)item)->size;
}

static double volume_used(const void *item)
{
	const struct vol *v = item;

	return (double)(v->stat.extents * v->k);
}

static double volume_busy(const void *item)
{
	const struct vol *v = item;

	return v->watch != NULL ? (double)(v->watch->rates.value[RATE_READS] +
					   v->watch->rates.value[RATE_WRITES])
				: 0;
}

static double volume_state(const void *item)
{
	return (double)((const struct vol *)item)->state;
}

static const struct api_sort volume_sorts[] = {
	{"size", volume_size},	 {"used", volume_used}, {"busy", volume_busy},
	{"state", volume_state}, {NULL, NULL},
};

static void volumes_collected(void *arg)
{
	static struct api_item items[VOLUMES_MAX];
	struct api_call *call = arg;
	struct cluster *c = call->cluster;
	struct http_request *r = api_call_end(call);
	struct refusal refusal;
	struct api_page page;
	unsigned n;

	if (r == NULL)
		return;
	if (api_page_parse(r, &page, &refusal) != 0) {
		api_refuse(r, &refusal);
		return;
	}
	for (n = 0; n < c->nvols; n++)
		items[n] = (struct api_item){c->vols[n]->name, c->vols[n]};
	n = api_page_select(&page, volume_sorts, items, n);
	api_page_answer(c, r, &page, "volumes", items, n, volume_json);
}

void api_volumes_list(struct cluster *c, struct http_request *r, const char *name)
{
	engine_collect(c, volumes_collected, api_later(c, r, ""));
}

static void volume_collected(void *arg)
{
	struct api_call *call = arg, copy = *call;
	struct http_request *r = api_call_end(call);

	if (r != NULL)
		volume_answer(copy.cluster, r, copy.name, 200);
}

void api_volume_get(struct cluster *c, struct http_request *r, const char *name)
{
	if (volume_by_name(c, name) == NULL)
		volume_unknown(r, name);
	else
		engine_collect(c, volume_collected, api_later(c, r, name));
}

/* ---- create, resize, delete ---------------------------------------------------------------- */

static void volume_changed(struct api_call *call, const struct refusal *refusal, int status)
{
	struct api_call copy = *call;
	struct http_request *r = api_call_end(call);

	if (r == NULL)
		return;
	if (refusal != NULL)
		api_refuse(r, refusal);
	else
		volume_answer(copy.cluster, r, copy.name, status);
}

static void volume_created(void *arg, const struct refusal *refusal)
{
	volume_changed(arg, refusal, 201);
}

void api_volume_create(struct cluster *c, struct http_request *r, const char *name)
{
	struct volume_spec spec;
	struct refusal refusal;

	if (api_parse_volume(r->body, r->body_len, &spec, &refusal) != 0)
		api_refuse(r, &refusal);
	else
		volumes_create(c, &spec, volume_created, api_later(c, r, spec.name));
}

static void volume_resized(void *arg, const struct refusal *refusal)
{
	volume_changed(arg, refusal, 200);
}

void api_volume_resize(struct cluster *c, struct http_request *r, const char *name)
{
	struct volume_change in;
	struct refusal refusal;

	if (api_parse_change(r->body, r->body_len, &in, &refusal) != 0)
		api_refuse(r, &refusal);
	else
		volumes_change(c, name, &in, volume_resized, api_later(c, r, name));
}

static void volume_deleted(void *arg, const struct refusal *refusal)
{
	struct api_call *call = arg, copy = *call;
	struct http_request *r = api_call_end(call);

	if (r == NULL)
		return;
	if (refusal != NULL)
		api_refuse(r, refusal);
	else
		api_json(r, 200, json_pack("{s:s}", "deleted", copy.name));
}

void api_volume_delete(struct cluster *c, struct http_request *r, const char *name)
{
	volumes_delete(c, name, volume_deleted, api_later(c, r, name));
}

/* ---- map ----------------------------------------------------------------------------------- */

static json_t *shard_json(struct cluster *c, const struct extent_record *x, unsigned i)
{
	const struct server *s = server_by_number(c, x->shard[i].server);

	return json_pack("{s:s, s:i, s:I, s:b}", "server", s != NULL ? s->name : "?", "number",
			 (int)x->shard[i].server, "slot", (json_int_t)x->shard[i].slot, "stale",
			 (int)(x->stale >> i & 1));
}

static json_t *extent_json(struct cluster *c, const struct extent_record *x, unsigned shards)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < shards; i++)
		json_array_append_new(list, shard_json(c, x, i));
	return json_pack("{s:I, s:I, s:o}", "extent", (json_int_t)x->extent, "generation",
			 (json_int_t)x->generation, "shards", list);
}

static void volume_mapped(struct task *t)
{
	struct engine_map *map = (struct engine_map *)t;
	struct api_call *call = map->arg, copy = *call;
	struct http_request *r = api_call_end(call);
	struct vol *v = volume_by_name(copy.cluster, copy.name);
	json_t *list = json_array(), *body;

	/* it may have been deleted while we were asking */
	for (unsigned i = 0; v != NULL && v == map->vol && i < map->count; i++)
		json_array_append_new(list,
				      extent_json(copy.cluster, &map->records[i], v->k + v->m));
	body = json_pack("{s:s, s:o}", "volume", copy.name, "extents", list);
	if (body != NULL && map->more)
		json_object_set_new(
			body, "next",
			json_integer((json_int_t)map->records[map->count - 1].extent + 1));
	if (r != NULL)
		api_json(r, 200, body);
	else
		json_decref(body);
	free(map->records);
	free(map);
}

void api_volume_map(struct cluster *c, struct http_request *r, const char *name)
{
	struct vol *v = volume_by_name(c, name);
	struct engine_map *map;
	struct refusal refusal;
	uint64_t from, limit;

	if (v == NULL || v->worker == NULL) {
		volume_unknown(r, name);
		return;
	}
	if (api_parse_number(http_query(r, "from"), 0, &from, &refusal) != 0 ||
	    api_parse_number(http_query(r, "limit"), MAP_PAGE_DEFAULT, &limit, &refusal) != 0) {
		api_refuse(r, &refusal);
		return;
	}
	if (limit < 1)
		limit = 1;
	if (limit > MAP_PAGE_MAX)
		limit = MAP_PAGE_MAX;
	map = mem_must(sizeof(*map));
	map->vol = v;
	map->from = from;
	map->limit = (unsigned)limit;
	map->records = mem_must(limit * sizeof(*map->records));
	map->arg = api_later(c, r, name);
	map->task.run = engine_map_run;
	map->task.done = volume_mapped;
	worker_task(v->worker, &map->task);
}
