/* See derive.h. */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hash.h"
#include "tagger/derive.h"
#include "banned.h"

#define WEIGHT_NAME   0.6f
#define WEIGHT_FOLDER 0.4f /* of the folder a file is in; half of that of the one above */
#define WEIGHT_FACT   0.9f
#define WEIGHT_DATE   0.3f
#define WEIGHT_SIZE   0.1f
#define WEIGHT_ADDED  0.99f
#define WORD_MIN      2u

/* ---- words of names ------------------------------------------------------------------------ */

static bool is_letter(unsigned char c)
{
	return c >= 0x80 || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_upper(unsigned char c)
{
	return c >= 'A' && c <= 'Z';
}

static bool is_digit(unsigned char c)
{
	return c >= '0' && c <= '9';
}

/* The length of a UTF-8 text's longest beginning that is valid and has no control characters. */
static size_t utf8_valid(const char *text, size_t len)
{
	size_t i = 0;

	while (i < len) {
		unsigned char c = (unsigned char)text[i];
		size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

		if (c < 0x20 || c == 0x7f || (c >= 0x80 && c < 0xc2) || c > 0xf4 || i + n > len)
			break;
		for (size_t k = 1; k < n; k++)
			if (((unsigned char)text[i + k] & 0xc0) != 0x80)
				return i;
		if ((c == 0xe0 && (unsigned char)text[i + 1] < 0xa0) ||
		    (c == 0xed && (unsigned char)text[i + 1] > 0x9f) ||
		    (c == 0xf0 && (unsigned char)text[i + 1] < 0x90) ||
		    (c == 0xf4 && (unsigned char)text[i + 1] > 0x8f))
			break;
		i += n;
	}
	return i;
}

/* A word of a name. One that is known as the text of a tag already is that tag. */
static void derive_word(struct index *ix, struct record *r, const char *word, size_t len,
			float weight, enum extract_source source)
{
	char low[EXTRACT_TAG_BYTES];
	uint32_t tag;

	if (len < WORD_MIN || len >= sizeof(low) || utf8_valid(word, len) != len)
		return;
	textpool_fold(word, len, low);
	low[len] = '\0';
	tag = index_tag_find(ix, low, len);
	index_record_tag(ix, r, low, tag != 0 ? index_tag_stem(ix, tag) : low, weight, source);
}

/* "IMG_holidayBerlin-2024.jpg": img, holiday, berlin, 2024. */
static void derive_words(struct index *ix, struct record *r, const char *name, size_t len,
			 float weight, enum extract_source source)
{
	size_t i = 0;

	while (i < len) {
		size_t from = i;

		if (is_digit((unsigned char)name[i])) {
			while (i < len && is_digit((unsigned char)name[i]))
				i++;
			/* a year; other numbers tell nothing */
			if (i - from == 4 && (name[from] == '1' || name[from] == '2'))
				derive_word(ix, r, name + from, 4, weight, source);
			continue;
		}
		while (i < len && is_letter((unsigned char)name[i]) &&
		       (i == from || !is_upper((unsigned char)name[i]) ||
			is_upper((unsigned char)name[i - 1])))
			i++;
		derive_word(ix, r, name + from, i - from, weight, source);
		if (i == from)
			i++;
	}
}

/* Where the extension begins, or the end. */
static size_t name_stem(const char *name, size_t len, bool folder)
{
	for (size_t i = len; !folder && i-- > 1;)
		if (name[i] == '.' && len - i <= 6)
			return i;
	return len;
}

static void derive_names(struct index *ix, struct record *r)
{
	bool folder = r->kind == EXTRACT_KIND_FOLDER;
	const struct node *parent = index_node_find(ix, r->parent);

	derive_words(ix, r, r->name.at, name_stem(r->name.at, r->name.len, folder), WEIGHT_NAME,
		     EXTRACT_SOURCE_NAME);
	r->path_hash = derive_path_hash(ix, r->parent);
	if (parent == NULL || r->parent == INDEX_ROOT)
		return;
	derive_words(ix, r, index_name(ix, r->parent), strlen(index_name(ix, r->parent)),
		     WEIGHT_FOLDER, EXTRACT_SOURCE_PATH);
	if (parent->parent != INDEX_ROOT)
		derive_words(ix, r, index_name(ix, parent->parent),
			     strlen(index_name(ix, parent->parent)), WEIGHT_FOLDER / 2,
			     EXTRACT_SOURCE_PATH);
}

uint32_t derive_path_hash(const struct index *ix, uint32_t parent)
{
	const struct node *p = index_node_find(ix, parent);
	uint64_t h = 0;

	if (p == NULL || parent == INDEX_ROOT)
		return 0;
	h = hash_u64(index_name(ix, parent), strlen(index_name(ix, parent)));
	if (p->parent != INDEX_ROOT)
		h = h * 31 + hash_u64(index_name(ix, p->parent), strlen(index_name(ix, p->parent)));
	return (uint32_t)(h ^ h >> 32);
}

/* ---- dates and sizes ----------------------------------------------------------------------- */

static void derive_plain(struct index *ix, struct record *r, const char *tag, float weight,
			 enum extract_source source)
{
	index_record_tag(ix, r, tag, tag, weight, source);
}

static void derive_date(struct index *ix, struct record *r, int64_t seconds, bool day,
			enum extract_source source)
{
	char tag[EXTRACT_TAG_BYTES];
	time_t t = (time_t)seconds;
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL || tm.tm_year < 0 || tm.tm_year > 9999 - 1900)
		return;
	strftime(tag, sizeof(tag), "year:%Y", &tm);
	derive_plain(ix, r, tag, WEIGHT_DATE / 2, source);
	strftime(tag, sizeof(tag), "month:%Y-%m", &tm);
	derive_plain(ix, r, tag, WEIGHT_DATE, source);
	if (!day)
		return;
	strftime(tag, sizeof(tag), "day:%Y-%m-%d", &tm);
	derive_plain(ix, r, tag, WEIGHT_DATE * 2, source);
}

