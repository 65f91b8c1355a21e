/*
 * Disks: a file or a block device, by io_uring, except where a system call cannot block.
 *
 * Reads of what the page cache holds, and writes into it, are cheaper by a direct call than through
 * the ring, and the engine has the result at once (read_now, write_now; RWF_NOWAIT makes the kernel
 * refuse rather than wait). A tmpfs has nothing to wait for: plain calls do everything there, where
 * the ring would hand each operation to a worker thread. A store there can be mapped, too
 * (uring_disk_map): copying without the kernel is twice as fast (64 KiB at random places of 1.5
 * GiB: 5.8 GB/s by pwrite, 11.5 into the mapping). Reading a hole through a mapping would fill it,
 * so plain exports are not mapped; and when a page cannot be had, a call says why.
 *
 * sync: fdatasync on the file. Pages dirtied through a shared mapping of the same file are pages of
 * the same page cache, and Linux implements msync(MS_SYNC) as fsync of the mapped range
 * (mm/msync.c, vfs_fsync_range): one fdatasync covers both, also when the file is a block device
 * and when the other areas of it are written with O_DIRECT.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "guard.h"
#include "uring-internal.h"

#include "banned.h"

#define DISK_IOV_INLINE	  16
#define DISK_IOV_MAX	  1024 /* the kernel's IOV_MAX */
#define DISK_ALIGN_DIRECT 4096
#define DISK_CHUNK	  (64u << 10)
#define DISK_NOW_MAX	  (1u << 20) /* a longer copy would hold up the other requests */

struct uring_disk {
	struct disk base; /* first: a disk is its uring_disk */
	struct uring *u;
	int fd;
	int slot;	  /* in the table of registered files, or -1 */
	unsigned pending; /* operations under way */
	bool memory;	  /* a tmpfs: calls never wait */
	uint8_t *map;	  /* of all of it, or NULL */
	uint64_t *mapped; /* with map: a bit for each chunk whose pages are all mapped */
	bool nowait_read, nowait_write; /* RWF_NOWAIT is taken */
};

/* One operation under way. */
struct uring_disk_io {
	struct uring_op op;
	struct uring_disk *disk;
	struct disk_op *user;
	struct uring_disk_io *next; /* u->free_disk_ios */
	bool write;
	bool moves_data;   /* a read or write: may come back short */
	struct iovec *iov; /* what is still to be moved; in vec or allocated */
	int niov;
	uint64_t offset;
	uint64_t total, moved;
	struct iovec *allocated;
	struct iovec vec[DISK_IOV_INLINE];
};

static struct uring_disk *to_disk(struct disk *base)
{
	return (struct uring_disk *)base;
}

/* ---- operations in the ring ---------------------------------------------------------------- */

static void io_done(struct uring_op *op, int res, unsigned flags);

static struct uring_disk_io *io_get(struct uring_disk *d, struct disk_op *user)
{
	struct uring_disk_io *io = d->u->free_disk_ios;

	if (io != NULL)
		d->u->free_disk_ios = io->next;
	else
		io = malloc(sizeof(*io));
	if (io == NULL) {
		uring_finish(d->u, user, -ENOMEM);
		return NULL;
	}
	io->op.done = io_done;
	io->disk = d;
	io->user = user;
	io->moves_data = false;
	io->total = io->moved = 0;
	io->allocated = NULL;
	d->pending++;
	return io;
}

static void io_put(struct uring_disk_io *io)
{
	struct uring *u = io->disk->u;

	io->disk->pending--;
	free(io->allocated);
	io->next = u->free_disk_ios;
	u->free_disk_ios = io;
}

void uring_disk_ios_free(struct uring *u)
{
	while (u->free_disk_ios != NULL) {
		struct uring_disk_io *io = u->free_disk_ios;

		u->free_disk_ios = io->next;
		free(io);
	}
}

static bool in_arena(const struct uring *u, const struct iovec *iov)
{
	uintptr_t base = (uintptr_t)u->arena, p = (uintptr_t)iov->iov_base;

	return u->arena != NULL && p >= base && p - base < u->arena_len &&
	       iov->iov_len <= u->arena_len - (p - base);
}

