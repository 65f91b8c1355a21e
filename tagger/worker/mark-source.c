/*
 * Source code: what is comment, what is code, and which names are defined. It knows no grammar,
 * only how comments and strings look and which words introduce a name; that is right for nearly all
 * lines, and the rest is code like any other.
 */
#include "config.h"

#include <stdbool.h>
#include <string.h>

#include "tagger/worker/mark.h"

#include "banned.h"

#define NAME_MAX_BYTES 128u

struct scan {
	const char *text;
	size_t len, at, from; /* code from there on is not given yet */
	enum mark_comments comments;
	mark_done *done;
	void *arg;
};

static bool is_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_';
}

static bool starts(const struct scan *s, size_t at, const char *what)
{
	size_t n = strlen(what);

	return s->len - at >= n && memcmp(s->text + at, what, n) == 0;
}

static void code_give(struct scan *s, size_t to)
{
	if (to > s->from)
		s->done(s->arg, MARK_CODE, s->text + s->from, to - s->from);
}

static const char *line_mark(enum mark_comments comments)
{
	switch (comments) {
	case MARK_COMMENTS_C:
		return "//";
	case MARK_COMMENTS_HASH:
		return "#";
	case MARK_COMMENTS_LISP:
		return ";";
	case MARK_COMMENTS_SQL:
		return "--";
	case MARK_COMMENTS_TEX:
		return "%";
	}
	return "#";
}

/* The bytes of a comment that begins at s->at; 0: there is none. */
static size_t comment_len(const struct scan *s)
{
	const char *end;

	if (s->comments == MARK_COMMENTS_C && starts(s, s->at, "/*")) {
		end = memmem(s->text + s->at + 2, s->len - s->at - 2, "*/", 2);
		return end != NULL ? (size_t)(end + 2 - s->text) - s->at : s->len - s->at;
	}
	if (!starts(s, s->at, line_mark(s->comments)))
		return 0;
	/* $#array, s#a#b# */
	if (s->comments == MARK_COMMENTS_HASH && s->at > 0 && s->text[s->at - 1] > ' ')
		return 0;
	end = memchr(s->text + s->at, '\n', s->len - s->at);
	return end != NULL ? (size_t)(end - s->text) - s->at : s->len - s->at;
}

/* The bytes of a string that begins at s->at and ends on its line; else 0. */
static size_t string_len(const struct scan *s)
{
	char quote = s->text[s->at];
	size_t i;

	if (quote != '"' && (quote != '\'' || s->comments == MARK_COMMENTS_LISP))
		return 0;
	for (i = s->at + 1; i < s->len && s->text[i] != '\n'; i++) {
		if (s->text[i] == '\\')
			i++;
		else if (s->text[i] == quote)
			return i + 1 - s->at;
	}
	return 0;
}

static void name_give(struct scan *s, size_t from, size_t to)
{
	if (to - from >= 3 && to - from < NAME_MAX_BYTES)
		s->done(s->arg, MARK_DEFINITION, s->text + from, to - from);
}

/* "def name", "class Name", "function name": the name, when the line at the place begins so. */
static bool definition_word(struct scan *s, size_t at, size_t end)
{
	static const char *const words[] = {
		"def ",	      "class ",	 "function ", "sub ",	  "fn ",
		"func ",      "struct ", "enum ",     "trait ",	  "interface ",
		"procedure ", "type ",	 "module ",   "package ", "defun ",
	};
	static const char *const before[] = {"pub ",	"export ", "public ",  "async ",
					     "static ", "(",	   "default ", "abstract "};

	for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++)
		if (starts(s, at, before[i]))
			at += strlen(before[i]);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t to;

		if (!starts(s, at, words[i]))
			continue;
		at += strlen(words[i]);
		while (at < end && s->text[at] == ' ')
			at++;
		for (to = at; to < end && is_name(s->text[to]);)
			to++;
		name_give(s, at, to);
		return true;
	}
	return false;
}

/* What a line of code defines or includes. at: its start. */
static void line_look(struct scan *s, size_t at)
{
	const char *nl = memchr(s->text + at, '\n', s->len - at), *paren;
	size_t end = nl != NULL ? (size_t)(nl - s->text) : s->len, from, to;

	if (starts(s, at, "#include \"")) {
		const char *quote = memchr(s->text + at + 10, '"', end - at - 10);

		if (quote != NULL)
			s->done(s->arg, MARK_LINK, s->text + at + 10,
				(size_t)(quote - s->text) - at - 10);
		return;
	}
	from = at;
	while (from < end && (s->text[from] == ' ' || s->text[from] == '\t'))
		from++;
	if (definition_word(s, from, end) || from != at || s->comments != MARK_COMMENTS_C ||
	    from == end || !is_name(s->text[at]))
		return;
	/* type name(arguments at the edge of the page: a function of C */
	paren = memchr(s->text + at, '(', end - at);
	if (paren == NULL || s->text[end - 1] == ';')
		return;
	to = (size_t)(paren - s->text);
	for (from = to; from > at && is_name(s->text[from - 1]);)
		from--;
	if (from > at)
		name_give(s, from, to);
}

void mark_source(const char *text, size_t len, enum mark_comments comments, mark_done *done,
		 void *arg)
{
	struct scan s = {.text = text, .len = len, .comments = comments, .done = done, .arg = arg};
	bool line_start = true;

	while (s.at < len) {
		size_t n = comment_len(&s);

		if (n > 0) {
			code_give(&s, s.at);
			done(arg, MARK_COMMENT, text + s.at, n);
			s.at = s.from = s.at + n;
			line_start = false;
			continue;
		}
		if (line_start)
			line_look(&s, s.at);
		line_start = text[s.at] == '\n';
		n = string_len(&s);
		s.at += n > 0 ? n : 1;
	}
	code_give(&s, len);
}
