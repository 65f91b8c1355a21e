/*
 * What people want of a server: to stay, to be emptied, to be replaced by another one, to be
 * forgotten. Each is refused, with the reason and what would help, when shards would have no place
 * or could not be made anew. The metadata has it before anything moves.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "log.h"
#include "moving.h"
#include "size.h"
#include "banned.h"

const char *duty_name(const struct server *s)
{
	if (s->duty == DUTY_LOST)
		return "lost";
	if (s->duty == DUTY_DRAIN)
		return s->counted && s->shards == 0 ? "drained" : "draining";
	return s->replaced ? "replaced" : "member";
}

/* ---- what would become of its shards ------------------------------------------------------- */

struct survey {
	struct cluster *cluster;
	const struct server *server;
	unsigned members;	/* that stay, without it */
	uint64_t shards;	/* that it has */
	const struct vol *wide; /* a volume that needs more servers than there are then */
	const struct vol *lost; /* one that cannot be read then */
	uint64_t lost_extents;
};

/* Shards with everything, on servers that are here, or will be. */
static unsigned good_without(struct cluster *c, const struct vol *v, const struct extent_record *r,
			     uint32_t server)
{
	unsigned good = 0;

	for (unsigned i = 0; i < v->k + v->m; i++) {
		const struct server *s = server_by_number(c, r->shard[i].server);

		good += s != NULL && s->number != server && s->duty != DUTY_LOST &&
			(r->stale >> i & 1) == 0;
	}
	return good;
}

static int survey_extent(void *arg, struct vol *v, const struct extent_record *r)
{
	struct survey *u = arg;
	bool there = false;

	for (unsigned i = 0; i < v->k + v->m; i++)
		there |= r->shard[i].server == u->server->number;
	if (!there)
		return 0;
	u->shards++;
	if (good_without(u->cluster, v, r, u->server->number) < v->k) {
		u->lost = v;
		u->lost_extents++;
	}
	return 0;
}

/* Also one that has nothing on this server, or anywhere: it could not be written to. */
static const struct vol *widest(const struct cluster *c, unsigned members)
{
	const struct vol *wide = NULL;

	for (unsigned i = 0; i < c->nvols; i++) {
		const struct vol *v = c->vols[i];

		if (v->state != VOL_DELETING && v->k + v->m > members &&
		    (wide == NULL || v->k + v->m > wide->k + wide->m))
			wide = v;
	}
	return wide;
}

static int survey(struct cluster *c, const struct server *s, struct survey *u, struct refusal *r)
{
	int err;

	*u = (struct survey){.cluster = c, .server = s};
	for (unsigned i = 0; i < c->nservers; i++)
		u->members += c->servers[i] != s && server_is_member(c->servers[i]);
	u->wide = widest(c, u->members);
	err = extents_each(c, survey_extent, u);
	if (err == 0)
		return 0;
	refuse(r, 500, "metadata", "The extent maps cannot be read: %s.", strerror(-err));
	refuse_hint(r, "Look at volmgr's messages.");
	return -1;
}

static int check_servers(const struct survey *u, struct refusal *r)
{
	const struct vol *v = u->wide;

	if (v == NULL)
		return 0;
	refuse(r, 409, "not_enough_servers",
	       "Without server %s there %s %u, and volume %s (%u+%u) needs %u different ones.",
	       u->server->name, u->members == 1 ? "is" : "are", u->members, v->name, v->k, v->m,
	       v->k + v->m);
	refuse_hint(r,
		    "Add a server first (volctl server add ADDR), or: volctl server replace %s "
		    "NEW",
		    u->server->name);
	return -1;
}

