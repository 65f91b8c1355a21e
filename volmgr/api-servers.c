/* /servers and /servers/NAME: list, add, look at, change, remove. */
#include "config.h"

#include <string.h>

#include "api.h"
#include "bpf/guard.h"
#include "moving.h"
#include "route.h"
#include "stats.h"
#include "banned.h"

/* One pass for all servers: of each there may be something on every volume. */
static void servers_count_stale(struct cluster *c)
{
	pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; i < c->nservers; i++)
		c->servers[i]->stale_shards = 0;
	for (unsigned i = 0; i < c->nvols; i++)
		for (unsigned k = 0; k < c->vols[i]->non; k++) {
			const struct rebuild_server *on = &c->vols[i]->on[k];
			struct server *s = server_by_number(c, on->server);

			if (s != NULL)
				s->stale_shards += on->stale;
		}
	pthread_mutex_unlock(&c->lock);
}

static json_t *server_guard_json(const struct weft_stat *st)
{
	static const char *const hows[] = {
		[GUARD_OFF] = "off",
		[GUARD_XDP] = "xdp",
		[GUARD_XDP_GENERIC] = "xdp, generic",
		[GUARD_TC] = "tc",
	};
	size_t how = st->guard < sizeof(hows) / sizeof(hows[0]) ? st->guard : 0;

	return json_pack("{s:s, s:b, s:I, s:I, s:I}", "how", hows[how], "closed",
			 (int)(st->guard_closed != 0), "members", (json_int_t)st->guard_members,
			 "dropped", (json_int_t)st->guard_dropped, "passed",
			 (json_int_t)st->guard_passed);
}

static json_t *server_json(struct cluster *c, void *item)
{
	const struct server *s = item;
	struct volume_server_counts n;
	uint64_t stale, rebuilt, damaged;
	const struct weft_stat *st = &s->stat;
	char store[UUID_TEXT_MAX];
	json_t *o;

	pthread_mutex_lock(&c->lock);
	n = s->counts;
	stale = s->stale_shards;
	rebuilt = s->rebuilt_shards;
	damaged = scrub_damage(s);
	pthread_mutex_unlock(&c->lock);
	o = json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "number",
		      (int)s->number, "name", s->name, "address", s->address, "host", s->host,
		      "store", uuid_format(s->store, store), "state", server_state_name(s),
		      "message", s->why, "bad_blocks", (json_int_t)n.bad_blocks, "misfit_blocks",
		      (json_int_t)n.misfit_blocks, "repaired_blocks",
		      (json_int_t)n.repaired_blocks);
	if (o != NULL)
		json_object_update_new(
			o, json_pack("{s:I, s:I, s:I, s:I, s:I}", "damaged_blocks",
				     (json_int_t)damaged, "disk_errors",
				     (json_int_t)scrub_disk_errors(s), "stale_shards",
				     (json_int_t)stale, "rebuilt_shards", (json_int_t)rebuilt,
				     "rebuilt_bytes", (json_int_t)(rebuilt * WEFT_SHARD_BYTES)));
	if (o != NULL)
		json_object_set_new(o, "version", json_string(s->version));
	if (o != NULL)
		json_object_set_new(o, "route", json_string(route_server_state(c, s)));
	if (o != NULL && s->older)
		json_object_set_new(o, "older", json_true());
	api_server_duty(o, s);
	if (o != NULL && s->watch != NULL)
		json_object_set_new(o, "rates", api_rates_json(&s->watch->rates));
	if (o == NULL || !s->stat_known)
		return o;
	json_object_update_new(
		o,
		json_pack("{s:I, s:I, s:I, s:I, s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
			  "s:I, s:I, s:I}}",
			  "size", (json_int_t)st->size_bytes, "free", (json_int_t)st->free_bytes,
			  "slots", (json_int_t)st->slots, "slots_used", (json_int_t)st->slots_used,
			  "stat", "reads", (json_int_t)st->reads, "writes", (json_int_t)st->writes,
			  "read_bytes", (json_int_t)st->read_bytes, "write_bytes",
			  (json_int_t)st->write_bytes, "flushes", (json_int_t)st->flushes,
			  "crc_errors", (json_int_t)st->crc_errors, "io_errors",
			  (json_int_t)st->io_errors, "prepared", (json_int_t)st->prepared,
			  "log_bytes", (json_int_t)st->log_bytes, "log_used_bytes",
			  (json_int_t)st->log_used_bytes, "log_durable",
			  (json_int_t)st->log_durable, "log_head", (json_int_t)st->log_head));
	json_object_set_new(o, "guard", server_guard_json(st));
	return o;
}

static void server_write(struct cluster *c, void *item, struct json_out *o)
{
	json_out_value(o, NULL, server_json(c, item));
}

