/*
 * Descriptors that are passed over Unix sockets: sending one, and waiting for one.
 *
 * Who waits keeps the socket that the descriptor came over until it is told to close it: its end
 * tells the other side that this process is gone. It is not put into the table of registered files,
 * so that it ends with the process and not some time later with the ring.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "uring-internal.h"

#include "banned.h"

struct uring_pass {
	struct uring *u;
	int fd;
	int err;	/* why it ended before anything came */
	bool receiving; /* op is under way */
	bool closed;	/* and nobody wants to know any more */
	struct uring_op op;
	struct io_timer timeout;
	struct msghdr msg;
	struct iovec iov;
	uint8_t byte;
	_Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(int))];
	void (*passed)(void *arg, struct uring_pass *p, int fd);
	void *arg;
};

int uring_passed_fd(struct msghdr *msg)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	int fd;

	if (c == NULL || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
	    c->cmsg_len != CMSG_LEN(sizeof(int)))
		return -EPROTO;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

int uring_pass_send(int sock, int fd)
{
	_Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(int))] = {0};
	uint8_t byte = 0;
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

static void pass_free(struct uring_pass *p)
{
	uring_timer_cancel(&p->u->env, &p->timeout);
	close(p->fd);
	free(p);
}

static void pass_receive(struct uring_pass *p)
{
	struct io_uring_sqe *sqe = uring_sqe(p->u);

	p->iov = (struct iovec){&p->byte, 1};
	p->msg = (struct msghdr){.msg_iov = &p->iov,
				 .msg_iovlen = 1,
				 .msg_control = p->control,
				 .msg_controllen = CMSG_LEN(sizeof(int))}; /* one, and no other */
	io_uring_prep_recvmsg(sqe, p->fd, &p->msg, MSG_CMSG_CLOEXEC);
	sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
	uring_sqe_op(sqe, &p->op);
	p->receiving = true;
}

static void pass_done(struct uring_op *op, int res, unsigned flags)
{
	struct uring_pass *p = (struct uring_pass *)((char *)op - offsetof(struct uring_pass, op));
	int fd = res > 0 ? uring_passed_fd(&p->msg) : -ECONNRESET;

	p->receiving = false;
	if (!p->closed && p->err == 0 && (res == -EINTR || res == -EAGAIN)) {
		pass_receive(p);
		return;
	}
	uring_timer_cancel(&p->u->env, &p->timeout);
	if (fd >= 0 && !p->closed) {
		p->passed(p->arg, p, fd);
		return;
	}
	if (fd >= 0)
		close(fd);
	else if (!p->closed)
		p->passed(p->arg, NULL, p->err != 0 ? p->err : fd);
	pass_free(p);
}

static void pass_late(struct io_timer *t)
{
	struct uring_pass *p =
		(struct uring_pass *)((char *)t - offsetof(struct uring_pass, timeout));

	p->err = -ETIMEDOUT;
	uring_cancel(p->u, &p->op);
}

struct uring_pass *uring_pass_receive(struct uring *u, int fd, unsigned timeout_ms,
				      void (*passed)(void *arg, struct uring_pass *p, int fd),
				      void *arg)
{
	struct uring_pass *p = calloc(1, sizeof(*p));

	if (p == NULL) {
		close(fd);
		return NULL;
	}
	p->u = u;
	p->fd = fd;
	p->op.done = pass_done;
	p->timeout.fire = pass_late;
	p->passed = passed;
	p->arg = arg;
	uring_timer_set(&u->env, &p->timeout, u->env.ops->now_ns(&u->env) + timeout_ms * NS_PER_MS);
	pass_receive(p);
	return p;
}

void uring_pass_close(struct uring_pass *p)
{
	assert(!p->closed);
	p->closed = true;
	if (p->receiving)
		uring_cancel(p->u, &p->op);
	else
		pass_free(p);
}
