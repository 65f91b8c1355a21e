/*
 * The plan of a stripe transaction: for every code up to 4+2, every subset of shards that still
 * allows one, every way to write two rows (each block whole, in part, or not), what the plan reads
 * must be enough to know what it prepares, and nothing comes from where it must not.
 */
#include "config.h"

#include "stripe/plan.h"

#include "tap.h"

#define ROWS 2

static unsigned long plans, wrong;

static void complain(const struct plan_in *in, const char *why)
{
	if (wrong++ < 10)
		diag("%u+%u good %x readable %x: %s", in->k, in->m, in->good, in->readable, why);
}

static bool has(uint64_t v, unsigned bit)
{
	return (v >> bit & 1) != 0;
}

/* Are the old bytes of this data block known after reading? */
static bool known(const struct plan_in *in, const struct plan *p, unsigned j, unsigned r)
{
	if (has(in->readable, j) && has(p->read[j], r))
		return true;
	return has(p->decode_want, j) && has(p->decode, r);
}

static void check_reads(const struct plan_in *in, const struct plan *p)
{
	for (unsigned i = 0; i < in->k + in->m; i++)
		if (p->read[i] != 0 && !has(in->readable, i))
			complain(in, "reads what cannot be read");
	if (p->decode == 0)
		return;
	if ((unsigned)__builtin_popcount(p->decode_from) != in->k)
		complain(in, "does not decode from k shards");
	for (unsigned i = 0; i < in->k + in->m; i++)
		if (has(p->decode_from, i) && (p->read[i] & p->decode) != p->decode)
			complain(in, "decodes from what it did not read");
	if ((p->decode_from & p->decode_want) != 0)
		complain(in, "decodes what it has");
}

static void check_row(const struct plan_in *in, const struct plan *p, unsigned r)
{
	for (unsigned j = 0; j < in->k; j++) {
		bool full = has(in->full[j], r), part = has(in->part[j], r);
		bool parity = (p->participants >> in->k) != 0;

		if (part && !known(in, p, j, r))
			complain(in, "a block written in part has no old bytes");
		if (p->kind != PLAN_DELTA && parity && !full && !part && !known(in, p, j, r))
			complain(in, "parity of unknown data");
		if (p->kind == PLAN_FULL && parity && !full)
			complain(in, "not a full row");
		if (p->kind != PLAN_DELTA || !(full || part))
			continue;
		if (!has(in->good, j) || !has(in->readable, j))
			complain(in, "delta against what cannot be read");
		if (!p->want_old && !known(in, p, j, r))
			complain(in, "delta against unknown bytes");
	}
}

static void check_prepares(const struct plan_in *in, const struct plan *p)
{
	for (unsigned i = 0; i < in->k + in->m; i++) {
		uint64_t want = i < in->k ? in->full[i] | in->part[i] : p->rows;

		if (!has(in->good, i))
			want = 0;
		if (p->prepare[i] != want || has(p->participants, i) != (want != 0))
			complain(in, "prepares the wrong blocks");
	}
}

static void check(const struct plan_in *in)
{
	struct plan p;
	bool parity_ok = in->m > 0;
	int err = plan_make(in, &p);

	plans++;
	if (err != 0) {
		if (parity_ok && (unsigned)__builtin_popcount(in->readable) >= in->k)
			complain(in, "gives up although k shards can be read");
		return;
	}
	check_reads(in, &p);
	check_prepares(in, &p);
	for (unsigned r = 0; r < ROWS; r++)
		if (has(p.rows, r))
			check_row(in, &p, r);
	if (p.kind == PLAN_FULL && in->m > 0)
		for (unsigned i = 0; i < in->k; i++)
			if (p.read[i] != 0 && (p.participants >> in->k) != 0)
				complain(in, "a full plan reads");
}

/* All ways to write, as a number in base 3: per block none, whole, part. */
static void all_writes(struct plan_in *in)
{
	unsigned long n = 1;

	for (unsigned i = 0; i < in->k * ROWS; i++)
		n *= 3;
	for (unsigned long code = 1; code < n; code++) {
		unsigned long c = code;

		for (unsigned j = 0; j < in->k; j++) {
			in->full[j] = in->part[j] = 0;
			for (unsigned r = 0; r < ROWS; r++, c /= 3) {
				in->full[j] |= (uint64_t)(c % 3 == 1) << r;
				in->part[j] |= (uint64_t)(c % 3 == 2) << r;
			}
		}
		check(in);
	}
}

static void all_subsets(unsigned k, unsigned m)
{
	unsigned all = (1u << (k + m)) - 1;
	char name[80];

	plans = wrong = 0;
	for (unsigned good = 0; good <= all; good++) {
		struct plan_in in = {.k = k, .m = m, .good = good, .readable = good};

		if ((unsigned)__builtin_popcount(good) < k)
			continue;
		all_writes(&in);
		for (unsigned i = 0; i < k + m; i++) { /* one that can be written but not read */
			in.readable = good & ~(1u << i);
			if (in.readable != good && (unsigned)__builtin_popcount(in.readable) >= k &&
			    k < 4)
				all_writes(&in);
		}
	}
	snprintf(name, sizeof(name), "%u+%u: %lu plans are sound", k, m, plans);
	is_int(wrong, 0, name);
}

static struct plan plan_of(unsigned k, unsigned m, const uint64_t *full)
{
	struct plan_in in = {.k = k, .m = m};
	struct plan p;

	in.good = in.readable = (1u << (k + m)) - 1;
	for (unsigned j = 0; j < k; j++)
		in.full[j] = full[j];
	if (plan_make(&in, &p) != 0)
		diag("no plan");
	return p;
}

int main(void)
{
	struct plan p;

	for (unsigned k = 1; k <= 4; k++)
		for (unsigned m = 0; m <= 2; m++)
			all_subsets(k, m);
	p = plan_of(4, 2, (uint64_t[]){1, 0, 0, 0});
	ok(p.kind == PLAN_DELTA && p.want_old, "4+2, one block: a parity delta");
	is_int(p.participants, 0x31, "... on three servers");
	p = plan_of(4, 2, (uint64_t[]){3, 3, 3, 3});
	is_int(p.kind, PLAN_FULL, "4+2, whole rows: nothing is read");
	p = plan_of(4, 2, (uint64_t[]){0xfffe, 0xffff, 0xffff, 0xffff});
	ok(p.kind == PLAN_REBUILD && p.read[0] == 1, "4+2, all but one block: that block is read");
	p = plan_of(1, 2, (uint64_t[]){1});
	is_int(p.kind, PLAN_FULL, "copies: a block is a whole row");
	p = plan_of(2, 1, (uint64_t[]){1, 0});
	is_int(p.kind, PLAN_DELTA, "2+1, one block: a parity delta");
	return done_testing();
}
