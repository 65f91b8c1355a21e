/*
 * What an extractor found in one file: the contract between the workers that read files (pool.h)
 * and the index. Pure data; whoever is given a struct extract owns it and ends it with
 * extract_free().
 *
 * All text is UTF-8 without control characters, ended by NUL, and at most as long as said here:
 * result.c holds what comes from a worker against these limits before anybody else sees it.
 */
#ifndef WEFT_TAGGER_EXTRACT_H
#define WEFT_TAGGER_EXTRACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXTRACT_TAGS_MAX    64
#define EXTRACT_FACTS_MAX   64
#define EXTRACT_LINKS_MAX   64
#define EXTRACT_TAG_BYTES   64	/* of a tag's text or stem, with the NUL */
#define EXTRACT_TEXT_BYTES  256 /* of a fact's text, with the NUL */
#define EXTRACT_LINK_BYTES  1024
#define EXTRACT_EXCERPT_MAX 480
#define EXTRACT_WHY_MAX	    160
#define EXTRACT_MIME_MAX    96
#define EXTRACT_HASH_BYTES  16

/* What a file is, by its content. The numbers are kept in the index: only add at the end. */
#define EXTRACT_KINDS(X)                                                                           \
	X(UNKNOWN, "unknown")                                                                      \
	X(FOLDER, "folder")                                                                        \
	X(LINK, "link")                                                                            \
	X(SPECIAL, "special")                                                                      \
	X(EMPTY, "empty")                                                                          \
	X(TEXT, "text")                                                                            \
	X(SOURCE, "source")                                                                        \
	X(PAGE, "page")                                                                            \
	X(DOCUMENT, "document")                                                                    \
	X(MAIL, "mail")                                                                            \
	X(IMAGE, "image")                                                                          \
	X(AUDIO, "audio")                                                                          \
	X(VIDEO, "video")                                                                          \
	X(ARCHIVE, "archive")                                                                      \
	X(PROGRAM, "program")                                                                      \
	X(FONT, "font")                                                                            \
	X(DATA, "data")
#define X(name, text) EXTRACT_KIND_##name,
enum extract_kind { EXTRACT_KINDS(X) EXTRACT_KIND_COUNT };
#undef X
/* "image"; the array is in extract.c. */
extern const char *const extract_kind_names[EXTRACT_KIND_COUNT];

/* Where a tag comes from. The numbers are kept in the index: only add at the end. */
#define EXTRACT_SOURCES(X)                                                                         \
	X(KIND, "kind")		    /* of the file, its format, its language */                    \
	X(PHRASE, "phrase")	    /* a key phrase of the text */                                 \
	X(HEADING, "heading")	    /* a phrase that stands in headings or the title */            \
	X(IDENTIFIER, "identifier") /* of source code */                                           \
	X(META, "meta")		    /* written into the file by its author */                      \
	X(OCR, "ocr")		    /* text in a picture */                                        \
	X(SPEECH, "speech")                                                                        \
	X(INSIDE, "inside") /* names inside an archive */                                          \
	X(FACT, "fact")	    /* made of a fact: artist, camera, year ... (index only) */            \
	X(NAME, "name")	    /* of the file (index only) */                                         \
	X(PATH, "path")	    /* of its folders (index only) */                                      \
	X(STAT, "stat")	    /* size and dates of the file (index only) */                          \
	X(HAND, "hand")	    /* by a user (index only) */
#define X(name, text) EXTRACT_SOURCE_##name,
enum extract_source { EXTRACT_SOURCES(X) EXTRACT_SOURCE_COUNT };
#undef X
extern const char *const extract_source_names[EXTRACT_SOURCE_COUNT];

enum extract_fact_type { EXTRACT_FACT_TEXT, EXTRACT_FACT_NUMBER };

