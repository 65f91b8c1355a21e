/*
 * Commands that the configuration gives volmgr for what it cannot do by itself: attach a volume on
 * this machine, stop and start the servers of a host, turn it off and wake it.
 *
 * No shell is between: a command is a program's whole path and words, parted by blanks, in which
 * only %v (a volume), %h (a host) and %% stand for something. Names of both are checked wherever
 * they come in (name_valid()), so that none is an option or a path. What a request can choose is
 * which command, and for which name.
 *
 * All of it belongs to the control thread.
 */
#ifndef WEFT_COMMAND_H
#define WEFT_COMMAND_H

#include "volmgr.h"

#define COMMAND_TEXT_MAX     1024 /* as configured, and a word of it with its names in */
#define COMMAND_WORDS_MAX    32
#define COMMAND_SAID_MAX     256 /* of the last line of what it said */
#define COMMAND_OUTPUT_MAX   4096
#define COMMANDS_RUNNING_MAX 8
#define COMMAND_TIMEOUT_S    120

enum command {
	COMMAND_ATTACH,
	COMMAND_DETACH,
	COMMAND_STOP,  /* a host's servers */
	COMMAND_START, /* likewise */
	COMMAND_OFF,   /* the host */
	COMMAND_WAKE,  /* likewise */
	COMMANDS
};

/* ---- command-text.c. Pure. */

struct command_line {
	char text[COMMAND_TEXT_MAX]; /* the words, each ended by a zero */
	const char *word[COMMAND_WORDS_MAX + 1];
	unsigned words; /* 0: not configured */
};

/* holder: the letter behind % that it may have. 0, or -EINVAL with a sentence in *why. */
int command_parse(const char *text, char holder, struct command_line *out, const char **why);
/* The words of from with name in the place of its holder: 0, or -ENAMETOOLONG. */
int command_fill(const struct command_line *from, const char *name, struct command_line *out);
/* The last line that is not empty, without what is no text. */
void command_last_line(const char *output, size_t len, char said[COMMAND_SAID_MAX]);

/* ---- command.c */

/* Options of volmgr. 0, or -EINVAL with a sentence in *why. */
int command_set_attach(void *ctx, const char *value, const char **why);
int command_set_detach(void *ctx, const char *value, const char **why);
int command_set_stop(void *ctx, const char *value, const char **why);
int command_set_start(void *ctx, const char *value, const char **why);
int command_set_off(void *ctx, const char *value, const char **why);
int command_set_wake(void *ctx, const char *value, const char **why);
bool command_known(enum command which);
const char *command_name(enum command which);

struct command_run {
	enum command which;
	char object[NAME_MAX_BYTES + 1];
	void (*done)(struct command_run *run); /* once, on the control thread; run is freed then */
	void *arg;
	/* when done */
	bool good;
	char said[COMMAND_SAID_MAX]; /* its last line, or what went wrong with it */
};
/* NULL: refused. At most one at a time for each object. */
struct command_run *command_start(struct cluster *c, enum command which, const char *object,
				  struct refusal *r);

#endif
