/*
 * What the files of the store share. In reading order: objects, then the functions of each file.
 *
 * A change goes this way: prepare.c checks it and makes a ptx with one part for each granule that
 * it touches (pend.c); from then on read.c finds its bytes in front of the map's. wal.c brings its
 * record into the log. commit.c takes the ptx off its volume's list; when the COMMIT record is
 * durable its parts are ready, and home.c carries them into the map. checkpoint.c moves the log's
 * tail.
 */
#ifndef WEFT_STORE_INTERNAL_H
#define WEFT_STORE_INTERNAL_H

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "crc32c.h"
#include "log.h"
#include "nbd/proto.h"
#include "store/format.h"
#include "store/store.h"

#define LOG_FLUSH_MS	  200u	      /* the longest that a record stays in memory only */
#define HOME_DELAY_MS	  1000u	      /* committed bytes wait so long for more of the same place */
#define HOME_BYTES_START  (16u << 20) /* unless there are so many of them */
#define HOME_RETRY_MS	  1000u	      /* the disk was full */
#define HOME_INFLIGHT_MAX 32u	      /* granules on their way home at once */
#define HOME_TURN_MAX	  64u	      /* granules carried home in one turn of the loop */
#define HOME_RUNS_MAX	  8u	      /* runs of blocks in a granule: every other one */
#define CKPT_LOG_BYTES	  (64u << 20) /* checkpoint at the latest with so much log in use */
#define STALL_RETRY_MS	  2u	      /* requests that found no memory try again */
#define GRAN_BUCKETS	  65536u      /* of granules with parts */
#define VOLUME_BUCKETS	  4096u
#define SPACE_AGE_MS	  2000u /* free granules are given back after one to two of these */
#define SPACE_RUN_MAX	  512u	/* granules in one discard */
#define READ_OPS_MAX	  16u	/* disk operations of one READ at once */
#define READ_RUN_MAX	  64u	/* blocks in one of them */
#define READ_RETRIES_MAX  64u	/* bytes that were read while they moved are read again so often */
#define SEGS_MAX	  64u	/* of one answer */
#define ZERO_SEG_MIN	  (64u << 10)
#define REAL_FREE_MARGIN  (8u << 20) /* of a thin disk, left for metadata */
#define REAL_FREE_EVERY	  256u	     /* granules taken between two looks at it */
#define REAL_FREE_SHARE	  16u	     /* or this part of what there is */
#define BATCH_IOV_MAX	  512u
#define ABORTED_MAX	  4096u /* ABORTs that late PREPAREs are compared with */

/* ---- objects ------------------------------------------------------------------------------- */

/* Objects of one size, recycled; the memory goes back when the store is freed. slab.c */
struct slab {
	size_t size;
	size_t clear; /* bytes of it that are zeroed */
	size_t nfree;
	void *free;
	void *chunks;
};

/* A volume as this store knows it. Lives in store.vols; number 0: not used. */
struct vol {
	uint64_t number;
	uint64_t committed; /* highest COMMIT, durable or about to be */
	uint64_t aborted;   /* highest ABORT in this run */
	uint64_t given_up;  /* in this run: PREPAREs up to here come too late */
	uint64_t owner;	    /* number of whoever announced the epoch in this run; 0: not known */
	uint32_t epoch;
	uint32_t slots;		  /* that carry its label */
	uint32_t prepared;	  /* length of the list */
	struct ptx *first, *last; /* prepared txs, ascending */
	struct vol *hash_next;
};

enum slot_state { SLOT_FREE, SLOT_LABELLING, SLOT_USED, SLOT_DISCARDING };

struct slot {
	uint32_t gen;
	uint32_t vol;	    /* index in store.vols */
	uint32_t hash_next; /* slot + 1 of the next with the same label hash */
	uint16_t granules;  /* mapped */
	uint8_t state;
};

