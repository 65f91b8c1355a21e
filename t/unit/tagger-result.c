/* What tagger believes of a worker's answer: what keeps every limit, and nothing else. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tagger/result.h"

#include "tap.h"

#define HASH "00112233445566778899aabbccddeeff"

static struct extract *parse(const char *json)
{
	return result_parse(json, strlen(json));
}

static bool refused(const char *json)
{
	struct extract *e = parse(json);

	extract_free(e);
	return e == NULL;
}

/* head, then n times item with commas between, then tail */
static bool refused_many(const char *head, const char *item, size_t n, const char *tail)
{
	size_t cap = strlen(head) + strlen(tail) + n * (strlen(item) + 1) + 1, at;
	char *json = malloc(cap);
	bool res;

	at = (size_t)snprintf(json, cap, "%s", head);
	for (size_t i = 0; i < n; i++)
		at += (size_t)snprintf(json + at, cap - at, "%s%s", i > 0 ? "," : "", item);
	snprintf(json + at, cap - at, "%s", tail);
	res = refused(json);
	free(json);
	return res;
}

static void test_whole(void)
{
	struct extract *e = parse(
		"{\"kind\":5,\"mime\":\"text/plain\",\"hash\":\"" HASH
		"\",\"simhash\":\"0123456789abcdef\","
		"\"tags\":[[\"Bees\",\"bee\",1,1],[\"hive\",\"hive\",0.25,2]],"
		"\"facts\":[[0,\"Title\"],[4,-5]],\"links\":[\"a b.md\"],\"excerpt\":\"Once\"}");

	ok(e != NULL, "a whole answer is taken");
	if (e == NULL)
		return;
	is_int(e->kind, EXTRACT_KIND_TEXT, "its kind");
	is_int(e->hash[15], 0xff, "its hash");
	ok(e->has_simhash && e->simhash == 0x0123456789abcdefull, "its simhash");
	ok(!e->has_phash && !e->failed && !e->same && e->why == NULL,
	   "and nothing that was not said");
	is_int(e->ntags, 2, "its tags");
	is_str(e->tags[0].text, "Bees", "with text");
	is_str(e->tags[0].stem, "bee", "and stem");
	ok(e->tags[1].weight == 0.25f && e->tags[1].source == EXTRACT_SOURCE_HEADING,
	   "weight and source");
	is_int(e->nfacts, 2, "its facts");
	is_str(e->facts[0].text, "Title", "text");
	ok(e->facts[1].text == NULL && e->facts[1].number == -5, "and number");
	is_str(e->links[0], "a b.md", "its links");
	is_str(e->excerpt, "Once", "its excerpt");
	extract_free(e);
}

static void test_failed(void)
{
	struct extract *e = parse("{\"kind\":0,\"mime\":\"\",\"why\":\"broken\"}");

	ok(e != NULL && e->failed && strcmp(e->why, "broken") == 0, "a failure says why");
	extract_free(e);
	e = parse("{\"kind\":0,\"mime\":\"\",\"same\":true}");
	ok(e != NULL && e->same, "content may be the same");
	extract_free(e);
	e = result_failed("gone");
	ok(e != NULL && e->failed && strcmp(e->why, "gone") == 0, "a failure can be made");
	extract_free(e);
}

