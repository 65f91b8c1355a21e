/*
 * Stripe transactions: plan, read what the plan needs, prepare on every shard, acknowledge; or
 * abort everywhere and either try again or tell why not.
 *
 * A tx whose PREPAREs do not all succeed leaves nothing behind: until each server that may have one
 * has confirmed that the ABORT is durable, its stripe takes no other write and COMMIT's watermark
 * stays below its number. So no server can have it again when COMMIT's watermark passes.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "log.h"
#include "stripe/engine.h"

#include "banned.h"

static void tx_prepare(struct tx *tx);
static void tx_abort(struct tx *tx);

/* Every tx with this number or a lower one is decided. */
uint64_t tx_decided(const struct volume *v)
{
	return v->undecided != NULL ? v->undecided->number - 1 : v->next_tx - 1;
}

void undecided_add(struct volume *v, struct undecided *u)
{
	u->number = v->next_tx++;
	u->next = NULL;
	u->prev = v->undecided_last;
	if (u->prev != NULL)
		u->prev->next = u;
	else
		v->undecided = u;
	v->undecided_last = u;
}

void undecided_remove(struct volume *v, struct undecided *u)
{
	if (u->prev != NULL)
		u->prev->next = u->next;
	else
		v->undecided = u->next;
	if (u->next != NULL)
		u->next->prev = u->prev;
	else
		v->undecided_last = u->prev;
	u->number = 0;
}

static struct tx *tx_new(struct volume *v, struct stripe *st)
{
	struct tx *tx = slab_get(&v->txs);
	uint8_t *tail;

	if (tx == NULL)
		return NULL;
	memset(tx, 0, sizeof(*tx));
	tail = (uint8_t *)(tx + 1);
	tx->calls = (struct tx_call *)tail;
	tx->src = (const uint8_t **)(tail + v->shards * sizeof(struct tx_call));
	tx->id.tx = tx;
	tx->v = v;
	tx->st = st;
	tx->x = st->x;
	st->tx = tx;
	if (st->x->carry != NULL)
		carry_touch(st->x, st->number);
	if (st->x->rebuild != NULL)
		rebuild_touch(st->x, st->number);
	v->tx_running++;
	return tx;
}

/* The stripe looks for its next work. */
static void tx_free(struct tx *tx)
{
	struct volume *v = tx->v;
	struct stripe *st = tx->st;
	struct buf *scratch = tx->scratch;

	assert(st->tx == tx && tx->id.number == 0 && tx->pending == 0);
	st->tx = NULL;
	v->tx_running--;
	slab_put(&v->txs, tx);
	stripe_start(v, st);
	if (scratch != NULL) {
		buf_put(scratch);
		tx_scratch_freed(v);
	}
	if (v->stopped != NULL)
		volume_wake(v);
}

/* Its requests go back to the head of the queue. */
static void tx_return_parts(struct tx *tx)
{
	struct stripe *st = tx->st;
	struct wpart **tail = &tx->parts;

	while (*tail != NULL) {
		st->nparts++;
		tail = &(*tail)->next;
	}
	*tail = st->parts;
	if (st->parts == NULL)
		st->parts_tail = tail;
	st->parts = tx->parts;
	tx->parts = NULL;
}

static void tx_mend_end(struct tx *tx, int error)
{
	struct mend *m = tx->mend;

	tx_free(tx);
	mend_written(m, error);
}

/* Not now: nothing was prepared. */
static void tx_put_off(struct tx *tx, bool stall)
{
	struct volume *v = tx->v;
	struct stripe *st = tx->st;

	if (tx->mend != NULL) {
		tx_mend_end(tx, EAGAIN);
		return;
	}
	tx_return_parts(tx);
	if (tx->bad != 0)
		repair_want(v, st, tx->bad);
	if (!stall) {
		tx_free(tx);
		return;
	}
	st->tx = NULL;
	v->tx_running--;
	slab_put(&v->txs, tx);
	stripe_stall(v, st);
}

