/* See place.h. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tagger/place.h"
#include "banned.h"

/* p->folder and a name in it. */
static int place_fill(const struct index *ix, struct place *p, const char *name)
{
	static char folder[INDEX_PATH_MAX]; /* one thread */
	int len = index_path(ix, p->folder, folder, sizeof(folder));

	if (len < 0)
		return -ENAMETOOLONG;
	if (asprintf(&p->path, "%s%s%s", folder, len > 0 ? "/" : "", name) < 0) {
		p->path = NULL;
		return -ENOMEM;
	}
	p->name = p->path + len + (len > 0);
	memcpy(p->in_ident, index_node(ix, p->folder)->ident, sizeof(p->in_ident));
	return 0;
}

int place_new(const struct index *ix, const char *path, struct place *p)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash != NULL ? slash + 1 : path;

	*p = (struct place){0};
	p->folder = index_by_path(ix, path, slash != NULL ? (size_t)(slash - path) : 0);
	if (strlen(name) > RECORD_NAME_MAX)
		return -ENAMETOOLONG;
	if (*name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
	    (p->folder == INDEX_ROOT && strcmp(name, TREE_OWN) == 0))
		return -EINVAL;
	return p->folder != 0 ? place_fill(ix, p, name) : -ENOENT;
}

int place_of(const struct index *ix, uint32_t file, struct place *p)
{
	const struct node *n = index_node(ix, file);

	*p = (struct place){.file = file, .folder = n->parent};
	if (file == INDEX_ROOT)
		return -EINVAL;
	memcpy(p->ident, n->ident, sizeof(p->ident));
	return place_fill(ix, p, index_name(ix, file));
}

int place_any(const struct index *ix, uint32_t file, struct place *p)
{
	if (file != INDEX_ROOT)
		return place_of(ix, file, p);
	*p = (struct place){.file = file, .path = strdup("")};
	p->name = p->path;
	memcpy(p->ident, index_node(ix, file)->ident, sizeof(p->ident));
	return p->path != NULL ? 0 : -ENOMEM;
}

void place_free(struct place *p)
{
	free(p->path);
	*p = (struct place){0};
}

bool place_is_known(const struct index *ix, const struct place *p)
{
	const struct node *n = index_node_find(ix, p->file);

	return n != NULL && memcmp(n->ident, p->ident, sizeof(p->ident)) == 0;
}

/* ---- threads ------------------------------------------------------------------------------- */

static int place_check(struct tree *t, int fd, const char *name, const uint8_t ident[16])
{
	struct tree_entry e;
	int err = tree_look(t, fd, name, &e);

	return err == 0 && memcmp(e.seen.ident, ident, 16) != 0 ? -ENOENT : err;
}

int place_open_folder(struct tree *t, const struct place *p)
{
	const char *name;
	int fd = tree_open_parent(t, p->path, &name);
	int err = fd >= 0 ? place_check(t, fd, "", p->in_ident) : fd;

	if (err != 0 && fd >= 0)
		close(fd);
	return err != 0 ? err : fd;
}

int place_open_around(struct tree *t, const struct place *p)
{
	int fd = place_open_folder(t, p);
	int err = fd >= 0 ? place_check(t, fd, p->name, p->ident) : fd;

	if (err != 0 && fd >= 0)
		close(fd);
	return err != 0 ? err : fd;
}

int place_open(struct tree *t, const struct place *p, struct stat *st)
{
	/* opening must never wait for another (a FIFO), nor change the time of last access */
	int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY;
	int fd = tree_openat(t, p->path, flags | O_NOATIME, 0);

	if (fd == -EPERM)
		fd = tree_openat(t, p->path, flags, 0);
	if (fd < 0)
		return fd;
	if (fstat(fd, st) < 0 || !S_ISREG(st->st_mode) || place_check(t, fd, "", p->ident) != 0) {
		close(fd);
		return -ENOENT;
	}
	return fd;
}
