// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Steered reads of servers on other machines: the programs. See remote.h; the maps are those of
 * route.bpf.c.
 *
 *   weft_remote_parse  where a reply on volmgr's connection to such a server ends
 *   weft_remote_reply  what comes there: bytes to the client's C, the rest to volmgr
 *   weft_remote_room   gives C a receive buffer that holds what may be under way
 */
#include <stdbool.h>

#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "remote.h"
#include "route-shared.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define SO_RCVBUF      8
#define REDIRECT_FLAGS 7UL /* in a pointer */
#define PIECES_MAX     18  /* of one message in a queue (NR_MSG_FRAG_IDS) */
#define PACKETS_MAX    16

/* The kernel's; where its members lie there is found when we are loaded. */
struct strp_msg {
	int full_len, offset;
};
struct sk_skb_cb {
	struct strp_msg strp;
} __attribute__((preserve_access_index));
struct sk_buff {
	struct sk_buff *next;
	char cb[48];
	unsigned long _sk_redir;
	unsigned int end;
	unsigned char *head;
} __attribute__((preserve_access_index));
struct skb_shared_info {
	__u8 nr_frags;
	struct sk_buff *frag_list;
} __attribute__((preserve_access_index));
struct sk_buff_head {
	__u32 qlen;
} __attribute__((preserve_access_index));
struct sk_psock {
	struct sk_buff_head ingress_skb;
} __attribute__((preserve_access_index));
struct sock {
	void *sk_user_data;
} __attribute__((preserve_access_index));

extern void *bpf_cast_to_kern_ctx(void *) __ksym; /* kernels from 6.2 on */

/* ---- maps ---------------------------------------------------------------------------------- */

SOCKS(remotes, ROUTE_SERVERS); /* volmgr's ends of connections to servers, and Q's */
SOCKS(notes, REMOTE_NOTES);    /* P's, by number */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ROUTE_SERVERS);
	__type(key, struct route_tuple);
	__type(value, struct remote_owner);
} owners SEC(".maps"); /* of a connection to a server, as the server sees it */

/* Clients that were sent something, and where the kernel keeps their sockets. */
struct place {
	__u32 id, pad;
	__u64 sock;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ROUTE_CONNS);
	__type(key, __u32);
	__type(value, struct place);
} places SEC(".maps");

const volatile __u64 netns; /* volmgr's */

/* ---- a client's receive buffer ------------------------------------------------------------- */

static __always_inline bool is_local(struct bpf_sock_ops *s)
{
	if (s->family == AF_INET)
		return s->local_ip4 == s->remote_ip4 ||
		       ((s->local_ip4 & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000) &&
			(s->remote_ip4 & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000));
	return s->local_ip6[0] == s->remote_ip6[0] && s->local_ip6[1] == s->remote_ip6[1] &&
	       s->local_ip6[2] == s->remote_ip6[2] && s->local_ip6[3] == s->remote_ip6[3];
}

