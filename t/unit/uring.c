/*
 * The io_uring binding: streams (echo, large transfers, ends of every kind, moving to another
 * loop), listeners, timers, deferred tasks, messages from threads, disks.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tap.h"
#include "uring-engines.h"
#include "uring.h"

static void start(unsigned spin_us, struct buf_pool *pool)
{
	struct uring_options opt = {.entries = 64, .spin_us = spin_us, .pool = pool};
	int err = uring_create(&opt, &loop);

	if (err < 0) {
		printf("1..0 # SKIP no io_uring here: %s\n", strerror(-err));
		exit(0);
	}
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
	ok(run() && e.closed == 1 && e.err == 0 && s.closed == 1 && s.err == 0,
	   "both ends are told once that the connection ended");
	source_free(&s);
}

static void test_peer_gone(void)
{
	struct echo e;
	int fds[2];

	pair(fds);
	echo_start(&e, loop, fds[0]);
	e.stop = loop;
	ok(write(fds[1], "abc", 3) == 3, "a peer writes");
	close(fds[1]);
	ok(run() && e.closed == 1 && e.total == 3, "a peer that goes ends the stream, data first");
}

static void test_peer_reset(void)
{
	struct linger hard = {.l_onoff = 1, .l_linger = 0};
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sin);
	int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
	struct echo e;
	int fd;

	if (bind(listener, (struct sockaddr *)&sin, len) < 0 || listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&sin, &len) < 0 ||
	    connect(client, (struct sockaddr *)&sin, len) < 0)
		abort();
	fd = accept(listener, NULL, NULL);
	echo_start(&e, loop, fd);
	e.stop = loop;
	(void)setsockopt(client, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(client);
	close(listener);
	ok(run() && e.closed == 1, "a reset ends the stream");
	is_int(e.err, -ECONNRESET, "and its error is told");
}

static void test_received_fails(void)
{
	struct echo e;
	char got[16];
	int fds[2];

	pair(fds);
	echo_start(&e, loop, fds[0]);
	e.fail_at = 4;
	e.stop = loop;
	ok(write(fds[1], "abcd", 4) == 4, "a peer writes garbage");
	ok(run() && e.closed == 1 && e.err == -EPROTO, "an engine that fails ends the stream");
	is_int(read(fds[1], got, sizeof(got)), 4, "after its last output was sent");
	is_int(read(fds[1], got, sizeof(got)), 0, "and then the peer sees the end");
	close(fds[1]);
}

static void test_slow_peer(void)
{
	struct source s;
	int fds[2];

	pair(fds);
	source_start_stalls(&s, loop, fds[0], 16 << 20, 1 << 20, 500);
	s.stop_when_closed = true;
	ok(run() && s.closed == 1, "a peer that takes nothing is closed");
	is_int(s.err, -ETIMEDOUT, "with ETIMEDOUT");
	ok(s.sent > 0 && s.sent < s.total, "having got what the socket held");
	close(fds[1]);
	source_free(&s);
}

/* ---- moving a stream to another loop --------------------------------------------------------- */

struct move {
	struct uring_message msg; /* first: to the other loop and back */
	struct uring *to;
	struct echo *echo;
	int fd;
	pthread_t thread;
};

static void move_arrived(struct uring_message *m)
{
	struct move *mv = (struct move *)m;
	struct echo *e = mv->echo;

	e->stream = uring_stream(mv->to, mv->fd, STALL_MS);
	stream_attach(e->stream, &echo_ops, e);
}

static void move_detached(void *arg, int fd)
{
	struct move *mv = arg;

	mv->fd = fd;
	if (fd < 0) {
		uring_stop(loop);
		return;
	}
	mv->msg.fn = move_arrived;
	uring_post(mv->to, &mv->msg);
}

static void *other_thread(void *arg)
{
	uring_run(((struct move *)arg)->to);
	return NULL;
}

