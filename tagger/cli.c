/* See cli.h. */
#include "config.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "http-client.h"
#include "size.h"
#include "tagger/cli.h"
#include "tagger/derive.h"
#include "tagger/query.h"
#include "tagger/scan.h"
#include "banned.h"

enum { EXIT_OK, EXIT_NOTHING, EXIT_USAGE, EXIT_UNREACHABLE };

#define CLI_PATH_MAX (64u << 10)

bool cli_is_command(const char *word)
{
	return strcmp(word, "query") == 0 || strcmp(word, "tag") == 0 || strcmp(word, "stats") == 0;
}

static int usage(const char *text)
{
	fprintf(stderr, "tagger: %s\nTry \"tagger --help\".\n", text);
	return EXIT_USAGE;
}

static int unreachable(const struct cli *cli)
{
	fprintf(stderr,
		"tagger: no tagger answers on %s\nhint: start \"tagger DIR\", name its socket with "
		"--socket, or the index of one that does not run with --index\n",
		cli->socket);
	return EXIT_UNREACHABLE;
}

/* Names may have anything in them, also what a terminal would act on. */
static void print_text(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < 0x20 || c == 0x7f)
			printf("\\x%02x", c);
		else
			putchar(c);
	}
}

/* 0: the answer is good and printed raw when that is wanted; else the exit status. */
static int refused(const struct cli *cli, long status, const json_t *reply)
{
	const json_t *error = json_object_get(reply, "error");

	if (cli->json && reply != NULL) {
		json_dumpf(reply, stdout, JSON_INDENT(2));
		putchar('\n');
	}
	if (status >= 200 && status < 300)
		return 0;
	fprintf(stderr, "tagger: %s\n",
		error != NULL ? json_string_value(json_object_get(error, "message"))
			      : "the answer is not clear; is this tagger's socket?");
	if (error != NULL && json_string_value(json_object_get(error, "hint")) != NULL)
		fprintf(stderr, "tagger: %s\n", json_string_value(json_object_get(error, "hint")));
	return EXIT_NOTHING;
}

/* ---- query --------------------------------------------------------------------------------- */

static int query_offline(const struct cli *cli, const char *text)
{
	static char path[INDEX_PATH_MAX];
	struct query_result found;
	struct index *ix;
	const char *why;
	int err = index_open(cli->index, NULL, &ix, &why), len;

	if (err != 0) {
		fprintf(stderr, "tagger: %s: %s: %s\n", cli->index, why, strerror(-err));
		return EXIT_UNREACHABLE;
	}
	err = query_run(ix, text, NULL, QUERY_BEST, 0, cli->limit, &found, &why);
	if (err != 0)
		fprintf(stderr, "tagger: %s\n", why);
	for (uint32_t i = 0; err == 0 && i < found.n; i++) {
		len = index_path(ix, found.hits[i].file, path, sizeof(path));
		print_text(path, len > 0 ? (size_t)len : 0);
		putchar('\n');
	}
	err = err != 0 ? EXIT_USAGE : found.n > 0 ? EXIT_OK : EXIT_NOTHING;
	query_result_free(&found);
	index_close(ix);
	return err;
}

/* What can be asked for; tagger(8) says the same. */
static const char query_help[] =
	"Usage: tagger [OPTION]... query WORD...\n"
	"\n"
	"  berlin holiday        both\n"
	"  berlin '|' hamburg    either; also OR\n"
	"  -draft                not; also NOT\n"
	"  '(' ')'               groups\n"
	"  '\"new york\"'          words with blanks\n"
	"  tag:beach             this tag exactly\n"
	"  name:report           part of a name\n"
	"  kind:image            text source page document mail image audio video archive\n"
	"                        program font data folder link special empty unknown\n"
	"  size:'>10M'           size; also size:1K..2M\n"
	"  date:2024             date of last change; also date:'>2024-05',\n"
	"                        date:2024-05-03..2024-07\n"
	"  in:photos/2024        below this folder\n"
	"  is:failed             also waiting, done, file, folder\n"
	"\n"
	"A plain word is a tag or a name that has it in it.\n";

static int query_usage(void)
{
	fputs(query_help, stderr);
	return EXIT_USAGE;
}

