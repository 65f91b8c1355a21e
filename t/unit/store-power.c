/*
 * Random operations on a store, whose power is cut at a random moment, again and again. What is
 * there after it opens again must be what a prefix of the operations makes, and the prefix must
 * have everything that was flushed: prepared txs are listed or gone as a whole, nothing is torn, no
 * byte is wrong. "store-power SEED" runs one seed only, and says more.
 */
#include "config.h"

#include <stdlib.h>

#include "log.h"
#include "store-model.h"

#define SEEDS	      60
#define CUTS	      6
#define OPS_BETWEEN   60
#define UNDECIDED_MAX 400 /* blocks prepared at once: a quarter of the log is 512 */

struct run {
	struct world w;
	struct model m;	   /* after all of ops */
	struct model base; /* before ops[0] */
	struct op ops[MODEL_OPS];
	unsigned nops, nsure; /* submitted since base, and of those the ones that must be there */
	uint64_t next_tx, next_tag, extent;
	bool talks;
};

static uint64_t discards; /* of all runs */

static uint32_t below(struct run *r, uint32_t n)
{
	return fake_below(&r->w.env, n);
}

static void forget(struct run *r)
{
	r->base = r->m;
	r->nops = r->nsure = 0;
}

static struct op *op_new(struct run *r, enum op_type type)
{
	struct op *op = &r->ops[r->nops];

	assert(r->nops < MODEL_OPS);
	memset(op, 0, sizeof(*op));
	op->type = type;
	return op;
}

/* Run a request that stands for the op. false: the power went. */
static bool op_run(struct run *r, struct op *op, struct call *c, bool durable)
{
	int err;

	r->nops++;
	err = call_run(&r->w, c);
	if (r->talks)
		diag("op %u: type %d tx %d slot %u block %u blocks %llx mode %u: %d", r->nops,
		     op->type, (int)op->tx, op->slot, op->block, (unsigned long long)op->blocks,
		     op->mode, err);
	if (err == 0) {
		model_apply(&r->m, op);
		if (durable)
			r->nsure = r->nops;
	} else if (err > 0) {
		diag("op %u of type %d fails with %d", r->nops, op->type, err);
		abort();
	}
	return err == 0;
}

static uint64_t random_blocks(struct run *r, unsigned *block)
{
	*block = below(r, 64);
	switch (below(r, 5)) {
	case 0:
		*block &= ~15u;
		return 0xffff;
	case 1:
		*block = below(r, 3) * 16;
		return below(r, 2) == 0 ? 0xffffffff : 0xffffffffff;
	case 2:
		*block = below(r, 16);
		return fake_next(&r->w.env) | 1;
	case 3:
		*block = below(r, 4) * 16 + below(r, 3);
		return 1;
	default:
		*block = below(r, MODEL_BLOCKS - 8);
		return (fake_next(&r->w.env) & 0xff) | 1;
	}
}

static bool do_op_prepare(struct run *r)
{
	static uint8_t bytes[64 * 4096];
	struct op *op = op_new(r, OP_PREPARE);
	struct call *c;
	bool fua = below(r, 10) == 0, good;

	op->slot = below(r, MODEL_SLOTS);
	if (r->m.gen[op->slot] == 0 || r->m.ntx + 1 >= MODEL_TXS ||
	    model_undecided(&r->m) > UNDECIDED_MAX)
		return true;
	op->tx = r->next_tx++;
	op->blocks = random_blocks(r, &op->block);
	op->mode = below(r, 8) == 0 ? WEFT_MODE_ZERO : below(r, 2);
	for (unsigned i = 0; i < 64; i++)
		op->tag[i] = (r->next_tag += 0x100000001ULL);
	tags_to_bytes(op, bytes);
	c = call_prepare(&r->w, op->tx, (uint64_t)op->slot * WEFT_SHARD_BYTES + op->block * 4096u,
			 r->m.gen[op->slot], op->blocks, op->mode,
			 op->mode == WEFT_MODE_ZERO ? NULL : bytes);
	c->req.flags = fua ? NBD_CMD_FLAG_FUA : 0;
	good = op_run(r, op, c, fua);
	call_free(c);
	return good;
}

static bool do_op_decide(struct run *r, enum op_type type)
{
	struct op *op = op_new(r, type);
	struct call *c;
	bool good;

	if (r->m.ntx == 0)
		return true;
	op->tx = r->m.tx[below(r, r->m.ntx)].tx;
	c = call_new(&r->w, type == OP_COMMIT ? WEFT_CMD_COMMIT : WEFT_CMD_ABORT);
	c->req.cmd.tx = op->tx;
	good = op_run(r, op, c, false);
	call_free(c);
	return good;
}

