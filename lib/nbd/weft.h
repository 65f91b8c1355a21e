/*
 * The private part of the protocol between volmgr and nbdsrv: options, commands and their headers.
 * See weft-protocol(7). All integers are big-endian on the wire, as everywhere in NBD; the structs
 * here are what is on the wire.
 *
 * After authentication the client opens the export WEFT_STORE_EXPORT. It is the store's slots one
 * after the other: byte b of slot s is at offset s * WEFT_SHARD_BYTES + b, and plain NBD_CMD_READ
 * and NBD_CMD_FLUSH work on it. Plain writes are refused: a store changes only by the commands
 * here. The replies are simple replies, always.
 *
 * A request of a private command has the NBD request header, then struct weft_cmd, then data:
 * the length field counts both. On success its reply carries exactly weft_cmd.reply_len bytes.
 */
#ifndef WEFT_NBD_WEFT_H
#define WEFT_NBD_WEFT_H

#include <assert.h>
#include <stdint.h>

#define WEFT_PROTOCOL_VERSION 1u
#define WEFT_STORE_EXPORT     "weft-store"
/*
 * The description of that export is this and the server's version, for those who ask for one with
 * NBD_INFO_DESCRIPTION. An older server has no description.
 */
#define WEFT_STORE_ABOUT      "nbdsrv "
/*
 * Reads only, for requests that come past volmgr (see bpf/route.h). Byte b of slot s with
 * generation g is at (g modulo 65536) << 48 | s << 22 | b; another generation is refused. Replies
 * are structured, and a send has whole ones only; one that cannot be sent becomes an error. With
 * NBD_CMD_FLAG_FUA the chunk is not the last: when it has been sent, one of nothing follows.
 */
#define WEFT_ROUTE_EXPORT     "weft-route"
/*
 * Where a volmgr of the same machine passes the server a TCP connection that it has made, on which
 * the server then takes part as if it had accepted it. The name of an abstract Unix socket; behind
 * it stands a number, which STAT tells. Its end is the end of the server's process.
 */
#define WEFT_ROUTE_SOCKET     "weft-route-"
/*
 * volmgr: export NAME WEFT_EXPORT_ROOM is the volume NAME with a size that it may grow to. Requests
 * behind the end that it has now are refused. For clients that learn the size once and never again.
 */
#define WEFT_EXPORT_ROOM      "+room"

#define WEFT_BLOCK_BYTES      4096u	   /* the grain of private commands and of checksums */
#define WEFT_SHARD_BYTES      (4u << 20)   /* a slot's size */
#define WEFT_UNIT_MAX	      (256u << 10) /* one weft_cmd.blocks covers a unit */
#define WEFT_K_MAX	      16u
#define WEFT_M_MAX	      4u
#define WEFT_SHARDS_MAX	      (WEFT_K_MAX + WEFT_M_MAX)
/*
 * Extents of these numbers are none: a slot with such a label, for ever empty, keeps what is known
 * of the volume as text in the label's name. The one of the highest generation counts.
 */
#define WEFT_EXTENT_NAME      UINT64_MAX       /* the volume's name */
#define WEFT_EXTENT_SETTINGS  (UINT64_MAX - 1) /* "size=BYTES ..." */
#define WEFT_PREPARE_MAX      (WEFT_UNIT_MAX)  /* bytes of data in one PREPARE */
#define WEFT_GRANULE_BYTES    (64u << 10)      /* whole ones take no room in a server's log */
#define WEFT_MEMBERS_MAX      1024u	       /* addresses in one MEMBERS */

/* ---- authentication: two private options --------------------------------- */
/*
 * C: WEFT_OPT_HELLO  struct weft_hello
 * S: WEFT_REP_HELLO  struct weft_hello_reply  (the server has proved that it knows the secret),
 *    or NBD_REP_ERR_POLICY (other cluster, no secret here), NBD_REP_ERR_INVALID (other version)
 * C: WEFT_OPT_PROOF  struct weft_proof
 * S: NBD_REP_ACK, or NBD_REP_ERR_POLICY and the server closes
 *
 * proof = HMAC-SHA256(secret, label | client nonce | server nonce | cluster | store), with the
 * label "weft-1 server" or "weft-1 client" (13 bytes): neither proof can be played back as the
 * other.
 */
#define WEFT_OPT_HELLO	      0x77656601u
#define WEFT_OPT_PROOF	      0x77656602u
#define WEFT_REP_HELLO	      0x77656601u

#define WEFT_NONCE_BYTES      32
#define WEFT_PROOF_BYTES      32
#define WEFT_UUID_BYTES	      16
#define WEFT_SECRET_BYTES     32

struct weft_hello {
	uint32_t version;
	uint32_t reserved;
	uint8_t nonce[WEFT_NONCE_BYTES];
} __attribute__((packed));

