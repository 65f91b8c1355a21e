/*
 * What each option of the negotiation does. A handler gets the option's whole data and answers with
 * session_opt_*(); a negative return ends the connection. Unknown options, STARTTLS among them, are
 * refused and the negotiation goes on.
 *
 * Source: the NBD protocol document, section "Option types"; weft.h for the private ones.
 */
#include "config.h"

#include "nbd/session-impl.h"

#include <errno.h>
#include <stdlib.h>

#include "log.h"
#include "nbd/auth.h"

#include "banned.h"

#define META_NAMESPACE	  "base:"
#define META_ALLOCATION	  "base:allocation"

#define OPTION_NAME_SHOWN 64u /* bytes of a name in a log line */

/* ---- opening an export --------------------------------------------------------------------- */

static uint32_t open_error(int err)
{
	switch (err) {
	case -ENOENT:
		return NBD_REP_ERR_UNKNOWN;
	case -EPERM:
	case -EACCES:
		return NBD_REP_ERR_POLICY;
	case -ESHUTDOWN:
		return NBD_REP_ERR_SHUTDOWN;
	default:
		return NBD_REP_ERR_PLATFORM;
	}
}

static const char *open_error_text(int err)
{
	switch (err) {
	case -ENOENT:
		return "no export of this name";
	case -EPERM:
	case -EACCES:
		return "not permitted";
	case -ESHUTDOWN:
		return "shutting down";
	default:
		return "the export cannot be opened";
	}
}

/* Ask the back end. *rep is the error answer when it refuses. */
static int option_open(struct nbd_session *s, const uint8_t *name, uint32_t len, bool info_only,
		       struct nbd_export *export, uint32_t *rep, const char **why)
{
	int err;

	*export = (struct nbd_export){0};
	*why = NULL;
	err = s->ops->open(s->ctx, s, (const char *)name, len, info_only, export, why);
	if (err != 0) {
		*rep = open_error(err);
		if (*why == NULL)
			*why = open_error_text(err);
		log_info("nbd: %s: export \"%.*s\" refused: %s", s->peer,
			 (int)(len < OPTION_NAME_SHOWN ? len : OPTION_NAME_SHOWN),
			 (const char *)name, *why);
		return err;
	}
	assert(export->max_block > 0 && export->max_block <= NBD_PAYLOAD_MAX);
	assert(export->min_block > 0 && (export->min_block & (export->min_block - 1)) == 0);
	if (export->private_cmds && !s->authenticated) {
		/* the back end should have seen to this */
		log_warn("nbd: %s: wanted a private export without a proof, closing", s->peer);
		if (!info_only) {
			s->export.ctx = export->ctx;
			s->opened = true;
		}
		session_end(s);
		*rep = NBD_REP_ERR_POLICY;
		*why = "authenticate first";
		return -EPERM;
	}
	return 0;
}

static uint16_t option_flags(const struct nbd_session *s, const struct nbd_export *export)
{
	uint16_t flags = export->flags | NBD_FLAG_HAS_FLAGS;

	if (s->structured && !export->private_cmds)
		flags |= NBD_FLAG_SEND_DF;
	return flags;
}

/* The export is this session's from now on. */
static void option_opened(struct nbd_session *s, const struct nbd_export *export,
			  const uint8_t *name, uint32_t len)
{
	s->export = *export;
	s->export.description = NULL;
	s->export.flags = option_flags(s, export);
	s->opened = true;
	if (export->private_cmds)
		s->structured = false;
	s->status_ok = s->structured && s->meta_name != NULL && s->meta_name_len == len &&
		       memcmp(s->meta_name, name, len) == 0;
}

static int option_export_name(struct nbd_session *s, const uint8_t *data, uint32_t len)
{
	static const uint8_t zeroes[NBD_EXPORT_ZEROES];
	struct nbd_export_reply r;
	struct nbd_export export;
	const char *why;
	uint32_t rep;

	if (option_open(s, data, len, false, &export, &rep, &why) != 0)
		return -ENOENT;
	option_opened(s, &export, data, len);
	r.size = htobe64(s->export.size);
	r.flags = htobe16(s->export.flags);
	session_neg_put(s, &r, sizeof(r));
	if (!s->no_zeroes)
		session_neg_put(s, zeroes, sizeof(zeroes));
	return 0;
}

