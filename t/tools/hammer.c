/*
 * hammer: does a volume keep its promises? Random reads, writes, trims, zeroes and flushes of any
 * alignment on several connections, against a mirror in memory (model.h). The server may be
 * stopped, started and killed meanwhile by others: --restarts when everything that was acknowledged
 * must be there afterwards, --lossy when what was not flushed may be lost. Ends with 0 when all was
 * right, 1 with wrong bytes, 2 with errors or requests that never end. The same seed makes the same
 * requests as long as answers come in the same order.
 */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <libnbd.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/model.h"

#include "banned.h"

#define CONNECTIONS_MAX 16
#define DEPTH_MAX	64
#define LEN_MAX		(4u << 20)
#define RECONNECT_S	90
#define FULL_S		60 /* until servers that may be full are */
#define SETTLE_BYTES	(1u << 20)
#define ZERO_BYTES	(32u << 20)
#define TRIES		8	    /* places that are tried for one request */
#define GOODBYE_MS	5000	    /* a server that shuts down is gone then */
#define ALTS_MAX	(96u << 10) /* contents that are remembered for blocks; then we flush */

enum kind { OP_READ, OP_WRITE, OP_ZERO, OP_TRIM, OP_FLUSH };
static const char *const kind_names[] = {"read", "write", "zero", "trim", "flush"};

struct op {
	enum kind kind;
	bool busy, fua;
	bool done; /* its answer is here, in error */
	int error;
	uint64_t stamp; /* flush: of the model when it was sent */
	uint64_t sent_ms;
	struct change_range range;
	uint8_t *buf;
};

struct conn {
	struct nbd_handle *nbd;
	struct op ops[DEPTH_MAX];
};

static struct {
	const char *uri;
	uint64_t seed, size;
	unsigned seconds, connections, depth, stall_s;
	uint32_t len_max;
	bool restarts, lossy, enospc, aligned, no_trim;
} opt = {.seconds = 5, .connections = 4, .depth = 8, .stall_s = 60, .len_max = LEN_MAX};

static struct conn conns[CONNECTIONS_MAX];
static struct model model;
static uint64_t rng;
static uint32_t seq;
static unsigned wrong, errors, breaks, nospc, full;
static uint64_t counts[5], cursor, refused_ms;
static volatile sig_atomic_t enough;

static void on_signal(int sig)
{
	enough = 1;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t rnd(uint64_t below)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return below == 0 ? 0 : (rng >> 11) % below;
}

/* ---- choosing ------------------------------------------------------------------------------ */

static uint32_t choose_len(void)
{
	uint64_t max = opt.len_max;

	switch (rnd(16)) {
	case 0:
		return 1 + (uint32_t)rnd(16);
	case 1:
	case 2:
		return 1 + (uint32_t)rnd(max < 8192 ? max : 8192);
	case 3:
		return 1 + (uint32_t)rnd(max < 131072 ? max : 131072);
	case 4:
		return 1 + (uint32_t)rnd(max);
	case 5:
		return 65536 * (1 + (uint32_t)rnd(16));
	default:
		return BLOCK_BYTES * (1 + (uint32_t)rnd(rnd(4) == 0 ? 32 : 3));
	}
}

/* Anywhere; behind the last one; or where others are too. */
static uint64_t choose_offset(uint32_t len)
{
	uint64_t room = opt.size - len;

	switch (rnd(8)) {
	case 0:
	case 1:
		return cursor <= room ? cursor : 0;
	case 2:
	case 3:
		return rnd(room < (512u << 10) ? room + 1 : 512u << 10);
	case 4:
		return room - rnd(room < (128u << 10) ? room + 1 : 128u << 10);
	default:
		return rnd(room + 1);
	}
}

