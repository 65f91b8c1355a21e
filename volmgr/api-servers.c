/* /servers and /servers/NAME: list, add, look at, remove. */
#include "config.h"

#include <string.h>

#include "api.h"
#include "banned.h"

static json_t *server_json(struct cluster *c, const struct server *s)
{
	struct volume_server_counts n;
	const struct weft_stat *st = &s->stat;
	char store[UUID_TEXT_MAX];
	json_t *o;

	pthread_mutex_lock(&c->lock);
	n = s->counts;
	pthread_mutex_unlock(&c->lock);
	o = json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "number",
		      (int)s->number, "name", s->name, "address", s->address, "host", s->host,
		      "store", uuid_format(s->store, store), "state", server_state_name(s),
		      "message", s->why, "bad_blocks", (json_int_t)n.bad_blocks, "misfit_blocks",
		      (json_int_t)n.misfit_blocks, "repaired_blocks",
		      (json_int_t)n.repaired_blocks);
	if (o == NULL || !s->stat_known)
		return o;
	json_object_update_new(
		o,
		json_pack("{s:I, s:I, s:I, s:I, s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
			  "s:I}}",
			  "size", (json_int_t)st->size_bytes, "free", (json_int_t)st->free_bytes,
			  "slots", (json_int_t)st->slots, "slots_used", (json_int_t)st->slots_used,
			  "stat", "reads", (json_int_t)st->reads, "writes", (json_int_t)st->writes,
			  "read_bytes", (json_int_t)st->read_bytes, "write_bytes",
			  (json_int_t)st->write_bytes, "flushes", (json_int_t)st->flushes,
			  "crc_errors", (json_int_t)st->crc_errors, "io_errors",
			  (json_int_t)st->io_errors, "prepared", (json_int_t)st->prepared,
			  "log_bytes", (json_int_t)st->log_bytes, "log_used_bytes",
			  (json_int_t)st->log_used_bytes));
	return o;
}

static void servers_collected(void *arg)
{
	struct api_call *call = arg;
	struct cluster *c = call->cluster;
	struct http_request *r = api_call_end(call);
	json_t *list;

	if (r == NULL)
		return;
	list = json_array();
	for (unsigned i = 0; i < c->nservers; i++)
		json_array_append_new(list, server_json(c, c->servers[i]));
	api_json(r, 200, json_pack("{s:o}", "servers", list));
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
	const struct server *s = server_by_name(copy.cluster, copy.name);

	if (r == NULL)
		return;
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

void api_server_remove(struct cluster *c, struct http_request *r, const char *name)
{
	struct refusal refusal;

	if (servers_remove(c, name, &refusal) != 0)
		api_refuse(r, &refusal);
	else
		api_json(r, 200, json_pack("{s:s}", "removed", name));
}
