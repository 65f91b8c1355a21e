/*
 * Fixed newstyle negotiation: the stream of options, taken apart one by one and bounded in length
 * and number, and the queue of answers. What each option does is in options.c.
 *
 * Source: the NBD protocol document, sections "Fixed newstyle negotiation" and "Option types".
 */
#include "config.h"

#include "nbd/session-impl.h"

#include <errno.h>
#include <stdlib.h>

#include "log.h"

#include "banned.h"

/* ---- answers ------------------------------------------------------------------------------- */

void session_neg_put(struct nbd_session *s, const void *data, uint32_t len)
{
	const uint8_t *p = data;

	if (s->neg_failed || len > SESSION_NEG_OUT_MAX - s->neg_bytes) {
		s->neg_failed = true;
		return;
	}
	while (len > 0) {
		struct session_chunk *c = s->neg_tail;
		uint32_t n;

		if (c == NULL || c->len == SESSION_NEG_CHUNK) {
			c = malloc(sizeof(*c));
			if (c == NULL) {
				s->neg_failed = true;
				return;
			}
			c->next = NULL;
			c->len = 0;
			if (s->neg_tail != NULL)
				s->neg_tail->next = c;
			else
				s->neg_head = c;
			s->neg_tail = c;
		}
		n = SESSION_NEG_CHUNK - c->len;
		if (n > len)
			n = len;
		memcpy(c->data + c->len, p, n);
		c->len += n;
		s->neg_bytes += n;
		s->neg_total += n;
		p += n;
		len -= n;
	}
}

int session_neg_output(struct nbd_session *s, struct iovec *iov, int max)
{
	uint32_t off = s->neg_off;
	int n = 0;

	for (struct session_chunk *c = s->neg_head; c != NULL && n < max; c = c->next) {
		iov[n].iov_base = c->data + off;
		iov[n].iov_len = c->len - off;
		off = 0;
		n++;
	}
	return n;
}

size_t session_neg_sent(struct nbd_session *s, size_t n)
{
	struct session_chunk *c;

	while (n > 0 && (c = s->neg_head) != NULL) {
		uint32_t here = c->len - s->neg_off;

		if (n < here) {
			s->neg_off += (uint32_t)n;
			s->neg_bytes -= (uint32_t)n;
			return 0;
		}
		n -= here;
		s->neg_bytes -= here;
		s->neg_off = 0;
		s->neg_head = c->next;
		if (s->neg_head == NULL)
			s->neg_tail = NULL;
		free(c);
	}
	return n;
}

void session_neg_free(struct nbd_session *s)
{
	session_neg_sent(s, s->neg_bytes);
	assert(s->neg_head == NULL);
}

void session_opt_reply2(struct nbd_session *s, uint32_t type, const void *head, uint32_t head_len,
			const void *data, uint32_t len)
{
	struct nbd_option_reply r = {
		.magic = htobe64(NBD_REP_MAGIC),
		.option = htobe32(s->option),
		.type = htobe32(type),
		.len = htobe32(head_len + len),
	};

	session_neg_put(s, &r, sizeof(r));
	session_neg_put(s, head, head_len);
	session_neg_put(s, data, len);
}

void session_opt_reply(struct nbd_session *s, uint32_t type, const void *data, uint32_t len)
{
	session_opt_reply2(s, type, NULL, 0, data, len);
}

void session_opt_error(struct nbd_session *s, uint32_t type, const char *text)
{
	log_debug("nbd: %s: option %u refused: %s", s->peer, s->option, text);
	session_opt_reply(s, type, text, (uint32_t)strlen(text));
}

/* ---- steps --------------------------------------------------------------------------------- */

int session_greet(struct nbd_session *s)
{
	struct nbd_greeting g = {
		.magic = htobe64(NBD_GREETING_MAGIC),
		.option_magic = htobe64(NBD_OPTION_MAGIC),
		.flags = htobe16(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES),
	};

	session_neg_put(s, &g, sizeof(g));
	return s->neg_failed ? -ENOMEM : 0;
}

int session_step_flags(struct nbd_session *s)
{
	uint32_t flags;

	if (session_avail(s) < sizeof(flags))
		return 0;
	flags = nbd_get32(s->in + s->in_head);
	s->in_head += sizeof(flags);
	if (flags & ~(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES)) {
		log_info("nbd: %s: unknown handshake flags 0x%x, closing", s->peer, flags);
		return -EPROTO;
	}
	s->fixed = flags & NBD_FLAG_FIXED_NEWSTYLE;
	s->no_zeroes = flags & NBD_FLAG_NO_ZEROES;
	s->state = SESSION_OPTIONS;
	return 1;
}

/* The rest of an option that was too long. */
static int session_skip_option(struct nbd_session *s)
{
	uint32_t n = session_avail(s);

	if (n > s->skip)
		n = s->skip;
	s->in_head += n;
	s->skip -= n;
	if (s->skip > 0)
		return 0;
	session_opt_error(s, NBD_REP_ERR_TOO_BIG, "the option's data is too long");
	return 1;
}

/* Checks the head of an option. 0 or -errno. */
static int session_check_option(struct nbd_session *s, const struct nbd_option *o, uint32_t len)
{
	if (be64toh(o->magic) != NBD_OPTION_MAGIC) {
		log_info("nbd: %s: does not speak newstyle NBD, closing", s->peer);
		return -EPROTO;
	}
	if (s->options >= NBD_OPTIONS_MAX) {
		log_info("nbd: %s: more than %u options, closing", s->peer, NBD_OPTIONS_MAX);
		return -EPROTO;
	}
	if (len > SESSION_OPTION_SKIP) {
		log_info("nbd: %s: option %u with %u bytes, closing", s->peer, s->option, len);
		return -EPROTO;
	}
	/* Without fixed newstyle there are no answers to options that both sides understand, and
	 * EXPORT_NAME has no error answer at all. */
	if (s->option == NBD_OPT_EXPORT_NAME ? len > NBD_NAME_MAX : !s->fixed) {
		log_info("nbd: %s: option %u with %u bytes is not possible here, closing", s->peer,
			 s->option, len);
		return -EPROTO;
	}
	return 0;
}

int session_step_option(struct nbd_session *s)
{
	struct nbd_option o;
	uint32_t len;
	int err;

	if (s->skip > 0)
		return session_skip_option(s);
	if (session_avail(s) < sizeof(o))
		return 0;
	if (s->neg_bytes > SESSION_NEG_OUT_STOP) {
		session_block(s, SESSION_BLOCK_OUTPUT);
		return 0;
	}
	memcpy(&o, s->in + s->in_head, sizeof(o));
	s->option = be32toh(o.option);
	len = be32toh(o.len);
	err = session_check_option(s, &o, len);
	if (err < 0)
		return err;
	if (len > SESSION_OPTION_MAX) {
		s->in_head += sizeof(o);
		s->options++;
		s->skip = len;
		return 1;
	}
	if (session_avail(s) < sizeof(o) + len)
		return 0;
	s->in_head += (uint32_t)sizeof(o) + len;
	s->options++;
	err = session_option(s, s->option, s->in + s->in_head - len, len);
	if (err == 0 && s->neg_failed) {
		log_warn("nbd: %s: no room for the answer to option %u, closing", s->peer,
			 s->option);
		err = -ENOBUFS;
	}
	if (err < 0)
		return err;
	if (s->state != SESSION_OPTIONS)
		return 0; /* ended by the option */
	if (s->opened)
		return session_negotiated(s);
	return 1;
}