static void option_send_info(struct nbd_session *s, uint16_t info, const struct nbd_export *export,
			     const uint8_t *name, uint32_t len)
{
	uint16_t type = htobe16(info);
	struct nbd_info_block_size bs;

	switch (info) {
	case NBD_INFO_NAME:
		session_opt_reply2(s, NBD_REP_INFO, &type, sizeof(type), name, len);
		break;
	case NBD_INFO_DESCRIPTION:
		if (export->description != NULL)
			session_opt_reply2(s, NBD_REP_INFO, &type, sizeof(type),
					   export->description,
					   (uint32_t)strnlen(export->description, NBD_NAME_MAX));
		break;
	case NBD_INFO_BLOCK_SIZE:
		bs.type = type;
		bs.min_block = htobe32(export->min_block);
		bs.pref_block = htobe32(export->pref_block);
		bs.max_block = htobe32(export->max_block);
		session_opt_reply(s, NBD_REP_INFO, &bs, sizeof(bs));
		break;
	default: /* EXPORT is sent always; unknown ones are ignored, as the document says */
		break;
	}
}

/* INFO and GO: name length, name, number of infos, infos. */
static int option_info_go(struct nbd_session *s, const uint8_t *data, uint32_t len)
{
	bool info_only = s->option == NBD_OPT_INFO;
	struct nbd_info_export ie;
	struct nbd_export export;
	uint32_t name_len, rep, seen = 0;
	const uint8_t *name, *infos;
	unsigned count;
	const char *why;

	name_len = len >= 6 ? nbd_get32(data) : 0;
	if (len < 6 || name_len > len - 6) {
		session_opt_error(s, NBD_REP_ERR_INVALID, "malformed request for an export");
		return 0;
	}
	if (name_len > NBD_NAME_MAX) {
		session_opt_error(s, NBD_REP_ERR_TOO_BIG, "export names have up to 4096 bytes");
		return 0;
	}
	name = data + 4;
	count = nbd_get16(name + name_len);
	infos = name + name_len + 2;
	if (len != 6 + name_len + 2 * count) {
		session_opt_error(s, NBD_REP_ERR_INVALID, "malformed list of information");
		return 0;
	}
	if (option_open(s, name, name_len, info_only, &export, &rep, &why) != 0) {
		session_opt_error(s, rep, why);
		return 0;
	}
	ie.type = htobe16(NBD_INFO_EXPORT);
	ie.size = htobe64(export.size);
	ie.flags = htobe16(option_flags(s, &export));
	session_opt_reply(s, NBD_REP_INFO, &ie, sizeof(ie));
	for (unsigned i = 0; i < count; i++) {
		uint16_t info = nbd_get16(infos + 2 * i);

		/* each once, however often it is asked for */
		if (info > NBD_INFO_BLOCK_SIZE || (seen & (1u << info)))
			continue;
		seen |= 1u << info;
		option_send_info(s, info, &export, name, name_len);
	}
	session_opt_reply(s, NBD_REP_ACK, NULL, 0);
	if (!info_only)
		option_opened(s, &export, name, name_len);
	return 0;
}

/* ---- listing ------------------------------------------------------------------------------- */

static void option_emit(void *ctx, const char *name, const char *desc)
{
	struct nbd_session *s = ctx;
	uint32_t name_len = (uint32_t)strnlen(name, NBD_NAME_MAX);
	uint32_t desc_len = desc != NULL ? (uint32_t)strnlen(desc, NBD_NAME_MAX) : 0;
	uint8_t head[4 + NBD_NAME_MAX];

	nbd_put32(head, name_len);
	memcpy(head + 4, name, name_len);
	session_opt_reply2(s, NBD_REP_SERVER, head, 4 + name_len, desc, desc_len);
}

