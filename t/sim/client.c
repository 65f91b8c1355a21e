/*
 * An NBD client as a kernel or a program would be: several connections to one volmgr, many requests
 * under way in each, simple or structured replies. It never dies: it is the one that knows what was
 * acknowledged. A request whose connection breaks is not sent again.
 */
#include "config.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>

#include "nbd/proto.h"
#include "sim.h"

#define CONNS	     3
#define IN_BYTES     (640u << 10)
#define OUT_BYTES    (8u << 10)
#define RETRY_NS     (50 * NS_PER_MS)
#define STRUCT_BYTES 20u /* head of a chunk */

enum cc_state { CC_DOWN, CC_DROPPED, CC_CONNECTING, CC_GREETING, CC_STRUCTURED, CC_GO, CC_READY };

struct cconn {
	struct client *client;
	struct mgr *mgr; /* whom it is, or was, connected to */
	struct stream *stream;
	enum cc_state state;
	bool structured;
	bool wanted;
	uint8_t *in;
	size_t in_len;
	uint8_t hello[OUT_BYTES];
	size_t hello_len, hello_off;
	/* requests, oldest first; those from tx on are not sent yet */
	struct client_req *reqs, **tail, *tx;
	size_t tx_off;
	uint8_t headers[256][28];
	struct event retry;
};

struct client {
	struct proc proc; /* first */
	struct cconn conns[CONNS];
	struct mgr *mgr;
	uint64_t cookie;
	unsigned inflight;
};

static const struct stream_ops cc_ops;
static void cc_connect(struct cconn *cc);

/* ---- requests ------------------------------------------------------------------------------ */

static void req_end(struct cconn *cc, struct client_req *r, int error)
{
	struct client_req **at = &cc->reqs;

	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	if (*at == NULL)
		cc->tail = at;
	if (cc->tx == r) {
		cc->tx = r->next;
		cc->tx_off = 0;
	}
	cc->client->inflight--;
	r->done(r, error);
}

static void encode(struct cconn *cc, const struct client_req *r)
{
	struct nbd_request_wire w = {
		.magic = htobe32(NBD_REQUEST_MAGIC),
		.flags = htobe16(r->flags),
		.type = htobe16(r->type),
		.cookie = htobe64(r->cookie),
		.offset = htobe64(r->offset),
		.len = htobe32(r->len),
	};

	memcpy(cc->headers[r->cookie % 256], &w, sizeof(w));
}

void client_submit(struct client *c, unsigned connection, struct client_req *r)
{
	struct cconn *cc = NULL;
	unsigned n = 0;

	for (unsigned i = 0; i < CONNS; i++)
		if (c->conns[i].state == CC_READY && n++ == connection)
			cc = &c->conns[i];
	assert(cc != NULL);
	r->cookie = ++c->cookie;
	r->next = NULL;
	*cc->tail = r;
	cc->tail = &r->next;
	if (cc->tx == NULL) {
		cc->tx = r;
		cc->tx_off = 0;
	}
	encode(cc, r);
	c->inflight++;
	stream_kick(cc->stream);
}

unsigned client_connections(const struct client *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CONNS; i++)
		n += c->conns[i].state == CC_READY;
	return n;
}

unsigned client_inflight(const struct client *c)
{
	return c->inflight;
}

/* ---- output -------------------------------------------------------------------------------- */

static size_t req_bytes(const struct client_req *r)
{
	return 28 + (r->type == NBD_CMD_WRITE ? r->len : 0);
}

static int cc_output(void *engine, struct iovec *iov, int max)
{
	struct cconn *cc = engine;
	size_t off = cc->tx_off;
	int n = 0;

	if (cc->hello_off < cc->hello_len)
		iov[n++] = (struct iovec){cc->hello + cc->hello_off, cc->hello_len - cc->hello_off};
	for (struct client_req *r = cc->tx; r != NULL && n + 2 <= max; r = r->next, off = 0) {
		if (off < 28)
			iov[n++] = (struct iovec){cc->headers[r->cookie % 256] + off, 28 - off};
		if (r->type == NBD_CMD_WRITE) {
			size_t skip = off > 28 ? off - 28 : 0;

			iov[n++] = (struct iovec){r->data + skip, r->len - skip};
		}
	}
	return n;
}

static void cc_sent(void *engine, size_t n)
{
	struct cconn *cc = engine;
	size_t here = cc->hello_len - cc->hello_off;

	if (here > n)
		here = n;
	cc->hello_off += here;
	n -= here;
	while (n > 0) {
		size_t left = req_bytes(cc->tx) - cc->tx_off;

		if (n < left) {
			cc->tx_off += n;
			return;
		}
		n -= left;
		cc->tx = cc->tx->next;
		cc->tx_off = 0;
	}
}

