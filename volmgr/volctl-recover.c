/* recover: the metadata of a volmgr that has lost it. */
#include "config.h"

#include "volctl.h"

#include "banned.h"

static void print_list(const char *heading, const json_t *list)
{
	const json_t *text;
	size_t i;

	if (json_array_size(list) == 0)
		return;
	printf("%s\n", heading);
	json_array_foreach(list, i, text) printf("  %s\n", json_string_value(text));
}

/* What would it come to? Also when nothing is missing, but somebody should look before. */
static int dry_run_result(const json_t *reply)
{
	bool all = json_array_size(json_object_get(reply, "doubts")) == 0 &&
		   json_array_size(json_object_get(reply, "missing")) == 0 &&
		   *jstr(reply, "why") == '\0';

	return all ? EXIT_OK : EXIT_DOUBTS;
}

int cmd_recover(const struct volctl *v)
{
	json_t *body = json_object(), *list = json_array(), *reply;
	bool recovered;
	int err, result;

	for (int i = 0; i < v->nargs; i++)
		json_array_append_new(list, json_string(v->arg[i]));
	json_object_set_new(body, "servers", list);
	json_object_set_new(body, "force", json_boolean(v->force));
	json_object_set_new(body, "dry_run", json_boolean(v->dry_run));
	err = volctl_call(v, "POST", body, &reply, "/recover");
	if (err != EXIT_OK)
		return err;
	recovered = json_is_true(json_object_get(reply, "recovered"));
	result = recovered ? EXIT_OK : v->dry_run ? dry_run_result(reply) : EXIT_REFUSED;
	if (v->json) {
		volctl_print_json(reply);
		return result;
	}
	print_list("Found", json_object_get(reply, "found"));
	print_list("In doubt", json_object_get(reply, "doubts"));
	print_list("Missing", json_object_get(reply, "missing"));
	if (recovered)
		printf("%zu volumes recovered. A scrub looks through them now: volctl scrub "
		       "status\n",
		       json_array_size(json_object_get(reply, "volumes")));
	else if (*jstr(reply, "why") != '\0')
		volctl_error(jstr(reply, "hint"), "%s", jstr(reply, "why"));
	else
		puts("This was a dry run: nothing was written.");
	json_decref(reply);
	return result;
}
