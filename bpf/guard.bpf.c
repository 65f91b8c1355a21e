// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The guard's programs; see guard.h. Both look at the first bytes of a frame and decide alike:
 *
 *   weft_guard_xdp  at the driver, or where the kernel runs XDP for drivers without it
 *   weft_guard_tc   at the entry of traffic control
 *
 * Everything that is not TCP for one of the ports passes, what cannot be understood too: the
 * kernel's own code, which knows more, throws it away. Only a sender whose chain of IPv6 headers is
 * too long to be followed must be a member, or anybody could hide behind it. Of a packet in
 * fragments the first is looked at, as it has the ports; the others are nothing without it.
 */
#include <stdbool.h>

#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "guard.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define ETHER_TYPE	12 /* after the two addresses */
#define TYPE_IP4	bpf_htons(0x0800)
#define TYPE_IP6	bpf_htons(0x86dd)
#define TYPE_VLAN	bpf_htons(0x8100)
#define TYPE_VLAN_OUTER bpf_htons(0x88a8)
#define VLAN_BYTES	4
#define VLANS_MAX	2

#define FRAGMENT_PLACE	bpf_htons(0x1fff)
#define FRAGMENT6_PLACE bpf_htons(0xfff8)
#define CHAIN_MAX	8 /* extension headers of IPv6 */

#define NEXT_HOP	0
#define NEXT_TCP	6
#define NEXT_ROUTING	43
#define NEXT_FRAGMENT	44
#define NEXT_AUTH	51
#define NEXT_OPTIONS	60
#define NEXT_MOBILITY	135
#define NEXT_HIP	139
#define NEXT_SHIM	140

#define TC_NEXT		(-1)
#define TC_DROP		2

struct ip4 {
	__u8 version_words, tos;
	__be16 len, id, fragment;
	__u8 ttl, next;
	__be16 sum;
	__u8 from[4], to[4];
} __attribute__((packed));

struct ip6 {
	__u8 version, flow[3];
	__be16 len;
	__u8 next, hops;
	struct guard_addr from, to;
} __attribute__((packed));

struct ip6_more {
	__u8 next, len;
	__be16 place; /* of a fragment */
} __attribute__((packed));

/* What a packet is, as far as it matters. */
struct packet {
	struct guard_addr from;
	struct guard_port to;
	bool endless; /* the chain of headers was not followed to its end */
};

/* ---- maps ---------------------------------------------------------------------------------- */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GUARD_PORTS_MAX);
	__type(key, struct guard_port);
	__type(value, __u32);
} guard_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GUARD_MEMBERS_MAX);
	__type(key, struct guard_addr);
	__type(value, __u32);
} guard_members SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, GUARD_COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} guard_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct guard_state);
} guard_state SEC(".maps");

const volatile bool ethernet; /* frames of the interface begin with an Ethernet header */

/* ---- what a packet is ---------------------------------------------------------------------- */

/* Bytes of the frame; false: it has not so many. */
static __always_inline bool get(void *ctx, bool xdp, __u32 at, void *to, __u32 len)
{
	return (xdp ? bpf_xdp_load_bytes(ctx, at, to, len)
		    : bpf_skb_load_bytes(ctx, at, to, len)) == 0;
}

static __always_inline void addr_from_ip4(struct guard_addr *a, const __u8 from[4])
{
	a->byte[10] = a->byte[11] = 0xff;
	a->byte[12] = from[0];
	a->byte[13] = from[1];
	a->byte[14] = from[2];
	a->byte[15] = from[3];
}

static __always_inline bool get_port(void *ctx, bool xdp, __u32 at, struct packet *p)
{
	__be16 ports[2];

	if (!get(ctx, xdp, at, ports, sizeof(ports)))
		return false;
	p->to.port = ports[1];
	return true;
}

static __always_inline bool parse_ip4(void *ctx, bool xdp, __u32 at, struct packet *p)
{
	__u32 bytes;
	struct ip4 h;

	if (!get(ctx, xdp, at, &h, sizeof(h)))
		return false;
	bytes = (h.version_words & 15) * 4;
	if (h.version_words >> 4 != 4 || bytes < sizeof(h) || h.next != NEXT_TCP ||
	    (h.fragment & FRAGMENT_PLACE) != 0)
		return false;
	addr_from_ip4(&p->from, h.from);
	addr_from_ip4(&p->to.addr, h.to);
	return get_port(ctx, xdp, at + bytes, p);
}

