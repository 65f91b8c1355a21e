/*
 * Worker processes: start, send, receive, end. That a process is gone is learned from its pidfd; a
 * closed socket only says that it should be.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "tagger/pool-internal.h"

#include "banned.h"

#define PACKETS_AT_ONCE 16
#define DESTROY_WAIT_MS 2000
#define ENVIRONMENT_MAX 16

static const char *const programs[WORK_CLASSES] = {
	[WORK_CLASS_TEXT] = "extract-text",
	[WORK_CLASS_DOC] = "extract-doc",
	[WORK_CLASS_MEDIA] = "extract-media",
};

/* Beyond this a worker cannot allocate. OCR and video need more than text. */
static const uint64_t memory_max[WORK_CLASSES] = {
	[WORK_CLASS_TEXT] = 128ull << 20,
	[WORK_CLASS_DOC] = 256ull << 20,
	[WORK_CLASS_MEDIA] = 384ull << 20,
};

/* ---- start ------------------------------------------------------------------------------------
 */

/* No more than a worker needs: what is in tagger's environment may be secret. */
static void environment_fill(char **env)
{
	static const char *const fixed[] = {"LC_ALL=C.UTF-8", "OMP_THREAD_LIMIT=1",
					    "MALLOC_ARENA_MAX=1", "G_SLICE=always-malloc"};
	static const char *const passed[] = {
		"ASAN_OPTIONS=", "UBSAN_OPTIONS=",   "LSAN_OPTIONS=",
		"TSAN_OPTIONS=", "TESSDATA_PREFIX=", "WEFT_WORKER_LOG="};
	size_t n = 0;

	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		env[n++] = (char *)fixed[i];
	for (char **e = environ; *e != NULL; e++)
		for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++)
			if (strncmp(*e, passed[i], strlen(passed[i])) == 0 &&
			    n < ENVIRONMENT_MAX - 1)
				env[n++] = *e;
	env[n] = NULL;
}

static int spawn_actions(posix_spawn_file_actions_t *actions, int sock)
{
	int res = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);

	if (res == 0)
		res = posix_spawn_file_actions_addopen(actions, 1, "/dev/null", O_WRONLY, 0);
	/* what libraries say about broken files is nothing for a log */
	if (res == 0 && getenv("WEFT_WORKER_LOG") == NULL)
		res = posix_spawn_file_actions_addopen(actions, 2, "/dev/null", O_WRONLY, 0);
	if (res == 0)
		res = posix_spawn_file_actions_adddup2(actions, sock, WORK_FD);
	if (res == 0)
		res = posix_spawn_file_actions_addclosefrom_np(actions, WORK_FD + 1);
	return -res;
}

static int spawn(struct pool *p, enum work_class class, int sock, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	char path[4096], memory[32], *env[ENVIRONMENT_MAX];
	char *argv[] = {path, memory, NULL};
	sigset_t none, all;
	int res;

	res = snprintf(path, sizeof(path), "%s/%s", p->dir, programs[class]);
	if (res < 0 || (size_t)res >= sizeof(path))
		return -ENAMETOOLONG;
	snprintf(memory, sizeof(memory), "%llu",
		 (unsigned long long)(p->config.memory_max_bytes != 0 ? p->config.memory_max_bytes
								      : memory_max[class]));
	environment_fill(env);
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawn_file_actions_init(&actions);
	res = spawn_actions(&actions, sock);
	if (res == 0)
		res = -posix_spawn(pid, path, &actions, &attr, argv, env);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	if (res < 0 && p->starts_failed[class] == 0)
		log_error("cannot start %s: %s", path, strerror(-res));
	return res;
}

static void worker_readable(void *arg);
static void worker_died(void *arg);