SEC("sockops")
int weft_remote_room(struct bpf_sock_ops *s)
{
	int room = REMOTE_RECV_ROOM / 2; /* the kernel doubles it */
	__u32 port;

	if (s->op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
		return 1;
	port = bpf_ntohl(s->remote_port);
	if (bpf_map_lookup_elem(&ports, &port) == NULL || bpf_get_netns_cookie(s) != netns ||
	    !is_local(s))
		return 1;
	bpf_setsockopt(s, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	return 1;
}

/* ---- replies ------------------------------------------------------------------------------- */

/* Where the message begins in its skb: programs see the skb from its start. */
static __always_inline __u32 message_at(struct __sk_buff *skb)
{
	const char *kernel = bpf_cast_to_kern_ctx(skb);
	__u32 at = __builtin_preserve_field_info(((struct sk_buff *)0)->cb, 0) +
		   __builtin_preserve_field_info(((struct sk_skb_cb *)0)->strp, 0) +
		   __builtin_offsetof(struct strp_msg, offset);
	__u32 offset = 0;

	bpf_probe_read_kernel(&offset, sizeof(offset), kernel + at);
	return offset;
}

/* What is no reply, or larger than any that was asked for, ends the connection. */
SEC("sk_skb/stream_parser")
int weft_remote_parse(struct __sk_buff *skb)
{
	struct chunk c;
	__u32 len;

	if (bpf_skb_load_bytes(skb, message_at(skb), &c, CHUNK_BYTES) != 0)
		return 0; /* more is to come */
	len = bpf_ntohl(c.len);
	if (c.magic != CHUNK_MAGIC || len > ROUTE_READ_MAX + DATA_HEAD_BYTES - CHUNK_BYTES)
		return -71; /* EPROTO */
	return (int)(CHUNK_BYTES + len);
}

static __always_inline struct route_conn *conn_find(__u32 id)
{
	__u32 at = id & (ROUTE_CONNS - 1);
	struct route_conn *c = bpf_map_lookup_elem(&conns, &at);

	return c != NULL && id != 0 && c->id == id ? c : NULL;
}

static __always_inline void count(const struct route_read *read, struct route_conn *c)
{
	__u64 ns = bpf_ktime_get_ns() - read->start_ns, usual = *(volatile __u64 *)&c->usual_ns;
	__u64 key = WATCH_SERVER(ROUTE_KEY_SERVER(read->server));
	struct watch_counts *w = bpf_map_lookup_elem(&watched, &key);

	if (w != NULL)
		watch_add(w, read->len, ns);
	c->usual_ns = usual - usual / ROUTE_USUAL_PART + ns / ROUTE_USUAL_PART;
}

/* The kernel has just been told where the message goes. */
static __always_inline void place_note(struct __sk_buff *skb, __u32 id)
{
	const struct sk_buff *kernel = bpf_cast_to_kern_ctx(skb);
	__u32 at = id & (ROUTE_CONNS - 1);
	struct place *p = bpf_map_lookup_elem(&places, &at);
	unsigned long to = 0;

	if (p == NULL)
		return;
	bpf_core_read(&to, sizeof(to), &kernel->_sk_redir);
	to &= ~REDIRECT_FLAGS;
	if (p->id == id && p->sock == to)
		return;
	p->sock = to;
	p->id = id;
}

/* Of the connection that the message came on. */
static __always_inline struct remote_owner *owner_find(struct __sk_buff *skb)
{
	struct route_tuple t = {};

	if (skb->family == AF_INET) {
		t.local[0] = skb->remote_ip4;
		t.remote[0] = skb->local_ip4;
	} else if (skb->remote_ip6[0] == 0 && skb->remote_ip6[1] == 0 &&
		   skb->remote_ip6[2] == bpf_htonl(0xffff)) { /* IPv4 on a socket of IPv6 */
		t.local[0] = skb->remote_ip6[3];
		t.remote[0] = skb->local_ip6[3];
	} else {
		t.local[0] = skb->remote_ip6[0];
		t.local[1] = skb->remote_ip6[1];
		t.local[2] = skb->remote_ip6[2];
		t.local[3] = skb->remote_ip6[3];
		t.remote[0] = skb->local_ip6[0];
		t.remote[1] = skb->local_ip6[1];
		t.remote[2] = skb->local_ip6[2];
		t.remote[3] = skb->local_ip6[3];
	}
	t.local_port = (__u16)bpf_ntohl(skb->remote_port);
	t.remote_port = (__u16)skb->local_port;
	return bpf_map_lookup_elem(&owners, &t);
}

/* What is not for a client, none of it large. Never SK_PASS: the kernel then loses count of what
 * this socket has received, and waits for bytes that it has. */
static __always_inline int to_volmgr(struct __sk_buff *skb, struct remote_owner *o)
{
	__u64 note = o->note;

	return bpf_sk_redirect_hash(skb, &notes, &note, BPF_F_INGRESS);
}

/*
 * What is in more pieces than a message may have the kernel copies into one, later, and tries that
 * for ever when it has not so much memory in a row: nothing behind it would come either. So we do
 * it. False: there is no memory. The pieces are those of all its packets, at most as many are its
 * own.
 */
static __always_inline bool make_few_pieces(struct __sk_buff *skb, __u32 bytes)
{
	const struct sk_buff *packet = bpf_cast_to_kern_ctx(skb);
	__u32 n = 0;

	for (int i = 0; i < PACKETS_MAX && packet != NULL && n <= PIECES_MAX; i++) {
		const struct skb_shared_info *info;
		unsigned char *head = NULL;
		unsigned int end = 0;
		__u8 frags = 0;

		bpf_core_read(&head, sizeof(head), &packet->head);
		bpf_core_read(&end, sizeof(end), &packet->end);
		info = (const struct skb_shared_info *)(head + end);
		bpf_core_read(&frags, sizeof(frags), &info->nr_frags);
		n += 1 + frags;
		if (i == 0)
			bpf_core_read(&packet, sizeof(packet), &info->frag_list);
		else
			bpf_core_read(&packet, sizeof(packet), &packet->next);
	}
	return (n <= PIECES_MAX && packet == NULL) || bpf_skb_pull_data(skb, bytes) == 0;
}

/* With this head to the client; whoever takes the read out of the table answers it. */
static __always_inline int to_client(struct __sk_buff *skb, struct remote_owner *o, __u32 at,
				     struct chunk *h, __u32 head, __u64 cookie,
				     const struct route_read *seen, __u32 whole)
{
	struct route_read read = *seen;
	struct route_conn *c = conn_find(read.conn);
	__u64 key = read.conn;

	h->cookie = read.cookie;
	if (!make_few_pieces(skb, at + whole) || bpf_skb_store_bytes(skb, at, h, head, 0) != 0)
		return head == CHUNK_BYTES ? to_volmgr(skb, o) /* it sends the end again */
					   : SK_DROP;	       /* it reads this when it is late */
	if (bpf_map_delete_elem(&reads, &cookie) != 0 || c == NULL)
		return SK_DROP; /* volmgr has; or there is nobody any more */
	if (bpf_sk_redirect_hash(skb, &clients, &key, BPF_F_INGRESS) != SK_PASS) {
		__sync_fetch_and_add(&c->inflight, -1);
		return SK_DROP; /* it is gone */
	}
	place_note(skb, read.conn);
	if (head == DATA_HEAD_BYTES)
		count(&read, c);
	/* volmgr looks at what is on its way first, then at these */
	__sync_fetch_and_add(&c->delivered, whole);
	__sync_fetch_and_add(&c->inflight, -1);
	return SK_PASS;
}

SEC("sk_skb/stream_verdict")
int weft_remote_reply(struct __sk_buff *skb)
{
	struct remote_owner *o = owner_find(skb);
	__u32 at = message_at(skb);
	struct route_read *read;
	struct chunk h = {};
	__u64 cookie;

	if (o == NULL || bpf_skb_load_bytes(skb, at, &h, CHUNK_BYTES) != 0)
		return SK_DROP;
	cookie = bpf_be64_to_cpu(h.cookie);
	if (h.type == TYPE_NONE && (h.flags & bpf_htons(REMOTE_END)) != 0) {
		read = bpf_map_lookup_elem(&reads, &cookie);
		if (read == NULL || read->server != o->key || read->steered != ROUTE_STEER_END)
			return SK_DROP;
		h.flags = CHUNK_DONE;
		return to_client(skb, o, at, &h, CHUNK_BYTES, cookie, read, CHUNK_BYTES);
	}
	read = bpf_map_lookup_elem(&reads, &cookie);
	if (h.type == TYPE_NONE && read != NULL && read->server == o->key)
		return SK_DROP; /* the server's word for bytes that were dropped */
	if (h.type != TYPE_DATA)
		return to_volmgr(skb, o);
	/* It came too late. So late perhaps that another read has the cookie, but none of this
	 * connection: nothing is asked for there while it owes an answer. What is wrong with it
	 * besides makes it late. */
	if (read == NULL || read->server != o->key || h.flags != 0 ||
	    bpf_ntohl(h.len) != read->len + DATA_HEAD_BYTES - CHUNK_BYTES ||
	    (read->steered != ROUTE_STEER_PART && read->steered != ROUTE_STEER_ONLY))
		return SK_DROP;
	h.flags = read->steered == ROUTE_STEER_ONLY ? CHUNK_DONE : 0;
	h.offset = bpf_cpu_to_be64(read->offset);
	return to_client(skb, o, at, &h, DATA_HEAD_BYTES, cookie, read,
			 DATA_HEAD_BYTES + read->len);
}

/* ---- for volmgr ---------------------------------------------------------------------------- */

/* How many messages are in a client's list, not yet in its queue. One that is gone has none. */
SEC("syscall")
int weft_remote_list(struct remote_list *a)
{
	__u32 at = a->id & (ROUTE_CONNS - 1);
	struct place *p = bpf_map_lookup_elem(&places, &at);
	const struct sock *sk;
	const struct sk_psock *psock;
	void *user = NULL;
	__u32 n = 0;

	if (p != NULL && p->id == a->id) {
		sk = (const struct sock *)p->sock;
		bpf_core_read(&user, sizeof(user), &sk->sk_user_data);
		psock = (const struct sk_psock *)((unsigned long)user & ~REDIRECT_FLAGS);
		if (psock != NULL)
			bpf_core_read(&n, sizeof(n), &psock->ingress_skb.qlen);
	}
	a->waiting = n;
	return 0;
}
