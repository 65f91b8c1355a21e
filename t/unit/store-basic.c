/* The shard store: each command does what weft.h says, and refuses what it must. */
#include "config.h"

#include "store-world.h"

static uint8_t page[64 * 4096], got[64 * 4096];

static void fill(uint8_t *p, unsigned blocks, unsigned seed)
{
	for (unsigned i = 0; i < blocks * 4096; i++)
		p[i] = (uint8_t)(seed + i / 4096 * 7 + i % 251);
}

static bool reads(struct world *w, uint64_t offset, uint32_t len, const uint8_t *want)
{
	memset(got, 0xee, len);
	return do_read(w, offset, len, got) == 0 && memcmp(got, want, len) == 0;
}

static void test_slots(struct world *w, uint32_t *slot, uint32_t *gen)
{
	uint32_t slot2, gen2;

	is_int(do_label(w, 1, slot, gen), WEFT_ESTALE,
	       "no slot for a volume that was never fenced");
	is_int(do_fence(w, 5, NULL), 0, "an epoch is announced");
	is_int(do_fence(w, 4, NULL), WEFT_ESTALE, "a lower one is refused");
	is_int(do_label(w, 1, slot, gen), 0, "a slot is given");
	is_int(*slot, 0, "it is the lowest");
	is_int(do_label(w, 1, &slot2, &gen2), 0, "the same label again");
	ok(slot2 == *slot && gen2 == *gen, "gives the same slot");
	is_int(do_label(w, 2, &slot2, &gen2), 0, "another label");
	ok(slot2 == 1 && gen2 > *gen, "gives another slot, of a higher generation");
}

static void test_owner(struct world *w)
{
	is_int(do_fence_as(w, 5, 71, NULL), 0, "somebody says who announces the epoch");
	is_int(do_fence_as(w, 5, 72, NULL), WEFT_ESTALE, "another one with the same is refused");
	is_int(do_fence_as(w, 5, 71, NULL), 0, "the first may repeat it");
	is_int(do_fence(w, 5, NULL), 0, "so may who does not say who he is");
	is_int(do_fence_as(w, 5, 72, NULL), WEFT_ESTALE, "which is no help to the other one");
	is_int(do_fence_as(w, 6, 72, NULL), 0, "a higher epoch is");
	is_int(do_fence_as(w, 6, 71, NULL), WEFT_ESTALE, "and then the first is refused");
}

/* What the owner had given up when it announced the epoch once more. */
static void test_given_up(struct world *w)
{
	struct call *c;
	uint32_t slot, gen;
	uint64_t at;

	is_int(do_fence(w, 6, NULL), 0, "the epoch is announced");
	is_int(do_label(w, 1, &slot, &gen), 0, "there is a slot");
	at = (uint64_t)slot << 22;
	fill(page, 64, 3);
	is_int(do_prepare(w, 10, at, gen, 1, WEFT_MODE_DATA, page), 0, "PREPARE");
	c = call_new(w, WEFT_CMD_FENCE);
	c->req.cmd.epoch = 6;
	c->req.cmd.blocks = 12;
	c->req.cmd.reply_len = sizeof(struct weft_fence_reply);
	is_int(call_end(w, c), 0, "the owner has given up what it sent until then");
	is_int(do_prepare(w, 12, at, gen, 2, WEFT_MODE_DATA, page), EINVAL,
	       "such a PREPARE comes too late");
	is_int(do_prepare(w, 13, at, gen, 2, WEFT_MODE_DATA, page), 0, "a later one does not");
	ok(reads(w, at, 4096, page), "what came before stays");
	is_int(do_tx(w, WEFT_CMD_ABORT, 10), 0, "until it is undone");
}

