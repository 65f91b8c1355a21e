/*
 * How files are related. A relation is computed when it is asked for, from what the index holds at
 * that moment: so it is never out of date, costs nothing to keep, and is bounded by how much of the
 * index one question looks at. Shared rare tags count more than shared common ones; near-equal
 * texts and pictures, links and a common folder count by themselves. Author, artist, album, camera,
 * date and place are tags (derive.h), and count as such.
 */
#ifndef WEFT_TAGGER_RELATE_H
#define WEFT_TAGGER_RELATE_H

#include "tagger/scope.h"

#define RELATE_BUDGET	  20000u /* files of tags looked at for one question, the rarest tags first */
#define RELATE_MAX	  100u	 /* neighbours of one file */
#define RELATE_NODES_MAX  500u	 /* of a graph */
#define RELATE_EDGES_MAX  2000u
#define RELATE_FANOUT	  8u   /* neighbours of each file of a graph */
#define RELATE_TAGS_MAX	  3u   /* of each file of a graph */
#define RELATE_FOLDER_MAX 256u /* files of a folder that is still a sign of something */

enum relate_why {
	RELATE_TAGS = 1,
	RELATE_TEXT = 2,
	RELATE_PICTURE = 4,
	RELATE_LINK = 8,
	RELATE_FOLDER = 16,
};

struct relation {
	uint32_t file;
	float weight; /* 0 to 1 */
	uint8_t why;  /* enum relate_why */
	uint32_t tag; /* that both share and that counts most, or 0 */
};

/* The nearest ones, nearest first; of those in only, if it is not NULL. Returns how many, at most
 * max, or -errno. */
int relate_neighbours(struct index *ix, uint32_t file, const struct scope_set *only,
		      struct relation *out, unsigned max);

struct relate_edge {
	uint32_t from, to; /* places in nodes */
	struct relation r;
};

struct relate_node {
	uint32_t number; /* of a file or tag */
	bool is_tag;
	uint8_t depth;
};

struct relate_graph {
	unsigned nnodes, nedges;
	struct relate_node nodes[RELATE_NODES_MAX];
	struct relate_edge edges[RELATE_EDGES_MAX];
};

/* Around a file or a tag: near ones first, up to nodes and depth. 0 or -errno. */
int relate_graph(struct index *ix, uint32_t start, bool is_tag, unsigned nodes, unsigned depth,
		 bool with_tags, const struct scope_set *only, struct relate_graph *out);

#endif
