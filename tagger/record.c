/*
 * See record.h. Numbers are little-endian; lengths and counts are varints (seven bits a byte, low
 * ones first), so that a small file has a small record.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#include "tagger/record.h"
#include "banned.h"

/* ---- writing: into a buffer that is large enough ------------------------------------------- */

static uint8_t *put_number(uint8_t *p, uint64_t v, int bytes)
{
	for (int i = 0; i < bytes; i++)
		*p++ = (uint8_t)(v >> (8 * i));
	return p;
}

static uint8_t *put_varint(uint8_t *p, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		*p++ = (uint8_t)(v | 0x80);
	*p++ = (uint8_t)v;
	return p;
}

static uint8_t *put_bytes(uint8_t *p, const void *data, size_t len)
{
	if (len > 0)
		memcpy(p, data, len);
	return p + len;
}

static uint8_t *put_text(uint8_t *p, const struct record_text *t)
{
	p = put_varint(p, t->len);
	return put_bytes(p, t->at, t->len);
}

static uint8_t *put_facts(uint8_t *p, const struct record *r)
{
	p = put_varint(p, r->nfacts);
	for (size_t i = 0; i < r->nfacts; i++) {
		const struct record_fact *f = &r->facts[i];
		uint64_t bits;

		*p++ = f->key;
		*p++ = f->text.at != NULL;
		memcpy(&bits, &f->number, sizeof(bits));
		p = f->text.at != NULL ? put_text(p, &f->text) : put_number(p, bits, 8);
	}
	return p;
}

size_t record_pack(const struct record *r, uint8_t *out)
{
	uint8_t *p = out;

	assert(r->ntags <= RECORD_TAGS_MAX && r->nfacts <= EXTRACT_FACTS_MAX &&
	       r->nlinks <= EXTRACT_LINKS_MAX && r->handle.len <= RECORD_HANDLE_MAX &&
	       r->name.len <= RECORD_NAME_MAX);
	*p++ = RECORD_VERSION;
	*p++ = r->kind;
	*p++ = r->state;
	*p++ = r->flags;
	p = put_number(p, r->parent, 4);
	p = put_number(p, r->path_hash, 4);
	p = put_number(p, r->size, 8);
	p = put_number(p, (uint64_t)r->mtime_ns, 8);
	p = put_number(p, (uint64_t)r->ctime_ns, 8);
	p = put_bytes(p, r->ident, sizeof(r->ident));
	p = put_bytes(p, r->hash, sizeof(r->hash));
	if (r->flags & RECORD_SIMHASH)
		p = put_number(p, r->simhash, 8);
	if (r->flags & RECORD_PHASH)
		p = put_number(p, r->phash, 8);
	p = put_number(p, (uint32_t)r->handle_type, 4);
	p = put_text(p, &r->handle);
	p = put_text(p, &r->name);
	p = put_varint(p, r->ntags);
	for (size_t i = 0; i < r->ntags; i++) {
		p = put_varint(p, r->tags[i].tag);
		*p++ = r->tags[i].weight;
		*p++ = r->tags[i].source;
	}
	p = put_facts(p, r);
	p = put_varint(p, r->nlinks);
	for (size_t i = 0; i < r->nlinks; i++)
		p = put_text(p, &r->links[i]);
	p = put_text(p, &r->mime);
	p = put_text(p, &r->excerpt);
	p = put_text(p, &r->why);
	p = put_text(p, &r->hand);
	assert((size_t)(p - out) <= RECORD_BYTES_MAX);
	return (size_t)(p - out);
}

/* ---- reading: of anything ------------------------------------------------------------------ */

struct reader {
	const uint8_t *p, *end;
	bool bad;
};

static const uint8_t *take(struct reader *in, size_t len)
{
	static const uint8_t zero[16];
	const uint8_t *at = in->p;

	if (in->bad || len > (size_t)(in->end - in->p)) {
		in->bad = true;
		return len <= sizeof(zero) ? zero : NULL;
	}
	in->p += len;
	return at;
}

static uint64_t take_number(struct reader *in, int bytes)
{
	const uint8_t *at = take(in, (size_t)bytes);
	uint64_t v = 0;

	for (int i = 0; i < bytes; i++)
		v |= (uint64_t)at[i] << (8 * i);
	return v;
}

