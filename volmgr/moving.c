/*
 * Moves of shards, carried out: now and then the extent maps are looked through, the most urgent
 * moves are chosen (moves.h), and a few at a time given to the engines, which copy or rebuild, let
 * clients go first, and make the new place durable. What is under way when volmgr ends begins
 * again: nothing about it is kept but what people want of the servers.
 *
 * A server that is away for longer than the limit counts as gone until it is back. Not when most of
 * them are: then it is rather volmgr that has lost its network.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "moving.h"
#include "people.h"
#include "stripe/carry.h"
#include "tidy.h"
#include "banned.h"

#define TICK_MS		200
#define LOOK_MS		200   /* looks at the maps are at least so far apart */
#define LOOK_IDLE_MS	10000 /* and when nothing is to be moved */
#define LOOK_SHARE	20    /* and take this part of our time at most */
#define FAILED_MS	1000  /* then a move that failed may be tried again */
#define BALANCE_WAIT_MS 60000 /* when servers are uneven and nothing can be done */
#define COPIES_MAX	6     /* good shards on their way; each costs clients something */
#define AGES_MS		1000  /* older stores that are made anew are looked for so often */
#define RATE_MS		1000  /* the rate is taken so often */
#define RATE_PART	8     /* and counts so much less than those before */

static struct {
	struct cluster *cluster;
	struct control_timer *timer;
	uint64_t replace_after_ns;
	bool balance;
	/* looking */
	struct moves moves;
	unsigned next;		      /* pick that is given out next */
	uint64_t look_ns, balance_ns; /* not before */
	bool dirty;		      /* something changed */
	uint64_t rate_ns, rate_moved; /* when the rate was taken, and moved then */
	uint64_t ages_ns;
	struct moving_job jobs[MOVING_JOBS_MAX];
	struct moving_state state;
} mv;

static const struct {
	const char *why, *hint;
} blocks[MOVES_BLOCKS] = {
	[MOVES_NO_SERVER] = {"every server that takes shards has one of the same extent already",
			     "Add a server: volctl server add ADDR"},
	[MOVES_NO_ROOM] = {"the servers that could take them are full",
			   "Add a server (volctl server add ADDR), or delete what is not needed."},
	[MOVES_NO_GOOD] = {"too few good shards are there to make them anew",
			   "Bring back the servers that are away: volctl server list"},
};

void moving_look(void)
{
	mv.dirty = true;
}

const struct moving_job *moving_jobs(void)
{
	return mv.jobs;
}

void moving_get(struct moving_state *state)
{
	*state = mv.state;
	state->running = 0;
	for (unsigned i = 0; i < MOVING_JOBS_MAX; i++)
		state->running +=
			mv.jobs[i].step == MOVING_ASKED || mv.jobs[i].step == MOVING_REBUILD;
}

void moving_blocked(const struct moving_state *state, char *why, size_t len, const char **hint)
{
	*hint = "";
	why[0] = '\0';
	for (unsigned i = 0; i < MOVES_BLOCKS; i++) {
		if (state->blocked[i] == 0)
			continue;
		snprintf(why, len, "%" PRIu64 " shards should go to other servers and cannot: %s.",
			 state->blocked[i], blocks[i].why);
		*hint = blocks[i].hint;
	}
}

/* ---- which servers ------------------------------------------------------------------------- */

static bool most_are_up(const struct cluster *c)
{
	unsigned up = 0;

	for (unsigned i = 0; i < c->nservers; i++)
		up += c->servers[i]->state == SERVER_UP;
	return up * 2 > c->nservers;
}

static void server_is_back(struct server *s)
{
	s->away_ns = 0;
	if (!s->replaced)
		return;
	s->replaced = false;
	mv.dirty = true;
	log_info("server %s is back: what it holds still stays there", s->name);
}

static void server_is_away(struct cluster *c, struct server *s, uint64_t now)
{
	if (s->away_ns == 0)
		s->away_ns = now;
	if (s->replaced || mv.replace_after_ns == 0 || s->duty == DUTY_LOST ||
	    now - s->away_ns < mv.replace_after_ns || !most_are_up(c))
		return;
	s->replaced = true;
	s->shards_0 = s->shards;
	mv.dirty = true;
	log_warn("server %s has been away for %llu s: its shards are made anew on others", s->name,
		 (unsigned long long)((now - s->away_ns) / NS_PER_S));
	events_note(c, "", "server.replaced", s->name, "%s", s->why);
}

