/* See fake-store.h. */
#include "config.h"

#include "fake-store.h"

#include <endian.h>
#include <stdio.h>

#include "nbd/proto.h"

static void fail(struct fake_server *s, const char *why, uint64_t a, uint64_t b)
{
	fprintf(stderr, "# server %u: violation: %s (%llu, %llu)\n", s->peer.server, why,
		(unsigned long long)a, (unsigned long long)b);
	s->cluster->violations++;
}

static size_t block_count(uint64_t blocks)
{
	return (size_t)__builtin_popcountll(blocks);
}

/* ---- bytes --------------------------------------------------------------------------------- */

static void scatter(const struct nbd_call *call, const uint8_t *from, size_t len)
{
	for (int i = 0; i < call->nin && len > 0; i++) {
		size_t n = call->in[i].iov_len < len ? call->in[i].iov_len : len;

		memcpy(call->in[i].iov_base, from, n);
		from += n;
		len -= n;
	}
	assert(len == 0);
}

static size_t iov_bytes(const struct iovec *iov, int n)
{
	size_t len = 0;

	for (int i = 0; i < n; i++)
		len += iov[i].iov_len;
	return len;
}

static uint8_t *gather(const struct nbd_call *call)
{
	uint8_t *all = malloc(iov_bytes(call->out, call->nout) + 1), *p = all;

	for (int i = 0; i < call->nout; i++) {
		memcpy(p, call->out[i].iov_base, call->out[i].iov_len);
		p += call->out[i].iov_len;
	}
	return all;
}

static struct fake_slot *slot_at(struct fake_server *s, uint64_t offset)
{
	uint64_t n = offset / WEFT_SHARD_BYTES;

	return n < FAKE_SLOTS && s->slots[n].used ? &s->slots[n] : NULL;
}

static int do_read(struct fake_server *s, struct nbd_call *call)
{
	struct fake_slot *slot = slot_at(s, call->offset);
	uint32_t at = call->offset % WEFT_SHARD_BYTES;

	if (slot == NULL)
		return WEFT_ESTALE;
	if (at + call->len > WEFT_SHARD_BYTES || iov_bytes(call->in, call->nin) != call->len) {
		fail(s, "read of", call->offset, call->len);
		return EINVAL;
	}
	for (uint32_t b = at / 4096; b <= (at + call->len - 1) / 4096; b++)
		if (slot->bad[b])
			return slot->bad[b] == 1 ? (int)WEFT_EBADMSG : EIO;
	scatter(call, slot->data + at, call->len);
	return 0;
}

static int do_verify(struct fake_server *s, struct nbd_call *call)
{
	struct fake_slot *slot = slot_at(s, call->offset);
	uint32_t at = call->offset % WEFT_SHARD_BYTES;

	if (slot == NULL || slot->gen != call->cmd.slot_gen)
		return WEFT_ESTALE;
	if (at % 4096 != 0 || call->cmd.tx == 0 || at + call->cmd.tx > WEFT_SHARD_BYTES)
		return EINVAL;
	for (uint32_t b = at / 4096; b < (at + call->cmd.tx) / 4096; b++)
		if (slot->bad[b])
			return slot->bad[b] == 1 ? (int)WEFT_EBADMSG : EIO;
	return 0;
}

static int do_map(struct fake_server *s, struct nbd_call *call)
{
	struct fake_slot *slot = slot_at(s, call->offset);
	struct weft_map_reply reply;
	uint64_t granules = 0;

	if (slot == NULL || slot->gen != call->cmd.slot_gen)
		return WEFT_ESTALE;
	for (uint32_t i = 0; i < WEFT_SHARD_BYTES; i += 4096) {
		const uint8_t *p = slot->data + i;

		if (p[0] != 0 || memcmp(p, p + 1, 4095) != 0 || slot->bad[i / 4096] != 0)
			granules |= 1ULL << (i / WEFT_GRANULE_BYTES);
	}
	reply.granules = htobe64(granules);
	scatter(call, (const uint8_t *)&reply, sizeof(reply));
	return 0;
}

