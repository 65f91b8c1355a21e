/* See aside.h. */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "tagger/aside.h"
#include "banned.h"

#define THREADS_MAX 8u

static const struct {
	unsigned threads, waiting; /* at most */
} lane_limits[ASIDE_LANES] = {
	[ASIDE_READ] = {4, 4096},
	[ASIDE_CHANGE] = {1, 64},
	[ASIDE_SCAN] = {2, 256},
};

struct lane {
	struct aside *aside;
	pthread_cond_t work;
	struct aside_job *first, **last;
	unsigned waiting;
};

struct aside {
	struct control *control;
	pthread_t threads[THREADS_MAX];
	unsigned nthreads;
	pthread_mutex_t lock; /* guards all below, and the lanes */
	struct lane lanes[ASIDE_LANES];
	unsigned running;
	bool stop;
};

static void aside_done(struct control_message *m)
{
	struct aside_job *job = (struct aside_job *)m;

	job->done(job);
}

/* The next job; NULL: the end. Under the lock. */
static struct aside_job *lane_take(struct lane *l)
{
	struct aside_job *job;

	while (l->first == NULL && !l->aside->stop)
		pthread_cond_wait(&l->work, &l->aside->lock);
	job = l->first;
	if (job == NULL)
		return NULL;
	l->first = job->next;
	if (l->first == NULL)
		l->last = &l->first;
	l->waiting--;
	return job;
}

static void *lane_thread(void *arg)
{
	struct lane *l = arg;
	struct aside *a = l->aside;
	struct aside_job *job;

	pthread_mutex_lock(&a->lock);
	while ((job = lane_take(l)) != NULL) {
		a->running++;
		pthread_mutex_unlock(&a->lock);
		job->work(job);
		job->message.fn = aside_done;
		control_post(a->control, &job->message);
		pthread_mutex_lock(&a->lock);
		a->running--;
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

int aside_post(struct aside *a, enum aside_lane lane, struct aside_job *job)
{
	struct lane *l = &a->lanes[lane];
	bool room;

	pthread_mutex_lock(&a->lock);
	room = !a->stop && l->waiting < lane_limits[lane].waiting;
	if (room) {
		job->aside = a;
		job->next = NULL;
		*l->last = job;
		l->last = &job->next;
		l->waiting++;
		pthread_cond_signal(&l->work);
	}
	pthread_mutex_unlock(&a->lock);
	return room ? 0 : -EAGAIN;
}

void aside_get_stats(struct aside *a, struct aside_stats *out)
{
	pthread_mutex_lock(&a->lock);
	out->running = a->running;
	out->waiting = 0;
	for (unsigned i = 0; i < ASIDE_LANES; i++)
		out->waiting += a->lanes[i].waiting;
	pthread_mutex_unlock(&a->lock);
}

int aside_create(struct control *control, struct aside **out)
{
	struct aside *a = calloc(1, sizeof(*a));
	int err = 0;

	if (a == NULL)
		return -ENOMEM;
	a->control = control;
	pthread_mutex_init(&a->lock, NULL);
	for (unsigned i = 0; i < ASIDE_LANES; i++) {
		a->lanes[i].aside = a;
		a->lanes[i].last = &a->lanes[i].first;
		pthread_cond_init(&a->lanes[i].work, NULL);
	}
	for (unsigned i = 0; i < ASIDE_LANES; i++)
		for (unsigned k = 0; k < lane_limits[i].threads && err == 0; k++) {
			assert(a->nthreads < THREADS_MAX);
			err = pthread_create(&a->threads[a->nthreads], NULL, lane_thread,
					     &a->lanes[i]);
			a->nthreads += err == 0;
		}
	if (err != 0) {
		aside_destroy(a);
		return -err;
	}
	*out = a;
	return 0;
}

void aside_destroy(struct aside *a)
{
	if (a == NULL)
		return;
	pthread_mutex_lock(&a->lock);
	a->stop = true;
	for (unsigned i = 0; i < ASIDE_LANES; i++)
		pthread_cond_broadcast(&a->lanes[i].work);
	pthread_mutex_unlock(&a->lock);
	for (unsigned i = 0; i < a->nthreads; i++)
		pthread_join(a->threads[i], NULL);
	control_drain(a->control);
	for (unsigned i = 0; i < ASIDE_LANES; i++)
		pthread_cond_destroy(&a->lanes[i].work);
	pthread_mutex_destroy(&a->lock);
	free(a);
}
