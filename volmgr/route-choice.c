/* Past volmgr or through it? See route-choice.h. */
#include "config.h"

#include "route-choice.h"

#include "banned.h"

void route_choice_done(struct route_choice *c, uint32_t len)
{
	c->bytes += len;
	c->reads++;
}

/* Bytes a second; 0: it was too quiet, or nobody looked for too long. */
static uint64_t rate(const struct route_choice *c, uint64_t ns)
{
	if (c->reads < CHOICE_READS_MIN || ns > 2 * CHOICE_TRY_NS)
		return 0;
	return c->bytes * 1000000000 / ns;
}

static void decide(struct route_choice *c, uint64_t other)
{
	uint64_t past = c->through ? other : c->same, through = c->through ? c->same : other;
	uint64_t ratio;

	if (past == 0 || through == 0)
		return;
	ratio = past * 1000 / through;
	if (ratio > CHOICE_RATIO_MAX)
		ratio = CHOICE_RATIO_MAX;
	if (c->ratio == 0)
		c->ratio = (uint32_t)ratio;
	else
		c->ratio += (uint32_t)ratio / CHOICE_RATIO_PART - c->ratio / CHOICE_RATIO_PART;
	c->through = c->ratio < CHOICE_ENOUGH;
}

static void next(struct route_choice *c, uint64_t now_ns)
{
	uint64_t seen = rate(c, now_ns - c->begun_ns);

	if (c->phase == CHOICE_HOLD) {
		c->phase = CHOICE_TRY_SAME;
	} else if (c->phase == CHOICE_TRY_SAME) {
		c->same = seen;
		c->phase = CHOICE_TRY_OTHER;
	} else {
		decide(c, seen);
		c->phase = CHOICE_HOLD;
	}
	c->begun_ns = now_ns;
	c->bytes = c->reads = 0;
}

bool route_choice_past(struct route_choice *c, uint64_t now_ns)
{
	if (c->begun_ns == 0)
		c->begun_ns = now_ns;
	if (now_ns - c->begun_ns >= (c->phase == CHOICE_HOLD ? CHOICE_HOLD_NS : CHOICE_TRY_NS))
		next(c, now_ns);
	return c->through == (c->phase == CHOICE_TRY_OTHER);
}
