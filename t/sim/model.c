/*
 * What each 4 KiB block may hold. For every block: the states that it may be in now (which bytes,
 * and which of the writes that are not decided yet are in them), and the states that it may have
 * been in until some moment. A read must return one of those that were possible while it ran. A
 * crash that may lose what was not flushed brings back every state that was possible since the last
 * acknowledged flush began.
 *
 * When more servers than can be spared lose their memory and volmgr lives, it is the same, but that
 * nobody knows when it has decided what is left: until a flush that was asked for after it
 * succeeds, each of those states may be seen, and what is acknowledged meanwhile may be lost, too.
 *
 * Writes that run at the same time may take effect in any order, and those that failed at any later
 * time: all these states are kept. load.c limits how many run in one block.
 */
#include "config.h"

#include <inttypes.h>
#include <stdlib.h>

#include "sim.h"

#define OPEN_MAX    4	 /* undecided writes in one block */
#define STATES_MAX  4096 /* of one block, now or once */
#define STATES_ROOM 8	 /* more writes are let in as long as it may be in so many states now */
#define READS_LAST  4000 /* moments: no read takes longer */
#define WRITES_MAX  256

/* The bytes of a block: what was there before, and a write over it. Kept until the seed is over. */
struct bytes {
	struct bytes *next; /* of its block */
	const struct bytes *under;
	unsigned write; /* that made it */
	uint8_t data[SIM_BLOCK];
};

struct state {
	const struct bytes *bytes;
	uint32_t in;   /* bits of block.open: undecided writes that are in it */
	uint64_t last; /* past states: when it was possible for the last time */
	bool over;     /* and it cannot come back: a durable write is not in it */
};

struct states {
	struct state *s;
	unsigned n, room;
};

struct block {
	struct states now, past;
	uint64_t unsure; /* reads that began before that do not tell which state it is in */
	struct bytes *all;
	struct open {
		unsigned handle; /* 0: free */
		const struct write *w;
	} open[OPEN_MAX];
};

struct write {
	unsigned serial; /* 0: free */
	uint64_t w;	 /* its number; 0: zeros */
	uint64_t offset;
	uint32_t len;
	uint32_t era;
};

struct model {
	struct sim *sim;
	uint64_t size;
	uint64_t moment;
	uint64_t floor;
	uint32_t era; /* rises when volmgr has recovered */
	bool loose;   /* since that moment: volmgr lives, and lost what was not flushed */
	uint64_t loose_since;
	uint64_t loose_until; /* what was asked for before that may still tell of it */
	unsigned serial;
	struct block **blocks;
	struct write writes[WRITES_MAX];
	unsigned writes_end; /* the others were never used */
	struct bytes zeros;
};

struct model *model_new(struct sim *s, uint64_t size)
{
	struct model *m = world_alloc(sizeof(*m));

	m->sim = s;
	m->size = size;
	m->blocks = world_alloc(size / SIM_BLOCK * sizeof(struct block *));
	return m;
}

void model_free(struct model *m)
{
	for (uint64_t i = 0; i < m->size / SIM_BLOCK; i++) {
		struct block *b = m->blocks[i];

		while (b != NULL && b->all != NULL) {
			struct bytes *next = b->all->next;

			free(b->all);
			b->all = next;
		}
		if (b != NULL) {
			free(b->now.s);
			free(b->past.s);
		}
		free(b);
	}
	free(m->blocks);
	free(m);
}

/* ---- bytes --------------------------------------------------------------------------------- */

/* Each word says which write it is of, and where it belongs. */
static uint64_t word_of(uint64_t w, uint64_t offset)
{
	return w << 40 ^ offset >> 3 ^ w * 0x9e3779b97f4a7c15ULL >> 30;
}

