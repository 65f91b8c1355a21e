/*
 * The API's route to the content of files, whole or a range of it. Opening and reading are done by
 * threads (aside.h), a piece at a time, and no faster than the client takes it.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tagger/tagger.h"
#include "banned.h"

#define CONTENT_PIECE (128u << 10)

struct content {
	struct aside_job job; /* first */
	struct tagger *t;
	struct http_request *r;
	struct place place;
	struct stat st;
	char type[EXTRACT_MIME_MAX];
	int fd; /* or -errno */
	uint64_t at, end;
	ssize_t got;  /* bytes in piece, or -1 */
	bool reading; /* a thread has it */
	bool gone;    /* and the client is away */
	char piece[CONTENT_PIECE];
};

static void content_next(void *arg);

static void content_free(struct content *c)
{
	if (c->fd >= 0)
		close(c->fd);
	place_free(&c->place);
	free(c);
}

static void content_gone(void *arg)
{
	struct content *c = arg;

	c->gone = true;
	if (c->reading)
		return; /* until the thread has ended */
	http_stream_end(c->r);
	content_free(c);
}

/* What was promised cannot be kept: the client is to see that. */
static void content_abort(struct content *c)
{
	http_stream_abort(c->r);
	content_free(c);
}

/* ---- pieces -------------------------------------------------------------------------------- */

/* A thread. */
static void content_read(struct aside_job *job)
{
	struct content *c = (struct content *)job;
	uint64_t left = c->end - c->at;

	c->got = pread(c->fd, c->piece, left < CONTENT_PIECE ? (size_t)left : CONTENT_PIECE,
		       (off_t)c->at);
	if (c->got > 0)
		(void)posix_fadvise(c->fd, (off_t)c->at + c->got, CONTENT_PIECE * 4,
				    POSIX_FADV_WILLNEED);
}

static void content_got(struct aside_job *job)
{
	struct content *c = (struct content *)job;

	c->reading = false;
	if (c->gone) {
		content_gone(c);
		return;
	}
	if (c->got <= 0) {
		content_abort(c); /* it became shorter, or cannot be read */
		return;
	}
	c->at += (uint64_t)c->got;
	http_stream_drained(c->r, content_next, c);
	http_stream_write(c->r, c->piece, (size_t)c->got);
}

static void content_next(void *arg)
{
	struct content *c = arg;

	if (c->at == c->end) {
		http_stream_end(c->r);
		content_free(c);
		return;
	}
	c->job.work = content_read;
	c->job.done = content_got;
	c->reading = true;
	if (aside_post(c->t->aside, ASIDE_READ, &c->job) != 0)
		content_abort(c);
}

/* ---- the request --------------------------------------------------------------------------- */

static bool range_number(const char **p, uint64_t *out)
{
	char *end;

	if (!isdigit((unsigned char)**p))
		return false;
	errno = 0;
	*out = strtoull(*p, &end, 10);
	*p = end;
	return errno == 0;
}

/* One range of "bytes=": 0 none or not understood (then all is sent), 1, or -1: not in the file. */
static int content_range(const char *text, uint64_t size, uint64_t *from, uint64_t *end)
{
	uint64_t a = 0, b;

	if (text == NULL || strncmp(text, "bytes=", 6) != 0)
		return 0;
	text += 6;
	if (*text == '-') {
		text++;
		if (!range_number(&text, &b) || *text != '\0')
			return 0;
		*from = b < size ? size - b : 0;
		*end = size;
		return b > 0 && size > 0 ? 1 : -1;
	}
	if (!range_number(&text, &a) || *text++ != '-')
		return 0;
	b = size > 0 ? size - 1 : 0;
	if (*text != '\0' && (!range_number(&text, &b) || *text != '\0' || b < a))
		return 0;
	if (a >= size)
		return -1;
	*from = a;
	*end = b < size ? b + 1 : size;
	return 1;
}

