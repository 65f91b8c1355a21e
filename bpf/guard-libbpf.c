/*
 * The guard, by libbpf; see guard.h. What the kernel and the interface can do is found out by
 * trying, from the best on: XDP as the driver has it, XDP in the kernel's own way, a link to
 * traffic control (6.6 and later), a filter there. The first three end with the process; the last
 * does not, so it opens by itself when nobody says any more that it shall live, and the next one
 * with the same port takes its place.
 */
#include "config.h"

#include "bpf/guard.h"

#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>

#include "bpf/guard.skel.h"

#include "banned.h"

#define TCX_INGRESS 46 /* of enum bpf_attach_type; the headers of Debian 12 do not know it */
#define TC_PRIORITY 0x5746
#define TC_HANDLE   0x57460000u /* the port is added */
#define NS_PER_S    1000000000ULL
#define FRAME_MAX   2048
#define DROP_BY_XDP 1 /* verdicts */
#define DROP_BY_TC  2

struct guard {
	struct guard_bpf *skel;
	enum guard_how how;
	int link; /* -1: none */
	bool filter;
	struct bpf_tc_hook hook;
	uint32_t handle;
	int cpus;
	struct guard_state state;
	struct guard_addr *members; /* that are in the map */
	unsigned nmembers;
};

static int print_nothing(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return 0; /* a refusal is an answer here, not an error */
}

/* ---- attaching ----------------------------------------------------------------------------- */

/* Do its frames begin with an Ethernet header? -1: there is no such interface. */
static int is_ethernet(const char *iface)
{
	struct ifreq r = {.ifr_flags = 0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), got = -1;

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", iface);
	if (fd < 0)
		return -1;
	if (ioctl(fd, SIOCGIFHWADDR, &r) == 0)
		got = r.ifr_hwaddr.sa_family == ARPHRD_ETHER ||
		      r.ifr_hwaddr.sa_family == ARPHRD_LOOPBACK;
	close(fd);
	return got;
}

static bool attach_xdp(struct guard *g, int ifindex)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts);
	int prog = bpf_program__fd(g->skel->progs.weft_guard_xdp);

	opts.flags = XDP_FLAGS_DRV_MODE;
	g->how = GUARD_XDP;
	g->link = bpf_link_create(prog, ifindex, BPF_XDP, &opts);
	if (g->link >= 0)
		return true;
	opts.flags = XDP_FLAGS_SKB_MODE;
	g->how = GUARD_XDP_GENERIC;
	g->link = bpf_link_create(prog, ifindex, BPF_XDP, &opts);
	return g->link >= 0;
}

static bool attach_tc(struct guard *g, int ifindex)
{
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = g->handle, .priority = TC_PRIORITY,
		    .flags = BPF_TC_F_REPLACE);
	int prog = bpf_program__fd(g->skel->progs.weft_guard_tc);

	g->how = GUARD_TC;
	g->link = bpf_link_create(prog, ifindex, (enum bpf_attach_type)TCX_INGRESS, NULL);
	if (g->link >= 0)
		return true;
	g->hook = (struct bpf_tc_hook){
		.sz = sizeof(g->hook), .ifindex = ifindex, .attach_point = BPF_TC_INGRESS};
	(void)bpf_tc_hook_create(&g->hook); /* it may be there */
	opts.prog_fd = prog;
	g->filter = bpf_tc_attach(&g->hook, &opts) == 0;
	if (g->filter)
		guard_alive(g);
	return g->filter;
}

static void detach(struct guard *g)
{
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = g->handle, .priority = TC_PRIORITY);

	if (g->link >= 0)
		close(g->link);
	if (g->filter)
		(void)bpf_tc_detach(&g->hook, &opts);
}

/* ---- opening ------------------------------------------------------------------------------- */

static int state_put(struct guard *g)
{
	uint32_t zero = 0;

	return bpf_map_update_elem(bpf_map__fd(g->skel->maps.guard_state), &zero, &g->state,
				   BPF_ANY) == 0
		       ? 0
		       : -errno;
}