struct weft_hello_reply {
	uint32_t version;
	uint32_t reserved;
	uint8_t nonce[WEFT_NONCE_BYTES];
	uint8_t cluster[WEFT_UUID_BYTES]; /* first 16 bytes of SHA-256("weft-cluster" | secret) */
	uint8_t store[WEFT_UUID_BYTES];	  /* this store, for ever */
	uint8_t boot[WEFT_UUID_BYTES];	  /* this run of nbdsrv: another one means it restarted */
	uint8_t proof[WEFT_PROOF_BYTES];
} __attribute__((packed));

struct weft_proof {
	uint8_t proof[WEFT_PROOF_BYTES];
} __attribute__((packed));

/* ---- commands ------------------------------------------------------------ */

enum weft_cmd_type {
	/*
	 * Change blocks of one slot, in memory at least; from the reply on reads return the new
	 * bytes. One PREPARE is all that a tx changes in that slot. request offset: byte address of
	 * the block that bit 0 of blocks stands for.
	 *  mode DATA: data follows, one block for each bit set, ascending.
	 *  mode XOR:  the same, to be combined with what is there.
	 *  mode ZERO: no data; the blocks become zeros and give their space back.
	 * flag WANT_OLD: the reply carries the blocks as they were, one for each bit set
	 * (reply_len = 4096 * bits). Otherwise reply_len is 0.
	 * NBD_CMD_FLAG_FUA: the reply comes when it is durable.
	 */
	WEFT_CMD_PREPARE = 0x5701,
	/* Every prepared tx of the volume whose number is <= tx takes effect for good. */
	WEFT_CMD_COMMIT = 0x5702,
	/*
	 * Undo exactly this tx and every later one of the volume that touched the same blocks. A
	 * PREPARE of this tx that comes after it is refused with EINVAL. NBD_CMD_FLAG_FUA: the
	 * reply comes when it is durable.
	 */
	WEFT_CMD_ABORT = 0x5703,
	/*
	 * The volume's prepared txs, ascending, from number tx on: a struct weft_list_head and
	 * (reply_len - 32) / 40 struct weft_list_entry.
	 */
	WEFT_CMD_LIST = 0x5704,
	/*
	 * From now on (durable before the reply) private commands for this volume with an epoch
	 * below this one are refused with WEFT_ESTALE; an epoch not announced here is too.
	 * tx: a number that the owner's process drew at random, 0: none. As long as this server
	 * runs, the same epoch with another number is refused: two owners have come to it, from
	 * copies of one volmgr's metadata. blocks: as long as this server runs, PREPAREs with this
	 * number or a lower one are refused with EINVAL, for their owner has given them up and they
	 * may still be on their way in another connection. Reply: struct weft_fence_reply.
	 */
	WEFT_CMD_FENCE = 0x5705,
	/* Data: struct weft_label. Reply: struct weft_slot_reply. Durable before the reply.
	 * A label equal in volume, extent, shard and generation to one that is there already
	 * returns that slot: the request may be repeated. */
	WEFT_CMD_LABEL = 0x5706,
	/* Free the slot that request offset points at, if slot_gen is its generation (else
	 * WEFT_ESTALE). Its prepared txs go too. Durable before the reply. */
	WEFT_CMD_DISCARD = 0x5707,
	/* Labels in use from slot number tx on: weft_list_head, then struct weft_label_entry. */
	WEFT_CMD_LABELS = 0x5708,
	/* Reply: struct weft_stat. */
	WEFT_CMD_STAT = 0x5709,
	/*
	 * Remember in the label of the slot at offset (of generation slot_gen) that the shards in
	 * the mask "blocks" of its extent are stale. tx: a number that rises within the extent; a
	 * lower one than the label has changes nothing. Durable before the reply. So the servers
	 * know what the metadata knows, should that be lost.
	 */
	WEFT_CMD_MARK = 0x570a,
	/* Volumes that were fenced here, from place tx in the table on: weft_list_head (committed:
	 * the place after the last one), then struct weft_volume_entry. */
	WEFT_CMD_VOLUMES = 0x570b,
	/*
	 * Read tx bytes (whole blocks of one slot) from offset on and verify their checksums, as
	 * READ does, but send nothing back: 0, WEFT_EBADMSG or NBD_EIO. For scrubs.
	 */
	WEFT_CMD_VERIFY = 0x570c,
	/* Which granules of the slot at offset have anything but zeros that were never written.
	 * Reply: struct weft_map_reply. An older server has EINVAL for it. For rebuilds. */
	WEFT_CMD_MAP = 0x570d,
	/*
	 * The addresses of the cluster, all of them: 16 bytes each, IPv6 or ::ffff:a.b.c.d. A
	 * server with a guard (bpf/guard.h) lets these in, and the sender of this, and nobody else.
	 * Others answer well and do nothing.
	 */
	WEFT_CMD_MEMBERS = 0x570e,
};

/* modes of PREPARE */
enum { WEFT_MODE_DATA = 0, WEFT_MODE_XOR = 1, WEFT_MODE_ZERO = 2 };
/* flags of weft_cmd */
#define WEFT_FLAG_WANT_OLD 0x01