static double server_size(const void *item)
{
	return (double)((const struct server *)item)->stat.size_bytes;
}

static double server_free(const void *item)
{
	return (double)((const struct server *)item)->stat.free_bytes;
}

static double server_state(const void *item)
{
	return (double)((const struct server *)item)->state;
}

static const struct api_sort server_sorts[] = {
	{"size", server_size}, {"free", server_free}, {"state", server_state}, {NULL, NULL}};

static void servers_collected(void *arg)
{
	struct api_call *call = arg;
	struct cluster *c = call->cluster;
	struct http_request *r = api_call_end(call);
	struct api_item items[SERVERS_MAX];
	struct refusal refusal;
	struct api_page page;
	unsigned n;

	if (r == NULL)
		return;
	if (api_page_parse(r, &page, &refusal) != 0) {
		api_refuse(r, &refusal);
		return;
	}
	servers_count_stale(c);
	for (n = 0; n < c->nservers; n++)
		items[n] = (struct api_item){.name = c->servers[n]->name, .item = c->servers[n]};
	n = api_page_select(&page, server_sorts, items, n);
	api_page_answer(c, r, &page, "servers", items, n, server_write);
}

void api_servers_list(struct cluster *c, struct http_request *r, const char *name)
{
	engine_collect(c, servers_collected, api_later(c, r, ""));
}

static void server_unknown(struct http_request *r, const char *name)
{
	struct refusal refusal;

	refuse_unknown(&refusal, "server", name);
	api_refuse(r, &refusal);
}

static void server_collected(void *arg)
{
	struct api_call *call = arg, copy = *call;
	struct http_request *r = api_call_end(call);
	struct server *s = server_by_name(copy.cluster, copy.name);

	if (r == NULL)
		return;
	servers_count_stale(copy.cluster);
	if (s == NULL)
		server_unknown(r, copy.name);
	else
		api_json(r, 200, server_json(copy.cluster, s));
}

void api_server_get(struct cluster *c, struct http_request *r, const char *name)
{
	if (server_by_name(c, name) == NULL)
		server_unknown(r, name);
	else
		engine_collect(c, server_collected, api_later(c, r, name));
}

static void server_added(void *arg, const struct refusal *refusal, struct server *s)
{
	struct api_call *call = arg;
	struct cluster *c = call->cluster;
	struct http_request *r = api_call_end(call);

	if (r == NULL)
		return;
	if (refusal != NULL)
		api_refuse(r, refusal);
	else
		api_json(r, 201, server_json(c, s));
}

void api_server_add(struct cluster *c, struct http_request *r, const char *name)
{
	struct api_server in;
	struct refusal refusal;

	if (api_parse_server(r->body, r->body_len, &in, &refusal) != 0) {
		api_refuse(r, &refusal);
		return;
	}
	servers_add(c, in.address, in.name[0] != '\0' ? in.name : NULL,
		    in.host[0] != '\0' ? in.host : NULL, server_added, api_later(c, r, in.name));
}

static void server_changed(void *arg, const struct refusal *refusal, struct server *s)
{
	struct api_call *call = arg;
	struct cluster *c = call->cluster;
	struct http_request *r = api_call_end(call);

	if (refusal == NULL)
		events_note(c, r != NULL ? r->who : "", "server.changed", s->name, "%s, %s",
			    s->address, s->host);
	if (r == NULL)
		return;
	if (refusal != NULL)
		api_refuse(r, refusal);
	else
		api_json(r, 200, server_json(c, s));
}

void api_server_change(struct cluster *c, struct http_request *r, const char *name)
{
	struct api_server in;
	struct refusal refusal;

	if (api_parse_server_change(r->body, r->body_len, &in, &refusal) != 0)
		api_refuse(r, &refusal);
	else
		server_change(c, name, in.address, in.host, server_changed, api_later(c, r, name));
}

/* ?lost=1: it never comes back; then its shards are made anew first. */
void api_server_remove(struct cluster *c, struct http_request *r, const char *name)
{
	const char *lost = http_query(r, "lost");
	const struct server *s = server_by_name(c, name);
	bool begun, known = s != NULL && s->duty == DUTY_LOST;
	struct refusal refusal;

	if (duty_remove(c, name, lost != NULL && strcmp(lost, "1") == 0, &begun, &refusal) != 0) {
		api_refuse(r, &refusal);
	} else if (begun) {
		r->route = NULL; /* it is removed later, and that is noted then */
		if (!known)
			events_note(c, r->who, "server.lost", name, "%s", "");
		api_json(r, 202, server_json(c, server_by_name(c, name)));
	} else {
		api_json(r, 200, json_pack("{s:s}", "removed", name));
	}
}
