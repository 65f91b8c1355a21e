/*
 * A disk that lies: it loses a write that it confirmed, puts one elsewhere, changes bytes, or gives
 * nothing back. Checksums live in the map and not beside the data, so a block from another time or
 * place is known, too.
 */
#include "config.h"

#include "store-world.h"

#define BLOCK 4096u

static uint8_t old_bytes[16 * BLOCK], new_bytes[16 * BLOCK], other_bytes[16 * BLOCK],
	got[16 * BLOCK];

static void fill(uint8_t *p, unsigned blocks, unsigned seed)
{
	uint32_t x = seed * 2654435761u + 1;

	for (unsigned i = 0; i < blocks * BLOCK; i++) {
		x = x * 1664525u + 1013904223u;
		p[i] = (uint8_t)(x >> 24);
	}
}

/* Where on the disk a block with these bytes is; there must be one in the data area. */
static uint8_t *find(struct world *w, const uint8_t *bytes)
{
	uint8_t *p = w->disk.memory + w->info.data_offset;
	uint8_t *end = p + w->info.data_bytes;

	for (; p < end; p += BLOCK)
		if (memcmp(p, bytes, BLOCK) == 0)
			return p;
	diag("the bytes are not on the disk");
	abort();
}

/* Everything in its place, nothing in memory. */
static void settle(struct world *w)
{
	if (world_close(w) != 0 || !world_open(w))
		abort();
}

static int write_home(struct world *w, uint64_t tx, uint64_t at, uint32_t gen, unsigned blocks,
		      const uint8_t *bytes)
{
	int err = do_prepare(w, tx, at, gen, (1ULL << blocks) - 1, WEFT_MODE_DATA, bytes);

	if (err == 0)
		err = do_tx(w, WEFT_CMD_COMMIT, tx);
	settle(w);
	return err;
}

/* blocks 16: a whole granule, written once to a new place; 1: through the log, in place. */
static void lost_write(struct world *w, uint64_t at, uint32_t gen, unsigned blocks, uint64_t tx)
{
	uint8_t *place;

	fill(old_bytes, blocks, (unsigned)tx);
	fill(new_bytes, blocks, (unsigned)tx + 1);
	is_int(write_home(w, tx, at, gen, blocks, old_bytes), 0, "something is written");
	place = find(w, old_bytes);
	is_int(write_home(w, tx + 1, at, gen, blocks, new_bytes), 0, "and written over");
	if (blocks == 1)
		ok(find(w, new_bytes) == place, "in its place");
	place = find(w, new_bytes);
	memcpy(place, old_bytes, BLOCK); /* as if the second write had never come */
	is_int(do_read(w, at, BLOCK, got), WEFT_EBADMSG, "a lost write is not taken for data");
	memcpy(place, new_bytes, BLOCK);
	is_int(do_read(w, at, BLOCK, got), 0, "the right bytes are");
}

static void misdirected(struct world *w, uint64_t at, uint32_t gen, uint64_t tx)
{
	uint8_t *victim, *target;

	fill(old_bytes, 1, (unsigned)tx);
	fill(other_bytes, 1, (unsigned)tx + 1);
	fill(new_bytes, 1, (unsigned)tx + 2);
	write_home(w, tx, at, gen, 1, old_bytes);
	write_home(w, tx + 1, at + 2 * BLOCK, gen, 1, other_bytes);
	target = find(w, old_bytes);
	victim = find(w, other_bytes);
	write_home(w, tx + 2, at, gen, 1, new_bytes);
	memcpy(victim, new_bytes, BLOCK);
	memcpy(target, old_bytes, BLOCK);
	is_int(do_read(w, at, BLOCK, got), WEFT_EBADMSG, "a write that went elsewhere is noticed");
	is_int(do_read(w, at + 2 * BLOCK, BLOCK, got), WEFT_EBADMSG,
	       "where it should have gone and where it went");
	is_int(do_read(w, at + BLOCK, BLOCK, got), 0, "but not between them");
	is_int(do_read(w, at, 3 * BLOCK, got), WEFT_EBADMSG, "in a longer read, too");
}

static int prepare_old(struct world *w, uint64_t tx, uint64_t at, uint32_t gen, unsigned mode)
{
	struct call *c = call_prepare(w, tx, at, gen, 1, mode, new_bytes);

	if (mode == WEFT_MODE_DATA) {
		c->req.cmd.flags = WEFT_FLAG_WANT_OLD;
		c->req.cmd.reply_len = BLOCK;
	}
	return call_end(w, c);
}

