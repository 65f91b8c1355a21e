/*
 * Keeping the servers' slots in order. Each server that comes up is asked for its labels, and once
 * more when volumes change. Then
 *  - every volume has its notes there: labels of no extent that keep name and settings, so that
 *    recovery finds them even if nothing else is left;
 *  - slots that no extent has are given back: their server was away when they should have been;
 *  - so are all slots of volumes that were deleted.
 * One server at a time, one order after the other: nobody waits for it.
 *
 * Servers that were not asked when the metadata was recovered may have extents of which nobody else
 * knew. Slots from before that which would be given back there are kept, unless the extent is known
 * and can be read without them: so recovery can be repeated with all servers.
 *
 * Before the first of these all servers are looked at once. A label has no higher MARK than the
 * metadata has of its extent, which was told first. One that has means that the metadata is an
 * older copy, which does not know what misses writes, nor what was placed since and would look as
 * if it were in no use. Nothing is given back then, and the volume is served no longer.
 */
#include "config.h"

#include "tidy.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "moving.h"
#include "records.h"
#include "survey.h"
#include "volumes.h"
#include "banned.h"

#define TIDY_TICK_MS	 500
#define TIDY_SLOTS_MIN	 16u
#define TIDY_SLOTS_MAX	 4096u	  /* in one order */
#define TIDY_TRIES_MAX	 20	  /* of an order: the server may have to be fenced first */
#define NOTE_SERVERS_MAX 16u	  /* servers that keep the notes: the first ones */
#define GENERATION_MASK	 0xfffffu /* the part of the epoch that generations carry */
#define GENERATION_SHIFT 12

/* What is to be done on a server for one volume. */
struct tidy_job {
	struct task task;
	struct tidy_job *next;
	struct vol *vol; /* NULL: of a deleted one */
	uint64_t volume;
	uint32_t epoch; /* of the deleted one */
	uint32_t server;
	struct volume_note notes[2];
	unsigned nnotes;
	struct volume_slot *slots;
	unsigned nslots, room, freed, tries;
	bool older; /* it is to be served no longer */
	/* of a deleted volume */
	struct peer *peer;
	struct nbd_call call;
	struct weft_fence_reply fence;
	struct iovec in;
};

static struct {
	struct control_timer *timer;
	struct tidy_job *jobs;
	struct tidy_job *running;
	bool surveying;
	struct cluster *cluster;
} tidy;

void tidy_all(struct cluster *c)
{
	for (unsigned i = 0; i < c->nservers; i++)
		c->servers[i]->tidy = true;
}

/* ---- deleted volumes ----------------------------------------------------------------------- */

struct deleted {
	uint64_t volume;
	uint32_t epoch;
};

static struct deleted *deleted;
static unsigned ndeleted, deleted_cap;

void tidy_add_deleted(uint64_t volume, uint32_t epoch)
{
	if (ndeleted == deleted_cap) {
		unsigned cap = deleted_cap == 0 ? 64 : deleted_cap * 2;
		struct deleted *grown = reallocarray(deleted, cap, sizeof(*grown));

		if (grown == NULL)
			return; /* their slots stay until the next start */
		deleted = grown;
		deleted_cap = cap;
	}
	deleted[ndeleted++] = (struct deleted){volume, epoch};
}

static int load_deleted(void *arg, const char *key, const void *value, size_t len)
{
	uint64_t volume;
	uint32_t epoch;

	if (record_deleted_parse(key, value, len, &volume, &epoch) == 0)
		tidy_add_deleted(volume, epoch);
	return 0;
}

static const struct deleted *deleted_find(uint64_t volume)
{
	for (unsigned i = 0; i < ndeleted; i++)
		if (deleted[i].volume == volume)
			return &deleted[i];
	return NULL;
}

bool tidy_was_deleted(uint64_t volume)
{
	return deleted_find(volume) != NULL;
}

/* ---- jobs ---------------------------------------------------------------------------------- */

static void job_start(void);

static void job_free(struct tidy_job *j)
{
	free(j->slots);
	free(j);
}

