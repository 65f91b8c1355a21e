/* Erasure codes: which there are, and the way to the library that does the work. See ec.h. */
#include "config.h"

#include "ec.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ec_backend.h"

#include "banned.h"

static const struct {
	enum ec_code code;
	const char *name;
} codes[] = {
	{EC_NONE, "none"},
	{EC_ISAL_CAUCHY, "isa_l_rs_cauchy"},
	{EC_ISAL_VAND, "isa_l_rs_vand"},
	{EC_RS_VAND, "rs_vand"},
};

#define CODES (sizeof(codes) / sizeof(codes[0]))

const char *ec_code_name(enum ec_code code)
{
	for (size_t i = 0; i < CODES; i++)
		if (codes[i].code == code)
			return codes[i].name;
	return "unknown";
}

int ec_code_from_name(const char *name)
{
	for (size_t i = 0; i < CODES; i++)
		if (strcmp(codes[i].name, name) == 0)
			return (int)codes[i].code;
	return -1;
}

bool ec_code_available(enum ec_code code)
{
	return code == EC_NONE || ec_le_available(code);
}

enum ec_code ec_best_code(void)
{
	return ec_le_available(EC_ISAL_CAUCHY) ? EC_ISAL_CAUCHY : EC_RS_VAND;
}

static int init_backend(struct ec *ec)
{
	int err;

	if (ec->m == 0)
		return 0;
	if (ec->code == EC_RS_VAND)
		return ec_le_vand_init(ec);
	err = ec_le_generator(ec);
	if (err < 0)
		return err;
	/* a Cauchy matrix is good for every choice of blocks, a Vandermonde one for most */
	return ec_isal_init(ec, ec->code == EC_ISAL_VAND);
}

struct ec *ec_create(enum ec_code code, unsigned k, unsigned m)
{
	struct ec *ec;
	int err;

	if (k < 1 || k > WEFT_K_MAX || m > WEFT_M_MAX || (m > 0) != (code != EC_NONE)) {
		errno = EINVAL;
		return NULL;
	}
	if (!ec_code_available(code)) {
		errno = ENOTSUP;
		return NULL;
	}
	ec = calloc(1, sizeof(*ec));
	if (ec == NULL)
		return NULL;
	ec->code = code;
	ec->k = k;
	ec->m = m;
	err = init_backend(ec);
	if (err < 0) {
		ec_destroy(ec);
		errno = -err;
		return NULL;
	}
	return ec;
}

void ec_destroy(struct ec *ec)
{
	if (ec == NULL)
		return;
	if (ec->backend != NULL)
		ec->backend->destroy(ec);
	free(ec);
}

unsigned ec_k(const struct ec *ec)
{
	return ec->k;
}

unsigned ec_m(const struct ec *ec)
{
	return ec->m;
}

void ec_encode(const struct ec *ec, size_t len, uint8_t *const *data, uint8_t *const *parity)
{
	assert(len % 64 == 0);
	if (ec->m > 0 && len > 0)
		ec->backend->encode(ec, len, data, parity);
}

void ec_delta(const struct ec *ec, size_t len, unsigned j, const uint8_t *delta,
	      uint8_t *const *parity_delta, bool add)
{
	assert(len % 64 == 0 && j < ec->k);
	if (ec->m > 0 && len > 0)
		ec->backend->delta(ec, len, j, delta, parity_delta, add);
}

int ec_decode(const struct ec *ec, size_t len, uint8_t *const *blocks, uint32_t good, uint32_t want)
{
	assert(len % 64 == 0 && (good & want) == 0);
	assert(((good | want) >> (ec->k + ec->m)) == 0);
	if (want == 0 || len == 0)
		return 0;
	if ((unsigned)__builtin_popcount(good) < ec->k)
		return -EINVAL;
	return ec->backend->decode(ec, len, blocks, good, want);
}

/* The compiler makes vector code of this; memcpy of a word keeps it right for any alignment. */
void ec_xor(uint8_t *dst, const uint8_t *src, size_t len)
{
	size_t i = 0;

	for (; i + sizeof(uint64_t) <= len; i += sizeof(uint64_t)) {
		uint64_t a, b;

		memcpy(&a, dst + i, sizeof(a));
		memcpy(&b, src + i, sizeof(b));
		a ^= b;
		memcpy(dst + i, &a, sizeof(a));
	}
	for (; i < len; i++)
		dst[i] ^= src[i];
}
