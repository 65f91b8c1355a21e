/*
 * The structure of text that people write by hand: headings, links, code, front matter of Markdown
 * and reStructuredText; comments and definitions of source code. Pure scanners over bytes, which
 * may be anything.
 */
#ifndef WEFT_TAGGER_MARK_H
#define WEFT_TAGGER_MARK_H

#include <stddef.h>

enum mark_part {
	MARK_TEXT,
	MARK_HEADING,
	MARK_CODE,
	MARK_LINK,  /* a target */
	MARK_TITLE, /* front matter: */
	MARK_AUTHOR,
	MARK_KEYWORDS,
	MARK_DATE,
	MARK_COMMENT,	 /* source: */
	MARK_DEFINITION, /* the name of what is defined */
};

typedef void mark_done(void *arg, enum mark_part part, const char *text, size_t len);

void mark_plain(const char *text, size_t len, mark_done *done, void *arg);
void mark_markdown(const char *text, size_t len, mark_done *done, void *arg);
/* How comments begin. */
enum mark_comments {
	MARK_COMMENTS_C,
	MARK_COMMENTS_HASH,
	MARK_COMMENTS_LISP,
	MARK_COMMENTS_SQL,
	MARK_COMMENTS_TEX
};
void mark_source(const char *text, size_t len, enum mark_comments comments, mark_done *done,
		 void *arg);

#endif
