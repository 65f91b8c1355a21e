/*
 * The control API: JSON over HTTP, under /api/v1. api.c routes and answers, api-parse.c checks what
 * comes in, the other api-*.c are one resource each.
 */
#ifndef WEFT_API_H
#define WEFT_API_H

#include <jansson.h>
#include <stdio.h>

#include "http.h"
#include "json-out.h"
#include "people.h"
#include "volmgr.h"

#define API_BODY_MAX (320 << 10)
#define API_UPLOAD   "/api/v1/tagger/upload" /* its bodies are passed on as they come */
#define JSON_TYPE    "application/json"
#define API_WAIT_MS  15000 /* then the answer is that it is still going on */

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
int api_parse_server(const void *body, size_t len, struct api_server *out, struct refusal *r);
int api_parse_server_change(const void *body, size_t len, struct api_server *out,
			    struct refusal *r);
int api_parse_volume(const void *body, size_t len, struct volume_spec *out, struct refusal *r);
int api_parse_change(const void *body, size_t len, struct volume_change *out, struct refusal *r);
/* Of an object, for those who parse by themselves: NULL with a refusal when it has other members.
 */
json_t *api_parse_object(const void *body, size_t len, const char *const *known, struct refusal *r);
/* Missing: empty. */
int api_parse_text(json_t *o, const char *key, char *out, size_t max, struct refusal *r);
/* Missing: def. */
int api_parse_uint(json_t *o, const char *key, uint64_t def, uint64_t max, uint64_t *out,
		   struct refusal *r);
/* Missing: as it was. */
int api_parse_bool(json_t *o, const char *key, bool *out, struct refusal *r);
struct api_scrub {
	char volume[NAME_MAX_BYTES + 1]; /* empty: all */
	bool start;
	bool checksums; /* only these, no parity */
};
struct recover;
/* addresses is the caller's to free. */
int api_parse_recover(const void *body, size_t len, struct recover *out, struct refusal *r);
int api_parse_scrub(const void *body, size_t len, struct api_scrub *out, struct refusal *r);
/* A whole number in a query; text NULL: the default. */
int api_parse_number(const char *text, uint64_t def, uint64_t *out, struct refusal *r);

/* ---- the resources: name is "" for the collection */
void api_status_get(struct cluster *c, struct http_request *r, const char *name);
json_t *api_status_json(struct cluster *c);
void api_rebuild_write(const struct rebuild_stat *st, const char *key, struct json_out *o);
void api_servers_list(struct cluster *c, struct http_request *r, const char *name);
void api_server_add(struct cluster *c, struct http_request *r, const char *name);
void api_server_get(struct cluster *c, struct http_request *r, const char *name);
void api_server_change(struct cluster *c, struct http_request *r, const char *name);
void api_server_remove(struct cluster *c, struct http_request *r, const char *name);
/* ---- api-moves.c */
void api_server_drain(struct cluster *c, struct http_request *r, const char *name);
void api_server_replace(struct cluster *c, struct http_request *r, const char *name);
void api_moves_list(struct cluster *c, struct http_request *r, const char *name);
json_t *api_moves_json(void);
/* What a server's part in it is, into its object. */
void api_server_duty(json_t *o, const struct server *s);

void api_volumes_list(struct cluster *c, struct http_request *r, const char *name);
void api_volume_create(struct cluster *c, struct http_request *r, const char *name);
void api_volume_get(struct cluster *c, struct http_request *r, const char *name);
void api_volume_resize(struct cluster *c, struct http_request *r, const char *name);
void api_volume_delete(struct cluster *c, struct http_request *r, const char *name);
void api_volume_map(struct cluster *c, struct http_request *r, const char *name);

/* ---- api-commands.c: what the configuration has commands for */
void api_volume_attach(struct cluster *c, struct http_request *r, const char *name);
void api_volume_detach(struct cluster *c, struct http_request *r, const char *name);
void api_host_power_get(struct cluster *c, struct http_request *r, const char *name);
void api_host_power(struct cluster *c, struct http_request *r, const char *name);
/* The words of those that there are. */
json_t *api_commands_json(void);
/* As which device volctl attached it on this machine, or NULL. Static buffer. */
const char *api_attached_device(const char *volume);

/* ---- api-page.c: lists in pieces */
struct api_page {
	uint64_t offset, limit;
	const char *q, *sort; /* NULL: all, in the order they are in */
	bool down;
};
struct api_item {
	const char *name;
	void *item;
	double value; /* api_page_select()'s */
};
struct api_sort {
	const char *name; /* NULL ends the table */
	double (*value)(const void *item);
};
int api_page_parse(const struct http_request *r, struct api_page *p, struct refusal *refusal);
/* Keeps those that are asked for, sorted, and returns how many. */
unsigned api_page_select(const struct api_page *p, const struct api_sort *sorts,
			 struct api_item *items, unsigned n);
void api_page_answer(struct cluster *c, struct http_request *r, const struct api_page *p,
		     const char *what, const struct api_item *items, unsigned n,
		     void (*write)(struct cluster *c, void *item, struct json_out *o));

/* ---- http-tagger.c: tagger's API, passed through */
bool api_tagger_path(const char *path);
/* Its socket is there. */
bool api_tagger_there(const struct cluster *c);
void api_tagger(struct cluster *c, struct http_request *r);
/* Pass a request on to a route of tagger, held to a list of paths (NULL: none); paths begin below
 * base, if it is not NULL. Takes over both. */
