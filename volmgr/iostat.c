/* See iostat.h. */
#include "config.h"

#include <assert.h>
#include <string.h>

#include "iostat.h"
#include "banned.h"

/* ---- counting ------------------------------------------------------------------------------ */

uint64_t io_bucket_end(unsigned bucket)
{
	unsigned octave, half;

	if (bucket == 0)
		return WATCH_FIRST;
	if (bucket >= WATCH_BUCKETS - 1)
		return 0;
	octave = (bucket - 1) / 2;
	half = (bucket - 1) % 2;
	return ((uint64_t)WATCH_FIRST << octave) * (half ? 4 : 3) / 2;
}

void io_stat_add(struct io_stat *st, enum io_kind kind, uint32_t bytes, uint64_t ns)
{
	watch_add(&st->kind[kind], bytes, ns);
}

void io_counts_sum(struct watch_counts *sum, const struct watch_counts *c)
{
	sum->count += c->count;
	sum->bytes += c->bytes;
	sum->total_ns += c->total_ns;
	for (unsigned i = 0; i < WATCH_BUCKETS; i++)
		sum->bucket[i] += c->bucket[i];
}

void io_stat_sum(struct io_stat *sum, const struct io_stat *st)
{
	for (int k = 0; k < IO_KINDS; k++)
		io_counts_sum(&sum->kind[k], &st->kind[k]);
}

void io_counts_since(const struct watch_counts *now, const struct watch_counts *then,
		     struct watch_counts *out)
{
	out->count = now->count - then->count;
	out->bytes = now->bytes - then->bytes;
	out->total_ns = now->total_ns - then->total_ns;
	for (unsigned i = 0; i < WATCH_BUCKETS; i++)
		out->bucket[i] = now->bucket[i] - then->bucket[i];
}

uint64_t io_counts_quantile(const struct watch_counts *c, double part)
{
	uint64_t seen = 0, below = 0, want;

	assert(part >= 0 && part <= 1);
	want = (uint64_t)((double)c->count * part + 0.5);
	if (c->count == 0)
		return 0;
	if (want == 0)
		want = 1;
	for (unsigned i = 0; i < WATCH_BUCKETS; i++) {
		uint64_t end = io_bucket_end(i);

		seen += c->bucket[i];
		if (seen >= want && end == 0)
			return below;
		if (seen >= want)
			return end - (end - below) * (seen - want) / c->bucket[i];
		below = end;
	}
	return below;
}

/* ---- history ------------------------------------------------------------------------------- */

void history_add(struct history *h, const float values[HISTORY_VALUES])
{
	memcpy(h->fine[h->steps % HISTORY_FINE], values, sizeof(h->fine[0]));
	for (unsigned i = 0; i < HISTORY_VALUES; i++)
		h->sum[i] += (double)values[i];
	h->steps++;
	if (h->steps % HISTORY_RATIO != 0)
		return;
	for (unsigned i = 0; i < HISTORY_VALUES; i++) {
		h->coarse[(h->steps / HISTORY_RATIO - 1) % HISTORY_COARSE][i] =
			(float)(h->sum[i] / HISTORY_RATIO);
		h->sum[i] = 0;
	}
}

unsigned history_count(const struct history *h, int coarse)
{
	uint64_t n = coarse ? h->steps / HISTORY_RATIO : h->steps;
	unsigned max = coarse ? HISTORY_COARSE : HISTORY_FINE;

	return n < max ? (unsigned)n : max;
}

const float *history_get(const struct history *h, int coarse, unsigned i)
{
	uint64_t n = coarse ? h->steps / HISTORY_RATIO : h->steps;
	uint64_t at = n - history_count(h, coarse) + i;

	assert(i < history_count(h, coarse));
	return coarse ? h->coarse[at % HISTORY_COARSE] : h->fine[at % HISTORY_FINE];
}
