/* Programs in the kernel: they load, and their own trial passes. As root, where the kernel has what
 * it takes; elsewhere the reason is told and nothing is left behind. Then a client that sends all
 * the time while the server's end of its route is closed, again and again: its sends must not fail
 * as long as somebody else has that end, too. */
#include "config.h"

#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bpf/loader.h"
#include "nbd/proto.h"
#include "volmgr/route-pair.h"

#include "tap.h"

#define TIMES  3
#define ENDS   400 /* servers that end */
#define VOLUME 0u
#define READ   4096u

__attribute__((format(printf, 1, 2), noreturn)) static void give_up(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc(0x0a, stderr);
	exit(2);
}

struct client {
	struct bpf_route *b;
	struct route_conn *conn;
	struct route_vol *vol;
	int c, v;
	uint32_t id;
	bool stop;
	int error; /* of a send */
	uint64_t sends;
};

static int listen_here(struct sockaddr_in *at)
{
	socklen_t len = sizeof(*at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*at = (struct sockaddr_in){.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (fd < 0 || bind(fd, (struct sockaddr *)at, sizeof(*at)) < 0 || listen(fd, 4) < 0 ||
	    getsockname(fd, (struct sockaddr *)at, &len) < 0)
		give_up("no socket: %s", strerror(errno));
	return fd;
}

/* A client of a volume of one extent with one data shard. */
static void client_open(struct client *c)
{
	struct sockaddr_in at;
	int listener = listen_here(&at);
	bool roomy;

	if (bpf_route_port(c->b, ntohs(at.sin_port), true) != 0)
		give_up("no port");
	c->c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->c < 0 || connect(c->c, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    (c->v = accept(listener, NULL, NULL)) < 0)
		give_up("no connection: %s", strerror(errno));
	close(listener);
	if (bpf_route_client(c->b, c->v, &c->id, &roomy) != 0)
		give_up("the client was not seen");
	c->conn = &bpf_route_conns(c->b)[c->id % ROUTE_CONNS];
	c->vol = &bpf_route_vols(c->b)[VOLUME];
	*c->vol = (struct route_vol){.k = 1, .unit_shift = 16, .extents = 1, .size = 1 << 22};
	bpf_route_entries(c->b)[0] = ROUTE_ENTRY(0, 1, 1);
	c->vol->open = 1;
	*c->conn = (struct route_conn){.volume = VOLUME, .open = 1};
	if (bpf_route_front(c->b, c->v, c->id, 0) != 0)
		give_up("our end was not taken");
	__atomic_store_n(&c->conn->id, c->id, __ATOMIC_SEQ_CST);
}

static void *client_sends(void *arg)
{
	struct client *c = arg;
	struct nbd_request_wire w = {.magic = htobe32(NBD_REQUEST_MAGIC),
				     .type = htobe16(NBD_CMD_READ),
				     .len = htobe32(READ)};
	char drain[65536];

	while (!__atomic_load_n(&c->stop, __ATOMIC_SEQ_CST)) {
		if (send(c->c, &w, sizeof(w), MSG_NOSIGNAL) != sizeof(w)) {
			c->error = errno;
			break;
		}
		c->sends++;
		/* nobody answers: as if all had been */
		__atomic_store_n(&c->conn->inflight, 0, __ATOMIC_SEQ_CST);
		while (recv(c->v, drain, sizeof(drain), MSG_DONTWAIT) > 0)
			;
	}
	return NULL;
}

static void forget(void *arg, uint64_t cookie, const struct route_read *read)
{
	struct route_read taken;

	(void)bpf_route_take(arg, cookie, &taken);
}

/* Sends until one fails, while servers end; kept: each has another owner. Returns that error. */
static int servers_end(struct bpf_route *b, bool kept)
{
	struct client c = {.b = b};
	int pairs[ENDS][2];
	pthread_t thread;

	client_open(&c);
	if (pthread_create(&thread, NULL, client_sends, &c) != 0)
		give_up("no thread");
	for (uint64_t i = 0; i < ENDS; i++) {
		uint64_t key = (uint64_t)(kept + 1) << 32 | (i + 1), before;
		int err = route_pair_make(b, key, pairs[i]), other;

		if (err != 0 || !bpf_route_has_server(b, key))
			give_up("no pair: %s", strerror(-err));
		other = kept ? dup(pairs[i][1]) : -1;
		before = __atomic_load_n(&c.sends, __ATOMIC_SEQ_CST);
		__atomic_store_n(&c.vol->gate[0], key, __ATOMIC_SEQ_CST);
		while (__atomic_load_n(&c.sends, __ATOMIC_SEQ_CST) < before + 50 && c.error == 0)
			usleep(100);
		close(pairs[i][1]);
		pairs[i][1] = other;
		bpf_route_each(b, forget, b);
	}
	__atomic_store_n(&c.stop, true, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);
	c.vol->gate[0] = 0;
	c.vol->open = 0;
	for (int i = 0; i < ENDS; i++) {
		close(pairs[i][0]);
		if (pairs[i][1] >= 0)
			close(pairs[i][1]);
	}
	diag("%llu sends, %llu routed, %d servers ended: %s", (unsigned long long)c.sends,
	     (unsigned long long)c.conn->seq, ENDS,
	     c.error != 0 ? strerror(c.error) : "none failed");
	close(c.c);
	close(c.v);
	memset(c.conn, 0, sizeof(*c.conn));
	return c.error;
}

int main(void)
{
	const char *why = NULL;

	for (int i = 0; i < TIMES; i++) {
		struct bpf_route *b = bpf_route_open(&why);

		if (b == NULL) {
			diag("%s", why);
			ok(why != NULL && strlen(why) > 0, "without eBPF there is a reason");
			continue;
		}
		ok(1, "the programs load and pass their own trial");
		if (i == 0) {
			(void)servers_end(b, false); /* may fail, or not: for people */
			ok(servers_end(b, true) == 0,
			   "no send fails while servers end whose sockets stay");
		}
		bpf_route_close(b);
	}
	if (getenv("WEFT_NEED_BPF") != NULL)
		ok(why == NULL, "they have to here");
	return done_testing();
}
