/* The server's negotiation: every option, every refusal. */
#include "config.h"

#include <stdlib.h>
#include <unistd.h>

#include "nbd-peer.h"
#include "tap.h"

static struct peer p;

static void test_greeting(void)
{
	const uint8_t *g;
	uint32_t flags = htobe32(0x80000000u);

	peer_start(&p, NULL, SIZE_MAX);
	g = peer_bytes(&p, 18);
	ok(g != NULL && memcmp(g, "NBDMAGICIHAVEOPT\0\3", 18) == 0 && peer_quiet(&p),
	   "the greeting is fixed newstyle");
	peer_say(&p, &flags, sizeof(flags));
	ok(p.st.err < 0, "unknown client flags end the connection");
	peer_end(&p);
	is_int(p.back.closed, 1, "the back end hears of the end");

	peer_start(&p, NULL, SIZE_MAX);
	fake_env_advance(&p.env, 9 * NS_PER_S);
	ok(!p.st.closing, "a slow client has some time");
	fake_env_advance(&p.env, 2 * NS_PER_S);
	ok(p.st.closing, "but not for ever");
	peer_end(&p);

	peer_open(&p, false, false);
	fake_env_advance(&p.env, 100 * NS_PER_S);
	ok(!p.st.closing, "an open export may be idle");
	peer_end(&p);

	peer_hello(&p, 0);
	peer_option(&p, NBD_OPT_LIST, NULL, 0);
	ok(p.st.err < 0, "without fixed newstyle there is only EXPORT_NAME");
	peer_end(&p);
}

static void test_export_name(void)
{
	const uint8_t *r;

	peer_hello(&p, NBD_FLAG_FIXED_NEWSTYLE);
	peer_option(&p, NBD_OPT_EXPORT_NAME, "mem", 3);
	is_int(p.got_len - p.at, 134, "EXPORT_NAME is answered with 124 zeros");
	r = peer_bytes(&p, 134);
	is_int(nbd_get64(r), BACK_BYTES, "after the size");
	is_int(nbd_get16(r + 8), p.back.flags | NBD_FLAG_HAS_FLAGS, "and the flags");
	peer_request(&p, NBD_CMD_READ, 0, 5, 3);
	ok(memcmp(peer_reply(&p, 3).data, p.back.disk + 5, 3) == 0, "it can be read");
	peer_end(&p);

	peer_hello(&p, NBD_FLAG_NO_ZEROES);
	peer_option(&p, NBD_OPT_EXPORT_NAME, "", 0);
	is_int(p.got_len - p.at, 10, "or without zeros, also for the default export");
	peer_end(&p);

	peer_hello(&p, NBD_FLAG_FIXED_NEWSTYLE);
	peer_option(&p, NBD_OPT_EXPORT_NAME, "nix", 3);
	ok(p.st.err < 0 && peer_quiet(&p), "an unknown name ends the connection");
	peer_end(&p);
}

