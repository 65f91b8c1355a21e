/*
 * Volumes as block devices of this machine. How one is attached is written in a record, a small
 * JSON file, before anything is done and after each step, so that detach undoes exactly what was
 * done, also after a crash in between.
 *
 * Two ways: the kernel's nbd with nbd-client; and where the kernel has none, nbdfuse (a file that
 * is the volume) with a loop device on it.
 */
#ifndef WEFT_ATTACH_H
#define WEFT_ATTACH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "volctl.h"

#define ATTACH_TEXT_MAX 256
#define ATTACH_PATH_MAX 512

enum attach_method { ATTACH_NBD, ATTACH_FUSE };

struct attach_record {
	char volume[64];
	enum attach_method method;
	char device[ATTACH_TEXT_MAX];  /* /dev/nbd0, /dev/loop3; "" until it is known */
	char address[ATTACH_TEXT_MAX]; /* volmgr's, as in addr.h */
	uint64_t size;		       /* bytes, of the device */
	int64_t fuse_pid;	       /* nbdfuse's; 0: none */
};

/* ---- attach-record.c: the records ---- */

/* The folder of records: WEFT_RUN_DIR, or /run/weft, and "/attach" behind it. */
const char *attach_dir(void);
/* Path of a file of this volume there: suffix ".json", ".log", ... buf of ATTACH_PATH_MAX. */
char *attach_path(const char *volume, const char *suffix, char *buf);
/* Make the folder and take its lock; one volctl at a time attaches or detaches. An fd, or -errno.
 */
int attach_lock(void);
/* 0, -ENOENT, -EUCLEAN (no record of ours), -errno */
int attach_load(const char *volume, struct attach_record *r);
/* Replaced as a whole, or not at all. */
int attach_store(const struct attach_record *r);
int attach_forget(const char *volume);
/* Is its device still what the record says? */
bool attach_alive(const struct attach_record *r);

/* ---- attach-dev.c: block devices and commands ---- */

/* The exact size, or 0 when it is no block device or has none. */
uint64_t attach_device_size(const char *device);
/* Where it, or a part of it, is in use ("/mnt", "swap", "dm-0"); false: nowhere. */
bool attach_device_busy(const char *device, char *where, size_t len);
/* Run a command and wait: its exit code, or -errno. What it says goes to the file log. */
int attach_run(const char *log, const char *const *argv);
/* Start one that stays: its pid, or -errno. */
pid_t attach_spawn(const char *log, const char *const *argv);
/* The last line that a command left in log: for the user. Static buffer. */
const char *attach_last_line(const char *log);
/* Call done() until it returns non-zero or the time is over; what it returned. */
int attach_wait(int timeout_ms, int (*done)(void *arg), void *arg);

/* ---- the two ways; each 0 or an exit code, and says why ---- */

struct attach_way {
	const char *title;
	int (*attach)(const struct volctl *v, struct attach_record *r);
	/* force: also when what was written last cannot be stored any more */
	int (*detach)(struct attach_record *r, bool force);
	/* The volume has this size now: 0, or -errno. */
	int (*resize)(struct attach_record *r, uint64_t size);
};

/* attach-nbd.c */
extern const struct attach_way attach_way_nbd;
bool attach_nbd_available(void);
/* attach-nbd-resize.c: tell the kernel the new size of a connected device; 0 or -errno */
int attach_nbd_set_size(unsigned index, uint64_t size);
/* attach-fuse.c */
extern const struct attach_way attach_way_fuse;

/* ---- attach.c, for the other commands ---- */

/* The device of an attached volume, or NULL. Static buffer. */
const char *attach_device_of(const char *volume);
/* After a resize of the volume: carries it to the device and says what to run. */
void attach_resized(const char *volume, uint64_t size);

#endif
