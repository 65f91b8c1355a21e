/*
 * Scrub: every stripe that has shards is read on all of them, checksums and parity are verified,
 * and what is wrong is put right (repair.c does that). One extent after the other, so that an
 * interrupted scrub goes on where it was.
 *
 * Clients come first: while they have requests under way one stripe is looked at at a time, with a
 * pause after it of several times what it took.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "log.h"
#include "stripe/engine.h"

#include "banned.h"

#define SCRUB_INFLIGHT	 4u    /* stripes at once, when nobody else wants anything */
#define SCRUB_BUSY_SHARE 4u    /* of the time that one takes is waited, when somebody does */
#define SCRUB_PAUSE_MIN	 1u    /* ms */
#define SCRUB_PAUSE_MAX	 1000u /* ms */

static bool scrub_over(const struct volume *v)
{
	return v->scrub.stopping || v->state != VOLUME_RUNNING;
}

static void scrub_add(struct volume_scrub *to, const struct mend *m)
{
	to->stripes++;
	to->bytes += m->result.bytes;
	to->bad_blocks += m->result.bad;
	to->misfit_blocks += m->result.misfit;
	to->unclear_rows += m->result.unclear;
	to->repaired_blocks += m->result.repaired;
	to->lost_rows += m->result.lost;
	to->skipped += m->error != 0;
}

static void scrub_done(struct mend *m)
{
	struct volume *v = m->v;
	struct scrub *s = &v->scrub;
	uint64_t now = volume_now(v), pause = (now - s->started_ns) * SCRUB_BUSY_SHARE;

	scrub_add(&s->state, m);
	free(m);
	s->inflight--;
	if (v->inflight == 0)
		pause = 0;
	else if (pause > SCRUB_PAUSE_MAX * NS_PER_MS)
		pause = SCRUB_PAUSE_MAX * NS_PER_MS;
	else if (pause < SCRUB_PAUSE_MIN * NS_PER_MS)
		pause = SCRUB_PAUSE_MIN * NS_PER_MS;
	v->config.env->ops->timer_set(v->config.env, &s->timer, now + pause);
}

static void scrub_end(struct volume *v)
{
	struct scrub *s = &v->scrub;

	s->state.running = false;
	s->state.finished = !scrub_over(v);
	v->background--;
	if (v->stopped != NULL)
		volume_wake(v);
}

/* The extent that is looked at, or the next one; NULL: none is left. */
static struct extent *scrub_extent(struct volume *v)
{
	struct scrub *s = &v->scrub;
	struct extent *x = extent_next(v, s->state.position);

	while (x != NULL && x->state != EXTENT_READY)
		x = extent_next(v, x->number + 1);
	if (x != NULL && x->number != s->state.position) {
		s->state.position = x->number;
		s->stripe = 0;
	}
	return x;
}

static bool scrub_one(struct volume *v, struct extent *x)
{
	struct scrub *s = &v->scrub;
	uint64_t number = (x->number << v->l.spe_shift) + s->stripe;
	struct mend *m = mend_new(v, x, number, s->parity, scrub_done);

	if (m == NULL)
		return false;
	m->ask = !s->parity;
	if (mend_queue(m) != 0) {
		free(m);
		return false;
	}
	s->inflight++;
	s->stripe++;
	s->started_ns = volume_now(v);
	return true;
}

static void scrub_go_on(struct io_timer *t)
{
	struct volume *v = (struct volume *)((char *)t - offsetof(struct volume, scrub.timer));
	struct scrub *s = &v->scrub;
	unsigned max = v->inflight > 0 ? 1 : SCRUB_INFLIGHT;

	while (!scrub_over(v) && s->inflight < max) {
		struct extent *x = scrub_extent(v);

		if (x == NULL || (s->stripe >> v->l.spe_shift) != 0) {
			if (s->inflight > 0)
				return;
			if (x == NULL)
				break;
			s->state.extents++;
			s->state.position++;
			s->stripe = 0;
		} else if (!scrub_one(v, x)) {
			v->config.env->ops->timer_set(v->config.env, t,
						      volume_now(v) + SCRUB_PAUSE_MAX * NS_PER_MS);
			return;
		}
	}
	if (s->inflight == 0 && s->state.running)
		scrub_end(v);
}

int volume_scrub_start(struct volume *v, uint64_t from, bool parity)
{
	struct scrub *s = &v->scrub;

	if (v->state != VOLUME_RUNNING)
		return -ESHUTDOWN;
	if (s->state.running)
		return -EBUSY;
	memset(&s->state, 0, sizeof(s->state));
	s->state.running = true;
	s->state.position = from;
	s->parity = parity;
	s->stripe = 0;
	s->stopping = false;
	s->timer.fire = scrub_go_on;
	v->background++;
	v->config.env->ops->timer_set(v->config.env, &s->timer, volume_now(v));
	return 0;
}

void volume_scrub_stop(struct volume *v)
{
	struct scrub *s = &v->scrub;

	if (!s->state.running)
		return;
	s->stopping = true;
	v->config.env->ops->timer_set(v->config.env, &s->timer, volume_now(v));
}

void volume_scrub_state(const struct volume *v, struct volume_scrub *state)
{
	*state = v->scrub.state;
	state->left = 0;
	for (struct extent *x = extent_next(v, state->position); x != NULL;
	     x = extent_next(v, x->number + 1))
		state->left += x->state == EXTENT_READY;
}
