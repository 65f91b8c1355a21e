/*
 * The keeper of an attached volume, in memory: a device that notices nothing, between it and a
 * volmgr that breaks, comes back, and may have forgotten whatever was not flushed.
 */
#include "config.h"

#include <stdlib.h>
#include <unistd.h>

#include "nbd-back.h"
#include "keep.h"
#include "log.h"
#include "nbd/client.h"
#include "tap.h"

#define BLOCK  4096u
#define BLOCKS 64u
#define DEPTH  24u
#define SEEDS  60
#define STEPS  400

/* A request of the device. */
struct io {
	struct nbd_call call;
	struct iovec iov;
	uint8_t data[3 * BLOCK];
	bool busy, done;
	int error;
	uint32_t first, count; /* blocks */
};

struct world {
	struct fake_env env;
	struct back back; /* volmgr */
	struct buf_pool *pool;
	struct keep *keep;
	struct fake_stream server, up, down, device_end;
	struct nbd_client *device;
	bool connected, device_ready;
	int opened, again, broken, left;
	char why[128];
	struct io io[DEPTH];
	uint8_t stable[BLOCKS * BLOCK]; /* what the servers have after a power cut */
	uint32_t now[BLOCKS];		/* what was acknowledged last */
	bool writing[BLOCKS];
	uint32_t seq;
	unsigned wrong, errors;
};

static void on_opened(void *ctx, bool again)
{
	struct world *w = ctx;

	w->opened++;
	w->again += again;
}

static void on_broken(void *ctx, int err, const char *why)
{
	struct world *w = ctx;

	w->broken++;
	snprintf(w->why, sizeof(w->why), "%s", why != NULL ? why : "");
}

static void on_left(void *ctx)
{
	((struct world *)ctx)->left++;
}

static const struct keep_ops keep_ops = {.opened = on_opened, .broken = on_broken, .left = on_left};

static void device_ready(void *ctx, struct nbd_client *c)
{
	((struct world *)ctx)->device_ready = true;
}

static void device_closed(void *ctx, struct nbd_client *c, int err, const char *why)
{
	((struct world *)ctx)->device = NULL;
}

static const struct nbd_client_ops device_ops = {.ready = device_ready, .closed = device_closed};

static size_t world_move(struct world *w, size_t step)
{
	size_t all = 0, n;

	do {
		n = (size_t)fake_env_run(&w->env);
		if (w->connected) {
			n += fake_pipe_move(&w->server, &w->up, step);
			n += fake_pipe_move(&w->up, &w->server, step);
		}
		if (w->device != NULL) {
			n += fake_pipe_move(&w->down, &w->device_end, step);
			n += fake_pipe_move(&w->device_end, &w->down, step);
		}
		all += n;
	} while (n > 0);
	return all;
}

static void volmgr_start(struct world *w)
{
	fake_stream_init(&w->server);
	fake_stream_init(&w->up);
	w->back.session = nbd_session_create(&w->back.config, &w->server.stream);
	w->connected = keep_connected(w->keep, &w->up.stream) == 0;
}

/* Answer one; a flush that was done makes all that was done before it stable. */
static void volmgr_answer(struct world *w, int i)
{
	bool flush = w->back.held[i]->type == NBD_CMD_FLUSH;

	back_answer(&w->back, i);
	if (flush && w->back.fail == 0)
		memcpy(w->stable, w->back.disk, sizeof(w->stable));
}

/* It is killed: what it had taken is done or not. cut: the servers lose their power with it. */
static void volmgr_kill(struct world *w, bool cut)
{
	fake_stream_break(&w->server, -ECONNRESET);
	while (w->back.nheld > 0) {
		w->back.fail = fake_below(&w->env, 2) ? EIO : 0;
		volmgr_answer(w, 0);
	}
	w->back.fail = 0;
	w->connected = false;
	fake_stream_break(&w->up, -ECONNRESET);
	fake_env_run(&w->env);
	for (uint32_t b = 0; cut && b < BLOCKS; b++)
		if (fake_below(&w->env, 2))
			memcpy(w->back.disk + b * BLOCK, w->stable + b * BLOCK, BLOCK);
}

