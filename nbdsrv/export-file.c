/*
 * A plain file or block device as an export.
 *
 * Everything goes through the page cache, so that requests may start and end at any byte. What the
 * cache holds is answered in the call that asked; the rest goes through the ring. All connections
 * share the one file and its cache, so a flush on any of them covers what was answered on all: that
 * is what CAN_MULTI_CONN promises.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "nbd/proto.h"
#include "nbdsrv.h"

#include "banned.h"

#define FILE_NOW_BYTES	(1u << 20) /* longer reads and writes go through the ring */
#define FILE_ZERO_BYTES (1u << 20) /* written at once where zeros must be written */
#define FILE_STATUS_MAX 512	   /* extents in one BLOCK_STATUS answer */
#define FILE_PREF_BLOCK 4096

struct export_file {
	struct backend backend; /* first: a backend is its export_file */
	const char *path;
	const char *name;
	int fd; /* for lseek and the lock; the disk has its own */
	uint64_t size;
	bool read_only;
	bool is_block;
	bool private_to_cluster; /* only for clients that know the secret */
	struct nbd_auth_config auth;
	struct nbdsrv *nbdsrv;
	struct uring *u;
	struct env *env;
	struct buf_pool *pool;
	struct disk *disk;
	unsigned pending;	     /* requests that wait for the disk, a sync or memory */
	struct nbd_req *no_memory;   /* reads that found no buffer */
	struct io_timer retry_timer; /* for those */
	struct nbd_req *syncing;     /* answered when the sync under way is done */
	struct nbd_req *to_sync;     /* came later: they need another one */
	struct disk_op sync_op;
	bool sync_busy;
	bool stopping;
	uint8_t *zeros; /* FILE_ZERO_BYTES, made when first needed */
	struct nbd_status status[FILE_STATUS_MAX];
};

/* What a request needs while it waits; lies in nbd_req.user. */
struct file_io {
	struct disk_op op;
	uint64_t at;   /* zeroing: the next byte */
	uint64_t left; /* and how many */
	int mode;      /* of the fallocate under way */
};
static_assert(sizeof(struct file_io) <= sizeof(((struct nbd_req *)0)->user), "fits");

static struct file_io *io_of(struct nbd_req *req)
{
	return (struct file_io *)req->user;
}

static struct nbd_req *req_of(struct disk_op *op)
{
	return (struct nbd_req *)((char *)op - offsetof(struct nbd_req, user));
}

static struct export_file *file_of(struct nbd_req *req)
{
	return req->export_ctx;
}

/* ---- the end of a request that had to wait ------------------------------------------------- */

static void file_sync_start(struct export_file *f);

static void file_stop_maybe(struct export_file *f)
{
	if (f->stopping && f->pending == 0 && !f->sync_busy) {
		f->stopping = false;
		file_sync_start(f); /* the last one; its end is the end */
	}
}

static void file_log(struct nbd_req *req, int err)
{
	log_warn("%s: request type %u at %llu, %u bytes, from %s: %s", file_of(req)->path,
		 req->type, (unsigned long long)req->offset, req->len,
		 nbd_session_peer(req->session), strerror(err));
}

static void file_done(struct nbd_req *req, int64_t res)
{
	struct export_file *f = file_of(req);

	if (res < 0)
		file_log(req, (int)-res);
	nbd_req_done(req, res < 0 ? (int)-res : 0);
	f->pending--;
	file_stop_maybe(f);
}

/* ---- flush: one sync for all that wait ----------------------------------------------------- */

static void file_synced(struct disk_op *op, int64_t res)
{
	struct export_file *f =
		(struct export_file *)((char *)op - offsetof(struct export_file, sync_op));
	struct nbd_req *req = f->syncing;

	f->sync_busy = false;
	f->syncing = NULL;
	if (req == NULL) {
		nbdsrv_stopped(f->nbdsrv, (int)res);
		return;
	}
	if (f->to_sync != NULL)
		file_sync_start(f);
	while (req != NULL) {
		struct nbd_req *next = req->next;

		file_done(req, res);
		req = next;
	}
}

static void file_sync_start(struct export_file *f)
{
	assert(!f->sync_busy);
	f->syncing = f->to_sync;
	f->to_sync = NULL;
	f->sync_busy = true;
	f->sync_op.done = file_synced;
	f->disk->ops->sync(f->disk, &f->sync_op);
}

static void file_sync(struct nbd_req *req)
{
	struct export_file *f = file_of(req);

	req->next = f->to_sync;
	f->to_sync = req;
	if (!f->sync_busy)
		file_sync_start(f);
}