static uint32_t shard_bit(unsigned shard)
{
	return 1u << shard;
}

/* ---- planning ------------------------------------------------------------------------------ */

enum tx_plan { TX_GO, TX_WAIT, TX_REFUSED, TX_STOPPED, TX_HOPELESS };

/* Too few good shards: the volume's setting says whether to wait, once nobody may come back soon.
 */
static enum tx_plan tx_below_min(const struct volume *v, const struct extent *x)
{
	uint32_t shards = ((1u << v->shards) - 1) & ~x->stale;

	/* nothing is rebuilt any more */
	if (v->state == VOLUME_STOPPING && (unsigned)__builtin_popcount(shards) < v->min)
		return TX_STOPPED;
	if (!v->config.below_min_fail)
		return TX_WAIT;
	for (unsigned i = 0; i < v->shards; i++)
		if ((x->stale >> i & 1) == 0 && !server_ok(shard_server(x, i)) &&
		    !server_gone(shard_server(x, i)))
			return TX_WAIT;
	return TX_REFUSED;
}

/* Shards that the plan would need are away. */
static enum tx_plan tx_leave_out(struct volume *v, struct extent *x, uint32_t missing)
{
	return extent_leave_out(v, x, missing) == LEAVE_BELOW ? tx_below_min(v, x) : TX_WAIT;
}

static enum tx_plan tx_plan(struct tx *tx)
{
	struct volume *v = tx->v;
	uint32_t good = extent_usable_at(v, tx->x, tx->st->number), need = 0;
	struct plan_in in = {.k = v->l.k, .m = v->l.m, .good = good};

	in.readable = good & ~tx->st->bad;
	for (unsigned j = 0; j < v->l.k; j++) {
		in.full[j] = tx->full[j];
		in.part[j] = tx->part[j] & ~tx->full[j];
		if ((in.full[j] | in.part[j]) != 0)
			need |= shard_bit(j);
	}
	for (unsigned i = 0; i < v->l.m; i++)
		need |= shard_bit(v->l.k + i);
	if ((need & ~tx->x->stale & ~good) != 0)
		return tx_leave_out(v, tx->x, need & ~tx->x->stale & ~good);
	if (v->l.m > 0 && (unsigned)__builtin_popcount(extent_whole(v, tx->x)) < v->min)
		return tx_below_min(v, tx->x);
	if (plan_make(&in, &tx->plan) == 0) {
		tx->needs = tx->plan.participants;
		for (unsigned i = 0; i < v->shards; i++)
			tx->needs |= tx->plan.read[i] != 0 ? shard_bit(i) : 0;
		return TX_GO;
	}
	/* Servers that come back help, unless what is missing is lost. */
	in.good = ((1u << v->shards) - 1) & ~tx->x->stale;
	in.readable = in.good & ~tx->st->bad;
	return plan_make(&in, &tx->plan) == 0 ? TX_WAIT : TX_HOPELESS;
}

static void tx_run(struct tx *tx);

/* Its servers had no room a moment ago, and the volume waits for that. */
static bool tx_full(struct volume *v, struct stripe *st)
{
	if (st->full_ns <= volume_now(v))
		return false;
	v->config.env->ops->timer_set(v->config.env, &v->full_timer,
				      volume_now(v) + FULL_RETRY_MS * NS_PER_MS);
	return true;
}

