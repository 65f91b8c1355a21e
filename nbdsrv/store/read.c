/*
 * READ. Blocks come from prepared parts, from the disk, or are zeros; what comes from the disk is
 * checked. When the disk has the bytes in memory the answer is made at once, otherwise in a read_op
 * that looks again at every block when its bytes have come: a write may have overtaken it.
 */
#include "config.h"

#include <sys/uio.h>

#include "store/store_internal.h"

#include "banned.h"

struct span {
	uint32_t slot;
	uint32_t first, count; /* blocks */
};

/* Of READ; VERIFY carries no payload, its length is in tx. */
static uint32_t length_of(const struct nbd_req *req)
{
	return req->type == WEFT_CMD_VERIFY ? (uint32_t)req->cmd.tx : req->len;
}

static struct span span_of(const struct nbd_req *req)
{
	uint64_t start = req->offset % WEFT_SHARD_BYTES;
	struct span sp = {.slot = (uint32_t)(req->offset / WEFT_SHARD_BYTES)};

	sp.first = (uint32_t)(start / WEFT_BLOCK_BYTES);
	sp.count = (uint32_t)((start + length_of(req) - 1) / WEFT_BLOCK_BYTES) - sp.first + 1;
	return sp;
}

static void resolve(struct store *s, uint32_t slot, uint32_t block, struct src *src)
{
	uint64_t index = (uint64_t)slot * SLOT_GRANULES + block / GRANULE_BLOCKS;

	map_resolve(s, gran_find(s, index), index, block % GRANULE_BLOCKS, src);
}

/* Cut an answer into pieces: long runs of zeros need no bytes. zero: bit i: block i is zeros. */
static void answer(struct store *s, struct nbd_req *req, struct buf *buf, const struct span *sp,
		   const uint64_t *zero)
{
	struct nbd_seg seg[SEGS_MAX];
	uint32_t skip = (uint32_t)(req->offset % WEFT_BLOCK_BYTES), at = 0, left = req->len;
	int n = 0;

	if (req->type == WEFT_CMD_VERIFY) {
		buf_put(buf);
		s->stat.reads++;
		nbd_req_done(req, 0);
		return;
	}
	while (left > 0) {
		uint32_t end = at, bytes;
		bool z = zero != NULL && (zero[at / 64] >> (at % 64) & 1) != 0;

		while (end < sp->count && zero != NULL &&
		       ((zero[end / 64] >> (end % 64) & 1) != 0) == z)
			end++;
		if (zero == NULL)
			end = sp->count;
		bytes = (end - at) * WEFT_BLOCK_BYTES - skip;
		if (bytes > left)
			bytes = left;
		assert(n < (int)SEGS_MAX);
		seg[n].buf = z ? NULL : buf_ref(buf);
		seg[n].offset = z ? 0 : at * WEFT_BLOCK_BYTES + skip;
		seg[n++].len = bytes;
		left -= bytes;
		skip = 0;
		at = end;
	}
	buf_put(buf);
	s->stat.reads++;
	s->stat.read_bytes += req->len;
	nbd_req_done_data(req, seg, n);
}

static void fail(struct store *s, struct nbd_req *req, uint32_t slot, uint32_t block, int err)
{
	if (err == EBADMSG)
		s->stat.crc_errors++;
	else
		s->stat.io_errors++;
	log_error("slot %u, offset %u: %s", slot, block * WEFT_BLOCK_BYTES,
		  err == EBADMSG ? "the checksum does not match" : strerror(err));
	nbd_req_done(req, err == EBADMSG ? (int)WEFT_EBADMSG : EIO);
}

/* What the map says of it is what was written there? */
static bool span_sound(struct store *s, const struct span *sp)
{
	uint64_t from = (uint64_t)sp->slot * SLOT_BLOCKS + sp->first;

	for (uint64_t i = from / GRANULE_BLOCKS; i <= (from + sp->count - 1) / GRANULE_BLOCKS; i++)
		if (!map_sound(s, i))
			return false;
	return true;
}

/* Nothing of it is there: the answer has no bytes. */
static bool all_zeros(struct store *s, const struct span *sp)
{
	for (uint32_t i = 0; i < sp->count; i++) {
		struct src src;

		resolve(s, sp->slot, sp->first + i, &src);
		if (src.kind != SRC_ZERO)
			return false;
	}
	return true;
}

/*
 * How many blocks from i on lie one after the other on the disk, as src does. Their checksums go to
 * crc, max of them at most.
 */
static uint32_t run_length(struct store *s, const struct span *sp, uint32_t i,
			   const struct src *src, uint32_t *crc, uint32_t max)
{
	uint32_t n = 1;

	crc[0] = src->crc;
	while (n < max && i + n < sp->count) {
		struct src next;

		resolve(s, sp->slot, sp->first + i + n, &next);
		if (next.kind != SRC_DISK || next.disk != src->disk + n * WEFT_BLOCK_BYTES)
			break;
		crc[n++] = next.crc;
	}
	return n;
}

