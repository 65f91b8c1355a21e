/*
 * The worker processes that read files, as tagger's event loop sees them: an opened file goes in,
 * what is in it comes back. tagger itself never reads content. Workers start when there is
 * something for them, are bounded in memory and time, and are replaced when they die or have grown.
 *
 * One thread: that of the loop.
 */
#ifndef WEFT_TAGGER_POOL_H
#define WEFT_TAGGER_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tagger/extract.h"

#define POOL_WORKERS_MAX   16
#define POOL_QUEUE_MAX	   256	      /* requests under way or waiting, each with a descriptor */
#define POOL_PICTURE_MAX   (4u << 20) /* bytes of a picture that comes back */
#define POOL_PICTURE_SIDES 4096u

struct control;
struct pool;

struct pool_config {
	struct control *control; /* the loop, lib/control.h */
	const char *dir;	 /* of the worker programs; NULL: where they are installed */
	unsigned workers;	 /* 0: as many as cores */
	size_t memory_max_bytes; /* of one worker; 0: the default */
	unsigned time_limit_ms;	 /* for one file; 0: the default */
	bool ocr;		 /* read text in pictures */
	bool speech;
};

struct pool_request {
	int fd;		  /* a regular file; the pool's from the call on, also when it fails */
	const char *name; /* without folders; a hint only, need not stay */
	uint64_t size;
	int64_t mtime_ns;
	uint8_t known_hash[EXTRACT_HASH_BYTES]; /* answer "same" if it is this; all zero: none */
};

struct pool_picture {
	bool sprite;		/* several frames of a video over its length, else one picture */
	uint16_t width, height; /* of the picture, or of one frame, at most */
	uint8_t columns, rows;	/* of a sprite */
};

struct pool_stats {
	unsigned workers;		      /* running now */
	uint64_t done, failed, pictures;      /* since the start */
	uint64_t killed_time, killed_sandbox; /* files that cost a worker */
	uint64_t died, replaced;
};

/* 0 or -errno. */
int pool_create(const struct pool_config *config, struct pool **out);
/* What is under way ends with -ECANCELED before this returns. NULL is fine. */
void pool_destroy(struct pool *pool);

/*
 * 0, or -EAGAIN when POOL_QUEUE_MAX are under way, or -errno. done comes once, never inside this
 * call: err 0 with e, which is then the callee's; -ECANCELED. A broken file is no error but
 * e->failed.
 */
int pool_extract(struct pool *pool, const struct pool_request *request,
		 void (*done)(void *arg, int err, struct extract *e), void *arg);
/* As above. err -ENOTSUP: there is no picture of such a file. type is
 * image/jpeg or image/png. data is valid during the call. */
int pool_make_picture(struct pool *pool, const struct pool_request *request,
		      const struct pool_picture *picture,
		      void (*done)(void *arg, int err, const char *type, const void *data,
				   size_t len),
		      void *arg);

/* Requests under way or waiting. */
unsigned pool_busy(const struct pool *pool);
void pool_get_stats(const struct pool *pool, struct pool_stats *out);

#endif
