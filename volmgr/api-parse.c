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

int api_parse_volume(const void *body, size_t len, struct volume_spec *out, struct refusal *r)
{
	static const char *const known[] = {"name", "size", "k", "m", "unit", NULL};
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
	    api_parse_uint(o, "unit", UNIT_DEFAULT, UINT32_MAX, &unit, r) == 0) {
		out->k = (unsigned)k;
		out->m = (unsigned)m;
		out->unit = (uint32_t)unit;
		err = volume_spec_check(out, r);
	}
	json_decref(o);
	return err;
}

int api_parse_resize(const void *body, size_t len, struct api_resize *out, struct refusal *r)
{
	static const char *const known[] = {"size", "shrink", NULL};
	json_t *o = parse_object(body, len, r), *shrink;
	int err = -1;

	if (o == NULL)
		return -1;
	shrink = json_object_get(o, "shrink");
	out->shrink = json_is_true(shrink);
	if (parse_known(o, r, known) != 0)
		err = -1;
	else if (shrink != NULL && !json_is_boolean(shrink))
		err = parse_refuse(r, "\"shrink\" must be true or false.");
	else if (json_object_get(o, "size") == NULL)
		err = parse_refuse(r, "\"size\" is missing.");
	else
		err = api_parse_uint(o, "size", 0, INT64_MAX, &out->size, r);
	json_decref(o);
	return err;
}

int api_parse_scrub(const void *body, size_t len, struct api_scrub *out, struct refusal *r)
{
	static const char *const known[] = {"action", "volume", NULL};
	json_t *o = parse_object(body, len, r);
	char action[8];
	int err = -1;

	if (o == NULL)
		return -1;
	if (parse_known(o, r, known) == 0 &&
	    api_parse_text(o, "volume", out->volume, sizeof(out->volume), r) == 0 &&
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
