/*
 * Log records and batches as bytes. Pure: the fuzzer and the tests call it alone. Decoding trusts
 * nothing, although a checksum was right: replay may assert what is promised here.
 */
#include "config.h"

#include <sys/uio.h>

#include "store/store_internal.h"

#include "banned.h"

static unsigned bits(uint64_t mask)
{
	return (unsigned)__builtin_popcountll(mask);
}

static unsigned part_crcs(uint8_t kind, uint16_t mask)
{
	return kind == PART_ZERO ? 0 : bits(mask);
}

void rec_size(const struct rec *r, uint32_t *bytes, uint32_t *payload_blocks)
{
	*payload_blocks = 0;
	if (r->type == REC_LABEL || r->type == REC_DISCARD) {
		*bytes = sizeof(struct disk_rec_slot);
		return;
	}
	if (r->type != REC_PREPARE) {
		*bytes = sizeof(struct disk_rec_volume);
		return;
	}
	*bytes = sizeof(struct disk_rec_prepare);
	for (const struct part *p = r->ptx->parts; p != NULL; p = p->ptx_next) {
		*bytes += (uint32_t)(sizeof(struct disk_part) + 4 * part_crcs(p->kind, p->mask));
		if (p->kind == PART_LOG)
			*payload_blocks += bits(p->mask);
	}
}

static struct disk_rec rec_head(uint8_t type, uint8_t parts, size_t bytes, uint32_t payload)
{
	struct disk_rec h = {.type = type, .parts = parts};

	h.bytes = htole16((uint16_t)bytes);
	h.payload_blocks = htole32(payload);
	return h;
}

static uint32_t part_encode(const struct part *p, uint8_t granule, uint8_t *out)
{
	struct disk_part d = {.granule = granule, .kind = p->kind};
	uint32_t n = sizeof(d);

	d.mask = htole16(p->mask);
	d.phys = htole32(p->kind == PART_FRESH ? p->phys : 0);
	memcpy(out, &d, sizeof(d));
	if (p->kind == PART_ZERO)
		return n;
	for (unsigned b = 0; b < GRANULE_BLOCKS; b++) {
		uint32_t crc = htole32(p->crc[b]);

		if ((p->mask & (1u << b)) == 0)
			continue;
		memcpy(out + n, &crc, sizeof(crc));
		n += sizeof(crc);
	}
	return n;
}

static uint32_t prepare_encode(const struct rec *r, uint8_t *out, struct iovec *iov, int *niov)
{
	const struct ptx *t = r->ptx;
	struct disk_rec_prepare d = {0};
	uint32_t n = sizeof(d), payload = 0;
	uint8_t parts = 0;

	for (const struct part *p = t->parts; p != NULL; p = p->ptx_next, parts++) {
		n += part_encode(p, p->granule, out + n);
		if (p->kind != PART_LOG)
			continue;
		payload += bits(p->mask);
		iov[*niov].iov_base = t->payload->data + p->data;
		iov[*niov].iov_len = (size_t)bits(p->mask) * WEFT_BLOCK_BYTES;
		++*niov;
	}
	d.head = rec_head(REC_PREPARE, parts, n, payload);
	d.volume = htole64(t->vol->number);
	d.tx = htole64(t->tx);
	d.offset = htole64(t->offset);
	d.blocks = htole64(t->blocks);
	d.slot_gen = htole32(t->slot_gen);
	d.participants = htole32(t->participants);
	memcpy(out, &d, sizeof(d));
	return n;
}

uint32_t rec_encode(const struct store *s, const struct rec *r, uint8_t *out, struct iovec *iov,
		    int *niov)
{
	*niov = 0;
	if (r->type == REC_PREPARE)
		return prepare_encode(r, out, iov, niov);
	if (r->type == REC_LABEL || r->type == REC_DISCARD) {
		struct disk_rec_slot d = {.head = rec_head(r->type, 0, sizeof(d), 0)};

		d.slot = htole32(r->slot);
		d.slot_gen = htole32(r->slot_gen);
		d.label = r->label;
		memcpy(out, &d, sizeof(d));
		return sizeof(d);
	}
	struct disk_rec_volume d = {.head = rec_head(r->type, 0, sizeof(d), 0)};

	d.volume = htole64(r->vol->number);
	d.number = htole64(r->number);
	d.index = htole32((uint32_t)(r->vol - s->vols));
	memcpy(out, &d, sizeof(d));
	return sizeof(d);
}

void batch_seal(struct disk_batch *h, uint32_t bytes)
{
	h->crc = 0;
	h->crc = htole32(crc32c(0, h, bytes));
}

