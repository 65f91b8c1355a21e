/*
 * Pictures: size, what the camera wrote, colours, perceptual hash, and text where there may be
 * some.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tagger/worker/av.h"
#include "tagger/worker/exif.h"
#include "tagger/worker/look.h"
#include "tagger/worker/ocr.h"
#include "tagger/worker/segment.h"
#include "tagger/worker/worker.h"

#include "banned.h"

#define LOOK_SIDE      256u
#define OCR_SIDE       2400u /* larger pictures are made smaller first */
#define OCR_SIDE_MIN   48u
#define OCR_PIXELS_MIN 60000u /* in less there are a few words at best */
#define TAG_WEIGHT     0.4f

static void look(struct work *w, const struct picture *p)
{
	struct look_colour colours[LOOK_COLOURS];
	int n = look_colours(p, colours);

	for (int i = 0; i < n; i++) {
		char text[8];

		snprintf(text, sizeof(text), "#%02x%02x%02x", colours[i].r, colours[i].g,
			 colours[i].b);
		out_fact_text(w->out, EXTRACT_FACT_COLOUR, text, strlen(text));
	}
	/* one colour all over has no shape that could be compared */
	if (n != 1 || colours[0].share < 0.995)
		out_phash(w->out, look_phash(p));
}

/* Single characters between Chinese words come with spaces: they belong together. */
static void ocr_text(struct work *w, char *text)
{
	size_t out = 0, len = strlen(text);

	for (size_t i = 0; i < len; i++) {
		if (text[i] == ' ' && i > 0 && i + 1 < len &&
		    ((unsigned char)text[i - 1] & 0x80) != 0 &&
		    ((unsigned char)text[i + 1] & 0x80) != 0)
			continue;
		text[out++] = text[i];
	}
	w->source = EXTRACT_SOURCE_OCR;
	work_text(w, text, out, ZONE_BODY);
}

/* Photographs seldom have text that is worth half a second. */
static void read_text(struct work *w, struct av *av, const struct picture *small)
{
	struct av_about about;
	struct picture large;
	char *text;

	av_about(av, &about);
	if (about.width < OCR_SIDE_MIN || about.height < OCR_SIDE_MIN ||
	    (uint64_t)about.width * about.height < OCR_PIXELS_MIN || about.seconds > 1 ||
	    !look_like_text(small))
		return;
	if (av_frame(av, 0, OCR_SIDE, OCR_SIDE, &large) < 0)
		return;
	text = ocr_read(&large);
	if (text != NULL)
		ocr_text(w, text);
	free(text);
	free(large.rgb);
}

static void picture_facts(struct work *w, const struct av_about *about, int orientation)
{
	bool turned = orientation >= 5;

	out_fact_number(w->out, EXTRACT_FACT_WIDTH, turned ? about->height : about->width);
	out_fact_number(w->out, EXTRACT_FACT_HEIGHT, turned ? about->width : about->height);
	if (about->width > 0 && about->height > 0 && about->width >= 2 * about->height)
		out_tag(w->out, "panorama", TAG_WEIGHT / 2, EXTRACT_SOURCE_KIND);
}

/* "image/jpeg": the last part is a word that people look for. */
static void format_tag(struct work *w)
{
	const char *slash = strchr(w->sniffed->mime, '/');

	if (slash != NULL && strncmp(slash + 1, "x-", 2) != 0 && strncmp(slash + 1, "vnd.", 4) != 0)
		out_tag(w->out, slash + 1, TAG_WEIGHT, EXTRACT_SOURCE_KIND);
}

/* Is it broken when it cannot be read? There are more kinds of pictures than FFmpeg knows. */
static bool format_is_known(const char *mime)
{
	static const char *const known[] = {
		"image/jpeg", "image/png", "image/gif", "image/webp", "image/bmp", "image/tiff",
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(mime, known[i]) == 0)
			return true;
	return false;
}

void extract_image(struct work *w)
{
	int orientation = exif_read(w), res;
	struct picture small;
	struct av_about about;
	const char *why;
	struct av *av;

	xmp_read(w);
	format_tag(w);
	av = av_open(w->in, &why);
	if (av == NULL) {
		if (format_is_known(w->sniffed->mime))
			out_fail(w->out, "%s", why);
		return;
	}
	av_about(av, &about);
	picture_facts(w, &about, orientation);
	res = av_frame(av, 0, LOOK_SIDE, LOOK_SIDE, &small);
	if (res == 0 && look_upright(&small, orientation) == 0) {
		look(w, &small);
		/* a decoder may have been opened for a small picture only */
		if ((w->flags & WORK_FLAG_OCR) != 0) {
			av_close(av);
			av = av_open(w->in, &why);
			if (av != NULL)
				read_text(w, av, &small);
		}
	} else {
		out_fail(w->out, "%s",
			 res == -EFBIG	  ? "the picture is too large"
			 : res == -ENOMEM ? "there is not memory enough for the picture"
					  : "the picture is broken");
	}
	free(small.rgb);
	av_close(av);
}
