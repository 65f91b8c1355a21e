/* volctl check: see check.h. On the control thread; servers are asked on a data thread. */
#include "config.h"

#include "check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "tidy.h"
#include "banned.h"

#define CHECK_PAUSE_MS 1500 /* before a second look */

struct check {
	struct cluster *cluster;
	struct check_meta before, after;
	struct check_server servers[SERVERS_MAX];
	struct check_result first;
	struct control_timer *timer;
	bool again; /* this is the second look */
	void (*cb)(void *arg, struct check_result *r);
	void *arg;
};

static void check_look(struct check *k);

static void check_end(struct check *k, struct check_result *r)
{
	if (k->again)
		check_result_free(&k->first);
	k->cb(k->arg, r);
	free(k);
}

static void check_second(void *arg)
{
	struct check *k = arg;

	control_timer_free(k->timer);
	k->timer = NULL;
	k->again = true;
	check_look(k);
}

static void check_surveyed(struct task *t)
{
	struct survey *survey = (struct survey *)t;
	struct check *k = survey->arg;
	struct check_result r;

	if (check_meta_load(k->cluster->meta, &k->after) != 0)
		log_error("the metadata cannot be read as a whole");
	check_plan(&k->before, &k->after, k->servers, survey->servers, survey->n, &r);
	check_meta_free(&k->before);
	check_meta_free(&k->after);
	survey_free(survey);
	if (k->again)
		check_both(&r, &k->first);
	if (k->again || json_array_size(r.problems) == 0) {
		check_end(k, &r);
		return;
	}
	/* things move while a cluster works: only what stays is wrong */
	k->first = r;
	k->timer = control_timer_start(k->cluster->control, CHECK_PAUSE_MS, 0, check_second, k);
}

static void check_look(struct check *k)
{
	struct cluster *c = k->cluster;
	struct survey *survey = mem_must(sizeof(*survey));

	if (check_meta_load(c->meta, &k->before) != 0)
		log_error("the metadata cannot be read as a whole");
	survey->n = c->nservers;
	for (unsigned i = 0; i < c->nservers; i++) {
		struct check_server *s = &k->servers[i];

		s->number = survey->servers[i].number = c->servers[i]->number;
		snprintf(s->name, sizeof(s->name), "%s", c->servers[i]->name);
		s->late = c->servers[i]->late;
		s->keeps_notes = tidy_keeps_notes(c, s->number);
	}
	survey->arg = k;
	survey->task.run = survey_run;
	survey->task.done = check_surveyed;
	worker_task(c->workers[0], &survey->task);
}

void check_start(struct cluster *c, void (*cb)(void *arg, struct check_result *r), void *arg)
{
	struct check *k = mem_must(sizeof(*k));

	k->cluster = c;
	k->cb = cb;
	k->arg = arg;
	check_look(k);
}
