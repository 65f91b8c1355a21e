/* The client engine against the server's session, in memory: every command, broken anywhere. */
#include "config.h"

#include <stdlib.h>
#include <unistd.h>

#include "nbd-back.h"
#include "nbd/client.h"
#include "tap.h"

#define CALLS_MAX 600

struct world {
	struct fake_env env;
	struct back back;
	struct fake_stream server, client_end;
	struct nbd_client *client;
	int ready, closed, closed_err;
	char why[256];
	struct nbd_call calls[CALLS_MAX];
	struct iovec in[CALLS_MAX][2], out[CALLS_MAX][2];
	uint8_t *data[CALLS_MAX];
	int error[CALLS_MAX]; /* -1: not done */
	int done;
	bool in_submit;
};

static struct world *the_world;

static void on_ready(void *ctx, struct nbd_client *c)
{
	struct world *w = ctx;

	w->ready++;
}

static void on_closed(void *ctx, struct nbd_client *c, int err, const char *why)
{
	struct world *w = ctx;

	w->closed++;
	w->closed_err = err;
	snprintf(w->why, sizeof(w->why), "%s", why != NULL ? why : "");
	w->client = NULL;
}

static const struct nbd_client_ops client_ops = {.ready = on_ready, .closed = on_closed};

static void on_done(struct nbd_call *call, int error)
{
	struct world *w = the_world;
	long i = call - w->calls;

	assert(!w->in_submit && i >= 0 && i < CALLS_MAX && w->error[i] == -1);
	w->error[i] = error;
	w->done++;
}

static void world_start(struct world *w, uint64_t seed, uint8_t secret_byte)
{
	uint8_t secret[WEFT_SECRET_BYTES];

	memset(w, 0, sizeof(*w));
	the_world = w;
	fake_env_init(&w->env, seed);
	back_init(&w->back, &w->env, 64 << 20);
	w->back.config.ops = &back_ops_plain;
	fake_stream_init(&w->server);
	fake_stream_init(&w->client_end);
	memset(secret, secret_byte, sizeof(secret));
	w->back.session = nbd_session_create(&w->back.config, &w->server.stream);
	w->client = nbd_client_create(&client_ops, w, &w->env.env, secret, &w->client_end.stream);
}

/* Move bytes both ways, up to step at a time, until nothing moves. Returns the bytes. */
static size_t world_move(struct world *w, size_t step)
{
	size_t all = 0, n;

	do {
		n = fake_pipe_move(&w->server, &w->client_end, step);
		n += fake_pipe_move(&w->client_end, &w->server, step);
		n += (size_t)fake_env_run(&w->env);
		all += n;
	} while (n > 0);
	return all;
}

static void world_break(struct world *w)
{
	fake_stream_break(&w->client_end, -ECONNRESET);
	fake_stream_break(&w->server, -ECONNRESET);
	fake_env_run(&w->env);
}

static void world_end(struct world *w)
{
	world_break(w);
	while (w->back.nheld > 0)
		back_answer(&w->back, 0);
	for (int i = 0; i < CALLS_MAX; i++)
		free(w->data[i]);
	back_destroy(&w->back);
}

static struct nbd_call *call_make(struct world *w, int i, uint16_t type, uint64_t offset,
				  uint32_t len_in, uint32_t len_out)
{
	struct nbd_call *call = &w->calls[i];
	uint32_t half_in = len_in > 1 ? len_in / 3 : 0, half_out = len_out / 2;

	w->data[i] = malloc(len_in + len_out + 1);
	memset(w->data[i], 0xee, len_in + len_out + 1);
	for (uint32_t b = 0; b < len_out; b++)
		w->data[i][len_in + b] = (uint8_t)(b * 7 + (uint32_t)i);
	w->in[i][0] = (struct iovec){w->data[i], half_in};
	w->in[i][1] = (struct iovec){w->data[i] + half_in, len_in - half_in};
	w->out[i][0] = (struct iovec){w->data[i] + len_in, half_out};
	w->out[i][1] = (struct iovec){w->data[i] + len_in + half_out, len_out - half_out};
	w->error[i] = -1;
	call->type = type;
	call->offset = offset;
	call->len = type == NBD_CMD_READ ? len_in : 0;
	call->cmd.reply_len = type == NBD_CMD_READ ? 0 : len_in;
	call->in = w->in[i];
	call->nin = 2;
	call->out = w->out[i];
	call->nout = len_out > 0 ? 2 : 0;
	call->done = on_done;
	return call;
}

