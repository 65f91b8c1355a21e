/*
 * Inside a worker process: what extractors are given and what they give. A worker has one file at a
 * time, reads it with no rights but to read it, and may be killed at any moment.
 */
#ifndef WEFT_TAGGER_WORKER_H
#define WEFT_TAGGER_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tagger/extract.h"
#include "tagger/work.h"
#include "tagger/worker/words.h"

/* ---- input.c: the bytes of a file ------------------------------------------------------------ */

#define INPUT_HEAD_MAX	   (1u << 20) /* of a file, or of what is unpacked, that is kept in memory */
#define INPUT_UNPACKED_MAX (64u << 20) /* of a file that is compressed alone */

struct input {
	int fd;		  /* the file; still the packed one when unpacked */
	uint64_t size;	  /* of the file */
	const char *name; /* a hint: the last part of its path, without what unpacking takes off */
	uint8_t *head; /* the first bytes of the content, unpacked; one more byte is there, a NUL */
	size_t head_len;
	bool whole;	 /* head is all of it */
	bool unpacked;	 /* it was compressed alone */
	int unpacked_fd; /* input_fd() made it; or -1 */
};

/* Reads the head into buf of INPUT_HEAD_MAX + 1 bytes. 0 or -errno. */
int input_open(struct input *in, int fd, uint64_t size, const char *name, uint8_t *buf);
/* The hash that extract.h speaks of. 0 or -errno. */
int input_hash(const struct input *in, int64_t mtime_ns, uint8_t hash[EXTRACT_HASH_BYTES]);
/*
 * A descriptor of the content, at its start: the file, or what was unpacked, in memory. It belongs
 * to the input, whose fd may be -1 only if unpacked. -errno on failure.
 */
int input_fd(struct input *in);
/* pread() until len or the end. Bytes, or -errno. */
int64_t input_read_at(int fd, void *buf, size_t len, uint64_t offset);
void input_close(struct input *in);

/* ---- archive.c ------------------------------------------------------------------------------- */

/*
 * The first INPUT_HEAD_MAX unpacked bytes of what is compressed alone, into buf (one byte more than
 * that). Bytes; *whole when that is all. -errno with *why.
 */
int64_t archive_unpack_head(int fd, uint8_t *buf, bool *whole, const char **why);
/* All of it into fd out, at most INPUT_UNPACKED_MAX. 0 or -errno. */
int archive_unpack_all(int fd, int out);

/* ---- sniff.c --------------------------------------------------------------------------------- */

struct sniff;

/* What the content is. */
struct sniffed {
	char mime[EXTRACT_MIME_MAX];
	char encoding[32]; /* of text; "" otherwise */
};

struct sniff *sniff_create(void); /* NULL: out of memory, or no database */
void sniff_destroy(struct sniff *s);
void sniff_content(struct sniff *s, const struct input *in, struct sniffed *out);
/* The name of the compression when it is one that wraps a single file: "gzip"; else NULL. */
const char *sniff_compression(const struct sniffed *sniffed);

/* ---- kinds.c --------------------------------------------------------------------------------- */

enum extractor_id {
	EXTRACTOR_NONE,
	EXTRACTOR_TEXT,
	EXTRACTOR_MARKDOWN,
	EXTRACTOR_SOURCE,
	EXTRACTOR_HTML,
	EXTRACTOR_XML,
	EXTRACTOR_OFFICE,
	EXTRACTOR_PDF,
	EXTRACTOR_MAIL,
	EXTRACTOR_IMAGE,
	EXTRACTOR_MEDIA,
	EXTRACTOR_ARCHIVE,
	EXTRACTORS,
};

struct kind {
	const char *mime; /* a prefix */
	enum extract_kind kind;
	enum extractor_id extractor;
	const char *tags[3]; /* that such a file gets */
};

/* Never NULL. */
const struct kind *kind_of_mime(const char *mime);
enum work_class kind_class(enum extractor_id id);
/* Text is told apart further by its name: libmagic cannot know Markdown or Go. The MIME type, or
 * NULL. */
const char *kind_refine_text(const char *mime, const char *name);

/* ---- out.c: what was found --------------------------------------------------------------------
 */

struct out;

struct out *out_create(void);
void out_destroy(struct out *o);
void out_reset(struct out *o);
void out_kind(struct out *o, enum extract_kind kind, const char *mime);
void out_hash(struct out *o, const uint8_t hash[EXTRACT_HASH_BYTES]);
void out_same(struct out *o);
/* The first reason stays. */
void out_fail(struct out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool out_failed(const struct out *o);
/* Text is cleaned of control characters and of what is not UTF-8, trimmed and cut. NULL or empty:
 * none. */
void out_tag(struct out *o, const char *text, float weight, enum extract_source source);
void out_tag_stem(struct out *o, const char *text, const char *stem, float weight,
		  enum extract_source source);
void out_fact_text(struct out *o, enum extract_fact_key key, const char *text, size_t len);
void out_fact_number(struct out *o, enum extract_fact_key key, double number);
void out_link(struct out *o, const char *target, size_t len);
void out_phash(struct out *o, uint64_t phash);
/* The first text that comes is the excerpt, until that is full. */
void out_excerpt(struct out *o, const char *text, size_t len);
/* What words_finish() found. source says where the text came from when it was not plain text. */
void out_words(struct out *o, const struct words_result *r, enum extract_source source);
/* JSON, malloc()ed. NULL: out of memory. */
char *out_finish(struct out *o, size_t *len);

/* ---- extractors ------------------------------------------------------------------------------ */

struct work {
	struct input *in;
	const struct sniffed *sniffed;
	struct words *words; /* text goes here */
	struct out *out;
	uint8_t flags;		    /* WORK_FLAG_... */
	enum extract_source source; /* of the text in words, EXTRACT_SOURCE_PHRASE unless set */
};

/* Text of the body or a heading, to words and excerpt at once. UTF-8. */
void work_text(struct work *w, const char *text, size_t len, enum words_zone zone);

/* extract-mail.c: GMime is readied before the sandbox shuts. */
int mail_prepare(void);

typedef void extractor_fn(struct work *w);

extractor_fn extract_text, extract_markdown, extract_source, extract_html, extract_xml,
	extract_office, extract_pdf, extract_mail, extract_image, extract_media, extract_archive;

/* A picture of the file as JPEG or PNG, malloc()ed. 0, -ENOTSUP, or -errno. */
typedef int picture_fn(struct input *in, const struct sniffed *sniffed,
		       const struct work_request *r, uint8_t **jpeg, size_t *len);

/* picture.c, extract-pdf.c */
picture_fn picture_make, picture_pdf;

/* One worker program. */
struct worker_class {
	enum work_class class;
	extractor_fn *extractors[EXTRACTORS]; /* NULL: another class has it */
	picture_fn *picture;		      /* or NULL */
	/* Loads what must be there before the sandbox shuts. 0 or -errno. May be NULL. */
	int (*prepare)(void);
	const char *const *paths; /* that stay readable; NULL: none */
};

/* main.c: serves WORK_FD until it is closed. The exit status. */
int worker_main(const struct worker_class *class, int argc, char **argv);

/* sandbox.c: from here on no writing, no network, no new process. 0 or -errno. */
int sandbox_enter(const char *const *paths);
/* Memory and size of files, in bytes; no core dumps. */
int sandbox_limit(uint64_t memory_bytes);

#endif
