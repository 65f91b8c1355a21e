/* The server's session: every command, every refusal, in every split of the bytes. */
#include "config.h"

#include <stdlib.h>
#include <unistd.h>

#include "nbd-peer.h"
#include "tap.h"

static struct peer p;

/* ---- commands ------------------------------------------------------------------------------ */

static void request_is(uint16_t type, uint16_t flags, uint64_t offset, uint32_t len, uint32_t error,
		       const char *name)
{
	struct answer a;
	int before = p.back.requests;

	peer_request(&p, type, flags, offset, len);
	a = peer_reply(&p, type == NBD_CMD_READ ? len : 0);
	is_int(a.error, error, name);
	if (a.cookie != p.cookie || !peer_quiet(&p) || p.st.closing)
		ok(false, "the answer is for the request, and the stream goes on");
	if ((p.back.requests != before) != (error == 0 && len > 0) && type != NBD_CMD_FLUSH)
		ok(false, "the back end sees what is valid and nothing else");
}

/* The payload goes with it. */
static void write_is(uint16_t flags, uint64_t offset, uint32_t len, uint32_t error,
		     const char *name)
{
	static uint8_t payload[NBD_PAYLOAD_MAX];
	int before = p.back.requests;
	struct answer a;

	memset(payload, (int)p.cookie, len);
	peer_request(&p, NBD_CMD_WRITE, flags, offset, len);
	peer_say(&p, payload, len);
	peer_collect(&p);
	a = peer_reply(&p, 0);
	ok(a.cookie == p.cookie && a.error == error && a.data != NULL && peer_quiet(&p) &&
		   p.back.requests - before == (error == 0),
	   name);
	if (error == 0 && offset + len <= BACK_BYTES)
		ok(memcmp(p.back.disk + offset, payload, len) == 0, "and arrives");
}