static void call_submit(struct world *w, struct nbd_call *call)
{
	w->in_submit = true;
	nbd_client_submit(w->client, call);
	w->in_submit = false;
}

static void submit_read(struct world *w, int i, uint64_t offset, uint32_t len)
{
	call_submit(w, call_make(w, i, NBD_CMD_READ, offset, len, 0));
}

static void submit_prepare(struct world *w, int i, uint64_t offset, int blocks, bool want_old)
{
	uint32_t bytes = (uint32_t)blocks * WEFT_BLOCK_BYTES;
	struct nbd_call *call =
		call_make(w, i, WEFT_CMD_PREPARE, offset, want_old ? bytes : 0, bytes);

	call->cmd.blocks = blocks == 64 ? UINT64_MAX : (1ULL << blocks) - 1;
	call->cmd.flags = want_old ? WEFT_FLAG_WANT_OLD : 0;
	call->cmd.tx = 0x0102030405060708ULL;
	call->cmd.volume = 9;
	call->cmd.epoch = 10;
	call->cmd.slot_gen = 11;
	call->cmd.participants = 12;
	call_submit(w, call);
}

static bool read_right(const struct world *w, int i)
{
	return w->error[i] == 0 &&
	       memcmp(w->data[i], w->back.disk + w->calls[i].offset, w->calls[i].len) == 0;
}

static void test_handshake(void)
{
	static struct world w;

	world_start(&w, 1, 7);
	world_move(&w, SIZE_MAX);
	is_int(w.ready, 1, "client and server agree");
	is_int(nbd_client_peer(w.client)->size, BACK_BYTES, "the client knows the size");
	is_int(nbd_client_peer(w.client)->boot[0], 3, "and the server's identity");
	is_str(nbd_client_peer(w.client)->description, "bytes in memory", "and what it says of it");
	is_int(nbd_client_oldest_ns(w.client), 0, "no call waits");
	nbd_client_close(w.client);
	world_move(&w, SIZE_MAX);
	ok(w.server.closing, "the server sees the good-bye");
	fake_stream_break(&w.client_end, 0);
	ok(w.closed == 1 && w.closed_err == 0 && w.why[0] == '\0', "an orderly end has no why");
	world_end(&w);

	world_start(&w, 1, 7);
	w.back.description = NULL;
	world_move(&w, SIZE_MAX);
	is_int(w.ready, 1, "an older server says nothing of its export");
	is_str(nbd_client_peer(w.client)->description, "", "which does not matter");
	world_end(&w);

	world_start(&w, 2, 8);
	world_move(&w, SIZE_MAX);
	world_break(&w);
	ok(w.ready == 0 && w.closed_err == -EACCES && strstr(w.why, "another cluster"),
	   "a server with another secret is refused");
	is_int(w.back.opened, 0, "and opened nothing");
	world_end(&w);

	world_start(&w, 3, 7);
	w.back.config.auth = NULL;
	fake_stream_break(&w.server, 0);
	fake_stream_init(&w.server);
	w.back.session = nbd_session_create(&w.back.config, &w.server.stream);
	world_move(&w, SIZE_MAX);
	world_break(&w);
	ok(w.ready == 0 && strstr(w.why, "not a weft storage server"),
	   "a plain NBD server is told apart");
	world_end(&w);

	world_start(&w, 4, 7);
	fake_env_advance(&w.env, 11 * NS_PER_S);
	ok(w.client_end.closing, "a silent server runs into the deadline");
	world_break(&w);
	ok(w.closed_err == -ETIMEDOUT, "which is reported");
	world_end(&w);

	world_start(&w, 5, 7);
	fake_stream_feed(&w.client_end, "HTTP/1.1 400 Bad Request\r\n", 26, SIZE_MAX);
	ok(w.client_end.err < 0, "something else than NBD is refused");
	world_break(&w);
	ok(strstr(w.why, "not an NBD server") != NULL, "with a sentence");
	world_end(&w);
}

