/*
 * volctl, the command line: what its files share. It knows nothing of volmgr's insides; it speaks
 * the HTTP API over the Unix socket, as the web page does.
 */
#ifndef WEFT_VOLCTL_H
#define WEFT_VOLCTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

/* Exit codes, for scripts. */
enum {
	EXIT_OK = 0,
	EXIT_REFUSED = 1,     /* volmgr, or this machine, refused or failed */
	EXIT_USAGE = 2,	      /* the command line is wrong; nothing was done */
	EXIT_UNREACHABLE = 3, /* nothing answers on volmgr's socket */
	EXIT_DOUBTS = 4,      /* of a dry run: it would not find everything, or is in doubt */
};

#define VOLCTL_WORDS_MAX 64 /* words of a command and its arguments */

/* What the command line said. */
struct volctl {
	const char *socket;
	bool json;
	const char *arg[VOLCTL_WORDS_MAX]; /* after the command's own words */
	int nargs;
	/* options of commands; NULL or false where not given */
	const char *size, *ec, *unit, *name, *address, *host, *device, *connections, *secret, *role;
	const char *min, *below_min, *when_full;
	const char *dir;
	bool yes, shrink, force, dry_run, offline, checksums, lost, stop, shared, once;
};

/* ---- volctl.c: the table of commands ---- */

/* "volctl: MESSAGE" and "hint: HINT" on stderr (hint may be NULL). */
void volctl_error(const char *hint, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The name that may stand in a path of the API and in a file's name; else an error is printed. */
bool volctl_name_valid(const char *what, const char *name);

/* ---- volctl-http.c: calls of the API ---- */

/*
 * One request; path_fmt comes after "/api/v1". body may be NULL; its reference is taken over.
 * 0: *reply is the answer (json_decref it; json null when there was none). Otherwise an exit code;
 * the error was printed.
 */
int volctl_call(const struct volctl *v, const char *method, json_t *body, json_t **reply,
		const char *path_fmt, ...) __attribute__((format(printf, 5, 6)));
/* GET that prints nothing; NULL when it fails. */
json_t *volctl_ask(const struct volctl *v, const char *path_fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* An answer for --json: as it came, and a newline. Takes over the reference. Returns EXIT_OK. */
int volctl_print_json(json_t *reply);

/* ---- volctl-json.c: members of an answer, whatever it may be ---- */

const char *jstr(const json_t *object, const char *key); /* "" when it is not there */
uint64_t jnum(const json_t *object, const char *key);	 /* 0 when it is not there */
json_t *jlist(json_t *reply, const char *key); /* the array itself, or its member; borrowed */
/* "1.5 GiB" of a member; the buffer is one of a few static ones. */
const char *jsize(const json_t *object, const char *key);

/* ---- the commands: each returns an exit code ---- */

/* volctl-cluster.c */
int cmd_cluster_init(const struct volctl *v);
int cmd_status(const struct volctl *v);
/* volctl-server.c */
int cmd_server_add(const struct volctl *v);
int cmd_server_list(const struct volctl *v);
int cmd_server_show(const struct volctl *v);
int cmd_server_set(const struct volctl *v);
int cmd_server_remove(const struct volctl *v);
int cmd_server_drain(const struct volctl *v);
int cmd_server_replace(const struct volctl *v);
void server_table_print(const json_t *servers);
/* volctl-volume.c */
int cmd_volume_create(const struct volctl *v);
int cmd_volume_list(const struct volctl *v);
int cmd_volume_show(const struct volctl *v);
int cmd_volume_set(const struct volctl *v);
int cmd_volume_resize(const struct volctl *v);
int cmd_volume_delete(const struct volctl *v);
int cmd_volume_map(const struct volctl *v);
void volume_table_print(const json_t *volumes);
/* volctl-user.c */
int cmd_user_add(const struct volctl *v);
int cmd_user_invite(const struct volctl *v);
int cmd_user_list(const struct volctl *v);
int cmd_user_set(const struct volctl *v);
int cmd_user_passwd(const struct volctl *v);
int cmd_user_remove(const struct volctl *v);
/* volctl-check.c */
int cmd_check(const struct volctl *v);
/* volctl-recover.c */
int cmd_recover(const struct volctl *v);
/* volctl-scrub.c */
int cmd_scrub_start(const struct volctl *v);
int cmd_scrub_stop(const struct volctl *v);
int cmd_scrub_status(const struct volctl *v);
/* volctl-top.c */
int cmd_top(const struct volctl *v);
/* attach.c */
int cmd_volume_attach(const struct volctl *v);
int cmd_volume_detach(const struct volctl *v);

#endif
