/* Block devices as the kernel shows them, and the commands that attaching runs. */
#include "config.h"

#include "attach.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "banned.h"

#define WAIT_STEP_MS 20
#define MOUNTS_LINE  4096
#define PARTS_MAX    64
#define EXEC_FAILED  127

uint64_t attach_device_size(const char *device)
{
	uint64_t bytes = 0;
	int fd = open(device, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (ioctl(fd, BLKGETSIZE64, &bytes) != 0)
		bytes = 0;
	close(fd);
	return bytes;
}

/* "MAJOR:MINOR" of the device and of its partitions. */
static int device_numbers(const char *base, char (*list)[16], int max)
{
	char dir[ATTACH_PATH_MAX], path[ATTACH_PATH_MAX * 2];
	struct dirent *e;
	int n = 0;
	DIR *d;

	snprintf(dir, sizeof(dir), "/sys/block/%.100s", base);
	d = opendir(dir);
	while (d != NULL && n < max && (e = readdir(d)) != NULL) {
		FILE *f;

		if (strcmp(e->d_name, ".") != 0 && strncmp(e->d_name, base, strlen(base)) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s/dev", dir, e->d_name);
		f = fopen(path, "re");
		if (f == NULL)
			continue;
		if (fgets(list[n], sizeof(list[n]), f) != NULL) {
			list[n][strcspn(list[n], "\n")] = '\0';
			n++;
		}
		fclose(f);
	}
	if (d != NULL)
		closedir(d);
	return n;
}

/* Octal escapes of /proc/self/mountinfo, in place. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s != '\0'; s++, to++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*to = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 3;
		} else {
			*to = *s;
		}
	}
	*to = '\0';
}

/* Where one of the devices is mounted. */
static bool find_mount(char (*numbers)[16], int n, char *where, size_t len)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[MOUNTS_LINE], number[16], point[MOUNTS_LINE];
	bool found = false;

	while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "%*d %*d %15s %*s %4095s", number, point) != 2)
			continue;
		for (int i = 0; i < n && !found; i++)
			found = strcmp(number, numbers[i]) == 0;
	}
	if (f != NULL)
		fclose(f);
	if (found) {
		unescape(point);
		snprintf(where, len, "mounted on %s", point);
	}
	return found;
}

static bool find_swap(const char *device, char *where, size_t len)
{
	FILE *f = fopen("/proc/swaps", "re");
	char line[MOUNTS_LINE];
	bool found = false;

	while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL)
		found = strncmp(line, device, strlen(device)) == 0;
	if (f != NULL)
		fclose(f);
	if (found)
		snprintf(where, len, "used as swap space");
	return found;
}

bool attach_device_busy(const char *device, char *where, size_t len)
{
	const char *base = strrchr(device, '/') != NULL ? strrchr(device, '/') + 1 : device;
	char numbers[PARTS_MAX][16];
	int fd;

	/* an exclusive open fails also for mounts in other namespaces, dm, md and swap */
	fd = open(device, O_RDONLY | O_EXCL | O_CLOEXEC);
	if (fd >= 0) {
		close(fd);
		return false;
	}
	if (errno != EBUSY)
		return false;
	if (!find_mount(numbers, device_numbers(base, numbers, PARTS_MAX), where, len) &&
	    !find_swap(device, where, len))
		snprintf(where, len, "in use (by device mapper, RAID, or a mount of a container)");
	return true;
}

/* In the child: what every command gets. */
static void child_stdio(const char *log)
{
	int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0 ||
	    dup2(fd, STDERR_FILENO) < 0)
		_exit(EXEC_FAILED);
}

__attribute__((noreturn)) static void child_exec(const char *const *argv)
{
	execvp(argv[0], (char *const *)argv);
	dprintf(STDERR_FILENO, "cannot run %s: %s\n", argv[0], strerror(errno));
	_exit(EXEC_FAILED);
}

int attach_run(const char *log, const char *const *argv)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		child_stdio(log);
		child_exec(argv);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/*
 * The file system's dirty pages are written through this process: while it allocates memory for one
 * write, the kernel must not wait for another one, nor kill it first of all.
 */
static void become_io_flusher(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		if (write(fd, "-1000", 5) < 0) {
			/* not allowed here: it works without */
		}
		close(fd);
	}
	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
}

pid_t attach_fork(const char *log)
{
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		setsid();
		signal(SIGHUP, SIG_IGN);
		if (chdir("/") != 0)
			_exit(EXEC_FAILED);
		become_io_flusher();
		child_stdio(log);
	}
	return pid;
}

pid_t attach_spawn(const char *log, const char *const *argv)
{
	pid_t pid = attach_fork(log);

	if (pid == 0)
		child_exec(argv);
	return pid;
}

/* Gone, or a zombie that nobody waits for. */
static bool process_gone(pid_t pid)
{
	char path[64], state = 'Z';
	FILE *f;

	waitpid(pid, NULL, WNOHANG);
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (f == NULL)
		return true;
	if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
		state = 'Z';
	fclose(f);
	return state == 'Z' || state == 'X';
}

bool attach_process_lives(pid_t pid, const char *name)
{
	char path[64], comm[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	f = fopen(path, "re");
	if (f == NULL)
		return false;
	if (fgets(comm, sizeof(comm), f) == NULL)
		comm[0] = '\0';
	fclose(f);
	comm[strcspn(comm, "\n")] = '\0';
	return strcmp(comm, name) == 0 && !process_gone(pid);
}

const char *attach_last_line(const char *log)
{
	static char last[MOUNTS_LINE];
	char line[MOUNTS_LINE];
	FILE *f = fopen(log, "re");

	last[0] = '\0';
	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] != '\0')
			memcpy(last, line, sizeof(last));
	}
	if (f != NULL)
		fclose(f);
	return last[0] != '\0' ? last : "it said nothing";
}

int attach_wait(int timeout_ms, int (*done)(void *arg), void *arg)
{
	struct timespec step = {0, WAIT_STEP_MS * 1000000L};
	int res = done(arg);

	for (int ms = 0; res == 0 && ms < timeout_ms; ms += WAIT_STEP_MS) {
		nanosleep(&step, NULL);
		res = done(arg);
	}
	return res;
}
