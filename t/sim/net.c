/*
 * Connections: streams of bytes between processes, with delays, in pieces of any size, that break,
 * go silent or are held up. What one end sends is copied when it sends it, as into a kernel's
 * buffer, and is still delivered after the sender's orderly end.
 *
 * When a connection breaks, each end hears of it at its own time. In seeds that are late (sim.h)
 * that may take seconds, and what was on its way to an end by then, or the first of it, still comes
 * meanwhile, in order and in pieces; so a server works on what volmgr has given up, and has perhaps
 * said otherwise since in a new connection. What is sent after the break goes nowhere, and who has
 * ended a connection itself, or died, reads nothing more there.
 */
#include "config.h"

#include <stdlib.h>

#include "sim.h"

#define BUFFER_BYTES (256u << 10) /* on their way in one direction */
#define DELAY_LOW    (10 * 1000ULL)
#define DELAY_HIGH   (400 * 1000ULL)
#define REFUSED_NS   (20 * NS_PER_MS)
#define CONNECT_NS   (3 * NS_PER_S)   /* a connect that nobody answers */
#define BACK_NS	     (50 * NS_PER_MS) /* until the other ends hear that a host is back */
#define PARTITIONS   8
#define LATE_SHORT   (400 * 1000ULL) /* until an end hears that its connection is broken */
#define LATE_MIDDLE  (400 * NS_PER_MS)
#define LATE_LONG    (8 * NS_PER_S)

struct end {
	struct stream stream; /* first */
	struct conn *conn;
	struct proc *proc;
	uint64_t life;
	bool over;    /* closed() was called, or its process is gone */
	bool closing; /* it has asked for the end */
	bool fin;     /* nothing follows what is in the buffer */
	bool mute;    /* what it sends goes nowhere */
	bool deaf;    /* it reads nothing more */
	bool late;    /* what is on its way to it comes until it hears of the break */
	int err;      /* of a reset on its way */
	struct event send, deliver, reset;
	uint8_t *buffer; /* what it sent and the other has not got */
	size_t head, len;
};

struct conn {
	struct sim *sim;
	struct end end[2]; /* 0 has connected, 1 has accepted */
	bool silent;	   /* nothing moves any more, and nobody knows */
	void (*accept)(struct proc *to, struct stream *stream);
	void (*done)(void *arg, struct stream *stream);
	void *arg;
	struct event accepted, connected;
	struct conn *next;
};

struct partition {
	struct proc *a, *b;
	uint64_t until_ns;
};

static struct partition partitions[PARTITIONS];

static uint64_t held_up(const struct conn *c)
{
	const struct proc *a = c->end[0].proc, *b = c->end[1].proc;

	for (unsigned i = 0; i < PARTITIONS; i++) {
		const struct partition *p = &partitions[i];

		if (p->until_ns > c->sim->now_ns &&
		    ((p->a == a && p->b == b) || (p->a == b && p->b == a)))
			return p->until_ns;
	}
	return 0;
}

static bool gone(const struct end *e)
{
	return e->proc->life != e->life || !proc_alive(e->proc);
}

static struct end *other(struct end *e)
{
	return &e->conn->end[e == &e->conn->end[0]];
}

static void soon(struct event *e, struct sim *s)
{
	if (!e->queued)
		sim_at(s, e, 1000 + sim_below(s, 4000));
}

static void end_over(struct end *e, int err)
{
	if (e->over)
		return;
	e->over = true;
	sim_note(e->conn->sim, "connection over", e->proc->name, (uint64_t)-err, 0);
	proc_enter(e->proc);
	e->stream.ops->closed(e->stream.engine, err);
	proc_leave(e->proc);
}

/* ---- moving bytes -------------------------------------------------------------------------- */

