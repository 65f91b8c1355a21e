/*
 * A server that is slower than usual does not hold up reads that can be decoded from others: after
 * a multiple of its usual time the bytes are computed instead, and while it owes such an answer,
 * other reads do without it at once.
 *
 * The late answer still goes where the request wanted it, and may go there in pieces while the
 * client's answer is on its way. So that one is made elsewhere: a block of which one part is from
 * before a write and the other from after it would be no block that ever was.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "stripe/engine.h"

#include "banned.h"

#define HEDGE_MIN_NS   (10 * NS_PER_MS)
#define HEDGE_FIRST_NS (50 * NS_PER_MS) /* before anything is usual */
#define HEDGE_TICK_NS  (5 * NS_PER_MS)
#define HEDGE_MULTIPLE 4
#define HEDGE_SAMPLES  256 /* then the usual time is taken anew, and older ones count half */

/* Four buckets for each power of two of microseconds. */
static unsigned bucket(uint64_t ns)
{
	uint64_t us = ns / 1000 + 4;
	unsigned log = 63 - (unsigned)__builtin_clzll(us);
	unsigned n = (log - 2) * 4 + (unsigned)(us >> (log - 2) & 3);

	return n < HEDGE_BUCKETS ? n : HEDGE_BUCKETS - 1;
}

static uint64_t bucket_end_ns(unsigned n)
{
	return ((uint64_t)(5 + n % 4) << (n / 4)) * 1000;
}

static void take_limit(struct usual *u)
{
	unsigned total = 0, sum = 0, n = 0;

	for (unsigned i = 0; i < HEDGE_BUCKETS; i++)
		total += u->count[i];
	while (n + 1 < HEDGE_BUCKETS && (sum += u->count[n]) * 20 < total * 19)
		n++;
	u->limit_ns = HEDGE_MULTIPLE * bucket_end_ns(n);
	if (u->limit_ns < HEDGE_MIN_NS)
		u->limit_ns = HEDGE_MIN_NS;
	for (unsigned i = 0; i < HEDGE_BUCKETS; i++)
		u->count[i] /= 2;
	u->samples = 0;
}

bool server_slow(const struct server *s)
{
	return s->reads != NULL && s->reads->hedged;
}

static void tick_arm(struct volume *v, uint64_t now)
{
	if (v->hedge_timer.at_ns == 0 && v->l.m > 0)
		v->config.env->ops->timer_set(v->config.env, &v->hedge_timer, now + HEDGE_TICK_NS);
}

void hedge_sent(struct read_call *r)
{
	struct server *s = shard_server(r->x, r->shard);

	r->server = s;
	r->start_ns = volume_now(s->v);
	r->hedged = false;
	r->next = NULL;
	r->prev = s->reads_last;
	if (r->prev != NULL)
		r->prev->next = r;
	else
		s->reads = r;
	s->reads_last = r;
	tick_arm(s->v, r->start_ns);
}

void hedge_answered(struct read_call *r, int error)
{
	struct server *s = r->server;
	struct usual *u = &s->usual;
	uint64_t took_ns = volume_now(s->v) - r->start_ns;

	if (r->prev != NULL)
		r->prev->next = r->next;
	else
		s->reads = r->next;
	if (r->next != NULL)
		r->next->prev = r->prev;
	else
		s->reads_last = r->prev;
	if (error != 0)
		return;
	s->counts.answers++;
	s->counts.answers_ns += took_ns;
	u->count[bucket(took_ns)]++;
	if (++u->samples == HEDGE_SAMPLES)
		take_limit(u);
}

uint32_t extent_slow(const struct volume *v, const struct extent *x)
{
	uint32_t slow = 0;

	for (unsigned i = 0; i < v->shards; i++)
		slow |= (server_slow(shard_server(x, i)) ? 1u : 0u) << i;
	return slow;
}

bool hedge_can(const struct volume *v, const struct extent *x, unsigned shard)
{
	uint32_t others = extent_usable(v, x) & ~extent_slow(v, x) & ~(1u << shard);

	return v->l.m > 0 && (unsigned)__builtin_popcount(others) >= v->l.k;
}

void hedge_fire(struct io_timer *t)
{
	struct volume *v = (struct volume *)((char *)t - offsetof(struct volume, hedge_timer));
	uint64_t now = volume_now(v);
	bool more = false;

	for (unsigned i = 0; i < v->nservers; i++) {
		struct server *s = v->servers[i];
		uint64_t limit = s->usual.limit_ns != 0 ? s->usual.limit_ns : HEDGE_FIRST_NS;
		struct read_call *r = s->reads, *next;

		for (; r != NULL && now - r->start_ns >= limit; r = next) {
			next = r->next;
			if (!r->hedged && hedge_can(v, r->x, r->shard) && !read_hedge(r))
				break;
		}
		more |= s->reads != NULL;
	}
	if (more)
		tick_arm(v, now);
}
