/*
 * libmagic decides what a file is. It is slow (half a millisecond for a kilobyte of text), so what
 * a few bytes at a fixed place make certain is not asked, and text is shown to it only by its
 * beginning.
 */
#include "config.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <magic.h>

#include "hash.h"
#include "tagger/worker/segment.h"
#include "tagger/worker/worker.h"

#include "banned.h"

#define TEXT_SHOWN   768u
#define BINARY_SHOWN (256u << 10)
#define TEXT_CHECKED (64u << 10)
#define KNOWN	     512u /* answers that are kept: many files begin alike */

struct sniff {
	magic_t magic;
	struct {
		uint64_t hash; /* of what was shown; 0: none */
		struct sniffed answer;
	} known[KNOWN];
};

struct sniff *sniff_create(void)
{
	struct sniff *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->magic = magic_open(MAGIC_MIME | MAGIC_NO_CHECK_COMPRESS);
	if (s->magic != NULL && magic_load(s->magic, NULL) == 0)
		return s;
	sniff_destroy(s);
	return NULL;
}

void sniff_destroy(struct sniff *s)
{
	if (s == NULL)
		return;
	if (s->magic != NULL)
		magic_close(s->magic);
	free(s);
}

/* Bytes that nothing else begins with. */
static const struct {
	const char *bytes;
	uint8_t len, at;
	const char *mime;
} certain[] = {
	{"\x1f\x8b\x08", 3, 0, "application/gzip"},
	{"\xfd"
	 "7zXZ\0",
	 6, 0, "application/x-xz"},
	{"\x28\xb5\x2f\xfd", 4, 0, "application/zstd"},
	{"\x89PNG\r\n\x1a\n", 8, 0, "image/png"},
	{"\xff\xd8\xff\xe0", 4, 0, "image/jpeg"},
	{"\xff\xd8\xff\xe1", 4, 0, "image/jpeg"},
	{"GIF89a", 6, 0, "image/gif"},
	{"GIF87a", 6, 0, "image/gif"},
	{"%PDF-", 5, 0, "application/pdf"},
	{"fLaC", 4, 0, "audio/flac"},
	{"<!DOCTYPE html", 14, 0, "text/html"},
	{"<!DOCTYPE HTML", 14, 0, "text/html"},
	{"<!doctype html", 14, 0, "text/html"},
	{"!<arch>\ndebian-binary", 21, 0, "application/vnd.debian.binary-package"},
};

static const char *sniff_certain(const struct input *in)
{
	for (size_t i = 0; i < sizeof(certain) / sizeof(certain[0]); i++)
		if (in->head_len >= (size_t)certain[i].at + certain[i].len &&
		    memcmp(in->head + certain[i].at, certain[i].bytes, certain[i].len) == 0)
			return certain[i].mime;
	return NULL;
}

static void set_text(char *buf, size_t cap, const char *text, size_t len)
{
	if (len >= cap)
		len = cap - 1;
	memcpy(buf, text, len);
	buf[len] = '\0';
}

/*
 * Office documents and e-books begin with a member that says what they are: its name, what zip
 * programs add, its content, not compressed.
 */
static bool sniff_zipped(const struct input *in, struct sniffed *out)
{
	const uint8_t *h = in->head;
	size_t at, n = 0;

	if (in->head_len < 128 || memcmp(h, "PK\3\4", 4) != 0 ||
	    memcmp(h + 30, "mimetype", 8) != 0 || h[8] != 0 || h[9] != 0 || h[26] != 8 ||
	    h[27] != 0)
		return false;
	at = 38u + h[28] + h[29] * 256u;
	while (at + n < in->head_len && n < sizeof(out->mime) - 1 &&
	       ((h[at + n] >= 'a' && h[at + n] <= 'z') || (h[at + n] >= '-' && h[at + n] <= '9') ||
		h[at + n] == '+'))
		n++;
	if (n < 13 || memcmp(h + at, "application/", 12) != 0)
		return false;
	set_text(out->mime, sizeof(out->mime), (const char *)h + at, n);
	return true;
}

