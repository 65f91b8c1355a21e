/* Placing: different servers, different hosts where there are enough, in proportion to free space.
 */
#include "config.h"

#include <errno.h>

#include "volmgr/place.h"
#include "tap.h"

#define GIB (1ULL << 30)

static uint64_t seed = 0x5eed;

static bool distinct(const uint32_t *s, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		for (unsigned j = 0; j < i; j++)
			if (s[i] == s[j])
				return false;
	return true;
}

static void test_enough(void)
{
	struct place_candidate c[7];
	uint32_t s[20];
	unsigned fit;
	bool all = true;

	for (int i = 0; i < 7; i++)
		c[i] = (struct place_candidate){10 + (uint32_t)i, (uint32_t)i, GIB, true};
	for (int round = 0; round < 1000; round++)
		all = all && place_choose(c, 7, 6, 4096, &seed, s, NULL) == 0 && distinct(s, 6);
	ok(all, "six of seven servers are chosen, all different, a thousand times");
	is_int(place_choose(c, 7, 8, 4096, &seed, s, &fit), -ENOSPC, "eight of seven is -ENOSPC");
	is_int(fit, 7, "and seven would fit");
	c[3].usable = false;
	c[4].free_bytes = 100;
	is_int(place_choose(c, 7, 6, 4096, &seed, s, &fit), -ENOSPC,
	       "servers that are down or full do not count");
	is_int(fit, 5, "five would fit");
	is_int(place_choose(c, 7, 5, 4096, &seed, s, NULL), 0, "five are found");
	all = distinct(s, 5);
	for (int i = 0; i < 5; i++)
		all = all && s[i] != 13 && s[i] != 14;
	ok(all, "without the two that do not fit");
	is_int(place_choose(c, 0, 1, 0, &seed, s, NULL), -ENOSPC, "no servers is -ENOSPC");
}

static unsigned on_host(const struct place_candidate *c, const uint32_t *s, unsigned n,
			uint32_t host)
{
	unsigned count = 0;

	for (unsigned i = 0; i < n; i++)
		count += c[s[i] - 1].host == host;
	return count;
}

static void test_hosts(void)
{
	/* three hosts with four servers each, the first host nearly empty */
	struct place_candidate c[12];
	uint32_t s[12];
	bool three = true, six = true, uneven = true;

	for (uint32_t i = 0; i < 12; i++)
		c[i] = (struct place_candidate){i + 1, i / 4, i < 4 ? 100 * GIB : GIB, true};
	for (int round = 0; round < 1000; round++) {
		place_choose(c, 12, 3, 4096, &seed, s, NULL);
		for (uint32_t h = 0; h < 3; h++)
			three = three && on_host(c, s, 3, h) == 1;
		place_choose(c, 12, 6, 4096, &seed, s, NULL);
		for (uint32_t h = 0; h < 3; h++)
			six = six && on_host(c, s, 6, h) == 2;
	}
	ok(three, "three shards go on three hosts, however unequal their free space");
	ok(six, "six shards on three hosts are two on each");
	for (int i = 1; i < 4; i++)
		c[i].usable = false;
	for (int round = 0; round < 100; round++)
		uneven = uneven && place_choose(c, 12, 6, 4096, &seed, s, NULL) == 0 &&
			 on_host(c, s, 6, 0) == 1 && distinct(s, 6);
	ok(uneven, "a host with a single server gets one, the others the rest");
}

static void test_weights(void)
{
	struct place_candidate c[4];
	uint32_t s[1];
	unsigned got[4] = {0};

	for (uint32_t i = 0; i < 4; i++)
		c[i] = (struct place_candidate){i, i, (i + 1) * GIB, true};
	for (int round = 0; round < 10000; round++) {
		place_choose(c, 4, 1, 4096, &seed, s, NULL);
		got[s[0]]++;
	}
	ok(got[0] > 850 && got[0] < 1150, "a tenth of the free space gets a tenth of the shards");
	ok(got[3] > 3800 && got[3] < 4200, "four tenths get four");
}

int main(void)
{
	diag("seed %#llx", (unsigned long long)seed);
	test_enough();
	test_hosts();
	test_weights();
	return done_testing();
}