void model_bytes(const struct model *m, uint64_t w, uint64_t offset, uint8_t *to, uint32_t len)
{
	uint64_t word;
	uint32_t i = 0;

	if (w == 0) {
		memset(to, 0, len);
		return;
	}
	for (; i < len && (offset + i) % 8 != 0; i++) {
		word = word_of(w, offset + i);
		to[i] = ((uint8_t *)&word)[(offset + i) % 8];
	}
	for (; i + 8 <= len; i += 8) {
		word = word_of(w, offset + i);
		memcpy(to + i, &word, 8);
	}
	for (; i < len; i++) {
		word = word_of(w, offset + i);
		to[i] = ((uint8_t *)&word)[(offset + i) % 8];
	}
}

/* The part of a write that is in a block. */
static void part(const struct write *w, uint64_t block, uint32_t *from, uint32_t *to)
{
	uint64_t start = block * SIM_BLOCK, end = start + SIM_BLOCK;

	*from = w->offset > start ? (uint32_t)(w->offset - start) : 0;
	*to = w->offset + w->len < end ? (uint32_t)(w->offset + w->len - start) : SIM_BLOCK;
}

/* What a write makes of these bytes. The same question gets the same answer. */
static const struct bytes *bytes_after(struct model *m, struct block *in, const struct bytes *under,
				       const struct write *w, uint64_t block)
{
	uint32_t from, to;
	struct bytes *b;

	part(w, block, &from, &to);
	if (from == 0 && to == SIM_BLOCK) {
		if (w->w == 0)
			return &m->zeros;
		under = NULL;
	}
	for (b = in->all; b != NULL; b = b->next)
		if (b->write == w->serial && b->under == under)
			return b;
	b = world_malloc(sizeof(*b));
	b->write = w->serial;
	b->under = under;
	if (under != NULL)
		memcpy(b->data, under->data, SIM_BLOCK);
	model_bytes(m, w->w, block * SIM_BLOCK + from, b->data + from, to - from);
	b->next = in->all;
	in->all = b;
	return b;
}

/* ---- states -------------------------------------------------------------------------------- */

static void states_add(struct model *m, struct states *to, const struct state *st)
{
	if (to->n == to->room) {
		if (to->room == STATES_MAX)
			sim_fail(m->sim, "the model has too many states: limit the load");
		to->room = to->room == 0 ? 8 : to->room * 2;
		to->s = world_realloc(to->s, to->room * sizeof(to->s[0]));
	}
	to->s[to->n++] = *st;
}

static void add_now(struct model *m, struct block *b, const struct bytes *bytes, uint32_t in)
{
	for (unsigned i = 0; i < b->now.n; i++)
		if (b->now.s[i].bytes == bytes && b->now.s[i].in == in)
			return;
	states_add(m, &b->now, &(struct state){.bytes = bytes, .in = in});
}

static bool covers(const struct write *w, uint64_t n)
{
	return w->serial != 0 && w->offset < (n + 1) * SIM_BLOCK &&
	       n * SIM_BLOCK < w->offset + w->len;
}

/* A block that was never written; zeros that are on their way there may still come. */
static struct block *block_new(struct model *m, uint64_t n)
{
	struct block *b = world_alloc(sizeof(*b));
	unsigned o = 0;

	m->blocks[n] = b;
	add_now(m, b, &m->zeros, 0);
	for (unsigned i = 0; i < m->writes_end; i++) {
		if (!covers(&m->writes[i], n))
			continue;
		assert(o < OPEN_MAX);
		b->open[o++] = (struct open){m->writes[i].serial, &m->writes[i]};
	}
	return b;
}

static struct block *block_at(struct model *m, uint64_t n)
{
	assert(n < m->size / SIM_BLOCK);
	return m->blocks[n] != NULL ? m->blocks[n] : block_new(m, n);
}

static unsigned open_of(const struct block *b, unsigned handle)
{
	unsigned o = 0;

	while (o < OPEN_MAX && b->open[o].handle != handle)
		o++;
	return o;
}

