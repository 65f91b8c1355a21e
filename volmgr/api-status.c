/*
 * GET /status: one sentence about the cluster that a person can act on, and the figures behind it.
 */
#include "config.h"

#include <string.h>
#include <sys/utsname.h>

#include "api.h"
#include "moving.h"
#include "route.h"
#include "records.h"
#include "stripe/plan.h"
#include "banned.h"

#define LOW_SPACE_PERCENT 10

struct status {
	const char *state;
	char message[512];
	char hint[256];
	uint64_t size, free;
	unsigned total, up;
	const struct server *away; /* the first that is not up, or NULL */
	bool leaving;		   /* some server is to be emptied, or was given up */
	const struct vol *weakest; /* NULL: there is no volume */
	int spare;		   /* servers that it can lose */
};

static void status_servers(struct cluster *c, struct status *st)
{
	const struct server *first = NULL;
	unsigned away = 0;

	for (unsigned i = 0; i < c->nservers; i++) {
		const struct server *s = c->servers[i];

		st->total++;
		st->leaving |= s->duty != DUTY_STAY;
		st->up += s->state == SERVER_UP;
		if (s->stat_known) {
			st->size += s->stat.size_bytes;
			st->free += s->stat.free_bytes;
		}
		if (s->state == SERVER_UP)
			continue;
		away++;
		if (first == NULL)
			first = s;
	}
	st->away = first;
	if (first == NULL)
		return;
	st->state = "degraded";
	if (first->why[0] != '\0')
		snprintf(st->message, sizeof(st->message),
			 "%u of %u servers %s not up: %s is %s (%s).", away, st->total,
			 away == 1 ? "is" : "are", first->name, server_state_name(first),
			 first->why);
	else
		snprintf(st->message, sizeof(st->message), "%u of %u servers %s not up: %s is %s.",
			 away, st->total, away == 1 ? "is" : "are", first->name,
			 server_state_name(first));
	if (first->state == SERVER_WRONG_STORE)
		snprintf(st->hint, sizeof(st->hint),
			 "Start the nbdsrv that has this server's store there (%.180s).",
			 first->address);
	else
		snprintf(st->hint, sizeof(st->hint), "Start nbdsrv there (%.200s).",
			 first->address);
}

static void status_failed(const struct vol *v, struct status *st)
{
	const char *why;

	pthread_mutex_lock(&v->cluster->lock);
	why = vol_why(v);
	pthread_mutex_unlock(&v->cluster->lock);
	st->state = "failed";
	snprintf(st->message, sizeof(st->message), "Volume %s cannot be used: %s.", v->name, why);
	if (strcmp(why, VOL_FENCED_WHY) == 0)
		snprintf(st->hint, sizeof(st->hint),
			 "Two volmgrs have the same metadata, or copies of it: stop the one that "
			 "is not wanted, and start the other one anew, once more if that is not "
			 "enough. See weft-recovery(7).");
	else if (v->older)
		snprintf(st->hint, sizeof(st->hint),
			 "Put back the metadata that is not older, or recover it from the servers "
			 "into an empty folder: see weft-recovery(7).");
	else
		snprintf(st->hint, sizeof(st->hint), "Look at volmgr's messages.");
}

/* What is worst comes last, and wins. */
static void status_volumes(struct cluster *c, struct status *st)
{
	const struct vol *starting = NULL, *failed = NULL;

	pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; i < c->nvols; i++) {
		const struct vol *v = c->vols[i];

		if (v->state == VOL_FAILED || v->fenced)
			failed = v;
		else if (v->state == VOL_OPENING || v->state == VOL_STARTING)
			starting = v;
	}
	pthread_mutex_unlock(&c->lock);
	if (starting != NULL && st->up < st->total) {
		st->state = "degraded";
		snprintf(st->message, sizeof(st->message),
			 "Volume %s waits for servers: %u of %u are up.", starting->name, st->up,
			 st->total);
	}
	if (failed != NULL)
		status_failed(failed, st);
}

