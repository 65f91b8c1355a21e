/*
 * Peers: a data thread's connections to the servers. Each connects, proves itself, checks that the
 * store is the one that the cluster knows under that number, and comes back after a break with a
 * growing pause.
 *
 * A server that takes calls and says nothing is as good as gone: when no byte came for the
 * cluster's server_timeout_ms though calls wait, the connection is cut, so that the volumes can go
 * on without it. A disk may be slower than that, so it is asked for a sign of life meanwhile, which
 * needs no disk; a single call may take CALL_TIMEOUT_MS then. Only what was measured in time
 * counts: when this thread itself was late, everybody gets another round.
 */
#include "config.h"

#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bpf/guard.h"
#include "log.h"
#include "nbd/proto.h"
#include "route.h"
#include "volmgr.h"
#include "banned.h"

#define BACKOFF_MIN_MS	100
#define BACKOFF_MAX_MS	2000
#define NEGOTIATE_MS	5000
#define CALL_TIMEOUT_MS 30000
#define DEADLINE_PARTS	8 /* calls are looked at so often within the time-out */

struct wpeer {
	struct peer peer; /* first: what the engine sees */
	struct worker *worker;
	char name[NAME_MAX_BYTES + 1];
	struct addr addr;
	uint8_t store[WEFT_UUID_BYTES]; /* must be this one; of a probe: what was found */
	struct store_age *age;		/* NULL: of a probe */
	bool report;			/* the control thread wants to know */
	bool removed;			/* go away as soon as nothing is under way */
	bool moved;			/* its address changed: connect there, without a pause */
	struct wpeer_dial *dial;	/* not NULL: uring_connect() is under way */
	struct stream *stream;
	struct nbd_client *client; /* NULL: not connected */
	struct io_timer timer;	   /* pause before the next try, or limit of the negotiation */
	unsigned backoff_ms;
	enum server_state state;
	char version[VERSION_MAX];
	char why[WHY_MAX];	  /* as last reported */
	char cut[WHY_MAX];	  /* why we ended the connection ourselves; empty: we did not */
	struct peer_probe *probe; /* not NULL: a single visit */
	bool answered;		  /* the visit has got what it came for */
	struct nbd_call stat_call;
	struct weft_stat stat_wire;
	struct iovec stat_iov;
	struct nbd_call first_call; /* asks how old it is, and where it takes routed reads */
	struct weft_stat first_wire;
	struct iovec first_iov;
	struct peer_stats *stats; /* not NULL: stat_call is under way for it */
	struct nbd_call ping_call;
	struct weft_stat ping_wire;
	struct iovec ping_iov;
	bool pinging;
	struct nbd_call members_call;
	struct iovec members_iov;
	bool telling;
	struct guard_addr *members; /* what its guard was told last on this connection */
	unsigned nmembers;
	struct io_stat io;  /* calls since the last engine_collect() */
	struct wpeer *next; /* the worker's retired ones, which engines may still point at */
};

/* An attempt to connect. It cannot be taken back, but it may be of no use any more. */
struct wpeer_dial {
	struct worker *worker;
	struct wpeer *wp; /* NULL: nobody waits for it */
};

static void wpeer_connect(struct wpeer *wp);

/* ---- telling others ------------------------------------------------------------------------ */

struct wpeer_event {
	struct control_message msg;
	struct cluster *cluster;
	uint32_t number;
	enum server_state state;
	char why[WHY_MAX];
	char version[VERSION_MAX];
};

static void wpeer_event_arrived(struct control_message *m)
{
	struct wpeer_event *e = (struct wpeer_event *)m;

	servers_changed(e->cluster, e->number, e->state, e->why, e->version);
	free(e);
}

