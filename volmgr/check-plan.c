/* Comparing what the metadata says with what the servers say. Pure. */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "records.h"
#include "tidy.h"
#include "banned.h"

#define PROBLEMS_MAX 1000

/* ---- what the metadata says ---------------------------------------------------------------- */

static bool room(void **list, size_t *cap, size_t n, size_t size)
{
	size_t want = *cap == 0 ? 64 : *cap * 2;
	void *grown;

	if (n < *cap)
		return true;
	grown = reallocarray(*list, want, size);
	if (grown == NULL)
		return false;
	*list = grown;
	*cap = want;
	return true;
}

static int load_volume(void *arg, const char *key, const void *value, size_t len)
{
	struct check_meta *m = arg;
	struct vol *v;
	bool deleting = false;

	if (!room((void **)&m->volumes, &m->volumes_cap, m->nvolumes, sizeof(*m->volumes)))
		return -ENOMEM;
	v = mem_must(sizeof(*v));
	if (record_volume_parse(value, len, v, &deleting) != 0) {
		free(v);
		json_array_append_new(m->bad, json_string(key));
		return 0;
	}
	m->volumes[m->nvolumes++] = (struct check_volume){v, deleting};
	return 0;
}

static int load_extent(void *arg, const char *key, const void *value, size_t len)
{
	struct check_meta *m = arg;
	struct check_extent *x;
	unsigned shards = len > 16 ? (unsigned)((len - 16) / 12) : 0;
	const char *volume = strchr(key + 2, '/');

	if (!room((void **)&m->extents, &m->extents_cap, m->nextents, sizeof(*m->extents)))
		return -ENOMEM;
	x = &m->extents[m->nextents];
	if (shards == 0 || shards > WEFT_SHARDS_MAX || volume == NULL ||
	    record_extent_parse(key, value, len, shards, &x->r) != 0) {
		json_array_append_new(m->bad, json_string(key));
		return 0;
	}
	x->shards = shards;
	x->volume = strtoull(volume + 1, NULL, 16);
	m->nextents++;
	return 0;
}

int check_meta_load(struct meta *meta, struct check_meta *out)
{
	int err;

	*out = (struct check_meta){.bad = json_array()};
	err = meta->ops->each(meta, "1/volume/", load_volume, out);
	if (err == 0)
		err = meta->ops->each(meta, "1/extent/", load_extent, out);
	return err;
}

void check_meta_free(struct check_meta *m)
{
	for (size_t i = 0; i < m->nvolumes; i++)
		free(m->volumes[i].vol);
	free(m->volumes);
	free(m->extents);
	json_decref(m->bad);
	*m = (struct check_meta){0};
}

/* ---- finding ------------------------------------------------------------------------------- */

/* A slot that an extent says it has. */
struct claim {
	uint32_t server, slot, slot_gen;
	bool both; /* before and after */
	const struct check_extent *x;
	unsigned shard;
};

struct work {
	const struct check_server *servers;
	const struct survey_server *surveys;
	unsigned n;
	const struct check_meta *meta;
	struct claim *claims;
	size_t nclaims;
	struct check_result *out;
};

static int by_slot(const void *a, const void *b)
{
	const struct claim *l = a, *r = b;

	if (l->server != r->server)
		return l->server < r->server ? -1 : 1;
	if (l->slot != r->slot)
		return l->slot < r->slot ? -1 : 1;
	return (l->slot_gen > r->slot_gen) - (l->slot_gen < r->slot_gen);
}

static struct claim *claim_find(const struct work *w, uint32_t server, uint32_t slot, uint32_t gen)
{
	struct claim key = {.server = server, .slot = slot, .slot_gen = gen};

	return w->nclaims == 0 ? NULL : bsearch(&key, w->claims, w->nclaims, sizeof(key), by_slot);
}

