/* The mirror of a volume; see model.h. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/model.h"

#include "banned.h"

#define TELL_MAX 20 /* wrong blocks that are told in full */

int model_init(struct model *m, uint64_t size, bool lossy)
{
	*m = (struct model){.size = size, .lossy = lossy, .stamp = 1};
	m->mirror = calloc(1, size);
	m->blocks = calloc(size / BLOCK_BYTES, sizeof(*m->blocks));
	if (m->mirror == NULL || m->blocks == NULL) {
		model_free(m);
		return -ENOMEM;
	}
	return 0;
}

static void before_drop(struct block *b)
{
	while (b->before != NULL) {
		struct alt *next = b->before->next;

		free(b->before);
		b->before = next;
	}
}

/* Forget older contents up to stamp. A doubt stays: a flush does not tell which of two it made
 * durable. */
static void alts_drop(struct model *m, struct block *b, uint64_t stamp, bool doubts)
{
	struct alt **at = &b->alts;

	while (*at != NULL) {
		struct alt *a = *at;

		if (a->stamp > stamp || (a->doubt && !doubts)) {
			at = &a->next;
			continue;
		}
		*at = a->next;
		free(a);
		m->alts--;
	}
}

void model_free(struct model *m)
{
	for (uint64_t i = 0; m->blocks != NULL && i < m->size / BLOCK_BYTES; i++) {
		alts_drop(m, &m->blocks[i], UINT64_MAX, true);
		before_drop(&m->blocks[i]);
	}
	free(m->mirror);
	free(m->blocks);
}

static uint64_t first_block(uint64_t offset)
{
	return offset / BLOCK_BYTES;
}

static uint64_t end_block(uint64_t offset, uint32_t len)
{
	return (offset + len + BLOCK_BYTES - 1) / BLOCK_BYTES;
}

bool model_lock(struct model *m, uint64_t offset, uint32_t len, bool write)
{
	uint64_t end = end_block(offset, len);

	for (uint64_t i = first_block(offset); write && i < end; i++)
		if (m->blocks[i].writer || m->blocks[i].readers > 0)
			return false;
	for (uint64_t i = first_block(offset); i < end; i++) {
		if (write)
			m->blocks[i].writer = true;
		else
			m->blocks[i].readers++;
	}
	return true;
}

void model_unlock(struct model *m, uint64_t offset, uint32_t len, bool write)
{
	for (uint64_t i = first_block(offset); i < end_block(offset, len); i++) {
		if (write) {
			m->blocks[i].writer = false;
		} else if (--m->blocks[i].readers == 0) {
			before_drop(&m->blocks[i]);
		}
	}
}

/* ---- bytes --------------------------------------------------------------------------------- */

/* The word at an address: the number of the write, and the address in words. */
static uint64_t word(uint32_t seq, uint64_t address)
{
	return (uint64_t)seq << 32 | (address / 8 & 0xffffffff);
}

void model_fill(uint8_t *to, const struct change_range *c, uint64_t offset, uint32_t len)
{
	uint64_t at = offset, end = offset + len;

	if (c->change == CHANGE_ZERO) {
		memset(to, 0, len);
		return;
	}
	while (at < end) {
		uint64_t w = word(c->seq, at);
		uint32_t skip = at % 8, n = 8 - skip;

		if (n > end - at)
			n = (uint32_t)(end - at);
		memcpy(to, (uint8_t *)&w + skip, n);
		to += n;
		at += n;
	}
}

/* A block as it is after the change. */
static void overlay(uint8_t *block, uint64_t number, const struct change_range *c)
{
	uint64_t start = number * BLOCK_BYTES, end = start + BLOCK_BYTES;
	uint64_t from = c->offset > start ? c->offset : start;
	uint64_t to = c->offset + c->len < end ? c->offset + c->len : end;

	if (from < to)
		model_fill(block + (from - start), c, from, (uint32_t)(to - from));
}

static uint8_t *mirror_block(struct model *m, uint64_t number)
{
	return m->mirror + number * BLOCK_BYTES;
}

static struct alt *alt_new(struct model *m, const uint8_t *data)
{
	struct alt *a = malloc(sizeof(*a));

	if (a == NULL) {
		fprintf(stderr, "no memory\n");
		abort();
	}
	memcpy(a->data, data, BLOCK_BYTES);
	a->stamp = m->stamp;
	a->doubt = false;
	a->next = NULL;
	return a;
}

static struct alt *alt_add(struct model *m, uint64_t number, const uint8_t *data)
{
	struct alt *a = alt_new(m, data);

	a->next = m->blocks[number].alts;
	m->blocks[number].alts = a;
	m->alts++;
	return a;
}

/* What readers under way may still see. No second change begins while they read. */
static void before_keep(struct model *m, uint64_t number)
{
	struct block *b = &m->blocks[number];

	before_drop(b);
	b->before = alt_new(m, mirror_block(m, number));
	for (const struct alt *a = b->alts; a != NULL; a = a->next) {
		struct alt *copy;

		if (!a->doubt)
			continue;
		copy = alt_new(m, a->data);
		copy->next = b->before;
		b->before = copy;
	}
}

/* The change leaves nothing of what the block was. */
static bool covers(const struct change_range *c, uint64_t number)
{
	return c->offset <= number * BLOCK_BYTES &&
	       c->offset + c->len >= (number + 1) * BLOCK_BYTES;
}

