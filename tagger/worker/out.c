/*
 * What was found in one file, collected within the limits of extract.h, then written as JSON for
 * tagger/result.c.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "tagger/worker/segment.h"
#include "tagger/worker/worker.h"

#include "banned.h"

struct out_tag {
	char text[EXTRACT_TAG_BYTES], stem[EXTRACT_TAG_BYTES];
	float weight;
	enum extract_source source;
};

struct out {
	enum extract_kind kind;
	bool same, failed, has_hash, has_phash, has_text_hashes;
	char mime[EXTRACT_MIME_MAX];
	char why[EXTRACT_WHY_MAX];
	uint8_t hash[EXTRACT_HASH_BYTES];
	uint64_t phash, simhash;
	struct out_tag tags[EXTRACT_TAGS_MAX];
	size_t n_tags;
	struct {
		enum extract_fact_key key;
		double number;
		char text[EXTRACT_TEXT_BYTES];
	} facts[EXTRACT_FACTS_MAX];
	size_t n_facts;
	char links[EXTRACT_LINKS_MAX][EXTRACT_LINK_BYTES];
	size_t n_links;
	char excerpt[EXTRACT_EXCERPT_MAX];
	size_t excerpt_len;
};

struct out *out_create(void)
{
	return calloc(1, sizeof(struct out));
}

void out_destroy(struct out *o)
{
	free(o);
}

void out_reset(struct out *o)
{
	/* the arrays are large, and their counts say what of them is used */
	o->kind = EXTRACT_KIND_UNKNOWN;
	o->same = o->failed = o->has_hash = o->has_phash = o->has_text_hashes = false;
	o->mime[0] = o->why[0] = o->excerpt[0] = '\0';
	o->n_tags = o->n_facts = o->n_links = o->excerpt_len = 0;
}

void out_kind(struct out *o, enum extract_kind kind, const char *mime)
{
	o->kind = kind;
	segment_clean(mime, strlen(mime), o->mime, sizeof(o->mime));
}

void out_hash(struct out *o, const uint8_t hash[EXTRACT_HASH_BYTES])
{
	memcpy(o->hash, hash, EXTRACT_HASH_BYTES);
	o->has_hash = true;
}

void out_same(struct out *o)
{
	o->same = true;
}

void out_fail(struct out *o, const char *fmt, ...)
{
	char why[EXTRACT_WHY_MAX * 2];
	va_list ap;

	if (o->failed)
		return;
	o->failed = true;
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	if (segment_clean(why, strlen(why), o->why, sizeof(o->why)) == 0)
		memcpy(o->why, "no reason given", sizeof("no reason given"));
}

bool out_failed(const struct out *o)
{
	return o->failed;
}

void out_tag_stem(struct out *o, const char *text, const char *stem, float weight,
		  enum extract_source source)
{
	struct out_tag *t = &o->tags[o->n_tags];

	if (o->n_tags == EXTRACT_TAGS_MAX || text == NULL || stem == NULL)
		return;
	if (segment_clean(text, strlen(text), t->text, sizeof(t->text)) == 0 ||
	    segment_clean(stem, strlen(stem), t->stem, sizeof(t->stem)) == 0)
		return;
	for (size_t i = 0; i < o->n_tags; i++) {
		if (strcmp(o->tags[i].stem, t->stem) == 0) {
			if (o->tags[i].weight < weight)
				o->tags[i].weight = weight;
			return;
		}
	}
	t->weight = weight < 0 ? 0 : weight > 1 ? 1 : weight;
	t->source = source;
	o->n_tags++;
}

void out_tag(struct out *o, const char *text, float weight, enum extract_source source)
{
	out_tag_stem(o, text, text, weight, source);
}

void out_fact_text(struct out *o, enum extract_fact_key key, const char *text, size_t len)
{
	assert(extract_fact_types[key] == EXTRACT_FACT_TEXT);
	if (text == NULL || o->n_facts == EXTRACT_FACTS_MAX)
		return;
	if (segment_clean(text, len, o->facts[o->n_facts].text, EXTRACT_TEXT_BYTES) == 0)
		return;
	for (size_t i = 0; i < o->n_facts; i++)
		if (o->facts[i].key == key &&
		    strcmp(o->facts[i].text, o->facts[o->n_facts].text) == 0)
			return;
	o->facts[o->n_facts++].key = key;
}

void out_fact_number(struct out *o, enum extract_fact_key key, double number)
{
	assert(extract_fact_types[key] == EXTRACT_FACT_NUMBER);
	if (!isfinite(number) || o->n_facts == EXTRACT_FACTS_MAX)
		return;
	o->facts[o->n_facts].key = key;
	o->facts[o->n_facts].text[0] = '\0';
	o->facts[o->n_facts++].number = number;
}

void out_link(struct out *o, const char *target, size_t len)
{
	char *link = o->links[o->n_links];

	if (o->n_links == EXTRACT_LINKS_MAX)
		return;
	for (size_t i = 0; i < len; i++)
		if (target[i] == '#')
			len = i;
	if (len >= EXTRACT_LINK_BYTES || segment_clean(target, len, link, EXTRACT_LINK_BYTES) == 0)
		return;
	for (size_t i = 0; i < o->n_links; i++)
		if (strcmp(o->links[i], link) == 0)
			return;
	o->n_links++;
}