static void test_commands(bool structured)
{
	struct answer a;

	peer_open(&p, structured, structured);
	peer_request(&p, NBD_CMD_READ, 0, 4097, 10000);
	a = peer_reply(&p, 10000);
	if (structured)
		ok(a.type == NBD_REPLY_TYPE_OFFSET_DATA && a.flags == NBD_REPLY_FLAG_DONE &&
			   a.len == 10008 && nbd_get64(a.data) == 4097 &&
			   memcmp(a.data + 8, p.back.disk + 4097, 10000) == 0,
		   "READ is one structured chunk");
	else
		ok(a.len == 10000 && memcmp(a.data, p.back.disk + 4097, 10000) == 0,
		   "READ gives the bytes, wherever they start");
	request_is(NBD_CMD_READ, 0, 0, 0, 0, "READ of nothing");
	request_is(NBD_CMD_READ, NBD_CMD_FLAG_FUA, 0, 1, 0, "READ with FUA");
	request_is(NBD_CMD_READ, 0, BACK_BYTES, 1, NBD_EINVAL, "READ past the end");
	request_is(NBD_CMD_READ, 0, UINT64_MAX, 2, NBD_EINVAL,
		   "READ with an offset that overflows");
	request_is(NBD_CMD_READ, 0x8000, 0, 1, NBD_EINVAL, "READ with an unknown flag");
	request_is(NBD_CMD_READ, NBD_CMD_FLAG_REQ_ONE, 0, 1, NBD_EINVAL, "READ with a wrong flag");
	request_is(NBD_CMD_READ, NBD_CMD_FLAG_DF, 0, 1, structured ? 0 : NBD_EINVAL,
		   "READ with DF, for structured replies only");
	write_is(0, 10, 1, 0, "WRITE of a byte");
	write_is(NBD_CMD_FLAG_FUA, 100, 16384, 0, "WRITE through the input buffer");
	is_int(p.back.last_flags, NBD_CMD_FLAG_FUA, "FUA reaches the back end");
	write_is(0, 1, 16385, 0, "WRITE into its own memory");
	write_is(0, 3, 1000000, 0, "WRITE of a megabyte");
	write_is(0, BACK_BYTES - 1, 2, NBD_ENOSPC, "WRITE past the end");
	write_is(0, BACK_BYTES - 1, 500000, NBD_ENOSPC, "a large WRITE past the end is skipped");
	write_is(NBD_CMD_FLAG_DF, 0, 4096, NBD_EINVAL, "WRITE with a wrong flag");
	request_is(NBD_CMD_WRITE, 0, 0, 0, 0, "WRITE of nothing");
	request_is(NBD_CMD_WRITE_ZEROES, 0, 10, 5000, 0, "WRITE_ZEROES");
	ok(p.back.disk[10] == 0 && p.back.disk[5009] == 0, "writes zeros");
	request_is(NBD_CMD_WRITE_ZEROES,
		   NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO | NBD_CMD_FLAG_FUA, 10, 1, 0,
		   "WRITE_ZEROES with all its flags");
	request_is(NBD_CMD_WRITE_ZEROES, 0, 1, BACK_BYTES, NBD_ENOSPC, "WRITE_ZEROES past the end");
	request_is(NBD_CMD_TRIM, NBD_CMD_FLAG_FUA, 0, BACK_BYTES, 0, "TRIM of everything");
	request_is(NBD_CMD_TRIM, 0, 1, BACK_BYTES, NBD_EINVAL, "TRIM past the end");
	request_is(NBD_CMD_TRIM, NBD_CMD_FLAG_NO_HOLE, 0, 1, NBD_EINVAL, "TRIM with a wrong flag");
	request_is(NBD_CMD_CACHE, 0, 0, 4096, 0, "CACHE");
	request_is(NBD_CMD_CACHE, 0, BACK_BYTES, 1, NBD_EINVAL, "CACHE past the end");
	request_is(NBD_CMD_FLUSH, 0, 0, 0, 0, "FLUSH");
	request_is(NBD_CMD_FLUSH, NBD_CMD_FLAG_FUA, 0, 0, 0, "FLUSH with FUA");
	request_is(NBD_CMD_FLUSH, 0, 0, 1, NBD_EINVAL, "FLUSH with a range");
	request_is(8, 0, 0, 1, NBD_EINVAL, "an unknown command, without a payload");
	request_is(WEFT_CMD_STAT, 0, 0, 1, NBD_EINVAL, "private commands are unknown here");
	request_is(0xffff, 0xffff, UINT64_MAX, UINT32_MAX, NBD_EINVAL, "everything wrong");
	if (!structured)
		request_is(NBD_CMD_BLOCK_STATUS, 0, 0, 1, NBD_EINVAL,
			   "BLOCK_STATUS has to be negotiated");
	peer_request(&p, NBD_CMD_DISC, 0, 0, 0);
	ok(p.st.closing && peer_quiet(&p), "DISC closes without an answer");
	peer_end(&p);
}

