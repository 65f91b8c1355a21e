/*
 * Routed reads: the connections that servers answer on, both ends of them. Needs nothing but the
 * programs, so that a test links it alone.
 */
#ifndef WEFT_VOLMGR_ROUTE_PAIR_H
#define WEFT_VOLMGR_ROUTE_PAIR_H

#include "bpf/loader.h"

#define ROUTE_PAIR_MS 1000 /* the longest that it takes */

/*
 * A connection on the loopback of this thread to itself: fd[0] ours, fd[1] the server's, which the
 * programs know by key. 0 or -errno.
 */
int route_pair_make(struct bpf_route *b, uint64_t key, int fd[2]);

#endif
