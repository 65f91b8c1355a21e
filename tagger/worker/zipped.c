/*
 * libzip behind one file. A member says how large it is and may lie: no more is read than is
 * allowed, and all members together are bounded too.
 */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <zip.h>

#include "tagger/worker/zipped.h"

#include "banned.h"

struct zipped {
	zip_t *zip;
	char *buf;
	size_t read; /* in all */
};

struct zipped *zipped_open(int fd)
{
	struct zipped *z = calloc(1, sizeof(*z));
	int own = dup(fd), err;

	if (z != NULL && own >= 0) {
		/* takes the descriptor when it succeeds */
		z->zip = zip_fdopen(own, 0, &err);
		if (z->zip != NULL) {
			z->buf = malloc(ZIPPED_MEMBER_MAX + 1);
			if (z->buf != NULL)
				return z;
			own = -1;
		}
	}
	if (own >= 0)
		close(own);
	zipped_close(z);
	return NULL;
}

void zipped_close(struct zipped *z)
{
	if (z == NULL)
		return;
	if (z->zip != NULL)
		zip_discard(z->zip);
	free(z->buf);
	free(z);
}

const char *zipped_read(struct zipped *z, const char *name, size_t *len)
{
	zip_file_t *f = zip_fopen(z->zip, name, 0);
	size_t got = 0;

	if (f == NULL)
		return NULL;
	while (got < ZIPPED_MEMBER_MAX && z->read < ZIPPED_ALL_MAX) {
		zip_int64_t n = zip_fread(f, z->buf + got, ZIPPED_MEMBER_MAX - got);

		if (n <= 0)
			break;
		got += (size_t)n;
		z->read += (size_t)n;
	}
	zip_fclose(f);
	z->buf[got] = '\0';
	*len = got;
	return got > 0 ? z->buf : NULL;
}

size_t zipped_count(const struct zipped *z)
{
	zip_int64_t n = zip_get_num_entries(z->zip, 0);

	return n > 0 ? (size_t)n : 0;
}

const char *zipped_name(const struct zipped *z, size_t i)
{
	return zip_get_name(z->zip, i, 0);
}