static int check_room(struct cluster *c, const struct survey *u, struct refusal *r)
{
	uint64_t need = u->shards * WEFT_SHARD_BYTES, room = 0;
	const struct server *s = u->server;
	char text[2][SIZE_TEXT_MAX];

	if (s->stat_known && s->stat.size_bytes - s->stat.free_bytes < need)
		need = s->stat.size_bytes - s->stat.free_bytes;
	pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; i < c->nservers; i++)
		if (c->servers[i] != s && server_is_member(c->servers[i]))
			room += c->servers[i]->free_bytes;
	pthread_mutex_unlock(&c->lock);
	if (need <= room)
		return 0;
	refuse(r, 409, "no_room", "Server %s holds %s, and the others have only %s free.", s->name,
	       size_format(need, text[0]), size_format(room, text[1]));
	refuse_hint(r, "Add a server (volctl server add ADDR), or delete what is not needed.");
	return -1;
}

/* Its shards are to be made anew: from the others alone. */
static int check_good(const struct survey *u, struct refusal *r)
{
	if (u->lost == NULL)
		return 0;
	refuse(r, 409, "data_lost",
	       "%" PRIu64 " extents (of volume %s, for one) would have too few good shards without "
	       "server %s: what is in them would be lost.",
	       u->lost_extents, u->lost->name, u->server->name);
	refuse_hint(r,
		    "Bring it back, or other servers that are away, and wait for the rebuild. If "
		    "that is impossible, delete the volume.");
	return -1;
}

/* ---- carrying it out ----------------------------------------------------------------------- */

static int duty_set(struct cluster *c, struct server *s, enum server_duty duty, uint32_t into,
		    bool leaving, uint64_t shards, struct refusal *r)
{
	struct server old = *s;
	int err;

	s->duty = duty;
	s->into = into;
	s->leaving = leaving;
	err = server_put(c, s);
	if (err != 0) {
		s->duty = old.duty;
		s->into = old.into;
		s->leaving = old.leaving;
		refuse(r, 500, "metadata", "The metadata could not be written: %s.",
		       strerror(-err));
		refuse_hint(r, "Look at volmgr's messages and at the free space of its state "
			       "directory.");
		return -1;
	}
	pthread_mutex_lock(&c->lock);
	s->usable = duty == DUTY_STAY && (!s->stat_known || s->stat.slots_used < s->stat.slots);
	pthread_mutex_unlock(&c->lock);
	s->shards_0 = s->shards = shards; /* what the last look saw may be old */
	moving_look();
	return 0;
}

static struct server *find(struct cluster *c, const char *name, struct refusal *r)
{
	struct server *s = server_by_name(c, name);

	if (s == NULL)
		refuse_unknown(r, "server", name);
	return s;
}

int duty_drain(struct cluster *c, const char *name, bool stop, struct refusal *r)
{
	struct server *s = find(c, name, r);
	struct survey u;

	if (s == NULL)
		return -1;
	if (s->duty == (stop ? DUTY_STAY : DUTY_DRAIN) && !(stop && s->leaving))
		return 0;
	if (s->duty == DUTY_LOST) {
		refuse(r, 409, "server_lost", "Server %s was given up.", name);
		refuse_hint(r, "Its shards are made anew on other servers; it goes by itself.");
		return -1;
	}
	if (stop)
		return duty_set(c, s, DUTY_STAY, 0, false, s->shards, r);
	if (s->state != SERVER_UP) {
		refuse(r, 409, "server_away", "Server %s is %s: its shards cannot be copied.", name,
		       server_state_name(s));
		refuse_hint(r, "Start it. If it is gone for ever: volctl server remove %s --lost",
			    name);
		return -1;
	}
	if (survey(c, s, &u, r) != 0 || check_servers(&u, r) != 0 || check_room(c, &u, r) != 0 ||
	    duty_set(c, s, DUTY_DRAIN, 0, false, u.shards, r) != 0)
		return -1;
	log_info("server %s: its %" PRIu64 " shards are moved to others", name, u.shards);
	return 0;
}

