/*
 * Bytes to requests. Each header is checked whole in request_check() before anything else is done;
 * the back end sees only what passed. A refused WRITE's payload is skipped without being kept, and
 * answered after it, so that the stream goes on.
 *
 * Source: the NBD protocol document, sections "Transmission phase", "Request types", "Error
 * values".
 */
#include "config.h"

#include "nbd/session-impl.h"

#include <errno.h>
#include <stdlib.h>

#include "log.h"

#include "banned.h"

/* Private commands lie in this range, so that a later version's unknown ones can be skipped too. */
#define PRIVATE_FIRST 0x5700u
#define PRIVATE_LAST  0x57ffu

/* One request header in host byte order, and what request_check() found. */
struct request {
	uint16_t type;
	uint16_t flags;
	uint64_t cookie;
	uint64_t offset;
	uint32_t len;
	bool private;
	uint32_t payload; /* bytes that follow in the stream */
	uint32_t answer;  /* bytes that a good answer carries */
	int error;
	const char *why;
};

static void refuse(struct request *r, int error, const char *why)
{
	r->error = error;
	r->why = why;
}

/* Flags that a command may have on this export. */
static uint16_t request_flags(const struct nbd_session *s, uint16_t type)
{
	uint16_t allowed = 0;

	if (s->export.flags & NBD_FLAG_SEND_FUA)
		allowed |= NBD_CMD_FLAG_FUA;
	if (type == NBD_CMD_READ && s->structured)
		allowed |= NBD_CMD_FLAG_DF;
	if (type == NBD_CMD_BLOCK_STATUS)
		allowed |= NBD_CMD_FLAG_REQ_ONE;
	if (type == NBD_CMD_WRITE_ZEROES) {
		allowed |= NBD_CMD_FLAG_NO_HOLE;
		if (s->export.flags & NBD_FLAG_SEND_FAST_ZERO)
			allowed |= NBD_CMD_FLAG_FAST_ZERO;
	}
	return allowed;
}

/* The transmission flag that a command needs; 0: none. */
static uint16_t request_needs(uint16_t type)
{
	switch (type) {
	case NBD_CMD_FLUSH:
		return NBD_FLAG_SEND_FLUSH;
	case NBD_CMD_TRIM:
		return NBD_FLAG_SEND_TRIM;
	case NBD_CMD_CACHE:
		return NBD_FLAG_SEND_CACHE;
	case NBD_CMD_WRITE_ZEROES:
		return NBD_FLAG_SEND_WRITE_ZEROES;
	default:
		return 0;
	}
}

static bool request_changes(uint16_t type)
{
	return type == NBD_CMD_WRITE || type == NBD_CMD_TRIM || type == NBD_CMD_WRITE_ZEROES;
}

static void request_check_range(const struct nbd_session *s, struct request *r)
{
	const struct nbd_export *e = &s->export;

	if (r->offset > e->size || r->len > e->size - r->offset) {
		bool full = r->type == NBD_CMD_WRITE || r->type == NBD_CMD_WRITE_ZEROES;

		refuse(r, full ? ENOSPC : EINVAL, "beyond the end of the export");
	} else if (((r->offset | r->len) & (e->min_block - 1)) != 0) {
		refuse(r, EINVAL, "not aligned to the minimum block size");
	} else if ((r->type == NBD_CMD_READ || r->type == NBD_CMD_WRITE) && r->len > e->max_block) {
		refuse(r, EINVAL, "longer than the maximum block size");
	}
}