static void test_detach(void)
{
	struct uring_options opt = {0};
	struct move mv = {0};
	struct source s;
	struct echo e;
	int fds[2];

	if (uring_create(&opt, &mv.to) < 0)
		abort();
	pthread_create(&mv.thread, NULL, other_thread, &mv);
	pair(fds);
	echo_start(&e, loop, fds[0]);
	source_start(&s, loop, fds[1], 4 << 20, 10000);
	mv.echo = &e;
	e.stop = mv.to;
	s.stop_at_end = true;
	uring_stream_detach(e.stream, move_detached, &mv);
	ok(run() && source_matches(&s), "a stream goes on in another thread's loop");
	s.stop_when_closed = true;
	s.stop_at_end = false;
	stream_close(s.stream);
	ok(run() && s.closed == 1, "and its peer ends it");
	pthread_join(mv.thread, NULL);
	uring_destroy(mv.to);
	source_free(&s);
}

struct busy_detach {
	int fd;
	bool done;
};

static void busy_detached(void *arg, int fd)
{
	struct busy_detach *b = arg;

	b->fd = fd;
	b->done = true;
	uring_stop(loop);
}

static void test_detach_busy(void)
{
	struct busy_detach b = {.fd = -1};
	struct source s;
	int fds[2];
	size_t sent;

	pair(fds);
	source_start(&s, loop, fds[0], 16 << 20, 1 << 20);
	uring_stream_detach(s.stream, busy_detached, &b);
	ok(run() && b.done && b.fd >= 0, "detaching ends with the socket");
	sent = s.sent;
	s.stream = uring_stream(loop, b.fd, STALL_MS);
	stream_attach(s.stream, &source_ops, &s);
	uring_stream_detach(s.stream, busy_detached, &b);
	ok(run() && b.fd >= 0 && s.sent >= sent, "also when it happens again");
	s.stop_when_closed = true;
	s.stream = uring_stream(loop, b.fd, STALL_MS);
	stream_attach(s.stream, &source_ops, &s);
	close(fds[1]);
	ok(run() && s.closed == 1, "and the stream still ends once");
	ok(s.err == -EPIPE || s.err == -ECONNRESET || s.err == 0, "for a reason that fits");
	source_free(&s);
}

/* ---- listeners ----------------------------------------------------------------------------- */

struct acceptor {
	struct echo echoes[3];
	int count;
};

static void on_accept(void *arg, int fd)
{
	struct acceptor *a = arg;

	if (a->count == 3) {
		close(fd);
		return;
	}
	echo_start(&a->echoes[a->count++], loop, fd);
}

static void on_connect(void *arg, int fd)
{
	*(int *)arg = fd;
	uring_stop(loop);
}

static void test_listen(void)
{
	struct sockaddr_storage ss = {0};
	struct sockaddr_in *sin = (struct sockaddr_in *)&ss;
	socklen_t len = sizeof(*sin);
	struct acceptor a = {0};
	struct uring_listener *l;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	bool good = true;

	sin->sin_family = AF_INET;
	sin->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&ss, len) < 0 || listen(fd, 8) < 0 ||
	    getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
		abort();
	l = uring_listen(loop, fd, on_accept, &a);
	for (int i = 0; i < 3; i++) {
		struct source s;
		int conn = 0;

		uring_connect(loop, &ss, len, STALL_MS, on_connect, &conn);
		good = good && run() && conn > 0;
		if (conn <= 0)
			break;
		source_start(&s, loop, conn, 3 << 20, 64 << 10);
		s.stop_at_end = true;
		good = good && run() && source_matches(&s);
		a.echoes[i].stop = loop;
		stream_close(s.stream);
		good = good && run() && s.closed == 1;
		source_free(&s);
	}
	ok(good && a.count == 3, "three TCP connections are accepted and served");
	uring_listener_close(l);
	fd = 0;
	uring_connect(loop, &ss, len, STALL_MS, on_connect, &fd);
	ok(run() && fd == -ECONNREFUSED, "a closed listener refuses");
}

