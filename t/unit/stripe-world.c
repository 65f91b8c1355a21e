/* See stripe-world.h. */
#include "config.h"

#include "stripe-world.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- answers ------------------------------------------------------------------------------- */

static void answered(struct world_req *r, int error)
{
	struct world *w = r->w;

	assert(r->busy && !r->done);
	r->done = true;
	r->error = error;
	w->answered++;
	if (error != 0)
		w->errors++;
	if (error != 0 && (r->req.type == NBD_CMD_WRITE || r->req.type == NBD_CMD_TRIM ||
			   r->req.type == NBD_CMD_WRITE_ZEROES))
		memset(w->known + r->req.offset, 0, r->req.len);
	if (r->req.payload != NULL)
		buf_put(r->req.payload);
	r->req.payload = NULL;
	r->busy = false;
}

void nbd_req_done(struct nbd_req *req, int error)
{
	answered((struct world_req *)req, error);
}

void nbd_req_done_status(struct nbd_req *req, const struct nbd_status *st, int n)
{
	struct world_req *r = (struct world_req *)req;
	uint64_t at = req->offset, end = req->offset + req->len;

	for (int i = 0; i < n; i++) {
		if (st[i].len == 0 || at >= end)
			r->w->mismatches++;
		for (uint64_t b = at; b < at + st[i].len && b < end; b++)
			if ((st[i].flags & NBD_STATE_ZERO) != 0 && r->w->known[b] &&
			    r->w->model[b] != 0)
				r->w->mismatches++;
		at += st[i].len;
	}
	if (at > end || (at < end && (req->flags & NBD_CMD_FLAG_REQ_ONE) == 0))
		r->w->mismatches++;
	answered(r, 0);
}

void nbd_req_done_data(struct nbd_req *req, const struct nbd_seg *segs, int nsegs)
{
	struct world_req *r = (struct world_req *)req;
	uint32_t at = 0;

	for (int i = 0; i < nsegs; i++) {
		for (uint32_t b = 0; b < segs[i].len; b++) {
			uint8_t got =
				segs[i].buf == NULL ? 0 : segs[i].buf->data[segs[i].offset + b];

			if (r->got != NULL)
				r->got[at + b] = got;

			if (r->sure[at + b] && got != r->want[at + b]) {
				if (r->w->mismatches++ < 5)
					fprintf(stderr, "# byte %" PRIu64 ": got %02x, want %02x\n",
						req->offset + at + b, got, r->want[at + b]);
				break;
			}
		}
		at += segs[i].len;
		if (r->keep && i == 0)
			r->kept = segs[i].buf;
		else
			buf_put(segs[i].buf);
	}
	if (at != req->len)
		r->w->mismatches++;
	answered(r, 0);
}

/* ---- what the daemon does ------------------------------------------------------------------ */

static int place(void *ctx, struct volume *v, unsigned count, unsigned up, uint32_t *servers)
{
	struct world *w = ctx;
	unsigned n = 0;

	for (int state = 1; state >= 0; state--) {
		for (unsigned i = 0; i < w->cluster.n && n < count; i++) {
			struct fake_server *s =
				&w->cluster.servers[(w->place_next + i) % w->cluster.n];

			if (s->peer.up == state)
				servers[n++] = s->peer.server;
		}
		if (n < up)
			return -EAGAIN;
	}
	w->place_next++;
	return n == count ? 0 : -EAGAIN;
}

static void extents_put(void *ctx, struct volume *v, const struct extent_record *records, int n,
			bool removing, void (*done)(void *arg, int err), void *arg)
{
	struct world *w = ctx;
	struct world_put *p = calloc(1, sizeof(*p)), **at = &w->puts;

	p->records = malloc((size_t)n * sizeof(*records));
	if (n > 0)
		memcpy(p->records, records, (size_t)n * sizeof(*records));
	p->n = n;
	p->remove = removing;
	p->done = done;
	p->arg = arg;
	while (*at != NULL)
		at = &(*at)->next;
	*at = p;
}

