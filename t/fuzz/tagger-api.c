/*
 * Fuzzes tagger's API on a small tree, with a real index and real files in the current folder: any
 * route with any query, header and body. Each request must be answered exactly once, also when the
 * client goes in the middle, and nothing from beside the tree may come out.
 *
 * Input: a byte for the method and what happens to the client, a byte for the route, then lines:
 * the query as in a URL, a Range header, and the body. HTTP, threads and workers are small ones of
 * our own here, so that one input does the same each time.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tagger/tagger.h"

#define WORLD	   "tagger-api.world"
#define ROUNDS_MAX 5000 /* of one tree, which grows by what is made in it */
#define PAIRS_MAX  16
#define STEPS_MAX  400 /* of an answer in pieces */
#define PATHS	   25

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char *const paths[PATHS] = {
	"/status",	"/search",	  "/suggest", "/file",	    "/folder", "/tags",
	"/neighbours",	"/graph",	  "/content", "/thumbnail", "/sprite", "/archive",
	"/events",	"/export",	  "/mkdir",   "/move",	    "/upload", "/file/tags",
	"/tags/rename", "/api/v1/status", "/nothing", "",	    "/upload", "/bin",
	"/bin/restore"};

static struct tagger t;
static char secret[33]; /* in files beside the tree; made up anew each time */

/* ---- HTTP ---------------------------------------------------------------------------------- */

static struct client {
	struct http_request r; /* first */
	char query[4096], range[128];
	char *names[PAIRS_MAX], *values[PAIRS_MAX];
	unsigned pairs;
	bool read_only, gone, started, answered;
	void (*on_gone)(void *arg);
	void *gone_arg;
	void (*drained)(void *arg);
	void *drained_arg;
	/* a body that comes in pieces */
	bool unsized;
	size_t came;
	http_body_fn *body_fn;
	void *body_arg;
} client;

/* Byte by byte, so that the fuzzer does not learn what is sought. */
__attribute__((no_sanitize("coverage"))) static void check_secret(const char *data, size_t len)
{
	for (size_t i = 0; i + 32 <= len; i++) {
		size_t n = 0;

		while (n < 32 && data[i + n] == secret[n])
			n++;
		if (n == 32)
			abort(); /* a file from outside the tree was given out */
	}
}

const char *http_query(const struct http_request *r, const char *name)
{
	for (unsigned i = 0; i < client.pairs; i++)
		if (strcmp(client.names[i], name) == 0)
			return client.values[i];
	return NULL;
}

const char *http_query_text(const struct http_request *r)
{
	return client.query;
}

const char *http_request_header(const struct http_request *r, const char *name)
{
	if (client.gone)
		return NULL;
	if (strcmp(name, "Authorization") == 0)
		return "Bearer 0123456789abcdef";
	if (strcmp(name, "X-Weft-Role") == 0)
		return client.read_only ? "read_only" : NULL;
	if (strcmp(name, "X-Weft-Scope") == 0)
		return client.read_only ? "w:a/b r:three" : NULL;
	return (strcmp(name, "Range") == 0 || strcmp(name, "Content-Range") == 0) &&
			       client.range[0] != '\0'
		       ? client.range
		       : NULL;
}

bool http_is_gone(const struct http_request *r)
{
	return client.gone;
}

int http_peer_uid(const struct http_request *r, uid_t *uid)
{
	*uid = geteuid();
	return 0;
}

void http_header(struct http_request *r, const char *name, const char *value)
{
	assert(strpbrk(value, "\r\n") == NULL);
}

void http_reply(struct http_request *r, int status, const char *type, const void *body, size_t len)
{
	assert(!client.started && !client.answered && status >= 200 && status < 600);
	client.answered = true;
	client.body_fn = NULL;
	check_secret(body, len);
}

void http_stream_start(struct http_request *r, int status, const char *type,
		       void (*gone)(void *arg), void *arg)
{
	assert(!client.started && !client.answered);
	client.started = true;
	client.on_gone = gone;
	client.gone_arg = arg;
}

void http_stream_write(struct http_request *r, const void *data, size_t len)
{
	assert(client.started && !client.answered);
	check_secret(data, len);
}

