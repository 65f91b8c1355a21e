/* The shard store at its limits: refusals to open, a full data area, a full log, a disk that fails.
 */
#include "config.h"

#include "log.h"
#include "store-world.h"

static uint8_t page[16 * 4096], got[16 * 4096];

static bool says(const char *why, const char *word)
{
	if (why != NULL && strstr(why, word) != NULL)
		return true;
	diag("said: %s", why != NULL ? why : "nothing");
	return false;
}

static void spoil(int fd, uint64_t offset)
{
	uint8_t b = 0;

	assert(pread(fd, &b, 1, (off_t)offset) == 1);
	b ^= 0x55;
	assert(pwrite(fd, &b, 1, (off_t)offset) == 1);
}

static void test_format(void)
{
	struct store_format_options opt = {.size_bytes = 1 << 20};
	struct store_info info;
	const char *why = NULL;
	int fd = memfd_create("store", 0);

	is_int(store_probe(fd, &info, &why), -ENOENT, "an empty file is no store");
	ok(says(why, "--format"), "and it is said how to make one");
	is_int(store_format(fd, &opt, &why), -EINVAL, "a store of 1 MiB is refused");
	ok(says(why, "64 MiB"), "with the least size");
	opt.size_bytes = WORLD_SIZE;
	opt.log_bytes = WORLD_SIZE / 2;
	is_int(store_format(fd, &opt, &why), -EINVAL, "a log of half the store is refused");
	opt.log_bytes = 0;
	is_int(store_format(fd, &opt, &why), 0, "a store is made");
	is_int(store_format(fd, &opt, &why), -EEXIST, "but not on top of another");
	is_int(store_probe(fd, &info, &why), 0, "it is found");
	ok(info.clean && info.size_bytes == WORLD_SIZE && info.slots > 0, "as it was made");
	spoil(fd, 100);
	is_int(store_probe(fd, &info, &why), 0, "one damaged superblock does not matter");
	spoil(fd, 65536 + 100);
	is_int(store_probe(fd, &info, &why), 0, "nor do two");
	spoil(fd, WORLD_SIZE - 65536 + 100);
	is_int(store_probe(fd, &info, &why), -EUCLEAN, "three do");
	ok(says(why, "damaged"), "and it is said");
	spoil(fd, 100);
	is_int(ftruncate(fd, WORLD_SIZE - 4096), 0, "the file is cut");
	is_int(store_probe(fd, &info, &why), -ENOSPC, "a store larger than its file is refused");
	close(fd);
}

/* Open after something of the meta area or the log was changed; the store was closed before. */
static void test_damaged(int fd)
{
	struct world w;
	uint32_t slot = 0, gen = 0;
	uint64_t map;

	world_init(&w, fd, 3, true);
	ok(world_open(&w) && do_fence(&w, 1, NULL) == 0 && do_label(&w, 1, &slot, &gen) == 0 &&
		   do_prepare(&w, 1, 0, gen, 0xffff, WEFT_MODE_DATA, page) == 0 &&
		   do_tx(&w, WEFT_CMD_COMMIT, 1) == 0 && world_close(&w) == 0,
	   "a store with something in it");
	map = w.info.meta_offset + 16384 * 32 + w.info.slots * 128;
	w.disk.memory[map + 20] ^= 1;
	ok(!world_open(&w) && w.err == -EUCLEAN && says(w.why, "map entry"),
	   "a damaged map entry is refused");
	world_drop(&w);
	w.disk.memory[map + 20] ^= 1;
	w.disk.memory[w.info.meta_offset + 16384 * 32 + 9] ^= 1;
	ok(!world_open(&w) && w.err == -EUCLEAN && says(w.why, "label"), "a damaged label, too");
	world_drop(&w);
	w.disk.memory[w.info.meta_offset + 16384 * 32 + 9] ^= 1;
	w.disk.memory[w.info.meta_offset + 9] ^= 1;
	ok(!world_open(&w) && w.err == -EUCLEAN && says(w.why, "volume table"),
	   "and a damaged volume table");
	world_drop(&w);
	w.disk.memory[w.info.meta_offset + 9] ^= 1;
	ok(world_open(&w) && do_read(&w, 0, 65536, got) == 0 && memcmp(got, page, 65536) == 0,
	   "undamaged it opens");
	w.disk.memory[w.info.data_offset + 5] ^= 1;
	is_int(do_read(&w, 0, 4096, got), WEFT_EBADMSG, "a damaged block is not returned");
	is_int(do_read(&w, 4096, 4096, got), 0, "the block beside it is");
	is_int(do_prepare(&w, 2, 0, gen, 1, WEFT_MODE_XOR, page), WEFT_EBADMSG,
	       "and XOR is not done onto it");
	is_int(do_prepare(&w, 2, 0, gen, 1, WEFT_MODE_DATA, page), 0, "but it can be written anew");
	is_int(do_read(&w, 0, 4096, got), 0, "and read");
	world_close(&w);
	world_free(&w);
}

