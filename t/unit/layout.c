/* The arithmetic of extents, stripes and shards, against counting by hand. */
#include "config.h"

#include "stripe/layout.h"

#include <errno.h>

#include "tap.h"

/* Every byte (at block steps and around unit borders) has one place, and the place leads back. */
static void check(unsigned k, uint32_t unit)
{
	struct layout l;
	unsigned long wrong = 0;
	char name[80];

	if (layout_init(&l, k, 0, unit) != 0) {
		ok(false, "geometry");
		return;
	}
	for (uint64_t at = 0; at < l.extent; at += 1021) {
		uint64_t s = at / ((uint64_t)k * unit);
		unsigned j = (unsigned)(at / unit % k);
		uint32_t in_shard = (uint32_t)(s * unit + at % unit);

		wrong += layout_edge(&l, at, j) != in_shard;
		wrong += layout_extent_byte(&l, in_shard, j) != at;
		wrong += (layout_shard_offset(&l, at / l.stripe) & ~(unit - 1)) !=
			 (in_shard & ~(unit - 1));
		for (unsigned i = 0; i < k; i++) { /* the first byte of shard i at or behind at */
			uint32_t edge = layout_edge(&l, at, i);

			wrong += edge < WEFT_SHARD_BYTES && layout_extent_byte(&l, edge, i) < at;
			wrong += edge > 0 && layout_extent_byte(&l, edge - 1, i) >= at;
		}
	}
	for (unsigned i = 0; i < k; i++) {
		wrong += layout_edge(&l, 0, i) != 0;
		wrong += layout_edge(&l, l.extent, i) != WEFT_SHARD_BYTES;
	}
	wrong += layout_extent_of_stripe(&l, l.extent / l.stripe) != 1;
	wrong += layout_extent_of_stripe(&l, l.extent / l.stripe - 1) != 0;
	snprintf(name, sizeof(name), "k %u, unit %u: bytes and places agree", k, unit);
	is_int(wrong, 0, name);
}

int main(void)
{
	struct layout l;

	for (unsigned k = 1; k <= WEFT_K_MAX; k += k < 5 ? 1 : 11)
		for (uint32_t unit = 4096; unit <= WEFT_UNIT_MAX; unit *= 4)
			check(k, unit);
	is_int(layout_init(&l, 0, 0, 4096), -EINVAL, "k 0 is refused");
	is_int(layout_init(&l, 17, 0, 4096), -EINVAL, "k 17 is refused");
	is_int(layout_init(&l, 4, 5, 4096), -EINVAL, "m 5 is refused");
	is_int(layout_init(&l, 4, 2, 2048), -EINVAL, "a unit below a block is refused");
	is_int(layout_init(&l, 4, 2, 12288), -EINVAL, "a unit that is no power of two is refused");
	is_int(layout_init(&l, 4, 2, 512 << 10), -EINVAL, "a unit above the maximum is refused");
	is_int(layout_init(&l, 4, 2, 64 << 10), 0, "4+2 with 64 KiB is taken");
	return done_testing();
}