/* Only changes are reported, so that a server that stays away is mentioned once. */
static void wpeer_report(struct wpeer *wp, enum server_state state, const char *why)
{
	struct wpeer_event *e;

	if (!wp->report || wp->removed || (wp->state == state && strcmp(wp->why, why) == 0))
		return;
	wp->state = state;
	snprintf(wp->why, sizeof(wp->why), "%s", why);
	e = mem_must(sizeof(*e));
	e->msg.fn = wpeer_event_arrived;
	e->cluster = wp->worker->cluster;
	e->number = wp->peer.server;
	e->state = state;
	snprintf(e->why, sizeof(e->why), "%s", why);
	if (state == SERVER_UP)
		snprintf(e->version, sizeof(e->version), "%s", wp->version);
	control_post(e->cluster->control, &e->msg);
}

static void wpeer_tell_volumes(struct wpeer *wp, bool up)
{
	struct worker *w = wp->worker;

	if (wp->peer.up == up)
		return;
	wp->peer.up = up;
	for (unsigned i = 0; i < w->nvols; i++)
		if (w->vols[i]->engine != NULL)
			volume_peer_changed(w->vols[i]->engine, &wp->peer);
}

static struct weft_stat stat_from_wire(const struct weft_stat *wire)
{
	struct weft_stat s = *wire;
	uint64_t word;

	for (size_t i = 0; i < sizeof(s) / sizeof(word); i++) {
		memcpy(&word, (const char *)wire + i * sizeof(word), sizeof(word));
		word = be64toh(word);
		memcpy((char *)&s + i * sizeof(word), &word, sizeof(word));
	}
	return s;
}

/* ---- the end of a connection --------------------------------------------------------------- */

static void wpeer_free_probe(struct wpeer *wp, int err)
{
	struct peer_probe *probe = wp->probe;
	struct worker *w = wp->worker;

	w->env->ops->timer_cancel(w->env, &wp->timer);
	w->open_peers--;
	free(wp);
	task_finish(&probe->task, err);
	worker_check_quit(w);
}

static void wpeer_retire(struct wpeer *wp)
{
	struct worker *w = wp->worker;

	w->env->ops->timer_cancel(w->env, &wp->timer);
	wp->next = w->retired;
	w->retired = wp;
	w->open_peers--;
	worker_check_quit(w);
}

static void wpeer_retry(struct io_timer *t)
{
	wpeer_connect((struct wpeer *)((char *)t - offsetof(struct wpeer, timer)));
}

/* Not connected any more, or not at all. why: for people. */
static void wpeer_over(struct wpeer *wp, int err, const char *why)
{
	struct env *env = wp->worker->env;

	if (wp->probe != NULL) {
		if (err != 0)
			snprintf(wp->probe->why, sizeof(wp->probe->why), "%s", why);
		wpeer_free_probe(wp, err);
		return;
	}
	if (wp->removed) {
		wpeer_retire(wp);
		return;
	}
	if (wp->moved) {
		wp->moved = false;
		wp->state = SERVER_CONNECTING; /* it may be another run of it */
		wpeer_connect(wp);
		return;
	}
	if (wp->state != SERVER_WRONG_STORE || wp->cut[0] == '\0')
		wpeer_report(wp, SERVER_DOWN, why);
	wp->timer.fire = wpeer_retry;
	env->ops->timer_set(env, &wp->timer, env->ops->now_ns(env) + wp->backoff_ms * NS_PER_MS);
	wp->backoff_ms = wp->backoff_ms * 2 < BACKOFF_MAX_MS ? wp->backoff_ms * 2 : BACKOFF_MAX_MS;
}

/* End the connection at once, whatever is under way; closed() follows. */
__attribute__((format(printf, 2, 3))) static void wpeer_cut(struct wpeer *wp, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(wp->cut, sizeof(wp->cut), fmt, ap);
	va_end(ap);
	wpeer_tell_volumes(wp, false);
	shutdown(uring_stream_fd(wp->stream), SHUT_RDWR);
}

