/*
 * Values of the metadata. Servers and volumes are JSON, which people can read and later versions
 * can extend; extents are many, so they are packed. What is read back was written by us, but a disk
 * may have changed it: everything is checked, nothing asserted.
 */
#include "config.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "records.h"
#include "banned.h"

#define RECORD_EXTENT_VERSION 1

struct record_shard {
	uint32_t server, slot, slot_gen;
} __attribute__((packed));

struct record_extent_head {
	uint8_t version;
	uint8_t shards;
	uint16_t reserved;
	uint32_t generation;
	uint32_t stale;
	uint32_t mark; /* 0 in records of before there were any */
} __attribute__((packed));
static_assert(sizeof(struct record_extent_head) == 16, "disk");
static_assert(sizeof(struct record_shard) == 12, "disk");

#define RECORD_STARTS_VERSION 1

struct record_starts_head {
	uint8_t version;
	uint8_t reserved;
	uint16_t starts, servers;
	uint16_t reserved2;
} __attribute__((packed));

struct record_start {
	uint64_t committed, next;
} __attribute__((packed));

struct record_start_server {
	uint32_t number;
	uint64_t judged_to;
} __attribute__((packed));
static_assert(sizeof(struct record_starts_head) == 8, "disk");
static_assert(sizeof(struct record_start) == 16, "disk");
static_assert(sizeof(struct record_start_server) == 12, "disk");

char *key_server(char *buf, uint32_t number)
{
	snprintf(buf, RECORD_KEY_MAX, "1/server/%016" PRIx64, (uint64_t)number);
	return buf;
}

char *key_volume(char *buf, const char *name)
{
	snprintf(buf, RECORD_KEY_MAX, "1/volume/%s", name);
	return buf;
}

char *key_extent(char *buf, uint64_t volume, uint64_t extent)
{
	snprintf(buf, RECORD_KEY_MAX, "1/extent/%016" PRIx64 "/%016" PRIx64, volume, extent);
	return buf;
}

char *key_extents(char *buf, uint64_t volume)
{
	snprintf(buf, RECORD_KEY_MAX, "1/extent/%016" PRIx64 "/", volume);
	return buf;
}

char *key_scrub(char *buf, uint64_t volume)
{
	snprintf(buf, RECORD_KEY_MAX, "1/scrub/%016" PRIx64, volume);
	return buf;
}

char *key_deleted(char *buf, uint64_t volume)
{
	snprintf(buf, RECORD_KEY_MAX, "1/deleted/%016" PRIx64, volume);
	return buf;
}

char *key_starts(char *buf, uint64_t volume)
{
	snprintf(buf, RECORD_KEY_MAX, "1/starts/%016" PRIx64, volume);
	return buf;
}

static char *record_dump(json_t *o)
{
	char *text = o != NULL ? json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

	json_decref(o);
	return text;
}

static const char *const duties[DUTIES] = {
	[DUTY_STAY] = "stay",
	[DUTY_DRAIN] = "drain",
	[DUTY_LOST] = "lost",
};

char *record_server(const struct server *s)
{
	char store[UUID_TEXT_MAX];

	return record_dump(
		json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:I, s:b, s:I, s:b, s:b}", "number",
			  (json_int_t)s->number, "name", s->name, "host", s->host, "address",
			  s->address, "store", uuid_format(s->store, store), "duty",
			  duties[s->duty], "into", (json_int_t)s->into, "leaving", s->leaving,
			  "log", (json_int_t)s->log_durable, "older", s->older, "late", s->late));
}

static int record_name(char *out, const char *name)
{
	if (!name_valid(name))
		return -EUCLEAN;
	snprintf(out, NAME_MAX_BYTES + 1, "%s", name);
	return 0;
}

static int record_duty(struct server *s, const char *duty)
{
	for (unsigned i = 0; i < DUTIES; i++)
		if (strcmp(duties[i], duty) == 0) {
			s->duty = (enum server_duty)i;
			return 0;
		}
	return -EUCLEAN;
}

