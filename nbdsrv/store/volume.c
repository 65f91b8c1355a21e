/* Volumes as this store knows them: epoch, highest commit, list of prepared txs. */
#include "config.h"

#include "store/store_internal.h"

#include "banned.h"

#define LIST_REPLY_MAX (1u << 20)

static struct vol **vol_bucket(struct store *s, uint64_t number)
{
	return &s->vol_hash[(number * 0x9e3779b97f4a7c15ULL) >> 52];
}
static_assert(VOLUME_BUCKETS == 1u << 12, "vol_bucket() takes 12 bits");

struct vol *vol_find(struct store *s, uint64_t number)
{
	struct vol *v;

	for (v = *vol_bucket(s, number); v != NULL; v = v->hash_next)
		if (v->number == number)
			break;
	return v;
}

int vol_check_epoch(struct store *s, const struct weft_cmd *cmd, struct vol **vol)
{
	if (cmd->volume == 0)
		return EINVAL;
	*vol = vol_find(s, cmd->volume);
	return *vol == NULL || (*vol)->epoch != cmd->epoch ? (int)WEFT_ESTALE : 0;
}

/* Make the place belong to the volume; whoever had it before is forgotten. */
struct vol *vol_place(struct store *s, uint64_t number, uint32_t index)
{
	struct vol *v = &s->vols[index], **at;

	assert(number != 0 && index < STORE_VOLUMES_MAX);
	if (v->number == number)
		return v;
	if (v->number != 0) {
		for (at = vol_bucket(s, v->number); *at != v; at = &(*at)->hash_next)
			assert(*at != NULL);
		*at = v->hash_next;
	}
	memset(v, 0, sizeof(*v));
	v->number = number;
	if (index >= s->vols_end)
		s->vols_end = index + 1;
	at = vol_bucket(s, number);
	v->hash_next = *at;
	*at = v;
	return v;
}

static uint32_t vol_crc(const struct disk_volume *d)
{
	struct disk_volume copy = *d;

	copy.crc = 0;
	return htole32(crc32c(0, &copy, sizeof(copy)));
}

/* As it was written, or never written? */
static bool vol_sound(const struct disk_volume *d)
{
	static const struct disk_volume none;

	return d->number != 0 ? vol_crc(d) == d->crc : memcmp(d, &none, sizeof(none)) == 0;
}

/* Numbers only rise; 0 leaves one as it is. */
void vol_write_meta(struct store *s, const struct vol *v, uint64_t committed, uint32_t epoch)
{
	struct disk_volume d = s->meta_vols[v - s->vols];

	if (s->replay == NULL && !vol_sound(&d)) {
		store_fail(s, EIO, "the volume table is not what was written there");
		return;
	}
	if (le64toh(d.number) != v->number) {
		memset(&d, 0, sizeof(d));
		d.number = htole64(v->number);
	}
	if (committed > le64toh(d.committed))
		d.committed = htole64(committed);
	if (epoch > le32toh(d.epoch))
		d.epoch = htole32(epoch);
	d.crc = vol_crc(&d);
	s->meta_vols[v - s->vols] = d;
}

int vol_load(struct store *s, const char **why)
{
	for (uint32_t i = 0; i < STORE_VOLUMES_MAX; i++) {
		const struct disk_volume *d = &s->meta_vols[i];
		struct vol *v;

		if (d->number == 0 && vol_sound(d))
			continue;
		if (!vol_sound(d) || vol_find(s, le64toh(d->number)) != NULL) {
			*why = store_why(
				"entry %u of the volume table is damaged: take this server "
				"out and let the cluster rebuild it",
				i);
			return -EUCLEAN;
		}
		v = vol_place(s, le64toh(d->number), i);
		v->committed = le64toh(d->committed);
		v->epoch = le32toh(d->epoch);
	}
	return 0;
}

/* A free place, or that of a volume that has nothing here any more. */
static int vol_free_place(struct store *s)
{
	int idle = -1;

	for (uint32_t i = 0; i < STORE_VOLUMES_MAX; i++) {
		const struct vol *v = &s->vols[i];

		if (v->number == 0)
			return (int)i;
		if (v->slots == 0 && v->prepared == 0 && idle < 0)
			idle = (int)i;
	}
	/* records that still point at the old one must be through: */
	return s->wal.durable_rec == s->wal.last_rec ? idle : -1;
}

/* The same epoch, of another process. */
static bool owned_by_other(const struct vol *v, const struct weft_cmd *cmd)
{
	return cmd->epoch == v->epoch && v->owner != 0 && cmd->tx != 0 && cmd->tx != v->owner;
}

