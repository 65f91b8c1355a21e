/*
 * libarchive: files that are compressed alone, and the names inside archives. Both may unpack to
 * far more than they are, so what comes out is bounded, and so is the number of entries.
 */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>

#include "tagger/worker/worker.h"

#include "banned.h"

#define BLOCK		 (64u << 10)
#define ENTRIES_MAX	 4096u
#define ENTRY_BYTES	 (256u << 20) /* that are skipped over, at most, in what cannot seek */
#define NAME_BYTES	 1024u
#define NAMES_IN_EXCERPT 8u

/* ---- compressed alone ------------------------------------------------------------------------ */

static struct archive *unpack_open(int fd, const char **why)
{
	struct archive *a = archive_read_new();
	struct archive_entry *entry;

	*why = "out of memory";
	if (a == NULL)
		return NULL;
	archive_read_support_filter_gzip(a);
	archive_read_support_filter_bzip2(a);
	archive_read_support_filter_xz(a);
	archive_read_support_filter_lzma(a);
	archive_read_support_filter_zstd(a);
	archive_read_support_filter_lz4(a);
	archive_read_support_format_raw(a);
	archive_read_support_format_empty(a);
	*why = "the compressed data is broken";
	if (lseek(fd, 0, SEEK_SET) == 0 && archive_read_open_fd(a, fd, BLOCK) == ARCHIVE_OK &&
	    archive_read_next_header(a, &entry) >= ARCHIVE_WARN)
		return a;
	archive_read_free(a);
	return NULL;
}

int64_t archive_unpack_head(int fd, uint8_t *buf, bool *whole, const char **why)
{
	struct archive *a = unpack_open(fd, why);
	size_t got = 0;
	la_ssize_t n = 0;

	if (a == NULL)
		return -EBADMSG;
	/* one byte more tells whether that is all */
	while (got < INPUT_HEAD_MAX + 1) {
		n = archive_read_data(a, buf + got, INPUT_HEAD_MAX + 1 - got);
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	archive_read_free(a);
	/* what came before the damage still says what the file is about */
	if (n < 0 && got == 0)
		return -EBADMSG;
	*whole = n == 0 && got <= INPUT_HEAD_MAX;
	if (got > INPUT_HEAD_MAX)
		got = INPUT_HEAD_MAX;
	buf[got] = '\0';
	return (int64_t)got;
}

static int write_all(int fd, const uint8_t *p, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int archive_unpack_all(int fd, int out)
{
	static uint8_t buf[BLOCK];
	const char *why;
	struct archive *a = unpack_open(fd, &why);
	uint64_t all = 0;
	la_ssize_t n;
	int res = 0;

	if (a == NULL)
		return -EBADMSG;
	while (res == 0 && (n = archive_read_data(a, buf, sizeof(buf))) != 0) {
		if (n < 0) {
			res = -EBADMSG;
			break;
		}
		all += (uint64_t)n;
		res = all > INPUT_UNPACKED_MAX ? -EFBIG : write_all(out, buf, (size_t)n);
	}
	archive_read_free(a);
	return res;
}

/* ---- archives ---------------------------------------------------------------------------------
 */

static struct archive *names_open(int fd)
{
	struct archive *a = archive_read_new();

	if (a == NULL)
		return NULL;
	archive_read_support_filter_gzip(a);
	archive_read_support_filter_bzip2(a);
	archive_read_support_filter_xz(a);
	archive_read_support_filter_zstd(a);
	archive_read_support_filter_lz4(a);
	archive_read_support_format_7zip(a);
	archive_read_support_format_ar(a);
	archive_read_support_format_cab(a);
	archive_read_support_format_cpio(a);
	archive_read_support_format_gnutar(a);
	archive_read_support_format_iso9660(a);
	archive_read_support_format_lha(a);
	archive_read_support_format_rar(a);
	archive_read_support_format_rar5(a);
	archive_read_support_format_tar(a);
	archive_read_support_format_xar(a);
	archive_read_support_format_zip(a);
	if (archive_read_open_fd(a, fd, BLOCK) == ARCHIVE_OK)
		return a;
	archive_read_free(a);
	return NULL;
}

/* "src/lib/kv.c": the parts are words, the last one most of all. */
static void name_add(struct work *w, const char *name, unsigned int n)
{
	size_t len = strnlen(name, NAME_BYTES);

	words_feed(w->words, name, len, ZONE_NAMES);
	if (n < NAMES_IN_EXCERPT) {
		out_excerpt(w->out, name, len);
		out_excerpt(w->out, " ", 1);
	}
}

void extract_archive(struct work *w)
{
	struct archive *a;
	struct archive_entry *entry;
	unsigned int n = 0;
	uint64_t bytes = 0;
	int res = ARCHIVE_FATAL;

	/* the packed file: libarchive takes off what is around a tar by itself */
	a = lseek(w->in->fd, 0, SEEK_SET) == 0 ? names_open(w->in->fd) : NULL;
	if (a == NULL) {
		out_fail(w->out, "the archive cannot be read");
		return;
	}
	w->source = EXTRACT_SOURCE_INSIDE;
	while (n < ENTRIES_MAX && bytes < ENTRY_BYTES && !words_full(w->words)) {
		const char *name;

		res = archive_read_next_header(a, &entry);
		if (res == ARCHIVE_RETRY)
			continue;
		if (res < ARCHIVE_WARN || res == ARCHIVE_EOF)
			break;
		name = archive_entry_pathname_utf8(entry);
		if (name == NULL)
			name = archive_entry_pathname(entry);
		if (name != NULL)
			name_add(w, name, n);
		n++;
		bytes += archive_entry_size(entry) > 0 ? (uint64_t)archive_entry_size(entry) : 0;
	}
	if (n == 0 && res != ARCHIVE_EOF)
		out_fail(w->out, "the archive is broken: %s",
			 archive_error_string(a) != NULL ? archive_error_string(a)
							 : "no reason given");
	else
		out_fact_number(w->out, EXTRACT_FACT_ENTRIES, n);
	archive_read_free(a);
}
