/*
 * The front: NBD clients. They are accepted and negotiate on data thread 0; with the name of the
 * volume known, the connection moves to the thread that owns it, and stays there. What a client may
 * see of other threads' volumes is in the cluster's table, under its lock.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "nbd/proto.h"
#include "route.h"
#include "volmgr.h"
#include "banned.h"

#define FRONT_FLAGS                                                                                \
	(NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_TRIM |                            \
	 NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_CAN_MULTI_CONN | NBD_FLAG_SEND_CACHE |              \
	 NBD_FLAG_SEND_FAST_ZERO)

/* A client's connection. Belongs to the worker that it is at. */
struct conn {
	struct worker *worker;
	struct stream *stream;
	struct nbd_session *session;
	struct vol *vol; /* NULL: none opened yet */
	char about[64];	 /* the export's description */
	int fd;		 /* between two threads */
	bool handed;	 /* it is in vol->conns, not in worker->conns */
	bool moving;	 /* uring_stream_detach() is under way */
	bool closing;	 /* on arrival */
	/* the engine of the stream, for the case that no stream can be had after the move */
	const struct stream_ops *engine_ops;
	void *engine;
	struct uring_message msg;
	struct route_client route;
	struct conn *next, **prev;
};

static void conn_link(struct conn **list, struct conn *c)
{
	c->next = *list;
	if (c->next != NULL)
		c->next->prev = &c->next;
	c->prev = list;
	*list = c;
}

static void conn_unlink(struct conn *c)
{
	if (c->prev == NULL)
		return;
	*c->prev = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	c->prev = NULL;
}

/* ---- what the session asks ----------------------------------------------------------------- */

/* NAME+room; a name of a volume has no "+". */
static bool wants_room(const char *name, size_t len)
{
	size_t n = strlen(WEFT_EXPORT_ROOM);

	return len > n && memcmp(name + len - n, WEFT_EXPORT_ROOM, n) == 0;
}

static int front_open(void *ctx, struct nbd_session *s, const char *name, size_t len,
		      bool info_only, struct nbd_export *out, const char **why)
{
	struct conn *c = ctx;
	bool room = wants_room(name, len);
	struct vol *v;
	uint64_t size;
	int err;

	if (room)
		len -= strlen(WEFT_EXPORT_ROOM);
	err = volumes_attach(c->worker->cluster, name, len, !info_only, &v, &size, why);
	if (err != 0)
		return err;
	/* names can be given anew: this tells volumes apart */
	snprintf(c->about, sizeof(c->about), "weft volume %" PRIu64, v->id);
	*out = (struct nbd_export){
		.description = c->about,
		/* conn_resume() tells the session the real one, for its checks */
		.size = room ? VOLUME_SIZE_MAX : size,
		.min_block = 1,
		.pref_block = WEFT_BLOCK_BYTES,
		.max_block = NBD_PAYLOAD_MAX,
		.flags = FRONT_FLAGS,
		.ctx = info_only ? NULL : v,
	};
	if (!info_only)
		c->vol = v;
	return 0;
}

static int front_list(void *ctx, void (*emit)(void *emit_ctx, const char *name, const char *desc),
		      void *emit_ctx)
{
	struct conn *c = ctx;
	struct cluster *cl = c->worker->cluster;
	char(*names)[NAME_MAX_BYTES + 1];
	unsigned n = 0;

	names = calloc(VOLUMES_MAX, sizeof(*names));
	if (names == NULL)
		return -EPERM;
	pthread_mutex_lock(&cl->lock);
	for (unsigned i = 0; i < cl->nvols; i++)
		if (cl->vols[i]->state == VOL_STARTING || cl->vols[i]->state == VOL_READY)
			memcpy(names[n++], cl->vols[i]->name, sizeof(*names));
	pthread_mutex_unlock(&cl->lock);
	for (unsigned i = 0; i < n; i++)
		emit(emit_ctx, names[i], "");
	free(names);
	return 0;
}

