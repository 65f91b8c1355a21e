/*
 * Routed reads: clients' connections. See route.h.
 *
 * Two things a client's connection must never have: answers of which another's bytes are in the
 * middle, and a queue without an end. For the first, volmgr is alone before it sends more than one
 * message takes: the route is closed, nothing is on its way, and each server has given back a mark,
 * which it does after it has sent all that it had. For the second, volmgr asks how much the client
 * has not read, and waits.
 */
#include "config.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "bpf/remote.h"
#include "log.h"
#include "route.h"

#include "banned.h"

static void rc_timer(struct route_client *rc, uint64_t delay_ns)
{
	struct env *env = rc->wroute->worker->env;

	env->ops->timer_set(env, &rc->timer, env->ops->now_ns(env) + delay_ns);
}

static void set_open(struct route_client *rc, bool open)
{
	__atomic_store_n(&rc->shared->open, open, __ATOMIC_SEQ_CST);
}

static int32_t on_their_way(const struct route_client *rc)
{
	return (int32_t)__atomic_load_n(&rc->shared->inflight, __ATOMIC_SEQ_CST);
}

/* ---- beginning and end --------------------------------------------------------------------- */

/* One timer for two waits: to send when there is room, to be routed when it has been quiet. */
static void rc_fire(struct io_timer *t)
{
	struct route_client *rc =
		(struct route_client *)((char *)t - offsetof(struct route_client, timer));

	if (!rc->wants_alone && !rc->alone)
		set_open(rc, true);
	stream_kick(rc->stream);
}

/*
 * V's queue may hold WRITEs. Kernels since 6.14 count these against the socket's receive buffer,
 * and TCP behind a full one waits for its timers: so the buffer has room for both. The window may
 * use it; usually it grows with what is received by TCP.
 */
static bool has_room(int fd)
{
	int room = (int)ROUTE_QUEUE_MAX, window = (int)ROUTE_QUEUE_MAX / 2;

	return setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) == 0 &&
	       setsockopt(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, &window, sizeof(window)) == 0;
}

/* The connection has its place in the table, open; NULL: there is none, or we stop. */
static struct route_conn *claim(struct cluster *c, const struct nbd_session_place *place, int fd,
				uint32_t id, uint32_t volume)
{
	struct route_conn *m = &bpf_route_conns(c->bpf)[id % ROUTE_CONNS];

	if (__atomic_load_n(&m->id, __ATOMIC_SEQ_CST) != 0 || c->stopping)
		return NULL;
	*m = (struct route_conn){
		.volume = volume,
		.structured = place->structured,
		.boundary = place->taken,
		.received = place->taken,
		.queue = place->structured && has_room(fd) ? ROUTE_QUEUE_MAX : 0,
		.tcp_sent = place->answered,
		.open = 1,
	};
	if (bpf_route_front(c->bpf, fd, id, place->unsent) != 0)
		return NULL;
	__atomic_store_n(&m->id, id, __ATOMIC_SEQ_CST);
	return m;
}

void route_client_open(struct route_client *rc, struct worker *w, struct vol *v,
		       struct nbd_session *s, int fd)
{
	struct cluster *c = w->cluster;
	struct nbd_session_place place;
	bool roomy;
	uint32_t id;

	if (c->bpf == NULL || bpf_route_client(c->bpf, fd, &id, &roomy) != 0)
		return;
	nbd_session_place(s, &place);
	if (v->route != NULL && (place.structured || roomy)) {
		pthread_mutex_lock(&c->lock);
		rc->shared = claim(c, &place, fd, id, v->route->slot);
		pthread_mutex_unlock(&c->lock);
	}
	if (rc->shared == NULL) {
		bpf_route_leave(c->bpf, id);
		return;
	}
	rc->id = id;
	rc->fd = fd;
	rc->session = s;
	rc->timer.fire = rc_fire;
	nbd_session_route(s, &rc->shared->boundary, &rc->shared->received);
}