/* Blocks that came back damaged: the data is whole, the disk may not be for long. */
static void status_damage(struct cluster *c, struct status *st)
{
	for (unsigned i = 0; i < c->nvols; i++) {
		const struct vol *v = c->vols[i];
		uint64_t lost = scrub_total(&v->scrub).lost_rows;

		if (lost == 0 || strcmp(st->state, "failed") == 0)
			continue;
		st->state = "failed";
		snprintf(st->message, sizeof(st->message),
			 "Volume %s: scrub found %llu rows of blocks that cannot be decoded any "
			 "more.",
			 v->name, (unsigned long long)lost);
		snprintf(st->hint, sizeof(st->hint),
			 "volmgr's messages say where; restore what is there from a backup.");
	}
	if (strcmp(st->state, "ok") != 0)
		return;
	for (unsigned i = 0; i < c->nservers; i++) {
		const struct server *s = c->servers[i];
		uint64_t n;

		pthread_mutex_lock(&c->lock);
		n = scrub_damage(s);
		pthread_mutex_unlock(&c->lock);
		if (n == 0)
			continue;
		st->state = "repaired";
		snprintf(st->message, sizeof(st->message),
			 "Server %s gave back %llu damaged blocks, which were decoded from others.",
			 s->name, (unsigned long long)n);
		snprintf(st->hint, sizeof(st->hint),
			 "Look at the health of its disk, and run: volctl scrub start. When that "
			 "finds no more there, this ends.");
		return;
	}
}

/* Figures of a rebuild: of a volume, or of all together. */
void api_rebuild_write(const struct rebuild_stat *st, const char *key, struct json_out *o)
{
	uint64_t left = st->total_bytes > st->done_bytes ? st->total_bytes - st->done_bytes : 0;

	json_out_begin(o, key, '{');
	json_out_int(o, "shards", (int64_t)st->shards);
	json_out_int(o, "total", (int64_t)st->total_bytes);
	json_out_int(o, "done", (int64_t)st->done_bytes);
	json_out_int(o, "rate", (int64_t)st->rate);
	json_out_int(o, "seconds_left",
		     st->rate > 0 && left > 0 ? (int64_t)(left / st->rate + 1) : 0);
	json_out_int(o, "running", st->running);
	json_out_int(o, "rebuilt", (int64_t)st->rebuilt);
	json_out_int(o, "moved", (int64_t)st->moved_bytes);
	json_out_int(o, "failed", (int64_t)st->failed);
	json_out_int(o, "skipped", (int64_t)st->skipped_bytes);
	json_out_int(o, "lost", (int64_t)st->lost);
	json_out_end(o, '}');
}

static json_t *rebuild_json(const struct rebuild_stat *st)
{
	struct json_out o = {.at = NULL};

	api_rebuild_write(st, NULL, &o);
	return json_out_parse(&o);
}

static struct rebuild_stat status_rebuild_sum(struct cluster *c)
{
	struct rebuild_stat sum = {.shards = 0};

	pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; i < c->nvols; i++) {
		const struct rebuild_stat *st = &c->vols[i]->rebuild;

		sum.shards += st->shards;
		sum.total_bytes += st->total_bytes;
		sum.done_bytes += st->done_bytes;
		sum.rate += st->rate;
		sum.running += st->running;
		sum.rebuilt += st->rebuilt;
		sum.moved_bytes += st->moved_bytes;
		sum.failed += st->failed;
		sum.skipped_bytes += st->skipped_bytes;
		sum.lost += st->lost;
	}
	pthread_mutex_unlock(&c->lock);
	return sum;
}

/* Shards are stale, though every server is up. */
static void status_rebuild(struct cluster *c, struct status *st)
{
	struct rebuild_stat sum = status_rebuild_sum(c);

	if (sum.shards == 0 || strcmp(st->state, "ok") != 0)
		return;
	st->state = "rebuilding";
	snprintf(st->message, sizeof(st->message),
		 "%llu shards miss writes and are being rebuilt: %u %% done.",
		 (unsigned long long)sum.shards,
		 (unsigned)((double)sum.done_bytes * 100 / (double)sum.total_bytes));
	if (sum.failed > 0)
		snprintf(st->hint, sizeof(st->hint),
			 "Some could not be, and are tried again: volmgr's messages say why.");
}

/* Extents have stripes that cannot be decoded from what is there: who would help? */
static void status_lost(struct cluster *c, struct status *st)
{
	char names[160] = "";
	size_t n = 0;

	for (unsigned i = 0; i < c->nservers && n < sizeof(names); i++)
		if (c->servers[i]->state != SERVER_UP)
			n += (size_t)snprintf(names + n, sizeof(names) - n, "%s%s",
					      n > 0 ? ", " : "", c->servers[i]->name);
	for (unsigned i = 0; i < c->nvols; i++) {
		const struct vol *v = c->vols[i];
		uint64_t lost;

		pthread_mutex_lock(&c->lock);
		lost = v->rebuild.lost;
		pthread_mutex_unlock(&c->lock);
		if (lost == 0 || strcmp(st->state, "failed") == 0)
			continue;
		st->state = "failed";
		snprintf(st->message, sizeof(st->message),
			 "Volume %s: %llu extents cannot be rebuilt: blocks of them cannot be "
			 "decoded any more. Everything else goes on.",
			 v->name, (unsigned long long)lost);
		if (n > 0)
			snprintf(st->hint, sizeof(st->hint),
				 "Bring back server %s, or restore the stripes that volmgr's "
				 "messages "
				 "name from a backup.",
				 names);
		else
			snprintf(st->hint, sizeof(st->hint),
				 "Restore the stripes that volmgr's messages name from a backup.");
	}
}

