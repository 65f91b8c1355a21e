/*
 * The volumes: a list that people keep, the metadata remembers and data threads serve. Everything
 * here runs on the control thread, but volumes_attach() and volumes_detach().
 */
#include "config.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "records.h"
#include "tidy.h"
#include "volumes.h"
#include "banned.h"

static const char *const vol_states[] = {
	[VOL_OPENING] = "starting", [VOL_STARTING] = "starting", [VOL_READY] = "ready",
	[VOL_FAILED] = "failed",    [VOL_DELETING] = "deleting",
};

const char *vol_state_name(enum vol_state s)
{
	return vol_states[s];
}

const char *vol_why(const struct vol *v)
{
	if (v->older)
		return VOL_OLDER_WHY;
	return v->fenced ? VOL_FENCED_WHY : v->why;
}

struct vol *volume_by_name(struct cluster *c, const char *name)
{
	for (unsigned i = 0; i < c->nvols; i++)
		if (strcmp(c->vols[i]->name, name) == 0)
			return c->vols[i];
	return NULL;
}

void vol_set_state(struct vol *v, enum vol_state state)
{
	pthread_mutex_lock(&v->cluster->lock);
	v->state = state;
	pthread_mutex_unlock(&v->cluster->lock);
}

/* ---- clients: any thread ------------------------------------------------------------------- */

/* Under the lock. The empty name is the only volume there is. */
static struct vol *volumes_find(struct cluster *c, const char *name, size_t len)
{
	if (len == 0)
		return c->nvols == 1 ? c->vols[0] : NULL;
	for (unsigned i = 0; i < c->nvols; i++)
		if (strlen(c->vols[i]->name) == len && memcmp(c->vols[i]->name, name, len) == 0)
			return c->vols[i];
	return NULL;
}

/* Those that the metadata had are open before clients come: see volumes_when_open(). */
static int vol_admits(enum vol_state state, const char **why)
{
	switch (state) {
	case VOL_STARTING:
	case VOL_READY:
		return 0;
	case VOL_OPENING:
		*why = "this volume is being made";
		return -ENOENT;
	case VOL_DELETING:
		*why = "this volume is being deleted";
		return -ENOENT;
	case VOL_FAILED:
		break;
	}
	*why = "this volume cannot be used: see volctl volume list";
	return -ESHUTDOWN;
}

int volumes_attach(struct cluster *c, const char *name, size_t len, bool count, struct vol **out,
		   uint64_t *size, const char **why)
{
	struct vol *v;
	int err = -ENOENT;

	pthread_mutex_lock(&c->lock);
	v = volumes_find(c, name, len);
	if (v == NULL) {
		*why = "there is no volume of this name";
	} else if (c->stopping) {
		*why = "volmgr is stopping";
		err = -ESHUTDOWN;
	} else if ((err = vol_admits(v->state, why)) == 0) {
		*out = v;
		*size = v->size;
		v->clients += count;
	}
	pthread_mutex_unlock(&c->lock);
	return err;
}

void volumes_detach(struct vol *v)
{
	struct cluster *c = v->cluster;

	pthread_mutex_lock(&c->lock);
	assert(v->clients > 0);
	v->clients--;
	pthread_mutex_unlock(&c->lock);
}

/* ---- opening ------------------------------------------------------------------------------- */

static struct worker *worker_choose(struct cluster *c)
{
	struct worker *best = c->workers[0];

	for (unsigned i = 1; i < c->nworkers; i++)
		if (c->workers[i]->assigned < best->assigned)
			best = c->workers[i];
	best->assigned++;
	return best;
}

static void vol_tell_ready(struct vol *v)
{
	void (*cb)(void *arg, struct vol *v) = v->ready_cb;

	v->ready_cb = NULL;
	if (cb != NULL)
		cb(v->ready_arg, v);
}

static void vol_failed(struct vol *v, const char *why)
{
	log_error("volume %s cannot be used: %s", v->name, why);
	pthread_mutex_lock(&v->cluster->lock);
	v->state = VOL_FAILED;
	snprintf(v->why, sizeof(v->why), "%s", why);
	pthread_mutex_unlock(&v->cluster->lock);
	vol_tell_ready(v);
}