static void test_errors(void)
{
	static const struct {
		int error;
		uint32_t wire;
	} table[] = {
		{EPERM, 1},	  {EROFS, 1},	{EIO, 5},	 {ENOMEM, 12},	   {EINVAL, 22},
		{ENOSPC, 28},	  {EDQUOT, 28}, {EFBIG, 28},	 {ENOENT, 5},	   {EBADMSG, 5},
		{ESHUTDOWN, 108}, {ESTALE, 5},	{EOVERFLOW, 22}, {EOPNOTSUPP, 22}, {9999, 5},
	};
	struct answer a;

	peer_open(&p, true, false);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char name[64];

		p.back.fail = table[i].error;
		peer_request(&p, NBD_CMD_READ, 0, 0, 1);
		a = peer_reply(&p, 0);
		snprintf(name, sizeof(name), "errno %d is told as %u", table[i].error,
			 table[i].wire);
		ok(a.type == NBD_REPLY_TYPE_ERROR && a.flags == NBD_REPLY_FLAG_DONE &&
			   a.error == table[i].wire && nbd_get16(a.data + 4) == a.len - 6 &&
			   a.len > 6,
		   name);
	}
	p.back.fail = EOVERFLOW;
	peer_request(&p, NBD_CMD_READ, NBD_CMD_FLAG_DF, 0, 1);
	is_int(peer_reply(&p, 0).error, NBD_EOVERFLOW, "EOVERFLOW is for DF");
	p.back.fail = EOPNOTSUPP;
	peer_request(&p, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_FAST_ZERO, 0, 1);
	is_int(peer_reply(&p, 0).error, NBD_ENOTSUP, "ENOTSUP is for FAST_ZERO");
	is_int(nbd_errno(EBADMSG, true), WEFT_EBADMSG, "a private export tells of bad checksums");
	is_int(nbd_errno(0, true), 0, "no error is no error");
	peer_end(&p);

	peer_hello(&p, NBD_FLAG_FIXED_NEWSTYLE);
	p.back.flags = NBD_FLAG_READ_ONLY | NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES;
	peer_go(&p, "mem");
	p.at = p.got_len;
	write_is(0, 0, 70000, NBD_EPERM, "WRITE to a read-only export");
	request_is(NBD_CMD_TRIM, 0, 0, 1, NBD_EPERM, "TRIM of a read-only export");
	request_is(NBD_CMD_WRITE_ZEROES, 0, 0, 1, NBD_EPERM, "WRITE_ZEROES to a read-only export");
	request_is(NBD_CMD_FLUSH, 0, 0, 0, NBD_EINVAL, "FLUSH that was not offered");
	request_is(NBD_CMD_READ, NBD_CMD_FLAG_FUA, 0, 1, NBD_EINVAL, "FUA that was not offered");
	request_is(NBD_CMD_READ, 0, 0, 1, 0, "READ of a read-only export");
	peer_end(&p);

	peer_hello(&p, NBD_FLAG_FIXED_NEWSTYLE);
	p.back.min_block = 512;
	p.back.max_block = 65536;
	peer_go(&p, "mem");
	p.at = p.got_len;
	request_is(NBD_CMD_READ, 0, 512, 513, NBD_EINVAL, "half a block");
	request_is(NBD_CMD_READ, 0, 1, 512, NBD_EINVAL, "between blocks");
	request_is(NBD_CMD_READ, 0, 0, 65536 + 512, NBD_EINVAL, "more than the maximum");
	write_is(0, 0, 65536 + 512, NBD_EINVAL, "also for WRITE");
	request_is(NBD_CMD_TRIM, 0, 0, 65536 * 2, 0, "which does not hold for TRIM");
	nbd_session_set_size(p.back.session, 4096);
	write_is(0, 4096, 512, NBD_ENOSPC, "a new size holds at once");
	peer_end(&p);
}

