/*
 * How far each store's log had got is remembered in the metadata, also when that refuses a write
 * for a while: what was found out is tried again, and is not taken for kept.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "age.h"
#include "people.h"
#include "tap.h"
#include "volmgr.h"

#define LATER (61 * NS_PER_S)

static struct cluster *c;
static struct server server;
static uint64_t now = NS_PER_S;

/* The metadata. */
static int refuses; /* errno */
static unsigned tries;
static uint64_t kept_durable;
static bool kept_older;

int server_put(struct cluster *cluster, const struct server *s)
{
	tries++;
	if (refuses != 0)
		return -refuses;
	kept_durable = s->log_durable;
	kept_older = s->older;
	return 0;
}

struct server *server_by_number(struct cluster *cluster, uint32_t number)
{
	return number == server.number ? &server : NULL;
}

void events_note(struct cluster *cluster, const char *who, const char *what, const char *object,
		 const char *fmt, ...)
{
}

void engine_collect(struct cluster *cluster, void (*done)(void *arg), void *arg)
{
	done(arg);
}

void *mem_must(size_t bytes)
{
	return calloc(1, bytes);
}

uint64_t clock_ns(void)
{
	return now;
}

static void heard(uint64_t durable)
{
	struct weft_stat st = {.log_head = durable, .log_durable = durable};

	age_heard(c, &server, &st);
}

/* A run of the server tells that its log ends there. */
static bool older(uint8_t run, uint64_t head)
{
	struct weft_stat st = {.log_head = head, .log_durable = head};
	uint8_t boot[WEFT_UUID_BYTES] = {run};
	bool found;

	age_judge(c, server.age, boot, &st, &found);
	return found;
}

static void test_durable(void)
{
	heard(100);
	is_int(kept_durable, 100, "how far a log is durable is kept");
	heard(200);
	is_int(kept_durable, 100, "but not each time");
	now += LATER;
	refuses = EIO;
	heard(300);
	is_int(tries, 2, "the metadata refuses it after a while");
	is_int(server.log_durable, 100, "it is not taken for kept");
	heard(300);
	is_int(tries, 2, "nor tried without a pause");
	ok(older(1, 250), "a store that ends before is older all the same");
	refuses = 0;
	now += LATER;
	heard(300);
	is_int(kept_durable, 300, "it is tried again, and kept");
	tries = 0;
	now += LATER;
	heard(300);
	is_int(tries, 0, "once");
}

static void test_older(void)
{
	refuses = ENOSPC;
	tries = 0;
	age_found(c, 1);
	ok(server.older && !kept_older, "that a store was found to be older is refused");
	now += LATER;
	heard(300);
	is_int(tries, 2, "it is tried again, though the log is where it was");
	refuses = 0;
	now += LATER;
	heard(300);
	ok(kept_older, "until it is kept");
	server.state = SERVER_UP;
	server.stat_known = true;
	server.stat_ns = now + 1;
	server.stat.log_durable = 260;
	refuses = EIO;
	ages_look(c);
	ok(!server.older && kept_older, "that its shards are made anew is refused");
	refuses = 0;
	ages_end(c);
	ok(!kept_older && kept_durable == 260, "at the end it is kept, too");
	tries = 0;
	ages_end(c);
	is_int(tries, 0, "and not twice");
}

/* Several data threads ask when a server is back, and hear from it at different times. */
static void test_threads(void)
{
	heard(500);
	ok(!older(2, 500), "a run that has all is none");
	heard(510);
	ok(!older(2, 500), "nor for another thread, that was told before what was written since");
	ok(older(3, 500), "the next run, with as little, is");
	ok(!older(3, 500), "which is found once");
	ok(!older(2, 500), "and what is left of the run before is no news");
	for (uint8_t run = 4; run < 4 + AGE_RUNS; run++)
		older(run, 510);
	ok(!older(4 + AGE_RUNS - 1, 0) && older(2, 500), "so many runs are known");
}

int main(void)
{
	c = calloc(1, sizeof(*c));
	pthread_mutex_init(&c->lock, NULL);
	c->nservers = 1;
	c->servers[0] = &server;
	snprintf(server.name, sizeof(server.name), "one");
	server.number = 1;
	now += LATER;
	server.age = age_new(c, 0, false);
	test_durable();
	test_older();
	test_threads();
	free(server.age);
	free(c);
	return done_testing();
}
