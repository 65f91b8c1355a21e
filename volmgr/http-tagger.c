/*
 * tagger's API, passed through: what comes under /api/v1/tagger/ goes to tagger's Unix socket, when
 * volmgr has seen who asks and what they may. Answers flow through in pieces, no faster than the
 * browser takes them, so a film costs no memory; and so do uploads, no faster than tagger takes
 * them. One connection for each request, by HTTP/1.0: then an answer ends where the connection
 * does, and there is nothing to count.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "api.h"
#include "href.h"
#include "log.h"
#include "shares.h"
#include "banned.h"

#define TAGGER_PREFIX	  "/api/v1/tagger/"
#define TAGGER_ROUTE_MAX  32	     /* "tags/rename" */
#define TAGGER_WAITING	  (1u << 20) /* bytes on their way to the browser */
#define TAGGER_HEAD_LINES 64
#define TAGGER_SILENCE_S  120
#define TAGGER_RECHECK_MS 5000
#define UPLOAD_PIECE	  (128u << 10)
#define UPLOADS_MAX	  32u  /* at a time */
#define RELAYS_EACH	  64u  /* of one person at a time */
#define RELAYS_LINK	  256u /* of all that have one link */
#define TAGGER_TYPE_MAX	  128
/* a page among the files must not act as one of ours; a browser shows no PDF in a sandbox */
#define TAGGER_POLICY	  "sandbox; default-src 'none'; style-src 'unsafe-inline'"
#define TAGGER_POLICY_PDF                                                                          \
	"default-src 'none'; style-src 'unsafe-inline'; object-src 'self'; frame-ancestors 'self'"

struct relay {
	struct relay *next, **at; /* of all that there are */
	char whose[HTTP_WHO_MAX + 8];
	struct cluster *cluster;
	struct http_request *r;
	struct bufferevent *up;
	int status; /* 0: the first line has not come */
	unsigned lines;
	bool started; /* the answer has */
	/* an upload, whose body is passed on as it comes */
	bool upload, chunked;
	bool asked; /* for a piece of it */
	bool sent;  /* all of it */
	char type[TAGGER_TYPE_MAX];
	char route[TAGGER_ROUTE_MAX];
	char *scope, *base;	       /* what the request is held to; NULL: nothing */
	struct control_timer *recheck; /* of a stream that has no end, or NULL */
	char *object, *target; /* the paths that tagger says it has changed; NULL: it has not */
	char *bin;	       /* and the entry of the bin that it was about */
};

/* What tagger is told of the request, and the browser of the answer. */
static const char *const passed_up[] = {"Range", "If-None-Match", "Content-Type", "Content-Range"};
static const char *const passed_down[] = {"Content-Length",	 "Content-Range", "Accept-Ranges",
					  "Content-Disposition", "ETag",	  "Last-Modified",
					  "Cache-Control"};

static const struct timeval silence = {.tv_sec = TAGGER_SILENCE_S};
static unsigned uploads; /* that are passed on */
static struct relay *relays;

/* ---- ends ---------------------------------------------------------------------------------- */

static void relay_free(struct relay *y)
{
	*y->at = y->next;
	if (y->next != NULL)
		y->next->at = y->at;
	uploads -= y->upload;
	bufferevent_free(y->up);
	control_timer_free(y->recheck);
	free(y->scope);
	free(y->base);
	free(y->object);
	free(y->target);
	free(y->bin);
	free(y);
}

/* Nobody is to take this for the end of it. */
static void relay_cut(struct relay *y)
{
	http_stream_abort(y->r);
	relay_free(y);
}

static void relay_fail(struct relay *y, const char *why)
{
	struct refusal refusal;

	if (y->started) {
		relay_cut(y);
		return;
	}
	refuse(&refusal, 503, "tagger_away", "tagger does not answer: %s.", why);
	refuse_hint(&refusal, "Is tagger running on the mounted volume, with this user's rights?");
	api_refuse(y->r, &refusal);
	relay_free(y);
}

static void relay_gone(void *arg)
{
	struct relay *y = arg;

	http_stream_end(y->r);
	relay_free(y);
}

/* ---- the answer ---------------------------------------------------------------------------- */

