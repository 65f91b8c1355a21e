/*
 * A volume manager: what volmgr does around the NBD session and the stripe engine of one volume.
 * Peers connect, prove themselves, come back after a break with a growing pause, and are cut when
 * they do not answer; the front gives requests to the volume.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "nbd/client.h"
#include "nbd/proto.h"
#include "nbd/session.h"
#include "sim.h"
#include "stripe/carry.h"
#include "stripe/rebuild.h"
#include "stripe/volume.h"

#define POOL_BYTES     (64u << 20)
#define UNFLUSHED_MAX  (4u << 20)
#define FLUSH_MS       1000
#define GRACE_MS       300
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 2000
#define NEGOTIATE_MS   5000
#define CALL_MS	       2000 /* a call that is not answered for so long ends the connection */
#define LOOK_MS	       500
#define MOVES_MAX      9 /* of a seed: a move can leave a slot behind */
#define EXTENTS_MAX    16

#define FRONT_FLAGS                                                                                \
	(NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_TRIM |                            \
	 NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_CAN_MULTI_CONN | NBD_FLAG_SEND_CACHE |              \
	 NBD_FLAG_SEND_FAST_ZERO)

struct sim_peer {
	struct peer peer; /* first */
	struct mgr *mgr;
	struct server *server;
	struct stream *stream;
	struct nbd_client *client;
	struct io_timer timer; /* pause, or limit of the negotiation */
	unsigned backoff_ms;
};

struct mgr {
	struct proc proc; /* first */
	struct buf_pool *pool;
	struct volume *volume;
	struct sim_peer peers[SIM_SERVERS_MAX];
	struct nbd_session_config config;
	struct io_timer look;
	bool ready, stopping;
	unsigned moves;	   /* of this seed */
	uint64_t scrub_ns; /* the last one began then */
	bool moving;	   /* a shard is on its way */
	int moved;	   /* how the last one ended */
	bool shrunk;
	void (*resized)(void *arg, bool durable); /* not NULL: it is being resized */
	void *resized_arg;
	struct event ended; /* after an orderly stop */
};

static void peer_connect(struct sim_peer *sp);

static void after(struct mgr *m, struct io_timer *t, uint64_t ms)
{
	fake_timer_set(&m->proc.env.env, t, m->proc.env.now_ns + ms * NS_PER_MS);
}

/* ---- peers --------------------------------------------------------------------------------- */

static void peer_tell(struct sim_peer *sp, bool up)
{
	struct mgr *m = sp->mgr;

	if (sp->peer.up == up)
		return;
	sim_note(m->proc.sim, up ? "peer up" : "peer down", m->proc.name, sp->peer.server, 0);
	sp->peer.up = up;
	if (up)
		faults_server_heard(m->proc.sim->faults, sp->peer.server);
	if (m->volume != NULL)
		volume_peer_changed(m->volume, &sp->peer);
}

static void peer_retry(struct io_timer *t)
{
	peer_connect((struct sim_peer *)((char *)t - offsetof(struct sim_peer, timer)));
}

static void peer_later(struct sim_peer *sp)
{
	sp->timer.fire = peer_retry;
	after(sp->mgr, &sp->timer, sp->backoff_ms);
	sp->backoff_ms = sp->backoff_ms * 2 < BACKOFF_MAX_MS ? sp->backoff_ms * 2 : BACKOFF_MAX_MS;
}

static void peer_late(struct io_timer *t)
{
	struct sim_peer *sp = (struct sim_peer *)((char *)t - offsetof(struct sim_peer, timer));

	net_cut(sp->stream);
}

static void peer_ready(void *ctx, struct nbd_client *c)
{
	struct sim_peer *sp = ctx;
	const struct nbd_client_peer *said = nbd_client_peer(c);
	struct sim *s = sp->mgr->proc.sim;

	sp->client = c;
	fake_timer_cancel(&sp->mgr->proc.env.env, &sp->timer);
	if (memcmp(said->store, server_store(sp->server), WEFT_UUID_BYTES) != 0)
		sim_fail(s, "another store answers");
	sp->backoff_ms = BACKOFF_MIN_MS;
	memcpy(sp->peer.boot, said->boot, WEFT_UUID_BYTES);
	peer_tell(sp, true);
}

static void peer_breaking(void *ctx, struct nbd_client *c)
{
	peer_tell(ctx, false);
}

