/* The keeper of an attached volume (keep.h): starting it, asking for it, ending it. */
#include "config.h"

#include "attach.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "addr.h"
#include "banned.h"
#include "nbd/weft.h"

#define READY_FD       3
#define READY_WAIT_MS  15000
#define GONE_WAIT_MS   15000
#define ANSWER_SECONDS 5
#define SAID_MAX       256

/* The child's life: nothing of volctl's stays open in it, above all not the lock. */
__attribute__((noreturn)) static void keeper_live(const struct attach_record *r, int ready_fd)
{
	char export[sizeof(r->volume) + sizeof(WEFT_EXPORT_ROOM)], path[ATTACH_PATH_MAX];

	if (dup2(ready_fd, READY_FD) < 0 || close_range(READY_FD + 1, ~0U, 0) != 0 ||
	    fcntl(READY_FD, F_SETFD, FD_CLOEXEC) != 0)
		_exit(1);
	umask(077); /* its socket is root's */
	snprintf(export, sizeof(export), "%s%s", r->volume,
		 r->method == ATTACH_FUSE ? WEFT_EXPORT_ROOM : "");
	_exit(keep_run(r, export, attach_path(r->volume, ".sock", path), READY_FD));
}

/* What it says first: false after the time, or when it died. */
static bool keeper_hear(int fd, char *said, size_t len)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t got = poll(&p, 1, READY_WAIT_MS) > 0 ? read(fd, said, len - 1) : 0;

	said[got > 0 ? got : 0] = '\0';
	said[strcspn(said, "\n")] = '\0';
	return got > 0;
}

int attach_keep_start(struct attach_record *r)
{
	char log[ATTACH_PATH_MAX], said[SAID_MAX];
	int fds[2], err = EXIT_REFUSED;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) != 0) {
		volctl_error(NULL, "cannot make a pipe: %s", strerror(errno));
		return EXIT_REFUSED;
	}
	pid = attach_fork(attach_path(r->volume, ".keep.log", log));
	if (pid == 0)
		keeper_live(r, fds[1]);
	close(fds[1]);
	if (pid < 0) {
		volctl_error(NULL, "cannot start a process: %s", strerror(-pid));
	} else {
		r->keep_pid = pid;
		attach_store(r);
		if (!keeper_hear(fds[0], said, sizeof(said)))
			volctl_error(NULL, "cannot open the volume at %s: %s", r->address,
				     attach_last_line(log));
		else if (strcmp(said, "ready") != 0)
			volctl_error("is volmgr running there?", "cannot open the volume at %s: %s",
				     r->address, said);
		else
			err = EXIT_OK;
	}
	close(fds[0]);
	return err;
}

void attach_keep_address(const struct attach_record *r, char *buf)
{
	char path[ATTACH_PATH_MAX];

	snprintf(buf, ATTACH_PATH_MAX, "unix:%s", attach_path(r->volume, ".sock", path));
}

bool attach_volmgr_answers(const struct attach_record *r)
{
	struct timeval limit = {ANSWER_SECONDS, 0};
	const char *why;
	struct addr a;
	bool answers;
	int fd;

	if (addr_parse(r->address, 0, &a, &why) != 0)
		return false;
	fd = socket(a.sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	answers = connect(fd, (struct sockaddr *)&a.sa, a.len) == 0;
	close(fd);
	return answers;
}

bool attach_keep_lives(const struct attach_record *r)
{
	return r->keep_pid > 0 && attach_process_lives((pid_t)r->keep_pid, ATTACH_KEEPER_NAME);
}

static int keeper_gone(void *arg)
{
	return !attach_process_lives(*(pid_t *)arg, ATTACH_KEEPER_NAME);
}

void attach_keep_stop(struct attach_record *r, bool now)
{
	pid_t pid = (pid_t)r->keep_pid;
	char path[ATTACH_PATH_MAX];

	if (attach_keep_lives(r)) {
		/* it ends by itself when the device has left; TERM makes sure */
		kill(pid, now ? SIGKILL : SIGTERM);
		if (attach_wait(GONE_WAIT_MS, keeper_gone, &pid) == 0)
			kill(pid, SIGKILL);
		attach_wait(GONE_WAIT_MS, keeper_gone, &pid);
	}
	r->keep_pid = 0;
	unlink(attach_path(r->volume, ".sock", path));
}
