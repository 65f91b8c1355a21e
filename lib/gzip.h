/* Compression of what is served often. gzip.c alone knows zlib. */
#ifndef WEFT_GZIP_H
#define WEFT_GZIP_H

#include <stddef.h>

/* malloc'd, in gzip's format; NULL: out of memory. */
void *gzip_pack(const void *data, size_t len, size_t *out_len);

#endif