/* Take the queue of a stripe that has no tx, and start one. */
void tx_start(struct volume *v, struct stripe *st)
{
	struct extent *x = st->x;
	struct wpart *parts;
	struct tx *tx;

	if (x->marking || v->reopening || tx_full(v, st) || extent_retell(v, x)) {
		stripe_stall(v, st);
		return;
	}
	if (v->ring_count + v->tx_running >= UNFLUSHED_TX_MAX) {
		stripe_stall(v, st);
		flush_want(v);
		return;
	}
	tx = flush_room(v) ? tx_new(v, st) : NULL;
	if (tx == NULL) {
		stripe_fail_parts(v, st, ENOMEM);
		stripe_start(v, st);
		return;
	}
	tx_collect(tx);
	switch (tx_plan(tx)) {
	case TX_GO:
		break;
	case TX_WAIT:
		tx_put_off(tx, true);
		return;
	case TX_REFUSED:
		parts = tx->parts;
		tx_free(tx);
		parts_done(v, parts, EIO);
		return;
	case TX_STOPPED:
		parts = tx->parts;
		tx_free(tx);
		parts_done(v, parts, ESHUTDOWN);
		return;
	case TX_HOPELESS:
		log_error("volume %s: stripe %llu: too few good shards to write", v->name,
			  (unsigned long long)st->number);
		parts = tx->parts;
		tx_free(tx);
		parts_done(v, parts, EIO);
		return;
	}
	if (tx_scratch(tx)) {
		tx_run(tx);
		return;
	}
	tx->mem_next = NULL;
	*v->mem_tail = tx;
	v->mem_tail = &tx->mem_next;
}

void tx_scratch_freed(struct volume *v)
{
	struct tx *tx;

	if (v->mem_busy)
		return;
	v->mem_busy = true;
	while ((tx = v->mem_head) != NULL && tx_scratch(tx)) {
		v->mem_head = tx->mem_next;
		if (v->mem_head == NULL)
			v->mem_tail = &v->mem_head;
		tx_run(tx);
	}
	v->mem_busy = false;
}

/* These shards can be used as the plan thought they could: none went away, or stale, meanwhile. */
static bool tx_holds(const struct tx *tx, uint32_t shards)
{
	return (shards & ~extent_usable_at(tx->v, tx->x, tx->st->number)) == 0;
}

static struct tx_call *tx_call(struct tx *tx, unsigned shard, uint16_t type)
{
	struct volume *v = tx->v;
	struct tx_call *c = &tx->calls[shard];

	c->tx = tx;
	c->server = shard_server(tx->x, shard);
	c->shard = (uint8_t)shard;
	server_cmd(v, &c->call, type);
	c->call.offset = (uint64_t)tx->x->place[shard].slot * WEFT_SHARD_BYTES +
			 layout_shard_offset(&v->l, tx->st->number);
	return c;
}

static void tx_submit(struct tx *tx, struct tx_call *c)
{
	tx->pending++;
	server_submit(c->server, &c->call);
}

/* What every completion looks at first. */
static void tx_note_error(struct tx *tx, const struct tx_call *c, int error)
{
	struct volume *v = tx->v;
	struct server *s = c->server;
	unsigned shard = c->shard;

	if (error == 0)
		return;
	if (error == -ENOTCONN || !tx_holds(tx, shard_bit(shard))) {
		if (error == -ENOTCONN)
			server_broke(s);
		tx->again = true;
		return;
	}
	log_warn("volume %s: stripe %llu: shard %u on server %u: %s", v->name,
		 (unsigned long long)tx->st->number, shard, s->number, strerror(error));
	if (error == (int)WEFT_EBADMSG)
		v->stat.crc_errors++;
	if ((error == (int)WEFT_EBADMSG || error == EIO) && (tx->st->bad & shard_bit(shard)) == 0) {
		tx->bad |= shard_bit(shard); /* another plan does without reading it */
		tx->again = true;
		return;
	}
	if (error == (int)WEFT_ESTALE)
		server_recheck(s);
	if (error == ENOSPC && v->config.when_full_wait && v->state == VOLUME_RUNNING &&
	    tx->mend == NULL) {
		tx->st->full_ns = volume_now(v) + FULL_RETRY_MS * NS_PER_MS;
		tx->again = true;
		return;
	}
	if (tx->error == 0)
		tx->error = error;
}

/* ---- reading ------------------------------------------------------------------------------- */

