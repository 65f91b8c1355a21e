/*
 * The cluster's secret: WEFT_SECRET_BYTES random bytes, as 64 hexadecimal digits and a newline in a
 * file of mode 0600. Made by "volctl cluster init".
 */
#ifndef WEFT_SECRET_H
#define WEFT_SECRET_H

#include <stdint.h>

#include "nbd/weft.h"

/* 0 or -errno with a sentence in *why (missing, others may read it, malformed). */
int secret_load(const char *path, uint8_t secret[WEFT_SECRET_BYTES], const char **why);
/* -EEXIST when the file is there. */
int secret_create(const char *path, const char **why);
/* First 16 bytes of SHA-256("weft-cluster" | secret): names the cluster, gives nothing away. */
void secret_cluster(const uint8_t secret[WEFT_SECRET_BYTES], uint8_t cluster[WEFT_UUID_BYTES]);

#endif