static void job_done(struct task *t)
{
	struct tidy_job *j = (struct tidy_job *)t;
	const struct server *s = server_by_number(tidy.cluster, j->server);

	tidy.running = NULL;
	if (j->vol != NULL && j->vol->forgotten) {
		if (!j->vol->scrub.visited && j->vol->moves == 0)
			free(j->vol);
		t->err = -ESHUTDOWN;
	}
	if (t->err == -EAGAIN && s != NULL && s->state == SERVER_UP &&
	    ++j->tries < TIDY_TRIES_MAX && !tidy.cluster->stopping) {
		j->next = tidy.jobs;
		tidy.jobs = j;
		return; /* the tick starts it again */
	}
	if (t->err != 0 && t->err != -ESHUTDOWN && t->err != -EAGAIN)
		log_warn("server %s: its slots of volume %llu could not be put in order: %s",
			 s != NULL ? s->name : "?", (unsigned long long)j->volume,
			 strerror(-t->err));
	if (j->freed > 0)
		log_info("server %s: %u slots of volume %s%llu that were in no use were given back",
			 s != NULL ? s->name : "?", j->freed, j->vol == NULL ? "(deleted) " : "",
			 (unsigned long long)j->volume);
	job_free(j);
	job_start();
}

static void job_tidied(void *arg, int err, unsigned freed)
{
	struct tidy_job *j = arg;

	j->freed = freed;
	task_finish(&j->task, err);
}

static void job_run(struct task *t)
{
	struct tidy_job *j = (struct tidy_job *)t;
	struct volume_tidy order = {j->notes, j->nnotes, j->slots, j->nslots};

	if (j->vol->engine != NULL && j->older)
		volume_refuse(j->vol->engine, EUCLEAN);
	if (j->vol->engine == NULL || j->older)
		task_finish(t, -ESHUTDOWN);
	else
		volume_tidy(j->vol->engine, j->server, &order, job_tidied, j);
}

static void purge_next(struct tidy_job *j);

static void purge_done(struct nbd_call *call, int error)
{
	struct tidy_job *j = (struct tidy_job *)((char *)call - offsetof(struct tidy_job, call));

	if (error == 0 && call->type == WEFT_CMD_DISCARD)
		j->freed++;
	if (error != 0 && !(error == (int)WEFT_ESTALE && call->type == WEFT_CMD_DISCARD))
		task_finish(&j->task, error == -ENOTCONN ? -ENOTCONN : -error);
	else
		purge_next(j);
}

/* Slots of a volume that no engine has any more. */
static void purge_next(struct tidy_job *j)
{
	if (!j->peer->up) {
		task_finish(&j->task, -ENOTCONN);
		return;
	}
	if (j->nslots == 0) {
		task_finish(&j->task, 0);
		return;
	}
	j->call = (struct nbd_call){
		.type = WEFT_CMD_DISCARD,
		.cmd = {.volume = j->volume, .epoch = j->epoch},
		.done = purge_done,
	};
	j->nslots--;
	j->call.offset = (uint64_t)j->slots[j->nslots].slot * WEFT_SHARD_BYTES;
	j->call.cmd.slot_gen = j->slots[j->nslots].slot_gen;
	j->peer->ops->submit(j->peer, &j->call);
}

static void purge_run(struct task *t)
{
	struct tidy_job *j = (struct tidy_job *)t;

	j->peer = wpeer_find(t->worker, j->server);
	if (j->peer == NULL || !j->peer->up) {
		task_finish(t, -ENOTCONN);
		return;
	}
	j->in = (struct iovec){&j->fence, sizeof(j->fence)};
	j->call = (struct nbd_call){
		.type = WEFT_CMD_FENCE,
		.cmd = {.volume = j->volume, .epoch = j->epoch, .reply_len = sizeof(j->fence)},
		.in = &j->in,
		.nin = 1,
		.done = purge_done,
	};
	j->peer->ops->submit(j->peer, &j->call);
}

/* The volume may be gone, or in the middle of something, since the job was made. */
static bool job_possible(const struct tidy_job *j)
{
	const struct cluster *c = tidy.cluster;

	if (j->vol == NULL)
		return true;
	for (unsigned i = 0; i < c->nvols; i++)
		if (c->vols[i] == j->vol && j->vol->id == j->volume)
			return j->vol->state == VOL_READY;
	return false;
}

