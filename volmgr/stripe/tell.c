/*
 * What the servers know of an extent's stale shards: a MARK to each server that has a good shard,
 * after the metadata has it and before anything depends on it. The metadata alone would do, as long
 * as it is there; when it is lost, recovery believes the mark of the highest number among an
 * extent's labels. A stale shard's server was away and has a lower one, or none, so its label alone
 * never makes it good.
 *
 * A server that cannot be told is no reason to wait: it is gone, and then its own shard is marked
 * next; or it is an older one that knows no marks. If it comes back before its shard is marked, it
 * is told before the next write. So are all when a volmgr begins and finds stale shards: the one
 * before may have died when the metadata had the mark and the servers had not.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "log.h"
#include "stripe/engine.h"

#include "banned.h"

struct tell_call {
	struct nbd_call call;
	struct tell *tell;
	struct server *server;
};

struct tell {
	struct volume *v;
	struct extent *x;
	uint32_t mark;
	void (*done)(struct volume *v, struct extent *x);
	unsigned pending;
	struct tell_call calls[];
};

static void tell_ended(struct tell *t)
{
	struct volume *v = t->v;
	struct extent *x = t->x;

	if (--t->pending > 0)
		return;
	v->background--;
	t->done(v, x);
	free(t);
	if (v->stopped != NULL)
		volume_wake(v);
}

static void tell_done(struct nbd_call *call, int error)
{
	struct tell_call *c = (struct tell_call *)call;
	struct tell *t = c->tell;

	if (error == -ENOTCONN)
		server_broke(c->server);
	else if (error == (int)WEFT_ESTALE)
		server_recheck(c->server);
	else if (error != 0)
		log_warn("volume %s: extent %llu: server %u could not be told of stale shards: %s",
			 t->v->name, (unsigned long long)t->x->number, c->server->number,
			 strerror(error));
	if (error != -ENOTCONN && t->mark == t->x->mark) /* else another one is to be told by now */
		t->x->untold &= ~(1u << (c - t->calls));
	tell_ended(t);
}

void extent_tell(struct volume *v, struct extent *x, uint32_t mark, uint32_t stale,
		 void (*done)(struct volume *v, struct extent *x))
{
	struct tell *t = NULL;

	x->untold = (1u << v->shards) - 1;
	if (v->state != VOLUME_FENCED)
		t = malloc(sizeof(*t) + v->shards * sizeof(t->calls[0]));
	if (t == NULL) {
		done(v, x);
		return;
	}
	*t = (struct tell){.v = v, .x = x, .mark = mark, .done = done, .pending = 1};
	v->background++;
	for (unsigned i = 0; i < v->shards; i++) {
		struct tell_call *c = &t->calls[i];
		struct server *s = shard_server(x, i);

		if ((stale >> i & 1) != 0 || x->place[i].slot_gen == 0 || !server_ok(s))
			continue;
		c->tell = t;
		c->server = s;
		server_cmd(v, &c->call, WEFT_CMD_MARK);
		c->call.offset = (uint64_t)x->place[i].slot * WEFT_SHARD_BYTES;
		c->call.cmd.slot_gen = x->place[i].slot_gen;
		c->call.cmd.tx = mark;
		c->call.cmd.blocks = stale;
		c->call.done = tell_done;
		t->pending++;
		server_submit(s, &c->call);
	}
	tell_ended(t);
}

static void retold(struct volume *v, struct extent *x)
{
	x->telling = false;
	volume_unstall(v);
	extent_unbusy(v, x);
}

bool extent_retell(struct volume *v, struct extent *x)
{
	if (x->telling || (x->untold & extent_usable(v, x)) == 0)
		return x->telling;
	/* they are told when the record is durable; one that was refused, and marks nothing, is
	 * late */
	if (x->putting || (x->put_again && x->marking))
		return x->putting;
	x->telling = true;
	x->busy++;
	extent_tell(v, x, x->mark, x->stale, retold);
	return x->telling;
}