static void world_start(struct world *w, uint64_t seed)
{
	memset(w, 0, sizeof(*w));
	fake_env_init(&w->env, seed);
	back_init(&w->back, &w->env, 64 << 20);
	w->back.config.ops = &back_ops_plain;
	w->back.config.auth = NULL;
	memset(w->back.disk, 0, sizeof(w->stable));
	w->pool = buf_pool_create(4 * (size_t)KEEP_BYTES_MAX, 0);
	w->keep = keep_create(&keep_ops, w, &w->env.env, w->pool, "mem", false);
	fake_stream_init(&w->down);
	fake_stream_init(&w->device_end);
	volmgr_start(w);
	world_move(w, SIZE_MAX);
}

static void device_start(struct world *w)
{
	if (keep_accepted(w->keep, &w->down.stream) != 0)
		return;
	w->device =
		nbd_client_create_plain(&device_ops, w, &w->env.env, "mem", &w->device_end.stream);
	world_move(w, SIZE_MAX);
}

static void world_end(struct world *w)
{
	if (w->device != NULL) {
		fake_stream_break(&w->device_end, 0);
		fake_stream_break(&w->down, 0);
	}
	if (w->connected)
		volmgr_kill(w, false);
	keep_destroy(w->keep);
	back_destroy(&w->back);
	assert(buf_pool_used(w->pool) == 0);
	buf_pool_destroy(w->pool);
}

static void io_done(struct nbd_call *call, int error)
{
	struct io *io = (struct io *)call;

	io->done = true;
	io->error = error;
}

static struct io *io_start(struct world *w, uint16_t type, uint32_t first, uint32_t count)
{
	struct io *io = NULL;

	for (unsigned i = 0; i < DEPTH && io == NULL; i++)
		if (!w->io[i].busy)
			io = &w->io[i];
	if (io == NULL)
		return NULL;
	memset(&io->call, 0, sizeof(io->call));
	io->busy = true;
	io->done = false;
	io->first = first;
	io->count = count;
	io->call.type = type;
	io->call.done = io_done;
	io->call.offset = type == NBD_CMD_FLUSH ? 0 : (uint64_t)first * BLOCK;
	io->call.len = type == NBD_CMD_FLUSH ? 0 : count * BLOCK;
	io->iov = (struct iovec){io->data, io->call.len};
	if (type == NBD_CMD_READ) {
		io->call.in = &io->iov;
		io->call.nin = 1;
	} else if (type == NBD_CMD_WRITE) {
		io->call.out = &io->iov;
		io->call.nout = 1;
	}
	nbd_client_submit(w->device, &io->call);
	return io;
}

/* ---- a device that checks everything it reads ----------------------------------------------- */

static uint32_t block_stamp(const uint8_t *block)
{
	uint32_t head, tail;

	memcpy(&head, block, sizeof(head));
	memcpy(&tail, block + BLOCK - sizeof(tail), sizeof(tail));
	return head == tail ? head : UINT32_MAX;
}

static void block_fill(uint8_t *block, uint32_t stamp)
{
	memset(block, (int)(stamp & 0xff), BLOCK);
	memcpy(block, &stamp, sizeof(stamp));
	memcpy(block + BLOCK - sizeof(stamp), &stamp, sizeof(stamp));
}

static bool blocks_free(const struct world *w, uint32_t first, uint32_t count)
{
	for (uint32_t b = first; b < first + count; b++)
		if (w->writing[b])
			return false;
	return true;
}

