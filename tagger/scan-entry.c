/*
 * See scan.h: one name in one folder, as it is on disk, against what the index says. What is known
 * by its identity keeps everything, wherever it is met.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "tagger/scan-impl.h"
#include "banned.h"

void scan_queue(struct scan *s, uint32_t file, uint8_t note)
{
	struct node *n = index_node(s->ix, file);

	n->note |= note & NODE_FORCE;
	if (n->note & NODE_READING) {
		n->note |= NODE_AGAIN;
		return;
	}
	if (n->note & NODE_QUEUED) {
		if (!(note & NODE_ATTRS))
			n->note &= (uint8_t)~NODE_ATTRS;
		return;
	}
	if (!scan_list_push(&s->files, file))
		return; /* the next walk sees that it is not read */
	n->note |= NODE_QUEUED | (note & NODE_ATTRS);
	scan_wake(s);
}

void scan_queue_folder(struct scan *s, uint32_t folder)
{
	if (!scan_list_push(&s->folders, folder)) {
		index_node(s->ix, folder)->note |= NODE_CLOSED; /* what is in it is kept */
		return;
	}
	scan_wake(s);
}

/* ---- lost files ---------------------------------------------------------------------------- */

/* Another name of a file that has several. */
static bool scan_other_name(struct scan *s, uint32_t file)
{
	struct index_record rec;
	char own[RECORD_NAME_MAX + 1];
	const char *name;
	uint32_t folder;
	size_t name_len;
	int len;

	if (index_get(s->ix, file, &rec) != 0)
		return false;
	len = tree_path_of_handle(s->tree, rec.r.handle_type, rec.r.handle.at, rec.r.handle.len,
				  s->path, sizeof(s->path));
	index_record_free(&rec);
	if (len <= 0)
		return false;
	name = strrchr(s->path, '/');
	name = name != NULL ? name + 1 : s->path;
	folder = index_by_path(s->ix, s->path, name > s->path ? (size_t)(name - s->path) - 1 : 0);
	name_len = strlen(name);
	if (folder == 0 || name_len > RECORD_NAME_MAX)
		return false;
	memcpy(own, name, name_len + 1); /* the path is used for others now */
	scan_place(s, folder, own);
	return !(index_node(s->ix, file)->note & NODE_LOST);
}

/* At the place that the index says? 1, 0, or -EAGAIN: even its folder is not there. */
static int scan_still_there(struct scan *s, uint32_t file)
{
	const struct node *n = index_node(s->ix, file);
	struct tree_entry e;
	const char *name;
	int fd, there;

	if (index_path(s->ix, file, s->path, sizeof(s->path)) < 0)
		return 1; /* cannot be known */
	fd = tree_open_parent(s->tree, s->path, &name);
	if (fd < 0)
		return fd == -ENOENT || fd == -ENOTDIR ? -EAGAIN : 1;
	there = tree_look(s->tree, fd, "", &e) == 0 &&
				memcmp(e.seen.ident, index_node(s->ix, n->parent)->ident, 16) == 0
			? 0
			: -EAGAIN;
	if (there == 0)
		there = tree_look(s->tree, fd, name, &e) == 0 &&
			memcmp(e.seen.ident, n->ident, 16) == 0;
	close(fd);
	return there;
}

/* A folder that events told of while it was on its way: all that is known to be in it is looked at,
 * and what is not known is walked. */
static void scan_folder_again(struct scan *s, uint32_t folder)
{
	struct index *ix = s->ix;
	char name[RECORD_NAME_MAX + 1];

	scan_watch_folder(s, folder);
	for (uint32_t c = index_node(ix, folder)->child, next; c != 0; c = next) {
		next = index_node(ix, c)->next;
		snprintf(name, sizeof(name), "%s", index_name(ix, c));
		scan_place(s, folder, name);
		if (next != 0 && index_node(ix, next)->parent != folder)
			break; /* it was moved away: the walk sees the rest */
	}
	scan_queue_folder(s, folder);
}

static void scan_lost_end(struct scan *s, const struct scan_lost *l)
{
	struct node *n = index_node_find(s->ix, l->file);
	int there;

	if (n == NULL || memcmp(n->ident, l->ident, 16) != 0)
		return;
	if (l->folder) {
		n->note &= (uint8_t)~NODE_AGAIN;
		if (n->note & NODE_LOST)
			return;
		scan_folder_again(s, l->file);
		return;
	}
	if (!(n->note & NODE_LOST))
		return; /* found meanwhile */
	there = scan_still_there(s, l->file);
	if (there == 1) {
		n->note &= (uint8_t)~NODE_LOST;
		return;
	}
	if (scan_other_name(s, l->file))
		return;
	if (there == -EAGAIN && l->rounds < SCAN_ROUNDS_MAX &&
	    scan_later(s, l->file, false, (uint8_t)(l->rounds + 1)))
		return;
	if (!s->ix->stuck && index_remove(s->ix, l->file) != 0)
		scan_stuck(s);
}

