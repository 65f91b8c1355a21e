/*
 * The extent map in memory: which servers have the shards of an extent. A table of pages, indexed
 * by the extent's number, so that looking up takes no search and listing is in order.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "log.h"
#include "stripe/engine.h"

#include "banned.h"

struct extent *extent_find(const struct volume *v, uint64_t number)
{
	uint64_t page = number / EXTENT_PAGE;

	if (page >= v->npages || v->pages[page] == NULL)
		return NULL;
	return v->pages[page][number % EXTENT_PAGE];
}

static struct extent **extent_slot(struct volume *v, uint64_t number)
{
	uint64_t page = number / EXTENT_PAGE;

	if (page >= v->npages) {
		size_t n = page + 1 + page / 2;
		struct extent ***grown = realloc(v->pages, n * sizeof(*grown));

		if (grown == NULL)
			return NULL;
		memset(grown + v->npages, 0, (n - v->npages) * sizeof(*grown));
		v->pages = grown;
		v->npages = n;
	}
	if (v->pages[page] == NULL)
		v->pages[page] = calloc(EXTENT_PAGE, sizeof(*v->pages[page]));
	return v->pages[page] == NULL ? NULL : &v->pages[page][number % EXTENT_PAGE];
}

struct extent *extent_get(struct volume *v, uint64_t number)
{
	struct extent **slot = extent_slot(v, number);

	if (slot == NULL)
		return NULL;
	if (*slot == NULL) {
		struct extent *x = calloc(1, sizeof(*x) + v->shards * sizeof(struct place));

		if (x == NULL)
			return NULL;
		x->number = number;
		*slot = x;
	}
	return *slot;
}

void extent_forget(struct volume *v, struct extent *x)
{
	struct extent **slot = extent_slot(v, x->number);

	assert(slot != NULL && *slot == x && x->busy == 0 && x->placing == NULL);
	if (x->state == EXTENT_READY) {
		x->state = EXTENT_DROPPING;
		extent_changed(v, x);
	}
	assert(x->counted == 0);
	*slot = NULL;
	if (x->state == EXTENT_READY || x->state == EXTENT_DROPPING) {
		v->stat.extents--;
		rebuild_count(v, -__builtin_popcount(x->stale));
		extent_hopeless(v, x, false);
	}
	free(x);
}

struct extent *extent_next(const struct volume *v, uint64_t from)
{
	for (uint64_t page = from / EXTENT_PAGE; page < v->npages; page++) {
		uint64_t i = page == from / EXTENT_PAGE ? from % EXTENT_PAGE : 0;

		if (v->pages[page] == NULL)
			continue;
		for (; i < EXTENT_PAGE; i++)
			if (v->pages[page][i] != NULL)
				return v->pages[page][i];
	}
	return NULL;
}

void extents_free(struct volume *v)
{
	for (size_t page = 0; page < v->npages; page++) {
		if (v->pages[page] == NULL)
			continue;
		for (size_t i = 0; i < EXTENT_PAGE; i++)
			free(v->pages[page][i]);
		free(v->pages[page]);
	}
	free(v->pages);
	v->pages = NULL;
	v->npages = 0;
}

int volume_add_extent(struct volume *v, const struct extent_record *r)
{
	struct extent *x;

	assert(v->state == VOLUME_NEW);
	if (r->extent > VOLUME_SIZE_MAX / v->l.extent)
		return -EINVAL;
	x = extent_get(v, r->extent);
	if (x == NULL)
		return -ENOMEM;
	if (x->state != EXTENT_NEW)
		return -EEXIST;
	for (unsigned i = 0; i < v->shards; i++) {
		x->place[i].server = server_get(v, r->shard[i].server);
		if (x->place[i].server == NULL)
			return -ENOMEM;
		x->place[i].slot = r->shard[i].slot;
		x->place[i].slot_gen = r->shard[i].slot_gen;
	}
	x->generation = r->generation;
	x->stale = r->stale;
	x->mark = r->mark;
	x->untold = r->mark == 0 || r->stale == 0 ? 0 : (1u << v->shards) - 1;
	if (v->last_mark < r->mark)
		v->last_mark = r->mark;
	x->state = EXTENT_READY;
	extent_changed(v, x);
	v->stat.extents++;
	rebuild_count(v, __builtin_popcount(x->stale));
	if (r->generation >= v->generation_min)
		v->generation_min = r->generation + 1;
	return 0;
}

void extent_record_of(const struct volume *v, const struct extent *x, struct extent_record *r)
{
	memset(r, 0, sizeof(*r));
	r->extent = x->number;
	r->generation = x->generation;
	r->stale = x->stale;
	r->mark = x->mark;
	for (unsigned i = 0; i < v->shards; i++) {
		if (x->place[i].server == NULL)
			continue;
		r->shard[i].server = x->place[i].server->number;
		r->shard[i].slot = x->place[i].slot;
		r->shard[i].slot_gen = x->place[i].slot_gen;
	}
}

void extent_changed(struct volume *v, struct extent *x)
{
	uint32_t readable = x->state == EXTENT_READY ? ~x->stale : 0;
	struct extent_record r;

	spare_count(v, x);
	if (v->config.ops->changed == NULL)
		return;
	extent_record_of(v, x, &r);
	v->config.ops->changed(v->config.ctx, v, &r, readable);
}

void volume_changed(struct volume *v)
{
	if (v->config.ops->changed != NULL)
		v->config.ops->changed(v->config.ctx, v, NULL, 0);
}

bool volume_is_running(const struct volume *v)
{
	return v->state == VOLUME_RUNNING;
}

bool volume_is_fenced(const struct volume *v)
{
	return v->state == VOLUME_FENCED;
}

bool volume_server_ok(const struct volume *v, uint32_t server)
{
	for (unsigned i = 0; i < v->nservers; i++)
		if (v->servers[i]->number == server)
			return server_ok(v->servers[i]);
	return false;
}

/* Shards that can be read and written now. */
uint32_t extent_usable(const struct volume *v, const struct extent *x)
{
	uint32_t usable = 0;

	for (unsigned i = 0; i < v->shards; i++)
		if (server_ok(x->place[i].server))
			usable |= 1u << i;
	return usable & ~x->stale;
}

