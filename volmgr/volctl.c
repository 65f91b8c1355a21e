/*
 * volctl, the command line of weft: reads the words, finds the command in the table, and says what
 * is wrong with a command line before anything is done.
 */
#include "config.h"

#include "volctl.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "banned.h"
#include "conf.h"
#include "volctl-table.h"

#define NAME_MAX_BYTES	  63
#define OPTIONS_MAX	  32
#define DEFAULT_SOCKET	  "/run/weft/volmgr.sock"
#define SUMMARY_MAX_BYTES 16384

/* options that every command has beside its own; they come after those of the table */
enum { OPT_SOCKET = OPTIONS_MAX, OPT_JSON, OPT_HELP };

void volctl_error(const char *hint, const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("volctl: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	if (hint != NULL)
		fprintf(stderr, "hint: %s\n", hint);
}

bool volctl_name_valid(const char *what, const char *name)
{
	size_t n = strlen(name);
	bool good = n > 0 && n <= NAME_MAX_BYTES && isalnum((unsigned char)name[0]);

	for (size_t i = 0; good && i < n; i++)
		good = isalnum((unsigned char)name[i]) || strchr("._-", name[i]) != NULL;
	if (!good)
		volctl_error(NULL,
			     "\"%s\" is no name for a %s: 1 to %d of A-Z a-z 0-9 . _ - and a "
			     "letter or digit first",
			     name, what, NAME_MAX_BYTES);
	return good;
}

static void print_command_help(const struct volctl_command *c)
{
	printf("Usage: volctl %s%s%s\n\n%c%s.\n\nOptions:\n", c->words, *c->args != '\0' ? " " : "",
	       c->args, toupper((unsigned char)c->summary[0]), c->summary + 1);
	for (const struct volctl_option *o = volctl_options; o->name != NULL; o++) {
		char left[48];

		if (!volctl_command_takes(c, o))
			continue;
		snprintf(left, sizeof(left), "--%s%s%s", o->name, o->arg != NULL ? " " : "",
			 o->arg != NULL ? o->arg : "");
		printf("  %-20s  %s\n", left, o->help);
	}
	printf("  %-20s  %s\n  %-20s  %s\n  %-20s  %s\n", "--json",
	       "print volmgr's answer as it is", "--socket PATH", "volmgr's socket", "--help",
	       "print this and exit");
}

static int usage_error(const struct volctl_command *c)
{
	if (c != NULL)
		fprintf(stderr, "Usage: volctl %s%s%s\n", c->words, *c->args != '\0' ? " " : "",
			c->args);
	else
		fprintf(stderr, "Try \"volctl --help\".\n");
	return EXIT_USAGE;
}

/* No command has this name: show those of its group, when there is such a group. */
static int unknown_command(int argc, char **argv)
{
	size_t len = argc > 0 ? strlen(argv[0]) : 0;
	int found = 0;

	if (argc > 1)
		fprintf(stderr, "volctl: there is no command \"%s %s\"\n", argv[0], argv[1]);
	for (const struct volctl_command *c = volctl_commands; argc > 0 && c->words != NULL; c++) {
		if (strncmp(c->words, argv[0], len) != 0 || c->words[len] != ' ')
			continue;
		fprintf(stderr, "%s volctl %s%s%s\n", found++ == 0 ? "Usage:" : "      ", c->words,
			*c->args != '\0' ? " " : "", c->args);
	}
	if (found > 0)
		return EXIT_USAGE;
	if (argc == 1)
		fprintf(stderr, "volctl: there is no command \"%s\"\n", argv[0]);
	return usage_error(NULL);
}

static int fill_long(struct option *list)
{
	int n = 0;

	for (const struct volctl_option *o = volctl_options; o->name != NULL; o++, n++)
		list[n] = (struct option){o->name, o->arg != NULL ? required_argument : no_argument,
					  NULL, n};
	list[n++] = (struct option){"socket", required_argument, NULL, OPT_SOCKET};
	list[n++] = (struct option){"json", no_argument, NULL, OPT_JSON};
	list[n++] = (struct option){"help", no_argument, NULL, OPT_HELP};
	list[n] = (struct option){NULL, 0, NULL, 0};
	return n;
}

/* An option of the table. */
static int take_option(struct volctl *v, const struct volctl_command *c, int i)
{
	const struct volctl_option *o = &volctl_options[i];
	char *member = (char *)v + o->offset;

	if (!volctl_command_takes(c, o)) {
		fprintf(stderr, "volctl: \"%s\" has no option --%s\n", c->words, o->name);
		return usage_error(c);
	}
	if (o->arg != NULL)
		*(const char **)(void *)member = optarg;
	else
		*(bool *)(void *)member = true;
	return EXIT_OK;
}

/* Options and arguments behind the command's words. argv[0] is the last of these words. */
static int parse_command(struct volctl *v, const struct volctl_command *c, int argc, char **argv)
{
	struct option list[OPTIONS_MAX + 4];
	int opt, err;

	fill_long(list);
	optind = 0; /* start over: the options before the command are done */
	while ((opt = getopt_long(argc, argv, "", list, NULL)) != -1) {
		switch (opt) {
		case OPT_SOCKET:
			v->socket = optarg;
			break;
		case OPT_JSON:
			v->json = true;
			break;
		case OPT_HELP:
			print_command_help(c);
			exit(EXIT_OK);
		case '?':
			return usage_error(c);
		default:
			err = take_option(v, c, opt);
			if (err != EXIT_OK)
				return err;
		}
	}
	if (c->nargs < 0 ? argc - optind > -c->nargs : argc - optind != c->nargs) {
		int most = c->nargs < 0 ? -c->nargs : c->nargs;

		fprintf(stderr, "volctl: \"%s\" takes %s%d argument%s, not %d\n", c->words,
			c->nargs < 0 ? "at most " : "", most, most == 1 ? "" : "s", argc - optind);
		return usage_error(c);
	}
	for (; optind < argc; optind++)
		v->arg[v->nargs++] = argv[optind];
	return EXIT_OK;
}

static int set_socket(void *ctx, const char *value, const char **why)
{
	static char path[sizeof(
		((struct sockaddr_un *)0)->sun_path)]; /* the config file's line goes away */
	size_t len = strlen(value);

	*why = len == 0 ? "a path is missing" : "the path is longer than 107 bytes";
	if (len == 0 || len >= sizeof(path))
		return -EINVAL;
	memcpy(path, value, len + 1);
	((struct volctl *)ctx)->socket = path;
	return 0;
}

static int set_json(void *ctx, const char *value, const char **why)
{
	((struct volctl *)ctx)->json = true;
	return 0;
}

static bool socket_given(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strncmp(argv[i], "--so", 4) == 0)
			return true;
	return false;
}

