/*
 * Uploads. A body of any size is taken as it comes, a piece at a time: while a thread (aside.h)
 * writes one, no more is read than a small buffer, so a volume that is slow makes the client wait
 * and nothing grow. The bytes go into a file of our own on the same file system, whose space is
 * reserved first, so that what does not fit is refused at once. When all of it is there it is made
 * durable and renamed to its place in one step. Until then nobody sees anything of it.
 *
 * What broke off goes on where it was, also after a restart: the same path and size is the same
 * upload, and how far it is is the length of its file. A request may also be a part of the whole
 * (offset=, or Content-Range, which is what curl -C sends). Only an upload whose size is not said
 * cannot go on.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf.h"
#include "tagger/upload.h"
#include "banned.h"

#define UPLOADS_MAX  16u	/* at a time */
#define UPLOADS_EACH 8u		/* of one person */
#define UPLOAD_PIECE (1u << 20) /* in memory, of each */

static struct upload *uploads; /* those that are being received; the loop */

/* ---- what is asked for ------------------------------------------------------------------------
 */

/* "bytes 100-299/300". False: it is something else. */
static bool upload_range(const char *text, uint64_t *offset, uint64_t *end, uint64_t *size)
{
	char copy[96], *dash, *slash;

	snprintf(copy, sizeof(copy), "%s", text);
	dash = strchr(copy, '-');
	slash = strchr(copy, '/');
	if (strncmp(copy, "bytes ", 6) != 0 || dash == NULL || slash == NULL || slash < dash)
		return false;
	*dash = *slash = '\0';
	return conf_number(slash + 1, 1, UPLOAD_SIZE_MAX, size) == 0 &&
	       conf_number(dash + 1, 0, *size - 1, end) == 0 &&
	       conf_number(copy + 6, 0, *end, offset) == 0;
}

/* Which part of what size; what is not said comes from the length of the body. */
static bool upload_query(struct upload *u)
{
	struct http_request *r = u->r;
	const char *size = http_query(r, "size"), *offset = http_query(r, "offset");
	const char *path = http_query(r, "path"), *range;
	uint64_t length = http_body_length(r), end;
	bool put = r->method == HTTP_PUT;

	range = put ? http_request_header(r, "Content-Range") : NULL;
	u->replace = http_query(r, "replace") != NULL;
	u->anew = offset == NULL && range == NULL;
	u->size = length;
	if (path == NULL || (size == NULL && (!put || offset != NULL)))
		return false;
	if (range != NULL && (size != NULL || !upload_range(range, &u->offset, &end, &u->size) ||
			      length != end - u->offset + 1))
		return false;
	if (size != NULL && conf_number(size, 0, UPLOAD_SIZE_MAX, &u->size) != 0)
		return false;
	u->unsized = u->size == HTTP_LENGTH_UNKNOWN;
	if (!u->unsized && u->size > UPLOAD_SIZE_MAX)
		return false;
	if (offset != NULL && conf_number(offset, 0, u->size, &u->offset) != 0)
		return false;
	upload_name(u, path);
	return true;
}

