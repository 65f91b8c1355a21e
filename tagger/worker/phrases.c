/*
 * Terms to keyphrases. A phrase is a run of words without a stop word or a mark between them that
 * stands in the text more than once, or in a title or heading. Score: how often (by zone, damped),
 * how early, how it is written. A word that mostly stands inside a chosen phrase is not chosen
 * again.
 *
 * The ideas are those of RAKE (Rose et al. 2010) and YAKE (Campos et al. 2018).
 */
#include "config.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tagger/worker/words-internal.h"

#include "banned.h"

#define GRAM_WORDS_MAX 4u
#define GRAM_SLOTS     (WORDS_GRAMS_MAX * 2)
#define CANDIDATES_MAX 256u
#define CHOICES_MAX    128u /* of which the phrases are chosen */
#define ZONES_STRONG   (1u << ZONE_TITLE | 1u << ZONE_HEADING | 1u << ZONE_KEYWORDS)

struct candidate {
	float score;
	uint32_t place; /* where it stands first */
	uint32_t count;
	uint8_t n; /* words */
	uint8_t zones;
};

static const struct term *term_at(const struct words *w, uint32_t place)
{
	return &w->terms[PLACE_TERM(w->places[place])];
}

static bool script_dense(const struct term *t)
{
	return t->script == SEGMENT_HAN || t->script == SEGMENT_KANA;
}

static uint16_t stop_mask(const char *language, bool code)
{
	uint16_t mask = 1u << STOP_EN | 1u << STOP_ZH;

	for (unsigned int l = 0; l < STOP_LANGUAGES; l++)
		if (language != NULL && strcmp(stop_lists[l].code, language) == 0)
			mask |= (uint16_t)(1u << l);
	if (code)
		mask |= 1u << STOP_CODE;
	return mask;
}

/* May a phrase begin or end with it? May it be a tag of its own? */
static bool term_edge(const struct term *t, uint16_t stops)
{
	if ((t->stops & stops) != 0 || t->number)
		return false;
	if (script_dense(t))
		return true;
	return t->chars >= 3 ||
	       (t->chars == 2 && t->script == SEGMENT_LATIN && t->capitals == t->count);
}

static bool term_alone(const struct term *t, uint16_t stops)
{
	return term_edge(t, stops) && !(script_dense(t) && t->chars < 2);
}

/* ---- scores -----------------------------------------------------------------------------------
 */

static float score_of(const struct words *w, float weight, uint32_t count, uint32_t first,
		      uint8_t zones)
{
	/* in a list of names, what is said once is as good as what is said often */
	float often = log2f(1 + weight);
	float early = 1 + 0.6f * expf(-(float)first / 150) + 0.3f * expf(-(float)first / 1500);

	(void)w;
	if (count == 1 && (zones & ZONES_STRONG) == 0)
		often *= 0.5f;
	return often * early;
}

static float score_term(const struct words *w, const struct term *t)
{
	float score = score_of(w, t->weight, t->count, t->first, t->zones);

	/* written large in the middle of text: a name, or an abbreviation */
	if (t->script == SEGMENT_LATIN && t->count > 1 && t->capitals * 4 > t->count * 3)
		score *= 1.3f;
	if (t->identifier)
		score *= (t->zones & 1u << ZONE_CODE) != 0 ? 1.35f : 1.1f;
	if ((t->stops & 1u << STOP_DULL) != 0)
		score *= 0.45f;
	if (t->script == SEGMENT_LATIN && t->chars == 3)
		score *= 0.8f;
	return score;
}

/* ---- phrases ----------------------------------------------------------------------------------
 */

static void gram_add(struct words *w, uint64_t hash, uint32_t place, uint8_t n,
		     enum words_zone zone)
{
	uint32_t s = (uint32_t)hash & w->gram_mask;

	while (w->grams[s].hash != 0 && w->grams[s].hash != hash)
		s = (s + 1) & w->gram_mask;
	if (w->grams[s].hash == 0) {
		if (w->n_grams > w->gram_mask / 2)
			return;
		w->n_grams++;
		w->grams[s] = (struct gram){.hash = hash, .place = place, .n = n};
	}
	w->grams[s].count++;
	w->grams[s].zones |= (uint8_t)(1u << zone);
	w->grams[s].weight += words_zone_weight[zone];
}

