/*
 * Making, resizing and deleting volumes. The metadata is written first where a crash in between
 * must leave more than there was, and last where it must leave less.
 */
#include "config.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "records.h"
#include "stats.h"
#include "tidy.h"
#include "volumes.h"
#include "banned.h"

#define DELETE_BATCH_MAX 4096 /* map entries that go in one batch */

typedef void (*volumes_cb)(void *arg, const struct refusal *r);

static void refuse_metadata(struct refusal *r, int err)
{
	log_error("the metadata could not be written: %s", strerror(-err));
	refuse(r, 500, "metadata", "The metadata could not be written: %s.", strerror(-err));
	refuse_hint(r, "Look at volmgr's messages and at the free space of its state directory.");
}

static int volume_put(struct vol *v, uint64_t size, bool deleting)
{
	struct meta_batch *b = meta_batch_new();
	char *value = record_volume(v, size, v->epoch, deleting);
	char key[RECORD_KEY_MAX];
	int err = -ENOMEM;

	if (b != NULL && value != NULL) {
		meta_batch_put(b, key_volume(key, v->name), value, strlen(value));
		err = meta_commit_wait(v->cluster->meta, b);
	} else {
		meta_batch_free(b);
	}
	free(value);
	return err;
}

/* ---- create -------------------------------------------------------------------------------- */

struct volume_create_wait {
	volumes_cb cb;
	void *arg;
};

static void volume_created(void *arg, struct vol *v)
{
	struct volume_create_wait *w = arg;
	struct refusal r;

	if (v->state == VOL_FAILED) {
		refuse(&r, 500, "volume_failed", "Volume %s was made, but cannot be used: %s.",
		       v->name, v->why);
		refuse_hint(&r, "Look at volmgr's messages.");
		w->cb(w->arg, &r);
	} else {
		w->cb(w->arg, NULL);
	}
	free(w);
}

/* Names of the servers that are away, for people. */
static void servers_away(struct cluster *c, char *text, size_t len)
{
	size_t n = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < c->nservers && n < len; i++)
		if (c->servers[i]->state == SERVER_DOWN ||
		    c->servers[i]->state == SERVER_WRONG_STORE)
			n += (size_t)snprintf(text + n, len - n, "%s%s", n > 0 ? ", " : "",
					      c->servers[i]->name);
}

static int volume_check_servers(struct cluster *c, const struct volume_spec *spec,
				struct refusal *r)
{
	unsigned total, need = spec->k + spec->m, away = 0;
	char names[200];

	servers_count(c, &total, &away);
	if (total < need) {
		refuse(r, 409, "not_enough_servers",
		       "%u+%u needs %u servers, and there %s %u: %u %s missing.", spec->k, spec->m,
		       need, total == 1 ? "is" : "are", total, need - total,
		       need - total == 1 ? "is" : "are");
		refuse_hint(r, "Add servers (volctl server add ADDR), or choose a smaller profile "
			       "(--ec K+M).");
		return -1;
	}
	away = 0;
	for (unsigned i = 0; i < c->nservers; i++)
		away += server_is_member(c->servers[i]) &&
			(c->servers[i]->state == SERVER_DOWN ||
			 c->servers[i]->state == SERVER_WRONG_STORE);
	if (total - away < need) {
		servers_away(c, names, sizeof(names));
		refuse(r, 409, "servers_away",
		       "%u+%u needs %u servers, and only %u of %u are up. Not up: %s.", spec->k,
		       spec->m, need, total - away, total, names);
		refuse_hint(r, "Start them, and look at: volctl server list");
		return -1;
	}
	return 0;
}

static int volume_create_check(struct cluster *c, const struct volume_spec *spec, struct refusal *r)
{
	if (volume_spec_check(spec, r) != 0)
		return -1;
	if (c->stopping) {
		refuse(r, 503, "stopping", "volmgr is stopping.");
		return -1;
	}
	if (volume_by_name(c, spec->name) != NULL) {
		refuse(r, 409, "name_taken", "There is a volume %s already.", spec->name);
		refuse_hint(r, "Choose another name, or see: volctl volume show %s", spec->name);
		return -1;
	}
	if (c->nvols == VOLUMES_MAX) {
		refuse(r, 409, "too_many_volumes", "A volmgr has at most %u volumes.", VOLUMES_MAX);
		return -1;
	}
	return volume_check_servers(c, spec, r);
}

