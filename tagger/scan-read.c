/* See scan.h: files that wait are opened by a thread, read by the pool, and what it found is kept.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "log.h"
#include "tagger/scan-impl.h"
#include "banned.h"

struct scan_job {
	struct aside_job job; /* first */
	struct scan *scan;
	uint32_t file;
	uint8_t note; /* what was asked for: enum node_flags */
	uint8_t ident[16];
	char *path;
	bool folder;
	int fd; /* or -errno */
	struct tree_entry e;
	bool has_hand; /* the attribute could be read */
	size_t hand_len;
	char hand[RECORD_HAND_MAX];
};

/* Opening must never wait (a FIFO) nor change the time of last access. */
static int scan_open_path(const struct tree *t, const char *path, bool folder)
{
	int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | (folder ? O_DIRECTORY : 0);
	int fd = tree_openat(t, path, flags | O_NOATIME, 0);

	return fd == -EPERM ? tree_openat(t, path, flags, 0) : fd;
}

static void scan_read_hand(struct scan_job *j)
{
	ssize_t n = fgetxattr(j->fd, SCAN_XATTR, j->hand, sizeof(j->hand));

	j->has_hand = n >= 0 || errno == ENODATA;
	j->hand_len = n > 0 ? (size_t)n : 0;
}

/* A thread. */
static void scan_open(struct aside_job *job)
{
	struct scan_job *j = (struct scan_job *)job;

	j->fd = scan_open_path(j->scan->tree, j->path, j->folder);
	if (j->fd < 0)
		return;
	if (tree_look(j->scan->tree, j->fd, "", &j->e) != 0 ||
	    memcmp(j->e.seen.ident, j->ident, sizeof(j->ident)) != 0) {
		close(j->fd);
		j->fd = -ESTALE;
		return;
	}
	scan_read_hand(j);
	if (!j->folder)
		(void)posix_fadvise(j->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
}

static void scan_job_free(struct scan_job *j)
{
	free(j->path);
	free(j);
}

/* What stat and the attribute say, into the record. */
static void scan_fill(const struct scan_job *j, struct record *r)
{
	r->size = j->e.seen.size;
	r->mtime_ns = j->e.seen.mtime_ns;
	r->ctime_ns = j->e.seen.ctime_ns;
	r->flags &= (uint8_t)~RECORD_LINKED;
	r->flags |= j->e.seen.linked ? RECORD_LINKED : 0;
	if (j->has_hand)
		r->hand = (struct record_text){j->hand, j->hand_len};
}

static bool scan_put(struct scan *s, uint32_t file, const struct record *r)
{
	int err = index_put(s->ix, file, r);

	if (err != 0) {
		log_error("the index cannot take %s: %s", index_name(s->ix, file), strerror(-err));
		scan_stuck(s);
	}
	return err == 0;
}

/* The user has taken back that a tag is not wanted: only reading brings it again. */
static bool scan_hand_shorter(const struct record *r, const struct scan_job *j)
{
	const char *minus = r->hand.len > 0 ? memchr(r->hand.at, '-', r->hand.len) : NULL;

	return j->has_hand && minus != NULL &&
	       (j->hand_len != r->hand.len || memcmp(j->hand, r->hand.at, j->hand_len) != 0);
}

static void scan_finish(struct scan_job *j, struct extract *e)
{
	struct scan *s = j->scan;
	struct index_record rec;
	int err = index_get(s->ix, j->file, &rec);

	if (err != 0) {
		log_warn("%s has no record in the index: %s", index_name(s->ix, j->file),
			 strerror(-err));
		return;
	}
	scan_fill(j, &rec.r);
	if (e != NULL && !e->same) {
		derive_extract(s->ix, &rec.r, e);
	} else {
		/* a file that grew or shrank from nothing changes its kind */
		if (e == NULL && j->e.seen.kind == EXTRACT_KIND_EMPTY)
			rec.r.kind = EXTRACT_KIND_EMPTY;
		if (e != NULL || rec.r.state == RECORD_WAITING)
			rec.r.state = rec.r.why.len > 0 ? RECORD_FAILED : RECORD_DONE;
		derive_record(s->ix, &rec.r);
	}
	scan_put(s, j->file, &rec.r);
	index_record_free(&rec);
}

static void scan_fail(struct scan *s, uint32_t file, const struct tree_entry *e, const char *why)
{
	struct index_record rec;

	if (index_get(s->ix, file, &rec) != 0)
		return;
	rec.r.state = RECORD_FAILED;
	rec.r.why = (struct record_text){why, strlen(why)};
	if (e != NULL) {
		rec.r.size = e->seen.size;
		rec.r.mtime_ns = e->seen.mtime_ns;
		rec.r.ctime_ns = e->seen.ctime_ns;
	}
	scan_put(s, file, &rec.r);
	index_record_free(&rec);
	s->progress.failed++;
}

/* It is still the same file at this number. */
static struct node *scan_job_node(const struct scan_job *j)
{
	struct node *n = index_node_find(j->scan->ix, j->file);

	return n != NULL && memcmp(n->ident, j->ident, 16) == 0 ? n : NULL;
}

static void scan_done(void *arg, int err, struct extract *e)
{
	struct scan_job *j = arg;
	struct scan *s = j->scan;
	struct node *n = scan_job_node(j);

	s->reading--;
	if (err == 0 && n != NULL && !s->ix->stuck) {
		n->note &= (uint8_t)~NODE_READING;
		s->progress.done++;
		s->progress.same += e->same;
		s->progress.failed += e->failed;
		scan_finish(j, e);
		n = scan_job_node(j);
		if (n != NULL && n->note & NODE_AGAIN) {
			n->note &= (uint8_t)~NODE_AGAIN;
			scan_queue(s, j->file, 0);
		}
	} else if (n != NULL) {
		n->note &= (uint8_t) ~(NODE_READING | NODE_AGAIN);
	}
	if (s->ix->stuck)
		scan_stuck(s);
	extract_free(e);
	scan_job_free(j);
	scan_rate(s);
	scan_wake(s);
}

/* 0: the pool has it; 1: finished; -EAGAIN: no room. Takes over j->fd. */
static int scan_read(struct scan *s, struct scan_job *j)
{
	struct pool_request request = {.fd = j->fd,
				       .name = index_name(s->ix, j->file),
				       .size = j->e.seen.size,
				       .mtime_ns = j->e.seen.mtime_ns};
	struct index_record rec;
	int err;

	if (index_get(s->ix, j->file, &rec) != 0) {
		close(j->fd);
		return 1;
	}
	/* what was written since its attributes were looked for is read, as nothing else tells of
	 * it */
	if (j->note & NODE_ATTRS && rec.r.state != RECORD_WAITING && rec.r.size == j->e.seen.size &&
	    rec.r.mtime_ns == j->e.seen.mtime_ns && !scan_hand_shorter(&rec.r, j)) {
		index_record_free(&rec);
		close(j->fd);
		scan_finish(j, NULL);
		return 1;
	}
	if (!(j->note & NODE_FORCE) && !scan_hand_shorter(&rec.r, j) &&
	    rec.r.kind != EXTRACT_KIND_EMPTY)
		memcpy(request.known_hash, rec.r.hash, sizeof(request.known_hash));
	index_record_free(&rec);
	err = pool_extract(s->c.pool, &request, scan_done, j);
	if (err == 0) {
		index_node(s->ix, j->file)->note |= NODE_READING;
		s->reading++;
	}
	return err;
}

/* One that has no content: a folder, or empty. */
static bool scan_is_plain(const struct node *n, const struct tree_entry *e)
{
	return n->kind == EXTRACT_KIND_FOLDER || e->seen.kind == EXTRACT_KIND_EMPTY;
}

/* An error of opening: what it means for the file. */
static void scan_cannot_open(struct scan *s, uint32_t file, int err)
{
	char why[EXTRACT_WHY_MAX];

	if (err == -ENOENT || err == -ENOTDIR || err == -ELOOP || err == -EXDEV || err == -ESTALE) {
		/* gone, or a folder above was moved meanwhile: its folder tells */
		if (!(index_node(s->ix, file)->note & NODE_LOST))
			(void)scan_later(s, index_node(s->ix, file)->parent, true, 0);
		return;
	}
	snprintf(why, sizeof(why), "cannot be opened: %s", strerror(-err));
	scan_fail(s, file, NULL, why);
}

/* 0: the pool has it; 1: finished; -EAGAIN: no room. */
static int scan_take(struct scan *s, struct scan_job *j, const struct node *n)
{
	if (j->fd < 0) {
		scan_cannot_open(s, j->file, j->fd);
		return 1;
	}
	if (!scan_is_plain(n, &j->e))
		return scan_read(s, j);
	close(j->fd);
	scan_finish(j, NULL);
	return 1;
}

static void scan_opened(struct aside_job *job)
{
	struct scan_job *j = (struct scan_job *)job;
	struct scan *s = j->scan;
	struct node *n = scan_job_node(j);
	int got;

	s->reading--;
	if (n != NULL && !j->folder)
		n->note &= (uint8_t)~NODE_READING;
	if (n == NULL || s->ix->stuck || s->c.pool == NULL) {
		if (j->fd >= 0)
			close(j->fd);
		if (s->ix->stuck)
			scan_stuck(s);
		scan_job_free(j);
		return;
	}
	got = scan_take(s, j, n);
	n = scan_job_node(j);
	/* what came meanwhile is asked for again; when the pool has it, at its end */
	if (n != NULL && !j->folder && got != 0 && (got < 0 || n->note & NODE_AGAIN)) {
		n->note &= (uint8_t)~NODE_AGAIN;
		scan_queue(s, j->file, got < 0 ? j->note : 0);
	}
	if (got != 0)
		scan_job_free(j);
	scan_wake(s);
}

static struct scan_job *scan_job_new(struct scan *s, uint32_t file, const struct node *n)
{
	struct scan_job *j = calloc(1, sizeof(*j));

	if (j == NULL || index_path(s->ix, file, s->path, sizeof(s->path)) < 0) {
		free(j);
		return NULL;
	}
	j->path = strdup(s->path);
	j->job.work = scan_open;
	j->job.done = scan_opened;
	j->scan = s;
	j->file = file;
	j->folder = n->kind == EXTRACT_KIND_FOLDER;
	memcpy(j->ident, n->ident, sizeof(j->ident));
	if (j->path != NULL)
		return j;
	free(j);
	return NULL;
}

bool scan_read_next(struct scan *s)
{
	struct scan_job *j;
	struct node *n;
	uint32_t file;

	if (s->files.n == 0 || s->reading >= SCAN_DEPTH || s->c.pool == NULL)
		return false;
	file = scan_list_pop(&s->files);
	n = index_node_find(s->ix, file);
	if (n == NULL || !(n->note & NODE_QUEUED))
		return true;
	if (n->kind == EXTRACT_KIND_LINK || n->kind == EXTRACT_KIND_SPECIAL) {
		n->note &= (uint8_t) ~(NODE_QUEUED | NODE_ATTRS | NODE_FORCE);
		return true;
	}
	j = scan_job_new(s, file, n);
	if (j != NULL)
		j->note = n->note & (NODE_ATTRS | NODE_FORCE);
	n->note &= (uint8_t) ~(NODE_QUEUED | NODE_ATTRS | NODE_FORCE);
	if (j == NULL) {
		scan_cannot_open(s, file, -ENAMETOOLONG);
		return true;
	}
	if (aside_post(s->c.aside, ASIDE_SCAN, &j->job) != 0) {
		scan_queue(s, file, j->note);
		scan_job_free(j);
		return false;
	}
	/* a folder is only looked at, and may be so twice; NODE_AGAIN means something else of it */
	if (!j->folder)
		n->note |= NODE_READING;
	s->reading++;
	return true;
}

void scan_again(struct scan *s, uint32_t file)
{
	scan_queue(s, file, NODE_FORCE);
}

/* ---- tags that need no reading ------------------------------------------------------------- */

void scan_derive(struct scan *s, uint32_t file)
{
	struct node *n = index_node_find(s->ix, file);
	struct index_record rec;

	if (n == NULL || file == INDEX_ROOT || index_get(s->ix, file, &rec) != 0)
		return;
	derive_record(s->ix, &rec.r);
	scan_put(s, file, &rec.r);
	index_record_free(&rec);
	/* two folders up is as far as tags of folders reach */
	for (uint32_t c = n->child; c != 0; c = index_node(s->ix, c)->next)
		if (index_node(s->ix, c)->path_hash != derive_path_hash(s->ix, file))
			(void)scan_list_push(&s->derive, c);
}

int scan_hand_write(struct tree *t, const struct place *p, enum extract_kind kind, const char *hand,
		    size_t len)
{
	struct tree_entry e;
	int fd, err;

	if (kind == EXTRACT_KIND_LINK || kind == EXTRACT_KIND_SPECIAL)
		return 0;
	fd = scan_open_path(t, p->path, kind == EXTRACT_KIND_FOLDER);
	if (fd < 0)
		return fd;
	err = tree_look(t, fd, "", &e);
	if (err == 0 && memcmp(e.seen.ident, p->ident, sizeof(p->ident)) != 0)
		err = -ENOENT;
	if (err == 0 && len > 0 && fsetxattr(fd, SCAN_XATTR, hand, len, 0) < 0)
		err = -errno;
	else if (err == 0 && len == 0 && fremovexattr(fd, SCAN_XATTR) < 0 && errno != ENODATA)
		err = -errno;
	close(fd);
	/* where there are no attributes, the index alone keeps it */
	return err == -ENOTSUP ? 0 : err;
}

int scan_hand_note(struct scan *s, uint32_t file, const char *hand, size_t len)
{
	struct index_record rec;
	int err = index_get(s->ix, file, &rec);
	bool shorter;

	if (err != 0)
		return err;
	shorter = rec.r.hand.len > 0 && memchr(rec.r.hand.at, '-', rec.r.hand.len) != NULL;
	rec.r.hand = (struct record_text){hand, len};
	derive_record(s->ix, &rec.r);
	err = index_put(s->ix, file, &rec.r);
	if (shorter)
		scan_again(s, file);
	index_record_free(&rec);
	return err == 0 ? index_commit(s->ix) : err;
}

int scan_hand(struct scan *s, uint32_t file, const char *hand, size_t len)
{
	enum extract_kind kind = index_node(s->ix, file)->kind;
	struct place p = {0};
	int err = place_any(s->ix, file, &p);

	if (err == 0)
		err = scan_hand_write(s->tree, &p, kind, hand, len);
	place_free(&p);
	return err == 0 ? scan_hand_note(s, file, hand, len) : err;
}
