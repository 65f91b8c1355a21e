/*
 * The web page's files. They are read once, when volmgr starts, and kept packed as well: there is
 * no path to climb out of, no disk to wait for, and nothing to compress while serving. A browser
 * that has a file asks only whether it is still the same.
 *
 * The content security policy allows nothing from elsewhere and no inline script.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api.h"
#include "gzip.h"
#include "log.h"
#include "banned.h"

#define WWW_FILE_MAX  (1 << 20)
#define WWW_FILES_MAX 128
#define WWW_PATH_MAX  96
#define WWW_POLICY                                                                                 \
	"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "    \
	"media-src 'self' blob:; font-src 'self'; connect-src 'self'; worker-src 'self'; "         \
	"frame-src 'self' blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

static const struct {
	const char *suffix, *type;
} types[] = {
	{".html", "text/html; charset=utf-8"},
	{".css", "text/css; charset=utf-8"},
	{".js", "text/javascript; charset=utf-8"},
	{".mjs", "text/javascript; charset=utf-8"},
	{".svg", "image/svg+xml"},
	{".png", "image/png"},
	{".json", "application/json; charset=utf-8"},
	{".txt", "text/plain; charset=utf-8"},
};

struct www_file {
	char path[WWW_PATH_MAX]; /* "/js/main.js" */
	const char *type;
	void *data, *packed;
	size_t len, packed_len;
	char etag[20];
};

static struct www_file files[WWW_FILES_MAX];
static unsigned nfiles;

/* ---- reading ------------------------------------------------------------------------------- */

static const char *www_type(const char *name)
{
	const char *dot = strrchr(name, '.');

	for (size_t i = 0; dot != NULL && i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(types[i].suffix, dot) == 0)
			return types[i].type;
	return NULL;
}

/* The whole file, malloc'd, or NULL with errno. */
static void *www_read(const char *path, size_t *len)
{
	char *data = NULL;
	struct stat st;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > WWW_FILE_MAX) {
		errno = EFBIG;
	} else {
		data = malloc((size_t)st.st_size + 1);
		n = data != NULL ? read(fd, data, (size_t)st.st_size) : -1;
		if (n < 0) {
			free(data);
			data = NULL;
		}
		*len = n > 0 ? (size_t)n : 0;
	}
	close(fd);
	return data;
}

/* Names one version of a file; FNV-1a is enough for what nobody forges. */
static void www_etag(struct www_file *f)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (size_t i = 0; i < f->len; i++)
		hash = (hash ^ ((const uint8_t *)f->data)[i]) * 0x100000001b3;
	snprintf(f->etag, sizeof(f->etag), "\"%016llx\"", (unsigned long long)hash);
}

static void www_load_file(const char *dir, const char *name, const char *url)
{
	struct www_file *f = &files[nfiles];
	char path[PATH_MAX];

	f->type = www_type(name);
	if (f->type == NULL || nfiles == WWW_FILES_MAX ||
	    (size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) >= sizeof(path) ||
	    (size_t)snprintf(f->path, sizeof(f->path), "%s/%s", url, name) >= sizeof(f->path))
		return;
	f->data = www_read(path, &f->len);
	if (f->data == NULL) {
		log_warn("%s of the web page cannot be read: %s", path, strerror(errno));
		return;
	}
	f->packed = gzip_pack(f->data, f->len, &f->packed_len);
	www_etag(f);
	nfiles++;
}

static void www_load_dir(const char *dir, const char *url, int depth)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	if (d == NULL) {
		log_warn("the web page's folder %s cannot be read: %s", dir, strerror(errno));
		return;
	}
	while ((e = readdir(d)) != NULL) {
		char path[PATH_MAX], below[WWW_PATH_MAX];
		struct stat st;

		if (e->d_name[0] == '.' ||
		    (size_t)snprintf(path, sizeof(path), "%s/%s", dir, e->d_name) >= sizeof(path) ||
		    stat(path, &st) < 0)
			continue;
		if (S_ISREG(st.st_mode))
			www_load_file(dir, e->d_name, url);
		else if (S_ISDIR(st.st_mode) && depth > 0 &&
			 (size_t)snprintf(below, sizeof(below), "%s/%s", url, e->d_name) <
				 sizeof(below))
			www_load_dir(path, below, depth - 1);
	}
	closedir(d);
}

void api_www_load(const char *dir)
{
	www_load_dir(dir, "", 1);
}

void api_www_free(void)
{
	while (nfiles > 0) {
		free(files[--nfiles].data);
		free(files[nfiles].packed);
	}
}

/* ---- serving ------------------------------------------------------------------------------- */

static void www_missing(struct http_request *r)
{
	struct refusal refusal;

	refuse(&refusal, 404, "no_such_path", "There is no page under this path.");
	refuse_hint(&refusal, "The page is at /, the API under /api/v1/.");
	api_refuse(r, &refusal);
}

static void www_send(struct http_request *r, const struct www_file *f)
{
	const char *known = http_request_header(r, "If-None-Match");
	const char *takes = http_request_header(r, "Accept-Encoding");

	http_header(r, "Cache-Control", "no-cache"); /* keep it, and ask each time */
	http_header(r, "ETag", f->etag);
	if (known != NULL && strstr(known, f->etag) != NULL) {
		http_reply(r, 304, NULL, NULL, 0);
		return;
	}
	http_header(r, "Content-Security-Policy", WWW_POLICY);
	http_header(r, "Referrer-Policy", "no-referrer");
	http_header(r, "Vary", "Accept-Encoding");
	if (f->packed != NULL && takes != NULL && strstr(takes, "gzip") != NULL) {
		http_header(r, "Content-Encoding", "gzip");
		http_reply(r, 200, f->type, f->packed, f->packed_len);
	} else {
		http_reply(r, 200, f->type, f->data, f->len);
	}
}

void api_www(struct cluster *c, struct http_request *r)
{
	const char *path = strcmp(r->path, "/") == 0 ? "/index.html" : r->path;

	for (unsigned i = 0; r->method == HTTP_GET && i < nfiles; i++)
		if (strcmp(files[i].path, path) == 0) {
			www_send(r, &files[i]);
			return;
		}
	www_missing(r);
}
