/*
 * What a store should hold: a model of slots and transactions so simple that it is plainly right.
 * A block's content is one 64-bit word, repeated; 0 is a block that was never written.
 */
#ifndef WEFT_STORE_MODEL_H
#define WEFT_STORE_MODEL_H

#include "store-world.h"

#define MODEL_SLOTS  3
#define MODEL_BLOCKS 80 /* of a slot, from its start: five granules */
#define MODEL_TXS    96
#define MODEL_OPS    4096

enum op_type { OP_PREPARE, OP_COMMIT, OP_ABORT, OP_LABEL, OP_DISCARD };

struct op {
	enum op_type type;
	uint64_t tx, blocks;
	unsigned slot, block, mode;
	uint32_t gen;
	uint64_t tag[64];
};

struct model_tx {
	uint64_t tx, blocks;
	unsigned slot, block;
	uint64_t tag[64];
};

struct model {
	uint32_t gen[MODEL_SLOTS]; /* 0: free */
	uint64_t home[MODEL_SLOTS][MODEL_BLOCKS];
	struct model_tx tx[MODEL_TXS]; /* ascending */
	unsigned ntx;
	uint64_t committed;
};

static uint64_t model_block(const struct model *m, unsigned slot, unsigned block)
{
	for (unsigned i = m->ntx; i-- > 0;) {
		const struct model_tx *t = &m->tx[i];

		if (t->slot == slot && block >= t->block && block < t->block + 64 &&
		    (t->blocks >> (block - t->block) & 1) != 0)
			return t->tag[block - t->block];
	}
	return m->home[slot][block];
}

static void model_remove(struct model *m, unsigned i)
{
	memmove(&m->tx[i], &m->tx[i + 1], (--m->ntx - i) * sizeof(m->tx[0]));
}

static bool model_overlap(const struct model_tx *a, const struct model_tx *b)
{
	for (unsigned i = 0; i < 64; i++)
		for (unsigned j = 0; j < 64; j++)
			if (a->slot == b->slot && a->block + i == b->block + j &&
			    (a->blocks >> i & 1) != 0 && (b->blocks >> j & 1) != 0)
				return true;
	return false;
}

static void model_prepare(struct model *m, const struct op *op)
{
	struct model_tx t = {
		.tx = op->tx, .blocks = op->blocks, .slot = op->slot, .block = op->block};

	for (unsigned i = 0; i < 64; i++) {
		if ((op->blocks >> i & 1) == 0 || op->mode == WEFT_MODE_ZERO)
			continue;
		t.tag[i] = op->tag[i];
		if (op->mode == WEFT_MODE_XOR)
			t.tag[i] ^= model_block(m, op->slot, op->block + i);
	}
	assert(m->ntx < MODEL_TXS && (m->ntx == 0 || m->tx[m->ntx - 1].tx < op->tx));
	m->tx[m->ntx++] = t;
}

static unsigned model_undecided(const struct model *m)
{
	unsigned n = 0;

	for (unsigned i = 0; i < m->ntx; i++)
		n += (unsigned)__builtin_popcountll(m->tx[i].blocks);
	return n;
}

static void model_commit(struct model *m, uint64_t tx)
{
	if (tx > m->committed)
		m->committed = tx;
	while (m->ntx > 0 && m->tx[0].tx <= tx) {
		const struct model_tx *t = &m->tx[0];

		for (unsigned i = 0; i < 64; i++)
			if ((t->blocks >> i & 1) != 0)
				m->home[t->slot][t->block + i] = t->tag[i];
		model_remove(m, 0);
	}
}

static void model_abort(struct model *m, uint64_t tx)
{
	bool doomed[MODEL_TXS] = {false};

	for (unsigned i = 0; i < m->ntx; i++) {
		doomed[i] |= m->tx[i].tx == tx;
		for (unsigned j = i + 1; doomed[i] && j < m->ntx; j++)
			doomed[j] |= model_overlap(&m->tx[i], &m->tx[j]);
	}
	for (unsigned i = m->ntx; i-- > 0;)
		if (doomed[i])
			model_remove(m, i);
}

static void model_apply(struct model *m, const struct op *op)
{
	switch (op->type) {
	case OP_PREPARE:
		model_prepare(m, op);
		break;
	case OP_COMMIT:
		model_commit(m, op->tx);
		break;
	case OP_ABORT:
		model_abort(m, op->tx);
		break;
	case OP_LABEL:
		m->gen[op->slot] = op->gen;
		break;
	case OP_DISCARD:
		m->gen[op->slot] = 0;
		memset(m->home[op->slot], 0, sizeof(m->home[0]));
		for (unsigned i = m->ntx; i-- > 0;)
			if (m->tx[i].slot == op->slot)
				model_remove(m, i);
		break;
	}
}