static void scan_lost_due(void *arg)
{
	struct scan *s = arg;
	uint64_t now = scan_now_ms();
	uint32_t i = 0;

	while (i < s->nlost && now - s->lost[i].since_ms >= SCAN_LOST_MS) {
		struct scan_lost l = s->lost[i++];

		scan_lost_end(s, &l);
	}
	s->nlost -= i;
	memmove(s->lost, s->lost + i, s->nlost * sizeof(*s->lost));
	if (s->nlost == 0) {
		control_timer_free(s->lost_timer);
		s->lost_timer = NULL;
	}
	scan_wake(s);
}

bool scan_later(struct scan *s, uint32_t file, bool folder, uint8_t rounds)
{
	struct scan_lost *l;

	if (folder && index_node(s->ix, file)->note & NODE_AGAIN)
		return true;

	if (s->nlost == s->lost_max) {
		uint32_t max = s->lost_max * 2 + 64;
		struct scan_lost *more = realloc(s->lost, max * sizeof(*more));

		if (more == NULL)
			return false;
		s->lost = more;
		s->lost_max = max;
	}
	l = &s->lost[s->nlost++];
	*l = (struct scan_lost){
		.file = file, .folder = folder, .rounds = rounds, .since_ms = scan_now_ms()};
	memcpy(l->ident, index_node(s->ix, file)->ident, 16);
	if (folder)
		index_node(s->ix, file)->note |= NODE_AGAIN; /* it waits already */
	if (s->lost_timer == NULL)
		s->lost_timer =
			control_timer_start(s->c.control, SCAN_LOST_MS / 2, 1, scan_lost_due, s);
	return true;
}

void scan_set_lost(struct scan *s, uint32_t file)
{
	struct node *n = index_node(s->ix, file);

	if (n->note & NODE_LOST || file == INDEX_ROOT)
		return;
	if (scan_later(s, file, false, 0))
		n->note |= NODE_LOST;
}

/* After a walk: what it did not meet is gone, unless it could not look there. */
void scan_sweep(struct scan *s)
{
	struct index *ix = s->ix;

	for (uint32_t f = INDEX_ROOT + 1; f < ix->next_file && !ix->stuck; f++) {
		struct node *n = index_node(ix, f);
		uint32_t p;

		if (!(n->note & NODE_USED) || n->seen == s->pass)
			continue;
		for (p = n->parent; index_node(ix, p)->seen != s->pass && p != INDEX_ROOT;)
			p = index_node(ix, p)->parent;
		if (index_node(ix, p)->note & NODE_CLOSED)
			continue;
		if (index_remove(ix, f) != 0)
			scan_stuck(s);
	}
}

/* ---- one entry ----------------------------------------------------------------------------- */

static int scan_new(struct scan *s, uint32_t folder, const char *name, size_t len,
		    const struct tree_entry *e)
{
	struct index *ix = s->ix;
	struct record *r = calloc(1, sizeof(*r));
	uint32_t file;
	int err;

	if (r == NULL)
		return -ENOMEM;
	r->kind = e->seen.kind;
	r->parent = folder;
	r->size = e->seen.size;
	r->mtime_ns = e->seen.mtime_ns;
	r->name = (struct record_text){name, len};
	derive_record(ix, r);
	err = index_add(ix, folder, name, len, &e->seen, r, &file);
	free(r);
	if (err != 0)
		return err;
	index_node(ix, file)->seen = s->pass;
	if (e->seen.kind == EXTRACT_KIND_FOLDER) {
		scan_watch_folder(s, file);
		scan_queue_folder(s, file);
	} else if (e->seen.kind == EXTRACT_KIND_UNKNOWN) {
		scan_queue(s, file, 0);
	} else if (e->seen.kind == EXTRACT_KIND_EMPTY) {
		scan_queue(s, file, NODE_ATTRS);
	}
	return 0;
}

/* It was moved here, unless this is one more name of it. */
static int scan_moved(struct scan *s, uint32_t file, uint32_t folder, const char *name, size_t len,
		      const struct tree_entry *e)
{
	struct node *n = index_node(s->ix, file);
	int err;

	if (e->seen.linked && !(n->note & NODE_LOST) &&
	    (n->seen == s->pass || scan_still_there(s, file) == 1))
		return -EEXIST;
	err = index_move(s->ix, file, folder, name, len);
	if (err == 0 && scan_list_push(&s->derive, file))
		scan_wake(s);
	return err;
}