int duty_finish(struct cluster *c, struct server *s)
{
	struct refusal r;
	struct survey u;
	uint64_t placed;

	pthread_mutex_lock(&c->lock);
	s->usable = false; /* from here on nothing is placed on it */
	placed = s->placed_ns;
	pthread_mutex_unlock(&c->lock);
	if (moving_uses(s->number) || (placed != 0 && clock_ns() - placed < PLACED_RECENTLY_NS))
		return -EBUSY;
	if (survey(c, s, &u, &r) != 0 || u.shards > 0)
		return -EBUSY;
	return server_forget(c, s);
}

static int remove_now(struct cluster *c, struct server *s, struct refusal *r)
{
	int err;

	s->removing = true;
	err = duty_finish(c, s);
	if (err == 0)
		return 0;
	s->removing = false;
	health_now(c); /* it may be used again */
	if (err == -EBUSY) {
		refuse(r, 409, "server_in_use", "A shard was placed on server %s a moment ago.",
		       s->name);
		refuse_hint(r, "Try again in ten seconds.");
	} else {
		refuse(r, 500, "metadata", "The metadata could not be written: %s.",
		       strerror(-err));
	}
	return -1;
}

static int remove_lost(struct cluster *c, struct server *s, const struct survey *u,
		       struct refusal *r)
{
	if (s->state == SERVER_UP) {
		refuse(r, 409, "server_up", "Server %s is up, it is not lost.", s->name);
		refuse_hint(r, "Move its shards away first: volctl server drain %s", s->name);
		return -1;
	}
	if (check_good(u, r) != 0 || check_servers(u, r) != 0 || check_room(c, u, r) != 0 ||
	    duty_set(c, s, DUTY_LOST, 0, true, u->shards, r) != 0)
		return -1;
	log_warn("server %s is given up: its %" PRIu64 " shards are made anew on others", s->name,
		 u->shards);
	return 0;
}

int duty_remove(struct cluster *c, const char *name, bool lost, bool *begun, struct refusal *r)
{
	struct server *s = find(c, name, r);
	struct survey u;

	*begun = false;
	if (s == NULL || survey(c, s, &u, r) != 0)
		return -1;
	if (u.shards == 0 && server_is_member(s) && check_servers(&u, r) != 0)
		return -1;
	if (u.shards == 0)
		return remove_now(c, s, r);
	if (lost) {
		*begun = true;
		return s->duty == DUTY_LOST ? 0 : remove_lost(c, s, &u, r);
	}
	refuse(r, 409, "server_in_use", "Server %s holds %" PRIu64 " shards of volumes.", name,
	       u.shards);
	if (s->state == SERVER_UP)
		refuse_hint(r, "Move them to other servers first: volctl server drain %s", name);
	else
		refuse_hint(r, "If it is gone for ever: volctl server remove %s --lost", name);
	return -1;
}

int duty_replace(struct cluster *c, const char *name, const char *by, struct refusal *r)
{
	struct server *s = find(c, name, r), *to = s == NULL ? NULL : find(c, by, r);
	bool up = s != NULL && s->state == SERVER_UP;
	struct survey u;

	if (to == NULL)
		return -1;
	if (s == to || !server_is_member(to) || to->state != SERVER_UP) {
		refuse(r, 409, "bad_replacement", "Server %s cannot take the place of %s: it %s.",
		       by, name,
		       s == to		       ? "is the same"
		       : !server_is_member(to) ? "is on its way out itself"
					       : "is not up");
		refuse_hint(r, "Add a new one: volctl server add ADDR");
		return -1;
	}
	if (survey(c, s, &u, r) != 0 || check_servers(&u, r) != 0 || check_room(c, &u, r) != 0 ||
	    (!up && check_good(&u, r) != 0))
		return -1;
	if (duty_set(c, s, up ? DUTY_DRAIN : DUTY_LOST, to->number, true, u.shards, r) != 0)
		return -1;
	log_info("server %s is replaced by %s: %" PRIu64 " shards move", name, by, u.shards);
	return 0;
}
