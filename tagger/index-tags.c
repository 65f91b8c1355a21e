/*
 * See index.h: tags, and which files have them. The files of a tag are an ascending array, so that
 * "and" is a walk over two of them; new files have high numbers and go to its end.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "tagger/index.h"
#include "banned.h"

#define TAG_BUCKETS 4096u

/* ---- names --------------------------------------------------------------------------------- */

const char *index_tag_text(const struct index *ix, uint32_t tag)
{
	return ix->tag_texts.text + ix->tags[tag].text;
}

const char *index_tag_stem(const struct index *ix, uint32_t tag)
{
	const struct tag *t = &ix->tags[tag];

	return t->stem != 0 ? ix->tag_stems.text + t->stem : ix->tag_texts.text + t->text;
}

static uint32_t tag_bucket(const struct index *ix, const char *text, size_t len)
{
	return (uint32_t)hash_u64(text, len) & (ix->tag_buckets - 1);
}

static void tag_hash(struct index *ix, uint32_t tag)
{
	struct tag *t = &ix->tags[tag];
	const char *stem = index_tag_stem(ix, tag), *text = index_tag_text(ix, tag);
	uint32_t *head = &ix->stems[tag_bucket(ix, stem, strlen(stem))];

	t->next_stem = *head;
	*head = tag;
	head = &ix->texts[tag_bucket(ix, text, strlen(text))];
	t->next_text = *head;
	*head = tag;
}

static int tag_grow(struct index *ix)
{
	uint32_t n = ix->tag_buckets == 0 ? TAG_BUCKETS : ix->tag_buckets * 2;
	uint32_t *stems, *texts;

	if (ix->tag_buckets != 0 && ix->ntags < ix->tag_buckets)
		return 0;
	stems = calloc(n, sizeof(*stems));
	texts = calloc(n, sizeof(*texts));
	if (stems == NULL || texts == NULL) {
		free(stems);
		free(texts);
		return -ENOMEM;
	}
	free(ix->stems);
	free(ix->texts);
	ix->stems = stems;
	ix->texts = texts;
	ix->tag_buckets = n;
	for (uint32_t t = 1; t < ix->ntags; t++)
		if (ix->tags[t].text != 0)
			tag_hash(ix, t);
	return 0;
}

uint32_t index_tag_load(struct index *ix, uint32_t tag, const char *text, size_t text_len,
			const char *stem, size_t stem_len)
{
	struct tag *t;

	if (tag == 0 || tag >= INDEX_TAGS_MAX)
		return 0;
	if (tag >= ix->tags_max) {
		uint32_t max = tag + tag / 2 + 1024;
		struct tag *more = realloc(ix->tags, max * sizeof(*more));

		if (more == NULL)
			return 0;
		memset(more + ix->tags_max, 0, (max - ix->tags_max) * sizeof(*more));
		ix->tags = more;
		ix->tags_max = max;
	}
	if (ix->ntags <= tag)
		ix->ntags = tag + 1;
	if (tag_grow(ix) != 0)
		return 0;
	t = &ix->tags[tag];
	if (t->text != 0)
		return 0;
	t->text = textpool_add(&ix->tag_texts, tag, text, text_len);
	if (stem_len != text_len || memcmp(stem, text, text_len) != 0)
		t->stem = textpool_add(&ix->tag_stems, tag, stem, stem_len);
	if (t->text == 0)
		return 0;
	tag_hash(ix, tag);
	return tag;
}

static uint32_t tag_by_stem(const struct index *ix, const char *stem, size_t len)
{
	if (ix->tag_buckets == 0)
		return 0;
	for (uint32_t t = ix->stems[tag_bucket(ix, stem, len)]; t != 0; t = ix->tags[t].next_stem) {
		const char *its = index_tag_stem(ix, t);

		if (strncmp(its, stem, len) == 0 && its[len] == '\0')
			return t;
	}
	return 0;
}

static void tag_write(struct index *ix, uint32_t tag, const char *text, const char *stem)
{
	char value[2 * EXTRACT_TAG_BYTES + 2];
	int n = snprintf(value, sizeof(value), "%s\n%s", text, stem);
	uint8_t key[5];

	assert(n > 0 && (size_t)n < sizeof(value));
	index_key(key, 't', tag);
	kv_batch_put(ix->batch, key, sizeof(key), value, (size_t)n);
	ix->batched++;
}

