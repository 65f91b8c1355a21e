/*
 * Answers to bytes. An answer is a short list of pieces (its header, what the session made itself,
 * the back end's buffers) which are sent from where they lie: many answers go out in one call.
 *
 * Source: the NBD protocol document, sections "Simple reply message", "Structured reply chunk
 * message", "Structured reply types", "Error values".
 */
#include "config.h"

#include "nbd/session-impl.h"

#include <errno.h>
#include <stdlib.h>

#include "banned.h"

#define ZERO_BYTES 65536u

/* What zeros are sent from. Never written; not const, so that it takes no room in the program file.
 */
static uint8_t zeroes[ZERO_BYTES];

/* The head of one chunk of a READ with holes. len 0: the segment belongs to the chunk before. */
struct chunk_head {
	union {
		struct nbd_chunk_data data;
		struct nbd_chunk_hole hole;
	};
	uint32_t len;
};

/* ---- errors -------------------------------------------------------------------------------- */

static const struct {
	int error; /* ours */
	bool private;
	uint32_t wire;
	const char *text;
} error_table[] = {
	{EPERM, false, NBD_EPERM, "not permitted"},
	{EACCES, false, NBD_EPERM, "not permitted"},
	{EROFS, false, NBD_EPERM, "the export is read-only"},
	{EIO, false, NBD_EIO, "input/output error"},
	{ENOMEM, false, NBD_ENOMEM, "out of memory"},
	{EINVAL, false, NBD_EINVAL, "invalid request"},
	{ENOSPC, false, NBD_ENOSPC, "no space left"},
	{EDQUOT, false, NBD_ENOSPC, "no space left"},
	{EFBIG, false, NBD_ENOSPC, "no space left"},
	{EOVERFLOW, false, NBD_EOVERFLOW, "too much for one chunk"},
	{EOPNOTSUPP, false, NBD_ENOTSUP, "not supported"},
	{ESHUTDOWN, false, NBD_ESHUTDOWN, "shutting down"},
	{EBADMSG, true, WEFT_EBADMSG, "checksum mismatch"},
	{ESTALE, true, WEFT_ESTALE, "stale"},
};

static size_t error_find(int error, bool private_cmds)
{
	for (size_t i = 0; i < sizeof(error_table) / sizeof(error_table[0]); i++)
		if (error_table[i].error == error && (private_cmds || !error_table[i].private))
			return i;
	return error == EIO ? 0 : error_find(EIO, private_cmds);
}

uint32_t nbd_errno(int error, bool private_cmds)
{
	assert(error >= 0);
	return error == 0 ? 0 : error_table[error_find(error, private_cmds)].wire;
}

/* ---- making answers ------------------------------------------------------------------------ */

/* The payload is not needed any more, whatever the answer will be. */
static void reply_begin(struct nbd_req *req)
{
	struct nbd_session *s = req->session;

	assert(!req->replied);
	req->replied = true;
	if (s->ops->answered != NULL && req->whole == NULL && s->state != SESSION_CLOSED)
		s->ops->answered(s->ctx, req, s->env->ops->now_ns(s->env) - req->start_ns);
	buf_put(req->payload);
	req->payload = NULL;
	s->inflight_bytes -= req->in_bytes;
	req->in_bytes = 0;
}

static void reply_queue(struct nbd_req *req)
{
	struct nbd_session *s = req->session;
	struct nbd_req *whole = req->whole;

	if (s->state == SESSION_CLOSED) {
		session_req_free(s, req);
		if (whole != NULL)
			session_part_over(whole);
		else
			session_maybe_free(s);
		return;
	}
	req->reply_next = NULL;
	if (s->tx_head == NULL)
		s->tx_head = req;
	else
		s->tx_tail->reply_next = req;
	s->tx_tail = req;
	stream_kick(s->stream);
	if (whole != NULL)
		session_part_over(whole);
}

static void reply_simple(struct nbd_req *req, uint32_t error)
{
	struct nbd_simple_reply r = {
		.magic = htobe32(NBD_SIMPLE_REPLY_MAGIC),
		.error = htobe32(error),
		.cookie = htobe64(req->cookie),
	};

	memcpy(req->header, &r, sizeof(r));
	req->header_len = sizeof(r);
}

