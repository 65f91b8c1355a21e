/*
 * A back end for tests and fuzzers of the NBD session: an export in memory that answers at once or
 * when told, and asserts what the session promises of a request.
 */
#ifndef WEFT_NBD_BACK_H
#define WEFT_NBD_BACK_H

#include "fake-env.h"

#include "buf.h"
#include "nbd/auth.h"
#include "nbd/proto.h"
#include "nbd/session.h"

#define BACK_BYTES    (1u << 20)
#define BACK_HELD_MAX (2 * NBD_INFLIGHT_MAX)

struct back {
	struct fake_env *env;
	struct buf_pool *pool;
	struct nbd_auth_config auth;
	struct nbd_session_config config;
	uint8_t *disk;	/* BACK_BYTES */
	uint64_t size;	/* announced; reads beyond BACK_BYTES give zeros */
	uint16_t flags; /* of the plain export */
	uint32_t min_block, max_block;
	const char *description;
	bool holes;    /* every other 4 KiB of a READ is a zero segment */
	bool hold;     /* keep requests until back_answer() */
	bool split;    /* of the plain export */
	bool pause;    /* ready() does not resume */
	int list_more; /* names that LIST gives beside the two */
	int fail;      /* answer everything with this error */
	struct nbd_req *held[BACK_HELD_MAX];
	int nheld;
	int requests, opened, closed;
	struct nbd_session *session;
	struct stream *stream; /* what ready() resumes on */
	uint16_t last_type, last_flags;
	struct weft_cmd last_cmd;
	uint64_t last_offset;
	uint32_t last_len;
};

static uint8_t back_disk[BACK_BYTES]; /* one back end at a time */

static int back_open(void *ctx, struct nbd_session *s, const char *name, size_t len, bool info_only,
		     struct nbd_export *out, const char **why)
{
	struct back *b = ctx;
	bool private =
		len == strlen(WEFT_STORE_EXPORT) && memcmp(name, WEFT_STORE_EXPORT, len) == 0;

	if (private && !nbd_session_authenticated(s)) {
		*why = "authenticate first";
		return -EPERM;
	}
	if (len == 4 && memcmp(name, "down", 4) == 0)
		return -ESHUTDOWN;
	if (!private && len != 0 && !(len == 3 && memcmp(name, "mem", 3) == 0))
		return -ENOENT;
	out->size = b->size;
	out->min_block = b->min_block;
	out->pref_block = 4096;
	out->max_block = b->max_block;
	out->flags = b->flags;
	out->private_cmds = private;
	out->split = b->split;
	out->description = b->description;
	out->ctx = b;
	if (!info_only)
		b->opened++;
	return 0;
}

static int back_list(void *ctx, void (*emit)(void *emit_ctx, const char *name, const char *desc),
		     void *emit_ctx)
{
	emit(emit_ctx, "mem", "bytes in memory");
	emit(emit_ctx, "down", NULL);
	for (int i = 0; i < ((struct back *)ctx)->list_more; i++)
		emit(emit_ctx, "mem", "one of many exports that are all the same");
	return 0;
}

static void back_read(struct back *b, struct nbd_req *req, uint32_t len)
{
	static struct nbd_seg segs[NBD_PAYLOAD_MAX / 4096 + 2];
	uint32_t at = 0;
	int n = 0;

	while (at < len) {
		uint32_t here = b->holes ? 4096 - (uint32_t)((req->offset + at) % 4096) : len - at;
		struct nbd_seg *seg = &segs[n++];
		uint64_t offset = req->offset + at;

		if (here > len - at)
			here = len - at;
		seg->len = here;
		seg->offset = 0;
		seg->buf = NULL;
		at += here;
		if (b->holes && (offset / 4096) % 2 == 1)
			continue;
		seg->buf = buf_get(b->pool, here);
		if (seg->buf == NULL) {
			while (n-- > 0)
				buf_put(segs[n].buf);
			nbd_req_done(req, ENOMEM);
			return;
		}
		memset(seg->buf->data, 0, here);
		if (offset < BACK_BYTES)
			memcpy(seg->buf->data, b->disk + offset,
			       here < BACK_BYTES - offset ? here : BACK_BYTES - offset);
	}
	nbd_req_done_data(req, segs, n);
}

static void back_store(struct back *b, uint64_t offset, const uint8_t *data, uint32_t len)
{
	if (offset >= BACK_BYTES)
		return;
	if (len > BACK_BYTES - offset)
		len = BACK_BYTES - (uint32_t)offset;
	if (data != NULL)
		memcpy(b->disk + offset, data, len);
	else
		memset(b->disk + offset, 0, len);
}

static void back_status(struct back *b, struct nbd_req *req)
{
	struct nbd_status st[3] = {
		{req->len / 2, 0},
		{req->len - req->len / 2, NBD_STATE_HOLE | NBD_STATE_ZERO},
		{0, 0},
	};

	if (req->len == 1)
		nbd_req_done_status(req, st + 1, 1);
	else
		nbd_req_done_status(req, st, 2);
}

static void back_private(struct back *b, struct nbd_req *req)
{
	if (req->type == WEFT_CMD_PREPARE) {
		uint32_t bytes = (uint32_t)__builtin_popcountll(req->cmd.blocks) * WEFT_BLOCK_BYTES;

		assert(req->len == (req->cmd.mode == WEFT_MODE_ZERO ? 0 : bytes));
		assert(req->offset % WEFT_BLOCK_BYTES == 0);
	}
	if (req->cmd.reply_len > 0) {
		back_read(b, req, req->cmd.reply_len);
		return;
	}
	if (req->type == WEFT_CMD_PREPARE && req->len > 0)
		back_store(b, req->offset, req->payload->data, req->len);
	nbd_req_done(req, 0);
}

