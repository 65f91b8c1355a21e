/* Heads of requests that libevent must not see whole, and bodies in chunks, in pieces of any size.
 */
#include "config.h"

#include <errno.h>

#include "http-head.h"
#include "tap.h"

static const char *const paths[] = {"/upload", "/api/v1/upload", NULL};

static enum http_head_is take(const char *text, char *out, struct http_head *head)
{
	size_t len = strlen(text);

	memcpy(out, text, len + 1);
	return http_head_take(out, len, paths, head);
}

#define PUT "PUT /upload?path=x HTTP/1.1\r\nHost: h\r\n"

static void heads(void)
{
	static const struct {
		const char *text, *name;
		enum http_head_is want;
	} cases[] = {
		{PUT "Content-Length: 5\r\n\r\n", "a body with a length", HTTP_HEAD_TAKEN},
		{PUT "content-length:5\n\n", "lines that end in one byte", HTTP_HEAD_TAKEN},
		{PUT "Transfer-Encoding: Chunked\r\n\r\n", "a body in chunks", HTTP_HEAD_TAKEN},
		{PUT "Content-Length: 5\r\n", "a head that goes on", HTTP_HEAD_MORE},
		{"PU", "its first letters", HTTP_HEAD_MORE},
		{"", "nothing yet", HTTP_HEAD_MORE},
		{"GET /upload HTTP/1.1\r\nContent-Length: 5\r\n\r\n", "another method",
		 HTTP_HEAD_OTHER},
		{"G", "its first letter", HTTP_HEAD_OTHER},
		{"PUT /uploads HTTP/1.1\r\nContent-Length: 5\r\n\r\n", "another path",
		 HTTP_HEAD_OTHER},
		{"PUT /uploa HTTP/1.1\r\nContent-Length: 5\r\n\r\n", "a shorter path",
		 HTTP_HEAD_OTHER},
		{PUT "\r\n", "no body", HTTP_HEAD_OTHER},
		{PUT "Content-Length: 0\r\n\r\n", "an empty body", HTTP_HEAD_OTHER},
		{PUT "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", "two lengths",
		 HTTP_HEAD_OTHER},
		{PUT "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "length and chunks",
		 HTTP_HEAD_OTHER},
		{PUT "Content-Length: 5x\r\n\r\n", "a length that is none", HTTP_HEAD_OTHER},
		{PUT "Content-Length: -5\r\n\r\n", "a negative one", HTTP_HEAD_OTHER},
		{PUT "Content-Length: 99999999999999999999\r\n\r\n", "one too long",
		 HTTP_HEAD_OTHER},
		{PUT "Content-Length:\r\n 5\r\n\r\n", "one on the next line", HTTP_HEAD_OTHER},
		{PUT "Transfer-Encoding: gzip, chunked\r\n\r\n", "another encoding",
		 HTTP_HEAD_OTHER},
		{PUT "Content-Length: 5\r\nExpect: tea\r\n\r\n", "another expectation",
		 HTTP_HEAD_OTHER},
	};
	char text[256];
	struct http_head head;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		is_int(take(cases[i].text, text, &head), cases[i].want, cases[i].name);
	is_int(take(PUT "Content-Length: 5\r\nExpect: 100-continue\r\nX: y\r\n\r\nhello", text,
		    &head),
	       HTTP_HEAD_TAKEN, "what follows the head");
	ok(head.length == 5 && !head.chunked && head.expect, "its length and expectation");
	is_str(text, PUT "-ontent-Length: 5\r\n-xpect: 100-continue\r\nX: y\r\n\r\nhello",
	       "only what tells of the body is hidden");
	is_int(http_head_take(text, strlen(text), paths, &head), HTTP_HEAD_OTHER,
	       "and then it has none");
}

/* Decodes text in pieces of step bytes: what http_chunks_next() said last. */
static int decode(const char *text, size_t step, char *out, size_t *used)
{
	struct http_chunks c = {0};
	size_t len = strlen(text), skip, data;
	int said = 0;

	for (*used = 0; *used < len && said == 0;) {
		size_t n = len - *used < step ? len - *used : step;

		said = http_chunks_next(&c, text + *used, n, &skip, &data);
		if (said < 0)
			break;
		memcpy(out, text + *used + skip, data);
		out += data;
		*used += skip + data;
	}
	*out = '\0';
	return said;
}

static void chunks(void)
{
	static const char good[] = "5\r\nhello\r\n1;a=b\r\n \r\n00005\nworld\n0\r\nX: y\r\n\r\nGET";
	static const char *const bad[] = {"x\r\n",
					  "\r\n",
					  "5\r\nhellooo\r\n",
					  "-5\r\n",
					  "1234567890abcdef1\r\n",
					  "5\r\nhello\r\r\n0\r\n\r\n"};
	char out[64];
	size_t used;
	int wrong = 0;

	for (size_t step = 1; step < sizeof(good); step++)
		if (decode(good, step, out, &used) != 1 || strcmp(out, "hello world") != 0 ||
		    used != sizeof(good) - 4)
			wrong++;
	is_int(wrong, 0, "chunks are the same in pieces of any size");
	is_int(decode(good, 7, out, &used), 1, "chunks come to their end");
	is_str(out, "hello world", "with what is in them");
	is_int(used, sizeof(good) - 4, "and not a byte more");
	is_int(decode("5\r\nhel", 100, out, &used), 0, "a chunk that goes on");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		is_int(decode(bad[i], 100, out, &used), -EBADMSG, "no chunks");
}

int main(void)
{
	heads();
	chunks();
	return done_testing();
}