void vol_fence(struct store *s, struct nbd_req *req)
{
	struct vol *v = vol_find(s, req->cmd.volume);
	struct rec *r;
	int place;

	if (req->cmd.volume == 0 || req->cmd.epoch == 0 ||
	    req->cmd.reply_len != sizeof(struct weft_fence_reply)) {
		nbd_req_done(req, EINVAL);
		return;
	}
	if (v != NULL && (req->cmd.epoch < v->epoch || owned_by_other(v, &req->cmd))) {
		nbd_req_done(req, WEFT_ESTALE);
		return;
	}
	if (!slab_ensure(&s->recs, 1)) {
		nbd_req_done(req, ENOMEM);
		return;
	}
	if (v == NULL) {
		place = vol_free_place(s);
		if (place < 0) {
			nbd_req_done(req, ENOSPC);
			return;
		}
		v = vol_place(s, req->cmd.volume, (uint32_t)place);
	}
	req->user[2] = v->epoch;
	if (req->cmd.epoch > v->epoch || req->cmd.tx != 0)
		v->owner = req->cmd.tx;
	v->epoch = req->cmd.epoch;
	if (v->given_up < req->cmd.blocks)
		v->given_up = req->cmd.blocks;
	r = slab_get(&s->recs);
	r->type = REC_FENCE;
	r->vol = v;
	r->number = v->epoch;
	wal_append(s, r);
	wal_answer(s, req);
}

static void list_entry(const struct ptx *t, struct weft_list_entry *e)
{
	memset(e, 0, sizeof(*e));
	e->tx = htobe64(t->tx);
	e->offset = htobe64(t->offset);
	e->blocks = htobe64(t->blocks);
	e->slot_gen = htobe32(t->slot_gen);
	e->durable = htobe32(t->durable);
	e->participants = htobe32(t->participants);
}

void vol_list(struct store *s, struct nbd_req *req)
{
	uint32_t len = req->cmd.reply_len, room, count = 0;
	struct weft_list_head head = {0};
	struct nbd_seg seg = {.len = len};
	struct vol *v;
	struct ptx *t;
	int err = vol_check_epoch(s, &req->cmd, &v);

	if (err == 0 &&
	    (len < sizeof(head) + sizeof(struct weft_list_entry) || len > LIST_REPLY_MAX))
		err = EINVAL;
	if (err == 0 && (seg.buf = buf_get(s->pool, len)) == NULL)
		err = ENOMEM;
	if (err != 0) {
		nbd_req_done(req, err);
		return;
	}
	memset(seg.buf->data, 0, len);
	room = (uint32_t)((len - sizeof(head)) / sizeof(struct weft_list_entry));
	for (t = v->first; t != NULL && t->tx < req->cmd.tx; t = t->next)
		;
	for (; t != NULL && count < room; t = t->next, count++)
		list_entry(t, (struct weft_list_entry *)(seg.buf->data + sizeof(head)) + count);
	head.count = htobe32(count);
	head.more = htobe32(t != NULL);
	head.committed = htobe64(v->committed);
	memcpy(seg.buf->data, &head, sizeof(head));
	nbd_req_done_data(req, &seg, 1);
}

void vol_table(struct store *s, struct nbd_req *req)
{
	uint32_t len = req->cmd.reply_len, room, count = 0;
	struct weft_list_head head = {0};
	struct nbd_seg seg = {.len = len};
	uint64_t place = req->cmd.tx;

	if (len < sizeof(head) + sizeof(struct weft_volume_entry) || len > LIST_REPLY_MAX) {
		nbd_req_done(req, EINVAL);
		return;
	}
	seg.buf = buf_get(s->pool, len);
	if (seg.buf == NULL) {
		nbd_req_done(req, ENOMEM);
		return;
	}
	memset(seg.buf->data, 0, len);
	room = (uint32_t)((len - sizeof(head)) / sizeof(struct weft_volume_entry));
	for (; place < s->vols_end && count < room; place++) {
		const struct vol *v = &s->vols[place];
		struct weft_volume_entry e = {
			.volume = htobe64(v->number),
			.committed = htobe64(v->committed),
			.epoch = htobe32(v->epoch),
			.slots = htobe32(v->slots),
		};

		if (v->number == 0)
			continue;
		memcpy(seg.buf->data + sizeof(head) + count++ * sizeof(e), &e, sizeof(e));
	}
	head.count = htobe32(count);
	head.more = htobe32(place < s->vols_end);
	head.committed = htobe64(place);
	memcpy(seg.buf->data, &head, sizeof(head));
	nbd_req_done_data(req, &seg, 1);
}