/* Fill all there is; slot after slot. The last error. */
static int fill(struct world *w, uint32_t *last_gen, uint64_t *tx, unsigned *granules)
{
	uint32_t slot = 0, gen = 0;
	int err = 0;

	for (uint64_t extent = 1; err == 0; extent++) {
		err = do_label(w, extent, &slot, &gen);
		for (unsigned g = 0; g < 64 && err == 0; g++) {
			err = do_prepare(w, ++*tx, (uint64_t)slot * WEFT_SHARD_BYTES + g * 65536,
					 gen, g % 2 == 0 ? 0xffff : 1, WEFT_MODE_DATA, page);
			if (err == 0)
				++*granules;
			if (err == 0 && g % 8 == 7)
				err = do_tx(w, WEFT_CMD_COMMIT, *tx);
		}
		if (extent == 1)
			*last_gen = gen;
	}
	return err;
}

static void test_full(int fd)
{
	struct world w;
	struct weft_stat st;
	uint64_t tx = 0;
	uint32_t gen = 0;
	unsigned granules = 0;

	world_init(&w, fd, 4, false);
	ok(world_open(&w) && do_fence(&w, 1, NULL) == 0, "an empty store");
	is_int(fill(&w, &gen, &tx, &granules), ENOSPC, "is filled until PREPARE says ENOSPC");
	store_stat(w.store, &st);
	is_int(granules, st.size_bytes / 65536, "every granule is used");
	is_int(do_tx(&w, WEFT_CMD_COMMIT, tx - 1), 0, "COMMIT works");
	is_int(do_prepare(&w, tx, 0, gen, 0xffff, WEFT_MODE_DATA, page), 0,
	       "what is there can be written again");
	is_int(do_tx(&w, WEFT_CMD_COMMIT, tx), 0, "and committed");
	is_int(do_flush(&w), 0, "and flushed");
	is_int(do_prepare(&w, tx + 1, 65536, gen, 0xffff, WEFT_MODE_ZERO, NULL), 0, "ZERO works");
	is_int(do_tx(&w, WEFT_CMD_COMMIT, tx + 1), 0, "and is committed");
	fake_env_advance(&w.env, NS_PER_S);
	is_int(do_flush(&w), 0, "and flushed");
	is_int(world_close(&w), 0, "the full store closes");
	ok(world_open(&w), "and opens");
	store_stat(w.store, &st);
	is_int(st.free_bytes, 65536, "one granule is free");
	is_int(do_prepare(&w, tx + 2, 65536, gen, 1, WEFT_MODE_DATA, page), 0, "and can be used");
	is_int(do_prepare(&w, tx + 3, 3 * 65536, gen, 0xffff, WEFT_MODE_ZERO, NULL), 0, "once");
	is_int(do_discard(&w, 0, gen), 0, "DISCARD works");
	store_stat(w.store, &st);
	is_int(st.free_bytes, 64 * 65536, "and gives all space of the slot back");
	world_close(&w);
	world_free(&w);
}

