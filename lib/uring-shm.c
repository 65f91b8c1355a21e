/*
 * Connections within one machine: an engine's stream on two rings of shared memory (shm.h).
 *
 * Who accepts a connection on a Unix socket makes the memory and sends it over that socket; who
 * connected waits for it. After that the socket carries one byte for each wake-up of a sleeping
 * end, and its end is the end of the connection: what is still in the ring is taken first.
 *
 * That a byte came is all there is to know of it: one poll that stays armed tells, and the bytes
 * are read now and then, before they fill the socket.
 *
 * Why: at 4 KiB a system call, the socket's buffers and its locks cost more than the copy itself.
 * An end that is awake looks into its rings once a turn of the loop, and while it spins.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm.h"
#include "uring-internal.h"

#include "banned.h"

#define TAKE_TURN_MAX  (2 * SHM_RING_BYTES) /* bytes before others get their turn */
#define PUT_ROUNDS_MAX 8		    /* the same for sending, in calls of output() */
#define WAKE_BYTES     64 /* wake-ups before they are read; a socket's buffer holds hundreds */
#define WAKE_READS_MAX 64 /* of so many bytes; nobody who keeps to the rules sends more */

enum shm_state {
	SHM_OPEN,
	SHM_CLOSING, /* the output is still put */
	SHM_BROKEN,
	SHM_GONE, /* closed() was called; only this struct is left */
};

struct uring_shm {
	struct stream base; /* first: a stream is its uring_shm */
	struct uring_kick kick;
	struct uring *u;
	struct uring_shm *prev, *next; /* u->shms */
	int fd;			       /* the socket */
	enum shm_state state;
	int err;	       /* for closed() */
	bool ended;	       /* the other end closed the socket */
	int ended_err;	       /* and how */
	bool paused;	       /* the engine's window is closed: it kicks when that changes */
	bool full;	       /* output waits for room */
	unsigned slept;	       /* times since the socket was read: so many wake-ups at most */
	bool listening;	       /* socket_op is under way */
	bool cancelled;	       /* and was asked to end */
	struct shm_pair *pair; /* NULL: not here yet */
	struct shm_end in, out;
	struct uring_op socket_op;
	uint64_t send_timeout_ns;
	struct io_timer send_timer;
	struct msghdr msg; /* what the socket gives: bytes, and at first the memory's descriptor */
	struct iovec iov;
	uint8_t bytes[WAKE_BYTES];
	_Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(int))];
	struct iovec output[STREAM_IOV_MAX];
};

static struct uring_shm *to_shm(struct stream *base)
{
	return (struct uring_shm *)base;
}

/* The first reason to end wins. */
static void shm_end(struct uring_shm *s, enum shm_state state, int err)
{
	if (s->state == SHM_OPEN || (s->state == SHM_CLOSING && state == SHM_BROKEN)) {
		if (s->err == 0)
			s->err = err;
		s->state = state;
	}
	uring_kick(s->u, &s->kick);
}

