/*
 * Placing an extent: k + m servers, a slot on each, the map entry durable; only then its first
 * writes go on. Also the way back: giving slots up.
 */
#include "config.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "log.h"
#include "stripe/engine.h"

#include "banned.h"

struct label_call {
	struct nbd_call call;
	struct placing *p;
	struct server *server;
	struct weft_label label;
	struct weft_slot_reply reply;
	struct iovec out, in;
	int error;
};

struct placing {
	struct volume *v;
	struct extent *x;
	struct placing *next;
	unsigned attempt;
	unsigned pending;
	bool chosen;	 /* its servers; else it waits for more to come up */
	bool labelling;	 /* else: waits for its servers to be fenced */
	bool told;	 /* that there is no room, and it waits for some */
	uint32_t absent; /* shards that get no slot for now */
	int error;	 /* the first of its LABELs */
	struct label_call calls[];
};

/*
 * Generations rise, and no label that we lost sight of is ever asked for again: such a slot may
 * hold old bytes, and LABEL would hand it back. The epoch makes them unlike those of earlier lives,
 * orphans counts the slots lost in this one.
 */
uint32_t extent_generation(struct volume *v)
{
	uint32_t generation = ((v->config.epoch & 0xfffff) << 12) + v->orphans;

	return generation > v->generation_min ? generation : v->generation_min;
}

void slot_lost(struct volume *v)
{
	v->orphans++;
	if (extent_generation(v) == v->generation_min)
		v->generation_min++;
}

/* ---- giving up a slot ---------------------------------------------------------------------- */

struct discard {
	struct nbd_call call;
	struct volume *v;
	struct server *server;
	struct discard *next; /* server.owed */
	uint32_t slot, slot_gen;
	bool owed; /* it was, so it may be done already */
	void (*done)(void *arg, bool given);
	void *arg;
};

static void discard_tell(struct discard *d, bool given)
{
	void (*done)(void *arg, bool given) = d->done;

	d->done = NULL;
	if (done != NULL)
		done(d->arg, given);
}

/* When the server is there again; a restart of volmgr has its slots looked through anyway. */
static void discard_later(struct discard *d)
{
	slot_lost(d->v);
	d->owed = true;
	d->next = d->server->owed;
	d->server->owed = d;
	discard_tell(d, false);
}

static void discard_done(struct nbd_call *call, int error)
{
	struct discard *d = (struct discard *)call;
	struct volume *v = d->v;

	v->background--;
	if (error == -ENOTCONN) {
		server_broke(d->server);
		discard_later(d);
	} else {
		if (error != 0 && !(d->owed && error == (int)WEFT_ESTALE)) {
			slot_lost(v);
			log_warn("volume %s: server %u: slot %u was not given back: %s", v->name,
				 d->server->number, d->slot, strerror(error));
		}
		discard_tell(d, true);
		free(d);
	}
	if (v->stopped != NULL)
		volume_wake(v);
}

static void discard_submit(struct discard *d)
{
	struct volume *v = d->v;

	server_cmd(v, &d->call, WEFT_CMD_DISCARD);
	d->call.offset = (uint64_t)d->slot * WEFT_SHARD_BYTES;
	d->call.cmd.slot_gen = d->slot_gen;
	d->call.done = discard_done;
	v->background++;
	server_submit(d->server, &d->call);
}

void slot_discard(struct volume *v, struct server *s, uint32_t slot, uint32_t slot_gen,
		  void (*done)(void *arg, bool given), void *arg)
{
	struct discard *d;

	if (slot_gen == 0)
		return;
	d = malloc(sizeof(*d));
	if (d == NULL) {
		slot_lost(v);
		log_warn("volume %s: server %u: out of memory: slot %u is not given back", v->name,
			 s->number, slot);
		if (done != NULL)
			done(arg, false);
		return;
	}
	*d = (struct discard){
		.v = v, .server = s, .slot = slot, .slot_gen = slot_gen, .done = done, .arg = arg};
	if (server_ok(s))
		discard_submit(d);
	else
		discard_later(d);
}

void slots_owed(struct server *s)
{
	struct discard *d = s->owed, *next;

	s->owed = NULL;
	for (; d != NULL; d = next) {
		next = d->next;
		discard_submit(d);
	}
}

void slots_owed_forget(struct server *s)
{
	struct discard *d;

	while ((d = s->owed) != NULL) {
		s->owed = d->next;
		free(d);
	}
}

/* ---- placing ------------------------------------------------------------------------------- */

static void placing_try(struct placing *p);
static void placing_later(struct placing *p);
static void placing_waits(struct placing *p);

/*
 * Slots that it got when the metadata refused its place are still there, with the same label. Who
 * makes the metadata anew from labels cannot tell which are in use, unless these have a mark: the
 * servers have to know it before anything is written.
 */
static void placed_in_doubt(struct volume *v, struct extent *x)
{
	v->marks += !x->marking;
	x->marking = true;
	extent_record(v, x);
}

