/*
 * What the files of the io_uring binding share; nobody else includes it. See uring.h.
 */
#ifndef WEFT_URING_INTERNAL_H
#define WEFT_URING_INTERNAL_H

#include <liburing.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "batch.h"
#include "io.h"
#include "uring.h"

#define URING_ENTRIES_DEFAULT 512u
#define URING_TIMERS_MAX      65536u /* armed at once */
#define URING_FILES_MAX	      1024u  /* registered files; more sockets work, unregistered */
#define URING_BATCH_MAX	      256u /* completions handled before tasks and streams get their turn */
#define URING_ROUNDS_MAX      8u   /* of tasks and kicks before we look at the ring again */
#define URING_SQE_TRIES_MAX   100000u

/* What user_data of a submission points at. Embedded in the object that the operation belongs to.
 */
struct uring_op {
	void (*done)(struct uring_op *op, int res, unsigned flags);
};

/* What the loop looks at before it submits. Embedded in a connection. */
struct uring_kick {
	void (*run)(struct uring_kick *k); /* may free it */
	struct uring_kick *next;
	bool queued;
};

/* A connection's transport, with what uring.h has beyond io.h. */
struct uring_transport {
	struct stream_transport base; /* first */
	void (*abort)(struct stream *s, int err);
	void (*drop)(struct stream *s);
	int (*fd)(const struct stream *s);
};

struct uring_shm;
struct uring_disk_io;

struct uring {
	struct env env; /* first: an env is its uring */
	struct io_uring ring;
	bool enabled;		/* the owning thread has begun to run the loop */
	bool stop;		/* leave uring_run() */
	uint64_t now_ns;	/* clock of this turn; 0: not read yet */
	uint64_t spin_ns;	/* see uring_options.spin_us */
	uint64_t spin_again_ns; /* no spinning before: others wanted the processor */
	uint64_t spin_pause_ns; /* how long, the next time */
	uint64_t routed_ns;	/* see uring_routed(): the last time */
	bool batch_wanted;	/* see uring_options.batch */
	struct batch batch;
	struct io_timer **timers; /* binary heap by at_ns, URING_TIMERS_MAX long */
	unsigned ntimers;
	struct io_task *tasks; /* deferred, in order */
	struct io_task **tasks_tail;
	struct uring_kick *kicked; /* connections to look at before we submit */
	struct uring_kick **kicked_tail;
	struct uring_shm *shms;	  /* connections in shared memory */
	struct disk_op *finished; /* disk operations that needed no ring; completed from the loop */
	struct disk_op **finished_tail;
	_Atomic(struct uring_message *) posted; /* newest first; written by any thread */
	int event_fd;				/* wakes the loop when posted was empty */
	uint64_t event_count;			/* what is read from event_fd */
	struct uring_op event_op;
	uint16_t *free_files; /* stack of unused slots of the registered table */
	unsigned nfree_files;
	void *arena; /* registered as buffer 0; NULL: none */
	size_t arena_len;
	struct uring_disk_io *free_disk_ios;
};

/* uring.c */

/* A submission slot; submits what is queued when the queue is full. */
struct io_uring_sqe *uring_sqe(struct uring *u);
/* Ask the kernel to end an operation; its own completion tells the outcome. */
void uring_cancel(struct uring *u, struct uring_op *op);
/* Run k before the next submission. */
void uring_kick(struct uring *u, struct uring_kick *k);
/* Complete a disk operation from the loop, after the present batch. */
void uring_finish(struct uring *u, struct disk_op *op, int64_t res);

static inline void uring_sqe_op(struct io_uring_sqe *sqe, struct uring_op *op)
{
	io_uring_sqe_set_data(sqe, op);
}

/* uring-file.c: the table of registered files */

void uring_files_init(struct uring *u);
void uring_files_free(struct uring *u);
/* Slot of fd in the table, or -1: it has none, use fd. */
int uring_file_add(struct uring *u, int fd);
void uring_file_remove(struct uring *u, int slot);

static inline int uring_file_fd(int fd, int slot)
{
	return slot >= 0 ? slot : fd;
}

static inline void uring_file_flag(struct io_uring_sqe *sqe, int slot)
{
	if (slot >= 0)
		sqe->flags |= IOSQE_FIXED_FILE;
}

/* uring-timer.c */

void uring_timer_set(struct env *e, struct io_timer *t, uint64_t at_ns);
void uring_timer_cancel(struct env *e, struct io_timer *t);
/* Fire what is due. */
void uring_timers_run(struct uring *u);

/* uring-shm.c */

/* Kick the connections whose rings have something for them. */
void uring_shm_poll(struct uring *u);
/* Whether one has. */
bool uring_shm_ready(const struct uring *u);
/* The loop goes to sleep, and the other ends must wake it. False: do not sleep. */
bool uring_shm_sleep(struct uring *u);

/* uring-disk.c */

void uring_disk_ios_free(struct uring *u);

/* uring-pass.c */

/* The one descriptor that came with a message, or -EPROTO. */
int uring_passed_fd(struct msghdr *msg);

#endif