/* Typed facts. The numbers are kept in the index: only add at the end. */
#define EXTRACT_FACTS(X)                                                                           \
	X(TITLE, "title", TEXT)                                                                    \
	X(AUTHOR, "author", TEXT)                                                                  \
	X(SUBJECT, "subject", TEXT)                                                                \
	X(LANGUAGE, "language", TEXT)                                                              \
	X(DATE, "date", NUMBER) /* of the content: seconds since 1970 */                           \
	X(ARTIST, "artist", TEXT)                                                                  \
	X(ALBUM, "album", TEXT)                                                                    \
	X(GENRE, "genre", TEXT)                                                                    \
	X(CAMERA, "camera", TEXT)                                                                  \
	X(LENS, "lens", TEXT)                                                                      \
	X(LATITUDE, "latitude", NUMBER)                                                            \
	X(LONGITUDE, "longitude", NUMBER)                                                          \
	X(WIDTH, "width", NUMBER)                                                                  \
	X(HEIGHT, "height", NUMBER)                                                                \
	X(ORIENTATION, "orientation", NUMBER) /* as EXIF counts */                                 \
	X(COLOUR, "colour", TEXT)	      /* "#rrggbb", main one first; may come often */      \
	X(DURATION, "duration", NUMBER)	      /* seconds */                                        \
	X(CODEC, "codec", TEXT)                                                                    \
	X(BITRATE, "bitrate", NUMBER) /* bits per second */                                        \
	X(SAMPLERATE, "samplerate", NUMBER)                                                        \
	X(CHANNELS, "channels", NUMBER)                                                            \
	X(PAGES, "pages", NUMBER)                                                                  \
	X(WORDS, "words", NUMBER)                                                                  \
	X(FROM, "from", TEXT)                                                                      \
	X(TO, "to", TEXT)                                                                          \
	X(MESSAGE_ID, "message-id", TEXT)                                                          \
	X(IN_REPLY_TO, "in-reply-to", TEXT)                                                        \
	X(COMPRESSION, "compression", TEXT)                                                        \
	X(ENTRIES, "entries", NUMBER)                                                              \
	X(ENCODING, "encoding", TEXT)
#define X(name, text, type) EXTRACT_FACT_##name,
enum extract_fact_key { EXTRACT_FACTS(X) EXTRACT_FACT_COUNT };
#undef X
extern const char *const extract_fact_names[EXTRACT_FACT_COUNT];
extern const uint8_t extract_fact_types[EXTRACT_FACT_COUNT]; /* enum extract_fact_type */

struct extract_tag {
	char *text;   /* as people read it, lower case unless that would be wrong */
	char *stem;   /* what makes two tags the same: folded, stemmed; never empty */
	float weight; /* 0 to 1, of this file alone; the index knows how rare the tag is */
	uint8_t source;
};

struct extract_fact {
	uint8_t key;
	char *text;    /* or NULL */
	double number; /* finite */
};

struct extract {
	uint8_t kind;
	bool same;   /* the content has the hash that the request named; nothing below is set */
	bool failed; /* broken, hostile, too slow: why says so; kind and hash may be set all the
			same */
	char *why;   /* NULL unless failed */
	char mime[EXTRACT_MIME_MAX];
	/*
	 * XXH3 (128 bits) of the content up to EXTRACT_HASH_WHOLE bytes; of a larger one of its
	 * size, its mtime and samples. All zero: not known.
	 */
	uint8_t hash[EXTRACT_HASH_BYTES];
	struct extract_tag *tags; /* heaviest first */
	size_t ntags;
	struct extract_fact *facts;
	size_t nfacts;
	char **links; /* targets as written, without fragment: relative paths or URLs */
	size_t nlinks;
	bool has_simhash, has_phash;
	uint64_t simhash; /* of the text */
	uint64_t phash;	  /* perceptual, of a picture */
	char *excerpt;	  /* the beginning of the text, or NULL */
};

#define EXTRACT_HASH_WHOLE (64ull << 20)

/* NULL is fine. */
void extract_free(struct extract *e);

#endif
