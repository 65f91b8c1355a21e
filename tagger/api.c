/*
 * The API: JSON over HTTP. Its paths are named in tagger(8). On the Unix socket, which only
 * tagger's own user and root can open, everything may be done; over TCP whoever has the token may,
 * and a "read_only" role that the one who passes a request on tells of is kept to looking.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf.h"
#include "tagger/tagger.h"
#include "banned.h"

#define API_PREFIX   "/api/v1"
#define API_TELL_MAX 2048
#define API_HELD     1u /* r->rights: it came with a list of paths */

static const struct api_route {
	enum http_method method;
	const char *path;
	api_handler *handle;
} routes[] = {
	{HTTP_GET, "/status", api_status},
	{HTTP_GET, "/search", api_search},
	{HTTP_GET, "/suggest", api_suggest},
	{HTTP_GET, "/file", api_file_get},
	{HTTP_GET, "/folder", api_folder},
	{HTTP_GET, "/tags", api_tags_list},
	{HTTP_GET, "/neighbours", api_neighbours},
	{HTTP_GET, "/graph", api_graph},
	{HTTP_POST, "/file/tags", api_file_tags},
	{HTTP_GET, "/content", api_content},
	{HTTP_GET, "/thumbnail", api_thumbnail},
	{HTTP_GET, "/sprite", api_sprite},
	{HTTP_GET, "/archive", api_archive},
	{HTTP_GET, "/events", api_events},
	{HTTP_GET, "/export", api_export},
	{HTTP_POST, "/tags/rename", api_tags_rename},
	{HTTP_DELETE, "/tags", api_tags_delete},
	{HTTP_POST, "/mkdir", api_mkdir},
	{HTTP_POST, "/move", api_move},
	{HTTP_DELETE, "/file", api_delete},
	{HTTP_GET, "/bin", api_bin},
	{HTTP_POST, "/bin/restore", api_bin_restore},
	{HTTP_DELETE, "/bin", api_bin_delete},
	{HTTP_GET, "/upload", api_upload_get},
	{HTTP_PUT, "/upload", api_upload_put},
	{HTTP_DELETE, "/upload", api_upload_delete},
};

/* ---- answers ------------------------------------------------------------------------------- */

void api_json(struct http_request *r, int status, json_t *body)
{
	char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;

	json_decref(body);
	if (text == NULL) {
		log_error("an answer of the API could not be made: out of memory");
		http_reply(r, 500, "application/json", "{}", 2);
		return;
	}
	http_reply(r, status, "application/json", text, strlen(text));
	free(text);
}

/* ---- text ---------------------------------------------------------------------------------- */

/* Bytes of one character at text, or 0 when they are none. */
static size_t utf8_length(const unsigned char *text, size_t len)
{
	size_t n = text[0] < 0x80 ? 1 : text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;

	if ((text[0] >= 0x80 && text[0] < 0xc2) || text[0] > 0xf4 || n > len)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
	    (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
		return 0;
	return n;
}

json_t *api_text(const char *text, size_t len)
{
	json_t *good = json_stringn(text, len);
	char *out, *to;

	if (good != NULL || len > INDEX_PATH_MAX)
		return good;
	out = to = malloc(3 * len + 1);
	if (out == NULL)
		return NULL;
	for (size_t i = 0; i < len;) {
		size_t n = utf8_length((const unsigned char *)text + i, len - i);

		if (n == 0) {
			memcpy(to, "\xef\xbf\xbd", 3);
			to += 3;
			i++;
			continue;
		}
		memcpy(to, text + i, n);
		to += n;
		i += n;
	}
	good = json_stringn(out, (size_t)(to - out));
	free(out);
	return good;
}

json_t *api_href(const char *path)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t len = strlen(path);
	char *out = malloc(3 * len + 1), *to = out;
	json_t *json;

	if (out == NULL)
		return NULL;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)path[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    strchr("-._~/", c) != NULL) {
			*to++ = (char)c;
		} else {
			*to++ = '%';
			*to++ = hex[c >> 4];
			*to++ = hex[c & 15];
		}
	}
	json = json_stringn(out, (size_t)(to - out));
	free(out);
	return json;
}

