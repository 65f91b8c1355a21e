/* The programs for servers on other machines, by libbpf. See remote.h and loader.h. */
#include "config.h"

#include "bpf/remote-load.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/remote.skel.h"

#include "banned.h"

#define REMOTE_PAIR_KEY (1ULL << 63) /* beside a number, among keys of servers */

struct bpf_remote {
	struct remote_bpf *skel;
	struct bpf_link *room;
};

/* May a socket's receive buffer hold what a client may have under way? */
static bool room_is_there(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), room = REMOTE_RECV_ROOM / 2;
	socklen_t len = sizeof(room);
	bool good;

	if (fd < 0)
		return false;
	good = setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)) == 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, &len) == 0 &&
	       room >= (int)REMOTE_RECV_ROOM;
	close(fd);
	return good;
}

static struct remote_bpf *load(const struct bpf_remote_maps *m)
{
	struct remote_bpf *s = remote_bpf__open();

	if (s == NULL)
		return NULL;
	s->rodata->netns = m->netns;
	if (bpf_map__reuse_fd(s->maps.clients, m->clients) == 0 &&
	    bpf_map__reuse_fd(s->maps.conns, m->conns) == 0 &&
	    bpf_map__reuse_fd(s->maps.reads, m->reads) == 0 &&
	    bpf_map__reuse_fd(s->maps.ports, m->ports) == 0 &&
	    bpf_map__reuse_fd(s->maps.watched, m->watched) == 0 && remote_bpf__load(s) == 0)
		return s;
	remote_bpf__destroy(s);
	return NULL;
}

static const char *start(struct bpf_remote *r, const struct bpf_remote_maps *m)
{
	int map;

	if (!room_is_there())
		return "net.core.rmem_max is too small";
	r->skel = load(m);
	if (r->skel == NULL)
		return "the kernel does not take the programs";
	map = bpf_map__fd(r->skel->maps.remotes);
	if (bpf_prog_attach(bpf_program__fd(r->skel->progs.weft_remote_parse), map,
			    BPF_SK_SKB_STREAM_PARSER, 0) != 0 ||
	    bpf_prog_attach(bpf_program__fd(r->skel->progs.weft_remote_reply), map,
			    BPF_SK_SKB_STREAM_VERDICT, 0) != 0)
		return "the kernel takes no programs for what sockets receive";
	r->room = bpf_program__attach_cgroup(r->skel->progs.weft_remote_room, m->cgroup);
	if (r->room == NULL)
		return "the kernel takes no second program for the connections of the root cgroup";
	return NULL;
}

struct bpf_remote *bpf_remote_open(const struct bpf_remote_maps *m, const char **why)
{
	struct bpf_remote *r = calloc(1, sizeof(*r));

	*why = r == NULL ? "out of memory" : start(r, m);
	if (*why == NULL)
		return r;
	bpf_remote_close(r);
	return NULL;
}

void bpf_remote_close(struct bpf_remote *r)
{
	if (r == NULL)
		return;
	bpf_link__destroy(r->room);
	if (r->skel != NULL)
		remote_bpf__destroy(r->skel);
	free(r);
}

static int put(struct bpf_map *map, uint64_t key, int fd)
{
	uint64_t value = (uint64_t)fd;

	return bpf_map_update_elem(bpf_map__fd(map), &key, &value, BPF_ANY) == 0 ? 0 : -errno;
}

static int put_owner(struct bpf_remote *r, const struct route_tuple *t, uint64_t key,
		     uint64_t number)
{
	struct remote_owner o = {.note = number, .key = key};

	return bpf_map_update_elem(bpf_map__fd(r->skel->maps.owners), t, &o, BPF_ANY) == 0 ? 0
											   : -errno;
}

int bpf_remote_add(struct bpf_remote *r, int fd, const struct route_tuple *t, uint64_t key,
		   uint64_t number)
{
	int err = put_owner(r, t, key, number);

	return err != 0 ? err : put(r->skel->maps.remotes, key, fd);
}

int bpf_remote_pair(struct bpf_remote *r, int p, int q, const struct route_tuple *t,
		    uint64_t number)
{
	int err = put(r->skel->maps.notes, number, p);

	if (err == 0)
		err = put_owner(r, t, 0, number);
	return err != 0 ? err : put(r->skel->maps.remotes, REMOTE_PAIR_KEY | number, q);
}

void bpf_remote_remove(struct bpf_remote *r, const struct route_tuple *t)
{
	(void)bpf_map_delete_elem(bpf_map__fd(r->skel->maps.owners), t);
}

uint32_t bpf_remote_waiting(struct bpf_remote *r, uint32_t id)
{
	struct remote_list list = {.id = id};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &list, .ctx_size_in = sizeof(list));

	if (bpf_prog_test_run_opts(bpf_program__fd(r->skel->progs.weft_remote_list), &opts) != 0)
		return UINT32_MAX;
	return list.waiting;
}
