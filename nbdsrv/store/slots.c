/* Slots: which are in use, by which label; LABEL, MARK, DISCARD and LABELS. */
#include "config.h"

#include <inttypes.h>
#include <stdlib.h>

#include "store/store_internal.h"

#include "banned.h"

#define LABELS_REPLY_MAX (1u << 20)

/* The part of a label that must not repeat. */
static uint32_t *label_bucket(struct store *s, const struct disk_label *d)
{
	uint64_t h = le64toh(d->volume) * 0x9e3779b97f4a7c15ULL;

	h = (h ^ le64toh(d->extent)) * 0xff51afd7ed558ccdULL;
	h = (h ^ d->shard ^ (uint64_t)le32toh(d->generation) << 8) * 0x9e3779b97f4a7c15ULL;
	return &s->label_hash[(h >> 32) & (s->label_buckets - 1)];
}

static bool label_same(const struct disk_label *a, const struct disk_label *b)
{
	return a->volume == b->volume && a->extent == b->extent && a->shard == b->shard &&
	       a->generation == b->generation;
}

static void label_link(struct store *s, uint32_t slot, const struct disk_label *d)
{
	uint32_t *bucket = label_bucket(s, d);

	s->slots[slot].hash_next = *bucket;
	*bucket = slot + 1;
}

static void label_unlink(struct store *s, uint32_t slot)
{
	uint32_t *at = label_bucket(s, &s->meta_labels[slot]);

	while (*at != 0 && *at != slot + 1)
		at = &s->slots[*at - 1].hash_next;
	if (*at != 0)
		*at = s->slots[slot].hash_next;
}

/* A slot in use with this label, also one whose label is still on its way into the log. */
static int64_t label_find(struct store *s, const struct disk_label *d)
{
	const struct rec *lists[3] = {s->wal.written, s->wal.batch_recs, s->wal.first};

	for (uint32_t i = *label_bucket(s, d); i != 0; i = s->slots[i - 1].hash_next)
		if (s->slots[i - 1].state == SLOT_USED && label_same(&s->meta_labels[i - 1], d))
			return i - 1;
	for (unsigned l = 0; l < 3 && s->slots_labelling > 0; l++)
		for (const struct rec *r = lists[l]; r != NULL; r = r->next)
			if (r->type == REC_LABEL && label_same(&r->label, d))
				return r->slot;
	return -1;
}

/* The label is in the meta area now. */
void slot_fill(struct store *s, uint32_t slot, const struct disk_label *d)
{
	struct slot *at = &s->slots[slot];

	s->meta_labels[slot] = *d;
	at->state = SLOT_USED;
	at->gen = le32toh(d->slot_gen);
}

/* Its volume is known: find the slot by label from now on. */
static bool slot_link(struct store *s, uint32_t slot)
{
	const struct disk_label *d = &s->meta_labels[slot];
	struct vol *v = vol_find(s, le64toh(d->volume));

	if (v == NULL)
		return false;
	s->slots[slot].vol = (uint32_t)(v - s->vols);
	label_link(s, slot, d);
	return true;
}

/* Nothing is in the slot any more: label and entries. Granules are given back. */
void slot_clear(struct store *s, uint32_t slot)
{
	struct slot *at = &s->slots[slot];

	if (at->state == SLOT_USED || at->state == SLOT_DISCARDING)
		label_unlink(s, slot);
	memset(&s->meta_labels[slot], 0, sizeof(s->meta_labels[slot]));
	memset(map_entry(s, (uint64_t)slot * SLOT_GRANULES), 0,
	       SLOT_GRANULES * sizeof(struct disk_entry));
	at->state = SLOT_FREE;
	at->granules = 0;
	if (slot < s->slot_hint)
		s->slot_hint = slot;
}

static const char *label_damaged(uint32_t slot)
{
	return store_why("the label of slot %u is damaged: take this server out and let the "
			 "cluster rebuild it",
			 slot);
}

static bool label_none(const struct disk_label *d)
{
	static const struct disk_label none;

	return memcmp(d, &none, sizeof(none)) == 0;
}

