/* /volumes, /volumes/NAME and /volumes/NAME/map: list, create, look at, resize, delete. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "stripe/plan.h"
#include "stats.h"
#include "banned.h"

#define MAP_PAGE_DEFAULT 100

static void stat_write(const struct volume_stat *st, struct json_out *o)
{
	json_out_begin(o, "stat", '{');
	json_out_int(o, "hedged_reads", (int64_t)st->hedged_reads);
	json_out_int(o, "reads", (int64_t)st->reads);
	json_out_int(o, "writes", (int64_t)st->writes);
	json_out_int(o, "flushes", (int64_t)st->flushes);
	json_out_int(o, "trims", (int64_t)st->trims);
	json_out_int(o, "read_bytes", (int64_t)st->read_bytes);
	json_out_int(o, "write_bytes", (int64_t)st->write_bytes);
	json_out_int(o, "tx_full", (int64_t)st->tx_full);
	json_out_int(o, "tx_delta", (int64_t)st->tx_delta);
	json_out_int(o, "tx_rebuild", (int64_t)st->tx_rebuild);
	json_out_int(o, "tx_zero", (int64_t)st->tx_zero);
	json_out_int(o, "merged", (int64_t)st->merged);
	json_out_int(o, "degraded_reads", (int64_t)st->degraded_reads);
	json_out_int(o, "crc_errors", (int64_t)st->crc_errors);
	json_out_int(o, "unflushed_bytes", (int64_t)st->unflushed_bytes);
	json_out_int(o, "waiting", (int64_t)st->waiting);
	json_out_int(o, "inflight", (int64_t)st->inflight);
	json_out_end(o, '}');
}

/* What does not change while it runs, and what people set. */
static void settings_write(const struct vol *v, struct json_out *o)
{
	const struct volume_settings *s = &v->settings;

	json_out_int(o, "k", v->k);
	json_out_int(o, "m", v->m);
	json_out_int(o, "unit", v->unit);
	json_out_text(o, "code", ec_code_name(v->code));
	json_out_int(o, "min", s->min != 0 ? s->min : plan_min_good(v->k, v->m));
	json_out_text(o, "below_min", s->below_min_fail ? "fail" : "wait");
	json_out_text(o, "when_full", s->when_full_wait ? "wait" : "error");
	json_out_int(o, "epoch", v->epoch);
	json_out_int(o, "thread", v->worker != NULL ? (int)v->worker->index : -1);
}

/* Its members but for the brackets: some answers say more. */
static void volume_members(struct vol *v, struct json_out *o)
{
	int spare = volume_spare_now(v);
	uint64_t used;

	json_out_int(o, "id", (int64_t)v->id);
	json_out_text(o, "name", v->name);
	pthread_mutex_lock(&v->cluster->lock);
	settings_write(v, o);
	used = v->stat.extents * v->k * WEFT_SHARD_BYTES; /* thin: whole extents, written to */
	json_out_text(o, "state", vol_state_name(v->fenced ? VOL_FAILED : v->state));
	json_out_text(o, "message", vol_why(v));
	json_out_int(o, "size", (int64_t)v->size);
	json_out_int(o, "used", (int64_t)(used > v->size ? v->size : used));
	json_out_int(o, "spare", spare);
	json_out_int(o, "extents", (int64_t)v->stat.extents);
	json_out_int(o, "clients", v->clients);
	stat_write(&v->stat, o);
	api_rebuild_write(&v->rebuild, "rebuild", o);
	json_out_begin(o, "routed", '{');
	json_out_int(o, "reads", (int64_t)v->routed.count);
	json_out_int(o, "bytes", (int64_t)v->routed.bytes);
	json_out_int(o, "steered", (int64_t)v->steered);
	json_out_end(o, '}');
	pthread_mutex_unlock(&v->cluster->lock);
	if (v->watch != NULL)
		api_rates_write(&v->watch->rates, "rates", o);
}

static void volume_write(struct cluster *c, void *item, struct json_out *o)
{
	json_out_begin(o, NULL, '{');
	volume_members(item, o);
	json_out_end(o, '}');
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
	struct json_out o = {.at = NULL};

	if (v == NULL) {
		volume_unknown(r, name);
		return;
	}
	device = api_attached_device(name);
	json_out_begin(&o, NULL, '{');
	volume_members(v, &o);
	if (device != NULL)
		json_out_text(&o, "attached", device);
	json_out_end(&o, '}');
	api_json(r, status, json_out_parse(&o));
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

/* How much somebody should look at it: one that is ready may miss servers all the same. */
static double volume_state(const void *item)
{
	struct vol *v = (struct vol *)item;
	int spare = volume_spare_now(v);
	enum vol_state state;
	bool rebuilds;

	pthread_mutex_lock(&v->cluster->lock);
	state = v->fenced ? VOL_FAILED : v->state;
	rebuilds = v->rebuild.shards > 0;
	pthread_mutex_unlock(&v->cluster->lock);
	if (state == VOL_FAILED)
		return 4;
	if (state != VOL_READY)
		return state == VOL_DELETING ? 0.5 : 2;
	if (spare < 0)
		return 3;
	return spare < (int)v->m || rebuilds ? 2 - (1.0 + spare) / (2.0 + v->m) : 0;
}

static const struct api_sort volume_sorts[] = {
	{"size", volume_size},	 {"used", volume_used}, {"busy", volume_busy},
	{"state", volume_state}, {NULL, NULL},
};

/* Those that are asked for now: from, and how many, of total. -1 with a refusal. */
static int volumes_select(struct cluster *c, const struct http_request *r, struct api_page *page,
			  struct api_item *items, unsigned *total, struct refusal *refusal)
{
	if (api_page_parse(r, page, refusal) != 0)
		return -1;
	for (unsigned i = 0; i < c->nvols; i++)
		items[i] = (struct api_item){.name = c->vols[i]->name, .item = c->vols[i]};
	*total = api_page_select(page, volume_sorts, items, c->nvols);
	return 0;
}

/* Selected once more: meanwhile volumes may have come and gone. */
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
	if (volumes_select(c, r, &page, items, &n, &refusal) != 0)
		api_refuse(r, &refusal);
	else
		api_page_answer(c, r, &page, "volumes", items, n, volume_write);
}

/* Sorting goes by what was known at the last step; what is shown is of this moment. */
void api_volumes_list(struct cluster *c, struct http_request *r, const char *name)
{
	static struct api_item items[VOLUMES_MAX];
	static struct vol *vols[VOLUMES_MAX];
	struct refusal refusal;
	struct api_page page;
	unsigned n, shown = 0;

	if (volumes_select(c, r, &page, items, &n, &refusal) != 0) {
		api_refuse(r, &refusal);
		return;
	}
	for (uint64_t i = page.offset; i < n && shown < page.limit; i++)
		vols[shown++] = items[i].item;
	engine_collect_some(c, vols, shown, volumes_collected, api_later(c, r, ""));
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
	struct vol *v = volume_by_name(c, name);

	if (v == NULL)
		volume_unknown(r, name);
	else
		engine_collect_some(c, &v, 1, volume_collected, api_later(c, r, name));
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
