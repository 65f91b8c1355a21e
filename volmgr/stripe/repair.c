/*
 * Putting a stripe right: blocks whose checksum does not match, or that the disk does not give
 * back, are decoded from the others and written anew, each 4 KiB row by itself, so that as many
 * shards may have bad blocks as like, as long as each row has k good ones. With verify all shards
 * are read and parity is compared with the data too.
 *
 * A mend takes the stripe's turn like a tx: what it reads is of one moment. What it writes goes out
 * as a tx of its own (tx.c), durable with its answer. It changes no byte of the volume, so it is
 * of no matter whether a crash keeps or loses it.
 *
 * A row that does not fit, though each checksum does, has a block that a disk or a server gave back
 * from another time. When leaving one shard out makes the rest fit (there must be k + 1 others to
 * say so), that one is wrong. Otherwise nobody can tell, and parity is made to fit the data, which
 * is what clients have been reading.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "log.h"
#include "stripe/engine.h"

#include "banned.h"

#define MEND_PAUSE_MS 10000 /* after a server did not take what was mended */

static uint64_t all_rows(const struct volume *v)
{
	return block_mask(0, v->l.blocks);
}

static unsigned bits(uint64_t mask)
{
	return (unsigned)__builtin_popcountll(mask);
}

static uint8_t *block_at(uint8_t *unit, unsigned row)
{
	return unit + (size_t)row * WEFT_BLOCK_BYTES;
}

/* Shards whose block of this row is there. */
static uint32_t row_good(const struct mend *m, unsigned row)
{
	uint32_t good = 0;

	for (unsigned i = 0; i < m->v->shards; i++)
		good |= (uint32_t)(m->have[i] >> row & 1) << i;
	return good;
}

static uint32_t lowest(uint32_t from, unsigned n)
{
	uint32_t chosen = 0;

	for (; from != 0 && n > 0; n--) {
		chosen |= from & -from;
		from &= from - 1;
	}
	return chosen;
}

/* ---- the end ------------------------------------------------------------------------------- */

static void mend_report(const struct mend *m, unsigned shard, uint64_t wrong, uint64_t misfit)
{
	struct volume *v = m->v;
	struct server *s = shard_server(m->x, shard);
	unsigned long long extent = m->x->number, number = m->number;

	if (wrong != 0)
		log_warn("volume %s: extent %llu, stripe %llu: shard %u on server %u: %u blocks "
			 "could not be read or did not match their checksums%s",
			 v->name, extent, number, shard, s->number, bits(wrong),
			 m->error == 0 && (wrong & ~m->fix[shard]) == 0
				 ? ": decoded from the others and written anew"
				 : "");
	if (misfit != 0)
		log_warn("volume %s: extent %llu, stripe %llu: shard %u on server %u: %u blocks "
			 "did not fit the other shards%s",
			 v->name, extent, number, shard, s->number, bits(misfit),
			 m->error == 0 ? ": written anew" : "");
}

/* A scrub's: nobody knows how the shards are that it could not look at. */
static void mend_missed(struct mend *m)
{
	struct volume *v = m->v;

	for (unsigned i = 0; i < v->shards; i++)
		if ((m->x->stale >> i & 1) == 0 && (m->asked >> i & 1) == 0 &&
		    (m->have[i] | m->wrong[i]) != all_rows(v))
			shard_server(m->x, i)->counts.missed_ns = volume_now(v);
}

static void mend_count(struct mend *m)
{
	struct volume *v = m->v;

	if (m->verify || m->ask)
		mend_missed(m);

	for (unsigned i = 0; i < v->shards; i++) {
		struct server *s = shard_server(m->x, i);

		s->counts.bad_blocks += bits(m->wrong[i]);
		s->counts.misfit_blocks += bits(m->misfit[i]);
		if (m->wrong[i] != 0)
			s->counts.bad_ns = volume_now(v);
		if (m->misfit[i] != 0)
			s->counts.misfit_ns = volume_now(v);
		m->result.bad += bits(m->wrong[i]);
		m->result.misfit += bits(m->misfit[i]);
		if (m->error == 0) {
			s->counts.repaired_blocks += bits(m->fix[i]);
			m->result.repaired += bits(m->fix[i]);
		}
		mend_report(m, i, m->wrong[i], m->misfit[i]);
	}
	if (m->lost != 0 && m->missing)
		m->error = EAGAIN;
	else
		m->result.lost = bits(m->lost);
	if (m->result.lost != 0)
		log_error("volume %s: extent %llu, stripe %llu: %u rows have fewer than %u good "
			  "blocks: their data is lost",
			  v->name, (unsigned long long)m->x->number, (unsigned long long)m->number,
			  bits(m->lost), v->l.k);
}