int record_server_parse(const void *value, size_t len, struct server *s)
{
	const char *name, *host, *address, *store, *duty = duties[DUTY_STAY];
	json_int_t number, into = 0, durable = 0;
	int leaving = 0, older = 0, late = 0;
	json_t *o = json_loadb(value, len, 0, NULL);
	int err = -EUCLEAN;

	if (o != NULL &&
	    json_unpack(o, "{s:I, s:s, s:s, s:s, s:s, s?s, s?I, s?b, s?I, s?b, s?b}", "number",
			&number, "name", &name, "host", &host, "address", &address, "store", &store,
			"duty", &duty, "into", &into, "leaving", &leaving, "log", &durable, "older",
			&older, "late", &late) == 0 &&
	    durable >= 0 && record_duty(s, duty) == 0 && into >= 0 && into <= SERVER_NUMBER_MAX &&
	    number >= 1 && number <= SERVER_NUMBER_MAX && record_name(s->name, name) == 0 &&
	    record_name(s->host, host) == 0 && strlen(address) < sizeof(s->address) &&
	    uuid_parse(store, s->store)) {
		s->number = (uint32_t)number;
		s->into = (uint32_t)into;
		s->leaving = leaving != 0;
		s->log_durable = (uint64_t)durable;
		s->older = older != 0;
		s->late = late != 0;
		snprintf(s->address, sizeof(s->address), "%s", address);
		err = 0;
	}
	json_decref(o);
	return err;
}

char *record_volume(const struct vol *v, uint64_t size, uint32_t epoch, bool deleting)
{
	return record_dump(json_pack(
		"{s:I, s:s, s:I, s:i, s:i, s:i, s:s, s:I, s:b, s:i, s:b, s:b, s:I}", "id",
		(json_int_t)v->id, "name", v->name, "size", (json_int_t)size, "k", (int)v->k, "m",
		(int)v->m, "unit", (int)v->unit, "code", ec_code_name(v->code), "epoch",
		(json_int_t)epoch, "deleting", deleting, "min", (int)v->settings.min,
		"below_min_fail", v->settings.below_min_fail, "when_full_wait",
		v->settings.when_full_wait, "recovered", (json_int_t)v->recovered));
}

int record_volume_parse(const void *value, size_t len, struct vol *v, bool *deleting)
{
	json_t *o = json_loadb(value, len, 0, NULL);
	json_int_t id, size, epoch, recovered = 0;
	int k, m, unit, code, del, min = 0, below = 0, full = 0, err = -EUCLEAN;
	const char *name, *code_name;
	struct volume_spec spec = {.k = 0};
	struct refusal r;

	if (o == NULL ||
	    json_unpack(o, "{s:I, s:s, s:I, s:i, s:i, s:i, s:s, s:I, s:b, s?i, s?b, s?b, s?I}",
			"id", &id, "name", &name, "size", &size, "k", &k, "m", &m, "unit", &unit,
			"code", &code_name, "epoch", &epoch, "deleting", &del, "min", &min,
			"below_min_fail", &below, "when_full_wait", &full, "recovered",
			&recovered) != 0)
		goto out;
	code = ec_code_from_name(code_name);
	if (id < 1 || epoch < 1 || epoch >= UINT32_MAX || recovered < 0 || recovered > epoch ||
	    code < 0 || size < 0 || k < 0 || m < 0 || min < 0 || unit < 0 ||
	    record_name(spec.name, name) != 0)
		goto out;
	spec.size = (uint64_t)size;
	spec.k = (unsigned)k;
	spec.m = (unsigned)m;
	spec.unit = (uint32_t)unit;
	spec.settings = (struct volume_settings){(unsigned)min, below != 0, full != 0};
	if (volume_spec_check(&spec, &r) != 0)
		goto out;
	snprintf(v->name, sizeof(v->name), "%s", spec.name);
	v->id = (uint64_t)id;
	v->size = spec.size;
	v->k = spec.k;
	v->m = spec.m;
	v->unit = spec.unit;
	v->settings = spec.settings;
	v->code = (enum ec_code)code;
	v->epoch = (uint32_t)epoch;
	v->recovered = (uint32_t)recovered;
	*deleting = del != 0;
	err = 0;
out:
	json_decref(o);
	return err;
}

/* Counters of a scrub by name: those of both runs, see scrub_total(). */
#define SCRUB_COUNTERS                                                                             \
	{"extents", offsetof(struct volume_scrub, extents)},                                       \
		{"stripes", offsetof(struct volume_scrub, stripes)},                               \
		{"bytes", offsetof(struct volume_scrub, bytes)},                                   \
		{"skipped", offsetof(struct volume_scrub, skipped)},                               \
		{"bad_blocks", offsetof(struct volume_scrub, bad_blocks)},                         \
		{"misfit_blocks", offsetof(struct volume_scrub, misfit_blocks)},                   \
		{"repaired_blocks", offsetof(struct volume_scrub, repaired_blocks)},               \
		{"unclear_rows", offsetof(struct volume_scrub, unclear_rows)},                     \
		{"lost_rows", offsetof(struct volume_scrub, lost_rows)},                           \
		{"position", offsetof(struct volume_scrub, position)},                             \
		{"left", offsetof(struct volume_scrub, left)},

