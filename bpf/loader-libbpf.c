/* The programs and their maps, by libbpf. See loader.h. */
#include "config.h"

#include "bpf/loader.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>

#include "bpf/remote-load.h"
#include "bpf/route.skel.h"

#include "banned.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

#define EACH_BATCH 256 /* reads looked at in one go */

struct bpf_route {
	struct route_bpf *skel;
	struct bpf_link *sockops, *recv;
	int cgroup;
	int cpus; /* that values of counters are kept for */
	struct route_conn *conns;
	struct route_vol *vols;
	route_entry *entries;
	struct bpf_remote *remote; /* NULL: not here */
};

static int print_nothing(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return 0; /* a refusal is an answer here, not an error */
}

/* ---- opening ------------------------------------------------------------------------------- */

/* Where cgroups of version 2 are, all processes below it. */
static int cgroup_open(void)
{
	FILE *f = fopen("/proc/self/mounts", "re");
	char path[256], type[32];
	int fd = -1;

	if (f == NULL)
		return -1;
	while (fd < 0 && fscanf(f, "%*s %255s %31s %*[^\n]", path, type) == 2)
		if (strcmp(type, "cgroup2") == 0)
			fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fclose(f);
	return fd;
}

static uint64_t netns_cookie(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	if (fd < 0)
		return 0;
	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) < 0)
		cookie = 0;
	close(fd);
	return cookie;
}

/* The first number there. */
static int64_t sysctl_number(const char *path)
{
	FILE *f = fopen(path, "re");
	long long n = 0;

	if (f == NULL)
		return 0;
	if (fscanf(f, "%lld", &n) != 1)
		n = 0;
	fclose(f);
	return n;
}

static void *map_memory(struct bpf_map *map, size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	return p == MAP_FAILED ? NULL : p;
}

static bool attach_messages(struct bpf_route *b)
{
	struct route_bpf *s = b->skel;

	return bpf_prog_attach(bpf_program__fd(s->progs.weft_client), bpf_map__fd(s->maps.clients),
			       BPF_SK_MSG_VERDICT, 0) == 0 &&
	       bpf_prog_attach(bpf_program__fd(s->progs.weft_server), bpf_map__fd(s->maps.servers),
			       BPF_SK_MSG_VERDICT, 0) == 0 &&
	       bpf_prog_attach(bpf_program__fd(s->progs.weft_front), bpf_map__fd(s->maps.fronts),
			       BPF_SK_MSG_VERDICT, 0) == 0;
}

/* Loaded, with or without the program that counts what is read. */
static struct route_bpf *load(bool counting)
{
	struct route_bpf *s = route_bpf__open();

	if (s == NULL)
		return NULL;
	s->rodata->netns = netns_cookie();
	s->rodata->counting = counting;
	s->rodata->memory_low = sysctl_number("/proc/sys/net/ipv4/tcp_mem"); /* is never refused */
	s->rodata->roomy =
		sysctl_number("/proc/sys/net/core/wmem_max") >= (int64_t)ROUTE_SEND_ROOM / 2;
	bpf_program__set_autoload(s->progs.weft_recv, counting);
	if (route_bpf__load(s) == 0)
		return s;
	route_bpf__destroy(s);
	return NULL;
}

static const char *start(struct bpf_route *b)
{
	b->cpus = libbpf_num_possible_cpus();
	if (b->cpus <= 0)
		return "the number of processors is not known";
	b->cgroup = cgroup_open();
	if (b->cgroup < 0)
		return "no cgroup2 file system is mounted";
	b->skel = load(true);
	if (b->skel != NULL) {
		b->recv = bpf_program__attach(b->skel->progs.weft_recv);
		if (b->recv == NULL) {
			route_bpf__destroy(b->skel);
			b->skel = NULL;
		}
	}
	if (b->skel == NULL)
		b->skel = load(false);
	if (b->skel == NULL)
		return errno == EPERM ? "the kernel does not let this process load programs (it "
					"takes CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON)"
				      : "the kernel does not take the programs";
	b->conns = map_memory(b->skel->maps.conns, ROUTE_CONNS * sizeof(*b->conns));
	b->vols = map_memory(b->skel->maps.vols, ROUTE_VOLS * sizeof(*b->vols));
	b->entries = map_memory(b->skel->maps.entries, ROUTE_ENTRIES * sizeof(*b->entries));
	if (b->conns == NULL || b->vols == NULL || b->entries == NULL)
		return "the kernel does not let maps be mapped";
	if (!attach_messages(b))
		return "the kernel takes no programs for the messages of sockets";
	b->sockops = bpf_program__attach_cgroup(b->skel->progs.weft_sockops, b->cgroup);
	if (b->sockops == NULL)
		return "the kernel takes no program for the connections of the root cgroup";
	return NULL;
}

