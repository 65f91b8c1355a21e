/*
 * Which shards go from one server to another, and in what order. Pure: the caller says what it
 * knows of the servers, shows every extent once, and gets a list of moves, the most urgent first.
 *
 * First what is in danger: shards of servers that are gone, those of extents with the fewest good
 * shards before all others. Then shards of servers that are to be emptied. Last, if asked for, from
 * full servers to empty ones, and only as many as it takes to be even.
 */
#ifndef WEFT_MOVES_H
#define WEFT_MOVES_H

#include <stdbool.h>
#include <stdint.h>

#include "stripe/volume.h"

#define MOVES_SERVERS_MAX 256
#define MOVES_PICKS	  64	/* moves of one list */
#define MOVES_FILL	  10000 /* a server that is full, in moves_server.fill */
#define MOVES_UNEVEN	  1000	/* so much between two servers is worth moves */
#define MOVES_EVEN	  200	/* and so little is even */

enum moves_duty {
	MOVES_STAYS,
	MOVES_LEAVES, /* its shards go elsewhere, it is there to copy them from */
	MOVES_GONE,   /* nobody waits for it: its shards are made anew elsewhere */
};

struct moves_server {
	uint32_t server; /* number */
	uint32_t host;	 /* same number: same host */
	enum moves_duty duty;
	bool up;
	bool takes;	     /* new shards: it is up, stays, and has a free slot */
	uint32_t into;	     /* rather to this server than to any; 0: to any */
	uint64_t size_bytes; /* of its store; 0: not known */
	uint64_t free_bytes; /* that no move has been promised yet */
	uint64_t shards;     /* there, or on their way */
};

enum moves_why { MOVES_LOST, MOVES_DRAIN, MOVES_BALANCE };

struct moves_pick {
	uint64_t volume, extent;
	unsigned shard;
	uint32_t from, to;
	enum moves_why why;
	bool good; /* the shard can be copied from where it is */
	/* the module's own */
	unsigned urgency; /* low: soon */
	unsigned shards;
	uint32_t at[WEFT_SHARDS_MAX];
};

/* Why shards that should go cannot. */
enum moves_block {
	MOVES_NO_SERVER, /* every server that takes shards has one of the extent */
	MOVES_NO_ROOM,	 /* those that could take it are full */
	MOVES_NO_GOOD,	 /* fewer than k good shards: it cannot be made anew */
	MOVES_BLOCKS,
};

struct moves {
	struct moves_server servers[MOVES_SERVERS_MAX];
	unsigned nservers;
	bool balance;	  /* even out, too */
	unsigned average; /* of moves_fill(), of those that stay */
	/* what was found */
	struct moves_pick picks[MOVES_PICKS];
	unsigned npicks;
	uint64_t wanted;		   /* shards on servers that leave or are gone */
	uint64_t blocked[MOVES_BLOCKS];	   /* of those */
	uint64_t count[MOVES_SERVERS_MAX]; /* shards seen on each server, in their order */
};

/* Forget what was found; servers, nservers and balance are as the caller set them. */
void moves_begin(struct moves *m);
/* An extent of a volume of k + shards - k; busy: one of its shards is being moved, only count. */
void moves_look(struct moves *m, uint64_t volume, unsigned k, unsigned shards,
		const struct extent_record *r, bool busy);
/* All were shown: gives each pick its target. Those left are in picks, the most urgent first. */
void moves_end(struct moves *m);

/* The server of that number, or NULL. */
struct moves_server *moves_find(struct moves *m, uint32_t server);
/* How full it is with shards, 0..MOVES_FILL; more is possible: shards are thin. */
unsigned moves_fill(const struct moves_server *s);
/*
 * Whether servers differ enough to move shards between them; running: it has begun, and goes on
 * until they are even. A shard more or less is never uneven.
 */
bool moves_uneven(const struct moves_server *s, unsigned n, bool running);
/* How many shards it takes about until all are as full as the average. */
uint64_t moves_surplus(const struct moves_server *s, unsigned n);

#endif