enum ptx_state {
	PTX_PREPARED,  /* on its volume's list */
	PTX_COMMITTED, /* waits for its COMMIT record */
	PTX_READY,     /* on its way home */
	PTX_DROPPED,   /* aborted or discarded; waits for that record */
};

/* A prepared transaction's share in one slot. */
struct ptx {
	struct vol *vol;
	uint64_t tx, offset, blocks;
	uint32_t slot, slot_gen;
	uint32_t participants;
	uint8_t state;
	bool durable;
	bool doomed;		   /* an ABORT is choosing */
	bool relogging;		   /* a second record is queued */
	bool relog_not, relog_too; /* see relog() */
	uint8_t fresh_pending;	   /* granules that are being written before the record */
	uint32_t refs;		   /* its state, and queued records */
	uint8_t parts_left;	   /* READY: not yet home */
	uint32_t mem_users;	   /* parts that need payload */
	uint32_t log_bytes;	   /* of payload that goes into the log */
	uint64_t data_seq;	   /* of the last of its fresh granules */
	struct buf *payload;
	struct part *parts;	 /* by ptx_next, ascending */
	struct batch *batch;	 /* of its record; holds the log's tail */
	struct ptx *prev, *next; /* the volume's list; then, by next, its record's */
};

struct part {
	struct ptx *ptx;
	struct gran *gran;  /* NULL: taken off its list */
	struct part *older; /* in the granule's list */
	struct part *ptx_next;
	uint16_t mask;
	uint8_t kind;	 /* enum part_kind */
	uint8_t granule; /* of the slot */
	bool homing;	 /* a home operation works on it */
	bool in_memory;	 /* payload holds its bytes */
	uint32_t phys;	 /* FRESH: granule + 1 */
	uint32_t data;	 /* where in payload its first block is */
	uint32_t crc[GRANULE_BLOCKS];
};

/* 64 KiB of a slot about which there is more to know than its map entry. */
struct gran {
	uint64_t index; /* slot * SLOT_GRANULES + granule of the slot */
	struct gran *hash_next;
	struct part *newest;
	struct prep_link *first, *last; /* PREPAREs that take turns */
	struct gran *dirty_next;
	uint64_t dirty_stamp;
	bool dirty; /* on the list of those to carry home */
	bool homing;
	bool again;    /* more to carry home when this is done */
	bool reserved; /* one free granule is kept for it */
};

/* A record on its way into the log. */
struct rec {
	struct rec *next;
	uint64_t seq;
	uint8_t type;
	bool relog;
	struct ptx *ptx;	 /* PREPARE */
	struct batch *old_batch; /* PREPARE once more: where it was before */
	struct ptx *list;	 /* COMMIT, ABORT, DISCARD: what it decides */
	struct vol *vol;
	uint64_t number; /* see disk_rec_volume */
	uint32_t slot, slot_gen;
	struct disk_label label;
};

/* A written batch, as long as the tail has not passed it. */
struct batch {
	struct batch *next;
	uint64_t block;
	uint64_t seq;
	uint64_t prev_salt;
	uint32_t prev_crc;
	uint32_t refs;	    /* ptxs whose record is here */
	uint32_t undecided; /* of these, the ones that are prepared still */
	uint64_t last_rec;  /* seq of its last record */
};

struct wal {
	uint64_t blocks;     /* of the ring */
	uint64_t tail, head; /* counts of blocks, from the making of the store */
	uint64_t next_seq;
	uint64_t salt;	    /* of this run */
	uint64_t prev_salt; /* of the last batch */
	uint32_t prev_crc;
	struct rec *first, *last;	    /* not yet written */
	struct rec *written, *written_last; /* not yet durable */
	struct batch *batches, *batches_last;
	uint64_t last_rec, written_rec, durable_rec;
	uint64_t want_rec;		      /* somebody waits for this one to be durable */
	uint64_t queued_blocks, queued_bytes; /* payload and records not yet written */
	uint64_t data_seq, data_synced;	      /* fresh granules written, and known to be durable */
	struct nbd_req *wait, *wait_last;     /* answers that wait; user[0]: for which record */
	bool writing, syncing;
	uint64_t sync_rec, sync_data; /* what the running sync will cover */
	uint64_t sync_head, sync_seq;
	uint64_t durable_seq;  /* batches below it are durable */
	uint64_t durable_head; /* the log is durable up to here; 0: nothing was synced yet */
	struct disk_op op, sync_op;
	struct buf *header;
	struct rec *batch_recs, *batch_last; /* in the running write */
	struct batch *batch;
	uint64_t write_blocks;
	struct io_task task;
	struct io_timer timer;
};

