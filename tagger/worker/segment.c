/*
 * ICU: word boundaries, folding, encodings. The break iterator and the folding are made once; what
 * is slow (dictionaries) is loaded by ICU when the first Chinese text comes.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <unicode/ubrk.h>
#include <unicode/uchar.h>
#include <unicode/ucnv.h>
#include <unicode/ucsdet.h>
#include <unicode/unorm2.h>
#include <unicode/uscript.h>
#include <unicode/ustring.h>
#include <unicode/utf8.h>

#include "tagger/worker/segment.h"

#include "banned.h"

#define FOLDED_MAX 256 /* UTF-16 units, and bytes of UTF-8, of one word */

struct segment {
	UBreakIterator *breaks;
	const UNormalizer2 *fold;
	UChar text[SEGMENT_BYTES_MAX + 1]; /* never more units than bytes */
};

struct segment *segment_create(void)
{
	struct segment *s = calloc(1, sizeof(*s));
	UErrorCode err = U_ZERO_ERROR;

	if (s == NULL)
		return NULL;
	s->breaks = ubrk_open(UBRK_WORD, "", NULL, 0, &err);
	if (U_SUCCESS(err))
		s->fold = unorm2_getNFKCCasefoldInstance(&err);
	if (U_SUCCESS(err))
		return s;
	segment_destroy(s);
	return NULL;
}

void segment_destroy(struct segment *s)
{
	if (s == NULL)
		return;
	if (s->breaks != NULL)
		ubrk_close(s->breaks);
	free(s);
}

static enum segment_script segment_script_of(const UChar *text, int32_t len)
{
	UErrorCode err = U_ZERO_ERROR;
	UChar32 c;

	U16_GET(text, 0, 0, len, c);
	switch (uscript_getScript(c, &err)) {
	case USCRIPT_LATIN:
		return SEGMENT_LATIN;
	case USCRIPT_HAN:
		return SEGMENT_HAN;
	case USCRIPT_HIRAGANA:
	case USCRIPT_KATAKANA:
		return SEGMENT_KANA;
	case USCRIPT_HANGUL:
		return SEGMENT_HANGUL;
	case USCRIPT_CYRILLIC:
		return SEGMENT_CYRILLIC;
	default:
		return SEGMENT_OTHER;
	}
}

bool segment_fold(struct segment *s, const char *text, size_t len, char *buf, size_t cap)
{
	UChar wide[FOLDED_MAX], folded[FOLDED_MAX];
	UErrorCode err = U_ZERO_ERROR;
	int32_t units, bytes;

	if (len >= FOLDED_MAX)
		return false;
	u_strFromUTF8WithSub(wide, FOLDED_MAX, &units, text, (int32_t)len, 0xfffd, NULL, &err);
	units = unorm2_normalize(s->fold, wide, units, folded, FOLDED_MAX, &err);
	u_strToUTF8(buf, (int32_t)cap - 1, &bytes, folded, units, &err);
	if (U_FAILURE(err))
		return false;
	buf[bytes] = 0;
	return true;
}

/* Gives one word on, unless it is too long to be one. */
static void segment_give(struct segment *s, int32_t from, int32_t to, bool joined,
			 segment_done *done, void *arg)
{
	UChar folded[FOLDED_MAX];
	char utf8[FOLDED_MAX];
	UErrorCode err = U_ZERO_ERROR;
	int32_t bytes, units;
	UChar32 first;
	struct segment_word word;

	units = unorm2_normalize(s->fold, s->text + from, to - from, folded, FOLDED_MAX, &err);
	u_strToUTF8(utf8, sizeof(utf8), &bytes, folded, units, &err);
	if (U_FAILURE(err) || bytes == 0)
		return;
	U16_GET(s->text, from, from, to, first);
	word = (struct segment_word){
		.text = utf8,
		.len = (size_t)bytes,
		.script = segment_script_of(s->text + from, to - from),
		.joined = joined,
		.capital = u_isupper(first),
		.chars = (size_t)u_countChar32(folded, units),
	};
	done(arg, &word);
}

void segment_run(struct segment *s, const char *text, size_t len, segment_done *done, void *arg)
{
	UErrorCode err = U_ZERO_ERROR;
	int32_t units, from, to, end = -1;

	assert(len <= SEGMENT_BYTES_MAX);
	u_strFromUTF8WithSub(s->text, SEGMENT_BYTES_MAX + 1, &units, text, (int32_t)len, 0xfffd,
			     NULL, &err);
	if (U_FAILURE(err))
		return;
	ubrk_setText(s->breaks, s->text, units, &err);
	if (U_FAILURE(err))
		return;
	from = ubrk_first(s->breaks);
	for (to = ubrk_next(s->breaks); to != UBRK_DONE; from = to, to = ubrk_next(s->breaks)) {
		if (ubrk_getRuleStatus(s->breaks) < UBRK_WORD_LETTER)
			continue;
		segment_give(s, from, to, from == end, done, arg);
		end = to;
	}
}

