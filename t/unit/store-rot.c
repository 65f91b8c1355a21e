/*
 * What the disk has lost or changed in the log, in the map and in the labels: the store does not
 * open as if it had never been, and does not go on when it meets it. The data area: store-damage.
 */
#include "config.h"

#include "store-world.h"
#include "store/format.h"

#define BLOCK	4096u
#define BATCHES 5u

static uint8_t bytes[BLOCK];

/* A store with a slot, whose power goes when everything is durable. */
static void make(struct world *w, int fd, uint64_t *at, uint32_t *gen)
{
	uint32_t slot = 0;

	world_init(w, fd, 1, false);
	if (!world_open(w) || do_fence(w, 1, NULL) != 0 || do_label(w, 1, &slot, gen) != 0)
		abort();
	*at = (uint64_t)slot * WEFT_SHARD_BYTES;
}

static void write_flushed(struct world *w, uint64_t tx, uint64_t at, uint32_t gen)
{
	memset(bytes, (int)tx, sizeof(bytes));
	if (do_prepare(w, tx, at, gen, 1, WEFT_MODE_DATA, bytes) != 0 || do_flush(w) != 0)
		abort();
}

static void flip(struct world *w, uint64_t at)
{
	w->disk.memory[at] ^= 0x10;
	w->disk.platter[at] ^= 0x10;
	w->disk.touched[at / FAKE_PAGE] = 1;
}

static bool opens(struct world *w)
{
	bool good = world_open(w);

	world_cut(w);
	return good;
}

/* Where in the log the batches begin, in their order. */
static unsigned find_batches(struct world *w, uint64_t *where, unsigned max)
{
	unsigned n = 0;

	for (uint64_t at = w->info.log_offset; n < max; at += LOG_BLOCK) {
		const struct disk_batch *b = (const struct disk_batch *)(w->disk.platter + at);

		if (at >= w->info.log_offset + w->info.log_bytes)
			break;
		if (le32toh(b->magic) == LOG_MAGIC)
			where[n++] = at;
	}
	return n;
}

static void log_rots(int fd)
{
	uint64_t at, where[16];
	unsigned n, refused = 0, said = 0;
	uint32_t gen = 0;
	struct world w;

	make(&w, fd, &at, &gen);
	for (unsigned i = 0; i < BATCHES; i++)
		write_flushed(&w, 100 + i, at + i * BLOCK, gen);
	world_cut(&w);
	n = find_batches(&w, where, 16);
	ok(n >= BATCHES, "each flush has made a batch");
	ok(opens(&w), "with the power gone, and nothing lost, the store opens");
	for (unsigned i = 0; i + 1 < n; i++) {
		flip(&w, where[i] + sizeof(struct disk_batch) + 3);
		refused += !opens(&w) && w.err == -EUCLEAN;
		said += w.why != NULL && strstr(w.why, "durable") != NULL;
		flip(&w, where[i] + sizeof(struct disk_batch) + 3);
	}
	is_int(refused, n - 1, "a record that rots, of those that others follow: it does not");
	is_int(said, n - 1, "and says why");
	refused = 0;
	for (unsigned i = n - BATCHES; i + 1 < n; i++) {
		flip(&w, where[i] + BLOCK + 77);
		refused += !opens(&w) && w.err == -EUCLEAN;
		flip(&w, where[i] + BLOCK + 77);
	}
	is_int(refused, BATCHES - 1, "bytes that travel in the log are part of it");
	ok(opens(&w), "as it was, it opens again");
	world_free(&w);
}

/* The disk has confirmed some batches, and never written them. */
static void log_lost(int fd)
{
	uint64_t at, where[16];
	uint32_t gen = 0;
	struct world w;
	unsigned n;

	make(&w, fd, &at, &gen);
	for (unsigned i = 0; i < BATCHES; i++)
		write_flushed(&w, 100 + i, at + i * BLOCK, gen);
	world_cut(&w);
	n = find_batches(&w, where, 16);
	for (uint64_t b = where[n - 4]; b < where[n - 2]; b += BLOCK) {
		memset(w.disk.memory + b, 0, BLOCK);
		memset(w.disk.platter + b, 0, BLOCK);
	}
	ok(!opens(&w) && w.err == -EUCLEAN, "batches that the disk has lost are missed");
	world_free(&w);

	make(&w, fd, &at, &gen);
	for (unsigned i = 0; i < BATCHES; i++)
		write_flushed(&w, 100 + i, at + i * BLOCK, gen);
	world_cut(&w);
	n = find_batches(&w, where, 16);
	flip(&w, where[n - 1] + 20);
	ok(opens(&w), "the last one looks like one that the power cut tore");
	world_free(&w);
}

static uint64_t entry_at(const struct world *w, uint64_t at)
{
	return w->info.meta_offset + STORE_VOLUMES_MAX * sizeof(struct disk_volume) +
	       w->info.slots * sizeof(struct disk_label) +
	       at / GRANULE_BYTES * sizeof(struct disk_entry);
}

static uint64_t label_at(const struct world *w, uint64_t at)
{
	return w->info.meta_offset + STORE_VOLUMES_MAX * sizeof(struct disk_volume) +
	       at / WEFT_SHARD_BYTES * sizeof(struct disk_label);
}

static void commit_home(struct world *w, uint64_t tx, uint64_t at, uint32_t gen)
{
	write_flushed(w, tx, at, gen);
	if (do_tx(w, WEFT_CMD_COMMIT, tx) != 0 || world_close(w) != 0)
		abort();
}