/* ---- txs ----------------------------------------------------------------------------------- */

static void undo(struct fake_server *s, struct fake_prepared *p)
{
	const uint8_t *old = p->old;

	for (unsigned b = 0; b < 64; b++) {
		if ((p->blocks >> b & 1) == 0)
			continue;
		if (s->slots[p->slot].used)
			memcpy(s->slots[p->slot].data + p->offset % WEFT_SHARD_BYTES + b * 4096,
			       old, 4096);
		s->slots[p->slot].bad[p->offset % WEFT_SHARD_BYTES / 4096 + b] = p->old_bad[b];
		old += 4096;
	}
}

static void forget(struct fake_prepared **at)
{
	struct fake_prepared *p = *at;

	*at = p->next;
	free(p->old);
	free(p->redo);
	free(p);
}

static int prepare_check(struct fake_server *s, const struct nbd_call *call, struct fake_slot *slot)
{
	size_t want = call->cmd.mode == WEFT_MODE_ZERO ? 0 : block_count(call->cmd.blocks) * 4096;
	uint32_t first = call->offset % WEFT_SHARD_BYTES / 4096;

	if (slot == NULL || slot->gen != call->cmd.slot_gen)
		return WEFT_ESTALE;
	if (call->offset % 4096 != 0 || call->cmd.blocks == 0 ||
	    iov_bytes(call->out, call->nout) != want || call->cmd.participants == 0) {
		fail(s, "malformed prepare", call->offset, call->cmd.blocks);
		return EINVAL;
	}
	if (call->cmd.tx <= s->given_up)
		return EINVAL;
	if (call->cmd.tx <= s->committed) {
		fail(s, "prepare below the watermark", call->cmd.tx, s->committed);
		return EINVAL;
	}
	for (struct fake_prepared *p = s->prepared; p != NULL; p = p->next)
		if (p->tx == call->cmd.tx && !p->aborted)
			fail(s, "two prepares of one tx", p->tx, p->offset);
	if (s->fail_prepare > 0 && --s->fail_prepare == 0)
		return s->fail_error;
	if (s->full && call->cmd.mode != WEFT_MODE_ZERO)
		return ENOSPC;
	for (unsigned b = 0; b < 64; b++)
		if ((call->cmd.blocks >> b & 1) != 0 && slot->bad[first + b] &&
		    (call->cmd.mode == WEFT_MODE_XOR ||
		     (call->cmd.flags & WEFT_FLAG_WANT_OLD) != 0))
			return slot->bad[first + b] == 1 ? (int)WEFT_EBADMSG : EIO;
	return 0;
}

static void change_block(const struct nbd_call *call, uint8_t *dst, const uint8_t **src)
{
	switch (call->cmd.mode) {
	case WEFT_MODE_ZERO:
		memset(dst, 0, 4096);
		return;
	case WEFT_MODE_XOR:
		for (int i = 0; i < 4096; i++)
			dst[i] ^= (*src)[i];
		break;
	default:
		memcpy(dst, *src, 4096);
	}
	*src += 4096;
}

