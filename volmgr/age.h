/*
 * How far each store's log had got, as it told: a store whose log ends before that has been put
 * back to an earlier state (a backup, a copy made while it ran), or its disk forgot what it had
 * synced. Nothing on it is trusted then (stripe/distrust.c). The metadata remembers it over
 * restarts.
 */
#ifndef WEFT_AGE_H
#define WEFT_AGE_H

#include <stdbool.h>
#include <stdint.h>

#include "nbd/weft.h"

struct cluster;
struct peer_stats;
struct server;

#define AGE_RUNS 8u

/* Of one store. Made by the control thread, never freed; under cluster.lock. */
struct store_age {
	struct store_age *next;
	uint64_t durable;			 /* the most that it told */
	uint32_t older;				 /* how often it came back with less */
	uint8_t runs[AGE_RUNS][WEFT_UUID_BYTES]; /* the last that were judged */
	unsigned nruns;				 /* and how many were */
	bool behind;				 /* some data thread has not heard of it */
};

struct store_age *age_new(struct cluster *c, uint64_t durable, bool older);
/*
 * A run of the server says where its log is. Any thread; a run is judged once, by the first that
 * hears of it: what another one was told before may be behind what was heard since, of the same
 * run. *found: it is older, and nobody knew.
 */
uint32_t age_judge(struct cluster *c, struct store_age *age, const uint8_t *boot,
		   const struct weft_stat *st, bool *found);

/* The control thread: it told so in passing; it was found to be older; now and then, and before the
 * end, what is to be remembered. */
void age_heard(struct cluster *c, struct server *s, const struct weft_stat *st);
void ages_heard(struct cluster *c, const struct peer_stats *stats);
void age_found(struct cluster *c, uint32_t number);
void age_keep(struct cluster *c, struct server *s);
void ages_end(struct cluster *c);
/* Everything on stores that were older may be made anew by now: then they count as any other. */
void ages_look(struct cluster *c);

#endif
