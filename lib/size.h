/*
 * Sizes as people write and read them. Binary always: 1K is 1024 bytes.
 */
#ifndef WEFT_SIZE_H
#define WEFT_SIZE_H

#include <stdint.h>

#define SIZE_TEXT_MAX 32

/*
 * "4096", "512M", "10G", "1.5T", "10GiB"; suffixes K M G T P E, with or without "iB", either case.
 * A size with a fraction is rounded down to a multiple of 4096, so that "1.1G" is a size that a
 * volume can have. 0, or -EINVAL or -ERANGE with a sentence in *why.
 */
int size_parse(const char *text, uint64_t *bytes, const char **why);
/* "0 B", "4 KiB", "1.5 GiB": at most one decimal. buf of SIZE_TEXT_MAX. Returns buf. */
char *size_format(uint64_t bytes, char *buf);

#endif