static int do_prepare(struct fake_server *s, struct nbd_call *call)
{
	struct fake_slot *slot = slot_at(s, call->offset);
	struct fake_prepared *p;
	uint8_t *data, *old;
	const uint8_t *src;
	int err = prepare_check(s, call, slot);

	if (err != 0)
		return err;
	p = calloc(1, sizeof(*p));
	data = gather(call);
	src = data;
	old = p->old = malloc(block_count(call->cmd.blocks) * 4096);
	for (unsigned b = 0; b < 64; b++) {
		uint32_t at = call->offset % WEFT_SHARD_BYTES + b * 4096;

		if ((call->cmd.blocks >> b & 1) == 0)
			continue;
		memcpy(old, slot->data + at, 4096);
		old += 4096;
		change_block(call, slot->data + at, &src);
		p->old_bad[b] = slot->bad[at / 4096];
		slot->bad[at / 4096] = 0;
	}
	free(data);
	p->tx = call->cmd.tx;
	p->offset = call->offset;
	p->blocks = call->cmd.blocks;
	p->slot = (uint32_t)(call->offset / WEFT_SHARD_BYTES);
	p->participants = call->cmd.participants;
	p->next = s->prepared;
	s->prepared = p;
	if ((call->cmd.flags & WEFT_FLAG_WANT_OLD) != 0)
		scatter(call, p->old, call->cmd.reply_len);
	return 0;
}

static int do_commit(struct fake_server *s, uint64_t tx)
{
	for (struct fake_prepared *p = s->prepared; p != NULL; p = p->next) {
		if (p->tx > tx || p->aborted)
			continue;
		if (!p->durable)
			fail(s, "commit of what is not durable", p->tx, tx);
		p->committed = true;
	}
	if (tx > s->committed)
		s->committed = tx;
	return 0;
}

/* Out of sight; until the next flush a crash brings it back. */
static void set_aside(struct fake_server *s, struct fake_prepared *p)
{
	uint8_t *to = p->redo = malloc(block_count(p->blocks) * 4096);

	for (unsigned b = 0; b < 64; b++) {
		if ((p->blocks >> b & 1) == 0)
			continue;
		memcpy(to, s->slots[p->slot].data + p->offset % WEFT_SHARD_BYTES + b * 4096, 4096);
		to += 4096;
	}
	undo(s, p);
	p->aborted = true;
}

static void bring_back(struct fake_server *s, struct fake_prepared *p)
{
	const uint8_t *from = p->redo;

	for (unsigned b = 0; b < 64; b++) {
		if ((p->blocks >> b & 1) == 0)
			continue;
		memcpy(s->slots[p->slot].data + p->offset % WEFT_SHARD_BYTES + b * 4096, from,
		       4096);
		s->slots[p->slot].bad[p->offset % WEFT_SHARD_BYTES / 4096 + b] = 0;
		from += 4096;
	}
	free(p->redo);
	p->redo = NULL;
	p->aborted = false;
}

static int do_abort(struct fake_server *s, uint64_t tx)
{
	struct fake_prepared *target = s->prepared, **at;
	uint64_t blocks;

	while (target != NULL && (target->tx != tx || target->committed || target->aborted))
		target = target->next;
	if (target == NULL)
		return 0;
	blocks = target->blocks;
	/* which later ones: oldest of them first would be right, closing over twice is enough here
	 */
	for (int round = 0; round < 64; round++)
		for (struct fake_prepared *p = s->prepared; p != target; p = p->next)
			if (!p->aborted && p->offset == target->offset && (p->blocks & blocks) != 0)
				blocks |= p->blocks;
	for (at = &s->prepared; *at != NULL;) {
		struct fake_prepared *p = *at;
		bool last = p == target;

		bool built_upon = p->offset == target->offset && (p->blocks & blocks) != 0;

		if (last || (!p->aborted && built_upon))
			set_aside(s, p);
		at = &p->next;
		if (last)
			break;
	}
	return 0;
}

static int do_flush(struct fake_server *s)
{
	s->committed_durable = s->committed;
	for (struct fake_prepared **at = &s->prepared; *at != NULL;) {
		(*at)->durable = true;
		if ((*at)->committed || (*at)->aborted)
			forget(at);
		else
			at = &(*at)->next;
	}
	return 0;
}

