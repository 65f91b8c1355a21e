/*
 * A store on a simulated disk, and requests made by hand, for the store's tests. A request's answer
 * is caught by nbd_req_done*() here: the tests link no session.
 */
#ifndef WEFT_STORE_WORLD_H
#define WEFT_STORE_WORLD_H

#include <endian.h>
#include <sys/mman.h>
#include <unistd.h>

#include "nbd/proto.h"
#include "store/store.h"

#include "fake-disk.h"
#include "fake-env.h"
#include "tap.h"

#define WORLD_SIZE   STORE_MIN_BYTES
#define WORLD_VOLUME 7u
#define WORLD_POOL   (96u << 20)

struct world {
	struct fake_env env;
	struct fake_disk disk;
	struct buf_pool *pool;
	struct store *store;
	struct store_info info;
	int fd;
	bool ready, closed;
	int err;
	unsigned failures; /* the store has said that its disk failed */
	const char *why;
	uint32_t epoch;
	uint64_t steps, cut_at; /* stop moving when so many operations were submitted */
	uint64_t room;		/* what real_free says */
};

/* A request, and what came of it. */
struct call {
	struct nbd_req req; /* first */
	bool done;
	int error;
	uint32_t len;
	uint8_t *data;
	struct call *orphan;
};

static void world_gather(struct call *c, const struct nbd_seg *segs, int nsegs)
{
	for (int i = 0; i < nsegs; i++)
		c->len += segs[i].len;
	c->data = calloc(1, c->len > 0 ? c->len : 1);
	assert(c->data != NULL);
	c->len = 0;
	for (int i = 0; i < nsegs; i++) {
		if (segs[i].buf != NULL)
			memcpy(c->data + c->len, segs[i].buf->data + segs[i].offset, segs[i].len);
		c->len += segs[i].len;
		buf_put(segs[i].buf);
	}
}

void nbd_req_done(struct nbd_req *req, int error)
{
	struct call *c = (struct call *)req;

	assert(!c->done);
	c->done = true;
	c->error = error;
	buf_put(req->payload);
	req->payload = NULL;
}

void nbd_req_done_data(struct nbd_req *req, const struct nbd_seg *segs, int nsegs)
{
	world_gather((struct call *)req, segs, nsegs);
	nbd_req_done(req, 0);
}

/* The power went before they were answered: the store may know them until it is gone, too. */
static struct call *orphans;

static void call_free(struct call *c)
{
	if (!c->done) {
		c->orphan = orphans;
		orphans = c;
		return;
	}
	free(c->data);
	free(c);
}

__attribute__((unused)) static uint64_t world_real_free(void *ctx)
{
	return ((struct world *)ctx)->room;
}

/* One thing happens: deferred work, a completion, a page written back, or time. */
static bool world_step(struct world *w)
{
	if (w->cut_at != 0 && w->disk.count >= w->cut_at)
		return false;
	w->steps++;
	if (fake_env_run(&w->env) > 0)
		return true;
	if (!w->disk.always_now && fake_disk_below(&w->disk, 8) == 0)
		fake_disk_writeback(&w->disk);
	if (fake_disk_step(&w->disk))
		return true;
	fake_env_advance(&w->env, 50 * NS_PER_MS);
	return true;
}

/* Until *flag; false: the power went, or nothing comes of it. */
static bool world_until(struct world *w, const bool *flag)
{
	for (int i = 0; !*flag; i++) {
		if (i > 200000) {
			diag("nothing comes of it");
			abort();
		}
		if (!world_step(w))
			return *flag;
	}
	return true;
}

static void world_ready(void *ctx, int err, const char *why)
{
	struct world *w = ctx;

	w->ready = true;
	w->err = err;
	w->why = why;
}

static void world_failed(void *ctx)
{
	((struct world *)ctx)->failures++;
}

static void world_closed(void *ctx, int err)
{
	struct world *w = ctx;

	w->closed = true;
	w->err = err;
}

