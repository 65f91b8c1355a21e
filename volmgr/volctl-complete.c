/*
 * Completion: "volctl complete WORD..." prints what the last word could become. The shell's part
 * only calls this, so that it never knows less than the tables.
 */
#include "config.h"

#include "volctl-table.h"

#include "banned.h"

static void candidate(const char *partial, const char *prefix, const char *text)
{
	char line[256];

	snprintf(line, sizeof(line), "%s%s", prefix, text);
	if (strncmp(line, partial, strlen(partial)) == 0)
		puts(line);
}

static void complete_names(const struct volctl *v, const char *partial, const char *path,
			   const char *key)
{
	json_t *reply = volctl_ask(v, "%s", path), *item;
	size_t i;

	json_array_foreach(jlist(reply, key), i, item) candidate(partial, "", jstr(item, "name"));
	json_decref(reply);
}

static void complete_kind(const struct volctl *v, enum volctl_kind kind, const char *partial)
{
	switch (kind) {
	case KIND_VOLUME:
		complete_names(v, partial, "/volumes", "volumes");
		break;
	case KIND_SERVER:
		complete_names(v, partial, "/servers", "servers");
		break;
	case KIND_USER:
		complete_names(v, partial, "/people", "people");
		break;
	case KIND_ROLE:
		candidate(partial, "", "admin");
		candidate(partial, "", "read-only");
		candidate(partial, "", "user");
		break;
	case KIND_FILE:
	case KIND_DEVICE:
		puts(":files"); /* the shell knows better */
		break;
	case KIND_NONE:
		break;
	}
}

/* The command is not complete: its first or second word. */
static void complete_words(int argc, char **argv, const char *partial)
{
	char last[32] = "";

	for (const struct volctl_command *c = volctl_commands; c->words != NULL; c++) {
		const char *blank = strchr(c->words, ' ');
		int len = blank != NULL ? (int)(blank - c->words) : (int)strlen(c->words);
		char group[32];

		snprintf(group, sizeof(group), "%.*s", len, c->words);
		if (argc == 1 && strcmp(group, last) != 0)
			candidate(partial, "", group);
		else if (argc == 2 && blank != NULL && strcmp(group, argv[0]) == 0)
			candidate(partial, "", blank + 1);
		memcpy(last, group, sizeof(last));
	}
}

/* The option that this word is, or NULL. */
static const struct volctl_option *find_option(const char *word)
{
	for (const struct volctl_option *o = volctl_options; o->name != NULL; o++)
		if (strncmp(word, "--", 2) == 0 && strcmp(word + 2, o->name) == 0)
			return o;
	return NULL;
}

static void complete_option(const struct volctl_command *c, const char *partial)
{
	for (const struct volctl_option *o = volctl_options; c != NULL && o->name != NULL; o++)
		if (volctl_command_takes(c, o))
			candidate(partial, "--", o->name);
	candidate(partial, "--", "json");
	candidate(partial, "--", "socket");
	candidate(partial, "--", "help");
	if (c == NULL) {
		candidate(partial, "--", "config");
		candidate(partial, "--", "version");
	}
}

static bool takes_path(const char *word)
{
	return strcmp(word, "--socket") == 0 || strcmp(word, "--config") == 0;
}

int volctl_complete(struct volctl *v, int argc, char **argv)
{
	char *words[VOLCTL_WORDS_MAX];
	const char *partial = argc > 0 ? argv[argc - 1] : "";
	const struct volctl_command *c;
	const struct volctl_option *o;
	int n = 0, used = 0;

	/* what is left without options, and the last word */
	for (int i = 0; i < argc - 1 && n < VOLCTL_WORDS_MAX - 1; i++) {
		o = find_option(argv[i]);
		if (takes_path(argv[i]) || (o != NULL && o->arg != NULL)) {
			if (strcmp(argv[i], "--socket") == 0 && i + 1 < argc - 1)
				v->socket = argv[i + 1];
			i++;
		} else if (argv[i][0] != '-') {
			words[n++] = argv[i];
		}
	}
	words[n++] = (char *)partial;
	c = volctl_command_find(n - 1, words, &used);
	o = argc > 1 ? find_option(argv[argc - 2]) : NULL;
	if (argc > 1 && takes_path(argv[argc - 2]))
		puts(":files");
	else if (o != NULL && o->arg != NULL)
		complete_kind(v, o->kind, partial);
	else if (*partial == '-')
		complete_option(c, partial);
	else if (c == NULL)
		complete_words(n, words, partial);
	else if (n - 1 - used < 1 && c->nargs != 0)
		complete_kind(v, c->kind, partial);
	return EXIT_OK;
}
