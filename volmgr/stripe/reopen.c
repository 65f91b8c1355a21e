/*
 * When more servers than an extent can do without lost what was acknowledged and not flushed, as
 * when the power of a whole rack goes and volmgr lives. Then there is nothing left to compute those
 * writes from, and marking the shards stale would give up what was flushed too. So they are undone,
 * by the same rule as when volmgr had died with the servers: what runs ends, all servers are listed
 * anew, each tx is rolled forward or back (open.c). A PREPARE from before that is still on its way
 * to a server comes too late: FENCE says so. Writes that nobody had been told of are done
 * again after it, also what of them was done before; the next flush fails once, as after any loss.
 * A volume that is being stopped makes nothing durable any more and sends no COMMIT, and what it
 * has not acknowledged fails: the next start does the rest.
 */
#include "config.h"

#include <errno.h>

#include "log.h"
#include "stripe/engine.h"

#include "banned.h"

#define REOPEN_POLL_MS 5

static void stop_anyway(struct volume *v)
{
	if (v->stop_lost)
		return;
	log_error("volume %s: more servers than it can do without lost what was not flushed, while "
		  "it "
		  "stops: the next start undoes what all do not have",
		  v->name);
	v->stop_lost = true;
	v->stop_err = -EIO;
	flush_break(v);
	volume_unstall(v); /* what waits for servers fails */
}

void reopen_want(struct volume *v)
{
	if (v->state == VOLUME_STOPPING)
		stop_anyway(v);
	if (v->reopening || v->state != VOLUME_RUNNING)
		return;
	log_error("volume %s: more servers than it can do without lost what was not flushed: what "
		  "all do not have is undone",
		  v->name);
	v->reopening = true;
	volume_wake(v);
}

/* What only waits for servers to confirm its ABORT is left to the judgement. */
static bool drained(const struct volume *v)
{
	size_t waiting = 0;

	for (const struct undecided *u = v->undecided; u != NULL; u = u->next) {
		if (u->tx == NULL || u->tx->phase != TX_ABORT_WAIT)
			return false;
		waiting++;
	}
	for (unsigned i = 0; i < v->nservers; i++)
		if (v->servers[i]->sync_busy || v->servers[i]->commit_busy)
			return false;
	return v->tx_running == waiting && !v->flush.running && v->rebuild.jobs == NULL &&
	       v->settle.step == SETTLE_IDLE && v->marks == 0;
}

static void reopen(struct volume *v)
{
	txs_forget(v);
	v->ring_head = v->ring_count = 0;
	v->stat.unflushed_bytes = 0;
	v->flush.lost = true;
	v->era++;
	v->state = VOLUME_STARTING;
	v->resolved = false;
	v->start_committed = 0;
	v->known_from = v->next_tx;
	for (unsigned i = 0; i < v->nservers; i++) {
		struct server *s = v->servers[i];

		s->resolving = s->judged = s->touched = s->flush_owed = s->left_out = false;
		s->held = 0;
	}
	open_again(v);
}

void reopen_run(struct volume *v)
{
	if (!v->reopening || v->state != VOLUME_RUNNING)
		return;
	flush_break(v);
	if (drained(v))
		reopen(v);
	else
		v->config.env->ops->timer_set(v->config.env, &v->retry_timer,
					      volume_now(v) + REOPEN_POLL_MS * NS_PER_MS);
}
