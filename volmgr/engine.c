/*
 * The stripe engine's binding: makes and ends engines on their data thread, and gives them what
 * they ask for: servers for new extents, durable map entries, peers.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "records.h"
#include "route.h"
#include "volmgr.h"
#include "banned.h"

#define COLLECT_BATCH 32 /* volumes that are looked at under the lock at a time */

/* ---- what the engine asks for -------------------------------------------------------------- */

static int engine_place(void *ctx, struct volume *e, unsigned count, unsigned up, uint32_t *servers)
{
	struct vol *v = ctx;

	return servers_place(v->cluster, v->worker, count, up, servers);
}

static struct peer *engine_peer(void *ctx, uint32_t server)
{
	struct vol *v = ctx;

	return wpeer_find(v->worker, server);
}

/* A batch of map entries on its way to the disk: over the metadata's thread and back. */
struct engine_put {
	struct uring_message msg;
	struct worker *worker;
	void (*done)(void *arg, int err);
	void *arg;
	int err;
};

static void engine_put_back(struct uring_message *m)
{
	struct engine_put *put = (struct engine_put *)m;

	put->done(put->arg, put->err);
	free(put);
}

static void engine_put_durable(void *arg, int err)
{
	struct engine_put *put = arg;

	put->err = err;
	put->msg.fn = engine_put_back;
	uring_post(put->worker->uring, &put->msg);
}

static void engine_extents_put(void *ctx, struct volume *e, const struct extent_record *records,
			       int n, bool remove, void (*done)(void *arg, int err), void *arg)
{
	struct vol *v = ctx;
	struct meta *meta = v->cluster->meta;
	struct meta_batch *b = meta_batch_new();
	struct engine_put *put = mem_must(sizeof(*put));

	put->worker = v->worker;
	put->done = done;
	put->arg = arg;
	if (b == NULL) {
		engine_put_durable(put, -ENOMEM);
		return;
	}
	for (int i = 0; i < n; i++) {
		char key[RECORD_KEY_MAX];
		uint8_t value[RECORD_EXTENT_MAX];

		key_extent(key, v->id, records[i].extent);
		if (remove)
			meta_batch_delete(b, key);
		else
			meta_batch_put(b, key, value,
				       record_extent(&records[i], v->k + v->m, value));
	}
	meta->ops->commit(meta, b, engine_put_durable, put);
}

static void engine_starts_put(void *ctx, struct volume *e, const struct volume_starts *r,
			      void (*done)(void *arg, int err), void *arg)
{
	struct vol *v = ctx;
	struct meta *meta = v->cluster->meta;
	struct meta_batch *b = meta_batch_new();
	struct engine_put *put = mem_must(sizeof(*put));
	uint8_t value[RECORD_STARTS_MAX];
	char key[RECORD_KEY_MAX];

	put->worker = v->worker;
	put->done = done;
	put->arg = arg;
	if (b == NULL) {
		engine_put_durable(put, -ENOMEM);
		return;
	}
	meta_batch_put(b, key_starts(key, v->id), value, record_starts(r, value));
	meta->ops->commit(meta, b, engine_put_durable, put);
}

static const struct volume_ops engine_volume_ops = {
	.place = engine_place,
	.extents_put = engine_extents_put,
	.starts_put = engine_starts_put,
	.peer = engine_peer,
	.changed = route_volume_changed,
};

/* ---- open ---------------------------------------------------------------------------------- */

static void engine_started(void *arg, int err)
{
	struct vol *v = arg;

	v->ready_err = err;
	control_post(v->cluster->control, &v->ready_msg);
}

static void worker_add_vol(struct worker *w, struct vol *v)
{
	assert(w->nvols < VOLUMES_MAX);
	w->vols[w->nvols++] = v;
}

static void worker_drop_vol(struct worker *w, struct vol *v)
{
	for (unsigned i = 0; i < w->nvols; i++)
		if (w->vols[i] == v) {
			w->vols[i] = w->vols[--w->nvols];
			return;
		}
}

