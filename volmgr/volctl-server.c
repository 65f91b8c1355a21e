/* Servers: take in, list, show, take out. */
#include "config.h"

#include "volctl.h"

#include "addr.h"
#include "banned.h"
#include "table.h"

#define DEFAULT_PORT 10809u

static bool address_valid(const char *text)
{
	const char *why = "it is not valid";
	struct addr addr;

	if (addr_parse(text, DEFAULT_PORT, &addr, &why) == 0)
		return true;
	volctl_error("an address is HOST:PORT or unix:/path/of/socket",
		     "cannot use the address %s: %s", text, why);
	return false;
}

int cmd_server_add(const struct volctl *v)
{
	json_t *body, *reply;
	int err;

	if (!address_valid(v->arg[0]))
		return EXIT_USAGE;
	if (v->name != NULL && !volctl_name_valid("server", v->name))
		return EXIT_USAGE;
	body = json_pack("{s:s,s:s*,s:s*}", "address", v->arg[0], "name", v->name, "host", v->host);
	if (body == NULL) {
		volctl_error(NULL, "the address or a name is not UTF-8");
		return EXIT_USAGE;
	}
	err = volctl_call(v, "POST", body, &reply, "/servers");
	if (err != EXIT_OK)
		return err;
	if (v->json)
		return volctl_print_json(reply);
	printf("Server %s at %s added: %s, %s free.\n", jstr(reply, "name"), jstr(reply, "address"),
	       jsize(reply, "size"), jsize(reply, "free"));
	json_decref(reply);
	return EXIT_OK;
}

/* "12%" */
static void percent_cell(struct table *t, uint64_t size, uint64_t free_bytes)
{
	if (size == 0)
		table_cell(t, "-");
	else
		table_cell(t, "%.0f%%",
			   (double)(free_bytes < size ? size - free_bytes : 0) * 100 /
				   (double)size);
}

static void state_cell(struct table *t, const char *state, const char *duty)
{
	if (*duty == '\0' || strcmp(duty, "member") == 0)
		table_cell(t, "%s", state);
	else
		table_cell(t, "%s, %s", state, duty);
}

void server_table_print(const json_t *servers)
{
	static const char *const headings[] = {"NAME",	"STATE", "ADDRESS", "HOST", ">SIZE",
					       ">FREE", ">USED", ">SHARDS", NULL};
	struct table *t = table_create(headings);
	const json_t *s;
	size_t i;

	json_array_foreach(servers, i, s)
	{
		table_cell(t, "%s", jstr(s, "name"));
		state_cell(t, jstr(s, "state"), jstr(s, "duty"));
		table_cell(t, "%s", jstr(s, "address"));
		table_cell(t, "%s", jstr(s, "host"));
		table_cell(t, "%s", jsize(s, "size"));
		table_cell(t, "%s", jsize(s, "free"));
		percent_cell(t, jnum(s, "size"), jnum(s, "free"));
		table_cell(t, "%llu", (unsigned long long)jnum(s, "slots_used"));
	}
	table_print(t, stdout, 2, "No servers yet: volctl server add ADDRESS");
	table_destroy(t);
}

int cmd_server_list(const struct volctl *v)
{
	json_t *reply;
	int err = volctl_call(v, "GET", NULL, &reply, "/servers");

	if (err != EXIT_OK)
		return err;
	if (v->json)
		return volctl_print_json(reply);
	server_table_print(jlist(reply, "servers"));
	json_decref(reply);
	return EXIT_OK;
}

/* Is it on its way out, and how far. */
static void print_duty(const json_t *s)
{
	const json_t *progress = json_object_get(s, "progress");
	uint64_t done = jnum(progress, "done_bytes"), total = jnum(progress, "total_bytes");

	if (*jstr(s, "duty") == '\0' || strcmp(jstr(s, "duty"), "member") == 0)
		return;
	printf("  duty     %s", jstr(s, "duty"));
	if (total > 0)
		printf(": %s of %s moved away (%u%%)", jsize(progress, "done_bytes"),
		       jsize(progress, "total_bytes"), (unsigned)(done * 100 / total));
	putchar('\n');
}

static void print_guard(const json_t *s)
{
	const json_t *g = json_object_get(s, "guard");

	if (*jstr(g, "how") == '\0' || strcmp(jstr(g, "how"), "off") == 0)
		printf("  guard    off\n");
	else if (json_is_true(json_object_get(g, "closed")))
		printf("  guard    %s: %llu addresses may come in; %llu packets dropped, %llu "
		       "passed\n",
		       jstr(g, "how"), (unsigned long long)jnum(g, "members"),
		       (unsigned long long)jnum(g, "dropped"),
		       (unsigned long long)jnum(g, "passed"));
	else
		printf("  guard    %s, open: it does not know the members yet\n", jstr(g, "how"));
}