static void tags_to_bytes(const struct op *op, uint8_t *out)
{
	for (unsigned i = 0; i < 64; i++)
		if ((op->blocks >> i & 1) != 0)
			for (unsigned w = 0; w < 512; w++, out += 8)
				memcpy(out, &op->tag[i], 8);
}

/* ---- looking ------------------------------------------------------------------------------- */

/* What a store shows; the tx's tags stay empty, block[] has what is seen. */
struct view {
	uint32_t gen[MODEL_SLOTS];
	uint64_t block[MODEL_SLOTS][MODEL_BLOCKS];
	struct weft_list_entry tx[MODEL_TXS];
	unsigned ntx;
	uint64_t committed;
	bool torn;
};

static bool view_slot(struct world *w, struct view *v, unsigned slot)
{
	static uint8_t bytes[MODEL_BLOCKS * 4096];
	int err = do_read(w, (uint64_t)slot * WEFT_SHARD_BYTES, sizeof(bytes), bytes);

	if (err == (int)WEFT_ESTALE)
		return v->gen[slot] == 0;
	if (err != 0) {
		diag("slot %u: read fails with %d", slot, err);
		return false;
	}
	for (unsigned b = 0; b < MODEL_BLOCKS; b++) {
		memcpy(&v->block[slot][b], bytes + b * 4096, 8);
		for (unsigned i = 8; i < 4096; i += 8)
			if (memcmp(bytes + b * 4096, bytes + b * 4096 + i, 8) != 0)
				v->torn = true;
	}
	return true;
}

static bool view_get(struct world *w, struct view *v)
{
	struct weft_list_head h;
	struct weft_label_entry l;
	bool good = true;
	uint8_t *p;

	memset(v, 0, sizeof(*v));
	p = do_list(w, WEFT_CMD_LABELS, 0, 32 + 128 * 16);
	if (p == NULL)
		return false;
	memcpy(&h, p, sizeof(h));
	for (unsigned i = 0; i < be32toh(h.count); i++) {
		memcpy(&l, p + 32 + i * sizeof(l), sizeof(l));
		if (be32toh(l.slot) < MODEL_SLOTS)
			v->gen[be32toh(l.slot)] = be32toh(l.slot_gen);
	}
	free(p);
	p = do_list(w, WEFT_CMD_LIST, 0, 32 + 40 * MODEL_TXS);
	if (p == NULL)
		return false;
	memcpy(&h, p, sizeof(h));
	v->ntx = be32toh(h.count);
	v->committed = be64toh(h.committed);
	memcpy(v->tx, p + 32, v->ntx * sizeof(v->tx[0]));
	free(p);
	for (unsigned s = 0; s < MODEL_SLOTS; s++)
		good &= view_slot(w, v, s);
	return good && !v->torn;
}

/* why: NULL, or where the first difference is put. */
static bool view_matches(const struct view *v, const struct model *m, char *why, size_t len)
{
	if (v->committed != m->committed || v->ntx != m->ntx) {
		if (why != NULL)
			snprintf(why, len, "committed %d, %u txs; model: %d, %u", (int)v->committed,
				 v->ntx, (int)m->committed, m->ntx);
		return false;
	}
	for (unsigned i = 0; i < m->ntx; i++) {
		uint64_t at = (uint64_t)m->tx[i].slot * WEFT_SHARD_BYTES + m->tx[i].block * 4096u;

		if (be64toh(v->tx[i].tx) != m->tx[i].tx ||
		    be64toh(v->tx[i].blocks) != m->tx[i].blocks || be64toh(v->tx[i].offset) != at) {
			if (why != NULL)
				snprintf(why, len, "tx %d is another", (int)m->tx[i].tx);
			return false;
		}
	}
	for (unsigned s = 0; s < MODEL_SLOTS; s++) {
		if (v->gen[s] != m->gen[s]) {
			if (why != NULL)
				snprintf(why, len, "slot %u has generation %u, model: %u", s,
					 v->gen[s], m->gen[s]);
			return false;
		}
		for (unsigned b = 0; m->gen[s] != 0 && b < MODEL_BLOCKS; b++) {
			uint64_t want = model_block(m, s, b);

			if (v->block[s][b] == want)
				continue;
			if (why != NULL)
				snprintf(why, len, "slot %u block %u is %llx, model: %llx", s, b,
					 (unsigned long long)v->block[s][b],
					 (unsigned long long)want);
			return false;
		}
	}
	return true;
}

#endif
