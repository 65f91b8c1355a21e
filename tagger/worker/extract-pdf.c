/*
 * PDF, by poppler: what the document says of itself, its outline, the text of its first pages. What
 * is written larger than most is a heading.
 */
#include "config.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <poppler.h>

#include "tagger/worker/worker.h"

#include "banned.h"

#define PAGES_MAX     400
#define STYLED_PAGES  6 /* pages whose letters are measured: it takes longer */
#define OUTLINE_MAX   256u
#define OUTLINE_DEPTH 4u
#define HEADING_RATIO 1.15 /* how much larger than most letters */
#define SIZES_MAX     32u
#define PNG_BYTES_MAX (4u << 20)

static void text_fact(struct work *w, char *text, enum extract_fact_key key, enum words_zone zone)
{
	if (text == NULL)
		return;
	if (key != EXTRACT_FACT_COUNT)
		out_fact_text(w->out, key, text, strlen(text));
	if (zone != ZONES)
		words_feed(w->words, text, strlen(text), zone);
	g_free(text);
}

static void pdf_facts(struct work *w, PopplerDocument *doc)
{
	time_t created = poppler_document_get_creation_date(doc);

	text_fact(w, poppler_document_get_title(doc), EXTRACT_FACT_TITLE, ZONE_TITLE);
	text_fact(w, poppler_document_get_author(doc), EXTRACT_FACT_AUTHOR, ZONES);
	text_fact(w, poppler_document_get_subject(doc), EXTRACT_FACT_SUBJECT, ZONE_HEADING);
	text_fact(w, poppler_document_get_keywords(doc), EXTRACT_FACT_COUNT, ZONE_KEYWORDS);
	if (created > 0)
		out_fact_number(w->out, EXTRACT_FACT_DATE, (double)created);
	out_fact_number(w->out, EXTRACT_FACT_PAGES, poppler_document_get_n_pages(doc));
}

static void pdf_outline(struct work *w, PopplerIndexIter *iter, unsigned int depth, unsigned int *n)
{
	do {
		PopplerAction *action = poppler_index_iter_get_action(iter);
		PopplerIndexIter *child;

		if (action != NULL && action->any.title != NULL)
			words_feed(w->words, action->any.title, strlen(action->any.title),
				   ZONE_HEADING);
		if (action != NULL)
			poppler_action_free(action);
		child = depth < OUTLINE_DEPTH ? poppler_index_iter_get_child(iter) : NULL;
		if (child != NULL) {
			pdf_outline(w, child, depth + 1, n);
			poppler_index_iter_free(child);
		}
	} while (++*n < OUTLINE_MAX && poppler_index_iter_next(iter));
}

/* The size of most letters; 0 if there are none. */
static double common_size(GList *attributes)
{
	struct {
		double size;
		int letters;
	} sizes[SIZES_MAX] = {0};
	unsigned int n = 0, best = 0;

	for (GList *l = attributes; l != NULL; l = l->next) {
		const PopplerTextAttributes *a = l->data;
		unsigned int i = 0;

		while (i < n &&
		       (sizes[i].size < a->font_size - 0.25 || sizes[i].size > a->font_size + 0.25))
			i++;
		if (i == SIZES_MAX)
			continue;
		if (i == n)
			sizes[n++].size = a->font_size;
		sizes[i].letters += a->end_index - a->start_index + 1;
		if (sizes[i].letters > sizes[best].letters)
			best = i;
	}
	return n > 0 ? sizes[best].size : 0;
}

/* Text with headings told apart. Attributes count characters, not bytes. */
static void pdf_page_styled(struct work *w, PopplerPage *page, const char *text)
{
	GList *attributes = poppler_page_get_text_attributes(page);
	double common = common_size(attributes);
	glong chars = g_utf8_strlen(text, -1);
	const char *at = text;
	int at_char = 0;

	for (GList *l = attributes; l != NULL; l = l->next) {
		const PopplerTextAttributes *a = l->data;
		bool heading = a->font_size > common * HEADING_RATIO;
		const char *end;

		/* runs of one kind are given as one, so that phrases stay whole */
		while (l->next != NULL &&
		       (((const PopplerTextAttributes *)l->next->data)->font_size >
			common * HEADING_RATIO) == heading)
			l = l->next;
		a = l->data;
		if (a->end_index + 1 <= at_char || a->end_index >= chars)
			continue;
		end = g_utf8_offset_to_pointer(at, a->end_index + 1 - at_char);
		work_text(w, at, (size_t)(end - at), heading ? ZONE_HEADING : ZONE_BODY);
		at = end;
		at_char = a->end_index + 1;
	}
	if (*at != '\0')
		work_text(w, at, strlen(at), ZONE_BODY);
	poppler_page_free_text_attributes(attributes);
}

