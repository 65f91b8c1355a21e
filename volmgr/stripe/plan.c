/* Choosing how a stripe transaction is carried out. See plan.h. */
#include "config.h"

#include "stripe/plan.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* What a call costs besides its payload, in blocks moved: measured against 4 KiB copies. */
#define CALL_COST 4u

struct tally {
	unsigned blocks_written;
	unsigned shards_written;
	unsigned rows;
	bool any_part;
	uint32_t written; /* data shards with written blocks */
};

static unsigned bits(uint64_t v)
{
	return (unsigned)__builtin_popcountll(v);
}

static uint64_t written(const struct plan_in *in, unsigned j)
{
	return in->full[j] | in->part[j];
}

static void take_stock(const struct plan_in *in, struct plan *p, struct tally *t)
{
	memset(p, 0, sizeof(*p));
	memset(t, 0, sizeof(*t));
	for (unsigned j = 0; j < in->k; j++) {
		uint64_t w = written(in, j);

		assert((in->full[j] & in->part[j]) == 0);
		p->rows |= w;
		t->blocks_written += bits(w);
		if (w == 0)
			continue;
		t->shards_written++;
		t->written |= 1u << j;
		t->any_part |= in->part[j] != 0;
	}
	t->rows = bits(p->rows);
	for (unsigned i = 0; i < in->k + in->m; i++) {
		if ((in->good >> i & 1) == 0)
			continue;
		p->prepare[i] = i < in->k ? written(in, i) : p->rows;
		if (p->prepare[i] != 0)
			p->participants |= 1u << i;
	}
}

static uint32_t parity_mask(const struct plan_in *in)
{
	return ((1u << in->m) - 1) << in->k;
}

static bool delta_possible(const struct plan_in *in, const struct tally *t)
{
	uint32_t needed = t->written | (parity_mask(in) & in->good);

	/* With k = 1 every written block is a whole row. */
	return in->k > 1 && (needed & ~in->readable) == 0;
}

static unsigned delta_cost(const struct plan_in *in, const struct tally *t)
{
	unsigned m = bits(parity_mask(in) & in->good);
	unsigned calls = t->shards_written + m + (t->any_part ? t->shards_written : 0);

	return calls * CALL_COST + 2 * t->blocks_written + m * t->rows;
}

static void plan_delta(const struct plan_in *in, struct plan *p, const struct tally *t)
{
	p->kind = PLAN_DELTA;
	p->want_old = !t->any_part;
	if (t->any_part)
		for (unsigned j = 0; j < in->k; j++)
			p->read[j] = written(in, j);
}

/* Without parity a row is k blocks that have nothing to do with each other. */
static int plan_plain(const struct plan_in *in, struct plan *p, const struct tally *t)
{
	p->kind = PLAN_FULL;
	if ((t->written & ~in->good) != 0)
		return -EIO;
	for (unsigned j = 0; j < in->k; j++) {
		p->read[j] = in->part[j];
		if (p->read[j] != 0 && (in->readable >> j & 1) == 0)
			return -EIO;
	}
	return 0;
}

/* Read k readable shards in all the rows in which some needed block cannot be read itself. */
static int plan_decode(const struct plan_in *in, struct plan *p, uint32_t want, uint64_t rows)
{
	unsigned have = 0;

	for (unsigned i = 0; i < in->k + in->m && have < in->k; i++) {
		if ((in->readable >> i & 1) == 0)
			continue;
		p->decode_from |= 1u << i;
		p->read[i] |= rows;
		have++;
	}
	if (have < in->k)
		return -EIO;
	p->decode = rows;
	p->decode_want = want;
	return 0;
}

static int plan_rebuild(const struct plan_in *in, struct plan *p)
{
	uint32_t want = 0;
	uint64_t decode_rows = 0, any = 0;

	for (unsigned j = 0; j < in->k; j++) {
		uint64_t need = p->rows & ~in->full[j];

		any |= need;
		if (need == 0)
			continue;
		if ((in->readable >> j & 1) != 0) {
			p->read[j] = need;
		} else {
			want |= 1u << j;
			decode_rows |= need;
		}
	}
	p->kind = any == 0 ? PLAN_FULL : PLAN_REBUILD;
	return want == 0 ? 0 : plan_decode(in, p, want, decode_rows);
}

static unsigned read_cost(const struct plan_in *in, const struct plan *p)
{
	unsigned cost = 0;

	for (unsigned i = 0; i < in->k + in->m; i++)
		if (p->read[i] != 0)
			cost += CALL_COST + bits(p->read[i]);
	return cost;
}

int plan_make(const struct plan_in *in, struct plan *p)
{
	struct tally t;
	unsigned rebuild_cost;
	int err;

	take_stock(in, p, &t);
	assert(t.shards_written > 0 && (in->readable & ~in->good) == 0);
	if ((parity_mask(in) & in->good) == 0)
		return plan_plain(in, p, &t);
	err = plan_rebuild(in, p);
	if (err == 0 && p->kind == PLAN_FULL)
		return 0;
	if (!delta_possible(in, &t))
		return err;
	rebuild_cost = read_cost(in, p) + bits(p->participants) * CALL_COST + t.blocks_written +
		       bits(parity_mask(in) & in->good) * t.rows;
	if (err == 0 && rebuild_cost <= delta_cost(in, &t))
		return 0;
	memset(p->read, 0, sizeof(p->read));
	p->decode = 0;
	p->decode_from = p->decode_want = 0;
	plan_delta(in, p, &t);
	return 0;
}
