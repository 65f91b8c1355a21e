/*
 * Erasure code: k data blocks give m parity blocks; any k of the k + m give back the rest.
 *
 * The codes are liberasurecode's. The generator matrix is what its own encode makes of unit
 * vectors, so that what we store is its format, but bulk work goes through ISA-L directly, by
 * pointers into the callers' buffers: liberasurecode's calls copy every block. Source: J. S. Plank,
 * "A Tutorial on Reed-Solomon Coding for Fault-Tolerance in RAID-like Systems" (1997, corrected
 * 2003); J. Bloemer et al., "An XOR-Based Erasure-Resilient Coding Scheme" (1995) for Cauchy
 * matrices.
 *
 * Threads: an ec is constant after creation and may be used by all; blocks are the caller's.
 */
#ifndef WEFT_EC_H
#define WEFT_EC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nbd/weft.h"

/* Stored in labels and volume records: never renumber. */
enum ec_code {
	EC_NONE = 0,	    /* m = 0 */
	EC_ISAL_CAUCHY = 1, /* liberasurecode isa_l_rs_cauchy: the default */
	EC_ISAL_VAND = 2,   /* liberasurecode isa_l_rs_vand */
	EC_RS_VAND =
		3, /* liberasurecode's built-in rs_vand: works everywhere, 20-50 times slower */
};

struct ec;

/* The best code that this machine has: EC_ISAL_CAUCHY, or EC_RS_VAND. */
enum ec_code ec_best_code(void);
bool ec_code_available(enum ec_code code);
const char *ec_code_name(enum ec_code code);
/* -1: unknown */
int ec_code_from_name(const char *name);

/* k 1..WEFT_K_MAX, m 0..WEFT_M_MAX. NULL with errno: EINVAL, ENOMEM, ENOTSUP (code not here). */
struct ec *ec_create(enum ec_code code, unsigned k, unsigned m);
void ec_destroy(struct ec *ec);
unsigned ec_k(const struct ec *ec);
unsigned ec_m(const struct ec *ec);

/* parity[0..m-1] from data[0..k-1]; len bytes each, a multiple of 64. */
void ec_encode(const struct ec *ec, size_t len, uint8_t *const *data, uint8_t *const *parity);

/*
 * What changed data block j adds to each parity: parity_delta[i] = coefficient(i, j) * delta.
 * add: XOR the result onto what is in parity_delta instead of setting it.
 */
void ec_delta(const struct ec *ec, size_t len, unsigned j, const uint8_t *delta,
	      uint8_t *const *parity_delta, bool add);

/*
 * Get back missing blocks. blocks[0..k+m-1]: pointers to all; good: bit i set: blocks[i] is there
 * (at least k of them); want: bits of the blocks to compute into blocks[i] (none of them good).
 * -EINVAL when fewer than k are good. Blocks in neither mask may be NULL.
 */
int ec_decode(const struct ec *ec, size_t len, uint8_t *const *blocks, uint32_t good,
	      uint32_t want);

/* dst ^= src */
void ec_xor(uint8_t *dst, const uint8_t *src, size_t len);

#endif
