/*
 * Connections coming in and going out. Accepting is one multishot operation where the kernel takes
 * it.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "uring-internal.h"

#include "banned.h"

#define ACCEPT_PAUSE_NS (100 * NS_PER_MS) /* after an error such as too many open files */

/* ---- accept -------------------------------------------------------------------------------- */

struct uring_listener {
	struct uring *u;
	int fd;
	bool multishot;
	bool accepting; /* op is under way */
	bool closed;
	struct uring_op op;
	struct io_timer pause;
	void (*accepted)(void *arg, int fd);
	void *arg;
};

static void listener_arm(struct uring_listener *l)
{
	struct io_uring_sqe *sqe = uring_sqe(l->u);

	if (l->multishot)
		io_uring_prep_multishot_accept(sqe, l->fd, NULL, NULL, SOCK_CLOEXEC);
	else
		io_uring_prep_accept(sqe, l->fd, NULL, NULL, SOCK_CLOEXEC);
	uring_sqe_op(sqe, &l->op);
	l->accepting = true;
}

static void listener_free(struct uring_listener *l)
{
	uring_timer_cancel(&l->u->env, &l->pause);
	close(l->fd);
	free(l);
}

static void pause_over(struct io_timer *t)
{
	listener_arm((struct uring_listener *)((char *)t - offsetof(struct uring_listener, pause)));
}

static void accept_done(struct uring_op *op, int res, unsigned flags)
{
	struct uring_listener *l =
		(struct uring_listener *)((char *)op - offsetof(struct uring_listener, op));
	struct env *env = &l->u->env;

	if (res >= 0 && l->closed)
		close(res);
	else if (res >= 0)
		l->accepted(l->arg, res); /* may close the listener: accepting is still set */
	l->accepting = (flags & IORING_CQE_F_MORE) != 0;
	if (l->accepting)
		return;
	if (l->closed) {
		listener_free(l);
	} else if (res == -EINVAL && l->multishot) {
		l->multishot = false;
		listener_arm(l);
	} else if (res >= 0 || res == -EINTR || res == -EAGAIN || res == -ECONNABORTED) {
		listener_arm(l);
	} else {
		uring_timer_set(env, &l->pause, env->ops->now_ns(env) + ACCEPT_PAUSE_NS);
	}
}

struct uring_listener *uring_listen(struct uring *u, int fd, void (*accepted)(void *arg, int fd),
				    void *arg)
{
	struct uring_listener *l = calloc(1, sizeof(*l));

	if (l == NULL) {
		close(fd);
		return NULL;
	}
	l->u = u;
	l->fd = fd;
	l->multishot = true;
	l->op.done = accept_done;
	l->pause.fire = pause_over;
	l->accepted = accepted;
	l->arg = arg;
	listener_arm(l);
	return l;
}

void uring_listener_close(struct uring_listener *l)
{
	assert(!l->closed);
	l->closed = true;
	shutdown(l->fd,
		 SHUT_RDWR); /* refuse at once, also while the operation is being cancelled */
	if (l->accepting)
		uring_cancel(l->u, &l->op);
	else
		listener_free(l);
}

/* ---- connect ------------------------------------------------------------------------------- */

struct uring_connection {
	struct uring *u;
	int fd;
	int err; /* why there is no socket, or why it was given up */
	struct sockaddr_storage addr;
	struct uring_op op;
	struct io_timer timeout;
	void (*done)(void *arg, int fd);
	void *arg;
};

static void connect_finish(struct uring_connection *c, int res)
{
	uring_timer_cancel(&c->u->env, &c->timeout);
	if (res < 0 && c->fd >= 0)
		close(c->fd);
	c->done(c->arg, res < 0 ? res : c->fd);
	free(c);
}

static void connect_done(struct uring_op *op, int res, unsigned flags)
{
	struct uring_connection *c =
		(struct uring_connection *)((char *)op - offsetof(struct uring_connection, op));

	connect_finish(c, res < 0 && c->err < 0 ? c->err : res);
}

static void connect_timeout(struct io_timer *t)
{
	struct uring_connection *c =
		(struct uring_connection *)((char *)t - offsetof(struct uring_connection, timeout));

	if (c->fd < 0) {
		connect_finish(c, c->err);
		return;
	}
	c->err = -ETIMEDOUT;
	uring_cancel(c->u, &c->op);
}

void uring_connect(struct uring *u, const struct sockaddr_storage *addr, socklen_t len,
		   unsigned timeout_ms, void (*done)(void *arg, int fd), void *arg)
{
	int fd = socket(addr->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	uring_connect_on(u, fd < 0 ? -errno : fd, addr, len, timeout_ms, done, arg);
}

void uring_connect_on(struct uring *u, int fd, const struct sockaddr_storage *addr, socklen_t len,
		      unsigned timeout_ms, void (*done)(void *arg, int fd), void *arg)
{
	struct uring_connection *c = calloc(1, sizeof(*c));
	uint64_t now = u->env.ops->now_ns(&u->env);
	struct io_uring_sqe *sqe;

	assert(c != NULL); /* a hundred bytes: without them nothing goes on */
	c->u = u;
	c->addr = *addr;
	c->op.done = connect_done;
	c->timeout.fire = connect_timeout;
	c->done = done;
	c->arg = arg;
	c->fd = fd;
	if (fd < 0) {
		c->err = fd;
		uring_timer_set(&u->env, &c->timeout, now); /* tell it from the loop */
		return;
	}
	uring_timer_set(&u->env, &c->timeout, now + timeout_ms * NS_PER_MS);
	sqe = uring_sqe(u);
	io_uring_prep_connect(sqe, c->fd, (struct sockaddr *)&c->addr, len);
	uring_sqe_op(sqe, &c->op);
}