static void relay_note(const struct relay *y)
{
	static const struct {
		enum http_method method;
		const char *route, *event;
	} events[] = {
		{HTTP_DELETE, "file", "file.deleted"},
		{HTTP_POST, "move", "file.moved"},
		{HTTP_POST, "bin/restore", "file.restored"},
		{HTTP_DELETE, "bin", "bin.emptied"},
		{HTTP_POST, "mkdir", "folder.made"},
		{HTTP_POST, "tags/rename", "tag.renamed"},
		{HTTP_DELETE, "tags", "tag.deleted"},
	};
	const char *tag = http_query(y->r, "tag");
	char *object = y->object != NULL ? href_text(y->object) : NULL;
	char *target = y->target != NULL ? href_text(y->target) : NULL;

	for (size_t i = 0; y->status < 300 && i < sizeof(events) / sizeof(events[0]); i++)
		if (y->r->method == events[i].method && strcmp(y->route, events[i].route) == 0)
			events_note(y->cluster, y->r->who, events[i].event, "", "%s%s%s",
				    object != NULL ? object
				    : tag != NULL  ? tag
						   : "",
				    target != NULL ? " -> " : "", target != NULL ? target : "");
	free(object);
	free(target);
}

/*
 * Changes are told for as long as somebody listens. Who may not hear them any more, or others, is
 * let go of: a browser comes again by itself, and is asked then who it is.
 */
static void relay_recheck(void *arg)
{
	struct relay *y = arg;
	bool same = api_auth_still(y->cluster, y->r);
	char *scope = scope_text(y->cluster, y->r->who, (enum role)y->r->rights);

	if (scope == NULL || y->scope == NULL)
		same = same && scope == y->scope;
	else
		same = same && strcmp(scope, y->scope) == 0;
	free(scope);
	if (!same)
		relay_gone(y);
}

/* And so may a download, which ends with the right to look at what it is of. */
static void relay_recheck_download(void *arg)
{
	struct relay *y = arg;
	struct cluster *c = y->cluster;
	enum role role;
	char *path;
	bool may;

	if (api_shared_path(y->r->path)) {
		may = api_shared_still(c, y->r, y->scope);
	} else if (!api_auth_still(c, y->r)) {
		may = false;
	} else {
		role = (enum role)y->r->rights;
		path = y->object != NULL ? href_decode(y->object) : NULL;
		may = path != NULL ? share_may_look(c, y->r->who, role, path)
				   : scope_holds(c, y->r->who, role, y->scope);
		free(path);
	}
	if (!may)
		relay_cut(y);
}

/* An upload may take days: it ends with the right to it. */
static void relay_recheck_upload(void *arg)
{
	struct relay *y = arg;
	const char *path = http_query(y->r, "path");
	struct refusal refusal;

	if (y->started || y->sent || http_is_gone(y->r))
		return;
	if (api_auth_still(y->cluster, y->r) && path != NULL &&
	    share_may_put(y->cluster, y->r->who, (enum role)y->r->rights, path))
		return;
	refuse(&refusal, 403, "not_allowed", "You may not do this here any more.");
	api_refuse(y->r, &refusal);
	relay_free(y); /* tagger sees it break off, and keeps what has come */
}

/* Shares go along with what they are of. */
static void relay_follow(const struct relay *y)
{
	bool done = y->status < 300 && y->object != NULL;

	if (done && y->r->method == HTTP_DELETE && strcmp(y->route, "file") == 0)
		shares_deleted(y->cluster, y->object, y->bin);
	else if (done && strcmp(y->route, "move") == 0)
		shares_moved(y->cluster, y->object, y->target, y->r->who, (enum role)y->r->rights);
	else if (done && y->target != NULL && y->bin != NULL &&
		 strcmp(y->route, "bin/restore") == 0)
		shares_restored(y->cluster, y->bin, y->object, y->target);
}

static void relay_headers_done(struct relay *y)
{
	bool pdf = strncmp(y->type, "application/pdf", 15) == 0;

	relay_note(y);
	relay_follow(y);
	http_header(y->r, "Content-Security-Policy", pdf ? TAGGER_POLICY_PDF : TAGGER_POLICY);
	y->started = true;
	if (y->status == 200 && strcmp(y->route, "events") == 0)
		y->recheck = control_timer_start(y->cluster->control, TAGGER_RECHECK_MS, 1,
						 relay_recheck, y);
	else if (y->r->method == HTTP_GET)
		y->recheck = control_timer_start(y->cluster->control, TAGGER_RECHECK_MS, 1,
						 relay_recheck_download, y);
	http_stream_start(y->r, y->status, y->type[0] != '\0' ? y->type : NULL, relay_gone, y);
}

