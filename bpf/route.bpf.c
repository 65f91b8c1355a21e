// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Routed reads: the programs. What they do together is told in route.h, which is to be read first.
 *
 *   weft_sockops  sees connections begin: takes C and S into the maps
 *   weft_client   what a client sends on C: to volmgr (by TCP, or a large WRITE into V's queue), or
 *                 a READ to a server's S
 *   weft_server   what a server sends on S: a reply to its client's C, or to volmgr (by TCP)
 *   weft_front    what volmgr sends on V and R: to C and S
 *   weft_recv     counts what clients have read
 *
 * A program never drops what it does not understand: it passes it on to volmgr, who will say so.
 */
#include <stdbool.h>

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "route-find.h"
#include "route-shared.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define AF_INET6      10
#define SO_SNDBUF     7
#define ID_TRIES      4

#define REQUEST_BYTES 28
#define SIMPLE_BYTES  16
#define POP_BYTES     (DATA_HEAD_BYTES - SIMPLE_BYTES)

#define REQUEST_MAGIC bpf_htonl(0x25609513)
#define SIMPLE_MAGIC  bpf_htonl(0x67446698)
#define CMD_READ      0
#define CMD_WRITE     1
#define CMD_LAST      7
#define FLAG_DF	      bpf_htons(4)
#define TYPE_ERROR    bpf_htons(0x8001)

struct request {
	__be32 magic;
	__be16 flags, type;
	__be64 cookie, offset;
	__be32 len;
} __attribute__((packed));

struct simple {
	__be32 magic, error;
	__be64 cookie;
} __attribute__((packed));

/* What we look at in the kernel's own structs; where it lies there is found when we are loaded. */
struct tcp_sock {
	__u32 write_seq, copied_seq;
} __attribute__((preserve_access_index));
struct pages { /* the kernel's has no name; it is one number */
	__s64 counter;
};
struct proto {
	struct pages *memory_allocated;
	long *sysctl_mem;
} __attribute__((preserve_access_index));
struct mem_cgroup {
	bool tcpmem_active;
} __attribute__((preserve_access_index));
struct sock_common {
	struct proto *skc_prot;
} __attribute__((preserve_access_index));
struct sock {
	struct sock_common __sk_common;
	struct {
		struct {
			int counter;
		} rmem_alloc;
	} sk_backlog;
	struct mem_cgroup *sk_memcg;
} __attribute__((preserve_access_index));
struct sk_psock;
struct msghdr;

/* ---- maps ---------------------------------------------------------------------------------- */

SOCKS(servers, ROUTE_SERVERS);
SOCKS(fronts, ROUTE_CONNS * 2 + ROUTE_SERVERS);

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct route_sock);
} socks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, ROUTE_VOLS);
	__type(key, __u32);
	__type(value, struct route_vol);
} vols SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, ROUTE_ENTRIES);
	__type(key, __u32);
	__type(value, route_entry);
} entries SEC(".maps");

/* C's that volmgr has not met yet, by their own view: their id, and ROUTE_ROOMY. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, ROUTE_TUPLES);
	__type(key, struct route_tuple);
	__type(value, __u32);
} tuples SEC(".maps");

/* S's that volmgr is about to make, by their view: the server's key. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, ROUTE_TUPLES);
	__type(key, struct route_tuple);
	__type(value, __u64);
} wanted SEC(".maps");

const volatile __s64 memory_low; /* pages of all of TCP, below which it always gets memory */
const volatile __u64 netns;	 /* volmgr's */
const volatile bool counting;	 /* weft_recv is there */
const volatile bool roomy;	 /* sockets may have ROUTE_SEND_ROOM */
__u32 next_id = 1;

/* ---- connections begin --------------------------------------------------------------------- */

