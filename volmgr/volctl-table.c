/* The commands of volctl and their options; see volctl-table.h. */
#include "config.h"

#include "volctl-table.h"

#include "banned.h"

const struct volctl_option volctl_options[] = {
	{"size", "SIZE", "size of the volume: 10G, 1.5T", offsetof(struct volctl, size), KIND_NONE},
	{"ec", "K+M", "K data and M parity shards (default 4+2)", offsetof(struct volctl, ec),
	 KIND_NONE},
	{"unit", "SIZE", "stripe unit, 4K to 256K (default: volmgr's)",
	 offsetof(struct volctl, unit), KIND_NONE},
	{"name", "NAME", "name for the server (default: volmgr chooses)",
	 offsetof(struct volctl, name), KIND_NONE},
	{"address", "ADDRESS", "where the server answers now", offsetof(struct volctl, address),
	 KIND_NONE},
	{"host", "HOST", "machine it runs on: shards are spread over hosts",
	 offsetof(struct volctl, host), KIND_NONE},
	{"device", "DEVICE", "attach as this /dev/nbdX (default: a free one)",
	 offsetof(struct volctl, device), KIND_DEVICE},
	{"connections", "N", "connections to volmgr (default 1; 4 without nbd)",
	 offsetof(struct volctl, connections), KIND_NONE},
	{"secret", "FILE", "where the secret is, or goes (default " SYSCONFDIR "/weft/secret)",
	 offsetof(struct volctl, secret), KIND_FILE},
	{"role", "ROLE", "admin, user or read-only (default user)", offsetof(struct volctl, role),
	 KIND_ROLE},
	{"min", "N", "good shards that a write needs (default K+1; K when M is 1)",
	 offsetof(struct volctl, min), KIND_NONE},
	{"below-min", "WORD", "writes wait or fail when there are fewer (default wait)",
	 offsetof(struct volctl, below_min), KIND_NONE},
	{"when-full", "WORD", "error or wait: writes when the servers are full (default error)",
	 offsetof(struct volctl, when_full), KIND_NONE},
	{"yes", NULL, "do not ask", offsetof(struct volctl, yes), KIND_NONE},
	{"dir", "DIR", "volmgr's folder of metadata", offsetof(struct volctl, dir), KIND_FILE},
	{"offline", NULL, "without a running volmgr", offsetof(struct volctl, offline), KIND_NONE},
	{"checksums", NULL, "only checksums, which servers verify by themselves; no parity",
	 offsetof(struct volctl, checksums), KIND_NONE},
	{"dry-run", NULL, "only say what there is", offsetof(struct volctl, dry_run), KIND_NONE},
	{"force", NULL, "go on although something will be lost", offsetof(struct volctl, force),
	 KIND_NONE},
	{"lost", NULL, "it never comes back: make its shards anew on others",
	 offsetof(struct volctl, lost), KIND_NONE},
	{"once", NULL, "one look of a second, then end", offsetof(struct volctl, once), KIND_NONE},
	{"stop", NULL, "stop that: it takes new shards again, what was moved stays",
	 offsetof(struct volctl, stop), KIND_NONE},
	{"shared", NULL, "other machines write it, too (a cluster file system)",
	 offsetof(struct volctl, shared), KIND_NONE},
	{"shrink", NULL, "allow a smaller size: what lies behind it is lost",
	 offsetof(struct volctl, shrink), KIND_NONE},
	{NULL, NULL, NULL, 0, KIND_NONE},
};