static void mend_end(struct mend *m, int error)
{
	struct volume *v = m->v;
	struct stripe *st = m->st;

	m->error = error;
	mend_count(m);
	if (m->scratch != NULL) {
		buf_put(m->scratch);
		m->scratch = NULL;
		tx_scratch_freed(v);
	}
	st->mend = NULL;
	st->mended = true;
	if (error == 0)
		st->bad = 0;
	stripe_start(v, st);
	v->background--;
	m->done(m);
	if (v->stopped != NULL)
		volume_wake(v);
}

/* Its tx ended. */
void mend_written(struct mend *m, int error)
{
	if (error != 0 && error != EAGAIN)
		for (unsigned i = 0; i < m->v->shards; i++)
			if (m->fix[i] != 0)
				shard_server(m->x, i)->mend_after_ns =
					volume_now(m->v) + MEND_PAUSE_MS * NS_PER_MS;
	mend_end(m, error);
}

/* ---- what is wrong ------------------------------------------------------------------------- */

/* Do the blocks of a row that are in good fit each other? The computed ones go to m->spare. */
static bool row_fits(struct mend *m, unsigned row, uint32_t good, uint32_t *differ)
{
	struct volume *v = m->v;
	uint32_t base = lowest(good, v->l.k), rest = good & ~base;
	uint8_t *blocks[WEFT_SHARDS_MAX] = {NULL};
	unsigned n = 0;

	*differ = 0;
	if (rest == 0)
		return true;
	for (unsigned i = 0; i < v->shards; i++) {
		if ((base >> i & 1) != 0)
			blocks[i] = block_at(m->unit[i], row);
		else if ((rest >> i & 1) != 0)
			blocks[i] = m->spare + (size_t)n++ * WEFT_BLOCK_BYTES;
	}
	if (ec_decode(v->ec, WEFT_BLOCK_BYTES, blocks, base, rest) != 0)
		return true;
	for (unsigned i = 0; i < v->shards; i++)
		if ((rest >> i & 1) != 0 &&
		    memcmp(blocks[i], block_at(m->unit[i], row), WEFT_BLOCK_BYTES) != 0)
			*differ |= 1u << i;
	return *differ == 0;
}

/* The shards whose blocks of a row that does not fit are to be written anew. */
static uint32_t row_culprits(struct mend *m, unsigned row, uint32_t good)
{
	struct volume *v = m->v;
	uint32_t data = (1u << v->l.k) - 1, culprits = 0, differ;

	if (bits(good) >= v->l.k + 2)
		for (unsigned i = 0; i < v->shards; i++)
			if ((good >> i & 1) != 0 && row_fits(m, row, good & ~(1u << i), &differ))
				culprits |= 1u << i;
	if (bits(culprits) == 1)
		return culprits;
	m->result.unclear++;
	return good & ~lowest((good & data) == data ? data : good, v->l.k);
}

/* Compute the blocks of want from the k lowest of good. */
static void row_decode(struct mend *m, unsigned row, uint32_t good, uint32_t want)
{
	uint8_t *blocks[WEFT_SHARDS_MAX] = {NULL};

	for (unsigned i = 0; i < m->v->shards; i++)
		blocks[i] = block_at(m->unit[i], row);
	if (ec_decode(m->v->ec, WEFT_BLOCK_BYTES, blocks, lowest(good, m->v->l.k), want) != 0)
		return;
	for (unsigned i = 0; i < m->v->shards; i++)
		if ((want >> i & 1) != 0)
			m->fix[i] |= 1ULL << row;
}

