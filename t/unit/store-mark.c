/* What a store is told about stale shards, and the table of its volumes: for recovery. */
#include "config.h"

#include "store-world.h"

static int do_mark(struct world *w, uint32_t slot, uint32_t gen, uint64_t number, uint64_t stale)
{
	struct call *c = call_new(w, WEFT_CMD_MARK);

	c->req.offset = (uint64_t)slot * WEFT_SHARD_BYTES;
	c->req.cmd.slot_gen = gen;
	c->req.cmd.tx = number;
	c->req.cmd.blocks = stale;
	return call_end(w, c);
}

/* The label of a slot that LABELS tells first from there on. */
static struct weft_label_entry label_of(struct world *w, uint32_t slot)
{
	uint8_t *p = do_list(w, WEFT_CMD_LABELS, slot, 32 + 128);
	struct weft_label_entry l;

	memcpy(&l, p + 32, sizeof(l));
	free(p);
	return l;
}

static void marked(struct world *w, uint32_t slot, uint32_t number, uint32_t stale,
		   const char *name)
{
	struct weft_label_entry l = label_of(w, slot);

	ok(be32toh(l.slot) == slot && be32toh(l.mark) == number && be32toh(l.stale) == stale, name);
}

static void test_marks(struct world *w)
{
	uint32_t slot = 0, gen = 0, slot2 = 0, gen2 = 0;

	do_fence(w, 5, NULL);
	do_label(w, 1, &slot, &gen);
	do_label(w, 2, &slot2, &gen2);
	marked(w, slot, 0, 0, "a new label has no mark");
	is_int(do_mark(w, slot, gen, 3, 0x21), 0, "MARK");
	marked(w, slot, 3, 0x21, "is in the label");
	is_int(do_mark(w, slot, gen, 2, 0x3), 0, "an older one");
	marked(w, slot, 3, 0x21, "changes nothing");
	is_int(do_mark(w, slot, gen + 100, 4, 1), WEFT_ESTALE,
	       "one of another generation is refused");
	is_int(do_mark(w, slot, gen, 0, 1), EINVAL, "one without a number too");
	is_int(do_mark(w, slot, gen, 1ULL << 32, 1), EINVAL, "or too high a number");
	is_int(do_mark(w, 9999999, gen, 4, 1), EINVAL, "or of no slot");
	world_cut(w);
	ok(world_open(w), "the power goes");
	marked(w, slot, 3, 0x21, "the mark stays");
	is_int(do_mark(w, slot, gen, 7, 0), 0, "another mark");
	is_int(world_close(w), 0, "the store closes");
	ok(world_open(w), "and opens");
	marked(w, slot, 7, 0, "with the last mark");
	marked(w, slot2, 0, 0, "the other slot has none");
	is_int(do_mark(w, slot2, gen2, 1, 2), 0, "it gets one");
	is_int(do_discard(w, slot2, gen2), 0, "and is discarded");
	world_cut(w);
	ok(world_open(w), "the power goes");
	is_int(do_label(w, 3, &slot2, &gen2), 0, "its slot is labelled again");
	marked(w, slot2, 0, 0, "without a mark");
}

static void test_volumes(struct world *w)
{
	struct weft_list_head h;
	struct weft_volume_entry e[4];
	uint8_t *p = do_list(w, WEFT_CMD_VOLUMES, 0, 32 + 32 * 4);

	memcpy(&h, p, sizeof(h));
	memcpy(e, p + 32, sizeof(e));
	free(p);
	is_int(be32toh(h.count), 1, "VOLUMES has the one that was fenced");
	is_int(be32toh(h.more), 0, "and no more");
	is_int(be64toh(e[0].volume), WORLD_VOLUME, "its number");
	is_int(be32toh(e[0].epoch), 5, "its epoch");
	is_int(be32toh(e[0].slots), 2, "and how many slots it has");
	p = do_list(w, WEFT_CMD_VOLUMES, be64toh(h.committed), 32 + 32 * 4);
	memcpy(&h, p, sizeof(h));
	free(p);
	is_int(be32toh(h.count), 0, "behind the last one there is none");
	ok(do_list(w, WEFT_CMD_VOLUMES, 0, 32) == NULL, "an answer without room is refused");
}

int main(void)
{
	int fd = world_template(WORLD_SIZE, 0);
	struct world w;

	for (int now = 0; now < 2; now++) {
		world_init(&w, fd, 1, now);
		ok(world_open(&w), "a new store opens");
		test_marks(&w);
		test_volumes(&w);
		is_int(world_close(&w), 0, "it closes");
		world_free(&w);
	}
	close(fd);
	return done_testing();
}