/* All phrases that begin at place i. */
static void grams_from(struct words *w, uint32_t i, uint16_t stops)
{
	enum words_zone zone = PLACE_ZONE(w->places[i]);
	bool strong = (1u << zone & ZONES_STRONG) != 0;
	const struct term *t = term_at(w, i);
	uint64_t hash = t->hash;

	if (!term_edge(t, stops) || (t->count < 2 && !strong))
		return;
	for (uint32_t n = 2; n <= GRAM_WORDS_MAX && i + n <= w->n_places; n++) {
		uint32_t place = w->places[i + n - 1];

		if ((place & PLACE_BREAK) != 0 || PLACE_ZONE(place) != zone)
			return;
		t = term_at(w, i + n - 1);
		if (!term_edge(t, stops) || (t->count < 2 && !strong) || t->identifier)
			return;
		/* three words of English; Chinese words are short */
		if (n == GRAM_WORDS_MAX && !script_dense(t))
			return;
		hash = hash_mix(hash * 31 + t->hash) | 1;
		gram_add(w, hash, i, (uint8_t)n, zone);
	}
}

static void grams_count(struct words *w, uint16_t stops)
{
	/* small texts, which are most, get a small table */
	w->gram_mask = 255;
	while (w->gram_mask < GRAM_SLOTS - 1 && w->gram_mask < 4 * w->n_places)
		w->gram_mask = w->gram_mask * 2 + 1;
	memset(w->grams, 0, (w->gram_mask + 1) * sizeof(*w->grams));
	w->n_grams = 0;
	for (uint32_t i = 0; i + 1 < w->n_places; i++)
		grams_from(w, i, stops);
}

static float score_gram(const struct words *w, const struct gram *g)
{
	uint32_t least = UINT32_MAX;
	float parts = 0, score, cohesion;

	for (uint32_t i = 0; i < g->n; i++) {
		const struct term *t = term_at(w, g->place + i);

		parts += t->score;
		least = t->count < least ? t->count : least;
		if (i > 0 && t == term_at(w, g->place + i - 1))
			return 0;
	}
	if (least > w->n_places)
		return 0;
	cohesion = (float)g->count / (float)(least > 0 ? least : 1);
	score = score_of(w, g->weight, g->count, g->place, g->zones);
	/* a phrase of dull words is dull; one whose words stand together by chance is none */
	return score * (0.35f + 0.65f * cohesion) *
	       (0.6f + 0.8f * parts / (float)g->n / (score + 1));
}

/* ---- the choice -------------------------------------------------------------------------------
 */

static int candidate_cmp(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->score != y->score)
		return x->score < y->score ? 1 : -1;
	return x->place < y->place ? -1 : x->place > y->place;
}

/* A heap whose least is first, so that the best CANDIDATES_MAX stay. */
static void candidate_add(struct candidate *heap, size_t *n, struct candidate c)
{
	size_t i;

	if (c.score <= 0 || (*n == CANDIDATES_MAX && heap[0].score >= c.score))
		return;
	if (*n < CANDIDATES_MAX) {
		for (i = (*n)++; i > 0 && heap[(i - 1) / 2].score > c.score; i = (i - 1) / 2)
			heap[i] = heap[(i - 1) / 2];
		heap[i] = c;
		return;
	}
	for (i = 0; 2 * i + 1 < *n;) {
		size_t child = 2 * i + 1;

		if (child + 1 < *n && heap[child + 1].score < heap[child].score)
			child++;
		if (heap[child].score >= c.score)
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = c;
}

/* Does b, chosen before, stand for a as well? */
static bool candidate_covers(const struct words *w, const struct candidate *b,
			     const struct candidate *a)
{
	if (b->n < a->n)
		return false;
	for (uint32_t from = 0; from + a->n <= b->n; from++) {
		uint32_t same = 0;

		while (same < a->n &&
		       term_at(w, b->place + from + same) == term_at(w, a->place + same))
			same++;
		if (same == a->n)
			return (float)b->count >= 0.6f * (float)a->count;
	}
	return false;
}

static size_t text_append(char *buf, size_t at, const char *text, size_t len, bool space)
{
	if (at + len + space >= WORDS_PHRASE_BYTES)
		return 0;
	if (space)
		buf[at++] = ' ';
	memcpy(buf + at, text, len);
	buf[at + len] = '\0';
	return at + len;
}

static enum words_zone zone_best(uint8_t zones)
{
	static const enum words_zone order[] = {ZONE_KEYWORDS, ZONE_TITLE, ZONE_HEADING, ZONE_CODE,
						ZONE_NAMES};

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		if ((zones & 1u << order[i]) != 0)
			return order[i];
	return ZONE_BODY;
}

/* Writes a candidate out. False if it is too long. */
static bool phrase_write(const struct words *w, const char *language, const struct candidate *c,
			 struct words_phrase *p)
{
	size_t text = 0, stem = 0;

	p->text[0] = p->stem[0] = '\0';
	p->identifier = false;
	for (uint32_t i = 0; i < c->n; i++) {
		const struct term *t = term_at(w, c->place + i);
		bool space = i > 0 && (w->places[c->place + i] & PLACE_JOINED) == 0;
		char buf[WORDS_PHRASE_BYTES];
		size_t len;

		text = text_append(p->text, text, term_text(w, t), t->len, space);
		if (t->script == SEGMENT_LATIN && !t->identifier)
			len = stem_word(w->stem, language == NULL ? "en" : language,
					term_text(w, t), t->len, buf, sizeof(buf));
		else
			len = stem_word(w->stem, t->script == SEGMENT_LATIN ? NULL : language,
					term_text(w, t), t->len, buf, sizeof(buf));
		stem = text_append(p->stem, stem, buf, len, space);
		if (text == 0 || stem == 0)
			return false;
		p->identifier = p->identifier || t->identifier;
	}
	return true;
}

/* A candidate as it would come out. */
struct choice {
	struct candidate c;
	float weight; /* of all its forms */
	bool gone;    /* too long, or another form stands for it */
	struct words_phrase phrase;
};

static int choice_cmp(const void *a, const void *b)
{
	return candidate_cmp(&((const struct choice *)a)->c, &((const struct choice *)b)->c);
}

/* Forms of one word or phrase, "queue" and "queues", count together; the best one stands for all.
 */
static void choices_merge(struct choice *all, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		struct choice *x = &all[i];

		for (size_t j = 0; j < i && !x->gone; j++) {
			struct choice *y = &all[j];

			if (y->gone || strcmp(x->phrase.stem, y->phrase.stem) != 0)
				continue;
			y->c.score *= log2f(1 + y->weight + x->weight) / log2f(1 + y->weight);
			y->weight += x->weight;
			y->c.count += x->c.count;
			y->c.zones |= x->c.zones;
			x->gone = true;
		}
	}
}