static void device_request(struct world *w)
{
	static const uint16_t types[] = {NBD_CMD_WRITE,	      NBD_CMD_WRITE, NBD_CMD_WRITE,
					 NBD_CMD_READ,	      NBD_CMD_READ,  NBD_CMD_FLUSH,
					 NBD_CMD_WRITE_ZEROES};
	uint16_t type = types[fake_below(&w->env, sizeof(types) / sizeof(types[0]))];
	uint32_t count = 1 + fake_below(&w->env, 3), first = fake_below(&w->env, BLOCKS - 2);
	struct io *io;

	/* as a file system does: nothing is written or read while it is being written */
	if (type != NBD_CMD_FLUSH && !blocks_free(w, first, count))
		return;
	w->seq++;
	io = io_start(w, type, first, count);
	if (io == NULL || type == NBD_CMD_FLUSH)
		return;
	for (uint32_t b = 0; b < count; b++) {
		w->writing[first + b] = true; /* readers too, so that nobody writes meanwhile */
		if (type == NBD_CMD_WRITE)
			block_fill(io->data + b * BLOCK, w->seq);
	}
}

static void device_answers(struct world *w)
{
	for (unsigned i = 0; i < DEPTH; i++) {
		struct io *io = &w->io[i];

		if (!io->busy || !io->done)
			continue;
		io->busy = false;
		w->errors += io->error != 0;
		for (uint32_t b = 0; io->call.type != NBD_CMD_FLUSH && b < io->count; b++) {
			uint32_t stamp = block_stamp(io->data + b * BLOCK);

			w->writing[io->first + b] = false;
			if (io->call.type == NBD_CMD_READ)
				w->wrong += stamp != w->now[io->first + b];
			else
				w->now[io->first + b] = io->call.type == NBD_CMD_WRITE ? stamp : 0;
		}
	}
}

static void random_run(struct world *w, uint64_t seed, bool cuts)
{
	world_start(w, seed);
	device_start(w);
	w->back.hold = true;
	for (int i = 0; i < STEPS; i++) {
		uint32_t what = fake_below(&w->env, 100);

		if (what < 55)
			device_request(w);
		else if (what < 90 && w->back.nheld > 0)
			volmgr_answer(w, (int)fake_below(&w->env, (uint32_t)w->back.nheld));
		else if (what < 93 && w->connected)
			volmgr_kill(w, cuts && fake_below(&w->env, 2));
		else if (what >= 93 && !w->connected)
			volmgr_start(w);
		world_move(w, 1 + fake_below(&w->env, 9000));
		device_answers(w);
	}
	w->back.hold = false;
	if (!w->connected)
		volmgr_start(w);
	while (w->back.nheld > 0)
		volmgr_answer(w, 0);
	world_move(w, SIZE_MAX);
	device_answers(w);
}

/* All is answered, and after a last flush the servers have what was acknowledged. */
static bool random_right(struct world *w)
{
	bool right = w->errors == 0 && w->wrong == 0 && keep_waiting(w->keep) == 0;
	struct io *io;

	for (unsigned i = 0; i < DEPTH; i++)
		right = right && !w->io[i].busy;
	io = io_start(w, NBD_CMD_FLUSH, 0, 0);
	world_move(w, SIZE_MAX);
	right = right && io != NULL && io->done && io->error == 0 && keep_kept(w->keep) == 0;
	for (uint32_t b = 0; b < BLOCKS; b++)
		right = right && block_stamp(w->back.disk + b * BLOCK) == w->now[b];
	return right;
}

static void test_random(bool cuts, const char *name)
{
	static struct world w;
	uint64_t failed = 0, seed;
	int again = 0;

	for (seed = 1; seed <= SEEDS && failed == 0; seed++) {
		random_run(&w, seed, cuts);
		if (!random_right(&w))
			failed = seed;
		again += w.again;
		world_end(&w);
	}
	ok(failed == 0, name);
	if (failed != 0)
		diag("seed %" PRIu64 ": %u wrong, %u errors", failed, w.wrong, w.errors);
	ok(again > SEEDS, "and volmgr came back often");
}

/* ---- one thing each ------------------------------------------------------------------------- */

