/*
 * Does routing work here? Tried at every start with real connections on the loopback, before
 * anybody relies on it: requests out, replies back, to clients of both kinds; volmgr's own answers
 * among them; large ones, errors, several senders at once; large writes around TCP; what was not
 * read is known; poll and the end of a connection are noticed. What comes is compared byte by byte.
 */
#include "config.h"

#include "bpf/selftest.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nbd/proto.h"
#include "nbd/weft.h"

#include "banned.h"

static_assert(WEFT_SHARD_BYTES == 1u << ROUTE_SHARD_SHIFT, "both say how large a shard is");

/* ---- sockets ------------------------------------------------------------------------------- */

static int listen_here(struct sockaddr_in *at)
{
	socklen_t len = sizeof(*at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*at = (struct sockaddr_in){.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (fd < 0)
		return -1;
	if (bind(fd, (struct sockaddr *)at, sizeof(*at)) == 0 && listen(fd, 4) == 0 &&
	    getsockname(fd, (struct sockaddr *)at, &len) == 0)
		return fd;
	close(fd);
	return -1;
}

bool selftest_readable(int fd, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, timeout_ms) == 1;
}

bool selftest_get(int fd, void *buf, size_t len)
{
	for (size_t got = 0; got < len;) {
		ssize_t n;

		if (!selftest_readable(fd, WAIT_MS))
			return false;
		n = recv(fd, (char *)buf + got, len - got, MSG_DONTWAIT);
		if (n <= 0)
			return false;
		got += (size_t)n;
	}
	return true;
}

bool selftest_put(int fd, const void *buf, size_t len)
{
	return send(fd, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)len;
}

bool selftest_connect(struct test *t)
{
	struct sockaddr_in at,
		from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(from);
	struct route_tuple tuple = {0};
	bool roomy;

	t->listener = listen_here(&at);
	if (t->listener < 0 || bpf_route_port(t->b, ntohs(at.sin_port), true) != 0)
		return false;
	t->c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (t->c < 0 || connect(t->c, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    !selftest_readable(t->listener, WAIT_MS))
		return false;
	t->v = accept(t->listener, NULL, NULL);
	(void)bpf_route_port(t->b, ntohs(at.sin_port), false);
	t->r = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (t->r < 0 || bind(t->r, (struct sockaddr *)&from, sizeof(from)) < 0 ||
	    getsockname(t->r, (struct sockaddr *)&from, &len) < 0)
		return false;
	tuple.local[0] = tuple.remote[0] = htonl(INADDR_LOOPBACK);
	tuple.local_port = ntohs(at.sin_port);
	tuple.remote_port = ntohs(from.sin_port);
	if (bpf_route_want(t->b, &tuple, KEY) != 0 ||
	    connect(t->r, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    !selftest_readable(t->listener, WAIT_MS))
		return false;
	t->s = accept(t->listener, NULL, NULL);
	return t->v >= 0 && t->s >= 0 && bpf_route_has_server(t->b, KEY) &&
	       bpf_route_client(t->b, t->v, &t->id, &roomy) == 0;
}

/* From C to V. */
static bool to_v(struct test *t, const void *buf, size_t len)
{
	t->sent += (uint32_t)len;
	return selftest_put(t->c, buf, len);
}

/* volmgr has received all of it. */
static void received(struct test *t)
{
	__atomic_store_n(&t->conn->received, t->sent, __ATOMIC_RELEASE);
}

/* A volume of one extent, two data shards; the second's server is ours. */
bool selftest_open(struct test *t)
{
	struct route_vol *v = &bpf_route_vols(t->b)[VOLUME];
	char bytes[GREETING] = "hello";

	t->conn = &bpf_route_conns(t->b)[t->id % ROUTE_CONNS];
	*v = (struct route_vol){.k = 2,
				.unit_shift = 16,
				.first = FIRST,
				.extents = 1,
				.size = 2 * WEFT_SHARD_BYTES};
	v->gate[GATE] = KEY;
	bpf_route_entries(t->b)[FIRST + 1] = ROUTE_ENTRY(GATE, GENERATION, SLOT);
	v->open = 1;
	*t->conn = (struct route_conn){.volume = VOLUME,
				       .boundary = ANSWER,
				       .tcp_sent = GREETING,
				       .open = 1,
				       .structured = 1};
	__atomic_store_n(&t->conn->id, t->id, __ATOMIC_RELEASE);
	return to_v(t, bytes, ANSWER) && selftest_get(t->v, bytes, ANSWER) &&
	       bpf_route_front(t->b, t->v, t->id, GREETING) == 0 &&
	       bpf_route_peer(t->b, t->r, KEY) == 0 && selftest_put(t->v, bytes, GREETING) &&
	       selftest_get(t->c, bytes, GREETING);
}

/* ---- messages ------------------------------------------------------------------------------ */

static void request_make(struct nbd_request_wire *w, uint64_t cookie, uint64_t offset, uint32_t len)
{
	*w = (struct nbd_request_wire){
		.magic = htobe32(NBD_REQUEST_MAGIC),
		.type = htobe16(NBD_CMD_READ),
		.cookie = cookie,
		.offset = htobe64(offset),
		.len = htobe32(len),
	};
}

static void fill(uint8_t *p, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(seed * 31 + i * 7 + (i >> 8));
}

bool selftest_same(const uint8_t *p, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] != (uint8_t)(seed * 31 + i * 7 + (i >> 8)))
			return false;
	return true;
}

void selftest_reply(uint8_t *out, uint64_t cookie, uint64_t offset, uint32_t len, uint64_t seed)
{
	struct nbd_chunk_data w = {
		.head = {.magic = htobe32(NBD_STRUCTURED_REPLY_MAGIC),
			 .flags = htobe16(NBD_REPLY_FLAG_DONE),
			 .type = htobe16(NBD_REPLY_TYPE_OFFSET_DATA),
			 .cookie = cookie,
			 .len = htobe32(8 + len)},
		.offset = htobe64(offset),
	};

	memcpy(out, &w, sizeof(w));
	fill(out + sizeof(w), len, seed);
}

/* The client asks; the server gets it and answers; the answer waits for the client. */
static bool ask(struct test *t, uint64_t cookie, uint32_t at, uint32_t len, uint64_t seed)
{
	struct nbd_request_wire w;
	uint64_t to = (uint64_t)(GENERATION & 0xffff) << ROUTE_OFFSET_SHIFT |
		      (uint64_t)SLOT << ROUTE_SHARD_SHIFT | (2u << 16 | at);

	request_make(&w, cookie, (5ULL << 16) + at, len); /* stripe 2, unit 1 */
	if (!selftest_put(t->c, &w, sizeof(w)) || !selftest_get(t->s, &w, sizeof(w)))
		return false;
	if (be64toh(w.offset) != to || be32toh(w.len) != len || w.cookie == cookie ||
	    be64toh(w.cookie) >> 32 != t->id)
		return false;
	selftest_reply(t->out, w.cookie, to, len, seed);
	return selftest_put(t->s, t->out, DATA_HEAD + len);
}

static bool take_structured(struct test *t, uint64_t cookie, uint64_t offset, uint32_t len,
			    uint64_t seed)
{
	struct nbd_chunk_data w;

	if (!selftest_get(t->c, t->in, DATA_HEAD + len))
		return false;
	memcpy(&w, t->in, sizeof(w));
	return w.head.cookie == cookie && be64toh(w.offset) == offset &&
	       be32toh(w.head.len) == 8 + len && selftest_same(t->in + DATA_HEAD, len, seed);
}

static bool take_simple(struct test *t, uint64_t cookie, uint32_t len, uint64_t seed)
{
	struct nbd_simple_reply w;

	if (!selftest_get(t->c, t->in, sizeof(w) + len))
		return false;
	memcpy(&w, t->in, sizeof(w));
	return be32toh(w.magic) == NBD_SIMPLE_REPLY_MAGIC && w.error == 0 && w.cookie == cookie &&
	       selftest_same(t->in + sizeof(w), len, seed);
}

/* ---- what is tried ------------------------------------------------------------------------- */

bool selftest_one(struct test *t)
{
	static const uint32_t sizes[] = {512, 4096, 65536};

	t->conn->seq = 0x7f8081ff; /* no byte of it is small */
	for (unsigned i = 0; i < 3; i++) {
		t->conn->structured = 1;
		if (!ask(t, 100 + i, 0, sizes[i], i) || !selftest_readable(t->c, WAIT_MS) ||
		    bpf_route_unread(t->b, t->v, t->id) < sizes[i] ||
		    !take_structured(t, 100 + i, 5ULL << 16, sizes[i], i) ||
		    bpf_route_unread(t->b, t->v, t->id) != 0)
			return false;
		t->conn->structured = 0;
		if (!ask(t, 200 + i, 0, sizes[i], 50 + i) ||
		    !take_simple(t, 200 + i, sizes[i], 50 + i))
			return false;
	}
	return t->conn->inflight == 0 && !selftest_readable(t->r, 0) && !selftest_readable(t->v, 0);
}

/* What is not for the server comes to V, and V's answers come to C. */
static bool try_others(struct test *t)
{
	struct nbd_request_wire w;

	request_make(&w, 1, 65536 - 512, 1024); /* two units */
	if (!to_v(t, &w, sizeof(w)) || !selftest_get(t->v, t->in, sizeof(w)))
		return false;
	request_make(&w, 2, 0, 512); /* the other shard */
	if (!to_v(t, &w, sizeof(w)) || !selftest_get(t->v, t->in, sizeof(w)))
		return false;
	fill(t->out, 3000, 9);
	if (!selftest_put(t->v, t->out, 3000) || !selftest_get(t->c, t->in, 3000) ||
	    !selftest_same(t->in, 3000, 9))
		return false;
	request_make(&w, 3, 0, 0);
	return selftest_put(t->r, &w, sizeof(w)) && selftest_get(t->s, t->in, sizeof(w)) &&
	       memcmp(t->in, &w, sizeof(w)) == 0;
}

/* A server's error comes to volmgr, which can take the read over. */
static bool try_error(struct test *t)
{
	struct nbd_request_wire w;
	struct nbd_chunk_error e = {
		.head = {.magic = htobe32(NBD_STRUCTURED_REPLY_MAGIC),
			 .flags = htobe16(NBD_REPLY_FLAG_DONE),
			 .type = htobe16(NBD_REPLY_TYPE_ERROR),
			 .len = htobe32(6)},
		.error = htobe32(NBD_EIO),
	};
	struct route_read read;
	uint64_t cookie;

	request_make(&w, 4, 5ULL << 16, 4096);
	if (!selftest_put(t->c, &w, sizeof(w)) || !selftest_get(t->s, &w, sizeof(w)))
		return false;
	e.head.cookie = cookie = w.cookie;
	return selftest_put(t->s, &e, sizeof(e)) && selftest_get(t->r, t->in, sizeof(e)) &&
	       memcmp(t->in, &e, sizeof(e)) == 0 &&
	       bpf_route_take(t->b, be64toh(cookie), &read) == 0 && read.cookie == 4 &&
	       read.offset == 5ULL << 16 && read.len == 4096 &&
	       bpf_route_take(t->b, be64toh(cookie), &read) == -ENOENT && t->conn->inflight == 0;
}

/* A part of a READ that volmgr steers: asked on R, put into C as a chunk that is not the last. */
static bool try_steered(struct test *t)
{
	struct route_read read = {.cookie = 5,
				  .offset = 3ULL << 16,
				  .server = KEY,
				  .len = 4096,
				  .conn = t->id,
				  .steered = 1};
	uint64_t cookie = (uint64_t)t->id << 32 | ROUTE_STEERED;
	struct nbd_request_wire w;
	struct nbd_chunk_data got;

	t->conn->structured = 1;
	t->conn->inflight++;
	request_make(&w, htobe64(cookie), 0, 4096);
	if (bpf_route_put(t->b, &cookie, &read, 1) != 0 || !selftest_put(t->r, &w, sizeof(w)) ||
	    !selftest_get(t->s, &w, sizeof(w)))
		return false;
	selftest_reply(t->out, w.cookie, 0, 4096, 3);
	memset(t->out + offsetof(struct nbd_chunk, flags), 0, 2);
	if (!selftest_put(t->s, t->out, DATA_HEAD + 4096) ||
	    !selftest_get(t->c, t->in, DATA_HEAD + 4096))
		return false;
	memcpy(&got, t->in, sizeof(got));
	return got.head.cookie == 5 && got.head.flags == 0 && be64toh(got.offset) == 3ULL << 16 &&
	       selftest_same(t->in + DATA_HEAD, 4096, 3) && t->conn->inflight == 0;
}

/* Several answers in one send, some of them for R. */
static bool try_many(struct test *t, uint32_t structured)
{
	struct nbd_request_wire w, got[2];
	struct nbd_chunk none = {.magic = htobe32(NBD_STRUCTURED_REPLY_MAGIC),
				 .flags = htobe16(NBD_REPLY_FLAG_DONE),
				 .type = htobe16(NBD_REPLY_TYPE_NONE)};
	uint32_t len = DATA_HEAD + 4096;

	t->conn->structured = structured;
	for (unsigned i = 0; i < 2; i++) {
		request_make(&w, 600 + i, (5ULL << 16) + i * 4096, 4096);
		if (!selftest_put(t->c, &w, sizeof(w)) ||
		    !selftest_get(t->s, &got[i], sizeof(got[i])))
			return false;
		selftest_reply(t->out + i * len, got[i].cookie, be64toh(got[i].offset), 4096,
			       60 + i);
	}
	memmove(t->out + len + sizeof(none), t->out + len, len);
	memcpy(t->out + len, &none, sizeof(none));
	memcpy(t->out + 2 * len + sizeof(none), &none, sizeof(none));
	if (!selftest_put(t->s, t->out, 2 * (len + sizeof(none))) ||
	    !selftest_get(t->r, t->in, 2 * sizeof(none)) ||
	    memcmp(t->in, &none, sizeof(none)) != 0 ||
	    memcmp(t->in + sizeof(none), &none, sizeof(none)) != 0)
		return false;
	for (unsigned i = 0; i < 2; i++)
		if (structured ? !take_structured(t, 600 + i, (5ULL << 16) + i * 4096, 4096, 60 + i)
			       : !take_simple(t, 600 + i, 4096, 60 + i))
			return false;
	return t->conn->inflight == 0 && !selftest_readable(t->r, 0) && !selftest_readable(t->c, 0);
}

static bool put_large(struct test *t, unsigned pieces, uint64_t seed)
{
	struct nbd_request_wire w;

	request_make(&w, seed, 0, pieces * PIECE);
	w.type = htobe16(NBD_CMD_WRITE);
	if (!to_v(t, &w, sizeof(w)))
		return false;
	for (unsigned i = 0; i < pieces; i++) {
		fill(t->out, PIECE, seed + i);
		if (!to_v(t, t->out, PIECE))
			return false;
	}
	return true;
}

static bool get_large(struct test *t, unsigned pieces, uint64_t seed)
{
	struct nbd_request_wire w;

	if (!selftest_get(t->v, &w, sizeof(w)) || w.cookie != seed ||
	    be32toh(w.len) != pieces * PIECE)
		return false;
	for (unsigned i = 0; i < pieces; i++)
		if (!selftest_get(t->v, t->in, PIECE) || !selftest_same(t->in, PIECE, seed + i))
			return false;
	return true;
}

/* Large WRITEs go around TCP, and all that is sent comes in its order. */
static bool try_writes(struct test *t)
{
	struct nbd_request_wire w, got;
	const uint32_t around = sizeof(w) + 4 * PIECE;

	t->conn->structured = 1;
	t->conn->queue = ROUTE_QUEUE_MAX;
	received(t);
	request_make(&w, 700, 5ULL << 16, 4096); /* could be routed otherwise */
	if (!put_large(t, 4, 710) || !to_v(t, &w, sizeof(w)) || !put_large(t, 1, 720))
		return false;
	if (t->conn->queued != around) /* by TCP, what is behind other bytes that came so */
		return false;
	if (!get_large(t, 4, 710) || !selftest_get(t->v, &got, sizeof(got)) ||
	    memcmp(&got, &w, sizeof(w)) != 0 || !get_large(t, 1, 720))
		return false;
	received(t);
	if (!ask(t, 730, 0, 4096, 73) || !take_structured(t, 730, 5ULL << 16, 4096, 73) ||
	    !put_large(t, 4, 740) || !get_large(t, 4, 740) || t->conn->queued != 2 * around)
		return false;
	received(t);
	t->conn->queue = 0; /* it has no room */
	if (!put_large(t, 4, 750) || !get_large(t, 4, 750) || t->conn->queued != 2 * around)
		return false;
	received(t);
	return !selftest_readable(t->v, 0);
}

static void *volmgr_sends(void *arg)
{
	struct test *t = arg;
	uint8_t *out = malloc(BYTES);
	void *good = NULL;

	if (out == NULL)
		return NULL;
	for (unsigned i = 0; i < REQUESTS; i++) {
		selftest_reply(out, 1000 + i, 5ULL << 16, ROUTE_READ_MAX, i);
		good = selftest_put(t->v, out, BYTES) ? t : NULL;
		if (good == NULL)
			break;
	}
	free(out);
	return good;
}

bool selftest_both(struct test *t, bool (*send)(void *arg, uint32_t i), void *arg, uint32_t fill)
{
	unsigned ours = 0, theirs = 0;
	pthread_t thread;
	void *good = NULL;
	bool fine = true;

	if (pthread_create(&thread, NULL, volmgr_sends, t) != 0)
		return false;
	for (uint32_t i = 0; i < REQUESTS && fine; i++) {
		fine = send(arg, i);
		/* its queue must not be full: two answers are read for one question */
		for (unsigned n = 0; n < 2 && fine; n++) {
			struct nbd_chunk_data w;

			fine = selftest_get(t->c, t->in, BYTES);
			memcpy(&w, t->in, sizeof(w));
			if (fine && w.head.cookie == 1000 + ours)
				fine = selftest_same(t->in + DATA_HEAD, ROUTE_READ_MAX, ours++);
			else if (fine)
				fine = w.head.cookie == 2000 + theirs &&
				       selftest_same(t->in + DATA_HEAD, ROUTE_READ_MAX,
						     fill + theirs++);
		}
	}
	pthread_join(thread, &good);
	return fine && good != NULL && ours == REQUESTS && theirs == REQUESTS;
}

static bool ask_other(void *arg, uint32_t i)
{
	return ask(arg, 2000 + i, 0, ROUTE_READ_MAX, 500 + i);
}

/* Both send at once: each answer comes whole, those of one sender in order. */
static bool try_both(struct test *t)
{
	t->conn->structured = 1;
	return selftest_both(t, ask_other, t, 500);
}

static bool try_end(struct test *t)
{
	char byte;

	close(t->v);
	t->v = -1;
	return selftest_readable(t->c, WAIT_MS) && recv(t->c, &byte, 1, MSG_DONTWAIT) == 0;
}

static const char *try_all(struct test *t)
{
	if (!selftest_connect(t))
		return "its own trial failed: connections are not seen";
	if (!selftest_open(t))
		return "its own trial failed: the negotiation did not come through";
	if (!selftest_one(t))
		return "its own trial failed: a routed read did not come back as it should";
	if (!try_many(t, 1) || !try_many(t, 0))
		return "its own trial failed: several answers in one send were not told apart";
	if (!try_others(t))
		return "its own trial failed: other requests did not come through";
	if (!try_error(t))
		return "its own trial failed: an error did not reach volmgr";
	if (!try_steered(t))
		return "its own trial failed: a part of a read did not come as it should";
	if (!try_writes(t))
		return "its own trial failed: large writes did not come as they should";
	if (!try_both(t))
		return "its own trial failed: answers of two senders were mixed";
	if (!try_end(t))
		return "its own trial failed: the end of a connection was not seen";
	return NULL;
}

void selftest_close(int fd)
{
	if (fd >= 0)
		close(fd);
}

/* With memory, and without leaving anything behind. */
int selftest_run(struct test *t, const char *(*fn)(struct test *t), const char **why)
{
	t->listener = t->c = t->v = t->r = t->s = -1;
	t->out = malloc(BYTES + sizeof(struct nbd_chunk));
	t->in = malloc(BYTES + sizeof(struct nbd_chunk));
	*why = t->out == NULL || t->in == NULL ? "out of memory" : fn(t);
	free(t->out);
	free(t->in);
	selftest_close(t->listener);
	selftest_close(t->c);
	selftest_close(t->v);
	selftest_close(t->r);
	selftest_close(t->s);
	if (t->conn != NULL)
		memset(t->conn, 0, sizeof(*t->conn));
	memset(&bpf_route_vols(t->b)[VOLUME], 0, sizeof(struct route_vol));
	bpf_route_entries(t->b)[FIRST + 1] = 0;
	return *why == NULL ? 0 : -EIO;
}

int bpf_route_selftest(struct bpf_route *b, const char **why)
{
	struct test t = {.b = b};

	return selftest_run(&t, try_all, why);
}