/* Of a process that exists and nothing else. */
static int worker_open(struct pool_worker *w)
{
	w->pidfd = pidfd_open(w->pid, 0);
	if (w->pidfd < 0)
		return -errno;
	fcntl(w->fd, F_SETFL, O_NONBLOCK);
	w->watch = control_watch_start(w->pool->control, w->fd, 0, worker_readable, w);
	w->death = control_watch_start(w->pool->control, w->pidfd, 0, worker_died, w);
	return w->watch != NULL && w->death != NULL ? 0 : -ENOMEM;
}

struct pool_worker *pool_worker_start(struct pool *p, enum work_class class, int *err)
{
	struct pool_worker *w = calloc(1, sizeof(*w));
	int pair[2];

	*err = -ENOMEM;
	if (w == NULL)
		return NULL;
	if (p->n_workers == POOL_WORKERS_MAX ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		*err = p->n_workers == POOL_WORKERS_MAX ? -EAGAIN : -errno;
		free(w);
		return NULL;
	}
	w->pool = p;
	w->class = class;
	w->fd = pair[0];
	w->pidfd = -1;
	w->since_ms = pool_now_ms();
	*err = spawn(p, class, pair[1], &w->pid);
	close(pair[1]);
	if (*err == 0) {
		p->workers[p->n_workers++] = w;
		*err = worker_open(w);
		if (*err == 0)
			return w;
		pool_worker_destroy(w);
		return NULL;
	}
	close(w->fd);
	free(w);
	return NULL;
}

/* ---- requests and answers ---------------------------------------------------------------------
 */

