/*
 * See index.h: links from file to file. A link is kept under the hash of the path that it leads to,
 * whether there is a file or not: it may come later, or be renamed to that.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "tagger/index.h"
#include "banned.h"

#define LINK_BUCKETS 4096u

/* Appends one part of a path; ".." takes one away. False: it leads out of the tree, or is too long.
 */
static bool link_step(char *out, size_t max, size_t *len, const char *part, size_t n)
{
	if (n == 0 || (n == 1 && part[0] == '.'))
		return true;
	if (n == 2 && part[0] == '.' && part[1] == '.') {
		if (*len == 0)
			return false;
		while (*len > 0 && out[--*len] != '/')
			;
		return true;
	}
	if (*len + n + 2 > max)
		return false;
	if (*len > 0)
		out[(*len)++] = '/';
	memcpy(out + *len, part, n);
	*len += n;
	return true;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* %20 and the like. out: len bytes at least. */
static size_t link_decode(const char *text, size_t len, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (text[i] == '%' && i + 2 < len && hex_value(text[i + 1]) >= 0 &&
		    hex_value(text[i + 2]) >= 0) {
			out[n++] = (char)(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
			i += 2;
		} else {
			out[n++] = text[i];
		}
	}
	return n;
}

int index_link_target(const struct index *ix, uint32_t file, const struct record_text *link,
		      char *out, size_t max)
{
	char text[EXTRACT_LINK_BYTES];
	uint32_t parent = index_node(ix, file)->parent;
	const char *colon = memchr(link->at, ':', link->len);
	const char *slash = memchr(link->at, '/', link->len);
	size_t n, len = 0;
	int got;

	/* "https://...", "mailto:..." lead out */
	if (link->len == 0 || link->len > sizeof(text) ||
	    (colon != NULL && (slash == NULL || colon < slash)) ||
	    (link->len > 1 && link->at[0] == '/' && link->at[1] == '/'))
		return -1;
	n = link_decode(link->at, link->len, text);
	if (text[0] != '/' && parent != 0) {
		got = index_path(ix, parent, out, max);
		if (got < 0)
			return -1;
		len = (size_t)got;
	}
	for (size_t at = 0; at <= n;) {
		size_t part = 0;

		while (at + part < n && text[at + part] != '/')
			part++;
		if (memchr(text + at, '\0', part) != NULL ||
		    !link_step(out, max, &len, text + at, part))
			return -1;
		at += part + 1;
	}
	out[len] = '\0';
	return (int)len;
}

static int links_grow(struct index *ix)
{
	uint32_t buckets = ix->link_buckets == 0 ? LINK_BUCKETS : ix->link_buckets * 2, *heads;

	if (ix->link_buckets != 0 && ix->nlinks < ix->link_buckets)
		return 0;
	heads = calloc(buckets, sizeof(*heads));
	if (heads == NULL)
		return -ENOMEM;
	for (uint32_t i = 1; i < ix->nlinks; i++) {
		struct index_link *l = &ix->links[i];

		if (l->from == 0)
			continue;
		l->next = heads[l->path & (buckets - 1)];
		heads[l->path & (buckets - 1)] = i;
	}
	free(ix->link_heads);
	ix->link_heads = heads;
	ix->link_buckets = buckets;
	return 0;
}

static uint32_t links_take(struct index *ix)
{
	uint32_t i = ix->links_unused;

	if (i != 0) {
		ix->links_unused = ix->links[i].next;
		return i;
	}
	if (ix->nlinks == 0)
		ix->nlinks = 1;
	if (ix->nlinks >= ix->links_max) {
		uint32_t max = ix->links_max + ix->links_max / 2 + 256;
		struct index_link *more = realloc(ix->links, max * sizeof(*more));

		if (more == NULL)
			return 0;
		ix->links = more;
		ix->links_max = max;
	}
	return ix->nlinks++;
}

int index_links_insert(struct index *ix, uint32_t file, const struct record *r)
{
	static char path[INDEX_PATH_MAX];

	for (size_t i = 0; i < r->nlinks; i++) {
		int len = index_link_target(ix, file, &r->links[i], path, sizeof(path));
		uint32_t at;

		if (len < 0)
			continue;
		at = links_grow(ix) == 0 ? links_take(ix) : 0;
		if (at == 0)
			return -ENOMEM;
		ix->links[at].path = hash_u64(path, (size_t)len);
		ix->links[at].from = file;
		ix->links[at].next = ix->link_heads[ix->links[at].path & (ix->link_buckets - 1)];
		ix->link_heads[ix->links[at].path & (ix->link_buckets - 1)] = at;
	}
	return 0;
}

void index_links_remove(struct index *ix, uint32_t file, const struct record *r)
{
	static char path[INDEX_PATH_MAX];

	for (size_t i = 0; i < r->nlinks && ix->link_buckets != 0; i++) {
		int len = index_link_target(ix, file, &r->links[i], path, sizeof(path));
		uint64_t h = hash_u64(path, len > 0 ? (size_t)len : 0);
		uint32_t *at = &ix->link_heads[h & (ix->link_buckets - 1)];

		while (len >= 0 && *at != 0 &&
		       (ix->links[*at].path != h || ix->links[*at].from != file))
			at = &ix->links[*at].next;
		if (len >= 0 && *at != 0) {
			uint32_t gone = *at;

			*at = ix->links[gone].next;
			ix->links[gone] = (struct index_link){.next = ix->links_unused};
			ix->links_unused = gone;
		}
	}
}

void index_links_to(const struct index *ix, uint32_t file, unsigned budget,
		    void (*fn)(void *arg, uint32_t from), void *arg)
{
	static char path[INDEX_PATH_MAX];
	int len = index_path(ix, file, path, sizeof(path));
	uint64_t h;

	if (len < 0 || ix->link_buckets == 0)
		return;
	h = hash_u64(path, (size_t)len);
	for (uint32_t i = ix->link_heads[h & (ix->link_buckets - 1)]; i != 0 && budget > 0;
	     i = ix->links[i].next) {
		if (ix->links[i].path != h)
			continue;
		fn(arg, ix->links[i].from);
		budget--;
	}
}
