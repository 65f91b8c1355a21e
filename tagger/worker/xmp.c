/*
 * XMP: what people and their programs wrote into a picture. It is XML somewhere in the head of the
 * file.
 */
#include "config.h"

#include <string.h>

#include "tagger/worker/exif.h"
#include "tagger/worker/markup.h"

#include "banned.h"

#define TEXT_MAX       256u
#define KEYWORD_WEIGHT 0.9f

enum xmp_property { XMP_NONE, XMP_SUBJECT, XMP_TITLE, XMP_DESCRIPTION, XMP_CREATOR };

struct xmp {
	struct work *w;
	enum xmp_property property;
	size_t n;
	char text[TEXT_MAX];
};

static enum xmp_property property_of(const char *name)
{
	static const struct {
		const char *name;
		enum xmp_property property;
	} table[] = {
		{"subject", XMP_SUBJECT},
		{"title", XMP_TITLE},
		{"description", XMP_DESCRIPTION},
		{"creator", XMP_CREATOR},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (strcmp(name, table[i].name) == 0)
			return table[i].property;
	return XMP_NONE;
}

static void xmp_start(void *arg, const char *name, const char **attributes)
{
	struct xmp *x = arg;
	enum xmp_property property = property_of(name);

	x->n = 0;
	if (property != XMP_NONE)
		x->property = property;
}

/* One item of a list: dc:subject/rdf:Bag/rdf:li and its like. */
static void item_take(struct xmp *x)
{
	struct work *w = x->w;
	char key[WORDS_PHRASE_BYTES];

	x->text[x->n] = '\0';
	switch (x->property) {
	case XMP_NONE:
		break;
	case XMP_SUBJECT:
		if (words_key(w->words, x->text, key))
			out_tag_stem(w->out, x->text, key, KEYWORD_WEIGHT, EXTRACT_SOURCE_META);
		break;
	case XMP_TITLE:
		out_fact_text(w->out, EXTRACT_FACT_TITLE, x->text, x->n);
		words_feed(w->words, x->text, x->n, ZONE_TITLE);
		break;
	case XMP_DESCRIPTION:
		words_feed(w->words, x->text, x->n, ZONE_HEADING);
		out_excerpt(w->out, x->text, x->n);
		break;
	case XMP_CREATOR:
		out_fact_text(w->out, EXTRACT_FACT_AUTHOR, x->text, x->n);
		break;
	}
}

static void xmp_end(void *arg, const char *name)
{
	struct xmp *x = arg;

	if (strcmp(name, "li") == 0 && x->n > 0)
		item_take(x);
	x->n = 0;
	if (property_of(name) != XMP_NONE)
		x->property = XMP_NONE;
}

static void xmp_text(void *arg, const char *text, size_t len)
{
	struct xmp *x = arg;

	if (len > TEXT_MAX - 1 - x->n)
		len = TEXT_MAX - 1 - x->n;
	memcpy(x->text + x->n, text, len);
	x->n += len;
}

void xmp_read(struct work *w)
{
	static const struct markup_ops ops = {xmp_start, xmp_end, xmp_text};
	static const char begin[] = "<x:xmpmeta", end[] = "</x:xmpmeta>";
	const uint8_t *head = w->in->head, *stop = head + w->in->head_len;
	const uint8_t *from = memmem(head, w->in->head_len, begin, sizeof(begin) - 1), *to = NULL;
	struct xmp x = {.w = w};

	if (from != NULL)
		to = memmem(from, (size_t)(stop - from), end, sizeof(end) - 1);
	if (to != NULL)
		markup_parse_xml((const char *)from, (size_t)(to - from) + sizeof(end) - 1, &ops,
				 &x);
}
