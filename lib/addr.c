/* Addresses, and sockets that listen on them; see addr.h. */
#include "config.h"

#include "addr.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "conf.h"

#include "banned.h"

#define TRY_MS 20 /* an address that is taken is tried again so often ... */
unsigned addr_listen_wait_ms = 10000;

#define BACKLOG 128

static int parse_unix(const char *path, struct addr *out, const char **why)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&out->sa;
	size_t len = strlen(path);

	if (len == 0 || len >= sizeof(un->sun_path)) {
		*why = "the path of a Unix socket has 1 to 107 bytes";
		return -EINVAL;
	}
	memset(un, 0, sizeof(*un));
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path, len + 1);
	out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
	return 0;
}

void addr_abstract(struct addr *out, const char *prefix, uint64_t number)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&out->sa;
	int len;

	memset(out, 0, sizeof(*out));
	un->sun_family = AF_UNIX;
	len = snprintf(un->sun_path + 1, sizeof(un->sun_path) - 1, "%s%016" PRIx64, prefix, number);
	out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
}

/* Split HOST:PORT, [V6]:PORT or HOST; text is changed. */
static int split_host(char *text, char **host, char **port)
{
	char *colon;

	if (text[0] == '[') {
		char *end = strchr(text, ']');

		if (end == NULL || (end[1] != ':' && end[1] != '\0'))
			return -EINVAL;
		*host = text + 1;
		*port = end[1] == ':' ? end + 2 : NULL;
		*end = '\0';
		return 0;
	}
	colon = strrchr(text, ':');
	*host = text;
	*port = NULL;
	if (colon != NULL) {
		*colon = '\0';
		*port = colon + 1;
	}
	return 0;
}

static int resolve(const char *host, const char *port, struct addr *out, const char **why)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *res;
	uint64_t number;
	int err;

	if (conf_number(port, 0, 65535, &number) < 0) {
		*why = "the port is no number from 0 to 65535";
		return -EINVAL;
	}
	err = getaddrinfo(host, port, &hints, &res);
	if (err != 0) {
		*why = "the host's name cannot be resolved";
		return -EINVAL;
	}
	memcpy(&out->sa, res->ai_addr, res->ai_addrlen);
	out->len = res->ai_addrlen;
	freeaddrinfo(res);
	return 0;
}

int addr_parse(const char *text, unsigned default_port, struct addr *out, const char **why)
{
	char copy[ADDR_TEXT_MAX], number[16], *host, *port;

	memset(out, 0, sizeof(*out));
	if (strncmp(text, "unix:", 5) == 0)
		return parse_unix(text + 5, out, why);
	if (strncmp(text, "shm:", 4) == 0) {
		out->shared = true;
		return parse_unix(text + 4, out, why);
	}
	if (strncmp(text, "tcp:", 4) == 0)
		text += 4;
	if (text[0] == '\0' || strlen(text) >= sizeof(copy)) {
		*why = "write it as tcp:HOST:PORT or unix:/PATH";
		return -EINVAL;
	}
	memcpy(copy, text, strlen(text) + 1);
	if (split_host(copy, &host, &port) < 0 || *host == '\0') {
		*why = "write it as tcp:HOST:PORT or unix:/PATH";
		return -EINVAL;
	}
	if (port == NULL) {
		if (default_port == 0) {
			*why = "the port is missing: write it as tcp:HOST:PORT";
			return -EINVAL;
		}
		snprintf(number, sizeof(number), "%u", default_port);
		port = number;
	}
	return resolve(host, port, out, why);
}

char *addr_format(const struct addr *a, char *buf)
{
	char host[NI_MAXHOST], port[NI_MAXSERV];

	if (a->sa.ss_family == AF_UNIX) {
		const struct sockaddr_un *un = (const struct sockaddr_un *)&a->sa;

		snprintf(buf, ADDR_TEXT_MAX, "%s:%s", a->shared ? "shm" : "unix",
			 a->len > offsetof(struct sockaddr_un, sun_path) ? un->sun_path : "");
		return buf;
	}
	if (getnameinfo((const struct sockaddr *)&a->sa, a->len, host, sizeof(host), port,
			sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
		snprintf(buf, ADDR_TEXT_MAX, "unknown");
		return buf;
	}
	snprintf(buf, ADDR_TEXT_MAX,
		 a->sa.ss_family == AF_INET6 ? "tcp:[%.250s]:%s" : "tcp:%.250s:%s", host, port);
	return buf;
}

unsigned addr_port(const struct addr *a)
{
	if (a->sa.ss_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)&a->sa)->sin_port);
	if (a->sa.ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)&a->sa)->sin6_port);
	return 0;
}

bool addr_is_local(const struct addr *a)
{
	if (a->sa.ss_family == AF_UNIX)
		return true;
	if (a->sa.ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)&a->sa;

		return ntohl(in->sin_addr.s_addr) >> 24 == 127;
	}
	if (a->sa.ss_family == AF_INET6) {
		const struct in6_addr *in6 = &((const struct sockaddr_in6 *)&a->sa)->sin6_addr;

		return IN6_IS_ADDR_LOOPBACK(in6) ||
		       (IN6_IS_ADDR_V4MAPPED(in6) && in6->s6_addr[12] == 127);
	}
	return false;
}

/* A socket file that a dead process left behind is in the way of its successor. */
static int remove_stale(const struct addr *a)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&a->sa;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), err = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&a->sa, a->len) == 0)
		err = -EADDRINUSE;
	else if (errno != ECONNREFUSED)
		err = errno == ENOENT ? 0 : -errno;
	else if (unlink(un->sun_path) < 0)
		err = -errno;
	close(fd);
	return err;
}

static const char *listen_why(int err)
{
	switch (err) {
	case EADDRINUSE:
		return "another process listens there; stop it or choose another address";
	case EADDRNOTAVAIL:
		return "this machine does not have that address";
	case EACCES:
		return "permission denied; ports below 1024 and directories of others need root";
	case ENOENT:
		return "the directory for the socket does not exist";
	default:
		return "the system refused";
	}
}

static int try_listen(struct addr *a, int fd)
{
	int one = 1;

	if (a->sa.ss_family != AF_UNIX &&
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&a->sa, a->len) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	a->len = sizeof(a->sa);
	return getsockname(fd, (struct sockaddr *)&a->sa, &a->len) < 0 ? -errno : 0;
}

static int listen_once(struct addr *a, const char **why)
{
	int fd, err;

	fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		*why = "the system refused to make a socket";
		return -errno;
	}
	err = a->sa.ss_family == AF_UNIX ? remove_stale(a) : 0;
	if (err == 0)
		err = try_listen(a, fd);
	if (err < 0) {
		*why = listen_why(-err);
		close(fd);
		return err;
	}
	return fd;
}

int addr_listen(struct addr *a, const char **why)
{
	const struct timespec pause = {.tv_nsec = TRY_MS * 1000000L};
	int fd = listen_once(a, why);

	for (unsigned ms = 0; fd == -EADDRINUSE && ms < addr_listen_wait_ms; ms += TRY_MS) {
		nanosleep(&pause, NULL);
		fd = listen_once(a, why);
	}
	return fd;
}

int addr_inherited(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	long n;

	if (pid == NULL || fds == NULL || strtol(pid, NULL, 10) != (long)getpid())
		return 0;
	n = strtol(fds, NULL, 10);
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	return n > 0 && n < 64 ? (int)n : 0;
}
