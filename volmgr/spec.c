/* What a volume may be: checks that need nothing but the numbers. */
#include "config.h"

#include <string.h>

#include "size.h"
#include "volmgr.h"
#include "banned.h"

static int spec_name(const char *name, struct refusal *r)
{
	if (name_valid(name))
		return 0;
	refuse(r, 400, "bad_name", "This is no name that a volume can have.");
	refuse_hint(
		r,
		"Use 1 to %u letters, digits, '.', '_' and '-', starting with a letter or digit.",
		NAME_MAX_BYTES);
	return -1;
}

static int spec_size(uint64_t size, struct refusal *r)
{
	char text[SIZE_TEXT_MAX];

	if (size > 0 && size <= VOLUME_SIZE_MAX && size % WEFT_BLOCK_BYTES == 0)
		return 0;
	refuse(r, 400, "bad_size", "A volume cannot have %llu bytes.", (unsigned long long)size);
	refuse_hint(r, "Sizes are multiples of %u bytes, from %u bytes to %s.", WEFT_BLOCK_BYTES,
		    WEFT_BLOCK_BYTES, size_format(VOLUME_SIZE_MAX, text));
	return -1;
}

int volume_settings_check(const struct volume_settings *s, unsigned k, unsigned m,
			  struct refusal *r)
{
	if (s->min == 0 || (s->min >= k && s->min <= k + m))
		return 0;
	refuse(r, 400, "bad_min", "A write cannot need %u good shards of %u+%u.", s->min, k, m);
	refuse_hint(
		r,
		"From %u (a write may then live on exactly as many shards as it takes to read it) "
		"to %u.",
		k, k + m);
	return -1;
}

int volume_spec_check(const struct volume_spec *spec, struct refusal *r)
{
	if (spec_name(spec->name, r) != 0 || spec_size(spec->size, r) != 0)
		return -1;
	if (spec->k < 1 || spec->k > WEFT_K_MAX || spec->m > WEFT_M_MAX) {
		refuse(r, 400, "bad_profile", "There is no profile %u+%u.", spec->k, spec->m);
		refuse_hint(r, "Data shards: 1 to %u; parity shards: 0 to %u. Try 4+2.", WEFT_K_MAX,
			    WEFT_M_MAX);
		return -1;
	}
	if (spec->unit < WEFT_BLOCK_BYTES || spec->unit > WEFT_UNIT_MAX ||
	    (spec->unit & (spec->unit - 1)) != 0) {
		refuse(r, 400, "bad_unit", "A unit cannot have %u bytes.", spec->unit);
		refuse_hint(r, "Units are powers of two from 4K to 256K. Leave it out for 64K.");
		return -1;
	}
	return volume_settings_check(&spec->settings, spec->k, spec->m, r);
}