static void extent_placed(struct volume *v, struct extent *x, int error)
{
	struct stripe *st = x->placing;

	x->placing = NULL;
	x->state = error == 0 ? EXTENT_READY : EXTENT_NEW;
	extent_changed(v, x);
	x->busy++; /* failing requests may end its last stripe */
	if (error == 0) {
		v->stat.extents++;
		rebuild_count(v, __builtin_popcount(x->stale));
		if (v->place_refused)
			placed_in_doubt(v, x);
	}
	while (st != NULL) {
		struct stripe *next = st->next;

		st->place = STRIPE_NOWHERE;
		if (error != 0)
			stripe_fail_parts(v, st, error);
		stripe_start(v, st);
		st = next;
	}
	extent_unbusy(v, x);
	volume_wake(v); /* ops that wait for the extent */
}

static void placing_end(struct placing *p, int error)
{
	struct volume *v = p->v;
	struct extent *x = p->x;
	struct placing **at = &v->placings;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	free(p);
	extent_placed(v, x, error);
}

/* Once the metadata has refused a place, slots that it names may be among these: they stay. */
static void placing_undo(struct placing *p)
{
	for (unsigned i = 0; i < p->v->shards; i++) {
		struct label_call *c = &p->calls[i];

		if ((p->absent >> i & 1) != 0)
			continue;
		if (c->error == 0 && !p->v->place_refused)
			slot_discard(p->v, c->server, be32toh(c->reply.slot),
				     be32toh(c->reply.slot_gen), NULL, NULL);
		else if (c->error == -ENOTCONN)
			slot_lost(p->v);
	}
}

/* There is no room: wait for some, if the volume is one that does. */
static bool placing_full(struct placing *p)
{
	if (!p->v->config.when_full_wait || p->v->state != VOLUME_RUNNING)
		return false;
	if (!p->told)
		log_warn("volume %s: extent %llu waits for room on the servers", p->v->name,
			 (unsigned long long)p->x->number);
	p->told = true;
	placing_later(p);
	return true;
}

static void placing_again(struct placing *p, int error)
{
	if (++p->attempt < PLACE_ATTEMPTS && p->v->state == VOLUME_RUNNING) {
		placing_try(p);
		return;
	}
	if (error == ENOSPC && placing_full(p))
		return;
	log_error("volume %s: extent %llu cannot be placed: %s", p->v->name,
		  (unsigned long long)p->x->number, strerror(error));
	placing_end(p, ENOSPC);
}

static void placing_put_done(void *arg, int err)
{
	struct placing *p = arg;

	p->v->background--;
	if (err != 0) {
		log_error("volume %s: extent %llu: cannot record its place: %s", p->v->name,
			  (unsigned long long)p->x->number, strerror(-err));
		/* it may be there all the same: these slots stay, empty, and are given out again */
		p->v->place_refused = true;
		placing_end(p, EIO);
		return;
	}
	placing_end(p, 0);
}

static void placing_put(struct placing *p)
{
	struct volume *v = p->v;
	struct extent *x = p->x;
	struct extent_record r;

	for (unsigned i = 0; i < v->shards; i++) {
		bool absent = (p->absent >> i & 1) != 0;

		x->place[i].server = p->calls[i].server;
		x->place[i].slot = absent ? 0 : be32toh(p->calls[i].reply.slot);
		x->place[i].slot_gen = absent ? 0 : be32toh(p->calls[i].reply.slot_gen);
	}
	x->stale = p->absent;
	extent_record_of(v, x, &r);
	v->background++;
	v->config.ops->extents_put(v->config.ctx, v, &r, 1, false, placing_put_done, p);
}

static void label_done(struct nbd_call *call, int error)
{
	struct label_call *c = (struct label_call *)call;
	struct placing *p = c->p;

	c->error = error;
	if (error == -ENOTCONN)
		server_broke(c->server);
	if (error != 0 && p->error == 0)
		p->error = error;
	if (--p->pending > 0)
		return;
	if (p->error == (int)WEFT_ESTALE) {
		volume_fail(p->v, ESTALE);
		placing_end(p, ESHUTDOWN);
	} else if (p->error != 0) {
		placing_undo(p);
		if (p->error < 0)
			placing_later(p);
		else
			placing_again(p, p->error);
	} else {
		placing_put(p);
	}
}

void label_fill(const struct volume *v, const struct extent *x, unsigned shard, uint32_t generation,
		struct weft_label *label)
{
	memset(label, 0, sizeof(*label));
	label->volume = htobe64(v->config.id);
	label->extent = htobe64(x->number);
	label->generation = htobe32(generation);
	label->unit_bytes = htobe32(v->l.unit);
	label->shard = (uint8_t)shard;
	label->k = (uint8_t)v->l.k;
	label->m = (uint8_t)v->l.m;
	label->code = (uint8_t)v->config.code;
	memcpy(label->name, v->name, sizeof(v->name));
}

