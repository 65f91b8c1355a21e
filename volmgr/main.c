/*
 * volmgr: options, start and stop. Start order: secret, metadata, sockets (so that a refusal comes
 * before anything is touched), data threads, servers, volumes, and only then clients. Stop is the
 * same backwards: what was acknowledged is durable before the last thread ends.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api.h"
#include "command.h"
#include "conf.h"
#include "http.h"
#include "log.h"
#include "moving.h"
#include "offline.h"
#include "people.h"
#include "ready.h"
#include "records.h"
#include "secret.h"
#include "tidy.h"
#include "stats.h"
#include "route.h"
#include "volmgr.h"
#include "banned.h"

#define THREADS_DEFAULT	   2
#define FILES_WANTED	   8192
#define CACHE_MIN	   (64u << 20)
#define SCRUB_DAYS_DEFAULT 14
#define SCRUB_DAYS_MAX	   3650
#define REPLACE_AFTER_S	   600
#define REPLACE_AFTER_MAX  (365ull * 24 * 3600)

struct main_options {
	const char *tls_cert, *tls_key, *tagger;
	const char *dir, *secret, *socket, *www;
	const char *listen[LISTENERS_MAX];
	unsigned nlisten;
	const char *http;
	unsigned threads;
	uint64_t cache_bytes;
	unsigned spin_us;
	enum route_mode bpf;
	uint64_t scrub_days, replace_after_s;
	bool rebalance;
	uint64_t server_timeout_ms;
	bool check; /* compare, and serve nothing */
	int ready_fd;
	enum log_level level;
};

static struct main_options opts = {
	.dir = LOCALSTATEDIR "/lib/weft/volmgr",
	.secret = SYSCONFDIR "/weft/secret",
	.socket = "/run/weft/volmgr.sock",
	.www = PKGDATADIR "/www",
	.tagger = "/run/weft/tagger.sock",
	.http = "tcp:127.0.0.1:10880",
	.bpf = ROUTE_AUTO,
	.cache_bytes = CACHE_DEFAULT,
	.spin_us = URING_SPIN_US_DEFAULT,
	.scrub_days = SCRUB_DAYS_DEFAULT,
	.replace_after_s = REPLACE_AFTER_S,
	.rebalance = true,
	.server_timeout_ms = SERVER_TIMEOUT_MS,
	.ready_fd = -1,
	.level = LOG_LEVEL_INFO,
};

/* ---- options ------------------------------------------------------------------------------- */

static int set_text(const char **slot, const char *value)
{
	/* a config file's lines do not stay */
	*slot = strdup(value);
	return *slot != NULL ? 0 : -ENOMEM;
}

static int opt_dir(void *ctx, const char *value, const char **why)
{
	return set_text(&opts.dir, value);
}

static int opt_secret(void *ctx, const char *value, const char **why)
{
	return set_text(&opts.secret, value);
}

static int opt_socket(void *ctx, const char *value, const char **why)
{
	return set_text(&opts.socket, value);
}

static int opt_www(void *ctx, const char *value, const char **why)
{
	return set_text(&opts.www, value);
}

static int opt_http(void *ctx, const char *value, const char **why)
{
	return set_text(&opts.http, value);
}

static int opt_tagger(void *ctx, const char *value, const char **why)
{
	return set_text(&opts.tagger, value);
}

static int opt_tls_cert(void *ctx, const char *value, const char **why)
{
	return set_text(&opts.tls_cert, value);
}

static int opt_tls_key(void *ctx, const char *value, const char **why)
{
	return set_text(&opts.tls_key, value);
}

static int opt_listen(void *ctx, const char *value, const char **why)
{
	if (opts.nlisten == LISTENERS_MAX) {
		*why = "there are too many addresses to listen on";
		return -E2BIG;
	}
	return set_text(&opts.listen[opts.nlisten++], value);
}

static int opt_number(const char *value, uint64_t min, uint64_t max, uint64_t *out,
		      const char **why, const char *sentence)
{
	int err = conf_number(value, min, max, out);

	if (err != 0)
		*why = sentence;
	return err;
}

static int opt_threads(void *ctx, const char *value, const char **why)
{
	uint64_t n;
	int err = opt_number(value, 1, WORKERS_MAX, &n, why, "give a number from 1 to 16");

	if (err == 0)
		opts.threads = (unsigned)n;
	return err;
}

