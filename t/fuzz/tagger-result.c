/* Fuzz target: what a worker that was taken over may answer. It is refused, or keeps every limit.
 */
#include "config.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "tagger/result.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_text(const char *text, size_t max)
{
	assert(text != NULL && text[0] != '\0' && strlen(text) < max);
	for (const char *p = text; *p != '\0'; p++)
		assert((unsigned char)*p >= ' ' && *p != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct extract *e = result_parse((const char *)data, len);

	if (e == NULL)
		return 0;
	assert(e->kind < EXTRACT_KIND_COUNT && strlen(e->mime) < EXTRACT_MIME_MAX);
	assert(e->ntags <= EXTRACT_TAGS_MAX && e->nfacts <= EXTRACT_FACTS_MAX);
	assert(e->nlinks <= EXTRACT_LINKS_MAX && e->failed == (e->why != NULL));
	for (size_t i = 0; i < e->ntags; i++) {
		check_text(e->tags[i].text, EXTRACT_TAG_BYTES);
		check_text(e->tags[i].stem, EXTRACT_TAG_BYTES);
		assert(e->tags[i].weight >= 0 && e->tags[i].weight <= 1);
		assert(e->tags[i].source < EXTRACT_SOURCE_COUNT);
	}
	for (size_t i = 0; i < e->nfacts; i++) {
		assert(e->facts[i].key < EXTRACT_FACT_COUNT);
		if (extract_fact_types[e->facts[i].key] == EXTRACT_FACT_TEXT)
			check_text(e->facts[i].text, EXTRACT_TEXT_BYTES);
		else
			assert(isfinite(e->facts[i].number));
	}
	for (size_t i = 0; i < e->nlinks; i++)
		check_text(e->links[i], EXTRACT_LINK_BYTES);
	extract_free(e);
	return 0;
}
