/* Whether reads of servers on other machines go past volmgr: what wins is taken, what changes is
 * noticed, and who is quiet is left as it was. */
#include "config.h"

#include "route-choice.h"
#include "tap.h"

#define SECOND 1000000000ull
#define LEN    65536u

static uint64_t now = SECOND;

/* For so long, reads one after the other: so many a second past volmgr, and through it. Returns how
 * many of 100 went past it. */
static unsigned run(struct route_choice *c, unsigned seconds, unsigned past, unsigned through)
{
	uint64_t end = now + seconds * SECOND, went = 0, all = 0;

	while (now < end) {
		bool is = route_choice_past(c, now);

		now += SECOND / (is ? past : through);
		route_choice_done(c, LEN);
		went += is;
		all++;
	}
	return (unsigned)(went * 100 / all);
}

int main(void)
{
	struct route_choice c = {0};

	ok(route_choice_of(32 << 10) == 0, "small ones are of the first kind");
	ok(route_choice_of(64 << 10) == 0, "and so is a unit");
	ok(route_choice_of(256 << 10) == 1, "larger ones of the second");
	ok(route_choice_of(1 << 20) == 2, "and the largest of the third");
	ok(route_choice_past(&c, now), "the first go past volmgr");
	ok(run(&c, 20, 3000, 2000) > 95, "while that wins it stays so");
	ok(run(&c, 20, 3000, 3000) > 95, "and while both are as good");
	(void)run(&c, 20, 2000, 3000);
	ok(run(&c, 20, 2000, 3000) < 5, "when the other wins, they go through volmgr");
	(void)run(&c, 20, 3000, 2000);
	ok(run(&c, 20, 3000, 2000) > 95, "and back");
	(void)run(&c, 60, 50, 3000);
	ok(!c.through, "what is too slow to be compared is left as it was");
	(void)run(&c, 40, 500, 1000000);
	ok(run(&c, 20, 500, 1000000) < 10, "one of them may be much faster");
	(void)run(&c, 40, 1000000, 500);
	ok(run(&c, 20, 1000000, 500) > 90, "or the other");
	return done_testing();
}