static int opt_bpf(void *ctx, const char *value, const char **why)
{
	static const char *const modes[] = {[ROUTE_AUTO] = "auto",
					    [ROUTE_REMOTE] = "remote",
					    [ROUTE_ALL] = "all",
					    [ROUTE_ON] = "on",
					    [ROUTE_OFF] = "off"};

	for (unsigned i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (strcmp(value, modes[i]) == 0) {
			opts.bpf = (enum route_mode)i;
			return 0;
		}
	*why = "choose auto, remote, all, on or off";
	return -EINVAL;
}

static int opt_spin(void *ctx, const char *value, const char **why)
{
	uint64_t n;
	int err = opt_number(value, 0, URING_SPIN_US_MAX, &n, why,
			     "give a number of microseconds from 0 to 10000");

	if (err == 0)
		opts.spin_us = (unsigned)n;
	return err;
}

static int opt_server_timeout(void *ctx, const char *value, const char **why)
{
	return opt_number(value, 100, 600000, &opts.server_timeout_ms, why,
			  "give a number of milliseconds from 100 to 600000");
}

static int opt_check(void *ctx, const char *value, const char **why)
{
	opts.check = true;
	return 0;
}

static int opt_scrub_interval(void *ctx, const char *value, const char **why)
{
	return opt_number(value, 0, SCRUB_DAYS_MAX, &opts.scrub_days, why,
			  "give a number of days from 0 (never) to 3650");
}

static int opt_replace_after(void *ctx, const char *value, const char **why)
{
	return opt_number(value, 0, REPLACE_AFTER_MAX, &opts.replace_after_s, why,
			  "give a number of seconds, 0: never");
}

static int opt_rebalance(void *ctx, const char *value, const char **why)
{
	opts.rebalance = strcmp(value, "on") == 0;
	if (opts.rebalance || strcmp(value, "off") == 0)
		return 0;
	*why = "choose on or off";
	return -EINVAL;
}

static int opt_cache(void *ctx, const char *value, const char **why)
{
	int err = conf_size(value, &opts.cache_bytes);

	if (err == 0 && opts.cache_bytes >= CACHE_MIN)
		return 0;
	*why = "give a size of at least 64M";
	return err != 0 ? err : -ERANGE;
}

static int opt_ready_fd(void *ctx, const char *value, const char **why)
{
	uint64_t n;
	int err = opt_number(value, 3, INT_MAX, &n, why, "give an open file descriptor from 3 on");

	if (err == 0)
		opts.ready_fd = (int)n;
	return err;
}

static int opt_log_level(void *ctx, const char *value, const char **why)
{
	if (log_level_from_name(value, &opts.level))
		return 0;
	*why = "choose error, warn, info or debug";
	return -EINVAL;
}

static const struct conf_option options[] = {
	{"dir", "DIR", "folder of the metadata", false, opt_dir},
	{"secret", "FILE", "the cluster's secret (volctl cluster init makes it)", false,
	 opt_secret},
	{"listen", "ADDR", "accept NBD clients here; may be repeated (tcp:127.0.0.1:10809)", false,
	 opt_listen},
	{"socket", "PATH", "Unix socket for volctl", false, opt_socket},
	{"http", "ADDR", "web page and API (tcp:127.0.0.1:10880), or none", false, opt_http},
	{"tagger", "PATH", "tagger's Unix socket (/run/weft/tagger.sock)", false, opt_tagger},
	{"tls-cert", "FILE", "certificate chain (PEM): the web page then speaks HTTPS only", false,
	 opt_tls_cert},
	{"tls-key", "FILE", "its key (PEM; the certificate's file)", false, opt_tls_key},
	{"www", "DIR", "files of the web page", false, opt_www},
	{"threads", "N", "data threads (2, or as many as there are cores)", false, opt_threads},
	{"cache", "SIZE", "limit of all payload buffers together (256M)", false, opt_cache},
	{"bpf", "MODE",
	 "reads past volmgr by eBPF: auto, remote, all, off, or on: do not start without it (auto)",
	 false, opt_bpf},
	{"spin-us", "N", "poll up to this many microseconds for work before sleeping (40)", false,
	 opt_spin},
	{"server-timeout", "MS", "a server that is silent for so long counts as gone (2000)", false,
	 opt_server_timeout},
	{"check", NULL, "compare metadata with what servers have, and serve nothing", true,
	 opt_check},
	{"scrub-interval", "DAYS", "scrub each volume this often (14); 0: only on demand", false,
	 opt_scrub_interval},
	{"replace-after", "SECONDS",
	 "a server that is away so long is replaced by others (600); 0: never", false,
	 opt_replace_after},
	{"attach-command", "COMMAND", "attaches the volume %v on this machine, for the web page",
	 false, command_set_attach},
	{"detach-command", "COMMAND", "detaches it", false, command_set_detach},
	{"stop-command", "COMMAND", "stops the servers of the host %h", false, command_set_stop},
	{"start-command", "COMMAND", "starts them", false, command_set_start},
	{"off-command", "COMMAND", "turns the host %h off", false, command_set_off},
	{"wake-command", "COMMAND", "wakes it", false, command_set_wake},
	{"rebalance", "on|off", "move shards from full servers to empty ones (on)", false,
	 opt_rebalance},
	{"ready-fd", "N", "write the addresses to this file descriptor when serving", true,
	 opt_ready_fd},
	{"log-level", "L", "error, warn, info or debug", false, opt_log_level},
	{0},
};

static const struct conf_program program = {
	.name = "volmgr",
	.synopsis = "volmgr [--dir DIR] [--secret FILE] [--listen ADDR]... [--socket PATH] [--http "
		    "ADDR]",
	.summary =
		"Serves erasure-coded volumes over NBD; their shards are on the cluster's servers.",
	.options = options,
};

/* ---- what is running ----------------------------------------------------------------------- */

static struct cluster cluster;
static struct http_server *http_local, *http_public;
static struct http_tls *tls;
static struct control_timer *stop_timer;
static int exit_status;
static int listen_fds[LISTENERS_MAX];
static unsigned nlisten_fds;
static int socket_fd = -1, http_fd = -1;
static char http_addr[ADDR_TEXT_MAX];

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_error("%s", text);
	exit(1);
}

