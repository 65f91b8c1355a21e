/*
 * Hashes of 64 bits whose distance means something (simhash of a text, perceptual hash of a
 * picture): which files are near to one? Each hash is in BANDS lists, one for the value of each
 * band of its bits: two hashes that differ in fewer bits than there are bands share at least one.
 * Pure.
 */
#ifndef WEFT_TAGGER_NEAR_H
#define WEFT_TAGGER_NEAR_H

#include <stddef.h>
#include <stdint.h>

struct near;

/* bands: 4 (of 16 bits) or 8 (of 8 bits). NULL: out of memory. */
struct near *near_new(unsigned bands);
void near_free(struct near *n);
/* 0 or -ENOMEM. */
int near_add(struct near *n, uint64_t hash, uint32_t id);
void near_remove(struct near *n, uint64_t hash, uint32_t id);
/* fn for each at no more than distance bits, each once; looks at budget entries at most. */
void near_find(const struct near *n, uint64_t hash, unsigned distance, unsigned budget,
	       void (*fn)(void *arg, uint32_t id, unsigned distance), void *arg);

#endif
