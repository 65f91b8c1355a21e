/*
 * eBPF on this machine: loads the programs of route.bpf.c, keeps their maps, and tries the whole
 * before anybody relies on it. What is needed is found out by trying, never by the kernel's
 * version.
 *
 * loader-libbpf.c does it with libbpf, loader-null.c is for builds without eBPF: there nothing ever
 * opens. Everything that was loaded ends with the process, or with bpf_route_close().
 * Threads: any, after bpf_route_open() has returned.
 */
#ifndef WEFT_BPF_LOADER_H
#define WEFT_BPF_LOADER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "bpf/route.h"
#include "bpf/watch.h"

struct bpf_route;

/* The programs in the kernel, attached, and tried with real connections on the loopback. NULL: not
 * here; *why is a sentence without a full stop, static. */
struct bpf_route *bpf_route_open(const char **why);
void bpf_route_close(struct bpf_route *b);

/* The maps that are shared with the programs. */
struct route_conn *bpf_route_conns(struct bpf_route *b);      /* ROUTE_CONNS */
struct route_vol *bpf_route_vols(struct bpf_route *b);	      /* ROUTE_VOLS */
volatile route_entry *bpf_route_entries(struct bpf_route *b); /* ROUTE_ENTRIES */

/* Connections to this port are (or no more) clients'. 0 or -errno. */
int bpf_route_port(struct bpf_route *b, uint16_t port, bool on);

/* The tuple of a connection as the other end of fd sees it. 0, or -EAFNOSUPPORT. */
int bpf_route_tuple(int fd, struct route_tuple *t);
/* The id of the client at the other end of fd, once, and whether it has ROUTE_SEND_ROOM; -ENOENT:
 * it is not of this machine. */
int bpf_route_client(struct bpf_route *b, int fd, uint32_t *id, bool *roomy);
/* It will not be routed: its socket is as any other from now on. */
void bpf_route_leave(struct bpf_route *b, uint32_t id);
/* The kernel allows sockets ROUTE_SEND_ROOM: all clients have it. */
bool bpf_route_roomy(const struct bpf_route *b);
/* fd is our end of the connection of client id. negotiation: bytes of it that fd has yet to send.
 */
int bpf_route_front(struct bpf_route *b, int fd, uint32_t id, uint32_t negotiation);

/* The next connection with this tuple (as the server sees it) is the server's for routed reads. */
int bpf_route_want(struct bpf_route *b, const struct route_tuple *t, uint64_t key);
/* It was seen. */
bool bpf_route_has_server(struct bpf_route *b, uint64_t key);
/* fd is our end of it; from now on what is sent there is redirected. */
int bpf_route_peer(struct bpf_route *b, int fd, uint64_t key);

/* Bytes of servers on other machines, too (remote.h), before anything else is done; it is tried.
 * False: not here, and why. */
bool bpf_route_remote_open(struct bpf_route *b, const char **why);
bool bpf_route_remote(const struct bpf_route *b);
/* p and q are the two ends of a connection of ours: what servers tell comes on p, ends of answers
 * are sent there. fd is our end of the connection to such a server, t as it sees it; number: of p.
 * 0 or -errno. */
int bpf_route_remote_pair(struct bpf_route *b, int p, int q, uint64_t number);
int bpf_route_remote_add(struct bpf_route *b, int fd, const struct route_tuple *t, uint64_t key,
			 uint64_t number);
void bpf_route_remote_remove(struct bpf_route *b, const struct route_tuple *t);
/* Messages for client id that are not in its queue yet. */
uint32_t bpf_route_remote_waiting(struct bpf_route *b, uint32_t id);

/* Put reads of volmgr's own among those on their way: all or none. */
int bpf_route_put(struct bpf_route *b, uint64_t *cookies, struct route_read *reads, uint32_t n);
/* Take a read out of those on their way: 0, or -ENOENT: somebody was faster. */
int bpf_route_take(struct bpf_route *b, uint64_t cookie, struct route_read *read);
/* Look at all; fn may take them. */
void bpf_route_each(struct bpf_route *b,
		    void (*fn)(void *arg, uint64_t cookie, const struct route_read *read),
		    void *arg);

/* Begin to count the routed reads of a volume or server (watch.h) unless it is done already; end
 * that; what was counted so far, which is nothing where nothing was begun. */
void bpf_watch_begin(struct bpf_route *b, uint64_t key);
void bpf_watch_end(struct bpf_route *b, uint64_t key);
void bpf_watch_read(struct bpf_route *b, uint64_t key, struct watch_counts *sum);

/* Bytes that the client at the other end of fd has been sent by redirect and has not read; of those
 * in its queue alone, unless reading is counted. */
uint64_t bpf_route_unread(struct bpf_route *b, int fd, uint32_t id);
bool bpf_route_counts(const struct bpf_route *b);

/* selftest.c: 0, or -errno with *why. */
int bpf_route_selftest(struct bpf_route *b, const char **why);
int bpf_remote_selftest(struct bpf_route *b, const char **why);

#endif