void route_client_here(struct route_client *rc, struct worker *w, struct stream *stream)
{
	if (rc->shared == NULL)
		return;
	rc->wroute = w->route;
	rc->fd = uring_stream_fd(stream);
	rc->stream = stream;
	w->route->clients[rc->id % ROUTE_CONNS] = rc;
	rc->next_all = w->route->all;
	w->route->all = rc;
	route_late_start(w->route);
}

static void list_remove(struct route_client *rc)
{
	struct route_client **at = &rc->wroute->waiting;

	while (*at != NULL && *at != rc)
		at = &(*at)->next;
	if (*at == rc)
		*at = rc->next;
	at = &rc->wroute->all;
	while (*at != rc)
		at = &(*at)->next_all;
	*at = rc->next_all;
}

void route_client_close(struct route_client *rc)
{
	struct wroute *wr = rc->wroute;

	if (rc->shared == NULL)
		return;
	set_open(rc, false);
	__atomic_store_n(&rc->shared->id, 0, __ATOMIC_SEQ_CST);
	rc->shared = NULL;
	if (wr == NULL)
		return;
	list_remove(rc);
	route_late_end(wr);
	wr->worker->env->ops->timer_cancel(wr->worker->env, &rc->timer);
	wr->clients[rc->id % ROUTE_CONNS] = NULL;
}

/* ---- room ---------------------------------------------------------------------------------- */

bool route_client_room(struct route_client *rc)
{
	uint64_t delivered, unread;

	if (rc->shared == NULL || rc->wroute == NULL)
		return true;
	delivered = __atomic_load_n(&rc->shared->delivered, __ATOMIC_SEQ_CST);
	if (delivered - rc->read_mark < ROUTE_UNREAD_MAX)
		return true;
	/* that much would be unread if nothing had been read since we asked last */
	unread = bpf_route_unread(rc->wroute->bpf, rc->fd, rc->id);
	rc->read_mark = delivered - (unread < delivered ? unread : delivered);
	if (unread < ROUTE_UNREAD_MAX)
		return true;
	rc_timer(rc, ROUTE_FULL_MS * NS_PER_MS);
	return false;
}

bool route_client_remote_room(struct route_client *rc, uint32_t bytes)
{
	uint64_t delivered = __atomic_load_n(&rc->shared->delivered, __ATOMIC_SEQ_CST), unread;

	bytes += (uint32_t)rc->remote_bytes;
	if (delivered - rc->read_mark + bytes <= REMOTE_UNREAD_MAX)
		return true;
	/* where the client made its buffer small the list holds most, and nobody counts that */
	if (!bpf_route_counts(rc->wroute->bpf) &&
	    bpf_route_remote_waiting(rc->wroute->bpf, rc->id) > 0)
		return false;
	unread = bpf_route_unread(rc->wroute->bpf, rc->fd, rc->id);
	rc->read_mark = delivered - (unread < delivered ? unread : delivered);
	return unread + bytes <= REMOTE_UNREAD_MAX;
}

/* ---- alone --------------------------------------------------------------------------------- */

static void granted(struct route_client *rc)
{
	rc->wants_alone = rc->marked = false;
	rc->alone = true;
	rc->remote_used = false;
	rc->list_ns = rc->list_look_ns = 0;
	rc->alone_seq = rc->shared->seq;
	nbd_session_alone(rc->session);
}

/* The list is looked at less and less often: a client that does not read would keep us busy. */
static bool list_is_empty(struct route_client *rc)
{
	const struct wroute *wr = rc->wroute;
	uint64_t now = wr->worker->env->ops->now_ns(wr->worker->env), wait;

	if (now < rc->list_look_ns)
		return false;
	if (bpf_route_remote_waiting(wr->bpf, rc->id) == 0)
		return true;
	if (rc->list_ns == 0)
		rc->list_ns = now;
	wait = now - rc->list_ns;
	if (wait < ROUTE_ALONE_US * 1000)
		wait = ROUTE_ALONE_US * 1000;
	rc->list_look_ns =
		now + (wait < ROUTE_LIST_MS * NS_PER_MS ? wait : ROUTE_LIST_MS * NS_PER_MS);
	return false;
}

