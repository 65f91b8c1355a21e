/*
 * Shards that are carried to other servers: which stripes are copied when, and the switch. See
 * carry.h; carry-copy.c copies one stripe.
 */
#include "config.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "log.h"
#include "stripe/carry-impl.h"

#include "banned.h"

static uint32_t stripes(const struct volume *v)
{
	return 1u << v->l.spe_shift;
}

static struct carry *carry_of_call(struct nbd_call *call)
{
	return (struct carry *)((char *)call - offsetof(struct carry, label_call));
}

/* ---- what others ask ----------------------------------------------------------------------- */

/* While the new place is on its way, also of a volume that is being stopped: what only the new slot
 * has is lost with volmgr as long as the metadata names the old one. */
bool carry_holds(const struct extent *x)
{
	const struct carry *c = x->carry;

	return c != NULL && c->closing &&
	       (c->v->state == VOLUME_RUNNING || c->step >= CARRY_RECORD);
}

void carry_touch(struct extent *x, uint64_t number)
{
	uint32_t stripe = (uint32_t)(number & (stripes(x->carry->v) - 1));

	x->carry->clean[stripe / 64] &= ~(1ULL << (stripe % 64));
}

static void arm(struct volume *v, uint64_t at_ns)
{
	if (v->carry_timer.at_ns == 0 || v->carry_timer.at_ns > at_ns)
		v->config.env->ops->timer_set(v->config.env, &v->carry_timer, at_ns);
}

void carry_timer_fire(struct io_timer *t)
{
	struct volume *v = (struct volume *)((char *)t - offsetof(struct volume, carry_timer));

	volume_wake(v);
}

void carry_server_broke(struct server *s)
{
	for (struct carry *c = s->v->carries; c != NULL; c = c->next)
		if (c->step < CARRY_RECORD && (c->to == s || shard_server(c->x, c->shard) == s))
			carry_fail(c, -EAGAIN);
}

/* ---- the end ------------------------------------------------------------------------------- */

static void carry_release(struct carry *c)
{
	if (!c->closing)
		return;
	c->closing = false;
	volume_unstall(c->v);
}

void carry_fail(struct carry *c, int err)
{
	if (c->err != 0)
		return;
	c->err = err;
	volume_wake(c->v);
}

/* It is told, and the extent is free for others. The old slot (or the new one) goes later. */
static void carry_over(struct carry *c)
{
	struct volume *v = c->v;
	struct extent *x = c->x;

	c->step = CARRY_LINGER;
	c->until_ns = volume_now(v) + (c->err == 0 ? CARRY_LINGER_MS * NS_PER_MS : 0);
	if (c->err != 0) {
		c->old.server = c->to;
		c->old.slot = c->slot;
		c->old.slot_gen = c->keep ? 0 : c->slot_gen;
	}
	carry_release(c);
	x->carry = NULL;
	c->x = NULL;
	c->done(c->arg, c->err);
	extent_unbusy(v, x);
	rebuild_look(v); /* it may have waited for this */
	arm(v, c->until_ns);
}

/* Reads that were under way to the old slot have ended by now. True: it is gone. */
static bool carry_lingers(struct carry *c)
{
	if (volume_now(c->v) < c->until_ns && c->v->state == VOLUME_RUNNING) {
		arm(c->v, c->until_ns);
		return true;
	}
	slot_discard(c->v, c->old.server, c->old.slot, c->old.slot_gen, NULL, NULL);
	return false;
}

/*
 * The label of a new slot may be that of one that lingers: then LABEL would hand that one back.
 */
void carry_unlinger(struct volume *v, uint64_t extent)
{
	for (struct carry *c = v->carries; c != NULL; c = c->next) {
		if (c->step != CARRY_LINGER || c->number != extent)
			continue;
		slot_discard(v, c->old.server, c->old.slot, c->old.slot_gen, NULL, NULL);
		c->old.slot_gen = 0;
	}
}

/* ---- steps --------------------------------------------------------------------------------- */