static void wpeer_closed(void *ctx, struct nbd_client *c, int err, const char *why)
{
	struct wpeer *wp = ctx;
	char text[WHY_MAX];

	free(wp->members);
	wp->members = NULL;
	wp->client = NULL;
	wp->stream = NULL;
	wp->worker->env->ops->timer_cancel(wp->worker->env, &wp->timer);
	if (wp->cut[0] != '\0')
		snprintf(text, sizeof(text), "%s", wp->cut);
	else if (why != NULL)
		snprintf(text, sizeof(text), "%s", why);
	else
		snprintf(text, sizeof(text), "%s",
			 err != 0 ? strerror(err < 0 ? -err : err)
				  : "the server closed the connection");
	wpeer_tell_volumes(wp, false);
	if (wp->probe == NULL)
		route_server_remove(wp->worker, wp->peer.server);
	if (wp->answered)
		err = 0; /* it has been asked all it should */
	else if (wp->probe != NULL && err == 0)
		err = -ECONNRESET;
	wpeer_over(wp, err, text);
}

/* ---- its beginning ------------------------------------------------------------------------- */

static void probe_answered(struct nbd_call *call, int error)
{
	struct wpeer *wp = (struct wpeer *)((char *)call - offsetof(struct wpeer, stat_call));

	if (error > 0)
		wpeer_cut(wp, "it cannot tell its state: %s", strerror(error));
	if (error != 0)
		return; /* closed() says why */
	wp->probe->stat = stat_from_wire(&wp->stat_wire);
	wp->answered = true;
	nbd_client_close(wp->client);
}

static void call_stat(struct wpeer *wp, struct nbd_call *call, struct weft_stat *to,
		      struct iovec *iov, void (*done)(struct nbd_call *call, int error))
{
	*iov = (struct iovec){to, sizeof(*to)};
	*call = (struct nbd_call){
		.type = WEFT_CMD_STAT,
		.cmd = {.reply_len = sizeof(struct weft_stat)},
		.in = iov,
		.nin = 1,
		.done = done,
	};
	nbd_client_submit(wp->client, call);
}

static void wpeer_ask(struct wpeer *wp, void (*done)(struct nbd_call *call, int error))
{
	call_stat(wp, &wp->stat_call, &wp->stat_wire, &wp->stat_iov, done);
}

static void wpeer_older_arrived(struct control_message *m)
{
	struct wpeer_event *e = (struct wpeer_event *)m;

	age_found(e->cluster, e->number);
	free(e);
}

static void wpeer_judge_age(struct wpeer *wp, const struct weft_stat *st)
{
	struct cluster *c = wp->worker->cluster;
	struct wpeer_event *e;
	bool found;

	wp->peer.older = age_judge(c, wp->age, wp->peer.boot, st, &found);
	if (!found)
		return;
	e = mem_must(sizeof(*e));
	e->msg.fn = wpeer_older_arrived;
	e->cluster = c;
	e->number = wp->peer.server;
	control_post(c->control, &e->msg);
}

/* Before any volume hears of it: is its store the one that we knew? */
static void first_answered(struct nbd_call *call, int error)
{
	struct wpeer *wp = (struct wpeer *)((char *)call - offsetof(struct wpeer, first_call));
	struct weft_stat st;

	if (error > 0 && !wp->removed && wp->cut[0] == '\0')
		wpeer_cut(wp, "it cannot tell its state: %s", strerror(error));
	if (error != 0 || wp->removed || wp->cut[0] != '\0')
		return; /* closed() says why */
	st = stat_from_wire(&wp->first_wire);
	wp->worker->env->ops->timer_cancel(wp->worker->env, &wp->timer);
	wp->backoff_ms = BACKOFF_MIN_MS;
	wpeer_judge_age(wp, &st);
	wpeer_report(wp, SERVER_UP, "");
	wpeer_tell_volumes(wp, true);
	if (wp->worker->route != NULL)
		route_server_add(wp->worker, wp->peer.server, wp->name, &wp->addr, st.route_name,
				 wp->peer.boot);
}

