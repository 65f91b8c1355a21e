/*
 * Steered reads of servers on other machines: the connection that a worker has to itself. See
 * bpf/remote.h. What servers tell comes on P; the ends of answers are sent there, and come out of Q
 * past us, into clients' queues.
 *
 * It breaks when the kernel has no memory for it, or when what we send there does not come back:
 * nothing on it waits for anybody but us. Then clients wait for ends that never come: who may be
 * one of them loses its connection, and there are no such reads until volmgr starts again.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf/remote.h"
#include "log.h"
#include "nbd/proto.h"
#include "route.h"

#include "banned.h"

#define OUT_MAX	 8192u /* ends that are not sent yet; a power of two */
#define IN_BYTES 4096u
#define LOOKS	 160u /* of route-late.c, without a mark that was sent: four seconds at least */

struct route_remote {
	struct wroute *wroute;
	struct stream *stream; /* P; NULL: it broke */
	int q;
	uint64_t marked;     /* the last mark that was sent, */
	uint64_t back;	     /* and the last that came */
	bool unmarked;	     /* an end was sent behind the last mark */
	uint64_t looked;     /* the last mark that had come at the last look, */
	uint32_t looks;	     /* and how often it was the same while others were to come */
	uint32_t head, tail; /* of out, counting up */
	uint32_t sent;	     /* bytes of its first one */
	uint32_t have, skip; /* bytes of a chunk that came in part; of its payload to come */
	uint8_t in[IN_BYTES];
	struct nbd_chunk out[OUT_MAX];
};

/* ---- what comes ---------------------------------------------------------------------------- */

static size_t remote_window(void *engine, void **ptr)
{
	struct route_remote *r = engine;

	*ptr = r->in + r->have;
	return IN_BYTES - r->have;
}

static void chunk_came(struct route_remote *r, const struct nbd_chunk *w)
{
	uint64_t cookie = be64toh(w->cookie);

	if ((cookie & ROUTE_MARK) != 0 && ROUTE_MARK_SERVER(cookie) == 0) {
		r->back = cookie & ROUTE_MARK_COUNT;
		route_clients_look(r->wroute);
		return;
	}
	if ((be16toh(w->flags) & REMOTE_END) != 0) { /* the programs had no memory for it */
		route_remote_end(r->wroute, cookie);
		return;
	}
	route_server_chunk(r->wroute, cookie, be16toh(w->type));
}

static int remote_received(void *engine, size_t n)
{
	struct route_remote *r = engine;
	uint32_t at = 0, end = r->have + (uint32_t)n;

	while (end - at > 0) {
		struct nbd_chunk w;
		uint32_t here = end - at < r->skip ? end - at : r->skip;

		r->skip -= here;
		at += here;
		if (r->skip > 0 || end - at < sizeof(w))
			break;
		memcpy(&w, r->in + at, sizeof(w));
		at += (uint32_t)sizeof(w);
		r->skip = be32toh(w.len);
		chunk_came(r, &w);
	}
	r->have = end - at;
	memmove(r->in, r->in + at, r->have);
	return 0;
}

/* ---- what is sent -------------------------------------------------------------------------- */

static int remote_output(void *engine, struct iovec *iov, int max)
{
	struct route_remote *r = engine;
	uint32_t first = r->head & (OUT_MAX - 1), n = r->tail - r->head;

	if (n == 0 || max == 0)
		return 0;
	if (n > OUT_MAX - first)
		n = OUT_MAX - first;
	iov[0].iov_base = (uint8_t *)&r->out[first] + r->sent;
	iov[0].iov_len = n * sizeof(r->out[0]) - r->sent;
	return 1;
}

static void remote_sent(void *engine, size_t n)
{
	struct route_remote *r = engine;
	size_t bytes = r->sent + n;

	r->head += (uint32_t)(bytes / sizeof(r->out[0]));
	r->sent = (uint32_t)(bytes % sizeof(r->out[0]));
}

