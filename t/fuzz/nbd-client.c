/*
 * libFuzzer target: bytes of a hostile server to the NBD client. The first byte chooses whether the
 * handshake has been done, the second seeds the split of the rest.
 */
#include "config.h"

#include "nbd-back.h"
#include "log.h"
#include "nbd/client.h"

#define CALLS	 16
#define IN_BYTES 100000u

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct nbd_call calls[CALLS];
static struct iovec in[CALLS][2];
static uint8_t *memory[CALLS];
static bool waiting[CALLS];
static int closed;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_init("fuzz", LOG_LEVEL_ERROR);
	return 0;
}

static void on_done(struct nbd_call *call, int error)
{
	long i = call - calls;

	assert(waiting[i]);
	waiting[i] = false;
}

static void on_ready(void *ctx, struct nbd_client *c)
{
}

static void on_closed(void *ctx, struct nbd_client *c, int err, const char *why)
{
	closed++;
}

static const struct nbd_client_ops ops = {.ready = on_ready, .closed = on_closed};

/* Reads of all sizes, and private commands. */
static void submit(struct nbd_client *c, int i)
{
	static const uint32_t sizes[] = {1, 4096, 16384, 16400, IN_BYTES, 64};
	uint32_t len = sizes[i % 6];
	struct nbd_call *call = &calls[i];

	memset(call, 0, sizeof(*call));
	memory[i] = malloc(len);
	call->type = i % 6 == 5 ? WEFT_CMD_LIST : NBD_CMD_READ;
	call->len = len;
	call->cmd.reply_len = len;
	in[i][0] = (struct iovec){memory[i], len / 3};
	in[i][1] = (struct iovec){memory[i] + len / 3, len - len / 3};
	call->in = in[i];
	call->nin = 2;
	call->done = on_done;
	waiting[i] = true;
	nbd_client_submit(c, call);
}

static void handshake(struct fake_env *env, struct fake_stream *server, struct fake_stream *st)
{
	size_t n;

	do {
		n = fake_pipe_move(server, st, SIZE_MAX);
		n += fake_pipe_move(st, server, SIZE_MAX);
		n += (size_t)fake_env_run(env);
	} while (n > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t scratch[65536];
	struct fake_stream server, st;
	struct nbd_client *c;
	struct fake_env env;
	struct back back;
	size_t done = 2, n;
	bool ready;

	if (size < 2)
		return 0;
	ready = data[0] & 1;
	closed = 0;
	fake_env_init(&env, data[1]);
	back_init(&back, &env, 64 << 20);
	back.config.ops = &back_ops_plain;
	fake_stream_init(&server);
	fake_stream_init(&st);
	back.session = nbd_session_create(&back.config, &server.stream);
	c = nbd_client_create(&ops, NULL, &env.env, back.auth.secret, &st.stream);
	if (ready)
		handshake(&env, &server, &st);
	for (int i = 0; ready && i < CALLS; i++)
		submit(c, i);
	while (done < size && !st.closing) {
		n = 1 + fake_below(&env, (data[1] & 1) ? 40 : 70000);
		n = n < size - done ? n : size - done;
		n = fake_stream_feed(&st, data + done, n, 1 + fake_below(&env, 5000));
		if (n == 0)
			break;
		done += n;
		if (fake_below(&env, 2))
			fake_stream_take(&st, scratch, fake_below(&env, sizeof(scratch)));
	}
	if (data[1] & 2)
		nbd_client_close(c);
	fake_stream_break(&st, 0);
	fake_stream_break(&server, 0);
	fake_env_run(&env);
	assert(closed == 1);
	for (int i = 0; ready && i < CALLS; i++) {
		assert(!waiting[i]);
		free(memory[i]);
	}
	back_destroy(&back);
	return 0;
}
