/* See extract.h: the names of its lists, and its end. */
#include "config.h"

#include <stdlib.h>

#include "tagger/extract.h"
#include "banned.h"

#define X(name, text) text,
const char *const extract_kind_names[EXTRACT_KIND_COUNT] = {EXTRACT_KINDS(X)};
const char *const extract_source_names[EXTRACT_SOURCE_COUNT] = {EXTRACT_SOURCES(X)};
#undef X
#define X(name, text, type) text,
const char *const extract_fact_names[EXTRACT_FACT_COUNT] = {EXTRACT_FACTS(X)};
#undef X
#define X(name, text, type) EXTRACT_FACT_##type,
const uint8_t extract_fact_types[EXTRACT_FACT_COUNT] = {EXTRACT_FACTS(X)};
#undef X

void extract_free(struct extract *e)
{
	if (e == NULL)
		return;
	for (size_t i = 0; i < e->ntags; i++) {
		free(e->tags[i].text);
		free(e->tags[i].stem);
	}
	for (size_t i = 0; i < e->nfacts; i++)
		free(e->facts[i].text);
	for (size_t i = 0; i < e->nlinks; i++)
		free(e->links[i]);
	free(e->tags);
	free(e->facts);
	free(e->links);
	free(e->excerpt);
	free(e->why);
	free(e);
}
