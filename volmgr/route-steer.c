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
	uint32_t next; /* free ones */
};

struct route_steers {
	uint32_t free, used, count;
	struct steer_part parts[PARTS_ALL];
};

/* What is found out before anything is done. */
struct plan {
	unsigned n;
	struct {
		uint64_t offset; /* in the volume */
		uint64_t to;	 /* for the server */
		uint64_t key;
		uint32_t len;
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
	if (key == 0)
		return false;
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

	p->n = 0;
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
	return p->n > 1;
}

/* May others send to it, and does it read what it is sent? */
static bool client_takes(struct route_client *rc, const struct nbd_req *req, unsigned parts)
{
	const struct route_conn *c = rc->shared;
	uint64_t unread;

	if (rc->wants_alone || rc->alone ||
	    __atomic_load_n(&c->reply, __ATOMIC_SEQ_CST) != ROUTE_REDIRECTED ||
	    (int32_t)__atomic_load_n(&c->inflight, __ATOMIC_SEQ_CST) + (int32_t)parts >
		    (int32_t)ROUTE_INFLIGHT)
		return false;
	unread = __atomic_load_n(&c->delivered, __ATOMIC_SEQ_CST) - rc->read_mark;
	return unread + req->len <= ROUTE_UNREAD_MAX || route_client_room(rc);
}

/* ---- doing --------------------------------------------------------------------------------- */

static struct steer_part *part_take(struct route_steers *s, uint32_t conn)
{
	uint32_t index = s->free;
	struct steer_part *part = &s->parts[index];

	s->free = part->next;
	s->used++;
	part->cookie = (uint64_t)conn << 32 | ROUTE_STEERED |
		       ((uint64_t)s->count++ << INDEX_BITS & (ROUTE_STEERED - 1)) | index;
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

/* Into the table of reads on their way; false: there is no room. */
static bool tell_programs(struct route_client *rc, const struct nbd_req *req, const struct plan *p,
			  struct steer_part **parts)
{
	static __thread uint64_t cookies[PARTS_MAX];
	static __thread struct route_read reads[PARTS_MAX];
	uint64_t now = clock_ns();

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
			.steered = 1,
		};
	}
	__atomic_add_fetch(&rc->shared->inflight, p->n, __ATOMIC_SEQ_CST);
	if (bpf_route_put(rc->wroute->bpf, cookies, reads, p->n) == 0)
		return true;
	__atomic_sub_fetch(&rc->shared->inflight, p->n, __ATOMIC_SEQ_CST);
	return false;
}

static bool servers_take(struct wroute *wr, const struct plan *p)
{
	for (unsigned i = 0; i < p->n; i++)
		if (!route_server_room(wr, p->part[i].key, p->n))
			return false;
	return true;
}

bool route_steer(struct route_client *rc, struct vol *v, struct nbd_req *req)
{
	struct wroute *wr = rc->wroute;
	struct steer_part *parts[PARTS_MAX];
	struct plan p;

	if (rc->shared == NULL || wr == NULL || v->route == NULL || !rc->shared->structured ||
	    req->type != NBD_CMD_READ || req->whole != NULL || req->len < BYTES_MIN ||
	    (req->flags & NBD_CMD_FLAG_DF) != 0)
		return false;
	if (!plan_make(v, req, &p) || !client_takes(rc, req, p.n) || !servers_take(wr, &p))
		return false;
	if (wr->steers == NULL)
		wr->steers = steers_new();
	if (PARTS_ALL - wr->steers->used < p.n)
		return false;
	for (unsigned i = 0; i < p.n; i++)
		parts[i] = part_take(wr->steers, rc->id);
	if (!tell_programs(rc, req, &p, parts)) {
		for (unsigned i = 0; i < p.n; i++)
			part_free(wr->steers, parts[i]);
		return false;
	}
	nbd_req_steer(req, p.n);
	rc->alone_seq = rc->shared->seq - 1; /* others may be sending again */
	v->route->steered++;
	for (unsigned i = 0; i < p.n; i++) {
		parts[i]->whole = req;
		parts[i]->key = p.part[i].key;
		parts[i]->offset = p.part[i].offset;
		parts[i]->len = p.part[i].len;
		route_server_ask(wr, parts[i]->key, parts[i]->cookie, p.part[i].to, parts[i]->len);
	}
	return true;
}

/* ---- what becomes of them ------------------------------------------------------------------ */

void route_steer_sent(struct wroute *wr, uint64_t cookie)
{
	struct steer_part *part = part_find(wr, cookie);
	struct nbd_req *whole;

	if (part == NULL)
		return;
	whole = part->whole;
	part_free(wr->steers, part);
	nbd_req_part_sent(whole);
}

void route_steer_read(struct wroute *wr, uint64_t cookie)
{
	struct steer_part *part = part_find(wr, cookie), copy;

	if (part == NULL)
		return;
	copy = *part;
	part_free(wr->steers, part);
	nbd_req_part_read(copy.whole, copy.offset, copy.len);
}

void route_steer_gone(struct wroute *wr, uint64_t key)
{
	for (uint32_t i = 0; wr->steers != NULL && i < PARTS_ALL; i++)
		if (wr->steers->parts[i].whole != NULL && wr->steers->parts[i].key == key)
			route_steer_read(wr, wr->steers->parts[i].cookie);
}

void route_steers_free(struct wroute *wr)
{
	free(wr->steers);
	wr->steers = NULL;
}