static bool do_op_slot(struct run *r)
{
	unsigned slot = below(r, MODEL_SLOTS);
	struct op *op;
	uint32_t got = 0, gen = 0;
	int err;

	if (r->m.gen[slot] != 0) {
		if (below(r, 3) != 0)
			return true;
		op = op_new(r, OP_DISCARD);
		op->slot = slot;
		r->nops++;
		err = do_discard(&r->w, slot, r->m.gen[slot]);
	} else {
		op = op_new(r, OP_LABEL);
		op->slot = 0;
		while (r->m.gen[op->slot] != 0)
			op->slot++;
		r->nops++;
		/* the generation that it would get: one more than any before */
		err = do_label(&r->w, ++r->extent, &got, &gen);
		if (err == 0 && got != op->slot)
			abort();
		op->gen = err == 0 ? gen : 0;
	}
	if (r->talks)
		diag("op %u: type %d slot %u: %d", r->nops, op->type, op->slot, err);
	if (err != 0)
		return false;
	model_apply(&r->m, op);
	r->nsure = r->nops;
	return true;
}

static bool do_op(struct run *r)
{
	uint32_t n = below(r, 100);

	if (n < 62)
		return do_op_prepare(r);
	if (n < 78)
		return do_op_decide(r, OP_COMMIT);
	if (n < 82)
		return do_op_decide(r, OP_ABORT);
	if (n < 85)
		return do_op_slot(r);
	if (n < 88) {
		fake_env_advance(&r->w.env, (1 + below(r, 3)) * NS_PER_S);
		return true;
	}
	if (n < 97) {
		if (do_flush(&r->w) != 0)
			return false;
		r->nsure = r->nops;
		return true;
	}
	return true;
}

/* The prefix of the operations that the store shows; false: there is none. */
static bool find_prefix(struct run *r, const struct view *v)
{
	struct model m = r->base;
	char why[200] = "";

	for (unsigned n = 0; n <= r->nops; n++) {
		if (n > 0) {
			struct op *op = &r->ops[n - 1];

			/* the power went before its number was known */
			if (op->type == OP_LABEL && op->gen == 0)
				op->gen = v->gen[op->slot];
			model_apply(&m, op);
		}
		if (n < r->nsure)
			continue;
		if (view_matches(v, &m, n == r->nsure ? why : NULL, sizeof(why))) {
			r->m = m;
			return true;
		}
	}
	diag("%u operations, %u of them durable: %s", r->nops, r->nsure, why);
	return false;
}

static bool open_and_look(struct run *r)
{
	struct weft_fence_reply reply;
	struct view v;

	if (!world_open(&r->w)) {
		diag("it does not open: %d, %s", r->w.err, r->w.why);
		return false;
	}
	if (do_fence(&r->w, r->w.epoch + 1, &reply) != 0 || !view_get(&r->w, &v)) {
		diag("it cannot be looked at%s", v.torn ? ": torn" : "");
		return false;
	}
	if (!find_prefix(r, &v))
		return false;
	forget(r);
	return true;
}

/* Runs until the power goes or all is done, and looks now and then. */
static bool work(struct run *r)
{
	struct view v;
	char why[200];

	for (unsigned i = 0; i < OPS_BETWEEN; i++) {
		if (!do_op(r))
			return true;
		if (i % 16 != 15 || r->w.cut_at != 0)
			continue;
		if (!view_get(&r->w, &v) || !view_matches(&v, &r->m, why, sizeof(why))) {
			diag("before any power cut: %s", why);
			return false;
		}
	}
	return true;
}

static bool run_seed(int fd, uint64_t seed, bool talks)
{
	struct run *r = calloc(1, sizeof(*r));
	bool good;

	r->talks = talks;
	r->next_tx = 1;
	world_init(&r->w, fd, seed, seed % 3 == 0);
	r->w.disk.ordered = seed % 5 == 0;
	good = world_open(&r->w) && do_fence(&r->w, 1, NULL) == 0;
	forget(r);
	for (unsigned i = 0; good && i < CUTS; i++) {
		good = work(r);
		r->w.cut_at = r->w.disk.count + 1 + below(r, 200);
		if (good)
			good = work(r);
		if (good) {
			world_cut(&r->w);
			/* now and then it goes again while it opens */
			if (below(r, 3) == 0) {
				r->w.cut_at = r->w.disk.count + 1 + below(r, 20);
				world_open(&r->w);
				world_cut(&r->w);
			}
			good = open_and_look(r);
		}
	}
	if (good && world_close(&r->w) != 0)
		good = false;
	if (good && seed % 2 == 0) {
		r->nsure = r->nops;
		good = open_and_look(r);
		world_cut(&r->w);
	}
	if (!good)
		diag("seed %llu", (unsigned long long)seed);
	if (r->w.store != NULL && !good)
		return false; /* as it is: buffers may be in use */
	discards += r->w.disk.discards;
	world_free(&r->w);
	free(r);
	return good;
}

int main(int argc, char **argv)
{
	int fd = world_template(WORLD_SIZE, 8u << 20);
	uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
	uint64_t last = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? first : SEEDS;
	unsigned failed = 0;

	log_init("store-power", LOG_LEVEL_ERROR);
	diag("seeds %llu to %llu", (unsigned long long)first, (unsigned long long)last);
	for (uint64_t seed = first; seed <= last && failed < 5; seed++)
		if (!run_seed(fd, seed, argc == 2))
			failed++;
	is_int(failed, 0, "whatever the power does, what was flushed is there and nothing is torn");
	if (argc == 1)
		ok(discards > SEEDS, "while space was given back");
	close(fd);
	return done_testing();
}
