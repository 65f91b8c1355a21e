/*
 * What the files of the daemon share: who is who, and the API's routes. The parts that can stand
 * alone (index, query, relate, scan, watch, tree, pool) have headers of their own.
 */
#ifndef WEFT_TAGGER_TAGGER_H
#define WEFT_TAGGER_TAGGER_H

#include <jansson.h>
#include <sys/stat.h>

#include "control.h"
#include "http.h"
#include "log.h"
#include "tagger/aside.h"
#include "tagger/derive.h"
#include "tagger/index.h"
#include "tagger/place.h"
#include "tagger/pool.h"
#include "tagger/query.h"
#include "tagger/scan.h"
#include "tagger/scope.h"
#include "tagger/tree.h"
#include "tagger/watch.h"

#define TAGGER_BODY_MAX	   (1u << 20) /* of a request that is no upload */
#define TAGGER_TOKEN_MAX   256
#define TAGGER_TOKEN_MIN   16
#define TAGGER_SOCKET	   "/run/weft/tagger.sock"
#define TAGGER_SOCKET_ENV  "WEFT_TAGGER_SOCKET"
#define TAGGER_CACHE_BYTES (256u << 20) /* thumbnails and sprites on disk */

struct bin;
struct bin_entry;
struct events;
struct prefetch;

struct tagger {
	struct control *control;
	struct tree tree;
	struct index *index;
	struct pool *pool;
	struct aside *aside;
	struct scan *scan;
	struct watch *watch;
	struct bin *bin;
	struct events *events;
	struct prefetch *prefetch;
	struct http_server *http_local, *http_public;
	char token[TAGGER_TOKEN_MAX]; /* "" : nobody may come by TCP */
	const char *cache_dir;	      /* thumbnails; NULL: none are kept */
	bool read_only;		      /* the API changes nothing */
	bool loaded;
};

/* ---- api.c: routing, answers */
typedef void api_handler(struct tagger *t, struct http_request *r);

/* Takes over body. */
void api_json(struct http_request *r, int status, json_t *body);
/* A string that may not be UTF-8, for people: what is not becomes U+FFFD. */
json_t *api_text(const char *text, size_t len);
/* Percent-encoded, exactly: what "path" in a query takes. */
json_t *api_href(const char *path);
/* For the one who passes a request on: which path was changed ("X-Weft-Object"), and where it is
 * now
 * ("X-Weft-Target"), percent-encoded. Not of paths that are longer than anyone shares. */
void api_tell(struct http_request *r, const char *header, const char *path);
/* Percent-decoding, also of "+" as a blank: the length without the NUL that ends it, or -1. */
int api_decode(const char *text, size_t len, char *out, size_t max);
/* A number in the query; def when there is none. False: answered. */
bool api_number(struct http_request *r, const char *name, uint32_t def, uint32_t max,
		uint32_t *out);
/* The list of paths that this request is held to (scope.h), or NULL: none. While it is handled; who
 * needs it later keeps a copy. */
const char *api_scope(const struct http_request *r);
/* Is r held to a list? Then set gets what it may see, and *only leads to set; else *only is NULL.
 * False: answered. set->bits is the caller's to free. */
bool api_only(struct tagger *t, struct http_request *r, struct scope_set *set,
	      const struct scope_set **only);
/* False: answered, as this is not allowed. */
bool api_allow(struct http_request *r, bool allowed);
/* The path of a file; static buffer. */
const char *api_path(const struct tagger *t, uint32_t file);
/* The folder that paths in queries and answers of a link begin from, decoded, or "". */
const char *api_base(const struct http_request *r);
/* A path of a query, below that folder. 0: there is no such file. */
uint32_t api_by_path(const struct tagger *t, const struct http_request *r, const char *path,
		     size_t len);
/* The file that the query's "path" or "id" means, if r may see it; 0: answered. */
uint32_t api_file(struct tagger *t, struct http_request *r);
/* The body as a JSON object, or NULL: answered. */
json_t *api_body(struct http_request *r);
/* The short form of a file, as in lists. */
json_t *api_file_json(const struct tagger *t, uint32_t file);
void api_handle_local(void *arg, struct http_request *r);
void api_handle_public(void *arg, struct http_request *r);

