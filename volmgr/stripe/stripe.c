/*
 * The queues of the stripes that have work. Writes to a stripe wait here while its tx runs, and go
 * into the next one together: a sequential writer of small blocks makes few, large txs.
 */
#include "config.h"

#include <errno.h>

#include "stripe/engine.h"

#include "banned.h"

static struct stripe **bucket(struct stripe **hash, size_t size, uint64_t number)
{
	return &hash[(number * 0x9e3779b97f4a7c15ULL) >> 52 & (size - 1)];
}

/* Few of thousands of volumes have much to do at once: the table grows with the work. Without
 * memory for a larger one, chains grow. False: there is none at all. */
static bool hash_room(struct volume *v)
{
	size_t size = v->hash == NULL ? STRIPE_HASH_MIN : v->hash_size * 2;
	struct stripe **grown;

	if (v->hash != NULL && (v->stripes.used < v->hash_size || size > STRIPE_HASH_MAX))
		return true;
	grown = calloc(size, sizeof(*grown));
	if (grown == NULL)
		return v->hash != NULL;
	for (size_t i = 0; i < v->hash_size; i++)
		for (struct stripe *st = v->hash[i], *next; st != NULL; st = next) {
			struct stripe **at = bucket(grown, size, st->number);

			next = st->hash_next;
			st->hash_next = *at;
			*at = st;
		}
	free(v->hash);
	v->hash = grown;
	v->hash_size = size;
	return true;
}

struct stripe *stripe_find(struct volume *v, uint64_t number)
{
	struct stripe *st = v->hash != NULL ? *bucket(v->hash, v->hash_size, number) : NULL;

	while (st != NULL && st->number != number)
		st = st->hash_next;
	return st;
}

/* Find a stripe with work, or start one. NULL: out of memory. */
struct stripe *stripe_get(struct volume *v, uint64_t number, struct extent *x)
{
	struct stripe **at, *st = stripe_find(v, number);

	if (st != NULL)
		return st;
	if (!hash_room(v))
		return NULL;
	at = bucket(v->hash, v->hash_size, number);
	st = slab_get(&v->stripes);
	if (st == NULL)
		return NULL;
	*st = (struct stripe){.number = number, .x = x, .hash_next = *at};
	st->parts_tail = &st->parts;
	st->dreads_tail = &st->dreads;
	st->mends_tail = &st->mends;
	*at = st;
	x->busy++;
	return st;
}

static void stripe_end(struct volume *v, struct stripe *st)
{
	struct stripe **at = bucket(v->hash, v->hash_size, st->number);
	struct extent *x = st->x;

	assert(st->tx == NULL && st->parts == NULL && st->dreads == NULL);
	assert(st->dreads_running == 0 && st->place == STRIPE_NOWHERE);
	assert(st->mends == NULL && st->mend == NULL && st->copy == NULL && st->carry == NULL);
	while (*at != st)
		at = &(*at)->hash_next;
	*at = st->hash_next;
	slab_put(&v->stripes, st);
	extent_unbusy(v, x);
}

void stripe_start(struct volume *v, struct stripe *st)
{
	if (st->place != STRIPE_NOWHERE)
		return;
	st->place = STRIPE_START;
	st->next = NULL;
	*v->start_tail = st;
	v->start_tail = &st->next;
	volume_wake(v);
}

/* Something that it needs is not there; volume_unstall() makes it look again. */
void stripe_stall(struct volume *v, struct stripe *st)
{
	assert(st->place == STRIPE_NOWHERE);
	st->place = STRIPE_STALLED;
	st->next = v->stalled;
	v->stalled = st;
	for (struct wpart *p = st->parts; p != NULL; p = p->next)
		op_waiting(p->op, true);
}

void stripe_unstall(struct volume *v, struct stripe *st)
{
	struct stripe **at = &v->stalled;

	assert(st->place == STRIPE_STALLED);
	while (*at != st)
		at = &(*at)->next;
	*at = st->next;
	st->place = STRIPE_NOWHERE;
	stripe_start(v, st);
}

void parts_done(struct volume *v, struct wpart *parts, int error)
{
	while (parts != NULL) {
		struct wpart *next = parts->next;
		struct op *op = parts->op;

		slab_put(&v->parts, parts);
		op_waiting(op, false);
		if (error != 0)
			op_fail(op, error);
		op_put(op);
		parts = next;
	}
}

