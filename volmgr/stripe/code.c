/*
 * The payload of a tx: which new bytes each block gets, where its pieces lie, and the parity.
 * Nothing is copied but blocks that are written in part, and units that come in too many pieces.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "stripe/engine.h"

#include "banned.h"

/* What is written where a request has no bytes: for all volumes. */
static const uint8_t zeros[WEFT_BLOCK_BYTES] __attribute__((aligned(WEFT_BLOCK_BYTES)));

static unsigned bits(uint64_t v)
{
	return (unsigned)__builtin_popcountll(v);
}

static unsigned first(uint64_t v)
{
	return (unsigned)__builtin_ctzll(v);
}

/* Bytes from the lowest to the highest block. */
static size_t span_bytes(uint64_t v)
{
	return v == 0 ? 0
		      : (size_t)(64 - __builtin_clzll(v) - __builtin_ctzll(v)) * WEFT_BLOCK_BYTES;
}

/* How many bits are set below bit b. */
static size_t rank_bytes(uint64_t v, unsigned b)
{
	return (size_t)bits(v & ((1ULL << b) - 1)) * WEFT_BLOCK_BYTES;
}

/* ---- taking requests ----------------------------------------------------------------------- */

static unsigned block_shift(const struct tx *tx)
{
	return tx->v->l.unit_shift - 12;
}

static void collect_part(struct tx *tx, const struct wpart *p)
{
	unsigned shift = block_shift(tx);
	uint32_t end = p->at + p->len;

	for (uint32_t b = p->at / WEFT_BLOCK_BYTES; b * WEFT_BLOCK_BYTES < end; b++) {
		unsigned j = b >> shift, r = b & (tx->v->l.blocks - 1);
		uint32_t start = b * WEFT_BLOCK_BYTES;

		if (start < p->at || end - start < WEFT_BLOCK_BYTES) {
			tx->part[j] |= 1ULL << r;
			continue;
		}
		tx->full[j] |= 1ULL << r;
		tx->part[j] &= ~(1ULL << r);
		tx->src[b] = p->src == NULL ? zeros : p->src + (start - p->at);
	}
}

/* Take what waits in the stripe, as long as it is of one kind: data, or zeros. */
void tx_collect(struct tx *tx)
{
	struct stripe *st = tx->st;
	struct wpart **tail = &tx->parts;
	unsigned n = 0;

	assert(st->parts != NULL);
	tx->zero = st->parts->src == NULL;
	while (st->parts != NULL && (st->parts->src == NULL) == tx->zero && n < TX_PARTS_MAX) {
		struct wpart *p = st->parts;

		st->parts = p->next;
		p->next = NULL;
		*tail = p;
		tail = &p->next;
		collect_part(tx, p);
		n++;
	}
	if (st->parts == NULL)
		st->parts_tail = &st->parts;
	st->nparts -= n;
	tx->v->stat.merged += n - 1;
}

/* ---- memory -------------------------------------------------------------------------------- */

static const uint8_t *block_src(const struct tx *tx, unsigned j, unsigned r)
{
	return tx->src[(j << block_shift(tx)) + r];
}

/* Pieces of a unit's new bytes; blocks that are merged lie alone. */
static unsigned count_pieces(const struct tx *tx, unsigned j)
{
	const uint8_t *end = NULL;
	unsigned n = 0;

	for (uint64_t left = tx->plan.prepare[j]; left != 0; left &= left - 1) {
		unsigned r = first(left);

		if ((tx->part[j] >> r & 1) != 0) {
			n++;
			end = NULL;
			continue;
		}
		n += block_src(tx, j, r) != end;
		end = block_src(tx, j, r) + WEFT_BLOCK_BYTES;
	}
	return n;
}

static uint8_t *carve(uint8_t *base, size_t *used, size_t len)
{
	uint8_t *p = base == NULL || len == 0 ? NULL : base + *used;

	*used += len;
	return p;
}

static bool parity_needed(const struct tx *tx)
{
	const struct volume *v = tx->v;

	if ((tx->plan.participants >> v->l.k) == 0)
		return false;
	return !(tx->zero && tx->plan.kind == PLAN_FULL); /* zeros have parity zero */
}

/* How much scratch memory the tx needs; with a base, where everything lies. */
static size_t scratch_lay(struct tx *tx, uint8_t *base)
{
	struct volume *v = tx->v;
	struct plan *p = &tx->plan;
	size_t used = 0;

	for (unsigned i = 0; i < v->shards; i++)
		tx->span[i] = carve(base, &used, span_bytes(p->read[i]));
	for (unsigned j = 0; j < v->l.k; j++) {
		size_t prepared = (size_t)bits(p->prepare[j]) * WEFT_BLOCK_BYTES;

		if ((p->decode_want >> j & 1) != 0)
			tx->decoded[j] = carve(base, &used, span_bytes(p->decode));
		tx->merged[j] = carve(base, &used, (size_t)bits(tx->part[j]) * WEFT_BLOCK_BYTES);
		if (p->kind == PLAN_DELTA && p->want_old)
			tx->old[j] = carve(base, &used, prepared);
		if (count_pieces(tx, j) > TX_IOV_MAX)
			tx->bounce[j] = carve(base, &used, prepared);
	}
	if (parity_needed(tx))
		for (unsigned i = 0; i < v->l.m; i++)
			tx->parity[i] =
				carve(base, &used, (size_t)bits(p->rows) * WEFT_BLOCK_BYTES);
	return used;
}