static void row_judge(struct mend *m, unsigned row)
{
	uint32_t good = row_good(m, row), wrong = 0, differ;

	for (unsigned i = 0; i < m->v->shards; i++)
		wrong |= (uint32_t)(m->wrong[i] >> row & 1) << i;
	if (bits(good) < m->v->l.k) {
		if (wrong != 0)
			m->lost |= 1ULL << row;
		return;
	}
	if (m->verify && !row_fits(m, row, good, &differ)) {
		uint32_t culprits = row_culprits(m, row, good);

		for (unsigned i = 0; i < m->v->shards; i++)
			if ((culprits >> i & 1) != 0)
				m->misfit[i] |= 1ULL << row;
		good &= ~culprits;
		wrong |= culprits;
	}
	if (wrong != 0 && m->v->l.m > 0)
		row_decode(m, row, good, wrong);
}

/* A whole stripe at once, which is the usual case: nothing is wrong. */
static bool all_fits(struct mend *m)
{
	struct volume *v = m->v;
	uint32_t good = 0, base, rest;
	uint8_t *blocks[WEFT_SHARDS_MAX] = {NULL};
	unsigned n = 0;

	for (unsigned i = 0; i < v->shards; i++) {
		if (m->wrong[i] != 0)
			return false;
		good |= (m->have[i] == all_rows(v) ? 1u : 0u) << i;
	}
	base = lowest(good, v->l.k);
	rest = good & ~base;
	if (!m->verify || rest == 0 || bits(base) < v->l.k)
		return true;
	for (unsigned i = 0; i < v->shards; i++) {
		if ((base >> i & 1) != 0)
			blocks[i] = m->unit[i];
		else if ((rest >> i & 1) != 0)
			blocks[i] = m->spare + (size_t)n++ * v->l.unit;
	}
	if (ec_decode(v->ec, v->l.unit, blocks, base, rest) != 0)
		return false;
	for (unsigned i = 0; i < v->shards; i++)
		if ((rest >> i & 1) != 0 && memcmp(blocks[i], m->unit[i], v->l.unit) != 0)
			return false;
	return true;
}

/* The blocks that are to be written, one after the other from the start of their unit. */
static void mend_pack(struct mend *m)
{
	for (unsigned i = 0; i < m->v->shards; i++) {
		uint8_t *to = m->unit[i];

		for (uint64_t left = m->fix[i]; left != 0; left &= left - 1) {
			memmove(to, block_at(m->unit[i], (unsigned)__builtin_ctzll(left)),
				WEFT_BLOCK_BYTES);
			to += WEFT_BLOCK_BYTES;
		}
	}
}

static void mend_judge(struct mend *m)
{
	struct volume *v = m->v;
	uint64_t fix = 0;

	for (unsigned i = 0; i < v->shards; i++)
		m->result.bytes += (uint64_t)bits(m->have[i]) * WEFT_BLOCK_BYTES;
	if (!all_fits(m))
		for (unsigned row = 0; row < v->l.blocks; row++)
			row_judge(m, row);
	for (unsigned i = 0; i < v->shards; i++)
		fix |= m->fix[i];
	if (fix == 0) {
		mend_end(m, 0);
		return;
	}
	if (carry_holds(m->x)) { /* a shard is about to be elsewhere */
		mend_end(m, EAGAIN);
		return;
	}
	mend_pack(m);
	tx_mend(v, m->st, m);
}

/* The piece of a PREPARE. Zeros give their space back. */
int mend_pieces(struct mend *m, unsigned shard, struct iovec *iov, uint8_t *mode)
{
	size_t len = (size_t)bits(m->fix[shard]) * WEFT_BLOCK_BYTES;
	const uint8_t *p = m->unit[shard];

	if (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0) {
		*mode = WEFT_MODE_ZERO;
		return 0;
	}
	*mode = WEFT_MODE_DATA;
	iov[0] = (struct iovec){m->unit[shard], len};
	return 1;
}

/* ---- reading ------------------------------------------------------------------------------- */

