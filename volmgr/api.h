/*
 * The control API: JSON over HTTP, under /api/v1. api.c routes and answers, api-parse.c checks what
 * comes in, the other api-*.c are one resource each.
 */
#ifndef WEFT_API_H
#define WEFT_API_H

#include <jansson.h>

#include "http.h"
#include "volmgr.h"

#define API_WAIT_MS 15000 /* then the answer is that it is still going on */

/* A request whose answer comes later. */
struct api_call {
	struct cluster *cluster;
	struct http_request *r; /* NULL: it was told that it is still going on */
	struct control_timer *timer;
	char name[NAME_MAX_BYTES + 1]; /* what it is about */
	uint64_t from;
	unsigned limit;
};

/* ---- api.c */
/* Takes over body. */
void api_json(struct http_request *r, int status, json_t *body);
void api_refuse(struct http_request *r, const struct refusal *refusal);
struct api_call *api_later(struct cluster *c, struct http_request *r, const char *name);
/* The request to answer, or NULL when it was answered already; frees call. */
struct http_request *api_call_end(struct api_call *call);

/* ---- api-parse.c: bodies. Pure. 0, or -1 with a refusal */
struct api_server {
	char address[ADDR_TEXT_MAX];
	char name[NAME_MAX_BYTES + 1]; /* empty: choose one */
	char host[NAME_MAX_BYTES + 1]; /* empty: from the address */
};
struct api_resize {
	uint64_t size;
	bool shrink;
};
int api_parse_server(const void *body, size_t len, struct api_server *out, struct refusal *r);
int api_parse_volume(const void *body, size_t len, struct volume_spec *out, struct refusal *r);
int api_parse_resize(const void *body, size_t len, struct api_resize *out, struct refusal *r);
/* A whole number in a query; text NULL: the default. */
int api_parse_number(const char *text, uint64_t def, uint64_t *out, struct refusal *r);

/* ---- the resources: name is "" for the collection */
void api_status_get(struct cluster *c, struct http_request *r, const char *name);
void api_servers_list(struct cluster *c, struct http_request *r, const char *name);
void api_server_add(struct cluster *c, struct http_request *r, const char *name);
void api_server_get(struct cluster *c, struct http_request *r, const char *name);
void api_server_remove(struct cluster *c, struct http_request *r, const char *name);
void api_volumes_list(struct cluster *c, struct http_request *r, const char *name);
void api_volume_create(struct cluster *c, struct http_request *r, const char *name);
void api_volume_get(struct cluster *c, struct http_request *r, const char *name);
void api_volume_resize(struct cluster *c, struct http_request *r, const char *name);
void api_volume_delete(struct cluster *c, struct http_request *r, const char *name);
void api_volume_map(struct cluster *c, struct http_request *r, const char *name);

/* ---- api-www.c */
void api_www(struct cluster *c, struct http_request *r);

#endif