/* Undecided writes there. */
static unsigned open_count(const struct model *m, uint64_t n)
{
	const struct block *b = m->blocks[n];
	unsigned open = 0;

	for (unsigned o = 0; b != NULL && o < OPEN_MAX; o++)
		open += b->open[o].handle != 0;
	for (unsigned i = 0; b == NULL && i < m->writes_end; i++)
		open += covers(&m->writes[i], n);
	return open;
}

/* With every write that may still take effect. */
static void block_close(struct model *m, struct block *b, uint64_t n)
{
	for (unsigned i = 0; i < b->now.n; i++)
		for (unsigned o = 0; o < OPEN_MAX; o++)
			if (b->open[o].handle != 0 && (b->now.s[i].in >> o & 1) == 0)
				add_now(m, b, bytes_after(m, b, b->now.s[i].bytes, b->open[o].w, n),
					b->now.s[i].in | 1u << o);
}

static bool past_needed(const struct model *m, const struct state *st)
{
	/* reads that run now began at most so long ago: load.c has few of them */
	return st->last + READS_LAST >= m->moment || (!st->over && st->last >= m->floor);
}

/* over: only reads that run now may have seen it. */
static void add_past(struct model *m, struct block *b, const struct state *st, bool over)
{
	struct states *past = &b->past;
	unsigned n = 0;

	for (unsigned i = 0; i < past->n && !over; i++)
		if (past->s[i].bytes == st->bytes && past->s[i].in == st->in && !past->s[i].over) {
			past->s[i].last = m->moment;
			return;
		}
	if (past->n == past->room) {
		for (unsigned i = 0; i < past->n; i++)
			if (past_needed(m, &past->s[i]))
				past->s[n++] = past->s[i];
		past->n = n;
	}
	states_add(
		m, past,
		&(struct state){.bytes = st->bytes, .in = st->in, .last = m->moment, .over = over});
}

/* An undecided write is no longer: its place is free. */
static void open_end(struct model *m, struct block *b, unsigned o)
{
	unsigned n = b->now.n;

	b->now.n = 0;
	for (unsigned i = 0; i < n; i++)
		add_now(m, b, b->now.s[i].bytes, b->now.s[i].in & ~(1u << o));
	for (unsigned i = 0; i < b->past.n; i++)
		b->past.s[i].in &= ~(1u << o);
	b->open[o].handle = 0;
}

/* ---- writes -------------------------------------------------------------------------------- */

static uint64_t first_block(uint64_t offset)
{
	return offset / SIM_BLOCK;
}

static uint64_t last_block(uint64_t offset, uint32_t len)
{
	return (offset + len - 1) / SIM_BLOCK;
}

static struct write *write_find(struct model *m, unsigned serial)
{
	for (unsigned i = 0; i < WRITES_MAX; i++)
		if (m->writes[i].serial == serial)
			return &m->writes[i];
	return NULL;
}

bool model_room(const struct model *m, uint64_t offset, uint32_t len)
{
	unsigned used = 0;

	for (unsigned i = 0; i < m->writes_end; i++)
		used += m->writes[i].serial != 0;
	if (used + 4 > WRITES_MAX)
		return false;
	for (uint64_t n = first_block(offset); n <= last_block(offset, len); n++) {
		const struct block *b = m->blocks[n];
		unsigned open = open_count(m, n);

		if (open >= OPEN_MAX - 1 || (b != NULL && b->now.n * (open + 1) > STATES_ROOM))
			return false;
	}
	return true;
}

unsigned model_write(struct model *m, uint64_t w, uint64_t offset, uint32_t len)
{
	struct write *wr = write_find(m, 0);

	assert(wr != NULL && len > 0);
	m->moment++;
	if (m->writes_end < wr - m->writes + 1)
		m->writes_end = (unsigned)(wr - m->writes) + 1;
	*wr = (struct write){
		.serial = ++m->serial, .w = w, .offset = offset, .len = len, .era = m->era};
	for (uint64_t n = first_block(offset); n <= last_block(offset, len); n++) {
		struct block *b = w == 0 ? m->blocks[n] : block_at(m, n);

		if (b == NULL) /* zeros where nothing was ever written */
			continue;
		if (open_of(b, wr->serial) == OPEN_MAX) { /* else it is a new one */
			unsigned o = open_of(b, 0);

			assert(o < OPEN_MAX);
			b->open[o] = (struct open){wr->serial, wr};
		}
		block_close(m, b, n);
	}
	return wr->serial;
}