static __always_inline void tuple_of(struct bpf_sock_ops *s, struct route_tuple *t)
{
	if (s->family == AF_INET) {
		t->local[0] = s->local_ip4;
		t->remote[0] = s->remote_ip4;
	} else if (s->local_ip6[0] == 0 && s->local_ip6[1] == 0 &&
		   s->local_ip6[2] == bpf_htonl(0xffff)) { /* IPv4 on a socket of IPv6 */
		t->local[0] = s->local_ip6[3];
		t->remote[0] = s->remote_ip6[3];
	} else {
		t->local[0] = s->local_ip6[0];
		t->local[1] = s->local_ip6[1];
		t->local[2] = s->local_ip6[2];
		t->local[3] = s->local_ip6[3];
		t->remote[0] = s->remote_ip6[0];
		t->remote[1] = s->remote_ip6[1];
		t->remote[2] = s->remote_ip6[2];
		t->remote[3] = s->remote_ip6[3];
	}
	t->local_port = (__u16)s->local_port;
	t->remote_port = (__u16)bpf_ntohl(s->remote_port);
}

static __always_inline bool is_local(const struct route_tuple *t)
{
	if (t->local[1] == 0 && (bpf_ntohl(t->local[0]) >> 24) == 127)
		return (bpf_ntohl(t->remote[0]) >> 24) == 127;
	return t->local[0] == t->remote[0] && t->local[1] == t->remote[1] &&
	       t->local[2] == t->remote[2] && t->local[3] == t->remote[3];
}

/* ROUTE_ROOMY, when what it sends never waits for room. */
static __always_inline __u32 room_of(struct bpf_sock_ops *s)
{
	int room = ROUTE_SEND_ROOM / 2; /* the kernel doubles it */

	if (roomy)
		bpf_setsockopt(s, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	if (bpf_getsockopt(s, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)) != 0)
		return 0;
	return (__u32)room >= ROUTE_SEND_ROOM ? ROUTE_ROOMY : 0;
}

/*
 * Is its memory limited by a memory cgroup of the first version? Then it can be refused any time,
 * in the middle of a message too, and what others send comes in between.
 */
static __always_inline bool limited(struct bpf_sock *sk)
{
	struct tcp_sock *tp = (struct tcp_sock *)bpf_skc_to_tcp_sock(sk);
	struct mem_cgroup *m;

	if (tp == NULL)
		return true;
	if (!bpf_core_field_exists(struct sock, sk_memcg) ||
	    !bpf_core_field_exists(struct mem_cgroup, tcpmem_active))
		return false;
	m = ((struct sock *)tp)->sk_memcg;
	return m != NULL && m->tcpmem_active;
}

/* Ids begin anew after 2^31, so one may still be a client's: that is passed over. 0: none. */
static __always_inline __u32 client_add(struct bpf_sock_ops *s)
{
	for (int i = 0; i < ID_TRIES; i++) {
		__u32 id = __sync_fetch_and_add(&next_id, 1) & (ROUTE_MARK_ID - 1);
		__u64 key = id;

		if (id != 0 && bpf_sock_hash_update(s, &clients, &key, BPF_NOEXIST) == 0)
			return id;
	}
	return 0;
}

static __always_inline void client_begins(struct bpf_sock_ops *s, struct route_tuple *t)
{
	struct route_sock zero = {}, *st;
	struct bpf_sock *sk = s->sk;
	__u32 id, claim;

	if (sk == NULL || limited(sk))
		return;
	zero.role = ROUTE_CLIENT;
	zero.tx_base = s->snd_nxt;
	zero.rx_base = s->rcv_nxt;
	st = bpf_sk_storage_get(&socks, sk, &zero, BPF_SK_STORAGE_GET_F_CREATE);
	if (st == NULL)
		return;
	id = client_add(s);
	if (id == 0)
		return;
	st->key = id;
	claim = id | room_of(s);
	bpf_map_update_elem(&tuples, t, &claim, BPF_ANY);
}

static __always_inline void server_begins(struct bpf_sock_ops *s, struct route_tuple *t)
{
	__u64 *found = bpf_map_lookup_elem(&wanted, t), key;
	struct route_sock zero = {}, *st;
	struct bpf_sock *sk = s->sk;

	if (found == NULL || sk == NULL || limited(sk))
		return;
	zero.key = key = *found;
	zero.role = ROUTE_SERVER;
	st = bpf_sk_storage_get(&socks, sk, &zero, BPF_SK_STORAGE_GET_F_CREATE);
	if (st == NULL)
		return;
	if (bpf_sock_hash_update(s, &servers, &key, BPF_ANY) == 0)
		bpf_map_delete_elem(&wanted, t);
}

