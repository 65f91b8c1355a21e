/* When a thread is one of SCHED_BATCH, and when waiting for the processor has become too dear. */
#include "config.h"

#include <sched.h>

#include "batch.h"
#include "tap.h"

#define MS 1000000ull
#define S  (1000 * MS)

static uint64_t waited, turns, now;

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

int main(void)
{
	test_judge();
	test_system();
	return done_testing();
}