static void test_info(void)
{
	static const uint16_t infos[] = {NBD_INFO_EXPORT,     NBD_INFO_NAME, NBD_INFO_DESCRIPTION,
					 NBD_INFO_BLOCK_SIZE, 0x8000,	     NBD_INFO_NAME};
	uint8_t data[5000];
	struct answer a;
	uint32_t len = peer_go_data(data, "mem", infos, 6);

	peer_hello(&p, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	peer_option(&p, NBD_OPT_INFO, data, len);
	a = peer_rep(&p);
	ok(a.type == NBD_REP_INFO && a.option == NBD_OPT_INFO && a.len == 12 &&
		   nbd_get64(a.data + 2) == BACK_BYTES,
	   "INFO gives the size");
	a = peer_rep(&p);
	ok(a.len == 5 && memcmp(a.data, "\0\1mem", 5) == 0, "the name");
	a = peer_rep(&p);
	ok(a.len == 17 && memcmp(a.data, "\0\2bytes in memory", 17) == 0, "the description");
	a = peer_rep(&p);
	ok(a.len == 14 && nbd_get32(a.data + 2) == 1 && nbd_get32(a.data + 6) == 4096 &&
		   nbd_get32(a.data + 10) == NBD_PAYLOAD_MAX,
	   "and the block sizes");
	is_int(peer_rep(&p).type, NBD_REP_ACK, "each once");
	is_int(p.back.opened, 0, "and opens nothing");

	peer_option(&p, NBD_OPT_INFO, data, peer_go_data(data, "nix", NULL, 0));
	is_int(peer_rep(&p).type, NBD_REP_ERR_UNKNOWN, "an unknown export is said to be so");
	peer_go(&p, "down");
	is_int(peer_rep(&p).type, NBD_REP_ERR_SHUTDOWN, "so is one that shuts down");
	peer_go(&p, WEFT_STORE_EXPORT);
	a = peer_rep(&p);
	ok(a.type == NBD_REP_ERR_POLICY && a.len == 18, "and one that is not for everybody");
	peer_option(&p, NBD_OPT_GO, data, 5);
	is_int(peer_rep(&p).type, NBD_REP_ERR_INVALID, "half a GO is refused");
	peer_option(&p, NBD_OPT_GO, data, peer_go_data(data, "mem", infos, 2) - 1);
	is_int(peer_rep(&p).type, NBD_REP_ERR_INVALID, "so is one with half an information");
	peer_go_data(data, "mem", NULL, 0);
	nbd_put32(data, UINT32_MAX);
	peer_option(&p, NBD_OPT_GO, data, 9);
	is_int(peer_rep(&p).type, NBD_REP_ERR_INVALID, "or a name beyond its end");
	memset(data, 0, sizeof(data));
	nbd_put32(data, 4097);
	peer_option(&p, NBD_OPT_GO, data, 4097 + 6);
	is_int(peer_rep(&p).type, NBD_REP_ERR_TOO_BIG, "or a name that is too long");
	peer_go(&p, "mem");
	a = peer_rep(&p);
	ok(a.type == NBD_REP_INFO && a.len == 12 && peer_rep(&p).type == NBD_REP_ACK,
	   "after all that GO still works");
	is_int(p.back.opened, 1, "and opens");
	peer_end(&p);
}

static void test_refused_options(void)
{
	static uint8_t big[200000];
	struct answer a;

	peer_hello(&p, NBD_FLAG_FIXED_NEWSTYLE);
	peer_option(&p, NBD_OPT_STARTTLS, NULL, 0);
	is_int(peer_rep(&p).type, NBD_REP_ERR_UNSUP, "STARTTLS is not supported");
	peer_option(&p, 4711, big, 1000);
	a = peer_rep(&p);
	ok(a.type == NBD_REP_ERR_UNSUP && a.option == 4711, "nor are unknown options");
	peer_option(&p, 4712, big, sizeof(big));
	is_int(peer_rep(&p).type, NBD_REP_ERR_TOO_BIG, "a very long option is skipped");
	peer_option(&p, NBD_OPT_LIST, big, 1);
	is_int(peer_rep(&p).type, NBD_REP_ERR_INVALID, "LIST with data is invalid");
	peer_option(&p, NBD_OPT_STRUCTURED_REPLY, big, 1);
	is_int(peer_rep(&p).type, NBD_REP_ERR_INVALID, "so is STRUCTURED_REPLY");
	peer_option(&p, NBD_OPT_LIST, NULL, 0);
	a = peer_rep(&p);
	ok(a.type == NBD_REP_SERVER && a.len == 22 && memcmp(a.data, "\0\0\0\3membytes", 12) == 0,
	   "LIST names the exports");
	a = peer_rep(&p);
	ok(a.type == NBD_REP_SERVER && a.len == 8, "all of them");
	is_int(peer_rep(&p).type, NBD_REP_ACK, "and ends");
	peer_option(&p, NBD_OPT_ABORT, NULL, 0);
	is_int(peer_rep(&p).type, NBD_REP_ACK, "ABORT is acknowledged");
	ok(p.st.closing, "and closes");
	peer_end(&p);

	peer_hello(&p, NBD_FLAG_FIXED_NEWSTYLE);
	peer_say(&p, "IHAVEOPX\0\0\0\1\0\0\0\0", 16);
	ok(p.st.err < 0, "a wrong magic ends the connection");
	peer_end(&p);

	peer_hello(&p, NBD_FLAG_FIXED_NEWSTYLE);
	peer_say(&p, "IHAVEOPT\0\0\0\77\177\0\0\0", 16);
	ok(p.st.err < 0, "an impossibly long option does, too");
	peer_end(&p);

	peer_hello(&p, NBD_FLAG_FIXED_NEWSTYLE);
	for (unsigned i = 0; i < NBD_OPTIONS_MAX; i++)
		peer_option(&p, 4711, NULL, 0);
	ok(!p.st.closing, "many options are fine");
	peer_option(&p, 4711, NULL, 0);
	ok(p.st.err < 0, "but not too many");
	peer_end(&p);
}

static void test_meta(void)
{
	uint8_t data[300];
	struct answer a;
	uint32_t len;

	peer_hello(&p, NBD_FLAG_FIXED_NEWSTYLE);
	len = peer_meta_data(data, "mem", "base:allocation");
	peer_option(&p, NBD_OPT_SET_META_CONTEXT, data, len);
	is_int(peer_rep(&p).type, NBD_REP_ERR_INVALID, "contexts need structured replies");
	peer_option(&p, NBD_OPT_STRUCTURED_REPLY, NULL, 0);
	is_int(peer_rep(&p).type, NBD_REP_ACK, "which can be had");
	peer_option(&p, NBD_OPT_LIST_META_CONTEXT, data, peer_meta_data(data, "mem", NULL));
	a = peer_rep(&p);
	ok(a.type == NBD_REP_META_CONTEXT && a.len == 19 &&
		   memcmp(a.data + 4, "base:allocation", 15) == 0,
	   "listing without a query gives base:allocation");
	is_int(peer_rep(&p).type, NBD_REP_ACK, "and nothing else");
	peer_option(&p, NBD_OPT_LIST_META_CONTEXT, data, peer_meta_data(data, "mem", "base:"));
	ok(peer_rep(&p).type == NBD_REP_META_CONTEXT && peer_rep(&p).type == NBD_REP_ACK,
	   "so does listing the namespace");
	peer_option(&p, NBD_OPT_LIST_META_CONTEXT, data, peer_meta_data(data, "mem", "qemu:"));
	is_int(peer_rep(&p).type, NBD_REP_ACK, "another namespace is empty");
	peer_option(&p, NBD_OPT_SET_META_CONTEXT, data, peer_meta_data(data, "mem", "base:"));
	is_int(peer_rep(&p).type, NBD_REP_ACK, "a namespace cannot be set");
	peer_option(&p, NBD_OPT_SET_META_CONTEXT, data, peer_meta_data(data, "nix", "base:x"));
	is_int(peer_rep(&p).type, NBD_REP_ERR_UNKNOWN, "nor one of an unknown export");
	len = peer_meta_data(data, "mem", "base:allocation");
	for (uint32_t cut = 0; cut < len; cut++) {
		peer_option(&p, NBD_OPT_SET_META_CONTEXT, data, cut);
		if (peer_rep(&p).type != NBD_REP_ERR_INVALID)
			ok(false, "a query that is cut off is invalid");
	}
	nbd_put32(data + 7, UINT32_MAX);
	peer_option(&p, NBD_OPT_SET_META_CONTEXT, data, len);
	is_int(peer_rep(&p).type, NBD_REP_ERR_INVALID, "an endless list of queries is invalid");
	len = peer_meta_data(data, "mem", "base:allocation");
	peer_option(&p, NBD_OPT_SET_META_CONTEXT, data, len);
	a = peer_rep(&p);
	ok(a.type == NBD_REP_META_CONTEXT && nbd_get32(a.data) == 1 &&
		   peer_rep(&p).type == NBD_REP_ACK,
	   "base:allocation can be set");
	peer_go(&p, "");
	p.at = p.got_len;
	peer_request(&p, NBD_CMD_BLOCK_STATUS, 0, 0, 8192);
	is_int(peer_reply(&p, 0).error, NBD_EINVAL, "but holds only for the export it was set for");
	peer_end(&p);
}

static void test_auth(void)
{
	struct weft_hello hello = {.version = htobe32(2)};
	struct weft_proof proof = {{0}};

	peer_hello(&p, NBD_FLAG_FIXED_NEWSTYLE);
	peer_option(&p, WEFT_OPT_HELLO, &hello, sizeof(hello));
	is_int(peer_rep(&p).type, NBD_REP_ERR_INVALID, "another private version is refused");
	peer_option(&p, WEFT_OPT_PROOF, &proof, sizeof(proof));
	is_int(peer_rep(&p).type, NBD_REP_ERR_INVALID, "a proof needs a hello first");
	ok(peer_authenticate(&p), "who knows the secret is let in");
	ok(nbd_session_authenticated(p.back.session), "and the daemon can see it");
	peer_option(&p, WEFT_OPT_PROOF, &proof, sizeof(proof));
	is_int(peer_rep(&p).type, NBD_REP_ERR_INVALID, "a nonce is good for one try");
	hello.version = htobe32(1);
	peer_option(&p, WEFT_OPT_HELLO, &hello, sizeof(hello));
	is_int(peer_rep(&p).type, WEFT_REP_HELLO, "a new hello");
	ok(!nbd_session_authenticated(p.back.session), "starts from nothing");
	peer_option(&p, WEFT_OPT_PROOF, &proof, sizeof(proof));
	is_int(peer_rep(&p).type, NBD_REP_ERR_POLICY, "a wrong proof is refused");
	ok(p.st.closing, "and ends the connection");
	peer_end(&p);
}

static void test_never_reads(void)
{
	struct nbd_option o = {htobe64(NBD_OPTION_MAGIC), htobe32(NBD_OPT_LIST), 0};
	size_t refused;

	peer_hello(&p, NBD_FLAG_FIXED_NEWSTYLE);
	p.back.list_more = 2000;
	peer_say(&p, &o, sizeof(o));
	ok(p.refused == 0 && !p.st.closing, "a long list is made");
	peer_say(&p, &o, sizeof(o));
	refused = p.refused;
	peer_say(&p, &o, sizeof(o));
	ok(refused == 0 && p.refused == sizeof(o), "while it is not taken nothing more is read");
	for (int i = 0; i < 3; i++)
		peer_collect(&p);
	for (int i = 0; i < 2 * 2003; i++)
		if (peer_rep(&p).type != (i % 2003 == 2002 ? NBD_REP_ACK : NBD_REP_SERVER))
			ok(false, "both lists are whole");
	ok(peer_quiet(&p), "when it is taken, the next comes");
	p.back.list_more = 100000;
	peer_say(&p, &o, sizeof(o));
	ok(p.st.err < 0, "there is an end to what is kept for a client");
	peer_end(&p);
}

int main(void)
{
	alarm(120);
	test_greeting();
	test_export_name();
	test_info();
	test_refused_options();
	test_meta();
	test_auth();
	test_never_reads();
	free(p.got);
	return done_testing();
}
