/*
 * What the client asks for: reads and changes of all sizes in a few small areas, so that they meet;
 * flushes now and then; many at once. And the last look at everything.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "nbd/proto.h"
#include "sim.h"

#define AREAS	    4
#define LARGE_MAX   (512u << 10)
#define HEAVY_BYTES (1u << 20)
#define CHECK_STEP  (128u << 10)
#define CHECKS	    4 /* reads at once */

struct area {
	uint64_t offset;
	uint32_t len;
};

struct lreq {
	struct client_req r; /* first */
	struct load *l;
	uint64_t since;
	unsigned handle;
	uint64_t number;
	bool check;
};

struct load {
	struct sim *sim;
	struct area areas[AREAS];
	unsigned nareas;
	unsigned depth;
	uint64_t hold_ns; /* no requests before that */
	unsigned think_us;
	bool heavy;	 /* so much that logs are used up */
	bool wide;	 /* whole extents are given back, and the volume shrinks for a moment */
	uint64_t number; /* of writes */
	uint64_t requests;
	unsigned left; /* to be submitted */
	unsigned running;
	struct event next;
	/* the check */
	bool checking, flushing, flushed;
	unsigned check_area, checks;
	uint32_t check_at;
	struct area again[CHECKS];
	unsigned nagain;
};

static void load_next(struct event *e);
static void check_go(struct load *l);

struct load *load_new(struct sim *s)
{
	struct load *l = world_alloc(sizeof(*l));
	uint64_t extent = (uint64_t)s->g.k * WEFT_SHARD_BYTES, extents = s->g.size / extent;

	l->sim = s;
	l->heavy = sim_below(s, 25) == 0;
	l->wide = sim_below(s, 5) == 0;
	/* a rebuild must fit into a quarter of a short log */
	l->nareas = l->heavy ? 1 : 1 + sim_below(s, AREAS);
	for (unsigned i = 0; i < l->nareas; i++) {
		struct area *a = &l->areas[i];
		uint64_t base = sim_below(s, (uint32_t)extents) * extent;

		a->len = l->heavy ? HEAVY_BYTES : (16 + sim_below(s, 64)) * SIM_BLOCK;
		/* near the start of an extent, or over its end */
		a->offset = base + sim_below(s, 64) * (uint64_t)SIM_BLOCK;
		if (sim_below(s, 4) == 0 && base > 0)
			a->offset = base - sim_below(s, a->len / SIM_BLOCK) * (uint64_t)SIM_BLOCK;
		if (a->offset + a->len > s->g.size)
			a->offset = s->g.size - a->len;
	}
	l->depth = 1 + sim_below(s, 12);
	l->think_us = 1u << sim_below(s, 11);
	l->next = (struct event){.fn = load_next, .proc = client_proc(s->client)};
	return l;
}

void load_free(struct load *l)
{
	free(l);
}

/* ---- answers ------------------------------------------------------------------------------- */

static void load_wake(struct load *l, uint64_t delay_ns)
{
	if (!l->next.queued)
		sim_at(l->sim, &l->next, delay_ns);
}

static bool changes(uint16_t type)
{
	return type == NBD_CMD_WRITE || type == NBD_CMD_WRITE_ZEROES || type == NBD_CMD_TRIM;
}

static void check_answered(struct lreq *q, int error)
{
	struct load *l = q->l;

	l->checks--;
	if (q->r.type == NBD_CMD_FLUSH) {
		l->flushing = false;
		l->flushed = error == 0;
	} else if (error != 0) {
		l->again[l->nagain++] = (struct area){q->r.offset, q->r.len};
	}
	if (q->r.type == NBD_CMD_FLUSH && model_was_loose(l->sim->model, q->since))
		return; /* it tells of the loss, once */
	if (error > 0)
		sim_fail(l->sim, "with all faults gone, %s at %llu fails with error %d",
			 q->r.type == NBD_CMD_FLUSH ? "a flush" : "a read",
			 (unsigned long long)q->r.offset, error);
}

static void answered(struct client_req *r, int error)
{
	struct lreq *q = (struct lreq *)r;
	struct load *l = q->l;
	struct model *m = l->sim->model;

	sim_note(l->sim, error == 0 ? "answered" : "failed", "client", q->number,
		 (uint64_t)(int64_t)error);
	if (error > 0 && !faults_allow_error(l->sim->faults, r->type, q->since, error))
		sim_fail(l->sim, "request %llu of type %u fails with error %d",
			 (unsigned long long)q->number, r->type, error);
	if (error == 0 && changes(r->type))
		faults_acked(l->sim->faults, q->since);
	if (error == 0 && changes(r->type) && q->handle != 0)
		model_acked(m, q->handle, (r->flags & NBD_CMD_FLAG_FUA) != 0);
	else if (error == 0 && r->type == NBD_CMD_FLUSH)
		model_flushed(m, q->since);
	else if (error == 0 && r->type == NBD_CMD_READ)
		model_read(m, q->since, r->offset, r->data, r->len);
	l->running--;
	if (q->check)
		check_answered(q, error);
	free(r->data);
	free(q);
	if (l->checking)
		load_wake(l, 1000);
	else if (l->left > 0)
		load_wake(l, 1000 + sim_below(l->sim, l->think_us * 1000));
}

