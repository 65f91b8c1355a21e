/* See textpool.h. */
#include "config.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "tagger/textpool.h"
#include "banned.h"

static bool textpool_room(struct textpool *p, size_t len)
{
	uint64_t want = (uint64_t)p->len + len + 2;

	if (want > p->cap) {
		uint64_t cap = want + want / 4 + 4096;
		char *more;

		if (cap > TEXTPOOL_BYTES_MAX)
			return false;
		more = realloc(p->text, cap);
		if (more == NULL)
			return false;
		p->text = more;
		p->cap = (uint32_t)cap;
	}
	if (p->n == p->max) {
		uint32_t max = p->max + p->max / 4 + 256;
		uint32_t *start = realloc(p->start, max * sizeof(*start)), *id;

		if (start != NULL)
			p->start = start;
		id = start != NULL ? realloc(p->id, max * sizeof(*id)) : NULL;
		if (id == NULL)
			return false;
		p->id = id;
		p->max = max;
	}
	return true;
}

uint32_t textpool_add(struct textpool *p, uint32_t id, const char *text, size_t len)
{
	uint32_t at;

	if (!textpool_room(p, len))
		return 0;
	if (p->len == 0)
		p->text[p->len++] = '\0';
	at = p->len;
	memcpy(p->text + at, text, len);
	p->text[at + len] = '\0';
	p->len += (uint32_t)len + 1;
	p->start[p->n] = at;
	p->id[p->n++] = id;
	return at;
}

/* The place in start[] of the text that has byte at; not below low. */
static uint32_t textpool_find(const struct textpool *p, uint32_t low, uint32_t at)
{
	uint32_t step = 1, high;

	while (low + step < p->n && p->start[low + step] <= at) {
		low += step;
		step *= 2;
	}
	high = low + step < p->n ? low + step : p->n;

	while (high - low > 1) {
		uint32_t mid = low + (high - low) / 2;

		if (p->start[mid] <= at)
			low = mid;
		else
			high = mid;
	}
	return low;
}

void textpool_drop(struct textpool *p, uint32_t at)
{
	uint32_t i;

	if (at == 0)
		return;
	i = textpool_find(p, 0, at);
	assert(p->start[i] == at);
	p->id[i] = 0;
	p->dropped += (uint32_t)strlen(p->text + at) + 1;
}

void textpool_free(struct textpool *p)
{
	free(p->text);
	free(p->start);
	free(p->id);
	*p = (struct textpool){0};
}

/* skip: bytes of the needle before the text that is meant. */
static void textpool_sweep(const struct textpool *p, const char *needle, size_t len, size_t skip,
			   bool (*fn)(void *arg, uint32_t id, uint32_t at), void *arg)
{
	const char *end, *at = p->text;
	uint32_t i = 0;

	if (p->n == 0)
		return;
	end = p->text + p->len;
	while (at != NULL && at < end) {
		at = memmem(at, (size_t)(end - at), needle, len);
		if (at == NULL)
			return;
		i = textpool_find(p, i, (uint32_t)(at - p->text + (ptrdiff_t)skip));
		if (p->id[i] != 0 && !fn(arg, p->id[i], p->start[i]))
			return;
		/* go on behind this text, with the NUL that ends it */
		at = i + 1 < p->n ? p->text + p->start[i + 1] - 1 : NULL;
	}
}

void textpool_search(const struct textpool *p, const char *needle, size_t len,
		     bool (*fn)(void *arg, uint32_t id, uint32_t at), void *arg)
{
	assert(len > 0);
	textpool_sweep(p, needle, len, 0, fn, arg);
}

void textpool_search_prefix(const struct textpool *p, const char *needle, size_t len,
			    bool (*fn)(void *arg, uint32_t id, uint32_t at), void *arg)
{
	char ended[TEXTPOOL_NEEDLE_MAX + 1];

	assert(len > 0 && len <= TEXTPOOL_NEEDLE_MAX);
	ended[0] = '\0';
	memcpy(ended + 1, needle, len);
	textpool_sweep(p, ended, len + 1, 1, fn, arg);
}

void textpool_fold(const char *text, size_t len, char *out)
{
	for (size_t i = 0; i < len; i++)
		out[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] | 0x20 : text[i]);
}
