/*
 * Reading what cannot be read from its own shard: k others are read and the bytes computed. It
 * takes the stripe's turn, because in the middle of a tx the shards do not belong together.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "log.h"
#include "stripe/engine.h"

#include "banned.h"

static void dread_append(struct stripe *st, struct dread *d)
{
	d->next = NULL;
	*st->dreads_tail = d;
	st->dreads_tail = &d->next;
}

/*
 * Byte at of data shard "shard" on, len bytes (within a unit), into dst. bad: shards that are known
 * not to have the bytes; avoid: those that would take long.
 */
void dread_queue(struct op *op, struct extent *x, unsigned shard, uint32_t at, uint32_t len,
		 uint8_t *dst, uint32_t bad, uint32_t avoid)
{
	struct volume *v = op->v;
	uint64_t number = (x->number << v->l.spe_shift) + (at >> v->l.unit_shift);
	struct stripe *st = stripe_get(v, number, x);
	struct dread *d = st == NULL ? NULL : slab_get(&v->dreads);

	if (d == NULL) {
		if (st != NULL)
			stripe_start(v, st);
		op_fail(op, ENOMEM);
		return;
	}
	d->op = op;
	d->st = st;
	d->shard = (uint8_t)shard;
	d->at = at & (v->l.unit - 1);
	d->len = len;
	d->dst = dst;
	d->bad = bad;
	d->avoid = avoid;
	d->mended = false;
	d->scratch = NULL;
	op->pending++;
	v->stat.degraded_reads += avoid == 0; /* the others are hedged */
	dread_append(st, d);
	if (st->place == STRIPE_STALLED)
		dreads_start(st); /* its writes wait for something else */
	else
		stripe_start(v, st);
}

static void dread_end(struct dread *d, int error)
{
	struct volume *v = d->op->v;
	struct op *op = d->op;

	if (d->scratch != NULL) {
		buf_put(d->scratch);
		tx_scratch_freed(v);
	}
	if (error == 0)
		read_landed(op, d->dst, d->len);
	slab_put(&v->dreads, d);
	op_waiting(op, false);
	if (error != 0)
		op_fail(op, error);
	op_put(op);
}

static uint32_t span_first(const struct dread *d)
{
	return d->at & ~(WEFT_BLOCK_BYTES - 1);
}

static uint32_t span_bytes(const struct dread *d)
{
	uint32_t end = (d->at + d->len + WEFT_BLOCK_BYTES - 1) & ~(WEFT_BLOCK_BYTES - 1);

	return end - span_first(d);
}

static int dread_decode(struct dread *d)
{
	struct volume *v = d->op->v;
	int err;

	if (d->from == 1u << d->shard) /* it was read itself */
		return 0;
	err = ec_decode(v->ec, span_bytes(d), d->blocks, d->from, 1u << d->shard);
	if (err == 0)
		memcpy(d->dst, d->blocks[d->shard] + (d->at - span_first(d)), d->len);
	return -err;
}

/* All its calls ended. */
static void dread_read(struct dread *d)
{
	struct stripe *st = d->st;
	struct volume *v = d->op->v;

	st->dreads_running--;
	if (d->retry) {
		if (d->scratch != NULL) {
			buf_put(d->scratch);
			d->scratch = NULL;
			tx_scratch_freed(v);
		}
		dread_append(st, d);
		if (st->place == STRIPE_STALLED)
			dreads_start(st);
		else
			stripe_start(v, st);
		return;
	}
	if (d->bad != 0 && st->tx == NULL)
		repair_want(v, st, d->bad);
	if (st->dreads_running == 0)
		stripe_start(v, st);
	dread_end(d, dread_decode(d));
}

static void dread_done(struct nbd_call *call, int error)
{
	struct dread_call *c = (struct dread_call *)call;
	struct dread *d = c->d;
	struct volume *v = d->op->v;

	if (error == -ENOTCONN) {
		server_broke(c->server);
		d->retry = true;
	} else if (error != 0 && c->server != shard_server(d->st->x, c->shard)) {
		d->retry = true; /* it is elsewhere now */
	} else if (error != 0) {
		log_warn("volume %s: stripe %llu: shard %u cannot be read: %s", v->name,
			 (unsigned long long)d->st->number, c->shard, strerror(error));
		if (error == (int)WEFT_EBADMSG)
			v->stat.crc_errors++;
		d->bad |= 1u << c->shard;
		d->retry = true;
	}
	if (--d->pending == 0)
		dread_read(d);
}

