/* No eBPF: built without it. Nothing ever opens, so nothing else is ever called. See guard.h. */
#include "config.h"

#include "bpf/guard.h"

#include <errno.h>

#include "banned.h"

struct guard *guard_open(const char *iface, const struct guard_port *ports, unsigned nports,
			 const char **why)
{
	*why = "built without eBPF";
	return NULL;
}

void guard_close(struct guard *g)
{
}

enum guard_how guard_how(const struct guard *g)
{
	return GUARD_OFF;
}

int guard_members(struct guard *g, const struct guard_addr *list, unsigned n)
{
	return -ENOSYS;
}

void guard_alive(struct guard *g)
{
}

void guard_counts(const struct guard *g, uint64_t sum[GUARD_COUNTS])
{
}

int guard_try(struct guard *g, bool xdp, const void *frame, size_t len)
{
	return -ENOSYS;
}