bool tx_scratch(struct tx *tx)
{
	size_t need = scratch_lay(tx, NULL);

	if (need == 0)
		return true;
	tx->scratch = buf_get(tx->v->scratch, need);
	if (tx->scratch == NULL)
		return false;
	scratch_lay(tx, tx->scratch->data);
	return true;
}

/* ---- old bytes ----------------------------------------------------------------------------- */

/* Where the bytes before this tx are, after reading and decoding. */
static const uint8_t *block_before(const struct tx *tx, unsigned j, unsigned r)
{
	const struct plan *p = &tx->plan;

	if (tx->old[j] != NULL)
		return tx->old[j] + rank_bytes(p->prepare[j], r);
	if (tx->decoded[j] != NULL)
		return tx->decoded[j] + (size_t)(r - first(p->decode)) * WEFT_BLOCK_BYTES;
	assert(tx->span[j] != NULL);
	return tx->span[j] + (size_t)(r - first(p->read[j])) * WEFT_BLOCK_BYTES;
}

/* Decode rows r to r + n - 1. */
static int decode_run(struct tx *tx, unsigned r, unsigned n)
{
	const struct plan *p = &tx->plan;
	uint8_t *blocks[WEFT_SHARDS_MAX] = {NULL};

	for (unsigned i = 0; i < tx->v->shards; i++) {
		if ((p->decode_from >> i & 1) != 0)
			blocks[i] =
				tx->span[i] + (size_t)(r - first(p->read[i])) * WEFT_BLOCK_BYTES;
		else if ((p->decode_want >> i & 1) != 0)
			blocks[i] =
				tx->decoded[i] + (size_t)(r - first(p->decode)) * WEFT_BLOCK_BYTES;
	}
	return ec_decode(tx->v->ec, (size_t)n * WEFT_BLOCK_BYTES, blocks, p->decode_from,
			 p->decode_want);
}

/* Length of the run of set bits that starts at bit r. */
static unsigned run_of(uint64_t v, unsigned r)
{
	uint64_t rest = ~(v >> r);

	return rest == 0 ? 64 : first(rest);
}

int tx_decode(struct tx *tx)
{
	uint64_t left = tx->plan.decode;

	while (left != 0) {
		unsigned r = first(left), n = run_of(left, r);
		int err = decode_run(tx, r, n);

		if (err != 0)
			return err;
		left &= ~block_mask(r, r + n);
	}
	return 0;
}

/* Lay all the requests of the tx over one block, in their order. */
static void merge_block(struct tx *tx, unsigned j, unsigned r, uint8_t *dst)
{
	uint32_t start = ((j << block_shift(tx)) + r) * WEFT_BLOCK_BYTES;
	uint32_t end = start + WEFT_BLOCK_BYTES;

	for (const struct wpart *p = tx->parts; p != NULL; p = p->next) {
		uint32_t from = p->at > start ? p->at : start;
		uint32_t to = p->at + p->len < end ? p->at + p->len : end;

		if (from >= to)
			continue;
		if (p->src == NULL)
			memset(dst + (from - start), 0, to - from);
		else
			memcpy(dst + (from - start), p->src + (from - p->at), to - from);
	}
}

/* Blocks that are written in part: the old bytes, with the new ones laid over them. */
void tx_merge(struct tx *tx)
{
	for (unsigned j = 0; j < tx->v->l.k; j++) {
		uint8_t *dst = tx->merged[j];

		for (uint64_t left = tx->part[j]; left != 0; left &= left - 1) {
			unsigned r = first(left);

			if ((tx->full[j] >> r & 1) == 0)
				memcpy(dst, block_before(tx, j, r), WEFT_BLOCK_BYTES);
			merge_block(tx, j, r, dst);
			tx->src[(j << block_shift(tx)) + r] = dst;
			dst += WEFT_BLOCK_BYTES;
		}
	}
}

/* ---- parity -------------------------------------------------------------------------------- */

static bool block_written(const struct tx *tx, unsigned j, unsigned r)
{
	return ((tx->full[j] | tx->part[j]) >> r & 1) != 0;
}

static const uint8_t *block_after(const struct tx *tx, unsigned j, unsigned r)
{
	return block_written(tx, j, r) ? block_src(tx, j, r) : block_before(tx, j, r);
}

