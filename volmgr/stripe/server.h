/*
 * A server as one volume sees it: whether it is there, what it has told, and the calls that are
 * made to it for the volume as a whole. Of the stripe engine's inside, as engine.h.
 */
#ifndef WEFT_STRIPE_SERVER_H
#define WEFT_STRIPE_SERVER_H

#include "nbd/client.h"
#include "nbd/proto.h"
#include "stripe/confirm.h"
#include "stripe/peer.h"
#include "stripe/volume.h"

struct discard;
struct extent;
struct read_call;

enum server_state { SERVER_DOWN, SERVER_FENCING, SERVER_LISTING, SERVER_UP };

#define HEDGE_BUCKETS 96

/* How long its reads usually take. */
struct usual {
	uint32_t count[HEDGE_BUCKETS];
	unsigned samples;
	uint64_t limit_ns; /* what takes longer is hedged; 0: too few samples yet */
};

struct server {
	struct volume *v;
	struct read_call *reads, *reads_last;
	struct usual usual;
	struct discard *owed; /* slots to be given back when it is there */
	uint32_t number;
	struct peer *peer;
	enum server_state state;
	bool fenced;	  /* in this epoch, by the run in boot */
	bool resolving;	  /* it is, or was, there when txs of earlier epochs were resolved */
	bool judged;	  /* its txs of earlier epochs were resolved */
	bool touched;	  /* prepared something since its last flush began */
	bool flush_owed;  /* the running flush waits until it is up */
	bool left_out;	  /* others went on without it: to be flushed before it is sent COMMITs */
	bool counted;	  /* it was up when spare.c was last asked */
	uint64_t down_ns; /* when it went; of one that never was there: 0 */
	struct confirm confirm;
	bool sync_busy, flush_busy, commit_busy; /* the call is under way */
	uint32_t old_epoch;			 /* as our first FENCE told */
	uint64_t committed; /* its watermark, as far as it has told or confirmed */
	uint64_t judged_to; /* all that it lists from below is to stay; see starts.c */
	uint64_t max_tx;    /* highest number prepared there */
	uint64_t commit_sent;
	uint64_t settled;	/* committed there, durably, as far as settle.c knows */
	uint64_t held;		/* bytes prepared since a flush with COMMITs began */
	uint64_t mend_after_ns; /* no repairs there before that */
	uint64_t rebuilt;	/* shards that nobody was told of */
	struct volume_server_counts counts;
	uint8_t boot[WEFT_UUID_BYTES];
	uint32_t older;	 /* as peer.older, when nothing there was trusted the last time */
	bool older_told; /* it is left out: see distrust.c */
	struct nbd_call sync_call, flush_call, commit_call;
	struct iovec sync_iov;
	struct weft_fence_reply fence_reply;
	uint8_t *page;			/* a LIST reply; NULL but while that is under way */
	struct weft_list_entry *listed; /* host byte order */
	size_t nlisted, listed_cap;
};

/* server.c */
struct server *server_get(struct volume *v, uint32_t number); /* NULL: no memory or too many */
bool server_ok(const struct server *s);
/* It may be away, but was not removed. */
bool server_known(const struct server *s);
/* It is not ok, and has not been for the time that the volume waits for it. */
bool server_gone(const struct server *s);
void server_grace_fire(struct io_timer *t);
/* The caller has just seen server_ok(). */
void server_submit(struct server *s, struct nbd_call *call);
void server_sync(struct server *s);  /* bring it to UP, if its peer is up */
void server_broke(struct server *s); /* a call ended with -ENOTCONN */
/* It answered ESTALE: fence it again, which tells whether somebody else owns the volume. */
void server_recheck(struct server *s);
void server_cmd(struct volume *v, struct nbd_call *call, uint16_t type);
void servers_free(struct volume *v);
/* What it listed was looked at. */
void server_forget_list(struct server *s);
/* distrust.c. False: its store is older than it had been, and it cannot be done without. */
bool server_trust(struct server *s);
void servers_trust(struct volume *v);
/* k of these shards, or 0 when there are fewer. */
uint32_t server_choose(const struct extent *x, uint32_t from, unsigned k);

#endif