static void test_opening(void)
{
	static struct world w;

	world_start(&w, 1);
	is_int(w.opened, 1, "volmgr is connected");
	device_start(&w);
	ok(w.device_ready, "and so is the device");
	is_int(nbd_client_peer(w.device)->size, BACK_BYTES, "which sees the size");
	ok(nbd_client_peer(w.device)->flags & NBD_FLAG_SEND_FLUSH, "and what can be done");
	w.back.size = BACK_BYTES * 2;
	nbd_session_set_size(w.back.session, w.back.size);
	io_start(&w, NBD_CMD_WRITE, BACK_BYTES / BLOCK, 1);
	world_move(&w, SIZE_MAX);
	ok(w.io[0].done && w.io[0].error == 0, "a volume that grows can be used to its new end");
	w.io[0].busy = false;
	io_start(&w, NBD_CMD_WRITE, 2 * BACK_BYTES / BLOCK, 1);
	world_move(&w, SIZE_MAX);
	ok(w.io[0].done && w.io[0].error != 0, "and not beyond, says volmgr");
	nbd_client_close(w.device);
	world_move(&w, SIZE_MAX);
	fake_stream_break(&w.down, 0);
	is_int(w.left, 1, "the device leaves");
	fake_stream_break(&w.device_end, 0);
	world_end(&w);

	world_start(&w, 2);
	volmgr_kill(&w, false);
	w.back.config.auth = NULL;
	fake_stream_init(&w.up);
	ok(keep_connected(w.keep, &w.up.stream) == 0, "something else answers in its place");
	fake_stream_feed(&w.up, "HTTP/1.1 400 Bad Request\r\n\r\n", 28, SIZE_MAX);
	fake_stream_break(&w.up, -EPROTO);
	ok(strstr(w.why, "not an NBD server") != NULL, "which is said");
	world_end(&w);
}

/* A volume was deleted, and another one has its name. */
static void test_another(void)
{
	static struct world w;

	world_start(&w, 5);
	device_start(&w);
	volmgr_kill(&w, false);
	io_start(&w, NBD_CMD_WRITE, 0, 1);
	w.back.description = "another";
	volmgr_start(&w);
	world_move(&w, SIZE_MAX);
	ok(w.up.closing && w.again == 0, "another volume of the same name is left alone");
	volmgr_kill(&w, false);
	ok(strstr(w.why, "another volume") != NULL, "and said");
	w.back.description = "bytes in memory";
	volmgr_start(&w);
	world_move(&w, SIZE_MAX);
	ok(w.again == 1 && w.io[0].done && w.io[0].error == 0, "what waits is for the old one");
	world_end(&w);
}

/* Servers forget together what they had acknowledged, under a living volmgr, which fails one flush
 * and goes on. */
static void test_flush_fails(void)
{
	static struct world w;

	world_start(&w, 6);
	device_start(&w);
	block_fill(io_start(&w, NBD_CMD_WRITE, 1, 1)->data, 77);
	world_move(&w, SIZE_MAX);
	ok(w.io[0].done && w.io[0].error == 0, "a write is acknowledged");
	w.io[0].busy = false;
	memset(w.back.disk + BLOCK, 0, BLOCK);
	w.back.hold = true;
	io_start(&w, NBD_CMD_FLUSH, 0, 0);
	world_move(&w, SIZE_MAX);
	w.back.fail = EIO;
	volmgr_answer(&w, 0);
	w.back.fail = 0;
	w.back.hold = false;
	world_move(&w, SIZE_MAX);
	while (w.back.nheld > 0)
		volmgr_answer(&w, 0);
	world_move(&w, SIZE_MAX);
	ok(w.io[0].done && w.io[0].error == 0, "a flush that fails once does not fail");
	is_int(block_stamp(w.back.disk + BLOCK), 77, "as the write was done again");
	w.io[0].busy = false;
	io_start(&w, NBD_CMD_WRITE, 1, 1);
	world_move(&w, SIZE_MAX);
	w.io[0].busy = false;
	w.back.hold = true;
	io_start(&w, NBD_CMD_FLUSH, 0, 0);
	world_move(&w, SIZE_MAX);
	for (int i = 0; i < 20 && w.back.nheld > 0; i++) {
		w.back.fail = w.back.held[0]->type == NBD_CMD_FLUSH ? EIO : 0;
		volmgr_answer(&w, 0);
		world_move(&w, SIZE_MAX);
	}
	w.back.fail = 0;
	ok(w.io[0].done && w.io[0].error == EIO, "one that fails again and again does");
	w.back.hold = false;
	world_end(&w);
}

