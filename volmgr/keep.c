/*
 * The keeper's engine; see keep.h.
 *
 * Each request of the device becomes a call, in a list in the order of arrival until it is
 * answered. An acknowledged write goes over to the list of kept ones, with its payload, until a
 * flush that was sent after its acknowledgement has succeeded. When volmgr is back, the kept writes
 * go first (those that overlap one after the other, as they were acknowledged), then the calls that
 * wait.
 */
#include "config.h"

#include "keep.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "log.h"
#include "nbd/client.h"
#include "nbd/proto.h"
#include "nbd/session.h"

#include "banned.h"

/* Its flags that mean the same here; flushes cover all connections, as they end in one. */
#define PASSED_FLAGS                                                                               \
	(NBD_FLAG_READ_ONLY | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA | NBD_FLAG_ROTATIONAL |      \
	 NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO)
#define PASSED_CMD_FLAGS (NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO)
/* The device may be grown without connecting anew: volmgr knows the end, here is none. */
#define NO_END		 (1ULL << 62)

struct keep_call {
	struct nbd_call call; /* first */
	struct keep *keep;
	struct nbd_req *req; /* whom to answer; NULL: nobody, or it was answered already */
	struct buf *buf;     /* the payload, or where a read goes */
	struct iovec iov;    /* of buf */
	bool kept;	     /* in keep->kept, else in keep->calls */
	uint64_t stamp;	     /* kept: counted up; a flush: it covers all up to here */
	struct keep_call *prev, *next;
};

struct keep_list {
	struct keep_call *head, *tail;
	unsigned n;
};

struct keep {
	const struct keep_ops *ops;
	void *ctx;
	struct env *env;
	struct buf_pool *pool;
	char name[NBD_CLIENT_NAME_MAX + 1];
	struct nbd_client *up; /* volmgr; NULL: away */
	bool ready;	       /* it takes calls */
	bool opened;	       /* size and flags are known */
	bool another;	       /* the volume of this name is not ours */
	bool shared;
	uint64_t size;
	uint16_t flags;
	char description[NBD_CLIENT_NAME_MAX + 1]; /* which volume it is, names can be given anew */
	unsigned nconns;			   /* of the device */

	struct keep_list calls;	 /* not answered, in the order of arrival */
	struct keep_call *next;	 /* the first of them that was not sent */
	struct keep_list kept;	 /* acknowledged, not flushed, in the order of acknowledgement */
	struct keep_call *again; /* the first of them that was not written again; NULL: all were */
	struct keep_call *under_way[KEEP_AGAIN_MAX]; /* those that are being written again */
	unsigned nunder_way;
	uint64_t kept_bytes;
	bool anew;		/* write all that is kept again, when nothing is under way */
	unsigned sent;		/* calls that the client engine has */
	unsigned failures;	/* flushes that failed, one after the other */
	uint64_t write_bytes;	/* of writes that were sent and not answered: they will be kept */
	uint64_t stamp;		/* of the last one that was kept */
	bool lost;		/* one could not be written again: the next flush says so */
	bool flushing;		/* flush is under way */
	struct keep_call flush; /* our own, that makes room */
};

struct conn {
	struct keep *keep;
	struct stream *stream;
};

static const struct nbd_server_ops down_ops;

static void list_append(struct keep_list *l, struct keep_call *c)
{
	c->next = NULL;
	c->prev = l->tail;
	if (l->tail != NULL)
		l->tail->next = c;
	else
		l->head = c;
	l->tail = c;
	l->n++;
}

static void list_remove(struct keep_list *l, struct keep_call *c)
{
	assert(l->n > 0);
	if (c->prev != NULL)
		c->prev->next = c->next;
	else
		l->head = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	else
		l->tail = c->prev;
	l->n--;
}

static bool call_writes(const struct keep_call *c)
{
	return c->call.type == NBD_CMD_WRITE || c->call.type == NBD_CMD_TRIM ||
	       c->call.type == NBD_CMD_WRITE_ZEROES;
}

/* What it holds in memory. */
static uint64_t call_bytes(const struct keep_call *c)
{
	return c->call.type == NBD_CMD_WRITE ? c->buf->cap : 0;
}

static void call_free(struct keep_call *c)
{
	buf_put(c->buf);
	free(c);
}

static void call_send(struct keep *k, struct keep_call *c)
{
	k->sent++;
	nbd_client_submit(k->up, &c->call);
}

