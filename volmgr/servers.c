/*
 * The cluster's servers: a list that people keep, the metadata remembers and data threads connect
 * to. A server is known by its number and its store's identifier, never by its address alone.
 */
#include "config.h"

#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "moving.h"
#include "people.h"
#include "place.h"
#include "records.h"
#include "route.h"
#include "stats.h"
#include "volmgr.h"
#include "banned.h"

#define FREE_UNKNOWN_BYTES (1ULL << 30)
#define FIRST_VOLUME_MAX   (1ULL << 40)

static_assert(PLACE_CANDIDATES_MAX >= SERVERS_MAX, "every server can be a candidate");

static const char *const server_states[] = {
	[SERVER_CONNECTING] = "connecting",
	[SERVER_UP] = "up",
	[SERVER_DOWN] = "down",
	[SERVER_WRONG_STORE] = "wrong store",
};

const char *server_state_name(const struct server *s)
{
	return server_states[s->state];
}

struct server *server_by_number(struct cluster *c, uint32_t number)
{
	return number <= SERVER_NUMBER_MAX ? c->by_number[number] : NULL;
}

struct server *server_by_name(struct cluster *c, const char *name)
{
	for (unsigned i = 0; i < c->nservers; i++)
		if (strcmp(c->servers[i]->name, name) == 0)
			return c->servers[i];
	return NULL;
}

bool server_is_member(const struct server *s)
{
	return !s->removing && s->duty == DUTY_STAY;
}

int server_put(struct cluster *c, const struct server *s)
{
	struct meta_batch *b = meta_batch_new();
	char key[RECORD_KEY_MAX], *value = record_server(s);
	int err = -ENOMEM;

	if (b != NULL && value != NULL) {
		meta_batch_put(b, key_server(key, s->number), value, strlen(value));
		err = meta_commit_wait(c->meta, b);
	} else {
		meta_batch_free(b);
	}
	free(value);
	return err;
}

void servers_count(struct cluster *c, unsigned *total, unsigned *up)
{
	*total = *up = 0;
	for (unsigned i = 0; i < c->nservers; i++) {
		*total += server_is_member(c->servers[i]);
		*up += server_is_member(c->servers[i]) && c->servers[i]->state == SERVER_UP;
	}
}

/* Servers on one host share the number of the first of them. */
static uint32_t host_id_of(const struct cluster *c, const struct server *s, unsigned before)
{
	for (unsigned i = 0; i < before; i++)
		if (strcmp(c->servers[i]->host, s->host) == 0)
			return c->servers[i]->host_id;
	return s->number;
}

static void servers_insert(struct cluster *c, struct server *s)
{
	s->age = age_new(c, s->log_durable, s->older);
	pthread_mutex_lock(&c->lock);
	s->host_id = host_id_of(c, s, c->nservers);
	c->servers[c->nservers++] = s;
	c->by_number[s->number] = s;
	pthread_mutex_unlock(&c->lock);
}

void servers_count_hosts(struct cluster *c)
{
	pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; i < c->nservers; i++)
		c->servers[i]->host_id = host_id_of(c, c->servers[i], i);
	pthread_mutex_unlock(&c->lock);
}

/* ---- telling the data threads -------------------------------------------------------------- */

static void peer_add_done(struct task *t)
{
	if (t->err != 0)
		log_error("data thread %u cannot use a server: %s", t->worker->index,
			  strerror(-t->err));
	free(t);
}

static void server_connect(struct server *s, struct worker *w)
{
	struct peer_add *add = mem_must(sizeof(*add));

	add->number = s->number;
	snprintf(add->name, sizeof(add->name), "%s", s->name);
	add->addr = s->addr;
	memcpy(add->store, s->store, WEFT_UUID_BYTES);
	add->age = s->age;
	add->report = w->index == 0;
	add->task.run = peer_add_run;
	add->task.done = peer_add_done;
	worker_task(w, &add->task);
}

void server_connect_all(struct cluster *c, struct server *s)
{
	for (unsigned i = 0; i < c->nworkers; i++)
		if (c->workers[i]->connected)
			server_connect(s, c->workers[i]);
}

static void peer_move_done(struct task *t)
{
	free(t);
}

