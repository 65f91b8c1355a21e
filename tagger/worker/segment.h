/*
 * Words of text that is not plain ASCII, by ICU: Chinese and Japanese by dictionary, others by the
 * rules of Unicode. Also: text of other encodings to UTF-8.
 */
#ifndef WEFT_TAGGER_SEGMENT_H
#define WEFT_TAGGER_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>

#define SEGMENT_BYTES_MAX 4096u /* of one run */

enum segment_script {
	SEGMENT_OTHER,
	SEGMENT_LATIN,
	SEGMENT_HAN,
	SEGMENT_KANA,
	SEGMENT_HANGUL,
	SEGMENT_CYRILLIC
};

struct segment_word {
	const char *text; /* folded: lower case, one form for each letter */
	size_t len;
	enum segment_script script;
	bool joined;  /* nothing stood between this and the word before */
	bool capital; /* it began with a capital */
	size_t chars;
};

typedef void segment_done(void *arg, const struct segment_word *word);

struct segment;

struct segment *segment_create(void); /* NULL: out of memory, or ICU without its data */
void segment_destroy(struct segment *s);
/* At most SEGMENT_BYTES_MAX bytes of UTF-8; bytes that are not end a word. */
void segment_run(struct segment *s, const char *text, size_t len, segment_done *done, void *arg);

/* Lower case, one form for each letter, into buf of cap bytes, NUL at the end. False: too long. */
bool segment_fold(struct segment *s, const char *text, size_t len, char *buf, size_t cap);

/*
 * Is it UTF-8? A character cut off at the end is fine when more follows (partial).
 */
bool segment_utf8_valid(const char *text, size_t len, bool partial);
/*
 * Into buf of cap bytes, NUL at the end: one space for any white space or control character, none
 * at the ends, nothing that is not UTF-8, cut between characters. Returns the length.
 */
size_t segment_clean(const char *text, size_t len, char *buf, size_t cap);
/*
 * To UTF-8 from charset (as libmagic calls it), or from what it looks like when charset is NULL or
 * unknown. *out is malloc()ed, at most 4 x len bytes. 0, -ENOMEM, or -EILSEQ.
 */
int segment_to_utf8(const char *charset, const char *text, size_t len, char **out, size_t *out_len);

#endif