/* ---- writing again -------------------------------------------------------------------------- */

static bool calls_overlap(const struct nbd_call *a, const struct nbd_call *b)
{
	return a->offset < b->offset + b->len && b->offset < a->offset + a->len;
}

static bool again_blocked(const struct keep *k)
{
	if (k->nunder_way == KEEP_AGAIN_MAX)
		return true;
	for (unsigned i = 0; i < k->nunder_way; i++)
		if (calls_overlap(&k->under_way[i]->call, &k->again->call))
			return true;
	return false;
}

/* True: all that is kept was written again. What is under way may overlap with it and is newer. */
static bool again_pump(struct keep *k)
{
	if (k->anew && k->sent > 0)
		return false;
	if (k->anew)
		k->again = k->kept.head;
	k->anew = false;
	while (k->again != NULL && !again_blocked(k)) {
		struct keep_call *c = k->again;

		k->again = c->next;
		k->under_way[k->nunder_way++] = c;
		call_send(k, c);
	}
	return k->again == NULL && k->nunder_way == 0;
}

static void kept_drop(struct keep *k, struct keep_call *c)
{
	k->kept_bytes -= call_bytes(c);
	list_remove(&k->kept, c);
	call_free(c);
}

static void again_done(struct keep *k, struct keep_call *c, int error)
{
	for (unsigned i = 0; i < k->nunder_way; i++) {
		if (k->under_way[i] == c) {
			k->under_way[i] = k->under_way[--k->nunder_way];
			break;
		}
	}
	if (error == 0)
		return;
	log_error("%u bytes at %llu were acknowledged, and cannot be written again: %s",
		  c->call.len, (unsigned long long)c->call.offset, strerror(error));
	k->lost = true;
	kept_drop(k, c);
}

/* ---- sending -------------------------------------------------------------------------------- */

/* A flush of our own, so that what is kept can go. */
static void flush_start(struct keep *k)
{
	if (k->flushing || k->kept.n == 0)
		return;
	k->flushing = true;
	k->flush.stamp = k->stamp;
	call_send(k, &k->flush);
}

/* Is there room to keep it, and memory to read into? */
static bool call_prepare(struct keep *k, struct keep_call *c)
{
	if (call_writes(c)) {
		uint64_t held = k->kept_bytes + k->write_bytes;

		if ((held > 0 && held + call_bytes(c) > KEEP_BYTES_MAX) ||
		    k->kept.n >= KEEP_WRITES_MAX)
			return false;
		k->write_bytes += call_bytes(c);
	} else if (c->call.type == NBD_CMD_READ && c->buf == NULL) {
		c->buf = buf_get(k->pool, c->call.len);
		if (c->buf == NULL)
			return false;
		c->iov = (struct iovec){c->buf->data, c->call.len};
	} else if (c->call.type == NBD_CMD_FLUSH) {
		c->stamp = k->stamp;
	}
	return true;
}

static void keep_pump(struct keep *k)
{
	bool full = false;

	if (!k->ready || !again_pump(k))
		return;
	while (k->next != NULL && !full) {
		struct keep_call *c = k->next;

		full = !call_prepare(k, c);
		if (full)
			break;
		k->next = c->next;
		call_send(k, c);
	}
	if (full || k->kept_bytes > KEEP_BYTES_MAX / 2 || k->kept.n > KEEP_WRITES_MAX / 2)
		flush_start(k);
}

/* ---- answers -------------------------------------------------------------------------------- */

static void flushed(struct keep *k, uint64_t stamp)
{
	k->failures = 0;
	while (k->kept.head != NULL && k->kept.head->stamp <= stamp)
		kept_drop(k, k->kept.head);
}

/*
 * Servers may have forgotten together what they had acknowledged; volmgr fails one flush to say so.
 * It is still here. True: the flush is worth another try.
 */
static bool flush_failed(struct keep *k)
{
	if (k->kept.n == 0 || ++k->failures >= KEEP_FLUSH_TRIES) {
		k->failures = 0;
		return false;
	}
	k->anew = true;
	return true;
}

static void call_later(struct keep *k, struct keep_call *c)
{
	list_remove(&k->calls, c);
	list_append(&k->calls, c);
	if (k->next == NULL)
		k->next = c;
}

