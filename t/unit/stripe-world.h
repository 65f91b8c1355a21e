/*
 * One volume over fake servers, and a model of its bytes that every read is compared with.
 *
 * The model takes a write when it is submitted. Requests that are under way may overlap only as far
 * as their order is clear; what is not clear (a write that failed) is marked as unknown.
 */
#ifndef WEFT_STRIPE_WORLD_H
#define WEFT_STRIPE_WORLD_H

#include "fake-store.h"
#include "nbd/proto.h"
#include "stripe/volume.h"

#define WORLD_REQS 64

struct world;

struct world_req {
	struct nbd_req req; /* first */
	struct world *w;
	bool busy;
	bool done;
	int error;
	uint8_t *want; /* READ: the model when it was submitted */
	uint8_t *sure; /* which of them are known */
	uint8_t *got;  /* READ, when set: where its bytes go */
	bool keep; /* READ: the first buffer of its answer is kept, as by a client that is slow */
	struct buf *kept;
};

struct world_put {
	struct world_put *next;
	struct extent_record *records;
	int n;
	struct volume_starts *starts; /* NULL: not of these */
	bool remove;
	void (*done)(void *arg, int err);
	void *arg;
};

struct world {
	struct fake_env env;
	struct fake_cluster cluster;
	struct buf_pool *pool;
	struct volume *v;
	struct volume_config config;
	struct volume_ops ops;
	uint64_t size;
	uint8_t *model;
	uint8_t *touched; /* written since the test cleared it */
	uint8_t *known;	  /* 0: a failed write left it open */
	struct world_req reqs[WORLD_REQS];
	unsigned errors;     /* requests that failed */
	unsigned mismatches; /* reads that differ from the model */
	unsigned answered;
	struct extent_record *map; /* the metadata: durable */
	int nmap;
	struct volume_starts starts; /* likewise */
	struct world_put *puts;	     /* under way */
	int fail_put;		     /* countdown to a refused put */
	bool put_stays;		     /* which is there all the same */
	bool ready;
	int ready_err;
	bool stopped;
	bool resized;
	int resize_err;
	uint64_t stamp; /* when set: writes consist of it, and the model does not know them */
	unsigned place_next;
};

struct world_geometry {
	unsigned k, m;
	uint32_t unit;
	unsigned servers;
	uint64_t size;
};

void world_init(struct world *w, const struct world_geometry *g, uint64_t seed);
void world_free(struct world *w);
/* Let one thing happen; false: nothing to do (but timers). */
bool world_step(struct world *w);
/* Until nothing happens any more; timers run too, up to ms. */
void world_settle(struct world *w, unsigned ms);
void world_open(struct world *w);  /* create, add the map's extents, start */
void world_close(struct world *w); /* stop, free */
/* volmgr dies: the volume is forgotten with everything in flight, the servers live. */
void world_kill(struct world *w);

/* NULL: no request is free. Data of a write comes from the seed. */
struct world_req *world_submit(struct world *w, uint16_t type, uint16_t flags, uint64_t offset,
			       uint32_t len);
/* ... and let things happen until it is answered, the error or -1 on no progress. */
int world_do(struct world *w, uint16_t type, uint16_t flags, uint64_t offset, uint32_t len);
bool world_overlaps(const struct world *w, uint64_t offset, uint64_t len, bool reads_too);
unsigned world_inflight(const struct world *w);
/* Resize; false: it made no progress. The model becomes zeros behind the new or old end. */
bool world_resize(struct world *w, uint64_t size);
/* Read everything and compare; mismatches are counted. */
void world_check_all(struct world *w);
/* Parity of all extents fits their data; how many blocks do not. */
unsigned world_check_parity(struct world *w);

#endif
