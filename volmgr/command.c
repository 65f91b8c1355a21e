/*
 * Running of configured commands; see command.h. A command gets nothing of ours: no descriptor, no
 * signal mask, a process group of its own, which is ended as a whole when it takes too long.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "log.h"
#include "banned.h"

static const struct {
	const char *name;
	char holder;
} kinds[COMMANDS] = {
	[COMMAND_ATTACH] = {"attach", 'v'}, [COMMAND_DETACH] = {"detach", 'v'},
	[COMMAND_STOP] = {"stop", 'h'},	    [COMMAND_START] = {"start", 'h'},
	[COMMAND_OFF] = {"off", 'h'},	    [COMMAND_WAKE] = {"wake", 'h'},
};

struct running {
	struct command_run run; /* first */
	pid_t pid;
	int pidfd, output;
	struct control_watch *ended;
	struct control_timer *limit;
	bool late;
	struct running *next;
};

static struct command_line lines[COMMANDS];
static struct running *all;

static int command_set(enum command which, const char *text, const char **why)
{
	return command_parse(text, kinds[which].holder, &lines[which], why);
}

int command_set_attach(void *ctx, const char *value, const char **why)
{
	return command_set(COMMAND_ATTACH, value, why);
}

int command_set_detach(void *ctx, const char *value, const char **why)
{
	return command_set(COMMAND_DETACH, value, why);
}

int command_set_stop(void *ctx, const char *value, const char **why)
{
	return command_set(COMMAND_STOP, value, why);
}

int command_set_start(void *ctx, const char *value, const char **why)
{
	return command_set(COMMAND_START, value, why);
}

int command_set_off(void *ctx, const char *value, const char **why)
{
	return command_set(COMMAND_OFF, value, why);
}

int command_set_wake(void *ctx, const char *value, const char **why)
{
	return command_set(COMMAND_WAKE, value, why);
}

bool command_known(enum command which)
{
	return lines[which].words > 0;
}

const char *command_name(enum command which)
{
	return kinds[which].name;
}

/* ---- the process --------------------------------------------------------------------------- */

static int running_attributes(posix_spawnattr_t *attr)
{
	sigset_t none, usual;

	sigemptyset(&none);
	sigemptyset(&usual);
	sigaddset(&usual, SIGPIPE);
	if (posix_spawnattr_init(attr) != 0)
		return -ENOMEM;
	posix_spawnattr_setsigmask(attr, &none);
	posix_spawnattr_setsigdefault(attr, &usual);
	posix_spawnattr_setpgroup(attr, 0);
	posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
					       POSIX_SPAWN_SETPGROUP);
	return 0;
}

/* Its output goes to out; nothing comes in. 0 or -errno. */
static int running_spawn(const struct command_line *line, int out, pid_t *pid)
{
	static char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin", locale[] = "LC_ALL=C.UTF-8";
	char *const environment[] = {path, locale, NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	int err;

	if (running_attributes(&attr) != 0)
		return -ENOMEM;
	if (posix_spawn_file_actions_init(&files) != 0) {
		posix_spawnattr_destroy(&attr);
		return -ENOMEM;
	}
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&files, out, STDERR_FILENO);
	posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
	err = -posix_spawn(pid, line->word[0], &files, &attr, (char *const *)line->word,
			   environment);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	return err;
}

/* What it has said lies in the pipe. Who it left behind may hold that open: do not wait for them.
 */
static void running_said(struct running *r)
{
	char output[COMMAND_OUTPUT_MAX];
	ssize_t n = 0, more;

	while ((more = read(r->output, output + n, sizeof(output) - (size_t)n)) > 0) {
		n += more;
		if (n == (ssize_t)sizeof(output)) { /* the end matters */
			memmove(output, output + n / 2, (size_t)n / 2);
			n /= 2;
		}
	}
	command_last_line(output, (size_t)n, r->run.said);
}

