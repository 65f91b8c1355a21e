/*
 * Options of a program, from its command line and from weft.conf(5), by one table: name, argument,
 * help text. The table gives --help, getopt_long(3)'s list and the keys of the config file.
 */
#ifndef WEFT_CONF_H
#define WEFT_CONF_H

#include <stdbool.h>
#include <stdint.h>

#define CONF_OPTIONS_MAX 32

struct conf_option {
	const char *name; /* long option, and key in the config file; NULL ends the table */
	const char *arg;  /* NULL: a switch; else how --help calls its argument */
	const char *help; /* one line */
	bool cli_only;	  /* not a key of the config file */
	/* value NULL for a switch. 0, or -errno with a sentence in *why. */
	int (*set)(void *ctx, const char *value, const char **why);
};

struct conf_program {
	const char *name;     /* and the section of the config file */
	const char *synopsis; /* lines under "Usage:" */
	const char *summary;  /* what it is for, in a sentence or two */
	const struct conf_option *options;
	void *ctx;
};

/*
 * Read the config file (--config FILE; else SYSCONFDIR/weft/weft.conf when it is there), then the
 * command line, which wins: a key given there is not set from the file. --help and --version print
 * and exit 0; errors are printed with the hint to see --help, and exit 2. Returns the index of the
 * first argument that is no option.
 */
int conf_parse(const struct conf_program *program, int argc, char **argv);

/* size_parse() (size.h), for options. 0, -EINVAL or -ERANGE. */
int conf_size(const char *text, uint64_t *bytes);
/* A whole number from min to max. 0, -EINVAL or -ERANGE. */
int conf_number(const char *text, uint64_t min, uint64_t max, uint64_t *out);

#endif
