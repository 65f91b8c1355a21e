/*
 * What we need of liberasurecode: which of its codes work here, their generator matrices, and its
 * built-in rs_vand, by the pointer calls of that code's own library.
 *
 * Its ISA-L back ends are loaded with dlopen() from libisal.so, so they may be missing at run time.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <liberasurecode/erasurecode.h>
#include <liberasurecode/liberasurecode_rs_vand.h>

#include "ec_backend.h"

#include "banned.h"

#define UNIT_LEN 64 /* bytes of a block when asking for the generator */

/* The library's tables are process-wide and its set-up is not for several threads. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int backend_id(enum ec_code code, ec_backend_id_t *id)
{
	switch (code) {
	case EC_ISAL_CAUCHY:
		*id = EC_BACKEND_ISA_L_RS_CAUCHY;
		return 0;
	case EC_ISAL_VAND:
		*id = EC_BACKEND_ISA_L_RS_VAND;
		return 0;
	case EC_RS_VAND:
		*id = EC_BACKEND_LIBERASURECODE_RS_VAND;
		return 0;
	case EC_NONE:
		break;
	}
	return -EINVAL;
}

bool ec_le_available(enum ec_code code)
{
	ec_backend_id_t id;
	bool there;

	if (backend_id(code, &id) < 0)
		return false;
	pthread_mutex_lock(&lock);
	there = liberasurecode_backend_available(id) == 1;
	pthread_mutex_unlock(&lock);
	return there;
}

/* Column j of the generator: what encode makes of the j-th unit vector. */
static int generator_column(struct ec *ec, int desc, unsigned j)
{
	char data[WEFT_K_MAX * UNIT_LEN] = {0};
	char **data_frags = NULL, **parity_frags = NULL;
	uint64_t frag_len = 0;
	int err;

	data[j * UNIT_LEN] = 1;
	err = liberasurecode_encode(desc, data, ec->k * UNIT_LEN, &data_frags, &parity_frags,
				    &frag_len);
	if (err != 0)
		return -EIO;
	for (unsigned i = 0; i < ec->m; i++)
		ec->gen[i * ec->k + j] = (uint8_t)parity_frags[i][sizeof(fragment_header_t)];
	liberasurecode_encode_cleanup(desc, data_frags, parity_frags);
	return 0;
}

int ec_le_generator(struct ec *ec)
{
	struct ec_args args = {.k = (int)ec->k, .m = (int)ec->m, .w = 8, .hd = (int)ec->m + 1};
	ec_backend_id_t id;
	int desc, err;

	err = backend_id(ec->code, &id);
	if (err < 0)
		return err;
	pthread_mutex_lock(&lock);
	desc = liberasurecode_instance_create(id, &args);
	err = desc > 0 ? 0 : -ENOTSUP;
	for (unsigned j = 0; j < ec->k && err == 0; j++)
		err = generator_column(ec, desc, j);
	if (desc > 0)
		liberasurecode_instance_destroy(desc);
	pthread_mutex_unlock(&lock);
	return err;
}

/* ---- the built-in code --------------------------------------------------------------------- */

struct vand {
	int *matrix;
};

static void vand_encode(const struct ec *ec, size_t len, uint8_t *const *data,
			uint8_t *const *parity)
{
	const struct vand *v = ec->priv;

	for (unsigned i = 0; i < ec->m; i++)
		memset(parity[i], 0, len);
	liberasurecode_rs_vand_encode(v->matrix, (char **)(uintptr_t)data,
				      (char **)(uintptr_t)parity, (int)ec->k, (int)ec->m, (int)len);
}

static void *block_alloc(size_t len)
{
	void *p = aligned_alloc(64, len);

	/* an encode that cannot be done must not be skipped: there is no way to go on */
	if (p == NULL)
		abort();
	memset(p, 0, len);
	return p;
}

/* The code is linear: encode the change with zeros in all other places. */
static void vand_delta(const struct ec *ec, size_t len, unsigned j, const uint8_t *delta,
		       uint8_t *const *parity_delta, bool add)
{
	uint8_t *zeros = block_alloc(len), *data[WEFT_K_MAX], *out[WEFT_M_MAX];

	for (unsigned i = 0; i < ec->k; i++)
		data[i] = zeros;
	data[j] = (uint8_t *)(uintptr_t)delta;
	for (unsigned i = 0; i < ec->m; i++)
		out[i] = add ? block_alloc(len) : parity_delta[i];
	vand_encode(ec, len, data, out);
	for (unsigned i = 0; add && i < ec->m; i++) {
		ec_xor(parity_delta[i], out[i], len);
		free(out[i]);
	}
	free(zeros);
}

static int vand_decode(const struct ec *ec, size_t len, uint8_t *const *blocks, uint32_t good,
		       uint32_t want)
{
	const struct vand *v = ec->priv;
	uint8_t *all[EC_BLOCKS_MAX], *scratch[EC_BLOCKS_MAX] = {NULL};
	int missing[EC_BLOCKS_MAX + 1], n = 0, err;

	for (unsigned i = 0; i < ec->k + ec->m; i++) {
		all[i] = blocks[i];
		if (good & (1u << i))
			continue;
		missing[n++] = (int)i;
		/* all that is missing is computed, wanted or not */
		if (!(want & (1u << i)))
			all[i] = scratch[i] = block_alloc(len);
		memset(all[i], 0, len);
	}
	missing[n] = -1;
	err = liberasurecode_rs_vand_decode(v->matrix, (char **)all, (char **)(all + ec->k),
					    (int)ec->k, (int)ec->m, missing, (int)len, 1);
	for (unsigned i = 0; i < ec->k + ec->m; i++)
		free(scratch[i]);
	return err == 0 ? 0 : -EINVAL;
}

static void vand_destroy(struct ec *ec)
{
	struct vand *v = ec->priv;

	free_systematic_matrix(v->matrix);
	free(v);
}

static const struct ec_backend vand_backend = {
	.encode = vand_encode,
	.delta = vand_delta,
	.decode = vand_decode,
	.destroy = vand_destroy,
};

int ec_le_vand_init(struct ec *ec)
{
	struct vand *v = calloc(1, sizeof(*v));

	if (v == NULL)
		return -ENOMEM;
	pthread_mutex_lock(&lock);
	/* field tables: made once and kept, as other instances use them too */
	init_liberasurecode_rs_vand((int)ec->k, (int)ec->m);
	v->matrix = make_systematic_matrix((int)ec->k, (int)ec->m);
	pthread_mutex_unlock(&lock);
	if (v->matrix == NULL) {
		free(v);
		return -ENOMEM;
	}
	ec->priv = v;
	ec->backend = &vand_backend;
	return 0;
}