static void mend_read(struct mend *m, unsigned shard, unsigned row, unsigned rows);
static void mend_read_all(struct mend *m);

static void mend_failed(struct mend *m, const struct mend_call *c, int error)
{
	struct server *s = c->server;
	unsigned shard = c->shard;

	if (s != shard_server(m->x, shard)) /* it is elsewhere now: again, later */
		m->error = EAGAIN;
	m->have[shard] = 0;
	m->left[shard] = 0;
	if (error == -ENOTCONN)
		server_broke(s);
	else if (error == (int)WEFT_ESTALE)
		server_recheck(s);
	if (error > 0 && m->error == 0)
		m->error = error;
}

static void mend_read_done(struct nbd_call *call, int error)
{
	struct mend_call *c = (struct mend_call *)call;
	struct mend *m = c->mend;
	unsigned shard = c->shard;
	uint64_t rows = block_mask(c->row, c->row + c->rows);

	m->pending--;
	if (error == 0) {
		m->have[shard] |= rows;
	} else if (error != (int)WEFT_EBADMSG && error != EIO) {
		mend_failed(m, c, error);
	} else if (c->rows > 1) { /* which of them? */
		m->left[shard] = rows;
	} else {
		m->wrong[shard] |= rows;
	}
	if (m->left[shard] != 0 && server_ok(shard_server(m->x, shard))) {
		unsigned row = (unsigned)__builtin_ctzll(m->left[shard]);

		m->left[shard] &= m->left[shard] - 1;
		mend_read(m, shard, row, 1);
	}
	if (m->pending > 0)
		return;
	if (m->error != 0)
		mend_end(m, m->error);
	else
		mend_judge(m);
}

static void mend_read(struct mend *m, unsigned shard, unsigned row, unsigned rows)
{
	struct mend_call *c = &m->calls[shard];

	c->mend = m;
	c->server = shard_server(m->x, shard);
	c->shard = (uint8_t)shard;
	c->row = (uint8_t)row;
	c->rows = (uint8_t)rows;
	server_cmd(m->v, &c->call, NBD_CMD_READ);
	c->call.offset = (uint64_t)m->x->place[shard].slot * WEFT_SHARD_BYTES +
			 layout_shard_offset(&m->v->l, m->number) + row * WEFT_BLOCK_BYTES;
	c->call.len = rows * WEFT_BLOCK_BYTES;
	c->in = (struct iovec){block_at(m->unit[shard], row), c->call.len};
	c->call.in = &c->in;
	c->call.nin = 1;
	c->call.done = mend_read_done;
	m->pending++;
	server_submit(c->server, &c->call);
}

static void mend_asked(struct nbd_call *call, int error)
{
	struct mend_call *c = (struct mend_call *)call;
	struct mend *m = c->mend;

	if (error == (int)WEFT_EBADMSG || error == EIO)
		m->damaged = true;
	else if (error != 0)
		mend_failed(m, c, error);
	else
		m->result.bytes += m->v->l.unit;
	if (error == 0 || error == (int)WEFT_EBADMSG || error == EIO)
		m->asked |= 1u << c->shard;
	if (--m->pending > 0)
		return;
	if (m->error != 0 || !m->damaged)
		mend_end(m, m->error);
	else
		mend_read_all(m);
}

/* Is anything wrong? Each server looks by itself. */
static void mend_ask(struct mend *m, unsigned shard)
{
	struct mend_call *c = &m->calls[shard];

	c->mend = m;
	c->server = shard_server(m->x, shard);
	c->shard = (uint8_t)shard;
	server_cmd(m->v, &c->call, WEFT_CMD_VERIFY);
	c->call.offset = (uint64_t)m->x->place[shard].slot * WEFT_SHARD_BYTES +
			 layout_shard_offset(&m->v->l, m->number);
	c->call.cmd.tx = m->v->l.unit;
	c->call.cmd.slot_gen = m->x->place[shard].slot_gen;
	c->call.done = mend_asked;
	m->pending++;
	server_submit(c->server, &c->call);
}

