/*
 * The client's side of an NBD connection: calls out, replies in. The handshake is in
 * client-hello.c.
 *
 * Calls wait in one list, in the order of submission; a hash by cookie finds the one that a reply
 * is for. A call is done when it was answered and the transport has let go of its memory, in
 * whichever order these two happen. Small replies come through the input buffer, the rest of a
 * large one goes straight to where the caller wants it.
 */
#include "config.h"

#include "nbd/client-impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "banned.h"

static const struct stream_ops client_stream_ops;

/* Handshake messages are strictly question and answer: the space before out_off is free, and what
 * has been given to the transport stays where it is. */
void client_put(struct nbd_client *c, const void *data, uint32_t len)
{
	if (c->out_off == c->out_len)
		c->out_off = c->out_len = 0;
	assert(len <= CLIENT_OUT_BYTES - c->out_len);
	memcpy(c->out + c->out_len, data, len);
	c->out_len += len;
	stream_kick(c->stream);
}

int client_fail(struct nbd_client *c, int err, const char *why)
{
	c->err = err;
	snprintf(c->why, sizeof(c->why), "%s", why);
	return err;
}

/* ---- calls --------------------------------------------------------------------------------- */

static struct nbd_call **hash_slot(struct nbd_client *c, uint64_t cookie)
{
	struct nbd_call **at = &c->hash[cookie & (CLIENT_HASH - 1)];

	while (*at != NULL && (*at)->cookie != cookie)
		at = &(*at)->hash_next;
	return at;
}

/* Take a call off all lists and tell its owner. */
static void call_finish(struct nbd_client *c, struct nbd_call *call, int error)
{
	struct nbd_call **at = hash_slot(c, call->cookie);

	assert(*at == call && c->waiting > 0);
	*at = call->hash_next;
	if (call->prev != NULL)
		call->prev->next = call->next;
	else
		c->head = call->next;
	if (call->next != NULL)
		call->next->prev = call->prev;
	else
		c->tail = call->prev;
	c->waiting--;
	c->expect_bytes -= call->expect;
	if (error == 0 && c->ops->answered != NULL)
		c->ops->answered(c->ctx, call,
				 c->heard_ns > call->start_ns ? c->heard_ns - call->start_ns : 0);
	call->done(call, error);
}

static void call_replied(struct nbd_client *c, struct nbd_call *call, int error)
{
	call->replied = true;
	call->error = error;
	if (call->sent)
		call_finish(c, call, error);
}

static uint64_t iov_bytes(const struct iovec *iov, int n)
{
	uint64_t sum = 0;

	for (int i = 0; i < n; i++)
		sum += iov[i].iov_len;
	return sum;
}

static bool call_private(const struct nbd_call *call)
{
	return call->type > NBD_CMD_BLOCK_STATUS;
}

static size_t call_header_len(const struct nbd_call *call)
{
	return sizeof(struct nbd_request_wire) + (call_private(call) ? sizeof(struct weft_cmd) : 0);
}

static void call_encode(struct nbd_call *call)
{
	struct nbd_request_wire w = {
		.magic = htobe32(NBD_REQUEST_MAGIC),
		.flags = htobe16(call->flags),
		.type = htobe16(call->type),
		.cookie = htobe64(call->cookie),
		.offset = htobe64(call->offset),
		.len = htobe32(call->len),
	};
	struct weft_cmd cmd = call->cmd;

	static_assert(sizeof(call->header) == sizeof(w) + sizeof(cmd), "headers fit");
	memcpy(call->header, &w, sizeof(w));
	if (!call_private(call))
		return;
	cmd.volume = htobe64(cmd.volume);
	cmd.tx = htobe64(cmd.tx);
	cmd.blocks = htobe64(cmd.blocks);
	cmd.epoch = htobe32(cmd.epoch);
	cmd.slot_gen = htobe32(cmd.slot_gen);
	cmd.reply_len = htobe32(cmd.reply_len);
	cmd.participants = htobe32(cmd.participants);
	cmd.reserved = 0;
	cmd.reserved2 = 0;
	cmd.reserved3[0] = cmd.reserved3[1] = 0;
	memcpy(call->header + sizeof(w), &cmd, sizeof(cmd));
}

