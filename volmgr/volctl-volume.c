/* Volumes: make, list, show, resize, delete, map. Attaching is in attach.c. */
#include "config.h"

#include "volctl.h"

#include <string.h>
#include <unistd.h>

#include "attach.h"
#include "banned.h"
#include "conf.h"
#include "nbd/weft.h"
#include "size.h"
#include "table.h"

#define EC_DEFAULT_K  4
#define EC_DEFAULT_M  2
#define EC_NUMBER_MAX 99 /* volmgr knows the real limits and says them */
#define MAP_PAGE      1000
#define MAP_PAGES_MAX 100000
#define ANSWER_MAX    128

static bool parse_size(const char *option, const char *text, uint64_t *bytes)
{
	const char *why;

	if (size_parse(text, bytes, &why) == 0 && *bytes <= INT64_MAX)
		return true;
	volctl_error(NULL, "cannot use %s %s: %s", option, text, why);
	return false;
}

/* "4+2" */
static bool parse_ec(const char *text, uint64_t *k, uint64_t *m)
{
	const char *plus = strchr(text, '+');
	char left[8];

	if (plus != NULL && (size_t)(plus - text) < sizeof(left)) {
		snprintf(left, sizeof(left), "%.*s", (int)(plus - text), text);
		if (conf_number(left, 0, EC_NUMBER_MAX, k) == 0 &&
		    conf_number(plus + 1, 0, EC_NUMBER_MAX, m) == 0)
			return true;
	}
	volctl_error("write K+M: 4+2 has 4 data and 2 parity shards and survives the loss of 2 "
		     "servers",
		     "cannot use --ec %s", text);
	return false;
}

/* A setting that is one of two words. */
static bool add_word(json_t *body, const char *key, const char *option, const char *word,
		     const char *one, const char *other)
{
	if (word == NULL)
		return true;
	if (strcmp(word, one) != 0 && strcmp(word, other) != 0) {
		volctl_error(NULL, "%s is %s or %s, not %s", option, one, other, word);
		return false;
	}
	json_object_set_new(body, key, json_string(word));
	return true;
}

/* Members for the settings that were given. */
static bool add_settings(const struct volctl *v, json_t *body)
{
	uint64_t min;

	if (v->min != NULL) {
		if (conf_number(v->min, 1, EC_NUMBER_MAX, &min) != 0) {
			volctl_error(NULL, "--min %s is no number of shards", v->min);
			return false;
		}
		json_object_set_new(body, "min", json_integer((json_int_t)min));
	}
	return add_word(body, "below_min", "--below-min", v->below_min, "wait", "fail") &&
	       add_word(body, "when_full", "--when-full", v->when_full, "wait", "error");
}

int cmd_volume_set(const struct volctl *v)
{
	json_t *body, *reply;
	int err;

	if (!volctl_name_valid("volume", v->arg[0]))
		return EXIT_USAGE;
	body = json_object();
	if (!add_settings(v, body)) {
		json_decref(body);
		return EXIT_USAGE;
	}
	if (json_object_size(body) == 0) {
		volctl_error("--min, --below-min or --when-full", "there is nothing to set");
		json_decref(body);
		return EXIT_USAGE;
	}
	err = volctl_call(v, "PATCH", body, &reply, "/volumes/%s", v->arg[0]);
	if (err != EXIT_OK)
		return err;
	if (v->json)
		return volctl_print_json(reply);
	printf("Volume %s: a write needs %u good shards (below: %s); when servers are full: %s.\n",
	       v->arg[0], (unsigned)jnum(reply, "min"), jstr(reply, "below_min"),
	       jstr(reply, "when_full"));
	json_decref(reply);
	return EXIT_OK;
}

