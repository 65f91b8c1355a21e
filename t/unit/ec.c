/* Erasure codes: every loss that a code allows is decoded, deltas equal a new encode. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ec.h"
#include "tap.h"

#define LEN 512

static uint8_t *blocks[WEFT_SHARDS_MAX], *work[WEFT_SHARDS_MAX];

static void fill(uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)rand();
}

/* All subsets that leave k blocks: each missing block comes back. */
static bool survives_all(const struct ec *ec)
{
	unsigned n = ec_k(ec) + ec_m(ec);

	for (uint32_t good = 0; good < 1u << n; good++) {
		uint32_t want = ~good & ((1u << n) - 1);

		if ((unsigned)__builtin_popcount(good) < ec_k(ec))
			continue;
		/* the larger codes would take minutes; the fullest losses say enough */
		if (n > 8 && (unsigned)__builtin_popcount(good) != ec_k(ec))
			continue;
		if (n > 12 && rand() % 16 != 0)
			continue;
		for (unsigned i = 0; i < n; i++) {
			memcpy(work[i], blocks[i], LEN);
			if (want & (1u << i))
				memset(work[i], 0xEE, LEN);
		}
		if (ec_decode(ec, LEN, work, good, want) != 0)
			return false;
		for (unsigned i = 0; i < n; i++)
			if (memcmp(work[i], blocks[i], LEN) != 0)
				return false;
	}
	return true;
}

static bool delta_equals_encode(const struct ec *ec, bool add)
{
	unsigned k = ec_k(ec), m = ec_m(ec);
	uint8_t old[LEN], change[LEN], *delta[WEFT_M_MAX];
	bool same = true;

	for (unsigned j = 0; j < k; j++) {
		memcpy(old, blocks[j], LEN);
		fill(blocks[j], LEN);
		memcpy(change, old, LEN);
		ec_xor(change, blocks[j], LEN);
		for (unsigned i = 0; i < m; i++) {
			delta[i] = work[i];
			memcpy(delta[i], blocks[k + i], LEN);
		}
		ec_delta(ec, LEN, j, change, delta, add);
		for (unsigned i = 0; i < m && !add; i++)
			ec_xor(delta[i], blocks[k + i], LEN);
		ec_encode(ec, LEN, blocks, blocks + k);
		for (unsigned i = 0; i < m; i++)
			same = same && memcmp(delta[i], blocks[k + i], LEN) == 0;
	}
	return same;
}

static void try_code(enum ec_code code, unsigned k, unsigned m)
{
	struct ec *ec = ec_create(code, k, m);
	char name[100];

	snprintf(name, sizeof(name), "%s %u+%u is there", ec_code_name(code), k, m);
	if (!ok(ec != NULL, name))
		return;
	for (unsigned j = 0; j < k; j++)
		fill(blocks[j], LEN);
	ec_encode(ec, LEN, blocks, blocks + k);
	snprintf(name, sizeof(name), "%s %u+%u survives every loss of %u", ec_code_name(code), k, m,
		 m);
	ok(survives_all(ec), name);
	snprintf(name, sizeof(name), "%s %u+%u delta equals encode", ec_code_name(code), k, m);
	ok(delta_equals_encode(ec, false) && delta_equals_encode(ec, true), name);
	ok(ec_decode(ec, LEN, blocks, (1u << (k - 1)) - 1, 1u << (k - 1)) == -EINVAL,
	   "too few blocks are refused");
	ec_destroy(ec);
}

int main(void)
{
	static const unsigned shapes[][2] = {{1, 1}, {1, 2}, {2, 1}, {3, 2},
					     {4, 2}, {5, 3}, {16, 4}};
	static const enum ec_code codes[] = {EC_ISAL_CAUCHY, EC_ISAL_VAND, EC_RS_VAND};
	struct ec *ec;

	for (unsigned i = 0; i < WEFT_SHARDS_MAX; i++) {
		blocks[i] = aligned_alloc(64, LEN);
		work[i] = aligned_alloc(64, LEN);
	}
	for (size_t c = 0; c < 3; c++)
		for (size_t s = 0; s < 7; s++)
			try_code(codes[c], shapes[s][0], shapes[s][1]);
	ec = ec_create(EC_NONE, 3, 0);
	ok(ec != NULL, "striping needs no code");
	ec_destroy(ec);
	ok(ec_create(EC_ISAL_CAUCHY, 17, 1) == NULL && errno == EINVAL, "k above the limit");
	ok(ec_create(EC_ISAL_CAUCHY, 4, 5) == NULL && errno == EINVAL, "m above the limit");
	is_int(ec_code_from_name("rs_vand"), EC_RS_VAND, "codes are found by name");
	is_int(ec_code_from_name("raid5"), -1, "others are not");
	for (unsigned i = 0; i < WEFT_SHARDS_MAX; i++) {
		free(blocks[i]);
		free(work[i]);
	}
	return done_testing();
}