void nbd_client_submit(struct nbd_client *c, struct nbd_call *call)
{
	uint64_t out = iov_bytes(call->out, call->nout);
	struct nbd_call **bucket;

	assert(c->state >= CLIENT_READY && c->state < CLIENT_CLOSED);
	assert(call->nout <= STREAM_IOV_MAX - 2 && call->nin <= STREAM_IOV_MAX - 2);
	if (call_private(call)) {
		assert(out <= WEFT_PREPARE_MAX);
		call->len = (uint32_t)(sizeof(struct weft_cmd) + out);
		call->expect = call->cmd.reply_len;
	} else {
		assert(c->name[0] != '\0' || call->type == NBD_CMD_READ ||
		       call->type == NBD_CMD_FLUSH);
		assert(out == 0 || (call->type == NBD_CMD_WRITE && out <= UINT32_MAX));
		if (call->type == NBD_CMD_WRITE)
			call->len = (uint32_t)out;
		call->expect = call->type == NBD_CMD_READ ? call->len : 0;
	}
	assert(iov_bytes(call->in, call->nin) == call->expect);
	call->cookie = c->next_cookie++;
	call->start_ns = c->env->ops->now_ns(c->env);
	call->error = 0;
	call->sent = call->replied = false;
	call_encode(call);

	bucket = &c->hash[call->cookie & (CLIENT_HASH - 1)];
	call->hash_next = *bucket;
	*bucket = call;
	call->next = NULL;
	call->prev = c->tail;
	if (c->tail != NULL)
		c->tail->next = call;
	else
		c->head = call;
	c->tail = call;
	if (c->tx == NULL) {
		c->tx = call;
		c->tx_piece = 0;
		c->tx_off = 0;
	}
	c->waiting++;
	c->expect_bytes += call->expect;
	if (c->stream != NULL)
		stream_kick(c->stream);
}

uint64_t nbd_client_oldest_ns(const struct nbd_client *c)
{
	return c->head != NULL ? c->head->start_ns : 0;
}

uint64_t nbd_client_heard_ns(const struct nbd_client *c)
{
	return c->heard_ns;
}

/* ---- output -------------------------------------------------------------------------------- */

/* Piece p of a call: its header, then the caller's memory. False: there is no p. */
static bool call_piece(const struct nbd_call *call, int p, struct iovec *iov)
{
	if (p == 0) {
		iov->iov_base = (void *)call->header;
		iov->iov_len = call_header_len(call);
		return true;
	}
	if (p > call->nout)
		return false;
	*iov = call->out[p - 1];
	return true;
}

static int client_output(void *engine, struct iovec *iov, int max)
{
	struct nbd_client *c = engine;
	int n = 0, p = c->tx_piece;
	size_t off = c->tx_off;
	struct iovec piece;

	if (c->out_off < c->out_len && max > 0) {
		iov[n].iov_base = c->out + c->out_off;
		iov[n].iov_len = c->out_len - c->out_off;
		n++;
	}
	for (struct nbd_call *call = c->tx; call != NULL && n < max; call = call->next) {
		for (; n < max && call_piece(call, p, &piece); p++, off = 0) {
			if (piece.iov_len == off)
				continue;
			iov[n].iov_base = (uint8_t *)piece.iov_base + off;
			iov[n].iov_len = piece.iov_len - off;
			n++;
		}
		p = 0;
		off = 0;
	}
	return n;
}

static void client_sent(void *engine, size_t n)
{
	struct nbd_client *c = engine;
	struct nbd_call *call;
	struct iovec piece;

	if (c->out_off < c->out_len) {
		uint32_t here = c->out_len - c->out_off;

		if (here > n)
			here = (uint32_t)n;
		c->out_off += here;
		n -= here;
	}
	while (n > 0 && (call = c->tx) != NULL) {
		while (call_piece(call, c->tx_piece, &piece)) {
			if (n < piece.iov_len - c->tx_off) {
				c->tx_off += n;
				return;
			}
			n -= piece.iov_len - c->tx_off;
			c->tx_off = 0;
			c->tx_piece++;
		}
		c->tx_piece = 0;
		c->tx = call->next;
		call->sent = true;
		if (call->replied)
			call_finish(c, call, call->error);
	}
	assert(n == 0);
}

/* ---- input --------------------------------------------------------------------------------- */

/* Where the next byte of rx's data goes. */
static uint8_t *rx_at(struct nbd_client *c, size_t *room)
{
	const struct iovec *iov = &c->rx->in[c->rx_iov];

	while (c->rx_iov_off == iov->iov_len) {
		c->rx_iov++;
		c->rx_iov_off = 0;
		iov++;
	}
	*room = iov->iov_len - c->rx_iov_off;
	return (uint8_t *)iov->iov_base + c->rx_iov_off;
}

static void rx_advance(struct nbd_client *c, size_t n)
{
	c->rx_iov_off += n;
	c->rx_left -= (uint32_t)n;
	if (c->rx_left == 0) {
		struct nbd_call *call = c->rx;

		c->rx = NULL;
		call_replied(c, call, 0);
	}
}