/* Fill r's verdict; a negative return: the stream cannot go on. */
static int request_check(const struct nbd_session *s, struct request *r)
{
	r->private = s->export.private_cmds && r->type >= PRIVATE_FIRST && r->type <= PRIVATE_LAST;
	if (r->private || r->type == NBD_CMD_WRITE)
		r->payload = r->len;
	if (r->payload > NBD_PAYLOAD_MAX + (r->private ? sizeof(struct weft_cmd) : 0)) {
		log_info("nbd: %s: a payload of %u bytes, closing", s->peer, r->payload);
		return -EPROTO;
	}
	if (r->private) {
		if (r->len < sizeof(struct weft_cmd) ||
		    r->len > sizeof(struct weft_cmd) + WEFT_PREPARE_MAX)
			refuse(r, EINVAL, "no private command has this length");
		else if (r->flags & ~NBD_CMD_FLAG_FUA)
			refuse(r, EINVAL, "flags that the command cannot have");
		return 0;
	}
	if (r->type > NBD_CMD_BLOCK_STATUS)
		refuse(r, EINVAL, "unknown command");
	else if ((s->export.flags & request_needs(r->type)) != request_needs(r->type))
		refuse(r, EINVAL, "a command that the export does not offer");
	else if (r->flags & ~request_flags(s, r->type))
		refuse(r, EINVAL, "flags that the command cannot have");
	else if (request_changes(r->type) &&
		 ((s->export.flags & NBD_FLAG_READ_ONLY) || s->export.private_cmds))
		refuse(r, EPERM, "the export is read-only");
	else if (r->type == NBD_CMD_FLUSH && (r->offset != 0 || r->len != 0))
		refuse(r, EINVAL, "FLUSH has no range");
	else if (r->type == NBD_CMD_BLOCK_STATUS && !s->status_ok)
		refuse(r, EINVAL, "base:allocation was not negotiated");
	else if (r->type == NBD_CMD_BLOCK_STATUS && r->len == 0)
		refuse(r, EINVAL, "BLOCK_STATUS of nothing");
	else if (r->type != NBD_CMD_FLUSH)
		request_check_range(s, r);
	if (r->type == NBD_CMD_READ && r->error == 0)
		r->answer = r->len;
	return 0;
}

/* ---- private commands ---------------------------------------------------------------------- */

#define ANY UINT32_MAX

/* Bytes that a command has after struct weft_cmd, and in its answer. */
static const struct {
	uint16_t type;
	uint32_t data;
	uint32_t reply;
	uint32_t reply_entry; /* reply: a struct weft_list_head and a number of these */
} private_table[] = {
	{WEFT_CMD_PREPARE, ANY, ANY, 0},
	{WEFT_CMD_COMMIT, 0, 0, 0},
	{WEFT_CMD_ABORT, 0, 0, 0},
	{WEFT_CMD_LIST, 0, ANY, sizeof(struct weft_list_entry)},
	{WEFT_CMD_FENCE, 0, sizeof(struct weft_fence_reply), 0},
	{WEFT_CMD_LABEL, sizeof(struct weft_label), sizeof(struct weft_slot_reply), 0},
	{WEFT_CMD_DISCARD, 0, 0, 0},
	{WEFT_CMD_LABELS, 0, ANY, sizeof(struct weft_label_entry)},
	{WEFT_CMD_STAT, 0, sizeof(struct weft_stat), 0},
	{WEFT_CMD_MARK, 0, 0, 0},
	{WEFT_CMD_VERIFY, 0, 0, 0},
	{WEFT_CMD_MAP, 0, sizeof(struct weft_map_reply), 0},
	{WEFT_CMD_MEMBERS, ANY, 0, 0},
	{WEFT_CMD_VOLUMES, 0, ANY, sizeof(struct weft_volume_entry)},
};

static const char *prepare_check(const struct nbd_session *s, const struct nbd_req *req)
{
	const struct weft_cmd *c = &req->cmd;
	uint32_t bytes = (uint32_t)__builtin_popcountll(c->blocks) * WEFT_BLOCK_BYTES;
	uint64_t span;

	if (c->blocks == 0 || c->mode > WEFT_MODE_ZERO || (c->flags & ~WEFT_FLAG_WANT_OLD))
		return "PREPARE with an impossible mode, flags or blocks";
	if (req->len != (c->mode == WEFT_MODE_ZERO ? 0 : bytes))
		return "PREPARE with more or less data than blocks";
	if (c->reply_len != ((c->flags & WEFT_FLAG_WANT_OLD) ? bytes : 0))
		return "PREPARE wants another answer than it has blocks";
	span = (uint64_t)(64 - __builtin_clzll(c->blocks)) * WEFT_BLOCK_BYTES;
	if (req->offset % WEFT_BLOCK_BYTES != 0 || req->offset > s->export.size ||
	    span > s->export.size - req->offset)
		return "PREPARE outside the store";
	return NULL;
}

