/* What is in a metadata batch: for meta.c and the back ends only. */
#ifndef WEFT_META_BATCH_H
#define WEFT_META_BATCH_H

#include "meta.h"

#define META_KEY_MAX 256u /* bytes of a key, with its NUL */

enum meta_op_type { META_PUT, META_DELETE, META_REQUIRE };

struct meta_op {
	enum meta_op_type type;
	char *key;
	void *value; /* NULL: DELETE, or REQUIRE that there is no such key */
	size_t len;
};

struct meta_batch {
	struct meta_op *ops;
	size_t count, cap;
	bool requires; /* at least one META_REQUIRE */
	bool failed;   /* memory ran out while it was filled: commit says -ENOMEM */
	/* the back end's while it is queued */
	struct meta_batch *next;
	void (*done)(void *arg, int err);
	void *arg;
};

#endif