bool segment_utf8_valid(const char *text, size_t len, bool partial)
{
	size_t i = 0;

	while (i < len) {
		UChar32 c;
		size_t at = i;

		if ((unsigned char)text[i] < 0x80) {
			i++;
			continue;
		}
		U8_NEXT((const uint8_t *)text, i, len, c);
		if (c < 0)
			return partial && len - at < 4 && i == len;
	}
	return true;
}

/* Into bytes that fit len x 4; *out NULL on failure. */
static int segment_convert(const char *charset, const char *text, size_t len, char **out,
			   size_t *out_len, bool strict)
{
	UErrorCode err = U_ZERO_ERROR;
	size_t cap = len * 3 + 16;
	UConverter *from = ucnv_open(charset, &err), *to = NULL;
	const char *source = text;
	char *target;

	*out = NULL;
	if (U_SUCCESS(err))
		to = ucnv_open("UTF-8", &err);
	if (U_SUCCESS(err) && strict)
		ucnv_setToUCallBack(from, UCNV_TO_U_CALLBACK_STOP, NULL, NULL, NULL, &err);
	*out = target = malloc(cap);
	if (U_SUCCESS(err) && target != NULL)
		ucnv_convertEx(to, from, &target, target + cap, &source, text + len, NULL, NULL,
			       NULL, NULL, 1, 1, &err);
	ucnv_close(from);
	ucnv_close(to);
	if (*out == NULL)
		return -ENOMEM;
	/* a character cut off at the end is no reason to refuse the rest */
	if (U_FAILURE(err) && err != U_BUFFER_OVERFLOW_ERROR && err != U_TRUNCATED_CHAR_FOUND) {
		free(*out);
		*out = NULL;
		return -EILSEQ;
	}
	*out_len = (size_t)(target - *out);
	return 0;
}

/* What the bytes look like, by ICU's statistics; "" if nothing at all. buf of 32. */
static void segment_guess(const char *text, size_t len, char *buf)
{
	UErrorCode err = U_ZERO_ERROR;
	UCharsetDetector *det = ucsdet_open(&err);
	const UCharsetMatch *match = NULL;
	const char *name = NULL;

	buf[0] = '\0';
	if (U_SUCCESS(err))
		ucsdet_setText(det, text, (int32_t)(len < 65536 ? len : 65536), &err);
	if (U_SUCCESS(err))
		match = ucsdet_detect(det, &err);
	if (U_SUCCESS(err) && match != NULL)
		name = ucsdet_getName(match, &err);
	if (U_SUCCESS(err) && name != NULL && strlen(name) < 32)
		memcpy(buf, name, strlen(name) + 1);
	ucsdet_close(det);
}

/*
 * Do bytes above 127 come in pairs, as in the encodings of Chinese? In those of Europe they mostly
 * stand alone.
 */
static bool segment_paired(const char *text, size_t len)
{
	size_t even = 0, odd = 0, run = 0;

	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)text[i] >= 0x80) {
			run++;
			continue;
		}
		if (run > 0)
			*(run % 2 == 0 ? &even : &odd) += 1;
		run = 0;
	}
	if (run > 0)
		*(run % 2 == 0 ? &even : &odd) += 1;
	return even > 0 && even >= 10 * odd;
}

int segment_to_utf8(const char *charset, const char *text, size_t len, char **out, size_t *out_len)
{
	static const char *const vague[] = {"", "unknown-8bit", "binary", "iso-8859-1"};
	static const char *const chinese[] = {"GB18030", "Big5", "EUC-JP", "EUC-KR"};
	char guess[32];
	bool known = charset != NULL, multi = false;
	int res = -EILSEQ;

	assert(len < INT32_MAX / 4);
	for (size_t i = 0; i < sizeof(vague) / sizeof(vague[0]); i++)
		known = known && strcmp(charset, vague[i]) != 0;
	if (known)
		res = segment_convert(charset, text, len, out, out_len, false);
	if (res != -EILSEQ)
		return res;
	segment_guess(text, len, guess);
	for (size_t i = 0; i < sizeof(chinese) / sizeof(chinese[0]); i++)
		multi = multi || strcmp(guess, chinese[i]) == 0;
	/* short Chinese text is too little for statistics */
	if (!multi && segment_paired(text, len))
		res = segment_convert("GB18030", text, len, out, out_len, true);
	if (res == -EILSEQ && guess[0] != '\0')
		res = segment_convert(guess, text, len, out, out_len, false);
	if (res != -EILSEQ)
		return res;
	return segment_convert("windows-1252", text, len, out, out_len, false);
}

size_t segment_clean(const char *text, size_t len, char *buf, size_t cap)
{
	size_t i = 0, out = 0;
	bool space = false;

	assert(cap > 0 && len < INT32_MAX);
	while (i < len) {
		size_t at = i;
		UChar32 c;

		U8_NEXT((const uint8_t *)text, i, len, c);
		if (c < 0)
			continue;
		if (c <= ' ' || (c >= 0x7f && c <= 0xa0) || c == 0x2028 || c == 0x2029 ||
		    c == 0xfeff) {
			space = out > 0;
			continue;
		}
		if (out + space + (i - at) >= cap)
			break;
		if (space)
			buf[out++] = ' ';
		space = false;
		memcpy(buf + out, text + at, i - at);
		out += i - at;
	}
	buf[out] = '\0';
	return out;
}