static void wpeer_ready(void *ctx, struct nbd_client *c)
{
	struct wpeer *wp = ctx;
	const struct nbd_client_peer *said = nbd_client_peer(c);

	wp->client = c; /* the negotiation may end before nbd_client_create() has returned */
	if (wp->probe != NULL) { /* the limit of the negotiation is that of the visit */
		memcpy(wp->probe->store, said->store, WEFT_UUID_BYTES);
		version_read(wp->probe->version, said->description);
		wpeer_ask(wp, probe_answered);
		return;
	}
	if (memcmp(said->store, wp->store, WEFT_UUID_BYTES) != 0) {
		char text[UUID_TEXT_MAX];

		wp->backoff_ms = BACKOFF_MAX_MS;
		wpeer_report(wp, SERVER_WRONG_STORE, "another store answers at this address");
		wpeer_cut(wp, "another store answers: %s", uuid_format(said->store, text));
		return;
	}
	memcpy(wp->peer.boot, said->boot, WEFT_UUID_BYTES);
	version_read(wp->version, said->description);
	call_stat(wp, &wp->first_call, &wp->first_wire, &wp->first_iov, first_answered);
}

/* Before the calls that wait fail: the engines shall not choose this server for their next try. */
static void wpeer_breaking(void *ctx, struct nbd_client *c)
{
	wpeer_tell_volumes(ctx, false);
}

/* What takes a disk: reads and changes of slots. */
static void wpeer_answered(void *ctx, const struct nbd_call *call, uint64_t ns)
{
	struct wpeer *wp = ctx;

	if (call->type == NBD_CMD_READ)
		io_stat_add(&wp->io, IO_READ, call->len, ns);
	else if (call->type == WEFT_CMD_PREPARE)
		io_stat_add(&wp->io, IO_WRITE, call->len - (uint32_t)sizeof(struct weft_cmd), ns);
	else if (call->type != WEFT_CMD_STAT)
		io_stat_add(&wp->io, IO_OTHER, 0, ns);
}

static const struct nbd_client_ops wpeer_client_ops = {
	.ready = wpeer_ready,
	.answered = wpeer_answered,
	.breaking = wpeer_breaking,
	.closed = wpeer_closed,
};

static void wpeer_negotiation_late(struct io_timer *t)
{
	struct wpeer *wp = (struct wpeer *)((char *)t - offsetof(struct wpeer, timer));

	wpeer_cut(wp,
		  "it took the connection, but did not answer within %d s as a storage server does",
		  NEGOTIATE_MS / 1000);
}

static void dial_unwanted(struct worker *w, int fd)
{
	if (fd >= 0)
		close(fd);
	w->open_peers--;
	worker_check_quit(w);
}

static void wpeer_connected(void *arg, int fd)
{
	struct wpeer_dial *dial = arg;
	struct wpeer *wp = dial->wp;
	struct worker *w = dial->worker;

	free(dial);
	if (wp == NULL) {
		dial_unwanted(w, fd);
		return;
	}
	wp->dial = NULL;
	if (fd >= 0 && wp->removed) {
		close(fd);
		fd = -ECANCELED;
	}
	if (fd < 0) {
		wpeer_over(wp, fd, strerror(-fd));
		return;
	}
	wp->stream = wp->addr.shared ? uring_shm_connect(w->uring, fd, SEND_TIMEOUT_MS)
				     : uring_stream(w->uring, fd, SEND_TIMEOUT_MS);
	if (wp->stream == NULL) {
		wpeer_over(wp, -ENOMEM, "out of memory");
		return;
	}
	wp->client =
		nbd_client_create(&wpeer_client_ops, wp, w->env, w->cluster->secret, wp->stream);
	if (wp->client == NULL) {
		stream_drop(wp->stream);
		wp->stream = NULL;
		wpeer_over(wp, -ENOMEM, "out of memory");
		return;
	}
	wp->timer.fire = wpeer_negotiation_late;
	w->env->ops->timer_set(w->env, &wp->timer,
			       w->env->ops->now_ns(w->env) + NEGOTIATE_MS * NS_PER_MS);
}

