/*
 * Tags that need no reading: of names, folders, dates, sizes, of the facts that were read, and of a
 * user's own words. Pure but for the index, where tags get their numbers.
 */
#ifndef WEFT_TAGGER_DERIVE_H
#define WEFT_TAGGER_DERIVE_H

#include "tagger/index.h"

#define DERIVE_CONTENT_TAGS 40u /* of an extractor that are kept: those that tell most */

/* What a worker found, in place of what was there. r then points into e. */
void derive_extract(struct index *ix, struct record *r, const struct extract *e);
/* All tags that come from the record's other fields, its name and its folders, anew. */
void derive_record(struct index *ix, struct record *r);
/* Of the names of folders that derive_record() looks at: when it differs, call that again. */
uint32_t derive_path_hash(const struct index *ix, uint32_t parent);

/* ---- what a user says of a file: lines of '+' | '*' | '-' and a tag */
enum derive_hand { DERIVE_ADDED = '+', DERIVE_PINNED = '*', DERIVE_REMOVED = '-', DERIVE_NONE = 0 };
/* Is a tag text one? 1 to EXTRACT_TAG_BYTES - 1 bytes of UTF-8 without control characters. */
bool derive_tag_valid(const char *text);
/* Say this of a tag, DERIVE_NONE: nothing any more. out of RECORD_HAND_MAX. Length or -errno. */
int derive_hand_set(const char *hand, size_t len, const char *tag, enum derive_hand what,
		    char *out);
/* fn for each line; lines that are none are left out. */
void derive_hand_each(const char *hand, size_t len,
		      void (*fn)(void *arg, enum derive_hand what, const char *tag), void *arg);

#endif