static void label_submit(struct placing *p, unsigned shard)
{
	struct volume *v = p->v;
	struct label_call *c = &p->calls[shard];

	label_fill(v, p->x, shard, p->x->generation, &c->label);
	server_cmd(v, &c->call, WEFT_CMD_LABEL);
	c->call.cmd.reply_len = sizeof(c->reply);
	c->out = (struct iovec){&c->label, sizeof(c->label)};
	c->in = (struct iovec){&c->reply, sizeof(c->reply)};
	c->call.out = &c->out;
	c->call.in = &c->in;
	c->call.nout = c->call.nin = 1;
	c->call.done = label_done;
	server_submit(c->server, &c->call);
}

static void placing_label(struct placing *p)
{
	p->labelling = true;
	p->error = 0;
	p->pending = p->v->shards - (unsigned)__builtin_popcount(p->absent);
	carry_unlinger(p->v, p->x->number); /* of the same label, perhaps */
	p->x->generation = extent_generation(p->v);
	for (unsigned i = 0; i < p->v->shards; i++)
		if ((p->absent >> i & 1) == 0)
			label_submit(p, i);
}

/* A server that was chosen is not there: choose again, soon or when one comes up. */
static void placing_later(struct placing *p)
{
	struct volume *v = p->v;

	p->chosen = p->labelling = false;
	placing_waits(p);
	if (v->state == VOLUME_FENCED)
		placing_end(p, ESHUTDOWN);
	else
		v->config.env->ops->timer_set(v->config.env, &v->put_timer,
					      volume_now(v) + v->config.grace_ms * NS_PER_MS);
}

/* Too few servers have been up for a while: what they cannot take now is rebuilt later. */
static bool placing_may_be_short(const struct volume *v)
{
	return v->short_ns != 0 && v->min < v->shards &&
	       volume_now(v) >= v->short_ns + v->config.grace_ms * NS_PER_MS;
}

/* All its servers fenced: label. One of them gone: choose others. */
static void placing_check(struct placing *p)
{
	struct volume *v = p->v;
	unsigned ready = 0;

	p->absent = 0;
	for (unsigned i = 0; i < v->shards; i++) {
		struct server *s = p->calls[i].server;

		if (server_ok(s))
			ready++;
		else if (s->peer == NULL || !s->peer->up)
			p->absent |= 1u << i;
	}
	if (p->absent != 0 && (!placing_may_be_short(v) || v->shards - ready > v->shards - v->min))
		placing_later(p);
	else if (ready + (unsigned)__builtin_popcount(p->absent) == v->shards)
		placing_label(p);
}

/* Its requests are counted as waiting. */
static void placing_waits(struct placing *p)
{
	for (struct stripe *st = p->x->placing; st != NULL; st = st->next)
		for (struct wpart *w = st->parts; w != NULL; w = w->next)
			op_waiting(w->op, true);
}

static int placing_ask(struct volume *v, uint32_t *servers)
{
	int err = v->config.ops->place(v->config.ctx, v, v->shards, v->shards, servers);

	if (err != -EAGAIN)
		v->short_ns = 0;
	else if (v->short_ns == 0)
		v->short_ns = volume_now(v);
	if (err == -EAGAIN && placing_may_be_short(v))
		err = v->config.ops->place(v->config.ctx, v, v->shards, v->min, servers);
	return err;
}

static void placing_try(struct placing *p)
{
	struct volume *v = p->v;
	uint32_t servers[WEFT_SHARDS_MAX];
	int err = placing_ask(v, servers);

	p->labelling = false;
	p->chosen = err == 0;
	if (err == -EAGAIN) { /* placings_advance() asks again when a server comes */
		placing_waits(p);
		v->config.env->ops->timer_set(v->config.env, &v->put_timer,
					      volume_now(v) + v->config.grace_ms * NS_PER_MS);
		return;
	}
	if (err != 0 && placing_full(p))
		return;
	if (err != 0) {
		log_error("volume %s: no %u servers with room for extent %llu", v->name, v->shards,
			  (unsigned long long)p->x->number);
		placing_end(p, ENOSPC);
		return;
	}
	for (unsigned i = 0; i < v->shards; i++) {
		p->calls[i].p = p;
		p->calls[i].server = server_get(v, servers[i]);
		if (p->calls[i].server == NULL) {
			placing_end(p, ENOMEM);
			return;
		}
		if (!server_ok(p->calls[i].server))
			server_sync(p->calls[i].server);
	}
	placing_check(p);
}

void extent_place(struct volume *v, struct extent *x)
{
	struct placing *p = calloc(1, sizeof(*p) + v->shards * sizeof(p->calls[0]));

	assert(x->state == EXTENT_NEW);
	x->state = EXTENT_PLACING;
	if (p == NULL) {
		extent_placed(v, x, ENOMEM);
		return;
	}
	p->v = v;
	p->x = x;
	p->next = v->placings;
	v->placings = p;
	placing_try(p);
}

void placings_advance(struct volume *v)
{
	struct placing *p = v->placings;

	while (p != NULL) {
		struct placing *next = p->next;

		if (v->state == VOLUME_FENCED && !p->labelling)
			placing_end(p, ESHUTDOWN);
		else if (!p->chosen)
			placing_try(p);
		else if (!p->labelling)
			placing_check(p);
		p = next;
	}
}
