/* No eBPF: built without it. Nothing ever opens, so nothing else is ever called. See loader.h. */
#include "config.h"

#include "bpf/loader.h"

#include <errno.h>
#include <stddef.h>

#include "banned.h"

struct bpf_route *bpf_route_open(const char **why)
{
	*why = "built without it";
	return NULL;
}

void bpf_route_close(struct bpf_route *b)
{
}

struct route_conn *bpf_route_conns(struct bpf_route *b)
{
	return NULL;
}

struct route_vol *bpf_route_vols(struct bpf_route *b)
{
	return NULL;
}

volatile route_entry *bpf_route_entries(struct bpf_route *b)
{
	return NULL;
}

int bpf_route_port(struct bpf_route *b, uint16_t port, bool on)
{
	return -ENOSYS;
}

int bpf_route_tuple(int fd, struct route_tuple *t)
{
	return -ENOSYS;
}

int bpf_route_client(struct bpf_route *b, int fd, uint32_t *id, bool *roomy)
{
	return -ENOSYS;
}

void bpf_route_leave(struct bpf_route *b, uint32_t id)
{
}

bool bpf_route_roomy(const struct bpf_route *b)
{
	return false;
}

int bpf_route_front(struct bpf_route *b, int fd, uint32_t id, uint32_t negotiation)
{
	return -ENOSYS;
}

int bpf_route_want(struct bpf_route *b, const struct route_tuple *t, uint64_t key)
{
	return -ENOSYS;
}

bool bpf_route_has_server(struct bpf_route *b, uint64_t key)
{
	return false;
}

int bpf_route_peer(struct bpf_route *b, int fd, uint64_t key)
{
	return -ENOSYS;
}

bool bpf_route_remote_open(struct bpf_route *b, const char **why)
{
	*why = "built without it";
	return false;
}

bool bpf_route_remote(const struct bpf_route *b)
{
	return false;
}

int bpf_route_remote_pair(struct bpf_route *b, int p, int q, uint64_t number)
{
	return -ENOSYS;
}

int bpf_route_remote_add(struct bpf_route *b, int fd, const struct route_tuple *t, uint64_t key,
			 uint64_t number)
{
	return -ENOSYS;
}

void bpf_route_remote_remove(struct bpf_route *b, const struct route_tuple *t)
{
}

uint32_t bpf_route_remote_waiting(struct bpf_route *b, uint32_t id)
{
	return 0;
}

int bpf_route_put(struct bpf_route *b, uint64_t *cookies, struct route_read *reads, uint32_t n)
{
	return -ENOSYS;
}

int bpf_route_take(struct bpf_route *b, uint64_t cookie, struct route_read *read)
{
	return -ENOENT;
}

void bpf_route_each(struct bpf_route *b,
		    void (*fn)(void *arg, uint64_t cookie, const struct route_read *read),
		    void *arg)
{
}

uint64_t bpf_route_unread(struct bpf_route *b, int fd, uint32_t id)
{
	return 0;
}

bool bpf_route_counts(const struct bpf_route *b)
{
	return false;
}

void bpf_watch_begin(struct bpf_route *b, uint64_t key)
{
}

void bpf_watch_end(struct bpf_route *b, uint64_t key)
{
}

void bpf_watch_read(struct bpf_route *b, uint64_t key, struct watch_counts *sum)
{
}
