/*
 * Before shards are marked as stale because their servers are away: are the others still there,
 * with what they had acknowledged? A server whose machine lost power looks as if it were up until a
 * deadline has passed. If, meanwhile, another that only cannot be reached were left out in its
 * favour, the mark would give up the bytes that are left for those that are gone.
 *
 * So the servers of the other shards have to answer a FLUSH that was sent after the absent one was
 * last heard of, and after this extent first wanted to go on without it: what they said for another
 * extent does not cover what this one was given since. Those that do not answer are absent, too, in
 * the end, and then there are too few to leave anything out.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "log.h"
#include "stripe/engine.h"

#include "banned.h"

static void confirm_done(struct nbd_call *call, int error)
{
	struct confirm *c = (struct confirm *)((char *)call - offsetof(struct confirm, call));
	struct server *s = (struct server *)((char *)c - offsetof(struct server, confirm));
	struct volume *v = s->v;

	c->busy = false;
	if (error == 0)
		c->done = c->since;
	else if (error == -ENOTCONN)
		server_broke(s);
	else
		log_error("volume %s: server %u: flush: %s", v->name, s->number,
			  strerror(error < 0 ? -error : error));
	if (error == 0 || error == -ENOTCONN)
		volume_unstall(v);
	else /* and then those that wait ask again */
		v->config.env->ops->timer_set(v->config.env, &v->retry_timer,
					      volume_now(v) + CONFIRM_RETRY_MS * NS_PER_MS);
	if (v->stopped != NULL)
		volume_wake(v);
}

/* When this extent began to ask about these shards, which are absent without a break since. */
static uint64_t asked(struct volume *v, struct extent *x, uint32_t shards)
{
	uint64_t gone = 0;

	for (unsigned i = 0; i < v->shards; i++)
		if ((shards >> i & 1) != 0 && shard_server(x, i)->confirm.gone > gone)
			gone = shard_server(x, i)->confirm.gone;
	if (x->asked <= gone || (shards & ~x->asked_for) != 0) {
		x->asked_for |= shards;
		x->asked = ++v->moments;
	}
	return x->asked;
}

bool others_confirmed(struct volume *v, struct extent *x, uint32_t shards)
{
	uint32_t others = extent_whole(v, x) & ~shards;
	uint64_t since = asked(v, x, shards);
	bool all = true;

	for (unsigned i = 0; i < v->shards; i++) {
		struct confirm *c = &shard_server(x, i)->confirm;

		if ((others >> i & 1) == 0 || c->done > since)
			continue;
		c->wanted |= !c->busy || c->since < since;
		all = false;
	}
	if (all)
		x->asked_for = 0;
	else
		volume_wake(v);
	return all;
}

void confirm_run(struct volume *v)
{
	if (v->state == VOLUME_FENCED)
		return;
	for (unsigned i = 0; i < v->nservers; i++) {
		struct server *s = v->servers[i];

		if (!s->confirm.wanted || s->confirm.busy || !server_ok(s))
			continue;
		s->confirm.wanted = false;
		s->confirm.busy = true;
		s->confirm.since = ++v->moments;
		server_cmd(v, &s->confirm.call, NBD_CMD_FLUSH);
		s->confirm.call.done = confirm_done;
		server_submit(s, &s->confirm.call);
	}
}
