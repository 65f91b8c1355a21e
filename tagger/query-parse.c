/* See query.h for the language. Whatever comes in is cut into terms here, and nowhere else. */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "conf.h"
#include "size.h"
#include "tagger/query-impl.h"
#include "banned.h"

#define NS_PER_S 1000000000ll

struct parser {
	const char *p;
	struct query_parsed *q;
	const char *why;
	unsigned depth;
};

static struct query_term *parse_or(struct parser *in);

static struct query_term *parse_fail(struct parser *in, const char *why)
{
	if (in->why == NULL)
		in->why = why;
	return NULL;
}

static struct query_term *term_new(struct parser *in, enum query_op op, struct query_term *a,
				   struct query_term *b)
{
	struct query_term *t;

	if (in->q->nterms == QUERY_TERMS_MAX)
		return parse_fail(in, "this search has too many parts");
	t = &in->q->terms[in->q->nterms++];
	*t = (struct query_term){.op = op, .a = a, .b = b, .min = INT64_MIN, .max = INT64_MAX};
	return t;
}

static void skip_blanks(struct parser *in)
{
	while (isspace((unsigned char)*in->p))
		in->p++;
}

/* Letters up to the end of a word, or what stands between quotes. */
static const char *parse_text(struct parser *in)
{
	char *out = in->q->text + in->q->text_len, *to = out;

	if (*in->p == '"') {
		in->p++;
		while (*in->p != '\0' && *in->p != '"')
			*to++ = *in->p++;
		if (*in->p == '"')
			in->p++;
	} else {
		while (*in->p != '\0' && !isspace((unsigned char)*in->p) &&
		       strchr("()|\"", *in->p) == NULL)
			*to++ = *in->p++;
	}
	*to = '\0';
	in->q->text_len += (size_t)(to - out) + 1;
	return out;
}

/* ---- values -------------------------------------------------------------------------------- */

/* A year, month or day: from its begin to its end. */
static bool parse_day(const char *text, int64_t *begin, int64_t *end)
{
	struct tm from = {.tm_mday = 1}, to;
	uint64_t v[3] = {0, 1, 1};
	unsigned n = 0;

	while (n < 3) {
		size_t len = strcspn(text, "-");
		char part[8];

		if (len == 0 || len >= sizeof(part))
			return false;
		memcpy(part, text, len);
		part[len] = '\0';
		if (conf_number(part, n == 0 ? 1 : 1, n == 0 ? 9999 : n == 1 ? 12 : 31, &v[n]) != 0)
			return false;
		n++;
		text += len;
		if (*text == '\0')
			break;
		text++;
	}
	if (*text != '\0')
		return false;
	from.tm_year = (int)v[0] - 1900;
	from.tm_mon = (int)v[1] - 1;
	from.tm_mday = (int)v[2];
	to = from;
	*(n == 1 ? &to.tm_year : n == 2 ? &to.tm_mon : &to.tm_mday) += 1;
	*begin = (int64_t)timegm(&from) * NS_PER_S;
	*end = (int64_t)timegm(&to) * NS_PER_S - 1;
	return true;
}

static bool parse_bytes(const char *text, int64_t *begin, int64_t *end)
{
	const char *why;
	uint64_t bytes;

	if (strcmp(text, "0") == 0)
		bytes = 0;
	else if (size_parse(text, &bytes, &why) != 0 || bytes > INT64_MAX)
		return false;
	*begin = *end = (int64_t)bytes;
	return true;
}

/* ">X", ">=X", "<X", "<=X", "X..Y", "X..", "..Y", "X". */
static bool parse_range(char *text, bool (*value)(const char *text, int64_t *begin, int64_t *end),
			struct query_term *t)
{
	char *dots = strstr(text, "..");
	int64_t begin, end;

	if (dots != NULL) {
		*dots = '\0';
		if (*text != '\0' && !value(text, &t->min, &end))
			return false;
		return dots[2] == '\0' || value(dots + 2, &begin, &t->max);
	}
	if (*text == '>' || *text == '<') {
		bool above = *text++ == '>', equal = *text == '=';

		if (!value(text + equal, &begin, &end))
			return false;
		if (above)
			t->min = equal ? begin : end + 1;
		else
			t->max = equal ? end : begin - 1;
		return true;
	}
	return value(text, &t->min, &t->max);
}

static bool parse_kind(const char *text, struct query_term *t)
{
	for (int i = 0; i < EXTRACT_KIND_COUNT; i++)
		if (strcmp(text, extract_kind_names[i]) == 0) {
			t->min = i;
			return true;
		}
	return false;
}

static bool parse_state(const char *text, struct query_term *t)
{
	static const struct {
		const char *name;
		int state;
	} states[] = {{"waiting", RECORD_WAITING},
		      {"done", RECORD_DONE},
		      {"failed", RECORD_FAILED},
		      {"folder", QUERY_IS_FOLDER},
		      {"file", QUERY_IS_FILE}};

	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		if (strcmp(text, states[i].name) == 0) {
			t->min = states[i].state;
			return true;
		}
	return false;
}