/* The fast way. 0: all is in buf; EAGAIN: the disk has to be waited for; *at: where it stopped. */
static int fill_now(struct store *s, const struct span *sp, struct buf *buf, uint32_t *at,
		    uint64_t *zero)
{
	uint32_t crc[READ_RUN_MAX], i = 0;

	while (i < sp->count) {
		uint8_t *to = buf->data + (size_t)i * WEFT_BLOCK_BYTES;
		uint32_t n = 1;
		struct src src;

		*at = i;
		resolve(s, sp->slot, sp->first + i, &src);
		if (src.kind == SRC_ZERO) {
			memset(to, 0, WEFT_BLOCK_BYTES);
			zero[i / 64] |= 1ULL << (i % 64);
		} else if (src.kind == SRC_MEMORY) {
			memcpy(to, src.memory, WEFT_BLOCK_BYTES);
		} else {
			n = run_length(s, sp, i, &src, crc, READ_RUN_MAX);
			if (s->disk->ops->read_now == NULL ||
			    s->disk->ops->read_now(s->disk, to, n * WEFT_BLOCK_BYTES, src.disk) !=
				    (int)(n * WEFT_BLOCK_BYTES))
				return EAGAIN;
			for (uint32_t b = 0; b < n; b++)
				if (crc32c(0, to + (size_t)b * WEFT_BLOCK_BYTES,
					   WEFT_BLOCK_BYTES) != crc[b]) {
					*at = i + b;
					return EBADMSG;
				}
		}
		i += n;
	}
	return 0;
}

/* ---- the long way -------------------------------------------------------------------------- */

static void read_step(struct read_op *r);

static void read_end(struct read_op *r, int err, uint32_t block)
{
	struct store *s = r->store;
	struct nbd_req *req = r->req;
	struct span sp = {r->slot, r->first, r->count};
	struct buf *buf = r->buf;

	LIVE_REMOVE(r);
	slab_put(&s->reads, r);
	s->busy--;
	if (err == 0) {
		answer(s, req, buf, &sp, NULL);
	} else {
		buf_put(buf);
		if (err == (int)WEFT_ESTALE)
			nbd_req_done(req, err);
		else
			fail(s, req, sp.slot, block, err);
	}
	store_rest(s);
}

/*
 * Are the bytes that were read those that the block has now? 0; EAGAIN: it moved meanwhile;
 * EBADMSG: it did not, and they are not. A block that is being overwritten in place is in memory,
 * until it has another checksum.
 */
static int run_verify(struct read_op *r, const struct read_run *run)
{
	struct store *s = r->store;
	int err = 0;

	for (uint32_t b = 0; b < run->count; b++) {
		uint8_t *to = r->buf->data + (size_t)(run->block + b) * WEFT_BLOCK_BYTES;
		struct src src;

		resolve(s, r->slot, r->first + run->block + b, &src);
		if (src.kind == SRC_ZERO)
			memset(to, 0, WEFT_BLOCK_BYTES);
		else if (src.kind == SRC_MEMORY)
			memcpy(to, src.memory, WEFT_BLOCK_BYTES);
		else if (crc32c(0, to, WEFT_BLOCK_BYTES) == src.crc)
			continue;
		else if (src.crc == run->crc[b] &&
			 src.disk == run->disk + (uint64_t)b * WEFT_BLOCK_BYTES)
			return EBADMSG;
		else
			err = EAGAIN;
	}
	return err;
}

static void run_done(struct disk_op *op, int64_t res)
{
	struct read_run *run = (struct read_run *)((char *)op - offsetof(struct read_run, op));
	struct read_op *r = run->owner;
	struct store *s = r->store;
	bool gone = s->slots[r->slot].gen != r->slot_gen || s->slots[r->slot].state != SLOT_USED;

	int err = res < 0 ? EIO : gone ? 0 : run_verify(r, run);

	if (err == EAGAIN) {
		r->again = true;
	} else if (err != 0) {
		r->error = err;
		r->bad = run->block;
	}
	if (--r->pending > 0)
		return;
	if (gone) {
		read_end(r, WEFT_ESTALE, 0);
	} else if (r->error != 0) {
		read_end(r, r->error, r->first + r->bad);
	} else if (r->again && ++r->retries > READ_RETRIES_MAX) {
		read_end(r, EBADMSG, r->first + r->bad);
	} else {
		if (r->again)
			r->next = r->window;
		read_step(r);
	}
}

