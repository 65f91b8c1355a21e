/*
 * Where a server is: its address, and the host that it counts for. A server is its store, so an
 * address is taken only when that very store answers there; then every data thread goes there at
 * once. What was written meanwhile is what is made anew, as after any break.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "moving.h"
#include "volmgr.h"
#include "banned.h"

struct server_change {
	struct peer_probe probe; /* first */
	struct cluster *cluster;
	uint32_t number; /* it may be removed while the address is looked at */
	char name[NAME_MAX_BYTES + 1];
	char address[ADDR_TEXT_MAX];   /* empty: stays */
	char host[NAME_MAX_BYTES + 1]; /* likewise */
	void (*cb)(void *arg, const struct refusal *r, struct server *s);
	void *arg;
};

static void change_end(struct server_change *ch, const struct refusal *r, struct server *s)
{
	ch->cb(ch->arg, r, s);
	free(ch);
}

static int change_put(struct cluster *c, struct server *s, const struct server_change *ch)
{
	char address[ADDR_TEXT_MAX], host[NAME_MAX_BYTES + 1];
	int err;

	memcpy(address, s->address, sizeof(address));
	memcpy(host, s->host, sizeof(host));
	if (ch->address[0] != '\0')
		memcpy(s->address, ch->address, sizeof(s->address));
	if (ch->host[0] != '\0')
		memcpy(s->host, ch->host, sizeof(s->host));
	err = server_put(c, s);
	if (err == 0)
		return 0;
	memcpy(s->address, address, sizeof(address));
	memcpy(s->host, host, sizeof(host));
	log_error("server %s could not be changed in the metadata: %s", s->name, strerror(-err));
	return err;
}

/* The metadata first: after a restart nobody looks where it was. */
static void change_apply(struct server_change *ch, struct server *s)
{
	struct cluster *c = ch->cluster;
	struct refusal r;
	int err = change_put(c, s, ch);

	if (err != 0) {
		refuse(&r, 500, "metadata", "The metadata could not be written: %s.",
		       strerror(-err));
		refuse_hint(
			&r,
			"Look at volmgr's messages and at the free space of its state directory.");
		change_end(ch, &r, NULL);
		return;
	}
	if (ch->host[0] != '\0')
		servers_count_hosts(c);
	if (ch->address[0] != '\0') {
		s->addr = ch->probe.addr;
		server_go_there(c, s);
		health_now(c); /* tells guards where the members are now */
	}
	log_info("server %s is at %s now, on host %s", s->name, s->address, s->host);
	moving_look();
	change_end(ch, NULL, s);
}

static const struct server *server_by_store(const struct cluster *c, const uint8_t *store)
{
	for (unsigned i = 0; i < c->nservers; i++)
		if (memcmp(c->servers[i]->store, store, WEFT_UUID_BYTES) == 0)
			return c->servers[i];
	return NULL;
}

/* Is it what it was? */
static int change_check_store(const struct server_change *ch, const struct server *s,
			      struct refusal *r)
{
	const struct server *other = server_by_store(ch->cluster, ch->probe.store);

	if (other == s)
		return 0;
	if (other != NULL)
		refuse(r, 409, "another_store",
		       "The store at %s is that of server %s. Server %s stays at %s.", ch->address,
		       other->name, s->name, s->address);
	else
		refuse(r, 409, "another_store",
		       "The store at %s is not that of server %s, which stays at %s.", ch->address,
		       s->name, s->address);
	refuse_hint(r, "Start the nbdsrv that has this server's store there (%s).", ch->address);
	return -1;
}

static void change_probed(struct task *t)
{
	struct server_change *ch = (struct server_change *)t;
	struct server *s = server_by_number(ch->cluster, ch->number);
	struct refusal r;

	if (s == NULL) {
		refuse_unknown(&r, "server", ch->name);
		change_end(ch, &r, NULL);
	} else if (t->err != 0) {
		refuse(&r, 409, "cannot_connect",
		       "Server %s cannot be reached at %s: %s. It stays at %s.", s->name,
		       ch->address, ch->probe.why, s->address);
		servers_connect_hint(&r, t->err);
		change_end(ch, &r, NULL);
	} else if (change_check_store(ch, s, &r) != 0 ||
		   servers_check_address(ch->cluster, ch->address, s, &r) != 0) {
		change_end(ch, &r, NULL);
	} else {
		change_apply(ch, s);
	}
}

static int change_address(struct server_change *ch, const struct server *s, const char *address,
			  struct refusal *r)
{
	const char *why = "it cannot be used";

	if (addr_parse(address, SERVER_PORT_DEFAULT, &ch->probe.addr, &why) != 0) {
		refuse(r, 400, "bad_address", "This is no address of a server: %s.", why);
		refuse_hint(r, "Write tcp:HOST:PORT or unix:/path.");
		return -1;
	}
	addr_format(&ch->probe.addr, ch->address);
	if (strcmp(ch->address, s->address) == 0) {
		ch->address[0] = '\0'; /* it is there */
		return 0;
	}
	return servers_check_address(ch->cluster, ch->address, s, r);
}

void server_change(struct cluster *c, const char *name, const char *address, const char *host,
		   void (*cb)(void *arg, const struct refusal *r, struct server *s), void *arg)
{
	struct server_change *ch = mem_must(sizeof(*ch));
	struct server *s = server_by_name(c, name);
	struct refusal r;
	int err = -1;

	ch->cluster = c;
	ch->cb = cb;
	ch->arg = arg;
	if (s == NULL)
		refuse_unknown(&r, "server", name);
	else if (host[0] == '\0' || servers_check_name(host, &r) == 0)
		err = address[0] != '\0' ? change_address(ch, s, address, &r) : 0;
	if (err != 0) {
		change_end(ch, &r, NULL);
		return;
	}
	ch->number = s->number;
	snprintf(ch->name, sizeof(ch->name), "%s", name);
	snprintf(ch->host, sizeof(ch->host), "%s", host);
	if (ch->address[0] == '\0') {
		change_apply(ch, s);
		return;
	}
	ch->probe.task.run = peer_probe_run;
	ch->probe.task.done = change_probed;
	worker_task(c->workers[0], &ch->probe.task);
}