static void test_structured(void)
{
	uint32_t covered = 0;
	struct answer a;
	int chunks = 0;
	bool good = true;

	peer_open(&p, true, true);
	p.back.holes = true;
	peer_request(&p, NBD_CMD_READ, 0, 1000, 30000);
	do {
		a = peer_reply(&p, 0);
		chunks++;
		good = good && a.data != NULL && nbd_get64(a.data) == 1000 + covered;
		if (a.type == NBD_REPLY_TYPE_OFFSET_DATA) {
			good = good &&
			       memcmp(a.data + 8, p.back.disk + 1000 + covered, a.len - 8) == 0;
			covered += a.len - 8;
		} else if (a.type == NBD_REPLY_TYPE_OFFSET_HOLE) {
			good = good && a.len == 12;
			covered += nbd_get32(a.data + 8);
		} else {
			good = false;
		}
	} while (good && !(a.flags & NBD_REPLY_FLAG_DONE));
	ok(good && covered == 30000 && chunks == 8 && peer_quiet(&p),
	   "READ of data and holes comes in chunks");
	peer_request(&p, NBD_CMD_READ, NBD_CMD_FLAG_DF, 0, 16384);
	a = peer_reply(&p, 0);
	good = a.type == NBD_REPLY_TYPE_OFFSET_DATA && a.len == 16392;
	for (int i = 0; good && i < 4096; i++)
		good = a.data[8 + 4096 + i] == 0;
	ok(good && peer_quiet(&p), "with DF in one");
	p.back.holes = false;
	peer_request(&p, NBD_CMD_BLOCK_STATUS, 0, 4096, 8192);
	a = peer_reply(&p, 0);
	ok(a.type == NBD_REPLY_TYPE_BLOCK_STATUS && a.flags == NBD_REPLY_FLAG_DONE && a.len == 20 &&
		   nbd_get32(a.data) == 1 && nbd_get32(a.data + 4) == 4096 &&
		   nbd_get32(a.data + 8) == 0 && nbd_get32(a.data + 12) == 4096 &&
		   nbd_get32(a.data + 16) == 3,
	   "BLOCK_STATUS tells extents");
	peer_request(&p, NBD_CMD_BLOCK_STATUS, NBD_CMD_FLAG_REQ_ONE, 4096, 8192);
	is_int(peer_reply(&p, 0).len, 12, "REQ_ONE one of them");
	request_is(NBD_CMD_BLOCK_STATUS, 0, 4096, 0, NBD_EINVAL, "BLOCK_STATUS of nothing");
	request_is(NBD_CMD_BLOCK_STATUS, 0, 4096, BACK_BYTES, NBD_EINVAL,
		   "BLOCK_STATUS past the end");
	peer_request(&p, NBD_CMD_FLUSH, 0, 0, 0);
	a = peer_reply(&p, 0);
	ok(a.type == NBD_REPLY_TYPE_NONE && a.flags == NBD_REPLY_FLAG_DONE && a.len == 0,
	   "other commands have an empty chunk");
	peer_end(&p);

	peer_open(&p, false, false);
	p.back.size = 1ULL << 40;
	nbd_session_set_size(p.back.session, p.back.size);
	p.back.holes = true;
	peer_request(&p, NBD_CMD_READ, 0, 0, NBD_PAYLOAD_MAX);
	a = peer_reply(&p, NBD_PAYLOAD_MAX);
	ok(a.error == 0 && a.data != NULL && peer_quiet(&p) &&
		   memcmp(a.data, p.back.disk, 4096) == 0 && a.data[4096] == 0,
	   "32 MiB in 8192 pieces");
	p.back.holes = false;
	write_is(0, 1 << 20, NBD_PAYLOAD_MAX, 0, "WRITE of 32 MiB");
	request_is(NBD_CMD_READ, 0, 0, NBD_PAYLOAD_MAX + 1, NBD_EINVAL, "READ of more than that");
	peer_request(&p, NBD_CMD_WRITE, 0, 0, NBD_PAYLOAD_MAX + 1);
	ok(p.st.err < 0, "WRITE of more than that ends the connection");
	peer_end(&p);

	peer_open(&p, false, false);
	peer_say(&p, "\x25\x60\x95\x14 and so on for 28 bytes", 28);
	ok(p.st.err < 0, "so does a request with a wrong magic");
	peer_end(&p);
}

/* ---- private commands ---------------------------------------------------------------------- */

static void private_is(uint16_t type, uint64_t offset, const struct weft_cmd *cmd, uint32_t len,
		       uint32_t error, const char *name)
{
	uint8_t payload[sizeof(*cmd) + 32768] = {0};
	int before = p.back.requests;
	struct weft_cmd wire = *cmd;
	struct answer a;

	wire.blocks = htobe64(cmd->blocks);
	wire.reply_len = htobe32(cmd->reply_len);
	memcpy(payload, &wire, sizeof(wire));
	peer_request(&p, type, 0, offset, (uint32_t)sizeof(wire) + len);
	peer_say(&p, payload, sizeof(wire) + len);
	peer_collect(&p);
	a = peer_reply(&p, cmd->reply_len);
	ok(a.type == NBD_SIMPLE_REPLY_MAGIC && a.error == error && a.cookie == p.cookie &&
		   peer_quiet(&p) && p.back.requests - before == (error == 0),
	   name);
}