static void put(struct cconn *cc, const void *data, size_t len)
{
	if (cc->hello_off == cc->hello_len)
		cc->hello_off = cc->hello_len = 0;
	assert(cc->hello_len + len <= OUT_BYTES);
	memcpy(cc->hello + cc->hello_len, data, len);
	cc->hello_len += len;
	stream_kick(cc->stream);
}

static void put_option(struct cconn *cc, uint32_t option, const void *data, uint32_t len)
{
	struct nbd_option o = {htobe64(NBD_OPTION_MAGIC), htobe32(option), htobe32(len)};

	put(cc, &o, sizeof(o));
	if (len > 0)
		put(cc, data, len);
}

/* ---- input: each step returns the bytes it used, 0: needs more, -1: nonsense --------------- */

static long step_greeting(struct cconn *cc)
{
	uint32_t flags = htobe32(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);

	if (cc->in_len < sizeof(struct nbd_greeting))
		return 0;
	put(cc, &flags, sizeof(flags));
	cc->state = cc->structured ? CC_STRUCTURED : CC_GO;
	if (cc->structured)
		put_option(cc, NBD_OPT_STRUCTURED_REPLY, NULL, 0);
	else
		put_option(cc, NBD_OPT_GO, "\0\0\0\1v\0", 7);
	return sizeof(struct nbd_greeting);
}

static long step_option(struct cconn *cc, const uint8_t *in, size_t len)
{
	uint32_t type, n;

	if (len < sizeof(struct nbd_option_reply))
		return 0;
	type = nbd_get32(in + 12);
	n = nbd_get32(in + 16);
	if (len < sizeof(struct nbd_option_reply) + n)
		return 0;
	if ((type & NBD_REP_FLAG_ERROR) != 0)
		return -1;
	if (type == NBD_REP_ACK && cc->state == CC_STRUCTURED) {
		cc->state = CC_GO;
		put_option(cc, NBD_OPT_GO, "\0\0\0\1v\0", 7);
	} else if (type == NBD_REP_ACK) {
		cc->state = CC_READY;
	}
	return (long)(sizeof(struct nbd_option_reply) + n);
}

static struct client_req *req_find(struct cconn *cc, uint64_t cookie)
{
	struct client_req *r = cc->reqs;

	while (r != NULL && r->cookie != cookie)
		r = r->next;
	if (r == NULL)
		sim_fail(cc->client->proc.sim, "a reply to no request");
	return r;
}

static long step_simple(struct cconn *cc, const uint8_t *in, size_t len)
{
	struct client_req *r;
	uint32_t error;
	size_t n = 16;

	if (len < 16)
		return 0;
	error = nbd_get32(in + 4);
	r = req_find(cc, nbd_get64(in + 8));
	if (r->type == NBD_CMD_READ && error == 0) {
		n += r->len;
		if (len < n)
			return 0;
		memcpy(r->data, in + 16, r->len);
	}
	req_end(cc, r, (int)error);
	return (long)n;
}

static long step_chunk(struct cconn *cc, const uint8_t *in, size_t len)
{
	struct sim *s = cc->client->proc.sim;
	struct client_req *r;
	uint16_t flags, type;
	uint64_t at;
	uint32_t n;
	int error = 0;

	if (len < STRUCT_BYTES)
		return 0;
	flags = nbd_get16(in + 4);
	type = nbd_get16(in + 6);
	n = nbd_get32(in + 16);
	if (len < STRUCT_BYTES + n)
		return 0;
	r = req_find(cc, nbd_get64(in + 8));
	in += STRUCT_BYTES;
	at = n >= 8 ? nbd_get64(in) - r->offset : 0;
	if (type == NBD_REPLY_TYPE_OFFSET_DATA || type == NBD_REPLY_TYPE_OFFSET_HOLE) {
		uint32_t bytes = type == NBD_REPLY_TYPE_OFFSET_DATA ? n - 8 : nbd_get32(in + 8);

		if (r->type != NBD_CMD_READ || at > r->len || bytes > r->len - at)
			sim_fail(s, "a chunk that was not asked for");
		if (type == NBD_REPLY_TYPE_OFFSET_DATA)
			memcpy(r->data + at, in + 8, bytes);
		else
			memset(r->data + at, 0, bytes);
	} else if (type == NBD_REPLY_TYPE_ERROR || type == NBD_REPLY_TYPE_ERROR_OFFSET) {
		error = (int)nbd_get32(in);
	}
	if ((flags & NBD_REPLY_FLAG_DONE) != 0)
		req_end(cc, r, error);
	return (long)(STRUCT_BYTES + n);
}

