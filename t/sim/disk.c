/*
 * The disks: those of the store's tests, with time. Operations complete one after the other at
 * random moments, in any order; between them the kernel writes pages of the map back.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sim-disk.h"

#include "fake-disk.h"
#include "nbdsrv/store/format.h"

#define OP_LOW	   (5 * 1000ULL)
#define OP_HIGH	   (500 * 1000ULL)
#define SYNC_LOW   (50 * 1000ULL)
#define SYNC_HIGH  (8 * NS_PER_MS)
#define SLOW_TIMES 100

struct sim_disk {
	struct fake_disk d; /* first */
	struct disk_ops ops;
	struct proc *proc;
	uint64_t life;
	const struct store_info *info;
	const uint8_t *image;
	struct event event;
	bool slow;
	unsigned refuses; /* SIM_REFUSE_* */
	bool (*agrees)(struct proc *p);
	bool dropped; /* what a refused sync should have covered never comes to the disk */
};

/* Whoever is running, this memory is the world's. */

static void sd_readv(struct disk *disk, struct disk_op *op, const struct iovec *iov, int niov,
		     uint64_t offset)
{
	struct heap *before = heap_use(NULL);

	fake_readv(disk, op, iov, niov, offset);
	heap_use(before);
}

static void sd_writev(struct disk *disk, struct disk_op *op, const struct iovec *iov, int niov,
		      uint64_t offset)
{
	struct heap *before = heap_use(NULL);

	fake_writev(disk, op, iov, niov, offset);
	heap_use(before);
}

static void sd_sync(struct disk *disk, struct disk_op *op)
{
	struct heap *before = heap_use(NULL);

	fake_sync(disk, op);
	heap_use(before);
}

static void sd_discard(struct disk *disk, struct disk_op *op, uint64_t offset, uint64_t len)
{
	struct heap *before = heap_use(NULL);

	fake_discard(disk, op, offset, len);
	heap_use(before);
}

static int sd_write_now(struct disk *disk, const void *buf, uint32_t len, uint64_t offset)
{
	struct heap *before;
	int n;

	if ((((struct sim_disk *)disk)->refuses & SIM_REFUSE_WRITE) != 0)
		return -EAGAIN; /* the other way will tell */
	before = heap_use(NULL);
	n = fake_write_now(disk, buf, len, offset);
	heap_use(before);
	return n;
}

static const struct disk_ops direct_ops = {sd_readv, sd_writev, sd_sync, sd_discard, NULL, NULL};
static const struct disk_ops now_ops = {sd_readv,   sd_writev,	   sd_sync,
					sd_discard, fake_read_now, sd_write_now};

/* ---- time ---------------------------------------------------------------------------------- */

static void disk_schedule(struct sim_disk *sd, bool sync)
{
	struct sim *s = sd->proc->sim;
	uint64_t delay = sync ? sim_delay(s, SYNC_LOW, SYNC_HIGH) : sim_delay(s, OP_LOW, OP_HIGH);

	sim_at(s, &sd->event, sd->slow ? delay * SLOW_TIMES : delay);
}

static enum sim_io kind_of(const struct sim_disk *sd, const struct fake_disk_op *op)
{
	const struct store_info *info = sd->info;

	if (op->kind != FAKE_WRITE)
		return op->kind == FAKE_SYNC ? SIM_SYNC : SIM_ANY;
	if (op->offset >= info->data_offset && op->offset < info->data_offset + info->data_bytes)
		return SIM_DATA;
	if (op->offset >= info->log_offset && op->offset < info->log_offset + info->log_bytes)
		return SIM_LOG;
	return SIM_SUPER;
}

static void disk_submitted(struct fake_disk *d)
{
	struct sim_disk *sd = (struct sim_disk *)d;

	if (!sd->event.queued)
		disk_schedule(sd, d->ops[d->nops - 1].kind == FAKE_SYNC);
	if (d->ops[d->nops - 1].kind == FAKE_WRITE &&
	    d->ops[d->nops - 1].len >= WEFT_GRANULE_BYTES &&
	    kind_of(sd, &d->ops[d->nops - 1]) == SIM_DATA)
		faults_aim_data(sd->proc->sim->faults, sd->proc);
	faults_io(sd->proc->sim->faults, sd->proc, kind_of(sd, &d->ops[d->nops - 1]));
}

static bool disk_refuses(struct fake_disk *d, const struct fake_disk_op *o)
{
	struct sim_disk *sd = (struct sim_disk *)d;
	unsigned what = o->kind == FAKE_SYNC ? SIM_REFUSE_SYNC : SIM_REFUSE_WRITE;

	if ((sd->refuses & what) == 0 || sd->proc->doomed || !sd->agrees(sd->proc))
		return false;
	if (o->kind == FAKE_SYNC) { /* as Linux does it: later syncs say nothing of it */
		fake_synced(d, o->stamp);
		sd->dropped = true;
	}
	return true;
}