int slots_load(struct store *s, const char **why)
{
	for (uint32_t i = 0; i < s->nslots; i++) {
		const struct disk_label *d = &s->meta_labels[i];

		if (d->volume == 0)
			continue;
		if (!label_valid(d)) {
			*why = label_damaged(i);
			return -EUCLEAN;
		}
		slot_fill(s, i, d);
		if (s->slots[i].gen >= s->next_gen)
			s->next_gen = s->slots[i].gen + 1;
	}
	return 0;
}

/* After replay: which volume has which slots. */
int slots_settle(struct store *s, const char **why)
{
	for (uint32_t i = 0; i < s->nslots; i++) {
		if (s->slots[i].state != SLOT_USED && !label_none(&s->meta_labels[i])) {
			*why = label_damaged(i);
			return -EUCLEAN;
		}
		if (s->slots[i].state != SLOT_USED)
			continue;
		if (!slot_link(s, i)) {
			*why = store_why("slot %u belongs to a volume that is not in the table: "
					 "take this server out and let the cluster rebuild it",
					 i);
			return -EUCLEAN;
		}
		s->vols[s->slots[i].vol].slots++;
		s->slots_used++;
	}
	return 0;
}

/* ---- LABEL --------------------------------------------------------------------------------- */

static bool label_fits(const struct nbd_req *req, const struct weft_label *l)
{
	uint32_t unit = be32toh(l->unit_bytes);

	return be64toh(l->volume) == req->cmd.volume && l->k >= 1 && l->k <= WEFT_K_MAX &&
	       l->m <= WEFT_M_MAX && l->shard < l->k + l->m && unit >= WEFT_BLOCK_BYTES &&
	       unit <= WEFT_UNIT_MAX && (unit & (unit - 1)) == 0 &&
	       l->name[sizeof(l->name) - 1] == '\0';
}

static int slot_lowest_free(struct store *s)
{
	uint32_t i = s->slot_hint;

	while (i < s->nslots && s->slots[i].state != SLOT_FREE)
		i++;
	s->slot_hint = i;
	return i < s->nslots ? (int)i : -1;
}

void slot_label(struct store *s, struct nbd_req *req)
{
	struct weft_label wire;
	struct disk_label label;
	struct vol *v;
	struct rec *r;
	int64_t slot;
	int err = vol_check_epoch(s, &req->cmd, &v);

	if (req->len != sizeof(wire) || req->cmd.reply_len != sizeof(struct weft_slot_reply)) {
		nbd_req_done(req, EINVAL);
		return;
	}
	memcpy(&wire, req->payload->data, sizeof(wire));
	if (!label_fits(req, &wire))
		err = EINVAL;
	if (err == 0 && !slab_ensure(&s->recs, 1))
		err = ENOMEM;
	if (err != 0) {
		nbd_req_done(req, err);
		return;
	}
	label_to_disk(&wire, s->next_gen, &label);
	slot = label_find(s, &label);
	if (slot >= 0) {
		req->user[2] = (uint64_t)slot;
		req->user[3] = s->slots[slot].gen;
		wal_answer(s, req);
		return;
	}
	slot = slot_lowest_free(s);
	if (slot < 0) {
		nbd_req_done(req, ENOSPC);
		return;
	}
	r = slab_get(&s->recs);
	r->type = REC_LABEL;
	r->slot = (uint32_t)slot;
	r->slot_gen = s->next_gen++;
	r->label = label;
	s->slots[slot].state = SLOT_LABELLING;
	s->slots[slot].gen = r->slot_gen;
	s->slots[slot].granules = 0;
	s->slots_labelling++;
	s->slots_used++;
	v->slots++;
	req->user[2] = r->slot;
	req->user[3] = r->slot_gen;
	wal_append(s, r);
	wal_answer(s, req);
}

void slot_apply_label(struct store *s, const struct rec *r)
{
	if (s->slots[r->slot].state != SLOT_LABELLING) { /* a MARK of one in use */
		assert(s->slots[r->slot].gen == r->slot_gen);
		s->meta_labels[r->slot] = r->label;
		return;
	}
	s->slots_labelling--;
	slot_fill(s, r->slot, &r->label);
	if (!slot_link(s, r->slot))
		assert(!"a volume with slots was forgotten");
}

/* ---- MARK ---------------------------------------------------------------------------------- */

