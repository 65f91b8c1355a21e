/*
 * What the index keeps of one file or folder, as bytes: weft-index(5). Pure.
 *
 * Unpacking takes bytes that may be damaged. It copies nothing: strings point into the bytes, and
 * are not ended by NUL.
 */
#ifndef WEFT_TAGGER_RECORD_H
#define WEFT_TAGGER_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tagger/extract.h"

#define RECORD_VERSION	  1
#define RECORD_TAGS_MAX	  160 /* 64 of an extractor, the index's own, and a user's */
#define RECORD_NAME_MAX	  255
#define RECORD_HANDLE_MAX 64
#define RECORD_HAND_MAX	  4096
#define RECORD_BYTES_MAX  (256u << 10)

enum record_state {
	RECORD_WAITING, /* to be read */
	RECORD_DONE,
	RECORD_FAILED, /* why says so; not read again until it changes */
};

enum record_flags {
	RECORD_SIMHASH = 1,
	RECORD_PHASH = 2,
	RECORD_LINKED = 4, /* has more names than this one */
	RECORD_LINKS = 8,  /* has links to others */
};

struct record_text {
	const char *at;
	size_t len;
};

struct record_tag {
	uint32_t tag;
	uint8_t weight; /* 255 is 1.0 */
	uint8_t source;
};

struct record_fact {
	uint8_t key;
	struct record_text text; /* at NULL: a number */
	double number;
};

struct record {
	uint8_t kind, state, flags;
	uint32_t parent;
	uint32_t path_hash; /* of the folders' names that its tags come from */
	uint64_t size;
	int64_t mtime_ns, ctime_ns;
	uint8_t ident[16]; /* of the file, over renames */
	uint8_t hash[EXTRACT_HASH_BYTES];
	uint64_t simhash, phash;
	int32_t handle_type;
	struct record_text handle, name, mime, excerpt, why;
	struct record_text hand; /* what a user said: lines of "+tag", "*tag" (pinned), "-tag" */
	uint16_t ntags, nfacts, nlinks;
	struct record_tag tags[RECORD_TAGS_MAX];
	struct record_fact facts[EXTRACT_FACTS_MAX];
	struct record_text links[EXTRACT_LINKS_MAX];
};

/* Bytes written to out (RECORD_BYTES_MAX of them are always enough). */
size_t record_pack(const struct record *r, uint8_t *out);
/* 0 or -EUCLEAN. */
int record_unpack(const void *data, size_t len, struct record *r);

#endif