static void peer_closed(void *ctx, struct nbd_client *c, int err, const char *why)
{
	struct sim_peer *sp = ctx;

	sp->client = NULL;
	sp->stream = NULL;
	fake_timer_cancel(&sp->mgr->proc.env.env, &sp->timer);
	peer_tell(sp, false);
	peer_later(sp);
}

static const struct nbd_client_ops peer_client_ops = {
	.ready = peer_ready,
	.breaking = peer_breaking,
	.closed = peer_closed,
};

static void peer_connected(void *arg, struct stream *stream)
{
	static const uint8_t secret[WEFT_SECRET_BYTES] = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk";
	struct sim_peer *sp = arg;
	struct env *env = &sp->mgr->proc.env.env;

	if (stream == NULL) {
		peer_later(sp);
		return;
	}
	sp->stream = stream;
	sp->client = nbd_client_create(&peer_client_ops, sp, env, secret, stream);
	sp->timer.fire = peer_late;
	after(sp->mgr, &sp->timer, NEGOTIATE_MS);
}

static void peer_connect(struct sim_peer *sp)
{
	net_connect(&sp->mgr->proc, server_proc(sp->server), server_accept, peer_connected, sp);
}

static void peer_submit(struct peer *p, struct nbd_call *call)
{
	struct sim_peer *sp = (struct sim_peer *)p;

	assert(p->up && sp->client != NULL);
	if (call->type == WEFT_CMD_ABORT)
		faults_abort(sp->mgr->proc.sim->faults, p->server);
	if (call->type == WEFT_CMD_PREPARE)
		faults_aim_prepare(sp->mgr->proc.sim->faults, p->server);
	nbd_client_submit(sp->client, call);
}

static const struct peer_ops peer_ops = {.submit = peer_submit};

static void peers_look(struct io_timer *t)
{
	struct mgr *m = (struct mgr *)((char *)t - offsetof(struct mgr, look));

	for (unsigned i = 0; i < m->proc.sim->g.servers; i++) {
		struct sim_peer *sp = &m->peers[i];
		uint64_t oldest;

		if (sp->client == NULL || !sp->peer.up)
			continue;
		oldest = nbd_client_oldest_ns(sp->client);
		if (oldest == 0 || m->proc.env.now_ns - oldest < CALL_MS * NS_PER_MS)
			continue;
		sim_note(m->proc.sim, "cuts", m->proc.name, sp->peer.server, 0);
		peer_tell(sp, false);
		net_cut(sp->stream);
	}
	after(m, t, LOOK_MS);
}

/* ---- erasure codes: constant, slow to make, partly outside of what we see of memory -------- */

struct ec *__real_ec_create(enum ec_code code, unsigned k, unsigned m);
struct ec *__wrap_ec_create(enum ec_code code, unsigned k, unsigned m);
void __wrap_ec_destroy(struct ec *ec);

struct ec *__wrap_ec_create(enum ec_code code, unsigned k, unsigned m)
{
	static struct ec *made[WEFT_K_MAX + 1][WEFT_M_MAX + 1];
	struct heap *before = heap_use(NULL);

	if (made[k][m] == NULL)
		made[k][m] = __real_ec_create(code, k, m);
	heap_use(before);
	return made[k][m];
}

void __wrap_ec_destroy(struct ec *ec)
{
}

/* ---- what the stripe engine asks ----------------------------------------------------------- */

static int mgr_place(void *ctx, struct volume *v, unsigned count, unsigned up, uint32_t *servers)
{
	struct mgr *m = ctx;
	struct sim *s = m->proc.sim;
	unsigned from = sim_below(s, s->g.servers), n = 0, good = 0;

	for (unsigned round = 0; round < 2; round++) { /* those that are up come first */
		for (unsigned i = 0; i < s->g.servers && n < count; i++) {
			struct sim_peer *sp = &m->peers[(from + i) % s->g.servers];

			if (sp->peer.up == (round == 0))
				servers[n++] = sp->peer.server;
		}
		good = round == 0 ? n : good;
	}
	if (faults_place_whole(s->faults))
		up = count;
	return n == count && good >= up ? 0 : -EAGAIN;
}

static void mgr_extents_put(void *ctx, struct volume *v, const struct extent_record *records, int n,
			    bool removing, void (*done)(void *arg, int err), void *arg)
{
	struct mgr *m = ctx;

	meta_put(m->proc.sim->meta, &m->proc, records, n, removing, done, arg);
}

