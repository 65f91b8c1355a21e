/*
 * The metadata is lost: what the labels on the servers say takes its place, by the plan of "volctl
 * recover". Before that slots that nobody uses are given back, as volmgr does it from time to time:
 * some were left when a server was away.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "nbdsrv/store/format.h"
#include "recover.h"
#include "sim-disk.h"
#include "stripe/volume.h"

#define TIDY_NS (60 * NS_PER_S)

/* ---- giving back --------------------------------------------------------------------------- */

struct tidy {
	struct sim *sim;
	unsigned server; /* the one that is next */
	bool running;
	struct volume_slot *slots;
	struct volume_tidy order;
};

static struct tidy tidying;

static void tidied(void *arg, int err, unsigned freed)
{
	struct tidy *t = arg;

	sim_note(t->sim, "tidied", "recover", t->server, freed);
	t->running = false;
	t->server += err == 0;
}

struct used {
	uint32_t server;
	const struct disk_label *label;
	uint32_t slot;
	bool found;
};

static void is_used(void *arg, const struct extent_record *r)
{
	struct used *u = arg;

	for (unsigned i = 0; i < WEFT_SHARDS_MAX; i++)
		u->found |= r->shard[i].server == u->server && r->shard[i].slot == u->slot &&
			    r->shard[i].slot_gen == le32toh(u->label->slot_gen);
}

/* One server after the other; in volmgr's memory, which goes with it. */
static bool tidy_step(struct sim *s)
{
	struct tidy *t = &tidying;
	struct mgr *m = s->mgrs[mgr_ready(s->mgrs[0]) ? 0 : 1];
	const struct disk_label *labels;
	uint32_t n;

	if (t->server == s->g.servers)
		return true;
	if (t->running || !mgr_ready(m))
		return false;
	labels = server_labels(s->servers[t->server], &n);
	t->order = (struct volume_tidy){.slots = t->slots};
	for (uint32_t slot = 0; slot < n && t->order.nslots < SIM_SLOTS_MAX; slot++) {
		struct used u = {.server = t->server + 1, .label = &labels[slot], .slot = slot};

		if (labels[slot].volume == 0)
			continue;
		mgr_each_extent(m, is_used, &u);
		if (!u.found)
			t->slots[t->order.nslots++] = (struct volume_slot){
				le64toh(labels[slot].extent), le32toh(labels[slot].generation),
				slot, le32toh(labels[slot].slot_gen)};
	}
	t->running = true;
	proc_enter(mgr_proc(m));
	volume_tidy(mgr_volume(m), t->server + 1, &t->order, tidied, t);
	proc_leave(mgr_proc(m));
	return false;
}

void recover_tidy(struct sim *s)
{
	struct volume_slot slots[SIM_SLOTS_MAX];

	tidying = (struct tidy){.sim = s, .slots = slots};
	if (!sim_run(s, tidy_step, TIDY_NS))
		sim_fail(s, "slots that nobody uses cannot be given back");
}

/* ---- the plan ------------------------------------------------------------------------------ */

/* As LABELS tells it: the map comes behind the labels. */
static uint64_t mapped_bytes(const struct disk_label *labels, uint32_t n, uint32_t slot)
{
	const struct disk_entry *e = (const struct disk_entry *)(labels + n);
	uint64_t bytes = 0;

	e += (uint64_t)slot * SLOT_GRANULES;
	for (unsigned i = 0; i < SLOT_GRANULES; i++)
		bytes += e[i].phys != 0 ? WEFT_GRANULE_BYTES : 0;
	return bytes;
}

static void take_label(struct survey_server *to, uint32_t slot, const struct disk_label *d,
		       uint64_t mapped)
{
	struct survey_label *l = &to->labels[to->nlabels++];

	*l = (struct survey_label){
		.volume = le64toh(d->volume),
		.extent = le64toh(d->extent),
		.mapped_bytes = mapped,
		.generation = le32toh(d->generation),
		.unit_bytes = le32toh(d->unit_bytes),
		.slot = slot,
		.slot_gen = le32toh(d->slot_gen),
		.mark = le32toh(d->mark),
		.stale = le32toh(d->stale),
		.shard = d->shard,
		.k = d->k,
		.m = d->m,
		.code = d->code,
	};
	memcpy(l->name, d->name, sizeof(l->name));
}

static void survey(struct sim *s, struct survey_server *servers)
{
	for (unsigned i = 0; i < s->g.servers; i++) {
		uint32_t n;
		const struct disk_label *labels = server_labels(s->servers[i], &n);

		servers[i] = (struct survey_server){.number = i + 1};
		servers[i].labels = world_alloc(SIM_SLOTS_MAX * sizeof(struct survey_label));
		for (uint32_t slot = 0; slot < n && servers[i].nlabels < SIM_SLOTS_MAX; slot++)
			if (labels[slot].volume != 0)
				take_label(&servers[i], slot, &labels[slot],
					   mapped_bytes(labels, n, slot));
	}
}

struct compare {
	struct sim *sim;
	const struct recover_volume *v;
};

/* What was lost, against what the servers say: no shard may look better than it was. */
static void compare(void *arg, const struct extent_record *was)
{
	const struct compare *c = arg;
	const struct extent_record *is = NULL;

	for (size_t i = 0; c->v != NULL && i < c->v->nextents; i++)
		if (c->v->extents[i].extent == was->extent)
			is = &c->v->extents[i];
	if (is == NULL)
		sim_fail(c->sim, "the servers do not tell of extent %u", (unsigned)was->extent);
	if ((was->stale & ~is->stale) != 0)
		sim_fail(c->sim, "extent %u: shards 0x%x were stale, the servers tell of 0x%x",
			 (unsigned)was->extent, was->stale, is->stale);
	for (unsigned i = 0; i < c->sim->g.k + c->sim->g.m; i++)
		if ((is->stale >> i & 1) == 0 &&
		    memcmp(&was->shard[i], &is->shard[i], sizeof(is->shard[i])) != 0)
			sim_fail(c->sim, "extent %u: shard %u was elsewhere", (unsigned)was->extent,
				 i);
}

void recover_metadata(struct sim *s)
{
	struct survey_server servers[SIM_SERVERS_MAX];
	struct recover_plan plan;
	struct compare c = {.sim = s};

	survey(s, servers);
	if (recover_plan(servers, s->g.servers, &plan) != 0)
		sim_fail(s, "no plan");
	c.v = plan.n > 0 ? &plan.volumes[0] : NULL;
	sim_note(s, "recovers", "recover", plan.n, c.v == NULL ? 0 : c.v->nextents);
	if (plan.n > 1)
		sim_fail(s, "the servers tell of volumes that there never were");
	meta_each(s->meta, compare, &c);
	meta_replace(s->meta, c.v == NULL ? NULL : c.v->extents, c.v == NULL ? 0 : c.v->nextents);
	recover_plan_free(&plan);
	for (unsigned i = 0; i < s->g.servers; i++)
		free(servers[i].labels);
}
