/*
 * Copying to and from a shared mapping of a file. When the file cannot give a page (no space left,
 * an I/O error, it was made shorter), the kernel sends SIGBUS; here that becomes a result.
 *
 * Any thread. The first copy installs a handler for SIGBUS; signals from elsewhere still kill, with
 * a word to standard error why.
 */
#ifndef WEFT_GUARD_H
#define WEFT_GUARD_H

#include <stdbool.h>
#include <stddef.h>

/* Install it before the first copy: for who uses a mapping without. */
void guard_begin(void);

/* False: a page could not be had; bytes before it may have been copied. */
bool guard_copy(void *dst, const void *src, size_t len);

#endif
