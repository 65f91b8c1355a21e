/*
 * Reads that race with writes: is a read ever older than a write that was acknowledged before it
 * began? Each block holds the number of the write that made it, all over. One connection writes
 * rising numbers, several others read the same blocks; one thread, so what was known when a request
 * was sent is known for sure. Ends with 0 when no read was stale, torn within a block, or wrong.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libnbd.h>

#include "banned.h"

#define BLOCK	    4096u
#define BLOCKS_MAX  4096u
#define READERS_MAX 16u
#define DEPTH	    16u

struct slot {
	struct client *client;
	bool busy;
	uint32_t block;
	uint64_t number; /* writer: what is written; reader: what it must be at least */
	uint64_t data[BLOCK / 8];
};

struct client {
	struct nbd_handle *nbd;
	struct slot slots[DEPTH];
};

static uint64_t sent[BLOCKS_MAX], acked[BLOCKS_MAX]; /* numbers, by block */
static bool writing[BLOCKS_MAX];
static uint64_t reads, writes, failed;
static uint32_t blocks = 64;
static uint64_t stride = 65536, first; /* bytes between two blocks; before the first */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void complain(const struct slot *s, const char *what)
{
	if (failed++ < 10)
		printf("block %u: %s: got %" PRIu64 ", at least %" PRIu64 ", at most %" PRIu64 "\n",
		       s->block, what, s->data[0], s->number, sent[s->block]);
}

static int read_done(void *arg, int *error)
{
	struct slot *s = arg;

	s->busy = false;
	if (*error != 0) {
		complain(s, strerror(*error));
		return 1;
	}
	reads++;
	for (unsigned i = 1; i < BLOCK / 8; i++)
		if (s->data[i] != s->data[0]) {
			complain(s, "torn");
			return 1;
		}
	if (s->data[0] < s->number)
		complain(s, "stale");
	else if (s->data[0] > sent[s->block])
		complain(s, "from nowhere");
	return 1;
}

static int write_done(void *arg, int *error)
{
	struct slot *s = arg;

	s->busy = writing[s->block] = false;
	if (*error != 0) {
		complain(s, strerror(*error));
		return 1;
	}
	writes++;
	acked[s->block] = s->number;
	return 1;
}

static void must(int r)
{
	if (r >= 0)
		return;
	fprintf(stderr, "race: %s\n", nbd_get_error());
	exit(2);
}

static void read_start(struct client *c, struct slot *s)
{
	s->busy = true;
	s->block = (uint32_t)random() % blocks;
	s->number = acked[s->block];
	must((int)nbd_aio_pread(c->nbd, s->data, BLOCK, first + s->block * stride,
				(nbd_completion_callback){.callback = read_done, .user_data = s},
				0));
}

static void write_start(struct client *c, struct slot *s)
{
	uint32_t block = (uint32_t)random() % blocks;

	if (writing[block])
		return;
	s->busy = writing[block] = true;
	s->block = block;
	s->number = ++sent[block];
	for (unsigned i = 0; i < BLOCK / 8; i++)
		s->data[i] = s->number;
	must((int)nbd_aio_pwrite(c->nbd, s->data, BLOCK, first + block * stride,
				 (nbd_completion_callback){.callback = write_done, .user_data = s},
				 0));
}

static void turn(struct client *clients, unsigned n, bool more)
{
	struct pollfd fds[READERS_MAX + 1];

	for (unsigned i = 0; i < n; i++) {
		for (unsigned j = 0; j < DEPTH && more; j++) {
			struct slot *s = &clients[i].slots[j];

			if (!s->busy)
				(i == 0 ? write_start : read_start)(&clients[i], s);
		}
		unsigned dir = nbd_aio_get_direction(clients[i].nbd);

		fds[i] = (struct pollfd){.fd = nbd_aio_get_fd(clients[i].nbd)};
		fds[i].events = (short)(((dir & LIBNBD_AIO_DIRECTION_READ) ? POLLIN : 0) |
					((dir & LIBNBD_AIO_DIRECTION_WRITE) ? POLLOUT : 0));
	}
	if (poll(fds, n, 20000) <= 0) {
		fprintf(stderr, "race: no answer in 20 s\n");
		exit(2);
	}
	for (unsigned i = 0; i < n; i++) {
		unsigned dir = nbd_aio_get_direction(clients[i].nbd);

		if ((fds[i].revents & (POLLIN | POLLHUP)) && (dir & LIBNBD_AIO_DIRECTION_READ))
			must(nbd_aio_notify_read(clients[i].nbd));
		else if ((fds[i].revents & POLLOUT) && (dir & LIBNBD_AIO_DIRECTION_WRITE))
			must(nbd_aio_notify_write(clients[i].nbd));
	}
}

static bool idle(const struct client *clients, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		for (unsigned j = 0; j < DEPTH; j++)
			if (clients[i].slots[j].busy)
				return false;
	return true;
}

int main(int argc, char **argv)
{
	static struct client clients[READERS_MAX + 1];
	unsigned n = 4;
	double end;
	char *zeros;

	if (argc < 3) {
		fprintf(stderr, "usage: race URI SECONDS [BLOCKS [STRIDE [FIRST]]]\n");
		return 2;
	}
	if (argc > 3)
		blocks = (uint32_t)strtoul(argv[3], NULL, 10) % (BLOCKS_MAX + 1);
	if (argc > 4)
		stride = strtoull(argv[4], NULL, 10);
	if (argc > 5)
		first = strtoull(argv[5], NULL, 10);
	for (unsigned i = 0; i < n; i++) {
		clients[i].nbd = nbd_create();
		must(clients[i].nbd == NULL ? -1 : nbd_connect_uri(clients[i].nbd, argv[1]));
	}
	zeros = calloc(1, BLOCK);
	for (uint32_t i = 0; i < blocks; i++)
		must(nbd_pwrite(clients[0].nbd, zeros, BLOCK, first + i * stride, 0));
	free(zeros);
	for (end = now() + strtod(argv[2], NULL); now() < end && failed == 0;)
		turn(clients, n, true);
	while (!idle(clients, n))
		turn(clients, n, false);
	for (unsigned i = 0; i < n; i++)
		nbd_close(clients[i].nbd);
	printf("reads %" PRIu64 " writes %" PRIu64 " wrong %" PRIu64 "\n", reads, writes, failed);
	return failed == 0 ? 0 : 1;
}
