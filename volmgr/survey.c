/* See survey.h. */
#include "config.h"

#include "survey.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "banned.h"

#define PAGE_ENTRIES 500
#define PAGE_BYTES   (sizeof(struct weft_list_head) + PAGE_ENTRIES * sizeof(struct weft_label_entry))

/* One server that is being asked. */
struct survey_visit {
	struct nbd_call call;
	struct survey *survey;
	struct survey_server *server;
	struct peer *peer;
	struct iovec in;
	uint8_t page[PAGE_BYTES];
};

static void visit_end(struct survey_visit *v, int err)
{
	struct survey *s = v->survey;

	v->server->err = err;
	free(v);
	if (--s->pending == 0)
		task_finish(&s->task, 0);
}

/* Room for more entries of a size. */
static bool grow(void **list, size_t *cap, size_t need, size_t size)
{
	size_t n = *cap == 0 ? 256 : *cap;
	void *grown;

	while (n < need)
		n *= 2;
	if (n == *cap)
		return true;
	if (n > SURVEY_LABELS_MAX)
		return false;
	grown = reallocarray(*list, n, size);
	if (grown == NULL)
		return false;
	*list = grown;
	*cap = n;
	return true;
}

static void visit_ask(struct survey_visit *v, uint16_t type, uint64_t from, uint32_t entry_bytes,
		      void (*done)(struct nbd_call *call, int error))
{
	uint32_t bytes = sizeof(struct weft_list_head) + PAGE_ENTRIES * entry_bytes;

	if (!v->peer->up) {
		visit_end(v, -ENOTCONN);
		return;
	}
	v->in = (struct iovec){v->page, bytes};
	v->call = (struct nbd_call){
		.type = type,
		.cmd = {.tx = from, .reply_len = bytes},
		.in = &v->in,
		.nin = 1,
		.done = done,
	};
	v->peer->ops->submit(v->peer, &v->call);
}

/* How many entries came, or -1. */
static int page_count(const struct survey_visit *v, int error, struct weft_list_head *head)
{
	if (error != 0)
		return -1;
	memcpy(head, v->page, sizeof(*head));
	head->count = be32toh(head->count);
	return head->count <= PAGE_ENTRIES && (head->count > 0 || head->more == 0)
		       ? (int)head->count
		       : -1;
}

static void take_volume(struct survey_volume *to, const uint8_t *from)
{
	struct weft_volume_entry e;

	memcpy(&e, from, sizeof(e));
	*to = (struct survey_volume){
		.volume = be64toh(e.volume),
		.committed = be64toh(e.committed),
		.epoch = be32toh(e.epoch),
		.slots = be32toh(e.slots),
	};
}

static void volumes_done(struct nbd_call *call, int error)
{
	struct survey_visit *v = (struct survey_visit *)call;
	struct survey_server *s = v->server;
	struct weft_list_head head;
	int n = page_count(v, error, &head);

	if (n < 0 || !grow((void **)&s->volumes, &s->volumes_cap, s->nvolumes + (size_t)n,
			   sizeof(*s->volumes))) {
		visit_end(v, n >= 0 ? -ENOMEM : error == 0 ? -EPROTO : error < 0 ? error : -error);
		return;
	}
	for (int i = 0; i < n; i++)
		take_volume(&s->volumes[s->nvolumes++],
			    v->page + sizeof(head) + (size_t)i * sizeof(struct weft_volume_entry));
	if (head.more != 0)
		visit_ask(v, WEFT_CMD_VOLUMES, be64toh(head.committed),
			  sizeof(struct weft_volume_entry), volumes_done);
	else
		visit_end(v, 0);
}

static void take_label(struct survey_label *to, const uint8_t *from)
{
	struct weft_label_entry e;

	memcpy(&e, from, sizeof(e));
	*to = (struct survey_label){
		.volume = be64toh(e.label.volume),
		.extent = be64toh(e.label.extent),
		.mapped_bytes = be64toh(e.mapped_bytes),
		.generation = be32toh(e.label.generation),
		.unit_bytes = be32toh(e.label.unit_bytes),
		.slot = be32toh(e.slot),
		.slot_gen = be32toh(e.slot_gen),
		.mark = be32toh(e.mark),
		.stale = be32toh(e.stale),
		.shard = e.label.shard,
		.k = e.label.k,
		.m = e.label.m,
		.code = e.label.code,
	};
	memcpy(to->name, e.label.name, sizeof(to->name));
	to->name[sizeof(to->name) - 1] = '\0';
}

static void labels_done(struct nbd_call *call, int error)
{
	struct survey_visit *v = (struct survey_visit *)call;
	struct survey_server *s = v->server;
	struct weft_list_head head;
	int n = page_count(v, error, &head);

	if (n < 0 || !grow((void **)&s->labels, &s->labels_cap, s->nlabels + (size_t)n,
			   sizeof(*s->labels))) {
		visit_end(v, n >= 0 ? -ENOMEM : error == 0 ? -EPROTO : error < 0 ? error : -error);
		return;
	}
	for (int i = 0; i < n; i++)
		take_label(&s->labels[s->nlabels++],
			   v->page + sizeof(head) + (size_t)i * sizeof(struct weft_label_entry));
	if (head.more != 0)
		visit_ask(v, WEFT_CMD_LABELS, (uint64_t)s->labels[s->nlabels - 1].slot + 1,
			  sizeof(struct weft_label_entry), labels_done);
	else
		visit_ask(v, WEFT_CMD_VOLUMES, 0, sizeof(struct weft_volume_entry), volumes_done);
}

void survey_run(struct task *t)
{
	struct survey *s = (struct survey *)t;

	s->pending = 1;
	for (unsigned i = 0; i < s->n; i++) {
		struct survey_visit *v = mem_must(sizeof(*v));

		v->survey = s;
		v->server = &s->servers[i];
		v->peer = wpeer_find(t->worker, v->server->number);
		s->pending++;
		if (v->peer == NULL)
			visit_end(v, -ENOENT);
		else
			visit_ask(v, WEFT_CMD_LABELS, 0, sizeof(struct weft_label_entry),
				  labels_done);
	}
	if (--s->pending == 0)
		task_finish(t, 0);
}

void survey_free(struct survey *s)
{
	for (unsigned i = 0; i < s->n; i++) {
		free(s->servers[i].labels);
		free(s->servers[i].volumes);
	}
	free(s);
}
