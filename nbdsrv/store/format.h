/*
 * What a store looks like on its disk, and why it is so. All integers are little-endian, all
 * structs packed. weft-format(5) tells the same for people.
 *
 *	0		superblock copy 0 (4 KiB, padded to 64 KiB)
 *	64 KiB		superblock copy 1
 *	128 KiB		meta area: volume table, slot labels, map entries (mapped shared)
 *	...		log area (ring of 4 KiB blocks)
 *	...		data area (granules of 64 KiB)
 *	last 64 KiB	superblock copy 2
 *
 * The meta area may be written back by the kernel at any time and in any order of pages. It is
 * right all the same, because
 *  - it changes only after the log record that changes it is durable;
 *  - the log's tail passes a record only after a sync that covers what the record changed;
 *  - replay never trusts an entry to be older than the record it replays. It collects all records
 * in memory first and carries home, for each block, only the newest committed bytes. So a record
 * from before a granule changed hands can never write into it after, and replaying twice is
 * harmless;
 *  - phys, present and check of an entry share eight aligned bytes, and a crc is four aligned ones:
 * a page torn between sectors still has each of them old or new, and blocks that no record in the
 *    log touches have the same crc in both.
 *
 * A whole granule is written to a free granule before the log record that points at it, with a sync
 * in between: a record in the log always has its bytes. The alternative, to check such bytes at
 * replay, was rejected: a later block written home into the same granule makes "not synced" and
 * "changed since" look alike.
 *
 * The log's tail is in the superblock. A checkpoint writes copy 0, syncs, and only then copies 1
 * and 2, so that at no moment all copies are being written. At open the newest copy is
 * rewritten last: the power may have gone before the others got what it says. Prepared txs that
 * would hold the tail are written to the log once more by the checkpoint; replay takes the first
 * copy and skips the other.
 *
 * Batches are chained: each header repeats salt and checksum of its predecessor, and every run of
 * the store has a new random salt, so what an earlier run or lap left in the ring never passes.
 *
 * A batch also tells how far the log was durable when it was written, in the zeros behind its
 * records. So a batch that was durable and is gone, by rot or since the disk lost it, is known from
 * one that a power cut tore, if anything was written after it (ahead.c). Programs that do not know
 * of it see zeros there.
 *
 * The log is a sixteenth of the store, 64 MiB to 256 MiB, at most a quarter. Replay keeps the
 * payload of what it reads in memory, at most half a log; more log would make it slow to open and
 * help little.
 */
#ifndef WEFT_STORE_FORMAT_H
#define WEFT_STORE_FORMAT_H

#include <assert.h>
#include <stdint.h>

#include "nbd/weft.h"

#define STORE_MAGIC	      "weftstor"
#define STORE_VERSION	      1u

/* Feature bits that this code knows. Unknown incompat or ro_compat bits: we do not open. */
#define STORE_INCOMPAT_KNOWN  0u
#define STORE_RO_COMPAT_KNOWN 0u

#define GRANULE_BYTES	      65536u
#define GRANULE_BLOCKS	      16u
#define GRANULE_FULL	      0xffffu /* all blocks of a granule */
#define SLOT_GRANULES	      (WEFT_SHARD_BYTES / GRANULE_BYTES)
#define SLOT_BLOCKS	      (WEFT_SHARD_BYTES / WEFT_BLOCK_BYTES)
#define SLOTS_FACTOR	      4u /* slots for so many times the data area: shards may be thin */

#define STORE_VOLUMES_MAX     16384u
#define STORE_SIZE_MAX	      (64ULL << 40)

#define SUPER_BYTES	      4096u
#define SUPER_STRIDE	      65536u
#define SUPER_COPIES	      3u
#define META_OFFSET	      (2 * SUPER_STRIDE)

#define LOG_MIN_BYTES	      (8u << 20)
#define LOG_DEFAULT_MIN	      (64u << 20)
#define LOG_DEFAULT_MAX	      (256u << 20)
#define LOG_DEFAULT_SHARE     16u
#define LOG_MAX_SHARE	      4u
#define LOG_BLOCK	      4096u

struct disk_super {
	char magic[8];
	uint32_t version;
	uint32_t crc;	   /* CRC32C of these 4096 bytes with crc 0 */
	uint64_t sequence; /* the highest valid one wins */
	uint64_t incompat, ro_compat, compat;
	uint8_t cluster[WEFT_UUID_BYTES];
	uint8_t store[WEFT_UUID_BYTES];
	uint64_t size_bytes;
	uint64_t meta_offset, meta_bytes;
	uint64_t label_offset, map_offset; /* in the meta area */
	uint64_t log_offset, log_bytes;
	uint64_t data_offset, data_bytes;
	uint64_t slots;
	uint32_t clean;
	uint32_t next_gen; /* of slots: above every one given before */
	/* the log */
	uint64_t tail_block; /* counts from the making of the store; modulo the ring's blocks */
	uint64_t tail_seq;   /* of the batch that starts there */
	uint64_t tail_salt;  /* of the batch before */
	uint32_t tail_crc;   /* of the batch before */
	uint32_t reserved;
	uint64_t head_block; /* clean: where the log ends */
	uint8_t unused[3888];
} __attribute__((packed));
static_assert(sizeof(struct disk_super) == SUPER_BYTES, "disk");

