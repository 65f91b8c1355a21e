/*
 * The bytes of a file. They are read with pread(): a mapping would let whoever cuts the file short
 * kill the worker.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hash.h"
#include "tagger/worker/worker.h"

#include "banned.h"

#define READ_BYTES   (256u << 10)
#define SAMPLES	     16u /* of a file too large to be hashed as a whole */
#define SAMPLE_BYTES (256u << 10)

int64_t input_read_at(int fd, void *buf, size_t len, uint64_t offset)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = pread(fd, (char *)buf + got, len - got, (off_t)(offset + got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return (int64_t)got;
}

int input_open(struct input *in, int fd, uint64_t size, const char *name, uint8_t *buf)
{
	int64_t n;

	*in = (struct input){.fd = fd, .size = size, .name = name, .head = buf, .unpacked_fd = -1};
	if (size > INPUT_HEAD_MAX)
		posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	n = input_read_at(fd, buf, INPUT_HEAD_MAX, 0);
	if (n < 0)
		return (int)n;
	in->head_len = (size_t)n;
	in->head[n] = '\0';
	in->whole = n < INPUT_HEAD_MAX || size <= INPUT_HEAD_MAX;
	return 0;
}

/* From offset on, len bytes, after what is in the hash already. */
static int hash_range(int fd, struct hash_stream *h, uint64_t offset, uint64_t len)
{
	static uint8_t buf[READ_BYTES];

	while (len > 0) {
		size_t want = len < sizeof(buf) ? (size_t)len : sizeof(buf);
		int64_t n = input_read_at(fd, buf, want, offset);

		if (n < 0)
			return (int)n;
		if (n == 0)
			break;
		hash_stream_add(h, buf, (size_t)n);
		offset += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

static int hash_samples(const struct input *in, struct hash_stream *h, int64_t mtime_ns)
{
	uint64_t numbers[2] = {in->size, (uint64_t)mtime_ns};
	int res = 0;

	hash_stream_add(h, numbers, sizeof(numbers));
	for (unsigned int i = 0; i < SAMPLES && res == 0; i++) {
		uint64_t offset = (in->size - SAMPLE_BYTES) / (SAMPLES - 1) * i;

		res = hash_range(in->fd, h, offset, SAMPLE_BYTES);
	}
	return res;
}

int input_hash(const struct input *in, int64_t mtime_ns, uint8_t hash[EXTRACT_HASH_BYTES])
{
	struct hash_stream *h;
	int res = 0;

	assert(!in->unpacked);
	if (in->whole) {
		hash_bytes(in->head, in->head_len, hash);
		return 0;
	}
	h = hash_stream_new();
	if (h == NULL)
		return -ENOMEM;
	if (in->size > EXTRACT_HASH_WHOLE) {
		res = hash_samples(in, h, mtime_ns);
	} else {
		hash_stream_add(h, in->head, in->head_len);
		res = hash_range(in->fd, h, in->head_len, EXTRACT_HASH_WHOLE);
	}
	hash_stream_end(h, hash);
	if (res < 0)
		memset(hash, 0, EXTRACT_HASH_BYTES);
	return res;
}

int input_fd(struct input *in)
{
	int fd, res;

	if (!in->unpacked)
		return lseek(in->fd, 0, SEEK_SET) < 0 ? -errno : in->fd;
	if (in->unpacked_fd >= 0)
		return lseek(in->unpacked_fd, 0, SEEK_SET) < 0 ? -errno : in->unpacked_fd;
	fd = memfd_create("unpacked", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	res = archive_unpack_all(in->fd, fd);
	if (res == 0 && lseek(fd, 0, SEEK_SET) < 0)
		res = -errno;
	if (res < 0) {
		close(fd);
		return res;
	}
	in->unpacked_fd = fd;
	return fd;
}

void input_close(struct input *in)
{
	if (in->unpacked_fd >= 0)
		close(in->unpacked_fd);
	in->unpacked_fd = -1;
}
