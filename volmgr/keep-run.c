/*
 * The keeper's process: the socket that the device connects to, the connection to volmgr that is
 * made again and again, and the end, which comes when the device has left or somebody says so.
 */
#include "config.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "addr.h"
#include "attach.h"
#include "keep.h"
#include "log.h"
#include "uring.h"

#include "banned.h"

#define POOL_BYTES     (6 * (size_t)KEEP_BYTES_MAX)
#define CONNECT_MS     10000u
#define SEND_MS	       600000u /* a device that takes no answer for so long never will */
#define AGAIN_FIRST_MS 20u /* first pause between two connections to volmgr; then twice as long */
#define AGAIN_MAX_MS   500u
#define SILENT_S       5 /* to a volmgr of another machine, when its address is on TCP */
#define SILENT_TRIES   3
#define UNSENT_MS      20000
#define REASONS_MAX    8

struct run {
	struct uring *u;
	struct env *env;
	struct keep *keep;
	struct addr address; /* volmgr's */
	const char *volume;
	struct io_timer again;
	unsigned pause_ms;
	uint64_t away_ns; /* since when volmgr is away; 0: it is there */
	unsigned reasons; /* that were told since then */
	char why[128];	  /* the last one */
	int ready_fd;	  /* who waits for the first connection; -1: nobody any more */
	bool ending;
	int status;
	struct uring_message term;
};

static struct run run; /* the signal handler reaches it */

static void run_connect(struct run *r);

/* One line to who started us: "ready", or why not. */
static void run_tell(struct run *r, const char *text)
{
	if (r->ready_fd < 0)
		return;
	dprintf(r->ready_fd, "%s\n", text);
	close(r->ready_fd);
	r->ready_fd = -1;
}

static void run_end(struct run *r, int status)
{
	r->status = status;
	r->ending = true;
	if (!keep_goodbye(r->keep))
		uring_stop(r->u);
}

static void run_again(struct run *r)
{
	uint64_t now = r->env->ops->now_ns(r->env);

	r->env->ops->timer_set(r->env, &r->again, now + r->pause_ms * NS_PER_MS);
	r->pause_ms = r->pause_ms * 2 < AGAIN_MAX_MS ? r->pause_ms * 2 : AGAIN_MAX_MS;
}

static void again_fired(struct io_timer *t)
{
	run_connect((struct run *)((char *)t - offsetof(struct run, again)));
}

/* ---- what the engine says ------------------------------------------------------------------- */

static void on_opened(void *ctx, bool again)
{
	struct run *r = ctx;
	uint64_t now = r->env->ops->now_ns(r->env);

	if (!again)
		run_tell(r, "ready");
	else
		log_info("volume %s: volmgr is back after %llu ms; %u requests waited, %u writes "
			 "are written again",
			 r->volume, (unsigned long long)((now - r->away_ns) / NS_PER_MS),
			 keep_waiting(r->keep), keep_kept(r->keep));
	r->away_ns = 0;
	r->pause_ms = AGAIN_FIRST_MS;
}

static void on_broken(void *ctx, int err, const char *why)
{
	struct run *r = ctx;

	if (why == NULL)
		why = "it said goodbye";
	if (r->ending) {
		uring_stop(r->u);
		return;
	}
	if (r->ready_fd >= 0) { /* the first one: who attaches hears of it, and nothing is kept */
		run_tell(r, why);
		run_end(r, 1);
		return;
	}
	if (r->away_ns == 0) {
		r->away_ns = r->env->ops->now_ns(r->env);
		r->reasons = 0;
		r->why[0] = '\0';
	}
	if (r->reasons < REASONS_MAX && strncmp(r->why, why, sizeof(r->why) - 1) != 0) {
		r->reasons++;
		snprintf(r->why, sizeof(r->why), "%s", why);
		log_warn("volume %s: no connection to volmgr: %s; requests wait until it is back",
			 r->volume, why);
	}
	run_again(r);
}

static void on_left(void *ctx)
{
	struct run *r = ctx;

	log_info("volume %s: the device has left", r->volume);
	run_end(r, 0);
}

static const struct keep_ops run_ops = {.opened = on_opened, .broken = on_broken, .left = on_left};

/* ---- connections ---------------------------------------------------------------------------- */