/* NULL, or what is wrong. */
static const char *private_check(const struct nbd_session *s, const struct nbd_req *req)
{
	const struct weft_cmd *c = &req->cmd;

	if (c->reserved != 0 || c->reserved2 != 0 || (c->reserved3[0] | c->reserved3[1]) != 0)
		return "reserved bytes are not zero";
	if (req->type == WEFT_CMD_PREPARE)
		return prepare_check(s, req);
	if (req->type == WEFT_CMD_MEMBERS &&
	    (req->len % 16 != 0 || req->len > WEFT_MEMBERS_MAX * 16))
		return "MEMBERS with an impossible length";
	for (size_t i = 0; i < sizeof(private_table) / sizeof(private_table[0]); i++) {
		uint32_t entry = private_table[i].reply_entry;

		if (private_table[i].type != req->type)
			continue;
		if (private_table[i].data != ANY && req->len != private_table[i].data)
			return "a private command with the wrong length";
		if (entry == 0)
			return c->reply_len == private_table[i].reply ? NULL : "a wrong reply_len";
		if (c->reply_len > SESSION_PRIVATE_REPLY ||
		    c->reply_len < sizeof(struct weft_list_head) ||
		    (c->reply_len - sizeof(struct weft_list_head)) % entry != 0)
			return "a wrong reply_len";
		return NULL;
	}
	return "unknown private command";
}

static void private_decode(const uint8_t *from, struct weft_cmd *c)
{
	memcpy(c, from, sizeof(*c));
	c->volume = be64toh(c->volume);
	c->tx = be64toh(c->tx);
	c->blocks = be64toh(c->blocks);
	c->epoch = be32toh(c->epoch);
	c->slot_gen = be32toh(c->slot_gen);
	c->reply_len = be32toh(c->reply_len);
	c->participants = be32toh(c->participants);
	c->reserved = be16toh(c->reserved);
}

/* ---- requests under way -------------------------------------------------------------------- */

struct nbd_req *session_req_new(struct nbd_session *s)
{
	struct nbd_req *req = s->free_reqs;

	if (req != NULL)
		s->free_reqs = req->next;
	else if ((req = malloc(sizeof(*req))) == NULL)
		return NULL;
	req->session = s;
	req->export_ctx = s->export.ctx;
	req->payload = NULL;
	req->next = req->reply_next = NULL;
	req->priv = NULL;
	memset(req->user, 0, sizeof(req->user));
	req->segs = req->segs_inline;
	req->nsegs = 0;
	req->in_bytes = req->out_bytes = 0;
	req->whole = NULL;
	req->parts = 0;
	req->replied = req->status_owned = req->chunked = req->note = req->alone = false;
	req->header_len = req->status_len = 0;
	req->status = NULL;
	s->inflight++;
	return req;
}

void session_req_free(struct nbd_session *s, struct nbd_req *req)
{
	buf_put(req->payload);
	for (int i = 0; i < req->nsegs; i++)
		buf_put(req->segs[i].buf);
	if (req->segs != req->segs_inline)
		free(req->segs);
	if (req->status_owned)
		free((void *)req->status);
	assert(s->inflight > 0 && s->inflight_bytes >= req->in_bytes + (uint64_t)req->out_bytes);
	s->inflight--;
	s->inflight_bytes -= req->in_bytes + (uint64_t)req->out_bytes;
	req->next = s->free_reqs;
	s->free_reqs = req;
	if (s->state == SESSION_DISC && s->inflight == 0)
		session_end(s);
	session_unblock(s);
}

