/*
 * The commands of volctl and their options, once: dispatch, help, usage errors and completion all
 * come from these two tables.
 */
#ifndef WEFT_VOLCTL_TABLE_H
#define WEFT_VOLCTL_TABLE_H

#include "volctl.h"

/* What an argument names, for completion. */
enum volctl_kind {
	KIND_NONE,
	KIND_VOLUME,
	KIND_SERVER,
	KIND_FILE,
	KIND_DEVICE,
	KIND_USER,
	KIND_ROLE
};

struct volctl_option {
	const char *name;
	const char *arg; /* NULL: a switch */
	const char *help;
	size_t offset; /* of the member in struct volctl */
	enum volctl_kind kind;
};

struct volctl_command {
	const char *words;     /* "volume create" */
	const char *args;      /* as the usage line shows them, options too */
	const char *summary;   /* one line */
	int nargs;	       /* exactly so many; -N: at most N */
	enum volctl_kind kind; /* of the first argument */
	const char *options;   /* names, separated by a blank on each side, or NULL */
	int (*run)(const struct volctl *v);
};

extern const struct volctl_option volctl_options[];   /* name NULL ends it */
extern const struct volctl_command volctl_commands[]; /* words NULL ends it */

bool volctl_command_takes(const struct volctl_command *c, const struct volctl_option *o);
/* The command that the words start with; *used: how many words name it. NULL: none. */
const struct volctl_command *volctl_command_find(int argc, char *const *argv, int *used);

/* volctl-complete.c: candidates for the last of the words, one a line. */
int volctl_complete(struct volctl *v, int argc, char **argv);

#endif
