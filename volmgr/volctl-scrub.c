/* Scrub: start, stop, and what it found. */
#include "config.h"

#include "volctl.h"

#include <time.h>

#include "banned.h"
#include "table.h"

static int order(const struct volctl *v, const char *action)
{
	json_t *body, *reply;
	int err;

	if (v->nargs > 0 && !volctl_name_valid("volume", v->arg[0]))
		return EXIT_USAGE;
	body = json_pack("{s:s,s:s*}", "action", action, "volume", v->nargs > 0 ? v->arg[0] : NULL);
	if (v->checksums)
		json_object_set_new(body, "checksums", json_true());
	err = volctl_call(v, "POST", body, &reply, "/scrub");
	if (err != EXIT_OK)
		return err;
	if (v->json)
		return volctl_print_json(reply);
	json_decref(reply);
	printf("Scrub of %s%s %s. See: volctl scrub status\n", v->nargs > 0 ? "volume " : "",
	       v->nargs > 0 ? v->arg[0] : "all volumes",
	       strcmp(action, "start") == 0 ? "begins" : "ends");
	return EXIT_OK;
}

int cmd_scrub_start(const struct volctl *v)
{
	return order(v, "start");
}

int cmd_scrub_stop(const struct volctl *v)
{
	return order(v, "stop");
}

static void time_cell(struct table *t, uint64_t seconds)
{
	time_t at = (time_t)seconds;
	char text[32] = "-";
	struct tm tm;

	if (seconds != 0 && localtime_r(&at, &tm) != NULL)
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M", &tm);
	table_cell(t, "%s", text);
}

static void print_scrubs(const struct volctl *v, const json_t *list)
{
	static const char *const headings[] = {"VOLUME", "STATE",    ">DONE",	 "FINISHED",
					       ">READ",	 ">BAD",     ">MISFITS", ">REPAIRED",
					       ">LOST",	 ">SKIPPED", NULL};
	struct table *t = table_create(headings);
	const json_t *s;
	size_t i;

	json_array_foreach(list, i, s)
	{
		if (v->nargs > 0 && strcmp(jstr(s, "volume"), v->arg[0]) != 0)
			continue;
		table_cell(t, "%s", jstr(s, "volume"));
		table_cell(t, "%s", jstr(s, "state"));
		table_cell(t, "%llu%%", (unsigned long long)jnum(s, "percent"));
		time_cell(t, jnum(s, "finished"));
		table_cell(t, "%s", jsize(s, "bytes"));
		table_cell(t, "%llu", (unsigned long long)jnum(s, "bad_blocks"));
		table_cell(t, "%llu", (unsigned long long)jnum(s, "misfit_blocks"));
		table_cell(t, "%llu", (unsigned long long)jnum(s, "repaired_blocks"));
		table_cell(t, "%llu", (unsigned long long)jnum(s, "lost_rows"));
		table_cell(t, "%llu", (unsigned long long)jnum(s, "skipped"));
	}
	table_print(t, stdout, 0, "No volumes yet.");
	table_destroy(t);
}

int cmd_scrub_status(const struct volctl *v)
{
	json_t *reply;
	int err = volctl_call(v, "GET", NULL, &reply, "/scrub");

	if (err != EXIT_OK)
		return err;
	if (v->json)
		return volctl_print_json(reply);
	print_scrubs(v, jlist(reply, "scrubs"));
	json_decref(reply);
	return EXIT_OK;
}