static void look_at_servers(struct cluster *c, uint64_t now)
{
	for (unsigned i = 0; i < c->nservers; i++)
		if (c->servers[i]->state == SERVER_UP)
			server_is_back(c->servers[i]);
		else
			server_is_away(c, c->servers[i], now);
}

static enum moves_duty moves_duty_of(const struct server *s)
{
	if (s->duty == DUTY_LOST || s->replaced)
		return MOVES_GONE;
	return s->duty == DUTY_DRAIN ? MOVES_LEAVES : MOVES_STAYS;
}

/* What is on its way counts where it goes. */
static void list_servers(struct cluster *c)
{
	struct moves *m = &mv.moves;

	m->nservers = c->nservers;
	pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; i < c->nservers; i++) {
		const struct server *s = c->servers[i];

		m->servers[i] = (struct moves_server){
			.server = s->number,
			.host = s->host_id,
			.duty = moves_duty_of(s),
			.up = s->state == SERVER_UP,
			.takes = s->state == SERVER_UP && s->usable && server_is_member(s),
			.into = s->into,
			.size_bytes = s->stat_known ? s->stat.size_bytes : 0,
			.free_bytes = s->free_bytes,
			.shards = s->shards,
		};
	}
	pthread_mutex_unlock(&c->lock);
	for (unsigned i = 0; i < MOVING_JOBS_MAX; i++) {
		const struct moves_pick *p = &mv.jobs[i].pick;
		struct moves_server *from = moves_find(m, p->from), *to = moves_find(m, p->to);

		if (mv.jobs[i].step != MOVING_ASKED || from == NULL || to == NULL)
			continue;
		to->shards++;
		from->shards -= from->shards > 0;
	}
}

/* ---- looking at the maps ------------------------------------------------------------------- */

bool moving_uses(uint32_t server)
{
	for (unsigned i = 0; i < MOVING_JOBS_MAX; i++) {
		const struct moving_job *j = &mv.jobs[i];

		if ((j->step == MOVING_ASKED || j->step == MOVING_REBUILD) &&
		    (j->pick.from == server || j->pick.to == server))
			return true;
	}
	return false;
}

static struct moving_job *job_find(uint64_t volume, uint64_t extent)
{
	for (unsigned i = 0; i < MOVING_JOBS_MAX; i++) {
		struct moving_job *j = &mv.jobs[i];

		if (j->step != MOVING_FREE && j->pick.volume == volume && j->pick.extent == extent)
			return j;
	}
	return NULL;
}

static void job_free(struct moving_job *j, bool moved)
{
	mv.state.moved += moved;
	mv.state.done += moved;
	j->step = MOVING_FREE;
}

/* One that is being made anew is there when its mark is gone. */
static void job_check(struct moving_job *j, const struct extent_record *r)
{
	const struct shard_place *at = &r->shard[j->pick.shard];

	if (j->step != MOVING_REBUILD)
		return;
	if (at->server != j->pick.to)
		job_free(j, false);
	else if ((r->stale >> j->pick.shard & 1) == 0)
		job_free(j, true);
}

static int look_at_extent(void *arg, struct vol *v, const struct extent_record *r)
{
	struct moving_job *j = job_find(v->id, r->extent);

	if (j != NULL)
		job_check(j, r);
	moves_look(&mv.moves, v->id, v->k, v->k + v->m, r, j != NULL || v->state != VOL_READY);
	return 0;
}

static void look_counts(struct cluster *c)
{
	for (unsigned i = 0; i < c->nservers; i++) {
		struct server *s = c->servers[i];

		if (s->duty == DUTY_DRAIN && !s->leaving && s->counted && s->shards > 0 &&
		    mv.moves.count[i] == 0)
			events_note(c, "", "server.emptied", s->name, "%s", "");
		s->shards = mv.moves.count[i];
		s->counted = true;
		if (s->shards_0 < s->shards)
			s->shards_0 = s->shards;
	}
	mv.state.counted = true;
	mv.state.wanted = mv.moves.wanted;
	memcpy(mv.state.blocked, mv.moves.blocked, sizeof(mv.state.blocked));
}

