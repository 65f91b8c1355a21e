/*
 * libFuzzer target: bytes of a hostile client to the NBD session. The first byte chooses how far
 * the connection has come and how the back end behaves, the second seeds the split of the rest.
 */
#include "config.h"

#define PEER_POOL_BYTES (36u << 20) /* the sanitizer makes large memory slow */
#include "nbd-peer.h"
#include "log.h"

#define FUZZ_START	 0x03 /* 0 nothing yet, 1 plain, 2 structured, 3 private */
#define FUZZ_HOLES	 0x04
#define FUZZ_HOLD	 0x08
#define FUZZ_SMALL_POOL	 0x10
#define FUZZ_SLOW_READER 0x20

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_init("fuzz", LOG_LEVEL_ERROR);
	return 0;
}

static void drain(struct peer *p, size_t max)
{
	static uint8_t scratch[1 << 20];

	while (max > 0) {
		size_t want = max < sizeof(scratch) ? max : sizeof(scratch);
		size_t n = fake_stream_take(&p->st, scratch, want);

		if (n == 0)
			break;
		max -= n;
	}
	fake_env_run(&p->env);
}

static void start(struct peer *p, uint8_t mode)
{
	switch (mode & FUZZ_START) {
	case 0:
		peer_start(p, NULL, SIZE_MAX);
		break;
	case 1:
		peer_open(p, false, false);
		break;
	case 2:
		peer_open(p, true, true);
		break;
	default:
		peer_open_private(p);
	}
	p->back.holes = mode & FUZZ_HOLES;
	p->back.hold = mode & FUZZ_HOLD;
}

static void release(struct buf **hog)
{
	struct buf *b = *hog;

	*hog = b->next;
	buf_put(b);
}

/* Nothing was taken: let something change. False: nothing can. */
static bool unblock(struct peer *p, struct buf **hog, bool slow)
{
	if (p->back.nheld > 0) {
		back_answer(&p->back, 0);
	} else if (*hog != NULL) {
		release(hog);
		fake_env_advance(&p->env, NS_PER_S);
	} else if (slow) {
		drain(p, SIZE_MAX);
	} else {
		return false;
	}
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct peer p;
	struct buf *hog = NULL, *b;
	size_t done = 2;
	bool slow;

	if (size < 2)
		return 0;
	slow = data[0] & FUZZ_SLOW_READER;
	start(&p, data[0]);
	p.env.random = data[1];
	while ((data[0] & FUZZ_SMALL_POOL) && (b = buf_get(p.back.pool, NBD_PAYLOAD_MAX)) != NULL) {
		b->next = hog;
		hog = b;
	}
	while (!p.st.closing && done < size) {
		size_t n = 1 + fake_below(&p.env, (data[1] & 1) ? 40 : 70000);

		n = n < size - done ? n : size - done;
		n = fake_stream_feed(&p.st, data + done, n, 1 + fake_below(&p.env, 5000));
		done += n;
		drain(&p, slow ? fake_below(&p.env, 100) : SIZE_MAX);
		if (p.back.nheld > 0 && fake_below(&p.env, 2))
			back_answer(&p.back, (int)fake_below(&p.env, (uint32_t)p.back.nheld));
		if (n == 0 && !unblock(&p, &hog, slow))
			break;
		slow = slow && n > 0;
	}
	/* what waits is answered before or after the end of the connection */
	while ((data[1] & 2) && p.back.nheld > 0)
		back_answer(&p.back, 0);
	while (hog != NULL)
		release(&hog);
	drain(&p, SIZE_MAX);
	peer_end(&p);
	return 0;
}
