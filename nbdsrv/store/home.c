/*
 * Carrying committed bytes home: a whole granule is taken over by its map entry; smaller pieces are
 * written into the granule, in place, since the log still has them. The entry changes when the
 * bytes are on their way to be synced; until then reads are answered from memory.
 */
#include "config.h"

#include <sys/uio.h>

#include "store/store_internal.h"

#include "banned.h"

static struct part *reverse(struct part *list)
{
	struct part *out = NULL;

	while (list != NULL) {
		struct part *next = list->older;

		list->older = out;
		out = list;
		list = next;
	}
	return out;
}

static void apply(const struct part *p, struct disk_entry *e, bool *need)
{
	if (p->kind == PART_ZERO) {
		e->present &= (uint16_t)~p->mask;
		for (unsigned b = 0; b < GRANULE_BLOCKS; b++) /* see entry_doubt() */
			e->crc[b] = (p->mask & (1u << b)) != 0 ? 0 : e->crc[b];
		if (e->present == 0) {
			e->phys = 0;
			*need = false;
		}
		return;
	}
	if (p->kind == PART_FRESH) {
		e->phys = p->phys;
		*need = false;
	} else if (e->phys == 0) {
		*need = true;
	}
	e->present |= p->mask;
	for (unsigned b = 0; b < GRANULE_BLOCKS; b++)
		if ((p->mask & (1u << b)) != 0)
			e->crc[b] = htole32(p->crc[b]);
}

void home_target(struct store *s, struct gran *g, struct disk_entry *e, bool *need)
{
	*e = *map_entry(s, g->index);
	e->phys = le32toh(e->phys);
	e->present = le16toh(e->present);
	if (e->phys == 0 || e->present == 0)
		memset(e, 0, sizeof(*e));
	*need = false;
	g->newest = reverse(g->newest); /* oldest first, for a moment */
	for (const struct part *p = g->newest; p != NULL; p = p->older)
		if (p->ptx->state == PTX_READY)
			apply(p, e, need);
	g->newest = reverse(g->newest);
}

static void part_end(struct store *s, struct part *p)
{
	struct ptx *t = p->ptx;

	if (p->kind == PART_LOG)
		s->unhomed_bytes -= (uint64_t)__builtin_popcount(p->mask) * WEFT_BLOCK_BYTES;
	part_remove(s, p);
	part_drop_memory(s, p);
	if (--t->parts_left == 0)
		ptx_put(s, t);
}

/* All is written: the entry says so from now on. */
static void finish(struct home *h)
{
	struct store *s = h->store;
	struct gran *g = h->gran;
	struct disk_entry e = h->target;
	struct part *p, *older;
	bool in_log = false;

	e.phys = htole32(e.phys);
	e.present = htole16(e.present);
	map_set(s, g->index, &e);
	for (p = g->newest; p != NULL; p = older) {
		older = p->older;
		if (!p->homing) {
			in_log |= p->kind == PART_LOG;
			continue;
		}
		if (p->kind == PART_FRESH && p->phys != 0 && p->phys != h->target.phys)
			granule_free(s, p->phys);
		part_end(s, p);
	}
	if (h->target.phys == 0 && in_log && !g->reserved) {
		/* the granule that has just become free stays kept for what is prepared */
		assert(s->granules_free > s->granules_reserved);
		s->granules_reserved++;
		g->reserved = true;
	}
	g->homing = false;
	if (g->again)
		gran_make_dirty(s, g);
	g->again = false;
	gran_rest(s, g);
}

/* Does the checkpoint wait for it? What becomes dirty later must not hold it up. */
static bool home_awaited(const struct home *h)
{
	return h->store->ckpt.state == CKPT_HOME && h->stamp <= h->store->ckpt.stamp;
}

/* The disk is full: as it was before, and once more a little later. */
static void postpone(struct home *h)
{
	struct store *s = h->store;
	struct gran *g = h->gran;

	if (h->fresh) {
		granule_free(s, h->target.phys);
		if (!g->reserved)
			s->granules_reserved++;
		g->reserved = true;
	}
	for (struct part *p = g->newest; p != NULL; p = p->older)
		p->homing = false;
	g->homing = g->again = false;
	gran_make_dirty(s, g);
	s->home_wait_ns = s->env->ops->now_ns(s->env) + HOME_RETRY_MS * NS_PER_MS;
}

static void home_end(struct home *h)
{
	struct store *s = h->store;

	if (h->error == ENOSPC && !s->closing) {
		postpone(h);
	} else if (h->error != 0) {
		/* the bytes stay in memory and in the log; h->gran stays as it is for ever */
		s->stat.io_errors++;
		store_fail(s, h->error, "writing into the data area");
	} else {
		finish(h);
	}
	if (home_awaited(h))
		s->ckpt.homing--;
	slab_put(&s->homes, h);
	s->homing--;
	s->busy--;
}

static void run_done(struct disk_op *op, int64_t res)
{
	struct home_run *run = (struct home_run *)((char *)op - offsetof(struct home_run, op));
	struct home *h = run->home;
	struct store *s = h->store;

	if (res < 0)
		h->error = (int)-res;
	if (--h->pending > 0)
		return;
	home_end(h);
	home_kick(s, false);
	ckpt_step(s);
	store_rest(s);
}

/* The newest ready part that has the block, when its bytes are to be written. */
static const struct part *to_write(const struct gran *g, unsigned block)
{
	for (const struct part *p = g->newest; p != NULL; p = p->older)
		if (p->homing && (p->mask & (1u << block)) != 0)
			return p->kind == PART_LOG ? p : NULL;
	return NULL;
}

