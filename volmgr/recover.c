/*
 * volctl recover: a volmgr with empty metadata takes its servers in, asks them what they have, and
 * writes it down. See recover.h.
 */
#include "config.h"

#include "recover.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "records.h"
#include "tidy.h"
#include "volumes.h"
#include "banned.h"

#define RECOVER_POLL_MS	  200
#define RECOVER_POLLS_MAX 50   /* for servers to come up */
#define RECOVER_BATCH	  4096 /* map entries in one batch */

static bool recover_running;

static void recover_end(struct recover *r)
{
	recover_running = false;
	control_timer_free(r->timer);
	r->timer = NULL;
	r->cb(r->arg, r);
}

void recover_free(struct recover *r)
{
	recover_plan_free(&r->plan);
	free(r->addresses);
	free(r);
}

/* ---- writing it ---------------------------------------------------------------------------- */

/*
 * Shards for which no server is left are on one that there is not, so that they are made anew
 * elsewhere, and never beside another shard of their extent. Its number is never used.
 */
static int nowhere(struct cluster *c, uint32_t *number)
{
	uint64_t next = htole64(c->next_server + 1);
	struct meta_batch *b = meta_batch_new();
	int err;

	if (b == NULL || c->next_server >= SERVER_NUMBER_MAX) {
		meta_batch_free(b);
		return -ENOMEM;
	}
	meta_batch_put(b, "1/next/server", &next, sizeof(next));
	err = meta_commit_wait(c->meta, b);
	if (err == 0)
		*number = (uint32_t)c->next_server++;
	return err;
}

static int place_nowhere(struct cluster *c, struct recover_volume *v)
{
	uint32_t number = 0;
	int err = 0;

	for (size_t i = 0; i < v->nextents && err == 0; i++)
		for (unsigned s = 0; s < v->k + v->m && err == 0; s++) {
			if (v->extents[i].shard[s].server != 0)
				continue;
			if (number == 0)
				err = nowhere(c, &number);
			v->extents[i].shard[s].server = number;
		}
	return err;
}

static int put_extents(struct cluster *c, const struct recover_volume *v)
{
	uint8_t value[RECORD_EXTENT_MAX];
	char key[RECORD_KEY_MAX];
	int err = 0;

	for (size_t i = 0; i < v->nextents && err == 0;) {
		struct meta_batch *b = meta_batch_new();

		if (b == NULL)
			return -ENOMEM;
		for (unsigned n = 0; n < RECOVER_BATCH && i < v->nextents; n++, i++)
			meta_batch_put(b, key_extent(key, v->id, v->extents[i].extent), value,
				       record_extent(&v->extents[i], v->k + v->m, value));
		err = meta_commit_wait(c->meta, b);
	}
	return err;
}

static int put_volume(struct cluster *c, const struct vol *v)
{
	struct meta_batch *b = meta_batch_new();
	char *value = record_volume(v, v->size, v->epoch, false);
	char key[RECORD_KEY_MAX];
	int err = -ENOMEM;

	if (b != NULL && value != NULL) {
		meta_batch_put(b, key_volume(key, v->name), value, strlen(value));
		err = meta_commit_wait(c->meta, b);
	} else {
		meta_batch_free(b);
	}
	free(value);
	return err;
}

/* Everything recovered is looked through: what nobody could know, parity tells. */
static void recover_ready(void *arg, struct vol *v)
{
	struct refusal none;

	if (v->state == VOL_READY)
		scrub_order(v->cluster, v->name, true, false, &none);
}

static int recover_one(struct cluster *c, struct recover_volume *rv)
{
	struct vol *v = mem_must(sizeof(*v));
	int err;

	v->cluster = c;
	v->id = rv->id;
	snprintf(v->name, sizeof(v->name), "%s", rv->name);
	v->size = rv->size;
	v->k = rv->k;
	v->m = rv->m;
	v->unit = rv->unit;
	v->code = (enum ec_code)rv->code;
	v->settings = rv->settings;
	v->epoch = v->recovered = rv->epoch + 1;
	err = place_nowhere(c, rv);
	if (err == 0)
		err = put_extents(c, rv);
	if (err == 0)
		err = put_volume(c, v);
	if (err != 0) {
		free(v);
		return err;
	}
	v->ready_cb = recover_ready;
	pthread_mutex_lock(&c->lock);
	c->vols[c->nvols++] = v;
	pthread_mutex_unlock(&c->lock);
	volume_open(v);
	return 0;
}

/*
 * Above what the metadata gave, should it not be lost: there may be volumes that were deleted
 * before a server heard of them. And not just above what servers know: others may come that were
 * not asked.
 */
static uint64_t next_volume(const struct cluster *c, const struct recover_plan *p)
{
	uint64_t above = p->next_volume + servers_first_volume();

	return above > c->next_volume ? above : c->next_volume;
}

/* Before anything else: no number is used twice. And what was deleted before stays deleted. */
static int put_numbers(struct cluster *c, const struct recover_plan *p)
{
	struct meta_batch *b = meta_batch_new();
	uint64_t next = next_volume(c, p), wire = htole64(next);
	char key[RECORD_KEY_MAX];
	int err;

	if (b == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < p->ndeleted; i++) {
		struct vol v = {.id = p->deleted[i].id, .epoch = p->deleted[i].epoch};
		char *value = record_deleted(&v);

		if (value != NULL)
			meta_batch_put(b, key_deleted(key, v.id), value, strlen(value));
		free(value);
		tidy_add_deleted(v.id, v.epoch);
	}
	meta_batch_put(b, "1/next/volume", &wire, sizeof(wire));
	err = meta_commit_wait(c->meta, b);
	if (err == 0)
		c->next_volume = next;
	return err;
}

