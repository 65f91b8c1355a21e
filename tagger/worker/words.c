/*
 * Text to terms. Plain ASCII, most of what there is, is cut into words here in one pass; a run with
 * other characters goes to ICU. What is no word (addresses, numbers, hashes) is left out, so that
 * it is no tag.
 */
#include "config.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "tagger/worker/words-internal.h"

#include "banned.h"

#define SLOTS	       (WORDS_TERMS_MAX * 2)
#define STOP_SLOTS     4096u
/* Shortest text that fingerprints are made of, in words: less is alike too often. */
#define HASH_WORDS_MIN 24u

static_assert(WORDS_TERMS_MAX <= 1u << PLACE_TERM_BITS, "a place holds a term's number");
static_assert(ZONES <= 8, "a place holds a zone");
static_assert((SLOTS & (SLOTS - 1)) == 0, "a power of two");

const float words_zone_weight[ZONES] = {
	[ZONE_BODY] = 1,      [ZONE_TITLE] = 8, [ZONE_HEADING] = 4,
	[ZONE_KEYWORDS] = 12, [ZONE_CODE] = 1,	[ZONE_NAMES] = 2,
};

/* ---- stop words ------------------------------------------------------------------------------ */

static void stop_add(struct words *w, const char *word, size_t len, unsigned int list)
{
	uint64_t hash = hash_u64(word, len);
	uint32_t i = (uint32_t)hash & w->stop.mask;

	while (w->stop.hash[i] != 0 && w->stop.hash[i] != hash)
		i = (i + 1) & w->stop.mask;
	w->stop.hash[i] = hash;
	w->stop.lists[i] |= (uint16_t)(1u << list);
}

static bool stop_init(struct words *w)
{
	w->stop.mask = STOP_SLOTS - 1;
	w->stop.hash = calloc(STOP_SLOTS, sizeof(*w->stop.hash));
	w->stop.lists = calloc(STOP_SLOTS, sizeof(*w->stop.lists));
	if (w->stop.hash == NULL || w->stop.lists == NULL)
		return false;
	for (unsigned int list = 0; list < STOP_KINDS; list++) {
		const char *p = stop_lists[list].words;

		while (*p != '\0') {
			size_t len = strcspn(p, " ");

			stop_add(w, p, len, list);
			p += len;
			p += *p == ' ';
		}
	}
	return true;
}