void server_go_there(struct cluster *c, struct server *s)
{
	if (!s->resolved) { /* nobody has tried to connect yet */
		s->resolved = true;
		server_connect_all(c, s);
		return;
	}
	for (unsigned i = 0; i < c->nworkers; i++) {
		struct peer_move *mv;

		if (!c->workers[i]->connected)
			continue;
		mv = mem_must(sizeof(*mv));
		mv->number = s->number;
		mv->addr = s->addr;
		mv->task.run = peer_move_run;
		mv->task.done = peer_move_done;
		worker_task(c->workers[i], &mv->task);
	}
}

void servers_connect(struct cluster *c, struct worker *w)
{
	if (w->connected)
		return;
	w->connected = true;
	for (unsigned i = 0; i < c->nservers; i++)
		if (c->servers[i]->resolved)
			server_connect(c->servers[i], w);
}

/* ---- start --------------------------------------------------------------------------------- */

static int servers_load_one(void *arg, const char *key, const void *value, size_t len)
{
	struct cluster *c = arg;
	struct server *s = mem_must(sizeof(*s));
	const char *why;

	if (c->nservers == SERVERS_MAX || record_server_parse(value, len, s) != 0) {
		log_error("the metadata's entry %s cannot be read", key);
		free(s);
		return -EUCLEAN;
	}
	s->usable = server_is_member(s); /* until it says how much room it has */
	s->free_bytes = FREE_UNKNOWN_BYTES;
	s->resolved = addr_parse(s->address, 0, &s->addr, &why) == 0;
	s->state = s->resolved ? SERVER_CONNECTING : SERVER_DOWN;
	if (!s->resolved) {
		snprintf(s->why, sizeof(s->why), "%s", why);
		log_warn("server %s: %s: %s", s->name, s->address, why);
	}
	servers_insert(c, s);
	return 0;
}

/*
 * Servers know volumes by their numbers. They may have some of another volmgr, or of one whose
 * metadata was lost: each begins to count somewhere else, so that no number means two volumes.
 */
uint64_t servers_first_volume(void)
{
	uint64_t random;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		random = clock_ns();
	return 1 + random % FIRST_VOLUME_MAX;
}

static int next_load(struct cluster *c, const char *key, uint64_t first, uint64_t *next)
{
	void *value;
	size_t len;
	int err = c->meta->ops->get(c->meta, key, &value, &len);
	uint64_t n;

	*next = first;
	if (err != 0)
		return err == -ENOENT ? 0 : err;
	if (len == sizeof(n)) {
		memcpy(&n, value, sizeof(n));
		*next = le64toh(n);
	}
	free(value);
	return len == sizeof(n) && *next > 0 ? 0 : -EUCLEAN;
}

int servers_load(struct cluster *c, const char **why)
{
	int err = next_load(c, "1/next/server", 1, &c->next_server);

	if (err == 0)
		err = next_load(c, "1/next/volume", servers_first_volume(), &c->next_volume);
	if (err == 0)
		err = c->meta->ops->each(c->meta, "1/server/", servers_load_one, c);
	if (err != 0)
		*why = "the list of servers cannot be read from the metadata";
	return err;
}

/* ---- news from a peer ---------------------------------------------------------------------- */

void servers_changed(struct cluster *c, uint32_t number, enum server_state state, const char *why,
		     const char *version)
{
	struct server *s = server_by_number(c, number);

	if (s == NULL)
		return;
	if (state == SERVER_UP)
		log_info("server %s is up (%s)", s->name, s->address);
	else
		log_warn("server %s is %s: %s (%s)", s->name, server_states[state], why,
			 s->address);
	if ((s->state == SERVER_UP) != (state == SERVER_UP) &&
	    (s->state != SERVER_CONNECTING || state != SERVER_UP))
		events_note(c, "", state == SERVER_UP ? "server.up" : "server.down", s->name, "%s",
			    why);
	if (s->state == SERVER_UP && state != SERVER_UP)
		age_keep(c, s);
	s->state = state;
	if (state == SERVER_UP)
		snprintf(s->version, sizeof(s->version), "%s", version);
	snprintf(s->why, sizeof(s->why), "%s", why);
	moving_look();
	if (state == SERVER_UP)
		health_now(c);
	s->tidy |= state == SERVER_UP;
}