static void io_submit(struct uring_disk_io *io)
{
	struct uring_disk *d = io->disk;
	struct io_uring_sqe *sqe = uring_sqe(d->u);
	int fd = uring_file_fd(d->fd, d->slot);
	bool fixed = io->niov == 1 && in_arena(d->u, io->iov);

	if (fixed && io->write)
		io_uring_prep_write_fixed(sqe, fd, io->iov->iov_base, (unsigned)io->iov->iov_len,
					  io->offset, 0);
	else if (fixed)
		io_uring_prep_read_fixed(sqe, fd, io->iov->iov_base, (unsigned)io->iov->iov_len,
					 io->offset, 0);
	else if (io->write)
		io_uring_prep_writev(sqe, fd, io->iov, (unsigned)io->niov, io->offset);
	else
		io_uring_prep_readv(sqe, fd, io->iov, (unsigned)io->niov, io->offset);
	uring_file_flag(sqe, d->slot);
	uring_sqe_op(sqe, &io->op);
}

/* The first n bytes are moved. */
static void io_advance(struct uring_disk_io *io, size_t n)
{
	io->moved += n;
	io->offset += n;
	while (n > 0 && n >= io->iov->iov_len) {
		n -= io->iov->iov_len;
		io->iov++;
		io->niov--;
	}
	if (n > 0) {
		io->iov->iov_base = (char *)io->iov->iov_base + n;
		io->iov->iov_len -= n;
	}
}

static void io_complete(struct uring_disk_io *io, int64_t res)
{
	struct disk_op *user = io->user;

	io_put(io);
	user->done(user, res);
}

static void io_done(struct uring_op *op, int res, unsigned flags)
{
	struct uring_disk_io *io = (struct uring_disk_io *)op;

	static_assert(offsetof(struct uring_disk_io, op) == 0, "an op is its io");
	if (res == -EAGAIN || res == -EINTR) {
		if (io->moves_data) {
			io_submit(io);
			return;
		}
	}
	if (res < 0 || !io->moves_data) {
		io_complete(io, res);
		return;
	}
	if (res == 0) { /* the file is shorter than it was, or the device is full */
		io_complete(io, io->write ? -ENOSPC : -EIO);
		return;
	}
	io_advance(io, (size_t)res);
	if (io->moved < io->total)
		io_submit(io);
	else
		io_complete(io, (int64_t)io->total);
}

/* ---- through a mapping --------------------------------------------------------------------- */

static uint64_t *chunk_word(const struct uring_disk *d, uint64_t chunk, uint64_t *bit)
{
	*bit = 1ULL << (chunk % 64);
	return &d->mapped[chunk / 64];
}

/* Whether first to end (exclusive) are all mapped. */
static bool chunks_mapped(const struct uring_disk *d, uint64_t first, uint64_t end)
{
	for (uint64_t bit; first < end; first++)
		if ((*chunk_word(d, first, &bit) & bit) == 0)
			return false;
	return true;
}

static void chunks_set(struct uring_disk *d, uint64_t first, uint64_t end, bool mapped)
{
	for (uint64_t bit; first < end; first++) {
		uint64_t *word = chunk_word(d, first, &bit);

		*word = mapped ? *word | bit : *word & ~bit;
	}
}

/* False: by a call, please. */
static bool map_write(struct uring_disk *d, const void *src, size_t len, uint64_t offset)
{
	uint64_t first = (offset + DISK_CHUNK - 1) / DISK_CHUNK, end = (offset + len) / DISK_CHUNK;

	if (first >= end || chunks_mapped(d, first, end))
		return guard_copy(d->map + offset, src, len);
	if (pwrite(d->fd, src, len, (off_t)offset) != (ssize_t)len)
		return false;
	if (madvise(d->map + first * DISK_CHUNK, (end - first) * DISK_CHUNK, MADV_POPULATE_WRITE) ==
	    0)
		chunks_set(d, first, end, true);
	return true;
}

/* The pages of these bytes are about to go. */
static void map_forget(struct uring_disk *d, uint64_t offset, uint64_t len)
{
	if (d->map != NULL)
		chunks_set(d, offset / DISK_CHUNK, (offset + len + DISK_CHUNK - 1) / DISK_CHUNK,
			   false);
}

/* ---- reads and writes ---------------------------------------------------------------------- */

