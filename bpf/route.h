/*
 * What the programs in the kernel (route.bpf.c) and volmgr know in common: the layout of the maps.
 * Everything is in the host's byte order unless it says otherwise.
 *
 * How a read is routed. C is a client's end of its connection to volmgr, V is volmgr's end. For
 * each local server volmgr has a second connection beside the one for its own calls: R is volmgr's
 * end, S the server's. A READ that a client sends on C, inside one unit of a healthy extent, is
 * given a cookie of ours and the place in the server's store and put into S's receive queue; the
 * reply that the server sends on S gets the client's cookie back and is put into C's receive queue.
 * volmgr sees nothing of either. All other requests go to volmgr: large WRITEs are put into
 * V's receive queue, as TCP takes them from such a socket in small pieces; everything else, and
 * what is more than that queue may hold, by TCP, so that a client which sends more than is answered
 * is held up by its window, as ever.
 *
 * Where the order of bytes comes from:
 *  - C's receive queue takes redirected bytes only, from the client's first request on: volmgr's
 *    answers are redirected too, for TCP's bytes and redirected ones have no common order. The
 *    change is made by C's program when C has read exactly what was sent in the negotiation
 *    (tcp_sent), before volmgr can know of the request.
 *  - V's receive queue takes both, in turns: the kernel reads what was redirected before what came
 *    by TCP. So redirected bytes may be followed by TCP's at any time, and TCP's by redirected ones
 *    when volmgr has received (received) all that was sent.
 *  - S's receive queue takes redirected requests only, each one message of 28 bytes. The
 *    negotiation was read before, and volmgr sends nothing on R but by redirect.
 *  - R's receive queue takes redirected replies only, once the negotiation has been read: those
 *    that are not for a client. The program takes a send of the server apart into replies.
 *  - Replies of several senders must not mix within one, so each is put there as one: those of
 *    servers (at most ROUTE_READ_MAX bytes, always whole in one sk_msg) and those of volmgr up to
 *    that size. For a larger one volmgr closes the connection's route, waits until nothing is on
 * its way, and then is the only sender.
 *  - A request is only looked at when C's stream is at the beginning of one: at the place that
 *    volmgr has told (boundary), or where the request before ended. Places are compared by TCP's
 *    own count of bytes, so one that was cut or sent in part cannot be mistaken. What is put into
 *    V's queue is not in it and is counted by the program, too much when the kernel has no memory
 *    for all of it. So behind such bytes nothing is routed until volmgr has received that many:
 *    it never has received more than was sent.
 *
 * Why a routed read is never older than an acknowledged write: volmgr acknowledges a write when all
 * shards that are not stale have prepared it, and a server answers reads with what it has prepared.
 * A shard that misses a write is marked stale, and its entry here is cleared, before the write is
 * acknowledged. A server that comes back has another connection, hence another gate, which opens
 * when what it lost is marked. Gates are read before entries. A slot that was given to another
 * extent meanwhile has another generation, which the server compares.
 *
 * Which clients it is for. A receive from a socket in one of these maps that waits ends with EAGAIN
 * when it is woken by anything but data, as when a send of the same socket gets room again
 * (tcp_msg_wait_data() waits once). Who uses sockets without blocking does not notice. The kernel's
 * own nbd client sends and receives at once, blocking, and gives the device up. It knows no
 * structured replies: a client without them must have so much room for what it sends that it never
 * waits (ROUTE_SEND_ROOM), or leaves the maps before its negotiation ends.
 *
 * What bounds memory: requests on their way are at most ROUTE_INFLIGHT a connection; a client whose
 * queue holds more than ROUTE_UNREAD_MAX bytes is routed no further, and volmgr holds its own
 * answers back, until it has read some. What volmgr has not received of a client's WRITEs in its
 * queue is at most as much as it said (queue), in pieces that are not small. While all of TCP is
 * short of memory (tcp_mem), nothing is routed or put there. A socket whose own memory is limited
 * (by a memory cgroup of the first version) is in no map.
 */
#ifndef WEFT_ROUTE_H
#define WEFT_ROUTE_H

#ifdef __bpf__
typedef __u64 route_u64;
typedef __u32 route_u32;
typedef __u16 route_u16;
#else
#include <stdint.h>
typedef uint64_t route_u64;
typedef uint32_t route_u32;
typedef uint16_t route_u16;
#endif

#define ROUTE_CONNS	   4096u       /* clients that can be routed at once; a power of two */
#define ROUTE_VOLS	   1024u       /* as volmgr's VOLUMES_MAX */
#define ROUTE_GATES	   256u	       /* servers of one volume */
#define ROUTE_ENTRIES	   (1u << 20)  /* data shards of all volumes: 4 TiB of 4 MiB each */
#define ROUTE_SERVERS	   1024u       /* connections to servers, of all data threads */
#define ROUTE_PORTS	   16u	       /* that volmgr listens on */
#define ROUTE_READ_MAX	   65536u      /* bytes of one routed read */
#define ROUTE_ALIGN	   512u	       /* offset and length are multiples of it */
#define ROUTE_INFLIGHT	   128u	       /* routed reads of one client at once */
#define ROUTE_INFLIGHT_ALL 8192u       /* and of all */
#define ROUTE_UNREAD_MAX   (8u << 20)  /* bytes in a client's queue */
#define ROUTE_LARGE	   (32u << 10) /* bytes of a WRITE that is put into volmgr's queue */
#define ROUTE_PIECE_MIN	   4096u      /* of a message that is, but for a request's first and last */
#define ROUTE_QUEUE_MAX	   (8u << 20) /* of these, not received yet */
#define ROUTE_SEND_ROOM	   (256u << 20) /* SO_SNDBUF of clients that may be the kernel's */
#define ROUTE_ROOMY	   (1u << 31)	/* beside an id: it has that */
#define ROUTE_WATCHED	   2048u	/* volumes and servers whose reads are counted */
#define ROUTE_TUPLES	   16384u	/* connections not claimed yet; the oldest are forgotten */
#define ROUTE_USUAL_PART   16u		/* of a new time in the usual one */
#define ROUTE_SHARD_SHIFT  22u		/* log2 of WEFT_SHARD_BYTES */

