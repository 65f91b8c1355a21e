/*
 * Steered reads: a READ of more than one unit comes to volmgr, but its bytes go past it. Each part,
 * within one unit, is asked of its server on the connection for routed reads, with the place that
 * the bytes have in the client's answer; the server's reply goes straight to the client. It takes a
 * client with structured replies, whose answers may come in pieces and in any order.
 *
 * The last chunk is volmgr's, and must come last. So each server tells by a chunk of its own, which
 * goes to volmgr, that its part has been sent: then it is in the client's queue. A part that cannot
 * be sent, or of which nobody can say whether it was because its server died, is read here.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/route-find.h"
#include "nbd/proto.h"
#include "route.h"

#include "banned.h"

#define PARTS_ALL  4096u       /* of all reads that a worker steers at once */
#define PARTS_MAX  64u	       /* of one */
#define BYTES_MIN  (32u << 10) /* shorter reads are as fast here */
#define INDEX_BITS 12u
#define NO_PART	   UINT32_MAX

static_assert(PARTS_ALL == 1u << INDEX_BITS, "an index is part of a cookie");

struct steer_part {
	struct nbd_req *whole; /* NULL: free */
	uint64_t cookie;
	uint64_t key; /* of the server's connection */
	uint64_t offset;
	uint32_t len;
	uint32_t conn;
	bool remote;	   /* of a server on another machine */
	uint64_t asked_ns; /* then */
	uint32_t next;	   /* free ones */
};

struct route_steers {
	uint32_t free, used, count;
	uint32_t remote; /* of those in use */
	struct steer_part parts[PARTS_ALL];
};

/* In nbd_req.user of a READ with parts of servers on other machines. */
enum steer_user {
	STEER_REMOTE, /* it is one */
	STEER_END,    /* cookie of its end, or 0: it is of one part */
	STEER_SENT,   /* remote parts that the client has been sent */
	STEER_HERE,   /* parts that were read here */
};

/* What is found out before anything is done. */
struct plan {
	unsigned n;
	unsigned remote; /* of them */
	struct {
		uint64_t offset; /* in the volume */
		uint64_t to;	 /* for the server */
		uint64_t key;
		uint32_t len;
		bool remote;
	} part[PARTS_MAX];
};

static struct route_steers *steers_new(void)
{
	struct route_steers *s = mem_must(sizeof(*s));

	for (uint32_t i = 0; i < PARTS_ALL; i++)
		s->parts[i].next = i + 1 < PARTS_ALL ? i + 1 : NO_PART;
	return s;
}

/* ---- planning ------------------------------------------------------------------------------ */

/* Where a range of one unit is; false: volmgr has to read it. */
static bool plan_part(struct vol *v, const struct route_vol *m, struct plan *p, uint64_t offset,
		      uint32_t len)
{
	bool remote = false;
	struct route_spot spot;
	route_entry entry;
	uint64_t key;

	if (p->n == PARTS_MAX || !route_spot_find(m->k, m->unit_shift, m->first, m->extents,
						  m->size, offset, len, &spot))
		return false;
	entry = bpf_route_entries(v->cluster->bpf)[spot.entry];
	if (!(entry & ROUTE_ENTRY_VALID))
		return false;
	key = m->gate[ROUTE_ENTRY_GATE(entry)];
	if (key == 0) {
		key = v->route->remote[ROUTE_ENTRY_GATE(entry)];
		remote = true;
	}
	if (key == 0)
		return false;
	p->part[p->n].remote = remote;
	p->remote += remote;
	p->part[p->n].offset = offset;
	p->part[p->n].to = route_offset(entry, spot.at);
	p->part[p->n].key = key;
	p->part[p->n].len = len;
	p->n++;
	return true;
}

static bool plan_make(struct vol *v, const struct nbd_req *req, struct plan *p)
{
	const struct route_vol *m = &bpf_route_vols(v->cluster->bpf)[v->route->slot];
	uint64_t at = req->offset, end = req->offset + req->len;

	p->n = p->remote = 0;
	if (!m->open)
		return false;
	while (at < end) {
		uint64_t unit = 1ULL << m->unit_shift, left = unit - (at & (unit - 1));
		uint32_t len = left < ROUTE_READ_MAX ? (uint32_t)left : ROUTE_READ_MAX;

		if (len > end - at)
			len = (uint32_t)(end - at);
		if (!plan_part(v, m, p, at, len))
			return false;
		at += len;
	}
	return p->n > 1 || p->remote > 0;
}

/* May others send to it, and does it read what it is sent? */
static bool client_takes(struct route_client *rc, const struct nbd_req *req, const struct plan *p)
{
	const struct route_conn *c = rc->shared;
	uint64_t unread;

	if (rc->wants_alone || rc->alone ||
	    __atomic_load_n(&c->reply, __ATOMIC_SEQ_CST) != ROUTE_REDIRECTED ||
	    (int32_t)__atomic_load_n(&c->inflight, __ATOMIC_SEQ_CST) + (int32_t)p->n >
		    (int32_t)ROUTE_INFLIGHT)
		return false;
	if (p->remote > 0)
		return route_client_remote_room(rc, req->len);
	unread = __atomic_load_n(&c->delivered, __ATOMIC_SEQ_CST) - rc->read_mark;
	return unread + req->len <= ROUTE_UNREAD_MAX || route_client_room(rc);
}

