/* See json-out.h. Numbers are most of it: they are made here. Text that is not plain is jansson's.
 */
#include "config.h"

#include "json-out.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "banned.h"

#define ROOM_MIN   4096u
#define DIGITS_MAX 20 /* of a 64-bit number with its sign */

static char *out_room(struct json_out *o, size_t more)
{
	size_t room;

	if (o->room - o->len < more) {
		room = 2 * (o->len + more);
		room = room > ROOM_MIN ? room : ROOM_MIN;
		assert(room <= 2 * (size_t)JSON_OUT_MAX);
		o->at = realloc(o->at, room);
		if (o->at == NULL)
			abort();
		o->room = room;
	}
	return o->at + o->len;
}

static void out_bytes(struct json_out *o, const char *bytes, size_t len)
{
	memcpy(out_room(o, len), bytes, len);
	o->len += len;
}

/* The comma, and the name. */
static void out_key(struct json_out *o, const char *key)
{
	if (o->len > 0 && o->at[o->len - 1] != '{' && o->at[o->len - 1] != '[')
		out_bytes(o, ",", 1);
	if (key == NULL)
		return;
	out_bytes(o, "\"", 1);
	out_bytes(o, key, strlen(key));
	out_bytes(o, "\":", 2);
}

void json_out_begin(struct json_out *o, const char *key, char bracket)
{
	out_key(o, key);
	out_bytes(o, &bracket, 1);
}

void json_out_end(struct json_out *o, char bracket)
{
	out_bytes(o, &bracket, 1);
}

void json_out_int(struct json_out *o, const char *key, int64_t value)
{
	uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
	char text[DIGITS_MAX], *p = text + sizeof(text);

	do {
		*--p = (char)('0' + left % 10);
		left /= 10;
	} while (left > 0);
	if (value < 0)
		*--p = '-';
	out_key(o, key);
	out_bytes(o, p, (size_t)(text + sizeof(text) - p));
}

static bool text_is_plain(const char *text)
{
	for (const char *p = text; *p != '\0'; p++)
		if (*p < ' ' || *p > '~' || *p == '"' || *p == '\\')
			return false;
	return true;
}

/* The bytes that may be wrong go, the rest stays. */
static json_t *text_repaired(const char *text)
{
	char *copy = strdup(text);
	json_t *value;

	if (copy == NULL)
		abort();
	for (char *p = copy; *p != '\0'; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	value = json_string(copy);
	free(copy);
	return value;
}

void json_out_text(struct json_out *o, const char *key, const char *text)
{
	json_t *value;

	if (!text_is_plain(text)) {
		value = json_string(text);
		json_out_value(o, key, value != NULL ? value : text_repaired(text));
		return;
	}
	out_key(o, key);
	out_bytes(o, "\"", 1);
	out_bytes(o, text, strlen(text));
	out_bytes(o, "\"", 1);
}

void json_out_value(struct json_out *o, const char *key, json_t *value)
{
	static const size_t flags = JSON_COMPACT | JSON_ENCODE_ANY;
	size_t len;

	if (value == NULL)
		abort();
	out_key(o, key);
	out_room(o, ROOM_MIN);
	len = json_dumpb(value, o->at + o->len, o->room - o->len, flags);
	if (len > o->room - o->len) {
		out_room(o, len);
		len = json_dumpb(value, o->at + o->len, o->room - o->len, flags);
	}
	o->len += len;
	json_decref(value);
}

json_t *json_out_parse(struct json_out *o)
{
	json_t *value = json_loadb(o->at, o->len, JSON_DECODE_ANY, NULL);

	free(o->at);
	*o = (struct json_out){.at = NULL};
	return value;
}
