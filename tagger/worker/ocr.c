/*
 * Tesseract behind one file. A language is loaded when the first picture wants it: that takes a
 * third of a second and 40 MB. English is tried first; Chinese only where English makes no sense of
 * it, as both at once would take twice as long for every picture.
 */
#include "config.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <tesseract/capi.h>

#include "tagger/worker/ocr.h"

#include "banned.h"

#define CONFIDENCE_SURE 75 /* of a hundred: no other language is tried */
#define CONFIDENCE_MIN	65 /* less is a picture of something else */

struct language {
	const char *name;
	TessBaseAPI *tesseract;
	bool tried;
};

static bool language_open(struct language *l)
{
	if (!l->tried) {
		l->tried = true;
		l->tesseract = TessBaseAPICreate();
		/* not every machine has the data for Chinese */
		if (TessBaseAPIInit2(l->tesseract, NULL, l->name, OEM_LSTM_ONLY) == 0) {
			TessBaseAPISetPageSegMode(l->tesseract, PSM_AUTO);
		} else {
			TessBaseAPIDelete(l->tesseract);
			l->tesseract = NULL;
		}
	}
	return l->tesseract != NULL;
}

/* Text, malloc()ed, and how sure it is; NULL if there is none. */
static char *language_read(struct language *l, const struct picture *p, int *confidence)
{
	char *text, *copy = NULL;

	if (!language_open(l))
		return NULL;
	TessBaseAPISetImage(l->tesseract, p->rgb, (int)p->width, (int)p->height, 3,
			    (int)p->width * 3);
	TessBaseAPISetSourceResolution(l->tesseract, 150);
	text = TessBaseAPIGetUTF8Text(l->tesseract);
	*confidence = TessBaseAPIMeanTextConf(l->tesseract);
	if (text != NULL && *confidence >= CONFIDENCE_MIN)
		copy = strdup(text);
	TessDeleteText(text);
	TessBaseAPIClear(l->tesseract);
	return copy;
}

char *ocr_read(const struct picture *p)
{
	static struct language languages[] = {{"eng", NULL, false}, {"chi_sim", NULL, false}};
	char *best = NULL;
	int best_confidence = 0;

	for (size_t i = 0; i < sizeof(languages) / sizeof(languages[0]); i++) {
		int confidence = 0;
		char *text = language_read(&languages[i], p, &confidence);

		if (text != NULL && confidence > best_confidence) {
			free(best);
			best = text;
			best_confidence = confidence;
		} else {
			free(text);
		}
		if (best_confidence >= CONFIDENCE_SURE)
			break;
	}
	return best;
}