/* PREPAREs that wait for room in the log go on when a checkpoint has made some. */
static void test_log(int fd)
{
	struct world w;
	struct weft_stat st;
	uint32_t slot = 0, gen = 0;
	bool good = true;
	uint64_t tx = 0;

	world_init(&w, fd, 5, false);
	ok(world_open(&w) && do_fence(&w, 1, NULL) == 0 && do_label(&w, 1, &slot, &gen) == 0,
	   "a store with a small log");
	/* one tx is left undecided: it must not hold the log */
	good = do_prepare(&w, ++tx, 0, gen, 1, WEFT_MODE_DATA, page) == 0;
	for (unsigned i = 0; i < 1000 && good; i++) {
		good = do_prepare(&w, ++tx, 65536 + (i % 40) * 65536, gen, 0x7fff, WEFT_MODE_DATA,
				  page) == 0 &&
		       (i % 20 != 19 || do_tx(&w, WEFT_CMD_ABORT, tx) == 0);
		if (i % 10 == 9)
			good &= do_flush(&w) == 0;
		if (i % 30 == 29) { /* all but the first: give that up and prepare it again */
			good &= do_tx(&w, WEFT_CMD_COMMIT, tx) == 0 &&
				do_prepare(&w, ++tx, 0, gen, 1, WEFT_MODE_DATA, page) == 0;
		}
	}
	store_stat(w.store, &st);
	ok(good, "seven times as much as the log holds goes through it");
	ok(st.log_used_bytes <= st.log_bytes, "and it never overflows");
	world_cut(&w);
	ok(world_open(&w), "it opens after a power cut");
	world_close(&w);
	world_free(&w);
}

/* So many blocks go into the log, and are undone. */
static bool fill_log(struct world *w, uint64_t *tx, uint32_t gen, unsigned blocks)
{
	for (unsigned i = 0; i < blocks; i += 16)
		if (do_prepare(w, ++*tx, 20 * 65536, gen, 0x7fff, WEFT_MODE_DATA, page) != 0 ||
		    do_flush(w) != 0 || do_tx(w, WEFT_CMD_ABORT, *tx) != 0)
			return false;
	return do_flush(w) == 0;
}

/*
 * Two txs on one block, the first so old that its record is written once more, behind that of the
 * second; a third holds the log's tail between them when both are home.
 */
static void test_order(int fd, unsigned between)
{
	static uint8_t later[4096];
	struct world w;
	struct weft_stat st;
	uint32_t slot = 0, gen = 0;
	uint64_t tx = 1;
	bool good;

	memset(later, 0x77, sizeof(later));
	world_init(&w, fd, 9, true);
	w.disk.ordered = true;
	good = world_open(&w) && do_fence(&w, 1, NULL) == 0 && do_label(&w, 1, &slot, &gen) == 0 &&
	       do_prepare(&w, 1, 0, gen, 1, WEFT_MODE_DATA, page) == 0 && do_flush(&w) == 0;
	good &= fill_log(&w, &tx, gen, between);
	good &= do_prepare(&w, 1000, 0, gen, 1, WEFT_MODE_DATA, later) == 0 && do_flush(&w) == 0;
	tx = 1001;
	good &= do_prepare(&w, tx, 65536, gen, 1, WEFT_MODE_DATA, page) == 0 && do_flush(&w) == 0;
	good &= fill_log(&w, &tx, gen, 860 - between);
	good &= do_tx(&w, WEFT_CMD_COMMIT, 1000) == 0 && do_flush(&w) == 0;
	for (int i = 0; i < 100; i++)
		world_step(&w);
	good &= fill_log(&w, &tx, gen, 440);
	for (int i = 0; i < 100; i++)
		world_step(&w);
	ok(good, "two txs on one block are committed");
	store_stat(w.store, &st);
	diag("%u blocks between: %llu of the log are used", between,
	     (unsigned long long)st.log_used_bytes / 4096);
	world_cut(&w);
	ok(world_open(&w), "the power goes, and comes back");
	is_int(do_read(&w, 0, 4096, got), 0, "the block is read");
	ok(memcmp(got, later, 4096) == 0, "it is as the later one left it");
	world_close(&w);
	world_free(&w);
}

