/* When a thread is one of SCHED_BATCH, and when waiting for the processor has become too dear. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "batch.h"
#include "tap.h"

#define MS 1000000ull
#define S  (1000 * MS)

static uint64_t waited, turns, now;

/* The scheduler, and how often it was asked: it may refuse. */
static bool refuses;
static unsigned asked;

int sched_setscheduler(pid_t pid, int policy, const struct sched_param *param)
{
	asked++;
	if (refuses) {
		errno = EPERM;
		return -1;
	}
	return (int)syscall(SYS_sched_setscheduler, pid, policy, param);
}

/* So many more turns, each after waiting so long. */
static bool look(struct batch *b, uint64_t n, uint64_t wait_ns)
{
	now += BATCH_LOOK_NS;
	turns += n;
	waited += n * wait_ns;
	b->on = batch_judge(b, now, waited, turns);
	return b->on;
}

/* Looks until it is on again; how long that took. */
static uint64_t off_for(struct batch *b)
{
	uint64_t begin = now;

	while (!look(b, 100, 5 * MS) && now - begin < 100 * S)
		;
	return now - begin;
}

static void test_judge(void)
{
	struct batch b = {.pause_ns = BATCH_PAUSE_NS};

	waited = 900 * S; /* before it was looked at */
	turns = 1000;
	ok(look(&b, 0, 0), "a thread begins as one of batch");
	ok(look(&b, 1000, 50000), "and stays it while it waits little");
	ok(look(&b, BATCH_TURNS_MIN - 1, 9 * MS), "a few turns say nothing yet");
	ok(!look(&b, 1, 9 * MS), "but count with those that follow");
	ok(!look(&b, 1000, 0), "it is an ordinary one for a while, then");
	ok(off_for(&b) <= BATCH_PAUSE_NS, "and tries again");
	ok(look(&b, 100, 50000), "what it waited meanwhile does not count");
	for (int i = 0; i < 8; i++) {
		look(&b, 100, 3 * MS);
		ok(!b.on, "waiting is too dear again");
		off_for(&b);
	}
	look(&b, 100, 3 * MS);
	ok(off_for(&b) >= BATCH_PAUSE_MAX_NS / 2, "the more often, the longer it is left alone");
	for (int i = 0; i < 100; i++)
		look(&b, 100, 50000);
	look(&b, 100, 3 * MS);
	ok(off_for(&b) <= 2 * BATCH_PAUSE_NS, "and shorter, when it went well for long");
}

static void test_system(void)
{
	const struct sched_param none = {0};
	struct batch b;

	if (sched_setscheduler(0, SCHED_BATCH, &none) != 0)
		return;
	batch_start(&b);
	ok(b.fd < 0, "what an admin chose is left alone");
	sched_setscheduler(0, SCHED_OTHER, &none);
	batch_start(&b);
	if (b.fd < 0)
		return;
	batch_look(&b, BATCH_LOOK_NS);
	is_int(sched_getscheduler(0), SCHED_BATCH, "the thread is one of batch");
	batch_end(&b);
}

/* As in a container whose rules forbid the call. */
static void test_refused(void)
{
	const struct sched_param none = {0};
	struct batch b;
	int fd;

	sched_setscheduler(0, SCHED_OTHER, &none);
	batch_start(&b);
	if (b.fd < 0)
		return;
	fd = b.fd;
	refuses = true;
	asked = 0;
	batch_look(&b, BATCH_LOOK_NS);
	is_int(sched_getscheduler(0), SCHED_OTHER,
	       "a thread that may not be one of batch is an ordinary one");
	ok(!b.on && b.fd < 0 && fcntl(fd, F_GETFD) < 0, "and lets go of what it looked at");
	for (unsigned i = 2; i < 10; i++)
		batch_look(&b, i * BATCH_LOOK_NS);
	is_int(asked, 1, "it does not ask again");
	batch_end(&b);

	refuses = false;
	batch_start(&b);
	batch_look(&b, BATCH_LOOK_NS);
	ok(b.on && sched_getscheduler(0) == SCHED_BATCH, "one that may is");
	refuses = true;
	asked = 0;
	/* as if waiting had become too dear: it cannot go back */
	for (unsigned i = 2; i < 10 && b.fd >= 0; i++) {
		b.turns = (uint64_t)0 - 2 * BATCH_TURNS_MIN;
		b.waited_ns = (uint64_t)0 - 1000 * S;
		batch_look(&b, i * BATCH_LOOK_NS);
	}
	ok(b.fd < 0 && asked == 1, "that it may not go back is found out once");
	is_int(sched_getscheduler(0), SCHED_BATCH, "it stays what it is");
	refuses = false;
	batch_end(&b);
}

int main(void)
{
	test_judge();
	test_system();
	test_refused();
	return done_testing();
}
