/*
 * A hand-made NBD client for tests of the session: says what it is told to, reads what comes back.
 */
#ifndef WEFT_NBD_PEER_H
#define WEFT_NBD_PEER_H

#include "nbd-back.h"

#define PEER_OUT_MAX (72u << 20)
#ifndef PEER_POOL_BYTES
#define PEER_POOL_BYTES (256u << 20)
#endif

struct peer {
	struct fake_env env;
	struct back back;
	struct fake_stream st;
	size_t step;  /* the most bytes in one receive */
	uint8_t *got; /* all that the session sent */
	size_t got_len, at;
	size_t refused; /* bytes that were not taken */
	uint64_t cookie;
};

struct answer {
	uint32_t type; /* option: NBD_REP_*; structured: NBD_REPLY_TYPE_*; simple: its magic */
	uint32_t option;
	uint32_t error;
	uint16_t flags;
	uint64_t cookie;
	const uint8_t *data;
	uint32_t len;
};

static void peer_collect(struct peer *p)
{
	fake_env_run(&p->env);
	p->got_len += fake_stream_take(&p->st, p->got + p->got_len, PEER_OUT_MAX - p->got_len);
	assert(p->got_len < PEER_OUT_MAX);
}

static void peer_say(struct peer *p, const void *data, size_t len)
{
	size_t done = 0, n;

	if (len == 0)
		return;
	do {
		n = fake_stream_feed(&p->st, (const uint8_t *)data + done, len - done, p->step);
		done += n;
		fake_env_run(&p->env);
	} while (n > 0 && done < len);
	p->refused = len - done;
}

static void peer_option(struct peer *p, uint32_t option, const void *data, uint32_t len)
{
	struct nbd_option o = {htobe64(NBD_OPTION_MAGIC), htobe32(option), htobe32(len)};

	peer_say(p, &o, sizeof(o));
	peer_say(p, data, len);
	peer_collect(p);
}

FAKE_UNUSED static void peer_request(struct peer *p, uint16_t type, uint16_t flags, uint64_t offset,
				     uint32_t len)
{
	struct nbd_request_wire w = {htobe32(NBD_REQUEST_MAGIC), htobe16(flags),  htobe16(type),
				     htobe64(++p->cookie),	 htobe64(offset), htobe32(len)};

	peer_say(p, &w, sizeof(w));
	peer_collect(p);
}

/* The next len bytes, NULL when there are fewer. */
static const uint8_t *peer_bytes(struct peer *p, size_t len)
{
	if (len > p->got_len - p->at)
		return NULL;
	p->at += len;
	return p->got + p->at - len;
}

FAKE_UNUSED static bool peer_quiet(const struct peer *p)
{
	return p->at == p->got_len;
}

/* The next answer to an option; all zeros: none. */
static struct answer peer_rep(struct peer *p)
{
	struct answer a = {0};
	const uint8_t *h = peer_bytes(p, sizeof(struct nbd_option_reply));

	if (h == NULL || nbd_get64(h) != NBD_REP_MAGIC)
		return a;
	a.option = nbd_get32(h + 8);
	a.type = nbd_get32(h + 12);
	a.len = nbd_get32(h + 16);
	a.data = peer_bytes(p, a.len);
	if (a.data == NULL)
		a = (struct answer){0};
	return a;
}

/* The next simple reply, or chunk of a structured one. data_len: what a good simple one carries. */
FAKE_UNUSED static struct answer peer_reply(struct peer *p, uint32_t data_len)
{
	struct answer a = {0};
	const uint8_t *h = peer_bytes(p, 16);

	if (h == NULL)
		return a;
	a.cookie = nbd_get64(h + 8);
	if (nbd_get32(h) == NBD_SIMPLE_REPLY_MAGIC) {
		a.type = NBD_SIMPLE_REPLY_MAGIC;
		a.error = nbd_get32(h + 4);
		a.len = a.error == 0 ? data_len : 0;
		a.data = peer_bytes(p, a.len);
	} else if (nbd_get32(h) == NBD_STRUCTURED_REPLY_MAGIC) {
		a.flags = nbd_get16(h + 4);
		a.type = nbd_get16(h + 6);
		h = peer_bytes(p, 4);
		a.len = h != NULL ? nbd_get32(h) : 0;
		a.data = peer_bytes(p, a.len);
		if (a.data != NULL && a.type == NBD_REPLY_TYPE_ERROR)
			a.error = nbd_get32(a.data);
	}
	if (a.data == NULL)
		return (struct answer){0};
	return a;
}

