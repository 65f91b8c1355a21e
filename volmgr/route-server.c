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
 *
 * It is made here and passed to the server over a Unix socket (route-pair.c), whose end tells that
 * the server's process is gone: then, and only then, it is certain that it sends nothing more.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf/remote.h"
#include "log.h"
#include "nbd/proto.h"
#include "route.h"

#include "banned.h"

enum rs_state {
	RS_IDLE, /* until the timer */
	RS_CONNECTING,
	RS_HELLO,
	RS_PROVING,
	RS_OPEN,
	RS_ENDING, /* no further read goes there */
};

struct route_server {
	struct wroute *wroute;
	struct route_server *next;
	uint32_t number;
	char name[NAME_MAX_BYTES + 1];
	uint64_t name_at;	       /* see WEFT_ROUTE_SOCKET */
	uint8_t boot[WEFT_UUID_BYTES]; /* of the run that we want */
	uint64_t key;
	enum rs_state state;
	bool remote;		  /* on another machine: see bpf/remote.h */
	struct addr addr;	  /* then */
	struct route_tuple tuple; /* then, as it sees it, when the programs know it */
	bool removed;
	bool told;	     /* why it does not work */
	bool reported;	     /* as open */
	int pair[2];	     /* both ends of the connection, to outlive the server */
	struct stream *life; /* ends with the server's process */
	struct stream *stream;
	struct nbd_client *client;
	uint64_t sent, back; /* marks */
	uint64_t sent_ns;    /* the oldest that is not back */
	bool slow;	     /* it owes an answer */
	uint64_t slow_mark;  /* that has to come back */
	uint64_t slow_ns;
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

/* ---- telling the control thread ------------------------------------------------------------ */

struct rs_event {
	struct control_message msg;
	struct cluster *cluster;
	uint32_t number;
	bool open;
};

static void rs_event_arrived(struct control_message *m)
{
	struct rs_event *e = (struct rs_event *)m;
	struct server *s = server_by_number(e->cluster, e->number);

	if (s != NULL)
		s->routed = e->open;
	free(e);
}

/* What the first data thread has is what all have, or soon will. */
static void rs_report(struct route_server *rs, bool open)
{
	struct worker *w = rs->wroute->worker;
	struct rs_event *e;

	if (w->index != 0 || rs->reported == open || w->quitting != NULL)
		return;
	rs->reported = open;
	e = mem_must(sizeof(*e));
	e->msg.fn = rs_event_arrived;
	e->cluster = w->cluster;
	e->number = rs->number;
	e->open = open;
	control_post(e->cluster->control, &e->msg);
}

/* ---- the end ------------------------------------------------------------------------------- */

/* Nothing of the connection is left, but for the two sockets. */
static void rs_gone(struct route_server *rs)
{
	struct worker *w = rs->wroute->worker;

	rs->state = RS_IDLE;
	if (rs->tuple.local_port != 0)
		bpf_route_remote_remove(rs->wroute->bpf, &rs->tuple);
	memset(&rs->tuple, 0, sizeof(rs->tuple));
	if (rs->pair[0] >= 0 || rs->pair[1] >= 0)
		route_pair_keep(rs->wroute, rs->pair, rs->key);
	rs->pair[0] = rs->pair[1] = -1;
	route_steer_gone(rs->wroute, rs->key);
	route_clients_look(rs->wroute); /* nobody waits for its mark any more */
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

/* No further read goes there, and those that went are served by us. */
static void rs_shut(struct route_server *rs)
{
	bool used = rs->state >= RS_PROVING;

	if (rs->state == RS_ENDING)
		return;
	rs->state = RS_ENDING;
	rs_report(rs, false);
	route_gates(rs->wroute->worker);
	if (used)
		route_take_all(rs->wroute, rs->key);
}

static void rs_end(struct route_server *rs)
{
	if (rs->state == RS_IDLE || rs->state == RS_CONNECTING)
		return; /* the timer, or rs_connected(), goes on */
	rs_shut(rs);
	if (rs->stream != NULL)
		uring_stream_abort(rs->stream, -ECANCELED);
	if (rs->life != NULL)
		uring_stream_abort(rs->life, -ECANCELED);
	if (rs->stream == NULL && rs->life == NULL)
		rs_gone(rs);
}

static void rs_closed(void *ctx, struct nbd_client *c, int err, const char *why)
{
	struct route_server *rs = ctx;

	if (!rs->told && !rs->removed && rs->state == RS_HELLO && why != NULL) {
		log_info("server %s: no routed reads: %s", rs->name, why);
		rs->told = true;
	}
	rs->client = NULL;
	rs->stream = NULL;
	rs_end(rs);
}

/* ---- its life ------------------------------------------------------------------------------ */

static size_t life_window(void *engine, void **ptr)
{
	static char byte;

	*ptr = &byte;
	return 1;
}

static int life_received(void *engine, size_t n)
{
	return -EPROTO; /* nothing is ever sent there */
}

static int life_output(void *engine, struct iovec *iov, int max)
{
	return 0;
}

static void life_sent(void *engine, size_t n)
{
}

static void life_closed(void *engine, int err)
{
	struct route_server *rs = engine;

	rs->life = NULL;
	rs_end(rs);
}

static const struct stream_ops life_ops = {
	.window = life_window,
	.received = life_received,
	.output = life_output,
	.sent = life_sent,
	.closed = life_closed,
};

/* ---- the beginning ------------------------------------------------------------------------- */

/* The programs know both ends; of a server on another machine ours. */
static bool rs_known(struct route_server *rs)
{
	struct wroute *wr = rs->wroute;
	int fd;

	if (!rs->remote)
		return bpf_route_has_server(wr->bpf, rs->key) &&
		       bpf_route_peer(wr->bpf, rs->pair[0], rs->key) == 0;
	fd = uring_stream_fd(rs->stream);
	return bpf_route_tuple(fd, &rs->tuple) == 0 &&
	       bpf_route_remote_add(wr->bpf, fd, &rs->tuple, rs->key, wr->worker->index) == 0;
}

static bool rs_mark(struct route_server *rs, uint64_t mark)
{
	uint64_t server = rs->remote ? (uint64_t)rs->number << ROUTE_MARK_SHIFT : 0;

	return nbd_client_mark(rs->client, ROUTE_MARK | server | mark);
}

static void rs_prove(struct route_server *rs)
{
	struct wroute *wr = rs->wroute;

	if (memcmp(nbd_client_peer(rs->client)->boot, rs->boot, WEFT_UUID_BYTES) != 0 ||
	    !rs_known(rs)) {
		rs_end(rs);
		return;
	}
	rs->state = RS_PROVING;
	rs->sent = rs->back = wr->mark;
	if (!rs_mark(rs, ++wr->mark))
		rs_end(rs);
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

static void rs_marked(struct route_server *rs, uint64_t mark)
{
	struct wroute *wr = rs->wroute;

	rs->back = mark;
	rs->sent_ns = rs_now(rs);
	if (rs->state == RS_PROVING) {
		rs->state = RS_OPEN;
		rs->slow = false;
		rs->told = false;
		rs_report(rs, true);
		log_debug("server %s: takes routed reads", rs->name);
		route_gates(wr->worker);
	}
	route_clients_look(wr);
}

static void part_chunk(struct wroute *wr, uint64_t cookie, uint16_t type)
{
	if ((cookie & ROUTE_STEERED) != 0 && type == NBD_REPLY_TYPE_NONE)
		route_steer_sent(wr, cookie);
	else
		route_take(wr, cookie);
}

static void rs_chunk(void *ctx, struct nbd_client *c, uint64_t cookie, uint16_t type)
{
	struct route_server *rs = ctx;

	if (rs->remote) /* nothing is to come here, see bpf/remote.h */
		rs_end(rs);
	else if ((cookie & ROUTE_MARK) == 0)
		part_chunk(rs->wroute, cookie, type);
	else
		rs_marked(rs, cookie & ~ROUTE_MARK);
}

/* One that has the number of a server may be of an earlier connection to it. */
void route_server_chunk(struct wroute *wr, uint64_t cookie, uint16_t type)
{
	struct route_server *rs = wr->servers;
	uint64_t mark = cookie & ROUTE_MARK_COUNT;

	if ((cookie & ROUTE_MARK) == 0) {
		part_chunk(wr, cookie, type);
		return;
	}
	while (rs != NULL && (rs->number != ROUTE_MARK_SERVER(cookie) || !rs->remote ||
			      rs->state < RS_PROVING || rs->back >= mark))
		rs = rs->next;
	if (rs != NULL)
		rs_marked(rs, mark);
}

static const struct nbd_client_ops rs_client_ops = {
	.ready = rs_ready,
	.chunk = rs_chunk,
	.closed = rs_closed,
};

/* On its stream. */
static int rs_greet(struct route_server *rs)
{
	struct worker *w = rs->wroute->worker;

	rs->client = nbd_client_create(&rs_client_ops, rs, w->env, w->cluster->secret, rs->stream);
	if (rs->client != NULL)
		return 0;
	stream_drop(rs->stream);
	rs->stream = NULL;
	return -ENOMEM;
}

/* The server takes its end and greets us on it, as if we had connected to it. 0 or -errno; what
 * there is then is ended by who asked. */
static int rs_hand_over(struct route_server *rs, int sock)
{
	struct worker *w = rs->wroute->worker;
	int err, fd;

	rs->life = uring_stream(w->uring, sock, SEND_TIMEOUT_MS);
	if (rs->life == NULL)
		return -ENOMEM;
	stream_attach(rs->life, &life_ops, rs);
	err = route_pair_make(rs->wroute->bpf, rs->key, rs->pair);
	if (err != 0)
		return err;
	err = uring_pass_send(sock, rs->pair[1]);
	if (err != 0)
		return err;
	fd = fcntl(rs->pair[0], F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return -errno;
	rs->stream = uring_stream(w->uring, fd, SEND_TIMEOUT_MS);
	if (rs->stream == NULL)
		return -ENOMEM;
	uring_stream_share(rs->stream);
	return rs_greet(rs);
}

/* The same of one that we have connected to. */
static int rs_take_over(struct route_server *rs, int fd)
{
	struct worker *w = rs->wroute->worker;

	rs->stream = uring_stream(w->uring, fd, SEND_TIMEOUT_MS);
	if (rs->stream == NULL)
		return -ENOMEM;
	return rs_greet(rs);
}

static void rs_connected(void *arg, int fd)
{
	struct route_server *rs = arg;
	struct worker *w = rs->wroute->worker;
	int err;

	if (fd >= 0 && (rs->removed || w->quitting != NULL)) {
		close(fd);
		fd = -ECANCELED;
	}
	if (fd < 0) {
		rs_gone(rs);
		return;
	}
	rs->state = RS_HELLO;
	err = rs->remote ? rs_take_over(rs, fd) : rs_hand_over(rs, fd);
	if (err != 0) {
		log_debug("server %s: no connection for routed reads: %s", rs->name,
			  strerror(-err));
		rs_end(rs);
		return;
	}
	nbd_client_route(rs->client);
	rs_timer(rs, ROUTE_PROVE_MS);
}

static uint64_t next_key(struct worker *w, uint32_t number)
{
	static uint64_t last;

	return __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED) << ROUTE_KEY_SHIFT |
	       (uint64_t)number << ROUTE_KEY_NUMBER | w->index;
}

/* Replies are taken whole, so there has to be room for some (the kernel takes the rest of one only
 * when it is there). Set before we connect, or the window is never so large. */
static int remote_socket(const struct addr *to)
{
	int fd = socket(to->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int room = REMOTE_RECV_ROOM / 2;

	if (fd >= 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	return fd < 0 ? -errno : fd;
}

static void rs_connect(struct route_server *rs)
{
	struct worker *w = rs->wroute->worker;
	struct addr to;

	rs->key = next_key(w, rs->number);
	rs->state = RS_CONNECTING;
	if (rs->remote) {
		uring_connect_on(w->uring, remote_socket(&rs->addr), &rs->addr.sa, rs->addr.len,
				 CONNECT_TIMEOUT_MS, rs_connected, rs);
		return;
	}
	addr_abstract(&to, WEFT_ROUTE_SOCKET, rs->name_at);
	uring_connect(w->uring, &to.sa, to.len, CONNECT_TIMEOUT_MS, rs_connected, rs);
}

static void rs_fire(struct io_timer *t)
{
	struct route_server *rs =
		(struct route_server *)((char *)t - offsetof(struct route_server, timer));

	if (rs->state == RS_IDLE)
		rs_connect(rs);
	else if (rs->state != RS_OPEN)
		rs_end(rs);
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
		      uint64_t name_at, const uint8_t *boot)
{
	bool remote = !addr_is_local(addr);
	struct route_server *rs;

	if (w->route == NULL || w->quitting != NULL ||
	    (remote ? !route_remote_works(w->route) : name_at == 0))
		return;
	rs = rs_find(w, number);
	if (rs != NULL && rs->name_at == name_at && memcmp(rs->boot, boot, WEFT_UUID_BYTES) == 0) {
		route_gates(w);
		return;
	}
	if (rs != NULL)
		route_server_remove(w, number);
	rs = mem_must(sizeof(*rs));
	rs->wroute = w->route;
	rs->number = number;
	snprintf(rs->name, sizeof(rs->name), "%s", name);
	rs->name_at = name_at;
	rs->remote = remote;
	rs->addr = *addr;
	rs->pair[0] = rs->pair[1] = -1;
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
	if (rs->state == RS_IDLE) {
		rs_gone(rs);
	} else if (rs->state < RS_PROVING) {
		rs_end(rs);
	} else { /* it may still be sending */
		rs_shut(rs);
		rs_timer(rs, ROUTE_LATE_MS);
	}
}

static uint64_t key_of(const struct worker *w, uint32_t number, const uint8_t *boot, bool remote)
{
	struct route_server *rs = w->route == NULL ? NULL : rs_find(w, number);

	if (rs == NULL || rs->remote != remote || rs->state != RS_OPEN || rs->slow ||
	    memcmp(rs->boot, boot, WEFT_UUID_BYTES) != 0)
		return 0;
	return rs->key;
}

uint64_t route_server_key(const struct worker *w, uint32_t number, const uint8_t *boot)
{
	return key_of(w, number, boot, false);
}

uint64_t route_server_remote_key(const struct worker *w, uint32_t number, const uint8_t *boot)
{
	return key_of(w, number, boot, true);
}

uint64_t route_mark_send(struct wroute *wr)
{
	uint64_t mark = ++wr->mark;

	for (struct route_server *rs = wr->servers; rs != NULL; rs = rs->next) {
		if (rs->state < RS_OPEN || rs->client == NULL || !rs_mark(rs, mark))
			continue;
		if (rs->sent == rs->back)
			rs->sent_ns = rs_now(rs);
		rs->sent = mark;
	}
	return mark;
}

/* One that does not answer is not in the middle of sending either. Of those on other machines it is
 * known what they have sent: see nothing_waits(). */
bool route_mark_back(const struct wroute *wr, uint64_t mark)
{
	bool back = true;

	for (struct route_server *rs = wr->servers; rs != NULL; rs = rs->next) {
		if (rs->remote || rs->state < RS_OPEN || rs->stream == NULL || rs->back >= mark)
			continue;
		if (rs_now(rs) - rs->sent_ns < ROUTE_LATE_MS * NS_PER_MS)
			back = false;
		else
			rs_end(rs);
	}
	return back;
}

static struct route_server *rs_by_key(const struct wroute *wr, uint64_t key)
{
	struct route_server *rs = wr->servers;

	while (rs != NULL && rs->key != key)
		rs = rs->next;
	return rs;
}

bool route_server_room(const struct wroute *wr, uint64_t key, unsigned reads)
{
	const struct route_server *rs = rs_by_key(wr, key);

	return rs != NULL && rs->state == RS_OPEN && rs->client != NULL &&
	       nbd_client_route_room(rs->client, reads);
}

void route_server_ask(struct wroute *wr, uint64_t key, uint64_t cookie, uint64_t offset,
		      uint32_t len)
{
	nbd_client_route_read(rs_by_key(wr, key)->client, cookie, offset, len);
}

void route_server_late(struct wroute *wr, uint64_t key)
{
	struct route_server *rs = rs_by_key(wr, key);

	if (rs == NULL || rs->state != RS_OPEN || rs->slow)
		return;
	rs->slow = true;
	rs->slow_ns = rs_now(rs);
	rs->slow_mark = route_mark_send(wr);
	route_gates(wr->worker);
}

void route_server_lost(struct wroute *wr, uint64_t key)
{
	struct route_server *rs = rs_by_key(wr, key);

	if (rs == NULL || !rs->remote || rs->state != RS_OPEN)
		return; /* it ends already */
	log_info("server %s: no word of what it sent past volmgr for %u s, connecting anew",
		 rs->name, ROUTE_LOST_MS / 1000);
	rs_end(rs);
}

static bool rs_lost(const struct route_server *rs)
{
	return rs->remote && rs->sent != rs->back &&
	       rs_now(rs) - rs->sent_ns >= ROUTE_LOST_MS * NS_PER_MS;
}

void route_servers_back(struct wroute *wr)
{
	bool some = false;

	for (struct route_server *rs = wr->servers; rs != NULL; rs = rs->next) {
		if (rs->state == RS_OPEN && rs_lost(rs))
			route_server_lost(wr, rs->key);
		if (!rs->slow || rs->back < rs->slow_mark ||
		    rs_now(rs) - rs->slow_ns < ROUTE_SLOW_MS * NS_PER_MS)
			continue;
		rs->slow = false;
		some = true;
	}
	if (some)
		route_gates(wr->worker);
}

void route_servers_remote_end(struct wroute *wr)
{
	for (struct route_server *rs = wr->servers, *next; rs != NULL; rs = next) {
		next = rs->next;
		if (!rs->remote)
			continue;
		rs->removed = true;
		if (rs->state == RS_IDLE)
			rs_gone(rs);
		else
			rs_end(rs);
	}
}

void route_servers_close(struct worker *w)
{
	if (w->route == NULL)
		return;
	w->env->ops->timer_cancel(w->env, &w->route->tick);
	w->env->ops->timer_cancel(w->env, &w->route->look);
	for (struct route_server *rs = w->route->servers, *next; rs != NULL; rs = next) {
		next = rs->next;
		rs->removed = true;
		if (rs->state == RS_IDLE)
			rs_gone(rs);
		else
			rs_end(rs);
	}
	route_remote_close(w->route);
}

void route_servers_free(struct worker *w)
{
	assert(w->route->servers == NULL);
}
