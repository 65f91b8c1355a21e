/*
 * See watch.h. Events say only where something happened, never what: the place is looked at anyway,
 * and so events that are merged, late or out of order do no harm.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "log.h"
#include "tagger/watch.h"
#include "banned.h"

#define WATCH_BUFFER	  (64u << 10)
#define WATCH_READS_MAX	  16 /* in one turn of the loop */
#define WATCH_FOLDERS_MAX (1u << 22)

#define CHANGES                                                                                    \
	(FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO | FAN_CLOSE_WRITE | FAN_ATTRIB)
#define INOTIFY_CHANGES                                                                            \
	(IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE | IN_ATTRIB)

struct watch {
	struct watch_config c;
	const char *name;
	int fd; /* of fanotify or inotify, or -1 */
	bool each;
	bool inotify;
	bool full; /* no more folders can be watched: it was said */
	struct control_watch *events, *mounts;
	struct control_timer *period;
	int mounts_fd, mounts_epoll;
	uint8_t (*idents)[16]; /* inotify: of each watch number */
	uint32_t nidents;
	/* the event before this one: many come twice */
	uint8_t last_folder[16];
	char last_name[NAME_MAX + 1];
};

static void watch_tell(struct watch *w, const uint8_t folder[16], const char *name)
{
	if (*name == '\0' || strcmp(name, ".") == 0 || strlen(name) > NAME_MAX)
		return;
	if (strcmp(name, w->last_name) == 0 && memcmp(folder, w->last_folder, 16) == 0)
		return;
	snprintf(w->last_name, sizeof(w->last_name), "%s", name);
	memcpy(w->last_folder, folder, 16);
	w->c.place(w->c.arg, folder, name);
}

/* ---- fanotify ------------------------------------------------------------------------------ */

static void watch_info(struct watch *w, const char *info, const char *end)
{
	while ((size_t)(end - info) >= sizeof(struct fanotify_event_info_header)) {
		struct fanotify_event_info_header head;
		struct file_handle fh;
		uint8_t ident[16];
		const char *handle, *name;

		memcpy(&head, info, sizeof(head));
		if (head.len < sizeof(head) || head.len > end - info)
			return;
		handle = info + sizeof(struct fanotify_event_info_fid);
		if (head.info_type == FAN_EVENT_INFO_TYPE_DFID_NAME &&
		    head.len >= sizeof(struct fanotify_event_info_fid) + sizeof(fh)) {
			memcpy(&fh, handle, sizeof(fh));
			name = handle + sizeof(fh) + fh.handle_bytes;
			if (fh.handle_bytes <= MAX_HANDLE_SZ && name < info + head.len &&
			    memchr(name, '\0', (size_t)(info + head.len - name)) != NULL) {
				tree_handle_ident(fh.handle_type, handle + sizeof(fh),
						  fh.handle_bytes, ident);
				watch_tell(w, ident, name);
			}
		}
		info += head.len;
	}
}

static bool watch_read_fanotify(struct watch *w)
{
	static char buffer[WATCH_BUFFER] __attribute__((aligned(8)));
	ssize_t n = read(w->fd, buffer, sizeof(buffer));
	const char *at = buffer;
	bool overflow = false;

	if (n <= 0)
		return false;
	while ((size_t)n >= sizeof(struct fanotify_event_metadata)) {
		struct fanotify_event_metadata m;

		memcpy(&m, at, sizeof(m));
		if (m.event_len < sizeof(m) || m.event_len > n)
			break;
		if (m.mask & FAN_Q_OVERFLOW)
			overflow = true;
		else if (!w->c.opens || (m.pid != getpid() && m.pid != 0))
			watch_info(w, at + m.metadata_len, at + m.event_len);
		if (m.fd >= 0)
			close(m.fd);
		at += m.event_len;
		n -= m.event_len;
	}
	if (overflow)
		w->c.overflow(w->c.arg);
	return true;
}

static uint64_t watch_mask(const struct watch *w)
{
	uint64_t mask = (w->c.opens ? FAN_OPEN : (uint64_t)CHANGES | FAN_ONDIR);

	return mask | (w->each ? FAN_EVENT_ON_CHILD : 0);
}

/* Moving or deleting by handle needs both to agree on handles: tried on the root. */
static int watch_try_fanotify(struct watch *w)
{
	unsigned how = FAN_MARK_ADD | FAN_MARK_FILESYSTEM;
	int fd = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_REPORT_DFID_NAME,
			       O_RDONLY | O_LARGEFILE | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	w->each = !w->c.tree->is_mount;
	if (!w->each && fanotify_mark(fd, how, watch_mask(w), w->c.tree->root_fd, NULL) < 0)
		w->each = true;
	if (w->each && fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_ONLYDIR, watch_mask(w),
				     w->c.tree->root_fd, NULL) < 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	w->fd = fd;
	w->name = w->each ? "fanotify on each folder" : "fanotify on the file system";
	return 0;
}

/* ---- inotify ------------------------------------------------------------------------------- */

static bool watch_read_inotify(struct watch *w)
{
	static char buffer[WATCH_BUFFER] __attribute__((aligned(8)));
	ssize_t n = read(w->fd, buffer, sizeof(buffer));
	const char *at = buffer;
	bool overflow = false;

	if (n <= 0)
		return false;
	while ((size_t)n >= sizeof(struct inotify_event)) {
		const struct inotify_event *e = (const struct inotify_event *)at;
		size_t len = sizeof(*e) + e->len;

		if (e->mask & IN_Q_OVERFLOW)
			overflow = true;
		else if (e->len > 0 && e->wd > 0 && (uint32_t)e->wd < w->nidents)
			watch_tell(w, w->idents[e->wd], e->name);
		at += len;
		n -= (ssize_t)len;
	}
	if (overflow)
		w->c.overflow(w->c.arg);
	return true;
}

