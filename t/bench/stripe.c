/*
 * What the stripe engine itself costs: nanoseconds of CPU for each 4 KiB read and write at 4+2,
 * over servers that answer at once without touching any bytes. Not a test: run it by hand.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../unit/fake-env.h"
#include "nbd/proto.h"
#include "stripe/volume.h"

#define SERVERS	 6
#define DEPTH	 32
#define REQUESTS 2000000

struct server {
	struct peer peer; /* first */
	struct nbd_call *head, **tail;
	uint32_t slots;
};

static struct server servers[SERVERS];
static struct fake_env env;
static unsigned long answered;
static struct nbd_req reqs[DEPTH];
static struct nbd_req *idle;

static void give_back(struct nbd_req *req)
{
	answered++;
	req->next = idle;
	idle = req;
}

void nbd_req_done(struct nbd_req *req, int error)
{
	if (error != 0)
		abort();
	give_back(req);
}

void nbd_req_done_data(struct nbd_req *req, const struct nbd_seg *segs, int nsegs)
{
	for (int i = 0; i < nsegs; i++)
		buf_put(segs[i].buf);
	give_back(req);
}

void nbd_req_done_status(struct nbd_req *req, const struct nbd_status *st, int n)
{
	give_back(req);
}

static void submit(struct peer *p, struct nbd_call *call)
{
	struct server *s = (struct server *)p;

	call->next = NULL;
	*s->tail = call;
	s->tail = &call->next;
}

static const struct peer_ops peer_ops = {.submit = submit};

static void serve(struct server *s)
{
	struct nbd_call *call = s->head;

	s->head = NULL;
	s->tail = &s->head;
	while (call != NULL) {
		struct nbd_call *next = call->next;

		if (call->type == WEFT_CMD_LABEL) {
			struct weft_slot_reply r = {.slot = htobe32(s->slots++),
						    .slot_gen = htobe32(1)};

			memcpy(call->in[0].iov_base, &r, sizeof(r));
		} else if (call->type == WEFT_CMD_FENCE) {
			memset(call->in[0].iov_base, 0, call->in[0].iov_len);
		}
		call->done(call, 0);
		call = next;
	}
}

static int place(void *ctx, struct volume *v, unsigned count, uint32_t *out)
{
	for (unsigned i = 0; i < count; i++)
		out[i] = i + 1;
	return 0;
}

static struct {
	void (*done)(void *arg, int err);
	void *arg;
} puts_waiting[DEPTH];
static unsigned nputs;

static void extents_put(void *ctx, struct volume *v, const struct extent_record *records, int n,
			bool removing, void (*done)(void *arg, int err), void *arg)
{
	if (nputs == DEPTH)
		abort();
	puts_waiting[nputs].done = done;
	puts_waiting[nputs++].arg = arg;
}

static void starts_put(void *ctx, struct volume *v, const struct volume_starts *r,
		       void (*done)(void *arg, int err), void *arg)
{
	extents_put(ctx, v, NULL, 0, false, done, arg);
}

static struct peer *peer(void *ctx, uint32_t server)
{
	return &servers[server - 1].peer;
}

static const struct volume_ops ops = {place, extents_put, starts_put, peer};

static void ready(void *arg, int err)
{
}

static void turn(void)
{
	fake_env_run(&env);
	for (int i = 0; i < SERVERS; i++)
		if (servers[i].head != NULL)
			serve(&servers[i]);
	while (nputs > 0) {
		nputs--;
		puts_waiting[nputs].done(puts_waiting[nputs].arg, 0);
	}
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void measure(struct volume *v, struct buf *payload, uint16_t type, const char *what,
		    uint32_t len, unsigned long n)
{
	uint64_t span = 4ULL * WEFT_SHARD_BYTES * 8 / len;
	unsigned long sent = 0;
	double start = now();

	answered = 0;
	while (answered < n) {
		while (idle != NULL && sent < n) {
			struct nbd_req *req = idle;

			idle = req->next;
			req->type = type;
			req->offset = (fake_next(&env) % span) * len;
			req->len = len;
			req->payload = type == NBD_CMD_WRITE ? payload : NULL;
			sent++;
			volume_submit(v, req);
		}
		turn();
	}
	printf("%-24s %8.0f ns\n", what, (now() - start) / (double)n);
}

int main(void)
{
	struct buf_pool *pool = buf_pool_create(256u << 20, 4u << 20);
	struct volume_config config = {
		.id = 1,
		.name = "v",
		.size = 1 << 30,
		.k = 4,
		.m = 2,
		.code = ec_best_code(),
		.unit_bytes = 64 << 10,
		.epoch = 1,
		.unflushed_max = 64 << 20,
		.flush_ms = 1000,
		.ops = &ops,
		.env = &env.env,
		.pool = pool,
	};
	struct buf *payload = buf_get(pool, 1 << 20);
	struct volume *v;

	fake_env_init(&env, 1);
	memset(payload->data, 1, 1 << 20);
	for (int i = 0; i < SERVERS; i++) {
		servers[i].peer =
			(struct peer){.ops = &peer_ops, .server = (uint32_t)i + 1, .up = true};
		servers[i].tail = &servers[i].head;
	}
	for (int i = 0; i < DEPTH; i++)
		give_back(&reqs[i]);
	v = volume_create(&config);
	if (v == NULL)
		abort();
	volume_start(v, ready, NULL);
	fake_env_advance(&env, 1);
	measure(v, payload, NBD_CMD_WRITE, "write 1 MiB (fill)", 1 << 20, 512);
	measure(v, payload, NBD_CMD_READ, "read 4 KiB", 4096, REQUESTS);
	measure(v, payload, NBD_CMD_WRITE, "write 4 KiB (delta)", 4096, REQUESTS / 4);
	measure(v, payload, NBD_CMD_READ, "read 1 MiB", 1 << 20, 20000);
	measure(v, payload, NBD_CMD_WRITE, "write 1 MiB", 1 << 20, 2000);
	return 0;
}