static void test_private(void)
{
	struct weft_cmd c = {0};

	peer_open_private(&p);
	is_int(p.back.opened, 1, "the private export opens after the proof");
	private_is(WEFT_CMD_COMMIT, 0, &c, 0, 0, "COMMIT");
	private_is(WEFT_CMD_ABORT, 0, &c, 0, 0, "ABORT");
	private_is(WEFT_CMD_DISCARD, 0, &c, 0, 0, "DISCARD");
	private_is(WEFT_CMD_COMMIT, 0, &c, 1, NBD_EINVAL, "COMMIT with data");
	private_is(WEFT_CMD_STAT, 0, &c, 0, NBD_EINVAL, "STAT without room for the answer");
	c.reply_len = sizeof(struct weft_stat);
	private_is(WEFT_CMD_STAT, 0, &c, 0, 0, "STAT");
	private_is(WEFT_CMD_COMMIT, 0, &c, 0, NBD_EINVAL, "COMMIT that wants an answer");
	c.reply_len = sizeof(struct weft_fence_reply);
	private_is(WEFT_CMD_FENCE, 0, &c, 0, 0, "FENCE");
	c.reply_len = sizeof(struct weft_slot_reply);
	private_is(WEFT_CMD_LABEL, 0, &c, sizeof(struct weft_label), 0, "LABEL");
	private_is(WEFT_CMD_LABEL, 0, &c, 1, NBD_EINVAL, "half a LABEL");
	c.reply_len = 32 + 5 * sizeof(struct weft_list_entry);
	private_is(WEFT_CMD_LIST, 0, &c, 0, 0, "LIST");
	c.reply_len = 31;
	private_is(WEFT_CMD_LIST, 0, &c, 0, NBD_EINVAL, "LIST without room");
	c.reply_len = 32 + 3 * sizeof(struct weft_label_entry);
	private_is(WEFT_CMD_LABELS, 0, &c, 0, 0, "LABELS");
	c.reply_len = UINT32_MAX;
	private_is(WEFT_CMD_LABELS, 0, &c, 0, NBD_EINVAL, "LABELS without end");
	c.reply_len = 0;
	private_is(WEFT_CMD_MEMBERS, 0, &c, 0, 0, "MEMBERS of nobody");
	private_is(WEFT_CMD_MEMBERS, 0, &c, 16 * WEFT_MEMBERS_MAX, 0, "MEMBERS");
	private_is(WEFT_CMD_MEMBERS, 0, &c, 15, NBD_EINVAL, "half a member");
	private_is(WEFT_CMD_MEMBERS, 0, &c, 16 * WEFT_MEMBERS_MAX + 16, NBD_EINVAL,
		   "too many members");
	private_is(0x57ff, 0, &c, 100, NBD_EINVAL, "an unknown private command is skipped");
	c.blocks = 5;
	private_is(WEFT_CMD_PREPARE, 4096, &c, 8192, 0, "PREPARE");
	is_int(p.back.last_len, 8192, "has its data without the head");
	private_is(WEFT_CMD_PREPARE, 4096, &c, 4096, NBD_EINVAL, "PREPARE with too little data");
	private_is(WEFT_CMD_PREPARE, 1, &c, 8192, NBD_EINVAL, "PREPARE between blocks");
	private_is(WEFT_CMD_PREPARE, BACK_BYTES - 8192, &c, 8192, NBD_EINVAL,
		   "PREPARE past the end");
	private_is(WEFT_CMD_PREPARE, UINT64_MAX - 4095, &c, 8192, NBD_EINVAL,
		   "PREPARE with an offset that overflows");
	c.mode = WEFT_MODE_ZERO;
	private_is(WEFT_CMD_PREPARE, 0, &c, 0, 0, "PREPARE of zeros");
	c.flags = WEFT_FLAG_WANT_OLD;
	private_is(WEFT_CMD_PREPARE, 0, &c, 0, NBD_EINVAL, "old bytes need room");
	c.reply_len = 8192;
	private_is(WEFT_CMD_PREPARE, 0, &c, 0, 0, "old bytes come back");
	c.mode = 3;
	private_is(WEFT_CMD_PREPARE, 0, &c, 0, NBD_EINVAL, "an unknown mode");
	c.mode = 0;
	c.reserved2 = 1;
	private_is(WEFT_CMD_PREPARE, 0, &c, 8192, NBD_EINVAL, "reserved bytes have to be zero");
	request_is(NBD_CMD_READ, 0, 0, 4096, 0, "READ works there");
	request_is(NBD_CMD_FLUSH, 0, 0, 0, 0, "so does FLUSH");
	write_is(0, 0, 4096, NBD_EPERM, "WRITE does not");
	request_is(NBD_CMD_TRIM, 0, 0, 4096, NBD_EPERM, "nor TRIM");
	request_is(WEFT_CMD_STAT, 0, 0, 0, NBD_EINVAL, "a private command without its head");
	peer_request(&p, WEFT_CMD_PREPARE, 0, 0, UINT32_MAX);
	ok(p.st.err < 0, "an impossible length ends the connection");
	peer_end(&p);
}

