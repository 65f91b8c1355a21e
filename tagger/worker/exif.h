/*
 * What a camera wrote into a picture.
 */
#ifndef WEFT_TAGGER_EXIF_H
#define WEFT_TAGGER_EXIF_H

#include "tagger/worker/worker.h"

/* Facts go to out. Returns the orientation as EXIF counts, 1 to 8; 1 when there is none. */
int exif_read(struct work *w);
/* xmp.c: keywords, title, author that were written into the picture. */
void xmp_read(struct work *w);
/* The orientation alone. */
int exif_orientation(const struct input *in);

#endif
