/*
 * Routed reads: the connections on which servers get and answer them. See route.h.
 *
 * One for each server of this machine and data thread, beside the one for volmgr's own calls: the
 * requests come from clients, past us, and so do the answers go. What does come here is what a
 * client cannot be given: errors, and answers that nobody waits for. Then the read is served by
 * volmgr, as if it had come here first.
 *
 * A connection opens when it has proved that it works, and each has a key of its own, so that a
 * read can never reach a later run of the server than the one it was meant for.
 */
#include "config.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "route.h"

#include "banned.h"

enum rs_state {
	RS_IDLE, /* until the timer */
	RS_CONNECTING,
	RS_HELLO,
	RS_PROVING,
	RS_OPEN,
	RS_ENDING, /* until the other end has closed, too */
};

struct route_server {
	struct wroute *wroute;
	struct route_server *next;
	uint32_t number;
	char name[NAME_MAX_BYTES + 1];
	uint16_t port;
	uint8_t boot[WEFT_UUID_BYTES]; /* of the run that we want */
	uint64_t key;
	enum rs_state state;
	bool removed;
	bool told; /* why it does not work */
	struct stream *stream;
	struct nbd_client *client;
	uint64_t sent, back; /* marks */
	uint64_t sent_ns;    /* the oldest that is not back */
	struct io_timer timer;
};

static void rs_connect(struct route_server *rs);

static uint64_t rs_now(const struct route_server *rs)
{
	struct env *env = rs->wroute->worker->env;

	return env->ops->now_ns(env);
}

static void rs_timer(struct route_server *rs, unsigned delay_ms)
{
	struct env *env = rs->wroute->worker->env;

	env->ops->timer_set(env, &rs->timer, rs_now(rs) + delay_ms * NS_PER_MS);
}

static void rs_unlink(struct route_server *rs)
{
	struct route_server **at = &rs->wroute->servers;

	while (*at != rs)
		at = &(*at)->next;
	*at = rs->next;
}

/* ---- the end ------------------------------------------------------------------------------- */

static void take_one(void *arg, uint64_t cookie, const struct route_read *read)
{
	const struct route_server *rs = arg;

	if (read->server == rs->key)
		route_take(rs->wroute, cookie);
}

static void rs_gone(struct route_server *rs)
{
	struct wroute *wr = rs->wroute;
	struct worker *w = wr->worker;
	bool used = rs->state >= RS_PROVING;

	rs->state = RS_IDLE;
	route_gates(w);
	if (used)
		bpf_route_each(wr->bpf, take_one, rs);
	route_clients_look(wr); /* nobody waits for its mark any more */
	if (rs->removed || w->quitting != NULL) {
		w->env->ops->timer_cancel(w->env, &rs->timer);
		rs_unlink(rs);
		free(rs);
		w->open_peers--;
		worker_check_quit(w);
		return;
	}
	rs_timer(rs, ROUTE_RETRY_MS);
}

static void rs_closed(void *ctx, struct nbd_client *c, int err, const char *why)
{
	struct route_server *rs = ctx;

	if (!rs->told && !rs->removed && why != NULL)
		log_info("server %s: no routed reads: %s", rs->name, why);
	rs->told = true;
	rs->client = NULL;
	rs->stream = NULL;
	rs_gone(rs);
}

/* No further read goes there. It ends when the server has closed its end: until then it may still
 * be answering. now: it does not answer at all. */
static void rs_end(struct route_server *rs, bool now)
{
	if (rs->stream == NULL)
		return;
	rs->state = RS_ENDING;
	route_gates(rs->wroute->worker);
	shutdown(uring_stream_fd(rs->stream), now ? SHUT_RDWR : SHUT_WR);
	if (!now)
		rs_timer(rs, ROUTE_LATE_MS);
}

/* ---- the beginning ------------------------------------------------------------------------- */