static void derive_stat(struct index *ix, struct record *r)
{
	static const struct {
		uint64_t below;
		const char *tag;
	} sizes[] = {
		{1, "size:empty"},
		{4ull << 10, "size:tiny"},
		{256ull << 10, "size:small"},
		{16ull << 20, "size:medium"},
		{1ull << 30, "size:large"},
		{UINT64_MAX, "size:huge"},
	};
	bool dated = false;

	for (size_t i = 0; i < r->nfacts; i++)
		dated |= r->facts[i].key == EXTRACT_FACT_DATE;
	if (!dated)
		derive_date(ix, r, r->mtime_ns / 1000000000, false, EXTRACT_SOURCE_STAT);
	if (r->kind == EXTRACT_KIND_FOLDER || r->kind == EXTRACT_KIND_LINK ||
	    r->kind == EXTRACT_KIND_SPECIAL)
		return;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		if (r->size < sizes[i].below) {
			derive_plain(ix, r, sizes[i].tag, WEIGHT_SIZE, EXTRACT_SOURCE_STAT);
			return;
		}
}

/* ---- facts --------------------------------------------------------------------------------- */

static void derive_text_fact(struct index *ix, struct record *r, const char *key,
			     const struct record_text *text)
{
	char tag[EXTRACT_TAG_BYTES], low[EXTRACT_TAG_BYTES];
	size_t at = (size_t)snprintf(tag, sizeof(tag), "%s:", key);
	size_t n = text->len < sizeof(tag) - 1 - at ? text->len : sizeof(tag) - 1 - at;

	memcpy(tag + at, text->at, n);
	at += utf8_valid(text->at, n);
	tag[at] = '\0';
	if (at <= strlen(key) + 1)
		return;
	textpool_fold(tag, at + 1, low);
	index_record_tag(ix, r, tag, low, WEIGHT_FACT, EXTRACT_SOURCE_FACT);
}

static void derive_place(struct index *ix, struct record *r, double lat, double lon)
{
	char tag[EXTRACT_TAG_BYTES];

	if (!(fabs(lat) <= 90.0) || !(fabs(lon) <= 180.0))
		return;
	snprintf(tag, sizeof(tag), "place:%.2f,%.2f", lat, lon); /* about a kilometre */
	derive_plain(ix, r, tag, WEIGHT_FACT, EXTRACT_SOURCE_FACT);
	snprintf(tag, sizeof(tag), "area:%.0f,%.0f", lat, lon); /* a region */
	derive_plain(ix, r, tag, WEIGHT_FACT / 2, EXTRACT_SOURCE_FACT);
}

