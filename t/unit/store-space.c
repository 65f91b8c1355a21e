/* Space that is freed is given back to the disk, some seconds later, in few pieces, and only while
 * nobody wants it. */
#include "config.h"

#include "log.h"
#include "store-world.h"

static uint8_t page[17 * 4096], got[16 * 4096];

#define GRANULE 65536u
#define SLOTS	4u

static uint32_t gens[SLOTS];
static uint64_t tx;

/* Slots full of whole granules. */
static bool fill(struct world *w, unsigned slots)
{
	bool good = true;

	for (uint32_t i = 0; i < slots && good; i++) {
		uint32_t slot;

		good = do_label(w, i + 1, &slot, &gens[i]) == 0 && slot == i;
		for (unsigned g = 0; g < 64 && good; g++)
			good = do_prepare(w, ++tx, (uint64_t)i * WEFT_SHARD_BYTES + g * GRANULE,
					  gens[i], 0xffff, WEFT_MODE_DATA, page) == 0;
	}
	return good && do_tx(w, WEFT_CMD_COMMIT, tx) == 0 && do_flush(w) == 0;
}

/* Let time pass, and operations end. */
static void wait_ms(struct world *w, unsigned ms)
{
	uint64_t until = w->env.now_ns + ms * NS_PER_MS;

	while (w->env.now_ns < until)
		world_step(w);
}

static bool start(struct world *w, int fd, uint64_t seed)
{
	world_init(w, fd, seed, seed % 2 == 0);
	tx = 0;
	return world_open(w) && do_fence(w, 1, NULL) == 0;
}

static void end(struct world *w)
{
	is_int(world_close(w), 0, "the store closes");
	world_free(w);
}

static void test_give_back(int fd, uint64_t seed)
{
	struct world w;
	uint64_t before, free_bytes;
	struct weft_stat st;
	bool good = true;

	ok(start(&w, fd, seed), "a store");
	store_stat(w.store, &st);
	free_bytes = st.free_bytes;
	wait_ms(&w, 6000);
	is_int(w.disk.discarded, free_bytes, "a start gives back what earlier runs left free");
	ok(w.disk.discards <= 8, "in few pieces");
	ok(fill(&w, SLOTS), "slots are filled");
	wait_ms(&w, 6000);
	before = w.disk.discarded;
	is_int(do_discard(&w, 0, gens[0]), 0, "one is discarded");
	for (unsigned g = 0; g < 64 && good; g += 2)
		good = do_prepare(&w, ++tx, WEFT_SHARD_BYTES + g * GRANULE, gens[1], 0xffff,
				  WEFT_MODE_ZERO, NULL) == 0;
	ok(good && do_tx(&w, WEFT_CMD_COMMIT, tx) == 0 && do_flush(&w) == 0,
	   "half of another is trimmed");
	wait_ms(&w, 1500);
	is_int(w.disk.discarded, before, "nothing happens at once");
	wait_ms(&w, 6000);
	is_int(w.disk.discarded - before, (64 + 32) * GRANULE, "then all of it is given back");
	store_stat(w.store, &st);
	is_int(st.free_bytes, free_bytes - (uint64_t)(64 * SLOTS - 96) * GRANULE,
	       "and is free as before");
	ok(do_read(&w, WEFT_SHARD_BYTES + GRANULE, GRANULE, got) == 0 &&
		   memcmp(page, got, GRANULE) == 0,
	   "what lies between is as it was");
	ok(fill(&w, 1), "it can be used again");
	ok(do_read(&w, 0, GRANULE, got) == 0 && memcmp(page, got, GRANULE) == 0, "and read");
	end(&w);
}

static void test_idle(int fd)
{
	struct world w;
	uint64_t before;

	ok(start(&w, fd, 3) && fill(&w, 1), "a store with something in it");
	is_int(do_discard(&w, 0, gens[0]), 0, "that is discarded");
	wait_ms(&w, 20000);
	before = w.disk.count;
	is_int(w.env.ntimers, 0, "later no timer runs");
	wait_ms(&w, 20000);
	is_int(w.disk.count, before, "and the disk is left alone");
	end(&w);
}

static void test_overwrite(int fd)
{
	struct world w;
	uint64_t before;
	bool good = true;

	ok(start(&w, fd, 4) && fill(&w, 1), "a store with something in it");
	wait_ms(&w, 10000);
	before = w.disk.discards;
	for (unsigned i = 0; i < 400 && good; i++) {
		good = do_prepare(&w, ++tx, (i % 8) * GRANULE, gens[0], 0xffff, WEFT_MODE_DATA,
				  page) == 0 &&
		       do_tx(&w, WEFT_CMD_COMMIT, tx) == 0 && do_flush(&w) == 0;
		wait_ms(&w, 100);
	}
	ok(good, "the same granules are overwritten for 40 seconds");
	ok(w.disk.discards - before <= 2, "and none of it is given back all the time");
	end(&w);
}

