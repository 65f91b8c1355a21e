/*
 * HTML and XML as a stream of elements and text. No tree is built, no entity is expanded, nothing
 * is fetched; depth is bounded by libxml2's own limits.
 */
#ifndef WEFT_TAGGER_MARKUP_H
#define WEFT_TAGGER_MARKUP_H

#include <stdbool.h>
#include <stddef.h>

struct markup_ops {
	/* name without prefix; attributes: name, value (may be NULL), name, value, ..., NULL; or
	 * NULL */
	void (*start)(void *arg, const char *name, const char **attributes);
	void (*end)(void *arg, const char *name);
	void (*text)(void *arg, const char *text, size_t len); /* UTF-8, in pieces */
};

/* encoding: of the bytes, "" or NULL when not known. False: not one element was found. */
bool markup_parse_html(const char *bytes, size_t len, const char *encoding,
		       const struct markup_ops *ops, void *arg);
bool markup_parse_xml(const char *bytes, size_t len, const struct markup_ops *ops, void *arg);
/* The value of an attribute, name with or without prefix; NULL if it is not there. */
const char *markup_attribute(const char **attributes, const char *name);

#endif