void engine_open_run(struct task *t)
{
	struct engine_open *open = (struct engine_open *)t;
	struct vol *v = open->vol;
	struct worker *w = t->worker;
	struct volume_config config = {
		.id = v->id,
		.name = v->name,
		.size = v->size, /* nobody changes it before the engine is there */
		.k = v->k,
		.m = v->m,
		.code = v->code,
		.unit_bytes = v->unit,
		.epoch = v->epoch,
		.owner = v->cluster->owner,
		.min = v->settings.min, /* nor these */
		.below_min_fail = v->settings.below_min_fail,
		.when_full_wait = v->settings.when_full_wait,
		.unflushed_max = UNFLUSHED_MAX,
		.flush_ms = FLUSH_MS,
		.grace_ms = GRACE_MS,
		.ops = &engine_volume_ops,
		.ctx = v,
		.env = w->env,
		.pool = w->pool,
	};
	int err = 0;

	v->engine = volume_create(&config);
	if (v->engine == NULL) {
		task_finish(t, -ENOMEM);
		return;
	}
	route_volume_open(v);
	for (size_t i = 0; i < open->nextents && err == 0; i++)
		err = volume_add_extent(v->engine, &open->extents[i]);
	if (err != 0) {
		route_volume_close(v);
		volume_free(v->engine);
		v->engine = NULL;
		task_finish(t, err);
		return;
	}
	if (open->starts != NULL)
		volume_set_starts(v->engine, open->starts);
	worker_add_vol(w, v);
	task_finish(t, 0);
	volume_start(v->engine, engine_started, v);
}

/* ---- resize, stop, discard ----------------------------------------------------------------- */

static void engine_set_size(struct vol *v, uint64_t size)
{
	pthread_mutex_lock(&v->cluster->lock);
	v->size = size;
	pthread_mutex_unlock(&v->cluster->lock);
	route_volume_size(v, size);
	front_set_size(v, size);
}

static void engine_resized(void *arg, int err)
{
	struct engine_resize *rs = arg;

	if (err == 0)
		engine_set_size(rs->vol, rs->size);
	task_finish(&rs->task, err);
}

/* Clients may not use what is going away, and may use what is new only when it is there. */
void engine_resize_run(struct task *t)
{
	struct engine_resize *rs = (struct engine_resize *)t;
	uint64_t old;

	pthread_mutex_lock(&rs->vol->cluster->lock);
	old = rs->vol->size;
	pthread_mutex_unlock(&rs->vol->cluster->lock);
	if (rs->size < old)
		engine_set_size(rs->vol, rs->size);
	volume_resize(rs->vol->engine, rs->size, engine_resized, rs);
}

void engine_set_run(struct task *t)
{
	struct engine_set *set = (struct engine_set *)t;
	struct volume *e = set->vol->engine;

	if (e != NULL) {
		volume_set_min(e, set->settings.min, set->settings.below_min_fail);
		volume_set_when_full(e, set->settings.when_full_wait);
	}
	task_finish(t, 0);
}

static void engine_ended(void *arg, int err)
{
	struct engine_end *end = arg;

	end->vol->stopped = err == 0;
	task_finish(&end->task, err);
}

void engine_stop_run(struct task *t)
{
	struct engine_end *end = (struct engine_end *)t;

	volume_stop(end->vol->engine, engine_ended, end);
}

static void engine_discarded(void *arg, int err)
{
	struct engine_end *end = arg;
	struct vol *v = end->vol;

	worker_drop_vol(end->task.worker, v);
	route_volume_close(v);
	volume_free(v->engine);
	v->engine = NULL;
	task_finish(&end->task, err);
}

void engine_discard_run(struct task *t)
{
	struct engine_end *end = (struct engine_end *)t;

	volume_discard(end->vol->engine, engine_discarded, end);
}

/* ---- looking ------------------------------------------------------------------------------- */

static bool engine_map_one(void *arg, const struct extent_record *r)
{
	struct engine_map *map = arg;

	if (r->extent < map->from)
		return true;
	if (map->count == map->limit) {
		map->more = true;
		return false;
	}
	map->records[map->count++] = *r;
	return true;
}

void engine_map_run(struct task *t)
{
	struct engine_map *map = (struct engine_map *)t;
	bool there = false;

	/* it may have been deleted, and freed, since it was asked for */
	for (unsigned i = 0; i < t->worker->nvols && !there; i++)
		there = t->worker->vols[i] == map->vol;
	if (there)
		volume_each_extent(map->vol->engine, engine_map_one, map);
	task_finish(t, 0);
}

struct engine_collection {
	unsigned pending;
	void (*done)(void *arg);
	void *arg;
};

struct engine_collect_task {
	struct task task;
	uint64_t asked; /* 0: all volumes, and the servers */
	struct engine_collection *all;
};

static void engine_add_counts(void *arg, uint32_t number, const struct volume_server_counts *c)
{
	struct server *s = server_by_number(arg, number);

	if (s == NULL)
		return;
	s->counts.bad_blocks += c->bad_blocks;
	s->counts.misfit_blocks += c->misfit_blocks;
	s->counts.repaired_blocks += c->repaired_blocks;
	if (c->bad_ns > s->counts.bad_ns)
		s->counts.bad_ns = c->bad_ns;
	if (c->misfit_ns > s->counts.misfit_ns)
		s->counts.misfit_ns = c->misfit_ns;
	if (c->missed_ns > s->counts.missed_ns)
		s->counts.missed_ns = c->missed_ns;
	s->counts.answers += c->answers;
	s->counts.answers_ns += c->answers_ns;
}