static void labelled(struct nbd_call *call, int error)
{
	struct carry *c = carry_of_call(call);

	c->inflight--;
	if (error == 0) {
		c->slot = be32toh(c->reply.slot);
		c->slot_gen = be32toh(c->reply.slot_gen);
		c->step = CARRY_COPY;
	} else if (error == -ENOTCONN) {
		server_broke(c->to);
		carry_fail(c, -EAGAIN);
	} else {
		if (error == (int)WEFT_ESTALE)
			server_recheck(c->to);
		carry_fail(c, error == ENOSPC ? -ENOSPC : -EIO);
	}
	volume_wake(c->v);
}

static void carry_label(struct carry *c)
{
	struct volume *v = c->v;

	c->step = CARRY_LABEL;
	carry_unlinger(v, c->number);
	label_fill(v, c->x, c->shard, extent_generation(v), &c->label);
	server_cmd(v, &c->label_call, WEFT_CMD_LABEL);
	c->label_call.cmd.reply_len = sizeof(c->reply);
	c->out = (struct iovec){&c->label, sizeof(c->label)};
	c->in = (struct iovec){&c->reply, sizeof(c->reply)};
	c->label_call.out = &c->out;
	c->label_call.in = &c->in;
	c->label_call.nout = c->label_call.nin = 1;
	c->label_call.done = labelled;
	c->inflight++;
	server_submit(c->to, &c->label_call);
}

static void settled(void *arg, int err)
{
	struct carry *c = arg;

	c->inflight--;
	if (err != 0)
		carry_fail(c, err == -ESHUTDOWN ? -ESTALE : -EIO);
	else if (c->step == CARRY_SETTLE)
		c->step = CARRY_SWITCH;
	volume_wake(c->v);
}

static uint32_t dirty(const struct carry *c)
{
	uint32_t n = stripes(c->v);

	for (unsigned i = 0; i < STRIPES_MAX / 64; i++)
		n -= (uint32_t)__builtin_popcountll(c->clean[i]);
	return n;
}

/* Copy what is not copied yet, as the throttle lets it; at the end hold the writes. */
static void carry_copy(struct carry *c)
{
	struct volume *v = c->v;

	while (c->err == 0 && (c->closing || rebuild_may_copy(v))) {
		while (c->stripe < stripes(v) &&
		       (c->clean[c->stripe / 64] >> (c->stripe % 64) & 1) != 0)
			c->stripe++;
		if (c->stripe == stripes(v))
			break;
		carry_copy_next(c, c->stripe++);
	}
	if (c->err != 0 || c->inflight > 0 || c->stripe < stripes(v))
		return;
	if (dirty(c) == 0 && c->closing) {
		c->step = CARRY_SETTLE;
		c->inflight++;
		settle_request(v, settled, c);
	} else if (c->bad && c->passes >= CARRY_PASSES) {
		carry_fail(c, -EIO);
	} else {
		c->stripe = 0;
		c->passes++;
		if (!c->bad && !c->closing &&
		    (dirty(c) <= CARRY_LAST || c->passes > CARRY_PASSES)) {
			c->closing = true;
			c->until_ns = volume_now(v) + CARRY_HOLD_MS * NS_PER_MS;
			arm(v, c->until_ns);
		}
		c->bad = false;
		volume_wake(v);
	}
}

static void carry_switch(struct carry *c)
{
	c->old = c->x->place[c->shard];
	c->x->place[c->shard] = (struct place){c->to, c->slot, c->slot_gen};
	c->step = CARRY_RECORD;
	extent_record(c->v, c->x);
}

void carry_recorded(struct extent *x)
{
	struct carry *c = x->carry;

	if (c == NULL)
		return;
	if (c->step == CARRY_MARK)
		c->step = CARRY_START;
	else if (c->step == CARRY_RECORD)
		c->step = CARRY_END;
	volume_wake(c->v);
}

