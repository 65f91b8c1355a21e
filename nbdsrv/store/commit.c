/* COMMIT and ABORT: which prepared txs take effect. */
#include "config.h"

#include "store/store_internal.h"

#include "banned.h"

static void answer(struct store *s, struct nbd_req *req)
{
	if ((req->flags & NBD_CMD_FLAG_FUA) != 0)
		wal_answer(s, req);
	else
		nbd_req_done(req, 0);
}

static int check(struct store *s, struct nbd_req *req, struct vol **v)
{
	int err = vol_check_epoch(s, &req->cmd, v);

	if (req->len != 0 || req->cmd.reply_len != 0 || req->cmd.tx == 0)
		return EINVAL;
	return err;
}

void commit_request(struct store *s, struct nbd_req *req)
{
	struct ptx *t, **at;
	struct vol *v;
	struct rec *r;
	int err = check(s, req, &v);

	if (err != 0) {
		nbd_req_done(req, err);
		return;
	}
	if (req->cmd.tx <= v->committed) {
		answer(s, req);
		return;
	}
	r = slab_get(&s->recs);
	if (r == NULL) {
		store_stall(s, req);
		return;
	}
	r->type = REC_COMMIT;
	r->vol = v;
	r->number = req->cmd.tx;
	v->committed = req->cmd.tx;
	at = &r->list;
	while ((t = v->first) != NULL && t->tx <= v->committed) {
		ptx_decide(s, t, PTX_COMMITTED);
		*at = t;
		at = &t->next;
	}
	wal_append(s, r);
	store_stall_kick(s); /* PREPAREs may wait for prepared payload to become less */
	answer(s, req);
}

static bool overlap(const struct ptx *a, const struct ptx *b)
{
	int64_t shift = ((int64_t)b->offset - (int64_t)a->offset) / (int64_t)WEFT_BLOCK_BYTES;

	if (shift <= -64 || shift >= 64)
		return false;
	return shift >= 0 ? (a->blocks >> shift & b->blocks) != 0
			  : (b->blocks >> -shift & a->blocks) != 0;
}

/* One record for each tx, so that replay need not find out again which ones go. */
static void undo(struct store *s, struct ptx *t)
{
	struct rec *r = slab_get(&s->recs);

	assert(r != NULL); /* ensured */
	r->type = REC_ABORT;
	r->vol = t->vol;
	r->number = t->tx;
	r->slot = t->slot;
	ptx_decide(s, t, PTX_DROPPED);
	t->next = NULL;
	r->list = t;
	wal_append(s, r);
}

/*
 * A PREPARE may still be on its way, in another connection or in a queue here, when its owner has
 * given up waiting and aborts it. It comes too late then, whoever sent it.
 */
static void abort_remember(struct store *s, struct vol *v, uint64_t tx)
{
	if (abort_came(s, v, tx))
		return;
	s->aborted[s->aborted_next] = (struct aborted){.volume = v->number, .tx = tx};
	s->aborted_next = (s->aborted_next + 1) % ABORTED_MAX;
	if (tx > v->aborted)
		v->aborted = tx;
}

bool abort_came(const struct store *s, const struct vol *v, uint64_t tx)
{
	if (tx > v->aborted) /* nearly always */
		return false;
	for (uint32_t i = 0; i < ABORTED_MAX; i++)
		if (s->aborted[i].tx == tx && s->aborted[i].volume == v->number)
			return true;
	return false;
}

/*
 * The tx, every later one on the same blocks, and again what is later than those and on their
 * blocks: it may have been made from bytes that are undone.
 */
void abort_request(struct store *s, struct nbd_req *req)
{
	struct ptx *t, *next;
	struct vol *v;
	int err = check(s, req, &v);

	if (err == 0 && req->cmd.tx <= v->committed)
		err = EINVAL;
	if (err != 0) {
		nbd_req_done(req, err);
		return;
	}
	if (!slab_ensure(&s->recs, v->prepared)) {
		store_stall(s, req);
		return;
	}
	abort_remember(s, v, req->cmd.tx);
	for (t = v->last; t != NULL && t->tx >= req->cmd.tx; t = t->prev)
		t->doomed = t->tx == req->cmd.tx;
	for (t = v->first; t != NULL; t = t->next) {
		if (t->tx < req->cmd.tx || !t->doomed)
			continue;
		for (next = t->next; next != NULL; next = next->next)
			next->doomed |= overlap(t, next);
	}
	for (t = v->first; t != NULL; t = next) {
		next = t->next;
		if (t->tx >= req->cmd.tx && t->doomed)
			undo(s, t);
	}
	store_stall_kick(s);
	answer(s, req);
}
