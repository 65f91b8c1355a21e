/*
 * The binding of lib/io.h to io_uring: one loop a thread, with its timers, connections, listeners
 * and disks. The only file that includes liburing.h is uring*.c.
 *
 * A loop belongs to the thread that created it; only uring_post() may be called from others.
 */
#ifndef WEFT_URING_H
#define WEFT_URING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "buf.h"
#include "io.h"

struct uring;
struct uring_listener;

/* Measured: covers a wake-up of the other end, and little more. */
#define URING_SPIN_US_DEFAULT 40u
#define URING_SPIN_US_MAX     10000u

struct uring_options {
	unsigned entries;      /* submission queue; 0: a fitting default */
	unsigned spin_us;      /* poll this long for completions before sleeping, when there was
				* work a moment ago; 0: never */
	bool batch;	       /* its thread is to interrupt nobody, see batch.h */
	struct buf_pool *pool; /* its arena is registered for disk I/O; may be NULL */
};

/* 0 or -errno: -ENOSYS or -EPERM where io_uring is missing or forbidden. */
int uring_create(const struct uring_options *opt, struct uring **out);
void uring_destroy(struct uring *u);
struct env *uring_env(struct uring *u);
/* Runs until uring_stop(). */
int uring_run(struct uring *u);
void uring_stop(struct uring *u);
/*
 * A request came past the gateway (weft-ebpf(7)). Who sent it waits for no thread of ours that
 * spins, so spinning for the next one pays only while the processor would be idle: it ends when
 * another thread wants it.
 */
void uring_routed(struct uring *u);

/* Run fn(arg) on u's thread, soon, in the order of posting. Any thread. */
struct uring_message {
	void (*fn)(struct uring_message *m);
	struct uring_message *next;
};
void uring_post(struct uring *u, struct uring_message *m);

/* ---- connections --------------------------------------------------------------------------- */

/* A stream on a connected socket; takes over fd. Attach an engine before events are handled. NULL:
 * out of memory; fd is closed. send_timeout_ms: a peer that takes nothing for so long is closed. */
struct stream *uring_stream(struct uring *u, int fd, unsigned send_timeout_ms);
/*
 * The same on two rings of shared memory, for two processes of one machine: fd is a connected Unix
 * socket, over which who accepted hands the memory to who connected. Such a stream cannot be
 * detached.
 */
struct stream *uring_shm_accept(struct uring *u, int fd, unsigned send_timeout_ms);
struct stream *uring_shm_connect(struct uring *u, int fd, unsigned send_timeout_ms);
/* Close a stream that no engine was attached to. */
void uring_stream_drop(struct stream *s);
/* Close now; what waits to be sent is lost. closed(err) follows from the loop. */
void uring_stream_abort(struct stream *s, int err);
/*
 * Take the socket out of its loop without closing it, to go on in another: done(arg, fd) comes when
 * no operation refers to the engine's memory any more; received bytes were all given to the engine.
 * The stream is gone then. fd < 0: the connection broke; closed() was called.
 */
void uring_stream_detach(struct stream *s, void (*done)(void *arg, int fd), void *arg);
int uring_stream_fd(const struct stream *s);
/* Others have the same socket and go on with it: close our descriptor only, and do not shut it
 * down. */
void uring_stream_share(struct stream *s);

/* Connect, then call done(arg, fd or -errno). */
void uring_connect(struct uring *u, const struct sockaddr_storage *addr, socklen_t len,
		   unsigned timeout_ms, void (*done)(void *arg, int fd), void *arg);
/* The same on a socket that is bound already, which is taken over. */
void uring_connect_on(struct uring *u, int fd, const struct sockaddr_storage *addr, socklen_t len,
		      unsigned timeout_ms, void (*done)(void *arg, int fd), void *arg);

/* Accept for ever (multishot where the kernel has it) on a listening socket, which is taken over.
 */
struct uring_listener *uring_listen(struct uring *u, int fd, void (*accepted)(void *arg, int fd),
				    void *arg);
void uring_listener_close(struct uring_listener *l);

/* ---- descriptors that are passed ------------------------------------------------------------- */

struct uring_pass;

/* Send fd over a connected Unix socket, now. 0 or -errno. */
int uring_pass_send(int sock, int fd);
/*
 * Wait on the connected Unix socket sock, which is taken over, until a descriptor comes.
 * passed(arg, p, fd): it did; p keeps the socket, and with it a sign of life for the other end,
 * until uring_pass_close(). fd negative: none came, and p is NULL. NULL: out of memory; sock is
 * closed.
 */
struct uring_pass *uring_pass_receive(struct uring *u, int sock, unsigned timeout_ms,
				      void (*passed)(void *arg, struct uring_pass *p, int fd),
				      void *arg);
void uring_pass_close(struct uring_pass *p);

/* ---- disks --------------------------------------------------------------------------------- */

/* map, map_len: a shared mapping of the file that sync has to cover, or NULL. direct: fd is
 * O_DIRECT. Takes over fd. */
struct disk *uring_disk(struct uring *u, int fd, uint64_t size, bool direct, void *map,
			size_t map_len);
/* When d is on a tmpfs, copy through a mapping instead of calling the kernel. Holes that are read
 * are filled: for a disk whose holes nobody reads. */
void uring_disk_map(struct disk *d);
/* For plain exports: fallocate(2) with a mode, posix_fadvise(2); neither holds up the loop. */
void uring_disk_fallocate(struct disk *d, struct disk_op *op, int mode, uint64_t offset,
			  uint64_t len);
void uring_disk_fadvise(struct disk *d, struct disk_op *op, uint64_t offset, uint32_t len,
			int advice);
/* No operation may be under way. */
void uring_disk_close(struct disk *d);

#endif