static int option_list(struct nbd_session *s, const uint8_t *data, uint32_t len)
{
	if (len != 0)
		session_opt_error(s, NBD_REP_ERR_INVALID, "LIST has no data");
	else if (s->ops->list == NULL || s->ops->list(s->ctx, option_emit, s) != 0)
		session_opt_error(s, NBD_REP_ERR_POLICY, "exports are not listed");
	else
		session_opt_reply(s, NBD_REP_ACK, NULL, 0);
	return 0;
}

/* ---- replies and contexts ------------------------------------------------------------------ */

static int option_structured(struct nbd_session *s, const uint8_t *data, uint32_t len)
{
	if (len != 0) {
		session_opt_error(s, NBD_REP_ERR_INVALID, "STRUCTURED_REPLY has no data");
		return 0;
	}
	s->structured = true;
	session_opt_reply(s, NBD_REP_ACK, NULL, 0);
	return 0;
}

struct meta_query {
	const uint8_t *name;
	uint32_t name_len;
	uint32_t count;
	bool match; /* base:allocation is among what was asked for */
};

/* Export name, number of queries, queries. All lengths are checked here. */
static bool meta_parse(const uint8_t *data, uint32_t len, bool set, struct meta_query *q)
{
	uint32_t n;

	if (len < 8 || nbd_get32(data) > len - 8)
		return false;
	q->name_len = nbd_get32(data);
	q->name = data + 4;
	data += 4 + q->name_len;
	len -= 4 + q->name_len;
	q->count = nbd_get32(data);
	data += 4;
	len -= 4;
	/* listing without a query lists everything */
	q->match = !set && q->count == 0;
	for (uint32_t i = 0; i < q->count; i++) {
		if (len < 4 || nbd_get32(data) > len - 4)
			return false;
		n = nbd_get32(data);
		data += 4;
		if (n == strlen(META_ALLOCATION) && memcmp(data, META_ALLOCATION, n) == 0)
			q->match = true;
		if (!set && n == strlen(META_NAMESPACE) && memcmp(data, META_NAMESPACE, n) == 0)
			q->match = true;
		data += n;
		len -= 4 + n;
	}
	return len == 0;
}

static int option_meta_context(struct nbd_session *s, const uint8_t *data, uint32_t len)
{
	bool set = s->option == NBD_OPT_SET_META_CONTEXT;
	struct nbd_export export;
	struct meta_query q;
	const char *why;
	uint32_t rep, id;

	if (set) {
		/* the last one counts, also when it fails */
		free(s->meta_name);
		s->meta_name = NULL;
	}
	if (!s->structured) {
		session_opt_error(s, NBD_REP_ERR_INVALID, "negotiate structured replies first");
		return 0;
	}
	if (!meta_parse(data, len, set, &q)) {
		session_opt_error(s, NBD_REP_ERR_INVALID, "malformed query for contexts");
		return 0;
	}
	if (q.name_len > NBD_NAME_MAX) {
		session_opt_error(s, NBD_REP_ERR_TOO_BIG, "export names have up to 4096 bytes");
		return 0;
	}
	if (option_open(s, q.name, q.name_len, true, &export, &rep, &why) != 0) {
		session_opt_error(s, rep, why);
		return 0;
	}
	if (q.match && !export.private_cmds) {
		if (set) {
			/* one byte more: an empty name is a name */
			s->meta_name = malloc(q.name_len + 1);
			if (s->meta_name == NULL)
				return -ENOMEM;
			memcpy(s->meta_name, q.name, q.name_len);
			s->meta_name_len = q.name_len;
		}
		id = htobe32(set ? SESSION_META_ID : 0);
		session_opt_reply2(s, NBD_REP_META_CONTEXT, &id, sizeof(id), META_ALLOCATION,
				   (uint32_t)strlen(META_ALLOCATION));
	}
	session_opt_reply(s, NBD_REP_ACK, NULL, 0);
	return 0;
}

static int option_abort(struct nbd_session *s, const uint8_t *data, uint32_t len)
{
	session_opt_reply(s, NBD_REP_ACK, NULL, 0);
	session_end(s);
	return 0;
}

