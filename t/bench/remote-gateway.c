/*
 * t/bench/remote: a gateway between clients and one NBD server on another machine, in three ways:
 *
 *   copy     it copies every byte, and looks at none: no gateway can do less in user space
 *   replies  it passes requests on; replies go past it, by sk_skb
 *   both     requests go past it, too, by sk_msg
 *
 * Negotiation is always copied. A benchmark, not a part of weft; weft-ebpf(7) says what came of it.
 *
 *   remote-gateway MODE SERVER-IP SERVER-PORT RCVBUF CGROUP2-FOLDER
 *
 * "port=N" on standard output says where it listens, on the loopback. It ends when its standard
 * input does.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "t/bench/remote.skel.h"

#include "banned.h"

#define BUFFER_BYTES  (1u << 20)
#define LINGER_MS     1000 /* a client keeps its connection when the server's is over */
#define REQUEST_BYTES 28
#define NEEDED(what)                                                                               \
	do {                                                                                       \
		if (!(what))                                                                       \
			fail(#what);                                                               \
	} while (0)

static struct remote_bpf *skel; /* NULL: copy */
static bool requests_too;
static struct sockaddr_in server;

static _Noreturn void fail(const char *what)
{
	perror(what);
	exit(1);
}

static bool send_all(int fd, const char *p, ssize_t left)
{
	while (left > 0) {
		ssize_t n = send(fd, p, (size_t)left, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		p += n;
		left -= n;
	}
	return true;
}

static uint32_t port_of(int fd, int (*name)(int, struct sockaddr *, socklen_t *))
{
	struct sockaddr_in at = {0};
	socklen_t len = sizeof(at);

	NEEDED(name(fd, (struct sockaddr *)&at, &len) == 0);
	return ntohs(at.sin_port);
}

/* The negotiation is over: from now on the programs look at both connections. */
static void route_open(int client, int remote)
{
	uint32_t key = port_of(client, getpeername), ours = port_of(remote, getsockname), one = 1;
	uint64_t fd = (uint64_t)remote;

	NEEDED(bpf_map_update_elem(bpf_map__fd(skel->maps.owners), &ours, &key, BPF_ANY) == 0);
	NEEDED(bpf_map_update_elem(bpf_map__fd(skel->maps.remotes), &key, &fd, BPF_ANY) == 0);
	if (requests_too)
		NEEDED(bpf_map_update_elem(bpf_map__fd(skel->maps.opened), &key, &one, BPF_ANY) ==
		       0);
}

/* Returns when one of both is over. */
static void copy(int client, int remote, char *buf)
{
	static const unsigned char magic[] = {0x25, 0x60, 0x95, 0x13};
	bool routed = false;

	for (;;) {
		struct pollfd p[2] = {{.fd = client, .events = POLLIN},
				      {.fd = remote, .events = routed ? POLLRDHUP : POLLIN}};
		ssize_t n;

		(void)poll(p, 2, -1);
		if (routed && p[1].revents != 0)
			return;
		n = p[1].revents == 0 ? 1 : recv(remote, buf, BUFFER_BYTES, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN) ||
		    (p[1].revents != 0 && !send_all(client, buf, n)))
			return;
		if (p[0].revents == 0)
			continue;
		n = recv(client, buf, BUFFER_BYTES, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN))
			return;
		if (skel != NULL && !routed && n >= REQUEST_BYTES &&
		    memcmp(buf, magic, sizeof(magic)) == 0) {
			route_open(client, remote);
			routed = true;
		}
		if (n > 0 && !send_all(remote, buf, n))
			return;
	}
}

static void *serve(void *arg)
{
	int client = *(int *)arg, remote = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	uint32_t key = port_of(client, getpeername);
	char *buf = malloc(BUFFER_BYTES);

	free(arg);
	NEEDED(buf != NULL && remote >= 0);
	setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(remote, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(remote, (struct sockaddr *)&server, sizeof(server)) == 0)
		copy(client, remote, buf);
	if (skel != NULL) { /* as volmgr would: at once, and the client goes on */
		(void)bpf_map_delete_elem(bpf_map__fd(skel->maps.opened), &key);
		(void)poll(NULL, 0, LINGER_MS);
	}
	close(client);
	close(remote);
	free(buf);
	return NULL;
}

static void load(uint32_t port, uint32_t rcvbuf, const char *folder)
{
	int cgroup = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	skel = remote_bpf__open();
	NEEDED(skel != NULL && cgroup >= 0);
	skel->rodata->port = port;
	skel->rodata->rcvbuf = rcvbuf;
	NEEDED(remote_bpf__load(skel) == 0);
	NEEDED(bpf_prog_attach(bpf_program__fd(skel->progs.bench_client),
			       bpf_map__fd(skel->maps.clients), BPF_SK_MSG_VERDICT, 0) == 0);
	NEEDED(bpf_prog_attach(bpf_program__fd(skel->progs.bench_parse),
			       bpf_map__fd(skel->maps.remotes), BPF_SK_SKB_STREAM_PARSER, 0) == 0);
	NEEDED(bpf_prog_attach(bpf_program__fd(skel->progs.bench_reply),
			       bpf_map__fd(skel->maps.remotes), BPF_SK_SKB_STREAM_VERDICT, 0) == 0);
	NEEDED(bpf_program__attach_cgroup(skel->progs.bench_sockops, cgroup) != NULL);
}

static void *end_with_input(void *arg)
{
	char c;

	while (read(STDIN_FILENO, &c, 1) > 0)
		continue;
	if (skel != NULL)
		fprintf(stderr,
			"%llu requests and %llu replies went past, %llu odd ones; %.1f us\n",
			(unsigned long long)skel->bss->requests,
			(unsigned long long)skel->bss->replies, (unsigned long long)skel->bss->odd,
			(double)skel->bss->total_ns / 1e3 /
				(double)(skel->bss->requests > 0 ? skel->bss->requests : 1));
	exit(0);
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pthread_t thread;

	if (argc != 6 || inet_pton(AF_INET, argv[2], &server.sin_addr) != 1) {
		fprintf(stderr, "usage: remote-gateway copy|replies|both IP PORT RCVBUF CGROUP2\n");
		return 2;
	}
	server.sin_family = AF_INET;
	server.sin_port = htons((uint16_t)strtoul(argv[3], NULL, 10));
	NEEDED(bind(listener, (struct sockaddr *)&at, sizeof(at)) == 0);
	NEEDED(listen(listener, 8) == 0);
	requests_too = strcmp(argv[1], "both") == 0;
	if (strcmp(argv[1], "copy") != 0)
		load(port_of(listener, getsockname), (uint32_t)strtoul(argv[4], NULL, 10), argv[5]);
	NEEDED(pthread_create(&thread, NULL, end_with_input, NULL) == 0);
	printf("port=%u\n", port_of(listener, getsockname));
	fflush(stdout);
	for (;;) {
		int *fd = malloc(sizeof(*fd));

		NEEDED(fd != NULL);
		*fd = accept(listener, NULL, NULL);
		NEEDED(*fd >= 0 && pthread_create(&thread, NULL, serve, fd) == 0);
		pthread_detach(thread);
	}
}