/* Of one round: from when there is something to move until there is nothing. */
static void look_progress(void)
{
	struct moving_state *st = &mv.state;
	uint64_t left = st->wanted;

	if (st->balancing)
		left += moves_surplus(mv.moves.servers, mv.moves.nservers);
	if (st->left == 0 && left > 0) {
		st->done = st->rate = 0;
		mv.rate_ns = clock_ns();
		mv.rate_moved = st->moved;
	}
	st->left = left;
}

/* Shards are small beside what there is to move: whole ones are counted. */
static void take_rate(uint64_t now)
{
	struct moving_state *st = &mv.state;
	uint64_t bytes = (st->moved - mv.rate_moved) * WEFT_SHARD_BYTES, ms;

	if (st->left == 0 || now < mv.rate_ns + RATE_MS * NS_PER_MS)
		return;
	ms = (now - mv.rate_ns) / NS_PER_MS;
	bytes = bytes * 1000 / ms;
	st->rate = st->rate == 0 ? bytes : st->rate - st->rate / RATE_PART + bytes / RATE_PART;
	mv.rate_ns = now;
	mv.rate_moved = st->moved;
}

static void look_balance(uint64_t now)
{
	struct moves *m = &mv.moves;

	m->balance = mv.balance && mv.state.counted && now >= mv.balance_ns &&
		     moves_uneven(m->servers, m->nservers, mv.state.balancing);
	if (m->balance && !mv.state.balancing)
		log_info("shards are moved from full servers to empty ones");
	else if (!m->balance && mv.state.balancing)
		log_info("servers are evenly full now, as far as their shards can go");
	mv.state.balancing = m->balance;
}

static bool jobs_busy(void)
{
	for (unsigned i = 0; i < MOVING_JOBS_MAX; i++)
		if (mv.jobs[i].step == MOVING_ASKED || mv.jobs[i].step == MOVING_REBUILD)
			return true;
	return false;
}

static void look(struct cluster *c, uint64_t now)
{
	struct moves *m = &mv.moves;
	bool first = !mv.state.counted;
	uint64_t wait, took;
	int err;

	list_servers(c);
	look_balance(now);
	moves_begin(m);
	err = extents_each(c, look_at_extent, NULL);
	if (err != 0)
		log_error("the extent maps cannot be read: %s", strerror(-err));
	moves_end(m);
	if (err != 0)
		m->npicks = 0;
	else
		look_counts(c);
	look_progress();
	mv.next = 0;
	mv.dirty = first;
	if (m->balance && m->npicks == 0 && !jobs_busy())
		mv.balance_ns = now + BALANCE_WAIT_MS * NS_PER_MS;
	took = clock_ns() - now;
	wait = m->wanted > 0 || m->npicks > 0 || jobs_busy() || mv.dirty ? LOOK_MS : LOOK_IDLE_MS;
	wait = m->wanted > 0 && m->npicks == 0 && !jobs_busy() ? FAILED_MS : wait;
	mv.look_ns = now + wait * NS_PER_MS + took * LOOK_SHARE;
}

/* ---- jobs ---------------------------------------------------------------------------------- */

static void give_out(struct cluster *c);

static void job_done(struct task *t)
{
	struct moving_job *j = (struct moving_job *)t;
	struct cluster *c = mv.cluster;
	struct vol *v = j->vol;

	j->vol = NULL;
	if (--v->moves == 0 && v->forgotten && !v->scrub.visited && !tidy_uses(v)) {
		free(v);
		t->err = -ESHUTDOWN;
	}
	if (t->err != 0) {
		log_debug("volume %" PRIu64 ": extent %" PRIu64 ": shard %u is not moved now: %s",
			  j->pick.volume, j->pick.extent, j->pick.shard, strerror(-t->err));
		j->step = MOVING_WAIT;
		j->until_ns = clock_ns() + FAILED_MS * NS_PER_MS;
	} else if (j->pick.good) {
		job_free(j, true);
	} else {
		j->step = MOVING_REBUILD;
	}
	if (!c->stopping)
		give_out(c);
}

static void job_moved(void *arg, int err)
{
	struct moving_job *j = arg;

	task_finish(&j->task, err);
}

