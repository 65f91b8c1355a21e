/*
 * Slots of the volume that are in no extent: notes, which keep the volume's name and settings on
 * the servers as the text of a label, and slots that were lost sight of (their server was away when
 * they should have been given back).
 *
 * A slot is only discarded when it cannot come into use: it is of an earlier epoch, and no extent
 * of the map has it.
 */
#include "config.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "log.h"
#include "stripe/engine.h"

#include "banned.h"

struct tidy {
	struct nbd_call call;
	struct volume *v;
	struct server *server;
	struct volume_tidy order; /* copies of the caller's */
	unsigned next;
	unsigned freed;
	void (*done)(void *arg, int err, unsigned freed);
	void *arg;
	struct weft_label label;
	struct weft_slot_reply reply;
	struct iovec out, in;
};

static void tidy_next(struct tidy *t);

static void tidy_end(struct tidy *t, int err)
{
	struct volume *v = t->v;

	v->background--;
	t->done(t->arg, err, t->freed);
	free(t);
	if (v->stopped != NULL)
		volume_wake(v);
}

static bool in_use(const struct volume *v, const struct server *s, const struct volume_slot *slot)
{
	uint32_t floor = (v->config.epoch & 0xfffff) << 12;
	const struct extent *x;

	if (slot->extent == WEFT_EXTENT_NAME || slot->extent == WEFT_EXTENT_SETTINGS)
		return false;
	if (slot->generation >= floor)
		return true; /* of our own epoch: it may be on its way into the map */
	x = extent_find(v, slot->extent);
	if (x == NULL)
		return false;
	if (x->state != EXTENT_READY)
		return true;
	for (unsigned i = 0; i < v->shards; i++)
		if (x->place[i].server == s && x->place[i].slot == slot->slot &&
		    x->place[i].slot_gen == slot->slot_gen)
			return true;
	return false;
}

static void tidy_done(struct nbd_call *call, int error)
{
	struct tidy *t = (struct tidy *)call;

	if (error == -ENOTCONN) {
		server_broke(t->server);
		tidy_end(t, -EAGAIN);
	} else if (error == (int)WEFT_ESTALE && call->type == WEFT_CMD_DISCARD) {
		tidy_next(t); /* it is gone already */
	} else if (error != 0) {
		tidy_end(t, -error);
	} else {
		t->freed += call->type == WEFT_CMD_DISCARD;
		tidy_next(t);
	}
}

static void tidy_label(struct tidy *t, const struct volume_note *note)
{
	struct volume *v = t->v;

	memset(&t->label, 0, sizeof(t->label));
	t->label.volume = htobe64(v->config.id);
	t->label.extent = htobe64(note->extent);
	t->label.generation = htobe32(note->generation);
	t->label.unit_bytes = htobe32(v->l.unit);
	t->label.k = (uint8_t)v->l.k;
	t->label.m = (uint8_t)v->l.m;
	t->label.code = (uint8_t)v->config.code;
	memcpy(t->label.name, note->text, strnlen(note->text, sizeof(t->label.name) - 1));
	server_cmd(v, &t->call, WEFT_CMD_LABEL);
	t->call.cmd.reply_len = sizeof(t->reply);
	t->out = (struct iovec){&t->label, sizeof(t->label)};
	t->in = (struct iovec){&t->reply, sizeof(t->reply)};
	t->call.out = &t->out;
	t->call.in = &t->in;
	t->call.nout = t->call.nin = 1;
}

/* The notes first, and when they are durable the slots. */
static void tidy_next(struct tidy *t)
{
	struct volume *v = t->v;
	const struct volume_tidy *o = &t->order;

	while (t->next >= o->nnotes && t->next - o->nnotes < o->nslots &&
	       in_use(v, t->server, &o->slots[t->next - o->nnotes]))
		t->next++;
	if (t->next == o->nnotes + o->nslots) {
		tidy_end(t, 0);
		return;
	}
	if (!server_ok(t->server) || v->state != VOLUME_RUNNING) {
		tidy_end(t, -EAGAIN);
		return;
	}
	if (t->next < o->nnotes) {
		tidy_label(t, &o->notes[t->next]);
	} else {
		const struct volume_slot *slot = &o->slots[t->next - o->nnotes];

		server_cmd(v, &t->call, WEFT_CMD_DISCARD);
		t->call.offset = (uint64_t)slot->slot * WEFT_SHARD_BYTES;
		t->call.cmd.slot_gen = slot->slot_gen;
	}
	t->next++;
	t->call.done = tidy_done;
	server_submit(t->server, &t->call);
}

void volume_tidy(struct volume *v, uint32_t server, const struct volume_tidy *order,
		 void (*done)(void *arg, int err, unsigned freed), void *arg)
{
	struct server *s = v->state == VOLUME_RUNNING ? server_get(v, server) : NULL;
	struct tidy *t;

	if (s == NULL || !server_ok(s)) {
		if (s != NULL)
			server_sync(s); /* it has to be fenced first */
		done(arg, s == NULL ? -ESHUTDOWN : -EAGAIN, 0);
		return;
	}
	t = calloc(1, sizeof(*t));
	if (t == NULL) {
		done(arg, -ENOMEM, 0);
		return;
	}
	t->v = v;
	t->server = s;
	t->order = *order;
	t->done = done;
	t->arg = arg;
	v->background++;
	tidy_next(t);
}
