/* See scan.h: the walk as a whole, and turns of work between those of the loop. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "tagger/scan-impl.h"
#include "banned.h"

bool scan_list_push(struct scan_list *l, uint32_t file)
{
	if (l->n == l->max) {
		uint32_t max = l->max * 2 + 256, *more = malloc(max * sizeof(*more));

		if (more == NULL)
			return false;
		for (uint32_t i = 0; i < l->n; i++)
			more[i] = l->at[(l->head + i) % l->max];
		free(l->at);
		l->at = more;
		l->max = max;
		l->head = 0;
	}
	l->at[(l->head + l->n++) % l->max] = file;
	return true;
}

uint32_t scan_list_pop(struct scan_list *l)
{
	uint32_t file;

	if (l->n == 0)
		return 0;
	file = l->at[l->head];
	l->head = (l->head + 1) % l->max;
	l->n--;
	return file;
}

/* ---- how fast ------------------------------------------------------------------------------ */

void scan_rate(struct scan *s)
{
	uint64_t now = scan_now_ms();

	if (now - s->rate_ms[s->rate_at] < SCAN_RATE_MS)
		return;
	s->rate_at = (s->rate_at + 1) % SCAN_RATE_SLOTS;
	s->rate_ms[s->rate_at] = now;
	s->rate_done[s->rate_at] = s->progress.done;
}

void scan_get_progress(const struct scan *s, struct scan_progress *out)
{
	unsigned oldest = (s->rate_at + 1) % SCAN_RATE_SLOTS;
	uint64_t now = scan_now_ms();

	*out = s->progress;
	out->walking = s->walking;
	out->waiting = s->files.n + s->reading;
	if (s->rate_ms[oldest] == 0)
		oldest = 0;
	out->files_per_s = 0;
	if (now > s->rate_ms[oldest])
		out->files_per_s = (double)(s->progress.done - s->rate_done[oldest]) * 1000.0 /
				   (double)(now - s->rate_ms[oldest]);
	out->left_s = -1;
	if (out->waiting == 0 && !s->walking)
		out->left_s = 0;
	else if (out->files_per_s > 0 && !s->walking)
		out->left_s = out->waiting / out->files_per_s;
}

/* ---- walking ------------------------------------------------------------------------------- */

static void scan_walk_begin(struct scan *s)
{
	s->walking = true;
	s->walk_again = false;
	s->pass++;
	s->progress.seen = 0;
	s->progress.walks++;
	index_node(s->ix, INDEX_ROOT)->seen = s->pass;
	scan_watch_folder(s, INDEX_ROOT);
	scan_queue_folder(s, INDEX_ROOT);
}

void scan_all(struct scan *s)
{
	if (s->walking)
		s->walk_again = true;
	else
		scan_walk_begin(s);
	scan_wake(s);
}

void scan_overflow(struct scan *s)
{
	s->progress.overflows++;
	log_info("too many changes at once to follow each: everything is looked at again");
	scan_all(s);
}

static void scan_folder_read(struct scan *s, const struct walk_batch *b, struct node *n)
{
	n->note &= (uint8_t)~NODE_CLOSED;
	if (b->err == 0)
		return;
	n->note |= NODE_CLOSED;
	if (b->err == -ENOENT || b->err == -ESTALE) {
		/* moved meanwhile, or gone */
		(void)scan_later(s, b->folder, true, 0);
		return;
	}
	if (index_path(s->ix, b->folder, s->path, sizeof(s->path)) >= 0)
		log_info("%s/%s cannot be read: %s", s->tree->dir, s->path, strerror(-b->err));
}

static void scan_batch(void *arg, struct walk_batch *b)
{
	struct scan *s = arg;
	struct node *n = index_node_find(s->ix, b->folder);

	/* the number may be another's by now */
	if (n != NULL && memcmp(n->ident, b->ident, sizeof(n->ident)) == 0) {
		for (unsigned i = 0; i < b->n && !s->ix->stuck; i++)
			scan_entry(s, b->folder, b->entries[i].name, b->entries[i].name_len,
				   &b->entries[i].e);
		s->progress.seen += b->n;
		n = index_node(s->ix, b->folder);
		if (b->last)
			scan_folder_read(s, b, n);
	}
	if (b->last)
		s->walking_folders--;
	walk_batch_free(b);
	scan_wake(s);
}

