/* What the labels of servers say about volumes: recovery's plan, and check's comparison. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "records.h"
#include "recover.h"
#include "tidy.h"

#include "tap.h"

#define SERVERS 6
#define VOLUME	7u

static struct survey_server servers[SERVERS];
static struct check_server names[SERVERS];

static void reset(void)
{
	for (unsigned i = 0; i < SERVERS; i++) {
		free(servers[i].labels);
		free(servers[i].volumes);
		servers[i] = (struct survey_server){.number = i + 1};
		servers[i].labels = calloc(64, sizeof(*servers[i].labels));
		servers[i].volumes = calloc(8, sizeof(*servers[i].volumes));
		servers[i].volumes[0] = (struct survey_volume){.volume = VOLUME, .epoch = 3};
		servers[i].nvolumes = 1;
		names[i] = (struct check_server){.number = i + 1, .keeps_notes = true};
		snprintf(names[i].name, sizeof(names[i].name), "s%u", i + 1);
	}
}

/* A label in the next slot of a server. */
static struct survey_label *label(unsigned server, uint64_t extent, unsigned shard, uint32_t gen)
{
	struct survey_server *s = &servers[server - 1];
	struct survey_label *l = &s->labels[s->nlabels];

	*l = (struct survey_label){
		.volume = VOLUME,
		.extent = extent,
		.mapped_bytes = 65536,
		.generation = gen,
		.unit_bytes = 65536,
		.slot = (uint32_t)s->nlabels * 2,
		.slot_gen = 100 + (uint32_t)s->nlabels,
		.shard = (uint8_t)shard,
		.k = 2,
		.m = 1,
		.name = "made",
	};
	s->nlabels++;
	return l;
}

static void notes(const char *name, const char *settings, uint32_t gen)
{
	for (unsigned i = 1; i <= SERVERS; i++) {
		snprintf(label(i, WEFT_EXTENT_NAME, 0, gen)->name, 64, "%s", name);
		snprintf(label(i, WEFT_EXTENT_SETTINGS, 0, gen)->name, 64, "%s", settings);
	}
}

static void extent(uint64_t number, unsigned first, uint32_t gen)
{
	for (unsigned i = 0; i < 3; i++)
		label((first + i - 1) % SERVERS + 1, number, i, gen);
}

static struct recover_plan plan(void)
{
	struct recover_plan p;

	if (recover_plan(servers, SERVERS, &p) != 0)
		abort();
	return p;
}

static unsigned says(json_t *list, const char *words)
{
	const json_t *t;
	unsigned n = 0;
	size_t i;

	json_array_foreach(list, i, t) n += strstr(json_string_value(t), words) != NULL;
	return n;
}

static void test_whole(void)
{
	struct recover_plan p;
	const struct recover_volume *v;

	reset();
	notes("name", "size=67108864 min=3 full=wait", 5);
	notes("old", "size=1048576", 4);
	extent(0, 1, 10);
	extent(3, 4, 11);
	servers[4].volumes[0].epoch = 9;
	p = plan();
	v = &p.volumes[0];
	is_int(p.n, 1, "a volume is found");
	ok(strcmp(v->name, "name") == 0 && v->size == 64 << 20 && v->id == VOLUME,
	   "with the newest name and size");
	ok(v->settings.min == 3 && v->settings.when_full_wait && !v->settings.below_min_fail,
	   "and settings");
	ok(v->k == 2 && v->m == 1 && v->unit == 65536, "and profile");
	is_int(v->epoch, 9, "the highest epoch counts");
	ok(v->nextents == 2 && v->extents[0].extent == 0 && v->extents[1].extent == 3,
	   "its extents are there, in order");
	ok(v->extents[1].shard[2].server == 6 && v->extents[1].generation == 11 &&
		   v->extents[1].stale == 0,
	   "each shard in its place");
	is_int(json_array_size(p.doubts) + json_array_size(p.missing), 0, "without a doubt");
	recover_plan_free(&p);
}