static void mgr_starts_put(void *ctx, struct volume *v, const struct volume_starts *r,
			   void (*done)(void *arg, int err), void *arg)
{
	struct mgr *m = ctx;

	meta_put_starts(m->proc.sim->meta, &m->proc, r, done, arg);
}

static struct peer *mgr_peer(void *ctx, uint32_t server)
{
	struct mgr *m = ctx;

	return server >= 1 && server <= m->proc.sim->g.servers ? &m->peers[server - 1].peer : NULL;
}

static const struct volume_ops volume_ops = {
	.place = mgr_place,
	.extents_put = mgr_extents_put,
	.starts_put = mgr_starts_put,
	.peer = mgr_peer,
};

/* ---- the front ----------------------------------------------------------------------------- */

static int front_open(void *ctx, struct nbd_session *session, const char *name, size_t len,
		      bool info_only, struct nbd_export *out, const char **why)
{
	struct mgr *m = ctx;

	if (len != 1 || name[0] != 'v')
		return -ENOENT;
	if (m->stopping)
		return -ESHUTDOWN;
	*out = (struct nbd_export){
		.size = m->proc.sim->g.size,
		.min_block = 1,
		.pref_block = WEFT_BLOCK_BYTES,
		.max_block = NBD_PAYLOAD_MAX,
		.flags = FRONT_FLAGS,
		.ctx = m,
	};
	return 0;
}

static void front_request(void *ctx, struct nbd_req *req)
{
	struct mgr *m = ctx;

	if (m->volume == NULL) /* stopped, and about to end */
		nbd_req_done(req, ESHUTDOWN);
	else
		volume_submit(m->volume, req);
}

static const struct nbd_server_ops front_ops = {.open = front_open, .request = front_request};

void mgr_accept(struct proc *p, struct stream *stream)
{
	nbd_session_create(&((struct mgr *)p)->config, stream);
}

/* ---- life ---------------------------------------------------------------------------------- */

static void mgr_ended(struct event *e)
{
	struct mgr *m = (struct mgr *)((char *)e - offsetof(struct mgr, ended));

	if (!proc_alive(&m->proc))
		return;
	mgr_kill(m);
	faults_mgr_ended(m->proc.sim->faults, m);
}

struct mgr *mgr_new(struct sim *s, unsigned number)
{
	struct mgr *m = world_alloc(sizeof(*m));
	char name[16];

	snprintf(name, sizeof(name), "volmgr-%u", number);
	proc_init(s, &m->proc, name);
	return m;
}

void mgr_free(struct mgr *m)
{
	heap_drop(&m->proc.heap);
	free(m->resized_arg);
	free(m);
}

struct proc *mgr_proc(struct mgr *m)
{
	return &m->proc;
}

bool mgr_ready(const struct mgr *m)
{
	return proc_alive(&m->proc) && m->ready && !m->proc.frozen;
}

bool mgr_hears(const struct mgr *m, uint32_t server)
{
	return proc_alive(&m->proc) && m->peers[server - 1].peer.up;
}

bool mgr_stopping(const struct mgr *m)
{
	return proc_alive(&m->proc) && m->stopping;
}

static void on_ready(void *arg, int err)
{
	struct mgr *m = arg;

	sim_note(m->proc.sim, "runs", m->proc.name, (uint64_t)-err, 0);
	if (err != 0)
		return;
	m->ready = true;
	faults_mgr_ready(m->proc.sim->faults, m);
}

static void on_extent(void *arg, const struct extent_record *r)
{
	struct mgr *m = arg;

	if (volume_add_extent(m->volume, r) != 0)
		sim_fail(m->proc.sim, "an extent of the metadata is refused");
}

static void mgr_make_volume(struct mgr *m)
{
	const struct geometry *g = &m->proc.sim->g;
	struct volume_config config = {
		.id = 7,
		.name = "v",
		.size = g->size,
		.k = g->k,
		.m = g->m,
		.code = g->m == 0 ? EC_NONE : ec_best_code(),
		.unit_bytes = g->unit,
		.epoch = meta_next_epoch(m->proc.sim->meta, &m->proc),
		.owner = 1 + m->proc.number,
		.unflushed_max = UNFLUSHED_MAX,
		.flush_ms = FLUSH_MS,
		.grace_ms = GRACE_MS,
		.ops = &volume_ops,
		.ctx = m,
		.env = &m->proc.env.env,
		.pool = m->pool,
	};

	m->volume = volume_create(&config);
	if (m->volume == NULL)
		sim_fail(m->proc.sim, "no volume");
	meta_each(m->proc.sim->meta, on_extent, m);
	volume_set_starts(m->volume, meta_starts(m->proc.sim->meta));
}

