/* Latency buckets, quantiles, and the history behind charts. */
#include "config.h"

#include <string.h>

#include "volmgr/iostat.h"
#include "tap.h"

static unsigned bucket_of(uint64_t ns)
{
	struct io_stat st = {0};

	io_stat_add(&st, IO_READ, 1, ns);
	for (unsigned i = 0; i < WATCH_BUCKETS; i++)
		if (st.kind[IO_READ].bucket[i] == 1)
			return i;
	return WATCH_BUCKETS;
}

static void test_buckets(void)
{
	bool edges = true, ascending = true;

	for (unsigned i = 0; i < WATCH_BUCKETS - 1; i++) {
		edges &= bucket_of(io_bucket_end(i)) == i;
		edges &= bucket_of(io_bucket_end(i) + 1) == i + 1;
		ascending &= i == 0 || io_bucket_end(i) > io_bucket_end(i - 1);
	}
	ok(edges, "a bucket ends where it says");
	ok(ascending, "ends ascend");
	is_int(io_bucket_end(WATCH_BUCKETS - 1), 0, "the last one has no end");
	is_int(bucket_of(0), 0, "no time at all is in the first");
	is_int(bucket_of(UINT64_MAX), WATCH_BUCKETS - 1, "for ever is in the last");
}

static void test_quantiles(void)
{
	struct io_stat st = {0};
	struct watch_counts then, diff;
	uint64_t half;

	is_int(io_counts_quantile(&st.kind[IO_WRITE], 0.5), 0,
	       "nothing was counted, nothing is told");
	for (int i = 0; i < 1000; i++)
		io_stat_add(&st, IO_WRITE, 4096, i < 990 ? 1000000 : 500000000);
	half = io_counts_quantile(&st.kind[IO_WRITE], 0.5);
	ok(half > 600000 && half <= 1100000, "half of them took about a millisecond");
	ok(io_counts_quantile(&st.kind[IO_WRITE], 0.999) > 300000000, "and few much longer");
	is_int(st.kind[IO_WRITE].bytes, 4096000, "bytes are counted");
	then = st.kind[IO_WRITE];
	io_stat_add(&st, IO_WRITE, 512, 1);
	io_counts_since(&st.kind[IO_WRITE], &then, &diff);
	ok(diff.count == 1 && diff.bytes == 512 && diff.bucket[0] == 1, "and what came since");
}

static void test_history(void)
{
	static struct history h;
	float v[HISTORY_VALUES] = {0};

	is_int(history_count(&h, 0), 0, "it begins empty");
	for (int i = 0; i < HISTORY_FINE + 10; i++) {
		v[0] = (float)i;
		history_add(&h, v);
	}
	is_int(history_count(&h, 0), HISTORY_FINE, "the fine ring is bounded");
	is_int((int)history_get(&h, 0, 0)[0], 10, "the oldest is first");
	is_int((int)history_get(&h, 0, HISTORY_FINE - 1)[0], HISTORY_FINE + 9, "the newest last");
	is_int(history_count(&h, 1), (HISTORY_FINE + 10) / HISTORY_RATIO, "coarse steps are fewer");
	ok(history_get(&h, 1, 0)[0] > 29 && history_get(&h, 1, 0)[0] < 30, "they are means");
	for (int i = 0; i < HISTORY_COARSE * HISTORY_RATIO; i++)
		history_add(&h, v);
	is_int(history_count(&h, 1), HISTORY_COARSE, "the coarse ring is bounded too");
}

int main(void)
{
	test_buckets();
	test_quantiles();
	test_history();
	return done_testing();
}
