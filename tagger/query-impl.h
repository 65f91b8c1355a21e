/* What query.c, query-parse.c and query-rank.c share. */
#ifndef WEFT_TAGGER_QUERY_IMPL_H
#define WEFT_TAGGER_QUERY_IMPL_H

#include "tagger/query.h"

enum query_op {
	QUERY_AND,
	QUERY_OR,
	QUERY_NOT,
	QUERY_ALL,
	QUERY_WORD, /* text */
	QUERY_TAG,
	QUERY_PART, /* of a name */
	QUERY_KIND, /* min */
	QUERY_SIZE, /* min to max */
	QUERY_DATE, /* nanoseconds, min to max */
	QUERY_IN,   /* text is a path */
	QUERY_STATE /* min; QUERY_IS_FOLDER is none of the states */
};

#define QUERY_IS_FOLDER 100
#define QUERY_IS_FILE	101

struct query_term {
	enum query_op op;
	struct query_term *a, *b; /* AND, OR; NOT has a */
	const char *text;	  /* folded but for paths; ended by NUL */
	int64_t min, max;
};

struct query_parsed {
	struct query_term terms[QUERY_TERMS_MAX];
	unsigned nterms;
	char text[QUERY_TEXT_MAX + QUERY_TERMS_MAX + 1]; /* of the terms */
	size_t text_len;
	struct query_term *top;
};

/* ---- query-parse.c: 0 or -EINVAL with a sentence */
int query_parse(const char *text, struct query_parsed *q, const char **why);

/* ---- query-rank.c: the best few of many */
struct query_rank {
	struct query_hit *hits; /* a heap, the worst on top */
	uint32_t n, max;
	/* is a better than b? */
	bool (*better)(const void *ctx, const struct query_hit *a, const struct query_hit *b);
	const void *ctx;
};
int query_rank_init(struct query_rank *r, uint32_t max,
		    bool (*better)(const void *ctx, const struct query_hit *a,
				   const struct query_hit *b),
		    const void *ctx);
void query_rank_add(struct query_rank *r, struct query_hit hit);
/* Best first. hits is the caller's now. */
struct query_hit *query_rank_end(struct query_rank *r);

#endif
