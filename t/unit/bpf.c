/* Programs in the kernel: they load, and their own trial passes. As root, where the kernel has what
 * it takes; elsewhere the reason is told and nothing is left behind. */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf/loader.h"

#include "tap.h"

#define TIMES 3

int main(void)
{
	const char *why = NULL;

	for (int i = 0; i < TIMES; i++) {
		struct bpf_route *b = bpf_route_open(&why);

		if (b == NULL) {
			diag("%s", why);
			ok(why != NULL && strlen(why) > 0, "without eBPF there is a reason");
			continue;
		}
		ok(1, "the programs load and pass their own trial");
		bpf_route_close(b);
	}
	if (getenv("WEFT_NEED_BPF") != NULL)
		ok(why == NULL, "they have to here");
	return done_testing();
}
