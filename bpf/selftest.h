/* What the trials at the start have in common: see selftest.c. */
#ifndef WEFT_BPF_SELFTEST_H
#define WEFT_BPF_SELFTEST_H

#include "bpf/loader.h"
#include "nbd/proto.h"
#include "nbd/weft.h"

#define WAIT_MS	   2000
#define SLOT	   77u
#define GENERATION 0x12345u
#define KEY	   ((uint64_t)1 << 40)
#define GATE	   7u
#define VOLUME	   (ROUTE_VOLS - 1)
#define FIRST	   (ROUTE_ENTRIES - 4)
#define GREETING   5u /* bytes that V sends before, */
#define ANSWER	   3u /* and C */
#define REQUESTS   64u
#define PIECE	   ROUTE_LARGE
#define BYTES	   (DATA_HEAD + ROUTE_READ_MAX)
#define DATA_HEAD  ((uint32_t)sizeof(struct nbd_chunk_data))

/* C, V, R and S of route.h, connected. */
struct test {
	struct bpf_route *b;
	int listener, c, v, r, s;
	uint32_t id;
	uint32_t sent; /* bytes, from C to V */
	struct route_conn *conn;
	uint8_t *out, *in;
};

bool selftest_readable(int fd, int timeout_ms);
bool selftest_get(int fd, void *buf, size_t len);
bool selftest_put(int fd, const void *buf, size_t len);
bool selftest_same(const uint8_t *p, size_t len, uint64_t seed);
/* A server's answer, of bytes that follow from the seed. */
void selftest_reply(uint8_t *out, uint64_t cookie, uint64_t offset, uint32_t len, uint64_t seed);
bool selftest_connect(struct test *t);
bool selftest_open(struct test *t);
/* One routed read of each size. */
bool selftest_one(struct test *t);
/*
 * REQUESTS answers from V, from cookie 1000 on, while send(arg, i) has each an answer of somebody
 * else come, from cookie 2000 on, of bytes fill + i: each comes whole, those of one in their order.
 */
bool selftest_both(struct test *t, bool (*send)(void *arg, uint32_t i), void *arg, uint32_t fill);
void selftest_close(int fd);
/* Run a trial with memory, and without leaving anything behind. */
int selftest_run(struct test *t, const char *(*fn)(struct test *t), const char **why);

#endif