int pool_worker_send(struct pool_worker *w, struct job *job)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {&job->request, sizeof(job->request)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.buf,
			     .msg_controllen = sizeof(control.buf)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	if (w->n_jobs == POOL_DEPTH_MAX || w->end != END_NONE)
		return -EAGAIN;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &job->fd, sizeof(int));
	/* a worker that is gone is told by its pidfd */
	if (sendmsg(w->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return -EAGAIN;
	if (w->n_jobs == 0)
		w->since_ms = pool_now_ms();
	w->jobs[w->n_jobs++] = job;
	return 0;
}

/* Adds a packet's payload to the answer of jobs[0]. */
static bool answer_add(struct pool_worker *w, const uint8_t *data, size_t len)
{
	size_t max = w->jobs[0]->done_picture != NULL ? POOL_PICTURE_MAX : WORK_ANSWER_MAX;

	if (w->answer_len + len > max)
		return false;
	if (len == 0)
		return true;
	if (w->answer_len + len > w->answer_cap) {
		size_t cap = w->answer_len + len + WORK_PAYLOAD_MAX;
		uint8_t *grown = realloc(w->answer, cap);

		if (grown == NULL)
			return false;
		w->answer = grown;
		w->answer_cap = cap;
	}
	memcpy(w->answer + w->answer_len, data, len);
	w->answer_len += len;
	return true;
}

/* One packet. False: no worker that is itself says that. */
static bool worker_packet(struct pool_worker *w, const uint8_t *packet, size_t len)
{
	struct work_answer head;

	if (len < sizeof(head))
		return false;
	memcpy(&head, packet, sizeof(head));
	if (head.magic != WORK_MAGIC || head.kind >= WORK_KINDS || head.len != len - sizeof(head))
		return false;
	if (head.kind == WORK_READY) {
		if (w->ready || head.len != 0)
			return false;
		w->ready = true;
		w->since_ms = pool_now_ms();
		w->pool->starts_failed[w->class] = 0;
		return true;
	}
	if (!w->ready || w->n_jobs == 0 || head.id != w->jobs[0]->request.id ||
	    !answer_add(w, packet + sizeof(head), head.len))
		return false;
	return head.more != 0 || pool_answer(w, head.kind);
}

/* Takes what is there. False: nothing more will come. */
static bool worker_receive(struct pool_worker *w, unsigned int packets)
{
	struct pool *p = w->pool;

	for (unsigned int i = 0; i < packets; i++) {
		ssize_t n = recv(w->fd, p->packet, sizeof(p->packet), MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		if (n == 0)
			return false;
		if (!worker_packet(w, p->packet, (size_t)n)) {
			pool_worker_kill(w, END_LIED);
			return false;
		}
	}
	return true;
}

static void worker_readable(void *arg)
{
	struct pool_worker *w = arg;
	struct pool *p = w->pool;

	if (!worker_receive(w, PACKETS_AT_ONCE)) {
		/* it must be about to go, and if it is not, it must go */
		pool_worker_kill(w, w->end);
		control_watch_free(w->watch);
		w->watch = NULL;
	}
	pool_dispatch(p);
}

/* ---- end --------------------------------------------------------------------------------------
 */

void pool_worker_kill(struct pool_worker *w, enum worker_end end)
{
	if (w->end == END_NONE)
		w->end = end;
	kill(w->pid, SIGKILL);
}

void pool_worker_retire(struct pool_worker *w)
{
	assert(w->n_jobs == 0);
	if (w->end != END_NONE)
		return;
	w->end = END_RETIRED;
	/* it reads the end of requests and exits */
	shutdown(w->fd, SHUT_WR);
}

static void worker_why(const struct pool_worker *w, int status, char *why, size_t cap)
{
	struct pool_stats *stats = &w->pool->stats;

	if (w->end == END_TIME) {
		stats->killed_time++;
		snprintf(why, cap, "it takes too long");
	} else if (w->end == END_LIED) {
		stats->killed_sandbox++;
		snprintf(why, cap, "the worker that read it gave no sense");
	} else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) {
		stats->killed_sandbox++;
		snprintf(why, cap, "the worker that read it did what it must not");
	} else if (WIFSIGNALED(status)) {
		stats->died++;
		snprintf(why, cap, "the worker that read it crashed: %s",
			 strsignal(WTERMSIG(status)));
	} else {
		stats->died++;
		snprintf(why, cap, "the worker that read it gave up with status %d",
			 WEXITSTATUS(status));
	}
}

static void worker_forget(struct pool_worker *w)
{
	struct pool *p = w->pool;
	unsigned int i = 0;

	while (p->workers[i] != w)
		i++;
	p->workers[i] = p->workers[--p->n_workers];
	control_watch_free(w->watch);
	control_watch_free(w->death);
	close(w->fd);
	if (w->pidfd >= 0)
		close(w->pidfd);
	free(w->answer);
	free(w);
}

static void worker_died(void *arg)
{
	struct pool_worker *w = arg;
	struct pool *p = w->pool;
	char why[EXTRACT_WHY_MAX];
	unsigned int first = 0;
	int status = 0;

	/* what it said before its end counts */
	if (w->end == END_NONE || w->end == END_TIME)
		worker_receive(w, UINT32_MAX);
	if (waitpid(w->pid, &status, WNOHANG) == 0)
		return;
	if (w->n_jobs > 0 && w->ready) {
		worker_why(w, status, why, sizeof(why));
		pool_fail(p, w->jobs[0], why);
		first = 1;
	} else if (!w->ready) {
		pool_start_failed(p, w->class);
		log_error("%s ended before it was ready (%s %d)", programs[w->class],
			  WIFSIGNALED(status) ? "signal" : "status",
			  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	}
	for (unsigned int i = w->n_jobs; i-- > first;)
		pool_give_back(p, w->jobs[i], w->class);
	worker_forget(w);
	pool_dispatch(p);
}

void pool_worker_destroy(struct pool_worker *w)
{
	struct pollfd poll_death = {.fd = w->pidfd, .events = POLLIN};

	kill(w->pid, SIGKILL);
	/* one that hangs in the kernel is left to init */
	if (w->pidfd >= 0)
		poll(&poll_death, 1, DESTROY_WAIT_MS);
	waitpid(w->pid, NULL, w->pidfd >= 0 ? WNOHANG : 0);
	worker_forget(w);
}

uint64_t pool_worker_resident(const struct pool_worker *w)
{
	char path[64], text[128];
	unsigned long long size, resident = 0;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)w->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	if (sscanf(text, "%llu %llu", &size, &resident) != 2)
		return 0;
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}
