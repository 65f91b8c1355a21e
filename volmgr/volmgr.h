/*
 * The volume manager's private header: what its files share, in reading order.
 *
 * Threads: the control thread (control.h) owns servers, volumes and metadata; each worker is a data
 * thread that owns the engines of its volumes, its peers (connections to servers) and its NBD
 * connections. They talk by tasks and posted messages. The few things that several threads look at
 * are guarded by cluster.lock, which is never held across anything that waits.
 */
#ifndef WEFT_VOLMGR_H
#define WEFT_VOLMGR_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "addr.h"
#include "age.h"
#include "buf.h"
#include "control.h"
#include "ec.h"
#include "iostat.h"
#include "meta.h"
#include "nbd/auth.h"
#include "nbd/client.h"
#include "nbd/session.h"
#include "nbd/weft.h"
#include "stripe/peer.h"
#include "stripe/rebuild.h"
#include "stripe/volume.h"
#include "uring.h"

#define WORKERS_MAX	    16
#define SERVERS_MAX	    PEER_MAX
#define SERVER_NUMBER_MAX   65535u /* numbers are never used again */
#define VOLUMES_MAX	    16384
#define NAME_MAX_BYTES	    VOLUME_NAME_MAX /* of volumes, servers and hosts */
#define VERSION_MAX	    32		    /* of a server's version, with the NUL */
#define WHY_MAX		    256
#define CONNECTIONS_MAX	    1024 /* NBD clients at once */
#define LISTENERS_MAX	    16
#define SERVER_PORT_DEFAULT 10809u
#define UNIT_DEFAULT	    65536u
#define K_DEFAULT	    4u
#define M_DEFAULT	    2u
#define CACHE_DEFAULT	    (256u << 20)
#define ARENA_BYTES	    (4u << 20)
#define UNFLUSHED_MAX	    (64u << 20) /* bytes of a volume, then it flushes by itself */
#define FLUSH_MS	    1000
#define GRACE_MS	    300 /* a server may be away so long before writes leave it out */
#define SEND_TIMEOUT_MS	    30000
#define CONNECT_TIMEOUT_MS  3000
#define SERVER_TIMEOUT_MS   2000
#define WAITS_FOR_MAX	    8 /* of the servers that writes wait for, so many are named */
#define HEALTH_MS	    5000
#define STOP_TIMEOUT_MS	    20000
#define PLACED_RECENTLY_NS  (10 * NS_PER_S)

struct cluster;
struct people;
struct watch;
struct worker;
struct wpeer;
struct conn;

/* An answer that says no: for people and for programs. */
struct refusal {
	int status;	  /* of HTTP */
	const char *code; /* a word for programs */
	char message[512];
	char hint[256]; /* what to do; may be empty */
};

/* ---- task: a piece of work for a data thread, whose end comes back to the control thread --- */

struct task {
	void (*run)(struct task *t);  /* on the worker; calls task_finish() once, now or later */
	void (*done)(struct task *t); /* on the control thread; may free what t is in */
	struct worker *worker;
	int err; /* as given to task_finish() */
	struct uring_message to_worker;
	struct control_message to_control;
};

/* ---- a volume's scrub: the control thread's ------------------------------------------------ */

enum scrub_state { SCRUB_NEVER, SCRUB_WANTED, SCRUB_STOPPED, SCRUB_DONE };

struct vol_scrub {
	enum scrub_state state;
	uint64_t started_s, finished_s;	 /* since 1970; 0: never */
	uint64_t since_s;		 /* the interval counts from here */
	struct volume_scrub before, now; /* what it found before it was interrupted, and since */
	bool checksums;			 /* only these: parity is not compared */
	/* not kept */
	bool loaded;
	bool running;  /* the engine is at it */
	bool stopping; /* somebody wants it to stop */
	bool visited;  /* a task is under way */
	uint64_t saved_s;
	uint64_t begun_ns; /* when the one that is wanted began at the first extent; 0: earlier */
	/* when the last one began that looked at everything: at checksums, and at parity too */
	uint64_t sums_ns, parity_ns;
};

/* ---- a volume ------------------------------------------------------------------------------ */