/* As many undecided txs as there may be: the next waits, and the log is not written round and
 * round. */
static void test_undecided(int fd)
{
	struct world w;
	struct call *c = NULL;
	uint32_t slot, gen;
	uint64_t tx = 0, before;

	world_init(&w, fd, 6, true);
	w.disk.ordered = true;
	ok(world_open(&w) && do_fence(&w, 1, NULL) == 0 && do_label(&w, 1, &slot, &gen) == 0,
	   "a store with a small log");
	for (bool done = true; done && tx < 1000;) {
		c = call_prepare(&w, tx + 1, tx % 1000 * 4096, gen, 1, WEFT_MODE_DATA, page);
		tx++;
		store_request(w.store, &c->req);
		for (int i = 0; i < 200 && !c->done; i++)
			world_step(&w);
		done = c->done;
		if (done)
			call_free(c);
	}
	is_int(tx, (8u << 20) / 4 / 4096 + 1, "a quarter of the log is undecided, the next waits");
	before = w.disk.count;
	for (uint64_t until = w.env.now_ns + 10 * NS_PER_S; w.env.now_ns < until;)
		world_step(&w);
	ok(!c->done && w.disk.count - before < 300, "meanwhile the disk is left alone");
	is_int(do_tx(&w, WEFT_CMD_COMMIT, 100), 0, "a COMMIT");
	ok(world_until(&w, &c->done) && c->error == 0, "lets it go on");
	call_free(c);
	for (bool done = true; done;) {
		c = call_prepare(&w, tx + 1, tx % 1000 * 4096, gen, 1, WEFT_MODE_DATA, page);
		tx++;
		store_request(w.store, &c->req);
		for (int i = 0; i < 200 && !c->done; i++)
			world_step(&w);
		done = c->done;
		if (done)
			call_free(c);
	}
	is_int(world_close(&w), 0, "the store closes, also while one waits");
	ok(c->done && c->error == ESHUTDOWN, "which is told so");
	call_free(c);
	world_free(&w);
}

/* Some operation fails, each one in turn: requests fail or succeed, none hangs; then it opens
 * again. */
static void test_faults(int fd)
{
	bool hung = false, opens = true;

	for (uint64_t n = 8; n < 60; n++) {
		struct world w;
		uint32_t slot = 0, gen = 0;

		world_init(&w, fd, n, n % 2 == 0);
		w.disk.fail_at = n;
		if (world_open(&w) && do_fence(&w, 1, NULL) == 0 &&
		    do_label(&w, 1, &slot, &gen) == 0)
			for (uint64_t tx = 1; tx < 20; tx++) {
				do_prepare(&w, tx, tx % 5 * 32768, gen, tx % 3 == 0 ? 3 : 0xffff,
					   tx % 2, page);
				do_flush(&w);
				do_tx(&w, WEFT_CMD_COMMIT, tx - tx % 2);
				do_read(&w, 0, 65536, got);
			}
		if (w.ready && w.err == 0) {
			store_close(w.store, world_closed, &w);
			hung |= !world_until(&w, &w.closed);
		}
		world_cut(&w);
		w.disk.fail_at = 0;
		opens &= world_open(&w);
		world_cut(&w);
		world_free(&w);
	}
	ok(!hung, "whichever operation fails, every request is answered");
	ok(opens, "and the store opens again");
}

int main(void)
{
	int fd;

	log_init("store-limits", LOG_LEVEL_ERROR);
	for (unsigned i = 0; i < sizeof(page); i++)
		page[i] = (uint8_t)(i * 7 + i / 4096 + 1);
	test_format();
	fd = world_template(WORLD_SIZE, 8u << 20);
	test_damaged(fd);
	test_full(fd);
	test_log(fd);
	for (unsigned between = 500; between < 860; between += 40)
		test_order(fd, between);
	test_undecided(fd);
	test_faults(fd);
	close(fd);
	return done_testing();
}
