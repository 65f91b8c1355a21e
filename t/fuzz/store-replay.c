/*
 * Fuzzer: a log of arbitrary bytes. The input is cut into pieces that become records of batches
 * whose headers are right, so that the fuzzer gets past the checksums; the rest of the ring is as
 * it was. Whatever replay makes of it, it ends, and what it opens it can close.
 */
#include "config.h"

#include "log.h"
#include "store-world.h"
#include "store/store_internal.h"

#define BATCH_INPUT 2000u
#define PAYLOAD	    4u /* blocks behind each batch */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t block[LOG_BLOCK];

/* One batch from the next bytes of the input; returns its crc. */
static uint32_t put_batch(struct world *w, uint64_t at, uint64_t seq, uint32_t prev_crc,
			  const uint8_t *data, size_t len)
{
	uint64_t prev_salt = seq == 1 ? 0 : 1;
	struct disk_batch *h = (struct disk_batch *)block;
	uint32_t records = 0;

	memset(block, 0, sizeof(block));
	memcpy(block + sizeof(*h), data, len);
	for (size_t i = 0; i + 8 <= len; records++) { /* as many as the lengths in them say */
		uint16_t bytes;

		memcpy(&bytes, data + i + 2, sizeof(bytes));
		if (le16toh(bytes) == 0)
			break;
		i += le16toh(bytes);
	}
	h->magic = htole32(LOG_MAGIC);
	h->bytes = htole32((uint32_t)(sizeof(*h) + len));
	h->blocks = htole32(1 + PAYLOAD);
	h->seq = htole64(seq);
	h->salt = htole64(1);
	h->prev_salt = htole64(prev_salt);
	h->prev_crc = htole32(prev_crc);
	h->records = htole32(records);
	memcpy(h->store, w->info.store, sizeof(h->store));
	batch_seal(h, le32toh(h->bytes));
	memcpy(w->disk.memory + w->info.log_offset + at * LOG_BLOCK, block, sizeof(block));
	memset(w->disk.memory + w->info.log_offset + (at + 1) * LOG_BLOCK, 0, PAYLOAD * LOG_BLOCK);
	return le32toh(h->crc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	struct world w;
	uint64_t at = 0, seq = 1;
	uint32_t crc = 0;

	if (fd < 0) {
		log_init("store-replay", LOG_LEVEL_ERROR);
		fd = world_template(WORLD_SIZE, 8u << 20);
	}
	world_init(&w, fd, 1, true);
	w.disk.always_now = w.disk.ordered = true;
	while (size > 0) {
		size_t n = size < BATCH_INPUT ? size : BATCH_INPUT;

		crc = put_batch(&w, at, seq++, crc, data, n);
		at += 1 + PAYLOAD;
		data += n;
		size -= n;
	}
	if (world_open(&w))
		world_close(&w);
	world_free(&w);
	return 0;
}
