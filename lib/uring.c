/*
 * The loop: completions in batches, timers, deferred tasks, messages from other threads.
 *
 * A turn handles every completion that is there, then what those deferred, then looks at each
 * kicked stream once (one send with all its output, one receive), then submits and waits in one
 * system call. So the work of a batch leaves in as few calls as it came in.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "uring-internal.h"

#include "banned.h"

#define RING_NEEDS_US	  (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)
#define SPIN_LOST_NS	  200000 /* a yield that took so long went to busy threads */
#define SPIN_PAUSE_MIN_NS (10 * NS_PER_MS)
#define SPIN_PAUSE_MAX_NS (2 * NS_PER_S)
#define SPIN_SHARED_NS	  1000	    /* a yield that took so long went to somebody */
#define ROUTED_RECENT_NS  NS_PER_MS /* so long after a routed read, see spin() */

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* ---- env ----------------------------------------------------------------------------------- */

static uint64_t env_now(struct env *e)
{
	struct uring *u = (struct uring *)e;

	if (u->now_ns == 0)
		u->now_ns = clock_ns();
	return u->now_ns;
}

static void env_random(struct env *e, void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len > 0) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0) {
			assert(errno == EINTR);
			continue;
		}
		p += n;
		len -= (size_t)n;
	}
}

static void env_defer(struct env *e, struct io_task *t)
{
	struct uring *u = (struct uring *)e;

	if (t->queued)
		return;
	t->queued = 1;
	t->next = NULL;
	*u->tasks_tail = t;
	u->tasks_tail = &t->next;
}

static const struct env_ops uring_env_ops = {
	.now_ns = env_now,
	.random = env_random,
	.timer_set = uring_timer_set,
	.timer_cancel = uring_timer_cancel,
	.defer = env_defer,
};

struct env *uring_env(struct uring *u)
{
	return &u->env;
}

/* ---- submission ---------------------------------------------------------------------------- */

struct io_uring_sqe *uring_sqe(struct uring *u)
{
	for (unsigned i = 0; i < URING_SQE_TRIES_MAX; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

		if (sqe != NULL)
			return sqe;
		if (io_uring_submit(&u->ring) < 0)
			sched_yield(); /* out of kernel memory for the moment */
	}
	assert(!"the kernel takes no submissions");
	abort();
}

static void cancel_done(struct uring_op *op, int res, unsigned flags)
{
	/* Found or not: the operation itself completes and says what became of it. */
}

static struct uring_op cancel_op = {.done = cancel_done};

void uring_cancel(struct uring *u, struct uring_op *op)
{
	struct io_uring_sqe *sqe = uring_sqe(u);

	io_uring_prep_cancel(sqe, op, 0);
	uring_sqe_op(sqe, &cancel_op);
}

void uring_finish(struct uring *u, struct disk_op *op, int64_t res)
{
	op->res = res;
	op->next = NULL;
	*u->finished_tail = op;
	u->finished_tail = &op->next;
}

void uring_kick(struct uring *u, struct uring_kick *k)
{
	if (k->queued)
		return;
	k->queued = true;
	k->next = NULL;
	*u->kicked_tail = k;
	u->kicked_tail = &k->next;
}

/* ---- messages ------------------------------------------------------------------------------ */