static void peer_start(struct peer *p, const struct nbd_session_config *config, size_t step)
{
	uint8_t *got = p->got;

	memset(p, 0, sizeof(*p));
	p->got = got != NULL ? got : malloc(PEER_OUT_MAX);
	p->step = step;
	fake_env_init(&p->env, 1);
	back_init(&p->back, &p->env, PEER_POOL_BYTES);
	fake_stream_init(&p->st);
	p->back.stream = &p->st.stream;
	if (config != NULL)
		p->back.config.ops = config->ops;
	p->back.session = nbd_session_create(&p->back.config, &p->st.stream);
	peer_collect(p);
}

static void peer_end(struct peer *p)
{
	fake_stream_break(&p->st, 0);
	fake_env_run(&p->env);
	while (p->back.nheld > 0)
		back_answer(&p->back, 0);
	back_destroy(&p->back);
}

/* Past the greeting. */
static void peer_hello(struct peer *p, uint32_t flags)
{
	uint32_t wire = htobe32(flags);

	peer_start(p, NULL, SIZE_MAX);
	peer_bytes(p, sizeof(struct nbd_greeting));
	peer_say(p, &wire, sizeof(wire));
	peer_collect(p);
}

FAKE_UNUSED static uint32_t peer_go_data(uint8_t *to, const char *name, const uint16_t *infos,
					 int n)
{
	uint32_t len = (uint32_t)strlen(name);

	nbd_put32(to, len);
	memcpy(to + 4, name, len);
	nbd_put16(to + 4 + len, (uint16_t)n);
	for (int i = 0; i < n; i++)
		nbd_put16(to + 6 + len + 2 * i, infos[i]);
	return 6 + len + 2 * (uint32_t)n;
}

static void peer_go(struct peer *p, const char *name)
{
	uint8_t data[300];

	peer_option(p, NBD_OPT_GO, data, peer_go_data(data, name, NULL, 0));
}

/* One export name and one query. */
FAKE_UNUSED static uint32_t peer_meta_data(uint8_t *to, const char *name, const char *query)
{
	uint32_t len = (uint32_t)strlen(name), qlen = query != NULL ? (uint32_t)strlen(query) : 0;

	nbd_put32(to, len);
	memcpy(to + 4, name, len);
	nbd_put32(to + 4 + len, query != NULL);
	if (query == NULL)
		return 8 + len;
	nbd_put32(to + 8 + len, qlen);
	memcpy(to + 12 + len, query, qlen);
	return 12 + len + qlen;
}

/* Prove the secret; false when the server does not let us in. */
FAKE_UNUSED static bool peer_authenticate(struct peer *p)
{
	struct weft_hello hello = {.version = htobe32(WEFT_PROTOCOL_VERSION)};
	struct weft_hello_reply r;
	struct weft_proof proof;
	struct answer a;

	memset(hello.nonce, 0x55, sizeof(hello.nonce));
	peer_option(p, WEFT_OPT_HELLO, &hello, sizeof(hello));
	a = peer_rep(p);
	if (a.type != WEFT_REP_HELLO || a.len != sizeof(r))
		return false;
	memcpy(&r, a.data, sizeof(r));
	nbd_auth_proof(p->back.auth.secret, NBD_AUTH_CLIENT, hello.nonce, r.nonce, r.cluster,
		       r.store, proof.proof);
	peer_option(p, WEFT_OPT_PROOF, &proof, sizeof(proof));
	return peer_rep(p).type == NBD_REP_ACK;
}

/* A plain export, ready for requests. */
FAKE_UNUSED static void peer_open(struct peer *p, bool structured, bool status)
{
	uint8_t data[300];

	peer_hello(p, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	if (structured)
		peer_option(p, NBD_OPT_STRUCTURED_REPLY, NULL, 0);
	if (status)
		peer_option(p, NBD_OPT_SET_META_CONTEXT, data,
			    peer_meta_data(data, "mem", "base:allocation"));
	peer_go(p, "mem");
	p->at = p->got_len;
}

/* The private export. */
FAKE_UNUSED static void peer_open_private(struct peer *p)
{
	peer_hello(p, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	peer_authenticate(p);
	peer_go(p, WEFT_STORE_EXPORT);
	p->at = p->got_len;
}

#endif
