/*
 * What tagger says of itself, for /metrics: one short request to its socket, with a limit on time
 * and size, since a scrape must not wait for a tagger that hangs.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "api.h"
#include "banned.h"

#define ASK_MS	  2000
#define ASK_BYTES (64 << 10)
#define ASK_TEXT  "GET /api/v1/status HTTP/1.0\r\nHost: tagger\r\nX-Weft-Role: admin\r\n\r\n"

struct ask {
	struct bufferevent *up;
	struct control_timer *limit;
	void (*done)(void *arg, const json_t *status);
	void *arg;
	struct ask *next;
};

static struct ask *asks; /* so that none is lost from sight */

static void ask_end(struct ask *a, const json_t *status)
{
	for (struct ask **at = &asks; *at != NULL; at = &(*at)->next)
		if (*at == a) {
			*at = a->next;
			break;
		}
	a->done(a->arg, status);
	control_timer_free(a->limit);
	bufferevent_free(a->up);
	free(a);
}

static void ask_late(void *arg)
{
	ask_end(arg, NULL);
}

/* The connection has ended, and so has the answer. */
static void ask_answered(struct ask *a)
{
	static const char gap[] = "\r\n\r\n";
	struct evbuffer *in = bufferevent_get_input(a->up);
	size_t len = evbuffer_get_length(in);
	const char *text = (const char *)evbuffer_pullup(in, -1), *body = NULL;
	json_t *status = NULL;

	if (text != NULL)
		body = memmem(text, len, gap, sizeof(gap) - 1);
	if (body != NULL && len > 12 && memcmp(text, "HTTP/1.", 7) == 0 &&
	    memcmp(text + 8, " 200", 4) == 0) {
		body += sizeof(gap) - 1;
		status = json_loadb(body, len - (size_t)(body - text), 0, NULL);
	}
	ask_end(a, status);
	json_decref(status);
}

static void ask_read(struct bufferevent *bev, void *arg)
{
	if (evbuffer_get_length(bufferevent_get_input(bev)) > ASK_BYTES)
		ask_end(arg, NULL);
}

static void ask_event(struct bufferevent *bev, short what, void *arg)
{
	if (what & BEV_EVENT_CONNECTED)
		return;
	if (what & BEV_EVENT_EOF)
		ask_answered(arg);
	else
		ask_end(arg, NULL);
}

void api_tagger_status(struct cluster *c, void (*done)(void *arg, const json_t *status), void *arg)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct ask *a;

	if (!api_tagger_there(c) || strlen(c->tagger) >= sizeof(to.sun_path)) {
		done(arg, NULL);
		return;
	}
	memcpy(to.sun_path, c->tagger, strlen(c->tagger) + 1);
	a = mem_must(sizeof(*a));
	a->done = done;
	a->arg = arg;
	a->up = bufferevent_socket_new(control_base(c->control), -1, BEV_OPT_CLOSE_ON_FREE);
	if (a->up == NULL)
		abort(); /* as mem_must() */
	a->next = asks;
	asks = a;
	a->limit = control_timer_start(c->control, ASK_MS, 0, ask_late, a);
	bufferevent_setcb(a->up, ask_read, NULL, ask_event, a);
	evbuffer_add(bufferevent_get_output(a->up), ASK_TEXT, sizeof(ASK_TEXT) - 1);
	if (bufferevent_socket_connect(a->up, (struct sockaddr *)&to, sizeof(to)) != 0) {
		ask_end(a, NULL);
		return;
	}
	bufferevent_enable(a->up, EV_READ | EV_WRITE);
}