static void test_syntax(void)
{
	static const char *const bad[] = {
		"",
		"null",
		"[]",
		"{",
		"{\"kind\":5}",
		"{\"mime\":\"text/plain\"}",
		"{\"kind\":5,\"mime\":\"text/plain\"} x",
		"{\"kind\":5,\"kind\":5,\"mime\":\"\"}",
		"{\"kind\":17,\"mime\":\"\"}",
		"{\"kind\":-1,\"mime\":\"\"}",
		"{\"kind\":5.5,\"mime\":\"\"}",
		"{\"kind\":\"5\",\"mime\":\"\"}",
		"{\"kind\":5,\"mime\":null}",
		"{\"kind\":5,\"mime\":\"a\\nb\"}",
		"{\"kind\":5,\"mime\":\"a\xc2\x85\"}",
		"{\"kind\":5,\"mime\":\"\xff\"}",
		"{\"kind\":5,\"mime\":\"a\\u0000b\"}",
		"{\"kind\":5,\"mime\":\"\",\"hash\":\"00\"}",
		"{\"kind\":5,\"mime\":\"\",\"hash\":\"00112233445566778899aabbccddeefg\"}",
		"{\"kind\":5,\"mime\":\"\",\"simhash\":5}",
		"{\"kind\":5,\"mime\":\"\",\"why\":\"\"}",
		"{\"kind\":5,\"mime\":\"\",\"why\":5}",
		"{\"kind\":5,\"mime\":\"\",\"excerpt\":[]}",
		"{\"kind\":5,\"mime\":\"\",\"tags\":{}}",
		"{\"kind\":5,\"mime\":\"\",\"tags\":[5]}",
		"{\"kind\":5,\"mime\":\"\",\"tags\":[[\"a\",\"a\",1]]}",
		"{\"kind\":5,\"mime\":\"\",\"tags\":[[\"a\",\"a\",1,1,1]]}",
		"{\"kind\":5,\"mime\":\"\",\"tags\":[[\"\",\"a\",1,1]]}",
		"{\"kind\":5,\"mime\":\"\",\"tags\":[[\"a\",\"\",1,1]]}",
		"{\"kind\":5,\"mime\":\"\",\"tags\":[[\"a\",\"a\",1.5,1]]}",
		"{\"kind\":5,\"mime\":\"\",\"tags\":[[\"a\",\"a\",-0.1,1]]}",
		"{\"kind\":5,\"mime\":\"\",\"tags\":[[\"a\",\"a\",1,13]]}",
		"{\"kind\":5,\"mime\":\"\",\"tags\":[[\"a\",\"a\",0.1,1],[\"b\",\"b\",0.2,1]]}",
		"{\"kind\":5,\"mime\":\"\",\"facts\":[[0,5]]}",
		"{\"kind\":5,\"mime\":\"\",\"facts\":[[4,\"x\"]]}",
		"{\"kind\":5,\"mime\":\"\",\"facts\":[[4,1e999]]}",
		"{\"kind\":5,\"mime\":\"\",\"facts\":[[99,5]]}",
		"{\"kind\":5,\"mime\":\"\",\"facts\":[[0,\"a\\u001fb\"]]}",
		"{\"kind\":5,\"mime\":\"\",\"links\":[5]}",
		"{\"kind\":5,\"mime\":\"\",\"links\":[\"\"]}",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ok(refused(bad[i]), bad[i]);
}

static void test_limits(void)
{
	const char *tags = "{\"kind\":5,\"mime\":\"\",\"tags\":[",
		   *facts = "{\"kind\":5,\"mime\":\"\",\"facts\":[";
	const char *links = "{\"kind\":5,\"mime\":\"\",\"links\":[",
		   *mime = "{\"kind\":5,\"mime\":\"";
	const char *end = "]}", *text = "{\"kind\":5,\"mime\":\"\",\"excerpt\":\"";

	ok(!refused_many(tags, "[\"a\",\"a\",1,1]", EXTRACT_TAGS_MAX, end),
	   "as many tags as may be");
	ok(refused_many(tags, "[\"a\",\"a\",1,1]", EXTRACT_TAGS_MAX + 1, end), "one tag too many");
	ok(!refused_many(facts, "[4,1]", EXTRACT_FACTS_MAX, end), "as many facts as may be");
	ok(refused_many(facts, "[4,1]", EXTRACT_FACTS_MAX + 1, end), "one fact too many");
	ok(!refused_many(links, "\"a\"", EXTRACT_LINKS_MAX, end), "as many links as may be");
	ok(refused_many(links, "\"a\"", EXTRACT_LINKS_MAX + 1, end), "one link too many");
	/* "a,a,a": n times two bytes less one */
	ok(!refused_many(mime, "a", EXTRACT_MIME_MAX / 2, "\"}"), "a type as long as may be");
	ok(refused_many(mime, "a", EXTRACT_MIME_MAX / 2 + 1, "\"}"), "a type too long");
	ok(!refused_many(text, "a", EXTRACT_EXCERPT_MAX / 2, "\"}"),
	   "an excerpt as long as may be");
	ok(refused_many(text, "a", EXTRACT_EXCERPT_MAX / 2 + 1, "\"}"), "an excerpt too long");
	ok(refused_many("{\"kind\":5,\"mime\":\"\",\"tags\":[[\"", "a", EXTRACT_TAG_BYTES / 2 + 1,
			"\",\"a\",1,1]]}"),
	   "a tag too long");
	ok(refused_many("{\"kind\":5,\"mime\":\"\",\"links\":[\"", "a", EXTRACT_LINK_BYTES / 2 + 1,
			"\"]}"),
	   "a link too long");
	ok(refused_many("", "[", 100000, ""), "depth without end");
}

int main(void)
{
	test_whole();
	test_failed();
	test_syntax();
	test_limits();
	return done_testing();
}