/* The device gets its answer. */
static void call_answer(struct keep *k, struct keep_call *c, int error)
{
	struct nbd_req *req = c->req;

	list_remove(&k->calls, c);
	c->req = NULL;
	if (c->call.type == NBD_CMD_FLUSH && error == 0) {
		flushed(k, c->stamp);
		error = k->lost ? EIO : 0;
		k->lost = false;
	}
	if (c->call.type == NBD_CMD_READ && error == 0) {
		struct nbd_seg seg = {.buf = c->buf, .len = c->call.len};

		c->buf = NULL;
		call_free(c);
		nbd_req_done_data(req, &seg, 1);
		return;
	}
	if (call_writes(c) && error == 0 && (k->flags & NBD_FLAG_SEND_FLUSH) && !k->shared) {
		c->kept = true;
		c->stamp = ++k->stamp;
		k->kept_bytes += call_bytes(c);
		list_append(&k->kept, c);
	} else {
		call_free(c);
	}
	nbd_req_done(req, error);
}

/* One of our own. If it cannot be had at all, nothing is worth keeping: the device hears of it. */
static void flush_done(struct keep *k, int error)
{
	k->flushing = false;
	if (error == -ENOTCONN)
		return;
	if (error == 0) {
		flushed(k, k->flush.stamp);
	} else if (!flush_failed(k)) {
		log_error("a flush failed again and again: %s", strerror(error));
		k->lost = true;
		while (k->kept.head != NULL)
			kept_drop(k, k->kept.head);
	}
}

static void call_done(struct nbd_call *call, int error)
{
	struct keep_call *c = (struct keep_call *)call;
	struct keep *k = c->keep;

	k->sent--;
	if (!c->kept && call_writes(c))
		k->write_bytes -= call_bytes(c);
	if (c == &k->flush) {
		flush_done(k, error);
	} else if (error == -ENOTCONN) {
		return; /* it goes again: see up_closed() */
	} else if (c->kept) {
		again_done(k, c, error);
	} else if (c->call.type == NBD_CMD_FLUSH && error != 0 && flush_failed(k)) {
		call_later(k, c);
	} else {
		call_answer(k, c, error);
	}
	keep_pump(k);
}

/* ---- volmgr --------------------------------------------------------------------------------- */

static void up_ready(void *ctx, struct nbd_client *client)
{
	const struct nbd_client_peer *peer = nbd_client_peer(client);
	struct keep *k = ctx;
	bool again = k->opened;

	if (again && strcmp(peer->description, k->description) != 0) {
		k->another = true;
		nbd_client_close(client);
		return;
	}
	snprintf(k->description, sizeof(k->description), "%s", peer->description);
	k->ready = true;
	k->opened = true;
	k->size = peer->size;
	k->flags = (peer->flags & PASSED_FLAGS) | NBD_FLAG_CAN_MULTI_CONN;
	k->ops->opened(k->ctx, again);
	keep_pump(k);
}

static void up_breaking(void *ctx, struct nbd_client *client)
{
	struct keep *k = ctx;

	k->ready = false;
}

static void up_closed(void *ctx, struct nbd_client *client, int err, const char *why)
{
	struct keep *k = ctx;

	k->up = NULL;
	k->ready = false;
	k->nunder_way = 0;
	k->again = k->kept.head;
	k->anew = false;
	k->next = k->calls.head;
	assert(!k->flushing && k->write_bytes == 0 && k->sent == 0);
	if (k->another)
		why = "another volume has this name now";
	k->another = false;
	k->ops->broken(k->ctx, err, why);
}

static const struct nbd_client_ops up_ops = {
	.ready = up_ready,
	.breaking = up_breaking,
	.closed = up_closed,
};

int keep_connected(struct keep *k, struct stream *stream)
{
	assert(k->up == NULL);
	k->up = nbd_client_create_plain(&up_ops, k, k->env, k->name, stream);
	return k->up != NULL ? 0 : -ENOMEM;
}

bool keep_goodbye(struct keep *k)
{
	if (k->up == NULL)
		return false;
	k->ready = false;
	nbd_client_close(k->up);
	return true;
}

/* ---- the device ----------------------------------------------------------------------------- */

static int down_open(void *ctx, struct nbd_session *s, const char *name, size_t len, bool info_only,
		     struct nbd_export *out, const char **why)
{
	struct keep *k = ((struct conn *)ctx)->keep;

