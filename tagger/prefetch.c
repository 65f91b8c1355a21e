/*
 * Reading ahead what will be wanted next: when somebody opens a file, its nearest neighbours that
 * are not in the cache are read into it. Each is watched for a while: opened, it was a hit, else a
 * waste. When most is waste, it stops for some time. Only with fanotify, which tells our own
 * opening from that of others.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "tagger/relate.h"
#include "tagger/tagger.h"
#include "banned.h"

#define AHEAD_FILES	   4u		 /* neighbours of an opened file */
#define AHEAD_FILE_BYTES   (4ull << 20)	 /* of each, from its beginning */
#define AHEAD_BUDGET_BYTES (64ull << 20) /* in AHEAD_WINDOW_S */
#define AHEAD_WINDOW_S	   10
#define AHEAD_WAIT_S	   60 /* then it was a waste */
#define AHEAD_PENDING_MAX  256u
#define AHEAD_OPENS_MAX	   50u /* looked at in AHEAD_WINDOW_S */
#define AHEAD_JUDGE_MIN	   64u /* outcomes, before it is judged */
#define AHEAD_HITS_MIN	   10u /* per cent, or it stops */
#define AHEAD_PAUSE_S	   600
#define AHEAD_WEIGHT_MIN   0.05f /* of a relation */

struct ahead {
	uint32_t file;
	time_t since;
};

/* A neighbour, while a thread looks at it. */
struct ahead_job {
	struct aside_job job; /* first */
	struct prefetch *p;
	struct place place;
	uint64_t bytes; /* that are read ahead; 0: they are in the cache already */
};

struct prefetch {
	struct tagger *t;
	struct watch *watch;
	struct ahead pending[AHEAD_PENDING_MAX]; /* a ring */
	unsigned head, n;
	time_t window, paused_until;
	uint64_t window_bytes;
	unsigned window_opens;
	uint32_t last;			    /* opened last */
	uint64_t hits, waste, files, bytes; /* since the start */
	unsigned judged_hits, judged;	    /* since the last judgement */
};

static time_t prefetch_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + 1; /* never 0 */
}

static void prefetch_judge(struct prefetch *p, bool hit, time_t now)
{
	p->hits += hit;
	p->waste += !hit;
	p->judged_hits += hit;
	if (++p->judged < AHEAD_JUDGE_MIN)
		return;
	if (p->judged_hits * 100 < p->judged * AHEAD_HITS_MIN) {
		log_debug("reading ahead stops for %d s: %u of %u files were wanted", AHEAD_PAUSE_S,
			  p->judged_hits, p->judged);
		p->paused_until = now + AHEAD_PAUSE_S;
	}
	p->judged = p->judged_hits = 0;
}

/* Those that have waited too long, and this one, which was opened. */
static void prefetch_outcomes(struct prefetch *p, uint32_t opened, time_t now)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < p->n; i++) {
		struct ahead a = p->pending[(p->head + i) % AHEAD_PENDING_MAX];

		if (a.file == opened)
			prefetch_judge(p, true, now);
		else if (now - a.since > AHEAD_WAIT_S)
			prefetch_judge(p, false, now);
		else
			p->pending[(p->head + kept++) % AHEAD_PENDING_MAX] = a;
	}
	p->n = kept;
}

/* Is its beginning in the cache already? */
static bool prefetch_cached(int fd)
{
	char byte;
	struct iovec v = {&byte, 1};

	return preadv2(fd, &v, 1, 0, RWF_NOWAIT) >= 0 || errno != EAGAIN;
}

/* A thread: even to say what is wanted may have to wait for the volume. */
static void prefetch_read(struct aside_job *job)
{
	struct ahead_job *a = (struct ahead_job *)job;
	struct stat st;
	int fd = place_open(&a->p->t->tree, &a->place, &st);

	if (fd < 0)
		return;
	if (st.st_size > 0 && !prefetch_cached(fd)) {
		a->bytes = (uint64_t)st.st_size < AHEAD_FILE_BYTES ? (uint64_t)st.st_size
								   : AHEAD_FILE_BYTES;
		(void)posix_fadvise(fd, 0, (off_t)a->bytes, POSIX_FADV_WILLNEED);
	}
	close(fd);
}

