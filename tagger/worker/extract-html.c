/*
 * Web pages. Text is gathered until a block ends, so that words and phrases go through inline
 * elements; what a browser does not show is left out.
 */
#include "config.h"

#include <string.h>
#include <strings.h>
#include <time.h>

#include "tagger/worker/markup.h"
#include "tagger/worker/page.h"

#include "banned.h"

#define BLOCK_BYTES (16u << 10)

struct page {
	struct work *w;
	enum words_zone zone; /* of what is gathered */
	unsigned int hidden;  /* how many elements deep in what is not shown */
	bool title;	      /* its title is wanted */
	size_t n;
	char block[BLOCK_BYTES];
};

enum element {
	ELEMENT_INLINE,
	ELEMENT_BLOCK,
	ELEMENT_HEADING,
	ELEMENT_TITLE,
	ELEMENT_HIDDEN,
	ELEMENT_META,
	ELEMENT_LINK,
};

static enum element element_of(const char *name)
{
	static const struct {
		const char *name;
		enum element element;
	} table[] = {
		{"a", ELEMENT_LINK},	       {"p", ELEMENT_BLOCK},
		{"div", ELEMENT_BLOCK},	       {"li", ELEMENT_BLOCK},
		{"td", ELEMENT_BLOCK},	       {"th", ELEMENT_BLOCK},
		{"tr", ELEMENT_BLOCK},	       {"br", ELEMENT_BLOCK},
		{"dt", ELEMENT_BLOCK},	       {"dd", ELEMENT_BLOCK},
		{"pre", ELEMENT_BLOCK},	       {"h1", ELEMENT_HEADING},
		{"h2", ELEMENT_HEADING},       {"h3", ELEMENT_HEADING},
		{"h4", ELEMENT_HEADING},       {"h5", ELEMENT_HEADING},
		{"h6", ELEMENT_HEADING},       {"title", ELEMENT_TITLE},
		{"meta", ELEMENT_META},	       {"script", ELEMENT_HIDDEN},
		{"style", ELEMENT_HIDDEN},     {"nav", ELEMENT_HIDDEN},
		{"noscript", ELEMENT_HIDDEN},  {"svg", ELEMENT_HIDDEN},
		{"ul", ELEMENT_BLOCK},	       {"ol", ELEMENT_BLOCK},
		{"table", ELEMENT_BLOCK},      {"body", ELEMENT_BLOCK},
		{"blockquote", ELEMENT_BLOCK}, {"section", ELEMENT_BLOCK},
		{"article", ELEMENT_BLOCK},    {"hr", ELEMENT_BLOCK},
		{"caption", ELEMENT_BLOCK},    {"option", ELEMENT_BLOCK},
		{"figcaption", ELEMENT_BLOCK},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (strcasecmp(name, table[i].name) == 0)
			return table[i].element;
	return ELEMENT_INLINE;
}

static void block_end(struct page *p)
{
	if (p->n > 0 && p->zone == ZONE_TITLE) {
		words_feed(p->w->words, p->block, p->n, ZONE_TITLE);
		if (p->title)
			out_fact_text(p->w->out, EXTRACT_FACT_TITLE, p->block, p->n);
	} else if (p->n > 0) {
		work_text(p->w, p->block, p->n, p->zone);
	}
	p->n = 0;
	p->zone = ZONE_BODY;
}

static void date_take(struct work *w, const char *text)
{
	struct tm tm = {0};

	if (strptime(text, "%Y-%m-%d", &tm) != NULL)
		out_fact_number(w->out, EXTRACT_FACT_DATE, (double)timegm(&tm));
}

static void meta_take(struct page *p, const char **attributes)
{
	const char *name = markup_attribute(attributes, "name");
	const char *content = markup_attribute(attributes, "content");
	struct work *w = p->w;

	if (name == NULL)
		name = markup_attribute(attributes, "property");
	if (name == NULL || content == NULL)
		return;
	if (strcasecmp(name, "keywords") == 0)
		words_feed(w->words, content, strlen(content), ZONE_KEYWORDS);
	else if (strcasecmp(name, "author") == 0)
		out_fact_text(w->out, EXTRACT_FACT_AUTHOR, content, strlen(content));
	else if (strcasecmp(name, "description") == 0)
		words_feed(w->words, content, strlen(content), ZONE_HEADING);
	else if (strcasecmp(name, "date") == 0 || strcasecmp(name, "article:published_time") == 0)
		date_take(w, content);
}

static void page_start(void *arg, const char *name, const char **attributes)
{
	struct page *p = arg;
	const char *href;

	switch (element_of(name)) {
	case ELEMENT_INLINE:
		break;
	case ELEMENT_BLOCK:
		block_end(p);
		break;
	case ELEMENT_HEADING:
		block_end(p);
		p->zone = ZONE_HEADING;
		break;
	case ELEMENT_TITLE:
		block_end(p);
		p->zone = ZONE_TITLE;
		break;
	case ELEMENT_HIDDEN:
		block_end(p);
		p->hidden++;
		break;
	case ELEMENT_META:
		meta_take(p, attributes);
		break;
	case ELEMENT_LINK:
		href = markup_attribute(attributes, "href");
		if (href != NULL && strncasecmp(href, "javascript:", 11) != 0 &&
		    strncasecmp(href, "mailto:", 7) != 0)
			out_link(p->w->out, href, strlen(href));
		break;
	}
}

static void page_end(void *arg, const char *name)
{
	struct page *p = arg;

	switch (element_of(name)) {
	case ELEMENT_BLOCK:
	case ELEMENT_HEADING:
	case ELEMENT_TITLE:
		block_end(p);
		break;
	case ELEMENT_HIDDEN:
		p->n = 0;
		p->hidden -= p->hidden > 0;
		break;
	default:
		break;
	}
}

static void page_text(void *arg, const char *text, size_t len)
{
	struct page *p = arg;

	if (p->hidden > 0 || words_full(p->w->words))
		return;
	while (len > 0) {
		size_t n = len < BLOCK_BYTES - p->n ? len : BLOCK_BYTES - p->n;

		memcpy(p->block + p->n, text, n);
		p->n += n;
		text += n;
		len -= n;
		if (p->n == BLOCK_BYTES) {
			enum words_zone zone = p->zone;

			block_end(p);
			p->zone = zone;
		}
	}
}

bool page_read(struct work *w, const char *bytes, size_t len, const char *encoding, bool title)
{
	static const struct markup_ops ops = {page_start, page_end, page_text};
	static struct page page;

	page.w = w;
	page.zone = ZONE_BODY;
	page.hidden = 0;
	page.title = title;
	page.n = 0;
	if (!markup_parse_html(bytes, len, encoding, &ops, &page))
		return false;
	block_end(&page);
	return true;
}

void extract_html(struct work *w)
{
	if (!page_read(w, (const char *)w->in->head, w->in->head_len, w->sniffed->encoding, true))
		out_fail(w->out, "there is no element in the page");
}