void uring_post(struct uring *u, struct uring_message *m)
{
	struct uring_message *head = atomic_load_explicit(&u->posted, memory_order_relaxed);
	uint64_t one = 1;

	do {
		m->next = head;
	} while (!atomic_compare_exchange_weak_explicit(&u->posted, &head, m, memory_order_release,
							memory_order_relaxed));
	/* When others wait there already, their sender wakes the loop. Only atomics and write(): a
	 * signal handler may post, too. */
	if (head == NULL && write(u->event_fd, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN);
}

static void event_arm(struct uring *u)
{
	struct io_uring_sqe *sqe = uring_sqe(u);

	io_uring_prep_read(sqe, u->event_fd, &u->event_count, sizeof(u->event_count), 0);
	uring_sqe_op(sqe, &u->event_op);
}

static void event_done(struct uring_op *op, int res, unsigned flags)
{
	struct uring *u = (struct uring *)((char *)op - offsetof(struct uring, event_op));
	struct uring_message *m, *in_order = NULL;

	if (res == -ECANCELED)
		return;
	event_arm(u);
	m = atomic_exchange_explicit(&u->posted, NULL, memory_order_acquire);
	while (m != NULL) {
		struct uring_message *next = m->next;

		m->next = in_order;
		in_order = m;
		m = next;
	}
	while (in_order != NULL) {
		m = in_order;
		in_order = m->next;
		m->fn(m); /* m may be gone now */
	}
}

/* ---- the loop ------------------------------------------------------------------------------ */

/* Handles what is in the completion queue. Returns how many. */
static unsigned run_completions(struct uring *u)
{
	struct {
		struct uring_op *op;
		int res;
		unsigned flags;
	} batch[URING_BATCH_MAX];
	struct io_uring_cqe *cqe;
	unsigned head, n = 0;

	io_uring_for_each_cqe(&u->ring, head, cqe)
	{
		batch[n].op = io_uring_cqe_get_data(cqe);
		batch[n].res = cqe->res;
		batch[n].flags = cqe->flags;
		if (++n == URING_BATCH_MAX)
			break;
	}
	io_uring_cq_advance(&u->ring, n);
	for (unsigned i = 0; i < n; i++)
		batch[i].op->done(batch[i].op, batch[i].res, batch[i].flags);
	return n;
}

static void run_finished(struct uring *u)
{
	struct disk_op *op = u->finished;

	u->finished = NULL;
	u->finished_tail = &u->finished;
	while (op != NULL) {
		struct disk_op *next = op->next;

		op->done(op, op->res);
		op = next;
	}
}

static void run_tasks(struct uring *u)
{
	struct io_task *t = u->tasks;

	u->tasks = NULL;
	u->tasks_tail = &u->tasks;
	while (t != NULL) {
		struct io_task *next = t->next;

		t->queued = 0;
		t->run(t);
		t = next;
	}
}

static void run_kicked(struct uring *u)
{
	struct uring_kick *k = u->kicked;

	u->kicked = NULL;
	u->kicked_tail = &u->kicked;
	while (k != NULL) {
		struct uring_kick *next = k->next;

		k->queued = false;
		k->run(k);
		k = next;
	}
}

static bool has_work(const struct uring *u)
{
	return u->tasks != NULL || u->finished != NULL || u->kicked != NULL;
}

static bool completions_ready(struct uring *u)
{
	return io_uring_cq_ready(&u->ring) > 0;
}

static bool spin_found(struct uring *u)
{
	if (completions_ready(u) || uring_shm_ready(u))
		return true;
	if ((__atomic_load_n(u->ring.sq.kflags, __ATOMIC_RELAXED) & IORING_SQ_TASKRUN) == 0)
		return false;
	io_uring_get_events(&u->ring);
	return completions_ready(u);
}

/* One who yields to busy threads waits for his turn, while a sleeper is let in at once: when a
 * yield took long, do not spin for a while, and for longer the more often it happens. */
static void spin_lost(struct uring *u, uint64_t now)
{
	u->spin_again_ns = now + u->spin_pause_ns;
	u->spin_pause_ns *= 2;
	if (u->spin_pause_ns > SPIN_PAUSE_MAX_NS)
		u->spin_pause_ns = SPIN_PAUSE_MAX_NS;
}

void uring_routed(struct uring *u)
{
	u->routed_ns = env_now(&u->env);
}

/*
 * Look for completions for a while before sleeping: a wake-up costs more than a short wait. Other
 * threads get the processor in between, so that on a small machine the one we wait for can run.
 * After routed reads there is nobody to wait for: it only keeps the processor from sleeping, so it
 * ends, for a while, when somebody else does that.
 */
static bool spin(struct uring *u)
{
	uint64_t now = clock_ns(), end = now + u->spin_ns, before;
	bool routed = now - u->routed_ns < ROUTED_RECENT_NS;

	if (now < u->spin_again_ns)
		return false;
	if (u->ntimers > 0 && u->timers[0]->at_ns < end)
		end = u->timers[0]->at_ns;
	do {
		if (spin_found(u)) {
			if (u->spin_pause_ns > SPIN_PAUSE_MIN_NS)
				u->spin_pause_ns -= u->spin_pause_ns / 8;
			return true;
		}
		before = now;
		sched_yield();
		now = clock_ns();
		if (now - before > SPIN_LOST_NS)
			spin_lost(u, now);
		else if (routed && now - before > SPIN_SHARED_NS && !spin_found(u)) {
			u->spin_again_ns = now + ROUTED_RECENT_NS;
			return false;
		}
	} while (now < end);
	return false;
}

/* Nothing to wait for. Without anything to submit, or to fetch, the kernel is left alone. */
static int submit(struct uring *u)
{
	if (io_uring_sq_ready(&u->ring) == 0 &&
	    (__atomic_load_n(u->ring.sq.kflags, __ATOMIC_RELAXED) & RING_NEEDS_US) == 0)
		return 0;
	return io_uring_submit_and_get_events(&u->ring);
}

static int wait_for_events(struct uring *u)
{
	struct __kernel_timespec ts;
	struct io_uring_cqe *cqe;
	uint64_t now;

	if (u->batch.fd >= 0)
		batch_look(&u->batch, clock_ns());
	if (!uring_shm_sleep(u))
		return submit(u);
	if (u->ntimers == 0)
		return io_uring_submit_and_wait(&u->ring, 1);
	now = clock_ns();
	if (u->timers[0]->at_ns <= now)
		return submit(u);
	now = u->timers[0]->at_ns - now;
	ts.tv_sec = (int64_t)(now / NS_PER_S);
	ts.tv_nsec = (int64_t)(now % NS_PER_S);
	return io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, &ts, NULL);
}