const struct volctl_command volctl_commands[] = {
	{"status", "", "is everything fine, and what to do if not", 0, KIND_NONE, NULL, cmd_status},
	{"top", "[--once]", "what volumes and servers do at this moment, each second anew", 0,
	 KIND_NONE, " once ", cmd_top},
	{"cluster init", "[--secret FILE]", "make the secret that servers and volmgr share", 0,
	 KIND_NONE, " secret ", cmd_cluster_init},
	{"server add", "ADDRESS [--name NAME] [--host HOST]", "take a storage server in", 1,
	 KIND_NONE, " name host ", cmd_server_add},
	{"server list", "", "all servers and how full they are", 0, KIND_NONE, NULL,
	 cmd_server_list},
	{"server show", "NAME", "one server in detail", 1, KIND_SERVER, NULL, cmd_server_show},
	{"server set", "NAME [--address ADDRESS] [--host HOST]",
	 "say where a server is now, its store being the same", 1, KIND_SERVER, " address host ",
	 cmd_server_set},
	{"server drain", "NAME [--stop]", "move all shards of a server to others", 1, KIND_SERVER,
	 " stop ", cmd_server_drain},
	{"server replace", "OLD NEW", "move all shards of a server to a new one, take it out", 2,
	 KIND_SERVER, NULL, cmd_server_replace},
	{"server remove", "NAME [--lost]", "take a server out that holds no shards, or is lost", 1,
	 KIND_SERVER, " lost ", cmd_server_remove},
	{"volume create",
	 "NAME --size SIZE [--ec K+M] [--unit SIZE] [--min N] [--below-min WORD] [--when-full "
	 "WORD]",
	 "make a volume", 1, KIND_NONE, " size ec unit min below-min when-full ",
	 cmd_volume_create},
	{"volume set", "NAME [--min N] [--below-min WORD] [--when-full WORD]",
	 "change when writes wait or fail", 1, KIND_VOLUME, " min below-min when-full ",
	 cmd_volume_set},
	{"volume list", "", "all volumes and where they are attached", 0, KIND_NONE, NULL,
	 cmd_volume_list},
	{"volume show", "NAME", "one volume in detail", 1, KIND_VOLUME, NULL, cmd_volume_show},
	{"volume resize", "NAME SIZE [--shrink]", "grow a volume, also while it is in use", 2,
	 KIND_VOLUME, " shrink ", cmd_volume_resize},
	{"volume delete", "NAME [--yes]", "delete a volume and everything on it", 1, KIND_VOLUME,
	 " yes ", cmd_volume_delete},
	{"volume attach", "NAME [--device DEVICE] [--connections N] [--shared]",
	 "make it a block device of this machine", 1, KIND_VOLUME, " device connections shared ",
	 cmd_volume_attach},
	{"volume detach", "NAME [--force]", "undo attach", 1, KIND_VOLUME, " force ",
	 cmd_volume_detach},
	{"volume map", "NAME", "which servers hold which part", 1, KIND_VOLUME, NULL,
	 cmd_volume_map},
	{"user add", "NAME [--role ROLE]", "let somebody log in on the web page", 1, KIND_NONE,
	 " role ", cmd_user_add},
	{"user invite", "[--role ROLE]", "make a link that lets somebody choose name and password",
	 0, KIND_NONE, " role ", cmd_user_invite},
	{"user list", "", "people and their roles", 0, KIND_NONE, NULL, cmd_user_list},
	{"user set", "NAME --role ROLE", "change a role, or approve of who has registered", 1,
	 KIND_USER, " role ", cmd_user_set},
	{"user passwd", "NAME", "set a new password", 1, KIND_USER, NULL, cmd_user_passwd},
	{"user remove", "NAME", "remove a person, sessions and tokens too", 1, KIND_USER, NULL,
	 cmd_user_remove},
	{"check", "[--offline [--dir DIR] [--secret FILE]]",
	 "do metadata and servers agree, and what to do if not", 0, KIND_NONE,
	 " offline dir secret ", cmd_check},
	{"recover", "[ADDRESS]... [--dry-run] [--force]",
	 "rebuild lost metadata from what the servers have", -(VOLCTL_WORDS_MAX - 1), KIND_NONE,
	 " dry-run force ", cmd_recover},
	{"scrub start", "[VOLUME] [--checksums]",
	 "read everything, verify checksums and parity, repair", -1, KIND_VOLUME, " checksums ",
	 cmd_scrub_start},
	{"scrub stop", "[VOLUME]", "stop that", -1, KIND_VOLUME, NULL, cmd_scrub_stop},
	{"scrub status", "[VOLUME]", "how far it is, and what it found", -1, KIND_VOLUME, NULL,
	 cmd_scrub_status},
	{NULL, NULL, NULL, 0, KIND_NONE, NULL, NULL},
};

bool volctl_command_takes(const struct volctl_command *c, const struct volctl_option *o)
{
	char word[40];

	snprintf(word, sizeof(word), " %s ", o->name);
	return c->options != NULL && strstr(c->options, word) != NULL;
}

const struct volctl_command *volctl_command_find(int argc, char *const *argv, int *used)
{
	for (const struct volctl_command *c = volctl_commands; c->words != NULL; c++) {
		const char *blank = strchr(c->words, ' ');
		size_t len = blank != NULL ? (size_t)(blank - c->words) : strlen(c->words);

		if (argc < 1 || strlen(argv[0]) != len || memcmp(argv[0], c->words, len) != 0)
			continue;
		if (blank == NULL || (argc > 1 && strcmp(argv[1], blank + 1) == 0)) {
			*used = blank == NULL ? 1 : 2;
			return c;
		}
	}
	return NULL;
}