static void relay_keep(char **slot, const char *name, const char *line, size_t len,
		       const char *value)
{
	if (len == strlen(name) && strncasecmp(line, name, len) == 0 && *slot == NULL)
		*slot = strdup(value);
}

static void relay_header(struct relay *y, const char *line)
{
	const char *colon = strchr(line, ':'), *value;
	size_t len;

	if (colon == NULL)
		return;
	len = (size_t)(colon - line);
	value = colon + 1 + strspn(colon + 1, " ");
	if (len == 12 && strncasecmp(line, "Content-Type", len) == 0)
		snprintf(y->type, sizeof(y->type), "%s", value);
	relay_keep(&y->object, "X-Weft-Object", line, len, value);
	relay_keep(&y->target, "X-Weft-Target", line, len, value);
	relay_keep(&y->bin, "X-Weft-Bin", line, len, value);
	for (size_t i = 0; i < sizeof(passed_down) / sizeof(passed_down[0]); i++)
		if (strlen(passed_down[i]) == len && strncasecmp(line, passed_down[i], len) == 0)
			http_header(y->r, passed_down[i], value);
}

/* One line of the head; false: it is no answer of HTTP. */
static bool relay_line(struct relay *y, const char *line)
{
	if (++y->lines > TAGGER_HEAD_LINES)
		return false;
	if (y->status == 0) {
		if (strncmp(line, "HTTP/1.", 7) != 0 || strlen(line) < 12)
			return false;
		y->status = (int)strtol(line + 9, NULL, 10);
		return y->status >= 200 && y->status < 600;
	}
	if (*line != '\0')
		relay_header(y, line);
	else
		relay_headers_done(y);
	return true;
}

static void relay_resume(void *arg)
{
	struct relay *y = arg;

	bufferevent_enable(y->up, EV_READ);
}

static void relay_body(struct relay *y, struct evbuffer *in)
{
	size_t len = evbuffer_get_length(in);

	if (len == 0)
		return;
	http_stream_write(y->r, evbuffer_pullup(in, -1), len);
	evbuffer_drain(in, len);
	if (http_stream_waiting(y->r) > TAGGER_WAITING) {
		bufferevent_disable(y->up, EV_READ);
		http_stream_drained(y->r, relay_resume, y);
	}
}

static void relay_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	struct relay *y = arg;
	char *line;

	while (!y->started && (line = evbuffer_readln(in, NULL, EVBUFFER_EOL_CRLF)) != NULL) {
		bool good = relay_line(y, line);

		free(line);
		if (!good) {
			relay_fail(y, "it gave a strange answer");
			return;
		}
	}
	if (!y->started)
		return;
	if (http_is_gone(y->r))
		relay_gone(y);
	else
		relay_body(y, in);
}

static void relay_event(struct bufferevent *bev, short what, void *arg)
{
	struct relay *y = arg;

	if (what & BEV_EVENT_CONNECTED)
		return;
	if (!y->started || !(what & BEV_EVENT_EOF)) {
		relay_fail(y, what & BEV_EVENT_TIMEOUT ? "it took too long"
						       : strerror(errno != 0 ? errno : ECONNRESET));
		return;
	}
	relay_body(y, bufferevent_get_input(bev));
	http_stream_end(y->r);
	relay_free(y);
}

/* ---- the body of an upload ------------------------------------------------------------------- */

/* What had come of a body that broke off has gone to tagger, which keeps it. */
static void relay_flushed(struct bufferevent *bev, void *arg)
{
	if (evbuffer_get_length(bufferevent_get_output(bev)) == 0)
		relay_free(arg);
}

static void relay_flush_event(struct bufferevent *bev, short what, void *arg)
{
	if (!(what & BEV_EVENT_CONNECTED))
		relay_free(arg);
}

static void relay_broke(struct relay *y, int err)
{
	struct refusal refusal;

	refuse(&refusal, 400, "bad_request", "The upload: %s.", strerror(-err));
	api_refuse(y->r, &refusal);
	bufferevent_setwatermark(y->up, EV_WRITE, 0, 0);
	bufferevent_setcb(y->up, NULL, relay_flushed, relay_flush_event, y);
	if (evbuffer_get_length(bufferevent_get_output(y->up)) == 0)
		relay_free(y);
}

