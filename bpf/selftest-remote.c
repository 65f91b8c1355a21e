/*
 * Do bytes of servers on other machines come past volmgr as they should? Tried at every start with
 * connections on the loopback: answers of one chunk and of several, their ends, in pieces, late,
 * and among what volmgr sends. See remote.h.
 */
#include "config.h"

#include "bpf/selftest.h"

#include <endian.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>

#include "bpf/remote.h"

#include "banned.h"

#define FAR_KEY	   (KEY + 1)
#define NUMBER	   (REMOTE_NOTES - 1)
#define FAR_ROUNDS 100u

/* x is the server's end of its connection, y ours; ends of answers are sent on p and come on q. */
struct far {
	struct test *t;
	int x, y, p, q;
	struct route_tuple tuple;
};

/* Another connection, ours with room for what comes. */
static bool connect_far(struct test *t, int *theirs, int *ours)
{
	int room = REMOTE_RECV_ROOM / 2;
	struct sockaddr_in at;
	socklen_t len = sizeof(at);

	*ours = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*ours < 0 || getsockname(t->listener, (struct sockaddr *)&at, &len) < 0 ||
	    setsockopt(*ours, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)) < 0 ||
	    connect(*ours, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    !selftest_readable(t->listener, WAIT_MS))
		return false;
	*theirs = accept(t->listener, NULL, NULL);
	return *theirs >= 0;
}

static uint64_t far_cookie(const struct test *t, uint32_t n)
{
	return (uint64_t)t->id << 32 | ROUTE_STEERED | n;
}

/* As volmgr tells the programs of a part, or of the end, of an answer. */
static bool far_put_key(struct test *t, uint32_t n, uint64_t cookie, uint32_t len, uint16_t steered,
			uint64_t server)
{
	struct route_read read = {.cookie = cookie,
				  .offset = 7ULL << 20 | n,
				  .server = server,
				  .len = len,
				  .conn = t->id,
				  .steered = steered};
	uint64_t key = far_cookie(t, n);

	__atomic_add_fetch(&t->conn->inflight, 1, __ATOMIC_SEQ_CST);
	return bpf_route_put(t->b, &key, &read, 1) == 0;
}

static bool far_put(struct test *t, uint32_t n, uint64_t cookie, uint32_t len, uint16_t steered)
{
	return far_put_key(t, n, cookie, len, steered, steered == ROUTE_STEER_END ? 0 : FAR_KEY);
}

static struct nbd_chunk far_chunk(const struct test *t, uint32_t n, uint16_t flags)
{
	return (struct nbd_chunk){.magic = htobe32(NBD_STRUCTURED_REPLY_MAGIC),
				  .flags = htobe16(flags),
				  .type = htobe16(NBD_REPLY_TYPE_NONE),
				  .cookie = htobe64(far_cookie(t, n))};
}

/* The server's answer and what it tells behind it: bytes of t->out. */
static uint32_t far_reply(struct test *t, uint32_t n, uint32_t len)
{
	struct nbd_chunk note = far_chunk(t, n, NBD_REPLY_FLAG_DONE);

	selftest_reply(t->out, htobe64(far_cookie(t, n)), 99, len, n);
	memset(t->out + offsetof(struct nbd_chunk, flags), 0, 2);
	memcpy(t->out + DATA_HEAD + len, &note, sizeof(note));
	return DATA_HEAD + len + (uint32_t)sizeof(note);
}

/* In pieces: they come as one. */
static bool far_send(struct far *f, uint32_t len, uint32_t piece)
{
	for (uint32_t at = 0; at < len; at += piece)
		if (!selftest_put(f->x, f->t->out + at, len - at < piece ? len - at : piece))
			return false;
	return true;
}

static bool far_note(struct far *f, uint32_t n)
{
	struct nbd_chunk want = far_chunk(f->t, n, NBD_REPLY_FLAG_DONE), got;

	return selftest_get(f->p, &got, sizeof(got)) && memcmp(&got, &want, sizeof(got)) == 0;
}

