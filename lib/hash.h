/*
 * A fast hash of 128 bits (XXH3) for telling contents and identities apart. It defends against
 * nobody: whoever wants two files with one hash can have them. hash.c alone includes xxhash.h.
 */
#ifndef WEFT_HASH_H
#define WEFT_HASH_H

#include <stddef.h>
#include <stdint.h>

#define HASH_BYTES 16

struct hash_stream;

void hash_bytes(const void *data, size_t len, uint8_t out[HASH_BYTES]);
uint64_t hash_u64(const void *data, size_t len);
/* In pieces. NULL: out of memory. hash_stream_end() may be called once and frees it. */
struct hash_stream *hash_stream_new(void);
void hash_stream_add(struct hash_stream *h, const void *data, size_t len);
void hash_stream_end(struct hash_stream *h, uint8_t out[HASH_BYTES]);

#endif
