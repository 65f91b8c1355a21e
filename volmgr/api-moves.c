/* /servers/NAME/drain, /servers/NAME/replace, /moves, and what /status says of them.
 */
#include "config.h"

#include <string.h>

#include "api.h"
#include "moving.h"
#include "banned.h"

static const char *const whys[] = {
	[MOVES_LOST] = "lost",
	[MOVES_DRAIN] = "drain",
	[MOVES_BALANCE] = "balance",
};

/* ---- orders -------------------------------------------------------------------------------- */

static void duty_answer(struct cluster *c, struct http_request *r, const char *name)
{
	const struct server *s = server_by_name(c, name);
	json_t *o = json_pack("{s:s}", "name", name);

	if (o != NULL && s != NULL)
		api_server_duty(o, s);
	api_json(r, 202, o);
}

void api_server_drain(struct cluster *c, struct http_request *r, const char *name)
{
	static const char *const known[] = {"stop", NULL};
	struct refusal refusal;
	bool stop = false;
	json_t *o = NULL;
	int err = 0;

	if (r->body_len > 0) {
		o = api_parse_object(r->body, r->body_len, known, &refusal);
		err = o == NULL ? -1 : api_parse_bool(o, "stop", &stop, &refusal);
	}
	json_decref(o);
	if (err != 0 || duty_drain(c, name, stop, &refusal) != 0)
		api_refuse(r, &refusal);
	else
		duty_answer(c, r, name);
}

void api_server_replace(struct cluster *c, struct http_request *r, const char *name)
{
	static const char *const known[] = {"by", NULL};
	char by[NAME_MAX_BYTES + 1] = "";
	struct refusal refusal;
	json_t *o = api_parse_object(r->body, r->body_len, known, &refusal);
	int err = o == NULL ? -1 : api_parse_text(o, "by", by, sizeof(by), &refusal);

	json_decref(o);
	if (err != 0 || duty_replace(c, name, by, &refusal) != 0)
		api_refuse(r, &refusal);
	else
		duty_answer(c, r, name);
}

/* ---- status -------------------------------------------------------------------------------- */

static json_int_t bytes_of(uint64_t shards)
{
	return (json_int_t)(shards * WEFT_SHARD_BYTES);
}

void api_server_duty(json_t *o, const struct server *s)
{
	uint64_t gone = s->shards_0 > s->shards ? s->shards_0 - s->shards : 0;

	json_object_set_new(o, "duty", json_string(duty_name(s)));
	if (!s->counted)
		return;
	json_object_set_new(o, "shards", json_integer((json_int_t)s->shards));
	if (s->duty != DUTY_STAY || s->replaced)
		json_object_set_new(o, "progress",
				    json_pack("{s:I, s:I}", "done_bytes", bytes_of(gone),
					      "total_bytes", bytes_of(s->shards_0)));
}

json_t *api_moves_json(void)
{
	struct moving_state state;
	const char *hint;
	char why[256];
	uint64_t left;

	moving_get(&state);
	moving_blocked(&state, why, sizeof(why), &hint);
	left = state.left * WEFT_SHARD_BYTES;
	return json_pack("{s:I, s:I, s:i, s:I, s:b, s:I, s:I, s:I, s:I, s:s, s:s}", "shards",
			 (json_int_t)state.wanted, "bytes", bytes_of(state.wanted), "running",
			 (int)state.running, "moved", (json_int_t)state.moved, "balancing",
			 state.balancing, "done", bytes_of(state.left > 0 ? state.done : 0),
			 "total", bytes_of(state.left > 0 ? state.done + state.left : 0), "rate",
			 (json_int_t)state.rate, "seconds_left",
			 (json_int_t)(state.rate > 0 && left > 0 ? left / state.rate + 1 : 0),
			 "blocked", why, "hint", hint);
}

static json_t *job_json(struct cluster *c, const struct moving_job *j)
{
	const struct server *from = server_by_number(c, j->pick.from);
	const struct server *to = server_by_number(c, j->pick.to);
	const char *volume = "";

	for (unsigned i = 0; i < c->nvols; i++)
		if (c->vols[i]->id == j->pick.volume)
			volume = c->vols[i]->name;
	return json_pack("{s:s, s:I, s:i, s:s, s:s, s:s, s:s}", "volume", volume, "extent",
			 (json_int_t)j->pick.extent, "shard", (int)j->pick.shard, "from",
			 from != NULL ? from->name : "", "to", to != NULL ? to->name : "", "why",
			 whys[j->pick.why], "how", j->pick.good ? "copy" : "rebuild");
}

void api_moves_list(struct cluster *c, struct http_request *r, const char *name)
{
	const struct moving_job *jobs = moving_jobs();
	json_t *list = json_array(), *o = api_moves_json();

	for (unsigned i = 0; i < MOVING_JOBS_MAX; i++)
		if (jobs[i].step == MOVING_ASKED || jobs[i].step == MOVING_REBUILD)
			json_array_append_new(list, job_json(c, &jobs[i]));
	if (o != NULL)
		json_object_set_new(o, "moves", list);
	else
		json_decref(list);
	api_json(r, 200, o);
}
