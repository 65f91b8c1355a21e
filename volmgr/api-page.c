/*
 * Lists in pieces: offset, limit, q (a part of the name), sort (a member), order=desc. Without any
 * of them a list is whole, for scripts. Sorting is of pointers, so ten thousand volumes take a few
 * milliseconds, and only those of the page become JSON.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api.h"
#include "banned.h"

#define PAGE_MAX 1000

int api_page_parse(const struct http_request *r, struct api_page *p, struct refusal *refusal)
{
	const char *order = http_query(r, "order");

	p->q = http_query(r, "q");
	p->sort = http_query(r, "sort");
	p->down = order != NULL && strcmp(order, "desc") == 0;
	if (api_parse_number(http_query(r, "offset"), 0, &p->offset, refusal) != 0 ||
	    api_parse_number(http_query(r, "limit"), UINT64_MAX, &p->limit, refusal) != 0)
		return -1;
	if (http_query(r, "limit") != NULL && p->limit > PAGE_MAX)
		p->limit = PAGE_MAX;
	return 0;
}

/* Names with numbers in them sort as people count. */
static int compare_names(const char *a, const char *b)
{
	return strverscmp(a, b);
}

struct sorting {
	const struct api_sort *by;
	bool down;
};

static int compare_items(const void *a, const void *b, void *arg)
{
	const struct sorting *s = arg;
	const struct api_item *x = a, *y = b;
	int order = 0;

	if (s->by != NULL)
		order = x->value < y->value ? -1 : x->value > y->value ? 1 : 0;
	if (s->down)
		order = -order;
	if (order == 0)
		order = compare_names(x->name, y->name) * (s->by == NULL && s->down ? -1 : 1);
	return order;
}

unsigned api_page_select(const struct api_page *p, const struct api_sort *sorts,
			 struct api_item *items, unsigned n)
{
	struct sorting s = {.down = p->down};
	unsigned kept = 0;

	for (unsigned i = 0; i < n; i++)
		if (p->q == NULL || strcasestr(items[i].name, p->q) != NULL)
			items[kept++] = items[i];
	if (p->sort == NULL)
		return kept;
	for (const struct api_sort *by = sorts; by->name != NULL; by++)
		if (strcmp(by->name, p->sort) == 0)
			s.by = by;
	for (unsigned i = 0; s.by != NULL && i < kept; i++)
		items[i].value = s.by->value(items[i].item);
	qsort_r(items, kept, sizeof(items[0]), compare_items, &s);
	return kept;
}

void api_page_answer(struct cluster *c, struct http_request *r, const struct api_page *p,
		     const char *what, const struct api_item *items, unsigned n,
		     void (*write)(struct cluster *c, void *item, struct json_out *o))
{
	struct json_out o = {.at = NULL};
	uint64_t from = p->offset < n ? p->offset : n;
	uint64_t to = p->limit < n - from ? from + p->limit : n;

	json_out_begin(&o, NULL, '{');
	json_out_begin(&o, what, '[');
	for (uint64_t i = from; i < to; i++)
		write(c, items[i].item, &o);
	json_out_end(&o, ']');
	json_out_int(&o, "total", n);
	json_out_end(&o, '}');
	http_reply(r, 200, JSON_TYPE, o.at, o.len);
	free(o.at);
}
