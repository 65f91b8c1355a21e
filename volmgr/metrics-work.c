/*
 * The part of /metrics that is about what volmgr and tagger do in the background: rebuilds, scrubs,
 * moves of shards; tagger's index and its reading ahead, as tagger tells. Volumes that were never
 * scrubbed or rebuilt have no lines.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "moving.h"
#include "records.h"
#include "banned.h"

/* ---- rebuilds ------------------------------------------------------------------------------ */

static const struct {
	const char *name, *type, *help;
	size_t offset; /* of a uint64_t in struct rebuild_stat */
} rebuild_metrics[] = {
	{"volume_stale_shards", "gauge", "Shards that miss writes.",
	 offsetof(struct rebuild_stat, shards)},
	{"volume_rebuild_bytes", "gauge", "What is to be rebuilt, with what was since it began.",
	 offsetof(struct rebuild_stat, total_bytes)},
	{"volume_rebuild_done_bytes", "gauge", "What of it is done.",
	 offsetof(struct rebuild_stat, done_bytes)},
	{"volume_rebuild_failed_extents", "gauge",
	 "Extents that could not be, and are tried again.", offsetof(struct rebuild_stat, failed)},
	{"volume_rebuilt_shards_total", "counter", "Shards that were rebuilt.",
	 offsetof(struct rebuild_stat, rebuilt)},
	{"volume_rebuild_io_bytes_total", "counter", "Bytes read and written for rebuilds.",
	 offsetof(struct rebuild_stat, moved_bytes)},
};

static bool rebuild_was(const struct rebuild_stat *st)
{
	return st->shards > 0 || st->rebuilt > 0 || st->failed > 0 || st->moved_bytes > 0;
}

static void metrics_rebuild(struct cluster *c, FILE *f)
{
	for (size_t m = 0; m < sizeof(rebuild_metrics) / sizeof(rebuild_metrics[0]); m++) {
		metrics_head(f, rebuild_metrics[m].name, rebuild_metrics[m].type,
			     rebuild_metrics[m].help);
		for (unsigned i = 0; i < c->nvols; i++) {
			const struct rebuild_stat *st = &c->vols[i]->rebuild;
			uint64_t value;

			if (!rebuild_was(st))
				continue;
			memcpy(&value, (const char *)st + rebuild_metrics[m].offset, sizeof(value));
			fprintf(f, "weft_%s{volume=\"%s\"} %" PRIu64 "\n", rebuild_metrics[m].name,
				c->vols[i]->name, value);
		}
	}
	metrics_head(f, "server_rebuilt_shards_total", "counter", "Shards rebuilt on a server.");
	for (unsigned i = 0; i < c->nservers; i++)
		fprintf(f, "weft_server_rebuilt_shards_total{server=\"%s\"} %" PRIu64 "\n",
			c->servers[i]->name, c->servers[i]->rebuilt_shards);
}

/* ---- damage: found by scrubs and by reads -------------------------------------------------- */

static const struct {
	const char *name, *help;
	size_t offset; /* of a uint64_t in struct volume_server_counts */
} damage_metrics[] = {
	{"server_bad_blocks_total", "Blocks of a server that could not be read or were damaged.",
	 offsetof(struct volume_server_counts, bad_blocks)},
	{"server_misfit_blocks_total", "Blocks of a server that did not fit the others.",
	 offsetof(struct volume_server_counts, misfit_blocks)},
	{"server_repaired_blocks_total", "Blocks of a server that were written anew.",
	 offsetof(struct volume_server_counts, repaired_blocks)},
};

static void metrics_damage(struct cluster *c, FILE *f)
{
	for (size_t m = 0; m < sizeof(damage_metrics) / sizeof(damage_metrics[0]); m++) {
		metrics_head(f, damage_metrics[m].name, "counter", damage_metrics[m].help);
		for (unsigned i = 0; i < c->nservers; i++) {
			uint64_t value;

			memcpy(&value,
			       (const char *)&c->servers[i]->counts + damage_metrics[m].offset,
			       sizeof(value));
			fprintf(f, "weft_%s{server=\"%s\"} %" PRIu64 "\n", damage_metrics[m].name,
				c->servers[i]->name, value);
		}
	}
}

/* ---- scrubs -------------------------------------------------------------------------------- */

static double scrub_running(const struct vol_scrub *s)
{
	return s->running ? 1 : 0;
}

static double scrub_progress(const struct vol_scrub *s)
{
	struct volume_scrub t = scrub_total(s);
	uint64_t all = t.extents + t.left;

	return s->state == SCRUB_DONE || all == 0 ? 1 : (double)t.extents / (double)all;
}

static double scrub_finished(const struct vol_scrub *s)
{
	return (double)s->finished_s;
}

static double scrub_bytes(const struct vol_scrub *s)
{
	return (double)scrub_total(s).bytes;
}

static double scrub_bad(const struct vol_scrub *s)
{
	struct volume_scrub t = scrub_total(s);

	return (double)(t.bad_blocks + t.misfit_blocks);
}

static double scrub_lost(const struct vol_scrub *s)
{
	return (double)scrub_total(s).lost_rows;
}

