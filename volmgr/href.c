/* See href.h. */
#include "config.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "href.h"
#include "volmgr.h"
#include "banned.h"

char *href_encode(const char *path)
{
	static const char hex[] = "0123456789ABCDEF";
	char *out = mem_must(3 * strlen(path) + 1), *to = out;

	for (; *path != '\0'; path++) {
		unsigned char c = (unsigned char)*path;

		if (c < 0x80 && (isalnum(c) || strchr("-._~/", c) != NULL)) {
			*to++ = (char)c;
		} else {
			*to++ = '%';
			*to++ = hex[c >> 4];
			*to++ = hex[c & 15];
		}
	}
	*to = '\0';
	return out;
}

static int href_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

char *href_decode(const char *href)
{
	char *out = mem_must(strlen(href) + 1), *to = out;

	while (*href != '\0') {
		if (*href == '%' && href_digit(href[1]) >= 0 && href_digit(href[2]) >= 0) {
			*to = (char)(href_digit(href[1]) * 16 + href_digit(href[2]));
			href += 3;
		} else {
			*to = *href++;
		}
		if (*to++ == '\0') {
			free(out);
			return NULL;
		}
	}
	*to = '\0';
	return out;
}

char *href_text(const char *href)
{
	char *path = href_decode(href);
	json_t *text = path != NULL ? json_string(path) : NULL;

	if (text == NULL) {
		free(path);
		path = strdup(href);
	}
	json_decref(text);
	return path;
}
