/*
 * An end to requests that come too slowly. libevent's limit is one on silence: who sends a byte now
 * and then keeps a connection, and with some thousand of them everybody else out. So a request that
 * is received here has to be whole some time after its first byte. (A body that is read as it comes
 * may take as long as it takes: who may send one is known by then.)
 *
 * The time that is left becomes the time-out of the next read, so there is no timer to end when
 * libevent closes a connection, of which it does not tell. A new one may have the address and the
 * descriptor of one that went, so what is known of it is forgotten when it begins.
 */
#include "config.h"

#include <stdint.h>
#include <time.h>

#include "http-impl.h"
#include "banned.h"

#define LATE_SLOTS (HTTP_FD_MAX + 1096)

/* One thread serves. */
static struct {
	struct bufferevent *bev; /* NULL: nothing of a request has come */
	int64_t until_ms;	 /* 0: it is being answered */
} slots[LATE_SLOTS];

static int64_t late_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int late_slot(struct bufferevent *bev)
{
	evutil_socket_t fd = bufferevent_getfd(bev);

	return fd >= 0 && fd < LATE_SLOTS ? fd : -1;
}

static void late_limit(struct bufferevent *bev, int64_t read_ms)
{
	static const struct timeval patience = {.tv_sec = HTTP_TIMEOUT_S};
	struct timeval left = {.tv_sec = read_ms / 1000, .tv_usec = read_ms % 1000 * 1000};

	bufferevent_set_timeouts(bev, &left, &patience);
}

static void late_came(struct evbuffer *in, const struct evbuffer_cb_info *info, void *arg)
{
	struct bufferevent *bev = arg;
	int slot = late_slot(bev);
	int64_t now, left;

	if (info->n_added == 0 || slot < 0 || (slots[slot].bev == bev && slots[slot].until_ms == 0))
		return;
	now = late_now_ms();
	if (slots[slot].bev != bev) {
		slots[slot].bev = bev;
		slots[slot].until_ms = now + HTTP_REQUEST_S * 1000;
	}
	left = slots[slot].until_ms - now;
	late_limit(bev, left > 0 ? left : 1);
}

void http_late_watch(struct bufferevent *bev)
{
	for (int i = 0; i < LATE_SLOTS; i++)
		if (slots[i].bev == bev)
			slots[i].bev = NULL;
	evbuffer_add_cb(bufferevent_get_input(bev), late_came, bev);
}

void http_late_arrived(struct bufferevent *bev)
{
	int slot = late_slot(bev);

	if (slot < 0)
		return;
	slots[slot].bev = bev;
	slots[slot].until_ms = 0;
	late_limit(bev, HTTP_TIMEOUT_S * 1000);
}

void http_late_next(struct bufferevent *bev)
{
	int slot = late_slot(bev);
	bool begun = evbuffer_get_length(bufferevent_get_input(bev)) > 0;

	if (slot < 0)
		return;
	slots[slot].bev = begun ? bev : NULL;
	slots[slot].until_ms = late_now_ms() + HTTP_REQUEST_S * 1000;
	late_limit(bev, (begun ? HTTP_REQUEST_S : HTTP_TIMEOUT_S) * 1000);
}