/* Of what servers on other machines sent, the kernel has put all into the client's queue; nothing
 * of it is on its way. */
static bool nothing_waits(struct route_client *rc)
{
	return !rc->remote_used ||
	       (route_remote_back(rc->wroute, rc->remote_mark) && list_is_empty(rc));
}

/* True: it need not wait any more. */
static bool look_at(struct wroute *wr, struct route_client *rc)
{
	if (on_their_way(rc) > 0 || rc->remote_parts > 0)
		return false;
	if (!rc->marked) {
		rc->mark = route_mark_send(wr);
		rc->remote_mark = rc->remote_used ? route_remote_mark(wr) : 0;
		rc->marked = true;
	}
	return route_mark_back(wr, rc->mark) && nothing_waits(rc);
}

/* When one of those who wait is to be looked at. */
static uint64_t look_at_ns(const struct wroute *wr, uint64_t now)
{
	uint64_t at = UINT64_MAX;

	for (const struct route_client *rc = wr->waiting; rc != NULL; rc = rc->next) {
		uint64_t its =
			rc->list_look_ns > now ? rc->list_look_ns : now + ROUTE_ALONE_US * 1000;

		if (its < at)
			at = its;
	}
	return at;
}

void route_clients_look(struct wroute *wr)
{
	struct route_client **at = &wr->waiting, *ready = NULL, *rc;
	struct env *env = wr->worker->env;

	while ((rc = *at) != NULL) {
		if (!look_at(wr, rc)) {
			at = &rc->next;
			continue;
		}
		*at = rc->next;
		rc->next = ready;
		ready = rc;
	}
	while ((rc = ready) != NULL) {
		ready = rc->next;
		granted(rc);
	}
	if (wr->waiting != NULL)
		env->ops->timer_set(env, &wr->look, look_at_ns(wr, env->ops->now_ns(env)));
}

/* The session's: it waits with a large answer. */
void route_client_alone(struct route_client *rc)
{
	struct wroute *wr = rc->wroute;

	assert(rc->shared != NULL && wr != NULL && !rc->wants_alone && !rc->alone);
	set_open(rc, false);
	rc->wants_alone = true;
	if (rc->shared->seq == rc->alone_seq && on_their_way(rc) <= 0) {
		granted(rc); /* nothing was routed since it was alone */
		return;
	}
	rc->next = wr->waiting;
	wr->waiting = rc;
	route_clients_look(wr);
}

void route_client_shared(struct route_client *rc)
{
	rc->alone = false;
	if (rc->shared != NULL)
		rc_timer(rc, ROUTE_QUIET_MS * NS_PER_MS);
}

/* ---- reads that servers did not answer ----------------------------------------------------- */

void route_take(struct wroute *wr, uint64_t cookie)
{
	struct route_client *rc;
	struct route_read read;

	if (bpf_route_take(wr->bpf, cookie, &read) != 0)
		return;
	if ((cookie & ROUTE_STEERED) != 0) {
		route_steer_read(wr, cookie);
		return;
	}
	rc = wr->clients[read.conn % ROUTE_CONNS];
	if (rc == NULL || rc->id != read.conn)
		return;
	log_debug("a routed read of %u bytes at %llu is served by volmgr", read.len,
		  (unsigned long long)read.offset);
	nbd_session_read(rc->session, read.flags, be64toh(read.cookie), read.offset, read.len);
}

struct take {
	struct wroute *wr;
	uint64_t key;
};

static void take_one(void *arg, uint64_t cookie, const struct route_read *read)
{
	const struct take *take = arg;

	if (read->server == take->key)
		route_take(take->wr, cookie);
}

void route_take_all(struct wroute *wr, uint64_t key)
{
	struct take take = {.wr = wr, .key = key};

	bpf_route_each(wr->bpf, take_one, &take);
}
