/* See gzip.h. */
#include "config.h"

#include <stdlib.h>
#include <zlib.h>

#include "gzip.h"
#include "banned.h"

#define GZIP_WINDOW (15 + 16) /* 16: a gzip header, not zlib's */
#define GZIP_MEMORY 9

void *gzip_pack(const void *data, size_t len, size_t *out_len)
{
	z_stream z = {0};
	void *out;

	if (deflateInit2(&z, Z_BEST_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY,
			 Z_DEFAULT_STRATEGY) != Z_OK)
		return NULL;
	z.avail_out = (uInt)deflateBound(&z, len);
	out = malloc(z.avail_out);
	z.next_in = (Bytef *)data;
	z.avail_in = (uInt)len;
	z.next_out = out;
	if (out == NULL || deflate(&z, Z_FINISH) != Z_STREAM_END) {
		free(out);
		out = NULL;
	}
	*out_len = z.total_out;
	deflateEnd(&z);
	return out;
}