static void job_start(void)
{
	struct tidy_job *j;

	while (tidy.running == NULL && (j = tidy.jobs) != NULL) {
		tidy.jobs = j->next;
		if (!job_possible(j)) {
			job_free(j);
			continue;
		}
		tidy.running = j;
		j->task.run = j->vol != NULL ? job_run : purge_run;
		j->task.done = job_done;
		worker_task(j->vol != NULL ? j->vol->worker : tidy.cluster->workers[0], &j->task);
	}
}

/* May this volume be freed? A job that runs looks at it. */
bool tidy_uses(const struct vol *v)
{
	return tidy.running != NULL && tidy.running->vol == v;
}

static struct tidy_job *job_new(struct vol *v, uint64_t volume, uint32_t server)
{
	struct tidy_job *j = mem_must(sizeof(*j));

	j->vol = v;
	j->volume = volume;
	j->server = server;
	return j;
}

static void job_add(struct tidy_job *j)
{
	if (j->nnotes + j->nslots == 0 && !j->older) {
		job_free(j);
		return;
	}
	j->next = tidy.jobs;
	tidy.jobs = j;
}

/* There is a job for each volume, and most have no slots at all. */
static void job_grow(struct tidy_job *j)
{
	if (j->nslots < j->room)
		return;
	j->room = j->room == 0 ? TIDY_SLOTS_MIN : j->room * 2;
	j->slots = reallocarray(j->slots, j->room, sizeof(*j->slots));
	if (j->slots == NULL)
		abort(); /* as mem_must() */
}

/* Into the job, or, when it is full, into another one. */
static void job_slot(struct tidy_job **j, const struct survey_label *l)
{
	if ((*j)->nslots == TIDY_SLOTS_MAX) {
		struct tidy_job *full = *j;

		*j = job_new(full->vol, full->volume, full->server);
		(*j)->epoch = full->epoch;
		job_add(full);
	}
	job_grow(*j);
	(*j)->slots[(*j)->nslots++] =
		(struct volume_slot){l->extent, l->generation, l->slot, l->slot_gen};
}

/* ---- what is to be done -------------------------------------------------------------------- */

/* The labels of one volume on a server. */
struct labels {
	const struct survey_label *first;
	size_t n;
};

static int by_volume(const void *a, const void *b)
{
	const struct survey_label *l = a, *r = b;

	return (l->volume > r->volume) - (l->volume < r->volume);
}

/* They are in order of volumes. */
static struct labels labels_of(const struct survey_server *s, uint64_t volume)
{
	size_t lo = 0, hi = s->nlabels, end;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (s->labels[mid].volume < volume)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (end = lo; end < s->nlabels && s->labels[end].volume == volume; end++)
		;
	return (struct labels){s->labels + lo, end - lo};
}

/* The newest note of a kind is right: keep it. Otherwise write one that is newer. */
static void tidy_note(struct tidy_job **j, struct labels s, uint64_t kind, const char *text,
		      bool keep)
{
	struct vol *v = (*j)->vol;
	const struct survey_label *best = NULL;
	uint32_t generation = (v->epoch & GENERATION_MASK) << GENERATION_SHIFT;
	bool right;

	for (size_t i = 0; i < s.n; i++) {
		const struct survey_label *l = &s.first[i];

		if (l->extent == kind && (best == NULL || l->generation > best->generation))
			best = l;
	}
	right = best != NULL && strcmp(best->name, text) == 0;
	if (best != NULL && best->generation >= generation)
		generation = best->generation + 1;
	if (keep && !right) {
		struct volume_note *n = &(*j)->notes[(*j)->nnotes++];

		n->extent = kind;
		n->generation = generation;
		snprintf(n->text, sizeof(n->text), "%s", text);
	}
	for (size_t i = 0; i < s.n; i++) {
		const struct survey_label *l = &s.first[i];

		if (l->extent == kind && !(keep && right && l == best))
			job_slot(j, l);
	}
}

/* Enough shards of it are good. */
static bool extent_is_known(const struct vol *v, uint64_t extent)
{
	struct meta *meta = v->cluster->meta;
	struct extent_record r = {.stale = ~0u};
	char key[RECORD_KEY_MAX];
	unsigned good = 0;
	void *value;
	size_t len;

	if (meta->ops->get(meta, key_extent(key, v->id, extent), &value, &len) != 0)
		return false;
	if (record_extent_parse(key, value, len, v->k + v->m, &r) == 0)
		good = v->k + v->m - (unsigned)__builtin_popcount(r.stale);
	free(value);
	return good >= v->k;
}

