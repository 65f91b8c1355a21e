/*
 * The index: what tagger knows of every file, in LevelDB (weft-index(5)) and, as far as searching
 * needs it, in memory. On disk there is one record a file, with all its tags, and the names of the
 * tags; everything else here (which files have a tag, what lies in a folder, which texts are alike)
 * is made from these at the start. So a change of a file is one atomic put, and no two things on
 * disk can disagree. It costs about 200 bytes of memory a file.
 *
 * One thread: that of the loop. Errors: 0 or -errno. When the disk refuses a write (full, say), the
 * index is "stuck": what was not written stays in the batch, index_unstick() tries again, and until
 * then nothing should be changed.
 */
#ifndef WEFT_TAGGER_INDEX_H
#define WEFT_TAGGER_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kv.h"
#include "tagger/near.h"
#include "tagger/record.h"
#include "tagger/textpool.h"

#define INDEX_ROOT	  1u /* number of the tree's root; 0 is none */
#define INDEX_FILES_MAX	  (1u << 28)
#define INDEX_TAGS_MAX	  (1u << 28)
#define INDEX_CHUNK	  4096u
#define INDEX_PATH_MAX	  (32u << 10) /* deeper files are not looked at */
#define INDEX_CACHE_BYTES (8u << 20)
#define INDEX_REUSE_AFTER 65536u /* numbers of removed files rest this long */

enum node_flags { /* of this process, not on disk */
		  NODE_USED = 1,
		  NODE_READING = 2, /* a worker has it */
		  NODE_AGAIN = 4,   /* it changed meanwhile */
		  NODE_LOST = 8,    /* not at its place any more; perhaps it turns up elsewhere */
		  NODE_CLOSED = 16, /* a folder that could not be read this time */
		  NODE_QUEUED = 32, /* waits to be read */
		  NODE_ATTRS = 64,  /* only its attributes changed */
		  NODE_FORCE = 128, /* read it also when its hash is the same */
};

struct node {
	uint8_t ident[16];
	uint64_t size;
	int64_t mtime_ns, ctime_ns;
	uint32_t parent, child, next, prev; /* a tree of numbers */
	uint32_t name, folded;		    /* in names and folded */
	uint32_t next_place, next_ident;    /* hash chains */
	uint32_t seen;			    /* number of the last walk that met it */
	uint32_t path_hash;
	uint8_t kind, state, flags; /* as in the record */
	uint8_t note;		    /* enum node_flags */
};

struct tag {
	uint32_t text, stem; /* in tag_texts and tag_stems; stem 0: the same */
	uint32_t n, max;
	uint32_t *files; /* ascending; INDEX_FILES_MAX leaves four bits, which are the weight */
	uint32_t next_stem, next_text; /* hash chains */
};

struct index_alias {
	char *from; /* stem */
	char *to;   /* text; "" for a tag that is not wanted */
};

/* Links from file to file: who links to a path. */
struct index_link {
	uint64_t path; /* hash of the target's path */
	uint32_t from, next;
};

/* The i-th file of a tag. */
static inline uint32_t index_tag_file(const struct tag *t, uint32_t i)
{
	return t->files[i] >> 4;
}

/* Its weight, to the next sixteenth: 0 to 255. */
static inline uint8_t index_tag_weight(const struct tag *t, uint32_t i)
{
	return (uint8_t)((t->files[i] & 15) * 17);
}

enum index_change { INDEX_ADDED, INDEX_CHANGED, INDEX_MOVED, INDEX_REMOVED };

struct index {
	struct kv *kv;
	char *dir;
	struct kv_batch *batch;
	size_t batched; /* puts and deletes in it */
	bool stuck;
	int stuck_why;

	struct node **chunks;
	uint32_t nchunks, next_file; /* numbers from next_file on were never used */
	uint32_t *resting, resting_head, resting_n, resting_max;
	uint32_t nfiles, nfolders, nfailed, nwaiting;
	uint64_t bytes;
	uint64_t *used;		   /* a bit a file */
	uint32_t *places, *idents; /* hash tables of file numbers */
	uint32_t buckets;	   /* power of two */
	struct textpool names, folded;

	struct tag *tags; /* [0] is not used */
	uint32_t ntags, tags_max;
	uint32_t *stems, *texts;
	uint32_t tag_buckets;
	struct textpool tag_texts, tag_stems;
	struct index_alias *aliases; /* ascending by from */
	size_t naliases;

	struct near *texts_near, *pictures_near;
	struct index_link *links; /* [0] is not used */
	uint32_t nlinks, links_max, links_unused;
	uint32_t *link_heads;
	uint32_t link_buckets;

	void (*changed)(void *arg, uint32_t file, enum index_change change);
	void *changed_arg;
};

/* A record with the bytes that it points into. */
struct index_record {
	struct record r;
	void *bytes;
};

/* What is seen of a file from outside, for index_add(). */
struct index_seen {
	uint8_t ident[16];
	uint64_t size;
	int64_t mtime_ns, ctime_ns;
	int32_t handle_type;
	uint8_t handle_len;
	uint8_t handle[RECORD_HANDLE_MAX];
	uint8_t kind; /* FOLDER, LINK, SPECIAL, EMPTY or UNKNOWN */
	bool linked;  /* has other names */
};