int batch_decode(const uint8_t *p, size_t len, const uint8_t *store, struct disk_batch *h)
{
	uint32_t crc, zero = 0, sum;

	if (len < LOG_BLOCK)
		return -EINVAL;
	memcpy(h, p, sizeof(*h));
	h->magic = le32toh(h->magic);
	crc = le32toh(h->crc);
	h->bytes = le32toh(h->bytes);
	h->blocks = le32toh(h->blocks);
	h->seq = le64toh(h->seq);
	h->salt = le64toh(h->salt);
	h->prev_salt = le64toh(h->prev_salt);
	h->prev_crc = le32toh(h->prev_crc);
	h->records = le32toh(h->records);
	h->crc = crc;
	if (h->magic != LOG_MAGIC || memcmp(h->store, store, WEFT_UUID_BYTES) != 0 ||
	    h->bytes < sizeof(*h) || h->bytes > LOG_HEADER_MAX || h->bytes > len ||
	    h->blocks < (h->bytes + LOG_BLOCK - 1) / LOG_BLOCK || h->blocks > LOG_BATCH_BLOCKS_MAX)
		return -EINVAL;
	sum = crc32c(0, p, offsetof(struct disk_batch, crc));
	sum = crc32c(sum, &zero, sizeof(zero));
	sum = crc32c(sum, p + 8, h->bytes - 8);
	return sum == crc ? 0 : -EINVAL;
}
static_assert(offsetof(struct disk_batch, crc) == 4, "disk");

bool batch_begins(const uint8_t *p)
{
	return le32toh(((const struct disk_batch *)p)->magic) == LOG_MAGIC;
}

static uint32_t noted_crc(uint32_t crc, uint64_t seq)
{
	uint32_t sum = crc32c(0, &crc, sizeof(crc));

	return htole32(crc32c(sum, &seq, sizeof(seq)));
}

static bool noted_fits(uint32_t bytes)
{
	return (LOG_BLOCK - bytes % LOG_BLOCK) % LOG_BLOCK >= sizeof(struct disk_noted);
}

void batch_note(struct disk_batch *h, uint64_t seq)
{
	uint32_t bytes = le32toh(h->bytes);
	struct disk_noted d = {.magic = htole32(LOG_NOTED), .seq = htole64(seq)};

	if (!noted_fits(bytes))
		return;
	d.crc = noted_crc(h->crc, d.seq);
	memcpy((uint8_t *)h + bytes, &d, sizeof(d));
}

uint64_t batch_noted(const uint8_t *p, const struct disk_batch *h)
{
	struct disk_noted d;

	if (!noted_fits(h->bytes))
		return 0;
	memcpy(&d, p + h->bytes, sizeof(d));
	return d.magic == htole32(LOG_NOTED) && d.crc == noted_crc(htole32(h->crc), d.seq)
		       ? le64toh(d.seq)
		       : 0;
}

/* The blocks of a tx that lie in one granule, as a mask of that granule. */
static uint16_t blocks_in_granule(uint64_t offset, uint64_t blocks, unsigned granule)
{
	unsigned start = (unsigned)(offset % WEFT_SHARD_BYTES / WEFT_BLOCK_BYTES);
	int shift = (int)(granule * GRANULE_BLOCKS) - (int)start;

	if (shift <= -(int)GRANULE_BLOCKS || shift >= 64)
		return 0;
	return (uint16_t)(shift >= 0 ? blocks >> shift : blocks << -shift);
}

static int part_decode(const uint8_t *p, size_t len, const struct rec_limits *limits,
		       const struct rec_view *v, struct part_view *out)
{
	struct disk_part d;
	size_t need;

	if (len < sizeof(d))
		return -EINVAL;
	memcpy(&d, p, sizeof(d));
	out->granule = d.granule;
	out->kind = d.kind;
	out->mask = le16toh(d.mask);
	out->phys = le32toh(d.phys);
	if (d.kind < PART_LOG || d.kind > PART_ZERO || d.granule >= SLOT_GRANULES ||
	    out->mask == 0 || out->mask != blocks_in_granule(v->offset, v->blocks, d.granule))
		return -EINVAL;
	if (d.kind == PART_FRESH &&
	    (out->mask != GRANULE_FULL || out->phys == 0 || out->phys > limits->granules))
		return -EINVAL;
	need = sizeof(d) + 4 * (size_t)part_crcs(d.kind, out->mask);
	if (need > len)
		return -EINVAL;
	p += sizeof(d);
	memset(out->crc, 0, sizeof(out->crc));
	for (unsigned b = 0; d.kind != PART_ZERO && b < GRANULE_BLOCKS; b++) {
		if ((out->mask & (1u << b)) == 0)
			continue;
		memcpy(&out->crc[b], p, 4);
		out->crc[b] = le32toh(out->crc[b]);
		p += 4;
	}
	return (int)need;
}

static int prepare_decode(const uint8_t *p, size_t len, const struct rec_limits *limits,
			  struct rec_view *v, unsigned parts)
{
	struct disk_rec_prepare d;
	size_t at = sizeof(d);
	unsigned total = 0;
	uint32_t payload = 0;
	int last = -1;

