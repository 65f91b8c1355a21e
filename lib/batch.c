/* See batch.h. */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include "batch.h"

#include "banned.h"

bool batch_judge(struct batch *b, uint64_t now_ns, uint64_t waited_ns, uint64_t turns)
{
	uint64_t n = turns - b->turns, waited = waited_ns - b->waited_ns;

	if (!b->on) {
		b->turns = turns;
		b->waited_ns = waited_ns;
		return now_ns >= b->until_ns;
	}
	if (n < BATCH_TURNS_MIN)
		return true;
	b->turns = turns;
	b->waited_ns = waited_ns;
	if (waited / n <= BATCH_WAIT_MAX_NS) {
		if (b->pause_ns > BATCH_PAUSE_NS)
			b->pause_ns -= b->pause_ns / 8;
		return true;
	}
	b->until_ns = now_ns + b->pause_ns;
	b->pause_ns *= 2;
	if (b->pause_ns > BATCH_PAUSE_MAX_NS)
		b->pause_ns = BATCH_PAUSE_MAX_NS;
	return false;
}

static int account(int fd, uint64_t *waited_ns, uint64_t *turns)
{
	char text[96];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return -1;
	text[n] = '\0';
	return sscanf(text, "%*u %" SCNu64 " %" SCNu64, waited_ns, turns) == 2 ? 0 : -1;
}

static void be(struct batch *b, bool on)
{
	struct sched_param none = {0};

	if (on == b->on)
		return;
	if (sched_setscheduler(0, on ? SCHED_BATCH : SCHED_OTHER, &none) == 0)
		b->on = on;
	else
		batch_end(b);
}

void batch_look(struct batch *b, uint64_t now_ns)
{
	uint64_t waited_ns, turns;

	if (b->fd < 0 || now_ns < b->look_ns)
		return;
	b->look_ns = now_ns + BATCH_LOOK_NS;
	if (account(b->fd, &waited_ns, &turns) == 0)
		be(b, batch_judge(b, now_ns, waited_ns, turns));
	else
		batch_end(b);
}

void batch_start(struct batch *b)
{
	*b = (struct batch){.fd = -1, .pause_ns = BATCH_PAUSE_NS};
	if (sched_getscheduler(0) == SCHED_OTHER) /* and not what an admin chose */
		b->fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
}

void batch_end(struct batch *b)
{
	if (b->fd >= 0)
		close(b->fd);
	b->fd = -1;
}