static void dread_submit(struct dread *d, unsigned shard, uint32_t at, uint32_t len, uint8_t *to)
{
	struct extent *x = d->st->x;
	struct dread_call *c = &d->calls[d->pending++];

	c->d = d;
	c->server = shard_server(x, shard);
	c->shard = (uint8_t)shard;
	c->iov = (struct iovec){to, len};
	c->call.type = NBD_CMD_READ;
	c->call.flags = 0;
	c->call.offset = (uint64_t)x->place[shard].slot * WEFT_SHARD_BYTES +
			 layout_shard_offset(&d->op->v->l, d->st->number) + at;
	c->call.len = len;
	c->call.out = NULL;
	c->call.nout = 0;
	c->call.in = &c->iov;
	c->call.nin = 1;
	c->call.done = dread_done;
	server_submit(c->server, &c->call);
}

enum dread_start { DREAD_RUNS, DREAD_WAITS, DREAD_LOST, DREAD_OVER };

static enum dread_start dread_start(struct dread *d)
{
	struct volume *v = d->op->v;
	struct extent *x = d->st->x;
	uint32_t usable = extent_usable(v, x) & ~d->bad;
	uint32_t ever = ((1u << v->shards) - 1) & ~x->stale & ~d->bad;
	uint32_t span = span_bytes(d), from, n = 0;

	if (d->st->tx != NULL)
		usable &= ~d->st->tx->unsettled;
	if (server_choose(x, usable & ~d->avoid, v->l.k) == 0)
		d->avoid = 0;
	usable &= ~d->avoid;
	d->pending = 0;
	d->retry = false;
	if ((usable >> d->shard & 1) != 0) {
		d->from = 1u << d->shard;
		dread_submit(d, d->shard, d->at, d->len, d->dst);
		return DREAD_RUNS;
	}
	if (volume_is_over(v)) /* the shards need not be of one moment any more */
		return DREAD_OVER;
	from = v->l.m == 0 ? 0 : server_choose(x, usable, v->l.k);
	if (from == 0)
		return server_choose(x, ever, v->l.k) == 0 ? DREAD_LOST : DREAD_WAITS;
	d->scratch = buf_get(v->scratch, (size_t)span * (v->l.k + 1));
	if (d->scratch == NULL) {
		v->config.env->ops->timer_set(v->config.env, &v->retry_timer,
					      volume_now(v) + RETRY_MS * NS_PER_MS);
		return DREAD_WAITS;
	}
	memset(d->blocks, 0, sizeof(d->blocks));
	d->from = from;
	d->blocks[d->shard] = d->scratch->data + (size_t)span * v->l.k;
	for (unsigned i = 0; i < v->shards; i++) {
		if ((from >> i & 1) == 0)
			continue;
		d->blocks[i] = d->scratch->data + (size_t)span * n++;
		dread_submit(d, i, span_first(d), span, d->blocks[i]);
	}
	return DREAD_RUNS;
}

/*
 * Too many shards have something wrong in these rows: perhaps each in another row, which a repair
 * looks at. Once.
 */
static bool dread_mends(struct dread *d)
{
	struct stripe *st = d->st;

	if (d->bad == 0 || d->mended || st->tx != NULL)
		return false;
	if (!st->mended && st->place == STRIPE_NOWHERE)
		repair_want(d->op->v, st, d->bad);
	if (!st->mended && st->mends == NULL)
		return false;
	d->mended = true;
	d->bad = 0;
	return true;
}

/* Start the decoding reads that wait in a stripe, as far as there are servers for them. */
void dreads_start(struct stripe *st)
{
	struct dread *d = st->dreads, *next;

	if (d == NULL || d->op->v->reopening ||
	    (st->tx != NULL ? st->tx->phase != TX_ABORT_WAIT : st->mend != NULL))
		return;
	st->dreads_had_turn = true;
	st->dreads = NULL;
	st->dreads_tail = &st->dreads;
	st->dreads_running++; /* the stripe stays while we are at it */
	for (; d != NULL; d = next) {
		next = d->next;
		switch (dread_start(d)) {
		case DREAD_RUNS:
			op_waiting(d->op, false);
			st->dreads_running++;
			break;
		case DREAD_WAITS:
			op_waiting(d->op, true);
			dread_append(st, d);
			break;
		case DREAD_OVER:
			dread_end(d, ESHUTDOWN);
			break;
		case DREAD_LOST:
			if (dread_mends(d)) {
				dread_append(st, d);
				break;
			}
			log_error("volume %s: stripe %llu: fewer than %u good shards",
				  d->op->v->name, (unsigned long long)st->number, d->op->v->l.k);
			dread_end(d, EIO);
			break;
		}
	}
	st->dreads_running--;
}