static int volume_create_put(struct cluster *c, struct vol *v)
{
	struct meta_batch *b = meta_batch_new();
	char *value = record_volume(v, v->size, v->epoch, false);
	uint64_t next = htole64(v->id + 1);
	char key[RECORD_KEY_MAX];
	int err = -ENOMEM;

	if (b != NULL && value != NULL) {
		meta_batch_require(b, key_volume(key, v->name), NULL, 0);
		meta_batch_put(b, key, value, strlen(value));
		meta_batch_put(b, "1/next/volume", &next, sizeof(next));
		err = meta_commit_wait(c->meta, b);
	} else {
		meta_batch_free(b);
	}
	free(value);
	if (err == 0)
		c->next_volume++;
	return err;
}

void volumes_create(struct cluster *c, const struct volume_spec *spec, volumes_cb cb, void *arg)
{
	struct volume_create_wait *wait;
	struct refusal r;
	struct vol *v;
	int err;

	if (volume_create_check(c, spec, &r) != 0) {
		cb(arg, &r);
		return;
	}
	v = mem_must(sizeof(*v));
	v->cluster = c;
	v->id = c->next_volume;
	snprintf(v->name, sizeof(v->name), "%s", spec->name);
	v->size = spec->size;
	v->k = spec->k;
	v->m = spec->m;
	v->unit = spec->unit;
	v->settings = spec->settings;
	v->code = spec->m == 0 ? EC_NONE : ec_best_code();
	v->epoch = 1;
	err = volume_create_put(c, v);
	if (err != 0) {
		free(v);
		refuse_metadata(&r, err);
		cb(arg, &r);
		return;
	}
	log_info("volume %s was made: %llu bytes, %u+%u", v->name, (unsigned long long)v->size,
		 v->k, v->m);
	wait = mem_must(sizeof(*wait));
	*wait = (struct volume_create_wait){cb, arg};
	v->ready_cb = volume_created;
	v->ready_arg = wait;
	pthread_mutex_lock(&c->lock);
	c->vols[c->nvols++] = v;
	pthread_mutex_unlock(&c->lock);
	volume_open(v);
}

/* ---- resize -------------------------------------------------------------------------------- */

static void volume_resize_end(struct engine_resize *rs, const struct refusal *r)
{
	rs->vol->busy = false;
	rs->cb(rs->arg, r);
	free(rs);
}

static void volume_resized(struct task *t)
{
	struct engine_resize *rs = (struct engine_resize *)t;
	struct vol *v = rs->vol;
	struct refusal r;
	int err;

	if (t->err != 0) {
		log_error("volume %s could not be resized: %s", v->name, strerror(-t->err));
		refuse(&r, 500, "resize_failed", "Volume %s could not be resized: %s.", v->name,
		       strerror(-t->err));
		refuse_hint(&r, "Look at volmgr's messages.");
		volume_resize_end(rs, &r);
		return;
	}
	err = volume_put(v, rs->size, false);
	if (err != 0) {
		refuse_metadata(&r, err);
		volume_resize_end(rs, &r);
		return;
	}
	log_info("volume %s has %llu bytes now", v->name, (unsigned long long)rs->size);
	tidy_all(v->cluster);
	volume_resize_end(rs, NULL);
}

static int volume_resize_check(struct cluster *c, const char *name, uint64_t size, bool shrink,
			       struct refusal *r)
{
	struct vol *v = volume_by_name(c, name);
	struct volume_spec spec = {.size = size};

	if (v == NULL) {
		refuse_unknown(r, "volume", name);
		return -1;
	}
	snprintf(spec.name, sizeof(spec.name), "%s", v->name);
	spec.k = v->k;
	spec.m = v->m;
	spec.unit = v->unit;
	if (volume_spec_check(&spec, r) != 0)
		return -1;
	if (v->busy || v->state != VOL_READY || c->stopping) {
		refuse(r, 409, "volume_busy", "Volume %s is %s now.", v->name,
		       v->busy ? "being changed" : vol_state_name(v->state));
		refuse_hint(r, "Try again when it is ready: volctl volume show %s", v->name);
		return -1;
	}
	if (size < v->size && !shrink) {
		refuse(r, 409, "would_shrink",
		       "Volume %s has %llu bytes: the new size is smaller, and what lies behind it "
		       "would be lost.",
		       v->name, (unsigned long long)v->size);
		refuse_hint(r, "Shrink the file system first, then say that you mean it "
			       "(\"shrink\": true).");
		return -1;
	}
	return 0;
}

