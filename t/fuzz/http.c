/*
 * Fuzz target: requests as libevent would hand them to the API - method, path, query, headers with
 * cookies, a body - through routing, rights and handlers, up to what needs servers. lib/http.h is
 * made here. Whatever comes, each request is answered once, an answer is JSON or a file, and who
 * has not logged in is told nothing and changes nothing.
 */
#include "config.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "volmgr/api.h"
#include "volmgr/check.h"
#include "volmgr/command.h"
#include "volmgr/moving.h"
#include "volmgr/recover.h"
#include "volmgr/stats.h"
#include "control.h"
#include "log.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define HEADERS_MAX 8

static struct cluster cluster;
static char admin_cookie[TOKEN_TEXT_MAX + 32];

static struct {
	struct http_request r;
	char text[8][512];
	const char *name[HEADERS_MAX], *value[HEADERS_MAX];
	unsigned headers;
	char query[1024], parameter[HTTP_PATH_MAX];
	unsigned answers;
	int status;
	bool stream;
} now;

/* ---- lib/http.h ---------------------------------------------------------------------------- */

const char *http_query_text(const struct http_request *r)
{
	return now.query;
}

/* NAME=VALUE&..., not decoded: that is libevent's. */
const char *http_query(const struct http_request *r, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = now.query; *p != '\0';) {
		size_t len = strcspn(p, "&");

		if (len > n && strncmp(p, name, n) == 0 && p[n] == '=') {
			snprintf(now.parameter, sizeof(now.parameter), "%.*s", (int)(len - n - 1),
				 p + n + 1);
			return now.parameter;
		}
		p += len + (p[len] == '&');
	}
	return NULL;
}

const char *http_request_header(const struct http_request *r, const char *name)
{
	for (unsigned i = 0; i < now.headers; i++)
		if (strcasecmp(now.name[i], name) == 0)
			return now.value[i];
	return NULL;
}

const char *http_peer(const struct http_request *r)
{
	return "192.0.2.1";
}

bool http_is_local(const struct http_request *r)
{
	return strcmp(http_peer(r), HTTP_PEER_LOCAL) == 0;
}

bool http_is_gone(const struct http_request *r)
{
	return false;
}

int http_peer_uid(const struct http_request *r, uid_t *uid)
{
	return -1;
}

bool http_is_tls(const struct http_request *r)
{
	return false;
}

void http_header(struct http_request *r, const char *name, const char *value)
{
	assert(strpbrk(value, "\r\n") == NULL);
}

void http_reply(struct http_request *r, int status, const char *type, const void *body, size_t len)
{
	json_t *o;

	assert(r == &now.r && status >= 200 && status < 600);
	now.answers++;
	now.status = status;
	if (type == NULL || strcmp(type, "application/json") != 0)
		return;
	o = json_loadb(body, len, JSON_DECODE_ANY, NULL);
	assert(o != NULL);
	if (status >= 400)
		assert(json_is_string(json_object_get(json_object_get(o, "error"), "code")));
	json_decref(o);
}

void http_reply_file(struct http_request *r, int status, const char *type, int fd, uint64_t offset,
		     uint64_t len)
{
	abort(); /* volmgr has no files to give */
}

void http_stream_start(struct http_request *r, int status, const char *type,
		       void (*gone)(void *arg), void *arg)
{
	now.stream = true;
	now.status = status;
	now.answers++;
}

void http_stream_write(struct http_request *r, const void *data, size_t len)
{
}

size_t http_stream_waiting(const struct http_request *r)
{
	return 0;
}

void http_stream_drained(struct http_request *r, void (*fn)(void *arg), void *arg)
{
}

void http_body_next(struct http_request *r, size_t max, http_body_fn *fn, void *arg)
{
	abort(); /* there is no tagger */
}

uint64_t http_body_length(const struct http_request *r)
{
	return r->body_len;
}

void http_stream_end(struct http_request *r)
{
}

