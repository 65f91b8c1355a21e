/*
 * Steered reads of servers on other machines. To be read after route.h.
 *
 * volmgr has a connection of its own to each such server, beside the one for its calls. It asks
 * there for the parts of a READ, as it does with servers of this machine; nothing of a client's
 * goes out there by itself, for a connection that breaks would break the client's send. The replies
 * come in by TCP, a stream parser (sk_skb) cuts them into chunks, and a program gives each chunk
 * the client's cookie and offset and puts it into C's queue.
 *
 * Where the order of bytes comes from:
 *  - The kernel does not put it there at once: it appends the chunk to a list of C's, from which a
 *    worker moves it into C's queue, each chunk whole and in the list's order, and again and again
 *    while C's receive buffer is full. Nothing is lost of it but with C itself, so what the program
 *    has taken out of the table of reads will come, however the server fares; and what is still in
 *    the table will not, for who takes it out answers it.
 *  - So what comes by the list and what volmgr puts into the queue have no common order, but each
 *    is whole. Chunks may come in any order; but the one that ends an answer has to be the last.
 *    An answer of one chunk has its end in it (ROUTE_STEER_ONLY). The end of another goes by the
 *    list, too: volmgr sends it (REMOTE_END) on P, a connection to itself on the loopback, whose
 * other end Q has the same programs, when the servers have told that all parts are sent. What a
 *    server tells came through the program behind its bytes, so these are in the list by then. P is
 *    volmgr's end of that connection; what servers tell comes there, too, put into its queue as
 *    clients' bytes are into theirs.
 *  - When volmgr had to read a part itself while another came by the list, and before it sends what
 *    one message does not take, it waits until the list is empty: it looks (weft_remote_list) when
 *    it has heard of all that it asked for, so that nothing can be added.
 *
 * What ends each wait: a part that is in the table of reads is read by volmgr when it is late
 * (route-late.c). Of one that was taken out the server's word is right behind its bytes; when that
 * does not come within ROUTE_LOST_MS, the connection is ended, and all that was taken out of the
 * table counts as sent. (A server may stop between the two, and the bytes of its connection may be
 * held up when those of others are not.) Bytes that cannot be given to the client are dropped, and
 * left in the table, and so is the word for them. What goes to P is small, as all clients would
 * wait behind it. When what we send on P does not come back, P is given up, see route-remote.c.
 *
 * What is in C's list the kernel puts into its queue as one message of at most 18 pieces (the
 * fragments of packets), or copies it into one piece first: and while it has not so much memory in
 * a row, it tries again at each tick, for ever if need be. So the program makes that one piece, or
 * drops what cannot be.
 *
 * What bounds memory: bytes that were asked for and bytes that C has not read are at most
 * REMOTE_UNREAD_MAX together, more reads go through volmgr. C's receive buffer is made
 * REMOTE_RECV_ROOM, so that the list need not wait; net.core.rmem_max must allow it. A chunk is
 * charged for all of the packets that it shares.
 */
#ifndef WEFT_REMOTE_H
#define WEFT_REMOTE_H

#include "route.h"

#define REMOTE_RECV_ROOM  (8u << 20) /* SO_RCVBUF of clients */
#define REMOTE_UNREAD_MAX (4u << 20)
#define REMOTE_END	  0x8000u /* flag of a chunk that ends an answer, on volmgr's own connection */
#define REMOTE_NOTES	  256u	  /* P's: one for each data thread */

/* Whose a connection to a server is: the number of its P, its key; of Q no key. */
struct remote_owner {
	route_u64 note, key;
};

/* What volmgr asks weft_remote_list. */
struct remote_list {
	route_u32 id, waiting;
};

#endif