/* A PREPARE that builds upon damaged bytes must not hide the damage. */
static void built_upon(struct world *w, uint64_t at, uint32_t gen, uint64_t tx)
{
	struct weft_stat st;

	fill(old_bytes, 1, (unsigned)tx);
	fill(new_bytes, 1, (unsigned)tx + 1);
	write_home(w, tx, at, gen, 1, old_bytes);
	find(w, old_bytes)[77] ^= 1;
	store_stat(w->store, &st);
	is_int(prepare_old(w, tx + 1, at, gen, WEFT_MODE_XOR), WEFT_EBADMSG,
	       "XOR onto a flipped bit is refused");
	is_int(prepare_old(w, tx + 1, at, gen, WEFT_MODE_DATA), WEFT_EBADMSG,
	       "and so are old bytes with it");
	is_int(do_read(w, at, BLOCK, got), WEFT_EBADMSG, "and reading");
	store_stat(w->store, &st);
	is_int(st.crc_errors, 3, "each is counted");
	is_int(write_home(w, tx + 1, at, gen, 1, new_bytes), 0, "new bytes may be written over it");
	is_int(do_read(w, at, BLOCK, got), 0, "and are good");
	ok(memcmp(got, new_bytes, BLOCK) == 0, "they are what was written");
}

static int do_verify(struct world *w, uint64_t at, uint32_t gen, uint64_t len)
{
	struct call *c = call_new(w, WEFT_CMD_VERIFY);

	c->req.offset = at;
	c->req.cmd.slot_gen = gen;
	c->req.cmd.tx = len;
	return call_end(w, c);
}

static void verified(struct world *w, uint64_t at, uint32_t gen, uint64_t tx)
{
	fill(old_bytes, 16, (unsigned)tx);
	write_home(w, tx, at, gen, 16, old_bytes);
	is_int(do_verify(w, at, gen, 16 * BLOCK), 0, "VERIFY of what is right");
	is_int(do_verify(w, at + 16 * BLOCK, gen, 16 * BLOCK), 0, "and of what is not there");
	find(w, old_bytes + 3 * BLOCK)[0] ^= 1;
	is_int(do_verify(w, at, gen, 16 * BLOCK), WEFT_EBADMSG, "it finds a flipped bit");
	is_int(do_verify(w, at + 4 * BLOCK, gen, 12 * BLOCK), 0,
	       "in the blocks that it is asked for");
	is_int(do_verify(w, at, gen + 1, BLOCK), WEFT_ESTALE, "another generation is refused");
	is_int(do_verify(w, at, gen, 100), EINVAL, "or a part of a block");
	is_int(do_verify(w, at, gen, 0), EINVAL, "or nothing");
	is_int(do_verify(w, at + BLOCK, gen, WEFT_SHARD_BYTES), EINVAL, "or more than a slot");
	is_int(do_verify(w, 1ULL << 60, gen, BLOCK), EINVAL, "or what is outside the store");
}

static void read_error(struct world *w, uint64_t at, uint32_t gen, uint64_t tx)
{
	fill(old_bytes, 1, (unsigned)tx);
	write_home(w, tx, at, gen, 1, old_bytes);
	w->disk.fail_at = w->disk.count + 1;
	is_int(do_read(w, at, BLOCK, got), EIO, "a read that the disk refuses is an error");
	w->disk.fail_at = 0;
	is_int(do_read(w, at, BLOCK, got), 0, "but the store goes on");
	is_int(write_home(w, tx + 1, at, gen, 1, old_bytes), 0, "and takes writes");
}

int main(void)
{
	int fd = world_template(WORLD_SIZE, 0);
	struct world w;
	uint32_t slot = 0, gen = 0;
	uint64_t at;

	world_init(&w, fd, 1, false);
	ok(world_open(&w), "a new store opens");
	do_fence(&w, 1, NULL);
	is_int(do_label(&w, 1, &slot, &gen), 0, "a slot");
	at = (uint64_t)slot * WEFT_SHARD_BYTES;
	lost_write(&w, at, gen, 16, 100);
	lost_write(&w, at + (1 << 20), gen, 1, 200);
	misdirected(&w, at + (2 << 20), gen, 300);
	built_upon(&w, at + (3 << 20), gen, 400);
	read_error(&w, at + (3 << 20) + 65536, gen, 500);
	verified(&w, at + (2 << 20) + 65536, gen, 600);
	world_close(&w);
	world_free(&w);
	close(fd);
	return done_testing();
}