static void test_marks(void)
{
	struct recover_plan p;

	reset();
	notes("name", "size=67108864", 5);
	extent(0, 1, 10);
	servers[0].labels[2].mark = 4; /* shard 0 was told last */
	servers[0].labels[2].stale = 4;
	servers[1].labels[2].mark = 3;
	servers[1].labels[2].stale = 1;
	p = plan();
	is_int(p.volumes[0].extents[0].stale, 4, "the newest mark says which shard is stale");
	is_int(p.volumes[0].extents[0].mark, 4, "and is gone on from");
	is_int(says(p.found, "missed writes"), 1, "it is told");
	recover_plan_free(&p);

	label(4, 0, 2, 11); /* a rebuild had begun in a new slot */
	p = plan();
	ok(p.volumes[0].extents[0].shard[2].server == 4 && p.volumes[0].extents[0].stale == 4,
	   "a newer slot of a stale shard is stale");
	is_int(says(p.doubts, "older slot"), 1, "the older one is told");
	recover_plan_free(&p);

	servers[0].labels[2].stale = servers[1].labels[2].stale = 0;
	/* all are good, and shard 2 was on its way elsewhere */
	for (unsigned i = 0; i < SERVERS; i++)
		for (size_t l = 0; l < servers[i].nlabels; l++)
			if (servers[i].labels[l].generation == 10)
				servers[i].labels[l].mark = 4;
	p = plan();
	ok(p.volumes[0].extents[0].shard[2].server != 4 && p.volumes[0].extents[0].stale == 0,
	   "a newer slot that was only being filled, and has no mark, is not used");
	recover_plan_free(&p);

	reset(); /* given back while a server was away, and placed again */
	notes("name", "size=67108864", 5);
	extent(0, 1, 12);
	label(4, 0, 1, 10);
	servers[3].labels[servers[3].nlabels - 1].mark = 4;
	p = plan();
	is_int(p.volumes[0].extents[0].shard[1].server, 2,
	       "what an earlier extent left does not count, though it was marked");
	is_int(p.volumes[0].extents[0].mark, 0, "nor does its mark");
	recover_plan_free(&p);
}

static void test_missing(void)
{
	struct recover_plan p;
	const struct extent_record *r;

	reset();
	notes("name", "size=67108864", 5);
	extent(0, 1, 10);
	extent(1, 1, 10);
	servers[0].err = -ENOTCONN;
	p = plan();
	r = &p.volumes[0].extents[0];
	ok(r->stale == 1 && r->shard[0].slot_gen == 0 && r->shard[0].server != 0 &&
		   r->shard[0].server != 2 && r->shard[0].server != 3,
	   "a shard that is on no server is stale, without a slot, to be on another server");
	is_int(p.volumes[0].missing, 2, "and counted");
	is_int(p.volumes[0].lost, 0, "the extent can be read");
	recover_plan_free(&p);
	for (unsigned i = 3; i < SERVERS; i++)
		servers[i].err = -ENOTCONN;
	p = plan();
	is_int(p.volumes[0].extents[0].shard[0].server, 0, "or on none, when none is left");
	recover_plan_free(&p);
	servers[1].err = -ENOTCONN;
	p = plan();
	is_int(p.volumes[0].lost, 2, "with too few shards it is lost, and said so");
	is_int(p.volumes[0].nextents, 2, "but never reads as zeros");
	recover_plan_free(&p);
}

static void test_left_over(void)
{
	struct recover_plan p;

	reset();
	label(1, 5, 0, 10)->mapped_bytes = 0;
	notes("name", "size=67108864", 5);
	p = plan();
	is_int(p.volumes[0].nextents, 0, "empty slots of an extent that was never placed are left");
	recover_plan_free(&p);

	reset();
	label(1, WEFT_EXTENT_NAME, 0, 5);
	p = plan();
	is_int(p.n, 0, "a name on one server alone is no volume");
	ok(p.ndeleted == 1 && p.deleted[0].id == VOLUME, "what is left of it is given back");
	is_int(p.next_volume, VOLUME + 1, "its number is not used again");
	is_int(says(p.doubts, "deleted"), 1, "it is told");
	recover_plan_free(&p);

	reset();
	extent(2, 1, 10);
	label(4, 2, 1, 9)->k = 5;
	p = plan();
	ok(p.n == 1 && strcmp(p.volumes[0].name, "made") == 0,
	   "without notes the name is the label's");
	is_int(p.volumes[0].size, 3 * 8 << 20, "and the size is up to the last extent");
	is_int(says(p.doubts, "size") + says(p.doubts, "name") + says(p.doubts, "profile"), 3,
	       "all that is in doubt");
	recover_plan_free(&p);

	reset();
	label(2, 0, 0, 1)->unit_bytes = 5;
	p = plan();
	is_int(p.n, 0, "labels that make no sense are no volume");
	recover_plan_free(&p);
}

static void test_settings(void)
{
	struct volume_settings s;
	struct vol v = {.size = 1ULL << 50};
	char text[NOTE_TEXT_MAX];
	uint64_t size;

	v.settings = (struct volume_settings){20, true, true};
	note_settings(&v, text);
	is_int(note_settings_parse(text, &size, &s), 0, "the longest settings fit a label");
	ok(size == v.size && s.min == 20 && s.below_min_fail && s.when_full_wait,
	   "and say what was written");
	is_int(note_settings_parse("size=4096", &size, &s), 0, "without settings");
	ok(s.min == 0 && !s.below_min_fail && !s.when_full_wait, "they are the defaults");
	is_int(note_settings_parse("size=", &size, &s), -EINVAL, "a size without a number");
	is_int(note_settings_parse("size=4097", &size, &s), -EINVAL, "an odd size");
	is_int(note_settings_parse("min=3", &size, &s), -EINVAL, "no size");
	is_int(note_settings_parse("size=4096 colour=red", &size, &s), -EINVAL, "other words");
	is_int(note_settings_parse("made", &size, &s), -EINVAL, "a name");
}