size_t http_stream_waiting(const struct http_request *r)
{
	return 0;
}

void http_stream_drained(struct http_request *r, void (*fn)(void *arg), void *arg)
{
	client.drained = fn;
	client.drained_arg = arg;
}

void http_stream_end(struct http_request *r)
{
	assert(client.started && !client.answered);
	client.answered = true;
	client.drained = NULL;
}

void http_stream_abort(struct http_request *r)
{
	http_stream_end(r);
}

uint64_t http_body_length(const struct http_request *r)
{
	return client.unsized ? HTTP_LENGTH_UNKNOWN : r->body_len;
}

void http_body_next(struct http_request *r, size_t max, http_body_fn *fn, void *arg)
{
	assert(!client.answered && client.body_fn == NULL && max > 0);
	client.body_fn = fn;
	client.body_arg = arg;
}

static void body_comes(void)
{
	size_t left = client.r.body_len - client.came, n = left < 7 ? left : 7;
	const char *at = client.r.body;
	http_body_fn *fn = client.body_fn;

	client.body_fn = NULL;
	client.came += n;
	fn(client.body_arg, client.gone ? -ECONNRESET : 0, n > 0 ? at + client.came - n : NULL, n,
	   !client.gone && n == left);
}

static void client_goes(void)
{
	if (client.gone || client.answered)
		return;
	client.gone = true;
	client.drained = NULL;
	if (client.started)
		client.on_gone(client.gone_arg);
}

/* ---- threads and workers ------------------------------------------------------------------- */

static struct aside_job *jobs, **last_job = &jobs;

int aside_post(struct aside *a, enum aside_lane lane, struct aside_job *job)
{
	job->next = NULL;
	*last_job = job;
	last_job = &job->next;
	return 0;
}

void aside_get_stats(struct aside *a, struct aside_stats *out)
{
	*out = (struct aside_stats){0};
}

/* One step of what is under way. */
static bool step(void)
{
	struct aside_job *job = jobs;
	void (*fn)(void *arg) = client.drained;

	if (job != NULL) {
		jobs = job->next;
		if (jobs == NULL)
			last_job = &jobs;
		job->work(job);
		job->done(job);
		return true;
	}
	if (client.body_fn != NULL) {
		body_comes();
		return true;
	}
	client.drained = NULL;
	if (fn != NULL)
		fn(client.drained_arg);
	return fn != NULL;
}

int pool_make_picture(
	struct pool *pool, const struct pool_request *request, const struct pool_picture *picture,
	void (*done)(void *arg, int err, const char *type, const void *data, size_t len), void *arg)
{
	assert(picture->width > 0 && picture->height > 0);
	close(request->fd);
	return -ENOTSUP;
}

int pool_extract(struct pool *pool, const struct pool_request *request,
		 void (*done)(void *arg, int err, struct extract *e), void *arg)
{
	close(request->fd);
	return -EAGAIN;
}

void pool_get_stats(const struct pool *pool, struct pool_stats *out)
{
	*out = (struct pool_stats){0};
}

/* ---- the tree ------------------------------------------------------------------------------ */

static void file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		abort();
	close(fd);
}

static void world_end(void)
{
	if (t.scan == NULL)
		return;
	bin_destroy(&t);
	events_destroy(&t);
	watch_destroy(t.watch);
	scan_destroy(t.scan);
	index_close(t.index);
	tree_close(&t.tree);
	control_destroy(t.control);
	t = (struct tagger){0};
}

