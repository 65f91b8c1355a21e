/*
 * volctl top: what goes on, each second anew. On a terminal it fills the screen until q is pressed,
 * elsewhere it prints one table, or with --json one line, after the other. It leaves the terminal
 * as it was, however it ends.
 */
#include "config.h"

#include "volctl.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "banned.h"
#include "top.h"

#define STEP_MS	      1000
#define COLUMNS_USUAL 80
#define LINES_USUAL   24
/* the other screen, no cursor; and back */
#define SCREEN_BEGIN  "\033[?1049h\033[?25l"
#define SCREEN_END    "\033[?25h\033[?1049l"
#define SCREEN_HOME   "\033[H"
#define LINE_REST     "\033[K"
#define SCREEN_REST   "\033[J"

static struct termios terminal_was;
static volatile sig_atomic_t stop_signal;

/* ---- the terminal -------------------------------------------------------------------------- */

static void on_signal(int sig)
{
	stop_signal = sig;
}

/* A window of another size ends a wait, that is all. */
static void on_resize(int sig)
{
}

static bool terminal_begin(void)
{
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGTSTP};
	struct sigaction sa = {.sa_handler = on_signal}, resize = {.sa_handler = on_resize};
	struct termios t;

	if (tcgetattr(STDIN_FILENO, &terminal_was) != 0)
		return false;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		sigaction(ends[i], &sa, NULL);
	sigaction(SIGWINCH, &resize, NULL);
	t = terminal_was;
	t.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	t.c_cc[VMIN] = 0;
	t.c_cc[VTIME] = 0;
	tcsetattr(STDIN_FILENO, TCSANOW, &t);
	fputs(SCREEN_BEGIN, stdout);
	return true;
}

static void terminal_end(void)
{
	fputs(SCREEN_END, stdout);
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSANOW, &terminal_was);
}

static void terminal_size(unsigned *columns, unsigned *lines)
{
	struct winsize w;

	*columns = COLUMNS_USUAL;
	*lines = LINES_USUAL;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) != 0 || w.ws_col == 0 || w.ws_row == 0)
		return;
	*columns = w.ws_col;
	*lines = w.ws_row;
}

/* ---- waiting ------------------------------------------------------------------------------- */

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Until then; false: it shall end. Keys other than q mean nothing. */
static bool wait_until(int64_t end_ms, bool terminal, bool *resized)
{
	struct pollfd p = {.fd = terminal ? STDIN_FILENO : -1, .events = POLLIN};

	*resized = false;
	for (;;) {
		int64_t left = end_ms - now_ms();
		char key;
		int n;

		if (stop_signal != 0)
			return false;
		if (left <= 0)
			return true;
		n = poll(&p, 1, (int)left);
		if (n < 0 && errno == EINTR) {
			*resized = true;
			return stop_signal == 0;
		}
		if (n > 0 && (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q'))
			return false;
	}
}

/* ---- showing ------------------------------------------------------------------------------- */

/* Drawn over what was there, so that nothing flickers. */
static void show_screen(const struct top_view *v)
{
	unsigned columns, lines;
	char *text = NULL, *line, *end;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	if (f == NULL)
		return;
	terminal_size(&columns, &lines);
	top_view_print(v, f, columns, lines > 1 ? lines - 1 : 1);
	if (fclose(f) == 0) {
		fputs(SCREEN_HOME, stdout);
		for (line = text; (end = strchr(line, '\n')) != NULL; line = end + 1)
			printf("%.*s" LINE_REST "\n", (int)(end - line), line);
		fputs(SCREEN_REST "q: quit", stdout);
		fflush(stdout);
	}
	free(text);
}

static void show_plain(const struct volctl *v, const struct top_view *view)
{
	json_t *json;

	if (!v->json) {
		top_view_print(view, stdout, 0, 0);
		putchar('\n');
	} else {
		json = top_view_json(view);
		json_dumpf(json, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
		putchar('\n');
		json_decref(json);
	}
}

/* quiet: who could read it in the middle of a screen? */
static int sample(const struct volctl *v, bool quiet, struct top_sample *s)
{
	json_t *reply = NULL;
	int err = EXIT_UNREACHABLE;

	if (quiet)
		reply = volctl_ask(v, "/counters");
	else
		err = volctl_call(v, "GET", NULL, &reply, "/counters");
	if (reply == NULL)
		return err;
	err = top_sample_read(s, reply) == 0 ? EXIT_OK : EXIT_REFUSED;
	json_decref(reply);
	return err;
}

/* One answer after the other until it shall end. */
static int follow(const struct volctl *v, bool terminal)
{
	struct top_sample then = {0}, now = {0};
	struct top_view view = {0};
	int64_t next = now_ms();
	int err = sample(v, terminal, &then);
	bool go_on = true, resized;

	while (err == EXIT_OK && go_on) {
		next = next + STEP_MS > now_ms() ? next + STEP_MS : now_ms();
		while ((go_on = wait_until(next, terminal, &resized)) && resized)
			if (terminal && view.volumes.at != NULL)
				show_screen(&view);
		if (!go_on || (err = sample(v, terminal, &now)) != EXIT_OK)
			break;
		top_view_free(&view);
		if (top_view_make(&view, &then, &now) != 0)
			err = EXIT_REFUSED;
		else if (terminal)
			show_screen(&view);
		else
			show_plain(v, &view);
		top_sample_free(&then);
		then = now;
		now = (struct top_sample){0};
		if (!terminal && (fflush(stdout) != 0 || v->once))
			break;
	}
	top_sample_free(&then);
	top_view_free(&view);
	return err;
}

int cmd_top(const struct volctl *v)
{
	bool terminal = !v->once && !v->json && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	int err;

	if (!terminal || !terminal_begin())
		return follow(v, false);
	err = follow(v, true);
	terminal_end();
	if (err == EXIT_UNREACHABLE) /* why? */
		err = sample(v, false, &(struct top_sample){0});
	return err;
}