static void derive_facts(struct index *ix, struct record *r)
{
	static const bool tagged[EXTRACT_FACT_COUNT] = {
		[EXTRACT_FACT_AUTHOR] = true, [EXTRACT_FACT_ARTIST] = true,
		[EXTRACT_FACT_ALBUM] = true,  [EXTRACT_FACT_GENRE] = true,
		[EXTRACT_FACT_CAMERA] = true, [EXTRACT_FACT_LENS] = true,
		[EXTRACT_FACT_FROM] = true,   [EXTRACT_FACT_LANGUAGE] = true,
	};
	double lat = NAN, lon = NAN;

	for (size_t i = 0; i < r->nfacts; i++) {
		const struct record_fact *f = &r->facts[i];

		if (f->text.at != NULL && tagged[f->key])
			derive_text_fact(ix, r, extract_fact_names[f->key], &f->text);
		if (f->key == EXTRACT_FACT_LATITUDE)
			lat = f->number;
		if (f->key == EXTRACT_FACT_LONGITUDE)
			lon = f->number;
		if (f->key == EXTRACT_FACT_DATE && fabs(f->number) < 1e12)
			derive_date(ix, r, (int64_t)f->number, true, EXTRACT_SOURCE_FACT);
	}
	if (isfinite(lat) && isfinite(lon))
		derive_place(ix, r, lat, lon);
}

/* ---- by hand ------------------------------------------------------------------------------- */

bool derive_tag_valid(const char *text)
{
	size_t len = strlen(text);

	return len > 0 && len < EXTRACT_TAG_BYTES && utf8_valid(text, len) == len;
}

void derive_hand_each(const char *hand, size_t len,
		      void (*fn)(void *arg, enum derive_hand what, const char *tag), void *arg)
{
	size_t at = 0;

	while (at < len) {
		const char *end = memchr(hand + at, '\n', len - at);
		size_t n = end != NULL ? (size_t)(end - hand) - at : len - at;
		char tag[EXTRACT_TAG_BYTES];

		if (n >= 2 && n <= sizeof(tag) && strchr("+*-", hand[at]) != NULL &&
		    hand[at] != '\0' && utf8_valid(hand + at + 1, n - 1) == n - 1) {
			memcpy(tag, hand + at + 1, n - 1);
			tag[n - 1] = '\0';
			fn(arg, (enum derive_hand)hand[at], tag);
		}
		at += n + 1;
	}
}

struct hand_set {
	const char *tag;
	char *out;
	size_t len;
};

static void hand_line(struct hand_set *s, enum derive_hand what, const char *tag)
{
	size_t n = strlen(tag);

	if (s->len + n + 2 <= RECORD_HAND_MAX) {
		s->out[s->len++] = (char)what;
		memcpy(s->out + s->len, tag, n);
		s->out[s->len + n] = '\n';
		s->len += n + 1;
	} else {
		s->len = RECORD_HAND_MAX + 1;
	}
}

static void hand_keep(void *arg, enum derive_hand what, const char *tag)
{
	struct hand_set *s = arg;

	if (strcmp(tag, s->tag) != 0)
		hand_line(s, what, tag);
}

int derive_hand_set(const char *hand, size_t len, const char *tag, enum derive_hand what, char *out)
{
	struct hand_set s = {.tag = tag, .out = out};

	if (!derive_tag_valid(tag))
		return -EINVAL;
	derive_hand_each(hand, len, hand_keep, &s);
	if (what != DERIVE_NONE)
		hand_line(&s, what, tag);
	return s.len > RECORD_HAND_MAX ? -ENOSPC : (int)s.len;
}

struct hand_apply {
	struct index *ix;
	struct record *r;
};

