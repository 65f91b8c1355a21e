/*
 * What a volume must hold: a mirror of its bytes, and for each 4 KiB block what else it may hold
 * after a break of the connection. Words of data carry the number of their write and their address,
 * so that wrong bytes say where they come from. Pure: no fd, no clock.
 */
#ifndef WEFT_TOOLS_MODEL_H
#define WEFT_TOOLS_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#define BLOCK_BYTES 4096u

/* Another content that a block may have. */
struct alt {
	struct alt *next;
	bool doubt;	/* of a change that failed: may be seen until it is settled */
	uint64_t stamp; /* gone when a flush ends that began at this stamp or later */
	uint8_t data[BLOCK_BYTES];
};

struct block {
	struct alt *alts;
	struct alt *before; /* contents that readers from before its last change may still see */
	uint16_t readers;   /* requests that read it */
	bool writer;	    /* a request changes it */
};

enum change { CHANGE_DATA, CHANGE_ZERO };

/* A change of a byte range: all that is needed to make its bytes. */
struct change_range {
	enum change change;
	uint64_t offset;
	uint32_t len;
	uint32_t seq;
};

struct model {
	uint8_t *mirror;
	uint64_t size; /* bytes, whole blocks */
	struct block *blocks;
	uint64_t stamp; /* rises with each acknowledged change */
	uint64_t alts;	/* how many there are */
	bool lossy;	/* acknowledged changes may be lost until they are flushed */
};

/* 0, or -ENOMEM */
int model_init(struct model *m, uint64_t size, bool lossy);
void model_free(struct model *m);

/* Taken for a request; false: some block is in use in a way that does not go with it. */
bool model_lock(struct model *m, uint64_t offset, uint32_t len, bool write);
void model_unlock(struct model *m, uint64_t offset, uint32_t len, bool write);

/* The bytes of a change that lie in offset .. offset + len - 1. */
void model_fill(uint8_t *to, const struct change_range *c, uint64_t offset, uint32_t len);

/* It was acknowledged; durable: with FUA. */
void model_acknowledge(struct model *m, const struct change_range *c, bool durable);
/* Nobody knows whether it took effect: each of its blocks may be as before, or as after it. */
void model_doubt(struct model *m, const struct change_range *c);
/* A flush that was sent at that stamp is acknowledged. */
void model_flushed(struct model *m, uint64_t stamp);

/*
 * Are these the bytes of the range, for a request that was sent at that stamp? inflight: changes
 * that run now and may be seen (NULL at the end). settle: blocks in doubt may be any of what they
 * may be, and are that from now on. Wrong bytes are told on stderr; returns how many blocks have
 * some.
 */
unsigned model_check(struct model *m, const uint8_t *got, uint64_t offset, uint32_t len,
		     uint64_t stamp, const struct change_range *const *inflight, bool settle);

#endif
