/*
 * One HTTP request to a daemon of this machine, over its Unix socket: what the command lines ask
 * volmgr and tagger with. It blocks the thread that calls, within bounds of size and time, so that
 * a socket of something else cannot hold or fill us.
 */
#ifndef WEFT_LIB_HTTP_CLIENT_H
#define WEFT_LIB_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#define HTTP_ANSWER_MAX_BYTES (64u << 20) /* the map of a large volume */

struct http_answer {
	long status;	 /* HTTP's; 0: nobody answered */
	const char *why; /* nobody answered: a few words, constant text; else NULL */
	bool late;	 /* nobody answered in time; the request may still be carried out */
	char *text;	 /* the body with a zero after it, or NULL; free() it */
	size_t len;
};

/*
 * path: what comes after "/api/v1", coded as it goes into a URL. body: JSON, or NULL.
 * timeout_ms: of the whole request.
 */
void http_client_ask(const char *socket, const char *method, const char *path, const char *body,
		     long timeout_ms, struct http_answer *answer);

/* Appends a query parameter, coded, to a path; the first one with '?'. 0 or -ENAMETOOLONG. */
int http_client_param(char *path, size_t max_bytes, const char *name, const char *value);

#endif
