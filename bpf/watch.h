/*
 * Counters and latencies of requests: the layout that the programs in the kernel and the daemons
 * share, so that reads past volmgr are counted as those through it. Pure, and small enough to be
 * always on: some additions and one look at the clock for each request.
 *
 * A histogram has two buckets for each doubling, from 1 us to 12 s, then one for all that took
 * longer; the first is for all that took less.
 */
#ifndef WEFT_WATCH_H
#define WEFT_WATCH_H

#ifdef __bpf__
typedef __u64 watch_u64;
typedef __u32 watch_u32;
#else
#include <stdint.h>
typedef uint64_t watch_u64;
typedef uint32_t watch_u32;
#endif

#define WATCH_BUCKETS 49u
#define WATCH_FIRST   1000u /* ns: the end of the first bucket */

struct watch_counts {
	watch_u64 count, bytes, total_ns;
	watch_u64 bucket[WATCH_BUCKETS];
};

/* Keys of the map of routed reads: a place in the map of volumes, or a server's number. */
#define WATCH_VOLUME(slot)   ((watch_u64)1 << 32 | (slot))
#define WATCH_SERVER(number) ((watch_u64)2 << 32 | (number))

/* The place of the highest bit; 0 for 0. No loop and no builtin: the kernel's compiler target has
 * none. */
static inline watch_u32 watch_log2(watch_u32 v)
{
	watch_u32 n = 0;

	if (v >= 1u << 16) {
		v >>= 16;
		n += 16;
	}
	if (v >= 1u << 8) {
		v >>= 8;
		n += 8;
	}
	if (v >= 1u << 4) {
		v >>= 4;
		n += 4;
	}
	if (v >= 1u << 2) {
		v >>= 2;
		n += 2;
	}
	return n + (v >> 1);
}

static inline watch_u32 watch_bucket(watch_u64 ns)
{
	watch_u32 halves, top, index;

	if (ns <= WATCH_FIRST)
		return 0;
	ns = (ns - 1) / (WATCH_FIRST / 2); /* 2 and 3: the halves of the first octave */
	if (ns >> 32 != 0)
		return WATCH_BUCKETS - 1;
	halves = (watch_u32)ns;
	top = watch_log2(halves);
	index = 1 + 2 * (top - 1) + (halves >> (top - 1) & 1);
	return index < WATCH_BUCKETS ? index : WATCH_BUCKETS - 1;
}

static inline void watch_add(struct watch_counts *w, watch_u32 bytes, watch_u64 ns)
{
	watch_u32 bucket = watch_bucket(ns);

	w->count++;
	w->bytes += bytes;
	w->total_ns += ns;
	if (bucket < WATCH_BUCKETS) /* it is; the kernel's verifier wants to see it */
		w->bucket[bucket]++;
}

#endif
