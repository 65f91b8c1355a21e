/*
 * Words to their stems, so that "volumes" and "volume" are one tag. Snowball's stemmers behind one
 * file.
 */
#ifndef WEFT_TAGGER_STEM_H
#define WEFT_TAGGER_STEM_H

#include <stddef.h>

struct stem;

struct stem *stem_create(void); /* NULL: out of memory */
void stem_destroy(struct stem *s);
/*
 * The stem of one word in lower case, in a language (ISO 639-1; NULL or unknown: the word itself),
 * into buf of cap bytes, cut where it does not fit. Returns its length.
 */
size_t stem_word(struct stem *s, const char *language, const char *word, size_t len, char *buf,
		 size_t cap);

#endif
