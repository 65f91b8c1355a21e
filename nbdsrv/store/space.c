/*
 * Giving space back: free granules are punched out of a sparse file, or discarded on a device, when
 * nobody has wanted them for some seconds. What is overwritten all the time frees and takes the
 * same granules again and again and must not pay for that; space that was trimmed must not stay
 * taken.
 *
 * A granule is free when the change that freed it is durable, and from then on nothing reads it,
 * replay included: it may be overwritten at any moment. So a discard needs nothing more than that
 * it never overtakes such a write: a granule is taken while its discard runs.
 *
 * An earlier run may have freed granules that it did not live to give back, so each start takes all
 * free ones for young. When all is given back the clock stops: an idle store does nothing.
 */
#include "config.h"

#include "store/store_internal.h"

#include "banned.h"

static void pass(struct store *s);

static void arm(struct store *s)
{
	struct space *sp = &s->space;

	if (sp->timer.at_ns == 0 && !sp->off && !s->closing)
		s->env->ops->timer_set(s->env, &sp->timer,
				       s->env->ops->now_ns(s->env) + SPACE_AGE_MS * NS_PER_MS);
}

/* The next granules that may go: as many as lie side by side. false: there are none. */
static bool find_run(struct store *s)
{
	struct space *sp = &s->space;
	uint64_t most = s->granules_free - s->granules_reserved;

	while (sp->at < sp->high && s->granule_words[sp->at].ripe == 0)
		sp->at++;
	if (sp->at >= sp->high || most == 0)
		return false;
	if (most > SPACE_RUN_MAX)
		most = SPACE_RUN_MAX;
	sp->first = sp->at * 64 + (uint64_t)__builtin_ctzll(s->granule_words[sp->at].ripe);
	for (sp->count = 0; sp->count < most && sp->first + sp->count < s->granules; sp->count++) {
		uint64_t i = sp->first + sp->count;

		if ((s->granule_words[i / 64].ripe >> (i % 64) & 1) == 0)
			break;
	}
	assert(sp->count > 0);
	return true;
}

/* They are free as before, and hold nothing. */
static void untake(struct store *s)
{
	struct space *sp = &s->space;

	for (uint64_t i = sp->first; i < sp->first + sp->count; i++) {
		assert(granule_taken(s, (uint32_t)(i + 1)));
		s->granule_words[i / 64].taken &= ~(1ULL << (i % 64));
	}
	s->granules_free += sp->count;
	if (sp->first / 64 < s->alloc_hint)
		s->alloc_hint = sp->first / 64;
	sp->count = 0;
}

static void discard_done(struct disk_op *op, int64_t res)
{
	struct store *s = (struct store *)((char *)op - offsetof(struct store, space.op));

	s->busy--;
	untake(s);
	if (res < 0) { /* nothing is lost by it */
		s->space.off = true;
		s->env->ops->timer_cancel(s->env, &s->space.timer);
		if (res == -EOPNOTSUPP)
			log_info("the disk takes no freed space back");
		else
			log_warn("freed space is not given back any more: %s", strerror((int)-res));
	}
	if (s->stalled != NULL)
		store_stall_kick(s);
	pass(s);
	store_rest(s);
}

/* One discard at a time. */
static void pass(struct store *s)
{
	struct space *sp = &s->space;

	if (sp->count > 0 || sp->off || s->closing || s->failed != 0 || !find_run(s))
		return;
	for (uint64_t i = sp->first; i < sp->first + sp->count; i++)
		granule_take(s, (uint32_t)(i + 1));
	s->busy++;
	sp->op.done = discard_done;
	s->disk->ops->discard(s->disk, &sp->op, granule_offset(s, (uint32_t)(sp->first + 1)),
			      sp->count * GRANULE_BYTES);
}

/* What is free grows older by one turn. */
static void turn(struct io_timer *t)
{
	struct store *s = (struct store *)((char *)t - offsetof(struct store, space.timer));
	struct space *sp = &s->space;
	uint64_t low = UINT64_MAX, high = 0;
	bool more = false;

	for (uint64_t i = sp->low; i < sp->high; i++) {
		struct granule_word *w = &s->granule_words[i];

		w->ripe |= w->old;
		w->old = w->young;
		w->young = 0;
		more |= w->old != 0;
		if ((w->ripe | w->old) == 0)
			continue;
		low = i < low ? i : low;
		high = i + 1;
	}
	sp->low = low;
	sp->high = high;
	sp->at = low;
	if (more)
		arm(s);
	pass(s);
}

void space_init(struct store *s)
{
	s->space.low = UINT64_MAX;
	s->space.timer.fire = turn;
}

void space_start(struct store *s)
{
	struct space *sp = &s->space;

	for (uint64_t i = 0; i < (s->granules + 63) / 64; i++)
		s->granule_words[i].young = ~s->granule_words[i].taken;
	sp->low = 0;
	sp->high = (s->granules + 63) / 64;
	arm(s);
}

void space_freed(struct store *s, uint64_t word)
{
	struct space *sp = &s->space;

	if (word < sp->low)
		sp->low = word;
	if (word >= sp->high)
		sp->high = word + 1;
	if (sp->timer.at_ns == 0)
		arm(s);
}

bool space_waits(const struct store *s)
{
	return s->space.count > 0;
}

void space_stop(struct store *s)
{
	s->env->ops->timer_cancel(s->env, &s->space.timer);
}