/* ---- limits, hand-over, splits ------------------------------------------------------------- */

static void test_limits(void)
{
	static uint8_t many[28 * 1000];
	struct buf *all;

	peer_open(&p, false, false);
	p.back.hold = true;
	for (int i = 0; i < 1000; i++) {
		struct nbd_request_wire w = {.magic = htobe32(NBD_REQUEST_MAGIC),
					     .cookie = htobe64((uint64_t)i),
					     .len = htobe32(1)};

		memcpy(many + 28 * i, &w, 28);
	}
	peer_say(&p, many, sizeof(many));
	is_int(p.back.nheld, NBD_INFLIGHT_MAX, "so many requests of one connection at once");
	for (int i = 0; i < 10; i++)
		back_answer(&p.back, 0);
	fake_env_run(&p.env);
	is_int(p.back.nheld, NBD_INFLIGHT_MAX - 10,
	       "answers that the client does not take count as well");
	peer_collect(&p);
	fake_env_run(&p.env);
	is_int(p.back.nheld, NBD_INFLIGHT_MAX, "taken ones make room for the next");
	p.back.hold = false;
	while (p.back.nheld > 0)
		back_answer(&p.back, 0);
	for (int i = 0; i < 10; i++)
		peer_collect(&p);
	is_int(p.back.requests, 1000, "none is lost");
	is_int(p.got_len - p.at, 17 * 1000, "all are answered");
	peer_end(&p);

	peer_open(&p, false, false);
	p.back.hold = true;
	nbd_session_set_size(p.back.session, 1ULL << 40);
	p.back.size = 1ULL << 40;
	for (int i = 0; i < 3; i++)
		peer_request(&p, NBD_CMD_READ, 0, 0, NBD_PAYLOAD_MAX);
	is_int(p.back.nheld, 2, "so many bytes at once");
	peer_end(&p);

	peer_open(&p, false, false);
	all = buf_get(p.back.pool, NBD_PAYLOAD_MAX);
	for (int i = 1; i < 8; i++) {
		struct buf *b = buf_get(p.back.pool, NBD_PAYLOAD_MAX);

		b->next = all;
		all = b;
	}
	peer_request(&p, NBD_CMD_WRITE, 0, 0, 4096);
	peer_say(&p, many, 4096);
	peer_collect(&p);
	ok(peer_quiet(&p) && p.refused == 0, "without memory a WRITE waits");
	fake_env_advance(&p.env, NS_PER_S);
	ok(peer_quiet(&p), "as long as it takes");
	while (all != NULL) {
		struct buf *b = all;

		all = b->next;
		buf_put(b);
	}
	fake_env_advance(&p.env, NS_PER_S);
	peer_collect(&p);
	ok(peer_reply(&p, 0).cookie == p.cookie, "and is done when there is some");
	peer_end(&p);

	peer_open(&p, false, false);
	peer_request(&p, NBD_CMD_WRITE, 0, 0, 100000);
	peer_say(&p, many, 10);
	fake_env_advance(&p.env, 29 * NS_PER_S);
	peer_say(&p, many, 10);
	fake_env_advance(&p.env, 29 * NS_PER_S);
	ok(!p.st.closing, "a payload may come slowly");
	fake_env_advance(&p.env, 60 * NS_PER_S);
	ok(p.st.closing, "but not stop: it has taken memory");
	peer_end(&p);

	peer_open(&p, false, false);
	p.back.hold = true;
	peer_request(&p, NBD_CMD_READ, 0, 0, 4096);
	peer_request(&p, NBD_CMD_DISC, 0, 0, 0);
	ok(!p.st.closing, "DISC waits for what is under way");
	back_answer(&p.back, 0);
	ok(!p.st.closing, "and for its answer to be sent");
	peer_collect(&p);
	ok(p.st.closing && peer_reply(&p, 4096).len == 4096, "then it closes");
	peer_end(&p);
}

