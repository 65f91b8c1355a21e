/*
 * Which servers get the shards of a new extent. Pure: the caller says what it knows of the servers
 * and brings the randomness, so that a test sees every choice again.
 */
#ifndef WEFT_PLACE_H
#define WEFT_PLACE_H

#include <stdbool.h>
#include <stdint.h>

struct place_candidate {
	uint32_t server;     /* number */
	uint32_t host;	     /* same number: same host */
	uint64_t free_bytes; /* capacity that nobody has yet */
	bool usable;	     /* up, not on its way out, a slot is free */
};

#define PLACE_CANDIDATES_MAX 256

/*
 * Choose count different servers with at least need_bytes free. No host gets a second shard while
 * another host that could take one has fewer; among equals chance decides, in proportion to free
 * capacity. *seed moves on (any value but 0). 0, or -ENOSPC: not enough servers fit; *fitting (may
 * be NULL) says how many do.
 */
int place_choose(const struct place_candidate *c, int n, unsigned count, uint64_t need_bytes,
		 uint64_t *seed, uint32_t *servers, unsigned *fitting);

#endif
