/* Whole replies, for clients that others answer too: what one send holds, waiting to be alone, a
 * reply that could not be sent, the place where the last request ended. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "nbd-peer.h"
#include "tap.h"

static struct peer p;
static bool room = true;
static int asked, shared;
static enum nbd_end end = NBD_END_HERE;

static bool whole_room(void *ctx, struct nbd_session *s)
{
	return room;
}

static void whole_alone(void *ctx, struct nbd_session *s)
{
	asked++;
}

static void whole_shared(void *ctx, struct nbd_session *s)
{
	shared++;
}

static enum nbd_end whole_end(void *ctx, struct nbd_req *req)
{
	return end;
}

static const struct nbd_server_ops whole_ops = {
	.open = back_open,
	.ready = back_ready,
	.request = back_request,
	.room = whole_room,
	.alone = whole_alone,
	.shared = whole_shared,
	.end = whole_end,
	.closed = back_closed,
};

/* Bytes that the next send would hold. */
static size_t next_send(uint8_t *copy)
{
	struct iovec iov[STREAM_IOV_MAX];
	int n = p.st.stream.ops->output(p.st.stream.engine, iov, STREAM_IOV_MAX);
	size_t sum = 0;

	for (int i = 0; i < n; i++) {
		if (copy != NULL)
			memcpy(copy + sum, iov[i].iov_base, iov[i].iov_len);
		sum += iov[i].iov_len;
	}
	return sum;
}

static void sent(size_t n)
{
	p.st.stream.ops->sent(p.st.stream.engine, n);
}

/* A READ that is answered, but not yet sent. */
static void ask_by(uint16_t flags, uint64_t offset, uint32_t len)
{
	struct nbd_request_wire w = {
		htobe32(NBD_REQUEST_MAGIC), htobe16(flags),  htobe16(NBD_CMD_READ),
		htobe64(++p.cookie),	    htobe64(offset), htobe32(len)};

	peer_say(&p, &w, sizeof(w));
}

static void ask(uint64_t offset, uint32_t len)
{
	ask_by(0, offset, len);
}

static void begin(bool structured, bool split)
{
	const struct nbd_session_config config = {.ops = &whole_ops};
	uint32_t flags = htobe32(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);

	peer_start(&p, &config, SIZE_MAX);
	p.back.split = split;
	peer_say(&p, &flags, sizeof(flags));
	if (structured)
		peer_option(&p, NBD_OPT_STRUCTURED_REPLY, NULL, 0);
	peer_go(&p, "mem");
	p.at = p.got_len;
	asked = shared = 0;
	room = true;
}

static void test_sends(bool structured)
{
	size_t head = structured ? 28 : 16, n;
	uint32_t boundary = 0, received;

	begin(structured, false);
	nbd_session_route(p.back.session, &boundary, &received);
	for (int i = 0; i < 4; i++)
		ask(0, 20000);
	n = next_send(NULL);
	is_int(n, 3 * (head + 20000), "a send holds as many whole replies as it takes");
	sent(n);
	is_int(next_send(NULL), head + 20000, "and the next one the rest");
	room = false;
	is_int(next_send(NULL), 0, "without room nothing is sent");
	room = true;
	sent(head + 20000);
	ask(4096, 65536);
	is_int(next_send(NULL), head + 65536, "one of 64 KiB fits");
	sent(head + 65536);
	is_int(asked, 0, "nobody had to be alone");

	ask(0, 65600);
	ask(0, 512);
	is_int(next_send(NULL), 0, "a larger one waits");
	is_int(next_send(NULL), 0, "and waits");
	is_int(asked, 1, "the daemon is asked once");
	nbd_session_alone(p.back.session);
	n = next_send(NULL);
	is_int(n, head + 65600, "alone it is sent, and nothing with it");
	sent(1000);
	is_int(next_send(NULL), head + 65600 - 1000, "also in parts");
	sent(n - 1000);
	is_int(shared, 1, "after it the daemon is told");
	is_int(next_send(NULL), head + 512, "and small ones go on");
	sent(head + 512);
	peer_end(&p);
}