static void block_acked(struct model *m, uint64_t n, unsigned handle, bool durable)
{
	struct block *b = m->blocks[n];
	unsigned o = b == NULL ? OPEN_MAX : open_of(b, handle), kept = 0;

	if (o == OPEN_MAX) /* zeros where nothing was written then */
		return;
	for (unsigned i = 0; i < b->now.n && m->loose && !durable; i++) {
		if ((b->now.s[i].in >> o & 1) == 0) /* a read that shows it is no flush */
			add_past(m, b, &b->now.s[i], false);
		b->now.s[i].in |= 1u << o; /* it may be undone */
	}
	if (m->loose)
		b->unsure = m->moment;
	for (unsigned i = 0; i < b->now.n; i++) {
		if ((b->now.s[i].in >> o & 1) != 0)
			b->now.s[kept++] = b->now.s[i];
		else
			add_past(m, b, &b->now.s[i], false);
	}
	b->now.n = kept;
	assert(kept > 0);
	for (unsigned i = 0; i < b->past.n && durable; i++)
		b->past.s[i].over |= (b->past.s[i].in >> o & 1) == 0;
	open_end(m, b, o);
}

void model_acked(struct model *m, unsigned handle, bool durable)
{
	struct write *w = write_find(m, handle);

	if (w == NULL)
		sim_fail(m->sim, "a write was acknowledged by a volmgr that has been replaced");
	m->moment++;
	for (uint64_t n = first_block(w->offset); n <= last_block(w->offset, w->len); n++)
		block_acked(m, n, handle, durable);
	m->moment++;
	w->serial = 0;
}

/* Writes from now on go to another owner, who will say when he has recovered. */
void model_new_owner(struct model *m)
{
	m->era++;
}

uint64_t model_moment(struct model *m)
{
	return ++m->moment;
}

uint64_t model_floor(const struct model *m)
{
	return m->floor;
}

void model_flushed(struct model *m, uint64_t since)
{
	m->moment++;
	if (m->loose && since > m->loose_since) {
		m->loose = false;
		m->loose_until = m->moment;
	}
	if (since > m->floor)
		m->floor = since;
}

/* ---- recovery ------------------------------------------------------------------------------ */

/* What was not flushed may be lost. */
static void block_loosen(struct model *m, struct block *b)
{
	for (unsigned i = 0; i < b->past.n; i++)
		if (!b->past.s[i].over && b->past.s[i].last >= m->floor)
			add_now(m, b, b->past.s[i].bytes, b->past.s[i].in);
}

void model_loosen(struct model *m)
{
	m->loose = true;
	m->loose_since = ++m->moment;
	sim_note(m->sim, "loose", "model", m->floor, m->moment);
	for (uint64_t n = 0; n < m->size / SIM_BLOCK; n++)
		if (m->blocks[n] != NULL) {
			block_loosen(m, m->blocks[n]);
			block_close(m, m->blocks[n], n);
		}
}

bool model_was_loose(const struct model *m, uint64_t since)
{
	return m->loose || since < m->loose_until;
}

static void block_recovered(struct model *m, uint64_t n, bool loose)
{
	struct block *b = m->blocks[n];

	for (unsigned o = 0; o < OPEN_MAX; o++)
		if (b->open[o].handle != 0 && b->open[o].w->era < m->era)
			open_end(m, b, o);
	if (loose)
		block_loosen(m, b);
	block_close(m, b, n);
	b->past.n = 0;
}

