/* What of eBPF works here, found out by libbpf. See loader.h. */
#include "config.h"

#include "bpf/loader.h"

#include <pthread.h>
#include <stddef.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#define BTF_PATH "/sys/kernel/btf/vmlinux"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool possible;
static const char *reason;

static int print_nothing(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return 0; /* a refusal is an answer here, not an error */
}

static void probe(void)
{
	libbpf_set_print(print_nothing);
	if (libbpf_probe_bpf_map_type(BPF_MAP_TYPE_SOCKHASH, NULL) != 1)
		reason = "the kernel gives this process no sockhash (it takes CAP_BPF and "
			 "CAP_NET_ADMIN)";
	else if (libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_SK_MSG, NULL) != 1 ||
		 libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_SOCK_OPS, NULL) != 1)
		reason = "the kernel takes no sk_msg or sockops programs from this process";
	else if (access(BTF_PATH, R_OK) < 0)
		reason = "the kernel has no type information (" BTF_PATH ")";
	else
		possible = true;
	if (possible)
		reason = "this machine could, but this version routes all reads through volmgr";
}

bool bpf_loader_possible(const char **why)
{
	pthread_once(&once, probe);
	*why = reason;
	return possible;
}
