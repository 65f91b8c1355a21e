/*
 * Fuzz target: heads of uploads and bodies in chunks, before libevent sees them. Nothing outside is
 * read; a head that was taken has no body any more; a body is the same in whatever pieces it comes.
 */
#include "config.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "http-head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char *const paths[] = {"/u", NULL};

static int decode(const uint8_t *in, size_t len, size_t step, uint8_t *out, size_t *got)
{
	struct http_chunks c = {0};
	int said = 0;

	*got = 0;
	for (size_t at = 0; at < len && said == 0;) {
		size_t n = len - at < step ? len - at : step, skip, data;
		char *piece = malloc(n);

		memcpy(piece, in + at, n);
		said = http_chunks_next(&c, piece, n, &skip, &data);
		if (said >= 0) {
			assert(skip + data <= n && (skip + data > 0 || said == 1));
			memcpy(out + *got, piece + skip, data);
			*got += data;
			at += skip + data;
		}
		free(piece);
	}
	return said;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *one = malloc(len + 1), *two = malloc(len + 1);
	struct http_head head;
	size_t n1, n2;
	int r1, r2;

	memcpy(one, data, len);
	if (http_head_take((char *)one, len, paths, &head) == HTTP_HEAD_TAKEN) {
		assert(head.chunked || head.length > 0);
		assert(http_head_take((char *)one, len, paths, &head) == HTTP_HEAD_OTHER);
	} else {
		assert(memcmp(one, data, len) == 0);
	}
	r1 = decode(data, len, len + 1, one, &n1);
	r2 = decode(data, len, 3, two, &n2);
	assert(r1 == r2 && (r1 < 0 || (n1 == n2 && memcmp(one, two, n1) == 0)));
	free(one);
	free(two);
	return 0;
}
