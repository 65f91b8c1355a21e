/* The mirror that hammer holds a volume against: what may be read, and what may not. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "tap.h"
#include "tools/model.h"

#define SIZE (4 * BLOCK_BYTES)

static struct model m;
static uint32_t seq;

static struct change_range write_of(uint64_t offset, uint32_t len)
{
	return (struct change_range){CHANGE_DATA, offset, len, ++seq};
}

/* Bytes of a block as a change leaves it, over what is there. */
static void over(uint8_t *block, const struct change_range *c)
{
	model_fill(block + c->offset % BLOCK_BYTES, c, c->offset, c->len);
}

static bool fits(const uint8_t *block, uint64_t stamp, const struct change_range *running)
{
	const struct change_range *inflight[] = {running, NULL};

	return model_check(&m, block, 0, BLOCK_BYTES, stamp, inflight, false) == 0;
}

static void begin(bool lossy)
{
	if (model_init(&m, SIZE, lossy) != 0)
		abort();
}

static void test_acknowledged(void)
{
	struct change_range a = write_of(0, BLOCK_BYTES), part = write_of(100, 1000);
	uint8_t zero[BLOCK_BYTES] = {0}, now[BLOCK_BYTES] = {0}, next[BLOCK_BYTES];

	begin(false);
	over(now, &a);
	ok(fits(zero, m.stamp, NULL), "a new volume holds zeros");
	ok(fits(now, m.stamp, &a), "a write under way may be seen");
	ok(!fits(now, m.stamp, NULL), "one that nobody made may not");
	model_acknowledge(&m, &a, false);
	ok(fits(now, m.stamp, NULL) && !fits(zero, m.stamp, NULL),
	   "what was acknowledged is read, and nothing older");
	memcpy(next, now, BLOCK_BYTES);
	over(next, &part);
	model_acknowledge(&m, &part, false);
	ok(fits(next, m.stamp, NULL) && !fits(now, m.stamp, NULL), "so is a part of a block");
	next[BLOCK_BYTES - 1] ^= 1;
	ok(!fits(next, m.stamp, NULL), "one wrong bit is seen");
	model_free(&m);
}

static void test_reader_under_way(void)
{
	struct change_range a = write_of(0, BLOCK_BYTES);
	uint8_t zero[BLOCK_BYTES] = {0}, now[BLOCK_BYTES] = {0};
	uint64_t stamp;

	begin(false);
	over(now, &a);
	ok(model_lock(&m, 0, BLOCK_BYTES, true), "a block is taken to be written");
	stamp = m.stamp;
	ok(model_lock(&m, 0, BLOCK_BYTES, false), "it may be read meanwhile");
	ok(!model_lock(&m, 0, BLOCK_BYTES, true), "but not be written twice");
	model_acknowledge(&m, &a, false);
	model_unlock(&m, 0, BLOCK_BYTES, true);
	ok(!model_lock(&m, 0, BLOCK_BYTES, true), "nor be written while it is read");
	ok(fits(zero, stamp, NULL) && fits(now, stamp, NULL), "that reader may see both");
	ok(!fits(zero, m.stamp, NULL), "a later one only the new");
	model_unlock(&m, 0, BLOCK_BYTES, false);
	ok(!fits(zero, stamp, NULL), "and nobody when the reader is done");
	model_free(&m);
}

static void test_doubt(void)
{
	struct change_range failed = write_of(0, BLOCK_BYTES), part = write_of(8, 16),
			    run = write_of(512, 512);
	uint8_t old[BLOCK_BYTES] = {0}, new[BLOCK_BYTES] = {0}, with[BLOCK_BYTES];
	uint64_t stamp;

	begin(true);
	over(new, &failed);
	model_doubt(&m, &failed);
	ok(fits(old, m.stamp, NULL) && fits(new, m.stamp, NULL), "a failed write: old or new");
	model_flushed(&m, UINT64_MAX);
	ok(fits(new, m.stamp, NULL), "a flush does not tell which");
	memcpy(with, new, BLOCK_BYTES);
	over(with, &run);
	ok(fits(with, m.stamp, &run), "a write under way may be seen over either");
	stamp = m.stamp;
	model_lock(&m, 0, BLOCK_BYTES, false);
	model_acknowledge(&m, &part, false);
	ok(fits(new, stamp, NULL) && fits(old, stamp, NULL),
	   "a reader under way may see either without a later part");
	ok(!fits(new, m.stamp, NULL) && !fits(old, m.stamp, NULL), "a later one may not");
	over(new, &part);
	over(old, &part);
	ok(fits(new, m.stamp, NULL) && fits(old, m.stamp, NULL), "but either with it");
	model_unlock(&m, 0, BLOCK_BYTES, false);
	ok(model_check(&m, new, 0, BLOCK_BYTES, m.stamp, NULL, true) == 0, "it is looked at");
	ok(fits(new, m.stamp, NULL) && !fits(old, m.stamp, NULL), "and stays what it was");
	model_free(&m);
}

/* What may be there after a crash that may lose what was not flushed. */
static bool survives(const uint8_t *block)
{
	return model_check(&m, block, 0, BLOCK_BYTES, UINT64_MAX, NULL, true) == 0;
}

static void test_lossy(void)
{
	struct change_range a = write_of(0, BLOCK_BYTES), b = write_of(0, BLOCK_BYTES);
	uint8_t zero[BLOCK_BYTES] = {0}, first[BLOCK_BYTES], second[BLOCK_BYTES];
	uint64_t stamp;

	over(first, &a);
	over(second, &b);
	begin(true);
	model_acknowledge(&m, &a, false);
	stamp = m.stamp;
	model_acknowledge(&m, &b, false);
	ok(!fits(first, m.stamp, NULL), "while the server lives, only the last is read");
	model_flushed(&m, stamp);
	ok(survives(first), "after a crash, what was not flushed may be lost");
	ok(!survives(zero), "but not what was");
	model_free(&m);
	begin(true);
	model_acknowledge(&m, &a, false);
	model_acknowledge(&m, &b, true);
	ok(!survives(first) && survives(second), "a write with FUA is there");
	model_free(&m);
	begin(false);
	model_acknowledge(&m, &a, false);
	ok(!survives(zero) && survives(first), "nothing is lost where nothing may be");
	model_free(&m);
}

int main(void)
{
	test_acknowledged();
	test_reader_under_way();
	test_doubt();
	test_lossy();
	return done_testing();
}