void api_tagger_relay(struct cluster *c, struct http_request *r, const char *route, char *scope,
		      char *base);

/* ---- metrics.c */
void api_metrics(struct cluster *c, struct http_request *r);
void metrics_head(FILE *f, const char *name, const char *type, const char *help);
/* ---- metrics-work.c: under the lock */
void metrics_work(struct cluster *c, FILE *f);
/* status: as tagger says, or NULL. */
void metrics_tagger(const json_t *status, FILE *f);
/* ---- http-tagger-ask.c: one short request of our own, "file?path=..."; done once, perhaps at
 * once, with the answer. status 0: there was none. */
void api_tagger_ask(struct cluster *c, enum http_method method, const char *target,
		    void (*done)(void *arg, int status, const json_t *body), void *arg);

/* ---- api-shares.c */
void api_spaces_list(struct cluster *c, struct http_request *r, const char *name);
void api_space_add(struct cluster *c, struct http_request *r, const char *name);
void api_space_remove(struct cluster *c, struct http_request *r, const char *name);
void api_shares_list(struct cluster *c, struct http_request *r, const char *name);
void api_share_add(struct cluster *c, struct http_request *r, const char *name);
void api_share_remove(struct cluster *c, struct http_request *r, const char *name);
void api_shared_get(struct cluster *c, struct http_request *r, const char *name);
/* /shared/SECRET/ROUTE: what tagger gives of a link. */
bool api_shared_path(const char *path);
void api_shared(struct cluster *c, struct http_request *r);
/* Does the link that r came by still lead to what it did, by this list? */
bool api_shared_still(struct cluster *c, const struct http_request *r, const char *scope);

/* ---- api-live.c */
struct rates;
json_t *api_rates_json(const struct rates *r);
void api_rates_write(const struct rates *r, const char *key, struct json_out *o);
void api_live(struct cluster *c, struct http_request *r, const char *name);
void api_history(struct cluster *c, struct http_request *r, const char *name);

/* ---- api-counters.c */
void api_counters(struct cluster *c, struct http_request *r, const char *name);

/* ---- api-auth.c: who is asking; sets r->who and r->rights, which is a role */
void api_auth_local(struct http_request *r);
/* 0, or -1 with a refusal: what was shown is wrong. Showing nothing is not. */
int api_auth_public(struct cluster *c, struct http_request *r, struct refusal *refusal);
/* Of an answer without an end: is who asked still who he was, with the same role? */
bool api_auth_still(struct cluster *c, struct http_request *r);
int api_auth_need(const struct http_request *r, unsigned need, struct refusal *refusal);
/* The token that the request shows, or NULL. */
struct ticket *api_token(struct cluster *c, const struct http_request *r);
/* The session that it shows, or NULL; csrf: what must come with it. */
struct ticket *api_session(struct cluster *c, const struct http_request *r,
			   char csrf[DIGEST_TEXT_MAX]);
int api_session_start(struct cluster *c, struct http_request *r, const struct person *p,
		      char csrf[DIGEST_TEXT_MAX], struct refusal *refusal);
void api_session_end(struct cluster *c, struct http_request *r);

/* ---- api-login.c */
void api_me_get(struct cluster *c, struct http_request *r, const char *name);
void api_login(struct cluster *c, struct http_request *r, const char *name);
void api_logout(struct cluster *c, struct http_request *r, const char *name);
void api_register(struct cluster *c, struct http_request *r, const char *name);
void api_join(struct cluster *c, struct http_request *r, const char *name);
void api_password(struct cluster *c, struct http_request *r, const char *name);
/* Hash the password, then add the person or set it, and answer. */
void api_person_hash(struct cluster *c, struct http_request *r, const char *name,
		     const char *password, enum role role, bool add);

/* ---- api-people.c */
json_t *api_person_json(const struct person *p);
void api_people_list(struct cluster *c, struct http_request *r, const char *name);
void api_person_add(struct cluster *c, struct http_request *r, const char *name);
void api_person_change(struct cluster *c, struct http_request *r, const char *name);
void api_person_remove(struct cluster *c, struct http_request *r, const char *name);
void api_tokens_list(struct cluster *c, struct http_request *r, const char *name);
void api_token_add(struct cluster *c, struct http_request *r, const char *name);
void api_token_remove(struct cluster *c, struct http_request *r, const char *name);
void api_sessions_list(struct cluster *c, struct http_request *r, const char *name);
void api_session_remove(struct cluster *c, struct http_request *r, const char *name);
void api_invitations_list(struct cluster *c, struct http_request *r, const char *name);
void api_invitation_add(struct cluster *c, struct http_request *r, const char *name);
void api_invitation_remove(struct cluster *c, struct http_request *r, const char *name);
void api_settings_get(struct cluster *c, struct http_request *r, const char *name);
void api_settings_change(struct cluster *c, struct http_request *r, const char *name);
void api_events_list(struct cluster *c, struct http_request *r, const char *name);
void api_check(struct cluster *c, struct http_request *r, const char *name);
void api_recover(struct cluster *c, struct http_request *r, const char *name);
void api_scrub_get(struct cluster *c, struct http_request *r, const char *name);
void api_scrub_order(struct cluster *c, struct http_request *r, const char *name);

/* ---- api-www.c */
/* Reads the files of the page, once. */
void api_www_load(const char *dir);
void api_www_free(void);
void api_www(struct cluster *c, struct http_request *r);

#endif