static void request_dispatch(struct nbd_session *s, struct nbd_req *req)
{
	req->start_ns = s->now_ns;
	/* Nothing is to be done, and back ends need not think of it. */
	if (req->len == 0 && req->type <= NBD_CMD_BLOCK_STATUS && req->type != NBD_CMD_FLUSH) {
		nbd_req_done(req, 0);
		return;
	}
	s->ops->request(s->ctx, req);
}

/* ---- payloads ------------------------------------------------------------------------------ */

static uint32_t take(struct nbd_session *s, void *to, uint32_t len)
{
	uint32_t n = session_avail(s);

	if (n > len)
		n = len;
	if (to != NULL)
		memcpy(to, s->in + s->in_head, n);
	s->in_head += n;
	return n;
}

/* The payload of the present request is whole (or skipped). */
static void payload_complete(struct nbd_session *s)
{
	struct session_rx *rx = &s->rx;
	struct nbd_req *req = rx->req;

	req->payload = rx->buf;
	rx->req = NULL;
	rx->buf = NULL;
	if (rx->error != 0)
		session_reply_error(req, rx->error, rx->why);
	else
		request_dispatch(s, req);
}

void session_payload_received(struct nbd_session *s, size_t n)
{
	struct session_rx *rx = &s->rx;

	assert(rx->direct && n <= rx->left);
	rx->got += (uint32_t)n;
	rx->left -= (uint32_t)n;
	s->direct_bytes += n;
	if (rx->left > 0)
		return;
	rx->direct = false;
	s->now_ns = s->env->ops->now_ns(s->env);
	payload_complete(s);
}

/* The struct weft_cmd of a private command. 1 or 0: more bytes are needed. */
static int payload_cmd(struct nbd_session *s)
{
	struct session_rx *rx = &s->rx;
	struct nbd_req *req = rx->req;

	if (session_avail(s) < sizeof(struct weft_cmd))
		return 0;
	private_decode(s->in + s->in_head, &req->cmd);
	s->in_head += sizeof(struct weft_cmd);
	rx->left -= sizeof(struct weft_cmd);
	rx->want_cmd = false;
	req->len = rx->left;
	rx->why = private_check(s, req);
	if (rx->why != NULL) {
		rx->error = EINVAL;
	} else {
		req->out_bytes = req->cmd.reply_len;
		s->inflight_bytes += req->out_bytes;
	}
	return 1;
}

/* Go on with the payload of the present request. 1: it is complete, 0: more bytes are needed. */
static int step_payload(struct nbd_session *s)
{
	struct session_rx *rx = &s->rx;
	uint32_t n;

	if (rx->want_cmd && payload_cmd(s) == 0)
		return 0;
	if (rx->error != 0) {
		rx->left -= take(s, NULL, rx->left);
		if (rx->left > 0)
			return 0;
	} else if (rx->left > 0) {
		/* small ones wait in the input buffer until they are whole */
		if (rx->left <= SESSION_COPY_MAX && session_avail(s) < rx->left)
			return 0;
		rx->buf = buf_get(s->pool, rx->left);
		if (rx->buf == NULL) {
			session_block(s, SESSION_BLOCK_MEMORY);
			return 0;
		}
		n = take(s, rx->buf->data, rx->left);
		rx->got = n;
		rx->left -= n;
		if (rx->left > 0) {
			rx->direct = rx->large = true;
			session_watch_payload(s);
			return 0;
		}
	}
	payload_complete(s);
	return 1;
}

/* ---- headers ------------------------------------------------------------------------------- */

