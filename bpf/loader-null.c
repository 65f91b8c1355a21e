/* No eBPF: built with --disable-bpf. See loader.h. */
#include "config.h"

#include "bpf/loader.h"

bool bpf_loader_possible(const char **why)
{
	*why = "built without it";
	return false;
}