/* What is sent is taken at once: there is always room. */
static void put(struct route_remote *r, uint64_t cookie, uint16_t flags)
{
	if (r->tail - r->head == OUT_MAX) {
		uring_stream_abort(r->stream, -ENOBUFS);
		return;
	}
	r->out[r->tail++ & (OUT_MAX - 1)] = (struct nbd_chunk){
		.magic = htobe32(NBD_STRUCTURED_REPLY_MAGIC),
		.flags = htobe16(flags),
		.type = htobe16(NBD_REPLY_TYPE_NONE),
		.cookie = htobe64(cookie),
	};
	stream_kick(r->stream);
}

/* ---- beginning and end --------------------------------------------------------------------- */

static void remote_closed(void *engine, int err)
{
	struct route_remote *r = engine;
	struct wroute *wr = r->wroute;

	r->stream = NULL;
	if (wr->worker->quitting == NULL) {
		log_warn("eBPF: reads of servers on other machines come through volmgr: %s",
			 strerror(err < 0 ? -err : ECONNRESET));
		route_servers_remote_end(wr);
		for (struct route_client *rc = wr->all; rc != NULL; rc = rc->next_all)
			if (rc->remote_used)
				uring_stream_abort(rc->stream, -EIO);
	}
	wr->worker->open_peers--;
	worker_check_quit(wr->worker);
}

static const struct stream_ops remote_ops = {
	.window = remote_window,
	.received = remote_received,
	.output = remote_output,
	.sent = remote_sent,
	.closed = remote_closed,
};

void route_remote_init(struct wroute *wr)
{
	struct worker *w = wr->worker;
	struct route_remote *r;
	int fd[2];

	if (!bpf_route_remote(wr->bpf) || w->index >= ROUTE_REMOTE_WORKERS ||
	    route_pair_make(NULL, 0, fd) != 0)
		return;
	r = mem_must(sizeof(*r));
	r->wroute = wr;
	r->q = fd[1];
	if (bpf_route_remote_pair(wr->bpf, fd[0], fd[1], w->index) != 0) {
		close(fd[0]);
	} else {
		r->stream = uring_stream(w->uring, fd[0], SEND_TIMEOUT_MS);
	}
	if (r->stream == NULL) {
		close(r->q);
		free(r);
		return;
	}
	stream_attach(r->stream, &remote_ops, r);
	w->open_peers++;
	wr->remote = r;
}

void route_remote_close(struct wroute *wr)
{
	if (wr->remote != NULL && wr->remote->stream != NULL)
		uring_stream_abort(wr->remote->stream, -ECANCELED);
}

void route_remote_free(struct wroute *wr)
{
	if (wr->remote == NULL)
		return;
	close(wr->remote->q);
	free(wr->remote);
	wr->remote = NULL;
}

/* ---- calls --------------------------------------------------------------------------------- */

bool route_remote_works(const struct wroute *wr)
{
	return wr->remote != NULL && wr->remote->stream != NULL;
}

void route_remote_end(struct wroute *wr, uint64_t cookie)
{
	struct route_remote *r = wr->remote;

	if (r->stream == NULL)
		return; /* so is the client's */
	put(r, cookie, REMOTE_END);
	r->unmarked = true;
}

uint64_t route_remote_mark(struct wroute *wr)
{
	struct route_remote *r = wr->remote;

	if (!route_remote_works(wr))
		return 0;
	if (r->unmarked) {
		r->unmarked = false;
		put(r, ROUTE_MARK | ++r->marked, 0);
	}
	return r->marked;
}

bool route_remote_back(const struct wroute *wr, uint64_t mark)
{
	return !route_remote_works(wr) || wr->remote->back >= mark;
}

void route_remote_look(struct wroute *wr)
{
	struct route_remote *r = wr->remote;

	if (!route_remote_works(wr))
		return;
	if (route_remote_mark(wr) == r->back || r->looked != r->back)
		r->looks = 0;
	else if (++r->looks == LOOKS)
		uring_stream_abort(r->stream, -ETIMEDOUT);
	r->looked = r->back;
}
