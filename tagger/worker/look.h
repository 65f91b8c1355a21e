/*
 * What a picture looks like, from its pixels alone. Pure.
 */
#ifndef WEFT_TAGGER_LOOK_H
#define WEFT_TAGGER_LOOK_H

#include <stdbool.h>

#include "tagger/worker/av.h"

#define LOOK_COLOURS 4

struct look_colour {
	uint8_t r, g, b;
	double share; /* of the picture */
};

/* Perceptual hash: 64 bits of which near pictures differ in few. */
uint64_t look_phash(const struct picture *p);
/* The main colours, the largest first; how many. */
int look_colours(const struct picture *p, struct look_colour out[LOOK_COLOURS]);
/* May there be text in it? One ground, and sharp edges on a part of it. */
bool look_like_text(const struct picture *p);
/* Turns a picture upright. orientation as EXIF counts. 0 or -ENOMEM. */
int look_upright(struct picture *p, int orientation);

#endif
