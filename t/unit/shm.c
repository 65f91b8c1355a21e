/*
 * Connections in shared memory: the ring alone (wrapping, sleeping, positions that make no sense),
 * streams on it as on sockets, and other ends that do not keep to the rules.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shm.h"
#include "tap.h"
#include "uring-engines.h"
#include "uring.h"

/* A signal comes whenever wake-ups are read, so often. */
static int interrupts;

ssize_t recv(int fd, void *buf, size_t len, int flags)
{
	if (interrupts > 0) {
		interrupts--;
		errno = EINTR;
		return -1;
	}
	return syscall(SYS_recvfrom, fd, buf, len, flags, NULL, NULL);
}

/* ---- the ring ------------------------------------------------------------------------------ */

static void test_ring(uint32_t begin)
{
	struct shm_ring *ring = aligned_alloc(4096, sizeof(*ring));
	struct shm_end w = {.ring = ring, .at = begin}, r = {.ring = ring, .at = begin};
	uint8_t in[1000], out[1000];
	bool same = true;
	uint64_t total = 0;

	memset(ring, 0, sizeof(*ring));
	shm_publish(&w);
	shm_release(&r);
	ok(shm_room(&w) == SHM_RING_BYTES && shm_filled(&r) == 0,
	   begin == 0 ? "a new ring is empty" : "one near the wrap of positions, too");
	for (unsigned i = 0; total < 3 * SHM_RING_BYTES; i++) {
		size_t len = 1 + i * 37 % sizeof(out);

		for (size_t j = 0; j < len; j++)
			out[j] = (uint8_t)(i + j);
		shm_put(&w, out, len);
		same = same && shm_filled(&r) == 0; /* not before it is published */
		shm_publish(&w);
		same = same && shm_filled(&r) == (int64_t)len;
		shm_take(&r, in, len);
		same = same && shm_room(&w) == (int64_t)(SHM_RING_BYTES - len);
		shm_release(&r);
		same = same && memcmp(in, out, len) == 0 && shm_room(&w) == SHM_RING_BYTES;
		total += len;
	}
	ok(same, "bytes come out as they were put in, also around the end");
	free(ring);
}

static void test_ring_sleep(void)
{
	struct shm_ring *ring = aligned_alloc(4096, sizeof(*ring));
	struct shm_end w = {.ring = ring}, r = {.ring = ring};
	static uint8_t bytes[SHM_RING_BYTES];

	memset(ring, 0, sizeof(*ring));
	ok(!shm_reader_sleeps(&r), "a reader may sleep on an empty ring");
	shm_put(&w, bytes, 1);
	shm_publish(&w);
	ok(shm_must_wake_reader(&w) && !shm_must_wake_reader(&w), "and must be woken, once");
	ok(shm_reader_sleeps(&r), "who finds something in the ring need not sleep");
	shm_put(&w, bytes, SHM_RING_BYTES - 1);
	shm_publish(&w);
	is_int(shm_room(&w), 0, "a full ring has no room");
	ok(!shm_writer_sleeps(&w), "a writer may sleep on it");
	shm_take(&r, bytes, 1);
	shm_release(&r);
	ok(shm_must_wake_writer(&r) && !shm_must_wake_writer(&r), "and must be woken, once");
	atomic_store(&ring->tail, r.at - 1);
	is_int(shm_filled(&r), -EPROTO, "a writer that took something back breaks the protocol");
	atomic_store(&ring->head, w.at + 1);
	is_int(shm_room(&w), -EPROTO, "so does a reader that took what was not there");
	free(ring);
}

/* One thread puts, another takes, as fast as they can; sleeping is spinning on the flag. */
#define RACE_BYTES (64u << 20)

static void race_sleep(_Atomic uint32_t *flag, bool ready)
{
	while (!ready && atomic_load(flag) != 0)
		sched_yield();
}