void stripe_fail_parts(struct volume *v, struct stripe *st, int error)
{
	struct wpart *parts = st->parts;

	st->parts = NULL;
	st->parts_tail = &st->parts;
	st->nparts = 0;
	parts_done(v, parts, error);
}

static void stripe_write(struct volume *v, struct stripe *st)
{
	struct extent *x = st->x;

	switch (x->state) {
	case EXTENT_NEW:
	case EXTENT_PLACING:
		st->place = STRIPE_PLACING;
		st->next = x->placing;
		x->placing = st;
		if (x->state == EXTENT_NEW)
			extent_place(v, x);
		return;
	default:
		st->dreads_had_turn = false;
		tx_start(v, st);
		return;
	}
}

/* What this stripe can do now: decoding reads first (they are short), repairs, then the next tx. */
void stripe_advance(struct volume *v, struct stripe *st)
{
	assert(st->place == STRIPE_NOWHERE);
	if ((st->mends == NULL || st->tx != NULL) && (st->parts == NULL || !st->dreads_had_turn))
		dreads_start(st);
	if (st->place != STRIPE_NOWHERE) /* a repair was asked for */
		return;
	copy_try(st);
	if (st->place != STRIPE_NOWHERE) /* it ended at once */
		return;
	carry_try(st);
	if (st->place != STRIPE_NOWHERE)
		return;
	if (st->mends != NULL && st->tx != NULL && st->tx->phase == TX_ABORT_WAIT) {
		mends_put_off(v, st);
		return;
	}
	if (st->tx != NULL || st->dreads_running > 0 || st->mend != NULL || copy_runs(st) ||
	    carry_runs(st))
		return;
	assert(st->copy == NULL && st->carry == NULL);
	if ((st->mends != NULL || st->parts != NULL) && carry_holds(st->x)) {
		stripe_stall(v, st);
		return;
	}
	if (st->mends != NULL) {
		mend_start(v, st);
		return;
	}
	if (volume_is_over(v) && st->parts != NULL) {
		stripe_fail_parts(v, st, ESHUTDOWN);
		stripe_start(v, st);
	} else if (st->parts != NULL) {
		stripe_write(v, st);
	} else if (st->dreads != NULL) {
		stripe_stall(v, st);
	} else {
		stripe_end(v, st);
	}
}

/* One stripe's piece of a write into its queue. */
static bool write_part(struct op *op, struct extent *x, uint64_t number, uint32_t at, uint32_t len)
{
	struct volume *v = op->v;
	struct stripe *st = stripe_get(v, number, x);
	struct wpart *p;

	if (st == NULL)
		return false;
	p = slab_get(&v->parts);
	if (p == NULL) {
		stripe_start(v, st); /* which may end it */
		return false;
	}
	p->next = NULL;
	p->op = op;
	p->src = op->zero ? NULL : op->req->payload->data + (op->cursor - op->offset);
	p->at = at;
	p->len = len;
	*st->parts_tail = p;
	st->parts_tail = &p->next;
	st->nparts++;
	op->pending++;
	op->cursor += len;
	stripe_start(v, st);
	return true;
}

bool write_next(struct op *op)
{
	struct volume *v = op->v;
	const struct layout *l = &v->l;
	uint64_t number = op->cursor / l->stripe;
	uint32_t at = (uint32_t)(op->cursor - number * l->stripe);
	uint64_t left = op->end - op->cursor;
	uint32_t len = left < l->stripe - at ? (uint32_t)left : l->stripe - at;
	struct extent *x = extent_get(v, layout_extent_of_stripe(l, number));

	if (x != NULL && x->state == EXTENT_DROPPING) {
		op_wait(op);
		return false;
	}
	if (x == NULL || !write_part(op, x, number, at, len)) {
		if (x != NULL && x->state == EXTENT_NEW && x->busy == 0)
			extent_forget(v, x);
		op_fail(op, ENOMEM);
		return false;
	}
	return true;
}

void write_continue(struct op *op)
{
	while (op->cursor < op->end && op->pending <= OP_STRIPES_MAX)
		if (!write_next(op))
			return;
}
