/*
 * What of an extent was ever written: k of its good shards are asked before it is rebuilt. Where
 * all of them have nothing, the others have nothing either, and there is nothing to copy: a volume
 * that was filled to a tenth is rebuilt in a tenth of the time.
 *
 * A stripe in which a tx runs meanwhile, or begins, is copied whatever they say.
 */
#include "config.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "log.h"
#include "stripe/rebuild-impl.h"

#include "banned.h"

static_assert(WEFT_SHARD_BYTES / WEFT_GRANULE_BYTES == 64, "a bit for each granule of a slot");

static void map_answered(struct nbd_call *call, int error)
{
	struct map_call *c = (struct map_call *)call;
	struct rebuild *job = c->job;

	if (error == -ENOTCONN)
		server_broke(c->server);
	job->mapped |= error == 0 ? be64toh(c->reply.granules) : ~0ULL;
	job->inflight--;
	rebuild_advance(job);
}

static void map_ask(struct rebuild *job, unsigned shard)
{
	struct map_call *c = &job->maps[shard];
	struct place *p = &job->x->place[shard];

	c->job = job;
	c->server = p->server;
	server_cmd(job->v, &c->call, WEFT_CMD_MAP);
	c->call.offset = (uint64_t)p->slot * WEFT_SHARD_BYTES;
	c->call.cmd.slot_gen = p->slot_gen;
	c->call.cmd.reply_len = sizeof(c->reply);
	c->in = (struct iovec){&c->reply, sizeof(c->reply)};
	c->call.in = &c->in;
	c->call.nin = 1;
	c->call.done = map_answered;
	job->inflight++;
	server_submit(p->server, &c->call);
}

void rebuild_touch(struct extent *x, uint64_t stripe)
{
	struct rebuild *job = x->rebuild;

	bit_set(job->touched, (uint32_t)(stripe & ((1u << job->v->l.spe_shift) - 1)));
}

void rebuild_map(struct rebuild *job)
{
	struct volume *v = job->v;
	uint64_t first = job->x->number << v->l.spe_shift;
	uint32_t from = server_choose(job->x, extent_usable(v, job->x), v->l.k);

	job->maps = calloc(v->shards, sizeof(*job->maps));
	if (job->maps == NULL || from == 0) {
		job->mapped = ~0ULL;
		return;
	}
	for (uint32_t s = 0; s < 1u << v->l.spe_shift; s++) {
		const struct stripe *st = stripe_find(v, first + s);

		if (st != NULL && st->tx != NULL)
			bit_set(job->touched, s);
	}
	for (unsigned i = 0; i < v->shards; i++)
		if ((from >> i & 1) != 0)
			map_ask(job, i);
}

/* All have answered: what is not there is done. */
void rebuild_mapped(struct rebuild *job)
{
	const struct layout *l = &job->v->l;
	uint64_t skipped = 0;

	for (uint32_t s = 0; s < 1u << l->spe_shift; s++) {
		unsigned from = (s << l->unit_shift) / WEFT_GRANULE_BYTES;
		unsigned to = (((s + 1) << l->unit_shift) - 1) / WEFT_GRANULE_BYTES + 1;

		if ((job->mapped & block_mask(from, to)) != 0 || bit_is(job->touched, s))
			continue;
		bit_set(job->asked, s);
		bit_set(job->done, s);
		skipped += (uint64_t)__builtin_popcount(job->shards) << l->unit_shift;
	}
	job->v->rebuild.stat.skipped_bytes += skipped;
	job->v->rebuild.copied_bytes += skipped; /* it tells how fast it goes, with all that */
}