/* ---- terms --------------------------------------------------------------------------------- */

static const struct parse_key {
	const char *key;
	enum query_op op;
} keys[] = {
	{"tag:", QUERY_TAG},   {"name:", QUERY_PART}, {"kind:", QUERY_KIND}, {"size:", QUERY_SIZE},
	{"date:", QUERY_DATE}, {"in:", QUERY_IN},     {"is:", QUERY_STATE},
};

static struct query_term *parse_keyed(struct parser *in, const struct parse_key *key)
{
	struct query_term *t;
	char *text;

	in->p += strlen(key->key);
	text = (char *)parse_text(in);
	t = term_new(in, key->op, NULL, NULL);
	if (t == NULL)
		return NULL;
	t->text = text;
	if (key->op != QUERY_IN)
		textpool_fold(text, strlen(text), text);
	if (key->op != QUERY_IN && *text == '\0')
		return parse_fail(in, "something is missing behind a colon");
	switch (key->op) {
	case QUERY_KIND:
		return parse_kind(text, t) ? t : parse_fail(in, "this kind of file is not known");
	case QUERY_STATE:
		return parse_state(text, t)
			       ? t
			       : parse_fail(in, "is: takes waiting, done, failed, file or folder");
	case QUERY_SIZE:
		return parse_range(text, parse_bytes, t)
			       ? t
			       : parse_fail(in, "say a size as size:>10M or size:1K..2M");
	case QUERY_DATE:
		return parse_range(text, parse_day, t)
			       ? t
			       : parse_fail(in,
					    "say a date as date:2024-05 or date:2024-05-03..2025");
	default:
		return t;
	}
}

static struct query_term *parse_word(struct parser *in)
{
	struct query_term *t;
	char *text;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (strncmp(in->p, keys[i].key, strlen(keys[i].key)) == 0)
			return parse_keyed(in, &keys[i]);
	text = (char *)parse_text(in);
	textpool_fold(text, strlen(text), text);
	t = term_new(in, *text != '\0' ? QUERY_WORD : QUERY_ALL, NULL, NULL);
	if (t != NULL)
		t->text = text;
	return t;
}

static bool parse_is(struct parser *in, const char *word)
{
	size_t len = strlen(word);

	if (strncmp(in->p, word, len) != 0 ||
	    (in->p[len] != '\0' && !isspace((unsigned char)in->p[len]) && in->p[len] != '('))
		return false;
	in->p += len;
	return true;
}

static struct query_term *parse_one(struct parser *in)
{
	struct query_term *t;

	skip_blanks(in);
	if (++in->depth > QUERY_DEPTH_MAX)
		return parse_fail(in, "this search is nested too deeply");
	if (*in->p == '-' || parse_is(in, "NOT")) {
		in->p += *in->p == '-';
		t = parse_one(in);
		t = t != NULL ? term_new(in, QUERY_NOT, t, NULL) : NULL;
	} else if (*in->p == '(') {
		in->p++;
		t = parse_or(in);
		skip_blanks(in);
		if (t != NULL && *in->p != ')')
			return parse_fail(in, "a bracket is not closed");
		in->p += *in->p == ')';
	} else if (*in->p == ')' || *in->p == '|' || *in->p == '\0') {
		t = parse_fail(in, "something is missing in this search");
	} else {
		t = parse_word(in);
	}
	in->depth--;
	return t;
}

static struct query_term *parse_and(struct parser *in)
{
	struct query_term *t = parse_one(in);

	while (t != NULL) {
		struct query_term *b;

		skip_blanks(in);
		if (*in->p == '\0' || *in->p == ')' || *in->p == '|' ||
		    (strncmp(in->p, "OR", 2) == 0 &&
		     (isspace((unsigned char)in->p[2]) || in->p[2] == '(')))
			break;
		(void)parse_is(in, "AND");
		b = parse_one(in);
		t = b != NULL ? term_new(in, QUERY_AND, t, b) : NULL;
	}
	return t;
}

static struct query_term *parse_or(struct parser *in)
{
	struct query_term *t = parse_and(in);

	while (t != NULL) {
		struct query_term *b;

		skip_blanks(in);
		if (*in->p == '|')
			in->p++;
		else if (!parse_is(in, "OR"))
			break;
		b = parse_and(in);
		t = b != NULL ? term_new(in, QUERY_OR, t, b) : NULL;
	}
	return t;
}

int query_parse(const char *text, struct query_parsed *q, const char **why)
{
	struct parser in = {.p = text, .q = q};

	*why = "this search is too long";
	q->nterms = 0;
	q->text_len = 0;
	if (strlen(text) > QUERY_TEXT_MAX)
		return -EINVAL;
	skip_blanks(&in);
	q->top = *in.p == '\0' ? term_new(&in, QUERY_ALL, NULL, NULL) : parse_or(&in);
	skip_blanks(&in);
	if (q->top != NULL && *in.p != '\0')
		q->top = parse_fail(&in, "a bracket is closed that was not opened");
	*why = in.why;
	return q->top != NULL ? 0 : -EINVAL;
}
