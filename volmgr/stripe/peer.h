/*
 * A storage server as the stripe engine sees it. The daemon binds it to a connection
 * (volmgr/peer.c), tests to memory. One struct for each server and data thread; it belongs to that
 * thread.
 */
#ifndef WEFT_PEER_H
#define WEFT_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "nbd/client.h"

#define PEER_MAX 256 /* servers in a cluster */

struct peer;

struct peer_ops {
	/* As nbd_client_submit(); only while up. */
	void (*submit)(struct peer *p, struct nbd_call *call);
};

struct peer {
	const struct peer_ops *ops;
	uint32_t server;	       /* number in the cluster, from 1, never used again */
	bool up;		       /* connected, authenticated, the store is the right one */
	uint8_t boot[WEFT_UUID_BYTES]; /* of the run of nbdsrv that we are connected to */
	uint32_t older; /* how often its store was found to be older than it had been */
};

#endif
