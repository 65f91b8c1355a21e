/* POST /recover: rebuild the metadata from the servers; what was found, is doubted and is missing.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "recover.h"
#include "banned.h"

static json_t *volume_json(const struct recover_volume *v)
{
	return json_pack("{s:s, s:I, s:I, s:i, s:i, s:I, s:i, s:i, s:i}", "name", v->name, "id",
			 (json_int_t)v->id, "size", (json_int_t)v->size, "k", (int)v->k, "m",
			 (int)v->m, "extents", (json_int_t)v->nextents, "stale", (int)v->stale,
			 "missing", (int)v->missing, "lost", (int)v->lost);
}

static json_t *plan_json(const struct recover *rec)
{
	json_t *list = json_array();

	for (size_t i = 0; i < rec->plan.n; i++)
		json_array_append_new(list, volume_json(&rec->plan.volumes[i]));
	return json_pack("{s:b, s:s, s:s, s:o, s:O?, s:O?, s:O?}", "recovered", rec->done, "why",
			 rec->refusal.message, "hint", rec->refusal.hint, "volumes", list, "found",
			 rec->plan.found, "doubts", rec->plan.doubts, "missing", rec->plan.missing);
}

static void recovered(void *arg, struct recover *rec)
{
	struct http_request *r = api_call_end(arg);

	if (r != NULL && rec->refusal.status != 0 && rec->plan.found == NULL)
		api_refuse(r, &rec->refusal);
	else if (r != NULL)
		api_json(r, 200, plan_json(rec));
	recover_free(rec);
}

void api_recover(struct cluster *c, struct http_request *r, const char *name)
{
	struct recover *rec = mem_must(sizeof(*rec));
	struct refusal refusal;

	if (api_parse_recover(r->body, r->body_len, rec, &refusal) != 0) {
		api_refuse(r, &refusal);
		recover_free(rec);
		return;
	}
	rec->cb = recovered;
	rec->arg = api_later(c, r, "");
	recover_start(c, rec);
}