/* ---- stop ---------------------------------------------------------------------------------- */

static void stop_finished(void)
{
	control_timer_free(stop_timer);
	http_server_free(http_local);
	http_server_free(http_public);
	http_tls_free(tls);
	control_stop(cluster.control);
}

static void worker_has_quit(struct task *t)
{
	static unsigned quit;

	free(t);
	if (++quit == cluster.nworkers)
		stop_finished();
}

static void stop_workers(void)
{
	for (unsigned i = 0; i < cluster.nworkers; i++) {
		struct task *t = mem_must(sizeof(*t));

		t->run = worker_quit_run;
		t->done = worker_has_quit;
		worker_task(cluster.workers[i], t);
	}
}

/* The last word of the servers' logs is to be remembered, too. */
static void stop_heard(struct task *t)
{
	ages_heard(&cluster, (struct peer_stats *)t);
	ages_end(&cluster);
	free(t);
	stop_workers();
}

static void volumes_stopped(void *arg, unsigned failed)
{
	struct peer_stats *stats = mem_must(sizeof(*stats));

	if (failed > 0)
		exit_status = 1;
	stats->task.run = peer_stats_run;
	stats->task.done = stop_heard;
	worker_task(cluster.workers[0], &stats->task);
}

static void stop_late(void *arg)
{
	log_error("not everything ended within %d s: servers do not answer. What was not flushed "
		  "may be "
		  "lost",
		  STOP_TIMEOUT_MS / 1000);
	unlink(opts.socket);
	_exit(1);
}

static void listeners_closed(struct task *t)
{
	free(t);
	volumes_stop_all(&cluster, volumes_stopped, NULL);
}

static void close_listeners_run(struct task *t)
{
	front_close_listeners(t->worker);
	task_finish(t, 0);
}

static void stop_signal(void *arg, int signo)
{
	struct task *t;

	if (cluster.stopping) {
		log_warn("stopped at once by a second signal");
		unlink(opts.socket);
		_exit(1);
	}
	log_info("stopping");
	ready_stopping();
	pthread_mutex_lock(&cluster.lock);
	cluster.stopping = true;
	pthread_mutex_unlock(&cluster.lock);
	health_stop();
	scrub_end();
	tidy_end();
	moving_end();
	stats_stop(&cluster);
	stop_timer = control_timer_start(cluster.control, STOP_TIMEOUT_MS, 0, stop_late, NULL);
	t = mem_must(sizeof(*t));
	t->run = close_listeners_run;
	t->done = listeners_closed;
	worker_task(cluster.workers[0], t);
}

