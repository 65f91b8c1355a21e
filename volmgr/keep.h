/*
 * The keeper of an attached volume: it stands between the device and volmgr, so that the device
 * outlives its volmgr. To the device it is an NBD server that never goes away; of volmgr it is a
 * client that comes back. While volmgr is away, requests wait; when it is there again, they are
 * sent anew, and the device has only seen a slow answer.
 *
 * What was acknowledged but not flushed is kept here as well, up to KEEP_BYTES_MAX, and written
 * again before anything else: volmgr and servers may have lost their memory together, and nobody
 * but the keeper would know at the next flush what that flush has to cover. Whoever keeps a device
 * through that without keeping the writes turns a loss that NBD permits into one that a file system
 * never learns of. A flush that fails is tried again in the same way. Volumes that several machines
 * write are the exception (shared): what is written again here may be newer there.
 *
 * The engine does no I/O of its own (io.h); keep-run.c is the process around it. One thread.
 */
#ifndef WEFT_KEEP_H
#define WEFT_KEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "io.h"

#define KEEP_BYTES_MAX	 (64u << 20) /* of acknowledged writes; flushed when half of it is there */
#define KEEP_WRITES_MAX	 65536u	     /* and their number */
#define KEEP_AGAIN_MAX	 32u	     /* of them under way at once when they are written again */
#define KEEP_CONNS_MAX	 64u	     /* of the device; the kernel's nbd may have several */
#define KEEP_FLUSH_TRIES 3u	     /* after so many failures in a row an error is an error */

struct keep;

struct keep_ops {
	/* volmgr has opened the volume, for the first time (again: false) or after a break. */
	void (*opened)(void *ctx, bool again);
	/* The connection to volmgr is over, or was refused. why: a sentence for people, or NULL. */
	void (*broken)(void *ctx, int err, const char *why);
	/* The last connection of the device is over. */
	void (*left)(void *ctx);
};

/* name: of the export, at volmgr and here. pool: of payloads, at least four times KEEP_BYTES_MAX.
 * shared: others write it, too: acknowledged writes are not kept. NULL: out of memory. */
struct keep *keep_create(const struct keep_ops *ops, void *ctx, struct env *env,
			 struct buf_pool *pool, const char *name, bool shared);
/* No connection may be left on either side. Requests that wait are answered with EIO. */
void keep_destroy(struct keep *k);
/* A connection to volmgr; not while there is one already. 0 or -ENOMEM: the stream is still the
 * caller's. */
int keep_connected(struct keep *k, struct stream *stream);
/* A connection of the device. 0, -ENOMEM, or -EAGAIN: too many, or volmgr has not opened the volume
 * yet. */
int keep_accepted(struct keep *k, struct stream *stream);
/* Tell volmgr goodbye; broken() follows. False: there is no connection. */
bool keep_goodbye(struct keep *k);
/* For messages and tests: requests that wait for an answer, acknowledged writes that are kept. */
unsigned keep_waiting(const struct keep *k);
unsigned keep_kept(const struct keep *k);
uint64_t keep_kept_bytes(const struct keep *k);

#endif
