/*
 * volmgr --check: metadata and servers are compared without serving anything. Servers are neither
 * fenced nor changed.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "log.h"
#include "offline.h"
#include "banned.h"

#define OFFLINE_POLL_MS	  200
#define OFFLINE_POLLS_MAX 25 /* for servers to come up */

static struct control_timer *offline_timer;
static unsigned offline_polls, offline_quit;
static int offline_status;

static void worker_has_quit(struct task *t)
{
	struct cluster *c = t->worker->cluster;

	free(t);
	if (++offline_quit == c->nworkers)
		control_stop(c->control);
}

static void offline_checked(void *arg, struct check_result *r)
{
	struct cluster *c = arg;
	const json_t *p;
	size_t i;

	json_array_foreach(r->notes, i, p) printf("%s\n", json_string_value(p));
	json_array_foreach(r->problems, i, p)
		printf("%s\n  %s\n", json_string_value(json_object_get(p, "what")),
		       json_string_value(json_object_get(p, "hint")));
	if (json_array_size(r->problems) == 0)
		printf("Metadata and servers agree: %llu extents, %llu slots compared.\n",
		       (unsigned long long)r->extents, (unsigned long long)r->slots);
	offline_status = json_array_size(r->problems) == 0 ? 0 : 1;
	check_result_free(r);
	for (unsigned w = 0; w < c->nworkers; w++) {
		struct task *t = mem_must(sizeof(*t));

		t->run = worker_quit_run;
		t->done = worker_has_quit;
		worker_task(c->workers[w], t);
	}
}

static void offline_poll(void *arg)
{
	struct cluster *c = arg;
	unsigned total, up;

	servers_count(c, &total, &up);
	if (up < total && ++offline_polls < OFFLINE_POLLS_MAX)
		return;
	control_timer_free(offline_timer);
	check_start(c, offline_checked, c);
}

int offline_check(struct cluster *c)
{
	offline_timer = control_timer_start(c->control, OFFLINE_POLL_MS, 1, offline_poll, c);
	control_run(c->control);
	return offline_status;
}
