/*
 * See query.h. Sets of files are bit maps: a million files are 125 KiB, and all that "and", "or"
 * and "not" do is a loop over words. Scores are summed in an array beside them.
 */
#include "config.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tagger/query-impl.h"
#include "banned.h"

#define SCORE_EXACT 1.0f
#define SCORE_PART  0.4f
#define SCORE_NAME  1.5f
#define LOOK_UP	    16u /* times fewer candidates than files of a tag: they are looked up */

struct search {
	const struct index *ix;
	size_t words; /* of a bit map */
	const uint64_t *all;
	const struct scope_set *only;
	float *score;
	bool failed; /* no memory */
};

static uint64_t *set_new(struct search *s)
{
	uint64_t *set = calloc(s->words, sizeof(*set));

	s->failed |= set == NULL;
	return set;
}

static void set_add(uint64_t *set, uint32_t file)
{
	set[file / 64] |= 1ull << (file % 64);
}

/* ---- terms --------------------------------------------------------------------------------- */

static uint32_t set_count(const struct search *s, const uint64_t *set)
{
	uint32_t n = 0;

	for (size_t w = 0; w < s->words; w++)
		n += (uint32_t)__builtin_popcountll(set[w]);
	return n;
}

/* The files of a tag, at least those in within: when these are few, they are looked up. */
static void search_tag(struct search *s, uint64_t *set, const uint64_t *within, uint32_t tag,
		       float factor)
{
	const struct tag *t = &s->ix->tags[tag];
	float w = factor * (index_idf(s->ix, tag) + 0.1f) / 255.0f;
	uint32_t at = 0;

	if (within == s->all || set_count(s, within) > t->n / LOOK_UP) {
		for (uint32_t i = 0; i < t->n; i++) {
			uint32_t file = index_tag_file(t, i);

			set_add(set, file);
			s->score[file] += w * index_tag_weight(t, i);
		}
		return;
	}
	for (size_t i = 0; i < s->words; i++)
		for (uint64_t bits = within[i]; bits != 0; bits &= bits - 1) {
			uint32_t file = (uint32_t)(i * 64 + (size_t)__builtin_ctzll(bits));

			at = index_tag_seek(t, at, file);
			if (at == t->n)
				return;
			if (index_tag_file(t, at) != file)
				continue;
			set_add(set, file);
			s->score[file] += w * index_tag_weight(t, at);
		}
}

struct search_names {
	struct search *s;
	uint64_t *set;
	size_t len; /* of what is searched */
};

static bool search_name(void *arg, uint32_t file, uint32_t at)
{
	struct search_names *n = arg;

	set_add(n->set, file);
	n->s->score[file] +=
		SCORE_NAME * (float)n->len / (float)(n->len + strlen(index_name(n->s->ix, file)));
	return true;
}

/* Folded names are kept only where they differ: both are searched. */
static void search_names(struct search *s, uint64_t *set, const char *text)
{
	struct search_names n = {s, set, strlen(text)};

	textpool_search(&s->ix->names, text, n.len, search_name, &n);
	textpool_search(&s->ix->folded, text, n.len, search_name, &n);
}

static void search_word(struct search *s, uint64_t *set, const uint64_t *within, const char *text)
{
	struct query_tag tags[QUERY_WORD_TAGS];
	unsigned n = query_suggest(s->ix, text, s->only, tags, QUERY_WORD_TAGS);
	uint32_t exact = index_tag_find(s->ix, text, strlen(text));

	for (unsigned i = 0; i < n; i++)
		if (tags[i].tag != exact)
			search_tag(s, set, within, tags[i].tag, SCORE_PART);
	if (exact != 0)
		search_tag(s, set, within, exact, SCORE_EXACT);
	search_names(s, set, text);
}

/* Every tag that people read like this; stems may differ. */
static void search_exact(struct search *s, uint64_t *set, const uint64_t *within, const char *text)
{
	uint32_t tag = index_tag_find(s->ix, text, strlen(text)), first = tag;

	if (tag == 0)
		return;
	search_tag(s, set, within, tag, SCORE_EXACT);
	for (tag = index_tag_same(s->ix, text, 0); tag != 0; tag = index_tag_same(s->ix, text, tag))
		if (tag != first)
			search_tag(s, set, within, tag, SCORE_EXACT);
}

