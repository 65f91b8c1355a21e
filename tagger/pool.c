/*
 * Requests: which worker takes them, what becomes of them. A worker answers in the order of
 * requests, so that the one it died of is the first that has no answer; the others go to another
 * worker.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "tagger/pool-internal.h"
#include "tagger/result.h"

#include "banned.h"

#define TIME_LIMIT_MS	  30000u
#define TICK_MS		  250u	/* while something is under way */
#define TICK_IDLE_MS	  5000u /* while workers are kept for what may come */
#define STARTS_FAILED_MAX 3u
#define STARTS_RETRY_MS	  10000u /* a class that cannot start is tried again so much later */
#define RESIDENT_EVERY	  64u	 /* answers */

/* How many a worker holds at once: enough that it never waits, few enough that none waits for long.
 */
static const unsigned int depth[WORK_CLASSES] = {
	[WORK_CLASS_TEXT] = POOL_DEPTH_MAX,
	[WORK_CLASS_DOC] = 2,
	[WORK_CLASS_MEDIA] = 2,
};

/* An idle worker is kept so long. */
static const uint64_t idle_ms[WORK_CLASSES] = {
	[WORK_CLASS_TEXT] = 60000,
	[WORK_CLASS_DOC] = 5000,
	[WORK_CLASS_MEDIA] = 5000,
};

/* One that has grown to this is replaced. */
static const uint64_t resident_max[WORK_CLASSES] = {
	[WORK_CLASS_TEXT] = 64ull << 20,
	[WORK_CLASS_DOC] = 96ull << 20,
	[WORK_CLASS_MEDIA] = 128ull << 20,
};

uint64_t pool_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- lists ------------------------------------------------------------------------------------
 */

static void list_init(struct job_list *l)
{
	l->head = NULL;
	l->tail = &l->head;
	l->n = 0;
}

static void list_append(struct job_list *l, struct job *job)
{
	job->next = NULL;
	*l->tail = job;
	l->tail = &job->next;
	l->n++;
}

static void list_prepend(struct job_list *l, struct job *job)
{
	job->next = l->head;
	if (l->head == NULL)
		l->tail = &job->next;
	l->head = job;
	l->n++;
}

static struct job *list_take(struct job_list *l)
{
	struct job *job = l->head;

	if (job == NULL)
		return NULL;
	l->head = job->next;
	if (l->head == NULL)
		l->tail = &l->head;
	l->n--;
	return job;
}

/* ---- the end of a request ---------------------------------------------------------------------
 */

/* Whoever shows it must not take it for anything but a picture. NULL: it is none. */
static const char *picture_type(const uint8_t *bytes, size_t len)
{
	if (len > 4 && memcmp(bytes, "\xff\xd8\xff", 3) == 0)
		return "image/jpeg";
	if (len > 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0)
		return "image/png";
	return NULL;
}

/* e is the callee's; of a picture, data is the caller's. */
static void job_end(struct pool *p, struct job *job, int err, struct extract *e, const void *data,
		    size_t len)
{
	p->busy--;
	close(job->fd);
	if (err == 0) {
		p->stats.done++;
		p->stats.failed += e != NULL && e->failed;
		p->stats.pictures += job->done_picture != NULL;
	}
	if (job->done_picture != NULL)
		job->done_picture(job->arg, err, err == 0 ? picture_type(data, len) : NULL, data,
				  len);
	else
		job->done_extract(job->arg, err, e);
	free(job);
}

void pool_fail(struct pool *p, struct job *job, const char *why)
{
	struct extract *e;

	if (job->done_picture != NULL) {
		job_end(p, job, -ENOTSUP, NULL, NULL, 0);
		return;
	}
	e = result_failed(why);
	/* what it is was known before another class was asked */
	if (e != NULL)
		memcpy(e->hash, job->request.hash, sizeof(e->hash));
	if (e != NULL && job->request.mime[0] != '\0')
		memcpy(e->mime, job->request.mime, sizeof(e->mime));
	job_end(p, job, e != NULL ? 0 : -ENOMEM, e, NULL, 0);
}

void pool_give_back(struct pool *p, struct job *job, enum work_class class)
{
	list_prepend(&p->waiting[class], job);
}

