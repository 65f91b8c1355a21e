/*
 * What tagger and its workers say to each other, over a SOCK_SEQPACKET pair. A request is one
 * packet with one descriptor; an answer is one or more packets. Both ends are one build, so the
 * structs go as they are; but a worker may have been taken over by the file that it read, so that
 * tagger holds every byte of an answer against the limits here and in extract.h.
 */
#ifndef WEFT_TAGGER_WORK_H
#define WEFT_TAGGER_WORK_H

#include <assert.h>
#include <stdint.h>

#include "tagger/extract.h"

#define WORK_FD		  3 /* the worker's end */
#define WORK_MAGIC	  0x4b524f57u
#define WORK_NAME_MAX	  256u
#define WORK_PAYLOAD_MAX  (48u << 10)  /* of one packet; a socket's default buffer holds several */
#define WORK_ANSWER_MAX	  (256u << 10) /* of a whole JSON answer */
#define WORK_COMPRESS_MAX 16u

/* Which program. Each links what it needs, so that a process has only what its files need. */
enum work_class {
	WORK_CLASS_TEXT,  /* sniffs everything; text, pages, office documents, archives */
	WORK_CLASS_DOC,	  /* PDF, mail */
	WORK_CLASS_MEDIA, /* pictures, sound, video */
	WORK_CLASSES,
};

enum work_what { WORK_EXTRACT, WORK_PICTURE, WORK_SPRITE, WORK_WHATS };

#define WORK_FLAG_OCR	 1u
#define WORK_FLAG_SPEECH 2u

struct work_request {
	uint32_t magic;
	uint32_t id;
	uint8_t what;
	uint8_t flags;
	uint8_t columns, rows;
	uint16_t width, height;
	uint32_t pad;
	uint64_t size;
	int64_t mtime_ns;
	uint8_t known_hash[EXTRACT_HASH_BYTES];
	/* what the first class found out, for the one that it named; empty for the first */
	uint8_t hash[EXTRACT_HASH_BYTES];
	char mime[EXTRACT_MIME_MAX];
	char encoding[32];
	char compression[WORK_COMPRESS_MAX];
	char name[WORK_NAME_MAX];
};

enum work_kind {
	WORK_READY,  /* first of all, once: the sandbox is shut */
	WORK_RESULT, /* JSON, see result.h */
	WORK_ROUTE,  /* struct work_route: another class must do it */
	WORK_DATA,   /* a picture's bytes */
	WORK_NONE,   /* there is no picture of this */
	WORK_KINDS,
};

struct work_answer {
	uint32_t magic;
	uint32_t id;
	uint8_t kind;
	uint8_t more; /* another packet follows */
	uint16_t pad;
	uint32_t len; /* of the payload in this packet */
};

struct work_route {
	uint8_t class;
	uint8_t pad[7];
	uint8_t hash[EXTRACT_HASH_BYTES];
	char mime[EXTRACT_MIME_MAX];
	char encoding[32];
	char compression[WORK_COMPRESS_MAX];
};

static_assert(sizeof(struct work_request) == 472, "no holes");
static_assert(sizeof(struct work_answer) == 16, "no holes");
static_assert(sizeof(struct work_route) == 168, "no holes");

#endif