/* One receive is to bring many requests, also when they carry data. */
static void test_windows(void)
{
	static uint8_t stream[64 * (28 + 4096)];
	size_t at = 0, receives = 0, done = 0;

	peer_open(&p, false, false);
	for (int i = 0; i < 64; i++) {
		struct nbd_request_wire w = {.magic = htobe32(NBD_REQUEST_MAGIC),
					     .type = htobe16(NBD_CMD_WRITE),
					     .len = htobe32(4096)};

		memcpy(stream + at, &w, sizeof(w));
		at += sizeof(w) + 4096;
	}
	while (done < at) {
		void *ptr;
		size_t n = p.st.stream.ops->window(p.st.stream.engine, &ptr);

		if (n > at - done)
			n = at - done;
		assert(n > 0);
		memcpy(ptr, stream + done, n);
		p.st.stream.ops->received(p.st.stream.engine, n);
		done += n;
		receives++;
		peer_collect(&p);
	}
	is_int(p.back.requests, 64, "64 small WRITEs");
	ok(receives <= 6, "take few receives");
	peer_end(&p);

	peer_open(&p, false, false);
	nbd_session_set_size(p.back.session, 1 << 30);
	p.back.size = 1 << 30;
	write_is(0, 0, 1 << 20, 0, "a large WRITE");
	peer_request(&p, NBD_CMD_WRITE, 0, 0, 1 << 20);
	{
		void *ptr;
		size_t n = p.st.stream.ops->window(p.st.stream.engine, &ptr);

		is_int(n, 1 << 20, "the next one goes straight into its own memory");
		is_int((uintptr_t)ptr & (BUF_ALIGN - 1), 0, "which is aligned");
	}
	peer_end(&p);
}

static void test_hand_over(void)
{
	static struct fake_env other;
	static struct fake_stream second;
	uint8_t data[300];
	struct nbd_session_config config;
	struct nbd_option o = {htobe64(NBD_OPTION_MAGIC), htobe32(NBD_OPT_GO), 0};
	struct nbd_request_wire w = {
		.magic = htobe32(NBD_REQUEST_MAGIC), .cookie = htobe64(77), .len = htobe32(4)};
	uint8_t bytes[16 + 9 + 28];

	peer_hello(&p, NBD_FLAG_FIXED_NEWSTYLE);
	p.back.pause = true;
	o.len = htobe32(peer_go_data(data, "mem", NULL, 0));
	memcpy(bytes, &o, 16);
	memcpy(bytes + 16, data, 9);
	memcpy(bytes + 25, &w, 28);
	peer_say(&p, bytes, sizeof(bytes));
	is_int(p.back.requests, 0, "nothing is parsed before the hand-over");
	is_int(p.env.ntimers, 0, "no timer is left behind");
	ok(p.env.first == NULL, "nor a task");
	fake_env_init(&other, 5);
	fake_stream_init(&second);
	config = p.back.config;
	config.env = &other.env;
	nbd_session_resume(p.back.session, &config, &second.stream);
	is_int(p.back.requests, 0, "nor from inside resume()");
	fake_env_run(&other);
	is_int(p.back.requests, 1, "then the bytes that had come are");
	p.st = second;
	peer_collect(&p);
	ok(peer_rep(&p).type == NBD_REP_INFO && peer_rep(&p).type == NBD_REP_ACK,
	   "the new stream carries the rest of the negotiation");
	ok(peer_reply(&p, 4).cookie == 77 && peer_quiet(&p), "and the answer");
	peer_end(&p);
}