/* Recovery did not see it, and may have to. */
static bool not_seen(const struct vol *v, const struct server *server, const struct survey_label *l)
{
	return server != NULL && server->late && v->recovered != 0 &&
	       l->generation < (v->recovered & GENERATION_MASK) << GENERATION_SHIFT &&
	       !extent_is_known(v, l->extent);
}

static void tell_kept(struct server *server, unsigned kept)
{
	if (kept == server->kept)
		return;
	server->kept = kept;
	if (kept > 0)
		log_warn("server %s was not asked when the metadata was recovered: %u slots that "
			 "nobody knew of are kept. Was it left out? Then recover once more, into "
			 "an empty --dir, from all servers; see weft-recovery(7)",
			 server->name, kept);
}

/* How many slots were kept. */
static unsigned tidy_volume(struct vol *v, const struct survey_server *s, bool keep)
{
	const struct server *server = server_by_number(tidy.cluster, s->number);
	uint32_t floor = (v->epoch & GENERATION_MASK) << GENERATION_SHIFT;
	struct tidy_job *j = job_new(v, v->id, s->number);
	struct labels mine = labels_of(s, v->id);
	char text[NOTE_TEXT_MAX];
	unsigned kept = 0;

	tidy_note(&j, mine, WEFT_EXTENT_NAME, v->name, keep);
	note_settings(v, text);
	tidy_note(&j, mine, WEFT_EXTENT_SETTINGS, text, keep);
	for (size_t i = 0; i < mine.n; i++) {
		const struct survey_label *l = &mine.first[i];

		if (l->extent >= WEFT_EXTENT_SETTINGS || l->generation >= floor)
			continue;
		if (not_seen(v, server, l))
			kept++;
		else
			job_slot(&j, l); /* the engine knows whether it is in use */
	}
	job_add(j);
	return kept;
}

static void tidy_volumes(struct cluster *c, const struct survey_server *s)
{
	struct server *server = server_by_number(c, s->number);
	bool keep = tidy_keeps_notes(c, s->number);
	unsigned kept = 0;

	if (s->nlabels > 0)
		qsort(s->labels, s->nlabels, sizeof(*s->labels), by_volume);
	for (unsigned i = 0; i < c->nvols; i++)
		if (c->vols[i]->state == VOL_READY && !c->vols[i]->older &&
		    deleted_find(c->vols[i]->id) == NULL)
			kept += tidy_volume(c->vols[i], s, keep);
	if (server != NULL)
		tell_kept(server, kept);
}

/* A volume that is there is not given back, whatever else the metadata says. */
static bool number_lives(uint64_t volume)
{
	const struct cluster *c = tidy.cluster;

	for (unsigned i = 0; i < c->nvols; i++)
		if (c->vols[i]->id == volume)
			return true;
	return false;
}

static void tidy_deleted(const struct survey_server *s)
{
	for (unsigned d = 0; d < ndeleted; d++) {
		struct labels mine = labels_of(s, deleted[d].volume);
		struct tidy_job *j;

		if (mine.n == 0 || number_lives(deleted[d].volume))
			continue;
		j = job_new(NULL, deleted[d].volume, s->number);
		j->epoch = deleted[d].epoch;
		for (size_t i = 0; i < mine.n; i++)
			job_slot(&j, &mine.first[i]);
		job_add(j);
	}
}

bool tidy_keeps_notes(const struct cluster *c, uint32_t server)
{
	for (unsigned i = 0; i < c->nservers && i < NOTE_SERVERS_MAX; i++)
		if (c->servers[i]->number == server)
			return true;
	return false;
}

/* ---- is the metadata as new as what the servers know? -----------------------------------------
 */

static int by_slot(const void *a, const void *b)
{
	const struct survey_label *l = a, *r = b;

	return (l->slot > r->slot) - (l->slot < r->slot);
}

static void found_older(struct vol *v, const struct survey_server *s, const struct extent_record *r,
			const struct survey_label *l)
{
	struct tidy_job *j;

	if (v->older)
		return;
	log_error("volume %s, extent %llu: server %u knows of later losses (%u) than the metadata "
		  "(%u), which is older: the volume is not served any more",
		  v->name, (unsigned long long)r->extent, s->number, l->mark, r->mark);
	v->older = true;
	j = job_new(v, v->id, s->number);
	j->older = true;
	job_add(j);
}