/* A queued or running PREPARE: in the queues of all granules that it touches; runs when first in
 * all. */
struct prep_link {
	struct prep *prep;
	struct gran *gran;
	struct prep_link *next;
};

struct prep {
	struct store *store;
	struct nbd_req *req;
	struct buf *old; /* the blocks as they were */
	struct prep_link link[PARTS_MAX];
	unsigned nlinks;
	unsigned pending;
	unsigned retries;
	bool running;
	int error;
	struct prep *next;		/* runnable */
	struct prep **live, *live_next; /* all of them */
	struct prep_read {
		struct disk_op op;
		struct prep *prep;
		uint8_t bit, index; /* of the first block in cmd.blocks, and in old */
		uint8_t count;
	} read[64];
};

struct fresh_write {
	struct disk_op op;
	struct store *store;
	struct part *part;
	struct ptx *ptx;
};

struct home {
	struct store *store;
	struct gran *gran;
	struct disk_entry target; /* host order but for crc, which are as on disk */
	uint64_t stamp;		  /* the granule's */
	bool fresh;		  /* target.phys was taken for it */
	unsigned pending;
	int error;
	struct home_run {
		struct disk_op op;
		struct home *home;
	} run[HOME_RUNS_MAX];
};

struct read_op {
	struct store *store;
	struct read_op **live, *live_next; /* all of them */
	struct nbd_req *req;
	struct buf *buf;
	uint32_t slot, slot_gen;
	uint32_t first, count; /* blocks of the slot */
	uint32_t next, window; /* block to look at next, and where the reads under way began */
	uint32_t bad;
	bool again;
	unsigned pending;
	unsigned retries;
	int error;
	struct read_run {
		struct disk_op op;
		struct read_op *owner;
		uint64_t disk; /* where its first block was, and the checksums, when it started */
		uint32_t block, count;
		uint32_t crc[READ_RUN_MAX];
	} run[READ_OPS_MAX];
};

enum ckpt_state { CKPT_IDLE, CKPT_LOG, CKPT_HOME, CKPT_SYNC, CKPT_SUPER, CKPT_COPIES, CKPT_LAST };

struct ckpt {
	enum ckpt_state state;
	bool clean; /* write the clean flag, for close */
	int error;
	uint64_t log_rec;	/* to be durable first */
	uint64_t stamp;		/* granules made dirty up to here go home */
	unsigned homing;	/* of those, on their way */
	struct disk_super next; /* what the one under way will say */
	struct buf *buf;
	struct disk_op op, op2;
	unsigned pending;
	struct io_task task;
	void (*done)(struct store *s, int err); /* once, when the next one ends */
};

/* Lists of what is under way, so that store_free() can let go of it. */
#define LIVE_ADD(head, op)                                                                         \
	do {                                                                                       \
		(op)->live_next = (head);                                                          \
		if ((head) != NULL)                                                                \
			(head)->live = &(op)->live_next;                                           \
		(op)->live = &(head);                                                              \
		(head) = (op);                                                                     \
	} while (0)
#define LIVE_REMOVE(op)                                                                            \
	do {                                                                                       \
		*(op)->live = (op)->live_next;                                                     \
		if ((op)->live_next != NULL)                                                       \
			(op)->live_next->live = (op)->live;                                        \
	} while (0)

