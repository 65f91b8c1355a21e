/*
 * One stripe of a shard that is being rebuilt: it takes its turn in the stripe's queue, so that
 * what it reads is of one moment; then k units are read, the lost ones computed and prepared. Units
 * of zeros are not written: the slot is new.
 *
 * It may run beside decoding reads, and beside a tx that only waits for an absent server to confirm
 * its ABORT: with the shard back, that server can perhaps be left out.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "log.h"
#include "stripe/rebuild-impl.h"

#include "banned.h"

static void copy_start(struct copy *c);

static void copy_end(struct copy *c)
{
	struct rebuild *job = c->job;
	struct volume *v = job->v;
	struct stripe *st = c->st;

	if (!job->failed)
		job->done[c->number / 64] |= 1ULL << (c->number % 64);
	st->copy = NULL;
	c->next = v->rebuild.spare;
	v->rebuild.spare = c;
	stripe_start(v, st);
	job->inflight--;
	rebuild_copied(job);
}

static struct copy *copy_new(struct volume *v)
{
	struct copy *c = v->rebuild.spare;
	size_t calls = v->shards * sizeof(c->calls[0]);
	uint8_t *memory;

	if (c != NULL) {
		v->rebuild.spare = c->next;
		return c;
	}
	c = calloc(1, sizeof(*c) + calls);
	memory = aligned_alloc(BUF_ALIGN, (size_t)v->shards << v->l.unit_shift);
	if (c == NULL || memory == NULL) {
		free(c);
		free(memory);
		return NULL;
	}
	for (unsigned i = 0; i < v->shards; i++)
		c->unit[i] = memory + ((size_t)i << v->l.unit_shift);
	return c;
}

void copies_free(struct volume *v)
{
	struct copy *c;

	while ((c = v->rebuild.spare) != NULL) {
		v->rebuild.spare = c->next;
		free(c->unit[0]);
		free(c);
	}
}

/* ---- writing ------------------------------------------------------------------------------- */

static void copy_written(struct nbd_call *call, int error)
{
	struct copy_call *cc = (struct copy_call *)call;
	struct copy *c = cc->copy;
	struct rebuild *job = c->job;
	struct server *s = shard_server(job->x, cc->shard);

	undecided_remove(job->v, &cc->id);
	if (error == 0) {
		flush_note_server(s, job->v->l.unit);
		job->v->rebuild.stat.moved_bytes += job->v->l.unit;
	} else if (error == -ENOTCONN) {
		server_broke(s);
	} else {
		rebuild_fail(job, 1u << cc->shard, "writing", error);
		if (error == (int)WEFT_ESTALE)
			server_recheck(s);
	}
	if (--c->pending == 0)
		copy_end(c);
}

