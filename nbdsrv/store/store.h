/*
 * The shard store: slots of WEFT_SHARD_BYTES on one disk, changed only through a write-ahead log,
 * every 4 KiB checked by a CRC32C that lives in the map and not beside the data. weft-format(5) has
 * the layout; nbdsrv/store/format.h the structs.
 *
 * An engine: it does no I/O of its own (lib/io.h), so that tests and a simulator can cut its power
 * at any operation. The daemon maps the metadata area shared and gives us the address; the kernel
 * may write it back whenever it likes, since entries change only after the log has them.
 *
 * Threads: one thread owns a store. Errors: positive errno, ready for nbd_req_done().
 */
#ifndef WEFT_STORE_H
#define WEFT_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "io.h"
#include "nbd/session.h"
#include "nbd/weft.h"

struct store;

/* ---- making and examining a store: blocking, with a plain file descriptor ---- */

struct store_format_options {
	uint64_t size_bytes; /* of file or device, all areas; at least STORE_MIN_BYTES */
	uint64_t log_bytes;  /* 0: a fitting default */
	uint8_t cluster[WEFT_UUID_BYTES];
	uint8_t store[WEFT_UUID_BYTES];
};

#define STORE_MIN_BYTES (64u << 20)

/* What a superblock says; filled by store_probe and used to map and open. */
struct store_info {
	uint32_t version;
	uint64_t size_bytes;
	uint64_t meta_offset, meta_bytes; /* the area to be mapped shared */
	uint64_t log_offset, log_bytes;
	uint64_t data_offset, data_bytes;
	uint64_t slots;
	uint8_t cluster[WEFT_UUID_BYTES];
	uint8_t store[WEFT_UUID_BYTES];
	bool clean; /* shut down in order */
};

/*
 * Write a new, empty store. Returns 0 or -errno; *why then has a sentence (static or malloc'd once,
 * for the life of the process) that says what is wrong and what to do.
 */
int store_format(int fd, const struct store_format_options *opt, const char **why);

/*
 * Read and check the superblock copies: magic, checksum, version, features, sizes against the real
 * one. -ENOENT: no store here; -EUCLEAN: damaged; -ENOTSUP: newer format; -ENOSPC: the file or
 * device is smaller than the store.
 */
int store_probe(int fd, struct store_info *info, const char **why);

/* ---- running ------------------------------------------------------------- */

struct store_config {
	struct store_info info;
	struct disk *disk; /* the whole file or device */
	void *meta;	   /* info.meta_bytes, mapped shared; disk->sync covers it */
	struct env *env;
	struct buf_pool *pool;
	uint64_t route_name; /* told by STAT */
	/* Bytes that the file system or device could really still take (thin disks), asked now and
	 * then; NULL: as many as the map says. */
	uint64_t (*real_free)(void *ctx);
	/* Adds to the answer to STAT what the store does not know; NULL: nothing. */
	void (*stat)(void *ctx, struct weft_stat *st);
	/*
	 * The disk refused a write or a sync, and not for want of space: nobody knows what of it
	 * will still be there. Called before anything is answered. It ends the process, so that
	 * whoever relies on this server goes on without it, and the next open finds out what the
	 * disk has. NULL: every change gets EIO from now on, reads go on.
	 */
	void (*failed)(void *ctx);
	void *ctx;
};

/*
 * Open: replays the log, then calls ready(ctx, err, why) once, from the event loop. No request
 * before that. err: 0 or -errno with a sentence in why. NULL: out of memory.
 */
struct store *store_open(const struct store_config *config,
			 void (*ready)(void *ctx, int err, const char *why), void *ctx);

/*
 * A request of the NBD session on the private export, already checked by it: READ, FLUSH or a
 * weft_cmd. The store answers with nbd_req_done*() when it is done. It checks what the session
 * cannot know: slots, generations, alignment, epochs.
 *
 * A PREPARE may have to wait for room in the log. Payload of prepared txs fills a quarter of it at
 * most (whole granules of 64 KiB do not count): beyond that PREPAREs wait for a COMMIT or ABORT, so
 * an owner must not hold these back until its PREPAREs are answered.
 */
void store_request(struct store *s, struct nbd_req *req);

/* Is this slot in use, with this generation (its lower 16 bits)? */
bool store_slot_is(const struct store *s, uint64_t slot, uint16_t generation);

/* Everything durable and in its place, marked clean; then done(ctx, err). Later requests get
 * ESHUTDOWN. The store stays allocated until store_free(). */
void store_close(struct store *s, void (*done)(void *ctx, int err), void *ctx);
void store_free(struct store *s);

/* Counters, in host byte order. */
void store_stat(struct store *s, struct weft_stat *st);

#endif