bool bpf_route_remote_open(struct bpf_route *b, const char **why)
{
	struct bpf_remote_maps maps = {
		.clients = bpf_map__fd(b->skel->maps.clients),
		.conns = bpf_map__fd(b->skel->maps.conns),
		.reads = bpf_map__fd(b->skel->maps.reads),
		.ports = bpf_map__fd(b->skel->maps.ports),
		.watched = bpf_map__fd(b->skel->maps.watched),
		.cgroup = b->cgroup,
		.netns = b->skel->rodata->netns,
	};

	b->remote = bpf_remote_open(&maps, why);
	if (b->remote == NULL || bpf_remote_selftest(b, why) == 0)
		return b->remote != NULL;
	bpf_remote_close(b->remote);
	b->remote = NULL;
	return false;
}

struct bpf_route *bpf_route_open(const char **why)
{
	struct bpf_route *b = calloc(1, sizeof(*b));

	libbpf_set_print(print_nothing);
	if (b == NULL) {
		*why = "out of memory";
		return NULL;
	}
	b->cgroup = -1;
	*why = start(b);
	if (*why == NULL && bpf_route_selftest(b, why) == 0)
		return b;
	bpf_route_close(b);
	return NULL;
}

void bpf_route_close(struct bpf_route *b)
{
	bpf_remote_close(b->remote);
	bpf_link__destroy(b->sockops);
	bpf_link__destroy(b->recv);
	if (b->conns != NULL)
		munmap(b->conns, ROUTE_CONNS * sizeof(*b->conns));
	if (b->vols != NULL)
		munmap(b->vols, ROUTE_VOLS * sizeof(*b->vols));
	if (b->entries != NULL)
		munmap(b->entries, ROUTE_ENTRIES * sizeof(*b->entries));
	if (b->skel != NULL)
		route_bpf__destroy(b->skel);
	if (b->cgroup >= 0)
		close(b->cgroup);
	free(b);
}

struct route_conn *bpf_route_conns(struct bpf_route *b)
{
	return b->conns;
}

struct route_vol *bpf_route_vols(struct bpf_route *b)
{
	return b->vols;
}

volatile route_entry *bpf_route_entries(struct bpf_route *b)
{
	return b->entries;
}

/* ---- sockets ------------------------------------------------------------------------------- */

int bpf_route_port(struct bpf_route *b, uint16_t port, bool on)
{
	uint32_t key = port, one = 1;
	int fd = bpf_map__fd(b->skel->maps.ports);

	return on ? bpf_map_update_elem(fd, &key, &one, BPF_ANY) : bpf_map_delete_elem(fd, &key);
}

static int address(const struct sockaddr_storage *sa, uint32_t words[4], uint16_t *port)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)sa;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;

	memset(words, 0, 4 * sizeof(words[0]));
	if (sa->ss_family == AF_INET) {
		memcpy(words, &in->sin_addr, sizeof(in->sin_addr));
		*port = ntohs(in->sin_port);
		return 0;
	}
	if (sa->ss_family != AF_INET6)
		return -EAFNOSUPPORT;
	*port = ntohs(in6->sin6_port);
	if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
		memcpy(words, &in6->sin6_addr.s6_addr[12], 4);
	else
		memcpy(words, &in6->sin6_addr, sizeof(in6->sin6_addr));
	return 0;
}

int bpf_route_tuple(int fd, struct route_tuple *t)
{
	struct sockaddr_storage ours = {0}, theirs = {0};
	socklen_t ours_len = sizeof(ours), theirs_len = sizeof(theirs);
	int err;

	if (getsockname(fd, (struct sockaddr *)&ours, &ours_len) < 0 ||
	    getpeername(fd, (struct sockaddr *)&theirs, &theirs_len) < 0)
		return -errno;
	memset(t, 0, sizeof(*t));
	err = address(&theirs, t->local, &t->local_port);
	return err != 0 ? err : address(&ours, t->remote, &t->remote_port);
}

int bpf_route_client(struct bpf_route *b, int fd, uint32_t *id, bool *roomy)
{
	struct route_tuple t;
	int err = bpf_route_tuple(fd, &t);
	uint32_t found;

	if (err != 0)
		return err;
	if (bpf_map_lookup_and_delete_elem(bpf_map__fd(b->skel->maps.tuples), &t, &found) != 0)
		return -errno;
	*id = found & ~ROUTE_ROOMY;
	*roomy = (found & ROUTE_ROOMY) != 0;
	return 0;
}