static void world_new(void)
{
	static const char digits[] = "0123456789abcdef";
	struct watch_config watch = {.how = WATCH_PERIODIC};
	struct scan_config scan = {0};
	struct tree_entry root;
	const char *why;

	world_end();
	if (system("rm -rf " WORLD " && mkdir -p " WORLD "/tree/a/b") != 0)
		abort();
	if (getentropy(secret, 32) != 0)
		abort();
	for (int i = 0; i < 32; i++)
		secret[i] = digits[(uint8_t)secret[i] % 16];
	file(WORLD "/secret", secret);
	file(WORLD "/tree/a/one.txt", "one two three");
	file(WORLD "/tree/a/b/two.md", "# two");
	file(WORLD "/tree/three", "");
	if (symlink("../secret", WORLD "/tree/link") != 0 || symlink("..", WORLD "/tree/up") != 0)
		abort();
	if (control_create(&t.control) != 0 || tree_open(WORLD "/tree", &t.tree, &why) != 0 ||
	    tree_look(&t.tree, t.tree.root_fd, "", &root) != 0 ||
	    index_open(WORLD "/index", &root.seen, &t.index, &why) != 0)
		abort();
	watch.control = scan.control = t.control;
	watch.tree = scan.tree = &t.tree;
	scan.index = t.index;
	if (watch_create(&watch, &t.watch) != 0 || scan_create(&scan, &t.scan) != 0 ||
	    events_create(&t) != 0 || bin_create(&t, 1) != 0)
		abort();
	t.aside = (struct aside *)&jobs; /* not looked into */
	while (step())
		;
	snprintf(t.token, sizeof(t.token), "0123456789abcdef");
	scan_place(t.scan, INDEX_ROOT, "a");
	scan_place(t.scan, INDEX_ROOT, "three");
	scan_place(t.scan, INDEX_ROOT, "link");
	scan_place(t.scan, INDEX_ROOT, "up");
	scan_place(t.scan, index_by_path(t.index, "a", 1), "one.txt");
	scan_place(t.scan, index_by_path(t.index, "a", 1), "b");
	scan_place(t.scan, index_by_path(t.index, "a/b", 3), "two.md");
	if (index_by_path(t.index, "a/b/two.md", 10) == 0)
		abort();
}

/* ---- one input ----------------------------------------------------------------------------- */

/* A line without its end; what is behind it. */
static const char *line(const char *at, const char *end, char *out, size_t max)
{
	const char *stop = memchr(at, '\n', (size_t)(end - at));
	size_t n = (size_t)((stop != NULL ? stop : end) - at);

	n = n < max - 1 ? n : max - 1;
	memcpy(out, at, n);
	out[n] = '\0';
	return stop != NULL ? stop + 1 : end;
}

static void pairs(void)
{
	for (char *at = client.query; *at != '\0' && client.pairs < PAIRS_MAX;) {
		size_t n = strcspn(at, "&"), name = strcspn(at, "=&");
		char *value = malloc(n + 1);

		client.names[client.pairs] = strndup(at, name);
		if (value == NULL || api_decode(at + name + (at[name] == '='),
						n - name - (at[name] == '='), value, n + 1) < 0)
			abort();
		client.values[client.pairs++] = value;
		at += n + (at[n] == '&');
	}
}

static void request(const uint8_t *data, size_t len)
{
	const char *at = (const char *)data + 2, *end = (const char *)data + len;
	unsigned goes = data[0] >> 4, steps = 0; /* after so many steps; 0: it stays */

	client = (struct client){
		.r = {.method = data[0] & 7, .head = data[0] & 8 && !(data[0] & 7)}};
	if (client.r.method > HTTP_OTHER)
		client.r.method = HTTP_GET;
	client.read_only = data[1] & 128;
	client.unsized = client.r.method == HTTP_PUT && (data[0] & 8) != 0;
	snprintf(client.r.path, sizeof(client.r.path), "%s", paths[(data[1] & 127) % PATHS]);
	at = line(at, end, client.query, sizeof(client.query));
	at = line(at, end, client.range, sizeof(client.range));
	pairs();
	client.r.body_len = (size_t)(end - at);
	client.r.body = client.r.body_len > 0 ? at : NULL;
	api_handle_public(&t, &client.r);
	while (steps++ < STEPS_MAX && step())
		if (steps == goes)
			client_goes();
	client_goes();
	while (step())
		;
	assert(client.answered);
	control_drain(t.control);
	while (step())
		;
	for (unsigned i = 0; i < client.pairs; i++) {
		free(client.names[i]);
		free(client.values[i]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static unsigned rounds;

	if (rounds++ % ROUNDS_MAX == 0) {
		log_init("tagger-api", LOG_LEVEL_ERROR);
		world_new();
	}
	if (len >= 2)
		request(data, len);
	return 0;
}