static void test_connect_timeout(void)
{
	struct sockaddr_storage ss = {0};
	struct sockaddr_in *sin = (struct sockaddr_in *)&ss;
	socklen_t len = sizeof(*sin);
	int listener = socket(AF_INET, SOCK_STREAM, 0), fds[8], fd = 0, n = 0;

	/* A full backlog answers nothing. */
	sin->sin_family = AF_INET;
	sin->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (struct sockaddr *)&ss, len) < 0 || listen(listener, 0) < 0 ||
	    getsockname(listener, (struct sockaddr *)&ss, &len) < 0)
		abort();
	for (; n < 4; n++) {
		fds[n] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)!connect(fds[n], (struct sockaddr *)&ss, len);
	}
	uring_connect(loop, &ss, len, 100, on_connect, &fd);
	ok(run() && fd == -ETIMEDOUT, "connecting gives up in time");
	while (n > 0)
		close(fds[--n]);
	close(listener);
}

/* ---- timers, tasks, messages --------------------------------------------------------------- */

#define TIMERS 500

static struct io_timer timers[TIMERS];
static uint64_t last_fired_ns;
static unsigned fired, misordered;

static void timer_fired(struct io_timer *t)
{
	uint64_t want = (uint64_t)(uintptr_t)t->priv[1];

	if (want < last_fired_ns)
		misordered++;
	last_fired_ns = want;
	if (++fired == TIMERS / 2)
		uring_stop(loop);
}

static void test_timers(void)
{
	struct env *env = uring_env(loop);
	uint64_t now = env->ops->now_ns(env), x = 12345;
	bool unarmed = true;

	for (int i = 0; i < TIMERS; i++) {
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		timers[i].fire = timer_fired;
		env->ops->timer_set(env, &timers[i], now + (x >> 33) % (60 * NS_PER_S));
	}
	for (int i = 0; i < TIMERS; i++) { /* move all, then cancel every other one */
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		timers[i].priv[1] = (void *)(uintptr_t)(now + (x >> 33) % (50 * NS_PER_MS));
		env->ops->timer_set(env, &timers[i], (uint64_t)(uintptr_t)timers[i].priv[1]);
	}
	for (int i = 0; i < TIMERS; i += 2)
		env->ops->timer_cancel(env, &timers[i]);
	ok(run(), "timers fire");
	is_int(misordered, 0, "in the order of their times");
	is_int(fired, TIMERS / 2, "those that were not cancelled, once");
	for (int i = 0; i < TIMERS; i++)
		unarmed = unarmed && timers[i].at_ns == 0;
	ok(unarmed, "none is armed after that");
	env->ops->timer_cancel(env, &timers[0]);
	ok(true, "cancelling an idle timer is fine");
}

static int task_runs;

static void task_run(struct io_task *t)
{
	struct env *env = uring_env(loop);

	if (++task_runs < 100) {
		env->ops->defer(env, t);
		env->ops->defer(env, t);
	} else {
		uring_stop(loop);
	}
}

static void test_tasks(void)
{
	struct env *env = uring_env(loop);
	struct io_task t = {.run = task_run};

	task_runs = 0;
	env->ops->defer(env, &t);
	env->ops->defer(env, &t);
	ok(run(), "a task may defer itself");
	is_int(task_runs, 100, "and runs once each time");
}

#define POSTERS	 3
#define MESSAGES 20000

struct numbered {
	struct uring_message m;
	int poster, n;
};

static int next_message[POSTERS], arrived, wrong_order;

static void message_arrived(struct uring_message *m)
{
	struct numbered *n = (struct numbered *)m;

	if (n->n != next_message[n->poster]++)
		wrong_order++;
	free(n);
	if (++arrived == POSTERS * MESSAGES)
		uring_stop(loop);
}

static void *poster(void *arg)
{
	for (int i = 0; i < MESSAGES; i++) {
		struct numbered *n = calloc(1, sizeof(*n));

		n->m.fn = message_arrived;
		n->poster = (int)(intptr_t)arg;
		n->n = i;
		uring_post(loop, &n->m);
	}
	return NULL;
}

static void test_post(void)
{
	pthread_t threads[POSTERS];

	for (int i = 0; i < POSTERS; i++)
		pthread_create(&threads[i], NULL, poster, (void *)(intptr_t)i);
	ok(run(), "messages of three threads arrive");
	for (int i = 0; i < POSTERS; i++)
		pthread_join(threads[i], NULL);
	is_int(wrong_order, 0, "each thread's in its order");
}

