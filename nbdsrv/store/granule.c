/*
 * Which granules of the data area are taken, how many are kept for what is in the log, and whether
 * a thin disk can really hold more. Nothing of it is stored: the map says it at open.
 */
#include "config.h"

#include <stdlib.h>

#include "store/store_internal.h"

#include "banned.h"

bool granule_init(struct store *s)
{
	uint64_t words;

	s->granules = s->granules_free = s->info.data_bytes / GRANULE_BYTES;
	words = (s->granules + 63) / 64;
	s->granule_words = calloc(words, sizeof(*s->granule_words));
	if (s->granule_words == NULL)
		return false;
	for (uint64_t i = s->granules; i % 64 != 0; i++) /* behind the end: never free */
		s->granule_words[i / 64].taken |= 1ULL << (i % 64);
	return true;
}

uint64_t granule_offset(const struct store *s, uint32_t phys)
{
	assert(phys > 0 && phys <= s->granules);
	return s->info.data_offset + (uint64_t)(phys - 1) * GRANULE_BYTES;
}

bool granule_taken(const struct store *s, uint32_t phys)
{
	uint64_t i = (uint64_t)phys - 1;

	assert(phys > 0 && phys <= s->granules);
	return (s->granule_words[i / 64].taken >> (i % 64) & 1) != 0;
}

void granule_take(struct store *s, uint32_t phys)
{
	uint64_t i = (uint64_t)phys - 1, bit = 1ULL << (i % 64);
	struct granule_word *w = &s->granule_words[i / 64];

	assert(!granule_taken(s, phys));
	w->taken |= bit;
	w->young &= ~bit;
	w->old &= ~bit;
	w->ripe &= ~bit;
	s->granules_free--;
}

/*
 * What a thin disk can take, less what it is going to get: bytes that are in memory and the log.
 * Other stores may share it, so the less there is the sooner it is asked again.
 */
static void ask_real_free(struct store *s)
{
	uint64_t bytes = s->real_free(s->real_free_ctx), due, left;

	due = REAL_FREE_MARGIN + s->granules_reserved * GRANULE_BYTES + s->undecided_bytes +
	      s->unhomed_bytes;
	s->real_free_bytes = bytes > due ? bytes - due : 0;
	left = s->real_free_bytes / GRANULE_BYTES / REAL_FREE_SHARE;
	s->real_free_left = left < REAL_FREE_EVERY ? (uint32_t)left : REAL_FREE_EVERY;
}

bool granule_really_free(struct store *s)
{
	if (s->real_free == NULL)
		return true;
	if (s->real_free_left == 0 || s->real_free_bytes < GRANULE_BYTES)
		ask_real_free(s);
	else
		s->real_free_left--;
	if (s->real_free_bytes < GRANULE_BYTES)
		return false;
	s->real_free_bytes -= GRANULE_BYTES;
	return true;
}

uint32_t granule_alloc(struct store *s, bool reserved)
{
	uint64_t words = (s->granules + 63) / 64;

	if (reserved) {
		assert(s->granules_reserved > 0);
		s->granules_reserved--;
	} else if (s->granules_free <= s->granules_reserved || !granule_really_free(s)) {
		return 0;
	}
	assert(s->granules_free > 0);
	for (uint64_t n = 0; n <= words; n++) {
		uint64_t w = (s->alloc_hint + n) % words, taken = s->granule_words[w].taken;
		uint32_t phys;

		if (taken == UINT64_MAX)
			continue;
		phys = (uint32_t)(w * 64 + (uint64_t)__builtin_ctzll(~taken) + 1);
		s->alloc_hint = w;
		granule_take(s, phys);
		return phys;
	}
	assert(!"a free granule is counted but not there");
	return 0;
}

void granule_free(struct store *s, uint32_t phys)
{
	uint64_t i = (uint64_t)phys - 1, bit = 1ULL << (i % 64);
	struct granule_word *w = &s->granule_words[i / 64];

	assert(granule_taken(s, phys));
	w->taken &= ~bit;
	w->young |= bit;
	s->granules_free++;
	/* lowest first: what was used a moment ago is still in caches, and files stay short */
	if (i / 64 < s->alloc_hint)
		s->alloc_hint = i / 64;
	space_freed(s, i / 64);
}

bool granule_reserve(struct store *s)
{
	if (s->granules_free <= s->granules_reserved ||
	    (s->replay == NULL && !granule_really_free(s)))
		return false;
	s->granules_reserved++;
	return true;
}

void granule_unreserve(struct store *s)
{
	assert(s->granules_reserved > 0);
	s->granules_reserved--;
}