static void relay_ask(struct relay *y);

static void relay_piece(void *arg, int err, const void *data, size_t len, bool last)
{
	struct relay *y = arg;
	struct evbuffer *out = bufferevent_get_output(y->up);

	y->asked = false;
	if (len > 0 && y->chunked)
		evbuffer_add_printf(out, "%zx\r\n", len);
	evbuffer_add(out, data, len);
	if (len > 0 && y->chunked)
		evbuffer_add(out, "\r\n", 2);
	if (err != 0) {
		relay_broke(y, err);
		return;
	}
	y->sent = last;
	if (last && y->chunked)
		evbuffer_add(out, "0\r\n\r\n", 5);
	if (last)
		bufferevent_set_timeouts(y->up, &silence, &silence);
	else if (evbuffer_get_length(out) < TAGGER_WAITING)
		relay_ask(y);
}

static void relay_ask(struct relay *y)
{
	y->asked = true;
	http_body_next(y->r, UPLOAD_PIECE, relay_piece, y);
}

/* tagger has taken most of what there was. */
static void relay_wrote(struct bufferevent *bev, void *arg)
{
	struct relay *y = arg;

	if (y->upload && !y->asked && !y->sent && !y->started)
		relay_ask(y);
}

static void relay_upload(struct relay *y)
{
	uint64_t length = http_body_length(y->r);

	uploads++;
	y->upload = true;
	y->recheck = control_timer_start(y->cluster->control, TAGGER_RECHECK_MS, 1,
					 relay_recheck_upload, y);
	y->chunked = length == HTTP_LENGTH_UNKNOWN;
	if (y->chunked)
		evbuffer_add_printf(bufferevent_get_output(y->up),
				    "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
	else
		evbuffer_add_printf(bufferevent_get_output(y->up),
				    "Content-Length: %" PRIu64 "\r\n\r\n", length);
	/* no answer is to be expected before the end */
	bufferevent_set_timeouts(y->up, NULL, &silence);
	bufferevent_setwatermark(y->up, EV_WRITE, TAGGER_WAITING / 2, 0);
	relay_ask(y);
}

/* ---- the request --------------------------------------------------------------------------- */

static const char *relay_method(const struct http_request *r)
{
	static const char *const names[] = {
		[HTTP_GET] = "GET",	[HTTP_POST] = "POST",	  [HTTP_PUT] = "PUT",
		[HTTP_PATCH] = "PATCH", [HTTP_DELETE] = "DELETE", [HTTP_OTHER] = "OPTIONS"};

	return r->head ? "HEAD" : names[r->method];
}

static void relay_send(struct relay *y)
{
	struct evbuffer *out = bufferevent_get_output(y->up);
	const struct http_request *r = y->r;
	const char *query = http_query_text(r);

	evbuffer_add_printf(out, "%s /api/v1/%s%s%s HTTP/1.%c\r\nHost: tagger\r\n", relay_method(r),
			    y->route, *query != '\0' ? "?" : "", query,
			    http_body_length(r) == HTTP_LENGTH_UNKNOWN ? '1' : '0');
	evbuffer_add_printf(out, "X-Weft-User: %s\r\nX-Weft-Role: %s\r\n", r->who,
			    r->rights >= ROLE_ADMIN  ? "admin"
			    : r->rights >= ROLE_USER ? "user"
						     : "read_only");
	if (y->scope != NULL)
		evbuffer_add_printf(out, "X-Weft-Scope: %s\r\n", y->scope);
	if (y->base != NULL)
		evbuffer_add_printf(out, "X-Weft-Base: %s\r\n", y->base);
	for (size_t i = 0; i < sizeof(passed_up) / sizeof(passed_up[0]); i++) {
		const char *value = http_request_header(r, passed_up[i]);

		if (value != NULL)
			evbuffer_add_printf(out, "%s: %s\r\n", passed_up[i], value);
	}
	if (r->method == HTTP_PUT && strcmp(y->route, "upload") == 0) {
		relay_upload(y);
		return;
	}
	evbuffer_add_printf(out, "Content-Length: %zu\r\n\r\n", r->body_len);
	if (r->body_len > 0)
		evbuffer_add(out, r->body, r->body_len);
}

bool api_tagger_path(const char *path)
{
	return strncmp(path, TAGGER_PREFIX, strlen(TAGGER_PREFIX)) == 0;
}

bool api_tagger_there(const struct cluster *c)
{
	return access(c->tagger, W_OK) == 0;
}

/* The part of the path that is tagger's: small letters and slashes. */
static bool relay_route(const char *path, char *route)
{
	const char *rest = path + strlen(TAGGER_PREFIX);
	size_t len = strlen(rest);

	if (len == 0 || len >= TAGGER_ROUTE_MAX ||
	    strspn(rest, "abcdefghijklmnopqrstuvwxyz/") != len)
		return false;
	memcpy(route, rest, len + 1);
	return true;
}

/*
 * Each takes two descriptors of those there are for all, for as long as its receiver likes: nobody
 * takes all of them, and what is taken behind one link is not missed behind another.
 */
static bool relay_room(const struct http_request *r, char *whose, size_t max)
{
	bool link = api_shared_path(r->path);
	unsigned n = 0;

	if (link)
		snprintf(whose, max, "link %.*s", HTTP_WHO_MAX,
			 r->path + strlen("/api/v1/shared/"));
	else
		snprintf(whose, max, "who %s", r->who);
	if (link && strchr(whose, '/') != NULL)
		*strchr(whose, '/') = '\0';
	for (const struct relay *y = relays; y != NULL; y = y->next)
		n += strcmp(y->whose, whose) == 0;
	return http_is_local(r) || n < (link || r->who[0] == '\0' ? RELAYS_LINK : RELAYS_EACH);
}

void api_tagger_relay(struct cluster *c, struct http_request *r, const char *route, char *scope,
		      char *base)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	char whose[sizeof(relays->whose)];
	struct refusal refusal;
	struct relay *y;

	if (!relay_room(r, whose, sizeof(whose))) {
		refuse(&refusal, 503, "busy", "Too many files are sent to you at this moment.");
		refuse_hint(&refusal, "Try again when some of them have come.");
		api_refuse(r, &refusal);
		free(scope);
		free(base);
		return;
	}
	y = mem_must(sizeof(*y));
	memcpy(y->whose, whose, sizeof(whose));
	y->next = relays;
	y->at = &relays;
	if (y->next != NULL)
		y->next->at = &y->next;
	relays = y;
	y->cluster = c;
	y->r = r;
	y->scope = scope;
	y->base = base;
	snprintf(y->route, sizeof(y->route), "%s", route);
	memcpy(to.sun_path, c->tagger, strnlen(c->tagger, sizeof(to.sun_path) - 1));
	y->up = bufferevent_socket_new(control_base(c->control), -1, BEV_OPT_CLOSE_ON_FREE);
	if (y->up == NULL)
		abort(); /* as mem_must() */
	bufferevent_setcb(y->up, relay_read, relay_wrote, relay_event, y);
	bufferevent_set_timeouts(y->up, &silence, &silence);
	bufferevent_setwatermark(y->up, EV_READ, 0, TAGGER_WAITING);
	relay_send(y);
	if (bufferevent_socket_connect(y->up, (struct sockaddr *)&to, sizeof(to)) != 0) {
		relay_fail(y, "it is not running");
		return;
	}
	bufferevent_enable(y->up, EV_READ | EV_WRITE);
}

void api_tagger(struct cluster *c, struct http_request *r)
{
	char route[TAGGER_ROUTE_MAX];
	struct refusal refusal;

	if (api_auth_need(r, r->method == HTTP_GET ? ROLE_READ : ROLE_USER, &refusal) != 0) {
		api_refuse(r, &refusal);
		return;
	}
	if (uploads >= UPLOADS_MAX && r->method == HTTP_PUT) {
		refuse(&refusal, 503, "busy", "There are %u uploads already.", uploads);
		refuse_hint(&refusal, "Try again in a while.");
		api_refuse(r, &refusal);
		return;
	}
	if (!relay_route(r->path, route)) {
		refuse(&refusal, 404, "no_such_path", "There is nothing under this path.");
		api_refuse(r, &refusal);
		return;
	}
	api_tagger_relay(c, r, route, scope_text(c, r->who, (enum role)r->rights), NULL);
}