static void *race_put(void *arg)
{
	struct shm_end w = {.ring = arg};
	uint32_t at = 0;

	while (at < RACE_BYTES) {
		uint8_t piece[777];
		size_t len = (size_t)shm_room(&w);

		if (len == 0) {
			race_sleep(&w.ring->writer_sleeps, shm_writer_sleeps(&w));
			continue;
		}
		len = len < sizeof(piece) ? len : sizeof(piece);
		for (size_t i = 0; i < len; i++)
			piece[i] = (uint8_t)((at + i) * 31 >> 3);
		shm_put(&w, piece, len);
		shm_publish(&w);
		shm_must_wake_reader(&w);
		at += (uint32_t)len;
	}
	return NULL;
}

static void test_ring_race(void)
{
	struct shm_ring *ring = aligned_alloc(4096, sizeof(*ring));
	struct shm_end r = {.ring = ring};
	pthread_t thread;
	bool same = true;
	uint32_t at = 0;

	memset(ring, 0, sizeof(*ring));
	pthread_create(&thread, NULL, race_put, ring);
	while (at < RACE_BYTES) {
		uint8_t piece[5000];
		size_t len = (size_t)shm_filled(&r);

		if (len == 0) {
			race_sleep(&ring->reader_sleeps, shm_reader_sleeps(&r));
			continue;
		}
		len = len < sizeof(piece) ? len : sizeof(piece);
		shm_take(&r, piece, len);
		shm_release(&r);
		shm_must_wake_writer(&r);
		for (size_t i = 0; i < len; i++)
			same = same && piece[i] == (uint8_t)((at + i) * 31 >> 3);
		at += (uint32_t)len;
	}
	pthread_join(thread, NULL);
	ok(same, "two threads pass 64 MiB, and nobody sleeps for ever");
	free(ring);
}

/* ---- streams ------------------------------------------------------------------------------- */

static void test_echo(size_t total, size_t chunk, const char *name)
{
	struct source s;
	struct echo e;
	int fds[2];

	pair(fds);
	echo_start(&e, loop, fds[0]);
	source_start(&s, loop, fds[1], total, chunk);
	s.stop_at_end = true;
	ok(run() && source_matches(&s), name);
	e.stop = loop;
	stream_close(s.stream);
	ok(run() && e.closed == 1 && e.err == 0, "the other end is told once that it ended");
	ok(s.closed == 1 && s.err == 0, "as is the end that closed");
	source_free(&s);
}

struct far {
	struct uring *u;
	struct echo echo;
	int fd;
	pthread_t thread;
};

static void *far_thread(void *arg)
{
	struct far *far = arg;

	echo_start(&far->echo, far->u, far->fd);
	far->echo.stop = far->u;
	uring_run(far->u);
	return NULL;
}

/* Each end sleeps and wakes on its own. */
static void test_two_loops(unsigned spin_us, size_t total, size_t chunk, const char *name)
{
	struct uring_options opt = {.spin_us = spin_us};
	struct far far = {0};
	struct source s;
	int fds[2];

	if (uring_create(&opt, &far.u) < 0)
		abort();
	pair(fds);
	far.fd = fds[0];
	pthread_create(&far.thread, NULL, far_thread, &far);
	source_start(&s, loop, fds[1], total, chunk);
	s.stop_at_end = true;
	ok(run() && source_matches(&s), name);
	s.stop_at_end = false;
	s.stop_when_closed = true;
	stream_close(s.stream);
	ok(run() && s.closed == 1, "and it ends");
	pthread_join(far.thread, NULL);
	is_int(far.echo.closed, 1, "at both ends");
	uring_destroy(far.u);
	source_free(&s);
}

static void test_last_words(void)
{
	struct source s;
	struct echo e;
	int fds[2];

	pair(fds);
	echo_start(&e, loop, fds[0]);
	e.fail_at = 100;
	source_start(&s, loop, fds[1], 100, 100);
	s.stop_when_closed = true;
	ok(run() && s.closed == 1 && e.closed == 1, "an engine that fails ends the stream");
	is_int(e.err, -EPROTO, "for its reason");
	ok(s.received == 100, "after its last output was taken");
	source_free(&s);
}

/* Ends a run. */
static void tick(struct io_timer *t)
{
	uring_stop(loop);
}