static size_t client_window(void *engine, void **ptr)
{
	struct nbd_client *c = engine;
	uint32_t avail = client_avail(c);
	size_t room;

	if (c->state >= CLIENT_CLOSING)
		return 0;
	c->rx_direct = false;
	if (c->rx != NULL) {
		*ptr = rx_at(c, &room);
		if (room >= CLIENT_DIRECT_MIN) {
			c->rx_direct = true;
			return room;
		}
	}
	if (avail == 0) {
		c->in_head = c->in_tail = 0;
	} else if (CLIENT_IN_BYTES - c->in_tail < CLIENT_IN_COMPACT) {
		memmove(c->in, c->in + c->in_head, avail);
		c->in_head = 0;
		c->in_tail = avail;
	}
	*ptr = c->in + c->in_tail;
	/* A small first bite: what comes with the header has to be copied. */
	if (avail == 0 && c->rx == NULL && c->waiting > 0 &&
	    c->expect_bytes / c->waiting > CLIENT_IN_BYTES)
		return CLIENT_IN_LARGE;
	return CLIENT_IN_BYTES - c->in_tail;
}

/* Copy what has come of rx's data. */
static int step_data(struct nbd_client *c)
{
	while (c->rx != NULL && client_avail(c) > 0) {
		size_t n = client_avail(c), room;
		uint8_t *to = rx_at(c, &room);

		if (n > room)
			n = room;
		memcpy(to, c->in + c->in_head, n);
		c->in_head += (uint32_t)n;
		rx_advance(c, n);
	}
	return c->rx == NULL;
}

static int step_reply(struct nbd_client *c)
{
	struct nbd_simple_reply r;
	struct nbd_call *call;
	uint32_t error;

	if (client_avail(c) < sizeof(r))
		return 0;
	memcpy(&r, c->in + c->in_head, sizeof(r));
	c->in_head += sizeof(r);
	if (be32toh(r.magic) != NBD_SIMPLE_REPLY_MAGIC)
		return client_fail(c, -EPROTO, "the server sent a reply with a wrong magic");
	call = *hash_slot(c, be64toh(r.cookie));
	if (call == NULL || call->replied)
		return client_fail(c, -EPROTO, "the server sent a reply to no call");
	error = be32toh(r.error);
	if (error > INT16_MAX)
		return client_fail(c, -EPROTO, "the server sent an impossible error");
	if (error == NBD_ESHUTDOWN) /* nothing that waits will be done: as good as gone */
		return client_fail(c, -ESHUTDOWN, "the server is shutting down");
	if (error != 0 || call->expect == 0) {
		call_replied(c, call, (int)error);
		return 1;
	}
	c->rx = call;
	c->rx_left = call->expect;
	c->rx_iov = 0;
	c->rx_iov_off = 0;
	return 1;
}

/* A chunk on a route: only its head is of interest. */
static int step_chunk(struct nbd_client *c)
{
	struct nbd_chunk w;
	uint32_t n = client_avail(c);

	if (c->rx_left > 0) {
		n = n < c->rx_left ? n : c->rx_left;
		c->in_head += n;
		c->rx_left -= n;
		return n > 0;
	}
	if (n < sizeof(w))
		return 0;
	memcpy(&w, c->in + c->in_head, sizeof(w));
	c->in_head += sizeof(w);
	if (be32toh(w.magic) != NBD_STRUCTURED_REPLY_MAGIC)
		return client_fail(c, -EPROTO, "the server sent a chunk with a wrong magic");
	c->rx_left = be32toh(w.len);
	if (c->ops->chunk != NULL)
		c->ops->chunk(c->ctx, c, be64toh(w.cookie), be16toh(w.type));
	return 1;
}

static int client_parse(struct nbd_client *c)
{
	int r = 1;

	while (r > 0 && c->state <= CLIENT_READY) {
		if (c->state < CLIENT_READY)
			r = client_step_hello(c);
		else if (c->route)
			r = step_chunk(c);
		else
			r = c->rx != NULL ? step_data(c) : step_reply(c);
	}
	if (r < 0 && c->state < CLIENT_BROKEN)
		c->state = CLIENT_BROKEN;
	return r < 0 ? r : 0;
}

static int client_received(void *engine, size_t n)
{
	struct nbd_client *c = engine;

	c->heard_ns = c->env->ops->now_ns(c->env);

	if (c->state >= CLIENT_CLOSING)
		return 0;
	if (c->rx_direct) {
		c->rx_direct = false;
		rx_advance(c, n);
		return 0;
	}
	c->in_tail += (uint32_t)n;
	assert(c->in_tail <= CLIENT_IN_BYTES);
	return client_parse(c);
}

/* ---- life ---------------------------------------------------------------------------------- */

static void client_late(struct io_timer *t)
{
	struct nbd_client *c =
		(struct nbd_client *)((char *)t - offsetof(struct nbd_client, timer));

	client_fail(c, -ETIMEDOUT, "the server did not finish the handshake in time");
	c->state = CLIENT_BROKEN;
	stream_close(c->stream);
}

