/*
 * When which volume is scrubbed: on demand, and by itself when its last scrub is longer ago than
 * the interval. One volume at a time. How far it is, and what it found, is kept in the metadata, so
 * that a restart goes on and does not begin again. The work itself is the stripe engine's.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "records.h"
#include "tidy.h"
#include "volmgr.h"
#include "banned.h"

#define SCRUB_TICK_MS 500
#define SCRUB_SAVE_S  10 /* how often the position is written down */

static struct control_timer *scrub_timer;
static uint64_t scrub_interval_s;

/* A visit to the engine. */
struct scrub_visit {
	struct task task;
	struct vol *vol;
	enum { SCRUB_LOOK, SCRUB_START, SCRUB_STOP } what;
	uint64_t position;
	bool checksums;
	struct volume_scrub state;
};

static uint64_t scrub_now(void)
{
	return (uint64_t)time(NULL);
}

/* ---- what is kept -------------------------------------------------------------------------- */

static void scrub_saved(void *arg, int err)
{
	if (err != 0)
		log_warn("how far the scrub is could not be written to the metadata: %s",
			 strerror(-err));
}

static void scrub_save(struct vol *v)
{
	struct meta *meta = v->cluster->meta;
	struct meta_batch *b = meta_batch_new();
	char *value = record_scrub(&v->scrub);
	char key[RECORD_KEY_MAX];

	v->scrub.saved_s = scrub_now();
	if (b == NULL || value == NULL) {
		meta_batch_free(b);
		free(value);
		scrub_saved(NULL, -ENOMEM);
		return;
	}
	meta_batch_put(b, key_scrub(key, v->id), value, strlen(value));
	free(value);
	meta->ops->commit(meta, b, scrub_saved, NULL);
}

static void scrub_load(struct vol *v)
{
	struct meta *meta = v->cluster->meta;
	char key[RECORD_KEY_MAX];
	void *value;
	size_t len;

	v->scrub.loaded = true;
	v->scrub.since_s = scrub_now();
	if (meta->ops->get(meta, key_scrub(key, v->id), &value, &len) == 0) {
		if (record_scrub_parse(value, len, &v->scrub) != 0)
			log_warn("volume %s: what is known of its last scrub cannot be read",
				 v->name);
		free(value);
	} else {
		scrub_save(v); /* from now on the interval counts */
	}
}

/* ---- visits -------------------------------------------------------------------------------- */

static void scrub_tell(const struct vol *v)
{
	struct volume_scrub t = scrub_total(&v->scrub);
	unsigned long long bad = t.bad_blocks, misfit = t.misfit_blocks, lost = t.lost_rows;

	if (bad + misfit + lost + t.skipped == 0)
		log_info("volume %s: scrub: %llu extents, all is well", v->name,
			 (unsigned long long)t.extents);
	else
		log_warn("volume %s: scrub: %llu extents, %llu bad blocks, %llu that did not fit "
			 "the others, %llu of both repaired, %llu rows lost, %llu stripes not "
			 "looked at since servers were missing",
			 v->name, (unsigned long long)t.extents, bad, misfit,
			 (unsigned long long)t.repaired_blocks, lost,
			 (unsigned long long)t.skipped);
}

/* ---- what is dealt with -------------------------------------------------------------------- */