static void upload_refuse_query(struct http_request *r)
{
	api_error(r, 400, "bad_request",
		  "An upload needs path=. A part of it needs size= (of the whole) and offset= too, "
		  "or Content-Range.");
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void upload_free(struct upload *u)
{
	place_free(&u->place);
	free(u);
}

static void upload_dropped(struct aside_job *job)
{
	upload_free((struct upload *)job);
}

/* It was answered. Even closing a file may have to wait for the volume. */
static void upload_end(struct upload *u)
{
	if (u->listed) {
		struct upload **at = &uploads;

		while (*at != u)
			at = &(*at)->next;
		*at = u->next;
		u->listed = false;
	}
	u->r = NULL;
	u->job.work = upload_drop;
	u->job.done = upload_dropped;
	if (u->fd >= 0 && u->t->aside != NULL &&
	    aside_post(u->t->aside, ASIDE_CHANGE, &u->job) == 0)
		return;
	if (u->fd >= 0)
		upload_drop(&u->job);
	upload_free(u);
}

static void upload_reply(struct upload *u, int status, bool done)
{
	json_t *body = json_pack("{s:I, s:b}", "offset", (json_int_t)u->have, "done", done);

	if (!u->unsized && body != NULL)
		json_object_set_new(body, "size", json_integer((json_int_t)u->size));
	api_json(u->r, status, body);
	upload_end(u);
}

static void upload_fail(struct upload *u, int err)
{
	if (err == -ENOSPC)
		bin_sweep(u->t);  /* perhaps the next try fits */
	if (err == -ECONNRESET) { /* nobody hears it */
		log_info("an upload to %s broke off at byte %" PRIu64, u->place.path, u->have);
		http_reply(u->r, 400, NULL, NULL, 0);
	} else {
		api_errno(u->r, err, "The upload");
	}
	upload_end(u);
}

/* A client that comes back has lost its connection, and we may not have noticed. */
static void upload_supersede(const struct upload *by)
{
	for (struct upload *u = uploads, *next; u != NULL; u = next) {
		next = u->next;
		if (strcmp(u->part, by->part) != 0)
			continue;
		u->superseded = true;
		if (u->waiting)
			upload_fail(u, -ECANCELED);
	}
}

/* Nobody takes the places of all others; what comes back has the place that it had. */
static bool upload_room(const struct upload *by)
{
	unsigned all = 0, its = 0;

	for (const struct upload *u = uploads; u != NULL; u = u->next) {
		if (!u->superseded && strcmp(u->part, by->part) == 0)
			continue;
		all++;
		its += by->who[0] != '\0' && strcmp(u->who, by->who) == 0;
	}
	return all < UPLOADS_MAX && its < UPLOADS_EACH;
}

/* ---- a body, piece by piece -------------------------------------------------------------------
 */

static void upload_next(struct upload *u);

static void upload_step(struct upload *u, void (*work)(struct aside_job *job),
			void (*done)(struct aside_job *job))
{
	int err;

	u->job.work = work;
	u->job.done = done;
	err = aside_post(u->t->aside, ASIDE_CHANGE, &u->job);
	if (err != 0)
		upload_fail(u, err);
}

/* False: it has ended. */
static bool upload_goes_on(struct upload *u)
{
	if (u->superseded && u->err == 0)
		u->err = -ECANCELED;
	if (u->err == 0)
		return true;
	upload_fail(u, u->err);
	return false;
}

static void upload_finished(struct aside_job *job)
{
	struct upload *u = (struct upload *)job;

	if (u->err != 0) {
		upload_fail(u, u->err);
		return;
	}
	scan_place(u->t->scan, u->place.folder, u->place.name);
	upload_reply(u, 200, true);
}

static void upload_written(struct aside_job *job)
{
	struct upload *u = (struct upload *)job;

	if (!upload_goes_on(u))
		return;
	if (u->broke != 0)
		upload_fail(u, u->broke);
	else if (!u->last)
		upload_next(u);
	else if (u->unsized || u->have == u->size)
		upload_step(u, upload_finish, upload_finished);
	else
		upload_reply(u, 200, false);
}

static void upload_came(void *arg, int err, const void *data, size_t len, bool last)
{
	struct upload *u = arg;

	u->waiting = false;
	u->broke = err;
	u->last = last && err == 0;
	u->data = data;
	u->len = len;
	if (u->t->aside == NULL) /* the end */
		upload_fail(u, -ECONNRESET);
	else if (len > (u->unsized ? UPLOAD_SIZE_MAX : u->size) - u->have)
		upload_reply(u, 409, false);
	else if (len > 0)
		upload_step(u, upload_write, upload_written);
	else
		upload_written(&u->job);
}

static void upload_next(struct upload *u)
{
	u->waiting = true;
	http_body_next(u->r, UPLOAD_PIECE, upload_came, u);
}

static void upload_opened(struct aside_job *job)
{
	struct upload *u = (struct upload *)job;

	if (!upload_goes_on(u))
		return;
	if (u->misfit)
		upload_reply(u, 409, false);
	else
		upload_next(u);
}

void api_upload_put(struct tagger *t, struct http_request *r)
{
	const char *who = http_request_header(r, "X-Weft-User");
	struct upload *u;
	int err;

	if (!api_may_change(t, r))
		return;
	u = upload_new(t, r);
	if (u == NULL) {
		api_errno(r, -ENOMEM, "The upload");
		return;
	}
	if (!upload_query(u)) {
		upload_refuse_query(r);
		upload_free(u);
		return;
	}
	if (!api_allow(r, scope_may_put(api_scope(r), http_query(r, "path")))) {
		upload_free(u);
		return;
	}
	snprintf(u->who, sizeof(u->who), "%s", who != NULL ? who : "");
	if (!upload_room(u)) {
		api_errno(r, -EAGAIN, "The upload");
		upload_free(u);
		return;
	}
	/* said before any of it has come */
	err = place_new(t->index, http_query(r, "path"), &u->place);
	if (err != 0) {
		api_errno(r, err, "The upload");
		upload_free(u);
		return;
	}
	upload_supersede(u);
	u->next = uploads;
	uploads = u;
	u->listed = true;
	upload_step(u, upload_open, upload_opened);
}

/* ---- how far it is ----------------------------------------------------------------------------
 */

static void upload_looked(struct aside_job *job)
{
	struct upload *u = (struct upload *)job;

	if (u->err != 0)
		upload_fail(u, u->err);
	else
		upload_reply(u, 200, false);
}

void api_upload_get(struct tagger *t, struct http_request *r)
{
	struct upload *u = upload_new(t, r);

	if (u == NULL) {
		api_errno(r, -ENOMEM, "The upload");
	} else if (!upload_query(u)) {
		upload_refuse_query(r);
		upload_free(u);
	} else if (!api_allow(r, scope_may_put(api_scope(r), http_query(r, "path")))) {
		upload_free(u);
	} else {
		if (r->method == HTTP_DELETE)
			upload_supersede(u);
		upload_step(u, upload_look, upload_looked);
	}
}

/* What has come is thrown away. */
void api_upload_delete(struct tagger *t, struct http_request *r)
{
	api_upload_get(t, r);
}
