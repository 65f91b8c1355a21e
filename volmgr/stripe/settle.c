/*
 * Settling: everything that was prepared so far is decided, durable, and committed durably wherever
 * a server is up. From then on no start of the volume looks at those txs again.
 *
 * Whoever changes which slot is a good shard of an extent needs this before: a new slot lists none
 * of the txs that the old one took part in, and as long as others list them, a start would take
 * that for a sign that they were never whole, and undo them, flushed or not.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "log.h"
#include "stripe/engine.h"

#include "banned.h"

struct settle_ask {
	struct settle_ask *next;
	void (*done)(void *arg, int err);
	void *arg;
};

struct settle_call {
	struct nbd_call call;
	struct server *server;
};

static void settle_end(struct volume *v, int err)
{
	struct settle *s = &v->settle;
	struct settle_ask *ask = s->running;

	s->step = SETTLE_IDLE;
	s->running = NULL;
	v->background--;
	while (ask != NULL) {
		struct settle_ask *next = ask->next;

		ask->done(ask->arg, err);
		free(ask);
		ask = next;
	}
	volume_wake(v);
}

static void settle_committed(struct nbd_call *call, int error)
{
	struct settle_call *c = (struct settle_call *)call;
	struct server *server = c->server;
	struct volume *v = server->v;

	if (error == 0) {
		server->settled = call->cmd.tx;
		if (server->commit_sent < call->cmd.tx)
			server->commit_sent = call->cmd.tx;
	} else if (error == -ENOTCONN) { /* who is away learns of it from the others */
		server_broke(server);
	} else {
		log_error("volume %s: server %u: commit: %s", v->name, server->number,
			  strerror(error));
		v->settle.error = error;
		if (error == (int)WEFT_ESTALE)
			server_recheck(server);
	}
	free(c);
	if (--v->settle.pending == 0)
		settle_end(v, -v->settle.error);
}

static void settle_commit(struct server *server)
{
	struct volume *v = server->v;
	struct settle_call *c = malloc(sizeof(*c));

	if (c == NULL) {
		v->settle.error = ENOMEM;
		return;
	}
	c->server = server;
	server_cmd(v, &c->call, WEFT_CMD_COMMIT);
	c->call.flags = NBD_CMD_FLAG_FUA;
	c->call.cmd.tx = v->commit_to;
	c->call.done = settle_committed;
	v->settle.pending++;
	server_submit(server, &c->call);
}

static void settle_commits(struct volume *v)
{
	struct settle *s = &v->settle;

	s->step = SETTLE_COMMITTING;
	s->error = 0;
	s->pending = 1;
	assert(v->commit_to >= s->upto);
	for (unsigned i = 0; i < v->nservers; i++)
		if (server_ok(v->servers[i]) && v->servers[i]->settled < s->upto)
			settle_commit(v->servers[i]);
	if (--s->pending == 0)
		settle_end(v, -s->error);
}

static void settle_flushed(void *arg, int err)
{
	struct volume *v = arg;

	if (err != 0) {
		settle_end(v, err);
		return;
	}
	v->settle.step = SETTLE_COMMIT;
	volume_wake(v);
}

static void settle_flush(struct volume *v)
{
	struct op *op = op_own(v, NBD_CMD_FLUSH, 0, 0, settle_flushed, v);

	if (op == NULL) {
		settle_end(v, -ENOMEM);
		return;
	}
	v->settle.step = SETTLE_FLUSHING;
	flush_request(op);
}

void settle_run(struct volume *v)
{
	struct settle *s = &v->settle;

	if (s->step == SETTLE_IDLE && s->waiting != NULL) {
		s->running = s->waiting;
		s->waiting = NULL;
		s->step = SETTLE_DECIDE;
		s->upto = v->next_tx - 1;
		v->background++;
	}
	if ((v->state != VOLUME_RUNNING || v->reopening) &&
	    (s->step == SETTLE_DECIDE || s->step == SETTLE_COMMIT))
		settle_end(v, -ESHUTDOWN);
	else if (s->step == SETTLE_DECIDE && tx_decided(v) >= s->upto)
		settle_flush(v);
	else if (s->step == SETTLE_COMMIT && v->marks == 0) /* as with every COMMIT */
		settle_commits(v);
}

void settle_request(struct volume *v, void (*done)(void *arg, int err), void *arg)
{
	struct settle_ask *ask = malloc(sizeof(*ask));

	if (ask == NULL) {
		done(arg, -ENOMEM);
		return;
	}
	*ask = (struct settle_ask){v->settle.waiting, done, arg};
	v->settle.waiting = ask;
	volume_wake(v);
}