/* ---- requests ------------------------------------------------------------------------------ */

static void submit(struct load *l, uint16_t type, uint16_t flags, uint64_t offset, uint32_t len,
		   bool check)
{
	struct lreq *q = world_alloc(sizeof(*q));
	struct sim *s = l->sim;

	q->l = l;
	q->number = ++l->requests;
	q->check = check;
	q->since = model_moment(s->model);
	q->r.type = type;
	q->r.flags = flags;
	q->r.offset = offset;
	q->r.len = len;
	q->r.done = answered;
	if (type == NBD_CMD_READ || type == NBD_CMD_WRITE)
		q->r.data = world_malloc(len);
	if (type == NBD_CMD_WRITE) {
		l->number++;
		model_bytes(s->model, l->number, offset, q->r.data, len);
		q->handle = model_write(s->model, l->number, offset, len);
	} else if (type == NBD_CMD_WRITE_ZEROES) {
		q->handle = model_write(s->model, 0, offset, len);
	} else if (type == NBD_CMD_TRIM) { /* what is not a whole block stays */
		uint64_t from = (offset + SIM_BLOCK - 1) / SIM_BLOCK * SIM_BLOCK;
		uint64_t to = (offset + len) / SIM_BLOCK * SIM_BLOCK;

		if (from < to)
			q->handle = model_write(s->model, 0, from, (uint32_t)(to - from));
	}
	sim_note(s, flags != 0 ? "asks FUA" : "asks", "client", (uint64_t)type << 32 | q->number,
		 offset << 24 | len);
	l->running++;
	client_submit(s->client, sim_below(s, client_connections(s->client)), &q->r);
}

static void random_range(struct load *l, uint64_t *offset, uint32_t *len)
{
	struct sim *s = l->sim;
	const struct area *a = &l->areas[sim_below(s, l->nareas)];
	uint32_t at, n;

	switch (l->heavy ? 2 : sim_below(s, 8)) {
	case 0: /* bytes */
		n = 1 + sim_below(s, 3 * SIM_BLOCK);
		at = sim_below(s, a->len - n);
		break;
	case 1: /* sectors */
		n = (1 + sim_below(s, 24)) * 512;
		at = sim_below(s, (a->len - n) / 512) * 512;
		break;
	case 2: /* much */
		n = a->len < LARGE_MAX ? a->len : LARGE_MAX;
		n = (1 + sim_below(s, n / SIM_BLOCK)) * SIM_BLOCK;
		at = sim_below(s, (a->len - n) / SIM_BLOCK + 1) * SIM_BLOCK;
		break;
	case 3: /* a whole unit or stripe */
		n = sim_below(s, 2) == 0 ? s->g.unit : s->g.unit * s->g.k;
		if (n > a->len)
			n = a->len;
		at = (uint32_t)((n - a->offset % n) % n);
		if (at > a->len - n)
			at = a->len - n;
		break;
	default: /* a few blocks */
		n = (1 + sim_below(s, 4)) * SIM_BLOCK;
		at = sim_below(s, (a->len - n) / SIM_BLOCK) * SIM_BLOCK;
	}
	*offset = a->offset + at;
	*len = n;
}

/* An extent, or all from one on. */
static void wide_range(struct load *l, uint64_t *offset, uint32_t *len)
{
	struct sim *s = l->sim;
	uint64_t extent = (uint64_t)s->g.k * WEFT_SHARD_BYTES;

	*offset = sim_below(s, (uint32_t)(s->g.size / extent)) * extent;
	*len = (uint32_t)(sim_below(s, 2) == 0 ? extent : s->g.size - *offset);
}

struct resize {
	struct load *l;
	unsigned handle;
};

static void resized(void *arg, bool durable)
{
	struct resize *r = arg;

	if (durable)
		model_acked(r->l->sim->model, r->handle, true);
	free(r);
}

