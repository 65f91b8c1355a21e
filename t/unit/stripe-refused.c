/*
 * Servers that are there and refuse what the engine counts on: to confirm what they have, and to
 * undo what was prepared.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stripe-ends.h"

static const struct world_geometry g42 = {4, 2, 64 << 10, 6, 20 << 20};
static const struct world_geometry g21 = {2, 1, 16 << 10, 3, 8 << 20};

static const struct extent_record *first(const struct world *w)
{
	const struct extent_record *r = w->map;

	while (r->extent != 0)
		r++;
	return r;
}

/* Of the first extent. */
static const struct shard_place *place_of(const struct world *w, unsigned shard)
{
	return &first(w)->shard[shard];
}

static struct fake_server *server_of(struct world *w, unsigned shard)
{
	return &w->cluster.servers[place_of(w, shard)->server - 1];
}

static const uint8_t *data_of(struct world *w, unsigned shard)
{
	return server_of(w, shard)->slots[place_of(w, shard)->slot].data;
}

static void refuse(struct fake_server *s, uint16_t type, int times, int error)
{
	s->refuse = type;
	s->refusals = times;
	s->refuse_error = error;
}

/*
 * A server is away, and of the others one cannot say that it has what it was given. Nobody is left
 * out before it can.
 */
static void not_confirmed(const struct world_geometry *g)
{
	struct world *w = begin(g, 1);
	struct fake_server *other;
	struct world_req *write, *flush;

	world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20);
	is_int(world_do(w, NBD_CMD_FLUSH, 0, 0, 0), 0, "a write is flushed");
	other = server_of(w, 1);
	refuse(other, NBD_CMD_FLUSH, 1000, EIO);
	fake_server_break(server_of(w, 0), false);
	write = world_submit(w, NBD_CMD_WRITE, 0, 0, g->unit);
	world_settle(w, 3000);
	ok(!write->done && stale_shards(w) == 0,
	   "a write waits until the others say what they have");
	ok(other->refusals < 1000 - 10, "one of them cannot, and is asked again");
	ok(other->refusals > 1000 - 60, "a little later");
	other->refusals = 1;
	world_settle(w, 1000);
	ok(write->done && write->error == 0, "when it can, the write goes on");
	is_int(stale_shards(w), 1, "without the server that is away");
	flush = world_submit(w, NBD_CMD_FLUSH, 0, 0, 0);
	world_settle(w, 1000);
	ok(flush->done && flush->error == 0, "and is flushed");
	is_int(end(w), 0, "a server that cannot confirm: everything is whole in the end");
}

/* The same when all that is missing is the answer to a flush. */
static void flush_not_confirmed(void)
{
	struct world *w = begin(&g42, 2);
	struct fake_server *other;
	struct world_req *flush;

	world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20);
	world_do(w, NBD_CMD_FLUSH, 0, 0, 0);
	world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20);
	other = server_of(w, 1);
	fake_server_break(server_of(w, 0), false);
	flush = world_submit(w, NBD_CMD_FLUSH, 0, 0, 0);
	world_settle(w, 200);
	refuse(other, NBD_CMD_FLUSH, 1000, EIO);
	world_settle(w, 3000);
	ok(!flush->done && stale_shards(w) == 0, "a flush waits, too");
	other->refusals = 0;
	world_settle(w, 1000);
	ok(flush->done && flush->error == 0, "until the other can confirm");
	is_int(end(w), 0, "a flush that waits for that: everything is whole in the end");
}

/* A volume is stopped while the question is under way. */
static void stop_not_confirmed(void)
{
	struct world *w = begin(&g21, 3);
	struct fake_server *away;
	struct world_req *write;

	world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20);
	world_do(w, NBD_CMD_FLUSH, 0, 0, 0);
	away = server_of(w, 0);
	refuse(server_of(w, 1), NBD_CMD_FLUSH, 1000, ENOMEM);
	fake_server_break(away, false);
	write = world_submit(w, NBD_CMD_WRITE, 0, 0, g21.unit);
	world_settle(w, 500);
	ok(!write->done, "a write waits, and the volume is to stop");
	fake_server_return(away);
	world_settle(w, 500);
	ok(write->done && write->error == 0, "the server is back, nothing has to be confirmed");
	server_of(w, 1)->refusals = 0;
	is_int(end(w), 0, "a question that nobody needs any more: everything is whole in the end");
}