/* Is the label as it was written? If not, the store has failed. */
static bool label_sound(struct store *s, uint32_t slot)
{
	if (label_valid(&s->meta_labels[slot]))
		return true;
	if (s->failed == 0)
		store_fail(s, EIO, label_damaged(slot));
	return false;
}

/* As the last MARK has left it, also when that is on its way into the log. */
static struct disk_label label_now(struct store *s, uint32_t slot)
{
	const struct rec *lists[3] = {s->wal.written, s->wal.batch_recs, s->wal.first};
	struct disk_label label = s->meta_labels[slot];

	for (unsigned l = 0; l < 3; l++)
		for (const struct rec *r = lists[l]; r != NULL; r = r->next)
			if (r->type == REC_LABEL && r->slot == slot)
				label = r->label;
	return label;
}

void slot_mark(struct store *s, struct nbd_req *req)
{
	uint64_t slot = req->offset / WEFT_SHARD_BYTES;
	struct disk_label label;
	struct rec *r;
	struct vol *v;
	int err = vol_check_epoch(s, &req->cmd, &v);

	if (req->cmd.tx == 0 || req->cmd.tx > UINT32_MAX || req->cmd.blocks > UINT32_MAX ||
	    slot >= s->nslots)
		err = EINVAL;
	if (err == 0 &&
	    (s->slots[slot].state != SLOT_USED || s->slots[slot].gen != req->cmd.slot_gen ||
	     &s->vols[s->slots[slot].vol] != v))
		err = WEFT_ESTALE;
	if (err == 0 && !slab_ensure(&s->recs, 1))
		err = ENOMEM;
	if (err == 0 && !label_sound(s, (uint32_t)slot))
		err = EIO;
	if (err != 0) {
		nbd_req_done(req, err);
		return;
	}
	label = label_now(s, (uint32_t)slot);
	if (le32toh(label.mark) < req->cmd.tx) {
		label.mark = htole32((uint32_t)req->cmd.tx);
		label.stale = htole32((uint32_t)req->cmd.blocks);
		label_seal(&label);
		r = slab_get(&s->recs);
		r->type = REC_LABEL;
		r->slot = (uint32_t)slot;
		r->slot_gen = req->cmd.slot_gen;
		r->label = label;
		wal_append(s, r);
	}
	wal_answer(s, req);
}

/* ---- DISCARD ------------------------------------------------------------------------------- */

/*
 * Only prepared txs are left: nothing is on its way home, into the log or from the disk. What was
 * committed goes home first, since until the DISCARD is durable the slot could come back.
 */
static bool slot_at_rest(struct store *s, uint32_t slot)
{
	for (unsigned i = 0; i < SLOT_GRANULES; i++) {
		struct gran *g = gran_find(s, (uint64_t)slot * SLOT_GRANULES + i);

		if (g == NULL)
			continue;
		if (g->homing || g->first != NULL)
			return false;
		for (const struct part *p = g->newest; p != NULL; p = p->older)
			if (p->ptx->state != PTX_PREPARED)
				return false;
	}
	return true;
}

static struct ptx *slot_drop_prepared(struct store *s, uint32_t slot)
{
	struct vol *v = &s->vols[s->slots[slot].vol];
	struct ptx *list = NULL, *t, *next;

	for (t = v->first; t != NULL; t = next) {
		next = t->next;
		if (t->slot != slot)
			continue;
		ptx_decide(s, t, PTX_DROPPED);
		t->next = list;
		list = t;
	}
	return list;
}

static void discard_start(struct store *s, struct nbd_req *req)
{
	uint32_t slot = (uint32_t)(req->offset / WEFT_SHARD_BYTES);
	struct rec *r = slab_get(&s->recs);
	bool sound = true;

	for (unsigned i = 0; i < SLOT_GRANULES && sound; i++)
		sound = map_sound(s, (uint64_t)slot * SLOT_GRANULES + i);
	if (r == NULL || !sound) {
		if (r != NULL)
			slab_put(&s->recs, r);
		s->slots[slot].state = SLOT_USED;
		nbd_req_done(req, sound ? ENOMEM : EIO);
		return;
	}
	r->type = REC_DISCARD;
	r->slot = slot;
	r->slot_gen = req->cmd.slot_gen;
	r->list = slot_drop_prepared(s, slot);
	wal_append(s, r);
	wal_answer(s, req);
}