/* A store was put back from a backup, and not everything on it is made anew yet. */
static void status_older(struct cluster *c, struct status *st)
{
	for (unsigned i = 0; i < c->nservers; i++) {
		const struct server *s = c->servers[i];

		if (!s->older || strcmp(st->state, "failed") == 0)
			continue;
		st->state = s->state == SERVER_UP ? "rebuilding" : "degraded";
		snprintf(st->message, sizeof(st->message),
			 "Server %s came back with an older store than it had, from a backup or a "
			 "copy: nothing on it is trusted, its shards are made anew.",
			 s->name);
		snprintf(st->hint, sizeof(st->hint),
			 "What no other server has enough of waits until others are back: volctl "
			 "server list");
	}
}

/* Writes wait for servers: which? */
static void status_waits(struct cluster *c, struct status *st)
{
	for (unsigned i = 0; i < c->nvols; i++) {
		const struct vol *v = c->vols[i];
		uint32_t servers[WAITS_FOR_MAX];
		char names[200] = "";
		size_t n = 0;
		unsigned count;

		pthread_mutex_lock(&c->lock);
		count = v->nwaits_for;
		memcpy(servers, v->waits_for, sizeof(servers));
		pthread_mutex_unlock(&c->lock);
		if (v->state != VOL_READY || count == 0 || strcmp(st->state, "failed") == 0)
			continue;
		for (unsigned s = 0; s < count && n < sizeof(names); s++) {
			const struct server *server = server_by_number(c, servers[s]);

			n += (size_t)snprintf(names + n, sizeof(names) - n, "%s%s",
					      s > 0 ? " or " : "",
					      server != NULL ? server->name : "?");
		}
		st->state = "waiting";
		snprintf(
			st->message, sizeof(st->message),
			"Writes to volume %s wait: it needs %u good shards of each extent. They go "
			"on when %s is back.",
			v->name, v->settings.min != 0 ? v->settings.min : plan_min_good(v->k, v->m),
			names);
		snprintf(st->hint, sizeof(st->hint),
			 "Start nbdsrv there; or let writes go on with fewer good shards: volctl "
			 "volume set %s --min %u",
			 v->name, v->k);
	}
}

/* Which volume can lose the fewest servers? */
static void status_spare(struct cluster *c, struct status *st)
{
	for (unsigned i = 0; i < c->nvols; i++) {
		int spare = volume_spare_now(c->vols[i]);

		if (c->vols[i]->state == VOL_DELETING ||
		    (st->weakest != NULL && st->spare <= spare))
			continue;
		st->weakest = c->vols[i];
		st->spare = spare;
	}
}

/* Extents have fewer shards than it takes to read them. */
static void status_too_many(struct status *st)
{
	if (st->weakest == NULL || st->spare >= 0 || strcmp(st->state, "failed") == 0)
		return;
	st->state = "unavailable";
	if (st->up == st->total) {
		snprintf(st->message, sizeof(st->message),
			 "Parts of volume %s have too few good shards to be read.",
			 st->weakest->name);
		snprintf(st->hint, sizeof(st->hint),
			 "If that stays so: volctl check, and volctl server list");
		return;
	}
	snprintf(st->message, sizeof(st->message),
		 "%u of %u servers are not up, and volume %s can spare %u: parts of it "
		 "cannot be read until enough are back.",
		 st->total - st->up, st->total, st->weakest->name, st->weakest->m);
	snprintf(st->hint, sizeof(st->hint),
		 "Start nbdsrv on those that are down: volctl server list");
}

/* Extents have fewer shards than writes need, and the volume does not wait for more. */
static void status_refuses(struct cluster *c, struct status *st)
{
	for (unsigned i = 0; i < c->nvols; i++) {
		struct vol *v = c->vols[i];
		unsigned min = v->settings.min != 0 ? v->settings.min : plan_min_good(v->k, v->m);
		int good = (int)v->k + volume_spare_now(v);

		if (v->state != VOL_READY || !v->settings.below_min_fail || good >= (int)min ||
		    strcmp(st->state, "failed") == 0 || strcmp(st->state, "unavailable") == 0)
			continue;
		st->state = "degraded";
		snprintf(st->message, sizeof(st->message),
			 "Writes to parts of volume %s fail: they need %u good shards, and there "
			 "are %d.",
			 v->name, min, good);
		snprintf(st->hint, sizeof(st->hint),
			 "Start nbdsrv on those that are down (volctl server list); or let writes "
			 "go on with fewer good shards: volctl volume set %s --min %u",
			 v->name, v->k);
	}
}

