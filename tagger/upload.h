/*
 * An upload: what api-upload.c asks for on the loop, and upload.c does to files on a thread
 * (aside.h).
 */
#ifndef WEFT_TAGGER_UPLOAD_H
#define WEFT_TAGGER_UPLOAD_H

#include "hash.h"
#include "tagger/tagger.h"

#define UPLOAD_SIZE_MAX (1ull << 50)
#define UPLOAD_KEEP_S	(7 * 86400) /* then what is not whole is thrown away */
#define UPLOAD_TIDY_S	86400

/* A job that is under way owns all of it but what is said to be the loop's. */
struct upload {
	struct aside_job job; /* first */
	struct tagger *t;
	struct http_request *r; /* NULL: it was answered */
	struct place place;
	uint64_t offset, size;
	bool unsized; /* nobody has said how long it is */
	bool anew;    /* what is there of it is thrown away */
	bool replace;
	char part[2 * HASH_BYTES + 16]; /* name of the file of our own */
	/* on the way */
	int fd;	     /* of that file, or -1 */
	int err;     /* of the last job */
	bool misfit; /* the part belongs elsewhere */
	uint64_t have;
	const void *data; /* the piece to be written; the request's */
	size_t len;
	/* the loop's */
	bool last;	 /* that piece is */
	int broke;	 /* the body, after that piece */
	bool waiting;	 /* for a piece */
	bool superseded; /* by a newer request */
	bool listed;
	char who[HTTP_WHO_MAX]; /* "": nobody says */
	struct upload *next;
};

/* NULL: out of memory. */
struct upload *upload_new(struct tagger *t, struct http_request *r);
/* Makes u->part. */
void upload_name(struct upload *u, const char *path);

/* ---- any thread; results in u->err, u->have, u->misfit */
void upload_open(struct aside_job *job);
void upload_write(struct aside_job *job);
void upload_finish(struct aside_job *job);
/* GET: how far it is; DELETE: throw it away. */
void upload_look(struct aside_job *job);
/* Close; what cannot go on is thrown away. */
void upload_drop(struct aside_job *job);

#endif
