/*
 * What a worker answers about a file, as JSON: an object with
 *
 *   kind, mime, hash (hex), same (true), why (it failed), simhash, phash (hex), tags ([[text, stem,
 * weight, source]...]), facts ([[key, value]...]), links
 * ([text...]), excerpt
 *
 * all but kind and mime may be missing. The worker may have been taken over by the file it read, so
 * every value is held against the limits of extract.h, and one that breaks them spoils the whole.
 */
#ifndef WEFT_TAGGER_RESULT_H
#define WEFT_TAGGER_RESULT_H

#include <stddef.h>

#include "tagger/extract.h"

/* NULL when it is not what a worker may say. */
struct extract *result_parse(const char *json, size_t len);
/* A file that failed. NULL: out of memory. */
struct extract *result_failed(const char *why);

#endif