static long step(struct cconn *cc, const uint8_t *in, size_t len)
{
	if (cc->state == CC_GREETING)
		return step_greeting(cc);
	if (cc->state < CC_READY)
		return step_option(cc, in, len);
	if (len < 4)
		return 0;
	return nbd_get32(in) == NBD_SIMPLE_REPLY_MAGIC ? step_simple(cc, in, len)
						       : step_chunk(cc, in, len);
}

static size_t cc_window(void *engine, void **ptr)
{
	struct cconn *cc = engine;

	*ptr = cc->in + cc->in_len;
	return IN_BYTES - cc->in_len;
}

static int cc_received(void *engine, size_t n)
{
	struct cconn *cc = engine;
	size_t at = 0;
	long used = 1;

	cc->in_len += n;
	while (used > 0 && at < cc->in_len) {
		used = step(cc, cc->in + at, cc->in_len - at);
		if (used > 0)
			at += (size_t)used;
	}
	memmove(cc->in, cc->in + at, cc->in_len - at);
	cc->in_len -= at;
	if (used == 0 && cc->in_len == IN_BYTES)
		sim_fail(cc->client->proc.sim, "an answer longer than what was asked for");
	return used < 0 ? -EPROTO : 0;
}

/* ---- connections --------------------------------------------------------------------------- */

static void cc_closed(void *engine, int err)
{
	struct cconn *cc = engine;

	cc->stream = NULL;
	cc->state = CC_DOWN;
	cc->tx = NULL;
	while (cc->reqs != NULL)
		req_end(cc, cc->reqs, -1);
	if (!cc->retry.queued)
		sim_at(cc->client->proc.sim, &cc->retry,
		       RETRY_NS + sim_below(cc->client->proc.sim, 50000000));
}

static const struct stream_ops cc_ops = {
	.window = cc_window,
	.received = cc_received,
	.output = cc_output,
	.sent = cc_sent,
	.closed = cc_closed,
};

static void cc_connected(void *arg, struct stream *stream)
{
	struct cconn *cc = arg;

	if (stream == NULL || cc->mgr != cc->client->mgr) {
		cc->state = CC_DOWN;
		if (!cc->retry.queued)
			sim_at(cc->client->proc.sim, &cc->retry, RETRY_NS);
		return;
	}
	cc->state = CC_GREETING;
	cc->stream = stream;
	cc->in_len = cc->hello_len = cc->hello_off = cc->tx_off = 0;
	stream_attach(stream, &cc_ops, cc);
}

static void cc_connect(struct cconn *cc)
{
	if (cc->state != CC_DOWN || !cc->wanted || cc->client->mgr == NULL)
		return;
	cc->state = CC_CONNECTING;
	cc->mgr = cc->client->mgr;
	cc->structured = sim_below(cc->client->proc.sim, 2) == 0;
	net_connect(&cc->client->proc, mgr_proc(cc->mgr), mgr_accept, cc_connected, cc);
}

static void cc_retry(struct event *e)
{
	cc_connect((struct cconn *)((char *)e - offsetof(struct cconn, retry)));
}

/* ---- life ---------------------------------------------------------------------------------- */

struct client *client_new(struct sim *s)
{
	struct client *c = world_alloc(sizeof(*c));

	proc_init(s, &c->proc, "client");
	for (unsigned i = 0; i < CONNS; i++) {
		struct cconn *cc = &c->conns[i];

		cc->client = c;
		cc->tail = &cc->reqs;
		cc->in = world_malloc(IN_BYTES);
		cc->wanted = i == 0 || sim_below(s, 2) == 0;
		cc->retry = (struct event){.fn = cc_retry, .proc = &c->proc};
	}
	proc_start(&c->proc);
	return c;
}

void client_free(struct client *c)
{
	for (unsigned i = 0; i < CONNS; i++)
		free(c->conns[i].in);
	heap_drop(&c->proc.heap);
	free(c);
}

struct proc *client_proc(struct client *c)
{
	return &c->proc;
}

static void cc_drop(struct cconn *cc)
{
	if (cc->stream == NULL || cc->state < CC_GREETING)
		return;
	cc->state = CC_DROPPED;
	if (faults_aim_leave(cc->client->proc.sim->faults))
		net_leave(cc->stream);
	else
		net_cut(cc->stream);
}

void client_use(struct client *c, struct mgr *m)
{
	c->mgr = m;
	for (unsigned i = 0; i < CONNS; i++) {
		struct cconn *cc = &c->conns[i];

		cc_drop(cc); /* also those to an earlier life of the same */
		if (cc->state == CC_DOWN && !cc->retry.queued)
			sim_at(c->proc.sim, &cc->retry, 1000);
	}
}

void client_drop(struct client *c)
{
	for (unsigned i = 0; i < CONNS; i++)
		cc_drop(&c->conns[i]);
}
