/* POST /check: compare metadata and servers. */
#include "config.h"

#include "api.h"
#include "check.h"
#include "banned.h"

static void checked(void *arg, struct check_result *res)
{
	struct http_request *r = api_call_end(arg);

	if (r != NULL)
		api_json(r, 200,
			 json_pack("{s:b, s:O, s:O, s:I, s:I, s:I}", "agree",
				   json_array_size(res->problems) == 0, "problems", res->problems,
				   "notes", res->notes, "extents", (json_int_t)res->extents,
				   "shards", (json_int_t)res->shards, "slots",
				   (json_int_t)res->slots));
	check_result_free(res);
}

void api_check(struct cluster *c, struct http_request *r, const char *name)
{
	check_start(c, checked, api_later(c, r, ""));
}