static void test_boundary(void)
{
	struct nbd_request_wire w = {
		htobe32(NBD_REQUEST_MAGIC), 0, htobe16(NBD_CMD_WRITE), 1, 0, htobe32(512)};
	static uint8_t payload[512];
	struct nbd_session_place place;
	uint32_t boundary, received;

	begin(false, false);
	nbd_session_place(p.back.session, &place);
	boundary = place.taken;
	ok(place.taken > 0 && place.answered == p.got_len && place.unsent == 0,
	   "the negotiation is counted");
	nbd_session_route(p.back.session, &boundary, &received);
	peer_say(&p, &w, 10);
	is_int(boundary, place.taken, "a part of a request is no boundary");
	is_int(received, place.taken + 10, "but has been received");
	peer_say(&p, (uint8_t *)&w + 10, sizeof(w) - 10);
	is_int(boundary, place.taken, "nor is a request without its payload");
	peer_say(&p, payload, sizeof(payload));
	is_int(boundary, place.taken + sizeof(w) + sizeof(payload), "its end is one");
	is_int(received, boundary, "nothing was received behind it");
	peer_end(&p);
}

static void test_given(void)
{
	uint32_t boundary, received;
	struct answer a;

	begin(false, false);
	nbd_session_route(p.back.session, &boundary, &received);
	nbd_session_read(p.back.session, 0, 77, 8192, 4096);
	peer_collect(&p);
	a = peer_reply(&p, 4096);
	ok(a.cookie == 77 && a.error == 0 && memcmp(a.data, p.back.disk + 8192, 4096) == 0,
	   "a read that came another way is answered like one");
	nbd_session_read(p.back.session, 0, 78, BACK_BYTES, 4096);
	peer_collect(&p);
	a = peer_reply(&p, 0);
	ok(a.cookie == 78 && a.error == NBD_EINVAL, "and checked like one");
	peer_end(&p);
}

static void test_single(void)
{
	static uint8_t copy[70000];
	size_t n;

	begin(true, true);
	ask(0, 4096);
	ask(4096, 4096);
	is_int(next_send(NULL), 2 * (28 + 4096), "whole replies are sent together");
	is_int(p.st.stream.ops->send_failed(p.st.stream.engine, -EPIPE), 0,
	       "one that cannot be sent");
	n = next_send(copy);
	ok(n > 28 + 4096 && nbd_get16(copy + 6) == NBD_REPLY_TYPE_ERROR &&
		   nbd_get64(copy + 8) == p.cookie - 1,
	   "becomes an error");
	is_int(p.st.stream.ops->send_failed(p.st.stream.engine, -EPIPE), -EPIPE,
	       "when that fails, too, it is over");
	ok(nbd_get64(copy + n - 28 - 4096 + 8) == p.cookie, "the next one is as it was");
	sent(n);
	ask(0, 40000);
	ask(0, 40000);
	is_int(next_send(NULL), 28 + 40000, "no more than a program sees at once");
	sent(28 + 40000);
	is_int(next_send(NULL), 28 + 40000, "then the rest");
	sent(28 + 40000);
	peer_end(&p);
}

static void test_note(void)
{
	static uint8_t copy[8192];

	begin(true, true);
	ask_by(NBD_CMD_FLAG_FUA, 4096, 4096);
	ask(0, 512);
	is_int(next_send(copy), 28 + 4096, "a reply whose sending is to be told");
	is_int(nbd_get16(copy + 4), 0, "is not the last chunk");
	sent(28 + 4096);
	is_int(next_send(copy), 20 + 28 + 512, "another follows, and what was asked later");
	ok(nbd_get16(copy + 4) == NBD_REPLY_FLAG_DONE &&
		   nbd_get16(copy + 6) == NBD_REPLY_TYPE_NONE &&
		   nbd_get64(copy + 8) == p.cookie - 1,
	   "the end, of nothing");
	sent(20 + 28 + 512);
	is_int(next_send(NULL), 0, "and that is all");
	ask_by(NBD_CMD_FLAG_FUA, 0, 4096);
	ok(p.st.stream.ops->send_failed(p.st.stream.engine, -EPIPE) == 0 && next_send(copy) < 100 &&
		   nbd_get16(copy + 6) == NBD_REPLY_TYPE_ERROR,
	   "one that cannot be sent is an error");
	sent(next_send(NULL));
	is_int(next_send(NULL), 0, "and is not told to be sent");
	peer_end(&p);
}

