/*
 * Data threads: each runs one io_uring loop with its own buffers, and owns its volumes' engines,
 * its peers and its clients' connections. Work comes as tasks; see volmgr.h.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "route.h"
#include "volmgr.h"
#include "banned.h"

static void task_arrived(struct uring_message *m)
{
	struct task *t = (struct task *)((char *)m - offsetof(struct task, to_worker));

	t->run(t);
}

static void task_returned(struct control_message *m)
{
	struct task *t = (struct task *)((char *)m - offsetof(struct task, to_control));

	t->done(t);
}

void worker_task(struct worker *w, struct task *t)
{
	t->worker = w;
	t->to_worker.fn = task_arrived;
	uring_post(w->uring, &t->to_worker);
}

void task_finish(struct task *t, int err)
{
	t->err = err;
	t->to_control.fn = task_returned;
	control_post(t->worker->cluster->control, &t->to_control);
}

static int worker_init(struct worker *w)
{
	struct uring_options opt = {.spin_us = w->spin_us};
	int err;

	w->pool = buf_pool_create(w->pool_bytes, ARENA_BYTES);
	if (w->pool == NULL)
		return -ENOMEM;
	opt.pool = w->pool;
	err = uring_create(&opt, &w->uring);
	if (err != 0) {
		buf_pool_destroy(w->pool);
		return err;
	}
	w->env = uring_env(w->uring);
	route_worker_init(w);
	return 0;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	int err = worker_init(w);

	pthread_mutex_lock(&w->start_lock);
	w->started = true;
	w->start_err = err;
	pthread_cond_signal(&w->start_cond);
	pthread_mutex_unlock(&w->start_lock);
	if (err == 0) {
		err = uring_run(w->uring);
		if (err != 0)
			log_error("data thread %u ended: %s", w->index, strerror(-err));
	}
	return NULL;
}

int worker_start(struct cluster *c, unsigned index, size_t pool_bytes, unsigned spin_us)
{
	struct worker *w = mem_must(sizeof(*w));
	int err;

	w->cluster = c;
	w->index = index;
	w->pool_bytes = pool_bytes;
	w->spin_us = spin_us;
	pthread_mutex_init(&w->start_lock, NULL);
	pthread_cond_init(&w->start_cond, NULL);
	err = pthread_create(&w->thread, NULL, worker_main, w);
	if (err != 0) {
		free(w);
		return -err;
	}
	pthread_mutex_lock(&w->start_lock);
	while (!w->started)
		pthread_cond_wait(&w->start_cond, &w->start_lock);
	pthread_mutex_unlock(&w->start_lock);
	if (w->start_err != 0) {
		err = w->start_err;
		pthread_join(w->thread, NULL);
		free(w);
		return err;
	}
	c->workers[index] = w;
	return 0;
}

void worker_check_quit(struct worker *w)
{
	struct task *t = w->quitting;

	if (t == NULL || w->open_conns > 0 || w->open_peers > 0)
		return;
	w->quitting = NULL;
	task_finish(t, 0);
	uring_stop(w->uring);
}

void worker_quit_run(struct task *t)
{
	struct worker *w = t->worker;

	w->quitting = t;
	front_close_listeners(w);
	front_close_all(w);
	peers_close(w);
	route_servers_close(w);
	worker_check_quit(w);
}

/* ---- a stream that nobody wants ------------------------------------------------------------ */

static size_t null_window(void *engine, void **ptr)
{
	return 0;
}

static int null_received(void *engine, size_t n)
{
	return -ECANCELED;
}

static int null_output(void *engine, struct iovec *iov, int max)
{
	return 0;
}

static void null_sent(void *engine, size_t n)
{
}

static void null_closed(void *engine, int err)
{
}

static const struct stream_ops null_ops = {
	.window = null_window,
	.received = null_received,
	.output = null_output,
	.sent = null_sent,
	.closed = null_closed,
};

void stream_drop(struct stream *s)
{
	stream_attach(s, &null_ops, NULL);
	stream_close(s);
}

void worker_join(struct worker *w)
{
	pthread_join(w->thread, NULL);
}

/* What is still held by volumes that could not stop in order stays. */
void worker_free(struct worker *w)
{
	bool clean = true;

	for (unsigned i = 0; i < w->nvols; i++) {
		if (w->vols[i]->stopped)
			volume_free(w->vols[i]->engine);
		else
			clean = false;
	}
	if (!clean || buf_pool_used(w->pool) > 0)
		return;
	peers_free(w);
	route_worker_free(w);
	uring_destroy(w->uring);
	buf_pool_destroy(w->pool);
	pthread_cond_destroy(&w->start_cond);
	pthread_mutex_destroy(&w->start_lock);
	free(w);
}
