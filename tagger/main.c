/*
 * tagger: options, start and stop. Start order: the tree, its index, sockets, the watch, workers,
 * and then the first walk, so that no change falls between walk and watch.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "addr.h"
#include "conf.h"
#include "ready.h"
#include "tagger/bin.h"
#include "tagger/cli.h"
#include "tagger/tagger.h"
#include "banned.h"

#define PROGRESS_MS  1000
#define FILES_WANTED 4096

static struct main_options {
	const char *index, *socket, *listen, *token_file, *cache, *workers_dir;
	unsigned workers, bin_days;
	bool once, speech, no_ocr, no_prefetch, json;
	enum watch_how how;
	uint64_t limit;
	int ready_fd;
	enum log_level level;
} opts = {.limit = 20, .bin_days = BIN_DAYS, .ready_fd = -1, .level = LOG_LEVEL_INFO};

static struct tagger tagger;
static int exit_status;
static struct control_timer *progress_timer, *upload_timer;

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

/* ---- options ------------------------------------------------------------------------------- */

static int set_text(const char **slot, const char *value)
{
	free((char *)*slot); /* given twice */
	*slot = strdup(value);
	return *slot != NULL ? 0 : -ENOMEM;
}

static int opt_index(void *ctx, const char *value, const char **why)
{
	return set_text(&opts.index, value);
}

static int opt_cache(void *ctx, const char *value, const char **why)
{
	return set_text(&opts.cache, value);
}

static int opt_socket(void *ctx, const char *value, const char **why)
{
	return set_text(&opts.socket, value);
}

static int opt_listen(void *ctx, const char *value, const char **why)
{
	return set_text(&opts.listen, value);
}

static int opt_token(void *ctx, const char *value, const char **why)
{
	return set_text(&opts.token_file, value);
}

static int opt_workers_dir(void *ctx, const char *value, const char **why)
{
	return set_text(&opts.workers_dir, value);
}

static int opt_once(void *ctx, const char *value, const char **why)
{
	opts.once = true;
	return 0;
}

static int opt_speech(void *ctx, const char *value, const char **why)
{
	opts.speech = true;
	return 0;
}

static int opt_no_ocr(void *ctx, const char *value, const char **why)
{
	opts.no_ocr = true;
	return 0;
}

static int opt_no_prefetch(void *ctx, const char *value, const char **why)
{
	opts.no_prefetch = true;
	return 0;
}

static int opt_json(void *ctx, const char *value, const char **why)
{
	opts.json = true;
	return 0;
}

static int opt_workers(void *ctx, const char *value, const char **why)
{
	uint64_t n;
	int err = conf_number(value, 1, POOL_WORKERS_MAX, &n);

	*why = "give a number from 1 to 16";
	if (err == 0)
		opts.workers = (unsigned)n;
	return err;
}

static int opt_bin_days(void *ctx, const char *value, const char **why)
{
	uint64_t n;
	int err = conf_number(value, 0, BIN_DAYS_MAX, &n);

	*why = "give a number of days from 0 to 3650";
	if (err == 0)
		opts.bin_days = (unsigned)n;
	return err;
}

static int opt_limit(void *ctx, const char *value, const char **why)
{
	*why = "give a number from 1 to 1000";
	return conf_number(value, 1, QUERY_LIMIT_MAX, &opts.limit);
}

static int opt_watch(void *ctx, const char *value, const char **why)
{
	static const char *const names[] = {"auto", "fanotify", "inotify", "periodic"};

	for (unsigned i = 0; i < 4; i++)
		if (strcmp(value, names[i]) == 0) {
			opts.how = (enum watch_how)i;
			return 0;
		}
	*why = "choose auto, fanotify, inotify or periodic";
	return -EINVAL;
}