static void content_type(struct tagger *t, uint32_t file, char out[EXTRACT_MIME_MAX])
{
	struct index_record rec;

	snprintf(out, EXTRACT_MIME_MAX, "application/octet-stream");
	if (index_get(t->index, file, &rec) != 0)
		return;
	if (rec.r.mime.len > 0 && rec.r.mime.len < EXTRACT_MIME_MAX) {
		memcpy(out, rec.r.mime.at, rec.r.mime.len);
		out[rec.r.mime.len] = '\0';
	}
	for (char *c = out; *c != '\0'; c++)
		if (!isgraph((unsigned char)*c) && *c != ' ')
			*c = '-';
	index_record_free(&rec);
}

static void content_headers(struct http_request *r, const struct stat *st, uint64_t from,
			    uint64_t end, bool part)
{
	char text[96];

	snprintf(text, sizeof(text), "\"%" PRIx64 "-%" PRIx64 "\"",
		 (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec,
		 (uint64_t)st->st_size);
	http_header(r, "ETag", text);
	snprintf(text, sizeof(text), "%" PRIu64, end - from);
	http_header(r, "Content-Length", text);
	if (part) {
		snprintf(text, sizeof(text), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, from,
			 end - 1, (uint64_t)st->st_size);
		http_header(r, "Content-Range", text);
	}
	http_header(r, "Accept-Ranges", "bytes");
	http_header(r, "Cache-Control", "no-cache");
	/* a page among the files must not act as a page of ours */
	http_header(r, "Content-Security-Policy", "sandbox; default-src 'none'");
	if (http_query(r, "download") != NULL)
		http_header(r, "Content-Disposition", "attachment");
}

static void content_start(struct content *c)
{
	uint64_t from = 0, end = (uint64_t)c->st.st_size;
	int part = content_range(http_request_header(c->r, "Range"), end, &from, &end);

	if (part < 0) {
		api_error(c->r, 416, "bad_range", "The file has %" PRIu64 " bytes.", end);
		content_free(c);
		return;
	}
	content_headers(c->r, &c->st, from, end, part > 0);
	if (c->r->head || end == from || http_is_gone(c->r)) {
		http_reply(c->r, part > 0 ? 206 : 200, c->type, "", 0);
		content_free(c);
		return;
	}
	c->at = from;
	c->end = end;
	http_stream_start(c->r, part > 0 ? 206 : 200, c->type, content_gone, c);
	content_next(c);
}

/* A thread. */
static void content_open(struct aside_job *job)
{
	struct content *c = (struct content *)job;

	c->fd = place_open(&c->t->tree, &c->place, &c->st);
}

static void content_opened(struct aside_job *job)
{
	struct content *c = (struct content *)job;

	if (c->fd >= 0) {
		content_start(c);
		return;
	}
	api_errno(c->r, c->fd, "The file");
	content_free(c);
}

int api_readable(const struct tagger *t, uint32_t file, struct place *p)
{
	enum extract_kind kind = index_node(t->index, file)->kind;

	*p = (struct place){0};
	if (kind == EXTRACT_KIND_FOLDER)
		return -EISDIR;
	if (kind == EXTRACT_KIND_SPECIAL)
		return -ENOTSUP;
	return place_of(t->index, file, p);
}

void api_content(struct tagger *t, struct http_request *r)
{
	uint32_t file = api_file(t, r);
	struct content *c = file != 0 ? calloc(1, sizeof(*c)) : NULL;
	int err = -ENOMEM;

	if (file == 0)
		return;
	if (c != NULL) {
		c->job.work = content_open;
		c->job.done = content_opened;
		c->t = t;
		c->r = r;
		c->fd = -1;
		err = api_readable(t, file, &c->place);
	}
	if (err == 0) {
		content_type(t, file, c->type);
		api_tell(r, "X-Weft-Object", api_path(t, file));
		err = aside_post(t->aside, ASIDE_READ, &c->job);
	}
	if (err == 0)
		return;
	api_errno(r, err, "The file");
	if (c != NULL)
		content_free(c);
}