void bpf_route_leave(struct bpf_route *b, uint32_t id)
{
	uint64_t key = id;

	(void)bpf_map_delete_elem(bpf_map__fd(b->skel->maps.clients), &key);
}

bool bpf_route_roomy(const struct bpf_route *b)
{
	return b->skel->rodata->roomy;
}

/* Tell the programs what fd is, and let them see what is sent there. */
static int add_sender(struct bpf_route *b, int fd, const struct route_sock *st)
{
	uint64_t value = (uint64_t)fd, key = st->key;

	if (st->role == ROUTE_PEER)
		key |= ROUTE_PEER_KEY;
	if (bpf_map_update_elem(bpf_map__fd(b->skel->maps.socks), &fd, st, BPF_ANY) != 0 ||
	    bpf_map_update_elem(bpf_map__fd(b->skel->maps.fronts), &key, &value, BPF_ANY) != 0)
		return -errno;
	return 0;
}

int bpf_route_front(struct bpf_route *b, int fd, uint32_t id, uint32_t negotiation)
{
	struct route_sock st = {.key = id, .role = ROUTE_FRONT, .left = negotiation};

	return add_sender(b, fd, &st);
}

int bpf_route_want(struct bpf_route *b, const struct route_tuple *t, uint64_t key)
{
	return bpf_map_update_elem(bpf_map__fd(b->skel->maps.wanted), t, &key, BPF_ANY);
}

bool bpf_route_has_server(struct bpf_route *b, uint64_t key)
{
	uint64_t cookie;

	return bpf_map_lookup_elem(bpf_map__fd(b->skel->maps.servers), &key, &cookie) == 0;
}

int bpf_route_peer(struct bpf_route *b, int fd, uint64_t key)
{
	struct route_sock st = {.key = key, .role = ROUTE_PEER};

	return add_sender(b, fd, &st);
}

bool bpf_route_remote(const struct bpf_route *b)
{
	return b->remote != NULL;
}

int bpf_route_remote_pair(struct bpf_route *b, int p, int q, uint64_t number)
{
	struct route_tuple t;
	int err = bpf_route_tuple(q, &t);

	return err != 0 ? err : bpf_remote_pair(b->remote, p, q, &t, number);
}

int bpf_route_remote_add(struct bpf_route *b, int fd, const struct route_tuple *t, uint64_t key,
			 uint64_t number)
{
	return bpf_remote_add(b->remote, fd, t, key, number);
}

void bpf_route_remote_remove(struct bpf_route *b, const struct route_tuple *t)
{
	bpf_remote_remove(b->remote, t);
}

uint32_t bpf_route_remote_waiting(struct bpf_route *b, uint32_t id)
{
	return bpf_remote_waiting(b->remote, id);
}

/* ---- reads on their way -------------------------------------------------------------------- */

int bpf_route_put(struct bpf_route *b, uint64_t *cookies, struct route_read *reads, uint32_t n)
{
	int fd = bpf_map__fd(b->skel->maps.reads), err;
	uint32_t done = n;

	if (bpf_map_update_batch(fd, cookies, reads, &done, NULL) == 0 && done == n)
		return 0;
	err = errno != 0 ? -errno : -EIO;
	for (uint32_t i = 0; i < done && i < n; i++)
		(void)bpf_map_delete_elem(fd, &cookies[i]);
	return err;
}

int bpf_route_take(struct bpf_route *b, uint64_t cookie, struct route_read *read)
{
	struct route_conn *c;

	if (bpf_map_lookup_and_delete_elem(bpf_map__fd(b->skel->maps.reads), &cookie, read) != 0)
		return -errno;
	c = &b->conns[read->conn % ROUTE_CONNS];
	if (__atomic_load_n(&c->id, __ATOMIC_SEQ_CST) == read->conn)
		__atomic_sub_fetch(&c->inflight, 1, __ATOMIC_SEQ_CST);
	return 0;
}

void bpf_route_each(struct bpf_route *b,
		    void (*fn)(void *arg, uint64_t cookie, const struct route_read *read),
		    void *arg)
{
	int fd = bpf_map__fd(b->skel->maps.reads);
	static __thread uint64_t keys[EACH_BATCH];
	static __thread struct route_read reads[EACH_BATCH];
	uint32_t at, count;
	bool first = true;

	for (;;) {
		int err;

		count = EACH_BATCH;
		err = bpf_map_lookup_batch(fd, first ? NULL : &at, &at, keys, reads, &count, NULL);
		first = false;
		if (err != 0 && errno != ENOENT)
			return;
		for (uint32_t i = 0; i < count; i++)
			fn(arg, keys[i], &reads[i]);
		if (err != 0)
			return;
	}
}

