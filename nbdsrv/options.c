/* The command line and the config file of nbdsrv. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "conf.h"
#include "nbdsrv.h"

#include "banned.h"

/* ---- options ------------------------------------------------------------------------------- */

static int set_string(const char **where, const char *value, const char **why)
{
	if (*value == '\0') {
		*why = "it is empty";
		return -EINVAL;
	}
	*where = strdup(value); /* a line of the config file does not last */
	return *where == NULL ? -ENOMEM : 0;
}

static int set_file(void *ctx, const char *value, const char **why)
{
	return set_string(&((struct nbdsrv_options *)ctx)->file, value, why);
}

static int set_export(void *ctx, const char *value, const char **why)
{
	if (strlen(value) > NBD_NAME_MAX) {
		*why = "the name is longer than 4096 bytes";
		return -EINVAL;
	}
	return *value == '\0' ? 0 : set_string(&((struct nbdsrv_options *)ctx)->name, value, why);
}

static int set_read_only(void *ctx, const char *value, const char **why)
{
	((struct nbdsrv_options *)ctx)->read_only = true;
	return 0;
}

static int set_store(void *ctx, const char *value, const char **why)
{
	return set_string(&((struct nbdsrv_options *)ctx)->store, value, why);
}

static int set_format(void *ctx, const char *value, const char **why)
{
	((struct nbdsrv_options *)ctx)->format = true;
	return 0;
}

static int set_size(void *ctx, const char *value, const char **why)
{
	*why = "not a size: say for example 512M or 2T";
	return conf_size(value, &((struct nbdsrv_options *)ctx)->size);
}

static int set_force(void *ctx, const char *value, const char **why)
{
	((struct nbdsrv_options *)ctx)->force = true;
	return 0;
}

static int set_secret(void *ctx, const char *value, const char **why)
{
	return set_string(&((struct nbdsrv_options *)ctx)->secret, value, why);
}

static int set_listen(void *ctx, const char *value, const char **why)
{
	struct nbdsrv_options *opt = ctx;

	if (opt->nlisten == NBDSRV_LISTEN_MAX) {
		*why = "that are too many addresses";
		return -EINVAL;
	}
	return set_string(&opt->listen[opt->nlisten++], value, why);
}

static int set_ready_fd(void *ctx, const char *value, const char **why)
{
	uint64_t fd;

	*why = "not the number of a file descriptor";
	if (conf_number(value, 0, 1 << 20, &fd) < 0)
		return -EINVAL;
	((struct nbdsrv_options *)ctx)->ready_fd = (int)fd;
	return 0;
}

static int set_spin(void *ctx, const char *value, const char **why)
{
	uint64_t us;

	*why = "not a number from 0 to 10000";
	if (conf_number(value, 0, URING_SPIN_US_MAX, &us) < 0)
		return -EINVAL;
	((struct nbdsrv_options *)ctx)->spin_us = (unsigned)us;
	return 0;
}

static int set_bpf(void *ctx, const char *value, const char **why)
{
	*why = "not one of auto, off";
	((struct nbdsrv_options *)ctx)->no_routes = strcmp(value, "off") == 0;
	return strcmp(value, "off") == 0 || strcmp(value, "auto") == 0 ? 0 : -EINVAL;
}

static int set_guard(void *ctx, const char *value, const char **why)
{
	struct nbdsrv_options *opt = ctx;

	if (opt->nguards == NBDSRV_GUARDS_MAX) {
		*why = "that are too many interfaces";
		return -EINVAL;
	}
	return set_string(&opt->guards[opt->nguards++], value, why);
}

static int set_member(void *ctx, const char *value, const char **why)
{
	struct nbdsrv_options *opt = ctx;

	if (opt->nmembers == NBDSRV_MEMBERS_MAX) {
		*why = "that are too many addresses";
		return -EINVAL;
	}
	return set_string(&opt->members[opt->nmembers++], value, why);
}

