/*
 * What words.c (text to terms) and phrases.c (terms to phrases) share.
 */
#ifndef WEFT_TAGGER_WORDS_INTERNAL_H
#define WEFT_TAGGER_WORDS_INTERNAL_H

#include "tagger/worker/segment.h"
#include "tagger/worker/stem.h"
#include "tagger/worker/stop.h"
#include "tagger/worker/words.h"

/* words.c: one word of the text, known once however often it stands there */
struct term {
	uint64_t hash;
	uint32_t at; /* in the arena */
	uint8_t len;
	uint8_t chars;
	uint8_t script; /* enum segment_script */
	uint8_t zones;	/* bits: where it stands */
	bool identifier;
	bool number;
	uint16_t stops;	   /* bits of enum stop_language */
	uint32_t count;	   /* in all */
	uint32_t first;	   /* its first place, in words */
	uint32_t capitals; /* how often it began with a capital, or was all of them */
	float weight;	   /* counts by zone, summed */
	float score;	   /* phrases.c */
};

/* One place of the text: a term, and what comes with the place. */
#define PLACE_TERM_BITS 20
#define PLACE_TERM(p)	((p) & ((1u << PLACE_TERM_BITS) - 1))
#define PLACE_ZONE(p)	((enum words_zone)((p) >> PLACE_TERM_BITS & 7))
#define PLACE_BREAK	(1u << 30) /* something stood between this and the word before */
#define PLACE_JOINED	(1u << 31) /* nothing at all stood between, as in Chinese */
#define PLACE_MAKE(term, zone, flags)                                                              \
	((uint32_t)(term) | (uint32_t)(zone) << PLACE_TERM_BITS | (flags))

/* phrases.c: two or more terms after one another */
struct gram {
	uint64_t hash;	/* 0: none */
	uint32_t place; /* where it stood first */
	uint32_t count;
	uint8_t n;
	uint8_t zones;
	float weight;
};

struct words {
	struct segment *segment;
	struct stem *stem;
	struct { /* stop words by hash, open addressing, made once */
		uint64_t *hash;
		uint16_t *lists;
		uint32_t mask;
	} stop;

	struct term *terms;
	uint32_t n_terms;
	uint32_t *slots; /* hash table of terms: index + 1 */
	uint32_t *places;
	uint32_t n_places;
	char *arena;
	uint32_t arena_used;
	struct gram *grams; /* hash table */
	uint32_t n_grams, gram_mask;

	/* while one feed runs */
	enum words_zone zone;
	bool broken;	     /* the next word starts a sentence */
	uint32_t scripts[8]; /* words by script */
};

extern const float words_zone_weight[ZONES];

/* Spreads what is already a number. */
static inline uint64_t hash_mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ull;
	return x ^ x >> 33;
}

static inline const char *term_text(const struct words *w, const struct term *t)
{
	return w->arena + t->at;
}

/* phrases.c */
void phrases_find(struct words *w, struct words_result *out);

#endif