static void prefetch_was_read(struct aside_job *job)
{
	struct ahead_job *a = (struct ahead_job *)job;
	struct prefetch *p = a->p;

	if (a->bytes > 0 && p->n < AHEAD_PENDING_MAX) {
		p->window_bytes += a->bytes;
		p->bytes += a->bytes;
		p->files++;
		p->pending[(p->head + p->n++) % AHEAD_PENDING_MAX] =
			(struct ahead){a->place.file, prefetch_now()};
	}
	place_free(&a->place);
	free(a);
}

static void prefetch_file(struct prefetch *p, uint32_t file)
{
	struct ahead_job *a;

	for (unsigned i = 0; i < p->n; i++)
		if (p->pending[(p->head + i) % AHEAD_PENDING_MAX].file == file)
			return;
	if (p->n == AHEAD_PENDING_MAX || p->window_bytes >= AHEAD_BUDGET_BYTES)
		return;
	a = calloc(1, sizeof(*a));
	if (a == NULL)
		return;
	a->p = p;
	a->job.work = prefetch_read;
	a->job.done = prefetch_was_read;
	if (api_readable(p->t, file, &a->place) != 0 ||
	    aside_post(p->t->aside, ASIDE_READ, &a->job) != 0) {
		place_free(&a->place);
		free(a);
	}
}

static void prefetch_opened(void *arg, const uint8_t ident[16], const char *name)
{
	struct prefetch *p = arg;
	struct relation near[AHEAD_FILES];
	uint32_t folder = index_by_ident(p->t->index, ident);
	uint32_t file = folder != 0 ? index_by_place(p->t->index, folder, name, strlen(name)) : 0;
	time_t now = prefetch_now();
	int n;

	if (file == 0 || file == p->last)
		return;
	p->last = file;
	prefetch_outcomes(p, file, now);
	if (now - p->window > AHEAD_WINDOW_S) {
		p->window = now;
		p->window_bytes = p->window_opens = 0;
	}
	if (now < p->paused_until || p->window_opens++ >= AHEAD_OPENS_MAX || p->t->index->stuck ||
	    !scan_is_idle(p->t->scan))
		return;
	n = relate_neighbours(p->t->index, file, NULL, near, AHEAD_FILES);
	for (int i = 0; i < n; i++)
		if (near[i].weight >= AHEAD_WEIGHT_MIN)
			prefetch_file(p, near[i].file);
}

static void prefetch_nothing(void *arg)
{
}

bool prefetch_wants_folders(const struct prefetch *p)
{
	return p != NULL && watch_wants_folders(p->watch);
}

void prefetch_folder(struct prefetch *p, const uint8_t ident[16], int fd)
{
	if (p != NULL)
		watch_folder(p->watch, ident, fd);
}

json_t *prefetch_json(const struct prefetch *p)
{
	if (p == NULL)
		return json_pack("{s:b}", "on", 0);
	return json_pack("{s:b, s:I, s:I, s:I, s:I}", "on", prefetch_now() >= p->paused_until,
			 "files", (json_int_t)p->files, "bytes", (json_int_t)p->bytes, "hits",
			 (json_int_t)p->hits, "waste", (json_int_t)p->waste);
}

int prefetch_create(struct tagger *t, struct prefetch **out)
{
	struct prefetch *p = calloc(1, sizeof(*p));
	struct watch_config watch = {.control = t->control,
				     .tree = &t->tree,
				     .how = WATCH_FANOTIFY,
				     .opens = true,
				     .place = prefetch_opened,
				     .overflow = prefetch_nothing,
				     .gone = prefetch_nothing,
				     .arg = p};
	int err = p != NULL ? watch_create(&watch, &p->watch) : -ENOMEM;

	if (err != 0) {
		free(p);
		return err;
	}
	p->t = t;
	*out = p;
	return 0;
}

void prefetch_destroy(struct prefetch *p)
{
	if (p == NULL)
		return;
	watch_destroy(p->watch);
	free(p);
}
