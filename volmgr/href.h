/* Paths of files as tagger has them: any bytes, percent-encoded where they travel. Pure. */
#ifndef WEFT_HREF_H
#define WEFT_HREF_H

#include <stddef.h>

/* malloc'd. */
char *href_encode(const char *path);
/* malloc'd; NULL: no memory, or a NUL in it. */
char *href_decode(const char *href);
/* For people: what is not UTF-8 stays percent-encoded. malloc'd. */
char *href_text(const char *href);

#endif