/* An empty store as a file in memory. */
__attribute__((unused)) static int world_template(uint64_t size, uint64_t log_bytes)
{
	struct store_format_options opt = {.size_bytes = size, .log_bytes = log_bytes};
	const char *why = NULL;
	int fd = memfd_create("store", 0);

	memset(opt.cluster, 'c', sizeof(opt.cluster));
	memset(opt.store, 's', sizeof(opt.store));
	assert(fd >= 0);
	if (store_format(fd, &opt, &why) < 0) {
		diag("format: %s", why);
		abort();
	}
	return fd;
}

static bool world_open(struct world *w)
{
	struct store_config c = {.info = w->info, .disk = &w->disk.disk, .env = &w->env.env};

	w->ready = w->closed = false;
	w->pool = buf_pool_create(WORLD_POOL, 0);
	c.pool = w->pool;
	c.meta = w->disk.memory + w->info.meta_offset;
	c.real_free = w->room != 0 ? world_real_free : NULL;
	c.failed = world_failed;
	c.ctx = w;
	w->store = store_open(&c, world_ready, w);
	assert(w->store != NULL);
	return world_until(w, &w->ready) && w->err == 0;
}

__attribute__((unused)) static void world_init(struct world *w, int fd, uint64_t seed, bool now)
{
	const char *why;

	memset(w, 0, sizeof(*w));
	w->fd = fd;
	if (store_probe(fd, &w->info, &why) < 0) {
		diag("probe: %s", why);
		abort();
	}
	fake_env_init(&w->env, seed);
	fake_disk_init(&w->disk, fd, w->info.size_bytes, seed * 31 + 7, now);
	w->disk.map_offset = w->info.meta_offset;
	w->disk.map_len = w->info.meta_bytes;
	w->epoch = 1;
}

static void world_drop(struct world *w)
{
	store_free(w->store);
	w->store = NULL;
	while (orphans != NULL) {
		struct call *c = orphans;

		orphans = c->orphan;
		buf_put(c->req.payload);
		free(c);
	}
	buf_pool_destroy(w->pool);
	w->pool = NULL;
}

/* The power goes; what the store had in memory is gone with it. Open requests are the caller's. */
__attribute__((unused)) static void world_cut(struct world *w)
{
	uint64_t random = w->env.random, now = w->env.now_ns;

	fake_disk_cut(&w->disk);
	world_drop(w);
	fake_env_init(&w->env, random);
	w->env.now_ns = now;
	w->cut_at = 0;
}

__attribute__((unused)) static int world_close(struct world *w)
{
	store_close(w->store, world_closed, w);
	if (!world_until(w, &w->closed))
		return -EINTR;
	world_drop(w);
	return w->err;
}

__attribute__((unused)) static void world_free(struct world *w)
{
	if (w->store != NULL)
		world_drop(w);
	fake_disk_free(&w->disk);
}

/* ---- requests ------------------------------------------------------------------------------ */

static struct call *call_new(struct world *w, unsigned type)
{
	struct call *c = calloc(1, sizeof(*c));

	assert(c != NULL);
	c->req.type = (uint16_t)type;
	c->req.cmd.volume = WORLD_VOLUME;
	c->req.cmd.epoch = w->epoch;
	return c;
}

static void call_payload(struct world *w, struct call *c, const void *data, uint32_t len)
{
	c->req.payload = buf_get(w->pool, len);
	assert(c->req.payload != NULL);
	memcpy(c->req.payload->data, data, len);
	c->req.len = len;
}

/* Until it is answered. The error, or -1: the power went. */
static int call_run(struct world *w, struct call *c)
{
	store_request(w->store, &c->req);
	return world_until(w, &c->done) ? c->error : -1;
}

static int call_end(struct world *w, struct call *c)
{
	int err = call_run(w, c);

	call_free(c);
	return err;
}

__attribute__((unused)) static int do_fence_as(struct world *w, uint32_t epoch, uint64_t owner,
					       struct weft_fence_reply *reply)
{
	struct call *c = call_new(w, WEFT_CMD_FENCE);
	int err;