static void do_crash(struct fake_server *s)
{
	for (struct fake_prepared **at = &s->prepared; *at != NULL;) {
		if ((*at)->durable) {
			at = &(*at)->next;
			continue;
		}
		if (!(*at)->aborted)
			undo(s, *at);
		forget(at);
	}
	for (;;) { /* the ABORT was not durable; the oldest first */
		struct fake_prepared *oldest = NULL;

		for (struct fake_prepared *p = s->prepared; p != NULL; p = p->next)
			if (p->aborted)
				oldest = p;
		if (oldest == NULL)
			break;
		bring_back(s, oldest);
	}
	for (struct fake_prepared *p = s->prepared; p != NULL; p = p->next)
		p->committed = p->tx <= s->committed_durable;
	s->committed = s->committed_durable;
	s->given_up = 0;
}

/* ---- the other commands -------------------------------------------------------------------- */

static int do_fence(struct fake_server *s, struct nbd_call *call)
{
	struct weft_fence_reply r = {.committed = htobe64(s->committed),
				     .old_epoch = htobe32(s->epoch)};
	uint32_t n = 0;

	if (call->cmd.epoch < s->epoch)
		return WEFT_ESTALE;
	for (struct fake_prepared *p = s->prepared; p != NULL; p = p->next)
		n += !p->committed && !p->aborted;
	r.prepared = htobe32(n);
	s->epoch = call->cmd.epoch;
	if (s->given_up < call->cmd.blocks)
		s->given_up = call->cmd.blocks;
	scatter(call, (const uint8_t *)&r, sizeof(r));
	return 0;
}

static int do_list(struct fake_server *s, struct nbd_call *call)
{
	uint32_t max = (call->cmd.reply_len - 32) / 40, n = 0;
	uint8_t *page = calloc(1, call->cmd.reply_len);
	struct weft_list_head *head = (struct weft_list_head *)page;
	struct weft_list_entry *e = (struct weft_list_entry *)(head + 1);
	uint64_t from = call->cmd.tx;

	for (;;) {
		struct fake_prepared *best = NULL;

		for (struct fake_prepared *p = s->prepared; p != NULL; p = p->next)
			if (!p->committed && !p->aborted && p->tx >= from &&
			    (best == NULL || p->tx < best->tx))
				best = p;
		if (best == NULL)
			break;
		if (n == max) {
			head->more = htobe32(1);
			break;
		}
		e[n].tx = htobe64(best->tx);
		e[n].offset = htobe64(best->offset);
		e[n].blocks = htobe64(best->blocks);
		e[n].slot_gen = htobe32(s->slots[best->slot].gen);
		e[n].durable = htobe32(best->durable);
		e[n++].participants = htobe32(best->participants);
		from = best->tx + 1;
	}
	head->count = htobe32(n);
	head->committed = htobe64(s->committed);
	scatter(call, page, call->cmd.reply_len);
	free(page);
	return 0;
}

static int do_label(struct fake_server *s, struct nbd_call *call)
{
	struct weft_slot_reply r = {0};
	struct weft_label *label = (struct weft_label *)gather(call);
	unsigned i;

	for (i = 0; i < FAKE_SLOTS; i++)
		if (s->slots[i].used && memcmp(&s->slots[i].label, label, 24) == 0 &&
		    s->slots[i].label.shard == label->shard)
			break;
	if (i == FAKE_SLOTS)
		for (i = 0; i < FAKE_SLOTS && s->slots[i].used; i++)
			;
	if (i == FAKE_SLOTS || s->full) {
		free(label);
		return ENOSPC;
	}
	if (!s->slots[i].used) {
		free(s->slots[i].data);
		s->slots[i] =
			(struct fake_slot){.used = true, .gen = ++s->next_gen, .label = *label};
		s->slots[i].data = calloc(1, WEFT_SHARD_BYTES);
	}
	free(label);
	r.slot = htobe32(i);
	r.slot_gen = htobe32(s->slots[i].gen);
	scatter(call, (const uint8_t *)&r, sizeof(r));
	return 0;
}

