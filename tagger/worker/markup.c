/*
 * libxml2 behind one file. Its SAX1 interface suffices, as only local names are looked at.
 * Encodings are turned to UTF-8 by ICU first: libxml2 would load modules of the C library, and the
 * sandbox forbids it.
 */
#include "config.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <libxml/HTMLparser.h>
#include <libxml/parser.h>

#include "tagger/worker/markup.h"
#include "tagger/worker/segment.h"

#include "banned.h"

#define CHARSET_MAX   32u
#define CHARSET_FIRST 2048u /* bytes that a page's own word on its encoding is in */
#define OPTIONS	      (XML_PARSE_RECOVER | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_NONET)

struct parse {
	const struct markup_ops *ops;
	void *arg;
	size_t elements;
};

static const char *local_name(const xmlChar *name)
{
	const char *colon = strchr((const char *)name, ':');

	return colon != NULL ? colon + 1 : (const char *)name;
}

const char *markup_attribute(const char **attributes, const char *name)
{
	for (; attributes != NULL && attributes[0] != NULL; attributes += 2)
		if (strcasecmp(local_name((const xmlChar *)attributes[0]), name) == 0)
			return attributes[1];
	return NULL;
}

static void parse_start(void *arg, const xmlChar *name, const xmlChar **attributes)
{
	struct parse *p = arg;

	p->elements++;
	p->ops->start(p->arg, local_name(name), (const char **)attributes);
}

static void parse_end(void *arg, const xmlChar *name)
{
	struct parse *p = arg;

	p->ops->end(p->arg, local_name(name));
}

static void parse_text(void *arg, const xmlChar *text, int len)
{
	struct parse *p = arg;

	if (len > 0)
		p->ops->text(p->arg, (const char *)text, (size_t)len);
}

static void sax_set(xmlSAXHandler *sax)
{
	memset(sax, 0, sizeof(*sax));
	sax->startElement = parse_start;
	sax->endElement = parse_end;
	sax->characters = parse_text;
	sax->cdataBlock = parse_text;
	sax->ignorableWhitespace = parse_text;
}

/* What the bytes say of their own encoding after a mark, as in charset="gbk". False: nothing. */
static bool charset_said(const char *bytes, size_t len, const char *mark, char *charset)
{
	size_t n = 0, first = len < CHARSET_FIRST ? len : CHARSET_FIRST;
	const char *at = memmem(bytes, first, mark, strlen(mark)), *end = bytes + first;

	if (at == NULL)
		return false;
	for (at += strlen(mark); at < end && (*at == '"' || *at == '\'' || *at == ' ');)
		at++;
	while (at < end && n < CHARSET_MAX - 1 &&
	       (isalnum((unsigned char)*at) || strchr("-_:.", *at) != NULL) && *at != '\0')
		charset[n++] = *at++;
	charset[n] = '\0';
	return n > 0;
}

/* UTF-8 of bytes in some encoding; *own is to be freed. */
static void to_utf8(const char **bytes, size_t *len, const char *encoding, const char *mark,
		    char **own)
{
	char said[CHARSET_MAX];
	size_t n = 0;

	*own = NULL;
	if (encoding != NULL &&
	    (strcmp(encoding, "us-ascii") == 0 || strcmp(encoding, "utf-8") == 0))
		return;
	if (charset_said(*bytes, *len, mark, said))
		encoding = said;
	else if (segment_utf8_valid(*bytes, *len, true))
		return;
	if (strcasecmp(encoding != NULL ? encoding : "", "utf-8") == 0)
		return;
	if (segment_to_utf8(encoding, *bytes, *len, own, &n) == 0) {
		*bytes = *own;
		*len = n;
	}
}

bool markup_parse_html(const char *bytes, size_t len, const char *encoding,
		       const struct markup_ops *ops, void *arg)
{
	struct parse p = {.ops = ops, .arg = arg};
	htmlParserCtxtPtr ctxt;
	char *own;

	to_utf8(&bytes, &len, encoding, "charset=", &own);
	ctxt = htmlNewParserCtxt();
	if (ctxt != NULL) {
		sax_set(ctxt->sax);
		/* the context stays its own user data until here, and errors go nowhere */
		ctxt->userData = &p;
		htmlCtxtReadMemory(ctxt, bytes, (int)len, NULL, "UTF-8",
				   HTML_PARSE_RECOVER | HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING |
					   HTML_PARSE_NONET);
		htmlFreeParserCtxt(ctxt);
	}
	free(own);
	return p.elements > 0;
}

bool markup_parse_xml(const char *bytes, size_t len, const struct markup_ops *ops, void *arg)
{
	struct parse p = {.ops = ops, .arg = arg};
	xmlParserCtxtPtr ctxt;
	const char *encoding = NULL;
	char *own = NULL;

	/* UTF-16 says so by its first bytes, and libxml2 knows it without help */
	if (len < 2 || (memcmp(bytes, "\xff\xfe", 2) != 0 && memcmp(bytes, "\xfe\xff", 2) != 0)) {
		to_utf8(&bytes, &len, NULL, "encoding=", &own);
		encoding = "UTF-8";
	}
	ctxt = xmlNewParserCtxt();
	if (ctxt != NULL) {
		xmlDocPtr doc;

		sax_set(ctxt->sax);
		ctxt->userData = &p;
		doc = xmlCtxtReadMemory(ctxt, bytes, (int)len, NULL, encoding,
					OPTIONS | (encoding != NULL ? XML_PARSE_IGNORE_ENC : 0));
		if (doc != NULL)
			xmlFreeDoc(doc);
		xmlFreeParserCtxt(ctxt);
	}
	free(own);
	return p.elements > 0;
}