static void ended_run(void *arg)
{
	struct pool *p = arg;
	struct job *job;

	control_timer_free(p->soon);
	p->soon = NULL;
	while ((job = list_take(&p->ended)) != NULL)
		job_end(p, job, job->err, NULL, NULL, 0);
}

/* Without a worker, and not from inside a call. */
static void job_end_soon(struct pool *p, struct job *job, int err)
{
	job->err = err;
	list_append(&p->ended, job);
	if (p->soon == NULL)
		p->soon = control_timer_start(p->control, 0, 0, ended_run, p);
}

/* ---- answers ----------------------------------------------------------------------------------
 */

static bool text_ends(const char *text, size_t cap)
{
	return memchr(text, '\0', cap) != NULL;
}

/* The first class has found that another one must do it. */
static bool answer_route(struct pool_worker *w, struct job *job)
{
	struct work_route route;

	if (w->answer_len != sizeof(route) || job->routed)
		return false;
	memcpy(&route, w->answer, sizeof(route));
	if (route.class >= WORK_CLASSES || route.class == w->class || route.mime[0] == '\0' ||
	    !text_ends(route.mime, sizeof(route.mime)) ||
	    !text_ends(route.encoding, sizeof(route.encoding)) ||
	    !text_ends(route.compression, sizeof(route.compression)))
		return false;
	for (const char *c = route.mime; *c != '\0'; c++)
		if (*c <= ' ' || *c > '~')
			return false;
	memcpy(job->request.hash, route.hash, sizeof(route.hash));
	memcpy(job->request.mime, route.mime, sizeof(route.mime));
	memcpy(job->request.encoding, route.encoding, sizeof(route.encoding));
	memcpy(job->request.compression, route.compression, sizeof(route.compression));
	job->routed = true;
	list_append(&w->pool->waiting[route.class], job);
	return true;
}

static bool answer_extract(struct pool_worker *w, struct job *job)
{
	struct extract *e = result_parse((const char *)w->answer, w->answer_len);

	if (e == NULL)
		return false;
	job_end(w->pool, job, 0, e, NULL, 0);
	return true;
}

static bool answer_picture(struct pool_worker *w, struct job *job, enum work_kind kind)
{
	if (kind == WORK_NONE || kind == WORK_RESULT) {
		job_end(w->pool, job, -ENOTSUP, NULL, NULL, 0);
		return true;
	}
	if (kind != WORK_DATA || picture_type(w->answer, w->answer_len) == NULL)
		return false;
	job_end(w->pool, job, 0, NULL, w->answer, w->answer_len);
	return true;
}

/* Grown, or with more than one file's remains: it is replaced when it has answered what it has. */
static void worker_check_size(struct pool_worker *w)
{
	uint64_t max = resident_max[w->class];

	if (w->pool->config.memory_max_bytes != 0 && max > w->pool->config.memory_max_bytes / 2)
		max = w->pool->config.memory_max_bytes / 2;
	/* small files come by the thousand */
	if (!w->grown && (w->class != WORK_CLASS_TEXT || w->answers % RESIDENT_EVERY == 0) &&
	    pool_worker_resident(w) > max) {
		w->grown = true;
		w->pool->stats.replaced++;
	}
	if (w->grown && w->n_jobs == 0)
		pool_worker_retire(w);
}

bool pool_answer(struct pool_worker *w, enum work_kind kind)
{
	struct job *job = w->jobs[0];
	bool ok;

	/* off the worker's list first: done() may ask for more */
	memmove(w->jobs, w->jobs + 1, (w->n_jobs - 1) * sizeof(w->jobs[0]));
	w->n_jobs--;
	w->since_ms = pool_now_ms();
	w->answers++;
	if (kind == WORK_ROUTE)
		ok = answer_route(w, job);
	else if (job->done_picture != NULL)
		ok = answer_picture(w, job, kind);
	else
		ok = kind == WORK_RESULT && answer_extract(w, job);
	w->answer_len = 0;
	if (!ok) {
		memmove(w->jobs + 1, w->jobs, w->n_jobs * sizeof(w->jobs[0]));
		w->jobs[0] = job;
		w->n_jobs++;
		return false;
	}
	worker_check_size(w);
	return true;
}

/* ---- who takes a request ----------------------------------------------------------------------
 */

/* The one of a class with least to do; NULL when there is none with room. *n: how many there are.
 */