/* The change is in the page cache; is that all that was asked for? */
static void file_changed(struct nbd_req *req)
{
	if (req->flags & NBD_CMD_FLAG_FUA)
		file_sync(req);
	else
		file_done(req, 0);
}

/* ---- reads --------------------------------------------------------------------------------- */

static void file_read_done(struct disk_op *op, int64_t res)
{
	struct nbd_req *req = req_of(op);
	struct export_file *f = file_of(req);
	struct nbd_seg seg = {.buf = req->priv, .offset = 0, .len = req->len};

	if (res < 0) {
		buf_put(req->priv);
		file_done(req, res);
		return;
	}
	nbd_req_done_data(req, &seg, 1);
	f->pending--;
	file_stop_maybe(f);
}

/* Returns false when there is no buffer. pending counts the request already. */
static bool file_read_try(struct nbd_req *req)
{
	struct export_file *f = file_of(req);
	struct buf *b = buf_get(f->pool, req->len);
	struct iovec iov;

	if (b == NULL)
		return false;
	req->priv = b;
	if (req->len <= FILE_NOW_BYTES &&
	    f->disk->ops->read_now(f->disk, b->data, req->len, req->offset) == (int)req->len) {
		file_read_done(&io_of(req)->op, req->len);
		return true;
	}
	iov = (struct iovec){b->data, req->len};
	io_of(req)->op.done = file_read_done;
	f->disk->ops->readv(f->disk, &io_of(req)->op, &iov, 1, req->offset);
	return true;
}

static void file_retry(struct io_timer *t)
{
	struct export_file *f =
		(struct export_file *)((char *)t - offsetof(struct export_file, retry_timer));
	struct nbd_req *req;

	while ((req = f->no_memory) != NULL) {
		f->no_memory = req->next;
		if (!file_read_try(req)) {
			req->next = f->no_memory;
			f->no_memory = req;
			f->env->ops->timer_set(f->env, t,
					       f->env->ops->now_ns(f->env) +
						       NBDSRV_BACKLOG_MS * NS_PER_MS);
			return;
		}
	}
}

static void file_read(struct export_file *f, struct nbd_req *req)
{
	struct nbd_req **tail = &f->no_memory;

	f->pending++;
	if (f->no_memory == NULL && file_read_try(req))
		return;
	while (*tail != NULL)
		tail = &(*tail)->next;
	*tail = req;
	req->next = NULL;
	if (f->retry_timer.at_ns == 0)
		f->env->ops->timer_set(f->env, &f->retry_timer,
				       f->env->ops->now_ns(f->env) + NBDSRV_BACKLOG_MS * NS_PER_MS);
}

/* ---- writes -------------------------------------------------------------------------------- */

static void file_write_done(struct disk_op *op, int64_t res)
{
	struct nbd_req *req = req_of(op);

	if (res < 0)
		file_done(req, res);
	else
		file_changed(req);
}

static void file_write(struct export_file *f, struct nbd_req *req)
{
	struct iovec iov = {req->payload->data, req->len};

	f->pending++;
	if (req->len <= FILE_NOW_BYTES && f->disk->ops->write_now(f->disk, iov.iov_base, req->len,
								  req->offset) == (int)req->len) {
		file_changed(req);
		return;
	}
	io_of(req)->op.done = file_write_done;
	f->disk->ops->writev(f->disk, &io_of(req)->op, &iov, 1, req->offset);
}

/* ---- zeros --------------------------------------------------------------------------------- */

static void file_zero_write(struct nbd_req *req);

static void file_zero_written(struct disk_op *op, int64_t res)
{
	struct nbd_req *req = req_of(op);

	if (res < 0) {
		file_done(req, res);
		return;
	}
	io_of(req)->at += (uint64_t)res;
	io_of(req)->left -= (uint64_t)res;
	if (io_of(req)->left > 0)
		file_zero_write(req);
	else
		file_changed(req);
}

/* The slow way: write them. */
static void file_zero_write(struct nbd_req *req)
{
	struct export_file *f = file_of(req);
	struct file_io *io = io_of(req);
	struct iovec iov;

	if (f->zeros == NULL)
		f->zeros = calloc(1, FILE_ZERO_BYTES);
	if (f->zeros == NULL) {
		file_done(req, -ENOMEM);
		return;
	}
	iov.iov_base = f->zeros;
	iov.iov_len = io->left < FILE_ZERO_BYTES ? io->left : FILE_ZERO_BYTES;
	io->op.done = file_zero_written;
	f->disk->ops->writev(f->disk, &io->op, &iov, 1, io->at);
}

static bool zero_refused(int64_t res)
{
	/* EINVAL: a device that wants whole sectors. ENODEV: no file for it. */
	return res == -EOPNOTSUPP || res == -ENOSYS || res == -EINVAL || res == -ENODEV;
}

