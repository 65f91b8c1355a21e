/*
 * What a stripe transaction reads and what it prepares: pure, no I/O, no memory.
 *
 * A block row is the 4 KiB block of the same number in all k + m units of a stripe: one codeword.
 *
 *  FULL     every touched row gets all its k data blocks: encode, read nothing
 *  DELTA    data servers take the new blocks and give back the old ones; parity servers XOR
 *           coefficient * (old ^ new) onto theirs. Costs a round trip more, moves the least for
 * small writes REBUILD  read the blocks of the rows that are not written, encode the rows. Cheaper
 * than DELTA when most of a row is written, and the only way when a written shard is missing or a
 * checksum did not match
 */
#ifndef WEFT_PLAN_H
#define WEFT_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "nbd/weft.h"

enum plan_kind { PLAN_FULL, PLAN_DELTA, PLAN_REBUILD };

struct plan_in {
	unsigned k, m;
	uint64_t full[WEFT_K_MAX]; /* data shard j: blocks that are written whole */
	uint64_t
		part[WEFT_K_MAX]; /* blocks written in part: their old bytes are needed. Disjoint */
	uint32_t good;		  /* shards that take part: not stale, reachable */
	uint32_t readable;	  /* those of them that can be read: no checksum error met */
};

struct plan {
	enum plan_kind kind;
	uint64_t rows;			/* rows that the tx touches */
	uint64_t read[WEFT_SHARDS_MAX]; /* blocks to read first, for each shard */
	uint64_t decode;		/* rows to be decoded after reading: k shards were read */
	uint32_t decode_from;		/* those k shards */
	uint32_t decode_want;		/* the data shards to be decoded */
	uint64_t prepare[WEFT_SHARDS_MAX]; /* blocks that PREPARE changes, for each good shard */
	uint32_t participants;		   /* shards with a PREPARE */
	bool want_old; /* DELTA: the old blocks come with the data PREPARE, parity follows. False
			* with DELTA: all old blocks are read first, then all PREPAREs go at once */
};

/* 0, or -EIO: too few readable shards to know what must be written. */
int plan_make(const struct plan_in *in, struct plan *p);

/* How many good shards a volume needs before it takes a write, when nobody says otherwise: k + 1,
 * or k with at most one parity. */
static inline unsigned plan_min_good(unsigned k, unsigned m)
{
	return m <= 1 ? k : k + 1;
}

#endif
