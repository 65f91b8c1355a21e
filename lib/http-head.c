/* See http-head.h. What is odd in a head is left to libevent, which refuses it or takes it whole.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "http-head.h"
#include "banned.h"

#define METHOD	   "PUT "
#define METHOD_LEN (sizeof(METHOD) - 1)

/* ---- the head ------------------------------------------------------------------------------ */

struct line {
	char *text;
	size_t len; /* without its end */
};

/* False: it has not come to its end. */
static bool line_next(char **at, const char *end, struct line *out)
{
	char *lf = memchr(*at, '\n', (size_t)(end - *at));

	if (lf == NULL)
		return false;
	out->text = *at;
	out->len = (size_t)(lf - *at);
	out->len -= out->len > 0 && lf[-1] == '\r';
	*at = lf + 1;
	return true;
}

static bool path_is_one(const struct line *l, const char *const *paths)
{
	const char *path = l->text + METHOD_LEN;
	size_t len = 0, rest = l->len - METHOD_LEN;

	while (len < rest && path[len] != ' ' && path[len] != '?')
		len++;
	for (; *paths != NULL; paths++)
		if (strlen(*paths) == len && memcmp(*paths, path, len) == 0)
			return true;
	return false;
}

static bool line_is(const struct line *l, const char *name, struct line *value)
{
	size_t n = strlen(name);

	if (l->len <= n || l->text[n] != ':' || strncasecmp(l->text, name, n) != 0)
		return false;
	value->text = l->text + n + 1;
	value->len = l->len - n - 1;
	while (value->len > 0 && strchr(" \t", *value->text) != NULL) {
		value->text++;
		value->len--;
	}
	while (value->len > 0 && strchr(" \t", value->text[value->len - 1]) != NULL)
		value->len--;
	return true;
}

static bool value_number(const struct line *v, uint64_t *out)
{
	*out = 0;
	for (size_t i = 0; i < v->len; i++) {
		if (v->text[i] < '0' || v->text[i] > '9' || *out > (UINT64_MAX >> 5))
			return false;
		*out = *out * 10 + (uint64_t)(v->text[i] - '0');
	}
	return v->len > 0;
}

static bool value_is(const struct line *v, const char *text)
{
	return v->len == strlen(text) && strncasecmp(v->text, text, v->len) == 0;
}

struct found {
	char *length, *encoding, *expect; /* the headers' first letters */
	struct http_head head;
};

/* False: leave it alone. */
static bool line_look(const struct line *l, struct found *f)
{
	struct line v;

	if (l->text[0] == ' ' || l->text[0] == '\t')
		return false; /* it goes on with the line before */
	if (line_is(l, "Content-Length", &v)) {
		if (f->length != NULL || !value_number(&v, &f->head.length))
			return false;
		f->length = l->text;
	} else if (line_is(l, "Transfer-Encoding", &v)) {
		if (f->encoding != NULL || !value_is(&v, "chunked"))
			return false;
		f->encoding = l->text;
		f->head.chunked = true;
	} else if (line_is(l, "Expect", &v)) {
		if (f->expect != NULL || !value_is(&v, "100-continue"))
			return false;
		f->expect = l->text;
		f->head.expect = true;
	}
	return true;
}

static void mask(char *header)
{
	if (header != NULL)
		*header = '-';
}

enum http_head_is http_head_take(char *text, size_t len, const char *const *paths,
				 struct http_head *out)
{
	struct found f = {0};
	char *at = text;
	struct line l;

	if (memcmp(text, METHOD, len < METHOD_LEN ? len : METHOD_LEN) != 0)
		return HTTP_HEAD_OTHER;
	if (!line_next(&at, text + len, &l))
		return HTTP_HEAD_MORE;
	if (l.len < METHOD_LEN || !path_is_one(&l, paths))
		return HTTP_HEAD_OTHER;
	do {
		if (!line_next(&at, text + len, &l))
			return HTTP_HEAD_MORE;
		if (memchr(l.text, '\0', l.len) != NULL || (l.len > 0 && !line_look(&l, &f)))
			return HTTP_HEAD_OTHER;
	} while (l.len > 0);
	if ((f.length != NULL) == (f.encoding != NULL) || (f.length != NULL && f.head.length == 0))
		return HTTP_HEAD_OTHER;
	mask(f.length);
	mask(f.encoding);
	mask(f.expect);
	*out = f.head;
	return HTTP_HEAD_TAKEN;
}

/* ---- chunks -------------------------------------------------------------------------------- */

enum chunk_state {
	CHUNK_SIZE,    /* digits of a size */
	CHUNK_EXTRA,   /* what follows them on the line */
	CHUNK_DATA,    /* c->left bytes */
	CHUNK_GAP,     /* the line end after them */
	CHUNK_TRAILER, /* a line after the last one, nothing of which has come */
	CHUNK_FIELD,   /* inside such a line */
	CHUNK_END
};

static int chunk_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int chunk_size_end(struct http_chunks *c)
{
	if (c->digits == 0)
		return -EBADMSG;
	c->digits = 0;
	c->trailer = 0;
	c->state = c->left > 0 ? CHUNK_DATA : CHUNK_TRAILER;
	return 0;
}

static int chunk_size(struct http_chunks *c, char byte)
{
	int digit = chunk_digit(byte);

	if (digit >= 0) {
		if (++c->digits > 15)
			return -EBADMSG;
		c->left = c->left << 4 | (uint64_t)digit;
		return 0;
	}
	if (byte == '\n')
		return chunk_size_end(c);
	if (c->digits == 0 || strchr("\r; \t", byte) == NULL || byte == '\0')
		return -EBADMSG;
	c->state = CHUNK_EXTRA;
	c->trailer = 0;
	return 0;
}

/* One byte that is not of the body. */
static int chunk_byte(struct http_chunks *c, char byte)
{
	switch (c->state) {
	case CHUNK_SIZE:
		return chunk_size(c, byte);
	case CHUNK_EXTRA:
		if (byte == '\n')
			return chunk_size_end(c);
		break;
	case CHUNK_GAP:
		if (byte == '\n') {
			c->state = CHUNK_SIZE;
			return 0;
		}
		return byte == '\r' && c->trailer++ == 0 ? 0 : -EBADMSG;
	case CHUNK_TRAILER:
		if (byte == '\n')
			c->state = CHUNK_END;
		else if (byte != '\r')
			c->state = CHUNK_FIELD;
		break;
	case CHUNK_FIELD:
		if (byte == '\n')
			c->state = CHUNK_TRAILER;
		break;
	default:
		assert(!"a state without bytes of its own");
	}
	return ++c->trailer > HTTP_TRAILER_MAX ? -EBADMSG : 0;
}

int http_chunks_next(struct http_chunks *c, const char *text, size_t len, size_t *skip,
		     size_t *data)
{
	size_t n = 0;

	*data = 0;
	for (; n < len && c->state != CHUNK_DATA && c->state != CHUNK_END; n++)
		if (chunk_byte(c, text[n]) != 0)
			return -EBADMSG;
	*skip = n;
	if (c->state == CHUNK_DATA) {
		*data = c->left < len - n ? (size_t)c->left : len - n;
		c->left -= *data;
		if (c->left == 0) {
			c->state = CHUNK_GAP;
			c->trailer = 0;
		}
	}
	return c->state == CHUNK_END;
}
