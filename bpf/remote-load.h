/* The programs of remote.bpf.c: between the loader of the others and theirs. */
#ifndef WEFT_BPF_REMOTE_LOAD_H
#define WEFT_BPF_REMOTE_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/remote.h"
#include "bpf/route.h"
#include "bpf/watch.h"

struct bpf_remote;

/* Descriptors of the maps that they share with those of route.bpf.c, and of the root cgroup. */
struct bpf_remote_maps {
	int clients, conns, reads, ports, watched;
	int cgroup;
	uint64_t netns;
};

/* NULL: not here, and why. */
struct bpf_remote *bpf_remote_open(const struct bpf_remote_maps *m, const char **why);
void bpf_remote_close(struct bpf_remote *r);
/* P is where volmgr hears of what comes on the connections with this number; Q its other end,
 * t as P sees it. */
int bpf_remote_pair(struct bpf_remote *r, int p, int q, const struct route_tuple *t,
		    uint64_t number);
/* What comes on the connection fd is a server's chunks from now on. t: as the server sees it. 0 or
 * -errno. */
int bpf_remote_add(struct bpf_remote *r, int fd, const struct route_tuple *t, uint64_t key,
		   uint64_t number);
void bpf_remote_remove(struct bpf_remote *r, const struct route_tuple *t);
/* Messages for client id that are not in its queue yet; UINT32_MAX: not known. */
uint32_t bpf_remote_waiting(struct bpf_remote *r, uint32_t id);

#endif
