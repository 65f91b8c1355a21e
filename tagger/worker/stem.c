/*
 * libstemmer. Stemmers are made when a language is first met, and kept.
 */
#include "config.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <libstemmer.h>

#include "tagger/worker/stem.h"

#include "banned.h"

#define STEM_LANGUAGES_MAX 16

struct stem {
	struct sb_stemmer *stemmers[STEM_LANGUAGES_MAX];
	char codes[STEM_LANGUAGES_MAX][4]; /* one without a stemmer is here too, with NULL above */
	size_t n;
};

struct stem *stem_create(void)
{
	return calloc(1, sizeof(struct stem));
}

void stem_destroy(struct stem *s)
{
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->n; i++)
		if (s->stemmers[i] != NULL)
			sb_stemmer_delete(s->stemmers[i]);
	free(s);
}

static struct sb_stemmer *stem_find(struct stem *s, const char *language)
{
	if (language == NULL || strlen(language) >= sizeof(s->codes[0]))
		return NULL;
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->codes[i], language) == 0)
			return s->stemmers[i];
	if (s->n == STEM_LANGUAGES_MAX)
		return NULL;
	memcpy(s->codes[s->n], language, strlen(language) + 1);
	s->stemmers[s->n] = sb_stemmer_new(language, "UTF_8");
	return s->stemmers[s->n++];
}

size_t stem_word(struct stem *s, const char *language, const char *word, size_t len, char *buf,
		 size_t cap)
{
	struct sb_stemmer *stemmer = stem_find(s, language);
	const char *from = word;

	assert(cap > 0);
	if (stemmer != NULL) {
		const sb_symbol *out = sb_stemmer_stem(stemmer, (const sb_symbol *)word, (int)len);

		if (out != NULL) {
			from = (const char *)out;
			len = (size_t)sb_stemmer_length(stemmer);
		}
	}
	if (len >= cap)
		len = cap - 1;
	memcpy(buf, from, len);
	buf[len] = '\0';
	return len;
}