static int do_discard(struct fake_server *s, struct nbd_call *call)
{
	struct fake_slot *slot = slot_at(s, call->offset);

	if (slot == NULL || slot->gen != call->cmd.slot_gen)
		return WEFT_ESTALE;
	slot->used = false;
	for (struct fake_prepared **at = &s->prepared; *at != NULL;)
		if ((*at)->slot == call->offset / WEFT_SHARD_BYTES)
			forget(at);
		else
			at = &(*at)->next;
	free(slot->data);
	slot->data = NULL;
	return 0;
}

static int do_mark(struct fake_server *s, struct nbd_call *call)
{
	struct fake_slot *slot = slot_at(s, call->offset);

	if (slot == NULL || slot->gen != call->cmd.slot_gen)
		return WEFT_ESTALE;
	if (call->cmd.tx == 0 || call->cmd.tx > UINT32_MAX)
		return EINVAL;
	if (call->cmd.tx > slot->mark) {
		slot->mark = (uint32_t)call->cmd.tx;
		slot->stale = (uint32_t)call->cmd.blocks;
	}
	return 0;
}

static int execute(struct fake_server *s, struct nbd_call *call)
{
	unsigned kind = call->type < 8 ? call->type : 8 + (call->type - WEFT_CMD_PREPARE);

	assert(kind < 24);
	s->cluster->calls[kind]++;
	if (call->type >= WEFT_CMD_PREPARE && call->type != WEFT_CMD_FENCE &&
	    call->cmd.epoch != s->epoch)
		return WEFT_ESTALE;
	if (s->refusals > 0 && s->refuse == call->type) {
		s->refusals--;
		return s->refuse_error;
	}
	switch (call->type) {
	case NBD_CMD_READ:
		return do_read(s, call);
	case NBD_CMD_FLUSH:
		return do_flush(s);
	case WEFT_CMD_PREPARE:
		return do_prepare(s, call);
	case WEFT_CMD_COMMIT:
		return do_commit(s, call->cmd.tx);
	case WEFT_CMD_ABORT:
		return do_abort(s, call->cmd.tx);
	case WEFT_CMD_LIST:
		return do_list(s, call);
	case WEFT_CMD_FENCE:
		return do_fence(s, call);
	case WEFT_CMD_LABEL:
		return do_label(s, call);
	case WEFT_CMD_DISCARD:
		return do_discard(s, call);
	case WEFT_CMD_MARK:
		return do_mark(s, call);
	case WEFT_CMD_VERIFY:
		return do_verify(s, call);
	case WEFT_CMD_MAP:
		return do_map(s, call);
	default:
		return EINVAL;
	}
}

/* ---- delivery ------------------------------------------------------------------------------ */

static void submit(struct peer *p, struct nbd_call *call)
{
	struct fake_server *s = (struct fake_server *)p;

	assert(p->up);
	call->next = NULL;
	*s->queue_tail = call;
	s->queue_tail = &call->next;
}

static const struct peer_ops ops = {.submit = submit};

static void take_call(struct fake_server *s)
{
	struct nbd_call *call = s->queue;

	s->queue = call->next;
	if (s->queue == NULL)
		s->queue_tail = &s->queue;
	call->cookie = (uint64_t)execute(s, call);
	if ((call->flags & NBD_CMD_FLAG_FUA) != 0 && call->cookie == 0)
		do_flush(s);
	call->next = s->replies;
	s->replies = call;
	s->nreplies++;
}

static void give_reply(struct fake_server *s)
{
	uint32_t n = fake_below(s->cluster->env, (uint32_t)s->nreplies);
	struct nbd_call **at = &s->replies, *call;

	while (n-- > 0)
		at = &(*at)->next;
	call = *at;
	*at = call->next;
	s->nreplies--;
	call->done(call, (int)call->cookie);
}

