/*
 * A disk in memory with the manners of real ones: completions in any order, writes that a power cut
 * loses, keeps or tears at 512 bytes, a mapped area whose pages are written back whenever the disk
 * likes, and an N-th operation that fails. All from a seed.
 *
 * memory is what reads see (the page cache, and the mapped area); platter is what a power cut
 * leaves.
 */
#ifndef WEFT_FAKE_DISK_H
#define WEFT_FAKE_DISK_H

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "io.h"

#define FAKE_DISK_OPS_MAX 4096
#define FAKE_SECTOR	  512u
#define FAKE_PAGE	  4096u
#define FAKE_DIFFER	  2u

enum fake_disk_kind { FAKE_READ, FAKE_WRITE, FAKE_SYNC, FAKE_DISCARD };

struct fake_range {
	uint64_t offset, len;
	uint8_t *data;	/* a copy, or NULL: what memory holds */
	uint64_t stamp; /* when it was written */
};

struct fake_ranges {
	struct fake_range *r;
	size_t n, max;
};

struct fake_disk_op {
	enum fake_disk_kind kind;
	struct disk_op *op;
	struct iovec *iov;
	int niov;
	uint64_t offset, len;
	struct fake_ranges covers; /* SYNC */
	uint64_t stamp;
};

struct fake_disk;

struct fake_disk {
	struct disk disk; /* first */
	uint8_t *memory, *platter;
	int template;
	uint64_t map_offset, map_len;
	uint64_t skip_from, skip_to;		/* pages of the map that nobody changes */
	void (*submitted)(struct fake_disk *d); /* an operation waits; may be NULL */
	uint64_t random;
	bool ordered; /* complete in order of submission */
	bool now;     /* read_now and write_now work, mostly */
	bool always_now;
	struct fake_disk_op ops[FAKE_DISK_OPS_MAX];
	unsigned nops;
	struct fake_ranges unsynced;
	uint64_t stamp;	  /* counts snapshots */
	uint64_t *stamps; /* of the platter's pages: an old snapshot must not undo a newer one */
	uint8_t *touched; /* pages that were written, FAKE_DIFFER: since the last cut */
	uint64_t count;	  /* operations submitted, "now" ones too */
	uint64_t fail_at; /* this one fails with EIO; 0: none */
	bool fail_all;	  /* and all after it */
	uint64_t reads, writes, syncs, discards;
	uint64_t discarded; /* bytes */
	bool cannot_discard;
	bool spoil_used; /* a discard spoils only what was ever written */
	unsigned lies;	 /* per mille of writes from lie_from on that are lost, or go astray */
	uint64_t lie_from, lie_to;
	uint64_t full_from, full_to; /* writes there find no space */
	/* Does it refuse this write or sync, which is about to happen? May be NULL. */
	bool (*refuses)(struct fake_disk *d, const struct fake_disk_op *o);
};

