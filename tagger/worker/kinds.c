/*
 * From MIME types to kinds of files, and to who extracts them: one table.
 */
#include "config.h"

#include <string.h>
#include <strings.h>

#include "tagger/worker/worker.h"

#include "banned.h"

/* The first prefix that fits. */
static const struct kind kinds[] = {
	{"inode/x-empty", EXTRACT_KIND_EMPTY, EXTRACTOR_NONE, {NULL}},
	{"text/html", EXTRACT_KIND_PAGE, EXTRACTOR_HTML, {"web page"}},
	{"application/xhtml+xml", EXTRACT_KIND_PAGE, EXTRACTOR_HTML, {"web page"}},
	{"text/markdown", EXTRACT_KIND_TEXT, EXTRACTOR_MARKDOWN, {"markdown"}},
	{"text/x-rst", EXTRACT_KIND_TEXT, EXTRACTOR_MARKDOWN, {"restructuredtext"}},
	{"text/plain", EXTRACT_KIND_TEXT, EXTRACTOR_TEXT, {NULL}},
	{"text/csv", EXTRACT_KIND_DATA, EXTRACTOR_TEXT, {"csv", "table"}},
	{"text/troff", EXTRACT_KIND_TEXT, EXTRACTOR_TEXT, {"troff"}},
	{"text/x-tex", EXTRACT_KIND_TEXT, EXTRACTOR_TEXT, {"tex"}},
	{"text/x-po", EXTRACT_KIND_TEXT, EXTRACTOR_TEXT, {"translation"}},
	{"text/x-diff", EXTRACT_KIND_SOURCE, EXTRACTOR_SOURCE, {"patch"}},
	{"text/x-c++", EXTRACT_KIND_SOURCE, EXTRACTOR_SOURCE, {"c++"}},
	{"text/x-c", EXTRACT_KIND_SOURCE, EXTRACTOR_SOURCE, {"c"}},
	{"text/x-script.python", EXTRACT_KIND_SOURCE, EXTRACTOR_SOURCE, {"python"}},
	{"text/x-python", EXTRACT_KIND_SOURCE, EXTRACTOR_SOURCE, {"python"}},
	{"text/x-perl", EXTRACT_KIND_SOURCE, EXTRACTOR_SOURCE, {"perl"}},
	{"text/x-shellscript", EXTRACT_KIND_SOURCE, EXTRACTOR_SOURCE, {"shell"}},
	{"text/x-java", EXTRACT_KIND_SOURCE, EXTRACTOR_SOURCE, {"java"}},
	{"text/x-ruby", EXTRACT_KIND_SOURCE, EXTRACTOR_SOURCE, {"ruby"}},
	{"text/x-php", EXTRACT_KIND_SOURCE, EXTRACTOR_SOURCE, {"php"}},
	{"text/x-lua", EXTRACT_KIND_SOURCE, EXTRACTOR_SOURCE, {"lua"}},
	{"text/x-tcl", EXTRACT_KIND_SOURCE, EXTRACTOR_SOURCE, {"tcl"}},
	{"text/x-awk", EXTRACT_KIND_SOURCE, EXTRACTOR_SOURCE, {"awk"}},
	{"text/x-makefile", EXTRACT_KIND_SOURCE, EXTRACTOR_SOURCE, {"makefile"}},
	{"text/x-m4", EXTRACT_KIND_SOURCE, EXTRACTOR_SOURCE, {"m4"}},
	{"text/x-asm", EXTRACT_KIND_SOURCE, EXTRACTOR_SOURCE, {"assembler"}},
	{"text/x-fortran", EXTRACT_KIND_SOURCE, EXTRACTOR_SOURCE, {"fortran"}},
	{"text/x-pascal", EXTRACT_KIND_SOURCE, EXTRACTOR_SOURCE, {"pascal"}},
	{"text/x-lisp", EXTRACT_KIND_SOURCE, EXTRACTOR_SOURCE, {"lisp"}},
	{"text/x-go", EXTRACT_KIND_SOURCE, EXTRACTOR_SOURCE, {"go"}},
	{"text/x-rust", EXTRACT_KIND_SOURCE, EXTRACTOR_SOURCE, {"rust"}},
	{"text/x-sql", EXTRACT_KIND_SOURCE, EXTRACTOR_SOURCE, {"sql"}},
	{"text/css", EXTRACT_KIND_SOURCE, EXTRACTOR_SOURCE, {"css"}},
	{"text/javascript", EXTRACT_KIND_SOURCE, EXTRACTOR_SOURCE, {"javascript"}},
	{"application/javascript", EXTRACT_KIND_SOURCE, EXTRACTOR_SOURCE, {"javascript"}},
	{"text/x-typescript", EXTRACT_KIND_SOURCE, EXTRACTOR_SOURCE, {"typescript"}},
	{"application/json", EXTRACT_KIND_DATA, EXTRACTOR_TEXT, {"json"}},
	{"application/x-ndjson", EXTRACT_KIND_DATA, EXTRACTOR_TEXT, {"json"}},
	{"image/svg+xml", EXTRACT_KIND_IMAGE, EXTRACTOR_XML, {"image", "svg", "drawing"}},
	{"text/xml", EXTRACT_KIND_DATA, EXTRACTOR_XML, {"xml"}},
	{"application/xml", EXTRACT_KIND_DATA, EXTRACTOR_XML, {"xml"}},
	{"message/", EXTRACT_KIND_MAIL, EXTRACTOR_MAIL, {"mail"}},
	{"application/mbox", EXTRACT_KIND_MAIL, EXTRACTOR_MAIL, {"mail"}},
	{"text/calendar", EXTRACT_KIND_DATA, EXTRACTOR_TEXT, {"calendar"}},
	{"text/vcard", EXTRACT_KIND_DATA, EXTRACTOR_TEXT, {"contact"}},
	{"text/rtf", EXTRACT_KIND_DOCUMENT, EXTRACTOR_NONE, {"document", "rtf"}},
	{"text/", EXTRACT_KIND_TEXT, EXTRACTOR_TEXT, {NULL}},
	{"application/pdf", EXTRACT_KIND_DOCUMENT, EXTRACTOR_PDF, {"document", "pdf"}},
	{"application/epub+zip", EXTRACT_KIND_DOCUMENT, EXTRACTOR_OFFICE, {"document", "e-book"}},
	{"application/vnd.oasis.opendocument.text",
	 EXTRACT_KIND_DOCUMENT,
	 EXTRACTOR_OFFICE,
	 {"document"}},
	{"application/vnd.oasis.opendocument.spreadsheet",
	 EXTRACT_KIND_DOCUMENT,
	 EXTRACTOR_OFFICE,
	 {"document", "spreadsheet"}},
	{"application/vnd.oasis.opendocument.presentation",
	 EXTRACT_KIND_DOCUMENT,
	 EXTRACTOR_OFFICE,
	 {"document", "presentation"}},
	{"application/vnd.oasis.opendocument",
	 EXTRACT_KIND_DOCUMENT,
	 EXTRACTOR_OFFICE,
	 {"document"}},
	{"application/vnd.openxmlformats-officedocument.wordprocessingml",
	 EXTRACT_KIND_DOCUMENT,
	 EXTRACTOR_OFFICE,
	 {"document"}},
	{"application/vnd.openxmlformats-officedocument.spreadsheetml",
	 EXTRACT_KIND_DOCUMENT,
	 EXTRACTOR_OFFICE,
	 {"document", "spreadsheet"}},
	{"application/vnd.openxmlformats-officedocument.presentationml",
	 EXTRACT_KIND_DOCUMENT,
	 EXTRACTOR_OFFICE,
	 {"document", "presentation"}},
	{"application/postscript",
	 EXTRACT_KIND_DOCUMENT,
	 EXTRACTOR_NONE,
	 {"document", "postscript"}},
	{"application/msword", EXTRACT_KIND_DOCUMENT, EXTRACTOR_NONE, {"document"}},
	{"image/", EXTRACT_KIND_IMAGE, EXTRACTOR_IMAGE, {"image"}},
	{"audio/midi", EXTRACT_KIND_AUDIO, EXTRACTOR_NONE, {"audio", "midi"}},
	{"audio/", EXTRACT_KIND_AUDIO, EXTRACTOR_MEDIA, {"audio"}},
	{"video/", EXTRACT_KIND_VIDEO, EXTRACTOR_MEDIA, {"video"}},
	{"application/ogg", EXTRACT_KIND_AUDIO, EXTRACTOR_MEDIA, {"audio"}},
	{"font/", EXTRACT_KIND_FONT, EXTRACTOR_NONE, {"font"}},
	{"application/vnd.ms-opentype", EXTRACT_KIND_FONT, EXTRACTOR_NONE, {"font"}},
	{"application/font", EXTRACT_KIND_FONT, EXTRACTOR_NONE, {"font"}},
	{"application/zip", EXTRACT_KIND_ARCHIVE, EXTRACTOR_ARCHIVE, {"archive"}},
	{"application/java-archive", EXTRACT_KIND_ARCHIVE, EXTRACTOR_ARCHIVE, {"archive", "java"}},
	{"application/x-tar", EXTRACT_KIND_ARCHIVE, EXTRACTOR_ARCHIVE, {"archive"}},
	{"application/x-7z-compressed", EXTRACT_KIND_ARCHIVE, EXTRACTOR_ARCHIVE, {"archive"}},
	{"application/x-rar", EXTRACT_KIND_ARCHIVE, EXTRACTOR_ARCHIVE, {"archive"}},
	{"application/vnd.rar", EXTRACT_KIND_ARCHIVE, EXTRACTOR_ARCHIVE, {"archive"}},
	{"application/x-cpio", EXTRACT_KIND_ARCHIVE, EXTRACTOR_ARCHIVE, {"archive"}},
	{"application/x-archive", EXTRACT_KIND_ARCHIVE, EXTRACTOR_ARCHIVE, {"archive", "library"}},
	{"application/x-iso9660-image",
	 EXTRACT_KIND_ARCHIVE,
	 EXTRACTOR_ARCHIVE,
	 {"archive", "disc image"}},
	{"application/vnd.ms-cab-compressed", EXTRACT_KIND_ARCHIVE, EXTRACTOR_ARCHIVE, {"archive"}},
	{"application/vnd.debian.binary-package",
	 EXTRACT_KIND_ARCHIVE,
	 EXTRACTOR_ARCHIVE,
	 {"archive", "debian package"}},
	{"application/x-executable", EXTRACT_KIND_PROGRAM, EXTRACTOR_NONE, {"program"}},
	{"application/x-pie-executable", EXTRACT_KIND_PROGRAM, EXTRACTOR_NONE, {"program"}},
	{"application/x-sharedlib", EXTRACT_KIND_PROGRAM, EXTRACTOR_NONE, {"library"}},
	{"application/x-object", EXTRACT_KIND_PROGRAM, EXTRACTOR_NONE, {"object file"}},
	{"application/x-dosexec", EXTRACT_KIND_PROGRAM, EXTRACTOR_NONE, {"program"}},
	{"application/vnd.microsoft.portable-executable",
	 EXTRACT_KIND_PROGRAM,
	 EXTRACTOR_NONE,
	 {"program"}},
	{"application/vnd.sqlite3", EXTRACT_KIND_DATA, EXTRACTOR_NONE, {"database"}},
	{"application/octet-stream", EXTRACT_KIND_UNKNOWN, EXTRACTOR_NONE, {NULL}},
	{"", EXTRACT_KIND_DATA, EXTRACTOR_NONE, {NULL}},
};