/* How many bytes of these, each changed alone, keep the store from opening. */
static unsigned refused(struct world *w, uint64_t from, unsigned len)
{
	unsigned n = 0;

	for (unsigned i = 0; i < len; i++) {
		flip(w, from + i);
		n += !opens(w) && w->err == -EUCLEAN;
		flip(w, from + i);
	}
	return n;
}

static void map_rots(int fd)
{
	struct disk_label *label;
	uint32_t gen = 0;
	struct world w;
	uint64_t at;

	make(&w, fd, &at, &gen);
	commit_home(&w, 100, at, gen);
	is_int(refused(&w, entry_at(&w, at), sizeof(struct disk_entry)), sizeof(struct disk_entry),
	       "a byte of a map entry that rots keeps the store from opening, each of them");
	is_int(refused(&w, entry_at(&w, at) + sizeof(struct disk_entry) + 4, 4), 4,
	       "and so does one that says what is there of a place that has nothing");
	is_int(refused(&w, label_at(&w, at), sizeof(struct disk_label)), sizeof(struct disk_label),
	       "and one of a label");
	label = (struct disk_label *)(w.disk.platter + label_at(&w, at));
	label->volume = 0;
	memcpy(w.disk.memory + label_at(&w, at), label, sizeof(*label));
	ok(!opens(&w) && w.err == -EUCLEAN, "a label without its volume is no free slot");
	world_free(&w);
}

enum use { READS, XORS, CARRIES, DISCARDS, ASKS };

static int use(struct world *w, enum use use, uint64_t at, uint32_t gen)
{
	struct call *c;
	int err;

	switch (use) {
	case READS:
		return do_read(w, at, BLOCK, bytes);
	case XORS:
		return do_prepare(w, 300, at, gen, 1, WEFT_MODE_XOR, bytes);
	case CARRIES:
		err = do_prepare(w, 300, at, gen, 2, WEFT_MODE_DATA, bytes);
		if (err == 0)
			err = do_tx(w, WEFT_CMD_COMMIT, 300);
		for (unsigned i = 0; i < 1000 && w->failures == 0; i++)
			world_step(w);
		return err == 0 && w->failures > 0 ? EIO : err;
	case DISCARDS:
		return do_discard(w, (uint32_t)(at / WEFT_SHARD_BYTES), gen);
	default:
		c = call_new(w, WEFT_CMD_MAP);
		c->req.offset = at;
		c->req.cmd.slot_gen = gen;
		c->req.cmd.reply_len = sizeof(struct weft_map_reply);
		return call_end(w, c);
	}
}

/* The kernel had dropped a page of the map, and reads it again when it has rotted. */
static void map_rots_later(int fd, enum use how, const char *what)
{
	static const unsigned bytes_of[] = {0, 2, 4, 6, 8};
	unsigned n = 0, told = 0;

	for (unsigned i = 0; i < 5; i++) {
		uint32_t gen = 0;
		struct world w;
		uint64_t at;

		make(&w, fd, &at, &gen);
		commit_home(&w, 100, at, gen);
		if (!world_open(&w))
			abort();
		flip(&w, entry_at(&w, at) + bytes_of[i]);
		n += use(&w, how, at, gen) == EIO;
		told += w.failures == 1;
		world_cut(&w);
		n -= how != CARRIES && opens(&w); /* else the log has it, and it may be torn */
		world_free(&w);
	}
	is_int(n, 5, what);
	is_int(told, 5, "and the store fails at that");
}

/* An entry that the log is about to change may be torn: its check says nothing then. */
static void replayed_rots(int fd)
{
	uint32_t gen = 0;
	struct world w;
	uint64_t at;

	make(&w, fd, &at, &gen);
	write_flushed(&w, 100, at, gen);
	write_flushed(&w, 101, at + 4 * BLOCK, gen);
	commit_home(&w, 102, at + 5 * BLOCK, gen);
	if (!world_open(&w))
		abort();
	write_flushed(&w, 103, at, gen);
	if (do_tx(&w, WEFT_CMD_COMMIT, 103) != 0 || do_flush(&w) != 0)
		abort();
	world_cut(&w);
	flip(&w, entry_at(&w, at) + 4); /* block 4 is not there any more, it says */
	ok(world_open(&w), "a map entry that rots when the log has a part of it: the store opens");
	is_int(do_read(&w, at + 4 * BLOCK, BLOCK, bytes), WEFT_EBADMSG,
	       "what it denies is not zeros");
	ok(do_read(&w, at, BLOCK, bytes) == 0 && bytes[9] == 103, "what the log has is right");
	ok(do_read(&w, at + 5 * BLOCK, BLOCK, bytes) == 0 && bytes[9] == 102, "and what it says");
	ok(do_read(&w, at + 6 * BLOCK, BLOCK, bytes) == 0 && bytes[9] == 0,
	   "and what is not there");
	write_flushed(&w, 104, at + 4 * BLOCK, gen);
	ok(do_read(&w, at + 4 * BLOCK, BLOCK, bytes) == 0 && bytes[9] == 104,
	   "written again it is good");
	world_free(&w);
}

int main(void)
{
	int fd = world_template(WORLD_SIZE, 0);

	log_rots(fd);
	log_lost(fd);
	map_rots(fd);
	replayed_rots(fd);
	map_rots_later(fd, READS, "a map entry that rots is not read by");
	map_rots_later(fd, XORS, "nor built upon");
	map_rots_later(fd, CARRIES, "nor written back as if it were right");
	map_rots_later(fd, DISCARDS, "nor believed when its slot goes");
	map_rots_later(fd, ASKS, "nor told as what is there");
	close(fd);
	return done_testing();
}