static void mend_read_all(struct mend *m)
{
	uint32_t usable = extent_usable(m->v, m->x);

	m->result.bytes = 0;
	if (bits(usable) < m->v->l.k) {
		mend_end(m, EAGAIN);
		return;
	}
	for (unsigned i = 0; i < m->v->shards; i++)
		if ((usable >> i & 1) != 0)
			mend_read(m, i, 0, m->v->l.blocks);
}

static bool mend_memory(struct mend *m)
{
	struct volume *v = m->v;

	m->scratch = buf_get(v->scratch, (size_t)(v->shards + v->l.m) * v->l.unit);
	if (m->scratch == NULL)
		return false;
	for (unsigned i = 0; i < v->shards; i++)
		m->unit[i] = m->scratch->data + (size_t)i * v->l.unit;
	m->spare = m->scratch->data + (size_t)v->shards * v->l.unit;
	return true;
}

void mends_put_off(struct volume *v, struct stripe *st)
{
	struct mend *m = st->mends;

	st->mends = NULL;
	st->mends_tail = &st->mends;
	while (m != NULL) {
		struct mend *next = m->next;

		m->error = EAGAIN;
		v->background--;
		m->done(m);
		m = next;
	}
	if (v->stopped != NULL)
		volume_wake(v);
}

/* The stripe's turn is the first mend's. */
void mend_start(struct volume *v, struct stripe *st)
{
	struct mend *m = st->mends;
	uint32_t usable = extent_usable(v, m->x);

	assert(st->mend == NULL && st->tx == NULL && st->dreads_running == 0);
	if (!volume_is_over(v) && !v->reopening && !mend_memory(m)) {
		stripe_stall(v, st);
		v->config.env->ops->timer_set(v->config.env, &v->retry_timer,
					      volume_now(v) + RETRY_MS * NS_PER_MS);
		return;
	}
	st->mends = m->next;
	if (st->mends == NULL)
		st->mends_tail = &st->mends;
	st->mend = m;
	if (volume_is_over(v) || v->reopening || m->x->state != EXTENT_READY ||
	    bits(usable) < v->l.k) {
		mend_end(m, volume_is_over(v) ? ESHUTDOWN : EAGAIN);
		return;
	}
	m->missing = (((1u << v->shards) - 1) & ~m->x->stale & ~usable) != 0;
	if (!m->ask) {
		mend_read_all(m);
		return;
	}
	for (unsigned i = 0; i < v->shards; i++)
		if ((usable >> i & 1) != 0)
			mend_ask(m, i);
}

/* ---- asking for it ------------------------------------------------------------------------- */

struct mend *mend_new(struct volume *v, struct extent *x, uint64_t number, bool verify,
		      void (*done)(struct mend *m))
{
	struct mend *m = calloc(1, sizeof(*m) + v->shards * sizeof(m->calls[0]));

	if (m == NULL)
		return NULL;
	m->v = v;
	m->x = x;
	m->number = number;
	m->verify = verify;
	m->done = done;
	return m;
}

int mend_queue(struct mend *m)
{
	struct stripe *st = stripe_get(m->v, m->number, m->x);

	if (st == NULL)
		return -ENOMEM;
	m->st = st;
	m->next = NULL;
	*st->mends_tail = m;
	st->mends_tail = &m->next;
	m->v->background++;
	if (st->place == STRIPE_STALLED)
		stripe_unstall(m->v, st);
	else
		stripe_start(m->v, st);
	return 0;
}

static void repair_done(struct mend *m)
{
	free(m);
}

/* Shards of this stripe have blocks that cannot be read: they are to be written anew. */
void repair_want(struct volume *v, struct stripe *st, uint32_t shards)
{
	uint64_t now = volume_now(v);
	struct mend *m;

	st->bad |= shards;
	if (st->mended || st->mends != NULL || st->mend != NULL || v->l.m == 0)
		return;
	for (unsigned i = 0; i < v->shards; i++)
		if ((shards >> i & 1) != 0 && shard_server(st->x, i)->mend_after_ns > now)
			return;
	m = mend_new(v, st->x, st->number, false, repair_done);
	if (m != NULL && mend_queue(m) != 0)
		free(m);
}