/* ---- placing ------------------------------------------------------------------------------- */

static void server_placed(struct server *s, uint64_t now)
{
	s->free_bytes -= s->free_bytes < WEFT_SHARD_BYTES ? s->free_bytes : WEFT_SHARD_BYTES;
	s->placed_ns = now;
}

/* All fitting ones that are up, then some that are not. */
static int servers_place_short(struct cluster *c, struct place_candidate *list, unsigned count,
			       unsigned fitting, uint32_t *servers)
{
	int err = place_choose(list, (int)c->nservers, fitting, WEFT_SHARD_BYTES, &c->seed, servers,
			       NULL);

	for (unsigned i = 0; i < c->nservers; i++)
		list[i].usable = c->servers[i]->usable && !list[i].usable;
	return err != 0 ? err
			: place_choose(list, (int)c->nservers, count - fitting, WEFT_SHARD_BYTES,
				       &c->seed, servers + fitting, NULL);
}

/*
 * -EAGAIN: there are enough servers, but some are not connected just now, which is no reason to
 * tell a client that its disk is full.
 */
int servers_place(struct cluster *c, struct worker *w, unsigned count, unsigned up,
		  uint32_t *servers)
{
	struct place_candidate list[SERVERS_MAX];
	uint64_t now = clock_ns();
	unsigned known = 0, fitting;
	int err;

	pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; i < c->nservers; i++) {
		const struct server *s = c->servers[i];
		const struct peer *p = wpeer_find(w, s->number);

		list[i] = (struct place_candidate){
			.server = s->number,
			.host = s->host_id,
			.free_bytes = s->free_bytes,
			.usable = s->usable && p != NULL && p->up,
		};
		known += s->usable && s->free_bytes >= WEFT_SHARD_BYTES;
	}
	err = place_choose(list, (int)c->nservers, count, WEFT_SHARD_BYTES, &c->seed, servers,
			   &fitting);
	if (err == -ENOSPC && fitting < count && fitting >= up && known >= count)
		err = servers_place_short(c, list, count, fitting, servers);
	for (unsigned i = 0; err == 0 && i < count; i++)
		server_placed(server_by_number(c, servers[i]), now);
	pthread_mutex_unlock(&c->lock);
	return err == -ENOSPC && known >= count ? -EAGAIN : err;
}

/* ---- add ----------------------------------------------------------------------------------- */

struct server_add {
	struct peer_probe probe; /* first */
	struct cluster *cluster;
	struct server *server;
	void (*cb)(void *arg, const struct refusal *r, struct server *s);
	void *arg;
};

int servers_check_address(const struct cluster *c, const char *address, const struct server *own,
			  struct refusal *r)
{
	for (unsigned i = 0; i < c->nservers; i++)
		if (c->servers[i] != own && strcmp(c->servers[i]->address, address) == 0) {
			refuse(r, 409, "address_taken",
			       "The address %s belongs to server %s already.", address,
			       c->servers[i]->name);
			refuse_hint(r, "See: volctl server list");
			return -1;
		}
	return 0;
}

static int server_add_check(struct cluster *c, const struct server *s, struct refusal *r)
{
	struct server *other;

	if (c->nservers == SERVERS_MAX) {
		refuse(r, 409, "too_many_servers", "A cluster has at most %u servers.",
		       SERVERS_MAX);
		return -1;
	}
	other = server_by_name(c, s->name);
	if (other != NULL) {
		refuse(r, 409, "name_taken", "There is a server %s already, at %s.", s->name,
		       other->address);
		refuse_hint(r, "Choose another name with --name.");
		return -1;
	}
	return servers_check_address(c, s->address, NULL, r);
}

static int server_add_store(struct cluster *c, const struct server *s, struct refusal *r)
{
	for (unsigned i = 0; i < c->nservers; i++)
		if (memcmp(c->servers[i]->store, s->store, WEFT_UUID_BYTES) == 0) {
			refuse(r, 409, "store_taken",
			       "The store at %s is server %s already, under the address %s.",
			       s->address, c->servers[i]->name, c->servers[i]->address);
			refuse_hint(r, "One store is one server. Remove %s first to add it anew.",
				    c->servers[i]->name);
			return -1;
		}
	return 0;
}

