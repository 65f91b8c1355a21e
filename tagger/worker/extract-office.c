/*
 * Documents that are XML in a zip file: OpenDocument, Office Open XML, EPUB.
 */
#include "config.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "tagger/worker/markup.h"
#include "tagger/worker/page.h"
#include "tagger/worker/zipped.h"

#include "banned.h"

#define TEXT_BYTES   (16u << 10)
#define MEMBERS_MAX  512u /* slides, sheets, chapters */
#define PATH_BYTES   512u
#define CHAPTERS_MAX 256u

/* ---- facts: meta.xml, docProps/core.xml, the head of an OPF -----------------------------------
 */

struct meta {
	struct work *w;
	char element[32];
	size_t n;
	char text[1024];
};

static void meta_date(struct work *w, const char *text)
{
	struct tm tm = {0};

	if (strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) != NULL ||
	    strptime(text, "%Y-%m-%d", &tm) != NULL)
		out_fact_number(w->out, EXTRACT_FACT_DATE, (double)timegm(&tm));
}

static void meta_flush(struct meta *m)
{
	static const struct {
		const char *element;
		enum extract_fact_key key;
		enum words_zone zone;
	} table[] = {
		{"title", EXTRACT_FACT_TITLE, ZONE_TITLE},
		{"creator", EXTRACT_FACT_AUTHOR, ZONES},
		{"initial-creator", EXTRACT_FACT_AUTHOR, ZONES},
		{"subject", EXTRACT_FACT_SUBJECT, ZONE_KEYWORDS},
		{"keyword", EXTRACT_FACT_COUNT, ZONE_KEYWORDS},
		{"keywords", EXTRACT_FACT_COUNT, ZONE_KEYWORDS},
		{"description", EXTRACT_FACT_COUNT, ZONE_HEADING},
	};

	m->text[m->n] = '\0';
	if (m->n > 0 && (strcmp(m->element, "created") == 0 || strcmp(m->element, "date") == 0 ||
			 strcmp(m->element, "creation-date") == 0))
		meta_date(m->w, m->text);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]) && m->n > 0; i++) {
		if (strcmp(m->element, table[i].element) != 0)
			continue;
		if (table[i].key != EXTRACT_FACT_COUNT)
			out_fact_text(m->w->out, table[i].key, m->text, m->n);
		if (table[i].zone != ZONES)
			words_feed(m->w->words, m->text, m->n, table[i].zone);
	}
	m->n = 0;
}

static void meta_start(void *arg, const char *name, const char **attributes)
{
	struct meta *m = arg;
	const char *pages = markup_attribute(attributes, "page-count");

	m->n = 0;
	snprintf(m->element, sizeof(m->element), "%s", name);
	if (pages != NULL)
		out_fact_number(m->w->out, EXTRACT_FACT_PAGES, strtod(pages, NULL));
}

static void meta_end(void *arg, const char *name)
{
	struct meta *m = arg;

	meta_flush(m);
	m->element[0] = '\0';
}

static void meta_text(void *arg, const char *text, size_t len)
{
	struct meta *m = arg;

	if (len > sizeof(m->text) - 1 - m->n)
		len = sizeof(m->text) - 1 - m->n;
	memcpy(m->text + m->n, text, len);
	m->n += len;
}

static void meta_read(struct work *w, struct zipped *z, const char *member)
{
	static const struct markup_ops ops = {meta_start, meta_end, meta_text};
	struct meta m = {.w = w};
	size_t len;
	const char *xml = zipped_read(z, member, &len);

	if (xml != NULL)
		markup_parse_xml(xml, len, &ops, &m);
}

/* ---- text: paragraphs of ODF and OOXML --------------------------------------------------------
 */

struct body {
	struct work *w;
	enum words_zone zone;
	unsigned int skip; /* elements deep in what is no text */
	size_t n;
	char text[TEXT_BYTES];
};

static void body_flush(struct body *b)
{
	if (b->n > 0)
		work_text(b->w, b->text, b->n, b->zone);
	b->n = 0;
}

static bool body_is_block(const char *name)
{
	static const char *const blocks[] = {"p",  "h",	 "si",	"tab",
					     "br", "tc", "row", "table-cell"};

	for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++)
		if (strcmp(name, blocks[i]) == 0)
			return true;
	return false;
}

static bool body_is_skipped(const char *name)
{
	return strcmp(name, "instrText") == 0 || strcmp(name, "annotation") == 0 ||
	       strcmp(name, "tracked-changes") == 0;
}

static void body_start(void *arg, const char *name, const char **attributes)
{
	struct body *b = arg;
	const char *value, *href = markup_attribute(attributes, "href");

	if (body_is_skipped(name))
		b->skip++;
	if (body_is_block(name)) {
		body_flush(b);
		b->zone = strcmp(name, "h") == 0 ? ZONE_HEADING : ZONE_BODY;
	}
	/* w:pStyle w:val="Heading1", p:ph type="title": the paragraph that has begun is a heading
	 */
	value = strcmp(name, "pStyle") == 0 ? markup_attribute(attributes, "val")
		: strcmp(name, "ph") == 0   ? markup_attribute(attributes, "type")
					    : NULL;
	if (value != NULL &&
	    (strncasecmp(value, "heading", 7) == 0 || strcasestr(value, "title") != NULL))
		b->zone = ZONE_HEADING;
	if (href != NULL && strcmp(name, "a") == 0)
		out_link(b->w->out, href, strlen(href));
}

static void body_end(void *arg, const char *name)
{
	struct body *b = arg;

	if (body_is_skipped(name))
		b->skip -= b->skip > 0;
	if (body_is_block(name)) {
		body_flush(b);
		b->zone = ZONE_BODY;
	}
}

