/*
 * Where the bytes of a volume are: pure arithmetic.
 *
 * The address space is cut into extents of k * WEFT_SHARD_BYTES, each extent into stripes of k
 * units. Data unit j of stripe s lies in shard j at s * unit. So the stripes that follow each other
 * in the volume follow each other in each shard too, and any byte range of an extent is one byte
 * range of each of its data shards: a large read is one call a server, whatever the unit.
 */
#ifndef WEFT_LAYOUT_H
#define WEFT_LAYOUT_H

#include <assert.h>
#include <stdint.h>

#include "nbd/weft.h"

struct layout {
	unsigned k, m;
	unsigned unit_shift;
	unsigned spe_shift; /* log2 of the stripes in an extent */
	uint32_t unit;	    /* bytes */
	uint32_t stripe;    /* bytes of data in a stripe */
	uint64_t extent;    /* bytes of data in an extent */
	unsigned blocks;    /* 4 KiB blocks in a unit: 1 to 64 */
};

/* k 1..WEFT_K_MAX, m 0..WEFT_M_MAX, unit a power of two, 4 KiB to WEFT_UNIT_MAX: else -EINVAL. */
int layout_init(struct layout *l, unsigned k, unsigned m, uint32_t unit);

static inline uint64_t layout_extent_of_stripe(const struct layout *l, uint64_t stripe)
{
	return stripe >> l->spe_shift;
}

/* Offset of a stripe's units in their shards. */
static inline uint32_t layout_shard_offset(const struct layout *l, uint64_t stripe)
{
	return (uint32_t)(stripe & ((1u << l->spe_shift) - 1)) << l->unit_shift;
}

/*
 * The first byte of shard j that lies at or behind byte at of the extent: [at, end) of the extent
 * is [edge(at), edge(end)) of the shard.
 */
static inline uint32_t layout_edge(const struct layout *l, uint64_t at, unsigned j)
{
	uint32_t s = (uint32_t)(at / l->stripe);
	uint32_t within = (uint32_t)(at - (uint64_t)s * l->stripe);
	unsigned unit = within >> l->unit_shift;

	if (j < unit)
		return (s + 1) << l->unit_shift;
	if (j > unit)
		return s << l->unit_shift;
	return (s << l->unit_shift) + (within & (l->unit - 1));
}

/* The byte of the extent that is byte at of data shard j. */
static inline uint64_t layout_extent_byte(const struct layout *l, uint32_t at, unsigned j)
{
	return (uint64_t)(at >> l->unit_shift) * l->stripe + ((uint64_t)j << l->unit_shift) +
	       (at & (l->unit - 1));
}

#endif