static void test_commands(size_t step, const char *name)
{
	static struct world w;
	bool good;
	char text[100];

	world_start(&w, step, 7);
	world_move(&w, step);
	submit_read(&w, 0, 0, 1);
	submit_read(&w, 1, 4096, 4096);
	submit_read(&w, 2, 12345, 300000);
	call_submit(&w, call_make(&w, 3, NBD_CMD_FLUSH, 0, 0, 0));
	call_submit(&w, call_make(&w, 4, WEFT_CMD_STAT, 0, sizeof(struct weft_stat), 0));
	call_submit(&w, call_make(&w, 5, WEFT_CMD_FENCE, 0, 16, 0));
	submit_read(&w, 6, 1, 16385);
	world_move(&w, step);
	good = w.done == 7 && w.error[3] == 0 && w.error[4] == 0 && w.error[5] == 0;
	for (int i = 0; i < 7; i++)
		if (w.calls[i].type == NBD_CMD_READ)
			good = good && read_right(&w, i);
	snprintf(text, sizeof(text), "reads and private commands, %s", name);
	ok(good, text);
	submit_prepare(&w, 10, 8192, 64, false);
	world_move(&w, step);
	good = w.error[10] == 0 && memcmp(w.back.disk + 8192, w.data[10], 64 * 4096) == 0;
	submit_prepare(&w, 11, 4096, 3, true);
	world_move(&w, step);
	good = good && w.error[11] == 0 && w.back.last_cmd.tx == 0x0102030405060708ULL &&
	       w.back.last_cmd.volume == 9 && w.back.last_cmd.epoch == 10 &&
	       w.back.last_cmd.slot_gen == 11 && w.back.last_cmd.participants == 12 &&
	       w.back.last_cmd.reply_len == 12288;
	snprintf(text, sizeof(text), "payloads arrive, %s", name);
	ok(good, text);
	submit_read(&w, 20, BACK_BYTES - 1, 2);
	w.calls[21].flags = 0;
	submit_prepare(&w, 21, 1, 1, false);
	submit_prepare(&w, 22, BACK_BYTES - 4096, 2, false);
	submit_read(&w, 23, 0, 100);
	world_move(&w, step);
	good = w.error[20] == EINVAL && w.error[21] == EINVAL && w.error[22] == EINVAL &&
	       read_right(&w, 23);
	snprintf(text, sizeof(text), "refused calls leave the stream whole, %s", name);
	ok(good, text);
	w.back.fail = EBADMSG;
	submit_read(&w, 30, 0, 4096);
	world_move(&w, step);
	w.back.fail = ESTALE;
	submit_prepare(&w, 31, 0, 1, false);
	world_move(&w, step);
	ok(w.error[30] == (int)WEFT_EBADMSG && w.error[31] == (int)WEFT_ESTALE,
	   "private errors arrive");
	world_end(&w);
}

static void test_many(uint64_t seed)
{
	static struct world w;
	bool good = true;

	world_start(&w, seed, 7);
	world_move(&w, SIZE_MAX);
	w.back.hold = true;
	for (int i = 0; i < CALLS_MAX; i++) {
		if (i % 3 == 0)
			submit_prepare(&w, i, 0, 1 + (int)fake_below(&w.env, 20), i % 2 == 0);
		else
			submit_read(&w, i, fake_below(&w.env, BACK_BYTES / 2),
				    1 + fake_below(&w.env, i % 5 == 0 ? 400000 : 9000));
		w.env.now_ns++;
	}
	is_int(nbd_client_oldest_ns(w.client), w.calls[0].start_ns, "the oldest call is known");
	for (int round = 0; round < 1000000 && w.done < CALLS_MAX; round++) {
		size_t step = 1 + fake_below(&w.env, 100000);

		fake_pipe_move(&w.server, &w.client_end, step);
		fake_pipe_move(&w.client_end, &w.server, step);
		fake_env_run(&w.env);
		assert(w.back.nheld <= NBD_INFLIGHT_MAX);
		if (w.back.nheld > 0 && fake_below(&w.env, 2))
			back_answer(&w.back, (int)fake_below(&w.env, (uint32_t)w.back.nheld));
		fake_env_advance(&w.env, 1000);
	}
	for (int i = 0; i < CALLS_MAX; i++)
		good = good && w.error[i] == 0;
	ok(good && w.done == CALLS_MAX, "many calls, answered in any order");
	is_int(nbd_client_oldest_ns(w.client), 0, "none is left");
	world_end(&w);
}