/* At most max, or it is bad. */
static uint32_t take_varint(struct reader *in, uint32_t max)
{
	uint64_t v = 0;

	for (int shift = 0; shift < 35; shift += 7) {
		uint8_t b = *take(in, 1);

		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80)) {
			if (v <= max)
				return (uint32_t)v;
			break;
		}
	}
	in->bad = true;
	return 0;
}

static void take_text(struct reader *in, uint32_t max, struct record_text *t)
{
	t->len = take_varint(in, max);
	t->at = (const char *)take(in, t->len);
	if (in->bad)
		*t = (struct record_text){.at = "", .len = 0};
}

static void take_tags(struct reader *in, struct record *r)
{
	r->ntags = (uint16_t)take_varint(in, RECORD_TAGS_MAX);
	for (size_t i = 0; i < r->ntags; i++) {
		r->tags[i].tag = take_varint(in, UINT32_MAX);
		r->tags[i].weight = (uint8_t)take_number(in, 1);
		r->tags[i].source = (uint8_t)take_number(in, 1);
		if (r->tags[i].source >= EXTRACT_SOURCE_COUNT)
			in->bad = true;
	}
}

static void take_facts(struct reader *in, struct record *r)
{
	r->nfacts = (uint16_t)take_varint(in, EXTRACT_FACTS_MAX);
	for (size_t i = 0; i < r->nfacts; i++) {
		struct record_fact *f = &r->facts[i];
		uint64_t bits;

		f->key = (uint8_t)take_number(in, 1);
		f->text = (struct record_text){0};
		f->number = 0;
		if (take_number(in, 1) != 0) {
			take_text(in, EXTRACT_TEXT_BYTES, &f->text);
		} else {
			bits = take_number(in, 8);
			memcpy(&f->number, &bits, sizeof(bits));
		}
		if (f->key >= EXTRACT_FACT_COUNT || !isfinite(f->number))
			in->bad = true;
	}
}

static void take_head(struct reader *in, struct record *r)
{
	r->kind = (uint8_t)take_number(in, 1);
	r->state = (uint8_t)take_number(in, 1);
	r->flags = (uint8_t)take_number(in, 1);
	r->parent = (uint32_t)take_number(in, 4);
	r->path_hash = (uint32_t)take_number(in, 4);
	r->size = take_number(in, 8);
	r->mtime_ns = (int64_t)take_number(in, 8);
	r->ctime_ns = (int64_t)take_number(in, 8);
	memcpy(r->ident, take(in, sizeof(r->ident)), sizeof(r->ident));
	memcpy(r->hash, take(in, sizeof(r->hash)), sizeof(r->hash));
	r->simhash = r->flags & RECORD_SIMHASH ? take_number(in, 8) : 0;
	r->phash = r->flags & RECORD_PHASH ? take_number(in, 8) : 0;
	r->handle_type = (int32_t)take_number(in, 4);
	take_text(in, RECORD_HANDLE_MAX, &r->handle);
	take_text(in, RECORD_NAME_MAX, &r->name);
	if (r->kind >= EXTRACT_KIND_COUNT || r->state > RECORD_FAILED)
		in->bad = true;
}

int record_unpack(const void *data, size_t len, struct record *r)
{
	struct reader in = {.p = data, .end = (const uint8_t *)data + len};

	if (take_number(&in, 1) != RECORD_VERSION)
		return -EUCLEAN;
	take_head(&in, r);
	take_tags(&in, r);
	take_facts(&in, r);
	r->nlinks = (uint16_t)take_varint(&in, EXTRACT_LINKS_MAX);
	for (size_t i = 0; i < r->nlinks; i++)
		take_text(&in, EXTRACT_LINK_BYTES, &r->links[i]);
	take_text(&in, EXTRACT_MIME_MAX, &r->mime);
	take_text(&in, EXTRACT_EXCERPT_MAX, &r->excerpt);
	take_text(&in, EXTRACT_WHY_MAX, &r->why);
	take_text(&in, RECORD_HAND_MAX, &r->hand);
	return in.bad || in.p != in.end ? -EUCLEAN : 0;
}