/* ---- api-refuse.c: with the code, a sentence and what to do */
void api_error(struct http_request *r, int status, const char *code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* What an errno means for the client; what: the thing or the act that it is about. */
void api_errno(struct http_request *r, int err, const char *what);

/* ---- api-search.c */
void api_status(struct tagger *t, struct http_request *r);
void api_search(struct tagger *t, struct http_request *r);
void api_suggest(struct tagger *t, struct http_request *r);
void api_file_get(struct tagger *t, struct http_request *r);
void api_folder(struct tagger *t, struct http_request *r);
void api_tags_list(struct tagger *t, struct http_request *r);

/* ---- api-graph.c */
void api_neighbours(struct tagger *t, struct http_request *r);
void api_graph(struct tagger *t, struct http_request *r);

/* ---- api-hand.c */
void api_file_tags(struct tagger *t, struct http_request *r);

/* ---- api-content.c */
/* The place of a file that has content. 0 or -errno; place_free() in both cases. */
int api_readable(const struct tagger *t, uint32_t file, struct place *p);
void api_content(struct tagger *t, struct http_request *r);

/* ---- api-files.c */
/* False: answered, as the index cannot be written. */
bool api_may_change(struct tagger *t, struct http_request *r);
void api_mkdir(struct tagger *t, struct http_request *r);
void api_move(struct tagger *t, struct http_request *r);
void api_delete(struct tagger *t, struct http_request *r);

/* ---- api-upload.c */
void api_upload_get(struct tagger *t, struct http_request *r);
void api_upload_put(struct tagger *t, struct http_request *r);
void api_upload_delete(struct tagger *t, struct http_request *r);
/* Throws away what nobody goes on with, now and daily; free the timer at the end. */
struct control_timer *uploads_start(struct tagger *t);

/* ---- api-events.c */
int events_create(struct tagger *t);
void events_destroy(struct tagger *t);
void events_changed(void *arg, uint32_t file, enum index_change change);
void api_events(struct tagger *t, struct http_request *r);

/* ---- api-export.c, api-archive.c, api-picture.c */
void api_export(struct tagger *t, struct http_request *r);
void api_archive(struct tagger *t, struct http_request *r);
void api_thumbnail(struct tagger *t, struct http_request *r);
void api_sprite(struct tagger *t, struct http_request *r);

/* ---- api-tags.c */
/* Go on with renamings that a crash has cut off. */
void tags_start(struct tagger *t);
void api_tags_rename(struct tagger *t, struct http_request *r);
void api_tags_delete(struct tagger *t, struct http_request *r);

/* ---- prefetch.c */
/* -EOPNOTSUPP where fanotify does not say who opens. */
int prefetch_create(struct tagger *t, struct prefetch **out);
void prefetch_destroy(struct prefetch *p);
bool prefetch_wants_folders(const struct prefetch *p);
void prefetch_folder(struct prefetch *p, const uint8_t ident[16], int fd);
json_t *prefetch_json(const struct prefetch *p);

/* ---- trash.c */
/* A folder of our own below the root, made when it is missing: a descriptor or -errno. */
int tree_open_own(const struct tree *t, const char *name);
/* Takes a folder away, in one step; it is deleted soon. */
int trash_put(const struct tree *t, int dir_fd, const char *name);
void trash_empty(const struct tree *t);
bool trash_is_busy(void);

/* ---- api-bin.c */
int bin_create(struct tagger *t, unsigned days);
void bin_destroy(struct tagger *t);
/* Is what is deleted kept for a while? */
bool bin_keeps(const struct tagger *t);
/* This was put into it; takes over e. */
void bin_added(struct tagger *t, struct bin_entry *e);
/* What is too old goes, and the oldest when space is short. */
void bin_sweep(struct tagger *t);
void api_bin(struct tagger *t, struct http_request *r);
void api_bin_restore(struct tagger *t, struct http_request *r);
void api_bin_delete(struct tagger *t, struct http_request *r);

#endif