SEC("sockops")
int weft_sockops(struct bpf_sock_ops *s)
{
	struct route_tuple t = {};
	__u32 port;

	if (s->op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB &&
	    s->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		return 1;
	if (s->family != AF_INET && s->family != AF_INET6)
		return 1;
	if (bpf_get_netns_cookie(s) != netns) /* another one may have the same addresses */
		return 1;
	tuple_of(s, &t);
	if (s->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB) {
		server_begins(s, &t);
		return 1;
	}
	port = t.remote_port;
	if (bpf_map_lookup_elem(&ports, &port) == NULL || !is_local(&t))
		return 1;
	client_begins(s, &t);
	return 1;
}

/* ---- small things -------------------------------------------------------------------------- */

static __always_inline struct route_conn *conn_find(__u32 id)
{
	__u32 at = id & (ROUTE_CONNS - 1);
	struct route_conn *c = bpf_map_lookup_elem(&conns, &at);

	return c != NULL && id != 0 && c->id == id ? c : NULL;
}

#define load(x) (*(volatile typeof(x) *)&(x))

/* The message's first bytes, in one piece that may be written; NULL: it has not so many. */
static __always_inline void *head(struct sk_msg_md *msg, __u32 bytes)
{
	void *p = msg->data, *end = msg->data_end;

	if (p + bytes <= end)
		return p;
	if (msg->size < bytes || bpf_msg_pull_data(msg, 0, bytes, 0) != 0)
		return NULL;
	p = msg->data;
	end = msg->data_end;
	return p + bytes <= end ? p : NULL;
}

/* ---- what a client sends ------------------------------------------------------------------- */

/* C's queue takes redirected bytes from now on, if nothing by TCP is before them. */
static __always_inline void switch_over(struct route_conn *c, const struct route_sock *st,
					const struct tcp_sock *tp)
{
	if (load(c->reply) == ROUTE_FRESH && tp->copied_seq - st->rx_base == load(c->tcp_sent))
		__sync_val_compare_and_swap(&c->reply, ROUTE_FRESH, ROUTE_REDIRECTED);
}

/* Bytes in C's queue. Kernels that do not let us count what is read charge them to the socket. */
static __always_inline __u64 unread(const struct route_conn *c, const struct tcp_sock *tp)
{
	if (counting)
		return load(c->delivered) - load(c->consumed);
	return (__u64)((const struct sock *)tp)->sk_backlog.rmem_alloc.counter;
}

/* Without memory a reply could get into a queue in part, and the rest later. */
static __always_inline bool short_of_memory(const struct tcp_sock *tp)
{
	const struct sock *sk = (const struct sock *)tp;
	__s64 low = memory_low;

	if (low == 0) /* a network namespace has no tcp_mem of its own to read it from */
		bpf_probe_read_kernel(&low, sizeof(low), sk->__sk_common.skc_prot->sysctl_mem);
	return sk->__sk_common.skc_prot->memory_allocated->counter > low;
}

/* Does a request begin with the next byte that is sent? */
static __always_inline bool at_boundary(struct route_sock *st, struct route_conn *c, __u32 at)
{
	if (load(c->received) == at)
		st->doubtful = 0;
	if (st->next_known && st->next == at)
		return true;
	if (load(c->boundary) == at)
		return true;
	if ((__s32)(at - st->next) > 0)
		st->next_known = 0;
	return false;
}

/* Where the read goes: the key of the server's connection and the offset to ask for; 0: volmgr. */
static __always_inline __u64 route_find(struct route_vol *v, __u64 offset, __u32 len, __u64 *to)
{
	struct route_spot spot = {};
	route_entry *e, seen;
	__u64 key;

	if (!load(v->open) || !route_spot_find(v->k, v->unit_shift & 31, v->first, v->extents,
					       v->size, offset, len, &spot))
		return 0;
	e = bpf_map_lookup_elem(&entries, &spot.entry);
	if (e == NULL)
		return 0;
	seen = load(*e);
	if (!(seen & ROUTE_ENTRY_VALID))
		return 0;
	key = load(v->gate[ROUTE_ENTRY_GATE(seen)]);
	if (key == 0 || load(*e) != seen) /* the gate was open before the entry was right */
		return 0;
	*to = route_offset(seen, spot.at);
	return key;
}

/* True: the message has been rewritten and redirected. */
static __always_inline bool route_read(struct sk_msg_md *msg, struct route_conn *c, __u32 id,
				       const struct request *r, const struct tcp_sock *tp)
{
	struct route_read read = {};
	__u32 at = c->volume, len = bpf_ntohl(r->len);
	__u64 offset = bpf_be64_to_cpu(r->offset), to = 0, key, cookie;
	struct route_vol *v = bpf_map_lookup_elem(&vols, &at);
	struct request *w;

	if (v == NULL || load(c->reply) != ROUTE_REDIRECTED || !load(c->open) ||
	    load(c->inflight) >= ROUTE_INFLIGHT || unread(c, tp) > ROUTE_UNREAD_MAX ||
	    short_of_memory(tp))
		return false;
	if (r->flags != 0 && !(c->structured && r->flags == FLAG_DF))
		return false;
	key = route_find(v, offset, len, &to);
	if (key == 0)
		return false;
	cookie = (__u64)id << 32 | (c->seq & (ROUTE_STEERED - 1));
	read.cookie = r->cookie;
	read.offset = offset;
	read.start_ns = bpf_ktime_get_ns();
	read.server = key;
	read.len = len;
	read.conn = id;
	read.flags = bpf_ntohs(r->flags);
	__sync_fetch_and_add(&c->inflight, 1);
	/* after it was counted: volmgr closes the route, then looks at the count */
	if (!load(c->open) || bpf_map_update_elem(&reads, &cookie, &read, BPF_NOEXIST) != 0) {
		__sync_fetch_and_add(&c->inflight, -1);
		return false;
	}
	if (bpf_msg_redirect_hash(msg, &servers, &key, BPF_F_INGRESS) != SK_PASS) {
		if (bpf_map_delete_elem(&reads, &cookie) == 0)
			__sync_fetch_and_add(&c->inflight, -1);
		return false;
	}
	w = msg->data;
	if ((void *)(w + 1) > msg->data_end) /* it was there a moment ago */
		return false;
	w->flags = FLAG_DF;
	w->cookie = bpf_cpu_to_be64(cookie);
	w->offset = bpf_cpu_to_be64(to);
	c->seq++;
	return true;
}

/* To volmgr, by TCP, if it is not to be put into V's queue, or cannot be. */
static __always_inline int to_front(struct sk_msg_md *msg, struct route_sock *st,
				    struct route_conn *c, __u32 at, const struct tcp_sock *tp,
				    bool queueing)
{
	__u64 key = st->key;

	st->queueing = 0;
	if (!queueing || at - load(c->received) >= load(c->queue) || short_of_memory(tp))
		return SK_PASS;
	if (bpf_msg_redirect_hash(msg, &fronts, &key, BPF_F_INGRESS) != SK_PASS)
		return SK_PASS;
	st->queueing = st->doubtful = 1;
	c->queued += msg->size;
	return SK_PASS;
}

/* More of a WRITE. Small messages take more memory than they have bytes. */
static __always_inline bool is_piece(const struct sk_msg_md *msg, const struct route_sock *st,
				     __u32 at)
{
	return st->queueing && st->next_known &&
	       (msg->size >= ROUTE_PIECE_MIN || at + msg->size == st->next);
}

SEC("sk_msg")
int weft_client(struct sk_msg_md *msg)
{
	struct bpf_sock *sk = msg->sk;
	struct route_sock *st;
	struct route_conn *c;
	struct tcp_sock *tp;
	struct request *r;
	bool large = false;
	__u32 at, id;

	if (sk == NULL)
		return SK_PASS;
	st = bpf_sk_storage_get(&socks, sk, 0, 0);
	if (st == NULL)
		return SK_PASS;
	id = (__u32)st->key;
	c = conn_find(id);
	tp = (struct tcp_sock *)bpf_skc_to_tcp_sock(sk);
	if (c == NULL || tp == NULL)
		return SK_PASS;
	switch_over(c, st, tp);
	at = tp->write_seq - st->tx_base + load(c->queued);
	if (!at_boundary(st, c, at))
		return to_front(msg, st, c, at, tp, is_piece(msg, st, at));
	st->next_known = 0;
	r = head(msg, REQUEST_BYTES);
	if (r == NULL || r->magic != REQUEST_MAGIC)
		return to_front(msg, st, c, at, tp, false);
	if (r->type == bpf_htons(CMD_READ) && msg->size == REQUEST_BYTES && !st->doubtful &&
	    route_read(msg, c, id, r, tp)) {
		st->next = at;
		st->next_known = 1;
		return SK_PASS;
	}
	r = head(msg, REQUEST_BYTES);
	if (r == NULL || bpf_ntohs(r->type) > CMD_LAST)
		return to_front(msg, st, c, at, tp, false);
	st->next = at + REQUEST_BYTES;
	if (r->type == bpf_htons(CMD_WRITE)) {
		st->next += bpf_ntohl(r->len);
		large = bpf_ntohl(r->len) >= ROUTE_LARGE;
	}
	st->next_known = 1;
	return to_front(msg, st, c, at, tp, large && (st->queueing || load(c->received) == at));
}

/* ---- what a server answers ----------------------------------------------------------------- */

/* A routed read is answered. volmgr counts the READs that it steers. */
static __always_inline void count_read(const struct route_read *read, __u32 volume, __u64 ns)
{
	__u64 key = WATCH_VOLUME(volume);
	struct watch_counts *w = bpf_map_lookup_elem(&watched, &key);

	if (w != NULL && !read->steered)
		watch_add(w, read->len, ns);
	key = WATCH_SERVER(ROUTE_KEY_SERVER(read->server));
	w = bpf_map_lookup_elem(&watched, &key);
	if (w != NULL)
		watch_add(w, read->len, ns);
}

/* The reply that we redirected last did not get there: the server sends it again, or an error. */
static __always_inline void undo_last(struct route_sock *st, __u64 cookie)
{
	struct route_conn *c;

	if (cookie == 0 || st->last_cookie != cookie)
		return;
	st->last_cookie = 0;
	c = conn_find(st->last.conn);
	if (c != NULL && bpf_map_update_elem(&reads, &cookie, &st->last, BPF_NOEXIST) == 0)
		__sync_fetch_and_add(&c->inflight, 1);
}

/*
 * To volmgr's end of the connection; of a reply that is not whole yet, the rest too. By redirect,
 * as a message that was redirected in part cannot be passed on: the kernel keeps the socket, and
 * the bytes that a verdict is for, with the message.
 */
static __always_inline int to_volmgr(struct sk_msg_md *msg, struct route_sock *st, __u64 whole)
{
	__u64 key = st->key | ROUTE_PEER_KEY;

	if (whole > msg->size) {
		st->left = (__u32)(whole - msg->size);
		whole = msg->size;
	}
	bpf_msg_apply_bytes(msg, (__u32)whole);
	return bpf_msg_redirect_hash(msg, &fronts, &key, BPF_F_INGRESS);
}

static __always_inline int give_back(struct sk_msg_md *msg, struct route_sock *st,
				     struct route_conn *c)
{
	struct chunk *w;
	struct simple *p;

	if (c->structured) {
		w = msg->data;
		if ((void *)(w + 1) > msg->data_end)
			return SK_DROP;
		w->cookie = st->last.cookie;
		w->offset = bpf_cpu_to_be64(st->last.offset);
	} else {
		if (bpf_msg_pop_data(msg, 0, POP_BYTES, 0) != 0)
			return SK_DROP; /* the server will answer with an error, see undo_last() */
		p = head(msg, SIMPLE_BYTES);
		if (p == NULL)
			return SK_DROP;
		p->magic = SIMPLE_MAGIC;
		p->error = 0;
		p->cookie = st->last.cookie;
	}
	return SK_PASS;
}

/* Of several at once one counts, which does no harm. */
static __always_inline void took(struct route_conn *c, __u64 ns)
{
	__u64 usual = load(c->usual_ns);

	c->usual_ns = usual - usual / ROUTE_USUAL_PART + ns / ROUTE_USUAL_PART;
}

SEC("sk_msg")
int weft_server(struct sk_msg_md *msg)
{
	struct bpf_sock *sk = msg->sk;
	struct route_read *read;
	struct route_sock *st;
	struct route_conn *c;
	struct chunk *r;
	__u64 cookie, key, whole, ns;

	if (sk == NULL)
		return SK_PASS;
	st = bpf_sk_storage_get(&socks, sk, 0, 0);
	if (st == NULL)
		return SK_PASS;
	if (st->left > 0) {
		whole = st->left;
		st->left = 0;
		return to_volmgr(msg, st, whole);
	}
	r = head(msg, CHUNK_BYTES);
	/* the negotiation, or what is left of a reply that failed when it had been changed */
	if (r == NULL || r->magic != CHUNK_MAGIC) {
		undo_last(st, st->last_cookie);
		return SK_PASS;
	}
	cookie = bpf_be64_to_cpu(r->cookie);
	whole = CHUNK_BYTES + (__u64)bpf_ntohl(r->len);
	if (r->type == TYPE_DATA || r->type == TYPE_ERROR)
		undo_last(st, cookie);
	if (r->type != TYPE_DATA)
		return to_volmgr(msg, st, whole);
	r = head(msg, DATA_HEAD_BYTES);
	read = bpf_map_lookup_elem(&reads, &cookie);
	if (r == NULL || read == NULL || r->flags != (read->steered ? 0 : CHUNK_DONE) ||
	    whole > msg->size || whole != (__u64)read->len + DATA_HEAD_BYTES)
		return to_volmgr(msg, st, whole);
	st->last = *read;
	c = conn_find(st->last.conn);
	key = st->last.conn;
	if (c == NULL || bpf_map_delete_elem(&reads, &cookie) != 0)
		return to_volmgr(msg, st, whole); /* volmgr serves it */
	if (bpf_msg_redirect_hash(msg, &clients, &key, BPF_F_INGRESS) != SK_PASS)
		return to_volmgr(msg, st, whole);
	st->last_cookie = cookie;
	if (give_back(msg, st, c) != SK_PASS)
		return SK_DROP;
	if (!c->structured)
		whole -= POP_BYTES;
	bpf_msg_apply_bytes(msg, (__u32)whole);
	ns = bpf_ktime_get_ns() - st->last.start_ns;
	count_read(&st->last, c->volume, ns);
	took(c, ns);
	__sync_fetch_and_add(&c->delivered, whole);
	__sync_fetch_and_add(&c->inflight, -1);
	return SK_PASS;
}

/* ---- what volmgr sends --------------------------------------------------------------------- */

SEC("sk_msg")
int weft_front(struct sk_msg_md *msg)
{
	struct bpf_sock *sk = msg->sk;
	struct route_sock *st;
	struct route_conn *c;
	__u64 key;

	if (sk == NULL)
		return SK_PASS;
	st = bpf_sk_storage_get(&socks, sk, 0, 0);
	if (st == NULL)
		return SK_PASS;
	key = st->key;
	if (st->role == ROUTE_PEER)
		return bpf_msg_redirect_hash(msg, &servers, &key, BPF_F_INGRESS);
	c = conn_find((__u32)key);
	if (c == NULL)
		return SK_PASS;
	if (st->left > 0) { /* the last bytes of the negotiation */
		st->left -= msg->size < st->left ? msg->size : st->left;
		return SK_PASS;
	}
	__sync_val_compare_and_swap(&c->reply, ROUTE_FRESH, ROUTE_BY_TCP);
	if (load(c->reply) != ROUTE_REDIRECTED)
		return SK_PASS;
	if (bpf_msg_redirect_hash(msg, &clients, &key, BPF_F_INGRESS) != SK_PASS)
		return SK_PASS; /* it is gone */
	__sync_fetch_and_add(&c->delivered, msg->size);
	return SK_PASS;
}

/* ---- what clients have read ---------------------------------------------------------------- */

#define MSG_PEEK 2

SEC("?fexit/sk_msg_recvmsg")
int BPF_PROG(weft_recv, struct sock *sk, struct sk_psock *psock, struct msghdr *m, int len,
	     int flags, int ret)
{
	struct route_sock *st;
	struct route_conn *c;

	if (ret <= 0 || (flags & MSG_PEEK) || sk == NULL)
		return 0;
	st = bpf_sk_storage_get(&socks, sk, 0, 0);
	if (st == NULL || st->role != ROUTE_CLIENT)
		return 0;
	c = conn_find((__u32)st->key);
	if (c != NULL)
		__sync_fetch_and_add(&c->consumed, ret);
	return 0;
}
