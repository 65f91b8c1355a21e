/*
 * Listening sockets and the connections that came from them. A connection is a stream, a session
 * and a place in our list, so that an orderly stop can close them all.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/un.h>
#include <unistd.h>

#include "nbd/weft.h"
#include "nbdsrv.h"
#include "ready.h"

#include "banned.h"

struct conn {
	struct listen *listen;
	struct stream *stream;
	struct uring_pass *pass; /* what it came over, or NULL */
	struct conn *prev, *next;
};

/* One that will pass us a connection for routed reads. */
struct guest {
	struct listen *listen;
	struct uring_pass *pass;
	struct guest *prev, *next;
};

struct socket {
	int fd;	    /* the loop's after listen_start() */
	bool route; /* an abstract Unix socket, where connections for WEFT_ROUTE_EXPORT are passed
		     */
	bool ours;  /* we made it: a Unix socket's file goes with us */
	struct addr addr;
	struct uring_listener *listener;
	struct listen *listen;
};

struct listen {
	struct socket sockets[NBDSRV_LISTEN_MAX];
	unsigned nsockets;
	struct uring *u;
	struct backend *backend;
	struct nbd_session_config config;
	struct conn *conns;
	unsigned nconns;
	struct guest *guests;
	unsigned nguests;
	uint64_t route_name; /* see WEFT_ROUTE_SOCKET; 0: none */
	bool full_told;	     /* that NBDSRV_CONNS_MAX was reached, once until there is room again */
	bool stopping;
	struct io_timer stop_timer;
	void (*closed)(void *arg);
	void *closed_arg;
};

/* ---- what sessions ask --------------------------------------------------------------------- */

static int conn_open(void *ctx, struct nbd_session *s, const char *name, size_t len, bool info_only,
		     struct nbd_export *out, const char **why)
{
	struct conn *c = ctx;

	if (c->listen->stopping)
		return -ESHUTDOWN;
	return c->listen->backend->ops->open(c->listen->backend, s, name, len, out, why);
}

static int conn_list(void *ctx, void (*emit)(void *emit_ctx, const char *name, const char *desc),
		     void *emit_ctx)
{
	struct backend *b = ((struct conn *)ctx)->listen->backend;
	const char *name = b->ops->name(b);

	if (name != NULL)
		emit(emit_ctx, name, NULL);
	return 0;
}

static void conn_request(void *ctx, struct nbd_req *req)
{
	struct listen *l = ((struct conn *)ctx)->listen;

	if (l->stopping)
		nbd_req_done(req, ESHUTDOWN);
	else
		l->backend->ops->request(l->backend, req);
}

static void conn_closed(void *ctx, struct nbd_session *s, void *export_ctx)
{
	struct conn *c = ctx;
	struct listen *l = c->listen;

	if (c->prev != NULL)
		c->prev->next = c->next;
	else
		l->conns = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	if (c->pass != NULL)
		uring_pass_close(c->pass);
	free(c);
	l->nconns--;
	l->full_told = false;
	if (l->closed != NULL && l->nconns == 0)
		l->config.env->ops->timer_set(l->config.env, &l->stop_timer, 0);
}

static const struct nbd_server_ops conn_ops = {
	.open = conn_open,
	.list = conn_list,
	.request = conn_request,
	.closed = conn_closed,
};

/* ---- connections --------------------------------------------------------------------------- */

static void conn_name(int fd, char *name)
{
	struct addr peer = {.len = sizeof(peer.sa)};

	if (getpeername(fd, (struct sockaddr *)&peer.sa, &peer.len) < 0 ||
	    (peer.sa.ss_family == AF_UNIX && peer.len <= sizeof(sa_family_t)))
		snprintf(name, ADDR_TEXT_MAX, "local client");
	else
		addr_format(&peer, name);
}

static void conn_begin(struct listen *l, int fd, bool shared, struct uring_pass *pass)
{
	char name[ADDR_TEXT_MAX];
	struct conn *c;

	if (l->nconns >= NBDSRV_CONNS_MAX) {
		if (!l->full_told)
			log_warn("%u connections are open: refusing more", l->nconns);
		l->full_told = true;
		goto refuse;
	}
	conn_name(fd, name);
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		goto refuse;
	c->listen = l;
	c->pass = pass;
	c->stream = shared ? uring_shm_accept(l->u, fd, NBDSRV_SEND_MS)
			   : uring_stream(l->u, fd, NBDSRV_SEND_MS);
	if (c->stream == NULL) {
		free(c);
		goto taken;
	}
	l->config.ctx = c;
	l->config.peer_name = name;
	if (nbd_session_create(&l->config, c->stream) == NULL) {
		log_warn("%s: no memory for another connection", name);
		uring_stream_drop(c->stream);
		free(c);
		goto taken;
	}
	c->next = l->conns;
	if (c->next != NULL)
		c->next->prev = c;
	l->conns = c;
	l->nconns++;
	return;
refuse:
	close(fd);
taken:
	if (pass != NULL)
		uring_pass_close(pass);
}