/* What is written to new places needs servers that are not there. */
static void status_too_few(struct cluster *c, struct status *st)
{
	unsigned members, up;

	servers_count(c, &members, &up);
	for (unsigned i = 0; i < c->nvols; i++) {
		const struct vol *v = c->vols[i];

		if (v->state != VOL_READY || v->k + v->m <= members || strcmp(st->state, "ok") != 0)
			continue;
		st->state = "degraded";
		snprintf(st->message, sizeof(st->message),
			 "Volume %s (%u+%u) needs %u servers to be written to where nothing is "
			 "yet, and %u take shards.",
			 v->name, v->k, v->m, v->k + v->m, members);
		snprintf(st->hint, sizeof(st->hint), "Add a server: volctl server add ADDR");
	}
}

/* Shards that have to go elsewhere: under way, or stuck. */
static void status_moves(struct status *st)
{
	struct moving_state state;
	const char *hint;

	moving_get(&state);
	if (state.wanted == 0 || strcmp(st->state, "failed") == 0)
		return;
	if (strcmp(st->state, "ok") == 0 || strcmp(st->state, "repaired") == 0) {
		st->state = "moving";
		snprintf(st->message, sizeof(st->message),
			 "%llu shards are to be moved to other servers.",
			 (unsigned long long)state.wanted);
		st->hint[0] = '\0';
	}
	if (state.running > 0)
		return;
	if (st->away != NULL && !st->leaving) { /* it is why, and its return would help, too */
		if (strcmp(st->state, "degraded") == 0 &&
		    state.blocked[MOVES_NO_SERVER] + state.blocked[MOVES_NO_ROOM] > 0)
			snprintf(st->hint, sizeof(st->hint),
				 "Start nbdsrv there (%.100s); or add a server, which its shards "
				 "are made anew on: volctl server add ADDR",
				 st->away->address);
		return;
	}
	moving_blocked(&state, st->message, sizeof(st->message), &hint);
	snprintf(st->hint, sizeof(st->hint), "%s", hint);
}

/* Not all of it has a place. */
static bool goes_on(struct cluster *c, const struct vol *v)
{
	uint64_t extents;

	pthread_mutex_lock(&c->lock);
	extents = v->stat.extents;
	pthread_mutex_unlock(&c->lock);
	return extents * v->k * WEFT_SHARD_BYTES < v->size;
}

/* Members that a shard can be placed on. */
static unsigned servers_with_room(struct cluster *c)
{
	unsigned n = 0;

	pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; i < c->nservers; i++)
		n += server_is_member(c->servers[i]) &&
		     c->servers[i]->free_bytes >= WEFT_SHARD_BYTES;
	pthread_mutex_unlock(&c->lock);
	return n;
}

/* There may be much space, but on too few servers. */
static void status_room(struct cluster *c, struct status *st)
{
	unsigned room = servers_with_room(c);

	for (unsigned i = 0; i < c->nvols; i++) {
		const struct vol *v = c->vols[i];

		if (v->state != VOL_READY || v->k + v->m <= room || strcmp(st->state, "ok") != 0 ||
		    !goes_on(c, v))
			continue;
		st->state = "degraded";
		snprintf(st->message, sizeof(st->message),
			 "Volume %s (%u+%u) cannot be written to where nothing is yet: that takes "
			 "room on %u servers, and %u have some.",
			 v->name, v->k, v->m, v->k + v->m, room);
		snprintf(st->hint, sizeof(st->hint),
			 "Add a server (volctl server add ADDR), delete volumes, or run fstrim in "
			 "them.");
	}
}

static void status_space(struct status *st)
{
	if (strcmp(st->state, "ok") != 0 || st->size == 0 ||
	    st->free / LOW_SPACE_PERCENT >= st->size / 100)
		return;
	st->state = "low on space";
	snprintf(st->message, sizeof(st->message), "Less than %d %% of the servers' space is free.",
		 LOW_SPACE_PERCENT);
	snprintf(st->hint, sizeof(st->hint),
		 "Add a server (volctl server add ADDR), delete volumes, or run fstrim in them.");
}

