/*
 * The API's route that changes tags by hand. What a user says of a file is one text, in an
 * attribute of the file and in the index; a request changes a part of it. So requests take turns:
 * the next one begins when the attribute of the last one is written, by a thread (aside.h), and is
 * in the index.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tagger/tagger.h"
#include "banned.h"

#define EDITS_MAX 256u /* that wait */

struct hand_edit {
	struct aside_job job; /* first */
	struct tagger *t;
	struct http_request *r;
	json_t *body;
	struct place place;
	enum extract_kind kind;
	int err;
	int len; /* of hand */
	char hand[RECORD_HAND_MAX];
	struct hand_edit *next;
};

/* One thread: that of the loop. */
static struct {
	struct hand_edit *first;
	unsigned n;
	bool busy;
} edits;

/* One list of the body. False: it is not right. */
static bool edit_list(struct hand_edit *e, const json_t *body, const char *key,
		      enum derive_hand what)
{
	const json_t *list = json_object_get(body, key), *v;
	char next[RECORD_HAND_MAX], low[EXTRACT_TAG_BYTES];
	size_t i;

	if (list == NULL)
		return true;
	if (!json_is_array(list))
		return false;
	json_array_foreach(list, i, v)
	{
		if (!json_is_string(v) || json_string_length(v) >= sizeof(low) ||
		    !derive_tag_valid(json_string_value(v)))
			return false;
		textpool_fold(json_string_value(v), json_string_length(v) + 1, low);
		e->len = derive_hand_set(e->hand, (size_t)e->len, low, what, next);
		if (e->len < 0)
			return false;
		memcpy(e->hand, next, (size_t)e->len);
	}
	return true;
}

/* Tags that a user gave are forgotten; those that tagger found are noted as not wanted. */
static bool edit_remove(struct tagger *t, const struct record *rec, struct hand_edit *e,
			const json_t *body)
{
	const json_t *list = json_object_get(body, "remove"), *v;
	size_t i;

	if (!edit_list(e, body, "remove", DERIVE_REMOVED))
		return false;
	json_array_foreach(list, i, v)
	{
		uint32_t tag =
			index_tag_find(t->index, json_string_value(v), json_string_length(v));
		char next[RECORD_HAND_MAX], low[EXTRACT_TAG_BYTES];

		for (size_t k = 0; tag != 0 && k < rec->ntags; k++) {
			if (rec->tags[k].tag != tag || rec->tags[k].source != EXTRACT_SOURCE_HAND)
				continue;
			textpool_fold(json_string_value(v), json_string_length(v) + 1, low);
			e->len = derive_hand_set(e->hand, (size_t)e->len, low, DERIVE_NONE, next);
			if (e->len < 0)
				return false;
			memcpy(e->hand, next, (size_t)e->len);
		}
	}
	return true;
}

/* ---- turns --------------------------------------------------------------------------------- */

static void edit_free(struct hand_edit *e)
{
	json_decref(e->body);
	place_free(&e->place);
	free(e);
}

static void edit_write(struct aside_job *job)
{
	struct hand_edit *e = (struct hand_edit *)job;

	e->err = scan_hand_write(&e->t->tree, &e->place, e->kind, e->hand, (size_t)e->len);
}

static void edits_next(void);

static void edit_written(struct aside_job *job)
{
	struct hand_edit *e = (struct hand_edit *)job;
	struct tagger *t = e->t;

	edits.busy = false;
	if (e->err == 0 && !place_is_known(t->index, &e->place))
		e->err = -ENOENT;
	if (e->err == 0)
		e->err = scan_hand_note(t->scan, e->place.file, e->hand, (size_t)e->len);
	if (e->err != 0)
		api_errno(e->r, e->err, "The tags cannot be kept");
	else
		api_file_get(t, e->r);
	edit_free(e);
	edits_next();
}

/* What the text is to be. 0, or -errno when it is answered. */
static int edit_make(struct hand_edit *e)
{
	struct index_record rec;
	int err = place_is_known(e->t->index, &e->place)
			  ? index_get(e->t->index, e->place.file, &rec)
			  : -ENOENT;
	bool good;

	if (err != 0) {
		api_errno(e->r, err, "The index");
		return err;
	}
	memcpy(e->hand, rec.r.hand.at, rec.r.hand.len);
	e->len = (int)rec.r.hand.len;
	good = edit_list(e, e->body, "add", DERIVE_ADDED) &&
	       edit_list(e, e->body, "pin", DERIVE_PINNED) &&
	       edit_list(e, e->body, "unpin", DERIVE_ADDED) &&
	       edit_remove(e->t, &rec.r, e, e->body);
	index_record_free(&rec);
	if (good)
		return 0;
	api_error(e->r, 400, "bad_tag",
		  "add, remove, pin and unpin are lists of tags of up to %u bytes, and all of a "
		  "file's must fit into %u.",
		  EXTRACT_TAG_BYTES - 1, RECORD_HAND_MAX);
	return -EINVAL;
}

static void edits_next(void)
{
	while (!edits.busy && edits.first != NULL) {
		struct hand_edit *e = edits.first;
		int err;

		edits.first = e->next;
		edits.n--;
		if (edit_make(e) != 0) {
			edit_free(e);
			continue;
		}
		err = aside_post(e->t->aside, ASIDE_CHANGE, &e->job);
		edits.busy = err == 0;
		if (err != 0) {
			api_errno(e->r, err, "The tags cannot be kept");
			edit_free(e);
		}
	}
}

void api_file_tags(struct tagger *t, struct http_request *r)
{
	uint32_t file = api_file(t, r);
	bool may = file != 0 && api_may_change(t, r) &&
		   api_allow(r, scope_may_put(api_scope(r), api_path(t, file)));
	json_t *body = may ? api_body(r) : NULL;
	struct hand_edit *e = NULL, **at = &edits.first;
	int err = -EAGAIN;

	if (body == NULL)
		return;
	if (edits.n < EDITS_MAX)
		e = calloc(1, sizeof(*e));
	if (e != NULL)
		err = place_any(t->index, file, &e->place);
	if (err != 0) {
		api_errno(r, err, "The tags cannot be kept");
		json_decref(body);
		free(e);
		return;
	}
	e->t = t;
	e->r = r;
	e->body = body;
	e->kind = index_node(t->index, file)->kind;
	e->job.work = edit_write;
	e->job.done = edit_written;
	while (*at != NULL)
		at = &(*at)->next;
	*at = e;
	edits.n++;
	edits_next();
}
