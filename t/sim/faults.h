/* The inside of faults.c (what goes wrong) and story.c (when). */
#ifndef WEFT_SIM_FAULTS_H
#define WEFT_SIM_FAULTS_H

#include "sim.h"

#define SCRUB_UNIT_MIN (64u << 10) /* smaller ones make a scrub of an extent long, */
#define MOVE_UNIT_MIN  (16u << 10) /* and a move */

enum kind {
	RESET,	     /* a connection breaks */
	SCRUB,	     /* no fault: a scrub starts */
	MOVE,	     /* no fault: a shard goes to another server */
	ROT,	     /* data of the rotten server changes */
	SLOW,	     /* a disk is slow for a while */
	PARTITION,   /* volmgr and a server, or the client, do not hear each other */
	FREEZE,	     /* a server does not answer for a while */
	SERVER_KILL, /* a flaky server is killed, or loses power */
	SERVER_STOP, /* a server is restarted in order */
	IO_CUT,	     /* the same, at some I/O of it */
	MGR_KILL,
	MGR_STOP,    /* volmgr is restarted in order */
	MGR_REPLACE, /* it hangs, another takes over, it wakes up again */
	ALL_POWER,   /* volmgr and some servers, or all, lose power together */
	RACK,	     /* any number of servers lose their memory, volmgr lives */
	FULL,	     /* a server has no space left for a while */
	LOSE_META,   /* after a round: volmgr's metadata is lost */
	KINDS
};

/* See aim.c. */
enum aim { AIM_NOTHING, AIM_FRESH, AIM_WAKE, AIM_MARK, AIM_LEAVE, AIM_DARK, AIMS, AIM_LATE = AIMS };

struct faults {
	struct sim *sim;
	bool has[KINDS];
	bool on;
	uint64_t period_ns;
	unsigned left, heavy_left;	     /* faults of this round; of those the kills */
	uint64_t unwell_ns[SIM_SERVERS_MAX]; /* not heard of until then, or shortly before */
	uint32_t rotten;		     /* a server whose disk must not be believed */
	bool refusals;			     /* disks refuse writes or syncs */
	uint32_t refusing;		     /* servers with such a disk */
	bool ailing;			     /* log and map of the rotten one rot, too */
	bool meta_refusals;		     /* the metadata refuses batches */
	uint64_t meta_refused;		     /* when it did for the last time, as a moment */
	uint32_t away;			     /* servers that stay away for good */
	unsigned io_left;		     /* I/Os until the cut; 0: none */
	enum sim_io io_kind;		     /* of these; SIM_ANY: all count */
	struct proc *io_proc;		     /* whose */
	bool loose;			     /* what was not flushed may be lost */
	uint64_t lost_moment;		     /* when a server lost its memory */
	uint64_t error_until_ns;	     /* requests may fail so long */
	unsigned mgr;			     /* the one that is to run */
	struct event next, cut, mgr_back, thaw, mgr_thaw, replace, unfull, fast, mark_kill,
		abort_cut, refuse, cure, ail, aimed, aim_part, meta_cure;
	enum aim aim;
	struct proc *aim_proc;	 /* whom aim_part is for */
	uint64_t aim_until_ns;	 /* not another one before that */
	unsigned aim_left;	 /* in this round */
	struct proc *abort_proc; /* whom abort_cut is for */
	struct event server_back[SIM_SERVERS_MAX], gave_up[SIM_SERVERS_MAX];
};

static inline struct mgr *mgr_of(struct faults *f)
{
	return f->sim->mgrs[f->mgr];
}

/* faults.c */
unsigned server_of(const struct faults *f, const struct proc *p);
/* May this one be away now? */
bool bearable(struct faults *f, unsigned i);
/* May this one lose its memory now? No extent misses more than m shards then. */
bool bearable_now(struct faults *f, unsigned i);
/* A server that may lose its memory now; -1: none. */
int any_loser(struct faults *f);
void server_dies(struct faults *f, unsigned i, bool power, uint64_t back_ns);
void mgr_dies(struct faults *f, uint64_t back_ns);
void mgr_begin(struct faults *f);
/* A server that may be away for a while; when some disk rots, not too many at once; or NULL. */
struct proc *any_server(struct faults *f);
/* It will not be heard of for so long. */
void faults_silent(struct faults *f, const struct proc *p, uint64_t ns);
/* Another volmgr takes over; false: not now. */
bool faults_replace(struct faults *f);
/* ail.c: disks that fail, and their servers with them */
void ail_init(struct faults *f);
void ail_begin(struct faults *f); /* a round begins */
void ail_end(struct faults *f);	  /* its faults end */
/* aim.c: moments that are rare by themselves */
void aim_init(struct faults *f);
void aim_begin(struct faults *f);
bool faults_aim_mark(struct faults *f);	  /* a stale mark is on its way; true: it is dealt with */
void faults_aim_killed(struct faults *f); /* volmgr was, upon that */
void faults_aim_begin(struct faults *f);  /* a volmgr begins */
void faults_aim_ready(struct faults *f);  /* and runs */
/* What lasts for a while ends: freezes, full and slow disks, and those that refuse. */
void faults_end(struct faults *f);

#endif
