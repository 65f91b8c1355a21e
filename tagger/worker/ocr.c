/*
 * Tesseract behind one file. It is readied when the first picture wants it: that takes a third of a
 * second and 60 MB.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include <tesseract/capi.h>

#include "tagger/worker/ocr.h"

#include "banned.h"

#define CONFIDENCE_MIN 55 /* of a hundred; less is a picture of something else */

static TessBaseAPI *ocr_open(void)
{
	/* best first; not every machine has the data for Chinese */
	static const char *const languages[] = {"eng+chi_sim", "eng", "chi_sim"};
	TessBaseAPI *t = TessBaseAPICreate();

	for (size_t i = 0; t != NULL && i < sizeof(languages) / sizeof(languages[0]); i++) {
		if (TessBaseAPIInit2(t, NULL, languages[i], OEM_LSTM_ONLY) == 0) {
			TessBaseAPISetPageSegMode(t, PSM_AUTO);
			return t;
		}
	}
	TessBaseAPIDelete(t);
	return NULL;
}

char *ocr_read(const struct picture *p)
{
	static TessBaseAPI *t;
	static bool tried;
	char *text, *copy = NULL;

	if (!tried)
		t = ocr_open();
	tried = true;
	if (t == NULL)
		return NULL;
	TessBaseAPISetImage(t, p->rgb, (int)p->width, (int)p->height, 3, (int)p->width * 3);
	TessBaseAPISetSourceResolution(t, 150);
	text = TessBaseAPIGetUTF8Text(t);
	if (text != NULL && TessBaseAPIMeanTextConf(t) >= CONFIDENCE_MIN)
		copy = strdup(text);
	TessDeleteText(text);
	TessBaseAPIClear(t);
	return copy;
}
