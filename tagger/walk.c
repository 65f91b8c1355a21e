/* See walk.h. The threads give way to others: they run at the lowest priority of best effort. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"
#include "tagger/walk.h"
#include "banned.h"

#define IOPRIO_LOWEST (2 << 13 | 7) /* ioprio_set(2): class best effort, level 7 */
#define IOPRIO_THREAD 1

struct walk_job {
	uint32_t folder;
	uint8_t ident[16];
	char *path;
	struct walk_job *next;
};

struct walk {
	struct control *control;
	struct tree *tree;
	void (*arrived)(void *arg, struct walk_batch *b);
	void *arg;
	pthread_t threads[WALK_THREADS];
	unsigned nthreads;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t work, room;
	struct walk_job *first, **last;
	unsigned queued, batches;
	bool stop;
};

static void walk_arrived(struct control_message *m)
{
	struct walk_batch *b = (struct walk_batch *)m;

	if (b->walk->stop)
		walk_batch_free(b);
	else
		b->walk->arrived(b->walk->arg, b);
}

/* Waits until a batch may be made. NULL: stop, or no memory (then the folder is tried again). */
static struct walk_batch *walk_batch_new(struct walk *w, const struct walk_job *job)
{
	struct walk_batch *b = NULL;
	bool go;

	pthread_mutex_lock(&w->lock);
	while (w->batches >= WALK_BATCHES_MAX && !w->stop)
		pthread_cond_wait(&w->room, &w->lock);
	go = !w->stop;
	if (go)
		w->batches++;
	pthread_mutex_unlock(&w->lock);
	while (go && b == NULL) {
		b = malloc(sizeof(*b));
		if (b == NULL)
			sleep(1); /* out of memory passes, or the process does */
	}
	if (b != NULL) {
		b->message.fn = walk_arrived;
		b->walk = w;
		b->folder = job->folder;
		memcpy(b->ident, job->ident, sizeof(b->ident));
		b->last = false;
		b->err = 0;
		b->n = 0;
	}
	return b;
}

void walk_batch_free(struct walk_batch *b)
{
	struct walk *w = b->walk;

	pthread_mutex_lock(&w->lock);
	w->batches--;
	pthread_cond_signal(&w->room);
	pthread_mutex_unlock(&w->lock);
	free(b);
}

static void walk_entry(struct walk *w, int dir_fd, const char *name, struct walk_batch *b)
{
	struct walk_entry *e = &b->entries[b->n];
	size_t len = strlen(name);
	int err;

	if (len > RECORD_NAME_MAX)
		return;
	err = tree_look(w->tree, dir_fd, name, &e->e);
	if (err != 0) {
		/* gone meanwhile: it was not there */
		if (err != -ENOENT)
			b->err = err;
		return;
	}
	memcpy(e->name, name, len + 1);
	e->name_len = (uint8_t)len;
	b->n++;
}

static bool walk_skip(const struct walk_job *job, const char *name)
{
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return true;
	return job->folder == INDEX_ROOT &&
	       (strcmp(name, TREE_OWN) == 0 || strcmp(name, "lost+found") == 0);
}

static int walk_open(struct walk *w, const struct walk_job *job, DIR **dir)
{
	struct tree_entry e;
	int fd = tree_openat(w->tree, job->path, O_RDONLY | O_DIRECTORY, 0), err;

	if (fd < 0)
		return fd;
	err = tree_look(w->tree, fd, "", &e);
	if (err == 0 && memcmp(e.seen.ident, job->ident, sizeof(job->ident)) != 0)
		err = -ESTALE; /* another folder has come to this path */
	*dir = err == 0 ? fdopendir(fd) : NULL;
	if (*dir == NULL) {
		err = err != 0 ? err : -errno;
		close(fd);
	}
	return err;
}

/* Reads one folder. The last batch is posted even when there is nothing in it. */
static void walk_read(struct walk *w, const struct walk_job *job)
{
	struct walk_batch *b = walk_batch_new(w, job);
	struct dirent *d;
	DIR *dir = NULL;
	int err;

	if (b == NULL)
		return;
	err = walk_open(w, job, &dir);
	while (err == 0) {
		errno = 0;
		d = readdir(dir);
		if (d == NULL) {
			err = -errno;
			break;
		}
		if (walk_skip(job, d->d_name))
			continue;
		walk_entry(w, dirfd(dir), d->d_name, b);
		if (b->n < WALK_ENTRIES_MAX)
			continue;
		err = b->err;
		b->err = 0;
		control_post(w->control, &b->message);
		b = walk_batch_new(w, job);
		if (b == NULL)
			break;
	}
	if (dir != NULL)
		closedir(dir);
	if (b == NULL)
		return;
	b->last = true;
	b->err = err != 0 ? err : b->err;
	control_post(w->control, &b->message);
}

static void *walk_thread(void *arg)
{
	struct walk *w = arg;

	(void)syscall(SYS_ioprio_set, IOPRIO_THREAD, 0, IOPRIO_LOWEST);
	pthread_mutex_lock(&w->lock);
	for (;;) {
		struct walk_job *job = w->first;

		if (w->stop)
			break;
		if (job == NULL) {
			pthread_cond_wait(&w->work, &w->lock);
			continue;
		}
		w->first = job->next;
		if (w->first == NULL)
			w->last = &w->first;
		w->queued--;
		pthread_mutex_unlock(&w->lock);
		walk_read(w, job);
		free(job->path);
		free(job);
		pthread_mutex_lock(&w->lock);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

bool walk_folder(struct walk *w, uint32_t folder, const uint8_t ident[16], const char *path)
{
	struct walk_job *job = calloc(1, sizeof(*job));
	bool room;

	if (job != NULL)
		job->path = strdup(path);
	if (job == NULL || job->path == NULL) {
		free(job);
		return false;
	}
	job->folder = folder;
	memcpy(job->ident, ident, sizeof(job->ident));
	pthread_mutex_lock(&w->lock);
	room = w->queued < WALK_QUEUE_MAX;
	if (room) {
		*w->last = job;
		w->last = &job->next;
		w->queued++;
		pthread_cond_signal(&w->work);
	}
	pthread_mutex_unlock(&w->lock);
	if (!room) {
		free(job->path);
		free(job);
	}
	return room;
}

int walk_create(struct control *control, struct tree *tree,
		void (*arrived)(void *arg, struct walk_batch *b), void *arg, struct walk **out)
{
	struct walk *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return -ENOMEM;
	w->control = control;
	w->tree = tree;
	w->arrived = arrived;
	w->arg = arg;
	w->last = &w->first;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->work, NULL);
	pthread_cond_init(&w->room, NULL);
	for (; w->nthreads < WALK_THREADS; w->nthreads++) {
		int err = pthread_create(&w->threads[w->nthreads], NULL, walk_thread, w);

		if (err != 0 && w->nthreads == 0) {
			walk_destroy(w);
			return -err;
		}
		if (err != 0)
			break;
	}
	*out = w;
	return 0;
}

void walk_destroy(struct walk *w)
{
	if (w == NULL)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_broadcast(&w->work);
	pthread_cond_broadcast(&w->room);
	pthread_mutex_unlock(&w->lock);
	for (unsigned i = 0; i < w->nthreads; i++)
		pthread_join(w->threads[i], NULL);
	control_drain(w->control);
	while (w->first != NULL) {
		struct walk_job *job = w->first;

		w->first = job->next;
		free(job->path);
		free(job);
	}
	pthread_mutex_destroy(&w->lock);
	pthread_cond_destroy(&w->work);
	pthread_cond_destroy(&w->room);
	free(w);
}
