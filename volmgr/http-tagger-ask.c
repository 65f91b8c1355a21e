/*
 * Short requests of our own to tagger: what it says of itself, for /metrics, and whether something
 * is there, for shares. With a limit on time and size, since none of these must wait for a tagger
 * that hangs.
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

struct ask {
	struct bufferevent *up;
	struct control_timer *limit;
	void (*done)(void *arg, int status, const json_t *body);
	void *arg;
	struct ask *next;
};

static struct ask *asks; /* so that none is lost from sight */

static void ask_end(struct ask *a, int status, const json_t *body)
{
	for (struct ask **at = &asks; *at != NULL; at = &(*at)->next)
		if (*at == a) {
			*at = a->next;
			break;
		}
	a->done(a->arg, status, body);
	control_timer_free(a->limit);
	bufferevent_free(a->up);
	free(a);
}

static void ask_late(void *arg)
{
	ask_end(arg, 0, NULL);
}

/* The connection has ended, and so has the answer. */
static void ask_answered(struct ask *a)
{
	static const char gap[] = "\r\n\r\n";
	struct evbuffer *in = bufferevent_get_input(a->up);
	size_t len = evbuffer_get_length(in);
	const char *text = (const char *)evbuffer_pullup(in, -1), *body = NULL;
	json_t *said = NULL;
	int status = 0;

	if (text != NULL)
		body = memmem(text, len, gap, sizeof(gap) - 1);
	if (body != NULL && len > 12 && memcmp(text, "HTTP/1.", 7) == 0) {
		body += sizeof(gap) - 1;
		for (int i = 9; i < 12 && text[i] >= '0' && text[i] <= '9'; i++)
			status = status * 10 + text[i] - '0';
		said = json_loadb(body, len - (size_t)(body - text), 0, NULL);
	}
	ask_end(a, said != NULL ? status : 0, said);
	json_decref(said);
}

static void ask_read(struct bufferevent *bev, void *arg)
{
	if (evbuffer_get_length(bufferevent_get_input(bev)) > ASK_BYTES)
		ask_end(arg, 0, NULL);
}

static void ask_event(struct bufferevent *bev, short what, void *arg)
{
	if (what & BEV_EVENT_CONNECTED)
		return;
	if (what & BEV_EVENT_EOF)
		ask_answered(arg);
	else
		ask_end(arg, 0, NULL);
}

void api_tagger_ask(struct cluster *c, enum http_method method, const char *target,
		    void (*done)(void *arg, int status, const json_t *body), void *arg)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct ask *a;

	if (!api_tagger_there(c) || strlen(c->tagger) >= sizeof(to.sun_path)) {
		done(arg, 0, NULL);
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
	evbuffer_add_printf(bufferevent_get_output(a->up),
			    "%s /api/v1/%s HTTP/1.0\r\nHost: tagger\r\nX-Weft-Role: admin\r\n"
			    "Content-Length: 0\r\n\r\n",
			    method == HTTP_POST ? "POST" : "GET", target);
	if (bufferevent_socket_connect(a->up, (struct sockaddr *)&to, sizeof(to)) != 0) {
		ask_end(a, 0, NULL);
		return;
	}
	bufferevent_enable(a->up, EV_READ | EV_WRITE);
}
