/*
 * Routed reads: start and stop, and what the programs know of volumes. See route.h.
 *
 * A volume has a range of the array of entries, one for each data shard of the extents that it had
 * room for when it was opened; what it grew by later is read through volmgr until the next start.
 * Ranges are not used again while the process lives, so a program that has read a volume's place
 * can never see another's entry there.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "route.h"
#include "stripe/layout.h"

#include "banned.h"

#define LAST_VOL   (ROUTE_VOLS - 1)    /* the trial's */
#define LAST_ENTRY (ROUTE_ENTRIES - 4) /* likewise */

static_assert(LAST_VOL <= VOLUMES_MAX, "cluster.route_slots has room");
static_assert(ROUTE_GATES >= PEER_MAX, "a gate for each server of a volume");

static const char *open_remote(struct bpf_route *b, enum route_mode mode)
{
	const char *why = "not asked for by --bpf remote";

	if ((mode == ROUTE_REMOTE || mode == ROUTE_ALL) && bpf_route_remote_open(b, &why)) {
		log_info("eBPF: so may large ones of servers on other machines");
		return "";
	}
	log_info("eBPF: but not from servers on other machines: %s", why);
	return why;
}

struct bpf_route *route_open(enum route_mode mode, const char **why, const char **remote_why)
{
	struct bpf_route *b = NULL;

	*why = "switched off by --bpf off";
	*remote_why = "";
	if (mode != ROUTE_OFF)
		b = bpf_route_open(why);
	if (b != NULL) {
		*why = "";
		log_info("eBPF: reads of clients on this machine may go straight to servers");
		if (!bpf_route_roomy(b))
			log_info("eBPF: but not those of the kernel's nbd by TCP: "
				 "net.core.wmem_max is less than %u",
				 ROUTE_SEND_ROOM / 2);
		*remote_why = open_remote(b, mode);
	} else {
		log_info("eBPF: off: %s", *why);
	}
	return b;
}

/* ---- volumes ------------------------------------------------------------------------------- */

static struct route_vol *map_vol(const struct vol *v)
{
	return &bpf_route_vols(v->cluster->bpf)[v->route->slot];
}

static void store32(uint32_t *at, uint32_t value)
{
	__atomic_store_n(at, value, __ATOMIC_SEQ_CST);
}

static void store64(uint64_t *at, uint64_t value)
{
	__atomic_store_n(at, value, __ATOMIC_SEQ_CST);
}

/* A free place in the map of volumes, and a range of entries. False: there is none. */
static bool reserve(struct cluster *c, struct vroute *vr, uint64_t entries, unsigned k)
{
	bool got = false;

	pthread_mutex_lock(&c->lock);
	for (uint32_t i = 0; i < LAST_VOL && !got; i++)
		if (!c->route_slots[i]) {
			c->route_slots[i] = got = true;
			vr->slot = i;
		}
	if (got) {
		uint64_t room = LAST_ENTRY - c->route_entries;

		vr->first = c->route_entries;
		vr->extents = (uint32_t)((entries < room ? entries : room) / k);
		c->route_entries += vr->extents * k;
	}
	pthread_mutex_unlock(&c->lock);
	return got;
}

void route_volume_open(struct vol *v)
{
	struct cluster *c = v->cluster;
	struct vroute *vr;
	struct route_vol *m;
	struct layout l;

	if (c->bpf == NULL || layout_init(&l, v->k, v->m, v->unit) != 0)
		return;
	vr = mem_must(sizeof(*vr));
	if (!reserve(c, vr, (v->size + l.extent - 1) / l.extent * v->k, v->k)) {
		free(vr);
		return;
	}
	v->route = vr;
	bpf_watch_begin(c->bpf, WATCH_VOLUME(vr->slot));
	m = map_vol(v);
	memset(m, 0, sizeof(*m));
	m->k = v->k;
	m->unit_shift = l.unit_shift;
	m->first = vr->first;
	m->extents = vr->extents;
	store64(&m->size, v->size);
}

void route_volume_close(struct vol *v)
{
	struct cluster *c = v->cluster;
	struct vroute *vr = v->route;

	if (vr == NULL)
		return;
	store32(&map_vol(v)->open, 0);
	for (uint32_t i = 0; i < vr->extents * v->k; i++)
		bpf_route_entries(c->bpf)[vr->first + i] = 0;
	bpf_watch_end(c->bpf, WATCH_VOLUME(vr->slot));
	pthread_mutex_lock(&c->lock);
	c->route_slots[vr->slot] = false;
	pthread_mutex_unlock(&c->lock);
	v->route = NULL;
	free(vr);
}