/* What was behind the smaller size is zeros then. */
static void submit_resize(struct load *l)
{
	struct sim *s = l->sim;
	uint64_t size = sim_below(s, (uint32_t)(s->g.size / SIM_BLOCK)) * (uint64_t)SIM_BLOCK;
	uint32_t len = (uint32_t)(s->g.size - size);
	struct resize *r;

	if (!faults_may_resize(s->faults) || !model_room(s->model, size, len))
		return;
	r = world_alloc(sizeof(*r));
	r->l = l;
	r->handle = model_write(s->model, 0, size, len);
	sim_note(s, "resizes", "client", size, 0);
	faults_resize(s->faults, size, resized, r);
}

static void submit_random(struct load *l)
{
	static const uint16_t types[] = {
		NBD_CMD_READ,  NBD_CMD_READ,  NBD_CMD_READ,	    NBD_CMD_WRITE, NBD_CMD_WRITE,
		NBD_CMD_WRITE, NBD_CMD_WRITE, NBD_CMD_WRITE_ZEROES, NBD_CMD_TRIM,  NBD_CMD_FLUSH,
	};
	struct sim *s = l->sim;
	uint16_t type = types[sim_below(s, sizeof(types) / sizeof(types[0]))], flags = 0;
	uint64_t offset = 0;
	uint32_t len = 0;

	if (type == NBD_CMD_FLUSH) {
		submit(l, type, 0, 0, 0, false);
		return;
	}
	random_range(l, &offset, &len);
	if (changes(type) && !model_room(s->model, offset, len))
		type = NBD_CMD_READ;
	if (l->wide && (type == NBD_CMD_TRIM || type == NBD_CMD_WRITE_ZEROES) &&
	    sim_below(s, 4) == 0) {
		wide_range(l, &offset, &len);
		if (!model_room(s->model, offset, len))
			return;
	}
	if (changes(type) && sim_chance(s, 60))
		flags = NBD_CMD_FLAG_FUA;
	submit(l, type, flags, offset, len, false);
}

static void load_next(struct event *e)
{
	struct load *l = (struct load *)((char *)e - offsetof(struct load, next));
	struct sim *s = l->sim;

	if (client_connections(s->client) == 0) {
		load_wake(l, 5 * NS_PER_MS);
		return;
	}
	if (l->checking) {
		check_go(l);
		return;
	}
	if (l->left == 0)
		return;
	if (l->hold_ns > s->now_ns) {
		load_wake(l, l->hold_ns - s->now_ns);
		return;
	}
	if (l->running >= l->depth)
		return; /* an answer wakes it */
	l->left--;
	if (l->wide && sim_below(s, 50) == 0)
		submit_resize(l);
	proc_enter(client_proc(s->client));
	submit_random(l);
	proc_leave(client_proc(s->client));
	if (l->left == 0)
		return;
	if (sim_chance(s, 15))
		load_wake(l, sim_below(s, 3000) * NS_PER_MS);
	else
		load_wake(l, sim_below(s, l->think_us * 1000));
}

void load_run(struct load *l, unsigned requests)
{
	l->left = l->heavy ? 2 * requests : requests;
	l->checking = false;
	load_wake(l, 1000);
}

void load_hold(struct load *l, uint64_t ns)
{
	l->hold_ns = l->sim->now_ns + ns;
}

void load_pause(struct load *l)
{
	l->left = 0;
}

bool load_idle(const struct load *l)
{
	return l->left == 0 && l->running == 0;
}

/* ---- the check ----------------------------------------------------------------------------- */

static bool check_area(struct load *l, struct area *a)
{
	if (l->nagain > 0) {
		*a = l->again[--l->nagain];
		return true;
	}
	while (l->check_area < l->nareas) {
		const struct area *all = &l->areas[l->check_area];

		if (l->check_at < all->len) {
			a->offset = all->offset + l->check_at;
			a->len = all->len - l->check_at;
			if (a->len > CHECK_STEP)
				a->len = CHECK_STEP;
			l->check_at += a->len;
			return true;
		}
		l->check_area++;
		l->check_at = 0;
	}
	return false;
}

static void check_go(struct load *l)
{
	struct area a;

	proc_enter(client_proc(l->sim->client));
	if (!l->flushed && !l->flushing) {
		l->flushing = true;
		l->checks++;
		submit(l, NBD_CMD_FLUSH, 0, 0, 0, true);
	}
	while (l->flushed && l->checks < CHECKS && check_area(l, &a)) {
		l->checks++;
		submit(l, NBD_CMD_READ, 0, a.offset, a.len, true);
	}
	proc_leave(client_proc(l->sim->client));
}

void load_check(struct load *l, bool flush)
{
	l->left = 0;
	l->checking = true;
	l->flushing = false;
	l->flushed = !flush;
	l->check_area = l->check_at = l->nagain = l->checks = 0;
	load_wake(l, 1000);
}

bool load_checked(const struct load *l)
{
	return l->checking && l->flushed && l->check_area == l->nareas && l->nagain == 0 &&
	       l->checks == 0;
}