/* About how many files a term has: the fewest are looked for first. */
static uint32_t search_guess(const struct search *s, const struct query_term *t)
{
	uint32_t a, b;

	if (t->op == QUERY_TAG) {
		a = index_tag_find(s->ix, t->text, strlen(t->text));
		return a != 0 ? s->ix->tags[a].n : 0;
	}
	if (t->op == QUERY_AND) {
		a = search_guess(s, t->a);
		b = search_guess(s, t->b);
		return a < b ? a : b;
	}
	return t->op >= QUERY_KIND ? UINT32_MAX : UINT32_MAX - 1;
}

static bool search_matches(const struct search *s, const struct query_term *t, uint32_t file,
			   uint32_t folder)
{
	const struct node *n = index_node(s->ix, file);

	switch (t->op) {
	case QUERY_KIND:
		return n->kind == t->min;
	case QUERY_SIZE:
		return n->kind != EXTRACT_KIND_FOLDER && (int64_t)n->size >= t->min &&
		       (int64_t)n->size <= t->max;
	case QUERY_DATE:
		return n->mtime_ns >= t->min && n->mtime_ns <= t->max;
	case QUERY_IN:
		return folder != 0 && file != folder && index_is_below(s->ix, file, folder);
	case QUERY_STATE:
		if (t->min == QUERY_IS_FOLDER || t->min == QUERY_IS_FILE)
			return (n->kind == EXTRACT_KIND_FOLDER) == (t->min == QUERY_IS_FOLDER);
		return n->state == t->min;
	default:
		return false;
	}
}

/* Those of within that fit. */
static void search_filter(struct search *s, const struct query_term *t, uint64_t *set,
			  const uint64_t *within)
{
	uint32_t folder = t->op == QUERY_IN ? index_by_path(s->ix, t->text, strlen(t->text)) : 0;

	for (size_t w = 0; w < s->words; w++)
		for (uint64_t bits = within[w]; bits != 0; bits &= bits - 1) {
			uint32_t file = (uint32_t)(w * 64 + (size_t)__builtin_ctzll(bits));

			if (search_matches(s, t, file, folder))
				set_add(set, file);
		}
}

static bool is_filter(const struct query_term *t)
{
	return t->op >= QUERY_KIND;
}

/* ---- evaluation ---------------------------------------------------------------------------- */

/* The files of a term; of those in within, where it helps. NULL: no memory. */
static uint64_t *search_eval(struct search *s, const struct query_term *t, const uint64_t *within)
{
	uint64_t *set, *b;

	if (t->op == QUERY_AND) {
		/* what is left of the first one is less to look at for the second */
		const struct query_term *first =
			search_guess(s, t->a) <= search_guess(s, t->b) ? t->a : t->b;
		const struct query_term *second = first == t->a ? t->b : t->a;

		set = search_eval(s, first, within);
		b = set != NULL ? search_eval(s, second, set) : NULL;
		for (size_t w = 0; b != NULL && w < s->words; w++)
			set[w] &= b[w];
		free(b);
		return set;
	}
	if (t->op == QUERY_OR || t->op == QUERY_NOT) {
		set = search_eval(s, t->a, within);
		b = set != NULL && t->op == QUERY_OR ? search_eval(s, t->b, within) : NULL;
		for (size_t w = 0; set != NULL && w < s->words; w++)
			set[w] = t->op == QUERY_NOT ? s->all[w] & ~set[w]
						    : set[w] | (b != NULL ? b[w] : 0);
		free(b);
		return set;
	}
	set = set_new(s);
	if (set == NULL)
		return NULL;
	if (is_filter(t))
		search_filter(s, t, set, within);
	else if (t->op == QUERY_ALL)
		memcpy(set, s->all, s->words * sizeof(*set));
	else if (t->op == QUERY_WORD)
		search_word(s, set, within, t->text);
	else if (t->op == QUERY_TAG)
		search_exact(s, set, within, t->text);
	else
		search_names(s, set, t->text);
	return set;
}

/* ---- order --------------------------------------------------------------------------------- */

static bool by_best(const void *ctx, const struct query_hit *a, const struct query_hit *b)
{
	return a->score != b->score ? a->score > b->score : a->file < b->file;
}

