/*
 * extract-doc: the worker for PDF and mail, whose libraries share GLib.
 */
#include "config.h"

#include "tagger/worker/worker.h"

#include "banned.h"

/* Fonts and character maps that a PDF may name without having them; encodings of mail. */
static const char *const paths[] = {
	"/usr/share", "/usr/lib", "/etc/fonts", "/usr/local/share/fonts", "/var/cache/fontconfig",
	NULL};

static const struct worker_class class_doc = {
	.class = WORK_CLASS_DOC,
	.extractors =
		{
			[EXTRACTOR_PDF] = extract_pdf,
			[EXTRACTOR_MAIL] = extract_mail,
		},
	.picture = picture_pdf,
	.prepare = mail_prepare,
	.paths = paths,
};

int main(int argc, char **argv)
{
	return worker_main(&class_doc, argc, argv);
}
