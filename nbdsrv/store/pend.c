/*
 * What is prepared or committed but not yet in the map: transactions, and for each granule the list
 * of their parts, newest first, which reads look at before the map.
 */
#include "config.h"

#include "store/store_internal.h"

#include "banned.h"

static uint32_t bucket_of(uint64_t index)
{
	return (uint32_t)((index * 0x9e3779b97f4a7c15ULL) >> 48);
}
static_assert(GRAN_BUCKETS == 1u << 16, "bucket_of() takes 16 bits");

static struct gran **gran_bucket(struct store *s, uint64_t index)
{
	return &s->gran_hash[bucket_of(index)];
}

struct gran *gran_next(const struct store *s, const struct gran *g)
{
	uint32_t b = g == NULL ? 0 : bucket_of(g->index) + 1;

	if (g != NULL && g->hash_next != NULL)
		return g->hash_next;
	while (b < GRAN_BUCKETS) {
		uint64_t used = s->gran_used[b / 64] >> (b % 64);

		if (used == 0) {
			b = (b / 64 + 1) * 64;
			continue;
		}
		b += (uint32_t)__builtin_ctzll(used);
		if (s->gran_hash[b] != NULL)
			return s->gran_hash[b];
		b++;
	}
	return NULL;
}

struct gran *gran_find(struct store *s, uint64_t index)
{
	struct gran *g;

	if (s->ngrans == 0)
		return NULL;
	for (g = *gran_bucket(s, index); g != NULL; g = g->hash_next)
		if (g->index == index)
			break;
	return g;
}

struct gran *gran_get(struct store *s, uint64_t index)
{
	struct gran *g = gran_find(s, index), **bucket;

	if (g != NULL)
		return g;
	g = slab_get(&s->grans);
	if (g == NULL)
		return NULL;
	bucket = gran_bucket(s, index);
	g->index = index;
	g->hash_next = *bucket;
	*bucket = g;
	s->gran_used[bucket_of(index) / 64] |= 1ULL << (bucket_of(index) % 64);
	s->ngrans++;
	return g;
}

void gran_rest(struct store *s, struct gran *g)
{
	struct gran **at;

	if (g->newest != NULL || g->first != NULL || g->homing || g->dirty)
		return;
	if (g->reserved)
		granule_unreserve(s);
	for (at = gran_bucket(s, g->index); *at != g; at = &(*at)->hash_next)
		assert(*at != NULL);
	*at = g->hash_next;
	s->ngrans--;
	slab_put(&s->grans, g);
}

void gran_make_dirty(struct store *s, struct gran *g)
{
	if (g->dirty)
		return;
	g->dirty = true;
	g->dirty_stamp = ++s->dirty_stamp;
	g->dirty_next = NULL;
	if (s->dirty == NULL)
		s->dirty = g;
	else
		s->dirty_last->dirty_next = g;
	s->dirty_last = g;
}

/* By number of tx, since a record that a checkpoint wrote once more comes late at replay. */
void part_add(struct store *s, struct gran *g, struct part *p)
{
	struct part **at = &g->newest;

	while (*at != NULL && (*at)->ptx->tx > p->ptx->tx)
		at = &(*at)->older;
	p->older = *at;
	*at = p;
	p->gran = g;
}

void part_remove(struct store *s, struct part *p)
{
	struct gran *g = p->gran;
	struct part **at;

	if (g == NULL)
		return;
	for (at = &g->newest; *at != p; at = &(*at)->older)
		assert(*at != NULL);
	*at = p->older;
	p->gran = NULL;
	gran_rest(s, g);
}

void part_drop_memory(struct store *s, struct part *p)
{
	struct ptx *t = p->ptx;

	if (!p->in_memory)
		return;
	p->in_memory = false;
	assert(t->mem_users > 0);
	if (--t->mem_users == 0) {
		buf_put(t->payload);
		t->payload = NULL;
	}
}

void ptx_put(struct store *s, struct ptx *t)
{
	assert(t->refs > 0);
	if (--t->refs > 0)
		return;
	while (t->parts != NULL) {
		struct part *p = t->parts;

		assert(p->gran == NULL);
		t->parts = p->ptx_next;
		slab_put(&s->parts, p);
	}
	buf_put(t->payload);
	if (t->batch != NULL)
		t->batch->refs--;
	slab_put(&s->ptxs, t);
}

void ptx_list_add(struct vol *v, struct ptx *t)
{
	struct ptx *after = v->last;

	while (after != NULL && after->tx > t->tx)
		after = after->prev;
	t->prev = after;
	t->next = after != NULL ? after->next : v->first;
	if (t->next != NULL)
		t->next->prev = t;
	else
		v->last = t;
	if (after != NULL)
		after->next = t;
	else
		v->first = t;
	v->prepared++;
}

void ptx_list_remove(struct vol *v, struct ptx *t)
{
	if (t->prev != NULL)
		t->prev->next = t->next;
	else
		v->first = t->next;
	if (t->next != NULL)
		t->next->prev = t->prev;
	else
		v->last = t->prev;
	t->prev = t->next = NULL;
	v->prepared--;
}

struct ptx *ptx_find(const struct vol *v, uint64_t tx, uint32_t slot)
{
	for (struct ptx *t = v->last; t != NULL && t->tx >= tx; t = t->prev)
		if (t->tx == tx && t->slot == slot)
			return t;
	return NULL;
}

void ptx_decide(struct store *s, struct ptx *t, enum ptx_state state)
{
	assert(t->state == PTX_PREPARED && state != PTX_PREPARED);
	ptx_list_remove(t->vol, t);
	t->state = (uint8_t)state;
	s->stat.prepared--;
	if (t->batch != NULL) {
		assert(t->batch->undecided > 0);
		t->batch->undecided--;
	}
	assert(s->undecided_bytes >= t->log_bytes);
	s->undecided_bytes -= t->log_bytes;
	if (state != PTX_DROPPED)
		return;
	/* from here on reads see what was before; granules stay taken until the record is durable
	 */
	for (struct part *p = t->parts; p != NULL; p = p->ptx_next)
		part_remove(s, p);
}

void ptx_ready(struct store *s, struct ptx *t)
{
	assert(t->state == PTX_COMMITTED);
	t->state = PTX_READY;
	t->refs++;
	for (struct part *p = t->parts; p != NULL; p = p->ptx_next) {
		t->parts_left++;
		if (p->kind == PART_LOG)
			s->unhomed_bytes +=
				(uint64_t)__builtin_popcount(p->mask) * WEFT_BLOCK_BYTES;
	}
	for (struct part *p = t->parts; p != NULL; p = p->ptx_next)
		if (s->replay != NULL || !home_whole(s, p))
			gran_make_dirty(s, p->gran);
	ptx_put(s, t);
}

void ptx_undo(struct store *s, struct ptx *t)
{
	assert(t->state == PTX_DROPPED);
	for (struct part *p = t->parts; p != NULL; p = p->ptx_next)
		if (p->kind == PART_FRESH && p->phys != 0)
			granule_free(s, p->phys);
	ptx_put(s, t);
}
