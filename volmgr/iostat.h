/*
 * What clients of a volume get: how many requests, how many bytes, and how long each took, from the
 * request's last byte in to its answer's making. A data thread counts without a lock; the control
 * thread is given copies. Pure.
 */
#ifndef WEFT_IOSTAT_H
#define WEFT_IOSTAT_H

#include <stdint.h>

#include "bpf/watch.h"

enum io_kind { IO_READ, IO_WRITE, IO_OTHER, IO_KINDS };

struct io_stat {
	struct watch_counts kind[IO_KINDS];
};

void io_stat_add(struct io_stat *st, enum io_kind kind, uint32_t bytes, uint64_t ns);
void io_counts_sum(struct watch_counts *sum, const struct watch_counts *c);
void io_stat_sum(struct io_stat *sum, const struct io_stat *st);
/* The upper end of a bucket in ns; 0: the last one, which has none. */
uint64_t io_bucket_end(unsigned bucket);
/* What lies between two copies of the same counters. */
void io_counts_since(const struct watch_counts *now, const struct watch_counts *then,
		     struct watch_counts *out);
/* The time within which this part (0.99) of the requests was answered, in ns; 0: there were none.
 */
uint64_t io_counts_quantile(const struct watch_counts *c, double part);

/* ---- history: what charts show. Fixed rings; a step of the coarse one is the mean of the fine. */
#define HISTORY_VALUES 7
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