uint32_t index_tag(struct index *ix, const char *text, const char *stem, bool create)
{
	char low[EXTRACT_TAG_BYTES];
	uint32_t tag = tag_by_stem(ix, stem, strlen(stem));
	size_t len = strlen(text);

	if (tag != 0 || !create)
		return tag;
	if (len == 0 || len >= sizeof(low) || *stem == '\0' || strlen(stem) >= EXTRACT_TAG_BYTES ||
	    strpbrk(text, "\n") != NULL || strpbrk(stem, "\n") != NULL)
		return 0;
	textpool_fold(text, len + 1, low);
	tag = index_tag_load(ix, ix->ntags == 0 ? 1 : ix->ntags, low, len, stem, strlen(stem));
	if (tag != 0)
		tag_write(ix, tag, low, stem);
	return tag;
}

uint32_t index_tag_find(const struct index *ix, const char *text, size_t len)
{
	char low[EXTRACT_TAG_BYTES];
	uint32_t found = 0;

	if (ix->tag_buckets == 0 || len == 0 || len >= sizeof(low))
		return 0;
	textpool_fold(text, len, low);
	low[len] = '\0';
	/* several stems may have come with one text: the commonest is meant */
	for (uint32_t t = ix->texts[tag_bucket(ix, low, len)]; t != 0; t = ix->tags[t].next_text)
		if (strcmp(index_tag_text(ix, t), low) == 0 &&
		    (found == 0 || ix->tags[t].n > ix->tags[found].n))
			found = t;
	return found != 0 && ix->tags[found].n > 0 ? found : tag_by_stem(ix, low, len);
}

uint32_t index_tag_same(const struct index *ix, const char *text, uint32_t after)
{
	uint32_t t = 0;

	if (after != 0)
		t = ix->tags[after].next_text;
	else if (ix->tag_buckets != 0)
		t = ix->texts[tag_bucket(ix, text, strlen(text))];
	while (t != 0 && strcmp(index_tag_text(ix, t), text) != 0)
		t = ix->tags[t].next_text;
	return t;
}

float index_idf(const struct index *ix, uint32_t tag)
{
	uint32_t all = ix->nfiles + ix->nfolders, n = ix->tags[tag].n;

	return n == 0 || all <= n ? 0.0f : logf((float)all / (float)n);
}

/* ---- files of a tag ------------------------------------------------------------------------ */