static int opt_ready_fd(void *ctx, const char *value, const char **why)
{
	uint64_t n;
	int err = conf_number(value, 3, INT_MAX, &n);

	*why = "give an open file descriptor from 3 on";
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
	{"once", NULL, "read what is there, then end", true, opt_once},
	{"index", "DIR", "folder of the index (DIR/.weft/index)", false, opt_index},
	{"cache", "DIR", "folder of thumbnails (beside the index), or none", false, opt_cache},
	{"socket", "PATH", "Unix socket of the API (" TAGGER_SOCKET "), or none", false,
	 opt_socket},
	{"listen", "ADDR", "serve the API by TCP as well; needs --token-file", false, opt_listen},
	{"token-file", "FILE", "who comes by TCP must know what is in it", false, opt_token},
	{"watch", "HOW", "auto, fanotify, inotify or periodic", false, opt_watch},
	{"workers", "N", "processes that read files (as many as cores)", false, opt_workers},
	{"workers-dir", "DIR", "where the programs of the workers are", false, opt_workers_dir},
	{"no-ocr", NULL, "do not look for text in pictures", false, opt_no_ocr},
	{"speech", NULL, "look for words in speech, which is slow", false, opt_speech},
	{"no-prefetch", NULL, "do not read files ahead that will be wanted", false,
	 opt_no_prefetch},
	{"bin-days", "N", "keep what was deleted for so many days (30)", false, opt_bin_days},
	{"limit", "N", "most lines that a command prints (20)", true, opt_limit},
	{"json", NULL, "print the answer of a command as it is", true, opt_json},
	{"ready-fd", "N", "write addresses to this file descriptor when serving", true,
	 opt_ready_fd},
	{"log-level", "L", "error, warn, info or debug", false, opt_log_level},
	{0},
};

static const struct conf_program program = {
	.name = "tagger",
	.synopsis = "tagger [OPTION]... DIR\n"
		    "       tagger [OPTION]... query WORD...\n"
		    "       tagger [OPTION]... tag add|remove|list FILE [TAG]...\n"
		    "       tagger [OPTION]... stats",
	.summary =
		"Reads the files below DIR, relates them, serves the result, and follows changes.",
	.options = options,
};

/* ---- stop ---------------------------------------------------------------------------------- */

static void stop(void)
{
	control_stop(tagger.control);
}

static void stop_signal(void *arg, int signo)
{
	ready_stopping();
	log_info("stopping on signal %d", signo);
	stop();
}

static void unmounted(void *arg)
{
	if (tree_is_there(&tagger.tree))
		return;
	log_error("%s is not there any more (unmounted?); the index stays as it is",
		  tagger.tree.dir);
	exit_status = 1;
	stop();
}

/* ---- progress ------------------------------------------------------------------------------ */

static void print_progress(void)
{
	struct scan_progress p;

	scan_get_progress(tagger.scan, &p);
	fprintf(stderr, "\r%u files, %llu read, %u waiting, %u failed, %.0f files/s",
		tagger.index->nfiles, (unsigned long long)p.done, p.waiting, tagger.index->nfailed,
		p.files_per_s);
	if (p.left_s > 0)
		fprintf(stderr, ", %.0f s left", p.left_s);
	fputs("   \033[K", stderr);
}

static void show_progress(void *arg)
{
	if (!scan_is_idle(tagger.scan))
		print_progress();
}

static void idle(void *arg)
{
	if (isatty(STDERR_FILENO) && opts.once) {
		print_progress();
		fputc('\n', stderr);
	}
	log_info("%u files in %u folders are in the index, %u could not be read",
		 tagger.index->nfiles, tagger.index->nfolders, tagger.index->nfailed);
	if (opts.once)
		stop();
}

/* ---- start --------------------------------------------------------------------------------- */

static void place(void *arg, const uint8_t ident[16], const char *name)
{
	uint32_t folder = index_by_ident(tagger.index, ident);

	if (folder != 0)
		scan_place(tagger.scan, folder, name);
}

static void overflow(void *arg)
{
	scan_overflow(tagger.scan);
}

static void folder_known(void *arg, uint32_t folder, int fd)
{
	if (tagger.watch != NULL)
		watch_folder(tagger.watch, index_node(tagger.index, folder)->ident, fd);
	prefetch_folder(tagger.prefetch, index_node(tagger.index, folder)->ident, fd);
}