static int cli_query(const struct cli *cli, int argc, char **argv)
{
	char text[QUERY_TEXT_MAX + 1] = "", path[8192] = "/search", limit[16];
	const json_t *file;
	json_t *reply;
	long status;
	size_t i;
	int err;

	if (argc == 1 && strcmp(argv[0], "--help") == 0) {
		fputs(query_help, stdout);
		return EXIT_OK;
	}
	for (int a = 0; a < argc; a++) {
		size_t len = strlen(text);
		int n = snprintf(text + len, sizeof(text) - len, "%s%s", a > 0 ? " " : "", argv[a]);

		if (n < 0 || (size_t)n >= sizeof(text) - len)
			return usage("this search is too long");
	}
	snprintf(limit, sizeof(limit), "%u", cli->limit);
	if (http_client_param(path, sizeof(path), "q", text) != 0 ||
	    http_client_param(path, sizeof(path), "limit", limit) != 0)
		return usage("this search is too long");
	reply = cli_http(cli->socket, "GET", path, NULL, &status);
	if (status == 0)
		return cli->index != NULL ? query_offline(cli, text) : unreachable(cli);
	err = refused(cli, status, reply);
	if (status == 400)
		fputs("Try \"tagger query --help\".\n", stderr);
	if (err == 0 && json_array_size(json_object_get(reply, "files")) == 0)
		err = EXIT_NOTHING;
	if (err == 0 && !cli->json)
		json_array_foreach(json_object_get(reply, "files"), i, file)
		{
			const json_t *p = json_object_get(file, "path");

			print_text(json_string_value(p), json_string_length(p));
			putchar('\n');
		}
	json_decref(reply);
	return err;
}

/* ---- tag ----------------------------------------------------------------------------------- */

/* The path of a file below a folder; NULL: it is not. */
static char *below(const char *dir, const char *file)
{
	char *copy = strdup(file), *copy2 = strdup(file), *folder = NULL, *out = NULL;
	size_t len = strlen(dir);

	if (copy != NULL && copy2 != NULL)
		folder = realpath(dirname(copy), NULL);
	if (folder != NULL && strncmp(folder, dir, len) == 0 &&
	    (folder[len] == '/' || folder[len] == '\0' || len == 1)) {
		const char *rest = folder + len + (folder[len] == '/');
		const char *name = basename(copy2);

		if (asprintf(&out, "%s%s%s", rest, *rest != '\0' ? "/" : "", name) < 0)
			out = NULL;
	}
	free(copy);
	free(copy2);
	free(folder);
	return out;
}

char *cli_below(const struct cli *cli, const char *file)
{
	long status;
	json_t *reply = cli_http(cli->socket, "GET", "/status", NULL, &status);
	const char *dir = json_string_value(json_object_get(reply, "dir"));
	char *path = dir != NULL ? below(dir, file) : NULL;

	json_decref(reply);
	return path;
}

/* No tagger runs: the attribute is what counts, and the next one reads it. */
static int tag_offline(const char *file, bool add, int ntags, char **tags)
{
	char hand[RECORD_HAND_MAX], next[RECORD_HAND_MAX];
	ssize_t n = lgetxattr(file, SCAN_XATTR, hand, sizeof(hand));
	int len = n > 0 ? (int)n : 0;

	for (int i = 0; i < ntags; i++) {
		len = derive_hand_set(hand, (size_t)len, tags[i],
				      add ? DERIVE_ADDED : DERIVE_REMOVED, next);
		if (len < 0) {
			fprintf(stderr, "tagger: \"%s\": %s\n", tags[i], strerror(-len));
			return EXIT_NOTHING;
		}
		memcpy(hand, next, (size_t)len);
	}
	if (lsetxattr(file, SCAN_XATTR, hand, (size_t)len, 0) < 0) {
		fprintf(stderr, "tagger: %s: %s\n", file, strerror(errno));
		return EXIT_NOTHING;
	}
	return EXIT_OK;
}

static void print_hand(void *arg, enum derive_hand what, const char *tag)
{
	printf("%c%s\n", (int)what, tag);
}

static int list_offline(const char *file)
{
	char hand[RECORD_HAND_MAX];
	ssize_t n = lgetxattr(file, SCAN_XATTR, hand, sizeof(hand));

	if (n < 0 && errno != ENODATA) {
		fprintf(stderr, "tagger: %s: %s\n", file, strerror(errno));
		return EXIT_NOTHING;
	}
	derive_hand_each(hand, n > 0 ? (size_t)n : 0, print_hand, NULL);
	return EXIT_OK;
}

static void print_tags(const json_t *reply)
{
	const json_t *tag;
	size_t i;

	json_array_foreach(json_object_get(reply, "tags"), i, tag)
		printf("%5.2f  %-10s  %s\n", json_number_value(json_object_get(tag, "weight")),
		       json_string_value(json_object_get(tag, "source")),
		       json_string_value(json_object_get(tag, "tag")));
}

