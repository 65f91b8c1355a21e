/*
 * Map entries. Which granules of the data area are taken is not stored: the map says it, and
 * map_scan() finds out at open, when replay has settled what belongs to whom.
 */
#include "config.h"

#include <inttypes.h>

#include "store/store_internal.h"

#include "banned.h"

uint16_t entry_check(const struct disk_entry *e)
{
	struct disk_entry copy = *e;
	uint32_t crc;

	copy.check = 0;
	crc = crc32c(0, &copy, sizeof(copy));
	return htole16((uint16_t)(crc ^ crc >> 16));
}

bool entry_valid(const struct disk_entry *e)
{
	if (e->phys == 0)
		return e->present == 0 && e->check == 0;
	return e->check == entry_check(e);
}

void entry_seal(struct disk_entry *e)
{
	e->check = entry_check(e);
}

void map_resolve(struct store *s, const struct gran *g, uint64_t index, unsigned block,
		 struct src *src)
{
	const struct disk_entry *e = map_entry(s, index);
	uint32_t phys = le32toh(e->phys);

	for (const struct part *p = g != NULL ? g->newest : NULL; p != NULL; p = p->older) {
		if ((p->mask & (1u << block)) == 0)
			continue;
		if (p->kind == PART_ZERO) {
			src->kind = SRC_ZERO;
		} else if (p->in_memory) {
			src->kind = SRC_MEMORY;
			src->memory = part_data(p, block);
		} else {
			src->kind = SRC_DISK;
			src->disk = granule_offset(s, p->phys) + block * WEFT_BLOCK_BYTES;
		}
		src->crc = p->crc[block];
		return;
	}
	if (phys == 0 || (le16toh(e->present) & (1u << block)) == 0) {
		src->kind = SRC_ZERO;
		return;
	}
	src->kind = SRC_DISK;
	src->disk = granule_offset(s, phys) + block * WEFT_BLOCK_BYTES;
	src->crc = le32toh(e->crc[block]);
}

void map_set(struct store *s, uint64_t index, const struct disk_entry *e)
{
	struct disk_entry *at = map_entry(s, index);
	struct slot *slot = &s->slots[index / SLOT_GRANULES];
	uint32_t old = le32toh(at->phys), new = le32toh(e->phys);

	if (old != 0 && old != new)
		granule_free(s, old);
	if (old == 0 && new != 0)
		slot->granules++;
	if (old != 0 && new == 0)
		slot->granules--;
	if (new == 0) {
		memset(at, 0, sizeof(*at));
		return;
	}
	*at = *e;
	entry_seal(at);
}

void map_clear(struct store *s, uint64_t index)
{
	static const struct disk_entry none;

	map_set(s, index, &none);
}

/* Is there anything to read? */
static bool granule_has(struct store *s, uint64_t index)
{
	const struct gran *g = gran_find(s, index);
	struct src src;

	if (g == NULL || g->newest == NULL)
		return map_entry(s, index)->phys != 0;
	for (unsigned b = 0; b < GRANULE_BLOCKS; b++) {
		map_resolve(s, g, index, b, &src);
		if (src.kind != SRC_ZERO)
			return true;
	}
	return false;
}

bool map_sound(struct store *s, uint64_t index)
{
	const struct disk_entry *e = map_entry(s, index);

	if (entry_valid(e) && le32toh(e->phys) <= s->granules)
		return true;
	if (s->failed == 0)
		store_fail(s, EIO,
			   store_why("the map entry %" PRIu64 " of slot %" PRIu64
				     " is not what was written there",
				     index % SLOT_GRANULES, index / SLOT_GRANULES));
	return false;
}

void map_request(struct store *s, struct nbd_req *req)
{
	uint64_t slot = req->offset / WEFT_SHARD_BYTES, granules = 0;
	struct weft_map_reply reply;

	if (slot >= s->nslots || req->offset % WEFT_SHARD_BYTES != 0) {
		nbd_req_done(req, EINVAL);
		return;
	}
	if (s->slots[slot].state != SLOT_USED || s->slots[slot].gen != req->cmd.slot_gen) {
		nbd_req_done(req, WEFT_ESTALE);
		return;
	}
	for (unsigned g = 0; g < SLOT_GRANULES; g++)
		if (!map_sound(s, slot * SLOT_GRANULES + g)) {
			nbd_req_done(req, EIO);
			return;
		}
	for (unsigned g = 0; g < SLOT_GRANULES; g++)
		if (granule_has(s, slot * SLOT_GRANULES + g))
			granules |= 1ULL << g;
	reply.granules = htobe64(granules);
	req_answer_bytes(s, req, &reply, sizeof(reply));
}