int cmd_volume_create(const struct volctl *v)
{
	uint64_t size, unit = 0, k = EC_DEFAULT_K, m = EC_DEFAULT_M;
	json_t *body, *reply;
	int err;

	if (v->size == NULL) {
		volctl_error("for example --size 10G; space is taken only when it is written",
			     "a volume needs a size");
		return EXIT_USAGE;
	}
	if (!volctl_name_valid("volume", v->arg[0]) || !parse_size("--size", v->size, &size) ||
	    (v->unit != NULL && !parse_size("--unit", v->unit, &unit)) ||
	    (v->ec != NULL && !parse_ec(v->ec, &k, &m)))
		return EXIT_USAGE;
	body = json_pack("{s:s,s:I,s:I,s:I}", "name", v->arg[0], "size", (json_int_t)size, "k",
			 (json_int_t)k, "m", (json_int_t)m);
	if (v->unit != NULL)
		json_object_set_new(body, "unit", json_integer((json_int_t)unit));
	if (!add_settings(v, body)) {
		json_decref(body);
		return EXIT_USAGE;
	}
	err = volctl_call(v, "POST", body, &reply, "/volumes");
	if (err != EXIT_OK)
		return err;
	if (v->json)
		return volctl_print_json(reply);
	printf("Volume %s of %s made: %u+%u shards, stripe unit %s.\n"
	       "Make it a block device: volctl volume attach %s\n",
	       v->arg[0], jsize(reply, "size"), (unsigned)jnum(reply, "k"),
	       (unsigned)jnum(reply, "m"), jsize(reply, "unit"), v->arg[0]);
	json_decref(reply);
	return EXIT_OK;
}

/* "clients" is their number, or a list of them. */
static unsigned client_count(const json_t *volume)
{
	const json_t *c = json_object_get(volume, "clients");

	return json_is_array(c) ? (unsigned)json_array_size(c) : (unsigned)jnum(volume, "clients");
}

void volume_table_print(const json_t *volumes)
{
	static const char *const headings[] = {"NAME", "STATE", ">SIZE",    ">USED",	">",
					       "EC",   ">UNIT", ">CLIENTS", "ATTACHED", NULL};
	struct table *t = table_create(headings);
	const json_t *vol;
	size_t i;

	json_array_foreach(volumes, i, vol)
	{
		uint64_t size = jnum(vol, "size");
		const char *device = attach_device_of(jstr(vol, "name"));

		table_cell(t, "%s", jstr(vol, "name"));
		table_cell(t, "%s", jstr(vol, "state"));
		table_cell(t, "%s", jsize(vol, "size"));
		table_cell(t, "%s", jsize(vol, "used"));
		table_cell(t, "%.0f%%",
			   size > 0 ? (double)jnum(vol, "used") * 100 / (double)size : 0.0);
		table_cell(t, "%u+%u", (unsigned)jnum(vol, "k"), (unsigned)jnum(vol, "m"));
		table_cell(t, "%s", jsize(vol, "unit"));
		table_cell(t, "%u", client_count(vol));
		table_cell(t, "%s", device != NULL ? device : "-");
	}
	table_print(t, stdout, 2, "No volumes yet: volctl volume create NAME --size SIZE");
	table_destroy(t);
}

int cmd_volume_list(const struct volctl *v)
{
	json_t *reply;
	int err = volctl_call(v, "GET", NULL, &reply, "/volumes");

	if (err != EXIT_OK)
		return err;
	if (v->json)
		return volctl_print_json(reply);
	volume_table_print(jlist(reply, "volumes"));
	json_decref(reply);
	return EXIT_OK;
}

/* Counters, as volmgr names them: those that are not zero. */
static void print_counters(const json_t *counters)
{
	const char *key;
	const json_t *value;

	json_object_foreach((json_t *)counters, key, value)
	{
		if (json_integer_value(value) == 0)
			continue;
		if (strstr(key, "bytes") != NULL)
			printf("  %-14s %s\n", key, jsize(counters, key));
		else
			printf("  %-14s %" JSON_INTEGER_FORMAT "\n", key,
			       json_integer_value(value));
	}
}