uint64_t scrub_damage(const struct server *s)
{
	return s->counts.bad_blocks - s->settled.bad_blocks + s->counts.misfit_blocks -
	       s->settled.misfit_blocks;
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t disk_errors(const struct server *s)
{
	return s->stat.crc_errors + s->stat.io_errors;
}

uint64_t scrub_disk_errors(const struct server *s)
{
	return disk_errors(s) - s->settled.disk_errors;
}

void scrub_heard(struct server *s)
{
	struct server_settled *settled = &s->settled;
	uint64_t now = disk_errors(s);

	if (now > settled->errors_seen)
		settled->errors_ns = clock_ns();
	settled->errors_seen = now;
	if (settled->renew)
		settled->disk_errors = now;
	else if (now < settled->disk_errors) /* it was started anew, and counts from zero */
		settled->disk_errors = 0;
	settled->renew = false;
}

/* Under the lock: all volumes that are there were looked through, and each time it began later. */
static bool scrub_covers(const struct cluster *c, const struct server *s, bool parity, uint64_t ns)
{
	for (unsigned i = 0; i < c->nvols; i++) {
		const struct vol *v = c->vols[i];
		bool there = false;

		for (unsigned k = 0; k < v->non && !there; k++)
			there = v->on[k].server == s->number;
		if (there && v->state != VOL_DELETING &&
		    (parity ? v->scrub.parity_ns : v->scrub.sums_ns) <= ns)
			return false;
	}
	return true;
}

/*
 * A scrub that meets damage does not settle it, though it repairs it: a disk that goes on losing
 * blocks would never be heard of. The next one does, if it meets no more.
 */
static void scrub_settle(struct cluster *c)
{
	pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; i < c->nservers; i++) {
		struct server *s = c->servers[i];
		uint64_t before = scrub_damage(s);

		if (scrub_covers(c, s, false, later(s->counts.bad_ns, s->counts.missed_ns)))
			s->settled.bad_blocks = s->counts.bad_blocks;
		if (scrub_covers(c, s, true, later(s->counts.misfit_ns, s->counts.missed_ns)))
			s->settled.misfit_blocks = s->counts.misfit_blocks;
		if (before > 0 && scrub_damage(s) == 0)
			log_info("server %s: all that is on it was scrubbed, and nothing more was "
				 "damaged",
				 s->name);
		s->settled.renew |=
			scrub_damage(s) < before ||
			scrub_covers(c, s, false, later(s->settled.errors_ns, s->counts.missed_ns));
	}
	pthread_mutex_unlock(&c->lock);
	health_now(c);
}

/* It went from the first extent to the last. */
static void scrub_whole(struct vol *v)
{
	struct vol_scrub *s = &v->scrub;

	if (s->begun_ns == 0 || scrub_total(s).skipped > 0)
		return;
	s->sums_ns = s->begun_ns;
	if (!s->checksums)
		s->parity_ns = s->begun_ns;
	scrub_settle(v->cluster);
}

static void scrub_ended(struct vol *v)
{
	struct vol_scrub *s = &v->scrub;

	s->running = false;
	if (s->now.finished) {
		s->state = SCRUB_DONE;
		s->finished_s = s->since_s = scrub_now();
		scrub_tell(v);
		scrub_whole(v);
	} else if (s->stopping) {
		s->state = SCRUB_STOPPED;
		s->since_s = scrub_now();
		log_info("volume %s: scrub stopped at extent %llu", v->name,
			 (unsigned long long)s->now.position);
	}
	s->stopping = false;
	scrub_save(v);
}

static void scrub_visited(struct task *t)
{
	struct scrub_visit *visit = (struct scrub_visit *)t;
	struct vol *v = visit->vol;
	struct vol_scrub *s = &v->scrub;

	s->visited = false;
	if (t->err == 0) {
		s->now = visit->state;
		if (!s->now.running)
			scrub_ended(v);
		else if (scrub_now() >= s->saved_s + SCRUB_SAVE_S)
			scrub_save(v);
	} else {
		s->running = false; /* the tick tries again when it is ready */
	}
	free(visit);
	if (v->forgotten && !tidy_uses(v) && v->moves == 0)
		free(v);
}

static void scrub_visit_run(struct task *t)
{
	struct scrub_visit *visit = (struct scrub_visit *)t;
	struct volume *e = visit->vol->engine;
	int err = e == NULL ? -ESHUTDOWN : 0;

	if (err == 0 && visit->what == SCRUB_START)
		err = volume_scrub_start(e, visit->position, !visit->checksums);
	if (err == 0 && visit->what == SCRUB_STOP)
		volume_scrub_stop(e);
	if (err == 0)
		volume_scrub_state(e, &visit->state);
	if (err == 0 && !visit->state.running)
		engine_collect_here(visit->vol); /* all that it met is known when it has ended */
	task_finish(t, err);
}