/* ---- check --------------------------------------------------------------------------------- */

static struct vol vol;
static struct check_volume volumes[1];
static struct check_extent extents[2];
static struct check_meta meta;

/* The metadata as the plan would make it. */
static void meta_from_plan(void)
{
	struct recover_plan p = plan();
	const struct recover_volume *v = &p.volumes[0];

	vol = (struct vol){.id = v->id, .size = v->size, .k = v->k, .m = v->m, .epoch = v->epoch};
	vol.unit = v->unit;
	vol.settings = v->settings;
	snprintf(vol.name, sizeof(vol.name), "%s", v->name);
	volumes[0] = (struct check_volume){.vol = &vol};
	for (size_t i = 0; i < v->nextents; i++)
		extents[i] = (struct check_extent){v->id, 3, v->extents[i]};
	json_decref(meta.bad);
	meta = (struct check_meta){volumes, 1, 1, extents, v->nextents, 2, json_array()};
	recover_plan_free(&p);
}

static unsigned problems(const char *words)
{
	struct check_result r;
	const json_t *p;
	unsigned n = 0;
	size_t i;

	check_plan(&meta, &meta, names, servers, SERVERS, &r);
	json_array_foreach(r.problems, i, p)
	{
		const char *what = json_string_value(json_object_get(p, "what"));

		if (words != NULL && strstr(what, words) == NULL)
			diag("%s", what);
		n += words == NULL || strstr(what, words) != NULL;
	}
	if (words != NULL && json_array_size(r.problems) != n)
		n = 1000;
	check_result_free(&r);
	return n;
}

static void begin_check(void)
{
	reset();
	notes("name", "size=67108864", 5);
	extent(0, 1, 10);
	extent(1, 4, 10);
	meta_from_plan();
}

static void test_check(void)
{
	begin_check();
	is_int(problems(NULL), 0, "metadata and servers agree");
	label(2, 9, 1, 10);
	is_int(problems("does not know it"), 1, "a slot of no extent is found");
	begin_check();
	label(2, 9, 1, vol.epoch << 12);
	is_int(problems(NULL), 0, "but one that is being filled may be there");
	begin_check();
	servers[1].labels[2].slot_gen++;
	is_int(problems(NULL), 2, "a slot that was given to something else, from both sides");
	begin_check();
	servers[0].nlabels--;
	is_int(problems("is not in slot"), 1, "a slot that is gone");
	extents[0].r.stale = 1;
	is_int(problems(NULL), 0, "but not of a stale shard");
	begin_check();
	servers[0].labels[2].shard = 1;
	is_int(problems("says that it is shard 1"), 1, "one with another label");
	begin_check();
	servers[0].labels[2].mark = 2;
	is_int(problems("later losses"), 1, "metadata that is older than the servers");
	begin_check();
	servers[3].volumes[0].epoch = 99;
	is_int(problems("later owner"), 1, "and that another volmgr has passed");
	begin_check();
	vol.size += 4096;
	is_int(problems("no right note"), SERVERS, "notes that are not right");
	begin_check();
	label(6, 0, 0, 10)->volume = 55;
	is_int(problems("metadata does not know"), 1, "a volume that nobody knows");
	label(6, WEFT_EXTENT_NAME, 0, 10)->volume = 55;
	is_int(problems("55 (made), which the metadata does not know"), 1,
	       "told once, by its name, with a note behind the slot");
	begin_check();
	label(6, WEFT_EXTENT_NAME, 0, 10)->volume = 55;
	is_int(problems("55 (only a note), which the metadata does not know"), 1,
	       "one of which there is only a note");
	label(6, 0, 0, 10)->volume = 55;
	is_int(problems("55 (made), which the metadata does not know"), 1,
	       "not so when the note only lies before its slots");
	begin_check();
	extents[1].r.shard[0] = extents[0].r.shard[0];
	ok(problems(NULL) >= 2, "two shards in one slot");
	begin_check();
	servers[2].err = -ENOTCONN;
	is_int(problems(NULL), 0, "what is away is not compared");
	begin_check();
	meta.nvolumes = 0;
	is_int(problems("metadata does not know"), SERVERS, "nothing is known");
	begin_check();
	extents[0].r.shard[2].server = 77;
	ok(problems(NULL) >= 1, "a server that there is not");
	json_decref(meta.bad);
}

int main(void)
{
	test_whole();
	test_marks();
	test_missing();
	test_left_over();
	test_settings();
	test_check();
	reset();
	for (unsigned i = 0; i < SERVERS; i++) {
		free(servers[i].labels);
		free(servers[i].volumes);
	}
	return done_testing();
}
