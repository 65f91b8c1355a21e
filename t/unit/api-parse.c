/* Bodies of API requests: what is right is taken, what is wrong is refused with a sentence. */
#include "config.h"

#include <string.h>

#include "volmgr/api.h"
#include "tap.h"

static struct refusal no;

static bool volume_refused(const char *body, const char *code, const char *says)
{
	struct volume_spec spec;

	memset(&no, 0, sizeof(no));
	if (api_parse_volume(body, strlen(body), &spec, &no) == 0)
		return false;
	if (strcmp(no.code, code) == 0 && strstr(no.message, says) != NULL)
		return true;
	diag("%s: %s", no.code, no.message);
	return false;
}

static void test_volume(void)
{
	const char *good = "{\"name\":\"a\",\"size\":8192,\"k\":2,\"m\":1,\"unit\":4096}";
	const char *brief = "{\"name\":\"a\",\"size\":4096}";
	struct volume_spec s;

	is_int(api_parse_volume(good, strlen(good), &s, &no), 0, "a whole volume is taken");
	ok(strcmp(s.name, "a") == 0 && s.size == 8192 && s.k == 2 && s.m == 1 && s.unit == 4096,
	   "as it was said");
	is_int(api_parse_volume(brief, strlen(brief), &s, &no), 0, "name and size are enough");
	ok(s.k == 4 && s.m == 2 && s.unit == 65536, "the rest is 4+2 and 64K");
	ok(volume_refused("", "bad_request", "no body"), "no body is refused");
	ok(volume_refused("[]", "bad_request", "no JSON object"), "an array is refused");
	ok(volume_refused("{\"name\":\"a\",", "bad_request", "no JSON object"),
	   "half an object is refused");
	ok(volume_refused("{\"name\":\"a\",\"size\":4096,\"sise\":1}", "bad_request", "\"sise\""),
	   "a misspelt member is named");
	ok(volume_refused("{\"name\":1,\"size\":4096}", "bad_request", "string"),
	   "a name must be a string");
	ok(volume_refused("{\"name\":\"a\\u0000b\",\"size\":4096}", "bad_request", "object"),
	   "a NUL in a name is refused");
	ok(volume_refused("{\"name\":\"a/b\",\"size\":4096}", "bad_name", "name"),
	   "a slash in a name is refused");
	ok(volume_refused("{\"name\":\"..\",\"size\":4096}", "bad_name", "name"),
	   "dots are refused");
	ok(volume_refused("{\"name\":\"\",\"size\":4096}", "bad_name", "name"),
	   "an empty name is refused");
	ok(volume_refused("{\"name\":\"a\",\"size\":0}", "bad_size", "0 bytes"),
	   "size 0 is refused");
	ok(volume_refused("{\"name\":\"a\",\"size\":5000}", "bad_size", "5000"),
	   "a size that is no multiple of 4096 is refused");
	ok(volume_refused("{\"name\":\"a\",\"size\":-4096}", "bad_request", "size"),
	   "a negative size is refused");
	ok(volume_refused("{\"name\":\"a\",\"size\":4096.5}", "bad_request", "size"),
	   "a fraction is refused");
	ok(volume_refused("{\"name\":\"a\",\"size\":9007199254740992}", "bad_size", "bytes"),
	   "a size above the largest is refused");
	ok(volume_refused("{\"name\":\"a\",\"size\":4096,\"k\":17}", "bad_profile", "17+2"),
	   "17 data shards are refused");
	ok(volume_refused("{\"name\":\"a\",\"size\":4096,\"k\":0}", "bad_profile", "0+2"),
	   "no data shards are refused");
	ok(volume_refused("{\"name\":\"a\",\"size\":4096,\"m\":5}", "bad_profile", "4+5"),
	   "5 parity shards are refused");
	ok(volume_refused("{\"name\":\"a\",\"size\":4096,\"unit\":5000}", "bad_unit", "5000"),
	   "a unit that is no power of two is refused");
	ok(volume_refused("{\"name\":\"a\",\"size\":4096,\"unit\":524288}", "bad_unit", "524288"),
	   "a unit above 256K is refused");
	ok(no.hint[0] != '\0', "with a hint");
}

static void test_others(void)
{
	const char *server = "{\"address\":\"unix:/x\",\"name\":\"s\"}", *empty = "{}";
	const char *resize = "{\"size\":4096,\"shrink\":true}", *word = "{\"size\":1,\"shrink\":1}";
	struct api_server s;
	const char *scrub = "{\"action\":\"stop\",\"volume\":\"v\"}", *what = "{\"action\":\"go\"}";
	struct api_scrub sc;
	const char *set = "{\"min\":4,\"below_min\":\"fail\",\"when_full\":\"wait\"}";
	const char *odd = "{\"when_full\":\"stop\"}";
	struct volume_change rs;
	uint64_t n;

	is_int(api_parse_server(server, strlen(server), &s, &no), 0, "a server is taken");
	ok(strcmp(s.address, "unix:/x") == 0 && strcmp(s.name, "s") == 0 && s.host[0] == '\0',
	   "as it was said");
	is_int(api_parse_server(empty, strlen(empty), &s, &no), -1,
	       "one without address is refused");
	is_int(api_parse_change(resize, strlen(resize), &rs, &no), 0, "a resize is taken");
	ok(rs.has_size && rs.size == 4096 && rs.shrink && !rs.has_min, "as it was said");
	is_int(api_parse_change(empty, strlen(empty), &rs, &no), -1,
	       "a change of nothing is refused");
	is_int(api_parse_change(set, strlen(set), &rs, &no), 0, "settings are taken");
	ok(!rs.has_size && rs.has_min && rs.settings.min == 4 && rs.settings.below_min_fail &&
		   rs.settings.when_full_wait,
	   "as they were said");
	is_int(api_parse_change(odd, strlen(odd), &rs, &no), -1, "other words are refused");
	is_int(api_parse_change(word, strlen(word), &rs, &no), -1, "shrink must be true or false");
	is_int(api_parse_scrub(scrub, strlen(scrub), &sc, &no), 0, "an order to scrub is taken");
	ok(!sc.start && strcmp(sc.volume, "v") == 0, "as it was said");
	is_int(api_parse_scrub(what, strlen(what), &sc, &no), -1, "another action is refused");
	is_int(api_parse_number(NULL, 5, &n, &no), 0, "a number that is missing");
	is_int(n, 5, "is the default");
	is_int(api_parse_number("12", 5, &n, &no), 0, "a number is taken");
	is_int(n, 12, "as it was said");
	is_int(api_parse_number("-1", 5, &n, &no), -1, "a negative one is refused");
	is_int(api_parse_number("1x", 5, &n, &no), -1, "one with letters is refused");
	is_int(api_parse_number("99999999999999999999", 5, &n, &no), -1,
	       "one too large is refused");
}

int main(void)
{
	test_volume();
	test_others();
	return done_testing();
}