static void wpeer_connect(struct wpeer *wp)
{
	struct wpeer_dial *dial = mem_must(sizeof(*dial));

	*dial = (struct wpeer_dial){wp->worker, wp};
	wp->dial = dial;
	wp->cut[0] = '\0';
	uring_connect(wp->worker->uring, &wp->addr.sa, wp->addr.len, CONNECT_TIMEOUT_MS,
		      wpeer_connected, dial);
}

/* ---- calls --------------------------------------------------------------------------------- */

static void wpeer_submit(struct peer *p, struct nbd_call *call)
{
	struct wpeer *wp = (struct wpeer *)p;

	assert(p->up && wp->client != NULL);
	nbd_client_submit(wp->client, call);
}

static const struct peer_ops wpeer_ops = {.submit = wpeer_submit};

static void wpeer_pinged(struct nbd_call *call, int error)
{
	struct wpeer *wp = (struct wpeer *)((char *)call - offsetof(struct wpeer, ping_call));

	wp->pinging = false;
}

static void wpeer_ping(struct wpeer *wp)
{
	if (wp->pinging)
		return;
	wp->pinging = true;
	wp->ping_iov = (struct iovec){&wp->ping_wire, sizeof(wp->ping_wire)};
	wp->ping_call = (struct nbd_call){
		.type = WEFT_CMD_STAT,
		.cmd = {.reply_len = sizeof(struct weft_stat)},
		.in = &wp->ping_iov,
		.nin = 1,
		.done = wpeer_pinged,
	};
	nbd_client_submit(wp->client, &wp->ping_call);
}

static void wpeer_check_deadline(struct wpeer *wp, uint64_t now)
{
	uint64_t limit = wp->worker->cluster->server_timeout_ms * NS_PER_MS;
	uint64_t oldest = nbd_client_oldest_ns(wp->client);
	uint64_t heard = nbd_client_heard_ns(wp->client);
	uint64_t since = heard > oldest ? heard : oldest;

	if (oldest == 0 || now < since)
		return;
	if (now - since >= limit || now - oldest >= CALL_TIMEOUT_MS * NS_PER_MS) {
		unsigned long long ms = (now - (now - since >= limit ? since : oldest)) / NS_PER_MS;

		wpeer_cut(wp, "it did not answer for %llu ms", ms);
	} else if (now - since >= limit / 4) {
		wpeer_ping(wp);
	}
}

/* Cut connections to servers that do not answer. */
static void peers_check_deadlines(struct io_timer *t)
{
	struct worker *w = (struct worker *)((char *)t - offsetof(struct worker, deadline));
	uint64_t part = w->cluster->server_timeout_ms * NS_PER_MS / DEADLINE_PARTS;
	uint64_t now = w->env->ops->now_ns(w->env);
	bool late = now > w->deadline_due_ns + part;

	for (uint32_t i = 0; i < w->npeers && !late; i++) {
		struct wpeer *wp = w->peers[i];

		if (wp != NULL && wp->client != NULL && wp->peer.up)
			wpeer_check_deadline(wp, now);
	}
	w->deadline_due_ns = now + part;
	w->env->ops->timer_set(w->env, &w->deadline, w->deadline_due_ns);
}

struct peer *wpeer_find(struct worker *w, uint32_t server)
{
	if (server < 1 || server > w->npeers || w->peers[server - 1] == NULL)
		return NULL;
	return &w->peers[server - 1]->peer;
}

/* ---- tasks --------------------------------------------------------------------------------- */

static bool peers_grow(struct worker *w, uint32_t number)
{
	struct wpeer **peers;

	if (number <= w->npeers)
		return true;
	peers = reallocarray(w->peers, number, sizeof(*peers));
	if (peers == NULL)
		return false;
	memset(peers + w->npeers, 0, (number - w->npeers) * sizeof(*peers));
	w->peers = peers;
	w->npeers = number;
	return true;
}

