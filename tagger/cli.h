/*
 * tagger's commands: they ask the tagger that runs, over its Unix socket, or look into the index
 * themselves when none runs (LevelDB lets one process in).
 */
#ifndef WEFT_TAGGER_CLI_H
#define WEFT_TAGGER_CLI_H

#include <jansson.h>
#include <stdbool.h>

#define CLI_WORDS_MAX 64

struct conf_option;

struct cli {
	const char *socket;
	const char *index; /* or NULL */
	unsigned limit;
	bool json;
};

bool cli_is_command(const char *word);
/* The exit status: 0; 1 nothing found, or refused; 2 usage; 3 nothing answers. */
int cli_run(const struct cli *cli, int argc, char **argv);
/* The path of a file below the folder that the running tagger reads; NULL: it is elsewhere, or
 * nobody answers. */
char *cli_below(const struct cli *cli, const char *file);
/* ---- cli-complete.c */
/* socket: the default one. options: all of them. */
int cli_complete(const char *socket, const struct conf_option *options, int argc, char **argv);

/* ---- cli-http.c. The answer, or NULL when nobody answers or it is no JSON; *status is HTTP's, 0
 * when nobody answers. */
json_t *cli_http(const char *socket, const char *method, const char *path, const json_t *body,
		 long *status);

#endif