void route_volume_size(struct vol *v, uint64_t size)
{
	if (v->route != NULL)
		store64(&map_vol(v)->size, size);
}

void route_volume_count(const struct vol *v, struct watch_counts *sum)
{
	memset(sum, 0, sizeof(*sum));
	if (v->route != NULL)
		bpf_watch_read(v->cluster->bpf, WATCH_VOLUME(v->route->slot), sum);
}

void route_server_count(struct cluster *c, const struct server *s, struct watch_counts *sum)
{
	memset(sum, 0, sizeof(*sum));
	if (c->bpf != NULL)
		bpf_watch_read(c->bpf, WATCH_SERVER(s->number), sum);
}

const char *route_server_state(const struct cluster *c, const struct server *s)
{
	if (c->bpf == NULL)
		return "off";
	if (s->resolved && !addr_is_local(&s->addr))
		return s->routed ? "steered" : "remote";
	return s->routed ? "open" : "closed";
}

void route_server_forget(struct cluster *c, uint32_t number)
{
	if (c->bpf != NULL)
		bpf_watch_end(c->bpf, WATCH_SERVER(number));
}

/* ---- gates --------------------------------------------------------------------------------- */

static void set_gates(struct vol *v)
{
	struct vroute *vr = v->route;
	struct route_vol *m = map_vol(v);

	for (unsigned i = 0; i < vr->nservers; i++) {
		struct peer *p = wpeer_find(v->worker, vr->servers[i]);
		uint64_t key = 0, remote = 0;

		if (p != NULL && volume_server_ok(v->engine, vr->servers[i])) {
			key = route_server_key(v->worker, vr->servers[i], p->boot);
			remote = route_server_remote_key(v->worker, vr->servers[i], p->boot);
		}
		store64(&m->gate[i], key);
		vr->remote[i] = remote;
	}
	store32(&m->open, volume_is_running(v->engine));
}

void route_gates(struct worker *w)
{
	for (unsigned i = 0; i < w->nvols; i++)
		if (w->vols[i]->route != NULL && w->vols[i]->engine != NULL)
			set_gates(w->vols[i]);
}

/* The gate of a server; -1: no more of them. */
static int gate_of(struct vol *v, uint32_t server)
{
	struct vroute *vr = v->route;

	for (unsigned i = 0; i < vr->nservers; i++)
		if (vr->servers[i] == server)
			return (int)i;
	if (vr->nservers == ROUTE_GATES)
		return -1;
	vr->servers[vr->nservers++] = server;
	if (v->engine != NULL)
		set_gates(v);
	return (int)vr->nservers - 1;
}

/* ---- entries ------------------------------------------------------------------------------- */

static void set_entry(struct vol *v, const struct extent_record *r, unsigned j, bool readable)
{
	struct vroute *vr = v->route;
	const struct shard_place *p = &r->shard[j];
	volatile route_entry *at =
		&bpf_route_entries(v->cluster->bpf)[vr->first + r->extent * v->k + j];
	route_entry entry = 0;
	int gate;

	if (readable && p->server != 0 && p->slot < ROUTE_SLOT_MAX) {
		gate = gate_of(v, p->server);
		if (gate >= 0)
			entry = ROUTE_ENTRY((unsigned)gate, p->slot_gen, p->slot);
	}
	__atomic_store_n(at, entry, __ATOMIC_SEQ_CST);
}

void route_volume_changed(void *ctx, struct volume *e, const struct extent_record *r,
			  uint32_t readable)
{
	struct vol *v = ctx;

	if (v->route == NULL)
		return;
	if (r == NULL) {
		if (v->engine != NULL)
			set_gates(v);
		return;
	}
	if (r->extent >= v->route->extents)
		return;
	for (unsigned j = 0; j < v->k; j++)
		set_entry(v, r, j, (readable >> j & 1) != 0);
}

/* ---- workers ------------------------------------------------------------------------------- */

static void look_fire(struct io_timer *t)
{
	route_clients_look((struct wroute *)((char *)t - offsetof(struct wroute, look)));
}

void route_worker_init(struct worker *w)
{
	struct wroute *wr;

	if (w->cluster->bpf == NULL)
		return;
	wr = mem_must(sizeof(*wr));
	wr->worker = w;
	wr->bpf = w->cluster->bpf;
	wr->look.fire = look_fire;
	w->route = wr;
	route_remote_init(wr);
}

void route_worker_free(struct worker *w)
{
	if (w->route == NULL)
		return;
	route_servers_free(w);
	route_pairs_close(w->route);
	route_steers_free(w->route);
	route_remote_free(w->route);
	free(w->route);
	w->route = NULL;
}
