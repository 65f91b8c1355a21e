/*
 * Carrying a good shard from one server to another, while clients read and write: what other
 * modules ask of it. See volume.h for the engine, rebuild.h for shards that are not good.
 *
 * The old slot stays the shard until the end: it is read and written as if nothing happened, so
 * nothing is less safe meanwhile, and a crash leaves what there was. Beside it a new slot is
 * filled, a stripe's turn at a time; a tx in a stripe makes its copy worthless, and it is copied
 * again. When few are left, the extent's writes wait for a moment: the last stripes are copied,
 * everything is settled (a new slot lists none of the txs that the old one took part in), the new
 * place becomes durable. Then the old slot is given back.
 *
 * Should the metadata be lost in between, recovery must not take the half-filled slot: its label
 * has no MARK, the old one has, because an extent that has none is given one first.
 */
#ifndef WEFT_CARRY_H
#define WEFT_CARRY_H

#include "stripe/volume.h"

/*
 * done: the shard is on that server, durably (err 0); or nothing has changed: -ENOENT: there is no
 * such extent, -EBUSY: the shard is not good, the extent is being rebuilt, or the server has a
 * shard of it, -EAGAIN: a server is not there, or went, -EIO: it could not be copied, -ENOSPC: the
 * server is full, -ESTALE: the volume is not ours any more.
 */
void volume_carry_shard(struct volume *v, uint64_t extent, unsigned shard, uint32_t server,
			void (*done)(void *arg, int err), void *arg);

#endif