/* The order of overlapping writes survives that they are written again. */
static void test_overlap(void)
{
	static struct world w;
	bool right = true;

	world_start(&w, 3);
	device_start(&w);
	for (uint32_t i = 1; i <= 40; i++) {
		struct io *io = io_start(&w, NBD_CMD_WRITE, 0, 1 + i % 3);

		for (uint32_t b = 0; b < io->count; b++) {
			block_fill(io->data + b * BLOCK, i);
			w.now[b] = i;
		}
		world_move(&w, SIZE_MAX);
		right = right && io->done && io->error == 0;
		io->busy = false;
	}
	ok(right && keep_kept(w.keep) == 40, "forty writes on top of each other are kept");
	volmgr_kill(&w, false);
	memset(w.back.disk, 0, 3 * BLOCK);
	w.back.hold = true;
	volmgr_start(&w);
	while (world_move(&w, SIZE_MAX) > 0 || w.back.nheld > 0)
		if (w.back.nheld > 0) /* the last first, if there are several */
			volmgr_answer(&w, w.back.nheld - 1);
	for (uint32_t b = 0; b < 3; b++)
		right = right && block_stamp(w.back.disk + b * BLOCK) == w.now[b];
	ok(right, "and the last ones are on top again");
	world_end(&w);
}

static void test_bounds(void)
{
	static struct world w;
	uint64_t most = 0;
	bool good = true;

	world_start(&w, 4);
	device_start(&w);
	for (uint32_t i = 0; good && i < 3 * KEEP_BYTES_MAX / (2 * BLOCK); i++) {
		struct io *io = io_start(&w, NBD_CMD_WRITE, i % BLOCKS, 1);

		world_move(&w, SIZE_MAX);
		good = io->done && io->error == 0;
		io->busy = false;
		if (keep_kept_bytes(w.keep) > most)
			most = keep_kept_bytes(w.keep);
	}
	ok(good && most > KEEP_BYTES_MAX / 4 && most <= KEEP_BYTES_MAX,
	   "writes without a flush are kept up to a bound");

	volmgr_kill(&w, false);
	w.back.hold = true;
	volmgr_start(&w);
	world_move(&w, SIZE_MAX);
	w.back.fail = ENOSPC;
	ok(w.back.nheld > 0, "they are written again");
	volmgr_answer(&w, 0);
	w.back.fail = 0;
	w.back.hold = false;
	while (w.back.nheld > 0)
		volmgr_answer(&w, 0);
	world_move(&w, SIZE_MAX);
	io_start(&w, NBD_CMD_FLUSH, 0, 0);
	world_move(&w, SIZE_MAX);
	ok(w.io[0].done && w.io[0].error == EIO, "one that cannot be fails the next flush");
	w.io[0].busy = false;
	io_start(&w, NBD_CMD_FLUSH, 0, 0);
	world_move(&w, SIZE_MAX);
	ok(w.io[0].done && w.io[0].error == 0, "and only that one");
	world_end(&w);
}

int main(void)
{
	log_init("keep", LOG_LEVEL_ERROR);
	alarm(120);
	test_opening();
	test_another();
	test_flush_fails();
	test_overlap();
	test_bounds();
	test_random(false, "a device notices nothing of volmgrs that are killed");
	test_random(true, "nor of servers that lose their power with them");
	return done_testing();
}