static void conn_accepted(void *arg, int fd)
{
	const struct socket *from = arg;

	conn_begin(from->listen, fd, from->addr.shared, NULL);
}

static void guest_free(struct guest *g)
{
	struct listen *l = g->listen;

	if (g->prev != NULL)
		g->prev->next = g->next;
	else
		l->guests = g->next;
	if (g->next != NULL)
		g->next->prev = g->prev;
	l->nguests--;
	free(g);
}

/* What was passed is a connection as any: who it is has yet to be proved on it. */
static void guest_passed(void *arg, struct uring_pass *pass, int fd)
{
	struct guest *g = arg;
	struct listen *l = g->listen;
	int domain = 0;
	socklen_t len = sizeof(domain);

	guest_free(g);
	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_INET) {
		conn_begin(l, fd, false, pass);
		return;
	}
	close(fd);
	uring_pass_close(pass);
}

static void guest_accepted(void *arg, int fd)
{
	struct listen *l = ((const struct socket *)arg)->listen;
	struct guest *g = l->nguests < NBDSRV_GUESTS_MAX ? calloc(1, sizeof(*g)) : NULL;

	if (g == NULL) {
		close(fd);
		return;
	}
	g->listen = l;
	g->next = l->guests;
	if (g->next != NULL)
		g->next->prev = g;
	l->guests = g;
	l->nguests++;
	g->pass = uring_pass_receive(l->u, fd, NBDSRV_GUEST_MS, guest_passed, g);
	if (g->pass == NULL)
		guest_free(g);
}

/* ---- sockets ------------------------------------------------------------------------------- */

static bool socket_allowed(const struct nbdsrv_options *opt, const struct addr *a)
{
	char text[ADDR_TEXT_MAX];

	if (opt->secret != NULL || addr_is_local(a))
		return true;
	log_error("will not listen on %s, which other machines can reach, without a secret: give "
		  "--secret FILE (\"volctl cluster init\" makes one), or listen on loopback",
		  addr_format(a, text));
	return false;
}

static bool socket_inherit(struct listen *l, const struct nbdsrv_options *opt, int fd)
{
	struct socket *s = &l->sockets[l->nsockets];

	s->fd = fd;
	s->addr.len = sizeof(s->addr.sa);
	if (getsockname(fd, (struct sockaddr *)&s->addr.sa, &s->addr.len) < 0) {
		log_error("file descriptor %d, passed by the service manager, is no socket", fd);
		return false;
	}
	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	l->nsockets++;
	return socket_allowed(opt, &s->addr);
}

static bool socket_bind(struct listen *l, const struct nbdsrv_options *opt, const char *text)
{
	struct socket *s = &l->sockets[l->nsockets];
	const char *why = "it is not an address";

	if (l->nsockets == NBDSRV_LISTEN_MAX) {
		log_error("more than %u addresses to listen on", NBDSRV_LISTEN_MAX);
		return false;
	}
	if (addr_parse(text, NBDSRV_PORT, &s->addr, &why) < 0) {
		log_error("cannot listen on %s: %s", text, why);
		return false;
	}
	if (!socket_allowed(opt, &s->addr))
		return false;
	s->fd = addr_listen(&s->addr, &why);
	if (s->fd < 0) {
		log_error("cannot listen on %s: %s", text, why);
		return false;
	}
	s->ours = true;
	l->nsockets++;
	return true;
}

/* Without it all reads go through volmgr, as those of other machines do. */
static void socket_route(struct listen *l)
{
	struct socket *s = &l->sockets[l->nsockets];
	uint64_t name;

	if (l->nsockets == NBDSRV_LISTEN_MAX || getrandom(&name, sizeof(name), 0) != sizeof(name) ||
	    name == 0)
		return;
	addr_abstract(&s->addr, WEFT_ROUTE_SOCKET, name);
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&s->addr.sa, s->addr.len) < 0 ||
	    listen(s->fd, (int)NBDSRV_GUESTS_MAX) < 0) {
		log_info("no reads past volmgr: %s", strerror(errno));
		if (s->fd >= 0)
			close(s->fd);
		return;
	}
	s->route = true;
	l->route_name = name;
	l->nsockets++;
}

