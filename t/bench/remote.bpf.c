// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * t/bench/remote: the programs. A client's READ goes out of the gateway's connection to a server on
 * another machine, and the server's reply into the client's queue. Nothing is rewritten, as there
 * is one server and one client of it; what a real route would have to look up and count is done.
 */
#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define AF_INET	      2
#define SOL_SOCKET    1
#define SO_RCVBUF     8
#define REQUEST_BYTES 28
#define CHUNK_BYTES   20
#define CONNS	      64

#define SOCKS(name)                                                                                \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_SOCKHASH);                                               \
		__uint(max_entries, CONNS);                                                        \
		__type(key, __u32);                                                                \
		__type(value, __u64);                                                              \
	} name SEC(".maps")
#define NUMBERS(name)                                                                              \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_HASH);                                                   \
		__uint(max_entries, CONNS);                                                        \
		__type(key, __u32);                                                                \
		__type(value, __u32);                                                              \
	} name SEC(".maps")

/* All by the client's port. */
SOCKS(clients);	 /* their ends */
SOCKS(remotes);	 /* the gateway's connections to the server */
NUMBERS(opened); /* requests may go past the gateway */
NUMBERS(owners); /* the client's port, by that of the connection to the server */

struct read {
	__u64 cookie, offset, start_ns, server;
	__u32 len, conn;
	__u64 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, struct read);
} reads SEC(".maps");

const volatile __u32 port;   /* of the gateway */
const volatile __u32 rcvbuf; /* of clients; 0: as it is */

__u64 requests, replies, odd, total_ns;

struct request {
	__be32 magic;
	__be16 flags, type;
	__u64 cookie;
	__be64 offset;
	__be32 len;
} __attribute__((packed));

struct chunk {
	__be32 magic;
	__be16 flags, type;
	__u64 cookie;
	__be32 len;
} __attribute__((packed));

/* The kernel's; where its members lie there is found when we are loaded. */
struct strp_msg {
	int full_len, offset;
};
struct sk_skb_cb {
	struct strp_msg strp;
} __attribute__((preserve_access_index));
struct sk_buff {
	char cb[48];
} __attribute__((preserve_access_index));

extern void *bpf_cast_to_kern_ctx(void *) __ksym; /* kernels from 6.2 on */

SEC("sockops")
int bench_sockops(struct bpf_sock_ops *s)
{
	__u32 key = s->local_port;
	int room = (int)rcvbuf;

	if (s->op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB || s->family != AF_INET ||
	    bpf_ntohl(s->remote_port) != port)
		return 1;
	if (room != 0)
		bpf_setsockopt(s, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	bpf_sock_hash_update(s, &clients, &key, BPF_ANY);
	return 1;
}

SEC("sk_msg")
int bench_client(struct sk_msg_md *msg)
{
	__u32 key = msg->local_port;
	struct request *r = msg->data;
	struct read read = {};
	__u64 cookie;

	if (bpf_map_lookup_elem(&opened, &key) == 0)
		return SK_PASS;
	if ((void *)(r + 1) > msg->data_end || msg->size != REQUEST_BYTES ||
	    r->magic != bpf_htonl(0x25609513) || r->type != 0)
		return SK_PASS;
	read.cookie = cookie = r->cookie;
	read.offset = r->offset;
	read.len = r->len;
	read.conn = key;
	read.start_ns = bpf_ktime_get_ns();
	bpf_map_update_elem(&reads, &cookie, &read, BPF_ANY);
	__sync_fetch_and_add(&requests, 1);
	return bpf_msg_redirect_hash(msg, &remotes, &key, 0);
}

/* Where the message begins in its skb: programs see the skb from its start. */
static __always_inline int message_at(struct __sk_buff *skb)
{
	const char *kernel = bpf_cast_to_kern_ctx(skb);
	__u32 at = __builtin_preserve_field_info(((struct sk_buff *)0)->cb, 0) +
		   __builtin_preserve_field_info(((struct sk_skb_cb *)0)->strp, 0) +
		   __builtin_offsetof(struct strp_msg, offset);
	int offset = 0;

	bpf_probe_read_kernel(&offset, sizeof(offset), kernel + at);
	return offset;
}

SEC("sk_skb/stream_parser")
int bench_parse(struct __sk_buff *skb)
{
	struct chunk c;
	int at = message_at(skb);

	if (bpf_skb_load_bytes(skb, at, &c, sizeof(c)) != 0)
		return 0; /* more is to come */
	if (c.magic == bpf_htonl(0x668e33ef))
		return CHUNK_BYTES + bpf_ntohl(c.len);
	__sync_fetch_and_add(&odd, 1);
	return skb->len - at;
}

SEC("sk_skb/stream_verdict")
int bench_reply(struct __sk_buff *skb)
{
	__u32 ours = skb->local_port, *owner = bpf_map_lookup_elem(&owners, &ours), key;
	struct chunk c;
	struct read *read;
	__u64 cookie;

	if (owner == 0)
		return SK_PASS;
	key = *owner;
	if (bpf_skb_load_bytes(skb, message_at(skb), &c, sizeof(c)) == 0) {
		cookie = c.cookie;
		read = bpf_map_lookup_elem(&reads, &cookie);
		if (read != 0) {
			__sync_fetch_and_add(&total_ns, bpf_ktime_get_ns() - read->start_ns);
			bpf_map_delete_elem(&reads, &cookie);
		}
	}
	__sync_fetch_and_add(&replies, 1);
	return bpf_sk_redirect_hash(skb, &clients, &key, BPF_F_INGRESS);
}