static int step_header(struct nbd_session *s)
{
	struct nbd_request_wire w;
	struct request r = {0};
	struct nbd_req *req;
	uint64_t bytes;
	int err;

	memcpy(&w, s->in + s->in_head, sizeof(w));
	if (be32toh(w.magic) != NBD_REQUEST_MAGIC) {
		log_info("nbd: %s: a request with a wrong magic, closing", s->peer);
		return -EPROTO;
	}
	r.flags = be16toh(w.flags);
	r.type = be16toh(w.type);
	r.cookie = be64toh(w.cookie);
	r.offset = be64toh(w.offset);
	r.len = be32toh(w.len);
	if (r.type == NBD_CMD_DISC) {
		s->state = SESSION_DISC;
		if (s->inflight == 0)
			session_end(s);
		return 0;
	}
	err = request_check(s, &r);
	if (err < 0)
		return err;
	bytes = (r.error == 0 ? r.payload : 0) + (uint64_t)r.answer;
	if (s->inflight >= NBD_INFLIGHT_MAX ||
	    (s->inflight > 0 && s->inflight_bytes + bytes > NBD_INFLIGHT_BYTES)) {
		session_block(s, SESSION_BLOCK_LIMIT);
		return 0;
	}
	req = session_req_new(s);
	if (req == NULL) {
		session_block(s, SESSION_BLOCK_MEMORY);
		return 0;
	}
	s->in_head += sizeof(w);
	req->type = r.type;
	req->flags = r.flags;
	req->offset = r.offset;
	req->len = r.len;
	req->cookie = r.cookie;
	req->in_bytes = r.error == 0 ? r.payload : 0;
	req->out_bytes = r.answer;
	s->inflight_bytes += bytes;
	if (r.payload > 0) {
		s->rx = (struct session_rx){
			.req = req,
			.left = r.payload,
			.want_cmd = r.private && r.error == 0,
			.error = r.error,
			.why = r.why,
		};
		return 1;
	}
	s->rx.large = false;
	if (r.error != 0)
		session_reply_error(req, r.error, r.why);
	else
		request_dispatch(s, req);
	return 1;
}

void nbd_session_read(struct nbd_session *s, uint16_t flags, uint64_t cookie, uint64_t offset,
		      uint32_t len)
{
	struct request r = {.type = NBD_CMD_READ,
			    .flags = flags,
			    .cookie = cookie,
			    .offset = offset,
			    .len = len};
	struct nbd_req *req;

	if (s->state != SESSION_TRANSMIT && s->state != SESSION_DISC)
		return;
	(void)request_check(s, &r);
	req = session_req_new(s);
	if (req == NULL) { /* it would wait for ever */
		session_end(s);
		return;
	}
	req->type = r.type;
	req->flags = r.flags;
	req->offset = r.offset;
	req->len = r.len;
	req->cookie = r.cookie;
	req->out_bytes = r.answer;
	s->inflight_bytes += r.answer;
	s->now_ns = s->env->ops->now_ns(s->env);
	if (r.error != 0)
		session_reply_error(req, r.error, r.why);
	else
		request_dispatch(s, req);
}

void nbd_req_part_read(struct nbd_req *whole, uint64_t offset, uint32_t len)
{
	struct nbd_session *s = whole->session;
	struct nbd_req *req = NULL;

	assert(offset >= whole->offset && len > 0 && offset - whole->offset + len <= whole->len &&
	       whole->parts > 0);
	if (s->state == SESSION_TRANSMIT || s->state == SESSION_DISC)
		req = session_req_new(s);
	if (req == NULL) { /* the client must not take the answer for whole */
		session_end(s);
		session_part_over(whole);
		return;
	}
	req->whole = whole;
	req->type = NBD_CMD_READ;
	req->flags = whole->flags;
	req->offset = offset;
	req->len = req->out_bytes = len;
	req->cookie = whole->cookie;
	s->inflight_bytes += len;
	req->start_ns = s->env->ops->now_ns(s->env);
	s->ops->request(s->ctx, req);
}

int session_step_request(struct nbd_session *s)
{
	int r;

	do {
		if (s->rx.req != NULL)
			r = step_payload(s);
		else if (session_avail(s) >= sizeof(struct nbd_request_wire))
			r = step_header(s);
		else
			r = 0;
	} while (r > 0 && s->blocked == SESSION_FREE && s->state == SESSION_TRANSMIT);
	return r;
}