static void front_request(void *ctx, struct nbd_req *req)
{
	struct conn *c = ctx;
	struct vol *v = req->export_ctx;

	if (!route_steer(&c->route, v, req))
		volume_submit(v->engine, req);
}

static void front_answered(void *ctx, const struct nbd_req *req, uint64_t ns)
{
	struct vol *v = req->export_ctx;
	enum io_kind kind = req->type == NBD_CMD_READ	 ? IO_READ
			    : req->type == NBD_CMD_WRITE ? IO_WRITE
							 : IO_OTHER;

	io_stat_add(&v->io, kind, kind == IO_OTHER ? 0 : req->len, ns);
	route_steer_answered(v, req);
}

static void conn_free(struct conn *c)
{
	struct worker *w = c->worker;
	struct cluster *cl = w->cluster;

	if (c->vol != NULL)
		volumes_detach(c->vol);
	pthread_mutex_lock(&cl->lock);
	cl->connections--;
	pthread_mutex_unlock(&cl->lock);
	w->open_conns--;
	free(c);
	worker_check_quit(w);
}

static void front_closed(void *ctx, struct nbd_session *s, void *export_ctx)
{
	struct conn *c = ctx;

	log_debug("client %s is gone", nbd_session_peer(s));
	route_client_close(&c->route);
	conn_unlink(c);
	conn_free(c);
}

static void front_ready(void *ctx, struct nbd_session *s, void *export_ctx);

static bool front_room(void *ctx, struct nbd_session *s)
{
	return route_client_room(&((struct conn *)ctx)->route);
}

static void front_alone(void *ctx, struct nbd_session *s)
{
	route_client_alone(&((struct conn *)ctx)->route);
}

static void front_shared(void *ctx, struct nbd_session *s)
{
	route_client_shared(&((struct conn *)ctx)->route);
}

static enum nbd_end front_end(void *ctx, struct nbd_req *req)
{
	return route_steer_end(&((struct conn *)ctx)->route, req);
}

static const struct nbd_server_ops front_ops = {
	.open = front_open,
	.list = front_list,
	.ready = front_ready,
	.request = front_request,
	.answered = front_answered,
	.room = front_room,
	.alone = front_alone,
	.shared = front_shared,
	.end = front_end,
	.closed = front_closed,
};

/* ---- moving to the volume's thread --------------------------------------------------------- */

static void conn_config(struct conn *c, struct nbd_session_config *config)
{
	*config = (struct nbd_session_config){
		.ops = &front_ops,
		.ctx = c,
		.env = c->worker->env,
		.pool = c->worker->pool,
	};
}

/* The last step, on the volume's thread. */
static void conn_resume(struct conn *c)
{
	struct nbd_session_config config;
	struct cluster *cl = c->worker->cluster;
	uint64_t size;

	conn_unlink(c);
	conn_link(&c->vol->conns, c);
	c->handed = true;
	conn_config(c, &config);
	/* it may have been resized since the session was told its size */
	pthread_mutex_lock(&cl->lock);
	size = c->vol->size;
	pthread_mutex_unlock(&cl->lock);
	nbd_session_set_size(c->session, size);
	route_client_here(&c->route, c->worker, c->stream);
	nbd_session_resume(c->session, &config, c->stream);
}

static void conn_arrived(struct uring_message *m)
{
	struct conn *c = (struct conn *)((char *)m - offsetof(struct conn, msg));
	struct worker *w = c->worker;

	w->open_conns++;
	c->moving = false;
	c->stream = uring_stream(w->uring, c->fd, SEND_TIMEOUT_MS);
	if (c->stream == NULL) {
		c->engine_ops->closed(c->engine, -ENOMEM);
		return;
	}
	conn_resume(c);
	if (w->quitting != NULL)
		stream_close(c->stream);
}

