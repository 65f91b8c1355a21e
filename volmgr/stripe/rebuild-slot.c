/*
 * A new slot for a shard that is to be rebuilt, and shards that move to another server. The old
 * slot is discarded first: a full store has no room for both, and nothing in it is to be trusted.
 * Until the record with the new slot is durable nothing is written there, so whatever is lost on
 * the way is asked for again: the same label gives the same, empty slot.
 */
#include "config.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "log.h"
#include "stripe/rebuild-impl.h"

#include "banned.h"

static void slot_label(struct slot_call *c);

static void slot_failed(struct slot_call *c, const char *what, int error)
{
	struct rebuild *job = c->job;
	struct server *s = shard_server(job->x, c->shard);

	if (error == -ENOTCONN) {
		server_broke(s);
	} else {
		rebuild_fail(job, 1u << c->shard, what, error);
		if (error == (int)WEFT_ESTALE)
			server_recheck(s);
	}
	job->inflight--;
	rebuild_advance(job);
}

static void slot_labelled(struct nbd_call *call, int error)
{
	struct slot_call *c = (struct slot_call *)call;
	struct rebuild *job = c->job;
	struct place *p = &job->x->place[c->shard];

	if (error != 0) {
		slot_failed(c, "a new slot", error);
		return;
	}
	p->slot = be32toh(c->reply.slot);
	p->slot_gen = be32toh(c->reply.slot_gen);
	job->inflight--;
	rebuild_advance(job);
}

static void slot_label(struct slot_call *c)
{
	struct volume *v = c->job->v;

	label_fill(v, c->job->x, c->shard, extent_generation(v), &c->label);
	server_cmd(v, &c->call, WEFT_CMD_LABEL);
	c->call.cmd.reply_len = sizeof(c->reply);
	c->out = (struct iovec){&c->label, sizeof(c->label)};
	c->in = (struct iovec){&c->reply, sizeof(c->reply)};
	c->call.out = &c->out;
	c->call.in = &c->in;
	c->call.nout = c->call.nin = 1;
	c->call.done = slot_labelled;
	server_submit(shard_server(c->job->x, c->shard), &c->call);
}

static void slot_discarded(struct nbd_call *call, int error)
{
	struct slot_call *c = (struct slot_call *)call;
	struct rebuild *job = c->job;
	struct server *s = shard_server(job->x, c->shard);

	if (error != 0 && error != (int)WEFT_ESTALE) { /* ESTALE: it was gone already */
		slot_failed(c, "giving up the old slot", error);
		return;
	}
	if (job->failed || !server_ok(s)) {
		job->inflight--;
		rebuild_advance(job);
		return;
	}
	slot_label(c);
}

static void slot_start(struct rebuild *job, unsigned shard)
{
	struct place *p = &job->x->place[shard];
	struct slot_call *c = &job->slots[shard];

	c->job = job;
	c->shard = (uint8_t)shard;
	job->inflight++;
	if (p->slot_gen == 0) {
		slot_label(c);
		return;
	}
	server_cmd(job->v, &c->call, WEFT_CMD_DISCARD);
	c->call.offset = (uint64_t)p->slot * WEFT_SHARD_BYTES;
	c->call.cmd.slot_gen = p->slot_gen;
	c->call.done = slot_discarded;
	server_submit(p->server, &c->call);
}

void rebuild_slots(struct rebuild *job)
{
	job->slots = calloc(job->v->shards, sizeof(*job->slots));
	if (job->slots == NULL) {
		rebuild_fail(job, job->shards, "memory", ENOMEM);
		return;
	}
	carry_unlinger(job->v, job->x->number);
	for (unsigned i = 0; i < job->v->shards; i++)
		if ((job->shards >> i & 1) != 0)
			slot_start(job, i);
}

/* ---- moving -------------------------------------------------------------------------------- */

/* Held until the others have confirmed what they have; then its new place is on its way to the
 * metadata. */