static struct nbd_chunk chunk_head(const struct nbd_req *req, uint16_t type, bool done,
				   uint32_t len)
{
	return (struct nbd_chunk){
		.magic = htobe32(NBD_STRUCTURED_REPLY_MAGIC),
		.flags = htobe16(done && req->whole == NULL ? NBD_REPLY_FLAG_DONE : 0),
		.type = htobe16(type),
		.cookie = htobe64(req->cookie),
		.len = htobe32(len),
	};
}

static void reply_error_fill(struct nbd_req *req, int error, const char *why)
{
	struct nbd_session *s = req->session;
	bool private = s->export.private_cmds;
	struct nbd_chunk_error c;
	uint32_t wire, len;

	/* two errors have a meaning for one flag only */
	if (error == EOVERFLOW && !(req->type == NBD_CMD_READ && (req->flags & NBD_CMD_FLAG_DF)))
		error = EINVAL;
	if (error == EOPNOTSUPP && !private &&
	    !(req->type == NBD_CMD_WRITE_ZEROES && (req->flags & NBD_CMD_FLAG_FAST_ZERO)))
		error = EINVAL;
	wire = nbd_errno(error, private);
	if (!s->structured) {
		reply_simple(req, wire);
		return;
	}
	if (why == NULL)
		why = error_table[error_find(error, private)].text;
	len = (uint32_t)strlen(why);
	c.head = chunk_head(req, NBD_REPLY_TYPE_ERROR, true,
			    sizeof(c) - sizeof(struct nbd_chunk) + len);
	c.error = htobe32(wire);
	c.text_len = htobe16((uint16_t)len);
	memcpy(req->header, &c, sizeof(c));
	req->header_len = sizeof(c);
	req->status = why;
	req->status_len = len;
}

void session_reply_error(struct nbd_req *req, int error, const char *why)
{
	reply_begin(req);
	reply_error_fill(req, error, why);
	reply_queue(req);
}

static void reply_none(struct nbd_req *req)
{
	struct nbd_chunk c = chunk_head(req, NBD_REPLY_TYPE_NONE, true, 0);

	memcpy(req->header, &c, sizeof(c));
	req->header_len = sizeof(c);
}

void session_reply_end(struct nbd_req *req)
{
	reply_begin(req);
	reply_none(req);
	reply_queue(req);
}

void session_reply_elsewhere(struct nbd_req *req)
{
	struct nbd_session *s = req->session;

	reply_begin(req);
	session_req_free(s, req);
}

void nbd_req_done(struct nbd_req *req, int error)
{
	assert(error >= 0);
	if (error != 0) {
		session_reply_error(req, error, NULL);
		return;
	}
	assert(req->out_bytes == 0 && (req->type != NBD_CMD_BLOCK_STATUS));
	reply_begin(req);
	if (req->session->structured)
		reply_none(req);
	else
		reply_simple(req, 0);
	reply_queue(req);
}

/* One chunk for each run of data and of zeros. False: no memory. */
static bool reply_chunks(struct nbd_req *req)
{
	struct chunk_head *heads = calloc((size_t)req->nsegs, sizeof(*heads));
	uint64_t offset = req->offset;
	int next;

	if (heads == NULL)
		return false;
	for (int i = 0; i < req->nsegs; i = next) {
		bool hole = req->segs[i].buf == NULL;
		uint32_t len = 0;

		for (next = i; next < req->nsegs; next++) {
			if ((req->segs[next].buf == NULL) != hole)
				break;
			len += req->segs[next].len;
		}
		if (hole) {
			heads[i].hole.head =
				chunk_head(req, NBD_REPLY_TYPE_OFFSET_HOLE, next == req->nsegs, 12);
			heads[i].hole.offset = htobe64(offset);
			heads[i].hole.hole_len = htobe32(len);
			heads[i].len = sizeof(heads[i].hole);
		} else {
			heads[i].data.head = chunk_head(req, NBD_REPLY_TYPE_OFFSET_DATA,
							next == req->nsegs, 8 + len);
			heads[i].data.offset = htobe64(offset);
			heads[i].len = sizeof(heads[i].data);
		}
		offset += len;
	}
	req->status = heads;
	req->status_owned = req->chunked = true;
	return true;
}

