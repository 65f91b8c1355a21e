/*
 * What libevent must not see of a request whose body is to be read as it comes, and how such a body
 * is delimited. Pure.
 */
#ifndef WEFT_HTTP_HEAD_H
#define WEFT_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_TRAILER_MAX 8192u

enum http_head_is {
	HTTP_HEAD_MORE,	 /* it has not come to its end */
	HTTP_HEAD_OTHER, /* none of those paths, no body, or nothing that we would touch */
	HTTP_HEAD_TAKEN
};

struct http_head {
	uint64_t length; /* of the body, unless chunked */
	bool chunked;
	bool expect; /* the client waits for "100 Continue" */
};

/*
 * text: what has come of a request, from its first byte. When it is a PUT with a body to one of
 * paths (a list that ends with NULL), the headers that tell of its body are renamed in place, so
 * that the next who parses them finds a request without one.
 */
enum http_head_is http_head_take(char *text, size_t len, const char *const *paths,
				 struct http_head *out);

/* A body in chunks; all zero is its beginning. */
struct http_chunks {
	uint8_t state;
	unsigned digits, trailer;
	uint64_t left; /* of this chunk */
};

/*
 * Of len bytes at text the first *skip are not of the body, and then come *data (at most len -
 * *skip) that are. 1: that was the end; 0: more follows; -EBADMSG. What has been skipped and taken
 * is not to be given again.
 */
int http_chunks_next(struct http_chunks *c, const char *text, size_t len, size_t *skip,
		     size_t *data);

#endif
