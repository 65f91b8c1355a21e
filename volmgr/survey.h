/*
 * What servers say of themselves: the labels of all their slots, and the volumes that were fenced
 * there. Recovery builds the metadata from it, check compares the two, tidying finds slots that
 * nobody uses. On a data thread, page by page, all servers at once.
 */
#ifndef WEFT_SURVEY_H
#define WEFT_SURVEY_H

#include "volmgr.h"

#define SURVEY_LABELS_MAX (4u << 20) /* of one server */

struct survey_label {
	uint64_t volume, extent;
	uint64_t mapped_bytes;
	uint32_t generation, unit_bytes;
	uint32_t slot, slot_gen;
	uint32_t mark, stale;
	uint8_t shard, k, m, code;
	char name[64]; /* ends with a NUL */
};

struct survey_volume {
	uint64_t volume, committed;
	uint32_t epoch, slots;
};

struct survey_server {
	uint32_t number;
	int err; /* 0, or -errno: it is not up, or went away */
	struct survey_label *labels;
	size_t nlabels, labels_cap;
	struct survey_volume *volumes;
	size_t nvolumes, volumes_cap;
};

struct survey {
	struct task task; /* err is always 0: look at each server's */
	unsigned n;
	struct survey_server servers[SERVERS_MAX]; /* number is the caller's */
	void *arg;
	/* its own */
	unsigned pending;
};

void survey_run(struct task *t);
void survey_free(struct survey *s);

#endif