void mgr_start(struct mgr *m)
{
	struct env *env = &m->proc.env.env;

	proc_start(&m->proc);
	m->ready = m->stopping = m->moving = false;
	m->resized = NULL;
	m->volume = NULL;
	m->ended = (struct event){.fn = mgr_ended, .proc = &m->proc};
	memset(m->peers, 0, sizeof(m->peers));
	proc_enter(&m->proc);
	m->pool = buf_pool_create(POOL_BYTES, 0);
	m->config = (struct nbd_session_config){
		.ops = &front_ops, .ctx = m, .env = env, .pool = m->pool, .peer_name = "client"};
	for (unsigned i = 0; i < m->proc.sim->g.servers; i++) {
		struct sim_peer *sp = &m->peers[i];

		sp->peer.ops = &peer_ops;
		sp->peer.server = i + 1;
		sp->mgr = m;
		sp->server = m->proc.sim->servers[i];
		sp->backoff_ms = BACKOFF_MIN_MS;
	}
	mgr_make_volume(m);
	for (unsigned i = 0; i < m->proc.sim->g.servers; i++)
		peer_connect(&m->peers[i]);
	m->look = (struct io_timer){.fire = peers_look};
	after(m, &m->look, LOOK_MS);
	volume_start(m->volume, on_ready, m);
	proc_leave(&m->proc);
	net_returned(&m->proc);
}

void mgr_kill(struct mgr *m)
{
	struct sim *s = m->proc.sim;

	sim_cancel(s, &m->ended);
	proc_kill(&m->proc);
	m->volume = NULL;
	m->ready = m->moving = false;
	free(m->resized_arg);
	m->resized = NULL;
	m->resized_arg = NULL;
	meta_died(s->meta, &m->proc);
	net_died(&m->proc, sim_below(s, 2) == 0);
}

static void on_stopped(void *arg, int err)
{
	struct mgr *m = arg;

	sim_note(m->proc.sim, "stopped", m->proc.name, (uint64_t)-err, 0);
	volume_free(m->volume);
	m->volume = NULL;
	if (!m->ended.queued)
		sim_at(m->proc.sim, &m->ended, 1000);
}

void mgr_stop(struct mgr *m)
{
	if (m->stopping || m->volume == NULL)
		return;
	proc_enter(&m->proc);
	m->stopping = true;
	m->ready = false;
	volume_stop(m->volume, on_stopped, m);
	proc_leave(&m->proc);
}

bool mgr_scrub(struct mgr *m)
{
	bool began;

	proc_enter(&m->proc);
	began = volume_scrub_start(m->volume, 0, true) == 0;
	m->scrub_ns = m->proc.sim->now_ns;
	proc_leave(&m->proc);
	return began;
}

int mgr_scrubbed(struct mgr *m)
{
	struct volume_scrub state;

	volume_scrub_state(m->volume, &state);
	if (!state.running && (!state.finished || state.skipped > 0) &&
	    m->proc.sim->now_ns > m->scrub_ns) /* with a server away it takes no time */
		mgr_scrub(m);		       /* once more */
	if (state.running || !state.finished || state.skipped > 0)
		return -1;
	return (int)(state.lost_rows + state.unclear_rows + state.misfit_blocks);
}

bool mgr_rebuilds(const struct mgr *m)
{
	struct rebuild_stat stat;

	volume_rebuild_stat(m->volume, &stat);
	return stat.shards > 0;
}

/* ---- moves --------------------------------------------------------------------------------- */

struct extents {
	struct extent_record r[EXTENTS_MAX];
	unsigned n;
};

static bool extents_add(void *arg, const struct extent_record *r)
{
	struct extents *e = arg;

	if (e->n < EXTENTS_MAX)
		e->r[e->n++] = *r;
	return e->n < EXTENTS_MAX;
}

void mgr_each_extent(const struct mgr *m, void (*fn)(void *arg, const struct extent_record *r),
		     void *arg)
{
	struct extents e = {.n = 0};

	if (proc_alive(&m->proc) && m->volume != NULL)
		volume_each_extent(m->volume, extents_add, &e);
	for (unsigned i = 0; i < e.n; i++)
		fn(arg, &e.r[i]);
}