struct weft_cmd {
	uint64_t volume; /* number of the volume; 0 where none is meant */
	uint64_t tx;	 /* number of the tx, rising within a volume; other uses: see the command */
	uint64_t blocks; /* PREPARE: bit i: the block 4096 * i bytes after offset */
	uint32_t epoch;	 /* of the volume's owner; 0 for LABELS, STAT and VOLUMES */
	uint32_t slot_gen;  /* generation of the slot; PREPARE, DISCARD, MARK, VERIFY, MAP */
	uint32_t reply_len; /* bytes expected in the reply */
	uint8_t mode;
	uint8_t flags;
	uint16_t reserved;     /* 0 */
	uint32_t participants; /* PREPARE: bit i: shard i of the extent takes part in this tx. The
				* store keeps it and LIST returns it: whoever recovers knows from it
				* whether a tx is whole */
	uint32_t reserved2;
	uint64_t reserved3[2];
} __attribute__((packed));
static_assert(sizeof(struct weft_cmd) == 64, "wire");

struct weft_label {
	uint64_t volume;
	uint64_t extent;     /* number of the extent in its volume */
	uint32_t generation; /* of the extent: rises when a shard is placed anew */
	uint32_t unit_bytes;
	uint8_t shard; /* 0..k-1 data, k..k+m-1 parity */
	uint8_t k;
	uint8_t m;
	uint8_t code; /* enum ec_code */
	uint32_t reserved;
	char name[64]; /* the volume's name when it was made, NUL padded: for people */
} __attribute__((packed));
static_assert(sizeof(struct weft_label) == 96, "wire");

struct weft_slot_reply {
	uint32_t slot;
	uint32_t slot_gen;
	uint64_t reserved;
} __attribute__((packed));

struct weft_map_reply {
	uint64_t granules; /* bit i: the one at byte i * WEFT_GRANULE_BYTES */
} __attribute__((packed));

struct weft_label_entry {
	uint32_t slot;
	uint32_t slot_gen;
	uint64_t mapped_bytes; /* physical bytes behind the slot */
	uint32_t mark;	       /* highest number of a MARK, 0: none came */
	uint32_t stale;	       /* and its mask */
	uint64_t reserved;
	struct weft_label label;
} __attribute__((packed));
static_assert(sizeof(struct weft_label_entry) == 128, "wire");

struct weft_volume_entry {
	uint64_t volume;
	uint64_t committed; /* highest COMMIT number */
	uint32_t epoch;
	uint32_t slots; /* that carry its label */
	uint64_t reserved;
} __attribute__((packed));
static_assert(sizeof(struct weft_volume_entry) == 32, "wire");

struct weft_list_head {
	uint32_t count;	    /* entries that follow; the rest of the reply is zeros */
	uint32_t more;	    /* 1: ask again from the number (or slot) after the last one */
	uint64_t committed; /* LIST: the volume's highest COMMIT number */
	uint64_t reserved[2];
} __attribute__((packed));
static_assert(sizeof(struct weft_list_head) == 32, "wire");

struct weft_list_entry {
	uint64_t tx;
	uint64_t offset; /* as in PREPARE */
	uint64_t blocks;
	uint32_t slot_gen;
	uint32_t durable;      /* 1: would survive a power cut now */
	uint32_t participants; /* as in PREPARE */
	uint32_t reserved;
} __attribute__((packed));
static_assert(sizeof(struct weft_list_entry) == 40, "wire");

struct weft_fence_reply {
	uint64_t committed; /* the volume's highest COMMIT number, 0: none */
	uint32_t old_epoch;
	uint32_t prepared; /* number of prepared txs */
} __attribute__((packed));

struct weft_stat {
	uint64_t size_bytes; /* of the data area */
	uint64_t free_bytes; /* not allocated, and really there */
	uint64_t slots;	     /* how many there are */
	uint64_t slots_used;
	uint64_t log_bytes;
	uint64_t log_used_bytes;
	uint64_t reads, writes, read_bytes, write_bytes, flushes;
	uint64_t crc_errors, io_errors;
	uint64_t prepared;     /* txs that wait for COMMIT or ABORT */
	uint64_t route_name;   /* of WEFT_ROUTE_SOCKET; 0: there is none */
	uint64_t guard;	       /* how it is guarded, enum guard_how of bpf/guard.h; 0: not at all */
	uint64_t guard_closed; /* 1: members are known, others are dropped */
	uint64_t guard_members;
	uint64_t guard_dropped, guard_passed; /* packets */
	/*
	 * Where the store's log ends, and as far as it would survive a power cut: blocks, counted
	 * from the making of the store. A store whose log ends before what it once told as durable
	 * has been put back to an earlier state. 0: it does not tell.
	 */
	uint64_t log_head, log_durable;
} __attribute__((packed));
static_assert(sizeof(struct weft_stat) == 176, "wire");

/* Errors of the private connection beside those of the NBD specification. */
#define WEFT_EBADMSG 74u  /* the checksum does not match: decode from the others */
#define WEFT_ESTALE  116u /* fenced, or the slot is not what it was */

#endif