static size_t take_output(struct end *e, bool *more)
{
	struct iovec iov[STREAM_IOV_MAX];
	size_t total = 0;
	int n;

	if (e->buffer == NULL)
		e->buffer = world_malloc(BUFFER_BYTES);
	if (e->len == 0) {
		e->head = 0;
	} else if (e->head > BUFFER_BYTES / 2 || e->head + e->len == BUFFER_BYTES) {
		memmove(e->buffer, e->buffer + e->head, e->len);
		e->head = 0;
	}
	*more = false;
	n = e->stream.ops->output(e->stream.engine, iov, STREAM_IOV_MAX);
	for (int i = 0; i < n; i++) {
		size_t len = iov[i].iov_len, room = BUFFER_BYTES - e->head - e->len;

		assert(len > 0);
		if (len > room)
			len = room;
		memcpy(e->buffer + e->head + e->len, iov[i].iov_base, len);
		e->len += len;
		total += len;
		if (len < iov[i].iov_len)
			break;
		*more = i == STREAM_IOV_MAX - 1;
	}
	if (total > 0)
		e->stream.ops->sent(e->stream.engine, total);
	*more = *more && e->len < BUFFER_BYTES;
	return n;
}

static void on_send(struct event *ev)
{
	struct end *e = (struct end *)((char *)ev - offsetof(struct end, send));
	struct sim *s = e->conn->sim;
	size_t before = e->len, left = 0;
	bool more = false;

	if (gone(e) || e->over || e->stream.ops == NULL || e->proc->doomed)
		return;
	proc_enter(e->proc);
	if (e->len < BUFFER_BYTES)
		left = take_output(e, &more);
	proc_leave(e->proc);
	if (e->mute) {
		e->len = before;
	} else if (e->len != before) {
		sim_note(s, "sends", e->proc->name, e->len - before, 0);
		if (!other(e)->deliver.queued)
			sim_at(s, &other(e)->deliver, sim_delay(s, DELAY_LOW, DELAY_HIGH));
	}
	if (more)
		soon(&e->send, s);
	else if (e->closing && left == 0) {
		e->fin = !e->mute;
		if (!other(e)->deliver.queued)
			sim_at(s, &other(e)->deliver, sim_delay(s, DELAY_LOW, DELAY_HIGH));
		end_over(e, 0);
	} else if (e->closing && e->len < BUFFER_BYTES) {
		soon(&e->send, s);
	}
}

/* Give what came to the engine, as much as it takes. */
static size_t give(struct end *to, struct end *from, size_t max)
{
	struct sim *s = to->conn->sim;
	size_t total = 0;

	while (total < max && !to->closing) {
		void *ptr = NULL;
		size_t n = to->stream.ops->window(to->stream.engine, &ptr);

		if (n == 0)
			break;
		if (n > max - total)
			n = max - total;
		if (n > 1 && sim_below(s, 8) == 0)
			n = 1 + sim_below(s, (uint32_t)n);
		memcpy(ptr, from->buffer + from->head, n);
		from->head += n;
		from->len -= n;
		total += n;
		if (to->stream.ops->received(to->stream.engine, n) < 0)
			to->closing = true;
	}
	return total;
}

/* The next piece of what comes late, before the end hears of the break. */
static void later(struct end *to)
{
	struct sim *s = to->conn->sim;
	uint64_t left = to->reset.at_ns > s->now_ns ? to->reset.at_ns - s->now_ns : 0;

	if (to->reset.queued && left > 1 && !to->deliver.queued)
		sim_at(s, &to->deliver, sim_more_ns(s, left));
}

static void on_deliver(struct event *ev)
{
	struct end *to = (struct end *)((char *)ev - offsetof(struct end, deliver));
	struct end *from = other(to);
	struct sim *s = to->conn->sim;
	uint64_t until = held_up(to->conn);
	size_t n;

	if (to->stream.ops == NULL && !to->over && !gone(to))
		return; /* it is not there yet */
	if ((to->conn->silent && !to->late) || gone(to) || to->over || to->deaf) {
		from->len = 0;
		return;
	}
	if (until != 0) {
		sim_at(s, ev, until - s->now_ns + sim_below(s, 1000000));
		return;
	}
	n = from->len;
	if (to->late && n > 0 && sim_more(s, 2) == 0)
		n = 1 + sim_more(s, (uint32_t)n);
	proc_enter(to->proc);
	n = give(to, from, n);
	proc_leave(to->proc);
	if (to->late && from->len > 0)
		later(to);
	if (n > 0) {
		sim_note(s, to->late ? "receives late" : "receives", to->proc->name, n, 0);
		soon(&to->send, s);
		if (!gone(from) && !from->over)
			soon(&from->send, s);
	}
	if (to->closing)
		soon(&to->send, s);
	if (from->fin && from->len == 0)
		end_over(to, 0);
}

