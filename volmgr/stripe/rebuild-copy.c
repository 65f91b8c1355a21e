/*
 * A run of stripes of a shard that is being rebuilt: it takes its turn in the queue of each, so
 * that what it reads is of one moment; then the units of k shards are read, in one piece each, the
 * lost ones computed and prepared. Granules of zeros are not written: the slot is new. What is
 * written are whole granules, as far as the run goes, and these take no room in a server's log.
 *
 * It may run beside decoding reads, and beside a tx that only waits for an absent server to confirm
 * its ABORT: with the shard back, that server can perhaps be left out.
 *
 * A unit that cannot be read makes the run fall apart: its stripes are copied one by one.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "log.h"
#include "stripe/rebuild-impl.h"

#include "banned.h"

#define GRANULE_BLOCKS (WEFT_GRANULE_BYTES / WEFT_BLOCK_BYTES)

static void copy_start(struct copy *c);

static uint32_t run_bytes(const struct copy *c)
{
	return c->count << c->job->v->l.unit_shift;
}

/* Its stripes are free for others, and it for the next run. */
static void copy_release(struct copy *c)
{
	struct volume *v = c->job->v;

	for (unsigned i = 0; i < c->count; i++) {
		c->st[i]->copy = NULL;
		c->st[i]->copy_turn = false;
		if (c->st[i]->place == STRIPE_NOWHERE)
			stripe_start(v, c->st[i]);
	}
	c->next = v->rebuild.spare;
	v->rebuild.spare = c;
}

