/*
 * Rebuilding stale shards: what other modules ask of it. See volume.h for the engine.
 *
 * A shard is stale when it misses something: its server was away when writes went on, came back
 * without writes that had been acknowledged, or the shard was moved to another server. As soon as
 * the server is there, the engine rebuilds it by itself, the extents with the fewest good shards
 * first: the old slot, if there is one, is discarded, a new one is labelled and recorded; stripe by
 * stripe k good shards are read, the lost unit computed and prepared there; everything is flushed
 * and committed; then the mark is taken from the record, and only when that is durable the shard is
 * read.
 *
 * A new slot, because PREPAREs of the time before may still be under way in a connection that broke
 * or in a server that hung: in a slot that is gone they do no harm. Units of zeros are not written.
 *
 * While a shard is being rebuilt, writes to the stripes that are done go to it as well; those to
 * other stripes leave it out. If volmgr or the server restarts meanwhile, it begins again.
 *
 * Why no server is sent acknowledged writes again that it forgot: an extent has k + m shards, a
 * write is acknowledged when all that are not stale have it. Each server that crashes before the
 * next flush can lose its own shard only, and that shard is stale from then on, so after m such
 * crashes, one after the other or at once, k shards still have every acknowledged write: enough to
 * read them, and to rebuild the m. A server that crashes again while its shard is being rebuilt is
 * the same one of the m. Only what is flushed on all good shards lets a mark go, so a rebuilt shard
 * never has what others may forget. Since a server that was stale before counts as one of the m,
 * volmgr flushes by itself as soon as it finds one missing: then what a further crash can take from
 * the others are writes of the last moments, and only beyond m.
 */
#ifndef WEFT_REBUILD_H
#define WEFT_REBUILD_H

#include "stripe/volume.h"

/*
 * Shard "shard" of the extent lives on server "server" from now on (which has no other shard of
 * this extent) and is stale there: it gets a slot and is rebuilt as soon as that server is up. Not
 * before the other servers have confirmed that they have what was acknowledged (confirm.c). Its
 * old slot is given back if its server is there. done: the new place is durable (err 0); or
 * -ENOENT: there is no such extent, -EBUSY: the move would leave fewer than k good shards, -ESTALE:
 * the volume is not ours any more, or the metadata's error.
 *
 * The caller sees the end of the rebuild in the extent's record: the stale bit is gone.
 */
void volume_move_shard(struct volume *v, uint64_t extent, unsigned shard, uint32_t server,
		       void (*done)(void *arg, int err), void *arg);

/*
 * This shard is not to be trusted: as if it had missed writes. It is rebuilt where it is. For what
 * scrub and recovery find. False: too few good shards would be left, or there is no such extent.
 */
bool volume_distrust_shard(struct volume *v, uint64_t extent, unsigned shard);

/* For status: as of now. */
struct rebuild_stat {
	uint64_t shards;      /* stale, of all extents */
	uint64_t total_bytes; /* of those, and those done since there was nothing to rebuild */
	uint64_t done_bytes;
	uint64_t rate;		/* bytes a second, lately */
	unsigned running;	/* extents in work */
	uint64_t rebuilt;	/* shards, in this life of the volume */
	uint64_t moved_bytes;	/* read and written for it, likewise */
	uint64_t skipped_bytes; /* of shards, that were never written */
	uint64_t failed;	/* extents that could not be rebuilt and are tried again later */
	uint64_t lost; /* extents that cannot be: blocks of them cannot be decoded any more */
};
void volume_rebuild_stat(const struct volume *v, struct rebuild_stat *st);

/*
 * Servers that would let writes go on that wait for them. Returns how many were filled, at most
 * max.
 */
unsigned volume_waits_for(const struct volume *v, uint32_t *servers, unsigned max);

/* What the volume has on a server: stale shards there, and how many were rebuilt there since the
 * last call. */
struct rebuild_server {
	uint32_t server;
	uint64_t stale, rebuilt;
	bool older; /* it came back with an older store, and waits for others to be good */
};
/* Returns how many were filled, at most max. */
unsigned volume_rebuild_servers(struct volume *v, struct rebuild_server *list, unsigned max);

#endif