/* A machine that died says nothing: without this its connection would look well for ever. */
static void notice_silence(int fd)
{
	const struct {
		int level, option, value;
	} list[] = {
		{SOL_SOCKET, SO_KEEPALIVE, 1},
		{IPPROTO_TCP, TCP_NODELAY, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, SILENT_S},
		{IPPROTO_TCP, TCP_KEEPINTVL, SILENT_S},
		{IPPROTO_TCP, TCP_KEEPCNT, SILENT_TRIES},
		{IPPROTO_TCP, TCP_USER_TIMEOUT, UNSENT_MS},
	};

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		if (setsockopt(fd, list[i].level, list[i].option, &list[i].value, sizeof(int)) < 0)
			log_debug("setsockopt: %s", strerror(errno));
}

static void run_connected(void *arg, int fd)
{
	struct run *r = arg;
	struct stream *s;

	if (fd >= 0 && r->ending) {
		close(fd);
		return;
	}
	if (fd < 0) {
		on_broken(r, fd, strerror(-fd));
		return;
	}
	if (addr_port(&r->address) != 0)
		notice_silence(fd);
	s = uring_stream(r->u, fd, SEND_MS);
	if (s != NULL && keep_connected(r->keep, s) == 0)
		return;
	if (s != NULL)
		uring_stream_drop(s);
	on_broken(r, -ENOMEM, strerror(ENOMEM));
}

static void run_connect(struct run *r)
{
	if (!r->ending)
		uring_connect(r->u, &r->address.sa, r->address.len, CONNECT_MS, run_connected, r);
}

static void run_accepted(void *arg, int fd)
{
	struct run *r = arg;
	struct stream *s = uring_stream(r->u, fd, SEND_MS);

	if (s != NULL && keep_accepted(r->keep, s) != 0)
		uring_stream_drop(s);
}

/* ---- the process ---------------------------------------------------------------------------- */

static void term_posted(struct uring_message *m)
{
	log_info("volume %s: told to end", run.volume);
	run_end(&run, 0);
}

static void on_term(int sig)
{
	static volatile sig_atomic_t told;

	if (told++ == 0)
		uring_post(run.u, &run.term);
}

/* Whatever is missing is told to who waits; then the process ends. */
static const char *run_prepare(struct run *r, const struct attach_record *record,
			       const char *export, const char *path)
{
	struct buf_pool *pool = buf_pool_create(POOL_BYTES, 0);
	struct uring_options opt = {.pool = pool};
	struct addr a;
	const char *why = "out of memory";
	char text[ADDR_TEXT_MAX];
	int fd, err;

	if (pool == NULL || addr_parse(record->address, 0, &r->address, &why) != 0)
		return why;
	if (r->address.shared)
		return "volmgr serves no clients in shared memory";
	snprintf(text, sizeof(text), "unix:%.*s", (int)sizeof(text) - 6, path);
	if (addr_parse(text, 0, &a, &why) != 0 || (fd = addr_listen(&a, &why)) < 0)
		return why;
	err = uring_create(&opt, &r->u);
	if (err < 0)
		return strerror(-err);
	r->env = uring_env(r->u);
	r->keep = keep_create(&run_ops, r, r->env, pool, export, record->shared);
	if (r->keep == NULL || uring_listen(r->u, fd, run_accepted, r) == NULL)
		return "out of memory";
	return NULL;
}

int keep_run(const struct attach_record *record, const char *export, const char *path, int ready_fd)
{
	struct sigaction sa = {.sa_handler = on_term, .sa_flags = SA_RESTART};
	struct run *r = &run;
	const char *why;

	prctl(PR_SET_NAME, ATTACH_KEEPER_NAME, 0, 0, 0);
	log_init("weft-keep", LOG_LEVEL_INFO);
	r->volume = record->volume;
	r->ready_fd = ready_fd;
	r->pause_ms = AGAIN_FIRST_MS;
	r->again.fire = again_fired;
	r->term.fn = term_posted;
	why = run_prepare(r, record, export, path);
	if (why != NULL) {
		run_tell(r, why);
		return 1;
	}
	sigaction(SIGTERM, &sa, NULL);
	signal(SIGINT, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	run_connect(r);
	if (uring_run(r->u) < 0)
		r->status = 1;
	unlink(path);
	return r->status;
}
