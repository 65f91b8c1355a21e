/*
 * A server as one volume sees it. Before anything else it is fenced with the volume's epoch, and
 * when it is not the run of nbdsrv that we knew, it lists what it has prepared: a tx that was
 * acknowledged but is not there any more makes the shard stale.
 */
#include "config.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "log.h"
#include "stripe/engine.h"

#include "banned.h"

#define PAGE_BYTES (sizeof(struct weft_list_head) + LIST_PAGE * sizeof(struct weft_list_entry))

static void server_up(struct server *s);

struct server *server_get(struct volume *v, uint32_t number)
{
	struct server *s;

	for (unsigned i = 0; i < v->nservers; i++)
		if (v->servers[i]->number == number)
			return v->servers[i];
	if (v->nservers == PEER_MAX)
		return NULL;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return NULL;
	s->v = v;
	s->number = number;
	s->peer = v->config.ops->peer(v->config.ctx, number);
	v->servers[v->nservers++] = s;
	return s;
}

void servers_free(struct volume *v)
{
	for (unsigned i = 0; i < v->nservers; i++) {
		slots_owed_forget(v->servers[i]);
		free(v->servers[i]->listed);
		free(v->servers[i]->page);
		free(v->servers[i]);
	}
	v->nservers = 0;
}

void server_forget_list(struct server *s)
{
	free(s->listed);
	s->listed = NULL;
	s->nlisted = s->listed_cap = 0;
}

bool server_ok(const struct server *s)
{
	return s->state == SERVER_UP && s->peer->up;
}

bool server_known(const struct server *s)
{
	return s->v->config.ops->peer(s->v->config.ctx, s->number) != NULL;
}

bool server_gone(const struct server *s)
{
	return !server_ok(s) && volume_now(s->v) >= s->down_ns + s->v->config.grace_ms * NS_PER_MS;
}

/* Those of the lowest numbers: data before parity. */
uint32_t server_choose(const struct extent *x, uint32_t from, unsigned k)
{
	uint32_t chosen = 0, fast = 0;

	for (uint32_t left = from; left != 0; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctz(left);

		fast |= (server_slow(shard_server(x, i)) ? 0u : 1u) << i;
	}
	if ((unsigned)__builtin_popcount(fast) >= k)
		from = fast;
	for (; from != 0 && k > 0; k--) {
		chosen |= from & -from;
		from &= from - 1;
	}
	return k == 0 ? chosen : 0;
}

/* Wake what waits for the servers that went, when each of them counts as gone. */
static void grace_arm(struct volume *v)
{
	uint64_t now = volume_now(v), at = 0;

	for (unsigned i = 0; i < v->nservers; i++) {
		struct server *s = v->servers[i];
		uint64_t gone = s->down_ns + v->config.grace_ms * NS_PER_MS;

		if (!server_ok(s) && gone > now && (at == 0 || gone < at))
			at = gone;
	}
	if (at == 0)
		return;
	if (at < now + GRACE_TICK_MS * NS_PER_MS)
		at = now + GRACE_TICK_MS * NS_PER_MS;
	v->config.env->ops->timer_set(v->config.env, &v->grace_timer, at);
}

/* What was acknowledged is on fewer servers now: make it durable there. */
void server_grace_fire(struct io_timer *t)
{
	struct volume *v = (struct volume *)((char *)t - offsetof(struct volume, grace_timer));

	if (v->ring_count > 0)
		flush_want(v);
	volume_unstall(v);
	grace_arm(v);
}

void server_submit(struct server *s, struct nbd_call *call)
{
	s->peer->ops->submit(s->peer, call);
}

void server_cmd(struct volume *v, struct nbd_call *call, uint16_t type)
{
	call->type = type;
	call->flags = 0;
	call->offset = 0;
	call->len = 0;
	call->cmd = (struct weft_cmd){.volume = v->config.id, .epoch = v->config.epoch};
	call->out = call->in = NULL;
	call->nout = call->nin = 0;
}

void server_broke(struct server *s)
{
	bool was_up = s->state == SERVER_UP;

	if (s->state == SERVER_DOWN)
		return;
	s->state = SERVER_DOWN;
	s->confirm.gone = ++s->v->moments;
	volume_changed(s->v);
	if (was_up && s->v->opened) {
		s->down_ns = volume_now(s->v);
		grace_arm(s->v);
	}
	log_debug("volume %s: server %u is gone", s->v->name, s->number);
	rebuild_server_broke(s);
	carry_server_broke(s);
	s->v->placings_changed = true;
	volume_wake(s->v);
}

static void page_free(struct server *s)
{
	free(s->page);
	s->page = NULL;
}

/* A call of the synchronization ended: false when that was it for this time. */
static bool sync_went_well(struct server *s, int error)
{
	s->sync_busy = false;
	if (s->v->stopped != NULL)
		volume_wake(s->v);
	if (error == 0 && s->state != SERVER_DOWN)
		return true;
	page_free(s);
	server_broke(s);
	if (error == (int)WEFT_ESTALE)
		volume_fail(s->v, ESTALE);
	else if (error > 0)
		log_error("volume %s: server %u refuses to take part: %s", s->v->name, s->number,
			  strerror(error));
	else
		server_sync(s); /* the connection is new already */
	return false;
}

