/*
 * One stripe of a shard that is carried: it takes the stripe's turn, so that no tx changes it,
 * reads the unit from the old slot and prepares it in the new one. A unit that cannot be read is
 * repaired where it is, and copied in the next round.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "log.h"
#include "stripe/carry-impl.h"

#include "banned.h"

static uint64_t bit(uint32_t stripe)
{
	return 1ULL << (stripe % 64);
}

static void copy_end(struct carry_copy *cc, bool good)
{
	struct carry *c = cc->carry;
	struct stripe *st = cc->st;

	if (good)
		c->clean[cc->number / 64] |= bit(cc->number);
	st->carry = NULL;
	stripe_start(c->v, st);
	c->inflight--;
	rebuild_paced(c->v, c->v->l.unit);
	free(cc->unit);
	free(cc);
}

static void copy_written(struct nbd_call *call, int error)
{
	struct carry_copy *cc = (struct carry_copy *)call;
	struct carry *c = cc->carry;

	undecided_remove(c->v, &cc->id);
	if (error == 0) {
		flush_note_server(c->to, c->v->l.unit);
	} else if (error == -ENOTCONN) {
		server_broke(c->to);
		carry_fail(c, -EAGAIN);
	} else {
		if (error == (int)WEFT_ESTALE)
			server_recheck(c->to);
		carry_fail(c, error == ENOSPC ? -ENOSPC : -EIO);
	}
	copy_end(cc, error == 0);
}

static bool all_zero(const uint8_t *p, size_t len)
{
	return p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

static void copy_write(struct carry_copy *cc)
{
	struct carry *c = cc->carry;
	struct volume *v = c->v;
	bool zero = all_zero(cc->unit, v->l.unit);

	if (zero && (c->filled[cc->number / 64] & bit(cc->number)) == 0) {
		copy_end(cc, true); /* the slot is new */
		return;
	}
	if (!server_ok(c->to)) {
		carry_fail(c, -EAGAIN);
		copy_end(cc, false);
		return;
	}
	c->filled[cc->number / 64] |= bit(cc->number);
	cc->id = (struct undecided){.number = 0};
	undecided_add(v, &cc->id);
	server_cmd(v, &cc->call, WEFT_CMD_PREPARE);
	cc->call.offset =
		(uint64_t)c->slot * WEFT_SHARD_BYTES + ((uint64_t)cc->number << v->l.unit_shift);
	cc->call.cmd.tx = cc->id.number;
	cc->call.cmd.blocks = block_mask(0, v->l.blocks);
	cc->call.cmd.slot_gen = c->slot_gen;
	cc->call.cmd.participants = 1u << c->shard;
	cc->call.cmd.mode = zero ? WEFT_MODE_ZERO : WEFT_MODE_DATA;
	cc->iov = (struct iovec){cc->unit, v->l.unit};
	cc->call.out = zero ? NULL : &cc->iov;
	cc->call.nout = zero ? 0 : 1;
	cc->call.done = copy_written;
	if (c->to->max_tx < cc->id.number)
		c->to->max_tx = cc->id.number;
	server_submit(c->to, &cc->call);
}

static void copy_read(struct nbd_call *call, int error)
{
	struct carry_copy *cc = (struct carry_copy *)call;
	struct carry *c = cc->carry;
	struct server *s = shard_server(c->x, c->shard);

	if (error == 0 && c->err == 0) {
		copy_write(cc);
		return;
	}
	if (error == -ENOTCONN) {
		server_broke(s);
		carry_fail(c, -EAGAIN);
	} else if (error != 0) {
		log_warn("volume %s: stripe %llu: shard %u on server %u: copying: %s", c->v->name,
			 (unsigned long long)cc->st->number, c->shard, s->number, strerror(error));
		c->bad = true;
		if (c->closing)
			carry_fail(c, -EAGAIN);
		repair_want(c->v, cc->st, 1u << c->shard);
	}
	copy_end(cc, false);
}

/* It has the stripe's turn. */
static void copy_start(struct carry_copy *cc)
{
	struct carry *c = cc->carry;
	struct volume *v = c->v;
	struct server *s = shard_server(c->x, c->shard);

	cc->running = true;
	if (c->err != 0 || !server_ok(s)) {
		carry_fail(c, -EAGAIN);
		copy_end(cc, false);
		return;
	}
	server_cmd(v, &cc->call, NBD_CMD_READ);
	cc->call.offset = (uint64_t)c->x->place[c->shard].slot * WEFT_SHARD_BYTES +
			  ((uint64_t)cc->number << v->l.unit_shift);
	cc->call.len = v->l.unit;
	cc->iov = (struct iovec){cc->unit, v->l.unit};
	cc->call.in = &cc->iov;
	cc->call.nin = 1;
	cc->call.done = copy_read;
	server_submit(s, &cc->call);
}

/* ---- the stripe's turn --------------------------------------------------------------------- */

bool carry_runs(const struct stripe *st)
{
	return st->carry != NULL && st->carry->running;
}

/* Start the copy that waits in a stripe, if it can run now. */
void carry_try(struct stripe *st)
{
	if (st->carry == NULL || st->carry->running || st->mend != NULL || st->tx != NULL)
		return;
	copy_start(st->carry);
}

void carry_copy_next(struct carry *c, uint32_t stripe)
{
	struct volume *v = c->v;
	uint64_t number = (c->x->number << v->l.spe_shift) + stripe;
	struct carry_copy *cc = calloc(1, sizeof(*cc));
	struct stripe *st = cc == NULL ? NULL : stripe_get(v, number, c->x);

	if (cc != NULL)
		cc->unit = aligned_alloc(BUF_ALIGN, v->l.unit);
	if (st == NULL || cc->unit == NULL) {
		if (st != NULL)
			stripe_start(v, st); /* which may end it */
		if (cc != NULL)
			free(cc->unit);
		free(cc);
		carry_fail(c, -ENOMEM);
		return;
	}
	assert(st->carry == NULL);
	cc->carry = c;
	cc->st = st;
	cc->number = stripe;
	st->carry = cc;
	c->inflight++;
	rebuild_copy_begins(v);
	if (st->place == STRIPE_STALLED)
		carry_try(st); /* its writes wait for something else, perhaps for this */
	else
		stripe_start(v, st);
}
