/*
 * Markdown, reStructuredText and plain text, line by line. Not a renderer: what is ambiguous is
 * text.
 */
#include "config.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "tagger/worker/mark.h"

#include "banned.h"

#define FRONT_LINES_MAX 64
#define LINK_MAX	1024u
#define LABEL_MAX	512u /* how far a link's text may reach */

struct line {
	const char *text;
	size_t len; /* without its end */
};

/* The line at *at; false at the end. */
static bool line_next(const char *text, size_t len, size_t *at, struct line *line)
{
	const char *end;

	if (*at >= len)
		return false;
	end = memchr(text + *at, '\n', len - *at);
	line->text = text + *at;
	line->len = end != NULL ? (size_t)(end - line->text) : len - *at;
	*at += line->len + 1;
	if (line->len > 0 && line->text[line->len - 1] == '\r')
		line->len--;
	return true;
}

static struct line line_trim(struct line l)
{
	while (l.len > 0 && (l.text[0] == ' ' || l.text[0] == '\t'))
		l.text++, l.len--;
	while (l.len > 0 && (l.text[l.len - 1] == ' ' || l.text[l.len - 1] == '\t'))
		l.len--;
	return l;
}

/* Is it a line of one mark only, as under a heading? */
static bool line_rules(struct line l, const char *marks)
{
	l = line_trim(l);
	if (l.len < 3 || l.text[0] == '\0' || strchr(marks, l.text[0]) == NULL)
		return false;
	for (size_t i = 1; i < l.len; i++)
		if (l.text[i] != l.text[0])
			return false;
	return true;
}

static bool line_underlined(const char *text, size_t len, size_t next, const struct line *line,
			    const char *marks)
{
	struct line under;
	size_t trimmed = line_trim(*line).len;

	return trimmed > 0 && trimmed < 100 && line_next(text, len, &next, &under) &&
	       line_rules(under, marks) && under.len * 2 >= trimmed;
}

void mark_plain(const char *text, size_t len, mark_done *done, void *arg)
{
	size_t at = 0, from = 0;
	struct line line;

	for (size_t start = 0; line_next(text, len, &at, &line); start = at) {
		if (!line_underlined(text, len, at, &line, "=-~*#"))
			continue;
		if (start > from)
			done(arg, MARK_TEXT, text + from, start - from);
		done(arg, MARK_HEADING, line.text, line.len);
		if (!line_next(text, len, &at, &line))
			return;
		from = at;
	}
	if (from < len)
		done(arg, MARK_TEXT, text + from, len - from);
}

/* ---- links ------------------------------------------------------------------------------------
 */

static void link_give(const char *p, size_t len, mark_done *done, void *arg)
{
	while (len > 0 && (*p == ' ' || *p == '<'))
		p++, len--;
	/* [text](target "title") */
	for (size_t i = 0; i < len; i++)
		if (p[i] == ' ' || p[i] == '>' || p[i] == '\t')
			len = i;
	if (len > 0 && len < LINK_MAX)
		done(arg, MARK_LINK, p, len);
}

/* [text](target), ![image](target), <https://...>, `text <target>`_ */
static void links_inline(struct line l, mark_done *done, void *arg)
{
	for (size_t i = 0; i + 1 < l.len; i++) {
		const char *end;

		if (l.text[i] == ']' && l.text[i + 1] == '(') {
			end = memchr(l.text + i, ')', l.len - i);
			if (end != NULL)
				link_give(l.text + i + 2, (size_t)(end - l.text) - i - 2, done,
					  arg);
		} else if (l.text[i] == '<') {
			size_t left = l.len - i;

			end = memchr(l.text + i, '>', left < LABEL_MAX ? left : LABEL_MAX);
			/* an address, or the target of a reference; not a tag */
			if (end != NULL &&
			    (memmem(l.text + i, (size_t)(end - l.text) - i, "://", 3) != NULL ||
			     (end + 2 < l.text + l.len && end[1] == '`' && end[2] == '_')))
				link_give(l.text + i + 1, (size_t)(end - l.text) - i - 1, done,
					  arg);
		}
	}
}

/* [label]: target; .. _label: target; .. image:: target. False: it is something else. */
static bool link_definition(struct line l, mark_done *done, void *arg)
{
	const char *colon;

	l = line_trim(l);
	if (l.len > 4 && l.text[0] == '[') {
		colon = memmem(l.text, l.len, "]:", 2);
		if (colon == NULL)
			return false;
		link_give(colon + 2, l.len - (size_t)(colon + 2 - l.text), done, arg);
		return true;
	}
	if (l.len > 6 && memcmp(l.text, ".. ", 3) == 0) {
		colon = memmem(l.text, l.len, ": ", 2);
		if (colon == NULL)
			return true;
		if (l.text[3] == '_' || memmem(l.text, l.len, "image::", 7) != NULL ||
		    memmem(l.text, l.len, "include::", 9) != NULL)
			link_give(colon + 2, l.len - (size_t)(colon + 2 - l.text), done, arg);
		return true;
	}
	return false;
}