/* ---- start: secret, metadata --------------------------------------------------------------- */

static void start_secret(void)
{
	const char *why = NULL;

	if (secret_load(opts.secret, cluster.secret, &why) != 0)
		die("%s: %s", opts.secret, why);
	secret_cluster(cluster.secret, cluster.id);
}

static int make_parents(const char *path)
{
	char text[PATH_MAX];
	size_t len = strlen(path);

	if (len == 0 || len >= sizeof(text))
		return -ENAMETOOLONG;
	memcpy(text, path, len + 1);
	for (char *p = text + 1; *p != '\0'; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(text, 0755) < 0 && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return 0;
}

/* The metadata of one cluster is never used with the secret of another. */
static void start_identity(void)
{
	char id[UUID_TEXT_MAX];
	struct meta_batch *b;
	void *value;
	size_t len;
	int err = cluster.meta->ops->get(cluster.meta, "1/cluster", &value, &len);

	uuid_format(cluster.id, id);
	if (err == 0) {
		if (len != strlen(id) || memcmp(value, id, len) != 0)
			die("%s belongs to another cluster: its secret is not %s. Give the right "
			    "--secret, "
			    "or an empty --dir",
			    opts.dir, opts.secret);
		free(value);
		return;
	}
	if (err != -ENOENT)
		die("%s: the metadata cannot be read: %s", opts.dir, strerror(-err));
	b = meta_batch_new();
	if (b == NULL)
		die("out of memory");
	meta_batch_put(b, "1/cluster", id, strlen(id));
	err = meta_commit_wait(cluster.meta, b);
	if (err != 0)
		die("%s: the metadata cannot be written: %s", opts.dir, strerror(-err));
}

static void start_meta(void)
{
	const char *why = NULL;
	int err = make_parents(opts.dir);

	if (err != 0)
		die("%s: cannot make this folder: %s", opts.dir, strerror(-err));
	if (meta_leveldb_open(opts.dir, &cluster.meta, &why) != 0)
		die("%s", why);
	start_identity();
}

/* ---- start: sockets ------------------------------------------------------------------------ */

static int listen_on(const char *text, unsigned port, char *bound)
{
	struct addr a;
	const char *why = NULL;
	int fd;

	if (addr_parse(text, port, &a, &why) != 0)
		die("%s: %s", text, why);
	if (a.shared)
		die("%s: clients of volumes speak NBD over tcp: or unix:; shm: is for storage "
		    "servers",
		    text);
	fd = addr_listen(&a, &why);
	if (fd < 0)
		die("%s: %s", text, why);
	addr_format(&a, bound);
	return fd;
}

static void listen_inherited(int n)
{
	for (int i = 0; i < n && cluster.nlisten < LISTENERS_MAX; i++) {
		struct addr a = {.len = sizeof(a.sa)};

		if (getsockname(3 + i, (struct sockaddr *)&a.sa, &a.len) < 0)
			die("the socket %d that was passed to us cannot be used: %s", 3 + i,
			    strerror(errno));
		addr_format(&a, cluster.listen[cluster.nlisten++]);
		listen_fds[nlisten_fds++] = 3 + i;
	}
}

static void start_sockets(void)
{
	int inherited = addr_inherited();
	char text[ADDR_TEXT_MAX];
	mode_t mask;

	if (inherited > 0)
		listen_inherited(inherited);
	else if (opts.nlisten == 0)
		opts.listen[opts.nlisten++] = "tcp:127.0.0.1:10809";
	for (unsigned i = 0; i < opts.nlisten && cluster.nlisten < LISTENERS_MAX; i++)
		listen_fds[nlisten_fds++] =
			listen_on(opts.listen[i], 10809, cluster.listen[cluster.nlisten++]);
	if (make_parents(opts.socket) != 0)
		die("%s: cannot make its folder", opts.socket);
	if ((size_t)snprintf(text, sizeof(text), "unix:%s", opts.socket) >= sizeof(text))
		die("%s: this path is too long", opts.socket);
	mask = umask(0177); /* whoever may connect there may delete volumes */
	socket_fd = listen_on(text, 0, text);
	umask(mask);
	if (strcmp(opts.http, "none") != 0)
		http_fd = listen_on(opts.http, 10880, http_addr);
}

/* ---- start: the rest ----------------------------------------------------------------------- */

/* Clients are told from other connections by the port that they connect to. */
static void start_routes(void)
{
	cluster.bpf = route_open(opts.bpf, &cluster.bpf_why, &cluster.bpf_remote_why);
	cluster.bpf_always = opts.bpf == ROUTE_ALL;
	if (cluster.bpf == NULL && opts.bpf == ROUTE_ON)
		die("--bpf on: %s", cluster.bpf_why);
	for (unsigned i = 0; i < nlisten_fds && cluster.bpf != NULL; i++) {
		struct addr a = {.len = sizeof(a.sa)};
		uint16_t port = 0;

		if (getsockname(listen_fds[i], (struct sockaddr *)&a.sa, &a.len) == 0)
			port = addr_port(&a);
		if (port != 0)
			(void)bpf_route_port(cluster.bpf, port, true);
	}
}

static void start_workers(void)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned n = opts.threads;

	if (n == 0)
		n = cores < THREADS_DEFAULT ? 1 : THREADS_DEFAULT;
	for (unsigned i = 0; i < n; i++) {
		int err = worker_start(&cluster, i, opts.cache_bytes / n, opts.spin_us);

		if (err == -ENOSYS || err == -EPERM)
			die("the kernel has no io_uring, or forbids it (sysctl "
			    "kernel.io_uring_disabled)");
		if (err != 0)
			die("data thread %u cannot be started: %s", i, strerror(-err));
		cluster.nworkers++;
	}
}