/* A READ whose bytes others send. */
static struct nbd_req *steer(uint64_t offset, uint32_t len, unsigned parts)
{
	struct nbd_req *req;

	p.back.hold = true;
	ask(offset, len);
	req = p.back.held[--p.back.nheld];
	p.back.hold = false;
	nbd_req_steer(req, parts);
	return req;
}

static void test_parts(void)
{
	static uint8_t copy[8192];
	uint32_t boundary = 0, received;
	struct nbd_req *req;

	begin(true, false);
	nbd_session_route(p.back.session, &boundary, &received);
	req = steer(8192, 12288, 3);
	nbd_req_part_sent(req);
	is_int(next_send(NULL), 0, "a part that others sent: nothing is left to send");
	nbd_req_part_read(req, 12288, 4096);
	is_int(next_send(copy), 28 + 4096, "one that is read here is sent");
	ok(nbd_get16(copy + 4) == 0 && nbd_get64(copy + 8) == p.cookie &&
		   nbd_get64(copy + 20) == 12288 &&
		   memcmp(copy + 28, p.back.disk + 12288, 4096) == 0,
	   "as a chunk that is not the last");
	nbd_req_part_sent(req);
	is_int(next_send(copy), 28 + 4096 + 20, "after all parts comes the end");
	ok(nbd_get16(copy + 28 + 4096 + 4) == NBD_REPLY_FLAG_DONE &&
		   nbd_get64(copy + 28 + 4096 + 8) == p.cookie,
	   "behind them");
	sent(28 + 4096 + 20);
	req = steer(0, 8192, 2);
	p.back.fail = EIO;
	nbd_req_part_read(req, 0, 4096);
	p.back.fail = 0;
	nbd_req_part_sent(req);
	ok(next_send(copy) > 20 && nbd_get16(copy + 4) == 0 &&
		   nbd_get16(copy + 6) == NBD_REPLY_TYPE_ERROR,
	   "a part that cannot be read is an error in its place");
	req = steer(0, 8192, 2);
	nbd_req_part_sent(req);
	peer_end(&p);
	nbd_req_part_read(req, 0, 4096);
	ok(1, "parts that are over after the connection do no harm");
}

/* Who tells the client that it was all. */
static void test_ends(void)
{
	static uint8_t copy[8192];
	uint32_t boundary = 0, received;
	struct nbd_req *req;

	begin(true, false);
	nbd_session_route(p.back.session, &boundary, &received);
	end = NBD_END_ELSEWHERE;
	req = steer(0, 8192, 2);
	nbd_req_part_sent(req);
	nbd_req_part_sent(req);
	is_int(next_send(NULL), 0, "an end that others tell is not sent");
	end = NBD_END_ALONE;
	req = steer(0, 8192, 2);
	nbd_req_part_sent(req);
	nbd_req_part_read(req, 4096, 4096);
	is_int(next_send(NULL), 28 + 4096, "what was read here goes before an end that waits");
	sent(28 + 4096);
	is_int(next_send(NULL), 0, "which is not sent while others may be sending");
	is_int(asked, 1, "so they are told");
	nbd_session_alone(p.back.session);
	is_int(next_send(copy), 20, "and then comes the end");
	ok(nbd_get16(copy + 4) == NBD_REPLY_FLAG_DONE && nbd_get64(copy + 8) == p.cookie,
	   "of that answer");
	sent(20);
	is_int(shared, 1, "the others may go on");
	end = NBD_END_ELSEWHERE;
	req = steer(0, 4096, 1);
	peer_end(&p);
	nbd_req_part_sent(req);
	end = NBD_END_HERE;
	ok(1, "nobody is asked after the connection");
}

int main(void)
{
	alarm(60);
	test_sends(false);
	test_sends(true);
	test_boundary();
	test_given();
	test_single();
	test_note();
	test_parts();
	test_ends();
	return done_testing();
}