static void body_text(void *arg, const char *text, size_t len)
{
	struct body *b = arg;

	if (b->skip > 0 || words_full(b->w->words))
		return;
	if (b->n + len > TEXT_BYTES)
		body_flush(b);
	if (len > TEXT_BYTES)
		len = TEXT_BYTES;
	memcpy(b->text + b->n, text, len);
	b->n += len;
}

/* False: it is not there, or broken. */
static bool body_read(struct work *w, struct zipped *z, const char *member)
{
	static const struct markup_ops ops = {body_start, body_end, body_text};
	static struct body b;
	size_t len;
	const char *xml = zipped_read(z, member, &len);
	bool ok;

	if (xml == NULL)
		return false;
	b.w = w;
	b.zone = ZONE_BODY;
	b.skip = 0;
	b.n = 0;
	ok = markup_parse_xml(xml, len, &ops, &b);
	body_flush(&b);
	return ok;
}

/* All members that begin and end so; how many. */
static unsigned int bodies_read(struct work *w, struct zipped *z, const char *begin,
				const char *end)
{
	size_t n = zipped_count(z), begin_len = strlen(begin), end_len = strlen(end);
	unsigned int found = 0;

	for (size_t i = 0; i < n && found < MEMBERS_MAX && !words_full(w->words); i++) {
		char name[PATH_BYTES];
		const char *member = zipped_name(z, i);
		size_t len = member != NULL ? strlen(member) : 0;

		if (len < begin_len + end_len || len >= sizeof(name) ||
		    memcmp(member, begin, begin_len) != 0 ||
		    memcmp(member + len - end_len, end, end_len) != 0)
			continue;
		memcpy(name, member, len + 1);
		found += body_read(w, z, name);
	}
	return found;
}

/* ---- EPUB -------------------------------------------------------------------------------------
 */

struct epub {
	char root[PATH_BYTES]; /* the OPF */
	unsigned int n;
	char chapters[CHAPTERS_MAX][PATH_BYTES];
};

static void container_start(void *arg, const char *name, const char **attributes)
{
	struct epub *e = arg;
	const char *path = markup_attribute(attributes, "full-path");

	if (strcmp(name, "rootfile") == 0 && path != NULL && e->root[0] == '\0')
		snprintf(e->root, sizeof(e->root), "%s", path);
}

/* The pages of the manifest, in its order, which is nearly always that of reading. */
static void manifest_start(void *arg, const char *name, const char **attributes)
{
	struct epub *e = arg;
	const char *href = markup_attribute(attributes, "href");
	const char *type = markup_attribute(attributes, "media-type");
	const char *slash = strrchr(e->root, '/');
	size_t folder = slash != NULL ? (size_t)(slash - e->root) + 1 : 0, n;

	if (strcmp(name, "item") != 0 || href == NULL || type == NULL || e->n == CHAPTERS_MAX ||
	    strstr(type, "html") == NULL)
		return;
	n = strlen(href);
	if (folder + n >= PATH_BYTES)
		return;
	memcpy(e->chapters[e->n], e->root, folder);
	memcpy(e->chapters[e->n++] + folder, href, n + 1);
}

static void nothing_end(void *arg, const char *name)
{
}

static void nothing_text(void *arg, const char *text, size_t len)
{
}

static bool epub_read(struct work *w, struct zipped *z)
{
	static const struct markup_ops container = {container_start, nothing_end, nothing_text};
	static const struct markup_ops manifest = {manifest_start, nothing_end, nothing_text};
	static struct epub e;
	unsigned int read = 0;
	const char *xml;
	size_t len;

	e.root[0] = '\0';
	e.n = 0;
	xml = zipped_read(z, "META-INF/container.xml", &len);
	if (xml == NULL || !markup_parse_xml(xml, len, &container, &e) || e.root[0] == '\0')
		return false;
	meta_read(w, z, e.root);
	xml = zipped_read(z, e.root, &len);
	if (xml == NULL || !markup_parse_xml(xml, len, &manifest, &e))
		return false;
	for (unsigned int i = 0; i < e.n && !words_full(w->words); i++) {
		xml = zipped_read(z, e.chapters[i], &len);
		read += xml != NULL && page_read(w, xml, len, NULL, false);
	}
	return read > 0;
}

/* ---- which ------------------------------------------------------------------------------------
 */

static bool ooxml_read(struct work *w, struct zipped *z)
{
	bool any;

	meta_read(w, z, "docProps/core.xml");
	any = body_read(w, z, "word/document.xml");
	any = bodies_read(w, z, "ppt/slides/slide", ".xml") > 0 || any;
	return body_read(w, z, "xl/sharedStrings.xml") || any;
}

static bool odf_read(struct work *w, struct zipped *z)
{
	meta_read(w, z, "meta.xml");
	return body_read(w, z, "content.xml");
}

void extract_office(struct work *w)
{
	const char *mime = w->sniffed->mime;
	int fd = input_fd(w->in);
	struct zipped *z = fd >= 0 ? zipped_open(fd) : NULL;
	bool ok;

	if (z == NULL) {
		out_fail(w->out, "the document is no zip file that can be read");
		return;
	}
	if (strstr(mime, "epub") != NULL)
		ok = epub_read(w, z);
	else if (strstr(mime, "opendocument") != NULL)
		ok = odf_read(w, z);
	else
		ok = ooxml_read(w, z);
	if (!ok)
		out_fail(w->out, "there is no text where the document should have it");
	zipped_close(z);
}
