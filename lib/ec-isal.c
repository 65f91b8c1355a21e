/*
 * Codes over GF(2^8), polynomial 0x11d, by ISA-L: encode, delta and decode of caller's buffers
 * without a copy. Only the generator matrix tells one code from another.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <isa-l/erasure_code.h>

#include "ec_backend.h"

#include "banned.h"

#define TABLE_BYTES 32 /* what ISA-L wants for each coefficient */

struct isal {
	uint8_t *column;  /* m tables for each data block alone */
	uint8_t encode[]; /* k * m tables, and those of column behind them */
};

static void isal_encode(const struct ec *ec, size_t len, uint8_t *const *data,
			uint8_t *const *parity)
{
	const struct isal *is = ec->priv;

	ec_encode_data((int)len, (int)ec->k, (int)ec->m, (uint8_t *)(uintptr_t)is->encode,
		       (uint8_t **)(uintptr_t)data, (uint8_t **)(uintptr_t)parity);
}

static void isal_delta(const struct ec *ec, size_t len, unsigned j, const uint8_t *delta,
		       uint8_t *const *parity_delta, bool add)
{
	const struct isal *is = ec->priv;
	uint8_t *src = (uint8_t *)(uintptr_t)delta;

	if (add)
		ec_encode_data_update((int)len, (int)ec->k, (int)ec->m, (int)j,
				      (uint8_t *)(uintptr_t)is->encode, src,
				      (uint8_t **)(uintptr_t)parity_delta);
	else
		ec_encode_data((int)len, 1, (int)ec->m,
			       (uint8_t *)(uintptr_t)(is->column + j * ec->m * TABLE_BYTES), &src,
			       (uint8_t **)(uintptr_t)parity_delta);
}

/* Row r of the whole code: the unit matrix above, the generator below. */
static void code_row(const struct ec *ec, unsigned r, uint8_t *row)
{
	if (r < ec->k) {
		memset(row, 0, ec->k);
		row[r] = 1;
	} else {
		memcpy(row, ec->gen + (r - ec->k) * ec->k, ec->k);
	}
}

/* The matrix that gives the data from the first k good blocks, whose numbers go to picked. */
static int invert_good(const struct ec *ec, uint32_t good, uint8_t *inverse, unsigned *picked)
{
	uint8_t rows[WEFT_K_MAX * WEFT_K_MAX];
	unsigned n = 0;

	for (unsigned r = 0; n < ec->k; r++) {
		if (!(good & (1u << r)))
			continue;
		code_row(ec, r, rows + n * ec->k);
		picked[n++] = r;
	}
	return gf_invert_matrix(rows, inverse, (int)ec->k) == 0 ? 0 : -EINVAL;
}

/* How block r comes from the picked ones: its row of the code times the inverse. */
static void decode_row(const struct ec *ec, const uint8_t *inverse, unsigned r, uint8_t *out)
{
	uint8_t row[WEFT_K_MAX];

	code_row(ec, r, row);
	for (unsigned c = 0; c < ec->k; c++) {
		out[c] = 0;
		for (unsigned j = 0; j < ec->k; j++)
			out[c] ^= gf_mul(row[j], inverse[j * ec->k + c]);
	}
}

static int isal_decode(const struct ec *ec, size_t len, uint8_t *const *blocks, uint32_t good,
		       uint32_t want)
{
	uint8_t inverse[WEFT_K_MAX * WEFT_K_MAX];
	uint8_t rows[WEFT_SHARDS_MAX * WEFT_K_MAX];
	uint8_t tables[TABLE_BYTES * WEFT_SHARDS_MAX * WEFT_K_MAX];
	unsigned picked[WEFT_K_MAX], n = 0;
	uint8_t *src[WEFT_K_MAX], *dst[WEFT_SHARDS_MAX];

	if (invert_good(ec, good, inverse, picked) < 0)
		return -EINVAL;
	for (unsigned j = 0; j < ec->k; j++)
		src[j] = blocks[picked[j]];
	for (unsigned r = 0; r < ec->k + ec->m; r++) {
		if (!(want & (1u << r)))
			continue;
		decode_row(ec, inverse, r, rows + n * ec->k);
		dst[n++] = blocks[r];
	}
	ec_init_tables((int)ec->k, (int)n, rows, tables);
	ec_encode_data((int)len, (int)ec->k, (int)n, tables, src, dst);
	return 0;
}

static void isal_destroy(struct ec *ec)
{
	free(ec->priv);
}

static const struct ec_backend isal_backend = {
	.encode = isal_encode,
	.delta = isal_delta,
	.decode = isal_decode,
	.destroy = isal_destroy,
};

/* Do all choices of k blocks give the data back? */
static bool every_choice_works(const struct ec *ec)
{
	uint8_t inverse[WEFT_K_MAX * WEFT_K_MAX];
	unsigned picked[WEFT_K_MAX];

	for (uint32_t good = 0; good < 1u << (ec->k + ec->m); good++)
		if ((unsigned)__builtin_popcount(good) == ec->k &&
		    invert_good(ec, good, inverse, picked) < 0)
			return false;
	return true;
}

int ec_isal_init(struct ec *ec, bool check_all)
{
	size_t tables = (size_t)TABLE_BYTES * ec->k * ec->m;
	struct isal *is;

	if (check_all && !every_choice_works(ec))
		return -ENOTSUP;
	is = calloc(1, sizeof(*is) + 2 * tables);
	if (is == NULL)
		return -ENOMEM;
	is->column = is->encode + tables;
	ec_init_tables((int)ec->k, (int)ec->m, ec->gen, is->encode);
	for (unsigned j = 0; j < ec->k; j++) {
		uint8_t column[WEFT_M_MAX];

		for (unsigned i = 0; i < ec->m; i++)
			column[i] = ec->gen[i * ec->k + j];
		ec_init_tables(1, (int)ec->m, column, is->column + j * ec->m * TABLE_BYTES);
	}
	ec->priv = is;
	ec->backend = &isal_backend;
	return 0;
}