static bool write_now(struct store *s, const struct iovec *iov, unsigned n, uint64_t at)
{
	if (s->disk->ops->write_now == NULL)
		return false;
	for (unsigned i = 0; i < n; i++) {
		if (s->disk->ops->write_now(s->disk, iov[i].iov_base, (uint32_t)iov[i].iov_len,
					    at) != (int)iov[i].iov_len)
			return false;
		at += iov[i].iov_len;
	}
	return true;
}

static void write_runs(struct home *h)
{
	struct store *s = h->store;
	uint64_t base = granule_offset(s, h->target.phys);
	struct iovec iov[GRANULE_BLOCKS];
	unsigned runs = 0;

	for (unsigned b = 0; b < GRANULE_BLOCKS;) {
		unsigned start = b, n = 0;
		const struct part *p;

		for (; b < GRANULE_BLOCKS && (p = to_write(h->gran, b)) != NULL; b++) {
			uint8_t *data = part_data(p, b);

			if (n > 0 && (uint8_t *)iov[n - 1].iov_base + iov[n - 1].iov_len == data) {
				iov[n - 1].iov_len += WEFT_BLOCK_BYTES;
				continue;
			}
			iov[n].iov_base = data;
			iov[n++].iov_len = WEFT_BLOCK_BYTES;
		}
		if (n == 0) {
			b++;
			continue;
		}
		if (write_now(s, iov, n, base + start * WEFT_BLOCK_BYTES))
			continue;
		assert(runs < HOME_RUNS_MAX);
		h->run[runs].home = h;
		h->run[runs].op.done = run_done;
		h->pending++;
		s->disk->ops->writev(s->disk, &h->run[runs].op, iov, (int)n,
				     base + start * WEFT_BLOCK_BYTES);
		runs++;
	}
}

/* A place for bytes that have none: the granule that was there, or the one kept for them. */
static uint32_t new_phys(struct store *s, struct gran *g)
{
	uint32_t old = le32toh(map_entry(s, g->index)->phys);

	if (old != 0)
		return old;
	assert(g->reserved);
	g->reserved = false;
	return granule_alloc(s, true);
}

/* false: no memory now, or the store has failed */
static bool home_start(struct store *s, struct gran *g)
{
	struct home *h = map_sound(s, g->index) ? slab_get(&s->homes) : NULL;
	bool need;

	if (h == NULL)
		return false;
	h->store = s;
	h->gran = g;
	home_target(s, g, &h->target, &need);
	if (need) {
		h->fresh = map_entry(s, g->index)->phys == 0;
		h->target.phys = new_phys(s, g);
	}
	for (struct part *p = g->newest; p != NULL; p = p->older)
		p->homing = p->ptx->state == PTX_READY;
	g->homing = true;
	s->homing++;
	h->stamp = g->dirty_stamp;
	if (home_awaited(h))
		s->ckpt.homing++;
	s->busy++;
	if (h->target.phys != 0)
		write_runs(h);
	if (h->pending == 0)
		home_end(h);
	return true;
}

/*
 * A part that fills its granule, with nothing newer that is ready, has nothing to be written: the
 * granule it replaces is free at once, and is taken, still warm, by one of the next writes. Waiting
 * would have a store that is overwritten go round through all its free space.
 */
bool home_whole(struct store *s, struct part *whole)
{
	struct gran *g = whole->gran;

	if (whole->kind != PART_FRESH || g->homing || g->dirty)
		return false;
	for (const struct part *p = g->newest; p != whole; p = p->older)
		if (p->ptx->state == PTX_READY)
			return false;
	return home_start(s, g);
}

static bool has_ready(const struct gran *g)
{
	for (const struct part *p = g->newest; p != NULL; p = p->older)
		if (p->ptx->state == PTX_READY)
			return true;
	return false;
}

static void home_run(struct io_task *t)
{
	struct store *s = (struct store *)((char *)t - offsetof(struct store, home_task));

	for (unsigned n = 0; n < HOME_TURN_MAX && s->dirty != NULL && s->failed == 0 &&
			     s->home_wait_ns == 0 && s->homing < HOME_INFLIGHT_MAX;
	     n++) {
		struct gran *g = s->dirty;

		s->dirty = g->dirty_next;
		g->dirty = false;
		if (g->homing)
			g->again = true;
		else if (has_ready(g)) {
			if (!home_start(s, g)) {
				gran_make_dirty(s, g);
				break;
			}
		} else
			gran_rest(s, g);
	}
	if (s->dirty == NULL)
		s->home_now = false;
	else
		home_kick(s, false);
	ckpt_step(s);
	store_rest(s);
}

static void home_timer(struct io_timer *t)
{
	struct store *s = (struct store *)((char *)t - offsetof(struct store, home_timer));

	s->home_wait_ns = 0;
	home_kick(s, true);
}

void home_init(struct store *s)
{
	s->home_task.run = home_run;
	s->home_timer.fire = home_timer;
}

void home_kick(struct store *s, bool now)
{
	s->home_now |= now;
	if (s->dirty == NULL || s->failed != 0)
		return;
	if (s->home_wait_ns != 0) {
		s->env->ops->timer_set(s->env, &s->home_timer, s->home_wait_ns);
		return;
	}
	if (s->home_now || s->unhomed_bytes > HOME_BYTES_START) {
		if (s->homing < HOME_INFLIGHT_MAX)
			s->env->ops->defer(s->env, &s->home_task);
	} else if (s->home_timer.at_ns == 0) {
		s->env->ops->timer_set(s->env, &s->home_timer,
				       s->env->ops->now_ns(s->env) + HOME_DELAY_MS * NS_PER_MS);
	}
}