static int compare_extent(void *arg, struct vol *v, const struct extent_record *r)
{
	const struct survey_server *s = arg;

	for (unsigned i = 0; v->state == VOL_READY && i < v->k + v->m; i++) {
		struct survey_label key = {.slot = r->shard[i].slot};
		const struct survey_label *l;

		if (r->shard[i].server != s->number || s->nlabels == 0)
			continue;
		l = bsearch(&key, s->labels, s->nlabels, sizeof(key), by_slot);
		if (l != NULL && l->slot_gen == r->shard[i].slot_gen && l->volume == v->id &&
		    l->mark > r->mark)
			found_older(v, s, r, l);
	}
	return 0;
}

/* Servers that are up and were not looked at yet. */
static struct server *to_look_at(const struct cluster *c)
{
	for (unsigned i = 0; i < c->nservers; i++)
		if (!c->servers[i]->looked && c->servers[i]->state == SERVER_UP)
			return c->servers[i];
	return NULL;
}

/* Once, before anything there is put in order. False: the metadata cannot be read as a whole. */
static bool look_first(struct cluster *c, struct server *server, const struct survey_server *s)
{
	if (s->nlabels > 0)
		qsort(s->labels, s->nlabels, sizeof(*s->labels), by_slot);
	server->looked = extents_each(c, compare_extent, (void *)s) == 0;
	if (!server->looked)
		log_error("server %s: what it holds cannot be compared with the metadata, of which "
			  "some cannot be read: see volctl check",
			  server->name);
	return server->looked;
}

static void tidy_tick(void *arg);

static void tidy_surveyed(struct task *t)
{
	struct survey *survey = (struct survey *)t;
	struct cluster *c = tidy.cluster;
	struct survey_server *s = &survey->servers[0];
	struct server *server = server_by_number(c, s->number);
	bool failed = s->err != 0, first = server != NULL && !server->looked;

	tidy.surveying = false;
	if (!failed && !c->stopping && first) {
		failed = !look_first(c, server, s);
		server->tidy = true;
	} else if (!failed && !c->stopping) {
		tidy_volumes(c, s);
		tidy_deleted(s);
	} else if (failed && server != NULL) { /* the next tick asks again */
		server->tidy = true;
	}
	survey_free(survey);
	job_start();
	if (!failed && to_look_at(c) != NULL) /* at once: until then nothing is put in order */
		tidy_tick(c);
}

static void tidy_server(struct server *s)
{
	struct survey *survey = mem_must(sizeof(*survey));

	s->tidy = false;
	survey->n = 1;
	survey->servers[0].number = s->number;
	survey->task.run = survey_run;
	survey->task.done = tidy_surveyed;
	tidy.surveying = true;
	worker_task(tidy.cluster->workers[0], &survey->task);
}

/* Not before all volumes have started: until then nothing is known for sure. */
static bool volumes_settled(const struct cluster *c)
{
	for (unsigned i = 0; i < c->nvols; i++)
		if (c->vols[i]->state == VOL_OPENING || c->vols[i]->state == VOL_STARTING)
			return false;
	return true;
}

static void tidy_tick(void *arg)
{
	struct cluster *c = arg;

	if (c->stopping)
		return;
	job_start();
	if (tidy.surveying || tidy.running != NULL || tidy.jobs != NULL || !volumes_settled(c))
		return;
	if (to_look_at(c) != NULL) {
		tidy_server(to_look_at(c));
		return;
	}
	for (unsigned i = 0; i < c->nservers; i++)
		if (c->servers[i]->tidy && c->servers[i]->state == SERVER_UP) {
			tidy_server(c->servers[i]);
			return;
		}
}

void tidy_start(struct cluster *c)
{
	tidy.cluster = c;
	c->meta->ops->each(c->meta, "1/deleted/", load_deleted, NULL);
	tidy_all(c);
	tidy.timer = control_timer_start(c->control, TIDY_TICK_MS, 1, tidy_tick, c);
}

void tidy_end(void)
{
	control_timer_free(tidy.timer);
	tidy.timer = NULL;
}