/* A wake-up that comes with the close must not make us wait for another. */
static void test_close_when_woken(void)
{
	struct env *env = uring_env(loop);
	struct io_timer soon = {.fire = tick};
	struct echo e;
	int fds[2];

	pair(fds);
	echo_start(&e, loop, fds[0]);
	env->ops->timer_set(env, &soon, env->ops->now_ns(env) + NS_PER_MS);
	ok(run() && e.closed == 0, "a connection waits");
	e.stop = loop;
	stream_close(e.stream);
	ok(write(fds[1], "", 1) == 1 && run() && e.closed == 1, "and closes though it is woken");
	close(fds[1]);
}

static void test_abort(void)
{
	struct source s;
	struct echo e;
	int fds[2];

	pair(fds);
	echo_start(&e, loop, fds[0]);
	source_start(&s, loop, fds[1], 8 << 20, 1 << 20);
	s.stop_when_closed = true;
	uring_stream_abort(s.stream, -ECANCELED);
	ok(run() && s.closed == 1 && s.err == -ECANCELED, "a stream can be given up");
	e.stop = loop;
	ok(e.closed == 1 || (run() && e.closed == 1), "and the other end sees it");
	source_free(&s);
}

/* ---- other ends that do not keep to the rules ---------------------------------------------- */

/* Send fd (or nothing) with one byte, as who accepts does. */
static void send_fd(int sock, int fd)
{
	uint8_t control[CMSG_SPACE(sizeof(int))] = {0}, byte = 0;
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		struct cmsghdr *c;

		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	if (sendmsg(sock, &msg, 0) != 1)
		abort();
}

static void refused(int fd, const char *name)
{
	struct source s;
	int fds[2];

	pair(fds);
	source_start(&s, loop, fds[0], 10, 10);
	s.stop_when_closed = true;
	send_fd(fds[1], fd);
	ok(run() && s.closed == 1 && s.err == -EPROTO, name);
	close(fds[1]);
	if (fd >= 0)
		close(fd);
	source_free(&s);
}

static int memory(off_t size, int seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, size) < 0 || (seals != 0 && fcntl(fd, F_ADD_SEALS, seals) < 0))
		abort();
	return fd;
}

static void test_bad_memory(void)
{
	int fds[2];

	refused(-1, "refused: no memory");
	pair(fds);
	close(fds[1]);
	refused(fds[0], "refused: a socket in its place");
	refused(memory(sizeof(struct shm_pair), 0), "refused: memory that could shrink");
	refused(memory(4096, F_SEAL_SHRINK), "refused: too little memory");
	refused(open("/dev/zero", O_RDWR | O_CLOEXEC), "refused: a device in its place");
}

/* The memory that an accepting stream sends us. */
static struct shm_pair *receive_pair(int sock)
{
	uint8_t control[CMSG_SPACE(sizeof(int))], byte;
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};
	struct shm_pair *p;
	int fd;

	if (recvmsg(sock, &msg, 0) != 1)
		abort();
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	p = mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		abort();
	is_int(ftruncate(fd, 4096), -1, "the memory that we get cannot be made smaller");
	close(fd);
	return p;
}

static void test_bad_position(void)
{
	struct shm_pair *p;
	struct echo e;
	int fds[2];

	pair(fds);
	echo_start(&e, loop, fds[0]);
	e.stop = loop;
	p = receive_pair(fds[1]);
	atomic_store(&p->ring[0].tail, SHM_RING_BYTES + 1);
	ok(write(fds[1], "", 1) == 1, "a peer wakes us");
	ok(run() && e.closed == 1 && e.err == -EPROTO, "to a position that makes no sense");
	munmap(p, sizeof(*p));
	close(fds[1]);
}

static void test_takes_nothing(void)
{
	struct shm_pair *p;
	struct source s;
	int fds[2];

	pair(fds);
	source_stream = uring_shm_accept;
	source_start_stalls(&s, loop, fds[0], 16 << 20, 1 << 20, 500);
	source_stream = uring_shm_connect;
	s.stop_when_closed = true;
	p = receive_pair(fds[1]);
	ok(run() && s.closed == 1 && s.err == -ETIMEDOUT, "a peer that takes nothing is closed");
	is_int((int64_t)s.sent, SHM_RING_BYTES, "having got what the ring holds");
	munmap(p, sizeof(*p));
	close(fds[1]);
	source_free(&s);
}

