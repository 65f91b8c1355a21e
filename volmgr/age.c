/* See age.h. */
#include "config.h"

#include "age.h"

#include <string.h>

#include "log.h"
#include "people.h"
#include "volmgr.h"
#include "banned.h"

#define KEEP_NS (60 * NS_PER_S) /* the metadata is told so often at most */

struct store_age *age_new(struct cluster *c, uint64_t durable, bool older)
{
	struct store_age *age = mem_must(sizeof(*age));

	age->durable = durable;
	age->older = older;
	pthread_mutex_lock(&c->lock);
	age->next = c->ages;
	c->ages = age;
	pthread_mutex_unlock(&c->lock);
	return age;
}

static bool was_judged(const struct store_age *age, const uint8_t *boot)
{
	for (unsigned i = 0; i < AGE_RUNS && i < age->nruns; i++)
		if (memcmp(age->runs[i], boot, WEFT_UUID_BYTES) == 0)
			return true;
	return false;
}

static bool is_older(struct store_age *age, const uint8_t *boot, const struct weft_stat *st)
{
	if (was_judged(age, boot))
		return false;
	memcpy(age->runs[age->nruns++ % AGE_RUNS], boot, WEFT_UUID_BYTES);
	return st->log_head != 0 && st->log_head < age->durable;
}

uint32_t age_judge(struct cluster *c, struct store_age *age, const uint8_t *boot,
		   const struct weft_stat *st, bool *found)
{
	uint32_t older;

	pthread_mutex_lock(&c->lock);
	*found = is_older(age, boot, st);
	if (*found)
		age->older++;
	else if (st->log_durable > age->durable)
		age->durable = st->log_durable;
	older = age->older;
	pthread_mutex_unlock(&c->lock);
	return older;
}

/* ---- the control thread -------------------------------------------------------------------- */

/* changed: something else of it has, too. */
static void keep(struct cluster *c, struct server *s, bool changed)
{
	uint64_t durable, before = s->log_durable;
	int err;

	pthread_mutex_lock(&c->lock);
	durable = s->age->durable;
	pthread_mutex_unlock(&c->lock);
	s->log_kept_ns = clock_ns();
	if (durable == s->log_durable && !changed && !s->age_unkept)
		return;
	s->log_durable = durable;
	err = server_put(c, s);
	s->age_unkept = err != 0;
	if (err == 0)
		return;
	s->log_durable = before;
	log_error("server %s: the metadata could not be written: %s", s->name, strerror(-err));
}

void age_keep(struct cluster *c, struct server *s)
{
	keep(c, s, false);
}

void age_heard(struct cluster *c, struct server *s, const struct weft_stat *st)
{
	pthread_mutex_lock(&c->lock);
	if (st->log_durable > s->age->durable)
		s->age->durable = st->log_durable;
	pthread_mutex_unlock(&c->lock);
	if (clock_ns() - s->log_kept_ns > KEEP_NS)
		age_keep(c, s);
}

void ages_heard(struct cluster *c, const struct peer_stats *stats)
{
	for (unsigned i = 0; i < stats->count; i++) {
		struct server *s = server_by_number(c, stats->answers[i].server);

		if (s != NULL)
			age_heard(c, s, &stats->answers[i].stat);
	}
}

void ages_end(struct cluster *c)
{
	for (unsigned i = 0; i < c->nservers; i++)
		age_keep(c, c->servers[i]);
}

void age_found(struct cluster *c, uint32_t number)
{
	struct server *s = server_by_number(c, number);

	if (s == NULL)
		return;
	log_error("server %s came back with an older store than it had: put back from a backup, or "
		  "a copy? Nothing on it is trusted, its shards are made anew",
		  s->name);
	events_note(c, "", "server.older", s->name, "%s", "");
	s->older = true;
	s->older_ns = clock_ns();
	keep(c, s, true);
}

/* Under the lock: some volume still has shards there that are not made anew. */
static bool missing_on(const struct cluster *c, const struct server *s)
{
	for (unsigned i = 0; i < c->nvols; i++) {
		const struct vol *v = c->vols[i];

		if (v->state != VOL_READY)
			return true;
		for (unsigned k = 0; k < v->non; k++)
			if (v->on[k].server == s->number && (v->on[k].stale > 0 || v->on[k].older))
				return true;
	}
	return false;
}

static void ages_collected(void *arg)
{
	struct cluster *c = arg;

	for (unsigned i = 0; i < c->nservers; i++) {
		struct server *s = c->servers[i];
		bool over;

		if (!s->older || s->state != SERVER_UP || !s->stat_known ||
		    s->stat_ns <= s->older_ns)
			continue;
		pthread_mutex_lock(&c->lock);
		over = !s->age->behind && !missing_on(c, s);
		if (over)
			s->age->durable = s->stat.log_durable;
		pthread_mutex_unlock(&c->lock);
		if (!over)
			continue;
		s->older = false;
		log_info("server %s: everything on its older store was made anew", s->name);
		keep(c, s, true);
	}
}

void ages_look(struct cluster *c)
{
	bool any = false;

	pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; i < c->nservers; i++) {
		any |= c->servers[i]->older;
		c->servers[i]->age->behind = false;
	}
	pthread_mutex_unlock(&c->lock);
	if (any)
		engine_collect(c, ages_collected, c);
}