static void start_index(const char *dir)
{
	static char own[PATH_MAX], path[PATH_MAX], cache[PATH_MAX];
	struct tree_entry root;
	const char *why;
	int err = tree_open(dir, &tagger.tree, &why);

	if (err != 0)
		die("%s: %s: %s", dir, why, strerror(-err));
	err = tree_look(&tagger.tree, tagger.tree.root_fd, "", &root);
	if (err != 0)
		die("%s: %s", dir, strerror(-err));
	snprintf(own, sizeof(own), "%s/" TREE_OWN, tagger.tree.dir);
	if (opts.index == NULL) {
		if (mkdir(own, 0700) < 0 && errno != EEXIST)
			die("%s: %s; name another folder with --index", own, strerror(errno));
		snprintf(path, sizeof(path), "%.4000s/index", own);
		snprintf(cache, sizeof(cache), "%.4000s/cache", own);
	} else {
		snprintf(path, sizeof(path), "%s", opts.index);
		snprintf(cache, sizeof(cache), "%.4000s.cache", opts.index);
	}
	if (opts.cache == NULL)
		tagger.cache_dir = cache;
	else if (strcmp(opts.cache, "none") != 0)
		tagger.cache_dir = opts.cache;
	err = index_open(path, &root.seen, &tagger.index, &why);
	if (err != 0)
		die("%s: %s: %s", path, why, strerror(-err));
}

static int listen_on(const char *text, char *bound)
{
	struct addr a;
	const char *why;
	int fd = addr_parse(text, 0, &a, &why);

	if (fd == 0)
		fd = addr_listen(&a, &why);
	if (fd < 0)
		die("%s: %s", text, why);
	addr_format(&a, bound);
	return fd;
}