/* The blocks for which replay has committed bytes. If there are any, the entry may be half of one
 * state and half of another. */
static uint16_t being_replayed(struct store *s, uint64_t index)
{
	const struct gran *g = gran_find(s, index);
	uint16_t mask = 0;

	for (const struct part *p = g != NULL ? g->newest : NULL; p != NULL; p = p->older)
		if (p->ptx->state == PTX_READY)
			mask |= p->mask;
	return mask;
}

/*
 * An entry that is torn, or has rotted: nobody can say. For blocks that the log has no matter. Of
 * the others the entry says the same before and after, and a block that is not there has no
 * checksum: one that has is there, and what says that it is not has rotted. Nobody knows where
 * then, and it fails its checksum, until it is written again.
 */
static void entry_doubt(struct disk_entry *e, uint16_t replayed)
{
	uint16_t present = le16toh(e->present);

	for (unsigned b = 0; b < GRANULE_BLOCKS; b++) {
		if (((present | replayed) & (1u << b)) != 0 || e->crc[b] == 0)
			continue;
		present |= (uint16_t)(1u << b);
		e->crc[b] = ~e->crc[b];
	}
	e->present = htole16(present);
	entry_seal(e);
}

static int scan_entry(struct store *s, uint64_t index, const char **why)
{
	struct disk_entry *e = map_entry(s, index);
	uint32_t phys = le32toh(e->phys);

	if (phys == 0 && entry_valid(e))
		return 0;
	if (phys > s->granules || (!entry_valid(e) && being_replayed(s, index) == 0)) {
		*why = store_why("the map entry %" PRIu64 " of slot %" PRIu64
				 " is damaged: take this server out and let the cluster rebuild it",
				 index % SLOT_GRANULES, index / SLOT_GRANULES);
		return -EUCLEAN;
	}
	if (phys == 0 || e->present == 0) { /* a page torn while the granule was given back */
		memset(e, 0, sizeof(*e));
		return 0;
	}
	if (granule_taken(s, phys)) {
		*why = store_why(
			"two places of the map claim granule %u, one of them in slot %" PRIu64
			": take this server out and let the cluster rebuild it",
			phys - 1, index / SLOT_GRANULES);
		return -EUCLEAN;
	}
	if (!entry_valid(e))
		entry_doubt(e, being_replayed(s, index));
	granule_take(s, phys);
	s->slots[index / SLOT_GRANULES].granules++;
	return 0;
}

static int scan_fresh(struct store *s, const struct gran *g, const char **why)
{
	for (const struct part *p = g->newest; p != NULL; p = p->older) {
		if (p->kind != PART_FRESH || p->phys == 0 ||
		    p->phys == le32toh(map_entry(s, g->index)->phys))
			continue;
		if (granule_taken(s, p->phys)) {
			*why = store_why("the log claims granule %u, which the map gave away: take "
					 "this server out and let the cluster rebuild it",
					 p->phys - 1);
			return -EUCLEAN;
		}
		granule_take(s, p->phys);
	}
	return 0;
}

static int scan_reserve(struct store *s, struct gran *g, const char **why)
{
	bool in_log = false;

	for (const struct part *p = g->newest; p != NULL; p = p->older)
		in_log |= p->kind == PART_LOG;
	if (!in_log || map_entry(s, g->index)->phys != 0)
		return 0;
	if (!granule_reserve(s)) {
		*why = "the log holds more than the data area has room for: take this server out "
		       "and let the cluster rebuild it";
		return -EUCLEAN;
	}
	g->reserved = true;
	return 0;
}

int map_scan(struct store *s, const char **why)
{
	int err = 0;

	for (uint32_t slot = 0; slot < s->nslots && err == 0; slot++) {
		if (s->slots[slot].state != SLOT_USED)
			continue;
		for (unsigned g = 0; g < SLOT_GRANULES && err == 0; g++)
			err = scan_entry(s, (uint64_t)slot * SLOT_GRANULES + g, why);
	}
	for (struct gran *g = gran_next(s, NULL); g != NULL && err == 0; g = gran_next(s, g))
		err = scan_fresh(s, g, why);
	for (struct gran *g = gran_next(s, NULL); g != NULL && err == 0; g = gran_next(s, g))
		err = scan_reserve(s, g, why);
	return err;
}