uint32_t extent_usable_at(const struct volume *v, const struct extent *x, uint64_t stripe)
{
	uint32_t has = x->rebuild == NULL
			       ? 0
			       : rebuild_has(x, (uint32_t)(stripe & ((1u << v->l.spe_shift) - 1)));

	return extent_usable(v, x) | has;
}

uint32_t extent_whole(const struct volume *v, const struct extent *x)
{
	return extent_usable(v, x) | (x->rebuild == NULL ? 0 : rebuild_complete(x));
}

void extent_unbusy(struct volume *v, struct extent *x)
{
	assert(x->busy > 0);
	if (--x->busy > 0)
		return;
	if (x->state == EXTENT_DROPPING) {
		extent_drop_advance(v, x);
	} else if (x->state == EXTENT_NEW) {
		extent_forget(v, x);
		volume_wake(v); /* ops that wait for the extent: it could not be placed */
	}
}

/* ---- stale marks --------------------------------------------------------------------------- */
/*
 * One record of an extent is on its way at a time. What changes meanwhile makes it dirty: then
 * another follows. When the last one is durable, those marks that were to be taken back are gone;
 * and when the servers were told (tell.c), too, the others count as durable.
 */

struct mark {
	struct volume *v;
	struct extent *x;
};

static void mark_later(struct volume *v, struct extent *x)
{
	x->put_again = true;
	v->config.env->ops->timer_set(v->config.env, &v->put_timer,
				      volume_now(v) + PUT_RETRY_MS * NS_PER_MS);
}

/*
 * The metadata says that these are good, so they are: when the server of one goes now, it is away,
 * and waited for if it is needed, not rebuilt once more from others that may be gone for good.
 */
static void mark_cleared(struct volume *v, struct extent *x)
{
	rebuild_count(v, -__builtin_popcount(x->stale & x->clear));
	x->stale &= ~x->clear;
	x->clear = 0;
	spare_count(v, x);
}

/* What was to be marked is. */
static void mark_durable(struct volume *v, struct extent *x)
{
	extent_changed(v, x);
	v->marks -= x->marking;
	x->marking = false;
	rebuild_recorded(v, x);
	carry_recorded(x);
	rebuild_consider(v, x);
	moves_recorded(v, x, 0);
	volume_unstall(v);
	if (v->marks == 0)
		flush_marked(v);
}

static void mark_told(struct volume *v, struct extent *x)
{
	x->putting = false;
	if (x->put_dirty)
		extent_record(v, x);
	else
		mark_durable(v, x);
	extent_unbusy(v, x);
}