void model_acknowledge(struct model *m, const struct change_range *c, bool durable)
{
	m->stamp++;
	for (uint64_t i = first_block(c->offset); i < end_block(c->offset, c->len); i++) {
		if (m->blocks[i].readers > 0)
			before_keep(m, i);
		if (m->lossy && durable)
			alts_drop(m, &m->blocks[i], UINT64_MAX, covers(c, i));
		else if (m->lossy)
			alt_add(m, i, mirror_block(m, i));
		for (struct alt *a = m->blocks[i].alts; a != NULL; a = a->next)
			if (a->doubt)
				overlay(a->data, i, c); /* whichever it was, it has this now */
		overlay(mirror_block(m, i), i, c);
	}
}

void model_doubt(struct model *m, const struct change_range *c)
{
	for (uint64_t i = first_block(c->offset); i < end_block(c->offset, c->len); i++) {
		struct alt *a = alt_add(m, i, mirror_block(m, i));

		a->doubt = true;
		overlay(a->data, i, c);
	}
}

void model_flushed(struct model *m, uint64_t stamp)
{
	for (uint64_t i = 0; m->alts > 0 && i < m->size / BLOCK_BYTES; i++)
		alts_drop(m, &m->blocks[i], stamp, false);
}

/* ---- checking ------------------------------------------------------------------------------ */

static void tell(struct model *m, uint64_t number, const uint8_t *got, uint32_t skip, uint32_t len)
{
	static unsigned told;
	const uint8_t *want = mirror_block(m, number) + skip;
	uint32_t at = 0, wrong = 0;
	uint64_t w = 0, is = 0, address;

	if (told++ >= TELL_MAX)
		return;
	for (uint32_t i = len; i-- > 0;)
		if (got[i] != want[i]) {
			at = i;
			wrong++;
		}
	address = number * BLOCK_BYTES + skip + at;
	if (at >= (skip + at) % 8 && at - (skip + at) % 8 + 8 <= len) {
		memcpy(&w, want + at - (skip + at) % 8, 8);
		memcpy(&is, got + at - (skip + at) % 8, 8);
	}
	fprintf(stderr,
		"WRONG block %llu (offset %llu): %u of %u bytes, first at %llu: is write %llu of "
		"address %llu, should be write %llu of address %llu\n",
		(unsigned long long)number, (unsigned long long)(number * BLOCK_BYTES), wrong, len,
		(unsigned long long)address, (unsigned long long)(is >> 32),
		(unsigned long long)(is & 0xffffffff) * 8, (unsigned long long)(w >> 32),
		(unsigned long long)(w & 0xffffffff) * 8);
}

/* The content, or that with one of the changes under way. */
static bool seen_over(const uint8_t *data, uint64_t number, const uint8_t *got, uint32_t skip,
		      uint32_t len, const struct change_range *const *inflight)
{
	uint8_t block[BLOCK_BYTES];

	if (memcmp(data + skip, got, len) == 0)
		return true;
	for (; inflight != NULL && *inflight != NULL; inflight++) {
		memcpy(block, data, BLOCK_BYTES);
		overlay(block, number, *inflight);
		if (memcmp(block + skip, got, len) == 0)
			return true;
	}
	return false;
}

static bool may_be_seen(struct model *m, uint64_t number, const uint8_t *got, uint32_t skip,
			uint32_t len, uint64_t stamp, const struct change_range *const *inflight)
{
	const struct block *b = &m->blocks[number];

	for (const struct alt *a = b->before; a != NULL; a = a->next)
		if (a->stamp > stamp && memcmp(a->data + skip, got, len) == 0)
			return true;
	for (const struct alt *a = b->alts; a != NULL; a = a->next)
		if (a->doubt && seen_over(a->data, number, got, skip, len, inflight))
			return true;
	return seen_over(mirror_block(m, number), number, got, skip, len, inflight);
}

/* The block is one of what it may be, and will be that. */
static bool settle_block(struct model *m, uint64_t number, const uint8_t *got)
{
	uint8_t other[BLOCK_BYTES];

	for (struct alt *a = m->blocks[number].alts; a != NULL; a = a->next) {
		if (memcmp(a->data, got, BLOCK_BYTES) != 0)
			continue;
		memcpy(other, a->data, BLOCK_BYTES);
		memcpy(a->data, mirror_block(m, number), BLOCK_BYTES);
		memcpy(mirror_block(m, number), other, BLOCK_BYTES);
		return true;
	}
	return false;
}

static bool check_block(struct model *m, uint64_t number, const uint8_t *got, uint32_t skip,
			uint32_t len, uint64_t stamp, const struct change_range *const *inflight,
			bool settle)
{
	bool good = memcmp(mirror_block(m, number) + skip, got, len) == 0 ||
		    (settle ? len == BLOCK_BYTES && settle_block(m, number, got)
			    : may_be_seen(m, number, got, skip, len, stamp, inflight));

	if (!good)
		tell(m, number, got, skip, len);
	if (settle && good) {
		for (struct alt *a = m->blocks[number].alts; a != NULL; a = a->next) {
			a->stamp = m->stamp;
			a->doubt = false;
		}
		if (!m->lossy) /* what was read once stays */
			alts_drop(m, &m->blocks[number], UINT64_MAX, true);
	}
	return good;
}

unsigned model_check(struct model *m, const uint8_t *got, uint64_t offset, uint32_t len,
		     uint64_t stamp, const struct change_range *const *inflight, bool settle)
{
	uint64_t at = offset, end = offset + len;
	unsigned wrong = 0;

	while (at < end) {
		uint32_t skip = at % BLOCK_BYTES, n = BLOCK_BYTES - skip;

		if (n > end - at)
			n = (uint32_t)(end - at);
		if (!check_block(m, at / BLOCK_BYTES, got, skip, n, stamp, inflight, settle))
			wrong++;
		got += n;
		at += n;
	}
	return wrong;
}
