/*
 * Routed reads: the connections that servers answer on, both ends of them. See route.h.
 *
 * volmgr makes both and passes one to the server, and so the server's end has two owners. It has
 * to: a program looks the server's socket up and the kernel uses it a moment later; when the socket
 * is closed in between, the client's send fails and its connection is lost. As it is, a server may
 * be killed at any moment and its socket stays. It is closed here, long after the last gate to it.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "route-pair.h"

#include "banned.h"

#define STRANGERS_MAX 16 /* of others on this machine, who connect to our listener */

/* A socket on the loopback, at a port that the kernel chooses. */
static int loopback(struct sockaddr_in *at)
{
	const struct timeval limit = {.tv_sec = ROUTE_PAIR_MS / 1000};
	socklen_t len = sizeof(*at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), err;

	*at = (struct sockaddr_in){.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)at, sizeof(*at)) == 0 &&
	    getsockname(fd, (struct sockaddr *)at, &len) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

/* The connection that came from there. */
static int accept_from(int listener, const struct sockaddr_in *from)
{
	for (unsigned i = 0; i < STRANGERS_MAX; i++) {
		struct sockaddr_in peer = {0};
		socklen_t len = sizeof(peer);
		int fd = accept4(listener, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC);

		if (fd < 0)
			return -errno;
		if (peer.sin_port == from->sin_port &&
		    peer.sin_addr.s_addr == from->sin_addr.s_addr)
			return fd;
		close(fd);
	}
	return -ECONNREFUSED;
}

static int tell_programs(struct bpf_route *b, const struct sockaddr_in *server,
			 const struct sockaddr_in *ours, uint64_t key)
{
	struct route_tuple t = {0};

	t.local[0] = t.remote[0] = htonl(INADDR_LOOPBACK);
	t.local_port = ntohs(server->sin_port);
	t.remote_port = ntohs(ours->sin_port);
	return bpf_route_want(b, &t, key);
}

static void close_pair(int fd[2])
{
	for (int i = 0; i < 2; i++) {
		if (fd[i] >= 0)
			close(fd[i]);
		fd[i] = -1;
	}
}

int route_pair_make(struct bpf_route *b, uint64_t key, int fd[2])
{
	const struct timeval forever = {0};
	struct sockaddr_in at, from;
	int listener = loopback(&at), err = 0;

	fd[0] = fd[1] = -1;
	if (listener < 0)
		return listener;
	fd[0] = loopback(&from);
	if (fd[0] < 0)
		err = fd[0];
	else if (listen(listener, STRANGERS_MAX) < 0 ||
		 (b != NULL && tell_programs(b, &at, &from, key) != 0) ||
		 connect(fd[0], (struct sockaddr *)&at, sizeof(at)) < 0)
		err = -errno;
	if (err == 0)
		fd[1] = accept_from(listener, &from);
	if (err == 0 && fd[1] < 0)
		err = fd[1];
	close(listener);
	for (int i = 0; i < 2 && err == 0; i++)
		if (setsockopt(fd[i], SOL_SOCKET, SO_SNDTIMEO, &forever, sizeof(forever)) < 0 ||
		    setsockopt(fd[i], SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof(forever)) < 0)
			err = -errno;
	if (err != 0)
		close_pair(fd);
	return err;
}