static void client_closed(void *engine, int err)
{
	struct nbd_client *c = engine;
	enum client_state was = c->state;
	const char *why = NULL;

	c->state = CLIENT_CLOSING;
	c->stream = NULL;
	c->rx = NULL;
	c->env->ops->timer_cancel(c->env, &c->timer);
	if (c->ops->breaking != NULL)
		c->ops->breaking(c->ctx, c);
	while (c->head != NULL)
		call_finish(c, c->head, -ENOTCONN);
	c->tx = NULL;
	c->state = CLIENT_CLOSED;
	if (c->err != 0) {
		err = c->err;
		why = c->why;
	} else if (err != 0) {
		why = strerror(-err);
	} else if (was < CLIENT_READY) {
		err = -ECONNRESET;
		why = "the server closed the connection during the handshake";
	} else if (was == CLIENT_READY) {
		err = -ECONNRESET;
		why = "the server closed the connection";
	}
	c->ops->closed(c->ctx, c, err, why);
	explicit_bzero(c->secret, sizeof(c->secret));
	free(c->in);
	free(c);
}

static const struct stream_ops client_stream_ops = {
	.window = client_window,
	.received = client_received,
	.output = client_output,
	.sent = client_sent,
	.closed = client_closed,
};

struct nbd_client *nbd_client_create(const struct nbd_client_ops *ops, void *ctx, struct env *env,
				     const uint8_t *secret, struct stream *stream)
{
	struct nbd_client *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->in = malloc(CLIENT_IN_BYTES);
	if (c->in == NULL) {
		free(c);
		return NULL;
	}
	c->ops = ops;
	c->ctx = ctx;
	c->env = env;
	c->stream = stream;
	if (secret != NULL)
		memcpy(c->secret, secret, WEFT_SECRET_BYTES);
	c->next_cookie = 1;
	c->timer.fire = client_late;
	stream_attach(stream, &client_stream_ops, c);
	env->ops->timer_set(env, &c->timer,
			    env->ops->now_ns(env) + CLIENT_HANDSHAKE_MS * NS_PER_MS);
	stream_kick(stream);
	return c;
}

struct nbd_client *nbd_client_create_plain(const struct nbd_client_ops *ops, void *ctx,
					   struct env *env, const char *name, struct stream *stream)
{
	struct nbd_client *c = nbd_client_create(ops, ctx, env, NULL, stream);

	assert(*name != '\0' && strlen(name) <= NBD_CLIENT_NAME_MAX);
	if (c != NULL)
		memcpy(c->name, name, strlen(name));
	return c;
}

void nbd_client_route(struct nbd_client *c)
{
	assert(c->state == CLIENT_GREETING);
	c->route = true;
}

bool nbd_client_route_room(const struct nbd_client *c, unsigned reads)
{
	assert(c->route);
	return c->state == CLIENT_READY &&
	       (c->out_off == c->out_len ||
		CLIENT_OUT_BYTES - c->out_len >= reads * sizeof(struct nbd_request_wire));
}

static void route_put(struct nbd_client *c, uint16_t flags, uint64_t cookie, uint64_t offset,
		      uint32_t len)
{
	struct nbd_request_wire w = {
		.magic = htobe32(NBD_REQUEST_MAGIC),
		.flags = htobe16(flags),
		.type = htobe16(NBD_CMD_READ),
		.cookie = htobe64(cookie),
		.offset = htobe64(offset),
		.len = htobe32(len),
	};

	client_put(c, &w, sizeof(w));
}

bool nbd_client_mark(struct nbd_client *c, uint64_t cookie)
{
	if (!nbd_client_route_room(c, 1))
		return false;
	route_put(c, 0, cookie, 0, 0);
	return true;
}

void nbd_client_route_read(struct nbd_client *c, uint64_t cookie, uint64_t offset, uint32_t len)
{
	route_put(c, NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_DF, cookie, offset, len);
}

const struct nbd_client_peer *nbd_client_peer(const struct nbd_client *c)
{
	assert(c->state >= CLIENT_READY);
	return &c->peer;
}

void nbd_client_close(struct nbd_client *c)
{
	struct nbd_request_wire w = {
		.magic = htobe32(NBD_REQUEST_MAGIC),
		.type = htobe16(NBD_CMD_DISC),
	};

	if (c->state >= CLIENT_CLOSING)
		return;
	/* Only between two calls: in the middle of one, or of the handshake, closing says it all.
	 */
	if (c->state == CLIENT_READY && c->tx == NULL)
		client_put(c, &w, sizeof(w));
	c->state = CLIENT_CLOSING;
	stream_close(c->stream);
}