uint32_t index_tag_seek(const struct tag *t, uint32_t from, uint32_t file)
{
	uint32_t low = from, step = 1, high;

	/* gallop, then halve: what is sought is often near */
	while (low + step < t->n && index_tag_file(t, low + step) < file) {
		low += step;
		step *= 2;
	}
	high = low + step < t->n ? low + step : t->n;
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (index_tag_file(t, mid) < file)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static_assert(INDEX_FILES_MAX <= 1u << 28, "four bits of a number are left");

static int tag_add(struct tag *t, uint32_t file, uint8_t weight)
{
	uint32_t last = t->n > 0 ? index_tag_file(t, t->n - 1) : 0;
	uint32_t at = t->n > 0 && last < file ? t->n : index_tag_seek(t, 0, file);
	uint32_t both = file << 4 | weight >> 4;

	if (at < t->n && index_tag_file(t, at) == file) {
		t->files[at] = both;
		return 0;
	}
	if (t->n == t->max) {
		uint32_t max = t->max + t->max / 4 + 2;
		uint32_t *files = realloc(t->files, max * sizeof(*files));

		if (files == NULL)
			return -ENOMEM;
		t->files = files;
		t->max = max;
	}
	memmove(t->files + at + 1, t->files + at, (t->n - at) * sizeof(*t->files));
	t->files[at] = both;
	t->n++;
	return 0;
}

/* No more room than what is there needs: memory counts more than the next addition. */
void index_tags_trim(struct index *ix)
{
	for (uint32_t i = 1; i < ix->ntags; i++) {
		struct tag *t = &ix->tags[i];
		uint32_t *files = t->n < t->max ? realloc(t->files, t->n * sizeof(*files)) : NULL;

		if (files != NULL) {
			t->files = files;
			t->max = t->n;
		}
	}
	malloc_trim(0);
}

static void tag_take(struct tag *t, uint32_t file)
{
	uint32_t at = index_tag_seek(t, 0, file);

	if (at == t->n || index_tag_file(t, at) != file)
		return;
	t->n--;
	memmove(t->files + at, t->files + at + 1, (t->n - at) * sizeof(*t->files));
	if (t->n == 0) {
		free(t->files);
		t->files = NULL;
		t->max = 0;
	}
}

int index_tags_insert(struct index *ix, uint32_t file, const struct record *r)
{
	int err = 0;

	for (size_t i = 0; i < r->ntags && err == 0; i++) {
		uint32_t tag = r->tags[i].tag;

		if (tag != 0 && tag < ix->ntags)
			err = tag_add(&ix->tags[tag], file, r->tags[i].weight);
	}
	if (err == 0 && r->flags & RECORD_SIMHASH)
		err = near_add(ix->texts_near, r->simhash, file);
	if (err == 0 && r->flags & RECORD_PHASH)
		err = near_add(ix->pictures_near, r->phash, file);
	return err;
}

void index_tags_remove(struct index *ix, uint32_t file, const struct record *r)
{
	for (size_t i = 0; i < r->ntags; i++)
		if (r->tags[i].tag != 0 && r->tags[i].tag < ix->ntags)
			tag_take(&ix->tags[r->tags[i].tag], file);
	if (r->flags & RECORD_SIMHASH)
		near_remove(ix->texts_near, r->simhash, file);
	if (r->flags & RECORD_PHASH)
		near_remove(ix->pictures_near, r->phash, file);
}

bool index_record_tag(struct index *ix, struct record *r, const char *text, const char *stem,
		      float weight, enum extract_source source)
{
	const char *other = index_alias(ix, stem);
	uint32_t tag;
	uint8_t w;

	if (other != NULL && source != EXTRACT_SOURCE_HAND)
		text = stem = other;
	if (*text == '\0')
		return false;
	tag = index_tag(ix, text, stem, true);
	if (tag == 0)
		return false;
	w = weight >= 1.0f ? 255 : weight <= 0.0f ? 1 : (uint8_t)(weight * 254.0f + 1.0f);
	for (size_t i = 0; i < r->ntags; i++) {
		if (r->tags[i].tag != tag)
			continue;
		if (r->tags[i].weight < w || source == EXTRACT_SOURCE_HAND) {
			r->tags[i].weight = w;
			r->tags[i].source = (uint8_t)source;
		}
		return true;
	}
	if (r->ntags == RECORD_TAGS_MAX)
		return false;
	r->tags[r->ntags++] = (struct record_tag){tag, w, (uint8_t)source};
	return true;
}

/* ---- aliases ------------------------------------------------------------------------------- */

/* Where it is, or would be. */
static size_t alias_seek(const struct index *ix, const char *from, bool *there)
{
	size_t low = 0, high = ix->naliases;

	*there = false;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int c = strcmp(ix->aliases[mid].from, from);

		if (c == 0) {
			*there = true;
			return mid;
		}
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

const char *index_alias(const struct index *ix, const char *stem)
{
	bool there;
	size_t at = alias_seek(ix, stem, &there);

	return there ? ix->aliases[at].to : NULL;
}

/* Only in memory; to NULL: no alias any more. */
static int alias_keep(struct index *ix, const char *from, const char *to)
{
	bool there;
	size_t at = alias_seek(ix, from, &there);
	struct index_alias *more, *a;

	if (there && to == NULL) {
		free(ix->aliases[at].from);
		free(ix->aliases[at].to);
		ix->naliases--;
		memmove(ix->aliases + at, ix->aliases + at + 1,
			(ix->naliases - at) * sizeof(*ix->aliases));
		return 0;
	}
	if (to == NULL)
		return 0;
	if (!there) {
		more = realloc(ix->aliases, (ix->naliases + 1) * sizeof(*more));
		if (more == NULL)
			return -ENOMEM;
		ix->aliases = more;
		memmove(more + at + 1, more + at, (ix->naliases - at) * sizeof(*more));
		more[at] = (struct index_alias){.from = strdup(from)};
		ix->naliases++;
	}
	a = &ix->aliases[at];
	free(a->to);
	a->to = strdup(to);
	return a->from != NULL && a->to != NULL ? 0 : -ENOMEM;
}

int index_alias_set(struct index *ix, const char *from, const char *to)
{
	char key[EXTRACT_TAG_BYTES + 1];
	size_t len = strlen(from);

	assert(len < EXTRACT_TAG_BYTES);
	key[0] = 'a';
	memcpy(key + 1, from, len);
	if (to != NULL)
		kv_batch_put(ix->batch, key, len + 1, to, strlen(to));
	else
		kv_batch_delete(ix->batch, key, len + 1);
	ix->batched++;
	return alias_keep(ix, from, to);
}

int index_alias_load(struct index *ix, const char *from, size_t from_len, const char *to,
		     size_t to_len)
{
	char f[EXTRACT_TAG_BYTES], t[EXTRACT_TAG_BYTES];

	if (from_len >= sizeof(f) || to_len >= sizeof(t))
		return -EUCLEAN;
	memcpy(f, from, from_len);
	f[from_len] = '\0';
	memcpy(t, to, to_len);
	t[to_len] = '\0';
	return alias_keep(ix, f, t);
}