static bool far_take(struct test *t, uint32_t n, uint64_t cookie, uint32_t len, uint16_t flags)
{
	struct nbd_chunk_data w;

	if (!selftest_get(t->c, t->in, DATA_HEAD + len))
		return false;
	memcpy(&w, t->in, sizeof(w));
	return be32toh(w.head.magic) == NBD_STRUCTURED_REPLY_MAGIC && w.head.cookie == cookie &&
	       be16toh(w.head.flags) == flags && be64toh(w.offset) == (7ULL << 20 | n) &&
	       be32toh(w.head.len) == 8 + len && selftest_same(t->in + DATA_HEAD, len, n);
}

/* Answers of one chunk, small and large, whole and in few and many pieces; one that comes too late
 * is nobody's, also when a read of another server has its cookie meanwhile; and of one that is not
 * taken nothing is told, so that it is late. */
static bool try_far_one(struct far *f)
{
	static const uint32_t sizes[] = {512, 4096, 65536};
	struct test *t = f->t;
	struct route_read read;

	for (uint32_t n = 0; n < 12; n++) {
		uint32_t len = sizes[n % 3], bytes;

		if (!far_put(t, n, 70 + n, len, ROUTE_STEER_ONLY))
			return false;
		bytes = far_reply(t, n, len);
		if (!far_send(f, bytes,
			      n < 3   ? bytes
			      : n < 6 ? 19 + len / 3
			      : n < 9 ? len + 20
				      : 700) ||
		    !far_note(f, n) || !far_take(t, n, 70 + n, len, NBD_REPLY_FLAG_DONE))
			return false;
	}
	if (!far_put(t, 12, 82, 4096, ROUTE_STEER_ONLY) ||
	    bpf_route_take(t->b, far_cookie(t, 12), &read) != 0 ||
	    !far_send(f, far_reply(t, 12, 4096), BYTES) || !far_note(f, 12))
		return false;
	if (!far_put_key(t, 12, 83, 4096, ROUTE_STEER_ONLY, FAR_KEY + 1) ||
	    !far_send(f, far_reply(t, 12, 4096), BYTES) || !far_note(f, 12) ||
	    bpf_route_take(t->b, far_cookie(t, 12), &read) != 0)
		return false;
	if (!far_put(t, 13, 84, 4096, ROUTE_STEER_ONLY) || /* not what was asked for */
	    !far_send(f, far_reply(t, 13, 512), BYTES) ||
	    !far_put(t, 14, 85, 4096, ROUTE_STEER_ONLY) ||
	    !far_send(f, far_reply(t, 14, 4096), BYTES) || !far_note(f, 14) ||
	    !far_take(t, 14, 85, 4096, NBD_REPLY_FLAG_DONE) ||
	    bpf_route_take(t->b, far_cookie(t, 13), &read) != 0)
		return false;
	return t->conn->inflight == 0 && bpf_route_unread(t->b, t->v, t->id) == 0 &&
	       !selftest_readable(t->c, 0);
}

/* Answers of two chunks and an end, among what volmgr sends: each whole, the end last. */
static bool try_far_parts(struct far *f)
{
	struct test *t = f->t;
	struct nbd_chunk mark, back;

	for (uint32_t n = 0; n < FAR_ROUNDS; n++) {
		uint32_t at = 100 + 4 * n, len = ROUTE_READ_MAX - (n & 7) * 512;
		struct nbd_chunk end = far_chunk(t, at + 2, REMOTE_END), got;
		uint64_t cookie = 3000 + n;

		if (!far_put(t, at, cookie, len, ROUTE_STEER_PART) ||
		    !far_put(t, at + 1, cookie, len, ROUTE_STEER_PART) ||
		    !far_put(t, at + 2, cookie, 0, ROUTE_STEER_END) ||
		    !far_send(f, far_reply(t, at, len), BYTES) ||
		    !far_send(f, far_reply(t, at + 1, len), BYTES) || !far_note(f, at) ||
		    !far_note(f, at + 1) || !selftest_put(f->p, &end, sizeof(end)))
			return false;
		end.cookie = cookie;
		end.flags = htobe16(NBD_REPLY_FLAG_DONE);
		if (!far_take(t, at, cookie, len, 0) || !far_take(t, at + 1, cookie, len, 0) ||
		    !selftest_get(t->c, &got, sizeof(got)) || memcmp(&got, &end, sizeof(end)) != 0)
			return false;
	}
	/* what is sent on p and is no end comes back there */
	mark = far_chunk(t, 1, 0);
	if (!selftest_put(f->p, &mark, sizeof(mark)) || !selftest_get(f->p, &back, sizeof(back)) ||
	    memcmp(&back, &mark, sizeof(mark)) != 0)
		return false;
	return t->conn->inflight == 0 && bpf_route_remote_waiting(t->b, t->id) == 0 &&
	       !selftest_readable(t->c, 0) && !selftest_readable(f->p, 0) &&
	       !selftest_readable(f->y, 0) && !selftest_readable(f->q, 0);
}