void model_recovered(struct model *m, bool loose)
{
	m->moment++;
	loose |= m->loose;
	m->loose = false;
	sim_note(m->sim, loose ? "recovered, loose" : "recovered", "model", m->floor, m->moment);
	for (uint64_t n = 0; n < m->size / SIM_BLOCK; n++)
		if (m->blocks[n] != NULL)
			block_recovered(m, n, loose);
	for (unsigned i = 0; i < WRITES_MAX; i++)
		if (m->writes[i].era < m->era)
			m->writes[i].serial = 0;
	m->floor = m->moment;
}

/* ---- reads --------------------------------------------------------------------------------- */

static bool same(const struct bytes *b, const uint8_t *data, uint32_t from, uint32_t to)
{
	return memcmp(b->data + from, data, to - from) == 0;
}

static void wrong(struct model *m, uint64_t n, const uint8_t *data, uint32_t from, uint32_t to,
		  uint64_t since)
{
	const struct block *b = block_at(m, n);
	uint64_t word;

	for (unsigned i = 0; i < b->now.n + b->past.n; i++) {
		const struct state *st = i < b->now.n ? &b->now.s[i] : &b->past.s[i - b->now.n];
		uint32_t at = from;

		while (at < to && st->bytes->data[at] == data[at - from])
			at++;
		memcpy(&word, st->bytes->data + (at < to ? at / 8 * 8 : 0), 8);
		sim_note(m->sim, i < b->now.n ? "may be" : "was once", "model", word >> 40, at);
	}
	memcpy(&word, data, to - from < 8 ? to - from : 8);
	sim_fail(m->sim,
		 "block %" PRIu64 " (bytes %u to %u): read of moment %" PRIu64
		 " returned what it cannot hold: first word %016" PRIx64 " (write %u)",
		 n, from, to, since, word, (unsigned)(word >> 40));
}

/*
 * The read tells which state the block is in. While a write is undecided it tells nothing: such a
 * write may be seen and then be undone, when it fails.
 */
static void narrow(struct model *m, struct block *b, const uint8_t *data, uint32_t from,
		   uint32_t to)
{
	unsigned n = 0;

	for (unsigned o = 0; o < OPEN_MAX; o++)
		if (b->open[o].handle != 0)
			return;
	for (unsigned i = 0; i < b->now.n; i++)
		if (same(b->now.s[i].bytes, data, from, to))
			b->now.s[n++] = b->now.s[i];
		else
			add_past(m, b, &b->now.s[i], true);
	b->now.n = n;
}

static void block_read(struct model *m, uint64_t since, uint64_t n, const uint8_t *data,
		       uint32_t from, uint32_t to)
{
	struct block *b = m->blocks[n];
	bool now = false, past = false;

	if (b == NULL) {
		if (!same(&m->zeros, data, from, to))
			wrong(m, n, data, from, to, since);
		return;
	}
	for (unsigned i = 0; i < b->now.n && !now; i++)
		now = same(b->now.s[i].bytes, data, from, to);
	for (unsigned i = 0; i < b->past.n && !past; i++)
		past = b->past.s[i].last >= since && same(b->past.s[i].bytes, data, from, to);
	if (!now && !past)
		wrong(m, n, data, from, to, since);
	if (now && !past && b->now.n > 1 && !model_was_loose(m, since) && since > b->unsure)
		narrow(m, b, data, from, to);
}

void model_read(struct model *m, uint64_t since, uint64_t offset, const uint8_t *data, uint32_t len)
{
	m->moment++;
	for (uint64_t n = first_block(offset); n <= last_block(offset, len); n++) {
		uint64_t start = n * SIM_BLOCK;
		uint32_t from = offset > start ? (uint32_t)(offset - start) : 0;
		uint32_t to = offset + len < start + SIM_BLOCK ? (uint32_t)(offset + len - start)
							       : SIM_BLOCK;

		block_read(m, since, n, data + (start + from - offset), from, to);
	}
}