/* ---- doing --------------------------------------------------------------------------------- */

static uint64_t cookie_make(struct route_steers *s, uint32_t conn, uint32_t index)
{
	return (uint64_t)conn << 32 | ROUTE_STEERED |
	       ((uint64_t)s->count++ << INDEX_BITS & (ROUTE_STEERED - 1)) | index;
}

static struct steer_part *part_take(struct route_steers *s, uint32_t conn)
{
	uint32_t index = s->free;
	struct steer_part *part = &s->parts[index];

	s->free = part->next;
	s->used++;
	part->conn = conn;
	part->cookie = cookie_make(s, conn, index);
	return part;
}

static void part_free(struct route_steers *s, struct steer_part *part)
{
	part->whole = NULL;
	part->next = s->free;
	s->free = (uint32_t)(part - s->parts);
	s->used--;
}

static struct steer_part *part_find(struct wroute *wr, uint64_t cookie)
{
	struct steer_part *part;

	if (wr->steers == NULL)
		return NULL;
	part = &wr->steers->parts[cookie & (PARTS_ALL - 1)];
	return part->whole != NULL && part->cookie == cookie ? part : NULL;
}

/* Into the table of reads on their way; false: there is no room. end: the cookie of the answer's
 * end, or 0. */
static bool tell_programs(struct route_client *rc, const struct nbd_req *req, const struct plan *p,
			  struct steer_part **parts, uint64_t end)
{
	static __thread uint64_t cookies[PARTS_MAX + 1];
	static __thread struct route_read reads[PARTS_MAX + 1];
	uint64_t now = clock_ns();
	unsigned n = p->n;

	for (unsigned i = 0; i < p->n; i++) {
		cookies[i] = parts[i]->cookie;
		reads[i] = (struct route_read){
			.cookie = htobe64(req->cookie),
			.offset = p->part[i].offset,
			.start_ns = now,
			.server = p->part[i].key,
			.len = p->part[i].len,
			.conn = rc->id,
			.flags = req->flags,
			.steered = p->n == 1 ? ROUTE_STEER_ONLY : ROUTE_STEER_PART,
		};
	}
	if (end != 0) {
		cookies[n] = end;
		reads[n++] = (struct route_read){.cookie = htobe64(req->cookie),
						 .start_ns = now,
						 .conn = rc->id,
						 .steered = ROUTE_STEER_END};
	}
	__atomic_add_fetch(&rc->shared->inflight, n, __ATOMIC_SEQ_CST);
	if (bpf_route_put(rc->wroute->bpf, cookies, reads, n) == 0)
		return true;
	__atomic_sub_fetch(&rc->shared->inflight, n, __ATOMIC_SEQ_CST);
	return false;
}

static bool servers_take(struct wroute *wr, const struct plan *p)
{
	for (unsigned i = 0; i < p->n; i++)
		if (!route_server_room(wr, p->part[i].key, p->n))
			return false;
	return true;
}

/* All that has to be remembered of a READ whose bytes come from elsewhere. */
static void parts_begin(struct route_client *rc, struct nbd_req *req, const struct plan *p,
			struct steer_part **parts, uint64_t end)
{
	nbd_req_steer(req, p->n);
	req->user[STEER_REMOTE] = p->remote > 0;
	req->user[STEER_END] = end;
	req->user[STEER_SENT] = req->user[STEER_HERE] = 0;
	rc->wroute->steers->remote += p->remote;
	for (unsigned i = 0; i < p->n; i++) {
		parts[i]->whole = req;
		parts[i]->key = p->part[i].key;
		parts[i]->offset = p->part[i].offset;
		parts[i]->len = p->part[i].len;
		parts[i]->remote = p->part[i].remote;
		if (!parts[i]->remote)
			continue;
		parts[i]->asked_ns = clock_ns();
		rc->remote_used = true;
		rc->remote_parts++;
		rc->remote_bytes += parts[i]->len;
	}
}

/* Of servers on other machines that depends. */
static bool worth_it(struct vol *v, const struct nbd_req *req, const struct plan *p)
{
	return p->remote == 0 || v->cluster->bpf_always ||
	       route_choice_past(&v->route->choice[route_choice_of(req->len)], clock_ns());
}

void route_steer_answered(struct vol *v, const struct nbd_req *req)
{
	if (v->route != NULL && req->type == NBD_CMD_READ && req->len >= BYTES_MIN)
		route_choice_done(&v->route->choice[route_choice_of(req->len)], req->len);
}