static void front_listening(struct task *t)
{
	if (t->err != 0)
		log_error("cannot listen: %s", strerror(-t->err));
	free(t);
}

static void start_front(void)
{
	for (unsigned i = 0; i < nlisten_fds; i++) {
		struct front_listen *fl = mem_must(sizeof(*fl));

		fl->fd = listen_fds[i];
		fl->task.run = front_listen_run;
		fl->task.done = front_listening;
		worker_task(cluster.workers[0], &fl->task);
	}
}

/* Nobody else hears what goes over this address. */
static bool http_is_near(void)
{
	struct addr a;
	const char *why;

	return addr_parse(http_addr, 0, &a, &why) == 0 && addr_is_local(&a);
}

static void start_http(void)
{
	struct event_base *base = control_base(cluster.control);
	const char *why = NULL;

	http_stream_path(API_UPLOAD);
	http_local = http_serve(base, socket_fd, api_handle_local, &cluster);
	if (http_fd >= 0)
		http_public = http_serve(base, http_fd, api_handle_public, &cluster);
	api_www_load(opts.www);
	if (opts.tls_cert != NULL) {
		tls = http_tls_load(opts.tls_cert,
				    opts.tls_key != NULL ? opts.tls_key : opts.tls_cert, &why);
		if (tls == NULL)
			die("%s: %s", opts.tls_cert, why);
	}
	if (http_fd >= 0)
		snprintf(cluster.web, sizeof(cluster.web), "%s://%s",
			 tls != NULL ? "https" : "http",
			 strncmp(http_addr, "tcp:", 4) == 0 ? http_addr + 4 : http_addr);
	if (http_local == NULL || (http_fd >= 0 && http_public == NULL))
		die("out of memory");
	if (http_public != NULL)
		http_server_body_max(http_public, API_BODY_MAX);
	if (http_public != NULL && tls != NULL)
		http_server_tls(http_public, tls);
	/* what a certificate of a well-known authority costs today is a command, so say it */
	if (http_public != NULL && tls == NULL && !http_is_near())
		log_warn("passwords cross the network in the clear: give volmgr a certificate with "
			 "--tls-cert");
}

static void start_people(void)
{
	const char *why = NULL;

	if (people_load(&cluster, &why) != 0)
		die("%s: %s", opts.dir, why);
	if (hasher_start(&cluster) != 0)
		die("a thread cannot be started");
	events_note(&cluster, "", "volmgr.started", "", "%s", PACKAGE_VERSION);
}

static void start_cluster(void)
{
	const char *why = NULL;

	if (servers_load(&cluster, &why) != 0)
		die("%s: %s", opts.dir, why);
	for (unsigned i = 0; i < cluster.nworkers; i++)
		servers_connect(&cluster, cluster.workers[i]);
	if (volumes_load(&cluster, &why) != 0)
		die("%s: %s", opts.dir, why);
}

