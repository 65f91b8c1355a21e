/*
 * Sizes as people write and read them: one parser and one printer for options, configuration and
 * tables, so that what volctl prints can be given to it again.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <strings.h>

#include "banned.h"
#include "size.h"

#define FRACTION_GRAIN 4096u
#define FRACTION_MAX   1000000000u

static const char units[] = "KMGTPE";

/* What follows the digits: "", "K", "k", "KiB", ...: the shift, or -1. */
static int suffix_shift(const char *s)
{
	const char *unit;

	if (*s == '\0' || strcasecmp(s, "B") == 0)
		return 0;
	unit = strchr(units, toupper((unsigned char)*s));
	if (unit == NULL || (s[1] != '\0' && strcasecmp(s + 1, "iB") != 0))
		return -1;
	return 10 * (int)(unit - units + 1);
}

/* Digits after the point, as numerator over 10^digits. */
static const char *parse_fraction(const char *p, uint64_t *num, uint64_t *den)
{
	for (*num = 0, *den = 1; isdigit((unsigned char)*p); p++) {
		if (*den >= FRACTION_MAX)
			return NULL;
		*num = *num * 10 + (uint64_t)(*p - '0');
		*den *= 10;
	}
	return p;
}

int size_parse(const char *text, uint64_t *bytes, const char **why)
{
	uint64_t whole = 0, num = 0, den = 1, part;
	const char *p = text;
	int shift;

	*why = "a size is a number with K, M, G, T or P behind it (binary), for example 10G";
	if (!isdigit((unsigned char)*p))
		return -EINVAL;
	for (; isdigit((unsigned char)*p); p++)
		if (__builtin_mul_overflow(whole, 10u, &whole) ||
		    __builtin_add_overflow(whole, (uint64_t)(*p - '0'), &whole))
			goto too_large;
	if (*p == '.') {
		p = parse_fraction(p + 1, &num, &den);
		if (p == NULL || den == 1)
			return -EINVAL;
	}
	if (*p == ' ')
		p++;
	shift = suffix_shift(p);
	if (shift < 0 || (den > 1 && shift == 0))
		return -EINVAL;
	if (whole > UINT64_MAX >> shift)
		goto too_large;
	/* num / den < 1, so the part of it is below 1 << shift: no overflow in 128 bits */
	part = (uint64_t)(((unsigned __int128)num << shift) / den);
	if (__builtin_add_overflow(whole << shift, part, &whole))
		goto too_large;
	*bytes = den > 1 ? whole - whole % FRACTION_GRAIN : whole;
	return 0;
too_large:
	*why = "the size is too large";
	return -ERANGE;
}

char *size_format(uint64_t bytes, char *buf)
{
	unsigned unit = 0;
	uint64_t tenths;

	if (bytes < 1024) {
		snprintf(buf, SIZE_TEXT_MAX, "%u B", (unsigned)bytes);
		return buf;
	}
	while (unit + 1 < sizeof(units) - 1 && bytes >> (10 * (unit + 2)) != 0)
		unit++;
	tenths = (uint64_t)((((unsigned __int128)bytes * 20 >> (10 * (unit + 1))) + 1) / 2);
	/* 1023.96 MiB rounds to 1024.0: that is 1 GiB */
	if (tenths >= 10240 && unit + 1 < sizeof(units) - 1) {
		tenths = 10;
		unit++;
	}
	if (tenths % 10 == 0)
		snprintf(buf, SIZE_TEXT_MAX, "%u %ciB", (unsigned)(tenths / 10), units[unit]);
	else
		snprintf(buf, SIZE_TEXT_MAX, "%u.%u %ciB", (unsigned)(tenths / 10),
			 (unsigned)(tenths % 10), units[unit]);
	return buf;
}