static struct pool_worker *worker_pick(struct pool *p, enum work_class class, unsigned int *n)
{
	struct pool_worker *best = NULL;

	*n = 0;
	for (unsigned int i = 0; i < p->n_workers; i++) {
		struct pool_worker *w = p->workers[i];

		if (w->class != class)
			continue;
		*n += 1;
		if (w->end == END_NONE && !w->grown && w->n_jobs < depth[class] &&
		    (best == NULL || w->n_jobs < best->n_jobs))
			best = w;
	}
	return best;
}

void pool_start_failed(struct pool *p, enum work_class class)
{
	p->starts_failed[class]++;
	if (p->starts_failed[class] >= STARTS_FAILED_MAX)
		p->retry_ms[class] = pool_now_ms() + STARTS_RETRY_MS;
}

/* Its program is missing, say: requests fail at once, for a while. */
static bool class_broken(const struct pool *p, enum work_class class)
{
	return p->starts_failed[class] >= STARTS_FAILED_MAX && pool_now_ms() < p->retry_ms[class];
}

static void class_give_up(struct pool *p, enum work_class class, int err)
{
	struct job *job;

	while ((job = list_take(&p->waiting[class])) != NULL)
		job_end_soon(p, job, err);
}

static void class_dispatch(struct pool *p, enum work_class class)
{
	while (p->waiting[class].n > 0) {
		unsigned int n;
		struct pool_worker *w = worker_pick(p, class, &n);
		struct job *job;
		int err = 0;

		if (class_broken(p, class)) {
			class_give_up(p, class, -EIO);
			return;
		}
		if ((w == NULL || w->n_jobs > 0) && n < p->n_max[class]) {
			struct pool_worker *more = pool_worker_start(p, class, &err);

			if (more != NULL)
				w = more;
			else if (n == 0)
				pool_start_failed(p, class);
			if (w == NULL && n == 0)
				continue;
		}
		if (w == NULL)
			return;
		job = list_take(&p->waiting[class]);
		if (pool_worker_send(w, job) < 0) {
			list_prepend(&p->waiting[class], job);
			return;
		}
	}
}

static void pool_tick(void *arg);

static void tick_arm(struct pool *p)
{
	if (p->tick == NULL && (p->busy > 0 || p->n_workers > 0))
		p->tick = control_timer_start(p->control, p->busy > 0 ? TICK_MS : TICK_IDLE_MS, 0,
					      pool_tick, p);
}

void pool_dispatch(struct pool *p)
{
	for (enum work_class class = 0; class < WORK_CLASSES; class ++)
		class_dispatch(p, class);
	tick_arm(p);
}

static void pool_tick(void *arg)
{
	struct pool *p = arg;
	uint64_t now = pool_now_ms();
	unsigned int limit = p->config.time_limit_ms;

	control_timer_free(p->tick);
	p->tick = NULL;
	for (unsigned int i = 0; i < p->n_workers; i++) {
		struct pool_worker *w = p->workers[i];

		if (w->n_jobs > 0 && now - w->since_ms > limit)
			pool_worker_kill(w, END_TIME);
		else if (w->n_jobs == 0 && now - w->since_ms > idle_ms[w->class])
			pool_worker_retire(w);
	}
	tick_arm(p);
}

/* ---- the interface ----------------------------------------------------------------------------
 */

int pool_create(const struct pool_config *config, struct pool **out)
{
	struct pool *p = calloc(1, sizeof(*p));
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned int n = config->workers;

	if (p == NULL)
		return -ENOMEM;
	p->config = *config;
	p->control = config->control;
	p->dir = strdup(config->dir != NULL ? config->dir : WEFT_LIBEXECDIR);
	if (p->dir == NULL) {
		free(p);
		return -ENOMEM;
	}
	if (p->config.time_limit_ms == 0)
		p->config.time_limit_ms = TIME_LIMIT_MS;
	if (n == 0)
		n = cores > 0 ? (unsigned int)cores : 1;
	/* text is most; the others are large and seldom */
	p->n_max[WORK_CLASS_TEXT] = n < POOL_WORKERS_MAX / 2 ? n : POOL_WORKERS_MAX / 2;
	p->n_max[WORK_CLASS_DOC] = n < 4 ? 1 : 2;
	p->n_max[WORK_CLASS_MEDIA] = n < 4 ? 1 : n / 4 < 4 ? n / 2 : 4;
	for (enum work_class class = 0; class < WORK_CLASSES; class ++)
		list_init(&p->waiting[class]);
	list_init(&p->ended);
	*out = p;
	return 0;
}

