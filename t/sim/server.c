/*
 * A storage server: what nbdsrv does around the NBD session and the store. It listens when the
 * store is open, serves the private export to those who know the secret, and that is all.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "nbd/auth.h"
#include "nbd/proto.h"
#include "nbd/session.h"
#include "nbdsrv/store/format.h"
#include "sim-disk.h"

#define POOL_BYTES (96u << 20)
#define LOG_BYTES  (8u << 20)

struct server {
	struct proc proc; /* first */
	struct sim_disk *disk;
	struct nbd_auth_config auth;
	struct nbd_session_config config;
	struct buf_pool *pool;
	struct store *store;
	bool serves;
	bool stopping;
	struct event ended; /* after an orderly stop */
	bool full;	    /* the file system has nothing left */
	bool damaged;	    /* its disk has rotted or lied */
	bool refuses;	    /* its disk does */
	bool ails;	    /* and this may be found out */
};

/* An empty store, made once. */
static struct {
	int fd;
	const uint8_t *image;
	struct store_info info;
} blank = {.fd = -1};

static void blank_make(void)
{
	struct store_format_options opt = {.size_bytes = STORE_MIN_BYTES, .log_bytes = LOG_BYTES};
	const char *why = "no memory";

	memset(opt.cluster, 'c', sizeof(opt.cluster));
	memset(opt.store, 's', sizeof(opt.store));
	blank.fd = memfd_create("store", 0);
	if (blank.fd < 0 || store_format(blank.fd, &opt, &why) < 0 ||
	    store_probe(blank.fd, &blank.info, &why) < 0) {
		fprintf(stderr, "# cannot make a store: %s\n", why);
		abort();
	}
	blank.image = mmap(NULL, STORE_MIN_BYTES, PROT_READ, MAP_SHARED, blank.fd, 0);
	assert(blank.image != MAP_FAILED);
}

/* ---- what session and store ask ------------------------------------------------------------ */

static int sv_open(void *ctx, struct nbd_session *session, const char *name, size_t len,
		   bool info_only, struct nbd_export *out, const char **why)
{
	if (!nbd_session_authenticated(session) || len != strlen(WEFT_STORE_EXPORT) ||
	    memcmp(name, WEFT_STORE_EXPORT, len) != 0)
		return -ENOENT;
	*out = (struct nbd_export){
		.size = blank.info.slots * WEFT_SHARD_BYTES,
		.min_block = 1,
		.pref_block = WEFT_BLOCK_BYTES,
		.max_block = NBD_PAYLOAD_MAX,
		.flags = NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA | NBD_FLAG_CAN_MULTI_CONN,
		.private_cmds = true,
		.ctx = ctx,
	};
	return 0;
}

static void sv_request(void *ctx, struct nbd_req *req)
{
	struct server *sv = ctx;

	store_request(sv->store, req);
}

static const struct nbd_server_ops sv_ops = {.open = sv_open, .request = sv_request};

static uint64_t sv_real_free(void *ctx)
{
	return ((struct server *)ctx)->full ? 0 : UINT64_MAX;
}

/* nbdsrv ends itself then, at once: nothing that it answers leaves any more. */
static void sv_failed(void *ctx)
{
	struct server *sv = ctx;

	if (sv->proc.doomed)
		return;
	if (!sv->refuses && !sv->ails)
		sim_fail(sv->proc.sim, "%s: its store fails, on a good disk", sv->proc.name);
	sv->proc.doomed = true;
	faults_server_failed(sv->proc.sim->faults, sv, false);
}

static void sv_ready(void *ctx, int err, const char *why)
{
	struct server *sv = ctx;

	if (err != 0 && (sv->refuses || sv->ails)) {
		sim_note(sv->proc.sim, "cannot open", sv->proc.name, (uint64_t)-err, 0);
		sv->proc.doomed = true;
		faults_server_failed(sv->proc.sim->faults, sv, err == -EUCLEAN);
		return;
	}
	if (err != 0)
		sim_fail(sv->proc.sim, "%s: its store does not open: %s", sv->proc.name,
			 why != NULL ? why : "damaged");
	sim_note(sv->proc.sim, "serves", sv->proc.name, 0, 0);
	sv->serves = true;
}

/* ---- life ---------------------------------------------------------------------------------- */

static void sv_ended(struct event *e)
{
	struct server *sv = (struct server *)((char *)e - offsetof(struct server, ended));

	server_kill(sv, false);
	faults_server_ended(sv->proc.sim->faults, sv);
}

struct server *server_new(struct sim *s, unsigned number)
{
	struct server *sv = world_alloc(sizeof(*sv));
	char name[16];

	if (blank.fd < 0)
		blank_make();
	snprintf(name, sizeof(name), "server-%u", number);
	proc_init(s, &sv->proc, name);
	sv->disk = sim_disk_new(&sv->proc, blank.fd, blank.image, &blank.info);
	memset(sv->auth.secret, 'k', sizeof(sv->auth.secret));
	memset(sv->auth.cluster, 'c', sizeof(sv->auth.cluster));
	memset(sv->auth.store, 's', sizeof(sv->auth.store));
	sv->auth.store[0] = (uint8_t)number;
	return sv;
}