static struct wpeer *wpeer_new(struct worker *w, const struct addr *addr)
{
	struct wpeer *wp = mem_must(sizeof(*wp));

	wp->peer.ops = &wpeer_ops;
	wp->worker = w;
	wp->addr = *addr;
	wp->backoff_ms = BACKOFF_MIN_MS;
	w->open_peers++;
	return wp;
}

void peer_add_run(struct task *t)
{
	struct peer_add *add = (struct peer_add *)t;
	struct worker *w = t->worker;
	struct wpeer *wp;

	assert(add->number >= 1 && add->number <= SERVER_NUMBER_MAX);
	if (!peers_grow(w, add->number)) {
		task_finish(t, -ENOMEM);
		return;
	}
	assert(w->peers[add->number - 1] == NULL);
	wp = wpeer_new(w, &add->addr);
	wp->peer.server = add->number;
	snprintf(wp->name, sizeof(wp->name), "%s", add->name);
	memcpy(wp->store, add->store, WEFT_UUID_BYTES);
	wp->age = add->age;
	wp->report = add->report;
	w->peers[add->number - 1] = wp;
	wpeer_connect(wp);
	if (w->deadline.at_ns == 0) {
		w->deadline.fire = peers_check_deadlines;
		w->deadline_due_ns = w->env->ops->now_ns(w->env);
		w->env->ops->timer_set(w->env, &w->deadline, w->deadline_due_ns);
	}
	task_finish(t, 0);
}

/* Whatever it is doing, it will end in wpeer_retire(). */
static void wpeer_remove(struct wpeer *wp)
{
	wp->removed = true;
	if (wp->client != NULL) {
		wpeer_tell_volumes(wp, false);
		if (nbd_client_oldest_ns(wp->client) == 0)
			nbd_client_close(wp->client);
		else
			shutdown(uring_stream_fd(wp->stream), SHUT_RDWR);
	} else if (wp->dial == NULL) {
		wpeer_retire(wp);
	}
}

void peer_remove_run(struct task *t)
{
	struct peer_remove *rm = (struct peer_remove *)t;
	struct worker *w = t->worker;

	if (rm->number <= w->npeers && w->peers[rm->number - 1] != NULL) {
		struct wpeer *wp = w->peers[rm->number - 1];

		w->peers[rm->number - 1] = NULL;
		wpeer_remove(wp);
	}
	task_finish(t, 0);
}

static void wpeer_move(struct wpeer *wp, const struct addr *addr)
{
	struct worker *w = wp->worker;

	wp->addr = *addr;
	wp->backoff_ms = BACKOFF_MIN_MS;
	if (wp->client != NULL) {
		wp->moved = true;
		wpeer_cut(wp, "its address was changed");
		return;
	}
	if (wp->dial != NULL) { /* where nobody may be any more, which takes a while */
		wp->dial->wp = NULL;
		w->open_peers++;
	} else {
		w->env->ops->timer_cancel(w->env, &wp->timer);
	}
	wpeer_connect(wp);
}

void peer_move_run(struct task *t)
{
	struct peer_move *mv = (struct peer_move *)t;
	struct worker *w = t->worker;

	if (mv->number <= w->npeers && w->peers[mv->number - 1] != NULL)
		wpeer_move(w->peers[mv->number - 1], &mv->addr);
	task_finish(t, 0);
}

void peer_probe_run(struct task *t)
{
	struct peer_probe *probe = (struct peer_probe *)t;
	struct wpeer *wp = wpeer_new(t->worker, &probe->addr);

	wp->probe = probe;
	snprintf(wp->name, sizeof(wp->name), "%s", "(new)");
	wpeer_connect(wp);
}

/* ---- members ------------------------------------------------------------------------------- */

/* The one behind the n of the list. */
static bool member_is_in(const struct guard_addr *list, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (memcmp(&list[i], &list[n], sizeof(*list)) == 0)
			return true;
	return false;
}

