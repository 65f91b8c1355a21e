/*
 * Members of the API's answers. volctl may be older or newer than the volmgr that it talks to, so
 * nothing that is missing or of another type may stop it.
 */
#include "config.h"

#include "volctl.h"

#include "banned.h"
#include "size.h"

#define SIZE_BUFFERS 8 /* results of jsize() that one printf may use */

const char *jstr(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s != NULL ? s : "";
}

uint64_t jnum(const json_t *object, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(object, key));

	return n > 0 ? (uint64_t)n : 0;
}

json_t *jlist(json_t *reply, const char *key)
{
	return json_is_array(reply) ? reply : json_object_get(reply, key);
}

const char *jsize(const json_t *object, const char *key)
{
	static char bufs[SIZE_BUFFERS][SIZE_TEXT_MAX];
	static unsigned next;

	if (!json_is_integer(json_object_get(object, key)))
		return "-";
	next = (next + 1) % SIZE_BUFFERS;
	return size_format(jnum(object, key), bufs[next]);
}