static void file_zero_alloc(struct nbd_req *req, int mode);

static void file_zero_done(struct disk_op *op, int64_t res)
{
	struct nbd_req *req = req_of(op);
	bool fast = (req->flags & NBD_CMD_FLAG_FAST_ZERO) != 0;

	if (res == 0) {
		file_changed(req);
	} else if (!zero_refused(res)) {
		file_done(req, res);
	} else if (fast) {
		nbd_req_done(req, EOPNOTSUPP); /* the answer to a question, no failure */
		file_of(req)->pending--;
		file_stop_maybe(file_of(req));
	} else if (io_of(req)->mode & FALLOC_FL_PUNCH_HOLE) {
		file_zero_alloc(req, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
	} else {
		file_zero_write(req);
	}
}

static void file_zero_alloc(struct nbd_req *req, int mode)
{
	struct export_file *f = file_of(req);
	struct file_io *io = io_of(req);

	io->op.done = file_zero_done;
	io->mode = mode;
	uring_disk_fallocate(f->disk, &io->op, mode, req->offset, req->len);
}

static void file_zeroes(struct export_file *f, struct nbd_req *req)
{
	bool no_hole = (req->flags & NBD_CMD_FLAG_NO_HOLE) != 0;

	io_of(req)->at = req->offset;
	io_of(req)->left = req->len;
	/* A device told to keep the blocks may write them one by one. */
	if (no_hole && f->is_block && (req->flags & NBD_CMD_FLAG_FAST_ZERO)) {
		nbd_req_done(req, EOPNOTSUPP);
		return;
	}
	f->pending++;
	file_zero_alloc(req, (no_hole ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE) |
				     FALLOC_FL_KEEP_SIZE);
}

/* ---- hints and questions ------------------------------------------------------------------- */

static void file_trim_done(struct disk_op *op, int64_t res)
{
	struct nbd_req *req = req_of(op);

	if (res < 0 && !zero_refused(res))
		file_done(req, res);
	else
		file_changed(req); /* a file system that cannot need not */
}

static void file_trim(struct export_file *f, struct nbd_req *req)
{
	f->pending++;
	io_of(req)->op.done = file_trim_done;
	f->disk->ops->discard(f->disk, &io_of(req)->op, req->offset, req->len);
}

static void file_cached(struct disk_op *op, int64_t res)
{
	file_done(req_of(op), 0); /* it was a hint */
}

static void file_cache(struct export_file *f, struct nbd_req *req)
{
	f->pending++;
	io_of(req)->op.done = file_cached;
	uring_disk_fadvise(f->disk, &io_of(req)->op, req->offset, req->len, POSIX_FADV_WILLNEED);
}

/* The extent at offset, up to end: its end, and whether it is a hole. */
static uint64_t file_extent(struct export_file *f, uint64_t offset, uint64_t end, bool *hole)
{
	off_t next = lseek(f->fd, (off_t)offset, SEEK_HOLE);

	*hole = false;
	if (next < 0)
		return end; /* not a file system that tells: all is data */
	if ((uint64_t)next == offset) {
		*hole = true;
		next = lseek(f->fd, (off_t)offset, SEEK_DATA);
		if (next < 0) {
			*hole = errno == ENXIO; /* none up to the end of the file */
			return end;
		}
	}
	return (uint64_t)next < end ? (uint64_t)next : end;
}

/* Looked up at once: it is the file system's metadata, and bounded. */
static void file_status(struct export_file *f, struct nbd_req *req)
{
	int max = (req->flags & NBD_CMD_FLAG_REQ_ONE) ? 1 : FILE_STATUS_MAX, n = 0;
	uint64_t at = req->offset, end = req->offset + req->len;

	while (at < end && n < max) {
		bool hole;
		uint64_t next = file_extent(f, at, end, &hole);

		if (next <= at) { /* changed between two questions */
			next = end;
			hole = false;
		}
		f->status[n++] = (struct nbd_status){
			.len = (uint32_t)(next - at),
			.flags = hole ? NBD_STATE_HOLE | NBD_STATE_ZERO : 0,
		};
		at = next;
	}
	nbd_req_done_status(req, f->status, n);
}

/* ---- the back end -------------------------------------------------------------------------- */

static void file_request(struct backend *b, struct nbd_req *req)
{
	struct export_file *f = (struct export_file *)b;

	switch (req->type) {
	case NBD_CMD_READ:
		file_read(f, req);
		break;
	case NBD_CMD_WRITE:
		file_write(f, req);
		break;
	case NBD_CMD_FLUSH:
		f->pending++;
		file_sync(req);
		break;
	case NBD_CMD_TRIM:
		file_trim(f, req);
		break;
	case NBD_CMD_WRITE_ZEROES:
		file_zeroes(f, req);
		break;
	case NBD_CMD_CACHE:
		file_cache(f, req);
		break;
	case NBD_CMD_BLOCK_STATUS:
		file_status(f, req);
		break;
	default:
		nbd_req_done(req, EINVAL);
	}
}

static int file_open(struct backend *b, struct nbd_session *s, const char *name, size_t len,
		     struct nbd_export *out, const char **why)
{
	struct export_file *f = (struct export_file *)b;

	if (f->private_to_cluster && !nbd_session_authenticated(s)) {
		*why = "this server asks for the cluster's secret";
		return -EPERM;
	}
	if (len != 0 && (len != strlen(f->name) || memcmp(name, f->name, len) != 0))
		return -ENOENT;
	*out = (struct nbd_export){
		.size = f->size,
		.min_block = 1,
		.pref_block = FILE_PREF_BLOCK,
		.max_block = NBD_PAYLOAD_MAX,
		.flags = NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_CACHE | NBD_FLAG_CAN_MULTI_CONN,
		.ctx = f,
	};
	if (f->read_only)
		out->flags |= NBD_FLAG_READ_ONLY;
	else
		out->flags |= NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES |
			      NBD_FLAG_SEND_FAST_ZERO;
	return 0;
}

static const char *file_name(struct backend *b)
{
	struct export_file *f = (struct export_file *)b;

	return f->private_to_cluster ? NULL : f->name;
}

static void file_start(struct backend *b, struct nbdsrv *n, struct uring *u, struct buf_pool *pool)
{
	struct export_file *f = (struct export_file *)b;
	int fd = fcntl(f->fd, F_DUPFD_CLOEXEC, 3);

	f->nbdsrv = n;
	f->u = u;
	f->env = uring_env(u);
	f->pool = pool;
	f->retry_timer.fire = file_retry;
	if (fd >= 0)
		f->disk = uring_disk(u, fd, f->size, false, NULL, 0);
	nbdsrv_serving(n, f->disk == NULL ? -ENOMEM : 0,
		       "out of memory or file descriptors at the start");
}

static void file_stop(struct backend *b)
{
	struct export_file *f = (struct export_file *)b;

	f->stopping = true;
	file_stop_maybe(f);
}

static void file_free(struct backend *b)
{
	struct export_file *f = (struct export_file *)b;

	if (f->disk != NULL)
		uring_disk_close(f->disk);
	/* the ring may keep the file open for a second more: let the next one in */
	flock(f->fd, LOCK_UN);
	close(f->fd);
	free(f->zeros);
	free(f);
}

static bool file_direct(struct backend *b)
{
	return false;
}

static const struct nbd_auth_config *file_auth(struct backend *b)
{
	struct export_file *f = (struct export_file *)b;

	return f->private_to_cluster ? &f->auth : NULL;
}

static const struct backend_ops file_ops = {
	.start = file_start,
	.open = file_open,
	.name = file_name,
	.request = file_request,
	.stop = file_stop,
	.free = file_free,
	.direct = file_direct,
	.auth = file_auth,
};

static int file_fd(struct export_file *f)
{
	f->fd = open(f->path, (f->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (f->fd < 0) {
		int err = errno;

		log_error("cannot open %s: %s%s", f->path, strerror(err),
			  !f->read_only && (err == EACCES || err == EROFS)
				  ? " (for reading only: --read-only)"
				  : "");
		return -err;
	}
	if (path_lock(f->fd, f->read_only ? LOCK_SH : LOCK_EX) == -EBUSY) {
		log_error("%s is in use by another process: stop that one first", f->path);
		return -EBUSY;
	}
	if (path_size(f->fd, &f->size, &f->is_block) < 0) {
		log_error("%s is neither a regular file nor a block device", f->path);
		return -EINVAL;
	}
	return 0;
}

struct backend *export_file_create(const struct nbdsrv_options *opt)
{
	struct export_file *f = calloc(1, sizeof(*f));

	if (f == NULL) {
		log_error("out of memory");
		return NULL;
	}
	f->backend.ops = &file_ops;
	f->path = opt->file;
	f->name = opt->name;
	f->read_only = opt->read_only;
	f->fd = -1;
	if (opt->secret != NULL) {
		if (auth_load(opt->secret, &f->auth) < 0)
			goto fail;
		f->private_to_cluster = true;
	}
	if (file_fd(f) == 0)
		return &f->backend;
fail:
	if (f->fd >= 0)
		close(f->fd);
	free(f);
	return NULL;
}
