/*
 * eBPF on this machine. Reads are not routed past volmgr yet; what is here tells whether they could
 * be, by trying what routing needs and never by the kernel's version: a sockhash, sk_msg and
 * sockops programs, and the kernel's type information (BTF).
 *
 * loader-libbpf.c does it with libbpf, loader-null.c is for builds with --disable-bpf.
 * Threads: any.
 */
#ifndef WEFT_BPF_LOADER_H
#define WEFT_BPF_LOADER_H

#include <stdbool.h>

/* *why: a sentence without a full stop, static, also when the answer is yes. Probes once, then
 * remembers. */
bool bpf_loader_possible(const char **why);

#endif