static void tx_read_done(struct nbd_call *call, int error)
{
	struct tx_call *c = (struct tx_call *)call;
	struct tx *tx = c->tx;
	struct volume *v = tx->v;
	struct wpart *parts;

	tx_note_error(tx, c, error);
	if (--tx->pending > 0)
		return;
	if (tx->error == 0 && !tx->again)
		tx->error = -tx_decode(tx);
	if (tx->error != 0) {
		int err = tx->error;

		parts = tx->parts;
		tx_free(tx);
		parts_done(v, parts, err);
		return;
	}
	if (tx->again) {
		tx_put_off(tx, false);
		return;
	}
	tx_merge(tx);
	tx_prepare(tx);
}

static void tx_run(struct tx *tx)
{
	struct volume *v = tx->v;
	bool reads = false;

	tx->phase = TX_READ;
	if (!tx_holds(tx, tx->needs)) { /* it waited for memory, and a server went */
		tx_put_off(tx, false);
		return;
	}
	for (unsigned i = 0; i < v->shards; i++) {
		uint64_t bits = tx->plan.read[i];
		struct tx_call *c;

		if (bits == 0)
			continue;
		reads = true;
		c = tx_call(tx, i, NBD_CMD_READ);
		c->call.offset += (uint64_t)__builtin_ctzll(bits) * WEFT_BLOCK_BYTES;
		c->call.len = (uint32_t)(64 - __builtin_clzll(bits) - __builtin_ctzll(bits)) *
			      WEFT_BLOCK_BYTES;
		c->in = (struct iovec){tx->span[i], c->call.len};
		c->call.in = &c->in;
		c->call.nin = 1;
		c->call.done = tx_read_done;
		tx_submit(tx, c);
	}
	if (!reads) {
		tx_merge(tx);
		tx_prepare(tx);
	}
}

/* ---- preparing ----------------------------------------------------------------------------- */

static void tx_done(struct tx *tx)
{
	struct volume *v = tx->v;
	struct wpart *parts = tx->parts;

	if (tx->mend != NULL) { /* durable already */
		undecided_remove(v, &tx->id);
		flush_timer_arm(v);
		tx_mend_end(tx, 0);
		return;
	}
	if (tx->zero)
		v->stat.tx_zero++;
	else if (tx->plan.kind == PLAN_FULL)
		v->stat.tx_full++;
	else if (tx->plan.kind == PLAN_DELTA)
		v->stat.tx_delta++;
	else
		v->stat.tx_rebuild++;
	flush_note_tx(v, tx);
	undecided_remove(v, &tx->id);
	tx_free(tx);
	parts_done(v, parts, 0);
}

static void tx_prepare_parity(struct tx *tx);

static void tx_prepared(struct tx *tx)
{
	if (!tx_holds(tx, tx->plan.participants)) /* who is gone may not have it any more */
		tx->again = true;
	if (tx->error != 0 || tx->again)
		tx_abort(tx);
	else if (tx->phase == TX_DATA)
		tx_prepare_parity(tx);
	else
		tx_done(tx);
}

static void tx_prepare_done(struct nbd_call *call, int error)
{
	struct tx_call *c = (struct tx_call *)call;
	struct tx *tx = c->tx;

	tx_note_error(tx, c, error);
	if (--tx->pending == 0)
		tx_prepared(tx);
}

