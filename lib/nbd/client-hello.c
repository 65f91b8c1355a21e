/*
 * The client's handshake: greeting, mutual proof of the cluster's secret, opening the store.
 * Whatever does not fit ends the connection with a sentence that says what was found at the other
 * end.
 *
 * Source: the NBD protocol document, section "Fixed newstyle negotiation"; weft.h for the proofs.
 */
#include "config.h"

#include "nbd/client-impl.h"

#include <errno.h>
#include <stdio.h>

#include "nbd/auth.h"

#include "banned.h"

static void put_option(struct nbd_client *c, uint32_t option, const void *data, uint32_t len)
{
	struct nbd_option o = {
		.magic = htobe64(NBD_OPTION_MAGIC),
		.option = htobe32(option),
		.len = htobe32(len),
	};

	client_put(c, &o, sizeof(o));
	if (len > 0)
		client_put(c, data, len);
}

static void put_go(struct nbd_client *c)
{
	const char *name = c->name[0] != '\0' ? c->name
			   : c->route	      ? WEFT_ROUTE_EXPORT
					      : WEFT_STORE_EXPORT;
	uint32_t len = (uint32_t)strlen(name);
	uint16_t infos = !c->route;
	uint8_t go[4 + NBD_CLIENT_NAME_MAX + 2 + 2];

	nbd_put32(go, len);
	memcpy(go + 4, name, len);
	nbd_put16(go + 4 + len, infos);
	nbd_put16(go + 4 + len + 2, NBD_INFO_DESCRIPTION);
	put_option(c, NBD_OPT_GO, go, 4 + len + 2 + 2 * infos);
	c->state = CLIENT_GO;
}

static int step_greeting(struct nbd_client *c)
{
	struct nbd_greeting g;
	struct weft_hello hello = {.version = htobe32(WEFT_PROTOCOL_VERSION)};
	uint32_t flags = htobe32(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);

	if (client_avail(c) < sizeof(g))
		return 0;
	memcpy(&g, c->in + c->in_head, sizeof(g));
	c->in_head += sizeof(g);
	if (be64toh(g.magic) != NBD_GREETING_MAGIC || be64toh(g.option_magic) != NBD_OPTION_MAGIC)
		return client_fail(c, -EPROTO, "what answers there is not an NBD server");
	if (!(be16toh(g.flags) & NBD_FLAG_FIXED_NEWSTYLE) ||
	    !(be16toh(g.flags) & NBD_FLAG_NO_ZEROES))
		return client_fail(c, -EPROTO, "an NBD server, but not one of weft");
	if (c->name[0] != '\0') {
		client_put(c, &flags, sizeof(flags));
		put_go(c);
		return 1;
	}
	c->env->ops->random(c->env, c->client_nonce, WEFT_NONCE_BYTES);
	memcpy(hello.nonce, c->client_nonce, WEFT_NONCE_BYTES);
	client_put(c, &flags, sizeof(flags));
	put_option(c, WEFT_OPT_HELLO, &hello, sizeof(hello));
	c->state = CLIENT_HELLO;
	return 1;
}

static int take_hello(struct nbd_client *c, const uint8_t *data, uint32_t len)
{
	struct weft_hello_reply r;
	struct weft_proof p;
	uint8_t proof[WEFT_PROOF_BYTES];

	if (len != sizeof(r))
		return client_fail(c, -EPROTO, "the server's proof has a wrong length");
	memcpy(&r, data, sizeof(r));
	if (be32toh(r.version) != WEFT_PROTOCOL_VERSION)
		return client_fail(c, -EPROTO, "the server speaks another version of weft");
	memcpy(c->server_nonce, r.nonce, WEFT_NONCE_BYTES);
	nbd_auth_proof(c->secret, NBD_AUTH_SERVER, c->client_nonce, c->server_nonce, r.cluster,
		       r.store, proof);
	if (!nbd_auth_equal(proof, r.proof))
		return client_fail(c, -EACCES,
				   "the server does not know this cluster's secret: it belongs to "
				   "another cluster");
	memcpy(c->peer.cluster, r.cluster, WEFT_UUID_BYTES);
	memcpy(c->peer.store, r.store, WEFT_UUID_BYTES);
	memcpy(c->peer.boot, r.boot, WEFT_UUID_BYTES);
	nbd_auth_proof(c->secret, NBD_AUTH_CLIENT, c->client_nonce, c->server_nonce, r.cluster,
		       r.store, p.proof);
	put_option(c, WEFT_OPT_PROOF, &p, sizeof(p));
	c->state = CLIENT_PROOF;
	return 1;
}