struct move {
	struct move *next;
	struct volume *v;
	uint64_t extent;
	struct extent *x; /* that, as it was when it was looked at */
	unsigned shard;
	uint32_t server; /* where it goes */
	struct place old;
	void (*done)(void *arg, int err);
	void *arg;
};

static void move_end(struct move *m, int err)
{
	struct volume *v = m->v;

	if (err == 0)
		slot_discard(v, m->old.server, m->old.slot, m->old.slot_gen, NULL, NULL);
	m->done(m->arg, err);
	free(m);
	v->background--;
	if (v->stopped != NULL)
		volume_wake(v);
}

void moves_recorded(struct volume *v, struct extent *x, int err)
{
	struct move **at = &v->moves, *m;

	while ((m = *at) != NULL) {
		if (x != NULL && m->x != x) {
			at = &m->next;
			continue;
		}
		*at = m->next;
		move_end(m, err);
	}
}

static int move_check(struct volume *v, struct extent *x, unsigned shard, uint32_t server)
{
	uint32_t left;

	if (v->state != VOLUME_RUNNING)
		return -ESTALE;
	if (x == NULL || x->state != EXTENT_READY || shard >= v->shards)
		return -ENOENT;
	left = extent_usable(v, x) & ~(1u << shard);
	if (x->rebuild != NULL || x->carry != NULL || (unsigned)__builtin_popcount(left) < v->l.k)
		return -EBUSY;
	for (unsigned i = 0; i < v->shards; i++)
		if (shard_server(x, i)->number == server)
			return -EBUSY;
	return 0;
}

static void move_begin(struct move *m)
{
	struct volume *v = m->v;
	struct extent *x = m->x;
	struct server *s = server_get(v, m->server);

	m->old = x->place[m->shard];
	m->next = v->moves;
	v->moves = m;
	x->place[m->shard] = (struct place){.server = s};
	if (!server_ok(s))
		server_sync(s);
	extent_mark_stale(v, x, 1u << m->shard);
	extent_record(v, x); /* it may have been stale before */
}

void moves_try(struct volume *v)
{
	struct move *m = v->moves_held, *next;

	v->moves_held = NULL;
	for (; m != NULL; m = next) {
		int err;

		next = m->next;
		m->x = extent_find(v, m->extent);
		err = move_check(v, m->x, m->shard, m->server);
		if (err == 0 && (m->x->stale >> m->shard & 1) == 0 &&
		    !others_confirmed(v, m->x, 1u << m->shard)) {
			m->next = v->moves_held;
			v->moves_held = m;
		} else if (err == 0) {
			move_begin(m);
		} else {
			move_end(m, err);
		}
	}
}

void volume_move_shard(struct volume *v, uint64_t extent, unsigned shard, uint32_t server,
		       void (*done)(void *arg, int err), void *arg)
{
	int err = move_check(v, extent_find(v, extent), shard, server);
	struct move *m = err != 0 || server_get(v, server) == NULL ? NULL : malloc(sizeof(*m));

	if (m == NULL) {
		done(arg, err != 0 ? err : -ENOMEM);
		return;
	}
	*m = (struct move){.next = v->moves_held,
			   .v = v,
			   .extent = extent,
			   .shard = shard,
			   .server = server,
			   .done = done,
			   .arg = arg};
	v->moves_held = m;
	v->background++;
	moves_try(v);
}

bool volume_distrust_shard(struct volume *v, uint64_t extent, unsigned shard)
{
	struct extent *x = extent_find(v, extent);
	uint32_t left;

	if (x == NULL || x->state != EXTENT_READY || shard >= v->shards ||
	    v->state != VOLUME_RUNNING)
		return false;
	left = extent_usable(v, x) & ~(1u << shard);
	if ((unsigned)__builtin_popcount(left) < v->l.k)
		return false;
	extent_mark_stale(v, x, 1u << shard);
	return true;
}