/* What it can lose, and how much of that is left. */
static void print_shards(const json_t *vol)
{
	unsigned m = (unsigned)jnum(vol, "m");
	json_int_t spare = json_integer_value(json_object_get(vol, "spare"));

	printf("  shards         %u data + %u parity: survives the loss of %u server%s\n",
	       (unsigned)jnum(vol, "k"), m, m, m == 1 ? "" : "s");
	if (spare < 0)
		printf("  now            parts of it cannot be read\n");
	else if (spare < (json_int_t)m)
		printf("  now            %u more may be lost\n", (unsigned)spare);
}

int cmd_volume_show(const struct volctl *v)
{
	const char *device;
	json_t *vol, *counters;
	int err;

	if (!volctl_name_valid("volume", v->arg[0]))
		return EXIT_USAGE;
	err = volctl_call(v, "GET", NULL, &vol, "/volumes/%s", v->arg[0]);
	if (err != EXIT_OK)
		return err;
	if (v->json)
		return volctl_print_json(vol);
	device = attach_device_of(v->arg[0]);
	printf("Volume %s (number %llu)\n", jstr(vol, "name"), (unsigned long long)jnum(vol, "id"));
	printf("  state          %s%s%s\n", jstr(vol, "state"),
	       *jstr(vol, "message") != '\0' ? ": " : "", jstr(vol, "message"));
	printf("  size           %s (%llu bytes), %s used in %llu extents\n", jsize(vol, "size"),
	       (unsigned long long)jnum(vol, "size"), jsize(vol, "used"),
	       (unsigned long long)jnum(vol, "extents"));
	print_shards(vol);
	printf("  unit           %s, code %s\n", jsize(vol, "unit"), jstr(vol, "code"));
	printf("  writes         need %u good shards, below that they %s; when servers are full: "
	       "%s\n",
	       (unsigned)jnum(vol, "min"), jstr(vol, "below_min"), jstr(vol, "when_full"));
	printf("  clients        %u\n", client_count(vol));
	printf("  attached here  %s\n", device != NULL ? device : "no");
	counters = json_object_get(vol, "stat");
	if (json_is_object(counters)) {
		printf("Since it was opened\n");
		print_counters(counters);
	}
	json_decref(vol);
	return EXIT_OK;
}

int cmd_volume_resize(const struct volctl *v)
{
	uint64_t size;
	json_t *body, *reply;
	int err;

	if (!volctl_name_valid("volume", v->arg[0]) || !parse_size("the size", v->arg[1], &size))
		return EXIT_USAGE;
	body = json_pack("{s:I}", "size", (json_int_t)size);
	if (v->shrink)
		json_object_set_new(body, "shrink", json_true());
	err = volctl_call(v, "PATCH", body, &reply, "/volumes/%s", v->arg[0]);
	if (err != EXIT_OK)
		return err;
	if (v->json) {
		volctl_print_json(reply);
	} else {
		printf("Volume %s is now %s.\n", v->arg[0], jsize(reply, "size"));
		json_decref(reply);
	}
	attach_resized(v->arg[0], size);
	return EXIT_OK;
}

/* The name, typed again. */
static bool confirmed(const struct volctl *v)
{
	char answer[ANSWER_MAX];
	json_t *vol;

	if (v->yes)
		return true;
	if (!isatty(STDIN_FILENO)) {
		volctl_error("add --yes to delete without being asked",
			     "volume %s was not deleted: there is no terminal to ask on",
			     v->arg[0]);
		return false;
	}
	vol = volctl_ask(v, "/volumes/%s", v->arg[0]);
	fprintf(stderr,
		"Volume %s (%s used) and everything on it will be gone for good.\n"
		"Type its name to go on: ",
		v->arg[0], jsize(vol, "used"));
	json_decref(vol);
	if (fgets(answer, sizeof(answer), stdin) == NULL)
		answer[0] = '\0';
	answer[strcspn(answer, "\n")] = '\0';
	if (strcmp(answer, v->arg[0]) == 0)
		return true;
	volctl_error(NULL, "volume %s was not deleted", v->arg[0]);
	return false;
}