/* What it needs is still there? */
static void carry_check(struct carry *c)
{
	const struct volume *v = c->v;
	const struct extent *x = c->x;

	if (v->state != VOLUME_RUNNING)
		carry_fail(c, -ESTALE);
	else if (x->state != EXTENT_READY)
		carry_fail(c, -ENOENT);
	else if ((x->stale >> c->shard & 1) != 0)
		carry_fail(c, -EBUSY);
	else if (!server_ok(c->to) || !server_ok(shard_server(x, c->shard)))
		carry_fail(c, -EAGAIN);
	else if (c->closing && volume_now(v) >= c->until_ns)
		carry_fail(c, -EAGAIN); /* writes have waited long enough */
}

/* The record may be durable or not, and nobody will say: both slots stay. As long as the volume is
 * ours, one that was refused is given again, and a stop waits for it. */
static bool carry_abandoned(const struct carry *c)
{
	return c->v->state == VOLUME_FENCED && !c->x->putting;
}

/* False: it is gone. */
static bool carry_step(struct carry *c)
{
	if (c->step == CARRY_LINGER)
		return carry_lingers(c);
	if (c->step == CARRY_RECORD && carry_abandoned(c)) {
		c->keep = true;
		c->err = -ESTALE;
		carry_over(c);
		return true;
	}
	if (c->step < CARRY_RECORD)
		carry_check(c);
	if (c->err != 0) {
		carry_release(c);
		if (c->inflight == 0)
			carry_over(c);
		return true;
	}
	if (c->step == CARRY_START)
		carry_label(c);
	if (c->step == CARRY_COPY)
		carry_copy(c);
	if (c->step == CARRY_SWITCH)
		carry_switch(c);
	if (c->step == CARRY_END)
		carry_over(c);
	return true;
}

void carry_run(struct volume *v)
{
	struct carry **at = &v->carries, *c;

	while ((c = *at) != NULL) {
		if (carry_step(c)) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		free(c);
	}
}

void carries_free(struct volume *v)
{
	struct carry *c;

	while ((c = v->carries) != NULL) { /* of a volume that was never stopped in order */
		v->carries = c->next;
		free(c);
	}
}

/* ---- begin --------------------------------------------------------------------------------- */

static int carry_begin_check(struct volume *v, struct extent *x, unsigned shard, uint32_t server)
{
	if (v->state != VOLUME_RUNNING)
		return -ESTALE;
	if (x == NULL || x->state != EXTENT_READY || shard >= v->shards)
		return -ENOENT;
	if (x->rebuild != NULL || x->carry != NULL || (x->stale >> shard & 1) != 0)
		return -EBUSY;
	for (unsigned i = 0; i < v->shards; i++)
		if (shard_server(x, i)->number == server ||
		    ((x->stale >> i & 1) != 0 && server_ok(shard_server(x, i))))
			return -EBUSY; /* what can be rebuilt comes first */
	return server_ok(shard_server(x, shard)) ? 0 : -EAGAIN;
}

void volume_carry_shard(struct volume *v, uint64_t extent, unsigned shard, uint32_t server,
			void (*done)(void *arg, int err), void *arg)
{
	struct extent *x = extent_find(v, extent);
	int err = carry_begin_check(v, x, shard, server);
	struct server *to = err == 0 ? server_get(v, server) : NULL;
	struct carry *c;

	if (to != NULL && !server_ok(to)) {
		server_sync(to); /* it has to be fenced first */
		err = -EAGAIN;
	}
	c = err == 0 && to != NULL ? calloc(1, sizeof(*c)) : NULL;
	if (c == NULL) {
		done(arg, err != 0 ? err : -ENOMEM);
		return;
	}
	c->v = v;
	c->x = x;
	c->number = extent;
	c->shard = (uint8_t)shard;
	c->to = to;
	c->done = done;
	c->arg = arg;
	c->next = v->carries;
	v->carries = c;
	x->carry = c;
	x->busy++;
	c->step = x->mark == 0 || x->putting ? CARRY_MARK : CARRY_START;
	if (c->step == CARRY_MARK)
		extent_record(v, x);
	volume_wake(v);
}
