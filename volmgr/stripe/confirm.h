/*
 * Asking the servers that are left whether they still have what was acknowledged; see confirm.c.
 */
#ifndef WEFT_STRIPE_CONFIRM_H
#define WEFT_STRIPE_CONFIRM_H

#include "nbd/client.h"

#define CONFIRM_RETRY_MS 100 /* when a server could not */

struct extent;
struct server;
struct volume;

/* Of one server. Moments are counted by volume.moments. */
struct confirm {
	uint64_t gone; /* when the server went for the last time; 0: it was never there */
	bool wanted;
	bool busy;	/* call is under way */
	uint64_t since; /* when it began */
	uint64_t done;	/* all that it acknowledged before is durable; 0: unknown */
	struct nbd_call call;
};

/*
 * Of the other good shards of x, all that was prepared before this was first asked is durable, as
 * far as their servers are up. If not, they are asked, and what is stalled looks again when they
 * have answered.
 */
bool others_confirmed(struct volume *v, struct extent *x, uint32_t shards);
void confirm_run(struct volume *v);

#endif