static void test_prepare(struct world *w, uint64_t at, uint32_t gen)
{
	static const uint8_t zeros[4096 * 16];
	uint64_t far = (uint64_t)4 << 20;

	fill(page, 64, 1);
	ok(reads(w, at, 65536, zeros), "what was never written reads as zeros");
	is_int(do_prepare(w, 1, at, gen, 1, WEFT_MODE_DATA, page), 0, "PREPARE of a block");
	ok(reads(w, at, 4096, page), "reads see it at once");
	ok(reads(w, at + 100, 1000, page + 100), "also byte by byte");
	is_int(do_tx(w, WEFT_CMD_ABORT, 1), 0, "ABORT");
	ok(reads(w, at, 4096, zeros), "undoes it");
	is_int(do_tx(w, WEFT_CMD_ABORT, 99), 0, "ABORT of an unknown tx succeeds");
	is_int(do_prepare(w, 2, at, gen, 0xffff, WEFT_MODE_DATA, page), 0, "PREPARE of a granule");
	is_int(do_tx(w, WEFT_CMD_COMMIT, 2), 0, "COMMIT");
	is_int(do_flush(w), 0, "FLUSH");
	ok(reads(w, at, 65536, page), "it is there");
	is_int(do_prepare(w, 2, at, gen, 1, WEFT_MODE_DATA, page), EINVAL,
	       "a tx at or below the committed one is refused");
	is_int(do_prepare(w, 3, at + 8, gen, 1, WEFT_MODE_DATA, page), EINVAL,
	       "an odd offset, too");
	is_int(do_prepare(w, 3, at, gen + 1, 1, WEFT_MODE_DATA, page), WEFT_ESTALE,
	       "and another slot generation");
	is_int(do_prepare(w, 3, at + far - 4096, gen, 3, WEFT_MODE_DATA, page), EINVAL,
	       "and blocks past the slot's end");
	is_int(do_read(w, at + far - 4096, 8192, got), EINVAL, "and reads past the slot's end");
	is_int(do_read(w, 9 * far, 4096, got), WEFT_ESTALE, "and reads of a free slot");
}

static void test_xor(struct world *w, uint64_t at, uint32_t gen)
{
	static uint8_t mix[4096], delta[4096];
	static const uint8_t zeros[65536];
	struct call *c;

	memset(delta, 0x5a, sizeof(delta));
	c = call_prepare(w, 4, at + 4096, gen, 1, WEFT_MODE_XOR, delta);
	c->req.cmd.flags = WEFT_FLAG_WANT_OLD;
	c->req.cmd.reply_len = 4096;
	is_int(call_run(w, c), 0, "XOR that wants the old bytes");
	ok(c->len == 4096 && memcmp(c->data, page + 4096, 4096) == 0, "gets them");
	call_free(c);
	for (unsigned i = 0; i < 4096; i++)
		mix[i] = page[4096 + i] ^ 0x5a;
	ok(reads(w, at + 4096, 4096, mix), "and the result is read");
	is_int(do_prepare(w, 5, at + 4096, gen, 1, WEFT_MODE_XOR, delta), 0, "XOR onto it");
	ok(reads(w, at + 4096, 4096, page + 4096), "gives what was there");
	is_int(do_tx(w, WEFT_CMD_ABORT, 4), 0, "ABORT of the first");
	ok(reads(w, at, 65536, page), "takes the second with it");
	is_int(do_prepare(w, 4, at + 4096, gen, 1, WEFT_MODE_XOR, delta), EINVAL,
	       "its PREPARE, late, is refused");
	is_int(do_tx(w, WEFT_CMD_ABORT, 3), 0, "ABORT of a tx that was never here");
	is_int(do_prepare(w, 3, at + 4096, gen, 1, WEFT_MODE_XOR, delta), EINVAL,
	       "keeps its PREPARE out as well");
	ok(reads(w, at, 65536, page), "and nothing is changed");
	is_int(do_prepare(w, 6, at, gen, 0xffff, WEFT_MODE_ZERO, NULL), 0, "ZERO of a granule");
	ok(reads(w, at, 65536, zeros), "reads as zeros");
	is_int(do_tx(w, WEFT_CMD_COMMIT, 6), 0, "and can be committed");
	is_int(do_prepare(w, 9, at, gen, 1, WEFT_MODE_DATA, page), 0, "PREPARE of a later tx");
	is_int(do_prepare(w, 8, at, gen, 1, WEFT_MODE_DATA, page), EINVAL,
	       "an earlier one on the same block is refused");
	is_int(do_prepare(w, 9, at, gen, 1, WEFT_MODE_DATA, page), 0, "the same again is taken");
}

