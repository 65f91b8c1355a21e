/*
 * Many short texts in one piece of memory, each with a number, to be searched for a part of them in
 * one sweep. Texts are only added; whoever replaces one adds it anew, and the old one's number
 * (dropped) is 0. Pure.
 */
#ifndef WEFT_TAGGER_TEXTPOOL_H
#define WEFT_TAGGER_TEXTPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXTPOOL_BYTES_MAX  0xf0000000u
#define TEXTPOOL_NEEDLE_MAX 256u

struct textpool {
	char *text; /* NUL, text, NUL, text, NUL ... */
	uint32_t len, cap;
	uint32_t *start, *id; /* of each text, ascending starts */
	uint32_t n, max;
	uint32_t dropped; /* bytes of texts that are no more */
};

/* Where it stands in text, or 0 when there is no memory. text without NUL. */
uint32_t textpool_add(struct textpool *p, uint32_t id, const char *text, size_t len);
void textpool_drop(struct textpool *p, uint32_t at);
void textpool_free(struct textpool *p);

/*
 * fn(arg, id, at) for each text that has needle in it, until fn returns false; at: where the text
 * begins. needle is not empty and has no NUL.
 */
void textpool_search(const struct textpool *p, const char *needle, size_t len,
		     bool (*fn)(void *arg, uint32_t id, uint32_t at), void *arg);
/* The same for those that begin with it; at most TEXTPOOL_NEEDLE_MAX bytes. */
void textpool_search_prefix(const struct textpool *p, const char *needle, size_t len,
			    bool (*fn)(void *arg, uint32_t id, uint32_t at), void *arg);

/* ASCII letters become lower case, and nothing else changes. out: len bytes. */
void textpool_fold(const char *text, size_t len, char *out);

#endif