static const struct {
	const char *name, *help;
	double (*value)(const struct vol_scrub *s);
} scrub_metrics[] = {
	{"volume_scrub_running", "1 while a volume is scrubbed.", scrub_running},
	{"volume_scrub_progress_ratio", "How far the last scrub is.", scrub_progress},
	{"volume_scrub_finished_timestamp_seconds", "When the last one ended; 0: never.",
	 scrub_finished},
	{"volume_scrub_bytes", "What the last one read.", scrub_bytes},
	{"volume_scrub_bad_blocks", "Damaged or unfitting blocks that it found.", scrub_bad},
	{"volume_scrub_lost_rows", "Rows of blocks that it could not decode.", scrub_lost},
};

static void metrics_scrub(struct cluster *c, FILE *f)
{
	for (size_t m = 0; m < sizeof(scrub_metrics) / sizeof(scrub_metrics[0]); m++) {
		metrics_head(f, scrub_metrics[m].name, "gauge", scrub_metrics[m].help);
		for (unsigned i = 0; i < c->nvols; i++)
			if (c->vols[i]->scrub.state != SCRUB_NEVER || c->vols[i]->scrub.running)
				fprintf(f, "weft_%s{volume=\"%s\"} %.12g\n", scrub_metrics[m].name,
					c->vols[i]->name,
					scrub_metrics[m].value(&c->vols[i]->scrub));
	}
}

/* ---- moves --------------------------------------------------------------------------------- */

static void metrics_moves(FILE *f)
{
	struct moving_state state;

	moving_get(&state);
	metrics_head(f, "moves_wanted_shards", "gauge",
		     "Shards of servers that leave or are gone, which go elsewhere.");
	fprintf(f, "weft_moves_wanted_shards %" PRIu64 "\n", state.wanted);
	metrics_head(f, "moves_running_shards", "gauge", "Shards on their way.");
	fprintf(f, "weft_moves_running_shards %u\n", state.running);
	metrics_head(f, "moved_shards_total", "counter", "Shards that were moved.");
	fprintf(f, "weft_moved_shards_total %" PRIu64 "\n", state.moved);
}

void metrics_work(struct cluster *c, FILE *f)
{
	metrics_rebuild(c, f);
	metrics_damage(c, f);
	metrics_scrub(c, f);
	metrics_moves(f);
}

/* ---- tagger -------------------------------------------------------------------------------- */

/* Members of what tagger's /status says; what it does not say has no line. */
static const struct {
	const char *object, *member; /* object NULL: at the top */
	const char *name, *type, *help;
} tagger_metrics[] = {
	{NULL, "files", "tagger_files", "gauge", "Files in tagger's index."},
	{NULL, "folders", "tagger_folders", "gauge", "Folders in it."},
	{NULL, "bytes", "tagger_files_bytes", "gauge", "Size of these files."},
	{NULL, "tags", "tagger_tags", "gauge", "Tags in it."},
	{NULL, "waiting", "tagger_waiting_files", "gauge", "Files that are to be read."},
	{NULL, "done", "tagger_read_files", "gauge", "Files that were read."},
	{NULL, "failed", "tagger_failed_files", "gauge", "Files that could not be read."},
	{NULL, "overflows", "tagger_watch_overflows_total", "counter",
	 "Times that changes came faster than they could be followed."},
	{NULL, "idle", "tagger_idle", "gauge", "1 when everything is read."},
	{NULL, "stuck", "tagger_stuck", "gauge", "1 while the volume does not answer."},
	{NULL, "memory_bytes", "tagger_memory_bytes", "gauge", "Memory of tagger itself."},
	{"workers", "running", "tagger_workers_running", "gauge", "Workers that read a file."},
	{"workers", "done", "tagger_worker_files_total", "counter", "Files that workers read."},
	{"workers", "failed", "tagger_worker_failures_total", "counter",
	 "Files that workers could not read."},
	{"workers", "killed_time", "tagger_workers_killed_time_total", "counter",
	 "Workers that were ended because they took too long."},
	{"workers", "killed_sandbox", "tagger_workers_killed_sandbox_total", "counter",
	 "Workers that were ended because they tried what they may not."},
	{"workers", "died", "tagger_workers_died_total", "counter", "Workers that crashed."},
	{"prefetch", "on", "prefetch_on", "gauge",
	 "1 when neighbours of opened files are read ahead."},
	{"prefetch", "files", "prefetch_files_total", "counter", "Files that were read ahead."},
	{"prefetch", "bytes", "prefetch_bytes_total", "counter", "Bytes that were read ahead."},
	{"prefetch", "hits", "prefetch_hits_total", "counter",
	 "Of these files, those opened then."},
	{"prefetch", "waste", "prefetch_waste_total", "counter", "And those that were not."},
};

void metrics_tagger(const json_t *status, FILE *f)
{
	metrics_head(f, "tagger_up", "gauge", "1 when tagger answers.");
	fprintf(f, "weft_tagger_up %d\n", status != NULL);
	for (size_t m = 0; m < sizeof(tagger_metrics) / sizeof(tagger_metrics[0]); m++) {
		const char *object = tagger_metrics[m].object;
		const json_t *v =
			json_object_get(object != NULL ? json_object_get(status, object) : status,
					tagger_metrics[m].member);

		if (!json_is_number(v) && !json_is_boolean(v))
			continue;
		metrics_head(f, tagger_metrics[m].name, tagger_metrics[m].type,
			     tagger_metrics[m].help);
		fprintf(f, "weft_%s %.12g\n", tagger_metrics[m].name,
			json_is_boolean(v) ? (double)json_is_true(v) : json_number_value(v));
	}
}
