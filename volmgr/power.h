/*
 * What would be lost for a while if the servers of a host went away: each extent's good shards are
 * counted without them.
 */
#ifndef WEFT_POWER_H
#define WEFT_POWER_H

#include "volmgr.h"

/* How a volume fares without the host, worst last. */
enum power_state {
	POWER_SAME,
	POWER_LESS,	  /* fewer may be lost after that */
	POWER_WAITING,	  /* parts of it take no writes */
	POWER_UNAVAILABLE /* parts of it cannot be read */
};

/* Of one extent. good: shards on servers that are up, with everything; kept: those of them that
 * are not on the host. min: what a write needs. What is so already is not the host's doing. */
static inline enum power_state power_extent(unsigned k, unsigned min, unsigned good, unsigned kept)
{
	if (kept < k && good >= k)
		return POWER_UNAVAILABLE;
	if (kept < min && good >= min)
		return POWER_WAITING;
	return kept < good ? POWER_LESS : POWER_SAME;
}

struct power_impact {
	unsigned servers, up;		       /* of the host */
	unsigned count[POWER_UNAVAILABLE + 1]; /* volumes */
	const struct vol *worst[10]; /* of those that wait or cannot be read, the worst first */
	unsigned nworst;
	const char *worst_state[10];
};
const char *power_state_name(enum power_state s);
/* 0, or the metadata's error. */
int power_impact(struct cluster *c, const char *host, struct power_impact *out);

#endif
