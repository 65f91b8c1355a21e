/*
 * All files in one picture, bounded: the tags that tell most, the files that these tell most about,
 * and for each file only the few tags that weigh most. With every tag of every file nothing could
 * be told apart, and a browser would get gigabytes. Looks at each tag of each file once.
 */
#ifndef WEFT_TAGGER_WHOLE_H
#define WEFT_TAGGER_WHOLE_H

#include "tagger/scope.h"

#define WHOLE_NODES_MAX 10000u
#define WHOLE_LINKS	3u /* of each file */

struct whole_edge {
	uint32_t tag, file; /* places in tags and files */
	float weight;	    /* 0 to 1 */
};

struct whole {
	uint32_t *tags, *files; /* numbers in the index */
	struct whole_edge *edges;
	uint32_t ntags, nfiles, nedges;
};

/* At most nodes tags and files together, of what is in only if it is not NULL. 0 or -ENOMEM. */
int whole_make(const struct index *ix, const struct scope_set *only, uint32_t nodes,
	       struct whole *out);
void whole_free(struct whole *w);

#endif