static bool all_zero(const uint8_t *p, size_t len)
{
	return p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

static void copy_write(struct copy *c, unsigned shard)
{
	struct rebuild *job = c->job;
	struct volume *v = job->v;
	struct server *s = shard_server(job->x, shard);
	struct copy_call *cc = &c->calls[shard];

	if (all_zero(c->unit[shard], v->l.unit) || !server_ok(s))
		return;
	cc->copy = c;
	cc->shard = (uint8_t)shard;
	cc->id = (struct undecided){.number = 0};
	undecided_add(v, &cc->id);
	server_cmd(v, &cc->call, WEFT_CMD_PREPARE);
	cc->call.offset = (uint64_t)job->x->place[shard].slot * WEFT_SHARD_BYTES +
			  ((uint64_t)c->number << v->l.unit_shift);
	cc->call.cmd.tx = cc->id.number;
	cc->call.cmd.blocks = block_mask(0, v->l.blocks);
	cc->call.cmd.slot_gen = job->x->place[shard].slot_gen;
	cc->call.cmd.participants = 1u << shard;
	cc->call.cmd.mode = WEFT_MODE_DATA;
	cc->iov = (struct iovec){c->unit[shard], v->l.unit};
	cc->call.out = &cc->iov;
	cc->call.nout = 1;
	cc->call.done = copy_written;
	if (s->max_tx < cc->id.number)
		s->max_tx = cc->id.number;
	c->pending++;
	server_submit(s, &cc->call);
}

static void copy_writes(struct copy *c)
{
	struct rebuild *job = c->job;
	int err = ec_decode(job->v->ec, job->v->l.unit, c->unit, c->from, c->want);

	if (err != 0)
		rebuild_fail(job, job->shards, "decoding", -err);
	c->want &= job->shards;
	c->pending = 1;
	for (unsigned i = 0; i < job->v->shards && !job->failed; i++)
		if ((c->want >> i & 1) != 0)
			copy_write(c, i);
	if (--c->pending == 0)
		copy_end(c);
}

/* ---- reading ------------------------------------------------------------------------------- */

static void copy_read(struct nbd_call *call, int error)
{
	struct copy_call *cc = (struct copy_call *)call;
	struct copy *c = cc->copy;
	struct rebuild *job = c->job;
	struct server *s = shard_server(job->x, cc->shard);

	if (error == 0) {
		job->v->rebuild.stat.moved_bytes += job->v->l.unit;
	} else {
		c->again = true;
		if (error == -ENOTCONN) {
			server_broke(s);
		} else {
			c->bad |= 1u << cc->shard;
			repair_want(job->v, c->st, 1u << cc->shard);
			log_warn("volume %s: stripe %llu: shard %u on server %u: rebuild: %s",
				 job->v->name, (unsigned long long)c->st->number, cc->shard,
				 s->number, strerror(error));
		}
	}
	if (--c->pending > 0)
		return;
	if (job->failed) {
		copy_end(c);
	} else if (!c->again) {
		copy_writes(c);
	} else if (++c->reads == REBUILD_READS) {
		rebuild_fail(job, job->shards, "reading", EIO);
		copy_end(c);
	} else {
		copy_start(c);
	}
}

static void copy_read_unit(struct copy *c, unsigned shard)
{
	struct rebuild *job = c->job;
	struct volume *v = job->v;
	struct copy_call *cc = &c->calls[shard];

	cc->copy = c;
	cc->shard = (uint8_t)shard;
	server_cmd(v, &cc->call, NBD_CMD_READ);
	cc->call.offset = (uint64_t)job->x->place[shard].slot * WEFT_SHARD_BYTES +
			  ((uint64_t)c->number << v->l.unit_shift);
	cc->call.len = v->l.unit;
	cc->iov = (struct iovec){c->unit[shard], v->l.unit};
	cc->call.in = &cc->iov;
	cc->call.nin = 1;
	cc->call.done = copy_read;
	c->pending++;
	server_submit(shard_server(job->x, shard), &cc->call);
}

/* It has the stripe's turn. */
static void copy_start(struct copy *c)
{
	struct rebuild *job = c->job;
	struct volume *v = job->v;
	uint32_t usable = extent_usable(v, job->x) & ~c->bad;

	if (c->st->tx != NULL)
		usable &= ~c->st->tx->unsettled;
	c->running = true;
	c->again = false;
	c->from = server_choose(job->x, usable, v->l.k);
	c->want = job->shards;
	if (c->from == 0)
		rebuild_fail(job, job->shards, "reading: too few good shards", EIO);
	if (job->failed || c->want == 0) {
		copy_end(c);
		return;
	}
	c->pending = 0;
	for (unsigned i = 0; i < v->shards; i++)
		if ((c->from >> i & 1) != 0)
			copy_read_unit(c, i);
}

/* ---- the stripe's turn --------------------------------------------------------------------- */

bool copy_runs(const struct stripe *st)
{
	return st->copy != NULL && st->copy->running;
}

/* Start the copy that waits in a stripe, if it can run now. */
void copy_try(struct stripe *st)
{
	if (st->copy == NULL || st->copy->running || st->mend != NULL ||
	    (st->tx != NULL && st->tx->phase != TX_ABORT_WAIT))
		return;
	copy_start(st->copy);
}

void rebuild_copy_next(struct rebuild *job)
{
	struct volume *v = job->v;
	uint64_t number = (job->x->number << v->l.spe_shift) + job->stripe;
	struct copy *c = copy_new(v);
	struct stripe *st = c == NULL ? NULL : stripe_get(v, number, job->x);

	if (st == NULL) {
		if (c != NULL) {
			c->next = v->rebuild.spare;
			v->rebuild.spare = c;
		}
		rebuild_fail(job, job->shards, "memory", ENOMEM);
		return;
	}
	assert(st->copy == NULL);
	c->running = false;
	c->reads = 0;
	c->bad = 0;
	c->job = job;
	c->st = st;
	c->number = job->stripe++;
	st->copy = c;
	job->inflight++;
	v->rebuild.inflight++;
	if (st->place == STRIPE_STALLED)
		copy_try(st); /* its writes wait for something else, perhaps for this */
	else
		stripe_start(v, st);
}
