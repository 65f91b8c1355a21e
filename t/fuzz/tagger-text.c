/* Fuzz target: our own scanners of text, and all that follows them: words, phrases, hashes. */
#include "config.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tagger/worker/mark.h"
#include "tagger/worker/segment.h"
#include "tagger/worker/words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct text {
	const char *from, *to; /* what parts must lie in */
	struct words *words;
};

static void take(void *arg, enum mark_part part, const char *text, size_t len)
{
	struct text *t = arg;

	assert(text >= t->from && text + len <= t->to);
	words_feed(t->words, text, len, (enum words_zone)(part % ZONES));
}

static void check(struct words *words)
{
	static struct words_result result;

	words_finish(words, &result);
	assert(result.n_phrases <= WORDS_PHRASES_MAX);
	for (size_t i = 0; i < result.n_phrases; i++) {
		const struct words_phrase *p = &result.phrases[i];

		assert(p->text[0] != '\0' &&
		       strnlen(p->text, WORDS_PHRASE_BYTES) < WORDS_PHRASE_BYTES);
		assert(p->stem[0] != '\0' && p->weight > 0 && p->weight <= 1);
		assert(segment_utf8_valid(p->text, strlen(p->text), false));
	}
}

/* The first byte chooses. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct words *words;
	struct text t;
	char clean[64], *utf8;
	size_t n;

	if (words == NULL)
		words = words_create();
	if (words == NULL || len == 0)
		return 0;
	t = (struct text){(const char *)data + 1, (const char *)data + len, words};
	n = len - 1;
	words_reset(words);
	if (data[0] % 8 == 0)
		mark_plain(t.from, n, take, &t);
	else if (data[0] % 8 == 1)
		mark_markdown(t.from, n, take, &t);
	else if (data[0] % 8 < 7)
		mark_source(t.from, n, (enum mark_comments)(data[0] % 8 - 2), take, &t);
	else if (segment_to_utf8(NULL, t.from, n, &utf8, &n) == 0) {
		words_feed(words, utf8, n, ZONE_BODY);
		free(utf8);
	}
	check(words);
	n = segment_clean(t.from, len - 1, clean, sizeof(clean));
	assert(n < sizeof(clean) && clean[n] == '\0' && segment_utf8_valid(clean, n, false));
	return 0;
}