/* A connection, from the side of the socket it is about. IPv4 is in word 0, the others are 0. */
struct route_tuple {
	route_u32 local[4], remote[4]; /* as on the wire */
	route_u16 local_port, remote_port;
};

/* Keys of servers' connections: a count, the server's number, the data thread. */
#define ROUTE_KEY_SHIFT	      24u
#define ROUTE_KEY_NUMBER      8u
#define ROUTE_KEY_SERVER(key) ((route_u32)((key) >> ROUTE_KEY_NUMBER & 0xffff))
#define ROUTE_PEER_KEY	      (1ULL << 63) /* beside a key, among the sockets of volmgr */

/* In the socket's own storage. */
enum route_role { ROUTE_NONE, ROUTE_CLIENT, ROUTE_SERVER, ROUTE_FRONT, ROUTE_PEER };

/* A read on its way. Key: the cookie we gave it: the client's id, then a number. */
#define ROUTE_MARK_ID (1u << 31) /* ids are below: volmgr's own requests have this one */
#define ROUTE_STEERED (1u << 31) /* in the number, for parts of READs */
/* What volmgr asked for. ONLY, END: of servers on other machines, see remote.h. */
enum route_steered { ROUTE_STEER_NOT, ROUTE_STEER_PART, ROUTE_STEER_ONLY, ROUTE_STEER_END };
struct route_read {
	route_u64 cookie; /* the client's, as on the wire */
	route_u64 offset; /* in the volume */
	route_u64 start_ns;
	route_u64 server; /* key of the server's connection */
	route_u32 len;
	route_u32 conn;	   /* struct route_conn.id */
	route_u16 flags;   /* of the request */
	route_u16 steered; /* enum route_steered */
	route_u16 pad[2];
};

struct route_sock {
	route_u64 key; /* CLIENT, FRONT: id of the connection; SERVER, PEER: the server's key */
	route_u32 role;
	route_u32 tx_base, rx_base; /* CLIENT: TCP's numbers of the first byte each way */
	/* CLIENT: where the next request begins, if next_known */
	route_u32 next, next_known;
	/* CLIENT: the last message was put into V's queue; whether all that were are there is not
	 * known yet */
	route_u32 queueing, doubtful;
	/* SERVER: bytes of a reply that came in pieces and goes to volmgr; FRONT: bytes of the
	 * negotiation that are not sent yet */
	route_u32 left;
	/* SERVER: the reply that was redirected last, for the case that this failed */
	route_u64 last_cookie;
	struct route_read last;
};

enum route_reply { ROUTE_FRESH, ROUTE_BY_TCP, ROUTE_REDIRECTED };

/* One client. In an array that volmgr has mapped; the place is id % ROUTE_CONNS. */
struct route_conn {
	/* written by volmgr */
	route_u32 id; /* 0: free */
	route_u32 volume;
	route_u32 open; /* reads may be routed */
	route_u32 structured;
	route_u32 boundary; /* bytes received when the last whole request had been taken */
	route_u32 tcp_sent; /* bytes of the negotiation */
	route_u32 received; /* bytes */
	route_u32 queue;    /* ROUTE_QUEUE_MAX, or 0: V has no room for them */
	/* written by the programs */
	route_u32 reply; /* enum route_reply */
	route_u32 seq;	 /* routed reads so far */
	route_u32 inflight;
	route_u32 queued;	       /* bytes put into V's queue */
	route_u64 delivered, consumed; /* bytes put into C's queue, and read from it */
	route_u64 usual_ns;	       /* that a routed read takes */
};

/* One volume. Written by volmgr. */
struct route_vol {
	route_u32 open;
	route_u32 k;
	route_u32 unit_shift;
	route_u32 first;   /* of its entries; extent e, data shard j: first + e * k + j */
	route_u64 extents; /* that have entries */
	route_u64 size;
	route_u64 gate[ROUTE_GATES]; /* key of the server's connection, 0: closed */
};

/* Where one data shard is: valid, place of its gate, 16 bits of the slot's generation, slot. One
 * word, so that it is changed at once. */
typedef route_u64 route_entry;
#define ROUTE_ENTRY_VALID (1ULL << 63)
#define ROUTE_ENTRY(gate, gen, slot)                                                               \
	(ROUTE_ENTRY_VALID | (route_u64)(gate) << 48 | (route_u64)((gen)&0xffff) << 32 |           \
	 (route_u32)(slot))
#define ROUTE_ENTRY_GATE(e) ((route_u32)((e) >> 48 & 0xff))
#define ROUTE_ENTRY_GEN(e)  ((route_u16)((e) >> 32))
#define ROUTE_ENTRY_SLOT(e) ((route_u32)(e))

/* The offset of a READ on a route's connection: generation, slot, byte in the shard. */
#define ROUTE_OFFSET_SHIFT  48u
#define ROUTE_SLOT_MAX	    (1u << (ROUTE_OFFSET_SHIFT - ROUTE_SHARD_SHIFT))

#endif
