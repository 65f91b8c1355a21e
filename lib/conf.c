/* Options and the config file; see conf.h. */
#include "config.h"

#include "conf.h"

#include <ctype.h>
#include <stdarg.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "banned.h"
#include "size.h"

#define LINE_MAX_BYTES 4096
#define DEFAULT_FILE   SYSCONFDIR "/weft/weft.conf"

/* Options that every program has, after those of its table. */
enum { OPT_CONFIG = CONF_OPTIONS_MAX, OPT_HELP, OPT_VERSION };

static const char *const common_help[][2] = {
	{"--config FILE", "read options from FILE instead of " DEFAULT_FILE},
	{"--help", "print this and exit"},
	{"--version", "print the version and exit"},
};

__attribute__((noreturn, format(printf, 2, 3))) static void
usage_error(const struct conf_program *p, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", p->name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nTry \"%s --help\".\n", p->name);
	exit(2);
}

static void print_option(const char *left, const char *help)
{
	if (strlen(left) > 22)
		printf("  %s\n  %-22s  %s\n", left, "", help);
	else
		printf("  %-22s  %s\n", left, help);
}

static void print_help(const struct conf_program *p)
{
	printf("Usage: %s\n\n%s\n\nOptions:\n", p->synopsis, p->summary);
	for (const struct conf_option *o = p->options; o->name != NULL; o++) {
		char left[80];

		snprintf(left, sizeof(left), "--%s%s%s", o->name, o->arg != NULL ? " " : "",
			 o->arg != NULL ? o->arg : "");
		print_option(left, o->help);
	}
	for (size_t i = 0; i < sizeof(common_help) / sizeof(common_help[0]); i++)
		print_option(common_help[i][0], common_help[i][1]);
}

static int fill_long(const struct conf_program *p, struct option *list)
{
	int n = 0;

	for (const struct conf_option *o = p->options; o->name != NULL; o++, n++)
		list[n] = (struct option){o->name, o->arg != NULL ? required_argument : no_argument,
					  NULL, n};
	list[n++] = (struct option){"config", required_argument, NULL, OPT_CONFIG};
	list[n++] = (struct option){"help", no_argument, NULL, OPT_HELP};
	list[n++] = (struct option){"version", no_argument, NULL, OPT_VERSION};
	list[n] = (struct option){NULL, 0, NULL, 0};
	return n;
}

static void set_option(const struct conf_program *p, int i, const char *value, const char *where)
{
	const struct conf_option *o = &p->options[i];
	const char *why = "it is not valid";

	if (o->set(p->ctx, value, &why) == 0)
		return;
	if (value != NULL)
		usage_error(p, "%s%s %s: %s", where, o->name, value, why);
	usage_error(p, "%s%s: %s", where, o->name, why);
}

static char *trim(char *s)
{
	char *end;

	while (isspace((unsigned char)*s))
		s++;
	end = s + strlen(s);
	while (end > s && isspace((unsigned char)end[-1]))
		*--end = '\0';
	return s;
}

static int find_key(const struct conf_program *p, const char *key)
{
	for (int i = 0; p->options[i].name != NULL; i++)
		if (strcmp(p->options[i].name, key) == 0 && !p->options[i].cli_only)
			return i;
	return -1;
}

static bool truth(const char *value)
{
	return strcmp(value, "yes") == 0 || strcmp(value, "true") == 0 ||
	       strcmp(value, "on") == 0 || strcmp(value, "1") == 0;
}

/* One "key = value" of our section. given: options of the command line, which win. */
static void file_key(const struct conf_program *p, char *line, const char *where, uint32_t given)
{
	char *eq = strchr(line, '='), *key, *value;
	int i;

	if (eq == NULL)
		usage_error(p, "%sa line is no [section], no key = value, and no # comment", where);
	*eq = '\0';
	key = trim(line);
	value = trim(eq + 1);
	i = find_key(p, key);
	if (i < 0)
		usage_error(p, "%sthe key %s is not known in [%s]", where, key, p->name);
	if (given & (1u << i))
		return;
	if (p->options[i].arg != NULL)
		set_option(p, i, value, where);
	else if (truth(value))
		set_option(p, i, NULL, where);
}

static void read_file(const struct conf_program *p, const char *path, uint32_t given)
{
	FILE *f = fopen(path, "re");
	char line[LINE_MAX_BYTES], where[LINE_MAX_BYTES];
	bool ours = false;

	if (f == NULL)
		usage_error(p, "%s: %s", path, strerror(errno));
	for (unsigned n = 1; fgets(line, sizeof(line), f) != NULL; n++) {
		char *s = trim(line);

		snprintf(where, sizeof(where), "%.3000s line %u: ", path, n);
		if (*s == '\0' || *s == '#')
			continue;
		if (*s == '[') {
			char *end = strchr(s, ']');

			if (end == NULL || end[1] != '\0')
				usage_error(p, "%sa section is written as [name]", where);
			*end = '\0';
			ours = strcmp(s + 1, p->name) == 0;
		} else if (ours) {
			file_key(p, s, where, given);
		}
	}
	fclose(f);
}

int conf_parse(const struct conf_program *p, int argc, char **argv)
{
	struct option list[CONF_OPTIONS_MAX + 4];
	const char *config = NULL;
	uint32_t given = 0;
	int c;

	fill_long(p, list);
	/* "+": stop at the first word, which may be a command with options of its own */
	while ((c = getopt_long(argc, argv, "+", list, NULL)) != -1) {
		switch (c) {
		case OPT_CONFIG:
			config = optarg;
			break;
		case OPT_HELP:
			print_help(p);
			exit(0);
		case OPT_VERSION:
			printf("%s (weft) %s\n", p->name, PACKAGE_VERSION);
			exit(0);
		case '?':
			fprintf(stderr, "Try \"%s --help\".\n", p->name);
			exit(2);
		default:
			given |= 1u << c;
			set_option(p, c, optarg, "--");
		}
	}
	if (config != NULL) {
		read_file(p, config, given);
	} else {
		FILE *f = fopen(DEFAULT_FILE, "re");

		if (f != NULL) {
			fclose(f);
			read_file(p, DEFAULT_FILE, given);
		}
	}
	return optind;
}

int conf_size(const char *text, uint64_t *bytes)
{
	const char *why;

	return size_parse(text, bytes, &why);
}

int conf_number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	unsigned long long value;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (*end != '\0')
		return -EINVAL;
	if (errno != 0 || value < min || value > max)
		return -ERANGE;
	*out = value;
	return 0;
}