static void read_step(struct read_op *r)
{
	struct store *s = r->store;
	struct span sp = {r->slot, r->first, r->count};

	r->again = false;
	r->window = r->next;
	while (r->next < r->count && r->pending < READ_OPS_MAX) {
		uint8_t *to = r->buf->data + (size_t)r->next * WEFT_BLOCK_BYTES;
		struct read_run *run = &r->run[r->pending];
		struct iovec iov = {.iov_base = to};
		struct src src;

		resolve(s, r->slot, r->first + r->next, &src);
		if (src.kind != SRC_DISK) {
			if (src.kind == SRC_ZERO)
				memset(to, 0, WEFT_BLOCK_BYTES);
			else
				memcpy(to, src.memory, WEFT_BLOCK_BYTES);
			r->next++;
			continue;
		}
		run->owner = r;
		run->block = r->next;
		run->disk = src.disk;
		run->count = run_length(s, &sp, r->next, &src, run->crc, READ_RUN_MAX);
		run->op.done = run_done;
		iov.iov_len = (size_t)run->count * WEFT_BLOCK_BYTES;
		r->next += run->count;
		r->pending++;
		s->disk->ops->readv(s->disk, &run->op, &iov, 1, src.disk);
	}
	if (r->pending == 0)
		read_end(r, 0, 0);
}

static void read_long(struct store *s, struct nbd_req *req, const struct span *sp, struct buf *buf)
{
	struct read_op *r = slab_get(&s->reads);

	if (r == NULL) {
		buf_put(buf);
		store_stall(s, req);
		return;
	}
	r->store = s;
	r->req = req;
	LIVE_ADD(s->live_reads, r);
	r->buf = buf;
	r->slot = sp->slot;
	r->slot_gen = s->slots[sp->slot].gen;
	r->first = sp->first;
	r->count = sp->count;
	s->busy++;
	read_step(r);
}

/* Runs of zeros too short to be worth a piece of their own are sent as bytes. */
static const uint64_t *long_zeros(uint64_t *zero, const struct span *sp)
{
	uint32_t pieces = 1;

	for (uint32_t i = 0; i < sp->count;) {
		uint32_t end = i;

		while (end < sp->count && (zero[end / 64] >> (end % 64) & 1) != 0)
			end++;
		if (end > i && (end - i) * WEFT_BLOCK_BYTES < ZERO_SEG_MIN)
			for (uint32_t b = i; b < end; b++)
				zero[b / 64] &= ~(1ULL << (b % 64));
		else if (end > i)
			pieces += 2;
		i = end > i ? end : i + 1;
	}
	return pieces == 1 || pieces > SEGS_MAX ? NULL : zero;
}

void read_request(struct store *s, struct nbd_req *req)
{
	struct span sp = span_of(req);
	uint64_t zero[SLOT_BLOCKS / 64] = {0};
	uint32_t at = 0;
	struct buf *buf;
	int err;

	if (sp.slot >= s->nslots || sp.first + sp.count > SLOT_BLOCKS || length_of(req) == 0) {
		nbd_req_done(req, EINVAL);
		return;
	}
	if (s->slots[sp.slot].state != SLOT_USED) {
		nbd_req_done(req, WEFT_ESTALE);
		return;
	}
	if (!span_sound(s, &sp)) {
		nbd_req_done(req, EIO);
		return;
	}
	if (req->type == WEFT_CMD_VERIFY && all_zeros(s, &sp)) {
		nbd_req_done(req, 0);
		return;
	}
	if (all_zeros(s, &sp)) {
		struct nbd_seg seg = {.len = req->len};

		s->stat.reads++;
		s->stat.read_bytes += req->len;
		nbd_req_done_data(req, &seg, 1);
		return;
	}
	buf = buf_get(s->pool, (size_t)sp.count * WEFT_BLOCK_BYTES);
	if (buf == NULL) {
		store_stall(s, req);
		return;
	}
	err = fill_now(s, &sp, buf, &at, zero);
	if (err == EAGAIN) {
		read_long(s, req, &sp, buf);
	} else if (err != 0) {
		buf_put(buf);
		fail(s, req, sp.slot, sp.first + at, err);
	} else {
		answer(s, req, buf, &sp, long_zeros(zero, &sp));
	}
}

void verify_request(struct store *s, struct nbd_req *req)
{
	uint64_t slot = req->offset / WEFT_SHARD_BYTES, len = req->cmd.tx;
	int err = 0;

	if (slot >= s->nslots || len == 0 || len > WEFT_SHARD_BYTES ||
	    len % WEFT_BLOCK_BYTES != 0 || req->offset % WEFT_BLOCK_BYTES != 0)
		err = EINVAL;
	else if (s->slots[slot].state != SLOT_USED || s->slots[slot].gen != req->cmd.slot_gen)
		err = WEFT_ESTALE;
	if (err != 0)
		nbd_req_done(req, err);
	else
		read_request(s, req);
}
