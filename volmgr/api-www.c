/*
 * The web page's files. The list is fixed, so there is no path to climb out of; they are read anew
 * for each request, which happens a few times a day.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api.h"
#include "log.h"
#include "banned.h"

#define WWW_FILE_MAX (1 << 20)

static const struct www_file {
	const char *path, *file, *type;
} www_files[] = {
	{"/", "index.html", "text/html; charset=utf-8"},
	{"/index.html", "index.html", "text/html; charset=utf-8"},
	{"/weft.css", "weft.css", "text/css; charset=utf-8"},
	{"/weft.js", "weft.js", "text/javascript; charset=utf-8"},
	{"/weft.svg", "weft.svg", "image/svg+xml"},
};

/* The whole file, malloc'd, or NULL with errno. */
static void *www_read(const char *dir, const char *file, size_t *len)
{
	char path[PATH_MAX], *data = NULL;
	struct stat st;
	ssize_t n;
	int fd;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, file) >= sizeof(path)) {
		errno = ENAMETOOLONG;
		return NULL;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
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

static void www_missing(struct http_request *r)
{
	struct refusal refusal;

	refuse(&refusal, 404, "no_such_path", "There is no page under this path.");
	refuse_hint(&refusal, "The page is at /, the API under /api/v1/.");
	api_refuse(r, &refusal);
}

void api_www(struct cluster *c, struct http_request *r)
{
	for (size_t i = 0; i < sizeof(www_files) / sizeof(www_files[0]); i++) {
		const struct www_file *f = &www_files[i];
		size_t len = 0;
		void *data;

		if (strcmp(r->path, f->path) != 0)
			continue;
		data = www_read(c->www, f->file, &len);
		if (data == NULL) {
			log_warn("%s/%s of the web page cannot be read: %s", c->www, f->file,
				 strerror(errno));
			break;
		}
		http_header(r, "Content-Security-Policy", "default-src 'self'");
		http_reply(r, 200, f->type, data, len);
		free(data);
		return;
	}
	www_missing(r);
}