static void disk_event(struct event *e)
{
	struct sim_disk *sd = (struct sim_disk *)((char *)e - offsetof(struct sim_disk, event));
	struct proc *p = sd->proc;
	struct disk_op *op;
	int64_t res;

	if (p->life != sd->life || sd->d.nops == 0)
		return;
	sim_note(p->sim, "disk", p->name, sd->d.nops, sd->d.count);
	if (fake_disk_below(&sd->d, 8) == 0)
		fake_disk_writeback(&sd->d);
	op = fake_disk_finish(&sd->d, &res);
	proc_enter(p);
	op->done(op, res);
	proc_leave(p);
	if (sd->d.nops > 0 && !sd->event.queued)
		disk_schedule(sd, sd->d.ops[0].kind == FAKE_SYNC);
}

/* ---- life ---------------------------------------------------------------------------------- */

struct sim_disk *sim_disk_new(struct proc *p, int fd, const uint8_t *image,
			      const struct store_info *info)
{
	struct sim_disk *sd = world_alloc(sizeof(*sd));

	fake_disk_init(&sd->d, fd, info->size_bytes, 0, false);
	sd->image = image;
	sd->info = info;
	sd->proc = p;
	sd->d.map_offset = info->meta_offset;
	/* one volume, a few slots */
	sd->d.skip_from = info->meta_offset + FAKE_PAGE;
	sd->d.skip_to = info->meta_offset + STORE_VOLUMES_MAX * sizeof(struct disk_volume);
	sd->d.map_len = STORE_VOLUMES_MAX * sizeof(struct disk_volume) +
			info->slots * sizeof(struct disk_label) +
			SIM_SLOTS_MAX * SLOT_GRANULES * sizeof(struct disk_entry);
	sd->d.map_len = (sd->d.map_len + FAKE_PAGE - 1) / FAKE_PAGE * FAKE_PAGE;
	assert(sd->d.map_len <= info->meta_bytes);
	sd->d.submitted = disk_submitted;
	sd->d.spoil_used = true;
	sd->d.refuses = disk_refuses;
	sd->d.lie_from = info->data_offset;
	sd->d.lie_to = info->data_offset + info->data_bytes;
	sd->event = (struct event){.fn = disk_event, .proc = p};
	return sd;
}

void sim_disk_reset(struct sim_disk *sd, const struct store_info *info, uint64_t seed, bool now)
{
	uint64_t cold = sd->d.map_offset + sd->d.map_len;

	/* nobody has been where we do not look; now and then will do */
	if (sd->d.count > 0 && seed % 16 == 0 &&
	    (memcmp(sd->d.memory + cold, sd->image + cold,
		    info->meta_offset + info->meta_bytes - cold) != 0 ||
	     memcmp(sd->d.memory + sd->d.skip_from, sd->image + sd->d.skip_from,
		    sd->d.skip_to - sd->d.skip_from) != 0)) {
		fprintf(stderr, "# a store uses more of its map than is simulated\n");
		abort();
	}
	fake_disk_orphan(&sd->d);
	fake_disk_rewind(&sd->d, sd->image, seed, now);
	sd->d.disk.ops = now ? &now_ops : &direct_ops;
	sd->event.queued = false;
	sd->slow = false;
	sd->refuses = 0;
	sd->dropped = false;
}

struct disk *sim_disk_open(struct sim_disk *sd)
{
	sd->life = sd->proc->life;
	return &sd->d.disk;
}

void *sim_disk_map(struct sim_disk *sd)
{
	return sd->d.memory + sd->d.map_offset;
}

void sim_disk_died(struct sim_disk *sd, bool power)
{
	sim_cancel(sd->proc->sim, &sd->event);
	if (power || sd->dropped)
		fake_disk_cut(&sd->d);
	else
		fake_disk_orphan(&sd->d);
	sd->dropped = false;
}

void sim_disk_slow(struct sim_disk *sd, bool slow)
{
	sd->slow = slow;
}

void sim_disk_refuse(struct sim_disk *sd, unsigned what, bool (*agrees)(struct proc *p))
{
	sd->refuses = what;
	sd->agrees = agrees;
}

void sim_disk_lie(struct sim_disk *sd, unsigned per_mille)
{
	sd->d.lies = per_mille;
}

const char *sim_disk_spoil(struct sim_disk *sd, bool running)
{
	return disk_spoil(sd->proc, &sd->d, sd->info, running);
}

bool sim_disk_rot(struct sim_disk *sd)
{
	return fake_disk_rot(&sd->d, sd->d.lie_from, sd->d.lie_to);
}