const struct kind *kind_of_mime(const char *mime)
{
	const struct kind *k = kinds;

	while (strncmp(mime, k->mime, strlen(k->mime)) != 0)
		k++;
	return k;
}

enum work_class kind_class(enum extractor_id id)
{
	switch (id) {
	case EXTRACTOR_PDF:
	case EXTRACTOR_MAIL:
		return WORK_CLASS_DOC;
	case EXTRACTOR_IMAGE:
	case EXTRACTOR_MEDIA:
		return WORK_CLASS_MEDIA;
	default:
		return WORK_CLASS_TEXT;
	}
}

/* What only a name tells among texts. Never more than a kind of text: the content said that
 * already. */
static const struct {
	const char *suffix, *mime;
} suffixes[] = {
	{".md", "text/markdown"},
	{".markdown", "text/markdown"},
	{".rst", "text/x-rst"},
	{".c", "text/x-c"},
	{".h", "text/x-c"},
	{".cc", "text/x-c++"},
	{".cpp", "text/x-c++"},
	{".cxx", "text/x-c++"},
	{".hpp", "text/x-c++"},
	{".py", "text/x-python"},
	{".pl", "text/x-perl"},
	{".pm", "text/x-perl"},
	{".sh", "text/x-shellscript"},
	{".bash", "text/x-shellscript"},
	{".js", "text/javascript"},
	{".mjs", "text/javascript"},
	{".ts", "text/x-typescript"},
	{".java", "text/x-java"},
	{".go", "text/x-go"},
	{".rs", "text/x-rust"},
	{".rb", "text/x-ruby"},
	{".php", "text/x-php"},
	{".lua", "text/x-lua"},
	{".pas", "text/x-pascal"},
	{".pp", "text/x-pascal"},
	{".el", "text/x-lisp"},
	{".lisp", "text/x-lisp"},
	{".scm", "text/x-lisp"},
	{".css", "text/css"},
	{".sql", "text/x-sql"},
	{".m4", "text/x-m4"},
	{".mk", "text/x-makefile"},
	{".awk", "text/x-awk"},
	{".f90", "text/x-fortran"},
	{".s", "text/x-asm"},
	{".asm", "text/x-asm"},
	{".diff", "text/x-diff"},
	{".patch", "text/x-diff"},
	{".tex", "text/x-tex"},
	{".csv", "text/csv"},
	{".html", "text/html"},
	{".htm", "text/html"},
	{".eml", "message/rfc822"},
	{".mbox", "application/mbox"},
	{".json", "application/json"},
	{".po", "text/x-po"},
	{".vcf", "text/vcard"},
	{".ics", "text/calendar"},
	{".tcl", "text/x-tcl"},
};

const char *kind_refine_text(const char *mime, const char *name)
{
	size_t len = strlen(name);

	/* only where libmagic saw no more than text; what it calls C may be C++, Go or Java */
	if (strcmp(mime, "text/plain") != 0 && strncmp(mime, "text/x-", 7) != 0 &&
	    strcmp(mime, "application/javascript") != 0)
		return NULL;
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		size_t n = strlen(suffixes[i].suffix);

		if (len > n && strcasecmp(name + len - n, suffixes[i].suffix) == 0)
			return suffixes[i].mime;
	}
	return strcasecmp(name, "Makefile") == 0 ? "text/x-makefile" : NULL;
}
