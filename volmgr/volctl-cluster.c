/* The cluster as a whole: its secret, and whether everything is fine. */
#include "config.h"

#include "volctl.h"

#include <errno.h>
#include <libgen.h>
#include <sys/stat.h>

#include "banned.h"
#include "secret.h"

#define DEFAULT_SECRET SYSCONFDIR "/weft/secret"

int cmd_cluster_init(const struct volctl *v)
{
	const char *path = v->secret != NULL ? v->secret : DEFAULT_SECRET;
	const char *why = "";
	char *copy;
	int err;

	if (v->secret == NULL) {
		/* our own folder; one that the user names must be there */
		copy = strdup(path);
		if (copy != NULL)
			mkdir(dirname(copy), 0755);
		free(copy);
	}
	err = secret_create(path, &why);
	if (err == -EEXIST) {
		volctl_error("a cluster has one secret: use this one, or remove the file if no "
			     "store was made with it",
			     "%s is there already", path);
		return EXIT_REFUSED;
	}
	if (err != 0) {
		volctl_error(err == -EACCES ? "run volctl as root, or name a file with --secret"
					    : "name another file with --secret",
			     "cannot make %s: %s", path, *why != '\0' ? why : strerror(-err));
		return EXIT_REFUSED;
	}
	if (v->json)
		return volctl_print_json(json_pack("{s:s}", "secret", path));
	printf("The cluster's secret is in %s, readable by its owner only.\n"
	       "Copy it to the machine of every server and volmgr (same place, mode 0600), then:\n"
	       "  nbdsrv --store DIR --format --size SIZE --secret %s\n"
	       "  volmgr --secret %s\n",
	       path, path, path);
	return EXIT_OK;
}

/* The first sentence: state, and what to do when it is not fine. */
static void print_sentence(const json_t *status)
{
	const char *state = jstr(status, "state"), *message = jstr(status, "message");
	const json_t *servers = json_object_get(status, "servers");
	uint64_t up = jnum(servers, "up"), total = jnum(servers, "total");

	if (total == 0)
		puts("No servers yet: start some nbdsrv, then \"volctl server add ADDRESS\".");
	else if (strcmp(state, "ok") != 0 && *message != '\0')
		puts(message);
	else if (up < total)
		printf("%u of %u servers cannot be reached: see below which, and start them.\n",
		       (unsigned)(total - up), (unsigned)total);
	else if (strcmp(state, "ok") != 0)
		printf("Not everything is fine: the state is \"%s\".\n", state);
	else if (jnum(status, "volumes") == 0)
		puts("Everything is fine. No volumes yet: \"volctl volume create NAME --size "
		     "SIZE\".");
	else
		puts("Everything is fine.");
	if (*jstr(status, "hint") != '\0' && strcmp(state, "ok") != 0)
		printf("%s\n", jstr(status, "hint"));
}

/* How far, how fast, how long. */
static void print_progress(const json_t *o)
{
	uint64_t left = jnum(o, "seconds_left");

	printf("%s of %s", jsize(o, "done"), jsize(o, "total"));
	if (left > 0)
		printf(", %s a second, %u:%02u left", jsize(o, "rate"), (unsigned)(left / 60),
		       (unsigned)(left % 60));
	putchar('\n');
}

static void print_rebuild(const json_t *rebuild)
{
	if (jnum(rebuild, "shards") == 0)
		return;
	printf("  rebuild   ");
	print_progress(rebuild);
}

/* Of the volume that can lose the fewest. */
static void print_spare(const json_t *status)
{
	json_int_t spare = json_integer_value(json_object_get(status, "spare"));

	if (*jstr(status, "weakest") == '\0')
		return;
	if (spare < 0)
		printf("  spare     none: parts of volume %s cannot be read now\n",
		       jstr(status, "weakest"));
	else
		printf("  spare     %u server%s may be lost now (%s)\n", (unsigned)spare,
		       spare == 1 ? "" : "s", jstr(status, "weakest"));
}

static void print_ebpf(const json_t *ebpf, unsigned servers)
{
	unsigned remote = (unsigned)jnum(ebpf, "remote"), steered = (unsigned)jnum(ebpf, "steered");

	if (*jstr(ebpf, "state") == '\0')
		return;
	printf("  ebpf      %s", jstr(ebpf, "state"));
	if (*jstr(ebpf, "why") != '\0')
		printf(": %s", jstr(ebpf, "why"));
	else if (servers > 0)
		printf(": reads are routed to %u of %u servers", (unsigned)jnum(ebpf, "servers"),
		       servers);
	if (steered > 0)
		printf("; large ones come past volmgr from %u remote", steered);
	if (remote > 0)
		printf("; %u remote, whose reads are not", remote);
	if (remote > 0 && *jstr(ebpf, "remote_why") != '\0')
		printf(": %s", jstr(ebpf, "remote_why"));
	putchar('\n');
}

static void print_capacity(const json_t *status)
{
	uint64_t size = jnum(status, "size"), free_bytes = jnum(status, "free");
	const json_t *servers = json_object_get(status, "servers");

	if (size > 0)
		printf("  capacity  %s free of %s on all servers (%u%% used)\n",
		       jsize(status, "free"), jsize(status, "size"),
		       (unsigned)((double)(size - (free_bytes < size ? free_bytes : size)) * 100 /
				  (double)size));
	printf("  servers   %u up of %u\n", (unsigned)jnum(servers, "up"),
	       (unsigned)jnum(servers, "total"));
	printf("  volumes   %u\n", (unsigned)jnum(status, "volumes"));
	print_spare(status);
	print_rebuild(json_object_get(status, "rebuild"));
	if (*jstr(status, "code") != '\0')
		printf("  code      %s\n", jstr(status, "code"));
	print_ebpf(json_object_get(status, "ebpf"), (unsigned)jnum(servers, "total"));
	if (*jstr(status, "warning") != '\0')
		printf("\nWarning: %s\n", jstr(status, "warning"));
}

/* What is on its way to other servers; of balancing nobody knows exactly how much it will be. */
static void print_moves(const json_t *status)
{
	const json_t *moves = json_object_get(status, "moves");

	if (jnum(moves, "shards") > 0)
		printf("  moves     %u shards (%s) to other servers, %u on their way\n",
		       (unsigned)jnum(moves, "shards"), jsize(moves, "bytes"),
		       (unsigned)jnum(moves, "running"));
	else if (json_is_true(json_object_get(moves, "balancing")))
		printf("  moves     from full servers to empty ones, %u shards on their way\n",
		       (unsigned)jnum(moves, "running"));
	if (jnum(moves, "total") > 0) {
		printf("            ");
		print_progress(moves);
	}
	if (*jstr(moves, "blocked") != '\0')
		printf("\nWarning: %s\n%s\n", jstr(moves, "blocked"), jstr(moves, "hint"));
}

int cmd_status(const struct volctl *v)
{
	json_t *status, *list;
	int err = volctl_call(v, "GET", NULL, &status, "/status");

	if (err != EXIT_OK)
		return err;
	if (v->json)
		return volctl_print_json(status);
	print_sentence(status);
	putchar('\n');
	print_capacity(status);
	print_moves(status);
	if (jnum(json_object_get(status, "servers"), "total") > 0) {
		list = volctl_ask(v, "/servers");
		printf("\nServers\n");
		server_table_print(jlist(list, "servers"));
		json_decref(list);
	}
	if (jnum(status, "volumes") > 0) {
		list = volctl_ask(v, "/volumes");
		printf("\nVolumes\n");
		volume_table_print(jlist(list, "volumes"));
		json_decref(list);
	}
	json_decref(status);
	return EXIT_OK;
}