static bool by_name(const void *ctx, const struct query_hit *a, const struct query_hit *b)
{
	const struct index *ix = ctx;
	int c = strcasecmp(index_name(ix, a->file), index_name(ix, b->file));

	return c != 0 ? c < 0 : a->file < b->file;
}

static bool by_newest(const void *ctx, const struct query_hit *a, const struct query_hit *b)
{
	const struct node *x = index_node(ctx, a->file), *y = index_node(ctx, b->file);

	return x->mtime_ns != y->mtime_ns ? x->mtime_ns > y->mtime_ns : a->file < b->file;
}

static bool by_oldest(const void *ctx, const struct query_hit *a, const struct query_hit *b)
{
	return by_newest(ctx, b, a);
}

static bool by_largest(const void *ctx, const struct query_hit *a, const struct query_hit *b)
{
	const struct node *x = index_node(ctx, a->file), *y = index_node(ctx, b->file);

	return x->size != y->size ? x->size > y->size : a->file < b->file;
}

static bool by_smallest(const void *ctx, const struct query_hit *a, const struct query_hit *b)
{
	return by_largest(ctx, b, a);
}

static const struct query_order {
	const char *name;
	bool (*better)(const void *ctx, const struct query_hit *a, const struct query_hit *b);
} orders[] = {
	[QUERY_BEST] = {"best", by_best},	   [QUERY_NAME] = {"name", by_name},
	[QUERY_NEWEST] = {"newest", by_newest},	   [QUERY_OLDEST] = {"oldest", by_oldest},
	[QUERY_LARGEST] = {"largest", by_largest}, [QUERY_SMALLEST] = {"smallest", by_smallest},
};

bool query_sort_from_name(const char *name, enum query_sort *out)
{
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++)
		if (strcmp(orders[i].name, name) == 0) {
			*out = (enum query_sort)i;
			return true;
		}
	return false;
}

static int search_collect(struct search *s, const uint64_t *set, enum query_sort sort,
			  uint32_t offset, uint32_t limit, struct query_result *out)
{
	struct query_rank rank;

	out->total = set_count(s, set);
	limit = limit < QUERY_LIMIT_MAX ? limit : QUERY_LIMIT_MAX;
	offset = offset < QUERY_OFFSET_MAX ? offset : QUERY_OFFSET_MAX;
	limit += offset;
	limit = limit < out->total ? limit : out->total;
	if (query_rank_init(&rank, limit, orders[sort].better, s->ix) != 0)
		return -ENOMEM;
	for (size_t w = 0; w < s->words; w++)
		for (uint64_t bits = set[w]; bits != 0; bits &= bits - 1) {
			uint32_t file = (uint32_t)(w * 64 + (size_t)__builtin_ctzll(bits));

			query_rank_add(&rank, (struct query_hit){file, s->score[file]});
		}
	out->hits = query_rank_end(&rank);
	out->n = rank.n > offset ? rank.n - offset : 0;
	memmove(out->hits, out->hits + (rank.n - out->n), out->n * sizeof(*out->hits));
	return 0;
}

int query_run(const struct index *ix, const char *text, const struct scope_set *only,
	      enum query_sort sort, uint32_t offset, uint32_t limit, struct query_result *out,
	      const char **why)
{
	struct query_parsed *q = malloc(sizeof(*q));
	struct search s = {.ix = ix,
			   .words = (ix->next_file + 63) / 64,
			   .all = only != NULL ? only->bits : ix->used,
			   .only = only};
	uint64_t *set = NULL;
	int err;

	*out = (struct query_result){0};
	*why = "out of memory";
	if (q == NULL)
		return -ENOMEM;
	err = query_parse(text, q, why);
	if (err == 0) {
		s.score = calloc(ix->next_file, sizeof(*s.score));
		if (s.score != NULL)
			set = search_eval(&s, q->top, s.all);
		/* a term may have found more than it was to look at */
		for (size_t w = 0; set != NULL && w < s.words; w++)
			set[w] &= s.all[w];
		if (set != NULL)
			set[0] &= ~(1ull << INDEX_ROOT);
		err = set != NULL && !s.failed ? search_collect(&s, set, sort, offset, limit, out)
					       : -ENOMEM;
	}
	free(set);
	free(s.score);
	free(q);
	return err;
}

void query_result_free(struct query_result *r)
{
	free(r->hits);
	*r = (struct query_result){0};
}