static uint64_t fake_disk_next(struct fake_disk *d)
{
	uint64_t z = (d->random += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static uint32_t fake_disk_below(struct fake_disk *d, uint32_t n)
{
	return (uint32_t)((fake_disk_next(d) >> 32) * n >> 32);
}

static void fake_ranges_add(struct fake_ranges *rs, uint64_t offset, uint64_t len, uint8_t *data)
{
	if (rs->n == rs->max) {
		rs->max = rs->max == 0 ? 64 : rs->max * 2;
		rs->r = realloc(rs->r, rs->max * sizeof(*rs->r));
		assert(rs->r != NULL);
	}
	rs->r[rs->n++] = (struct fake_range){.offset = offset, .len = len, .data = data};
}

static void fake_ranges_clear(struct fake_ranges *rs)
{
	for (size_t i = 0; i < rs->n; i++)
		free(rs->r[i].data);
	rs->n = 0;
}

static void fake_touch(struct fake_disk *d, uint64_t offset, uint64_t len)
{
	for (uint64_t p = offset / FAKE_PAGE; p <= (offset + len - 1) / FAKE_PAGE; p++)
		d->touched[p] = 1 | FAKE_DIFFER;
}

/* The next page from p on that was touched; the number of pages: none was. */
static uint64_t fake_touched_next(const struct fake_disk *d, uint64_t p)
{
	uint64_t end = d->disk.size / FAKE_PAGE, word;

	while (p < end && d->touched[p] == 0) {
		memcpy(&word, d->touched + p / 8 * 8, sizeof(word));
		p = word == 0 ? p / 8 * 8 + 8 : p + 1;
	}
	return p;
}

/* The page of the map behind p. */
static uint64_t fake_map_next(const struct fake_disk *d, uint64_t p)
{
	p += FAKE_PAGE;
	return p == d->skip_from ? d->skip_to : p;
}

static void fake_unsynced(struct fake_disk *d, uint64_t offset, uint64_t len)
{
	fake_ranges_add(&d->unsynced, offset, len, NULL);
	d->unsynced.r[d->unsynced.n - 1].stamp = ++d->stamp;
}

/* A sync is through: what was written before it began is on the platter. */
static void fake_synced(struct fake_disk *d, uint64_t stamp)
{
	size_t n = 0;

	for (size_t i = 0; i < d->unsynced.n; i++)
		if (d->unsynced.r[i].stamp > stamp)
			d->unsynced.r[n++] = d->unsynced.r[i];
	d->unsynced.n = n;
}

static bool fake_fails(struct fake_disk *d)
{
	d->count++;
	return d->fail_at != 0 &&
	       (d->count == d->fail_at || (d->fail_all && d->count > d->fail_at));
}

static void fake_submit(struct fake_disk *d, enum fake_disk_kind kind, struct disk_op *op,
			const struct iovec *iov, int niov, uint64_t offset)
{
	struct fake_disk_op *o = &d->ops[d->nops++];

	assert(d->nops < FAKE_DISK_OPS_MAX);
	*o = (struct fake_disk_op){.kind = kind, .op = op, .niov = niov, .offset = offset};
	op->res = fake_fails(d) ? -EIO : 0;
	if (niov > 0) {
		o->iov = malloc((size_t)niov * sizeof(*iov));
		assert(o->iov != NULL);
		memcpy(o->iov, iov, (size_t)niov * sizeof(*iov));
	}
	for (int i = 0; i < niov; i++) {
		assert(iov[i].iov_len % d->disk.align == 0);
		assert((uintptr_t)iov[i].iov_base % d->disk.align == 0);
		o->len += iov[i].iov_len;
	}
	assert(offset % d->disk.align == 0 && offset + o->len <= d->disk.size);
	if (d->submitted != NULL)
		d->submitted(d);
}

static void fake_readv(struct disk *disk, struct disk_op *op, const struct iovec *iov, int niov,
		       uint64_t offset)
{
	((struct fake_disk *)disk)->reads++;
	fake_submit((struct fake_disk *)disk, FAKE_READ, op, iov, niov, offset);
}

static void fake_writev(struct disk *disk, struct disk_op *op, const struct iovec *iov, int niov,
			uint64_t offset)
{
	struct fake_disk *d = (struct fake_disk *)disk;

	d->writes++;
	fake_submit(d, FAKE_WRITE, op, iov, niov, offset);
	if (offset >= d->full_from && offset < d->full_to)
		op->res = -ENOSPC;
}

static uint8_t *fake_copy(const uint8_t *from, size_t len)
{
	uint8_t *p = malloc(len);

	assert(p != NULL);
	memcpy(p, from, len);
	return p;
}

/* A sync covers what completed before it, and the mapped pages as they are now: no more than that.
 */
static void fake_sync(struct disk *disk, struct disk_op *op)
{
	struct fake_disk *d = (struct fake_disk *)disk;
	struct fake_ranges *rs;

	d->syncs++;
	fake_submit(d, FAKE_SYNC, op, NULL, 0, 0);
	rs = &d->ops[d->nops - 1].covers;
	d->ops[d->nops - 1].stamp = ++d->stamp;
	for (size_t i = 0; i < d->unsynced.n; i++) {
		struct fake_range *r = &d->unsynced.r[i];

		fake_ranges_add(rs, r->offset, r->len, fake_copy(d->memory + r->offset, r->len));
	}
	for (uint64_t p = d->map_offset; p < d->map_offset + d->map_len; p = fake_map_next(d, p)) {
		if (memcmp(d->memory + p, d->platter + p, FAKE_PAGE) == 0)
			continue;
		d->touched[p / FAKE_PAGE] = 1 | FAKE_DIFFER;
		fake_ranges_add(rs, p, FAKE_PAGE, fake_copy(d->memory + p, FAKE_PAGE));
	}
}

static void fake_discard(struct disk *disk, struct disk_op *op, uint64_t offset, uint64_t len)
{
	struct fake_disk *d = (struct fake_disk *)disk;

	assert(len > 0 && len % FAKE_PAGE == 0 && offset + len <= disk->size);
	fake_submit(d, FAKE_DISCARD, op, NULL, 0, offset);
	d->ops[d->nops - 1].len = len;
	if (d->cannot_discard)
		op->res = -EOPNOTSUPP;
}

static int fake_read_now(struct disk *disk, void *buf, uint32_t len, uint64_t offset)
{
	struct fake_disk *d = (struct fake_disk *)disk;

	if (!d->always_now && fake_disk_below(d, 4) == 0)
		return -EAGAIN;
	memcpy(buf, d->memory + offset, len);
	return (int)len;
}

static int fake_write_now(struct disk *disk, const void *buf, uint32_t len, uint64_t offset)
{
	struct fake_disk *d = (struct fake_disk *)disk;

	if ((!d->always_now && fake_disk_below(d, 4) == 0) ||
	    (offset >= d->full_from && offset < d->full_to))
		return -EAGAIN;
	d->count++;
	memcpy(d->memory + offset, buf, len);
	if (!d->always_now)
		fake_unsynced(d, offset, len);
	fake_touch(d, offset, len);
	return (int)len;
}

static const struct disk_ops fake_disk_ops = {fake_readv,   fake_writev, fake_sync,
					      fake_discard, NULL,	 NULL};
static const struct disk_ops fake_disk_now_ops = {fake_readv,	fake_writev,   fake_sync,
						  fake_discard, fake_read_now, fake_write_now};

/* Both images start as what the file says, without a copy. */
__attribute__((unused)) static void fake_disk_init(struct fake_disk *d, int fd, uint64_t size,
						   uint64_t seed, bool now)
{
	memset(d, 0, sizeof(*d));
	d->disk.ops = now ? &fake_disk_now_ops : &fake_disk_ops;
	d->disk.size = size;
	d->disk.align = now ? 1 : 4096;
	d->now = now;
	d->random = seed;
	d->template = fd;
	d->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	d->platter = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	d->touched = calloc(size / FAKE_PAGE, 1);
	d->stamps = calloc(size / FAKE_PAGE, sizeof(*d->stamps));
	assert(d->memory != MAP_FAILED && d->platter != MAP_FAILED && d->touched != NULL);
	assert(d->stamps != NULL);
}

/* What is given back reads as anything from then on, at once and for ever: nobody may look. */
static void fake_spoil(struct fake_disk *d, uint64_t offset, uint64_t len)
{
	for (uint64_t p = offset; p < offset + len; p += FAKE_PAGE) {
		if (d->spoil_used && !d->touched[p / FAKE_PAGE])
			continue;
		memset(d->memory + p, 0xdd, FAKE_PAGE);
		memset(d->platter + p, 0xdd, FAKE_PAGE);
		d->touched[p / FAKE_PAGE] |= 1;
	}
	d->discards++;
	d->discarded += len;
}

static void fake_op_free(struct fake_disk_op *o)
{
	free(o->iov);
	fake_ranges_clear(&o->covers);
	free(o->covers.r);
}

__attribute__((unused)) static void fake_disk_free(struct fake_disk *d)
{
	for (unsigned i = 0; i < d->nops; i++)
		fake_op_free(&d->ops[i]);
	fake_ranges_clear(&d->unsynced);
	free(d->unsynced.r);
	free(d->touched);
	free(d->stamps);
	munmap(d->memory, d->disk.size);
	munmap(d->platter, d->disk.size);
}

static void fake_to_platter(struct fake_disk *d, uint64_t offset, const uint8_t *data, uint64_t len)
{
	memcpy(d->platter + offset, data, len);
	fake_touch(d, offset, len);
}

/* Whole pages as they were at the time of the stamp, where nothing newer came down meanwhile. */
static void fake_snapshot_to_platter(struct fake_disk *d, const struct fake_range *r,
				     uint64_t stamp)
{
	assert(r->offset % FAKE_PAGE == 0 && r->len % FAKE_PAGE == 0);
	for (uint64_t at = 0; at < r->len; at += FAKE_PAGE) {
		uint64_t *page = &d->stamps[(r->offset + at) / FAKE_PAGE];

		if (*page > stamp)
			continue;
		*page = stamp;
		fake_to_platter(d, r->offset + at, r->data + at, FAKE_PAGE);
	}
}

/* Where a write to this place really goes; UINT64_MAX: nowhere. */
static uint64_t fake_lie(struct fake_disk *d, uint64_t offset, uint64_t len)
{
	uint64_t pages = (d->lie_to - d->lie_from) / FAKE_PAGE;

	if (d->lies == 0 || offset < d->lie_from || offset + len > d->lie_to ||
	    fake_disk_below(d, 1000) >= d->lies)
		return offset;
	if (len > FAKE_PAGE || fake_disk_below(d, 2) == 0)
		return UINT64_MAX;
	return d->lie_from + fake_disk_below(d, (uint32_t)pages) * (uint64_t)FAKE_PAGE;
}

static void fake_move(struct fake_disk *d, const struct fake_disk_op *o, bool write)
{
	uint64_t at = write ? fake_lie(d, o->offset, o->len) : o->offset, from = at;

	if (at == UINT64_MAX)
		return;
	for (int i = 0; i < o->niov; i++) {
		if (write)
			memcpy(d->memory + at, o->iov[i].iov_base, o->iov[i].iov_len);
		else
			memcpy(o->iov[i].iov_base, d->memory + at, o->iov[i].iov_len);
		at += o->iov[i].iov_len;
	}
	if (write && o->len > 0) {
		fake_unsynced(d, from, o->len);
		fake_touch(d, from, o->len);
	}
}

/* Carry out one operation, whose done() the caller calls with *res; NULL: there is none. */
static struct disk_op *fake_disk_finish(struct fake_disk *d, int64_t *res)
{
	struct fake_disk_op o;
	unsigned i;

	*res = 0;
	if (d->nops == 0)
		return NULL;
	i = d->ordered ? 0 : fake_disk_below(d, d->nops);
	o = d->ops[i];
	memmove(&d->ops[i], &d->ops[i + 1], (--d->nops - i) * sizeof(o));
	if (o.op->res == 0 && d->refuses != NULL && (o.kind == FAKE_WRITE || o.kind == FAKE_SYNC) &&
	    d->refuses(d, &o))
		o.op->res = -EIO;
	if (o.op->res == 0 && o.kind == FAKE_SYNC) {
		for (size_t r = 0; r < o.covers.n; r++)
			fake_snapshot_to_platter(d, &o.covers.r[r], o.stamp);
		fake_synced(d, o.stamp);
	} else if (o.op->res == 0 && o.kind == FAKE_DISCARD) {
		fake_spoil(d, o.offset, o.len);
	} else if (o.op->res == 0) {
		fake_move(d, &o, o.kind == FAKE_WRITE);
	}
	fake_op_free(&o);
	*res = o.op->res != 0 ? o.op->res : (int64_t)o.len;
	return o.op;
}

/* Complete one operation; false: there is none. */
__attribute__((unused)) static bool fake_disk_step(struct fake_disk *d)
{
	int64_t res;
	struct disk_op *op = fake_disk_finish(d, &res);

	if (op == NULL)
		return false;
	op->done(op, res);
	return true;
}

/* The kernel writes a page of the map back. */
__attribute__((unused)) static void fake_disk_writeback(struct fake_disk *d)
{
	uint64_t p = d->map_offset +
		     (uint64_t)fake_disk_below(d, (uint32_t)(d->map_len / FAKE_PAGE)) * FAKE_PAGE;

	d->stamps[p / FAKE_PAGE] = ++d->stamp;
	fake_to_platter(d, p, d->memory + p, FAKE_PAGE);
}

/* mode 0: all is lost; 1: all is kept; 2: some of it; 3: torn between sectors; 4: cut off */
#define FAKE_CUTS 5
static void fake_survive(struct fake_disk *d, unsigned mode, uint64_t offset, const uint8_t *data,
			 uint64_t len)
{
	bool keep = mode == 1 || mode == 4 || (mode == 2 && fake_disk_below(d, 2) == 0);

	if (mode == 4)
		len = fake_disk_below(d, (uint32_t)(len / FAKE_SECTOR + 1)) * (uint64_t)FAKE_SECTOR;
	for (uint64_t at = 0; at < len; at += FAKE_SECTOR) {
		if (mode == 3)
			keep = fake_disk_below(d, 2) == 0;
		if (keep)
			fake_to_platter(d, offset + at, data + at, FAKE_SECTOR);
	}
}

static void fake_survive_snapshot(struct fake_disk *d, unsigned mode, const struct fake_range *r,
				  uint64_t stamp)
{
	for (uint64_t at = 0; at < r->len; at += FAKE_PAGE)
		if (d->stamps[(r->offset + at) / FAKE_PAGE] <= stamp)
			fake_survive(d, mode, r->offset + at, r->data + at, FAKE_PAGE);
}

/* A write under way: its pieces. */
static void fake_survive_write(struct fake_disk *d, unsigned mode, const struct fake_disk_op *o)
{
	uint64_t at = o->offset, left = o->len;

	if (mode == 4)
		left = fake_disk_below(d, (uint32_t)(left / FAKE_SECTOR + 1)) *
		       (uint64_t)FAKE_SECTOR;
	for (int v = 0; v < o->niov && left > 0; v++) {
		uint64_t len = o->iov[v].iov_len < left ? o->iov[v].iov_len : left;

		fake_survive(d, mode == 4 ? 1 : mode, at, o->iov[v].iov_base, len);
		at += len;
		left -= len;
	}
}

/* The power goes. What was not synced is lost, kept or torn; memory is the platter again. */
__attribute__((unused)) static void fake_disk_cut(struct fake_disk *d)
{
	unsigned mode = fake_disk_below(d, FAKE_CUTS);

	for (uint64_t p = d->map_offset; p < d->map_offset + d->map_len; p = fake_map_next(d, p))
		if (memcmp(d->memory + p, d->platter + p, FAKE_PAGE) != 0)
			fake_survive(d, fake_disk_below(d, FAKE_CUTS), p, d->memory + p, FAKE_PAGE);
	for (size_t i = 0; i < d->unsynced.n; i++)
		fake_survive(d, mode, d->unsynced.r[i].offset, d->memory + d->unsynced.r[i].offset,
			     d->unsynced.r[i].len);
	for (unsigned i = 0; i < d->nops; i++) {
		struct fake_disk_op *o = &d->ops[i];

		if (o->kind == FAKE_WRITE)
			fake_survive_write(d, mode, o);
		if (o->kind == FAKE_DISCARD && fake_disk_below(d, 2) == 0)
			fake_spoil(d, o->offset, o->len);
		for (size_t r = 0; r < o->covers.n; r++)
			fake_survive_snapshot(d, mode, &o->covers.r[r], o->stamp);
		fake_op_free(o);
	}
	d->nops = 0;
	fake_ranges_clear(&d->unsynced);
	for (uint64_t n = fake_touched_next(d, 0); n < d->disk.size / FAKE_PAGE;
	     n = fake_touched_next(d, n + 1)) {
		if ((d->touched[n] & FAKE_DIFFER) == 0)
			continue;
		memcpy(d->memory + n * FAKE_PAGE, d->platter + n * FAKE_PAGE, FAKE_PAGE);
		d->touched[n] = 1;
	}
	for (uint64_t p = d->map_offset; p < d->map_offset + d->map_len; p = fake_map_next(d, p))
		memcpy(d->memory + p, d->platter + p, FAKE_PAGE);
}

/* The process dies, the power stays: operations under way happen or not, the caches live on. */
__attribute__((unused)) static void fake_disk_orphan(struct fake_disk *d)
{
	for (unsigned i = 0; i < d->nops; i++) {
		struct fake_disk_op *o = &d->ops[i];

		if (o->kind == FAKE_WRITE && o->op->res == 0 && fake_disk_below(d, 2) == 0)
			fake_move(d, o, true);
		else if (o->kind == FAKE_DISCARD && o->op->res == 0 && fake_disk_below(d, 2) == 0)
			fake_spoil(d, o->offset, o->len);
		fake_op_free(o);
	}
	d->nops = 0;
}

static void fake_page_back(struct fake_disk *d, const uint8_t *image, uint64_t page)
{
	memcpy(d->memory + page, image + page, FAKE_PAGE);
	memcpy(d->platter + page, image + page, FAKE_PAGE);
}

/* A new disk that holds what is in image, which fd of fake_disk_init() is, too. Nobody uses it. */
__attribute__((unused)) static void fake_disk_rewind(struct fake_disk *d, const uint8_t *image,
						     uint64_t seed, bool now)
{
	assert(d->nops == 0);
	fake_ranges_clear(&d->unsynced);
	for (uint64_t p = fake_touched_next(d, 0); p < d->disk.size / FAKE_PAGE;
	     p = fake_touched_next(d, p + 1)) {
		fake_page_back(d, image, p * FAKE_PAGE);
		d->touched[p] = 0;
		d->stamps[p] = 0;
	}
	for (uint64_t p = d->map_offset; p < d->map_offset + d->map_len; p = fake_map_next(d, p))
		fake_page_back(d, image, p);
	d->random = seed;
	d->now = now;
	d->disk.align = now ? 1 : 4096;
	d->stamp = d->count = d->fail_at = 0;
	d->fail_all = d->cannot_discard = false;
	d->reads = d->writes = d->syncs = d->discards = d->discarded = 0;
	d->full_from = d->full_to = 0;
	d->lies = 0;
}

/* A byte that was written some time rots, also on the platter. False: none was. */
__attribute__((unused)) static bool fake_disk_rot(struct fake_disk *d, uint64_t from, uint64_t to)
{
	uint64_t pages = (to - from) / FAKE_PAGE, page = fake_disk_below(d, (uint32_t)pages);

	for (uint64_t i = 0; i < pages; i++) {
		uint64_t at = from + (page + i) % pages * FAKE_PAGE;
		uint32_t byte = fake_disk_below(d, FAKE_PAGE);

		if (!d->touched[at / FAKE_PAGE])
			continue;
		d->memory[at + byte] ^= 0x10;
		d->platter[at + byte] ^= 0x10;
		return true;
	}
	return false;
}

#endif