static void on_reset(struct event *ev)
{
	struct end *e = (struct end *)((char *)ev - offsetof(struct end, reset));

	if (!gone(e))
		end_over(e, e->err);
}

static void kick(struct stream *stream)
{
	struct end *e = (struct end *)stream;

	soon(&e->send, e->conn->sim);
	if (other(e)->len > 0 && !e->conn->silent && !e->late)
		soon(&e->deliver, e->conn->sim);
}

static void close_end(struct stream *stream)
{
	((struct end *)stream)->closing = true;
	kick(stream);
}

static const struct stream_transport transport = {.kick = kick, .close = close_end};

/* ---- connecting ---------------------------------------------------------------------------- */

static void on_accepted(struct event *ev)
{
	struct conn *c = (struct conn *)((char *)ev - offsetof(struct conn, accepted));
	struct end *e = &c->end[1];

	if (gone(e) || e->over)
		return;
	proc_enter(e->proc);
	c->accept(e->proc, &e->stream);
	proc_leave(e->proc);
	if (e->stream.ops == NULL) { /* refused after all */
		e->over = e->fin = true;
		if (!other(e)->deliver.queued)
			sim_at(c->sim, &other(e)->deliver, DELAY_LOW);
		return;
	}
	soon(&e->deliver, c->sim);
}

static void on_connected(struct event *ev)
{
	struct conn *c = (struct conn *)((char *)ev - offsetof(struct conn, connected));
	struct end *e = &c->end[0];
	bool good = proc_alive(c->end[1].proc);

	if (held_up(c) != 0)
		good = false;
	if (gone(e) || !good)
		c->end[1].over = true;
	if (gone(e))
		return;
	if (good) {
		c->end[1].life = c->end[1].proc->life;
		c->end[1].over = c->end[1].fin = c->silent = false;
		sim_at(c->sim, &c->accepted, DELAY_LOW);
	}
	proc_enter(e->proc);
	c->done(c->arg, good ? &e->stream : NULL);
	proc_leave(e->proc);
	e->over = !good || e->stream.ops == NULL;
	soon(&e->deliver, c->sim);
}

void net_connect(struct proc *from, struct proc *to,
		 void (*accept)(struct proc *to, struct stream *stream),
		 void (*done)(void *arg, struct stream *stream), void *arg)
{
	struct sim *s = from->sim;
	struct conn *c = world_alloc(sizeof(*c));

	c->sim = s;
	c->accept = accept;
	c->done = done;
	c->arg = arg;
	for (int i = 0; i < 2; i++) {
		struct end *e = &c->end[i];

		e->conn = c;
		e->proc = i == 0 ? from : to;
		e->life = e->proc->life;
		e->stream.transport = &transport;
		e->send = (struct event){.fn = on_send, .proc = e->proc};
		e->deliver = (struct event){.fn = on_deliver, .proc = e->proc};
		e->reset = (struct event){.fn = on_reset, .proc = e->proc};
	}
	c->accepted = (struct event){.fn = on_accepted, .proc = to};
	c->connected = (struct event){.fn = on_connected, .proc = from};
	c->next = s->conns;
	s->conns = c;
	sim_at(s, &c->connected,
	       held_up(c) != 0	? CONNECT_NS
	       : proc_alive(to) ? sim_delay(s, 2 * DELAY_LOW, 2 * DELAY_HIGH)
				: REFUSED_NS);
}

/* ---- what goes wrong ----------------------------------------------------------------------- */