static const struct {
	const char *name;
	size_t offset;
} scrub_counters[] = {SCRUB_COUNTERS};

static void scrub_sum(struct volume_scrub *to, const struct volume_scrub *from)
{
	to->extents += from->extents;
	to->stripes += from->stripes;
	to->bytes += from->bytes;
	to->skipped += from->skipped;
	to->bad_blocks += from->bad_blocks;
	to->misfit_blocks += from->misfit_blocks;
	to->repaired_blocks += from->repaired_blocks;
	to->unclear_rows += from->unclear_rows;
	to->lost_rows += from->lost_rows;
}

struct volume_scrub scrub_total(const struct vol_scrub *s)
{
	struct volume_scrub total = s->before;

	scrub_sum(&total, &s->now);
	total.position = s->now.position;
	total.left = s->now.left;
	return total;
}

char *record_scrub(const struct vol_scrub *s)
{
	struct volume_scrub total = scrub_total(s);
	json_t *o = json_pack("{s:i, s:b, s:I, s:I, s:I}", "state", (int)s->state, "checksums",
			      s->checksums, "started", (json_int_t)s->started_s, "finished",
			      (json_int_t)s->finished_s, "since", (json_int_t)s->since_s);

	for (size_t i = 0; o != NULL && i < sizeof(scrub_counters) / sizeof(scrub_counters[0]);
	     i++) {
		uint64_t n;

		memcpy(&n, (const char *)&total + scrub_counters[i].offset, sizeof(n));
		json_object_set_new(o, scrub_counters[i].name, json_integer((json_int_t)n));
	}
	return record_dump(o);
}

/* What was found until then becomes s->before, but for the position. */
int record_scrub_parse(const void *value, size_t len, struct vol_scrub *s)
{
	json_t *o = json_loadb(value, len, 0, NULL);
	json_int_t started, finished, since;
	int state, checksums = 0, err = -EUCLEAN;

	if (o != NULL &&
	    json_unpack(o, "{s:i, s?b, s:I, s:I, s:I}", "state", &state, "checksums", &checksums,
			"started", &started, "finished", &finished, "since", &since) == 0 &&
	    state >= SCRUB_NEVER && state <= SCRUB_DONE && started >= 0 && finished >= 0 &&
	    since >= 0) {
		s->state = (enum scrub_state)state;
		s->checksums = checksums != 0;
		s->started_s = (uint64_t)started;
		s->finished_s = (uint64_t)finished;
		s->since_s = (uint64_t)since;
		for (size_t i = 0; i < sizeof(scrub_counters) / sizeof(scrub_counters[0]); i++) {
			json_int_t n =
				json_integer_value(json_object_get(o, scrub_counters[i].name));
			uint64_t u = n > 0 ? (uint64_t)n : 0;

			memcpy((char *)&s->before + scrub_counters[i].offset, &u, sizeof(u));
		}
		s->now.position = s->before.position;
		s->now.left = s->before.left;
		err = 0;
	}
	json_decref(o);
	return err;
}

char *record_deleted(const struct vol *v)
{
	return record_dump(json_pack("{s:s, s:I}", "name", v->name, "epoch", (json_int_t)v->epoch));
}

int record_deleted_parse(const char *key, const void *value, size_t len, uint64_t *volume,
			 uint32_t *epoch)
{
	const char *number = strrchr(key, '/');
	json_t *o = json_loadb(value, len, 0, NULL);
	json_int_t e = json_integer_value(json_object_get(o, "epoch"));
	char *end;

	json_decref(o);
	if (number == NULL || e < 1 || e > UINT32_MAX)
		return -EUCLEAN;
	errno = 0;
	*volume = strtoull(number + 1, &end, 16);
	*epoch = (uint32_t)e;
	return errno == 0 && *end == '\0' && end == number + 17 && *volume > 0 ? 0 : -EUCLEAN;
}