static void choose_kind(struct op *op)
{
	uint64_t k = rnd(100);

	op->kind = k < 40   ? OP_READ
		   : k < 84 ? OP_WRITE
		   : k < 90 ? OP_ZERO
		   : k < 95 ? OP_TRIM
			    : OP_FLUSH;
	if (op->kind == OP_TRIM && opt.no_trim)
		op->kind = OP_WRITE;
	if (model.alts > ALTS_MAX)
		op->kind = OP_FLUSH;
	op->fua = op->kind != OP_READ && op->kind != OP_FLUSH && rnd(10) == 0;
}

static bool op_writes(const struct op *op)
{
	return op->kind == OP_WRITE || op->kind == OP_ZERO || op->kind == OP_TRIM;
}

/* False: no place was free. */
static bool choose(struct op *op)
{
	choose_kind(op);
	op->range =
		(struct change_range){.change = op->kind == OP_WRITE ? CHANGE_DATA : CHANGE_ZERO};
	if (op->kind == OP_FLUSH)
		return true;
	for (int i = 0; i < TRIES; i++) {
		uint32_t len = choose_len();
		uint64_t offset;

		if (len > opt.len_max)
			len = opt.len_max;
		offset = choose_offset(len);
		if (opt.aligned || op->kind == OP_TRIM || (len >= BLOCK_BYTES && rnd(3) != 0)) {
			offset &= ~(uint64_t)(BLOCK_BYTES - 1);
			len = (len + BLOCK_BYTES - 1) & ~(BLOCK_BYTES - 1);
		}
		if (!model_lock(&model, offset, len, op_writes(op)))
			continue;
		cursor = offset + len;
		op->range.offset = offset;
		op->range.len = len;
		op->range.seq = ++seq;
		return true;
	}
	return false;
}

/* ---- requests ------------------------------------------------------------------------------ */

static int op_done(void *arg, int *error)
{
	struct op *op = arg;

	op->done = true;
	op->error = *error;
	return 1;
}

static int op_send_data(struct conn *c, struct op *op, nbd_completion_callback cb)
{
	const struct change_range *r = &op->range;
	uint32_t flags = op->fua ? LIBNBD_CMD_FLAG_FUA : 0;

	if (op->kind == OP_WRITE) {
		model_fill(op->buf, r, r->offset, r->len);
		return nbd_aio_pwrite(c->nbd, op->buf, r->len, r->offset, cb, flags) < 0 ? -1 : 0;
	}
	memset(op->buf, 0xdb, r->len);
	return nbd_aio_pread(c->nbd, op->buf, r->len, r->offset, cb, 0) < 0 ? -1 : 0;
}

static int op_send(struct conn *c, struct op *op)
{
	nbd_completion_callback cb = {.callback = op_done, .user_data = op};
	const struct change_range *r = &op->range;
	uint32_t flags = op->fua ? LIBNBD_CMD_FLAG_FUA : 0;

	op->done = false;
	op->sent_ms = now_ms();
	op->stamp = model.stamp;
	counts[op->kind]++;
	switch (op->kind) {
	case OP_FLUSH:
		return nbd_aio_flush(c->nbd, cb, 0) < 0 ? -1 : 0;
	case OP_TRIM:
		return nbd_aio_trim(c->nbd, r->len, r->offset, cb, flags) < 0 ? -1 : 0;
	case OP_ZERO:
		flags |= rnd(3) == 0 ? LIBNBD_CMD_FLAG_NO_HOLE : 0;
		return nbd_aio_zero(c->nbd, r->len, r->offset, cb, flags) < 0 ? -1 : 0;
	default:
		return op_send_data(c, op, cb);
	}
}

static void op_release(struct op *op)
{
	if (op->kind != OP_FLUSH)
		model_unlock(&model, op->range.offset, op->range.len, op_writes(op));
	op->busy = false;
}

static void op_complain(const struct op *op, const char *what)
{
	fprintf(stderr, "%s: request %u, %s %llu+%u%s: error %d, after %llu ms\n", what,
		op->range.seq, kind_names[op->kind], (unsigned long long)op->range.offset,
		op->range.len, op->fua ? " FUA" : "", op->error,
		(unsigned long long)(now_ms() - op->sent_ms));
}