/* ---- authentication ------------------------------------------------------------------------ */

static int option_hello(struct nbd_session *s, const uint8_t *data, uint32_t len)
{
	struct weft_hello hello;
	struct weft_hello_reply r = {0};

	if (len == sizeof(hello))
		memcpy(&hello, data, sizeof(hello));
	if (len != sizeof(hello) || be32toh(hello.version) != WEFT_PROTOCOL_VERSION ||
	    hello.reserved != 0) {
		session_opt_error(s, NBD_REP_ERR_INVALID, "this server speaks private version 1");
		return 0;
	}
	memcpy(s->client_nonce, hello.nonce, WEFT_NONCE_BYTES);
	s->env->ops->random(s->env, s->server_nonce, WEFT_NONCE_BYTES);
	s->have_hello = true;
	s->authenticated = false;
	r.version = htobe32(WEFT_PROTOCOL_VERSION);
	memcpy(r.nonce, s->server_nonce, WEFT_NONCE_BYTES);
	memcpy(r.cluster, s->auth->cluster, WEFT_UUID_BYTES);
	memcpy(r.store, s->auth->store, WEFT_UUID_BYTES);
	memcpy(r.boot, s->auth->boot, WEFT_UUID_BYTES);
	nbd_auth_proof(s->auth->secret, NBD_AUTH_SERVER, s->client_nonce, s->server_nonce,
		       s->auth->cluster, s->auth->store, r.proof);
	session_opt_reply(s, WEFT_REP_HELLO, &r, sizeof(r));
	return 0;
}

static int option_proof(struct nbd_session *s, const uint8_t *data, uint32_t len)
{
	uint8_t proof[WEFT_PROOF_BYTES];

	if (len != sizeof(struct weft_proof) || !s->have_hello) {
		session_opt_error(s, NBD_REP_ERR_INVALID, "a proof of 32 bytes follows a hello");
		return 0;
	}
	/* a nonce is good for one try */
	s->have_hello = false;
	nbd_auth_proof(s->auth->secret, NBD_AUTH_CLIENT, s->client_nonce, s->server_nonce,
		       s->auth->cluster, s->auth->store, proof);
	if (!nbd_auth_equal(proof, data)) {
		log_warn("nbd: %s: does not know the cluster's secret, closing", s->peer);
		session_opt_error(s, NBD_REP_ERR_POLICY, "wrong secret");
		session_end(s);
		return 0;
	}
	s->authenticated = true;
	session_opt_reply(s, NBD_REP_ACK, NULL, 0);
	return 0;
}

/* ---- the table ----------------------------------------------------------------------------- */

static const struct {
	uint32_t option;
	bool private; /* only where there is a secret */
	int (*handle)(struct nbd_session *s, const uint8_t *data, uint32_t len);
} option_table[] = {
	{NBD_OPT_EXPORT_NAME, false, option_export_name},
	{NBD_OPT_ABORT, false, option_abort},
	{NBD_OPT_LIST, false, option_list},
	{NBD_OPT_INFO, false, option_info_go},
	{NBD_OPT_GO, false, option_info_go},
	{NBD_OPT_STRUCTURED_REPLY, false, option_structured},
	{NBD_OPT_LIST_META_CONTEXT, false, option_meta_context},
	{NBD_OPT_SET_META_CONTEXT, false, option_meta_context},
	{WEFT_OPT_HELLO, true, option_hello},
	{WEFT_OPT_PROOF, true, option_proof},
};

int session_option(struct nbd_session *s, uint32_t option, const uint8_t *data, uint32_t len)
{
	for (size_t i = 0; i < sizeof(option_table) / sizeof(option_table[0]); i++) {
		if (option_table[i].option != option)
			continue;
		if (option_table[i].private && s->auth == NULL)
			break;
		return option_table[i].handle(s, data, len);
	}
	session_opt_error(s, NBD_REP_ERR_UNSUP, "this option is not supported");
	return 0;
}