static void scrub_visit(struct vol *v, int what)
{
	struct scrub_visit *visit;

	if (v->scrub.visited || v->state != VOL_READY)
		return;
	visit = mem_must(sizeof(*visit));
	visit->vol = v;
	visit->what = what;
	visit->position = v->scrub.now.position;
	visit->checksums = v->scrub.checksums;
	visit->task.run = scrub_visit_run;
	visit->task.done = scrub_visited;
	v->scrub.visited = true;
	worker_task(v->worker, &visit->task);
}

/* ---- turns --------------------------------------------------------------------------------- */

static void scrub_begin(struct vol *v)
{
	struct vol_scrub *s = &v->scrub;

	s->before = scrub_total(s); /* what it found before it was interrupted */
	s->running = true;
	if (s->now.position == 0)
		s->begun_ns = clock_ns();
	scrub_visit(v, SCRUB_START);
}

static void scrub_want(struct vol *v, bool checksums)
{
	struct vol_scrub *s = &v->scrub;

	s->checksums = checksums;

	s->state = SCRUB_WANTED;
	s->started_s = scrub_now();
	memset(&s->before, 0, sizeof(s->before));
	memset(&s->now, 0, sizeof(s->now));
	s->begun_ns = 0;
	scrub_save(v);
}

static bool scrub_due(const struct vol_scrub *s)
{
	return scrub_interval_s != 0 && scrub_now() >= s->since_s + scrub_interval_s;
}

static void scrub_tick(void *arg)
{
	struct cluster *c = arg;
	struct vol *next = NULL;
	bool running = false;

	for (unsigned i = 0; i < c->nvols && !c->stopping; i++) {
		struct vol *v = c->vols[i];
		struct vol_scrub *s = &v->scrub;

		if (v->state != VOL_READY)
			continue;
		if (!s->loaded)
			scrub_load(v);
		if (s->state != SCRUB_WANTED && scrub_due(s)) {
			log_info("volume %s: its scrub is due", v->name);
			scrub_want(v, false);
		}
		if (s->running)
			scrub_visit(v, s->stopping ? SCRUB_STOP : SCRUB_LOOK);
		running |= s->running;
		if (s->state == SCRUB_WANTED && !s->running && !s->visited && next == NULL)
			next = v;
	}
	if (!running && next != NULL)
		scrub_begin(next);
}

/* ---- asked for ----------------------------------------------------------------------------- */

static bool scrub_start_one(struct vol *v, bool checksums)
{
	if (v->state != VOL_READY)
		return false;
	if (!v->scrub.loaded)
		scrub_load(v);
	if (v->scrub.state != SCRUB_WANTED)
		scrub_want(v, checksums);
	return true;
}

static bool scrub_stop_one(struct vol *v)
{
	struct vol_scrub *s = &v->scrub;

	if (s->state != SCRUB_WANTED)
		return false;
	if (s->running) {
		s->stopping = true;
	} else {
		s->state = SCRUB_STOPPED;
		s->since_s = scrub_now();
		scrub_save(v);
	}
	return true;
}

int scrub_order(struct cluster *c, const char *name, bool start, bool checksums, struct refusal *r)
{
	struct vol *only = NULL;

	if (name[0] != '\0') {
		only = volume_by_name(c, name);
		if (only == NULL) {
			refuse_unknown(r, "volume", name);
			return -1;
		}
		if (only->state != VOL_READY) {
			refuse(r, 409, "volume_busy", "Volume %s is %s now.", name,
			       vol_state_name(only->state));
			return -1;
		}
	}
	for (unsigned i = 0; i < c->nvols; i++) {
		if (only != NULL && c->vols[i] != only)
			continue;
		if (start)
			scrub_start_one(c->vols[i], checksums);
		else
			scrub_stop_one(c->vols[i]);
	}
	scrub_tick(c);
	return 0;
}

void scrub_start(struct cluster *c, uint64_t interval_s)
{
	scrub_interval_s = interval_s;
	scrub_timer = control_timer_start(c->control, SCRUB_TICK_MS, 1, scrub_tick, c);
}

void scrub_end(void)
{
	control_timer_free(scrub_timer);
	scrub_timer = NULL;
}