static void check_read(const struct op *op)
{
	const struct change_range *inflight[CONNECTIONS_MAX * DEPTH_MAX + 1];
	unsigned n = 0, bad;

	for (unsigned i = 0; i < opt.connections; i++)
		for (unsigned j = 0; j < opt.depth; j++)
			if (conns[i].ops[j].busy && op_writes(&conns[i].ops[j]))
				inflight[n++] = &conns[i].ops[j].range;
	inflight[n] = NULL;
	bad = model_check(&model, op->buf, op->range.offset, op->range.len, op->stamp, inflight,
			  false);
	if (bad > 0)
		op_complain(op, "wrong bytes");
	wrong += bad;
}

/* An answer came. */
static void op_answered(struct op *op)
{
	if (op->error != 0) {
		if (op_writes(op))
			model_doubt(&model, &op->range);
		if (op->error == ENOSPC && opt.enospc && op_writes(op)) {
			nospc++;
			full++;
		} else if (op->error == ESHUTDOWN && opt.restarts) {
			if (refused_ms == 0)
				refused_ms = now_ms();
		} else {
			op_complain(op, "failed");
			errors++;
		}
	} else if (op->kind == OP_READ) {
		check_read(op);
	} else if (op->kind == OP_FLUSH) {
		model_flushed(&model, op->stamp);
	} else {
		model_acknowledge(&model, &op->range, op->fua);
	}
	op_release(op);
}

/* ---- connections --------------------------------------------------------------------------- */

static bool conn_dead(const struct conn *c)
{
	return c->nbd == NULL || nbd_aio_is_dead(c->nbd) || nbd_aio_is_closed(c->nbd);
}

/* Its requests are lost: writes may have happened or not. */
static void conn_lose(struct conn *c)
{
	if (c->nbd != NULL)
		nbd_close(c->nbd);
	c->nbd = NULL;
	for (unsigned i = 0; i < opt.depth; i++) {
		struct op *op = &c->ops[i];

		if (!op->busy)
			continue;
		if (op_writes(op))
			model_doubt(&model, &op->range);
		op_release(op);
	}
}

static int conn_open(struct conn *c)
{
	c->nbd = nbd_create();
	if (c->nbd == NULL)
		return -1;
	nbd_set_strict_mode(c->nbd, 0);
	if (nbd_connect_uri(c->nbd, opt.uri) < 0) {
		nbd_close(c->nbd);
		c->nbd = NULL;
		return -1;
	}
	return 0;
}

static int connect_all(void)
{
	uint64_t end = now_ms() + RECONNECT_S * 1000;

	for (unsigned i = 0; i < opt.connections; i++) {
		while (conn_open(&conns[i]) != 0) {
			if (!opt.restarts || now_ms() > end) {
				fprintf(stderr, "cannot connect: %s\n", nbd_get_error());
				return -1;
			}
			poll(NULL, 0, 50);
		}
	}
	return 0;
}

static void conn_reap(struct conn *c)
{
	for (unsigned i = 0; i < opt.depth; i++)
		if (c->ops[i].busy && c->ops[i].done)
			op_answered(&c->ops[i]);
}

