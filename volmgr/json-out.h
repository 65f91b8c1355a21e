/*
 * JSON as text, written in one go: for lists that are too long to be made of jansson's objects
 *first (ten thousand volumes are 450,000 of these). Pure. Out of memory it ends the process, as
 * mem_must() does.
 *
 *	struct json_out o = {0};
 *
 *	json_out_begin(&o, NULL, '{');
 *	json_out_int(&o, "total", 2);
 *	json_out_end(&o, '}');
 *
 * Who writes opens and closes in order; commas come by themselves.
 */
#ifndef WEFT_JSON_OUT_H
#define WEFT_JSON_OUT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_OUT_MAX (256u << 20) /* bytes of one text */

struct json_out {
	char *at; /* not terminated; the owner frees it */
	size_t len, room;
};

/* key: the member's name, as it is between its quotation marks; NULL: in a list, or outermost. */
void json_out_begin(struct json_out *o, const char *key, char bracket);
void json_out_end(struct json_out *o, char bracket);
void json_out_int(struct json_out *o, const char *key, int64_t value);
/* Any bytes: what is no UTF-8 becomes question marks. */
void json_out_text(struct json_out *o, const char *key, const char *text);
/* Takes over value. */
void json_out_value(struct json_out *o, const char *key, json_t *value);
/* What was written, as an object; frees the text. */
json_t *json_out_parse(struct json_out *o);

#endif