static void on_moved(void *arg, int err)
{
	struct mgr *m = arg;

	sim_note(m->proc.sim, "moved", m->proc.name, (uint64_t)-err, 0);
	m->moving = false;
	m->moved = err;
}

/* A server that has no shard of the extent; 0: there is none. */
static uint32_t server_beside(const struct mgr *m, const struct extent_record *r)
{
	const struct geometry *g = &m->proc.sim->g;
	unsigned from = sim_below(m->proc.sim, g->servers);

	for (unsigned i = 0; i < g->servers; i++) {
		uint32_t server = 1 + (from + i) % g->servers;
		bool used = false;

		for (unsigned j = 0; j < g->k + g->m; j++)
			used |= r->shard[j].server == server;
		if (!used)
			return server;
	}
	return 0;
}

bool mgr_move(struct mgr *m)
{
	struct extents e = {.n = 0};
	struct sim *s = m->proc.sim;
	const struct extent_record *r;
	unsigned shard = sim_below(s, s->g.k + s->g.m);
	uint32_t to;

	if (!mgr_ready(m) || m->moving || m->moves >= MOVES_MAX)
		return false;
	volume_each_extent(m->volume, extents_add, &e);
	if (e.n == 0)
		return false;
	r = &e.r[sim_below(s, e.n)];
	to = server_beside(m, r);
	if (to == 0)
		return false;
	m->moves++;
	m->moving = true;
	sim_note(s, "moves", m->proc.name, r->extent << 8 | shard, to);
	proc_enter(&m->proc);
	/* one whose server is not there is made anew, the others are copied */
	if ((r->stale >> shard & 1) != 0 || !m->peers[r->shard[shard].server - 1].peer.up)
		volume_move_shard(m->volume, r->extent, shard, to, on_moved, m);
	else
		volume_carry_shard(m->volume, r->extent, shard, to, on_moved, m);
	proc_leave(&m->proc);
	return true;
}

bool mgr_leave(struct mgr *m, uint32_t server)
{
	struct extents e = {.n = 0};
	const struct geometry *g = &m->proc.sim->g;

	volume_each_extent(m->volume, extents_add, &e);
	for (unsigned i = 0; i < e.n; i++)
		for (unsigned j = 0; j < g->k + g->m; j++) {
			uint32_t to = server_beside(m, &e.r[i]);

			if (e.r[i].shard[j].server != server)
				continue;
			m->moving = true;
			sim_note(m->proc.sim, "leaves", m->proc.name, e.r[i].extent << 8 | j, to);
			proc_enter(&m->proc);
			volume_move_shard(m->volume, e.r[i].extent, j, to, on_moved, m);
			proc_leave(&m->proc);
			return true;
		}
	return false;
}

bool mgr_moves(const struct mgr *m)
{
	return m->moving;
}

struct volume *mgr_volume(const struct mgr *m)
{
	return m->volume;
}

bool mgr_moved(const struct mgr *m)
{
	return m->moved == 0;
}

/* ---- another size, for a moment ------------------------------------------------------------ */

static void on_grown(void *arg, int err)
{
	struct mgr *m = arg;
	void (*done)(void *arg, bool durable) = m->resized;

	sim_note(m->proc.sim, "grown", m->proc.name, (uint64_t)-err, 0);
	m->resized = NULL;
	done(m->resized_arg, err == 0 && m->shrunk && meta_owner(m->proc.sim->meta) == &m->proc);
	m->resized_arg = NULL;
}

static void on_shrunk(void *arg, int err)
{
	struct mgr *m = arg;

	sim_note(m->proc.sim, "shrunk", m->proc.name, (uint64_t)-err, 0);
	m->shrunk = err == 0;
	volume_resize(m->volume, m->proc.sim->g.size, on_grown, m);
}

bool mgr_may_resize(const struct mgr *m)
{
	return mgr_ready(m) && m->resized == NULL;
}

void mgr_resize(struct mgr *m, uint64_t size, void (*done)(void *arg, bool durable), void *arg)
{
	assert(mgr_may_resize(m));
	m->resized = done;
	m->resized_arg = arg;
	m->shrunk = false;
	proc_enter(&m->proc);
	volume_resize(m->volume, size, on_shrunk, m);
	proc_leave(&m->proc);
}