static void hand_apply(void *arg, enum derive_hand what, const char *tag)
{
	struct hand_apply *a = arg;
	char low[EXTRACT_TAG_BYTES];
	uint32_t known;

	textpool_fold(tag, strlen(tag) + 1, low);
	known = index_tag_find(a->ix, low, strlen(low));
	if (what != DERIVE_REMOVED) {
		index_record_tag(a->ix, a->r, tag, known != 0 ? index_tag_stem(a->ix, known) : low,
				 what == DERIVE_PINNED ? 1.0f : WEIGHT_ADDED, EXTRACT_SOURCE_HAND);
		return;
	}
	for (size_t i = 0; known != 0 && i < a->r->ntags; i++)
		if (a->r->tags[i].tag == known ||
		    strcmp(index_tag_text(a->ix, a->r->tags[i].tag), low) == 0)
			a->r->tags[i--] = a->r->tags[--a->r->ntags];
}

/* ---- all ----------------------------------------------------------------------------------- */

void derive_record(struct index *ix, struct record *r)
{
	struct hand_apply apply = {ix, r};
	uint16_t n = 0;

	for (size_t i = 0; i < r->ntags; i++)
		if (r->tags[i].source < EXTRACT_SOURCE_FACT)
			r->tags[n++] = r->tags[i];
	r->ntags = n;
	derive_plain(ix, r, extract_kind_names[r->kind], WEIGHT_SIZE, EXTRACT_SOURCE_FACT);
	derive_facts(ix, r);
	derive_names(ix, r);
	derive_stat(ix, r);
	derive_hand_each(r->hand.at, r->hand.len, hand_apply, &apply);
}

struct ranked {
	const struct extract_tag *tag;
	float score;
};

static int ranked_compare(const void *a, const void *b)
{
	float x = ((const struct ranked *)a)->score, y = ((const struct ranked *)b)->score;

	return (x < y) - (x > y);
}

/* Those that tell most of this file among all files. */
static void derive_content(struct index *ix, struct record *r, const struct extract *e)
{
	struct ranked ranked[EXTRACT_TAGS_MAX];
	float all = logf((float)(ix->nfiles + 2));
	size_t n = e->ntags < EXTRACT_TAGS_MAX ? e->ntags : EXTRACT_TAGS_MAX;

	for (size_t i = 0; i < n; i++) {
		uint32_t tag = index_tag(ix, e->tags[i].text, e->tags[i].stem, false);
		float idf = tag != 0 && ix->tags[tag].n > 0 ? index_idf(ix, tag) : all;

		ranked[i] = (struct ranked){&e->tags[i], e->tags[i].weight * (idf + 0.1f)};
	}
	qsort(ranked, n, sizeof(ranked[0]), ranked_compare);
	for (size_t i = 0; i < n && i < DERIVE_CONTENT_TAGS; i++) {
		const struct extract_tag *t = ranked[i].tag;
		enum extract_source source = t->source < EXTRACT_SOURCE_FACT
						     ? (enum extract_source)t->source
						     : EXTRACT_SOURCE_PHRASE;

		index_record_tag(ix, r, t->text, t->stem, t->weight, source);
	}
}

static struct record_text text_of(const char *text)
{
	return (struct record_text){text, text != NULL ? strlen(text) : 0};
}

void derive_extract(struct index *ix, struct record *r, const struct extract *e)
{
	r->kind = e->kind < EXTRACT_KIND_COUNT ? e->kind : EXTRACT_KIND_UNKNOWN;
	r->state = e->failed ? RECORD_FAILED : RECORD_DONE;
	r->flags &= RECORD_LINKED;
	r->flags |= (uint8_t)((e->has_simhash ? RECORD_SIMHASH : 0) |
			      (e->has_phash ? RECORD_PHASH : 0));
	r->simhash = e->simhash;
	r->phash = e->phash;
	memcpy(r->hash, e->hash, sizeof(r->hash));
	r->mime = text_of(e->mime);
	r->excerpt = text_of(e->excerpt);
	r->why = text_of(e->why);
	r->ntags = r->nfacts = r->nlinks = 0;
	derive_content(ix, r, e);
	for (size_t i = 0; i < e->nfacts && r->nfacts < EXTRACT_FACTS_MAX; i++)
		r->facts[r->nfacts++] = (struct record_fact){
			e->facts[i].key, text_of(e->facts[i].text), e->facts[i].number};
	for (size_t i = 0; i < e->nlinks && r->nlinks < EXTRACT_LINKS_MAX; i++)
		r->links[r->nlinks++] = text_of(e->links[i]);
	if (r->nlinks > 0)
		r->flags |= RECORD_LINKS;
	derive_record(ix, r);
}
