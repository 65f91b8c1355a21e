/*
 * Words that say nothing of what a text is about, by language. The counts of these also tell which
 * language a text is in.
 */
#ifndef WEFT_TAGGER_STOP_H
#define WEFT_TAGGER_STOP_H

#include <stdint.h>

enum stop_language {
	STOP_EN,
	STOP_ZH,
	STOP_DE,
	STOP_FR,
	STOP_ES,
	STOP_IT,
	STOP_PT,
	STOP_NL,
	STOP_RU,
	STOP_LANGUAGES,
	/* not languages, but kinds of words */
	STOP_CODE = STOP_LANGUAGES, /* keywords of programming languages */
	STOP_DULL,		    /* too common to be worth much, in English */
	STOP_KINDS,
};

struct stop_list {
	const char *code;  /* ISO 639-1; NULL for what is no language */
	const char *words; /* lower case, separated by single spaces */
};

extern const struct stop_list stop_lists[STOP_KINDS];

#endif
