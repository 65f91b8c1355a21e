/* See ready.h. Failing to tell is no reason to stop: it is logged. */
#include "config.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"
#include "ready.h"
#include "banned.h"

void ready_line(int fd, const char *key, const char *value)
{
	if (fd >= 0 && dprintf(fd, "%s=%s\n", key, value) < 0)
		log_warn("cannot write to the file descriptor of --ready-fd: %s", strerror(errno));
}

/* NOTIFY_SOCKET is a path, or an abstract name that starts with "@". */
static void ready_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	size_t len;
	int fd;

	if (path == NULL || (path[0] != '/' && path[0] != '@'))
		return;
	len = strlen(path);
	if (len >= sizeof(sun.sun_path)) {
		log_warn("NOTIFY_SOCKET is too long to be a socket's name");
		return;
	}
	memcpy(sun.sun_path, path, len);
	if (path[0] == '@')
		sun.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&sun,
			     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		log_warn("cannot tell %s that we are \"%s\": %s", path, state, strerror(errno));
	if (fd >= 0)
		close(fd);
}

void ready_done(int fd)
{
	if (fd >= 0)
		close(fd);
	ready_notify("READY=1");
}

void ready_stopping(void)
{
	ready_notify("STOPPING=1");
}