void http_stream_abort(struct http_request *r)
{
}

/* ---- what needs servers, threads or time: the linker puts these in the place of volmgr's ------
 */

void __wrap_engine_collect(struct cluster *c, void (*done)(void *arg), void *arg);
void __wrap_engine_collect(struct cluster *c, void (*done)(void *arg), void *arg)
{
	done(arg);
}

void __wrap_engine_collect_some(struct cluster *c, struct vol *const *vols, unsigned n,
				void (*done)(void *arg), void *arg);
void __wrap_engine_collect_some(struct cluster *c, struct vol *const *vols, unsigned n,
				void (*done)(void *arg), void *arg)
{
	done(arg);
}

static void refuse_all(struct refusal *r)
{
	refuse(r, 503, "fuzzed", "There is nothing behind.");
}

void __wrap_servers_add(struct cluster *c, const char *address, const char *name, const char *host,
			void (*cb)(void *arg, const struct refusal *r, struct server *s),
			void *arg);
void __wrap_servers_add(struct cluster *c, const char *address, const char *name, const char *host,
			void (*cb)(void *arg, const struct refusal *r, struct server *s), void *arg)
{
	struct refusal r;

	refuse_all(&r);
	cb(arg, &r, NULL);
}

void __wrap_volumes_create(struct cluster *c, const struct volume_spec *spec,
			   void (*cb)(void *arg, const struct refusal *r), void *arg);
void __wrap_volumes_create(struct cluster *c, const struct volume_spec *spec,
			   void (*cb)(void *arg, const struct refusal *r), void *arg)
{
	struct refusal r;

	assert(volume_spec_check(spec, &r) == 0);
	refuse_all(&r);
	cb(arg, &r);
}

void __wrap_check_start(struct cluster *c, void (*cb)(void *arg, struct check_result *res),
			void *arg);
void __wrap_check_start(struct cluster *c, void (*cb)(void *arg, struct check_result *res),
			void *arg)
{
	struct refusal r;
	struct http_request *request = api_call_end(arg);

	refuse_all(&r);
	api_refuse(request, &r);
}

void __wrap_recover_start(struct cluster *c, struct recover *rec);
void __wrap_recover_start(struct cluster *c, struct recover *rec)
{
	refuse_all(&rec->refusal);
	rec->cb(rec->arg, rec);
}

/* Passwords: hashing takes a tenth of a second, and is tried elsewhere. */
bool __wrap_hasher_add(struct hash_job *job);
bool __wrap_hasher_add(struct hash_job *job)
{
	job->matches = strcmp(job->password, "right password") == 0;
	snprintf(job->hash, sizeof(job->hash), "hash");
	job->done(job);
	return true;
}

/* ---- metadata that forgets ------------------------------------------------------------------ */

static int meta_get(struct meta *m, const char *key, void **value, size_t *len)
{
	return -2; /* ENOENT */
}

static int meta_each(struct meta *m, const char *prefix,
		     int (*fn)(void *arg, const char *key, const void *value, size_t len),
		     void *arg)
{
	return 0;
}

static void meta_commit(struct meta *m, struct meta_batch *b, void (*done)(void *arg, int err),
			void *arg)
{
	meta_batch_free(b);
	done(arg, 0);
}

static const struct meta_ops meta_ops = {.get = meta_get, .each = meta_each, .commit = meta_commit};
static struct meta meta = {.ops = &meta_ops};

/* ---- a request out of bytes ------------------------------------------------------------------ */

/* The next line, cut to what fits; false: there is none. */
static bool take_line(const uint8_t **data, size_t *len, char *out, size_t max)
{
	const uint8_t *end = memchr(*data, '\n', *len);
	size_t n = end != NULL ? (size_t)(end - *data) : *len;
	size_t kept = n < max ? n : max - 1;

	if (*len == 0)
		return false;
	memcpy(out, *data, kept);
	out[kept] = '\0';
	n += end != NULL;
	*data += n;
	*len -= n;
	return true;
}

