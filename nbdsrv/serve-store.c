/*
 * A shard store as the one export of this server. Everything that can be wrong with what is at the
 * path is found out here, before anything listens, and said in a sentence.
 *
 * Data goes by O_DIRECT where the file system has it: the store keeps what it needs itself, and a
 * second copy in the page cache would only cost memory. On a tmpfs that would gain nothing. The
 * metadata is a shared mapping of the same file; the areas do not overlap, so the two ways do not
 * meet.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "guard.h"
#include "nbd/proto.h"
#include "nbdsrv.h"
#include "store/store.h"
#include "uring.h"

#include "banned.h"

#define ROUTE_GENERATION_SHIFT 48 /* in the offset of a READ on WEFT_ROUTE_EXPORT */

struct serve_store {
	struct backend backend; /* first: a backend is its serve_store */
	char path[PATH_MAX];
	int fd; /* holds the lock; the disk has its own */
	bool is_block;
	bool direct;
	int disk_fd; /* until the disk takes it over */
	struct store_info info;
	char route; /* its address is the context of WEFT_ROUTE_EXPORT */
	struct nbd_auth_config auth;
	void *meta; /* info.meta_bytes, mapped shared */
	struct nbdsrv *nbdsrv;
	struct uring *u;
	struct disk *disk;
	struct store *store;
	char why[PATH_MAX + 256]; /* what nbdsrv_serving() is told */
};

/* ---- before anything listens --------------------------------------------------------------- */

static int ss_open(struct serve_store *s)
{
	struct stat st;
	int flags = O_RDWR | O_CLOEXEC;

	if (stat(s->path, &st) == 0 && S_ISBLK(st.st_mode))
		flags |= O_EXCL; /* refused while it is mounted */
	s->fd = open(s->path, flags);
	if (s->fd < 0 && errno == ENOENT)
		log_error("there is no store at %s: make one with \"nbdsrv --store PATH --format "
			  "--size SIZE --secret FILE\"",
			  s->path);
	else if (s->fd < 0 && errno == EBUSY)
		log_error("%s is in use: it is mounted, or part of something else", s->path);
	else if (s->fd < 0)
		log_error("cannot open %s: %s", s->path, strerror(errno));
	if (s->fd < 0)
		return -errno;
	if (path_lock(s->fd, LOCK_EX) < 0) {
		log_error(
			"%s is in use by another process: only one nbdsrv may serve a store, stop "
			"that one first",
			s->path);
		return -EBUSY;
	}
	return 0;
}

static int ss_probe(struct serve_store *s)
{
	const char *why = "it cannot be read";
	uint64_t size;
	int err = path_size(s->fd, &size, &s->is_block);

	if (err < 0) {
		log_error("%s is neither a regular file nor a block device", s->path);
		return err;
	}
	err = store_probe(s->fd, &s->info, &why);
	if (err == -ENOENT)
		log_error("%s: %s: make a store there with --format", s->path, why);
	else if (err < 0)
		log_error("%s: %s", s->path, why);
	if (err < 0)
		return err;
	if (memcmp(s->info.cluster, s->auth.cluster, sizeof(s->auth.cluster)) != 0) {
		log_error("%s belongs to another cluster: give --secret the file of that cluster "
			  "(or make it anew, which loses everything in it, with --format --force)",
			  s->path);
		return -EPERM;
	}
	memcpy(s->auth.store, s->info.store, sizeof(s->auth.store));
	return 0;
}

/* The descriptor that data goes through. */
static int ss_disk_fd(struct serve_store *s)
{
	char self[64];
	struct statfs fs;

	/* By way of our own descriptor, so that it is the file that we locked. */
	snprintf(self, sizeof(self), "/proc/self/fd/%d", s->fd);
	if (fstatfs(s->fd, &fs) == 0 && (fs.f_type != TMPFS_MAGIC || s->is_block)) {
		s->disk_fd = open(self, O_RDWR | O_CLOEXEC | O_DIRECT);
		s->direct = s->disk_fd >= 0;
	}
	if (s->disk_fd < 0)
		s->disk_fd = fcntl(s->fd, F_DUPFD_CLOEXEC, 3);
	if (s->disk_fd < 0) {
		log_error("%s: %s", s->path, strerror(errno));
		return -errno;
	}
	return 0;
}