/* Why reads do not go past volmgr to it. */
static void print_route(const json_t *s)
{
	static const char *const texts[][2] = {
		{"open", "reads go past volmgr"},
		{"steered", "it is on another machine: bytes of large reads come past volmgr"},
		{"remote", "no: it is on another machine, or in another network namespace"},
		{"closed", "no: it takes none now"},
		{"off", "no: eBPF is off"},
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (strcmp(jstr(s, "route"), texts[i][0]) == 0)
			printf("  routed   %s\n", texts[i][1]);
}

int cmd_server_show(const struct volctl *v)
{
	json_t *s;
	int err;

	if (!volctl_name_valid("server", v->arg[0]))
		return EXIT_USAGE;
	err = volctl_call(v, "GET", NULL, &s, "/servers/%s", v->arg[0]);
	if (err != EXIT_OK)
		return err;
	if (v->json)
		return volctl_print_json(s);
	printf("Server %s (number %llu)\n", jstr(s, "name"), (unsigned long long)jnum(s, "number"));
	printf("  state    %s%s%s\n", jstr(s, "state"), *jstr(s, "message") != '\0' ? ": " : "",
	       jstr(s, "message"));
	print_duty(s);
	printf("  address  %s\n", jstr(s, "address"));
	printf("  host     %s\n", *jstr(s, "host") != '\0' ? jstr(s, "host") : "-");
	printf("  store    %s\n", jstr(s, "store"));
	printf("  version  %s\n", *jstr(s, "version") != '\0' ? jstr(s, "version") : "-");
	printf("  size     %s, %s free\n", jsize(s, "size"), jsize(s, "free"));
	printf("  shards   %llu\n", (unsigned long long)jnum(s, "slots_used"));
	printf("  rebuilt  %llu shards since volmgr started, %llu are stale\n",
	       (unsigned long long)jnum(s, "rebuilt_shards"),
	       (unsigned long long)jnum(s, "stale_shards"));
	printf("  damage   %llu bad blocks, %llu that did not fit the others; %llu written anew",
	       (unsigned long long)jnum(s, "bad_blocks"),
	       (unsigned long long)jnum(s, "misfit_blocks"),
	       (unsigned long long)jnum(s, "repaired_blocks"));
	if (jnum(s, "damaged_blocks") > 0)
		printf("; %llu since the last clean scrub",
		       (unsigned long long)jnum(s, "damaged_blocks"));
	printf("\n");
	print_guard(s);
	print_route(s);
	json_decref(s);
	return EXIT_OK;
}

int cmd_server_set(const struct volctl *v)
{
	json_t *body, *reply;
	int err;

	if (!volctl_name_valid("server", v->arg[0]) ||
	    (v->address != NULL && !address_valid(v->address)) ||
	    (v->host != NULL && !volctl_name_valid("host", v->host)))
		return EXIT_USAGE;
	if (v->address == NULL && v->host == NULL) {
		volctl_error(NULL, "\"server set\" takes --address, --host, or both");
		return EXIT_USAGE;
	}
	body = json_pack("{s:s*,s:s*}", "address", v->address, "host", v->host);
	if (body == NULL) {
		volctl_error(NULL, "the address is not UTF-8");
		return EXIT_USAGE;
	}
	err = volctl_call(v, "PATCH", body, &reply, "/servers/%s", v->arg[0]);
	if (err != EXIT_OK)
		return err;
	if (v->json)
		return volctl_print_json(reply);
	printf("Server %s is at %s, on host %s.\n", jstr(reply, "name"), jstr(reply, "address"),
	       jstr(reply, "host"));
	json_decref(reply);
	return EXIT_OK;
}

int cmd_server_remove(const struct volctl *v)
{
	json_t *reply;
	int err;

	if (!volctl_name_valid("server", v->arg[0]))
		return EXIT_USAGE;
	err = volctl_call(v, "DELETE", NULL, &reply, "/servers/%s%s", v->arg[0],
			  v->lost ? "?lost=1" : "");
	if (err != EXIT_OK)
		return err;
	if (v->json)
		return volctl_print_json(reply);
	if (*jstr(reply, "removed") != '\0')
		printf("Server %s removed. Its store was not touched.\n", v->arg[0]);
	else
		printf("Server %s is given up: its shards are made anew on others, then it is "
		       "taken "
		       "out.\nSee: volctl status\n",
		       v->arg[0]);
	json_decref(reply);
	return EXIT_OK;
}

int cmd_server_drain(const struct volctl *v)
{
	json_t *reply;
	int err;

	if (!volctl_name_valid("server", v->arg[0]))
		return EXIT_USAGE;
	err = volctl_call(v, "POST", json_pack("{s:b}", "stop", v->stop), &reply,
			  "/servers/%s/drain", v->arg[0]);
	if (err != EXIT_OK)
		return err;
	if (v->json)
		return volctl_print_json(reply);
	if (v->stop)
		printf("Server %s stays, and takes new shards again.\n", v->arg[0]);
	else
		printf("Server %s takes no new shards; those it has move to others.\n"
		       "See: volctl server show %s\n",
		       v->arg[0], v->arg[0]);
	json_decref(reply);
	return EXIT_OK;
}

int cmd_server_replace(const struct volctl *v)
{
	json_t *reply;
	int err;

	if (!volctl_name_valid("server", v->arg[0]) || !volctl_name_valid("server", v->arg[1]))
		return EXIT_USAGE;
	err = volctl_call(v, "POST", json_pack("{s:s}", "by", v->arg[1]), &reply,
			  "/servers/%s/replace", v->arg[0]);
	if (err != EXIT_OK)
		return err;
	if (v->json)
		return volctl_print_json(reply);
	printf("The shards of server %s move to %s; then it is taken out.\n"
	       "See: volctl server show %s\n",
	       v->arg[0], v->arg[1], v->arg[0]);
	json_decref(reply);
	return EXIT_OK;
}