static void test_cannot(int fd)
{
	struct world w;
	uint64_t before;

	world_init(&w, fd, 5, true);
	w.disk.cannot_discard = true;
	tx = 0;
	ok(world_open(&w) && do_fence(&w, 1, NULL) == 0 && fill(&w, 1),
	   "a disk that takes nothing back");
	wait_ms(&w, 10000);
	before = w.disk.count;
	is_int(do_discard(&w, 0, gens[0]), 0, "a slot is discarded");
	wait_ms(&w, 10000);
	ok(w.disk.count - before < 20 && w.env.ntimers == 0, "it is not asked again");
	end(&w);
}

/* A PREPARE that finds only granules that are being given back waits for them. */
static void test_full(int fd)
{
	struct world w;
	struct weft_stat st;
	uint64_t had;
	bool good = true;

	ok(start(&w, fd, 7), "a store");
	w.disk.ordered = true;
	had = w.disk.discards;
	for (int i = 0; i < 100000 && w.disk.nops == 0; i++)
		world_step(&w);
	store_stat(w.store, &st);
	ok(w.disk.nops > 0 && w.disk.discards == had && fill(&w, SLOTS),
	   "it is written to while all of it is being given back");
	for (unsigned g = 0; g < 64 && good; g++)
		good = do_read(&w, g * GRANULE, GRANULE, got) == 0 &&
		       memcmp(page, got, GRANULE) == 0;
	ok(good, "and is right");
	end(&w);
}

/* The file system below a sparse file is full: the log has its place, the data area finds none. */
static void test_no_space(int fd, uint64_t seed)
{
	struct world w;
	struct weft_stat st;
	uint64_t free_bytes;
	bool good = true;

	ok(start(&w, fd, seed) && fill(&w, 1), "a store with something in it");
	wait_ms(&w, 3000);
	store_stat(w.store, &st);
	free_bytes = st.free_bytes;
	w.disk.full_from = w.info.data_offset;
	w.disk.full_to = w.info.data_offset + w.info.data_bytes;
	for (unsigned g = 0; g < 8 && good; g++)
		good = do_prepare(&w, ++tx, g * GRANULE, gens[0], g % 2 == 0 ? 0xffff : 5,
				  WEFT_MODE_DATA, page + 4096) == 0;
	good &= do_label(&w, 2, &gens[2], &gens[1]) == 0;
	for (unsigned g = 0; g < 8 && good; g++)
		good = do_prepare(&w, ++tx, WEFT_SHARD_BYTES + g * GRANULE, gens[1],
				  g % 2 == 0 ? 0xffff : 5, WEFT_MODE_DATA, page + 4096) == 0;
	ok(good && do_flush(&w) == 0, "the disk below is full: what was accepted is durable");
	ok(do_tx(&w, WEFT_CMD_COMMIT, tx) == 0 && do_flush(&w) == 0, "and can be committed");
	wait_ms(&w, 5000);
	ok(do_read(&w, WEFT_SHARD_BYTES, 15 * 4096, got) == 0 &&
		   memcmp(page + 4096, got, 15 * 4096) == 0,
	   "and is read");
	if (seed % 4 < 2) {
		world_cut(&w);
		ok(world_open(&w), "the power goes, the disk is full still");
		wait_ms(&w, 3000);
	}
	w.disk.full_to = 0;
	wait_ms(&w, 3000);
	is_int(do_prepare(&w, ++tx, 9 * GRANULE, gens[0], 1, WEFT_MODE_DATA, page), 0,
	       "there is space again: it goes on");
	store_stat(w.store, &st);
	is_int(st.free_bytes, free_bytes - 8 * GRANULE, "and each granule is counted once");
	is_int(world_close(&w), 0, "the store closes");
	ok(world_open(&w) && do_read(&w, WEFT_SHARD_BYTES, 15 * 4096, got) == 0 &&
		   memcmp(page + 4096, got, 15 * 4096) == 0,
	   "all is in its place");
	end(&w);
}

int main(void)
{
	int fd = world_template(STORE_MIN_BYTES, 8u << 20);

	log_init("store-space", LOG_LEVEL_ERROR);
	for (unsigned i = 0; i < sizeof(page); i++)
		page[i] = (uint8_t)(i * 7 + i / 4096 + 1);
	test_give_back(fd, 1);
	test_give_back(fd, 2);
	test_idle(fd);
	test_overwrite(fd);
	test_cannot(fd);
	test_full(fd);
	for (uint64_t seed = 1; seed <= 8; seed++)
		test_no_space(fd, seed);
	close(fd);
	return done_testing();
}