size_t record_extent(const struct extent_record *r, unsigned shards, uint8_t *buf)
{
	struct record_extent_head head = {
		.version = RECORD_EXTENT_VERSION,
		.shards = (uint8_t)shards,
		.generation = htole32(r->generation),
		.stale = htole32(r->stale),
		.mark = htole32(r->mark),
	};
	size_t len = sizeof(head);

	assert(shards >= 1 && shards <= WEFT_SHARDS_MAX);
	memcpy(buf, &head, sizeof(head));
	for (unsigned i = 0; i < shards; i++) {
		struct record_shard s = {htole32(r->shard[i].server), htole32(r->shard[i].slot),
					 htole32(r->shard[i].slot_gen)};

		memcpy(buf + len, &s, sizeof(s));
		len += sizeof(s);
	}
	return len;
}

int record_extent_parse(const char *key, const void *value, size_t len, unsigned shards,
			struct extent_record *r)
{
	struct record_extent_head head;
	const uint8_t *p = value;
	const char *number = strrchr(key, '/');
	char *end;

	if (number == NULL || len != sizeof(head) + shards * sizeof(struct record_shard))
		return -EUCLEAN;
	memcpy(&head, p, sizeof(head));
	if (head.version != RECORD_EXTENT_VERSION || head.shards != shards)
		return -EUCLEAN;
	*r = (struct extent_record){.generation = le32toh(head.generation),
				    .stale = le32toh(head.stale),
				    .mark = le32toh(head.mark)};
	errno = 0;
	r->extent = strtoull(number + 1, &end, 16);
	if (errno != 0 || *end != '\0' || end != number + 17)
		return -EUCLEAN;
	for (unsigned i = 0; i < shards; i++) {
		struct record_shard s;

		memcpy(&s, p + sizeof(head) + i * sizeof(s), sizeof(s));
		r->shard[i] = (struct shard_place){le32toh(s.server), le32toh(s.slot),
						   le32toh(s.slot_gen)};
		if (r->shard[i].server == 0 || r->shard[i].server > SERVER_NUMBER_MAX)
			return -EUCLEAN;
	}
	return 0;
}

size_t record_starts(const struct volume_starts *r, uint8_t *buf)
{
	struct record_starts_head head = {
		.version = RECORD_STARTS_VERSION,
		.starts = htole16((uint16_t)r->n),
		.servers = htole16((uint16_t)r->nservers),
	};
	size_t len = sizeof(head);

	assert(r->n <= VOLUME_STARTS_MAX && r->nservers <= PEER_MAX);
	memcpy(buf, &head, sizeof(head));
	for (unsigned i = 0; i < r->n; i++) {
		struct record_start s = {htole64(r->start[i].committed), htole64(r->start[i].next)};

		memcpy(buf + len, &s, sizeof(s));
		len += sizeof(s);
	}
	for (unsigned i = 0; i < r->nservers; i++) {
		struct record_start_server s = {htole32(r->server[i].number),
						htole64(r->server[i].judged_to)};

		memcpy(buf + len, &s, sizeof(s));
		len += sizeof(s);
	}
	return len;
}

int record_starts_parse(const void *value, size_t len, struct volume_starts *r)
{
	struct record_starts_head head;
	const uint8_t *p = value;

	if (len < sizeof(head))
		return -EUCLEAN;
	memcpy(&head, p, sizeof(head));
	*r = (struct volume_starts){.n = le16toh(head.starts), .nservers = le16toh(head.servers)};
	if (head.version != RECORD_STARTS_VERSION || r->n > VOLUME_STARTS_MAX ||
	    r->nservers > PEER_MAX ||
	    len != sizeof(head) + r->n * sizeof(struct record_start) +
			    r->nservers * sizeof(struct record_start_server))
		return -EUCLEAN;
	p += sizeof(head);
	for (unsigned i = 0; i < r->n; i++, p += sizeof(struct record_start)) {
		struct record_start s;

		memcpy(&s, p, sizeof(s));
		r->start[i] = (struct volume_start){le64toh(s.committed), le64toh(s.next)};
		if (r->start[i].committed >= r->start[i].next ||
		    (i > 0 && r->start[i].next <= r->start[i - 1].next))
			return -EUCLEAN;
	}
	for (unsigned i = 0; i < r->nservers; i++, p += sizeof(struct record_start_server)) {
		struct record_start_server s;

		memcpy(&s, p, sizeof(s));
		r->server[i] =
			(struct volume_start_server){le32toh(s.number), le64toh(s.judged_to)};
	}
	return 0;
}
