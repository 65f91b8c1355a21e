/*
 * What clients of a volume get: how many requests, how many bytes, and how long each took, from the
 * request's last byte in to its answer's making. A data thread counts without a lock; the control
 * thread is given copies. Pure.
 */
#ifndef WEFT_IOSTAT_H
#define WEFT_IOSTAT_H

#include <stdint.h>

enum io_kind { IO_READ, IO_WRITE, IO_OTHER, IO_KINDS };

/* Two buckets for each doubling, from 16 us to 16 s; then one for all that took longer. */
#define IO_BUCKETS	41
#define IO_BUCKET_FIRST 16000u /* ns */

struct io_counts {
	uint64_t count, bytes, total_ns;
	uint32_t bucket[IO_BUCKETS];
};
struct io_stat {
	struct io_counts kind[IO_KINDS];
};

void io_stat_add(struct io_stat *st, enum io_kind kind, uint32_t bytes, uint64_t ns);
/* The upper end of a bucket in ns; 0: the last one, which has none. */
uint64_t io_bucket_end(unsigned bucket);
/* What lies between two copies of the same counters. */
void io_counts_since(const struct io_counts *now, const struct io_counts *then,
		     struct io_counts *out);
/* The time within which this part (0.99) of the requests was answered, in ns; 0: there were none.
 */
uint64_t io_counts_quantile(const struct io_counts *c, double part);

/* ---- history: what charts show. Fixed rings; a step of the coarse one is the mean of the fine. */
#define HISTORY_VALUES 6
#define HISTORY_STEP_S 2
#define HISTORY_FINE   900 /* half an hour */
#define HISTORY_RATIO  60  /* fine steps in a coarse one */
#define HISTORY_COARSE 720 /* a day */

struct history {
	float fine[HISTORY_FINE][HISTORY_VALUES];
	float coarse[HISTORY_COARSE][HISTORY_VALUES];
	double sum[HISTORY_VALUES];
	uint64_t steps; /* added so far */
};

void history_add(struct history *h, const float values[HISTORY_VALUES]);
/* How many of a ring there are, and the i-th of them, oldest first. */
unsigned history_count(const struct history *h, int coarse);
const float *history_get(const struct history *h, int coarse, unsigned i);

#endif