	if (len != strlen(k->name) || memcmp(name, k->name, len) != 0)
		return -ENOENT;
	*out = (struct nbd_export){
		.size = k->size,
		.min_block = 1,
		.pref_block = WEFT_BLOCK_BYTES,
		.max_block = NBD_PAYLOAD_MAX,
		.flags = k->flags,
		.ctx = k,
	};
	return 0;
}

static void down_ready(void *ctx, struct nbd_session *s, void *export_ctx)
{
	struct conn *conn = ctx;
	struct keep *k = conn->keep;
	struct nbd_session_config config = {
		.ops = &down_ops, .ctx = conn, .env = k->env, .pool = k->pool};

	nbd_session_set_size(s, NO_END);
	nbd_session_resume(s, &config, conn->stream);
}

static void down_request(void *ctx, struct nbd_req *req)
{
	struct keep *k = req->export_ctx;
	struct nbd_status all = {.len = req->len};
	struct keep_call *c;

	if (req->type == NBD_CMD_BLOCK_STATUS) {
		nbd_req_done_status(req, &all, 1);
		return;
	}
	c = calloc(1, sizeof(*c));
	if (c == NULL) {
		nbd_req_done(req, ENOMEM);
		return;
	}
	c->keep = k;
	c->req = req;
	c->call.type = req->type;
	c->call.flags = req->flags & PASSED_CMD_FLAGS;
	c->call.offset = req->offset;
	c->call.len = req->len;
	c->call.done = call_done;
	if (req->type == NBD_CMD_WRITE) {
		c->buf = buf_ref(req->payload);
		c->iov = (struct iovec){c->buf->data, req->len};
		c->call.out = &c->iov;
		c->call.nout = 1;
	} else if (req->type == NBD_CMD_READ) {
		c->call.in = &c->iov;
		c->call.nin = 1;
	}
	list_append(&k->calls, c);
	if (k->next == NULL)
		k->next = c;
	keep_pump(k);
}

static void down_closed(void *ctx, struct nbd_session *s, void *export_ctx)
{
	struct conn *conn = ctx;
	struct keep *k = conn->keep;

	free(conn);
	assert(k->nconns > 0);
	if (--k->nconns == 0 && export_ctx != NULL)
		k->ops->left(k->ctx);
}

static const struct nbd_server_ops down_ops = {
	.open = down_open,
	.ready = down_ready,
	.request = down_request,
	.closed = down_closed,
};

int keep_accepted(struct keep *k, struct stream *stream)
{
	struct nbd_session_config config = {
		.ops = &down_ops, .env = k->env, .pool = k->pool, .peer_name = "the device"};
	struct conn *conn;

	if (!k->opened || k->nconns == KEEP_CONNS_MAX)
		return -EAGAIN;
	conn = calloc(1, sizeof(*conn));
	if (conn == NULL)
		return -ENOMEM;
	conn->keep = k;
	conn->stream = stream;
	config.ctx = conn;
	if (nbd_session_create(&config, stream) == NULL) {
		free(conn);
		return -ENOMEM;
	}
	k->nconns++;
	return 0;
}

/* ---- life ----------------------------------------------------------------------------------- */

struct keep *keep_create(const struct keep_ops *ops, void *ctx, struct env *env,
			 struct buf_pool *pool, const char *name, bool shared)
{
	struct keep *k = calloc(1, sizeof(*k));

	if (k == NULL)
		return NULL;
	assert(strlen(name) <= NBD_CLIENT_NAME_MAX);
	k->ops = ops;
	k->ctx = ctx;
	k->env = env;
	k->pool = pool;
	k->shared = shared;
	memcpy(k->name, name, strlen(name));
	k->flush.keep = k;
	k->flush.call.type = NBD_CMD_FLUSH;
	k->flush.call.done = call_done;
	return k;
}

void keep_destroy(struct keep *k)
{
	assert(k->up == NULL && k->nconns == 0);
	while (k->calls.head != NULL)
		call_answer(k, k->calls.head, EIO);
	while (k->kept.head != NULL)
		kept_drop(k, k->kept.head);
	free(k);
}

unsigned keep_waiting(const struct keep *k)
{
	return k->calls.n;
}

unsigned keep_kept(const struct keep *k)
{
	return k->kept.n;
}

uint64_t keep_kept_bytes(const struct keep *k)
{
	return k->kept_bytes;
}
