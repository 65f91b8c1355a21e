/*
 * One direction of a connection between two processes of one machine: bytes in a ring of shared
 * memory, one process puts, the other takes. Both copy once, and nobody calls the kernel unless the
 * other end sleeps.
 *
 * The other end is not trusted: it may write anything into the shared part at any time. So each end
 * keeps its own position to itself, copies out what it is about to look at, and checks the other's
 * position each time: -EPROTO says that it makes no sense, and that the connection must end. Shared
 * memory must not be able to shrink (F_SEAL_SHRINK), or touching it might be fatal.
 *
 * Sleeping without missing anything: who is about to sleep says so in the ring, then looks again;
 * who has changed the ring looks whether the other sleeps, and wakes him. Both orders are kept by a
 * full fence in between.
 *
 * Pure but for the atomics; one thread an end. Used by uring-shm.c.
 */
#ifndef WEFT_SHM_H
#define WEFT_SHM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of one ring, a power of two. 128 KiB to 1 MiB made no difference beyond noise. */
#define SHM_RING_BYTES (256u << 10)

/* The shared part. Positions count bytes since the beginning and wrap at 2^32. */
struct shm_ring {
	_Alignas(64) _Atomic uint32_t tail;	     /* put so far; the writer's */
	_Alignas(64) _Atomic uint32_t head;	     /* taken so far; the reader's */
	_Alignas(64) _Atomic uint32_t reader_sleeps; /* until something is put */
	_Atomic uint32_t writer_sleeps;		     /* until something is taken */
	uint8_t pad[4096 - 3 * 64];
	_Alignas(4096) uint8_t data[SHM_RING_BYTES];
};

/* Both directions: what the memory file holds. */
struct shm_pair {
	struct shm_ring ring[2]; /* 0: from who connected, 1: to him */
};

/* One end's view of one ring; zero it, and set ring. */
struct shm_end {
	struct shm_ring *ring;
	uint32_t at; /* our position: tail for the writer, head for the reader */
};

/* ---- the writer ---- */

/* Bytes that can be put now, or -EPROTO. */
int64_t shm_room(const struct shm_end *w);
/* Put len bytes, at most the room; the reader sees them after shm_publish(). */
void shm_put(struct shm_end *w, const void *src, size_t len);
void shm_publish(struct shm_end *w);
/* After shm_publish(): the reader slept, and must be woken. */
bool shm_must_wake_reader(struct shm_end *w);
/* We are about to sleep until there is room. True: there is some already. */
bool shm_writer_sleeps(struct shm_end *w);

/* ---- the reader ---- */

/* Bytes that can be taken now, or -EPROTO. */
int64_t shm_filled(const struct shm_end *r);
/* Take len bytes, at most what is filled; the writer may use the space after shm_release(). */
void shm_take(struct shm_end *r, void *dst, size_t len);
void shm_release(struct shm_end *r);
/* After shm_release(): the writer slept, and must be woken. */
bool shm_must_wake_writer(struct shm_end *r);
/* We are about to sleep until something is put. True: something is there already. */
bool shm_reader_sleeps(struct shm_end *r);

/* Neither of these sleeps any more. */
static inline void shm_awake(struct shm_end *r, struct shm_end *w)
{
	if (atomic_load_explicit(&r->ring->reader_sleeps, memory_order_relaxed) != 0)
		atomic_store_explicit(&r->ring->reader_sleeps, 0, memory_order_relaxed);
	if (atomic_load_explicit(&w->ring->writer_sleeps, memory_order_relaxed) != 0)
		atomic_store_explicit(&w->ring->writer_sleeps, 0, memory_order_relaxed);
}

#endif
