/*
 * extract-text: the worker that sees every file first.
 */
#include "config.h"

#include "tagger/worker/worker.h"

#include "banned.h"

static const struct worker_class class_text = {
	.class = WORK_CLASS_TEXT,
	.extractors =
		{
			[EXTRACTOR_TEXT] = extract_text,
			[EXTRACTOR_MARKDOWN] = extract_markdown,
			[EXTRACTOR_SOURCE] = extract_source,
			[EXTRACTOR_HTML] = extract_html,
			[EXTRACTOR_XML] = extract_xml,
			[EXTRACTOR_OFFICE] = extract_office,
			[EXTRACTOR_ARCHIVE] = extract_archive,
		},
};

int main(int argc, char **argv)
{
	return worker_main(&class_text, argc, argv);
}