/* Gives folders to the threads. */
static void scan_walk(struct scan *s)
{
	while (s->folders.n > 0 && s->walking_folders < WALK_QUEUE_MAX) {
		uint32_t folder = scan_list_pop(&s->folders);
		const struct node *n = index_node_find(s->ix, folder);

		if (n == NULL || n->kind != EXTRACT_KIND_FOLDER)
			continue;
		if (index_path(s->ix, folder, s->path, sizeof(s->path)) < 0) {
			index_node(s->ix, folder)->note |= NODE_CLOSED;
			log_warn("a folder is deeper than %u bytes of path; it is not looked at",
				 INDEX_PATH_MAX);
			continue;
		}
		if (!walk_folder(s->walk, folder, n->ident, s->path)) {
			scan_list_push(&s->folders, folder);
			break;
		}
		s->walking_folders++;
	}
	if (!s->walking || s->walking_folders > 0 || s->folders.n > 0)
		return;
	if (!s->ix->stuck)
		scan_sweep(s);
	s->walking = false;
	if (s->walk_again)
		scan_walk_begin(s);
}

/* ---- turns --------------------------------------------------------------------------------- */

bool scan_is_idle(const struct scan *s)
{
	return !s->walking && s->walking_folders == 0 && s->folders.n == 0 && s->reading == 0 &&
	       (s->files.n == 0 || s->c.pool == NULL) && s->derive.n == 0 && s->nlost == 0;
}

static void scan_step(struct control_message *m)
{
	struct scan *s = (struct scan *)((char *)m - offsetof(struct scan, step));

	s->step_posted = false;
	scan_walk(s);
	for (unsigned i = 0; i < SCAN_STEP_MAX && s->derive.n > 0 && !s->ix->stuck; i++)
		scan_derive(s, scan_list_pop(&s->derive));
	while (!s->ix->stuck && scan_read_next(s))
		;
	if (s->ix->stuck || index_commit(s->ix) != 0)
		scan_stuck(s);
	else if (s->derive.n > 0)
		scan_wake(s);
	if (!scan_is_idle(s)) {
		s->was_idle = false;
	} else if (!s->was_idle && !s->ix->stuck) {
		s->was_idle = true;
		if (s->c.idle != NULL)
			s->c.idle(s->c.arg);
	}
}

void scan_wake(struct scan *s)
{
	if (s->step_posted)
		return;
	s->step_posted = true;
	s->step.fn = scan_step;
	control_post(s->c.control, &s->step);
}

static void scan_unstick(void *arg)
{
	struct scan *s = arg;

	if (index_unstick(s->ix) != 0)
		return;
	control_timer_free(s->unstick_timer);
	s->unstick_timer = NULL;
	scan_all(s);
}

void scan_stuck(struct scan *s)
{
	s->was_idle = false;
	if (s->unstick_timer == NULL)
		s->unstick_timer =
			control_timer_start(s->c.control, SCAN_UNSTICK_MS, 1, scan_unstick, s);
}

/* ---- begin and end ------------------------------------------------------------------------- */

int scan_create(const struct scan_config *config, struct scan **out)
{
	struct scan *s = calloc(1, sizeof(*s));
	int err;

	if (s == NULL)
		return -ENOMEM;
	s->c = *config;
	s->tree = config->tree;
	s->ix = config->index;
	s->rate_ms[0] = scan_now_ms();
	err = walk_create(config->control, config->tree, scan_batch, s, &s->walk);
	if (err != 0) {
		free(s);
		return err;
	}
	*out = s;
	return 0;
}

void scan_destroy(struct scan *s)
{
	if (s == NULL)
		return;
	s->step_posted = true; /* no more */
	s->c.pool = NULL;      /* it has ended; a step may be on its way still */
	walk_destroy(s->walk);
	control_timer_free(s->lost_timer);
	control_timer_free(s->unstick_timer);
	free(s->folders.at);
	free(s->files.at);
	free(s->derive.at);
	free(s->lost);
	free(s);
}
