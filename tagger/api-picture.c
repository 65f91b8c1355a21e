/*
 * Thumbnails, and sprites of videos: made once by a worker, kept in a folder under the hash of the
 * content, so that a renamed file keeps its own. The folder is bounded; what was used least lately
 * goes. It may be on the volume, so only threads (aside.h) touch it.
 *
 * Making one costs a worker's time, and whoever has a link may ask. So there are few sizes, and
 * what is asked for becomes the next of them; the same one is made once however many wait for it;
 * what cannot be made is remembered for a while; and reading files has its share of the workers.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tagger/tagger.h"
#include "banned.h"

#define PICTURE_SIDE	 256u
#define PICTURE_SIDE_MAX 2048u
#define SPRITE_SIDE	 160u
#define SPRITE_SIDE_MAX	 320u
#define SPRITE_COLUMNS	 5u
#define SPRITE_ROWS	 5u
#define SPRITE_MAX	 10u
#define MAKING_MAX	 (POOL_QUEUE_MAX / 2) /* at a time: the rest is for reading */
#define FAILED_MAX	 256u		      /* that are remembered */
#define FAILED_S	 600
#define PICTURE_NAME	 96
#define CACHE_LOOK_EVERY 64u /* pictures */

struct picture {
	struct aside_job job; /* first */
	struct tagger *t;
	struct http_request *r;
	struct pool_picture how;
	struct place place;
	struct stat st;
	int fd;	    /* of the file, or -errno; when it has no picture yet */
	char *kept; /* a picture that was made before */
	size_t kept_len;
	char name[PICTURE_NAME];
	struct picture *next; /* that is being made */
	struct picture *same; /* that waits for this one */
};

static struct picture *making; /* one for each name; the loop's */
static unsigned making_n;
/* the last that could not be made */
static struct failed {
	char name[PICTURE_NAME];
	int err;
	time_t until;
} failures[FAILED_MAX];
static unsigned failures_n;

/* One that was made, on its way to the cache. */
struct cache_job {
	struct aside_job job; /* first */
	const struct tagger *t;
	char name[PICTURE_NAME];
	size_t len;
	char data[];
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
	size_t max = 0, len;