/*
 * What a full file system must not take from a sparse file: the log, and the pages of the mapping,
 * where to find no space is a fatal signal. A tmpfs would take memory for all of a large map.
 */
static void ss_reserve(struct serve_store *s)
{
	bool memory;
	struct statfs fs;
	int err = 0;

	if (s->is_block || fstatfs(s->fd, &fs) < 0)
		return;
	memory = fs.f_type == TMPFS_MAGIC;
	if (fallocate(s->fd, FALLOC_FL_KEEP_SIZE, (off_t)s->info.log_offset,
		      (off_t)s->info.log_bytes) < 0)
		err = errno;
	if (!memory && fallocate(s->fd, FALLOC_FL_KEEP_SIZE, (off_t)s->info.meta_offset,
				 (off_t)s->info.meta_bytes) < 0)
		err = errno;
	if (err != 0 && err != EOPNOTSUPP)
		log_warn("no space can be set aside for the log and the metadata of %s: %s",
			 s->path, strerror(err));
}

static int ss_map(struct serve_store *s)
{
	ss_reserve(s);
	guard_begin();
	s->meta = mmap(NULL, s->info.meta_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd,
		       (off_t)s->info.meta_offset);
	if (s->meta == MAP_FAILED) {
		s->meta = NULL;
		log_error("cannot map the metadata of %s: %s", s->path, strerror(errno));
		return -errno;
	}
	return 0;
}

/* ---- the back end -------------------------------------------------------------------------- */

static uint64_t ss_real_free(void *ctx)
{
	struct serve_store *s = ctx;
	struct statvfs fs;

	if (s->is_block || fstatvfs(s->fd, &fs) < 0)
		return UINT64_MAX; /* the map knows */
	return (uint64_t)fs.f_bavail * fs.f_frsize;
}

static void ss_stat(void *ctx, struct weft_stat *st)
{
	guarding_stat(nbdsrv_guarding(((struct serve_store *)ctx)->nbdsrv), st);
}

/* A server that is gone is missed by nobody; one that fails each write stops its volumes. */
static void ss_failed(void *ctx)
{
	const struct serve_store *s = ctx;

	log_error("%s: the disk fails, so this server ends; the others have what it had. When the "
		  "disk is well, start it again; else replace the disk, or remove the server: see "
		  "weft-recovery(7)",
		  s->path);
	/* what was not written counts as clean: the next open must see the disk, not the cache */
	(void)munmap(s->meta, s->info.meta_bytes);
	(void)posix_fadvise(s->fd, 0, 0, POSIX_FADV_DONTNEED);
	_exit(EXIT_FAILURE); /* no answer that waits to be sent may go out */
}

static void ss_ready(void *ctx, int err, const char *why)
{
	struct serve_store *s = ctx;

	if (err != 0)
		snprintf(s->why, sizeof(s->why), "%s: %s", s->path, why != NULL ? why : "damaged");
	nbdsrv_serving(s->nbdsrv, err, s->why);
}

static void ss_start(struct backend *b, struct nbdsrv *n, struct uring *u, struct buf_pool *pool)
{
	struct serve_store *s = (struct serve_store *)b;
	struct store_config config = {
		.info = s->info,
		.meta = s->meta,
		.env = uring_env(u),
		.pool = pool,
		.route_name = nbdsrv_route_name(n),
		.real_free = ss_real_free,
		.stat = ss_stat,
		.failed = ss_failed,
		.ctx = s,
	};

	s->nbdsrv = n;
	s->u = u;
	s->disk = uring_disk(u, s->disk_fd, s->info.size_bytes, s->direct, s->meta,
			     s->info.meta_bytes);
	s->disk_fd = -1;
	config.disk = s->disk;
	if (s->disk != NULL) {
		uring_disk_map(s->disk);
		s->store = store_open(&config, ss_ready, s);
	}
	if (s->store == NULL)
		nbdsrv_serving(n, -ENOMEM, "not enough memory to open the store");
}

static int ss_export(struct backend *b, struct nbd_session *session, const char *name, size_t len,
		     struct nbd_export *out, const char **why)
{
	struct serve_store *s = (struct serve_store *)b;

