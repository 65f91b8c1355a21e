/* See hash.h. */
#include "config.h"

#include <string.h>

#include <xxhash.h>

#include "hash.h"
#include "banned.h"

_Static_assert(sizeof(XXH128_canonical_t) == HASH_BYTES, "the canonical form is what we keep");

static void hash_keep(XXH128_hash_t h, uint8_t out[HASH_BYTES])
{
	XXH128_canonical_t canonical;

	XXH128_canonicalFromHash(&canonical, h);
	memcpy(out, canonical.digest, HASH_BYTES);
}

void hash_bytes(const void *data, size_t len, uint8_t out[HASH_BYTES])
{
	hash_keep(XXH3_128bits(data, len), out);
}

uint64_t hash_u64(const void *data, size_t len)
{
	return XXH3_64bits(data, len);
}

struct hash_stream *hash_stream_new(void)
{
	XXH3_state_t *state = XXH3_createState();

	if (state != NULL)
		XXH3_128bits_reset(state);
	return (struct hash_stream *)state;
}

void hash_stream_add(struct hash_stream *h, const void *data, size_t len)
{
	XXH3_128bits_update((XXH3_state_t *)h, data, len);
}

void hash_stream_end(struct hash_stream *h, uint8_t out[HASH_BYTES])
{
	hash_keep(XXH3_128bits_digest((XXH3_state_t *)h), out);
	XXH3_freeState((XXH3_state_t *)h);
}
