/*
 * What the labels of the servers say about volumes that nobody else remembers. Pure.
 *
 * A shard's slot is the one with the highest MARK: one that was being filled, to take the place of
 * another, has none. Among those of the same MARK it is the one of the highest generation: others
 * were lost sight of. When an extent was given back and placed again, its new slots have no mark
 * until something happens: more of them, of one generation above all marked ones, than can ever be
 * in the middle of being filled. Which shards of an extent are stale is what the highest MARK among
 * its labels says (volmgr/stripe/tell.c): shards that were away when it was given cannot have it. A
 * shard that no server has is stale, too, and has no slot. What is left open goes to the scrub that
 * follows.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "recover.h"
#include "tidy.h"
#include "banned.h"

#define SENTENCES_MAX 1000 /* of a kind; more are only counted */

struct candidate {
	const struct survey_label *label;
	uint32_t server;
};

struct work {
	const struct survey_server *servers;
	unsigned nservers, up;
	struct candidate *c;
	size_t n;
	struct recover_plan *plan;
};

__attribute__((format(printf, 2, 3))) static void say(json_t *list, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (json_array_size(list) >= SENTENCES_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_array_append_new(list, json_string(text));
}

static int by_place(const void *a, const void *b)
{
	const struct survey_label *l = ((const struct candidate *)a)->label;
	const struct survey_label *r = ((const struct candidate *)b)->label;

	if (l->volume != r->volume)
		return l->volume < r->volume ? -1 : 1;
	if (l->extent != r->extent)
		return l->extent < r->extent ? -1 : 1;
	if (l->shard != r->shard)
		return l->shard < r->shard ? -1 : 1;
	if (l->mark != r->mark)
		return l->mark < r->mark ? 1 : -1;
	return (l->generation < r->generation) - (l->generation > r->generation);
}

/* ---- extents ------------------------------------------------------------------------------- */

/* A server without a shard of this extent, for one that no server has; 0: there is none. */
static uint32_t server_beside(const struct work *w, const struct extent_record *r, unsigned shards)
{
	for (unsigned i = 0; i < w->nservers; i++) {
		bool used = false;

		for (unsigned s = 0; s < shards; s++)
			used |= r->shard[s].server == w->servers[i].number;
		if (!used && w->servers[i].err == 0)
			return w->servers[i].number;
	}
	return 0;
}

static bool same_kind(const struct recover_volume *v, const struct survey_label *l)
{
	return l->k == v->k && l->m == v->m && l->unit_bytes == v->unit && l->code == v->code &&
	       l->shard < v->k + v->m;
}

/* Shards that have a slot of this generation without a mark. */
static uint32_t unmarked(const struct work *w, size_t from, size_t to, uint32_t generation)
{
	uint32_t shards = 0;

	for (size_t i = from; i < to; i++) {
		const struct survey_label *l = w->c[i].label;

		if (l->mark == 0 && l->generation == generation && l->shard < WEFT_SHARDS_MAX)
			shards |= 1u << l->shard;
	}
	return shards;
}

/* Slots of lower generations are what an earlier extent of this number left. */
static uint32_t placed_anew(const struct work *w, const struct recover_volume *v, size_t from,
			    size_t to)
{
	uint32_t newest = 0, marked = 0;
	unsigned n, filling = v->m > 1 ? v->m : 1; /* at once: rebuilt, or carried */

	for (size_t i = from; i < to; i++) {
		const struct survey_label *l = w->c[i].label;

		if (l->mark == 0 && l->generation > newest)
			newest = l->generation;
		else if (l->mark > 0 && l->generation > marked)
			marked = l->generation;
	}
	n = (unsigned)__builtin_popcount(unmarked(w, from, to, newest));
	return newest > marked && n >= v->k && n > filling ? newest : 0;
}

/* Take each shard's best slot, and the newest mark. Returns a mask of the shards that are there. */
static uint32_t extent_take(const struct work *w, const struct recover_volume *v, size_t from,
			    size_t to, struct extent_record *r, uint64_t *mapped)
{
	uint32_t there = 0, anew = placed_anew(w, v, from, to);

	*mapped = 0;
	for (size_t i = from; i < to; i++) {
		const struct survey_label *l = w->c[i].label;

		if (!same_kind(v, l)) {
			say(w->plan->doubts,
			    "Slot %" PRIu32 " of server %" PRIu32
			    " has another profile than the rest of volume %s: left out.",
			    l->slot, w->c[i].server, v->name);
			continue;
		}
		if (l->generation < anew)
			continue;
		if (l->generation > r->generation)
			r->generation = l->generation;
		if (l->mark > r->mark) {
			r->mark = l->mark;
			r->stale = l->stale;
		} else if (l->mark == r->mark) {
			r->stale |= l->stale;
		}
		if ((there >> l->shard & 1) != 0) {
			say(w->plan->doubts,
			    "Volume %s, extent %" PRIu64 ": server %" PRIu32
			    " has an older slot of shard %u: it is not used.",
			    v->name, l->extent, w->c[i].server, l->shard);
			continue;
		}
		there |= 1u << l->shard;
		*mapped += l->mapped_bytes;
		r->shard[l->shard] = (struct shard_place){w->c[i].server, l->slot, l->slot_gen};
	}
	return there;
}

static int extent_append(struct recover_volume *v, const struct extent_record *r)
{
	if (v->nextents == v->cap) {
		size_t cap = v->cap == 0 ? 64 : v->cap * 2;
		struct extent_record *grown = reallocarray(v->extents, cap, sizeof(*grown));

		if (grown == NULL)
			return -ENOMEM;
		v->extents = grown;
		v->cap = cap;
	}
	v->extents[v->nextents++] = *r;
	return 0;
}

static int plan_extent(const struct work *w, struct recover_volume *v, size_t from, size_t to)
{
	struct extent_record r = {.extent = w->c[from].label->extent};
	uint64_t mapped;
	uint32_t there = extent_take(w, v, from, to, &r, &mapped);
	uint32_t all = (1u << (v->k + v->m)) - 1, gone = all & ~there, good;

	good = there & ~r.stale;
	if (mapped == 0 && (unsigned)__builtin_popcount(there) < v->k) {
		say(w->plan->found,
		    "Volume %s: %d empty slots of extent %" PRIu64 " that never came into use.",
		    v->name, __builtin_popcount(there), r.extent);
		return 0;
	}
	r.stale = (r.stale | gone) & all;
	for (unsigned i = 0; i < v->k + v->m; i++)
		if ((gone >> i & 1) != 0)
			r.shard[i].server = server_beside(w, &r, v->k + v->m);
	v->stale += (unsigned)__builtin_popcount(r.stale & there);
	v->missing += (unsigned)__builtin_popcount(gone);
	if ((unsigned)__builtin_popcount(good) < v->k) {
		v->lost++;
		say(w->plan->missing,
		    "Volume %s, extent %" PRIu64 ": %d good shards were found, %u are needed. What "
		    "it held cannot be read.",
		    v->name, r.extent, __builtin_popcount(good), v->k);
	}
	return extent_append(v, &r);
}

/* ---- volumes ------------------------------------------------------------------------------- */

static bool is_note(const struct survey_label *l)
{
	return l->extent == WEFT_EXTENT_NAME || l->extent == WEFT_EXTENT_SETTINGS;
}

/* The newest note of a kind, and on how many servers one is. */
static const struct survey_label *note_find(const struct work *w, size_t from, size_t to,
					    uint64_t kind, unsigned *count)
{
	const struct survey_label *best = NULL;

	*count = 0;
	for (size_t i = from; i < to; i++) {
		const struct survey_label *l = w->c[i].label;

		if (l->extent != kind)
			continue;
		(*count)++;
		if (best == NULL || l->generation > best->generation)
			best = l;
	}
	return best;
}

static bool name_taken(const struct recover_plan *p, const char *name)
{
	for (size_t i = 0; i < p->n; i++)
		if (strcmp(p->volumes[i].name, name) == 0)
			return true;
	return false;
}

static void plan_name(const struct work *w, struct recover_volume *v, const char *noted,
		      const char *labelled)
{
	const char *name = noted != NULL && name_valid(noted) ? noted : labelled;

	if (noted == NULL)
		say(w->plan->doubts,
		    "Volume %s (%" PRIu64 "): its name is the one it was made with.", name, v->id);
	if (name_valid(name) && !name_taken(w->plan, name))
		snprintf(v->name, sizeof(v->name), "%s", name);
	else
		snprintf(v->name, sizeof(v->name), "volume-%" PRIu64, v->id);
	if (strcmp(v->name, name) != 0)
		say(w->plan->doubts,
		    "Volume %" PRIu64 " is called %s now: its name cannot be used.", v->id,
		    v->name);
}

static void plan_size(const struct work *w, struct recover_volume *v,
		      const struct survey_label *note)
{
	uint64_t extent_bytes = (uint64_t)v->k * WEFT_SHARD_BYTES, end = 0;

	if (v->nextents > 0)
		end = (v->extents[v->nextents - 1].extent + 1) * extent_bytes;
	if (note != NULL && note_settings_parse(note->name, &v->size, &v->settings) == 0 &&
	    (v->settings.min == 0 || (v->settings.min >= v->k && v->settings.min <= v->k + v->m)) &&
	    v->size + extent_bytes > end)
		return;
	v->settings = (struct volume_settings){0};
	v->size = end > 0 ? end : WEFT_SHARD_BYTES;
	say(w->plan->doubts,
	    "Volume %s: no server knows its size. It ends behind its last extent, at %" PRIu64
	    " bytes; its settings are the defaults.",
	    v->name, v->size);
}

static uint32_t highest_epoch(const struct work *w, uint64_t volume)
{
	uint32_t epoch = 1;

	for (unsigned s = 0; s < w->nservers; s++)
		for (size_t i = 0; w->servers[s].err == 0 && i < w->servers[s].nvolumes; i++)
			if (w->servers[s].volumes[i].volume == volume &&
			    w->servers[s].volumes[i].epoch > epoch)
				epoch = w->servers[s].volumes[i].epoch;
	return epoch;
}

static bool kind_valid(const struct survey_label *l)
{
	return l->k >= 1 && l->k <= WEFT_K_MAX && l->m <= WEFT_M_MAX &&
	       l->unit_bytes >= WEFT_BLOCK_BYTES && l->unit_bytes <= WEFT_UNIT_MAX &&
	       (l->unit_bytes & (l->unit_bytes - 1)) == 0;
}

static void plan_tell(const struct work *w, const struct recover_volume *v)
{
	say(w->plan->found, "Volume %s: %" PRIu64 " bytes, %u+%u, %zu extents.", v->name, v->size,
	    v->k, v->m, v->nextents);
	if (v->stale > 0)
		say(w->plan->found, "Volume %s: %u shards missed writes; they will be rebuilt.",
		    v->name, v->stale);
	if (v->missing > 0)
		say(w->plan->missing, "Volume %s: %u shards are on no server that was asked.",
		    v->name, v->missing);
}

/* Notes alone, and not on half of the servers: they stayed where a server was away. */
static bool was_deleted(const struct work *w, const struct recover_volume *v, unsigned notes)
{
	if (v->nextents > 0 || notes * 2 >= w->up)
		return false;
	say(w->plan->doubts,
	    "Volume %s has nothing but its name, on %u of %u servers: it was probably deleted, and "
	    "is left out.",
	    v->name, notes, w->up);
	return true;
}

static int plan_deleted(const struct work *w, struct recover_volume *v)
{
	struct recover_plan *p = w->plan;
	struct recover_volume *grown = reallocarray(p->deleted, p->ndeleted + 1, sizeof(*grown));

	free(v->extents);
	v->extents = NULL;
	if (grown == NULL)
		return -ENOMEM;
	p->deleted = grown;
	p->deleted[p->ndeleted++] = *v;
	return 0;
}

/* Also those of which nothing is left but that they were fenced once. */
static void plan_next(const struct work *w)
{
	uint64_t next = 1;

	for (size_t i = 0; i < w->n; i++)
		if (w->c[i].label->volume >= next)
			next = w->c[i].label->volume + 1;
	for (unsigned s = 0; s < w->nservers; s++)
		for (size_t i = 0; w->servers[s].err == 0 && i < w->servers[s].nvolumes; i++)
			if (w->servers[s].volumes[i].volume >= next)
				next = w->servers[s].volumes[i].volume + 1;
	w->plan->next_volume = next;
}

static int plan_volume(const struct work *w, size_t from, size_t to)
{
	struct recover_plan *p = w->plan;
	struct recover_volume *grown = reallocarray(p->volumes, p->n + 1, sizeof(*grown)), *v;
	const struct survey_label *first = w->c[from].label, *name, *settings;
	unsigned names, notes;
	int err = 0;

	if (grown == NULL)
		return -ENOMEM;
	p->volumes = grown;
	v = &grown[p->n];
	*v = (struct recover_volume){.id = first->volume, .k = first->k, .m = first->m};
	v->unit = first->unit_bytes;
	v->code = first->code;
	if (!kind_valid(first)) {
		say(p->doubts, "Volume %" PRIu64 ": its labels make no sense, it is left out.",
		    v->id);
		return 0;
	}
	v->epoch = highest_epoch(w, v->id);
	name = note_find(w, from, to, WEFT_EXTENT_NAME, &names);
	settings = note_find(w, from, to, WEFT_EXTENT_SETTINGS, &notes);
	plan_name(w, v, name != NULL ? name->name : NULL, first->name);
	for (size_t i = from; i < to && err == 0;) {
		size_t end = i + 1;

		while (end < to && w->c[end].label->extent == w->c[i].label->extent)
			end++;
		if (!is_note(w->c[i].label) &&
		    w->c[i].label->extent < VOLUME_SIZE_MAX / WEFT_SHARD_BYTES / v->k)
			err = plan_extent(w, v, i, end);
		i = end;
	}
	if (err == 0 && was_deleted(w, v, names))
		return plan_deleted(w, v);
	plan_size(w, v, settings);
	plan_tell(w, v);
	p->n++;
	return err;
}

static int gather(struct work *w)
{
	size_t n = 0;

	for (unsigned s = 0; s < w->nservers; s++) {
		w->up += w->servers[s].err == 0;
		n += w->servers[s].nlabels;
	}
	w->c = calloc(n + 1, sizeof(*w->c));
	if (w->c == NULL)
		return -ENOMEM;
	for (unsigned s = 0; s < w->nservers; s++)
		for (size_t i = 0; w->servers[s].err == 0 && i < w->servers[s].nlabels; i++)
			w->c[w->n++] =
				(struct candidate){&w->servers[s].labels[i], w->servers[s].number};
	qsort(w->c, w->n, sizeof(*w->c), by_place);
	return 0;
}

int recover_plan(const struct survey_server *servers, unsigned n, struct recover_plan *plan)
{
	struct work w = {.servers = servers, .nservers = n, .plan = plan};
	int err;

	*plan = (struct recover_plan){
		.found = json_array(), .doubts = json_array(), .missing = json_array()};
	err = gather(&w);
	if (err == 0)
		plan_next(&w);
	for (size_t i = 0; i < w.n && err == 0;) {
		size_t end = i + 1;

		while (end < w.n && w.c[end].label->volume == w.c[i].label->volume)
			end++;
		err = plan_volume(&w, i, end);
		i = end;
	}
	free(w.c);
	return err;
}

void recover_plan_free(struct recover_plan *plan)
{
	for (size_t i = 0; i < plan->n; i++)
		free(plan->volumes[i].extents);
	free(plan->volumes);
	free(plan->deleted);
	json_decref(plan->found);
	json_decref(plan->doubts);
	json_decref(plan->missing);
	*plan = (struct recover_plan){0};
}