	/* To everybody else it does not exist. */
	if (!nbd_session_authenticated(session) || len != strlen(WEFT_STORE_EXPORT))
		return -ENOENT;
	if (memcmp(name, WEFT_ROUTE_EXPORT, len) == 0) {
		*out = (struct nbd_export){
			.size = UINT64_MAX, /* the generation is on top */
			.min_block = 1,
			.pref_block = WEFT_BLOCK_BYTES,
			.max_block = WEFT_UNIT_MAX,
			.flags = NBD_FLAG_READ_ONLY | NBD_FLAG_SEND_FUA,
			.split = true,
			.ctx = &s->route,
		};
		return 0;
	}
	if (memcmp(name, WEFT_STORE_EXPORT, len) != 0)
		return -ENOENT;
	*out = (struct nbd_export){
		.size = s->info.slots * WEFT_SHARD_BYTES,
		.min_block = 1, /* READ; the private commands look at their own ranges */
		.pref_block = WEFT_BLOCK_BYTES,
		.max_block = NBD_PAYLOAD_MAX,
		.flags = NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA | NBD_FLAG_CAN_MULTI_CONN,
		.private_cmds = true,
		.description = WEFT_STORE_ABOUT PACKAGE_VERSION,
		.ctx = s,
	};
	return 0;
}

static const char *ss_name(struct backend *b)
{
	return NULL;
}

static void ss_request(struct backend *b, struct nbd_req *req)
{
	struct serve_store *s = (struct serve_store *)b;

	if (req->type == WEFT_CMD_MEMBERS) {
		guarding_members(nbdsrv_guarding(s->nbdsrv), req);
		return;
	}
	if (req->export_ctx == &s->route) {
		uint64_t at = req->offset & ((1ULL << ROUTE_GENERATION_SHIFT) - 1);

		if (!store_slot_is(s->store, at / WEFT_SHARD_BYTES,
				   (uint16_t)(req->offset >> ROUTE_GENERATION_SHIFT))) {
			nbd_req_done(req, ESTALE);
			return;
		}
		req->offset = at;
		uring_routed(s->u);
	}
	store_request(s->store, req);
}

static void ss_closed(void *ctx, int err)
{
	struct serve_store *s = ctx;

	nbdsrv_stopped(s->nbdsrv, err < 0 ? err : -err);
}

static void ss_stop(struct backend *b)
{
	struct serve_store *s = (struct serve_store *)b;

	store_close(s->store, ss_closed, s);
}

static void ss_free(struct backend *b)
{
	struct serve_store *s = (struct serve_store *)b;

	if (s->store != NULL)
		store_free(s->store);
	if (s->disk != NULL)
		uring_disk_close(s->disk);
	if (s->meta != NULL)
		munmap(s->meta, s->info.meta_bytes);
	if (s->disk_fd >= 0)
		close(s->disk_fd);
	if (s->fd >= 0) {
		/* the ring may keep the file open for a second more: let the next one in */
		flock(s->fd, LOCK_UN);
		close(s->fd);
	}
	free(s);
}

static bool ss_direct(struct backend *b)
{
	return ((struct serve_store *)b)->direct;
}

static const struct nbd_auth_config *ss_auth(struct backend *b)
{
	return &((struct serve_store *)b)->auth;
}

static const struct backend_ops serve_store_ops = {
	.start = ss_start,
	.open = ss_export,
	.name = ss_name,
	.request = ss_request,
	.stop = ss_stop,
	.free = ss_free,
	.direct = ss_direct,
	.auth = ss_auth,
};

struct backend *serve_store_create(const struct nbdsrv_options *opt)
{
	struct serve_store *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		log_error("out of memory");
		return NULL;
	}
	s->backend.ops = &serve_store_ops;
	s->fd = s->disk_fd = -1;
	if (path_of_store(opt->store, s->path, sizeof(s->path)) < 0 ||
	    auth_load(opt->secret, &s->auth) < 0 || ss_open(s) < 0 || ss_probe(s) < 0 ||
	    ss_disk_fd(s) < 0 || ss_map(s) < 0) {
		ss_free(&s->backend);
		return NULL;
	}
	return &s->backend;
}
