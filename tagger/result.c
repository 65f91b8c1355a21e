/*
 * See result.h. jansson sees to the syntax and that strings are UTF-8; limits and types are seen to
 * here.
 */
#include "config.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "tagger/result.h"

#include "banned.h"

/* No control characters: C0, DEL, and C1, which UTF-8 writes as c2 80 to c2 9f. */
static bool text_clean(const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++)
		if (*p < ' ' || *p == 0x7f || (*p == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f))
			return false;
	return true;
}

/* A copy of a string shorter than max bytes; NULL if it is none. */
static char *take_text(const json_t *value, size_t max)
{
	const char *text = json_string_value(value);

	/* jansson refuses "\u0000", so that the length is that of the C string */
	if (text == NULL || *text == '\0' || json_string_length(value) >= max || !text_clean(text))
		return NULL;
	return strdup(text);
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool take_hex(const json_t *value, uint8_t *out, size_t len)
{
	const char *text = json_string_value(value);

	if (text == NULL || json_string_length(value) != 2 * len)
		return false;
	for (size_t i = 0; i < len; i++) {
		int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

/* A fingerprint of 64 bits that may be missing. */
static bool take_u64(const json_t *root, const char *key, uint64_t *out, bool *has)
{
	const json_t *value = json_object_get(root, key);
	uint8_t bytes[8];

	if (value == NULL)
		return true;
	if (!take_hex(value, bytes, sizeof(bytes)))
		return false;
	for (size_t i = 0; i < sizeof(bytes); i++)
		*out = *out << 8 | bytes[i];
	*has = true;
	return true;
}

static bool take_tag(const json_t *value, struct extract_tag *tag)
{
	const json_t *weight = json_array_get(value, 2), *source = json_array_get(value, 3);

	if (!json_is_array(value) || json_array_size(value) != 4 || !json_is_number(weight) ||
	    !json_is_integer(source))
		return false;
	if (!(json_number_value(weight) >= 0 && json_number_value(weight) <= 1) ||
	    json_integer_value(source) < 0 || json_integer_value(source) >= EXTRACT_SOURCE_COUNT)
		return false;
	tag->weight = (float)json_number_value(weight);
	tag->source = (uint8_t)json_integer_value(source);
	tag->text = take_text(json_array_get(value, 0), EXTRACT_TAG_BYTES);
	tag->stem = take_text(json_array_get(value, 1), EXTRACT_TAG_BYTES);
	return tag->text != NULL && tag->stem != NULL;
}

static bool take_fact(const json_t *value, struct extract_fact *fact)
{
	const json_t *key = json_array_get(value, 0), *what = json_array_get(value, 1);

	if (!json_is_array(value) || json_array_size(value) != 2 || !json_is_integer(key) ||
	    json_integer_value(key) < 0 || json_integer_value(key) >= EXTRACT_FACT_COUNT)
		return false;
	fact->key = (uint8_t)json_integer_value(key);
	if (extract_fact_types[fact->key] == EXTRACT_FACT_TEXT) {
		fact->text = take_text(what, EXTRACT_TEXT_BYTES);
		return fact->text != NULL;
	}
	fact->number = json_number_value(what);
	return json_is_number(what) && isfinite(fact->number);
}

/* An array of at most max items; *n of them. False: it is not. NULL is none. */
static bool list_len(const json_t *list, size_t max, size_t *n)
{
	*n = json_array_size(list);
	return list == NULL || (json_is_array(list) && *n <= max);
}

/* The counts grow with what is taken, so that extract_free() finds all of it. */
static bool take_lists(const json_t *root, struct extract *e)
{
	const json_t *tags = json_object_get(root, "tags"), *facts = json_object_get(root, "facts");
	const json_t *links = json_object_get(root, "links");
	size_t ntags, nfacts, nlinks;

	if (!list_len(tags, EXTRACT_TAGS_MAX, &ntags) ||
	    !list_len(facts, EXTRACT_FACTS_MAX, &nfacts) ||
	    !list_len(links, EXTRACT_LINKS_MAX, &nlinks))
		return false;
	e->tags = calloc(ntags + 1, sizeof(*e->tags));
	e->facts = calloc(nfacts + 1, sizeof(*e->facts));
	e->links = calloc(nlinks + 1, sizeof(*e->links));
	if (e->tags == NULL || e->facts == NULL || e->links == NULL)
		return false;
	while (e->ntags < ntags) {
		struct extract_tag *tag = &e->tags[e->ntags];

		if (!take_tag(json_array_get(tags, e->ntags++), tag))
			return false;
		if (e->ntags > 1 && tag[-1].weight < tag->weight)
			return false;
	}
	while (e->nfacts < nfacts) {
		struct extract_fact *fact = &e->facts[e->nfacts];

		if (!take_fact(json_array_get(facts, e->nfacts++), fact))
			return false;
	}
	while (e->nlinks < nlinks) {
		e->links[e->nlinks] =
			take_text(json_array_get(links, e->nlinks), EXTRACT_LINK_BYTES);
		if (e->links[e->nlinks++] == NULL)
			return false;
	}
	return true;
}

static bool take_head(const json_t *root, struct extract *e)
{
	const json_t *kind = json_object_get(root, "kind"), *mime = json_object_get(root, "mime");
	const json_t *hash = json_object_get(root, "hash");
	const char *text = json_string_value(mime);

	if (!json_is_integer(kind) || json_integer_value(kind) < 0 ||
	    json_integer_value(kind) >= EXTRACT_KIND_COUNT)
		return false;
	e->kind = (uint8_t)json_integer_value(kind);
	if (text == NULL || json_string_length(mime) >= EXTRACT_MIME_MAX || !text_clean(text))
		return false;
	memcpy(e->mime, text, json_string_length(mime) + 1);
	return hash == NULL || take_hex(hash, e->hash, sizeof(e->hash));
}

static bool take_all(const json_t *root, struct extract *e)
{
	const json_t *why = json_object_get(root, "why"),
		     *excerpt = json_object_get(root, "excerpt");
	const json_t *same = json_object_get(root, "same");

	if (!json_is_object(root) || !take_head(root, e) || !take_lists(root, e) ||
	    !take_u64(root, "simhash", &e->simhash, &e->has_simhash) ||
	    !take_u64(root, "phash", &e->phash, &e->has_phash))
		return false;
	e->same = json_is_true(same);
	if (why != NULL) {
		e->why = take_text(why, EXTRACT_WHY_MAX);
		e->failed = true;
		if (e->why == NULL)
			return false;
	}
	if (excerpt != NULL) {
		e->excerpt = take_text(excerpt, EXTRACT_EXCERPT_MAX);
		if (e->excerpt == NULL)
			return false;
	}
	return true;
}

struct extract *result_parse(const char *json, size_t len)
{
	json_t *root = json_loadb(json, len, JSON_REJECT_DUPLICATES, NULL);
	struct extract *e = calloc(1, sizeof(*e));

	if (root == NULL || e == NULL || !take_all(root, e)) {
		extract_free(e);
		e = NULL;
	}
	json_decref(root);
	return e;
}

struct extract *result_failed(const char *why)
{
	struct extract *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return NULL;
	e->failed = true;
	e->why = strndup(why, EXTRACT_WHY_MAX - 1);
	if (e->why == NULL) {
		free(e);
		return NULL;
	}
	return e;
}
