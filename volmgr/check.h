/*
 * Do metadata, labels and stores agree? check-plan.c compares (pure), check.c asks. It changes
 * nothing, and reads the metadata itself, so it runs beside a working volmgr or without one.
 */
#ifndef WEFT_CHECK_H
#define WEFT_CHECK_H

#include <jansson.h>

#include "survey.h"

struct check_extent {
	uint64_t volume;
	unsigned shards;
	struct extent_record r;
};

struct check_volume {
	struct vol *vol; /* as its record says; no engine */
	bool deleting;
};

/* What the metadata says at one moment. */
struct check_meta {
	struct check_volume *volumes;
	size_t nvolumes, volumes_cap;
	struct check_extent *extents; /* by volume and number */
	size_t nextents, extents_cap;
	json_t *bad; /* sentences about records that cannot be read */
};

struct check_server {
	uint32_t number;
	char name[NAME_MAX_BYTES + 1];
	bool keeps_notes;
	bool late; /* it was not asked at the last recovery */
};

struct check_result {
	json_t *problems; /* {"what", "hint"}: where two do not agree */
	json_t *notes;	  /* sentences: what is not as it should be, but known and cared for */
	uint64_t extents, shards, slots; /* compared */
};

int check_meta_load(struct meta *meta, struct check_meta *out);
void check_meta_free(struct check_meta *m);

/* before and after: the metadata at the two ends of the survey; what was in between is let pass. */
void check_plan(const struct check_meta *before, const struct check_meta *after,
		const struct check_server *servers, const struct survey_server *surveys, unsigned n,
		struct check_result *out);
/* Keep the problems that are in both. */
void check_both(struct check_result *now, const struct check_result *then);
void check_result_free(struct check_result *r);

/* Survey and compare, again after a moment when something seems wrong; then cb, once. */
void check_start(struct cluster *c, void (*cb)(void *arg, struct check_result *r), void *arg);

#endif