static void reset_end(struct end *e, int err, uint64_t delay_ns)
{
	if (gone(e) || e->over || e->stream.ops == NULL || e->reset.queued)
		return;
	e->err = err;
	sim_at(e->conn->sim, &e->reset, delay_ns);
}

static uint64_t late_ns(struct sim *s)
{
	static const uint64_t high[] = {LATE_SHORT, LATE_SHORT, LATE_MIDDLE, LATE_LONG};

	return DELAY_LOW + sim_more_ns(s, high[sim_more(s, 4)]);
}

/* Of what is on its way to this end all still comes, the first of it, or nothing; no more is sent.
 */
static void cut_off(struct end *to)
{
	struct end *from = other(to);
	struct sim *s = to->conn->sim;
	unsigned how = sim_more(s, 4);

	from->mute = true;
	if (how == 0 || to->deaf)
		from->len = 0;
	else if (how == 1)
		from->len = sim_more(s, (uint32_t)from->len + 1);
	from->fin = from->fin && how > 1; /* the end is behind what was sent */
	to->late = true;
	sim_cancel(s, &to->deliver);
}

static bool open_end(const struct end *e)
{
	return !gone(e) && !e->over && !e->late && e->stream.ops != NULL;
}

/* It hears of the break only then. */
static void break_late(struct end *to, uint64_t delay_ns)
{
	if (gone(to) || to->over || to->late)
		return;
	cut_off(to);
	sim_note(to->conn->sim, "will hear", to->proc->name, delay_ns, other(to)->len);
	reset_end(to, -ECONNRESET, delay_ns);
	if (other(to)->len > 0)
		later(to);
}

static uint64_t conn_reset(struct conn *c)
{
	uint64_t longest = 0;
	bool late = c->sim->late && c->end[0].stream.ops != NULL && c->end[1].stream.ops != NULL;

	sim_note(c->sim, "reset", c->end[1].proc->name, 0, 0);
	c->silent = !late;
	for (int i = 0; i < 2; i++) {
		uint64_t ns = late ? late_ns(c->sim) : sim_delay(c->sim, DELAY_LOW, DELAY_HIGH);

		if (late)
			break_late(&c->end[i], ns);
		else
			reset_end(&c->end[i], -ECONNRESET, ns);
		longest = ns > longest ? ns : longest;
	}
	return longest;
}

/* What it has sent may come late, what comes to it is lost. */
static void cut_late(struct end *e)
{
	struct sim *s = e->conn->sim;

	sim_cancel(s, &e->reset); /* it may have been about to hear */
	e->deaf = e->mute = true;
	reset_end(e, -ECONNRESET, 1000);
	if (other(e)->stream.ops != NULL)
		break_late(other(e), late_ns(s));
	else
		e->conn->silent = true;
}

void net_cut(struct stream *stream)
{
	struct end *e = (struct end *)stream;

	if (e->conn->sim->late) {
		cut_late(e);
		return;
	}
	e->conn->silent = true;
	reset_end(e, -ECONNRESET, 1000);
	reset_end(other(e), -ECONNRESET, sim_delay(e->conn->sim, DELAY_LOW, DELAY_HIGH));
}

void net_leave(struct stream *stream)
{
	struct end *e = (struct end *)stream;

	e->fin = true;
	reset_end(e, -ECONNRESET, 1000);
	if (!other(e)->deliver.queued)
		sim_at(e->conn->sim, &other(e)->deliver, DELAY_LOW);
}

/* What has left the machine still comes, unless something is in the way. */
static void died_silent(struct conn *c, struct end *o)
{
	c->silent = true;
	if (!c->sim->late || !open_end(o) || held_up(c) != 0)
		return;
	cut_off(o);
	sim_at(c->sim, &o->deliver, sim_more_ns(c->sim, LATE_SHORT));
}

