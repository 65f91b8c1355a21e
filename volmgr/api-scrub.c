/* /scrub: what is being scrubbed, what the last scrubs found; start and stop. */
#include "config.h"

#include <string.h>

#include "api.h"
#include "records.h"
#include "banned.h"

static const char *const scrub_states[] = {
	[SCRUB_NEVER] = "never",
	[SCRUB_WANTED] = "waiting",
	[SCRUB_STOPPED] = "stopped",
	[SCRUB_DONE] = "done",
};

static json_t *scrub_json(const struct vol *v)
{
	const struct vol_scrub *s = &v->scrub;
	struct volume_scrub t = scrub_total(s);
	uint64_t all = t.extents + t.left;
	int percent = s->state == SCRUB_DONE ? 100 : all == 0 ? 0 : (int)(t.extents * 100 / all);

	return json_pack(
		"{s:s, s:s, s:b, s:I, s:I, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
		"volume", v->name, "state", s->running ? "running" : scrub_states[s->state],
		"checksums", s->checksums, "started", (json_int_t)s->started_s, "finished",
		(json_int_t)s->finished_s, "percent", percent, "extents", (json_int_t)t.extents,
		"stripes", (json_int_t)t.stripes, "bytes", (json_int_t)t.bytes, "skipped",
		(json_int_t)t.skipped, "bad_blocks", (json_int_t)t.bad_blocks, "misfit_blocks",
		(json_int_t)t.misfit_blocks, "repaired_blocks", (json_int_t)t.repaired_blocks,
		"unclear_rows", (json_int_t)t.unclear_rows, "lost_rows", (json_int_t)t.lost_rows);
}

void api_scrub_get(struct cluster *c, struct http_request *r, const char *name)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < c->nvols; i++)
		json_array_append_new(list, scrub_json(c->vols[i]));
	api_json(r, 200, json_pack("{s:o}", "scrubs", list));
}

void api_scrub_order(struct cluster *c, struct http_request *r, const char *name)
{
	struct api_scrub in = {.checksums = false};
	struct refusal refusal;

	if (api_parse_scrub(r->body, r->body_len, &in, &refusal) != 0 ||
	    scrub_order(c, in.volume, in.start, in.checksums, &refusal) != 0)
		api_refuse(r, &refusal);
	else
		api_scrub_get(c, r, name);
}
