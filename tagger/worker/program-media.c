/*
 * extract-media: the worker for pictures, sound and video.
 */
#include "config.h"

#include "tagger/worker/worker.h"

#include "banned.h"

/* Tesseract's languages and PocketSphinx's models, which are large and loaded when first wanted. */
static const char *const paths[] = {"/usr/share/tesseract-ocr", "/usr/share/tessdata",
				    "/usr/share/pocketsphinx", NULL};

static const struct worker_class class_media = {
	.class = WORK_CLASS_MEDIA,
	.extractors =
		{
			[EXTRACTOR_IMAGE] = extract_image,
			[EXTRACTOR_MEDIA] = extract_media,
		},
	.picture = picture_make,
	.paths = paths,
};

int main(int argc, char **argv)
{
	return worker_main(&class_media, argc, argv);
}