/* METHOD-LETTER PATH?QUERY, headers up to an empty line, body. Letters: see below. */
static bool make_request(const uint8_t *data, size_t len, bool *admin)
{
	static const enum http_method methods[] = {HTTP_GET,   HTTP_POST,   HTTP_PUT,
						   HTTP_PATCH, HTTP_DELETE, HTTP_OTHER};
	static uint8_t body[4096];
	char line[HTTP_PATH_MAX + 1024], *query;

	memset(&now, 0, sizeof(now));
	if (!take_line(&data, &len, line, sizeof(line)) || strlen(line) < 2 || line[1] != '/')
		return false;
	now.r.method = methods[(uint8_t)line[0] % 6];
	*admin = ((uint8_t)line[0] & 0x20) != 0; /* small letters are an admin's */
	query = strchr(line, '?');
	if (query != NULL) {
		*query++ = '\0';
		snprintf(now.query, sizeof(now.query), "%.*s", (int)sizeof(now.query) - 1, query);
	}
	snprintf(now.r.path, sizeof(now.r.path), "%.*s", HTTP_PATH_MAX - 1, line + 1);
	while (now.headers < 6 &&
	       take_line(&data, &len, now.text[now.headers], sizeof(now.text[0])) &&
	       now.text[now.headers][0] != '\0') {
		char *text = now.text[now.headers], *colon = strchr(text, ':');

		if (colon == NULL)
			continue;
		*colon++ = '\0';
		now.name[now.headers] = text;
		now.value[now.headers++] = colon + strspn(colon, " ");
	}
	now.r.body_len = len < sizeof(body) ? len : sizeof(body);
	memcpy(body, data, now.r.body_len);
	now.r.body = body;
	return true;
}

static void add_header(const char *name, const char *value)
{
	now.name[now.headers] = name;
	now.value[now.headers++] = value;
}

/* Of these a guest may ask. */
static bool for_guests(const char *path)
{
	static const char *const paths[] = {"me", "login", "logout", "register", "join"};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if (strncmp(path, "/api/v1/", 8) == 0 && strcmp(path + 8, paths[i]) == 0)
			return true;
	return false;
}

static void be_admin(void)
{
	static char csrf[DIGEST_TEXT_MAX];
	char secret[TOKEN_TEXT_MAX];
	struct refusal r;

	assert(ticket_new(&cluster, TICKET_SESSION, "admin", ROLE_ADMIN, "", 3600, secret, &r) ==
	       0);
	snprintf(admin_cookie, sizeof(admin_cookie), "weft_session=%s", secret);
	for (unsigned i = 0; i < now.headers; i++)
		if (strcasecmp(now.name[i], "Cookie") == 0 ||
		    strcasecmp(now.name[i], "Authorization") == 0)
			now.name[i] = "X-Other";
	add_header("Cookie", admin_cookie);
	assert(api_session(&cluster, &now.r, csrf) != NULL);
	add_header("X-Weft-CSRF", csrf);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_init("fuzz", LOG_LEVEL_ERROR);
	pthread_mutex_init(&cluster.lock, NULL);
	cluster.meta = &meta;
	cluster.tagger = "/nonexistent/tagger.sock";
	cluster.bpf_why = "off";
	assert(control_create(&cluster.control) == 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const char *why;
	struct refusal r;
	bool admin;

	if (!make_request(data, len, &admin))
		return -1;
	assert(people_load(&cluster, &why) == 0);
	assert(person_add(&cluster, "admin", ROLE_ADMIN, false, "hash", &r) == 0);
	if (admin)
		be_admin();
	api_handle_public(&cluster, &now.r);
	assert(now.answers == 1);
	if (!admin && strncmp(now.r.path, "/api/", 5) == 0 && !for_guests(now.r.path))
		assert(now.status >= 400 || now.status == 304);
	live_stop();
	people_free(&cluster);
	return 0;
}