static int tx_order(const void *a, const void *b)
{
	const struct weft_list_entry *l = a, *r = b;

	return (l->tx > r->tx) - (l->tx < r->tx);
}

static bool server_lists(const struct server *s, uint64_t tx)
{
	struct weft_list_entry key = {.tx = tx};

	return s->nlisted > 0 &&
	       bsearch(&key, s->listed, s->nlisted, sizeof(key), tx_order) != NULL;
}

/* A tx under way lost what it had prepared here: it may not be acknowledged. */
static void find_broken_txs(struct server *s)
{
	for (struct undecided *u = s->v->undecided; u != NULL; u = u->next)
		for (unsigned i = 0; u->tx != NULL && i < s->v->shards; i++)
			if ((u->tx->sent >> i & 1) != 0 && shard_server(u->tx->x, i) == s &&
			    !server_lists(s, u->number))
				u->tx->again = true;
}

/* What was acknowledged and not flushed must still be there, or the shard is stale. */
static void find_losses(struct server *s)
{
	struct volume *v = s->v;

	for (size_t n = 0; n < v->ring_count; n++) {
		const struct unflushed *u = &v->ring[(v->ring_head + n) % UNFLUSHED_TX_MAX];
		struct extent *x;

		if (u->tx <= s->committed || server_lists(s, u->tx))
			continue;
		x = extent_find(v, u->extent);
		if (x == NULL || x->generation != u->generation ||
		    (x->state != EXTENT_READY && x->state != EXTENT_DROPPING))
			continue;
		for (unsigned i = 0; i < v->shards; i++)
			if ((u->participants >> i & 1) != 0 && x->place[i].server == s)
				extent_lost(v, x, i);
	}
}

static void sync_judge(struct server *s)
{
	s->fenced = true;
	s->left_out = false;
	find_broken_txs(s);
	find_losses(s);
	if (!s->judged)
		open_judge_late(s);
	if (s->nlisted > 0 && s->listed[s->nlisted - 1].tx > s->max_tx)
		s->max_tx = s->listed[s->nlisted - 1].tx; /* so COMMITs go there */
	server_forget_list(s);
	server_up(s);
}

static void sync_flushed(struct nbd_call *call, int error)
{
	struct server *s = (struct server *)((char *)call - offsetof(struct server, sync_call));

	if (sync_went_well(s, error))
		sync_judge(s);
}

static void sync_complete(struct server *s)
{
	page_free(s);
	s->commit_sent = s->committed;
	if (s->v->state == VOLUME_STARTING) {
		s->fenced = true;
		s->state = SERVER_UP;
		open_server_up(s);
	} else if (!s->v->opened) { /* stopped before that: nothing is to be judged */
		s->state = SERVER_DOWN;
	} else if (s->nlisted == 0) {
		sync_judge(s);
	} else { /* COMMITs go there next: nothing may be committed before it is durable */
		server_cmd(s->v, &s->sync_call, NBD_CMD_FLUSH);
		s->sync_call.done = sync_flushed;
		s->sync_busy = true;
		server_submit(s, &s->sync_call);
	}
}

static bool listed_room(struct server *s, size_t more)
{
	size_t cap = s->listed_cap == 0 ? LIST_PAGE : s->listed_cap * 2;
	struct weft_list_entry *grown;

	if (s->nlisted + more <= s->listed_cap)
		return true;
	if (cap > LISTED_MAX)
		return false;
	grown = realloc(s->listed, cap * sizeof(*grown));
	if (grown == NULL)
		return false;
	s->listed = grown;
	s->listed_cap = cap;
	return true;
}

static void list_submit(struct server *s, uint64_t from);

static void list_done(struct nbd_call *call, int error)
{
	struct server *s = (struct server *)((char *)call - offsetof(struct server, sync_call));
	const struct weft_list_head *head = (const struct weft_list_head *)s->page;
	const struct weft_list_entry *e = (const struct weft_list_entry *)(head + 1);
	uint32_t count;

	if (!sync_went_well(s, error))
		return;
	count = be32toh(head->count);
	if (count > LIST_PAGE || !listed_room(s, count) || (count == 0 && head->more != 0)) {
		log_error("volume %s: server %u lists more than we can judge", s->v->name,
			  s->number);
		page_free(s);
		s->state = SERVER_DOWN;
		return;
	}
	s->committed = be64toh(head->committed);
	for (uint32_t i = 0; i < count; i++)
		s->listed[s->nlisted++] = (struct weft_list_entry){
			.tx = be64toh(e[i].tx),
			.offset = be64toh(e[i].offset),
			.blocks = be64toh(e[i].blocks),
			.slot_gen = be32toh(e[i].slot_gen),
			.durable = be32toh(e[i].durable),
			.participants = be32toh(e[i].participants),
		};
	if (head->more != 0)
		list_submit(s, s->listed[s->nlisted - 1].tx + 1);
	else
		sync_complete(s);
}