static void rs_prove(struct route_server *rs)
{
	struct wroute *wr = rs->wroute;
	int fd = uring_stream_fd(rs->stream);

	if (memcmp(nbd_client_peer(rs->client)->boot, rs->boot, WEFT_UUID_BYTES) != 0 ||
	    !bpf_route_has_server(wr->bpf, rs->key) || bpf_route_peer(wr->bpf, fd, rs->key) != 0) {
		rs_end(rs, true);
		return;
	}
	rs->state = RS_PROVING;
	rs->sent = rs->back = wr->mark;
	if (!nbd_client_mark(rs->client, ROUTE_MARK | ++wr->mark))
		rs_end(rs, true);
	rs->sent = wr->mark;
	rs->sent_ns = rs_now(rs);
}

static void rs_ready(void *ctx, struct nbd_client *c)
{
	struct route_server *rs = ctx;

	rs->client = c;
	if (rs->state == RS_HELLO)
		rs_prove(rs);
}

static void rs_chunk(void *ctx, struct nbd_client *c, uint64_t cookie)
{
	struct route_server *rs = ctx;
	struct wroute *wr = rs->wroute;

	if ((cookie & ROUTE_MARK) == 0) {
		route_take(wr, htobe64(cookie)); /* its key is as it is on the wire */
		return;
	}
	rs->back = cookie & ~ROUTE_MARK;
	rs->sent_ns = rs_now(rs);
	if (rs->state == RS_PROVING) {
		rs->state = RS_OPEN;
		rs->told = false;
		log_debug("server %s: takes routed reads", rs->name);
		route_gates(wr->worker);
	}
	route_clients_look(wr);
}

static const struct nbd_client_ops rs_client_ops = {
	.ready = rs_ready,
	.chunk = rs_chunk,
	.closed = rs_closed,
};

static void rs_connected(void *arg, int fd)
{
	struct route_server *rs = arg;
	struct worker *w = rs->wroute->worker;

	if (fd >= 0 && (rs->removed || w->quitting != NULL)) {
		close(fd);
		fd = -ECANCELED;
	}
	rs->stream = fd < 0 ? NULL : uring_stream(w->uring, fd, SEND_TIMEOUT_MS);
	if (rs->stream == NULL) {
		rs_gone(rs);
		return;
	}
	rs->state = RS_HELLO;
	rs->client = nbd_client_create(&rs_client_ops, rs, w->env, w->cluster->secret, rs->stream);
	if (rs->client == NULL) {
		stream_drop(rs->stream);
		rs->stream = NULL;
		rs_gone(rs);
		return;
	}
	nbd_client_route(rs->client);
	rs_timer(rs, ROUTE_PROVE_MS);
}

/* A socket whose address is known before it connects, so that the programs can be told. */
static int rs_socket(struct route_server *rs, struct sockaddr_in *to)
{
	struct sockaddr_in from = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(from);
	struct route_tuple t = {0};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*to = from;
	to->sin_port = htons(rs->port);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&from, sizeof(from)) == 0 &&
	    getsockname(fd, (struct sockaddr *)&from, &len) == 0) {
		t.local[0] = t.remote[0] = htonl(INADDR_LOOPBACK);
		t.local_port = rs->port;
		t.remote_port = ntohs(from.sin_port);
		if (bpf_route_want(rs->wroute->bpf, &t, rs->key) == 0)
			return fd;
	}
	close(fd);
	return -EADDRNOTAVAIL;
}

static uint64_t next_key(struct worker *w, uint32_t number)
{
	static uint64_t last;

	return __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED) << ROUTE_KEY_SHIFT |
	       (uint64_t)number << ROUTE_KEY_NUMBER | w->index;
}

static void rs_connect(struct route_server *rs)
{
	struct worker *w = rs->wroute->worker;
	struct sockaddr_storage to = {0};
	int fd;

	rs->key = next_key(w, rs->number);
	rs->state = RS_CONNECTING;
	fd = rs_socket(rs, (struct sockaddr_in *)&to);
	uring_connect_on(w->uring, fd, &to, sizeof(struct sockaddr_in), CONNECT_TIMEOUT_MS,
			 rs_connected, rs);
}

