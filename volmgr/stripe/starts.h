/* What earlier starts of a volume say about txs that servers list now. See starts.c. */
#ifndef WEFT_STRIPE_STARTS_H
#define WEFT_STRIPE_STARTS_H

#include "stripe/engine.h"

/*
 * What is to become of a tx: it is to be judged, it stays, nobody can tell, or a start without this
 * server has judged: if it stays, the shard is marked as stale.
 */
enum fate { FATE_OPEN, FATE_KEPT, FATE_UNKNOWN, FATE_MISSED };
enum fate starts_fate(const struct server *s, uint64_t tx);

/* The watermark that the last start found. */
uint64_t starts_committed(const struct volume *v);

/*
 * This start has judged all txs below next on the servers that are there, and what it undid is
 * gone, durably: to the metadata, then done(arg, 0 or -errno). Before any COMMIT.
 */
void starts_record(struct volume *v, uint64_t next, void (*done)(void *arg, int err), void *arg);

#endif
