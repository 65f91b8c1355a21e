/*
 * Storage servers in memory, for tests of the stripe engine: the private commands as weft.h
 * describes them, over plain bytes. Calls are taken by each server in their order, at moments that
 * the seed chooses; replies come in any order. Connections break and servers crash when told.
 */
#ifndef WEFT_FAKE_STORE_H
#define WEFT_FAKE_STORE_H

#include "fake-env.h"
#include "stripe/peer.h"

#define FAKE_SERVERS_MAX 24
#define FAKE_SLOTS	 64

struct fake_prepared {
	struct fake_prepared *next; /* older */
	uint64_t tx, offset, blocks;
	uint32_t slot, participants;
	bool durable, committed;
	bool aborted; /* not durably: gone with the next flush */
	uint8_t old_bad[64];
	uint8_t *old;  /* a block for each bit */
	uint8_t *redo; /* aborted: likewise, to come back with */
};

struct fake_slot {
	bool used;
	uint32_t gen;
	struct weft_label label; /* wire order */
	uint32_t mark, stale;	 /* of the last MARK */
	uint8_t *data;
	uint8_t bad[WEFT_SHARD_BYTES / WEFT_BLOCK_BYTES]; /* 1: checksum does not match, 2: EIO */
};

struct fake_cluster;

struct fake_server {
	struct peer peer; /* first */
	struct fake_cluster *cluster;
	struct fake_slot slots[FAKE_SLOTS];
	uint32_t next_gen;
	uint32_t epoch;
	uint64_t committed, committed_durable;
	uint64_t given_up;		/* PREPAREs up to here come too late */
	struct fake_prepared *prepared; /* newest first */
	struct nbd_call *queue, **queue_tail;
	struct nbd_call *replies; /* their error is in reply_error[] order */
	int nreplies;
	bool full;	  /* PREPARE of data answers ENOSPC */
	int fail_prepare; /* countdown to one failing PREPARE, 0: none */
	int fail_error;
	uint16_t refuse; /* so many calls of this type are refused */
	int refusals;
	int refuse_error;
	bool hung;	  /* takes no calls, gives no replies */
	int break_after;  /* countdown of calls taken to a broken connection, 0: none */
	bool break_crash; /* ... and the server restarts */
	bool keep_late;	  /* the first PREPARE that a break takes comes later */
	struct nbd_call *late;
};

struct fake_cluster {
	struct fake_env *env;
	unsigned n;
	struct fake_server *servers;
	uint64_t calls[24];  /* by command: 0-7 NBD, 8 + (type - PREPARE) private */
	unsigned violations; /* of what the engine owes to the servers */
	void (*changed)(void *ctx, struct peer *p);
	void *ctx;
};

void fake_cluster_init(struct fake_cluster *c, struct fake_env *env, unsigned n);
void fake_cluster_free(struct fake_cluster *c);
/* Let one thing happen on some server. False: nothing is under way. */
bool fake_cluster_step(struct fake_cluster *c);
/* The connection breaks; crash: what was not flushed is lost, another boot. */
void fake_server_break(struct fake_server *s, bool crash);
/* What it has done becomes durable, as a log's timer does it. */
void fake_server_log(struct fake_server *s);
void fake_server_return(struct fake_server *s);
/* What was kept comes now. 0, or why it is refused; -1: nothing was. */
int fake_server_late(struct fake_server *s);
/* Slots in use on all servers. */
unsigned fake_cluster_slots(const struct fake_cluster *c);
unsigned fake_cluster_prepared(const struct fake_cluster *c);

#endif