static void starts_put(void *ctx, struct volume *v, const struct volume_starts *r,
		       void (*done)(void *arg, int err), void *arg)
{
	struct world *w = ctx;
	struct world_put *p;

	extents_put(ctx, v, NULL, 0, false, done, arg);
	for (p = w->puts; p->next != NULL;)
		p = p->next;
	p->starts = malloc(sizeof(*r));
	*p->starts = *r;
}

static struct peer *peer(void *ctx, uint32_t server)
{
	struct world *w = ctx;

	return server >= 1 && server <= w->cluster.n ? &w->cluster.servers[server - 1].peer : NULL;
}

static void map_put(struct world *w, const struct extent_record *r, bool removing)
{
	int i = 0;

	while (i < w->nmap && w->map[i].extent != r->extent)
		i++;
	if (removing) {
		if (i < w->nmap)
			w->map[i] = w->map[--w->nmap];
		return;
	}
	if (i == w->nmap) {
		w->map = realloc(w->map, (size_t)++w->nmap * sizeof(*w->map));
	}
	w->map[i] = *r;
}

static void put_one(struct world *w, bool tell)
{
	struct world_put *p = w->puts;
	bool refused = w->fail_put > 0 && --w->fail_put == 0;

	w->puts = p->next;
	for (int i = 0; i < p->n && (!refused || w->put_stays); i++)
		map_put(w, &p->records[i], p->remove);
	if (p->starts != NULL && !refused)
		w->starts = *p->starts;
	if (tell)
		p->done(p->arg, refused ? -EIO : 0);
	free(p->starts);
	free(p->records);
	free(p);
}

static void peer_changed(void *ctx, struct peer *p)
{
	struct world *w = ctx;

	if (w->v != NULL)
		volume_peer_changed(w->v, p);
}

/* ---- life ---------------------------------------------------------------------------------- */

void world_init(struct world *w, const struct world_geometry *g, uint64_t seed)
{
	memset(w, 0, sizeof(*w));
	fake_env_init(&w->env, seed);
	fake_cluster_init(&w->cluster, &w->env, g->servers);
	w->cluster.changed = peer_changed;
	w->cluster.ctx = w;
	w->pool = buf_pool_create(256u << 20, 0);
	w->size = g->size;
	w->model = calloc(1, g->size);
	w->known = malloc(g->size);
	memset(w->known, 1, g->size);
	w->touched = calloc(1, g->size);
	w->ops = (struct volume_ops){
		.place = place, .extents_put = extents_put, .starts_put = starts_put, .peer = peer};
	w->config = (struct volume_config){
		.id = 7,
		.name = "v",
		.size = g->size,
		.k = g->k,
		.m = g->m,
		.code = g->m == 0 ? EC_NONE : ec_best_code(),
		.unit_bytes = g->unit,
		.epoch = 0,
		.unflushed_max = 8 << 20,
		.flush_ms = 500,
		.grace_ms = 300,
		.ops = &w->ops,
		.ctx = w,
		.env = &w->env.env,
		.pool = w->pool,
	};
}

void world_free(struct world *w)
{
	fake_cluster_free(&w->cluster);
	buf_pool_destroy(w->pool);
	free(w->model);
	free(w->known);
	free(w->touched);
	free(w->map);
	for (int i = 0; i < WORLD_REQS; i++) {
		free(w->reqs[i].want);
		free(w->reqs[i].sure);
	}
}

static void on_ready(void *arg, int err)
{
	struct world *w = arg;

	w->ready = true;
	w->ready_err = err;
}

static void on_stopped(void *arg, int err)
{
	struct world *w = arg;

	w->stopped = true;
}

bool world_step(struct world *w)
{
	if (fake_env_run(&w->env) > 0)
		return true;
	if (w->puts != NULL && fake_below(&w->env, 3) == 0) {
		put_one(w, true);
		return true;
	}
	if (fake_cluster_step(&w->cluster))
		return true;
	if (w->puts != NULL) {
		put_one(w, true);
		return true;
	}
	return false;
}

void world_settle(struct world *w, unsigned ms)
{
	while (world_step(w))
		;
	for (unsigned t = 0; t < ms; t += 10) {
		fake_env_advance(&w->env, 10 * NS_PER_MS);
		while (world_step(w))
			;
	}
}

