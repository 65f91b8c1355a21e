/* See scope.h. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tagger/scope.h"
#include "tagger/tagger.h"
#include "banned.h"

struct scope_root {
	enum scope_right right;
	size_t len;
	char path[INDEX_PATH_MAX];
};

static struct scope_root root; /* one thread */

/* The next one of a list: where it goes on, or NULL at its end. */
static const char *scope_next(const char *text)
{
	size_t n;
	int len;

	text += strspn(text, " ");
	n = strcspn(text, " ");
	if (n < 2 || text[1] != ':')
		return NULL;
	root.right = text[0] == 'w' ? SCOPE_OWN : text[0] == 'e' ? SCOPE_EDIT : SCOPE_READ;
	len = api_decode(text + 2, n - 2, root.path, sizeof(root.path));
	if (len < 0)
		return NULL;
	root.len = (size_t)len;
	return text + n;
}

bool scope_valid(const char *text)
{
	size_t n;

	if (strlen(text) > SCOPE_TEXT_MAX)
		return false;
	if (strcmp(text, "-") == 0)
		return true;
	for (const char *p = text; *p != '\0'; p += n) {
		p += strspn(p, " ");
		n = strcspn(p, " ");
		if (n < 2 || strchr("rew", p[0]) == NULL || p[1] != ':' ||
		    memchr(p, '+', n) != NULL || scope_next(p) == NULL ||
		    root.len != strlen(root.path) ||
		    (root.len > 0 && (root.path[0] == '/' || root.path[root.len - 1] == '/')))
			return false;
	}
	return *text != '\0';
}

/* Is path what root is, or below it? */
static bool scope_at(const char *path)
{
	return root.len == 0 || (strncmp(path, root.path, root.len) == 0 &&
				 (path[root.len] == '/' || path[root.len] == '\0'));
}

static bool scope_below(const char *path)
{
	return scope_at(path) && strlen(path) > root.len;
}

enum scope_right scope_right(const char *text, const char *path)
{
	enum scope_right best = SCOPE_NONE;

	if (text == NULL)
		return SCOPE_OWN;
	while ((text = scope_next(text)) != NULL)
		if (root.right > best && scope_at(path))
			best = root.right;
	return best;
}

bool scope_passes(const char *text, const char *path)
{
	size_t len = strlen(path);

	if (text == NULL || len == 0)
		return true;
	while ((text = scope_next(text)) != NULL)
		if (root.len > len && strncmp(path, root.path, len) == 0 && root.path[len] == '/')
			return true;
	return false;
}

bool scope_may_put(const char *text, const char *path)
{
	return scope_right(text, path) >= SCOPE_EDIT;
}

static bool scope_strictly(const char *text, const char *path, enum scope_right right)
{
	if (text == NULL)
		return true;
	while ((text = scope_next(text)) != NULL)
		if (root.right >= right && scope_below(path))
			return true;
	return false;
}

bool scope_may_take(const char *text, const char *path)
{
	return scope_strictly(text, path, SCOPE_EDIT);
}

bool scope_may_end(const char *text, const char *path)
{
	return scope_strictly(text, path, SCOPE_OWN);
}

bool scope_may_move(const char *text, const char *from, const char *to)
{
	if (text == NULL)
		return true;
	if (scope_may_end(text, from) && scope_may_take(text, to))
		return true;
	/* within one share */
	while ((text = scope_next(text)) != NULL)
		if (root.right >= SCOPE_EDIT && scope_below(from) && scope_below(to))
			return true;
	return false;
}

/* ---- sets ---------------------------------------------------------------------------------- */

static void scope_set_add(struct scope_set *set, const struct index *ix, uint32_t top)
{
	for (uint32_t f = top; f != 0;) {
		set->bits[f / 64] |= 1ull << (f % 64);
		if (index_node(ix, f)->child != 0) {
			f = index_node(ix, f)->child;
			continue;
		}
		while (f != top && index_node(ix, f)->next == 0)
			f = index_node(ix, f)->parent;
		f = f == top ? 0 : index_node(ix, f)->next;
	}
}

int scope_set(const char *text, const struct index *ix, struct scope_set *out)
{
	size_t words = (ix->next_file + 63) / 64;

	*out = (struct scope_set){.bits = calloc(words, sizeof(uint64_t)), .files = ix->next_file};
	if (out->bits == NULL)
		return -ENOMEM;
	while ((text = scope_next(text)) != NULL)
		scope_set_add(out, ix, index_by_path(ix, root.path, root.len));
	return 0;
}

uint32_t scope_tag_files(const struct scope_set *set, const struct tag *tag)
{
	uint32_t n = 0;

	if (set == NULL)
		return tag->n;
	for (uint32_t i = 0; i < tag->n; i++)
		n += scope_has(set, index_tag_file(tag, i));
	return n;
}
