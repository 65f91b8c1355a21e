/*
 * What happens in the tree while tagger runs: by fanotify on the whole file system when the root is
 * where it is mounted, else on each folder; by inotify where fanotify is refused; where both are,
 * only walks tell, from time to time.
 *
 * One thread: that of the loop.
 */
#ifndef WEFT_TAGGER_WATCH_H
#define WEFT_TAGGER_WATCH_H

#include "control.h"
#include "tagger/tree.h"

#define WATCH_PERIOD_S 600 /* between walks, when nothing else tells */

enum watch_how { WATCH_AUTO, WATCH_FANOTIFY, WATCH_INOTIFY, WATCH_PERIODIC };

struct watch;

struct watch_config {
	struct control *control;
	struct tree *tree;
	enum watch_how how; /* from this on down */
	bool opens;	    /* tell of files that are opened, not of changes */
	/* something happened to name in the folder of this ident */
	void (*place)(void *arg, const uint8_t folder[16], const char *name);
	void (*overflow)(void *arg); /* look at everything */
	void (*gone)(void *arg);     /* the file system was unmounted from where it was */
	void *arg;
};

int watch_create(const struct watch_config *config, struct watch **out);
void watch_destroy(struct watch *w);
/* A folder that is to be watched; fd: O_PATH. Does nothing when all are watched. */
void watch_folder(struct watch *w, const uint8_t ident[16], int fd);
/* Is each folder to be named by watch_folder()? */
bool watch_wants_folders(const struct watch *w);
/* "fanotify on the file system", for people. */
const char *watch_name(const struct watch *w);

#endif
