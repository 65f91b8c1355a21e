/* CRC32C by ISA-L, which picks the fastest way that the processor has. */
#include "config.h"

#include "crc32c.h"

#include <assert.h>
#include <limits.h>

#include <isa-l/crc.h>

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
	assert(len <= INT_MAX);
	/* the library leaves the conditioning at both ends to the caller, and reads only */
	return ~crc32_iscsi((unsigned char *)(uintptr_t)data, (int)len, ~crc);
}