static void running_free(struct running *r)
{
	for (struct running **at = &all; *at != NULL; at = &(*at)->next)
		if (*at == r) {
			*at = r->next;
			break;
		}
	control_watch_free(r->ended);
	control_timer_free(r->limit);
	close(r->pidfd);
	close(r->output);
	free(r);
}

static void running_ended(void *arg)
{
	struct running *r = arg;
	int status = -1;

	if (waitpid(r->pid, &status, WNOHANG) == 0)
		return;
	running_said(r);
	r->run.good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	if (r->late)
		snprintf(r->run.said, sizeof(r->run.said), "it had not ended within %d s",
			 COMMAND_TIMEOUT_S);
	else if (!r->run.good && r->run.said[0] == '\0')
		snprintf(r->run.said, sizeof(r->run.said),
			 WIFEXITED(status) ? "it ended with status %d" : "signal %d ended it",
			 WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	r->run.done(&r->run);
	running_free(r);
}

static void running_late(void *arg)
{
	struct running *r = arg;

	r->late = true;
	kill(-r->pid, SIGKILL);
}

/* ---- start --------------------------------------------------------------------------------- */

static int command_admit(enum command which, const char *object, struct refusal *refusal)
{
	unsigned n = 0;

	if (!command_known(which)) {
		refuse(refusal, 409, "no_command",
		       "volmgr's configuration has no command for this.");
		refuse_hint(refusal, "Give one in weft.conf(5); weft-web(7) has examples.");
		return -1;
	}
	for (struct running *r = all; r != NULL; r = r->next, n++)
		if (strcmp(r->run.object, object) == 0) {
			refuse(refusal, 409, "busy", "A command for %s is running already.",
			       object);
			refuse_hint(refusal, "Try again when it has ended.");
			return -1;
		}
	if (n < COMMANDS_RUNNING_MAX)
		return 0;
	refuse(refusal, 503, "busy", "%u commands are running already.", n);
	refuse_hint(refusal, "Try again in a moment.");
	return -1;
}

/* 0 or -errno; all or nothing. */
static int running_begin(struct cluster *c, struct running *r, const struct command_line *line)
{
	int fd[2], err;

	if (pipe2(fd, O_CLOEXEC) < 0)
		return -errno;
	fcntl(fd[0], F_SETFL, O_NONBLOCK);
	r->output = fd[0];
	err = running_spawn(line, fd[1], &r->pid);
	close(fd[1]);
	if (err == 0) {
		r->pidfd = pidfd_open(r->pid, 0);
		r->ended = r->pidfd >= 0
				   ? control_watch_start(c->control, r->pidfd, 0, running_ended, r)
				   : NULL;
		r->limit = control_timer_start(c->control, COMMAND_TIMEOUT_S * 1000, 0,
					       running_late, r);
		if (r->ended != NULL && r->limit != NULL)
			return 0;
		err = -ENOMEM;
		kill(-r->pid, SIGKILL);
		waitpid(r->pid, NULL, 0);
	}
	return err;
}

struct command_run *command_start(struct cluster *c, enum command which, const char *object,
				  struct refusal *refusal)
{
	struct command_line line;
	struct running *r;
	int err;

	assert(name_valid(object));
	if (command_admit(which, object, refusal) != 0)
		return NULL;
	r = mem_must(sizeof(*r));
	r->run.which = which;
	r->pidfd = r->output = -1;
	snprintf(r->run.object, sizeof(r->run.object), "%s", object);
	err = command_fill(&lines[which], object, &line);
	if (err == 0)
		err = running_begin(c, r, &line);
	if (err == 0) {
		r->next = all;
		all = r;
		return &r->run;
	}
	refuse(refusal, 500, "command_failed", "%s cannot be run: %s.", lines[which].word[0],
	       strerror(-err));
	refuse_hint(refusal, "Look at volmgr's part of weft.conf(5).");
	running_free(r);
	return NULL;
}