/* Under the lock. */
static void engine_collect_servers(struct vol *v)
{
	struct rebuild_server list[SERVERS_MAX];
	unsigned n = volume_rebuild_servers(v->engine, list, SERVERS_MAX);

	if (n != v->non) {
		free(v->on);
		v->on = n > 0 ? mem_must(n * sizeof(*v->on)) : NULL;
		v->non = n;
	}
	if (n > 0)
		memcpy(v->on, list, n * sizeof(*v->on));
	for (unsigned i = 0; i < v->non; i++) {
		struct server *s = server_by_number(v->cluster, v->on[i].server);

		if (s != NULL)
			s->rebuilt_shards += v->on[i].rebuilt;
	}
}

/* Under the lock. An idle volume's counters need no copy: they are more than the rest of it. */
static void engine_collect_counters(struct vol *v)
{
	bool same = true;

	for (unsigned k = 0; k < IO_KINDS; k++)
		same &= v->io.kind[k].count == v->io_seen.kind[k].count;
	if (!same)
		v->io_seen = v->io;
	route_volume_count(v, &v->routed);
	v->steered = v->route != NULL ? v->route->steered : 0;
}

/* Under the lock. */
static void engine_collect_volume(struct vol *v)
{
	volume_stat(v->engine, &v->stat);
	volume_rebuild_stat(v->engine, &v->rebuild);
	v->fenced = volume_is_fenced(v->engine);
	v->spare = volume_spare(v->engine);
	v->nwaits_for = volume_waits_for(v->engine, v->waits_for, WAITS_FOR_MAX);
	engine_collect_servers(v);
	volume_take_counts(v->engine, engine_add_counts, v->cluster);
	engine_collect_counters(v);
}

void engine_collect_here(struct vol *v)
{
	pthread_mutex_lock(&v->cluster->lock);
	engine_collect_volume(v);
	pthread_mutex_unlock(&v->cluster->lock);
}

/* The lock is taken for some at a time: for each alone, threads would wake each other all the time.
 */
static void engine_collect_run(struct task *t)
{
	uint64_t asked = ((struct engine_collect_task *)t)->asked;
	struct worker *w = t->worker;
	unsigned held = 0;

	/* when servers came or went this takes a while, which the lock is not held for */
	for (unsigned i = 0; asked == 0 && i < w->nvols; i++)
		volume_spare(w->vols[i]->engine);
	pthread_mutex_lock(&w->cluster->lock);
	if (asked == 0)
		peers_ages(w);
	for (unsigned i = 0; i < w->nvols; i++) {
		if (w->vols[i]->asked < asked)
			continue;
		if (held++ == COLLECT_BATCH) {
			pthread_mutex_unlock(&w->cluster->lock);
			pthread_mutex_lock(&w->cluster->lock);
			held = 0;
		}
		engine_collect_volume(w->vols[i]);
	}
	if (asked == 0)
		peers_take_counts(w);
	pthread_mutex_unlock(&w->cluster->lock);
	task_finish(t, 0);
}

static void engine_collect_done(struct task *t)
{
	struct engine_collect_task *ct = (struct engine_collect_task *)t;
	struct engine_collection *all = ct->all;

	free(ct);
	if (--all->pending > 0)
		return;
	all->done(all->arg);
	free(all);
}

static void engine_collect_begin(struct cluster *c, uint64_t asked, void (*done)(void *arg),
				 void *arg)
{
	struct engine_collection *all = mem_must(sizeof(*all));

	*all = (struct engine_collection){.pending = c->nworkers, .done = done, .arg = arg};
	for (unsigned i = 0; i < c->nworkers; i++) {
		struct engine_collect_task *ct = mem_must(sizeof(*ct));

		ct->all = all;
		ct->asked = asked;
		ct->task.run = engine_collect_run;
		ct->task.done = engine_collect_done;
		worker_task(c->workers[i], &ct->task);
	}
}

void engine_collect(struct cluster *c, void (*done)(void *arg), void *arg)
{
	engine_collect_begin(c, 0, done, arg);
}

/* Volumes are marked and not listed: workers know which of them are still there. */
void engine_collect_some(struct cluster *c, struct vol *const *vols, unsigned n,
			 void (*done)(void *arg), void *arg)
{
	pthread_mutex_lock(&c->lock);
	c->asked++;
	for (unsigned i = 0; i < n; i++)
		vols[i]->asked = c->asked;
	pthread_mutex_unlock(&c->lock);
	engine_collect_begin(c, c->asked, done, arg);
}
