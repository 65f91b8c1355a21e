/*
 * Text in pictures, in English and simplified Chinese where the data for these is installed.
 */
#ifndef WEFT_TAGGER_OCR_H
#define WEFT_TAGGER_OCR_H

#include "tagger/worker/av.h"

/* UTF-8, malloc()ed; NULL if there is none, or no data. */
char *ocr_read(const struct picture *p);

#endif