static int take_go(struct nbd_client *c, uint32_t type, const uint8_t *data, uint32_t len)
{
	struct nbd_info_export ie;

	if (type == NBD_REP_INFO) {
		if (len < 2)
			return client_fail(c, -EPROTO, "the server sent malformed information");
		if (nbd_get16(data) == NBD_INFO_DESCRIPTION)
			snprintf(c->peer.description, sizeof(c->peer.description), "%.*s",
				 (int)(len - 2), (const char *)data + 2);
		if (nbd_get16(data) != NBD_INFO_EXPORT)
			return 1;
		if (len != sizeof(ie))
			return client_fail(c, -EPROTO, "the server sent malformed information");
		memcpy(&ie, data, sizeof(ie));
		c->peer.size = be64toh(ie.size);
		c->peer.flags = be16toh(ie.flags);
		c->have_export = true;
		return 1;
	}
	if (!c->have_export)
		return client_fail(c, -EPROTO, "the server did not describe what it opened");
	c->state = CLIENT_READY;
	c->env->ops->timer_cancel(c->env, &c->timer);
	c->ops->ready(c->ctx, c);
	return 1;
}

/* The server refused: say why, in its own words where it has some. */
static int take_error(struct nbd_client *c, uint32_t type, const uint8_t *data, uint32_t len)
{
	static const char *const doing[] = {
		[CLIENT_HELLO] = "authenticate",
		[CLIENT_PROOF] = "take our proof",
		[CLIENT_STRUCTURED] = "reply in chunks",
		[CLIENT_GO] = "open it",
	};
	char text[128];
	uint32_t n = len < sizeof(text) - 1 ? len : (uint32_t)sizeof(text) - 1;

	if (c->state == CLIENT_HELLO && type == NBD_REP_ERR_UNSUP)
		return client_fail(c, -EPROTO,
				   "an NBD server, but not a weft storage server with a secret");
	for (uint32_t i = 0; i < n; i++)
		text[i] = data[i] >= ' ' && data[i] < 0x7f ? (char)data[i] : '?';
	text[n] = '\0';
	c->err = type == NBD_REP_ERR_POLICY ? -EACCES : -EPROTO;
	snprintf(c->why, sizeof(c->why), "the server refused to %s: %s (error %u)", doing[c->state],
		 text, type & ~NBD_REP_FLAG_ERROR);
	return c->err;
}

static int step_answer(struct nbd_client *c)
{
	static const uint32_t options[] = {
		[CLIENT_HELLO] = WEFT_OPT_HELLO,
		[CLIENT_PROOF] = WEFT_OPT_PROOF,
		[CLIENT_STRUCTURED] = NBD_OPT_STRUCTURED_REPLY,
		[CLIENT_GO] = NBD_OPT_GO,
	};
	struct nbd_option_reply r;
	uint32_t len, type;
	const uint8_t *data;

	if (client_avail(c) < sizeof(r))
		return 0;
	memcpy(&r, c->in + c->in_head, sizeof(r));
	len = be32toh(r.len);
	type = be32toh(r.type);
	if (be64toh(r.magic) != NBD_REP_MAGIC || be32toh(r.option) != options[c->state])
		return client_fail(c, -EPROTO, "the server's answer makes no sense");
	if (len > CLIENT_REPLY_MAX || ++c->answers > CLIENT_ANSWERS_MAX)
		return client_fail(c, -EPROTO, "the server's answers are too long");
	if (client_avail(c) < sizeof(r) + len) {
		c->answers--;
		return 0;
	}
	data = c->in + c->in_head + sizeof(r);
	c->in_head += (uint32_t)sizeof(r) + len;
	if (type & NBD_REP_FLAG_ERROR)
		return take_error(c, type, data, len);
	if (c->state == CLIENT_HELLO && type == WEFT_REP_HELLO)
		return take_hello(c, data, len);
	if (c->state == CLIENT_PROOF && type == NBD_REP_ACK && len == 0 && c->route) {
		put_option(c, NBD_OPT_STRUCTURED_REPLY, NULL, 0);
		c->state = CLIENT_STRUCTURED;
		return 1;
	}
	if ((c->state == CLIENT_PROOF || c->state == CLIENT_STRUCTURED) && type == NBD_REP_ACK &&
	    len == 0) {
		put_go(c);
		return 1;
	}
	if (c->state == CLIENT_GO && (type == NBD_REP_INFO || (type == NBD_REP_ACK && len == 0)))
		return take_go(c, type, data, len);
	return client_fail(c, -EPROTO, "the server's answer makes no sense");
}

int client_step_hello(struct nbd_client *c)
{
	return c->state == CLIENT_GREETING ? step_greeting(c) : step_answer(c);
}