static void members_told(struct nbd_call *call, int error)
{
	struct wpeer *wp = (struct wpeer *)((char *)call - offsetof(struct wpeer, members_call));

	wp->telling = false;
	if (error == 0)
		return;
	free(wp->members);
	wp->members = NULL; /* once more, after the next answer to STAT */
}

/* Its guard lets in whom we name: all that are servers now. */
static void members_tell(struct wpeer *wp)
{
	struct worker *w = wp->worker;
	struct guard_addr *list = calloc(WEFT_MEMBERS_MAX, sizeof(*list));
	unsigned n = 0;

	for (uint32_t i = 0; list != NULL && i < w->npeers && n < WEFT_MEMBERS_MAX; i++)
		if (w->peers[i] != NULL && guard_addr_from(&w->peers[i]->addr.sa, &list[n]) &&
		    !member_is_in(list, n))
			n++;
	if (list == NULL || wp->telling ||
	    (wp->members != NULL && n == wp->nmembers &&
	     memcmp(list, wp->members, n * sizeof(*list)) == 0)) {
		free(list);
		return;
	}
	free(wp->members);
	wp->members = list;
	wp->nmembers = n;
	wp->telling = true;
	wp->members_iov = (struct iovec){list, n * sizeof(*list)};
	wp->members_call = (struct nbd_call){
		.type = WEFT_CMD_MEMBERS,
		.out = &wp->members_iov,
		.nout = 1,
		.done = members_told,
	};
	nbd_client_submit(wp->client, &wp->members_call);
}

static void stats_answered(struct nbd_call *call, int error)
{
	struct wpeer *wp = (struct wpeer *)((char *)call - offsetof(struct wpeer, stat_call));
	struct peer_stats *stats = wp->stats;

	wp->stats = NULL;
	if (error == 0) {
		stats->answers[stats->count].server = wp->peer.server;
		stats->answers[stats->count].stat = stat_from_wire(&wp->stat_wire);
		if (stats->answers[stats->count].stat.guard != 0 && wp->peer.up)
			members_tell(wp);
		stats->count++;
	}
	if (--stats->pending == 0)
		task_finish(&stats->task, 0);
}

void peer_stats_run(struct task *t)
{
	struct peer_stats *stats = (struct peer_stats *)t;
	struct worker *w = t->worker;

	stats->pending = 1;
	for (uint32_t i = 0; i < w->npeers && stats->pending <= SERVERS_MAX; i++) {
		struct wpeer *wp = w->peers[i];

		if (wp == NULL || !wp->peer.up || wp->stats != NULL)
			continue;
		wp->stats = stats;
		stats->pending++;
		wpeer_ask(wp, stats_answered);
	}
	if (--stats->pending == 0)
		task_finish(t, 0);
}

void peers_take_counts(struct worker *w)
{
	for (uint32_t i = 0; i < w->npeers; i++) {
		struct wpeer *wp = w->peers[i];
		struct server *s =
			wp != NULL ? server_by_number(w->cluster, wp->peer.server) : NULL;

		if (s == NULL)
			continue;
		io_stat_sum(&s->io, &wp->io);
		memset(&wp->io, 0, sizeof(wp->io));
	}
}

void peers_ages(struct worker *w)
{
	for (uint32_t i = 0; i < w->npeers; i++) {
		const struct wpeer *wp = w->peers[i];

		if (wp != NULL && (!wp->peer.up || wp->peer.older != wp->age->older))
			wp->age->behind = true;
	}
}

void peers_close(struct worker *w)
{
	for (uint32_t i = 0; i < w->npeers; i++) {
		struct wpeer *wp = w->peers[i];

		w->peers[i] = NULL;
		if (wp != NULL)
			wpeer_remove(wp);
	}
	w->env->ops->timer_cancel(w->env, &w->deadline);
}

void peers_free(struct worker *w)
{
	while (w->retired != NULL) {
		struct wpeer *wp = w->retired;

		w->retired = wp->next;
		free(wp);
	}
	free(w->peers);
	w->peers = NULL;
}