static bool was_recovered(const struct cluster *c)
{
	for (unsigned i = 0; i < c->nvols; i++)
		if (c->vols[i]->recovered != 0)
			return true;
	return false;
}

static int server_add_store_meta(struct cluster *c, struct server *s, struct refusal *r)
{
	struct meta_batch *b = meta_batch_new();
	char key[RECORD_KEY_MAX], *value;
	uint64_t next = htole64(c->next_server + 1);
	int err = -ENOMEM;

	s->number = (uint32_t)c->next_server;
	s->late = was_recovered(c);
	value = record_server(s);
	if (b != NULL && value != NULL) {
		meta_batch_require(b, key_server(key, s->number), NULL, 0);
		meta_batch_put(b, key, value, strlen(value));
		meta_batch_put(b, "1/next/server", &next, sizeof(next));
		err = meta_commit_wait(c->meta, b);
	} else {
		meta_batch_free(b);
	}
	free(value);
	if (err == 0) {
		c->next_server++;
		return 0;
	}
	log_error("server %s could not be written to the metadata: %s", s->name, strerror(-err));
	refuse(r, 500, "metadata", "The metadata could not be written: %s.", strerror(-err));
	refuse_hint(r, "Look at volmgr's messages and at the free space of its state directory.");
	return -1;
}

static void server_add_end(struct server_add *add, const struct refusal *r)
{
	add->cb(add->arg, r, r == NULL ? add->server : NULL);
	if (r != NULL)
		free(add->server);
	free(add);
}

void servers_connect_hint(struct refusal *r, int err)
{
	if (err == -ECONNREFUSED || err == -ENOENT || err == -ETIMEDOUT)
		refuse_hint(r, "Is nbdsrv running there? Check its --listen address.");
	else
		refuse_hint(r, "It must be an nbdsrv with --store and this cluster's secret.");
}

static void server_add_probed(struct task *t)
{
	struct server_add *add = (struct server_add *)t;
	struct cluster *c = add->cluster;
	struct server *s = add->server;
	struct refusal r;

	if (t->err != 0) {
		refuse(&r, 409, "cannot_connect", "The server at %s cannot be added: %s.",
		       s->address, add->probe.why);
		servers_connect_hint(&r, t->err);
		server_add_end(add, &r);
		return;
	}
	memcpy(s->store, add->probe.store, WEFT_UUID_BYTES);
	/* the list may have changed while we were asking */
	if (server_add_check(c, s, &r) != 0 || server_add_store(c, s, &r) != 0 ||
	    server_add_store_meta(c, s, &r) != 0) {
		server_add_end(add, &r);
		return;
	}
	snprintf(s->version, sizeof(s->version), "%s", add->probe.version);
	s->stat = add->probe.stat;
	s->stat_known = true;
	s->free_bytes = s->stat.free_bytes;
	s->usable = s->stat.slots_used < s->stat.slots;
	s->state = SERVER_UP; /* it has just answered */
	servers_insert(c, s);
	server_connect_all(c, s);
	log_info("server %s was added (%s)", s->name, s->address);
	moving_look();
	server_add_end(add, NULL);
}

/* The part of an address that names a machine. Local addresses are this machine's name. */
static void server_host(const struct addr *a, char *host)
{
	char text[ADDR_TEXT_MAX], *p = text;
	size_t n;

	if (addr_is_local(a)) {
		if (gethostname(text, sizeof(text)) < 0)
			snprintf(text, sizeof(text), "localhost");
		text[sizeof(text) - 1] = '\0';
	} else {
		addr_format(a, text);
		if (strncmp(p, "tcp:", 4) == 0)
			p += 4;
		n = strlen(p);
		while (n > 0 && p[n - 1] != ':')
			n--;
		if (n > 0)
			p[n - 1] = '\0';
	}
	snprintf(host, NAME_MAX_BYTES + 1, "%.*s", (int)NAME_MAX_BYTES, p);
	for (char *q = host; *q != '\0'; q++)
		if (*q == ':')
			*q = '-';
		else if (*q == '[' || *q == ']')
			*q = 'v'; /* of an IPv6 address: a host's name starts with a letter */
		else if (!isalnum((unsigned char)*q) && strchr("._-", *q) == NULL)
			*q = '-';
	/* a machine may be without a name, "(none)"; what is stored must be read again */
	if (!name_valid(host))
		snprintf(host, NAME_MAX_BYTES + 1, "localhost");
}