void pool_destroy(struct pool *p)
{
	struct job *job;

	if (p == NULL)
		return;
	control_timer_free(p->tick);
	control_timer_free(p->soon);
	while (p->n_workers > 0) {
		struct pool_worker *w = p->workers[p->n_workers - 1];

		for (unsigned int i = 0; i < w->n_jobs; i++)
			list_append(&p->ended, w->jobs[i]);
		w->n_jobs = 0;
		pool_worker_destroy(w);
	}
	for (enum work_class class = 0; class < WORK_CLASSES; class ++)
		while ((job = list_take(&p->waiting[class])) != NULL)
			list_append(&p->ended, job);
	while ((job = list_take(&p->ended)) != NULL)
		job_end(p, job, -ECANCELED, NULL, NULL, 0);
	assert(p->busy == 0);
	free(p->dir);
	free(p);
}

static struct job *job_create(struct pool *p, const struct pool_request *request,
			      enum work_what what, void *arg, int *err)
{
	struct job *job = NULL;

	*err = -EAGAIN;
	if (p->busy < POOL_QUEUE_MAX) {
		*err = -ENOMEM;
		job = calloc(1, sizeof(*job));
	}
	if (job == NULL) {
		close(request->fd);
		return NULL;
	}
	job->fd = request->fd;
	job->arg = arg;
	job->request = (struct work_request){
		.magic = WORK_MAGIC,
		.id = ++p->next_id,
		.what = (uint8_t)what,
		.flags = (uint8_t)((p->config.ocr ? WORK_FLAG_OCR : 0) |
				   (p->config.speech ? WORK_FLAG_SPEECH : 0)),
		.size = request->size,
		.mtime_ns = request->mtime_ns,
	};
	memcpy(job->request.known_hash, request->known_hash, EXTRACT_HASH_BYTES);
	/* a name too long is cut at its front: its end says more */
	if (request->name != NULL) {
		size_t len = strlen(request->name);
		size_t skip = len < WORK_NAME_MAX ? 0 : len - WORK_NAME_MAX + 1;

		memcpy(job->request.name, request->name + skip, len - skip);
	}
	p->busy++;
	return job;
}

static void job_submit(struct pool *p, struct job *job)
{
	list_append(&p->waiting[WORK_CLASS_TEXT], job);
	class_dispatch(p, WORK_CLASS_TEXT);
	/* an idle pool ticks slowly */
	if (p->busy == 1 && p->tick != NULL) {
		control_timer_free(p->tick);
		p->tick = NULL;
	}
	tick_arm(p);
}

int pool_extract(struct pool *p, const struct pool_request *request,
		 void (*done)(void *arg, int err, struct extract *e), void *arg)
{
	int err;
	struct job *job = job_create(p, request, WORK_EXTRACT, arg, &err);

	if (job == NULL)
		return err;
	job->done_extract = done;
	job_submit(p, job);
	return 0;
}

int pool_make_picture(
	struct pool *p, const struct pool_request *request, const struct pool_picture *picture,
	void (*done)(void *arg, int err, const char *type, const void *data, size_t len), void *arg)
{
	struct job *job;
	int err;

	assert(picture->width > 0 && picture->width <= POOL_PICTURE_SIDES);
	assert(picture->height > 0 && picture->height <= POOL_PICTURE_SIDES);
	job = job_create(p, request, picture->sprite ? WORK_SPRITE : WORK_PICTURE, arg, &err);
	if (job == NULL)
		return err;
	job->done_picture = done;
	job->request.width = picture->width;
	job->request.height = picture->height;
	job->request.columns = picture->columns;
	job->request.rows = picture->rows;
	memset(job->request.known_hash, 0, EXTRACT_HASH_BYTES);
	job_submit(p, job);
	return 0;
}

unsigned pool_busy(const struct pool *p)
{
	return p->busy;
}

void pool_get_stats(const struct pool *p, struct pool_stats *out)
{
	*out = p->stats;
	out->workers = p->n_workers;
}