static void tx_prepare_shard(struct tx *tx, unsigned shard)
{
	struct server *s = shard_server(tx->x, shard);
	struct tx_call *c = tx_call(tx, shard, WEFT_CMD_PREPARE);
	struct weft_cmd *cmd = &c->call.cmd;

	if (!tx_holds(tx, shard_bit(shard))) {
		tx->again = true;
		return;
	}
	cmd->tx = tx->id.number;
	cmd->blocks = tx->plan.prepare[shard];
	cmd->slot_gen = tx->x->place[shard].slot_gen;
	cmd->participants = tx->plan.participants;
	if (tx->mend != NULL) {
		c->call.flags = NBD_CMD_FLAG_FUA;
		c->call.nout = mend_pieces(tx->mend, shard, c->out, &cmd->mode);
	} else {
		c->call.nout = tx_pieces(tx, shard, c->out, &cmd->mode);
	}
	c->call.out = c->out;
	if (tx->phase == TX_DATA) {
		cmd->flags = WEFT_FLAG_WANT_OLD;
		cmd->reply_len = (uint32_t)__builtin_popcountll(cmd->blocks) * WEFT_BLOCK_BYTES;
		c->in = (struct iovec){tx->old[shard], cmd->reply_len};
		c->call.in = &c->in;
		c->call.nin = 1;
	}
	c->call.done = tx_prepare_done;
	tx->sent |= shard_bit(shard);
	if (s->max_tx < tx->id.number)
		s->max_tx = tx->id.number;
	tx_submit(tx, c);
}

/* PREPARE on the participants among shards. */
static void tx_prepare_shards(struct tx *tx, uint32_t shards)
{
	for (unsigned i = 0; i < tx->v->shards; i++)
		if ((tx->plan.participants & shards & shard_bit(i)) != 0)
			tx_prepare_shard(tx, i);
	if (tx->pending == 0)
		tx_prepared(tx);
}

static void tx_prepare_parity(struct tx *tx)
{
	tx_delta(tx);
	tx->phase = TX_PREPARE;
	tx_prepare_shards(tx, ~(shard_bit(tx->v->l.k) - 1));
}

static void tx_prepare(struct tx *tx)
{
	uint32_t data = shard_bit(tx->v->l.k) - 1;

	if (!tx_holds(tx, tx->needs)) {
		tx_put_off(tx, false);
		return;
	}
	undecided_add(tx->v, &tx->id);
	tx->bytes = 0;
	for (struct wpart *p = tx->parts; p != NULL; p = p->next)
		tx->bytes += p->len;
	if (tx->plan.kind == PLAN_DELTA && tx->plan.want_old) {
		tx->phase = TX_DATA;
		tx_prepare_shards(tx, data);
		return;
	}
	tx->phase = TX_PREPARE;
	if (tx->plan.kind == PLAN_DELTA)
		tx_delta(tx);
	else
		tx_encode(tx);
	tx_prepare_shards(tx, ~0u);
}

void tx_mend(struct volume *v, struct stripe *st, struct mend *m)
{
	struct tx *tx = tx_new(v, st);

	if (tx == NULL) {
		mend_written(m, EAGAIN);
		return;
	}
	tx->mend = m;
	tx->plan.kind = PLAN_REBUILD;
	for (unsigned i = 0; i < v->shards; i++) {
		tx->plan.prepare[i] = m->fix[i];
		if (m->fix[i] != 0)
			tx->plan.participants |= shard_bit(i);
	}
	undecided_add(v, &tx->id);
	tx->phase = TX_PREPARE;
	tx_prepare_shards(tx, ~0u);
}

/* ---- undoing ------------------------------------------------------------------------------- */

/* A server that still has to confirm is there: it came back while others answered. */
static bool tx_can_settle(const struct tx *tx)
{
	for (unsigned i = 0; i < tx->v->shards; i++)
		if ((tx->unsettled & shard_bit(i)) != 0 && server_ok(shard_server(tx->x, i)))
			return true;
	return false;
}

/* Of a shard that is durably stale nobody asks what it kept. */
static void tx_leave_unsettled(struct tx *tx)
{
	struct extent *x = tx->x;

	if (!volume_is_over(tx->v) && extent_leave_out(tx->v, x, tx->unsettled) == LEAVE_BELOW)
		extent_give_up(tx->v, x, tx->unsettled);
	if (x->marking)
		return;
	for (unsigned i = 0; i < tx->v->shards; i++)
		if ((tx->unsettled & x->stale & shard_bit(i)) != 0)
			shard_server(x, i)->left_out = true;
	tx->unsettled &= ~x->stale;
}

