/*
 * Routed reads: connections to servers that are over. Their sockets are kept for a while, long
 * after the last gate to them was closed: see route-pair.c.
 */
#include "config.h"

#include <stdlib.h>
#include <unistd.h>

#include "route.h"

#include "banned.h"

/* A pair that nothing goes through any more. */
struct route_kept {
	struct wroute *wroute;
	struct route_kept *next;
	int fd[2];
	uint64_t key;
	bool asked;
	struct io_timer timer;
};

static void kept_timer(struct route_kept *k, unsigned delay_ms)
{
	struct env *env = k->wroute->worker->env;

	env->ops->timer_set(env, &k->timer, env->ops->now_ns(env) + delay_ms * NS_PER_MS);
}

static void kept_free(struct route_kept *k)
{
	struct route_kept **at = &k->wroute->kept;

	while (*at != k)
		at = &(*at)->next;
	*at = k->next;
	for (int i = 0; i < 2; i++)
		if (k->fd[i] >= 0)
			close(k->fd[i]);
	free(k);
}

/* First for the reads of clients that had looked at the gate before it was closed. */
static void kept_fire(struct io_timer *t)
{
	struct route_kept *k =
		(struct route_kept *)((char *)t - offsetof(struct route_kept, timer));

	if (k->asked) {
		kept_free(k);
		return;
	}
	k->asked = true;
	route_take_all(k->wroute, k->key);
	kept_timer(k, ROUTE_KEEP_MS);
}

void route_pair_keep(struct wroute *wr, const int fd[2], uint64_t key)
{
	struct route_kept *k = mem_must(sizeof(*k));

	k->wroute = wr;
	k->fd[0] = fd[0];
	k->fd[1] = fd[1];
	k->key = key;
	k->timer.fire = kept_fire;
	k->next = wr->kept;
	wr->kept = k;
	kept_timer(k, ROUTE_AGAIN_MS);
}

void route_pairs_close(struct wroute *wr)
{
	struct env *env = wr->worker->env;

	while (wr->kept != NULL) {
		env->ops->timer_cancel(env, &wr->kept->timer);
		kept_free(wr->kept);
	}
}
