/* See control.h. Other threads wake the loop through an eventfd, written only when nothing was
 * queued. */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/time.h>
#include <unistd.h>

#include <event2/event.h>

#include "control.h"
#include "log.h"
#include "banned.h"

#define CONTROL_SIGNALS_MAX 4

struct control_signal {
	void (*fn)(void *arg, int signo);
	void *arg;
	struct event *ev;
};

struct control {
	struct event_base *base;
	struct event *wake_ev;
	int wake_fd;
	pthread_mutex_t lock; /* guards head and tail */
	struct control_message *head, **tail;
	struct control_signal signals[CONTROL_SIGNALS_MAX];
	int nsignals;
};

struct control_timer {
	struct event *ev;
	void (*fn)(void *arg);
	void *arg;
};

void control_drain(struct control *c)
{
	struct control_message *m;

	pthread_mutex_lock(&c->lock);
	m = c->head;
	c->head = NULL;
	c->tail = &c->head;
	pthread_mutex_unlock(&c->lock);
	while (m != NULL) {
		struct control_message *next = m->next;

		m->fn(m);
		m = next;
	}
}

static void control_wake(evutil_socket_t fd, short what, void *arg)
{
	uint64_t count;

	if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		log_warn("cannot read from an eventfd: %s", strerror(errno));
	control_drain(arg);
}

int control_create(struct control **out)
{
	struct control *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return -ENOMEM;
	c->tail = &c->head;
	pthread_mutex_init(&c->lock, NULL);
	c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	c->base = event_base_new();
	if (c->wake_fd < 0 || c->base == NULL)
		goto fail;
	c->wake_ev = event_new(c->base, c->wake_fd, EV_READ | EV_PERSIST, control_wake, c);
	if (c->wake_ev == NULL || event_add(c->wake_ev, NULL) < 0)
		goto fail;
	*out = c;
	return 0;
fail:
	control_destroy(c);
	return -ENOMEM;
}

void control_destroy(struct control *c)
{
	for (int i = 0; i < c->nsignals; i++)
		event_free(c->signals[i].ev);
	if (c->wake_ev != NULL)
		event_free(c->wake_ev);
	if (c->base != NULL)
		event_base_free(c->base);
	if (c->wake_fd >= 0)
		close(c->wake_fd);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

void control_run(struct control *c)
{
	event_base_dispatch(c->base);
}

void control_stop(struct control *c)
{
	event_base_loopbreak(c->base);
}

struct event_base *control_base(struct control *c)
{
	return c->base;
}

void control_post(struct control *c, struct control_message *m)
{
	static const uint64_t one = 1;
	bool wake;

	m->next = NULL;
	pthread_mutex_lock(&c->lock);
	wake = c->head == NULL;
	*c->tail = m;
	c->tail = &m->next;
	pthread_mutex_unlock(&c->lock);
	if (wake && write(c->wake_fd, &one, sizeof(one)) < 0)
		log_error("cannot wake the control thread: %s", strerror(errno));
}

static void control_signalled(evutil_socket_t signo, short what, void *arg)
{
	struct control_signal *s = arg;

	s->fn(s->arg, (int)signo);
}

int control_signal(struct control *c, int signo, void (*fn)(void *arg, int signo), void *arg)
{
	struct control_signal *s = &c->signals[c->nsignals];

	if (c->nsignals == CONTROL_SIGNALS_MAX)
		return -ENOSPC;
	*s = (struct control_signal){.fn = fn, .arg = arg};
	s->ev = evsignal_new(c->base, signo, control_signalled, s);
	if (s->ev == NULL || event_add(s->ev, NULL) < 0)
		return -ENOMEM;
	c->nsignals++;
	return 0;
}

static void control_timer_fired(evutil_socket_t fd, short what, void *arg)
{
	struct control_timer *t = arg;

	t->fn(t->arg);
}

struct control_timer *control_timer_start(struct control *c, unsigned ms, int repeat,
					  void (*fn)(void *arg), void *arg)
{
	struct control_timer *t = calloc(1, sizeof(*t));
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};

	if (t == NULL)
		return NULL;
	t->fn = fn;
	t->arg = arg;
	t->ev = event_new(c->base, -1, repeat ? EV_PERSIST : 0, control_timer_fired, t);
	if (t->ev == NULL || event_add(t->ev, &tv) < 0) {
		control_timer_free(t);
		return NULL;
	}
	return t;
}

void control_timer_free(struct control_timer *t)
{
	if (t == NULL)
		return;
	if (t->ev != NULL)
		event_free(t->ev);
	free(t);
}

/* ---- descriptors --------------------------------------------------------------------------- */

struct control_watch {
	struct event *ev;
	void (*fn)(void *arg);
	void *arg;
};

static void control_watch_fired(evutil_socket_t fd, short what, void *arg)
{
	struct control_watch *w = arg;

	w->fn(w->arg);
}

struct control_watch *control_watch_start(struct control *c, int fd, int write,
					  void (*fn)(void *arg), void *arg)
{
	struct control_watch *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return NULL;
	w->fn = fn;
	w->arg = arg;
	w->ev = event_new(c->base, fd, (short)((write ? EV_WRITE : EV_READ) | EV_PERSIST),
			  control_watch_fired, w);
	if (w->ev == NULL || event_add(w->ev, NULL) < 0) {
		control_watch_free(w);
		return NULL;
	}
	return w;
}

void control_watch_free(struct control_watch *w)
{
	if (w == NULL)
		return;
	if (w->ev != NULL)
		event_free(w->ev);
	free(w);
}