/* 64 granules, a bit each. The last three are about free ones whose space may still be held. */
struct granule_word {
	uint64_t taken;
	uint64_t young, old; /* since less than one turn of the clock, since more */
	uint64_t ripe;	     /* may be given back */
};

struct space {
	struct io_timer timer;
	struct disk_op op;
	uint64_t low, high;    /* words in which something waits to be given back */
	uint64_t at;	       /* the word that is next in this pass */
	uint64_t first, count; /* granules under way, taken meanwhile; count 0: none */
	bool off;	       /* the disk cannot, or does not any more */
};

struct replay;
struct ahead;

/* An ABORT of this run. */
struct aborted {
	uint64_t volume, tx;
};

struct store {
	struct disk *disk;
	struct env *env;
	struct buf_pool *pool;	      /* the sessions', too */
	struct buf_pool *replay_pool; /* payload found in the log at open */
	struct store_info info;
	uint64_t (*real_free)(void *ctx);
	void (*stat_more)(void *ctx, struct weft_stat *st);
	void (*fail)(void *ctx);
	void *real_free_ctx;
	uint64_t real_free_bytes;
	uint32_t real_free_left; /* granules until it is asked again */

	struct disk_super super; /* the last one written, host order */
	struct disk_volume *meta_vols;
	struct disk_label *meta_labels;
	struct disk_entry *meta_map;

	struct aborted aborted[ABORTED_MAX]; /* a ring, the oldest are forgotten */
	uint32_t aborted_next;

	struct granule_word *granule_words;
	uint64_t granules, granules_free, granules_reserved, alloc_hint;

	struct vol vols[STORE_VOLUMES_MAX];
	struct vol *vol_hash[VOLUME_BUCKETS];
	uint32_t vols_end; /* places used, ever, from the first on */
	struct slot *slots;
	uint32_t nslots, slots_used, slots_labelling, slot_hint, next_gen;
	uint32_t *label_hash; /* slot + 1 */
	uint32_t label_buckets;

	struct gran **gran_hash;
	uint64_t gran_used[GRAN_BUCKETS / 64]; /* buckets that were, ever */
	uint32_t ngrans;
	struct gran *dirty, *dirty_last;
	uint64_t dirty_stamp;
	uint64_t unhomed_bytes;	  /* payload of ready parts */
	uint64_t undecided_bytes; /* payload of prepared txs that is in the log */
	unsigned homing;	  /* granules on their way */
	struct io_task home_task;
	struct io_timer home_timer;
	bool home_now;
	uint64_t home_wait_ns; /* the disk was full: nothing goes home before that; 0: no */

	struct slab ptxs, parts, grans, recs, batches, preps, freshes, homes, reads;
	struct prep *runnable, *runnable_last;
	struct prep *live_preps;
	struct read_op *live_reads;
	struct io_task prep_task;
	struct nbd_req *stalled, *stalled_last; /* wait for memory or room in the log */
	bool stalled_prepare;			/* a PREPARE is among them */
	struct nbd_req *discards;		/* wait for their slot to come to rest */
	struct io_timer stall_timer;
	struct io_task stall_task;
	struct wal wal;
	struct ckpt ckpt;
	struct space space;
	struct replay *replay;
	struct ahead *ahead;
	struct weft_stat stat;
	unsigned busy; /* operations under way: reads, prepares, home, fresh */
	int failed;    /* errno: nothing can be written any more */
	bool closing;
	void (*ready)(void *ctx, int err, const char *why);
	void *ready_ctx;
	void (*closed)(void *ctx, int err);
	void *closed_ctx;
};

/* ---- slab.c -------------------------------------------------------------------------------- */

/* clear: the first bytes, which slab_get() zeroes; what follows is set before it is read. */
void slab_init(struct slab *slab, size_t size, size_t clear);
void slab_destroy(struct slab *slab);
/* Make sure that the next n slab_get() succeed. */
bool slab_ensure(struct slab *slab, size_t n);
void *slab_get(struct slab *slab); /* NULL: no memory */
void slab_put(struct slab *slab, void *object);

