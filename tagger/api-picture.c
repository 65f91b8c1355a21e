/*
 * Thumbnails, and sprites of videos: made once by a worker, kept in a folder under the hash of the
 * content, so that a renamed file keeps its own. The folder is bounded; what was used least lately
 * goes.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tagger/tagger.h"
#include "banned.h"

#define PICTURE_SIDE	 256u
#define SPRITE_SIDE	 160u
#define SPRITE_COLUMNS	 5u
#define SPRITE_ROWS	 5u
#define SPRITE_MAX	 12u
#define PICTURE_NAME	 96
#define CACHE_LOOK_EVERY 64u /* pictures */

struct picture {
	struct tagger *t;
	struct http_request *r;
	char name[PICTURE_NAME];
};

struct cached {
	char name[PICTURE_NAME];
	time_t used;
	off_t size;
};

static int cached_compare(const void *a, const void *b)
{
	const struct cached *x = a, *y = b;

	return (x->used > y->used) - (x->used < y->used);
}

/* Everything in the cache; NULL: nothing, or no memory. */
static struct cached *cache_list(int fd, size_t *n, uint64_t *bytes)
{
	DIR *dir = fdopendir(fd);
	struct cached *all = NULL, *more;
	const struct dirent *d;
	struct stat st;
	size_t max = 0;

	*n = 0;
	*bytes = 0;
	while (dir != NULL && (d = readdir(dir)) != NULL) {
		if (fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
		    strlen(d->d_name) >= PICTURE_NAME)
			continue;
		if (*n == max) {
			max = max * 2 + 256;
			more = realloc(all, max * sizeof(*all));
			if (more == NULL)
				break;
			all = more;
		}
		snprintf(all[*n].name, PICTURE_NAME, "%s", d->d_name);
		all[*n].used = st.st_atime > st.st_mtime ? st.st_atime : st.st_mtime;
		all[(*n)++].size = st.st_size;
		*bytes += (uint64_t)st.st_size;
	}
	if (dir != NULL)
		closedir(dir);
	else
		close(fd);
	return all;
}

/* Down to three quarters of what it may have. */
static void cache_trim(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct cached *all;
	uint64_t bytes;
	size_t n;

	if (fd < 0)
		return;
	all = cache_list(dup(fd), &n, &bytes);
	if (all != NULL && bytes > TAGGER_CACHE_BYTES) {
		qsort(all, n, sizeof(*all), cached_compare);
		for (size_t i = 0; i < n && bytes > TAGGER_CACHE_BYTES / 4 * 3; i++) {
			(void)unlinkat(fd, all[i].name, 0);
			bytes -= (uint64_t)all[i].size;
		}
	}
	free(all);
	close(fd);
}

/* As a whole, or not at all; a cache that cannot be written is no error of the picture. */
static void cache_put(const struct tagger *t, const char *name, const void *data, size_t len)
{
	static unsigned puts;
	char path[4096], temp[4096];
	bool good;
	int fd;

	if (t->cache_dir == NULL || (mkdir(t->cache_dir, 0700) < 0 && errno != EEXIST))
		return;
	if (puts++ % CACHE_LOOK_EVERY == 0)
		cache_trim(t->cache_dir);
	if ((size_t)snprintf(path, sizeof(path), "%s/%s", t->cache_dir, name) >= sizeof(path) ||
	    (size_t)snprintf(temp, sizeof(temp), "%s/.new", t->cache_dir) >= sizeof(temp))
		return;
	fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	good = write(fd, data, len) == (ssize_t)len;
	good = close(fd) == 0 && good;
	if (!good || rename(temp, path) < 0)
		(void)unlink(temp);
}

static const char *picture_type(const char *data, size_t len)
{
	if (len > 12 && memcmp(data, "RIFF", 4) == 0)
		return "image/webp";
	if (len > 4 && memcmp(data, "\x89PNG", 4) == 0)
		return "image/png";
	return "image/jpeg";
}

