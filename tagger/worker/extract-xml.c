/*
 * XML that is none of the kinds with an extractor of their own: its text, what is called title, and
 * the name of its root as a tag.
 */
#include "config.h"

#include <string.h>

#include "tagger/worker/markup.h"
#include "tagger/worker/worker.h"

#include "banned.h"

#define TEXT_BYTES (16u << 10)
#define TAG_WEIGHT 0.4f

struct xml {
	struct work *w;
	bool rooted, titled;
	enum words_zone zone;
	size_t n;
	char text[TEXT_BYTES];
};

static void xml_flush(struct xml *x)
{
	if (x->n == 0)
		return;
	if (x->zone == ZONE_TITLE && !x->titled) {
		out_fact_text(x->w->out, EXTRACT_FACT_TITLE, x->text, x->n);
		x->titled = true;
		words_feed(x->w->words, x->text, x->n, ZONE_TITLE);
	} else {
		work_text(x->w, x->text, x->n, x->zone == ZONE_TITLE ? ZONE_HEADING : ZONE_BODY);
	}
	x->n = 0;
}

static void xml_start(void *arg, const char *name, const char **attributes)
{
	struct xml *x = arg;
	const char *href = markup_attribute(attributes, "href");

	xml_flush(x);
	if (!x->rooted)
		out_tag(x->w->out, name, TAG_WEIGHT, EXTRACT_SOURCE_KIND);
	x->rooted = true;
	x->zone = strcmp(name, "title") == 0 || strcmp(name, "name") == 0 ? ZONE_TITLE : ZONE_BODY;
	if (href != NULL && *href != '#')
		out_link(x->w->out, href, strlen(href));
}

static void xml_end(void *arg, const char *name)
{
	struct xml *x = arg;

	xml_flush(x);
	x->zone = ZONE_BODY;
}

static void xml_text(void *arg, const char *text, size_t len)
{
	struct xml *x = arg;

	if (words_full(x->w->words))
		return;
	while (len > 0) {
		size_t n = len < TEXT_BYTES - x->n ? len : TEXT_BYTES - x->n;

		memcpy(x->text + x->n, text, n);
		x->n += n;
		text += n;
		len -= n;
		if (x->n == TEXT_BYTES)
			xml_flush(x);
	}
}

void extract_xml(struct work *w)
{
	static const struct markup_ops ops = {xml_start, xml_end, xml_text};
	static struct xml x;

	x.w = w;
	x.rooted = x.titled = false;
	x.zone = ZONE_BODY;
	x.n = 0;
	if (!markup_parse_xml((const char *)w->in->head, w->in->head_len, &ops, &x))
		out_fail(w->out, "there is no element in the XML");
	xml_flush(&x);
}
