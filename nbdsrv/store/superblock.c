/*
 * The superblock: three copies, each with a checksum; the valid one with the highest sequence
 * number wins. Everything that other files take from it was checked here, against the real size
 * too.
 */
#include "config.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/fs.h>

#include "store/store_internal.h"

#include "banned.h"

#define WHY_MAX 512

/* Sentences made so far: they live as long as the process, and leak checkers see that they do. */
struct why {
	struct why *next;
	char text[];
};
static _Atomic(struct why *) whys;

const char *store_why(const char *fmt, ...)
{
	struct why *w = malloc(sizeof(*w) + WHY_MAX);
	va_list ap;

	if (w == NULL)
		return "the store cannot be opened, and there is no memory to say why";

	va_start(ap, fmt);
	vsnprintf(w->text, WHY_MAX, fmt, ap);
	va_end(ap);
	w->next = whys;
	while (!atomic_compare_exchange_weak(&whys, &w->next, w))
		;
	return w->text;
}

uint64_t super_copy_offset(uint64_t size_bytes, unsigned copy)
{
	assert(copy < SUPER_COPIES);
	if (copy < 2)
		return (uint64_t)copy * SUPER_STRIDE;
	return size_bytes / SUPER_STRIDE * SUPER_STRIDE - SUPER_STRIDE;
}

/* Swapping is its own inverse, so one function goes both ways. */
static void super_swap(struct disk_super *s)
{
	s->version = htole32(s->version);
	s->crc = htole32(s->crc);
	s->sequence = htole64(s->sequence);
	s->incompat = htole64(s->incompat);
	s->ro_compat = htole64(s->ro_compat);
	s->compat = htole64(s->compat);
	s->size_bytes = htole64(s->size_bytes);
	s->meta_offset = htole64(s->meta_offset);
	s->meta_bytes = htole64(s->meta_bytes);
	s->label_offset = htole64(s->label_offset);
	s->map_offset = htole64(s->map_offset);
	s->log_offset = htole64(s->log_offset);
	s->log_bytes = htole64(s->log_bytes);
	s->data_offset = htole64(s->data_offset);
	s->data_bytes = htole64(s->data_bytes);
	s->slots = htole64(s->slots);
	s->clean = htole32(s->clean);
	s->next_gen = htole32(s->next_gen);
	s->tail_block = htole64(s->tail_block);
	s->tail_seq = htole64(s->tail_seq);
	s->tail_salt = htole64(s->tail_salt);
	s->tail_crc = htole32(s->tail_crc);
	s->head_block = htole64(s->head_block);
}

void super_encode(const struct disk_super *host, struct disk_super *disk)
{
	*disk = *host;
	memcpy(disk->magic, STORE_MAGIC, sizeof(disk->magic));
	super_swap(disk);
	disk->crc = 0;
	disk->crc = htole32(crc32c(0, disk, sizeof(*disk)));
}

int super_decode(const struct disk_super *disk, struct disk_super *host)
{
	uint32_t crc;

	if (memcmp(disk->magic, STORE_MAGIC, sizeof(disk->magic)) != 0)
		return -ENOENT;
	*host = *disk;
	crc = le32toh(host->crc);
	host->crc = 0;
	if (crc32c(0, host, sizeof(*host)) != crc)
		return -EUCLEAN;
	super_swap(host);
	return 0;
}

static uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

/* The areas that fit a number of granules. */
static void layout_granules(struct disk_super *s, uint64_t granules)
{
	s->slots = granules * SLOTS_FACTOR / SLOT_GRANULES;
	s->meta_offset = META_OFFSET;
	s->label_offset = STORE_VOLUMES_MAX * sizeof(struct disk_volume);
	s->map_offset = s->label_offset + s->slots * sizeof(struct disk_label);
	s->meta_bytes = round_up(
		s->map_offset + s->slots * SLOT_GRANULES * sizeof(struct disk_entry), SUPER_STRIDE);
	s->log_offset = s->meta_offset + s->meta_bytes;
	s->data_offset = s->log_offset + s->log_bytes;
	s->data_bytes = granules * GRANULE_BYTES;
}

int super_layout(struct disk_super *s, uint64_t size, uint64_t log_bytes, const char **why)
{
	uint64_t end, low = 0, high = size / GRANULE_BYTES;

	if (size < STORE_MIN_BYTES || size > STORE_SIZE_MAX) {
		*why = store_why("a store has 64 MiB to 64 TiB, not %" PRIu64
				 " bytes: choose another size",
				 size);
		return -EINVAL;
	}
	if (log_bytes == 0) {
		log_bytes = size / LOG_DEFAULT_SHARE;
		if (log_bytes < LOG_DEFAULT_MIN)
			log_bytes = LOG_DEFAULT_MIN;
		if (log_bytes > LOG_DEFAULT_MAX)
			log_bytes = LOG_DEFAULT_MAX;
		if (log_bytes > size / LOG_MAX_SHARE)
			log_bytes = size / LOG_MAX_SHARE;
	}
	log_bytes = log_bytes / SUPER_STRIDE * SUPER_STRIDE;
	if (log_bytes < LOG_MIN_BYTES || log_bytes > size / LOG_MAX_SHARE) {
		*why = "the log must have 8 MiB at least and a quarter of the store at most";
		return -EINVAL;
	}
	s->size_bytes = size;
	s->log_bytes = log_bytes;
	end = super_copy_offset(size, 2);
	while (low < high) { /* the most granules that fit */
		uint64_t mid = (low + high + 1) / 2;

		layout_granules(s, mid);
		if (s->data_offset + s->data_bytes <= end)
			low = mid;
		else
			high = mid - 1;
	}
	layout_granules(s, low);
	return 0;
}