static void poll_all(int timeout_ms)
{
	struct pollfd fds[CONNECTIONS_MAX];

	for (unsigned i = 0; i < opt.connections; i++) {
		unsigned dir = conn_dead(&conns[i]) ? 0 : nbd_aio_get_direction(conns[i].nbd);

		fds[i].fd = dir == 0 ? -1 : nbd_aio_get_fd(conns[i].nbd);
		fds[i].events = (short)((dir & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
					(dir & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0));
		fds[i].revents = 0;
	}
	if (poll(fds, opt.connections, timeout_ms) <= 0)
		return;
	for (unsigned i = 0; i < opt.connections; i++) {
		if (fds[i].fd < 0 || fds[i].revents == 0)
			continue;
		if (fds[i].revents & POLLOUT)
			nbd_aio_notify_write(conns[i].nbd);
		if (!conn_dead(&conns[i]) && (fds[i].revents & (POLLIN | POLLHUP | POLLERR)))
			nbd_aio_notify_read(conns[i].nbd);
	}
}

/* After a break: all connections anew, and every block must be what it may be. */
static int again(uint8_t *buf)
{
	for (unsigned i = 0; i < opt.connections; i++)
		conn_lose(&conns[i]);
	if (connect_all() != 0)
		return -1;
	for (uint64_t at = 0; at < opt.size; at += SETTLE_BYTES) {
		uint64_t left = opt.size - at;
		uint32_t len = left < SETTLE_BYTES ? (uint32_t)left : SETTLE_BYTES;

		if (nbd_pread(conns[0].nbd, buf, len, at, 0) < 0) {
			if (nbd_get_errno() != ESHUTDOWN && !conn_dead(&conns[0])) {
				fprintf(stderr, "reading %llu+%u again: %s\n",
					(unsigned long long)at, len, nbd_get_error());
				errors++;
			}
			return 1;
		}
		wrong += model_check(&model, buf, at, len, UINT64_MAX, NULL, true);
	}
	if (nbd_flush(conns[0].nbd, 0) < 0)
		return 1;
	model_flushed(&model, UINT64_MAX);
	return 0;
}

/* Blocks that a failed write left in doubt, while the server lives on. */
static void settle_blocks(struct nbd_handle *nbd)
{
	uint8_t block[BLOCK_BYTES];

	for (uint64_t i = 0; model.alts > 0 && i < opt.size / BLOCK_BYTES; i++) {
		if (model.blocks[i].alts == NULL || model.blocks[i].writer)
			continue;
		if (nbd_pread(nbd, block, BLOCK_BYTES, i * BLOCK_BYTES, 0) < 0)
			return;
		wrong += model_check(&model, block, i * BLOCK_BYTES, BLOCK_BYTES, UINT64_MAX, NULL,
				     true);
	}
}

/* ---- the run ------------------------------------------------------------------------------- */

static bool fill_queue(struct conn *c)
{
	for (unsigned i = 0; i < opt.depth && !conn_dead(c); i++) {
		struct op *op = &c->ops[i];

		if (op->busy || !choose(op))
			continue;
		op->busy = true;
		if (op_send(c, op) != 0 && !conn_dead(c) && !op->done) {
			fprintf(stderr, "sending: %s\n", nbd_get_error());
			return false;
		}
	}
	return true;
}

static bool stalled(void)
{
	bool is = false;

	for (unsigned i = 0; i < opt.connections; i++)
		for (unsigned j = 0; j < opt.depth; j++) {
			const struct op *op = &conns[i].ops[j];

			if (!op->busy || now_ms() - op->sent_ms < opt.stall_s * 1000)
				continue;
			op_complain(op, "no answer");
			is = true;
		}
	return is;
}

static bool idle(void)
{
	for (unsigned i = 0; i < opt.connections; i++)
		for (unsigned j = 0; j < opt.depth; j++)
			if (conns[i].ops[j].busy)
				return false;
	return true;
}

static int handle_breaks(uint8_t *buf)
{
	uint64_t end = now_ms() + RECONNECT_S * 1000;
	int r;

	for (unsigned i = 0; i < opt.connections; i++)
		if (conn_dead(&conns[i]))
			goto broken;
	return 0;
broken:
	refused_ms = 0;
	breaks++;
	if (!opt.restarts) {
		fprintf(stderr, "the connection broke\n");
		return -1;
	}
	do
		r = again(buf);
	while (r > 0 && errors == 0 && now_ms() < end);
	return r;
}

/* Drive what is in the queues; more: also fill them. */
static int turn(uint8_t *buf, bool more)
{
	static bool doubt;

	if (handle_breaks(buf) != 0)
		return -1;
	if (refused_ms != 0 && now_ms() - refused_ms > GOODBYE_MS) {
		fprintf(stderr, "a server that shuts down is still there\n");
		return -1;
	}
	if (nospc > 0 && !doubt) { /* let all end, then look at what the failed ones left */
		doubt = true;
	} else if (doubt && idle()) {
		settle_blocks(conns[0].nbd);
		if (model.lossy && nbd_flush(conns[0].nbd, 0) == 0)
			model_flushed(&model, UINT64_MAX);
		nospc = 0;
		doubt = false;
	}
	for (unsigned i = 0; more && !doubt && refused_ms == 0 && i < opt.connections; i++)
		if (!fill_queue(&conns[i]))
			return -1;
	poll_all(100);
	for (unsigned i = 0; i < opt.connections; i++)
		if (!conn_dead(&conns[i]))
			conn_reap(&conns[i]);
	return stalled() ? -1 : 0;
}

/* However slow it is here: something was read and written, and who may be full was. */
static bool seen_enough(uint64_t end_ms)
{
	uint64_t now = now_ms();

	if (counts[OP_READ] == 0 || counts[OP_WRITE] == 0)
		return false;
	if (opt.enospc && full == 0 && now < end_ms + FULL_S * 1000)
		return false;
	return enough || now >= end_ms;
}

static int run(void)
{
	uint64_t end = now_ms() + opt.seconds * 1000;
	uint8_t *buf = malloc(SETTLE_BYTES);
	int r = buf == NULL ? -1 : 0;

	while (r == 0 && !seen_enough(end) && wrong == 0 && errors == 0)
		r = turn(buf, true);
	while (r == 0 && wrong == 0 && errors == 0 && !idle())
		r = turn(buf, false);
	if (r == 0 && wrong == 0 && errors == 0) {
		do /* all is read once more, over new connections */
			r = again(buf);
		while (r > 0 && errors == 0);
	}
	free(buf);
	return r;
}

static const char *const usage =
	"usage: hammer [options] URI\n"
	"  --seed N         of the random numbers\n"
	"  --seconds N      how long (5)\n"
	"  --connections N  (4)\n"
	"  --depth N        requests on each (8)\n"
	"  --region BYTES   only so much of the volume\n"
	"  --max-len BYTES  longest request (4194304)\n"
	"  --stall N        a request without an answer for N seconds is an error (60)\n"
	"  --aligned        only whole blocks\n"
	"  --restarts       the server may go away and come back\n"
	"  --lossy          and lose what was not flushed\n"
	"  --enospc         the servers may be full; it goes on until they were\n"
	"  --no-trim        no trims\n"
	"The volume is overwritten with zeros first.\n";

enum {
	O_SEED,
	O_SECONDS,
	O_CONNECTIONS,
	O_DEPTH,
	O_REGION,
	O_LEN,
	O_STALL,
	O_ALIGNED,
	O_RESTARTS,
	O_LOSSY,
	O_ENOSPC,
	O_NO_TRIM,
	O_HELP
};

static const struct option options[] = {
	{"seed", 1, NULL, O_SEED},
	{"seconds", 1, NULL, O_SECONDS},
	{"connections", 1, NULL, O_CONNECTIONS},
	{"depth", 1, NULL, O_DEPTH},
	{"region", 1, NULL, O_REGION},
	{"max-len", 1, NULL, O_LEN},
	{"stall", 1, NULL, O_STALL},
	{"aligned", 0, NULL, O_ALIGNED},
	{"restarts", 0, NULL, O_RESTARTS},
	{"lossy", 0, NULL, O_LOSSY},
	{"enospc", 0, NULL, O_ENOSPC},
	{"no-trim", 0, NULL, O_NO_TRIM},
	{"help", 0, NULL, O_HELP},
	{NULL, 0, NULL, 0},
};

static bool set_option(int o)
{
	uint64_t n = optarg == NULL ? 0 : strtoull(optarg, NULL, 0);

	switch (o) {
	case O_SEED:
		opt.seed = n;
		return true;
	case O_SECONDS:
		opt.seconds = (unsigned)n;
		return true;
	case O_CONNECTIONS:
		opt.connections = (unsigned)n;
		return n >= 1 && n <= CONNECTIONS_MAX;
	case O_DEPTH:
		opt.depth = (unsigned)n;
		return n >= 1 && n <= DEPTH_MAX;
	case O_REGION:
		opt.size = n;
		return n >= BLOCK_BYTES && n % BLOCK_BYTES == 0;
	case O_LEN:
		opt.len_max = (uint32_t)n;
		return n >= BLOCK_BYTES && n <= LEN_MAX;
	case O_STALL:
		opt.stall_s = (unsigned)n;
		return n > 0;
	case O_ALIGNED:
		opt.aligned = true;
		return true;
	case O_RESTARTS:
		opt.restarts = true;
		return true;
	case O_LOSSY:
		opt.restarts = opt.lossy = true;
		return true;
	case O_ENOSPC:
		opt.enospc = true;
		return true;
	case O_NO_TRIM:
		opt.no_trim = true;
		return true;
	default:
		return false;
	}
}

static int prepare(void)
{
	int64_t size;

	for (unsigned i = 0; i < opt.connections; i++)
		for (unsigned j = 0; j < opt.depth; j++) {
			conns[i].ops[j].buf = malloc(LEN_MAX);
			if (conns[i].ops[j].buf == NULL)
				return -1;
		}
	if (connect_all() != 0)
		return -1;
	size = nbd_get_size(conns[0].nbd);
	if (opt.size == 0 || opt.size > (uint64_t)size)
		opt.size = (uint64_t)size & ~(uint64_t)(BLOCK_BYTES - 1);
	if (opt.size == 0)
		return -1;
	if (opt.len_max > opt.size)
		opt.len_max = (uint32_t)opt.size;
	for (uint64_t at = 0; at < opt.size; at += ZERO_BYTES) {
		uint64_t left = opt.size - at;

		if (nbd_zero(conns[0].nbd, left < ZERO_BYTES ? left : ZERO_BYTES, at, 0) < 0) {
			fprintf(stderr, "zeroes: %s\n", nbd_get_error());
			return -1;
		}
	}
	if (nbd_flush(conns[0].nbd, 0) < 0)
		return -1;
	return model_init(&model, opt.size, opt.lossy);
}

static void finish(void)
{
	for (unsigned i = 0; i < opt.connections; i++) {
		if (conns[i].nbd != NULL) {
			nbd_shutdown(conns[i].nbd, 0);
			nbd_close(conns[i].nbd);
		}
		for (unsigned j = 0; j < opt.depth; j++)
			free(conns[i].ops[j].buf);
	}
	model_free(&model);
}

int main(int argc, char **argv)
{
	int o, r;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (!set_option(o)) {
			fputs(usage, o == O_HELP ? stdout : stderr);
			return o == O_HELP ? 0 : 2;
		}
	if (optind + 1 != argc) {
		fputs(usage, stderr);
		return 2;
	}
	opt.uri = argv[optind];
	if (opt.seed == 0)
		opt.seed = (uint64_t)time(NULL) * 1000 + now_ms() % 1000;
	rng = opt.seed * 0x9e3779b97f4a7c15ULL | 1;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTERM, on_signal);
	printf("seed %llu\n", (unsigned long long)opt.seed);
	fflush(stdout);
	if (prepare() != 0) {
		fprintf(stderr, "cannot begin\n");
		return 2;
	}
	printf("begun\n"); /* from now on its server may break */
	fflush(stdout);
	r = run();
	printf("reads %llu writes %llu zeroes %llu trims %llu flushes %llu breaks %u full %u "
	       "wrong %u errors %u%s\n",
	       (unsigned long long)counts[OP_READ], (unsigned long long)counts[OP_WRITE],
	       (unsigned long long)counts[OP_ZERO], (unsigned long long)counts[OP_TRIM],
	       (unsigned long long)counts[OP_FLUSH], breaks, full, wrong, errors,
	       r != 0 ? " (not finished)" : "");
	finish();
	return wrong > 0 ? 1 : errors > 0 || r != 0 ? 2 : 0;
}