/* Take over the segments. False: no memory, they are released. */
static bool reply_take_segs(struct nbd_req *req, const struct nbd_seg *segs, int nsegs, bool *holes)
{
	uint64_t sum = 0;

	assert(nsegs > 0);
	if (nsegs > NBD_SEGS_INLINE) {
		req->segs = malloc((size_t)nsegs * sizeof(*segs));
		if (req->segs == NULL) {
			req->segs = req->segs_inline;
			for (int i = 0; i < nsegs; i++)
				buf_put(segs[i].buf);
			return false;
		}
	}
	req->nsegs = nsegs;
	for (int i = 0; i < nsegs; i++) {
		req->segs[i] = segs[i];
		assert(segs[i].len > 0);
		if (segs[i].buf == NULL)
			*holes = true;
		else
			assert((uint64_t)segs[i].offset + segs[i].len <= segs[i].buf->cap);
		sum += segs[i].len;
	}
	assert(sum == req->out_bytes);
	return true;
}

void nbd_req_done_data(struct nbd_req *req, const struct nbd_seg *segs, int nsegs)
{
	struct nbd_session *s = req->session;
	struct nbd_chunk_data c;
	bool holes = false;

	assert(req->type == NBD_CMD_READ || s->export.private_cmds);
	if (!reply_take_segs(req, segs, nsegs, &holes)) {
		session_reply_error(req, ENOMEM, NULL);
		return;
	}
	reply_begin(req);
	if (!s->structured) {
		reply_simple(req, 0);
	} else if (!holes || (req->flags & NBD_CMD_FLAG_DF) || !reply_chunks(req)) {
		req->note = s->split && (req->flags & NBD_CMD_FLAG_FUA);
		c.head = chunk_head(req, NBD_REPLY_TYPE_OFFSET_DATA, !req->note, 8 + req->len);
		c.offset = htobe64(req->offset);
		memcpy(req->header, &c, sizeof(c));
		req->header_len = sizeof(c);
	}
	reply_queue(req);
}

void nbd_req_done_status(struct nbd_req *req, const struct nbd_status *st, int n)
{
	struct nbd_chunk_status c;
	uint64_t covered = 0;
	uint8_t *wire;

	assert(req->type == NBD_CMD_BLOCK_STATUS && n > 0);
	if (req->flags & NBD_CMD_FLAG_REQ_ONE)
		n = 1;
	if (n > SESSION_STATUS_MAX)
		n = SESSION_STATUS_MAX;
	wire = malloc((size_t)n * 8);
	if (wire == NULL) {
		session_reply_error(req, ENOMEM, NULL);
		return;
	}
	for (int i = 0; i < n; i++) {
		uint32_t len = st[i].len;

		assert(len > 0 && covered < req->len);
		/* with REQ_ONE not even the last may pass the end */
		if ((req->flags & NBD_CMD_FLAG_REQ_ONE) && len > req->len)
			len = req->len;
		covered += len;
		nbd_put32(wire + 8 * (size_t)i, len);
		nbd_put32(wire + 8 * (size_t)i + 4, st[i].flags);
	}
	reply_begin(req);
	req->status = wire;
	req->status_len = (uint32_t)n * 8;
	req->status_owned = true;
	c.head = chunk_head(req, NBD_REPLY_TYPE_BLOCK_STATUS, true, 4 + req->status_len);
	c.context = htobe32(SESSION_META_ID);
	memcpy(req->header, &c, sizeof(c));
	req->header_len = sizeof(c);
	reply_queue(req);
}

/* ---- sending ------------------------------------------------------------------------------- */

/*
 * Piece number p of an answer: 0 the header, 1 what the session made, then two for each segment,
 * the head of its chunk and its bytes. Pieces may be empty. base NULL: zeros. False: there is no p.
 */