static void test_idle(void)
{
	struct env *env = uring_env(loop);
	struct rusage before, after;
	struct io_timer t = {.fire = watchdog_fire};
	double used;

	getrusage(RUSAGE_THREAD, &before);
	env->ops->timer_set(env, &t, env->ops->now_ns(env) + 300 * NS_PER_MS);
	uring_run(loop);
	getrusage(RUSAGE_THREAD, &after);
	used = (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec) +
	       (double)(after.ru_stime.tv_sec - before.ru_stime.tv_sec) +
	       (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec) / 1e6 +
	       (double)(after.ru_stime.tv_usec - before.ru_stime.tv_usec) / 1e6;
	ok(used < 0.1, "an idle loop uses no processor time");
}

/* ---- disks --------------------------------------------------------------------------------- */

struct wait_op {
	struct disk_op op;
	int64_t res;
	bool inline_done;
};

static void op_done(struct disk_op *op, int64_t res)
{
	struct wait_op *w = (struct wait_op *)op;

	w->res = res;
	w->inline_done = true;
	uring_stop(loop);
}

static int64_t finish(struct wait_op *w)
{
	bool early = w->inline_done;

	if (early || !run())
		return INT64_MIN;
	return w->res;
}

static int temp_file(const char *dir, int flags)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/weft-uring-XXXXXX", dir);
	fd = mkostemp(path, O_CLOEXEC | flags);
	if (fd >= 0)
		unlink(path);
	return fd;
}

static void fill(uint8_t *p, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 13 + seed + (i >> 8));
}

/* Random writes, discards and reads through a mapping, beside a copy in memory; then the file loses
 * its end under it. */
static void test_disk_mapped(struct buf_pool *pool)
{
	enum { SIZE = 4 << 20 };
	struct buf *mirror = buf_get(pool, SIZE), *b = buf_get(pool, 1 << 20);
	struct wait_op w;
	struct iovec iov[2];
	struct disk *d;
	uint64_t seed = 1;
	bool same = true;
	int fd = temp_file("/dev/shm", 0);

	if (fd < 0 || ftruncate(fd, SIZE) < 0) {
		ok(true, "# SKIP no tmpfs here");
		goto out;
	}
	d = uring_disk(loop, fd, SIZE, false, NULL, 0);
	uring_disk_map(d);
	memset(mirror->data, 0, SIZE);
	for (int i = 0; i < 400 && same; i++) {
		uint32_t at, len, half;

		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		at = (uint32_t)(seed >> 33) % (SIZE - (300 << 10));
		len = 2 + (uint32_t)(seed >> 20) % (i % 3 == 0 ? 300 << 10 : 5000);
		half = len / 2;
		w = (struct wait_op){.op.done = op_done};
		iov[0] = (struct iovec){b->data, half};
		iov[1] = (struct iovec){b->data + half, len - half};
		fill(b->data, len, (unsigned)i);
		if (i % 7 == 6) {
			memset(b->data, 0, len);
			d->ops->discard(d, &w.op, at, len);
			same = finish(&w) == 0;
		} else if (i % 2 == 0) {
			d->ops->writev(d, &w.op, iov, 2, at);
			same = finish(&w) == len;
		} else {
			same = d->ops->write_now(d, b->data, len, at) == (int)len;
		}
		memcpy(mirror->data + at, b->data, len);
	}
	ok(same, "writes and discards through a mapping end well");
	for (uint32_t at = 0; at < SIZE; at += 1 << 20)
		same = same && pread(fd, b->data, 1 << 20, at) == 1 << 20 &&
		       memcmp(b->data, mirror->data + at, 1 << 20) == 0 &&
		       d->ops->read_now(d, b->data, 1 << 20, at) == 1 << 20 &&
		       memcmp(b->data, mirror->data + at, 1 << 20) == 0;
	ok(same, "and the file holds what they left");
	if (ftruncate(fd, 0) == 0) {
		iov[0] = (struct iovec){b->data, 65536};
		w = (struct wait_op){.op.done = op_done};
		d->ops->readv(d, &w.op, iov, 1, 4096);
		is_int(finish(&w), -EIO, "a page that is not there any more is an I/O error");
		is_int(d->ops->read_now(d, b->data, 4096, 0), -EAGAIN, "or for the ring to tell");
	}
	uring_disk_close(d);
out:
	buf_put(mirror);
	buf_put(b);
}