void out_phash(struct out *o, uint64_t phash)
{
	o->phash = phash;
	o->has_phash = true;
}

void out_excerpt(struct out *o, const char *text, size_t len)
{
	size_t at = o->excerpt_len, n;

	/* the rest of the text could only be cut away; a space must fit too */
	if (at + 2 >= EXTRACT_EXCERPT_MAX)
		return;
	if (at > 0)
		o->excerpt[at++] = ' ';
	if (len > 4u * EXTRACT_EXCERPT_MAX)
		len = 4u * EXTRACT_EXCERPT_MAX;
	n = segment_clean(text, len, o->excerpt + at, EXTRACT_EXCERPT_MAX - at);
	o->excerpt_len = n == 0 ? o->excerpt_len : at + n;
	o->excerpt[o->excerpt_len] = '\0';
}

void out_words(struct out *o, const struct words_result *r, enum extract_source source)
{
	for (size_t i = 0; i < r->n_phrases; i++) {
		const struct words_phrase *p = &r->phrases[i];
		enum extract_source from = source;

		if (source == EXTRACT_SOURCE_PHRASE) {
			if (p->zone == ZONE_KEYWORDS)
				from = EXTRACT_SOURCE_META;
			else if (p->zone == ZONE_TITLE || p->zone == ZONE_HEADING)
				from = EXTRACT_SOURCE_HEADING;
			else if (p->identifier)
				from = EXTRACT_SOURCE_IDENTIFIER;
		}
		out_tag_stem(o, p->text, p->stem, p->weight, from);
	}
	if (r->words > 0)
		out_fact_number(o, EXTRACT_FACT_WORDS, r->words);
	if (r->language != NULL)
		out_fact_text(o, EXTRACT_FACT_LANGUAGE, r->language, strlen(r->language));
	if (!r->has_hashes || source != EXTRACT_SOURCE_PHRASE)
		return;
	o->has_text_hashes = true;
	o->simhash = r->simhash;
}

/* ---- JSON -------------------------------------------------------------------------------------
 */

static int tag_cmp(const void *a, const void *b)
{
	const struct out_tag *x = a, *y = b;

	return x->weight < y->weight ? 1 : x->weight > y->weight ? -1 : strcmp(x->text, y->text);
}

static json_t *out_tags(struct out *o)
{
	json_t *all = json_array();

	qsort(o->tags, o->n_tags, sizeof(o->tags[0]), tag_cmp);
	for (size_t i = 0; i < o->n_tags; i++)
		json_array_append_new(all,
				      json_pack("[ssfi]", o->tags[i].text, o->tags[i].stem,
						(double)o->tags[i].weight, (int)o->tags[i].source));
	return all;
}

static json_t *out_facts(const struct out *o)
{
	json_t *all = json_array();

	for (size_t i = 0; i < o->n_facts; i++) {
		enum extract_fact_key key = o->facts[i].key;

		json_array_append_new(all,
				      extract_fact_types[key] == EXTRACT_FACT_TEXT
					      ? json_pack("[is]", (int)key, o->facts[i].text)
					      : json_pack("[if]", (int)key, o->facts[i].number));
	}
	return all;
}

static void set_hex(json_t *to, const char *key, const uint8_t *bytes, size_t len)
{
	char hex[2 * EXTRACT_HASH_BYTES + 1];

	assert(len <= EXTRACT_HASH_BYTES);
	for (size_t i = 0; i < len; i++)
		snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
	json_object_set_new(to, key, json_string(hex));
}

static void set_u64(json_t *to, const char *key, uint64_t value)
{
	uint8_t bytes[8];

	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(value >> (56 - 8 * i));
	set_hex(to, key, bytes, sizeof(bytes));
}

static void out_hashes(const struct out *o, json_t *to)
{
	if (o->has_hash)
		set_hex(to, "hash", o->hash, sizeof(o->hash));
	if (o->has_phash)
		set_u64(to, "phash", o->phash);
	if (!o->has_text_hashes)
		return;
	set_u64(to, "simhash", o->simhash);
}

char *out_finish(struct out *o, size_t *len)
{
	json_t *root = json_object(), *links = json_array();
	char *text;

	json_object_set_new(root, "kind", json_integer(o->kind));
	json_object_set_new(root, "mime", json_string(o->mime));
	out_hashes(o, root);
	if (o->same)
		json_object_set_new(root, "same", json_true());
	if (o->failed)
		json_object_set_new(root, "why", json_string(o->why));
	json_object_set_new(root, "tags", out_tags(o));
	json_object_set_new(root, "facts", out_facts(o));
	for (size_t i = 0; i < o->n_links; i++)
		json_array_append_new(links, json_string(o->links[i]));
	json_object_set_new(root, "links", links);
	if (o->excerpt_len > 0)
		json_object_set_new(root, "excerpt", json_string(o->excerpt));
	text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(12));
	json_decref(root);
	*len = text != NULL ? strlen(text) : 0;
	return text;
}