static void print_summary(char *buf, size_t size)
{
	size_t n = (size_t)snprintf(buf, size,
				    "Manages the servers and volumes of weft, through volmgr's "
				    "Unix socket.\n\nCommands:\n");

	for (const struct volctl_command *c = volctl_commands; c->words != NULL && n < size; c++) {
		n += (size_t)snprintf(buf + n, size - n, "  %s%s%s\n      %s\n", c->words,
				      *c->args != '\0' ? " " : "", c->args, c->summary);
	}
	if (n < size)
		snprintf(buf + n, size - n,
			 "\n\"volctl COMMAND --help\" explains a command's options. Exit codes: 0 "
			 "done,\n1 refused or failed, 2 wrong usage, 3 volmgr cannot be "
			 "reached,\n4 a "
			 "dry run found that recovery would miss something, or is in doubt.");
}

int main(int argc, char **argv)
{
	static const struct conf_option options[] = {
		{"socket", "PATH", "volmgr's socket (default WEFT_SOCKET, " DEFAULT_SOCKET ")",
		 false, set_socket},
		{"json", NULL, "print volmgr's answers as they are", true, set_json},
		{NULL, NULL, NULL, false, NULL},
	};
	static char summary[SUMMARY_MAX_BYTES];
	const char *env = getenv("WEFT_SOCKET");
	struct volctl v = {0};
	const struct volctl_command *c;
	int first, used, err;

	print_summary(summary, sizeof(summary));
	first = conf_parse(&(struct conf_program){.name = "volctl",
						  .synopsis = "volctl [OPTION...] COMMAND ...",
						  .summary = summary,
						  .options = options,
						  .ctx = &v},
			   argc, argv);
	/* the environment wins over the config file, the command line over both */
	if (env != NULL && *env != '\0' && !socket_given(argc, argv))
		v.socket = env;
	if (v.socket == NULL)
		v.socket = DEFAULT_SOCKET;
	argc -= first;
	argv += first;
	if (argc > 0 && strcmp(argv[0], "complete") == 0)
		return volctl_complete(&v, argc - 1, argv + 1);
	c = volctl_command_find(argc, argv, &used);
	if (c == NULL)
		return unknown_command(argc, argv);
	err = parse_command(&v, c, argc - used + 1, argv + used - 1);
	if (err != EXIT_OK)
		return err;
	err = c->run(&v);
	if (fflush(stdout) != 0 && err == EXIT_OK)
		err = EXIT_REFUSED;
	return err;
}