int cmd_volume_delete(const struct volctl *v)
{
	const char *device;
	json_t *reply;
	int err;

	if (!volctl_name_valid("volume", v->arg[0]))
		return EXIT_USAGE;
	device = attach_device_of(v->arg[0]);
	if (device != NULL) {
		volctl_error("first: volctl volume detach NAME", "volume %s is attached here as %s",
			     v->arg[0], device);
		return EXIT_REFUSED;
	}
	if (!confirmed(v))
		return EXIT_USAGE;
	err = volctl_call(v, "DELETE", NULL, &reply, "/volumes/%s", v->arg[0]);
	if (err != EXIT_OK)
		return err;
	if (v->json)
		return volctl_print_json(reply);
	printf("Volume %s deleted.\n", v->arg[0]);
	json_decref(reply);
	return EXIT_OK;
}

/* All pages of the map as one list; *extents is a new reference. */
static int fetch_map(const struct volctl *v, json_t **extents)
{
	uint64_t from = 0;

	*extents = json_array();
	for (int page = 0; page < MAP_PAGES_MAX; page++) {
		json_t *reply, *list;
		int err = volctl_call(v, "GET", NULL, &reply, "/volumes/%s/map?from=%llu&limit=%d",
				      v->arg[0], (unsigned long long)from, MAP_PAGE);

		if (err != EXIT_OK) {
			json_decref(*extents);
			return err;
		}
		list = jlist(reply, "extents");
		json_array_extend(*extents, list);
		if (json_array_size(list) == 0 ||
		    !json_is_integer(json_object_get(reply, "next"))) {
			json_decref(reply);
			break;
		}
		from = jnum(reply, "next");
		json_decref(reply);
	}
	return EXIT_OK;
}

/* "server-1 server-2! | server-3": data, then parity; "!" where the shard is stale. */
static void shards_text(const json_t *extent, unsigned k, char *buf, size_t len)
{
	const json_t *shards = json_object_get(extent, "shards"), *s;
	size_t i, n = 0;

	*buf = '\0';
	json_array_foreach(shards, i, s)
	{
		const char *gap = i == 0 ? "" : i == k ? " | " : " ";

		if (n >= len)
			break;
		n += (size_t)snprintf(buf + n, len - n, "%s%s%s", gap, jstr(s, "server"),
				      json_is_true(json_object_get(s, "stale")) ? "!" : "");
	}
}

static void print_map(const json_t *extents, unsigned k, uint64_t extent_bytes)
{
	static const char *const headings[] = {">EXTENT", ">FROM", "DATA SHARDS | PARITY SHARDS",
					       NULL};
	struct table *t = table_create(headings);
	const json_t *e;
	size_t i;

	json_array_foreach(extents, i, e)
	{
		char text[512], from[SIZE_TEXT_MAX];
		uint64_t number = jnum(e, "extent");

		shards_text(e, k, text, sizeof(text));
		table_cell(t, "%llu", (unsigned long long)number);
		table_cell(t, "%s", size_format(number * extent_bytes, from));
		table_cell(t, "%s", text);
	}
	table_print(t, stdout, 2, "Nothing was written yet: no server holds a shard.");
	table_destroy(t);
}

int cmd_volume_map(const struct volctl *v)
{
	json_t *vol, *extents;
	uint64_t k;
	int err;

	if (!volctl_name_valid("volume", v->arg[0]))
		return EXIT_USAGE;
	err = volctl_call(v, "GET", NULL, &vol, "/volumes/%s", v->arg[0]);
	if (err != EXIT_OK)
		return err;
	k = jnum(vol, "k");
	err = fetch_map(v, &extents);
	if (err == EXIT_OK && v->json) {
		err = volctl_print_json(json_pack("{s:o}", "extents", extents));
	} else if (err == EXIT_OK) {
		printf("Volume %s: extents of %u shards of %u MiB; \"!\" marks a shard that misses "
		       "writes.\n",
		       v->arg[0], (unsigned)(k + jnum(vol, "m")), WEFT_SHARD_BYTES >> 20);
		print_map(extents, (unsigned)k, k * WEFT_SHARD_BYTES);
		json_decref(extents);
	}
	json_decref(vol);
	return err;
}