static void test_list(struct world *w, uint32_t slot, uint32_t gen)
{
	uint8_t *p = do_list(w, WEFT_CMD_LIST, 0, 32 + 40);
	struct weft_list_head h;
	struct weft_list_entry e;
	struct weft_label_entry l;

	memcpy(&h, p, sizeof(h));
	memcpy(&e, p + sizeof(h), sizeof(e));
	free(p);
	ok(be32toh(h.count) == 1 && h.more == 0, "LIST has the one prepared tx");
	is_int(be64toh(h.committed), 6, "and the highest COMMIT");
	ok(be64toh(e.tx) == 9 && be64toh(e.blocks) == 1 && be32toh(e.slot_gen) == gen,
	   "and says what it is");
	p = do_list(w, WEFT_CMD_LABELS, 0, 32 + 128);
	memcpy(&h, p, sizeof(h));
	memcpy(&l, p + sizeof(h), sizeof(l));
	free(p);
	ok(be32toh(h.count) == 1 && be32toh(h.more) == 1, "LABELS goes page by page");
	ok(be32toh(l.slot) == slot && be64toh(l.label.volume) == WORLD_VOLUME,
	   "and has what LABEL was given");
}

static void test_discard(struct world *w, uint32_t slot, uint32_t gen)
{
	struct weft_stat st;
	uint32_t slot2, gen2;

	is_int(do_discard(w, slot, gen + 7), WEFT_ESTALE,
	       "DISCARD of another generation is refused");
	is_int(do_discard(w, slot, gen), 0, "DISCARD");
	is_int(do_read(w, (uint64_t)slot * WEFT_SHARD_BYTES, 4096, got), WEFT_ESTALE,
	       "the slot is free");
	store_stat(w->store, &st);
	is_int(st.free_bytes, st.size_bytes, "all space is free again");
	is_int(st.prepared, 0, "its prepared txs are gone");
	is_int(do_label(w, 3, &slot2, &gen2), 0, "a new label");
	ok(slot2 == slot && gen2 > gen, "gets the slot with a higher generation");
}

static void test_reopen(struct world *w)
{
	uint32_t slot, gen;
	uint64_t at;

	is_int(do_label(w, 2, &slot, &gen), 0, "a slot");
	at = (uint64_t)slot * WEFT_SHARD_BYTES;
	fill(page, 64, 9);
	is_int(do_prepare(w, 20, at + 65536 - 8192, gen, (1ULL << 40) - 1, WEFT_MODE_DATA, page), 0,
	       "PREPARE over several granules");
	is_int(do_tx(w, WEFT_CMD_COMMIT, 20), 0, "COMMIT");
	is_int(do_prepare(w, 21, at, gen, 1, WEFT_MODE_DATA, page), 0, "PREPARE of another tx");
	is_int(world_close(w), 0, "the store closes");
	ok(world_open(w), "and opens again");
	ok(reads(w, at + 65536 - 8192, 40 * 4096, page), "what was committed is there");
	ok(reads(w, at, 4096, page), "what was prepared is there");
	is_int(do_tx(w, WEFT_CMD_COMMIT, 21), 0, "and can be committed");
	world_cut(w);
	ok(world_open(w), "after a power cut it opens, too");
	ok(reads(w, at + 65536 - 8192, 40 * 4096, page), "with what was committed and flushed");
	is_int(world_close(w), 0, "it closes");
}

static void run(int fd, bool now)
{
	struct world w;
	uint32_t slot = 0, gen = 0;

	diag("%s", now ? "page cache" : "direct");
	world_init(&w, fd, 1, now);
	ok(world_open(&w), "a new store opens");
	test_slots(&w, &slot, &gen);
	test_owner(&w);
	test_prepare(&w, (uint64_t)slot * WEFT_SHARD_BYTES, gen);
	test_xor(&w, (uint64_t)slot * WEFT_SHARD_BYTES, gen);
	test_list(&w, slot, gen);
	test_discard(&w, slot, gen);
	test_reopen(&w);
	world_free(&w);
	world_init(&w, fd, 1, now);
	ok(world_open(&w), "another one opens");
	test_given_up(&w);
	world_free(&w);
}

int main(void)
{
	int fd = world_template(WORLD_SIZE, 0);

	run(fd, false);
	run(fd, true);
	close(fd);
	return done_testing();
}
