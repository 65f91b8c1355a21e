/* Small things of the control thread: names, refusals, identifiers, the clock. */
#include "config.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "volmgr.h"
#include "banned.h"

void *mem_must(size_t bytes)
{
	void *p = calloc(1, bytes > 0 ? bytes : 1);

	if (p == NULL) {
		log_error("out of memory: %zu bytes could not be had", bytes);
		abort();
	}
	return p;
}

uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static bool name_letter(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool name_valid(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > NAME_MAX_BYTES || !name_letter(name[0]))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!name_letter(name[i]) && strchr("._-", name[i]) == NULL)
			return false;
	return true;
}

void refuse(struct refusal *r, int status, const char *code, const char *fmt, ...)
{
	va_list ap;

	r->status = status;
	r->code = code;
	r->hint[0] = '\0';
	va_start(ap, fmt);
	vsnprintf(r->message, sizeof(r->message), fmt, ap);
	va_end(ap);
}

void refuse_hint(struct refusal *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->hint, sizeof(r->hint), fmt, ap);
	va_end(ap);
}

void refuse_unknown(struct refusal *r, const char *what, const char *name)
{
	/* what cannot be a name is not repeated: it may not even be text */
	refuse(r, 404, strcmp(what, "server") == 0 ? "no_such_server" : "no_such_volume",
	       "There is no %s %s.", what, name_valid(name) ? name : "of this name");
	refuse_hint(r, "See: volctl %s list", what);
}

void version_read(char version[VERSION_MAX], const char *about)
{
	size_t prefix = strlen(WEFT_STORE_ABOUT), n = 0;

	if (strncmp(about, WEFT_STORE_ABOUT, prefix) == 0) {
		about += prefix;
		n = strspn(about,
			   "0123456789.+~-_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
	}
	if (n >= VERSION_MAX || about[n] != '\0')
		n = 0;
	memcpy(version, about, n);
	version[n] = '\0';
}

char *uuid_format(const uint8_t uuid[WEFT_UUID_BYTES], char *buf)
{
	for (int i = 0; i < WEFT_UUID_BYTES; i++)
		snprintf(buf + 2 * i, 3, "%02x", uuid[i]);
	return buf;
}

bool uuid_parse(const char *text, uint8_t uuid[WEFT_UUID_BYTES])
{
	static const char digits[] = "0123456789abcdef";

	if (strlen(text) != 2 * WEFT_UUID_BYTES)
		return false;
	for (int i = 0; i < 2 * WEFT_UUID_BYTES; i++) {
		const char *d = strchr(digits, text[i]);

		if (d == NULL)
			return false;
		uuid[i / 2] = (uint8_t)(uuid[i / 2] << 4 | (uint8_t)(d - digits));
	}
	return true;
}
