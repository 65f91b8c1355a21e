/*
 * Searching the index. A query is text as people type it:
 *
 *	berlin holiday		both (AND)
 *	berlin | hamburg	either (also OR)
 *	-draft			not
 *	( )			groups
 *	"new york"		words with blanks
 *	tag:beach		a tag, exactly
 *	name:report		part of a name
 *	kind:image		what it is
 *	size:>10M size:1K..2M	size
 *	date:2024 date:2024-05..2024-07 date:>2024-05-03	date of last change
 *	in:photos/2024		in this folder, at any depth
 *	is:failed is:waiting is:folder
 *
 * A plain word is a tag with that in it, or a name with that in it. The header of a pure module but
 * for the index; nothing here waits.
 */
#ifndef WEFT_TAGGER_QUERY_H
#define WEFT_TAGGER_QUERY_H

#include "tagger/scope.h"

#define QUERY_TEXT_MAX	 1024u
#define QUERY_TERMS_MAX	 64u
#define QUERY_DEPTH_MAX	 16u
#define QUERY_WORD_TAGS	 64u /* tags that a plain word stands for, the commonest */
#define QUERY_LIMIT_MAX	 1000u
#define QUERY_OFFSET_MAX 1000000u

enum query_sort {
	QUERY_BEST,
	QUERY_NAME,
	QUERY_NEWEST,
	QUERY_OLDEST,
	QUERY_LARGEST,
	QUERY_SMALLEST
};

struct query_hit {
	uint32_t file;
	float score;
};

struct query_result {
	uint32_t total;
	uint32_t n;
	struct query_hit *hits; /* from offset on */
};

/* 0 or -EINVAL with a sentence, -ENOMEM. An empty query is all files. Here and below: only files of
 * only are found and counted; NULL: all. It must be of this moment. */
int query_run(const struct index *ix, const char *text, const struct scope_set *only,
	      enum query_sort sort, uint32_t offset, uint32_t limit, struct query_result *out,
	      const char **why);
void query_result_free(struct query_result *r);
bool query_sort_from_name(const char *name, enum query_sort *out);

struct query_tag {
	uint32_t tag;
	uint32_t files;
	bool prefix; /* the text begins with what was typed */
};

/* Tags that begin with text or, after those, have it in them; the commonest first. Returns how many
 * (at most max). */
unsigned query_suggest(const struct index *ix, const char *text, const struct scope_set *only,
		       struct query_tag *out, unsigned max);
/* All tags with files, the commonest first, whose text has filter ("" all) in it. total: of them.
 */
int query_tags(const struct index *ix, const char *filter, const struct scope_set *only,
	       uint32_t offset, uint32_t limit, struct query_tag **out, uint32_t *n,
	       uint32_t *total);

#endif