static void test_disk(const char *dir, bool direct, struct buf_pool *pool)
{
	struct buf *a = buf_get(pool, 65536), *b = buf_get(pool, 1 << 20);
	struct wait_op w = {.op.done = op_done};
	struct iovec iov[40];
	struct disk *d;
	int fd = temp_file(dir, direct ? O_DIRECT : 0);

	if (fd < 0 || ftruncate(fd, 8 << 20) < 0) {
		ok(true, "# SKIP no such file here");
		goto out;
	}
	d = uring_disk(loop, fd, 8 << 20, direct, NULL, 0);
	fill(a->data, 65536, 1);
	iov[0] = (struct iovec){a->data, 65536};
	d->ops->writev(d, &w.op, iov, 1, 4096);
	is_int(finish(&w), 65536, "a write moves everything");
	w = (struct wait_op){.op.done = op_done};
	for (int i = 0; i < 40; i++)
		iov[i] = (struct iovec){b->data + i * 8192, 4096};
	memset(b->data, 0xee, 1 << 20);
	d->ops->readv(d, &w.op, iov, 16, 4096);
	is_int(finish(&w), 65536, "a read into many pieces, too");
	ok(memcmp(b->data + 8192, a->data + 4096, 4096) == 0 && b->data[4096] == 0xee,
	   "with the bytes in their places");
	w = (struct wait_op){.op.done = op_done};
	d->ops->writev(d, &w.op, iov, 40, 1 << 20);
	is_int(finish(&w), 40 * 4096, "forty pieces are written");
	w = (struct wait_op){.op.done = op_done};
	d->ops->sync(d, &w.op);
	is_int(finish(&w), 0, "sync ends well");
	w = (struct wait_op){.op.done = op_done};
	d->ops->discard(d, &w.op, 4096, 8192);
	w.res = finish(&w);
	ok(w.res == 0 || w.res == -EOPNOTSUPP, "a discard ends, or is refused");
	if (!direct) {
		int n = d->ops->write_now(d, a->data, 4096, 20480);

		ok(n == 4096 || n == -EAGAIN, "write_now writes or says EAGAIN");
		n = d->ops->read_now(d, b->data, 4096, 16384);
		ok(n == 4096 ? memcmp(b->data, a->data + 12288, 4096) == 0 : n == -EAGAIN,
		   "read_now reads or says EAGAIN");
	}
	if (ftruncate(fd, 0) == 0) {
		iov[0] = (struct iovec){a->data, 65536};
		w = (struct wait_op){.op.done = op_done};
		d->ops->readv(d, &w.op, iov, 1, 4096);
		is_int(finish(&w), -EIO, "a file that lost its end is an I/O error");
	}
	uring_disk_close(d);
out:
	buf_put(a);
	buf_put(b);
}

static void everything(unsigned spin_us)
{
	struct buf_pool *pool = buf_pool_create(64 << 20, 4 << 20);

	start(spin_us, pool);
	test_echo(1, 1, "one byte comes back");
	test_echo(100000, 17, "small pieces come back");
	test_echo(8 << 20, 1 << 20, "large pieces come back");
	test_peer_gone();
	test_peer_reset();
	test_received_fails();
	test_close_while_busy();
	test_slow_peer();
	test_detach();
	test_detach_busy();
	test_listen();
	test_connect_timeout();
	test_tasks();
	if (spin_us == 0) {
		test_timers();
		test_post();
		test_idle();
	}
	test_disk("/tmp", false, pool);
	test_disk("/dev/shm", false, pool);
	test_disk("/var/tmp", true, pool);
	test_disk_mapped(pool);
	uring_destroy(loop);
	buf_pool_destroy(pool);
}

int main(void)
{
	everything(0);
	everything(50);
	return done_testing();
}
