/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the programs of routed reads (route.bpf.c) and of remote servers (remote.bpf.c) have in
 * common: the head of a structured reply's chunk (NBD protocol, "Structured reply chunk message"),
 * and the maps that both use. Each object has its own definition of them; the loader gives them
 * those of route.bpf.c.
 */
#ifndef WEFT_ROUTE_SHARED_BPF_H
#define WEFT_ROUTE_SHARED_BPF_H

#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "route.h"
#include "watch.h"

#define AF_INET		2
#define SOL_SOCKET	1
#define CHUNK_BYTES	20
#define DATA_HEAD_BYTES 28 /* a chunk of data: its offset is behind the chunk's head */

#define CHUNK_MAGIC	bpf_htonl(0x668e33ef)
#define CHUNK_DONE	bpf_htons(1)
#define TYPE_NONE	bpf_htons(0)
#define TYPE_DATA	bpf_htons(1)

struct chunk {
	__be32 magic;
	__be16 flags, type;
	__be64 cookie;
	__be32 len;
	__be64 offset;
} __attribute__((packed));

#define SOCKS(name, max)                                                                           \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_SOCKHASH);                                               \
		__uint(max_entries, max);                                                          \
		__type(key, __u64);                                                                \
		__type(value, __u64);                                                              \
	} name SEC(".maps")

SOCKS(clients, ROUTE_CONNS * 2);

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, ROUTE_CONNS);
	__type(key, __u32);
	__type(value, struct route_conn);
} conns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ROUTE_INFLIGHT_ALL);
	__type(key, __u64);
	__type(value, struct route_read);
} reads SEC(".maps");

/* Ports that volmgr listens on. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ROUTE_PORTS);
	__type(key, __u32);
	__type(value, __u32);
} ports SEC(".maps");

/* What was routed: of each volume and each server (watch.h). */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, ROUTE_WATCHED);
	__type(key, __u64);
	__type(value, struct watch_counts);
} watched SEC(".maps");

#endif
