/*
 * Renaming, merging and deleting a tag in all files at once. What is asked for is noted first (an
 * alias), so that it also holds for files that are read later; then each file that has the tag is
 * derived anew. A crash in between leaves some for the next start, which finds them by the alias.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tagger/tagger.h"
#include "banned.h"

#define RETAG_TURN 200u /* files in one turn of the loop */

struct retag {
	struct control_message message;
	struct tagger *t;
	struct retag *next;
	uint32_t from, at; /* the tag; the file to go on behind */
};

static struct retag *retags; /* under way */

/* In the record: the old tag goes, the new one takes its weight. By hand: what the user said of it
 * too. */
static int retag_file(struct tagger *t, uint32_t file, uint32_t from, const char *to)
{
	struct index_record rec;
	char hand[RECORD_HAND_MAX];
	int err = index_get(t->index, file, &rec), len = 0;
	uint8_t weight = 0, source = 0;
	bool by_hand;

	if (err != 0)
		return err;
	for (size_t i = 0; i < rec.r.ntags; i++)
		if (rec.r.tags[i].tag == from) {
			weight = rec.r.tags[i].weight;
			source = rec.r.tags[i].source;
			rec.r.tags[i--] = rec.r.tags[--rec.r.ntags];
		}
	by_hand = source == EXTRACT_SOURCE_HAND;
	if (by_hand) {
		char next[RECORD_HAND_MAX];

		len = derive_hand_set(rec.r.hand.at, rec.r.hand.len, index_tag_text(t->index, from),
				      DERIVE_NONE, next);
		if (len >= 0 && *to != '\0')
			len = derive_hand_set(next, (size_t)len, to,
					      weight == 255 ? DERIVE_PINNED : DERIVE_ADDED, hand);
		else if (len >= 0)
			memcpy(hand, next, (size_t)len);
	} else if (*to != '\0') {
		index_record_tag(t->index, &rec.r, to, to, weight / 255.0f,
				 (enum extract_source)source);
	}
	err = index_put(t->index, file, &rec.r);
	index_record_free(&rec);
	return err == 0 && by_hand && len >= 0 ? scan_hand(t->scan, file, hand, (size_t)len) : err;
}

static void retag_step(struct control_message *m)
{
	struct retag *w = (struct retag *)m, **at;
	struct tagger *t = w->t;
	const char *to = index_alias(t->index, index_tag_stem(t->index, w->from));
	struct tag *tag = &t->index->tags[w->from];
	uint32_t files[RETAG_TURN], n = 0;

	for (uint32_t i = index_tag_seek(tag, 0, w->at); i < tag->n && n < RETAG_TURN; i++)
		files[n++] = index_tag_file(tag, i);
	for (uint32_t i = 0; i < n && to != NULL && !t->index->stuck; i++) {
		(void)retag_file(t, files[i], w->from, to);
		w->at = files[i] + 1;
	}
	if (n == RETAG_TURN && to != NULL && !t->index->stuck) {
		control_post(t->control, m);
		return;
	}
	(void)index_commit(t->index);
	for (at = &retags; *at != w;)
		at = &(*at)->next;
	*at = w->next;
	free(w);
}

static int retag_start(struct tagger *t, uint32_t from)
{
	struct retag *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return -ENOMEM;
	w->message.fn = retag_step;
	w->t = t;
	w->from = from;
	w->next = retags;
	retags = w;
	control_post(t->control, &w->message);
	return 0;
}

void tags_start(struct tagger *t)
{
	for (size_t i = 0; i < t->index->naliases; i++) {
		const char *from = t->index->aliases[i].from;
		uint32_t tag = index_tag_find(t->index, from, strlen(from));

		if (tag != 0 && t->index->tags[tag].n > 0)
			(void)retag_start(t, tag);
	}
}

static void tag_change(struct tagger *t, struct http_request *r, const char *from, const char *to)
{
	uint32_t tag = index_tag_find(t->index, from, strlen(from)), target;
	char low[EXTRACT_TAG_BYTES] = "";
	const char *stem;
	int err;

	if (tag == 0) {
		api_error(r, 404, "not_found", "There is no such tag.");
		return;
	}
	if (*to != '\0' && !derive_tag_valid(to)) {
		api_error(r, 400, "bad_tag", "A tag is 1 to %u bytes without line ends.",
			  EXTRACT_TAG_BYTES - 1);
		return;
	}
	textpool_fold(to, strlen(to) + 1, low);
	target = index_tag_find(t->index, low, strlen(low));
	stem = target != 0 ? index_tag_stem(t->index, target) : low;
	if (target == tag) {
		api_error(r, 400, "bad_tag", "That is its name already.");
		return;
	}
	/* what was renamed away from the new name before is wanted again */
	err = index_alias(t->index, stem) != NULL && *to != '\0'
		      ? index_alias_set(t->index, stem, NULL)
		      : 0;
	if (err == 0)
		err = index_alias_set(t->index, index_tag_stem(t->index, tag),
				      target != 0 ? index_tag_text(t->index, target) : low);
	if (err == 0)
		err = index_commit(t->index);
	if (err == 0)
		err = retag_start(t, tag);
	if (err != 0)
		api_errno(r, err, "The tag");
	else
		api_json(r, 200, json_pack("{s:I}", "files", (json_int_t)t->index->tags[tag].n));
}

/* {"from": "...", "to": "..."}; when there is a tag of that name, both become one. */
void api_tags_rename(struct tagger *t, struct http_request *r)
{
	json_t *body = api_may_change(t, r) ? api_body(r) : NULL;
	const char *from, *to;

	if (body == NULL)
		return;
	from = json_string_value(json_object_get(body, "from"));
	to = json_string_value(json_object_get(body, "to"));
	if (!api_allow(r, api_scope(r) == NULL)) /* it is the tag of everybody's files */
		;
	else if (from == NULL || to == NULL || *to == '\0')
		api_error(r, 400, "bad_request", "from and to are tags.");
	else
		tag_change(t, r, from, to);
	json_decref(body);
}

void api_tags_delete(struct tagger *t, struct http_request *r)
{
	const char *tag = http_query(r, "tag");

	if (!api_may_change(t, r) || !api_allow(r, api_scope(r) == NULL))
		return;
	if (tag == NULL)
		api_error(r, 400, "bad_request", "Say which: tag=...");
	else
		tag_change(t, r, tag, "");
}