static void test_gone_early(void)
{
	struct source s;
	struct echo e;
	int fds[2];

	pair(fds);
	close(fds[1]);
	source_start(&s, loop, fds[0], 10, 10);
	s.stop_when_closed = true;
	ok(run() && s.closed == 1 && s.received == 0, "a peer that goes before it sent memory");
	source_free(&s);
	pair(fds);
	close(fds[1]);
	echo_start(&e, loop, fds[0]);
	e.stop = loop;
	ok(run() && e.closed == 1, "a peer that goes before it got memory");
}

/* The end is behind wake-ups that nobody has read yet. */
static void test_gone_after_waking(void)
{
	struct env *env = uring_env(loop);
	struct io_timer soon = {.fire = tick};
	struct shm_pair *p;
	struct echo e;
	int fds[2];

	pair(fds);
	echo_start(&e, loop, fds[0]);
	p = receive_pair(fds[1]);
	env->ops->timer_set(env, &soon, env->ops->now_ns(env) + NS_PER_MS);
	ok(run() && e.closed == 0, "a connection waits");
	e.stop = loop;
	ok(write(fds[1], "abc", 3) == 3, "a peer wakes us");
	close(fds[1]);
	env->ops->timer_set(env, &soon, env->ops->now_ns(env) + 20 * NS_PER_S);
	ok(run() && e.closed == 1 && e.err == 0, "and that it goes then is seen");
	env->ops->timer_cancel(env, &soon);
	munmap(p, sizeof(*p));
}

/* The same with signals that come meanwhile, so many. */
static void test_gone_in_signals(int many, const char *name)
{
	struct env *env = uring_env(loop);
	struct io_timer soon = {.fire = tick};
	struct shm_pair *p;
	struct echo e;
	int fds[2];

	pair(fds);
	echo_start(&e, loop, fds[0]);
	p = receive_pair(fds[1]);
	env->ops->timer_set(env, &soon, env->ops->now_ns(env) + NS_PER_MS);
	ok(run() && e.closed == 0, "a connection waits");
	e.stop = loop;
	interrupts = many;
	ok(write(fds[1], "abc", 3) == 3, "a peer wakes us");
	close(fds[1]);
	env->ops->timer_set(env, &soon, env->ops->now_ns(env) + 3 * NS_PER_S);
	ok(run() && e.closed == 1 && e.err == 0, name);
	is_int(interrupts, 0, "and they came");
	interrupts = 0;
	env->ops->timer_cancel(env, &soon);
	munmap(p, sizeof(*p));
}

static void everything(unsigned spin_us)
{
	struct uring_options opt = {.entries = 64, .spin_us = spin_us};

	if (uring_create(&opt, &loop) < 0) {
		printf("1..0 # SKIP no io_uring here\n");
		exit(0);
	}
	test_echo(1, 1, "one byte comes back");
	test_echo(100000, 17, "small pieces come back");
	test_echo(8 << 20, 1 << 20, "large pieces come back");
	test_two_loops(0, 20000, 1, "single bytes come back from another thread that sleeps");
	test_two_loops(5, 64 << 20, 7000, "so do pieces that are not awaited for long");
	test_two_loops(50, 8 << 20, 70000, "large pieces come back from one that spins");
	test_close_while_busy();
	test_last_words();
	test_abort();
	test_close_when_woken();
	test_bad_memory();
	test_bad_position();
	test_takes_nothing();
	test_gone_early();
	test_gone_after_waking();
	test_gone_in_signals(1, "its end is seen though a signal comes");
	test_gone_in_signals(100, "and though many do");
	uring_destroy(loop);
}

int main(void)
{
	echo_stream = uring_shm_accept;
	source_stream = uring_shm_connect;
	test_ring(0);
	test_ring(UINT32_MAX - 5000);
	test_ring_sleep();
	test_ring_race();
	everything(0);
	everything(50);
	return done_testing();
}
