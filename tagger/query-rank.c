/* See query-impl.h. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "tagger/query-impl.h"
#include "banned.h"

int query_rank_init(struct query_rank *r, uint32_t max,
		    bool (*better)(const void *ctx, const struct query_hit *a,
				   const struct query_hit *b),
		    const void *ctx)
{
	*r = (struct query_rank){.max = max, .better = better, .ctx = ctx};
	r->hits = malloc(((size_t)max + 1) * sizeof(*r->hits));
	return r->hits != NULL ? 0 : -ENOMEM;
}

static void rank_swap(struct query_hit *a, struct query_hit *b)
{
	struct query_hit t = *a;

	*a = *b;
	*b = t;
}

static void rank_down(struct query_rank *r, uint32_t i, uint32_t n)
{
	for (;;) {
		uint32_t worst = i, c = 2 * i + 1;

		if (c < n && r->better(r->ctx, &r->hits[worst], &r->hits[c]))
			worst = c;
		if (c + 1 < n && r->better(r->ctx, &r->hits[worst], &r->hits[c + 1]))
			worst = c + 1;
		if (worst == i)
			return;
		rank_swap(&r->hits[i], &r->hits[worst]);
		i = worst;
	}
}

void query_rank_add(struct query_rank *r, struct query_hit hit)
{
	uint32_t i;

	if (r->max == 0)
		return;
	if (r->n == r->max) {
		if (!r->better(r->ctx, &hit, &r->hits[0]))
			return;
		r->hits[0] = hit;
		rank_down(r, 0, r->n);
		return;
	}
	i = r->n++;
	r->hits[i] = hit;
	while (i > 0 && r->better(r->ctx, &r->hits[(i - 1) / 2], &r->hits[i])) {
		rank_swap(&r->hits[i], &r->hits[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
}

struct query_hit *query_rank_end(struct query_rank *r)
{
	/* the worst goes to the end, again and again */
	for (uint32_t n = r->n; n > 1; n--) {
		rank_swap(&r->hits[0], &r->hits[n - 1]);
		rank_down(r, 0, n - 1);
	}
	return r->hits;
}
