/*
 * Pictures for people: a thumbnail of anything that has one, a sprite of a video over its whole
 * length.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tagger/worker/av.h"
#include "tagger/worker/exif.h"
#include "tagger/worker/look.h"
#include "tagger/worker/worker.h"

#include "banned.h"

#define SPRITE_FRAMES_MAX 256u
#define SPRITE_BYTES_MAX  (48u << 20)
#define THUMBNAIL_AT	  0.1 /* of the length */

static int thumbnail(struct av *av, struct input *in, const struct work_request *r,
		     struct picture *p)
{
	struct av_about about;
	int res;

	av_about(av, &about);
	if (!about.has_video && !about.has_cover)
		return -ENOTSUP;
	res = av_frame(av, about.seconds * THUMBNAIL_AT, r->width, r->height, p);
	if (res == 0 && about.seconds <= 0)
		res = look_upright(p, exif_orientation(in));
	return res;
}

/* Puts a frame into the middle of its place. */
static void sprite_put(struct picture *sprite, const struct picture *frame, uint32_t x, uint32_t y,
		       uint32_t width, uint32_t height)
{
	x += (width - frame->width) / 2;
	y += (height - frame->height) / 2;
	for (uint32_t row = 0; row < frame->height; row++)
		memcpy(sprite->rgb + ((size_t)(y + row) * sprite->width + x) * 3,
		       frame->rgb + (size_t)row * frame->width * 3, (size_t)frame->width * 3);
}

static int sprite(struct av *av, const struct work_request *r, struct picture *p)
{
	uint32_t n = (uint32_t)r->columns * r->rows, got = 0;
	struct av_about about;

	av_about(av, &about);
	if (!about.has_video || about.seconds <= 0 || n == 0 || n > SPRITE_FRAMES_MAX)
		return -ENOTSUP;
	p->width = (uint32_t)r->width * r->columns;
	p->height = (uint32_t)r->height * r->rows;
	if ((uint64_t)p->width * p->height * 3 > SPRITE_BYTES_MAX)
		return -EFBIG;
	/* black where a frame does not fill its place, or cannot be had */
	p->rgb = calloc((size_t)p->width * p->height, 3);
	if (p->rgb == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		struct picture frame;

		if (av_frame(av, about.seconds * (i + 0.5) / n, r->width, r->height, &frame) < 0)
			continue;
		sprite_put(p, &frame, i % r->columns * r->width, i / r->columns * r->height,
			   r->width, r->height);
		free(frame.rgb);
		got++;
	}
	return got > 0 ? 0 : -EBADMSG;
}

int picture_make(struct input *in, const struct sniffed *sniffed, const struct work_request *r,
		 uint8_t **jpeg, size_t *len)
{
	struct picture p = {0};
	const char *why;
	struct av *av = av_open(in, &why);
	int res;

	if (av == NULL)
		return -ENOTSUP;
	res = r->what == WORK_SPRITE ? sprite(av, r, &p) : thumbnail(av, in, r, &p);
	if (res == 0)
		res = av_jpeg(&p, jpeg, len);
	free(p.rgb);
	av_close(av);
	return res;
}