static void copy_end(struct copy *c)
{
	struct rebuild *job = c->job;

	for (uint32_t s = c->number; s < c->number + c->count; s++)
		if (!job->failed && !c->apart)
			bit_set(job->done, s);
		else
			rebuild_ask_again(job, s);
	copy_release(c);
	job->inflight--;
	rebuild_copied(job, c->apart ? 0 : run_bytes(c));
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
	memory = aligned_alloc(BUF_ALIGN, (size_t)v->shards * REBUILD_RUN_BYTES);
	if (c == NULL || memory == NULL) {
		free(c);
		free(memory);
		return NULL;
	}
	for (unsigned i = 0; i < v->shards; i++)
		c->unit[i] = memory + (size_t)i * REBUILD_RUN_BYTES;
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
		flush_note_server(s, cc->log_bytes);
		job->v->rebuild.stat.moved_bytes += cc->bytes;
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

/* The blocks of granules that are not zeros, and where their bytes are. */
static uint64_t copy_blocks(struct copy *c, unsigned shard, struct copy_call *cc)
{
	uint32_t nblocks = run_bytes(c) / WEFT_BLOCK_BYTES;
	uint64_t blocks = 0;
	int n = 0;

	cc->bytes = cc->log_bytes = 0;
	for (uint32_t b = 0; b < nblocks; b += GRANULE_BLOCKS) {
		uint32_t end = b + GRANULE_BLOCKS < nblocks ? b + GRANULE_BLOCKS : nblocks;
		uint32_t len = (end - b) * WEFT_BLOCK_BYTES;
		uint8_t *p = c->unit[shard] + (size_t)b * WEFT_BLOCK_BYTES;

		if (all_zero(p, len))
			continue;
		blocks |= block_mask(b, end);
		cc->iov[n++] = (struct iovec){p, len};
		cc->bytes += len;
		cc->log_bytes += len == WEFT_GRANULE_BYTES ? 0 : len;
	}
	cc->log_bytes += WEFT_BLOCK_BYTES; /* the record */
	cc->call.nout = n;
	return blocks;
}

static void copy_write(struct copy *c, unsigned shard)
{
	struct rebuild *job = c->job;
	struct volume *v = job->v;
	struct server *s = shard_server(job->x, shard);
	struct copy_call *cc = &c->calls[shard];
	uint64_t blocks;

	server_cmd(v, &cc->call, WEFT_CMD_PREPARE);
	blocks = copy_blocks(c, shard, cc);
	if (blocks == 0 || !server_ok(s))
		return;
	cc->copy = c;
	cc->shard = (uint8_t)shard;
	cc->id = (struct undecided){.number = 0};
	undecided_add(v, &cc->id);
	cc->call.offset = (uint64_t)job->x->place[shard].slot * WEFT_SHARD_BYTES +
			  ((uint64_t)c->number << v->l.unit_shift);
	cc->call.cmd.tx = cc->id.number;
	cc->call.cmd.blocks = blocks;
	cc->call.cmd.slot_gen = job->x->place[shard].slot_gen;
	cc->call.cmd.participants = 1u << shard;
	cc->call.cmd.mode = WEFT_MODE_DATA;
	cc->call.out = cc->iov;
	cc->call.done = copy_written;
	if (s->max_tx < cc->id.number)
		s->max_tx = cc->id.number;
	c->pending++;
	server_submit(s, &cc->call);
}

static void copy_writes(struct copy *c)
{
	struct rebuild *job = c->job;
	int err = ec_decode(job->v->ec, run_bytes(c), c->unit, c->from, c->want);

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

static void copy_unreadable(struct copy *c, unsigned shard, int error)
{
	struct volume *v = c->job->v;

	if (c->count > 1) { /* which of them? */
		c->apart = true;
		return;
	}
	c->bad |= 1u << shard;
	repair_want(v, c->st[0], 1u << shard);
	log_warn("volume %s: stripe %llu: shard %u on server %u: rebuild: %s", v->name,
		 (unsigned long long)c->st[0]->number, shard,
		 shard_server(c->job->x, shard)->number, strerror(error));
}

static void copy_read(struct nbd_call *call, int error)
{
	struct copy_call *cc = (struct copy_call *)call;
	struct copy *c = cc->copy;
	struct rebuild *job = c->job;

	if (error == 0) {
		job->v->rebuild.stat.moved_bytes += run_bytes(c);
	} else {
		c->again = true;
		if (error == -ENOTCONN)
			server_broke(shard_server(job->x, cc->shard));
		else
			copy_unreadable(c, cc->shard, error);
	}
	if (--c->pending > 0)
		return;
	if (job->failed || c->apart) {
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

static void copy_read_units(struct copy *c, unsigned shard)
{
	struct rebuild *job = c->job;
	struct volume *v = job->v;
	struct copy_call *cc = &c->calls[shard];

	cc->copy = c;
	cc->shard = (uint8_t)shard;
	server_cmd(v, &cc->call, NBD_CMD_READ);
	cc->call.offset = (uint64_t)job->x->place[shard].slot * WEFT_SHARD_BYTES +
			  ((uint64_t)c->number << v->l.unit_shift);
	cc->call.len = run_bytes(c);
	cc->iov[0] = (struct iovec){c->unit[shard], cc->call.len};
	cc->call.in = cc->iov;
	cc->call.nin = 1;
	cc->call.done = copy_read;
	c->pending++;
	server_submit(shard_server(job->x, shard), &cc->call);
}

/* It has the turn of all its stripes. */
static void copy_start(struct copy *c)
{
	struct rebuild *job = c->job;
	struct volume *v = job->v;
	uint32_t usable = extent_usable(v, job->x);

	for (unsigned i = 0; i < c->count; i++)
		if (c->st[i]->tx != NULL)
			usable &= ~c->st[i]->tx->unsettled;
	c->again = false;
	c->from = server_choose(job->x, usable & ~c->bad, v->l.k);
	c->want = job->shards;
	if (c->from == 0 && server_choose(job->x, usable, v->l.k) != 0 &&
	    (usable | job->x->stale) == (1u << v->shards) - 1)
		rebuild_lost(job); /* nobody is away who may help later */
	else if (c->from == 0)
		rebuild_fail(job, job->shards, "reading: too few good shards", EIO);
	if (job->failed || c->want == 0) {
		copy_end(c);
		return;
	}
	c->pending = 0;
	for (unsigned i = 0; i < v->shards; i++)
		if ((c->from >> i & 1) != 0)
			copy_read_units(c, i);
}

/* ---- the stripes' turns -------------------------------------------------------------------- */

bool copy_runs(const struct stripe *st)
{
	return st->copy != NULL && st->copy_turn;
}

/* Give this stripe's turn to the copy that waits for it, if it is free. */
void copy_try(struct stripe *st)
{
	struct copy *c = st->copy;

	if (c == NULL || st->copy_turn || st->mend != NULL ||
	    (st->tx != NULL && st->tx->phase != TX_ABORT_WAIT))
		return;
	st->copy_turn = true;
	if (++c->turns == c->count)
		copy_start(c);
}

/* Take part in the queues of its stripes; what waits there for something else is no hindrance. */
static void copy_queue(struct copy *c)
{
	unsigned count = c->count;

	c->turns = 0;
	for (unsigned i = 0; i < count; i++) {
		c->st[i]->copy = c;
		c->st[i]->copy_turn = false;
	}
	for (unsigned i = 0; i < count; i++) {
		struct stripe *st = c->st[i];

		if (st->place == STRIPE_STALLED)
			copy_try(st); /* the last one may end the copy at once */
		else
			stripe_start(c->job->v, st);
	}
}

/* Copy these stripes of the job's extent. False: no memory. */
bool rebuild_copy_run(struct rebuild *job, uint32_t number, unsigned count)
{
	struct volume *v = job->v;
	uint64_t first = (job->x->number << v->l.spe_shift) + number;
	struct copy *c = copy_new(v);

	if (c == NULL)
		return false;
	c->job = job;
	c->number = number;
	c->apart = false;
	c->reads = 0;
	c->bad = 0;
	for (c->count = 0; c->count < count; c->count++) {
		struct stripe *st = stripe_get(v, first + c->count, job->x);

		if (st == NULL) {
			copy_release(c);
			return false;
		}
		assert(st->copy == NULL);
		c->st[c->count] = st;
	}
	job->inflight++;
	v->rebuild.inflight++;
	copy_queue(c);
	return true;
}