static void scan_known(struct scan *s, uint32_t file, const struct tree_entry *e)
{
	struct index *ix = s->ix;
	struct node *n = index_node(ix, file);
	bool content, attrs;

	if (n->kind == EXTRACT_KIND_FOLDER) {
		if (s->walking && n->seen != s->pass) {
			scan_watch_folder(s, file);
			scan_queue_folder(s, file);
		}
		n->seen = s->pass;
		attrs = n->ctime_ns != e->seen.ctime_ns;
		n->ctime_ns = e->seen.ctime_ns;
		n->mtime_ns = e->seen.mtime_ns;
		if (attrs)
			scan_queue(s, file, NODE_ATTRS);
		return;
	}
	n->seen = s->pass;
	content = n->size != e->seen.size || n->mtime_ns != e->seen.mtime_ns;
	attrs = n->ctime_ns != e->seen.ctime_ns ||
		(n->flags & RECORD_LINKED) != (e->seen.linked ? RECORD_LINKED : 0);
	if (content || n->state == RECORD_WAITING)
		scan_queue(s, file, 0);
	else if (attrs)
		scan_queue(s, file, NODE_ATTRS);
	if (n->path_hash != derive_path_hash(ix, n->parent) && scan_list_push(&s->derive, file))
		scan_wake(s);
}

void scan_entry(struct scan *s, uint32_t folder, const char *name, size_t len,
		const struct tree_entry *e)
{
	struct index *ix = s->ix;
	uint32_t file, other;
	int err = 0;

	if (e->foreign)
		return;
	file = index_by_ident(ix, e->seen.ident);
	other = index_by_place(ix, folder, name, len);
	if (other != 0 && other != file)
		scan_set_lost(s, other);
	if (file == INDEX_ROOT)
		return;
	if (file == 0) {
		err = scan_new(s, folder, name, len, e);
	} else if (other != file) {
		const struct node *n = index_node(ix, file);

		if (n->parent != folder || strcmp(index_name(ix, file), name) != 0)
			err = scan_moved(s, file, folder, name, len, e);
		index_node(ix, file)->note &= (uint8_t)(err == 0 ? ~NODE_LOST : 0xff);
	}
	if (file != 0 && err == 0)
		scan_known(s, file, e);
	if (err != 0 && err != -EEXIST && err != -EINVAL) {
		log_error("the index cannot take %s: %s", name, strerror(-err));
		scan_stuck(s);
	}
}

/* A folder, by the path that the index has or, when it was moved meanwhile, by its handle. */
static int scan_open_folder(struct scan *s, uint32_t folder)
{
	const struct node *n = index_node(s->ix, folder);
	struct index_record rec;
	struct tree_entry e;
	int fd = -ENAMETOOLONG;

	if (index_path(s->ix, folder, s->path, sizeof(s->path)) >= 0)
		fd = tree_openat(s->tree, s->path, O_PATH | O_DIRECTORY, 0);
	if (fd >= 0) {
		if (tree_look(s->tree, fd, "", &e) == 0 && memcmp(e.seen.ident, n->ident, 16) == 0)
			return fd;
		close(fd);
	}
	if (index_get(s->ix, folder, &rec) != 0)
		return -ENOENT;
	fd = tree_open_handle(s->tree, rec.r.handle_type, rec.r.handle.at, rec.r.handle.len);
	index_record_free(&rec);
	return fd;
}

void scan_watch_folder(struct scan *s, uint32_t folder)
{
	int fd;

	if (s->c.folder == NULL)
		return;
	fd = scan_open_folder(s, folder);
	if (fd >= 0) {
		s->c.folder(s->c.arg, folder, fd);
		close(fd);
	} else if (fd != -ESTALE && fd != -ENOENT) {
		(void)scan_later(s, folder, true, 0);
	}
}

void scan_place(struct scan *s, uint32_t folder, const char *name)
{
	struct index *ix = s->ix;
	const struct node *n = index_node_find(ix, folder);
	struct tree_entry e;
	uint32_t other;
	int fd, err;

	if (n == NULL || strlen(name) > RECORD_NAME_MAX ||
	    (folder == INDEX_ROOT && (strcmp(name, TREE_OWN) == 0)) ||
	    strcmp(name, "lost+found") == 0)
		return;
	if (ix->stuck) {
		scan_stuck(s);
		return;
	}
	fd = scan_open_folder(s, folder);
	if (fd < 0) {
		/* on its way elsewhere; when it is gone, its own name tells */
		if (fd != -ESTALE)
			(void)scan_later(s, folder, true, 0);
		return;
	}
	err = tree_look(s->tree, fd, name, &e);
	if (err == 0) {
		scan_entry(s, folder, name, strlen(name), &e);
	} else if (err == -ENOENT) {
		other = index_by_place(ix, folder, name, strlen(name));
		if (other != 0)
			scan_set_lost(s, other);
	}
	close(fd);
	scan_wake(s);
}