static void phrases_choose(struct words *w, struct candidate *all, size_t n,
			   struct words_result *out)
{
	static struct choice choices[CHOICES_MAX];
	const struct candidate *chosen[WORDS_PHRASES_MAX];

	qsort(all, n, sizeof(*all), candidate_cmp);
	if (n > CHOICES_MAX)
		n = CHOICES_MAX;
	for (size_t i = 0; i < n; i++) {
		choices[i].c = all[i];
		choices[i].weight =
			all[i].n == 1 ? term_at(w, all[i].place)->weight : (float)all[i].count;
		choices[i].gone = !phrase_write(w, out->language, &all[i], &choices[i].phrase);
	}
	choices_merge(choices, n);
	qsort(choices, n, sizeof(choices[0]), choice_cmp);
	for (size_t i = 0; i < n && out->n_phrases < WORDS_PHRASES_MAX; i++) {
		const struct candidate *c = &choices[i].c;
		bool covered = choices[i].gone;

		for (size_t j = 0; j < out->n_phrases && !covered; j++)
			covered = candidate_covers(w, chosen[j], c);
		if (covered)
			continue;
		chosen[out->n_phrases] = c;
		out->phrases[out->n_phrases] = choices[i].phrase;
		out->phrases[out->n_phrases].weight = c->score;
		out->phrases[out->n_phrases++].zone = zone_best(c->zones);
	}
	for (size_t i = out->n_phrases; i-- > 0;)
		out->phrases[i].weight /= out->phrases[0].weight;
}

void phrases_find(struct words *w, struct words_result *out)
{
	struct candidate all[CANDIDATES_MAX];
	bool code = false;
	uint16_t stops;
	size_t n = 0;

	for (uint32_t i = 0; i < w->n_terms && !code; i++)
		code = (w->terms[i].zones & 1u << ZONE_CODE) != 0;
	stops = stop_mask(out->language, code);
	for (uint32_t i = 0; i < w->n_terms; i++) {
		struct term *t = &w->terms[i];

		t->score = score_term(w, t);
		if (term_alone(t, stops))
			candidate_add(
				all, &n,
				(struct candidate){t->score, t->first, t->count, 1, t->zones});
	}
	grams_count(w, stops);
	for (uint32_t i = 0; i <= w->gram_mask; i++) {
		const struct gram *g = &w->grams[i];

		if (g->hash == 0 || (g->count < 2 && (g->zones & ZONES_STRONG) == 0))
			continue;
		candidate_add(
			all, &n,
			(struct candidate){score_gram(w, g), g->place, g->count, g->n, g->zones});
	}
	phrases_choose(w, all, n, out);
}