static void tx_undone(struct tx *tx)
{
	struct volume *v = tx->v;
	struct stripe *st = tx->st;
	struct wpart *parts = NULL;
	int error;

	tx_leave_unsettled(tx);
	if (tx_can_settle(tx)) {
		tx_abort(tx);
		return;
	}
	if (volume_is_over(v) && tx->error == 0)
		tx->error = ESHUTDOWN;
	error = tx->error;
	if (error != 0) {
		parts = tx->parts;
		tx->parts = NULL;
	}
	if (tx->unsettled != 0 && !volume_is_over(v)) {
		tx->phase = TX_ABORT_WAIT;
		for (struct wpart *p = tx->parts; p != NULL; p = p->next)
			op_waiting(p->op, true);
		stripe_start(v, st); /* decoding reads can run */
		parts_done(v, parts, error);
		return;
	}
	undecided_remove(v, &tx->id);
	flush_timer_arm(v); /* the watermark may move */
	if (error == 0) {
		tx_put_off(tx, false);
		return;
	}
	if (tx->mend != NULL) {
		tx_mend_end(tx, error);
		return;
	}
	if (tx->bad != 0)
		repair_want(v, st, tx->bad);
	tx_free(tx);
	parts_done(v, parts, error);
}

static void tx_abort_done(struct nbd_call *call, int error)
{
	struct tx_call *c = (struct tx_call *)call;
	struct tx *tx = c->tx;
	struct server *s = c->server;

	if (error == -ENOTCONN) {
		server_broke(s);
	} else {
		tx->unsettled &= ~shard_bit(c->shard);
		if (error == (int)WEFT_ESTALE) {
			server_recheck(s);
		} else if (error != 0) { /* it may keep the change: it must not be read again */
			log_error("volume %s: server %u cannot undo: %s", tx->v->name, s->number,
				  strerror(error));
			extent_lost(tx->v, tx->x, c->shard);
			if (tx->x->rebuild != NULL)
				rebuild_cancel(tx->x);
		}
	}
	if (--tx->pending == 0)
		tx_undone(tx);
}

static void tx_abort(struct tx *tx)
{
	if (tx->phase != TX_ABORT_WAIT)
		tx->unsettled = tx->sent;
	tx->phase = TX_ABORT;
	for (unsigned i = 0; i < tx->v->shards; i++) {
		struct tx_call *c;

		if ((tx->unsettled & shard_bit(i)) == 0 || !server_ok(shard_server(tx->x, i)))
			continue;
		c = tx_call(tx, i, WEFT_CMD_ABORT);
		c->call.flags = NBD_CMD_FLAG_FUA; /* or it comes back with a power cut */
		c->call.cmd.tx = tx->id.number;
		c->call.cmd.slot_gen = tx->x->place[i].slot_gen;
		c->call.done = tx_abort_done;
		tx_submit(tx, c);
	}
	if (tx->pending == 0)
		tx_undone(tx);
}

void txs_forget(struct volume *v)
{
	while (v->undecided != NULL) {
		struct tx *tx = v->undecided->tx;

		assert(tx != NULL && tx->phase == TX_ABORT_WAIT);
		undecided_remove(v, &tx->id);
		tx->unsettled = 0;
		if (tx->mend != NULL)
			tx_mend_end(tx, EAGAIN);
		else if (tx->parts != NULL)
			tx_put_off(tx, false);
		else
			tx_free(tx);
	}
}

/* Servers came back, or can be left out now. */
void txs_settle(struct volume *v)
{
	struct undecided *u = v->undecided;

	while (u != NULL) {
		struct undecided *next = u->next;

		if (u->tx != NULL && u->tx->phase == TX_ABORT_WAIT)
			tx_abort(u->tx);
		u = next;
	}
}