static int watch_add_inotify(struct watch *w, const uint8_t ident[16], const char *proc)
{
	int wd = inotify_add_watch(w->fd, proc,
				   (w->c.opens ? IN_OPEN : INOTIFY_CHANGES) | IN_ONLYDIR);

	if (wd < 0)
		return -errno;
	if ((uint32_t)wd >= w->nidents) {
		uint32_t n = (uint32_t)wd * 2 + 64;
		uint8_t(*more)[16] =
			n <= WATCH_FOLDERS_MAX ? realloc(w->idents, n * sizeof(*more)) : NULL;

		if (more == NULL) {
			inotify_rm_watch(w->fd, wd);
			return -ENOSPC;
		}
		memset(more + w->nidents, 0, (n - w->nidents) * sizeof(*more));
		w->idents = more;
		w->nidents = n;
	}
	memcpy(w->idents[wd], ident, 16);
	return 0;
}

/* ---- both ---------------------------------------------------------------------------------- */

static void watch_readable(void *arg)
{
	struct watch *w = arg;

	for (int i = 0; i < WATCH_READS_MAX; i++)
		if (w->inotify ? !watch_read_inotify(w) : !watch_read_fanotify(w))
			break;
	w->last_name[0] = '\0'; /* the same may happen again, later */
}

static void watch_full(struct watch *w, int err)
{
	if (w->full)
		return;
	w->full = true;
	log_warn("not every folder can be watched (%s): all is looked at every %d s as well%s",
		 strerror(-err), WATCH_PERIOD_S,
		 err == -ENOSPC
			 ? "; raise fs.fanotify.max_user_marks or fs.inotify.max_user_watches"
			 : "");
	if (w->period == NULL && !w->c.opens)
		w->period = control_timer_start(w->c.control, WATCH_PERIOD_S * 1000, 1,
						w->c.overflow, w->c.arg);
}

bool watch_wants_folders(const struct watch *w)
{
	return w->fd >= 0 && w->each;
}

void watch_folder(struct watch *w, const uint8_t ident[16], int fd)
{
	char proc[64];
	int err = 0;

	if (!watch_wants_folders(w))
		return;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	if (w->inotify)
		err = watch_add_inotify(w, ident, proc);
	else if (fanotify_mark(w->fd, FAN_MARK_ADD | FAN_MARK_ONLYDIR, watch_mask(w), AT_FDCWD,
			       proc) < 0)
		err = -errno;
	if (err != 0 && err != -ENOENT)
		watch_full(w, err);
}

const char *watch_name(const struct watch *w)
{
	return w->name;
}

/* ---- unmounted underneath ------------------------------------------------------------------ */

static void watch_mounts(void *arg)
{
	struct watch *w = arg;
	struct epoll_event e;

	while (epoll_wait(w->mounts_epoll, &e, 1, 0) > 0)
		;
	if (!tree_is_there(w->c.tree))
		w->c.gone(w->c.arg);
}

/* The table of mounts can always be read; that it changed is "urgent", which needs an epoll of its
 * own to be told apart. */
static void watch_start_mounts(struct watch *w)
{
	struct epoll_event e = {.events = EPOLLPRI | EPOLLET};

	w->mounts_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	w->mounts_epoll = epoll_create1(EPOLL_CLOEXEC);
	if (w->mounts_fd < 0 || w->mounts_epoll < 0 ||
	    epoll_ctl(w->mounts_epoll, EPOLL_CTL_ADD, w->mounts_fd, &e) < 0)
		return; /* then nobody tells */
	w->mounts = control_watch_start(w->c.control, w->mounts_epoll, 0, watch_mounts, w);
}

int watch_create(const struct watch_config *config, struct watch **out)
{
	struct watch *w = calloc(1, sizeof(*w));
	int err = -EOPNOTSUPP;

	if (w == NULL)
		return -ENOMEM;
	w->c = *config;
	w->fd = w->mounts_fd = w->mounts_epoll = -1;
	w->name = "walks from time to time";
	if (config->how <= WATCH_FANOTIFY)
		err = watch_try_fanotify(w);
	if (err != 0 && config->opens) {
		free(w);
		return err;
	}
	if (err != 0 && config->how <= WATCH_INOTIFY) {
		w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
		w->inotify = w->each = w->fd >= 0;
		if (w->inotify)
			w->name = "inotify on each folder";
	}
	if (w->fd >= 0)
		w->events = control_watch_start(config->control, w->fd, 0, watch_readable, w);
	else if (!config->opens)
		w->period = control_timer_start(config->control, WATCH_PERIOD_S * 1000, 1,
						config->overflow, config->arg);
	if (!config->opens)
		watch_start_mounts(w);
	*out = w;
	return 0;
}

void watch_destroy(struct watch *w)
{
	if (w == NULL)
		return;
	control_watch_free(w->events);
	control_watch_free(w->mounts);
	control_timer_free(w->period);
	if (w->fd >= 0)
		close(w->fd);
	if (w->mounts_fd >= 0)
		close(w->mounts_fd);
	if (w->mounts_epoll >= 0)
		close(w->mounts_epoll);
	free(w->idents);
	free(w);
}