/* ---- superblock.c -------------------------------------------------------------------------- */

uint64_t super_copy_offset(uint64_t size_bytes, unsigned copy);
void super_encode(const struct disk_super *host, struct disk_super *disk);
/* 0, -ENOENT (not one), -EUCLEAN (checksum) */
int super_decode(const struct disk_super *disk, struct disk_super *host);
/* Version, features and sizes. real_bytes: of file or device. */
int super_check(const struct disk_super *host, uint64_t real_bytes, const char **why);
/* The newest valid copy; as store_probe(). */
int super_read(int fd, struct disk_super *host, const char **why);
/* Lay out areas; 0 or -EINVAL. */
int super_layout(struct disk_super *host, uint64_t size, uint64_t log_bytes, const char **why);
void super_to_info(const struct disk_super *host, struct store_info *info);
/* A sentence that lives as long as the process. */
const char *store_why(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- map.c --------------------------------------------------------------------------------- */

static inline struct disk_entry *map_entry(struct store *s, uint64_t index)
{
	return &s->meta_map[index];
}

uint16_t entry_check(const struct disk_entry *e);
bool entry_valid(const struct disk_entry *e);
void entry_seal(struct disk_entry *e);

/* Where the bytes of a block are. */
enum src_kind { SRC_ZERO, SRC_MEMORY, SRC_DISK };
struct src {
	enum src_kind kind;
	const uint8_t *memory;
	uint64_t disk; /* byte address */
	uint32_t crc;
};
/* g: the granule's parts, or NULL. */
void map_resolve(struct store *s, const struct gran *g, uint64_t index, unsigned block,
		 struct src *src);

/* The map entry of a granule, replaced; frees what it pointed at before. */
void map_set(struct store *s, uint64_t index, const struct disk_entry *e);
void map_clear(struct store *s, uint64_t index);
/* The command MAP. */
void map_request(struct store *s, struct nbd_req *req);
/* Is the entry as it was written? If not, the disk has changed it: the store has failed then. */
bool map_sound(struct store *s, uint64_t index);
/* Take note of all granules in use, after replay. 0 or -EUCLEAN with a sentence. */
int map_scan(struct store *s, const char **why);

/* ---- granule.c ----------------------------------------------------------------------------- */

/* phys is a granule's number + 1 everywhere; 0: none. */
bool granule_init(struct store *s);
uint64_t granule_offset(const struct store *s, uint32_t phys);
bool granule_taken(const struct store *s, uint32_t phys);
void granule_take(struct store *s, uint32_t phys);
/* A free one, or 0. reserved: take it from what was reserved. */
uint32_t granule_alloc(struct store *s, bool reserved);
void granule_free(struct store *s, uint32_t phys);
/* Has a thin disk really room for the bytes of one more? */
bool granule_really_free(struct store *s);
/* Keep one free granule for later. */
bool granule_reserve(struct store *s);
void granule_unreserve(struct store *s);

/* ---- space.c ------------------------------------------------------------------------------- */

void space_init(struct store *s);
/* The store is open: what is free may hold space from an earlier run. */
void space_start(struct store *s);
/* A granule became free. */
void space_freed(struct store *s, uint64_t word);
/* Is there space that will be free when a discard ends? */
bool space_waits(const struct store *s);
void space_stop(struct store *s);

/* ---- pend.c -------------------------------------------------------------------------------- */

/* One after the other, in no order; NULL: the first, and the end. None may go meanwhile. */
struct gran *gran_next(const struct store *s, const struct gran *g);
struct gran *gran_find(struct store *s, uint64_t index);
struct gran *gran_get(struct store *s, uint64_t index); /* slab_ensure()d */
/* Free it when there is nothing more to know about it. */
void gran_rest(struct store *s, struct gran *g);
void gran_make_dirty(struct store *s, struct gran *g);

static inline uint8_t *part_data(const struct part *p, unsigned block)
{
	unsigned before = (unsigned)__builtin_popcount(p->mask & ((1u << block) - 1));

	return p->ptx->payload->data + p->data + (size_t)before * WEFT_BLOCK_BYTES;
}

/* Put a part into its granule's list, and take it off. */
void part_add(struct store *s, struct gran *g, struct part *p);
void part_remove(struct store *s, struct part *p);
/* Its bytes are no longer needed in memory. */
void part_drop_memory(struct store *s, struct part *p);

void ptx_put(struct store *s, struct ptx *t);
void ptx_list_add(struct vol *v, struct ptx *t);
void ptx_list_remove(struct vol *v, struct ptx *t);
struct ptx *ptx_find(const struct vol *v, uint64_t tx, uint32_t slot);
/* Off its volume's list, waiting for the record that decides it. */
void ptx_decide(struct store *s, struct ptx *t, enum ptx_state state);
/* Its COMMIT is durable. */
void ptx_ready(struct store *s, struct ptx *t);
/* Its ABORT or DISCARD is durable. */
void ptx_undo(struct store *s, struct ptx *t);

/* ---- record.c: pure ------------------------------------------------------------------------ */

/* Bytes and payload blocks of a record. */
void rec_size(const struct rec *r, uint32_t *bytes, uint32_t *payload_blocks);
/* Returns the bytes written; fills up to PARTS_MAX iovecs with the payload. */
uint32_t rec_encode(const struct store *s, const struct rec *r, uint8_t *out, struct iovec *iov,
		    int *niov);
void batch_seal(struct disk_batch *h, uint32_t bytes);
/* Sealed, with zeros behind it: tell that batches below seq are durable. */
void batch_note(struct disk_batch *h, uint64_t seq);
/* What a batch that was decoded tells; 0: nothing. */
uint64_t batch_noted(const uint8_t *p, const struct disk_batch *h);
/* Is it a batch, at first sight? */
bool batch_begins(const uint8_t *p);

/* A record as it was found; crc are in host order. */
struct rec_view {
	uint8_t type;
	uint32_t payload_blocks;
	uint64_t volume, number; /* number: tx, watermark, epoch */
	uint64_t offset, blocks;
	uint32_t slot, slot_gen, index, participants;
	struct disk_label label; /* as on disk */
	unsigned nparts;
	struct part_view {
		uint8_t granule, kind;
		uint16_t mask;
		uint32_t phys;
		uint32_t crc[GRANULE_BLOCKS];
	} part[PARTS_MAX];
};

struct rec_limits {
	uint64_t slots, granules;
};

/* The header at p, of which len bytes are there. 0 and the batch's blocks, or -EINVAL. */
int batch_decode(const uint8_t *p, size_t len, const uint8_t *store, struct disk_batch *h);
/* The record at p: its bytes, or -EINVAL. */
int rec_decode(const uint8_t *p, size_t len, const struct rec_limits *limits, struct rec_view *v);

void label_to_disk(const struct weft_label *wire, uint32_t slot_gen, struct disk_label *disk);
void label_to_wire(const struct disk_label *disk, struct weft_label *wire);
bool label_valid(const struct disk_label *disk);
void label_seal(struct disk_label *disk);

/* ---- wal.c --------------------------------------------------------------------------------- */

void wal_init(struct store *s);
/* Put a record at the end of the queue. */
void wal_append(struct store *s, struct rec *r);
/* Answer the request when all records up to now are durable. */
void wal_answer(struct store *s, struct nbd_req *req);
/* All records up to seq are to become durable. */
void wal_want(struct store *s, uint64_t seq);
void wal_kick(struct store *s);
/* Room for a PREPARE, or for a record of another kind? */
bool wal_room_prepare(const struct store *s, uint32_t payload_bytes);
bool wal_room_undecided(const struct store *s, uint32_t payload_bytes);
bool wal_room_small(const struct store *s);
uint64_t wal_used(const struct store *s); /* blocks, also of what is queued */
void wal_fresh_done(struct store *s, struct ptx *t);
/* There was no space for a granule: its bytes go into the log. false: that is full, too. */
bool wal_fresh_to_log(struct store *s, struct part *p);
/* Forget batches that nothing needs; returns where the tail may go. */
void wal_tail(struct store *s, struct disk_super *super);
void wal_stop(struct store *s);
/* The durable record does what it says. */
void rec_apply(struct store *s, struct rec *r);

/* ---- the commands -------------------------------------------------------------------------- */

/* engine.c */
void store_fail(struct store *s, int err, const char *what);
void store_stall(struct store *s, struct nbd_req *req);
void store_stall_kick(struct store *s);
void store_dispatch(struct store *s, struct nbd_req *req);
void store_rest(struct store *s); /* an operation ended */
void req_answer_bytes(struct store *s, struct nbd_req *req, const void *data, uint32_t len);
void req_answer_durable(struct store *s, struct nbd_req *req);

/* volume.c */
struct vol *vol_find(struct store *s, uint64_t number);
/* 0, or a positive errno */
int vol_check_epoch(struct store *s, const struct weft_cmd *cmd, struct vol **vol);
struct vol *vol_place(struct store *s, uint64_t number, uint32_t index);
void vol_write_meta(struct store *s, const struct vol *v, uint64_t committed, uint32_t epoch);
int vol_load(struct store *s, const char **why);
void vol_fence(struct store *s, struct nbd_req *req);
void vol_list(struct store *s, struct nbd_req *req);
void vol_table(struct store *s, struct nbd_req *req);

/* slots.c */
int slots_load(struct store *s, const char **why);
int slots_settle(struct store *s, const char **why);
void slot_label(struct store *s, struct nbd_req *req);
void slot_labels(struct store *s, struct nbd_req *req);
void slot_discard_request(struct store *s, struct nbd_req *req);
void slot_mark(struct store *s, struct nbd_req *req);
void slot_discard_retry(struct store *s);
void slot_apply_label(struct store *s, const struct rec *r);
void slot_apply_discard(struct store *s, const struct rec *r);
void slot_clear(struct store *s, uint32_t slot);
void slot_fill(struct store *s, uint32_t slot, const struct disk_label *label);

/* prepare.c */
void prepare_init(struct store *s);
void prepare_request(struct store *s, struct nbd_req *req);
void prepare_finish(struct store *s, struct nbd_req *req, struct buf *old, int err);
/* prepare-apply.c: the last step, when all old bytes are there. */
int prepare_check(struct store *s, struct nbd_req *req, struct vol **vol);
int prepare_apply(struct store *s, struct nbd_req *req, const struct buf *old);

/* read.c */
void read_request(struct store *s, struct nbd_req *req);
void verify_request(struct store *s, struct nbd_req *req);

/* commit.c */
void commit_request(struct store *s, struct nbd_req *req);
void abort_request(struct store *s, struct nbd_req *req);
/* Was this tx undone already? Then its PREPARE must not take effect any more. */
bool abort_came(const struct store *s, const struct vol *v, uint64_t tx);

/* home.c */
void home_init(struct store *s);
void home_kick(struct store *s, bool now);
/* The part is ready: carried home at once, if that costs nothing. */
bool home_whole(struct store *s, struct part *whole);
/* The entry that results from all ready parts, phys and present in host order. need: phys is to be
 * allocated. */
void home_target(struct store *s, struct gran *g, struct disk_entry *e, bool *need);

/* checkpoint.c */
void ckpt_init(struct store *s);
void ckpt_want(struct store *s);
void ckpt_step(struct store *s);

/* ahead.c: 0, or the log that was replayed is not all of it. */
void ahead_start(struct store *s, void (*done)(struct store *s, int err, const char *why));
void ahead_free(struct store *s);

/* replay.c */
int replay_start(struct store *s);
void replay_free(struct store *s);

#endif
