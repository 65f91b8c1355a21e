/* Waiting after wrong guesses at passwords. */
#include "config.h"

#include <stdio.h>

#include "volmgr/people.h"
#include "tap.h"

static void test_waiting(void)
{
	int64_t now = 1000;
	unsigned longest = 0;

	is_int(tries_wait("name:a", now, TRIES_FREE), 0, "who has not guessed does not wait");
	for (int i = 0; i < TRIES_FREE - 1; i++)
		tries_failed("name:a", now);
	is_int(tries_wait("name:a", now, TRIES_FREE), 0, "a few wrong guesses are free");
	tries_failed("name:a", now);
	is_int(tries_wait("name:a", now, TRIES_FREE), 1, "then a second passes before the next");
	is_int(tries_wait("name:a", now + 1, TRIES_FREE), 0, "and no more");
	tries_failed("name:a", now);
	is_int(tries_wait("name:a", now, TRIES_FREE), 2, "each further one doubles it");
	is_int(tries_wait("name:b", now, TRIES_FREE), 0, "for others nothing changes");
	is_int(tries_wait("name:a", now, TRIES_FREE_NAME), 0, "nor for who may guess more often");
	for (int i = 0; i < 100; i++) {
		tries_failed("name:a", now);
		if (tries_wait("name:a", now, TRIES_FREE) > longest)
			longest = tries_wait("name:a", now, TRIES_FREE);
	}
	is_int(longest, TRIES_WAIT_MAX_S, "up to a limit");
	is_int(tries_wait("name:a", now + 7200, TRIES_FREE), 0, "after some hours it is forgotten");
	tries_forget("name:a");
	is_int(tries_wait("name:a", now, TRIES_FREE), 0, "a right one forgets it at once");
}

static void test_flood(void)
{
	char key[32];

	for (int i = 0; i < 10; i++)
		tries_failed("from:victim", 2000);
	for (int i = 0; i < TRIES_MAX - 1; i++) {
		snprintf(key, sizeof(key), "from:%d", i);
		tries_failed(key, 1000 + i);
	}
	ok(tries_wait("from:victim", 2000, TRIES_FREE) > 0,
	   "a flood of others does not free who guessed last");
	tries_failed("from:new", 3000);
	is_int(tries_wait("from:0", 1000, TRIES_FREE), 0, "the oldest gives way");
}

int main(void)
{
	test_waiting();
	test_flood();
	return done_testing();
}