static void mark_done(void *arg, int err)
{
	struct mark *mark = arg;
	struct volume *v = mark->v;
	struct extent *x = mark->x;

	free(mark);
	v->background--;
	x->putting = false;
	if (err != 0) {
		log_error("volume %s: extent %llu: cannot record stale shards: %s", v->name,
			  (unsigned long long)x->number, strerror(-err));
		mark_later(v, x);
	} else if (x->put_dirty) {
		extent_record(v, x);
	} else { /* the servers are told, too */
		x->putting = true;
		mark_cleared(v, x);
		extent_tell(v, x, x->mark, x->stale, mark_told);
		return;
	}
	extent_unbusy(v, x);
}

void extent_record(struct volume *v, struct extent *x)
{
	struct mark *mark;
	struct extent_record r;

	if (x->state == EXTENT_DROPPING && x->drop == NULL)
		return; /* its end is on its way to the metadata; see trim.c */
	x->put_dirty = x->putting;
	if (x->putting)
		return;
	mark = malloc(sizeof(*mark));
	if (mark == NULL) {
		mark_later(v, x);
		return;
	}
	mark->v = v;
	mark->x = x;
	x->putting = true;
	x->busy++;
	x->mark = ++v->last_mark;
	extent_record_of(v, x, &r);
	r.stale &= ~x->clear;
	v->background++;
	v->config.ops->extents_put(v->config.ctx, v, &r, 1, false, mark_done, mark);
}

/*
 * These shards miss something: they are not read from now on, and writes of the extent wait until
 * that is durable.
 */
void extent_mark_stale(struct volume *v, struct extent *x, uint32_t shards)
{
	uint32_t marked = x->stale & ~x->clear;

	if ((shards & ~marked) == 0)
		return;
	log_debug("volume %s: extent %llu: shards 0x%x miss writes and are stale now", v->name,
		  (unsigned long long)x->number, shards & ~marked);
	if (x->state == EXTENT_READY || x->state == EXTENT_DROPPING)
		rebuild_count(v, __builtin_popcount(shards & ~x->stale));
	x->stale |= shards;
	extent_changed(v, x);
	x->clear &= ~shards;
	v->marks += !x->marking;
	x->marking = true;
	extent_record(v, x);
}

/* Too few to go on without these, or too few to be read if volmgr began anew: what was rebuilt and
 * is not settled yet counts for writes, but its marks are still there. */
static bool too_few_without(const struct volume *v, const struct extent *x, uint32_t shards)
{
	uint32_t trusted = ((1u << v->shards) - 1) & ~x->stale & ~shards;

	return (unsigned)__builtin_popcount(extent_whole(v, x)) < v->min ||
	       (unsigned)__builtin_popcount(trusted) < v->l.k;
}

enum leave extent_leave_out(struct volume *v, struct extent *x, uint32_t shards)
{
	shards &= ~x->stale;
	for (unsigned i = 0; i < v->shards; i++)
		if ((shards >> i & 1) != 0 && !server_gone(shard_server(x, i)))
			return LEAVE_SOON;
	if (shards != 0 && too_few_without(v, x, shards))
		return LEAVE_BELOW;
	if (shards != 0 && !others_confirmed(v, x, shards))
		return LEAVE_SOON;
	extent_mark_stale(v, x, shards);
	return LEAVE_MARKED;
}

bool extent_give_up(struct volume *v, struct extent *x, uint32_t shards)
{
	shards &= ~x->stale;
	for (unsigned i = 0; i < v->shards; i++)
		if ((shards >> i & 1) != 0 && !server_gone(shard_server(x, i)))
			return false;
	if (shards != 0 && ((unsigned)__builtin_popcount(extent_usable(v, x)) < v->l.k ||
			    !others_confirmed(v, x, shards)))
		return false;
	extent_mark_stale(v, x, shards);
	return true;
}

void extent_lost(struct volume *v, struct extent *x, unsigned shard)
{
	uint32_t left = ((1u << v->shards) - 1) & ~x->stale & ~(1u << shard);

	if ((x->stale >> shard & 1) == 0 && (unsigned)__builtin_popcount(left) < v->l.k)
		reopen_want(v);
	else
		extent_mark_stale(v, x, 1u << shard);
}

void extent_put_retry(struct io_timer *t)
{
	struct volume *v = (struct volume *)((char *)t - offsetof(struct volume, put_timer));

	v->placings_changed = true;
	volume_wake(v);
	for (struct extent *x = extent_next(v, 0); x != NULL; x = extent_next(v, x->number + 1)) {
		if (!x->put_again)
			continue;
		x->put_again = false;
		extent_record(v, x);
	}
}