void server_reset(struct server *sv, struct sim *s)
{
	char name[16];

	memcpy(name, sv->proc.name, sizeof(name));
	sim_disk_reset(sv->disk, &blank.info, sim_random(s), sim_below(s, 3) == 0);
	if (proc_alive(&sv->proc)) /* what was under way on the disk is in its memory */
		heap_drop(&sv->proc.heap);
	proc_init(s, &sv->proc, name);
	sv->serves = sv->full = sv->damaged = sv->refuses = sv->ails = false;
}

struct proc *server_proc(struct server *sv)
{
	return &sv->proc;
}

const uint8_t *server_store(const struct server *sv)
{
	return sv->auth.store;
}

bool server_serves(const struct server *sv)
{
	return proc_alive(&sv->proc) && sv->serves && !sv->stopping && !sv->proc.doomed;
}

void server_set_full(struct server *sv, bool full)
{
	sv->full = full;
}

void server_set_slow(struct server *sv, bool slow)
{
	sim_disk_slow(sv->disk, slow);
}

static bool sv_agrees(struct proc *p)
{
	struct server *sv = (struct server *)p;

	return !sv->serves || faults_refusal(p->sim->faults, sv);
}

void server_refuse(struct server *sv, unsigned what)
{
	sv->refuses = what != 0;
	sim_note(sv->proc.sim, "refuses", sv->proc.name, what, 0);
	sim_disk_refuse(sv->disk, what, sv_agrees);
}

void server_rot(struct server *sv)
{
	bool found = sim_disk_rot(sv->disk);

	sv->damaged = true;
	sim_note(sv->proc.sim, "rots", sv->proc.name, found, 0);
}

void server_lie(struct server *sv, unsigned per_mille)
{
	sv->damaged = true;
	sim_note(sv->proc.sim, "lies", sv->proc.name, per_mille, 0);
	sim_disk_lie(sv->disk, per_mille);
}

void server_ail(struct server *sv)
{
	sv->ails = sv->damaged = true;
}

bool server_spoil(struct server *sv, bool running)
{
	const char *what = sim_disk_spoil(sv->disk, running);

	sim_note(sv->proc.sim, what != NULL ? what : "nothing rots", sv->proc.name, 0, 0);
	return what != NULL;
}

void server_start(struct server *sv)
{
	struct store_config config = {
		.info = blank.info,
		.meta = sim_disk_map(sv->disk),
		.env = &sv->proc.env.env,
		.real_free = sv_real_free,
		.failed = sv_failed,
		.ctx = sv,
	};

	faults_server_starts(sv->proc.sim->faults, sv);
	proc_start(&sv->proc);
	sv->serves = sv->stopping = false;
	sv->ended = (struct event){.fn = sv_ended, .proc = &sv->proc};
	config.disk = sim_disk_open(sv->disk);
	proc_enter(&sv->proc);
	config.env->ops->random(config.env, sv->auth.boot, sizeof(sv->auth.boot));
	config.pool = sv->pool = buf_pool_create(POOL_BYTES, 0);
	sv->config = (struct nbd_session_config){
		.ops = &sv_ops,
		.ctx = sv,
		.env = config.env,
		.pool = sv->pool,
		.auth = &sv->auth,
		.peer_name = "volmgr",
	};
	sv->store = store_open(&config, sv_ready, sv);
	proc_leave(&sv->proc);
	net_returned(&sv->proc);
}

static void sv_closed(void *ctx, int err)
{
	struct server *sv = ctx;

	if (sv->proc.doomed)
		return;
	if (err != 0)
		sim_fail(sv->proc.sim, "%s: its store does not close: %d", sv->proc.name, err);
	sim_at(sv->proc.sim, &sv->ended, 1000);
}

void server_stop(struct server *sv)
{
	sim_note(sv->proc.sim, "is stopped", sv->proc.name, 0, 0);
	sv->stopping = true;
	proc_enter(&sv->proc);
	store_close(sv->store, sv_closed, sv);
	proc_leave(&sv->proc);
}

const struct disk_label *server_labels(const struct server *sv, uint32_t *n)
{
	const uint8_t *map = sim_disk_map(sv->disk);

	*n = (uint32_t)blank.info.slots;
	return (const struct disk_label *)(map + STORE_VOLUMES_MAX * sizeof(struct disk_volume));
}

/* Of a disk that did what it should, all that is read fits its checksum. */
void server_look(struct server *sv)
{
	struct weft_stat stat;

	if (!server_serves(sv) || sv->damaged)
		return;
	store_stat(sv->store, &stat);
	if (stat.crc_errors > 0)
		sim_fail(sv->proc.sim, "%s: data of a good disk does not match its checksum",
			 sv->proc.name);
}

static void sv_dies(struct server *sv, const char *how, bool cut, bool silent)
{
	server_look(sv);
	sim_cancel(sv->proc.sim, &sv->ended);
	sim_note(sv->proc.sim, how, sv->proc.name, 0, 0);
	sim_disk_died(sv->disk, cut); /* what is under way is still in its memory */
	proc_kill(&sv->proc);
	net_died(&sv->proc, silent);
	sv->serves = false;
}

void server_kill(struct server *sv, bool power)
{
	sv_dies(sv, power ? "loses power" : "is killed", power, power);
}

void server_gave_up(struct server *sv, bool cut)
{
	sv_dies(sv, "gives up", cut, false);
}

void server_accept(struct proc *p, struct stream *stream)
{
	struct server *sv = (struct server *)p;

	if (server_serves(sv))
		nbd_session_create(&sv->config, stream);
}