/* A volume that has been fenced here. number 0: the place is free. */
struct disk_volume {
	uint64_t number;
	uint64_t committed;
	uint32_t epoch;
	uint32_t crc; /* of the other 28 bytes, with crc 0; free: 0 */
	uint64_t reserved;
} __attribute__((packed));
static_assert(sizeof(struct disk_volume) == 32, "disk");

struct disk_label {
	uint64_t volume;
	uint64_t extent;
	uint32_t generation;
	uint32_t unit_bytes;
	uint8_t shard, k, m, code;
	uint32_t slot_gen; /* 0: the slot is free */
	char name[64];
	uint32_t crc;	      /* of all 128 bytes with crc 0; free: 0 */
	uint32_t mark, stale; /* of the last MARK; 0: none came, as in older stores */
	uint8_t reserved[20];
} __attribute__((packed));
static_assert(sizeof(struct disk_label) == 128, "disk");

/* 64 KiB of a slot. */
struct disk_entry {
	uint32_t phys;	  /* number of the granule + 1; 0: not mapped, nothing else counts */
	uint16_t present; /* bit i: block i is there; others read as zeros */
	uint16_t check;	  /* folded CRC32C of the entry with check 0 */
	uint32_t crc[GRANULE_BLOCKS];
} __attribute__((packed));
static_assert(sizeof(struct disk_entry) == 72, "disk");

/* ---- the log ------------------------------------------------------------------------------- */

#define LOG_MAGIC	     0x474f4c57u /* "WLOG" */
#define LOG_NOTED	     0x44544e57u /* "WNTD" */
#define LOG_HEADER_MAX	     (64u << 10) /* bytes of header and records in one batch */
#define LOG_BATCH_PAYLOAD    (1u << 20)	 /* a batch is closed when it has so much */
#define LOG_BATCH_BLOCKS_MAX ((LOG_HEADER_MAX + LOG_BATCH_PAYLOAD + WEFT_PREPARE_MAX) / LOG_BLOCK)

/* A batch: this, records back to back, zeros up to the next 4 KiB, then payload blocks in the order
 * of the records. A batch never wraps: one without records fills the end of the ring. */
struct disk_batch {
	uint32_t magic;
	uint32_t crc;	 /* CRC32C of this and the records, with crc 0 */
	uint32_t bytes;	 /* of this and the records */
	uint32_t blocks; /* of the batch, header included */
	uint64_t seq;
	uint64_t salt;
	uint64_t prev_salt;
	uint32_t prev_crc;
	uint32_t records;
	uint8_t store[WEFT_UUID_BYTES];
} __attribute__((packed));
static_assert(sizeof(struct disk_batch) == 64, "disk");

/* Never renumber. */
enum rec_type {
	REC_PREPARE = 1,
	REC_COMMIT = 2,
	REC_ABORT = 3,
	REC_FENCE = 4,
	REC_LABEL = 5,
	REC_DISCARD = 6,
};

/* Behind the records of a batch, in its last header block, when there is room. */
struct disk_noted {
	uint32_t magic;
	uint32_t crc; /* CRC32C of the batch's crc, as it is on the disk, and seq */
	uint64_t seq; /* batches below this one were durable when this one was written */
} __attribute__((packed));
static_assert(sizeof(struct disk_noted) == 16, "disk");

struct disk_rec {
	uint8_t type;
	uint8_t parts;	/* PREPARE */
	uint16_t bytes; /* this struct and what belongs to it */
	uint32_t payload_blocks;
} __attribute__((packed));
static_assert(sizeof(struct disk_rec) == 8, "disk");

struct disk_rec_prepare {
	struct disk_rec head;
	uint64_t volume, tx, offset, blocks;
	uint32_t slot_gen;
	uint32_t participants; /* as in the request: LIST returns it */
			       /* head.parts times struct disk_part */
} __attribute__((packed));
static_assert(sizeof(struct disk_rec_prepare) == 48, "disk");

enum part_kind {
	PART_LOG = 1,	/* payload blocks in the log */
	PART_FRESH = 2, /* a whole granule, written before this record */
	PART_ZERO = 3,	/* the blocks are no longer there */
};

#define PARTS_MAX 5u /* granules that 64 blocks can touch */

struct disk_part {
	uint8_t granule; /* of the slot */
	uint8_t kind;
	uint16_t mask;
	uint32_t phys; /* FRESH: granule + 1 */
		       /* LOG, FRESH: uint32_t crc for each bit in mask */
} __attribute__((packed));
static_assert(sizeof(struct disk_part) == 8, "disk");

#define REC_PREPARE_BYTES_MAX                                                                      \
	(sizeof(struct disk_rec_prepare) + PARTS_MAX * sizeof(struct disk_part) + 64 * 4)

/* COMMIT: number is the watermark; ABORT: the tx; FENCE: the epoch. */
struct disk_rec_volume {
	struct disk_rec head;
	uint64_t volume;
	uint64_t number;
	uint32_t index; /* of the volume's place in the table */
	uint32_t reserved;
} __attribute__((packed));
static_assert(sizeof(struct disk_rec_volume) == 32, "disk");

/* LABEL, also once more with another mark; DISCARD (label zero but for slot_gen) */
struct disk_rec_slot {
	struct disk_rec head;
	uint32_t slot;
	uint32_t slot_gen;
	struct disk_label label;
} __attribute__((packed));
static_assert(sizeof(struct disk_rec_slot) == 144, "disk");

#endif