static void back_do(struct back *b, struct nbd_req *req)
{
	if (b->fail != 0) {
		nbd_req_done(req, b->fail);
		return;
	}
	switch (req->type) {
	case NBD_CMD_READ:
		back_read(b, req, req->len);
		break;
	case NBD_CMD_WRITE:
		back_store(b, req->offset, req->payload->data, req->len);
		nbd_req_done(req, 0);
		break;
	case NBD_CMD_TRIM:
	case NBD_CMD_WRITE_ZEROES:
		back_store(b, req->offset, NULL, req->len);
		nbd_req_done(req, 0);
		break;
	case NBD_CMD_BLOCK_STATUS:
		back_status(b, req);
		break;
	case NBD_CMD_FLUSH:
	case NBD_CMD_CACHE:
		nbd_req_done(req, 0);
		break;
	default:
		back_private(b, req);
	}
}

/* What the session promises. */
static void back_check(struct back *b, const struct nbd_req *req)
{
	if (req->type <= NBD_CMD_BLOCK_STATUS) {
		assert(req->type != NBD_CMD_DISC);
		assert(req->offset <= b->size && req->len <= b->size - req->offset);
		assert(req->len > 0 || req->type == NBD_CMD_FLUSH);
		assert((req->payload != NULL) == (req->type == NBD_CMD_WRITE));
		if (req->type == NBD_CMD_READ || req->type == NBD_CMD_WRITE)
			assert(req->len <= b->max_block);
		assert((req->offset | req->len) % b->min_block == 0);
	} else {
		assert(nbd_session_authenticated(req->session));
		assert(req->type >= WEFT_CMD_PREPARE && req->type <= WEFT_CMD_MEMBERS);
		assert(req->len <= WEFT_PREPARE_MAX);
		assert((req->payload != NULL) == (req->len > 0));
	}
	if (req->payload != NULL) {
		assert(req->len <= req->payload->cap);
		assert(((uintptr_t)req->payload->data & (BUF_ALIGN - 1)) == 0);
	}
}

static void back_request(void *ctx, struct nbd_req *req)
{
	struct back *b = ctx;

	back_check(b, req);
	b->requests++;
	b->last_type = req->type;
	b->last_flags = req->flags;
	b->last_cmd = req->cmd;
	b->last_offset = req->offset;
	b->last_len = req->len;
	if (!b->hold) {
		back_do(b, req);
		return;
	}
	assert(b->nheld < BACK_HELD_MAX);
	b->held[b->nheld++] = req;
}

/* Answer the i-th of the held requests. */
FAKE_UNUSED static void back_answer(struct back *b, int i)
{
	struct nbd_req *req = b->held[i];

	assert(i < b->nheld);
	b->held[i] = b->held[--b->nheld];
	back_do(b, req);
}

static void back_ready(void *ctx, struct nbd_session *s, void *export_ctx)
{
	struct back *b = ctx;

	assert(export_ctx == b);
	b->session = s;
	if (!b->pause)
		nbd_session_resume(s, &b->config, b->stream);
}

static void back_closed(void *ctx, struct nbd_session *s, void *export_ctx)
{
	struct back *b = ctx;

	b->closed++;
	b->session = NULL;
}

static const struct nbd_server_ops back_ops = {
	.open = back_open,
	.list = back_list,
	.ready = back_ready,
	.request = back_request,
	.closed = back_closed,
};

/* The same without ready(). */
FAKE_UNUSED static const struct nbd_server_ops back_ops_plain = {
	.open = back_open,
	.request = back_request,
	.closed = back_closed,
};

/* Most of it is as it should be, from the last time. */
static void back_fill(uint8_t *disk)
{
	static uint8_t pattern[BACK_BYTES];

	if (pattern[1] == 0)
		for (uint32_t i = 0; i < BACK_BYTES; i++)
			pattern[i] = (uint8_t)(i ^ (i >> 8) ^ (i >> 16));
	for (uint32_t at = 0; at < BACK_BYTES; at += 4096)
		if (memcmp(disk + at, pattern + at, 4096) != 0)
			memcpy(disk + at, pattern + at, 4096);
}

FAKE_UNUSED static void back_init(struct back *b, struct fake_env *env, size_t pool_bytes)
{
	memset(b, 0, sizeof(*b));
	b->env = env;
	b->pool = buf_pool_create(pool_bytes, 0);
	b->disk = back_disk;
	back_fill(b->disk);
	b->size = BACK_BYTES;
	b->flags = NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_TRIM |
		   NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_CACHE | NBD_FLAG_SEND_FAST_ZERO |
		   NBD_FLAG_CAN_MULTI_CONN;
	b->description = "bytes in memory";
	b->min_block = 1;
	b->max_block = NBD_PAYLOAD_MAX;
	memset(b->auth.secret, 7, sizeof(b->auth.secret));
	memset(b->auth.cluster, 1, sizeof(b->auth.cluster));
	memset(b->auth.store, 2, sizeof(b->auth.store));
	memset(b->auth.boot, 3, sizeof(b->auth.boot));
	b->config = (struct nbd_session_config){
		.ops = &back_ops,
		.ctx = b,
		.env = &env->env,
		.pool = b->pool,
		.auth = &b->auth,
		.peer_name = "test",
	};
}

FAKE_UNUSED static void back_destroy(struct back *b)
{
	assert(b->nheld == 0 && buf_pool_used(b->pool) == 0);
	buf_pool_destroy(b->pool);
}

#endif