static __always_inline bool parse_ip6(void *ctx, bool xdp, __u32 at, struct packet *p)
{
	struct ip6_more more;
	struct ip6 h;
	__u8 next;

	if (!get(ctx, xdp, at, &h, sizeof(h)) || h.version >> 4 != 6)
		return false;
	p->from = h.from;
	p->to.addr = h.to;
	at += sizeof(h);
	next = h.next;
	for (int i = 0; i < CHAIN_MAX; i++) {
		if (next == NEXT_TCP)
			return get_port(ctx, xdp, at, p);
		if (next != NEXT_HOP && next != NEXT_ROUTING && next != NEXT_FRAGMENT &&
		    next != NEXT_AUTH && next != NEXT_OPTIONS && next != NEXT_MOBILITY &&
		    next != NEXT_HIP && next != NEXT_SHIM)
			return false;
		if (!get(ctx, xdp, at, &more, sizeof(more)))
			return false;
		if (next == NEXT_FRAGMENT && (more.place & FRAGMENT6_PLACE) != 0)
			return false;
		at += next == NEXT_FRAGMENT ? 8
		      : next == NEXT_AUTH   ? (more.len + 2) * 4
					    : (more.len + 1) * 8;
		next = more.next;
	}
	p->endless = next != NEXT_TCP || !get_port(ctx, xdp, at, p);
	return true;
}

/* False: it is none of ours. l3: frames have no Ethernet header, and this is in them. */
static __always_inline bool parse(void *ctx, bool xdp, struct packet *p)
{
	__u32 at = 0;
	__be16 type;
	__u8 first;

	if (!ethernet) {
		if (!get(ctx, xdp, 0, &first, sizeof(first)))
			return false;
		type = first >> 4 == 4 ? TYPE_IP4 : first >> 4 == 6 ? TYPE_IP6 : 0;
	} else {
		at = ETHER_TYPE + sizeof(type);
		if (!get(ctx, xdp, ETHER_TYPE, &type, sizeof(type)))
			return false;
		for (int i = 0; i < VLANS_MAX; i++) {
			if (type != TYPE_VLAN && type != TYPE_VLAN_OUTER)
				break;
			if (!get(ctx, xdp, at + VLAN_BYTES - sizeof(type), &type, sizeof(type)))
				return false;
			at += VLAN_BYTES;
		}
	}
	if (type == TYPE_IP4)
		return parse_ip4(ctx, xdp, at, p);
	if (type == TYPE_IP6)
		return parse_ip6(ctx, xdp, at, p);
	return false;
}

/* ---- what becomes of it -------------------------------------------------------------------- */

static __always_inline bool is_ours(struct packet *p)
{
	struct guard_port any = {.port = p->to.port};

	return p->endless || bpf_map_lookup_elem(&guard_ports, &any) != NULL ||
	       bpf_map_lookup_elem(&guard_ports, &p->to) != NULL;
}

static __always_inline bool is_open(void)
{
	__u32 zero = 0;
	struct guard_state *s = bpf_map_lookup_elem(&guard_state, &zero);

	if (s == NULL || !*(volatile __u32 *)&s->closed)
		return true;
	return s->until_ns != 0 && bpf_ktime_get_ns() > s->until_ns;
}

static __always_inline bool may_pass(void *ctx, bool xdp)
{
	struct packet p = {};
	__u64 *count;
	__u32 which;
	bool pass;

	if (!parse(ctx, xdp, &p) || !is_ours(&p))
		return true;
	pass = is_open() || bpf_map_lookup_elem(&guard_members, &p.from) != NULL;
	which = pass ? GUARD_PASSED : GUARD_DROPPED;
	count = bpf_map_lookup_elem(&guard_counts, &which);
	if (count != NULL)
		(*count)++;
	return pass;
}

SEC("xdp.frags")
int weft_guard_xdp(struct xdp_md *ctx)
{
	return may_pass(ctx, true) ? XDP_PASS : XDP_DROP;
}

SEC("tc")
int weft_guard_tc(struct __sk_buff *ctx)
{
	return may_pass(ctx, false) ? TC_NEXT : TC_DROP;
}