/* A whole conversation in one string of bytes. */
static size_t conversation(uint8_t *to)
{
	uint8_t *at = to, data[300];
	uint32_t len;

#define PUT(src, n)                                                                                \
	do {                                                                                       \
		memcpy(at, src, n);                                                                \
		at += n;                                                                           \
	} while (0)
#define OPTION(opt, src, n)                                                                        \
	do {                                                                                       \
		struct nbd_option o = {htobe64(NBD_OPTION_MAGIC), htobe32(opt), htobe32(n)};       \
		PUT(&o, sizeof(o));                                                                \
		PUT(src, n);                                                                       \
	} while (0)
#define REQUEST(type, off, n)                                                                      \
	do {                                                                                       \
		struct nbd_request_wire w = {htobe32(NBD_REQUEST_MAGIC),                           \
					     0,                                                    \
					     htobe16(type),                                        \
					     htobe64((uint64_t)(at - to)),                         \
					     htobe64(off),                                         \
					     htobe32(n)};                                          \
		PUT(&w, sizeof(w));                                                                \
	} while (0)
	PUT("\0\0\0\3", 4);
	OPTION(NBD_OPT_STRUCTURED_REPLY, "", 0);
	OPTION(4711, "unknown", 7);
	OPTION(NBD_OPT_LIST, "", 0);
	len = peer_meta_data(data, "mem", "base:allocation");
	OPTION(NBD_OPT_SET_META_CONTEXT, data, len);
	len = peer_go_data(data, "mem", NULL, 0);
	OPTION(NBD_OPT_GO, data, len);
	REQUEST(NBD_CMD_READ, 7, 70000);
	REQUEST(NBD_CMD_WRITE, 9, 5000);
	memset(at, 1, 5000);
	at += 5000;
	REQUEST(NBD_CMD_WRITE, 20000, 40000);
	memset(at, 2, 40000);
	at += 40000;
	REQUEST(NBD_CMD_WRITE, BACK_BYTES, 30000);
	memset(at, 3, 30000);
	at += 30000;
	REQUEST(99, 0, 123);
	REQUEST(NBD_CMD_BLOCK_STATUS, 0, 4096);
	REQUEST(NBD_CMD_READ, 0, 60000);
	REQUEST(NBD_CMD_FLUSH, 0, 0);
	REQUEST(NBD_CMD_DISC, 0, 0);
	return (size_t)(at - to);
}

static void test_splits(uint64_t seed)
{
	static uint8_t bytes[100000], *want;
	static size_t want_len;
	size_t len = conversation(bytes), done = 0;
	struct fake_env dice;
	char name[100];

	fake_env_init(&dice, seed);
	peer_start(&p, NULL, SIZE_MAX);
	while (done < len && !p.st.closing) {
		size_t n = seed == 0 ? len : seed == 1 ? 1 : 1 + fake_below(&dice, 9000);

		p.step = seed <= 1 ? n : 1 + fake_below(&dice, 5000);
		if (n > len - done)
			n = len - done;
		peer_say(&p, bytes + done, n);
		done += n - p.refused;
		if (seed <= 1 || fake_below(&dice, 2))
			peer_collect(&p);
	}
	peer_collect(&p);
	if (want == NULL) {
		want = malloc(p.got_len);
		memcpy(want, p.got, p.got_len);
		want_len = p.got_len;
	}
	snprintf(name, sizeof(name), "the same answers however the bytes are split, seed %d",
		 (int)seed);
	ok(p.st.closing && p.st.err == 0 && p.got_len == want_len &&
		   memcmp(p.got, want, want_len) == 0,
	   name);
	peer_end(&p);
}

/* End the connection after each byte, with and without requests under way. */
static void test_broken(void)
{
	static uint8_t bytes[100000];
	size_t len = conversation(bytes);
	bool good = true;

	for (size_t at = 0; at < len && good; at += at < 400 ? 1 : 991) {
		peer_start(&p, NULL, SIZE_MAX);
		p.back.hold = at % 2;
		peer_say(&p, bytes, at);
		if (at % 3 == 0)
			peer_collect(&p);
		peer_end(&p);
		good = p.back.closed == 1;
	}
	ok(good, "a connection may break anywhere");
}

int main(void)
{
	alarm(120);
	test_commands(false);
	test_commands(true);
	test_errors();
	test_structured();
	test_private();
	test_limits();
	test_windows();
	test_hand_over();
	for (uint64_t seed = 0; seed < 20; seed++)
		test_splits(seed);
	test_broken();
	free(p.got);
	return done_testing();
}