void api_tell(struct http_request *r, const char *header, const char *path)
{
	json_t *href = strlen(path) <= API_TELL_MAX ? api_href(path) : NULL;

	if (href != NULL)
		http_header(r, header, json_string_value(href));
	json_decref(href);
}

static int api_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int api_decode(const char *text, size_t len, char *out, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (n + 1 >= max)
			return -1;
		if (text[i] == '%' && i + 2 < len && api_hex(text[i + 1]) >= 0 &&
		    api_hex(text[i + 2]) >= 0) {
			out[n++] = (char)(api_hex(text[i + 1]) * 16 + api_hex(text[i + 2]));
			i += 2;
		} else {
			out[n++] = text[i] == '+' ? ' ' : text[i];
		}
	}
	out[n] = '\0';
	return (int)n;
}

bool api_number(struct http_request *r, const char *name, uint32_t def, uint32_t max, uint32_t *out)
{
	const char *text = http_query(r, name);
	uint64_t v;

	*out = def;
	if (text == NULL)
		return true;
	if (conf_number(text, 0, max, &v) != 0) {
		api_error(r, 400, "bad_request", "%s must be a number from 0 to %u.", name, max);
		return false;
	}
	*out = (uint32_t)v;
	return true;
}

/* ---- what a request is held to --------------------------------------------------------------- */

const char *api_scope(const struct http_request *r)
{
	const char *text = http_request_header(r, "X-Weft-Scope");

	/* a client that is gone has no headers any more: then nothing, and not everything */
	return text != NULL ? text : r->rights == API_HELD ? "-" : NULL;
}

const char *api_base(const struct http_request *r)
{
	static char base[INDEX_PATH_MAX];
	const char *text = http_request_header(r, "X-Weft-Base");

	if (text == NULL || api_decode(text, strlen(text), base, sizeof(base)) < 0)
		base[0] = '\0';
	return base;
}

static bool api_scope_check(struct http_request *r)
{
	const char *text = http_request_header(r, "X-Weft-Scope");
	const char *base = http_request_header(r, "X-Weft-Base");

	if (text == NULL && base == NULL)
		return true;
	r->rights = API_HELD;
	if (text != NULL && scope_valid(text) && (base == NULL || strchr(base, '+') == NULL))
		return true;
	api_error(r, 400, "bad_request", "X-Weft-Scope is no list of paths.");
	return false;
}

bool api_only(struct tagger *t, struct http_request *r, struct scope_set *set,
	      const struct scope_set **only)
{
	const char *text = api_scope(r);
	int err;

	*set = (struct scope_set){0};
	*only = NULL;
	if (text == NULL)
		return true;
	err = scope_set(text, t->index, set);
	if (err != 0) {
		api_errno(r, err, "The index");
		return false;
	}
	*only = set;
	return true;
}

bool api_allow(struct http_request *r, bool allowed)
{
	if (!allowed)
		api_error(r, 403, "not_allowed", "You may not do this here.");
	return allowed;
}

const char *api_path(const struct tagger *t, uint32_t file)
{
	static char path[INDEX_PATH_MAX];

	if (index_path(t->index, file, path, sizeof(path)) < 0)
		path[0] = '\0';
	return path;
}

uint32_t api_by_path(const struct tagger *t, const struct http_request *r, const char *path,
		     size_t len)
{
	static char whole[2 * INDEX_PATH_MAX];
	const char *base = api_base(r);
	size_t n = strlen(base);

	if (n == 0)
		return index_by_path(t->index, path, len);
	if (len >= INDEX_PATH_MAX)
		return 0;
	memcpy(whole, base, n);
	if (len > 0)
		whole[n++] = '/';
	memcpy(whole + n, path, len);
	return index_by_path(t->index, whole, n + len);
}