static void volumes_resize(struct cluster *c, const char *name, uint64_t size, bool shrink,
			   volumes_cb cb, void *arg)
{
	struct vol *v = volume_by_name(c, name);
	struct engine_resize *rs;
	struct refusal r;
	int err = 0;

	if (volume_resize_check(c, name, size, shrink, &r) != 0) {
		cb(arg, &r);
		return;
	}
	/* no client may write behind an end that a restart would not remember */
	if (size > v->size)
		err = volume_put(v, size, false);
	if (err != 0) {
		refuse_metadata(&r, err);
		cb(arg, &r);
		return;
	}
	rs = mem_must(sizeof(*rs));
	rs->vol = v;
	rs->size = size;
	rs->cb = cb;
	rs->arg = arg;
	rs->task.run = engine_resize_run;
	rs->task.done = volume_resized;
	v->busy = true;
	worker_task(v->worker, &rs->task);
}

/* ---- settings ------------------------------------------------------------------------------ */

static void volume_set_done(struct task *t)
{
	free(t);
}

static int volume_set(struct vol *v, const struct volume_settings *settings, struct refusal *r)
{
	struct volume_settings old = v->settings;
	struct engine_set *set;
	int err;

	v->settings = *settings;
	err = volume_put(v, v->size, false);
	if (err != 0) {
		v->settings = old;
		refuse_metadata(r, err);
		return -1;
	}
	set = mem_must(sizeof(*set));
	set->vol = v;
	set->settings = *settings;
	set->task.run = engine_set_run;
	set->task.done = volume_set_done;
	worker_task(v->worker, &set->task);
	tidy_all(v->cluster);
	return 0;
}

void volumes_change(struct cluster *c, const char *name, const struct volume_change *change,
		    volumes_cb cb, void *arg)
{
	struct vol *v = volume_by_name(c, name);
	struct volume_settings settings;
	struct refusal r;

	if (v == NULL) {
		refuse_unknown(&r, "volume", name);
		cb(arg, &r);
		return;
	}
	settings = v->settings;
	if (change->has_min)
		settings.min = change->settings.min;
	if (change->has_below_min)
		settings.below_min_fail = change->settings.below_min_fail;
	if (change->has_when_full)
		settings.when_full_wait = change->settings.when_full_wait;
	if (volume_settings_check(&settings, v->k, v->m, &r) != 0 ||
	    (change->has_size &&
	     volume_resize_check(c, name, change->size, change->shrink, &r) != 0)) {
		cb(arg, &r);
		return;
	}
	if (v->busy || v->state != VOL_READY || c->stopping) {
		refuse(&r, 409, "volume_busy", "Volume %s is %s now.", v->name,
		       v->busy ? "being changed" : vol_state_name(v->state));
		refuse_hint(&r, "Try again when it is ready: volctl volume show %s", v->name);
		cb(arg, &r);
		return;
	}
	if ((change->has_min || change->has_below_min || change->has_when_full) &&
	    volume_set(v, &settings, &r) != 0) {
		cb(arg, &r);
		return;
	}
	if (change->has_size)
		volumes_resize(c, name, change->size, change->shrink, cb, arg);
	else
		cb(arg, NULL);
}

/* ---- delete -------------------------------------------------------------------------------- */
/*
 * First the record says "deleting", durably: from then on the volume is never served again, also
 * not after a restart, which goes on here. Then the slots are given back, and at last the records
 * go.
 */

struct delete_page {
	struct meta_batch *b;
	unsigned count;
};

static int volume_delete_page(void *arg, const char *key, const void *value, size_t len)
{
	struct delete_page *page = arg;

	meta_batch_delete(page->b, key);
	return ++page->count == DELETE_BATCH_MAX;
}

/* In pages, so that a large map needs no large batch; the volume's own record with the last. */
static int volume_delete_records(struct vol *v)
{
	struct meta *meta = v->cluster->meta;
	char key[RECORD_KEY_MAX];
	struct delete_page page;
	int err;

	do {
		page = (struct delete_page){.b = meta_batch_new()};
		if (page.b == NULL)
			return -ENOMEM;
		err = meta->ops->each(meta, key_extents(key, v->id), volume_delete_page, &page);
		if (err < 0) {
			meta_batch_free(page.b);
			return err;
		}
		if (page.count < DELETE_BATCH_MAX) {
			char *value = record_deleted(v);

			if (value != NULL)
				meta_batch_put(page.b, key_deleted(key, v->id), value,
					       strlen(value));
			free(value);
			meta_batch_delete(page.b, key_scrub(key, v->id));
			meta_batch_delete(page.b, key_starts(key, v->id));
			meta_batch_delete(page.b, key_volume(key, v->name));
		}
		err = meta_commit_wait(meta, page.b);
	} while (err == 0 && page.count == DELETE_BATCH_MAX);
	return err;
}