	*n = 0;
	*bytes = 0;
	while (dir != NULL && (d = readdir(dir)) != NULL) {
		len = strlen(d->d_name);
		if (fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
		    len >= PICTURE_NAME)
			continue;
		if (*n == max) {
			max = max * 2 + 256;
			more = realloc(all, max * sizeof(*all));
			if (more == NULL)
				break;
			all = more;
		}
		memcpy(all[*n].name, d->d_name, len + 1);
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

/* As a whole, or not at all; a cache that cannot be written is no error of the picture. The one
 * thread of changes. */
static void cache_write(const struct tagger *t, const char *name, const void *data, size_t len)
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

static void cache_job_work(struct aside_job *job)
{
	const struct cache_job *c = (const struct cache_job *)job;

	cache_write(c->t, c->name, c->data, c->len);
}

static void cache_job_done(struct aside_job *job)
{
	free(job);
}

static void cache_put(const struct tagger *t, const char *name, const void *data, size_t len)
{
	struct cache_job *c = t->cache_dir != NULL ? malloc(sizeof(*c) + len) : NULL;

	if (c == NULL)
		return;
	c->job.work = cache_job_work;
	c->job.done = cache_job_done;
	c->t = t;
	c->len = len;
	snprintf(c->name, sizeof(c->name), "%s", name);
	memcpy(c->data, data, len);
	if (aside_post(t->aside, ASIDE_CHANGE, &c->job) != 0)
		free(c);
}

static const char *picture_type(const char *data, size_t len)
{
	if (len > 12 && memcmp(data, "RIFF", 4) == 0)
		return "image/webp";
	if (len > 4 && memcmp(data, "\x89PNG", 4) == 0)
		return "image/png";
	return "image/jpeg";
}

/* NULL: it has none. */
static char *cache_read(const struct tagger *t, const char *name, size_t *len)
{
	char path[4096], *data;
	struct stat st;
	ssize_t n = -1;
	int fd;

	if (t->cache_dir == NULL ||
	    (size_t)snprintf(path, sizeof(path), "%s/%s", t->cache_dir, name) >= sizeof(path))
		return NULL;
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	data = malloc(POOL_PICTURE_MAX);
	if (fstat(fd, &st) == 0 && st.st_size <= (off_t)POOL_PICTURE_MAX && data != NULL)
		n = read(fd, data, POOL_PICTURE_MAX);
	close(fd);
	*len = n > 0 ? (size_t)n : 0;
	if (n > 0)
		return data;
	free(data);
	return NULL;
}

static void picture_free(struct picture *p)
{
	place_free(&p->place);
	free(p->kept);
	free(p);
}

static void picture_reply(struct picture *p, const char *type, const void *data, size_t len)
{
	http_header(p->r, "Cache-Control", "private, max-age=86400");
	http_reply(p->r, 200, type, data, len);
}

static void picture_fail(struct picture *p, int err)
{
	api_errno(p->r, err == -EISDIR ? -ENOTSUP : err, "There is no picture");
	picture_free(p);
}

/* ---- making them --------------------------------------------------------------------------- */

static void picture_remember(const char *name, int err)
{
	struct failed *f = &failures[failures_n++ % FAILED_MAX];

	snprintf(f->name, sizeof(f->name), "%s", name);
	f->err = err;
	f->until = time(NULL) + FAILED_S;
}

/* What it failed with not long ago, or 0. */
static int picture_failed(const char *name)
{
	time_t now = time(NULL);

	for (unsigned i = 0; i < FAILED_MAX; i++)
		if (failures[i].until > now && strcmp(failures[i].name, name) == 0)
			return failures[i].err;
	return 0;
}

static void picture_done(void *arg, int err, const char *type, const void *data, size_t len)
{
	struct picture *p = arg, *next, **at = &making;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	making_n--;
	if (err == 0)
		cache_put(p->t, p->name, data, len);
	else if (err != -ECANCELED && err != -EAGAIN && err != -ENOMEM && err != -EIO)
		picture_remember(p->name, err);
	for (; p != NULL; p = next) {
		next = p->same;
		if (err != 0) {
			picture_fail(p, err == -ECANCELED ? -EAGAIN : err);
		} else {
			picture_reply(p, type, data, len);
			picture_free(p);
		}
	}
}

/* Wait for one that is being made, or have it made; takes over p->fd. 0 or -errno. */
static int picture_order(struct picture *p)
{
	struct pool_request request = {
		.fd = p->fd, .name = p->place.name, .size = (uint64_t)p->st.st_size};
	int err;

	for (struct picture *m = making; m != NULL; m = m->next)
		if (strcmp(m->name, p->name) == 0) {
			close(p->fd);
			p->same = m->same;
			m->same = p;
			return 0;
		}
	if (making_n == MAKING_MAX) {
		close(p->fd);
		return -EAGAIN;
	}
	err = pool_make_picture(p->t->pool, &request, &p->how, picture_done, p);
	if (err != 0)
		return err;
	p->next = making;
	making = p;
	making_n++;
	return 0;
}

/* A thread. */
static void picture_look(struct aside_job *job)
{
	struct picture *p = (struct picture *)job;

	p->kept = cache_read(p->t, p->name, &p->kept_len);
	if (p->kept == NULL)
		p->fd = place_open(&p->t->tree, &p->place, &p->st);
}

static void picture_looked(struct aside_job *job)
{
	struct picture *p = (struct picture *)job;
	int err;

	if (p->kept != NULL) {
		picture_reply(p, picture_type(p->kept, p->kept_len), p->kept, p->kept_len);
		picture_free(p);
		return;
	}
	err = p->fd < 0 ? p->fd : picture_order(p);
	if (err != 0)
		picture_fail(p, err);
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
	int err;

	if (p == NULL) {
		api_errno(r, -ENOMEM, "There is no picture");
		return;
	}
	p->job.work = picture_look;
	p->job.done = picture_looked;
	p->t = t;
	p->r = r;
	p->how = *how;
	p->fd = -1;
	err = api_readable(t, file, &p->place);
	if (err == 0)
		err = picture_name(t, file, how, p->name);
	if (err == 0)
		err = picture_failed(p->name);
	if (err == 0)
		err = aside_post(t->aside, ASIDE_READ, &p->job);
	if (err != 0)
		picture_fail(p, err);
}

/* The next size that there is. */
static uint16_t picture_side(uint32_t width, uint32_t height)
{
	static const uint16_t sides[] = {160, 256, 512, 1024, PICTURE_SIDE_MAX};
	uint32_t side = width > height ? width : height;
	size_t i = 0;

	while (sides[i] < side)
		i++;
	return sides[i];
}

/* A picture fits into a square. */
void api_thumbnail(struct tagger *t, struct http_request *r)
{
	uint32_t file = api_file(t, r), width, height;
	uint16_t side;

	if (file == 0 || !api_number(r, "width", PICTURE_SIDE, PICTURE_SIDE_MAX, &width) ||
	    !api_number(r, "height", PICTURE_SIDE, PICTURE_SIDE_MAX, &height))
		return;
	side = picture_side(width, height);
	picture_make(
		t, r, file,
		&(struct pool_picture){.width = side, .height = side, .columns = 1, .rows = 1});
}

void api_sprite(struct tagger *t, struct http_request *r)
{
	uint32_t file = api_file(t, r), width, height, columns, rows;
	uint16_t side;
	uint8_t frames;

	if (file == 0 || !api_number(r, "width", SPRITE_SIDE, SPRITE_SIDE_MAX, &width) ||
	    !api_number(r, "height", SPRITE_SIDE, SPRITE_SIDE_MAX, &height) ||
	    !api_number(r, "columns", SPRITE_COLUMNS, SPRITE_MAX, &columns) ||
	    !api_number(r, "rows", SPRITE_ROWS, SPRITE_MAX, &rows))
		return;
	side = width > SPRITE_SIDE || height > SPRITE_SIDE ? SPRITE_SIDE_MAX : SPRITE_SIDE;
	frames = columns > SPRITE_COLUMNS || rows > SPRITE_ROWS ? SPRITE_MAX : SPRITE_COLUMNS;
	picture_make(t, r, file,
		     &(struct pool_picture){.sprite = true,
					    .width = side,
					    .height = side,
					    .columns = frames,
					    .rows = frames});
}
