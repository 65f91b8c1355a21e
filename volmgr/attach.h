/*
 * Volumes as block devices of this machine. How one is attached is written in a record, a small
 * JSON file, before anything is done and after each step, so that detach undoes exactly what was
 * done, also after a crash in between.
 *
 * Two ways: the kernel's nbd with nbd-client; and where the kernel has none, nbdfuse (a file that
 * is the volume) with a loop device on it. Neither speaks with volmgr itself but with a keeper
 * (keep.h), a process of ours that lives as long as the device and outlives every volmgr. The
 * kernel's own reconnecting was rejected: it needs a time-out for requests, after which a volume
 * that waits for its servers would lose its connection again and again, and it forgets what was
 * acknowledged and not flushed.
 *
 * A record belongs to one run of the machine, whose boot id is in it: after a reboot it only says
 * which files to remove.
 */
#ifndef WEFT_ATTACH_H
#define WEFT_ATTACH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "volctl.h"

#define ATTACH_TEXT_MAX	   256
#define ATTACH_PATH_MAX	   512
/* As the kernel shows these processes (/proc/PID/comm). */
#define ATTACH_KEEPER_NAME "weft-keep"
#define ATTACH_FUSE_NAME   "nbdfuse"

enum attach_method { ATTACH_NBD, ATTACH_FUSE };

struct attach_record {
	char volume[64];
	enum attach_method method;
	char device[ATTACH_TEXT_MAX];  /* /dev/nbd0, /dev/loop3; "" until it is known */
	char address[ATTACH_TEXT_MAX]; /* volmgr's, as in addr.h */
	uint64_t size;		       /* bytes, of the device */
	bool shared;		       /* others write it, too */
	int64_t fuse_pid;	       /* nbdfuse's; 0: none */
	int64_t keep_pid;	       /* the keeper's; 0: none */
};

/* ---- attach-record.c: the records ---- */

/* The folder of records: WEFT_RUN_DIR, or /run/weft, and "/attach" behind it. */
const char *attach_dir(void);
/* Path of a file of this volume there: suffix ".json", ".log", ... buf of ATTACH_PATH_MAX. */
char *attach_path(const char *volume, const char *suffix, char *buf);
/* Make the folder and take its lock; one volctl at a time attaches or detaches. An fd, or -errno.
 */
int attach_lock(void);
/* 0, -ENOENT, -EUCLEAN (no record of ours), -errno. One of an earlier boot comes without device and
 * processes. */
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
/* A process that stays, in a session of its own, fit for being written through; 0: this is it. */
pid_t attach_fork(const char *log);
/* Start a command in one: its pid, or -errno. */
pid_t attach_spawn(const char *log, const char *const *argv);
/* The last line that a command left in log: for the user. Static buffer. */
const char *attach_last_line(const char *log);
/* Call done() until it returns non-zero or the time is over; what it returned. */
int attach_wait(int timeout_ms, int (*done)(void *arg), void *arg);

/* The process of that number lives and has this name; it is not one that came later. */
bool attach_process_lives(pid_t pid, const char *name);

/* ---- attach-keep.c: the keeper ---- */

/* 0, or an exit code, and says why. */
int attach_keep_start(struct attach_record *r);
/* Where the device connects to, as in addr.h; buf of ATTACH_PATH_MAX. */
void attach_keep_address(const struct attach_record *r, char *buf);
/* Somebody listens where volmgr did: what is flushed now can be stored. */
bool attach_volmgr_answers(const struct attach_record *r);
bool attach_keep_lives(const struct attach_record *r);
/* now: even if the device is there still; its requests fail then. */
void attach_keep_stop(struct attach_record *r, bool now);
/* keep-run.c: the life of the process; its exit code. path: of the socket that it makes. */
int keep_run(const struct attach_record *r, const char *export, const char *path, int ready_fd);

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