int servers_check_name(const char *name, struct refusal *r)
{
	if (name_valid(name))
		return 0;
	refuse(r, 400, "bad_name", "This is no name that a server or host can have.");
	refuse_hint(
		r,
		"Use 1 to %u letters, digits, '.', '_' and '-', starting with a letter or digit.",
		NAME_MAX_BYTES);
	return -1;
}

static int server_add_names(struct server_add *add, const char *name, const char *host,
			    struct refusal *r)
{
	struct server *s = add->server;
	char made[32];

	if (name == NULL) {
		snprintf(made, sizeof(made), "server-%u", (unsigned)add->cluster->next_server);
		name = made;
	}
	if (servers_check_name(name, r) != 0 || (host != NULL && servers_check_name(host, r) != 0))
		return -1;
	snprintf(s->name, sizeof(s->name), "%s", name);
	if (host != NULL)
		snprintf(s->host, sizeof(s->host), "%s", host);
	else
		server_host(&s->addr, s->host);
	return 0;
}

void servers_add(struct cluster *c, const char *address, const char *name, const char *host,
		 void (*cb)(void *arg, const struct refusal *r, struct server *s), void *arg)
{
	struct server_add *add = mem_must(sizeof(*add));
	const char *why = "it cannot be used";
	struct refusal r;

	add->cluster = c;
	add->cb = cb;
	add->arg = arg;
	add->server = mem_must(sizeof(*add->server));
	if (addr_parse(address, SERVER_PORT_DEFAULT, &add->server->addr, &why) != 0) {
		refuse(&r, 400, "bad_address", "This is no address of a server: %s.", why);
		refuse_hint(&r, "Write tcp:HOST:PORT or unix:/path.");
		server_add_end(add, &r);
		return;
	}
	addr_format(&add->server->addr, add->server->address);
	add->server->resolved = true;
	if (server_add_names(add, name, host, &r) != 0 ||
	    server_add_check(c, add->server, &r) != 0) {
		server_add_end(add, &r);
		return;
	}
	if (c->next_server > SERVER_NUMBER_MAX) {
		refuse(&r, 409, "too_many_servers",
		       "All server numbers of this cluster are used up.");
		server_add_end(add, &r);
		return;
	}
	add->probe.addr = add->server->addr;
	add->probe.task.run = peer_probe_run;
	add->probe.task.done = server_add_probed;
	worker_task(c->workers[0], &add->probe.task);
}

/* ---- remove -------------------------------------------------------------------------------- */

static void peer_remove_done(struct task *t)
{
	free(t);
}

static void server_disconnect(struct cluster *c, uint32_t number)
{
	for (unsigned i = 0; i < c->nworkers; i++) {
		struct peer_remove *rm = mem_must(sizeof(*rm));

		rm->number = number;
		rm->task.run = peer_remove_run;
		rm->task.done = peer_remove_done;
		worker_task(c->workers[i], &rm->task);
	}
}

int server_forget(struct cluster *c, struct server *s)
{
	struct meta_batch *b = meta_batch_new();
	char key[RECORD_KEY_MAX];
	int err = -ENOMEM;

	if (b != NULL) {
		meta_batch_delete(b, key_server(key, s->number));
		err = meta_commit_wait(c->meta, b);
	}
	if (err != 0)
		return err;
	server_disconnect(c, s->number);
	route_server_forget(c, s->number);
	pthread_mutex_lock(&c->lock);
	c->by_number[s->number] = NULL;
	for (unsigned i = 0; i < c->nservers; i++)
		if (c->servers[i] == s) {
			memmove(&c->servers[i], &c->servers[i + 1],
				(--c->nservers - i) * sizeof(c->servers[0]));
			break;
		}
	pthread_mutex_unlock(&c->lock);
	health_now(c); /* tells guards who is a member now */
	log_info("server %s was removed (%s)", s->name, s->address);
	watch_free(s->watch);
	free(s);
	return 0;
}