uint64_t listen_route_name(const struct listen *l)
{
	return l->route_name;
}

const struct addr *listen_address(const struct listen *l, unsigned i)
{
	for (unsigned n = 0; n < l->nsockets; n++)
		if (!l->sockets[n].route && addr_port(&l->sockets[n].addr) != 0 && i-- == 0)
			return &l->sockets[n].addr;
	return NULL;
}

struct listen *listen_create(const struct nbdsrv_options *opt)
{
	static const char *const fallback[] = {"tcp:127.0.0.1:10809"};
	const char *const *texts = opt->nlisten > 0 ? opt->listen : fallback;
	struct listen *l = calloc(1, sizeof(*l));
	unsigned n = opt->nlisten;
	int inherited = addr_inherited();
	bool good = l != NULL;

	if (inherited > (int)NBDSRV_LISTEN_MAX)
		inherited = NBDSRV_LISTEN_MAX;
	for (int i = 0; i < inherited && good; i++)
		good = socket_inherit(l, opt, 3 + i);
	if (n == 0 && inherited == 0)
		n = 1;
	for (unsigned i = 0; i < n && good; i++)
		good = socket_bind(l, opt, texts[i]);
	if (good && opt->store != NULL && !opt->no_routes)
		socket_route(l);
	if (good)
		return l;
	listen_free(l);
	return NULL;
}

static void stop_timer_fired(struct io_timer *t)
{
	struct listen *l = (struct listen *)((char *)t - offsetof(struct listen, stop_timer));

	if (l->nconns == 0) {
		l->closed(l->closed_arg);
		return;
	}
	log_warn("%u clients did not take their last answers", l->nconns);
	for (struct conn *c = l->conns; c != NULL; c = c->next)
		uring_stream_abort(c->stream, -ESHUTDOWN); /* the last one's end brings us back */
}

void listen_start(struct listen *l, struct uring *u, struct buf_pool *pool, struct backend *b)
{
	l->u = u;
	l->backend = b;
	l->config = (struct nbd_session_config){
		.ops = &conn_ops,
		.env = uring_env(u),
		.pool = pool,
		.auth = b->ops->auth(b),
	};
	l->stop_timer.fire = stop_timer_fired;
	for (unsigned i = 0; i < l->nsockets; i++) {
		struct socket *s = &l->sockets[i];

		s->listen = l;
		s->listener = uring_listen(u, s->fd, s->route ? guest_accepted : conn_accepted, s);
		assert(s->listener != NULL); /* at start, a hundred bytes */
		s->fd = -1;
	}
}

void listen_report(struct listen *l, int ready_fd)
{
	char text[ADDR_TEXT_MAX];

	for (unsigned i = 0; i < l->nsockets; i++) {
		if (l->sockets[i].route)
			continue;
		addr_format(&l->sockets[i].addr, text);
		log_info("listening on %s", text);
		ready_line(ready_fd, "listen", text);
	}
}

void listen_stop(struct listen *l)
{
	l->stopping = true;
	while (l->guests != NULL) {
		uring_pass_close(l->guests->pass);
		guest_free(l->guests);
	}
	for (unsigned i = 0; i < l->nsockets; i++) {
		struct socket *s = &l->sockets[i];
		const struct sockaddr_un *sun = (const struct sockaddr_un *)&s->addr.sa;

		if (s->listener != NULL)
			uring_listener_close(s->listener);
		s->listener = NULL;
		if (s->ours && sun->sun_family == AF_UNIX && sun->sun_path[0] == '/')
			unlink(sun->sun_path);
	}
}

void listen_close(struct listen *l, void (*done)(void *arg), void *arg)
{
	struct env *env = l->config.env;

	l->closed = done;
	l->closed_arg = arg;
	for (struct conn *c = l->conns; c != NULL; c = c->next)
		stream_close(c->stream);
	env->ops->timer_set(env, &l->stop_timer,
			    l->nconns == 0 ? 0
					   : env->ops->now_ns(env) + NBDSRV_STOP_MS * NS_PER_MS);
}

void listen_free(struct listen *l)
{
	if (l == NULL)
		return;
	for (unsigned i = 0; i < l->nsockets; i++)
		if (l->sockets[i].listener == NULL && l->sockets[i].fd >= 0)
			close(l->sockets[i].fd);
	free(l);
}