static const struct vol *volume_find(const struct check_meta *m, uint64_t id, bool *deleting)
{
	for (size_t i = 0; i < m->nvolumes; i++)
		if (m->volumes[i].vol->id == id) {
			*deleting = m->volumes[i].deleting;
			return m->volumes[i].vol;
		}
	return NULL;
}

static int server_index(const struct work *w, uint32_t number)
{
	for (unsigned i = 0; i < w->n; i++)
		if (w->servers[i].number == number)
			return (int)i;
	return -1;
}

static const struct survey_label *label_find(const struct survey_server *s, uint32_t slot)
{
	size_t lo = 0, hi = s->nlabels; /* LABELS comes in order of slots */

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (s->labels[mid].slot < slot)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < s->nlabels && s->labels[lo].slot == slot ? &s->labels[lo] : NULL;
}

__attribute__((format(printf, 3, 4))) static void problem(const struct work *w, const char *hint,
							  const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (json_array_size(w->out->problems) >= PROBLEMS_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_array_append_new(w->out->problems,
			      json_pack("{s:s, s:s}", "what", text, "hint", hint));
}

__attribute__((format(printf, 2, 3))) static void note(const struct work *w, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (json_array_size(w->out->notes) >= PROBLEMS_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_array_append_new(w->out->notes, json_string(text));
}

/* ---- extents against labels ---------------------------------------------------------------- */

static void compare_label(const struct work *w, const struct claim *c, const struct vol *v,
			  const struct check_server *server, const struct survey_label *l)
{
	const struct extent_record *r = &c->x->r;
	bool stale = (r->stale >> c->shard & 1) != 0;

	w->out->slots++;
	if (l == NULL || l->slot_gen != c->slot_gen) {
		if (!stale)
			problem(w,
				"What it held there is gone. Remove the server and add it anew, so "
				"that its shards are rebuilt from the others.",
				"Volume %s, extent %" PRIu64
				": shard %u is not in slot %u of server %s.",
				v->name, r->extent, c->shard, c->slot, server->name);
		return;
	}
	if (l->volume != v->id || l->extent != r->extent || l->shard != c->shard || l->k != v->k ||
	    l->m != v->m || l->unit_bytes != v->unit)
		problem(w,
			"The metadata is of another time than the servers: see weft-recovery(7).",
			"Volume %s, extent %" PRIu64
			": slot %u of server %s says that it is shard %u of extent %" PRIu64
			" of volume %" PRIu64 ".",
			v->name, r->extent, c->slot, server->name, l->shard, l->extent, l->volume);
	else if (l->mark > r->mark)
		problem(w, "The metadata is older than the servers: see weft-recovery(7).",
			"Volume %s, extent %" PRIu64
			": server %s knows of later losses (%u) than the metadata (%u).",
			v->name, r->extent, server->name, l->mark, r->mark);
}

static void compare_claims(const struct work *w)
{
	uint64_t away = 0, unplaced = 0, stale = 0;

	for (size_t i = 0; i < w->nclaims; i++) {
		const struct claim *c = &w->claims[i];
		int at = server_index(w, c->server);
		bool deleting = false;
		const struct vol *v = volume_find(w->meta, c->x->volume, &deleting);

		if (!c->both || v == NULL || deleting)
			continue;
		w->out->shards++;
		stale += c->x->r.stale >> c->shard & 1;
		if (c->slot_gen == 0)
			unplaced++;
		else if (at < 0)
			problem(w, "Add the server again, or replace its shards.",
				"Volume %s, extent %" PRIu64
				": shard %u is on server number %u, which there is not.",
				v->name, c->x->r.extent, c->shard, c->server);
		else if (w->surveys[at].err != 0)
			away++;
		else
			compare_label(w, c, v, &w->servers[at],
				      label_find(&w->surveys[at], c->slot));
	}
	if (stale > 0)
		note(w, "%" PRIu64 " shards missed writes and wait to be rebuilt%s.", stale,
		     unplaced > 0 ? ", some of them without a slot" : "");
	if (away > 0)
		note(w, "%" PRIu64 " shards are on servers that are not up: not compared.", away);
}

/* ---- labels against extents ---------------------------------------------------------------- */

static bool is_note(const struct survey_label *l)
{
	return l->extent >= WEFT_EXTENT_SETTINGS;
}

static bool has_shards(const struct survey_server *s, uint64_t volume)
{
	for (size_t i = 0; i < s->nlabels; i++)
		if (s->labels[i].volume == volume && !is_note(&s->labels[i]))
			return true;
	return false;
}

static void compare_server(const struct work *w, unsigned at)
{
	const struct survey_server *s = &w->surveys[at];
	const char *name = w->servers[at].name;
	uint64_t last_unknown = 0, young = 0;
	bool deleting;

	for (size_t i = 0; i < s->nvolumes; i++) {
		const struct vol *v = volume_find(w->meta, s->volumes[i].volume, &deleting);

		if (v != NULL && s->volumes[i].epoch > v->epoch)
			problem(w,
				"Another volmgr has taken it over, or the metadata is old: see "
				"weft-recovery(7).",
				"Volume %s: server %s knows a later owner (%u) than the metadata "
				"(%u).",
				v->name, name, s->volumes[i].epoch, v->epoch);
	}
	for (size_t i = 0; i < s->nlabels; i++) {
		const struct survey_label *l = &s->labels[i];
		const struct vol *v = volume_find(w->meta, l->volume, &deleting);
		/* a note that was written anew may lie before the shards, which tell the name */
		bool unknown = v == NULL && (!is_note(l) || !has_shards(s, l->volume));

		if (unknown && l->volume != last_unknown)
			problem(w,
				"If it was deleted while the server was away, it is given back by "
				"itself. If not: volctl recover, into an empty state directory.",
				"Server %s has slots of volume %" PRIu64
				" (%s), which the metadata does not know.",
				name, l->volume, is_note(l) ? "only a note" : l->name);
		if (unknown)
			last_unknown = l->volume;
		if (v == NULL || deleting || is_note(l) ||
		    claim_find(w, s->number, l->slot, l->slot_gen) != NULL)
			continue;
		/* of this run of volmgr: shards that move fill new slots first */
		if (l->mark == 0 && l->generation >= (v->epoch & 0xfffff) << 12) {
			young++;
			continue;
		}
		problem(w,
			w->servers[at].late
				? "If this server was left out by mistake when the metadata was "
				  "recovered: recover it once more, into an empty state directory."
				: "It is given back by itself after the next start of volmgr.",
			"Server %s: slot %u is of volume %s, extent %" PRIu64
			", shard %u, but the metadata does not know it.",
			name, l->slot, v->name, l->extent, l->shard);
	}
	if (young > 0)
		note(w, "Server %s: %" PRIu64 " new slots are being filled, or were lost sight of.",
		     name, young);
}

static void compare_notes(const struct work *w, unsigned at, const struct vol *v)
{
	const struct survey_server *s = &w->surveys[at];
	const struct survey_label *name = NULL, *settings = NULL;
	char text[NOTE_TEXT_MAX];

	for (size_t i = 0; i < s->nlabels; i++) {
		const struct survey_label *l = &s->labels[i];
		const struct survey_label **best =
			l->extent == WEFT_EXTENT_NAME ? &name : &settings;

		if (l->volume == v->id && is_note(l) &&
		    (*best == NULL || l->generation > (*best)->generation))
			*best = l;
	}
	note_settings(v, text);
	if (name == NULL || strcmp(name->name, v->name) != 0 || settings == NULL ||
	    strcmp(settings->name, text) != 0)
		problem(w, "volmgr writes it by itself, a moment after a change.",
			"Server %s has no right note of the name and settings of volume %s.",
			w->servers[at].name, v->name);
}

/* ---- all of it ----------------------------------------------------------------------------- */

static int extent_order(const struct check_extent *a, const struct check_extent *b)
{
	if (a->volume != b->volume)
		return a->volume < b->volume ? -1 : 1;
	return (a->r.extent > b->r.extent) - (a->r.extent < b->r.extent);
}

/* The same extent in the other one, with the same place for this shard? Both are in order. */
static bool also_in(const struct check_meta *m, const struct check_extent *x, unsigned shard)
{
	size_t lo = 0, hi = m->nextents;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (extent_order(&m->extents[mid], x) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < m->nextents && extent_order(&m->extents[lo], x) == 0 &&
	       memcmp(&m->extents[lo].r.shard[shard], &x->r.shard[shard],
		      sizeof(x->r.shard[shard])) == 0;
}

static size_t count_shards(const struct check_meta *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->nextents; i++)
		n += m->extents[i].shards;
	return n;
}

static void add_claims(struct work *w, const struct check_meta *m, const struct check_meta *other,
		       bool only_alone)
{
	for (size_t i = 0; i < m->nextents; i++)
		for (unsigned s = 0; s < m->extents[i].shards; s++) {
			const struct check_extent *x = &m->extents[i];
			bool both = also_in(other, x, s);

			if (both && only_alone)
				continue;
			w->claims[w->nclaims++] = (struct claim){
				.server = x->r.shard[s].server,
				.slot = x->r.shard[s].slot,
				.slot_gen = x->r.shard[s].slot_gen,
				.both = both,
				.x = x,
				.shard = s,
			};
		}
}

/* One slot for two shards. Those without a slot have none to share. */
static void compare_twins(const struct work *w)
{
	for (size_t i = 1; i < w->nclaims; i++) {
		const struct claim *a = &w->claims[i - 1], *b = &w->claims[i];

		if (by_slot(a, b) == 0 && a->slot_gen != 0 && a->both && b->both)
			problem(w, "One of them is wrong: see weft-recovery(7).",
				"Slot %u of server number %u belongs to extent %" PRIu64
				" and to extent %" PRIu64 ".",
				a->slot, a->server, a->x->r.extent, b->x->r.extent);
	}
}

void check_plan(const struct check_meta *before, const struct check_meta *after,
		const struct check_server *servers, const struct survey_server *surveys, unsigned n,
		struct check_result *out)
{
	struct work w = {servers, surveys, n, after, NULL, 0, out};

	*out = (struct check_result){.problems = json_array(), .notes = json_array()};
	out->extents = after->nextents;
	w.claims = mem_must((count_shards(before) + count_shards(after) + 1) * sizeof(*w.claims));
	add_claims(&w, after, before, false);
	add_claims(&w, before, after, true);
	qsort(w.claims, w.nclaims, sizeof(*w.claims), by_slot);
	for (size_t i = 0; i < json_array_size(after->bad); i++)
		problem(&w, "The state directory is damaged: see weft-recovery(7).",
			"The metadata's entry %s cannot be read.",
			json_string_value(json_array_get(after->bad, i)));
	compare_twins(&w);
	compare_claims(&w);
	for (unsigned i = 0; i < n; i++) {
		if (surveys[i].err != 0) {
			note(&w, "Server %s is not up: not compared.", servers[i].name);
			continue;
		}
		compare_server(&w, i);
		for (size_t v = 0; servers[i].keeps_notes && v < after->nvolumes; v++)
			if (!after->volumes[v].deleting)
				compare_notes(&w, i, after->volumes[v].vol);
	}
	free(w.claims);
}

void check_both(struct check_result *now, const struct check_result *then)
{
	for (size_t i = json_array_size(now->problems); i > 0; i--) {
		const json_t *p = json_array_get(now->problems, i - 1);
		bool found = false;

		for (size_t k = 0; k < json_array_size(then->problems) && !found; k++)
			found = json_equal(p, json_array_get(then->problems, k)) != 0;
		if (!found)
			json_array_remove(now->problems, i - 1);
	}
}

void check_result_free(struct check_result *r)
{
	json_decref(r->problems);
	json_decref(r->notes);
	*r = (struct check_result){0};
}