uint32_t api_file(struct tagger *t, struct http_request *r)
{
	const char *path = http_query(r, "path"), *id = http_query(r, "id");
	const char *scope = api_scope(r);
	uint32_t file = 0;
	uint64_t v;

	if (id != NULL && conf_number(id, 1, UINT32_MAX, &v) == 0 &&
	    index_node_find(t->index, (uint32_t)v) != NULL)
		file = (uint32_t)v;
	else if (id == NULL && path != NULL)
		file = api_by_path(t, r, path, strlen(path));
	if (file != 0 && scope != NULL && scope_right(scope, api_path(t, file)) < SCOPE_READ)
		file = 0;
	if (file == 0)
		api_error(r, 404, "not_found", "%s",
			  id == NULL && path == NULL ? "Say which file: path=... or id=..."
						     : "There is no such file in the index.");
	return file;
}

json_t *api_body(struct http_request *r)
{
	json_t *body = r->body != NULL
			       ? json_loadb(r->body, r->body_len, JSON_REJECT_DUPLICATES, NULL)
			       : NULL;

	if (json_is_object(body))
		return body;
	json_decref(body);
	api_error(r, 400, "bad_request", "The body must be a JSON object.");
	return NULL;
}

json_t *api_file_json(const struct tagger *t, uint32_t file)
{
	static const char *const states[] = {"waiting", "done", "failed"};
	static char path[INDEX_PATH_MAX]; /* one thread */
	const struct node *n = index_node(t->index, file);
	const char *name = index_name(t->index, file);
	int len = index_path(t->index, file, path, sizeof(path));

	if (len < 0)
		path[len = 0] = '\0';
	return json_pack("{s:I, s:o, s:o, s:o, s:s, s:s, s:I, s:I, s:I}", "id", (json_int_t)file,
			 "name", api_text(name, strlen(name)), "path", api_text(path, (size_t)len),
			 "href", api_href(path), "kind", extract_kind_names[n->kind], "state",
			 states[n->state], "size", (json_int_t)n->size, "mtime",
			 (json_int_t)(n->mtime_ns / 1000000000), "parent", (json_int_t)n->parent);
}

/* ---- routing ------------------------------------------------------------------------------- */

static void api_route(struct tagger *t, struct http_request *r)
{
	const char *path = r->path;
	bool known = false;

	if (strncmp(path, API_PREFIX "/", strlen(API_PREFIX) + 1) == 0)
		path += strlen(API_PREFIX);
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		const struct api_route *route = &routes[i];

		if (strcmp(route->path, path) != 0)
			continue;
		known = true;
		if (route->method == r->method) {
			if (api_scope_check(r))
				route->handle(t, r);
			return;
		}
	}
	if (known)
		api_error(r, 405, "bad_method", "This cannot be done here.");
	else
		api_error(r, 404, "no_such_path", "There is nothing under this path.");
}

void api_handle_local(void *arg, struct http_request *r)
{
	uid_t uid;

	if (http_peer_uid(r, &uid) != 0 || (uid != 0 && uid != geteuid())) {
		api_error(r, 403, "not_allowed", "This socket is for tagger's own user.");
		return;
	}
	api_route(arg, r);
}

/* In a time that does not tell how much of it is right. */
static bool token_is_right(const char *want, const char *got)
{
	size_t n = strlen(want);
	unsigned char differ = strlen(got) != n;

	for (size_t i = 0; i < n; i++)
		differ |= (unsigned char)(want[i] ^ got[differ ? 0 : i]);
	return differ == 0;
}

void api_handle_public(void *arg, struct http_request *r)
{
	struct tagger *t = arg;
	const char *got = http_request_header(r, "Authorization");
	const char *role = http_request_header(r, "X-Weft-Role");

	if (got == NULL || strncmp(got, "Bearer ", 7) != 0 || !token_is_right(t->token, got + 7)) {
		http_header(r, "WWW-Authenticate", "Bearer");
		api_error(r, 401, "no_token", "Over TCP this needs tagger's token.");
	} else if (r->method != HTTP_GET && role != NULL && strcmp(role, "read_only") == 0) {
		api_error(r, 403, "not_allowed", "You may look, and change nothing.");
	} else {
		api_route(t, r);
	}
}
