/* The geometry of a volume, checked once. See layout.h. */
#include "config.h"

#include "stripe/layout.h"

#include <errno.h>

static unsigned log2_of(uint32_t v)
{
	return 31u - (unsigned)__builtin_clz(v);
}

int layout_init(struct layout *l, unsigned k, unsigned m, uint32_t unit)
{
	if (k < 1 || k > WEFT_K_MAX || m > WEFT_M_MAX)
		return -EINVAL;
	if (unit < WEFT_BLOCK_BYTES || unit > WEFT_UNIT_MAX || (unit & (unit - 1)) != 0)
		return -EINVAL;
	l->k = k;
	l->m = m;
	l->unit = unit;
	l->unit_shift = log2_of(unit);
	l->spe_shift = log2_of(WEFT_SHARD_BYTES) - l->unit_shift;
	l->stripe = k * unit;
	l->extent = (uint64_t)k * WEFT_SHARD_BYTES;
	l->blocks = unit / WEFT_BLOCK_BYTES;
	return 0;
}