static void volume_forget(struct vol *v)
{
	struct cluster *c = v->cluster;

	pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; i < c->nvols; i++)
		if (c->vols[i] == v) {
			memmove(&c->vols[i], &c->vols[i + 1],
				(--c->nvols - i) * sizeof(c->vols[0]));
			break;
		}
	pthread_mutex_unlock(&c->lock);
	if (v->worker != NULL)
		v->worker->assigned--;
	v->forgotten = true;
	watch_free(v->watch);
	v->watch = NULL;
	free(v->on);
	v->on = NULL;
	v->non = 0;
	if (!v->scrub.visited && !tidy_uses(v) && v->moves == 0)
		free(v);
}

static void volume_delete_end(struct engine_end *end, const struct refusal *r)
{
	if (end->cb != NULL)
		end->cb(end->arg, r);
	free(end);
}

static void volume_discarded(struct task *t)
{
	struct engine_end *end = (struct engine_end *)t;
	struct vol *v = end->vol;
	struct refusal r;
	int err = volume_delete_records(v);

	if (t->err != 0)
		log_warn("volume %s: not all its space was given back: %s", v->name,
			 strerror(-t->err));
	if (err != 0) {
		refuse_metadata(&r, err);
		volume_delete_end(end, &r);
		return;
	}
	log_info("volume %s was deleted", v->name);
	tidy_add_deleted(v->id, v->epoch);
	tidy_all(v->cluster);
	volume_forget(v);
	volume_delete_end(end, NULL);
}

static void volume_delete_stopped(struct task *t)
{
	struct engine_end *end = (struct engine_end *)t;

	if (t->err != 0)
		log_warn("volume %s did not stop in order: %s", end->vol->name, strerror(-t->err));
	end->task.run = engine_discard_run;
	end->task.done = volume_discarded;
	worker_task(end->vol->worker, &end->task);
}

static void volume_delete_start(struct vol *v, volumes_cb cb, void *arg)
{
	struct engine_end *end = mem_must(sizeof(*end));

	end->vol = v;
	end->cb = cb;
	end->arg = arg;
	end->task.run = engine_stop_run;
	end->task.done = volume_delete_stopped;
	worker_task(v->worker, &end->task);
}

void volume_delete_go_on(struct vol *v)
{
	log_info("volume %s: going on with its deletion", v->name);
	volume_delete_start(v, NULL, NULL);
}

static int volume_delete_check(struct cluster *c, const char *name, struct refusal *r)
{
	struct vol *v = volume_by_name(c, name);
	unsigned clients;

	if (v == NULL) {
		refuse_unknown(r, "volume", name);
		return -1;
	}
	if (v->busy || v->state != VOL_READY || c->stopping) {
		refuse(r, 409, "volume_busy", "Volume %s is %s now.", v->name,
		       v->busy ? "being changed" : vol_state_name(v->state));
		refuse_hint(r, "Try again when it is ready: volctl volume show %s", v->name);
		return -1;
	}
	pthread_mutex_lock(&c->lock);
	clients = v->clients;
	if (clients == 0)
		v->state = VOL_DELETING; /* from here on nobody attaches it */
	pthread_mutex_unlock(&c->lock);
	if (clients == 0)
		return 0;
	refuse(r, 409, "volume_in_use", "%u %s connected to volume %s.", clients,
	       clients == 1 ? "client is" : "clients are", v->name);
	refuse_hint(r, "Unmount and detach it first: volctl volume detach %s", v->name);
	return -1;
}

void volumes_delete(struct cluster *c, const char *name, volumes_cb cb, void *arg)
{
	struct vol *v = volume_by_name(c, name);
	struct refusal r;
	int err;

	if (volume_delete_check(c, name, &r) != 0) {
		cb(arg, &r);
		return;
	}
	err = volume_put(v, v->size, true);
	if (err != 0) {
		vol_set_state(v, VOL_READY);
		refuse_metadata(&r, err);
		cb(arg, &r);
		return;
	}
	volume_delete_start(v, cb, arg);
}
