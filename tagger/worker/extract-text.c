/*
 * Plain text, Markdown and its relatives, source code.
 */
#include "config.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tagger/worker/mark.h"
#include "tagger/worker/segment.h"
#include "tagger/worker/worker.h"

#include "banned.h"

#define TEXT_MAX INPUT_HEAD_MAX

/* The head as UTF-8. *own is what to free() in the end. */
static void text_open(struct work *w, const char **text, size_t *len, char **own)
{
	const char *encoding = w->sniffed->encoding;

	*own = NULL;
	*text = (const char *)w->in->head;
	*len = w->in->head_len;
	if (strcmp(encoding, "us-ascii") == 0 || strcmp(encoding, "utf-8") == 0)
		return;
	if (segment_to_utf8(encoding, *text, *len, own, len) == 0)
		*text = *own;
	else
		*len = w->in->head_len;
}

/* "2024-05-01" and what begins so, in UTC. */
static void date_add(struct work *w, const char *text, size_t len)
{
	struct tm tm = {0};
	char buf[32];

	if (len < 10 || len >= sizeof(buf))
		return;
	memcpy(buf, text, len);
	buf[len] = '\0';
	if (strptime(buf, "%Y-%m-%d", &tm) != NULL)
		out_fact_number(w->out, EXTRACT_FACT_DATE, (double)timegm(&tm));
}

/* The marks at the edge of a comment are no part of what is shown. */
static void comment_take(struct work *w, const char *text, size_t len)
{
	size_t at = 0;

	words_feed(w->words, text, len, ZONE_BODY);
	while (at < len) {
		const char *nl = memchr(text + at, '\n', len - at);
		size_t end = nl != NULL ? (size_t)(nl - text) : len;

		while (at < end && strchr("/*#;%!- \t\r", text[at]) != NULL && text[at] != '\0')
			at++;
		if (at < end)
			out_excerpt(w->out, text + at, end - at);
		at = end + 1;
	}
}

static void part_take(void *arg, enum mark_part part, const char *text, size_t len)
{
	struct work *w = arg;

	switch (part) {
	case MARK_TEXT:
		work_text(w, text, len, ZONE_BODY);
		break;
	case MARK_HEADING:
		work_text(w, text, len, ZONE_HEADING);
		break;
	case MARK_CODE:
		words_feed(w->words, text, len, ZONE_CODE);
		break;
	case MARK_COMMENT:
		comment_take(w, text, len);
		break;
	case MARK_DEFINITION:
		words_feed(w->words, text, len, ZONE_HEADING);
		break;
	case MARK_LINK:
		out_link(w->out, text, len);
		break;
	case MARK_TITLE:
		out_fact_text(w->out, EXTRACT_FACT_TITLE, text, len);
		words_feed(w->words, text, len, ZONE_TITLE);
		break;
	case MARK_AUTHOR:
		out_fact_text(w->out, EXTRACT_FACT_AUTHOR, text, len);
		break;
	case MARK_KEYWORDS:
		words_feed(w->words, text, len, ZONE_KEYWORDS);
		break;
	case MARK_DATE:
		date_add(w, text, len);
		break;
	}
}

void extract_text(struct work *w)
{
	const char *text;
	size_t len;
	char *own;

	text_open(w, &text, &len, &own);
	mark_plain(text, len, part_take, w);
	free(own);
}

struct markdown {
	struct work *w;
	bool titled;
};

/* The first heading is the title, unless the front matter gave one. */
static void markdown_take(void *arg, enum mark_part part, const char *text, size_t len)
{
	struct markdown *m = arg;

	if (part == MARK_TITLE || part == MARK_HEADING) {
		if (!m->titled && part == MARK_HEADING)
			out_fact_text(m->w->out, EXTRACT_FACT_TITLE, text, len);
		m->titled = true;
	}
	part_take(m->w, part, text, len);
}

void extract_markdown(struct work *w)
{
	struct markdown m = {.w = w};
	const char *text;
	size_t len;
	char *own;

	text_open(w, &text, &len, &own);
	mark_markdown(text, len, markdown_take, &m);
	free(own);
}

static enum mark_comments comments_of(const char *mime)
{
	static const struct {
		const char *mime;
		enum mark_comments comments;
	} table[] = {
		{"text/x-script.python", MARK_COMMENTS_HASH},
		{"text/x-python", MARK_COMMENTS_HASH},
		{"text/x-perl", MARK_COMMENTS_HASH},
		{"text/x-shellscript", MARK_COMMENTS_HASH},
		{"text/x-ruby", MARK_COMMENTS_HASH},
		{"text/x-tcl", MARK_COMMENTS_HASH},
		{"text/x-awk", MARK_COMMENTS_HASH},
		{"text/x-makefile", MARK_COMMENTS_HASH},
		{"text/x-m4", MARK_COMMENTS_HASH},
		{"text/x-lisp", MARK_COMMENTS_LISP},
		{"text/x-asm", MARK_COMMENTS_LISP},
		{"text/x-lua", MARK_COMMENTS_SQL},
		{"text/x-sql", MARK_COMMENTS_SQL},
		{"text/x-diff", MARK_COMMENTS_TEX},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (strcmp(mime, table[i].mime) == 0)
			return table[i].comments;
	return MARK_COMMENTS_C;
}

void extract_source(struct work *w)
{
	const char *text;
	size_t len;
	char *own;

	text_open(w, &text, &len, &own);
	mark_source(text, len, comments_of(w->sniffed->mime), part_take, w);
	free(own);
}
