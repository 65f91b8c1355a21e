/*
 * The guards of this server (bpf/guard.h): one for each interface of --guard. Who may send to our
 * ports is what people said with --member, or else what volmgr tells over its connection, which it
 * has proved to be volmgr's by then: the addresses of the cluster's servers; and it itself, as we
 * see it. Until it has told, they are open, for where volmgr is nobody else knows.
 *
 * A guard that cannot be had is no reason not to serve: each connection has to know the secret all
 * the same. That is said once, in the log and by STAT.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "bpf/guard.h"
#include "nbdsrv.h"

#include "banned.h"

static_assert(WEFT_MEMBERS_MAX + 1 <= GUARD_MEMBERS_MAX, "there is room");
static_assert(sizeof(struct guard_addr) == 16, "as in MEMBERS");

struct guarding {
	struct guard *guards[NBDSRV_GUARDS_MAX];
	unsigned nguards;
	struct guard_addr fixed[NBDSRV_MEMBERS_MAX]; /* of --member */
	unsigned nfixed;
	bool closed;
	unsigned nmembers;
	struct env *env;
	struct io_timer alive;
};

static const char *const hows[] = {
	[GUARD_XDP] = "by XDP",
	[GUARD_XDP_GENERIC] = "by XDP, in the kernel's generic way",
	[GUARD_TC] = "by traffic control",
};

/* ---- members ------------------------------------------------------------------------------- */

static void guarding_set(struct guarding *g, const struct guard_addr *list, unsigned n)
{
	int err;

	for (unsigned i = 0; i < g->nguards; i++) {
		err = guard_members(g->guards[i], list, n);
		if (err < 0)
			log_error("the guard's members cannot be changed: %s", strerror(-err));
	}
	g->closed = true;
	g->nmembers = n;
}

void guarding_members(struct guarding *g, struct nbd_req *req)
{
	struct guard_addr list[WEFT_MEMBERS_MAX + 1];
	unsigned n = req->len / sizeof(list[0]);
	const char *why;
	struct addr from;

	assert(n <= WEFT_MEMBERS_MAX);
	if (g->nguards == 0 || g->nfixed > 0) {
		nbd_req_done(req, 0);
		return;
	}
	if (n > 0)
		memcpy(list, req->payload->data, n * sizeof(list[0]));
	if (addr_parse(nbd_session_peer(req->session), 0, &from, &why) == 0 &&
	    guard_addr_from(&from.sa, &list[n]))
		n++;
	if (!g->closed)
		log_info("volmgr has told the members: the guard is closed");
	/* none at all: it came by a socket of this machine, and so does everybody */
	guarding_set(g, list, n);
	nbd_req_done(req, 0);
}

void guarding_stat(const struct guarding *g, struct weft_stat *st)
{
	uint64_t sum[GUARD_COUNTS] = {0};

	for (unsigned i = 0; i < g->nguards; i++) {
		guard_counts(g->guards[i], sum);
		st->guard = guard_how(g->guards[i]);
	}
	st->guard_closed = g->nguards > 0 && g->closed;
	st->guard_members = g->nmembers;
	st->guard_dropped = sum[GUARD_DROPPED];
	st->guard_passed = sum[GUARD_PASSED];
}

/* ---- beginning and end --------------------------------------------------------------------- */

static bool guarding_fixed(struct guarding *g, const struct nbdsrv_options *opt)
{
	for (unsigned i = 0; i < opt->nmembers; i++) {
		const char *why = "it is not an address";
		struct addr a;

		if (addr_parse(opt->members[i], 1, &a, &why) != 0 ||
		    !guard_addr_from(&a.sa, &g->fixed[g->nfixed])) {
			log_error("cannot let %s in: %s", opt->members[i], why);
			return false;
		}
		g->nfixed++;
	}
	return true;
}

static unsigned guarding_ports(const struct listen *l, struct guard_port ports[GUARD_PORTS_MAX])
{
	static const struct guard_addr any4 = {
		.byte = {[10] = 0xff, [11] = 0xff}}; /* 0.0.0.0: all */
	const struct addr *a;
	unsigned n = 0;

	for (unsigned i = 0; (a = listen_address(l, i)) != NULL; i++) {
		struct guard_port *p = &ports[n];

		memset(p, 0, sizeof(*p));
		if (n == GUARD_PORTS_MAX || !guard_addr_from(&a->sa, &p->addr))
			continue;
		if (memcmp(&p->addr, &any4, sizeof(any4)) == 0)
			memset(&p->addr, 0, sizeof(p->addr));
		p->port = htons((uint16_t)addr_port(a));
		n++;
	}
	return n;
}

static void guarding_one(struct guarding *g, const char *iface, const struct guard_port *ports,
			 unsigned nports)
{
	const char *why = "it listens on no address that others can reach";
	struct guard *guard = nports > 0 ? guard_open(iface, ports, nports, &why) : NULL;

	if (guard == NULL) {
		log_warn("no guard on %s: %s", iface, why);
		return;
	}
	log_info("a guard on %s drops what strangers send to our ports, %s", iface,
		 hows[guard_how(guard)]);
	g->guards[g->nguards++] = guard;
}

struct guarding *guarding_create(const struct nbdsrv_options *opt, const struct listen *l)
{
	struct guarding *g = calloc(1, sizeof(*g));
	struct guard_port ports[GUARD_PORTS_MAX];
	unsigned nports = guarding_ports(l, ports);

	if (g == NULL || !guarding_fixed(g, opt)) {
		free(g);
		return NULL;
	}
	for (unsigned i = 0; i < opt->nguards; i++)
		guarding_one(g, opt->guards[i], ports, nports);
	if (g->nfixed > 0)
		guarding_set(g, g->fixed, g->nfixed);
	return g;
}

static void guarding_alive(struct io_timer *t)
{
	struct guarding *g = (struct guarding *)((char *)t - offsetof(struct guarding, alive));

	for (unsigned i = 0; i < g->nguards; i++)
		guard_alive(g->guards[i]);
	g->env->ops->timer_set(g->env, &g->alive,
			       g->env->ops->now_ns(g->env) + GUARD_ALIVE_S * NS_PER_MS * 1000 / 4);
}

void guarding_start(struct guarding *g, struct env *env)
{
	g->env = env;
	g->alive.fire = guarding_alive;
	if (g->nguards > 0)
		guarding_alive(&g->alive);
}

void guarding_stop(struct guarding *g)
{
	if (g->nguards > 0)
		g->env->ops->timer_cancel(g->env, &g->alive);
}

void guarding_free(struct guarding *g)
{
	for (unsigned i = 0; g != NULL && i < g->nguards; i++)
		guard_close(g->guards[i]);
	free(g);
}