/* All shards of the first extent that can be missed are stale; what the second one has then. */
static uint8_t *none_to_spare(struct world *w, const struct world_geometry *g)
{
	uint8_t *was = malloc(g->unit);

	fill(w);
	for (unsigned i = 0; i < g->m; i++)
		fake_server_break(server_of(w, g->k + i), true);
	volume_set_min(w->v, g->k, false);
	is_int(world_do(w, NBD_CMD_WRITE, 0, 0, 1 << 20), 0, "no other shard can be missed");
	is_int(world_do(w, NBD_CMD_FLUSH, 0, 0, 0), 0, "and what is there is flushed");
	memcpy(was, data_of(w, 1), g->unit);
	return was;
}

/*
 * A write of two shards, of which the first refuses; the second has it, and refuses to undo it. It
 * cannot be marked: all is judged anew, and then it is undone.
 */
static void not_undone(const struct world_geometry *g, uint64_t seed)
{
	struct world *w = begin(g, seed);
	uint8_t *was = none_to_spare(w, g);
	uint32_t stale = first(w)->stale;
	uint64_t fences = w->cluster.calls[8 + WEFT_CMD_FENCE - WEFT_CMD_PREPARE];
	struct world_req *write;

	server_of(w, 0)->fail_prepare = 1;
	server_of(w, 0)->fail_error = ENOMEM;
	refuse(server_of(w, 1), WEFT_CMD_ABORT, 1, EIO);
	write = world_submit(w, NBD_CMD_WRITE, 0, 0, 2 * g->unit);
	world_settle(w, 4000);
	ok(write->done && write->error == ENOMEM, "a write fails that one shard has");
	is_int(server_of(w, 1)->refusals, 0, "and refused to undo");
	ok(w->cluster.calls[8 + WEFT_CMD_FENCE - WEFT_CMD_PREPARE] > fences, "all is judged anew");
	ok(memcmp(was, data_of(w, 1), g->unit) == 0, "and it is undone");
	is_int(first(w)->stale, stale, "no other shard is marked");
	is_int(world_do(w, NBD_CMD_FLUSH, 0, 0, 0), EIO, "what may be lost is told once");
	is_int(world_do(w, NBD_CMD_WRITE, 0, 4096, 4096), 0, "the volume takes writes");
	is_int(world_do(w, NBD_CMD_FLUSH, 0, 0, 0), 0, "and flushes");
	free(was);
	is_int(end(w), 0, "everything is whole in the end");
}

/* The same while the volume stops: the next start has to judge. */
static void not_undone_at_stop(void)
{
	struct world *w = begin(&g21, 5);
	uint8_t *was = none_to_spare(w, &g21);
	struct world_req *write;

	server_of(w, 0)->hung = true;
	refuse(server_of(w, 1), WEFT_CMD_ABORT, 1, EIO);
	write = world_submit(w, NBD_CMD_WRITE, 0, 0, 2 * g21.unit);
	world_settle(w, 0);
	ok(!write->done, "a write is under way");
	server_of(w, 0)->fail_prepare = 1;
	server_of(w, 0)->fail_error = ENOMEM;
	server_of(w, 0)->hung = false;
	world_close(w);
	ok(write->done && write->error != 0, "it fails while the volume stops");
	is_int(server_of(w, 1)->refusals, 0, "and one that has it refused to undo it");
	ok(memcmp(was, data_of(w, 1), g21.unit) != 0, "so it is there");
	world_open(w);
	world_settle(w, 4000);
	ok(memcmp(was, data_of(w, 1), g21.unit) == 0, "until the next start undoes it");
	free(was);
	is_int(end(w), 0, "everything is whole in the end");
}

int main(void)
{
	not_confirmed(&g42);
	not_confirmed(&g21);
	flush_not_confirmed();
	stop_not_confirmed();
	not_undone(&g21, 4);
	not_undone(&g42, 4);
	not_undone_at_stop();
	return done_testing();
}
