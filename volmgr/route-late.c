/*
 * Routed reads that wait too long: volmgr serves them, as it does when a server is slow to answer
 * itself, after a multiple of the time that the client's reads usually take. Whoever takes a read
 * out of the table answers it, so the late answer finds nothing to be put into.
 *
 * A server that owes such an answer gets no more routed reads until it has shown that it is back:
 * volmgr asks it as well, but others beside it.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "route.h"

#include "banned.h"

#define LATE_MIN_NS   (50 * NS_PER_MS)
#define LATE_MULTIPLE 8
#define TICK_MS	      25   /* while reads are on their way */
#define TICK_IDLE_MS  100  /* while there are clients */
#define STALL_MS      1000 /* when we stood still so long, what waits was not read */

struct late {
	struct wroute *wr;
	uint64_t now_ns;
};

static uint64_t limit_ns(const struct route_conn *c)
{
	uint64_t usual = __atomic_load_n(&c->usual_ns, __ATOMIC_RELAXED);
	uint64_t limit = usual * LATE_MULTIPLE;

	if (usual > ROUTE_LATE_MS * NS_PER_MS || limit > ROUTE_LATE_MS * NS_PER_MS)
		return ROUTE_LATE_MS * NS_PER_MS;
	return limit > LATE_MIN_NS ? limit : LATE_MIN_NS;
}

static void look_at(void *arg, uint64_t cookie, const struct route_read *read)
{
	const struct late *late = arg;
	struct wroute *wr = late->wr;
	struct route_conn *c = &bpf_route_conns(wr->bpf)[read->conn % ROUTE_CONNS];
	uint64_t age = late->now_ns > read->start_ns ? late->now_ns - read->start_ns : 0;
	uint64_t usual;

	if (__atomic_load_n(&c->id, __ATOMIC_SEQ_CST) !=
	    read->conn) { /* its client is gone: any worker may clear it away */
		if (age > ROUTE_LATE_MS * NS_PER_MS)
			route_take(wr, cookie);
		return;
	}
	if (wr->clients[read->conn % ROUTE_CONNS] == NULL || age < limit_ns(c) ||
	    read->steered == ROUTE_STEER_END)
		return;
	/* when everything is slow, that becomes usual */
	usual = __atomic_load_n(&c->usual_ns, __ATOMIC_RELAXED);
	__atomic_store_n(&c->usual_ns, usual - usual / ROUTE_USUAL_PART + age / ROUTE_USUAL_PART,
			 __ATOMIC_RELAXED);
	route_server_late(wr, read->server);
	route_take(wr, cookie);
}

static bool under_way(const struct wroute *wr)
{
	for (const struct route_client *rc = wr->all; rc != NULL; rc = rc->next_all)
		if (__atomic_load_n(&rc->shared->inflight, __ATOMIC_RELAXED) != 0)
			return true;
	return false;
}

static void tick(struct io_timer *t)
{
	struct wroute *wr = (struct wroute *)((char *)t - offsetof(struct wroute, tick));
	struct env *env = wr->worker->env;
	struct late late = {.wr = wr, .now_ns = clock_ns()};
	bool busy = under_way(wr),
	     last = wr->all == NULL && late.now_ns >= wr->sweep_until_ns && !route_steer_waits(wr);

	if (busy || last)
		bpf_route_each(wr->bpf, look_at, &late);
	if (late.now_ns - wr->ticked_ns < STALL_MS * NS_PER_MS) {
		route_steer_late(wr, late.now_ns);
		route_remote_look(wr);
		route_servers_back(wr);
	}
	wr->ticked_ns = late.now_ns;
	if (!last)
		env->ops->timer_set(env, &wr->tick,
				    env->ops->now_ns(env) +
					    (busy ? TICK_MS : TICK_IDLE_MS) * NS_PER_MS);
}

void route_late_start(struct wroute *wr)
{
	struct env *env = wr->worker->env;

	wr->tick.fire = tick;
	if (wr->tick.at_ns == 0)
		env->ops->timer_set(env, &wr->tick, env->ops->now_ns(env) + TICK_MS * NS_PER_MS);
}

/* What the last client leaves behind is looked at once more. */
void route_late_end(struct wroute *wr)
{
	wr->sweep_until_ns = clock_ns() + 2 * ROUTE_LATE_MS * NS_PER_MS;
}