static void rs_fire(struct io_timer *t)
{
	struct route_server *rs =
		(struct route_server *)((char *)t - offsetof(struct route_server, timer));

	if (rs->state == RS_IDLE)
		rs_connect(rs);
	else if (rs->state != RS_OPEN)
		rs_end(rs, true);
}

/* ---- calls --------------------------------------------------------------------------------- */

static struct route_server *rs_find(const struct worker *w, uint32_t number)
{
	struct route_server *rs;

	for (rs = w->route->servers; rs != NULL; rs = rs->next)
		if (rs->number == number && !rs->removed)
			return rs;
	return NULL;
}

void route_server_add(struct worker *w, uint32_t number, const char *name, const struct addr *addr,
		      uint16_t port, const uint8_t *boot)
{
	struct route_server *rs;

	if (w->route == NULL || port == 0 || !addr_is_local(addr) || w->quitting != NULL)
		return;
	rs = rs_find(w, number);
	if (rs != NULL && rs->port == port && memcmp(rs->boot, boot, WEFT_UUID_BYTES) == 0) {
		route_gates(w);
		return;
	}
	if (rs != NULL)
		route_server_remove(w, number);
	rs = mem_must(sizeof(*rs));
	rs->wroute = w->route;
	rs->number = number;
	snprintf(rs->name, sizeof(rs->name), "%s", name);
	rs->port = port;
	memcpy(rs->boot, boot, WEFT_UUID_BYTES);
	rs->timer.fire = rs_fire;
	bpf_watch_begin(w->cluster->bpf, WATCH_SERVER(number));
	rs->next = w->route->servers;
	w->route->servers = rs;
	w->open_peers++;
	rs_connect(rs);
}

void route_server_remove(struct worker *w, uint32_t number)
{
	struct route_server *rs = w->route == NULL ? NULL : rs_find(w, number);

	if (rs == NULL)
		return;
	rs->removed = true;
	if (rs->state == RS_IDLE)
		rs_gone(rs);
	else
		rs_end(rs, rs->state < RS_PROVING);
}

uint64_t route_server_key(const struct worker *w, uint32_t number, const uint8_t *boot)
{
	struct route_server *rs = w->route == NULL ? NULL : rs_find(w, number);

	if (rs == NULL || rs->state != RS_OPEN || memcmp(rs->boot, boot, WEFT_UUID_BYTES) != 0)
		return 0;
	return rs->key;
}

uint64_t route_mark_send(struct wroute *wr)
{
	uint64_t mark = ++wr->mark;

	for (struct route_server *rs = wr->servers; rs != NULL; rs = rs->next) {
		if (rs->state != RS_OPEN || !nbd_client_mark(rs->client, ROUTE_MARK | mark))
			continue;
		if (rs->sent == rs->back)
			rs->sent_ns = rs_now(rs);
		rs->sent = mark;
	}
	return mark;
}

/* One that does not answer is not in the middle of sending either. */
bool route_mark_back(const struct wroute *wr, uint64_t mark)
{
	bool back = true;

	for (struct route_server *rs = wr->servers; rs != NULL; rs = rs->next) {
		if (rs->state < RS_OPEN || rs->stream == NULL || rs->back >= mark)
			continue;
		if (rs_now(rs) - rs->sent_ns < ROUTE_LATE_MS * NS_PER_MS)
			back = false;
		else if (rs->state == RS_OPEN)
			rs_end(rs, true);
	}
	return back;
}

void route_servers_close(struct worker *w)
{
	if (w->route == NULL)
		return;
	w->env->ops->timer_cancel(w->env, &w->route->sweep);
	w->env->ops->timer_cancel(w->env, &w->route->look);
	for (struct route_server *rs = w->route->servers, *next; rs != NULL; rs = next) {
		next = rs->next;
		rs->removed = true;
		if (rs->state == RS_IDLE)
			rs_gone(rs);
		else
			rs_end(rs, true);
	}
}

void route_servers_free(struct worker *w)
{
	assert(w->route->servers == NULL);
}