/* What may be changed while it is in use. */
struct volume_settings {
	unsigned min; /* good shards that a write needs; 0: the default, k + 1 or k */
	bool below_min_fail;
	bool when_full_wait;
};

enum vol_state { VOL_OPENING, VOL_STARTING, VOL_READY, VOL_FAILED, VOL_DELETING };

struct vol {
	/* constant from creation on */
	struct cluster *cluster;
	struct worker *worker;
	uint64_t id;
	char name[NAME_MAX_BYTES + 1];
	unsigned k, m;
	uint32_t unit;
	enum ec_code code;
	uint32_t epoch;
	uint32_t recovered; /* the epoch that it was recovered with; 0: it never was */
	/* guarded by cluster.lock */
	enum vol_state state;
	uint64_t size; /* engine.c changes it, on the worker */
	struct volume_settings settings;
	unsigned clients;
	struct volume_stat stat;	   /* as of the last engine_collect() */
	struct rebuild_stat rebuild;	   /* likewise */
	uint32_t waits_for[WAITS_FOR_MAX]; /* servers that writes wait for */
	unsigned nwaits_for;
	bool fenced;		   /* since it was ready: another volmgr owns it, or */
	bool older;		   /* its metadata is older than what servers know */
	int spare;		   /* servers that may be lost: as volume_spare() */
	uint64_t asked;		   /* the last collection that asked for it */
	struct rebuild_server *on; /* what it has on servers */
	unsigned non;
	struct io_stat io_seen;	    /* likewise */
	struct watch_counts routed; /* likewise: reads that went past us */
	uint64_t steered;	    /* likewise: reads through us whose bytes went past us */
	char why[WHY_MAX];	    /* VOL_FAILED: what went wrong */
	/* the worker's */
	struct volume *engine;
	struct io_stat io;
	struct conn *conns;   /* connections that were handed to the worker */
	bool stopped;	      /* volume_stop() went well */
	struct vroute *route; /* NULL: reads are not routed; set before clients are let in */
	/* the control thread's */
	bool busy;	     /* resize or delete is under way */
	struct watch *watch; /* stats.c */
	bool discarding;     /* delete has got as far as stopping the engine */
	void (*ready_cb)(void *arg, struct vol *v); /* once, when it is VOL_READY or VOL_FAILED */
	void *ready_arg;
	struct control_message ready_msg;
	int ready_err;
	struct vol_scrub scrub;
	unsigned moves; /* tasks of moving.c that are under way */
	bool forgotten; /* free it when scrub.visited and moves end */
	unsigned power; /* enum power_state, while power.c counts */
};

/* ---- a server as the control thread knows it ----------------------------------------------- */

enum server_state { SERVER_CONNECTING, SERVER_UP, SERVER_DOWN, SERVER_WRONG_STORE };

/* What people want of it. The metadata remembers. */
enum server_duty {
	DUTY_STAY,
	DUTY_DRAIN, /* its shards are copied to others */
	DUTY_LOST,  /* it is gone for ever: its shards are made anew on others */
	DUTIES
};

/*
 * What went wrong on it and is dealt with: all that is there was scrubbed since, and nothing more
 * was found. The counters go on; only what is above these is worth a warning.
 */
struct server_settled {
	uint64_t bad_blocks, misfit_blocks;
	uint64_t disk_errors;		 /* of its own counters */
	uint64_t errors_seen, errors_ns; /* its own counters, and when they last rose */
	bool renew;			 /* they are not known yet as they were then */
};