static bool cache_reply(const struct tagger *t, struct http_request *r, const char *name)
{
	char path[4096], *data;
	struct stat st;
	ssize_t n = -1;
	int fd;

	if (t->cache_dir == NULL ||
	    (size_t)snprintf(path, sizeof(path), "%s/%s", t->cache_dir, name) >= sizeof(path))
		return false;
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return false;
	data = malloc(POOL_PICTURE_MAX);
	if (fstat(fd, &st) == 0 && st.st_size <= (off_t)POOL_PICTURE_MAX && data != NULL)
		n = read(fd, data, POOL_PICTURE_MAX);
	close(fd);
	if (n > 0) {
		http_header(r, "Cache-Control", "private, max-age=86400");
		http_reply(r, 200, picture_type(data, (size_t)n), data, (size_t)n);
	}
	free(data);
	return n > 0;
}

static void picture_done(void *arg, int err, const char *type, const void *data, size_t len)
{
	struct picture *p = arg;

	if (err != 0) {
		api_errno(p->r, err == -ECANCELED ? -EAGAIN : err, "There is no picture");
	} else {
		cache_put(p->t, p->name, data, len);
		http_header(p->r, "Cache-Control", "private, max-age=86400");
		http_reply(p->r, 200, type, data, len);
	}
	free(p);
}

static int picture_name(struct tagger *t, uint32_t file, const struct pool_picture *how,
			char out[PICTURE_NAME])
{
	struct index_record rec;
	int err = index_get(t->index, file, &rec);
	size_t n = 0;

	if (err != 0)
		return err;
	for (int i = 0; i < EXTRACT_HASH_BYTES; i++)
		n += (size_t)snprintf(out + n, PICTURE_NAME - n, "%02x", rec.r.hash[i]);
	/* one that was not read yet has no hash */
	if (rec.r.state == RECORD_WAITING)
		n = (size_t)snprintf(out, PICTURE_NAME, "f%u-%llx", file,
				     (unsigned long long)rec.r.mtime_ns);
	snprintf(out + n, PICTURE_NAME - n, "-%s%ux%u-%ux%u", how->sprite ? "s" : "t", how->width,
		 how->height, how->columns, how->rows);
	index_record_free(&rec);
	return 0;
}

static void picture_make(struct tagger *t, struct http_request *r, uint32_t file,
			 const struct pool_picture *how)
{
	struct picture *p = calloc(1, sizeof(*p));
	struct pool_request request = {.name = index_name(t->index, file)};
	struct stat st;
	int err = p != NULL ? picture_name(t, file, how, p->name) : -ENOMEM;

	if (err == 0 && cache_reply(t, r, p->name)) {
		free(p);
		return;
	}
	if (err == 0) {
		request.fd = api_open(t, file, &st);
		err = request.fd < 0 ? request.fd : 0;
	}
	if (err == 0) {
		p->t = t;
		p->r = r;
		request.size = (uint64_t)st.st_size;
		err = pool_make_picture(t->pool, &request, how, picture_done, p);
	}
	if (err != 0) {
		free(p);
		api_errno(r, err == -EISDIR ? -ENOTSUP : err, "There is no picture");
	}
}

void api_thumbnail(struct tagger *t, struct http_request *r)
{
	uint32_t file = api_file(t, r), width, height;

	if (file == 0 || !api_number(r, "width", PICTURE_SIDE, 2048, &width) ||
	    !api_number(r, "height", PICTURE_SIDE, 2048, &height))
		return;
	picture_make(t, r, file,
		     &(struct pool_picture){.width = (uint16_t)(width > 0 ? width : 1),
					    .height = (uint16_t)(height > 0 ? height : 1),
					    .columns = 1,
					    .rows = 1});
}

void api_sprite(struct tagger *t, struct http_request *r)
{
	uint32_t file = api_file(t, r), width, height, columns, rows;

	if (file == 0 || !api_number(r, "width", SPRITE_SIDE, 320, &width) ||
	    !api_number(r, "height", SPRITE_SIDE, 320, &height) ||
	    !api_number(r, "columns", SPRITE_COLUMNS, SPRITE_MAX, &columns) ||
	    !api_number(r, "rows", SPRITE_ROWS, SPRITE_MAX, &rows))
		return;
	picture_make(t, r, file,
		     &(struct pool_picture){.sprite = true,
					    .width = (uint16_t)(width > 0 ? width : 1),
					    .height = (uint16_t)(height > 0 ? height : 1),
					    .columns = (uint8_t)(columns > 0 ? columns : 1),
					    .rows = (uint8_t)(rows > 0 ? rows : 1)});
}