static void list_submit(struct server *s, uint64_t from)
{
	if (s->page == NULL)
		s->page = malloc(PAGE_BYTES);
	if (s->page == NULL) {
		log_error("volume %s: out of memory for what server %u lists", s->v->name,
			  s->number);
		s->state = SERVER_DOWN;
		return;
	}
	server_cmd(s->v, &s->sync_call, WEFT_CMD_LIST);
	s->sync_call.cmd.tx = from;
	s->sync_call.cmd.reply_len = PAGE_BYTES;
	s->sync_iov = (struct iovec){s->page, PAGE_BYTES};
	s->sync_call.in = &s->sync_iov;
	s->sync_call.nin = 1;
	s->sync_call.done = list_done;
	s->sync_busy = true;
	server_submit(s, &s->sync_call);
}

static void fence_done(struct nbd_call *call, int error)
{
	struct server *s = (struct server *)((char *)call - offsetof(struct server, sync_call));
	const struct weft_fence_reply *r = &s->fence_reply;

	if (!sync_went_well(s, error))
		return;
	s->committed = be64toh(r->committed);
	if (be32toh(r->old_epoch) < s->v->config.epoch)
		s->old_epoch = be32toh(r->old_epoch);
	s->nlisted = 0;
	if (r->prepared == 0) {
		sync_complete(s);
		return;
	}
	s->state = SERVER_LISTING;
	list_submit(s, 0);
}

void server_sync(struct server *s)
{
	struct volume *v = s->v;

	if (s->state != SERVER_DOWN || s->sync_busy || v->state == VOLUME_NEW ||
	    v->state >= VOLUME_STOPPED || !open_may_sync(s))
		return;
	s->peer = v->config.ops->peer(v->config.ctx, s->number);
	if (s->peer == NULL || !s->peer->up)
		return;
	if (!server_trust(s))
		return;
	if (s->fenced && !s->left_out && memcmp(s->boot, s->peer->boot, sizeof(s->boot)) == 0) {
		server_up(s);
		return;
	}
	s->fenced = false;
	memcpy(s->boot, s->peer->boot, sizeof(s->boot));
	s->state = SERVER_FENCING;
	server_cmd(v, &s->sync_call, WEFT_CMD_FENCE);
	s->sync_call.cmd.tx = v->config.owner;
	s->sync_call.cmd.blocks = v->known_from == 0 ? 0 : v->known_from - 1; /* see reopen.c */
	s->sync_call.cmd.reply_len = sizeof(struct weft_fence_reply);
	s->sync_iov = (struct iovec){&s->fence_reply, sizeof(s->fence_reply)};
	s->sync_call.in = &s->sync_iov;
	s->sync_call.nin = 1;
	s->sync_call.done = fence_done;
	s->sync_busy = true;
	server_submit(s, &s->sync_call);
}

/* The same run again, or one that has been looked through: everything that waits may go on. */
static void server_up(struct server *s)
{
	struct volume *v = s->v;

	s->state = SERVER_UP;
	volume_changed(v);
	if (v->state == VOLUME_STARTING) {
		open_server_up(s);
		return;
	}
	flush_server_up(s);
	v->rebuild.round++;
	rebuild_look(v);
	txs_settle(v);
	slots_owed(s);
	volume_unstall(v);
}

void volume_take_counts(struct volume *v,
			void (*fn)(void *arg, uint32_t server,
				   const struct volume_server_counts *c),
			void *arg)
{
	for (unsigned i = 0; i < v->nservers; i++) {
		fn(arg, v->servers[i]->number, &v->servers[i]->counts);
		memset(&v->servers[i]->counts, 0, sizeof(v->servers[i]->counts));
	}
}

void volume_unstall(struct volume *v)
{
	struct stripe *st = v->stalled;

	v->stalled = NULL;
	while (st != NULL) {
		struct stripe *next = st->next;

		st->place = STRIPE_NOWHERE;
		stripe_start(v, st);
		st = next;
	}
	v->placings_changed = true;
	v->look = true;
	volume_wake(v);
}

void volume_peer_changed(struct volume *v, struct peer *p)
{
	struct server *s = NULL;

	for (unsigned i = 0; i < v->nservers; i++)
		if (v->servers[i]->number == p->server)
			s = v->servers[i];
	if (v->state == VOLUME_NEW || v->state == VOLUME_STOPPED)
		return;
	v->placings_changed = true;
	volume_wake(v);
	if (s == NULL)
		return;
	s->peer = p;
	server_broke(s); /* also when it came up: a break that nobody told us of */
	if (p->up)
		server_sync(s);
}

void server_recheck(struct server *s)
{
	s->fenced = false;
	server_broke(s);
	server_sync(s);
}
