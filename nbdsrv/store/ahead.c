/*
 * Does the log end where replay has stopped, or is a piece of it gone? A batch that was being
 * written when the power went looks like one that has rotted, or whose write the disk has lost. But
 * batches behind it tell what was durable when they were written (struct disk_noted). When one
 * of these counts the missing batch, what was flushed is lost: the store must not go on as if it
 * had never been.
 *
 * What was durable and has nothing behind it cannot be told from what was not. So little has
 * happened since: a COMMIT, or the next batch, comes after each flush.
 */
#include "config.h"

#include <stdlib.h>
#include <sys/uio.h>

#include "store/store_internal.h"

#include "banned.h"

/* More than any batch: one that begins before such a piece of the ring has its successor in it. */
#define AHEAD_CHUNK (2u << 20)
static_assert(AHEAD_CHUNK >= LOG_BATCH_BLOCKS_MAX * LOG_BLOCK, "a batch fits");

struct ahead {
	struct disk_op op;
	struct store *store;
	struct buf *buf;
	uint64_t at; /* block, counted as in struct wal */
	uint32_t blocks;
	void (*done)(struct store *s, int err, const char *why);
};

void ahead_free(struct store *s)
{
	if (s->ahead == NULL)
		return;
	buf_put(s->ahead->buf);
	free(s->ahead);
	s->ahead = NULL;
}

static void ahead_end(struct ahead *a, int err, const char *why)
{
	struct store *s = a->store;
	void (*done)(struct store * s, int err, const char *why) = a->done;

	ahead_free(s);
	done(s, err, why);
}

static void ahead_read(struct ahead *a);

/* *newer: there are batches of later than the end. Returns what they count as durable, or 0. */
static uint64_t ahead_look(const struct ahead *a, bool *newer, uint32_t *seen)
{
	const struct store *s = a->store;
	uint64_t noted = 0;

	for (uint32_t i = 0; i < a->blocks; i++) {
		const uint8_t *p = a->buf->data + (size_t)i * LOG_BLOCK;
		size_t len = (size_t)(a->blocks - i) * LOG_BLOCK;
		struct disk_batch h;
		uint64_t seq;

		if (batch_decode(p, len, s->info.store, &h) < 0) {
			if (i > 0 && len < LOG_HEADER_MAX && batch_begins(p) &&
			    (a->at + a->blocks) % s->wal.blocks != 0) {
				*seen = i; /* its end is in the next piece, perhaps */
				return noted;
			}
			continue;
		}
		if (h.seq <= s->wal.next_seq)
			continue;
		*newer = true;
		seq = batch_noted(p, &h);
		if (seq > noted)
			noted = seq;
	}
	return noted;
}

static void ahead_done(struct disk_op *op, int64_t res)
{
	struct ahead *a = (struct ahead *)((char *)op - offsetof(struct ahead, op));
	const struct wal *w = &a->store->wal;
	uint32_t seen = a->blocks;
	bool newer = false;

	if (res < 0) {
		ahead_end(a, (int)res, "the log cannot be read");
		return;
	}
	if (ahead_look(a, &newer, &seen) > w->next_seq) {
		ahead_end(a, -EUCLEAN,
			  "the log is damaged: a part of it that was durable is gone; take this "
			  "server out and let the cluster rebuild it");
		return;
	}
	a->at += seen;
	if (!newer || a->at >= w->tail + w->blocks)
		ahead_end(a, 0, NULL);
	else
		ahead_read(a);
}

static void ahead_read(struct ahead *a)
{
	struct store *s = a->store;
	const struct wal *w = &s->wal;
	struct iovec iov = {.iov_base = a->buf->data};
	uint64_t at = a->at % w->blocks, left = w->blocks - at;

	if (left > w->tail + w->blocks - a->at)
		left = w->tail + w->blocks - a->at;
	a->blocks = left < AHEAD_CHUNK / LOG_BLOCK ? (uint32_t)left : AHEAD_CHUNK / LOG_BLOCK;
	iov.iov_len = (size_t)a->blocks * LOG_BLOCK;
	a->op.done = ahead_done;
	s->disk->ops->readv(s->disk, &a->op, &iov, 1, s->info.log_offset + at * LOG_BLOCK);
}

void ahead_start(struct store *s, void (*done)(struct store *s, int err, const char *why))
{
	struct ahead *a = calloc(1, sizeof(*a));

	if (a == NULL) {
		done(s, -ENOMEM, "no memory to look behind the log's end");
		return;
	}
	s->ahead = a;
	a->store = s;
	a->done = done;
	a->at = s->wal.head;
	a->buf = buf_get(s->replay_pool, AHEAD_CHUNK);
	if (a->buf == NULL)
		ahead_end(a, -ENOMEM, "no memory to look behind the log's end");
	else if (a->at >= s->wal.tail + s->wal.blocks)
		ahead_end(a, 0, NULL);
	else
		ahead_read(a);
}