static const char *start(struct guard *g, const char *iface, const struct guard_port *ports,
			 unsigned nports)
{
	int ethernet = iface != NULL ? is_ethernet(iface) : 1, ifindex;
	uint32_t one = 1;

	if (ethernet < 0)
		return "there is no such network interface";
	g->cpus = libbpf_num_possible_cpus();
	g->skel = guard_bpf__open();
	if (g->cpus <= 0 || g->skel == NULL)
		return "out of memory";
	g->skel->rodata->ethernet = ethernet;
	if (guard_bpf__load(g->skel) != 0)
		return errno == EPERM ? "the kernel does not let this process load programs (it "
					"takes CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON)"
				      : "the kernel does not take the programs";
	for (unsigned i = 0; i < nports; i++)
		if (bpf_map_update_elem(bpf_map__fd(g->skel->maps.guard_ports), &ports[i], &one,
					BPF_ANY) != 0)
			return "there are too many ports";
	if (iface == NULL)
		return NULL;
	ifindex = (int)if_nametoindex(iface);
	g->handle = TC_HANDLE + (nports > 0 ? ntohs(ports[0].port) : 0);
	if (ifindex == 0 || (!attach_xdp(g, ifindex) && !attach_tc(g, ifindex)))
		return "neither XDP nor traffic control of the interface takes the program";
	return NULL;
}

struct guard *guard_open(const char *iface, const struct guard_port *ports, unsigned nports,
			 const char **why)
{
	struct guard *g = calloc(1, sizeof(*g));

	libbpf_set_print(print_nothing);
	if (g == NULL) {
		*why = "out of memory";
		return NULL;
	}
	g->link = -1;
	*why = start(g, iface, ports, nports);
	if (*why == NULL)
		return g;
	guard_close(g);
	return NULL;
}

void guard_close(struct guard *g)
{
	detach(g);
	if (g->skel != NULL)
		guard_bpf__destroy(g->skel);
	free(g->members);
	free(g);
}

enum guard_how guard_how(const struct guard *g)
{
	return g->how;
}

/* ---- members ------------------------------------------------------------------------------- */

static bool is_in(const struct guard_addr *a, const struct guard_addr *list, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (memcmp(a, &list[i], sizeof(*a)) == 0)
			return true;
	return false;
}

/* New ones are let in before old ones are left out, and all of them before it is closed. */
int guard_members(struct guard *g, const struct guard_addr *list, unsigned n)
{
	struct guard_addr *copy = calloc(n > 0 ? n : 1, sizeof(*copy));
	int map = bpf_map__fd(g->skel->maps.guard_members);
	uint32_t one = 1;

	if (copy == NULL || n > GUARD_MEMBERS_MAX) {
		free(copy);
		return copy == NULL ? -ENOMEM : -E2BIG;
	}
	memcpy(copy, list, n * sizeof(*copy));
	/* a full map has room for new ones only when old ones are gone */
	for (unsigned i = 0; g->nmembers + n > GUARD_MEMBERS_MAX && i < g->nmembers; i++)
		if (!is_in(&g->members[i], copy, n))
			(void)bpf_map_delete_elem(map, &g->members[i]);
	for (unsigned i = 0; i < n; i++)
		if (bpf_map_update_elem(map, &copy[i], &one, BPF_ANY) != 0) {
			int err = -errno;

			free(copy);
			return err;
		}
	for (unsigned i = 0; i < g->nmembers; i++)
		if (!is_in(&g->members[i], copy, n))
			(void)bpf_map_delete_elem(map, &g->members[i]);
	free(g->members);
	g->members = copy;
	g->nmembers = n;
	g->state.closed = 1;
	return state_put(g);
}

void guard_alive(struct guard *g)
{
	struct timespec t;

	if (!g->filter)
		return;
	clock_gettime(CLOCK_MONOTONIC, &t);
	g->state.until_ns = ((uint64_t)t.tv_sec + GUARD_ALIVE_S) * NS_PER_S + (uint64_t)t.tv_nsec;
	(void)state_put(g);
}

/* ---- looking ------------------------------------------------------------------------------- */

void guard_counts(const struct guard *g, uint64_t sum[GUARD_COUNTS])
{
	uint64_t *each = calloc((size_t)g->cpus, sizeof(*each));

	for (uint32_t which = 0; each != NULL && which < GUARD_COUNTS; which++)
		if (bpf_map_lookup_elem(bpf_map__fd(g->skel->maps.guard_counts), &which, each) == 0)
			for (int cpu = 0; cpu < g->cpus; cpu++)
				sum[which] += each[cpu];
	free(each);
}

int guard_try(struct guard *g, bool xdp, const void *frame, size_t len)
{
	char out[FRAME_MAX];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (uint32_t)len,
		    .data_out = out, .data_size_out = sizeof(out), .repeat = 1);
	int prog =
		bpf_program__fd(xdp ? g->skel->progs.weft_guard_xdp : g->skel->progs.weft_guard_tc);

	if (len > sizeof(out))
		return -E2BIG;
	if (bpf_prog_test_run_opts(prog, &opts) != 0)
		return -errno;
	return opts.retval != (xdp ? DROP_BY_XDP : DROP_BY_TC);
}