struct server {
	/* constant from creation on */
	uint32_t number;
	char name[NAME_MAX_BYTES + 1];
	uint8_t store[WEFT_UUID_BYTES];
	/* guarded by cluster.lock: placing looks at them */
	uint32_t host_id;		    /* the number of the first server on that host */
	uint64_t free_bytes;		    /* as last told, less what was placed since */
	bool usable;			    /* has a free slot, is not on its way out */
	uint64_t placed_ns;		    /* when a shard was last placed here */
	uint64_t stale_shards;		    /* as api-servers.c counted last */
	uint64_t rebuilt_shards;	    /* since the start, as of the last engine_collect() */
	struct volume_server_counts counts; /* since we started, as of the last engine_collect() */
	struct server_settled settled;	    /* of those, what nobody needs to hear of any more */
	struct io_stat io;		    /* our calls to it since we started, likewise */
	/* the control thread's */
	char host[NAME_MAX_BYTES + 1]; /* this and where it is may be changed: server-change.c */
	char address[ADDR_TEXT_MAX];
	struct addr addr;
	bool resolved; /* addr is valid */
	bool routed;   /* our first data thread has a connection for routed reads to it */
	enum server_state state;
	char why[WHY_MAX];	   /* why it is not up */
	char version[VERSION_MAX]; /* of its nbdsrv, as it said last; empty: it did not */
	struct weft_stat stat;
	bool stat_known;
	uint64_t stat_ns;    /* when it said so */
	struct watch *watch; /* stats.c */
	bool removing;
	bool tidy;     /* its slots are to be looked at; see tidy.c */
	bool looked;   /* its labels were compared with the metadata since we started */
	bool late;     /* it was not asked at the last recovery: see tidy.c */
	unsigned kept; /* slots that are kept for that, as was said last */
	enum server_duty duty;
	uint32_t into;	   /* its shards go rather to this one; 0: to any */
	bool leaving;	   /* it is taken out when it holds nothing any more */
	uint64_t away_ns;  /* since when it is not up; 0: it is */
	bool replaced;	   /* away for so long that its shards are made anew on others */
	bool counted;	   /* shards is known */
	uint64_t shards;   /* that the extent maps have there, as of the last look */
	uint64_t shards_0; /* when it began to leave, or was away for too long */
	struct store_age *age;
	bool older;	      /* its store was older than it had been; not all is made anew */
	uint64_t older_ns;    /* when that was found; 0: before we started */
	uint64_t log_durable; /* of its age, as the metadata has it */
	uint64_t log_kept_ns;
	bool age_unkept; /* the metadata refused it: it is tried again */
};

/* ---- a data thread ------------------------------------------------------------------------- */

struct worker {
	struct cluster *cluster;
	unsigned index;
	pthread_t thread;
	struct uring *uring;
	struct env *env;
	struct buf_pool *pool;
	size_t pool_bytes;
	unsigned spin_us;
	/* its own thread's */
	struct wpeer **peers; /* by number - 1 */
	uint32_t npeers;      /* length of peers */
	struct wpeer *retired;
	struct vol *vols[VOLUMES_MAX];
	unsigned nvols;
	struct conn *conns; /* those not handed to a volume yet */
	struct uring_listener *listeners[LISTENERS_MAX];
	unsigned nlisteners;
	struct io_timer deadline;
	uint64_t deadline_due_ns;
	struct wroute *route;  /* NULL: reads are not routed */
	struct task *quitting; /* finish it when all connections are closed */
	unsigned open_conns, open_peers;
	/* the control thread's */
	unsigned assigned; /* volumes */
	bool connected;	   /* it was told about the servers */
	/* while starting */
	pthread_mutex_t start_lock;
	pthread_cond_t start_cond;
	bool started;
	int start_err;
};

struct cluster {
	/* set before the threads start, constant then */
	uint8_t secret[WEFT_SECRET_BYTES];
	uint8_t id[WEFT_UUID_BYTES];
	struct meta *meta;
	struct control *control;
	struct worker *workers[WORKERS_MAX];
	unsigned nworkers;
	uint64_t started_s;			   /* CLOCK_MONOTONIC */
	struct bpf_route *bpf;			   /* NULL: off */
	const char *bpf_why;			   /* why it is off */
	const char *bpf_remote_why;		   /* why bytes of remote servers are not steered */
	bool bpf_always;			   /* nor are they ever compared */
	uint64_t server_timeout_ms;		   /* silence that makes a server count as gone */
	const char *tagger;			   /* its Unix socket */
	char web[ADDR_TEXT_MAX + 8];		   /* its URL without the last slash; empty: none */
	char listen[LISTENERS_MAX][ADDR_TEXT_MAX]; /* where NBD clients are accepted */
	unsigned nlisten;
	/* guarded by lock; only the control thread changes servers and vols */
	pthread_mutex_t lock;
	uint64_t asked; /* collections that were begun for some volumes only */
	struct server *servers[SERVERS_MAX];
	unsigned nservers;
	struct server *by_number[SERVER_NUMBER_MAX + 1];
	struct store_age *ages;
	struct vol *vols[VOLUMES_MAX];
	unsigned nvols;
	unsigned connections;
	uint64_t seed;
	uint64_t owner; /* of volumes: a number of this run, drawn at random */
	bool stopping;
	bool route_slots[VOLUMES_MAX]; /* taken in the map of volumes */
	uint32_t route_entries;	       /* taken in that of data shards */
	/* the control thread's */
	uint64_t next_server, next_volume;
	unsigned opening;      /* volumes whose engines are being made */
	void (*open_cb)(void); /* once, when there are none */
	struct people *people;
};