static void job_run(struct task *t)
{
	struct moving_job *j = (struct moving_job *)t;
	const struct moves_pick *p = &j->pick;

	if (j->vol->engine == NULL)
		task_finish(t, -ESHUTDOWN);
	else if (p->good)
		volume_carry_shard(j->vol->engine, p->extent, p->shard, p->to, job_moved, j);
	else
		volume_move_shard(j->vol->engine, p->extent, p->shard, p->to, job_moved, j);
}

static struct vol *vol_ready(struct cluster *c, uint64_t id)
{
	for (unsigned i = 0; i < c->nvols; i++)
		if (c->vols[i]->id == id)
			return c->vols[i]->state == VOL_READY ? c->vols[i] : NULL;
	return NULL;
}

static void job_start(struct cluster *c, struct moving_job *j, const struct moves_pick *p)
{
	struct server *to = server_by_number(c, p->to);
	struct vol *v = vol_ready(c, p->volume);

	if (to == NULL || v == NULL)
		return;
	pthread_mutex_lock(&c->lock);
	to->free_bytes -= to->free_bytes < WEFT_SHARD_BYTES ? to->free_bytes : WEFT_SHARD_BYTES;

	pthread_mutex_unlock(&c->lock);
	j->step = MOVING_ASKED;
	j->vol = v;
	j->pick = *p;
	j->task = (struct task){.run = job_run, .done = job_done};
	v->moves++;
	worker_task(v->worker, &j->task);
}

/* What was chosen, as far as there is room for jobs. */
static void give_out(struct cluster *c)
{
	unsigned copies = 0;

	for (unsigned i = 0; i < MOVING_JOBS_MAX; i++)
		copies += mv.jobs[i].step == MOVING_ASKED && mv.jobs[i].pick.good;
	for (unsigned i = 0; i < MOVING_JOBS_MAX && mv.next < mv.moves.npicks; i++) {
		const struct moves_pick *p = &mv.moves.picks[mv.next];

		if (mv.jobs[i].step != MOVING_FREE)
			continue;
		if (p->good && copies == COPIES_MAX)
			return;
		copies += p->good;
		mv.next++;
		if (job_find(p->volume, p->extent) == NULL)
			job_start(c, &mv.jobs[i], p);
	}
}

/* ---- turns --------------------------------------------------------------------------------- */

/* Nothing is there any more of one that is to go. */
static void let_go(struct cluster *c)
{
	char name[sizeof(c->servers[0]->name)];

	for (unsigned i = 0; i < c->nservers; i++) {
		struct server *s = c->servers[i];

		if (!s->leaving || !s->counted || s->shards > 0)
			continue;
		snprintf(name, sizeof(name), "%s", s->name);
		if (duty_finish(c, s) != 0)
			continue;
		events_note(c, "", "server.removed", name, "%s", "");
		return; /* the list has changed: the next turn goes on */
	}
}

static bool look_needed(uint64_t now)
{
	return mv.dirty || jobs_busy() || mv.state.wanted > 0 || mv.state.balancing ||
	       (now >= mv.look_ns && mv.balance);
}

static void tick(void *arg)
{
	struct cluster *c = arg;
	uint64_t now = clock_ns();

	if (c->stopping)
		return;
	look_at_servers(c, now);
	for (unsigned i = 0; i < MOVING_JOBS_MAX; i++)
		if (mv.jobs[i].step == MOVING_WAIT && now >= mv.jobs[i].until_ns)
			job_free(&mv.jobs[i], false);
	if (look_needed(now) && (now >= mv.look_ns || mv.dirty))
		look(c, now);
	take_rate(now);
	give_out(c);
	let_go(c);
	if (now >= mv.ages_ns + AGES_MS * NS_PER_MS) {
		mv.ages_ns = now;
		ages_look(c);
	}
}

void moving_start(struct cluster *c, uint64_t replace_after_s, bool balance)
{
	mv.cluster = c;
	mv.replace_after_ns = replace_after_s * NS_PER_S;
	mv.balance = balance;
	mv.dirty = true;
	mv.timer = control_timer_start(c->control, TICK_MS, 1, tick, c);
}

void moving_end(void)
{
	control_timer_free(mv.timer);
	mv.timer = NULL;
}