static void pdf_pages(struct work *w, PopplerDocument *doc)
{
	int n = poppler_document_get_n_pages(doc);

	for (int i = 0; i < n && i < PAGES_MAX && !words_full(w->words); i++) {
		PopplerPage *page = poppler_document_get_page(doc, i);
		char *text = page != NULL ? poppler_page_get_text(page) : NULL;

		if (text != NULL && i < STYLED_PAGES)
			pdf_page_styled(w, page, text);
		else if (text != NULL)
			work_text(w, text, strlen(text), ZONE_BODY);
		g_free(text);
		if (page != NULL)
			g_object_unref(page);
	}
}

void extract_pdf(struct work *w)
{
	int fd = input_fd(w->in);
	GError *error = NULL;
	PopplerDocument *doc;
	PopplerIndexIter *outline;
	unsigned int n = 0;

	if (fd >= 0)
		fd = dup(fd);
	if (fd < 0) {
		out_fail(w->out, "the document cannot be unpacked");
		return;
	}
	doc = poppler_document_new_from_fd(fd, NULL, &error);
	if (doc == NULL) {
		out_fail(w->out, "%s",
			 g_error_matches(error, POPPLER_ERROR, POPPLER_ERROR_ENCRYPTED)
				 ? "the document wants a password"
			 : error != NULL ? error->message
					 : "the document is broken");
		g_clear_error(&error);
		return;
	}
	pdf_facts(w, doc);
	outline = poppler_index_iter_new(doc);
	if (outline != NULL)
		pdf_outline(w, outline, 0, &n);
	if (outline != NULL)
		poppler_index_iter_free(outline);
	pdf_pages(w, doc);
	g_object_unref(doc);
}

/* ---- thumbnails -------------------------------------------------------------------------------
 */

struct png {
	uint8_t *bytes;
	size_t len, cap;
};

static cairo_status_t png_write(void *arg, const unsigned char *data, unsigned int len)
{
	struct png *png = arg;

	if (png->len + len > PNG_BYTES_MAX)
		return CAIRO_STATUS_WRITE_ERROR;
	if (png->len + len > png->cap) {
		size_t cap = 2 * (png->len + len);
		uint8_t *grown = realloc(png->bytes, cap);

		if (grown == NULL)
			return CAIRO_STATUS_NO_MEMORY;
		png->bytes = grown;
		png->cap = cap;
	}
	memcpy(png->bytes + png->len, data, len);
	png->len += len;
	return CAIRO_STATUS_SUCCESS;
}

/* The page on white, to fit width x height. NULL if its size is none. */
static cairo_surface_t *page_draw(PopplerPage *page, double width, double height)
{
	double page_width = 0, page_height = 0, scale;
	cairo_surface_t *surface;
	cairo_t *cr;

	poppler_page_get_size(page, &page_width, &page_height);
	if (!(page_width >= 1) || !(page_height >= 1))
		return NULL;
	scale = width / page_width < height / page_height ? width / page_width
							  : height / page_height;
	width = page_width * scale < 1 ? 1 : page_width * scale;
	height = page_height * scale < 1 ? 1 : page_height * scale;
	surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)width, (int)height);
	cr = cairo_create(surface);
	cairo_set_source_rgb(cr, 1, 1, 1);
	cairo_paint(cr);
	cairo_scale(cr, scale, scale);
	poppler_page_render(page, cr);
	cairo_destroy(cr);
	return surface;
}

int picture_pdf(struct input *in, const struct sniffed *sniffed, const struct work_request *r,
		uint8_t **bytes, size_t *len)
{
	int fd = strcmp(sniffed->mime, "application/pdf") == 0 ? input_fd(in) : -1;
	PopplerDocument *doc = NULL;
	PopplerPage *page = NULL;
	cairo_surface_t *surface = NULL;
	struct png png = {0};

	if (fd >= 0 && r->what == WORK_PICTURE)
		fd = dup(fd);
	else
		return -ENOTSUP;
	if (fd >= 0)
		doc = poppler_document_new_from_fd(fd, NULL, NULL);
	if (doc != NULL)
		page = poppler_document_get_page(doc, 0);
	if (page != NULL)
		surface = page_draw(page, r->width, r->height);
	if (surface != NULL &&
	    cairo_surface_write_to_png_stream(surface, png_write, &png) == CAIRO_STATUS_SUCCESS) {
		*bytes = png.bytes;
		*len = png.len;
		png.bytes = NULL;
	}
	free(png.bytes);
	if (surface != NULL)
		cairo_surface_destroy(surface);
	if (page != NULL)
		g_object_unref(page);
	if (doc != NULL)
		g_object_unref(doc);
	return *bytes != NULL ? 0 : -ENOTSUP;
}