static void vol_started(struct control_message *m)
{
	struct vol *v = (struct vol *)((char *)m - offsetof(struct vol, ready_msg));

	if (v->ready_err == -ESTALE)
		vol_failed(v, VOL_FENCED_WHY);
	else if (v->ready_err != 0)
		vol_failed(v, strerror(-v->ready_err));
	else if (v->state == VOL_DELETING)
		volume_delete_go_on(v);
	else {
		log_info("volume %s is ready", v->name);
		tidy_all(v->cluster);
		vol_set_state(v, VOL_READY);
		vol_tell_ready(v);
	}
}

static void engine_open_free(struct engine_open *open)
{
	free(open->extents);
	free(open->starts);
	free(open);
}

/* Not when volmgr stops already: then nobody may be let in any more. */
static void volumes_tell_open(struct cluster *c)
{
	void (*cb)(void) = c->open_cb;

	if (cb == NULL || c->opening > 0 || c->stopping)
		return;
	c->open_cb = NULL;
	cb();
}

void volumes_when_open(struct cluster *c, void (*cb)(void))
{
	c->open_cb = cb;
	volumes_tell_open(c);
}

static void vol_opened(struct task *t)
{
	struct engine_open *open = (struct engine_open *)t;
	struct vol *v = open->vol;
	struct cluster *c = v->cluster;

	c->opening--;
	if (t->err != 0)
		vol_failed(v, t->err == -EUCLEAN ? "its extent map is damaged" : strerror(-t->err));
	else if (v->state == VOL_OPENING)
		vol_set_state(v, VOL_STARTING);
	engine_open_free(open);
	volumes_tell_open(c);
}

struct vol_extents {
	struct engine_open *open;
	size_t cap;
};

static int vol_load_extent(void *arg, const char *key, const void *value, size_t len)
{
	struct vol_extents *x = arg;
	struct engine_open *open = x->open;
	struct vol *v = open->vol;

	if (open->nextents == x->cap) {
		size_t cap = x->cap == 0 ? 64 : x->cap * 2;
		struct extent_record *r = reallocarray(open->extents, cap, sizeof(*r));

		if (r == NULL)
			return -ENOMEM;
		open->extents = r;
		x->cap = cap;
	}
	if (record_extent_parse(key, value, len, v->k + v->m, &open->extents[open->nextents]) !=
	    0) {
		log_error("volume %s: the metadata's entry %s cannot be read", v->name, key);
		return -EUCLEAN;
	}
	open->nextents++;
	return 0;
}

/* Without them shards are made anew that need not be: no reason not to serve the volume. */
static struct volume_starts *vol_load_starts(const struct vol *v)
{
	struct meta *meta = v->cluster->meta;
	struct volume_starts *starts;
	char key[RECORD_KEY_MAX];
	void *value;
	size_t len;

	if (meta->ops->get(meta, key_starts(key, v->id), &value, &len) != 0)
		return NULL;
	starts = mem_must(sizeof(*starts));
	if (record_starts_parse(value, len, starts) != 0) {
		log_warn("volume %s: what is known of its earlier starts cannot be read", v->name);
		free(starts);
		starts = NULL;
	}
	free(value);
	return starts;
}

void volume_open(struct vol *v)
{
	struct engine_open *open = mem_must(sizeof(*open));
	struct vol_extents x = {.open = open};
	struct meta *meta = v->cluster->meta;
	char prefix[RECORD_KEY_MAX];
	int err;

	v->worker = worker_choose(v->cluster);
	v->ready_msg.fn = vol_started;
	v->scrub.sums_ns = v->scrub.parity_ns = clock_ns(); /* what was met before is not of it */
	open->vol = v;
	err = meta->ops->each(meta, key_extents(prefix, v->id), vol_load_extent, &x);
	if (err != 0) {
		vol_failed(v, "its extent map cannot be read from the metadata");
		engine_open_free(open);
		return;
	}
	open->starts = vol_load_starts(v);
	open->task.run = engine_open_run;
	open->task.done = vol_opened;
	v->cluster->opening++;
	worker_task(v->worker, &open->task);
}

/* ---- start: all volumes, each with a new epoch --------------------------------------------- */