/* ---- counters ------------------------------------------------------------------------------ */

void bpf_watch_begin(struct bpf_route *b, uint64_t key)
{
	void *zero = calloc((size_t)b->cpus, sizeof(struct watch_counts));

	if (zero != NULL)
		(void)bpf_map_update_elem(bpf_map__fd(b->skel->maps.watched), &key, zero,
					  BPF_NOEXIST);
	free(zero);
}

void bpf_watch_end(struct bpf_route *b, uint64_t key)
{
	(void)bpf_map_delete_elem(bpf_map__fd(b->skel->maps.watched), &key);
}

void bpf_watch_read(struct bpf_route *b, uint64_t key, struct watch_counts *sum)
{
	struct watch_counts *each = calloc((size_t)b->cpus, sizeof(*each));

	memset(sum, 0, sizeof(*sum));
	if (each != NULL &&
	    bpf_map_lookup_elem(bpf_map__fd(b->skel->maps.watched), &key, each) == 0)
		for (int cpu = 0; cpu < b->cpus; cpu++) {
			sum->bytes += each[cpu].bytes;
			sum->total_ns += each[cpu].total_ns;
			for (unsigned i = 0; i < WATCH_BUCKETS; i++)
				sum->bucket[i] += each[cpu].bucket[i];
		}
	/* not their own count: a program may be in the middle of adding */
	for (unsigned i = 0; i < WATCH_BUCKETS; i++)
		sum->count += sum->bucket[i];
	free(each);
}

/* ---- what is unread ------------------------------------------------------------------------ */

/* What the kernel charges the socket with this tuple for in its receive queue. */
static uint64_t charged(const struct route_tuple *t)
{
	struct {
		struct nlmsghdr head;
		struct inet_diag_req_v2 req;
	} ask = {
		.head = {.nlmsg_len = sizeof(ask),
			 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			 .nlmsg_flags = NLM_F_REQUEST},
		.req = {.sdiag_family = t->local[1] != 0 || t->local[3] != 0 ? AF_INET6 : AF_INET,
			.sdiag_protocol = IPPROTO_TCP,
			.idiag_ext = 1 << (INET_DIAG_SKMEMINFO - 1),
			.idiag_states = ~0u,
			.id = {.idiag_sport = htons(t->local_port),
			       .idiag_dport = htons(t->remote_port),
			       .idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}}},
	};
	char answer[2048];
	uint64_t bytes = 0;
	ssize_t n = -1;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	if (fd < 0)
		return 0;
	memcpy(ask.req.id.idiag_src, t->local, sizeof(t->local));
	memcpy(ask.req.id.idiag_dst, t->remote, sizeof(t->remote));
	if (send(fd, &ask, sizeof(ask), 0) == sizeof(ask))
		n = recv(fd, answer, sizeof(answer), 0);
	close(fd);
	for (struct nlmsghdr *h = (struct nlmsghdr *)answer; n > 0 && NLMSG_OK(h, (size_t)n);
	     h = NLMSG_NEXT(h, n)) {
		struct inet_diag_msg *m = NLMSG_DATA(h);
		struct rtattr *a = (struct rtattr *)(m + 1);
		int left = (int)h->nlmsg_len - (int)NLMSG_LENGTH(sizeof(*m));

		if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY)
			break;
		for (; RTA_OK(a, left); a = RTA_NEXT(a, left))
			if (a->rta_type == INET_DIAG_SKMEMINFO)
				bytes = ((uint32_t *)RTA_DATA(a))[SK_MEMINFO_RMEM_ALLOC];
	}
	return bytes;
}

uint64_t bpf_route_unread(struct bpf_route *b, int fd, uint32_t id)
{
	struct route_conn *c = &b->conns[id % ROUTE_CONNS];
	struct route_tuple t;

	if (b->recv != NULL) {
		uint64_t consumed = __atomic_load_n(&c->consumed, __ATOMIC_SEQ_CST);

		return __atomic_load_n(&c->delivered, __ATOMIC_SEQ_CST) - consumed;
	}
	return bpf_route_tuple(fd, &t) == 0 ? charged(&t) : 0;
}

bool bpf_route_counts(const struct bpf_route *b)
{
	return b->recv != NULL;
}
