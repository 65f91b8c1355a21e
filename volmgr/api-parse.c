/*
 * Bodies of API requests: hostile until checked here, whole. Unknown members are refused, so that a
 * misspelt one is not silently ignored.
 */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "recover.h"
#include "banned.h"

static int parse_refuse(struct refusal *r, const char *message)
{
	refuse(r, 400, "bad_request", "%s", message);
	refuse_hint(r, "weft-api(7) describes the API.");
	return -1;
}

static json_t *parse_object(const void *body, size_t len, struct refusal *r)
{
	json_t *o;

	if (body == NULL || len == 0) {
		parse_refuse(r, "The request has no body.");
		return NULL;
	}
	o = json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(o)) {
		json_decref(o);
		parse_refuse(r, "The body is no JSON object.");
		return NULL;
	}
	return o;
}

/* Every member's name must be in the list. */
static int parse_known(json_t *o, struct refusal *r, const char *const *known)
{
	const char *key;
	json_t *value;

	json_object_foreach(o, key, value)
	{
		const char *const *k = known;

		while (*k != NULL && strcmp(*k, key) != 0)
			k++;
		if (*k == NULL) {
			refuse(r, 400, "bad_request", "The member \"%.64s\" is not known here.",
			       key);
			refuse_hint(r, "weft-api(7) describes the API.");
			return -1;
		}
	}
	return 0;
}

/* A string that fits in out; missing: empty. */
int api_parse_text(json_t *o, const char *key, char *out, size_t max, struct refusal *r)
{
	const json_t *v = json_object_get(o, key);
	const char *s = json_string_value(v);

	out[0] = '\0';
	if (v == NULL || json_is_null(v))
		return 0;
	if (s == NULL || strlen(s) != json_string_length(v) || strlen(s) >= max) {
		refuse(r, 400, "bad_request", "\"%s\" must be a string of at most %zu bytes.", key,
		       max - 1);
		return -1;
	}
	snprintf(out, max, "%s", s);
	return 0;
}

/* A whole number from 0 to max; missing: def. */
int api_parse_uint(json_t *o, const char *key, uint64_t def, uint64_t max, uint64_t *out,
		   struct refusal *r)
{
	const json_t *v = json_object_get(o, key);

	*out = def;
	if (v == NULL || json_is_null(v))
		return 0;
	if (!json_is_integer(v) || json_integer_value(v) < 0 ||
	    (uint64_t)json_integer_value(v) > max) {
		refuse(r, 400, "bad_request", "\"%s\" must be a whole number from 0 to %llu.", key,
		       (unsigned long long)max);
		return -1;
	}
	*out = (uint64_t)json_integer_value(v);
	return 0;
}

json_t *api_parse_object(const void *body, size_t len, const char *const *known, struct refusal *r)
{
	json_t *o = parse_object(body, len, r);

	if (o != NULL && parse_known(o, r, known) != 0) {
		json_decref(o);
		return NULL;
	}
	return o;
}

int api_parse_bool(json_t *o, const char *key, bool *out, struct refusal *r)
{
	const json_t *v = json_object_get(o, key);

	if (v == NULL)
		return 0;
	if (!json_is_boolean(v)) {
		refuse(r, 400, "bad_request", "\"%s\" must be true or false.", key);
		return -1;
	}
	*out = json_is_true(v);
	return 0;
}

int api_parse_server(const void *body, size_t len, struct api_server *out, struct refusal *r)
{
	static const char *const known[] = {"address", "name", "host", NULL};
	json_t *o = parse_object(body, len, r);
	int err = -1;

	if (o == NULL)
		return -1;
	if (parse_known(o, r, known) == 0 &&
	    api_parse_text(o, "address", out->address, sizeof(out->address), r) == 0 &&
	    api_parse_text(o, "name", out->name, sizeof(out->name), r) == 0 &&
	    api_parse_text(o, "host", out->host, sizeof(out->host), r) == 0)
		err = out->address[0] != '\0' ? 0 : parse_refuse(r, "\"address\" is missing.");
	json_decref(o);
	return err;
}

/* Empty: stays as it is. */
int api_parse_server_change(const void *body, size_t len, struct api_server *out, struct refusal *r)
{
	static const char *const known[] = {"address", "host", NULL};
	json_t *o = parse_object(body, len, r);
	int err = -1;

	if (o == NULL)
		return -1;
	if (parse_known(o, r, known) == 0 &&
	    api_parse_text(o, "address", out->address, sizeof(out->address), r) == 0 &&
	    api_parse_text(o, "host", out->host, sizeof(out->host), r) == 0)
		err = out->address[0] != '\0' || out->host[0] != '\0'
			      ? 0
			      : parse_refuse(r, "There is nothing to change.");
	json_decref(o);
	return err;
}

static int parse_choice(json_t *o, const char *key, const char *no, const char *yes, bool *out,
			struct refusal *r)
{
	char text[16];

	*out = false;
	if (api_parse_text(o, key, text, sizeof(text), r) != 0)
		return -1;
	*out = strcmp(text, yes) == 0;
	if (text[0] == '\0' || *out || strcmp(text, no) == 0)
		return 0;
	refuse(r, 400, "bad_request", "\"%s\" must be %s or %s.", key, no, yes);
	return -1;
}

