/* People of the web page: add, invite, list, change, remove. */
#include "config.h"

#include "volctl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "banned.h"
#include "table.h"

#define PASSWORD_MAX_BYTES 256

/* A line of standard input, without echo on a terminal. */
static int read_line(const char *prompt, char *out, size_t max)
{
	struct termios old, quiet;
	bool tty = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &old) == 0;
	size_t len;

	if (tty) {
		fputs(prompt, stderr);
		fflush(stderr);
		quiet = old;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	}
	if (fgets(out, (int)max, stdin) == NULL)
		out[0] = '\0';
	if (tty) {
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
		fputc('\n', stderr);
	}
	len = strlen(out);
	if (len > 0 && out[len - 1] == '\n')
		out[--len] = '\0';
	return len > 0 ? 0 : -EINVAL;
}

static int read_password(char *out, size_t max)
{
	char again[PASSWORD_MAX_BYTES + 2];
	int err = read_line("Password: ", out, max);

	if (err != 0) {
		volctl_error("type it, or give it as a line of standard input",
			     "there is no password");
		return EXIT_USAGE;
	}
	if (!isatty(STDIN_FILENO))
		return EXIT_OK;
	err = read_line("Again: ", again, sizeof(again));
	if (err != 0 || strcmp(out, again) != 0) {
		volctl_error(NULL, "the two are not the same");
		err = EXIT_USAGE;
	}
	explicit_bzero(again, sizeof(again));
	return err;
}

/* Ask for a password, then send it with body. */
static int send_password(const struct volctl *v, const char *method, json_t *body, const char *path,
			 const char *said)
{
	char password[PASSWORD_MAX_BYTES + 2];
	json_t *reply;
	int err = read_password(password, sizeof(password));

	if (err == EXIT_OK && json_object_set_new(body, "password", json_string(password)) != 0) {
		volctl_error(NULL, "the password is not UTF-8");
		err = EXIT_USAGE;
	}
	explicit_bzero(password, sizeof(password));
	if (err != EXIT_OK) {
		json_decref(body);
		return err;
	}
	err = volctl_call(v, method, body, &reply, "%s", path);
	if (err != EXIT_OK)
		return err;
	if (v->json)
		return volctl_print_json(reply);
	printf("%s %s\n", v->arg[0], said);
	json_decref(reply);
	return EXIT_OK;
}

int cmd_user_add(const struct volctl *v)
{
	if (!volctl_name_valid("person", v->arg[0]))
		return EXIT_USAGE;
	return send_password(v, "POST",
			     json_pack("{s:s, s:s}", "name", v->arg[0], "role",
				       v->role != NULL ? v->role : "user"),
			     "/people", "can log in on the web page now.");
}

int cmd_user_passwd(const struct volctl *v)
{
	char path[128];

	if (!volctl_name_valid("person", v->arg[0]))
		return EXIT_USAGE;
	snprintf(path, sizeof(path), "/people/%s", v->arg[0]);
	return send_password(v, "PATCH", json_object(), path,
			     "has a new password, and is logged out everywhere.");
}

int cmd_user_invite(const struct volctl *v)
{
	json_t *reply, *status;
	const char *web;
	int err = volctl_call(v, "POST",
			      json_pack("{s:s}", "role", v->role != NULL ? v->role : "user"),
			      &reply, "/invitations");

	if (err != EXIT_OK)
		return err;
	if (v->json)
		return volctl_print_json(reply);
	status = volctl_ask(v, "/status");
	web = jstr(status, "web");
	printf("%s/#/join/%s\n", web, jstr(reply, "secret"));
	fprintf(stderr,
		"Whoever opens this link first becomes a person with the role %s. It ends in %u "
		"days.\n",
		jstr(reply, "role"),
		(unsigned)((jnum(reply, "expires") - (uint64_t)time(NULL) + 43200) / 86400));
	json_decref(status);
	json_decref(reply);
	return EXIT_OK;
}

static void time_cell(struct table *t, uint64_t when)
{
	time_t at = (time_t)when;
	char text[32];
	struct tm tm;

	if (when == 0 || localtime_r(&at, &tm) == NULL ||
	    strftime(text, sizeof(text), "%Y-%m-%d %H:%M", &tm) == 0)
		table_cell(t, "-");
	else
		table_cell(t, "%s", text);
}

int cmd_user_list(const struct volctl *v)
{
	static const char *const headings[] = {"NAME",	"ROLE",	      "STATE",
					       "SINCE", "LAST LOGIN", NULL};
	struct table *t;
	json_t *reply, *p;
	size_t i;
	int err = volctl_call(v, "GET", NULL, &reply, "/people");

	if (err != EXIT_OK)
		return err;
	if (v->json)
		return volctl_print_json(reply);
	t = table_create(headings);
	json_array_foreach(jlist(reply, "people"), i, p)
	{
		table_cell(t, "%s", jstr(p, "name"));
		table_cell(t, "%s", jstr(p, "role"));
		table_cell(t, "%s",
			   json_is_true(json_object_get(p, "waiting")) ? "waits for approval"
								       : "active");
		time_cell(t, jnum(p, "created"));
		time_cell(t, jnum(p, "seen"));
	}
	table_print(t, stdout, 0, "Nobody can log in yet: volctl user add NAME --role admin\n");
	table_destroy(t);
	json_decref(reply);
	return EXIT_OK;
}

int cmd_user_set(const struct volctl *v)
{
	json_t *reply;
	int err;

	if (!volctl_name_valid("person", v->arg[0]))
		return EXIT_USAGE;
	if (v->role == NULL) {
		volctl_error("--role admin, user or read-only", "there is nothing to set");
		return EXIT_USAGE;
	}
	/* whoever gets a role is approved of */
	err = volctl_call(v, "PATCH", json_pack("{s:s, s:b}", "role", v->role, "waiting", 0),
			  &reply, "/people/%s", v->arg[0]);
	if (err != EXIT_OK)
		return err;
	if (v->json)
		return volctl_print_json(reply);
	printf("%s is %s now.\n", v->arg[0], jstr(reply, "role"));
	json_decref(reply);
	return EXIT_OK;
}

int cmd_user_remove(const struct volctl *v)
{
	json_t *reply;
	int err;

	if (!volctl_name_valid("person", v->arg[0]))
		return EXIT_USAGE;
	err = volctl_call(v, "DELETE", NULL, &reply, "/people/%s", v->arg[0]);
	if (err != EXIT_OK)
		return err;
	if (v->json)
		return volctl_print_json(reply);
	printf("%s is removed, and logged out everywhere.\n", v->arg[0]);
	json_decref(reply);
	return EXIT_OK;
}