bool fake_cluster_step(struct fake_cluster *c)
{
	unsigned start = fake_below(c->env, c->n);

	for (unsigned i = 0; i < c->n; i++) {
		struct fake_server *s = &c->servers[(start + i) % c->n];
		bool take = s->queue != NULL;

		if (s->hung)
			continue;
		if (s->nreplies > 0 && (!take || fake_below(c->env, 2) == 0)) {
			give_reply(s);
			return true;
		}
		if (!take)
			continue;
		take_call(s);
		if (s->break_after > 0 && --s->break_after == 0)
			fake_server_break(s, s->break_crash);
		return true;
	}
	return false;
}

void fake_server_log(struct fake_server *s)
{
	do_flush(s);
}

/* With a copy of its bytes, for its sender believes it ended. */
static void keep_late(struct fake_server *s)
{
	struct nbd_call *call = s->queue;
	struct iovec *iov;

	while (call != NULL && call->type != WEFT_CMD_PREPARE)
		call = call->next;
	if (!s->keep_late || call == NULL)
		return;
	s->keep_late = false;
	s->late = malloc(sizeof(*call) + sizeof(*iov));
	*s->late = *call;
	iov = (struct iovec *)(s->late + 1);
	*iov = (struct iovec){gather(call), iov_bytes(call->out, call->nout)};
	s->late->out = iov;
	s->late->nout = 1;
	s->late->in = NULL;
	s->late->nin = 0;
	s->late->cmd.flags = 0;
}

int fake_server_late(struct fake_server *s)
{
	struct nbd_call *call = s->late;
	int err;

	if (call == NULL)
		return -1;
	s->late = NULL;
	err = execute(s, call);
	free(call->out->iov_base);
	free(call);
	return err;
}

void fake_server_break(struct fake_server *s, bool crash)
{
	struct nbd_call *lists[2] = {s->replies, s->queue};

	if (!s->peer.up)
		return;
	s->peer.up = false;
	keep_late(s);
	s->queue = s->replies = NULL;
	s->queue_tail = &s->queue;
	s->nreplies = 0;
	if (crash)
		do_crash(s);
	if (crash)
		s->peer.boot[0]++;
	for (int i = 0; i < 2; i++)
		while (lists[i] != NULL) {
			struct nbd_call *call = lists[i];

			lists[i] = call->next;
			call->done(call, -ENOTCONN);
		}
	if (s->cluster->changed != NULL)
		s->cluster->changed(s->cluster->ctx, &s->peer);
}

void fake_server_return(struct fake_server *s)
{
	if (s->peer.up)
		return;
	s->peer.up = true;
	if (s->cluster->changed != NULL)
		s->cluster->changed(s->cluster->ctx, &s->peer);
}

unsigned fake_cluster_slots(const struct fake_cluster *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->n; i++)
		for (unsigned k = 0; k < FAKE_SLOTS; k++)
			n += c->servers[i].slots[k].used;
	return n;
}

unsigned fake_cluster_prepared(const struct fake_cluster *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->n; i++)
		for (struct fake_prepared *p = c->servers[i].prepared; p != NULL; p = p->next)
			n += !p->committed && !p->aborted;
	return n;
}

void fake_cluster_init(struct fake_cluster *c, struct fake_env *env, unsigned n)
{
	memset(c, 0, sizeof(*c));
	c->env = env;
	c->n = n;
	c->servers = calloc(n, sizeof(*c->servers));
	for (unsigned i = 0; i < n; i++) {
		struct fake_server *s = &c->servers[i];

		s->cluster = c;
		s->peer.ops = &ops;
		s->peer.server = i + 1;
		s->peer.up = true;
		s->queue_tail = &s->queue;
	}
}

void fake_cluster_free(struct fake_cluster *c)
{
	for (unsigned i = 0; i < c->n; i++) {
		struct fake_server *s = &c->servers[i];

		while (s->prepared != NULL)
			forget(&s->prepared);
		for (unsigned k = 0; k < FAKE_SLOTS; k++)
			free(s->slots[k].data);
	}
	free(c->servers);
}