/* The rows from r on that lie one after the other in memory for all data shards. */
static unsigned encode_run(const struct tx *tx, uint64_t rows, unsigned r, uint8_t **data)
{
	unsigned n = run_of(rows, r), k = tx->v->l.k;

	for (unsigned j = 0; j < k; j++) {
		data[j] = (uint8_t *)block_after(tx, j, r);
		for (unsigned i = 1; i < n; i++)
			if (block_after(tx, j, r + i) != data[j] + (size_t)i * WEFT_BLOCK_BYTES)
				n = i;
	}
	return n;
}

/* Parity of whole rows: FULL and REBUILD. */
void tx_encode(struct tx *tx)
{
	uint64_t left = tx->plan.rows;
	uint8_t *data[WEFT_K_MAX], *parity[WEFT_M_MAX];

	if (!parity_needed(tx))
		return;
	while (left != 0) {
		unsigned r = first(left), n = encode_run(tx, left, r, data);

		for (unsigned i = 0; i < tx->v->l.m; i++)
			parity[i] = tx->parity[i] + rank_bytes(tx->plan.rows, r);
		ec_encode(tx->v->ec, (size_t)n * WEFT_BLOCK_BYTES, data, parity);
		left &= ~block_mask(r, r + n);
	}
}

/* What one data shard's rows r to r + n - 1 add to the parity. */
static void delta_run(struct tx *tx, unsigned j, unsigned r, unsigned n, bool add)
{
	uint8_t *delta = (uint8_t *)block_before(tx, j, r), *parity[WEFT_M_MAX];

	for (unsigned i = 0; i < n; i++)
		ec_xor(delta + (size_t)i * WEFT_BLOCK_BYTES, block_src(tx, j, r + i),
		       WEFT_BLOCK_BYTES);
	for (unsigned i = 0; i < tx->v->l.m; i++)
		parity[i] = tx->parity[i] + rank_bytes(tx->plan.rows, r);
	ec_delta(tx->v->ec, (size_t)n * WEFT_BLOCK_BYTES, j, delta, parity, add);
}

/* What the parity changes by: DELTA. The old bytes are used up. */
void tx_delta(struct tx *tx)
{
	uint64_t seen = 0;

	if (!parity_needed(tx))
		return;
	for (unsigned j = 0; j < tx->v->l.k; j++) {
		uint64_t left = tx->plan.prepare[j];

		while (left != 0) {
			unsigned r = first(left);
			bool add = (seen >> r & 1) != 0;
			unsigned n = run_of(left & (add ? seen : ~seen), r);

			delta_run(tx, j, r, n, add);
			left &= ~block_mask(r, r + n);
		}
		seen |= tx->plan.prepare[j];
	}
}

/* ---- pieces -------------------------------------------------------------------------------- */

static int parity_pieces(struct tx *tx, unsigned i, struct iovec *iov, uint8_t *mode)
{
	if (!parity_needed(tx)) {
		*mode = WEFT_MODE_ZERO;
		return 0;
	}
	*mode = tx->plan.kind == PLAN_DELTA ? WEFT_MODE_XOR : WEFT_MODE_DATA;
	iov[0] = (struct iovec){tx->parity[i], (size_t)bits(tx->plan.rows) * WEFT_BLOCK_BYTES};
	return 1;
}

static int bounced(struct tx *tx, unsigned j, struct iovec *iov)
{
	uint8_t *dst = tx->bounce[j];

	for (uint64_t left = tx->plan.prepare[j]; left != 0; left &= left - 1) {
		memcpy(dst, block_src(tx, j, first(left)), WEFT_BLOCK_BYTES);
		dst += WEFT_BLOCK_BYTES;
	}
	iov[0] = (struct iovec){tx->bounce[j], (size_t)(dst - tx->bounce[j])};
	return 1;
}

int tx_pieces(struct tx *tx, unsigned shard, struct iovec *iov, uint8_t *mode)
{
	const uint8_t *end = NULL;
	int n = 0;

	if (shard >= tx->v->l.k)
		return parity_pieces(tx, shard - tx->v->l.k, iov, mode);
	if (tx->zero && tx->part[shard] == 0) {
		*mode = WEFT_MODE_ZERO;
		return 0;
	}
	*mode = WEFT_MODE_DATA;
	if (tx->bounce[shard] != NULL)
		return bounced(tx, shard, iov);
	for (uint64_t left = tx->plan.prepare[shard]; left != 0; left &= left - 1) {
		const uint8_t *p = block_src(tx, shard, first(left));

		if (p == end) {
			iov[n - 1].iov_len += WEFT_BLOCK_BYTES;
		} else {
			assert(n < TX_IOV_MAX);
			iov[n++] = (struct iovec){(uint8_t *)p, WEFT_BLOCK_BYTES};
		}
		end = p + WEFT_BLOCK_BYTES;
	}
	return n;
}