static bool far_other(void *arg, uint32_t i)
{
	struct far *f = arg;
	struct test *t = f->t;

	return far_put(t, 1000 + i, 2000 + i, ROUTE_READ_MAX, ROUTE_STEER_ONLY) &&
	       far_send(f, far_reply(t, 1000 + i, ROUTE_READ_MAX), BYTES) && far_note(f, 1000 + i);
}

/* volmgr sends at the same time. */
static bool try_far_both(struct far *f)
{
	return selftest_both(f->t, far_other, f, 1000);
}

/* With a full receive buffer the kernel keeps what comes in its list, and we see it there. */
static bool try_far_full(struct far *f)
{
	int small = 1, room = REMOTE_RECV_ROOM / 2;
	struct test *t = f->t;
	bool seen;

	if (setsockopt(t->c, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)) < 0)
		return false;
	for (uint32_t n = 0; n < 4; n++)
		if (!far_put(t, n, 70 + n, ROUTE_READ_MAX, ROUTE_STEER_ONLY) ||
		    !far_send(f, far_reply(t, n, ROUTE_READ_MAX), BYTES) || !far_note(f, n))
			return false;
	seen = bpf_route_remote_waiting(t->b, t->id) > 0;
	for (uint32_t n = 0; n < 4; n++)
		if (!far_take(t, n, 70 + n, ROUTE_READ_MAX, NBD_REPLY_FLAG_DONE))
			return false;
	for (int i = 0; i < WAIT_MS && bpf_route_remote_waiting(t->b, t->id) > 0; i++)
		(void)poll(NULL, 0, 1);
	return seen && bpf_route_remote_waiting(t->b, t->id) == 0 &&
	       setsockopt(t->c, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)) == 0;
}

static const char *try_far(struct far *f)
{
	struct test *t = f->t;

	if (!selftest_connect(t) || !connect_far(t, &f->x, &f->y) ||
	    !connect_far(t, &f->p, &f->q) || bpf_route_tuple(f->y, &f->tuple) != 0 ||
	    bpf_route_remote_pair(t->b, f->p, f->q, NUMBER) != 0 ||
	    bpf_route_remote_add(t->b, f->y, &f->tuple, FAR_KEY, NUMBER) != 0)
		return "its own trial failed: sockets are not taken";
	if (!selftest_open(t) || !selftest_one(t))
		return "its own trial failed: a routed read did not come back as it should";
	t->conn->structured = 1;
	if (!try_far_one(f))
		return "its own trial failed: an answer did not come as it should";
	if (!try_far_parts(f))
		return "its own trial failed: an answer in parts did not come as it should";
	if (!try_far_full(f))
		return "its own trial failed: what waits for a client was not seen";
	if (!try_far_both(f))
		return "its own trial failed: answers of two senders were mixed";
	return NULL;
}

static const char *try_remote(struct test *t)
{
	struct far f = {.t = t, .x = -1, .y = -1, .p = -1, .q = -1};
	const char *why = try_far(&f);

	bpf_route_remote_remove(t->b, &f.tuple);
	selftest_close(f.x);
	selftest_close(f.y);
	selftest_close(f.p);
	selftest_close(f.q);
	return why;
}

int bpf_remote_selftest(struct bpf_route *b, const char **why)
{
	struct test t = {.b = b};

	return selftest_run(&t, try_remote, why);
}