void world_open(struct world *w)
{
	w->config.epoch++;
	w->config.owner++;
	w->ready = w->stopped = false;
	w->v = volume_create(&w->config);
	assert(w->v != NULL);
	for (int i = 0; i < w->nmap; i++)
		if (volume_add_extent(w->v, &w->map[i]) != 0)
			abort();
	if (w->starts.n > 0)
		volume_set_starts(w->v, &w->starts);
	volume_start(w->v, on_ready, w);
	fake_env_advance(&w->env, 1);
}

void world_close(struct world *w)
{
	volume_stop(w->v, on_stopped, w);
	for (int i = 0; i < 1000 && !w->stopped; i++)
		world_settle(w, 10);
	if (!w->stopped) {
		fprintf(stderr, "# the volume does not stop\n");
		abort();
	}
	volume_free(w->v);
	w->v = NULL;
}

/* The memory of a killed engine, and its buffers, are kept by nobody: such tests run without the
 * leak check. */
void world_kill(struct world *w)
{
	w->v = NULL;
	w->env.ntimers = 0;
	w->env.first = w->env.last = NULL;
	for (unsigned i = 0; i < w->cluster.n; i++) {
		struct fake_server *s = &w->cluster.servers[i];

		s->queue = s->replies = NULL;
		s->queue_tail = &s->queue;
		s->nreplies = 0;
	}
	while (w->puts != NULL)
		put_one(w, false);
	for (int i = 0; i < WORLD_REQS; i++) {
		struct world_req *r = &w->reqs[i];

		if (!r->busy)
			continue;
		if (r->req.type == NBD_CMD_WRITE || r->req.type == NBD_CMD_WRITE_ZEROES ||
		    r->req.type == NBD_CMD_TRIM)
			memset(w->known + r->req.offset, 0, r->req.len);
		if (r->req.payload != NULL)
			buf_put(r->req.payload);
		r->req.payload = NULL;
		r->busy = false;
	}
	w->pool = w->config.pool = buf_pool_create(256u << 20, 0);
}

/* ---- requests ------------------------------------------------------------------------------ */

bool world_overlaps(const struct world *w, uint64_t offset, uint64_t len, bool reads_too)
{
	for (int i = 0; i < WORLD_REQS; i++) {
		const struct world_req *r = &w->reqs[i];

		if (!r->busy || (!reads_too && r->req.type == NBD_CMD_READ))
			continue;
		if (r->req.offset < offset + len && offset < r->req.offset + r->req.len)
			return true;
	}
	return false;
}

unsigned world_inflight(const struct world *w)
{
	unsigned n = 0;

	for (int i = 0; i < WORLD_REQS; i++)
		n += w->reqs[i].busy;
	return n;
}

static void model_take(struct world *w, struct world_req *r)
{
	struct nbd_req *req = &r->req;

	if (req->type == NBD_CMD_WRITE || req->type == NBD_CMD_WRITE_ZEROES ||
	    req->type == NBD_CMD_TRIM)
		memset(w->touched + req->offset, 1, req->len);
	switch (req->type) {
	case NBD_CMD_READ:
		free(r->want);
		free(r->sure);
		r->want = malloc(req->len);
		r->sure = malloc(req->len);
		memcpy(r->want, w->model + req->offset, req->len);
		memcpy(r->sure, w->known + req->offset, req->len);
		break;
	case NBD_CMD_WRITE:
		memcpy(w->model + req->offset, req->payload->data, req->len);
		memset(w->known + req->offset, 1, req->len);
		break;
	case NBD_CMD_WRITE_ZEROES:
		memset(w->model + req->offset, 0, req->len);
		memset(w->known + req->offset, 1, req->len);
		break;
	case NBD_CMD_TRIM: { /* whole blocks become zeros here */
		uint64_t from = (req->offset + 4095) / 4096 * 4096;
		uint64_t to = (req->offset + req->len) / 4096 * 4096;

		if (from < to) {
			memset(w->model + from, 0, to - from);
			memset(w->known + from, 1, to - from);
		}
		break;
	}
	default:
		break;
	}
}