/* Submit, and sleep until something happens. busy: the turn before had work. */
static int turn_end(struct uring *u, bool busy)
{
	int err;

	if (completions_ready(u) || has_work(u) || u->stop) {
		err = submit(u);
	} else if (busy && u->spin_ns > 0) {
		err = submit(u);
		if (err >= 0 && !spin(u))
			err = wait_for_events(u);
	} else {
		err = wait_for_events(u);
	}
	if (err == -ETIME || err == -EINTR || err == -EAGAIN || err == -EBUSY)
		err = 0;
	return err < 0 ? err : 0;
}

/* The thread that enables the ring is the one that may submit. liburing 2.3 declares a function for
 * it that its library does not have. */
static int ring_enable(struct uring *u)
{
	long err = syscall(SYS_io_uring_register, u->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS,
			   NULL, 0);

	return err < 0 ? -errno : 0;
}

int uring_run(struct uring *u)
{
	int err = 0;

	if (!u->enabled) {
		err = ring_enable(u);
		if (err < 0)
			return err;
		u->enabled = true;
		io_uring_register_ring_fd(&u->ring); /* saves a look-up; works without */
		event_arm(u);
		if (u->batch_wanted)
			batch_start(&u->batch);
	}
	while (!u->stop && err == 0) {
		bool busy;

		u->now_ns = 0;
		busy = run_completions(u) > 0;
		uring_timers_run(u);
		uring_shm_poll(u);
		for (unsigned i = 0; i < URING_ROUNDS_MAX && has_work(u); i++) {
			run_finished(u);
			run_tasks(u);
			run_kicked(u);
			busy = true;
		}
		err = turn_end(u, busy);
	}
	u->stop = false; /* a stop before the start counts, too */
	return err;
}

void uring_stop(struct uring *u)
{
	u->stop = true;
}

/* ---- life ---------------------------------------------------------------------------------- */

/*
 * Deferred task work runs only when we ask for completions, on our thread: fewer interruptions and
 * better batches. Each set of flags needs a newer kernel than the next, so we try.
 */
static int ring_init(struct uring *u, unsigned entries)
{
	static const unsigned flags[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
		IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
		0,
	};
	int err = -EINVAL;

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]) && err == -EINVAL; i++) {
		struct io_uring_params p = {
			.flags = flags[i] | IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE |
				 IORING_SETUP_CLAMP,
			.cq_entries = entries * 8,
		};

		err = io_uring_queue_init_params(entries, &u->ring, &p);
	}
	return err;
}

static void arena_register(struct uring *u, struct buf_pool *pool)
{
	struct iovec iov = {0};

	if (pool == NULL)
		return;
	buf_pool_arena(pool, &iov.iov_base, &iov.iov_len);
	/* Needs locked memory, which may be limited: then buffers are mapped for each operation. */
	if (iov.iov_len == 0 || io_uring_register_buffers(&u->ring, &iov, 1) < 0)
		return;
	u->arena = iov.iov_base;
	u->arena_len = iov.iov_len;
}

int uring_create(const struct uring_options *opt, struct uring **out)
{
	struct uring *u = calloc(1, sizeof(*u));
	int err = -ENOMEM;

	if (u == NULL)
		return -ENOMEM;
	u->env.ops = &uring_env_ops;
	u->tasks_tail = &u->tasks;
	u->kicked_tail = &u->kicked;
	u->finished_tail = &u->finished;
	u->event_op.done = event_done;
	u->spin_ns = (uint64_t)opt->spin_us * 1000;
	u->batch_wanted = opt->batch;
	u->batch.fd = -1;
	u->spin_pause_ns = SPIN_PAUSE_MIN_NS;
	u->timers = calloc(URING_TIMERS_MAX, sizeof(struct io_timer *));
	if (u->timers == NULL)
		goto fail;
	u->event_fd = eventfd(0, EFD_CLOEXEC);
	if (u->event_fd < 0) {
		err = -errno;
		goto fail;
	}
	err = ring_init(u, opt->entries == 0 ? URING_ENTRIES_DEFAULT : opt->entries);
	if (err < 0) {
		close(u->event_fd);
		goto fail;
	}
	uring_files_init(u);
	arena_register(u, opt->pool);
	*out = u;
	return 0;
fail:
	free(u->timers);
	free(u);
	return err;
}

void uring_destroy(struct uring *u)
{
	if (u == NULL)
		return;
	io_uring_queue_exit(&u->ring);
	close(u->event_fd);
	batch_end(&u->batch);
	uring_files_free(u);
	uring_disk_ios_free(u);
	free(u->timers);
	free(u);
}