static uint16_t stop_find(const struct words *w, uint64_t hash)
{
	uint32_t i = (uint32_t)hash & w->stop.mask;

	while (w->stop.hash[i] != 0) {
		if (w->stop.hash[i] == hash)
			return w->stop.lists[i];
		i = (i + 1) & w->stop.mask;
	}
	return 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

struct words *words_create(void)
{
	struct words *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return NULL;
	w->segment = segment_create();
	w->stem = stem_create();
	w->terms = calloc(WORDS_TERMS_MAX, sizeof(*w->terms));
	w->slots = calloc(SLOTS, sizeof(*w->slots));
	w->places = calloc(WORDS_TOKENS_MAX, sizeof(*w->places));
	w->arena = malloc(WORDS_ARENA_MAX);
	w->grams = calloc(WORDS_GRAMS_MAX * 2, sizeof(*w->grams));
	if (w->segment == NULL || w->stem == NULL || w->terms == NULL || w->slots == NULL ||
	    w->places == NULL || w->arena == NULL || w->grams == NULL || !stop_init(w)) {
		words_destroy(w);
		return NULL;
	}
	return w;
}

void words_destroy(struct words *w)
{
	if (w == NULL)
		return;
	segment_destroy(w->segment);
	stem_destroy(w->stem);
	free(w->stop.hash);
	free(w->stop.lists);
	free(w->terms);
	free(w->slots);
	free(w->places);
	free(w->arena);
	free(w->grams);
	free(w);
}

void words_reset(struct words *w)
{
	/* only what was used: most files are small, and the tables are not */
	for (uint32_t i = 0; i < w->n_terms; i++) {
		uint32_t s = (uint32_t)w->terms[i].hash & (SLOTS - 1);

		while (w->slots[s] != i + 1)
			s = (s + 1) & (SLOTS - 1);
		w->slots[s] = UINT32_MAX;
	}
	for (uint32_t i = 0; i < w->n_terms; i++) {
		uint32_t s = (uint32_t)w->terms[i].hash & (SLOTS - 1);

		while (w->slots[s] != 0) {
			w->slots[s] = 0;
			s = (s + 1) & (SLOTS - 1);
		}
	}
	w->n_terms = w->n_places = w->arena_used = 0;
	memset(w->scripts, 0, sizeof(w->scripts));
}

bool words_full(const struct words *w)
{
	return w->n_places == WORDS_TOKENS_MAX || w->n_terms == WORDS_TERMS_MAX ||
	       w->arena_used > WORDS_ARENA_MAX - WORDS_WORD_MAX;
}

/* ---- terms ----------------------------------------------------------------------------------- */

/* The term of a folded word; NULL when no more fit. */
static struct term *term_get(struct words *w, const char *text, size_t len)
{
	uint64_t hash = hash_u64(text, len);
	uint32_t s = (uint32_t)hash & (SLOTS - 1);
	struct term *t;

	for (; w->slots[s] != 0; s = (s + 1) & (SLOTS - 1)) {
		t = &w->terms[w->slots[s] - 1];
		if (t->hash == hash)
			return t;
	}
	if (words_full(w))
		return NULL;
	t = &w->terms[w->n_terms];
	*t = (struct term){
		.hash = hash,
		.at = w->arena_used,
		.len = (uint8_t)len,
		.stops = stop_find(w, hash),
		.first = w->n_places,
	};
	memcpy(w->arena + w->arena_used, text, len);
	w->arena_used += (uint32_t)len;
	w->slots[s] = ++w->n_terms;
	return t;
}

static struct term *place_add(struct words *w, const char *text, size_t len, uint32_t flags)
{
	struct term *t;

	if (len > WORDS_WORD_MAX || w->n_places == WORDS_TOKENS_MAX) {
		w->broken = true;
		return NULL;
	}
	t = term_get(w, text, len);
	if (t == NULL)
		return NULL;
	if (w->broken)
		flags = (flags & ~PLACE_JOINED) | PLACE_BREAK;
	w->broken = false;
	w->places[w->n_places++] = PLACE_MAKE(t - w->terms, w->zone, flags);
	t->count++;
	t->zones |= (uint8_t)(1u << w->zone);
	t->weight += words_zone_weight[w->zone];
	return t;
}

/* ---- ASCII ----------------------------------------------------------------------------------- */

enum { C_OTHER, C_SPACE, C_LOWER, C_UPPER, C_DIGIT, C_UNDERSCORE, C_HIGH };

static uint8_t class_of[256];

static void class_init(void)
{
	if (class_of[0x80] == C_HIGH)
		return;
	for (int c = 0; c < 256; c++)
		class_of[c] = c >= 0x80		      ? C_HIGH
			      : c >= 'a' && c <= 'z'  ? C_LOWER
			      : c >= 'A' && c <= 'Z'  ? C_UPPER
			      : c >= '0' && c <= '9'  ? C_DIGIT
			      : c == '_'	      ? C_UNDERSCORE
			      : c == ' ' || c == '\t' ? C_SPACE
						      : C_OTHER;
}

static bool class_word(uint8_t c)
{
	return class_of[c] >= C_LOWER && class_of[c] <= C_UNDERSCORE;
}

/* How an ASCII word is written. */
struct shape {
	uint32_t lower, upper, digit, underscore;
	bool hump; /* aB: a capital after a small letter */
};

static struct shape shape_of(const char *text, size_t len)
{
	struct shape s = {0};

	for (size_t i = 0; i < len; i++) {
		uint8_t class = class_of[(uint8_t)text[i]];

		s.lower += class == C_LOWER;
		s.upper += class == C_UPPER;
		s.digit += class == C_DIGIT;
		s.underscore += class == C_UNDERSCORE;
		if (class == C_UPPER && i > 0 && class_of[(uint8_t)text[i - 1]] == C_LOWER)
			s.hump = true;
	}
	return s;
}

static void ascii_add(struct words *w, const char *text, size_t len, const struct shape *shape,
		      bool identifier)
{
	char folded[WORDS_WORD_MAX];
	struct term *t;

	for (size_t i = 0; i < len; i++)
		folded[i] = (char)(class_of[(uint8_t)text[i]] == C_UPPER ? text[i] + 32 : text[i]);
	t = place_add(w, folded, len, 0);
	if (t == NULL)
		return;
	t->script = SEGMENT_LATIN;
	t->chars = (uint8_t)len;
	t->identifier = t->identifier || identifier;
	t->capitals += class_of[(uint8_t)text[0]] == C_UPPER;
	if (shape->digit > 0 && shape->lower + shape->upper <= shape->digit)
		t->number = true;
	w->scripts[SEGMENT_LATIN]++;
}

/* The parts of an identifier are words too: pool_create, poolCreate. */
static void identifier_split(struct words *w, const char *text, size_t len)
{
	size_t from = 0;

	w->broken = true;
	for (size_t i = 1; i <= len; i++) {
		uint8_t class = i < len ? class_of[(uint8_t)text[i]] : C_OTHER;
		uint8_t before = class_of[(uint8_t)text[i - 1]];
		bool edge = i == len || class == C_UNDERSCORE || before == C_UNDERSCORE ||
			    (class == C_UPPER && before == C_LOWER);

		if (!edge)
			continue;
		if (i - from >= 3 && class_of[(uint8_t)text[from]] != C_UNDERSCORE) {
			struct shape shape = shape_of(text + from, i - from);

			if (shape.digit == 0)
				ascii_add(w, text + from, i - from, &shape, false);
		}
		from = i;
	}
	w->broken = true;
}

static void ascii_word(struct words *w, const char *text, size_t len)
{
	struct shape shape;
	bool identifier;

	while (len > 0 && text[0] == '_')
		text++, len--;
	while (len > 0 && text[len - 1] == '_')
		len--;
	shape = shape_of(text, len);
	/* numbers, hashes, base64: they part sentences */
	if (len == 0 || len > WORDS_WORD_MAX || shape.lower + shape.upper == 0 ||
	    (shape.digit > 3 && len > 12) ||
	    (shape.digit > 0 && class_of[(uint8_t)text[0]] == C_DIGIT)) {
		w->broken = true;
		return;
	}
	identifier = shape.underscore > 0 || (shape.hump && shape.lower > 2);
	if (identifier && w->zone == ZONE_CODE)
		identifier_split(w, text, len);
	ascii_add(w, text, len, &shape, identifier);
	if (identifier && w->zone == ZONE_CODE)
		w->broken = true;
}

/* ---- all else ---------------------------------------------------------------------------------
 */

static void segment_add(void *arg, const struct segment_word *word)
{
	struct words *w = arg;
	struct term *t;

	t = place_add(w, word->text, word->len, word->joined ? PLACE_JOINED : 0);
	if (t == NULL)
		return;
	t->script = (uint8_t)word->script;
	t->chars = (uint8_t)(word->chars < 255 ? word->chars : 255);
	t->capitals += word->capital;
	w->scripts[word->script]++;
}

/* The end of a run that starts at from and is no plain ASCII. */
static size_t run_end(const char *text, size_t from, size_t len)
{
	size_t end = from;

	while (end < len && end - from < SEGMENT_BYTES_MAX) {
		uint8_t c = (uint8_t)text[end];

		if (class_of[c] != C_HIGH && !class_word(c))
			break;
		end++;
	}
	/* not in the middle of a character */
	while (end < len && end > from + 1 && ((uint8_t)text[end] & 0xc0) == 0x80)
		end--;
	return end > from ? end : from + 1;
}

/* Addresses are no words: https://..., someone@... Returns where they end. */
static size_t address_end(const char *text, size_t at, size_t len)
{
	while (at < len && (uint8_t)text[at] > ' ' && strchr("<>\"'`)]}", text[at]) == NULL)
		at++;
	return at;
}

/* After a word that ended at i: what follows decides whether it was one. Returns where to go on, or
 * i. */
static size_t address_skip(struct words *w, const char *text, size_t i, size_t len)
{
	if (i + 1 >= len)
		return i;
	if ((text[i] == ':' && i + 2 < len && text[i + 1] == '/' && text[i + 2] == '/') ||
	    (text[i] == '@' && class_word((uint8_t)text[i + 1]))) {
		w->broken = true;
		return address_end(text, i, len);
	}
	return i;
}

void words_feed(struct words *w, const char *text, size_t len, enum words_zone zone)
{
	size_t i = 0;

	class_init();
	w->zone = zone;
	w->broken = true;
	while (i < len && !words_full(w)) {
		uint8_t class = class_of[(uint8_t)text[i]];
		size_t from = i, next;

		if (class < C_LOWER) {
			/* one space, or a line's end, does not part words that belong together */
			if (class == C_OTHER && text[i] != '\n' && text[i] != '\r' &&
			    text[i] != '-')
				w->broken = true;
			else if (text[i] == '\n' && i + 1 < len && text[i + 1] == '\n')
				w->broken = true;
			i++;
			continue;
		}
		while (i < len && class_word((uint8_t)text[i]))
			i++;
		if (i < len && class_of[(uint8_t)text[i]] == C_HIGH) {
			i = run_end(text, from, len);
			segment_run(w->segment, text + from, i - from, segment_add, w);
			continue;
		}
		next = address_skip(w, text, i, len);
		if (next != i) {
			i = next;
			continue;
		}
		/* don't, user's */
		if (i + 1 < len && text[i] == '\'' && class_of[(uint8_t)text[i + 1]] == C_LOWER) {
			size_t end = i + 1;

			while (end < len && class_of[(uint8_t)text[end]] == C_LOWER)
				end++;
			if (end - i == 2 && text[i + 1] == 's') {
				ascii_word(w, text + from, i - from);
				i = end;
				continue;
			}
			i = end;
			w->broken = true;
			continue;
		}
		ascii_word(w, text + from, i - from);
	}
}

/* ---- results ----------------------------------------------------------------------------------
 */

static const char *words_language(const struct words *w)
{
	uint32_t hits[STOP_LANGUAGES] = {0}, all = w->n_places;
	unsigned int best = STOP_EN;

	if (all == 0)
		return NULL;
	if (w->scripts[SEGMENT_KANA] * 8 > all)
		return "ja";
	if (w->scripts[SEGMENT_HANGUL] * 4 > all)
		return "ko";
	if (w->scripts[SEGMENT_HAN] * 4 > all)
		return "zh";
	for (uint32_t i = 0; i < w->n_terms; i++)
		for (unsigned int l = 0; l < STOP_LANGUAGES; l++)
			if (w->terms[i].stops & 1u << l)
				hits[l] += w->terms[i].count;
	for (unsigned int l = 0; l < STOP_LANGUAGES; l++)
		if (l != STOP_ZH && hits[l] > hits[best])
			best = l;
	return hits[best] * 12 > all ? stop_lists[best].code : NULL;
}

static bool term_counts(const struct term *t)
{
	return (t->stops & 1u << STOP_EN) == 0 && !t->number && t->len > 1;
}

/* Charikar's fingerprint: near texts differ in few bits. */
static uint64_t words_simhash(const struct words *w)
{
	int32_t sum[64] = {0};
	uint64_t out = 0;

	for (uint32_t i = 0; i < w->n_terms; i++) {
		const struct term *t = &w->terms[i];
		uint64_t h = hash_mix(t->hash);
		int32_t weight = (int32_t)(t->count < 8 ? t->count : 8);

		if (!term_counts(t))
			continue;
		for (int b = 0; b < 64; b++)
			sum[b] += (h >> b & 1) != 0 ? weight : -weight;
	}
	for (int b = 0; b < 64; b++)
		out |= (uint64_t)(sum[b] > 0) << b;
	return out;
}

void words_finish(struct words *w, struct words_result *out)
{
	memset(out, 0, sizeof(*out));
	out->words = w->n_places;
	out->language = words_language(w);
	phrases_find(w, out);
	if (w->n_places < HASH_WORDS_MIN)
		return;
	out->has_hashes = true;
	out->simhash = words_simhash(w);
}

bool words_key(struct words *w, const char *text, char *buf)
{
	char folded[WORDS_PHRASE_BYTES];
	size_t out = 0;

	if (!segment_fold(w->segment, text, strlen(text), folded, sizeof(folded)))
		return false;
	for (const char *p = folded; *p != '\0';) {
		size_t len = strcspn(p, " ");

		if (out > 0 && out + 1 < WORDS_PHRASE_BYTES)
			buf[out++] = ' ';
		out += stem_word(w->stem, "en", p, len, buf + out, WORDS_PHRASE_BYTES - out);
		p += len;
		p += strspn(p, " ");
	}
	buf[out] = '\0';
	return out > 0;
}