static bool reply_piece(const struct nbd_req *req, unsigned p, const uint8_t **base, uint32_t *len)
{
	const struct nbd_seg *seg;

	*base = NULL;
	*len = 0;
	if (p == 0) {
		*base = req->header;
		*len = req->header_len;
		return true;
	}
	if (p == 1) {
		*base = req->status;
		*len = req->status_len;
		return true;
	}
	p -= 2;
	if (p / 2 >= (unsigned)req->nsegs)
		return false;
	if (p % 2 == 0) {
		if (req->chunked) {
			const struct chunk_head *head =
				(const struct chunk_head *)req->status + p / 2;

			*base = (const uint8_t *)&head->data;
			*len = head->len;
		}
		return true;
	}
	seg = &req->segs[p / 2];
	if (seg->buf != NULL)
		*base = seg->buf->data + seg->offset;
	if (seg->buf != NULL || !req->chunked)
		*len = seg->len;
	return true;
}

int session_reply_output(struct nbd_session *s, struct iovec *iov, int max)
{
	return session_reply_pieces(s, NULL, iov, max);
}

uint64_t session_reply_bytes(const struct nbd_req *req, int *pieces)
{
	const uint8_t *base;
	uint64_t sum = 0;
	uint32_t len;

	*pieces = 0;
	for (unsigned p = 0; reply_piece(req, p, &base, &len); p++) {
		sum += len;
		*pieces += len > 0;
		if (base == NULL && len > 0)
			*pieces += (int)((len - 1) / ZERO_BYTES);
	}
	return sum;
}

void session_reply_replace(struct nbd_req *req, int error)
{
	req->note = false;
	for (int i = 0; i < req->nsegs; i++)
		buf_put(req->segs[i].buf);
	req->nsegs = 0;
	if (req->status_owned)
		free((void *)req->status);
	req->status = NULL;
	req->status_len = 0;
	req->status_owned = req->chunked = false;
	reply_error_fill(req, error, NULL);
}

int session_reply_pieces(struct nbd_session *s, const struct nbd_req *last, struct iovec *iov,
			 int max)
{
	unsigned p = s->tx_piece;
	uint32_t off = s->tx_off;
	int n = 0;

	for (struct nbd_req *req = s->tx_head; req != NULL && n < max; req = req->reply_next) {
		const uint8_t *base;
		uint32_t len;

		for (; n < max && reply_piece(req, p, &base, &len); p++, off = 0) {
			while (off < len && n < max) {
				uint32_t here = len - off;

				if (base == NULL && here > ZERO_BYTES)
					here = ZERO_BYTES;
				iov[n].iov_base = base != NULL ? (void *)(base + off) : zeroes;
				iov[n].iov_len = here;
				n++;
				off += here;
			}
			if (off < len)
				return n;
		}
		if (req == last)
			return n;
		p = 0;
		off = 0;
	}
	return n;
}

/* In the place of an answer that was sent, and by itself. */
static void reply_sent_note(struct nbd_req *req)
{
	req->note = false;
	for (int i = 0; i < req->nsegs; i++)
		buf_put(req->segs[i].buf);
	req->nsegs = 0;
	reply_none(req);
}

void session_reply_sent(struct nbd_session *s, size_t n)
{
	struct nbd_req *req;

	while ((req = s->tx_head) != NULL) {
		const uint8_t *base;
		uint32_t len;

		while (reply_piece(req, s->tx_piece, &base, &len)) {
			if (n < len - s->tx_off) {
				s->tx_off += (uint32_t)n;
				return;
			}
			n -= len - s->tx_off;
			s->tx_off = 0;
			s->tx_piece++;
		}
		s->tx_piece = 0;
		if (req->note) {
			reply_sent_note(req);
			return;
		}
		s->tx_head = req->reply_next;
		if (s->split || s->whole)
			session_whole_sent(s, req);
		session_req_free(s, req);
		if (n == 0)
			return;
	}
	assert(n == 0);
}