/* A full socket has wake-ups enough. A broken one tells the receiver. */
static void wake_peer(struct uring_shm *s)
{
	const uint8_t byte = 0;

	(void)send(s->fd, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* ---- the socket ---------------------------------------------------------------------------- */

/* For the memory first, then for wake-ups and the end. */
static void socket_listen(struct uring_shm *s)
{
	struct io_uring_sqe *sqe = uring_sqe(s->u);

	if (s->pair == NULL) {
		s->iov = (struct iovec){s->bytes, sizeof(s->bytes)};
		s->msg = (struct msghdr){.msg_iov = &s->iov,
					 .msg_iovlen = 1,
					 .msg_control = s->control,
					 /* one descriptor, and no other */
					 .msg_controllen = CMSG_LEN(sizeof(int))};
		io_uring_prep_recvmsg(sqe, s->fd, &s->msg, MSG_CMSG_CLOEXEC);
		sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
	} else {
		io_uring_prep_poll_multishot(sqe, s->fd, POLLIN | POLLRDHUP);
	}
	uring_sqe_op(sqe, &s->socket_op);
	s->listening = true;
}

static ssize_t wakes_read(struct uring_shm *s)
{
	ssize_t n;

	do
		n = recv(s->fd, s->bytes, sizeof(s->bytes), MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n;
}

/* Read the wake-ups that gathered, and see whether the other end is still there. */
static void socket_drain(struct uring_shm *s)
{
	ssize_t n = 1;

	s->slept = 0;
	/* to the last byte: the end is behind it, and is not told again */
	for (int i = 0; i < WAKE_READS_MAX && n > 0; i++)
		n = wakes_read(s);
	if (n < 0 && errno == EAGAIN)
		return;
	s->ended = true;
	s->ended_err = n < 0 ? -errno : n > 0 ? -EPROTO : 0;
	uring_kick(s->u, &s->kick);
}

/* Memory of ordinary pages that nobody can take away under us. */
static bool fd_is_safe(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	return seals >= 0 && (seals & F_SEAL_SHRINK) != 0 && fstat(fd, &st) == 0 &&
	       st.st_size >= (off_t)sizeof(struct shm_pair) &&
	       st.st_blksize == sysconf(_SC_PAGESIZE);
}

static int map_pair(struct uring_shm *s, int fd, unsigned in)
{
	void *at = mmap(NULL, sizeof(struct shm_pair), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (at == MAP_FAILED)
		return -errno;
	s->pair = at;
	s->in.ring = &s->pair->ring[in];
	s->out.ring = &s->pair->ring[1 - in];
	return 0;
}

/* The first message: the memory is here. */
static void take_pair(struct uring_shm *s)
{
	int fd = uring_passed_fd(&s->msg), err = fd;

	if (fd >= 0) {
		err = fd_is_safe(fd) ? map_pair(s, fd, 1) : -EPROTO;
		close(fd);
	}
	if (err < 0)
		shm_end(s, SHM_BROKEN, err);
}

static void socket_done(struct uring_op *op, int res, unsigned flags)
{
	struct uring_shm *s =
		(struct uring_shm *)((char *)op - offsetof(struct uring_shm, socket_op));

	s->listening = (flags & IORING_CQE_F_MORE) != 0;
	uring_kick(s->u, &s->kick);
	if (s->state == SHM_BROKEN || s->cancelled || res == -ECANCELED)
		return; /* also with a wake-up that came before it could be cancelled */
	if (res > 0 && s->pair == NULL)
		take_pair(s);
	else if (res > 0 && (res & ~POLLIN) != 0)
		socket_drain(s);
	if (res <= 0 && res != -EAGAIN && res != -EINTR) {
		s->ended = true;
		s->ended_err = res;
	}
	if (!s->ended && !s->listening)
		socket_listen(s);
}

/* ---- bytes --------------------------------------------------------------------------------- */

/* How many bytes the engine took; it may be asked again. */
static size_t take_some(struct uring_shm *s)
{
	int64_t filled = shm_filled(&s->in);
	void *ptr = NULL;
	size_t len;
	int err;

	if (filled < 0)
		shm_end(s, SHM_BROKEN, (int)filled);
	if (filled <= 0)
		return 0;
	len = s->base.ops->window(s->base.engine, &ptr);
	s->paused = len == 0;
	if (len > (size_t)filled)
		len = (size_t)filled;
	if (len == 0)
		return 0;
	shm_take(&s->in, ptr, len);
	err = s->base.ops->received(s->base.engine, len);
	if (err < 0)
		shm_end(s, SHM_CLOSING, err);
	return len;
}

static void shm_receive(struct uring_shm *s)
{
	size_t total = 0, n = 1;

	s->paused = false;
	while (s->state == SHM_OPEN && n > 0 && total < TAKE_TURN_MAX) {
		n = take_some(s);
		total += n;
	}
	if (total == 0)
		return;
	shm_release(&s->in);
	if (shm_must_wake_writer(&s->in))
		wake_peer(s);
	if (n > 0)
		uring_kick(s->u, &s->kick);
}

/* Pieces of output in s->output; 0: there is none. */
static int ask_output(struct uring_shm *s)
{
	int n = s->base.ops->output(s->base.engine, s->output, STREAM_IOV_MAX);
	size_t len = 0;

	assert(n >= 0 && n <= STREAM_IOV_MAX);
	for (int i = 0; i < n; i++)
		len += s->output[i].iov_len;
	return len > 0 ? n : 0;
}

/* Put what fits of n pieces; how many bytes. */
static size_t put_pieces(struct uring_shm *s, int n, size_t room)
{
	size_t total = 0;

	for (int i = 0; i < n && room > 0; i++) {
		size_t len = s->output[i].iov_len < room ? s->output[i].iov_len : room;

		shm_put(&s->out, s->output[i].iov_base, len);
		room -= len;
		total += len;
	}
	shm_publish(&s->out);
	return total;
}

static void send_progress(struct uring_shm *s, bool full)
{
	struct env *env = &s->u->env;

	uring_timer_cancel(env, &s->send_timer);
	s->full = full;
	if (full && s->send_timeout_ns > 0)
		uring_timer_set(env, &s->send_timer, env->ops->now_ns(env) + s->send_timeout_ns);
}

/* One round. False: there is no more to do now. */
static bool put_some(struct uring_shm *s)
{
	int n = ask_output(s);
	int64_t room = shm_room(&s->out);
	size_t done;

	if (room < 0) {
		shm_end(s, SHM_BROKEN, (int)room);
		return false;
	}
	if (n == 0 || room == 0) {
		if (s->full != (n > 0))
			send_progress(s, n > 0);
		return false;
	}
	done = put_pieces(s, n, (size_t)room);
	if (s->full)
		send_progress(s, false);
	s->base.ops->sent(s->base.engine, done);
	return true;
}

static void shm_send(struct uring_shm *s)
{
	bool some = false, more = true;

	for (int i = 0; i < PUT_ROUNDS_MAX && more; i++) {
		more = (s->state == SHM_OPEN || s->state == SHM_CLOSING) && put_some(s);
		some = some || more;
	}
	if (some && shm_must_wake_reader(&s->out))
		wake_peer(s);
	if (more)
		uring_kick(s->u, &s->kick);
}

static void send_timed_out(struct io_timer *t)
{
	shm_end((struct uring_shm *)((char *)t - offsetof(struct uring_shm, send_timer)),
		SHM_BROKEN, -ETIMEDOUT);
}

/* ---- the end ------------------------------------------------------------------------------- */

static void shm_detach(struct uring_shm *s)
{
	if (s->prev != NULL)
		s->prev->next = s->next;
	else
		s->u->shms = s->next;
	if (s->next != NULL)
		s->next->prev = s->prev;
}

static void shm_finish(struct uring_shm *s)
{
	uring_timer_cancel(&s->u->env, &s->send_timer);
	s->state = SHM_GONE;
	shm_detach(s);
	if (s->pair != NULL)
		munmap(s->pair, sizeof(*s->pair));
	shutdown(s->fd, SHUT_RDWR);
	close(s->fd);
	if (s->base.ops != NULL)
		s->base.ops->closed(s->base.engine, s->err);
	if (!s->kick.queued)
		free(s);
}

/* The peer closed: what it had put before is taken first, as long as the engine goes on. */
static void look_at_end(struct uring_shm *s)
{
	if (!s->ended || s->state == SHM_BROKEN)
		return;
	if (s->pair == NULL || s->state == SHM_CLOSING || shm_filled(&s->in) <= 0 ||
	    ask_output(s) > 0)
		shm_end(s, SHM_BROKEN, s->ended_err);
}

static void shm_run(struct uring_kick *k)
{
	struct uring_shm *s = (struct uring_shm *)((char *)k - offsetof(struct uring_shm, kick));

	if (s->state == SHM_GONE) {
		free(s);
		return;
	}
	if (s->pair != NULL) {
		shm_receive(s);
		if (!s->ended)
			shm_send(s);
	}
	look_at_end(s);
	if (s->state == SHM_OPEN ||
	    (s->state == SHM_CLOSING && s->pair != NULL && !s->ended && ask_output(s) > 0))
		return;
	if (!s->listening) {
		shm_finish(s);
	} else if (!s->cancelled) {
		s->cancelled = true;
		uring_cancel(s->u, &s->socket_op);
	}
}

/* ---- the loop's turn ----------------------------------------------------------------------- */

static bool shm_ready(const struct uring_shm *s)
{
	if (s->pair == NULL || s->state == SHM_BROKEN)
		return false;
	return (!s->paused && s->state == SHM_OPEN && shm_filled(&s->in) != 0) ||
	       (s->full && shm_room(&s->out) != 0);
}

void uring_shm_poll(struct uring *u)
{
	for (struct uring_shm *s = u->shms; s != NULL; s = s->next) {
		if (s->pair == NULL)
			continue;
		shm_awake(&s->in, &s->out);
		if (shm_ready(s))
			uring_kick(u, &s->kick);
	}
}

bool uring_shm_ready(const struct uring *u)
{
	for (const struct uring_shm *s = u->shms; s != NULL; s = s->next)
		if (shm_ready(s))
			return true;
	return false;
}

bool uring_shm_sleep(struct uring *u)
{
	bool sleep = true;

	for (struct uring_shm *s = u->shms; s != NULL; s = s->next) {
		if (s->pair == NULL || s->state == SHM_BROKEN)
			continue;
		/* before we say that we sleep: a wake-up that is read after that wakes nobody */
		if (++s->slept == WAKE_BYTES / 2) /* one for each direction */
			socket_drain(s);
		if (!s->paused && s->state == SHM_OPEN && shm_reader_sleeps(&s->in))
			sleep = false;
		if (s->full && shm_writer_sleeps(&s->out))
			sleep = false;
		sleep = sleep && !s->ended;
	}
	return sleep;
}

/* ---- calls --------------------------------------------------------------------------------- */

static void shm_kick(struct stream *base)
{
	uring_kick(to_shm(base)->u, &to_shm(base)->kick);
}

static void shm_close(struct stream *base)
{
	shm_end(to_shm(base), SHM_CLOSING, 0);
}

static void shm_abort(struct stream *base, int err)
{
	shm_end(to_shm(base), SHM_BROKEN, err);
}

static void shm_drop(struct stream *base)
{
	assert(base->ops == NULL);
	shm_end(to_shm(base), SHM_BROKEN, 0);
}

static int shm_fd(const struct stream *base)
{
	return ((const struct uring_shm *)base)->fd;
}

static const struct uring_transport shm_transport = {
	.base = {.kick = shm_kick, .close = shm_close},
	.abort = shm_abort,
	.drop = shm_drop,
	.fd = shm_fd,
};

static struct uring_shm *shm_new(struct uring *u, int fd, unsigned send_timeout_ms)
{
	struct uring_shm *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->base.transport = &shm_transport.base;
	s->kick.run = shm_run;
	s->u = u;
	s->fd = fd;
	s->socket_op.done = socket_done;
	s->send_timeout_ns = send_timeout_ms * NS_PER_MS;
	s->send_timer.fire = send_timed_out;
	s->next = u->shms;
	if (s->next != NULL)
		s->next->prev = s;
	u->shms = s;
	return s;
}

/* Memory for both directions, sent over the socket. */
static int send_pair(struct uring_shm *s, int fd)
{
	int err;

	if (ftruncate(fd, sizeof(struct shm_pair)) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	err = uring_pass_send(s->fd, fd);
	if (err < 0)
		return err;
	return map_pair(s, fd, 0);
}

struct stream *uring_shm_accept(struct uring *u, int fd, unsigned send_timeout_ms)
{
	int memory = memfd_create("weft", MFD_CLOEXEC | MFD_ALLOW_SEALING), err;
	struct uring_shm *s = memory >= 0 ? shm_new(u, fd, send_timeout_ms) : NULL;

	if (s == NULL) {
		if (memory >= 0)
			close(memory);
		close(fd);
		return NULL;
	}
	err = send_pair(s, memory);
	close(memory);
	if (err < 0)
		shm_end(s, SHM_BROKEN, err);
	else
		socket_listen(s);
	uring_kick(u, &s->kick);
	return &s->base;
}

struct stream *uring_shm_connect(struct uring *u, int fd, unsigned send_timeout_ms)
{
	struct uring_shm *s = shm_new(u, fd, send_timeout_ms);

	if (s == NULL) {
		close(fd);
		return NULL;
	}
	socket_listen(s);
	return &s->base;
}
