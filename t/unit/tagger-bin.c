/* What leaves tagger's bin, and whose: what is old, and the oldest of whoever has most there. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>

#include "tagger/bin.h"
#include "tap.h"

#define N    1000
#define NONE INT64_MIN

static struct bin_entry entry[N], *list[N];
static bool gone[N];

static void put(size_t i, const char *by, uint64_t size)
{
	entry[i] = (struct bin_entry){.time = (int64_t)i, .size = size};
	snprintf(entry[i].by, sizeof(entry[i].by), "%s", by);
	list[i] = &entry[i];
}

/* "1 3": those that go. */
static const char *picked(size_t n, size_t max, uint64_t missing, int64_t until)
{
	static char text[256];
	size_t at = 0, found = bin_pick(list, n, max, missing, until, gone), said = 0;

	text[0] = '\0';
	for (size_t i = 0; i < n; i++)
		if (gone[i] && ++said && at < sizeof(text))
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%zu",
					       at > 0 ? " " : "", i);
	return said == found ? text : "a wrong sum";
}

static void test_few(void)
{
	is_int((int)bin_pick(list, 0, 0, 100, NONE, gone), 0, "an empty bin");
	put(0, "uma", 10);
	put(1, "bob", 50);
	put(2, "bob", 0);
	put(3, "bob", 40);
	put(4, "", 30);
	put(5, "uma", 10);
	is_str(picked(6, 6, 0, NONE), "", "with room all stay");
	is_str(picked(6, 6, 0, 2), "0 1 2", "what is old goes, whoever it was");
	is_str(picked(6, 5, 0, NONE), "1", "of too many the oldest of who has most");
	is_str(picked(6, 3, 0, NONE), "0 1 2", "until others have as many");
	is_str(picked(6, 0, 0, NONE), "0 1 2 3 4 5", "all, if it must be");
	is_str(picked(6, 6, 1, NONE), "1", "for space, too");
	is_str(picked(6, 6, 51, NONE), "1 2 3", "one after the other");
	is_str(picked(6, 6, 91, NONE), "1 2 3 4", "whoever has most then");
	is_str(picked(6, 6, 1000, NONE), "0 1 2 3 4 5", "all, for much");
	is_str(picked(6, 6, 1, 1), "0 1", "what was old already makes room");
	put(0, "uma", 0);
	put(1, "bob", 0);
	is_str(picked(2, 2, 1, NONE), "", "what takes no space stays");
}

/* One has deleted nearly everything: what others have stays. */
static void test_flood(void)
{
	size_t hers = 0;

	for (size_t i = 0; i < N; i++)
		put(i, i % 100 == 0 ? "uma" : "eve", i % 100 == 0 ? 5 : 1);
	bin_pick(list, N, 100, 0, NONE, gone);
	for (size_t i = 0; i < N; i += 100)
		hers += !gone[i];
	is_int((int)hers, N / 100, "who floods the bin ends nothing of others");
	is_int((int)bin_pick(list, N, N, 900, NONE, gone), 900, "nor for space");
	hers = 0;
	for (size_t i = 0; i < N; i += 100)
		hers += !gone[i];
	is_int((int)hers, N / 100, "while there is enough of his own");
}

int main(void)
{
	test_few();
	test_flood();
	return done_testing();
}
