/* A ring of bytes in shared memory; see shm.h. */
#include "config.h"

#include "shm.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "banned.h"

static_assert((SHM_RING_BYTES & (SHM_RING_BYTES - 1)) == 0, "positions wrap at 2^32");
static_assert(sizeof(struct shm_ring) == 4096 + SHM_RING_BYTES, "data begins at a page");
static_assert(ATOMIC_INT_LOCK_FREE == 2, "a lock of this process would not help the other");

/* ---- the writer ---------------------------------------------------------------------------- */

int64_t shm_room(const struct shm_end *w)
{
	uint32_t head = atomic_load_explicit(&w->ring->head, memory_order_acquire);
	uint32_t used = w->at - head;

	return used <= SHM_RING_BYTES ? (int64_t)(SHM_RING_BYTES - used) : -EPROTO;
}

void shm_put(struct shm_end *w, const void *src, size_t len)
{
	size_t at = w->at & (SHM_RING_BYTES - 1), first = SHM_RING_BYTES - at;

	assert(len <= SHM_RING_BYTES);
	if (first > len)
		first = len;
	memcpy(w->ring->data + at, src, first);
	memcpy(w->ring->data, (const uint8_t *)src + first, len - first);
	w->at += (uint32_t)len;
}

void shm_publish(struct shm_end *w)
{
	atomic_store_explicit(&w->ring->tail, w->at, memory_order_release);
}

/* The other says that it sleeps: take that back, so that it is woken once. */
static bool must_wake(_Atomic uint32_t *sleeps)
{
	atomic_thread_fence(memory_order_seq_cst);
	return atomic_load_explicit(sleeps, memory_order_relaxed) != 0 &&
	       atomic_exchange_explicit(sleeps, 0, memory_order_relaxed) != 0;
}

static void say_sleeps(_Atomic uint32_t *sleeps)
{
	atomic_store_explicit(sleeps, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
}

bool shm_must_wake_reader(struct shm_end *w)
{
	return must_wake(&w->ring->reader_sleeps);
}

bool shm_writer_sleeps(struct shm_end *w)
{
	say_sleeps(&w->ring->writer_sleeps);
	return shm_room(w) != 0;
}

/* ---- the reader ---------------------------------------------------------------------------- */

int64_t shm_filled(const struct shm_end *r)
{
	uint32_t tail = atomic_load_explicit(&r->ring->tail, memory_order_acquire);
	uint32_t filled = tail - r->at;

	return filled <= SHM_RING_BYTES ? (int64_t)filled : -EPROTO;
}

void shm_take(struct shm_end *r, void *dst, size_t len)
{
	size_t at = r->at & (SHM_RING_BYTES - 1), first = SHM_RING_BYTES - at;

	assert(len <= SHM_RING_BYTES);
	if (first > len)
		first = len;
	memcpy(dst, r->ring->data + at, first);
	memcpy((uint8_t *)dst + first, r->ring->data, len - first);
	r->at += (uint32_t)len;
}

void shm_release(struct shm_end *r)
{
	atomic_store_explicit(&r->ring->head, r->at, memory_order_release);
}

bool shm_must_wake_writer(struct shm_end *r)
{
	return must_wake(&r->ring->writer_sleeps);
}

bool shm_reader_sleeps(struct shm_end *r)
{
	say_sleeps(&r->ring->reader_sleeps);
	return shm_filled(r) != 0;
}