static int set_log_level(void *ctx, const char *value, const char **why)
{
	*why = "not one of error, warn, info, debug";
	return log_level_from_name(value, &((struct nbdsrv_options *)ctx)->log_level) ? 0 : -EINVAL;
}

static const struct conf_option options[] = {
	{"file", "PATH", "export this file or block device as it is", false, set_file},
	{"export", "NAME", "name of the plain export (default: the empty name)", false, set_export},
	{"read-only", NULL, "export the file read-only", false, set_read_only},
	{"store", "PATH", "serve the shard store in this directory, file or block device", false,
	 set_store},
	{"format", NULL, "make a new, empty store at the path of --store, and exit", true,
	 set_format},
	{"size", "SIZE", "size of the new store; may be left out for a block device", true,
	 set_size},
	{"force", NULL, "with --format: over whatever is there", true, set_force},
	{"secret", "FILE", "file with the cluster's secret", false, set_secret},
	{"listen", "ADDR", "tcp:HOST:PORT or unix:/PATH, repeatable (default: tcp:127.0.0.1:10809)",
	 false, set_listen},
	{"ready-fd", "N",
	 "when serving, write \"listen=ADDR\" lines to this descriptor and close it", true,
	 set_ready_fd},
	{"spin-us", "N", "poll up to this many microseconds for work before sleeping (default: 40)",
	 false, set_spin},
	{"bpf", "MODE",
	 "auto: a store opens a port on the loopback for reads that eBPF brings past volmgr; off: "
	 "it does not (default: auto)",
	 false, set_bpf},
	{"guard", "IFACE",
	 "drop what others than members of the cluster send to our ports on this interface, "
	 "repeatable",
	 false, set_guard},
	{"member", "HOST",
	 "let this host in, and otherwise only such, repeatable (default: whom volmgr tells)",
	 false, set_member},
	{"log-level", "LEVEL", "error, warn, info or debug (default: info)", false, set_log_level},
	{NULL, NULL, NULL, false, NULL},
};

static int usage(const char *text)
{
	fprintf(stderr, "nbdsrv: %s\nTry \"nbdsrv --help\".\n", text);
	return -EINVAL;
}

static int options_check(const struct nbdsrv_options *opt)
{
	if ((opt->file == NULL) == (opt->store == NULL))
		return usage("give either --file or --store");
	if (opt->file != NULL && (opt->format || opt->force || opt->size != 0))
		return usage("--format, --size and --force are for stores");
	if (opt->store != NULL && (opt->read_only || *opt->name != '\0'))
		return usage("--export and --read-only are for --file");
	if (opt->store != NULL && opt->secret == NULL)
		return usage("a store needs --secret FILE (\"volctl cluster init\" makes one)");
	if (opt->nmembers > 0 && opt->nguards == 0)
		return usage("--member goes with --guard");
	if (opt->nguards > 0 && opt->nmembers == 0 && opt->store == NULL)
		return usage("without volmgr a guard needs --member HOST");
	if ((opt->force || opt->size != 0) && !opt->format)
		return usage("--size and --force go with --format");
	return 0;
}

int options_parse(struct nbdsrv_options *opt, int argc, char **argv)
{
	const struct conf_program program = {
		.name = "nbdsrv",
		.synopsis = "nbdsrv --file PATH [--export NAME] [--read-only] [--listen ADDR]...\n"
			    "       nbdsrv --store PATH --format --size SIZE --secret FILE\n"
			    "       nbdsrv --store PATH --secret FILE [--listen ADDR]...",
		.summary = "Exports a file or a block device by NBD, or serves a shard store of a "
			   "weft cluster.",
		.options = options,
		.ctx = opt,
	};

	opt->ready_fd = -1;
	opt->spin_us = URING_SPIN_US_DEFAULT;
	opt->log_level = LOG_LEVEL_INFO;
	opt->name = "";
	if (conf_parse(&program, argc, argv) < argc)
		return usage("all arguments are options; this one is none");
	return options_check(opt);
}