static void status_fill(struct cluster *c, struct status *st)
{
	*st = (struct status){.state = "ok", .message = "Everything is fine."};
	if (c->nservers == 0) {
		snprintf(st->message, sizeof(st->message), "There are no servers yet.");
		snprintf(st->hint, sizeof(st->hint),
			 "Start some nbdsrv, then: volctl server add ADDR");
	}
	status_servers(c, st);
	status_volumes(c, st);
	status_damage(c, st);
	status_lost(c, st);
	status_rebuild(c, st);
	status_older(c, st);
	status_waits(c, st);
	status_spare(c, st);
	status_too_many(st);
	status_moves(st);
	status_refuses(c, st);
	status_too_few(c, st);
	status_room(c, st);
	status_space(st);
}

static json_t *status_listen(const struct cluster *c)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < c->nlisten; i++)
		json_array_append_new(list, json_string(c->listen[i]));
	return list;
}

/* Which servers have which version; those that never told are left out. */
static json_t *status_versions(const struct cluster *c)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < c->nservers; i++) {
		const struct server *s = c->servers[i];
		json_t *names = json_object_get(o, s->version);

		if (s->version[0] == '\0')
			continue;
		if (names == NULL) {
			names = json_array();
			json_object_set_new(o, s->version, names);
		}
		json_array_append_new(names, json_string(s->name));
	}
	return o;
}

/* Whether reads are routed, and to how many servers. */
static json_t *status_ebpf(const struct cluster *c)
{
	int open = 0, remote = 0, steered = 0;

	for (unsigned i = 0; i < c->nservers; i++) {
		const char *state = route_server_state(c, c->servers[i]);

		open += strcmp(state, "open") == 0;
		remote += strcmp(state, "remote") == 0;
		steered += strcmp(state, "steered") == 0;
	}
	return json_pack("{s:s, s:s, s:i, s:i, s:i, s:s}", "state", c->bpf != NULL ? "on" : "off",
			 "why", c->bpf_why, "servers", open, "remote", remote, "steered", steered,
			 "remote_why", c->bpf_remote_why);
}

json_t *api_status_json(struct cluster *c)
{
	enum ec_code code = ec_best_code();
	struct rebuild_stat sum;
	struct status st;
	struct utsname host;
	char id[UUID_TEXT_MAX];
	unsigned clients;
	json_t *body;

	status_fill(c, &st);
	pthread_mutex_lock(&c->lock);
	clients = c->connections;
	pthread_mutex_unlock(&c->lock);
	body = json_pack(
		"{s:s, s:s, s:s, s:{s:i, s:i}, s:i, s:i, s:I, s:I, s:s, s:I, s:s, s:s, s:o, "
		"s:s, s:o}",
		"state", st.state, "message", st.message, "hint", st.hint, "servers", "up",
		(int)st.up, "total", (int)st.total, "volumes", (int)c->nvols, "clients",
		(int)clients, "size", (json_int_t)st.size, "free", (json_int_t)st.free, "version",
		PACKAGE_VERSION, "uptime", (json_int_t)(clock_ns() / NS_PER_S - c->started_s),
		"cluster", uuid_format(c->id, id), "code", ec_code_name(code), "listen",
		status_listen(c), "web", c->web, "ebpf", status_ebpf(c));
	sum = status_rebuild_sum(c);
	if (body != NULL && uname(&host) == 0)
		json_object_set_new(body, "kernel", json_string(host.release));
	if (body != NULL) {
		json_object_set_new(body, "rebuild", rebuild_json(&sum));
		json_object_set_new(body, "moves", api_moves_json());
		json_object_set_new(body, "commands", api_commands_json());
	}
	if (body != NULL && st.weakest != NULL) {
		json_object_set_new(body, "spare", json_integer(st.spare));
		json_object_set_new(body, "weakest", json_string(st.weakest->name));
	}
	if (body != NULL && code == EC_RS_VAND)
		json_object_set_new(
			body, "warning",
			json_string("Only the slow erasure code rs_vand is here: install "
				    "libisal2 for one that is 20 times faster."));
	return body;
}

static void status_collected(void *arg)
{
	struct api_call *call = arg;
	struct cluster *c = call->cluster;
	struct http_request *r = api_call_end(call);
	json_t *body;

	if (r == NULL)
		return;
	body = api_status_json(c);
	if (body != NULL) /* not what goes to each browser each second */
		json_object_set_new(body, "server_versions", status_versions(c));
	api_json(r, 200, body);
}

void api_status_get(struct cluster *c, struct http_request *r, const char *name)
{
	engine_collect(c, status_collected, api_later(c, r, ""));
}