	if (len < sizeof(d) || parts == 0 || parts > PARTS_MAX)
		return -EINVAL;
	memcpy(&d, p, sizeof(d));
	v->volume = le64toh(d.volume);
	v->number = le64toh(d.tx);
	v->offset = le64toh(d.offset);
	v->blocks = le64toh(d.blocks);
	v->slot_gen = le32toh(d.slot_gen);
	v->participants = le32toh(d.participants);
	if (v->volume == 0 || v->blocks == 0 || v->offset % WEFT_BLOCK_BYTES != 0 ||
	    v->offset / WEFT_SHARD_BYTES >= limits->slots)
		return -EINVAL;
	v->slot = (uint32_t)(v->offset / WEFT_SHARD_BYTES);
	v->nparts = parts;
	for (unsigned i = 0; i < parts; i++) {
		int n = part_decode(p + at, len - at, limits, v, &v->part[i]);

		if (n < 0 || v->part[i].granule <= last)
			return -EINVAL;
		last = v->part[i].granule;
		at += (size_t)n;
		total += bits(v->part[i].mask);
		if (v->part[i].kind == PART_LOG)
			payload += bits(v->part[i].mask);
	}
	/* nothing of the tx may lie outside of its parts, or past the slot's end */
	return at == len && total == bits(v->blocks) && payload == v->payload_blocks ? (int)len
										     : -EINVAL;
}

int rec_decode(const uint8_t *p, size_t len, const struct rec_limits *limits, struct rec_view *v)
{
	struct disk_rec h;
	size_t bytes;

	if (len < sizeof(h))
		return -EINVAL;
	memcpy(&h, p, sizeof(h));
	bytes = le16toh(h.bytes);
	if (bytes < sizeof(h) || bytes > len)
		return -EINVAL;
	v->type = h.type;
	v->payload_blocks = le32toh(h.payload_blocks);
	if (h.type == REC_PREPARE)
		return prepare_decode(p, bytes, limits, v, h.parts);
	if (v->payload_blocks != 0)
		return -EINVAL;
	if (h.type == REC_LABEL || h.type == REC_DISCARD) {
		struct disk_rec_slot d;

		if (bytes != sizeof(d))
			return -EINVAL;
		memcpy(&d, p, sizeof(d));
		v->slot = le32toh(d.slot);
		v->slot_gen = le32toh(d.slot_gen);
		v->label = d.label;
		if (v->slot >= limits->slots || v->slot_gen == 0 ||
		    (h.type == REC_LABEL && (!label_valid(&d.label) || d.label.volume == 0 ||
					     le32toh(d.label.slot_gen) != v->slot_gen)))
			return -EINVAL;
		return (int)bytes;
	}
	struct disk_rec_volume d;

	if (h.type < REC_COMMIT || h.type > REC_FENCE || bytes != sizeof(d))
		return -EINVAL;
	memcpy(&d, p, sizeof(d));
	v->volume = le64toh(d.volume);
	v->number = le64toh(d.number);
	v->index = le32toh(d.index);
	if (v->volume == 0 || v->index >= STORE_VOLUMES_MAX)
		return -EINVAL;
	return (int)bytes;
}

/* ---- labels: big-endian on the wire, little-endian on disk --------------------------------- */

void label_seal(struct disk_label *d)
{
	d->crc = 0;
	d->crc = htole32(crc32c(0, d, sizeof(*d)));
}

bool label_valid(const struct disk_label *d)
{
	struct disk_label copy = *d;

	copy.crc = 0;
	return htole32(crc32c(0, &copy, sizeof(copy))) == d->crc;
}

void label_to_disk(const struct weft_label *wire, uint32_t slot_gen, struct disk_label *d)
{
	memset(d, 0, sizeof(*d));
	d->volume = htole64(be64toh(wire->volume));
	d->extent = htole64(be64toh(wire->extent));
	d->generation = htole32(be32toh(wire->generation));
	d->unit_bytes = htole32(be32toh(wire->unit_bytes));
	d->shard = wire->shard;
	d->k = wire->k;
	d->m = wire->m;
	d->code = wire->code;
	d->slot_gen = htole32(slot_gen);
	memcpy(d->name, wire->name, sizeof(d->name));
	label_seal(d);
}

void label_to_wire(const struct disk_label *d, struct weft_label *wire)
{
	memset(wire, 0, sizeof(*wire));
	wire->volume = htobe64(le64toh(d->volume));
	wire->extent = htobe64(le64toh(d->extent));
	wire->generation = htobe32(le32toh(d->generation));
	wire->unit_bytes = htobe32(le32toh(d->unit_bytes));
	wire->shard = d->shard;
	wire->k = d->k;
	wire->m = d->m;
	wire->code = d->code;
	memcpy(wire->name, d->name, sizeof(wire->name));
}
