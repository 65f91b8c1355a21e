/*
 * What engines may ask of the world: bytes of a stream, blocks of a disk, time.
 *
 * The NBD sessions, the store and the stripe engine do no I/O of their own. They are written
 * against the interfaces here; lib/uring.c binds them to io_uring in the daemons, tests bind them
 * to memory, and a simulator can bind them to faulty disks, networks and clocks.
 *
 * Threads: an engine, its streams, disk and env belong to one thread; every callback comes on it.
 *
 * Completions: done() is never called from inside the call that submitted the operation, and is
 * called exactly once. Look at the result before anything else.
 */
#ifndef WEFT_IO_H
#define WEFT_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* ---- streams: one connection --------------------------------------------------------------- */

/* The most iovecs that one output() call fills and one send takes. */
#define STREAM_IOV_MAX 64

/*
 * The engine's side of a connection. The transport asks where bytes go, says when they are there,
 * asks what to send, says what was sent.
 */
struct stream_ops {
	/*
	 * Where the next received bytes go, and how many fit. 0: the engine takes no more at the
	 * moment; it calls stream_kick() when that changes. The memory stays valid until the
	 * matching received() or until closed().
	 */
	size_t (*window)(void *engine, void **ptr);
	/*
	 * n bytes (at least one) were put at the start of the last window. 0, or -errno: the stream
	 * cannot go on; what output() has is still sent, then the connection is closed.
	 */
	int (*received)(void *engine, size_t n);
	/*
	 * Fill up to max iovecs with what is to be sent, from the first byte not yet reported by
	 * sent(). Returns how many. The bytes stay valid and unchanged until sent() has covered
	 * them or closed().
	 */
	int (*output)(void *engine, struct iovec *iov, int max);
	void (*sent)(void *engine, size_t n);
	/*
	 * May be NULL. Sending failed; 0: the engine has changed what output() gives, try again.
	 * Otherwise the connection is over.
	 */
	int (*send_failed)(void *engine, int err);
	/*
	 * The connection is gone and no operation refers to the engine's memory any more. err: 0
	 * for an orderly end, else -errno. The last call on this engine.
	 */
	void (*closed)(void *engine, int err);
};

struct stream;

/* The transport's side. */
struct stream_transport {
	/* Output waits to be sent, or the window opened again. Cheap; takes effect after the
	 * present batch of events. */
	void (*kick)(struct stream *s);
	/* Send what output() has, then close (closed() follows). */
	void (*close)(struct stream *s);
};

struct stream {
	const struct stream_transport *transport;
	const struct stream_ops *ops; /* set by stream_attach */
	void *engine;
};

static inline void stream_attach(struct stream *s, const struct stream_ops *ops, void *engine)
{
	s->ops = ops;
	s->engine = engine;
}

static inline void stream_kick(struct stream *s)
{
	s->transport->kick(s);
}

static inline void stream_close(struct stream *s)
{
	s->transport->close(s);
}

/* ---- disks: one file or block device ------------------------------------------------------- */

/* Embed in what the operation belongs to. Memory, and the buffers, belong to the submitter and stay
 * until done(). */
struct disk_op {
	/* res: bytes moved (always the whole length for reads and writes), or -errno. */
	void (*done)(struct disk_op *op, int64_t res);
	struct disk_op *next; /* the binding's, while submitted */
	int64_t res;	      /* the binding's */
	void *priv;	      /* the binding's */
};

struct disk;

struct disk_ops {
	/* Offsets, lengths and addresses are multiples of disk->align. The iovec array is copied.
	 */
	void (*readv)(struct disk *d, struct disk_op *op, const struct iovec *iov, int niov,
		      uint64_t offset);
	void (*writev)(struct disk *d, struct disk_op *op, const struct iovec *iov, int niov,
		       uint64_t offset);
	/* All writes that completed before, and all changes to map before, are durable when done.
	 */
	void (*sync)(struct disk *d, struct disk_op *op);
	/* Give the space back; reads there return zeros or what was there before. A disk that
	 * cannot completes with -EOPNOTSUPP. */
	void (*discard)(struct disk *d, struct disk_op *op, uint64_t offset, uint64_t len);
	/* Read without waiting, when the bytes are in memory: len, or -EAGAIN: use readv. May
	 * be NULL. */
	int (*read_now)(struct disk *d, void *buf, uint32_t len, uint64_t offset);
	/* The same for a write into the page cache (durable only by sync). May be NULL. */
	int (*write_now)(struct disk *d, const void *buf, uint32_t len, uint64_t offset);
};

struct disk {
	const struct disk_ops *ops;
	uint64_t size;	/* bytes */
	uint32_t align; /* bytes; a power of two, 1 for the page cache, up to 4096 for O_DIRECT */
};

/* ---- time, deferred work ------------------------------------------------------------------- */

struct env;

/* Embed; zero it before first use. Owned by whom arms it. */
struct io_timer {
	void (*fire)(struct io_timer *t);
	uint64_t at_ns; /* 0: not armed. The binding's while armed */
	void *priv[2];	/* the binding's */
};

/* Runs once, after the present batch of events, however often it was deferred before that. */
struct io_task {
	void (*run)(struct io_task *t);
	struct io_task *next; /* the binding's */
	int queued;	      /* the binding's */
};

struct env_ops {
	uint64_t (*now_ns)(struct env *e); /* monotonic */
	void (*random)(struct env *e, void *buf, size_t len);
	/* Arm, or move when already armed. at_ns in the past: soon. */
	void (*timer_set)(struct env *e, struct io_timer *t, uint64_t at_ns);
	void (*timer_cancel)(struct env *e, struct io_timer *t);
	void (*defer)(struct env *e, struct io_task *t);
};

struct env {
	const struct env_ops *ops;
};

#define NS_PER_MS 1000000ULL
#define NS_PER_S  1000000000ULL

#endif