bool route_steer(struct route_client *rc, struct vol *v, struct nbd_req *req)
{
	struct wroute *wr = rc->wroute;
	struct steer_part *parts[PARTS_MAX];
	uint64_t end = 0;
	struct plan p;

	if (rc->shared == NULL || wr == NULL || v->route == NULL || !rc->shared->structured ||
	    req->type != NBD_CMD_READ || req->whole != NULL || req->len < BYTES_MIN ||
	    (req->flags & NBD_CMD_FLAG_DF) != 0)
		return false;
	if (!plan_make(v, req, &p) || !worth_it(v, req, &p) || !client_takes(rc, req, &p) ||
	    !servers_take(wr, &p))
		return false;
	if (wr->steers == NULL)
		wr->steers = steers_new();
	if (PARTS_ALL - wr->steers->used < p.n)
		return false;
	for (unsigned i = 0; i < p.n; i++)
		parts[i] = part_take(wr->steers, rc->id);
	if (p.remote > 0 && p.n > 1)
		end = cookie_make(wr->steers, rc->id, (uint32_t)(parts[0] - wr->steers->parts));
	if (!tell_programs(rc, req, &p, parts, end)) {
		for (unsigned i = 0; i < p.n; i++)
			part_free(wr->steers, parts[i]);
		return false;
	}
	parts_begin(rc, req, &p, parts, end);
	rc->alone_seq = rc->shared->seq - 1; /* others may be sending again */
	v->route->steered++;
	for (unsigned i = 0; i < p.n; i++)
		route_server_ask(wr, parts[i]->key, parts[i]->cookie, p.part[i].to, parts[i]->len);
	return true;
}

/* ---- what becomes of them ------------------------------------------------------------------ */

static struct steer_part part_over(struct wroute *wr, struct steer_part *part)
{
	struct route_client *rc = wr->clients[part->conn % ROUTE_CONNS];
	struct steer_part copy = *part;

	part_free(wr->steers, part);
	wr->steers->remote -= copy.remote;
	if (copy.remote && rc != NULL && rc->id == copy.conn) {
		rc->remote_parts--;
		rc->remote_bytes -= copy.len;
	}
	return copy;
}

void route_steer_sent(struct wroute *wr, uint64_t cookie)
{
	struct steer_part *part = part_find(wr, cookie), copy;

	if (part == NULL)
		return;
	copy = part_over(wr, part);
	copy.whole->user[STEER_SENT] += copy.remote;
	nbd_req_part_sent(copy.whole);
}

void route_steer_read(struct wroute *wr, uint64_t cookie)
{
	struct steer_part *part = part_find(wr, cookie), copy;

	if (part == NULL)
		return;
	copy = part_over(wr, part);
	copy.whole->user[STEER_HERE]++;
	nbd_req_part_read(copy.whole, copy.offset, copy.len);
}

/* What a server on another machine had sent, the programs have taken out of the table; of one of
 * this machine they may have failed after that. */
void route_steer_gone(struct wroute *wr, uint64_t key)
{
	for (uint32_t i = 0; wr->steers != NULL && i < PARTS_ALL; i++) {
		const struct steer_part *part = &wr->steers->parts[i];
		struct route_read read;

		if (part->whole == NULL || part->key != key)
			continue;
		if (part->remote && bpf_route_take(wr->bpf, part->cookie, &read) != 0)
			route_steer_sent(wr, part->cookie);
		else
			route_steer_read(wr, part->cookie);
	}
}

bool route_steer_waits(const struct wroute *wr)
{
	return wr->steers != NULL && wr->steers->remote > 0;
}

/* A part that is in the table of reads is read here when it is late (route-late.c). So the bytes of
 * an older one have come, and what the server tells of it was right behind them. */
void route_steer_late(struct wroute *wr, uint64_t now_ns)
{
	for (uint32_t i = 0; route_steer_waits(wr) && i < PARTS_ALL; i++) {
		const struct steer_part *part = &wr->steers->parts[i];

		if (part->whole != NULL && part->remote &&
		    now_ns - part->asked_ns >= ROUTE_LOST_MS * NS_PER_MS)
			route_server_lost(wr, part->key);
	}
}

enum nbd_end route_steer_end(struct route_client *rc, struct nbd_req *req)
{
	struct wroute *wr = rc->wroute;
	uint64_t end = req->user[STEER_END];
	struct route_read read;

	if (!req->user[STEER_REMOTE])
		return NBD_END_HERE;
	if (end == 0)
		return req->user[STEER_SENT] > 0 ? NBD_END_ELSEWHERE : NBD_END_HERE;
	if (req->user[STEER_SENT] > 0 && req->user[STEER_HERE] == 0) {
		route_remote_end(wr, end);
		return NBD_END_ELSEWHERE;
	}
	(void)bpf_route_take(wr->bpf, end, &read);
	return req->user[STEER_SENT] > 0 ? NBD_END_ALONE : NBD_END_HERE;
}

void route_steers_free(struct wroute *wr)
{
	free(wr->steers);
	wr->steers = NULL;
}