static bool layout_same(const struct disk_super *a, const struct disk_super *b)
{
	return a->slots == b->slots && a->meta_offset == b->meta_offset &&
	       a->meta_bytes == b->meta_bytes && a->label_offset == b->label_offset &&
	       a->map_offset == b->map_offset && a->log_offset == b->log_offset &&
	       a->log_bytes == b->log_bytes && a->data_offset == b->data_offset &&
	       a->data_bytes == b->data_bytes;
}

int super_check(const struct disk_super *s, uint64_t real_bytes, const char **why)
{
	struct disk_super want = *s;

	if (s->version != STORE_VERSION || (s->incompat & ~STORE_INCOMPAT_KNOWN) != 0 ||
	    (s->ro_compat & ~STORE_RO_COMPAT_KNOWN) != 0) {
		*why = store_why("the store has format version %u with features %" PRIx64
				 "/%" PRIx64 ", which this program does not know: use a newer one",
				 s->version, s->incompat, s->ro_compat);
		return -ENOTSUP;
	}
	if (super_layout(&want, s->size_bytes, s->log_bytes, why) < 0 || !layout_same(s, &want) ||
	    s->data_bytes == 0) {
		*why = "the superblock's areas do not fit together: the store is damaged; format "
		       "it anew and let the cluster rebuild what was on it";
		return -EUCLEAN;
	}
	if (s->size_bytes > real_bytes) {
		*why = store_why("the store has %" PRIu64
				 " bytes, but its file or device only %" PRIu64
				 ": give it back its size, for example with truncate(1)",
				 s->size_bytes, real_bytes);
		return -ENOSPC;
	}
	return 0;
}

static uint64_t real_size(int fd)
{
	struct stat st;
	uint64_t bytes = 0;

	if (fstat(fd, &st) < 0)
		return 0;
	if (S_ISBLK(st.st_mode))
		return ioctl(fd, BLKGETSIZE64, &bytes) < 0 ? 0 : bytes;
	return st.st_size < 0 ? 0 : (uint64_t)st.st_size;
}

/* One copy into *best when it is newer. */
static void read_copy(int fd, void *block, uint64_t offset, struct disk_super *best, bool *found,
		      bool *damaged)
{
	struct disk_super s;
	int err;

	if (pread(fd, block, SUPER_BYTES, (off_t)offset) != (ssize_t)SUPER_BYTES)
		return;
	err = super_decode(block, &s);
	if (err == -EUCLEAN)
		*damaged = true;
	if (err < 0 || (*found && s.sequence <= best->sequence))
		return;
	*best = s;
	*found = true;
}

int super_read(int fd, struct disk_super *host, const char **why)
{
	uint64_t real = real_size(fd);
	bool found = false, damaged = false;
	void *block = aligned_alloc(SUPER_BYTES, SUPER_BYTES);

	if (block == NULL) {
		*why = "no memory to read the superblock";
		return -ENOMEM;
	}
	read_copy(fd, block, super_copy_offset(0, 0), host, &found, &damaged);
	read_copy(fd, block, super_copy_offset(0, 1), host, &found, &damaged);
	if (real >= 2 * SUPER_STRIDE)
		read_copy(fd, block, super_copy_offset(real, 2), host, &found, &damaged);
	/* a file that has grown since has its third copy elsewhere */
	if (found && host->size_bytes >= STORE_MIN_BYTES && host->size_bytes < real)
		read_copy(fd, block, super_copy_offset(host->size_bytes, 2), host, &found,
			  &damaged);
	free(block);
	if (!found && damaged) {
		*why = "all copies of the superblock are damaged: format the store anew and let "
		       "the "
		       "cluster rebuild what was on it";
		return -EUCLEAN;
	}
	if (!found) {
		*why = "there is no store here: make one with nbdsrv --store PATH --format";
		return -ENOENT;
	}
	return super_check(host, real, why);
}

void super_to_info(const struct disk_super *s, struct store_info *info)
{
	memset(info, 0, sizeof(*info));
	info->version = s->version;
	info->size_bytes = s->size_bytes;
	info->meta_offset = s->meta_offset;
	info->meta_bytes = s->meta_bytes;
	info->log_offset = s->log_offset;
	info->log_bytes = s->log_bytes;
	info->data_offset = s->data_offset;
	info->data_bytes = s->data_bytes;
	info->slots = s->slots;
	memcpy(info->cluster, s->cluster, sizeof(info->cluster));
	memcpy(info->store, s->store, sizeof(info->store));
	info->clean = s->clean != 0;
}

int store_probe(int fd, struct store_info *info, const char **why)
{
	struct disk_super s;
	int err = super_read(fd, &s, why);

	if (err == 0)
		super_to_info(&s, info);
	return err;
}