/* Move what can be moved by the mapping. */
static void move_mapped(struct uring_disk_io *io)
{
	while (io->moved < io->total) {
		void *mem = io->iov->iov_base;
		size_t len = io->iov->iov_len;

		if (!(io->write ? map_write(io->disk, mem, len, io->offset)
				: guard_copy(mem, io->disk->map + io->offset, len)))
			return;
		io_advance(io, len);
	}
}

/* On a tmpfs: now, and completed from the loop. */
static int64_t move_now(struct uring_disk_io *io)
{
	if (io->disk->map != NULL)
		move_mapped(io);
	while (io->moved < io->total) {
		ssize_t n = io->write ? pwritev(io->disk->fd, io->iov, io->niov, (off_t)io->offset)
				      : preadv(io->disk->fd, io->iov, io->niov, (off_t)io->offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return io->write ? -ENOSPC : -EIO;
		io_advance(io, (size_t)n);
	}
	return (int64_t)io->total;
}

static void disk_move(struct disk *base, struct disk_op *op, const struct iovec *iov, int niov,
		      uint64_t offset, bool write)
{
	struct uring_disk *d = to_disk(base);
	struct uring_disk_io *io;

	assert(niov > 0 && niov <= DISK_IOV_MAX);
	io = io_get(d, op);
	if (io == NULL)
		return;
	io->write = write;
	io->moves_data = true;
	io->iov = io->vec;
	if (niov > DISK_IOV_INLINE) {
		io->iov = io->allocated = calloc((size_t)niov, sizeof(*iov));
		if (io->iov == NULL) {
			io_put(io);
			uring_finish(d->u, op, -ENOMEM);
			return;
		}
	}
	memcpy(io->iov, iov, (size_t)niov * sizeof(*iov));
	io->niov = niov;
	io->offset = offset;
	for (int i = 0; i < niov; i++)
		io->total += iov[i].iov_len;
	assert(io->total > 0 && offset <= d->base.size && io->total <= d->base.size - offset);
	if (d->memory) {
		int64_t res = move_now(io);

		io_put(io);
		uring_finish(d->u, op, res);
		return;
	}
	io_submit(io);
}

static void disk_readv(struct disk *base, struct disk_op *op, const struct iovec *iov, int niov,
		       uint64_t offset)
{
	disk_move(base, op, iov, niov, offset, false);
}

static void disk_writev(struct disk *base, struct disk_op *op, const struct iovec *iov, int niov,
			uint64_t offset)
{
	disk_move(base, op, iov, niov, offset, true);
}

static int disk_read_now(struct disk *base, void *buf, uint32_t len, uint64_t offset)
{
	struct uring_disk *d = to_disk(base);
	struct iovec iov = {.iov_base = buf, .iov_len = len};
	ssize_t n;

	assert(offset <= base->size && len <= base->size - offset);
	if (d->map != NULL && guard_copy(buf, d->map + offset, len))
		return (int)len;
	if (d->memory)
		n = pread(d->fd, buf, len, (off_t)offset);
	else if (!d->nowait_read || len > DISK_NOW_MAX)
		return -EAGAIN;
	else
		n = preadv2(d->fd, &iov, 1, (off_t)offset, RWF_NOWAIT);
	if (n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
		d->nowait_read = false;
	/* Partly there: readv gets the rest from the disk, and tells errors. */
	return n == (ssize_t)len ? (int)len : -EAGAIN;
}

static int disk_write_now(struct disk *base, const void *buf, uint32_t len, uint64_t offset)
{
	struct uring_disk *d = to_disk(base);
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};
	ssize_t n;

	assert(offset <= base->size && len <= base->size - offset);
	if (d->map != NULL && map_write(d, buf, len, offset))
		return (int)len;
	if (d->memory)
		n = pwrite(d->fd, buf, len, (off_t)offset);
	else if (!d->nowait_write || len > DISK_NOW_MAX)
		return -EAGAIN;
	else
		n = pwritev2(d->fd, &iov, 1, (off_t)offset, RWF_NOWAIT);
	if (n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
		d->nowait_write = false;
	return n == (ssize_t)len ? (int)len : -EAGAIN;
}

/* ---- the rest ------------------------------------------------------------------------------ */

static void disk_sync(struct disk *base, struct disk_op *op)
{
	struct uring_disk *d = to_disk(base);
	struct uring_disk_io *io;
	struct io_uring_sqe *sqe;

	if (d->memory) { /* nothing is behind it */
		uring_finish(d->u, op, 0);
		return;
	}
	io = io_get(d, op);
	if (io == NULL)
		return;
	sqe = uring_sqe(d->u);
	io_uring_prep_fsync(sqe, uring_file_fd(d->fd, d->slot), IORING_FSYNC_DATASYNC);
	uring_file_flag(sqe, d->slot);
	uring_sqe_op(sqe, &io->op);
}

void uring_disk_fallocate(struct disk *base, struct disk_op *op, int mode, uint64_t offset,
			  uint64_t len)
{
	struct uring_disk *d = to_disk(base);
	struct uring_disk_io *io;
	struct io_uring_sqe *sqe;

	map_forget(d, offset, len);
	if (d->memory && len <= DISK_NOW_MAX) {
		int err = fallocate(d->fd, mode, (off_t)offset, (off_t)len);

		uring_finish(d->u, op, err < 0 ? -errno : 0);
		return;
	}
	io = io_get(d, op);
	if (io == NULL)
		return;
	sqe = uring_sqe(d->u);
	io_uring_prep_fallocate(sqe, uring_file_fd(d->fd, d->slot), mode, (off_t)offset,
				(off_t)len);
	uring_file_flag(sqe, d->slot);
	uring_sqe_op(sqe, &io->op);
}

void uring_disk_fadvise(struct disk *base, struct disk_op *op, uint64_t offset, uint32_t len,
			int advice)
{
	struct uring_disk *d = to_disk(base);
	struct uring_disk_io *io;
	struct io_uring_sqe *sqe;

	if (d->memory) { /* it is all there */
		uring_finish(d->u, op, 0);
		return;
	}
	io = io_get(d, op);
	if (io == NULL)
		return;
	sqe = uring_sqe(d->u);
	io_uring_prep_fadvise(sqe, uring_file_fd(d->fd, d->slot), offset, (off_t)len, advice);
	uring_file_flag(sqe, d->slot);
	uring_sqe_op(sqe, &io->op);
}

/* Holes of a file; on a block device the same call discards or writes zeros, whichever it can, and
 * says EOPNOTSUPP when it can do neither. The ring's workers wait for it, not the loop. */
static void disk_discard(struct disk *base, struct disk_op *op, uint64_t offset, uint64_t len)
{
	assert(offset <= base->size && len <= base->size - offset);
	uring_disk_fallocate(base, op, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len);
}

static const struct disk_ops disk_ops_cached = {
	.readv = disk_readv,
	.writev = disk_writev,
	.sync = disk_sync,
	.discard = disk_discard,
	.read_now = disk_read_now,
	.write_now = disk_write_now,
};

static const struct disk_ops disk_ops_direct = {
	.readv = disk_readv,
	.writev = disk_writev,
	.sync = disk_sync,
	.discard = disk_discard,
};

struct disk *uring_disk(struct uring *u, int fd, uint64_t size, bool direct, void *map,
			size_t map_len)
{
	struct uring_disk *d = calloc(1, sizeof(*d));
	struct statfs fs;

	if (d == NULL) {
		close(fd);
		return NULL;
	}
	/* The mapping needs no call of its own, see the head of this file. */
	assert((map == NULL) == (map_len == 0));
	d->base.ops = direct ? &disk_ops_direct : &disk_ops_cached;
	d->base.size = size;
	d->base.align = direct ? DISK_ALIGN_DIRECT : 1;
	d->u = u;
	d->fd = fd;
	d->slot = uring_file_add(u, fd);
	d->memory = fstatfs(fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC && !direct;
	d->nowait_read = d->nowait_write = !direct;
	return &d->base;
}

void uring_disk_map(struct disk *base)
{
	struct uring_disk *d = to_disk(base);
	void *at;

	if (!d->memory)
		return;
	d->mapped = calloc(base->size / DISK_CHUNK / 64 + 1, sizeof(*d->mapped));
	if (d->mapped == NULL)
		return;
	at = mmap(NULL, base->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, d->fd, 0);
	if (at != MAP_FAILED)
		d->map = at;
}

void uring_disk_close(struct disk *base)
{
	struct uring_disk *d = to_disk(base);

	assert(d->pending == 0);
	if (d->map != NULL)
		munmap(d->map, base->size);
	free(d->mapped);
	uring_file_remove(d->u, d->slot);
	close(d->fd);
	free(d);
}
