/*
 * A disk that changes what it has in the log, in the map or in a superblock: bytes rot, writes that
 * it confirmed are not there, or something else is. t/sim/FAULTS says which of these a store must
 * find out.
 */
#include "config.h"

#include "sim-disk.h"

#include "fake-disk.h"
#include "nbdsrv/store/format.h"
#include "nbdsrv/store/store_internal.h"

#define BATCHES_MAX 2048
#define TRIES	    200

struct found {
	uint64_t at;
	uint64_t seq;
	uint32_t blocks;
};

static uint32_t below(const struct proc *p, uint64_t n)
{
	return sim_more(p->sim, (uint32_t)n);
}

static void flip(struct fake_disk *d, uint64_t at)
{
	d->memory[at] ^= 0x10;
	d->platter[at] ^= 0x10;
	d->touched[at / FAKE_PAGE] |= 1;
}

static void overwrite(struct fake_disk *d, uint64_t at, const uint8_t *from)
{
	uint8_t page[FAKE_PAGE] = {0};

	if (from != NULL)
		memcpy(page, from, sizeof(page));
	memcpy(d->memory + at, page, sizeof(page));
	memcpy(d->platter + at, page, sizeof(page));
	d->touched[at / FAKE_PAGE] |= 1;
}

static uint64_t tail_seq(const struct fake_disk *d, const struct store_info *info)
{
	struct disk_super s, best = {.sequence = 0};

	for (unsigned i = 0; i < SUPER_COPIES; i++) {
		const uint8_t *p = d->platter + super_copy_offset(info->size_bytes, i);

		if (super_decode((const struct disk_super *)p, &s) == 0 &&
		    s.sequence >= best.sequence)
			best = s;
	}
	return best.tail_seq;
}

/* Batches that replay needs, and that a later one counts as durable: the store must miss them. */
static unsigned find(const struct fake_disk *d, const struct store_info *info, struct found *found)
{
	uint64_t end = info->log_offset + info->log_bytes, noted = 0, tail = tail_seq(d, info);
	unsigned n = 0, kept = 0;

	for (uint64_t at = info->log_offset; at < end && n < BATCHES_MAX; at += LOG_BLOCK) {
		const uint8_t *p = d->platter + at;
		struct disk_batch h;

		if (!d->touched[at / FAKE_PAGE] || batch_decode(p, end - at, info->store, &h) < 0 ||
		    h.seq < tail)
			continue;
		if (batch_noted(p, &h) > noted)
			noted = batch_noted(p, &h);
		found[n++] = (struct found){at, h.seq, h.blocks};
	}
	for (unsigned i = 0; i < n; i++)
		if (found[i].seq < noted)
			found[kept++] = found[i];
	return kept;
}

static const char *spoil_log(struct proc *p, struct fake_disk *d, const struct store_info *info)
{
	static struct found found[BATCHES_MAX];
	unsigned n = find(d, info, found);
	const struct found *b;

	if (n == 0)
		return NULL;
	b = &found[below(p, n)];
	switch (below(p, 4)) {
	case 0:
		flip(d, b->at + below(p, sizeof(struct disk_batch) + 40));
		return "log rots";
	case 1:
		flip(d, b->at + below(p, (uint64_t)b->blocks * LOG_BLOCK));
		return "log rots";
	case 2:
		for (uint32_t i = 0; i < b->blocks; i++)
			overwrite(d, b->at + (uint64_t)i * LOG_BLOCK, NULL);
		return "log write lost";
	default:
		overwrite(d, b->at + below(p, b->blocks) * (uint64_t)LOG_BLOCK,
			  d->platter + found[below(p, n)].at);
		return "log overwritten";
	}
}

/* A bit of a map entry in use: often of those that say which blocks are there. */
static const char *spoil_entry(struct proc *p, struct fake_disk *d, const struct store_info *info)
{
	uint64_t base = info->meta_offset + STORE_VOLUMES_MAX * sizeof(struct disk_volume) +
			info->slots * sizeof(struct disk_label);
	uint32_t n = SIM_SLOTS_MAX * SLOT_GRANULES, from = below(p, n);

	for (uint32_t i = 0; i < n; i++) {
		uint64_t at = base + (from + i) % n * sizeof(struct disk_entry);
		struct disk_entry e;
		unsigned bit;

		memcpy(&e, d->platter + at, sizeof(e));
		if (e.phys == 0 || memcmp(&e, d->memory + at, 8) != 0)
			continue;
		bit = below(p, 2) == 0 ? below(p, sizeof(e) * 8) : 32 + below(p, 16);
		d->memory[at + bit / 8] ^= (uint8_t)(1u << bit % 8);
		d->platter[at + bit / 8] ^= (uint8_t)(1u << bit % 8);
		d->touched[(at + bit / 8) / FAKE_PAGE] |= 1;
		return "map entry rots";
	}
	return NULL;
}

/* A byte of the map that says something. */
static const char *spoil_map(struct proc *p, struct fake_disk *d)
{
	for (unsigned i = 0; i < TRIES; i++) {
		uint64_t page =
			d->map_offset + below(p, d->map_len / FAKE_PAGE) * (uint64_t)FAKE_PAGE;
		uint64_t at = page + below(p, FAKE_PAGE);

		if ((page >= d->skip_from && page < d->skip_to) || d->memory[at] == 0 ||
		    d->platter[at] == 0)
			continue;
		flip(d, at);
		return "map rots";
	}
	return NULL;
}

/* Something that was meant for elsewhere. */
static const char *overwrite_map(struct proc *p, struct fake_disk *d)
{
	uint64_t page = d->map_offset + below(p, d->map_len / FAKE_PAGE) * (uint64_t)FAKE_PAGE;
	uint8_t bytes[FAKE_PAGE];

	if (page >= d->skip_from && page < d->skip_to)
		return NULL;
	for (unsigned i = 0; i < FAKE_PAGE; i++)
		bytes[i] = (uint8_t)(1 + below(p, 255));
	overwrite(d, page, bytes);
	return "map overwritten";
}

static const char *spoil_super(struct proc *p, struct fake_disk *d, const struct store_info *info)
{
	flip(d, super_copy_offset(info->size_bytes, below(p, SUPER_COPIES)) +
			below(p, sizeof(struct disk_super)));
	return "superblock rots";
}

const char *disk_spoil(struct proc *p, struct fake_disk *d, const struct store_info *info,
		       bool running)
{
	uint32_t what = below(p, running ? 4 : 9);
	const char *did = NULL;

	if (what == 8)
		return spoil_super(p, d, info);
	if (what == 7)
		did = overwrite_map(p, d);
	else if (what == 3)
		did = spoil_map(p, d);
	else if (what <= 2)
		did = spoil_entry(p, d, info);
	if (did == NULL && !running)
		did = spoil_log(p, d, info);
	return did != NULL ? did : spoil_entry(p, d, info);
}