static int volumes_load_one(void *arg, const char *key, const void *value, size_t len)
{
	struct cluster *c = arg;
	struct vol *v = mem_must(sizeof(*v));
	bool deleting = false;

	if (c->nvols == VOLUMES_MAX || record_volume_parse(value, len, v, &deleting) != 0) {
		log_error("the metadata's entry %s cannot be read", key);
		free(v);
		return -EUCLEAN;
	}
	v->cluster = c;
	v->state = deleting ? VOL_DELETING : VOL_OPENING;
	c->vols[c->nvols++] = v;
	return 0;
}

/* Durable before any server hears of it: an epoch is never used by two runs. */
static int volumes_raise_epochs(struct cluster *c)
{
	struct meta_batch *b = meta_batch_new();
	char key[RECORD_KEY_MAX];

	if (b == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < c->nvols; i++) {
		struct vol *v = c->vols[i];
		char *value = record_volume(v, v->size, ++v->epoch, v->state == VOL_DELETING);

		if (value == NULL) {
			meta_batch_free(b);
			return -ENOMEM;
		}
		meta_batch_put(b, key_volume(key, v->name), value, strlen(value));
		free(value);
	}
	if (c->nvols == 0) {
		meta_batch_free(b);
		return 0;
	}
	return meta_commit_wait(c->meta, b);
}

int volumes_load(struct cluster *c, const char **why)
{
	int err = c->meta->ops->each(c->meta, "1/volume/", volumes_load_one, c);

	if (err != 0) {
		*why = "the list of volumes cannot be read from the metadata";
		return err;
	}
	err = volumes_raise_epochs(c);
	if (err != 0) {
		*why = "new epochs cannot be written to the metadata";
		return err;
	}
	for (unsigned i = 0; i < c->nvols; i++)
		volume_open(c->vols[i]);
	return 0;
}

/* ---- stop ---------------------------------------------------------------------------------- */

struct volumes_stop {
	unsigned pending, failed;
	void (*done)(void *arg, unsigned failed);
	void *arg;
};

static void volumes_stop_one(struct volumes_stop *stop, bool failed)
{
	stop->failed += failed;
	if (--stop->pending > 0)
		return;
	stop->done(stop->arg, stop->failed);
	free(stop);
}

static void vol_stopped(struct task *t)
{
	struct engine_end *end = (struct engine_end *)t;

	if (t->err != 0)
		log_error("volume %s did not stop in order: %s", end->vol->name, strerror(-t->err));
	volumes_stop_one(end->arg, t->err != 0);
	free(end);
}

/* One that has not started has acknowledged nothing; one that is being deleted has no clients. */
void volumes_stop_all(struct cluster *c, void (*done)(void *arg, unsigned failed), void *arg)
{
	struct volumes_stop *stop = mem_must(sizeof(*stop));

	*stop = (struct volumes_stop){.pending = 1, .done = done, .arg = arg};
	for (unsigned i = 0; i < c->nvols; i++) {
		struct engine_end *end;

		if (c->vols[i]->state != VOL_READY)
			continue;
		stop->pending++;
		end = mem_must(sizeof(*end));
		end->vol = c->vols[i];
		end->arg = stop;
		end->task.run = engine_stop_run;
		end->task.done = vol_stopped;
		worker_task(end->vol->worker, &end->task);
	}
	volumes_stop_one(stop, false);
}

/* ---- redundancy ---------------------------------------------------------------------------- */

int volume_spare_now(struct vol *v)
{
	struct cluster *c = v->cluster;
	uint64_t lost = scrub_total(&v->scrub).lost_rows;
	unsigned up = 0;
	bool ready;
	int spare;

	for (unsigned i = 0; i < c->nservers; i++)
		up += c->servers[i]->state == SERVER_UP;
	pthread_mutex_lock(&c->lock);
	spare = v->spare;
	ready = v->state == VOL_READY;
	lost += v->rebuild.lost;
	pthread_mutex_unlock(&c->lock);
	if (!ready || (spare > 0 && (lost > 0 || up <= v->k)))
		return 0;
	/* what is written next has a shard on each server that is up, at most */
	return spare <= 0 || (unsigned)spare <= up - v->k ? spare : (int)(up - v->k);
}