static void conn_detached(void *arg, int fd)
{
	struct conn *c = arg;
	struct worker *from;

	if (fd < 0)
		return; /* front_closed() has freed it */
	from = c->worker;
	conn_unlink(c);
	c->fd = fd;
	c->worker = c->vol->worker;
	c->msg.fn = conn_arrived;
	uring_post(c->worker->uring, &c->msg);
	from->open_conns--;
	worker_check_quit(from);
}

static void front_ready(void *ctx, struct nbd_session *s, void *export_ctx)
{
	struct conn *c = ctx;

	log_debug("client %s has opened volume %s", nbd_session_peer(s), c->vol->name);
	route_client_open(&c->route, c->worker, c->vol, s, uring_stream_fd(c->stream));
	if (c->vol->worker == c->worker) {
		conn_resume(c);
		return;
	}
	c->moving = true;
	c->engine_ops = c->stream->ops;
	c->engine = c->stream->engine;
	uring_stream_detach(c->stream, conn_detached, c);
}

/* ---- accepting ----------------------------------------------------------------------------- */

static bool front_admit(struct cluster *cl)
{
	bool ok;

	pthread_mutex_lock(&cl->lock);
	ok = !cl->stopping && cl->connections < CONNECTIONS_MAX;
	if (ok)
		cl->connections++;
	pthread_mutex_unlock(&cl->lock);
	return ok;
}

static void front_refused(struct cluster *cl)
{
	pthread_mutex_lock(&cl->lock);
	cl->connections--;
	pthread_mutex_unlock(&cl->lock);
}

static void conn_peer_name(int fd, char *text)
{
	struct addr a = {.len = sizeof(a.sa)};

	if (getpeername(fd, (struct sockaddr *)&a.sa, &a.len) == 0 && a.sa.ss_family != AF_UNIX)
		addr_format(&a, text);
	else
		snprintf(text, ADDR_TEXT_MAX, "on a Unix socket");
}

static void front_accepted(void *arg, int fd)
{
	struct worker *w = arg;
	struct nbd_session_config config;
	char name[ADDR_TEXT_MAX];
	struct conn *c;

	if (!front_admit(w->cluster)) {
		log_warn("a client was turned away: %u are connected already", CONNECTIONS_MAX);
		close(fd);
		return;
	}
	conn_peer_name(fd, name);
	c = mem_must(sizeof(*c));
	c->worker = w;
	c->stream = uring_stream(w->uring, fd, SEND_TIMEOUT_MS);
	if (c->stream == NULL) {
		front_refused(w->cluster);
		free(c);
		return;
	}
	conn_config(c, &config);
	config.peer_name = name;
	w->open_conns++;
	conn_link(&w->conns, c);
	c->session = nbd_session_create(&config, c->stream);
	if (c->session == NULL) {
		log_warn("client %s was turned away: out of memory", name);
		conn_unlink(c);
		stream_drop(c->stream);
		conn_free(c);
	}
}

void front_listen_run(struct task *t)
{
	struct front_listen *fl = (struct front_listen *)t;
	struct worker *w = t->worker;
	struct uring_listener *l;

	assert(w->nlisteners < LISTENERS_MAX);
	l = uring_listen(w->uring, fl->fd, front_accepted, w);
	if (l != NULL)
		w->listeners[w->nlisteners++] = l;
	task_finish(t, l != NULL ? 0 : -ENOMEM);
}

void front_close_listeners(struct worker *w)
{
	while (w->nlisteners > 0)
		uring_listener_close(w->listeners[--w->nlisteners]);
}

static void conns_close(struct conn *c)
{
	for (struct conn *next; c != NULL; c = next) {
		next = c->next;
		if (!c->moving)
			stream_close(c->stream);
	}
}

void front_close_all(struct worker *w)
{
	conns_close(w->conns);
	for (unsigned i = 0; i < w->nvols; i++)
		conns_close(w->vols[i]->conns);
}

void front_set_size(struct vol *v, uint64_t size)
{
	for (struct conn *c = v->conns; c != NULL; c = c->next)
		nbd_session_set_size(c->session, size);
}