/* Text without its marks of links, so that targets are no words. */
static void text_give(struct line l, mark_done *done, void *arg)
{
	size_t from = 0;

	links_inline(l, done, arg);
	for (size_t i = 0; i + 1 < l.len; i++) {
		const char *end;

		if (l.text[i] != ']' || l.text[i + 1] != '(')
			continue;
		end = memchr(l.text + i, ')', l.len - i);
		if (end == NULL)
			break;
		if (i > from)
			done(arg, MARK_TEXT, l.text + from, i - from);
		i = (size_t)(end - l.text);
		from = i + 1;
	}
	if (from < l.len)
		done(arg, MARK_TEXT, l.text + from, l.len - from);
}

/* ---- front matter ------------------------------------------------------------------------------
 */

static const struct {
	const char *key;
	enum mark_part part;
} front_keys[] = {
	{"title:", MARK_TITLE},	      {"author:", MARK_AUTHOR},	    {"authors:", MARK_AUTHOR},
	{"tags:", MARK_KEYWORDS},     {"keywords:", MARK_KEYWORDS}, {"categories:", MARK_KEYWORDS},
	{"category:", MARK_KEYWORDS}, {"date:", MARK_DATE},
};

static struct line value_of(struct line l, size_t key)
{
	l.text += key;
	l.len -= key;
	l = line_trim(l);
	while (l.len > 0 && strchr("\"'[", l.text[0]) != NULL && l.text[0] != '\0')
		l.text++, l.len--;
	while (l.len > 0 && strchr("\"']", l.text[l.len - 1]) != NULL && l.text[l.len - 1] != '\0')
		l.len--;
	return l;
}

/* "---", "key: value" lines, "---". Returns where the text begins: 0 if there is none. */
static size_t front_matter(const char *text, size_t len, mark_done *done, void *arg)
{
	enum mark_part list = MARK_TEXT; /* of "- item" lines below a key */
	struct line line;
	size_t at = 0, end = 0, probe;

	if (!line_next(text, len, &at, &line) || line.len != 3 || memcmp(line.text, "---", 3) != 0)
		return 0;
	probe = at;
	for (int n = 0; n < FRONT_LINES_MAX && end == 0 && line_next(text, len, &probe, &line); n++)
		if (line.len == 3 &&
		    (memcmp(line.text, "---", 3) == 0 || memcmp(line.text, "...", 3) == 0))
			end = probe;
	while (end != 0 && at < end && line_next(text, len, &at, &line)) {
		struct line item = line_trim(line);

		if (list != MARK_TEXT && item.len > 2 && item.text[0] == '-' &&
		    item.text[1] == ' ') {
			item = value_of(item, 2);
			done(arg, list, item.text, item.len);
			continue;
		}
		list = MARK_TEXT;
		for (size_t i = 0; i < sizeof(front_keys) / sizeof(front_keys[0]); i++) {
			size_t n = strlen(front_keys[i].key);

			if (line.len < n || strncasecmp(line.text, front_keys[i].key, n) != 0)
				continue;
			item = value_of(line, n);
			list = front_keys[i].part;
			if (item.len > 0)
				done(arg, front_keys[i].part, item.text, item.len);
		}
	}
	return end;
}

/* ---- the whole --------------------------------------------------------------------------------
 */

/* "## Title ##": where the title is; false if it is none. */
static bool heading_atx(struct line l, struct line *out)
{
	size_t n = 0;

	l = line_trim(l);
	while (n < l.len && l.text[n] == '#')
		n++;
	if (n == 0 || n > 6 || n == l.len || l.text[n] != ' ')
		return false;
	l.text += n;
	l.len -= n;
	while (l.len > 0 && l.text[l.len - 1] == '#')
		l.len--;
	*out = line_trim(l);
	return true;
}

static bool line_fence(struct line l)
{
	l = line_trim(l);
	return l.len >= 3 && (memcmp(l.text, "```", 3) == 0 || memcmp(l.text, "~~~", 3) == 0);
}

void mark_markdown(const char *text, size_t len, mark_done *done, void *arg)
{
	size_t at = front_matter(text, len, done, arg);
	struct line line, heading;
	bool code = false;

	while (line_next(text, len, &at, &line)) {
		if (line_fence(line)) {
			code = !code;
		} else if (code) {
			done(arg, MARK_CODE, line.text, line.len);
		} else if (heading_atx(line, &heading)) {
			done(arg, MARK_HEADING, heading.text, heading.len);
		} else if (line_underlined(text, len, at, &line, "=-~^\"'`#*+")) {
			done(arg, MARK_HEADING, line.text, line.len);
			line_next(text, len, &at, &line);
		} else if (!link_definition(line, done, arg) && line.len > 0) {
			text_give(line, done, arg);
		}
	}
}