/* ---- util.c -------------------------------------------------------------------------------- */

/* Memory for small control structs: when there is none, the process cannot even say so. Zeroed. */
void *mem_must(size_t bytes);
uint64_t clock_ns(void);
/* [A-Za-z0-9][A-Za-z0-9._-]*, at most NAME_MAX_BYTES. */
bool name_valid(const char *name);
void refuse(struct refusal *r, int status, const char *code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void refuse_hint(struct refusal *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* 404: there is no server or volume of this name, which may be anything. */
void refuse_unknown(struct refusal *r, const char *what, const char *name);
/* The version in a server's WEFT_STORE_ABOUT, which people are shown; empty: there is none. */
void version_read(char version[VERSION_MAX], const char *about);
#define UUID_TEXT_MAX 33
char *uuid_format(const uint8_t uuid[WEFT_UUID_BYTES], char *buf);
bool uuid_parse(const char *text, uint8_t uuid[WEFT_UUID_BYTES]);

/* ---- worker.c ------------------------------------------------------------------------------ */

/* Starts the thread and waits until its loop is there. 0 or -errno. */
int worker_start(struct cluster *c, unsigned index, size_t pool_bytes, unsigned spin_us);
/* Close all connections, then end the thread's loop; t->done comes when they are closed. */
void worker_quit_run(struct task *t);
void worker_join(struct worker *w);
/* When all threads have ended: any of them may have been in the middle of a post to this one. */
void worker_free(struct worker *w);
void worker_task(struct worker *w, struct task *t);
void task_finish(struct task *t, int err);
/* Close a stream that has no engine, for want of memory. */
void stream_drop(struct stream *s);
/* For quitting: a connection or peer of w is gone. */
void worker_check_quit(struct worker *w);

/* ---- peer.c: connections to servers, on a data thread -------------------------------------- */

struct peer *wpeer_find(struct worker *w, uint32_t server);
/* A server's address for a worker. Runs on the worker; all fields are copied. */
struct peer_add {
	struct task task;
	uint32_t number;
	char name[NAME_MAX_BYTES + 1];
	struct addr addr;
	uint8_t store[WEFT_UUID_BYTES];
	struct store_age *age;
	bool report; /* tell the control thread about its state */
};
void peer_add_run(struct task *t);
struct peer_remove {
	struct task task;
	uint32_t number;
};
void peer_remove_run(struct task *t);

/* The server has another address now: go there at once, whatever is under way. */
struct peer_move {
	struct task task;
	uint32_t number;
	struct addr addr;
};
void peer_move_run(struct task *t);

/* Connect to an address once, ask who it is, go away. */
struct peer_probe {
	struct task task; /* err: 0 or -errno with a sentence in why */
	struct addr addr;
	uint8_t store[WEFT_UUID_BYTES];
	char version[VERSION_MAX];
	struct weft_stat stat;
	char why[WHY_MAX];
	void *arg[2];
};
void peer_probe_run(struct task *t);

/* What each server that is up says of itself. */
struct peer_stats {
	struct task task;
	unsigned pending;
	unsigned count;
	struct {
		uint32_t server;
		struct weft_stat stat;
	} answers[SERVERS_MAX];
};
void peer_stats_run(struct task *t);
/* Under the lock: which stores' peers here do not know how old they are. */
void peers_ages(struct worker *w);
/* Add what they counted to the servers, under the lock. */
void peers_take_counts(struct worker *w);
/* Close everything, for the end. */
void peers_close(struct worker *w);
/* After the loop has ended. */
void peers_free(struct worker *w);

/* ---- engine.c: the stripe engine's binding, on a data thread ------------------------------- */

struct engine_open {
	struct task task; /* done when the engine is there; vol->ready_msg when it has started */
	struct vol *vol;
	struct extent_record *extents;
	size_t nextents;
	struct volume_starts *starts; /* NULL: none are recorded */
};
void engine_open_run(struct task *t);
struct engine_resize {
	struct task task;
	struct vol *vol;
	uint64_t size;
	void (*cb)(void *arg, const struct refusal *r); /* the caller's */
	void *arg;
};
void engine_resize_run(struct task *t);
struct engine_end {
	struct task task;
	struct vol *vol;
	void (*cb)(void *arg, const struct refusal *r);
	void *arg;
};
/* Stop; what is acknowledged is durable then. */
void engine_stop_run(struct task *t);
/* After it: give the slots back, and free the engine. */
void engine_discard_run(struct task *t);

struct engine_set {
	struct task task;
	struct vol *vol;
	struct volume_settings settings;
};
void engine_set_run(struct task *t);

#define MAP_PAGE_MAX 1000
struct engine_map {
	struct task task;
	struct vol *vol;
	uint64_t from;
	unsigned limit;
	struct extent_record *records; /* room for limit */
	unsigned count;
	bool more;
	void *arg;
};
void engine_map_run(struct task *t);

/* Copy every engine's counters to vol->stat, then done(arg) on the control thread. */
void engine_collect(struct cluster *c, void (*done)(void *arg), void *arg);
/* Of these only, and nothing of servers: for answers about a few of many. */
void engine_collect_some(struct cluster *c, struct vol *const *vols, unsigned n,
			 void (*done)(void *arg), void *arg);
/* Of this one, at once; on its worker. */
void engine_collect_here(struct vol *v);

/* ---- front.c: NBD clients ------------------------------------------------------------------ */

struct front_listen {
	struct task task;
	int fd; /* taken over */
};
void front_listen_run(struct task *t);
void front_close_listeners(struct worker *w);
/* Close every NBD connection of the worker. */
void front_close_all(struct worker *w);
/* The volume has another size: tell its clients' sessions. On the volume's worker. */
void front_set_size(struct vol *v, uint64_t size);

/* ---- servers.c ----------------------------------------------------------------------------- */

int servers_load(struct cluster *c, const char **why);
uint64_t servers_first_volume(void); /* a random one, where nobody else begins */
struct server *server_by_number(struct cluster *c, uint32_t number);
struct server *server_by_name(struct cluster *c, const char *name);
const char *server_state_name(const struct server *s);
/* cb once, on the control thread, perhaps before it returns: a refusal, or NULL and the server. */
void servers_add(struct cluster *c, const char *address, const char *name, const char *host,
		 void (*cb)(void *arg, const struct refusal *r, struct server *s), void *arg);
/* For adding and changing: 0, or -1 with a refusal. own: whose address it may be. */
int servers_check_name(const char *name, struct refusal *r);
int servers_check_address(const struct cluster *c, const char *address, const struct server *own,
			  struct refusal *r);
/* What helps when a probe failed so. */
void servers_connect_hint(struct refusal *r, int err);
/* Hosts have other names. */
void servers_count_hosts(struct cluster *c);
/* Its address is another one. */
void server_go_there(struct cluster *c, struct server *s);
/* Nobody uses it any more: out of the metadata and of the list, and freed. 0 or -errno. */
int server_forget(struct cluster *c, struct server *s);
/* Write down what is to be remembered of it. 0 or -errno. */
int server_put(struct cluster *c, const struct server *s);
/* New shards may go there, for all that people want of it. */
bool server_is_member(const struct server *s);
/* Tell a worker about all servers, once. */
void servers_connect(struct cluster *c, struct worker *w);
/* Tell all workers that talk to servers about this one. */
void server_connect_all(struct cluster *c, struct server *s);
/* From a peer: its state changed. version: what it said on the way there. On the control thread. */
void servers_changed(struct cluster *c, uint32_t number, enum server_state state, const char *why,
		     const char *version);
/* Choose servers for a new extent, at least up of them connected. On any data thread. */
int servers_place(struct cluster *c, struct worker *w, unsigned count, unsigned up,
		  uint32_t *servers);
/* How many servers are registered and not on their way out, and how many of them are up. */
void servers_count(struct cluster *c, unsigned *total, unsigned *up);

/* ---- server-change.c ----------------------------------------------------------------------- */

/* Empty: stays as it is. cb as of servers_add(). */
void server_change(struct cluster *c, const char *name, const char *address, const char *host,
		   void (*cb)(void *arg, const struct refusal *r, struct server *s), void *arg);

/* ---- health.c ------------------------------------------------------------------------------ */

void health_start(struct cluster *c);
void health_stop(void);
void health_now(struct cluster *c);

/* ---- volumes.c ----------------------------------------------------------------------------- */

struct volume_spec {
	char name[NAME_MAX_BYTES + 1];
	uint64_t size;
	unsigned k, m;
	uint32_t unit;
	struct volume_settings settings;
};
int volumes_load(struct cluster *c, const char **why);
/*
 * For clients: cb when each volume that was loaded has an engine that holds their requests until it
 * is ready, or has failed. Not before: until the control thread has heard of the engine, who came
 * would be sent away.
 */
void volumes_when_open(struct cluster *c, void (*cb)(void));
struct vol *volume_by_name(struct cluster *c, const char *name);
const char *vol_state_name(enum vol_state s);
#define VOL_FENCED_WHY "another volmgr owns it now"
#define VOL_OLDER_WHY  "its metadata is older than what the servers know"
/* Why it takes no requests: what became of it, since it was ready or before. */
const char *vol_why(const struct vol *v);
/* Checks that need nothing but the numbers. 0, or -1 with a refusal. */
int volume_spec_check(const struct volume_spec *spec, struct refusal *r);
void volumes_create(struct cluster *c, const struct volume_spec *spec,
		    void (*cb)(void *arg, const struct refusal *r), void *arg);
/* So many servers may be lost now; below 0: parts of it cannot be read. On the control thread. */
int volume_spare_now(struct vol *v);
int volume_settings_check(const struct volume_settings *s, unsigned k, unsigned m,
			  struct refusal *r);
/* What PATCH may say; members that are not given stay as they are. */
struct volume_change {
	uint64_t size;
	bool has_size, shrink;
	struct volume_settings settings;
	bool has_min, has_below_min, has_when_full;
};
void volumes_change(struct cluster *c, const char *name, const struct volume_change *change,
		    void (*cb)(void *arg, const struct refusal *r), void *arg);
void volumes_delete(struct cluster *c, const char *name,
		    void (*cb)(void *arg, const struct refusal *r), void *arg);
/* Stop all engines; then done(arg, how many could not be stopped in order). */
void volumes_stop_all(struct cluster *c, void (*done)(void *arg, unsigned failed), void *arg);

/* For front.c, any thread: look up and count a client. -ENOENT, -ESHUTDOWN with *why. */
int volumes_attach(struct cluster *c, const char *name, size_t len, bool count, struct vol **out,
		   uint64_t *size, const char **why);
void volumes_detach(struct vol *v);

/* ---- scrub.c ------------------------------------------------------------------------------- */

/* interval_s 0: only on demand. */
void scrub_start(struct cluster *c, uint64_t interval_s);
void scrub_end(void);
/* Under the lock: damaged blocks of a server that no clean scrub has come after. */
uint64_t scrub_damage(const struct server *s);
/* What its disk did wrong since then, as the server itself counts. */
uint64_t scrub_disk_errors(const struct server *s);
/* Its counters have just arrived. */
void scrub_heard(struct server *s);
/* Start or stop; name "": all volumes. 0, or -1 with a refusal. */
int scrub_order(struct cluster *c, const char *name, bool start, bool checksums, struct refusal *r);

/* ---- api.c --------------------------------------------------------------------------------- */

struct http_request;
/* Handlers for lib/http.h; arg is the cluster. */
void api_handle_local(void *arg, struct http_request *r);
void api_handle_public(void *arg, struct http_request *r);

#endif
