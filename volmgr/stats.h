/*
 * What goes on, sampled every HISTORY_STEP_S seconds by the control thread: rates and latencies of
 * each volume, each server and all together, with a bounded history of each for charts.
 */
#ifndef WEFT_STATS_H
#define WEFT_STATS_H

#include "iostat.h"
#include "volmgr.h"

#define HISTORIES_MAX 512 /* volumes with one; the one idle for longest gives way */

/* Of the last step, a second. */
struct rates {
	float value[HISTORY_VALUES];
};
enum rate {
	RATE_READS,
	RATE_WRITES,
	RATE_READ_BYTES,
	RATE_WRITE_BYTES,
	RATE_READ_US,
	RATE_WRITE_US,
	RATE_REBUILD_BYTES
};
extern const char *const rate_names[HISTORY_VALUES];

/* What is known of one volume or server over time. The latencies of a history are those that 99 of
 * 100 requests did not exceed; of a server, the mean of the reads that volmgr had from it. To
 * rebuild, a volume reads and writes; a server has got shards. */
struct watch {
	struct io_stat last;			      /* a volume's counters at the last step */
	struct weft_stat stat;			      /* a server's */
	uint64_t answers, answers_ns, rebuilt_shards; /* likewise, of volmgr's own counters */
	uint64_t moved_bytes;			      /* to rebuild a volume */
	bool started;				      /* last or stat is valid */
	struct rates rates;
	struct history *history; /* NULL: none, or it gave way */
	uint64_t active_ns;	 /* when it last did something */
};

void stats_start(struct cluster *c);
void stats_stop(struct cluster *c);
void watch_free(struct watch *w);
/* Of the whole cluster. */
const struct watch *stats_all(void);

/* ---- api-live.c: to be called after each step */
void live_step(struct cluster *c);
void live_stop(void);

#endif