static int tag_online(const struct cli *cli, const char *what, char *path, int ntags, char **tags)
{
	char *url = malloc(CLI_PATH_MAX);
	json_t *body = NULL, *list = json_array(), *reply = NULL;
	long status = 0;
	int err = EXIT_USAGE;

	for (int i = 0; i < ntags; i++)
		json_array_append_new(list, json_string(tags[i]));
	body = json_pack("{s:O}", what, list);
	if (url != NULL && body != NULL && json_array_size(list) == (size_t)ntags) {
		bool show = strcmp(what, "list") == 0;

		snprintf(url, CLI_PATH_MAX, "/file%s", show ? "" : "/tags");
		if (http_client_param(url, CLI_PATH_MAX, "path", path) == 0)
			reply = cli_http(cli->socket, show ? "GET" : "POST", url,
					 show ? NULL : body, &status);
		err = status == 0 ? unreachable(cli) : refused(cli, status, reply);
		if (err == 0 && !cli->json)
			print_tags(reply);
	} else {
		fprintf(stderr, "tagger: a tag is not valid UTF-8\n");
	}
	json_decref(reply);
	json_decref(body);
	json_decref(list);
	free(url);
	return err;
}

static int cli_tag(const struct cli *cli, int argc, char **argv)
{
	bool list = argc == 2 && strcmp(argv[0], "list") == 0;
	bool add = argc > 2 && strcmp(argv[0], "add") == 0;
	bool take = argc > 2 && strcmp(argv[0], "remove") == 0;
	const char *dir;
	json_t *reply;
	long status;
	char *path;
	int err;

	if (!list && !add && !take)
		return usage("tag add FILE TAG..., tag remove FILE TAG..., or tag list FILE");
	reply = cli_http(cli->socket, "GET", "/status", NULL, &status);
	if (status == 0) {
		json_decref(reply);
		return list ? list_offline(argv[1]) : tag_offline(argv[1], add, argc - 2, argv + 2);
	}
	dir = json_string_value(json_object_get(reply, "dir"));
	path = dir != NULL ? below(dir, argv[1]) : NULL;
	err = path != NULL ? tag_online(cli, argv[0], path, argc - 2, argv + 2) : EXIT_NOTHING;
	if (path == NULL)
		fprintf(stderr, "tagger: %s is not in %s\n", argv[1], dir != NULL ? dir : "it");
	free(path);
	json_decref(reply);
	return err;
}

/* ---- stats --------------------------------------------------------------------------------- */

static int stats_offline(const struct cli *cli)
{
	char size[SIZE_TEXT_MAX];
	struct index *ix;
	const char *why;
	int err = index_open(cli->index, NULL, &ix, &why);

	if (err != 0) {
		fprintf(stderr, "tagger: %s: %s: %s\n", cli->index, why, strerror(-err));
		return EXIT_UNREACHABLE;
	}
	printf("files    %u\nfolders  %u\nsize     %s\nwaiting  %u\nfailed   %u\n", ix->nfiles,
	       ix->nfolders, size_format(ix->bytes, size), ix->nwaiting, ix->nfailed);
	index_close(ix);
	return EXIT_OK;
}

static void print_stats(const char *group, json_t *stats)
{
	char name[64];
	const char *key;
	json_t *value;

	json_object_foreach(stats, key, value)
	{
		snprintf(name, sizeof(name), "%s%s%s", group, *group != '\0' ? "." : "", key);
		if (json_is_object(value) && *group == '\0')
			print_stats(name, value);
		else if (json_is_string(value))
			printf("%-22s %s\n", name, json_string_value(value));
		else if (json_is_integer(value))
			printf("%-22s %lld\n", name, (long long)json_integer_value(value));
		else if (json_is_real(value))
			printf("%-22s %.1f\n", name, json_real_value(value));
		else if (json_is_boolean(value))
			printf("%-22s %s\n", name, json_is_true(value) ? "yes" : "no");
	}
}

static int cli_stats(const struct cli *cli)
{
	json_t *reply;
	long status;
	int err;

	reply = cli_http(cli->socket, "GET", "/status", NULL, &status);
	if (status == 0)
		return cli->index != NULL ? stats_offline(cli) : unreachable(cli);
	err = refused(cli, status, reply);
	if (err == 0 && !cli->json)
		print_stats("", reply);
	json_decref(reply);
	return err;
}

int cli_run(const struct cli *cli, int argc, char **argv)
{
	if (strcmp(argv[0], "query") == 0)
		return argc > 1 ? cli_query(cli, argc - 1, argv + 1) : query_usage();
	if (strcmp(argv[0], "tag") == 0)
		return cli_tag(cli, argc - 1, argv + 1);
	return argc == 1 ? cli_stats(cli) : usage("stats takes no arguments");
}
