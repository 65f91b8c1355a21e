/*
 * The members of a zip file that office documents and e-books are, one at a time and bounded.
 */
#ifndef WEFT_TAGGER_ZIPPED_H
#define WEFT_TAGGER_ZIPPED_H

#include <stdbool.h>
#include <stddef.h>

#define ZIPPED_MEMBER_MAX (4u << 20)  /* bytes of one member that are read */
#define ZIPPED_ALL_MAX	  (24u << 20) /* of all */

struct zipped;

/* fd stays the caller's. NULL: it is no zip file. */
struct zipped *zipped_open(int fd);
void zipped_close(struct zipped *z);
/* The bytes, NUL behind them, valid until the next call; NULL: there is none, or it is broken. */
const char *zipped_read(struct zipped *z, const char *name, size_t *len);
size_t zipped_count(const struct zipped *z);
/* NULL when there is no such member. */
const char *zipped_name(const struct zipped *z, size_t i);

#endif