struct world_req *world_submit(struct world *w, uint16_t type, uint16_t flags, uint64_t offset,
			       uint32_t len)
{
	struct world_req *r = NULL;

	for (int i = 0; i < WORLD_REQS && r == NULL; i++)
		if (!w->reqs[i].busy)
			r = &w->reqs[i];
	if (r == NULL)
		return NULL;
	memset(&r->req, 0, sizeof(r->req));
	r->w = w;
	r->busy = true;
	r->done = false;
	r->req.type = type;
	r->req.flags = flags;
	r->req.offset = offset;
	r->req.len = len;
	r->got = NULL;
	if (type == NBD_CMD_WRITE && w->stamp != 0) {
		r->req.payload = buf_get(w->pool, len);
		for (uint32_t i = 0; i < len; i += 8)
			memcpy(r->req.payload->data + i, &w->stamp, 8);
	} else if (type == NBD_CMD_WRITE) {
		uint64_t x = fake_next(&w->env) | 1;

		r->req.payload = buf_get(w->pool, len);
		for (uint32_t i = 0; i < len; i++) {
			x = x * 6364136223846793005ULL + 1442695040888963407ULL;
			r->req.payload->data[i] = (uint8_t)(x >> 56);
		}
	}
	model_take(w, r);
	if (w->stamp != 0)
		memset(w->known + offset, 0, len);
	volume_submit(w->v, &r->req);
	return r;
}

int world_do(struct world *w, uint16_t type, uint16_t flags, uint64_t offset, uint32_t len)
{
	struct world_req *r = world_submit(w, type, flags, offset, len);

	assert(r != NULL);
	for (int i = 0; i < 600 && !r->done; i++)
		world_settle(w, i == 0 ? 0 : 10);
	return r->done ? r->error : -1;
}

static void on_resized(void *arg, int err)
{
	struct world *w = arg;

	w->resized = true;
	w->resize_err = err;
}

bool world_resize(struct world *w, uint64_t size)
{
	uint64_t low = size < w->size ? size : w->size, high = size < w->size ? w->size : size;

	w->resized = false;
	memset(w->model + low, 0, high - low);
	memset(w->known + low, 1, high - low);
	w->size = w->config.size = size;
	volume_resize(w->v, size, on_resized, w);
	for (int i = 0; i < 600 && !w->resized; i++)
		world_settle(w, i == 0 ? 0 : 10);
	return w->resized;
}

void world_check_all(struct world *w)
{
	uint32_t step = 1 << 20;

	for (uint64_t at = 0; at < w->size; at += step) {
		uint32_t len = w->size - at < step ? (uint32_t)(w->size - at) : step;

		if (world_do(w, NBD_CMD_READ, 0, at, len) != 0)
			w->mismatches++;
	}
}

/* ---- parity -------------------------------------------------------------------------------- */

static unsigned check_extent(struct world *w, struct ec *ec, const struct extent_record *r)
{
	unsigned k = w->config.k, m = w->config.m, wrong = 0;
	uint8_t *want[WEFT_M_MAX], *data[WEFT_K_MAX];

	for (unsigned i = 0; i < m; i++)
		want[i] = aligned_alloc(4096, WEFT_SHARD_BYTES);
	for (unsigned j = 0; j < k; j++)
		data[j] = w->cluster.servers[r->shard[j].server - 1].slots[r->shard[j].slot].data;
	ec_encode(ec, WEFT_SHARD_BYTES, data, want);
	for (unsigned i = 0; i < m; i++) {
		const struct shard_place *p = &r->shard[k + i];
		const uint8_t *got = w->cluster.servers[p->server - 1].slots[p->slot].data;

		for (uint32_t b = 0; b < WEFT_SHARD_BYTES; b += 4096)
			wrong += memcmp(want[i] + b, got + b, 4096) != 0;
		free(want[i]);
	}
	return wrong;
}

unsigned world_check_parity(struct world *w)
{
	struct ec *ec = ec_create(w->config.code, w->config.k, w->config.m);
	unsigned wrong = 0;

	for (int i = 0; i < w->nmap; i++)
		if (w->config.m > 0 && w->map[i].stale == 0)
			wrong += check_extent(w, ec, &w->map[i]);
	ec_destroy(ec);
	return wrong;
}