	c->req.cmd.epoch = epoch;
	c->req.cmd.tx = owner;
	c->req.cmd.reply_len = sizeof(*reply);
	err = call_run(w, c);
	if (err == 0) {
		w->epoch = epoch;
		if (reply != NULL)
			memcpy(reply, c->data, sizeof(*reply));
	}
	call_free(c);
	return err;
}

__attribute__((unused)) static int do_fence(struct world *w, uint32_t epoch,
					    struct weft_fence_reply *reply)
{
	return do_fence_as(w, epoch, 0, reply);
}

__attribute__((unused)) static int do_label(struct world *w, uint64_t extent, uint32_t *slot,
					    uint32_t *gen)
{
	struct call *c = call_new(w, WEFT_CMD_LABEL);
	struct weft_label l = {.volume = htobe64(WORLD_VOLUME), .extent = htobe64(extent)};
	struct weft_slot_reply r;
	int err;

	l.generation = htobe32(1);
	l.unit_bytes = htobe32(65536);
	l.k = 4;
	l.m = 2;
	memcpy(l.name, "vol", 3);
	call_payload(w, c, &l, sizeof(l));
	c->req.cmd.reply_len = sizeof(r);
	err = call_run(w, c);
	if (err == 0) {
		memcpy(&r, c->data, sizeof(r));
		*slot = be32toh(r.slot);
		*gen = be32toh(r.slot_gen);
	}
	call_free(c);
	return err;
}

static struct call *call_prepare(struct world *w, uint64_t tx, uint64_t offset, uint32_t gen,
				 uint64_t blocks, unsigned mode, const void *data)
{
	struct call *c = call_new(w, WEFT_CMD_PREPARE);

	c->req.offset = offset;
	c->req.cmd.tx = tx;
	c->req.cmd.blocks = blocks;
	c->req.cmd.slot_gen = gen;
	c->req.cmd.mode = (uint8_t)mode;
	if (data != NULL)
		call_payload(w, c, data, (uint32_t)__builtin_popcountll(blocks) * 4096u);
	return c;
}

__attribute__((unused)) static int do_prepare(struct world *w, uint64_t tx, uint64_t offset,
					      uint32_t gen, uint64_t blocks, unsigned mode,
					      const void *data)
{
	return call_end(w, call_prepare(w, tx, offset, gen, blocks, mode, data));
}

__attribute__((unused)) static int do_tx(struct world *w, unsigned type, uint64_t tx)
{
	struct call *c = call_new(w, type);

	c->req.cmd.tx = tx;
	return call_end(w, c);
}

__attribute__((unused)) static int do_flush(struct world *w)
{
	return call_end(w, call_new(w, NBD_CMD_FLUSH));
}

__attribute__((unused)) static int do_discard(struct world *w, uint32_t slot, uint32_t gen)
{
	struct call *c = call_new(w, WEFT_CMD_DISCARD);

	c->req.offset = (uint64_t)slot * WEFT_SHARD_BYTES;
	c->req.cmd.slot_gen = gen;
	return call_end(w, c);
}

__attribute__((unused)) static int do_read(struct world *w, uint64_t offset, uint32_t len,
					   void *data)
{
	struct call *c = call_new(w, NBD_CMD_READ);
	int err;

	memset(&c->req.cmd, 0, sizeof(c->req.cmd));
	c->req.offset = offset;
	c->req.len = len;
	err = call_run(w, c);
	if (err == 0) {
		assert(c->len == len);
		memcpy(data, c->data, len);
	}
	call_free(c);
	return err;
}

/* The whole reply, malloc'd; NULL on error. */
__attribute__((unused)) static uint8_t *do_list(struct world *w, unsigned type, uint64_t from,
						uint32_t len)
{
	struct call *c = call_new(w, type);
	uint8_t *data = NULL;

	c->req.cmd.tx = from;
	c->req.cmd.reply_len = len;
	if (call_run(w, c) == 0) {
		assert(c->len == len);
		data = c->data;
		c->data = NULL;
	}
	call_free(c);
	return data;
}

#endif
