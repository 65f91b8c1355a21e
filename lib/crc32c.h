/*
 * CRC32C (Castagnoli, RFC 3720 appendix B.4), as iSCSI, ext4 and NVMe use it. crc starts at 0;
 * the result can be given back to go on. Any thread.
 */
#ifndef WEFT_CRC32C_H
#define WEFT_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *data, size_t len);

#endif
