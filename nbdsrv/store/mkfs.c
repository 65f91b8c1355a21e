/* Making a store: an empty meta area, then the superblock copies, the first one last. */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/fs.h>

#include "store/store_internal.h"

#include "banned.h"

#define ZERO_CHUNK (1u << 20)

static int write_zeros(int fd, uint64_t offset, uint64_t len)
{
	void *zeros = aligned_alloc(BUF_ALIGN, ZERO_CHUNK);
	int err = 0;

	if (zeros == NULL)
		return -ENOMEM;
	memset(zeros, 0, ZERO_CHUNK);
	while (len > 0 && err == 0) {
		size_t n = len < ZERO_CHUNK ? len : ZERO_CHUNK;
		ssize_t done = pwrite(fd, zeros, n, (off_t)offset);

		if (done <= 0) {
			err = done < 0 ? -errno : -EIO;
			break;
		}
		offset += (uint64_t)done;
		len -= (uint64_t)done;
	}
	free(zeros);
	return err;
}

/* Zeros without writing them, where file system or device can. */
static int make_zeros(int fd, bool device, uint64_t offset, uint64_t len)
{
	uint64_t range[2] = {offset, len};

	if (device && ioctl(fd, BLKZEROOUT, range) == 0)
		return 0;
	if (!device && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
				 (off_t)len) == 0)
		return 0;
	return write_zeros(fd, offset, len);
}

static int write_super(int fd, const struct disk_super *host, unsigned copy)
{
	struct disk_super *block = aligned_alloc(SUPER_BYTES, SUPER_BYTES);
	ssize_t n;

	if (block == NULL)
		return -ENOMEM;
	super_encode(host, block);
	n = pwrite(fd, block, SUPER_BYTES, (off_t)super_copy_offset(host->size_bytes, copy));
	free(block);
	if (n < 0)
		return -errno;
	return n == (ssize_t)SUPER_BYTES ? 0 : -EIO;
}

/* Give the file its size, or see whether the device has it. */
static int make_room(int fd, const struct stat *st, uint64_t size, const char **why)
{
	uint64_t real = 0;

	if (S_ISREG(st->st_mode)) {
		if ((uint64_t)st->st_size < size && ftruncate(fd, (off_t)size) < 0) {
			int err = -errno;

			*why = store_why("the file cannot be made %" PRIu64 " bytes long: %s", size,
					 strerror(-err));
			return err;
		}
		return 0;
	}
	if (!S_ISBLK(st->st_mode) || ioctl(fd, BLKGETSIZE64, &real) < 0) {
		*why = "a store must be a regular file or a block device";
		return -EINVAL;
	}
	if (real < size) {
		*why = store_why("the device has %" PRIu64 " bytes only: ask for no more", real);
		return -ENOSPC;
	}
	return 0;
}

static int write_areas(int fd, bool device, const struct disk_super *s)
{
	int err = make_zeros(fd, device, 0, s->meta_offset);

	if (err == 0)
		err = make_zeros(fd, device, s->meta_offset, s->meta_bytes);
	/* the first block only: nothing older in the ring can pass, since its store is another */
	if (err == 0)
		err = make_zeros(fd, device, s->log_offset, LOG_BLOCK);
	for (unsigned copy = SUPER_COPIES; err == 0 && copy-- > 1;)
		err = write_super(fd, s, copy);
	if (err == 0 && fsync(fd) < 0)
		err = -errno;
	if (err == 0)
		err = write_super(fd, s, 0);
	if (err == 0 && fsync(fd) < 0)
		err = -errno;
	return err;
}

int store_format(int fd, const struct store_format_options *opt, const char **why)
{
	struct disk_super s = {0}, old;
	struct stat st;
	const char *ignored;
	int err;

	if (fstat(fd, &st) < 0) {
		*why = "the file or device cannot be examined";
		return -errno;
	}
	err = super_read(fd, &old, &ignored);
	if (err != -ENOENT) {
		*why = "there is a store here already: remove the file, or wipe the device with "
		       "wipefs(8) or blkdiscard(8), if nothing on it is needed any more";
		return -EEXIST;
	}
	err = super_layout(&s, opt->size_bytes, opt->log_bytes, why);
	if (err == 0)
		err = make_room(fd, &st, opt->size_bytes, why);
	if (err < 0)
		return err;
	s.version = STORE_VERSION;
	s.sequence = 1;
	memcpy(s.cluster, opt->cluster, sizeof(s.cluster));
	memcpy(s.store, opt->store, sizeof(s.store));
	s.clean = 1;
	s.next_gen = 1;
	s.tail_seq = 1;
	err = write_areas(fd, S_ISBLK(st.st_mode), &s);
	if (err < 0)
		*why = store_why("the store cannot be written: %s", strerror(-err));
	return err;
}
