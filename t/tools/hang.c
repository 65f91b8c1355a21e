/*
 * A volume that hangs, for tests: whoever opens or reads one of the named files (or opens one of
 * the named folders) waits until this process ends. As root; it prints "hangs" when that holds,
 * or exits 77 when the kernel has no such events.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int fd = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_UNLIMITED_QUEUE, O_RDONLY);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (fd < 0) {
		fprintf(stderr, "fanotify_init: %s\n", strerror(errno));
		return 77;
	}
	for (int i = 1; i < argc; i++)
		if (fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN_PERM | FAN_ACCESS_PERM | FAN_ONDIR,
				  AT_FDCWD, argv[i]) < 0) {
			fprintf(stderr, "%s: %s\n", argv[i], strerror(errno));
			return 77;
		}
	puts("hangs");
	fflush(stdout);
	/* nothing is ever answered; the end of this process lets everybody go on */
	for (;;)
		pause();
}
