/*
 * Rebuilding the metadata from what the servers say of themselves. recover-plan.c finds out what
 * there was (pure), recover.c asks the servers and writes it.
 */
#ifndef WEFT_RECOVER_H
#define WEFT_RECOVER_H

#include <jansson.h>

#include "survey.h"

struct recover_volume {
	uint64_t id, size;
	char name[NAME_MAX_BYTES + 1];
	unsigned k, m;
	uint32_t unit;
	uint8_t code;
	uint32_t epoch; /* the highest that a server knows */
	struct volume_settings settings;
	struct extent_record *extents; /* ascending; server 0: none is left for that shard */
	size_t nextents, cap;
	unsigned stale;	  /* shards that missed writes */
	unsigned missing; /* shards that no server has */
	unsigned lost;	  /* extents with fewer than k good shards */
};

struct recover_plan {
	struct recover_volume *volumes;
	size_t n;
	struct recover_volume *deleted; /* of these only notes are left, to be given back */
	size_t ndeleted;
	uint64_t next_volume; /* above every number that a server knows */
	/* sentences, for people */
	json_t *found, *doubts, *missing;
};

/* Servers whose err is not 0 are left out. 0 or -ENOMEM. */
int recover_plan(const struct survey_server *servers, unsigned n, struct recover_plan *plan);
void recover_plan_free(struct recover_plan *plan);

/* What is asked for, and what came of it. */
struct recover {
	char (*addresses)[ADDR_TEXT_MAX];
	unsigned naddresses;
	bool force;   /* also when shards are missing */
	bool dry_run; /* only say what there is */
	struct recover_plan plan;
	bool done;		/* the metadata was written */
	struct refusal refusal; /* when not: why; status 0: a dry run */
	void (*cb)(void *arg, struct recover *r);
	void *arg;
	/* its own */
	struct cluster *cluster;
	unsigned next;
	unsigned polls;
	struct control_timer *timer;
};

/* Takes servers in that are not, asks all, writes the metadata, opens the volumes; then cb, once.
 */
void recover_start(struct cluster *c, struct recover *r);
/* After cb. */
void recover_free(struct recover *r);

#endif