/* What only these servers have is not given back when they come: they may be asked another time. */
static int put_late(struct cluster *c, const struct survey *survey)
{
	int err = 0;

	for (unsigned i = 0; i < survey->n && err == 0; i++) {
		struct server *s = server_by_number(c, survey->servers[i].number);

		if (s == NULL || s->late == (survey->servers[i].err != 0))
			continue;
		s->late = !s->late;
		err = server_put(c, s);
	}
	return err;
}

/* Metadata that is not lost knows of volumes that servers have not given back yet. */
static void plan_forget_deleted(struct recover_plan *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++)
		if (tidy_was_deleted(p->volumes[i].id))
			free(p->volumes[i].extents);
		else
			p->volumes[n++] = p->volumes[i];
	p->n = n;
}

static void recover_write(struct recover *r, const struct survey *survey)
{
	struct cluster *c = r->cluster;
	int err = put_late(c, survey);

	plan_forget_deleted(&r->plan);
	if (err == 0)
		err = put_numbers(c, &r->plan);
	for (size_t i = 0; err == 0 && i < r->plan.n && c->nvols < VOLUMES_MAX; i++)
		err = recover_one(c, &r->plan.volumes[i]);
	if (err != 0) {
		refuse(&r->refusal, 500, "metadata", "The metadata could not be written: %s.",
		       strerror(-err));
		refuse_hint(&r->refusal, "Empty the state directory and try again.");
		return;
	}
	tidy_all(c);
	log_info("%zu volumes were recovered from the servers", r->plan.n);
	r->done = true;
}

/* ---- asking -------------------------------------------------------------------------------- */

static bool recover_whole(struct recover *r)
{
	unsigned missing = 0;

	for (size_t i = 0; i < r->plan.n; i++)
		missing += r->plan.volumes[i].missing + r->plan.volumes[i].lost;
	if (missing == 0 || r->force)
		return true;
	refuse(&r->refusal, 409, "shards_missing",
	       "Nothing was written: shards are missing on the servers that were asked.");
	refuse_hint(&r->refusal, "Give the addresses of all servers; --force goes on without what "
				 "is missing, and for good.");
	return false;
}

static void recover_surveyed(struct task *t)
{
	struct survey *survey = (struct survey *)t;
	struct recover *r = survey->arg;
	bool all = true;

	for (unsigned i = 0; i < survey->n; i++)
		all &= survey->servers[i].err == 0;
	if (recover_plan(survey->servers, survey->n, &r->plan) != 0) {
		refuse(&r->refusal, 500, "no_memory", "There is not enough memory.");
	} else if (!all && !r->force) {
		refuse(&r->refusal, 409, "servers_away", "A server went away while it was asked.");
		refuse_hint(&r->refusal, "See: volctl server list");
	} else if (recover_whole(r) && !r->dry_run) {
		recover_write(r, survey);
	}
	survey_free(survey);
	recover_end(r);
}

static void recover_survey(struct recover *r)
{
	struct cluster *c = r->cluster;
	struct survey *survey = mem_must(sizeof(*survey));

	control_timer_free(r->timer);
	r->timer = NULL;
	survey->n = c->nservers;
	for (unsigned i = 0; i < c->nservers; i++)
		survey->servers[i].number = c->servers[i]->number;
	survey->arg = r;
	survey->task.run = survey_run;
	survey->task.done = recover_surveyed;
	worker_task(c->workers[0], &survey->task);
}

/* All servers up, or as many as there will be. */
static void recover_poll(void *arg)
{
	struct recover *r = arg;
	unsigned total, up;

	servers_count(r->cluster, &total, &up);
	if (up < total && ++r->polls < RECOVER_POLLS_MAX)
		return;
	if (up == total || r->force) {
		recover_survey(r);
		return;
	}
	refuse(&r->refusal, 409, "servers_away", "%u of %u servers are not up.", total - up, total);
	refuse_hint(&r->refusal, "Start them; --force goes on without, and without what only they "
				 "have, for good.");
	recover_end(r);
}

static void recover_next(struct recover *r);

static void recover_added(void *arg, const struct refusal *no, struct server *s)
{
	struct recover *r = arg;

	if (no != NULL && strcmp(no->code, "address_taken") != 0 &&
	    strcmp(no->code, "store_taken") != 0) {
		r->refusal = *no;
		recover_end(r);
		return;
	}
	recover_next(r);
}

static void recover_next(struct recover *r)
{
	struct cluster *c = r->cluster;

	if (r->next < r->naddresses) {
		servers_add(c, r->addresses[r->next++], NULL, NULL, recover_added, r);
		return;
	}
	if (c->nservers == 0) {
		refuse(&r->refusal, 409, "no_servers", "There are no servers to ask.");
		refuse_hint(&r->refusal, "Give their addresses: volctl recover ADDRESS...");
		recover_end(r);
		return;
	}
	r->timer = control_timer_start(c->control, RECOVER_POLL_MS, 1, recover_poll, r);
}

void recover_start(struct cluster *c, struct recover *r)
{
	r->cluster = c;
	if (c->nvols > 0) {
		refuse(&r->refusal, 409, "not_empty",
		       "There are volumes already: the metadata is not lost.");
		refuse_hint(&r->refusal, "Recovery is for an empty state directory (--dir).");
	} else if (recover_running) {
		refuse(&r->refusal, 409, "running", "A recovery is going on already.");
	} else {
		recover_running = true;
		recover_next(r);
		return;
	}
	r->cb(r->arg, r);
}
