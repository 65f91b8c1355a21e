/*
 * What became of a tx that a server lists after others were told of its end: the server was away
 * when that happened. The watermark alone does not say it, for each owner's takes the place of the
 * one before. So the metadata remembers of each start of the volume (and of each time that its txs
 * were judged anew, reopen.c) the watermark that it found, and of each server how far it was there.
 *
 * What is recorded is true when it becomes durable, which is after all undone txs are gone and all
 * marks are durable, and before the first COMMIT:
 *  - between a start and the watermark that the next one found, all txs were decided by the one
 *    owner of that time, and the undone ones are gone or their shards stale: what is listed stays;
 *  - between that watermark and the next start's first number, that start has judged: what is still
 *    listed by a server that was there stays. What others list was listed there by nobody, or else
 *    their shards were marked as stale: if they are not, it is undone;
 *  - a server that was there at a start lists nothing from before that is not to stay.
 *
 * What is not recorded is not known: older metadata, or lost, or more starts than are kept.
 */
#include "config.h"

#include "stripe/starts.h"

#include "banned.h"

static uint64_t epoch_of(uint64_t tx)
{
	return tx >> EPOCH_SHIFT;
}

void volume_set_starts(struct volume *v, const struct volume_starts *r)
{
	assert(v->state == VOLUME_NEW && r->n <= VOLUME_STARTS_MAX && r->nservers <= PEER_MAX);
	v->nstarts = r->n;
	memcpy(v->starts, r->start, r->n * sizeof(r->start[0]));
	for (unsigned n = 0; n < r->nservers; n++)
		for (unsigned i = 0; i < v->nservers; i++)
			if (v->servers[i]->number == r->server[n].number)
				v->servers[i]->judged_to = r->server[n].judged_to;
}

uint64_t starts_committed(const struct volume *v)
{
	return v->nstarts == 0 ? 0 : v->starts[v->nstarts - 1].committed;
}

static void starts_drop(struct volume *v, unsigned n)
{
	v->nstarts -= n;
	memmove(v->starts, v->starts + n, v->nstarts * sizeof(v->starts[0]));
}

/* Those before the last one that all servers know of are asked about by nobody. */
static void starts_trim(struct volume *v)
{
	uint64_t all = UINT64_MAX;

	for (unsigned i = 0; i < v->nservers; i++)
		if (v->servers[i]->judged_to < all)
			all = v->servers[i]->judged_to;
	while (v->nstarts > 1 && v->starts[1].next <= all)
		starts_drop(v, 1);
}

void starts_record(struct volume *v, uint64_t next, void (*done)(void *arg, int err), void *arg)
{
	struct volume_starts r = {.nservers = 0};

	if (v->nstarts > 0 && v->starts[v->nstarts - 1].next == next)
		v->nstarts--; /* it could not be recorded, and began again */
	if (v->nstarts == VOLUME_STARTS_MAX)
		starts_drop(v, 1);
	v->starts[v->nstarts++] = (struct volume_start){v->start_committed, next};
	for (unsigned i = 0; i < v->nservers; i++)
		if (v->servers[i]->resolving)
			v->servers[i]->judged_to = next;
	starts_trim(v);
	r.n = v->nstarts;
	memcpy(r.start, v->starts, r.n * sizeof(r.start[0]));
	for (unsigned i = 0; i < v->nservers; i++)
		if (v->servers[i]->judged_to > 0)
			r.server[r.nservers++] = (struct volume_start_server){
				v->servers[i]->number, v->servers[i]->judged_to};
	v->config.ops->starts_put(v->config.ctx, v, &r, done, arg);
}

/*
 * By the watermarks alone. When a later owner resolved it, and this server was there, it is to be
 * kept. When that owner had got as far as to run, all who were there had its COMMIT: this one was
 * not.
 */
static enum fate fate_unrecorded(const struct server *s, uint64_t tx)
{
	uint64_t committed = s->v->start_committed, resolver = epoch_of(committed);

	if (epoch_of(tx) == resolver)
		return FATE_KEPT;
	if (s->v->nstarts > 0)
		return FATE_UNKNOWN;
	if (resolver == s->v->config.epoch) /* our own start, that begins again */
		return s->resolving ? FATE_KEPT : FATE_UNKNOWN;
	return s->old_epoch >= resolver && committed == epoch_resolved(resolver) ? FATE_KEPT
										 : FATE_UNKNOWN;
}

enum fate starts_fate(const struct server *s, uint64_t tx)
{
	const struct volume *v = s->v;
	unsigned after = 0; /* starts that were before it */
	uint64_t committed;

	if (tx < s->judged_to)
		return FATE_KEPT;
	while (after < v->nstarts && v->starts[after].next <= tx)
		after++;
	if (after == v->nstarts && tx > v->start_committed)
		return FATE_OPEN;
	if (after == 0 || epoch_of(v->starts[after - 1].next) != epoch_of(tx))
		return tx > v->start_committed ? FATE_UNKNOWN : fate_unrecorded(s, tx);
	committed = after < v->nstarts ? v->starts[after].committed : v->start_committed;
	if (tx > committed)
		return FATE_MISSED;
	return epoch_of(committed) == epoch_of(tx) ? FATE_KEPT : FATE_UNKNOWN;
}
