/*
 * unix-proxy PATH HOST PORT: accepts connections on a Unix socket and carries each to a TCP port
 * and back. In a virtual machine it brings volctl to a volmgr outside. It runs until it is killed.
 */
#include "config.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "banned.h"

#define CHUNK 65536

/* One direction; false at its end. */
static bool carry(int from, int to)
{
	static char buf[CHUNK];
	ssize_t n = read(from, buf, sizeof(buf)), done = 0;

	while (n > 0 && done < n) {
		ssize_t m = write(to, buf + done, (size_t)(n - done));

		if (m <= 0)
			return false;
		done += m;
	}
	return n > 0;
}

static void serve(int client, const struct sockaddr_in *to)
{
	struct pollfd p[2] = {{.fd = client, .events = POLLIN}, {.events = POLLIN}};

	p[1].fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(p[1].fd, (const struct sockaddr *)to, sizeof(*to)) != 0)
		return;
	while (poll(p, 2, -1) > 0)
		if ((p[0].revents != 0 && !carry(client, p[1].fd)) ||
		    (p[1].revents != 0 && !carry(p[1].fd, client)))
			return;
}

int main(int argc, char **argv)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct sockaddr_in to = {.sin_family = AF_INET};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (argc != 4 || strlen(argv[1]) >= sizeof(un.sun_path) ||
	    inet_pton(AF_INET, argv[2], &to.sin_addr) != 1) {
		fprintf(stderr, "usage: unix-proxy PATH IPV4-ADDRESS PORT\n");
		return 2;
	}
	to.sin_port = htons((uint16_t)strtoul(argv[3], NULL, 10));
	memcpy(un.sun_path, argv[1], strlen(argv[1]) + 1);
	if (bind(fd, (struct sockaddr *)&un, sizeof(un)) != 0 || listen(fd, 8) != 0) {
		perror(argv[1]);
		return 1;
	}
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int client = accept(fd, NULL, NULL);

		if (client < 0)
			return 1;
		if (fork() == 0) {
			serve(client, &to);
			_exit(0);
		}
		close(client);
	}
}