/* The encoding of text, or NULL if it has bytes that text has not. */
static const char *sniff_encoding(const struct input *in)
{
	size_t n = in->head_len < TEXT_CHECKED ? in->head_len : TEXT_CHECKED;
	bool high = false;

	for (size_t i = 0; i < n; i++) {
		uint8_t c = in->head[i];

		/* tabs, line ends, form feeds, backspaces of manuals, escapes of terminals */
		if (c < ' ' && (c < '\b' || c > '\r') && c != 0x1b)
			return NULL;
		high = high || c >= 0x80;
	}
	if (!high)
		return "us-ascii";
	return segment_utf8_valid((const char *)in->head, n, n < in->head_len || !in->whole)
		       ? "utf-8"
		       : "unknown-8bit";
}

/* "text/plain; charset=us-ascii" taken apart. */
static void sniff_split(const char *answer, struct sniffed *out)
{
	const char *charset = strstr(answer, "; charset=");

	set_text(out->mime, sizeof(out->mime), answer, strcspn(answer, "; "));
	if (charset != NULL)
		set_text(out->encoding, sizeof(out->encoding), charset + strlen("; charset="),
			 strlen(charset + strlen("; charset=")));
}

static void sniff_ask(struct sniff *s, const uint8_t *bytes, size_t len, struct sniffed *out)
{
	uint64_t hash = hash_u64(bytes, len);
	size_t at = hash % KNOWN;
	const char *answer;

	if (hash != 0 && s->known[at].hash == hash) {
		*out = s->known[at].answer;
		return;
	}
	answer = magic_buffer(s->magic, bytes, len);
	sniff_split(answer != NULL ? answer : "application/octet-stream", out);
	s->known[at].hash = hash;
	s->known[at].answer = *out;
}

void sniff_content(struct sniff *s, const struct input *in, struct sniffed *out)
{
	const char *mime, *encoding;
	size_t shown;

	memset(out, 0, sizeof(*out));
	if (in->head_len == 0) {
		set_text(out->mime, sizeof(out->mime), "inode/x-empty", 13);
		return;
	}
	if (sniff_zipped(in, out))
		return;
	mime = sniff_certain(in);
	encoding = sniff_encoding(in);
	if (mime != NULL) {
		set_text(out->mime, sizeof(out->mime), mime, strlen(mime));
		if (encoding != NULL && strncmp(mime, "text/", 5) == 0)
			set_text(out->encoding, sizeof(out->encoding), encoding, strlen(encoding));
		return;
	}
	shown = encoding != NULL ? TEXT_SHOWN : BINARY_SHOWN;
	if (shown > in->head_len)
		shown = in->head_len;
	sniff_ask(s, in->head, shown, out);
	/* what libmagic saw may end in the middle of a character */
	if (strcmp(out->encoding, "binary") == 0)
		out->encoding[0] = '\0';
	if (encoding != NULL && strcmp(encoding, "unknown-8bit") != 0)
		set_text(out->encoding, sizeof(out->encoding), encoding, strlen(encoding));
	if (encoding != NULL && strcmp(out->mime, "application/octet-stream") == 0)
		set_text(out->mime, sizeof(out->mime), "text/plain", 10);
}

const char *sniff_compression(const struct sniffed *sniffed)
{
	static const struct {
		const char *mime, *name;
	} table[] = {
		{"application/gzip", "gzip"},	  {"application/x-gzip", "gzip"},
		{"application/x-xz", "xz"},	  {"application/x-lzma", "lzma"},
		{"application/zstd", "zstd"},	  {"application/x-zstd", "zstd"},
		{"application/x-bzip2", "bzip2"}, {"application/x-lz4", "lz4"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (strcmp(sniffed->mime, table[i].mime) == 0)
			return table[i].name;
	return NULL;
}