/* ---- index.c: open, files and folders */
/*
 * root: identity of the tree's root; NULL: whichever it has. -ESTALE: the index is of another tree.
 * A damaged database is repaired, or moved aside and begun anew.
 */
int index_open(const char *dir, const struct index_seen *root, struct index **out,
	       const char **why);
void index_close(struct index *ix);
/* Write what is pending. Called before the loop sleeps, and when much is pending. */
int index_commit(struct index *ix);
int index_unstick(struct index *ix);

static inline struct node *index_node(const struct index *ix, uint32_t file)
{
	return &ix->chunks[file / INDEX_CHUNK][file % INDEX_CHUNK];
}
/* NULL when there is none of this number. */
struct node *index_node_find(const struct index *ix, uint32_t file);
const char *index_name(const struct index *ix, uint32_t file);
uint32_t index_by_ident(const struct index *ix, const uint8_t ident[16]);
/* LOST ones are not found. */
uint32_t index_by_place(const struct index *ix, uint32_t parent, const char *name, size_t len);
/* "a/b/c", without a slash at either end; "" is the root. */
uint32_t index_by_path(const struct index *ix, const char *path, size_t len);
/* The path without a slash in front; the length, or -ENAMETOOLONG. */
int index_path(const struct index *ix, uint32_t file, char *out, size_t max);
bool index_is_below(const struct index *ix, uint32_t file, uint32_t folder);

/* A new node; r may have tags already (its stat fields, name and parent are set here). */
int index_add(struct index *ix, uint32_t parent, const char *name, size_t len,
	      const struct index_seen *seen, struct record *r, uint32_t *file);
/* Put the record of a file in place of the one it has. */
int index_put(struct index *ix, uint32_t file, const struct record *r);
int index_get(struct index *ix, uint32_t file, struct index_record *rec);
void index_record_free(struct index_record *rec);
/* To another folder or name; its record is written anew. Not below itself: -EINVAL. */
int index_move(struct index *ix, uint32_t file, uint32_t parent, const char *name, size_t len);
/* With all that is below, in one batch. */
int index_remove(struct index *ix, uint32_t file);
/* Keeps the counts of waiting and failed files. */
void index_set_state(struct index *ix, uint32_t file, uint8_t state);

/* ---- index-tags.c */
/* The tag with this stem, made when create; 0: none, or no memory. text is folded. */
uint32_t index_tag(struct index *ix, const char *text, const char *stem, bool create);
/* As a person wrote it: by text, or by stem. 0: none. */
uint32_t index_tag_find(const struct index *ix, const char *text, size_t len);
/* The next tag behind this one (0: the first) that people read like text, which is folded. 0: none.
 */
uint32_t index_tag_same(const struct index *ix, const char *text, uint32_t after);
const char *index_tag_text(const struct index *ix, uint32_t tag);
const char *index_tag_stem(const struct index *ix, uint32_t tag);
/* How much a tag tells: the logarithm of how rare it is, 0 for one that all files have. */
float index_idf(const struct index *ix, uint32_t tag);
/* First place in t->files that is not below file. */
uint32_t index_tag_seek(const struct tag *t, uint32_t from, uint32_t file);
/* What stands for a tag of this stem: NULL the tag itself, "" nothing. */
const char *index_alias(const struct index *ix, const char *stem);
int index_alias_set(struct index *ix, const char *from, const char *to);

/* Put a tag with a weight of 0 to 1 into a record; the heavier wins. False: no room, not wanted. */
bool index_record_tag(struct index *ix, struct record *r, const char *text, const char *stem,
		      float weight, enum extract_source source);

/* ---- used among index*.c */
int index_tags_insert(struct index *ix, uint32_t file, const struct record *r);
void index_tags_remove(struct index *ix, uint32_t file, const struct record *r);
/* After loading: memory that was taken for growing is given back. */
void index_tags_trim(struct index *ix);
uint32_t index_tag_load(struct index *ix, uint32_t tag, const char *text, size_t text_len,
			const char *stem, size_t stem_len);
int index_links_insert(struct index *ix, uint32_t file, const struct record *r);
void index_links_remove(struct index *ix, uint32_t file, const struct record *r);
/* The path that a link in a file leads to, as index_by_path() takes it: length, or -1. */
int index_link_target(const struct index *ix, uint32_t file, const struct record_text *link,
		      char *out, size_t max);
/* fn for each file that links to this one, at most budget. */
void index_links_to(const struct index *ix, uint32_t file, unsigned budget,
		    void (*fn)(void *arg, uint32_t from), void *arg);
int index_alias_load(struct index *ix, const char *from, size_t from_len, const char *to,
		     size_t to_len);
int index_load(struct index *ix);
/* Twice the buckets, when there are as many nodes as that. */
int index_grow(struct index *ix);
int index_node_new(struct index *ix, uint32_t file, const struct record *r);
void index_node_attach(struct index *ix, uint32_t file);
void index_node_drop(struct index *ix, uint32_t file);
void index_key(uint8_t key[5], char type, uint32_t number);

#endif
