/*
 * Sound and video: what it says of itself, how it is made, what a frame or cover looks like, and
 * what is said in it when that is wanted.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "tagger/worker/av.h"
#include "tagger/worker/look.h"
#include "tagger/worker/speech.h"
#include "tagger/worker/worker.h"

#include "banned.h"

#define LOOK_SIDE  256u
#define LOOK_AT	   0.1 /* of the length: the first frame is often black */
#define TAG_WEIGHT 0.4f

static void quality_tag(struct work *w, const struct av_about *about)
{
	uint32_t lines = about->height < about->width ? about->height : about->width;

	if (lines >= 2160)
		out_tag(w->out, "4k", TAG_WEIGHT, EXTRACT_SOURCE_KIND);
	else if (lines >= 720)
		out_tag(w->out, "hd", TAG_WEIGHT, EXTRACT_SOURCE_KIND);
}

static void look_at(struct work *w, struct av *av, const struct av_about *about)
{
	struct look_colour colours[LOOK_COLOURS];
	struct picture p;

	if (av_frame(av, about->seconds * LOOK_AT, LOOK_SIDE, LOOK_SIDE, &p) < 0)
		return;
	/* one colour all over, as of a black frame, has no shape that could be compared */
	if (look_colours(&p, colours) != 1 || colours[0].share < 0.995)
		out_phash(w->out, look_phash(&p));
	free(p.rgb);
}

void extract_media(struct work *w)
{
	struct av_about about;
	const char *why;
	struct av *av = av_open(w->in, &why);

	if (av == NULL) {
		out_fail(w->out, "%s", why);
		return;
	}
	av_about(av, &about);
	/* what only sounds is no video, whatever its kind of file may hold */
	out_kind(w->out, about.has_video ? EXTRACT_KIND_VIDEO : EXTRACT_KIND_AUDIO,
		 w->sniffed->mime);
	av_facts(av, w);
	if (about.has_video) {
		quality_tag(w, &about);
		look_at(w, av, &about);
	}
	if ((w->flags & WORK_FLAG_SPEECH) != 0 && about.has_audio && !about.has_video) {
		av_close(av);
		av = av_open(w->in, &why);
		if (av != NULL)
			speech_read(w, av);
	}
	av_close(av);
}