/* ---- tags ---------------------------------------------------------------------------------- */

struct suggest {
	const struct index *ix;
	const struct scope_set *only;
	struct query_tag *out;
	unsigned n, max;
	const char *text;
	size_t len;
	bool prefix; /* looking for what begins so */
};

static bool suggest_before(const struct query_tag *a, const struct query_tag *b)
{
	return a->prefix != b->prefix ? a->prefix : a->files > b->files;
}

static bool suggest_add(void *arg, uint32_t tag, uint32_t at)
{
	struct suggest *s = arg;
	struct query_tag t = {.tag = tag, .files = s->ix->tags[tag].n};
	unsigned i = s->n;

	if (t.files == 0)
		return true;
	t.prefix = s->prefix;
	/* these have been found already */
	if (!t.prefix && memcmp(s->ix->tag_texts.text + at, s->text, s->len) == 0)
		return true;
	if (i == s->max && !suggest_before(&t, &s->out[i - 1]))
		return true;
	if (s->only != NULL) {
		t.files = scope_tag_files(s->only, &s->ix->tags[tag]);
		if (t.files == 0 || (i == s->max && !suggest_before(&t, &s->out[i - 1])))
			return true;
	}
	i -= i == s->max;
	for (; i > 0 && suggest_before(&t, &s->out[i - 1]); i--)
		s->out[i] = s->out[i - 1];
	s->out[i] = t;
	s->n += s->n < s->max;
	return true;
}

unsigned query_suggest(const struct index *ix, const char *text, const struct scope_set *only,
		       struct query_tag *out, unsigned max)
{
	char low[EXTRACT_TAG_BYTES];
	struct suggest s = {
		.ix = ix, .only = only, .out = out, .max = max, .text = low, .len = strlen(text)};

	if (s.len == 0 || s.len >= EXTRACT_TAG_BYTES || max == 0)
		return 0;
	textpool_fold(text, s.len, low);
	s.prefix = true;
	textpool_search_prefix(&ix->tag_texts, low, s.len, suggest_add, &s);
	s.prefix = false;
	if (s.n < max)
		textpool_search(&ix->tag_texts, low, s.len, suggest_add, &s);
	return s.n;
}

struct tag_list {
	const struct index *ix;
	const struct scope_set *only;
	struct query_rank rank;
	uint32_t total;
};

static bool tag_list_add(void *arg, uint32_t tag, uint32_t at)
{
	struct tag_list *l = arg;
	uint32_t n = scope_tag_files(l->only, &l->ix->tags[tag]);

	if (n == 0)
		return true;
	l->total++;
	query_rank_add(&l->rank, (struct query_hit){tag, (float)n});
	return true;
}

int query_tags(const struct index *ix, const char *filter, const struct scope_set *only,
	       uint32_t offset, uint32_t limit, struct query_tag **out, uint32_t *n,
	       uint32_t *total)
{
	struct tag_list l = {.ix = ix, .only = only};
	struct query_hit *hits;
	char low[EXTRACT_TAG_BYTES];
	size_t len = strlen(filter);

	*out = NULL;
	*n = *total = 0;
	if (len >= sizeof(low))
		return 0;
	limit = (limit < QUERY_LIMIT_MAX ? limit : QUERY_LIMIT_MAX) +
		(offset < QUERY_OFFSET_MAX ? offset : QUERY_OFFSET_MAX);
	limit = limit < ix->ntags ? limit : ix->ntags;
	if (query_rank_init(&l.rank, limit, by_best, ix) != 0)
		return -ENOMEM;
	textpool_fold(filter, len, low);
	if (len > 0)
		textpool_search(&ix->tag_texts, low, len, tag_list_add, &l);
	for (uint32_t t = 1; len == 0 && t < ix->ntags; t++)
		if (ix->tags[t].text != 0)
			tag_list_add(&l, t, 0);
	hits = query_rank_end(&l.rank);
	*n = l.rank.n > offset ? l.rank.n - offset : 0;
	*total = l.total;
	*out = malloc((*n + 1) * sizeof(**out));
	for (uint32_t i = 0; *out != NULL && i < *n; i++)
		(*out)[i] = (struct query_tag){.tag = hits[offset + i].file,
					       .files = (uint32_t)hits[offset + i].score};
	free(hits);
	return *out != NULL ? 0 : -ENOMEM;
}
