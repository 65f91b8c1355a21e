/*
 * Completion: "tagger complete WORD..." prints what the last word could become. The shell's part
 * only calls this, so that it never knows less than tagger. Tags come from the tagger that runs.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "conf.h"
#include "http-client.h"
#include "tagger/cli.h"
#include "banned.h"

#define COMPLETE_TAGS "30"
#define FILES	      ":files" /* the shell knows better */

static void candidate(const char *partial, const char *text)
{
	if (strncmp(text, partial, strlen(partial)) == 0)
		puts(text);
}

static void candidates(const char *partial, const char *const *words)
{
	for (; *words != NULL; words++)
		candidate(partial, *words);
}

static void complete_option(const struct conf_option *options, const char *partial)
{
	char text[64];

	for (const struct conf_option *o = options; o->name != NULL; o++) {
		snprintf(text, sizeof(text), "--%s", o->name);
		candidate(partial, text);
	}
	candidates(partial, (const char *const[]){"--config", "--help", "--version", NULL});
}

/* What an option takes; NULL: nothing, or it is none. */
static const char *option_value(const struct conf_option *options, const char *word)
{
	if (strcmp(word, "--config") == 0)
		return "FILE";
	for (const struct conf_option *o = options; o->name != NULL; o++)
		if (strncmp(word, "--", 2) == 0 && strcmp(word + 2, o->name) == 0)
			return o->arg;
	return NULL;
}

static void complete_value(const char *what, const char *partial)
{
	if (strcmp(what, "HOW") == 0)
		candidates(partial,
			   (const char *const[]){"auto", "fanotify", "inotify", "periodic", NULL});
	else if (strcmp(what, "L") == 0)
		candidates(partial, (const char *const[]){"error", "warn", "info", "debug", NULL});
	else if (strcmp(what, "DIR") == 0 || strcmp(what, "FILE") == 0 || strcmp(what, "PATH") == 0)
		puts(FILES);
}

/* Tags of an answer; those with blanks would need quotes, and are left out. */
static void complete_tags(const struct cli *cli, const char *path, const char *partial)
{
	long status;
	json_t *reply = cli_http(cli->socket, "GET", path, NULL, &status);
	const json_t *item;
	size_t i;

	json_array_foreach(json_object_get(reply, "tags"), i, item)
	{
		const char *tag = json_string_value(json_object_get(item, "tag"));

		if (tag != NULL && strpbrk(tag, " \t\"'\\:") == NULL)
			candidate(partial, tag);
	}
	json_decref(reply);
}

static void complete_suggest(const struct cli *cli, const char *partial)
{
	char path[1024] = "/suggest";

	if (http_client_param(path, sizeof(path), "q", partial) == 0 &&
	    http_client_param(path, sizeof(path), "limit", COMPLETE_TAGS) == 0)
		complete_tags(cli, path, partial);
}

static void complete_tag(const struct cli *cli, int n, char **words, const char *partial)
{
	if (n == 1) {
		candidates(partial, (const char *const[]){"add", "remove", "list", NULL});
	} else if (n == 2) {
		puts(FILES);
	} else if (strcmp(words[1], "add") == 0) {
		complete_suggest(cli, partial);
	} else if (strcmp(words[1], "remove") == 0) {
		char path[8192] = "/file", *below = cli_below(cli, words[2]);

		if (below != NULL && http_client_param(path, sizeof(path), "path", below) == 0)
			complete_tags(cli, path, partial);
		free(below);
	}
}

int cli_complete(const char *socket, const struct conf_option *options, int argc, char **argv)
{
	const char *partial = argc > 0 ? argv[argc - 1] : "", *value = NULL;
	struct cli cli = {.socket = socket};
	char *words[CLI_WORDS_MAX];
	int n = 0;

	for (int i = 0; i < argc - 1 && n < CLI_WORDS_MAX; i++) {
		if (value != NULL) {
			if (strcmp(argv[i - 1], "--socket") == 0)
				cli.socket = argv[i];
			value = NULL;
		} else if (strncmp(argv[i], "--", 2) == 0) {
			value = option_value(options, argv[i]);
		} else {
			words[n++] = argv[i];
		}
	}
	if (value != NULL) {
		complete_value(value, partial);
	} else if (n == 0 && *partial == '-') {
		complete_option(options, partial);
	} else if (n == 0) {
		candidates(partial, (const char *const[]){"query", "tag", "stats", NULL});
		puts(FILES);
	} else if (strcmp(words[0], "query") == 0) {
		complete_suggest(&cli, partial);
	} else if (strcmp(words[0], "tag") == 0) {
		complete_tag(&cli, n, words, partial);
	}
	return 0;
}