void slot_discard_request(struct store *s, struct nbd_req *req)
{
	uint64_t slot = req->offset / WEFT_SHARD_BYTES;
	struct vol *v;
	int err = vol_check_epoch(s, &req->cmd, &v);

	if (req->cmd.reply_len != 0 || slot >= s->nslots)
		err = EINVAL;
	if (err == 0 &&
	    (s->slots[slot].state != SLOT_USED || s->slots[slot].gen != req->cmd.slot_gen ||
	     &s->vols[s->slots[slot].vol] != v))
		err = WEFT_ESTALE;
	if (err != 0) {
		nbd_req_done(req, err);
		return;
	}
	s->slots[slot].state = SLOT_DISCARDING;
	if (slot_at_rest(s, (uint32_t)slot)) {
		discard_start(s, req);
		return;
	}
	req->next = s->discards;
	s->discards = req;
	wal_want(s, s->wal.last_rec);
	home_kick(s, true);
}

void slot_discard_retry(struct store *s)
{
	struct nbd_req *req, *list = s->discards;

	s->discards = NULL;
	while ((req = list) != NULL) {
		list = req->next;
		req->next = NULL;
		if (s->failed != 0) {
			nbd_req_done(req, EIO);
		} else if (slot_at_rest(s, (uint32_t)(req->offset / WEFT_SHARD_BYTES))) {
			discard_start(s, req);
		} else {
			req->next = s->discards;
			s->discards = req;
		}
	}
}

void slot_apply_discard(struct store *s, const struct rec *r)
{
	struct slot *slot = &s->slots[r->slot];
	struct ptx *t, *next;

	assert(slot->state == SLOT_DISCARDING);
	for (t = r->list; t != NULL; t = next) {
		next = t->next;
		ptx_undo(s, t);
	}
	for (unsigned i = 0; i < SLOT_GRANULES; i++)
		map_clear(s, (uint64_t)r->slot * SLOT_GRANULES + i);
	s->vols[slot->vol].slots--;
	s->slots_used--;
	slot_clear(s, r->slot);
}

bool store_slot_is(const struct store *s, uint64_t slot, uint16_t generation)
{
	return slot < s->nslots && s->slots[slot].state == SLOT_USED &&
	       (uint16_t)s->slots[slot].gen == generation;
}

/* ---- LABELS -------------------------------------------------------------------------------- */

void slot_labels(struct store *s, struct nbd_req *req)
{
	uint32_t len = req->cmd.reply_len, room, count = 0;
	struct weft_list_head head = {0};
	struct nbd_seg seg = {.len = len};
	uint64_t slot = req->cmd.tx;

	if (len < sizeof(head) + sizeof(struct weft_label_entry) || len > LABELS_REPLY_MAX) {
		nbd_req_done(req, EINVAL);
		return;
	}
	seg.buf = buf_get(s->pool, len);
	if (seg.buf == NULL) {
		nbd_req_done(req, ENOMEM);
		return;
	}
	memset(seg.buf->data, 0, len);
	room = (uint32_t)((len - sizeof(head)) / sizeof(struct weft_label_entry));
	for (; slot < s->nslots && count <= room; slot++) {
		struct weft_label_entry e = {0};

		if (s->slots[slot].state != SLOT_USED)
			continue;
		if (count == room) {
			head.more = htobe32(1);
			break;
		}
		if (!label_sound(s, (uint32_t)slot)) {
			buf_put(seg.buf);
			nbd_req_done(req, EIO);
			return;
		}
		e.slot = htobe32((uint32_t)slot);
		e.slot_gen = htobe32(s->slots[slot].gen);
		e.mapped_bytes = htobe64((uint64_t)s->slots[slot].granules * GRANULE_BYTES);
		e.mark = htobe32(le32toh(s->meta_labels[slot].mark));
		e.stale = htobe32(le32toh(s->meta_labels[slot].stale));
		label_to_wire(&s->meta_labels[slot], &e.label);
		memcpy(seg.buf->data + sizeof(head) + count++ * sizeof(e), &e, sizeof(e));
	}
	head.count = htobe32(count);
	memcpy(seg.buf->data, &head, sizeof(head));
	nbd_req_done_data(req, &seg, 1);
}