/* Those that are missing become the defaults. */
static int parse_settings(json_t *o, struct volume_settings *out, struct refusal *r)
{
	uint64_t min;

	if (api_parse_uint(o, "min", 0, WEFT_SHARDS_MAX, &min, r) != 0 ||
	    parse_choice(o, "below_min", "wait", "fail", &out->below_min_fail, r) != 0 ||
	    parse_choice(o, "when_full", "error", "wait", &out->when_full_wait, r) != 0)
		return -1;
	out->min = (unsigned)min;
	return 0;
}

int api_parse_volume(const void *body, size_t len, struct volume_spec *out, struct refusal *r)
{
	static const char *const known[] = {"name", "size",	 "k",	      "m", "unit",
					    "min",  "below_min", "when_full", NULL};
	json_t *o = parse_object(body, len, r);
	uint64_t k, m, unit;
	int err = -1;

	if (o == NULL)
		return -1;
	if (parse_known(o, r, known) == 0 &&
	    api_parse_text(o, "name", out->name, sizeof(out->name), r) == 0 &&
	    api_parse_uint(o, "size", 0, INT64_MAX, &out->size, r) == 0 &&
	    api_parse_uint(o, "k", K_DEFAULT, 1000, &k, r) == 0 &&
	    api_parse_uint(o, "m", M_DEFAULT, 1000, &m, r) == 0 &&
	    api_parse_uint(o, "unit", UNIT_DEFAULT, UINT32_MAX, &unit, r) == 0 &&
	    parse_settings(o, &out->settings, r) == 0) {
		out->k = (unsigned)k;
		out->m = (unsigned)m;
		out->unit = (uint32_t)unit;
		err = volume_spec_check(out, r);
	}
	json_decref(o);
	return err;
}

int api_parse_change(const void *body, size_t len, struct volume_change *out, struct refusal *r)
{
	static const char *const known[] = {"size",	 "shrink",    "min",
					    "below_min", "when_full", NULL};
	json_t *o = parse_object(body, len, r);
	int err = -1;

	memset(out, 0, sizeof(*out));
	if (o == NULL)
		return -1;
	out->has_size = json_object_get(o, "size") != NULL;
	out->has_min = json_object_get(o, "min") != NULL;
	out->has_below_min = json_object_get(o, "below_min") != NULL;
	out->has_when_full = json_object_get(o, "when_full") != NULL;
	if (parse_known(o, r, known) == 0 &&
	    api_parse_uint(o, "size", 0, INT64_MAX, &out->size, r) == 0 &&
	    api_parse_bool(o, "shrink", &out->shrink, r) == 0 &&
	    parse_settings(o, &out->settings, r) == 0)
		err = out->has_size || out->has_min || out->has_below_min || out->has_when_full
			      ? 0
			      : parse_refuse(r, "There is nothing to change.");
	json_decref(o);
	return err;
}

static int parse_addresses(const json_t *list, struct recover *out, struct refusal *r)
{
	size_t n = json_array_size(list);

	if (list != NULL && (!json_is_array(list) || n > SERVERS_MAX))
		return parse_refuse(r, "\"servers\" must be a list of addresses.");
	out->addresses = mem_must((n + 1) * sizeof(*out->addresses));
	for (size_t i = 0; i < n; i++) {
		const char *s = json_string_value(json_array_get(list, i));

		if (s == NULL || strlen(s) >= ADDR_TEXT_MAX)
			return parse_refuse(r, "\"servers\" must be a list of addresses.");
		snprintf(out->addresses[out->naddresses++], ADDR_TEXT_MAX, "%s", s);
	}
	return 0;
}

int api_parse_recover(const void *body, size_t len, struct recover *out, struct refusal *r)
{
	static const char *const known[] = {"servers", "force", "dry_run", NULL};
	json_t *o = parse_object(body, len, r);
	int err = -1;

	if (o == NULL)
		return -1;
	if (parse_known(o, r, known) == 0 && api_parse_bool(o, "force", &out->force, r) == 0 &&
	    api_parse_bool(o, "dry_run", &out->dry_run, r) == 0)
		err = parse_addresses(json_object_get(o, "servers"), out, r);
	json_decref(o);
	return err;
}

int api_parse_scrub(const void *body, size_t len, struct api_scrub *out, struct refusal *r)
{
	static const char *const known[] = {"action", "volume", "checksums", NULL};
	json_t *o = parse_object(body, len, r);
	char action[8];
	int err = -1;

	if (o == NULL)
		return -1;
	if (parse_known(o, r, known) == 0 &&
	    api_parse_text(o, "volume", out->volume, sizeof(out->volume), r) == 0 &&
	    api_parse_bool(o, "checksums", &out->checksums, r) == 0 &&
	    api_parse_text(o, "action", action, sizeof(action), r) == 0) {
		out->start = strcmp(action, "start") == 0;
		err = out->start || strcmp(action, "stop") == 0
			      ? 0
			      : parse_refuse(r, "\"action\" must be start or stop.");
	}
	json_decref(o);
	return err;
}

int api_parse_number(const char *text, uint64_t def, uint64_t *out, struct refusal *r)
{
	char *end;

	*out = def;
	if (text == NULL)
		return 0;
	errno = 0;
	*out = strtoull(text, &end, 10);
	if (errno == 0 && text[0] >= '0' && text[0] <= '9' && *end == '\0')
		return 0;
	return parse_refuse(r, "A number in the query is none.");
}
