/*
 * /volumes/NAME/attach and detach, /hosts/NAME/power: what volmgr lets a command of its
 * configuration do. Each is noted with who asked for it and how it went, also when nobody waited
 * for the answer.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "attach.h"
#include "command.h"
#include "power.h"
#include "banned.h"

struct ordered {
	struct api_call *call;
	char who[HTTP_WHO_MAX];
};

static const char *const events[COMMANDS] = {
	[COMMAND_ATTACH] = "volume.attached", [COMMAND_DETACH] = "volume.detached",
	[COMMAND_STOP] = "host.stopped",      [COMMAND_START] = "host.started",
	[COMMAND_OFF] = "host.off",	      [COMMAND_WAKE] = "host.woken",
};

json_t *api_commands_json(void)
{
	json_t *list = json_array();

	for (int i = 0; i < COMMANDS; i++)
		if (command_known((enum command)i))
			json_array_append_new(list, json_string(command_name((enum command)i)));
	return list;
}

static void ordered_failed(struct http_request *r, const struct command_run *run)
{
	struct refusal refusal;

	refuse(&refusal, 502, "command_failed", "The command for %s %s failed: %s", run->object,
	       command_name(run->which), run->said);
	refuse_hint(&refusal, "It is in volmgr's part of weft.conf(5).");
	api_refuse(r, &refusal);
}

static void ordered_done(struct command_run *run)
{
	struct ordered *o = run->arg;
	struct api_call *call = o->call;
	struct cluster *c = call->cluster;
	struct http_request *r = api_call_end(call);

	if (run->good)
		events_note(c, o->who, events[run->which], run->object, "%s", run->said);
	else
		events_note(c, o->who, "command.failed", run->object, "%s: %s",
			    command_name(run->which), run->said);
	free(o);
	if (r == NULL)
		return;
	if (run->good)
		api_json(r, 200, json_pack("{s:s, s:s}", "name", run->object, "said", run->said));
	else
		ordered_failed(r, run);
}

static void order(struct cluster *c, struct http_request *r, enum command which, const char *name)
{
	struct refusal refusal;
	struct command_run *run = command_start(c, which, name, &refusal);
	struct ordered *o;

	if (run == NULL) {
		api_refuse(r, &refusal);
		return;
	}
	o = mem_must(sizeof(*o));
	snprintf(o->who, sizeof(o->who), "%s", r->who);
	o->call = api_later(c, r, name);
	run->done = ordered_done;
	run->arg = o;
}

/* ---- volumes on this machine --------------------------------------------------------------- */

/* By the record that volctl leaves; WEFT_RUN_DIR is for both. */
const char *api_attached_device(const char *volume)
{
	static struct attach_record r;

	return attach_load(volume, &r) == 0 && attach_alive(&r) ? r.device : NULL;
}

static void order_volume(struct cluster *c, struct http_request *r, enum command which,
			 const char *name)
{
	struct refusal refusal;

	if (volume_by_name(c, name) != NULL) {
		order(c, r, which, name);
		return;
	}
	refuse_unknown(&refusal, "volume", name);
	api_refuse(r, &refusal);
}

void api_volume_attach(struct cluster *c, struct http_request *r, const char *name)
{
	order_volume(c, r, COMMAND_ATTACH, name);
}

void api_volume_detach(struct cluster *c, struct http_request *r, const char *name)
{
	order_volume(c, r, COMMAND_DETACH, name);
}

/* ---- hosts --------------------------------------------------------------------------------- */

static json_t *impact_json(const struct power_impact *p)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < p->nworst; i++)
		json_array_append_new(list, json_pack("{s:s, s:s}", "name", p->worst[i]->name,
						      "state", p->worst_state[i]));
	return json_pack("{s:i, s:i, s:i, s:o}", "unavailable", (int)p->count[POWER_UNAVAILABLE],
			 "waiting", (int)p->count[POWER_WAITING], "less", (int)p->count[POWER_LESS],
			 "volumes", list);
}

/* 0, or -1 with a refusal. */
static int host_look(struct cluster *c, const char *host, struct power_impact *p,
		     struct refusal *refusal)
{
	int err = power_impact(c, host, p);

	if (p->servers == 0) {
		refuse(refusal, 404, "no_such_host", "There is no host of this name.");
		refuse_hint(refusal, "Servers say which host they are on: volctl server list");
		return -1;
	}
	if (err == 0)
		return 0;
	refuse(refusal, 500, "metadata", "The extent maps cannot be read: %s.", strerror(-err));
	refuse_hint(refusal, "Look at volmgr's messages.");
	return -1;
}

void api_host_power_get(struct cluster *c, struct http_request *r, const char *name)
{
	struct power_impact p;
	struct refusal refusal;

	if (host_look(c, name, &p, &refusal) != 0)
		api_refuse(r, &refusal);
	else
		api_json(r, 200,
			 json_pack("{s:s, s:i, s:i, s:o, s:o}", "host", name, "servers",
				   (int)p.servers, "up", (int)p.up, "commands", api_commands_json(),
				   "impact", impact_json(&p)));
}

static int power_action(const char *text, enum command *out, struct refusal *refusal)
{
	for (int i = COMMAND_STOP; i <= COMMAND_WAKE; i++)
		if (strcmp(text, command_name((enum command)i)) == 0) {
			*out = (enum command)i;
			return 0;
		}
	refuse(refusal, 400, "bad_request", "\"action\" is stop, start, off or wake.");
	return -1;
}

static int power_parse(const struct http_request *r, enum command *which, bool *force,
		       struct refusal *refusal)
{
	static const char *const known[] = {"action", "force", NULL};
	json_t *o = api_parse_object(r->body, r->body_len, known, refusal);
	char action[16] = "";
	int err = -1;

	*force = false;
	if (o != NULL && api_parse_text(o, "action", action, sizeof(action), refusal) == 0 &&
	    api_parse_bool(o, "force", force, refusal) == 0)
		err = power_action(action, which, refusal);
	json_decref(o);
	return err;
}

/* What stops volumes wants to be asked for twice. */
static int power_allowed(const struct power_impact *p, enum command which, bool force,
			 struct refusal *refusal)
{
	unsigned n = p->count[POWER_UNAVAILABLE] + p->count[POWER_WAITING];

	if (n == 0 || force || which == COMMAND_START || which == COMMAND_WAKE)
		return 0;
	refuse(refusal, 409, "would_stop_volumes",
	       "Without this host, parts of %u volume%s could not be read or written until it is "
	       "back: %s%s.",
	       n, n == 1 ? "" : "s", p->worst[0]->name, n > 1 ? " and others" : "");
	refuse_hint(refusal, "Bring other servers back first, or add \"force\": true.");
	return -1;
}

void api_host_power(struct cluster *c, struct http_request *r, const char *name)
{
	struct refusal refusal;
	struct power_impact p;
	enum command which;
	bool force;

	if (power_parse(r, &which, &force, &refusal) != 0 ||
	    host_look(c, name, &p, &refusal) != 0 || power_allowed(&p, which, force, &refusal) != 0)
		api_refuse(r, &refusal);
	else
		order(c, r, which, name);
}