static void read_token(void)
{
	int fd = open(opts.token_file, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		die("%s: %s", opts.token_file, strerror(errno));
	if (st.st_mode & 077)
		die("%s can be read by others: chmod 600 it", opts.token_file);
	n = read(fd, tagger.token, sizeof(tagger.token) - 1);
	close(fd);
	tagger.token[n > 0 ? n : 0] = '\0';
	tagger.token[strcspn(tagger.token, "\r\n")] = '\0';
	if (strlen(tagger.token) < TAGGER_TOKEN_MIN)
		die("%s must have at least %d characters in its first line", opts.token_file,
		    TAGGER_TOKEN_MIN);
}

static void start_local(const char *path)
{
	struct event_base *base = control_base(tagger.control);
	char text[ADDR_TEXT_MAX], bound[ADDR_TEXT_MAX];
	mode_t mask = umask(0177);

	if (opts.socket == NULL)
		(void)mkdir("/run/weft", 0755); /* addr_listen says it when it is missing */
	snprintf(text, sizeof(text), "unix:%s", path);
	tagger.http_local = http_serve(base, listen_on(text, bound), api_handle_local, &tagger);
	umask(mask);
	if (tagger.http_local == NULL)
		die("out of memory");
	http_server_body_max(tagger.http_local, TAGGER_BODY_MAX);
	ready_line(opts.ready_fd, "socket", path);
}

static void start_http(void)
{
	struct event_base *base = control_base(tagger.control);
	const char *path = opts.socket != NULL ? opts.socket : TAGGER_SOCKET;
	char bound[ADDR_TEXT_MAX];

	http_stream_path("/upload");
	http_stream_path("/api/v1/upload");
	if (strcmp(path, "none") != 0)
		start_local(path);
	if (opts.listen == NULL)
		return;
	if (opts.token_file == NULL)
		die("--listen needs --token-file");
	read_token();
	tagger.http_public =
		http_serve(base, listen_on(opts.listen, bound), api_handle_public, &tagger);
	if (tagger.http_public == NULL)
		die("out of memory");
	http_server_body_max(tagger.http_public, TAGGER_BODY_MAX);
	log_info("the API is on %s", bound);
	ready_line(opts.ready_fd, "http", bound);
}

static void start_parts(void)
{
	struct watch_config watch = {.control = tagger.control,
				     .tree = &tagger.tree,
				     .how = opts.once ? WATCH_PERIODIC : opts.how,
				     .place = place,
				     .overflow = overflow,
				     .gone = unmounted};
	struct scan_config scan = {.control = tagger.control,
				   .aside = tagger.aside,
				   .tree = &tagger.tree,
				   .index = tagger.index,
				   .idle = idle};
	struct pool_config pool = {.control = tagger.control,
				   .dir = opts.workers_dir,
				   .workers = opts.workers,
				   .ocr = !opts.no_ocr,
				   .speech = opts.speech};
	int err = watch_create(&watch, &tagger.watch);

	if (err == 0)
		err = pool_create(&pool, &tagger.pool);
	scan.pool = tagger.pool;
	if (err == 0 && !opts.once && !opts.no_prefetch && opts.how <= WATCH_FANOTIFY)
		(void)prefetch_create(&tagger, &tagger.prefetch); /* without it all works, slower */
	/* opening each folder, for nobody, would be a third of a walk */
	if (err == 0 &&
	    (watch_wants_folders(tagger.watch) || prefetch_wants_folders(tagger.prefetch)))
		scan.folder = folder_known;
	if (err == 0)
		err = scan_create(&scan, &tagger.scan);
	if (err != 0)
		die("cannot start: %s", strerror(-err));
	if (!opts.once)
		log_info("changes in %s are followed by %s", tagger.tree.dir,
			 watch_name(tagger.watch));
	if (isatty(STDERR_FILENO))
		progress_timer =
			control_timer_start(tagger.control, PROGRESS_MS, 1, show_progress, NULL);
}

static int serve(const char *dir)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < FILES_WANTED) {
		lim.rlim_cur = lim.rlim_max < FILES_WANTED ? lim.rlim_max : FILES_WANTED;
		(void)setrlimit(RLIMIT_NOFILE, &lim);
	}
	signal(SIGPIPE, SIG_IGN);
	start_index(dir);
	if (control_create(&tagger.control) != 0 ||
	    control_signal(tagger.control, SIGTERM, stop_signal, NULL) != 0 ||
	    control_signal(tagger.control, SIGINT, stop_signal, NULL) != 0)
		die("out of memory");
	if (aside_create(tagger.control, &tagger.aside) != 0)
		die("out of memory");
	if (!opts.once)
		start_http();
	start_parts();
	if (events_create(&tagger) != 0 || bin_create(&tagger, opts.bin_days) != 0)
		die("out of memory");
	if (faccessat(tagger.tree.root_fd, TREE_OWN "/trash", F_OK, 0) == 0)
		trash_empty(&tagger.tree);
	upload_timer = uploads_start(&tagger);
	tags_start(&tagger);
	scan_all(tagger.scan);
	ready_done(opts.ready_fd);
	control_run(tagger.control);
	control_timer_free(progress_timer);
	events_destroy(&tagger);
	control_timer_free(upload_timer);
	aside_destroy(tagger.aside);
	bin_destroy(&tagger);
	tagger.aside = NULL;
	pool_destroy(tagger.pool);
	http_server_free(tagger.http_local);
	http_server_free(tagger.http_public);
	watch_destroy(tagger.watch);
	prefetch_destroy(tagger.prefetch);
	scan_destroy(tagger.scan);
	index_close(tagger.index);
	tree_close(&tagger.tree);
	control_destroy(tagger.control);
	if (!opts.once && (opts.socket == NULL || strcmp(opts.socket, "none") != 0))
		unlink(opts.socket != NULL ? opts.socket : TAGGER_SOCKET);
	return exit_status;
}

/* Where commands ask, unless an option says otherwise. */
static const char *cli_socket(void)
{
	const char *env = getenv(TAGGER_SOCKET_ENV);

	return env != NULL ? env : TAGGER_SOCKET;
}

int main(int argc, char **argv)
{
	int first;

	log_init("tagger", LOG_LEVEL_INFO);
	if (argc > 1 && strcmp(argv[1], "complete") == 0)
		return cli_complete(cli_socket(), options, argc - 2, argv + 2);
	first = conf_parse(&program, argc, argv);
	log_init("tagger", opts.level);
	if (first < argc && cli_is_command(argv[first])) {
		struct cli cli = {.socket = opts.socket != NULL ? opts.socket : cli_socket(),
				  .index = opts.index,
				  .limit = (unsigned)opts.limit,
				  .json = opts.json};

		return cli_run(&cli, argc - first, argv + first);
	}
	if (argc - first != 1) {
		fprintf(stderr, "tagger: name one folder, or a command\nTry \"tagger --help\".\n");
		return 2;
	}
	return serve(argv[first]);
}
