/*
 * From text to what it is about: keyphrases, language, fingerprints. Pure: memory in, memory out.
 *
 * Text comes in pieces, each with a zone that says what part of the document it is. words_finish()
 * then scores single words and phrases by how often, where and in which zones they stand (how rare
 * they are among all files is not known here: the index weighs that in). One struct words serves a
 * worker for its life; words_reset() keeps the memory.
 *
 * Everything is bounded: text beyond the limits is dropped, quietly, as the front of a document
 * says what it is about.
 */
#ifndef WEFT_TAGGER_WORDS_H
#define WEFT_TAGGER_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORDS_TOKENS_MAX   65536u /* words of a text that are looked at */
#define WORDS_TERMS_MAX	   16384u /* different ones */
#define WORDS_ARENA_MAX	   (512u << 10)
#define WORDS_GRAMS_MAX	   16384u /* different phrases that are counted */
#define WORDS_WORD_MAX	   40u	  /* bytes; longer ones are no words */
#define WORDS_PHRASES_MAX  48u	  /* that come out */
#define WORDS_PHRASE_BYTES 64u

enum words_zone {
	ZONE_BODY,
	ZONE_TITLE,
	ZONE_HEADING,
	ZONE_KEYWORDS, /* what the author called keywords */
	ZONE_CODE,     /* source: identifiers are taken apart too */
	ZONE_NAMES,    /* names of things inside: files of an archive */
	ZONES,
};

struct words_phrase {
	char text[WORDS_PHRASE_BYTES]; /* for people */
	char stem[WORDS_PHRASE_BYTES]; /* to compare by */
	float weight;		       /* the best has 1 */
	enum words_zone zone;	       /* the best zone that it stands in */
	bool identifier;
};

struct words_result {
	struct words_phrase phrases[WORDS_PHRASES_MAX];
	size_t n_phrases;
	const char *language; /* ISO 639-1, or NULL */
	uint32_t words;	      /* that were looked at */
	bool has_hashes;      /* there was text enough for these: */
	uint64_t simhash;
};

struct words;

struct words *words_create(void); /* NULL: out of memory */
void words_destroy(struct words *w);
void words_reset(struct words *w);
/* UTF-8; bytes that are not end a word. Every call starts a new sentence. */
void words_feed(struct words *w, const char *text, size_t len, enum words_zone zone);
/*
 * What a phrase is compared by, as words_finish() gives for those of the text: for tags that come
 * whole. buf of WORDS_PHRASE_BYTES. False: it is too long for a tag.
 */
bool words_key(struct words *w, const char *text, char *buf);
/* No more words are taken: feeding on is a waste. */
bool words_full(const struct words *w);
void words_finish(struct words *w, struct words_result *out);

#endif