void net_died(struct proc *p, bool silent)
{
	for (struct conn *c = p->sim->conns; c != NULL; c = c->next)
		for (int i = 0; i < 2; i++) {
			struct end *e = &c->end[i], *o = other(e);

			if (e->proc != p || e->over || !gone(e))
				continue;
			e->over = true;
			if (silent) {
				died_silent(c, o);
				continue;
			}
			/* the kernel says good-bye: after what was sent, or at once */
			e->fin = !e->mute;
			if (p->sim->late && o->stream.ops != NULL && sim_more(p->sim, 2) == 0)
				break_late(o, late_ns(p->sim));
			else if (sim_below(p->sim, 2) == 0)
				reset_end(o, -ECONNRESET, sim_delay(p->sim, DELAY_LOW, DELAY_HIGH));
			else if (!o->deliver.queued)
				sim_at(p->sim, &o->deliver,
				       sim_delay(p->sim, DELAY_LOW, DELAY_HIGH));
		}
}

bool net_unheard(const struct proc *p, const struct proc *of)
{
	for (const struct conn *c = p->sim->conns; c != NULL; c = c->next)
		for (int i = 0; i < 2; i++) {
			const struct end *e = &c->end[i], *o = &c->end[!i];

			if (e->proc == p && o->proc == of && !e->over && !gone(e) && gone(o))
				return true;
		}
	return false;
}

bool net_is_late(const struct sim *s)
{
	for (const struct conn *c = s->conns; c != NULL; c = c->next)
		for (int i = 0; i < 2; i++) {
			const struct end *e = &c->end[i];

			if (e->late && !e->over && !gone(e) &&
			    (e->deliver.queued || e->reset.queued))
				return true;
		}
	return false;
}

void net_returned(struct proc *p)
{
	for (struct conn *c = p->sim->conns; c != NULL; c = c->next)
		for (int i = 0; i < 2; i++)
			if (c->end[i].proc == p && gone(&c->end[i]) && c->silent)
				reset_end(other(&c->end[i]), -ECONNRESET,
					  sim_delay(p->sim, DELAY_LOW, BACK_NS));
}

void net_partition(struct proc *a, struct proc *b, uint64_t for_ns)
{
	struct sim *s = a->sim;
	struct partition *p = &partitions[0];

	for (unsigned i = 0; i < PARTITIONS; i++)
		if (partitions[i].until_ns < p->until_ns)
			p = &partitions[i];
	sim_note(s, "partition", a->name, b->number, for_ns);
	*p = (struct partition){a, b, s->now_ns + for_ns};
}

void net_heal(struct sim *s)
{
	memset(partitions, 0, sizeof(partitions));
	for (struct conn *c = s->conns; c != NULL; c = c->next)
		for (int i = 0; i < 2 && !c->silent; i++) {
			struct event *deliver = &c->end[i].deliver;

			if (c->end[i].late)
				continue;
			sim_cancel(s, deliver);
			soon(deliver, s);
		}
}

void net_break(struct proc *one, struct proc *other)
{
	for (struct conn *c = one->sim->conns; c != NULL; c = c->next)
		for (int i = 0; i < 2; i++) {
			struct end *near = &c->end[i], *far = &c->end[!i];

			if (near->proc != one || far->proc != other || !open_end(near) ||
			    !open_end(far))
				continue;
			sim_note(c->sim, "breaks", other->name, far->len, near->len);
			break_late(far, LATE_MIDDLE + sim_more_ns(c->sim, LATE_LONG));
			break_late(near, 1 + sim_more_ns(c->sim, LATE_SHORT));
		}
}

uint64_t net_reset_some(struct proc *p)
{
	struct conn *some = NULL;
	unsigned n = 0;

	for (struct conn *c = p->sim->conns; c != NULL; c = c->next)
		if ((c->end[0].proc == p || c->end[1].proc == p) && !c->end[0].over &&
		    !c->end[1].over && !c->silent && !c->end[0].late && !c->end[1].late &&
		    sim_below(p->sim, ++n) == 0)
			some = c;
	return some == NULL ? 0 : conn_reset(some);
}

void net_free(struct sim *s)
{
	while (s->conns != NULL) {
		struct conn *c = s->conns;

		s->conns = c->next;
		for (int i = 0; i < 2; i++)
			free(c->end[i].buffer);
		free(c);
	}
	memset(partitions, 0, sizeof(partitions));
}
