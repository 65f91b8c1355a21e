/*
 * Connections: streams of bytes between processes, with delays, in pieces of any size, that break,
 * go silent or are held up. What one end sends is copied when it sends it, as into a kernel's
 * buffer, and is still delivered after the sender's orderly end.
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

struct end {
	struct stream stream; /* first */
	struct conn *conn;
	struct proc *proc;
	uint64_t life;
	bool over;    /* closed() was called, or its process is gone */
	bool closing; /* it has asked for the end */
	bool fin;     /* nothing follows what is in the buffer */
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
	if (e->len != before) {
		sim_note(s, "sends", e->proc->name, e->len - before, 0);
		if (!other(e)->deliver.queued)
			sim_at(s, &other(e)->deliver, sim_delay(s, DELAY_LOW, DELAY_HIGH));
	}
	if (more)
		soon(&e->send, s);
	else if (e->closing && left == 0) {
		e->fin = true;
		if (!other(e)->deliver.queued)
			sim_at(s, &other(e)->deliver, sim_delay(s, DELAY_LOW, DELAY_HIGH));
		end_over(e, 0);
	} else if (e->closing && e->len < BUFFER_BYTES) {
		soon(&e->send, s);
	}
}

/* Give what came to the engine, as much as it takes. */
static size_t give(struct end *to, struct end *from)
{
	struct sim *s = to->conn->sim;
	size_t total = 0;

	while (from->len > 0 && !to->closing) {
		void *ptr = NULL;
		size_t n = to->stream.ops->window(to->stream.engine, &ptr);

		if (n == 0)
			break;
		if (n > from->len)
			n = from->len;
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

static void on_deliver(struct event *ev)
{
	struct end *to = (struct end *)((char *)ev - offsetof(struct end, deliver));
	struct end *from = other(to);
	struct sim *s = to->conn->sim;
	uint64_t until = held_up(to->conn);
	size_t n;

	if (to->stream.ops == NULL && !to->over && !gone(to))
		return; /* it is not there yet */
	if (to->conn->silent || gone(to) || to->over) {
		from->len = 0;
		return;
	}
	if (until != 0) {
		sim_at(s, ev, until - s->now_ns + sim_below(s, 1000000));
		return;
	}
	proc_enter(to->proc);
	n = give(to, from);
	proc_leave(to->proc);
	if (n > 0) {
		sim_note(s, "receives", to->proc->name, n, 0);
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
	if (other(e)->len > 0 && !e->conn->silent)
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

static void conn_reset(struct conn *c)
{
	sim_note(c->sim, "reset", c->end[1].proc->name, 0, 0);
	c->silent = true;
	for (int i = 0; i < 2; i++)
		reset_end(&c->end[i], -ECONNRESET, sim_delay(c->sim, DELAY_LOW, DELAY_HIGH));
}

void net_cut(struct stream *stream)
{
	struct end *e = (struct end *)stream;

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

void net_died(struct proc *p, bool silent)
{
	for (struct conn *c = p->sim->conns; c != NULL; c = c->next)
		for (int i = 0; i < 2; i++) {
			struct end *e = &c->end[i], *o = other(e);

			if (e->proc != p || e->over || !gone(e))
				continue;
			e->over = true;
			if (silent) {
				c->silent = true;
				continue;
			}
			/* the kernel says good-bye: after what was sent, or at once */
			e->fin = true;
			if (sim_below(p->sim, 2) == 0)
				reset_end(o, -ECONNRESET, sim_delay(p->sim, DELAY_LOW, DELAY_HIGH));
			else if (!o->deliver.queued)
				sim_at(p->sim, &o->deliver,
				       sim_delay(p->sim, DELAY_LOW, DELAY_HIGH));
		}
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

			sim_cancel(s, deliver);
			soon(deliver, s);
		}
}

void net_reset_some(struct proc *p)
{
	struct conn *some = NULL;
	unsigned n = 0;

	for (struct conn *c = p->sim->conns; c != NULL; c = c->next)
		if ((c->end[0].proc == p || c->end[1].proc == p) && !c->end[0].over &&
		    !c->end[1].over && !c->silent && sim_below(p->sim, ++n) == 0)
			some = c;
	if (some != NULL)
		conn_reset(some);
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
