/*
 * Where the bytes of a volume are, for those that look into the maps: the program of clients'
 * sockets, and volmgr for reads that it steers.
 */
#ifndef WEFT_ROUTE_FIND_H
#define WEFT_ROUTE_FIND_H

#include "route.h"

struct route_spot {
	route_u32 entry; /* in the array of entries */
	route_u64 at;	 /* byte in the shard */
};

/* A range inside one unit of the volume and of the extents that have entries: 1, else 0. The
 * volume's words were read before, once. */
static inline __attribute__((always_inline)) int
route_spot_find(route_u32 k, route_u32 shift, route_u32 first, route_u64 extents, route_u64 size,
		route_u64 offset, route_u32 len, struct route_spot *spot)
{
	route_u64 unit, stripe, extent;
	route_u32 within;

	if (k == 0 || len == 0 || len > ROUTE_READ_MAX || ((offset | len) & (ROUTE_ALIGN - 1)) != 0)
		return 0;
	if (offset >= size || len > size - offset)
		return 0;
	within = (route_u32)offset & ((1U << shift) - 1);
	if (within + len > 1U << shift)
		return 0;
	unit = offset >> shift;
	stripe = unit / k;
	extent = stripe >> (ROUTE_SHARD_SHIFT - shift);
	if (extent >= extents)
		return 0;
	spot->entry = first + (route_u32)extent * k + (route_u32)(unit % k);
	spot->at = (stripe & ((1U << (ROUTE_SHARD_SHIFT - shift)) - 1)) << shift | within;
	return 1;
}

/* What the server is asked for. */
static inline __attribute__((always_inline)) route_u64 route_offset(route_entry entry, route_u64 at)
{
	return (route_u64)ROUTE_ENTRY_GEN(entry) << ROUTE_OFFSET_SHIFT |
	       (route_u64)ROUTE_ENTRY_SLOT(entry) << ROUTE_SHARD_SHIFT | at;
}

#endif
