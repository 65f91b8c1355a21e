/*
 * Inside lib/ec*.c: the two ways to carry a code out. isal: any code over GF(2^8) given by its
 * generator matrix. rs-vand: liberasurecode's built-in code over GF(2^16).
 */
#ifndef WEFT_EC_BACKEND_H
#define WEFT_EC_BACKEND_H

#include "ec.h"

#define EC_BLOCKS_MAX WEFT_SHARDS_MAX

struct ec_backend {
	void (*encode)(const struct ec *ec, size_t len, uint8_t *const *data,
		       uint8_t *const *parity);
	void (*delta)(const struct ec *ec, size_t len, unsigned j, const uint8_t *delta,
		      uint8_t *const *parity_delta, bool add);
	int (*decode)(const struct ec *ec, size_t len, uint8_t *const *blocks, uint32_t good,
		      uint32_t want);
	void (*destroy)(struct ec *ec);
};

struct ec {
	enum ec_code code;
	unsigned k, m;
	const struct ec_backend *backend;
	void *priv;			      /* the backend's */
	uint8_t gen[WEFT_M_MAX * WEFT_K_MAX]; /* isal: row i, column j at i * k + j */
};

/* ec-isal.c: ec->gen is filled in. 0 or -errno (-ENOTSUP: some k blocks would not be enough). */
int ec_isal_init(struct ec *ec, bool check_all);
/* ec-liberasurecode.c */
bool ec_le_available(enum ec_code code);
int ec_le_generator(struct ec *ec);
int ec_le_vand_init(struct ec *ec);

#endif