static void tell_ready(void)
{
	for (unsigned i = 0; i < cluster.nlisten; i++) {
		log_info("NBD clients are served on %s", cluster.listen[i]);
		ready_line(opts.ready_fd, "listen", cluster.listen[i]);
	}
	if (http_fd >= 0) {
		log_info("the web page is on %s/", cluster.web);
		ready_line(opts.ready_fd, "http", http_addr);
	}
	ready_line(opts.ready_fd, "socket", opts.socket);
	ready_done(opts.ready_fd);
}

/* A descriptor for each client, each server and thread, and some for HTTP and the metadata. */
static void raise_limits(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0 || lim.rlim_cur >= FILES_WANTED)
		return;
	lim.rlim_cur = lim.rlim_max < FILES_WANTED ? lim.rlim_max : FILES_WANTED;
	if (setrlimit(RLIMIT_NOFILE, &lim) < 0)
		log_warn("no more than %llu files may be open", (unsigned long long)lim.rlim_cur);
}

static void init_cluster(void)
{
	pthread_mutex_init(&cluster.lock, NULL);
	cluster.started_s = clock_ns() / NS_PER_S;
	cluster.tagger = opts.tagger;
	cluster.server_timeout_ms = opts.server_timeout_ms;
	if (getrandom(&cluster.seed, sizeof(cluster.seed), 0) != sizeof(cluster.seed) ||
	    cluster.seed == 0)
		cluster.seed = clock_ns() | 1;
	if (getrandom(&cluster.owner, sizeof(cluster.owner), 0) != sizeof(cluster.owner))
		cluster.owner = cluster.seed; /* 0: nobody is refused for it */
	if (ec_best_code() == EC_RS_VAND)
		log_warn("only the slow erasure code rs_vand is here: install libisal2 for one "
			 "that is 20 "
			 "times faster");
}

/* volmgr --check. */
static int main_check(void)
{
	const char *why = NULL;
	int status;

	if (access(opts.dir, F_OK) < 0)
		die("%s: %s", opts.dir, strerror(errno));
	start_secret();
	start_meta();
	if (control_create(&cluster.control) != 0)
		die("out of memory");
	start_workers();
	if (servers_load(&cluster, &why) != 0)
		die("%s: %s", opts.dir, why);
	for (unsigned i = 0; i < cluster.nworkers; i++)
		servers_connect(&cluster, cluster.workers[i]);
	status = offline_check(&cluster);
	for (unsigned i = 0; i < cluster.nworkers; i++)
		worker_join(cluster.workers[i]);
	cluster.meta->ops->close(cluster.meta);
	for (unsigned i = 0; i < cluster.nworkers; i++)
		worker_free(cluster.workers[i]);
	control_destroy(cluster.control);
	return status;
}

int main(int argc, char **argv)
{
	int first;

	log_init("volmgr", LOG_LEVEL_INFO);
	first = conf_parse(&program, argc, argv);
	if (first < argc) {
		fprintf(stderr,
			"volmgr: it takes no arguments, only options: %s\n"
			"Try \"volmgr --help\".\n",
			argv[first]);
		return 2;
	}
	log_init("volmgr", opts.level);
	signal(SIGPIPE, SIG_IGN);
	raise_limits();
	init_cluster();
	if (opts.check)
		return main_check();
	start_secret();
	start_meta();
	start_sockets();
	if (control_create(&cluster.control) != 0 ||
	    control_signal(cluster.control, SIGTERM, stop_signal, NULL) != 0 ||
	    control_signal(cluster.control, SIGINT, stop_signal, NULL) != 0)
		die("out of memory");
	start_people();
	start_routes();
	start_workers();
	start_cluster();
	health_start(&cluster);
	scrub_start(&cluster, opts.scrub_days * 24 * 3600);
	tidy_start(&cluster);
	moving_start(&cluster, opts.replace_after_s, opts.rebalance);
	stats_start(&cluster);
	start_http();
	volumes_when_open(&cluster, start_front);
	tell_ready();
	control_run(cluster.control);
	for (unsigned i = 0; i < cluster.nworkers; i++)
		worker_join(cluster.workers[i]);
	hasher_stop();
	cluster.meta->ops->close(cluster.meta);
	people_free(&cluster);
	api_www_free();
	for (unsigned i = 0; i < cluster.nworkers; i++)
		worker_free(cluster.workers[i]);
	if (cluster.bpf != NULL)
		bpf_route_close(cluster.bpf);
	control_destroy(cluster.control);
	unlink(opts.socket);
	log_info("stopped");
	return exit_status;
}