/* Break the connection after each possible number of moved bytes. */
static void test_broken(void)
{
	static struct world w;
	bool good = true;
	size_t at;

	for (at = 0; at < 40000 && good; at += at < 1200 ? 1 : 211) {
		size_t moved = 0, n = 1;
		bool submitted = false;

		world_start(&w, at, 7);
		w.back.hold = at % 3 == 1;
		while (moved < at && n > 0) {
			n = fake_pipe_move(&w.server, &w.client_end, at - moved < 7 ? 1 : 7);
			n += fake_pipe_move(&w.client_end, &w.server, at - moved < 7 ? 1 : 7);
			fake_env_run(&w.env);
			moved += n;
			if (w.ready && !submitted) {
				submitted = true;
				submit_read(&w, 0, 0, 100);
				submit_prepare(&w, 1, 0, 5, true);
				submit_read(&w, 2, 0, 20000);
				n = 1;
			}
			if (w.back.nheld == 2 && at % 2)
				back_answer(&w.back, 1);
		}
		world_break(&w);
		good = w.closed == 1 && w.back.closed == 1 && w.done == (submitted ? 3 : 0);
		for (int i = 0; submitted && i < 3; i++)
			good = good && (w.error[i] == 0 || w.error[i] == -ENOTCONN);
		world_end(&w);
	}
	if (!good)
		diag("broken after %zu bytes", at);
	ok(good, "broken anywhere, every call is done once and nothing leaks");
}

/* Bytes from a server that breaks the rules, once the client is ready. */
static void refused(const void *bytes, size_t len, int err, const char *name)
{
	static struct world w;

	world_start(&w, 1, 7);
	world_move(&w, SIZE_MAX);
	submit_read(&w, 0, 0, 100);
	submit_read(&w, 1, 0, 100);
	fake_stream_feed(&w.client_end, bytes, len, SIZE_MAX);
	ok(w.client_end.err == err && w.done == 0, name);
	world_break(&w);
	ok(w.done == 2 && w.error[0] == -ENOTCONN && w.error[1] == -ENOTCONN && w.why[0] != '\0',
	   "the calls end, and why is known");
	world_end(&w);
}

static void test_rules(void)
{
	struct nbd_simple_reply r[2];

	memset(r, 0, sizeof(r));
	r[0].magic = htobe32(NBD_STRUCTURED_REPLY_MAGIC);
	r[0].cookie = htobe64(1);
	refused(r, sizeof(r[0]), -EPROTO, "a reply with another magic is refused");
	r[0].magic = htobe32(NBD_SIMPLE_REPLY_MAGIC);
	r[0].cookie = htobe64(3);
	refused(r, sizeof(r[0]), -EPROTO, "a reply to no call is refused");
	r[0].cookie = htobe64(1);
	r[0].error = htobe32(5);
	r[1] = r[0];
	refused(r, sizeof(r), -EPROTO, "a second reply to a call is refused");
	r[0].error = htobe32(UINT32_MAX);
	refused(r, sizeof(r[0]), -EPROTO, "an error that is none is refused");
	r[0].error = htobe32(NBD_ESHUTDOWN);
	refused(r, sizeof(r[0]), -ESHUTDOWN, "a server that shuts down is as good as gone");
}

int main(void)
{
	alarm(120);
	test_handshake();
	test_commands(SIZE_MAX, "all at once");
	test_commands(1, "byte by byte");
	test_commands(1000, "in pieces");
	for (uint64_t seed = 1; seed <= 5; seed++)
		test_many(seed);
	test_broken();
	test_rules();
	return done_testing();
}
